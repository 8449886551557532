/*
 * Task pools, piles and mapped sources under fire: users spawn, map, take, resize and kill while
 * they are killed, thrown at and timed out; jobs fail, sleep, do IO and spawn into their own pool.
 * A job that was begun ends before its pool is gone; no more run at once than there ever were
 * places for; what comes out of a pile is in the order of going in, none twice and none missing.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum {
    USERS_MAX = 8,
    STEPS_MAX = 15,
    PLACES_MAX = 6,
    ITEMS_MAX = 12,
    THROWN = EPROTO,
    FAILED = EDOM
};

struct user {
    gring_task *task;
    bool was_killed;
};

static struct {
    gring_pool *pool;
    size_t most_places;
    unsigned running;
    struct user users[USERS_MAX];
    unsigned user_count;
    int pipe_ends[2];
} * site;

/* ---- what a call may say --------------------------------------------------------------------- */

static void note(const struct user *user, int error)
{
    if (error == ECANCELED)
        SIM_MUST(user->was_killed);
    else if (error != ETIMEDOUT && error != THROWN)
        sim_excuse(error);
}

static bool went(const struct user *user, int64_t result)
{
    if (result < 0)
        note(user, errno);
    return result >= 0;
}

/* ---- jobs ------------------------------------------------------------------------------------ */

/* Killed by its user, or with all the others. */
static bool job_goes_on(int64_t result)
{
    if (result < 0 && errno != ECANCELED)
        sim_excuse(errno);
    return result >= 0;
}

static void use_pipe(void)
{
    char byte = 0;

    GRING_SHIELD
    if (job_goes_on(gring_write(site->pipe_ends[1], &byte, 1)))
        job_goes_on(gring_read(site->pipe_ends[0], &byte, 1));
}

static void *rest_a_little(void *value)
{
    job_goes_on(gring_sleep(sim_duration(GRING_MS)));
    return value;
}

/* Into the pool that it runs in. */
static void spawn_inside(void)
{
    int value;
    gring_task *task = gring_pool_spawn(site->pool, rest_a_little, &value);

    if (!job_goes_on(task ? 0 : -1))
        return;
    SIM_MUST(gring_pool_waitall(site->pool) < 0);
    if (errno != EDEADLK)
        job_goes_on(-1);
    GRING_SHIELD
    SIM_MUST(gring_join(task, NULL) >= 0);
}

/* Gives back what it got, with a code or without. */
static void *work(void *value)
{
    SIM_MUST(++site->running <= site->most_places);
    switch (sim_below(5)) {
    case 0:
        use_pipe();
        break;
    case 1:
        spawn_inside();
        break;
    case 2:
        job_goes_on(gring_yield());
        break;
    default:
        rest_a_little(NULL);
    }
    site->running--;
    if (sim_chance(100))
        gring_fail(FAILED);
    return value;
}

static void check_job(int outcome, const void *result, const void *expected)
{
    SIM_MUST(outcome == 0 || outcome == FAILED || outcome == ECANCELED);
    SIM_MUST(result == expected || (outcome == ECANCELED && !result));
}

static void end_job(gring_task *task, const void *expected)
{
    void *result;
    int outcome;

    GRING_SHIELD
    outcome = gring_join(task, &result);
    check_job(outcome, result, expected);
}

/* ---- the pool -------------------------------------------------------------------------------- */

static void spawn_one(const struct user *user)
{
    int value;
    gring_task *task = gring_pool_spawn(site->pool, work, &value);

    if (!went(user, task ? 0 : -1))
        return;
    if (sim_chance(200))
        gring_kill(task);
    end_job(task, &value);
}

static void resize(const struct user *user)
{
    size_t places = sim_chance(100) ? 0 : sim_between(1, PLACES_MAX);

    if (places > site->most_places)
        site->most_places = places;
    (void)went(user, gring_pool_resize(site->pool, places));
}

static void map(const struct user *user)
{
    size_t count = sim_below(ITEMS_MAX + 1);
    void *args[ITEMS_MAX], *results[ITEMS_MAX];
    int codes[ITEMS_MAX];
    ssize_t failed, expected = 0;

    for (size_t index = 0; index < count; index++)
        args[index] = &args[index];
    failed = gring_pool_map(site->pool, work, args, results, codes, count);
    (void)went(user, failed);
    for (size_t index = 0; index < count; index++) {
        check_job(codes[index], results[index], args[index]);
        expected += codes[index] != 0;
    }
    SIM_MUST(failed < 0 || failed == expected);
}

/* ---- piles ----------------------------------------------------------------------------------- */

struct heap {
    gring_pile *pile;
    int items[ITEMS_MAX], given, taken;
    int wanted;
    int source_error; /* what the source ends with, or 0 */
    bool source_broke;
};

/* The next one is the oldest that was given and not taken. */
static void take_item(struct heap *heap, gring_task *task)
{
    SIM_MUST(heap->taken < heap->given);
    SIM_MUST(gring_task_state(task) == GRING_DONE);
    end_job(task, &heap->items[heap->taken++]);
}

static void fill_pile(const struct user *user, struct heap *heap)
{
    while (heap->given < heap->wanted)
        if (went(user, gring_pile_spawn(heap->pile, work, &heap->items[heap->given])))
            heap->given++;
        else
            return;
}

static bool take_next(const struct user *user, struct heap *heap)
{
    gring_task *task;
    int result = gring_pile_next(heap->pile, &task);

    if (result > 0)
        take_item(heap, task);
    else if (result == 0)
        SIM_MUST(heap->taken == heap->given);
    else if (heap->source_broke && errno == heap->source_error)
        SIM_MUST(heap->taken == heap->given);
    else
        note(user, errno);
    return result > 0;
}

static void use_pile(const struct user *user)
{
    struct heap *heap = sim_alloc(sizeof *heap);

    heap->pile = gring_pile_new(site->pool);
    if (!went(user, heap->pile ? 0 : -1))
        return;
    heap->wanted = (int)sim_below(ITEMS_MAX + 1);
    fill_pile(user, heap);
    SIM_MUST(gring_pile_done(heap->pile) == 0);
    while (take_next(user, heap) && sim_chance(950))
        ;
    gring_pile_free(heap->pile);
}

/* A job that could not be begun ends the pile: its item is not given. */
static int next_item(void *ctx, void **arg)
{
    struct heap *heap = ctx;

    if (sim_chance(300) && !job_goes_on(gring_sleep(sim_duration(GRING_MS))))
        return -1;
    if (heap->given == heap->wanted) {
        heap->source_broke = heap->source_error;
        errno = heap->source_error;
        return heap->source_error ? -1 : 0;
    }
    *arg = &heap->items[heap->given++];
    return 1;
}

static void take_mapped(const struct user *user, struct heap *heap)
{
    gring_task *task;
    int result;

    while ((result = gring_pile_next(heap->pile, &task)) > 0) {
        take_item(heap, task);
        if (sim_chance(50))
            return;
    }
    if (result == 0)
        SIM_MUST(heap->taken == heap->wanted && !heap->source_error);
    else if (errno == FAILED)
        SIM_MUST(heap->source_broke && heap->taken == heap->wanted);
    else
        note(user, errno);
}

static void use_imap(const struct user *user)
{
    struct heap *heap = sim_alloc(sizeof *heap);

    heap->wanted = (int)sim_below(ITEMS_MAX + 1);
    heap->source_error = sim_chance(300) ? FAILED : 0;
    heap->pile = gring_pool_imap(site->pool, work, next_item, heap);
    if (!went(user, heap->pile ? 0 : -1))
        return;
    take_mapped(user, heap);
    gring_pile_free(heap->pile);
}

/* ---- users ----------------------------------------------------------------------------------- */

static void step(const struct user *user)
{
    switch (sim_below(8)) {
    case 0:
        resize(user);
        break;
    case 1:
        SIM_MUST(gring_pool_killall(site->pool) == 0);
        break;
    case 2:
        map(user);
        break;
    case 3:
        use_pile(user);
        break;
    case 4:
        use_imap(user);
        break;
    case 5:
        (void)went(user, gring_pool_spawn_n(site->pool, work, NULL));
        break;
    default:
        spawn_one(user);
    }
}

static void *use(void *arg)
{
    struct user *user = arg;
    unsigned steps = (unsigned)sim_size(STEPS_MAX);

    while (steps-- > 0) {
        if (sim_chance(300))
            gring_uncancel();
        if (sim_chance(300))
            gring_within_do(sim_duration(10 * GRING_MS)) step(user);
        else
            step(user);
    }
    return NULL;
}

static void *strike(void *unused)
{
    while (gring_sleep(sim_duration(20 * GRING_MS)) == 0) {
        struct user *user = &site->users[sim_below(site->user_count)];

        if (sim_chance(500)) {
            gring_throw(user->task, THROWN);
        } else {
            user->was_killed = true;
            gring_kill(user->task);
        }
    }
    return unused;
}

static void begin_users(void)
{
    for (uint64_t count = sim_between(1, USERS_MAX); count > 0; count--) {
        struct user *user = &site->users[site->user_count];

        user->task = gring_spawn(use, user);
        if (user->task)
            site->user_count++;
        else
            sim_excuse(errno);
    }
}

/* Nobody makes the pool smaller from now on but the users; then there is room for all. */
static void await_users(void)
{
    for (unsigned index = 0; index < site->user_count; index++)
        while (gring_task_state(site->users[index].task) != GRING_DONE) {
            SIM_MUST(gring_pool_resize(site->pool, site->most_places) == 0);
            gring_sleep(10 * GRING_MS);
        }
    for (unsigned index = 0; index < site->user_count; index++)
        SIM_MUST(gring_join(site->users[index].task, NULL) >= 0);
}

static void end_pool(void)
{
    SIM_MUST(gring_pool_waiting(site->pool) == 0);
    if (sim_chance(500)) {
        SIM_MUST(gring_pool_waitall(site->pool) == 0);
        SIM_MUST(gring_pool_running(site->pool) == 0);
        SIM_MUST(gring_pool_free_slots(site->pool) == (long)site->most_places);
    }
    gring_pool_free(site->pool);
    SIM_MUST(site->running == 0);
}

SIM_WORKLOAD(pools, SIM_NO_MEMORY)
{
    gring_task *striker;

    site = sim_alloc(sizeof *site);
    site->most_places = sim_between(1, PLACES_MAX);
    SIM_MUST(pipe2(site->pipe_ends, O_CLOEXEC) == 0);
    site->pool = gring_pool_new(site->most_places);
    if (!site->pool)
        sim_excuse(errno);
    else {
        begin_users();
        striker = site->user_count && sim_chance(700) ? gring_spawn(strike, NULL) : NULL;
        gring_sleep(sim_chance(500) ? GRING_SEC : sim_duration(GRING_SEC));
        if (striker) {
            gring_kill(striker);
            gring_join(striker, NULL);
        }
        await_users();
        SIM_MUST(gring_pool_resize(site->pool, site->most_places) == 0);
        end_pool();
    }
    gring_close(site->pipe_ends[0]);
    gring_close(site->pipe_ends[1]);
}
