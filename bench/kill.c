/* What it costs to end 100,000 sleepers: asked, woken with the error, gone; against the same
 * tasks unparked. */
#include "report.h"

#include <greenring/greenring.h>

enum { SLEEPERS = 100 * 1000 };

static gring_task *tasks[SLEEPERS];

static void *sleep_long(void *arg)
{
    gring_sleep(3600 * GRING_SEC);
    return arg;
}

static void *park(void *arg)
{
    gring_park(NULL);
    return arg;
}

static void start_all(gring_fn fn)
{
    for (int index = 0; index < SLEEPERS; index++)
        tasks[index] = gring_spawn(fn, NULL);
    gring_idle();
}

static void join_all(void)
{
    for (int index = 0; index < SLEEPERS; index++)
        gring_join(tasks[index], NULL);
}

static double kill_only(void)
{
    double start, end;

    start_all(sleep_long);
    start = bench_now_ns();
    gring_killall(tasks, SLEEPERS);
    end = bench_now_ns();
    join_all();
    return (end - start) / SLEEPERS;
}

static double kill_to_the_end(void)
{
    double start;

    start_all(sleep_long);
    start = bench_now_ns();
    gring_killall(tasks, SLEEPERS);
    join_all();
    return (bench_now_ns() - start) / SLEEPERS;
}

static double unpark_only(void)
{
    double start, end;

    start_all(park);
    start = bench_now_ns();
    for (int index = 0; index < SLEEPERS; index++)
        gring_unpark(tasks[index], NULL);
    end = bench_now_ns();
    join_all();
    return (end - start) / SLEEPERS;
}

static double unpark_to_the_end(void)
{
    double start;

    start_all(park);
    start = bench_now_ns();
    for (int index = 0; index < SLEEPERS; index++)
        gring_unpark(tasks[index], NULL);
    join_all();
    return (bench_now_ns() - start) / SLEEPERS;
}

static double kill_by_scope(void)
{
    gring_scope scope;
    double start;

    gring_scope_open(&scope, 0);
    for (int index = 0; index < SLEEPERS; index++)
        gring_scope_spawn_n(&scope, sleep_long, NULL);
    gring_idle();
    start = bench_now_ns();
    gring_scope_close(&scope);
    return (bench_now_ns() - start) / SLEEPERS;
}

static void *measure(void *arg)
{
    const struct comparison comparisons[] = {
        { "kill of 100,000 sleepers; each", "unpark of 100,000", kill_only, unpark_only, 0, 0 },
        { "the same until all have ended; each", "the same", kill_to_the_end, unpark_to_the_end, 0,
          0 },
        { "close of a scope with 100,000; each", "unpark until all have ended", kill_by_scope,
          unpark_to_the_end, 0, 0 },
    };

    for (size_t index = 0; index < sizeof comparisons / sizeof comparisons[0]; index++)
        bench_compare(&comparisons[index]);
    return arg;
}

int main(void)
{
    return gring_run(measure, NULL, NULL);
}
