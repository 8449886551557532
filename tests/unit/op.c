/*
 * The op layer against the kernel of this machine: a ring of its own, no hub, no tasks, except
 * where the hints are looked at that the calls above leave with a descriptor.
 */
#include "uring/op.h"
#include "runtime/hub.h"
#include "uring/prep.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <greenring/greenring.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x8
#endif

struct noted {
    struct op op;
    int done_count;
    int32_t result;
    unsigned place; /* how many were done before it */
    char buf[8];
};

static struct ops ops;
static unsigned done_total;

static void note_done(struct op *op)
{
    struct noted *noted = CONTAINER_OF(op, struct noted, op);

    noted->done_count++;
    noted->result = op->result;
    noted->place = done_total++;
}

static void start(unsigned entries)
{
    done_total = 0;
    cr_assert_eq(ops_open(&ops, entries), 0);
}

static void submit(struct noted *noted)
{
    noted->op.on_done = note_done;
    noted->done_count = 0;
    cr_assert_eq(ops_submit(&ops, &noted->op), 0);
}

static void submit_read(struct noted *noted, int fd)
{
    prep_read(&noted->op, fd, noted->buf, sizeof noted->buf, -1);
    submit(noted);
}

/* Enters and reaps without waiting until there is nothing more to get right now. */
static void turn(void)
{
    do
        (void)ops_enter(&ops, 0);
    while (ops_reap(&ops, 1000) > 0 || ring_wants_enter(&ops.ring) || ring_unsubmitted(&ops.ring) ||
           !list_empty(&ops.backlog));
}

/* Until so many are done. Not for ever: answers to cancels are no progress, and there may be
 * many. */
static void run_until(unsigned wanted)
{
    for (int idle = 0; done_total < wanted && idle < 1000;) {
        unsigned before = done_total;

        (void)ops_enter(&ops, 10 * CLOCK_MILLISECOND);
        ops_reap(&ops, 1000);
        idle = done_total > before ? 0 : idle + 1;
    }
    cr_assert_eq(done_total, wanted, "%u of %u ops are done", done_total, wanted);
}

static void finish(void)
{
    cr_assert_eq(ops.in_flight_count, 0);
    cr_assert(list_empty(&ops.backlog));
    cr_assert(list_empty(&ops.cancels));
    turn();
    ops_close(&ops);
}

static void make_pipe(int ends[2])
{
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0, "%m");
}

/* ---- submitting ------------------------------------------------------------------------------ */

Test(op, reads_what_is_there)
{
    struct noted read;
    int ends[2];

    start(8);
    make_pipe(ends);
    cr_assert_eq(write(ends[1], "abc", 3), 3);
    submit_read(&read, ends[0]);
    run_until(1);
    cr_assert_eq(read.result, 3);
    cr_assert_arr_eq(read.buf, "abc", 3);
    finish();
}

Test(op, waits_for_what_is_not_there_yet)
{
    struct noted read;
    int ends[2];

    start(8);
    make_pipe(ends);
    submit_read(&read, ends[0]);
    turn();
    cr_assert_eq(read.done_count, 0);
    cr_assert_eq(ops.in_flight_count, 1);
    cr_assert_eq(write(ends[1], "abc", 3), 3);
    run_until(1);
    cr_assert_eq(read.result, 3);
    finish();
}

Test(op, a_thousand_fit_through_a_ring_of_four)
{
    enum { COUNT = 1000 };
    static struct noted reads[COUNT];
    int ends[2];

    start(4);
    make_pipe(ends);
    for (int index = 0; index < COUNT; index++)
        submit_read(&reads[index], ends[0]);
    cr_assert_eq(ops.in_flight_count, COUNT);
    turn();
    cr_assert_eq(done_total, 0);
    for (int index = 0; index < COUNT; index++) {
        cr_assert_eq(write(ends[1], "x", 1), 1);
        run_until((unsigned)index + 1);
    }
    for (int index = 0; index < COUNT; index++) {
        cr_assert_eq(reads[index].done_count, 1);
        cr_assert_eq(reads[index].result, 1);
    }
    cr_assert_eq(ops.ring.submit_count, COUNT);
    finish();
}

Test(op, that_completes_at_once_completes_in_order)
{
    enum { COUNT = 1000 };
    static struct noted writes[COUNT];
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

    start(4);
    for (int index = 0; index < COUNT; index++) {
        prep_write(&writes[index].op, fd, "x", 1, -1);
        submit(&writes[index]);
    }
    run_until(COUNT);
    for (unsigned index = 0; index < COUNT; index++)
        cr_assert_eq(writes[index].place, index);
    finish();
}

/* ---- overflow -------------------------------------------------------------------------------- */

Test(op, completions_beyond_the_CQ_all_arrive_once)
{
    enum { CQ = 4096, COUNT = 3 * CQ };
    static struct noted writes[COUNT];
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

    start(64);
    cr_assert_eq(ops.ring.uring.cq.ring_entries, CQ, "this test wants the smallest CQ");
    for (int index = 0; index < COUNT; index++) { /* nobody reaps meanwhile */
        prep_write(&writes[index].op, fd, "x", 1, -1);
        submit(&writes[index]);
    }
    (void)ops_enter(&ops, 0);
    run_until(COUNT);
    for (int index = 0; index < COUNT; index++) {
        cr_assert_eq(writes[index].done_count, 1, "op %d was done %d times", index,
                     writes[index].done_count);
        cr_assert_eq(writes[index].result, 1);
    }
    cr_assert_gt(ops.ring.overflow_count, 0, "there was no overflow");
    finish();
}

Test(op, waiting_ones_beyond_the_CQ_all_arrive_once)
{
    enum { COUNT = 6000 };
    static struct noted reads[COUNT];
    int fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
    uint64_t all = COUNT;

    start(64);
    for (int index = 0; index < COUNT; index++)
        submit_read(&reads[index], fd);
    turn();
    cr_assert_eq(done_total, 0);
    cr_assert_eq(write(fd, &all, sizeof all), sizeof all);
    run_until(COUNT);
    for (int index = 0; index < COUNT; index++) {
        cr_assert_eq(reads[index].done_count, 1);
        cr_assert_eq(reads[index].result, 8);
    }
    finish();
}

/* ---- cancelling ------------------------------------------------------------------------------ */

Test(op, cancelled_before_the_kernel_saw_it)
{
    struct noted read;
    int ends[2];

    start(8);
    make_pipe(ends);
    submit_read(&read, ends[0]);
    ops_cancel(&ops, &read.op); /* pushed, not submitted: both go with the next enter */
    run_until(1);
    cr_assert_eq(read.result, -ECANCELED);
    finish();
}

Test(op, cancelled_while_it_waits)
{
    struct noted reads[2];
    int ends[2];

    start(8);
    make_pipe(ends);
    submit_read(&reads[0], ends[0]);
    submit_read(&reads[1], ends[0]);
    turn();
    ops_cancel(&ops, &reads[1].op);
    run_until(1);
    cr_assert_eq(reads[1].result, -ECANCELED);
    cr_assert_eq(reads[0].done_count, 0, "the other one was hit");
    cr_assert_eq(write(ends[1], "abc", 3), 3);
    run_until(2);
    cr_assert_eq(reads[0].result, 3);
    finish();
}

Test(op, cancelled_after_its_completion_was_posted_keeps_its_result)
{
    struct noted read;
    int ends[2];

    start(8);
    make_pipe(ends);
    submit_read(&read, ends[0]);
    (void)ops_enter(&ops, 0);
    cr_assert_eq(write(ends[1], "abc", 3), 3);
    (void)ops_enter(&ops, CLOCK_SECOND); /* the completion is in the CQ, not reaped */
    cr_assert(ring_has_completions(&ops.ring));
    ops_cancel(&ops, &read.op);
    run_until(1);
    cr_assert_eq(read.result, 3);
    cr_assert_arr_eq(read.buf, "abc", 3);
    finish();
}

Test(op, cancelled_after_its_end_is_not_asked_for)
{
    struct noted read;
    int ends[2];

    start(8);
    make_pipe(ends);
    cr_assert_eq(write(ends[1], "abc", 3), 3);
    submit_read(&read, ends[0]);
    run_until(1);
    ops_cancel(&ops, &read.op);
    cr_assert_eq(ring_unsubmitted(&ops.ring), 0);
    finish();
}

Test(op, a_late_cancel_does_not_hit_a_later_op_at_the_same_address)
{
    struct noted read;
    int ends[2];

    start(8);
    make_pipe(ends);
    for (int round = 0; round < 100; round++) {
        submit_read(&read, ends[0]);
        (void)ops_enter(&ops, 0);
        cr_assert_eq(write(ends[1], "abc", 3), 3);
        (void)ops_enter(&ops, CLOCK_SECOND);
        ops_cancel(&ops, &read.op); /* pushed only: whatever it is going to say is still to come */
        while (!read.done_count) {
            ops_reap(&ops, 100);
            (void)ops_enter(&ops, 0);
        }
        cr_assert_eq(read.result, 3);
        submit_read(&read, ends[0]);
        turn();
        cr_assert_eq(read.done_count, 0, "round %d: result %d", round, read.result);
        cr_assert_eq(write(ends[1], "x", 1), 1);
        done_total = 0;
        run_until(1);
        cr_assert_eq(read.result, 1);
    }
    finish();
}

/* Between two attempts the kernel's cancel does not find a request; see op.h. */
Test(op, cancelled_between_two_attempts_ends_all_the_same)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    socklen_t length = sizeof(sa_family_t);
    struct noted connecting;
    int fds[3];

    start(8);
    for (int index = 0; index < 3; index++)
        fds[index] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fds[0], (struct sockaddr *)&address, length), 0);
    cr_assert_eq(listen(fds[0], 0), 0);
    length = sizeof address;
    cr_assert_eq(getsockname(fds[0], (struct sockaddr *)&address, &length), 0);
    cr_assert_eq(connect(fds[1], (struct sockaddr *)&address, length), 0); /* the backlog is full */
    for (int enters = 0; enters < 150; enters += 7) {
        prep_connect(&connecting.op, fds[2], (struct sockaddr *)&address, length);
        submit(&connecting);
        for (int index = 0; index < enters; index++)
            (void)ops_enter(&ops, 0);
        ops_cancel(&ops, &connecting.op);
        done_total = 0;
        run_until(1);
        cr_assert(connecting.result == -ECANCELED || connecting.result == -EINTR, "%d",
                  connecting.result);
    }
    finish();
}

Test(op, thousands_can_be_cancelled_through_a_ring_of_four)
{
    enum { COUNT = 3000 };
    static struct noted reads[COUNT];
    int ends[2];

    start(4);
    make_pipe(ends);
    for (int index = 0; index < COUNT; index++)
        submit_read(&reads[index], ends[0]);
    turn();
    for (int index = 0; index < COUNT; index++)
        ops_cancel(&ops, &reads[index].op);
    run_until(COUNT);
    for (int index = 0; index < COUNT; index++)
        cr_assert_eq(reads[index].result, -ECANCELED);
    cr_assert_eq(ops.cancel_count, COUNT);
    finish();
}

/* ---- EAGAIN ---------------------------------------------------------------------------------- */

/*
 * What makes this kernel answer -EAGAIN reliably is asking it not to wait. Here the op layer is
 * told that this answer is not to be taken for one, as on kernels and files that give it
 * unasked.
 */
Test(op, that_met_EAGAIN_waits_for_the_descriptor_and_is_asked_again)
{
    struct noted recv;
    int ends[2];

    start(8);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    prep_recv(&recv.op, ends[0], recv.buf, sizeof recv.buf, MSG_DONTWAIT);
    recv.op.retry_events = POLLIN;
    submit(&recv);
    turn();
    cr_assert_eq(recv.done_count, 0, "result %d", recv.result);
    cr_assert(recv.op.polling);
    cr_assert_eq(ops.retry_count, 1);
    cr_assert_eq(write(ends[1], "abc", 3), 3);
    run_until(1);
    cr_assert_eq(recv.result, 3);
    cr_assert_arr_eq(recv.buf, "abc", 3);
    cr_assert_eq(ops.retry_count, 2);
    finish();
}

Test(op, that_polls_after_EAGAIN_can_be_cancelled)
{
    struct noted recv;
    int ends[2];

    start(8);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    prep_recv(&recv.op, ends[0], recv.buf, sizeof recv.buf, MSG_DONTWAIT);
    recv.op.retry_events = POLLIN;
    submit(&recv);
    turn();
    cr_assert(recv.op.polling);
    ops_cancel(&ops, &recv.op);
    run_until(1);
    cr_assert_eq(recv.result, -ECANCELED);
    finish();
}

Test(op, that_must_not_wait_reports_EAGAIN)
{
    struct noted noted;
    struct iovec part = { noted.buf, sizeof noted.buf };
    int ends[2];

    if (!probe_pipe_nowait())
        cr_skip_test("this kernel's pipes take no RWF_NOWAIT");
    start(8);
    make_pipe(ends);
    prep_readv(&noted.op, ends[0], &part, 1, -1, RWF_NOWAIT);
    submit(&noted);
    run_until(1);
    cr_assert_eq(noted.result, -EAGAIN);
    finish();
}

/* ---- descriptors ----------------------------------------------------------------------------- */

Test(op, on_a_bad_descriptor_fails_and_leaves_no_count)
{
    struct noted read;
    int closed = dup(0);

    start(8);
    close(closed);
    submit_read(&read, closed); /* a number that could be one: the kernel says */
    run_until(1);
    cr_assert_eq(read.result, -EBADF);
    cr_assert_null(inflight_at(&ops.inflight, closed)->ops);
    prep_read(&read.op, -1, read.buf, 1, -1);
    read.op.on_done = note_done;
    cr_assert_eq(ops_submit(&ops, &read.op), -EBADF);
    finish();
}

static void count_drained(struct closer *closer)
{
    (void)closer;
    done_total += 1000;
}

Test(op, on_a_descriptor_that_is_being_closed_reports_EBADF)
{
    struct closer closer = { .on_drained = count_drained };
    struct noted reads[3], other;
    int ends[2], copy;

    start(8);
    make_pipe(ends);
    copy = dup(ends[0]);
    for (int index = 0; index < 3; index++)
        submit_read(&reads[index], ends[0]);
    submit_read(&other, copy);
    turn();
    cr_assert_eq(inflight_begin_close(&ops, ends[0], &closer), 1);
    run_until(1003);
    inflight_end_close(&ops, ends[0]);
    for (int index = 0; index < 3; index++)
        cr_assert_eq(reads[index].result, -EBADF);
    cr_assert_eq(other.done_count, 0, "an op on the duplicate was hit");
    cr_assert_eq(write(ends[1], "abc", 3), 3);
    run_until(1004);
    cr_assert_eq(other.result, 3);
    finish();
}

/* ---- hints ----------------------------------------------------------------------------------- */

/* They cost no correctness when they are wrong, so only from inside can one see that they are
 * right. */
static void *use_hints(void *unused)
{
    struct inflight *table = &hub_self()->ops.inflight;
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), client, server;
    char buf[4];

    (void)unused;
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, length), 0);
    cr_assert_eq(listen(listener, 1), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(client, (struct sockaddr *)&address, length), 0);
    server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    cr_assert_eq(send(client, "abcd", 4, 0), 4);
    cr_assert_eq(gring_recv(server, buf, 2, 0), 2);
    cr_expect_not(inflight_at(table, server)->seems_drained, "two bytes were left");
    cr_assert_eq(gring_recv(server, buf, 2, 0), 2);
    cr_expect(inflight_at(table, server)->seems_drained, "nothing was left");
    cr_expect_not(inflight_at(table, server)->is_socket);
    cr_assert_eq(gring_write_full(server, buf, 2, NULL), 2);
    cr_expect(inflight_at(table, server)->is_socket);
    cr_assert_eq(gring_close(server), 0);
    cr_expect_not(inflight_at(table, server)->seems_drained, "a close forgets");
    close(client);
    close(listener);
    return NULL;
}

Test(op, hints_say_what_was_seen_last)
{
    cr_assert_eq(gring_run(use_hints, NULL, NULL), 0);
}

/* ---- limits ---------------------------------------------------------------------------------- */

Test(op, a_transfer_is_cut_as_read_cuts_it)
{
    struct op op;

    prep_read(&op, 0, NULL, (size_t)5 << 30, -1);
    cr_assert_eq(op.sqe.len, 0x7ffff000);
    prep_send(&op, 0, NULL, SIZE_MAX, 0);
    cr_assert_eq(op.sqe.len, 0x7ffff000);
    prep_write(&op, 0, NULL, 17, 5);
    cr_assert_eq(op.sqe.len, 17);
    cr_assert_eq(op.sqe.off, 5);
}

Test(op, each_prep_knows_what_to_wait_for_after_EAGAIN)
{
    struct op op;

    prep_read(&op, 3, NULL, 1, -1);
    cr_expect_eq(op.retry_events, POLLIN);
    prep_write(&op, 3, NULL, 1, -1);
    cr_expect_eq(op.retry_events, POLLOUT);
    prep_readv(&op, 3, NULL, 1, -1, 0);
    cr_expect_eq(op.retry_events, POLLIN);
    prep_writev(&op, 3, NULL, 1, -1, 0);
    cr_expect_eq(op.retry_events, POLLOUT);
    prep_recv(&op, 3, NULL, 1, MSG_PEEK);
    cr_expect_eq(op.retry_events, POLLIN);
    prep_send(&op, 3, NULL, 1, MSG_NOSIGNAL);
    cr_expect_eq(op.retry_events, POLLOUT);
    prep_accept(&op, 3, NULL, NULL, 0);
    cr_expect_eq(op.retry_events, POLLIN);
    prep_recv(&op, 3, NULL, 1, MSG_DONTWAIT);
    cr_expect_eq(op.retry_events, 0);
    prep_send(&op, 3, NULL, 1, MSG_DONTWAIT);
    cr_expect_eq(op.retry_events, 0);
    prep_writev(&op, 3, NULL, 1, -1, RWF_NOWAIT);
    cr_expect_eq(op.retry_events, 0);
    prep_connect(&op, 3, NULL, 0); /* its EAGAIN means that no local port is free */
    cr_expect_eq(op.retry_events, 0);
}

Test(op, ring_closed_with_ops_in_flight_is_caught, .signal = SIGABRT)
{
    struct noted read;
    int ends[2];

    start(8);
    make_pipe(ends);
    submit_read(&read, ends[0]);
    ops_close(&ops);
}
