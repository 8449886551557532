/*
 * A program that breaks a rule and must be caught, with a sentence that names the cause and the
 * remedy: one line of the table that the files of tests/mustfail are.
 *
 *     Dies(exit, called_on_a_plain_thread, SIGABRT, "gring_exit was called outside a task")
 *     {
 *         gring_exit(NULL);
 *     }
 *
 * The body runs in a child process of its own: GreenDies as the main task of a run, Dies without
 * one. It must die of the signal, and what it said on stderr must contain the text. A body that
 * returns has not been caught.
 */
#ifndef TESTS_SUPPORT_DIES_H
#define TESTS_SUPPORT_DIES_H

#include "tests/support/child.h"

#include <greenring/greenring.h>
#include <signal.h>

static inline void dies(void (*body)(void), int signal_number, const char *text)
{
    struct child child = child_run(body);

    cr_assert(child_died_of(&child, signal_number), "it was not caught: status %#x, it said: %s",
              (unsigned)child.status, child.errors);
    cr_assert(strstr(child.errors, text), "expected '%s', it said: %s", text, child.errors);
}

#define Dies(suite, name, signal_number, text)                                                     \
    static void suite##_##name##_body(void);                                                       \
    Test(suite, name)                                                                              \
    {                                                                                              \
        dies(suite##_##name##_body, signal_number, text);                                          \
    }                                                                                              \
    static void suite##_##name##_body(void)

#define GreenDies(suite, name, signal_number, text)                                                \
    static void suite##_##name##_main(void);                                                       \
    static void *suite##_##name##_task(void *unused)                                               \
    {                                                                                              \
        (void)unused;                                                                              \
        suite##_##name##_main();                                                                   \
        return NULL;                                                                               \
    }                                                                                              \
    Dies(suite, name, signal_number, text)                                                         \
    {                                                                                              \
        CHILD_MUST(gring_run(suite##_##name##_task, NULL, NULL) >= 0);                             \
    }                                                                                              \
    static void suite##_##name##_main(void)

/* The body as another task of the run, for which the main task waits. */
#define TaskDies(suite, name, signal_number, text)                                                 \
    static void *suite##_##name##_other(void *unused);                                             \
    GreenDies(suite, name, signal_number, text)                                                    \
    {                                                                                              \
        gring_join(gring_spawn(suite##_##name##_other, NULL), NULL);                               \
    }                                                                                              \
    static void *suite##_##name##_other(void *unused __attribute__((unused)))

#endif
