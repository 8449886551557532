/*
 * Who locks: a task, or a plain thread; never a callback on the hub's loop.
 *
 * A lock is its taker's until the taker unlocks it. Each task counts those it has (task.h), so
 * that one that ends with a lock is caught: nobody could ever unlock it again.
 *
 * Unlocking with somebody waiting gives the lock on, to the first: it is never free in between, so
 * nobody overtakes, and who comes later waits its turn.
 */
#ifndef GRING_API_SYNC_LOCK_H
#define GRING_API_SYNC_LOCK_H

#include "api/sync/sync.h"

#include <greenring/sync.h>

/* Whoever takes a lock. In a callback on the loop there is nobody: caught. */
static inline const void *lock_taker(void)
{
    return hub_self() ? wait_task() : sync_self();
}

/* The calling task has one more. The first time is noted where it costs the other tasks nothing. */
static inline void lock_taken(void)
{
    struct gring_task *task = hub_self() ? hub_self()->running : NULL;

    if (!task)
        return;
    if (UNLIKELY(!task->has_locked)) {
        task->has_locked = true;
        task->locks_held = 0;
    }
    task->locks_held++;
}

/* One less. */
static inline void lock_given(void)
{
    struct gring_hub *hub = hub_self();

    if (hub)
        hub->running->locks_held--;
}

/* Of a plain thread nobody knows. */
static inline bool lock_may_be_held(void)
{
    struct gring_hub *hub = hub_self();

    return !hub || (hub->running && hub->running->has_locked && hub->running->locks_held);
}

/* ---- mutexes, for conditions: 0 or -errno ---------------------------------------------------- */

int mutex_lock(gring_mutex *mutex);
int mutex_unlock(gring_mutex *mutex);

/* -EPERM: the caller does not hold it. */
int mutex_check_held(gring_mutex *mutex);

#endif
