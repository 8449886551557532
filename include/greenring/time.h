/* greenring/time.h - clock, sleep, timers, periodic tasks.
 *
 * Timers are rounded up to the wheel's tick of about 33 microseconds: never early. */
#ifndef GRING_TIME_H
#define GRING_TIME_H
#include <greenring/base.h>
#include <greenring/task.h>
GRING_BEGIN
GRING_API gring_ns gring_now(void);      /* CLOCK_MONOTONIC, see clock_gettime(2) [any] */
GRING_API gring_ns gring_loop_now(void); /* as of this turn of the loop: free. gring_now on a plain thread [any] */

/* At least `d`; d <= 0 is gring_yield. On a plain thread of a running program: nanosleep(2). status: 0, never early. [wait] */
GRING_API int gring_sleep(gring_ns d);
GRING_API int gring_sleep_until(gring_ns instant); /* [wait] */

/* ---- timers without a task ----------------------------------------------------
 * cb runs on the hub's loop and must not park (a [wait] call in it is a CHECK failure). Storage is the caller's and must
 * stay until it fired or was stopped; cb may start it again or free it. O(1).
 * start: EINVAL no cb, EBUSY it is pending, EPERM not on the hub's thread. */
typedef struct gring_timer {
    uint64_t _[8];
} gring_timer;
GRING_API int gring_timer_start(gring_timer *tm, gring_ns d, gring_cb cb, void *arg);
GRING_API int gring_timer_stop(gring_timer *tm); /* 1 it was pending and will not run, 0; EPERM as above */
GRING_API bool gring_timer_pending(const gring_timer *tm);

/* ---- periodic tasks -------------------------------------------------------------
 * One task that calls fn every `period`, on the grid of its start (no drift); ticks missed while fn ran long are skipped
 * and counted. fn returns 0 to go on, err>0 to end with that code, -1 to end with 0. opts may be NULL: all but `delay`
 * mean what they mean to gring_spawn_with; delay is the first tick's distance, 0 = one period. EINVAL: period <= 0. */
typedef struct gring_tick {
    uint64_t n;      /* 0, 1, 2, ...: calls of fn */
    gring_ns due;    /* when it was to be called */
    gring_ns late;   /* how much later it was */
    uint64_t missed; /* ticks skipped just before this one */
} gring_tick;
typedef int (*gring_tick_fn)(void *arg, const gring_tick *t);
GRING_API gring_task *gring_every(gring_ns period, gring_tick_fn fn, void *arg, const gring_spawn_opts *opts);
GRING_END
#endif
