/*
 * A hierarchical timer wheel: what is due by a given instant, in order. A leaf: it has no clock,
 * allocates nothing and calls nobody back. A timer's memory is the caller's. One thread at a time.
 *
 * Time is counted in ticks of 2^15 ns, about 33 µs. A tick is a number of eight digits to the base
 * of 64; with the 15 bits below them these are all the bits of a gring_ns, so there is no horizon
 * and nothing wraps. A timer is filed under the highest digit in which its tick differs from the
 * present one:
 *
 *   level 7  [ 0 | … | 63 ]   2^42 ticks a slot, about 1,700 days
 *     …
 *   level 1  [ 0 | … | 63 ]   64 ticks a slot, about 2 ms
 *   level 0  [ 0 | … | 63 ]   one tick a slot                    and three lists: late, due, never
 *
 * From this follows, and wheel_check says it:
 *   - the slots in use of a level lie ahead of the present digit: the lowest bit set is the next;
 *   - everything in a lower level comes before everything in a higher one;
 *   - timers of one tick are in one slot at any moment, so they stay in the order of arming.
 *
 * Costs. Arm and disarm are O(1): one list and one bitmap word. A timer moves at most once per
 * level until it is due, each time downward; empty slots cost nothing, so a jump of years costs
 * only these moves. Nothing else bounds wheel_advance: it spreads whole slots, however many
 * timers they have.
 *
 * Order. What one advance makes due comes out by tick; within a tick in the order of arming, not
 * by deadline. A deadline that had passed when it was armed counts as the moment of arming: at
 * the next advance it comes out before those that become due by it.
 */
#ifndef GRING_RUNTIME_WHEEL_H
#define GRING_RUNTIME_WHEEL_H

#include "base/clock.h"
#include "base/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WHEEL_TICK_BITS = 15,
    WHEEL_BITS = 6,
    WHEEL_LEVELS = 8,
    WHEEL_SLOTS = 1 << WHEEL_BITS, /* of one level */
};

#define WHEEL_TICK_NS ((gring_ns)1 << WHEEL_TICK_BITS)

/* Indexes into wheel.lists: the slots, level after level from 0 on, and then these. */
enum {
    WHEEL_ALL_SLOTS = WHEEL_LEVELS * WHEEL_SLOTS,
    WHEEL_LATE = WHEEL_ALL_SLOTS, /* the deadline had passed: due at the next advance */
    WHEEL_DUE,                    /* for wheel_take_due */
    WHEEL_NEVER,                  /* rounded up, beyond what a gring_ns can say */
    WHEEL_LISTS,
};

/* Zero bytes: not armed. An armed timer must stay where it is; its deadline is then read-only. */
struct timer {
    struct list link;
    gring_ns deadline;
};

struct wheel_list {
    struct list timers;
    uint64_t earliest; /* of a slot in use: no timer in it has an earlier tick */
    struct list *seam; /* the head; but see spread() */
};

/* About 16 KiB. It must stay where it is: the timers point into it. */
struct wheel {
    gring_ns now;                    /* of the last advance */
    uint64_t tick;                   /* the present one: `now` rounded down */
    size_t count;                    /* timers armed */
    uint64_t occupied[WHEEL_LEVELS]; /* bit s: slot s of the level is in use */
    struct wheel_list lists[WHEEL_LISTS];
};

/* now: not negative. There is no destroy: a wheel owns nothing. */
void wheel_init(struct wheel *wheel, gring_ns now);

/*
 * Files the timer: the first advance to its deadline, rounded up to a tick, makes it due,
 * none before: a timer never fires early.
 *
 * deadline: any. One that is not after the last advance's time is due at the next advance, whatever
 * that one's time. CLOCK_FOREVER, like all of its tick, is never due and never named by wheel_next.
 * The timer is the wheel's until it is taken or disarmed. CHECKs that it is not armed.
 */
void wheel_arm(struct wheel *wheel, struct timer *timer, gring_ns deadline);

/* True: it was armed, or due and not yet taken, and will not fire. False: it was not armed. */
bool wheel_disarm(struct wheel *wheel, struct timer *timer);

/* Also true for a timer that is due and not yet taken. */
static inline bool wheel_armed(const struct timer *timer)
{
    return list_linked(&timer->link);
}

/* False for the copy of an armed timer. */
static inline bool wheel_has(const struct timer *timer)
{
    return wheel_armed(timer) && timer->link.prev->next == &timer->link;
}

/* Time moves to `now`, never backward. What becomes due goes behind what is due already. */
void wheel_advance(struct wheel *wheel, gring_ns now);

/* The next due timer, unarmed and the caller's, or NULL. In between, timers may be (dis)armed. */
struct timer *wheel_take_due(struct wheel *wheel);

/*
 * The instant at which wheel_advance has something to do; CLOCK_FOREVER: none.
 *
 * Never later than the earliest deadline rounded up to its tick; while timers are late or due it
 * is the last advance's time, so do not sleep. It is exactly the earliest unless a slot's
 * earliest timer was disarmed while others remained in the slot. Then an advance to it may make
 * nothing due, but moves those others down: for each timer there are fewer such needless
 * instants than levels.
 */
gring_ns wheel_next(const struct wheel *wheel);

/* Armed timers, those due and not yet taken included. */
static inline size_t wheel_count(const struct wheel *wheel)
{
    return wheel->count;
}

/* CHECKs every fact about the structure. Visits every timer: for tests. */
void wheel_check(const struct wheel *wheel);

#endif
