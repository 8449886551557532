/* The set-up of a ring by a kernel that knows fewer flags, and is less generous, than the one it runs
 * on: the linker puts these functions between uring/ring.c and liburing. What a refused start says is
 * in tests/api/refused.c. */
#include "uring/ring.h"

#include "tests/support/logged.h"
#include "uring/provided.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <greenring/greenring.h>
#include <stdlib.h>

enum { TRIES_MAX = 8 };

static const unsigned best = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER |
                             IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
                             IORING_SETUP_CQSIZE;

static unsigned unknown_flags; /* to the kernel: EINVAL */
static int refusal;            /* of every set-up, -errno */
static int cap_error, register_ring_error;

static unsigned tried[TRIES_MAX], try_count, cq_entries_asked;

int __real_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *params);
int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *params);
int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *params)
{
    cr_assert_lt(try_count, TRIES_MAX);
    tried[try_count++] = params->flags;
    cq_entries_asked = params->cq_entries;
    if (refusal)
        return refusal;
    return params->flags & unknown_flags ? -EINVAL
                                         : __real_io_uring_queue_init_params(entries, ring, params);
}

int __real_io_uring_register_iowq_max_workers(struct io_uring *ring, unsigned *values);
int __wrap_io_uring_register_iowq_max_workers(struct io_uring *ring, unsigned *values);
int __wrap_io_uring_register_iowq_max_workers(struct io_uring *ring, unsigned *values)
{
    return cap_error ? cap_error : __real_io_uring_register_iowq_max_workers(ring, values);
}

int __real_io_uring_register_ring_fd(struct io_uring *ring);
int __wrap_io_uring_register_ring_fd(struct io_uring *ring);
int __wrap_io_uring_register_ring_fd(struct io_uring *ring)
{
    return register_ring_error ? register_ring_error : __real_io_uring_register_ring_fd(ring);
}

static int enter_results[4]; /* of the next enters, -errno; 0: the kernel's own */
static unsigned enters;

int __real_io_uring_enter2(unsigned fd, unsigned submit, unsigned wait, unsigned flags,
                           sigset_t *arg, size_t size);
int __wrap_io_uring_enter2(unsigned fd, unsigned submit, unsigned wait, unsigned flags,
                           sigset_t *arg, size_t size);
int __wrap_io_uring_enter2(unsigned fd, unsigned submit, unsigned wait, unsigned flags,
                           sigset_t *arg, size_t size)
{
    int result = enters < 4 ? enter_results[enters] : 0;

    enters++;
    return result ? result : __real_io_uring_enter2(fd, submit, wait, flags, arg, size);
}

static struct ring ring;

/* What is denied by hand would be passed over; here the kernel says what there is. */
static void deny_nothing(void)
{
    unsetenv("GRING_WITHOUT");
}

TestSuite(ring, .init = deny_nothing);
TestSuite(provided, .init = deny_nothing);

static void expect_one_nop(void)
{
    struct io_uring_sqe sqe = { .opcode = IORING_OP_NOP, .user_data = 7 };
    struct io_uring_cqe cqe;

    cr_assert(ring_push(&ring, &sqe));
    cr_assert_eq(ring_unsubmitted(&ring), 1);
    cr_assert_eq(ring_unsubmitted_at(&ring, 0)->user_data, 7);
    cr_assert_null(ring_unsubmitted_at(&ring, 1));
    cr_assert_eq(ring_enter(&ring, CLOCK_FOREVER), 0);
    cr_assert_eq(ring_unsubmitted(&ring), 0);
    cr_assert_eq(ring_reap(&ring, &cqe, 1), 1);
    cr_assert_eq(cqe.user_data, 7);
    cr_assert_eq(cqe.res, 0);
}

static void expect_a_ring_that_works(void)
{
    cr_assert_eq(ring_open(&ring, 4), 0);
    expect_one_nop();
    ring_close(&ring);
}

Test(ring, has_the_best_flags_where_they_are_offered)
{
    expect_a_ring_that_works();
    cr_assert_eq(try_count, 1);
    cr_assert_eq(tried[0], best);
    cr_assert(ring_has(&ring, FEATURE_SINGLE_ISSUER));
    cr_assert(ring_has(&ring, FEATURE_DEFER_TASKRUN));
}

Test(ring, does_without_DEFER_TASKRUN_and_keeps_SINGLE_ISSUER)
{
    unknown_flags = IORING_SETUP_DEFER_TASKRUN;
    expect_a_ring_that_works();
    cr_assert_eq(try_count, 2);
    cr_assert(tried[1] & IORING_SETUP_SINGLE_ISSUER);
    cr_assert(ring_has(&ring, FEATURE_SINGLE_ISSUER));
    cr_assert_not(ring_has(&ring, FEATURE_DEFER_TASKRUN));
}

Test(ring, does_without_SINGLE_ISSUER)
{
    unknown_flags = IORING_SETUP_SINGLE_ISSUER;
    expect_a_ring_that_works();
    cr_assert(tried[try_count - 1] & IORING_SETUP_COOP_TASKRUN);
    cr_assert_not(ring_has(&ring, FEATURE_SINGLE_ISSUER));
}

Test(ring, does_with_SUBMIT_ALL_alone)
{
    unknown_flags = ~(IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE);
    expect_a_ring_that_works();
    cr_assert_eq(tried[try_count - 1], IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE);
}

Test(ring, is_EINVAL_when_no_flags_are_few_enough)
{
    logged_start();
    unknown_flags = IORING_SETUP_SUBMIT_ALL;
    cr_assert_eq(ring_open(&ring, 4), -EINVAL);
    cr_assert_eq(try_count, 4);
    cr_assert_eq(logged_with("io_uring_setup"), 1);
}

/* Only EINVAL says that a flag is not known: who was refused for another reason would be again. */
Test(ring, other_refusals_are_not_tried_again)
{
    logged_start();
    refusal = -ENOMEM;
    cr_assert_eq(ring_open(&ring, 4), -ENOMEM);
    cr_assert_eq(try_count, 1);
    cr_assert_eq(logged.count, 1);
}

Test(ring, has_a_CQ_of_eight_times_the_SQ_within_bounds)
{
    const struct {
        unsigned sq, cq;
    } sizes[] = { { 1, 4096 }, { 512, 4096 }, { 1024, 8192 }, { 8192, 65536 }, { 32768, 65536 } };

    for (size_t index = 0; index < sizeof sizes / sizeof sizes[0]; index++) {
        try_count = 0;
        cr_assert_eq(ring_open(&ring, sizes[index].sq), 0, "%u entries", sizes[index].sq);
        cr_expect_eq(cq_entries_asked, sizes[index].cq, "%u entries", sizes[index].sq);
        cr_expect_eq(ring.uring.cq.ring_entries, sizes[index].cq);
        ring_close(&ring);
    }
}

Test(ring, bounds_the_workers_of_the_kernel)
{
    unsigned caps[2] = { 0, 0 };

    cr_assert_eq(ring_open(&ring, 4), 0);
    cr_assert(ring_has(&ring, FEATURE_IOWQ_CAPS));
    cr_assert_eq(__real_io_uring_register_iowq_max_workers(&ring.uring, caps), 0);
    cr_assert_eq(caps[0], 8);
    if (probe_pipe_nowait())
        cr_assert_eq(caps[1], 32);
    ring_close(&ring);
}

Test(ring, works_where_workers_cannot_be_bounded_nor_the_ring_be_registered)
{
    cap_error = register_ring_error = -EINVAL;
    expect_a_ring_that_works();
    cr_assert_not(ring_has(&ring, FEATURE_IOWQ_CAPS));
    cr_assert_not(ring_has(&ring, FEATURE_REGISTERED_RING));
}

/* Its own would show up in ours. */
Test(ring, descriptor_closes_on_exec)
{
    cr_assert_eq(ring_open(&ring, 4), 0);
    cr_assert(fcntl(ring_descriptor(&ring), F_GETFD) & FD_CLOEXEC);
    ring_close(&ring);
}

/* ---- a kernel that lacks memory for a moment ------------------------------------------------- */

Test(ring, without_memory_in_the_kernel_asks_to_be_entered_again)
{
    const int told[] = { -ENOMEM, -EAGAIN, -EINTR, -ETIME };
    const int expected[] = { -EAGAIN, -EAGAIN, -EINTR, 0 };

    cr_assert_eq(ring_open(&ring, 4), 0);
    for (int index = 0; index < 4; index++)
        enter_results[index] = told[index];
    enters = 0;
    for (int index = 0; index < 4; index++)
        cr_expect_eq(ring_enter(&ring, 0), expected[index], "%s", strerror(-told[index]));
    expect_one_nop();
    ring_close(&ring);
}

static void *read_amid_refusals(void *unused)
{
    char buf[4];
    int ends[2];

    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    cr_assert_eq(write(ends[1], "abc", 3), 3);
    for (int index = 0; index < 4; index++)
        enter_results[index] = index == 1 ? -ENOMEM : -EAGAIN;
    enters = 0;
    cr_assert_eq(gring_read(ends[0], buf, sizeof buf), 3);
    cr_assert_gt(enters, 4);
    return unused;
}

/* What was queued is still there, and goes when the kernel has found some. */
Test(hub, enters_again_until_the_kernel_has_memory_for_its_requests)
{
    cr_assert_eq(gring_run(read_amid_refusals, NULL, NULL), 0);
}

/* ---- a pool of buffers ------------------------------------------------------------------------- */

/* The kernel wants a power of two. */
Test(provided, refused_by_the_kernel_leaves_nothing_behind)
{
    struct provided provided = { 0 };

    cr_assert_eq(ring_open(&ring, 4), 0);
    cr_assert_eq(provided_open(&provided, &ring, 3), -EINVAL);
    cr_assert_not(ring_has(&ring, FEATURE_BUFFER_RING));
    cr_assert_null(provided.shared);
    provided_close(&provided, &ring);
    cr_assert_eq(provided_open(&provided, &ring, 4), 0);
    provided_close(&provided, &ring);
    ring_close(&ring);
}
