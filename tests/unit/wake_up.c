/*
 * Why no wake-up is lost: every interleaving of a hub that lies down and senders that post, step by
 * step as runtime/mailbox.c does them, on a machine whose stores wait in a buffer until they are
 * seen by others or a fence lets them out.
 *
 *      hub   asleep = true ; fence ; queue empty? ─yes─► wait for the signal ; asleep = false ; take
 *                                          └──no───────► asleep = false ; take all
 *   sender   push ; fence ; asleep? ─yes─► exchange asleep, false ─was true─► signal
 *
 * A state in which nothing can move any more while mail is in the queue is a lost wake-up. The
 * search must find none; and, so that we know that it can find one, it must find one as soon as
 * either fence is left out.
 */
#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { SENDERS = 2, LETTERS_EACH = 2, STATES_MAX = 1 << 20 };

enum hub_step { HUB_ANNOUNCE, HUB_FENCE, HUB_LOOK, HUB_WAIT, HUB_AWAKE, HUB_TAKE };
enum sender_step { SENDER_PUSH, SENDER_FENCE, SENDER_LOOK, SENDER_EXCHANGE, SENDER_SIGNAL };

/* Zero is the start. No padding: states are compared as bytes. */
struct state {
    uint8_t hub;                           /* enum hub_step */
    uint8_t hub_store_count;               /* its stores to `asleep` that nobody else sees yet */
    uint8_t hub_stores[2];                 /* oldest first */
    uint8_t asleep, queued, taken, signal; /* the shared memory */
    uint8_t sender[SENDERS], posted[SENDERS];
    uint8_t push_hidden[SENDERS]; /* a push that nobody else sees yet */
    uint8_t unused[2];
};

static struct {
    bool hub, sender;
} fences;

static struct state states[STATES_MAX];
static uint32_t seen[2 * STATES_MAX]; /* index + 1 into states, by hash */
static uint32_t state_count;
static bool lost_one;

static uint32_t hash(const struct state *state)
{
    const uint8_t *bytes = (const uint8_t *)state;
    uint64_t value = 14695981039346656037u;

    for (size_t index = 0; index < sizeof *state; index++)
        value = (value ^ bytes[index]) * 1099511628211u;
    return (uint32_t)(value >> 32 ^ value) % (2 * STATES_MAX);
}

static void reach(const struct state *state)
{
    uint32_t slot = hash(state);

    for (; seen[slot]; slot = (slot + 1) % (2 * STATES_MAX))
        if (memcmp(&states[seen[slot] - 1], state, sizeof *state) == 0)
            return;
    cr_assert_lt(state_count, STATES_MAX);
    states[state_count++] = *state;
    seen[slot] = state_count;
}

/* ---- the hub --------------------------------------------------------------------------------- */

static void hub_store(struct state *state, bool asleep)
{
    state->hub_stores[state->hub_store_count++] = asleep;
}

static void hub_store_is_seen(struct state *state)
{
    state->asleep = state->hub_stores[0];
    state->hub_stores[0] = state->hub_stores[1];
    state->hub_stores[1] = 0;
    state->hub_store_count--;
}

/* False: it cannot move. */
static bool hub_moves(struct state *state)
{
    switch (state->hub) {
    case HUB_ANNOUNCE:
        if (state->hub_store_count == 2)
            return false;
        hub_store(state, true);
        state->hub = fences.hub ? HUB_FENCE : HUB_LOOK;
        return true;
    case HUB_FENCE:
        state->hub = HUB_LOOK;
        return state->hub_store_count == 0;
    case HUB_LOOK:
        state->hub = state->queued ? HUB_AWAKE : HUB_WAIT;
        return true;
    case HUB_WAIT:
        if (!state->signal)
            return false;
        state->signal = 0;
        state->hub = HUB_AWAKE;
        return true;
    case HUB_AWAKE:
        if (state->hub_store_count == 2)
            return false;
        hub_store(state, false);
        state->hub = HUB_TAKE;
        return true;
    default:
        state->taken += state->queued;
        state->queued = 0;
        state->hub = HUB_ANNOUNCE;
        return true;
    }
}

/* ---- a sender -------------------------------------------------------------------------------- */

static void sender_is_through(struct state *state, unsigned which)
{
    state->posted[which]++;
    state->sender[which] = SENDER_PUSH;
}

static void push_is_seen(struct state *state, unsigned which)
{
    state->queued += state->push_hidden[which];
    state->push_hidden[which] = 0;
}

static bool sender_moves(struct state *state, unsigned which)
{
    switch (state->sender[which]) {
    case SENDER_PUSH:
        if (state->posted[which] == LETTERS_EACH || state->push_hidden[which])
            return false;
        state->push_hidden[which] = 1;
        state->sender[which] = fences.sender ? SENDER_FENCE : SENDER_LOOK;
        return true;
    case SENDER_FENCE:
        state->sender[which] = SENDER_LOOK;
        return !state->push_hidden[which];
    case SENDER_LOOK:
        if (state->asleep)
            state->sender[which] = SENDER_EXCHANGE;
        else
            sender_is_through(state, which);
        return true;
    case SENDER_EXCHANGE:
        if (state->asleep)
            state->sender[which] = SENDER_SIGNAL;
        else
            sender_is_through(state, which);
        state->asleep = false;
        return true;
    default:
        state->signal = 1;
        sender_is_through(state, which);
        return true;
    }
}

/* ---- the search ------------------------------------------------------------------------------ */

static bool try_sender(const struct state *from, unsigned which)
{
    struct state to = *from;
    bool moved = sender_moves(&to, which);

    if (moved)
        reach(&to);
    if (from->push_hidden[which]) {
        to = *from;
        push_is_seen(&to, which);
        reach(&to);
        moved = true;
    }
    return moved;
}

static bool try_hub(const struct state *from)
{
    struct state to = *from;
    bool moved = hub_moves(&to);

    if (moved)
        reach(&to);
    if (from->hub_store_count) {
        to = *from;
        hub_store_is_seen(&to);
        reach(&to);
        moved = true;
    }
    return moved;
}

/* Every state that can follow this one. If there is none, it is the end. */
static void explore(const struct state *from)
{
    bool moved = try_hub(from);

    for (unsigned which = 0; which < SENDERS; which++)
        moved |= try_sender(from, which);
    if (moved)
        return;
    lost_one |= from->queued > 0;
    if (!from->queued)
        cr_assert_eq(from->taken, SENDERS * LETTERS_EACH);
}

static bool loses_a_wake_up(bool hub_fence, bool sender_fence)
{
    struct state start;

    memset(&start, 0, sizeof start);
    memset(seen, 0, sizeof seen);
    fences.hub = hub_fence;
    fences.sender = sender_fence;
    state_count = 0;
    lost_one = false;
    reach(&start);
    for (uint32_t index = 0; index < state_count; index++)
        explore(&states[index]);
    return lost_one;
}

Test(wake_up, none_is_lost_in_any_interleaving)
{
    cr_assert_not(loses_a_wake_up(true, true));
    cr_assert_gt(state_count, 1000); /* or nothing has been tried */
}

Test(wake_up, one_is_lost_without_the_hub_s_fence)
{
    cr_assert(loses_a_wake_up(false, true));
}

Test(wake_up, one_is_lost_without_the_sender_s_fence)
{
    cr_assert(loses_a_wake_up(true, false));
}
