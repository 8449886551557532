/* Reader-writer locks, against a row of who has it how often. */
#include "tests/model/actors.h"

enum { READ, WRITE, UNLOCK, WHATS };

static gring_rwlock lock;
static unsigned reads_of[ACTORS + 1];
static bool writes[ACTORS + 1];

static void prepare(struct choices *choices)
{
    (void)choices;
    lock = (gring_rwlock){ 0 };
    memset(reads_of, 0, sizeof reads_of);
    memset(writes, 0, sizeof writes);
}

static int call(unsigned actor, const struct order *order)
{
    (void)actor;
    switch (order->what) {
    case READ:
        return gring_rwlock_rdlock(&lock);
    case WRITE:
        return gring_rwlock_wrlock(&lock);
    default:
        return gring_rwlock_unlock(&lock);
    }
}

static bool is_written(void)
{
    for (unsigned actor = 0; actor <= MAIN; actor++)
        if (writes[actor])
            return true;
    return false;
}

static bool is_read(void)
{
    for (unsigned actor = 0; actor <= MAIN; actor++)
        if (reads_of[actor])
            return true;
    return false;
}

static bool have(unsigned actor, unsigned what)
{
    if (is_written() || (what == WRITE && is_read()))
        return false;
    if (what == WRITE)
        writes[actor] = true;
    else
        reads_of[actor]++;
    return true;
}

static void give_on(void)
{
    while (place_count && have(places[0].actor, places[0].queue))
        twin_return(places[0].actor, 0);
}

/* A waiting reader and a waiting writer are told apart by their queue. */
static bool take(unsigned actor, unsigned what, int *result)
{
    *result = writes[actor] ? -EDEADLK : 0;
    if (writes[actor] || (!place_count && have(actor, what)))
        return true;
    twin_wait(actor, what, 0);
    return false;
}

static bool twin(unsigned actor, const struct order *order, int *result)
{
    if (order->what != UNLOCK)
        return take(actor, order->what, result);
    *result = writes[actor] || reads_of[actor] ? 0 : -EPERM;
    if (writes[actor])
        writes[actor] = false;
    else if (reads_of[actor])
        reads_of[actor]--;
    give_on();
    return true;
}

static bool never_waits(unsigned what)
{
    return what == UNLOCK;
}

/* A reader that asks again may wait for itself. */
static bool allows(unsigned actor, unsigned what)
{
    return what == UNLOCK || !reads_of[actor] || (what == READ && !place_count);
}

static bool ends_by(unsigned actor, struct order *order)
{
    order->what = UNLOCK;
    return writes[actor] || reads_of[actor];
}

MODEL(rwlock)
{
    static const struct model of_rwlocks = {
        WHATS, 1, prepare, call, twin, NULL, never_waits, allows, ends_by, NULL,
    };

    actors_play(choices, &of_rwlocks);
}
