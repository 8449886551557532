/* Hands, shares and the queue; see buffers.h. */
#include "uring/buffers.h"

#include "base/check.h"
#include "base/log.h"
#include "base/sys.h"
#include "uring/raw.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    DEFAULT_COUNT = 16384,
    DEFAULT_BYTES = 4096,
    RING_ENTRIES_MAX = 256,
    LINE_BYTES = 64,
    LEAKS_NAMED_MAX = 8
};

enum hand { HAND_FREE, HAND_KERNEL, HAND_LENT };

struct buffer {
    uint32_t generation; /* one more each time it is lent */
    int32_t fd;          /* lent for a receive on it */
    uint8_t hand;
};

/* A buffer of a former run, or of another hub, must not be taken for one of ours. */
static _Atomic uint64_t last_serial;

void *buffers_data(const struct buffers *buffers, unsigned index)
{
    return buffers->memory + index * buffers->stride;
}

/* How many the descriptor has lent. The number stays with the descriptor's number when that is
 * closed and given out again: who holds buffers of the former one is not known. */
static uint16_t *share_of(const struct buffers *buffers, int fd)
{
    return &inflight_at(&buffers->ops->inflight, fd)->lent_buffers;
}

/* ---- hands ----------------------------------------------------------------------------------- */

static unsigned *count_of(struct buffers *buffers, enum hand hand)
{
    switch (hand) {
    case HAND_FREE:
        return &buffers->free_count;
    case HAND_KERNEL:
        return &buffers->kernel_count;
    default:
        return &buffers->lent_count;
    }
}

static void pass(struct buffers *buffers, unsigned index, enum hand from, enum hand to)
{
    CHECK(index < buffers->count && buffers->records[index].hand == from);
    buffers->records[index].hand = (uint8_t)to;
    --*count_of(buffers, from);
    ++*count_of(buffers, to);
    CHECK(buffers->free_count + buffers->kernel_count + buffers->lent_count == buffers->count);
}

static void lend(struct buffers *buffers, unsigned index, enum hand from, int fd)
{
    pass(buffers, index, from, HAND_LENT);
    buffers->records[index].generation++;
    buffers->records[index].fd = fd;
    ++*share_of(buffers, fd);
}

static void push_free(struct buffers *buffers, unsigned index, enum hand from)
{
    pass(buffers, index, from, HAND_FREE);
    buffers->free_stack[buffers->free_count - 1] = (uint16_t)index;
}

static unsigned top_of_free(const struct buffers *buffers)
{
    return buffers->free_stack[buffers->free_count - 1];
}

static void fill_ring(struct buffers *buffers)
{
    while (buffers->kernel_count < buffers->ring_entries && buffers->free_count > 0) {
        unsigned index = top_of_free(buffers);

        pass(buffers, index, HAND_FREE, HAND_KERNEL);
        provided_add(&buffers->provided, buffers_data(buffers, index), (unsigned)buffers->size,
                     (uint16_t)index);
    }
}

/* ---- shares and the queue -------------------------------------------------------------------- */

static bool may_have_another(const struct buffers *buffers, int fd)
{
    return *share_of(buffers, fd) < buffers->free_count;
}

bool buffers_may_choose(const struct buffers *buffers, int fd)
{
    return *share_of(buffers, fd) == 0 || may_have_another(buffers, fd);
}

int buffers_take(struct buffers *buffers, int fd)
{
    unsigned index;

    if (!may_have_another(buffers, fd))
        return *share_of(buffers, fd) == 0 && buffers->kernel_count > 0 ? -EAGAIN : -ENOBUFS;
    index = top_of_free(buffers);
    lend(buffers, index, HAND_FREE, fd);
    return (int)index;
}

void buffers_enlist(struct buffers *buffers, struct buffer_waiter *waiter)
{
    CHECK(!may_have_another(buffers, waiter->fd)); /* nobody might ever come to wake it */
    buffers->wait_count++;
    list_push_back(&buffers->waiters, &waiter->link);
}

void buffers_withdraw(struct buffer_waiter *waiter)
{
    list_unlink(&waiter->link);
}

/* The walk passes those who wait because of their share: as many as are greedy. */
static struct buffer_waiter *first_who_may(const struct buffers *buffers)
{
    for (struct list *link = buffers->waiters.next; link != &buffers->waiters; link = link->next) {
        struct buffer_waiter *waiter = CONTAINER_OF(link, struct buffer_waiter, link);

        if (may_have_another(buffers, waiter->fd))
            return waiter;
    }
    return NULL;
}

static void grant(struct buffer_waiter *waiter, int index)
{
    list_unlink(&waiter->link);
    waiter->index = index;
    waiter->on_granted(waiter);
}

static void serve(struct buffers *buffers)
{
    struct buffer_waiter *waiter;

    while (!list_empty(&buffers->waiters) && (waiter = first_who_may(buffers)))
        grant(waiter, buffers_take(buffers, waiter->fd));
}

void buffers_close_descriptor(struct buffers *buffers, int fd)
{
    struct list *link, *next;

    for (link = buffers->memory ? buffers->waiters.next : &buffers->waiters;
         link != &buffers->waiters; link = next) {
        struct buffer_waiter *waiter = CONTAINER_OF(link, struct buffer_waiter, link);

        next = link->next;
        if (waiter->fd == fd)
            grant(waiter, -EBADF);
    }
}

void buffers_return(struct buffers *buffers, unsigned index)
{
    push_free(buffers, index, HAND_LENT);
    --*share_of(buffers, buffers->records[index].fd);
    serve(buffers); /* before the ring, which gives to whoever comes first */
    fill_ring(buffers);
}

void buffers_chosen(struct buffers *buffers, unsigned index, int fd)
{
    lend(buffers, index, HAND_KERNEL, fd);
    fill_ring(buffers);
}

/* ---- tickets --------------------------------------------------------------------------------- */

uint64_t buffers_ticket(const struct buffers *buffers, unsigned index)
{
    return (uint64_t)buffers->records[index].generation << 32 | index;
}

int buffers_index(const struct buffers *buffers, uint64_t ticket)
{
    uint32_t index = (uint32_t)ticket;

    if (index >= buffers->count || buffers->records[index].hand != HAND_LENT ||
        buffers_ticket(buffers, index) != ticket)
        return -1;
    return (int)index;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

/* The largest power of two that leaves half of the buffers spare, or one. */
static unsigned ring_entries_for(unsigned count)
{
    unsigned entries = 1;

    while (entries * 2 <= count / 2 && entries < RING_ENTRIES_MAX)
        entries *= 2;
    return entries;
}

/* An odd number of cache lines, so that the buffers' first lines spread over the cache's sets. */
static size_t stride_for(size_t size)
{
    return (size + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES | LINE_BYTES;
}

static void free_memory(struct buffers *buffers)
{
    if (buffers->memory)
        sys_unreserve(buffers->memory, buffers->count * buffers->stride);
    free(buffers->records);
    free(buffers->free_stack);
    buffers->memory = NULL;
}

static int make_memory(struct buffers *buffers)
{
    buffers->memory = sys_reserve(buffers->count * buffers->stride, false);
    buffers->records = calloc(buffers->count, sizeof *buffers->records);
    buffers->free_stack = malloc(buffers->count * sizeof *buffers->free_stack);
    if (buffers->memory && buffers->records && buffers->free_stack)
        return 0;
    free_memory(buffers);
    return -ENOMEM;
}

int buffers_open(struct buffers *buffers, struct ops *ops)
{
    unsigned entries;

    buffers->ops = ops;
    buffers->size = buffers->size ? buffers->size : DEFAULT_BYTES;
    buffers->count = buffers->count ? buffers->count : DEFAULT_COUNT;
    buffers->stride = stride_for(buffers->size);
    if (make_memory(buffers) < 0)
        return -ENOMEM;
    list_init(&buffers->waiters);
    buffers->serial = atomic_fetch_add(&last_serial, 1) + 1;
    for (unsigned index = buffers->count; index-- > 0; buffers->free_count++)
        buffers->free_stack[buffers->free_count] = (uint16_t)index;
    entries = ring_entries_for(buffers->count);
    if (provided_open(&buffers->provided, &ops->ring, entries) == 0)
        buffers->ring_entries = entries;
    fill_ring(buffers);
    return 0;
}

static void name_leaks(const struct buffers *buffers)
{
    unsigned named = 0;

    if (buffers->lent_count == 0)
        return;
    log_line(LOG_WARNING, "pooled buffers not released before the end of the run: %u",
             buffers->lent_count);
    for (unsigned index = 0; index < buffers->count && named < LEAKS_NAMED_MAX; index++) {
        if (buffers->records[index].hand != HAND_LENT)
            continue;
        named++;
        log_line(LOG_WARNING, "  buffer %u, received on descriptor %d", index,
                 buffers->records[index].fd);
    }
    if (buffers->lent_count > named)
        log_line(LOG_WARNING, "  … and %u more", buffers->lent_count - named);
}

void buffers_close(struct buffers *buffers)
{
    if (!buffers->memory)
        return;
    CHECK(list_empty(&buffers->waiters));
    name_leaks(buffers);
    provided_close(&buffers->provided, &buffers->ops->ring);
    free_memory(buffers);
}
