/*
 * An instant as a source of a wait: it comes, and the wait is over. Withdrawn, it lets go at once.
 *
 *     time_source_enlist(&wait, &until, instant);
 *     wait_park(&wait);
 *     if (wait.winner == &until.source)
 *         ... the instant came before anything else ...
 */
#ifndef GRING_RUNTIME_TIME_SOURCE_H
#define GRING_RUNTIME_TIME_SOURCE_H

#include "runtime/hub.h"
#include "runtime/wait.h"

/* On the parked task's stack. */
struct time_source {
    struct hub_timer timer;
    struct source source;
};

/* CLOCK_FOREVER: a source that never comes, for a wait that has no other. */
void time_source_enlist(struct wait *wait, struct time_source *until, gring_ns instant);

#endif
