/* Coroutines, as the public names them. */
#include "api/task/co.h"

#include "api/result.h"
#include "base/check.h"
#include "runtime/runtime.h"

#include <greenring/co.h>
#include <greenring/task.h>
#include <stdlib.h>

int co_is_ours(const struct gring_co *co)
{
    struct gring_task *task = hub_running_task();

    if (UNLIKELY(!task || !co))
        return task ? -EINVAL : runtime_no_hub();
    return LIKELY(co->cos->task == task) ? 0 : -EPERM;
}

int co_running(struct gring_co **co)
{
    struct gring_task *task = hub_running_task();
    struct cos *cos = task ? cos_of(task) : NULL;

    if (!cos)
        return task ? -ENOMEM : runtime_no_hub();
    *co = cos->running;
    return 0;
}

int co_go(struct gring_co *to, void *value, int code, void **received)
{
    void *came;
    int came_code = co_switch(to, value, code, &came);

    if (UNLIKELY(came_code == CO_EXIT))
        gring_exit(came);
    if (received)
        *received = came;
    return came_code;
}

/* ---- switching ------------------------------------------------------------------------------- */

static int may_go_to(const struct gring_co *to)
{
    int error = co_is_ours(to);

    return LIKELY(error == 0) && UNLIKELY(to->state == CO_ENDED) ? -ESRCH : error;
}

int gring_co_switch(gring_co *to, void *in, void **out)
{
    int error = may_go_to(to);

    return UNLIKELY(error < 0) ? (int)api_result(error) : co_go(to, in, 0, out);
}

int gring_co_throw(gring_co *to, int code, void **out)
{
    int error = code > 0 ? may_go_to(to) : -EINVAL;

    return UNLIKELY(error < 0) ? (int)api_result(error) : co_go(to, NULL, code, out);
}

/* ---- making, asking, freeing ----------------------------------------------------------------- */

static int make(gring_fn fn, struct gring_co *parent, size_t stack_bytes, struct gring_co **co)
{
    struct gring_co *running = NULL;
    int error = fn ? co_running(&running) : -EINVAL;

    if (error == 0 && parent)
        error = co_is_ours(parent);
    if (error < 0)
        return error;
    *co = malloc(sizeof **co);
    if (!*co)
        return -ENOMEM;
    error = co_init(*co, fn, parent ? parent : running, stack_bytes);
    if (error < 0)
        free(*co);
    return error;
}

gring_co *gring_co_new(gring_fn fn, gring_co *parent, size_t stack_size)
{
    struct gring_co *co = NULL;
    int error = make(fn, parent, stack_size, &co);

    return error == 0 ? co : api_null(error);
}

gring_co *gring_co_self(void)
{
    struct gring_co *co = NULL;
    int error = co_running(&co);

    return error == 0 ? co : api_null(error);
}

gring_co *gring_co_parent(const gring_co *co)
{
    return co->parent;
}

int gring_co_set_parent(gring_co *co, gring_co *parent)
{
    int error = co_is_ours(co);

    if (error == 0)
        error = co_is_ours(parent);
    if (error == 0)
        error = co_set_parent(co, parent);
    return (int)api_result(error == -EPERM && hub_running_task() ? -EINVAL : error);
}

gring_co_state gring_co_status(const gring_co *co)
{
    return (gring_co_state)co->state;
}

int gring_co_free(gring_co *co)
{
    int error = co ? co_is_ours(co) : 0;

    if (!co || error < 0)
        return (int)api_result(error);
    return (int)api_result(co->is_generator ? -EINVAL : co_free(co));
}
