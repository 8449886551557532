/*
 * Feeds a model with random bytes, many short histories, one seed each. Compiled once for each
 * model: MODEL_NAME, and HISTORIES, how many (GRING_TEST_PERCENT: tests/support/share.h).
 *
 * What fails names its seed; GRING_SEED=that begins with it.
 */
#include "tests/support/share.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define MODEL JOIN(model_, MODEL_NAME)

enum { BYTES_MAX = 4096 };

void MODEL(const uint8_t *data, size_t size);

static uint64_t seed;

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
    uint64_t value = *state += 0x9e3779b97f4a7c15;

    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
    value = (value ^ value >> 27) * 0x94d049bb133111eb;
    return value ^ value >> 31;
}

static void live_through(uint64_t history_seed)
{
    uint64_t state = history_seed;
    size_t size = next_random(&state) % BYTES_MAX;
    uint8_t *data = malloc(size + 1); /* of its size, so that a sanitizer sees its end */

    cr_assert_not_null(data);
    for (size_t index = 0; index < size; index++)
        data[index] = (uint8_t)next_random(&state);
    MODEL(data, size);
    free(data);
}

static void name_the_seed(int signal_number)
{
    char line[64];
    int length = snprintf(line, sizeof line, "GRING_SEED=%" PRIu64 " repeats it\n", seed);

    signal(signal_number, SIG_DFL);
    if (write(STDERR_FILENO, line, (size_t)length) == length)
        raise(signal_number);
}

Test(MODEL_NAME, agrees_with_a_dumb_twin)
{
    const char *given = getenv("GRING_SEED");
    uint64_t histories = share_of(HISTORIES);

    seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 1000003 + (uint64_t)getpid();
    fprintf(stderr, "GRING_SEED=%" PRIu64 ", %" PRIu64 " histories\n", seed, histories);
    signal(SIGABRT, name_the_seed);
    for (; histories; histories--, seed++)
        live_through(seed);
}
