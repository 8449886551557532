/*
 * Ops, their cancels, the table of descriptors and closes, above a kernel that answers as the bytes
 * say: each op ends once, with what the kernel said, and each close is told when the last op of its
 * descriptor has let go. Files: uring/op.c, uring/inflight.c.
 */
#include "uring/op.h"
#include "tests/model/choices.h"
#include "tests/support/fake_ring.h"
#include "uring/inflight.h"
#include "uring/prep.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

enum { OPS = 32, DESCRIPTORS = 6, SETTLE_ROUNDS = 1000 };

/* What each op must report, kept the simple way. */
static struct twin_op {
    struct op op;
    bool alive;
    int fd;
    bool closed, cancelled, got_result;
    int kernel_result;
} twin_ops[OPS];

static struct twin_closer {
    struct closer closer;
    int fd;
    bool closing;
    bool ever_used; /* since it was last closed */
    bool hinted;
} twin_closers[DESCRIPTORS];

static struct ops ops;

/* ---- what the op layer tells us -------------------------------------------------------------- */

static void op_done(struct op *op)
{
    struct twin_op *it = CONTAINER_OF(op, struct twin_op, op);
    int32_t result = op->result;

    MUST(it->alive); /* else it is done twice */
    it->alive = false;
    if (it->got_result && it->kernel_result >= 0)
        MUST(result == it->kernel_result); /* else a result was taken away */
    else if (it->closed && !it->cancelled) /* else either may have come first */
        MUST(result == -EBADF);
    else if (it->closed)
        MUST(result == -EBADF || result == -ECANCELED || result == -EINTR);
    else
        MUST(result == -ECANCELED || result == -EINTR);
}

static void forget_descriptor(int fd)
{
    inflight_end_close(&ops, fd);
    twin_closers[fd].closing = twin_closers[fd].ever_used = twin_closers[fd].hinted = false;
}

static void drained(struct closer *closer)
{
    int fd = CONTAINER_OF(closer, struct twin_closer, closer)->fd;

    for (unsigned index = 0; index < OPS; index++)
        MUST(!twin_ops[index].alive || twin_ops[index].fd != fd ||
             twin_ops[index].op.state == OP_DONE);
    forget_descriptor(fd);
}

/* ---- what tasks do --------------------------------------------------------------------------- */

static void submit(struct choices *choices)
{
    struct twin_op *it = &twin_ops[choose(choices, OPS)];
    int fd = (int)choose(choices, DESCRIPTORS);
    struct twin_closer *closer = &twin_closers[fd];

    if (it->alive)
        return;
    prep_read(&it->op, fd, NULL, 0, -1);
    it->op.on_done = op_done;
    it->fd = fd;
    it->closed = it->cancelled = it->got_result = false;
    it->alive = !closer->closing;
    closer->ever_used |= !closer->closing;
    MUST(ops_submit(&ops, &it->op) == (closer->closing ? -EBADF : 0));
}

static void cancel(struct choices *choices)
{
    struct twin_op *it = &twin_ops[choose(choices, OPS)];

    if (it->alive) {
        it->cancelled = true;
        ops_cancel(&ops, &it->op);
    }
}

static void close_descriptor(struct choices *choices)
{
    int fd = (int)choose(choices, DESCRIPTORS);
    struct twin_closer *it = &twin_closers[fd];
    int state;

    if (it->closing) {
        MUST(inflight_begin_close(&ops, fd, &it->closer) == -EBADF);
        return;
    }
    for (unsigned index = 0; index < OPS; index++)
        twin_ops[index].closed |= twin_ops[index].alive && twin_ops[index].fd == fd;
    it->closing = true;
    state = inflight_begin_close(&ops, fd, &it->closer);
    MUST(state >= 0);
    if (state == 0)
        forget_descriptor(fd);
}

static void hint(struct choices *choices)
{
    int fd = (int)choose(choices, DESCRIPTORS);

    if (twin_closers[fd].closing)
        return;
    inflight_at(&ops.inflight, fd)->is_socket = true;
    twin_closers[fd].hinted = true;
}

/* ---- what the kernel does -------------------------------------------------------------------- */

static struct twin_op *owner_of(const struct io_uring_sqe *sqe)
{
    return CONTAINER_OF((struct op *)(uintptr_t)(sqe->user_data & 0xffffffffffff), struct twin_op,
                        op);
}

static bool was_cancel_taken(uint64_t user_data)
{
    for (unsigned index = 0; index < fake.taken_count; index++)
        if (fake.taken[index].addr == user_data &&
            fake.taken[index].opcode == IORING_OP_ASYNC_CANCEL)
            return true;
    return false;
}

static void complete_read(unsigned index, int answer)
{
    owner_of(&fake.taken[index])->got_result = true;
    owner_of(&fake.taken[index])->kernel_result = answer;
    kernel_completes(index, answer);
}

static void end_as_cancelled(struct choices *choices, unsigned index)
{
    if (fake.taken[index].opcode == IORING_OP_READ)
        complete_read(index, choose(choices, 2) ? -ECANCELED : -EINTR);
    else
        kernel_completes(index, -ECANCELED);
}

/* It finds its target and ends it, in either order; or finds it nowhere, be it gone or between
 * two attempts. */
static void answer_cancel(struct choices *choices, unsigned index)
{
    bool answer_first = choose(choices, 2), is_missed = choose(choices, 2);
    unsigned target = 0;

    while (target < fake.taken_count && (fake.taken[target].user_data != fake.taken[index].addr ||
                                         fake.taken[target].opcode == IORING_OP_NOP))
        target++;
    if (target == fake.taken_count || is_missed) {
        kernel_completes(index, -ENOENT);
        return;
    }
    if (answer_first)
        kernel_completes(index, 0);
    end_as_cancelled(choices, target);
    if (!answer_first)
        kernel_completes(index, choose(choices, 2) ? 0 : -EALREADY);
}

/* Completes something that the kernel has: with a count, or as cancelled if that was asked, or
 * "not yet". */
static void complete(struct choices *choices)
{
    static const int answers[] = { 0, 1, 77, -EAGAIN, -EINTR };
    unsigned index = choose(choices, 256);
    int answer = answers[choose(choices, 5)];

    if (!fake.taken_count)
        return;
    index %= fake.taken_count;
    if (fake.taken[index].opcode == IORING_OP_ASYNC_CANCEL)
        answer_cancel(choices, index);
    else if (fake.taken[index].opcode != IORING_OP_NOP &&
             was_cancel_taken(fake.taken[index].user_data) && choose(choices, 2))
        end_as_cancelled(choices, index);
    else if (fake.taken[index].opcode == IORING_OP_POLL_ADD)
        kernel_completes(index, POLLIN);
    else if (fake.taken[index].opcode == IORING_OP_READ)
        complete_read(index, answer);
}

static void change_mood(struct choices *choices)
{
    static const int errors[] = { -EAGAIN, -EBUSY, -EINTR };

    fake.takes_at_most = choose(choices, 5);
    fake.enter_error = errors[choose(choices, 3)];
    fake.errors_left = choose(choices, 3);
}

static void reap(struct choices *choices)
{
    ops_reap(&ops, 1 + choose(choices, 8));
    forget_completed();
}

/* ---- comparing ------------------------------------------------------------------------------- */

/* The chain of a descriptor has every op that is alive on it, and no other. */
static void compare_descriptor(int fd)
{
    const struct descriptor *entry = inflight_at(&ops.inflight, fd);
    unsigned expected = 0, found = 0;

    for (unsigned index = 0; index < OPS; index++)
        expected += twin_ops[index].alive && twin_ops[index].fd == fd;
    for (const struct list *link = entry->ops, *prev = NULL; link; prev = link, link = link->next) {
        const struct twin_op *it = CONTAINER_OF(link, struct twin_op, op.descriptor_link);

        MUST(link->prev == prev);
        MUST(it->alive && it->fd == fd);
        found++;
    }
    MUST(found == expected);
    MUST(entry->closing == twin_closers[fd].closing);
    MUST(entry->is_socket == twin_closers[fd].hinted);
    MUST(inflight_ever_used(fd) == twin_closers[fd].ever_used);
}

static void compare(void)
{
    unsigned alive = 0;

    for (unsigned index = 0; index < OPS; index++)
        alive += twin_ops[index].alive;
    MUST(ops.in_flight_count == alive);
    for (int fd = 0; fd < DESCRIPTORS; fd++)
        compare_descriptor(fd);
}

/* ---- a history ------------------------------------------------------------------------------- */

static void begin(struct choices *choices)
{
    memset(twin_ops, 0, sizeof twin_ops);
    for (int fd = 0; fd < DESCRIPTORS; fd++)
        twin_closers[fd] = (struct twin_closer){ .closer.on_drained = drained, .fd = fd };
    MUST(ops_open(&ops, 1 + choose(choices, 4)) == 0);
}

static void step(struct choices *choices)
{
    switch (choose(choices, 16)) {
    case 0:
    case 1:
    case 2:
    case 3:
        submit(choices);
        break;
    case 4:
    case 5:
        cancel(choices);
        break;
    case 6:
        close_descriptor(choices);
        break;
    case 7:
        hint(choices);
        break;
    case 8:
        change_mood(choices);
        break;
    case 9:
    case 10:
        (void)ops_enter(&ops, 0);
        break;
    case 11:
    case 12:
    case 13:
        complete(choices);
        break;
    default:
        reap(choices);
    }
}

/* A kernel that answers everything: all must come to an end. */
static void settle(void)
{
    fake.errors_left = 0;
    fake.takes_at_most = SQ_ROOM_MAX;
    for (int round = 0; round < SETTLE_ROUNDS && ops.in_flight_count > 0; round++) {
        (void)ops_enter(&ops, 0);
        for (unsigned index = 0; index < fake.taken_count; index++)
            if (fake.taken[index].opcode == IORING_OP_READ)
                complete_read(index, 5);
            else if (fake.taken[index].opcode == IORING_OP_POLL_ADD)
                kernel_completes(index, POLLIN);
            else if (fake.taken[index].opcode == IORING_OP_ASYNC_CANCEL)
                kernel_completes(index, -ENOENT);
        ops_reap(&ops, CQ_ROOM);
        forget_completed();
    }
}

static void end(void)
{
    MUST(ops.in_flight_count == 0);
    compare();
    for (int fd = 0; fd < DESCRIPTORS; fd++) {
        MUST(!twin_closers[fd].closing);
        MUST(inflight_begin_close(&ops, fd, &twin_closers[fd].closer) == 0);
        inflight_end_close(&ops, fd); /* the next history begins with descriptors never used */
    }
    MUST(list_empty(&ops.backlog));
    MUST(list_empty(&ops.cancels));
    ops_close(&ops);
}

MODEL(op)
{
    begin(choices);
    while (choices_left(choices)) {
        step(choices);
        compare();
    }
    settle();
    end();
}
