/* Events: a value or a failure, sent once; see <greenring/sync.h>. */
#include "api/sync/event.h"

#include "api/result.h"

#include <greenring/sync.h>

static_assert(sizeof(struct event) <= sizeof(gring_event), "the caller's storage holds it");

int gring_event_init(gring_event *storage, unsigned flags)
{
    *storage = (gring_event){ 0 };
    return (int)api_result(sync_init(&event_of(storage)->sync, flags));
}

int gring_event_destroy(gring_event *storage)
{
    return (int)api_result(sync_destroy(&event_of(storage)->sync, false));
}

/* ---- sending --------------------------------------------------------------------------------- */

/* Each waiter gets a copy: gring_event_reset may come before they run. */
static void give_to_all(struct event *event, struct woken *woken)
{
    struct waiter *waiter;

    while ((waiter = sync_serve(&event->sync.waiters, woken)) != NULL) {
        waiter->data = event->value;
        waiter->result = event->error;
    }
}

static int send_once(struct event *event, void *value, int error)
{
    struct woken woken;
    int refused = sync_enter(&event->sync, false);

    if (refused < 0)
        return refused;
    if (event->sent) {
        sync_leave(&event->sync);
        return -EALREADY;
    }
    event->sent = true;
    event->value = value;
    event->error = error;
    woken_init(&woken);
    give_to_all(event, &woken);
    sync_leave_and_wake(&event->sync, &woken);
    return 0;
}

int gring_event_send(gring_event *event, void *value)
{
    return (int)api_result(send_once(event_of(event), value, 0));
}

int gring_event_fail(gring_event *event, int error)
{
    return (int)api_result(error > 0 ? send_once(event_of(event), NULL, error) : -EINVAL);
}

int gring_event_reset(gring_event *storage)
{
    struct event *event = event_of(storage);
    int error = sync_enter(&event->sync, false);

    if (error < 0)
        return (int)api_result(error);
    event->sent = false;
    sync_leave(&event->sync);
    return 0;
}

/* ---- receiving ------------------------------------------------------------------------------- */

int event_look(const struct event *event, void **value)
{
    if (!event->sent)
        return -EAGAIN;
    *value = event->value;
    return event->error;
}

/* 0 or a positive errno, and *value; or -errno. */
static int receive(struct event *event, void **value)
{
    struct stay stay;
    int result = sync_may_wait();

    if (result == 0)
        result = sync_enter(&event->sync, false);
    if (result < 0)
        return result;
    result = event_look(event, value);
    if (result != -EAGAIN) {
        sync_leave(&event->sync);
        return result;
    }
    result = sync_park(&event->sync, &event->sync.waiters, &stay, "an event", true);
    if (result < 0)
        return result;
    *value = stay.waiter.data;
    return stay.waiter.result;
}

static int poll_once(struct event *event, void **value)
{
    int result = sync_enter(&event->sync, false);

    if (result < 0)
        return result;
    result = event_look(event, value);
    sync_leave(&event->sync);
    return result;
}

static int outcome(int result, void *sent, void **value)
{
    if (result >= 0 && value)
        *value = sent;
    return (int)api_result(result);
}

int gring_event_wait(gring_event *event, void **value)
{
    void *sent;
    int result = receive(event_of(event), &sent);

    return outcome(result, sent, value);
}

int gring_event_poll(gring_event *event, void **value)
{
    void *sent;
    int result = poll_once(event_of(event), &sent);

    return outcome(result, sent, value);
}

bool gring_event_ready(const gring_event *event)
{
    void *sent;

    return poll_once(event_of(event), &sent) >= 0;
}
