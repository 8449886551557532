/*
 * A Criterion test whose body is the main task of a runtime of its own.
 *
 *     GreenTest(sleep, wakes_after_the_duration)
 *     {
 *         cr_assert_eq(gring_sleep(GRING_MS), 0);
 *     }
 *
 * Criterion runs each test in a process of its own, so a failed assertion may leave tasks
 * behind; one that fails in another task jumps across stacks, which AddressSanitizer reports in
 * addition. Options of Test() follow the name (.timeout = 5, .signal = SIGABRT).
 */
#ifndef TESTS_SUPPORT_GREEN_H
#define TESTS_SUPPORT_GREEN_H

#include <criterion/criterion.h>
#include <greenring/greenring.h>

#define GreenTest(suite, name, ...)                                                                \
    static void suite##_##name##_body(void);                                                       \
    static void *suite##_##name##_main(void *unused)                                               \
    {                                                                                              \
        (void)unused;                                                                              \
        suite##_##name##_body();                                                                   \
        return NULL;                                                                               \
    }                                                                                              \
    Test(suite, name, ##__VA_ARGS__)                                                               \
    {                                                                                              \
        cr_assert_eq(gring_run(suite##_##name##_main, NULL, NULL), 0, "gring_run: %m");            \
    }                                                                                              \
    static void suite##_##name##_body(void)

#endif
