/* Timers filed by the highest digit in which they differ from now; see wheel.h. */
#include "runtime/wheel.h"

#include "base/check.h"

#include <assert.h>

static_assert(WHEEL_BITS <= 6, "one slot bitmap is a uint64_t");
static_assert(WHEEL_LEVELS * WHEEL_BITS + WHEEL_TICK_BITS == 63, "the bits of a gring_ns");
static_assert(sizeof(struct timer) <= 32, "it lives on the stack of every task that waits");

enum { NO_SLOT = -1 };

/* Rounded up, a later one is an instant that a gring_ns cannot say. */
static const gring_ns LAST_DEADLINE = INT64_MAX - (WHEEL_TICK_NS - 1);

/* Rounded up: when the tick begins, the deadline has passed. For deadlines that lie ahead. */
static uint64_t tick_of(gring_ns deadline)
{
    return ((uint64_t)deadline + (uint64_t)(WHEEL_TICK_NS - 1)) >> WHEEL_TICK_BITS;
}

static struct timer *timer_of(struct list *link)
{
    return CONTAINER_OF(link, struct timer, link);
}

static struct list *timers_of(struct wheel *wheel, unsigned list)
{
    return &wheel->lists[list].timers;
}

/* Where a tick that lies ahead belongs at present. */
static unsigned slot_of(const struct wheel *wheel, uint64_t tick)
{
    unsigned highest_bit = 63 - (unsigned)__builtin_clzll(tick ^ wheel->tick);
    unsigned level = highest_bit / WHEEL_BITS;
    unsigned digit = (unsigned)(tick >> level * WHEEL_BITS) % WHEEL_SLOTS;

    return level * WHEEL_SLOTS + digit;
}

/* The first tick of a slot: the present one's higher digits, the slot's, and zeros. */
static uint64_t slot_start(const struct wheel *wheel, unsigned slot)
{
    unsigned shift = slot / WHEEL_SLOTS * WHEEL_BITS;
    uint64_t higher_digits = wheel->tick >> (shift + WHEEL_BITS);

    return (higher_digits << WHEEL_BITS | slot % WHEEL_SLOTS) << shift;
}

/* The slot whose timers come before all others, or NO_SLOT. */
static int first_slot(const struct wheel *wheel)
{
    for (int level = 0; level < WHEEL_LEVELS; level++)
        if (wheel->occupied[level])
            return level * WHEEL_SLOTS + __builtin_ctzll(wheel->occupied[level]);
    return NO_SLOT;
}

/* The slot for a tick that lies ahead, marked as in use. */
static struct wheel_list *slot_for(struct wheel *wheel, uint64_t tick)
{
    unsigned slot = slot_of(wheel, tick);
    uint64_t *occupied = &wheel->occupied[slot / WHEEL_SLOTS];
    uint64_t bit = (uint64_t)1 << slot % WHEEL_SLOTS;

    if (!(*occupied & bit) || tick < wheel->lists[slot].earliest)
        wheel->lists[slot].earliest = tick;
    *occupied |= bit;
    return &wheel->lists[slot];
}

static void mark_empty(struct wheel *wheel, unsigned slot)
{
    wheel->occupied[slot / WHEEL_SLOTS] &= ~((uint64_t)1 << slot % WHEEL_SLOTS);
}

void wheel_init(struct wheel *wheel, gring_ns now)
{
    CHECK(now >= 0);
    *wheel = (struct wheel){ .now = now, .tick = (uint64_t)now >> WHEEL_TICK_BITS };
    for (unsigned list = 0; list < WHEEL_LISTS; list++) {
        list_init(timers_of(wheel, list));
        wheel->lists[list].seam = timers_of(wheel, list);
    }
}

void wheel_arm(struct wheel *wheel, struct timer *timer, gring_ns deadline)
{
    CHECK_SAY(!wheel_armed(timer),
              "a timer was armed while it was pending: two waits on one timer?");
    timer->deadline = deadline;
    wheel->count++;
    if (UNLIKELY(deadline > LAST_DEADLINE))
        list_push_back(timers_of(wheel, WHEEL_NEVER), &timer->link);
    else if (UNLIKELY(deadline <= wheel->now))
        list_push_back(timers_of(wheel, WHEEL_LATE), &timer->link);
    else
        list_push_back(&slot_for(wheel, tick_of(deadline))->timers, &timer->link);
}

/*
 * A timer does not know its list. But one that is alone in it has the list's head on both sides,
 * and only then must the list be known: a slot that becomes empty loses its bit.
 */
bool wheel_disarm(struct wheel *wheel, struct timer *timer)
{
    struct list *next = timer->link.next;
    bool is_alone = next == timer->link.prev;

    if (!wheel_armed(timer))
        return false;
    list_unlink(&timer->link);
    wheel->count--;
    if (is_alone && next < timers_of(wheel, WHEEL_ALL_SLOTS))
        mark_empty(wheel, (unsigned)(CONTAINER_OF(next, struct wheel_list, timers) - wheel->lists));
    return true;
}

/* Moves a timer of the slot that is spread to where it belongs now. */
static struct wheel_list *refile(struct wheel *wheel, struct list *link)
{
    uint64_t tick = tick_of(timer_of(link)->deadline);
    struct wheel_list *list;

    if (tick <= wheel->tick)
        list = &wheel->lists[WHEEL_DUE];
    else
        list = slot_for(wheel, tick);
    list_insert_between(link, list->seam->prev, list->seam);
    return list;
}

/* Undoes what spread() did to the seams, of the due list and of all levels below `level`. */
static void close_seams(struct wheel *wheel, unsigned level)
{
    wheel->lists[WHEEL_DUE].seam = timers_of(wheel, WHEEL_DUE);
    while (level-- > 0) {
        for (uint64_t rest = wheel->occupied[level]; rest; rest &= rest - 1) {
            unsigned slot = level * WHEEL_SLOTS + (unsigned)__builtin_ctzll(rest);

            wheel->lists[slot].seam = timers_of(wheel, slot);
        }
    }
}

/*
 * A slot's time has come: each of its timers is due, or belongs into a lower level. There it meets
 * only others of this slot, because the lower levels were empty.
 *
 * The slot is walked from both ends, in turns: among many timers each step misses the cache, and
 * two chains of misses overlap (with a million armed, half the time of a plain walk). To keep
 * the order, every list has a seam: what comes from the front is put before it, what comes from
 * the back too, and becomes the seam.
 *
 *   head ⇄ 1st ⇄ 2nd ⇄ │ ⇄ last but one ⇄ last ⇄ head       │ the seam; at first it is the head
 */
static void spread(struct wheel *wheel, unsigned slot)
{
    struct list *front = timers_of(wheel, slot)->next;
    struct list *back = timers_of(wheel, slot)->prev;
    struct list *link;

    do {
        link = front;
        front = link->next; /* first, as refiling overwrites it */
        refile(wheel, link);
        if (link == back)
            break;
        link = back;
        back = link->prev;
        refile(wheel, link)->seam = link;
    } while (link != front);
    list_init(timers_of(wheel, slot));
    close_seams(wheel, slot / WHEEL_SLOTS);
}

static void empty_slot(struct wheel *wheel, unsigned slot)
{
    mark_empty(wheel, slot);
    if (slot < WHEEL_SLOTS) /* of level 0: all of one tick, and that is the present one */
        list_splice_back(timers_of(wheel, WHEEL_DUE), timers_of(wheel, slot));
    else
        spread(wheel, slot);
}

/*
 * Time goes from slot to slot, and within one at once to its earliest tick, as nothing is before
 * that. A slot that the target lies in is spread even if nothing in it is due: its digit becomes
 * the present one, so its timers differ from now only further down.
 */
void wheel_advance(struct wheel *wheel, gring_ns now)
{
    uint64_t target = (uint64_t)now >> WHEEL_TICK_BITS;
    int slot;

    list_splice_back(timers_of(wheel, WHEEL_DUE), timers_of(wheel, WHEEL_LATE));
    if (now <= wheel->now)
        return;
    wheel->now = now;
    while ((slot = first_slot(wheel)) != NO_SLOT && slot_start(wheel, (unsigned)slot) <= target) {
        uint64_t earliest = wheel->lists[slot].earliest;

        wheel->tick = earliest < target ? earliest : target;
        empty_slot(wheel, (unsigned)slot);
    }
    wheel->tick = target;
}

struct timer *wheel_take_due(struct wheel *wheel)
{
    struct list *link = list_pop_front(timers_of(wheel, WHEEL_DUE));

    if (!link)
        return NULL;
    wheel->count--;
    return timer_of(link);
}

gring_ns wheel_next(const struct wheel *wheel)
{
    bool is_late = !list_empty(&wheel->lists[WHEEL_LATE].timers);
    bool is_due = !list_empty(&wheel->lists[WHEEL_DUE].timers);
    int slot = first_slot(wheel);

    if (is_late || is_due)
        return wheel->now;
    if (slot == NO_SLOT)
        return CLOCK_FOREVER;
    return (gring_ns)(wheel->lists[slot].earliest << WHEEL_TICK_BITS);
}

static void check_filed_timer(const struct wheel *wheel, unsigned slot, const struct timer *timer)
{
    uint64_t tick = tick_of(timer->deadline);

    CHECK(timer->deadline > 0);
    CHECK(timer->deadline <= LAST_DEADLINE);
    CHECK(tick > wheel->tick); /* forgotten when its time came? */
    CHECK(slot_of(wheel, tick) == slot);
    CHECK(wheel->lists[slot].earliest <= tick);
    CHECK(slot >= WHEEL_SLOTS || wheel->lists[slot].earliest == tick);
}

static void check_timer(const struct wheel *wheel, unsigned list, const struct timer *timer)
{
    if (list < WHEEL_ALL_SLOTS)
        check_filed_timer(wheel, list, timer);
    else if (list == WHEEL_NEVER)
        CHECK(timer->deadline > LAST_DEADLINE);
    else
        CHECK(timer->deadline <= wheel->now); /* early? */
}

/* Returns how many timers the list has. */
static size_t check_list(const struct wheel *wheel, unsigned list)
{
    const struct list *head = &wheel->lists[list].timers;
    size_t count = 0;

    CHECK(wheel->lists[list].seam == head);
    CHECK(head->next->prev == head);
    for (struct list *link = head->next; link != head; link = link->next) {
        CHECK(link->next->prev == link);
        check_timer(wheel, list, timer_of(link));
        count++;
    }
    return count;
}

static void check_slot(const struct wheel *wheel, unsigned slot)
{
    bool is_occupied = wheel->occupied[slot / WHEEL_SLOTS] >> slot % WHEEL_SLOTS & 1;

    CHECK(is_occupied == !list_empty(&wheel->lists[slot].timers));
    if (is_occupied) {
        CHECK(slot_start(wheel, slot) > wheel->tick);
        CHECK(slot_start(wheel, slot) <= wheel->lists[slot].earliest);
    }
}

void wheel_check(const struct wheel *wheel)
{
    size_t count = 0;

    CHECK(wheel->now >= 0);
    CHECK(wheel->tick == (uint64_t)wheel->now >> WHEEL_TICK_BITS);
    for (unsigned slot = 0; slot < WHEEL_ALL_SLOTS; slot++)
        check_slot(wheel, slot);
    for (unsigned list = 0; list < WHEEL_LISTS; list++)
        count += check_list(wheel, list);
    CHECK(count == wheel->count);
}
