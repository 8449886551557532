/*
 * P12: random reads of 4 KiB, from the page cache and past it (O_DIRECT), against a pread loop,
 * threads, a raw ring and fio in the same run. Processor time of the whole process for each read,
 * the kernel's workers included.
 *
 *     file_read [FOLDER]     makes a file of 256 MiB in the folder, without a name; default: here
 */
#include "baseline/random_reads.h"
#include "report.h"

#include <fcntl.h>
#include <greenring/greenring.h>
#include <sys/wait.h>

enum {
    FILE_BYTES = 256 << 20,
    CACHED_BYTES = 32 << 20,
    CACHED_READS = 100 * 1000,
    DIRECT_READS = 10 * 1000
};

static const char *folder = ".";
static struct reads cached = { .blocks = CACHED_BYTES / BLOCK_BYTES, .count = CACHED_READS };
static struct reads direct = { .blocks = FILE_BYTES / BLOCK_BYTES, .count = DIRECT_READS };

/* ---- ours ------------------------------------------------------------------------------------ */

struct reader {
    struct reads reads;
    unsigned index;
};

static void *read_in_task(void *arg)
{
    const struct reader *self = arg;
    uint64_t state = self->index + 1;

    for (unsigned index = 0; index < self->reads.count; index++) {
        ssize_t result = gring_pread(self->reads.fd, reader_buffers[self->index], BLOCK_BYTES,
                                     random_place(&state, &self->reads));

        check_read(result < 0 ? -errno : result);
    }
    return NULL;
}

static void read_by_tasks(const struct reads *reads, unsigned count)
{
    static struct reader readers[READERS_MAX];
    gring_task *tasks[READERS_MAX];

    for (unsigned index = 0; index < count; index++) {
        readers[index] = (struct reader){ .reads = *reads, .index = index };
        readers[index].reads.count = reads->count / count;
        tasks[index] = gring_spawn(read_in_task, &readers[index]);
    }
    for (unsigned index = 0; index < count; index++)
        gring_join(tasks[index], NULL);
}

/* ---- measuring ------------------------------------------------------------------------------- */

static void read_by_loop(const struct reads *reads, unsigned unused)
{
    (void)unused;
    read_in_a_loop(reads, 0);
}

static double each(void (*read)(const struct reads *, unsigned), const struct reads *reads,
                   unsigned readers)
{
    double start = bench_now_ns();

    read(reads, readers);
    return (bench_now_ns() - start) / reads->count;
}

#define MEASURE(name, function, reads, readers)                                                    \
    static double name(void)                                                                       \
    {                                                                                              \
        return each(function, &reads, readers);                                                    \
    }

MEASURE(cached_1, read_by_tasks, cached, 1)
MEASURE(cached_32, read_by_tasks, cached, 32)
MEASURE(cached_128, read_by_tasks, cached, 128)
MEASURE(cached_loop, read_by_loop, cached, 1)
MEASURE(cached_ring, read_by_ring, cached, 128)
MEASURE(cached_threads, read_by_threads, cached, 128)
MEASURE(direct_32, read_by_tasks, direct, 32)
MEASURE(direct_128, read_by_tasks, direct, 128)
MEASURE(direct_ring_32, read_by_ring, direct, 32)
MEASURE(direct_ring_128, read_by_ring, direct, 128)
MEASURE(direct_threads, read_by_threads, direct, 128)

/* ---- fio ------------------------------------------------------------------------------------- */

static double number_after(const char *text, const char *key)
{
    const char *found = strstr(text, key);

    return found ? strtod(found + strlen(key), NULL) : NAN;
}

/* Its own figure of the time that its one job used, without its start. NAN: there is no fio. */
static double fio(const char *options, unsigned count)
{
    static char text[64 * 1024];
    char command[1024];
    size_t length;
    FILE *output;

    snprintf(command, sizeof command,
             "fio --name=read --filename=%s/greenring-fio.data --rw=randread --bs=4k --thread "
             "--io_size=%uk --output-format=json %s 2>/dev/null",
             folder, count * 4, options);
    output = popen(command, "re");
    length = output ? fread(text, 1, sizeof text - 1, output) : 0;
    text[length] = 0;
    if (output)
        pclose(output);
    return (number_after(text, "\"usr_cpu\" : ") + number_after(text, "\"sys_cpu\" : ")) / 100 *
           number_after(text, "\"job_runtime\" : ") * 1e6 / count;
}

static double fio_cached(void)
{
    return fio("--size=32m --ioengine=psync --pre_read=1", CACHED_READS);
}

static double fio_direct(void)
{
    return fio("--size=256m --ioengine=io_uring --direct=1 --iodepth=128", DIRECT_READS);
}

static void compare_with_fio(void)
{
    const struct comparison comparisons[] = {
        { "cached, 128 tasks", "fio, psync", cached_128, fio_cached, 0, 0 },
        { "O_DIRECT, 128 tasks", "fio, io_uring at depth 128", direct_128, fio_direct, 0, 0 },
    };
    char path[512];

    if (isnan(fio_direct()))
        printf("fio does not run here: no rows against it\n");
    else
        for (size_t index = 0; index < sizeof comparisons / sizeof comparisons[0]; index++)
            bench_compare(&comparisons[index]);
    snprintf(path, sizeof path, "%s/greenring-fio.data", folder);
    unlink(path);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void *measure(void *arg)
{
    const struct comparison comparisons[] = {
        { "cached, one task", "a pread loop", cached_1, cached_loop, 0, 0 },
        { "cached, 32 tasks", "a pread loop", cached_32, cached_loop, 1.1, 0 },
        { "cached, 128 tasks", "a pread loop", cached_128, cached_loop, 1.1, 0 },
        { "cached, 128 tasks", "a raw ring, 128 in flight", cached_128, cached_ring, 0, 0 },
        { "cached, 128 tasks", "128 threads", cached_128, cached_threads, 0, 0 },
        { "O_DIRECT, 32 tasks", "a raw ring, 32 in flight", direct_32, direct_ring_32, 0, 0 },
        { "O_DIRECT, 128 tasks", "a raw ring, 128 in flight", direct_128, direct_ring_128, 1.1, 0 },
        { "O_DIRECT, 128 tasks", "128 threads", direct_128, direct_threads, 0, 0 },
    };

    for (size_t index = 0; index < sizeof comparisons / sizeof comparisons[0]; index++)
        if (direct.fd >= 0 || index < 5)
            bench_compare(&comparisons[index]);
    compare_with_fio();
    return arg;
}

/* Random bytes, so that no file system stores it smaller; then in the cache and on the device. */
static void fill(int fd)
{
    static char bytes[1 << 20];
    uint64_t state = 1;

    for (off_t offset = 0; offset < FILE_BYTES; offset += (off_t)sizeof bytes) {
        for (size_t index = 0; index < sizeof bytes; index += BLOCK_BYTES) {
            state = state * 6364136223846793005u + 1;
            memcpy(bytes + index, &state, sizeof state);
        }
        if (pwrite(fd, bytes, sizeof bytes, offset) != (ssize_t)sizeof bytes)
            die("writing the bench's file", errno);
    }
    if (fsync(fd) < 0)
        die("fsync", errno);
}

int main(int argc, char **argv)
{
    char path[512], again[64];

    folder = argc > 1 ? argv[1] : folder;
    snprintf(path, sizeof path, "%s/greenring-bench-XXXXXX", folder);
    cached.fd = mkostemp(path, O_CLOEXEC);
    if (cached.fd < 0)
        die(path, errno);
    unlink(path);
    fill(cached.fd);
    snprintf(again, sizeof again, "/proc/self/fd/%d", cached.fd);
    direct.fd = open(again, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (direct.fd < 0)
        printf("this file system has no O_DIRECT: cached reads only\n");
    return gring_run(measure, NULL, NULL);
}
