/*
 * The pool of receive buffers from inside: what the random histories of tests/model/buffers.c
 * cannot say because it ends the process, or because it is about where things lie.
 */
#include "uring/buffers.h"
#include "tests/support/logged.h"

#include <criterion/criterion.h>
#include <errno.h>

/* The kernel's ring is one that takes and never gives. */
static unsigned ring_entries, added_count;

int provided_open(struct provided *provided, struct ring *ring, unsigned entries)
{
    (void)provided, (void)ring;
    ring_entries = entries;
    return 0;
}

void provided_close(struct provided *provided, struct ring *ring)
{
    (void)provided, (void)ring;
}

void provided_add(struct provided *provided, void *start, unsigned size, uint16_t id)
{
    (void)provided, (void)start, (void)size, (void)id;
    added_count++;
}

static struct ops ops;
static struct buffers pool;

static void open_pool(unsigned count, size_t size)
{
    cr_assert_eq(inflight_open(&ops.inflight), 0);
    pool.count = count;
    pool.size = size;
    cr_assert_eq(buffers_open(&pool, &ops), 0);
}

Test(buffers_pool, gives_the_kernel_half_at_most_and_a_short_ring)
{
    static const struct {
        unsigned count, entries;
    } cases[] = {
        { 1, 1 }, { 2, 1 }, { 3, 1 }, { 4, 2 }, { 100, 32 }, { 512, 256 }, { 32768, 256 }
    };

    for (unsigned index = 0; index < sizeof cases / sizeof cases[0]; index++) {
        memset(&pool, 0, sizeof pool);
        added_count = 0;
        open_pool(cases[index].count, 16);
        cr_expect_eq(ring_entries, cases[index].entries, "of %u: %u", cases[index].count,
                     ring_entries);
        cr_expect_eq(added_count, cases[index].entries);
        buffers_close(&pool);
    }
}

Test(buffers_pool, first_lines_are_spread_over_the_caches_sets)
{
    open_pool(4, 4096);
    for (unsigned index = 1; index < 4; index++) {
        size_t distance =
            (size_t)((char *)buffers_data(&pool, index) - (char *)buffers_data(&pool, index - 1));

        cr_expect_geq(distance, 4096);
        cr_expect_eq(distance % 64, 0);
        cr_expect_eq(distance / 64 % 2, 1, "an even number of lines");
    }
}

Test(buffers_pool, the_one_that_came_back_last_goes_out_first)
{
    int first, second;

    open_pool(8, 16);
    first = buffers_take(&pool, 3);
    second = buffers_take(&pool, 4);
    buffers_return(&pool, (unsigned)first);
    cr_assert_eq(buffers_take(&pool, 5), first, "a cold one is used while a warm one is spare");
    cr_assert_neq(first, second);
}

Test(buffers_pool, a_descriptor_has_no_more_than_are_spare)
{
    open_pool(16, 16); /* 8 in the ring, 8 spare */
    for (int taken = 0; taken < 4; taken++)
        cr_assert_geq(buffers_take(&pool, 3), 0);
    cr_assert_eq(buffers_take(&pool, 3), -ENOBUFS, "it has 4 and would leave less than it has");
    cr_assert_geq(buffers_take(&pool, 4), 0, "another one has none");
    cr_assert_not(buffers_may_choose(&pool, 3));
    cr_assert(buffers_may_choose(&pool, 5));
}

static void nobody(struct buffer_waiter *waiter)
{
    (void)waiter;
}

Test(buffers_pool, waiting_for_what_one_could_have_is_caught, .signal = SIGABRT)
{
    struct buffer_waiter waiter = { .fd = 3, .on_granted = nobody };

    open_pool(8, 16);
    buffers_enlist(&pool, &waiter);
}

Test(buffers_pool, returned_without_being_lent_is_caught, .signal = SIGABRT)
{
    open_pool(8, 16);
    buffers_return(&pool, (unsigned)buffers_take(&pool, 3));
    buffers_return(&pool, 7);
}

Test(buffers_pool, chosen_by_a_kernel_that_does_not_have_it_is_caught, .signal = SIGABRT)
{
    int taken;

    open_pool(8, 16);
    taken = buffers_take(&pool, 3);
    buffers_chosen(&pool, (unsigned)taken, 3);
}

Test(buffers_pool, names_the_first_of_many_leaks_and_counts_the_others)
{
    logged_start();
    open_pool(1000, 16);
    for (int fd = 0; fd < 20; fd++)
        cr_assert_geq(buffers_take(&pool, fd), 0);
    buffers_close(&pool);
    cr_assert_eq(logged.count, 10);
    cr_assert_eq(logged_with("the end of the run: 20"), 1);
    cr_assert_eq(logged_with("12 more"), 1);
}
