/*
 * base/slab.h against an array of what was taken: each record is filled with its number while it is
 * taken, so that two records that overlap, or a free list that writes where it must not, are seen.
 */
#include "base/slab.h"
#include "tests/model/choices.h"

#include <string.h>

enum { TAKEN_MAX = 256, BYTES_MAX = 4096, ALIGN = 64 };

static struct {
    uint8_t *records[TAKEN_MAX];
    uint8_t fillings[TAKEN_MAX];
    unsigned count;
    void *returned_last; /* the one that comes next, or NULL */
    uint8_t filling;
} twin;

static struct slab slab;
static unsigned seen_count;

static void must_hold_filling(unsigned index)
{
    const uint8_t *record = twin.records[index];

    for (size_t at = 0; at < slab.record_bytes; at++)
        MUST(record[at] == twin.fillings[index]);
}

static bool is_taken(const void *record)
{
    for (unsigned index = 0; index < twin.count; index++)
        if (twin.records[index] == record)
            return true;
    return false;
}

static void take(void)
{
    uint8_t *record;

    if (twin.count == TAKEN_MAX)
        return;
    record = slab_take(&slab);
    MUST(record && !is_taken(record));
    MUST(!twin.returned_last || record == twin.returned_last);
    twin.returned_last = NULL;
    memset(record, ++twin.filling, slab.record_bytes);
    twin.records[twin.count] = record;
    twin.fillings[twin.count++] = twin.filling;
}

static void give_back(unsigned index)
{
    if (index >= twin.count)
        return;
    must_hold_filling(index);
    twin.returned_last = twin.records[index];
    slab_return(&slab, twin.records[index]);
    twin.records[index] = twin.records[--twin.count];
    twin.fillings[index] = twin.fillings[twin.count];
}

static void count_taken(void *record, void *unused)
{
    (void)unused;
    seen_count += is_taken(record);
}

/* Every record that is taken is visited, and once. */
static void visit(void)
{
    seen_count = 0;
    slab_each(&slab, count_taken, NULL);
    MUST(seen_count == twin.count);
}

static void begin(struct choices *choices)
{
    memset(&twin, 0, sizeof twin);
    slab_init(&slab, (1 + choose(choices, BYTES_MAX / ALIGN)) * ALIGN);
}

MODEL(slab)
{
    begin(choices);
    while (choices_left(choices)) {
        unsigned what = choose(choices, 16);

        if (what < 9)
            take();
        else if (what < 15)
            give_back(choose(choices, TAKEN_MAX));
        else
            visit();
        MUST(slab.live_count == twin.count);
    }
    for (unsigned index = 0; index < twin.count; index++)
        must_hold_filling(index);
    slab_destroy(&slab);
    MUST(slab.live_count == 0 && !slab.chunks);
}
