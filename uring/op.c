/* Submit, complete, cancel; see op.h. */
#include "uring/op.h"

#include "base/check.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

/*
 * user_data:   63      48 47                          0
 *              generation │ address of the op         bit 0 set: the completion of its cancel
 *                                                     bit 1 set: that of its fence
 *
 * The generation is a check on ourselves: a completion that finds another one here met an op
 * that was left too early. User addresses fit in 47 bits (48 on aarch64) unless a program asks
 * mmap for more by a hint, which we never do.
 */
enum { GENERATION_SHIFT = 48, REAP_BATCH = 64 };
#define ADDRESS_MASK ((UINT64_C(1) << GENERATION_SHIFT) - 1)
#define CANCEL_BIT UINT64_C(1)
#define FENCE_BIT UINT64_C(2)

/* The result of a fenced op in the kernel, until its own completion is in. */
enum { NO_ANSWER = INT32_MIN };

int ops_open(struct ops *ops, unsigned entries)
{
    int error;

    memset(ops, 0, sizeof *ops);
    ops->sq_entries = entries > 1 ? entries : 2; /* an op and its fence go together */
    list_init(&ops->backlog);
    list_init(&ops->cancels);
    error = inflight_open(&ops->inflight);
    if (error < 0)
        return error;
    error = ring_open(&ops->ring, ops->sq_entries);
    if (error < 0)
        inflight_close(&ops->inflight);
    return error;
}

void ops_close(struct ops *ops)
{
    CHECK_SAY(ops->in_flight_count == 0,
              "a ring was closed with operations in flight: their buffers are the kernel's");
    ring_close(&ops->ring);
    inflight_close(&ops->inflight);
}

static uint64_t user_data_of(const struct op *op)
{
    return (uint64_t)(uintptr_t)op | (uint64_t)op->generation << GENERATION_SHIFT;
}

static struct op *op_of(uint64_t user_data)
{
    return (struct op *)(uintptr_t)(user_data & ADDRESS_MASK & ~(CANCEL_BIT | FENCE_BIT));
}

static struct op *op_queued_at(struct list *link)
{
    return CONTAINER_OF(link, struct op, queue_link);
}

/* ---- entering the kernel --------------------------------------------------------------------- */

/*
 * The kernel stopped in the middle of a chain. It runs what it has as a shorter one; submitted
 * later, the rest would run whatever became of that. So each SQE of the rest becomes a NOP, at
 * whose completion the op is finished as one that was not begun.
 */
static void drop_rest_of_cut_chain(struct ops *ops)
{
    struct io_uring_sqe *sqe;

    for (unsigned index = 0; (sqe = ring_unsubmitted_at(&ops->ring, index)); index++) {
        if (sqe->user_data & (CANCEL_BIT | FENCE_BIT) || !op_of(sqe->user_data)->follows)
            return;
        op_of(sqe->user_data)->cut = true;
        *sqe = (struct io_uring_sqe){ .opcode = IORING_OP_NOP, .user_data = sqe->user_data };
    }
}

static int enter(struct ops *ops, gring_ns wait_ns)
{
    int error = ring_enter(&ops->ring, wait_ns);

    if (UNLIKELY(ring_unsubmitted(&ops->ring) > 0))
        drop_rest_of_cut_chain(ops);
    return error;
}

/* ---- submitting ------------------------------------------------------------------------------ */

/* A full SQ is submitted on the spot; if the kernel takes nothing (no memory, CQ overflow) the
 * caller queues. */
static bool push(struct ops *ops, const struct io_uring_sqe *sqe)
{
    if (ring_push(&ops->ring, sqe))
        return true;
    (void)enter(ops, 0);
    return ring_push(&ops->ring, sqe);
}

static bool push_poll(struct ops *ops, const struct op *op)
{
    struct io_uring_sqe poll = { .opcode = IORING_OP_POLL_ADD,
                                 .fd = op->sqe.fd,
                                 .poll32_events = op->retry_events,
                                 .user_data = user_data_of(op) };

    return push(ops, &poll);
}

static bool has_room(struct ops *ops, unsigned count)
{
    return ops->sq_entries - ring_unsubmitted(&ops->ring) >= count;
}

static bool is_fenced(const struct op *op)
{
    return op->sqe.flags & IOSQE_IO_HARDLINK && !op->in_chain;
}

/* If a partial submit comes between the two, the fence completes on its own: then the answer alone
 * ends the op. */
static bool push_fenced(struct ops *ops, struct op *op)
{
    struct io_uring_sqe fence = { .opcode = IORING_OP_NOP,
                                  .fd = -1,
                                  .user_data = user_data_of(op) | FENCE_BIT };

    if (!has_room(ops, 2))
        (void)enter(ops, 0);
    if (!has_room(ops, 2))
        return false;
    CHECK(ring_push(&ops->ring, &op->sqe));
    CHECK(ring_push(&ops->ring, &fence));
    op->fence_due = true;
    op->result = NO_ANSWER;
    return true;
}

static bool push_attempt(struct ops *ops, struct op *op)
{
    if (UNLIKELY(op->polling))
        return push_poll(ops, op);
    return is_fenced(op) ? push_fenced(ops, op) : push(ops, &op->sqe);
}

static bool push_op(struct ops *ops, struct op *op)
{
    if (!push_attempt(ops, op))
        return false;
    op->state = OP_IN_KERNEL;
    return true;
}

static void hand_over(struct ops *ops, struct op *op)
{
    op->state = OP_QUEUED;
    if (!list_empty(&ops->backlog) || !push_op(ops, op))
        list_push_back(&ops->backlog, &op->queue_link);
}

static int admit(struct ops *ops, struct op *op)
{
    CHECK_SAY(op->state == OP_IDLE,
              "an op was submitted while it is in flight: prepare it anew when "
              "it is done");
    if (op->on_descriptor && inflight_add(&ops->inflight, op) < 0)
        return -EBADF;
    op->generation = ++ops->generation;
    op->sqe.user_data = user_data_of(op);
    ops->in_flight_count++;
    return 0;
}

int ops_submit(struct ops *ops, struct op *op)
{
    int error = admit(ops, op);

    if (LIKELY(error == 0))
        hand_over(ops, op);
    return error;
}

/* ---- chains ---------------------------------------------------------------------------------- */

static bool is_followed(const struct op *op)
{
    return op->in_chain && op->sqe.flags & (IOSQE_IO_LINK | IOSQE_IO_HARDLINK);
}

/* The whole chain or nothing: no other SQE may come between, and no enter. */
static bool push_chain(struct ops *ops, struct op *first)
{
    struct op *op = first;
    unsigned count = 1;

    for (; is_followed(op); op++)
        count++;
    if (!has_room(ops, count))
        (void)enter(ops, 0);
    if (!has_room(ops, count))
        return false;
    for (op = first; op < first + count; op++) {
        CHECK(ring_push(&ops->ring, &op->sqe));
        op->state = OP_IN_KERNEL;
        list_unlink(&op->queue_link);
    }
    return true;
}

static void take_back(struct ops *ops, struct op *op)
{
    ops->in_flight_count--;
    if (op->on_descriptor)
        inflight_remove(&ops->inflight, op);
}

int ops_submit_chain(struct ops *ops, struct op *chain, unsigned count)
{
    bool can_go = list_empty(&ops->backlog);

    CHECK(count > 0 && count <= ops->sq_entries);
    for (unsigned index = 0; index < count; index++) {
        chain[index].in_chain = true;
        chain[index].follows = index > 0;
        CHECK(is_followed(&chain[index]) == (index + 1 < count));
        if (admit(ops, &chain[index]) < 0) {
            while (index-- > 0)
                take_back(ops, &chain[index]);
            return -EBADF;
        }
    }
    for (unsigned index = 0; index < count; index++) {
        chain[index].state = OP_QUEUED;
        list_push_back(&ops->backlog, &chain[index].queue_link);
    }
    if (can_go)
        (void)push_chain(ops, chain);
    return 0;
}

/* ---- completing ------------------------------------------------------------------------------ */

static void leave_descriptor(struct ops *ops, struct op *op)
{
    if (op->on_descriptor)
        inflight_remove(&ops->inflight, op);
    op->on_descriptor = false;
}

/* When all that was to come has come. */
static void let_go(struct ops *ops, struct op *op)
{
    if (UNLIKELY(!op->ended || op->cancel_in_kernel || op->notification_due))
        return;
    op->state = OP_DONE;
    ops->in_flight_count--;
    leave_descriptor(ops, op);
    op->on_done(op); /* last: the op's memory may be gone when this returns */
}

/* What follows a cancelled op in its chain, if it begins at all, is to be cancelled then. Before
 * the next enter: most likely the kernel has ended it already, and its completion takes it off
 * the list again. */
static void pass_cancel_on(struct ops *ops, struct op *op)
{
    struct op *next = op + 1;

    if (op->cancel_asked && is_followed(op) && next->state == OP_IN_KERNEL && !next->ended &&
        !next->cancel_in_kernel && !list_linked(&next->queue_link))
        list_push_back(&ops->cancels, &next->queue_link);
}

static void finish(struct ops *ops, struct op *op, int32_t result)
{
    bool was_cancelled = result == -ECANCELED || result == -EINTR;

    op->result = op->closed && was_cancelled ? -EBADF : result;
    op->ended = true;
    if (UNLIKELY(op->in_chain))
        pass_cancel_on(ops, op);
    if (UNLIKELY(op->notification_due))
        /* it lets go of the data only, which the peer may leave unread for long: a close need
         * not wait for that */
        leave_descriptor(ops, op);
    let_go(ops, op);
}

static void ask_again(struct ops *ops, struct op *op, bool polling)
{
    op->polling = polling;
    ops->retry_count++;
    hand_over(ops, op);
}

static void complete_poll(struct ops *ops, struct op *op, int32_t result)
{
    if (result < 0)
        finish(ops, op, result);
    else if (op->cancel_asked)
        finish(ops, op, -ECANCELED);
    else
        ask_again(ops, op, false);
}

/* Its own completion is in, and only the kernel's letting go is not. */
static bool is_answered(const struct op *op)
{
    return op->ended || (op->fence_due && op->result != NO_ANSWER);
}

/* The answer to a cancel. EALREADY: a worker has been told, and will not begin anew. ENOENT: see
 * op.h. */
static void complete_cancel(struct ops *ops, struct op *op, int32_t result)
{
    CHECK(op->cancel_in_kernel);
    op->cancel_in_kernel = false;
    if (result == -ENOENT && !is_answered(op))
        /* asked again before the next enter, which runs what is due */
        list_push_back(&ops->cancels, &op->queue_link);
    let_go(ops, op);
}

static void complete_notification(struct ops *ops, struct op *op)
{
    CHECK(op->ended && op->notification_due);
    op->notification_due = false;
    let_go(ops, op);
}

/* -EAGAIN and -EINTR that somebody else has to deal with: the chain behind it has ended with it,
 * or it has left a notification or a chosen buffer behind. */
static bool is_final(const struct op *op)
{
    return op->in_chain || op->cqe_flags & (IORING_CQE_F_MORE | IORING_CQE_F_BUFFER);
}

static void complete_attempt(struct ops *ops, struct op *op, int32_t result)
{
    if (op->polling)
        complete_poll(ops, op, result);
    else if (result == -EAGAIN && op->retry_events && !op->cancel_asked)
        ask_again(ops, op, true);
    else if (result == -EAGAIN && op->retry_events)
        finish(ops, op, -ECANCELED);
    else if (result == -EINTR && !op->cancel_asked)
        ask_again(ops, op, false);
    else
        finish(ops, op, result);
}

/* Its SQE became a NOP. */
static int32_t result_of_cut(const struct op *op)
{
    return op[-1].cut ? -ECANCELED : -ENOMEM;
}

static void take_answer(struct ops *ops, struct op *op, int32_t result)
{
    if (list_linked(&op->queue_link))
        list_unlink(&op->queue_link); /* its cancel is not needed any more */
    if (UNLIKELY(is_final(op)))
        finish(ops, op, op->cut ? result_of_cut(op) : result);
    else
        complete_attempt(ops, op, result);
}

/* Whatever the answer is, it counts from now on: the op may be asked again. */
static void complete_fence(struct ops *ops, struct op *op)
{
    CHECK(op->fence_due);
    op->fence_due = false;
    if (LIKELY(op->result != NO_ANSWER))
        take_answer(ops, op, op->result);
}

static void complete(struct ops *ops, const struct io_uring_cqe *cqe)
{
    const uint64_t bits = CANCEL_BIT | FENCE_BIT;
    struct op *op = op_of(cqe->user_data);

    CHECK_SAY(op->state == OP_IN_KERNEL && user_data_of(op) == (cqe->user_data & ~bits),
              "an op completed twice, or its memory was left too early: it is the kernel's until "
              "the last completion");
    if (UNLIKELY(cqe->user_data & CANCEL_BIT)) {
        complete_cancel(ops, op, cqe->res);
        return;
    }
    if (cqe->user_data & FENCE_BIT) {
        complete_fence(ops, op);
        return;
    }
    if (UNLIKELY(cqe->flags & IORING_CQE_F_NOTIF)) {
        complete_notification(ops, op);
        return;
    }
    CHECK(!op->ended);
    op->cqe_flags = cqe->flags;
    op->notification_due = cqe->flags & IORING_CQE_F_MORE;
    if (op->fence_due)
        op->result = cqe->res;
    else
        take_answer(ops, op, cqe->res);
}

unsigned ops_reap(struct ops *ops, unsigned max)
{
    struct io_uring_cqe cqes[REAP_BATCH];
    unsigned total = 0, count;

    do {
        count = ring_reap(&ops->ring, cqes, max - total < REAP_BATCH ? max - total : REAP_BATCH);
        for (unsigned index = 0; index < count; index++)
            complete(ops, &cqes[index]);
        total += count;
    } while (count == REAP_BATCH && total < max);
    return total;
}

/* ---- cancelling ------------------------------------------------------------------------------ */

static bool push_cancel(struct ops *ops, struct op *op)
{
    struct io_uring_sqe cancel = { .opcode = IORING_OP_ASYNC_CANCEL,
                                   .fd = -1,
                                   .addr = user_data_of(op),
                                   .user_data = user_data_of(op) | CANCEL_BIT };

    op->cancel_in_kernel = push(ops, &cancel);
    return op->cancel_in_kernel;
}

/* The kernel never saw it. A chain goes as a whole: a shorter one would do what nobody asked
 * for. */
static void withdraw_queued(struct ops *ops, struct op *op)
{
    bool more;

    while (op->follows)
        op--;
    do {
        more = is_followed(op);
        op->cancel_asked = true;
        list_unlink(&op->queue_link);
        finish(ops, op, -ECANCELED);
        op++; /* a chain's memory stays until its last op is done */
    } while (more);
}

/* The one that runs is what the kernel can find; those behind it are no requests yet. */
static struct op *mark_chain(struct op *op)
{
    struct op *first;

    while (op->follows && !op[-1].ended)
        op--;
    for (first = op; is_followed(op); op++)
        op->cancel_asked = true;
    op->cancel_asked = true;
    return first;
}

void ops_cancel(struct ops *ops, struct op *op)
{
    if (op->cancel_asked || op->ended || (op->state != OP_QUEUED && op->state != OP_IN_KERNEL))
        return;
    ops->cancel_count++;
    if (op->state == OP_QUEUED) {
        withdraw_queued(ops, op);
        return;
    }
    op->cancel_asked = true;
    if (UNLIKELY(op->in_chain))
        op = mark_chain(op);
    if (!push_cancel(ops, op))
        list_push_back(&ops->cancels, &op->queue_link);
}

/* ---- the backlog ----------------------------------------------------------------------------- */

static void push_waiting_cancels(struct ops *ops)
{
    while (!list_empty(&ops->cancels)) {
        struct op *op = op_queued_at(ops->cancels.next);

        if (!push_cancel(ops, op))
            return;
        list_unlink(&op->queue_link);
    }
}

void ops_push_backlog(struct ops *ops)
{
    /* they belong to ops that the kernel has: never behind those it has not */
    push_waiting_cancels(ops);
    while (!list_empty(&ops->backlog)) {
        struct op *op = op_queued_at(ops->backlog.next);

        if (UNLIKELY(op->in_chain)) {
            if (!push_chain(ops, op))
                return;
            continue;
        }
        if (!push_op(ops, op))
            return;
        list_unlink(&op->queue_link);
    }
}

int ops_enter(struct ops *ops, gring_ns wait_ns)
{
    ops_push_backlog(ops);
    if (!list_empty(&ops->backlog) || !list_empty(&ops->cancels))
        /* the kernel would not take all of it: come back for the rest instead of sleeping */
        wait_ns = 0;
    return enter(ops, wait_ns);
}
