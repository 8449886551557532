/* Conditions; what all sync objects have in common is in sync.c. */
#include "tests/support/faketime.h"
#include "tests/support/green.h"
#include "tests/support/meet.h"

static gring_mutex mutex;
static gring_cond condition;

/* Stays with the mutex locked until it parts. */
static int wait_for_word(void *unused)
{
    int result;

    (void)unused;
    cr_assert_eq(gring_mutex_lock(&mutex), 0);
    result = gring_cond_wait(&condition, &mutex);
    if (result < 0)
        cr_assert_eq(gring_mutex_unlock(&mutex), 0, "held on return, also on -1");
    return result;
}

static int unlock(void *unused)
{
    (void)unused;
    return gring_mutex_unlock(&mutex);
}

static const struct meeting listener = { .call = wait_for_word, .undo = unlock };

GreenTest(cond, waiting_unlocks_the_mutex_and_locks_it_again)
{
    struct meeting waiter = listener;

    meet(&waiter);
    cr_assert_eq(gring_mutex_trylock(&mutex), 0, "it is free meanwhile");
    cr_assert_eq(gring_cond_signal(&condition), 0);
    cr_assert_not(is_back(&waiter), "it waits for the mutex now");
    cr_assert_eq(gring_mutex_unlock(&mutex), 0);
    cr_assert(is_back(&waiter));
    cr_assert_eq(gring_mutex_trylock(&mutex), -1, "which it holds");
    cr_assert_eq(part(&waiter), 0);
}

GreenTest(cond, signal_wakes_the_first_and_broadcast_all)
{
    struct meeting waiters[4] = { listener, listener, listener, listener };

    for (int index = 0; index < 4; index++)
        meet(&waiters[index]);
    gring_cond_signal(&condition);
    cr_assert(is_back(&waiters[0]));
    part(&waiters[0]);
    cr_assert_not(is_back(&waiters[1]));
    gring_cond_broadcast(&condition);
    for (int index = 1; index < 4; index++) {
        cr_assert(is_back(&waiters[index]), "in order: each has the mutex alone");
        part(&waiters[index]);
    }
}

GreenTest(cond, a_word_that_nobody_waits_for_is_lost)
{
    struct meeting waiter = listener;

    cr_assert_eq(gring_cond_signal(&condition), 0);
    cr_assert_eq(gring_cond_broadcast(&condition), 0);
    meet(&waiter);
    cr_assert_not(is_back(&waiter));
    gring_cond_signal(&condition);
    cr_assert_eq(part(&waiter), 0);
}

GreenTest(cond, a_mutex_that_is_not_held_is_refused)
{
    struct meeting waiter = { .call = wait_for_word };

    cr_assert_eq(gring_cond_wait(&condition, &mutex), -1);
    cr_assert_eq(errno, EPERM);
    meet(&waiter); /* waits, so the mutex is free again */
    cr_assert_eq(gring_cond_wait(&condition, &mutex), -1);
    cr_assert_eq(errno, EPERM);
    gring_kill(waiter.task);
    cr_assert_eq(part(&waiter), ECANCELED);
}

static int wait_without_a_mutex(void *unused)
{
    (void)unused;
    return gring_cond_wait(&condition, NULL);
}

GreenTest(cond, needs_no_mutex_on_one_hub)
{
    struct meeting waiter = { .call = wait_without_a_mutex };

    meet(&waiter);
    cr_assert_not(is_back(&waiter));
    gring_cond_signal(&condition);
    cr_assert_eq(part(&waiter), 0);
}

GreenTest(cond, shared_needs_a_mutex)
{
    cr_assert_eq(gring_cond_init(&condition, GRING_SHARED), 0);
    cr_assert_eq(gring_cond_wait(&condition, NULL), -1);
    cr_assert_eq(errno, EINVAL);
}

GreenTest(cond, a_kill_is_reported_with_the_mutex_held_again)
{
    struct meeting waiter = listener;

    meet(&waiter);
    gring_mutex_lock(&mutex);
    gring_kill(waiter.task);
    cr_assert_not(is_back(&waiter), "nothing interrupts the way back to the mutex");
    gring_mutex_unlock(&mutex);
    cr_assert_eq(part(&waiter), ECANCELED);
}

GreenTest(cond, a_kill_on_the_way_back_to_the_mutex_does_not_take_the_word_away)
{
    struct meeting waiter = listener;

    meet(&waiter);
    gring_mutex_lock(&mutex);
    gring_cond_signal(&condition);
    meet_settle();
    gring_kill(waiter.task);
    gring_mutex_unlock(&mutex);
    cr_assert_eq(part(&waiter), 0);
}

GreenTest(cond, a_pending_kill_leaves_the_mutex_locked)
{
    cr_assert_eq(gring_mutex_lock(&mutex), 0);
    gring_throw(gring_self(), EDOM);
    cr_assert_eq(gring_cond_wait(&condition, &mutex), -1);
    cr_assert_eq(errno, EDOM);
    cr_assert_eq(gring_mutex_unlock(&mutex), 0);
}

static int wait_within_a_second(void *unused)
{
    return gring_within(GRING_SEC, wait_for_word(unused));
}

FakeTimeTest(cond, a_deadline_ends_the_wait_but_not_the_way_back)
{
    struct meeting waiter = { .call = wait_within_a_second };

    meet(&waiter);
    gring_mutex_lock(&mutex);
    meet_advance(5 * GRING_SEC);
    cr_assert_not(is_back(&waiter));
    gring_mutex_unlock(&mutex);
    cr_assert_eq(part(&waiter), ETIMEDOUT);
}

/* A bounded queue of numbers, the way conditions are meant to be used. */
enum { PLACES = 3, NUMBERS = 200 };

static int queue[PLACES], queued, taken_sum;
static gring_cond room;

static void *produce(void *unused)
{
    for (int number = 1; number <= NUMBERS; number++) {
        gring_mutex_lock(&mutex);
        while (queued == PLACES)
            gring_cond_wait(&room, &mutex);
        queue[queued++] = number;
        gring_cond_signal(&condition);
        gring_mutex_unlock(&mutex);
    }
    return unused;
}

static void *consume(void *unused)
{
    for (int count = 0; count < NUMBERS; count++) {
        gring_mutex_lock(&mutex);
        while (queued == 0)
            gring_cond_wait(&condition, &mutex);
        taken_sum += queue[--queued];
        gring_cond_signal(&room);
        gring_mutex_unlock(&mutex);
    }
    return unused;
}

GreenTest(cond, makes_a_queue_through_which_all_numbers_go)
{
    gring_task *tasks[4] = { gring_spawn(consume, NULL), gring_spawn(produce, NULL),
                             gring_spawn(consume, NULL), gring_spawn(produce, NULL) };

    cr_assert_eq(gring_waitall(tasks, 4), 0);
    cr_assert_eq(taken_sum, NUMBERS * (NUMBERS + 1));
    cr_assert_eq(queued, 0);
}
