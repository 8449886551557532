/* Files and other descriptors: the calls that map to one op. */
#include "api/io/await.h"
#include "api/io/lost_signal.h"
#include "api/io/position.h"
#include "api/result.h"
#include "runtime/hub.h"
#include "uring/probe.h"

#include <errno.h>
#include <greenring/io.h>
#include <unistd.h>

ssize_t gring_read(int fd, void *buf, size_t size)
{
    struct op op;

    if (!hub_self())
        return read(fd, buf, size);
    if (size == 0 && !probe_pipe_nowait())
        return readv(fd, NULL, 0); /* asks no file; such a ring would wait for a pipe's bytes */
    prep_read(&op, fd, buf, size, -1);
    return api_result(await(&op, "read"));
}

ssize_t gring_pread(int fd, void *buf, size_t size, off_t offset)
{
    struct op op;
    int error;

    if (!hub_self())
        return pread(fd, buf, size, offset);
    error = position_check(fd, offset);
    if (error < 0)
        return api_result(error);
    prep_read(&op, fd, buf, size, offset);
    return api_result(await(&op, "pread"));
}

ssize_t gring_pwrite(int fd, const void *buf, size_t size, off_t offset)
{
    struct op op;
    int error;

    if (!hub_self())
        return pwrite(fd, buf, size, offset);
    error = position_check(fd, offset);
    if (error < 0)
        return api_result(error);
    prep_write(&op, fd, buf, size, offset);
    op_fence(&op);
    return api_result(await(&op, "pwrite"));
}

/* ---- vectors --------------------------------------------------------------------------------- */

/* A hint that the ring refuses, unless it is one that polls for completions. */
static int ring_flags(int flags)
{
    return flags & ~RWF_HIPRI;
}

/* Offset -1 is the position here, as in preadv2(2). */
static int offset_check(int fd, off_t offset)
{
    return offset == -1 ? 0 : position_check(fd, offset);
}

static int read_vector(int fd, const struct iovec *iov, int count, off_t offset, int flags,
                       const char *what)
{
    struct op op;
    int error = offset_check(fd, offset);

    if (error < 0)
        return error;
    prep_readv(&op, fd, iov, count, offset, ring_flags(flags));
    return await(&op, what);
}

static size_t total_bytes(const struct iovec *iov, int count)
{
    size_t total = 0;

    for (int index = 0; index < count; index++)
        total += iov[index].iov_len;
    return total;
}

static bool is_empty(const struct iovec *iov, int count)
{
    int index = 0;

    while (index < count && iov[index].iov_len == 0)
        index++;
    return index >= count;
}

/* The ring would send an empty datagram of nothing; the system call does not even ask the file. */
static int write_nothing(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    int saved_errno = errno;
    int result = pwritev2(fd, iov, count, offset, flags) < 0 ? -errno : 0;

    errno = saved_errno;
    return result;
}

static int write_vector(int fd, const struct iovec *iov, int count, off_t offset, int flags,
                        const char *what)
{
    struct opened file = opened_now(fd);
    off_t before = offset == -1 ? position_of(fd) : -1;
    struct op op;
    int result = offset_check(fd, offset);

    if (result < 0)
        return result;
    if (is_empty(iov, count))
        return write_nothing(fd, iov, count, offset, flags);
    prep_writev(&op, fd, iov, count, offset, ring_flags(flags));
    if ((offset >= 0 || before >= 0) && !(flags & RWF_NOWAIT))
        op_fence(&op);
    result = await(&op, what);
    if (result > 0)
        position_repair(file, before, result, total_bytes(iov, count), flags & RWF_APPEND);
    lost_signal_raise(fd, result);
    return result;
}

ssize_t gring_readv(int fd, const struct iovec *iov, int count)
{
    return hub_self() ? api_result(read_vector(fd, iov, count, -1, 0, "readv"))
                      : readv(fd, iov, count);
}

ssize_t gring_writev(int fd, const struct iovec *iov, int count)
{
    return hub_self() ? api_result(write_vector(fd, iov, count, -1, 0, "writev"))
                      : writev(fd, iov, count);
}

/* With RWF_NOWAIT the ring says EAGAIN at once. So would the system calls, but with O_DIRECT they
 * wait for the device. */
ssize_t gring_preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    return hub_self() ? api_result(read_vector(fd, iov, count, offset, flags, "preadv2"))
                      : preadv2(fd, iov, count, offset, flags);
}

ssize_t gring_pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    return hub_self() ? api_result(write_vector(fd, iov, count, offset, flags, "pwritev2"))
                      : pwritev2(fd, iov, count, offset, flags);
}
