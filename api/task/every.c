/* Periodic tasks: one task that sleeps from tick to tick of a grid. */
#include "api/result.h"
#include "base/clock.h"

#include <greenring/task.h>
#include <greenring/time.h>
#include <stdlib.h>
#include <string.h>

struct every {
    gring_ns period, next;
    gring_tick_fn fn;
    void *arg;
    gring_cb abort;
    uint64_t count;
};

/* The tick that is due now, on the grid; those that have passed meanwhile are skipped and
 * counted. */
static gring_tick next_tick(struct every *every, gring_ns now)
{
    gring_ns behind = now - every->next;
    uint64_t missed = (uint64_t)(behind / every->period);
    gring_ns due = every->next + (gring_ns)missed * every->period;

    every->next = clock_after(due, every->period);
    return (gring_tick){ .n = every->count++, .due = due, .late = now - due, .missed = missed };
}

static int run_ticks(struct every *every)
{
    for (;;) {
        gring_tick tick;
        int outcome;

        if (gring_sleep_until(every->next) < 0)
            return errno;
        tick = next_tick(every, gring_now());
        outcome = every->fn(every->arg, &tick);
        if (outcome)
            return outcome < 0 ? 0 : outcome;
    }
}

static void *every_main(void *arg)
{
    struct every every = *(struct every *)arg;
    int code;

    free(arg);
    code = run_ticks(&every);
    return code ? gring_fail(code) : NULL;
}

static void give_up(void *arg)
{
    struct every *every = arg;

    if (every->abort)
        every->abort(every->arg);
    free(every);
}

gring_task *gring_every(gring_ns period, gring_tick_fn fn, void *arg, const gring_spawn_opts *given)
{
    gring_spawn_opts opts = GRING_SPAWN_INIT;
    struct every *every;
    gring_task *task;

    if (period <= 0 || !fn ||
        (given && (given->size < sizeof given->size || given->size > sizeof opts)))
        return api_null(-EINVAL);
    if (given)
        /* an older caller's may be smaller; gring_spawn_with says more */
        memcpy(&opts, given, given->size);
    opts.size = sizeof opts;
    every = malloc(sizeof *every);
    if (!every)
        return api_null(-ENOMEM);
    *every = (struct every){ .period = period, .fn = fn, .arg = arg, .abort = opts.abort };
    every->next = clock_after(gring_now(), opts.delay > 0 ? opts.delay : period);
    opts.delay = 0; /* the first tick's distance, not the task's */
    opts.abort = give_up;
    task = gring_spawn_with(&opts, every_main, every);
    if (!task)
        free(every);
    return task;
}
