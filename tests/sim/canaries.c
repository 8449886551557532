/*
 * Bugs that the simulator must find, or it finds nothing: each breaks one promise of the library,
 * rarely enough to be a bug that tests miss. They live in a program of their own, sim_canaries,
 * where the linker puts these functions around the library's (--wrap), so that production code has
 * no trace of them. GRING_CANARY names the one that lives.
 */
#include "api/io/readiness.h"
#include "api/io/splice.h"
#include "api/sync/sync.h"
#include "runtime/hub.h"
#include "runtime/mailbox.h"
#include "runtime/wait.h"
#include "runtime/wheel.h"
#include "tests/sim/sim.h"
#include "uring/buffers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In the order of the names below. */
enum canary {
    NONE,
    EARLY_RETURN,
    RESULT_DROPPED,
    ACCEPT_LEAKED,
    LOST_WAKE,
    EARLY_TIMER,
    CANCEL_FORGOTTEN,
    WITHDRAW_FORGETS,
    SHORT_WRITE,
    KILL_IGNORED,
    CLAIM_IGNORED,
    OVERTAKEN,
    WAKE_DROPPED,
    BUFFER_TWICE,
    BUFFER_LOST,
    ZERO_COPY_EARLY,
    CHAIN_CUT,
    PASSED_LEAKED,
    PASSED_TWICE,
    SOURCE_DROPPED,
    TAIL_LOST,
    FENCE_LOOSE
};

static const char *const names[] = {
    "none",         "early_return",  "result_dropped",   "accept_leaked",
    "lost_wake",    "early_timer",   "cancel_forgotten", "withdraw_forgets",
    "short_write",  "kill_ignored",  "claim_ignored",    "overtaken",
    "wake_dropped", "buffer_twice",  "buffer_lost",      "zero_copy_early",
    "chain_cut",    "passed_leaked", "passed_twice",     "source_dropped",
    "tail_lost",    "fence_loose"
};

static enum canary alive;

__attribute__((constructor)) static void choose(void)
{
    const char *name = getenv("GRING_CANARY");

    for (size_t index = 0; index < sizeof names / sizeof names[0]; index++)
        if (name && strcmp(names[index], name) == 0) {
            alive = (enum canary)index;
            return;
        }
    fprintf(stderr, "GRING_CANARY must name one of:");
    for (size_t index = 0; index < sizeof names / sizeof names[0]; index++)
        fprintf(stderr, " %s", names[index]);
    fprintf(stderr, "\n");
    exit(2);
}

static bool sings(enum canary canary)
{
    return alive == canary && sim_chance(300);
}

/* ---- what a call returns --------------------------------------------------------------------- */

int __real_await(struct op *op, const char *what);
int __wrap_await(struct op *op, const char *what);

static bool is_killed(void)
{
    return hub_self()->running->interrupts & INTERRUPT_KILL;
}

static bool is_write(const struct op *op)
{
    return op->sqe.opcode == IORING_OP_SEND || op->sqe.opcode == IORING_OP_WRITE;
}

static bool is_message(const struct op *op, unsigned opcode)
{
    return op->sqe.opcode == opcode && ((struct msghdr *)(uintptr_t)op->sqe.addr)->msg_controllen;
}

int __wrap_await(struct op *op, const char *what)
{
    int result;

    if (is_message(op, IORING_OP_SENDMSG) && sings(PASSED_TWICE))
        op->sqe.msg_flags |= MSG_WAITALL; /* each part takes the descriptors along */
    result = __real_await(op, what);
    if (result > 0 && is_message(op, IORING_OP_RECVMSG) && is_killed() && sings(PASSED_LEAKED))
        ((struct msghdr *)(uintptr_t)op->sqe.addr)->msg_controllen = 0; /* nobody closes it */
    if (result > 0 && op->sqe.opcode == IORING_OP_RECV && is_killed() && sings(RESULT_DROPPED))
        return -ECANCELED; /* the bytes are gone */
    if (result >= 0 && op->sqe.opcode == IORING_OP_ACCEPT && is_killed() && sings(ACCEPT_LEAKED))
        return -ECANCELED; /* nobody closes it */
    if (result > 0 && is_write(op) && sings(SHORT_WRITE))
        return (int)op->sqe.len; /* "it was all written" */
    return result;
}

int __real_splice_some(struct transfer transfer);
int __wrap_splice_some(struct transfer transfer);

/* A part is taken for all: the rest stays in the pipe of gring_sendfile. */
int __wrap_splice_some(struct transfer transfer)
{
    int result = __real_splice_some(transfer);

    return result > 0 && sings(TAIL_LOST) ? (int)transfer.size : result;
}

/* ---- how a wait ends ------------------------------------------------------------------------- */

void __real_wait_hold(struct wait *wait, struct source *source, void (*withdraw)(struct source *));
void __wrap_wait_hold(struct wait *wait, struct source *source, void (*withdraw)(struct source *));
void __real_wait_interrupt(struct wait *wait, int error);
void __wrap_wait_interrupt(struct wait *wait, int error);

/* The task goes on; the op is still the kernel's, the waiter still in its queue. */
static void forget(struct source *source)
{
    source_done(source);
}

void __wrap_wait_hold(struct wait *wait, struct source *source, void (*withdraw)(struct source *))
{
    bool is_op = wait->fd >= 0;

    __real_wait_hold(wait, source,
                     sings(is_op ? EARLY_RETURN : WITHDRAW_FORGETS) ? forget : withdraw);
}

void __wrap_wait_interrupt(struct wait *wait, int error)
{
    if (!sings(KILL_IGNORED))
        __real_wait_interrupt(wait, error);
}

/* ---- readiness ------------------------------------------------------------------------------- */

void __real_readiness_enlist(struct wait *wait, struct readiness *ready, int fd, short events);
void __wrap_readiness_enlist(struct wait *wait, struct readiness *ready, int fd, short events);

/* One of several is not watched. */
void __wrap_readiness_enlist(struct wait *wait, struct readiness *ready, int fd, short events)
{
    bool drops = wait->held_count > 0 && sings(SOURCE_DROPPED);

    __real_readiness_enlist(wait, ready, fd, drops ? 0 : events);
}

/* ---- serving --------------------------------------------------------------------------------- */

struct waiter *__real_sync_serve_first(struct waiters *waiters, struct woken *woken);
struct waiter *__wrap_sync_serve_first(struct waiters *waiters, struct woken *woken);
void __real_sync_wake_all(struct waiter *first);
void __wrap_sync_wake_all(struct waiter *first);

/* Another of the same choose was served: both are. */
static void reopen_claim(struct waiter *first)
{
    if (first->claim && atomic_load(&first->claim->winner) && sings(CLAIM_IGNORED))
        atomic_store(&first->claim->winner, NULL);
}

/* The youngest comes before the oldest. */
static void let_overtake(struct waiters *waiters)
{
    struct waiter *last = waiters->last;

    if (!last->prev || !sings(OVERTAKEN))
        return;
    waiters->last = last->prev;
    last->prev->next = NULL;
    last->prev = NULL;
    last->next = waiters->first;
    waiters->first->prev = last;
    waiters->first = last;
}

struct waiter *__wrap_sync_serve_first(struct waiters *waiters, struct woken *woken)
{
    reopen_claim(waiters->first);
    let_overtake(waiters);
    return __real_sync_serve_first(waiters, woken);
}

/* Served, and never told. */
void __wrap_sync_wake_all(struct waiter *first)
{
    if (!sings(WAKE_DROPPED))
        __real_sync_wake_all(first);
}

/* ---- sleeping -------------------------------------------------------------------------------- */

bool __real_mailbox_may_sleep(struct mailbox *mailbox, struct ops *ops);
bool __wrap_mailbox_may_sleep(struct mailbox *mailbox, struct ops *ops);
void __real_wheel_arm(struct wheel *wheel, struct timer *timer, gring_ns when);
void __wrap_wheel_arm(struct wheel *wheel, struct timer *timer, gring_ns when);

/* Looks at the mail first and announces the sleep then. */
bool __wrap_mailbox_may_sleep(struct mailbox *mailbox, struct ops *ops)
{
    bool is_empty = mpsc_empty(&mailbox->queue);

    if (alive != LOST_WAKE)
        return __real_mailbox_may_sleep(mailbox, ops);
    (void)__real_mailbox_may_sleep(mailbox, ops);
    atomic_store(&mailbox->asleep, is_empty);
    return is_empty;
}

void __wrap_wheel_arm(struct wheel *wheel, struct timer *timer, gring_ns when)
{
    bool early = when > WHEEL_TICK_NS && when < CLOCK_FOREVER && sings(EARLY_TIMER);

    __real_wheel_arm(wheel, timer, early ? when - WHEEL_TICK_NS : when);
}

/* ---- cancelling ------------------------------------------------------------------------------ */

unsigned __real_ring_reap(struct ring *ring, struct io_uring_cqe *cqes, unsigned max);
unsigned __wrap_ring_reap(struct ring *ring, struct io_uring_cqe *cqes, unsigned max);

/* "Found nothing" is taken for "was told": bit 0 of user_data marks the answer to a cancel. */
static void forget_cancels(struct io_uring_cqe *cqes, unsigned count)
{
    for (unsigned index = 0; index < count; index++)
        if (cqes[index].user_data & 1 && cqes[index].res == -ENOENT)
            cqes[index].res = -EALREADY;
}

/* A zero-copy send is done with its result; nobody waits for the notification. */
static unsigned hide_notifications(struct io_uring_cqe *cqes, unsigned count)
{
    unsigned kept = 0;

    for (unsigned index = 0; index < count; index++) {
        if (cqes[index].flags & IORING_CQE_F_NOTIF)
            continue;
        cqes[kept] = cqes[index];
        cqes[kept++].flags &= ~IORING_CQE_F_MORE;
    }
    return kept;
}

unsigned __wrap_ring_reap(struct ring *ring, struct io_uring_cqe *cqes, unsigned max)
{
    unsigned count = __real_ring_reap(ring, cqes, max);

    if (alive == CANCEL_FORGOTTEN)
        forget_cancels(cqes, count);
    return alive == ZERO_COPY_EARLY ? hide_notifications(cqes, count) : count;
}

/* ---- chains ---------------------------------------------------------------------------------- */

struct io_uring_sqe *__real_ring_unsubmitted_at(struct ring *ring, unsigned index);
struct io_uring_sqe *__wrap_ring_unsubmitted_at(struct ring *ring, unsigned index);

/* What is left of a chain in the SQ is run, whatever became of its beginning. */
struct io_uring_sqe *__wrap_ring_unsubmitted_at(struct ring *ring, unsigned index)
{
    return alive == CHAIN_CUT ? NULL : __real_ring_unsubmitted_at(ring, index);
}

/* ---- fences ---------------------------------------------------------------------------------- */

bool __real_ring_push(struct ring *ring, const struct io_uring_sqe *sqe);
bool __wrap_ring_push(struct ring *ring, const struct io_uring_sqe *sqe);

/* The fence does not wait for its op. */
bool __wrap_ring_push(struct ring *ring, const struct io_uring_sqe *sqe)
{
    struct io_uring_sqe loose = *sqe;

    if (alive == FENCE_LOOSE)
        loose.flags &= (uint8_t)~IOSQE_IO_HARDLINK;
    return __real_ring_push(ring, &loose);
}

/* ---- buffers --------------------------------------------------------------------------------- */

void __real_provided_add(struct provided *provided, void *start, unsigned size, uint16_t id);
void __wrap_provided_add(struct provided *provided, void *start, unsigned size, uint16_t id);
void __real_buffers_return(struct buffers *buffers, unsigned index);
void __wrap_buffers_return(struct buffers *buffers, unsigned index);

void __wrap_provided_add(struct provided *provided, void *start, unsigned size, uint16_t id)
{
    __real_provided_add(provided, start, size, id);
    if (sings(BUFFER_TWICE))
        __real_provided_add(provided, start, size, id);
}

void __wrap_buffers_return(struct buffers *buffers, unsigned index)
{
    if (!sings(BUFFER_LOST))
        __real_buffers_return(buffers, index);
}
