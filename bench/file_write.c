/*
 * What a write to a file costs, 4 KiB at random places that are in the page cache: against a pwrite
 * loop, and against a raw ring, which does not wait until the kernel has let go of the file.
 * Processor time of the whole process for each write, the kernel's workers included.
 *
 *     file_write [FOLDER]    makes a file of 16 MiB in the folder, without a name; default: here
 */
#include "baseline/common.h"
#include "report.h"

#include <fcntl.h>
#include <greenring/greenring.h>
#include <liburing.h>

enum {
    BLOCK_BYTES = 4096,
    BLOCKS = 4096,
    WRITES = 50 * 1000,
    WRITERS = 32,
    FEW_WRITES = 10 * 1000
};

static int file_fd;
static char block[BLOCK_BYTES];

static off_t random_place(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (off_t)(*state % BLOCKS) * BLOCK_BYTES;
}

static void check_write(long result)
{
    if (result != BLOCK_BYTES)
        die("a write to the bench's file", result < 0 ? (int)-result : EIO);
}

/* ---- ours ------------------------------------------------------------------------------------ */

static void *write_in_task(void *count)
{
    uint64_t state = (uint64_t)(uintptr_t)&state;

    for (intptr_t left = (intptr_t)count; left > 0; left--) {
        ssize_t result = gring_pwrite(file_fd, block, BLOCK_BYTES, random_place(&state));

        check_write(result < 0 ? -errno : result);
    }
    return NULL;
}

static double by_tasks(int tasks_count, int writes)
{
    gring_task *tasks[WRITERS];
    double start = bench_now_ns();

    for (int index = 0; index < tasks_count; index++)
        tasks[index] = gring_spawn(write_in_task, (void *)(intptr_t)(writes / tasks_count));
    for (int index = 0; index < tasks_count; index++)
        gring_join(tasks[index], NULL);
    return (bench_now_ns() - start) / (writes / tasks_count * tasks_count);
}

static double by_one_task(void)
{
    return by_tasks(1, FEW_WRITES);
}

static double by_many_tasks(void)
{
    return by_tasks(WRITERS, WRITES);
}

/* ---- the baselines --------------------------------------------------------------------------- */

static double by_loop(void)
{
    uint64_t state = 1;
    double start = bench_now_ns();

    for (int left = WRITES; left > 0; left--) {
        ssize_t result = pwrite(file_fd, block, BLOCK_BYTES, random_place(&state));

        check_write(result < 0 ? -errno : result);
    }
    return (bench_now_ns() - start) / WRITES;
}

static void queue_write(struct io_uring *ring, uint64_t *state)
{
    io_uring_prep_write(io_uring_get_sqe(ring), file_fd, block, BLOCK_BYTES,
                        (uint64_t)random_place(state));
}

static unsigned take_completions(struct io_uring *ring)
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
static void turn_ring(struct io_uring *ring, int depth, int writes)
{
    int queued = 0, done = 0;
    uint64_t state = 1;

    while (done < writes) {
        for (; queued < writes && queued - done < depth; queued++)
            queue_write(ring, &state);
        done += (int)take_completions(ring);
    }
}

static double by_ring(int depth, int writes)
{
    struct io_uring_params params = { .flags = IORING_SETUP_SINGLE_ISSUER |
                                               IORING_SETUP_DEFER_TASKRUN |
                                               IORING_SETUP_SUBMIT_ALL };
    unsigned workers[2] = { 8, 32 }; /* as ours */
    struct io_uring ring;
    double start;
    int error = io_uring_queue_init_params(256, &ring, &params);

    if (error < 0)
        die("io_uring_setup", -error);
    io_uring_register_ring_fd(&ring);
    io_uring_register_iowq_max_workers(&ring, workers);
    start = bench_now_ns();
    turn_ring(&ring, depth, writes);
    start = bench_now_ns() - start;
    io_uring_queue_exit(&ring);
    return start / writes;
}

static double by_ring_one(void)
{
    return by_ring(1, FEW_WRITES);
}

static double by_ring_many(void)
{
    return by_ring(WRITERS, WRITES);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void *measure(void *arg)
{
    const struct comparison comparisons[] = {
        { "pwrite, one task", "a raw ring, one in flight", by_one_task, by_ring_one, 0, 0 },
        { "pwrite, 32 tasks", "a raw ring, 32 in flight", by_many_tasks, by_ring_many, 0, 0 },
        { "pwrite, 32 tasks", "a pwrite loop", by_many_tasks, by_loop, 0, 0 },
    };

    for (size_t index = 0; index < sizeof comparisons / sizeof comparisons[0]; index++)
        bench_compare(&comparisons[index]);
    return arg;
}

int main(int argc, char **argv)
{
    char path[512];

    snprintf(path, sizeof path, "%s/greenring-bench-XXXXXX", argc > 1 ? argv[1] : ".");
    file_fd = mkostemp(path, O_CLOEXEC);
    if (file_fd < 0)
        die(path, errno);
    unlink(path);
    for (off_t index = 0; index < BLOCKS; index++)
        check_write(pwrite(file_fd, block, BLOCK_BYTES, index * BLOCK_BYTES));
    return gring_run(measure, NULL, NULL);
}
