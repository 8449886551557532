/*
 * The op layer above a ring that does what the test says: every answer a kernel may give, however
 * rare, is given here once. The random histories are in tests/model/op.c.
 */
#include "tests/support/fake_ring.h"
#include "uring/inflight.h"
#include "uring/op.h"
#include "uring/prep.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <string.h>

/* ---- ops that note what becomes of them ------------------------------------------------------ */

struct noted {
    struct op op;
    int done_count;
    int32_t result;
};

static unsigned done_total;
static struct noted *done_order[TAKEN_MAX];

static void note_done(struct op *op)
{
    struct noted *noted = CONTAINER_OF(op, struct noted, op);

    noted->done_count++;
    noted->result = op->result;
    if (done_total < TAKEN_MAX)
        done_order[done_total] = noted;
    done_total++;
}

static struct ops ops;

static void start(unsigned entries)
{
    done_total = 0;
    cr_assert_eq(ops_open(&ops, entries), 0);
}

static void submit_read(struct noted *noted, int fd)
{
    static char buf[1];

    memset(noted, 0, sizeof *noted);
    prep_read(&noted->op, fd, buf, 1, -1);
    noted->op.on_done = note_done;
    cr_assert_eq(ops_submit(&ops, &noted->op), 0);
}

static void submit_accept(struct noted *noted, int fd)
{
    memset(noted, 0, sizeof *noted);
    prep_accept(&noted->op, fd, NULL, NULL, 0);
    noted->op.on_done = note_done;
    cr_assert_eq(ops_submit(&ops, &noted->op), 0);
}

static void enter(void)
{
    (void)ops_enter(&ops, 0);
}

static void expect_done(const struct noted *noted, int result)
{
    cr_assert_eq(noted->done_count, 1, "done %d times", noted->done_count);
    cr_assert_eq(noted->result, result, "result %d", noted->result);
}

static void finish(void)
{
    cr_assert_eq(ops.in_flight_count, 0);
    cr_assert(list_empty(&ops.backlog));
    cr_assert(list_empty(&ops.cancels));
    for (size_t fd = 0; fd < ops.inflight.capacity && fd < 64; fd++)
        cr_assert_null(ops.inflight.table[fd].ops, "descriptor %zu still has ops", fd);
    ops_close(&ops);
}

/* ---- submitting ------------------------------------------------------------------------------ */

Test(op_fake, goes_from_submit_to_done_once)
{
    struct noted read;

    start(8);
    submit_read(&read, 3);
    cr_assert_eq(read.op.state, OP_IN_KERNEL);
    cr_assert_eq(ops.in_flight_count, 1);
    cr_assert_eq(fake.enters, 0, "a submit enters only when the SQ is full");
    enter();
    cr_assert_eq(fake.taken_count, 1);
    cr_assert_eq(fake.taken[0].opcode, IORING_OP_READ);
    kernel_completes(0, 1);
    cr_assert_eq(ops_reap(&ops, 100), 1);
    expect_done(&read, 1);
    finish();
}

Test(op_fake, of_a_full_SQ_is_submitted_on_the_spot)
{
    struct noted reads[5];

    start(4);
    for (int index = 0; index < 5; index++)
        submit_read(&reads[index], 3);
    cr_assert_eq(fake.enters, 1);
    cr_assert_eq(fake.taken_count, 4);
    cr_assert_eq(fake.last_wait, 0, "a submit must not wait");
    cr_assert(list_empty(&ops.backlog));
    enter();
    for (unsigned index = 0; index < 5; index++)
        kernel_completes(index, (int)index);
    ops_reap(&ops, 100);
    for (int index = 0; index < 5; index++)
        expect_done(&reads[index], index);
    finish();
}

Test(op_fake, waits_in_the_backlog_in_order_when_the_kernel_takes_nothing)
{
    enum { COUNT = 50 };
    static struct noted reads[COUNT];

    start(4);
    fake.takes_at_most = 0;
    for (int index = 0; index < COUNT; index++)
        submit_read(&reads[index], 3);
    cr_assert_eq(reads[3].op.state, OP_IN_KERNEL);
    cr_assert_eq(reads[4].op.state, OP_QUEUED);
    cr_assert_eq(ops.in_flight_count, COUNT);
    fake.takes_at_most = 3;
    while (!list_empty(&ops.backlog) || fake.sq_count)
        enter();
    cr_assert_eq(fake.taken_count, COUNT);
    for (unsigned index = 0; index < COUNT; index++) {
        struct op *op = (struct op *)(uintptr_t)(fake.taken[index].user_data & 0xffffffffffff);

        cr_assert_eq(op, &reads[index].op, "not in order at %u", index);
        kernel_completes(index, 1);
    }
    ops_reap(&ops, COUNT + 1);
    for (int index = 0; index < COUNT; index++)
        expect_done(&reads[index], 1);
    finish();
}

Test(op_fake, that_comes_later_does_not_overtake_the_backlog)
{
    static struct noted reads[7];

    start(4);
    fake.enter_error = -EAGAIN;
    fake.errors_left = 1;
    for (int index = 0; index < 6; index++) /* the fifth finds no room and the kernel no memory */
        submit_read(&reads[index], 3);
    cr_assert_eq(reads[4].op.state, OP_QUEUED);
    cr_assert_eq(reads[5].op.state, OP_QUEUED, "it overtook one that waits in the backlog");
    enter();
    enter();
    cr_assert_eq(fake.taken_count, 6);
    for (unsigned index = 0; index < 6; index++)
        kernel_completes(index, (int)index);
    ops_reap(&ops, 100);
    for (int index = 0; index < 6; index++)
        expect_done(&reads[index], index);
    finish();
}

/* Else nobody may ever come back to submit them: what completes next may be among them. */
static void expect_no_wait_with_work_left(int error)
{
    static struct noted reads[6];

    start(4);
    fake.enter_error = error;
    fake.errors_left = 3; /* the pushes' own two, and that of the enter before the wait */
    for (int index = 0; index < 6; index++)
        submit_read(&reads[index], 3);
    cr_assert_not(list_empty(&ops.backlog));
    fake.errors_left = 1;
    (void)ops_enter(&ops, CLOCK_FOREVER);
    cr_assert(list_empty(&ops.backlog) || fake.last_wait == 0,
              "it waits while ops are in the backlog");
}

Test(op_fake, left_in_the_backlog_after_EAGAIN_is_not_slept_on)
{
    expect_no_wait_with_work_left(-EAGAIN);
}

Test(op_fake, left_in_the_backlog_after_EBUSY_is_not_slept_on)
{
    expect_no_wait_with_work_left(-EBUSY);
}

Test(op_fake, cancels_left_without_an_SQE_are_not_slept_on)
{
    static struct noted reads[4];

    start(4);
    for (int index = 0; index < 4; index++)
        submit_read(&reads[index], 3);
    fake.enter_error = -EBUSY;
    fake.errors_left = 1;
    ops_cancel(&ops, &reads[0].op);
    cr_assert_not(list_empty(&ops.cancels));
    fake.errors_left = 1;
    (void)ops_enter(&ops, CLOCK_FOREVER);
    cr_assert(list_empty(&ops.cancels) || fake.last_wait == 0,
              "it waits while a cancel is not submitted");
}

Test(op_fake, enter_tells_the_interruption)
{
    start(4);
    fake.enter_error = -EINTR;
    fake.errors_left = 1;
    cr_assert_eq(ops_enter(&ops, CLOCK_FOREVER), -EINTR);
    cr_assert_eq(fake.last_wait, CLOCK_FOREVER);
    finish();
}

/* ---- completions ----------------------------------------------------------------------------- */

Test(op_fake, that_met_EAGAIN_polls_and_is_asked_again)
{
    struct noted read;

    start(8);
    submit_read(&read, 5);
    enter();
    kernel_completes(0, -EAGAIN);
    ops_reap(&ops, 100);
    cr_assert_eq(read.done_count, 0);
    enter();
    cr_assert_eq(fake.taken_count, 2);
    cr_assert_eq(fake.taken[1].opcode, IORING_OP_POLL_ADD);
    cr_assert_eq(fake.taken[1].fd, 5);
    cr_assert_eq(fake.taken[1].poll32_events, POLLIN);
    kernel_completes(1, POLLIN);
    ops_reap(&ops, 100);
    cr_assert_eq(read.done_count, 0);
    enter();
    cr_assert_eq(fake.taken_count, 3);
    cr_assert_eq(fake.taken[2].opcode, IORING_OP_READ);
    cr_assert_eq(fake.taken[2].fd, 5);
    kernel_completes(2, 1);
    ops_reap(&ops, 100);
    expect_done(&read, 1);
    cr_assert_eq(ops.retry_count, 2);
    finish();
}

Test(op_fake, that_must_not_wait_reports_EAGAIN)
{
    struct noted noted = { .done_count = 0 };

    start(8);
    prep_recv(&noted.op, 5, NULL, 0, MSG_DONTWAIT);
    noted.op.on_done = note_done;
    cr_assert_eq(ops_submit(&ops, &noted.op), 0);
    enter();
    kernel_completes(0, -EAGAIN);
    ops_reap(&ops, 100);
    expect_done(&noted, -EAGAIN);
    finish();
}

Test(op_fake, whose_poll_fails_reports_that)
{
    struct noted read;

    start(8);
    submit_read(&read, 5);
    enter();
    kernel_completes(0, -EAGAIN);
    ops_reap(&ops, 100);
    enter();
    kernel_completes(1, -EBADF);
    ops_reap(&ops, 100);
    expect_done(&read, -EBADF);
    finish();
}

Test(op_fake, that_was_interrupted_by_nobody_of_ours_is_asked_again)
{
    struct noted read;

    start(8);
    submit_read(&read, 5);
    enter();
    kernel_completes(0, -EINTR);
    ops_reap(&ops, 100);
    cr_assert_eq(read.done_count, 0, "EINTR must not reach the caller");
    enter();
    cr_assert_eq(fake.taken[1].opcode, IORING_OP_READ);
    kernel_completes(1, 1);
    ops_reap(&ops, 100);
    expect_done(&read, 1);
    finish();
}

Test(op_fake, completing_twice_is_caught, .signal = SIGABRT)
{
    struct noted read;

    start(8);
    submit_read(&read, 5);
    enter();
    fake_post(fake.taken[0].user_data, 1);
    fake_post(fake.taken[0].user_data, 1);
    ops_reap(&ops, 100);
}

Test(op_fake, completing_a_stale_generation_is_caught, .signal = SIGABRT)
{
    struct noted read;
    uint64_t stale;

    start(8);
    submit_read(&read, 5);
    enter();
    stale = fake.taken[0].user_data;
    kernel_completes(0, 1);
    ops_reap(&ops, 100);
    submit_read(&read, 5); /* the same address */
    fake_post(stale, 1);
    ops_reap(&ops, 100);
}

Test(op_fake, submitted_twice_is_caught, .signal = SIGABRT)
{
    struct noted read;

    start(8);
    submit_read(&read, 5);
    (void)ops_submit(&ops, &read.op);
}

Test(op_fake, reap_takes_no_more_than_it_was_asked_to)
{
    enum { COUNT = 300 };
    static struct noted reads[COUNT];

    start(SQ_ROOM_MAX);
    for (int index = 0; index < COUNT; index++)
        submit_read(&reads[index], 5);
    enter();
    for (unsigned index = 0; index < COUNT; index++)
        kernel_completes(index, 1);
    cr_assert_eq(ops_reap(&ops, 100), 100);
    cr_assert_eq(done_total, 100);
    cr_assert_eq(ops_reap(&ops, 1000), 200);
    cr_assert_eq(ops_reap(&ops, 1000), 0);
    for (int index = 0; index < COUNT; index++)
        cr_assert_eq(done_order[index], &reads[index], "completed out of order");
    finish();
}

/* ---- cancelling ------------------------------------------------------------------------------ */

Test(op_fake, cancelled_in_the_backlog_is_done_at_once)
{
    static struct noted reads[6];

    start(4);
    fake.takes_at_most = 0;
    for (int index = 0; index < 6; index++)
        submit_read(&reads[index], 3);
    ops_cancel(&ops, &reads[4].op);
    expect_done(&reads[4], -ECANCELED);
    cr_assert_eq(ops.in_flight_count, 5);
    fake.takes_at_most = SQ_ROOM_MAX;
    enter();
    enter();
    cr_assert_eq(fake.taken_count, 5, "what was cancelled must not reach the kernel");
    for (unsigned index = 0; index < 5; index++)
        kernel_completes(index, 1);
    ops_reap(&ops, 100);
    expect_done(&reads[5], 1);
    finish();
}

Test(op_fake, cancel_names_the_op_by_its_user_data_and_no_descriptor)
{
    struct noted read;

    start(8);
    submit_read(&read, 5);
    ops_cancel(&ops, &read.op);
    cr_assert_eq(read.done_count, 0, "a cancel only asks");
    enter();
    cr_assert_eq(fake.taken_count, 2);
    cr_assert_eq(fake.taken[0].opcode, IORING_OP_READ,
                 "the cancel must come behind what it cancels");
    cr_assert_eq(fake.taken[1].opcode, IORING_OP_ASYNC_CANCEL);
    cr_assert_eq(fake.taken[1].addr, fake.taken[0].user_data);
    cr_assert_eq(fake.taken[1].cancel_flags, 0, "not by descriptor, not all");
    kernel_completes(1, 0);
    kernel_completes(0, -ECANCELED);
    cr_assert_eq(ops_reap(&ops, 100), 2);
    expect_done(&read, -ECANCELED);
    finish();
}

Test(op_fake, cancel_that_lost_leaves_the_result)
{
    struct noted read;

    start(8);
    submit_read(&read, 5);
    enter();
    ops_cancel(&ops, &read.op);
    enter();
    kernel_completes(0, 1);
    kernel_completes(1, -ENOENT);
    ops_reap(&ops, 100);
    expect_done(&read, 1);
    finish();
}

Test(op_fake, cancel_whose_own_completion_comes_last_or_first)
{
    struct noted reads[2];

    start(8);
    submit_read(&reads[0], 5);
    submit_read(&reads[1], 5);
    ops_cancel(&ops, &reads[0].op);
    ops_cancel(&ops, &reads[1].op);
    enter();
    kernel_completes(0, -ECANCELED);
    kernel_completes(2, 0);
    kernel_completes(3, -EALREADY);
    ops_reap(&ops, 100);
    expect_done(&reads[0], -ECANCELED);
    cr_assert_eq(reads[1].done_count, 0);
    kernel_completes(1, -EINTR); /* what a cancelled worker says */
    ops_reap(&ops, 100);
    expect_done(&reads[1], -EINTR);
    finish();
}

/* ENOENT does not mean that the op is gone: a request between two attempts of the kernel is
 * found nowhere. */
Test(op_fake, cancel_that_found_nothing_is_asked_again)
{
    struct noted read;
    unsigned last;

    start(8);
    submit_read(&read, 5);
    enter();
    ops_cancel(&ops, &read.op);
    enter();
    for (int round = 0; round < 3; round++) {
        last = fake.taken_count - 1;
        cr_assert_eq(fake.taken[last].opcode, IORING_OP_ASYNC_CANCEL);
        kernel_completes(last, -ENOENT);
        ops_reap(&ops, 100);
        cr_assert_eq(read.done_count, 0);
        enter();
        enter();
        cr_assert_eq(fake.taken_count, last + 2, "the cancel was lost");
        cr_assert_eq(fake.taken[last + 1].opcode, IORING_OP_ASYNC_CANCEL);
        cr_assert_eq(fake.taken[last + 1].addr, fake.taken[0].user_data);
    }
    kernel_completes(last + 1, 0);
    kernel_completes(0, -ECANCELED);
    ops_reap(&ops, 100);
    expect_done(&read, -ECANCELED);
    finish();
}

/* EALREADY: a worker has been told. Asking on would be a loop for as long as a disk takes. */
Test(op_fake, cancel_that_found_a_worker_at_it_is_not_asked_again)
{
    struct noted read;

    start(8);
    submit_read(&read, 5);
    ops_cancel(&ops, &read.op);
    enter();
    kernel_completes(1, -EALREADY);
    ops_reap(&ops, 100);
    enter();
    cr_assert_eq(fake.taken_count, 2);
    kernel_completes(0, 1);
    ops_reap(&ops, 100);
    expect_done(&read, 1);
    finish();
}

Test(op_fake, cancelled_twice_is_asked_once)
{
    struct noted read;

    start(8);
    submit_read(&read, 5);
    ops_cancel(&ops, &read.op);
    ops_cancel(&ops, &read.op);
    enter();
    cr_assert_eq(fake.taken_count, 2);
    cr_assert_eq(ops.cancel_count, 1);
    kernel_completes(1, 0);
    kernel_completes(0, -ECANCELED);
    ops_reap(&ops, 100);
    ops_cancel(&ops, &read.op); /* it is done: nothing to ask */
    enter();
    cr_assert_eq(fake.taken_count, 2);
    expect_done(&read, -ECANCELED);
    finish();
}

Test(op_fake, cancel_without_an_SQE_waits_and_goes_out_before_the_backlog)
{
    static struct noted reads[6];

    start(4);
    for (int index = 0; index < 4; index++)
        submit_read(&reads[index], 3);
    fake.enter_error = -EBUSY;
    fake.errors_left = 2;
    submit_read(&reads[4], 3); /* to the backlog */
    ops_cancel(&ops, &reads[1].op);
    cr_assert_not(list_empty(&ops.cancels));
    enter();
    enter();
    cr_assert_eq(fake.taken_count, 6);
    cr_assert_eq(fake.taken[4].opcode, IORING_OP_ASYNC_CANCEL);
    cr_assert_eq(fake.taken[4].addr, fake.taken[1].user_data);
    cr_assert_eq(fake.taken[5].opcode, IORING_OP_READ);
    for (unsigned index = 0; index < 6; index++)
        kernel_completes(index, index == 1 ? -ECANCELED : index == 4 ? 0 : 1);
    ops_reap(&ops, 100);
    expect_done(&reads[1], -ECANCELED);
    expect_done(&reads[4], 1);
    finish();
}

Test(op_fake, that_completes_while_its_cancel_waits_takes_it_back)
{
    static struct noted reads[4];

    start(4);
    for (int index = 0; index < 4; index++)
        submit_read(&reads[index], 3);
    enter();
    fake.sq_count = fake.sq_room;          /* others fill it */
    memset(fake.sq, 0xff, sizeof fake.sq); /* with cancels */
    fake.takes_at_most = 0;
    ops_cancel(&ops, &reads[2].op);
    cr_assert_not(list_empty(&ops.cancels));
    kernel_completes(2, 1);
    ops_reap(&ops, 100);
    expect_done(&reads[2], 1);
    cr_assert(list_empty(&ops.cancels), "a cancel is left over for an op that is gone");
    fake.sq_count = 0;
    kernel_completes(0, 1);
    kernel_completes(1, 1);
    kernel_completes(3, 1);
    ops_reap(&ops, 100);
    finish();
}

Test(op_fake, cancelled_while_it_polls_ends_and_is_not_asked_again)
{
    struct noted read;

    start(8);
    submit_read(&read, 5);
    enter();
    kernel_completes(0, -EAGAIN);
    ops_reap(&ops, 100);
    enter();
    ops_cancel(&ops, &read.op);
    enter();
    cr_assert_eq(fake.taken[2].opcode, IORING_OP_ASYNC_CANCEL);
    cr_assert_eq(fake.taken[2].addr, fake.taken[1].user_data);
    kernel_completes(1, POLLIN); /* the poll was faster than the cancel */
    kernel_completes(2, -ENOENT);
    ops_reap(&ops, 100);
    expect_done(&read, -ECANCELED);
    finish();
}

Test(op_fake, cancelled_before_its_EAGAIN_comes_ends_and_does_not_poll)
{
    struct noted read;

    start(8);
    submit_read(&read, 5);
    enter();
    ops_cancel(&ops, &read.op);
    enter();
    kernel_completes(0, -EAGAIN);
    kernel_completes(1, -ENOENT);
    ops_reap(&ops, 100);
    expect_done(&read, -ECANCELED);
    finish();
}

/* So no cancel is under way any more when the op's memory may be used for another one. */
Test(op_fake, that_has_completed_is_held_until_its_cancel_is_answered)
{
    struct noted read;

    start(8);
    submit_read(&read, 5);
    ops_cancel(&ops, &read.op);
    enter();
    kernel_completes(0, 1);
    ops_reap(&ops, 100);
    cr_assert_eq(read.done_count, 0, "its cancel may still hit what comes to lie there");
    cr_assert_eq(ops.in_flight_count, 1);
    kernel_completes(1, -ENOENT);
    ops_reap(&ops, 100);
    expect_done(&read, 1);
    enter();
    cr_assert_eq(fake.taken_count, 2, "the cancel was asked again for an op that has ended");
    finish();
}

/* ---- two completions ------------------------------------------------------------------------- */

static void submit_zero_copy(struct noted *noted, int fd)
{
    memset(noted, 0, sizeof *noted);
    prep_send_zc(&noted->op, fd, NULL, 0, 0);
    noted->op.on_done = note_done;
    cr_assert_eq(ops_submit(&ops, &noted->op), 0);
}

static void kernel_notifies(const struct noted *noted)
{
    fake_post_flags(noted->op.sqe.user_data, 0, IORING_CQE_F_NOTIF);
}

Test(op_fake, that_announces_a_notification_is_done_when_it_is_in)
{
    struct noted send;

    start(8);
    submit_zero_copy(&send, 5);
    enter();
    kernel_completes_with(0, 77, IORING_CQE_F_MORE);
    ops_reap(&ops, 100);
    cr_assert_eq(send.done_count, 0, "the kernel still reads its data");
    cr_assert_eq(ops.in_flight_count, 1);
    kernel_notifies(&send);
    ops_reap(&ops, 100);
    expect_done(&send, 77);
    finish();
}

Test(op_fake, that_announces_no_notification_is_done_at_once)
{
    struct noted send;

    start(8);
    submit_zero_copy(&send, 5);
    enter();
    kernel_completes(0, -EPIPE);
    ops_reap(&ops, 100);
    expect_done(&send, -EPIPE);
    finish();
}

Test(op_fake, with_a_notification_and_a_cancel_is_done_after_all_three_in_any_order)
{
    static const char *const orders[] = { "rnc", "rcn", "crn" }; /* result, notification, cancel */

    for (unsigned order = 0; order < 3; order++) {
        struct noted send;

        start(8);
        submit_zero_copy(&send, 5);
        enter();
        ops_cancel(&ops, &send.op);
        enter();
        for (const char *what = orders[order]; *what; what++) {
            cr_assert_eq(send.done_count, 0, "done before '%s'", what);
            if (*what == 'r')
                kernel_completes_with(0, 7, IORING_CQE_F_MORE);
            else if (*what == 'n')
                kernel_notifies(&send);
            else
                kernel_completes(1, -ENOENT);
            ops_reap(&ops, 100);
        }
        expect_done(&send, 7);
        enter();
        cr_assert_eq(ring_unsubmitted(&ops.ring), 0);
        finish();
    }
}

Test(op_fake, cancel_while_only_a_notification_is_due_asks_nobody)
{
    struct noted send;

    start(8);
    submit_zero_copy(&send, 5);
    enter();
    kernel_completes_with(0, 77, IORING_CQE_F_MORE);
    ops_reap(&ops, 100);
    ops_cancel(&ops, &send.op);
    enter();
    cr_assert_eq(fake.taken_count, 1);
    kernel_notifies(&send);
    ops_reap(&ops, 100);
    expect_done(&send, 77);
    finish();
}

Test(op_fake, that_failed_and_left_a_notification_is_not_asked_again)
{
    struct noted send;

    start(8);
    submit_zero_copy(&send, 5);
    enter();
    kernel_completes_with(0, -EAGAIN, IORING_CQE_F_MORE);
    ops_reap(&ops, 100);
    enter();
    cr_assert_eq(fake.taken_count, 1);
    kernel_notifies(&send);
    ops_reap(&ops, 100);
    expect_done(&send, -EAGAIN);
    finish();
}

Test(op_fake, that_failed_and_names_a_buffer_is_not_asked_again)
{
    struct noted receive = { .done_count = 0 };

    start(8);
    prep_recv_chosen(&receive.op, 5, 0, 0);
    receive.op.on_done = note_done;
    cr_assert_eq(ops_submit(&ops, &receive.op), 0);
    enter();
    kernel_completes_with(0, -EAGAIN, IORING_CQE_F_BUFFER | 3u << IORING_CQE_BUFFER_SHIFT);
    ops_reap(&ops, 100);
    expect_done(&receive, -EAGAIN);
    cr_assert_eq(receive.op.cqe_flags >> IORING_CQE_BUFFER_SHIFT, 3);
    finish();
}

Test(op_fake, notification_without_a_result_is_caught, .signal = SIGABRT)
{
    struct noted send;

    start(8);
    submit_zero_copy(&send, 5);
    enter();
    kernel_notifies(&send);
    ops_reap(&ops, 100);
}

/* ---- fences ---------------------------------------------------------------------------------- */

static void submit_fenced(struct noted *noted, int fd)
{
    memset(noted, 0, sizeof *noted);
    prep_write(&noted->op, fd, NULL, 0, 0);
    op_fence(&noted->op);
    noted->op.on_done = note_done;
    cr_assert_eq(ops_submit(&ops, &noted->op), 0);
}

Test(fence, follows_its_op_and_is_linked_to_it)
{
    struct noted writing;

    start(8);
    submit_fenced(&writing, 5);
    cr_assert_eq(fake.sq_count, 2);
    cr_assert(fake.sq[0].flags & IOSQE_IO_HARDLINK);
    cr_assert_eq(fake.sq[1].opcode, IORING_OP_NOP);
    cr_assert_eq(fake.sq[1].flags, 0);
    enter();
    kernel_completes(0, 3);
    kernel_completes(1, 0);
    ops_reap(&ops, 100);
    expect_done(&writing, 3);
    finish();
}

Test(fence, an_answer_alone_does_not_end_the_op)
{
    struct noted writing;

    start(8);
    submit_fenced(&writing, 5);
    enter();
    kernel_completes(0, 3);
    ops_reap(&ops, 100);
    cr_assert_eq(writing.done_count, 0);
    kernel_completes(1, 0);
    ops_reap(&ops, 100);
    expect_done(&writing, 3);
    finish();
}

Test(fence, that_a_partial_submit_cut_off_leaves_the_answer_alone_to_end_the_op)
{
    struct noted writing;

    start(8);
    submit_fenced(&writing, 5);
    fake.takes_at_most = 1;
    enter();
    enter();
    ops_reap(&ops, 100);
    cr_assert_eq(writing.done_count, 0);
    kernel_completes(0, 3);
    ops_reap(&ops, 100);
    expect_done(&writing, 3);
    finish();
}

Test(fence, comes_before_the_op_is_asked_again)
{
    struct noted writing;

    start(8);
    submit_fenced(&writing, 5);
    enter();
    kernel_completes(0, -EINTR);
    ops_reap(&ops, 100);
    cr_assert_eq(fake.sq_count, 0);
    kernel_completes(1, 0);
    ops_reap(&ops, 100);
    cr_assert_eq(fake.sq_count, 2, "asked again, with a fence of its own");
    enter();
    kernel_completes(2, 7);
    kernel_completes(3, 0);
    ops_reap(&ops, 100);
    expect_done(&writing, 7);
    finish();
}

/* The cancel found nothing because the answer is on its way: asking again would be for nothing. */
Test(fence, a_cancel_that_comes_behind_the_answer_is_not_repeated)
{
    struct noted writing;

    start(8);
    submit_fenced(&writing, 5);
    enter();
    kernel_completes(0, 3);
    ops_reap(&ops, 100);
    ops_cancel(&ops, &writing.op);
    enter();
    kernel_completes(2, -ENOENT);
    ops_reap(&ops, 100);
    enter();
    cr_assert_eq(fake.taken_count, 3);
    kernel_completes(1, 0);
    ops_reap(&ops, 100);
    expect_done(&writing, 3);
    finish();
}

Test(fence, a_cancel_that_found_no_room_is_forgotten_with_the_answer)
{
    struct noted writing;

    start(2);
    submit_fenced(&writing, 5);
    enter();
    fake.sq_count = fake.sq_room;          /* others fill it */
    memset(fake.sq, 0xff, sizeof fake.sq); /* with cancels */
    fake.takes_at_most = 0;
    ops_cancel(&ops, &writing.op);
    cr_assert(list_linked(&writing.op.queue_link));
    kernel_completes(0, 3);
    kernel_completes(1, 0);
    ops_reap(&ops, 100);
    expect_done(&writing, 3);
    cr_assert(list_empty(&ops.cancels));
    fake.sq_count = 0;
    finish();
}

Test(fence, that_finds_no_room_beside_its_op_waits_with_it)
{
    struct noted reading, writing;

    start(2);
    submit_read(&reading, 4);
    fake.takes_at_most = 0;
    submit_fenced(&writing, 5);
    cr_assert_eq(fake.sq_count, 1);
    fake.takes_at_most = SQ_ROOM_MAX;
    enter();
    enter();
    cr_assert_eq(fake.taken_count, 3);
    kernel_completes(0, 1);
    kernel_completes(1, 3);
    kernel_completes(2, 0);
    ops_reap(&ops, 100);
    expect_done(&reading, 1);
    expect_done(&writing, 3);
    finish();
}

Test(fence, has_room_in_the_smallest_ring)
{
    struct noted writing;

    start(1);
    submit_fenced(&writing, 5);
    cr_assert_eq(fake.sq_count, 2);
    enter();
    kernel_completes(0, 3);
    kernel_completes(1, 0);
    ops_reap(&ops, 100);
    expect_done(&writing, 3);
    finish();
}

/* ---- chains ---------------------------------------------------------------------------------- */

enum { LINKS = 3 };

/* One array of ops, as the op layer wants it. */
static struct op links[LINKS];
static int link_results[LINKS], links_done;

static void note_link(struct op *op)
{
    link_results[op - links] = op->result;
    links_done++;
}

/* Reads, one descriptor each: 5, 6, 7. */
static void submit_chain(void)
{
    links_done = 0;
    for (int index = 0; index < LINKS; index++) {
        prep_read(&links[index], 5 + index, NULL, 0, -1);
        links[index].sqe.flags = index + 1 < LINKS ? IOSQE_IO_LINK : 0;
        links[index].on_done = note_link;
    }
    cr_assert_eq(ops_submit_chain(&ops, links, LINKS), 0);
}

static void expect_links(int first, int second, int third)
{
    cr_assert_eq(links_done, LINKS, "%d are done", links_done);
    cr_assert_eq(link_results[0], first, "%d", link_results[0]);
    cr_assert_eq(link_results[1], second, "%d", link_results[1]);
    cr_assert_eq(link_results[2], third, "%d", link_results[2]);
}

Test(chain, is_one_run_in_the_SQ)
{
    start(8);
    submit_chain();
    enter();
    cr_assert_eq(fake.taken_count, 3);
    for (unsigned index = 0; index < LINKS; index++) {
        cr_assert_eq(fake.taken[index].fd, 5 + (int)index);
        kernel_completes(index, (int)index);
    }
    ops_reap(&ops, 100);
    expect_links(0, 1, 2);
    finish();
}

Test(chain, that_does_not_fit_into_the_rest_of_the_SQ_goes_behind_it)
{
    struct noted reads[2];

    start(4);
    submit_read(&reads[0], 3);
    submit_read(&reads[1], 3);
    submit_chain();
    cr_assert_eq(fake.enters, 1, "what was there is submitted first");
    cr_assert_eq(fake.taken_count, 2);
    cr_assert_eq(fake.sq_count, 3);
    enter();
    for (unsigned index = 0; index < 5; index++)
        kernel_completes(index, 1);
    ops_reap(&ops, 100);
    expect_links(1, 1, 1);
    finish();
}

Test(chain, waits_in_the_backlog_whole)
{
    struct noted reads[3], last;

    start(4);
    for (int index = 0; index < 3; index++)
        submit_read(&reads[index], 3);
    fake.takes_at_most = 1; /* room for two of three: not enough */
    submit_chain();
    submit_read(&last, 3);
    cr_assert_eq(links[0].state, OP_QUEUED);
    cr_assert_eq(links[2].state, OP_QUEUED);
    cr_assert_eq(last.op.state, OP_QUEUED, "it overtook the chain");
    fake.takes_at_most = SQ_ROOM_MAX;
    enter();
    enter();
    cr_assert_eq(fake.taken_count, 7);
    for (unsigned index = 0; index < 7; index++)
        kernel_completes(index, (int)index);
    ops_reap(&ops, 100);
    expect_links(3, 4, 5);
    finish();
}

Test(chain, cut_by_a_partial_submit_does_not_run_the_rest)
{
    struct noted read;

    start(8);
    submit_chain();
    submit_read(&read, 3);
    fake.takes_at_most = 1;
    enter();
    fake.takes_at_most = SQ_ROOM_MAX;
    enter();
    cr_assert_eq(fake.taken_count, 2, "the rest was submitted as if it stood alone");
    cr_assert_eq(fake.taken[1].fd, 3, "what stood behind the chain goes on");
    kernel_completes(0, 1);
    kernel_completes(1, 2);
    ops_reap(&ops, 100);
    expect_links(1, -ENOMEM, -ECANCELED);
    expect_done(&read, 2);
    finish();
}

Test(chain, submitted_in_two_goes_between_chains_is_not_cut)
{
    struct noted read;

    start(8);
    submit_read(&read, 3);
    submit_chain();
    fake.takes_at_most = 1;
    enter();
    fake.takes_at_most = SQ_ROOM_MAX;
    enter();
    cr_assert_eq(fake.taken_count, 4);
    for (unsigned index = 0; index < 4; index++)
        kernel_completes(index, 1);
    ops_reap(&ops, 100);
    expect_links(1, 1, 1);
    finish();
}

Test(chain, cancelled_in_the_backlog_goes_as_a_whole)
{
    struct noted reads[4];

    start(4);
    fake.takes_at_most = 0;
    for (int index = 0; index < 4; index++)
        submit_read(&reads[index], 3);
    submit_chain();
    ops_cancel(&ops, &links[1]);
    expect_links(-ECANCELED, -ECANCELED, -ECANCELED);
    fake.takes_at_most = SQ_ROOM_MAX;
    enter();
    cr_assert_eq(fake.taken_count, 4);
    for (unsigned index = 0; index < 4; index++)
        kernel_completes(index, 1);
    ops_reap(&ops, 100);
    finish();
}

Test(chain, close_of_one_descriptor_ends_it_in_the_backlog)
{
    struct noted reads[4];

    start(4);
    fake.takes_at_most = 0;
    for (int index = 0; index < 4; index++)
        submit_read(&reads[index], 3);
    submit_chain();
    cr_assert_eq(inflight_begin_close(&ops, 6, NULL), 0);
    inflight_end_close(&ops, 6);
    expect_links(-ECANCELED, -EBADF, -ECANCELED);
    fake.takes_at_most = SQ_ROOM_MAX;
    enter();
    for (unsigned index = 0; index < 4; index++)
        kernel_completes(index, 1);
    ops_reap(&ops, 100);
    finish();
}

/* Those behind it are in none of the kernel's tables: a cancel would find nothing, and be asked
 * again and again. */
Test(chain, cancel_goes_to_the_one_that_runs)
{
    start(8);
    submit_chain();
    enter();
    kernel_completes(0, 1);
    ops_reap(&ops, 100);
    ops_cancel(&ops, &links[2]);
    enter();
    cr_assert_eq(fake.taken_count, 4);
    cr_assert_eq(fake.taken[3].opcode, IORING_OP_ASYNC_CANCEL);
    cr_assert_eq(fake.taken[3].addr, links[1].sqe.user_data);
    kernel_completes(3, 0);
    kernel_completes(1, -ECANCELED);
    kernel_completes(2, -ECANCELED);
    ops_reap(&ops, 100);
    expect_links(1, -ECANCELED, -ECANCELED);
    enter();
    cr_assert_eq(fake.taken_count, 4, "a cancel for what has ended");
    finish();
}

Test(chain, cancel_that_lost_is_passed_on_to_the_next)
{
    start(8);
    submit_chain();
    enter();
    ops_cancel(&ops, &links[2]);
    kernel_completes(0, 1); /* faster: the second begins */
    ops_reap(&ops, 100);
    enter();
    kernel_completes(3, -ENOENT);
    ops_reap(&ops, 100);
    cr_assert_eq(fake.taken_count, 5);
    cr_assert_eq(fake.taken[4].addr, links[1].sqe.user_data);
    kernel_completes(4, 0);
    kernel_completes(1, -ECANCELED);
    kernel_completes(2, -ECANCELED);
    ops_reap(&ops, 100);
    expect_links(1, -ECANCELED, -ECANCELED);
    finish();
}

Test(chain, answers_are_passed_on_as_they_are)
{
    start(8);
    submit_chain();
    enter();
    kernel_completes(0, -EAGAIN);
    kernel_completes(1, -ECANCELED);
    kernel_completes(2, -EINTR);
    ops_reap(&ops, 100);
    expect_links(-EAGAIN, -ECANCELED, -EINTR);
    enter();
    cr_assert_eq(fake.taken_count, 3);
    finish();
}

Test(chain, on_a_descriptor_that_is_being_closed_is_refused_whole)
{
    struct noted read;

    start(8);
    submit_read(&read, 7);
    cr_assert_eq(inflight_begin_close(&ops, 7, &(struct closer){ NULL }), 1);
    for (int index = 0; index < LINKS; index++) {
        prep_read(&links[index], 5 + index, NULL, 0, -1);
        links[index].sqe.flags = index + 1 < LINKS ? IOSQE_IO_LINK : 0;
    }
    cr_assert_eq(ops_submit_chain(&ops, links, LINKS), -EBADF);
    cr_assert_eq(ops.in_flight_count, 1);
    cr_assert_null(inflight_at(&ops.inflight, 5)->ops);
    cr_assert_null(inflight_at(&ops.inflight, 6)->ops);
}

/* ---- closing --------------------------------------------------------------------------------- */

static int drained_count;

static void note_drained(struct closer *closer)
{
    (void)closer;
    drained_count++;
}

static struct closer closer = { .on_drained = note_drained };

Test(inflight, close_of_an_idle_descriptor_need_not_wait)
{
    start(8);
    cr_assert_eq(inflight_begin_close(&ops, 5, &closer), 0);
    inflight_end_close(&ops, 5);
    cr_assert_eq(drained_count, 0);
    finish();
}

Test(inflight, close_is_told_when_the_last_op_has_let_go)
{
    struct noted reads[2], other, accepting;

    start(16);
    submit_read(&reads[0], 5);
    submit_read(&reads[1], 5);
    submit_accept(&accepting, 5);
    submit_read(&other, 6);
    enter();
    cr_assert_eq(inflight_begin_close(&ops, 5, &closer), 1);
    enter();
    cr_assert_eq(fake.taken_count, 7, "three cancels, none for another descriptor");
    kernel_completes(0, -ECANCELED);
    kernel_completes(1, 1); /* was faster */
    ops_reap(&ops, 100);
    cr_assert_eq(drained_count, 0);
    kernel_completes(2, -EINTR);
    for (unsigned cancel = 4; cancel < 7; cancel++)
        kernel_completes(cancel, -EALREADY);
    ops_reap(&ops, 100);
    cr_assert_eq(drained_count, 1);
    expect_done(&reads[0], -EBADF);
    expect_done(&reads[1], 1);
    expect_done(&accepting, -EBADF);
    inflight_end_close(&ops, 5);
    kernel_completes(3, 1);
    ops_reap(&ops, 100);
    expect_done(&other, 1);
    finish();
}

Test(inflight, close_of_ops_that_the_kernel_never_saw_need_not_wait)
{
    static struct noted reads[7];

    start(4);
    fake.takes_at_most = 0;
    for (int index = 0; index < 7; index++)
        submit_read(&reads[index], index < 4 ? 3 : 5);
    cr_assert_eq(inflight_begin_close(&ops, 5, &closer), 0);
    for (int index = 4; index < 7; index++)
        expect_done(&reads[index], -EBADF);
    inflight_end_close(&ops, 5);
    cr_assert_eq(drained_count, 0);
    fake.takes_at_most = SQ_ROOM_MAX;
    enter();
    for (unsigned index = 0; index < 4; index++)
        kernel_completes(index, 1);
    ops_reap(&ops, 100);
    finish();
}

Test(inflight, close_under_way_refuses_ops_and_closes)
{
    struct noted read, late = { .done_count = 0 };

    start(8);
    submit_read(&read, 5);
    cr_assert_eq(inflight_begin_close(&ops, 5, &closer), 1);
    cr_assert_eq(inflight_begin_close(&ops, 5, &closer), -EBADF);
    prep_fsync(&late.op, 5, 0);
    cr_assert_eq(ops_submit(&ops, &late.op), -EBADF);
    cr_assert_eq(ops.in_flight_count, 1);
    enter();
    kernel_completes(0, -ECANCELED);
    kernel_completes(1, 0);
    ops_reap(&ops, 100);
    inflight_end_close(&ops, 5);
    submit_read(&read, 5); /* the number is free again */
    enter();
    kernel_completes(2, 1);
    ops_reap(&ops, 100);
    expect_done(&read, 1);
    finish();
}

Test(inflight, close_forgets_the_hints)
{
    start(8);
    inflight_at(&ops.inflight, 5)->is_socket = true;
    inflight_at(&ops.inflight, 5)->seems_drained = true;
    cr_assert_eq(inflight_begin_close(&ops, 5, &closer), 0);
    inflight_end_close(&ops, 5);
    cr_assert_not(inflight_at(&ops.inflight, 5)->is_socket);
    cr_assert_not(inflight_at(&ops.inflight, 5)->seems_drained);
    finish();
}

Test(inflight, numbers_past_the_table_are_no_descriptors)
{
    struct noted noted = { .done_count = 0 };

    start(8);
    cr_assert_null(inflight_at(&ops.inflight, -1));
    cr_assert_null(inflight_at(&ops.inflight, INT32_MAX));
    prep_fsync(&noted.op, -1, 0);
    cr_assert_eq(ops_submit(&ops, &noted.op), -EBADF);
    prep_fsync(&noted.op, INT32_MAX, 0);
    cr_assert_eq(ops_submit(&ops, &noted.op), -EBADF);
    cr_assert_eq(inflight_begin_close(&ops, -1, &closer), 0);
    inflight_end_close(&ops, -1);
    finish();
}

Test(inflight, a_number_was_used_until_it_is_closed)
{
    struct noted read;

    start(8);
    submit_read(&read, 5);
    cr_assert(inflight_ever_used(5));
    cr_assert_not(inflight_ever_used(6));
    enter();
    kernel_completes(0, 1);
    ops_reap(&ops, 100);
    cr_assert(inflight_ever_used(5));
    cr_assert_eq(inflight_begin_close(&ops, 5, &closer), 0);
    inflight_end_close(&ops, 5);
    cr_assert_not(inflight_ever_used(5));
    finish();
}
