/*
 * How the micro-benchmarks measure and print: several rounds, each measuring ours and the baseline
 * one after the other, so that the machine's mood hits both; then medians, and the median of the
 * paired ratios.
 *
 *     yield between two tasks      11.3 ns   bare fcontext jump   5.9 ns   ratio 1.92   target 3.20
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "stats.h"

#include <stdio.h>
#include <time.h>

enum { BENCH_ROUNDS = 9 };

static inline double bench_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* One figure against its baseline; each function measures once and returns nanoseconds per item. */
struct comparison {
    const char *name, *baseline_name;
    double (*ours)(void), (*baseline)(void);
    double target; /* of the ratio, or of the figure itself when target_is_ns; 0: none */
    int target_is_ns;
};

static inline void bench_compare(const struct comparison *what)
{
    double ours[BENCH_ROUNDS], base[BENCH_ROUNDS], ratios[BENCH_ROUNDS];
    struct stats ratio;

    for (int round = 0; round < BENCH_ROUNDS; round++) {
        ours[round] = what->ours();
        base[round] = what->baseline();
    }
    ratio = stats_describe_ratios(ours, base, ratios, BENCH_ROUNDS);
    printf("%-46s %9.1f ns   %-40s %9.1f ns   ratio %5.2f", what->name,
           stats_describe(ours, BENCH_ROUNDS).median, what->baseline_name,
           stats_describe(base, BENCH_ROUNDS).median, ratio.median);
    if (what->target > 0)
        printf("   target %s %.4g%s", "<=", what->target, what->target_is_ns ? " ns" : "");
    printf("\n");
    fflush(stdout);
}

#endif
