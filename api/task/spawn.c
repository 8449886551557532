/* Starting tasks: here, later, and from other threads. */
#include "api/result.h"
#include "api/task/scope.h"
#include "api/task/start.h"
#include "base/check.h"
#include "runtime/runtime.h"

#include <greenring/hub.h>
#include <greenring/task.h>
#include <string.h>

static const gring_spawn_opts defaults = GRING_SPAWN_INIT;

static int spawn(gring_fn fn, void *arg, struct gring_task **task)
{
    int error = fn ? start_if_needed() : -EINVAL;

    if (UNLIKELY(error < 0))
        return error;
    error = task_new(hub_self(), hub_self()->default_pool, fn, arg, task);
    if (LIKELY(error == 0))
        task_ready(*task);
    return error;
}

gring_task *gring_spawn(gring_fn fn, void *arg)
{
    struct gring_task *task;
    int error = spawn(fn, arg, &task);

    return LIKELY(error == 0) ? task : api_null(error);
}

int gring_spawn_n(gring_fn fn, void *arg)
{
    struct gring_task *task;
    int error = spawn(fn, arg, &task);

    if (LIKELY(error == 0))
        task_drop(task);
    return (int)api_result(error);
}

/* ---- with options ---------------------------------------------------------------------------- */

static int read_opts(const gring_spawn_opts *given, gring_spawn_opts *opts)
{
    *opts = defaults;
    if (!given)
        return 0;
    if (given->size < sizeof given->size || given->size > sizeof *opts)
        return -EINVAL;
    memset(opts, 0, sizeof *opts);
    memcpy(opts, given, given->size);
    if (opts->prio < GRING_PRIO_BACKGROUND || opts->prio > GRING_PRIO_HIGH)
        return -EINVAL;
    if (opts->flags & ~GRING_DAEMON || (opts->flags && !opts->scope))
        return -EINVAL;
    return 0;
}

static int set_name(struct gring_task *task, const char *name)
{
    struct task_extras *extras = task_extras(task);

    if (!extras)
        return -ENOMEM;
    strncpy(extras->name, name, sizeof extras->name - 1);
    return 0;
}

static int begin(struct gring_task *task, const gring_spawn_opts *opts)
{
    int error = opts->name ? set_name(task, opts->name) : 0;

    task->lane = (uint8_t)(LANE_NORMAL - opts->prio);
    task->abort = opts->abort;
    task->has_abort = opts->abort;
    if (error == 0 && opts->scope)
        error = scope_adopt(opts->scope, task, opts->flags & GRING_DAEMON, true);
    if (error < 0)
        return error;
    if (opts->delay <= 0) {
        task_ready(task);
        return 0;
    }
    error = task_start_after(task, opts->delay);
    if (error < 0 && opts->scope)
        scope_disown(task);
    return error;
}

static int spawn_with(const gring_spawn_opts *opts, gring_fn fn, void *arg,
                      struct gring_task **task)
{
    struct gring_hub *hub = hub_self();
    struct stack_pool *pool =
        opts->stack_size ? stacks_pool(&hub->stacks, opts->stack_size) : hub->default_pool;
    int error = pool ? 0 : -EINVAL;

    if (error == 0 && opts->scope)
        error = scope_admits(opts->scope);
    if (error == 0)
        error = task_new(hub, pool, fn, arg, task);
    if (error < 0)
        return error;
    error = begin(*task, opts);
    if (error < 0)
        task_discard(*task);
    return error;
}

gring_task *gring_spawn_with(const gring_spawn_opts *given, gring_fn fn, void *arg)
{
    gring_spawn_opts opts;
    struct gring_task *task;
    int error = fn ? read_opts(given, &opts) : -EINVAL;

    if (error == 0)
        error = start_if_needed();
    if (error == 0)
        error = spawn_with(&opts, fn, arg, &task);
    return error == 0 ? task : api_null(error);
}

gring_task *gring_spawn_after(gring_ns delay, gring_fn fn, void *arg)
{
    gring_spawn_opts opts = GRING_SPAWN_INIT;

    opts.delay = delay;
    return gring_spawn_with(&opts, fn, arg);
}

/* ---- from a plain thread --------------------------------------------------------------------- */

struct remote_spawn {
    gring_fn fn;
    void *arg;
    struct gring_task *task;
    int error;
};

static void spawn_for_thread(void *arg)
{
    struct remote_spawn *remote = arg;

    remote->error = spawn(remote->fn, remote->arg, &remote->task);
}

gring_task *gring_spawn_on(gring_hub *hub, gring_fn fn, void *arg)
{
    struct remote_spawn remote = { .fn = fn, .arg = arg };
    int error;

    if (!fn || !hub)
        return api_null(-EINVAL);
    if (hub == hub_self())
        return gring_spawn(fn, arg);
    error = runtime_call(hub, spawn_for_thread, &remote);
    if (error == 0)
        error = remote.error;
    return error == 0 ? remote.task : api_null(error);
}
