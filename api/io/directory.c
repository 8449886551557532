/* Reading directories, for which the ring has no opcode. */
#include "api/io/offloaded.h"
#include "api/result.h"
#include "runtime/hub.h"

#include <dirent.h>
#include <greenring/io.h>

struct listing {
    struct offloaded offloaded;
    void *buf;
    size_t size;
};

static int64_t list_entries(struct offloaded *call)
{
    struct listing *listing = CONTAINER_OF(call, struct listing, offloaded);

    return getdents64(call->fds[0], listing->buf, listing->size);
}

ssize_t gring_getdents64(int fd, void *buf, size_t size)
{
    struct listing listing = { .offloaded = { .call = list_entries, .fds = { fd, -1 } },
                               .buf = buf,
                               .size = size };

    if (!hub_self())
        return getdents64(fd, buf, size);
    return api_result(offloaded_await(&listing.offloaded, "getdents64"));
}
