/*
 * Stacks for coros, many and cheap.
 *
 *   region   [ slot | slot | slot | … ]      one mapping, NORESERVE, no huge pages
 *   slot     [ guard | …………………… stack ▼ | colour ]
 *
 * Guards are installed without a mapping of their own where the kernel can
 * (FEATURE_GUARD_INSTALL), so a million stacks fit under the default vm.max_map_count; elsewhere
 * they are PROT_NONE, two mappings each, and a spawn fails with EAGAIN, naming the sysctl,
 * before the limit is hit.
 *
 * The tops are spread over the cache lines of a page's upper half (colour): stacks at equal
 * offsets fight for the same cache sets. The lower half stays in the same page for the few
 * hundred bytes that a parked task needs.
 *
 *   reserve   at spawn: after it, the first run has a stack (a light guard that the kernel then
 *             has no memory for is fatal)
 *   take      at the first run
 *   return    at the end; last returned first taken, so that warm pages are used again
 *   trim      while the hub idles: the memory of stacks beyond the warm ones goes back to the
 *             kernel, and of the warm ones what only a deep excursion touched
 *
 * Owned by one hub; no other thread comes here. Core dumps are not told to skip idle stacks
 * (MADV_DONTDUMP is per mapping and would split the region); their pages are given back instead.
 */
#ifndef GRING_RUNTIME_STACK_H
#define GRING_RUNTIME_STACK_H

#include "runtime/coro.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    STACK_SIZE_DEFAULT = 256 * 1024, /* the slot, guard included */
    STACK_SIZE_MIN = 16 * 1024,
    STACK_SIZE_MAX = 1024 * 1024 * 1024,
    STACK_CLASS_MIN = 15, /* 32 KiB slots … */
    STACK_CLASS_MAX = 31, /* … 2 GiB slots, by powers of two */
    STACK_CLASS_COUNT = STACK_CLASS_MAX - STACK_CLASS_MIN + 1,
};

struct stack_region;

/* All stacks of one size. */
struct stack_pool {
    struct stacks *stacks;
    size_t slot_bytes, guard_bytes;
    struct stack_region *regions, **regions_tail; /* oldest first */
    struct stack_region *carving; /* the oldest region with slots never used, or the last one */
    /* those not in use, last returned last; the first trimmed_count hold no memory, the first
     * shallow_count none but near their tops */
    struct coro **idle;
    size_t idle_count, trimmed_count, shallow_count, idle_capacity;
    size_t uncarved_count; /* slots never used, of all regions */
    size_t reserved_count; /* promised to unstarted tasks */
    size_t slot_count;
};

struct stacks {
    struct stack_pool pools[STACK_CLASS_COUNT];
    void (*entry)(void);
    size_t page_bytes;
    bool guard_by_mapping; /* the fallback */
    size_t mapped_guard_count, mapped_guard_limit;
    bool limit_reported, no_space_reported;
    size_t mapped_bytes;
};

void stacks_init(struct stacks *stacks, void (*entry)(void));
void stacks_destroy(struct stacks *stacks);

/* The pool whose stacks give at least `bytes` to the task; 0 is the default. NULL: an absurd
 * size. */
struct stack_pool *stacks_pool(struct stacks *stacks, size_t bytes);

/* 0; -ENOMEM no address space; -EAGAIN no room under vm.max_map_count. The reason is logged
 * once. */
int stack_reserve(struct stack_pool *pool);
void stack_unreserve(struct stack_pool *pool);
struct coro *stack_take(struct stack_pool *pool); /* uses up one reservation */
void stack_return(struct coro *coro);

/* Bytes a task may use of this pool's stacks. */
size_t stack_usable_bytes(const struct stack_pool *pool);

/* Does the address lie on this coro's stack? Never on a thread's own, whose bounds we do not
 * know. */
static inline bool stack_contains(const struct coro *coro, const void *address)
{
    return coro->top && (size_t)(coro->top - (const char *)address) < coro->pool->slot_bytes;
}

/* Gives back memory of a bounded number of idle stacks; false: there was nothing to do. */
bool stacks_trim(struct stacks *stacks);

/* The coro whose guard contains the address, or NULL. Reads only: usable in a signal handler of
 * the hub's thread. */
struct coro *stacks_guard_owner(struct stacks *stacks, const void *address);

#endif
