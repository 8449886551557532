/*
 * The only door to the time. Replaceable at link time: tests bring a clock of their own.
 *
 * Times are gring_ns, nanoseconds of CLOCK_MONOTONIC (see clock_gettime(2)).
 */
#ifndef GRING_BASE_CLOCK_H
#define GRING_BASE_CLOCK_H

#include <stdint.h>

typedef int64_t gring_ns; /* the public <greenring/base.h> says the same; C allows it twice */

#define CLOCK_FOREVER INT64_MAX
#define CLOCK_SECOND ((gring_ns)1000000000)
#define CLOCK_MILLISECOND ((gring_ns)1000000)

gring_ns clock_now(void);

/* start + duration, held at CLOCK_FOREVER instead of wrapping. start: not negative, an instant. */
static inline gring_ns clock_after(gring_ns start, gring_ns duration)
{
    return duration > CLOCK_FOREVER - start ? CLOCK_FOREVER : start + duration;
}

#endif
