/*
 * What a write to a file costs, 4 KiB at random places that are in the page cache: against a pwrite
 * loop, and against a raw ring, which does not wait until the kernel has let go of the file.
 * Processor time of the whole process for each write, the kernel's workers included.
 *
 *     file_write [FOLDER]    makes a file of 16 MiB in the folder, without a name; default: here
 */
#include "baseline/random_writes.h"
#include "report.h"

#include <fcntl.h>
#include <greenring/greenring.h>

enum { WRITES = 50 * 1000, WRITERS = 32, FEW_WRITES = 10 * 1000 };

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
    double start = bench_now_ns();

    write_in_a_loop(WRITES);
    return (bench_now_ns() - start) / WRITES;
}

static double by_ring(int depth, int writes)
{
    double start = bench_now_ns();

    write_by_ring(depth, writes);
    return (bench_now_ns() - start) / writes;
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
