/* A ring or a heap of copied elements; see store.h. */
#include "api/sync/store.h"

#include "base/check.h"

#include <errno.h>
#include <stdlib.h>

void store_init(struct store *store, size_t element_bytes, enum store_order order,
                store_compare compare)
{
    size_t number_bytes = order == STORE_LEAST_FIRST ? sizeof(uint64_t) : 0;

    *store = (struct store){ .element_bytes = element_bytes,
                             .slot_bytes = number_bytes + element_bytes,
                             .order = order,
                             .compare = compare };
}

void store_destroy(struct store *store)
{
    free(store->slots);
}

/* Before the first reservation there are none, and no place in them. */
static char *slot(const struct store *store, size_t index)
{
    return store->slots ? store->slots + index * store->slot_bytes : NULL;
}

/* ---- ring ------------------------------------------------------------------------------------ */

static size_t ring_index(const struct store *store, size_t position)
{
    size_t index = store->first + position;

    return index < store->room ? index : index - store->room;
}

static void ring_take(struct store *store, void *element)
{
    bool oldest = store->order == STORE_OLDEST_FIRST;
    size_t index = ring_index(store, oldest ? 0 : store->count - 1);

    store_copy(element, slot(store, index), store->element_bytes);
    if (oldest)
        store->first = ring_index(store, 1);
}

/* ---- heap ------------------------------------------------------------------------------------ */

static uint64_t number_at(const struct store *store, size_t index)
{
    uint64_t number;

    memcpy(&number, slot(store, index) + store->element_bytes, sizeof number);
    return number;
}

static bool goes_before(const struct store *store, size_t left, size_t right)
{
    int order = store->compare(slot(store, left), slot(store, right));

    return order < 0 || (order == 0 && number_at(store, left) < number_at(store, right));
}

static void swap_slots(const struct store *store, size_t left, size_t right)
{
    char *a = slot(store, left), *b = slot(store, right), byte;

    for (size_t offset = 0; offset < store->slot_bytes; offset++) {
        byte = a[offset];
        a[offset] = b[offset];
        b[offset] = byte;
    }
}

static void heap_put(struct store *store, const void *element)
{
    size_t index = store->count, parent;

    store_copy(slot(store, index), element, store->element_bytes);
    memcpy(slot(store, index) + store->element_bytes, &store->next_number, sizeof(uint64_t));
    store->next_number++;
    for (; index > 0; index = parent) {
        parent = (index - 1) / 2;
        if (!goes_before(store, index, parent))
            return;
        swap_slots(store, index, parent);
    }
}

/* The last one takes the first one's place and sinks. */
static void heap_take(struct store *store, void *element)
{
    size_t count = store->count - 1, index = 0, child;

    store_copy(element, slot(store, 0), store->element_bytes);
    swap_slots(store, 0, count);
    while ((child = 2 * index + 1) < count) {
        if (child + 1 < count && goes_before(store, child + 1, child))
            child++;
        if (!goes_before(store, child, index))
            return;
        swap_slots(store, child, index);
        index = child;
    }
}

/* ---- both ------------------------------------------------------------------------------------ */

/* A ring that wraps is laid out anew from its first element; a heap is copied as it is. */
static void move_to(const struct store *store, char *slots)
{
    size_t until_end = store->room - store->first;
    size_t first_part = store->count < until_end ? store->count : until_end;

    store_copy(slots, slot(store, store->first), first_part * store->slot_bytes);
    store_copy(slots + first_part * store->slot_bytes, store->slots,
               (store->count - first_part) * store->slot_bytes);
}

int store_reserve(struct store *store, size_t count)
{
    size_t bytes;
    char *slots;

    if (count <= store->room)
        return 0;
    if (store->slot_bytes < store->element_bytes || /* with its number it is too large */
        __builtin_mul_overflow(count, store->slot_bytes, &bytes))
        return -ENOMEM;
    slots = malloc(bytes ? bytes : 1);
    if (!slots)
        return -ENOMEM;
    move_to(store, slots);
    free(store->slots);
    store->slots = slots;
    store->room = count;
    store->first = 0;
    return 0;
}

void store_put(struct store *store, const void *element)
{
    CHECK(store->count < store->room);
    if (store->order == STORE_LEAST_FIRST)
        heap_put(store, element);
    else
        store_copy(slot(store, ring_index(store, store->count)), element, store->element_bytes);
    store->count++;
}

void store_take(struct store *store, void *element)
{
    CHECK(store->count > 0);
    if (store->order == STORE_LEAST_FIRST)
        heap_take(store, element);
    else
        ring_take(store, element);
    store->count--;
}
