/*
 * What a connection costs in memory while nothing comes: a task parked in gring_recv_buf, against
 * one in gring_recv with 4 KiB and with 16 KiB of its own stack, each of which was filled once, as
 * in a connection that had been busy.
 *
 * Usage: idle_connections [COUNT]     default 4,000; two descriptors each
 *
 * Resident memory of the process for each of them, without the kernel's sockets. Each measurement
 * is a process of its own.
 */
#include "report.h"

#include <greenring/greenring.h>
#include <greenring/uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SMALL_BYTES = 4 * 1024, LARGE_BYTES = 16 * 1024 };

static size_t count = 4000;
static double *bytes_each; /* shared with the child that measures */

static double resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    double pages = 0;

    if (file && fscanf(file, "%*f %lf", &pages) != 1)
        pages = 0;
    if (file)
        fclose(file);
    return pages * (double)sysconf(_SC_PAGESIZE);
}

static void *receive_small(void *arg)
{
    char buf[SMALL_BYTES];

    while (gring_recv((int)(intptr_t)arg, buf, sizeof buf, 0) > 0)
        ;
    return NULL;
}

static void *receive_large(void *arg)
{
    char buf[LARGE_BYTES];

    while (gring_recv((int)(intptr_t)arg, buf, sizeof buf, 0) > 0)
        ;
    return NULL;
}

static void *receive_pooled(void *arg)
{
    gring_buf buf;

    while (gring_recv_buf((int)(intptr_t)arg, &buf, 0) > 0)
        gring_buf_release(&buf);
    return NULL;
}

static gring_fn receiver;

/* As much as a receiver takes at once, then nothing any more. */
static bool open_one(const char *bytes)
{
    int ends[2];

    return socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 &&
           gring_spawn_n(receiver, (void *)(intptr_t)ends[0]) == 0 &&
           gring_write_full(ends[1], bytes, LARGE_BYTES, NULL) == LARGE_BYTES;
}

static void *open_all(void *unused)
{
    static const char bytes[LARGE_BYTES];
    double before;

    gring_yield();
    before = resident_bytes();
    for (size_t index = 0; index < count; index++)
        if (!open_one(bytes))
            return perror("idle_connections"), gring_fail(1);
    gring_idle();
    *bytes_each = (resident_bytes() - before) / (double)count;
    return unused;
}

static double measure(gring_fn which)
{
    pid_t child;

    receiver = which;
    *bytes_each = 0;
    child = fork();
    if (child == 0)
        _exit(gring_run(open_all, NULL, NULL) != 0);
    if (child > 0)
        waitpid(child, NULL, 0);
    return *bytes_each;
}

static void print_against(double pooled, const char *name, gring_fn which)
{
    struct bench_row row = { .name = "an idle connection, gring_recv_buf",
                             .baseline_name = name,
                             .unit = "B",
                             .figure = pooled,
                             .baseline = measure(which) };

    row.ratio = row.figure / row.baseline;
    bench_print(&row);
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    double pooled;

    if (argc > 1)
        count = strtoul(argv[1], NULL, 10);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    bytes_each =
        mmap(NULL, sizeof *bytes_each, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (bytes_each == MAP_FAILED || count == 0)
        return 1;
    pooled = measure(receive_pooled);
    print_against(pooled, "gring_recv into 4 KiB of its stack", receive_small);
    print_against(pooled, "gring_recv into 16 KiB of its stack", receive_large);
    return pooled > 0 ? 0 : 1;
}
