/*
 * A latency histogram with log-linear buckets: 64 to an octave, so a bucket is at most 1.6 % wide.
 *
 * Values are nanoseconds from 0 to 2^64 - 1; adding one is a shift and an increment, and there is
 * nothing to configure, allocate or overflow.
 */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_OCTAVE_BITS 6
#define HISTOGRAM_OCTAVE_BUCKETS (1u << HISTOGRAM_OCTAVE_BITS)
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_OCTAVE_BITS + 1) * HISTOGRAM_OCTAVE_BUCKETS)

struct histogram {
    uint64_t count;
    uint64_t max_ns;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* The first octave holds 0 to 63 exactly; each later one shifts by one bit more. */
static inline unsigned histogram_bucket_index(uint64_t value_ns)
{
    unsigned shift;

    if (value_ns < HISTOGRAM_OCTAVE_BUCKETS)
        return (unsigned)value_ns;
    shift = 63 - HISTOGRAM_OCTAVE_BITS - (unsigned)__builtin_clzll(value_ns);
    return shift * HISTOGRAM_OCTAVE_BUCKETS + (unsigned)(value_ns >> shift);
}

/* The middle of a bucket; the inverse of the above to within half a bucket. */
static inline double histogram_bucket_ns(unsigned bucket_index)
{
    unsigned shift;
    uint64_t low;

    if (bucket_index < 2 * HISTOGRAM_OCTAVE_BUCKETS)
        return bucket_index;
    shift = bucket_index / HISTOGRAM_OCTAVE_BUCKETS - 1;
    low = (uint64_t)(bucket_index - shift * HISTOGRAM_OCTAVE_BUCKETS) << shift;
    return (double)low + (double)(1ull << shift) / 2;
}

static inline void histogram_add(struct histogram *histogram, uint64_t value_ns)
{
    histogram->count++;
    histogram->buckets[histogram_bucket_index(value_ns)]++;
    if (value_ns > histogram->max_ns)
        histogram->max_ns = value_ns;
}

/* Returns the value that `fraction` of all values do not exceed; 0 when there are none. */
static inline double histogram_quantile_ns(const struct histogram *histogram, double fraction)
{
    double wanted = fraction * (double)histogram->count;
    uint64_t seen = 0;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen && (double)seen >= wanted)
            return histogram_bucket_ns(i) < (double)histogram->max_ns ? histogram_bucket_ns(i)
                                                                      : (double)histogram->max_ns;
    }
    return 0;
}

#endif
