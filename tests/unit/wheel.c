/* The timer wheel: single behaviours. Its random ones are in tests/model/wheel.c. */
#include "runtime/wheel.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>

enum { TIMERS = 48, RANDOM_SEED = 1 };

static struct wheel wheel;
static struct timer timers[TIMERS];

static uint64_t random_state = RANDOM_SEED;

/* splitmix64 */
static uint64_t random_bits(void)
{
    uint64_t value = random_state += 0x9e3779b97f4a7c15;

    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
    value = (value ^ value >> 27) * 0x94d049bb133111eb;
    return value ^ value >> 31;
}

/* Any number of bits up to the limit is equally likely. */
static gring_ns random_duration(unsigned bits_max)
{
    return (gring_ns)(random_bits() >> (64 - random_bits() % bits_max - 1));
}

/*
 * The next instant, after `now`, at which the digit of this level changes. FOREVER: there is
 * none.
 */
static gring_ns next_boundary(gring_ns now, unsigned level)
{
    unsigned shift = WHEEL_TICK_BITS + level * WHEEL_BITS;
    uint64_t boundary = (((uint64_t)now >> shift) + 1) << shift;

    return boundary > INT64_MAX ? CLOCK_FOREVER : (gring_ns)boundary;
}

/* The first instant at which a timer may fire. */
static gring_ns rounded_up(gring_ns deadline)
{
    return (deadline + WHEEL_TICK_NS - 1) / WHEEL_TICK_NS * WHEEL_TICK_NS;
}

static const gring_ns START = 1000 * CLOCK_SECOND;
static const gring_ns YEAR = 365 * 86400 * CLOCK_SECOND;

static void start_at(gring_ns now)
{
    wheel_init(&wheel, now);
}

static struct timer *advance_and_take(gring_ns now)
{
    wheel_advance(&wheel, now);
    wheel_check(&wheel);
    return wheel_take_due(&wheel);
}

static void is_due_exactly_at(gring_ns start, gring_ns deadline, gring_ns instant)
{
    struct timer timer = { 0 };

    start_at(start);
    wheel_arm(&wheel, &timer, deadline);
    cr_assert_eq(wheel_next(&wheel), instant);
    cr_assert_null(advance_and_take(instant - 1), "start %" PRId64 " deadline %" PRId64, start,
                   deadline);
    cr_assert_eq(advance_and_take(instant), &timer, "start %" PRId64 " deadline %" PRId64, start,
                 deadline);
}

Test(wheel, timer_never_fires_early)
{
    for (unsigned round = 0; round < 2000; round++) {
        gring_ns start = random_duration(60);
        gring_ns deadline = start + 1 + random_duration(60);
        gring_ns instant = rounded_up(deadline);

        cr_assert_leq(deadline, instant);
        is_due_exactly_at(start, deadline, instant);
    }
}

Test(wheel, timer_is_late_by_less_than_a_tick)
{
    is_due_exactly_at(START, START + CLOCK_SECOND, rounded_up(START + CLOCK_SECOND));
    cr_assert_lt(rounded_up(START + CLOCK_SECOND), START + CLOCK_SECOND + WHEEL_TICK_NS);
}

Test(wheel, timer_at_the_slot_boundary_does_not_fire_early)
{
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        gring_ns boundary = next_boundary(START, level);

        is_due_exactly_at(START, boundary - 1, boundary);
        is_due_exactly_at(START, boundary, boundary);
        is_due_exactly_at(START, boundary + 1, boundary + WHEEL_TICK_NS);
    }
}

Test(wheel, slot_zero_fires_after_wrap)
{
    for (unsigned level = 0; level + 1 < WHEEL_LEVELS; level++) {
        gring_ns wrap = next_boundary(START, level + 1);

        is_due_exactly_at(wrap - 1, wrap, wrap);
        is_due_exactly_at(wrap - WHEEL_TICK_NS, wrap + 1, wrap + WHEEL_TICK_NS);
        is_due_exactly_at(next_boundary(wrap - 2 * WHEEL_TICK_NS, 0), wrap, wrap);
    }
}

/* Of every size, because a slot is spread from both ends. */
Test(wheel, equal_times_come_out_in_the_order_of_arming)
{
    for (unsigned timer_count = 1; timer_count < TIMERS; timer_count++) {
        gring_ns deadline = rounded_up(START + 100 * CLOCK_SECOND);

        start_at(START);
        for (unsigned index = 0; index < timer_count; index++) {
            wheel_arm(&wheel, &timers[index],
                      deadline - index);                     /* later ones even a little earlier */
            wheel_advance(&wheel, wheel.now + CLOCK_SECOND); /* so it is armed on several levels */
        }
        wheel_advance(&wheel, deadline);
        for (unsigned index = 0; index < timer_count; index++)
            cr_assert_eq(wheel_take_due(&wheel), &timers[index]);
    }
}

Test(wheel, equal_times_keep_their_order_among_others)
{
    start_at(START);
    for (unsigned index = 0; index < TIMERS; index++)
        wheel_arm(&wheel, &timers[index], START + CLOCK_SECOND * (1 + index % 3));
    wheel_advance(&wheel, START + 4 * CLOCK_SECOND);
    for (unsigned second = 0; second < 3; second++)
        for (unsigned index = second; index < TIMERS; index += 3)
            cr_assert_eq(wheel_take_due(&wheel), &timers[index]);
}

Test(wheel, what_was_due_earlier_is_taken_earlier)
{
    struct timer first = { 0 }, second = { 0 };

    start_at(START);
    wheel_arm(&wheel, &second, START + 2 * CLOCK_SECOND);
    wheel_arm(&wheel, &first, START + CLOCK_SECOND);
    wheel_advance(&wheel, START + CLOCK_SECOND + WHEEL_TICK_NS);
    cr_assert_eq(advance_and_take(START + 3 * CLOCK_SECOND), &first);
    cr_assert_eq(wheel_take_due(&wheel), &second);
    cr_assert_null(wheel_take_due(&wheel));
}

Test(wheel, jump_over_all_levels_fires_everything_in_order)
{
    gring_ns delay = WHEEL_TICK_NS;

    start_at(START);
    for (unsigned index = 15; index-- > 0;) /* the farthest last in the array, but first armed */
        wheel_arm(&wheel, &timers[index], START + (delay << 3 * index));
    wheel_advance(&wheel, START + 290 * YEAR);
    wheel_check(&wheel);
    for (unsigned index = 0; index < 15; index++)
        cr_assert_eq(wheel_take_due(&wheel), &timers[index]);
    cr_assert_eq(wheel_count(&wheel), 0);
}

Test(wheel, far_future_is_reached)
{
    gring_ns last = INT64_MAX - (WHEEL_TICK_NS - 1);

    is_due_exactly_at(START, START + 200 * YEAR, rounded_up(START + 200 * YEAR));
    is_due_exactly_at(0, last, last);
}

Test(wheel, forever_is_never_due_and_never_named)
{
    struct timer forever = { 0 }, nearly = { 0 };

    start_at(START);
    wheel_arm(&wheel, &forever, CLOCK_FOREVER);
    wheel_arm(&wheel, &nearly, CLOCK_FOREVER - 1);
    cr_assert_eq(wheel_next(&wheel), CLOCK_FOREVER);
    cr_assert_null(advance_and_take(INT64_MAX));
    cr_assert_eq(wheel_next(&wheel), CLOCK_FOREVER);
    cr_assert(wheel_disarm(&wheel, &forever));
    cr_assert(wheel_disarm(&wheel, &nearly));
    wheel_arm(&wheel, &forever, CLOCK_FOREVER); /* even at the end of time */
    cr_assert_null(advance_and_take(INT64_MAX));
}

Test(wheel, past_deadline_is_due_at_the_next_advance_of_any_time)
{
    struct timer past = { 0 }, present = { 0 }, ancient = { 0 };

    start_at(START + 5);
    wheel_arm(&wheel, &past, START);
    wheel_arm(&wheel, &present, START + 5);
    wheel_arm(&wheel, &ancient, INT64_MIN);
    cr_assert_eq(wheel_next(&wheel), START + 5);
    cr_assert_null(wheel_take_due(&wheel)); /* so that a loop over the due ones ends */
    cr_assert_eq(advance_and_take(START + 5), &past);
    cr_assert_eq(wheel_take_due(&wheel), &present);
    cr_assert_eq(wheel_take_due(&wheel), &ancient);
}

Test(wheel, past_deadline_comes_before_what_becomes_due_with_it)
{
    struct timer ahead = { 0 }, past = { 0 };

    start_at(START);
    wheel_arm(&wheel, &ahead, START + 1);
    wheel_arm(&wheel, &past, START);
    cr_assert_eq(advance_and_take(START + WHEEL_TICK_NS), &past);
    cr_assert_eq(wheel_take_due(&wheel), &ahead);
}

Test(wheel, due_timer_can_be_disarmed_until_it_is_taken)
{
    struct timer first = { 0 }, second = { 0 };

    start_at(START);
    wheel_arm(&wheel, &first, START + 1);
    wheel_arm(&wheel, &second, START + 1);
    wheel_advance(&wheel, START + CLOCK_SECOND);
    cr_assert(wheel_armed(&first));
    cr_assert_eq(wheel_next(&wheel), START + CLOCK_SECOND);
    cr_assert(wheel_disarm(&wheel, &first));
    cr_assert_not(wheel_armed(&first));
    cr_assert_eq(wheel_take_due(&wheel), &second);
    cr_assert_not(wheel_disarm(&wheel, &second));
    cr_assert_null(wheel_take_due(&wheel));
    wheel_check(&wheel);
}

Test(wheel, time_that_goes_backward_stands_still)
{
    struct timer timer = { 0 };

    start_at(START);
    wheel_arm(&wheel, &timer, START + 1);
    cr_assert_null(advance_and_take(START - CLOCK_SECOND));
    cr_assert_eq(wheel_next(&wheel), rounded_up(START + 1));
    cr_assert_eq(advance_and_take(START + WHEEL_TICK_NS), &timer);
}

Test(wheel, next_of_a_lone_timer_is_exact_on_every_level)
{
    for (unsigned bits = 0; bits < 62; bits++) {
        struct timer timer = { 0 };
        gring_ns deadline = START + ((gring_ns)1 << bits);

        start_at(START);
        wheel_arm(&wheel, &timer, deadline);
        cr_assert_eq(wheel_next(&wheel), rounded_up(deadline));
    }
}

/*
 * Before each step another timer is armed at the very start of the slot of the one that stays,
 * and disarmed.
 */
Test(wheel, needless_instants_are_fewer_than_levels)
{
    struct timer stays = { 0 }, goes = { 0 };
    gring_ns deadline = START + 100 * YEAR;
    unsigned instant_count = 0;

    start_at(START);
    wheel_arm(&wheel, &stays, deadline);
    do {
        for (unsigned bits = WHEEL_TICK_BITS; bits < 63; bits += WHEEL_BITS) {
            wheel_arm(&wheel, &goes, deadline >> bits << bits);
            cr_assert(wheel_disarm(&wheel, &goes));
        }
        cr_assert_gt(wheel_next(&wheel), wheel.now);
        cr_assert_leq(wheel_next(&wheel), rounded_up(deadline));
        instant_count++;
    } while (!advance_and_take(wheel_next(&wheel)));
    cr_assert_gt(instant_count, 2); /* or nothing has been tried */
    cr_assert_leq(instant_count, WHEEL_LEVELS);
}

Test(wheel, arming_and_disarming_leave_nothing_behind)
{
    struct timer timer = { 0 };

    start_at(START);
    for (unsigned round = 0; round < 1000; round++) {
        wheel_arm(&wheel, &timer, clock_after(START, random_duration(63)));
        cr_assert(wheel_disarm(&wheel, &timer));
    }
    wheel_check(&wheel);
    cr_assert_eq(wheel_count(&wheel), 0);
    cr_assert_eq(wheel_next(&wheel), CLOCK_FOREVER);
    for (unsigned level = 0; level < WHEEL_LEVELS; level++)
        cr_assert_eq(wheel.occupied[level], 0);
    cr_assert_null(advance_and_take(START + 290 * YEAR));
}

Test(wheel, disarming_what_is_not_armed_says_so)
{
    struct timer timer = { 0 };

    start_at(START);
    cr_assert_not(wheel_armed(&timer));
    cr_assert_not(wheel_disarm(&wheel, &timer));
}

Test(wheel, arming_twice_is_caught, .signal = SIGABRT)
{
    struct timer timer = { 0 };

    start_at(START);
    wheel_arm(&wheel, &timer, START + CLOCK_SECOND);
    wheel_arm(&wheel, &timer, START + CLOCK_SECOND);
}
