/*
 * Timers, many: callbacks, sleeps and deadlines of all lengths, started, stopped and started again
 * at random. None is early, none fires twice or after its stop, none is forgotten.
 */
#include "tests/sim/sim.h"

#include <errno.h>

enum { TIMERS_MAX = 200000, SLEEPERS_MAX = 300, ROUNDS_MAX = 6 };

#define LONGEST (1000 * GRING_SEC)

static struct watch {
    gring_timer timer;
    gring_ns due;
    unsigned fired_count, started_count, stopped_count;
} * watches;

static gring_ns any_duration(void)
{
    return sim_chance(50) ? LONGEST + (gring_ns)sim_below((uint64_t)LONGEST)
                          : sim_duration(LONGEST);
}

static void start(struct watch *watch);

static void fire(void *arg)
{
    struct watch *watch = arg;

    SIM_MUST(gring_now() >= watch->due);
    watch->fired_count++;
    if (sim_chance(100))
        start(watch);
}

static void start(struct watch *watch)
{
    gring_ns duration = any_duration();

    watch->due = gring_now() + duration;
    watch->started_count++;
    SIM_MUST(gring_timer_start(&watch->timer, duration, fire, watch) == 0);
}

static void stop(struct watch *watch)
{
    int was_pending = gring_timer_stop(&watch->timer);

    SIM_MUST(was_pending == 0 || was_pending == 1);
    watch->stopped_count += (unsigned)was_pending;
}

static void stir(unsigned count)
{
    for (unsigned index = 0; index < count; index++) {
        struct watch *watch = &watches[sim_below(count)];

        if (gring_timer_pending(&watch->timer))
            stop(watch);
        else
            start(watch);
    }
}

/* Each start has had one end: it fired or was stopped. */
static void check(unsigned count, bool all_over)
{
    for (unsigned index = 0; index < count; index++) {
        const struct watch *watch = &watches[index];
        unsigned pending = gring_timer_pending(&watch->timer);

        SIM_MUST(watch->fired_count + watch->stopped_count + pending == watch->started_count);
        SIM_MUST(!all_over || !pending);
    }
}

static void *sleep_and_doubt(void *unused)
{
    gring_ns duration = any_duration(), patience = any_duration(), begin = gring_now();
    gring_timeout timeout;

    gring_timeout_start(&timeout, patience);
    if (gring_sleep(duration) == 0)
        SIM_MUST(gring_now() >= begin + duration);
    else
        SIM_MUST(errno == ECANCELED || errno == ETIMEDOUT);
    if (gring_timeout_stop(&timeout) == 1)
        SIM_MUST(gring_now() >= begin + patience);
    return unused;
}

SIM_WORKLOAD(timers, SIM_NO_MEMORY)
{
    unsigned count = (unsigned)sim_size(sim_size(TIMERS_MAX)),
             sleepers = (unsigned)sim_size(SLEEPERS_MAX);

    watches = sim_alloc(count * sizeof *watches);
    while (sleepers-- > 0)
        if (gring_spawn_n(sleep_and_doubt, NULL) < 0)
            sim_excuse(errno);
    for (unsigned round = 0, rounds = (unsigned)sim_between(1, ROUNDS_MAX); round < rounds;
         round++) {
        stir(count);
        SIM_MUST(gring_sleep(any_duration()) == 0);
        check(count, false);
    }
    if (sim_chance(500)) {
        while (sim_chance(900))
            SIM_MUST(gring_sleep(LONGEST) == 0);
    }
    for (unsigned index = 0; index < count; index++)
        stop(&watches[index]);
    check(count, true);
}
