/*
 * How the micro-benchmarks measure and print.
 *
 * Several rounds, each measuring ours and the baseline one after the other, so that the machine's
 * mood hits both; then medians, and the median of the paired ratios. Time is processor time of the
 * process: what else runs on the machine is left out as far as the kernel can tell.
 *
 * One row for a comparison, cells two spaces or more apart, which bench/run puts into its table:
 *
 *     yield between two tasks    11.3 ns  a bare fcontext jump    5.9 ns   1.915  <= 3.2  met
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "stats.h"

#include <stdbool.h>
#include <stdio.h>
#include <time.h>

enum { BENCH_ROUNDS = 9 };

static inline double bench_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* What was found, and what was wanted. The ratio is not figure / baseline: it is their pairs'
 * median. No baseline: 0. */
struct bench_row {
    const char *name, *baseline_name, *unit;
    double figure, baseline, ratio;
    double target; /* of the ratio, or of the figure itself when target_is_figure; 0: none */
    int target_is_figure;
};

static inline void bench_print(const struct bench_row *row)
{
    bool is_judged = row->target > 0 && (row->target_is_figure || row->baseline > 0);
    double judged = row->target_is_figure ? row->figure : row->ratio;
    char target[32] = "-", baseline[32] = "-", ratio[32] = "-";

    if (row->target > 0)
        snprintf(target, sizeof target, "<= %.4g%s%s", row->target,
                 row->target_is_figure ? " " : "", row->target_is_figure ? row->unit : "");
    if (row->baseline > 0) {
        snprintf(baseline, sizeof baseline, "%.1f %s", row->baseline, row->unit);
        snprintf(ratio, sizeof ratio, "%.*f", row->ratio < 0.1 ? 4 : 3, row->ratio);
    }
    printf("%-44s  %9.1f %-2s  %-38s  %12s  %6s  %-10s  %s\n", row->name, row->figure, row->unit,
           row->baseline_name, baseline, ratio, target,
           !is_judged              ? "-"
           : judged <= row->target ? "met"
                                   : "MISSED");
    fflush(stdout);
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
    struct bench_row row = { .name = what->name,
                             .baseline_name = what->baseline_name,
                             .unit = "ns",
                             .target = what->target,
                             .target_is_figure = what->target_is_ns };

    for (int round = 0; round < BENCH_ROUNDS; round++) {
        ours[round] = what->ours();
        base[round] = what->baseline();
    }
    row.ratio = stats_describe_ratios(ours, base, ratios, BENCH_ROUNDS).median;
    row.figure = stats_describe(ours, BENCH_ROUNDS).median;
    row.baseline = stats_describe(base, BENCH_ROUNDS).median;
    bench_print(&row);
}

#endif
