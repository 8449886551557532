/*
 * sendfile(2), which has no opcode: into a file by a thread of ours, into all else by two splices
 * and a pipe of our own between them.
 *
 *     file ──► pipe ──► out
 *
 * What is left in the pipe when it is interrupted has not been sent: the file's offset counts what
 * has reached `out`.
 */
#include "api/io/copy.h"
#include "api/io/position.h"
#include "api/io/splice.h"
#include "api/result.h"
#include "runtime/hub.h"

#include <fcntl.h>
#include <greenring/io.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

/* 256 of them fit under the default fs.pipe-user-pages-soft. */
enum { PIPE_BYTES = 256 * 1024 };

/* ---- into a file ----------------------------------------------------------------------------- */

static bool is_file(int fd)
{
    struct stat status;
    int saved_errno = errno;
    bool is_regular = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);

    errno = saved_errno;
    return is_regular;
}

static int64_t send_on_thread(struct offloaded *call)
{
    struct copy *copy = CONTAINER_OF(call, struct copy, offloaded);

    return sendfile(call->fds[1], call->fds[0], copy->from_offset, copy->size);
}

static ssize_t send_by_thread(int out, int in, off_t *offset, size_t size)
{
    struct copy copy = { .offloaded = { .call = send_on_thread, .fds = { in, out } },
                         .from_offset = offset };

    return copy_in_slices(&copy, size, "sendfile");
}

/* ---- into all else --------------------------------------------------------------------------- */

struct sending {
    struct opened in, out;
    int pipe[2];
    size_t pipe_bytes;
    off_t offset; /* in the file, of what is sent next */
    off_t end;    /* of the file when it began; 0 if it has no size */
    size_t left, sent;
};

/* A socket that is promised more keeps what it has for a while, a datagram socket for ever. */
static unsigned promise_more(const struct sending *sending, size_t filled)
{
    bool comes = sending->left > filled && sending->offset + (off_t)filled < sending->end;

    return comes ? SPLICE_F_MORE : 0;
}

/* -errno, or whether all of it arrived. */
static int drain(struct sending *sending, size_t filled)
{
    struct transfer transfer = { .in = opened_now(sending->pipe[0]),
                                 .in_offset = NO_OFFSET,
                                 .out = sending->out,
                                 .out_offset = NO_OFFSET,
                                 .flags = promise_more(sending, filled) };

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
                                 .out = opened_now(sending->pipe[1]),
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

static off_t end_of(int in)
{
    struct stat status;
    int saved_errno = errno;
    off_t end = fstat(in, &status) == 0 ? status.st_size : 0;

    errno = saved_errno;
    return end;
}

static int open_pipe(struct sending *sending)
{
    int saved_errno = errno;

    if (pipe2(sending->pipe, O_CLOEXEC) < 0)
        return -errno;
    if (sending->left > PIPE_BYTES)
        (void)fcntl(sending->pipe[1], F_SETPIPE_SZ, PIPE_BYTES);
    sending->pipe_bytes = (size_t)fcntl(sending->pipe[1], F_GETPIPE_SZ);
    errno = saved_errno;
    return 0;
}

static void finish(struct sending *sending, off_t *offset)
{
    gring_close(sending->pipe[0]);
    gring_close(sending->pipe[1]);
    if (offset)
        *offset = sending->offset;
    else if (sending->sent > 0 && opened_still(sending->in))
        lseek(sending->in.fd, sending->offset, SEEK_SET);
}

static ssize_t send_by_pipe(int out, int in, off_t *offset, size_t size)
{
    struct sending sending = { .in = opened_now(in), .out = opened_now(out), .left = size };
    int error = check_target(out);

    if (error == 0)
        error = start_of(in, offset, &sending.offset);
    if (error == 0)
        error = open_pipe(&sending);
    if (error < 0)
        return error;
    sending.end = end_of(in);
    error = send_until_interrupted(&sending);
    finish(&sending, offset);
    return error < 0 && sending.sent == 0 ? error : (ssize_t)sending.sent;
}

ssize_t gring_sendfile(int out, int in, off_t *offset, size_t size)
{
    size_t wanted = size < SPLICE_MAX ? size : SPLICE_MAX;

    if (!hub_self())
        return sendfile(out, in, offset, size);
    return api_result(is_file(out) ? send_by_thread(out, in, offset, wanted)
                                   : send_by_pipe(out, in, offset, wanted));
}
