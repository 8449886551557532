/*
 * One io_uring and the only way into it: push an SQE, enter, reap CQEs.
 *
 *        push ──► SQ ──► enter (submits all, may wait) ──► CQ ──► reap
 *
 * Made, entered and closed by one thread (SINGLE_ISSUER). This is one of the seams that tests
 * replace at link time; nothing above it touches the shared memory. See io_uring_setup(2),
 * io_uring_enter(2).
 */
#ifndef GRING_URING_RING_H
#define GRING_URING_RING_H

#include "base/clock.h"
#include "uring/probe.h"

#include <liburing.h>
#include <stdbool.h>

/* Newer than liburing 2.3's header. */
enum { OPCODE_FTRUNCATE = 55 };

struct ring {
    struct io_uring uring;
    unsigned features;    /* 1 << enum feature, those in force */
    unsigned enter_flags; /* what every enter carries */
    uint64_t enter_count, submit_count, complete_count, overflow_count;
};

/*
 * entries: SQ size, rounded up to a power of two by the kernel; the CQ is 8 × that, at least 4,096.
 * Retries with fewer flags where the kernel refuses one. Returns 0, or -errno after one logged
 * line that names the cause and the remedy.
 */
int ring_open(struct ring *ring, unsigned entries);
void ring_close(struct ring *ring);

static inline int ring_descriptor(const struct ring *ring)
{
    return ring->uring.ring_fd;
}

static inline bool ring_has(const struct ring *ring, enum feature feature)
{
    return ring->features & 1u << feature;
}

/* Copies *sqe into the SQ; the kernel sees it at the next enter. False: the SQ is full. */
bool ring_push(struct ring *ring, const struct io_uring_sqe *sqe);

/* SQEs that the kernel has not taken yet. */
unsigned ring_unsubmitted(const struct ring *ring);

/* One of them, oldest first, NULL past the last. The kernel looks at it within the next enter, so
 * until then it may be changed. */
struct io_uring_sqe *ring_unsubmitted_at(struct ring *ring, unsigned index);

/* Must the kernel be entered to see completions that it already has? */
bool ring_wants_enter(const struct ring *ring);
bool ring_has_completions(const struct ring *ring);

/*
 * Submits everything pushed. With wait_ns > 0 waits until there is a completion or the time is over
 * (CLOCK_FOREVER: no limit). A partial submit is no error: what is left goes with the next enter.
 * Returns 0; -EINTR a signal came; -EAGAIN the kernel lacks memory, reap and try again; -EBUSY
 * the CQ must be drained first. Anything else is a broken ring and aborts with the reason.
 */
int ring_enter(struct ring *ring, gring_ns wait_ns);

/* Takes up to max completions, oldest first. */
unsigned ring_reap(struct ring *ring, struct io_uring_cqe *cqes, unsigned max);

#endif
