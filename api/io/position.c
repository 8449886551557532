/* See position.h. */
#include "api/io/position.h"

#include "runtime/hub.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

off_t position_of(int fd)
{
    int saved_errno = errno;
    off_t position = lseek(fd, 0, SEEK_CUR);

    if (position < 0)
        position = -errno;
    errno = saved_errno;
    return position;
}

/* The hint saves the question. */
int position_check(int fd, off_t offset)
{
    struct descriptor *entry = inflight_at(&hub_self()->ops.inflight, fd);
    off_t position;

    if (offset < 0)
        return -EINVAL; /* to the ring, -1 would mean the file position */
    if (!entry || entry->is_seekable)
        return 0;
    position = position_of(fd);
    entry->is_seekable = position >= 0;
    return position == -ESPIPE ? -ESPIPE : 0;
}

void position_repair(int fd, uint16_t closes, off_t before, int written, size_t size, bool appended)
{
    int saved_errno = errno;

    if (before < 0 || written <= 0 || (size_t)written >= size ||
        inflight_close_count(&hub_self()->ops.inflight, fd) != closes)
        return;
    if (appended || fcntl(fd, F_GETFL) & O_APPEND)
        lseek(fd, 0, SEEK_END);
    else
        lseek(fd, before + written, SEEK_SET);
    errno = saved_errno;
}
