/*
 * Threads that spawn on a hub, wait for, unpark, link, keep and drop its tasks and post to it,
 * while it falls asleep and wakes as fast as it can. No wake-up may be lost, and at the end no
 * record may be left.
 *
 * GRING_SEED chooses the history of each thread (not the order in which they collide).
 */
#include "runtime/hub.h"

#include <greenring/debug.h>
#include <greenring/greenring.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 4, ROUNDS_MAX = 20000, SECONDS = 3, HANG_SECONDS = 100 };

#define MUST(fact)                                                                                 \
    do {                                                                                           \
        if (!(fact)) {                                                                             \
            printf("line %d: %s\n", __LINE__, #fact);                                              \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static gring_hub *hub;
static gring_task *main_task, *consumer;
static uint64_t seed;
static atomic_uint produced, finished_threads;
static atomic_uint spawned, posts_sent, links_set;
static unsigned consumed, posts_seen,
    links_seen; /* the hub's, plain on purpose: ThreadSanitizer watches them */

/* splitmix64 */
static uint64_t random_bits(uint64_t *state)
{
    uint64_t value = *state += 0x9e3779b97f4a7c15;

    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
    value = (value ^ value >> 27) * 0x94d049bb133111eb;
    return value ^ value >> 31;
}

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

/* ---- on the hub ---- */

/*
 * `value` is written by the spawning thread and by the task, and read by both: a missing fence is
 * a data race.
 */
struct job {
    int value;
    void *answer;
};

static void *add_one(void *arg)
{
    struct job *job = arg;

    job->value++;
    return job;
}

static void *yield_and_add_one(void *arg)
{
    gring_yield();
    return add_one(arg);
}

static void *park_and_add_one(void *arg)
{
    struct job *job = arg;

    if (gring_park(&job->answer) < 0)
        return NULL;
    return add_one(arg);
}

static void *forget(void *unused)
{
    return unused;
}

static void see_link(gring_task *task, void *unused)
{
    (void)task, (void)unused;
    links_seen++;
}

static void see_post(void *unused)
{
    (void)unused;
    posts_seen++;
}

/*
 * Every unpark that follows an increment must make it look again; a lost one ends in the time-out.
 */
static void *consume(void *unused)
{
    (void)unused;
    while (atomic_load(&finished_threads) < THREADS || consumed < atomic_load(&produced)) {
        if (gring_park(NULL) < 0)
            return NULL;
        consumed = atomic_load(&produced);
    }
    gring_unpark(main_task, NULL);
    return NULL;
}

/* ---- on the threads ---- */

static gring_task *spawn(gring_fn fn, void *arg)
{
    gring_task *task = gring_spawn_on(hub, fn, arg);

    MUST(task);
    atomic_fetch_add(&spawned, 1);
    return task;
}

static void spawn_and_join(gring_fn fn)
{
    struct job job = { .value = 1 };
    void *result = NULL;

    MUST(gring_join(spawn(fn, &job), &result) == 0);
    MUST(result == &job && job.value == 2);
}

static void spawn_and_drop(void)
{
    gring_drop(spawn(forget, NULL));
}

static void spawn_keep_and_wait(void)
{
    struct job job = { .value = 1 };
    gring_task *task = spawn(yield_and_add_one, &job);

    gring_keep(task);
    MUST(gring_wait(task, NULL) == 0);
    MUST(job.value == 2);
    gring_drop(task);
    MUST(gring_join(task, NULL) == 0);
}

static void spawn_and_unpark(uint64_t random)
{
    struct job job = { .value = 1 };
    gring_task *task = spawn(park_and_add_one, &job);

    if (random & 1)
        sched_yield();
    MUST(gring_unpark(task, &job) == 0);
    MUST(gring_join(task, NULL) == 0);
    MUST(job.value == 2 && job.answer == &job);
}

static void spawn_and_link(uint64_t random)
{
    gring_task *task = spawn(forget, NULL);

    MUST(gring_link(task, see_link, NULL) == 0);
    if (random & 1 && gring_unlink(task, see_link, NULL) == 0)
        ; /* it had not run */
    else
        atomic_fetch_add(&links_set, 1);
    gring_drop(task);
}

static void post(void)
{
    MUST(gring_post(hub, see_post, NULL) == 0);
    atomic_fetch_add(&posts_sent, 1);
}

static void produce(void)
{
    atomic_fetch_add(&produced, 1);
    MUST(gring_unpark(consumer, NULL) == 0);
}

static void collide(uint64_t random)
{
    switch (random % 8) {
    case 0:
        spawn_and_join(add_one);
        break;
    case 1:
        spawn_and_join(yield_and_add_one);
        break;
    case 2:
        spawn_and_drop();
        break;
    case 3:
        spawn_keep_and_wait();
        break;
    case 4:
        spawn_and_unpark(random >> 8);
        break;
    case 5:
        spawn_and_link(random >> 8);
        break;
    case 6:
        post();
        break;
    default:
        produce();
    }
}

/* Sometimes long enough for the hub to fall asleep, sometimes just so. */
static void pause_a_little(uint64_t random)
{
    if (random % 16 == 0)
        usleep((useconds_t)(random >> 8) % 100);
    else if (random % 4 == 0)
        sched_yield();
}

static void *live(void *number)
{
    int64_t end = now_ns() + SECONDS * (int64_t)1000000000;
    uint64_t state = seed + (uint64_t)(uintptr_t)number;

    for (unsigned round = 0; round < ROUNDS_MAX && now_ns() < end; round++) {
        collide(random_bits(&state));
        pause_a_little(random_bits(&state));
    }
    atomic_fetch_add(&finished_threads, 1);
    MUST(gring_unpark(consumer, NULL) == 0);
    return NULL;
}

/* ---- the run ---- */

static void look_at_the_counts(void)
{
    gring_stats stats = { .size = sizeof stats };

    MUST(gring_stats_get(&stats) == 0);
    MUST(stats.tasks == 1);
    MUST(stats.spawned == atomic_load(&spawned) + 3); /* and main, the consumer, the reader */
    MUST(hub->tasks.live_count == 1);                 /* every handle has been given back */
    MUST(posts_seen == atomic_load(&posts_sent));
    MUST(links_seen == atomic_load(&links_set));
    MUST(consumed == atomic_load(&produced));
    printf("%u spawned, %u posted, %u linked, %u unparked, %" PRIu64 " sleeps of the hub\n",
           atomic_load(&spawned), posts_seen, links_seen, consumed, stats.enters);
}

static void *run(void *unused)
{
    pthread_t threads[THREADS];
    gring_task *reader = begin_quiet();

    (void)unused;
    hub = gring_hub_self();
    main_task = gring_self();
    consumer = gring_spawn(consume, NULL);
    for (uintptr_t number = 0; number < THREADS; number++)
        MUST(pthread_create(&threads[number], NULL, live, (void *)number) == 0);
    MUST(gring_park(NULL) == 0);
    for (int number = 0; number < THREADS; number++)
        pthread_join(threads[number], NULL);
    MUST(gring_join(consumer, NULL) == 0);
    end_quiet(reader);
    MUST(gring_idle() == 0); /* the last drops have been delivered */
    look_at_the_counts();
    return NULL;
}

int main(void)
{
    const char *text = getenv("GRING_SEED");

    seed = text ? strtoull(text, NULL, 0) : (uint64_t)now_ns();
    printf("GRING_SEED=%" PRIu64 "\n", seed);
    fflush(stdout);
    alarm(HANG_SECONDS);
    MUST(gring_run(run, NULL, NULL) == 0);
    return 0;
}
