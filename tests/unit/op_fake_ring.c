/*
 * The op layer above a ring that does what the test says: the functions of uring/ring.h are this
 * file's.
 *
 * The fake keeps what was pushed, takes as much at each enter as the script allows, and
 * completes what the test tells it to. So every answer a kernel may give, however rare, is given
 * here once: a full SQ, a partial submit, EAGAIN, EBUSY and EINTR from enter, -EAGAIN and -EINTR
 * in completions, cancels that win, lose or find no room.
 */
#include "uring/inflight.h"
#include "uring/op.h"
#include "uring/prep.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- the fake -------------------------------------------------------------------------------- */

enum { SQ_ROOM_MAX = 64, TAKEN_MAX = 16384, CQ_ROOM = 16384 };

static struct {
    struct io_uring_sqe sq[SQ_ROOM_MAX]; /* pushed, not taken by the "kernel" */
    unsigned sq_count, sq_room;

    struct io_uring_sqe
        taken[TAKEN_MAX]; /* in the kernel's hands, in order; user_data 0 once completed */
    unsigned taken_count;

    struct io_uring_cqe cq[CQ_ROOM];
    unsigned cq_head, cq_tail;

    unsigned takes_at_most; /* of the next enters: a partial submit */
    int enter_error;        /* what they say then, and they take nothing */
    unsigned errors_left;
    gring_ns last_wait;
    unsigned enters;
} fake;

int ring_open(struct ring *ring, unsigned entries)
{
    memset(ring, 0, sizeof *ring);
    memset(&fake, 0, sizeof fake);
    fake.sq_room = entries;
    fake.takes_at_most = SQ_ROOM_MAX;
    return 0;
}

void ring_close(struct ring *ring)
{
    (void)ring;
}

bool ring_push(struct ring *ring, const struct io_uring_sqe *sqe)
{
    (void)ring;
    if (fake.sq_count == fake.sq_room)
        return false;
    fake.sq[fake.sq_count++] = *sqe;
    return true;
}

unsigned ring_unsubmitted(const struct ring *ring)
{
    (void)ring;
    return fake.sq_count;
}

bool ring_wants_enter(const struct ring *ring)
{
    (void)ring;
    return false;
}

bool ring_has_completions(const struct ring *ring)
{
    (void)ring;
    return fake.cq_head != fake.cq_tail;
}

int ring_enter(struct ring *ring, gring_ns wait_ns)
{
    unsigned count = fake.sq_count < fake.takes_at_most ? fake.sq_count : fake.takes_at_most;

    (void)ring;
    fake.enters++;
    fake.last_wait = wait_ns;
    if (fake.errors_left > 0 && fake.errors_left--)
        return fake.enter_error;
    for (unsigned index = 0; index < count; index++) {
        cr_assert_lt(fake.taken_count, TAKEN_MAX);
        fake.taken[fake.taken_count++] = fake.sq[index];
    }
    memmove(fake.sq, fake.sq + count, (fake.sq_count - count) * sizeof *fake.sq);
    fake.sq_count -= count;
    return 0;
}

unsigned ring_reap(struct ring *ring, struct io_uring_cqe *cqes, unsigned max)
{
    unsigned count = 0;

    (void)ring;
    while (count < max && fake.cq_head != fake.cq_tail)
        cqes[count++] = fake.cq[fake.cq_head++ % CQ_ROOM];
    return count;
}

static void post(uint64_t user_data, int result)
{
    fake.cq[fake.cq_tail++ % CQ_ROOM] =
        (struct io_uring_cqe){ .user_data = user_data, .res = result };
}

/* Completes the SQE that the kernel took as number `index`. */
static void kernel_completes(unsigned index, int result)
{
    cr_assert_lt(index, fake.taken_count, "the kernel has not taken so many");
    cr_assert_neq(fake.taken[index].opcode, IORING_OP_NOP, "it was completed already");
    post(fake.taken[index].user_data, result);
    fake.taken[index].opcode = IORING_OP_NOP;
}

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
    post(fake.taken[0].user_data, 1);
    post(fake.taken[0].user_data, 1);
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
    post(stale, 1);
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
    fake.sq_count = fake.sq_room; /* others fill it */
    memset(fake.sq, 0, sizeof fake.sq);
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

/* ---- at random ------------------------------------------------------------------------------- */

enum { RANDOM_OPS = 64, RANDOM_STEPS = 20000, RANDOM_FDS = 6 };

static uint64_t random_state;

static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* The twin: what each op must report, kept the simple way. */
static struct random_op {
    struct noted noted;
    bool alive;
    int fd;
    bool closed, cancelled, got_result;
    int kernel_result;
} random_ops[RANDOM_OPS];

static bool random_closing[RANDOM_FDS];
static struct random_closer {
    struct closer closer;
    int fd;
} random_closers[RANDOM_FDS];

static void random_op_done(struct op *op)
{
    struct random_op *it = CONTAINER_OF(op, struct random_op, noted.op);
    int32_t result = op->result;

    cr_assert(it->alive, "done twice");
    it->alive = false;
    if (it->got_result && it->kernel_result >= 0)
        cr_assert_eq(result, it->kernel_result, "a result was taken away: %d", result);
    else if (it->closed && !it->cancelled) /* else either may have come first */
        cr_assert_eq(result, -EBADF, "result %d, kernel's %d", result, it->kernel_result);
    else if (it->closed)
        cr_assert(result == -EBADF || result == -ECANCELED || result == -EINTR);
    else
        cr_assert(result == -ECANCELED || result == -EINTR, "result %d, kernel's %d", result,
                  it->kernel_result);
}

static void random_drained(struct closer *one)
{
    int fd = CONTAINER_OF(one, struct random_closer, closer)->fd;

    for (int index = 0; index < RANDOM_OPS; index++)
        cr_assert_not(random_ops[index].alive && random_ops[index].fd == fd &&
                          random_ops[index].noted.op.state != OP_DONE,
                      "told too early");
    inflight_end_close(&ops, fd);
    random_closing[fd] = false;
}

static void random_submit(void)
{
    struct random_op *it = &random_ops[random_next() % RANDOM_OPS];
    int fd = (int)(random_next() % RANDOM_FDS), result;

    if (it->alive)
        return;
    prep_read(&it->noted.op, fd, NULL, 0, -1);
    it->noted.op.on_done = random_op_done;
    it->fd = fd;
    it->closed = it->cancelled = it->got_result = false;
    it->alive = true;
    result = ops_submit(&ops, &it->noted.op);
    cr_assert_eq(result, random_closing[fd] ? -EBADF : 0);
    it->alive = result == 0;
}

static void random_cancel(void)
{
    struct random_op *it = &random_ops[random_next() % RANDOM_OPS];

    if (it->alive) {
        it->cancelled = true;
        ops_cancel(&ops, &it->noted.op);
    }
}

static void random_close(void)
{
    int fd = (int)(random_next() % RANDOM_FDS), state;

    for (int index = 0; index < RANDOM_OPS; index++)
        if (random_ops[index].alive && random_ops[index].fd == fd && !random_closing[fd])
            random_ops[index].closed = true;
    random_closers[fd] = (struct random_closer){ { random_drained }, fd };
    if (random_closing[fd]) {
        cr_assert_eq(inflight_begin_close(&ops, fd, &closer), -EBADF);
        return;
    }
    state = inflight_begin_close(&ops, fd, &random_closers[fd].closer);
    cr_assert_geq(state, 0);
    random_closing[fd] = state > 0;
    if (state == 0)
        inflight_end_close(&ops, fd);
}

static struct random_op *owner_of(const struct io_uring_sqe *sqe)
{
    return CONTAINER_OF((struct op *)(uintptr_t)(sqe->user_data & 0xffffffffffff), struct random_op,
                        noted.op);
}

static bool was_cancel_taken(uint64_t user_data)
{
    for (unsigned index = 0; index < fake.taken_count; index++)
        if (fake.taken[index].addr == user_data &&
            fake.taken[index].opcode == IORING_OP_ASYNC_CANCEL)
            return true;
    return false;
}

static void end_as_cancelled(unsigned index)
{
    struct io_uring_sqe *sqe = &fake.taken[index];
    int answer = random_next() & 1 ? -ECANCELED : -EINTR;

    if (sqe->opcode == IORING_OP_READ) {
        owner_of(sqe)->got_result = true;
        owner_of(sqe)->kernel_result = answer;
    } else {
        answer = -ECANCELED;
    }
    kernel_completes(index, answer);
}

/* It finds its target and ends it, in either order; or finds it nowhere, be it gone or between
 * two attempts. */
static void answer_cancel(unsigned index)
{
    bool answer_first = random_next() & 1;
    unsigned target;

    for (target = 0; target < fake.taken_count; target++)
        if (fake.taken[target].user_data == fake.taken[index].addr &&
            fake.taken[target].opcode != IORING_OP_NOP)
            break;
    if (target == fake.taken_count || random_next() & 1) {
        kernel_completes(index, -ENOENT);
        return;
    }
    if (answer_first)
        kernel_completes(index, 0);
    end_as_cancelled(target);
    if (!answer_first)
        kernel_completes(index, random_next() & 1 ? 0 : -EALREADY);
}

/* Completes something that the kernel has: with a count, or as cancelled if that was asked, or
 * "not yet". */
static void random_complete(void)
{
    unsigned index = fake.taken_count ? (unsigned)(random_next() % fake.taken_count) : 0;
    struct io_uring_sqe *sqe = &fake.taken[index];
    static const int answers[] = { 0, 1, 77, -EAGAIN, -EINTR };
    int answer = answers[random_next() % 5];

    if (!fake.taken_count || sqe->opcode == IORING_OP_NOP)
        return;
    if (sqe->opcode == IORING_OP_ASYNC_CANCEL) {
        answer_cancel(index);
        return;
    }
    if (was_cancel_taken(sqe->user_data) && random_next() & 1)
        answer = random_next() & 1 ? -ECANCELED : -EINTR;
    if (sqe->opcode == IORING_OP_POLL_ADD) {
        if (answer >= 0 || answer == -EAGAIN || answer == -EINTR)
            answer = POLLIN;
    } else {
        owner_of(sqe)->got_result = true;
        owner_of(sqe)->kernel_result = answer;
    }
    kernel_completes(index, answer);
}

/* Forgets what is completed, so that the list of what the kernel has stays short. */
static void forget_completed(void)
{
    unsigned kept = 0;

    for (unsigned index = 0; index < fake.taken_count; index++)
        if (fake.taken[index].opcode != IORING_OP_NOP)
            fake.taken[kept++] = fake.taken[index];
    fake.taken_count = kept;
}

static void random_kernel_mood(void)
{
    static const int errors[] = { -EAGAIN, -EBUSY, -EINTR };

    fake.takes_at_most = (unsigned)(random_next() % 5);
    fake.enter_error = errors[random_next() % 3];
    fake.errors_left = (unsigned)(random_next() % 3);
}

static void settle(void)
{
    fake.errors_left = 0;
    fake.takes_at_most = SQ_ROOM_MAX;
    for (int round = 0; round < 1000 && ops.in_flight_count > 0; round++) {
        enter();
        for (unsigned index = 0; index < fake.taken_count; index++)
            if (fake.taken[index].opcode == IORING_OP_READ) {
                owner_of(&fake.taken[index])->got_result = true;
                owner_of(&fake.taken[index])->kernel_result = 5;
                kernel_completes(index, 5);
            } else if (fake.taken[index].opcode == IORING_OP_POLL_ADD) {
                kernel_completes(index, POLLIN);
            } else if (fake.taken[index].opcode == IORING_OP_ASYNC_CANCEL) {
                kernel_completes(index, -ENOENT);
            }
        ops_reap(&ops, 10000);
        forget_completed();
    }
}

static void live_through(uint64_t seed)
{
    random_state = seed * 0x9e3779b97f4a7c15u | 1;
    memset(random_ops, 0, sizeof random_ops);
    memset(random_closing, 0, sizeof random_closing);
    start(1 + (unsigned)(random_next() % 4));
    for (int step = 0; step < RANDOM_STEPS; step++) {
        switch (random_next() % 8) {
        case 0:
        case 1:
            random_submit();
            break;
        case 2:
            random_cancel();
            break;
        case 3:
            if (random_next() % 4 == 0)
                random_close();
            break;
        case 4:
            random_kernel_mood();
            break;
        case 5:
            enter();
            break;
        case 6:
            random_complete();
            break;
        default:
            ops_reap(&ops, 1 + (unsigned)(random_next() % 8));
            forget_completed();
        }
    }
    settle();
    for (int index = 0; index < RANDOM_OPS; index++)
        cr_assert_not(random_ops[index].alive, "op %d was never done", index);
    for (int fd = 0; fd < RANDOM_FDS; fd++)
        cr_assert_not(random_closing[fd], "the close of %d was never told", fd);
    finish();
}

Test(op_fake, every_random_history_ends_each_op_once_with_what_the_kernel_said)
{
    const char *given = getenv("GRING_SEED");
    uint64_t seed =
        given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 1000003 + (uint64_t)getpid();

    fprintf(stderr, "GRING_SEED=%" PRIu64 "\n", seed);
    for (int history = 0; history < 20; history++)
        live_through(seed + (uint64_t)history);
}
