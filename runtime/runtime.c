/* Start, stop and the process-wide pointer; see runtime.h. */
#include "runtime/runtime.h"

#include "base/check.h"
#include "base/log.h"
#include "base/sys.h"
#include "runtime/census.h"
#include "runtime/offload.h"
#include "runtime/wait.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

static _Atomic(struct gring_hub *) the_hub;
static atomic_bool started;
/* threads inside runtime_call or gring_post: the hub must not go */
static atomic_int visitor_count;
static bool in_fork_child;
static enum runtime_end end_mode;
static uint64_t run_count; /* of this process and of those it was forked from */
static pthread_once_t fork_handler_once = PTHREAD_ONCE_INIT;

/* The child has the parent's memory but none of its rings and threads: what was running is
 * unreachable there. */
static void become_inert(void)
{
    if (!atomic_load(&started))
        return;
    hub_of_thread = NULL;
    atomic_store(&the_hub, NULL);
    atomic_store(&visitor_count, 0);
    offload_forget();
    atomic_store(&started, false);
    in_fork_child = true;
}

static void install_fork_handler(void)
{
    pthread_atfork(NULL, NULL, become_inert);
}

int runtime_start(const struct hub_config *config, enum runtime_end end)
{
    struct gring_hub *hub;
    int error = -ENOMEM;

    if (atomic_exchange(&started, true))
        return -EBUSY;
    pthread_once(&fork_handler_once, install_fork_handler);
    hub = malloc(sizeof *hub);
    if (hub)
        error = hub_open(hub, config);
    if (error < 0) {
        free(hub);
        atomic_store(&started, false);
        return error;
    }
    hub->run_number = ++run_count;
    in_fork_child = false;
    end_mode = end;
    atomic_store_explicit(&the_hub, hub, memory_order_release);
    return 0;
}

struct gring_hub *runtime_hub(void)
{
    return atomic_load_explicit(&the_hub, memory_order_acquire);
}

int runtime_may_start(void)
{
    if (in_fork_child)
        return -ECHILD;
    return atomic_load(&started) ? -EPERM : 0;
}

bool runtime_is_lost(void)
{
    return in_fork_child;
}

int runtime_no_hub(void)
{
    return in_fork_child ? -ECHILD : -EPERM;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void kill_one(void *record, void *arg)
{
    struct gring_task *task = record;
    struct gring_hub *hub = arg;

    if (task_state(task) != TASK_FREE && task != hub->main_task)
        task_kill(task);
}

struct last_one {
    struct end_waiter waiter;
    struct source source;
};

static void last_one_ended(struct end_waiter *waiter)
{
    source_done(&CONTAINER_OF(waiter, struct last_one, waiter)->source);
}

static void give_up_waiting(struct source *source)
{
    hub_self()->last_one_waiter = NULL;
    source_done(source);
}

/* Until the main task is alone. -EDEADLK: the others wait for each other. */
static int await_others(struct gring_hub *hub, const char *what)
{
    struct last_one last_one = { .waiter.on_end = last_one_ended };
    struct wait wait;

    if (hub->live_count == 1)
        return 0;
    hub->main_task->interrupts = 0; /* this wait can only be ended by a deadlock */
    if (wait_begin(&wait, what, -1) < 0)
        return 0;
    wait_hold(&wait, &last_one.source, give_up_waiting);
    hub->last_one_waiter = &last_one.waiter;
    wait_park(&wait);
    return wait_outcome(&wait);
}

/* The real time that killed tasks may take before they are named; with a standing clock they may
 * take for ever. */
#define END_PATIENCE (5 * CLOCK_SECOND)

static void name_the_stubborn(struct hub_timer *timer)
{
    (void)timer;
    log_line(LOG_WARNING,
             "the main task has ended, but %d s after they were killed these tasks have not:",
             (int)(END_PATIENCE / CLOCK_SECOND));
    census_name_tasks(hub_self());
}

static int await_killed(struct gring_hub *hub)
{
    struct hub_timer patience = { .on_fire = name_the_stubborn };
    int error;

    if (!hub->config.fake_time)
        wheel_arm(&hub->wheel, &patience.timer, clock_after(hub_read_clock(hub), END_PATIENCE));
    error = await_others(hub, "the end of the killed tasks");
    wheel_disarm(&hub->wheel, &patience.timer);
    return error;
}

static void end_other_tasks(struct gring_hub *hub)
{
    hub->main_task->shield_depth = 1; /* whoever kills or throws at it now cannot hurry this */
    if (end_mode == RUNTIME_DRAIN && await_others(hub, "the drain of the other tasks") == -EDEADLK)
        log_line(LOG_ERROR, "the tasks named above will never end by themselves: they are killed");
    hub->ending = true;
    hub->config.max_tasks = 0;
    slab_each(&hub->tasks, kill_one, hub);
    if (await_killed(hub) < 0)
        CHECK_SAY(hub->live_count == 1,
                  "killed tasks wait for each other in calls that cannot be interrupted");
}

/* The main task's end wakes threads that wait for it; then what is in the box, and what visitors
 * still put there; and abandoned jobs that had finished, whose mail is in it or about to be. */
static void deliver_last_mail(struct gring_hub *hub)
{
    hub->running = NULL;          /* as on the loop: callbacks must not park */
    atomic_store(&the_hub, NULL); /* no more mail from here on, but from who is inside already */
    mailbox_deliver(&hub->mailbox);
    while (hub->offload_count > 0 || atomic_load(&visitor_count) > 0) {
        sys_pause_ns(CLOCK_MILLISECOND / 10);
        mailbox_deliver(&hub->mailbox);
    }
}

int runtime_stop(void *result)
{
    struct gring_hub *hub = hub_self();
    struct gring_task *task = hub->main_task;
    int code;

    task_check_frames(task);
    task_clean_up(task);
    end_other_tasks(hub);
    code = task->code;
    task_end_main(task, result);
    deliver_last_mail(hub);
    hub_close(hub);
    offload_stop();
    free(hub);
    atomic_store(&started, false);
    return code;
}

/* ---- calls from plain threads ---------------------------------------------------------------- */

/*
 * The visitor counts itself and then looks whether the hub is there; the end takes the hub away
 * and then looks for visitors, all sequentially consistent: one of them sees the other.
 */
bool runtime_visit(struct gring_hub *hub)
{
    atomic_fetch_add(&visitor_count, 1);
    if (hub && atomic_load(&the_hub) == hub)
        return true;
    runtime_leave();
    return false;
}

void runtime_leave(void)
{
    atomic_fetch_sub(&visitor_count, 1);
}

struct call {
    struct mail mail;
    gring_cb fn;
    void *arg;
    atomic_uint done;
};

static void run_call(struct mail *mail)
{
    struct call *call = CONTAINER_OF(mail, struct call, mail);

    call->fn(call->arg);
    atomic_store_explicit(&call->done, 1, memory_order_release);
    /* by address only: the caller's frame may be gone, a spurious wake is harmless */
    sys_futex_wake_all(&call->done);
}

int runtime_call(struct gring_hub *hub, gring_cb fn, void *arg)
{
    struct call call = { .mail.deliver = run_call, .fn = fn, .arg = arg };

    if (!runtime_visit(hub))
        return runtime_no_hub();
    mailbox_post(&hub->mailbox, &call.mail);
    while (!atomic_load_explicit(&call.done, memory_order_acquire))
        sys_futex_wait(&call.done, 0);
    runtime_leave();
    return 0;
}
