/*
 * A queue with many producers and one consumer, intrusive and lock-free.
 *
 * The argument. Producers push onto a stack with a compare-and-swap; the consumer takes the
 * whole stack with one exchange and turns it round, so it hands out what it took in the order of
 * arrival. Nobody pops single nodes from the shared stack, so there is no ABA: a producer's
 * expected head may be any old value, and if it is again the head then it is the right one to
 * put below. A node belongs to its producer before the push, to the consumer after it.
 *
 *   push   release: what the producer wrote into the node is seen by whoever takes it.
 *   take   acquire: pairs with every push of the chain, because each later compare-and-swap
 *          continues the release
 *          sequence of the one before it.
 */
#ifndef GRING_BASE_MPSC_H
#define GRING_BASE_MPSC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct mpsc_node {
    struct mpsc_node *next;
};

struct mpsc {
    _Atomic(struct mpsc_node *) top;
};

static inline void mpsc_init(struct mpsc *queue)
{
    atomic_init(&queue->top, NULL);
}

static inline void mpsc_push(struct mpsc *queue, struct mpsc_node *node)
{
    struct mpsc_node *top = atomic_load_explicit(&queue->top, memory_order_relaxed);

    do {
        node->next = top;
    } while (!atomic_compare_exchange_weak_explicit(&queue->top, &top, node, memory_order_release,
                                                    memory_order_relaxed));
}

static inline bool mpsc_empty(struct mpsc *queue)
{
    return !atomic_load_explicit(&queue->top, memory_order_relaxed);
}

/* All nodes, oldest first, linked by next; NULL when there are none. Only the consumer may call
 * it. */
static inline struct mpsc_node *mpsc_take_all(struct mpsc *queue)
{
    struct mpsc_node *node = atomic_exchange_explicit(&queue->top, NULL, memory_order_acquire);
    struct mpsc_node *oldest = NULL;

    while (node) {
        struct mpsc_node *next = node->next;

        node->next = oldest;
        oldest = node;
        node = next;
    }
    return oldest;
}

#endif
