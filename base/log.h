/*
 * One line for the operator: what went wrong and what to do about it.
 *
 * Without a sink the line goes to stderr with the prefix "greenring: ". A sink is set by
 * gring_set_log and gets the text without prefix and newline. Never parks, never allocates;
 * lines are cut at 1,023 bytes.
 */
#ifndef GRING_BASE_LOG_H
#define GRING_BASE_LOG_H

enum log_level { LOG_ERROR = 0, LOG_WARNING = 1, LOG_INFO = 2 };

typedef void (*log_sink)(int level, const char *text, void *arg);

void log_set_sink(log_sink sink, void *arg);
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
