/* See splice.h. */
#include "api/io/splice.h"

#include "api/io/await.h"
#include "api/result.h"
#include "runtime/hub.h"

#include <fcntl.h>
#include <greenring/io.h>
#include <poll.h>
#include <sys/socket.h>

enum {
    ROOM_MIN = 4096,
    ROOM_SHARE = 4,
    KNOWN_FLAGS = SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT
};

/* ---- one splice ------------------------------------------------------------------------------ */

/* Room to send: a TCP socket is writable from a third of its buffer on, others from more. SIZE_MAX:
 * not a socket. */
static size_t room_of(int fd)
{
    int saved_errno = errno, bytes;
    socklen_t length = sizeof bytes;

    if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, &length) < 0) {
        errno = saved_errno;
        return SIZE_MAX;
    }
    return bytes / ROOM_SHARE > ROOM_MIN ? (size_t)(bytes / ROOM_SHARE) : ROOM_MIN;
}

static bool is_pipe(int fd)
{
    return fcntl(fd, F_GETPIPE_SZ) >= 0;
}

static bool is_open_for(int fd, int other_mode)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && !(flags & O_PATH) && (flags & O_ACCMODE) != other_mode;
}

static int find_mistake(const struct transfer *transfer)
{
    bool in_pipe = is_pipe(transfer->in.fd), out_pipe = is_pipe(transfer->out.fd);

    if (!is_open_for(transfer->in.fd, O_WRONLY) || !is_open_for(transfer->out.fd, O_RDONLY))
        return -EBADF;
    if (transfer->flags & ~(unsigned)KNOWN_FLAGS || (!in_pipe && !out_pipe))
        return -EINVAL;
    if ((in_pipe && transfer->in_offset != NO_OFFSET) ||
        (out_pipe && transfer->out_offset != NO_OFFSET))
        return -ESPIPE;
    return 0;
}

static bool is_as_it_began(const struct transfer *transfer)
{
    return opened_still(transfer->in) && opened_still(transfer->out);
}

static int await_ready(const struct pollfd *end)
{
    struct op op;
    int result;

    if (end->revents)
        return 0;
    prep_poll(&op, end->fd, (unsigned)end->events);
    result = await(&op, "splice");
    return result < 0 ? result : 0;
}

/* What the kernel would refuse must not wait first. */
static int await_unready(const struct transfer *transfer, const struct pollfd ends[2])
{
    int saved_errno = errno;
    int error = find_mistake(transfer);

    errno = saved_errno;
    if (error == 0 && transfer->flags & SPLICE_F_NONBLOCK)
        error = -EAGAIN;
    if (error == 0)
        error = await_ready(&ends[0]);
    if (error == 0 && !is_as_it_began(transfer))
        error = -EBADF;
    return error < 0 ? error : await_ready(&ends[1]);
}

/* Until the source has something, or its end, and the target has room. -EAGAIN: not now, and the
 * caller does not want to wait. */
static int await_both(const struct transfer *transfer)
{
    struct pollfd ends[] = { { .fd = transfer->in.fd, .events = POLLIN },
                             { .fd = transfer->out.fd, .events = POLLOUT } };

    return poll(ends, 2, 0) == 2 ? 0 : await_unready(transfer, ends);
}

static int ask_for_splice(const struct transfer *transfer)
{
    struct op op;

    prep_splice(&op, transfer->in.fd, transfer->in_offset, transfer->out.fd, transfer->out_offset,
                (uint32_t)transfer->size, transfer->flags | SPLICE_F_NONBLOCK);
    return await(&op, "splice");
}

/*
 * The op is the target's. The source is looked up when a worker begins: until the end its number
 * must not become another file's, so its close waits for us. Not if we might wait for a socket's
 * peer: a close must not do that.
 */
int splice_now(const struct transfer *transfer)
{
    struct inflight *inflight = &hub_self()->ops.inflight;
    struct op hold = { .fd = transfer->in.fd };
    int result;

    if (!is_as_it_began(transfer))
        return -EBADF;
    if (transfer->into_socket)
        return ask_for_splice(transfer);
    result = inflight_add(inflight, &hold);
    if (result < 0)
        return result;
    result = ask_for_splice(transfer);
    inflight_remove(inflight, &hold);
    return result;
}

int splice_some(struct transfer transfer)
{
    size_t room = room_of(transfer.out.fd);
    int result;

    transfer.into_socket = room != SIZE_MAX;
    transfer.size = transfer.size < room ? transfer.size : room;
    do {
        result = is_as_it_began(&transfer) ? await_both(&transfer) : -EBADF;
        if (result == 0)
            result = splice_now(&transfer);
    } while (result == -EAGAIN && !(transfer.flags & SPLICE_F_NONBLOCK));
    return result;
}

/* To the ring -1 is none; another negative one is refused as -1 is by splice(2). */
static off_t offset_of(const off_t *offset)
{
    if (!offset)
        return NO_OFFSET;
    return *offset == NO_OFFSET ? NO_OFFSET - 1 : *offset;
}

static void advance(off_t *offset, int result)
{
    if (offset && result > 0)
        *offset += result;
}

ssize_t gring_splice(int in, off_t *in_offset, int out, off_t *out_offset, size_t size,
                     unsigned flags)
{
    struct transfer transfer = { .in = opened_now(in), .out = opened_now(out), .flags = flags };
    int result;

    if (!hub_self() || size == 0)
        return splice(in, in_offset, out, out_offset, size, flags);
    transfer.in_offset = offset_of(in_offset);
    transfer.out_offset = offset_of(out_offset);
    transfer.size = size < SPLICE_MAX ? size : SPLICE_MAX;
    result = splice_some(transfer);
    advance(in_offset, result);
    advance(out_offset, result);
    return api_result(result);
}
