/*
 * uring/ring.h over the simulated kernel: the two queues, and enter.
 *
 *   push ──► sq ──► enter: takes a part or all ──► requests ──► cq ──► reap
 *                                                               └──► overflow, while cq is full
 */
#include "uring/ring.h"

#include "base/check.h"
#include "base/log.h"
#include "runtime/census.h"
#include "runtime/hub.h"
#include "tests/sim/kernel.h"

#include <errno.h>
#include <string.h>

enum { SQ_ROOM_MAX = 4096, CQ_ROOM_MAX = 65536, ENTERS_MAX = 2000000 };

static struct {
    struct io_uring_sqe sq[SQ_ROOM_MAX];
    unsigned sq_count, sq_room;
    struct io_uring_cqe cq[CQ_ROOM_MAX];
    unsigned cq_head, cq_tail, cq_room; /* head and tail run freely */
    struct io_uring_cqe *overflow;
    size_t overflow_count, overflow_capacity;
    unsigned handed_out; /* completions of this enter */
    bool is_open;
} queues;

/* ---- opening --------------------------------------------------------------------------------- */

int ring_open(struct ring *ring, unsigned entries)
{
    memset(ring, 0, sizeof *ring);
    if (memory_fails())
        return -ENOMEM;
    CHECK(!queues.is_open);
    queues.sq_room = (unsigned)smaller(smaller(entries, SQ_ROOM_MAX), world.mood.sq_room);
    queues.cq_room = (unsigned)smaller(CQ_ROOM_MAX, world.mood.cq_room);
    queues.sq_count = queues.cq_head = queues.cq_tail = 0;
    queues.overflow = NULL;
    queues.overflow_count = queues.overflow_capacity = 0;
    queues.is_open = true;
    ring->features = 1u << FEATURE_SINGLE_ISSUER | 1u << FEATURE_DEFER_TASKRUN;
    if (!feature_denied(FEATURE_FTRUNCATE))
        ring->features |= 1u << FEATURE_FTRUNCATE;
    return 0;
}

void ring_close(struct ring *ring)
{
    (void)ring;
    queues.is_open = false;
    requests_let_go();
    if (request_count() != 0)
        sim_fail("the ring is closed with %u requests in the kernel", request_count());
}

/* ---- the submission queue -------------------------------------------------------------------- */

bool ring_push(struct ring *ring, const struct io_uring_sqe *sqe)
{
    (void)ring;
    threads_run();
    if (queues.sq_count == queues.sq_room) {
        sometimes(SQ_WAS_FULL);
        return false;
    }
    queues.sq[queues.sq_count++] = *sqe;
    return true;
}

unsigned ring_unsubmitted(const struct ring *ring)
{
    (void)ring;
    return queues.sq_count;
}

struct io_uring_sqe *ring_unsubmitted_at(struct ring *ring, unsigned index)
{
    (void)ring;
    return index < queues.sq_count ? &queues.sq[index] : NULL;
}

static unsigned take_submissions(void)
{
    unsigned count = queues.sq_count;

    if (count > 0 && sim_chance(world.mood.partial_submit))
        count = (unsigned)sim_below(count + 1);
    if (count < queues.sq_count)
        sometimes(PART_WAS_SUBMITTED);
    for (unsigned index = 0; index < count; index++)
        request_submit(&queues.sq[index], index + 1 == count);
    queues.sq_count -= count;
    memmove(queues.sq, queues.sq + count, queues.sq_count * sizeof *queues.sq);
    return count;
}

/* ---- the completion queue -------------------------------------------------------------------- */

static unsigned cq_count(void)
{
    return queues.cq_tail - queues.cq_head;
}

static void push_completion(const struct io_uring_cqe *cqe)
{
    queues.cq[queues.cq_tail++ % CQ_ROOM_MAX] = *cqe;
}

static void keep_for_later(const struct io_uring_cqe *cqe)
{
    sometimes(CQ_OVERFLOWED);
    if (queues.overflow_count == queues.overflow_capacity) {
        size_t capacity = queues.overflow_capacity ? 2 * queues.overflow_capacity : 64;
        struct io_uring_cqe *grown = sim_alloc(capacity * sizeof *grown);

        if (queues.overflow_count)
            memcpy(grown, queues.overflow, queues.overflow_count * sizeof *grown);
        queues.overflow = grown;
        queues.overflow_capacity = capacity;
    }
    queues.overflow[queues.overflow_count++] = *cqe;
}

void ring_post(uint64_t user_data, int result, uint32_t flags)
{
    struct io_uring_cqe cqe = { .user_data = user_data, .res = result, .flags = flags };

    queues.handed_out++;
    if (queues.overflow_count || cq_count() == queues.cq_room)
        keep_for_later(&cqe);
    else
        push_completion(&cqe);
}

static void flush_overflow(void)
{
    size_t count = 0;

    while (count < queues.overflow_count && cq_count() < queues.cq_room)
        push_completion(&queues.overflow[count++]);
    queues.overflow_count -= count;
    if (count)
        memmove(queues.overflow, queues.overflow + count,
                queues.overflow_count * sizeof *queues.overflow);
}

bool ring_has_completions(const struct ring *ring)
{
    (void)ring;
    return cq_count() > 0;
}

bool ring_wants_enter(const struct ring *ring)
{
    (void)ring;
    return queues.overflow_count > 0 || agenda_next(&world.kernel) <= world.now;
}

unsigned ring_reap(struct ring *ring, struct io_uring_cqe *cqes, unsigned max)
{
    unsigned count = (unsigned)smaller(cq_count(), max);

    threads_run();
    for (unsigned index = 0; index < count; index++)
        cqes[index] = queues.cq[queues.cq_head++ % CQ_ROOM_MAX];
    ring->complete_count += count;
    return count;
}

/* ---- entering -------------------------------------------------------------------------------- */

static void run_appointment(struct agenda *agenda)
{
    struct appointment next = agenda_take(agenda);

    next.run(next.arg, next.ticket);
}

static bool may_hand_out(void)
{
    return queues.handed_out < world.mood.completions_per_enter;
}

static void run_due(void)
{
    while (agenda_next(&world.kernel) <= world.now && may_hand_out())
        run_appointment(&world.kernel);
}

static gring_ns next_moment(void)
{
    gring_ns in_kernel = agenda_next(&world.kernel), elsewhere = agenda_next(&world.threads);

    return in_kernel < elsewhere ? in_kernel : elsewhere;
}

/* One step towards a completion. */
static void sleep_until(gring_ns moment)
{
    if (moment > world.now)
        world.now = moment;
    if (agenda_next(&world.threads) <= world.now)
        threads_run();
    else
        run_appointment(&world.kernel);
}

static _Noreturn void nobody_can_run(void)
{
    log_set_sink(NULL, NULL);
    census_name_tasks(hub_self());
    sim_fail("every task waits, and nothing is under way in the kernel or elsewhere");
}

static int wait_for_completion(gring_ns wait_ns)
{
    gring_ns deadline = clock_after(world.now, wait_ns);

    while (cq_count() == 0) {
        gring_ns next = next_moment();

        if (next == CLOCK_FOREVER && deadline == CLOCK_FOREVER)
            nobody_can_run();
        if (sim_chance(world.mood.enter_signal))
            return -EINTR;
        if (next > deadline) {
            world.now = clock_after(deadline, sim_duration(world.mood.delay));
            return 0;
        }
        sleep_until(next);
    }
    return 0;
}

/* The answers that take nothing. */
static int refuse_to_enter(void)
{
    if (queues.overflow_count && queues.sq_count && sim_chance(300))
        return -EBUSY;
    if (queues.sq_count && sim_chance(world.mood.enter_error))
        return sim_chance(500) ? -EAGAIN : -EINTR;
    return 0;
}

static int enter(struct ring *ring, gring_ns wait_ns)
{
    int error;
    unsigned taken;

    flush_overflow();
    error = refuse_to_enter();
    if (error < 0)
        return error;
    taken = take_submissions();
    ring->submit_count += taken;
    run_due();
    if (wait_ns <= 0 || queues.sq_count > 0)
        return 0; /* a part was taken: the kernel does not wait then */
    error = wait_for_completion(wait_ns);
    return taken ? 0 : error;
}

static void note_answer(int result)
{
    if (result == -EINTR)
        sometimes(ENTER_SAID_EINTR);
    if (result == -EAGAIN)
        sometimes(ENTER_SAID_EAGAIN);
    if (result == -EBUSY)
        sometimes(ENTER_SAID_EBUSY);
}

int ring_enter(struct ring *ring, gring_ns wait_ns)
{
    int result;

    CHECK(queues.is_open);
    if (++world.enter_count > ENTERS_MAX)
        sim_fail("the run does not end: the ring was entered %d times", ENTERS_MAX);
    ring->enter_count++;
    ring->overflow_count += queues.overflow_count > 0;
    queues.handed_out = 0;
    threads_run();
    result = enter(ring, wait_ns);
    note_answer(result);
    sim_note("enter", wait_ns == CLOCK_FOREVER ? -1 : wait_ns, result, cq_count());
    return result;
}
