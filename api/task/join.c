/* Waiting for tasks, and their handles. */
#include "api/task/join.h"

#include "api/result.h"
#include "base/check.h"
#include "base/sys.h"
#include "runtime/runtime.h"
#include "runtime/wait.h"

#include <greenring/task.h>
#include <stdlib.h>

int join_collect(const struct gring_task *task, void **result)
{
    if (result)
        *result = task->result;
    return task->code;
}

/* ---- by a task ------------------------------------------------------------------------------- */

static void target_ended(struct end_waiter *waiter)
{
    source_done(&CONTAINER_OF(waiter, struct join, waiter)->source);
}

static void leave_target(struct source *source)
{
    list_unlink(&CONTAINER_OF(source, struct join, source)->waiter.link);
    source_done(source);
}

void join_enlist(struct wait *wait, struct join *join, struct gring_task *task)
{
    join->waiter = (struct end_waiter){ .on_end = target_ended };
    wait_hold(wait, &join->source, leave_target);
    task_add_waiter(task, &join->waiter);
}

/* 0: it has ended. */
static int wait_for(struct gring_task *task)
{
    struct join join;
    struct wait wait;
    int error;

    if (task == hub_self()->running)
        return -EDEADLK;
    error = wait_begin(&wait, "a join", -1);
    if (error < 0)
        return error;
    if (task_state(task) == TASK_DONE)
        return 0;
    join_enlist(&wait, &join, task);
    wait_park(&wait);
    return wait_outcome(&wait);
}

/* ---- by a plain thread: 0 or the code, or -errno --------------------------------------------- */

struct thread_join {
    struct end_waiter waiter;
    struct gring_task *task;
    void *result; /* copied by the hub: the record may go with the run before the thread looks */
    int code;
    atomic_uint ended;
};

static void wake_thread(struct end_waiter *waiter)
{
    struct thread_join *join = CONTAINER_OF(waiter, struct thread_join, waiter);
    atomic_uint *ended = &join->ended;

    join->code = join_collect(join->task, &join->result);
    atomic_store_explicit(ended, 1, memory_order_release);
    sys_futex_wake_all(ended); /* by address only: the thread's frame may be gone already */
}

static void enlist_thread(void *arg)
{
    struct thread_join *join = arg;

    join->task->outcome_seen = true;
    if (task_state(join->task) == TASK_DONE)
        wake_thread(&join->waiter);
    else
        task_add_waiter(join->task, &join->waiter);
}

static int block_for(struct gring_task *task, void **result)
{
    struct thread_join join = { .waiter.on_end = wake_thread, .task = task };
    int error = runtime_call(task->hub, enlist_thread, &join);

    if (error < 0)
        return error;
    while (!atomic_load_explicit(&join.ended, memory_order_acquire))
        sys_futex_wait(&join.ended, 0);
    if (result)
        *result = join.result;
    return join.code;
}

/* ---- the calls ------------------------------------------------------------------------------- */

int gring_wait(gring_task *task, void **result)
{
    int error = 0;

    if (!task)
        return (int)api_result(-EINVAL);
    if (task->hub != hub_self())
        return (int)api_result(block_for(task, result));
    if (task_state(task) != TASK_DONE)
        error = wait_for(task);
    else
        task->outcome_seen = true;
    return error < 0 ? (int)api_result(error) : join_collect(task, result);
}

static int wait_and_drop(gring_task *task, void **result)
{
    int outcome = gring_wait(task, result);

    if (outcome >= 0)
        gring_drop(task);
    return outcome;
}

/* A plain thread stays a visitor until its handle is back: the end of the run waits for that. */
int gring_join(gring_task *task, void **result)
{
    int outcome;

    if (!task || hub_self() || !runtime_visit(task->hub))
        return wait_and_drop(task, result);
    outcome = wait_and_drop(task, result);
    runtime_leave();
    return outcome;
}

void gring_drop(gring_task *task)
{
    if (!task)
        return;
    if (task->hub == hub_self())
        task_give_back(task);
    else
        task_request(task, REQUEST_DROP_UNIT);
}

gring_task *gring_keep(gring_task *task)
{
    if (!task)
        return api_null(-EINVAL);
    task_check_handle(task);
    if (task->hub == hub_self())
        task->handles++;
    else
        atomic_fetch_add_explicit(&task->keeps, 1, memory_order_relaxed);
    return task;
}

int gring_waitall(gring_task *const tasks[], size_t count)
{
    for (size_t index = 0; index < count; index++)
        if (gring_wait(tasks[index], NULL) < 0)
            return -1;
    return 0;
}

/* ---- any of several -------------------------------------------------------------------------- */

static int first_ended(gring_task *const tasks[], size_t count)
{
    for (size_t index = 0; index < count; index++)
        if (task_state(tasks[index]) == TASK_DONE)
            return (int)index;
    return -1;
}

static int wait_for_any(gring_task *const tasks[], size_t count)
{
    struct join *joins = malloc(count * sizeof *joins);
    struct wait wait;
    int error = joins ? wait_begin(&wait, "a join of any", -1) : -ENOMEM;

    if (error == 0) {
        for (size_t index = 0; index < count; index++)
            if (tasks[index] != wait.task) /* oneself never ends here */
                join_enlist(&wait, &joins[index], tasks[index]);
        error = wait.held_count ? 0 : -EDEADLK;
        if (error == 0) {
            wait_park(&wait);
            error = wait_outcome(&wait);
        }
    }
    free(joins);
    return error;
}

int gring_waitany(gring_task *const tasks[], size_t count)
{
    int error, index;

    if (!count || !hub_self())
        return (int)api_result(count ? runtime_no_hub() : -EINVAL);
    index = first_ended(tasks, count);
    if (index >= 0)
        return index;
    error = wait_for_any(tasks, count);
    return error < 0 ? (int)api_result(error) : first_ended(tasks, count);
}
