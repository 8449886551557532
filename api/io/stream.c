/* Transfers of all the bytes: write(2)'s own promise on pipes and sockets, and the _full calls. */
#include "api/io/await.h"
#include "api/io/lost_signal.h"
#include "api/io/opened.h"
#include "api/io/position.h"
#include "api/result.h"
#include "runtime/hub.h"
#include "uring/probe.h"

#include <greenring/io.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x00000100 /* Linux 6.18 */
#endif

enum { WRITE_MAX = 0x7ffff000 }; /* as write(2): no call moves more */

/* One transfer of up to size bytes: count, 0 at the end of a file, or -errno. */
typedef int (*transfer_fn)(int fd, char *buf, size_t size);

/*
 * Repeats the transfer until size bytes have moved, nothing moves any more, or it fails.
 * Progress is never lost: *done says how much, whatever the result: 0 or -errno. -EBADF: between
 * two transfers the descriptor was closed; its number may be another one's already.
 */
static int transfer_all(transfer_fn transfer, int fd, char *buf, size_t size, size_t *done)
{
    struct opened file = opened_now(fd);
    int result = 1;

    for (*done = 0; *done < size && result > 0; *done += result > 0 ? (size_t)result : 0)
        result = opened_still(file) ? transfer(fd, buf + *done, size - *done) : -EBADF;
    return result < 0 ? result : 0;
}

static ssize_t full_result(int error, size_t moved, size_t *done)
{
    if (done)
        *done = moved;
    return api_result(error < 0 ? error : (ssize_t)moved);
}

/* ---- read ------------------------------------------------------------------------------------ */

static int read_some(int fd, char *buf, size_t size)
{
    ssize_t result = gring_read(fd, buf, size);

    return result < 0 ? -errno : (int)result;
}

ssize_t gring_read_full(int fd, void *buf, size_t size, size_t *done)
{
    size_t moved;
    int saved_errno = errno;
    int error = transfer_all(read_some, fd, buf, size, &moved);

    errno = saved_errno;
    return full_result(error, moved, done);
}

/* ---- write ----------------------------------------------------------------------------------- */

static int write_some(int fd, char *buf, size_t size)
{
    struct op op;

    prep_write(&op, fd, buf, size, -1);
    return await(&op, "write");
}

static int write_some_of_file(int fd, char *buf, size_t size)
{
    struct opened file = opened_now(fd);
    off_t position = position_of(fd);
    struct op op;
    int result;

    prep_write(&op, fd, buf, size, -1);
    op_fence(&op);
    result = await(&op, "write");
    position_repair(file, position, result, size, false);
    return result;
}

/* What was written is the result then, and the interruption stays pending, unreported, for the
 * next call. */
static int write_until_interrupted(int fd, char *buf, size_t size, size_t *moved)
{
    struct gring_task *task = hub_self()->running;
    int error;

    *moved = 0;
    if (!task)
        return write_some(fd, buf, size); /* in a callback: says what is wrong */
    task_hold_reports(task);
    error = transfer_all(write_some, fd, buf, size, moved);
    task_release_reports(task, *moved == 0);
    return error;
}

/* As write(2): one transfer on what has a position, on the others until all is written. */
ssize_t gring_write(int fd, const void *buf, size_t size)
{
    char *bytes = (char *)(uintptr_t)buf;
    size_t wanted = size < WRITE_MAX ? size : WRITE_MAX, moved;
    int error;

    if (!hub_self())
        return write(fd, buf, size);
    if (wanted == 0 && !probe_pipe_nowait())
        return writev(fd, NULL, 0); /* asks no file; such a ring would wait for room in a pipe */
    if (wanted == 0 || position_of(fd) >= 0)
        return api_result(write_some_of_file(fd, bytes, wanted));
    error = write_until_interrupted(fd, bytes, wanted, &moved);
    lost_signal_raise(fd, error);
    return api_result(error < 0 && moved == 0 ? error : (ssize_t)moved);
}

/* ---- write, all of it, without a signal ------------------------------------------------------ */

static int send_some(int fd, char *buf, size_t size)
{
    struct op op;

    prep_send(&op, fd, buf, size, MSG_NOSIGNAL | MSG_WAITALL);
    return await(&op, "write");
}

static int write_some_silently(int fd, char *buf, size_t size)
{
    struct iovec iov = { .iov_base = buf, .iov_len = size };
    struct op op;

    prep_writev(&op, fd, &iov, 1, -1, RWF_NOSIGNAL);
    return await(&op, "write");
}

/* The hint is right unless the number was closed behind our back and given out again; SEND finds
 * that out. */
static bool is_socket(int fd)
{
    struct descriptor *entry = inflight_at(&hub_self()->ops.inflight, fd);
    struct stat status;

    if (entry && entry->is_socket)
        return true;
    if (!entry || fstat(fd, &status) < 0 || !S_ISSOCK(status.st_mode))
        return false;
    return entry->is_socket = true;
}

/* Signals come from pipes only: what has a position is written plainly, and repaired. */
static transfer_fn silent_writer(int fd)
{
    if (position_of(fd) >= 0)
        return write_some_of_file;
    return probe_rwf_nosignal() ? write_some_silently : write_some;
}

static int write_all_green(int fd, char *buf, size_t size, size_t *moved)
{
    int error;

    if (!is_socket(fd))
        return transfer_all(silent_writer(fd), fd, buf, size, moved);
    error = transfer_all(send_some, fd, buf, size, moved);
    if (error == -ENOTSOCK) {
        inflight_at(&hub_self()->ops.inflight, fd)->is_socket = false;
        error = transfer_all(silent_writer(fd), fd, buf, size, moved);
    }
    return error;
}

static int write_some_blocking(int fd, char *buf, size_t size)
{
    int saved_errno = errno;
    ssize_t result = send(fd, buf, size, MSG_NOSIGNAL);

    if (result < 0 && errno == ENOTSOCK)
        result = write(fd, buf, size);
    if (result < 0)
        return -errno;
    errno = saved_errno;
    return (int)result;
}

ssize_t gring_write_full(int fd, const void *buf, size_t size, size_t *done)
{
    char *bytes = (char *)(uintptr_t)buf;
    size_t moved;
    int error = hub_self() ? write_all_green(fd, bytes, size, &moved)
                           : transfer_all(write_some_blocking, fd, bytes, size, &moved);

    return full_result(error, moved, done);
}
