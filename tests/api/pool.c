/* Task pools, map, piles and imap: greenring/pool.h. Pools of resources: respool.c. */
#include "tests/support/child.h"
#include "tests/support/faketime.h"
#include "tests/support/green.h"
#include "tests/support/logged.h"

#include <greenring/co.h>

enum { JOBS = 12 };

static gring_pool *pool;
static int running, most_running, ended;

static void settle(void)
{
    cr_assert_eq(gring_idle(), 0);
}

static void *job(void *value)
{
    if (++running > most_running)
        most_running = running;
    gring_sleep(GRING_SEC);
    running--;
    ended++;
    return value;
}

static void *quick(void *value)
{
    ended++;
    return value;
}

static void *fail(void *code)
{
    return gring_fail((int)(intptr_t)code);
}

static void *until_killed(void *unused)
{
    (void)unused;
    return gring_park(NULL) < 0 ? gring_fail(errno) : NULL;
}

static void *spawn_one(void *fn_value)
{
    (void)fn_value;
    return gring_pool_spawn_n(pool, job, NULL) < 0 ? gring_fail(errno) : NULL;
}

static void advance(int seconds)
{
    cr_assert_eq(gring_test_advance(seconds * GRING_SEC + GRING_MS), 0);
}

static void counts_are(size_t of_running, long of_free, size_t of_waiting)
{
    cr_assert_eq(gring_pool_running(pool), of_running, "%zu run", gring_pool_running(pool));
    cr_assert_eq(gring_pool_free_slots(pool), of_free, "%ld free", gring_pool_free_slots(pool));
    cr_assert_eq(gring_pool_waiting(pool), of_waiting, "%zu wait", gring_pool_waiting(pool));
}

/* ---- places ---- */

FakeTimeTest(pool, counts_running_waiting_and_free_before_during_and_after)
{
    gring_task *waiting;

    pool = gring_pool_new(2);
    counts_are(0, 2, 0);
    cr_assert_eq(gring_pool_spawn_n(pool, job, NULL), 0);
    counts_are(1, 1, 0);
    cr_assert_eq(gring_pool_spawn_n(pool, job, NULL), 0);
    counts_are(2, 0, 0);
    waiting = gring_spawn(spawn_one, NULL);
    settle();
    counts_are(2, 0, 1);
    advance(1);
    counts_are(1, 1, 0);
    advance(1);
    counts_are(0, 2, 0);
    cr_assert_eq(ended, 3);
    cr_assert_eq(gring_join(waiting, NULL), 0);
    gring_pool_free(pool);
}

static void *spawn_all(void *unused)
{
    (void)unused;
    for (int index = 0; index < JOBS; index++)
        cr_assert_eq(gring_pool_spawn_n(pool, job, NULL), 0);
    return NULL;
}

FakeTimeTest(pool, never_more_than_its_size_at_a_time_and_all_in_the_end)
{
    gring_task *spawner;

    pool = gring_pool_new(3);
    spawner = gring_spawn(spawn_all, NULL);
    for (int second = 0; second < JOBS / 3; second++)
        advance(1);
    cr_assert_eq(gring_join(spawner, NULL), 0);
    cr_assert_eq(gring_pool_waitall(pool), 0);
    cr_assert_eq(most_running, 3);
    cr_assert_eq(ended, JOBS);
    gring_pool_free(pool);
}

GreenTest(pool, the_handle_is_the_callers)
{
    gring_task *task;
    void *value;

    pool = gring_pool_new(1);
    task = gring_pool_spawn(pool, quick, &running);
    cr_assert_eq(gring_join(task, &value), 0);
    cr_assert_eq(value, &running);
    task = gring_pool_spawn(pool, fail, (void *)ENXIO);
    cr_assert_eq(gring_join(task, NULL), ENXIO);
    counts_are(0, 1, 0);
    gring_pool_free(pool);
}

static void *leave(void *value)
{
    gring_exit(value);
}

GreenTest(pool, failing_exiting_and_killed_jobs_give_their_place_back)
{
    gring_task *task;

    pool = gring_pool_new(1);
    cr_assert_eq(gring_pool_spawn_n(pool, leave, NULL), 0);
    cr_assert_eq(gring_pool_waitall(pool), 0);
    task = gring_pool_spawn(pool, until_killed, NULL);
    settle();
    gring_kill(task);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    task = gring_pool_spawn(pool, quick, NULL);
    gring_kill(task);
    counts_are(0, 1, 0);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    cr_assert_eq(ended, 0, "it never ran");
    gring_pool_free(pool);
}

GreenTest(pool, a_failure_that_nobody_asks_for_is_logged)
{
    logged_start();
    pool = gring_pool_new(1);
    cr_assert_eq(gring_pool_spawn_n(pool, fail, (void *)ENXIO), 0);
    cr_assert_eq(gring_pool_waitall(pool), 0);
    settle();
    cr_assert_eq(logged_with("nobody waits"), 1);
    gring_pool_free(pool);
}

static void *spawn_while_killed(void *unused)
{
    (void)unused;
    gring_kill(gring_self());
    cr_assert_eq(gring_pool_spawn_n(pool, quick, NULL), -1);
    return gring_fail(errno);
}

GreenTest(pool, a_killed_task_spawns_nothing)
{
    pool = gring_pool_new(1);
    cr_assert_eq(gring_join(gring_spawn(spawn_while_killed, NULL), NULL), ECANCELED);
    counts_are(0, 1, 0);
    gring_pool_free(pool);
}

FakeTimeTest(pool, a_spawn_that_is_interrupted_while_it_waits_begins_nothing)
{
    gring_task *spawner;

    pool = gring_pool_new(1);
    cr_assert_eq(gring_pool_spawn_n(pool, job, NULL), 0);
    spawner = gring_spawn(spawn_one, NULL);
    settle();
    gring_kill(spawner);
    cr_assert_eq(gring_join(spawner, NULL), ECANCELED);
    counts_are(1, 0, 0);
    advance(1);
    counts_are(0, 1, 0);
    cr_assert_eq(ended, 1);
    gring_pool_free(pool);
}

/* ---- from inside ---- */

static void *ask_for_oneself(void *unused)
{
    (void)unused;
    cr_assert_eq(gring_pool_waitall(pool), -1);
    cr_assert_eq(errno, EDEADLK);
    return NULL;
}

GreenTest(pool, waitall_is_refused_from_inside_and_returns_at_once_when_idle)
{
    pool = gring_pool_new(1);
    cr_assert_eq(gring_pool_waitall(pool), 0);
    cr_assert_eq(gring_join(gring_pool_spawn(pool, ask_for_oneself, NULL), NULL), 0);
    gring_pool_free(pool);
}

static void *spawn_inside(void *unused)
{
    gring_task *inner = gring_pool_spawn(pool, quick, &ended);
    gring_task *failing = gring_pool_spawn(pool, fail, (void *)EDOM);
    void *value = NULL;

    (void)unused;
    cr_assert_eq(gring_task_state(inner), GRING_DONE, "it ran right here");
    cr_assert_eq(gring_join(inner, &value), 0);
    cr_assert_eq(value, &ended);
    cr_assert_eq(gring_join(failing, NULL), EDOM);
    return NULL;
}

GreenTest(pool, a_full_pools_own_task_runs_the_job_itself_and_keeps_its_own_outcome)
{
    pool = gring_pool_new(1);
    cr_assert_eq(gring_join(gring_pool_spawn(pool, spawn_inside, NULL), NULL), 0);
    cr_assert_eq(ended, 1);
    counts_are(0, 1, 0);
    gring_pool_free(pool);
}

static void *spawn_what_exits(void *unused)
{
    (void)unused;
    gring_pool_spawn_n(pool, leave, &running);
    cr_assert_fail("gring_exit ends the task that runs the job");
    return NULL;
}

GreenTest(pool, a_job_run_inside_that_exits_ends_its_runner)
{
    gring_task *runner;
    void *value = NULL;

    pool = gring_pool_new(1);
    runner = gring_pool_spawn(pool, spawn_what_exits, NULL);
    cr_assert_eq(gring_join(runner, &value), 0);
    cr_assert_eq(value, &running);
    counts_are(0, 1, 0);
    gring_pool_free(pool);
}

static void *fail_right_here(void *inner_code)
{
    gring_task *inner = gring_pool_spawn(pool, fail, inner_code);

    return gring_join(inner, NULL) == (int)(intptr_t)inner_code ? NULL : inner_code;
}

static void *fail_in_a_coroutine(void *inner_code)
{
    void *wrong = NULL;
    gring_co *co = gring_co_new(fail_right_here, NULL, 0);

    cr_assert_eq(gring_co_switch(co, inner_code, &wrong), 0, "the coroutine has not failed");
    cr_assert_null(wrong, "the job has");
    return NULL;
}

GreenTest(pool, a_job_run_inside_a_coroutine_keeps_its_own_outcome)
{
    pool = gring_pool_new(1);
    cr_assert_eq(gring_join(gring_pool_spawn(pool, fail_in_a_coroutine, (void *)EDOM), NULL), 0);
    gring_pool_free(pool);
}

static void *spawn_down(void *depth)
{
    intptr_t deeper = (intptr_t)depth - 1;

    if (depth)
        cr_assert_eq(gring_pool_spawn_n(pool, spawn_down, (void *)deeper), 0);
    ended++;
    return NULL;
}

GreenTest(pool, a_chain_of_jobs_longer_than_the_pool_ends)
{
    pool = gring_pool_new(2);
    cr_assert_eq(gring_pool_spawn_n(pool, spawn_down, (void *)20), 0);
    cr_assert_eq(gring_pool_waitall(pool), 0);
    settle();
    cr_assert_eq(ended, 21);
    gring_pool_free(pool);
}

/* ---- resize ---- */

FakeTimeTest(pool, shrinking_ends_nobody_and_admits_no_one_until_there_is_room)
{
    gring_task *waiting;

    pool = gring_pool_new(3);
    for (int index = 0; index < 3; index++)
        cr_assert_eq(gring_pool_spawn_n(pool, job, NULL), 0);
    advance(0);
    cr_assert_eq(gring_pool_resize(pool, 1), 0);
    counts_are(3, -2, 0);
    waiting = gring_spawn(spawn_one, NULL);
    settle();
    counts_are(3, -2, 1);
    advance(1);
    cr_assert_eq(ended, 3);
    counts_are(1, 0, 0);
    advance(1);
    counts_are(0, 1, 0);
    cr_assert_eq(gring_join(waiting, NULL), 0);
    gring_pool_free(pool);
}

GreenTest(pool, growing_admits_those_who_wait_at_once)
{
    gring_task *waiting[3];

    pool = gring_pool_new(0);
    for (int index = 0; index < 3; index++)
        waiting[index] = gring_spawn(spawn_one, NULL);
    settle();
    counts_are(0, 0, 3);
    cr_assert_eq(gring_pool_resize(pool, 2), 0);
    settle();
    counts_are(2, 0, 1);
    gring_kill(waiting[2]);
    for (int index = 0; index < 3; index++)
        cr_assert_eq(gring_join(waiting[index], NULL), index == 2 ? ECANCELED : 0);
    gring_pool_free(pool);
    cr_assert_eq(ended, 2, "free kills and awaits: their sleep failed");
}

GreenTest(pool, absurd_sizes_are_refused)
{
    cr_assert_null(gring_pool_new((size_t)INT32_MAX + 1));
    cr_assert_eq(errno, EINVAL);
    pool = gring_pool_new(1);
    cr_assert_eq(gring_pool_resize(pool, SIZE_MAX), -1);
    cr_assert_eq(errno, EINVAL);
    gring_pool_free(pool);
    gring_pool_free(NULL);
}

GreenTest(pool, killall_kills_everybody_who_has_a_place)
{
    gring_task *tasks[3];

    pool = gring_pool_new(3);
    for (int index = 0; index < 2; index++)
        tasks[index] = gring_pool_spawn(pool, until_killed, NULL);
    settle();
    tasks[2] = gring_pool_spawn(pool, quick, NULL);
    cr_assert_eq(gring_pool_killall(pool), 0);
    for (int index = 0; index < 3; index++)
        cr_assert_eq(gring_join(tasks[index], NULL), ECANCELED);
    counts_are(0, 3, 0);
    gring_pool_free(pool);
}

static void *free_own_pool(void *unused)
{
    (void)unused;
    gring_pool_free(pool);
    return NULL;
}

static void *run_free_own_pool(void *unused)
{
    pool = gring_pool_new(1);
    gring_join(gring_pool_spawn(pool, free_own_pool, NULL), NULL);
    return unused;
}

static void free_inside(void)
{
    gring_run(run_free_own_pool, NULL, NULL);
}

Test(pool, freeing_it_from_inside_is_caught)
{
    child_must_abort(free_inside, "by one of the pool's own tasks");
}

/* ---- map ---- */

static void *twice(void *number)
{
    if (number == (void *)5)
        return gring_fail(ERANGE);
    gring_sleep(((intptr_t)number % 3) * GRING_MS);
    return (void *)((intptr_t)number * 2);
}

static void *map_twelve(void *failed)
{
    void *args[JOBS], *results[JOBS];
    int codes[JOBS];

    for (intptr_t index = 0; index < JOBS; index++)
        args[index] = (void *)index;
    *(ssize_t *)failed = gring_pool_map(pool, twice, args, results, codes, JOBS);
    for (intptr_t index = 0; index < JOBS; index++) {
        cr_assert_eq(codes[index], index == 5 ? ERANGE : 0);
        cr_assert_eq(results[index], index == 5 ? NULL : (void *)(2 * index));
    }
    return NULL;
}

FakeTimeTest(pool, map_fills_results_and_codes_in_place_and_counts_the_failures)
{
    gring_task *task;
    ssize_t failed = -1;

    pool = gring_pool_new(4);
    task = gring_spawn(map_twelve, &failed);
    for (int round = 0; round < JOBS; round++)
        advance(1);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(failed, 1);
    gring_pool_free(pool);
}

GreenTest(pool, map_of_nothing_is_nothing_and_results_are_optional)
{
    void *args[2] = { NULL, NULL };

    pool = gring_pool_new(1);
    cr_assert_eq(gring_pool_map(pool, quick, NULL, NULL, NULL, 0), 0);
    cr_assert_eq(gring_pool_map(pool, quick, args, NULL, NULL, 2), 0);
    cr_assert_eq(ended, 2);
    gring_pool_free(pool);
}

static void *map_until_killed(void *codes)
{
    void *args[4] = { NULL }, *results[4];

    cr_assert_eq(gring_pool_map(pool, until_killed, args, results, codes, 4), -1);
    return gring_fail(errno);
}

GreenTest(pool, an_interrupted_map_kills_and_awaits_what_it_has_begun)
{
    int codes[4] = { 0 };
    gring_task *task, *other;

    pool = gring_pool_new(3);
    other = gring_pool_spawn(pool, until_killed, NULL);
    task = gring_spawn(map_until_killed, codes);
    settle();
    counts_are(3, 0, 1);
    gring_kill(task);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    counts_are(1, 2, 0);
    for (int index = 0; index < 4; index++)
        cr_assert_eq(codes[index], ECANCELED);
    cr_assert_neq(gring_task_state(other), GRING_DONE, "not one of its own");
    gring_kill(other);
    gring_join(other, NULL);
    gring_pool_free(pool);
}

/* All have a place, and the call waits for their ends alone. */
GreenTest(pool, a_map_interrupted_when_all_are_begun_kills_and_awaits_them)
{
    int codes[4] = { 0 };
    gring_task *task;

    pool = gring_pool_new(4);
    task = gring_spawn(map_until_killed, codes);
    settle();
    counts_are(4, 0, 0);
    gring_kill(task);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    counts_are(0, 4, 0);
    for (int index = 0; index < 4; index++)
        cr_assert_eq(codes[index], ECANCELED);
    gring_pool_free(pool);
}

static void *wait_or_leave(void *value)
{
    if (value)
        gring_exit(value);
    return until_killed(NULL);
}

static void *map_what_exits(void *unused)
{
    void *args[2] = { NULL, &running };

    (void)unused;
    gring_pool_map(pool, wait_or_leave, args, NULL, NULL, 2);
    cr_assert_fail("gring_exit ends the task that runs the job");
    return NULL;
}

GreenTest(pool, a_map_that_its_own_job_exits_from_kills_and_awaits_the_others)
{
    gring_task *runner;
    void *value = NULL;

    pool = gring_pool_new(2);
    runner = gring_pool_spawn(pool, map_what_exits, NULL);
    cr_assert_eq(gring_join(runner, &value), 0);
    cr_assert_eq(value, &running);
    counts_are(0, 2, 0);
    gring_pool_free(pool);
}

/* ---- pile ---- */

static void *sleep_inversely(void *number)
{
    gring_sleep((JOBS - (intptr_t)number) * GRING_MS);
    return number;
}

static void *take_in_order(void *pile)
{
    gring_task *task;
    intptr_t expected = 0;
    void *value;

    while (gring_pile_next(pile, &task) == 1) {
        cr_assert_eq(gring_task_state(task), GRING_DONE);
        cr_assert_eq(gring_join(task, &value), 0);
        cr_assert_eq((intptr_t)value, expected++);
    }
    return (void *)expected;
}

FakeTimeTest(pile, results_come_in_the_order_of_spawning)
{
    gring_pile *pile;
    gring_task *taker;
    void *count;

    pool = gring_pool_new(JOBS);
    pile = gring_pile_new(pool);
    taker = gring_spawn(take_in_order, pile);
    settle();
    for (intptr_t index = 0; index < JOBS; index++)
        cr_assert_eq(gring_pile_spawn(pile, sleep_inversely, (void *)index), 0);
    cr_assert_eq(gring_pile_done(pile), 0);
    cr_assert_eq(gring_pile_done(pile), 0, "twice is fine");
    cr_assert_eq(gring_pile_spawn(pile, quick, NULL), -1);
    cr_assert_eq(errno, EPIPE);
    advance(1);
    cr_assert_eq(gring_join(taker, &count), 0);
    cr_assert_eq((intptr_t)count, JOBS);
    gring_pile_free(pile);
    gring_pool_free(pool);
}

static void *fill_pile(void *pile)
{
    for (intptr_t index = 0; index < JOBS; index++)
        cr_assert_eq(gring_pile_spawn(pile, sleep_inversely, (void *)index), 0);
    cr_assert_eq(gring_pile_done(pile), 0);
    return NULL;
}

FakeTimeTest(pile, two_piles_on_one_pool_keep_their_own_order)
{
    gring_pile *piles[2];
    gring_task *tasks[4];

    pool = gring_pool_new(3);
    for (int index = 0; index < 2; index++) {
        piles[index] = gring_pile_new(pool);
        tasks[index] = gring_spawn(take_in_order, piles[index]);
        tasks[2 + index] = gring_spawn(fill_pile, piles[index]);
    }
    for (int round = 0; round < JOBS; round++)
        advance(1);
    for (int index = 0; index < 4; index++)
        cr_assert_eq(gring_join(tasks[index], NULL), 0);
    for (int index = 0; index < 2; index++)
        gring_pile_free(piles[index]);
    gring_pool_free(pool);
}

static void *spawn_into(void *pile)
{
    return gring_pile_spawn(pile, quick, (void *)1) < 0 ? gring_fail(errno) : NULL;
}

GreenTest(pile, a_spawn_that_was_interrupted_leaves_no_gap)
{
    gring_pile *pile;
    gring_task *task, *spawner, *blocker;
    void *value;

    pool = gring_pool_new(1);
    pile = gring_pile_new(pool);
    cr_assert_eq(gring_pile_spawn(pile, quick, (void *)0), 0);
    settle();
    blocker = gring_pool_spawn(pool, until_killed, NULL);
    spawner = gring_spawn(spawn_into, pile);
    settle();
    gring_kill(spawner);
    cr_assert_eq(gring_join(spawner, NULL), ECANCELED);
    gring_kill(blocker);
    gring_join(blocker, NULL);
    cr_assert_eq(gring_pile_spawn(pile, quick, (void *)2), 0);
    gring_pile_done(pile);
    cr_assert_eq(gring_pile_next(pile, &task), 1);
    gring_join(task, &value);
    cr_assert_eq(value, NULL);
    cr_assert_eq(gring_pile_next(pile, &task), 1);
    gring_join(task, &value);
    cr_assert_eq(value, (void *)2);
    cr_assert_eq(gring_pile_next(pile, &task), 0);
    gring_pile_free(pile);
    gring_pool_free(pool);
}

static void *spawn_what_exits_into(void *pile)
{
    gring_pile_spawn(pile, leave, &running);
    cr_assert_fail("gring_exit ends the task that runs the job");
    return NULL;
}

static void *take_one(void *pile)
{
    gring_task *task;

    return gring_pile_next(pile, &task) == 0 ? NULL : pile;
}

GreenTest(pile, a_job_run_inside_that_exits_leaves_no_gap)
{
    gring_task *taker;
    gring_pile *pile;
    void *wrong;

    pool = gring_pool_new(1);
    pile = gring_pile_new(pool);
    taker = gring_spawn(take_one, pile);
    cr_assert_eq(gring_join(gring_pool_spawn(pool, spawn_what_exits_into, pile), NULL), 0);
    gring_pile_done(pile);
    cr_assert_eq(gring_join(taker, &wrong), 0);
    cr_assert_null(wrong);
    gring_pile_free(pile);
    gring_pool_free(pool);
}

enum { PRODUCERS = 3, EACH = 1000 };

struct producer {
    gring_pile *pile;
    intptr_t number;
};

static intptr_t next_of_all;

static void *stamp(void *place)
{
    gring_yield();
    return place;
}

static void *produce(void *arg)
{
    struct producer *producer = arg;

    for (int index = 0; index < EACH; index++)
        cr_assert_eq(gring_pile_spawn(producer->pile, stamp, (void *)next_of_all++), 0);
    return NULL;
}

GreenTest(pile, three_thousand_jobs_of_three_producers_stay_in_order)
{
    struct producer producers[PRODUCERS];
    gring_task *tasks[PRODUCERS], *task;
    gring_pile *pile;

    pool = gring_pool_new(7);
    pile = gring_pile_new(pool);
    for (int index = 0; index < PRODUCERS; index++) {
        producers[index] = (struct producer){ pile, index };
        tasks[index] = gring_spawn(produce, &producers[index]);
    }
    for (intptr_t expected = 0; expected < (intptr_t)PRODUCERS * EACH; expected++) {
        void *value;

        cr_assert_eq(gring_pile_next(pile, &task), 1);
        cr_assert_eq(gring_join(task, &value), 0);
        cr_assert_eq((intptr_t)value, expected);
    }
    for (int index = 0; index < PRODUCERS; index++)
        cr_assert_eq(gring_join(tasks[index], NULL), 0);
    gring_pile_free(pile);
    gring_pool_free(pool);
}

GreenTest(pile, free_kills_and_awaits_what_nobody_took)
{
    gring_pile *pile;

    pool = gring_pool_new(3);
    pile = gring_pile_new(pool);
    for (int index = 0; index < 3; index++)
        cr_assert_eq(gring_pile_spawn(pile, until_killed, NULL), 0);
    settle();
    gring_pile_free(pile);
    counts_are(0, 3, 0);
    gring_pile_free(NULL);
    gring_pool_free(pool);
}

/* ---- imap ---- */

static intptr_t given;

static int up_to_a_hundred(void *unused, void **arg)
{
    (void)unused;
    *arg = (void *)given;
    return given++ < 100;
}

static void *twice_at_once(void *number)
{
    gring_yield();
    return (void *)((intptr_t)number * 2);
}

GreenTest(imap, gives_all_results_in_the_order_of_the_source)
{
    gring_pile *pile;
    gring_task *task;
    intptr_t count = 0;
    void *value;

    pool = gring_pool_new(8);
    pile = gring_pool_imap(pool, twice_at_once, up_to_a_hundred, NULL);
    while (gring_pile_next(pile, &task) > 0) {
        cr_assert_eq(gring_join(task, &value), 0);
        cr_assert_eq((intptr_t)value, 2 * count++);
        cr_assert_leq(given - count, 8, "the source is asked no further than the pool allows");
    }
    cr_assert_eq(count, 100);
    gring_pile_free(pile);
    gring_pool_free(pool);
}

GreenTest(imap, nobody_takes_and_nothing_more_is_begun)
{
    gring_pile *pile;

    pool = gring_pool_new(8);
    pile = gring_pool_imap(pool, twice_at_once, up_to_a_hundred, NULL);
    settle();
    cr_assert_eq(given, 8);
    gring_pile_free(pile);
    cr_assert_eq(given, 8);
    gring_pool_free(pool);
}

static int two_then_a_failure(void *unused, void **arg)
{
    (void)unused;
    *arg = NULL;
    errno = EILSEQ;
    return given++ < 2 ? 1 : -1;
}

GreenTest(imap, a_failing_source_is_reported_after_the_last_result)
{
    gring_pile *pile;
    gring_task *task;

    pool = gring_pool_new(8);
    pile = gring_pool_imap(pool, quick, two_then_a_failure, NULL);
    for (int index = 0; index < 2; index++) {
        cr_assert_eq(gring_pile_next(pile, &task), 1);
        gring_drop(task);
    }
    cr_assert_eq(gring_pile_next(pile, &task), -1);
    cr_assert_eq(errno, EILSEQ);
    gring_pile_free(pile);
    gring_pool_free(pool);
}

GreenTest(imap, free_ends_a_producer_that_waits_for_the_pool)
{
    gring_task *blocker;
    gring_pile *pile;

    pool = gring_pool_new(1);
    blocker = gring_pool_spawn(pool, until_killed, NULL);
    pile = gring_pool_imap(pool, quick, up_to_a_hundred, NULL);
    settle();
    counts_are(1, 0, 1);
    gring_pile_free(pile);
    counts_are(1, 0, 0);
    cr_assert_eq(ended, 0);
    gring_kill(blocker);
    gring_join(blocker, NULL);
    gring_pool_free(pool);
}

GreenTest(imap, without_a_function_or_a_source_is_EINVAL)
{
    pool = gring_pool_new(1);
    cr_assert_null(gring_pool_imap(pool, NULL, up_to_a_hundred, NULL));
    cr_assert_eq(errno, EINVAL);
    cr_assert_null(gring_pool_imap(pool, quick, NULL, NULL));
    cr_assert_eq(errno, EINVAL);
    gring_pool_free(pool);
}

static int tick(void *unused, const gring_tick *now)
{
    (void)unused, (void)now;
    return 0;
}

static void *map_above_the_limit(void *unused)
{
    pool = gring_pool_new(1);
    cr_assert_null(gring_pool_imap(pool, quick, up_to_a_hundred, NULL));
    cr_assert_eq(errno, EAGAIN);
    cr_assert_eq(given, 0);
    cr_assert_null(gring_every(GRING_SEC, tick, NULL, NULL));
    cr_assert_eq(errno, EAGAIN);
    gring_pool_free(pool);
    return unused;
}

static void *fill_the_run(void *unused)
{
    gring_task *task = gring_spawn(until_killed, NULL);

    map_above_the_limit(NULL);
    gring_kill(task);
    gring_join(task, NULL);
    return unused;
}

Test(imap, above_max_tasks_is_EAGAIN_as_any_spawn)
{
    gring_config config = GRING_CONFIG_INIT;

    config.max_tasks = 1;
    cr_assert_eq(gring_run_with(&config, fill_the_run, NULL, NULL), 0);
}
