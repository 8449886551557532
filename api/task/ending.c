/* What happens at a task's end: failing, defers, links. */
#include "api/result.h"
#include "runtime/runtime.h"

#include <greenring/task.h>
#include <stdlib.h>

void *gring_fail(int code)
{
    task_fail(code);
    return NULL;
}

int gring_defer(gring_cb cb, void *arg)
{
    struct gring_task *task = gring_self();
    struct task_extras *extras;
    struct ending *ending;

    if (!task || !cb)
        return (int)api_result(task ? -EINVAL : runtime_no_hub());
    extras = task_extras(task);
    ending = extras ? malloc(sizeof *ending) : NULL;
    if (!ending)
        return (int)api_result(-ENOMEM);
    *ending = (struct ending){ .next = extras->defers, .defer_fn = cb, .arg = arg };
    extras->defers = ending;
    return 0;
}

/* ---- links ----------------------------------------------------------------------------------- */

struct link_request {
    struct gring_task *task;
    gring_link_fn cb;
    void *arg;
    int error;
};

static int append_link(struct gring_task *task, gring_link_fn cb, void *arg)
{
    struct task_extras *extras = task_extras(task);
    struct ending *ending = extras ? malloc(sizeof *ending) : NULL;

    if (!ending)
        return -ENOMEM;
    *ending = (struct ending){ .link_fn = cb, .arg = arg };
    *extras->links_tail = ending;
    extras->links_tail = &ending->next;
    return 0;
}

static void link_here(void *arg)
{
    struct link_request *request = arg;

    if (task_state(request->task) == TASK_DONE && !request->task->links_running)
        request->cb(request->task, request->arg);
    else
        request->error = append_link(request->task, request->cb, request->arg);
}

static void unlink_here(void *arg)
{
    struct link_request *request = arg;
    struct task_extras *extras = request->task->extras;
    struct ending **at = extras ? &extras->links : NULL;

    while (at && *at && ((*at)->link_fn != request->cb || (*at)->arg != request->arg))
        at = &(*at)->next;
    if (!at || !*at) {
        request->error = -ENOENT;
        return;
    }
    struct ending *found = *at;

    *at = found->next;
    if (!found->next)
        extras->links_tail = at;
    free(found);
}

static int on_owning_hub(gring_cb fn, struct link_request *request)
{
    if (!request->task || !request->cb)
        return (int)api_result(-EINVAL);
    task_check_handle(request->task);
    if (request->task->hub == hub_self()) {
        fn(request);
    } else {
        int error = runtime_call(request->task->hub, fn, request);

        if (error < 0)
            return (int)api_result(error);
    }
    return (int)api_result(request->error);
}

int gring_link(gring_task *task, gring_link_fn cb, void *arg)
{
    struct link_request request = { .task = task, .cb = cb, .arg = arg };

    return on_owning_hub(link_here, &request);
}

int gring_unlink(gring_task *task, gring_link_fn cb, void *arg)
{
    struct link_request request = { .task = task, .cb = cb, .arg = arg };

    return on_owning_hub(unlink_here, &request);
}
