/* See position.h. */
#include "api/io/position.h"

#include "runtime/hub.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
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

/* A transfer of nothing, of which only the kernel's opinion of the descriptor comes back. lseek(2)
 * would not do: an eventfd, for example, says it is at 0. */
static int ask_for_offsets(int fd)
{
    int saved_errno = errno;
    int error = preadv2(fd, NULL, 0, 0, 0) < 0 ? -errno : 0;

    errno = saved_errno;
    return error;
}

/* The ring ignores the offset where there is none. The hint saves the question. */
int position_check(int fd, off_t offset)
{
    struct descriptor *entry = inflight_at(&hub_self()->ops.inflight, fd);
    int error;

    if (offset < 0)
        return -EINVAL; /* to the ring, -1 would mean the file position */
    if (!entry || entry->is_seekable)
        return 0;
    error = ask_for_offsets(fd);
    entry->is_seekable = error == 0;
    return error == -ESPIPE ? -ESPIPE : 0;
}

void position_repair(struct opened file, off_t before, int written, size_t size, bool appended)
{
    int saved_errno = errno;

    if (before < 0 || written <= 0 || (size_t)written >= size || !opened_still(file))
        return;
    if (appended || fcntl(file.fd, F_GETFL) & O_APPEND)
        lseek(file.fd, 0, SEEK_END);
    else
        lseek(file.fd, before + written, SEEK_SET);
    errno = saved_errno;
}
