/* The timer wheel against a deliberately dumb twin: an array, searched from end to end. */
#include "runtime/wheel.h"
#include "tests/model/choices.h"

#include <stdint.h>

enum { TIMERS = 48 };

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

/* ---- the twin ---- */

struct twin_timer {
    bool is_armed;
    bool is_due;
    bool is_late;
    gring_ns deadline;
    uint64_t place; /* order of arming, then of becoming due */
};

static struct wheel wheel;
static struct timer timers[TIMERS];
static struct twin_timer twin[TIMERS];
static gring_ns twin_now;
static uint64_t twin_place;

/* The instant at which a timer may fire; UINT64_MAX / 2 + 1 is beyond all instants. */
static uint64_t rounded_up(gring_ns deadline)
{
    uint64_t tick_ns = WHEEL_TICK_NS;

    return deadline < 0 ? 0 : ((uint64_t)deadline + tick_ns - 1) / tick_ns * tick_ns;
}

static bool twin_is_never(const struct twin_timer *timer)
{
    return rounded_up(timer->deadline) > INT64_MAX;
}

static void twin_arm(unsigned index, gring_ns deadline)
{
    twin[index] = (struct twin_timer){
        .is_armed = true,
        .is_late = deadline <= twin_now,
        .deadline = deadline,
        .place = twin_place++,
    };
    if (twin_is_never(&twin[index]))
        twin[index].is_late = false;
}

static bool twin_expires(const struct twin_timer *timer)
{
    if (!timer->is_armed || timer->is_due || twin_is_never(timer))
        return false;
    return timer->is_late || rounded_up(timer->deadline) <= (uint64_t)twin_now;
}

static bool twin_comes_before(const struct twin_timer *a, const struct twin_timer *b)
{
    if (a->is_late != b->is_late)
        return a->is_late;
    if (!a->is_late && rounded_up(a->deadline) != rounded_up(b->deadline))
        return rounded_up(a->deadline) < rounded_up(b->deadline);
    return a->place < b->place;
}

static void twin_advance(gring_ns now)
{
    if (now > twin_now)
        twin_now = now;
    for (;;) {
        struct twin_timer *first = NULL;

        for (unsigned index = 0; index < TIMERS; index++)
            if (twin_expires(&twin[index]) && (!first || twin_comes_before(&twin[index], first)))
                first = &twin[index];
        if (!first)
            return;
        first->is_due = true;
        first->place = twin_place++;
    }
}

/* The timer to be taken next, or NULL. */
static struct timer *twin_take_due(void)
{
    struct twin_timer *first = NULL;

    for (unsigned index = 0; index < TIMERS; index++)
        if (twin[index].is_due && (!first || twin[index].place < first->place))
            first = &twin[index];
    if (!first)
        return NULL;
    *first = (struct twin_timer){ 0 };
    return &timers[first - twin];
}

static gring_ns twin_next(void)
{
    gring_ns earliest = CLOCK_FOREVER;

    for (unsigned index = 0; index < TIMERS; index++) {
        if (!twin[index].is_armed || twin_is_never(&twin[index]))
            continue;
        if (twin[index].is_due || twin[index].is_late)
            return twin_now;
        if (rounded_up(twin[index].deadline) < (uint64_t)earliest)
            earliest = (gring_ns)rounded_up(twin[index].deadline);
    }
    return earliest;
}

static size_t twin_count(void)
{
    size_t count = 0;

    for (unsigned index = 0; index < TIMERS; index++)
        count += twin[index].is_armed;
    return count;
}

/* ---- histories ---- */

static gring_ns choose_deadline(struct choices *choices)
{
    gring_ns other = twin[choose(choices, TIMERS)].deadline;

    switch (choose(choices, 10)) {
    case 0:
        return clock_after(twin_now, choose_duration(choices, 18));
    case 1:
        return clock_after(twin_now, choose_duration(choices, 62));
    case 2:
        return next_boundary(twin_now, choose(choices, WHEEL_LEVELS));
    case 3:
        return next_boundary(twin_now, choose(choices, WHEEL_LEVELS)) - 1;
    case 4:
        return clock_after(next_boundary(twin_now, choose(choices, WHEEL_LEVELS)), 1);
    case 5:
        return twin_now - choose_duration(choices, 62);
    case 6:
        return choose(choices, 2) ? CLOCK_FOREVER : CLOCK_FOREVER - choose_duration(choices, 17);
    case 7:
        return INT64_MIN + choose_duration(choices, 63);
    default: /* that of another timer, or nearly */
        return other < 0 ? other : clock_after(other, choose_duration(choices, 13));
    }
}

/* Mostly short, so that a history does not reach the end of time at once. */
static gring_ns choose_instant(struct choices *choices)
{
    switch (choose(choices, 8)) {
    case 0:
    case 1:
        return clock_after(twin_now, choose_duration(choices, 17));
    case 2:
        return clock_after(twin_now, choose_duration(choices, choose(choices, 50) ? 30 : 62));
    case 3:
        return next_boundary(twin_now, choose(choices, choose(choices, 50) ? 3 : WHEEL_LEVELS));
    case 4:
        return next_boundary(twin_now, choose(choices, 3)) - 1;
    case 5:
        return twin_now - choose_duration(choices, 17);
    default:
        return twin_next() == CLOCK_FOREVER ? twin_now : twin_next();
    }
}

static void arm_or_disarm(struct choices *choices, bool may_disarm)
{
    unsigned index = choose(choices, TIMERS);

    MUST(wheel_armed(&timers[index]) == twin[index].is_armed);
    if (!twin[index].is_armed) {
        gring_ns deadline = choose_deadline(choices);

        twin_arm(index, deadline);
        wheel_arm(&wheel, &timers[index], deadline);
        MUST(timers[index].deadline == deadline);
    } else if (may_disarm) {
        MUST(wheel_disarm(&wheel, &timers[index]));
        MUST(!wheel_disarm(&wheel, &timers[index]));
        twin[index] = (struct twin_timer){ 0 };
    }
}

static void advance(struct choices *choices)
{
    gring_ns instant = choose_instant(choices);

    twin_advance(instant);
    wheel_advance(&wheel, instant);
}

static void take_some(struct choices *choices)
{
    for (unsigned rest = choose(choices, TIMERS); rest > 0; rest--) {
        struct timer *timer = wheel_take_due(&wheel);

        MUST(timer == twin_take_due());
        MUST(!timer || !wheel_armed(timer));
    }
}

static void compare(bool may_disarm)
{
    gring_ns next = wheel_next(&wheel);
    gring_ns earliest = twin_next();

    MUST(next >= twin_now);
    MUST(next <= earliest);
    MUST((next == CLOCK_FOREVER) == (earliest == CLOCK_FOREVER));
    MUST(may_disarm || next == earliest);
    MUST(wheel_count(&wheel) == twin_count());
}

MODEL(wheel)
{
    bool may_disarm = choose(choices, 4) != 0; /* without, wheel_next must be exact */

    twin_now = choose_duration(choices, 55);
    twin_place = 0;
    for (unsigned index = 0; index < TIMERS; index++) {
        timers[index] = (struct timer){ 0 };
        twin[index] = (struct twin_timer){ 0 };
    }
    wheel_init(&wheel, twin_now);
    while (choices_left(choices)) {
        unsigned choice = choose(choices, 8);

        if (choice < 5)
            arm_or_disarm(choices, may_disarm);
        else if (choice < 7)
            advance(choices);
        else
            take_some(choices);
        compare(may_disarm);
        wheel_check(&wheel);
    }
}
