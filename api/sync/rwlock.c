/*
 * Reader-writer locks: one queue, first come, first served; see lock.h and <greenring/sync.h>.
 *
 *      held by            in the queue                 at the last unlock
 *     ┌─────────┐   first
 *     │ R  R  R │   ◄── W  R  R  W  R          W holds; then R R, together; then W; then R
 *     └─────────┘
 *
 * While nobody waits, readers join readers. Who waits is first a writer, or waits for one: so a
 * writer waits for those that came before it, and no longer.
 */
#include "api/result.h"
#include "api/sync/lock.h"

enum mode { MODE_READ, MODE_WRITE };

struct rwlock {
    struct sync sync;
    const void *writer;
    size_t reader_count;
};

static_assert(sizeof(struct rwlock) <= sizeof(gring_rwlock), "the caller's storage holds it");

static struct rwlock *rwlock_of(gring_rwlock *lock)
{
    return (struct rwlock *)(void *)lock;
}

static bool is_held(const struct rwlock *lock)
{
    return lock->writer || lock->reader_count;
}

/* Who holds a shared one may be looked at only inside. */
static int enter(struct rwlock *lock)
{
    return sync_enter(&lock->sync, !sync_is_shared(&lock->sync) && is_held(lock));
}

int gring_rwlock_init(gring_rwlock *storage, unsigned flags)
{
    *storage = (gring_rwlock){ 0 };
    return (int)api_result(sync_init(&rwlock_of(storage)->sync, flags));
}

static int destroy(struct rwlock *lock)
{
    int error = enter(lock);

    if (error < 0)
        return error;
    if (is_held(lock))
        error = -EBUSY;
    sync_leave(&lock->sync);
    return error;
}

int gring_rwlock_destroy(gring_rwlock *lock)
{
    return (int)api_result(destroy(rwlock_of(lock)));
}

/* ---- locking --------------------------------------------------------------------------------- */

/* With the lock entered. */
static bool is_open_to(const struct rwlock *lock, enum mode mode)
{
    return !lock->writer && (mode == MODE_READ || !lock->reader_count);
}

static void hold(struct rwlock *lock, enum mode mode, const void *taker)
{
    if (mode == MODE_WRITE)
        lock->writer = taker;
    else
        lock->reader_count++;
}

static int await_turn(struct rwlock *lock, enum mode mode, const void *taker)
{
    struct stay stay;
    int error;

    if (lock->writer == taker) {
        sync_leave(&lock->sync);
        return -EDEADLK;
    }
    stay.waiter.data = (void *)(uintptr_t)taker;
    stay.waiter.amount = mode;
    error = sync_park(&lock->sync, &lock->sync.waiters, &stay,
                      mode == MODE_WRITE ? "a write lock" : "a read lock", false);
    if (error == 0)
        lock_taken();
    return error;
}

static int take(struct rwlock *lock, enum mode mode)
{
    const void *taker = lock_taker();
    int error = enter(lock);

    if (error < 0)
        return error;
    if (!is_open_to(lock, mode) || !waiters_empty(&lock->sync.waiters))
        return await_turn(lock, mode, taker);
    hold(lock, mode, taker);
    lock_taken();
    sync_leave(&lock->sync);
    return 0;
}

int gring_rwlock_rdlock(gring_rwlock *lock)
{
    return (int)api_result(take(rwlock_of(lock), MODE_READ));
}

int gring_rwlock_wrlock(gring_rwlock *lock)
{
    return (int)api_result(take(rwlock_of(lock), MODE_WRITE));
}

/* ---- unlocking ------------------------------------------------------------------------------- */

/* The first writer, or all readers up to the next one. */
static void give_on(struct rwlock *lock, struct woken *woken)
{
    struct waiter *first;

    while ((first = waiters_first(&lock->sync.waiters)) &&
           is_open_to(lock, (enum mode)first->amount)) {
        CHECK(sync_serve_this(first, woken)); /* nothing interrupts who waits for a lock */
        hold(lock, (enum mode)first->amount, first->data);
    }
}

/* With the lock entered. */
static bool let_go(struct rwlock *lock)
{
    if (lock->writer) {
        if (lock->writer != sync_self())
            return false;
        lock->writer = NULL;
    } else {
        /* readers are counted, not listed: who holds no lock at all is none */
        if (!lock->reader_count || !lock_may_be_held())
            return false;
        lock->reader_count--;
    }
    return true;
}

static int unlock(struct rwlock *lock)
{
    struct woken woken;
    int error = enter(lock);

    if (error < 0)
        return error;
    woken_init(&woken);
    if (let_go(lock)) {
        give_on(lock, &woken);
        lock_given();
    } else {
        error = -EPERM;
    }
    sync_leave_and_wake(&lock->sync, &woken);
    return error;
}

int gring_rwlock_unlock(gring_rwlock *lock)
{
    return (int)api_result(unlock(rwlock_of(lock)));
}
