/* The log's sink, counters, and time for tests. */
#include "api/result.h"
#include "base/log.h"
#include "base/sys.h"
#include "runtime/runtime.h"

#include <greenring/debug.h>
#include <greenring/task.h>
#include <string.h>

void gring_set_log(gring_log_fn fn, void *arg)
{
    log_set_sink(fn, arg);
}

/* A directory is read for it, which may set errno. */
static uint64_t kernel_worker_count(void)
{
    int saved_errno = errno;
    int count = sys_kernel_worker_count();

    errno = saved_errno;
    return (uint64_t)count;
}

int gring_stats_get(gring_stats *stats)
{
    struct gring_hub *hub = hub_self();
    gring_stats all;

    if (!hub || !stats || stats->size < sizeof stats->size || stats->size > sizeof all)
        return (int)api_result(hub ? -EINVAL : runtime_no_hub());
    all = (gring_stats){
        .size = stats->size,
        .tasks = hub->live_count,
        .spawned = hub->spawn_count,
        .switches = hub->switch_count,
        .turns = hub->turn_count,
        .enters = hub->ops.ring.enter_count,
        .sqes = hub->ops.ring.submit_count,
        .cqes = hub->ops.ring.complete_count,
        .cq_overflows = hub->ops.ring.overflow_count,
        .cancels = hub->ops.cancel_count,
        .retries = hub->ops.retry_count,
        .in_flight = hub->ops.in_flight_count - hub->mailbox.watched,
        .timers = wheel_count(&hub->wheel),
        .stack_bytes = hub->stacks.mapped_bytes,
        .buffers = hub->buffers.memory ? hub->buffers.count : 0,
        .buffers_lent = hub->buffers.lent_count,
        .buffer_waits = hub->buffers.wait_count,
        .kernel_workers = kernel_worker_count(),
    };
    memcpy(stats, &all, stats->size);
    return 0;
}

/* Steps from timer to timer, so that what one wakes runs at that timer's time. */
int gring_test_advance(gring_ns duration)
{
    struct gring_hub *hub = hub_self();
    gring_ns target;

    if (!hub || !hub->config.fake_time || duration < 0)
        return (int)api_result(-EINVAL);
    if (gring_idle() < 0) /* what is ready runs at the present time */
        return -1;
    target = clock_after(hub->now, duration);
    for (;;) {
        gring_ns next = wheel_next(&hub->wheel);

        if (next > target)
            break;
        hub_set_time(hub, next > hub->now ? next : hub->now);
        if (gring_idle() < 0)
            return -1;
    }
    hub_set_time(hub, target);
    return gring_idle();
}
