/* Timers without a task: a callback on the loop. */
#include "api/result.h"
#include "runtime/runtime.h"

#include <assert.h>
#include <greenring/time.h>

struct callback_timer {
    struct hub_timer timer;
    gring_cb cb;
    void *arg;
};

static_assert(sizeof(struct callback_timer) <= sizeof(gring_timer),
              "it lives in the caller's storage");

static struct callback_timer *inside(gring_timer *storage)
{
    return (struct callback_timer *)storage;
}

static void call_back(struct hub_timer *timer)
{
    struct callback_timer *due = CONTAINER_OF(timer, struct callback_timer, timer);

    due->cb(due->arg); /* last: it may free the timer or start it again */
}

int gring_timer_start(gring_timer *storage, gring_ns duration, gring_cb cb, void *arg)
{
    struct gring_hub *hub = hub_self();
    struct callback_timer *timer = inside(storage);

    if (!hub || !cb)
        return (int)api_result(hub ? -EINVAL : runtime_no_hub());
    if (gring_timer_pending(storage))
        return (int)api_result(-EBUSY);
    *timer = (struct callback_timer){ .timer.on_fire = call_back, .cb = cb, .arg = arg };
    wheel_arm(&hub->wheel, &timer->timer.timer,
              clock_after(hub_read_clock(hub), duration > 0 ? duration : 0));
    return 0;
}

int gring_timer_stop(gring_timer *storage)
{
    if (!hub_self())
        return (int)api_result(runtime_no_hub());
    return wheel_disarm(&hub_self()->wheel, &inside(storage)->timer.timer);
}

bool gring_timer_pending(const gring_timer *storage)
{
    return wheel_armed(&inside((gring_timer *)(uintptr_t)storage)->timer.timer);
}
