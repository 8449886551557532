/*
 * Receiving into the hub's pool.
 *
 *     choose ─ a receive for which the kernel chooses a buffer when there is data
 *        │ ENOBUFS: there is data, and no buffer in the ring
 *     take ─── a spare one, or wait in the queue for one that is released
 *        │
 *     fill ─── a receive into it that does not wait
 *        │ EAGAIN: somebody else had the data: give it back, begin anew
 *
 * A descriptor that has its share waits for data before it queues for a buffer, and so does every
 * one where the kernel has no rings of buffers. So an idle receiver never holds a buffer, and
 * nobody is granted one just to find that there is nothing to put into it.
 */
#include "api/io/await.h"
#include "api/result.h"
#include "base/check.h"
#include "runtime/runtime.h"
#include "runtime/wait.h"
#include "uring/raw.h"

#include <errno.h>
#include <greenring/uring.h>
#include <poll.h>
#include <sys/socket.h>

#ifndef IORING_CQE_F_SOCK_NONEMPTY
#define IORING_CQE_F_SOCK_NONEMPTY (1U << 2)
#endif

enum { NONE = -1 };

/* A receive under way; index: the buffer that it holds, or NONE. */
struct receive {
    struct buffers *buffers;
    struct descriptor *entry;
    int fd, flags, index;
    uint16_t close_count; /* of the descriptor, when the call began */
};

static void give_back(struct receive *receive)
{
    if (receive->index != NONE)
        buffers_return(receive->buffers, (unsigned)receive->index);
    receive->index = NONE;
}

/* ---- choose ---------------------------------------------------------------------------------- */

/* While completions are reaped, so that the ring is full again before the kernel looks. */
static void note_chosen(struct op *op)
{
    if (op->cqe_flags & IORING_CQE_F_BUFFER)
        buffers_chosen(&hub_self()->buffers, op->cqe_flags >> IORING_CQE_BUFFER_SHIFT, op->fd);
    op_source_done(op);
}

/* With an empty ring an attempt fails whether there is data or not. */
static bool waits_first(const struct receive *receive)
{
    return !(receive->flags & MSG_DONTWAIT) &&
           (receive->entry->seems_drained || receive->buffers->kernel_count == 0);
}

static int choose(struct receive *receive)
{
    struct op op;
    int result;

    prep_recv_chosen(&op, receive->fd, BUFFER_GROUP, receive->flags);
    if (waits_first(receive))
        op.sqe.ioprio |= IORING_RECVSEND_POLL_FIRST;
    result = await_with(&op, "recv_buf", note_chosen);
    if (op.cqe_flags & IORING_CQE_F_BUFFER)
        receive->index = (int)(op.cqe_flags >> IORING_CQE_BUFFER_SHIFT);
    if (result > 0)
        receive->entry->seems_drained = !(op.cqe_flags & IORING_CQE_F_SOCK_NONEMPTY);
    return result;
}

/* Says ENOBUFS when there is data, as the kernel does. */
static int wait_for_data(const struct receive *receive)
{
    struct op op;
    int result;

    if (receive->flags & MSG_DONTWAIT)
        return -ENOBUFS;
    prep_poll(&op, receive->fd, POLLIN);
    result = await(&op, "recv_buf");
    return result < 0 ? result : -ENOBUFS;
}

/* ---- take ------------------------------------------------------------------------------------ */

struct buffer_wait {
    struct buffer_waiter waiter;
    struct source source;
};

static void granted(struct buffer_waiter *waiter)
{
    source_done(&CONTAINER_OF(waiter, struct buffer_wait, waiter)->source);
}

static void leave_queue(struct source *source)
{
    buffers_withdraw(&CONTAINER_OF(source, struct buffer_wait, source)->waiter);
    source_done(source);
}

static int wait_in_queue(struct receive *receive)
{
    struct buffer_wait waiting = { .waiter = { .fd = receive->fd, .on_granted = granted } };
    struct wait wait;
    int error = wait_begin(&wait, "recv_buf, for a buffer", receive->fd);

    if (error < 0)
        return error;
    wait_hold(&wait, &waiting.source, leave_queue);
    buffers_enlist(receive->buffers, &waiting.waiter);
    wait_park(&wait);
    return wait.winner ? waiting.waiter.index : wait_outcome(&wait);
}

/* 0: it has one. */
static int take(struct receive *receive)
{
    int index = buffers_take(receive->buffers, receive->fd);

    if (index == -ENOBUFS)
        index = receive->flags & MSG_DONTWAIT ? -EAGAIN : wait_in_queue(receive);
    if (index < 0)
        return index;
    receive->index = index;
    return 0;
}

/* ---- fill ------------------------------------------------------------------------------------ */

static int fill(struct receive *receive)
{
    struct buffers *buffers = receive->buffers;
    struct op op;
    int result;

    prep_recv(&op, receive->fd, buffers_data(buffers, (unsigned)receive->index), buffers->size,
              receive->flags | MSG_DONTWAIT);
    result = await(&op, "recv_buf");
    receive->entry->seems_drained = result == -EAGAIN; /* then the next attempt waits first */
    return result;
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* The number may have been closed and given out again while the task was ready to go on. */
static bool is_same_file(const struct receive *receive)
{
    return receive->close_count == receive->entry->close_count;
}

static int attempt(struct receive *receive)
{
    bool may_choose =
        receive->buffers->ring_entries && buffers_may_choose(receive->buffers, receive->fd);
    int result = may_choose ? choose(receive) : wait_for_data(receive);

    if (result != -ENOBUFS)
        return result;
    give_back(receive);
    if (!is_same_file(receive))
        return -EBADF;
    result = take(receive);
    if (result < 0)
        return result;
    return is_same_file(receive) ? fill(receive) : -EBADF;
}

static int receive_one(struct receive *receive)
{
    int result = attempt(receive);

    while ((result == -EAGAIN && !(receive->flags & MSG_DONTWAIT)) || result == -EINTR) {
        give_back(receive);
        if (!is_same_file(receive))
            return -EBADF;
        result = attempt(receive);
    }
    return result;
}

static int begin(struct receive *receive, struct gring_hub *hub, int fd, int flags)
{
    *receive = (struct receive){ .buffers = &hub->buffers,
                                 .entry = inflight_at(&hub->ops.inflight, fd),
                                 .fd = fd,
                                 .flags = flags,
                                 .index = NONE };
    if (flags & ~(MSG_DONTWAIT | MSG_PEEK))
        return -EINVAL;
    if (!receive->entry)
        return -EBADF;
    receive->close_count = receive->entry->close_count;
    return hub->buffers.memory ? 0 : buffers_open(&hub->buffers, &hub->ops);
}

static void hand_out(gring_buf *buf, const struct receive *receive, int size)
{
    unsigned index = (unsigned)receive->index;

    CHECK(receive->index != NONE); /* data, and nobody knows where */
    *buf =
        (gring_buf){ .data = buffers_data(receive->buffers, index),
                     .len = (size_t)size,
                     ._ = { receive->buffers->serial, buffers_ticket(receive->buffers, index) } };
}

ssize_t gring_recv_buf(int fd, gring_buf *buf, int flags)
{
    struct gring_hub *hub = hub_self();
    struct receive receive;
    int result;

    *buf = (gring_buf){ .data = NULL };
    if (!hub)
        return api_result(runtime_no_hub());
    result = begin(&receive, hub, fd, flags);
    if (result == 0)
        result = receive_one(&receive);
    if (result > 0)
        hand_out(buf, &receive, result);
    else
        give_back(&receive);
    return api_result(result);
}

/* ---- release --------------------------------------------------------------------------------- */

void gring_buf_release(gring_buf *buf)
{
    struct gring_hub *hub = hub_self();
    int index;

    if (!buf->_[0] || (!hub && runtime_no_hub() == -ECHILD))
        return; /* nothing, or the parent's, in the child of a fork */
    CHECK_SAY(hub && buf->_[0] == hub->buffers.serial,
              "a buffer was released on another hub than it was received on, on a plain thread, or "
              "after the end of its run");
    index = buffers_index(&hub->buffers, buf->_[1]);
    CHECK_SAY(index >= 0, "a buffer was released twice");
    buffers_return(&hub->buffers, (unsigned)index);
    buf->data = NULL;
    buf->len = 0;
}

int gring_buf_config(size_t size, unsigned count)
{
    struct gring_hub *hub = hub_self();

    if (!hub)
        return (int)api_result(runtime_no_hub());
    if (size == 0 || size > BUFFER_BYTES_MAX || count == 0 || count > BUFFER_COUNT_MAX)
        return (int)api_result(-EINVAL);
    if (hub->buffers.memory)
        return (int)api_result(-EBUSY);
    hub->buffers.size = size;
    hub->buffers.count = count;
    return 0;
}
