/* greenring/hub.h - starting and ending the runtime.
 *
 * A hub is an OS thread with its own io_uring, timer wheel and run queue. A task is bound to its
 * hub for life (C code caches &errno and other thread-locals, so it must not migrate). There is
 * one runtime per process and, so far, one hub in it: the thread that started it.
 *
 * The end of a run: when main returns, the other tasks are killed and awaited: each of their
 * [wait] calls, the one they are parked in and every later one, fails with ECANCELED, so they
 * walk out by their ordinary error paths. A task that has not started never runs. IO under way
 * is cancelled and awaited, so no buffer is touched after the run. Tasks that have not ended 5 s
 * after they were killed are named through the log, and awaited all the same. gring_fini closes
 * the scopes that the main task has open.
 *
 * If every task waits for another one and nothing is in flight (no IO, no timer, no other thread
 * in the process), the tasks are named through the log and the main task's wait fails with
 * EDEADLK.
 *
 * exit(3) and abort(3) may be called in a task; handlers run on its stack, and what is in flight
 * goes with the process. A hub's thread must not end before its run: pthread_exit(3) in a task,
 * or returning from a thread's function without gring_fini, is a CHECK failure.
 *
 * fork(2): the child has no runtime. Calls that need one fail there with ECHILD until it starts
 * its own; those of greenring/io.h and net.h are the plain system calls. A task's function that
 * returns in the child ends the process with _exit: status 0, or 1 when it failed.
 */
#ifndef GRING_HUB_H
#define GRING_HUB_H
#include <greenring/base.h>
GRING_BEGIN

typedef struct gring_config {
    size_t size;   /* sizeof(gring_config), set by GRING_CONFIG_INIT */
    unsigned hubs; /* 0 or 1; ENOTSUP above: several hubs are not there yet */
    /* SQ entries; 0 = 256, 1 = 2; at most 32,768. The CQ has 8 times as many, at least 4,096 */
    unsigned ring_entries;
    /* bytes per task, committed as touched; 0 = 256 KiB with its guard; 16 KiB to 1 GiB */
    size_t stack_size;
    size_t max_tasks; /* gring_spawn fails with EAGAIN above it; 0 = what memory allows */
    unsigned flags;   /* GRING_RUN_* */
    uint64_t seed;    /* with GRING_RUN_SHUFFLE */
    gring_ns slice;   /* what gring_checkpoint grants; 0 = 10 ms */
} gring_config;
#ifdef __cplusplus
static inline gring_config gring_config_init_(void)
{
    gring_config init = gring_config();

    init.size = sizeof init;
    return init;
}
#define GRING_CONFIG_INIT gring_config_init_()
#else
#define GRING_CONFIG_INIT                                                                          \
    {                                                                                              \
        .size = sizeof(gring_config)                                                               \
    }
#endif

#define GRING_RUN_DRAIN 0x01u   /* when main returns: wait for the other tasks, do not kill them */
#define GRING_RUN_SHUFFLE 0x10u /* testing: randomise the run-queue order from .seed */
#define GRING_RUN_FAKETIME                                                                         \
    0x20u /* testing: time stands still, see gring_test_advance in greenring/debug.h */
#define GRING_RUN_NO_SIGSEGV 0x40u /* leave SIGSEGV alone: a stack overflow is then not named */

/* Runs fn(arg) as the main task on this thread, on its stack, and returns when it has returned
 * and every other task has ended. config may be NULL. *result (may be NULL) gets what fn
 * returned.
 * outcome of fn; -1: EBUSY already running, EINVAL NULL fn or an absurd config, ENOTSUP, ENOMEM;
 * EPERM, ENOSYS and what else io_uring_setup(2) says when the kernel refuses, after one logged
 * line that names the cause and the remedy. */
GRING_API int gring_run(gring_fn fn, void *arg, void **result);
GRING_API int gring_run_with(const gring_config *config, gring_fn fn, void *arg, void **result);

/* The same without inversion of control: the calling thread becomes the hub and its own stack
 * the main task's, until gring_fini, which must be called by that task. gring_spawn,
 * gring_spawn_n, gring_spawn_after, gring_spawn_with, gring_every, gring_scope_open, gring_sleep,
 * gring_sleep_until and gring_yield do gring_init(NULL) by themselves while the process has no
 * runtime. status: as gring_run. */
GRING_API int gring_init(const gring_config *config);
/* Ends the other tasks as described above, then the runtime. EPERM: not the main task, or in a
 * coroutine of it. [park] */
GRING_API int gring_fini(void);

/* of the library loaded; compare with GRING_VERSION [any] */
GRING_API unsigned gring_version(void);
GRING_API gring_hub *gring_hub_self(void); /* NULL on a thread without hub [any] */

/* Queues a callback onto the hub's loop; it must not park. hub: NULL is the running one. ENOMEM,
 * EPERM no runtime. [any] */
GRING_API int gring_post(gring_hub *hub, gring_cb cb, void *arg);
/* Starts a task on that hub, also from a plain thread, which blocks until the hub has taken it.
 * NULL: as gring_spawn. The handle may be waited for and dropped anywhere. [any] */
GRING_API gring_task *gring_spawn_on(gring_hub *hub, gring_fn fn, void *arg);
GRING_END
#endif
