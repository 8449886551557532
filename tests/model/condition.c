/* Conditions and their mutex, against two rows: who waits for the word, and who for the mutex. */
#include "tests/model/actors.h"

enum { LOCK, WAIT, UNLOCK, SIGNAL, BROADCAST, WHATS, NOBODY = ACTORS + 1 };
enum { FOR_THE_WORD, FOR_THE_MUTEX };

static gring_mutex mutex;
static gring_cond condition;
static unsigned holder;
static int outcome[ACTORS]; /* of the wait, while it waits for the mutex again */

static void prepare(struct choices *choices)
{
    (void)choices;
    mutex = (gring_mutex){ 0 };
    condition = (gring_cond){ 0 };
    holder = NOBODY;
}

static int call(unsigned actor, const struct order *order)
{
    (void)actor;
    switch (order->what) {
    case LOCK:
        return gring_mutex_lock(&mutex);
    case WAIT:
        return gring_cond_wait(&condition, &mutex);
    case UNLOCK:
        return gring_mutex_unlock(&mutex);
    case SIGNAL:
        return gring_cond_signal(&condition);
    default:
        return gring_cond_broadcast(&condition);
    }
}

static void give_on(void)
{
    const struct place *next = twin_first(FOR_THE_MUTEX);

    holder = next ? next->actor : NOBODY;
    if (next)
        twin_return(holder, outcome[holder]);
}

static bool lock(unsigned actor, int *result)
{
    *result = holder == actor ? -EDEADLK : 0;
    if (holder == NOBODY)
        holder = actor;
    if (holder == actor)
        return true;
    outcome[actor] = 0;
    twin_wait(actor, FOR_THE_MUTEX, 0);
    return false;
}

static bool wait_for_word(unsigned actor, int *result)
{
    *result = -EPERM;
    if (holder != actor)
        return true;
    twin_wait(actor, FOR_THE_WORD, 0);
    give_on();
    return false;
}

/* Who has the word, or was interrupted, is on its way back to the mutex. */
static void go_back(unsigned actor, int result)
{
    twin_leave(actor);
    twin_wait(actor, FOR_THE_MUTEX, 0);
    outcome[actor] = result;
    if (holder == NOBODY)
        give_on();
}

static void wake(bool all)
{
    const struct place *first;

    while ((first = twin_first(FOR_THE_WORD)) != NULL) {
        go_back(first->actor, 0);
        if (!all)
            return;
    }
}

static bool twin(unsigned actor, const struct order *order, int *result)
{
    *result = 0;
    switch (order->what) {
    case LOCK:
        return lock(actor, result);
    case WAIT:
        return wait_for_word(actor, result);
    case UNLOCK:
        *result = holder == actor ? 0 : -EPERM;
        if (holder == actor)
            give_on();
        return true;
    default:
        wake(order->what == BROADCAST);
        return true;
    }
}

static void interrupt(unsigned actor, int error)
{
    if (twin_place(actor)->queue == FOR_THE_WORD)
        go_back(actor, -error);
}

static bool never_waits(unsigned what)
{
    return what >= UNLOCK;
}

static bool ends_by(unsigned actor, struct order *order)
{
    order->what = UNLOCK;
    return holder == actor;
}

MODEL(condition)
{
    static const struct model of_conditions = {
        WHATS, 1, prepare, call, twin, interrupt, never_waits, NULL, ends_by, NULL,
    };

    actors_play(choices, &of_conditions);
}
