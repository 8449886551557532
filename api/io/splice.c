/*
 * Moving bytes inside the kernel between pipes, sockets and files.
 *
 * A splice that waits occupies one of the kernel's few workers for as long as it waits. So the waiting
 * is done before it, by polls: on the source until it has something, on the target until it has
 * room. The splice itself is told not to wait, and asked again when it would have to. A blocking
 * socket waits all the same when more is sent than it has room for, so no more is sent at a time
 * than a socket that polls as writable takes. Should two tasks compete for the same room, one of them
 * may wait in a worker; a kill ends that, too.
 */
#include "api/io/await.h"
#include "api/io/position.h"
#include "api/result.h"
#include "runtime/hub.h"

#include <fcntl.h>
#include <greenring/io.h>
#include <greenring/task.h>
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SPLICE_MAX = 0x7ffff000, /* as splice(2): no call moves more */
    ROOM_MIN = 4096,
    ROOM_SHARE = 4,
    NO_OFFSET = -1,
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

/* One splice, as splice(2) has it, but for the offsets: NO_OFFSET is its NULL. */
struct transfer {
    int in, out;
    off_t in_offset, out_offset;
    size_t size;
    unsigned flags;
};

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
    bool in_pipe = is_pipe(transfer->in), out_pipe = is_pipe(transfer->out);

    if (!is_open_for(transfer->in, O_WRONLY) || !is_open_for(transfer->out, O_RDONLY))
        return -EBADF;
    if (transfer->flags & ~(unsigned)KNOWN_FLAGS || (!in_pipe && !out_pipe))
        return -EINVAL;
    if ((in_pipe && transfer->in_offset != NO_OFFSET) ||
        (out_pipe && transfer->out_offset != NO_OFFSET))
        return -ESPIPE;
    return 0;
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
    return error < 0 ? error : await_ready(&ends[1]);
}

/* Until the source has something, or its end, and the target has room. -EAGAIN: not now, and the
 * caller does not want to wait. */
static int await_both(const struct transfer *transfer)
{
    struct pollfd ends[] = { { .fd = transfer->in, .events = POLLIN },
                             { .fd = transfer->out, .events = POLLOUT } };

    return poll(ends, 2, 0) == 2 ? 0 : await_unready(transfer, ends);
}

static int splice_now(const struct transfer *transfer)
{
    struct op op;

    prep_splice(&op, transfer->in, transfer->in_offset, transfer->out, transfer->out_offset,
                (uint32_t)transfer->size, transfer->flags | SPLICE_F_NONBLOCK);
    return await(&op, "splice");
}

/* Count, 0 at the end, -errno. */
static int splice_some(struct transfer transfer)
{
    size_t room = room_of(transfer.out);
    int result;

    transfer.size = transfer.size < room ? transfer.size : room;
    do {
        result = await_both(&transfer);
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
    struct transfer transfer = { .in = in, .out = out, .flags = flags };
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

/* ---- sendfile -------------------------------------------------------------------------------- */

/*
 * Two splices and a pipe of our own between them:
 *
 *     file ──► pipe ──► out
 *
 * What is left in the pipe when it is interrupted has not been sent: the file's offset counts what
 * has reached `out`.
 */
struct sending {
    int in, out;
    int pipe[2];
    size_t pipe_bytes;
    off_t offset; /* in the file, of what is sent next */
    size_t left, sent;
};

/* -errno, or whether all of it arrived. */
static int drain(struct sending *sending, size_t filled)
{
    struct transfer transfer = { .in = sending->pipe[0],
                                 .in_offset = NO_OFFSET,
                                 .out = sending->out,
                                 .out_offset = NO_OFFSET,
                                 .flags = sending->left > filled ? SPLICE_F_MORE : 0 };

    while (filled > 0) {
        int count;

        transfer.size = filled;
        count = splice_some(transfer);
        if (count <= 0)
            return count;
        filled -= (size_t)count;
        sending->offset += count;
        sending->sent += (size_t)count;
        sending->left -= (size_t)count;
    }
    return 1;
}

/* The pipe is empty: this waits for the device only. */
static int fill(const struct sending *sending)
{
    struct transfer transfer = { .in = sending->in,
                                 .in_offset = sending->offset,
                                 .out = sending->pipe[1],
                                 .out_offset = NO_OFFSET };

    transfer.size = sending->left < sending->pipe_bytes ? sending->left : sending->pipe_bytes;
    return splice_now(&transfer);
}

static int send_all(struct sending *sending)
{
    int result = 1;

    while (sending->left > 0 && result > 0) {
        result = fill(sending);
        if (result > 0)
            result = drain(sending, (size_t)result);
    }
    return result;
}

static int send_until_interrupted(struct sending *sending)
{
    struct gring_task *task = hub_self()->running;
    int error;

    if (!task)
        return send_all(sending); /* in a callback: says what is wrong */
    task_hold_reports(task);
    error = send_all(sending);
    task_release_reports(task, sending->sent == 0);
    return error;
}

/* What sendfile(2) finds out before it looks at the file. */
static int check_target(int out)
{
    int saved_errno = errno;
    int flags = fcntl(out, F_GETFL);

    errno = saved_errno;
    if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY)
        return -EBADF;
    return flags & O_APPEND ? -EINVAL : 0;
}

static int start_of(int in, const off_t *offset, off_t *start)
{
    off_t position = position_of(in);

    if (position < 0)
        return position == -ESPIPE && !offset ? -EINVAL : (int)position;
    *start = offset ? *offset : position;
    return *start < 0 ? -EINVAL : 0;
}

static int open_pipe(struct sending *sending)
{
    if (pipe2(sending->pipe, O_CLOEXEC) < 0)
        return -errno;
    sending->pipe_bytes = (size_t)fcntl(sending->pipe[1], F_GETPIPE_SZ);
    return 0;
}

static void finish(struct sending *sending, off_t *offset)
{
    gring_close(sending->pipe[0]);
    gring_close(sending->pipe[1]);
    if (offset)
        *offset = sending->offset;
    else if (sending->sent > 0)
        lseek(sending->in, sending->offset, SEEK_SET);
}

static ssize_t send_green(int out, int in, off_t *offset, size_t size)
{
    struct sending sending = { .in = in, .out = out, .left = size };
    int error = check_target(out);

    if (error == 0)
        error = start_of(in, offset, &sending.offset);
    if (error == 0)
        error = open_pipe(&sending);
    if (error < 0)
        return error;
    error = send_until_interrupted(&sending);
    finish(&sending, offset);
    return error < 0 && sending.sent == 0 ? error : (ssize_t)sending.sent;
}

ssize_t gring_sendfile(int out, int in, off_t *offset, size_t size)
{
    if (!hub_self())
        return sendfile(out, in, offset, size);
    return api_result(send_green(out, in, offset, size < SPLICE_MAX ? size : SPLICE_MAX));
}
