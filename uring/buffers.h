/*
 * A hub's pool of receive buffers, and who gets one when they are scarce.
 *
 *              added when the ring has room        chosen by a receive, at its completion
 *      FREE ───────────────────────────────► KERNEL ────────────────────────────────► LENT
 *       ▲ │        taken for a receive that found none, or by whoever waited for it     ▲ │
 *       │ └──────────────────────────────────────────────────────────────────────────────┘ │
 *       └──────────────────────────────── returned ────────────────────────────────────────┘
 *
 * A buffer is in one hand: the free stack's, the kernel's or a task's; the three counts add up to
 * all of them, which every hand-over checks.
 *
 * The kernel's ring is kept short and filled from a stack, so that the same few warm buffers go
 * round and the pages of the others are never touched. It has at most half of the buffers; the
 * rest, the spare ones, are what the shares are about:
 *
 * A descriptor that has buffers lent may have another one only while more are spare than it has.
 * One greedy peer thus gets half of them at most, two a third each: the more there are, the less
 * each may have, and whoever has none always finds some while any are spare. (The rule by which
 * switches share their memory among ports, known as dynamic thresholds.)
 *
 * Who must wait does so in one queue, in order; a buffer that comes back goes to the first whose
 * share allows it, and only then to the kernel's ring. A waiter's share may only grow when a
 * buffer comes back, so nobody waits who need not.
 */
#ifndef GRING_URING_BUFFERS_H
#define GRING_URING_BUFFERS_H

#include "uring/op.h"
#include "uring/provided.h"

#include <stdbool.h>
#include <stdint.h>

enum { BUFFER_COUNT_MAX = 32768, BUFFER_BYTES_MAX = 1 << 30 };

struct buffer;

struct buffers {
    struct ops *ops;
    struct provided provided;
    char *memory;          /* NULL: not open */
    size_t size;           /* of each; 0: the default */
    size_t stride;         /* from one to the next */
    unsigned count;        /* 0: the default */
    unsigned ring_entries; /* that many the kernel is given at most; 0: it has no ring */
    struct buffer *records;
    uint16_t *free_stack;
    unsigned free_count, kernel_count, lent_count;
    struct list waiters;
    uint64_t serial; /* of this pool, in this process */
    uint64_t wait_count;
};

/* Parked for a buffer. on_granted runs where a buffer is returned, with `index` set, or -errno: it
 * is lent, the waiter is in no queue any more. */
struct buffer_waiter {
    struct list link;
    int fd;
    int index;
    void (*on_granted)(struct buffer_waiter *waiter);
};

/* size and count as set, or the defaults. -ENOMEM. Without a ring of the kernel's, because it has
 * none or refuses it, the pool serves buffers_take alone. */
int buffers_open(struct buffers *buffers, struct ops *ops);

/* Nothing may be in flight. Logs what is still lent; the memory goes all the same. */
void buffers_close(struct buffers *buffers);

/* The kernel chose it, for a receive on fd: from now on it is lent. While completions are reaped,
 * in their order. */
void buffers_chosen(struct buffers *buffers, unsigned index, int fd);

/* May the kernel choose one for a receive on fd? By its share, be the ring empty or not. */
bool buffers_may_choose(const struct buffers *buffers, int fd);

/* One that is spare, lent from now on. -EAGAIN: none is, but the kernel has some; -ENOBUFS: there
 * is none for this descriptor until one comes back. */
int buffers_take(struct buffers *buffers, int fd);

/* Waits in the queue; -ENOBUFS from buffers_take comes first. */
void buffers_enlist(struct buffers *buffers, struct buffer_waiter *waiter);
void buffers_withdraw(struct buffer_waiter *waiter);

/* fd is being closed: who waits for a buffer on it is granted -EBADF. */
void buffers_close_descriptor(struct buffers *buffers, int fd);

/* Lent no more; serves who waits. */
void buffers_return(struct buffers *buffers, unsigned index);

/* What a lent buffer is known by outside, and back: -1 if it names none that is lent now. */
uint64_t buffers_ticket(const struct buffers *buffers, unsigned index);
int buffers_index(const struct buffers *buffers, uint64_t ticket);

void *buffers_data(const struct buffers *buffers, unsigned index);

#endif
