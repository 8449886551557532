/* The ring itself: greenring/uring.h but for the pool, which is in buffers.c. */
#include "tests/support/child.h"
#include "tests/support/faketime.h"
#include "tests/support/fds.h"
#include "tests/support/green.h"

#include <greenring/uring.h>
#include <linux/time_types.h>
#include <poll.h>
#include <sys/uio.h>

static struct io_uring_sqe sqe_on(unsigned opcode, int fd, const void *buf, size_t size)
{
    return (struct io_uring_sqe){ .opcode = (uint8_t)opcode,
                                  .fd = fd,
                                  .off = (uint64_t)-1,
                                  .addr = (uint64_t)(uintptr_t)buf,
                                  .len = (uint32_t)size };
}

static struct io_uring_sqe nop(void)
{
    return (struct io_uring_sqe){ .opcode = IORING_OP_NOP };
}

static gring_task *start(gring_fn fn, void *arg)
{
    gring_task *task = gring_spawn(fn, arg);

    cr_assert_eq(gring_idle(), 0);
    return task;
}

static int fds[2];
static int outcome, outcome_errno;

/* ---- one operation --------------------------------------------------------------------------- */

GreenTest(uring_op, returns_what_the_completion_says)
{
    struct io_uring_sqe write, read;
    uint32_t flags = 77;
    char got[4];

    make_pipe(fds);
    write = sqe_on(IORING_OP_WRITE, fds[1], "abc", 3);
    read = sqe_on(IORING_OP_READ, fds[0], got, sizeof got);
    write.user_data = 12345; /* ignored */
    cr_assert_eq(gring_uring_op(&write, NULL), 3);
    cr_assert_eq(gring_uring_op(&read, &flags), 3);
    cr_assert_arr_eq(got, "abc", 3);
    cr_assert_eq(flags, 0);
    cr_assert_eq(write.user_data, 12345, "the caller's SQE is only copied");
}

GreenTest(uring_op, fails_with_the_kernels_errno)
{
    struct io_uring_sqe read = sqe_on(IORING_OP_READ, 9999, NULL, 1);

    cr_assert_eq(gring_uring_op(&read, NULL), -1);
    cr_assert_eq(errno, EBADF);
}

static void *read_one(void *buf)
{
    struct io_uring_sqe read = sqe_on(IORING_OP_READ, fds[0], buf, 1);

    outcome = gring_uring_op(&read, NULL);
    outcome_errno = errno;
    return NULL;
}

GreenTest(uring_op, is_ended_by_a_kill)
{
    char byte;
    gring_task *task;

    make_pipe(fds);
    task = start(read_one, &byte);
    gring_kill(task);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    cr_assert_eq(outcome, -1);
    cr_assert_eq(outcome_errno, ECANCELED);
}

FakeTimeTest(uring_op, is_ended_by_a_deadline)
{
    gring_timeout limit;
    char byte;
    struct io_uring_sqe read;

    make_pipe(fds);
    read = sqe_on(IORING_OP_READ, fds[0], &byte, 1);
    gring_timeout_start(&limit, 0);
    cr_assert_eq(gring_uring_op(&read, NULL), -1);
    cr_assert_eq(errno, ETIMEDOUT);
    gring_timeout_stop(&limit);
}

GreenTest(uring_op, is_ended_by_a_close_of_its_descriptor)
{
    char byte;
    gring_task *task;

    make_pipe(fds);
    task = start(read_one, &byte);
    cr_assert_eq(gring_close(fds[0]), 0);
    gring_join(task, NULL);
    cr_assert_eq(outcome_errno, EBADF);
}

GreenTest(uring_op, of_an_opcode_without_a_descriptor_leaves_descriptor_0_alone)
{
    struct __kernel_timespec pause = { .tv_nsec = 1000 };
    struct io_uring_sqe timeout = { .opcode = IORING_OP_TIMEOUT,
                                    .addr = (uint64_t)(uintptr_t)&pause,
                                    .len = 1 };

    cr_assert_eq(gring_uring_op(&timeout, NULL), -1);
    cr_assert_eq(errno, ETIME);
}

GreenTest(uring_op, EAGAIN_is_passed_on)
{
    struct io_uring_sqe receive;
    char byte;

    make_unix_pair(fds);
    receive = sqe_on(IORING_OP_RECV, fds[0], &byte, 1);
    receive.off = 0;
    receive.msg_flags = MSG_DONTWAIT;
    cr_assert_eq(gring_uring_op(&receive, NULL), -1);
    cr_assert_eq(errno, EAGAIN);
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void expect_refused(struct io_uring_sqe sqe, const char *what)
{
    errno = 0;
    cr_assert_eq(gring_uring_op(&sqe, NULL), -1, "%s", what);
    cr_assert_eq(errno, EINVAL, "%s: %m", what);
    cr_assert_eq(gring_uring_batch(&sqe, 1, (int32_t[1]){ 0 }), -1, "%s", what);
    cr_assert_eq(errno, EINVAL, "%s: %m", what);
}

GreenTest(uring_op, that_would_break_the_runtime_is_refused)
{
    static const uint8_t opcodes[] = { IORING_OP_POLL_REMOVE,
                                       IORING_OP_TIMEOUT_REMOVE,
                                       IORING_OP_ASYNC_CANCEL,
                                       IORING_OP_LINK_TIMEOUT,
                                       IORING_OP_MSG_RING,
                                       IORING_OP_FILES_UPDATE,
                                       49 /* READ_MULTISHOT */,
                                       58 /* RECV_ZC */,
                                       63,
                                       200 };
    static const uint8_t flags[] = { IOSQE_CQE_SKIP_SUCCESS, IOSQE_IO_DRAIN, IOSQE_IO_LINK,
                                     IOSQE_IO_HARDLINK };

    for (unsigned index = 0; index < sizeof opcodes; index++) {
        expect_refused((struct io_uring_sqe){ .opcode = opcodes[index] }, "opcode");
        cr_assert_not(gring_uring_has(opcodes[index]), "%u", opcodes[index]);
    }
    for (unsigned index = 0; index < sizeof flags; index++)
        expect_refused((struct io_uring_sqe){ .flags = flags[index] }, "flag");
}

GreenTest(uring_op, that_completes_again_and_again_is_refused)
{
    expect_refused(
        (struct io_uring_sqe){ .opcode = IORING_OP_POLL_ADD, .len = IORING_POLL_ADD_MULTI },
        "poll");
    expect_refused(
        (struct io_uring_sqe){ .opcode = IORING_OP_ACCEPT, .ioprio = IORING_ACCEPT_MULTISHOT },
        "accept");
    expect_refused(
        (struct io_uring_sqe){ .opcode = IORING_OP_RECV, .ioprio = IORING_RECV_MULTISHOT }, "recv");
    expect_refused(
        (struct io_uring_sqe){ .opcode = IORING_OP_RECVMSG, .ioprio = IORING_RECV_MULTISHOT },
        "recvmsg");
    expect_refused((struct io_uring_sqe){ .opcode = IORING_OP_TIMEOUT, .timeout_flags = 1u << 6 },
                   "timeout");
    expect_refused((struct io_uring_sqe){ .opcode = IORING_OP_URING_CMD, .uring_cmd_flags = 2 },
                   "uring_cmd");
}

GreenTest(uring_op, on_the_pools_buffers_is_refused)
{
    expect_refused((struct io_uring_sqe){ .opcode = IORING_OP_RECV,
                                          .flags = IOSQE_BUFFER_SELECT,
                                          .buf_group = 65535 },
                   "recv");
    expect_refused((struct io_uring_sqe){ .opcode = IORING_OP_PROVIDE_BUFFERS, .buf_group = 65535 },
                   "provide");
    expect_refused((struct io_uring_sqe){ .opcode = IORING_OP_REMOVE_BUFFERS, .buf_group = 65535 },
                   "remove");
}

GreenTest(uring_op, may_use_buffer_groups_of_its_own)
{
    char memory[2][8];
    uint32_t flags = 0;
    struct io_uring_sqe provide = { .opcode = IORING_OP_PROVIDE_BUFFERS,
                                    .fd = 2, /* buffers */
                                    .addr = (uint64_t)(uintptr_t)memory,
                                    .len = 8,
                                    .buf_group = 3 };
    struct io_uring_sqe receive = {
        .opcode = IORING_OP_RECV, .flags = IOSQE_BUFFER_SELECT, .len = 8, .buf_group = 3
    };

    make_unix_pair(fds);
    cr_assert_eq(gring_uring_op(&provide, NULL), 0, "%m");
    receive.fd = fds[0];
    cr_assert_eq(send(fds[1], "abc", 3, 0), 3);
    cr_assert_eq(gring_uring_op(&receive, &flags), 3, "%m");
    cr_assert(flags & IORING_CQE_F_BUFFER);
    cr_assert_arr_eq(memory[flags >> IORING_CQE_BUFFER_SHIFT], "abc", 3);
}

GreenTest(uring_has, tells_what_the_kernel_has)
{
    cr_assert(gring_uring_has(IORING_OP_NOP));
    cr_assert(gring_uring_has(IORING_OP_SEND));
    cr_assert_not(gring_uring_has(-1));
    cr_assert_not(gring_uring_has(256));
}

Test(uring_op, needs_a_hub)
{
    struct io_uring_sqe sqe = nop();
    int32_t result;

    cr_assert_eq(gring_uring_op(&sqe, NULL), -1);
    cr_assert_eq(errno, EPERM);
    cr_assert_eq(gring_uring_batch(&sqe, 1, &result), -1);
    cr_assert_eq(gring_uring_chain(&sqe, 1, &result), -1);
    cr_assert_eq(errno, EPERM);
    cr_assert(gring_uring_has(IORING_OP_NOP));
}

/* ---- chains ---------------------------------------------------------------------------------- */

GreenTest(uring_chain, runs_in_order)
{
    struct io_uring_sqe sqes[3];
    int32_t results[3];
    char got[3] = "";

    make_pipe(fds);
    sqes[0] = sqe_on(IORING_OP_WRITE, fds[1], "ab", 2);
    sqes[1] = sqe_on(IORING_OP_WRITE, fds[1], "c", 1);
    sqes[2] = sqe_on(IORING_OP_READ, fds[0], got, 3);
    cr_assert_eq(gring_uring_chain(sqes, 3, results), 3);
    cr_assert_arr_eq(got, "abc", 3);
    cr_assert_arr_eq(results, ((int32_t[]){ 2, 1, 3 }), sizeof results);
}

GreenTest(uring_chain, ends_at_the_first_failure)
{
    struct io_uring_sqe sqes[3] = { nop(), sqe_on(IORING_OP_READ, 9999, NULL, 1), nop() };
    int32_t results[3];

    cr_assert_eq(gring_uring_chain(sqes, 3, results), 1);
    cr_assert_arr_eq(results, ((int32_t[]){ 0, -EBADF, -ECANCELED }), sizeof results);
}

GreenTest(uring_chain, goes_on_after_a_failure_over_a_hard_link)
{
    struct io_uring_sqe sqes[3] = { sqe_on(IORING_OP_READ, 9999, NULL, 1), nop(), nop() };
    int32_t results[3];

    sqes[0].flags = IOSQE_IO_HARDLINK;
    cr_assert_eq(gring_uring_chain(sqes, 3, results), 2);
    cr_assert_arr_eq(results, ((int32_t[]){ -EBADF, 0, 0 }), sizeof results);
}

GreenTest(uring_chain, of_nothing_is_nothing_and_of_too_many_refused)
{
    struct io_uring_sqe sqes[2] = { nop(), nop() };
    int32_t results[2] = { 7, 7 };

    cr_assert_eq(gring_uring_chain(sqes, 0, results), 0);
    cr_assert_eq(gring_uring_chain(sqes, -1, results), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_uring_chain(sqes, 100000, results), -1);
    cr_assert_eq(errno, EINVAL);
    sqes[1].flags = IOSQE_IO_LINK;
    cr_assert_eq(gring_uring_chain(sqes, 2, results), -1, "the last must not be linked");
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(results[0], 7, "something was begun");
}

static int32_t chain_results[3];

/* A byte out of a pipe, then two into another one. */
static void *run_chain(void *buf)
{
    struct io_uring_sqe sqes[3] = { nop(), sqe_on(IORING_OP_READ, fds[0], buf, 1), nop() };

    outcome = gring_uring_chain(sqes, 3, chain_results);
    outcome_errno = errno;
    return NULL;
}

GreenTest(uring_chain, is_ended_by_a_kill_and_says_what_was_done)
{
    char byte;
    gring_task *task;

    make_pipe(fds);
    task = start(run_chain, &byte);
    gring_kill(task);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    cr_assert_eq(outcome, -1);
    cr_assert_eq(outcome_errno, ECANCELED);
    cr_assert_arr_eq(chain_results, ((int32_t[]){ 0, -ECANCELED, -ECANCELED }),
                     sizeof chain_results);
}

GreenTest(uring_chain, is_ended_by_a_close_of_one_of_its_descriptors)
{
    char byte;
    gring_task *task;

    make_pipe(fds);
    task = start(run_chain, &byte);
    cr_assert_eq(gring_close(fds[0]), 0);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(outcome, 1);
    cr_assert_arr_eq(chain_results, ((int32_t[]){ 0, -EBADF, -ECANCELED }), sizeof chain_results);
}

static void *chain_through_a_small_ring(void *unused)
{
    enum { CHAINS = 50, LINKS = 7 };
    struct io_uring_sqe sqes[LINKS];
    int32_t results[LINKS];
    char bytes[LINKS], got[LINKS];
    int ends[2];

    CHILD_MUST(pipe(ends) == 0);
    for (int chain = 0; chain < CHAINS; chain++) {
        for (int link = 0; link < LINKS; link++) {
            bytes[link] = (char)(chain + link);
            sqes[link] = sqe_on(IORING_OP_WRITE, ends[1], &bytes[link], 1);
        }
        CHILD_MUST(gring_uring_chain(sqes, LINKS, results) == LINKS);
        CHILD_MUST(read(ends[0], got, LINKS) == LINKS && !memcmp(got, bytes, LINKS));
    }
    close(ends[0]);
    close(ends[1]);
    return unused;
}

static void *many_chains_through_a_small_ring(void *unused)
{
    gring_task *tasks[20];

    for (int index = 0; index < 20; index++)
        tasks[index] = gring_spawn(chain_through_a_small_ring, NULL);
    CHILD_MUST(gring_waitall(tasks, 20) == 0);
    return unused;
}

static void run_with_a_small_ring(void)
{
    gring_config config = GRING_CONFIG_INIT;

    config.ring_entries = 8;
    CHILD_MUST(gring_run_with(&config, chain_through_a_small_ring, NULL, NULL) == 0);
    CHILD_MUST(gring_run_with(&config, many_chains_through_a_small_ring, NULL, NULL) == 0);
}

Test(uring_chain, of_many_tasks_are_kept_whole_in_a_ring_that_is_always_full)
{
    child_must_pass(run_with_a_small_ring);
}

/* ---- several at once ------------------------------------------------------------------------- */

GreenTest(uring_batch, runs_them_all_whatever_fails)
{
    struct io_uring_sqe sqes[3] = { nop(), sqe_on(IORING_OP_READ, 9999, NULL, 1), nop() };
    int32_t results[3];

    cr_assert_eq(gring_uring_batch(sqes, 3, results), 2);
    cr_assert_arr_eq(results, ((int32_t[]){ 0, -EBADF, 0 }), sizeof results);
}

GreenTest(uring_batch, may_have_more_operations_than_the_ring_entries)
{
    enum { COUNT = 2000 };
    static struct io_uring_sqe sqes[COUNT];
    static int32_t results[COUNT];

    make_pipe(fds);
    for (int index = 0; index < COUNT; index++)
        sqes[index] = sqe_on(IORING_OP_WRITE, fds[1], "x", 1);
    cr_assert_eq(gring_uring_batch(sqes, COUNT, results), COUNT);
    cr_assert_eq(unread_bytes(fds[0]), COUNT);
}

GreenTest(uring_batch, of_nothing_is_nothing_and_of_less_refused)
{
    cr_assert_eq(gring_uring_batch(NULL, 0, NULL), 0);
    cr_assert_eq(gring_uring_batch(NULL, -1, NULL), -1);
    cr_assert_eq(errno, EINVAL);
}

static int32_t batch_results[3];
static char batch_bytes[2];

static void *run_batch(void *unused)
{
    struct io_uring_sqe sqes[3] = { sqe_on(IORING_OP_READ, fds[0], &batch_bytes[0], 1), nop(),
                                    sqe_on(IORING_OP_READ, fds[0], &batch_bytes[1], 1) };

    outcome = gring_uring_batch(sqes, 3, batch_results);
    outcome_errno = errno;
    return unused;
}

GreenTest(uring_batch, waits_for_the_last)
{
    gring_task *task;

    make_pipe(fds);
    task = start(run_batch, NULL);
    cr_assert_eq(write(fds[1], "a", 1), 1);
    cr_assert_eq(gring_idle(), 0);
    cr_assert_eq(gring_task_state(task), GRING_PARKED);
    cr_assert_eq(write(fds[1], "b", 1), 1);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(outcome, 3);
    cr_assert_eq(batch_bytes[0] + batch_bytes[1], 'a' + 'b');
}

GreenTest(uring_batch, is_ended_by_a_kill_and_says_what_was_done)
{
    gring_task *task;
    int read_count;

    make_pipe(fds);
    task = start(run_batch, NULL);
    cr_assert_eq(write(fds[1], "a", 1), 1);
    cr_assert_eq(gring_idle(), 0);
    gring_kill(task);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    cr_assert_eq(outcome, -1);
    cr_assert_eq(outcome_errno, ECANCELED);
    read_count = (batch_results[0] == 1) + (batch_results[2] == 1);
    /* by a worker of an older kernel, which may come too late */
    cr_assert_eq(read_count + unread_bytes(fds[0]), 1, "a byte was read, and nobody is told");
    cr_assert_eq(batch_results[1], 0);
}

GreenTest(uring_batch, of_a_killed_task_begins_nothing)
{
    gring_task *task;

    make_pipe(fds);
    cr_assert_eq(write(fds[1], "ab", 2), 2);
    task = gring_spawn(run_batch, NULL);
    gring_kill(gring_self());
    run_batch(NULL);
    gring_uncancel();
    cr_assert_eq(outcome, -1);
    for (int index = 0; index < 3; index++)
        cr_assert_eq(batch_results[index], -ECANCELED);
    cr_assert_eq(unread_bytes(fds[0]), 2);
    cr_assert_eq(gring_join(task, NULL), 0);
}

GreenTest(uring_batch, on_a_closed_descriptor_fails_alone)
{
    struct io_uring_sqe sqes[2] = { sqe_on(IORING_OP_FSYNC, -1, NULL, 0), nop() };
    int32_t results[2];

    cr_assert_eq(gring_uring_batch(sqes, 2, results), 1);
    cr_assert_eq(results[0], -EBADF);
    cr_assert_eq(gring_uring_batch(sqes, 1, results), 0);
    cr_assert_eq(results[0], -EBADF);
}

/* ---- sends without a copy -------------------------------------------------------------------- */

enum { BULK = 8 * 1024 * 1024 };

static char bulk[BULK], received[BULK];

static void *send_bulk(void *unused)
{
    ssize_t sent = gring_send_zc(fds[1], bulk, BULK, 0);

    outcome = (int)sent;
    outcome_errno = errno;
    return unused;
}

static size_t receive_all(int fd)
{
    size_t total = 0;
    ssize_t size;

    while (total < BULK && (size = gring_recv(fd, received + total, BULK - total, 0)) > 0)
        total += (size_t)size;
    return total;
}

static void send_and_receive_bulk(void)
{
    gring_task *sender;

    pattern_fill(bulk, BULK, 1, 0);
    sender = gring_spawn(send_bulk, NULL);
    cr_assert_eq(receive_all(fds[0]), BULK);
    cr_assert_eq(gring_join(sender, NULL), 0);
    cr_assert_eq(outcome, BULK);
    cr_assert_eq(pattern_matches(received, BULK, 1, 0), BULK);
}

GreenTest(send_zc, sends_all_over_TCP)
{
    make_tcp_pair(fds);
    send_and_receive_bulk();
}

GreenTest(send_zc, copies_where_the_socket_cannot)
{
    make_unix_pair(fds);
    send_and_receive_bulk();
}

static void *send_over_TCP(void *unused)
{
    make_tcp_pair(fds);
    send_and_receive_bulk();
    return unused;
}

Test(send_zc, copies_where_the_kernel_cannot)
{
    setenv("GRING_WITHOUT", "send_zc", 1);
    cr_assert_eq(gring_run(send_over_TCP, NULL, NULL), 0);
}

GreenTest(send_zc, to_a_peer_that_is_gone_is_EPIPE_and_no_signal)
{
    make_tcp_pair(fds);
    reset_peer(fds[0]);
    cr_assert_eq(gring_send_zc(fds[1], "x", 1, 0), -1);
    cr_assert(errno == EPIPE || errno == ECONNRESET, "%m");
}

/* Tried without a copy, then with one: the second answer is the caller's. */
GreenTest(send_zc, that_is_copied_fails_as_a_send_does)
{
    make_unix_pair(fds);
    close(fds[0]);
    cr_assert_eq(gring_send_zc(fds[1], "x", 1, 0), -1);
    cr_assert_eq(errno, EPIPE);
    close(fds[1]);
}

GreenTest(send_zc, that_must_not_wait_sends_what_goes)
{
    ssize_t sent;

    make_tcp_pair(fds);
    sent = gring_send_zc(fds[1], bulk, 1000, MSG_DONTWAIT);
    cr_assert_eq(sent, 1000);
    fill(fds[1]);
    cr_assert_eq(gring_send_zc(fds[1], bulk, BULK, MSG_DONTWAIT), -1);
    cr_assert_eq(errno, EAGAIN);
}

static void *receive_until_the_end(void *unused)
{
    while (gring_recv(fds[0], received, BULK, 0) > 0)
        ;
    return unused;
}

GreenTest(send_zc, does_not_go_on_with_a_socket_that_got_its_number)
{
    gring_task *sender, *receiver;
    int others[2];

    make_tcp_pair(fds);
    make_unix_pair(others);
    sender = start(send_bulk, NULL);
    receiver = gring_spawn(receive_until_the_end, NULL);
    cr_assert_eq(gring_close(fds[1]), 0);
    cr_assert_eq(dup2(others[0], fds[1]), fds[1]);
    cr_assert_eq(gring_idle(), 0);
    cr_assert_eq(unread_bytes(others[1]), 0);
    cr_assert_eq(gring_join(sender, NULL), 0);
    cr_assert_gt(outcome, 0);
    gring_join(receiver, NULL);
    close(fds[1]);
    close_both(others);
}

/* The bytes that are on their way are read from the sender's memory, so it waits for them. */
GreenTest(send_zc, killed_waits_until_the_kernel_has_let_go_of_the_data)
{
    gring_task *sender;
    size_t total = 0;
    ssize_t size;

    make_tcp_pair(fds);
    pattern_fill(bulk, BULK, 1, 0);
    sender = start(send_bulk, NULL);
    gring_kill(sender);
    cr_assert_eq(gring_idle(), 0);
    if (gring_task_state(sender) != GRING_DONE) /* else the kernel copied after all */
        cr_assert_eq(gring_task_state(sender), GRING_PARKED);
    for (int rounds = 0; gring_task_state(sender) != GRING_DONE; rounds++) {
        cr_assert_lt(rounds, 100000);
        size = gring_recv(fds[0], received + total, BULK - total, MSG_DONTWAIT);
        total += size > 0 ? (size_t)size : 0;
        cr_assert_eq(gring_idle(), 0);
    }
    while ((size = gring_recv(fds[0], received + total, BULK - total, MSG_DONTWAIT)) > 0)
        total += (size_t)size;
    gring_join(sender, NULL);
    cr_assert_gt(outcome, 0, "progress was made, and is not reported");
    cr_assert_eq((size_t)outcome, total);
    cr_assert_eq(pattern_matches(received, total, 1, 0), total);
}
