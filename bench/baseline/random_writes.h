/*
 * Writes to a file without greenring: one after the other, and through a raw ring, which does not
 * wait until the kernel has let go of the file. Each writes the same kind of blocks at the same kind
 * of places as the tasks do.
 */
#ifndef BENCH_BASELINE_RANDOM_WRITES_H
#define BENCH_BASELINE_RANDOM_WRITES_H

#include "common.h"

#include <liburing.h>

enum { BLOCK_BYTES = 4096, BLOCKS = 4096 };

static int file_fd;
static char block[BLOCK_BYTES];

static inline off_t random_place(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (off_t)(*state % BLOCKS) * BLOCK_BYTES;
}

static inline void check_write(long result)
{
    if (result != BLOCK_BYTES)
        die("a write to the bench's file", result < 0 ? (int)-result : EIO);
}

static inline void write_in_a_loop(int writes)
{
    uint64_t state = 1;

    for (; writes > 0; writes--) {
        ssize_t result = pwrite(file_fd, block, BLOCK_BYTES, random_place(&state));

        check_write(result < 0 ? -errno : result);
    }
}

/* ---- a ring ---------------------------------------------------------------------------------- */

static inline void queue_write(struct io_uring *ring, uint64_t *state)
{
    io_uring_prep_write(io_uring_get_sqe(ring), file_fd, block, BLOCK_BYTES,
                        (uint64_t)random_place(state));
}

static inline unsigned take_completions(struct io_uring *ring)
{
    struct io_uring_cqe *cqe;
    unsigned head, seen = 0;

    io_uring_submit_and_wait(ring, 1);
    io_uring_for_each_cqe(ring, head, cqe)
    {
        check_write(cqe->res);
        seen++;
    }
    io_uring_cq_advance(ring, seen);
    return seen;
}

/* Each completion queues the next write; one enter a turn. */
static inline void turn_ring(struct io_uring *ring, int depth, int writes)
{
    int queued = 0, done = 0;
    uint64_t state = 1;

    while (done < writes) {
        for (; queued < writes && queued - done < depth; queued++)
            queue_write(ring, &state);
        done += (int)take_completions(ring);
    }
}

static inline void write_by_ring(int depth, int writes)
{
    struct io_uring_params params = { .flags = IORING_SETUP_SINGLE_ISSUER |
                                               IORING_SETUP_DEFER_TASKRUN |
                                               IORING_SETUP_SUBMIT_ALL };
    unsigned workers[2] = { 8, 32 }; /* as greenring's */
    struct io_uring ring;
    int error = io_uring_queue_init_params(256, &ring, &params);

    if (error < 0)
        die("io_uring_setup", -error);
    io_uring_register_ring_fd(&ring);
    io_uring_register_iowq_max_workers(&ring, workers);
    turn_ring(&ring, depth, writes);
    io_uring_queue_exit(&ring);
}

#endif
