/* P8: what a deadline around a call that completes costs, and a scope with one child; against a
 * look at the clock. */
#include "report.h"

#include <greenring/greenring.h>

enum { TIMES = 400 * 1000, SCOPES = 100 * 1000 };

static double start_and_stop(void)
{
    double start = bench_now_ns();

    for (int count = 0; count < TIMES; count++) {
        gring_timeout timeout;

        gring_timeout_start(&timeout, GRING_SEC);
        __asm__ volatile("" ::: "memory"); /* the call that completes */
        gring_timeout_stop(&timeout);
    }
    return (bench_now_ns() - start) / TIMES;
}

static double yields(void)
{
    double start = bench_now_ns();

    for (int count = 0; count < TIMES; count++)
        gring_yield();
    return (bench_now_ns() - start) / TIMES;
}

static double bounded_yields(void)
{
    double start = bench_now_ns();

    for (int count = 0; count < TIMES; count++)
        gring_within(GRING_SEC, gring_yield());
    return (bench_now_ns() - start) / TIMES;
}

static double clock_reads(void)
{
    double start = bench_now_ns();

    for (int count = 0; count < TIMES; count++) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        __asm__ volatile("" ::"r"(&now) : "memory");
    }
    return (bench_now_ns() - start) / TIMES;
}

static void *nothing(void *arg)
{
    return arg;
}

static double scope_with_a_child(void)
{
    double start = bench_now_ns();

    for (int count = 0; count < SCOPES; count++) {
        gring_scope scope;

        gring_scope_open(&scope, 0);
        gring_scope_spawn(&scope, nothing, NULL);
        gring_scope_wait(&scope);
        gring_scope_close(&scope);
    }
    return (bench_now_ns() - start) / SCOPES;
}

static double spawned_and_joined(void)
{
    double start = bench_now_ns();

    for (int count = 0; count < SCOPES; count++)
        gring_join(gring_spawn(nothing, NULL), NULL);
    return (bench_now_ns() - start) / SCOPES;
}

static void *measure(void *arg)
{
    const struct comparison comparisons[] = {
        { "a deadline, start and stop", "clock_gettime", start_and_stop, clock_reads, 1.7, 0 },
        { "a yield within a deadline", "a yield", bounded_yields, yields, 0, 0 },
        { "a scope: open, spawn one, wait, close", "spawn, join", scope_with_a_child,
          spawned_and_joined, 0, 0 },
    };

    for (size_t index = 0; index < sizeof comparisons / sizeof comparisons[0]; index++)
        bench_compare(&comparisons[index]);
    return arg;
}

int main(void)
{
    return gring_run(measure, NULL, NULL);
}
