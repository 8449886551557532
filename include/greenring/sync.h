/* greenring/sync.h - event, semaphore, mutex, rwlock, condition, wait group.
 *
 * All are storage the caller provides; zero bytes are ready (an event unset, a semaphore of 0, a
 * lock free) and hub-local. The init functions are for GRING_SHARED and for initial counts:
 * status, EINVAL unknown flags; never on one that is in use. No object may be copied or moved
 * while somebody waits at it or holds it.
 *
 * Waiters are served first come, first served, and what is given to one is its own at once: who
 * comes later cannot overtake it, also not before it runs. A waiter that is killed, thrown at or
 * timed out leaves the queue and takes nothing with it; one that was served first succeeds, and
 * the interruption waits for the next call. Waking never parks: none of the calls without a tag
 * does, and callbacks on the hub's loop (timers, links) may make them.
 *
 * Hub-local objects are for the tasks of one hub. While somebody waits at one or holds it, calls
 * from another hub or a plain thread fail with EPERM; so does a plain thread that would have to
 * wait. While it is idle it belongs to nobody: it may be used before a run, after it, and in the
 * next. Shared ones (GRING_SHARED) are for all hubs and plain threads, which they block; those may
 * make every call here, also while no runtime runs.
 *
 * The destroy functions: status, EBUSY somebody waits or holds. What was not destroyed needs not
 * be: objects own no memory. The memory may go when the last call that can touch it has returned;
 * a waiter that was served or interrupted touches it no more.
 *
 * As in POSIX, taking a mutex or rwlock is no cancellation point ([park]); where a wait for
 * exclusion must be interruptible, use a semaphore of 1. If all tasks wait for each other and the
 * main task is in a [park] call, which has no error path, the process is aborted, and the log says
 * who waits in what. */
#ifndef GRING_SYNC_H
#define GRING_SYNC_H
#include <greenring/base.h>
GRING_BEGIN

/* ---- event: a value (or a failure) sent once, seen by any number, early or late -------------- */
typedef struct gring_event {
    uint64_t _[6];
} gring_event;
GRING_API int gring_event_init(gring_event *e, unsigned flags);
GRING_API int gring_event_destroy(gring_event *e);
/* status: EALREADY sent or failed before, and not reset since */
GRING_API int gring_event_send(gring_event *e, void *value);
/* err > 0: what gring_event_wait returns; EINVAL others. status: EALREADY */
GRING_API int gring_event_fail(gring_event *e, int err);
/* Until something is sent; at once if it was. *value, which may be NULL, gets it. outcome [wait] */
GRING_API int gring_event_wait(gring_event *e, void **value);
/* The same without waiting. outcome; -1 EAGAIN not yet */
GRING_API int gring_event_poll(gring_event *e, void **value);
GRING_API bool gring_event_ready(const gring_event *e);
/* Unset again; those it has woken already keep what was sent. status */
GRING_API int gring_event_reset(gring_event *e);

/* ---- semaphore: units to be taken and given back, by anybody --------------------------------- */
typedef struct gring_sem {
    uint64_t _[6];
} gring_sem;
/* count: the units there are at first. max: the most there may ever be, at most INT_MAX; 0: that.
 * status: EINVAL count above max, max above INT_MAX */
GRING_API int gring_sem_init(gring_sem *s, unsigned count, unsigned max, unsigned flags);
GRING_API int gring_sem_destroy(gring_sem *s);
/* One unit; waits until there is one and nobody came earlier. status [wait] */
GRING_API int gring_sem_acquire(gring_sem *s);
/* All n or none. Who wants many is not overtaken by who wants few: while the first waiter wants
 * more than there is, those behind it wait, too; when it is interrupted they are served. 0 units
 * are had when it is one's turn. status: EINVAL more than max [wait] */
GRING_API int gring_sem_acquire_n(gring_sem *s, unsigned n);
/* One unit without waiting. status: EAGAIN none, or others wait */
GRING_API int gring_sem_tryacquire(gring_sem *s);
/* Gives units, taken or new, to the first waiters. status: EOVERFLOW there would be more than max,
 * and none was given */
GRING_API int gring_sem_release(gring_sem *s);
GRING_API int gring_sem_release_n(gring_sem *s, unsigned n);
/* The free units; or, if somebody waits, minus how many do: time grows with their number. INT_MIN:
 * EPERM. */
GRING_API int gring_sem_balance(const gring_sem *s);

/* ---- mutex: one holder ----------------------------------------------------------------------
 * The holder is the task, or the plain thread, that locked it, and it alone unlocks. A callback
 * on the hub's loop cannot be one: locking there is caught by CHECK. So is a task that ends with
 * a mutex or rwlock locked, however it ends: nobody could ever unlock it. */
typedef struct gring_mutex {
    uint64_t _[6];
} gring_mutex;
GRING_API int gring_mutex_init(gring_mutex *m, unsigned flags);
GRING_API int gring_mutex_destroy(gring_mutex *m);
/* status: EDEADLK held by this task. Not recursive [park] */
GRING_API int gring_mutex_lock(gring_mutex *m);
/* status: EBUSY held, by whomever; EPERM in a callback */
GRING_API int gring_mutex_trylock(gring_mutex *m);
/* To the first waiter, which then holds it, though it runs later. status: EPERM not held by this
 * task */
GRING_API int gring_mutex_unlock(gring_mutex *m);

/* ---- rwlock: one writer, or any number of readers ---------------------------------------------
 * In the order in which they came: a waiting writer holds back readers that come later, and
 * readers that came between two writers read together. Holders as with the mutex. */
typedef struct gring_rwlock {
    uint64_t _[8];
} gring_rwlock;
GRING_API int gring_rwlock_init(gring_rwlock *l, unsigned flags);
GRING_API int gring_rwlock_destroy(gring_rwlock *l);
/* To read: with other readers. status: EDEADLK this task holds it to write. Who reads already and
 * asks again waits for ever if a writer came in between: readers are counted, not listed. [park] */
GRING_API int gring_rwlock_rdlock(gring_rwlock *l);
/* To write: alone. status: EDEADLK this task holds it to write. Of a reader that wants to write,
 * too, nobody knows: it waits for itself. [park] */
GRING_API int gring_rwlock_wrlock(gring_rwlock *l);
/* Either. status: EPERM not held, held to write by another, or read, and this task holds no lock
 * at all */
GRING_API int gring_rwlock_unlock(gring_rwlock *l);

/* ---- condition: wait for somebody's word, without the mutex meanwhile -------------------------
 * A word that nobody waits for is lost: say it after changing, under the mutex, what the waiters
 * look at. There are no spurious wake-ups, but others may have had the mutex in between: look
 * again in a loop. */
typedef struct gring_cond {
    uint64_t _[6];
} gring_cond;
GRING_API int gring_cond_init(gring_cond *c, unsigned flags);
GRING_API int gring_cond_destroy(gring_cond *c);
/* Unlocks m, waits for the word, locks m again, which nothing interrupts: it is held on return,
 * also on -1. m may be NULL if c is hub-local: between two [wait] calls no other task of the hub
 * runs anyway. All who wait at c at once use the same m. status: EPERM m is not held by this task;
 * EINVAL m is NULL and c is shared [wait] */
GRING_API int gring_cond_wait(gring_cond *c, gring_mutex *m);
/* The first waiter; all of them. status */
GRING_API int gring_cond_signal(gring_cond *c);
GRING_API int gring_cond_broadcast(gring_cond *c);

/* ---- wait group: a counter one can wait to be zero --------------------------------------------
 * Starts at zero and may come back to it any number of times. */
typedef struct gring_wg {
    uint64_t _[6];
} gring_wg;
GRING_API int gring_wg_init(gring_wg *w, unsigned flags);
GRING_API int gring_wg_destroy(gring_wg *w);
/* Zero wakes all waiters, who succeed whatever is added before they run. status: ERANGE it would
 * be below zero, EOVERFLOW above INT_MAX; it stays as it was */
GRING_API int gring_wg_add(gring_wg *w, int delta);
/* One less. status: ERANGE */
GRING_API int gring_wg_done(gring_wg *w);
/* Until it is zero; at once if it is. status [wait] */
GRING_API int gring_wg_wait(gring_wg *w);
GRING_END
#endif
