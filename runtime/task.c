/* Records, their lives and ends; see task.h. */
#include "runtime/task.h"

#include "base/check.h"
#include "base/log.h"
#include "runtime/co.h"
#include "runtime/cxx.h"
#include "runtime/frame.h"
#include "runtime/hub.h"
#include "runtime/local.h"
#include "runtime/wait.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- beginning ------------------------------------------------------------------------------- */

static void deliver_requests(struct mail *mail);

static int take_record(struct gring_hub *hub, struct stack_pool *pool, struct gring_task **task)
{
    int error;

    if (UNLIKELY(hub->live_count > hub->config.max_tasks))
        return hub->ending ? -ECANCELED : -EAGAIN;
    error = stack_reserve(pool);
    if (UNLIKELY(error < 0))
        return error;
    *task = slab_take(&hub->tasks);
    if (LIKELY(*task != NULL))
        return 0;
    stack_unreserve(pool);
    return -ENOMEM;
}

static int give_back_record(struct gring_hub *hub, struct gring_task *task, struct stack_pool *pool)
{
    task_free_extras(task);
    slab_return(&hub->tasks, task);
    stack_unreserve(pool);
    return -ENOMEM;
}

int task_new(struct gring_hub *hub, struct stack_pool *pool, gring_fn fn, void *arg,
             struct gring_task **result)
{
    struct gring_task *task;
    int error = take_record(hub, pool, &task);

    if (UNLIKELY(error < 0))
        return error;
    memset(task, 0, offsetof(struct gring_task, mail));
    if (UNLIKELY(atomic_load_explicit(&local_inheritable_count, memory_order_relaxed)) &&
        local_inherit(task, hub->running) < 0)
        return give_back_record(hub, task, pool);
    task->hub = hub;
    task->fn = fn;
    task->arg = arg;
    atomic_init(&task->state, TASK_NEW);
    task->lane = LANE_NORMAL;
    list_init(&task->waiters);
    task->pool = pool;
    task->id = ++hub->next_task_id;
    task->handles = 2;
    hub->live_count++;
    hub->spawn_count++;
    *result = task;
    return 0;
}

void task_ready(struct gring_task *task)
{
    enum task_state state = task_state(task);

    CHECK(task->hub == hub_self()); /* other threads send mail */
    CHECK_SAY(state == TASK_NEW || state == TASK_PARKED || state == TASK_RUNNING,
              "a task was made ready twice, or has ended: two parties believe that they wake it");
    if (state != TASK_NEW)
        atomic_store_explicit(&task->state, TASK_READY, memory_order_relaxed);
    hub_make_ready(task->hub, task);
}

struct task_delay {
    struct hub_timer timer;
    struct gring_task *task;
};

static void start_now(struct hub_timer *timer)
{
    struct task_delay *delay = CONTAINER_OF(timer, struct task_delay, timer);
    struct gring_task *task = delay->task;

    task->is_delayed = false;
    free(delay);
    task_ready(task);
}

int task_start_after(struct gring_task *task, gring_ns duration)
{
    struct gring_hub *hub = task->hub;
    struct task_delay *delay = malloc(sizeof *delay);

    if (!delay)
        return -ENOMEM;
    *delay = (struct task_delay){ .timer.on_fire = start_now, .task = task };
    task->delay = delay;
    task->is_delayed = true;
    wheel_arm(&hub->wheel, &delay->timer.timer, clock_after(hub_read_clock(hub), duration));
    return 0;
}

static void cancel_delay(struct gring_task *task)
{
    wheel_disarm(&task->hub->wheel, &task->delay->timer.timer);
    free(task->delay);
    task->is_delayed = false;
}

/* ---- extras ---------------------------------------------------------------------------------- */

struct task_extras *task_extras(struct gring_task *task)
{
    if (!task->extras) {
        task->extras = calloc(1, sizeof *task->extras);
        if (task->extras)
            task->extras->links_tail = &task->extras->links;
    }
    return task->extras;
}

void task_free_extras(struct gring_task *task)
{
    if (!task->extras)
        return;
    free(task->extras->locals);
    free(task->extras);
    task->extras = NULL;
}

const char *task_name(const struct gring_task *task)
{
    return task->extras ? task->extras->name : "";
}

void task_add_waiter(struct gring_task *task, struct end_waiter *waiter)
{
    task_check_handle(task);
    CHECK(task_state(task) != TASK_DONE);
    list_push_back(&task->waiters, &waiter->link);
}

/* ---- end ------------------------------------------------------------------------------------- */

static void run_defers(struct gring_task *task)
{
    struct ending *ending;

    while ((ending = task->extras->defers)) {
        task->extras->defers = ending->next;
        ending->defer_fn(ending->arg);
        free(ending);
    }
}

/* Each kind may leave more of the other; what has set its values again for so many rounds would
 * do so for ever. */
void task_clean_up(struct gring_task *task)
{
    task->shield_depth++; /* it is not interrupted */
    if (LIKELY(!task->extras))
        return;
    run_defers(task);
    for (int round = 0; round < LOCAL_ROUNDS_MAX && local_destroy_round(task); round++)
        run_defers(task);
    local_forget(task);
}

/* A link may add more links: they are found here; when this loop is over gring_link calls at
 * once. */
static void call_links(struct gring_task *task)
{
    struct gring_task *running = task->hub->running;
    struct ending *ending;

    task->links_running = true;
    task->hub->running = NULL; /* a link must not park: a waiting call in it is caught */
    while (task->extras && (ending = task->extras->links)) {
        task->extras->links = ending->next;
        if (!ending->next)
            task->extras->links_tail = &task->extras->links;
        task->outcome_seen = true;
        ending->link_fn(task, ending->arg);
        free(ending);
    }
    task->hub->running = running;
    task->links_running = false;
}

static void wake_waiters(struct gring_task *task)
{
    struct list *link;

    while ((link = list_pop_front(&task->waiters))) {
        struct end_waiter *waiter = CONTAINER_OF(link, struct end_waiter, link);

        task->outcome_seen |= !waiter->ignores_outcome;
        waiter->on_end(waiter);
    }
}

/* The last moment at which somebody could have asked. */
static void report_failure(const struct gring_task *task)
{
    if (task->code && task->code != ECANCELED && !task->outcome_seen)
        log_line(LOG_WARNING, "task %llu%s%s failed, and nobody waits for it: %s",
                 (unsigned long long)task->id, *task_name(task) ? " " : "", task_name(task),
                 strerror(task->code));
}

static void tell_last_one(struct gring_hub *hub)
{
    struct end_waiter *waiter = hub->last_one_waiter;

    if (hub->live_count > 1 || !waiter)
        return;
    hub->last_one_waiter = NULL;
    waiter->on_end(waiter);
}

static void become_done(struct gring_task *task)
{
    struct gring_hub *hub = task->hub;

    /* result and code before it */
    atomic_store_explicit(&task->state, TASK_DONE, memory_order_release);
    call_links(task);
    wake_waiters(task);
    hub->live_count--;
    tell_last_one(hub);
    task_drop(task);
}

void task_check_frames(const struct gring_task *task)
{
    CHECK_SAY(!task->frames,
              "a task's function returned with a deadline not stopped or a scope not closed: do so "
              "on every path (gring_auto_timeout and gring_auto_scope do), or leave by gring_exit");
    cos_check_frames(task);
}

static void end_running(struct gring_task *task, void *result)
{
    CHECK_SAY(task->hub->running == task && !task->wait,
              "a task has ended while a waiting call of it was under way: longjmp or a signal "
              "handler's siglongjmp has left the call, which the kernel has not");
    CHECK_SAY(!task->has_stack_timers,
              "a task has ended with a gring_timer pending on its stack: stop it before, or keep "
              "it in memory that stays");
    task_check_frames(task);
    task_clean_up(task);
    task_check_frames(task); /* theirs, too */
    CHECK_SAY(!task->has_locked || !task->locks_held,
              "a task ended with a mutex or rwlock locked, which nobody else can unlock");
    cos_destroy(task);
    task->result = result;
    if (task->told_killed && !task->code_is_own)
        task->code = ECANCELED;
    become_done(task);
}

static _Thread_local int orphan_code;

void task_fail(int code)
{
    struct gring_task *task = hub_running_task();
    struct gring_co *co = task ? co_inside(task) : NULL;

    if (!task) {
        orphan_code = code;
        return;
    }
    if (co) {
        co->failure = code;
        return;
    }
    task->code = code;
    task->code_is_own = true;
}

int task_orphan_code(void)
{
    return orphan_code;
}

void task_main(void)
{
    coro_begin();
    for (;;) {
        struct gring_hub *hub = hub_self();
        struct gring_task *task = hub->running;
        struct coro *coro = task->coro;
        void *result;

        errno = 0;
        result = task->fn(task->arg);
        if (UNLIKELY(hub_self() != hub))
            _exit(orphan_code ? 1 : 0); /* the child of a fork: no hub goes on here */
        end_running(task, result);
        hub_next_task(hub, coro);
    }
}

void task_end_main(struct gring_task *task, void *result)
{
    task->outcome_seen = true; /* gring_run returns it */
    end_running(task, result);
    task_drop(task);
}

/* The memory of what encloses the call, in the callers' frames, is still there. */
void task_leave_frames(struct gring_task *task)
{
    task->shield_depth = 0;
    cos_unwind(task);
    frames_unwind(task);
}

_Noreturn void task_exit(struct gring_task *task, void *result)
{
    struct gring_hub *hub = task->hub;
    struct coro *coro = task->coro;

    cxx_leave(hub->cxx, &(struct cxx_exceptions){ .caught = NULL });
    task_leave_frames(task);
    end_running(task, result);
    hub_leave_stack(hub, coro);
}

/* ---- a task run by another ------------------------------------------------------------------- */

/* Around the function, so that it ends even if the runner exits in there. */
struct here {
    struct frame frame;
    struct gring_task *task;
    int *code; /* the runner's, or its coroutine's: the job's for as long as it runs */
    int outer_code;
    bool outer_code_is_own;
};

static void leave_here(struct here *here, void *result, int code)
{
    struct gring_task *runner = here->frame.task;

    frame_remove(&here->frame);
    *here->code = here->outer_code;
    runner->code_is_own = here->outer_code_is_own;
    here->task->result = result;
    here->task->code = code;
    become_done(here->task);
}

static void runner_exits(struct frame *frame)
{
    leave_here(CONTAINER_OF(frame, struct here, frame), NULL, ECANCELED);
}

static const struct frame_kind here_kind = { .close = runner_exits };

void task_run_here(struct gring_task *task)
{
    struct gring_task *runner = task->hub->running;
    struct gring_co *co = co_inside(runner);
    struct here here = { .task = task, .code = co ? &co->failure : &runner->code };
    void *result;

    here.outer_code = *here.code;
    here.outer_code_is_own = runner->code_is_own;
    stack_unreserve(task->pool);
    atomic_store_explicit(&task->state, TASK_RUNNING,
                          memory_order_relaxed); /* cannot be cancelled */
    *here.code = 0;
    runner->code_is_own = false;
    frame_push(runner, &here.frame, &here_kind, CLOCK_FOREVER);
    result = task->fn(task->arg);
    CHECK_SAY(runner->frames == &here.frame,
              "a job that its pool's task ran itself returned with a deadline not stopped or a "
              "scope not closed");
    leave_here(&here, result,
               runner->told_killed && !runner->code_is_own && !*here.code ? ECANCELED : *here.code);
}

static void free_record(struct gring_task *task)
{
    struct gring_hub *hub = task->hub;

    CHECK(task_state(task) == TASK_DONE && !task->husk);
    report_failure(task);
    task_free_extras(task);
    atomic_store_explicit(&task->state, TASK_FREE, memory_order_relaxed);
    slab_return(&hub->tasks, task);
}

void task_discard(struct gring_task *task)
{
    stack_unreserve(task->pool);
    task->hub->live_count--;
    atomic_store_explicit(&task->state, TASK_DONE, memory_order_relaxed);
    free_record(task);
}

static int handle_count(const struct gring_task *task)
{
    return task->handles + atomic_load_explicit(&task->keeps, memory_order_relaxed);
}

void task_drop(struct gring_task *task)
{
    task->handles--;
    if (handle_count(task) > 0)
        return;
    /* Somebody's mail about it is still under way, though whoever sent it has given his handle
     * back: its delivery comes here again. */
    if (atomic_load_explicit(&task->requests, memory_order_relaxed))
        return;
    free_record(task);
}

/* Those of being alive and of its place in the lane are ours, one may be the scope's. held: more
 * of ours. */
static void give_back(struct gring_task *task, int held)
{
    int not_theirs = (task_state(task) != TASK_DONE) + task->husk + held;

    CHECK_SAY(handle_count(task) > not_theirs,
              "a task's handle was given back twice: gring_join gives it back, too; gring_keep "
              "makes another one");
    CHECK_SAY(!task->is_borrowed || handle_count(task) > not_theirs + 1,
              "the handle of a scope's task was dropped or joined: it is the scope's until "
              "gring_scope_close; use gring_wait, or gring_keep before");
    task_drop(task);
}

void task_give_back(struct gring_task *task)
{
    give_back(task, 0);
}

/* ---- interruptions --------------------------------------------------------------------------- */

int task_interruption(const struct gring_task *task)
{
    if (LIKELY(!task->interrupts))
        return 0;
    if (task->interrupts & INTERRUPT_KILL && !task->shield_depth)
        return ECANCELED;
    if (task->interrupts & INTERRUPT_THROW && !task->shield_depth)
        return task->thrown;
    return task->interrupts & INTERRUPT_DEADLINE && frames_expired(task) ? ETIMEDOUT : 0;
}

static void use_up(struct gring_task *task)
{
    if (task->shield_depth)
        return;
    if (task->interrupts & INTERRUPT_KILL) {
        task->told_killed = true;
    } else if (task->interrupts & INTERRUPT_THROW) {
        task->interrupts &= (uint8_t)~INTERRUPT_THROW;
        /* `thrown` has been read */
        atomic_store_explicit(&task->throw_claimed, 0, memory_order_release);
    }
}

int task_report(struct gring_task *task, int otherwise)
{
    int error = task_interruption(task);

    if (task->reports_held)
        task->report_due = true;
    else
        use_up(task);
    return error ? error : otherwise;
}

void task_hold_reports(struct gring_task *task)
{
    task->reports_held = true;
    task->report_due = false;
}

void task_release_reports(struct gring_task *task, bool passed_on)
{
    task->reports_held = false;
    if (task->report_due && passed_on)
        use_up(task);
}

/* By whoever ends it, whose waiting calls these would be: they are caught. */
static void call_abort(struct gring_task *task)
{
    struct gring_task *running = task->hub->running;

    if (!task->has_abort)
        return;
    task->hub->running = NULL;
    task->abort(task->arg);
    task->hub->running = running;
}

/* It never runs. Its place in the lane, if it has one, stays behind as a husk with a handle of
 * its own. */
static void end_unstarted(struct gring_task *task)
{
    stack_unreserve(task->pool);
    task->code = ECANCELED;
    if (task->is_delayed) {
        cancel_delay(task);
    } else {
        task->husk = true;
        task->handles++;
    }
    call_abort(task);
    become_done(task);
}

void task_interrupted(struct gring_task *task)
{
    int error = task_interruption(task);

    if (!error)
        return;
    if (task_state(task) == TASK_PARKED)
        /* first: what ends below must not look like the reason */
        wait_interrupt(task->wait, error);
    frames_pass_on(task);
}

static void accept_throw(struct gring_task *task)
{
    if (task_state(task) == TASK_DONE)
        return;
    task->interrupts |= INTERRUPT_THROW;
    task_interrupted(task);
}

void task_kill(struct gring_task *task)
{
    if (task_state(task) == TASK_DONE || task_cancel(task))
        return;
    task->interrupts |= INTERRUPT_KILL;
    task_interrupted(task);
}

bool task_cancel(struct gring_task *task)
{
    if (task_state(task) != TASK_NEW)
        return false;
    end_unstarted(task);
    return true;
}

/* The claim is what makes a throw the only one until it is reported; the request publishes the
 * code. */
int task_throw(struct gring_task *task, int error)
{
    if (task_state(task) == TASK_DONE)
        return -ESRCH;
    if (atomic_exchange_explicit(&task->throw_claimed, 1, memory_order_acquire))
        return -EALREADY;
    task->thrown = error;
    if (task->hub == hub_self())
        accept_throw(task);
    else
        task_request(task, REQUEST_THROW);
    return 0;
}

void task_unpark(struct gring_task *task, void *value)
{
    if (task_state(task) == TASK_DONE)
        return;
    atomic_store_explicit(&task->unpark_value, value, memory_order_relaxed);
    task->unparked = true;
    if (task->in_park) {
        task->in_park = false;
        source_done(task->park_source);
    }
}

/* ---- requests of other threads --------------------------------------------------------------- */

void task_request(struct gring_task *task, unsigned bits)
{
    unsigned before = bits >= REQUEST_DROP_UNIT
                          ? atomic_fetch_add_explicit(&task->requests, bits, memory_order_acq_rel)
                          : atomic_fetch_or_explicit(&task->requests, bits, memory_order_acq_rel);

    /* Only who finds it empty posts the mail. The record stays until the delivery, even if its last
     * handle is dropped before (task_drop); from that on we touch nothing but the mailbox, which
     * lives as long as the hub. */
    if (before == 0) {
        task->mail.deliver = deliver_requests;
        mailbox_post(&task->hub->mailbox, &task->mail);
    }
}

static void deliver_requests(struct mail *mail)
{
    struct gring_task *task = CONTAINER_OF(mail, struct gring_task, mail);
    unsigned bits;

    task->handles++; /* ours: the last one may have been dropped before, or may be in here */
    bits = atomic_exchange_explicit(&task->requests, 0, memory_order_acq_rel);
    if (bits & REQUEST_UNPARK)
        task_unpark(task, atomic_load_explicit(&task->unpark_value, memory_order_relaxed));
    if (bits & REQUEST_KILL)
        task_kill(task);
    if (bits & REQUEST_THROW)
        accept_throw(task);
    for (unsigned drops = bits / REQUEST_DROP_UNIT; drops > 0; drops--)
        give_back(task, 1);
    task_drop(task);
}
