/* greenring/task.h - green threads: spawn, wait, link. */
#ifndef GRING_TASK_H
#define GRING_TASK_H
#include <greenring/base.h>
GRING_BEGIN

/* ---- spawning -------------------------------------------------------------
 * The new task is queued behind what is ready; the caller goes on. fn gets arg once. A handle must be released once:
 * gring_join or gring_drop; handles are void when the run has ended.
 * NULL: EINVAL no fn, ENOMEM, EAGAIN a limit is reached (max_tasks, vm.max_map_count; the log says which), EPERM on a
 * plain thread while the runtime runs elsewhere (use gring_spawn_on), ECANCELED while the run is being ended, ECHILD after
 * fork(2). */
GRING_API gring_task *gring_spawn(gring_fn fn, void *arg);
/* No handle, no result kept; cheaper. status */
GRING_API int gring_spawn_n(gring_fn fn, void *arg);
/* Starts after `delay`. Outlives the caller. */
GRING_API gring_task *gring_spawn_after(gring_ns delay, gring_fn fn, void *arg);

/* High runs before normal before background when several are ready; a lane that was passed over for some turns of the
 * loop gets a run, so none starves. */
typedef enum { GRING_PRIO_BACKGROUND = -1, GRING_PRIO_NORMAL = 0, GRING_PRIO_HIGH = 1 } gring_prio;
typedef struct gring_spawn_opts {
    size_t size;       /* sizeof(gring_spawn_opts), set by GRING_SPAWN_INIT */
    const char *name;  /* copied; 31 bytes kept */
    size_t stack_size; /* bytes; 0 = the run's default; 16 KiB to 1 GiB, else EINVAL */
    gring_prio prio;
    gring_ns delay;
    gring_cb abort; /* gets arg if fn is never going to run */
} gring_spawn_opts;
#define GRING_SPAWN_INIT                                                                           \
    {                                                                                              \
        .size = sizeof(gring_spawn_opts)                                                           \
    }
/* opts may be NULL. */
GRING_API gring_task *gring_spawn_with(const gring_spawn_opts *opts, gring_fn fn, void *arg);

/* ---- results ---------------------------------------------------------------
 * A task ends with a value (what fn returned) and a code (0, or what it failed with). gring_wait may be called by many
 * tasks, many times, from any hub or plain thread (which it blocks). *result (may be NULL) gets fn's return value even
 * when the code is not 0, so nothing it allocated is lost; NULL if fn never ran.
 * outcome: 0; err>0; -1 the waiter was interrupted (the task goes on), EDEADLK waiting for oneself, or nobody is left
 * who could end the task. The code is ECANCELED for a task that was killed at the end of the run: it never started, or
 * some [wait] call told it and it ended without a code of its own. [wait][any] */
GRING_API int gring_wait(gring_task *t, void **result);
/* gring_wait, then gring_drop unless it returned -1. [wait][any] */
GRING_API int gring_join(gring_task *t, void **result);
GRING_API void gring_drop(gring_task *t);        /* gives the handle back; the task goes on. NULL is fine [any] */
GRING_API gring_task *gring_keep(gring_task *t); /* one more handle [any] */
GRING_API int gring_waitall(gring_task *const t[], size_t n); /* until all have ended, whatever their codes. status [wait][any] */
/* The index of the first one in the array that has ended, waiting until one has; -1: EINVAL n is 0, ENOMEM. [wait] */
GRING_API int gring_waitany(gring_task *const t[], size_t n);

/* cb(t, arg) once t has ended, on t's stack, in the order linked; at once, here, if it has ended already. It may link
 * more, must not park. ENOMEM. gring_unlink takes back the oldest link of that cb and arg; ENOENT. [any]
 * The end of a task, in order: defers (last in first out), state GRING_DONE, links, waiters, its stack given back; the
 * record goes with the last handle. */
typedef void (*gring_link_fn)(gring_task *t, void *arg);
GRING_API int gring_link(gring_task *t, gring_link_fn cb, void *arg);
GRING_API int gring_unlink(gring_task *t, gring_link_fn cb, void *arg);

/* ---- ending ----------------------------------------------------------------
 * `return gring_fail(errno);` - ends with that code. Returns NULL. A failure that nobody waits for is logged once. */
GRING_API void *gring_fail(int err);
/* Ends this task here. C frames are not unwound: cleanup attributes do not run, and gring_timers on the stack must have
 * been stopped. In gring_run's main it returns from gring_run; in gring_init's main it is a CHECK failure. */
GRING_API void gring_exit(void *value) __attribute__((noreturn));
/* cb(arg) at this task's end, last in first out; it may park, and is not interrupted. status: ENOMEM */
GRING_API int gring_defer(gring_cb cb, void *arg);

/* ---- scheduling ------------------------------------------------------------ */
GRING_API int gring_yield(void); /* behind all that is ready; sched_yield(2) on a plain thread of a running program [wait] */
/* For long computations: yields if the slice is used up, else costs a counter or, now and then, a look at the clock.
 * The slice is counted from when the hub last looked at its completions. [wait] */
GRING_API int gring_checkpoint(void);
GRING_API int gring_idle(void); /* until the hub has nothing else to do [wait] */

/* ---- identity -------------------------------------------------------------- */
typedef enum { GRING_NEW, GRING_READY, GRING_RUNNING, GRING_PARKED, GRING_DONE } gring_state;
GRING_API gring_task *gring_self(void); /* borrowed; NULL outside a task, in callbacks too [any] */
GRING_API uint64_t gring_task_id(const gring_task *t);       /* never reused in a run [any] */
GRING_API gring_state gring_task_state(const gring_task *t); /* [any] */
GRING_API const char *gring_task_name(const gring_task *t);  /* "" without one; valid until the task renames itself or ends */
GRING_API int gring_set_name(const char *name);              /* this task's; ENOMEM */
GRING_API int gring_set_prio(gring_prio prio);               /* this task's, from its next turn on; EINVAL */

/* ---- the one primitive under all waiting ------------------------------------
 * gring_park returns when somebody unparks this task; an unpark that came first is remembered (once, the last value).
 * For building new primitives. *value (may be NULL) is what gring_unpark gave. */
GRING_API int gring_park(void **value);                 /* status [wait] */
GRING_API int gring_unpark(gring_task *t, void *value); /* ESRCH it has ended [any] */
GRING_END
#endif
