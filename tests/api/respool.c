/* Pools of resources: greenring/pool.h. */
#include "tests/support/faketime.h"
#include "tests/support/green.h"

#include <pthread.h>

enum { RESOURCES = 32 };

static gring_respool *pool;
static int resources[RESOURCES]; /* 1 made, 2 destroyed */
static int made, destroyed, checked;
static int create_error; /* what the next one fails with */
static gring_ns create_takes;
static int unusable = -1; /* the one that the check refuses */

static int create(void *unused, void **resource)
{
    (void)unused;
    if (create_takes && gring_sleep(create_takes) < 0)
        return -1;
    if (create_error) {
        errno = create_error;
        create_error = 0;
        return -1;
    }
    resources[made] = 1;
    *resource = &resources[made++];
    return 0;
}

static void destroy(void *unused, void *resource)
{
    (void)unused;
    cr_assert_eq(*(int *)resource, 1, "destroyed twice");
    *(int *)resource = 2;
    destroyed++;
    gring_yield();
}

static int check(void *unused, void *resource)
{
    (void)unused;
    checked++;
    return (int *)resource - resources == unusable ? -1 : 0;
}

static gring_respool_opts opts_of(size_t max)
{
    gring_respool_opts opts = GRING_RESPOOL_INIT;

    opts.max = max;
    opts.create = create;
    opts.destroy = destroy;
    return opts;
}

static void make_pool(size_t max)
{
    gring_respool_opts opts = opts_of(max);

    pool = gring_respool_new(&opts);
    cr_assert_not_null(pool);
}

static int get(void)
{
    void *resource = NULL;

    cr_assert_eq(gring_respool_get(pool, &resource), 0);
    return (int)((int *)resource - resources);
}

static void put(int index)
{
    cr_assert_eq(gring_respool_put(pool, &resources[index], false), 0);
}

static void *get_one(void *unused)
{
    void *resource = NULL;

    (void)unused;
    return gring_respool_get(pool, &resource) < 0 ? gring_fail(errno) : resource;
}

static gring_task *start(gring_fn fn)
{
    gring_task *task = gring_spawn(fn, NULL);

    cr_assert_eq(gring_idle(), 0);
    return task;
}

static int join(gring_task *task)
{
    void *resource;

    cr_assert_eq(gring_join(task, &resource), 0);
    return (int)((int *)resource - resources);
}

static void free_pool(void)
{
    cr_assert_eq(gring_respool_free(pool), 0);
    cr_assert_eq(destroyed, made);
}

static void advance(int seconds)
{
    cr_assert_eq(gring_test_advance(seconds * GRING_SEC + GRING_MS), 0);
    cr_assert_eq(gring_idle(), 0);
}

GreenTest(respool, makes_what_it_needs_and_gives_the_last_used_first)
{
    make_pool(3);
    cr_assert_eq(gring_respool_avail(pool), 3);
    cr_assert_eq(get(), 0);
    cr_assert_eq(get(), 1);
    cr_assert_eq(gring_respool_avail(pool), 1);
    put(0);
    put(1);
    cr_assert_eq(get(), 1);
    cr_assert_eq(get(), 0);
    cr_assert_eq(made, 2);
    put(0);
    put(1);
    free_pool();
}

GreenTest(respool, fifo_gives_the_one_that_was_idle_for_longest)
{
    gring_respool_opts opts = opts_of(2);

    opts.fifo = true;
    pool = gring_respool_new(&opts);
    get();
    get();
    put(0);
    put(1);
    cr_assert_eq(get(), 0);
    put(0);
    cr_assert_eq(get(), 1);
    put(1);
    free_pool();
}

GreenTest(respool, at_its_limit_a_get_waits_for_a_put_first_come_first_served)
{
    gring_task *first, *second;

    make_pool(1);
    get();
    first = start(get_one);
    second = start(get_one);
    cr_assert_eq(gring_respool_waiting(pool), 2);
    cr_assert_eq(gring_respool_avail(pool), 0);
    put(0);
    cr_assert_eq(join(first), 0);
    cr_assert_eq(gring_respool_waiting(pool), 1);
    put(0);
    cr_assert_eq(join(second), 0);
    put(0);
    cr_assert_eq(made, 1);
    free_pool();
}

GreenTest(respool, a_broken_one_is_destroyed_and_whoever_waits_makes_a_new_one)
{
    gring_task *waiting;

    make_pool(1);
    get();
    waiting = start(get_one);
    cr_assert_eq(gring_respool_put(pool, &resources[0], true), 0);
    cr_assert_eq(destroyed, 1);
    cr_assert_eq(join(waiting), 1);
    put(1);
    free_pool();
}

GreenTest(respool, a_failure_to_make_one_takes_no_place_and_lets_the_next_one_try)
{
    void *resource;

    make_pool(1);
    create_error = ECONNREFUSED;
    cr_assert_eq(gring_respool_get(pool, &resource), -1);
    cr_assert_eq(errno, ECONNREFUSED);
    cr_assert_eq(gring_respool_avail(pool), 1);
    cr_assert_eq(get(), 0);
    put(0);
    free_pool();
}

FakeTimeTest(respool, while_one_is_being_made_the_limit_holds)
{
    gring_task *slow, *waiting;

    make_pool(1);
    create_takes = GRING_SEC;
    slow = start(get_one);
    waiting = start(get_one);
    cr_assert_eq(gring_respool_waiting(pool), 1);
    gring_kill(slow);
    cr_assert_eq(gring_join(slow, NULL), ECANCELED);
    advance(2);
    cr_assert_eq(join(waiting), 0);
    put(0);
    free_pool();
}

FakeTimeTest(respool, making_one_may_not_take_longer_than_it_may)
{
    gring_respool_opts opts = opts_of(1);
    gring_task *task;

    opts.create_timeout = GRING_SEC;
    pool = gring_respool_new(&opts);
    create_takes = 5 * GRING_SEC;
    task = start(get_one);
    advance(2);
    cr_assert_eq(gring_join(task, NULL), ETIMEDOUT);
    cr_assert_eq(gring_respool_avail(pool), 1);
    free_pool();
}

GreenTest(respool, what_the_check_refuses_is_destroyed_when_it_is_put_back)
{
    gring_respool_opts opts = opts_of(2);

    opts.check = check;
    pool = gring_respool_new(&opts);
    get();
    get();
    unusable = 0;
    put(0);
    put(1);
    cr_assert_eq(destroyed, 1);
    cr_assert_eq(checked, 2);
    cr_assert_eq(get(), 1);
    put(1);
    free_pool();
}

/* ---- ages ---- */

FakeTimeTest(respool, an_idle_one_is_destroyed_by_itself_when_nobody_wants_it)
{
    gring_respool_opts opts = opts_of(3);

    opts.max_idle = 10 * GRING_SEC;
    pool = gring_respool_new(&opts);
    get();
    get();
    put(0);
    advance(5);
    put(1);
    advance(6);
    cr_assert_eq(destroyed, 1);
    cr_assert_eq(resources[0], 2);
    advance(5);
    cr_assert_eq(destroyed, 2);
    free_pool();
}

FakeTimeTest(respool, an_old_one_is_destroyed_idle_or_when_it_is_put_back)
{
    gring_respool_opts opts = opts_of(3);

    opts.max_age = 10 * GRING_SEC;
    pool = gring_respool_new(&opts);
    get();
    get();
    put(0);
    advance(11);
    cr_assert_eq(destroyed, 1, "the idle one");
    put(1);
    cr_assert_eq(destroyed, 2, "the one that was out");
    free_pool();
}

/* What min keeps from the reaper grows old all the same. */
FakeTimeTest(respool, an_old_one_is_not_given_out_again)
{
    gring_respool_opts opts = opts_of(3);

    opts.min = 1;
    opts.max_age = 10 * GRING_SEC;
    pool = gring_respool_new(&opts);
    put(get());
    advance(11);
    cr_assert_eq(destroyed, 0, "there would be less than min");
    cr_assert_eq(get(), 1, "a new one");
    cr_assert_eq(destroyed, 1);
    put(1);
    free_pool();
}

FakeTimeTest(respool, below_min_nobody_is_destroyed_for_idling)
{
    gring_respool_opts opts = opts_of(3);

    opts.min = 1;
    opts.max_idle = GRING_SEC;
    pool = gring_respool_new(&opts);
    get();
    get();
    put(0);
    put(1);
    advance(5);
    cr_assert_eq(destroyed, 1);
    advance(5);
    cr_assert_eq(destroyed, 1);
    free_pool();
}

static size_t timer_count(void)
{
    gring_stats stats = { .size = sizeof stats };

    cr_assert_eq(gring_stats_get(&stats), 0);
    return stats.timers;
}

static gring_event may_destroy;

static void destroy_when_told(void *unused, void *resource)
{
    cr_assert_eq(gring_event_wait(&may_destroy, NULL), 0);
    destroy(unused, resource);
}

static void *tell_to_destroy(void *unused)
{
    gring_event_send(&may_destroy, NULL);
    return unused;
}

FakeTimeTest(respool, freed_while_an_old_one_is_being_destroyed_it_leaves_no_timer_behind)
{
    gring_respool_opts opts = opts_of(2);

    opts.max_idle = 10 * GRING_SEC;
    opts.destroy = destroy_when_told;
    pool = gring_respool_new(&opts);
    get();
    get();
    put(0);
    advance(5);
    put(1);
    advance(6);
    cr_assert_eq(destroyed, 0, "under way");
    cr_assert_eq(gring_spawn_n(tell_to_destroy, NULL), 0);
    free_pool();
    cr_assert_eq(timer_count(), 0);
    advance(10);
}

FakeTimeTest(respool, at_min_nothing_is_due_and_no_timer_runs)
{
    gring_respool_opts opts = opts_of(3);

    opts.min = 1;
    opts.max_idle = GRING_SEC;
    pool = gring_respool_new(&opts);
    get();
    put(0);
    cr_assert_eq(timer_count(), 0);
    free_pool();
}

static void *keep_the_hub(void *unused)
{
    gring_ns end = gring_now() + 5 * GRING_MS;

    while (gring_now() < end)
        ;
    return unused;
}

static void destroy_at_once(void *unused, void *resource)
{
    (void)unused;
    *(int *)resource = 2;
    destroyed++;
}

/* Both have come when the loop looks at its timers: ours first, then the pool's. */
static void *end_as_one_grows_old(void *unused)
{
    gring_respool_opts opts = opts_of(1);

    opts.max_idle = 2 * GRING_MS;
    opts.destroy = destroy_at_once;
    pool = gring_respool_new(&opts);
    get();
    put(0);
    cr_assert_eq(gring_spawn_n(keep_the_hub, NULL), 0);
    cr_assert_eq(gring_sleep(GRING_MS), 0);
    return unused;
}

Test(respool, may_be_freed_after_a_run_that_ended_before_an_old_one_was_destroyed)
{
    cr_assert_eq(gring_run(end_as_one_grows_old, NULL, NULL), 0);
    cr_assert_eq(destroyed, 0);
    free_pool();
}

GreenTest(respool, negative_limits_keep_nothing_idle)
{
    gring_respool_opts opts = opts_of(1);

    opts.max_idle = -1;
    pool = gring_respool_new(&opts);
    get();
    put(0);
    cr_assert_eq(destroyed, 1);
    free_pool();
    opts.max_idle = 0;
    opts.max_age = -1;
    pool = gring_respool_new(&opts);
    get();
    put(1);
    cr_assert_eq(destroyed, 2);
    free_pool();
}

/* ---- the pool itself ---- */

GreenTest(respool, growing_lets_those_in_who_wait_and_shrinking_destroys)
{
    gring_task *waiting;

    make_pool(1);
    get();
    waiting = start(get_one);
    cr_assert_eq(gring_respool_resize(pool, 3), 0);
    cr_assert_eq(join(waiting), 1);
    cr_assert_eq(get(), 2);
    put(0);
    cr_assert_eq(gring_respool_resize(pool, 1), 0);
    cr_assert_eq(destroyed, 1, "the idle one");
    put(1);
    cr_assert_eq(destroyed, 2, "one more that is too many");
    put(2);
    cr_assert_eq(destroyed, 2);
    cr_assert_eq(gring_respool_avail(pool), 1);
    cr_assert_eq(gring_respool_resize(pool, 0), -1);
    cr_assert_eq(errno, EINVAL);
    free_pool();
}

GreenTest(respool, clear_destroys_what_is_idle)
{
    make_pool(2);
    get();
    get();
    put(0);
    cr_assert_eq(gring_respool_clear(pool), 0);
    cr_assert_eq(destroyed, 1);
    put(1);
    cr_assert_eq(destroyed, 1);
    free_pool();
}

GreenTest(respool, free_is_refused_while_one_is_out)
{
    make_pool(2);
    get();
    cr_assert_eq(gring_respool_free(pool), -1);
    cr_assert_eq(errno, EBUSY);
    put(0);
    free_pool();
    cr_assert_eq(gring_respool_free(NULL), 0);
}

GreenTest(respool, putting_back_what_is_not_out_is_refused)
{
    make_pool(2);
    get();
    put(0);
    cr_assert_eq(gring_respool_put(pool, &resources[0], false), -1);
    cr_assert_eq(errno, EINVAL);
    free_pool();
}

GreenTest(respool, bad_options_are_refused)
{
    gring_respool_opts opts = opts_of(0);

    cr_assert_null(gring_respool_new(NULL));
    cr_assert_null(gring_respool_new(&opts));
    cr_assert_eq(errno, EINVAL);
    opts = opts_of(2);
    opts.min = 3;
    cr_assert_null(gring_respool_new(&opts));
    opts = opts_of(2);
    opts.create = NULL;
    cr_assert_null(gring_respool_new(&opts));
}
