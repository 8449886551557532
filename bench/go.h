/*
 * Go as a baseline: baseline/tasks.go, which bench/run builds next to the benchmarks where there
 * is a Go compiler. Without it the figure is 0, and a row says that there was no baseline.
 *
 *     GO_BASELINE(go_mutex, "mutex-hand-off")     defines double go_mutex(void), for a comparison
 */
#ifndef BENCH_GO_H
#define BENCH_GO_H

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define GO_BASELINE(function, measurement)                                                         \
    static double function(void)                                                                   \
    {                                                                                              \
        return go_measure(measurement);                                                            \
    }

/* Processor time in nanoseconds for each item, of one run; 0: not built. */
static inline double go_measure(const char *measurement)
{
    char program[PATH_MAX], command[PATH_MAX + 64];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - sizeof "go_tasks");
    double figure = 0;
    FILE *output;

    if (length < 0)
        return 0;
    program[length] = 0;
    strcpy(strrchr(program, '/') + 1, "go_tasks");
    if (access(program, X_OK) < 0)
        return 0;
    snprintf(command, sizeof command, "'%s' %s", program, measurement);
    output = popen(command, "r");
    if (!output)
        return 0;
    if (fscanf(output, "%lf", &figure) != 1)
        figure = 0;
    pclose(output);
    return figure;
}

#endif
