/*
 * What greenring/time.h promises. Only what says "real clock" looks at it; elsewhere time is
 * simulated.
 */
#include "tests/support/child.h"
#include "tests/support/faketime.h"
#include "tests/support/green.h"
#include "tests/support/logged.h"

#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Timers are rounded up to it, at most. */
#define TICK_NS ((gring_ns)1 << 16)

static char trace[512];

static void note(const char *what)
{
    strncat(trace, what, sizeof trace - strlen(trace) - 1);
}

static void *number(intptr_t value)
{
    return (void *)value;
}

static void *text(const char *what)
{
    return (void *)(uintptr_t)what;
}

static uint64_t timer_count(void)
{
    gring_stats stats = { .size = sizeof stats };

    cr_assert_eq(gring_stats_get(&stats), 0);
    return stats.timers;
}

/* ---- the clock ---- */

static gring_ns monotonic(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * GRING_SEC + now.tv_nsec;
}

static void clock_is_monotonic(void)
{
    gring_ns before = monotonic();
    gring_ns now = gring_now();

    cr_assert_leq(before, now);
    cr_assert_leq(now, monotonic());
    cr_assert_leq(gring_loop_now(), monotonic());
}

GreenTest(clock, is_CLOCK_MONOTONIC)
{
    clock_is_monotonic();
}

Test(clock, works_without_a_runtime)
{
    clock_is_monotonic();
    cr_assert_null(gring_hub_self());
}

GreenTest(clock, of_the_loop_stands_still_while_a_task_computes)
{
    gring_ns loop = gring_loop_now(), now = gring_now();

    while (gring_now() == now)
        ;
    cr_assert_eq(gring_loop_now(), loop);
}

FakeTimeTest(clock, stands_still_until_it_is_advanced)
{
    gring_ns now = gring_now();

    cr_assert_eq(gring_now(), now);
    gring_yield();
    cr_assert_eq(gring_now(), now);
    cr_assert_eq(gring_test_advance(GRING_SEC), 0);
    cr_assert_eq(gring_now(), now + GRING_SEC);
    cr_assert_eq(gring_loop_now(), now + GRING_SEC);
}

GreenTest(clock, that_is_real_cannot_be_advanced)
{
    errno = 0;
    cr_assert_eq(gring_test_advance(GRING_SEC), -1);
    cr_assert_eq(errno, EINVAL);
}

static void *sleep_a_second(void *unused)
{
    (void)unused;
    gring_sleep(GRING_SEC);
    note("woken");
    return NULL;
}

FakeTimeTest(clock, moves_only_after_what_is_ready_has_run)
{
    gring_spawn_n(sleep_a_second, NULL);
    gring_test_advance(2 * GRING_SEC);
    cr_assert_str_eq(trace, "woken");
}

FakeTimeTest(clock, does_not_go_backwards)
{
    errno = 0;
    cr_assert_eq(gring_test_advance(-1), -1);
    cr_assert_eq(errno, EINVAL);
}

/* ---- sleep ---- */

GreenTest(sleep, is_never_early_by_the_real_clock)
{
    const gring_ns durations[] = { 1,        GRING_US,    33 * GRING_US, 65536, 100 * GRING_US,
                                   GRING_MS, 3 * GRING_MS };

    for (int round = 0; round < 5; round++)
        for (size_t index = 0; index < sizeof durations / sizeof durations[0]; index++) {
            gring_ns before = monotonic();

            cr_assert_eq(gring_sleep(durations[index]), 0);
            cr_assert_geq(monotonic() - before, durations[index]);
        }
}

GreenTest(sleep, until_is_never_early_by_the_real_clock)
{
    for (int round = 0; round < 10; round++) {
        gring_ns instant = monotonic() + GRING_MS + round;

        cr_assert_eq(gring_sleep_until(instant), 0);
        cr_assert_geq(monotonic(), instant);
    }
}

static void *sleep_long(void *unused)
{
    (void)unused;
    for (int round = 0; round < 5; round++) {
        gring_ns before = monotonic();

        cr_assert_eq(gring_sleep(2 * GRING_MS), 0);
        cr_assert_geq(monotonic() - before, 2 * GRING_MS);
    }
    return NULL;
}

/* The loop's clock is older than the moment of the call: a sleep must not be counted from it. */
GreenTest(sleep, is_never_early_after_a_long_computation)
{
    gring_task *other = gring_spawn(sleep_long, NULL);

    for (int round = 0; round < 5; round++) {
        gring_ns before = monotonic();

        while (monotonic() - before < 3 * GRING_MS)
            ;
        before = monotonic();
        cr_assert_eq(gring_sleep(GRING_MS), 0);
        cr_assert_geq(monotonic() - before, GRING_MS);
    }
    cr_assert_eq(gring_join(other, NULL), 0);
}

static void *sleep_and_note(void *milliseconds)
{
    char word[32];

    cr_assert_eq(gring_sleep((intptr_t)milliseconds * GRING_MS), 0);
    snprintf(word, sizeof word, "%d ", (int)(intptr_t)milliseconds);
    note(word);
    return NULL;
}

FakeTimeTest(sleep, sleepers_wake_in_the_order_of_time)
{
    const int durations[] = { 30, 40, 10, 20 };

    for (int index = 0; index < 4; index++)
        gring_spawn_n(sleep_and_note, number(durations[index]));
    gring_yield();
    gring_test_advance(100 * GRING_MS);
    cr_assert_str_eq(trace, "10 20 30 40 ");
}

FakeTimeTest(sleep, sleepers_wake_when_it_is_their_time)
{
    const int durations[] = { 30, 40, 10, 20 };

    for (int index = 0; index < 4; index++)
        gring_spawn_n(sleep_and_note, number(durations[index]));
    gring_yield();
    gring_test_advance(10 * GRING_MS - 1);
    cr_assert_str_eq(trace, "");
    gring_test_advance(1 + TICK_NS);
    cr_assert_str_eq(trace, "10 ");
    gring_test_advance(20 * GRING_MS);
    cr_assert_str_eq(trace, "10 20 30 ");
    gring_test_advance(9 * GRING_MS);
    cr_assert_str_eq(trace, "10 20 30 ");
    gring_test_advance(GRING_MS);
    cr_assert_str_eq(trace, "10 20 30 40 ");
}

static gring_ns woken_at[3];

static void *sleep_and_look(void *slot)
{
    intptr_t index = (intptr_t)slot;

    cr_assert_eq(gring_sleep((index + 1) * GRING_SEC), 0);
    woken_at[index] = gring_now();
    return NULL;
}

FakeTimeTest(sleep, one_step_of_simulated_time_stops_at_each_sleeper)
{
    gring_ns start = gring_now();

    for (intptr_t index = 0; index < 3; index++)
        gring_spawn_n(sleep_and_look, number(index));
    gring_yield();
    gring_test_advance(3600 * GRING_SEC);
    for (int index = 0; index < 3; index++) {
        cr_assert_geq(woken_at[index], start + (index + 1) * GRING_SEC);
        cr_assert_leq(woken_at[index], start + (index + 1) * GRING_SEC + TICK_NS);
    }
    cr_assert_eq(gring_now(), start + 3600 * GRING_SEC);
}

static void *sleep_until_and_note(void *word)
{
    cr_assert_eq(gring_sleep_until(GRING_SEC), 0);
    note(word);
    return NULL;
}

FakeTimeTest(sleep, equal_times_wake_in_the_order_of_arming)
{
    const char *words[] = { "A", "B", "C", "D", "E", "F", "G", "H" };

    cr_assert_lt(gring_now(), GRING_SEC);
    for (int index = 0; index < 8; index++) {
        gring_spawn_n(sleep_until_and_note, text(words[index]));
        gring_test_advance(100 * GRING_MS); /* armed at different distances */
    }
    gring_test_advance(10 * GRING_SEC);
    cr_assert_str_eq(trace, "ABCDEFGH");
}

static void *note_it(void *word)
{
    note(word);
    return NULL;
}

FakeTimeTest(sleep, of_nothing_or_less_is_a_yield)
{
    gring_spawn_n(note_it, text("A"));
    cr_assert_eq(gring_sleep(0), 0);
    cr_assert_str_eq(trace, "A");
    gring_spawn_n(note_it, text("B"));
    cr_assert_eq(gring_sleep(-GRING_SEC), 0);
    cr_assert_str_eq(trace, "AB");
    cr_assert_eq(timer_count(), 0);
}

FakeTimeTest(sleep, until_a_past_instant_is_a_yield)
{
    gring_spawn_n(note_it, text("A"));
    cr_assert_eq(gring_sleep_until(gring_now()), 0);
    cr_assert_str_eq(trace, "A");
    gring_spawn_n(note_it, text("B"));
    cr_assert_eq(gring_sleep_until(INT64_MIN), 0);
    cr_assert_str_eq(trace, "AB");
}

static void *sleep_for_ever(void *unused)
{
    (void)unused;
    if (gring_sleep(GRING_FOREVER) == 0)
        note("woken");
    return NULL;
}

static uint64_t enter_count(void)
{
    gring_stats stats = { .size = sizeof stats };

    cr_assert_eq(gring_stats_get(&stats), 0);
    return stats.enters;
}

/* No tick: the hub stands in one enter until the nearest timer. A few more are other people's. */
GreenTest(sleep, enters_the_kernel_no_more_often_the_longer_it_is)
{
    uint64_t before = enter_count();

    cr_assert_eq(gring_sleep(200 * GRING_MS), 0);
    cr_assert_leq(enter_count() - before, 10);
}

FakeTimeTest(sleep, for_ever_outlasts_any_time)
{
    const gring_ns year = 365 * 86400 * GRING_SEC;
    gring_task *task = gring_spawn(sleep_for_ever, NULL);

    gring_test_advance(GRING_SEC);
    cr_assert_eq(gring_test_advance(200 * year), 0);
    cr_assert_eq(gring_task_state(task), GRING_PARKED);
    cr_assert_str_eq(trace, "");
}

FakeTimeTest(sleep, leaves_no_timer_behind)
{
    for (int round = 0; round < 10; round++)
        gring_spawn_n(sleep_and_note, number(1));
    gring_yield();
    cr_assert_eq(timer_count(), 10);
    gring_test_advance(GRING_SEC);
    cr_assert_eq(timer_count(), 0);
}

/* ---- timers ---- */

static void note_timer(void *word)
{
    cr_assert_null(gring_self());
    cr_assert(gring_hub_self());
    note(word);
}

FakeTimeTest(timer, calls_back_on_the_loop_when_its_time_has_come)
{
    gring_timer timer = { { 0 } };

    cr_assert_eq(gring_timer_start(&timer, 10 * GRING_MS, note_timer, text("fired")), 0);
    cr_assert(gring_timer_pending(&timer));
    gring_test_advance(10 * GRING_MS - 1);
    cr_assert_str_eq(trace, "");
    gring_test_advance(1 + TICK_NS);
    cr_assert_str_eq(trace, "fired");
    cr_assert_not(gring_timer_pending(&timer));
    gring_test_advance(GRING_SEC);
    cr_assert_str_eq(trace, "fired", "once");
}

FakeTimeTest(timer, of_no_duration_fires_at_the_next_turn)
{
    gring_timer now = { { 0 } }, before = { { 0 } };

    cr_assert_eq(gring_timer_start(&now, 0, note_timer, text("0")), 0);
    cr_assert_eq(gring_timer_start(&before, -GRING_SEC, note_timer, text("-")), 0);
    cr_assert_str_eq(trace, "", "never within the call");
    gring_idle();
    cr_assert_str_eq(trace, "0-");
}

FakeTimeTest(timer, stopped_in_time_nothing_happens_later)
{
    gring_timer timer = { { 0 } };

    gring_timer_start(&timer, GRING_MS, note_timer, text("fired"));
    cr_assert_eq(gring_timer_stop(&timer), 1);
    cr_assert_not(gring_timer_pending(&timer));
    cr_assert_eq(gring_timer_stop(&timer), 0, "it was not pending any more");
    gring_test_advance(GRING_SEC);
    cr_assert_str_eq(trace, "");
}

FakeTimeTest(timer, stopping_one_that_fired_says_so)
{
    gring_timer timer = { { 0 } };

    gring_timer_start(&timer, GRING_MS, note_timer, text("fired"));
    gring_test_advance(GRING_SEC);
    cr_assert_eq(gring_timer_stop(&timer), 0);
}

FakeTimeTest(timer, zero_bytes_are_a_timer_that_is_not_pending)
{
    gring_timer timer = { { 0 } };

    cr_assert_not(gring_timer_pending(&timer));
    cr_assert_eq(gring_timer_stop(&timer), 0);
}

FakeTimeTest(timer, starting_a_pending_one_is_EBUSY_and_changes_nothing)
{
    gring_timer timer = { { 0 } };

    gring_timer_start(&timer, GRING_MS, note_timer, text("first"));
    errno = 0;
    cr_assert_eq(gring_timer_start(&timer, GRING_SEC, note_timer, text("second")), -1);
    cr_assert_eq(errno, EBUSY);
    gring_test_advance(10 * GRING_SEC);
    cr_assert_str_eq(trace, "first");
}

FakeTimeTest(timer, without_a_callback_is_EINVAL)
{
    gring_timer timer = { { 0 } };

    errno = 0;
    cr_assert_eq(gring_timer_start(&timer, GRING_MS, NULL, NULL), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_not(gring_timer_pending(&timer));
}

Test(timer, without_a_hub_is_EPERM)
{
    gring_timer timer = { { 0 } };

    errno = 0;
    cr_assert_eq(gring_timer_start(&timer, GRING_MS, note_timer, NULL), -1);
    cr_assert_eq(errno, EPERM);
    errno = 0;
    cr_assert_eq(gring_timer_stop(&timer), -1);
    cr_assert_eq(errno, EPERM);
}

static void *use_timers_on_its_stack(void *unused)
{
    gring_timer stopped = { { 0 } }, fired = { { 0 } }, again = { { 0 } };

    gring_timer_start(&stopped, GRING_SEC, note_timer, text("never"));
    gring_timer_start(&fired, GRING_MS, note_timer, text("1"));
    gring_timer_start(&again, 2 * GRING_MS, note_timer, text("2"));
    gring_sleep(3 * GRING_MS);
    gring_timer_start(&again, GRING_MS, note_timer, text("3"));
    gring_sleep(3 * GRING_MS);
    cr_assert_eq(gring_timer_stop(&stopped), 1);
    cr_assert_eq(gring_timer_stop(&fired), 0);
    return unused;
}

/* Those that are pending at its end are caught: tests/mustfail/time.c. */
FakeTimeTest(timer, on_a_tasks_own_stack_may_fire_or_be_stopped_before_the_task_ends)
{
    gring_task *task = gring_spawn(use_timers_on_its_stack, NULL);

    gring_test_advance(10 * GRING_MS);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_str_eq(trace, "123");
}

FakeTimeTest(timer, several_fire_in_the_order_of_time_then_of_arming)
{
    gring_timer timers[5];

    memset(timers, 0, sizeof timers);
    gring_timer_start(&timers[0], 30 * GRING_MS, note_timer, text("30 "));
    gring_timer_start(&timers[1], 10 * GRING_MS, note_timer, text("10a "));
    gring_timer_start(&timers[2], 10 * GRING_MS, note_timer, text("10b "));
    gring_timer_start(&timers[3], 20 * GRING_MS, note_timer, text("20 "));
    gring_timer_start(&timers[4], 10 * GRING_MS, note_timer, text("10c "));
    gring_test_advance(GRING_SEC);
    cr_assert_str_eq(trace, "10a 10b 10c 20 30 ");
}

static gring_timer restarted;
static unsigned fire_count;

static void start_again(void *unused)
{
    cr_assert_not(gring_timer_pending(&restarted));
    if (++fire_count < 5)
        cr_assert_eq(gring_timer_start(&restarted, GRING_SEC, start_again, unused), 0);
}

FakeTimeTest(timer, may_be_started_again_by_its_callback)
{
    gring_timer_start(&restarted, GRING_SEC, start_again, NULL);
    gring_test_advance(2 * GRING_SEC + GRING_SEC / 2);
    cr_assert_eq(fire_count, 2);
    gring_test_advance(GRING_SEC * 10);
    cr_assert_eq(fire_count, 5);
    cr_assert_not(gring_timer_pending(&restarted));
}

/* Started again for now, it must not fire in the same turn for ever. */
static void start_again_for_now(void *unused)
{
    fire_count++;
    gring_timer_start(&restarted, 0, start_again_for_now, unused);
}

FakeTimeTest(timer, one_that_starts_itself_for_now_lets_tasks_run)
{
    gring_timer_start(&restarted, 0, start_again_for_now, NULL);
    for (int round = 0; round < 1000; round++) /* several turns of the loop */
        cr_assert_eq(gring_yield(), 0);
    cr_assert_gt(fire_count, 1);
    cr_assert_eq(gring_timer_stop(&restarted), 1);
}

static void free_it(void *timer)
{
    memset(timer, 0xff,
           sizeof(gring_timer)); /* whoever looks at it now finds nonsense, also without ASan */
    free(timer);
    fire_count++;
}

FakeTimeTest(timer, may_be_freed_by_its_callback)
{
    for (int round = 0; round < 10; round++) {
        gring_timer *timer = calloc(1, sizeof *timer);

        cr_assert_eq(gring_timer_start(timer, round * GRING_MS, free_it, timer), 0);
    }
    gring_test_advance(GRING_SEC);
    cr_assert_eq(fire_count, 10);
}

static gring_timer victim;

static void stop_the_other(void *unused)
{
    (void)unused;
    note("stopper ");
    cr_assert_eq(gring_timer_stop(&victim), 1);
}

FakeTimeTest(timer, one_may_stop_another_that_is_due_as_well)
{
    gring_timer stopper = { { 0 } };

    gring_timer_start(&stopper, GRING_MS, stop_the_other, NULL);
    gring_timer_start(&victim, GRING_MS, note_timer, text("victim "));
    gring_test_advance(GRING_SEC);
    cr_assert_str_eq(trace, "stopper ");
}

static void spawn_from_here(void *word)
{
    cr_assert_eq(gring_spawn_n(note_it, word), 0);
}

FakeTimeTest(timer, its_callback_may_spawn)
{
    gring_timer timer = { { 0 } };

    gring_timer_start(&timer, GRING_MS, spawn_from_here, text("ran"));
    gring_test_advance(GRING_SEC);
    cr_assert_str_eq(trace, "ran");
}

FakeTimeTest(timer, a_thousand_armed_and_cancelled_leave_nothing)
{
    for (int round = 0; round < 1000; round++) {
        gring_timer timer = { { 0 } };

        cr_assert_eq(gring_timer_start(&timer, (round + 1) * GRING_SEC, note_timer, text("fired")),
                     0);
        cr_assert_eq(timer_count(), 1);
        cr_assert_eq(gring_timer_stop(&timer), 1);
    }
    cr_assert_eq(timer_count(), 0);
    gring_test_advance(10000 * GRING_SEC);
    cr_assert_str_eq(trace, "");
}

static void set_flag(void *flag)
{
    *(bool *)flag = true;
}

GreenTest(timer, a_task_that_only_yields_does_not_keep_it_from_firing)
{
    gring_timer timer = { { 0 } };
    volatile bool fired = false;
    gring_ns start = monotonic();

    gring_timer_start(&timer, GRING_MS, set_flag, (void *)(uintptr_t)&fired);
    while (!fired) {
        cr_assert_eq(gring_yield(), 0);
        cr_assert_lt(monotonic(), start + 30 * GRING_SEC, "it never fired");
    }
}

static void *yield_until(void *flag)
{
    while (!*(volatile bool *)flag)
        gring_yield();
    return NULL;
}

GreenTest(timer, tasks_that_only_yield_do_not_keep_a_sleeper_from_waking)
{
    bool woken = false;

    for (int index = 0; index < 200; index++)
        gring_spawn_n(yield_until, &woken);
    cr_assert_eq(gring_sleep(GRING_MS), 0);
    woken = true;
    cr_assert_eq(gring_idle(), 0);
}

static void sleep_in_a_timer(void *unused)
{
    (void)unused;
    gring_sleep(GRING_MS);
}

static void *arm_a_sleeper(void *unused)
{
    gring_timer timer = { { 0 } };

    (void)unused;
    gring_timer_start(&timer, GRING_US, sleep_in_a_timer, NULL);
    gring_sleep(GRING_SEC);
    return NULL;
}

static void wait_in_a_timer(void)
{
    gring_run(arm_a_sleeper, NULL, NULL);
}

Test(timer, a_waiting_call_in_its_callback_is_caught_and_says_what_to_do)
{
    child_must_abort(
        wait_in_a_timer,
        "a waiting call was made in a callback on the hub's loop; spawn a task there instead");
}

static void yield_in_a_timer(void *unused)
{
    (void)unused;
    gring_sleep(0);
}

GreenTest(timer, a_yield_in_its_callback_is_caught, .signal = SIGABRT)
{
    gring_timer timer = { { 0 } };

    gring_timer_start(&timer, 0, yield_in_a_timer, NULL);
    gring_sleep(GRING_SEC);
}

/* ---- periodic tasks ---- */

enum { TICKS_MAX = 16 };

static struct {
    unsigned count;
    gring_tick ticks[TICKS_MAX];
    gring_ns work_ns;    /* how long the next call takes */
    unsigned stop_after; /* calls; 0: never */
    int stop_result;
    bool sleeps;
} periodic;

static int record_tick(void *arg, const gring_tick *tick)
{
    gring_ns work = periodic.work_ns;

    cr_assert_eq(arg, &periodic);
    cr_assert_lt(periodic.count, TICKS_MAX);
    periodic.ticks[periodic.count++] = *tick;
    periodic.work_ns = 0;
    if (work)
        cr_assert_eq(gring_sleep(work), 0);
    return periodic.count == periodic.stop_after ? periodic.stop_result : 0;
}

static gring_task *start_periodic(gring_ns period, const gring_spawn_opts *opts)
{
    gring_task *task = gring_every(period, record_tick, &periodic, opts);

    cr_assert(task, "%m");
    cr_assert_eq(gring_idle(), 0); /* it waits for its first tick */
    return task;
}

static void tick_is(unsigned index, gring_ns due, uint64_t missed)
{
    const gring_tick *tick = &periodic.ticks[index];

    cr_assert_lt(index, periodic.count);
    cr_assert_eq(tick->n, index);
    cr_assert_eq(tick->due, due, "tick %u is due at %ld instead of %ld", index, (long)tick->due,
                 (long)due);
    cr_assert_eq(tick->missed, missed, "tick %u missed %lu", index, (unsigned long)tick->missed);
    cr_assert_geq(tick->late, 0);
}

FakeTimeTest(every, ticks_on_the_grid_of_its_start)
{
    gring_ns start = gring_now();

    start_periodic(GRING_SEC, NULL);
    gring_test_advance(GRING_SEC - 1);
    cr_assert_eq(periodic.count, 0);
    gring_test_advance(5 * GRING_SEC);
    cr_assert_eq(periodic.count, 5);
    for (unsigned index = 0; index < 5; index++) {
        tick_is(index, start + (index + 1) * GRING_SEC, 0);
        cr_assert_leq(periodic.ticks[index].late, TICK_NS);
    }
}

FakeTimeTest(every, does_not_drift_when_its_function_takes_a_while)
{
    gring_ns start = gring_now();

    start_periodic(GRING_SEC, NULL);
    for (unsigned index = 0; index < 5; index++) {
        periodic.work_ns = GRING_SEC / 3;
        gring_test_advance(GRING_SEC);
    }
    gring_test_advance(GRING_SEC / 2);
    cr_assert_eq(periodic.count, 5);
    for (unsigned index = 0; index < 5; index++)
        tick_is(index, start + (index + 1) * GRING_SEC, 0);
}

FakeTimeTest(every, counts_the_ticks_that_passed_while_its_function_ran_long)
{
    gring_ns start = gring_now();

    start_periodic(GRING_SEC, NULL);
    periodic.work_ns =
        3 * GRING_SEC + GRING_SEC / 2; /* from 1 to 4.5: 2, 3 are missed, 4 is late */
    gring_test_advance(6 * GRING_SEC + GRING_SEC / 4);
    cr_assert_eq(periodic.count, 4);
    tick_is(0, start + 1 * GRING_SEC, 0);
    tick_is(1, start + 4 * GRING_SEC, 2);
    cr_assert_geq(periodic.ticks[1].late, GRING_SEC / 2);
    cr_assert_leq(periodic.ticks[1].late, GRING_SEC / 2 + 2 * TICK_NS);
    tick_is(2, start + 5 * GRING_SEC, 0);
    tick_is(3, start + 6 * GRING_SEC, 0);
}

FakeTimeTest(every, ends_with_the_code_its_function_returns)
{
    gring_task *task;

    periodic.stop_after = 2;
    periodic.stop_result = ENOENT;
    task = start_periodic(GRING_SEC, NULL);
    gring_test_advance(10 * GRING_SEC);
    cr_assert_eq(periodic.count, 2);
    cr_assert_eq(gring_join(task, NULL), ENOENT);
}

FakeTimeTest(every, ends_well_when_its_function_returns_minus_one)
{
    gring_task *task;

    periodic.stop_after = 3;
    periodic.stop_result = -1;
    task = start_periodic(GRING_SEC, NULL);
    gring_test_advance(10 * GRING_SEC);
    cr_assert_eq(periodic.count, 3);
    cr_assert_eq(gring_join(task, NULL), 0);
}

FakeTimeTest(every, delay_is_the_distance_of_the_first_tick)
{
    gring_spawn_opts opts = { .size = sizeof opts, .delay = 100 * GRING_MS };
    gring_ns start = gring_now();

    start_periodic(GRING_SEC, &opts);
    gring_test_advance(2 * GRING_SEC + GRING_SEC / 2);
    cr_assert_eq(periodic.count, 3);
    for (unsigned index = 0; index < 3; index++)
        tick_is(index, start + 100 * GRING_MS + index * GRING_SEC, 0);
}

FakeTimeTest(every, takes_the_options_of_a_spawn)
{
    gring_spawn_opts opts = { .size = sizeof opts, .name = "beat", .prio = GRING_PRIO_HIGH };
    gring_task *task = start_periodic(GRING_SEC, &opts);

    cr_assert_str_eq(gring_task_name(task), "beat");
}

FakeTimeTest(every, an_older_smaller_struct_of_options_means_defaults_for_the_rest)
{
    gring_spawn_opts opts = { .size = offsetof(gring_spawn_opts, stack_size), .name = "old" };

    opts.stack_size = 1;
    opts.delay = 3600 * GRING_SEC;
    start_periodic(GRING_SEC, &opts);
    gring_test_advance(GRING_SEC + TICK_NS);
    cr_assert_eq(periodic.count, 1);
}

FakeTimeTest(every, no_period_or_no_function_is_EINVAL)
{
    gring_spawn_opts opts = { .size = 0 };

    errno = 0;
    cr_assert_null(gring_every(0, record_tick, &periodic, NULL));
    cr_assert_eq(errno, EINVAL);
    errno = 0;
    cr_assert_null(gring_every(-GRING_SEC, record_tick, &periodic, NULL));
    cr_assert_eq(errno, EINVAL);
    errno = 0;
    cr_assert_null(gring_every(GRING_SEC, NULL, NULL, NULL));
    cr_assert_eq(errno, EINVAL);
    errno = 0;
    cr_assert_null(gring_every(GRING_SEC, record_tick, &periodic, &opts));
    cr_assert_eq(errno, EINVAL);
}

FakeTimeTest(every, a_period_of_for_ever_never_ticks)
{
    gring_test_advance(GRING_SEC);
    start_periodic(GRING_FOREVER, NULL);
    gring_test_advance(1000 * GRING_SEC);
    cr_assert_eq(periodic.count, 0);
}

/* ---- the end of a run ---- */

static int count_tick(void *unused, const gring_tick *tick)
{
    (void)unused, (void)tick;
    fire_count++;
    return 0;
}

static int abort_count;

static void count_abort(void *unused)
{
    (void)unused;
    abort_count++;
}

static void see_code(gring_task *task, void *code)
{
    *(int *)code = gring_wait(task, NULL);
}

static int code_at_end = -2;

static void *leave_it_ticking(void *unused)
{
    gring_spawn_opts opts = { .size = sizeof opts, .abort = count_abort };
    gring_task *task = gring_every(GRING_MS, count_tick, NULL, &opts);

    (void)unused;
    cr_assert_eq(gring_link(task, see_code, &code_at_end), 0);
    while (fire_count < 3)
        cr_assert_eq(gring_sleep(GRING_MS), 0);
    return NULL;
}

Test(every, ends_with_the_run_and_its_abort_is_not_called_once_it_began)
{
    cr_assert_eq(gring_run(leave_it_ticking, NULL, NULL), 0);
    cr_assert_eq(code_at_end, ECANCELED);
    cr_assert_eq(abort_count, 0);
}

static gring_timer forgotten;

static void *leave_a_timer_pending(void *unused)
{
    (void)unused;
    cr_assert_eq(gring_timer_start(&forgotten, 3600 * GRING_SEC, note_timer, text("fired")), 0);
    return NULL;
}

Test(timer, one_that_is_pending_does_not_keep_the_run_from_ending)
{
    cr_assert_eq(gring_run(leave_a_timer_pending, NULL, NULL), 0);
    cr_assert_str_eq(trace, "");
}

/* In a child: Criterion's assertions do not work in the child of a fork. */
static void *use_the_forgotten_one(void *unused)
{
    CHILD_MUST(!gring_timer_pending(&forgotten)); /* its run is over */
    CHILD_MUST(gring_timer_stop(&forgotten) == 0);
    CHILD_MUST(gring_timer_start(&forgotten, GRING_MS, note_timer, text("fired")) == 0);
    CHILD_MUST(gring_timer_pending(&forgotten));
    CHILD_MUST(gring_sleep(5 * GRING_MS) == 0);
    CHILD_MUST(!gring_timer_pending(&forgotten));
    CHILD_MUST(strcmp(trace, "fired") == 0);
    return unused;
}

static void forget_it_and_run_again(void)
{
    CHILD_MUST(gring_run(leave_a_timer_pending, NULL, NULL) == 0);
    CHILD_MUST(!gring_timer_pending(&forgotten));
    CHILD_MUST(gring_run(use_the_forgotten_one, NULL, NULL) == 0);
}

Test(timer, one_that_a_run_left_pending_may_be_started_in_the_next)
{
    child_must_pass(forget_it_and_run_again);
}

static void *fork_with_a_timer_pending(void *unused)
{
    int status;
    pid_t pid;

    leave_a_timer_pending(NULL);
    pid = fork();
    if (pid == 0)
        _exit(gring_run(use_the_forgotten_one, NULL, NULL) == 0 ? 0 : 1);
    CHILD_MUST(waitpid(pid, &status, 0) == pid && status == 0);
    CHILD_MUST(gring_timer_stop(&forgotten) == 1); /* the parent's is as it was */
    return unused;
}

static void run_with_a_timer_and_fork(void)
{
    CHILD_MUST(gring_run(fork_with_a_timer_pending, NULL, NULL) == 0);
}

Test(timer, one_that_is_pending_in_the_parent_may_be_started_in_the_child_of_a_fork)
{
    child_must_pass(run_with_a_timer_and_fork);
}
