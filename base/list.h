/*
 * Intrusive lists. Nothing here allocates; a node lives inside the thing that is listed.
 *
 *   list   doubly linked ring with a head: unlink anywhere in O(1).       head <-> a <-> b <-> head
 *   fifo   singly linked queue: push at the tail, pop at the head, nothing else.
 *
 * An unlinked list node points to NULL, so "still queued on something?" can be checked.
 */
#ifndef GRING_BASE_LIST_H
#define GRING_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#define CONTAINER_OF(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *head)
{
    head->next = head->prev = head;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

static inline bool list_linked(const struct list *node)
{
    return node->next != NULL;
}

static inline void list_insert_between(struct list *node, struct list *prev, struct list *next)
{
    node->next = next;
    node->prev = prev;
    prev->next = node;
    next->prev = node;
}

static inline void list_push_back(struct list *head, struct list *node)
{
    list_insert_between(node, head->prev, head);
}

static inline void list_unlink(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = node->prev = NULL;
}

/* The first node, unlinked, or NULL. */
static inline struct list *list_pop_front(struct list *head)
{
    struct list *node = head->next;

    if (node == head)
        return NULL;
    list_unlink(node);
    return node;
}

/* The last node, unlinked, or NULL. */
static inline struct list *list_pop_back(struct list *head)
{
    struct list *node = head->prev;

    if (node == head)
        return NULL;
    list_unlink(node);
    return node;
}

/* Moves all nodes of `from`, in order, behind those of `to`. */
static inline void list_splice_back(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    from->prev->next = to;
    to->prev->next = from->next;
    to->prev = from->prev;
    list_init(from);
}

struct fifo_node {
    struct fifo_node *next;
};

struct fifo {
    struct fifo_node *head;
    struct fifo_node **tail;
};

static inline void fifo_init(struct fifo *fifo)
{
    fifo->head = NULL;
    fifo->tail = &fifo->head;
}

static inline bool fifo_empty(const struct fifo *fifo)
{
    return !fifo->head;
}

static inline void fifo_push(struct fifo *fifo, struct fifo_node *node)
{
    node->next = NULL;
    *fifo->tail = node;
    fifo->tail = &node->next;
}

static inline struct fifo_node *fifo_pop(struct fifo *fifo)
{
    struct fifo_node *node = fifo->head;

    if (!node)
        return NULL;
    fifo->head = node->next;
    if (!fifo->head)
        fifo->tail = &fifo->head;
    return node;
}

#endif
