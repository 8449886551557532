/* base/list.h: the doubly linked list and the fifo. */
#include "base/list.h"

#include <criterion/criterion.h>

enum { COUNT = 5 };

struct item {
    int number;
    struct list link;
    struct fifo_node node;
};

static struct list head;
static struct fifo fifo;
static struct item items[COUNT];

static void prepare(void)
{
    list_init(&head);
    fifo_init(&fifo);
    for (int index = 0; index < COUNT; index++)
        items[index] = (struct item){ .number = index };
}

TestSuite(list, .init = prepare);
TestSuite(fifo, .init = prepare);

static void push_all(void)
{
    for (int index = 0; index < COUNT; index++)
        list_push_back(&head, &items[index].link);
}

static int pop_number(void)
{
    struct list *link = list_pop_front(&head);

    return link ? CONTAINER_OF(link, struct item, link)->number : -1;
}

Test(list, a_new_one_is_empty)
{
    cr_assert(list_empty(&head));
    cr_assert_null(list_pop_front(&head));
    cr_assert_null(list_pop_back(&head));
}

Test(list, pushed_at_the_back_comes_out_in_order)
{
    push_all();
    for (int index = 0; index < COUNT; index++)
        cr_assert_eq(pop_number(), index);
    cr_assert(list_empty(&head));
}

Test(list, popped_at_the_back_is_the_last)
{
    push_all();
    cr_assert_eq(list_pop_back(&head), &items[COUNT - 1].link);
    cr_assert_eq(list_pop_back(&head), &items[COUNT - 2].link);
    cr_assert_eq(pop_number(), 0);
}

Test(list, a_node_can_leave_from_anywhere)
{
    push_all();
    list_unlink(&items[0].link);
    list_unlink(&items[2].link);
    list_unlink(&items[4].link);
    cr_assert_eq(pop_number(), 1);
    cr_assert_eq(pop_number(), 3);
    cr_assert_eq(pop_number(), -1);
}

Test(list, a_node_knows_whether_it_is_linked)
{
    cr_assert_not(list_linked(&items[0].link));
    push_all();
    cr_assert(list_linked(&items[0].link));
    list_unlink(&items[0].link);
    cr_assert_not(list_linked(&items[0].link));
    list_pop_front(&head);
    cr_assert_not(list_linked(&items[1].link));
    list_pop_back(&head);
    cr_assert_not(list_linked(&items[4].link));
}

Test(list, splicing_puts_all_behind_and_empties_the_other)
{
    struct list from;

    list_init(&from);
    list_push_back(&head, &items[0].link);
    list_push_back(&from, &items[1].link);
    list_push_back(&from, &items[2].link);
    list_splice_back(&head, &from);
    cr_assert(list_empty(&from));
    list_push_back(&head, &items[3].link);
    for (int index = 0; index < 4; index++)
        cr_assert_eq(pop_number(), index);
    cr_assert(list_empty(&head));
}

Test(list, splicing_into_an_empty_one_moves_all)
{
    struct list from;

    list_init(&from);
    list_push_back(&from, &items[0].link);
    list_push_back(&from, &items[1].link);
    list_splice_back(&head, &from);
    cr_assert_eq(list_pop_back(&head), &items[1].link);
    cr_assert_eq(list_pop_back(&head), &items[0].link);
    cr_assert(list_empty(&head));
}

Test(list, splicing_an_empty_one_changes_nothing)
{
    struct list from;

    list_init(&from);
    push_all();
    list_splice_back(&head, &from);
    cr_assert(list_empty(&from));
    for (int index = 0; index < COUNT; index++)
        cr_assert_eq(pop_number(), index);
}

Test(list, container_of_finds_the_item)
{
    cr_assert_eq(CONTAINER_OF(&items[3].link, struct item, link), &items[3]);
}

Test(fifo, a_new_one_is_empty)
{
    cr_assert(fifo_empty(&fifo));
    cr_assert_null(fifo_pop(&fifo));
}

Test(fifo, first_in_is_first_out)
{
    for (int index = 0; index < COUNT; index++)
        fifo_push(&fifo, &items[index].node);
    for (int index = 0; index < COUNT; index++)
        cr_assert_eq(fifo_pop(&fifo), &items[index].node);
    cr_assert(fifo_empty(&fifo));
}

Test(fifo, it_can_be_filled_again_after_the_last_was_taken)
{
    for (int round = 0; round < 3; round++) {
        fifo_push(&fifo, &items[0].node);
        fifo_push(&fifo, &items[1].node);
        cr_assert_eq(fifo_pop(&fifo), &items[0].node);
        fifo_push(&fifo, &items[2].node);
        cr_assert_eq(fifo_pop(&fifo), &items[1].node);
        cr_assert_eq(fifo_pop(&fifo), &items[2].node);
        cr_assert_null(fifo_pop(&fifo));
        cr_assert(fifo_empty(&fifo));
    }
}
