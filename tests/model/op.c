/*
 * Ops, chains of them, their cancels, the table of descriptors and closes, above a kernel that
 * answers as the bytes say: each op ends once, with what the kernel said, and after its
 * notification; links join what belongs together and nothing else; and each close is told when the
 * last op of its descriptor has let go. Files: uring/op.c, uring/inflight.c.
 */
#include "uring/op.h"
#include "tests/model/choices.h"
#include "tests/support/fake_ring.h"
#include "uring/inflight.h"
#include "uring/prep.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

enum {
    SINGLE_OPS = 32,
    CHAINS = 4,
    LINKS = 4,
    OPS = SINGLE_OPS + CHAINS * LINKS, /* the last ones are chains' */
    DESCRIPTORS = 6,
    SETTLE_ROUNDS = 1000
};

static struct op the_ops[OPS];

/* What each op must report, kept the simple way. */
static struct twin_op {
    bool alive;
    int fd;
    bool closed, cancelled, got_result, notified;
    bool held;     /* by the kernel, until its fence completes */
    bool is_final; /* whatever the result is, it is not asked again */
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
    struct twin_op *it = &twin_ops[op - the_ops];
    int32_t result = op->result;

    MUST(it->alive); /* else it is done twice */
    MUST(it->notified);
    MUST(!it->held);
    it->alive = false;
    if (!it->got_result) /* the kernel never saw it, or not all of its chain */
        MUST(result == -ECANCELED || result == -EBADF || (result == -ENOMEM && op->follows));
    else if (it->is_final)
        MUST(result == it->kernel_result || (it->closed && result == -EBADF));
    else if (it->got_result && it->kernel_result >= 0)
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
        MUST(!twin_ops[index].alive || twin_ops[index].fd != fd || the_ops[index].ended);
    forget_descriptor(fd);
}

/* ---- what tasks do --------------------------------------------------------------------------- */

static void describe(struct choices *choices, unsigned index)
{
    int fd = (int)choose(choices, DESCRIPTORS);

    unsigned kind = choose(choices, 5);

    if (kind)
        prep_read(&the_ops[index], fd, NULL, 0, -1);
    else
        prep_send_zc(&the_ops[index], fd, NULL, 0, 0);
    if (kind == 4)
        op_fence(&the_ops[index]);
    the_ops[index].on_done = op_done;
    twin_ops[index] = (struct twin_op){ .fd = fd, .notified = true };
}

static void begin_op(unsigned index)
{
    twin_ops[index].alive = true;
    twin_closers[twin_ops[index].fd].ever_used = true;
}

static void submit(struct choices *choices)
{
    unsigned index = choose(choices, SINGLE_OPS);
    struct twin_op *it = &twin_ops[index];
    bool is_closing;

    if (it->alive)
        return;
    describe(choices, index);
    is_closing = twin_closers[it->fd].closing;
    if (!is_closing)
        begin_op(index);
    MUST(ops_submit(&ops, &the_ops[index]) == (is_closing ? -EBADF : 0));
}

static bool is_chain_free(unsigned first)
{
    for (unsigned index = first; index < first + LINKS; index++)
        if (twin_ops[index].alive)
            return false;
    return true;
}

static void submit_chain(struct choices *choices)
{
    unsigned first = SINGLE_OPS + LINKS * choose(choices, CHAINS);
    unsigned count = 1 + choose(choices, ops.sq_entries < LINKS ? ops.sq_entries : LINKS);
    bool is_closing = false;

    if (!is_chain_free(first))
        return;
    for (unsigned index = first; index < first + count; index++) {
        describe(choices, index);
        the_ops[index].sqe.flags = index + 1 < first + count ? IOSQE_IO_LINK : 0;
        is_closing |= twin_closers[twin_ops[index].fd].closing;
    }
    for (unsigned index = first; index < first + count && !is_closing; index++)
        begin_op(index);
    /* a refused one may have marked some of the descriptors as used */
    MUST(ops_submit_chain(&ops, &the_ops[first], count) == (is_closing ? -EBADF : 0));
    for (unsigned index = first; index < first + count && is_closing; index++) {
        if (twin_closers[twin_ops[index].fd].closing)
            break;
        twin_closers[twin_ops[index].fd].ever_used = true;
    }
}

static void cancel(struct choices *choices)
{
    struct twin_op *it = &twin_ops[choose(choices, OPS)];

    if (it->alive) {
        it->cancelled = true;
        ops_cancel(&ops, &the_ops[it - twin_ops]);
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

static bool is_cancel(const struct io_uring_sqe *sqe)
{
    return sqe->user_data & 1;
}

static struct op *op_of(const struct io_uring_sqe *sqe)
{
    return (struct op *)(uintptr_t)(sqe->user_data & 0xfffffffffffc);
}

static struct twin_op *owner_of(const struct io_uring_sqe *sqe)
{
    return &twin_ops[op_of(sqe) - the_ops];
}

static bool is_linked(const struct io_uring_sqe *sqe)
{
    return sqe && sqe->flags & IOSQE_IO_LINK && sqe->opcode != IORING_OP_NOP;
}

/* A link of a chain comes right behind the one before it, or is none any more; and nothing else
 * comes behind a link. A fence comes right behind its op, unless an enter ended between them. */
static void look_at_links(const struct io_uring_sqe *sqe, const struct io_uring_sqe *before)
{
    bool follows = !is_cancel(sqe) && op_of(sqe)->follows && sqe->opcode != IORING_OP_NOP;
    bool is_fenced = before && before->flags & IOSQE_IO_HARDLINK;

    MUST(!before || is_fence(sqe) == is_fenced);
    MUST(!before || !is_fence(sqe) || op_of(sqe) == op_of(before));
    if (is_fence(sqe))
        owner_of(sqe)->held = is_fenced;
    MUST(follows == is_linked(before));
    MUST(!follows || op_of(before) + 1 == op_of(sqe));
}

static bool is_waiting_link(unsigned index)
{
    return index > 0 && is_linked(&fake.taken[index - 1]);
}

/* The own completion of a read or a send: with what has become of its chain. */
static void complete_op(unsigned index, int answer, bool with_notification)
{
    bool goes_on;

    do {
        struct twin_op *it = owner_of(&fake.taken[index]);

        goes_on = answer < 0 && is_linked(&fake.taken[index]);
        it->got_result = true;
        it->kernel_result = answer;
        it->is_final = with_notification || op_of(&fake.taken[index])->in_chain;
        it->notified = !with_notification;
        kernel_completes_with(index++, answer, with_notification ? IORING_CQE_F_MORE : 0);
        answer = -ECANCELED;
        with_notification = false;
    } while (goes_on);
}

static void notify(struct choices *choices)
{
    unsigned first = choose(choices, OPS);

    for (unsigned step = 0; step < OPS; step++) {
        struct twin_op *it = &twin_ops[(first + step) % OPS];

        if (!it->notified) {
            it->notified = true;
            fake_post_flags(the_ops[it - twin_ops].sqe.user_data, 0, IORING_CQE_F_NOTIF);
            return;
        }
    }
}

static bool was_cancel_taken(uint64_t user_data)
{
    for (unsigned index = 0; index < fake.taken_count; index++)
        if (fake.taken[index].addr == user_data &&
            fake.taken[index].opcode == IORING_OP_ASYNC_CANCEL)
            return true;
    return false;
}

static bool is_op(const struct io_uring_sqe *sqe)
{
    return sqe->opcode == IORING_OP_READ || sqe->opcode == IORING_OP_SEND_ZC;
}

static void end_as_cancelled(struct choices *choices, unsigned index)
{
    if (is_op(&fake.taken[index]))
        complete_op(index, choose(choices, 2) ? -ECANCELED : -EINTR, false);
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
    if (target == fake.taken_count || is_missed || is_waiting_link(target)) {
        kernel_completes(index, -ENOENT);
        return;
    }
    if (answer_first)
        kernel_completes(index, 0);
    end_as_cancelled(choices, target);
    if (!answer_first)
        kernel_completes(index, choose(choices, 2) ? 0 : -EALREADY);
}

static bool is_pending(uint64_t user_data)
{
    for (unsigned index = 0; index < fake.taken_count; index++)
        if (fake.taken[index].user_data == user_data && fake.taken[index].opcode != IORING_OP_NOP)
            return true;
    return false;
}

/* Once the op itself has completed. */
static void complete_fence(unsigned index)
{
    const struct io_uring_sqe *fence = &fake.taken[index];

    if (is_pending(fence->user_data & ~(uint64_t)FENCE_MARK))
        return;
    owner_of(fence)->held = false;
    kernel_completes(index, 0);
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
    if (is_waiting_link(index))
        return;
    if (fake.taken[index].opcode == IORING_OP_ASYNC_CANCEL)
        answer_cancel(choices, index);
    else if (fake.taken[index].opcode == HELD_FENCE)
        complete_fence(index);
    else if (fake.taken[index].opcode != IORING_OP_NOP &&
             was_cancel_taken(fake.taken[index].user_data) && choose(choices, 2))
        end_as_cancelled(choices, index);
    else if (fake.taken[index].opcode == IORING_OP_POLL_ADD)
        kernel_completes(index, POLLIN);
    else if (is_op(&fake.taken[index]))
        complete_op(index, answer,
                    fake.taken[index].opcode == IORING_OP_SEND_ZC && choose(choices, 4));
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
        expected += twin_ops[index].alive && twin_ops[index].fd == fd &&
                    !(the_ops[index].ended && the_ops[index].cqe_flags & IORING_CQE_F_MORE);
    for (const struct list *link = entry->ops, *prev = NULL; link; prev = link, link = link->next) {
        const struct twin_op *it =
            &twin_ops[CONTAINER_OF(link, struct op, descriptor_link) - the_ops];

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
    for (unsigned index = 0; index < OPS; index++)
        twin_ops[index].notified = true;
    for (int fd = 0; fd < DESCRIPTORS; fd++)
        twin_closers[fd] = (struct twin_closer){ .closer.on_drained = drained, .fd = fd };
    MUST(ops_open(&ops, 1 + choose(choices, 6)) == 0);
    fake.on_take = look_at_links;
}

static void step(struct choices *choices)
{
    switch (choose(choices, 18)) {
    case 0:
    case 1:
    case 2:
        submit(choices);
        break;
    case 3:
        submit_chain(choices);
        break;
    case 16:
    case 17:
        notify(choices);
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
            if (is_op(&fake.taken[index]))
                complete_op(index, 5, false);
            else if (fake.taken[index].opcode == IORING_OP_POLL_ADD)
                kernel_completes(index, POLLIN);
            else if (fake.taken[index].opcode == IORING_OP_ASYNC_CANCEL)
                kernel_completes(index, -ENOENT);
            else if (fake.taken[index].opcode == HELD_FENCE)
                complete_fence(index);
        for (unsigned index = 0; index < OPS; index++)
            if (!twin_ops[index].notified) {
                twin_ops[index].notified = true;
                fake_post_flags(the_ops[index].sqe.user_data, 0, IORING_CQE_F_NOTIF);
            }
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
