/* The table of descriptors and their ops; see inflight.h. */
#include "uring/inflight.h"

#include "base/check.h"
#include "base/sys.h"
#include "uring/op.h"

#include <errno.h>

/* descriptor numbers beyond 16 million are refused */
enum { CAPACITY_MIN = 1 << 20, CAPACITY_MAX = 1 << 24 };

/* Process-wide, one byte a number: set when a task first uses it, cleared at our close. */
static _Atomic(atomic_bool *) ever_used;
static size_t ever_used_capacity;

static size_t table_capacity(void)
{
    size_t limit = sys_descriptor_limit();

    if (limit < CAPACITY_MIN)
        return CAPACITY_MIN; /* it may be raised later */
    return limit < CAPACITY_MAX ? limit : CAPACITY_MAX;
}

int inflight_open(struct inflight *inflight)
{
    inflight->capacity = table_capacity();
    inflight->table = sys_reserve(inflight->capacity * sizeof *inflight->table, false);
    if (!inflight->table)
        return -ENOMEM;
    if (!atomic_load(&ever_used)) {
        ever_used_capacity = inflight->capacity;
        /* NULL: every close asks the hub */
        atomic_store(&ever_used, sys_reserve(ever_used_capacity, false));
    }
    return 0;
}

void inflight_close(struct inflight *inflight)
{
    sys_unreserve(inflight->table, inflight->capacity * sizeof *inflight->table);
    inflight->table = NULL; /* ever_used stays: other threads may be looking */
}

bool inflight_ever_used(int fd)
{
    atomic_bool *used = atomic_load_explicit(&ever_used, memory_order_relaxed);

    if (!used || (size_t)(unsigned)fd >= ever_used_capacity)
        return true;
    return atomic_load_explicit(&used[fd], memory_order_relaxed);
}

int inflight_next_used(int first)
{
    atomic_bool *used = atomic_load_explicit(&ever_used, memory_order_relaxed);

    for (size_t fd = (size_t)first; fd < ever_used_capacity; fd++)
        if (!used || atomic_load_explicit(&used[fd], memory_order_relaxed))
            return (int)fd;
    return -1;
}

static void mark_used(int fd, bool value)
{
    atomic_bool *used = atomic_load_explicit(&ever_used, memory_order_relaxed);

    if (used && (size_t)(unsigned)fd < ever_used_capacity &&
        atomic_load_explicit(&used[fd], memory_order_relaxed) != value)
        atomic_store_explicit(&used[fd], value, memory_order_relaxed);
}

int inflight_add(struct inflight *inflight, struct op *op)
{
    struct descriptor *entry = inflight_at(inflight, op->fd);
    struct list *link = &op->descriptor_link;

    if (!entry || entry->closing)
        return -EBADF;
    link->prev = NULL;
    link->next = entry->ops;
    if (entry->ops)
        entry->ops->prev = link;
    entry->ops = link;
    if (UNLIKELY(!entry->marked_used)) {
        entry->marked_used = true;
        mark_used(op->fd, true);
    }
    return 0;
}

void inflight_remove(struct inflight *inflight, struct op *op)
{
    struct descriptor *entry = inflight_at(inflight, op->fd);
    struct list *link = &op->descriptor_link;

    if (link->next)
        link->next->prev = link->prev;
    if (link->prev)
        link->prev->next = link->next;
    else
        entry->ops = link->next;
    if (!entry->ops && entry->closer)
        entry->closer->on_drained(entry->closer);
}

/* An op that the kernel never saw is done, and gone from the list, within ops_cancel: hence `next`
 * first. If it was in a chain, others here may have gone with it: then from the beginning. */
static void cancel_all(struct ops *ops, struct descriptor *entry)
{
    struct list *link = entry->ops;

    while (link) {
        struct op *op = CONTAINER_OF(link, struct op, descriptor_link);
        struct list *next = link->next;
        bool takes_others_along = op->in_chain && op->state == OP_QUEUED;

        op->closed = true;
        ops_cancel(ops, op);
        link = takes_others_along ? entry->ops : next;
    }
}

int inflight_begin_close(struct ops *ops, int fd, struct closer *closer)
{
    struct descriptor *entry = inflight_at(&ops->inflight, fd);

    if (!entry)
        return 0;
    if (entry->closing)
        return -EBADF;
    entry->closing = true;
    if (!entry->ops)
        return 0;
    cancel_all(ops, entry);
    if (!entry->ops)
        return 0;
    entry->closer = closer; /* after the loop, so that it is told once and not before it waits */
    return 1;
}

void inflight_end_close(struct ops *ops, int fd)
{
    struct descriptor *entry = inflight_at(&ops->inflight, fd);

    if (!entry)
        return;
    CHECK(!entry->ops);
    *entry = (struct descriptor){ .lent_buffers = entry->lent_buffers,
                                  .close_count = (uint16_t)(entry->close_count + 1) };
    mark_used(fd, false);
}
