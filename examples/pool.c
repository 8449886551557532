/*
 * pool - many jobs, a few at a time.
 *
 * Usage: pool SIZE JOBS
 * Runs so many jobs of ten milliseconds each in a pool of that size, prints how many ran at a
 * time at most, and the sum of their results.
 */
#include <greenring/greenring.h>
#include <stdio.h>
#include <stdlib.h>

static int under_way, most;

static void *job(void *number)
{
    if (++under_way > most)
        most = under_way;
    gring_sleep(10 * GRING_MS);
    under_way--; /* no lock: tasks of one hub change places only in waiting calls */
    return number;
}

static void *app(void *arg)
{
    char **argv = arg;
    gring_pool *pool = gring_pool_new(strtoul(argv[1], NULL, 10));
    size_t count = strtoul(argv[2], NULL, 10);
    void **numbers = calloc(count, sizeof *numbers);
    long sum = 0;

    if (!pool || !numbers)
        return perror("pool"), gring_fail(1);
    for (size_t index = 0; index < count; index++)
        numbers[index] = (void *)(index + 1);
    if (gring_pool_map(pool, job, numbers, numbers, NULL, count) != 0)
        return perror("pool: map"), gring_fail(1);
    for (size_t index = 0; index < count; index++)
        sum += (long)numbers[index];
    printf("%d at a time, sum %ld\n", most, sum);
    free(numbers);
    gring_pool_free(pool);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: pool SIZE JOBS\n");
        return 2;
    }
    return gring_run(app, argv, NULL) != 0;
}
