/* Mutexes: one holder, which unlocks by giving on; see lock.h and <greenring/sync.h>. */
#include "api/result.h"
#include "api/sync/lock.h"

struct mutex {
    struct sync sync;
    const void *owner; /* NULL: free, and nobody waits */
};

static_assert(sizeof(struct mutex) <= sizeof(gring_mutex), "the caller's storage holds it");

static struct mutex *mutex_of(gring_mutex *mutex)
{
    return (struct mutex *)(void *)mutex;
}

/* A shared one's owner may be looked at only inside. */
static int enter(struct mutex *mutex)
{
    return sync_enter(&mutex->sync, !sync_is_shared(&mutex->sync) && mutex->owner);
}

int gring_mutex_init(gring_mutex *storage, unsigned flags)
{
    *storage = (gring_mutex){ 0 };
    return (int)api_result(sync_init(&mutex_of(storage)->sync, flags));
}

static int destroy(struct mutex *mutex)
{
    int error = enter(mutex);

    if (error < 0)
        return error;
    if (mutex->owner)
        error = -EBUSY;
    sync_leave(&mutex->sync);
    return error;
}

int gring_mutex_destroy(gring_mutex *mutex)
{
    return (int)api_result(destroy(mutex_of(mutex)));
}

/* ---- locking --------------------------------------------------------------------------------- */

/* The owner gives it to us when our turn has come. */
static __attribute__((noinline)) int await_turn(struct mutex *mutex, const void *taker)
{
    struct stay stay;
    int error;

    if (mutex->owner == taker) {
        sync_leave(&mutex->sync);
        return -EDEADLK;
    }
    stay.waiter.data = (void *)(uintptr_t)taker;
    error = sync_park(&mutex->sync, &mutex->sync.waiters, &stay, "a mutex", false);
    if (error == 0)
        lock_taken();
    return error;
}

static inline int lock(struct mutex *mutex)
{
    const void *taker = lock_taker();
    int error = enter(mutex);

    if (error < 0)
        return error;
    if (UNLIKELY(mutex->owner))
        return await_turn(mutex, taker);
    mutex->owner = taker;
    lock_taken();
    sync_leave(&mutex->sync);
    return 0;
}

int mutex_lock(gring_mutex *mutex)
{
    return lock(mutex_of(mutex));
}

static int try_lock(struct mutex *mutex)
{
    const void *taker = sync_self();
    int error = enter(mutex);

    if (error < 0)
        return error;
    if (!taker) {
        error = -EPERM;
    } else if (mutex->owner) {
        error = -EBUSY;
    } else {
        mutex->owner = taker;
        lock_taken();
    }
    sync_leave(&mutex->sync);
    return error;
}

int gring_mutex_lock(gring_mutex *mutex)
{
    return (int)api_result(lock(mutex_of(mutex)));
}

int gring_mutex_trylock(gring_mutex *mutex)
{
    return (int)api_result(try_lock(mutex_of(mutex)));
}

/* ---- unlocking ------------------------------------------------------------------------------- */

/* With the mutex entered: in a callback on the loop there is no self, and no owner is NULL too. */
static bool is_mine(const struct mutex *mutex)
{
    return mutex->owner && mutex->owner == sync_self();
}

/* With the mutex entered, and left. */
static __attribute__((noinline)) int give_on(struct mutex *mutex)
{
    const struct waiter *next;
    struct woken woken;

    woken_init(&woken);
    next = sync_serve(&mutex->sync.waiters, &woken);
    mutex->owner = next ? next->data : NULL;
    sync_leave_and_wake(&mutex->sync, &woken);
    return 0;
}

static inline int unlock(struct mutex *mutex)
{
    int error = enter(mutex);

    if (error < 0)
        return error;
    if (LIKELY(is_mine(mutex))) {
        lock_given();
        if (UNLIKELY(!waiters_empty(&mutex->sync.waiters)))
            return give_on(mutex);
        mutex->owner = NULL;
    } else {
        error = -EPERM;
    }
    sync_leave(&mutex->sync);
    return error;
}

int mutex_unlock(gring_mutex *mutex)
{
    return unlock(mutex_of(mutex));
}

int mutex_check_held(gring_mutex *storage)
{
    struct mutex *mutex = mutex_of(storage);
    int error = enter(mutex);

    if (error < 0)
        return error;
    if (!is_mine(mutex))
        error = -EPERM;
    sync_leave(&mutex->sync);
    return error;
}

int gring_mutex_unlock(gring_mutex *mutex)
{
    return (int)api_result(unlock(mutex_of(mutex)));
}
