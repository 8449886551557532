/* The primitive: stop until somebody says go; and callbacks posted to the hub's loop. */
#include "api/result.h"
#include "runtime/runtime.h"
#include "runtime/wait.h"

#include <greenring/hub.h>
#include <greenring/task.h>
#include <stdlib.h>

static void stop_parking(struct source *source)
{
    source->wait->task->in_park = false;
    source_done(source);
}

static int wait_for_unpark(void)
{
    struct source source;
    struct wait wait;
    int error = wait_begin(&wait, "park", -1);
    struct gring_task *task = wait.task;

    if (error < 0 || task->unparked)
        return error;
    wait_hold(&wait, &source, stop_parking);
    task->park_source = &source;
    task->in_park = true;
    wait_park(&wait);
    return wait_outcome(&wait);
}

int gring_park(void **value)
{
    int error = hub_self() ? wait_for_unpark() : runtime_no_hub();
    struct gring_task *task;

    if (error < 0)
        return (int)api_result(error);
    task = hub_self()->running;
    task->unparked = false;
    if (value)
        *value = atomic_load_explicit(&task->unpark_value, memory_order_relaxed);
    return 0;
}

int gring_unpark(gring_task *task, void *value)
{
    if (!task)
        return (int)api_result(-EINVAL);
    task_check_handle(task);
    if (task_state(task) == TASK_DONE)
        return (int)api_result(-ESRCH);
    if (task->hub == hub_self()) {
        task_unpark(task, value);
    } else {
        /* the request publishes it */
        atomic_store_explicit(&task->unpark_value, value, memory_order_relaxed);
        task_request(task, REQUEST_UNPARK);
    }
    return 0;
}

/* ---- callbacks on the loop ------------------------------------------------------------------- */

struct post {
    struct mail mail;
    gring_cb cb;
    void *arg;
};

static void call_and_free(struct mail *mail)
{
    struct post *post = CONTAINER_OF(mail, struct post, mail);

    post->cb(post->arg);
    free(post);
}

int gring_post(gring_hub *hub, gring_cb cb, void *arg)
{
    struct gring_hub *to = hub ? hub : runtime_hub();
    struct post *post;

    if (!cb || !to)
        return (int)api_result(cb ? runtime_no_hub() : -EINVAL);
    post = malloc(sizeof *post);
    if (!post)
        return (int)api_result(-ENOMEM);
    *post = (struct post){ .mail.deliver = call_and_free, .cb = cb, .arg = arg };
    if (!runtime_visit(to)) {
        free(post);
        return (int)api_result(runtime_no_hub());
    }
    mailbox_post(&to->mailbox, &post->mail);
    runtime_leave();
    return 0;
}
