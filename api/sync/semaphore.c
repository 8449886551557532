/* Semaphores: units that are taken and given back; see <greenring/sync.h>. */
#include "api/result.h"
#include "api/sync/sync.h"
#include "base/list.h"

#include <greenring/sync.h>
#include <limits.h>

enum { UNITS_MAX = INT_MAX };

/* Who waits: the first one always for more units than there are. */
struct semaphore {
    struct sync sync;
    unsigned units;
    unsigned max; /* 0: UNITS_MAX */
};

static_assert(sizeof(struct semaphore) <= sizeof(gring_sem), "the caller's storage holds it");

static struct semaphore *semaphore_of(const gring_sem *semaphore)
{
    return (struct semaphore *)(uintptr_t)semaphore;
}

static unsigned units_max(const struct semaphore *semaphore)
{
    return semaphore->max ? semaphore->max : UNITS_MAX;
}

static int init(struct semaphore *semaphore, unsigned units, unsigned max, unsigned flags)
{
    semaphore->units = units;
    semaphore->max = max;
    if (max > UNITS_MAX || units > units_max(semaphore))
        return -EINVAL;
    return sync_init(&semaphore->sync, flags);
}

int gring_sem_init(gring_sem *storage, unsigned count, unsigned max, unsigned flags)
{
    *storage = (gring_sem){ 0 };
    return (int)api_result(init(semaphore_of(storage), count, max, flags));
}

int gring_sem_destroy(gring_sem *storage)
{
    return (int)api_result(sync_destroy(&semaphore_of(storage)->sync, false));
}

/* ---- acquiring ------------------------------------------------------------------------------- */

/* Whoever is first and can have all it wants. A waiter that cannot be served is being withdrawn by
 * another hub, which looks again when it is out. */
static void serve(struct sync *sync, struct woken *woken)
{
    struct semaphore *semaphore = CONTAINER_OF(sync, struct semaphore, sync);
    struct waiter *next;

    for (struct waiter *waiter = waiters_first(&sync->waiters); waiter; waiter = next) {
        if (waiter->amount > semaphore->units)
            return;
        next = waiter->next;
        if (sync_serve_this(waiter, woken))
            semaphore->units -= (unsigned)waiter->amount;
    }
}

/* With the semaphore entered. Nobody overtakes a waiter. */
static bool take(struct semaphore *semaphore, unsigned count)
{
    if (!waiters_empty(&semaphore->sync.waiters) || semaphore->units < count)
        return false;
    semaphore->units -= count;
    return true;
}

static int await_units(struct semaphore *semaphore, unsigned count)
{
    struct sync *sync = &semaphore->sync;
    struct stay stay;
    int error = -EINVAL;

    stay.waiter.amount = count;
    if (count <= units_max(semaphore))
        error = sync_enlist(sync, &sync->waiters, &stay, "a semaphore", true);
    stay.waiter.withdrawn = serve;
    sync_leave(sync);
    return error < 0 ? error : sync_stay(&stay);
}

static int acquire(struct semaphore *semaphore, unsigned count)
{
    int error = sync_may_wait();

    if (error == 0)
        error = sync_enter(&semaphore->sync, false);
    if (error < 0)
        return error;
    if (!take(semaphore, count))
        return await_units(semaphore, count);
    sync_leave(&semaphore->sync);
    return 0;
}

static int try_acquire(struct semaphore *semaphore)
{
    int error = sync_enter(&semaphore->sync, false);

    if (error < 0)
        return error;
    if (!take(semaphore, 1))
        error = -EAGAIN;
    sync_leave(&semaphore->sync);
    return error;
}

int gring_sem_acquire(gring_sem *semaphore)
{
    return (int)api_result(acquire(semaphore_of(semaphore), 1));
}

int gring_sem_acquire_n(gring_sem *semaphore, unsigned count)
{
    return (int)api_result(acquire(semaphore_of(semaphore), count));
}

int gring_sem_tryacquire(gring_sem *semaphore)
{
    return (int)api_result(try_acquire(semaphore_of(semaphore)));
}

/* ---- releasing ------------------------------------------------------------------------------- */

static int release(struct semaphore *semaphore, unsigned count)
{
    struct woken woken;
    int error = sync_enter(&semaphore->sync, false);

    if (error < 0)
        return error;
    woken_init(&woken);
    if (count > units_max(semaphore) - semaphore->units) {
        error = -EOVERFLOW;
    } else {
        semaphore->units += count;
        serve(&semaphore->sync, &woken);
    }
    sync_leave_and_wake(&semaphore->sync, &woken);
    return error;
}

int gring_sem_release(gring_sem *semaphore)
{
    return (int)api_result(release(semaphore_of(semaphore), 1));
}

int gring_sem_release_n(gring_sem *semaphore, unsigned count)
{
    return (int)api_result(release(semaphore_of(semaphore), count));
}

/* ---- looking --------------------------------------------------------------------------------- */

int gring_sem_balance(const gring_sem *storage)
{
    struct semaphore *semaphore = semaphore_of(storage);
    int error = sync_enter(&semaphore->sync, false);
    int balance;

    if (error < 0) {
        api_result(error);
        return INT_MIN;
    }
    balance = waiters_empty(&semaphore->sync.waiters)
                  ? (int)semaphore->units
                  : -(int)waiters_count(&semaphore->sync.waiters);
    sync_leave(&semaphore->sync);
    return balance;
}
