/*
 * Memory. The malloc family of the library and of the workloads comes here (--wrap), is counted
 * and fails now and then. The simulator itself lives in an arena that is emptied after each run.
 */
#include "tests/sim/kernel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ARENA_BYTES ((size_t)1 << 34)

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *start);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __wrap_free(void *start);

/* ---- the library's --------------------------------------------------------------------------- */

static size_t live_count;
static struct {
    uint64_t asked, refused, failing; /* failing: the number of the one that is refused, or 0 */
} allocations;

void allocations_begin(uint64_t failing)
{
    allocations.asked = allocations.refused = 0;
    allocations.failing = failing;
}

uint64_t allocations_refused(void)
{
    return allocations.refused;
}

uint64_t sim_allocation_count(void)
{
    return allocations.asked;
}

size_t memory_live_count(void)
{
    return live_count;
}

bool memory_fails(void)
{
    bool fails;

    if (world.is_calm)
        return false;
    fails = ++allocations.asked == allocations.failing || sim_chance(world.mood.no_memory);
    if (fails) {
        allocations.refused++;
        sometimes(MEMORY_WAS_REFUSED);
    }
    return fails;
}

static bool malloc_fails(void)
{
    if (!memory_fails())
        return false;
    errno = ENOMEM;
    return true;
}

static void *counted(void *start)
{
    live_count += start != NULL;
    return start;
}

void *__wrap_malloc(size_t size)
{
    return malloc_fails() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return malloc_fails() ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return malloc_fails() ? NULL : counted(__real_aligned_alloc(alignment, size));
}

void *__wrap_realloc(void *old, size_t size)
{
    void *start;

    if (malloc_fails())
        return NULL;
    start = __real_realloc(old, size);
    live_count += !old && start;
    return start;
}

void __wrap_free(void *start)
{
    live_count -= start != NULL;
    __real_free(start);
}

/* ---- the simulator's ------------------------------------------------------------------------- */

static struct {
    char *start;
    size_t used, high_water;
} arena;

void *sim_alloc(size_t bytes)
{
    char *start;

    if (!arena.start)
        arena.start = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (arena.start == MAP_FAILED || arena.used + bytes > ARENA_BYTES)
        sim_fail("the simulator itself has no memory left");
    start = arena.start + arena.used;
    if (arena.used < arena.high_water) /* beyond it pages are zero as they are */
        memset(start, 0, smaller(bytes, arena.high_water - arena.used));
    arena.used += (bytes + 15) & ~(size_t)15;
    if (arena.used > arena.high_water)
        arena.high_water = arena.used;
    return start;
}

void arena_reset(void)
{
    arena.used = 0;
}
