/* base/list.h against arrays that are shifted: a few lists and fifos, and items that wander. */
#include "base/list.h"
#include "tests/model/choices.h"

#include <string.h>

enum { HEADS = 3, ITEMS = 12, NOWHERE = HEADS };

struct item {
    struct list link;
    struct fifo_node node;
};

/* What the twin keeps: numbers of items, in order. */
struct row {
    unsigned count;
    unsigned items[ITEMS];
};

static struct item items[ITEMS];
static struct list lists[HEADS];
static struct fifo fifos[HEADS];
static struct row list_rows[HEADS], fifo_rows[HEADS];
static unsigned list_of[ITEMS], fifo_of[ITEMS];

/* ---- the twin -------------------------------------------------------------------------------- */

static void row_add(struct row *row, unsigned item)
{
    row->items[row->count++] = item;
}

static unsigned row_take(struct row *row, unsigned at)
{
    unsigned item = row->items[at];

    memmove(&row->items[at], &row->items[at + 1], (--row->count - at) * sizeof row->items[0]);
    return item;
}

static unsigned row_find(const struct row *row, unsigned item)
{
    unsigned at = 0;

    while (row->items[at] != item)
        at++;
    return at;
}

/* ---- lists ----------------------------------------------------------------------------------- */

static void push_back(unsigned head, unsigned item)
{
    if (list_of[item] != NOWHERE)
        return;
    list_push_back(&lists[head], &items[item].link);
    row_add(&list_rows[head], item);
    list_of[item] = head;
}

static void unlink_item(unsigned item)
{
    struct row *row = &list_rows[list_of[item]];

    if (list_of[item] == NOWHERE)
        return;
    list_unlink(&items[item].link);
    row_take(row, row_find(row, item));
    list_of[item] = NOWHERE;
}

static void pop(unsigned head, bool front)
{
    struct row *row = &list_rows[head];
    struct list *link = front ? list_pop_front(&lists[head]) : list_pop_back(&lists[head]);
    unsigned item;

    MUST(!link == !row->count);
    if (!link)
        return;
    item = row_take(row, front ? 0 : row->count - 1);
    MUST(link == &items[item].link);
    list_of[item] = NOWHERE;
}

static void splice(unsigned to, unsigned from)
{
    if (to == from)
        return;
    list_splice_back(&lists[to], &lists[from]);
    while (list_rows[from].count) {
        unsigned item = row_take(&list_rows[from], 0);

        row_add(&list_rows[to], item);
        list_of[item] = to;
    }
}

/* ---- fifos ----------------------------------------------------------------------------------- */

static void fifo_add(unsigned head, unsigned item)
{
    if (fifo_of[item] != NOWHERE)
        return;
    fifo_push(&fifos[head], &items[item].node);
    row_add(&fifo_rows[head], item);
    fifo_of[item] = head;
}

static void fifo_take(unsigned head)
{
    struct fifo_node *node = fifo_pop(&fifos[head]);
    unsigned item;

    MUST(!node == !fifo_rows[head].count);
    if (!node)
        return;
    item = row_take(&fifo_rows[head], 0);
    MUST(node == &items[item].node);
    fifo_of[item] = NOWHERE;
}

/* ---- comparing ------------------------------------------------------------------------------- */

/* Forwards and backwards. */
static void compare_list(unsigned head)
{
    const struct row *row = &list_rows[head];
    const struct list *next = lists[head].next, *prev = lists[head].prev;

    MUST(list_empty(&lists[head]) == !row->count);
    for (unsigned at = 0; at < row->count; at++) {
        MUST(next == &items[row->items[at]].link);
        MUST(prev == &items[row->items[row->count - 1 - at]].link);
        next = next->next;
        prev = prev->prev;
    }
    MUST(next == &lists[head] && prev == &lists[head]);
}

static void compare_fifo(unsigned head)
{
    const struct fifo_node *node = fifos[head].head;

    MUST(fifo_empty(&fifos[head]) == !fifo_rows[head].count);
    for (unsigned at = 0; at < fifo_rows[head].count; at++) {
        MUST(node == &items[fifo_rows[head].items[at]].node);
        node = node->next;
    }
    MUST(!node);
}

static void compare(void)
{
    for (unsigned head = 0; head < HEADS; head++) {
        compare_list(head);
        compare_fifo(head);
    }
    for (unsigned item = 0; item < ITEMS; item++)
        MUST(list_linked(&items[item].link) == (list_of[item] != NOWHERE));
}

static void prepare(void)
{
    memset(items, 0, sizeof items);
    memset(list_rows, 0, sizeof list_rows);
    memset(fifo_rows, 0, sizeof fifo_rows);
    for (unsigned head = 0; head < HEADS; head++) {
        list_init(&lists[head]);
        fifo_init(&fifos[head]);
    }
    for (unsigned item = 0; item < ITEMS; item++)
        list_of[item] = fifo_of[item] = NOWHERE;
}

MODEL(list)
{
    prepare();
    while (choices_left(choices)) {
        unsigned what = choose(choices, 12);
        unsigned head = choose(choices, HEADS);
        unsigned item = choose(choices, ITEMS);

        if (what < 4)
            push_back(head, item);
        else if (what == 4)
            unlink_item(item);
        else if (what < 7)
            pop(head, what == 5);
        else if (what == 7)
            splice(head, item % HEADS);
        else if (what < 11)
            fifo_add(head, item);
        else
            fifo_take(head);
        compare();
    }
}
