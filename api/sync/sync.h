/*
 * Where tasks meet: the head of every sync object, and whoever waits in its queues.
 *
 *      object                       on the waiters' own stacks
 *   ┌───────────────┐
 *   │ lock, flags   │              ┌────────┐     ┌────────┐
 *   │ hub           │      first ─►│ waiter │ ◄─► │ waiter │◄─ last
 *   │ waiters       │              └───┬────┘     └───┬────┘
 *   │ … its own     │                source           source      of a task's wait
 *   └───────────────┘                  └────── claim ──┘          of one choose: one is served
 *
 * An object is hub-local unless it was made with GRING_SHARED. Its owner is the hub that used it
 * last, and changes when another one comes while nobody waits or holds: no lock, no atomic. A
 * shared one is entered under its lock, from any hub and any plain thread, and held for a few
 * instructions only; nobody parks, wakes or runs user code in there.
 *
 * Who serves a waiter takes it out of its queue, gives it what it waits for, and wakes it after
 * leaving the object. Four rules make that exact:
 *
 *   1  A waiter is in its queue from enlisting until it was served or withdrawn, and only who
 *      has entered the object links, unlinks or serves it.
 *   2  Several waiters of one choose share a claim, and only the one that takes the claim is
 *      served. So one of many happens, whatever other threads do. A single waiter of a hub-local
 *      object has no claim: it is served or withdrawn by one thread, in one step.
 *   3  An interruption takes the claim too. If it comes too late the waiter was served: it stays
 *      held until the waker's mail, and its wait returns what it was given.
 *   4  A served waiter's memory stays until it is woken, and waking is the waker's last touch.
 *
 * Objects whose locks are held together are locked in the order of their addresses (choose).
 */
#ifndef GRING_API_SYNC_SYNC_H
#define GRING_API_SYNC_SYNC_H

#include "base/check.h"
#include "runtime/hub.h"
#include "runtime/wait.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { SYNC_SHARED = 1 /* GRING_SHARED */ };

struct sync;
struct waiter;
struct woken;

/* First come, first served. All zero: nobody. */
struct waiters {
    struct waiter *first, *last;
};

/* The first thing in every object; all zero bytes are ready. */
struct sync {
    atomic_uint lock; /* shared objects: 0 free, 1 held, 2 held and somebody sleeps for it */
    uint32_t flags;
    struct gring_hub *hub; /* hub-local ones: who used it last; NULL: a thread without hub */
    struct waiters waiters;
};

/* For the waiters of one wait. */
struct claim {
    _Atomic(struct waiter *) winner; /* NULL open, CLAIM_WITHDRAWN, or who was served */
    struct gring_hub *hub;           /* whose task waits; NULL: a plain thread */
    struct mail mail;                /* tells that hub */
    atomic_uint woken;               /* tells that thread */
    bool across_threads;             /* some object is shared: take it with a compare-and-swap */
};

/* On the stack of whoever waits. What `data`, `amount` and `result` mean is the object's. */
struct waiter {
    struct source source; /* of a task's wait */
    struct waiter *next, *prev;
    struct sync *sync;
    struct waiters *queue; /* one of the object's */
    struct claim *claim;   /* or NULL, see rule 2 */
    void *data;
    size_t amount;
    int result;
    bool served;
    /* NULL, or set between enlisting and leaving the object: called with the object entered when
     * the waiter has been withdrawn, to serve those who were only waiting behind it. So the
     * interrupted task need not touch the object any more. */
    void (*withdrawn)(struct sync *sync, struct woken *woken);
};

/* Those to be woken after leaving an object, in order. */
struct woken {
    struct waiter *first, **tail;
};

/* A stay in the queue of one object. */
struct stay {
    struct waiter waiter;
    struct wait wait;
    struct claim claim; /* of a shared object */
};

/* ---- entering and leaving -------------------------------------------------------------------- */

/* Out of line: else what the hub-local path saves in registers is for these. */
__attribute__((noinline)) void sync_lock(struct sync *sync);
__attribute__((noinline)) void sync_unlock(struct sync *sync);
__attribute__((noinline)) int sync_adopt(struct sync *sync, bool held);

static inline bool sync_is_shared(const struct sync *sync)
{
    return UNLIKELY(sync->flags & SYNC_SHARED);
}

/* Before looking at an object. held: somebody holds it, apart from its waiters. -EPERM: it
 * belongs to another hub now. */
static inline int sync_enter(struct sync *sync, bool held)
{
    if (sync_is_shared(sync)) {
        sync_lock(sync);
        return 0;
    }
    return LIKELY(sync->hub == hub_self()) ? 0 : sync_adopt(sync, held);
}

static inline void sync_leave(struct sync *sync)
{
    if (sync_is_shared(sync))
        sync_unlock(sync);
}

/* Wakes whom it has served: after leaving. */
void sync_wake_all(struct waiter *first);

static inline void sync_wake(const struct woken *woken)
{
    if (woken->first)
        sync_wake_all(woken->first);
}

static inline void sync_leave_and_wake(struct sync *sync, const struct woken *woken)
{
    sync_leave(sync);
    sync_wake(woken);
}

/* -EINVAL: unknown flags. */
int sync_init(struct sync *sync, unsigned flags);

/* -EBUSY: somebody waits or holds. */
int sync_destroy(struct sync *sync, bool held);

/* ---- serving --------------------------------------------------------------------------------- */

static inline void woken_init(struct woken *woken)
{
    woken->first = NULL;
    woken->tail = &woken->first;
}

static inline bool waiters_empty(const struct waiters *waiters)
{
    return !waiters->first;
}

/* The oldest, or NULL. */
static inline struct waiter *waiters_first(const struct waiters *waiters)
{
    struct waiter *first = waiters->first;

    CHECK_SAY(!first || first->queue == waiters,
              "a sync object was copied or moved while somebody waits at it");
    return first;
}

/* The oldest that can be served, with its claim taken, out of the queue and among the woken: fill
 * it. Or NULL. */
struct waiter *sync_serve_first(struct waiters *waiters, struct woken *woken);

static inline struct waiter *sync_serve(struct waiters *waiters, struct woken *woken)
{
    return waiters_empty(waiters) ? NULL : sync_serve_first(waiters, woken);
}

/* The same for a given one; false: its choose was served elsewhere. */
bool sync_serve_this(struct waiter *waiter, struct woken *woken);

/* How many wait. Walks the queue. */
size_t waiters_count(const struct waiters *waiters);

/* ---- waiting --------------------------------------------------------------------------------- */

/* First in every [wait] call: 0, or -errno of the running task's pending interruption. A plain
 * thread has none. */
static inline int sync_may_wait(void)
{
    struct gring_hub *hub = hub_self();

    return hub ? wait_permitted(wait_task()) : 0;
}

/* Who holds a lock: the running task, or the plain thread; NULL in a callback on the loop. */
const void *sync_self(void);

/* At the end of one of the entered object's queues. stay->waiter's data and amount are the
 * caller's to set before; the rest is set here. what: for the census. -EPERM, -ECHILD: a plain
 * thread cannot wait for a hub-local object. */
int sync_enlist(struct sync *sync, struct waiters *queue, struct stay *stay, const char *what,
                bool interruptible);

/* After leaving the object: until it was served (0) or interrupted (-errno: it is out of the
 * queue, and was given nothing). */
int sync_stay(struct stay *stay);

/* Both, leaving the object in between. */
int sync_park(struct sync *sync, struct waiters *queue, struct stay *stay, const char *what,
              bool interruptible);

/* ---- waiting at several objects at once ------------------------------------------------------ */

/* Before the waiters that share it are enlisted. across_threads: one of the objects is shared. */
void claim_init(struct claim *claim, bool across_threads);

/* With the object entered; the waiter's claim, data and amount are set. wait: of the running task,
 * of which it becomes a source; or NULL on a plain thread. */
void waiter_enlist(struct waiter *waiter, struct sync *sync, struct waiters *queue,
                   struct wait *wait);

/* Which of the claim's waiters was served, or NULL. When the wait is over. */
struct waiter *claim_served(const struct claim *claim);

/* A plain thread, which has no wait, sleeps until one of the claim's waiters was served, and then
 * takes the others out of their queues. */
void claim_await(struct claim *claim);
void waiter_leave(struct waiter *waiter);

#endif
