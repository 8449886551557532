/* Mutexes; what all sync objects have in common is in sync.c. */
#include "tests/support/child.h"
#include "tests/support/faketime.h"
#include "tests/support/green.h"
#include "tests/support/meet.h"

static gring_mutex mutex;

static int lock(void *unused)
{
    (void)unused;
    return gring_mutex_lock(&mutex);
}

static int try_lock(void *unused)
{
    (void)unused;
    return gring_mutex_trylock(&mutex);
}

static int unlock(void *unused)
{
    (void)unused;
    return gring_mutex_unlock(&mutex);
}

GreenTest(mutex, is_not_recursive)
{
    cr_assert_eq(gring_mutex_lock(&mutex), 0);
    cr_assert_eq(gring_mutex_lock(&mutex), -1);
    cr_assert_eq(errno, EDEADLK);
    cr_assert_eq(gring_mutex_trylock(&mutex), -1);
    cr_assert_eq(errno, EBUSY);
    cr_assert_eq(gring_mutex_unlock(&mutex), 0);
    cr_assert_eq(gring_mutex_unlock(&mutex), -1);
    cr_assert_eq(errno, EPERM);
}

GreenTest(mutex, is_unlocked_by_its_holder_alone)
{
    struct meeting other = { .call = unlock };

    cr_assert_eq(gring_mutex_lock(&mutex), 0);
    meet(&other);
    cr_assert_eq(part(&other), EPERM);
    cr_assert_eq(gring_mutex_unlock(&mutex), 0);
    meet(&other);
    cr_assert_eq(part(&other), EPERM, "nor when nobody holds it");
}

GreenTest(mutex, trylock_takes_it_only_if_it_is_free)
{
    struct meeting other = { .call = try_lock, .undo = unlock };

    meet(&other);
    cr_assert_eq(gring_mutex_trylock(&mutex), -1);
    cr_assert_eq(errno, EBUSY);
    cr_assert_eq(part(&other), 0);
    cr_assert_eq(gring_mutex_trylock(&mutex), 0);
    cr_assert_eq(gring_mutex_unlock(&mutex), 0);
}

GreenTest(mutex, belongs_to_the_first_waiter_before_it_runs)
{
    struct meeting waiter = { .call = lock, .undo = unlock };

    gring_mutex_lock(&mutex);
    meet(&waiter);
    cr_assert_eq(gring_mutex_unlock(&mutex), 0);
    cr_assert_eq(waiter.place, 0, "it has not run");
    cr_assert_eq(gring_mutex_trylock(&mutex), -1);
    cr_assert_eq(errno, EBUSY);
    cr_assert_eq(gring_mutex_unlock(&mutex), -1);
    cr_assert_eq(errno, EPERM);
    cr_assert_eq(part(&waiter), 0);
    cr_assert_eq(gring_mutex_lock(&mutex), 0);
    cr_assert_eq(gring_mutex_unlock(&mutex), 0);
}

static void *contend(void *count)
{
    for (int *mine = count; gring_now() < GRING_SEC; ++*mine) {
        gring_mutex_lock(&mutex);
        gring_sleep(GRING_MS);
        gring_mutex_unlock(&mutex);
    }
    return NULL;
}

FakeTimeTest(mutex, two_who_contend_get_it_equally_often)
{
    int counts[2] = { 0 };
    gring_task *tasks[2] = { gring_spawn(contend, &counts[0]), gring_spawn(contend, &counts[1]) };

    meet_advance(2 * GRING_SEC);
    cr_assert_eq(gring_waitall(tasks, 2), 0);
    cr_assert_gt(counts[0], 100);
    cr_assert_lt(abs(counts[0] - counts[1]) * 10, counts[0]);
}

static int in_there, most_in_there, visits;

static void *visit_often(void *unused)
{
    for (int times = 0; times < 50; times++) {
        gring_mutex_lock(&mutex);
        if (++in_there > most_in_there)
            most_in_there = in_there;
        gring_yield();
        in_there--;
        visits++;
        gring_mutex_unlock(&mutex);
        if (times % 3)
            gring_yield();
    }
    return unused;
}

GreenTest(mutex, one_at_a_time_is_inside)
{
    gring_task *tasks[10];

    for (int index = 0; index < 10; index++)
        tasks[index] = gring_spawn(visit_often, NULL);
    cr_assert_eq(gring_waitall(tasks, 10), 0);
    cr_assert_eq(most_in_there, 1);
    cr_assert_eq(visits, 500);
}

/* ---- a task that ends with it ---------------------------------------------------------------- */

static void *end_with_it(void *how)
{
    gring_mutex_lock(&mutex);
    if (how)
        gring_exit(NULL);
    return NULL;
}

static void *join_who_ends_with_it(void *how)
{
    gring_join(gring_spawn(end_with_it, how), NULL);
    return NULL;
}

static void by_returning(void)
{
    gring_run(join_who_ends_with_it, NULL, NULL);
}

static void by_exiting(void)
{
    gring_run(join_who_ends_with_it, &mutex, NULL);
}

static void as_the_main_task(void)
{
    gring_run(end_with_it, NULL, NULL);
}

Test(mutex, a_task_that_ends_with_it_is_caught)
{
    child_must_abort(by_returning, "a task ended with a mutex or rwlock locked");
    child_must_abort(by_exiting, "a task ended with a mutex or rwlock locked");
    child_must_abort(as_the_main_task, "a task ended with a mutex or rwlock locked");
}

static void unlock_it(void *unused)
{
    unlock(unused);
}

static void *leave_it_to_the_defer(void *unused)
{
    gring_defer(unlock_it, NULL);
    return end_with_it(unused);
}

GreenTest(mutex, a_defer_may_unlock_it)
{
    cr_assert_eq(gring_join(gring_spawn(leave_it_to_the_defer, NULL), NULL), 0);
    cr_assert_eq(gring_mutex_trylock(&mutex), 0);
    gring_mutex_unlock(&mutex);
}

GreenTest(mutex, of_one_that_was_given_on_ends_without_a_lock)
{
    struct meeting first = { .call = lock, .undo = unlock }, second = first;

    meet(&first);
    meet(&second);
    cr_assert_eq(part(&first), 0, "it ends, and the second holds it");
    cr_assert_eq(part(&second), 0);
}

/* ---- callbacks ------------------------------------------------------------------------------- */

static int callback_error;

static void try_in_a_callback(void *unused)
{
    callback_error = try_lock(unused) < 0 ? errno : 0;
}

FakeTimeTest(mutex, a_callback_cannot_have_it)
{
    gring_timer timer = { 0 };

    gring_timer_start(&timer, GRING_MS, try_in_a_callback, NULL);
    meet_advance(GRING_MS);
    cr_assert_eq(callback_error, EPERM);
    cr_assert_eq(gring_mutex_trylock(&mutex), 0);
    gring_mutex_unlock(&mutex);
}
