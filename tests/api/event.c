/* Events; what all sync objects have in common is in sync.c. */
#include "tests/support/faketime.h"
#include "tests/support/green.h"
#include "tests/support/meet.h"

static gring_event event;
static int first_value, second_value;

static void *seen[4]; /* by the waiters, in the order of their return */
static int seen_count;

static int see(void *unused)
{
    void *value = unused;
    int outcome = gring_event_wait(&event, &value);

    seen[seen_count++] = value;
    return outcome;
}

GreenTest(event, gives_its_value_to_all_who_wait_and_to_late_ones)
{
    struct meeting waiters[3] = { { .call = see }, { .call = see }, { .call = see } };

    meet(&waiters[0]);
    meet(&waiters[1]);
    cr_assert_eq(gring_event_send(&event, &first_value), 0);
    meet(&waiters[2]);
    for (int index = 0; index < 3; index++) {
        cr_assert_eq(part(&waiters[index]), 0);
        cr_assert_eq(seen[index], &first_value);
    }
}

GreenTest(event, that_was_sent_is_seen_at_once_also_twice)
{
    void *value = NULL;

    cr_assert_eq(gring_event_send(&event, &first_value), 0);
    for (int times = 0; times < 2; times++) {
        cr_assert_eq(gring_event_wait(&event, &value), 0);
        cr_assert_eq(value, &first_value);
    }
    cr_assert_eq(gring_event_wait(&event, NULL), 0, "nobody need look at the value");
}

GreenTest(event, is_sent_or_failed_once)
{
    void *value = NULL;

    cr_assert_eq(gring_event_send(&event, &first_value), 0);
    cr_assert_eq(gring_event_send(&event, &second_value), -1);
    cr_assert_eq(errno, EALREADY);
    cr_assert_eq(gring_event_fail(&event, EPIPE), -1);
    cr_assert_eq(errno, EALREADY);
    cr_assert_eq(gring_event_poll(&event, &value), 0);
    cr_assert_eq(value, &first_value);
}

GreenTest(event, reset_allows_another_value)
{
    void *value = NULL;

    gring_event_send(&event, &first_value);
    cr_assert_eq(gring_event_reset(&event), 0);
    cr_assert_not(gring_event_ready(&event));
    cr_assert_eq(gring_event_send(&event, &second_value), 0);
    cr_assert_eq(gring_event_wait(&event, &value), 0);
    cr_assert_eq(value, &second_value);
}

GreenTest(event, sent_and_reset_at_once_releases_those_who_waited)
{
    struct meeting waiters[2] = { { .call = see }, { .call = see } };

    meet(&waiters[0]);
    gring_event_send(&event, &first_value);
    gring_event_reset(&event);
    meet(&waiters[1]);
    cr_assert_eq(part(&waiters[0]), 0);
    cr_assert_eq(seen[0], &first_value, "its own copy");
    cr_assert_not(is_back(&waiters[1]));
    gring_event_send(&event, &second_value);
    cr_assert_eq(part(&waiters[1]), 0);
    cr_assert_eq(seen[1], &second_value);
}

GreenTest(event, that_failed_is_the_outcome_of_those_who_wait_and_of_late_ones)
{
    struct meeting waiters[2] = { { .call = see }, { .call = see } };

    meet(&waiters[0]);
    cr_assert_eq(gring_event_fail(&event, EPIPE), 0);
    meet(&waiters[1]);
    cr_assert_eq(part(&waiters[0]), EPIPE);
    cr_assert_eq(part(&waiters[1]), EPIPE);
    cr_assert_null(seen[0]);
    cr_assert_eq(gring_event_poll(&event, NULL), EPIPE);
    cr_assert(gring_event_ready(&event));
}

GreenTest(event, fails_with_errors_only)
{
    cr_assert_eq(gring_event_fail(&event, 0), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_event_fail(&event, -EPIPE), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_not(gring_event_ready(&event));
}

GreenTest(event, polled_before_it_is_sent_says_so_and_leaves_the_value_alone)
{
    void *value = &second_value;

    cr_assert_eq(gring_event_poll(&event, &value), -1);
    cr_assert_eq(errno, EAGAIN);
    cr_assert_eq(value, &second_value);
    cr_assert_not(gring_event_ready(&event));
    gring_event_send(&event, &first_value);
    cr_assert(gring_event_ready(&event));
    cr_assert_eq(gring_event_poll(&event, &value), 0);
    cr_assert_eq(value, &first_value);
}

static int see_within_a_second(void *unused)
{
    return gring_within(GRING_SEC, see(unused));
}

FakeTimeTest(event, an_interrupted_wait_leaves_the_value_alone)
{
    struct meeting waiter = { .call = see_within_a_second, .object = &second_value };

    meet(&waiter);
    meet_advance(GRING_SEC);
    cr_assert_eq(part(&waiter), ETIMEDOUT);
    cr_assert_eq(seen[0], &second_value);
}

GreenTest(event, sending_does_not_let_others_run)
{
    struct meeting waiter = { .call = see };

    meet(&waiter);
    gring_event_send(&event, NULL);
    cr_assert_eq(waiter.place, 0);
    cr_assert_eq(part(&waiter), 0);
}

enum { CROWD = 10000 };

static int crowd_back;

static void *be_one_of_many(void *unused)
{
    cr_assert_eq(gring_event_wait(&event, NULL), 0);
    crowd_back++;
    return unused;
}

GreenTest(event, wakes_ten_thousand)
{
    for (int count = 0; count < CROWD; count++)
        cr_assert_eq(gring_spawn_n(be_one_of_many, NULL), 0);
    meet_settle();
    cr_assert_eq(crowd_back, 0);
    gring_event_send(&event, NULL);
    meet_settle();
    cr_assert_eq(crowd_back, CROWD);
}
