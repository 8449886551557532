/* greenring/sync.h - event, semaphore, mutex, rwlock, condition, wait group.
 *
 * All are storage the caller provides; zero bytes are ready (an event unset, a semaphore of 0, a
 * lock free) and hub-local. The init functions are for GRING_SHARED and for initial counts:
 * status, EINVAL unknown flags. Waiters are served first come, first served. A waiter that is
 * killed or times out leaves the queue and takes nothing with it. Waking never parks.
 *
 * Hub-local objects are for the tasks of one hub. While somebody waits at one or holds it, calls
 * from another hub or a plain thread fail with EPERM; so does a plain thread that would have to
 * wait. Shared ones (GRING_SHARED) are for all hubs and plain threads, which they block.
 *
 * The destroy functions: status, EBUSY somebody waits or holds. What was not destroyed needs not
 * be: objects own no memory.
 *
 * As in POSIX, taking a mutex or rwlock is no cancellation point ([park]); where a wait for
 * exclusion must be interruptible, use a semaphore of 1. */
#ifndef GRING_SYNC_H
#define GRING_SYNC_H
#include <greenring/base.h>
GRING_BEGIN

/* ---- event: a value (or a failure) sent once, seen by any number, early or late -------------- */
typedef struct gring_event {
    uint64_t _[6];
} gring_event;
GRING_API int gring_event_init(gring_event *e, unsigned flags);
GRING_API int gring_event_destroy(gring_event *e);
/* status: EALREADY sent or failed before, and not reset since */
GRING_API int gring_event_send(gring_event *e, void *value);
/* err > 0: what gring_event_wait returns; EINVAL others. status: EALREADY */
GRING_API int gring_event_fail(gring_event *e, int err);
/* Until something is sent; at once if it was. *value, which may be NULL, gets it. outcome [wait] */
GRING_API int gring_event_wait(gring_event *e, void **value);
/* The same without waiting. outcome; -1 EAGAIN not yet */
GRING_API int gring_event_poll(gring_event *e, void **value);
GRING_API bool gring_event_ready(const gring_event *e);
/* Unset again; those it has woken already keep what was sent. status */
GRING_API int gring_event_reset(gring_event *e);
GRING_END
#endif
