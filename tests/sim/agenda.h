/*
 * What is to happen, in the order of simulated time; what is due at the same instant happens in an
 * order drawn from the seed. A heap.
 */
#ifndef TESTS_SIM_AGENDA_H
#define TESTS_SIM_AGENDA_H

#include "base/clock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ticket: what was given to agenda_add; nothing is taken off, so the function looks whether it is
 * still wanted. */
typedef void (*agenda_fn)(void *arg, uint64_t ticket);

struct appointment {
    gring_ns when;
    uint64_t order;
    agenda_fn run;
    void *arg;
    uint64_t ticket;
};

struct agenda {
    struct appointment *heap; /* of sim_alloc: gone with the run */
    size_t count, capacity;
    uint64_t added_count;
};

void agenda_add(struct agenda *agenda, gring_ns when, agenda_fn run, void *arg, uint64_t ticket);
gring_ns agenda_next(const struct agenda *agenda); /* CLOCK_FOREVER: empty */
struct appointment agenda_take(struct agenda *agenda);

#endif
