/* A binary heap of appointments; see agenda.h. */
#include "tests/sim/agenda.h"

#include "tests/sim/sim.h"

#include <string.h>

static bool is_before(const struct appointment *left, const struct appointment *right)
{
    return left->when != right->when ? left->when < right->when : left->order < right->order;
}

static void swap(struct appointment *left, struct appointment *right)
{
    struct appointment kept = *left;

    *left = *right;
    *right = kept;
}

static void grow(struct agenda *agenda)
{
    size_t capacity = agenda->capacity ? 2 * agenda->capacity : 64;
    struct appointment *heap = sim_alloc(capacity * sizeof *heap);

    if (agenda->count)
        memcpy(heap, agenda->heap, agenda->count * sizeof *heap);
    agenda->heap = heap;
    agenda->capacity = capacity;
}

void agenda_add(struct agenda *agenda, gring_ns when, agenda_fn run, void *arg, uint64_t ticket)
{
    /* chance first, then the count, so that no two are equal */
    uint64_t order = sim_random() << 32 | (agenda->added_count++ & UINT32_MAX);
    size_t index = agenda->count;

    if (agenda->count == agenda->capacity)
        grow(agenda);
    agenda->heap[agenda->count++] = (struct appointment){ when, order, run, arg, ticket };
    for (; index > 0 && is_before(&agenda->heap[index], &agenda->heap[(index - 1) / 2]);
         index = (index - 1) / 2)
        swap(&agenda->heap[index], &agenda->heap[(index - 1) / 2]);
}

gring_ns agenda_next(const struct agenda *agenda)
{
    return agenda->count ? agenda->heap[0].when : CLOCK_FOREVER;
}

static size_t earlier_child(const struct agenda *agenda, size_t index)
{
    size_t left = 2 * index + 1, right = left + 1;

    return right < agenda->count && is_before(&agenda->heap[right], &agenda->heap[left]) ? right
                                                                                         : left;
}

struct appointment agenda_take(struct agenda *agenda)
{
    struct appointment first = agenda->heap[0];
    size_t index = 0;

    agenda->heap[0] = agenda->heap[--agenda->count];
    while (2 * index + 1 < agenda->count) {
        size_t child = earlier_child(agenda, index);

        if (!is_before(&agenda->heap[child], &agenda->heap[index]))
            break;
        swap(&agenda->heap[child], &agenda->heap[index]);
        index = child;
    }
    return first;
}
