/* P2: what a task's whole life costs: spawned, run, joined; against the floor's and pthreads' in
 * the same run. */
#include "baseline/floor.h"
#include "report.h"

#include <greenring/greenring.h>
#include <pthread.h>

enum { BATCH = 10000, BATCHES = 20, ONES = 400 * 1000, THREADS = 2000 };

static gring_task *tasks[BATCH];

static void *nothing(void *arg)
{
    return arg;
}

static double one_by_one(void)
{
    double start = bench_now_ns();

    for (int count = 0; count < ONES; count++)
        gring_join(gring_spawn(nothing, NULL), NULL);
    return (bench_now_ns() - start) / ONES;
}

static double batch(gring_fn fn)
{
    double start = bench_now_ns();

    for (int count = 0; count < BATCHES; count++) {
        for (int index = 0; index < BATCH; index++)
            tasks[index] = gring_spawn(fn, NULL);
        for (int index = 0; index < BATCH; index++)
            gring_join(tasks[index], NULL);
    }
    return (bench_now_ns() - start) / (BATCH * BATCHES);
}

static double spawned_then_joined(void)
{
    return batch(nothing);
}

static void *yield_once(void *arg)
{
    gring_yield();
    return arg;
}

static double parked_once(void)
{
    return batch(yield_once);
}

/* ---- baselines ------------------------------------------------------------------------------- */

static struct floor_task *floor_tasks[BATCH];

static void floor_nothing(struct transfer unused)
{
    (void)unused;
    floor_end(NULL);
}

static void floor_yield_once(struct transfer unused)
{
    (void)unused;
    floor_yield();
    floor_end(NULL);
}

static double floor_one_by_one(void)
{
    double start = bench_now_ns();

    for (int count = 0; count < ONES; count++)
        floor_collect(floor_spawn(floor_nothing));
    return (bench_now_ns() - start) / ONES;
}

static double floor_batch(void (*fn)(struct transfer))
{
    double start = bench_now_ns();

    for (int count = 0; count < BATCHES; count++) {
        for (int index = 0; index < BATCH; index++)
            floor_tasks[index] = floor_spawn(fn);
        for (int index = 0; index < BATCH; index++)
            floor_collect(floor_tasks[index]);
    }
    return (bench_now_ns() - start) / (BATCH * BATCHES);
}

static double floor_spawned_then_joined(void)
{
    return floor_batch(floor_nothing);
}

static double floor_parked_once(void)
{
    return floor_batch(floor_yield_once);
}

static double threads_one_by_one(void)
{
    double start = bench_now_ns();

    for (int count = 0; count < THREADS; count++) {
        pthread_t thread;

        pthread_create(&thread, NULL, nothing, NULL);
        pthread_join(thread, NULL);
    }
    return (bench_now_ns() - start) / THREADS;
}

static void *measure(void *arg)
{
    const struct comparison comparisons[] = {
        { "spawn, run, join, one by one", "the floor's", one_by_one, floor_one_by_one, 80, 1 },
        { "the same", "pthread_create, pthread_join", one_by_one, threads_one_by_one, 0, 0 },
        { "10,000 spawned, then joined; each", "the floor's, stack bound at spawn",
          spawned_then_joined, floor_spawned_then_joined, 80, 1 },
        { "10,000 that each park once; each", "the floor's", parked_once, floor_parked_once, 1.3,
          0 },
    };

    floor_open(BATCH);
    for (size_t index = 0; index < sizeof comparisons / sizeof comparisons[0]; index++)
        bench_compare(&comparisons[index]);
    return arg;
}

int main(void)
{
    return gring_run(measure, NULL, NULL);
}
