/*
 * An op: one request to the kernel, from submit to its last completion.
 *
 *             ops_submit          the ring took it           last CQE
 *   OP_IDLE ────────────► OP_QUEUED ────────────► OP_IN_KERNEL ────────► OP_DONE: on_done(op)
 *                             ▲                        │
 *                             └──── -EAGAIN, -EINTR ───┘
 *                             asked again, after waiting for the descriptor if need be
 *
 * The memory of an op, and every buffer it names, belongs to the kernel from ops_submit until
 * on_done: it may lie on a parked task's stack, never on one that runs on. on_done runs while
 * completions are reaped: it may make tasks ready, it must not run user code.
 *
 * A cancel only asks. What ends an op is its own last completion, whatever it says: a count
 * although we asked to cancel is a count. Cancels go by user_data, never by descriptor, which
 * would hit operations on dup()s of it too.
 *
 * A cancel is a request with a completion of its own, and an op is done only when that is in,
 * too: so no late cancel can hit another op that came to lie at the same address. The answer
 * matters: ENOENT while the op is still in the kernel means that the kernel looked while the
 * request was between two attempts and in none of its tables; it may wait again after that, so
 * it is asked again.
 *
 * A zero-copy send completes twice: with its result (F_MORE), and with a notification when the
 * kernel has let go of the data. So an op is done when all of these are in: its own completion,
 * the notification that this announced, the answer to its cancel.
 *
 * A worker of the kernel that carries out a request may hold the request's file for a while after
 * the completion: until it gets to run again, and until the hub enters the kernel again. Somebody
 * who closes the file then finds it locked, or busy being written. So an op that a worker may
 * carry out on a file is fenced: a NOP is linked behind it, which the kernel begins when it has let
 * go of the request, and the op is done when that has completed, too. (Where the kernel ran out of
 * memory between the two, the fence waits for nothing, and the op is done with its own completion.)
 *
 * A chain is an array of ops whose SQEs carry a link flag, all but the last: each begins when the
 * one before it has succeeded. The kernel sees a chain only within one enter, so it is pushed as
 * one run or waits in the backlog whole. If a partial submit cuts it all the same (the kernel had
 * no memory), what is left of it in the SQ is not run: see drop_rest_of_cut_chain.
 */
#ifndef GRING_URING_OP_H
#define GRING_URING_OP_H

#include "base/list.h"
#include "uring/inflight.h"
#include "uring/ring.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

enum op_state { OP_IDLE, OP_QUEUED, OP_IN_KERNEL, OP_DONE };

struct op {
    struct io_uring_sqe sqe;
    void (*on_done)(struct op *op);
    void *owner;                 /* whose op it is: for on_done */
    struct list queue_link;      /* in the backlog, or among the cancels that found no SQE */
    struct list descriptor_link; /* among the ops of its descriptor */
    int fd;                      /* the one it counts for; also the SQE's, but see readiness.c */
    int32_t result;              /* as in the CQE; valid when done */
    uint32_t cqe_flags;
    uint16_t generation;
    uint8_t state : 2;
    /* poll(2) mask to wait for after -EAGAIN: POLLIN, POLLOUT; 0: -EAGAIN is the answer */
    uint8_t retry_events : 3;
    bool on_descriptor : 1; /* counted among its descriptor's ops: gring_close ends it */
    bool cancel_asked : 1;
    bool cancel_in_kernel : 1; /* its answer is still to come */
    bool ended : 1;            /* its own completion, which has the result, is in */
    bool notification_due : 1; /* the kernel still reads what a zero-copy send sends */
    bool closed : 1;           /* by gring_close: a cancelled op reports EBADF */
    bool polling : 1;          /* met -EAGAIN and waits for the descriptor */
    bool in_chain : 1;         /* never asked again: what follows depends on the answer */
    bool follows : 1;          /* in a chain, and not its first: the op before it is op[-1] */
    bool cut : 1;              /* in a chain of which the kernel took only what is before it */
    bool fence_due : 1;        /* the kernel may still hold its file */
};

static_assert(sizeof(struct op) == 128, "two cache lines, and it lies on the parked task's stack");

/* For an op by itself, before it is submitted: done means that the kernel has let go of its file. */
static inline void op_fence(struct op *op)
{
    op->sqe.flags |= IOSQE_IO_HARDLINK;
}

/* All ops of one ring. */
struct ops {
    struct ring ring;
    struct inflight inflight; /* per descriptor */
    struct list backlog;      /* OP_QUEUED, in order: the SQ was full */
    struct list cancels;      /* in the kernel, cancel asked, no SQE for it yet */
    uint64_t in_flight_count; /* submitted and not done, backlog included */
    uint64_t cancel_count, retry_count;
    unsigned sq_entries; /* at least */
    uint16_t generation;
};

/* entries: 2 at least are made. 0 or -errno; the reason has been logged. */
int ops_open(struct ops *ops, unsigned entries);
void ops_close(struct ops *ops); /* CHECKs that nothing is in flight */

/* Hands the op to the kernel. -EBADF: its descriptor is being closed, or past the table; nothing
 * was begun then. */
int ops_submit(struct ops *ops, struct op *op);

/* The same for a chain of at most sq_entries ops, the link flags of whose SQEs are set. Each is
 * done by itself. */
int ops_submit_chain(struct ops *ops, struct op *chain, unsigned count);

/* Asks for an op's end, and thereby for that of what follows it in its chain. It is still ours to
 * wait for; an op that the kernel never saw is done before this returns, and its whole chain. */
void ops_cancel(struct ops *ops, struct op *op);

/* Moves what waited for a free SQE into the SQ. Before each enter. */
void ops_push_backlog(struct ops *ops);

/* Submits and, with wait_ns > 0, waits; see ring_enter. */
int ops_enter(struct ops *ops, gring_ns wait_ns);

/* Completes up to max ops; returns how many completions were taken. */
unsigned ops_reap(struct ops *ops, unsigned max);

#endif
