/* Events, against a value that may be there. */
#include "tests/model/actors.h"

enum { WAIT, POLL, READY, SEND, FAIL, RESET, WHATS };

static gring_event event;
static char values[8];
static int sent; /* what a wait returns, see outcome; -1: nothing */

static void prepare(struct choices *choices)
{
    (void)choices;
    event = (gring_event){ 0 };
    sent = -1;
}

/* 100 and the number of the value; or the error. */
static int outcome(int result, const char *value)
{
    if (result == 0)
        return 100 + (int)(value - values);
    MUST(result < 0 || !value);
    return result;
}

static int call(unsigned actor, const struct order *order)
{
    void *value = NULL;
    int result;

    (void)actor;
    switch (order->what) {
    case WAIT:
        result = gring_event_wait(&event, &value);
        return outcome(result, value);
    case POLL:
        result = gring_event_poll(&event, &value);
        return outcome(result, value);
    case READY:
        return gring_event_ready(&event);
    case SEND:
        return gring_event_send(&event, &values[order->amount]);
    case FAIL:
        return gring_event_fail(&event, (int)order->amount);
    default:
        return gring_event_reset(&event);
    }
}

static void send_once(int what, int *result)
{
    *result = sent >= 0 ? -EALREADY : 0;
    if (*result < 0)
        return;
    sent = what;
    while (place_count)
        twin_return(places[0].actor, sent);
}

static bool twin(unsigned actor, const struct order *order, int *result)
{
    *result = 0;
    switch (order->what) {
    case WAIT:
        if (sent < 0)
            twin_wait(actor, 0, 0);
        *result = sent;
        return sent >= 0;
    case POLL:
        *result = sent < 0 ? -EAGAIN : sent;
        break;
    case READY:
        *result = sent >= 0;
        break;
    case SEND:
        send_once(100 + (int)order->amount, result);
        break;
    case FAIL:
        if (order->amount)
            send_once((int)order->amount, result);
        else
            *result = -EINVAL;
        break;
    default:
        sent = -1;
    }
    return true;
}

static void interrupt(unsigned actor, int error)
{
    twin_return(actor, -error);
}

static bool never_waits(unsigned what)
{
    return what != WAIT;
}

MODEL(event)
{
    static const struct model of_events = {
        WHATS, 8, prepare, call, twin, interrupt, never_waits, NULL, NULL, NULL,
    };

    actors_play(choices, &of_events);
}
