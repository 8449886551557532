/* Semaphores, against a number and a row of those who want some of it. */
#include "tests/model/actors.h"

enum { ACQUIRE, TRY_ACQUIRE, RELEASE, BALANCE, WHATS };

static gring_sem semaphore;
static unsigned units, units_max;

static void prepare(struct choices *choices)
{
    units_max = choose(choices, 3) * 3;
    units = choose(choices, 4);
    if (units_max && units > units_max)
        units = units_max;
    MUST(gring_sem_init(&semaphore, units, units_max, 0) == 0);
}

static int call(unsigned actor, const struct order *order)
{
    (void)actor;
    switch (order->what) {
    case ACQUIRE:
        return gring_sem_acquire_n(&semaphore, order->amount);
    case TRY_ACQUIRE:
        return gring_sem_tryacquire(&semaphore);
    case RELEASE:
        return gring_sem_release_n(&semaphore, order->amount);
    default:
        return gring_sem_balance(&semaphore) + 1000;
    }
}

static void serve(void)
{
    while (place_count && places[0].amount <= units) {
        units -= places[0].amount;
        twin_return(places[0].actor, 0);
    }
}

static bool acquire(unsigned actor, unsigned amount, int *result)
{
    *result = 0;
    if (place_count || units < amount) {
        *result = -EINVAL;
        if (units_max && amount > units_max)
            return true;
        twin_wait(actor, 0, amount);
        return false;
    }
    units -= amount;
    return true;
}

static bool twin(unsigned actor, const struct order *order, int *result)
{
    switch (order->what) {
    case ACQUIRE:
        return acquire(actor, order->amount, result);
    case TRY_ACQUIRE:
        *result = place_count || !units ? -EAGAIN : 0;
        units -= *result == 0;
        return true;
    case RELEASE:
        *result = units_max && units + order->amount > units_max ? -EOVERFLOW : 0;
        if (*result == 0)
            units += order->amount;
        serve();
        return true;
    default:
        *result = 1000 + (place_count ? -(int)place_count : (int)units);
        return true;
    }
}

static void interrupt(unsigned actor, int error)
{
    twin_return(actor, -error);
    serve();
}

static bool never_waits(unsigned what)
{
    return what != ACQUIRE;
}

MODEL(semaphore)
{
    static const struct model of_semaphores = {
        WHATS, 6, prepare, call, twin, interrupt, never_waits, NULL, NULL, NULL,
    };

    actors_play(choices, &of_semaphores);
}
