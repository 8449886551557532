/*
 * Moving bytes inside the kernel between pipes, sockets and files.
 *
 * A splice that waits occupies one of the kernel's few workers for as long as it waits. So the
 * waiting is done before it, by polls: on the source until it has something, on the target until it
 * has room. The splice itself is told not to wait, and asked again when it would have to. A
 * blocking socket waits all the same when more is sent than it has room for, so no more is sent at
 * a time than a socket that polls as writable takes. Should two tasks compete for the same room,
 * one of them may wait in a worker; a kill ends that, too.
 */
#ifndef GRING_API_IO_SPLICE_H
#define GRING_API_IO_SPLICE_H

#include "api/io/opened.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum {
    SPLICE_MAX = 0x7ffff000, /* as splice(2): no call moves more */
    NO_OFFSET = -1
};

/* One splice, as splice(2) has it, but for the offsets: NO_OFFSET is its NULL. */
struct transfer {
    struct opened in, out;
    off_t in_offset, out_offset;
    size_t size;
    unsigned flags;
    bool into_socket; /* splice_some's: the splice may wait after all */
};

/* Waits as above, then moves what goes at once: count, 0 at the end, -errno. -EAGAIN only with
 * SPLICE_F_NONBLOCK; -EBADF: an end is not the file any more that it was. */
int splice_some(struct transfer transfer);

/* Without the waiting before: for ends that are known to be ready. */
int splice_now(const struct transfer *transfer);

#endif
