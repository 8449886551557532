/* Conditions: wait for somebody's word, without the mutex meanwhile; see <greenring/sync.h>. */
#include "api/result.h"
#include "api/sync/lock.h"

struct condition {
    struct sync sync;
};

static_assert(sizeof(struct condition) <= sizeof(gring_cond), "the caller's storage holds it");

static struct condition *condition_of(gring_cond *condition)
{
    return (struct condition *)(void *)condition;
}

int gring_cond_init(gring_cond *storage, unsigned flags)
{
    *storage = (gring_cond){ 0 };
    return (int)api_result(sync_init(&condition_of(storage)->sync, flags));
}

int gring_cond_destroy(gring_cond *condition)
{
    return (int)api_result(sync_destroy(&condition_of(condition)->sync, false));
}

/* ---- waiting --------------------------------------------------------------------------------- */

static int may_wait_with(const struct condition *condition, gring_mutex *mutex)
{
    int error = sync_may_wait();

    if (error < 0)
        return error;
    if (mutex)
        return mutex_check_held(mutex);
    /* without one, only that nobody else runs keeps the word from coming too early */
    return sync_is_shared(&condition->sync) ? -EINVAL : 0;
}

static void lock_again(gring_mutex *mutex)
{
    int error = mutex_lock(mutex);

    CHECK_SAY(error == 0, "a mutex that is not shared was taken by another thread while its holder "
                          "waited for a condition");
}

/* In the queue before the mutex is unlocked: whoever locks it next finds us there. */
static int wait_for_word(struct condition *condition, gring_mutex *mutex)
{
    struct sync *sync = &condition->sync;
    struct stay stay;
    int error = may_wait_with(condition, mutex);

    if (error == 0)
        error = sync_enter(sync, false);
    if (error < 0)
        return error;
    error = sync_enlist(sync, &sync->waiters, &stay, "a condition", true);
    sync_leave(sync);
    if (error < 0)
        return error;
    if (mutex)
        CHECK(mutex_unlock(mutex) == 0);
    error = sync_stay(&stay);
    if (mutex)
        lock_again(mutex);
    return error;
}

int gring_cond_wait(gring_cond *condition, gring_mutex *mutex)
{
    return (int)api_result(wait_for_word(condition_of(condition), mutex));
}

/* ---- waking ---------------------------------------------------------------------------------- */

static int wake(struct condition *condition, bool all)
{
    struct sync *sync = &condition->sync;
    struct woken woken;
    int error = sync_enter(sync, false);

    if (error < 0)
        return error;
    woken_init(&woken);
    while (sync_serve(&sync->waiters, &woken) && all)
        ;
    sync_leave_and_wake(sync, &woken);
    return 0;
}

int gring_cond_signal(gring_cond *condition)
{
    return (int)api_result(wake(condition_of(condition), false));
}

int gring_cond_broadcast(gring_cond *condition)
{
    return (int)api_result(wake(condition_of(condition), true));
}
