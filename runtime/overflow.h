/*
 * A stack overflow names itself: a SIGSEGV in a task's guard pages prints one line with the task
 * and its stack's size, then takes the default action, so that a core is kept. Runs on an
 * alternate signal stack of the hub's thread.
 *
 * Installed only where SIGSEGV has its default disposition (a program's or sanitizer's own
 * handler stays), and not at all with GRING_RUN_NO_SIGSEGV.
 */
#ifndef GRING_RUNTIME_OVERFLOW_H
#define GRING_RUNTIME_OVERFLOW_H

struct gring_hub;

void overflow_watch(struct gring_hub *hub);
void overflow_unwatch(struct gring_hub *hub);

#endif
