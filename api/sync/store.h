/*
 * The elements of a channel that nobody has received yet, copied, in the order in which they are
 * to go: oldest first, youngest first, or least first.
 *
 *   ring   [ · · a b c · ]   oldest and youngest first: `first` is the index of a
 *   heap   [ number, element | … ]   least first: a binary heap; the number keeps equals in order
 *
 * Room is made by store_reserve alone, so that putting into what was reserved cannot fail.
 */
#ifndef GRING_API_SYNC_STORE_H
#define GRING_API_SYNC_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum store_order { STORE_OLDEST_FIRST, STORE_YOUNGEST_FIRST, STORE_LEAST_FIRST };

typedef int (*store_compare)(const void *left, const void *right);

struct store {
    char *slots;
    size_t element_bytes, slot_bytes; /* a heap's slots hold a number as well */
    size_t room, first, count;
    enum store_order order;
    store_compare compare;
    uint64_t next_number;
};

void store_init(struct store *store, size_t element_bytes, enum store_order order,
                store_compare compare);
void store_destroy(struct store *store); /* what is left is dropped */

/* Room for so many elements, never less than before. -ENOMEM: nothing changed. */
int store_reserve(struct store *store, size_t count);

void store_put(struct store *store, const void *element); /* there is room */
void store_take(struct store *store, void *element);      /* there is one */

/* An element. Pointers and numbers without a call; a signal has no bytes, and its address may be
 * NULL. */
static inline void store_copy(void *to, const void *from, size_t bytes)
{
    if (bytes == sizeof(uint64_t))
        memcpy(to, from, sizeof(uint64_t));
    else if (bytes)
        memcpy(to, from, bytes);
}

#endif
