/*
 * sleep_sort - sorts numbers by sleeping that many milliseconds each, all at once.
 *
 * Usage: sleep_sort NUMBER...
 * Prints the numbers in ascending order, one a line. Takes as long as the largest of them, not
 * as their sum: a sleeping task costs a timer and a parked stack, no thread.
 */
#include <greenring/greenring.h>
#include <stdio.h>
#include <stdlib.h>

static void *sleep_then_print(void *text)
{
    if (gring_sleep(atoll(text) * GRING_MS) == 0)
        puts(text);
    return NULL;
}

static void *sort(void *arg)
{
    for (char **number = arg; *number; number++)
        if (gring_spawn_n(sleep_then_print, *number) < 0)
            return perror("sleep_sort: spawn"), gring_fail(1);
    return NULL;
}

int main(int argc, char **argv)
{
    gring_config config = GRING_CONFIG_INIT;

    if (argc < 2) {
        fprintf(stderr, "usage: sleep_sort NUMBER...\n");
        return 2;
    }
    /* main returns at once: wait for the sleepers instead of ending them */
    config.flags = GRING_RUN_DRAIN;
    return gring_run_with(&config, sort, argv + 1, NULL) != 0;
}
