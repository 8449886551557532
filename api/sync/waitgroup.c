/* Wait groups: a counter one can wait to be zero; see <greenring/sync.h>. */
#include "api/result.h"
#include "api/sync/sync.h"

#include <greenring/sync.h>
#include <limits.h>

struct wait_group {
    struct sync sync;
    int count; /* 0: nobody waits */
};

static_assert(sizeof(struct wait_group) <= sizeof(gring_wg), "the caller's storage holds it");

static struct wait_group *wait_group_of(gring_wg *group)
{
    return (struct wait_group *)(void *)group;
}

int gring_wg_init(gring_wg *storage, unsigned flags)
{
    *storage = (gring_wg){ 0 };
    return (int)api_result(sync_init(&wait_group_of(storage)->sync, flags));
}

int gring_wg_destroy(gring_wg *group)
{
    return (int)api_result(sync_destroy(&wait_group_of(group)->sync, false));
}

/* ---- counting -------------------------------------------------------------------------------- */

/* With the group entered. */
static int change(struct wait_group *group, int delta)
{
    int count;

    if (__builtin_add_overflow(group->count, delta, &count))
        return -EOVERFLOW;
    if (count < 0)
        return -ERANGE;
    group->count = count;
    return 0;
}

static int add(struct wait_group *group, int delta)
{
    struct sync *sync = &group->sync;
    struct woken woken;
    int error = sync_enter(sync, false);

    if (error < 0)
        return error;
    woken_init(&woken);
    error = change(group, delta);
    while (!group->count && sync_serve(&sync->waiters, &woken))
        ;
    sync_leave_and_wake(sync, &woken);
    return error;
}

int gring_wg_add(gring_wg *group, int delta)
{
    return (int)api_result(add(wait_group_of(group), delta));
}

int gring_wg_done(gring_wg *group)
{
    return (int)api_result(add(wait_group_of(group), -1));
}

/* ---- waiting --------------------------------------------------------------------------------- */

static int await_zero(struct wait_group *group)
{
    struct sync *sync = &group->sync;
    struct stay stay;
    int error = sync_may_wait();

    if (error == 0)
        error = sync_enter(sync, false);
    if (error < 0)
        return error;
    if (group->count)
        return sync_park(sync, &sync->waiters, &stay, "a wait group", true);
    sync_leave(sync);
    return 0;
}

int gring_wg_wait(gring_wg *group)
{
    return (int)api_result(await_zero(wait_group_of(group)));
}
