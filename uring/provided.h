/*
 * A ring of buffers that the kernel takes from when there is data (IORING_REGISTER_PBUF_RING).
 *
 *     we add at the tail ──► [ buffer buffer buffer ] ──► a receive with IOSQE_BUFFER_SELECT takes
 *                                                         the oldest when it completes
 *
 * The kernel says in the completion which one it took, and no earlier: an idle receive holds none.
 * Replaceable at link time, like ring.h.
 */
#ifndef GRING_URING_PROVIDED_H
#define GRING_URING_PROVIDED_H

#include "uring/ring.h"

#include <stddef.h>
#include <stdint.h>

struct provided {
    struct io_uring_buf_ring *shared; /* NULL: not open */
    unsigned entries;
    uint16_t tail;
};

/* entries: a power of two, at most 32,768. -errno: the kernel has no such rings, or no memory. */
int provided_open(struct provided *provided, struct ring *ring, unsigned entries);
void provided_close(struct provided *provided, struct ring *ring);

/* The buffer is the kernel's until a completion names its id. At most `entries` at a time. */
void provided_add(struct provided *provided, void *start, unsigned size, uint16_t id);

#endif
