/* Ending tasks from outside, and not being ended: kill, throw, cancel, shields. docs/cancel.md
 * has the argument. */
#include "api/result.h"
#include "base/check.h"
#include "runtime/co.h"
#include "runtime/frame.h"
#include "runtime/runtime.h"

#include <greenring/task.h>

/* ---- of any task, by anybody ----------------------------------------------------------------- */

/* 0: it belongs to the hub that runs; and whether that is ours. */
static int find_hub(const struct gring_task *task, bool *here)
{
    if (!task)
        return -EINVAL;
    task_check_handle(task);
    *here = task->hub == hub_self();
    return *here || task->hub == runtime_hub() ? 0 : runtime_no_hub();
}

int gring_kill(gring_task *task)
{
    bool here;
    int error = find_hub(task, &here);

    if (error < 0)
        return (int)api_result(error);
    if (here)
        task_kill(task);
    else
        task_request(task, REQUEST_KILL);
    return 0;
}

int gring_throw(gring_task *task, int code)
{
    bool here;
    int error = find_hub(task, &here);

    if (error == 0)
        error = code > 0 ? task_throw(task, code) : -EINVAL;
    return (int)api_result(error);
}

struct cancel_request {
    struct gring_task *task;
    bool cancelled;
};

static void cancel_here(void *arg)
{
    struct cancel_request *request = arg;

    request->cancelled = task_cancel(request->task);
}

/* From another thread it has to come back with the answer, so it blocks for one turn of the hub. */
int gring_cancel(gring_task *task)
{
    struct cancel_request request = { .task = task };
    bool here;
    int error = find_hub(task, &here);

    if (error == 0 && here)
        cancel_here(&request);
    else if (error == 0)
        error = runtime_call(task->hub, cancel_here, &request);
    if (error == 0 && !request.cancelled)
        error = -EALREADY;
    return (int)api_result(error);
}

int gring_killall(gring_task *const tasks[], size_t count)
{
    int result = 0;

    for (size_t index = 0; index < count; index++)
        if (gring_kill(tasks[index]) < 0)
            result = -1;
    return result;
}

/* ---- of the running one ---------------------------------------------------------------------- */

int gring_cancelled(void)
{
    struct gring_task *task = gring_self();

    return task ? task_interruption(task) : 0;
}

int gring_uncancel(void)
{
    struct gring_task *task = gring_self();

    if (!task || !(task->interrupts & INTERRUPT_KILL))
        return 0;
    task->interrupts &= (uint8_t)~INTERRUPT_KILL;
    task->told_killed = false;
    return 1;
}

void gring_shield_enter(void)
{
    struct gring_task *task = gring_self();

    if (!task)
        return; /* nobody can be interrupted here */
    CHECK_SAY(
        task->shield_depth < UINT8_MAX,
        "shields are nested too deeply: a gring_shield_leave is missing; GRING_SHIELD leaves on "
        "every path");
    task->shield_depth++;
}

void gring_shield_leave(void)
{
    struct gring_task *task = gring_self();

    if (!task)
        return;
    CHECK_SAY(task->shield_depth > co_shields_outside(task),
              "gring_shield_leave was called without gring_shield_enter: use GRING_SHIELD, which "
              "leaves on every path");
    task->shield_depth--;
    if (UNLIKELY(task->interrupts))
        task_interrupted(task); /* what waited for this moment */
}
