/* Mutexes, against the number of the holder. */
#include "tests/model/actors.h"

enum { LOCK, TRY_LOCK, UNLOCK, WHATS, NOBODY = ACTORS + 1 };

static gring_mutex mutex;
static unsigned holder;

static void prepare(struct choices *choices)
{
    (void)choices;
    mutex = (gring_mutex){ 0 };
    holder = NOBODY;
}

static int call(unsigned actor, const struct order *order)
{
    (void)actor;
    switch (order->what) {
    case LOCK:
        return gring_mutex_lock(&mutex);
    case TRY_LOCK:
        return gring_mutex_trylock(&mutex);
    default:
        return gring_mutex_unlock(&mutex);
    }
}

static bool lock(unsigned actor, int *result)
{
    if (holder == NOBODY)
        holder = actor;
    else if (holder == actor)
        *result = -EDEADLK;
    else
        twin_wait(actor, 0, 0);
    return !twin_place(actor);
}

static void give_on(void)
{
    holder = place_count ? places[0].actor : NOBODY;
    if (place_count)
        twin_return(holder, 0);
}

static bool twin(unsigned actor, const struct order *order, int *result)
{
    *result = 0;
    switch (order->what) {
    case LOCK:
        return lock(actor, result);
    case TRY_LOCK:
        *result = holder == NOBODY ? 0 : -EBUSY;
        if (holder == NOBODY)
            holder = actor;
        return true;
    default:
        *result = holder == actor ? 0 : -EPERM;
        if (holder == actor)
            give_on();
        return true;
    }
}

static bool never_waits(unsigned what)
{
    return what != LOCK;
}

static bool ends_by(unsigned actor, struct order *order)
{
    order->what = UNLOCK;
    return holder == actor;
}

MODEL(mutex)
{
    static const struct model of_mutexes = {
        WHATS, 1, prepare, call, twin, NULL, never_waits, NULL, ends_by, NULL,
    };

    actors_play(choices, &of_mutexes);
}
