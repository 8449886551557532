/* Who a task is. */
#include "api/result.h"
#include "runtime/runtime.h"

#include <greenring/hub.h>
#include <greenring/task.h>
#include <string.h>

gring_hub *gring_hub_self(void)
{
    return hub_self();
}

gring_task *gring_self(void)
{
    return hub_running_task();
}

uint64_t gring_task_id(const gring_task *task)
{
    task_check_handle(task);
    return task->id;
}

gring_state gring_task_state(const gring_task *task)
{
    task_check_handle(task);
    return (gring_state)(task_state(task) - TASK_NEW);
}

const char *gring_task_name(const gring_task *task)
{
    task_check_handle(task);
    return task_name(task);
}

int gring_set_name(const char *name)
{
    struct gring_task *task = gring_self();
    struct task_extras *extras;

    if (!task || !name)
        return (int)api_result(task ? -EINVAL : runtime_no_hub());
    extras = task_extras(task);
    if (!extras)
        return (int)api_result(-ENOMEM);
    memset(extras->name, 0, sizeof extras->name);
    strncpy(extras->name, name, sizeof extras->name - 1);
    return 0;
}

int gring_set_prio(gring_prio prio)
{
    struct gring_task *task = gring_self();

    if (!task)
        return (int)api_result(runtime_no_hub());
    if (prio < GRING_PRIO_BACKGROUND || prio > GRING_PRIO_HIGH)
        return (int)api_result(-EINVAL);
    task->lane = (uint8_t)(LANE_NORMAL - prio);
    return 0;
}
