/* greenring/time.h - clock, sleep, deadlines, timers, periodic tasks.
 *
 * Timers are rounded up to the wheel's tick of about 33 microseconds: never early. */
#ifndef GRING_TIME_H
#define GRING_TIME_H
#include <errno.h>
#include <greenring/base.h>
#include <greenring/task.h>
GRING_BEGIN
GRING_API gring_ns gring_now(void); /* CLOCK_MONOTONIC, see clock_gettime(2) [any] */
/* as of this turn of the loop: free. gring_now on a plain thread [any] */
GRING_API gring_ns gring_loop_now(void);

/* At least `d`; d <= 0 is gring_yield. On a plain thread of a running program: nanosleep(2).
 * status: 0, never early. [wait] */
GRING_API int gring_sleep(gring_ns d);
GRING_API int gring_sleep_until(gring_ns instant); /* [wait] */

/* ---- deadlines ----------------------------------------------------------------
 * Between start and stop no [wait] call of this task, however deep, runs past the instant: it
 * fails with ETIMEDOUT, and so does every later one until stop. The earliest enclosing deadline
 * counts; an inner one cannot extend an outer one. Whose it was: gring_timeout_stop returns 1
 * exactly for the deadline that expired with no outer one before it; after a 0 pass the error
 * on. Scopes opened inside are cancelled when it expires. Inside a shield only deadlines that
 * were started there count. Never early; one that passes while the task computes is noticed when
 * the loop next looks at its timers.
 *
 * Strictly nested: stopping one while an inner one is not stopped is a CHECK failure, and so are
 * stopping another task's and returning from the task's function without stopping: the memory of
 * the forgotten one is about to go. Storage is the caller's. One wheel insertion, nothing per
 * call; stop reads no clock. d <= 0: expired at once (nothing new is begun; use MSG_DONTWAIT and
 * the like to poll). GRING_FOREVER: never.
 * start: EBUSY it is started already, EPERM on a plain thread and in callbacks: then there is no
 * deadline, and stop is 0. */
typedef struct gring_timeout {
    uint64_t _[12];
} gring_timeout;
GRING_API int gring_timeout_start(gring_timeout *t, gring_ns d);
GRING_API int gring_timeout_start_at(gring_timeout *t, gring_ns instant);
/* anew from now; EINVAL if expired or not started */
GRING_API int gring_timeout_reset(gring_timeout *t, gring_ns d);
GRING_API bool gring_timeout_expired(const gring_timeout *t);
/* 1 it was this one; 0, also if it was not started */
GRING_API int gring_timeout_stop(gring_timeout *t);
GRING_API gring_ns gring_time_left(void); /* of this task, not negative; GRING_FOREVER */

static inline void gring_timeout_begin_(gring_timeout *t, gring_ns d)
{
    int saved_errno = errno;

    (void)gring_timeout_start(t, d);
    errno = saved_errno;
}
static inline void gring_timeout_auto_(gring_timeout *t)
{
    int saved_errno = errno;

    (void)gring_timeout_stop(t);
    errno = saved_errno;
}

/* gring_auto_timeout(t, GRING_SEC); - from here to the end of the C block. */
#define gring_auto_timeout(name, d)                                                                \
    gring_timeout name GRING_CLEANUP(gring_timeout_auto_);                                         \
    gring_timeout_begin_(&name, (d))

/* n = gring_within(5 * GRING_SEC, gring_read(fd, buf, sizeof buf)); - the value and errno of the
 * call, which may also be void. return, break and goto out of it are safe. */
#define gring_within_(name, d, expr)                                                               \
    __extension__({                                                                                \
        gring_auto_timeout(name, d);                                                               \
        (expr);                                                                                    \
    })
#define gring_within(d, expr) gring_within_(GRING_NAME_(gring_within_, __COUNTER__), d, expr)

/* gring_within_do(d) { ... } - the same for a block; break leaves it. */
typedef struct gring_within_guard_ {
    gring_ns duration;
    int begun;
    gring_timeout timeout;
} gring_within_guard_;
static inline int gring_within_enter_(gring_within_guard_ *guard)
{
    if (guard->begun)
        return 0;
    guard->begun = 1;
    gring_timeout_begin_(&guard->timeout, guard->duration);
    return 1;
}
static inline void gring_within_leave_(gring_within_guard_ *guard)
{
    gring_timeout_auto_(&guard->timeout);
}
#define gring_within_do_(name, d)                                                                  \
    for (gring_within_guard_ name GRING_CLEANUP(gring_within_leave_) = { .duration = (d) };        \
         gring_within_enter_(&name);)
#define gring_within_do(d) gring_within_do_(GRING_NAME_(gring_within_, __COUNTER__), d)

/* ---- timers without a task ----------------------------------------------------
 * cb runs on the hub's loop and must not park (a [wait] call in it is a CHECK failure). Storage
 * is the caller's and must stay until it fired, was stopped, or the run has ended, after which it
 * is not pending any more; cb may start it again or free it. O(1).
 * start: EINVAL no cb, EBUSY it is pending, EPERM not on the hub's thread. */
typedef struct gring_timer {
    uint64_t _[8];
} gring_timer;
GRING_API int gring_timer_start(gring_timer *tm, gring_ns d, gring_cb cb, void *arg);
/* 1 it was pending and will not run, 0; EPERM as above */
GRING_API int gring_timer_stop(gring_timer *tm);
GRING_API bool gring_timer_pending(const gring_timer *tm); /* false on a plain thread */

/* ---- periodic tasks -------------------------------------------------------------
 * One task that calls fn every `period`, on the grid of its start (no drift); ticks missed while
 * fn ran long are skipped and counted. fn returns 0 to go on, err>0 to end with that code, -1 to
 * end with 0; or kill the task. opts may be NULL: all but `delay` mean what they mean to
 * gring_spawn_with; delay is the first tick's distance, 0 = one period.
 * EINVAL: period <= 0. */
typedef struct gring_tick {
    uint64_t n;      /* 0, 1, 2, ...: calls of fn */
    gring_ns due;    /* when it was to be called */
    gring_ns late;   /* how much later it was */
    uint64_t missed; /* ticks skipped just before this one */
} gring_tick;
typedef int (*gring_tick_fn)(void *arg, const gring_tick *t);
GRING_API gring_task *gring_every(gring_ns period, gring_tick_fn fn, void *arg,
                                  const gring_spawn_opts *opts);
GRING_END
#endif
