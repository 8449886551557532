/* What greenring/debug.h promises of counters and of time that stands still. The log is tested where
 * something is logged. */
#include "tests/support/faketime.h"
#include "tests/support/green.h"

#include <stddef.h>
#include <string.h>

GreenTest(stats, of_nothing_or_of_an_absurd_size_are_EINVAL)
{
    gring_stats stats = { .size = sizeof stats + 1 };

    errno = 0;
    cr_assert_eq(gring_stats_get(NULL), -1);
    cr_assert_eq(errno, EINVAL);
    errno = 0;
    cr_assert_eq(gring_stats_get(&stats), -1);
    cr_assert_eq(errno, EINVAL);
    stats.size = sizeof stats.size - 1;
    errno = 0;
    cr_assert_eq(gring_stats_get(&stats), -1);
    cr_assert_eq(errno, EINVAL);
}

GreenTest(stats, of_an_older_smaller_struct_leave_the_rest_alone)
{
    gring_stats stats;

    memset(&stats, 0xee, sizeof stats);
    stats.size = offsetof(gring_stats, switches);
    cr_assert_eq(gring_stats_get(&stats), 0);
    cr_assert_eq(stats.size, offsetof(gring_stats, switches));
    cr_assert_eq(stats.tasks, 1);
    cr_assert_eq(stats.switches, 0xeeeeeeeeeeeeeeee);
}

Test(stats, without_a_hub_are_EPERM)
{
    gring_stats stats = { .size = sizeof stats };

    errno = 0;
    cr_assert_eq(gring_stats_get(&stats), -1);
    cr_assert_eq(errno, EPERM);
}

FakeTimeTest(advance, of_less_than_nothing_is_EINVAL)
{
    gring_ns before = gring_now();

    errno = 0;
    cr_assert_eq(gring_test_advance(-1), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_now(), before);
}

static gring_task *advancing;

static void kill_it(void *unused)
{
    (void)unused;
    gring_kill(advancing);
}

/* Who advances waits for the others at each timer on the way, so an interruption can meet it. */
FakeTimeTest(advance, is_interrupted_where_it_has_come_to)
{
    gring_timer timer = { { 0 } };
    gring_ns before = gring_now();

    advancing = gring_self();
    gring_timer_start(&timer, 10 * GRING_MS, kill_it, NULL);
    errno = 0;
    cr_assert_eq(gring_test_advance(GRING_SEC), -1);
    cr_assert_eq(errno, ECANCELED);
    cr_assert_eq(gring_uncancel(), 1);
    cr_assert_geq(gring_now(), before + 10 * GRING_MS);
    cr_assert_lt(gring_now(), before + 11 * GRING_MS);
    cr_assert_eq(gring_test_advance(GRING_MS), 0);
}
