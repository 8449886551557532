/*
 * P4: what a million sleeping tasks cost: memory, and processor time against the bare page work (guard, first touch,
 * give back) of the same number of stacks in the same run.
 *
 * Usage: idle_memory [TASKS]        default 1,000,000, or what three quarters of the free memory hold
 */
#include "report.h"

#include <greenring/greenring.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

enum { STACK_BYTES = 256 * 1024, GUARD_BYTES = 16 * 1024, BYTES_EACH = 5120 };

static size_t task_count = 1000 * 1000;

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

static double cpu_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void *sleep_long(void *arg)
{
    gring_sleep(3600 * GRING_SEC);
    return arg;
}

static void *spawn_sleepers(void *arg)
{
    double *per_task = arg;
    double rss = proc_bytes("/proc/self/status", "VmRSS");
    double tables = proc_bytes("/proc/self/status", "VmPTE");

    for (size_t count = 0; count < task_count; count++)
        if (gring_spawn_n(sleep_long, NULL) < 0) {
            perror("idle_memory: spawn");
            task_count = count;
        }
    gring_idle();
    per_task[0] = (proc_bytes("/proc/self/status", "VmRSS") - rss) / (double)task_count;
    per_task[1] = (proc_bytes("/proc/self/status", "VmPTE") - tables) / (double)task_count;
    return NULL; /* the end of the run ends the sleepers */
}

/* The pages that as many sleepers need, without any task. */
static double bare_pages(void)
{
    double before = cpu_seconds();
    char *stacks = mmap(NULL, task_count * STACK_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

    if (stacks == MAP_FAILED)
        return 0;
    madvise(stacks, task_count * STACK_BYTES, MADV_NOHUGEPAGE);
    for (size_t index = 0; index < task_count; index++) {
        char *stack = stacks + index * STACK_BYTES;

        if (madvise(stack, GUARD_BYTES, MADV_GUARD_INSTALL) < 0)
            return 0;
        *(volatile char *)(stack + STACK_BYTES - 1) = 1;
    }
    munmap(stacks, task_count * STACK_BYTES);
    return cpu_seconds() - before;
}

int main(int argc, char **argv)
{
    size_t fits = (size_t)(proc_bytes("/proc/meminfo", "MemAvailable") * 0.75 / BYTES_EACH);
    double per_task[2] = { 0 }, before, ours, bare;

    if (argc > 1)
        task_count = strtoul(argv[1], NULL, 10);
    if (task_count > fits)
        task_count = fits;
    before = cpu_seconds();
    if (gring_run(spawn_sleepers, per_task, NULL) != 0)
        return 1;
    ours = cpu_seconds() - before;
    bare = bare_pages();
    printf("%zu sleeping tasks: RSS each %.0f B   page tables each %.0f B   target <= 4400 B and page tables\n",
           task_count, per_task[0], per_task[1]);
    if (bare > 0)
        printf("%-46s %9.1f s    %-40s %9.1f s    ratio %5.2f   target <= 1.3\n", "the same: processor time, whole run",
               ours, "guard, touch, unmap of the same pages", bare, ours / bare);
    else
        printf("%-46s %9.1f s    (no MADV_GUARD_INSTALL here, so no baseline)\n", "the same: processor time, whole run", ours);
    return 0;
}
