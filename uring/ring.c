/* Set-up, the two queues and the one place that enters the kernel; see ring.h. */
#include "uring/ring.h"

#include "base/check.h"
#include "base/log.h"
#include "uring/refusal.h"

#include <errno.h>
#include <linux/time_types.h>
#include <string.h>
#include <unistd.h>

/* Newer than liburing 2.3's header; each line goes when the header has it. */
#ifndef IORING_FEAT_NO_IOWAIT
#define IORING_FEAT_NO_IOWAIT (1U << 17)
#endif
#ifndef IORING_ENTER_NO_IOWAIT
#define IORING_ENTER_NO_IOWAIT (1U << 7)
#endif

enum {
    CQ_FACTOR = 8,
    CQ_MIN = 4096,
    CQ_MAX = 65536,        /* the kernel's own maximum */
    OPCODES_ASKED = 256,   /* more than any kernel has */
    WORKERS_BOUNDED = 8,   /* regular files */
    WORKERS_UNBOUNDED = 32 /* everything that is neither pollable nor a regular file; see probe.h */
};

static const unsigned needed_features = IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE |
                                        IORING_FEAT_RW_CUR_POS | IORING_FEAT_FAST_POLL |
                                        IORING_FEAT_EXT_ARG;

static const uint8_t needed_opcodes[] = {
    IORING_OP_READ,      IORING_OP_WRITE,   IORING_OP_READV,    IORING_OP_WRITEV,
    IORING_OP_FSYNC,     IORING_OP_OPENAT,  IORING_OP_CLOSE,    IORING_OP_SEND,
    IORING_OP_RECV,      IORING_OP_SENDMSG, IORING_OP_RECVMSG,  IORING_OP_ACCEPT,
    IORING_OP_CONNECT,   IORING_OP_STATX,   IORING_OP_POLL_ADD, IORING_OP_ASYNC_CANCEL,
    IORING_OP_SPLICE,    IORING_OP_FADVISE, IORING_OP_RENAMEAT, IORING_OP_SYNC_FILE_RANGE,
    IORING_OP_LINKAT,    IORING_OP_MKDIRAT, IORING_OP_UNLINKAT, IORING_OP_FALLOCATE,
    IORING_OP_SYMLINKAT,
};

static unsigned cq_entries(unsigned sq_entries)
{
    unsigned wanted = sq_entries > CQ_MAX / CQ_FACTOR ? CQ_MAX : sq_entries * CQ_FACTOR;

    return wanted < CQ_MIN ? CQ_MIN : wanted;
}

static int set_up(struct ring *ring, unsigned entries, unsigned flags)
{
    struct io_uring_params params = { .flags = flags | IORING_SETUP_CQSIZE,
                                      .cq_entries = cq_entries(entries) };

    memset(&ring->uring, 0, sizeof ring->uring);
    return io_uring_queue_init_params(entries, &ring->uring, &params);
}

/* From the best set of flags to none; EINVAL means that the kernel does not know one of them. */
static int set_up_best(struct ring *ring, unsigned entries)
{
    const unsigned deferred =
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
    const unsigned cooperative = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
    const struct {
        unsigned flags, features;
    } choices[] = {
        { IORING_SETUP_SUBMIT_ALL | deferred,
          1u << FEATURE_SINGLE_ISSUER | 1u << FEATURE_DEFER_TASKRUN },
        { IORING_SETUP_SUBMIT_ALL | cooperative | IORING_SETUP_SINGLE_ISSUER,
          1u << FEATURE_SINGLE_ISSUER },
        { IORING_SETUP_SUBMIT_ALL | cooperative, 0 },
        { IORING_SETUP_SUBMIT_ALL, 0 },
    };
    unsigned denied = (unsigned)feature_denied(FEATURE_SINGLE_ISSUER) << FEATURE_SINGLE_ISSUER |
                      (unsigned)feature_denied(FEATURE_DEFER_TASKRUN) << FEATURE_DEFER_TASKRUN;
    int error = -EINVAL;

    for (unsigned index = 0; index < sizeof choices / sizeof choices[0] && error == -EINVAL;
         index++) {
        if (choices[index].features & denied)
            continue;
        error = set_up(ring, entries, choices[index].flags);
        ring->features = choices[index].features;
    }
    return error;
}

/* -ENOSYS: a needed one is missing. `features` knows of those that are not needed. */
static int ask_opcodes(struct ring *ring)
{
    union {
        struct io_uring_probe probe;
        char room[sizeof(struct io_uring_probe) + OPCODES_ASKED * sizeof(struct io_uring_probe_op)];
    } answer = { .room = "" };
    int error = io_uring_register_probe(&ring->uring, &answer.probe, OPCODES_ASKED);

    if (error < 0)
        return error;
    for (unsigned index = 0; index < sizeof needed_opcodes; index++)
        if (!io_uring_opcode_supported(&answer.probe, needed_opcodes[index]))
            return -ENOSYS;
    if (!feature_denied(FEATURE_FTRUNCATE) &&
        io_uring_opcode_supported(&answer.probe, OPCODE_FTRUNCATE))
        ring->features |= 1u << FEATURE_FTRUNCATE;
    return 0;
}

static void register_ring(struct ring *ring)
{
    if (!feature_denied(FEATURE_REGISTERED_RING) && io_uring_register_ring_fd(&ring->uring) == 1)
        ring->features |= 1u << FEATURE_REGISTERED_RING;
}

/* 0 leaves the kernel's own bound, the number of processes allowed; see probe_pipe_nowait. */
static void cap_workers(struct ring *ring)
{
    unsigned caps[2] = { WORKERS_BOUNDED, probe_pipe_nowait() ? WORKERS_UNBOUNDED : 0 };

    if (!feature_denied(FEATURE_IOWQ_CAPS) &&
        io_uring_register_iowq_max_workers(&ring->uring, caps) == 0)
        ring->features |= 1u << FEATURE_IOWQ_CAPS;
}

/* The SQ's index array maps slot i to SQE i for good. */
static void fill_index_array(struct ring *ring)
{
    for (unsigned slot = 0; slot < ring->uring.sq.ring_entries; slot++)
        ring->uring.sq.array[slot] = slot;
}

static void choose_enter_flags(struct ring *ring)
{
    if (!feature_denied(FEATURE_NO_IOWAIT) && ring->uring.features & IORING_FEAT_NO_IOWAIT) {
        ring->features |= 1u << FEATURE_NO_IOWAIT;
        ring->enter_flags |= IORING_ENTER_NO_IOWAIT;
    }
    if (ring_has(ring, FEATURE_REGISTERED_RING))
        ring->enter_flags |= IORING_ENTER_REGISTERED_RING;
}

/* A filter may allow the set-up and yet refuse the other two calls; better said now than met
 * later. */
static int try_other_calls(struct ring *ring)
{
    int error = io_uring_enter((unsigned)ring->uring.ring_fd, 0, 0, 0, NULL);

    if (error < 0) {
        refusal_report("io_uring_enter", error);
        return error;
    }
    error = ~ring->uring.features & needed_features ? -ENOSYS : ask_opcodes(ring);
    if (error < 0)
        refusal_report("io_uring_register", error);
    return error;
}

int ring_open(struct ring *ring, unsigned entries)
{
    int error;

    memset(ring, 0, sizeof *ring);
    error = set_up_best(ring, entries);
    if (error < 0) {
        refusal_report("io_uring_setup", error);
        return error;
    }
    error = try_other_calls(ring);
    if (error < 0) {
        io_uring_queue_exit(&ring->uring);
        return error;
    }
    io_uring_ring_dontfork(&ring->uring); /* a child's SQE would show up in our SQ */
    register_ring(ring);
    cap_workers(ring);
    fill_index_array(ring);
    choose_enter_flags(ring);
    return 0;
}

void ring_close(struct ring *ring)
{
    if (ring_has(ring, FEATURE_REGISTERED_RING))
        io_uring_unregister_ring_fd(&ring->uring);
    io_uring_queue_exit(&ring->uring);
}

/* ---- the submission queue -------------------------------------------------------------------- */

static unsigned load_acquire(const unsigned *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

unsigned ring_unsubmitted(const struct ring *ring)
{
    return ring->uring.sq.sqe_tail - load_acquire(ring->uring.sq.khead);
}

struct io_uring_sqe *ring_unsubmitted_at(struct ring *ring, unsigned index)
{
    struct io_uring_sq *sq = &ring->uring.sq;
    unsigned count = ring_unsubmitted(ring);

    return index < count ? &sq->sqes[(sq->sqe_tail - count + index) & sq->ring_mask] : NULL;
}

bool ring_push(struct ring *ring, const struct io_uring_sqe *sqe)
{
    struct io_uring_sq *sq = &ring->uring.sq;

    if (sq->sqe_tail - load_acquire(sq->khead) >= sq->ring_entries)
        return false;
    memcpy(&sq->sqes[sq->sqe_tail & sq->ring_mask], sqe, sizeof *sqe);
    sq->sqe_tail++;
    /* after the SQE: the kernel reads up to here */
    __atomic_store_n(sq->ktail, sq->sqe_tail, __ATOMIC_RELEASE);
    return true;
}

/* ---- entering -------------------------------------------------------------------------------- */

bool ring_wants_enter(const struct ring *ring)
{
    unsigned flags = __atomic_load_n(ring->uring.sq.kflags, __ATOMIC_RELAXED);

    return flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

static int call_enter(struct ring *ring, unsigned to_submit, unsigned wait_count, gring_ns wait_ns)
{
    struct __kernel_timespec limit = { .tv_sec = wait_ns / CLOCK_SECOND,
                                       .tv_nsec = wait_ns % CLOCK_SECOND };
    struct io_uring_getevents_arg arg = {
        .sigmask_sz = _NSIG / 8, .ts = wait_ns < CLOCK_FOREVER ? (uint64_t)(uintptr_t)&limit : 0
    };
    unsigned flags = ring->enter_flags | IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;

    ring->enter_count++;
    return io_uring_enter2((unsigned)ring->uring.enter_ring_fd, to_submit, wait_count, flags,
                           (sigset_t *)&arg, sizeof arg);
}

static void note_overflow(struct ring *ring)
{
    if (__atomic_load_n(ring->uring.sq.kflags, __ATOMIC_RELAXED) & IORING_SQ_CQ_OVERFLOW)
        ring->overflow_count++;
}

static int enter_result(int result)
{
    switch (result) {
    case -ETIME:
        return 0;
    case -ENOMEM:
        return -EAGAIN;
    case -EINTR:
    case -EAGAIN:
    case -EBUSY:
        return result;
    case -EBADR:
        CHECK_SAY(result != -EBADR, "the kernel dropped a completion (EBADR): it is out of memory, "
                                    "and what was lost cannot be found again");
        return result;
    case -EEXIST:
        CHECK_SAY(result != -EEXIST,
                  "the ring was entered by a thread that does not own it (EEXIST)");
        return result;
    default:
        log_line(LOG_ERROR, "io_uring_enter failed: %s", strerror(-result));
        CHECK_SAY(result >= 0, "io_uring_enter refused the ring itself; see the line above");
        return 0;
    }
}

int ring_enter(struct ring *ring, gring_ns wait_ns)
{
    unsigned before = ring_unsubmitted(ring);
    int result;

    note_overflow(ring);
    result = call_enter(ring, before, wait_ns > 0, wait_ns > 0 ? wait_ns : CLOCK_FOREVER);
    ring->submit_count += before - ring_unsubmitted(ring);
    return result >= 0 ? 0 : enter_result(result);
}

/* ---- the completion queue -------------------------------------------------------------------- */

bool ring_has_completions(const struct ring *ring)
{
    return load_acquire(ring->uring.cq.ktail) != *ring->uring.cq.khead;
}

unsigned ring_reap(struct ring *ring, struct io_uring_cqe *cqes, unsigned max)
{
    struct io_uring_cq *cq = &ring->uring.cq;
    unsigned head = *cq->khead;
    unsigned ready = load_acquire(cq->ktail) - head;
    unsigned count = ready < max ? ready : max;

    for (unsigned index = 0; index < count; index++)
        cqes[index] = cq->cqes[(head + index) & cq->ring_mask];
    /* after the copies: the kernel may reuse the slots */
    __atomic_store_n(cq->khead, head + count, __ATOMIC_RELEASE);
    ring->complete_count += count;
    return count;
}
