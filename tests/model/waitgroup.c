/* Wait groups, against a number. */
#include "tests/model/actors.h"

enum { WAIT, ADD, DONE, WHATS, LESS = 3 };

static gring_wg group;
static int count;

static void prepare(struct choices *choices)
{
    (void)choices;
    group = (gring_wg){ 0 };
    count = 0;
}

static int call(unsigned actor, const struct order *order)
{
    (void)actor;
    switch (order->what) {
    case WAIT:
        return gring_wg_wait(&group);
    case ADD:
        return gring_wg_add(&group, (int)order->amount - LESS);
    default:
        return gring_wg_done(&group);
    }
}

static int add(int delta)
{
    if (count + delta < 0)
        return -ERANGE;
    count += delta;
    while (count == 0 && place_count)
        twin_return(places[0].actor, 0);
    return 0;
}

static bool twin(unsigned actor, const struct order *order, int *result)
{
    *result = 0;
    switch (order->what) {
    case WAIT:
        if (count)
            twin_wait(actor, 0, 0);
        return count == 0;
    case ADD:
        *result = add((int)order->amount - LESS);
        return true;
    default:
        *result = add(-1);
        return true;
    }
}

static void interrupt(unsigned actor, int error)
{
    twin_return(actor, -error);
}

static bool never_waits(unsigned what)
{
    return what != WAIT;
}

MODEL(waitgroup)
{
    static const struct model of_groups = {
        WHATS, 3 * LESS, prepare, call, twin, interrupt, never_waits, NULL, NULL, NULL,
    };

    actors_play(choices, &of_groups);
}
