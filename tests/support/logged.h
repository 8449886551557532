/*
 * What the runtime logs, kept for the test to look at. Call logged_start before the runtime starts.
 */
#ifndef TESTS_SUPPORT_LOGGED_H
#define TESTS_SUPPORT_LOGGED_H

#include <greenring/debug.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { LOGGED_LINES_MAX = 64, LOGGED_LINE_BYTES = 1024 };

static struct {
    unsigned count; /* all, also those that were not kept */
    int levels[LOGGED_LINES_MAX];
    char lines[LOGGED_LINES_MAX][LOGGED_LINE_BYTES];
} logged;

static inline void logged_keep(int level, const char *text, void *arg)
{
    (void)arg;
    if (logged.count < LOGGED_LINES_MAX) {
        logged.levels[logged.count] = level;
        snprintf(logged.lines[logged.count], LOGGED_LINE_BYTES, "%s", text);
    }
    logged.count++;
}

static inline void logged_start(void)
{
    logged.count = 0;
    gring_set_log(logged_keep, NULL);
}

/* How many of the kept lines contain the text. */
static inline unsigned logged_with(const char *text)
{
    unsigned kept = logged.count < LOGGED_LINES_MAX ? logged.count : LOGGED_LINES_MAX;
    unsigned found = 0;

    for (unsigned index = 0; index < kept; index++)
        found += strstr(logged.lines[index], text) != NULL;
    return found;
}

#endif
