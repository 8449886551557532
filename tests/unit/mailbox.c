/* runtime/mailbox.h on one thread, with a real ring; with several: tests/stress/hub.c. */
#include "runtime/mailbox.h"
#include "base/clock.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <unistd.h>

struct letter {
    struct mail mail;
    struct mailbox *answer_to; /* the delivery posts it again, once */
};

static struct mailbox mailbox;
static struct ops ops;
static struct letter letters[4];
static int delivered[16];
static unsigned delivered_count;

static void deliver(struct mail *mail)
{
    struct letter *letter = CONTAINER_OF(mail, struct letter, mail);
    struct mailbox *again = letter->answer_to;

    delivered[delivered_count++] = (int)(letter - letters);
    letter->answer_to = NULL;
    if (again)
        mailbox_post(again, mail);
}

static void prepare(void)
{
    cr_assert_eq(ops_open(&ops, 8), 0);
    cr_assert_eq(mailbox_open(&mailbox), 0);
    for (int index = 0; index < 4; index++)
        letters[index].mail.deliver = deliver;
}

TestSuite(mailbox, .init = prepare);

static void post(int index)
{
    mailbox_post(&mailbox, &letters[index].mail);
}

static bool signalled(void)
{
    struct pollfd eventfd = { .fd = mailbox.event_fd, .events = POLLIN };

    return poll(&eventfd, 1, 0) == 1;
}

Test(mailbox, delivers_in_the_order_of_posting)
{
    post(2);
    post(0);
    post(1);
    mailbox_deliver(&mailbox);
    cr_assert_eq(delivered_count, 3);
    cr_assert_eq(delivered[0], 2);
    cr_assert_eq(delivered[1], 0);
    cr_assert_eq(delivered[2], 1);
}

Test(mailbox, delivers_once)
{
    post(0);
    mailbox_deliver(&mailbox);
    mailbox_deliver(&mailbox);
    cr_assert_eq(delivered_count, 1);
}

Test(mailbox, what_a_delivery_posts_waits_for_the_next_turn)
{
    letters[0].answer_to = &mailbox;
    post(0);
    mailbox_deliver(&mailbox);
    cr_assert_eq(delivered_count, 1);
    mailbox_deliver(&mailbox);
    cr_assert_eq(delivered_count, 2);
}

Test(mailbox, a_hub_that_is_awake_gets_no_signal)
{
    post(0);
    cr_assert_not(signalled());
}

Test(mailbox, the_hub_may_not_sleep_while_there_is_mail)
{
    post(0);
    cr_assert_not(mailbox_may_sleep(&mailbox, &ops));
    post(1); /* it is awake again: no signal */
    cr_assert_not(signalled());
}

Test(mailbox, the_hub_may_sleep_without_mail)
{
    cr_assert(mailbox_may_sleep(&mailbox, &ops));
    cr_assert(mailbox.watched);
}

/* The read has not been submitted here, so the count of the eventfd can be seen. */
Test(mailbox, a_sleeping_hub_gets_one_signal_for_a_burst)
{
    uint64_t count = 0;

    cr_assert(mailbox_may_sleep(&mailbox, &ops));
    cr_assert_not(signalled());
    post(0);
    post(1);
    post(2);
    cr_assert(signalled());
    cr_assert_eq(read(mailbox.event_fd, &count, sizeof count), (ssize_t)sizeof count);
    cr_assert_eq(count, 1);
}

Test(mailbox, a_hub_that_has_woken_gets_no_signal)
{
    cr_assert(mailbox_may_sleep(&mailbox, &ops));
    mailbox_awake(&mailbox);
    post(0);
    cr_assert_not(signalled());
}

Test(mailbox, a_signal_ends_a_wait_that_had_not_yet_begun)
{
    cr_assert(mailbox_may_sleep(&mailbox, &ops));
    post(0);
    while (mailbox.watched) { /* it comes at the first enter, or the test times out */
        cr_assert_eq(ops_enter(&ops, 60 * CLOCK_SECOND), 0);
        ops_reap(&ops, 16);
    }
    mailbox_awake(&mailbox);
    mailbox_deliver(&mailbox);
    cr_assert_eq(delivered_count, 1);
}

Test(mailbox, watches_again_after_a_signal)
{
    for (int round = 0; round < 3; round++) {
        cr_assert(mailbox_may_sleep(&mailbox, &ops));
        post(0);
        while (mailbox.watched) {
            cr_assert_eq(ops_enter(&ops, 60 * CLOCK_SECOND), 0);
            ops_reap(&ops, 16);
        }
        mailbox_awake(&mailbox);
        mailbox_deliver(&mailbox);
    }
    cr_assert_eq(delivered_count, 3);
}
