/* Naming tasks and finding deadlocks; see census.h. */
#include "runtime/census.h"

#include "base/check.h"
#include "base/log.h"
#include "base/sys.h"
#include "runtime/offload.h"
#include "runtime/wait.h"

#include <errno.h>
#include <stdio.h>

enum { NAMES_MAX = 32 };
#define LOOK_AGAIN_NS (100 * CLOCK_MILLISECOND)
#define LOOK_AGAIN_MAX_NS (60 * CLOCK_SECOND)

struct census {
    const struct gring_task *main_task;
    size_t count;
};

static void describe_wait(const struct gring_task *task, char *text, size_t size)
{
    const struct wait *wait = task->wait;

    if (task_state(task) != TASK_PARKED || !wait)
        snprintf(text, size, "%s",
                 task_state(task) == TASK_NEW ? "has not started" : "is ready to run");
    else if (wait->fd >= 0)
        snprintf(text, size, "waits in %s on descriptor %d", wait->what, wait->fd);
    else
        snprintf(text, size, "waits in %s", wait->what);
}

static void name_one(void *record, void *arg)
{
    struct gring_task *task = record;
    struct census *census = arg;
    enum task_state state = task_state(task);
    char text[96];

    if (state == TASK_FREE || state == TASK_DONE || task == census->main_task ||
        ++census->count > NAMES_MAX)
        return;
    describe_wait(task, text, sizeof text);
    log_line(LOG_ERROR, "  task %llu%s%s %s", (unsigned long long)task->id,
             *task_name(task) ? " " : "", task_name(task), text);
}

void census_name_tasks(struct gring_hub *hub)
{
    struct census census = { .main_task = hub->main_task };

    slab_each(&hub->tasks, name_one, &census);
    if (census.count > NAMES_MAX)
        log_line(LOG_ERROR, "  … and %zu more", census.count - NAMES_MAX);
}

/* Ops on descriptors, jobs of offload threads; the mailbox's own read does not count. */
static bool something_in_flight(const struct gring_hub *hub)
{
    return hub->ops.in_flight_count > hub->mailbox.watched || hub->offload_count > 0;
}

/*
 * Another thread may hold a handle. Looking costs a directory read, and the last other thread
 * may end while we sleep: so we look again after a pause that doubles up to a minute, and starts
 * anew when a look has found nobody.
 */
static gring_ns time_until_next_look(const struct gring_hub *hub)
{
    return hub->thread_look_pause && hub->now < hub->next_thread_look
               ? hub->next_thread_look - hub->now
               : 0;
}

static bool other_threads_exist(struct gring_hub *hub)
{
    gring_ns pause = hub->thread_look_pause;

    hub->thread_look_pause = 0;
    if (sys_foreign_thread_count(1 + offload_thread_count()) == 0)
        return false;
    hub->thread_look_pause = !pause                          ? LOOK_AGAIN_NS
                             : pause < LOOK_AGAIN_MAX_NS / 2 ? pause * 2
                                                             : LOOK_AGAIN_MAX_NS;
    hub->next_thread_look = clock_after(hub->now, hub->thread_look_pause);
    return true;
}

static gring_ns declare_deadlock(struct gring_hub *hub)
{
    struct wait *wait = hub->main_task->wait;
    bool can_tell = wait && wait->interruptible && !wait->over;

    log_line(LOG_ERROR, "deadlock: every task waits for another one, and nothing is in flight; %s",
             can_tell ? "the main task's wait fails with EDEADLK"
                      : "the main task's wait has no error path");
    log_line(LOG_ERROR, "  the main task waits in %s", wait ? wait->what : "(nothing)");
    census_name_tasks(hub);
    CHECK_SAY(
        can_tell,
        "all tasks wait for each other and the main task cannot be told; see the lines above");
    wait_interrupt(wait, EDEADLK);
    return 0;
}

gring_ns census_time_to_sleep(struct gring_hub *hub)
{
    gring_ns until_next_look;

    if (something_in_flight(hub) || !mpsc_empty(&hub->mailbox.queue))
        return CLOCK_FOREVER;
    until_next_look = time_until_next_look(hub);
    if (until_next_look)
        return until_next_look;
    if (other_threads_exist(hub))
        return hub->thread_look_pause;
    /* the last of them may have left mail since we looked, and ended before we counted */
    if (!mpsc_empty(&hub->mailbox.queue))
        return CLOCK_FOREVER;
    return declare_deadlock(hub);
}
