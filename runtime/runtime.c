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
static bool in_fork_child;
static enum runtime_end end_mode;
static pthread_once_t fork_handler_once = PTHREAD_ONCE_INIT;

/* The child has the parent's memory but none of its rings and threads: what was running is unreachable there. */
static void become_inert(void)
{
    if (!atomic_load(&started))
        return;
    hub_of_thread = NULL;
    atomic_store(&the_hub, NULL);
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

int runtime_no_hub(void)
{
    return in_fork_child ? -ECHILD : -EPERM;
}

/* ---- the end ------------------------------------------------------------------------------------------------- */

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

static void end_other_tasks(struct gring_hub *hub)
{
    hub->main_task->shield_depth = 0;
    if (end_mode == RUNTIME_DRAIN && await_others(hub, "the drain of the other tasks") == -EDEADLK)
        log_line(LOG_ERROR, "the tasks named above will never end by themselves: they are killed");
    hub->ending = true;
    hub->config.max_tasks = 0;
    slab_each(&hub->tasks, kill_one, hub);
    if (await_others(hub, "the end of the killed tasks") < 0)
        CHECK_SAY(hub->live_count == 1, "killed tasks wait for each other in calls that cannot be interrupted");
}

/* What is in the box; and abandoned jobs that had finished, whose mail is in it or about to be. */
static void deliver_last_mail(struct gring_hub *hub)
{
    struct gring_task *running = hub->running;

    hub->running = NULL; /* as on the loop: callbacks must not park */
    mailbox_deliver(&hub->mailbox);
    while (hub->offload_count > 0) {
        sys_pause_ns(CLOCK_MILLISECOND / 10);
        mailbox_deliver(&hub->mailbox);
    }
    hub->running = running;
}

int runtime_stop(void *result)
{
    struct gring_hub *hub = hub_self();
    struct gring_task *task = hub->main_task;
    int code;

    task_run_defers(task);
    end_other_tasks(hub);
    deliver_last_mail(hub);
    code = task->code;
    task_end_main(task, result);
    atomic_store_explicit(&the_hub, NULL, memory_order_release);
    hub_close(hub);
    offload_stop();
    free(hub);
    atomic_store(&started, false);
    return code;
}

/* ---- calls from plain threads -------------------------------------------------------------------------------- */

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
    sys_futex_wake_all(&call->done); /* by address only: the caller's frame may be gone, a spurious wake is harmless */
}

int runtime_call(struct gring_hub *hub, gring_cb fn, void *arg)
{
    struct call call = { .mail.deliver = run_call, .fn = fn, .arg = arg };

    if (hub != runtime_hub())
        return in_fork_child ? -ECHILD : -EPERM;
    mailbox_post(&hub->mailbox, &call.mail);
    while (!atomic_load_explicit(&call.done, memory_order_acquire))
        sys_futex_wait(&call.done, 0);
    return 0;
}
