/*
 * What other processes have used so far: CPU time and resident memory.
 *
 * CPU time is read from each process's CPU clock. It is the sum of what /proc/PID/task/N/schedstat
 * shows, to the nanosecond, but also counts threads that have ended and is one system call where a
 * server with 10,000 threads has 10,000 files, whose reading would disturb what is being measured.
 */
#ifndef BENCH_PROCESS_H
#define BENCH_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

#define PROCESS_LIST_MAX 64

struct process_list {
    unsigned count;
    pid_t pids[PROCESS_LIST_MAX];
};

/* Reads "12,34,56"; returns false when it is anything else. */
static inline bool process_list_parse(struct process_list *list, const char *text)
{
    char *end;
    long pid;

    list->count = 0;
    do {
        pid = strtol(text, &end, 10);
        if (end == text || pid <= 0 || list->count == PROCESS_LIST_MAX)
            return false;
        list->pids[list->count++] = (pid_t)pid;
        text = end + 1;
    } while (*end == ',');
    return !*end;
}

/* Returns the CPU time of all the processes, in nanoseconds; one that is gone counts as 0. */
static inline uint64_t process_list_cpu_ns(const struct process_list *list)
{
    struct timespec used;
    uint64_t sum_ns = 0;
    clockid_t clock;

    for (unsigned i = 0; i < list->count; i++) {
        if (clock_getcpuclockid(list->pids[i], &clock) || clock_gettime(clock, &used) < 0)
            continue;
        sum_ns += (uint64_t)used.tv_sec * 1000000000ull + (uint64_t)used.tv_nsec;
    }
    return sum_ns;
}

/* Returns the number after `key` in a /proc file of "key:  123 kB" lines, in bytes; 0 if none. */
static inline uint64_t process_read_kib(const char *path, const char *key)
{
    unsigned long long kib = 0;
    size_t key_bytes = strlen(key);
    char line[256];
    FILE *file;

    file = fopen(path, "re");
    if (!file)
        return 0;
    while (fgets(line, sizeof(line), file)) {
        if (!strncmp(line, key, key_bytes) && sscanf(line + key_bytes, "%llu", &kib) == 1)
            break;
    }
    fclose(file);
    return kib * 1024;
}

/*
 * Returns the resident memory of all the processes. smaps_rollup is preferred because it counts
 * pages at this moment; VmRSS lags behind by what each core has not yet added up.
 */
static inline uint64_t process_list_rss_bytes(const struct process_list *list)
{
    uint64_t sum_bytes = 0;
    uint64_t rss_bytes;
    char path[64];

    for (unsigned i = 0; i < list->count; i++) {
        snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)list->pids[i]);
        rss_bytes = process_read_kib(path, "Rss:");
        if (!rss_bytes) {
            snprintf(path, sizeof(path), "/proc/%d/status", (int)list->pids[i]);
            rss_bytes = process_read_kib(path, "VmRSS:");
        }
        sum_bytes += rss_bytes;
    }
    return sum_bytes;
}

#endif
