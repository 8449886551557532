/*
 * Channels from the inside, for choose, which does to one of many what the calls of
 * <greenring/chan.h> do to one.
 *
 * Receivers wait only while there is nothing to receive, senders only while there is no room. So
 * an element never passes a waiting receiver, nor a sender one that came before it.
 *
 * The tries are called with the channel entered (chan_enter, sync_leave) and say -EAGAIN for
 * "wait".
 */
#ifndef GRING_API_SYNC_CHAN_H
#define GRING_API_SYNC_CHAN_H

#include "api/sync/store.h"
#include "api/sync/sync.h"

struct gring_chan {
    struct sync
        sync; /* its waiters are the receivers; data: where the element goes; result: 1, 0 */
    struct waiters senders; /* data: the element; result: 0, -EPIPE */
    struct store store;
    size_t capacity;
    bool closed;
};

/* Its queue of senders, beside that of its sync. */
static inline bool chan_has_senders(const struct gring_chan *chan)
{
    return !waiters_empty(&chan->senders);
}

static inline int chan_enter(struct gring_chan *chan)
{
    return sync_enter(&chan->sync, chan_has_senders(chan));
}

/* 0, -EPIPE, -ENOMEM (unbounded ones), -EAGAIN. */
int chan_try_send(struct gring_chan *chan, const void *element, struct woken *woken);

/* 1, 0 closed and empty, -EAGAIN. */
int chan_try_receive(struct gring_chan *chan, void *element, struct woken *woken);

#endif
