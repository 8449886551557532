/*
 * A ring that does what the test says: the functions of uring/ring.h, in place of the real ones.
 *
 * It keeps what was pushed, takes as much at each enter as the script allows, and completes what
 * the test tells it to. So every answer a kernel may give, however rare, can be given: a full SQ, a
 * partial submit, EAGAIN, EBUSY and EINTR from enter, -EAGAIN and -EINTR in completions, cancels
 * that win, lose or find no room.
 *
 * For one file of a program: it defines what it declares.
 */
#ifndef TESTS_SUPPORT_FAKE_RING_H
#define TESTS_SUPPORT_FAKE_RING_H

#include "base/check.h"
#include "uring/ring.h"

#include <string.h>

enum { SQ_ROOM_MAX = 64, TAKEN_MAX = 16384, CQ_ROOM = 16384 };
enum { FENCE_MARK = 2, HELD_FENCE = 255 }; /* of its user_data; its opcode among what is taken */

static struct {
    struct io_uring_sqe sq[SQ_ROOM_MAX]; /* pushed, not taken by the "kernel" */
    unsigned sq_count, sq_room;

    struct io_uring_sqe
        taken[TAKEN_MAX]; /* in the kernel's hands, in order; user_data 0 once completed */
    unsigned taken_count;

    struct io_uring_cqe cq[CQ_ROOM];
    unsigned cq_head, cq_tail;

    unsigned takes_at_most; /* of the next enters: a partial submit */
    int enter_error;        /* what they say then, and they take nothing */
    unsigned errors_left;
    gring_ns last_wait;
    unsigned enters;
    /* told of what an enter takes, and what it took before that */
    void (*on_take)(const struct io_uring_sqe *sqe, const struct io_uring_sqe *before);
} fake;

int ring_open(struct ring *ring, unsigned entries)
{
    memset(ring, 0, sizeof *ring);
    memset(&fake, 0, sizeof fake);
    fake.sq_room = entries;
    fake.takes_at_most = SQ_ROOM_MAX;
    return 0;
}

void ring_close(struct ring *ring)
{
    (void)ring;
}

bool ring_push(struct ring *ring, const struct io_uring_sqe *sqe)
{
    (void)ring;
    if (fake.sq_count == fake.sq_room)
        return false;
    fake.sq[fake.sq_count++] = *sqe;
    return true;
}

unsigned ring_unsubmitted(const struct ring *ring)
{
    (void)ring;
    return fake.sq_count;
}

struct io_uring_sqe *ring_unsubmitted_at(struct ring *ring, unsigned index)
{
    (void)ring;
    return index < fake.sq_count ? &fake.sq[index] : NULL;
}

bool ring_wants_enter(const struct ring *ring)
{
    (void)ring;
    return false;
}

bool ring_has_completions(const struct ring *ring)
{
    (void)ring;
    return fake.cq_head != fake.cq_tail;
}

static inline void fake_post_flags(uint64_t user_data, int result, uint32_t flags)
{
    fake.cq[fake.cq_tail++ % CQ_ROOM] =
        (struct io_uring_cqe){ .user_data = user_data, .res = result, .flags = flags };
}

static inline void fake_post(uint64_t user_data, int result)
{
    fake_post_flags(user_data, result, 0);
}

static inline bool is_fence(const struct io_uring_sqe *sqe)
{
    return sqe->user_data & FENCE_MARK;
}

/* A NOP completes at once, and is not kept; a fence that is linked behind its op is. */
static void fake_take(const struct io_uring_sqe *sqe, const struct io_uring_sqe *before)
{
    CHECK_SAY(fake.taken_count < TAKEN_MAX, "forget what is completed");
    if (sqe->opcode == IORING_OP_NOP && !(before && is_fence(sqe))) {
        fake_post(sqe->user_data, 0);
        return;
    }
    fake.taken[fake.taken_count] = *sqe;
    if (is_fence(sqe))
        fake.taken[fake.taken_count].opcode = HELD_FENCE;
    fake.taken_count++;
}

static void fake_last_link_ends(void)
{
    if (fake.taken_count)
        fake.taken[fake.taken_count - 1].flags &= (uint8_t) ~(IOSQE_IO_LINK | IOSQE_IO_HARDLINK);
}

int ring_enter(struct ring *ring, gring_ns wait_ns)
{
    unsigned count = fake.sq_count < fake.takes_at_most ? fake.sq_count : fake.takes_at_most;

    (void)ring;
    fake.enters++;
    fake.last_wait = wait_ns;
    if (fake.errors_left > 0 && fake.errors_left--)
        return fake.enter_error;
    for (unsigned index = 0; index < count; index++) {
        const struct io_uring_sqe *before = index ? &fake.sq[index - 1] : NULL;

        if (fake.on_take)
            fake.on_take(&fake.sq[index], before);
        fake_take(&fake.sq[index], before);
    }
    if (count) /* a link to what the next enter brings is none */
        fake_last_link_ends();
    memmove(fake.sq, fake.sq + count, (fake.sq_count - count) * sizeof *fake.sq);
    fake.sq_count -= count;
    return 0;
}

unsigned ring_reap(struct ring *ring, struct io_uring_cqe *cqes, unsigned max)
{
    unsigned count = 0;

    (void)ring;
    while (count < max && fake.cq_head != fake.cq_tail)
        cqes[count++] = fake.cq[fake.cq_head++ % CQ_ROOM];
    return count;
}

/* Completes the SQE that the kernel took as number `index`. */
static inline void kernel_completes_with(unsigned index, int result, uint32_t flags)
{
    CHECK_SAY(index < fake.taken_count, "the kernel has not taken so many");
    CHECK_SAY(fake.taken[index].opcode != IORING_OP_NOP, "it was completed already");
    fake_post_flags(fake.taken[index].user_data, result, flags);
    fake.taken[index].opcode = IORING_OP_NOP;
}

static inline void kernel_completes(unsigned index, int result)
{
    kernel_completes_with(index, result, 0);
}

/* Forgets what is completed, so that the list of what the kernel has stays short. */
static inline void forget_completed(void)
{
    unsigned kept = 0;

    for (unsigned index = 0; index < fake.taken_count; index++)
        if (fake.taken[index].opcode != IORING_OP_NOP)
            fake.taken[kept++] = fake.taken[index];
    fake.taken_count = kept;
}

#endif
