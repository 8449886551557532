/*
 * Records of one size, dense, for one thread: taken and returned in O(1), last returned first
 * taken (warm).
 *
 *   chunk -> [ next | record record record ... ]     64 KiB each, kept until slab_destroy
 *
 * Memory is not zeroed. slab_each visits every record of every chunk, live or free: the caller's
 * record must tell which it is, so a free record must keep that field (the first pointer-sized
 * bytes are used for the free list).
 */
#ifndef GRING_BASE_SLAB_H
#define GRING_BASE_SLAB_H

#include <stddef.h>

struct slab {
    size_t record_bytes;
    void *free_top;
    struct slab_chunk *chunks;
    size_t live_count;
};

void slab_init(struct slab *slab, size_t record_bytes);
void slab_destroy(struct slab *slab);

/* A new chunk's records are zero-filled, so "never used" can be told by a zero field. NULL: out
 * of memory. */
void *slab_take_slow(struct slab *slab);
void slab_each(struct slab *slab, void (*visit)(void *record, void *arg), void *arg);

static inline void *slab_take(struct slab *slab)
{
    void *record = slab->free_top;

    if (__builtin_expect(!record, 0))
        return slab_take_slow(slab);
    slab->free_top = *(void **)record;
    slab->live_count++;
    return record;
}

static inline void slab_return(struct slab *slab, void *record)
{
    *(void **)record = slab->free_top;
    slab->free_top = record;
    slab->live_count--;
}

#endif
