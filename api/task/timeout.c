/* Deadlines, as the public names them: storage of the caller's, and the running task. */
#include "api/result.h"
#include "base/check.h"
#include "runtime/deadline.h"
#include "runtime/runtime.h"

#include <assert.h>
#include <greenring/task.h>
#include <greenring/time.h>

static_assert(sizeof(struct deadline) <= sizeof(gring_timeout), "it lives in the caller's storage");

static struct deadline *inside(gring_timeout *storage)
{
    return (struct deadline *)storage;
}

static int start(gring_timeout *storage, struct gring_task *task, gring_ns now, gring_ns instant)
{
    struct deadline *deadline = inside(storage);

    if (UNLIKELY(frame_on_list(task, &deadline->frame)))
        return -EBUSY;
    deadline_start(task, deadline, now, instant);
    return 0;
}

/* Stopping what could not be started does nothing. */
static int refuse(gring_timeout *storage)
{
    inside(storage)->frame.task = NULL;
    return (int)api_result(hub_self() ? -EPERM : runtime_no_hub());
}

int gring_timeout_start(gring_timeout *storage, gring_ns duration)
{
    struct gring_task *task = gring_self();
    gring_ns now;

    if (UNLIKELY(!task))
        return refuse(storage);
    now = hub_read_clock(task->hub);
    return (int)api_result(
        start(storage, task, now, duration > 0 ? clock_after(now, duration) : now));
}

int gring_timeout_start_at(gring_timeout *storage, gring_ns instant)
{
    struct gring_task *task = gring_self();

    if (UNLIKELY(!task))
        return refuse(storage);
    return (int)api_result(start(storage, task, hub_read_clock(task->hub), instant));
}

int gring_timeout_reset(gring_timeout *storage, gring_ns duration)
{
    struct gring_task *task = gring_self();
    struct deadline *deadline = inside(storage);
    gring_ns now;

    if (!task || deadline->frame.task != task || deadline->frame.expired)
        return (int)api_result(-EINVAL);
    now = hub_read_clock(task->hub);
    deadline_move(deadline, now, duration > 0 ? clock_after(now, duration) : now);
    return 0;
}

bool gring_timeout_expired(const gring_timeout *storage)
{
    const struct deadline *deadline = inside((gring_timeout *)(uintptr_t)storage);

    return deadline->frame.expired;
}

int gring_timeout_stop(gring_timeout *storage)
{
    struct deadline *deadline = inside(storage);

    if (!deadline->frame.task)
        return 0; /* not started */
    if (LIKELY(deadline->frame.task == gring_self()))
        return deadline_stop(deadline);
    CHECK_SAY(runtime_is_lost(),
              "a deadline was stopped by a task or thread that did not start it: only the task "
              "whose calls it bounds may stop it");
    return 0; /* the child of a fork */
}

gring_ns gring_time_left(void)
{
    struct gring_task *task = gring_self();
    gring_ns earliest = task ? deadline_earliest(task) : CLOCK_FOREVER;
    gring_ns now;

    if (earliest == CLOCK_FOREVER)
        return GRING_FOREVER;
    now = hub_read_clock(task->hub);
    return earliest > now ? earliest - now : 0;
}
