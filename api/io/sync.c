/* Making sure that a file's bytes are on the device. */
#include "api/io/await.h"
#include "api/io/offloaded.h"
#include "api/result.h"
#include "runtime/hub.h"

#include <fcntl.h>
#include <greenring/io.h>
#include <unistd.h>

int gring_fsync(int fd)
{
    struct op op;

    if (!hub_self())
        return fsync(fd);
    prep_fsync(&op, fd, 0);
    return (int)api_result(await(&op, "fsync"));
}

int gring_fdatasync(int fd)
{
    struct op op;

    if (!hub_self())
        return fdatasync(fd);
    prep_fsync(&op, fd, IORING_FSYNC_DATASYNC);
    return (int)api_result(await(&op, "fdatasync"));
}

/* ---- ranges ---------------------------------------------------------------------------------- */

struct range {
    struct offloaded offloaded;
    off_t offset, size;
    unsigned flags;
};

static int64_t sync_range(struct offloaded *call)
{
    struct range *range = CONTAINER_OF(call, struct range, offloaded);

    return sync_file_range(call->fds[0], range->offset, range->size, range->flags);
}

static int sync_by_thread(int fd, off_t offset, off_t size, unsigned flags)
{
    struct range range = { .offloaded = { .call = sync_range, .fds = { fd, -1 } },
                           .offset = offset,
                           .size = size,
                           .flags = flags };

    return (int)offloaded_await(&range.offloaded, "sync_file_range");
}

static int sync_by_ring(int fd, off_t offset, off_t size, unsigned flags)
{
    struct op op;

    prep_sync_file_range(&op, fd, offset, (uint32_t)size, flags);
    return await(&op, "sync_file_range");
}

/* The ring's length has 32 bits. */
int gring_sync_file_range(int fd, off_t offset, off_t size, unsigned flags)
{
    bool fits = size >= 0 && size <= UINT32_MAX;

    if (!hub_self())
        return sync_file_range(fd, offset, size, flags);
    return (int)api_result(fits ? sync_by_ring(fd, offset, size, flags)
                                : sync_by_thread(fd, offset, size, flags));
}
