/* Regions, slots, guards and the idle lists; see stack.h. */
#include "runtime/stack.h"

#include "base/check.h"
#include "base/log.h"
#include "base/sys.h"
#include "uring/probe.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    COLOUR_COUNT = 32,
    COLOUR_BYTES = 64,
    WARM_MAX = 256,         /* idle stacks per size that keep pages, */
    WARM_BYTES = 64 * 1024, /* these: more than most calls of libraries need */
    TRIM_BATCH = 16,        /* stacks per trim: about 2 µs each */
    GUARD_PAGES = 4,        /* assembly with a large frame may step over one */
    REGION_SLOTS_MIN = 16,
    REGION_SLOTS_MAX = 4096,
    MAPPINGS_PER_GUARD = 2,
};
#define REGION_BYTES_MAX ((size_t)1 << 32)

struct stack_region {
    struct stack_region *next;
    char *start;
    size_t bytes;        /* of the stacks */
    size_t header_bytes; /* of this record with its coros */
    size_t slot_count, carved_count;
    struct coro coros[];
};

/* ---- guards ---------------------------------------------------------------------------------- */

static bool guard_install_works(struct stacks *stacks)
{
    char *page;
    bool works;

    if (feature_denied(FEATURE_GUARD_INSTALL))
        return false;
    page = sys_reserve(stacks->page_bytes, true);
    if (!page)
        return false;
    works = sys_guard_install(page, stacks->page_bytes) == 0;
    sys_unreserve(page, stacks->page_bytes);
    return works;
}

static bool guard_limit_reached(struct stacks *stacks)
{
    if (!stacks->guard_by_mapping || stacks->mapped_guard_count < stacks->mapped_guard_limit)
        return false;
    if (!stacks->limit_reported)
        log_line(LOG_ERROR,
                 "%zu stacks with guards fill vm.max_map_count=%zu (two mappings each on kernels "
                 "before 6.13): raise it "
                 "(sysctl -w vm.max_map_count=...) for more tasks",
                 stacks->mapped_guard_count, sys_max_map_count());
    stacks->limit_reported = true;
    return true;
}

static void install_guard(struct stack_pool *pool, char *slot)
{
    struct stacks *stacks = pool->stacks;
    int error = stacks->guard_by_mapping ? sys_guard_protect(slot, pool->guard_bytes)
                                         : sys_guard_install(slot, pool->guard_bytes);

    stacks->mapped_guard_count += stacks->guard_by_mapping;
    CHECK_SAY(error == 0, "the kernel has no memory for a stack's guard pages");
}

/* ---- regions --------------------------------------------------------------------------------- */

static void pool_init(struct stack_pool *pool, struct stacks *stacks, unsigned index)
{
    *pool = (struct stack_pool){ .stacks = stacks,
                                 .slot_bytes = (size_t)1 << (STACK_CLASS_MIN + index) };
    pool->guard_bytes =
        stacks->page_bytes * (pool->slot_bytes > STACK_SIZE_MIN * 4 ? GUARD_PAGES : 1);
    pool->regions_tail = &pool->regions;
}

void stacks_init(struct stacks *stacks, void (*entry)(void))
{
    memset(stacks, 0, sizeof *stacks);
    stacks->entry = entry;
    stacks->page_bytes = sys_page_bytes();
    stacks->guard_by_mapping = !guard_install_works(stacks);
    stacks->mapped_guard_limit = sys_max_map_count() / 10 * 9 / MAPPINGS_PER_GUARD;
    for (unsigned index = 0; index < STACK_CLASS_COUNT; index++)
        pool_init(&stacks->pools[index], stacks, index);
}

static void region_free(struct stack_region *region)
{
    for (size_t index = 0; index < region->carved_count; index++) {
        /* the address range may become somebody else's memory */
        coro_unpoison(&region->coros[index]);
        coro_destroy(&region->coros[index]);
    }
    sys_unreserve(region->start, region->bytes);
    sys_unreserve(region, region->header_bytes);
}

static void pool_destroy(struct stack_pool *pool)
{
    while (pool->regions) {
        struct stack_region *region = pool->regions;

        pool->regions = region->next;
        region_free(region);
    }
    free(pool->idle);
}

void stacks_destroy(struct stacks *stacks)
{
    for (unsigned index = 0; index < STACK_CLASS_COUNT; index++)
        pool_destroy(&stacks->pools[index]);
}

static struct stack_region *region_new(struct stack_pool *pool, size_t slot_count)
{
    size_t header_bytes = sizeof(struct stack_region) + slot_count * sizeof(struct coro);
    struct stack_region *region = sys_reserve(header_bytes, false);

    if (!region)
        return NULL;
    region->bytes = slot_count * pool->slot_bytes;
    region->start = sys_reserve(region->bytes, true);
    if (!region->start) {
        sys_unreserve(region, header_bytes);
        return NULL;
    }
    region->header_bytes = header_bytes;
    region->slot_count = slot_count;
    return region;
}

/* As many again as there are, within bounds: few mappings for many stacks, little address space
 * for few. */
static size_t next_region_slots(const struct stack_pool *pool)
{
    size_t count = pool->slot_count;

    if (count < REGION_SLOTS_MIN)
        count = REGION_SLOTS_MIN;
    if (count > REGION_SLOTS_MAX)
        count = REGION_SLOTS_MAX;
    if (count * pool->slot_bytes > REGION_BYTES_MAX)
        count = REGION_BYTES_MAX / pool->slot_bytes;
    return count;
}

/* Room for every stack of the pool to be idle, so that giving one back cannot fail. */
static int grow_idle(struct stack_pool *pool, size_t slots)
{
    size_t needed = pool->slot_count + slots;
    struct coro **idle;

    if (needed <= pool->idle_capacity)
        return 0;
    idle = realloc(pool->idle, 2 * needed * sizeof *idle);
    if (!idle)
        return -ENOMEM;
    pool->idle = idle;
    pool->idle_capacity = 2 * needed;
    return 0;
}

static void report_no_space(struct stack_pool *pool)
{
    if (!pool->stacks->no_space_reported)
        log_line(LOG_ERROR,
                 "no address space for another stack of %zu KiB: raise RLIMIT_AS (ulimit -v), "
                 "allow overcommit "
                 "(vm.overcommit_memory=0 or 1), or use smaller stacks",
                 pool->slot_bytes / 1024);
    pool->stacks->no_space_reported = true;
}

static int grow(struct stack_pool *pool)
{
    struct stack_region *region = NULL;
    size_t slots = next_region_slots(pool);

    if (grow_idle(pool, slots) < 0)
        return -ENOMEM;
    for (; slots && !region; slots /= 2) /* a tight RLIMIT_AS may leave room for fewer */
        region = region_new(pool, slots);
    if (!region) {
        report_no_space(pool);
        return -ENOMEM;
    }
    pool->stacks->no_space_reported = false;
    *pool->regions_tail = region;
    pool->regions_tail = &region->next;
    if (!pool->carving)
        pool->carving = region;
    pool->slot_count += region->slot_count;
    pool->uncarved_count += region->slot_count;
    pool->stacks->mapped_bytes += region->bytes;
    return 0;
}

static struct stack_region *region_with_room(struct stack_pool *pool)
{
    while (pool->carving->carved_count == pool->carving->slot_count) {
        pool->carving = pool->carving->next;
        CHECK(pool->carving != NULL);
    }
    return pool->carving;
}

/* The next slot never used, with its guard. There is one: uncarved_count says so. */
static struct coro *carve(struct stack_pool *pool)
{
    struct stack_region *region = region_with_room(pool);
    size_t index = region->carved_count++;
    char *slot = region->start + index * pool->slot_bytes;
    struct coro *coro = &region->coros[index];
    size_t colour = index % COLOUR_COUNT * COLOUR_BYTES;

    install_guard(pool, slot);
    coro_init(coro, slot + pool->guard_bytes, slot + pool->slot_bytes - colour,
              pool->stacks->entry);
    coro->pool = pool;
    pool->uncarved_count--;
    return coro;
}

/* ---- pools ----------------------------------------------------------------------------------- */

static unsigned class_of(size_t bytes)
{
    unsigned index = 0;

    while ((size_t)1 << (STACK_CLASS_MIN + index) < bytes)
        index++;
    return index;
}

struct stack_pool *stacks_pool(struct stacks *stacks, size_t bytes)
{
    size_t slot = STACK_SIZE_DEFAULT;

    if (bytes && (bytes < STACK_SIZE_MIN || bytes > STACK_SIZE_MAX))
        return NULL;
    if (bytes)
        slot = bytes + GUARD_PAGES * stacks->page_bytes + COLOUR_COUNT * COLOUR_BYTES;
    return &stacks->pools[class_of(slot)];
}

size_t stack_usable_bytes(const struct stack_pool *pool)
{
    return pool->slot_bytes - pool->guard_bytes;
}

/* With guards that can fail the guard is installed now, not at the first run, which must not
 * fail. */
static int reserve_guarded(struct stack_pool *pool)
{
    if (pool->idle_count > pool->reserved_count)
        return 0;
    if (guard_limit_reached(pool->stacks))
        return -EAGAIN;
    stack_return(carve(pool));
    return 0;
}

int stack_reserve(struct stack_pool *pool)
{
    int error = 0;

    if (UNLIKELY(pool->idle_count + pool->uncarved_count <= pool->reserved_count))
        error = grow(pool);
    if (UNLIKELY(pool->stacks->guard_by_mapping) && error == 0)
        error = reserve_guarded(pool);
    if (error == 0)
        pool->reserved_count++;
    return error;
}

void stack_unreserve(struct stack_pool *pool)
{
    pool->reserved_count--;
}

struct coro *stack_take(struct stack_pool *pool)
{
    CHECK_SAY(pool->reserved_count > 0, "a stack was taken that was not reserved");
    pool->reserved_count--;
    if (!pool->idle_count)
        return carve(pool);
    pool->idle_count--;
    if (UNLIKELY(pool->shallow_count > pool->idle_count)) {
        pool->shallow_count = pool->idle_count;
        if (pool->trimmed_count > pool->idle_count)
            pool->trimmed_count = pool->idle_count;
    }
    return pool->idle[pool->idle_count];
}

void stack_return(struct coro *coro)
{
    struct stack_pool *pool = coro->pool;

    pool->idle[pool->idle_count++] = coro;
}

/* ---- giving memory back ---------------------------------------------------------------------- */

/* All but the last `kept` bytes below the top. */
static void discard_below(struct stack_pool *pool, struct coro *coro, size_t kept)
{
    uintptr_t slot_end =
        ((uintptr_t)coro->top + pool->stacks->page_bytes - 1) & -pool->stacks->page_bytes;
    char *bottom = (char *)slot_end - pool->slot_bytes + pool->guard_bytes;

    if (stack_usable_bytes(pool) > kept)
        sys_discard(bottom, stack_usable_bytes(pool) - kept);
}

static void discard(struct stack_pool *pool, struct coro *coro)
{
    coro->context = NULL; /* its frames are gone: it begins afresh */
    coro_unpoison(coro);
    discard_below(pool, coro, 0);
}

/* The longest idle ones first; the last WARM_MAX keep what they most likely need again. */
static bool trim_pool(struct stack_pool *pool)
{
    unsigned left = TRIM_BATCH;

    for (; left && pool->trimmed_count + WARM_MAX < pool->idle_count; left--)
        discard(pool, pool->idle[pool->trimmed_count++]);
    if (pool->shallow_count < pool->trimmed_count)
        pool->shallow_count = pool->trimmed_count;
    for (; left && pool->shallow_count < pool->idle_count; left--)
        discard_below(pool, pool->idle[pool->shallow_count++], WARM_BYTES);
    return left < TRIM_BATCH;
}

bool stacks_trim(struct stacks *stacks)
{
    bool trimmed = false;

    for (unsigned index = 0; index < STACK_CLASS_COUNT; index++)
        trimmed |= trim_pool(&stacks->pools[index]);
    return trimmed;
}

/* ---- overflow -------------------------------------------------------------------------------- */

static struct coro *guard_owner_in(const struct stack_pool *pool, struct stack_region *region,
                                   const char *address)
{
    size_t offset = (size_t)(address - region->start);

    if (address < region->start || offset >= region->bytes ||
        offset % pool->slot_bytes >= pool->guard_bytes)
        return NULL;
    if (offset / pool->slot_bytes >= region->carved_count)
        return NULL;
    return &region->coros[offset / pool->slot_bytes];
}

struct coro *stacks_guard_owner(struct stacks *stacks, const void *address)
{
    for (unsigned index = 0; index < STACK_CLASS_COUNT; index++)
        for (struct stack_region *region = stacks->pools[index].regions; region;
             region = region->next) {
            struct coro *coro = guard_owner_in(&stacks->pools[index], region, address);

            if (coro)
                return coro;
        }
    return NULL;
}
