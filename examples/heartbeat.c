/*
 * heartbeat - a periodic report that stays on time beside a long computation.
 *
 * Usage: heartbeat [SECONDS]
 * A task computes without end; gring_checkpoint in its loop costs a counter and gives way when
 * its slice of 1 ms is used up. The report, a high-priority task, comes every 100 ms; what it
 * prints as "late" is what the computation took from it.
 */
#include <greenring/greenring.h>
#include <stdio.h>
#include <stdlib.h>

static volatile double sum; /* volatile: the compiler must not compute it away */

static void *compute(void *arg)
{
    for (double term = 1; gring_checkpoint() == 0; term += 2)
        sum += 1 / (term * (term + 2)); /* slowly to pi / 8 */
    return arg;
}

static int report(void *arg, const gring_tick *tick)
{
    const uint64_t *wanted = arg;

    printf("beat %llu, %.2f ms late, %llu missed\n", (unsigned long long)tick->n,
           (double)tick->late / 1e6, (unsigned long long)tick->missed);
    return tick->n + 1 >= *wanted ? -1 : 0;
}

static void *service(void *seconds)
{
    uint64_t beats = (uint64_t)atoi(seconds) * 10;
    gring_spawn_opts high = GRING_SPAWN_INIT;
    gring_task *heart;

    high.prio = GRING_PRIO_HIGH;
    high.name = "report";
    heart = gring_every(100 * GRING_MS, report, &beats, &high);
    if (!heart || gring_spawn_n(compute, NULL) < 0)
        return perror("heartbeat"), gring_fail(1);
    return gring_join(heart, NULL) == 0 ? NULL : gring_fail(1);
}

int main(int argc, char **argv)
{
    gring_config config = GRING_CONFIG_INIT;
    char one[] = "1";

    config.slice = GRING_MS;
    return gring_run_with(&config, service, argc > 1 ? argv[1] : one, NULL) != 0;
}
