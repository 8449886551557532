/* Files and other descriptors: the calls that map to one op. */
#include "api/io/await.h"
#include "api/result.h"
#include "runtime/hub.h"

#include <greenring/io.h>
#include <unistd.h>

ssize_t gring_read(int fd, void *buf, size_t size)
{
    struct op op;

    if (!hub_self())
        return read(fd, buf, size);
    prep_read(&op, fd, buf, size, -1);
    return api_result(await(&op, "read"));
}

/* POSIX has no positions on pipes and sockets; the ring would ignore the offset there. The hint
 * saves the question. */
static int check_position(int fd, off_t offset)
{
    struct descriptor *entry = inflight_at(&hub_self()->ops.inflight, fd);
    int saved_errno = errno;

    if (offset < 0)
        return -EINVAL; /* to the ring, -1 would mean the file position */
    if (!entry || entry->is_seekable)
        return 0;
    entry->is_seekable = lseek(fd, 0, SEEK_CUR) >= 0;
    if (!entry->is_seekable && errno == ESPIPE) {
        errno = saved_errno;
        return -ESPIPE;
    }
    errno = saved_errno;
    return 0;
}

ssize_t gring_pread(int fd, void *buf, size_t size, off_t offset)
{
    struct op op;
    int error;

    if (!hub_self())
        return pread(fd, buf, size, offset);
    error = check_position(fd, offset);
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
    error = check_position(fd, offset);
    if (error < 0)
        return api_result(error);
    prep_write(&op, fd, buf, size, offset);
    return api_result(await(&op, "pwrite"));
}

ssize_t gring_readv(int fd, const struct iovec *iov, int count)
{
    struct op op;

    if (!hub_self())
        return readv(fd, iov, count);
    prep_readv(&op, fd, iov, count, -1, 0);
    return api_result(await(&op, "readv"));
}

int gring_fsync(int fd)
{
    struct op op;

    if (!hub_self())
        return fsync(fd);
    prep_fsync(&op, fd, 0);
    return (int)api_result(await(&op, "fsync"));
}
