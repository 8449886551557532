/*
 * For tests that repeat something by chance: how often. GRING_TEST_PERCENT=N makes it N % of what
 * they do by themselves, for a machine that is slow (tools/vm gives it to an emulated one). They
 * print the number, so that less is never taken for all.
 */
#ifndef TESTS_SUPPORT_SHARE_H
#define TESTS_SUPPORT_SHARE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* At least 1. */
static inline uint64_t share_of(uint64_t count)
{
    const char *given = getenv("GRING_TEST_PERCENT");
    uint64_t percent = given ? strtoull(given, NULL, 10) : 100;

    if (percent < 1 || percent > 100) {
        fprintf(stderr, "GRING_TEST_PERCENT=%s: must be 1 to 100\n", given);
        exit(2);
    }
    return (count * percent + 99) / 100;
}

#endif
