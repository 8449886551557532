/* greenring/scope.h - structured concurrency: tasks that cannot outlive a block.
 *
 *   gring_scope s;
 *   gring_scope_open(&s, 0);
 *   gring_scope_spawn(&s, left, x);
 *   gring_scope_spawn(&s, right, y);
 *   int rc = gring_scope_wait(&s);      0, or the code of the first that failed
 *   gring_scope_close(&s);              nobody is left after this line
 *
 * A scope belongs to the task that opened it. It is cancelled when a child fails (unless
 * GRING_SCOPE_COLLECT), when its owner is killed, and when a deadline that encloses it expires.
 * Cancelling kills the children and, through them, the scopes they have opened. A kill reaches
 * the children when it becomes deliverable to the owner, not inside its shield.
 *
 * A child fails when it ends with a code other than 0. One that was killed, by the scope or by
 * anybody, and ends with ECANCELED has not failed: whoever killed it knows. */
#ifndef GRING_SCOPE_H
#define GRING_SCOPE_H
#include <errno.h>
#include <greenring/task.h>
GRING_BEGIN
typedef struct gring_scope {
    uint64_t _[16];
} gring_scope;
#define GRING_SCOPE_COLLECT                                                                        \
    0x1u /* a failing child leaves its siblings alone; the first code is still reported */

/* Starts the runtime if the process has none. status: EINVAL unknown flags, EBUSY it is open
 * already; EPERM on a plain thread and in callbacks, and what gring_init says: then it is as
 * after gring_scope_close. */
GRING_API int gring_scope_open(gring_scope *s, unsigned flags);

/* As gring_spawn. Any task of the hub may call it, the children too. The handle is borrowed,
 * like that of any task with a scope, also from gring_spawn_with and gring_every: valid until
 * gring_scope_close; it must not be dropped or joined, but waited for, killed, kept
 * (gring_keep).
 * NULL besides: ECANCELED the scope is cancelled, fn will not run; EINVAL it is not open. */
GRING_API gring_task *gring_scope_spawn(gring_scope *s, gring_fn fn, void *arg);
/* No handle, and the record goes at the child's end: for a server that spawns for ever. status */
GRING_API int gring_scope_spawn_n(gring_scope *s, gring_fn fn, void *arg);

/* cb(arg) in gring_scope_close, after the last task is gone, last in first out, shielded. It may
 * park. ENOMEM, EINVAL */
GRING_API int gring_scope_defer(gring_scope *s, gring_cb cb, void *arg);

/* Until no task but daemons is left; the scope stays open. If the owner is interrupted the scope
 * is cancelled and still awaited, daemons included.
 * outcome: 0; err>0 what cancelled it first or failed first: a child's code,
 * gring_scope_cancel's, ECANCELED the owner was killed, ETIMEDOUT a deadline; -1 this wait was
 * interrupted, EPERM not the owner, EINVAL it is not open. [wait] */
GRING_API int gring_scope_wait(gring_scope *s);

/* Kills what is left, and nothing can be spawned into it from now on. err: what gring_scope_wait
 * will report, 0 = nothing besides a failure that came before. The scope must be open. [any] */
GRING_API void gring_scope_cancel(gring_scope *s, int err);

/* Cancels, awaits everybody, runs the defers, releases the handles. Returns like
 * gring_scope_wait, but never -1. To be called by the owner, once: another task's call is a
 * CHECK failure, as it would wait for itself or take the owner's memory away; a second one does
 * nothing and returns 0. [park] */
GRING_API int gring_scope_close(gring_scope *s);

/* Children that have not ended, daemons included; 0 when closed. */
GRING_API size_t gring_scope_live(const gring_scope *s);

static inline void gring_scope_auto_(gring_scope *s)
{
    int saved_errno = errno;

    (void)gring_scope_close(s);
    errno = saved_errno;
}
/* gring_auto_scope(s); - opened here, closed at the end of the C block. */
#define gring_auto_scope(name)                                                                     \
    gring_scope name GRING_CLEANUP(gring_scope_auto_);                                             \
    (void)gring_scope_open(&name, 0)
GRING_END
#endif
