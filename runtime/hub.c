/* The loop and the switches between tasks; see hub.h. */
#include "runtime/hub.h"

#include "base/check.h"
#include "base/sys.h"
#include "runtime/census.h"
#include "runtime/cxx.h"
#include "runtime/overflow.h"
#include "runtime/thread_end.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

_Thread_local struct gring_hub *hub_of_thread;

enum { NO_MEMORY_PAUSE_NS = 1000 * 1000 };

/* ---- lanes ----------------------------------------------------------------------------------- */

static uint64_t next_random(struct gring_hub *hub)
{
    hub->random ^= hub->random << 13;
    hub->random ^= hub->random >> 7;
    hub->random ^= hub->random << 17;
    return hub->random;
}

static void push_front(struct fifo *fifo, struct fifo_node *node)
{
    node->next = fifo->head;
    fifo->head = node;
    if (!node->next)
        fifo->tail = &node->next;
}

void hub_make_ready(struct gring_hub *hub, struct gring_task *task)
{
    struct fifo *lane = &hub->lanes[task->lane];

    if (UNLIKELY(hub->config.shuffle) && next_random(hub) & 1)
        push_front(lane, &task->ready_link);
    else
        fifo_push(lane, &task->ready_link);
}

static bool anybody_ready(const struct gring_hub *hub)
{
    return !fifo_empty(&hub->lanes[LANE_HIGH]) || !fifo_empty(&hub->lanes[LANE_NORMAL]) ||
           !fifo_empty(&hub->lanes[LANE_BACKGROUND]);
}

static struct gring_task *pop_lane(struct gring_hub *hub, enum lane lane)
{
    struct fifo_node *node = fifo_pop(&hub->lanes[lane]);

    if (!node)
        return NULL;
    hub->lanes_served |= 1u << lane;
    return CONTAINER_OF(node, struct gring_task, ready_link);
}

static struct gring_task *pop_owed(struct gring_hub *hub)
{
    enum lane lane = (enum lane)__builtin_ctz(hub->lanes_owed);

    hub->lanes_owed &= ~(1u << lane);
    return pop_lane(hub, lane);
}

static struct gring_task *pop_ready(struct gring_hub *hub)
{
    struct gring_task *task = NULL;

    if (UNLIKELY(hub->lanes_owed))
        task = pop_owed(hub);
    for (int lane = LANE_HIGH; !task && lane < LANE_COUNT; lane++)
        task = pop_lane(hub, (enum lane)lane);
    return task;
}

static void begin_turn(struct gring_hub *hub)
{
    hub->turn_count++;
    hub->turn_left = TURN_TASKS;
    hub->lanes_served = 0;
}

/* Which lanes had somebody waiting, and nobody running, for too many turns? */
static void account_lanes(struct gring_hub *hub)
{
    for (int lane = LANE_NORMAL; lane < LANE_COUNT; lane++) {
        bool passed_over = !fifo_empty(&hub->lanes[lane]) && !(hub->lanes_served & 1u << lane);

        hub->lane_passed_over[lane] = passed_over ? hub->lane_passed_over[lane] + 1 : 0;
        if (hub->lane_passed_over[lane] >= LANE_PATIENCE)
            hub->lanes_owed |= 1u << lane;
    }
}

/* ---- switching ------------------------------------------------------------------------------- */

/* The next task of this turn, or NULL: back to the loop. A husk's place in the lane is just
 * passed. */
static struct gring_task *take_next(struct gring_hub *hub)
{
    while (hub->turn_left) {
        struct gring_task *task = pop_ready(hub);

        if (!task)
            return NULL;
        hub->turn_left--;
        if (LIKELY(!task->husk))
            return task;
        task->husk = false;
        task_drop(task);
    }
    return NULL;
}

/* Makes `next` the running one; its coro, bound if this is its first run. NULL: the loop's. */
static struct coro *enter_task(struct gring_hub *hub, struct gring_task *next)
{
    hub->running = next;
    if (!next)
        return &hub->coro;
    CHECK(next->hub == hub); /* tasks do not migrate */
    hub->switch_count++;
    if (!next->coro)
        next->coro = stack_take(next->pool);
    atomic_store_explicit(&next->state, TASK_RUNNING, memory_order_relaxed);
    return next->coro;
}

static __attribute__((noinline)) void go_on(struct gring_hub *hub, struct coro *from);

/* Out of the way: what this keeps would lie on every parked stack. */
static __attribute__((noinline)) void go_on_amid_exceptions(struct gring_hub *hub,
                                                            struct coro *from)
{
    struct cxx_exceptions mine = cxx_take(hub->cxx);

    go_on(hub, from);
    *hub->cxx = mine;
}

/* One place from which every suspended coro goes on, so that the return is predicted. errno is
 * each one's own, and so are the exceptions that it handles. */
static __attribute__((noinline)) void go_on(struct gring_hub *hub, struct coro *from)
{
    struct coro *to;
    int saved_errno;

    if (UNLIKELY(cxx_any(hub->cxx))) {
        go_on_amid_exceptions(hub, from);
        return;
    }
    to = enter_task(hub, take_next(hub));
    saved_errno = errno;
    if (to != from)
        coro_switch(from, to);
    errno = saved_errno;
}

void hub_park(struct gring_task *task)
{
    atomic_store_explicit(&task->state, TASK_PARKED, memory_order_relaxed);
    go_on(task->hub, task->coro);
}

void hub_yield(struct gring_task *task)
{
    CHECK(task_state(task) == TASK_RUNNING);
    task_ready(task);
    go_on(task->hub, task->coro);
}

static bool can_take_over(const struct gring_task *next, const struct coro *coro)
{
    return next && !next->coro && next->pool == coro->pool;
}

void hub_next_task(struct gring_hub *hub, struct coro *coro)
{
    struct gring_task *next = take_next(hub);
    struct coro *to;

    if (can_take_over(next, coro)) {
        stack_unreserve(next->pool); /* it runs on the stack that just became free */
        next->coro = coro;
        enter_task(hub, next);
        return;
    }
    to = enter_task(hub, next);
    stack_return(coro);
    coro_poison(coro);
    coro_switch(coro, to);
    coro_unpoison(coro);
}

_Noreturn void hub_leave_stack(struct gring_hub *hub, struct coro *coro)
{
    struct coro *to;

    coro->context = NULL;
    stack_return(coro);
    /* may be this very coro, taken anew: then it begins at its top */
    to = enter_task(hub, take_next(hub));
    coro_abandon(coro, to);
}

/* ---- the five words -------------------------------------------------------------------------- */

static void run_ready(struct gring_hub *hub)
{
    begin_turn(hub);
    go_on(hub, &hub->coro);
    account_lanes(hub);
}

gring_ns hub_read_clock(const struct gring_hub *hub)
{
    return UNLIKELY(hub->config.fake_time) ? hub->now : clock_now();
}

void hub_set_time(struct gring_hub *hub, gring_ns now)
{
    CHECK(hub->config.fake_time && now >= hub->now);
    hub->now = now;
}

static void fire_timers(struct gring_hub *hub)
{
    struct timer *timer;

    hub->now = hub_read_clock(hub);
    wheel_advance(&hub->wheel, hub->now);
    /* each was armed before this turn's time: finite */
    while ((timer = wheel_take_due(&hub->wheel))) {
        struct hub_timer *due = CONTAINER_OF(timer, struct hub_timer, timer);

        due->on_fire(due);
    }
}

/* How long may the hub sleep? 0: not at all. */
static gring_ns time_to_sleep(struct gring_hub *hub)
{
    gring_ns next;

    if (anybody_ready(hub) || !list_empty(&hub->idlers) || stacks_trim(&hub->stacks))
        return 0;
    next = hub->config.fake_time ? CLOCK_FOREVER : wheel_next(&hub->wheel);
    if (next == CLOCK_FOREVER)
        return census_time_to_sleep(hub);
    return next > hub->now ? next - hub->now : 0;
}

static bool kernel_has_work(struct gring_hub *hub)
{
    return ring_unsubmitted(&hub->ops.ring) || !list_empty(&hub->ops.backlog) ||
           !list_empty(&hub->ops.cancels) || ring_wants_enter(&hub->ops.ring);
}

static void enter(struct gring_hub *hub)
{
    gring_ns wait = time_to_sleep(hub);
    int error;

    if (wait > 0 && !mailbox_may_sleep(&hub->mailbox, &hub->ops))
        wait = 0;
    if (wait == 0 && !kernel_has_work(hub) && list_empty(&hub->idlers))
        return;
    error = ops_enter(&hub->ops, wait);
    mailbox_awake(&hub->mailbox);
    if (error == -EAGAIN && !ring_has_completions(&hub->ops.ring))
        /* the kernel has no memory for requests: let it find some */
        sys_pause_ns(NO_MEMORY_PAUSE_NS);
}

/* Nothing was ready, and the kernel had nothing either: whoever waits for that moment goes on. */
static void wake_idlers(struct gring_hub *hub)
{
    struct list *link;

    if (anybody_ready(hub) || !mpsc_empty(&hub->mailbox.queue))
        return;
    while ((link = list_pop_front(&hub->idlers))) {
        struct end_waiter *idler = CONTAINER_OF(link, struct end_waiter, link);

        idler->on_end(idler);
    }
}

static void reap(struct gring_hub *hub)
{
    ops_reap(&hub->ops, TURN_COMPLETIONS);
    if (UNLIKELY(!list_empty(&hub->idlers)))
        wake_idlers(hub);
}

static void hub_loop(void)
{
    struct gring_hub *hub = hub_self();

    coro_begin();
    for (;;) {
        run_ready(hub);
        fire_timers(hub);
        mailbox_deliver(&hub->mailbox);
        enter(hub);
        reap(hub);
    }
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static void init_fields(struct gring_hub *hub, const struct hub_config *config)
{
    memset(hub, 0, sizeof *hub);
    hub->config = *config;
    hub->random = config->seed * 2 + 1; /* never zero, and another one for each seed */
    hub->turn_left = TURN_TASKS;
    hub->now = config->fake_time ? 0 : clock_now();
    hub->cxx = cxx_exceptions_of_thread();
    hub->checkpoint_left = hub->checkpoint_step = 1;
    for (int lane = 0; lane < LANE_COUNT; lane++)
        fifo_init(&hub->lanes[lane]);
    list_init(&hub->idlers);
    wheel_init(&hub->wheel, hub->now);
    slab_init(&hub->tasks, sizeof(struct gring_task));
    stacks_init(&hub->stacks, task_main);
}

/* The loop's stack is one of the ordinary size: users' timer callbacks run on it. */
static int make_loop_coro(struct gring_hub *hub)
{
    struct stack_pool *pool = stacks_pool(&hub->stacks, 0);
    int error = stack_reserve(pool);
    struct coro *coro;

    if (error < 0)
        return error;
    coro = stack_take(pool);
    hub->coro = *coro; /* the stack is the loop's until stacks_destroy */
    hub->coro.entry = hub_loop;
    hub->coro.pool = NULL;
    return 0;
}

static int make_main_task(struct gring_hub *hub)
{
    struct gring_task *task;
    int error = task_new(hub, hub->default_pool, NULL, NULL, &task);

    if (error < 0)
        return error;
    stack_unreserve(hub->default_pool); /* it has the thread's stack */
    coro_init_thread(&hub->thread_coro);
    task->coro = &hub->thread_coro;
    task->is_main = true;
    atomic_store(&task->state, TASK_RUNNING);
    hub->main_task = hub->running = task;
    return 0;
}

int hub_open(struct gring_hub *hub, const struct hub_config *config)
{
    int error;

    init_fields(hub, config);
    hub->default_pool = stacks_pool(&hub->stacks, config->stack_bytes);
    if (!hub->default_pool)
        return -EINVAL;
    error = mailbox_open(&hub->mailbox);
    if (error < 0)
        return error;
    error = ops_open(&hub->ops, config->ring_entries);
    if (error < 0)
        goto close_mailbox;
    error = make_loop_coro(hub);
    if (error == 0)
        error = make_main_task(hub);
    if (error < 0)
        goto close_ops;
    hub_of_thread = hub;
    overflow_watch(hub);
    thread_end_watch();
    return 0;

close_ops:
    ops_close(&hub->ops);
    stacks_destroy(&hub->stacks);
    slab_destroy(&hub->tasks);
close_mailbox:
    mailbox_close(&hub->mailbox);
    return error;
}

/* The mailbox's read is the last op: cancelled, and reaped here, because the loop will not run
 * again. */
static void end_mailbox_read(struct gring_hub *hub)
{
    if (hub->mailbox.watched)
        ops_cancel(&hub->ops, &hub->mailbox.read);
    while (hub->mailbox.watched) {
        (void)ops_enter(&hub->ops, CLOCK_SECOND);
        ops_reap(&hub->ops, TURN_COMPLETIONS);
    }
}

/* Records whose handles were never dropped: the handles are void now. */
static void free_extras(void *record, void *unused)
{
    struct gring_task *task = record;

    (void)unused;
    if (task_state(task) != TASK_FREE)
        task_free_extras(task);
}

void hub_close(struct gring_hub *hub)
{
    CHECK(hub->live_count == 0);
    overflow_unwatch(hub);
    thread_end_unwatch();
    end_mailbox_read(hub);
    hub_of_thread = NULL;
    mailbox_close(&hub->mailbox);
    buffers_close(&hub->buffers);
    ops_close(&hub->ops);
    coro_destroy(&hub->thread_coro);
    stacks_destroy(&hub->stacks);
    slab_each(&hub->tasks, free_extras, NULL);
    slab_destroy(&hub->tasks);
}

int hub_next_own_descriptor(const struct gring_hub *hub, unsigned first)
{
    int own[] = { hub->mailbox.event_fd, ring_descriptor(&hub->ops.ring) }, next = -1;

    for (size_t index = 0; index < sizeof own / sizeof own[0]; index++)
        if ((unsigned)own[index] >= first && (next < 0 || own[index] < next))
            next = own[index];
    return next;
}
