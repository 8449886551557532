/* Semaphores; what all sync objects have in common is in sync.c. */
#include "tests/support/faketime.h"
#include "tests/support/green.h"
#include "tests/support/meet.h"

#include <limits.h>

static gring_sem semaphore;

static void prepare(unsigned count, unsigned max)
{
    cr_assert_eq(gring_sem_init(&semaphore, count, max, 0), 0);
}

static int acquire(void *count)
{
    return gring_sem_acquire_n(&semaphore, *(unsigned *)count);
}

static unsigned counts[] = { 0, 1, 2, 3, 4, 5 };

static struct meeting wants(unsigned count)
{
    return (struct meeting){ .call = acquire, .object = &counts[count] };
}

GreenTest(sem, has_as_many_units_as_it_began_with)
{
    prepare(2, 0);
    cr_assert_eq(gring_sem_acquire(&semaphore), 0);
    cr_assert_eq(gring_sem_balance(&semaphore), 1);
    cr_assert_eq(gring_sem_tryacquire(&semaphore), 0);
    cr_assert_eq(gring_sem_tryacquire(&semaphore), -1);
    cr_assert_eq(errno, EAGAIN);
    cr_assert_eq(gring_sem_release(&semaphore), 0);
    cr_assert_eq(gring_sem_tryacquire(&semaphore), 0);
}

GreenTest(sem, cannot_begin_with_more_than_its_maximum)
{
    cr_assert_eq(gring_sem_init(&semaphore, 3, 2, 0), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_sem_init(&semaphore, (unsigned)INT_MAX + 1, 0, 0), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_sem_init(&semaphore, 1, (unsigned)INT_MAX + 1, 0), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_sem_init(&semaphore, INT_MAX, 0, 0), 0);
    cr_assert_eq(gring_sem_balance(&semaphore), INT_MAX);
}

GreenTest(sem, release_above_the_maximum_is_refused_and_gives_nothing)
{
    prepare(1, 3);
    cr_assert_eq(gring_sem_release_n(&semaphore, 3), -1);
    cr_assert_eq(errno, EOVERFLOW);
    cr_assert_eq(gring_sem_balance(&semaphore), 1);
    cr_assert_eq(gring_sem_release_n(&semaphore, 2), 0);
    cr_assert_eq(gring_sem_release(&semaphore), -1);
    cr_assert_eq(errno, EOVERFLOW);
    cr_assert_eq(gring_sem_release_n(&semaphore, UINT_MAX), -1);
    cr_assert_eq(errno, EOVERFLOW);
}

GreenTest(sem, without_a_maximum_counts_to_int_max)
{
    prepare(INT_MAX, 0);
    cr_assert_eq(gring_sem_release(&semaphore), -1);
    cr_assert_eq(errno, EOVERFLOW);
    cr_assert_eq(gring_sem_acquire_n(&semaphore, INT_MAX), 0);
    cr_assert_eq(gring_sem_release(&semaphore), 0);
}

GreenTest(sem, more_than_the_maximum_can_never_be_had)
{
    prepare(1, 3);
    cr_assert_eq(gring_sem_acquire_n(&semaphore, 4), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_sem_balance(&semaphore), 1);
}

GreenTest(sem, gives_all_or_none)
{
    struct meeting waiter = wants(3);

    prepare(2, 0);
    meet(&waiter);
    cr_assert_not(is_back(&waiter));
    cr_assert_eq(gring_sem_release(&semaphore), 0);
    cr_assert_eq(part(&waiter), 0);
    cr_assert_eq(gring_sem_balance(&semaphore), 0);
}

GreenTest(sem, balance_is_minus_the_waiters)
{
    struct meeting waiters[] = { wants(5), wants(1) };

    prepare(2, 0);
    meet(&waiters[0]);
    cr_assert_eq(gring_sem_balance(&semaphore), -1);
    meet(&waiters[1]);
    cr_assert_eq(gring_sem_balance(&semaphore), -2);
    cr_assert_eq(gring_sem_release_n(&semaphore, 5), 0);
    cr_assert_eq(gring_sem_balance(&semaphore), 1);
    cr_assert_eq(part(&waiters[0]), 0);
    cr_assert_eq(part(&waiters[1]), 0);
}

GreenTest(sem, who_wants_many_is_not_overtaken_by_who_wants_few)
{
    struct meeting many = wants(3), few = wants(1);

    prepare(2, 0);
    meet(&many);
    meet(&few);
    cr_assert_not(is_back(&few), "there are two units, but it came later");
    cr_assert_eq(gring_sem_tryacquire(&semaphore), -1);
    cr_assert_eq(errno, EAGAIN);
    gring_sem_release(&semaphore);
    cr_assert_eq(part(&many), 0);
    cr_assert_not(is_back(&few));
    gring_sem_release(&semaphore);
    cr_assert_eq(part(&few), 0);
}

GreenTest(sem, one_release_serves_all_for_whom_it_is_enough)
{
    struct meeting waiters[] = { wants(1), wants(2), wants(3) };

    prepare(0, 0);
    for (int index = 0; index < 3; index++)
        meet(&waiters[index]);
    gring_sem_release_n(&semaphore, 5);
    cr_assert(is_back(&waiters[0]));
    cr_assert(is_back(&waiters[1]));
    cr_assert_not(is_back(&waiters[2]), "two are left, and it wants three");
    gring_sem_release(&semaphore);
    cr_assert_eq(part(&waiters[2]), 0);
}

GreenTest(sem, what_was_released_belongs_to_the_waiter_before_it_runs)
{
    struct meeting waiter = wants(1);

    prepare(0, 0);
    meet(&waiter);
    gring_sem_release(&semaphore);
    cr_assert_eq(gring_sem_tryacquire(&semaphore), -1);
    cr_assert_eq(errno, EAGAIN);
    cr_assert_eq(part(&waiter), 0);
}

GreenTest(sem, those_behind_a_killed_one_are_served)
{
    struct meeting many = wants(5), few[] = { wants(1), wants(2), wants(1) };

    prepare(3, 0);
    meet(&many);
    for (int index = 0; index < 3; index++)
        meet(&few[index]);
    gring_kill(many.task);
    cr_assert_eq(gring_sem_balance(&semaphore), -1, "at once, though nobody has run");
    cr_assert_eq(part(&many), ECANCELED);
    cr_assert_eq(part(&few[0]), 0);
    cr_assert_eq(part(&few[1]), 0);
    cr_assert_not(is_back(&few[2]), "the third unit was the last");
    gring_sem_release(&semaphore);
    cr_assert_eq(part(&few[2]), 0);
}

static int acquire_within_a_second(void *count)
{
    return gring_within(GRING_SEC, acquire(count));
}

FakeTimeTest(sem, those_behind_one_that_timed_out_are_served_then)
{
    struct meeting many = { .call = acquire_within_a_second, .object = &counts[5] };
    struct meeting few = wants(1);

    prepare(1, 0);
    meet(&many);
    meet(&few);
    cr_assert_not(is_back(&few));
    meet_advance(GRING_SEC);
    cr_assert_eq(part(&many), ETIMEDOUT);
    cr_assert_eq(part(&few), 0);
}

GreenTest(sem, its_memory_may_go_when_the_waiters_have_been_killed)
{
    gring_sem *heap = malloc(sizeof *heap);
    struct meeting waiter = { .call = (int (*)(void *))gring_sem_acquire, .object = heap };

    cr_assert_eq(gring_sem_init(heap, 0, 0, 0), 0);
    meet(&waiter);
    gring_kill(waiter.task);
    cr_assert_eq(gring_sem_destroy(heap), 0);
    free(heap);
    cr_assert_eq(part(&waiter), ECANCELED);
}

GreenTest(sem, no_units_are_had_when_it_is_one_s_turn)
{
    struct meeting first = wants(2), nothing = wants(0);

    prepare(1, 0);
    cr_assert_eq(gring_sem_acquire_n(&semaphore, 0), 0);
    meet(&first);
    meet(&nothing);
    cr_assert_not(is_back(&nothing));
    cr_assert_eq(gring_sem_release_n(&semaphore, 0), 0);
    cr_assert_not(is_back(&nothing));
    gring_sem_release(&semaphore);
    cr_assert_eq(part(&first), 0);
    cr_assert_eq(part(&nothing), 0);
}

GreenTest(sem, of_one_excludes_and_can_be_interrupted)
{
    struct meeting waiter = wants(1);

    prepare(1, 1);
    cr_assert_eq(gring_sem_acquire(&semaphore), 0);
    meet(&waiter);
    gring_kill(waiter.task);
    cr_assert_eq(part(&waiter), ECANCELED);
    cr_assert_eq(gring_sem_release(&semaphore), 0);
    cr_assert_eq(gring_sem_release(&semaphore), -1);
}
