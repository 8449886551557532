/* base/mpsc.h on one thread; with several: tests/stress/mpsc.c. */
#include "base/mpsc.h"

#include <criterion/criterion.h>

enum { COUNT = 5 };

static struct mpsc queue;
static struct mpsc_node nodes[COUNT];

static void prepare(void)
{
    mpsc_init(&queue);
}

TestSuite(mpsc, .init = prepare);

Test(mpsc, a_new_one_is_empty)
{
    cr_assert(mpsc_empty(&queue));
    cr_assert_null(mpsc_take_all(&queue));
}

Test(mpsc, is_not_empty_until_it_is_taken)
{
    mpsc_push(&queue, &nodes[0]);
    cr_assert_not(mpsc_empty(&queue));
    mpsc_take_all(&queue);
    cr_assert(mpsc_empty(&queue));
}

static void takes(unsigned first, unsigned count)
{
    struct mpsc_node *node = mpsc_take_all(&queue);

    for (unsigned index = first; index < first + count; index++, node = node->next)
        cr_assert_eq(node, &nodes[index]);
    cr_assert_null(node);
}

Test(mpsc, one_node_comes_back_alone)
{
    mpsc_push(&queue, &nodes[0]);
    takes(0, 1);
}

Test(mpsc, hands_out_all_in_the_order_of_arrival)
{
    for (int index = 0; index < COUNT; index++)
        mpsc_push(&queue, &nodes[index]);
    takes(0, COUNT);
}

Test(mpsc, what_comes_later_is_taken_later)
{
    mpsc_push(&queue, &nodes[0]);
    mpsc_push(&queue, &nodes[1]);
    takes(0, 2);
    mpsc_push(&queue, &nodes[2]);
    takes(2, 1);
}

Test(mpsc, a_node_may_be_pushed_again_after_it_was_taken)
{
    for (int round = 0; round < 3; round++) {
        mpsc_push(&queue, &nodes[0]);
        takes(0, 1);
    }
}
