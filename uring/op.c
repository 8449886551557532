/* Submit, complete, cancel; see op.h. */
#include "uring/op.h"

#include "base/check.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

/*
 * user_data:   63      48 47                          0
 *              generation │ address of the op         bit 0 set: the completion of its cancel
 *
 * The generation is a check on ourselves: a completion that finds another one here met an op
 * that was left too early. User addresses fit in 47 bits (48 on aarch64) unless a program asks
 * mmap for more by a hint, which we never do.
 */
enum { GENERATION_SHIFT = 48, REAP_BATCH = 64 };
#define ADDRESS_MASK ((UINT64_C(1) << GENERATION_SHIFT) - 1)
#define CANCEL_BIT UINT64_C(1)

int ops_open(struct ops *ops, unsigned entries)
{
    int error;

    memset(ops, 0, sizeof *ops);
    list_init(&ops->backlog);
    list_init(&ops->cancels);
    error = inflight_open(&ops->inflight);
    if (error < 0)
        return error;
    error = ring_open(&ops->ring, entries);
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

/* ---- submitting ------------------------------------------------------------------------------ */

/* A full SQ is submitted on the spot; if the kernel takes nothing (no memory, CQ overflow) the
 * caller queues. */
static bool push(struct ops *ops, const struct io_uring_sqe *sqe)
{
    if (ring_push(&ops->ring, sqe))
        return true;
    (void)ring_enter(&ops->ring, 0);
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

static bool push_op(struct ops *ops, struct op *op)
{
    if (UNLIKELY(op->polling) ? !push_poll(ops, op) : !push(ops, &op->sqe))
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

int ops_submit(struct ops *ops, struct op *op)
{
    CHECK_SAY(op->state == OP_IDLE,
              "an op was submitted while it is in flight: prepare it anew when "
              "it is done");
    if (op->on_descriptor && inflight_add(&ops->inflight, op) < 0)
        return -EBADF;
    op->generation = ++ops->generation;
    op->sqe.user_data = user_data_of(op);
    ops->in_flight_count++;
    hand_over(ops, op);
    return 0;
}

/* ---- completing ------------------------------------------------------------------------------ */

static void let_go(struct ops *ops, struct op *op)
{
    op->state = OP_DONE;
    ops->in_flight_count--;
    if (op->on_descriptor)
        inflight_remove(&ops->inflight, op);
    op->on_done(op); /* last: the op's memory may be gone when this returns */
}

static void finish(struct ops *ops, struct op *op, int32_t result)
{
    bool was_cancelled = result == -ECANCELED || result == -EINTR;

    op->result = op->closed && was_cancelled ? -EBADF : result;
    op->ended = true;
    if (LIKELY(!op->cancel_in_kernel))
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

static struct op *op_of(const struct io_uring_cqe *cqe)
{
    return (struct op *)(uintptr_t)(cqe->user_data & ADDRESS_MASK & ~CANCEL_BIT);
}

/* The answer to a cancel. EALREADY: a worker has been told, and will not begin anew. ENOENT: see
 * op.h. */
static void complete_cancel(struct ops *ops, struct op *op, int32_t result)
{
    CHECK(op->cancel_in_kernel);
    op->cancel_in_kernel = false;
    if (op->ended)
        let_go(ops, op);
    else if (result == -ENOENT)
        /* asked again before the next enter, which runs what is due */
        list_push_back(&ops->cancels, &op->queue_link);
}

static void complete(struct ops *ops, const struct io_uring_cqe *cqe)
{
    struct op *op = op_of(cqe);

    CHECK_SAY(op->state == OP_IN_KERNEL && user_data_of(op) == (cqe->user_data & ~CANCEL_BIT),
              "an op completed twice, or its memory was left too early: it is the kernel's until "
              "the last completion");
    if (UNLIKELY(cqe->user_data & CANCEL_BIT)) {
        complete_cancel(ops, op, cqe->res);
        return;
    }
    CHECK(!op->ended);
    op->cqe_flags = cqe->flags;
    if (list_linked(&op->queue_link))
        list_unlink(&op->queue_link); /* its cancel is not needed any more */
    if (op->polling)
        complete_poll(ops, op, cqe->res);
    else if (cqe->res == -EAGAIN && op->retry_events && !op->cancel_asked)
        ask_again(ops, op, true);
    else if (cqe->res == -EAGAIN && op->retry_events)
        finish(ops, op, -ECANCELED);
    else if (cqe->res == -EINTR && !op->cancel_asked)
        ask_again(ops, op, false);
    else
        finish(ops, op, cqe->res);
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

void ops_cancel(struct ops *ops, struct op *op)
{
    if (op->cancel_asked || (op->state != OP_QUEUED && op->state != OP_IN_KERNEL))
        return;
    op->cancel_asked = true;
    ops->cancel_count++;
    if (op->state == OP_QUEUED) {
        list_unlink(&op->queue_link);
        finish(ops, op, -ECANCELED);
    } else if (!push_cancel(ops, op)) {
        list_push_back(&ops->cancels, &op->queue_link);
    }
}

/* ---- entering -------------------------------------------------------------------------------- */

static void push_waiting_cancels(struct ops *ops)
{
    while (!list_empty(&ops->cancels)) {
        struct op *op = CONTAINER_OF(ops->cancels.next, struct op, queue_link);

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
        struct op *op = CONTAINER_OF(ops->backlog.next, struct op, queue_link);

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
    return ring_enter(&ops->ring, wait_ns);
}
