/* Wait groups; what all sync objects have in common is in sync.c. */
#include "tests/support/faketime.h"
#include "tests/support/green.h"
#include "tests/support/meet.h"

#include <limits.h>

static gring_wg group;

static int await_zero(void *unused)
{
    (void)unused;
    return gring_wg_wait(&group);
}

static const struct meeting waiting = { .call = await_zero };

GreenTest(wg, at_zero_nobody_waits)
{
    cr_assert_eq(gring_wg_wait(&group), 0);
    cr_assert_eq(gring_wg_add(&group, 0), 0);
    cr_assert_eq(gring_wg_wait(&group), 0);
}

GreenTest(wg, zero_wakes_all_waiters)
{
    struct meeting waiters[3] = { waiting, waiting, waiting };

    gring_wg_add(&group, 2);
    for (int index = 0; index < 3; index++)
        meet(&waiters[index]);
    gring_wg_done(&group);
    cr_assert_not(is_back(&waiters[0]));
    gring_wg_done(&group);
    for (int index = 0; index < 3; index++)
        cr_assert_eq(part(&waiters[index]), 0);
}

GreenTest(wg, cannot_go_below_zero)
{
    cr_assert_eq(gring_wg_done(&group), -1);
    cr_assert_eq(errno, ERANGE);
    gring_wg_add(&group, 2);
    cr_assert_eq(gring_wg_add(&group, -3), -1);
    cr_assert_eq(errno, ERANGE);
    cr_assert_eq(gring_wg_add(&group, INT_MIN), -1);
    cr_assert_eq(errno, ERANGE);
    cr_assert_eq(gring_wg_add(&group, -2), 0, "it stayed as it was");
    cr_assert_eq(gring_wg_wait(&group), 0);
}

GreenTest(wg, cannot_go_above_int_max)
{
    cr_assert_eq(gring_wg_add(&group, INT_MAX), 0);
    cr_assert_eq(gring_wg_add(&group, 1), -1);
    cr_assert_eq(errno, EOVERFLOW);
    cr_assert_eq(gring_wg_add(&group, -INT_MAX), 0, "it stayed as it was");
    cr_assert_eq(gring_wg_wait(&group), 0);
}

GreenTest(wg, whatever_is_added_after_zero_the_waiters_succeed)
{
    struct meeting before = waiting, after = waiting;

    gring_wg_add(&group, 1);
    meet(&before);
    gring_wg_done(&group);
    gring_wg_add(&group, 1);
    meet(&after);
    cr_assert_eq(part(&before), 0);
    cr_assert_not(is_back(&after));
    gring_wg_done(&group);
    cr_assert_eq(part(&after), 0);
}

enum { JOBS = 100, ROUNDS = 3 };

static int jobs_done;

static void *do_a_job(void *unused)
{
    gring_yield();
    jobs_done++;
    gring_wg_done(&group);
    return unused;
}

GreenTest(wg, counts_jobs_again_and_again)
{
    for (int round = 1; round <= ROUNDS; round++) {
        gring_wg_add(&group, JOBS);
        for (int job = 0; job < JOBS; job++)
            gring_spawn_n(do_a_job, NULL);
        cr_assert_eq(gring_wg_wait(&group), 0);
        cr_assert_eq(jobs_done, round * JOBS);
    }
}
