/* Giving way: to all that is ready, when the slice is used up, until there is nothing else to
 * do. */
#include "api/result.h"
#include "api/task/start.h"
#include "base/check.h"
#include "runtime/runtime.h"
#include "runtime/wait.h"

#include <greenring/task.h>
#include <sched.h>

/* A long computation looks at the clock about this often per slice, and at least every so many
 * checkpoints. */
enum { LOOKS_PER_SLICE = 16, STEP_MAX = 1024 };

static int yield(struct gring_hub *hub)
{
    struct gring_task *task = hub->running;
    int error;

    CHECK_SAY(task != NULL,
              "gring_yield was called in a callback on the hub's loop; spawn a task there instead");
    error = wait_permitted(task);
    if (UNLIKELY(error < 0))
        return (int)api_result(error);
    hub_yield(task);
    return 0;
}

int gring_yield(void)
{
    int error = start_if_needed();

    if (LIKELY(error == 0))
        return yield(hub_self());
    return start_is_elsewhere() ? sched_yield() : (int)api_result(error);
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

/*
 * The step between two looks follows the pace: twice as far while a look comes early, down to
 * one when it comes late. So a checkpoint is a counter test, and the clock is read about
 * LOOKS_PER_SLICE times a slice.
 */
static void adapt_step(struct gring_hub *hub, gring_ns now)
{
    gring_ns since = now - hub->checkpoint_time;

    if (since > hub->config.slice / LOOKS_PER_SLICE)
        hub->checkpoint_step = 1;
    else if (hub->checkpoint_step < STEP_MAX)
        hub->checkpoint_step *= 2;
    hub->checkpoint_time = now;
    hub->checkpoint_left = hub->checkpoint_step;
}

int gring_checkpoint(void)
{
    struct gring_hub *hub = hub_self();
    gring_ns now;

    if (!hub || !hub->running)
        return 0; /* nobody to give way to */
    if (LIKELY(--hub->checkpoint_left))
        return (int)api_result(wait_permitted(hub->running));
    now = hub_read_clock(hub);
    adapt_step(hub, now);
    if (now - hub->now < hub->config.slice)
        return (int)api_result(wait_permitted(hub->running));
    return yield(hub);
}

/* ---- idle ------------------------------------------------------------------------------------ */

struct idler {
    struct end_waiter waiter;
    struct source source;
};

static void hub_is_idle(struct end_waiter *waiter)
{
    source_done(&CONTAINER_OF(waiter, struct idler, waiter)->source);
}

static void stop_idling(struct source *source)
{
    list_unlink(&CONTAINER_OF(source, struct idler, source)->waiter.link);
    source_done(source);
}

int gring_idle(void)
{
    struct idler idler = { .waiter.on_end = hub_is_idle };
    struct gring_hub *hub = hub_self();
    struct wait wait;
    int error;

    if (!hub)
        return (int)api_result(runtime_no_hub());
    error = wait_begin(&wait, "idle", -1);
    if (error < 0)
        return (int)api_result(error);
    wait_hold(&wait, &idler.source, stop_idling);
    list_push_back(&hub->idlers, &idler.waiter.link);
    wait_park(&wait);
    return (int)api_result(wait_outcome(&wait));
}
