/* greenring/task.h - green threads: spawn, wait, kill, link. */
#ifndef GRING_TASK_H
#define GRING_TASK_H
#include <greenring/base.h>
GRING_BEGIN

/* ---- spawning -------------------------------------------------------------
 * The new task is queued behind what is ready; the caller goes on. fn gets arg once. A handle
 * must be released once: gring_join or gring_drop; handles are void when the run has ended.
 * NULL: EINVAL no fn, ENOMEM, EAGAIN a limit is reached (max_tasks; or vm.max_map_count, which
 * the log names), EPERM on a plain thread while the runtime runs elsewhere (use gring_spawn_on),
 * ECANCELED while the run is being ended, ECHILD after fork(2). */
GRING_API gring_task *gring_spawn(gring_fn fn, void *arg);
/* No handle, no result kept; cheaper. status */
GRING_API int gring_spawn_n(gring_fn fn, void *arg);
/* Starts after `delay`; gring_cancel un-spawns it. Outlives the caller. */
GRING_API gring_task *gring_spawn_after(gring_ns delay, gring_fn fn, void *arg);

/* High runs before normal before background when several are ready; a lane that was passed over
 * for some turns of the loop gets a run, so none starves. */
typedef enum { GRING_PRIO_BACKGROUND = -1, GRING_PRIO_NORMAL = 0, GRING_PRIO_HIGH = 1 } gring_prio;
#define GRING_DAEMON 0x1u /* its scope does not wait for it: killed when the scope is closed */
struct gring_scope;
typedef struct gring_spawn_opts {
    size_t size;       /* sizeof(gring_spawn_opts), set by GRING_SPAWN_INIT */
    const char *name;  /* copied; 31 bytes kept */
    size_t stack_size; /* bytes; 0 = the run's default; 16 KiB to 1 GiB, else EINVAL */
    gring_prio prio;
    gring_ns delay;
    gring_cb abort; /* gets arg if fn is never going to run; a callback: it must not park */
    /* NULL = none: lives on its own; else as gring_scope_spawn (greenring/scope.h) */
    struct gring_scope *scope;
    unsigned flags; /* GRING_DAEMON, only with a scope; EINVAL others */
} gring_spawn_opts;
#ifdef __cplusplus
static inline gring_spawn_opts gring_spawn_init_(void)
{
    gring_spawn_opts init = gring_spawn_opts();

    init.size = sizeof init;
    return init;
}
#define GRING_SPAWN_INIT gring_spawn_init_()
#else
#define GRING_SPAWN_INIT                                                                           \
    {                                                                                              \
        .size = sizeof(gring_spawn_opts)                                                           \
    }
#endif
/* opts may be NULL. */
GRING_API gring_task *gring_spawn_with(const gring_spawn_opts *opts, gring_fn fn, void *arg);

/* ---- results ---------------------------------------------------------------
 * A task ends with a value (what fn returned) and a code (0, or what it failed with). gring_wait
 * may be called by many tasks, many times, from any hub or plain thread (which it blocks).
 * *result (may be NULL) gets fn's return value even when the code is not 0, so nothing it
 * allocated is lost; NULL if fn never ran.
 * outcome: 0; err>0; -1 the waiter was interrupted (the task goes on), EDEADLK waiting for
 * oneself, or nobody is left who could end the task. The code is ECANCELED for a task that died
 * of gring_kill: it never started, or some [wait] call told it and it ended without
 * gring_uncancel or a code of its own. [wait][any] */
GRING_API int gring_wait(gring_task *t, void **result);
/* gring_wait, then gring_drop unless it returned -1. [wait][any] */
GRING_API int gring_join(gring_task *t, void **result);
/* gives the handle back; the task goes on. NULL is fine [any] */
GRING_API void gring_drop(gring_task *t);
GRING_API gring_task *gring_keep(gring_task *t); /* one more handle [any] */
/* until all have ended, whatever their codes. status [wait][any] */
GRING_API int gring_waitall(gring_task *const t[], size_t n);
/* The index of the first one in the array that has ended, waiting until one has; -1: EINVAL n is
 * 0, ENOMEM, EDEADLK nobody but oneself is in it. [wait] */
GRING_API int gring_waitany(gring_task *const t[], size_t n);

/* cb(t, arg) once t has ended, on t's stack, in the order linked; at once, here, if it has ended
 * already. It may link more, must not park. ENOMEM. gring_unlink takes back the oldest link of
 * that cb and arg; ENOENT. [any]
 * The end of a task, in order: defers (last in first out), destructors of its keys
 * (greenring/local.h), state GRING_DONE, links, waiters, its stack given back; the record goes
 * with the last handle. */
typedef void (*gring_link_fn)(gring_task *t, void *arg);
GRING_API int gring_link(gring_task *t, gring_link_fn cb, void *arg);
GRING_API int gring_unlink(gring_task *t, gring_link_fn cb, void *arg);

/* ---- ending ----------------------------------------------------------------
 * `return gring_fail(errno);` - ends with that code. Returns NULL. A failure that nobody waits
 * for is logged once. In a coroutine it is that one's code (greenring/co.h). */
GRING_API void *gring_fail(int err);
/* Leaves all shields, closes this task's scopes innermost first ([park]), stops its deadlines,
 * then ends it here. Frames are not unwound: cleanup attributes and C++ destructors do not run. In
 * gring_run's main it returns from gring_run; in gring_init's main it is a CHECK failure.
 * Returning from a task's function instead, with a deadline not stopped or a scope not closed, is
 * a CHECK failure: their memory is gone by then. So is a gring_timer still pending on its stack,
 * at either kind of end. An exception that leaves a task's function calls std::terminate. */
GRING_API void gring_exit(void *value) __attribute__((noreturn));
/* cb(arg) at this task's end, last in first out; it may park, and is not interrupted. status:
 * ENOMEM */
GRING_API int gring_defer(gring_cb cb, void *arg);

/* ---- cancellation -----------------------------------------------------------
 * Nothing is unwound: calls tagged [wait] return -1, and the code walks out by its ordinary
 * error paths.
 *   kill   sticky: every [wait] call fails with ECANCELED until the task ends, shields itself,
 *          or swallows it with
 *          gring_uncancel.
 *   throw  one-shot: the current or next [wait] call fails with err.
 *   kill beats throw beats an expired deadline (ETIMEDOUT, see greenring/time.h).
 * A parked task is taken out of its queue at once; one parked on IO stays parked until the
 * kernel has let go of its buffers. If the operation completed after all, its result is returned
 * and the cancellation waits for the next [wait]
 * call: no byte, no accepted connection is ever lost. Regular-file IO and name lookups that have
 * begun run to their end first. The why and how: docs/cancel.md.
 * A task killed before it started never runs: opts.abort(arg) is called, links and waiters see
 * ECANCELED. A kill reaches the children in the scopes that the task has open. None of these
 * parks the caller, which may be the target itself.
 * All: EINVAL a NULL task, EPERM the run it belonged to is over. [any] */
GRING_API int gring_kill(gring_task *t); /* 0, also when it has ended already */
/* gring_kill if it has not started: 0, else -1 EALREADY */
GRING_API int gring_cancel(gring_task *t);
/* ESRCH ended, EALREADY one is unreported, EINVAL err <= 0 */
GRING_API int gring_throw(gring_task *t, int err);
GRING_API int gring_killall(gring_task *const t[], size_t n);

/* 0, or the errno that the next [wait] call would report */
GRING_API int gring_cancelled(void);
/* swallows a pending kill: 1 there was one, 0. Scopes stay cancelled */
GRING_API int gring_uncancel(void);
GRING_API void gring_shield_enter(void); /* inside: kill, throw and outer deadlines wait; */
GRING_API void gring_shield_leave(void); /* deadlines started inside work. Nests */
/* GRING_SHIELD { ... } leaves the shield also on return, break and goto, so no path can leave a
 * task unkillable. */
typedef struct gring_shield_guard_ {
    int once;
} gring_shield_guard_;
static inline gring_shield_guard_ gring_shield_begin_(void)
{
    gring_shield_guard_ guard = { 1 };

    gring_shield_enter();
    return guard;
}
static inline void gring_shield_end_(gring_shield_guard_ *guard)
{
    (void)guard;
    gring_shield_leave();
}
#define GRING_SHIELD_(guard)                                                                       \
    for (gring_shield_guard_ guard GRING_CLEANUP(gring_shield_end_) = gring_shield_begin_();       \
         guard.once; guard.once = 0)
#define GRING_SHIELD GRING_SHIELD_(GRING_NAME_(gring_shield_, __COUNTER__))

/* ---- scheduling ------------------------------------------------------------ */
/* behind all that is ready; sched_yield(2) on a plain thread of a running program [wait] */
GRING_API int gring_yield(void);
/* For long computations: yields if the slice is used up, else costs a counter or, now and then,
 * a look at the clock. The slice is counted from when the hub last looked at its completions.
 * [wait] */
GRING_API int gring_checkpoint(void);
GRING_API int gring_idle(void); /* until the hub has nothing else to do [wait] */

/* ---- identity -------------------------------------------------------------- */
typedef enum { GRING_NEW, GRING_READY, GRING_RUNNING, GRING_PARKED, GRING_DONE } gring_state;
GRING_API gring_task *gring_self(void); /* borrowed; NULL outside a task, in callbacks too [any] */
GRING_API uint64_t gring_task_id(const gring_task *t);       /* never reused in a run [any] */
GRING_API gring_state gring_task_state(const gring_task *t); /* [any] */
/* "" without one; valid until the task renames itself or ends */
GRING_API const char *gring_task_name(const gring_task *t);
GRING_API int gring_set_name(const char *name); /* this task's; ENOMEM */
/* this task's, from its next turn on; EINVAL */
GRING_API int gring_set_prio(gring_prio prio);

/* ---- the one primitive under all waiting ------------------------------------
 * gring_park returns when somebody unparks this task; an unpark that came first is remembered
 * (once, the last value). For building new primitives. *value (may be NULL) is what gring_unpark
 * gave. */
GRING_API int gring_park(void **value);                 /* status [wait] */
GRING_API int gring_unpark(gring_task *t, void *value); /* ESRCH it has ended [any] */
GRING_END
#endif
