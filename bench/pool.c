/* Pools of tasks: a spawn into a bounded pool, and an ordered map over a long input; against Go's
 * usual ways to write them, in the same run. */
#include "go.h"
#include "report.h"

#include <greenring/greenring.h>

enum { WORKERS = 100, JOBS = 1000 * 1000, ITEMS = 100 * 1000 };

GO_BASELINE(go_spawn, "pool-spawn")
GO_BASELINE(go_imap, "pool-ordered-map")

static void *nothing(void *arg)
{
    return arg;
}

static double spawn(void)
{
    gring_pool *pool = gring_pool_new(WORKERS);
    double start = bench_now_ns();

    for (int job = 0; job < JOBS; job++)
        gring_pool_spawn_n(pool, nothing, NULL);
    gring_pool_waitall(pool);
    start = bench_now_ns() - start;
    gring_pool_free(pool);
    return start / JOBS;
}

static int count_up(void *next, void **arg)
{
    long *number = next;

    *arg = (void *)*number;
    return (*number)++ < ITEMS;
}

static void *increment(void *number)
{
    return (char *)number + 1;
}

static double imap(void)
{
    gring_pool *pool = gring_pool_new(WORKERS);
    double start = bench_now_ns();
    long next = 0;
    gring_pile *pile = gring_pool_imap(pool, increment, count_up, &next);
    gring_task *task;
    void *value;

    while (gring_pile_next(pile, &task) == 1)
        gring_join(task, &value);
    start = bench_now_ns() - start;
    gring_pile_free(pile);
    gring_pool_free(pool);
    return start / ITEMS;
}

static void *measure(void *arg)
{
    const struct comparison comparisons[] = {
        { "pool of 100: spawn a job that ends at once", "Go, places in a channel", spawn, go_spawn,
          0, 0 },
        { "imap over 100,000 items, 100 at a time", "Go, a channel of channels", imap, go_imap, 0,
          0 },
    };

    for (size_t index = 0; index < sizeof comparisons / sizeof comparisons[0]; index++)
        bench_compare(&comparisons[index]);
    return arg;
}

int main(void)
{
    return gring_run(measure, NULL, NULL) != 0;
}
