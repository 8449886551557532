/*
 * Which ops a descriptor has in flight.
 *
 *   table[fd] = { first op ⇄ op ⇄ op,  closing,  hints }
 *
 * One entry per possible descriptor number, 24 bytes of address space each; memory only for the
 * pages in use.
 *
 * close(2) does not end a pending operation: a RECV stays pending, a pending ACCEPT keeps the
 * port open. So a close marks the entry (new ops get EBADF), asks each op to end, and goes ahead
 * when the last of them has let go.
 *
 * The hints spare the kernel a first attempt that would fail; a wrong hint costs time, never
 * correctness.
 */
#ifndef GRING_URING_INFLIGHT_H
#define GRING_URING_INFLIGHT_H

#include "base/list.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct op;
struct ops;

/* Waits for a descriptor's ops to let go. on_drained runs while reaping. */
struct closer {
    void (*on_drained)(struct closer *closer);
};

struct descriptor {
    struct list *ops;      /* the first op's link: a NULL-ended chain, prev of the first is NULL */
    struct closer *closer; /* told when the chain is empty */
    uint16_t lent_buffers; /* of the pool; outlives a close: see buffers.c */
    uint16_t close_count;  /* modulo 65,536: is it still the file that a call began with? */
    bool closing : 1;
    bool marked_used : 1;   /* in the process-wide table, too */
    bool is_socket : 1;     /* hint: a send works here */
    bool is_seekable : 1;   /* hint: it has a file position */
    bool seems_drained : 1; /* hint: the last receive left nothing behind */
};

struct inflight {
    struct descriptor *table;
    size_t capacity;
};

int inflight_open(struct inflight *inflight);
void inflight_close(struct inflight *inflight);

/* The entry of fd, or NULL for a number that cannot be a descriptor. */
static inline struct descriptor *inflight_at(const struct inflight *inflight, int fd)
{
    return (size_t)(unsigned)fd < inflight->capacity ? &inflight->table[fd] : NULL;
}

/* A call of several ops looks before each but the first: another count than at its begin means
 * that the number may be somebody else's descriptor by now. */
static inline uint16_t inflight_close_count(const struct inflight *inflight, int fd)
{
    const struct descriptor *entry = inflight_at(inflight, fd);

    return entry ? entry->close_count : 0;
}

/* -EBADF while closing or out of range. */
int inflight_add(struct inflight *inflight, struct op *op);
void inflight_remove(struct inflight *inflight, struct op *op);

/*
 * Begins to close fd: asks every op on it to end.
 * 0: nothing was in flight. 1: closer->on_drained follows. -EBADF: somebody else is closing it.
 * In the first two cases inflight_end must follow, on the same thread right before close(2).
 */
int inflight_begin_close(struct ops *ops, int fd, struct closer *closer);
void inflight_end_close(struct ops *ops, int fd);

/* Has a task used this descriptor since it was last closed by us? From any thread: a plain one
 * may skip the hub if not. */
bool inflight_ever_used(int fd);

/* The lowest such descriptor from `first` on; -1: none. */
int inflight_next_used(int first);

#endif
