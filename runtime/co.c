/* Switching between the stacks of one task; see co.h. */
#include "runtime/co.h"

#include "base/check.h"
#include "runtime/cxx.h"
#include "runtime/hub.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- stacks ---------------------------------------------------------------------------------- */

static void co_main(void);

/* A task may have left it suspended, waiting for its next one: it begins anew, with us. */
static struct coro *take_stack(struct stack_pool *pool)
{
    struct coro *coro = stack_take(pool);

    coro->context = NULL;
    coro->entry = co_main;
    return coro;
}

static void return_stack(struct coro *coro)
{
    coro->context = NULL;
    coro->entry = coro->pool->stacks->entry;
    stack_return(coro);
}

/* ---- what encloses a coroutine --------------------------------------------------------------- */

static bool has_frames(const struct gring_co *co)
{
    return co->parent && co->frames != &co->outside;
}

static void shift(uint8_t *depth, int by)
{
    CHECK_SAY(*depth + by <= UINT8_MAX, "shields are nested too deeply through coroutines");
    *depth = (uint8_t)(*depth + by);
}

/* Puts it inside what its parent is in now. */
static void place(struct gring_co *co)
{
    int by = co->parent->shield_depth - co->outside.shield_depth;

    co->outside.outer = co->parent->frames;
    shift(&co->outside.shield_depth, by);
    shift(&co->shield_depth, by);
    for (struct frame *frame = co->frames; frame != &co->outside; frame = frame->outer) {
        shift(&frame->shield_depth, by);
        if (frame->expired)
            co->cos->task->interrupts |= INTERRUPT_DEADLINE;
    }
}

/*
 * Places `to` and its ancestors, from the outermost that may be out of place inwards. `near` and
 * its ancestors are in place; so going to a child, to a sibling or to the parent costs the same
 * however deep they are.
 */
static void place_chain(struct gring_co *to, const struct gring_co *near)
{
    struct gring_co *co = to;

    while (co->parent && co != near && co != near->parent) {
        co->parent->inner = co;
        co = co->parent;
    }
    while (co != to) {
        co = co->inner;
        place(co);
    }
}

static void put_away(struct gring_co *co)
{
    const struct gring_task *task = co->cos->task;

    co->frames = task->frames;
    co->shield_depth = task->shield_depth;
}

/* What is pending and was not for whoever ran before may be for this one, and its scopes. */
static void bring_in(struct gring_co *co)
{
    struct gring_task *task = co->cos->task;

    task->frames = co->frames;
    task->shield_depth = co->shield_depth;
    if (UNLIKELY(task->interrupts))
        task_interrupted(task);
}

/* ---- switching ------------------------------------------------------------------------------- */

/* From now on it is the running one; its stack. */
static struct coro *enter(struct gring_co *to, const struct gring_co *from)
{
    place_chain(to, from);
    bring_in(to);
    if (to->state == CO_NEW)
        to->coro = take_stack(to->pool);
    to->state = CO_RUNNING;
    to->cos->running = to;
    to->cos->task->coro = to->coro;
    return to->coro;
}

static void end_unstarted(struct gring_co *co)
{
    stack_unreserve(co->pool);
    co->state = CO_ENDED;
}

/* Whoever gets it in the end. The root has neither ended nor not begun. */
static struct gring_co *deliver(struct gring_co *to, void *value, int code)
{
    while (to->state == CO_ENDED || (code && to->state == CO_NEW)) {
        if (to->state == CO_NEW)
            end_unstarted(to);
        to = to->parent;
    }
    to->value = value;
    to->code = code;
    return to;
}

static void go_on(struct gring_co *from, struct gring_co *to);

static __attribute__((noinline)) void go_on_amid_exceptions(struct gring_co *from,
                                                            struct gring_co *to)
{
    struct cxx_exceptions *exceptions = from->cos->task->hub->cxx;
    struct cxx_exceptions mine = cxx_take(exceptions);

    go_on(from, to);
    *exceptions = mine;
}

/* As between tasks, errno is each one's own, and so are the exceptions that it handles. */
static void go_on(struct gring_co *from, struct gring_co *to)
{
    int saved_errno = errno;

    if (UNLIKELY(cxx_any(from->cos->task->hub->cxx))) {
        go_on_amid_exceptions(from, to);
        return;
    }
    from->state = CO_SUSPENDED;
    put_away(from);
    coro_switch(from->coro, enter(to, from));
    errno = saved_errno;
}

int co_switch(struct gring_co *to, void *value, int code, void **received)
{
    struct gring_co *self = to->cos->running;

    to = deliver(to, value, code);
    if (LIKELY(to != self))
        go_on(self, to);
    if (received)
        *received = self->value;
    return self->code;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static _Noreturn void end(struct gring_co *co, void *result)
{
    struct coro *coro = co->coro;

    CHECK_SAY(co->cos->task->frames == &co->outside,
              "a coroutine's function returned with a deadline not stopped or a scope not closed");
    put_away(co);
    co->state = CO_ENDED;
    co->coro = NULL;
    co->shield_depth = co->outside.shield_depth;
    return_stack(coro);
    /* who goes on may be unstarted, and take this very stack: then it begins at its top */
    coro_abandon(coro, enter(deliver(co->parent, result, co->failure), co));
}

static void co_main(void)
{
    struct gring_hub *hub;
    struct gring_co *co;
    void *result;

    coro_begin();
    hub = hub_self();
    co = co_inside(hub->running);
    errno = 0;
    result = co->fn(co->value);
    if (UNLIKELY(hub_self() != hub))
        _exit(task_orphan_code() ? 1 : 0); /* the child of a fork, as in task_main */
    end(co, result);
}

_Noreturn void co_exit(struct gring_co *co, void *value)
{
    cxx_leave(co->cos->task->hub->cxx, &(struct cxx_exceptions){ .caught = NULL });
    put_away(co);
    co->state = CO_ENDED; /* its stack stays until cos_destroy: the frames in it are not closed */
    coro_switch(co->coro, enter(deliver(&co->cos->root, value, CO_EXIT), co));
    CHECK_SAY(false, "a coroutine that had called gring_exit was resumed");
    abort();
}

struct cos *cos_of(struct gring_task *task)
{
    struct task_extras *extras = task_extras(task);

    if (!extras || extras->cos)
        return extras ? extras->cos : NULL;
    extras->cos = calloc(1, sizeof *extras->cos);
    if (extras->cos) {
        struct cos *cos = extras->cos;

        cos->task = task;
        cos->running = &cos->root;
        cos->root.cos = cos;
        cos->root.coro = task->coro;
        cos->root.state = CO_RUNNING;
        list_init(&cos->root.children);
    }
    return extras->cos;
}

static struct stack_pool *pool_for(struct gring_hub *hub, size_t stack_bytes)
{
    return stack_bytes ? stacks_pool(&hub->stacks, stack_bytes) : hub->default_pool;
}

int co_init(struct gring_co *co, gring_fn fn, struct gring_co *parent, size_t stack_bytes)
{
    struct stack_pool *pool = pool_for(parent->cos->task->hub, stack_bytes);
    int error = pool ? stack_reserve(pool) : -EINVAL;

    if (error < 0)
        return error;
    *co = (struct gring_co){
        .cos = parent->cos, .parent = parent, .pool = pool, .fn = fn, .state = CO_NEW
    };
    co->outside = (struct frame){ .kind = &frame_boundary, .instant = CLOCK_FOREVER };
    co->frames = &co->outside;
    list_init(&co->children);
    list_push_back(&parent->children, &co->sibling);
    return 0;
}

static bool is_in_chain_of(const struct gring_co *co, const struct gring_co *inner)
{
    while (inner && inner != co)
        inner = inner->parent;
    return inner != NULL;
}

static void adopt(struct gring_co *parent, struct gring_co *co)
{
    list_unlink(&co->sibling);
    list_push_back(&parent->children, &co->sibling);
    co->parent = parent;
}

static struct gring_co *first_child(const struct gring_co *co)
{
    return CONTAINER_OF(co->children.next, struct gring_co, sibling);
}

/* It has no children. */
static void free_record(struct gring_co *co)
{
    if (co->state == CO_NEW)
        stack_unreserve(co->pool);
    if (co->coro)
        return_stack(co->coro);
    list_unlink(&co->sibling);
    free(co);
}

/* What encloses the running one is another now. */
static void place_running(struct cos *cos)
{
    put_away(cos->running);
    place_chain(cos->running, &cos->root);
    bring_in(cos->running);
}

int co_free(struct gring_co *co)
{
    bool encloses = is_in_chain_of(co, co->cos->running);

    if ((encloses && co->state != CO_ENDED) || has_frames(co) ||
        co->shield_depth > co->outside.shield_depth)
        return -EBUSY;
    while (!list_empty(&co->children))
        adopt(co->parent, first_child(co));
    if (encloses)
        place_running(co->cos);
    free_record(co);
    return 0;
}

int co_set_parent(struct gring_co *co, struct gring_co *parent)
{
    if (!co->parent || is_in_chain_of(co, parent))
        return -EINVAL;
    adopt(parent, co);
    if (is_in_chain_of(co, co->cos->running))
        place_running(co->cos);
    return 0;
}

/* ---- the task's end -------------------------------------------------------------------------- */

/* The next one of the tree, parents before their children; NULL after the last. */
static struct gring_co *next_of(struct gring_co *co)
{
    if (!list_empty(&co->children))
        return first_child(co);
    while (co->parent && co->sibling.next == &co->parent->children)
        co = co->parent;
    return co->parent ? CONTAINER_OF(co->sibling.next, struct gring_co, sibling) : NULL;
}

/* On its own: what was around it may be gone. */
static void unwind(struct gring_co *co)
{
    struct gring_task *task = co->cos->task;

    co->outside.outer = NULL;
    task->frames = co->frames;
    while (task->frames != &co->outside)
        task->frames->kind->close(task->frames);
    co->frames = &co->outside;
    co->shield_depth = co->outside.shield_depth;
}

void cos_unwind(struct gring_task *task)
{
    struct cos *cos = task->extras ? task->extras->cos : NULL;
    struct frame *frames = task->frames;

    if (!cos)
        return;
    for (struct gring_co *co = next_of(&cos->root); co; co = next_of(co))
        unwind(co);
    task->frames = frames;
}

void cos_check_frames(const struct gring_task *task)
{
    struct cos *cos = task->extras ? task->extras->cos : NULL;

    for (struct gring_co *co = cos ? &cos->root : NULL; co; co = next_of(co))
        CHECK_SAY(!has_frames(co), "a task ended while one of its suspended coroutines had a "
                                   "deadline not stopped or a scope not closed");
}

void cos_destroy(struct gring_task *task)
{
    struct cos *cos = task->extras ? task->extras->cos : NULL;

    if (!cos)
        return;
    CHECK(cos->running == &cos->root);
    while (!list_empty(&cos->root.children)) {
        struct gring_co *co = first_child(&cos->root);

        list_splice_back(&cos->root.children, &co->children);
        free_record(co);
    }
    free(cos);
    task->extras->cos = NULL;
}
