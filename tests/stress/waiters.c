/*
 * Threads and tasks that wait for the same task while a further thread ends it: each gets the
 * value, once it is there, and the last handle's drop, wherever it happens, frees the record.
 */
#include "runtime/hub.h"

#include <greenring/debug.h>
#include <greenring/greenring.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 3, TASKS = 3, ROUNDS_MAX = 5000, SECONDS = 3, HANG_SECONDS = 100 };

#define MUST(fact)                                                                                 \
    do {                                                                                           \
        if (!(fact)) {                                                                             \
            printf("line %d: %s\n", __LINE__, #fact);                                              \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static _Atomic(gring_task *) offered[THREADS]; /* taken by its thread, which sets it to NULL */
static atomic_bool over;
static atomic_uint waited;
static gring_task *main_task;
static int payload; /* plain on purpose: written by the target, read by each waiter */

/*
 * A read in flight for as long as the run lasts: with it the hub may sleep for ever. Without, it
 * would look every now and then whether the other threads are still there, and find by that what a
 * lost wake-up did not tell.
 */
static int quiet[2];

static void *read_the_quiet_pipe(void *unused)
{
    char byte;

    (void)unused;
    MUST(gring_read(quiet[0], &byte, 1) == 1);
    return NULL;
}

static gring_task *begin_quiet(void)
{
    MUST(pipe(quiet) == 0);
    return gring_spawn(read_the_quiet_pipe, NULL);
}

static void end_quiet(gring_task *reader)
{
    MUST(gring_write(quiet[1], "", 1) == 1);
    MUST(gring_join(reader, NULL) == 0);
    close(quiet[0]);
    close(quiet[1]);
}

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void *target(void *round)
{
    void *value = NULL;

    if (gring_park(&value) < 0)
        return NULL;
    payload = (int)(intptr_t)round;
    return value;
}

static void join_and_count(gring_task *task)
{
    void *value = NULL;

    MUST(gring_join(task, &value) == 0);
    MUST(payload == (int)(intptr_t)value);
    if (atomic_fetch_add(&waited, 1) + 1 == THREADS + TASKS)
        MUST(gring_unpark(main_task, NULL) == 0);
}

static void *join_as_a_task(void *task)
{
    join_and_count(task);
    return NULL;
}

static void *join_on_a_thread(void *arg)
{
    uintptr_t number = (uintptr_t)arg;

    while (!atomic_load(&over)) {
        gring_task *task = atomic_exchange(&offered[number], NULL);

        if (task)
            join_and_count(task);
        else
            sched_yield();
    }
    return NULL;
}

/*
 * The thread that ends the target has a handle, too: the others may have dropped theirs before it
 * does.
 */
static _Atomic(gring_task *) to_end;
static atomic_int round_to_end;

static void *end_on_a_thread(void *unused)
{
    (void)unused;
    while (!atomic_load(&over)) {
        gring_task *task = atomic_exchange(&to_end, NULL);

        if (!task) {
            sched_yield();
            continue;
        }
        gring_unpark(task, (void *)(intptr_t)atomic_load(&round_to_end));
        gring_drop(task);
    }
    return NULL;
}

static void one_round(int round)
{
    gring_task *task = gring_spawn(target, (void *)(intptr_t)round);

    MUST(task);
    atomic_store(&waited, 0);
    atomic_store(&round_to_end, round);
    for (int number = 0; number < TASKS; number++)
        MUST(gring_spawn_n(join_as_a_task, gring_keep(task)) == 0);
    for (int number = 0; number < THREADS; number++)
        atomic_store(&offered[number], gring_keep(task));
    atomic_store(&to_end, task);
    MUST(gring_park(NULL) == 0);
}

static void *run(void *unused)
{
    int64_t end = now_ns() + SECONDS * (int64_t)1000000000;
    pthread_t threads[THREADS + 1];
    gring_stats stats = { .size = sizeof stats };
    gring_task *reader = begin_quiet();
    int round = 1;

    (void)unused;
    main_task = gring_self();
    for (uintptr_t number = 0; number < THREADS; number++)
        MUST(pthread_create(&threads[number], NULL, join_on_a_thread, (void *)number) == 0);
    MUST(pthread_create(&threads[THREADS], NULL, end_on_a_thread, NULL) == 0);
    for (; round < ROUNDS_MAX && now_ns() < end; round++)
        one_round(round);
    while (atomic_load(&to_end))
        gring_yield();
    atomic_store(&over, true);
    for (int number = 0; number <= THREADS; number++)
        pthread_join(threads[number], NULL);
    end_quiet(reader);
    MUST(gring_idle() == 0); /* the last drops have been delivered */
    MUST(gring_stats_get(&stats) == 0 && stats.tasks == 1);
    MUST(gring_hub_self()->tasks.live_count == 1);
    printf("%d rounds\n", round);
    return NULL;
}

int main(void)
{
    alarm(HANG_SECONDS);
    MUST(gring_run(run, NULL, NULL) == 0);
    return 0;
}
