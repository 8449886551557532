/*
 * Small statistics for benchmarks on a noisy machine: medians, extremes, and an interval for the
 * median of paired ratios.
 *
 * Two programs measured in the same round share the machine's mood, so their ratio is steady where
 * both figures are not. The interval is made of order statistics (the sign test turned round): it
 * assumes nothing about how the noise is distributed. All functions need count >= 1.
 */
#ifndef BENCH_STATS_H
#define BENCH_STATS_H

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

struct stats {
    double min;
    double median;
    double max;
    double low;      /* the median lies between low and high ... */
    double high;     /* ... unless we are unlucky: */
    double coverage; /* the chance that it does, at least 0.95 from six values on */
};

static inline int stats_compare(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;

    return (a > b) - (a < b);
}

/* The chance that of `count` fair coins at most `heads` fall heads. */
static inline double stats_coins_at_most(size_t count, size_t heads)
{
    double term = pow(0.5, (double)count);
    double sum = term;

    for (size_t i = 1; i <= heads; i++) {
        term *= (double)(count - i + 1) / (double)i;
        sum += term;
    }
    return sum;
}

/*
 * Sorts `values` and describes them. With five or fewer the interval is min to max, coverage told.
 */
static inline struct stats stats_describe(double *values, size_t count)
{
    struct stats stats;
    size_t cut = 0; /* values left out at either end */

    qsort(values, count, sizeof(*values), stats_compare);
    while (cut + 1 < count / 2 && 2 * stats_coins_at_most(count, cut + 1) <= 0.05)
        cut++;
    stats.min = values[0];
    stats.max = values[count - 1];
    stats.median = (values[(count - 1) / 2] + values[count / 2]) / 2;
    stats.low = values[cut];
    stats.high = values[count - 1 - cut];
    stats.coverage = 1 - 2 * stats_coins_at_most(count, cut);
    return stats;
}

/* Describes value[i] / base[i], pair by pair; `ratios` is room for `count` numbers. */
static inline struct stats stats_describe_ratios(const double *value, const double *base,
                                                 double *ratios, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ratios[i] = value[i] / base[i];
    return stats_describe(ratios, count);
}

#endif
