/*
 * Scopes: tasks that cannot outlive a block.
 *
 *     owner's frames ─► scope ─┬─ children   alive, not killed by the scope
 *                              ├─ killed     alive, killed by the scope
 *                              └─ ended      their handles are borrowed until the close
 *
 * A child is a record of ours that waits for the task's end like any other waiter. What becomes
 * of the scope is decided there, on the hub: the first failure cancels, the last end wakes the
 * owner. Scope and children are on one hub.
 *
 * Cancelling never recurses: a kill may reach the scopes of the killed task, and so on down a
 * tree of any depth, so all children to be killed go through one queue that the outermost call
 * works off.
 */
#include "api/task/scope.h"

#include "api/result.h"
#include "api/task/start.h"
#include "base/check.h"
#include "runtime/frame.h"
#include "runtime/runtime.h"
#include "runtime/wait.h"

#include <assert.h>
#include <greenring/scope.h>
#include <greenring/task.h>
#include <stdlib.h>

struct scope {
    struct frame frame; /* first: a scope is found by it. frame.task: the owner; NULL: closed */
    struct list children, killed, ended;
    struct ending *defers;
    struct scope_wait *waiting; /* the owner, in gring_scope_wait or _close */
    uint32_t live_count, daemon_count;
    int32_t error; /* the first reason why it did not just run to its end */
    bool collect;
    bool cancelled;
    bool awaits_daemons; /* while waiting */
};

static_assert(sizeof(struct scope) <= sizeof(gring_scope), "it lives in the caller's storage");

struct scope_wait {
    struct source source;
    struct scope *scope;
};

struct child {
    struct end_waiter waiter;
    struct list link; /* in one of the scope's lists, or in the queue of those to be killed */
    struct scope *scope;
    struct gring_task *task;
    bool daemon, borrowed;
};

static struct scope *inside(const gring_scope *storage)
{
    return (struct scope *)(uintptr_t)storage;
}

/* ---- cancelling ------------------------------------------------------------------------------ */

static _Thread_local struct list *kill_queue; /* on the stack of the call that works it off */

static void kill_next(struct list *queue)
{
    struct child *child = CONTAINER_OF(list_pop_front(queue), struct child, link);

    list_push_back(&child->scope->killed, &child->link);
    task_kill(child->task); /* last: if it had not started, the child has ended now */
}

static void kill_children(struct scope *scope)
{
    struct list queue;

    if (kill_queue) {
        list_splice_back(kill_queue, &scope->children);
        return;
    }
    list_init(&queue);
    list_splice_back(&queue, &scope->children);
    kill_queue = &queue;
    while (!list_empty(&queue))
        kill_next(&queue);
    kill_queue = NULL;
}

static void cancel(struct scope *scope, int error)
{
    if (!scope->error)
        scope->error = error;
    if (scope->cancelled)
        return;
    scope->cancelled = true;
    kill_children(scope);
}

/* ---- children -------------------------------------------------------------------------------- */

static bool all_awaited_gone(const struct scope *scope)
{
    return scope->live_count == (scope->awaits_daemons ? 0 : scope->daemon_count);
}

static bool has_failed(const struct gring_task *task)
{
    bool died_of_kill =
        task->code == ECANCELED && (task->interrupts & INTERRUPT_KILL || !task->coro);

    return task->code && !died_of_kill;
}

static void child_ended(struct end_waiter *waiter)
{
    struct child *child = CONTAINER_OF(waiter, struct child, waiter);
    struct scope *scope = child->scope;
    struct gring_task *task = child->task;

    scope->live_count--;
    scope->daemon_count -= child->daemon;
    list_unlink(&child->link);
    if (child->borrowed)
        list_push_back(&scope->ended, &child->link);
    else
        free(child);
    if (has_failed(task) && !scope->error)
        scope->error = task->code;
    if (has_failed(task) && !scope->collect)
        cancel(scope, 0);
    if (scope->waiting && all_awaited_gone(scope)) {
        struct scope_wait *waiting = scope->waiting;

        scope->waiting = NULL;
        source_done(&waiting->source);
    }
}

/* The lists' heads are in it, and others point to them. */
static void check_place(const struct scope *scope)
{
    CHECK_SAY(scope->children.next->prev == &scope->children,
              "a gring_scope was copied or moved while it was open: pass a pointer to it");
}

int scope_admits(const struct gring_scope *storage)
{
    const struct scope *scope = inside(storage);

    if (!scope || !scope->frame.task)
        return -EINVAL;
    if (scope->frame.task->hub != hub_self())
        return runtime_no_hub();
    check_place(scope);
    return scope->cancelled ? -ECANCELED : 0;
}

int scope_adopt(struct gring_scope *storage, struct gring_task *task, bool daemon, bool borrowed)
{
    struct scope *scope = inside(storage);
    struct child *child = malloc(sizeof *child);

    if (!child)
        return -ENOMEM;
    *child = (struct child){ .waiter.on_end = child_ended,
                             .scope = scope,
                             .task = task,
                             .daemon = daemon,
                             .borrowed = borrowed };
    list_push_back(&scope->children, &child->link);
    task_add_waiter(task, &child->waiter);
    task->is_borrowed = borrowed;
    scope->live_count++;
    scope->daemon_count += daemon;
    return 0;
}

void scope_disown(struct gring_task *task)
{
    struct child *child = CONTAINER_OF(list_pop_front(&task->waiters), struct child, waiter.link);

    list_unlink(&child->link);
    child->scope->live_count--;
    child->scope->daemon_count -= child->daemon;
    task->is_borrowed = false;
    free(child);
}

static int spawn(gring_scope *storage, gring_fn fn, void *arg, bool borrowed,
                 struct gring_task **task)
{
    struct gring_hub *hub = hub_self();
    int error = fn ? scope_admits(storage) : -EINVAL;

    if (error == 0)
        error = task_new(hub, hub->default_pool, fn, arg, task);
    if (error < 0)
        return error;
    error = scope_adopt(storage, *task, false, borrowed);
    if (error < 0)
        task_discard(*task);
    else
        task_ready(*task);
    return error;
}

gring_task *gring_scope_spawn(gring_scope *storage, gring_fn fn, void *arg)
{
    struct gring_task *task;
    int error = spawn(storage, fn, arg, true, &task);

    return LIKELY(error == 0) ? task : api_null(error);
}

int gring_scope_spawn_n(gring_scope *storage, gring_fn fn, void *arg)
{
    struct gring_task *task;
    int error = spawn(storage, fn, arg, false, &task);

    if (LIKELY(error == 0))
        task_drop(task);
    return (int)api_result(error);
}

/* ---- the owner ------------------------------------------------------------------------------- */

static void interrupted(struct frame *frame, int reason)
{
    cancel((struct scope *)frame, reason);
}

static void close_frame(struct frame *frame)
{
    gring_scope_close((gring_scope *)frame);
}

static const struct frame_kind scope_kind = { .cancel = interrupted, .close = close_frame };

static int open_scope(struct scope *scope, unsigned flags)
{
    int error = flags & ~GRING_SCOPE_COLLECT ? -EINVAL : start_if_needed();
    struct gring_task *task;

    if (error < 0)
        return error;
    task = hub_self()->running;
    if (!task)
        return -EPERM;
    if (frame_on_list(task, &scope->frame))
        return -EBUSY;
    *scope = (struct scope){ .collect = flags & GRING_SCOPE_COLLECT };
    list_init(&scope->children);
    list_init(&scope->killed);
    list_init(&scope->ended);
    frame_push(task, &scope->frame, &scope_kind, CLOCK_FOREVER);
    if (UNLIKELY(task->interrupts))
        frames_pass_on(task); /* opened too late: it is cancelled from the start */
    return 0;
}

int gring_scope_open(gring_scope *storage, unsigned flags)
{
    struct scope *scope = inside(storage);
    int error = open_scope(scope, flags);

    if (error < 0 && error != -EBUSY)
        scope->frame.task = NULL; /* closed */
    return (int)api_result(error);
}

static void stop_waiting(struct source *source)
{
    CONTAINER_OF(source, struct scope_wait, source)->scope->waiting = NULL;
    source_done(source);
}

/* Until the awaited children have ended; wait: begun. */
static void park_for_children(struct scope *scope, struct wait *wait, bool with_daemons)
{
    struct scope_wait waiting = { .scope = scope };

    scope->awaits_daemons = with_daemons;
    if (all_awaited_gone(scope))
        return;
    wait_hold(wait, &waiting.source, stop_waiting);
    scope->waiting = &waiting;
    wait_park(wait);
}

static void await_all(struct scope *scope)
{
    struct wait wait;

    if (scope->live_count == 0)
        return;
    wait_begin_shielded(&wait, "the end of a scope's tasks", -1);
    park_for_children(scope, &wait, true);
}

int gring_scope_wait(gring_scope *storage)
{
    struct scope *scope = inside(storage);
    struct wait wait;
    int error;

    if (!scope->frame.task)
        return (int)api_result(-EINVAL);
    if (scope->frame.task != gring_self())
        return (int)api_result(-EPERM);
    error = wait_begin(&wait, "a scope", -1);
    if (error == 0) {
        park_for_children(scope, &wait, false);
        error = wait_outcome(&wait);
    }
    if (error == 0)
        return scope->error;
    cancel(scope, -error);
    await_all(scope);
    return (int)api_result(error);
}

struct cancel_request {
    struct scope *scope;
    int error;
};

static void cancel_here(void *arg)
{
    struct cancel_request *request = arg;

    cancel(request->scope, request->error);
}

void gring_scope_cancel(gring_scope *storage, int error)
{
    struct cancel_request request = { .scope = inside(storage), .error = error > 0 ? error : 0 };
    struct gring_task *owner = request.scope->frame.task;

    if (!owner)
        return; /* closed: nobody is left */
    if (owner->hub == hub_self())
        cancel_here(&request);
    else
        (void)runtime_call(owner->hub, cancel_here, &request);
}

int gring_scope_defer(gring_scope *storage, gring_cb cb, void *arg)
{
    struct scope *scope = inside(storage);
    struct ending *ending;
    int error = scope_admits(storage);

    if (!cb || (error < 0 && error != -ECANCELED))
        return (int)api_result(cb ? error : -EINVAL);
    ending = malloc(sizeof *ending);
    if (!ending)
        return (int)api_result(-ENOMEM);
    *ending = (struct ending){ .next = scope->defers, .defer_fn = cb, .arg = arg };
    scope->defers = ending;
    return 0;
}

/* One of them may add more. */
static void run_defers(struct scope *scope)
{
    struct ending *ending;

    if (!scope->defers)
        return;
    gring_shield_enter();
    while ((ending = scope->defers)) {
        scope->defers = ending->next;
        ending->defer_fn(ending->arg);
        free(ending);
    }
    gring_shield_leave();
}

static void release_handles(struct scope *scope)
{
    struct list *link;

    while ((link = list_pop_front(&scope->ended))) {
        struct child *child = CONTAINER_OF(link, struct child, link);

        child->task->is_borrowed = false;
        task_drop(child->task);
        free(child);
    }
}

int gring_scope_close(gring_scope *storage)
{
    struct scope *scope = inside(storage);

    if (!scope->frame.task || runtime_is_lost())
        return 0; /* closed; or this is the child of a fork, where its tasks do not exist */
    CHECK_SAY(scope->frame.task == gring_self(),
              "a scope was closed by a task or thread that did not open it: only the owner may "
              "wait for its end; gring_scope_cancel may be called by all");
    check_place(scope);
    cancel(scope, 0);
    await_all(scope);
    run_defers(scope);
    release_handles(scope);
    CHECK(list_empty(&scope->children) && list_empty(&scope->killed));
    frame_remove(&scope->frame);
    return scope->error;
}

size_t gring_scope_live(const gring_scope *storage)
{
    const struct scope *scope = inside(storage);

    return scope->frame.task ? scope->live_count : 0;
}
