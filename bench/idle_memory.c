/*
 * P4: what a million sleeping tasks cost: memory, and processor time against the bare page work
 * (guard, first touch, give back) of the same number of stacks.
 *
 * Usage: idle_memory [TASKS]        default 1,000,000, or what three quarters of the free memory
 * hold
 *
 * Each measurement is a process of its own, from fork to exit, and all of its processor time
 * counts. Ours and the bare pages take turns, and the first pair is not counted: on a virtual
 * machine the first touch of memory that the host has not given to it yet costs several times as
 * much as any later one.
 */
#include "report.h"

#include <greenring/greenring.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

enum { STACK_BYTES = 256 * 1024, GUARD_BYTES = 16 * 1024, BYTES_EACH = 5120, PAIRS = 3 };

static size_t task_count = 1000 * 1000;

struct found {
    double rss_bytes, table_bytes; /* of each task */
    double cpu_seconds;            /* of the whole process */
    bool ok;
};

static struct found *in_child; /* shared with the child that measures */

/* A line of a /proc file such as "VmRSS:  123 kB", in bytes. */
static double proc_bytes(const char *path, const char *name)
{
    FILE *file = fopen(path, "r");
    char line[256];
    double kib = 0;

    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, name, strlen(name)))
            sscanf(line + strlen(name), ": %lf", &kib);
    if (file)
        fclose(file);
    return kib * 1024;
}

static void note_memory(double sign)
{
    in_child->rss_bytes += sign * proc_bytes("/proc/self/status", "VmRSS") / (double)task_count;
    in_child->table_bytes += sign * proc_bytes("/proc/self/status", "VmPTE") / (double)task_count;
}

/* ---- ours ------------------------------------------------------------------------------------ */

static void *sleep_long(void *arg)
{
    gring_sleep(3600 * GRING_SEC);
    return arg;
}

static void *spawn_sleepers(void *arg)
{
    note_memory(-1);
    for (size_t count = 0; count < task_count; count++)
        if (gring_spawn_n(sleep_long, NULL) < 0)
            return perror("idle_memory: spawn"), gring_fail(1);
    gring_idle(); /* all of them have begun to sleep */
    note_memory(1);
    return arg; /* the end of the run ends the sleepers */
}

static bool sleeping_tasks(void)
{
    return gring_run(spawn_sleepers, NULL, NULL) == 0;
}

/* ---- the pages that as many sleepers need, without any task ---------------------------------- */

static bool bare_pages(void)
{
    char *stacks = mmap(NULL, task_count * STACK_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

    if (stacks == MAP_FAILED)
        return false;
    note_memory(-1);
    madvise(stacks, task_count * STACK_BYTES, MADV_NOHUGEPAGE);
    for (size_t index = 0; index < task_count; index++) {
        char *stack = stacks + index * STACK_BYTES;

        if (madvise(stack, GUARD_BYTES, MADV_GUARD_INSTALL) < 0)
            return false;
        *(volatile char *)(stack + STACK_BYTES - 1) = 1;
    }
    note_memory(1);
    munmap(stacks, task_count * STACK_BYTES);
    return true;
}

/* ---- measuring ------------------------------------------------------------------------------- */

static double cpu_seconds(const struct rusage *usage)
{
    return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
           (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;
}

static struct found measure(bool (*what)(void))
{
    struct rusage usage;
    pid_t child;

    *in_child = (struct found){ 0 };
    child = fork();
    if (child == 0) {
        in_child->ok = what();
        _exit(0);
    }
    if (child < 0 || wait4(child, NULL, 0, &usage) < 0)
        return (struct found){ 0 };
    in_child->cpu_seconds = cpu_seconds(&usage);
    return *in_child;
}

static double median(double values[PAIRS])
{
    return stats_describe(values, PAIRS).median;
}

static void print_rows(const struct found ours[PAIRS], const struct found bare[PAIRS])
{
    double cpu[PAIRS], bare_cpu[PAIRS], ratios[PAIRS];
    char name[64];
    struct bench_row memory = { .name = name,
                                .baseline_name = "the same pages, touched",
                                .unit = "B",
                                .figure = ours[0].rss_bytes,
                                .baseline = bare[0].rss_bytes,
                                .target = 4400,
                                .target_is_figure = 1 };
    struct bench_row tables = { .name = "  page tables of each",
                                .baseline_name = "the same pages, touched",
                                .unit = "B",
                                .figure = ours[0].table_bytes,
                                .baseline = bare[0].table_bytes };
    struct bench_row time = { .name = "  processor time of the whole run",
                              .unit = "s",
                              .target = 1.3,
                              .baseline_name = "guard, touch, unmap of the same pages" };

    snprintf(name, sizeof name, "%zu sleeping tasks: memory of each", task_count);
    for (int pair = 0; pair < PAIRS; pair++) {
        cpu[pair] = ours[pair].cpu_seconds;
        bare_cpu[pair] = bare[pair].cpu_seconds;
    }
    time.ratio = stats_describe_ratios(cpu, bare_cpu, ratios, PAIRS).median;
    time.figure = median(cpu);
    time.baseline = median(bare_cpu);
    memory.ratio = memory.figure / memory.baseline;
    tables.ratio = tables.figure / tables.baseline;
    bench_print(&memory);
    bench_print(&tables);
    bench_print(&time);
}

int main(int argc, char **argv)
{
    size_t fits = (size_t)(proc_bytes("/proc/meminfo", "MemAvailable") * 0.75 / BYTES_EACH);
    struct found ours[PAIRS], bare[PAIRS];

    in_child =
        mmap(NULL, sizeof *in_child, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (in_child == MAP_FAILED)
        return perror("idle_memory"), 1;
    if (argc > 1)
        task_count = strtoul(argv[1], NULL, 10);
    if (task_count > fits)
        task_count = fits;
    for (int pair = -1; pair < PAIRS; pair++) {
        int slot = pair < 0 ? 0 : pair;

        ours[slot] = measure(sleeping_tasks);
        bare[slot] = measure(bare_pages);
        if (!ours[slot].ok)
            return fprintf(stderr, "idle_memory: %zu tasks could not be spawned\n", task_count), 1;
        if (!bare[slot].ok) /* no MADV_GUARD_INSTALL before Linux 6.13: a row without a baseline */
            bare[slot] = (struct found){ 0 };
    }
    print_rows(ours, bare);
    return 0;
}
