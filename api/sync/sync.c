/* Queues of waiters, claims and the lock of shared objects; see sync.h. */
#include "api/sync/sync.h"

#include "base/sys.h"
#include "runtime/runtime.h"

enum { LOCK_FREE, LOCK_HELD, LOCK_CONTENDED, LOCK_SPINS = 100 };

#define CLAIM_WITHDRAWN ((struct waiter *)-1)

/* ---- the lock of shared objects: U. Drepper, "Futexes Are Tricky", the third mutex ----------- */

static bool try_lock(struct sync *sync)
{
    unsigned free = LOCK_FREE;

    return atomic_compare_exchange_strong_explicit(&sync->lock, &free, LOCK_HELD,
                                                   memory_order_acquire, memory_order_relaxed);
}

void sync_lock(struct sync *sync)
{
    for (int spin = 0; spin < LOCK_SPINS; spin++)
        if (try_lock(sync))
            return;
    /* who takes it from here on does not know whether others sleep: it says so */
    while (atomic_exchange_explicit(&sync->lock, LOCK_CONTENDED, memory_order_acquire) != LOCK_FREE)
        sys_futex_wait(&sync->lock, LOCK_CONTENDED);
}

void sync_unlock(struct sync *sync)
{
    /* by address only after this: whoever enters next may free the object */
    if (atomic_exchange_explicit(&sync->lock, LOCK_FREE, memory_order_release) == LOCK_CONTENDED)
        sys_futex_wake_all(&sync->lock);
}

/* ---- whose it is ----------------------------------------------------------------------------- */

/* The slow half of sync_enter. */
int sync_adopt(struct sync *sync, bool held)
{
    if (held || !waiters_empty(&sync->waiters))
        return -EPERM;
    sync->hub = hub_self();
    return 0;
}

int sync_init(struct sync *sync, unsigned flags)
{
    if (flags & ~(unsigned)SYNC_SHARED)
        return -EINVAL;
    *sync = (struct sync){ .flags = flags };
    return 0;
}

int sync_destroy(struct sync *sync, bool held)
{
    int error = sync_enter(sync, held);

    if (error < 0)
        return error;
    if (held || !waiters_empty(&sync->waiters))
        error = -EBUSY;
    sync_leave(sync);
    return error;
}

const void *sync_self(void)
{
    static _Thread_local char of_thread __attribute__((tls_model("initial-exec")));
    struct gring_hub *hub = hub_self();

    return hub ? (const void *)hub->running : &of_thread;
}

/* ---- the queue ------------------------------------------------------------------------------- */

static void push_back(struct waiters *queue, struct waiter *waiter)
{
    waiter->queue = queue;
    waiter->next = NULL;
    waiter->prev = queue->last;
    *(queue->last ? &queue->last->next : &queue->first) = waiter;
    queue->last = waiter;
}

static void unlink_waiter(struct waiter *waiter)
{
    struct waiters *queue = waiter->queue;

    CHECK(queue); /* served or withdrawn twice? */
    *(waiter->prev ? &waiter->prev->next : &queue->first) = waiter->next;
    *(waiter->next ? &waiter->next->prev : &queue->last) = waiter->prev;
    waiter->queue = NULL;
}

size_t waiters_count(const struct waiters *waiters)
{
    size_t count = 0;

    for (const struct waiter *waiter = waiters->first; waiter; waiter = waiter->next)
        count++;
    return count;
}

/* ---- claims ---------------------------------------------------------------------------------- */

/* Gives an open claim to `winner`; who has it now. */
static struct waiter *claim_give(struct claim *claim, struct waiter *winner)
{
    struct waiter *owner = NULL;

    if (claim->across_threads) {
        atomic_compare_exchange_strong_explicit(&claim->winner, &owner, winner,
                                                memory_order_acq_rel, memory_order_acquire);
        return owner ? owner : winner;
    }
    owner = atomic_load_explicit(&claim->winner, memory_order_relaxed);
    if (!owner)
        atomic_store_explicit(&claim->winner, winner, memory_order_relaxed);
    return owner ? owner : winner;
}

static bool take_claim(struct waiter *waiter)
{
    struct claim *claim = waiter->claim;

    /* taken: by a sibling, which may even wait in this very queue */
    return !claim || (!atomic_load_explicit(&claim->winner, memory_order_relaxed) &&
                      claim_give(claim, waiter) == waiter);
}

bool sync_serve_this(struct waiter *waiter, struct woken *woken)
{
    if (!take_claim(waiter))
        return false;
    unlink_waiter(waiter);
    waiter->served = true;
    waiter->next = NULL;
    *woken->tail = waiter;
    woken->tail = &waiter->next;
    return true;
}

struct waiter *sync_serve_first(struct waiters *waiters, struct woken *woken)
{
    struct waiter *waiter = waiters_first(waiters);

    while (waiter && !sync_serve_this(waiter, woken))
        waiter = waiter->next;
    return waiter;
}

/* ---- waking ---------------------------------------------------------------------------------- */

/* On the waiter's hub. */
static void deliver_served(struct mail *mail)
{
    struct claim *claim = CONTAINER_OF(mail, struct claim, mail);

    source_done(&atomic_load_explicit(&claim->winner, memory_order_relaxed)->source);
}

/* The task it wakes keeps the run going until the mail is there, so the hub can be visited. */
static void wake_elsewhere(struct claim *claim)
{
    struct gring_hub *hub = claim->hub;

    if (hub) {
        CHECK(runtime_visit(hub));
        mailbox_post(&hub->mailbox, &claim->mail);
        runtime_leave();
    } else {
        atomic_store_explicit(&claim->woken, 1, memory_order_release);
        sys_futex_wake_all(&claim->woken); /* by address only: the thread may be gone */
    }
}

void sync_wake_all(struct waiter *first)
{
    struct waiter *next;

    for (struct waiter *waiter = first; waiter; waiter = next) {
        next = waiter->next; /* its memory may go when it is woken */
        if (!waiter->claim || (waiter->claim->hub && waiter->claim->hub == hub_self()))
            source_done(&waiter->source);
        else
            wake_elsewhere(waiter->claim);
    }
}

/* ---- waiting --------------------------------------------------------------------------------- */

void waiter_leave(struct waiter *waiter)
{
    struct sync *sync = waiter->sync;
    struct woken woken;

    if (sync_is_shared(sync))
        sync_lock(sync);
    unlink_waiter(waiter);
    woken_init(&woken);
    if (waiter->withdrawn)
        waiter->withdrawn(sync, &woken);
    sync_leave_and_wake(sync, &woken);
}

/* Lets go at once, unless it was served in the meantime: then the waker's mail does. */
static void waiter_withdraw(struct source *source)
{
    struct waiter *waiter = CONTAINER_OF(source, struct waiter, source);

    if (waiter->claim && claim_give(waiter->claim, CLAIM_WITHDRAWN) == waiter)
        return;
    waiter_leave(waiter);
    source_done(source);
}

void waiter_enlist(struct waiter *waiter, struct sync *sync, struct waiters *queue,
                   struct wait *wait)
{
    waiter->sync = sync;
    waiter->served = false;
    waiter->withdrawn = NULL;
    push_back(queue, waiter);
    if (wait)
        wait_hold(wait, &waiter->source, waiter_withdraw);
}

void claim_init(struct claim *claim, bool across_threads)
{
    *claim = (struct claim){ .hub = hub_self(),
                             .mail.deliver = deliver_served,
                             .across_threads = across_threads };
}

struct waiter *claim_served(const struct claim *claim)
{
    struct waiter *winner = atomic_load_explicit(&claim->winner, memory_order_relaxed);

    return winner == CLAIM_WITHDRAWN ? NULL : winner;
}

void claim_await(struct claim *claim)
{
    while (!atomic_load_explicit(&claim->woken, memory_order_acquire))
        sys_futex_wait(&claim->woken, 0);
}

int sync_enlist(struct sync *sync, struct waiters *queue, struct stay *stay, const char *what,
                bool interruptible)
{
    bool is_task = hub_self() != NULL;

    if (!is_task && !sync_is_shared(sync))
        return runtime_no_hub();
    stay->waiter.claim = NULL;
    if (sync_is_shared(sync)) {
        claim_init(&stay->claim, true);
        stay->waiter.claim = &stay->claim;
    }
    if (is_task)
        wait_prepare(&stay->wait, what, interruptible);
    waiter_enlist(&stay->waiter, sync, queue, is_task ? &stay->wait : NULL);
    return 0;
}

int sync_stay(struct stay *stay)
{
    if (!hub_self()) {
        claim_await(&stay->claim);
        return 0;
    }
    wait_park(&stay->wait);
    return stay->waiter.served ? 0 : wait_outcome(&stay->wait);
}

int sync_park(struct sync *sync, struct waiters *queue, struct stay *stay, const char *what,
              bool interruptible)
{
    int error = sync_enlist(sync, queue, stay, what, interruptible);

    sync_leave(sync);
    return error < 0 ? error : sync_stay(stay);
}
