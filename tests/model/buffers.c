/*
 * The pool of receive buffers against arrays and a plain search: who holds which buffer, how many
 * each descriptor has, and who waits. The kernel's ring is this file's. Files: uring/buffers.c.
 */
#include "uring/buffers.h"
#include "tests/model/choices.h"

#include <errno.h>
#include <string.h>

enum { COUNT_MAX = 40, DESCRIPTORS = 5, WAITERS = 12 };

/* ---- the kernel's ring ----------------------------------------------------------------------- */

static struct {
    bool refused;
    unsigned entries, head, tail;
    uint16_t ids[COUNT_MAX];
} shared;

int provided_open(struct provided *provided, struct ring *ring, unsigned entries)
{
    (void)provided, (void)ring;
    shared.entries = entries;
    shared.head = shared.tail = 0;
    return shared.refused ? -EINVAL : 0;
}

void provided_close(struct provided *provided, struct ring *ring)
{
    (void)provided, (void)ring;
}

void provided_add(struct provided *provided, void *start, unsigned size, uint16_t id)
{
    (void)provided;
    memset(start, 0, size); /* it is memory */
    MUST(shared.tail - shared.head < shared.entries);
    shared.ids[shared.tail++ % COUNT_MAX] = id;
}

/* ---- the twin -------------------------------------------------------------------------------- */

static struct buffers pool;
static struct ops ops;

static int lent_to[COUNT_MAX]; /* a descriptor, or -1 */
static unsigned lent_of[DESCRIPTORS];
static uint64_t tickets[COUNT_MAX], stale_ticket;

static struct twin_waiter {
    struct buffer_waiter waiter;
    unsigned number; /* in order of arrival; 0: waits for nothing */
} waiters[WAITERS];
static unsigned arrivals, granted_count;

static unsigned lent_count(void)
{
    unsigned count = 0;

    for (unsigned fd = 0; fd < DESCRIPTORS; fd++)
        count += lent_of[fd];
    return count;
}

static unsigned in_ring(void)
{
    return shared.tail - shared.head;
}

static unsigned spare(void)
{
    return pool.count - lent_count() - in_ring();
}

static void note_lent(unsigned index, int fd)
{
    MUST(index < pool.count && lent_to[index] < 0); /* else it is in two hands */
    lent_to[index] = fd;
    lent_of[fd]++;
    tickets[index] = buffers_ticket(&pool, index);
    memset(buffers_data(&pool, index), (int)index, pool.size);
}

static struct twin_waiter *first_who_may(unsigned spare_count)
{
    struct twin_waiter *first = NULL;

    for (unsigned index = 0; index < WAITERS; index++) {
        struct twin_waiter *it = &waiters[index];

        if (it->number && lent_of[it->waiter.fd] < spare_count &&
            (!first || it->number < first->number))
            first = it;
    }
    return first;
}

/* While a buffer is returned: the twin counts that one as spare already. */
static void granted(struct buffer_waiter *waiter)
{
    struct twin_waiter *it = CONTAINER_OF(waiter, struct twin_waiter, waiter);

    MUST(it->number != 0);
    if (waiter->index >= 0) {
        MUST(it == first_who_may(spare()));
        note_lent((unsigned)waiter->index, waiter->fd);
    } else {
        MUST(waiter->index == -EBADF);
    }
    it->number = 0;
    granted_count++;
}

/* ---- what happens ---------------------------------------------------------------------------- */

static void kernel_chooses(struct choices *choices)
{
    int fd = (int)choose(choices, DESCRIPTORS);
    unsigned index;

    if (in_ring() == 0)
        return;
    index = shared.ids[shared.head++ % COUNT_MAX];
    buffers_chosen(&pool, index, fd);
    note_lent(index, fd);
}

static void wait_for_one(struct choices *choices, int fd)
{
    struct twin_waiter *it = &waiters[choose(choices, WAITERS)];

    if (it->number)
        return;
    it->waiter = (struct buffer_waiter){ .fd = fd, .on_granted = granted };
    it->number = ++arrivals;
    buffers_enlist(&pool, &it->waiter);
}

static bool may_choose(int fd)
{
    return lent_of[fd] == 0 || lent_of[fd] < spare();
}

static void take(struct choices *choices)
{
    int fd = (int)choose(choices, DESCRIPTORS);
    bool may = lent_of[fd] < spare();
    bool ring_may = lent_of[fd] == 0 && in_ring() > 0;
    int index;

    MUST(buffers_may_choose(&pool, fd) == may_choose(fd));
    index = buffers_take(&pool, fd);
    MUST(may ? index >= 0 : index == (ring_may ? -EAGAIN : -ENOBUFS));
    if (index >= 0)
        note_lent((unsigned)index, fd);
    else if (index == -ENOBUFS)
        wait_for_one(choices, fd);
}

static void give_up(struct choices *choices)
{
    struct twin_waiter *it = &waiters[choose(choices, WAITERS)];

    if (it->number) {
        buffers_withdraw(&it->waiter);
        it->number = 0;
    }
}

static void give_back_one(unsigned index)
{
    const char *data = buffers_data(&pool, index);

    MUST(data[0] == (char)index && data[pool.size - 1] == (char)index);
    MUST(buffers_index(&pool, tickets[index]) == (int)index);
    stale_ticket = tickets[index];
    lent_of[lent_to[index]]--;
    lent_to[index] = -1;
    buffers_return(&pool, index);
    MUST(buffers_index(&pool, stale_ticket) < 0); /* or it could be released twice */
}

static void give_back(struct choices *choices)
{
    unsigned first = choose(choices, COUNT_MAX);

    for (unsigned step = 0; step < pool.count; step++)
        if (lent_to[(first + step) % pool.count] >= 0) {
            give_back_one((first + step) % pool.count);
            return;
        }
}

static void close_descriptor(struct choices *choices)
{
    int fd = (int)choose(choices, DESCRIPTORS);
    unsigned expected = 0;

    for (unsigned index = 0; index < WAITERS; index++)
        expected += waiters[index].number && waiters[index].waiter.fd == fd;
    granted_count = 0;
    buffers_close_descriptor(&pool, fd);
    MUST(granted_count == expected);
}

/* ---- comparing ------------------------------------------------------------------------------- */

static void compare(void)
{
    MUST(pool.lent_count == lent_count());
    MUST(pool.kernel_count == in_ring());
    MUST(pool.free_count == spare());
    for (int fd = 0; fd < DESCRIPTORS; fd++)
        MUST(inflight_at(&ops.inflight, fd)->lent_buffers == lent_of[fd]);
    MUST(!first_who_may(spare())); /* nobody waits who need not */
    MUST(pool.ring_entries == 0 || in_ring() == pool.ring_entries || spare() == 0);
}

static void begin(struct choices *choices)
{
    memset(&pool, 0, sizeof pool);
    memset(lent_of, 0, sizeof lent_of);
    memset(lent_to, 0xff, sizeof lent_to);
    memset(waiters, 0, sizeof waiters);
    MUST(inflight_open(&ops.inflight) == 0);
    pool.count = 1 + choose(choices, COUNT_MAX);
    pool.size = 1 + choose(choices, 200);
    shared.refused = choose(choices, 4) == 0;
    shared.head = shared.tail = 0;
    MUST(buffers_open(&pool, &ops) == 0);
}

static void end(void)
{
    for (unsigned index = 0; index < WAITERS; index++)
        if (waiters[index].number) {
            buffers_withdraw(&waiters[index].waiter);
            waiters[index].number = 0;
        }
    for (unsigned index = 0; index < pool.count; index++)
        if (lent_to[index] >= 0)
            give_back_one(index);
    compare();
    MUST(pool.lent_count == 0);
    buffers_close(&pool);
    inflight_close(&ops.inflight);
}

MODEL(buffers)
{
    begin(choices);
    while (choices_left(choices)) {
        unsigned what = choose(choices, 16);

        if (what < 5)
            kernel_chooses(choices);
        else if (what < 9)
            take(choices);
        else if (what < 14)
            give_back(choices);
        else if (what == 14)
            give_up(choices);
        else if (choose(choices, 4) == 0)
            close_descriptor(choices);
        compare();
    }
    end();
}
