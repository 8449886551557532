/* The shared ring of buffers; see provided.h. */
#include "uring/provided.h"

#include "base/sys.h"
#include "uring/raw.h"

#include <errno.h>
#include <sys/mman.h>

static size_t bytes_of(unsigned entries)
{
    return entries * sizeof(struct io_uring_buf);
}

int provided_open(struct provided *provided, struct ring *ring, unsigned entries)
{
    struct io_uring_buf_reg registration = { .bgid = BUFFER_GROUP, .ring_entries = entries };
    void *shared;
    int error;

    if (feature_denied(FEATURE_BUFFER_RING))
        return -EINVAL;
    shared = sys_reserve(bytes_of(entries), false);
    if (!shared)
        return -ENOMEM;
    madvise(shared, bytes_of(entries), MADV_DONTFORK); /* as the rings */
    registration.ring_addr = (uint64_t)(uintptr_t)shared;
    error = io_uring_register_buf_ring(&ring->uring, &registration, 0);
    if (error < 0) {
        sys_unreserve(shared, bytes_of(entries));
        return error;
    }
    ring->features |= 1u << FEATURE_BUFFER_RING;
    *provided = (struct provided){ .shared = shared, .entries = entries };
    return 0;
}

void provided_close(struct provided *provided, struct ring *ring)
{
    if (!provided->shared)
        return;
    io_uring_unregister_buf_ring(&ring->uring, BUFFER_GROUP);
    sys_unreserve(provided->shared, bytes_of(provided->entries));
    provided->shared = NULL;
}

/* Field by field: the tail lies in the first entry's last bytes. */
void provided_add(struct provided *provided, void *start, unsigned size, uint16_t id)
{
    struct io_uring_buf *entry = &provided->shared->bufs[provided->tail & (provided->entries - 1)];

    entry->addr = (uint64_t)(uintptr_t)start;
    entry->len = size;
    entry->bid = id;
    provided->tail++;
    /* after the entry: the kernel reads up to here */
    __atomic_store_n(&provided->shared->tail, provided->tail, __ATOMIC_RELEASE);
}
