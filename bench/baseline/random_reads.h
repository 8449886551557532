/*
 * Random reads of a file without greenring: one thread, many threads, a raw ring. Each reads the
 * same kind of blocks at the same kind of places as the tasks do, and does nothing else.
 */
#ifndef BENCH_BASELINE_RANDOM_READS_H
#define BENCH_BASELINE_RANDOM_READS_H

#include "common.h"

#include <liburing.h>
#include <pthread.h>

enum { BLOCK_BYTES = 4096, READERS_MAX = 128 };

/* What is read: `count` blocks of the first `blocks` ones of the file. */
struct reads {
    int fd;
    unsigned blocks;
    unsigned count;
};

/* One buffer for each reader, aligned as O_DIRECT wants it. */
static char reader_buffers[READERS_MAX][BLOCK_BYTES] __attribute__((aligned(BLOCK_BYTES)));

static inline off_t random_place(uint64_t *state, const struct reads *reads)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (off_t)(*state % reads->blocks) * BLOCK_BYTES;
}

static inline void check_read(long result)
{
    if (result != BLOCK_BYTES)
        die("a read of the bench's file", result < 0 ? (int)-result : EIO);
}

/* ---- one thread ------------------------------------------------------------------------------ */

static inline void read_in_a_loop(const struct reads *reads, unsigned reader)
{
    uint64_t state = reader + 1;

    for (unsigned index = 0; index < reads->count; index++) {
        ssize_t result =
            pread(reads->fd, reader_buffers[reader], BLOCK_BYTES, random_place(&state, reads));

        check_read(result < 0 ? -errno : result);
    }
}

/* ---- many threads ---------------------------------------------------------------------------- */

struct reading_thread {
    pthread_t thread;
    struct reads reads;
    unsigned reader;
};

static inline void *read_on_thread(void *arg)
{
    struct reading_thread *self = arg;

    read_in_a_loop(&self->reads, self->reader);
    return NULL;
}

static inline void read_by_threads(const struct reads *reads, unsigned readers)
{
    static struct reading_thread threads[READERS_MAX];

    for (unsigned reader = 0; reader < readers; reader++) {
        threads[reader] = (struct reading_thread){ .reads = *reads, .reader = reader };
        threads[reader].reads.count = reads->count / readers;
        errno = pthread_create(&threads[reader].thread, NULL, read_on_thread, &threads[reader]);
        if (errno)
            die("pthread_create", errno);
    }
    for (unsigned reader = 0; reader < readers; reader++)
        pthread_join(threads[reader].thread, NULL);
}

/* ---- a ring ---------------------------------------------------------------------------------- */

static inline void queue_read(struct io_uring *ring, const struct reads *reads, uint64_t *state,
                              unsigned reader)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

    io_uring_prep_read(sqe, reads->fd, reader_buffers[reader], BLOCK_BYTES,
                       (uint64_t)random_place(state, reads));
    sqe->user_data = reader;
}

/* Each completion queues the next read; one enter a turn. */
static inline void turn_ring(struct io_uring *ring, const struct reads *reads, unsigned readers)
{
    unsigned queued = readers, done = 0;
    uint64_t state = 1;

    for (unsigned reader = 0; reader < readers; reader++)
        queue_read(ring, reads, &state, reader);
    while (done < reads->count) {
        struct io_uring_cqe *cqe;
        unsigned head, seen = 0;

        io_uring_submit_and_wait(ring, 1);
        io_uring_for_each_cqe(ring, head, cqe)
        {
            check_read(cqe->res);
            seen++;
            if (queued < reads->count)
                queue_read(ring, reads, &state, (unsigned)cqe->user_data), queued++;
        }
        io_uring_cq_advance(ring, seen);
        done += seen;
    }
}

static inline void read_by_ring(const struct reads *reads, unsigned readers)
{
    struct io_uring_params params = { .flags = IORING_SETUP_SINGLE_ISSUER |
                                               IORING_SETUP_DEFER_TASKRUN |
                                               IORING_SETUP_SUBMIT_ALL };
    struct io_uring ring;
    int error = io_uring_queue_init_params(256, &ring, &params);

    if (error < 0)
        die("io_uring_setup", -error);
    io_uring_register_ring_fd(&ring);
    turn_ring(&ring, reads, readers);
    io_uring_queue_exit(&ring);
}

#endif
