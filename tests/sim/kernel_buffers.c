/*
 * Provided buffers: the ring that the library shares with the kernel, and the one buffer that each
 * receive with IOSQE_BUFFER_SELECT takes out of it; see io_uring_register_buf_ring(3).
 *
 *     attempt: select ──► nothing there: put back, asked again at the next attempt
 *                │   └──► bytes, sometimes an error: settled, its number in the completion
 *                └ none: ENOBUFS, be there data or not
 */
#include "tests/sim/kernel.h"

#include <errno.h>
#include <string.h>

enum { GARBAGE_BYTES = 64 };

static struct {
    struct io_uring_buf_ring *shared;
    unsigned entries;
    uint16_t group, head;
} provided;

int __wrap_io_uring_register_buf_ring(struct io_uring *ring, struct io_uring_buf_reg *registration,
                                      unsigned flags);
int __wrap_io_uring_unregister_buf_ring(struct io_uring *ring, int group);

int __wrap_io_uring_register_buf_ring(struct io_uring *ring, struct io_uring_buf_reg *registration,
                                      unsigned flags)
{
    (void)ring;
    (void)flags;
    if (memory_fails())
        return -ENOMEM;
    provided.shared = (struct io_uring_buf_ring *)(uintptr_t)registration->ring_addr;
    provided.entries = registration->ring_entries;
    provided.group = registration->bgid;
    provided.head = 0;
    return 0;
}

int __wrap_io_uring_unregister_buf_ring(struct io_uring *ring, int group)
{
    (void)ring;
    if (!provided.shared || group != provided.group)
        return -EINVAL;
    provided.shared = NULL;
    return 0;
}

static struct io_uring_buf *first(void)
{
    return &provided.shared->bufs[provided.head & (provided.entries - 1)];
}

/* It is the kernel's, which may write into it though nothing comes of that. */
static void scribble(const struct io_uring_buf *buffer)
{
    size_t size = buffer->len < GARBAGE_BYTES ? buffer->len : GARBAGE_BYTES;

    if (sim_chance(500))
        memset((void *)(uintptr_t)buffer->addr, 0xdb, size);
}

int buffer_select(struct io_request *request)
{
    uint16_t waiting;

    if (!provided.shared || request->sqe.buf_group != provided.group)
        return -ENOBUFS;
    waiting = (uint16_t)(provided.shared->tail - provided.head);
    if (waiting > provided.entries)
        sim_fail("the ring of buffers has %u entries and holds %u", provided.entries, waiting);
    if (waiting == 0) {
        sometimes(BUFFERS_RAN_OUT);
        return -ENOBUFS;
    }
    scribble(first());
    request->single.iov_base = (void *)(uintptr_t)first()->addr;
    request->single.iov_len = first()->len;
    return 0;
}

void buffer_settle(struct io_request *request, int result)
{
    bool is_chosen = result > 0;

    if (result <= 0 && result != WOULD_BLOCK && sim_chance(300)) {
        sometimes(BUFFER_CAME_WITHOUT_DATA);
        is_chosen = true;
    }
    if (is_chosen)
        request->cqe_flags |= IORING_CQE_F_BUFFER | (uint32_t)first()->bid
                                                        << IORING_CQE_BUFFER_SHIFT;
    provided.head += is_chosen;
    request->single = (struct iovec){ 0 };
}
