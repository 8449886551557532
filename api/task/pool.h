/*
 * Pools from the inside, for what is built on them: map, pile, imap.
 *
 *     pool ─► members   one record for each task that has a place
 *                └─ waits for its task's end like any other waiter, and gives the place back there
 */
#ifndef GRING_API_TASK_POOL_H
#define GRING_API_TASK_POOL_H

#include "base/list.h"
#include "runtime/task.h"

#include <greenring/pool.h>

struct pool_member {
    struct end_waiter waiter;
    struct list link; /* among the pool's */
    struct gring_pool *pool;
    struct gring_task *task;
    /* told before the place is given back; may be NULL. arg: whose member it is */
    void (*on_end)(struct pool_member *member);
    void *arg;
    size_t index; /* the member's user's */
};

/* Waits for a place, then spawns. 0 and *task, whose handle is the caller's; or -errno. on_end
 * may be called before this returns: in a full pool's own task fn runs at once. */
int pool_spawn(gring_pool *pool, gring_fn fn, void *arg, const struct pool_member *like,
               gring_task **task);

size_t pool_size(const gring_pool *pool);

/* Kills the members whose arg this is; NULL: all. */
void pool_kill(gring_pool *pool, const void *arg);

#endif
