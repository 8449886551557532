/* base/slab.h */
#include "base/slab.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

struct record {
    void *link; /* the free list's */
    int number; /* 0: free */
    char rest[180];
};

enum { COUNT = 2000 }; /* several chunks */

static struct slab slab;
static struct record *records[COUNT];

static void prepare(void)
{
    slab_init(&slab, sizeof(struct record));
}

static void destroy(void)
{
    slab_destroy(&slab);
}

TestSuite(slab, .init = prepare, .fini = destroy);

static void take_all(void)
{
    for (int index = 0; index < COUNT; index++) {
        records[index] = slab_take(&slab);
        cr_assert(records[index]);
        cr_assert_eq(records[index]->number, 0, "never used is zero");
        records[index]->number = index + 1;
        memset(records[index]->rest, index, sizeof records[index]->rest);
    }
}

Test(slab, records_do_not_overlap)
{
    take_all();
    for (int index = 0; index < COUNT; index++) {
        cr_assert_eq(records[index]->number, index + 1);
        cr_assert_eq(records[index]->rest[0], (char)index);
        cr_assert_eq(records[index]->rest[sizeof records[index]->rest - 1], (char)index);
    }
}

Test(slab, records_are_aligned_for_pointers)
{
    take_all();
    for (int index = 0; index < COUNT; index++)
        cr_assert_eq((uintptr_t)records[index] % _Alignof(void *), 0);
}

Test(slab, last_returned_is_first_taken)
{
    take_all();
    slab_return(&slab, records[3]);
    slab_return(&slab, records[700]);
    cr_assert_eq(slab_take(&slab), records[700]);
    cr_assert_eq(slab_take(&slab), records[3]);
}

Test(slab, a_fresh_chunk_is_handed_out_upwards)
{
    char *previous = slab_take(&slab);

    for (int index = 0; index < 100; index++) {
        char *next = slab_take(&slab);

        cr_assert_gt(next, previous);
        previous = next;
    }
}

Test(slab, counts_the_live_ones)
{
    cr_assert_eq(slab.live_count, 0);
    take_all();
    cr_assert_eq(slab.live_count, COUNT);
    for (int index = 0; index < COUNT; index++)
        slab_return(&slab, records[index]);
    cr_assert_eq(slab.live_count, 0);
}

Test(slab, a_returned_record_keeps_all_but_its_first_pointer)
{
    struct record *record = slab_take(&slab);

    record->number = 77;
    slab_return(&slab, record);
    cr_assert_eq(record->number, 77);
}

static unsigned visited_count;
static bool visited[COUNT + 1];

static void visit(void *visited_record, void *arg)
{
    struct record *record = visited_record;

    cr_assert_eq(arg, &visited_count);
    if (!record->number)
        return;
    cr_assert_not(visited[record->number]);
    visited[record->number] = true;
    visited_count++;
}

Test(slab, each_visits_every_live_record_once)
{
    take_all();
    slab_each(&slab, visit, &visited_count);
    cr_assert_eq(visited_count, COUNT);
}

Test(slab, each_of_an_empty_one_visits_nothing)
{
    slab_each(&slab, visit, &visited_count);
    cr_assert_eq(visited_count, 0);
}

Test(slab, can_be_used_again_after_its_destruction)
{
    take_all();
    slab_destroy(&slab);
    cr_assert_eq(slab.live_count, 0);
    take_all();
}
