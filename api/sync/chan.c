/* Channels; see chan.h and <greenring/chan.h>. */
#include "api/sync/chan.h"

#include "api/result.h"

#include <greenring/chan.h>
#include <stdlib.h>

enum { UNBOUNDED_ROOM_MIN = 16 };

/* ---- making ---------------------------------------------------------------------------------- */

static gring_chan *new_chan(size_t element_bytes, size_t capacity, enum store_order order,
                            store_compare compare, unsigned flags)
{
    gring_chan *chan = malloc(sizeof *chan);
    int error;

    if (!chan)
        return api_null(-ENOMEM);
    *chan = (gring_chan){ .capacity = capacity };
    store_init(&chan->store, element_bytes, order, compare);
    error = sync_init(&chan->sync, flags);
    if (error == 0 && capacity != GRING_UNBOUNDED)
        error = store_reserve(&chan->store, capacity);
    if (error == 0)
        return chan;
    free(chan);
    return api_null(error);
}

gring_chan *gring_chan_new(size_t element_bytes, size_t capacity, unsigned flags)
{
    bool lifo = flags & GRING_CHAN_LIFO;

    return new_chan(element_bytes, capacity, lifo ? STORE_YOUNGEST_FIRST : STORE_OLDEST_FIRST, NULL,
                    flags & ~GRING_CHAN_LIFO);
}

gring_chan *gring_chan_new_prio(size_t element_bytes, size_t capacity,
                                int (*compare)(const void *, const void *), unsigned flags)
{
    if (!compare)
        return api_null(-EINVAL);
    return new_chan(element_bytes, capacity, STORE_LEAST_FIRST, compare, flags);
}

void gring_chan_free(gring_chan *chan)
{
    if (!chan)
        return;
    CHECK_SAY(waiters_empty(&chan->sync.waiters) && waiters_empty(&chan->senders),
              "gring_chan_free, but somebody waits at the channel: close it, let them go, then "
              "free it");
    store_destroy(&chan->store);
    free(chan);
}

/* ---- what can be done now -------------------------------------------------------------------- */

static void hand_over(const struct gring_chan *chan, void *to, const void *from)
{
    store_copy(to, from, chan->store.element_bytes);
}

static bool serve_receiver(struct gring_chan *chan, const void *element, struct woken *woken)
{
    struct waiter *receiver = sync_serve(&chan->sync.waiters, woken);

    if (!receiver)
        return false;
    hand_over(chan, receiver->data, element);
    receiver->result = 1;
    return true;
}

/* Its element stays where it is until it is woken. */
static struct waiter *serve_sender(struct gring_chan *chan, struct woken *woken)
{
    struct waiter *sender = sync_serve(&chan->senders, woken);

    if (sender)
        sender->result = 0;
    return sender;
}

/* An unbounded channel's store doubles. */
static int make_room(struct gring_chan *chan)
{
    struct store *store = &chan->store;

    if (store->count < store->room)
        return 0;
    return store_reserve(store, store->room ? store->room * 2 : UNBOUNDED_ROOM_MIN);
}

int chan_try_send(struct gring_chan *chan, const void *element, struct woken *woken)
{
    int error;

    if (chan->closed)
        return -EPIPE;
    if (serve_receiver(chan, element, woken))
        return 0;
    if (chan->store.count >= chan->capacity)
        return -EAGAIN;
    error = make_room(chan);
    if (error == 0)
        store_put(&chan->store, element);
    return error;
}

/* Senders that waited for room put their elements into it. */
static void let_senders_in(struct gring_chan *chan, struct woken *woken)
{
    const struct waiter *sender;

    while (chan->store.count < chan->capacity && (sender = serve_sender(chan, woken)) != NULL)
        store_put(&chan->store, sender->data);
}

int chan_try_receive(struct gring_chan *chan, void *element, struct woken *woken)
{
    const struct waiter *sender;

    if (chan->store.count > 0) {
        store_take(&chan->store, element);
        let_senders_in(chan, woken);
        return 1;
    }
    sender = serve_sender(chan, woken);
    if (!sender)
        return chan->closed ? 0 : -EAGAIN;
    hand_over(chan, element, sender->data);
    return 1;
}

/* ---- sending and receiving ------------------------------------------------------------------- */

/* Both: entered, tried, and left; or, if that says so, parked in the queue. */
typedef int (*chan_try)(gring_chan *chan, void *element, struct woken *woken);

static int try_send(gring_chan *chan, void *element, struct woken *woken)
{
    return chan_try_send(chan, element, woken);
}

static inline int attempt(gring_chan *chan, void *element, chan_try try)
{
    struct woken woken;
    int result = chan_enter(chan);

    if (result < 0)
        return result;
    woken_init(&woken);
    result = try(chan, element, &woken);
    sync_leave_and_wake(&chan->sync, &woken);
    return result;
}

static inline int transfer(gring_chan *chan, void *element, chan_try try, struct waiters *queue,
                           const char *what)
{
    struct woken woken;
    struct stay stay;
    int result = sync_may_wait();

    if (result == 0)
        result = chan_enter(chan);
    if (result < 0)
        return result;
    woken_init(&woken);
    result = try(chan, element, &woken);
    if (result != -EAGAIN) {
        sync_leave_and_wake(&chan->sync, &woken);
        return result;
    }
    stay.waiter.data = element;
    result = sync_park(&chan->sync, queue, &stay, what, true);
    return result < 0 ? result : stay.waiter.result;
}

int gring_chan_send(gring_chan *chan, const void *element)
{
    return (int)api_result(transfer(chan, (void *)(uintptr_t)element, try_send, &chan->senders,
                                    "a send to a channel"));
}

int gring_chan_recv(gring_chan *chan, void *element)
{
    return (int)api_result(
        transfer(chan, element, chan_try_receive, &chan->sync.waiters, "a receive from a channel"));
}

int gring_chan_trysend(gring_chan *chan, const void *element)
{
    return (int)api_result(attempt(chan, (void *)(uintptr_t)element, try_send));
}

int gring_chan_tryrecv(gring_chan *chan, void *element)
{
    return (int)api_result(attempt(chan, element, chan_try_receive));
}

/* ---- the channel itself ---------------------------------------------------------------------- */

static void tell_all(struct waiters *queue, int result, struct woken *woken)
{
    struct waiter *waiter;

    while ((waiter = sync_serve(queue, woken)) != NULL)
        waiter->result = result;
}

int gring_chan_close(gring_chan *chan)
{
    struct woken woken;
    int error = chan_enter(chan);

    if (error < 0)
        return (int)api_result(error);
    woken_init(&woken);
    chan->closed = true;
    tell_all(&chan->sync.waiters, 0, &woken);
    tell_all(&chan->senders, -EPIPE, &woken);
    sync_leave_and_wake(&chan->sync, &woken);
    return 0;
}

/* Room for what will be in it then: an unbounded one lets all its senders in. */
static int resize(gring_chan *chan, size_t capacity, struct woken *woken)
{
    size_t room =
        capacity == GRING_UNBOUNDED ? chan->store.count + waiters_count(&chan->senders) : capacity;
    int error = store_reserve(&chan->store, room);

    if (error < 0)
        return error;
    chan->capacity = capacity;
    let_senders_in(chan, woken);
    return 0;
}

int gring_chan_resize(gring_chan *chan, size_t capacity)
{
    struct woken woken;
    int error = chan_enter(chan);

    if (error < 0)
        return (int)api_result(error);
    woken_init(&woken);
    error = resize(chan, capacity, &woken);
    sync_leave_and_wake(&chan->sync, &woken);
    return (int)api_result(error);
}

/* Looking is allowed to everybody; at a hub-local one from elsewhere it tells what was. */
static struct sync *enter_to_look(const gring_chan *chan)
{
    struct sync *sync = (struct sync *)(uintptr_t)&chan->sync;

    if (sync_is_shared(sync))
        sync_lock(sync);
    return sync;
}

size_t gring_chan_len(const gring_chan *chan)
{
    struct sync *sync = enter_to_look(chan);
    size_t count = chan->store.count;

    sync_leave(sync);
    return count;
}

int gring_chan_waiting(const gring_chan *chan)
{
    struct sync *sync = enter_to_look(chan);
    int count = (int)waiters_count(&chan->sync.waiters) - (int)waiters_count(&chan->senders);

    sync_leave(sync);
    return count;
}
