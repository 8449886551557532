/* Events from the inside, for choose; see chan.h. */
#ifndef GRING_API_SYNC_EVENT_H
#define GRING_API_SYNC_EVENT_H

#include "api/sync/sync.h"

struct event {
    struct sync sync; /* its waiters get data: the value; result: the error */
    void *value;
    int error; /* 0: a value was sent */
    bool sent;
};

/* The caller's gring_event as what it is. */
static inline struct event *event_of(const void *storage)
{
    return (struct event *)(uintptr_t)storage;
}

/* With the event entered: 0 or a positive errno, and *value; -EAGAIN: not yet. */
int event_look(const struct event *event, void **value);

#endif
