/*
 * As GreenTest, but time stands still until gring_test_advance moves it.
 *
 *     FakeTimeTest(sleep, wakes_after_the_duration)
 *     {
 *         gring_spawn_n(sleeper, NULL);
 *         gring_test_advance(10 * GRING_MS);
 *         cr_assert(woken);
 *     }
 */
#ifndef TESTS_SUPPORT_FAKETIME_H
#define TESTS_SUPPORT_FAKETIME_H

#include <criterion/criterion.h>
#include <greenring/debug.h>
#include <greenring/greenring.h>

#define FakeTimeTest(suite, name, ...)                                                             \
    static void suite##_##name##_body(void);                                                       \
    static void *suite##_##name##_main(void *unused)                                               \
    {                                                                                              \
        (void)unused;                                                                              \
        suite##_##name##_body();                                                                   \
        return NULL;                                                                               \
    }                                                                                              \
    Test(suite, name, ##__VA_ARGS__)                                                               \
    {                                                                                              \
        gring_config config = GRING_CONFIG_INIT;                                                   \
                                                                                                   \
        config.flags = GRING_RUN_FAKETIME;                                                         \
        cr_assert_eq(gring_run_with(&config, suite##_##name##_main, NULL, NULL), 0,                \
                     "gring_run_with: %m");                                                        \
    }                                                                                              \
    static void suite##_##name##_body(void)

#endif
