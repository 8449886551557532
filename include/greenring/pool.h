/* greenring/pool.h - bounded concurrency (GreenPool, GreenPile), and pools of resources.
 *
 * Pools belong to the hub that uses them; EPERM elsewhere. */
#ifndef GRING_POOL_H
#define GRING_POOL_H
#include <greenring/task.h>
GRING_BEGIN

/* ---- task pool: at most `size` tasks at a time ----------------------------------------------- */
typedef struct gring_pool gring_pool;
/* size 0: every spawn waits until it is resized. NULL: EINVAL above INT_MAX, ENOMEM */
GRING_API gring_pool *gring_pool_new(size_t size);
/* Kills what is left, awaits it, frees. Not from one of its own tasks, nor while somebody waits
 * in gring_pool_spawn: CHECK failures. NULL is fine. [park] */
GRING_API void gring_pool_free(gring_pool *p);

/* Waits for a place, first come, first served; then spawns. The place is given back when the task
 * ends, however it does. The handle is the caller's (gring_join, gring_drop).
 * Called by one of the pool's own tasks while the pool is full it runs fn right there instead of
 * waiting for itself: the handle is then of a task that has ended. gring_exit in there ends the
 * caller, in map and pile as well: what a map had begun is killed and awaited.
 * NULL: what gring_spawn says, or the wait was interrupted: nothing was begun. [wait] */
GRING_API gring_task *gring_pool_spawn(gring_pool *p, gring_fn fn, void *arg);
/* The same without a handle. status [wait] */
GRING_API int gring_pool_spawn_n(gring_pool *p, gring_fn fn, void *arg);

GRING_API size_t gring_pool_running(const gring_pool *p);   /* tasks that have a place */
GRING_API long gring_pool_free_slots(const gring_pool *p);  /* below 0 after shrinking */
GRING_API size_t gring_pool_waiting(const gring_pool *p);   /* tasks waiting for a place */
/* Until no task has a place. status: EDEADLK from inside the pool [wait] */
GRING_API int gring_pool_waitall(gring_pool *p);
/* Growing admits those who wait; shrinking ends nobody, and admits no one until there is room
 * again. status: EINVAL above INT_MAX */
GRING_API int gring_pool_resize(gring_pool *p, size_t size);
GRING_API int gring_pool_killall(gring_pool *p); /* kills all that have a place. status */

/* fn over an array, at most pool-size at a time; results[i] and codes[i] (either may be NULL) are
 * what gring_join would give for args[i]. The number that failed (code not 0); or -1, and all
 * that were begun have been killed and awaited: of those that were not codes[i] is ECANCELED and
 * results[i] NULL. [wait] */
GRING_API ssize_t gring_pool_map(gring_pool *p, gring_fn fn, void *const args[], void *results[],
                                 int codes[], size_t n);

/* ---- pile: results in the order of spawning ----------------------------------------------------
 * Several tasks may spawn into a pile and several may take from it. */
typedef struct gring_pile gring_pile;
/* Many piles may share a pool, which must outlive them. NULL: ENOMEM */
GRING_API gring_pile *gring_pile_new(gring_pool *p);
/* As gring_pool_spawn_n. EPIPE after gring_pile_done. One that failed leaves no gap. [wait] */
GRING_API int gring_pile_spawn(gring_pile *q, gring_fn fn, void *arg);
/* No more spawns: lets gring_pile_next end. Twice is fine. status */
GRING_API int gring_pile_done(gring_pile *q);
/* next: *t is the oldest not yet returned. It has ended and is now the caller's: gring_join gives
 * value and code. 0 gring_pile_done was called and all are out. [wait] */
GRING_API int gring_pile_next(gring_pile *q, gring_task **t);
/* Kills and awaits the rest, drops what nobody took. Nobody may be in gring_pile_next or
 * gring_pile_spawn: a CHECK failure. NULL is fine. [park] */
GRING_API void gring_pile_free(gring_pile *q);

/* The next argument: 1 *arg; 0 that was all; -1 with errno: it failed. It may park. */
typedef int (*gring_source_fn)(void *ctx, void **arg);
/* A pile that a task of its own fills: it takes arguments from `source` and runs fn over them in
 * the pool. At most as many results as the pool has places now (at least 1) are begun and not yet
 * taken, so memory stays bounded however long the input is. Consume with gring_pile_next, release
 * with gring_pile_free; when the source failed gring_pile_next returns -1 with its errno after
 * the last result. What a job that is killed before it ran had as its argument is not freed.
 * NULL: what gring_spawn says, EINVAL */
GRING_API gring_pile *gring_pool_imap(gring_pool *p, gring_fn fn, gring_source_fn source,
                                      void *ctx);

/* ---- resource pool: connections and the like ------------------------------------------------- */
typedef struct gring_respool gring_respool;
typedef struct gring_respool_opts {
    size_t size;     /* sizeof(gring_respool_opts), set by GRING_RESPOOL_INIT */
    size_t min, max; /* idle ones are not closed for their age below min; max 0: EINVAL */
    /* status; may park. A failure takes no place */
    int (*create)(void *ctx, void **res);
    void (*destroy)(void *ctx, void *res); /* may park; shielded; NULL: nothing to do */
    /* when it is put back: -1 = unusable, it is destroyed; may park, shielded; or NULL */
    int (*check)(void *ctx, void *res);
    void *ctx;
    /* An idle one is destroyed when nobody has wanted it for so long, or this long after it was
     * made; 0 = no limit, < 0 none stays idle. An age is also looked at when it is put back. */
    gring_ns max_idle, max_age;
    gring_ns create_timeout; /* around create; 0 = none. Its ETIMEDOUT is gring_respool_get's */
    bool fifo;               /* the one idle for longest first; default: the last used */
} gring_respool_opts;
#define GRING_RESPOOL_INIT                                                                         \
    {                                                                                              \
        .size = sizeof(gring_respool_opts)                                                         \
    }
/* Makes nothing yet. NULL: EINVAL no create, min > max, max above INT_MAX; ENOMEM */
GRING_API gring_respool *gring_respool_new(const gring_respool_opts *opts);
/* Destroys what is idle. status: EBUSY while one is out or somebody waits. NULL is fine. [park] */
GRING_API int gring_respool_free(gring_respool *p);
/* An idle one, else a new one, else waits until one is put back; first come, first served.
 * status: what create failed with, which also lets the next one try [wait] */
GRING_API int gring_respool_get(gring_respool *p, void **res);
/* broken: destroyed; whoever waits makes a new one. May park in destroy and check, but is not
 * interrupted. status: EINVAL none is out [park] */
GRING_API int gring_respool_put(gring_respool *p, void *res, bool broken);
/* Shrinking destroys idle ones now and others as they are put back. status: EINVAL as new [park] */
GRING_API int gring_respool_resize(gring_respool *p, size_t max);
GRING_API long gring_respool_avail(const gring_respool *p); /* that get would give without waiting */
GRING_API size_t gring_respool_waiting(const gring_respool *p); /* tasks in gring_respool_get */
GRING_API int gring_respool_clear(gring_respool *p); /* destroys what is idle. status [park] */
GRING_END
#endif
