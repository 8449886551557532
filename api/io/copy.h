/*
 * Moving bytes between two files by a thread of ours, in slices: between two of them the task can
 * be interrupted, and says then how far it came.
 */
#ifndef GRING_API_IO_COPY_H
#define GRING_API_IO_COPY_H

#include "api/io/offloaded.h"

struct copy {
    struct offloaded offloaded; /* fds: from, to; the call moves `size` bytes */
    off_t *from_offset, *to_offset;
    size_t size; /* of this slice */
    unsigned flags;
};

/* size: of all of it, at most what one call of the kernel moves. The count, or -errno. */
ssize_t copy_in_slices(struct copy *copy, size_t size, const char *what);

#endif
