/* Timers without a task: a callback on the loop. */
#include "api/result.h"
#include "base/check.h"
#include "runtime/runtime.h"

#include <assert.h>
#include <greenring/time.h>

struct callback_timer {
    struct hub_timer timer;
    gring_cb cb;
    void *arg;
    struct gring_task *on_stack_of; /* whose memory it is, if it lies on its starter's stack */
    uint64_t run_number;            /* the run's whose wheel it was put on: no later one has it */
};

static_assert(sizeof(struct callback_timer) <= sizeof(gring_timer),
              "it lives in the caller's storage");

static struct callback_timer *inside(gring_timer *storage)
{
    return (struct callback_timer *)storage;
}

/* A task must not end with timers pending on its stack, so they are counted. */
static void begin_on_stack(struct callback_timer *timer, struct gring_task *task)
{
    if (!task || !stack_contains(task->coro, timer))
        return;
    timer->on_stack_of = task;
    task->stack_timer_count = task->has_stack_timers ? task->stack_timer_count + 1 : 1;
    task->has_stack_timers = true;
}

static void end_on_stack(struct callback_timer *timer)
{
    struct gring_task *task = timer->on_stack_of;

    if (task)
        task->has_stack_timers = --task->stack_timer_count > 0;
}

static void call_back(struct hub_timer *timer)
{
    struct callback_timer *due = CONTAINER_OF(timer, struct callback_timer, timer);

    end_on_stack(due);
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
    *timer = (struct callback_timer){
        .timer.on_fire = call_back, .cb = cb, .arg = arg, .run_number = hub->run_number
    };
    begin_on_stack(timer, hub->running);
    wheel_arm(&hub->wheel, &timer->timer.timer,
              clock_after(hub_read_clock(hub), duration > 0 ? duration : 0));
    return 0;
}

int gring_timer_stop(gring_timer *storage)
{
    struct callback_timer *timer = inside(storage);

    if (!hub_self())
        return (int)api_result(runtime_no_hub());
    if (!gring_timer_pending(storage))
        return 0;
    CHECK_SAY(wheel_has(&timer->timer.timer),
              "a gring_timer was copied or moved while it was pending: stop it where it is");
    wheel_disarm(&hub_self()->wheel, &timer->timer.timer);
    end_on_stack(timer);
    return 1;
}

bool gring_timer_pending(const gring_timer *storage)
{
    const struct callback_timer *timer = inside((gring_timer *)(uintptr_t)storage);
    const struct gring_hub *hub = hub_self();

    return hub && wheel_armed(&timer->timer.timer) && timer->run_number == hub->run_number;
}
