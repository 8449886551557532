/*
 * Shared sync objects, used by tasks of a hub and by plain threads at once, while a further thread
 * throws at the tasks and deadlines of a few microseconds run out: what a lock guards is plain
 * memory, nothing is lost, nobody hangs, and each object is idle at the end.
 */
#include "tests/support/share.h"

#include <greenring/greenring.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { THREADS = 3, TASKS = 4, ACTORS = THREADS + TASKS, ROUNDS = 20, HANG_SECONDS = 100 };

#define MUST(fact)                                                                                 \
    do {                                                                                           \
        if (!(fact)) {                                                                             \
            printf("line %d: %s\n", __LINE__, #fact);                                              \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static gring_mutex mutex;
static gring_sem semaphore;
static gring_rwlock lock;
static gring_cond not_empty, not_full;
static gring_wg group;

static atomic_bool over; /* nobody is thrown at any more */
static _Atomic(gring_task *) targets[TASKS];

/* Each actor's own: xorshift. */
static unsigned random_below(uint64_t *state, unsigned limit)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (unsigned)(*state >> 33) % limit;
}

/* Lets others have a go, in the middle of things. */
static void dawdle(uint64_t *state)
{
    if (random_below(state, 4))
        return;
    if (gring_self())
        gring_yield();
    else
        sched_yield();
}

/* A waiting call, on a task sometimes under a deadline that may pass at any moment; on a thread
 * nothing interrupts it. */
#define WAIT(state, call)                                                                          \
    (gring_self() && !random_below(state, 3)                                                       \
         ? gring_within((gring_ns)random_below(state, 20) * GRING_US, call)                        \
         : (call))

/* ---- mutex: a plain counter ------------------------------------------------------------------ */

enum { COUNTS = 1500 };

static uint64_t counter;

static void count_under_the_mutex(uint64_t *state)
{
    for (int count = 0; count < COUNTS;) {
        if (random_below(state, 4) ? gring_mutex_lock(&mutex) : gring_mutex_trylock(&mutex))
            continue;
        counter++;
        dawdle(state);
        count++;
        MUST(gring_mutex_unlock(&mutex) == 0);
    }
}

static void check_the_counter(void)
{
    MUST(counter == (uint64_t)ACTORS * COUNTS);
    counter = 0;
    MUST(gring_mutex_destroy(&mutex) == 0);
}

/* ---- semaphore: never more units out than there are ------------------------------------------ */

enum { UNITS = 3, VISITS = 1000 };

static atomic_uint units_out;

static void visit_with_units(uint64_t *state)
{
    for (int count = 0; count < VISITS;) {
        unsigned units = 1 + random_below(state, UNITS);

        if (WAIT(state, gring_sem_acquire_n(&semaphore, units)) < 0)
            continue;
        MUST(atomic_fetch_add(&units_out, units) + units <= UNITS);
        dawdle(state);
        count++;
        atomic_fetch_sub(&units_out, units);
        MUST(gring_sem_release_n(&semaphore, units) == 0);
    }
}

static void check_the_units(void)
{
    MUST(gring_sem_balance(&semaphore) == UNITS);
    MUST(gring_sem_destroy(&semaphore) == 0);
}

/* ---- rwlock: two plain numbers that are always equal ----------------------------------------- */

enum { LOOKS = 1500 };

static uint64_t one, two;
static atomic_int readers;

static void write_both(uint64_t *state)
{
    MUST(gring_rwlock_wrlock(&lock) == 0);
    MUST(atomic_load(&readers) == 0);
    one++;
    dawdle(state);
    two++;
    MUST(gring_rwlock_unlock(&lock) == 0);
}

static void read_both(uint64_t *state)
{
    MUST(gring_rwlock_rdlock(&lock) == 0);
    atomic_fetch_add(&readers, 1);
    MUST(one == two);
    dawdle(state);
    atomic_fetch_sub(&readers, 1);
    MUST(gring_rwlock_unlock(&lock) == 0);
}

static void read_and_write(uint64_t *state)
{
    for (int count = 0; count < LOOKS; count++)
        if (count % 5)
            read_both(state);
        else
            write_both(state);
}

static void check_both(void)
{
    MUST(one == two && one == (uint64_t)ACTORS * LOOKS / 5);
    one = two = 0;
    MUST(gring_rwlock_destroy(&lock) == 0);
}

/* ---- conditions: a bounded queue into which everybody puts, and from which everybody takes --- */

enum { PLACES = 4, ITEMS = 1000 };

static unsigned queue[PLACES], queued;
static uint64_t put_sum, taken_sum;

static void put(uint64_t *state, unsigned item)
{
    MUST(gring_mutex_lock(&mutex) == 0);
    while (queued == PLACES)
        (void)WAIT(state, gring_cond_wait(&not_full, &mutex));
    queue[queued++] = item;
    put_sum += item;
    if (item % 2)
        MUST(gring_cond_signal(&not_empty) == 0);
    MUST(gring_mutex_unlock(&mutex) == 0);
    if (item % 2 == 0)
        MUST(gring_cond_broadcast(&not_empty) == 0);
}

static void take(uint64_t *state)
{
    MUST(gring_mutex_lock(&mutex) == 0);
    while (queued == 0)
        (void)WAIT(state, gring_cond_wait(&not_empty, &mutex));
    taken_sum += queue[--queued];
    MUST(gring_cond_signal(&not_full) == 0);
    MUST(gring_mutex_unlock(&mutex) == 0);
}

static void put_and_take(uint64_t *state)
{
    for (int count = 0; count < ITEMS; count++) {
        put(state, random_below(state, 1000));
        take(state);
    }
}

static void check_the_queue(void)
{
    MUST(queued == 0 && put_sum == taken_sum);
    MUST(gring_cond_destroy(&not_empty) == 0 && gring_cond_destroy(&not_full) == 0);
    MUST(gring_mutex_destroy(&mutex) == 0);
}

/* ---- events: there and back, in pairs; plain memory goes along ------------------------------- */

enum { PAIRS = ACTORS / 2, THROWS = 1000 };

static struct pair {
    gring_event there, back;
    int ball; /* thrown with an event, so it needs no lock */
} pairs[PAIRS];
static atomic_uint seats;

static void catch_ball(uint64_t *state, gring_event *event)
{
    while (WAIT(state, gring_event_wait(event, NULL)) != 0)
        ;
    MUST(gring_event_reset(event) == 0);
}

/* Who comes first serves, who comes second returns; an odd one looks on. */
static void play(uint64_t *state)
{
    unsigned seat = atomic_fetch_add(&seats, 1);
    struct pair *pair = &pairs[seat / 2 % PAIRS];

    if (seat / 2 >= PAIRS)
        return;
    for (int count = 0; count < THROWS; count++) {
        if (seat % 2)
            catch_ball(state, &pair->there);
        pair->ball++;
        MUST(gring_event_send(seat % 2 ? &pair->back : &pair->there, NULL) == 0);
        if (seat % 2 == 0)
            catch_ball(state, &pair->back);
    }
}

static void check_the_balls(void)
{
    for (int number = 0; number < PAIRS; number++) {
        MUST(pairs[number].ball == 2 * THROWS);
        pairs[number].ball = 0;
        MUST(gring_event_destroy(&pairs[number].there) == 0);
        MUST(gring_event_destroy(&pairs[number].back) == 0);
    }
    atomic_store(&seats, 0);
}

/* ---- wait group: the last one to come lets all go on ----------------------------------------- */

enum { STAGES = 200 };

static gring_wg stages[STAGES];
static int plain[ACTORS];
static atomic_uint numbers;

/* What each wrote before a stage, all see after it. */
static void go_in_step(uint64_t *state)
{
    unsigned number = atomic_fetch_add(&numbers, 1);

    for (int stage = 0; stage < STAGES; stage++) {
        if (stage % 2 == 0)
            plain[number] = stage;
        MUST(gring_wg_done(&stages[stage]) == 0);
        while (WAIT(state, gring_wg_wait(&stages[stage])) < 0)
            ;
        for (int other = 0; stage % 2 == 0 && other < ACTORS; other++)
            MUST(plain[other] == stage);
    }
}

static void check_the_stages(void)
{
    for (int stage = 0; stage < STAGES; stage++)
        MUST(gring_wg_destroy(&stages[stage]) == 0);
    atomic_store(&numbers, 0);
}

/* ---- running --------------------------------------------------------------------------------- */

static void init_all(void)
{
    MUST(gring_mutex_init(&mutex, GRING_SHARED) == 0);
    MUST(gring_sem_init(&semaphore, UNITS, UNITS, GRING_SHARED) == 0);
    MUST(gring_rwlock_init(&lock, GRING_SHARED) == 0);
    MUST(gring_cond_init(&not_empty, GRING_SHARED) == 0);
    MUST(gring_cond_init(&not_full, GRING_SHARED) == 0);
    MUST(gring_wg_init(&group, GRING_SHARED) == 0);
    for (int number = 0; number < PAIRS; number++) {
        MUST(gring_event_init(&pairs[number].there, GRING_SHARED) == 0);
        MUST(gring_event_init(&pairs[number].back, GRING_SHARED) == 0);
    }
    for (int stage = 0; stage < STAGES; stage++) {
        MUST(gring_wg_init(&stages[stage], GRING_SHARED) == 0);
        MUST(gring_wg_add(&stages[stage], ACTORS) == 0);
    }
}

static const struct game {
    const char *name;
    void (*actor)(uint64_t *state);
    void (*check)(void);
} games[] = {
    { "mutex", count_under_the_mutex, check_the_counter },
    { "semaphore", visit_with_units, check_the_units },
    { "rwlock", read_and_write, check_both },
    { "condition", put_and_take, check_the_queue },
    { "event", play, check_the_balls },
    { "wait group", go_in_step, check_the_stages },
};

static const struct game *game;
static atomic_uint_fast64_t next_seed = 1;

static void *act(void *unused)
{
    uint64_t state = atomic_fetch_add(&next_seed, 1) * 0x9e3779b97f4a7c15u;

    game->actor(&state);
    MUST(gring_wg_done(&group) == 0);
    return unused;
}

static void *throw_at_tasks(void *unused)
{
    for (unsigned round = 0; !atomic_load(&over); round++) {
        gring_throw(atomic_load(&targets[round % TASKS]), EDOM);
        usleep(50);
    }
    return unused;
}

static void begin_all(pthread_t *threads)
{
    MUST(gring_wg_add(&group, ACTORS) == 0);
    for (int number = 0; number < TASKS; number++)
        atomic_store(&targets[number], gring_spawn(act, NULL));
    for (int number = 0; number < THREADS; number++)
        MUST(pthread_create(&threads[number], NULL, act, NULL) == 0);
    atomic_store(&over, false);
    MUST(pthread_create(&threads[THREADS], NULL, throw_at_tasks, NULL) == 0);
}

static void play_once(void)
{
    pthread_t threads[THREADS + 1];

    init_all();
    begin_all(threads);
    MUST(gring_wg_wait(&group) == 0);
    atomic_store(&over, true);
    for (int number = 0; number <= THREADS; number++)
        MUST(pthread_join(threads[number], NULL) == 0);
    for (int number = 0; number < TASKS; number++)
        gring_join(atomic_load(&targets[number]), NULL);
    game->check();
    MUST(gring_wg_destroy(&group) == 0);
}

static void *run(void *unused)
{
    uint64_t rounds = share_of(ROUNDS);

    for (game = games; game < games + sizeof games / sizeof games[0]; game++) {
        for (uint64_t round = 0; round < rounds; round++)
            play_once();
        printf("%s: %" PRIu64 " rounds\n", game->name, rounds);
    }
    return unused;
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    alarm(HANG_SECONDS);
    MUST(gring_run(run, NULL, NULL) == 0);
    return 0;
}
