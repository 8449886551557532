/*
 * The ring under the hand-written io_uring servers: set-up, queueing, one enter per turn, counting.
 *
 * A turn is: handle what has completed, queue what follows from it, then one io_uring_enter that
 * submits all of it and waits for the next completion. Owned and used by one thread.
 */
#ifndef BENCH_BASELINE_RING_H
#define BENCH_BASELINE_RING_H

#include "common.h"

#include <liburing.h>
#include <poll.h>

/*
 * Small on purpose: both rings are walked from end to end, so their whole size competes with the
 * connections for cache. A turn hands out some twenty completions; when it queues more than fits,
 * ring_sqe() enters once more.
 */
#define RING_SQ_ENTRIES 256
#define RING_CQ_ENTRIES 2048

struct server_ring {
    struct io_uring uring;
    uint64_t enter_count;
    uint64_t
        request_count; /* receives that brought data: one per request while requests are small */
};

static inline void ring_open(struct server_ring *ring)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                 IORING_SETUP_CQSIZE,
        .cq_entries = RING_CQ_ENTRIES,
    };
    int error;

    error = io_uring_queue_init_params(RING_SQ_ENTRIES, &ring->uring, &params);
    if (error < 0)
        die("io_uring_setup", -error);
    error = io_uring_register_ring_fd(&ring->uring);
    if (error < 0)
        die("io_uring_register_ring_fd", -error);
}

static inline bool is_passing_enter_error(int error)
{
    return error == -EINTR || error == -EAGAIN || error == -EBUSY;
}

static inline void ring_submit(struct server_ring *ring)
{
    int result;

    ring->enter_count++;
    result = io_uring_submit(&ring->uring);
    if (result < 0 && !is_passing_enter_error(result))
        die("io_uring_enter", -result);
}

/* The one enter of a turn. */
static inline void ring_submit_and_wait(struct server_ring *ring)
{
    int result;

    ring->enter_count++;
    result = io_uring_submit_and_wait(&ring->uring, 1);
    if (result < 0 && !is_passing_enter_error(result))
        die("io_uring_enter", -result);
}

/* Returns a free submission entry; enters when the queue is full, as often as it takes. */
static inline struct io_uring_sqe *ring_sqe(struct server_ring *ring)
{
    struct io_uring_sqe *sqe;

    while (!(sqe = io_uring_get_sqe(&ring->uring)))
        ring_submit(ring);
    return sqe;
}

static inline void ring_watch_stop_signal(struct server_ring *ring, int signal_fd, uint64_t tag)
{
    struct io_uring_sqe *sqe = ring_sqe(ring);

    io_uring_prep_poll_add(sqe, signal_fd, POLLIN);
    sqe->user_data = tag;
}

/* Completes with `tag` after ACCEPT_PAUSE_NS. */
static inline void ring_pause_accepting(struct server_ring *ring, uint64_t tag)
{
    static struct __kernel_timespec pause = { .tv_nsec = ACCEPT_PAUSE_NS };
    struct io_uring_sqe *sqe = ring_sqe(ring);

    io_uring_prep_timeout(sqe, &pause, 0, 0);
    sqe->user_data = tag;
}

static inline void ring_print_counts(const struct server_ring *ring)
{
    printf("enters=%llu requests=%llu\n", (unsigned long long)ring->enter_count,
           (unsigned long long)ring->request_count);
    fflush(stdout);
}

#endif
