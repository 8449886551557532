/* The size of a file, the space it has on the device, and what the kernel may expect of its use. */
#include "api/io/await.h"
#include "api/io/offloaded.h"
#include "api/result.h"
#include "runtime/hub.h"

#include <fcntl.h>
#include <greenring/io.h>
#include <unistd.h>

/* A call on a range of a file: what a thread needs to know of it. */
struct range {
    struct offloaded offloaded;
    off_t offset, size;
    int advice;
};

/* ---- ftruncate ------------------------------------------------------------------------------- */

static int64_t cut(struct offloaded *call)
{
    return ftruncate(call->fds[0], CONTAINER_OF(call, struct range, offloaded)->size);
}

static int cut_by_thread(int fd, off_t size)
{
    struct range range = { .offloaded = { .call = cut, .fds = { fd, -1 } }, .size = size };

    return (int)offloaded_await(&range.offloaded, "ftruncate");
}

static int cut_by_ring(int fd, off_t size)
{
    struct op op;

    prep_ftruncate(&op, fd, size);
    return await(&op, "ftruncate");
}

int gring_ftruncate(int fd, off_t size)
{
    struct gring_hub *hub = hub_self();

    if (!hub || size < 0)
        return ftruncate(fd, size); /* a negative size is refused at once */
    return (int)api_result(ring_has(&hub->ops.ring, FEATURE_FTRUNCATE) ? cut_by_ring(fd, size)
                                                                       : cut_by_thread(fd, size));
}

/* ---- fallocate ------------------------------------------------------------------------------- */

int gring_fallocate(int fd, int mode, off_t offset, off_t size)
{
    struct op op;

    if (!hub_self())
        return fallocate(fd, mode, offset, size);
    prep_fallocate(&op, fd, mode, offset, size);
    return (int)api_result(await(&op, "fallocate"));
}

/* ---- fadvise --------------------------------------------------------------------------------- */

/* posix_fadvise(2) returns its error and leaves errno alone. */
static int advise(int fd, off_t offset, off_t size, int advice)
{
    return (int)api_result(-posix_fadvise(fd, offset, size, advice));
}

static int64_t advise_on_thread(struct offloaded *call)
{
    struct range *range = CONTAINER_OF(call, struct range, offloaded);

    return advise(call->fds[0], range->offset, range->size, range->advice);
}

static int advise_by_thread(int fd, off_t offset, off_t size, int advice)
{
    struct range range = { .offloaded = { .call = advise_on_thread, .fds = { fd, -1 } },
                           .offset = offset,
                           .size = size,
                           .advice = advice };

    return (int)offloaded_await(&range.offloaded, "fadvise");
}

static int advise_by_ring(int fd, off_t offset, off_t size, int advice)
{
    struct op op;

    prep_fadvise(&op, fd, offset, (uint32_t)size, advice);
    return await(&op, "fadvise");
}

/* The ring's length has 32 bits. */
int gring_fadvise(int fd, off_t offset, off_t size, int advice)
{
    bool fits = size >= 0 && size <= UINT32_MAX;

    if (!hub_self())
        return advise(fd, offset, size, advice);
    return (int)api_result(fits ? advise_by_ring(fd, offset, size, advice)
                                : advise_by_thread(fd, offset, size, advice));
}
