/*
 * Places of which there are only so many: what a pool of tasks and a pool of resources bound.
 *
 * Shrinking takes the free ones away at once. What is missing then is a debt: places that are
 * given back pay it before anybody gets one.
 */
#ifndef GRING_API_TASK_PLACES_H
#define GRING_API_TASK_PLACES_H

#include <greenring/sync.h>

struct places {
    gring_sem free;
    size_t size, debt;
    size_t waiting; /* calls of places_wait */
};

/* size: up to INT_MAX. */
void places_init(struct places *places, size_t size);

/* First come, first served: 0, or -errno of the interruption. */
int places_wait(struct places *places);
bool places_try(struct places *places); /* false: none is free, or somebody waits */
void places_return(struct places *places);

/* On a hub's thread. */
void places_resize(struct places *places, size_t size);

/* Below 0: how many are owed. */
long places_free(const struct places *places);

#endif
