/* greenring/debug.h - the log, and what tests need. */
#ifndef GRING_DEBUG_H
#define GRING_DEBUG_H
#include <greenring/base.h>
GRING_BEGIN

/* What went wrong with nobody waiting: a refused io_uring, a failed task that nobody waits for,
 * a deadlock, a limit. text: one line without newline. level: 0 error, 1 warning, 2 information.
 * NULL: back to stderr. Set it before the runtime starts; fn may be called on any thread and
 * must not park. [any] */
typedef void (*gring_log_fn)(int level, const char *text, void *arg);
GRING_API void gring_set_log(gring_log_fn fn, void *arg);

/* Counters of the running hub. */
typedef struct gring_stats {
    size_t size;    /* in: sizeof(gring_stats) */
    uint64_t tasks; /* that have not ended, the main task included */
    uint64_t spawned, switches, turns;
    /* retries: ops asked again after EAGAIN or EINTR */
    uint64_t enters, sqes, cqes, cq_overflows, cancels, retries;
    uint64_t in_flight, timers;
    uint64_t stack_bytes; /* address space of stacks */
    /* of the pool (greenring/uring.h): all, lent now, and how often a receiver waited for one */
    uint64_t buffers, buffers_lent, buffer_waits;
    /* threads by which the kernel carries out what cannot be tried without blocking, of the whole
     * process, now: 8 for files and 32 for the rest at most (before Linux 6.4 only the 8) */
    uint64_t kernel_workers;
} gring_stats;
/* Some microseconds, for counting kernel_workers in /proc.
 * status: EINVAL, EPERM not on the hub's thread */
GRING_API int gring_stats_get(gring_stats *stats);

/* With GRING_RUN_FAKETIME: lets time pass, stopping at each timer on the way until what it woke
 * has run. EINVAL without that flag. [wait] */
GRING_API int gring_test_advance(gring_ns d);
GRING_END
#endif
