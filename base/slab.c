/* Chunks of records; see slab.h. */
#include "base/slab.h"

#include <stdint.h>
#include <stdlib.h>

enum { CHUNK_BYTES = 64 * 1024, RECORD_ALIGN = 64 };

struct slab_chunk {
    struct slab_chunk *next;
};

void slab_init(struct slab *slab, size_t record_bytes)
{
    *slab = (struct slab){ .record_bytes = record_bytes };
}

void slab_destroy(struct slab *slab)
{
    struct slab_chunk *chunk = slab->chunks;

    while (chunk) {
        struct slab_chunk *next = chunk->next;

        free(chunk);
        chunk = next;
    }
    slab_init(slab, slab->record_bytes);
}

static char *first_record(struct slab_chunk *chunk)
{
    return (char *)chunk + RECORD_ALIGN;
}

static size_t records_per_chunk(const struct slab *slab)
{
    return (CHUNK_BYTES - RECORD_ALIGN) / slab->record_bytes;
}

/* The free list runs upwards through the chunk, so that a burst of takes walks memory in order. */
static void add_to_free_list(struct slab *slab, struct slab_chunk *chunk)
{
    char *record = first_record(chunk);

    for (size_t index = records_per_chunk(slab); index-- > 0;) {
        void **link = (void **)(void *)(record + index * slab->record_bytes);

        *link = slab->free_top;
        slab->free_top = link;
    }
}

void *slab_take_slow(struct slab *slab)
{
    struct slab_chunk *chunk = aligned_alloc(RECORD_ALIGN, CHUNK_BYTES);

    if (!chunk)
        return NULL;
    __builtin_memset(chunk, 0, CHUNK_BYTES);
    chunk->next = slab->chunks;
    slab->chunks = chunk;
    add_to_free_list(slab, chunk);
    return slab_take(slab);
}

void slab_each(struct slab *slab, void (*visit)(void *record, void *arg), void *arg)
{
    for (struct slab_chunk *chunk = slab->chunks; chunk; chunk = chunk->next)
        for (size_t index = 0; index < records_per_chunk(slab); index++)
            visit(first_record(chunk) + index * slab->record_bytes, arg);
}
