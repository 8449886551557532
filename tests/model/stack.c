/*
 * runtime/stack.h against counters and an array of what is taken: reserve, take, return, trim.
 * Stacks of two sizes, each marked with its owner's number at both ends while it is taken.
 */
#include "runtime/stack.h"
#include "tests/model/choices.h"

#include <string.h>

enum { POOLS = 2, TAKEN_MAX = 700, MARK_BYTES = 8, WARM = 256 };

static const size_t stack_bytes[POOLS] = { 16 * 1024, 100 * 1024 };

/* What one pool should look like. */
struct twin {
    unsigned reserved;
    unsigned taken_count;
    struct coro *taken[TAKEN_MAX];
    struct coro *returned[TAKEN_MAX]; /* a stack of stacks: the last one goes first */
    unsigned returned_count;
};

static struct stacks stacks;
static struct twin twins[POOLS];

static void nowhere(void)
{
}

static struct stack_pool *pool_of(unsigned which)
{
    return stacks_pool(&stacks, stack_bytes[which]);
}

/* Where a task's first and deepest frames would be. */
static void mark(struct coro *coro, const void *owner)
{
    memcpy(coro->top - MARK_BYTES, &owner, MARK_BYTES);
    memcpy(coro->top - stack_bytes[coro->pool == pool_of(1)], &owner, MARK_BYTES);
}

static void must_bear_mark(const struct coro *coro, const void *owner)
{
    MUST(memcmp(coro->top - MARK_BYTES, &owner, MARK_BYTES) == 0);
    MUST(memcmp(coro->top - stack_bytes[coro->pool == pool_of(1)], &owner, MARK_BYTES) == 0);
}

static void reserve(struct twin *twin, struct stack_pool *pool)
{
    if (twin->reserved + twin->taken_count == TAKEN_MAX)
        return;
    MUST(stack_reserve(pool) == 0);
    twin->reserved++;
    if (stacks.guard_by_mapping && pool->idle_count > twin->returned_count)
        twin->returned[twin->returned_count++] = pool->idle[pool->idle_count - 1]; /* a new one */
}

static void unreserve(struct twin *twin, struct stack_pool *pool)
{
    if (!twin->reserved)
        return;
    stack_unreserve(pool);
    twin->reserved--;
}

static void take(struct twin *twin, struct stack_pool *pool)
{
    struct coro *coro;

    if (!twin->reserved)
        return;
    coro = stack_take(pool);
    twin->reserved--;
    MUST(coro && coro->pool == pool && !coro->context);
    MUST((uintptr_t)coro->top % 16 == 0);
    if (twin->returned_count)
        MUST(coro == twin->returned[--twin->returned_count]);
    for (unsigned index = 0; index < twin->taken_count; index++)
        MUST(twin->taken[index] != coro);
    mark(coro, coro);
    twin->taken[twin->taken_count++] = coro;
}

static void give_back(struct twin *twin, unsigned which)
{
    struct coro **place, *coro;

    if (!twin->taken_count)
        return;
    place = &twin->taken[which % twin->taken_count];
    coro = *place;
    must_bear_mark(coro, coro);
    stack_return(coro);
    twin->returned[twin->returned_count++] = coro;
    *place = twin->taken[--twin->taken_count];
}

/* What lay deep in a stack that nobody uses has been given back. */
static void must_be_shallow(const struct twin *twin)
{
    const void *nothing = NULL;

    for (unsigned index = 0; index < twin->returned_count; index++)
        MUST(memcmp(twin->returned[index]->top - stack_bytes[1], &nothing, MARK_BYTES) == 0);
}

/* At most a bounded number at a time; of the warm ones only what lies deep. */
static void trim(void)
{
    bool has_cold = false, has_deep = false;

    for (unsigned which = 0; which < POOLS; which++) {
        has_cold |= pool_of(which)->trimmed_count + WARM < twins[which].returned_count;
        has_deep |= pool_of(which)->shallow_count < twins[which].returned_count;
    }
    MUST(stacks_trim(&stacks) == (has_cold || has_deep));
    if (!has_cold && !has_deep)
        must_be_shallow(&twins[1]);
}

static void many(struct twin *twin, struct stack_pool *pool, unsigned count)
{
    for (unsigned index = 0; index < count; index++) {
        reserve(twin, pool);
        take(twin, pool);
    }
}

static void give_back_many(struct twin *twin, unsigned count)
{
    for (unsigned index = 0; index < count; index++)
        give_back(twin, 0);
}

static void compare(const struct twin *twin, const struct stack_pool *pool)
{
    MUST(pool->reserved_count == twin->reserved);
    MUST(pool->idle_count == twin->returned_count);
    MUST(pool->trimmed_count <= pool->shallow_count && pool->shallow_count <= pool->idle_count);
    MUST(pool->slot_count - pool->uncarved_count - pool->idle_count == twin->taken_count);
    MUST(pool->idle_count + pool->uncarved_count >= pool->reserved_count); /* a promise is kept */
}

static void step(struct choices *choices)
{
    unsigned what = choose(choices, 16);
    unsigned which = choose(choices, POOLS);
    struct twin *twin = &twins[which];
    struct stack_pool *pool = pool_of(which);

    if (what < 4)
        reserve(twin, pool);
    else if (what == 4)
        unreserve(twin, pool);
    else if (what < 8)
        take(twin, pool);
    else if (what < 11)
        give_back(twin, choose(choices, 256));
    else if (what == 11)
        many(twin, pool, choose(choices, 256));
    else if (what == 12)
        give_back_many(twin, choose(choices, 256));
    else
        trim();
}

/* The guard is below the stack, and is the stack's. */
static void must_be_guarded(const struct twin *twin)
{
    for (unsigned index = 0; index < twin->taken_count; index++) {
        struct coro *coro = twin->taken[index];
        char *slot_end = (char *)(((uintptr_t)coro->top + stacks.page_bytes - 1) /
                                  stacks.page_bytes * stacks.page_bytes);
        char *stack_end = slot_end - stack_usable_bytes(coro->pool);

        must_bear_mark(coro, coro);
        MUST(stacks_guard_owner(&stacks, stack_end - 1) == coro);
        MUST(stacks_guard_owner(&stacks, stack_end) == NULL);
    }
}

MODEL(stack)
{
    memset(twins, 0, sizeof twins);
    stacks_init(&stacks, nowhere);
    if (choose(choices, 2))
        stacks.guard_by_mapping = true; /* as on kernels before 6.13 */
    while (choices_left(choices)) {
        step(choices);
        for (unsigned which = 0; which < POOLS; which++)
            compare(&twins[which], pool_of(which));
    }
    for (unsigned which = 0; which < POOLS; which++)
        must_be_guarded(&twins[which]);
    stacks_destroy(&stacks);
}
