/*
 * Receiving into the pool: greenring/uring.h. Each behaviour with the kernel's ring of buffers, and
 * without it.
 */
#include "tests/support/child.h"
#include "tests/support/fds.h"
#include "tests/support/logged.h"

#include <criterion/criterion.h>
#include <greenring/debug.h>
#include <greenring/greenring.h>
#include <greenring/uring.h>
#include <pthread.h>

static void run(gring_fn body)
{
    gring_config config = GRING_CONFIG_INIT;

    config.flags = GRING_RUN_FAKETIME;
    cr_assert_eq(gring_run_with(&config, body, NULL, NULL), 0, "gring_run_with: %m");
}

#define PoolTest(name)                                                                             \
    static void name##_body(void);                                                                 \
    static void *name##_main(void *unused)                                                         \
    {                                                                                              \
        name##_body();                                                                             \
        return unused;                                                                             \
    }                                                                                              \
    Test(buffers, name)                                                                            \
    {                                                                                              \
        run(name##_main);                                                                          \
    }                                                                                              \
    Test(buffers_without_a_ring, name)                                                             \
    {                                                                                              \
        setenv("GRING_WITHOUT", "buffer_ring", 1);                                                 \
        run(name##_main);                                                                          \
    }                                                                                              \
    static void name##_body(void)

static gring_stats stats(void)
{
    gring_stats now = { .size = sizeof now };

    cr_assert_eq(gring_stats_get(&now), 0);
    return now;
}

static void settle(void)
{
    cr_assert_eq(gring_idle(), 0);
}

/* ---- receivers ------------------------------------------------------------------------------- */

enum { RECEIVERS_MAX = 64 };

static struct receiver {
    int fd, peer; /* two ends */
    gring_task *task;
    gring_buf buf;
    ssize_t result;
    int error, place; /* errno; as the how manieth it returned, from 1 */
} receivers[RECEIVERS_MAX];

static int returned_count;

static void *receive(void *arg)
{
    struct receiver *it = arg;

    it->result = gring_recv_buf(it->fd, &it->buf, 0);
    it->error = it->result < 0 ? errno : 0;
    it->place = ++returned_count;
    return NULL;
}

static void open_pairs(int count)
{
    for (int index = 0; index < count; index++) {
        int ends[2];

        make_unix_pair(ends);
        receivers[index].fd = ends[0];
        receivers[index].peer = ends[1];
    }
}

static void start(int index)
{
    receivers[index].place = 0;
    receivers[index].task = gring_spawn(receive, &receivers[index]);
    settle();
}

static void tell(int index, const char *text)
{
    cr_assert_eq(write(receivers[index].peer, text, strlen(text)), (ssize_t)strlen(text));
    settle();
}

static void expect_got(int index, const char *text)
{
    struct receiver *it = &receivers[index];

    cr_assert_gt(it->place, 0, "receiver %d still waits", index);
    cr_assert_eq(it->result, (ssize_t)strlen(text), "receiver %d: %zd, %s", index, it->result,
                 strerror(it->error));
    cr_assert_eq(it->buf.len, strlen(text));
    cr_assert_arr_eq(it->buf.data, text, strlen(text));
}

static void expect_waits(int index)
{
    cr_assert_eq(receivers[index].place, 0, "receiver %d does not wait", index);
}

static void release(int index)
{
    gring_buf_release(&receivers[index].buf);
    settle();
}

/* ---- one ------------------------------------------------------------------------------------- */

PoolTest(data_is_lent_until_it_is_released)
{
    open_pairs(1);
    tell(0, "hello");
    receive(&receivers[0]);
    expect_got(0, "hello");
    cr_assert_eq(stats().buffers_lent, 1);
    release(0);
    cr_assert_eq(stats().buffers_lent, 0);
    cr_assert_null(receivers[0].buf.data);
}

PoolTest(the_end_is_0_and_holds_nothing)
{
    open_pairs(1);
    close(receivers[0].peer);
    receive(&receivers[0]);
    cr_assert_eq(receivers[0].result, 0);
    cr_assert_null(receivers[0].buf.data);
    cr_assert_eq(stats().buffers_lent, 0);
    gring_buf_release(&receivers[0].buf); /* nothing, harmless */
}

PoolTest(of_a_bad_descriptor_fails)
{
    gring_buf buf;

    cr_assert_eq(gring_recv_buf(-1, &buf, 0), -1);
    cr_assert_eq(errno, EBADF);
    cr_assert_eq(gring_recv_buf(9999, &buf, 0), -1);
    cr_assert_eq(errno, EBADF);
    cr_assert_null(buf.data);
    cr_assert_eq(stats().buffers_lent, 0);
}

PoolTest(a_stream_comes_in_pieces_of_the_configured_size)
{
    static char sent[10000];
    size_t total = 0;
    ssize_t size;

    cr_assert_eq(gring_buf_config(1000, 3), 0);
    open_pairs(1);
    pattern_fill(sent, sizeof sent, 1, 0);
    cr_assert_eq(write(receivers[0].peer, sent, sizeof sent), sizeof sent);
    close(receivers[0].peer);
    while ((size = gring_recv_buf(receivers[0].fd, &receivers[0].buf, 0)) > 0) {
        cr_assert_leq(size, 1000);
        cr_assert_eq(pattern_matches(receivers[0].buf.data, (size_t)size, 1, total), (size_t)size);
        total += (size_t)size;
        release(0);
    }
    cr_assert_eq(total, sizeof sent);
    cr_assert_eq(stats().buffers, 3);
}

PoolTest(a_datagram_is_cut)
{
    int ends[2];
    gring_buf buf;

    cr_assert_eq(gring_buf_config(4, 2), 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends), 0);
    cr_assert_eq(write(ends[1], "abcdefgh", 8), 8);
    cr_assert_eq(write(ends[1], "ij", 2), 2);
    cr_assert_eq(gring_recv_buf(ends[0], &buf, 0), 4);
    gring_buf_release(&buf);
    cr_assert_eq(gring_recv_buf(ends[0], &buf, 0), 2);
    cr_assert_arr_eq(buf.data, "ij", 2);
    gring_buf_release(&buf);
}

PoolTest(flags_are_few)
{
    gring_buf buf;

    open_pairs(1);
    cr_assert_eq(gring_recv_buf(receivers[0].fd, &buf, MSG_WAITALL), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_recv_buf(receivers[0].fd, &buf, MSG_DONTWAIT), -1);
    cr_assert_eq(errno, EAGAIN);
    tell(0, "abc");
    cr_assert_eq(gring_recv_buf(receivers[0].fd, &buf, MSG_PEEK), 3);
    gring_buf_release(&buf);
    cr_assert_eq(gring_recv_buf(receivers[0].fd, &buf, MSG_DONTWAIT), 3);
    cr_assert_arr_eq(buf.data, "abc", 3);
    gring_buf_release(&buf);
}

/* ---- idle ------------------------------------------------------------------------------------ */

PoolTest(idle_receivers_hold_none)
{
    enum { IDLE = 50 };

    cr_assert_eq(gring_buf_config(64, 2), 0);
    open_pairs(IDLE);
    for (int index = 0; index < IDLE; index++)
        start(index);
    cr_assert_eq(stats().buffers_lent, 0);
    cr_assert_eq(stats().buffer_waits, 0);
    for (int index = IDLE - 1; index >= 0; index--) {
        tell(index, "x");
        expect_got(index, "x");
        release(index);
    }
    cr_assert_eq(stats().buffers_lent, 0);
}

PoolTest(an_idle_receiver_that_is_killed_leaves_all_where_they_were)
{
    open_pairs(1);
    start(0);
    gring_kill(receivers[0].task);
    settle();
    cr_assert_eq(receivers[0].error, ECANCELED);
    cr_assert_eq(stats().buffers_lent, 0);
    tell(0, "abc");
    receive(&receivers[0]);
    expect_got(0, "abc");
    release(0);
}

PoolTest(a_close_ends_an_idle_receiver)
{
    open_pairs(1);
    start(0);
    cr_assert_eq(gring_close(receivers[0].fd), 0);
    settle();
    cr_assert_eq(receivers[0].error, EBADF);
}

/* ---- none left ------------------------------------------------------------------------------- */

/* Receivers 0 and 1 hold both buffers; `more` others have data and wait. */
static void exhaust(int more)
{
    cr_assert_eq(gring_buf_config(64, 2), 0);
    open_pairs(2 + more);
    for (int index = 0; index < 2 + more; index++)
        start(index);
    tell(0, "held");
    tell(1, "held");
    expect_got(0, "held");
    expect_got(1, "held");
    for (int index = 2; index < 2 + more; index++) {
        tell(index, "waits");
        expect_waits(index);
    }
}

PoolTest(receivers_wait_in_the_order_of_their_data)
{
    exhaust(6);
    cr_assert_eq(stats().buffer_waits, 6);
    release(1);
    expect_got(2, "waits");
    expect_waits(3);
    release(0);
    expect_got(3, "waits");
    for (int index = 4; index < 8; index++) {
        expect_waits(index);
        release(index - 2);
        expect_got(index, "waits");
        cr_assert_eq(receivers[index].place, index + 1);
    }
    release(6);
    release(7);
    cr_assert_eq(stats().buffers_lent, 0);
}

PoolTest(one_who_waits_for_a_buffer_can_be_killed)
{
    exhaust(2);
    gring_kill(receivers[2].task);
    settle();
    cr_assert_eq(receivers[2].error, ECANCELED);
    cr_assert_null(receivers[2].buf.data);
    release(0);
    expect_got(3, "waits");
    release(1);
    receive(&receivers[2]); /* its data are where they were */
    expect_got(2, "waits");
    release(2);
    release(3);
    cr_assert_eq(stats().buffers_lent, 0);
}

static void *receive_within_a_second(void *arg)
{
    gring_timeout limit;

    gring_timeout_start(&limit, GRING_SEC);
    receive(arg);
    gring_timeout_stop(&limit);
    return NULL;
}

PoolTest(one_who_waits_for_a_buffer_has_a_deadline)
{
    exhaust(0);
    open_pairs(3);
    receivers[2].place = 0;
    gring_spawn_n(receive_within_a_second, &receivers[2]);
    tell(2, "late");
    expect_waits(2);
    cr_assert_eq(gring_test_advance(GRING_SEC + GRING_MS), 0);
    cr_assert_eq(receivers[2].error, ETIMEDOUT);
    release(0);
    release(1);
    receive(&receivers[2]);
    expect_got(2, "late");
    release(2);
}

PoolTest(a_close_ends_one_who_waits_for_a_buffer)
{
    exhaust(2);
    cr_assert_eq(gring_close(receivers[2].fd), 0);
    settle();
    cr_assert_eq(receivers[2].error, EBADF);
    release(0);
    expect_got(3, "waits");
    release(1);
    release(3);
    cr_assert_eq(stats().buffers_lent, 0);
}

/* It was granted a buffer in the same turn: the number now means another file. */
PoolTest(a_close_between_the_grant_and_the_receive_does_not_let_it_read_elsewhere)
{
    int reused;

    exhaust(1);
    gring_buf_release(&receivers[0].buf); /* granted; it has not run */
    cr_assert_eq(gring_close(receivers[2].fd), 0);
    reused = dup(receivers[1].fd);
    cr_assert_eq(reused, receivers[2].fd);
    cr_assert_eq(write(receivers[1].peer, "other", 5), 5);
    settle();
    cr_assert_eq(receivers[2].error, EBADF);
    cr_assert_eq(unread_bytes(reused), 5);
    release(1);
    cr_assert_eq(stats().buffers_lent, 0);
}

PoolTest(who_must_not_wait_is_told_that_there_is_none)
{
    gring_buf buf;

    exhaust(0);
    open_pairs(3);
    tell(2, "abc");
    cr_assert_eq(gring_recv_buf(receivers[2].fd, &buf, MSG_DONTWAIT), -1);
    cr_assert_eq(errno, EAGAIN);
    release(0);
    release(1);
    cr_assert_eq(gring_recv_buf(receivers[2].fd, &buf, MSG_DONTWAIT), 3);
    gring_buf_release(&buf);
}

PoolTest(a_pool_of_one_serves_many)
{
    enum { MANY = 20 };

    cr_assert_eq(gring_buf_config(16, 1), 0);
    open_pairs(MANY);
    for (int index = 0; index < MANY; index++)
        start(index);
    for (int index = 0; index < MANY; index++)
        tell(index, "x");
    for (int index = 0; index < MANY; index++) {
        expect_got(index, "x");
        release(index);
    }
}

/* ---- shares ---------------------------------------------------------------------------------- */

static struct greedy {
    int fd;
    gring_buf bufs[32];
    int held;
} greedy;

static void *keep_all(void *unused)
{
    while (gring_recv_buf(greedy.fd, &greedy.bufs[greedy.held], 0) > 0)
        greedy.held++;
    return unused;
}

/* Everything is there at once: a buffer a byte. */
static void feed_greedy(void)
{
    int ends[2];

    cr_assert_eq(gring_buf_config(1, 32), 0);
    make_unix_pair(ends);
    greedy.fd = ends[0];
    cr_assert_eq(write(ends[1], "0123456789abcdefghijklmnopqrstuv", 32), 32);
    gring_spawn_n(keep_all, NULL);
    settle();
}

static void release_greedy(void)
{
    while (greedy.held > 0)
        gring_buf_release(&greedy.bufs[--greedy.held]);
}

PoolTest(one_that_keeps_all_it_gets_is_stopped_while_others_find_some)
{
    feed_greedy();
    cr_assert_gt(greedy.held, 4);
    cr_assert_leq(greedy.held, 16, "it has more than half");
    open_pairs(8);
    for (int index = 0; index < 8; index++) {
        tell(index, "x");
        start(index);
        expect_got(index, "x");
    }
    for (int index = 0; index < 8; index++)
        release(index);
    cr_assert_eq(gring_close(greedy.fd), 0);
    settle();
    release_greedy();
    cr_assert_eq(stats().buffers_lent, 0);
}

PoolTest(one_that_was_stopped_goes_on_when_it_has_released)
{
    int held;

    feed_greedy();
    held = greedy.held;
    gring_buf_release(&greedy.bufs[0]);
    settle();
    cr_assert_eq(greedy.held, held + 1);
    cr_assert_eq(stats().buffers_lent, (uint64_t)held);
    cr_assert_eq(gring_close(greedy.fd), 0);
    settle();
    for (int index = 1; index < greedy.held; index++)
        gring_buf_release(&greedy.bufs[index]);
    cr_assert_eq(stats().buffers_lent, 0);
}

/* What it holds counts for the number, whoever has that now: there is no telling who releases. */
PoolTest(buffers_outlive_the_close_of_their_descriptor)
{
    open_pairs(1);
    tell(0, "abc");
    receive(&receivers[0]);
    cr_assert_eq(gring_close(receivers[0].fd), 0);
    expect_got(0, "abc");
    release(0);
    cr_assert_eq(stats().buffers_lent, 0);
}

/* A number is told from what it was by how often it was closed. */
PoolTest(a_number_that_was_closed_many_times_is_as_good_as_any)
{
    enum { CLOSES = 300 };
    int number = 0;

    cr_assert_eq(gring_buf_config(100, 1), 0);
    for (int round = 0; round < CLOSES; round++) {
        open_pairs(1);
        number = receivers[0].fd;
        close(receivers[0].peer);
        cr_assert_eq(gring_recv_buf(number, &receivers[0].buf, 0), 0);
        cr_assert_eq(gring_close(number), 0);
    }
    open_pairs(2);
    cr_assert_eq(receivers[0].fd, number);
    tell(1, "one");
    receive(&receivers[1]); /* the only buffer */
    start(0);
    tell(0, "two");
    expect_waits(0);
    release(1);
    expect_got(0, "two");
    release(0);
}

/* ---- mistakes -------------------------------------------------------------------------------- */

Test(buffers, config_is_refused_when_it_is_absurd_or_late)
{
    cr_assert_eq(gring_buf_config(1, 1), -1);
    cr_assert_eq(errno, EPERM);
}

PoolTest(config_comes_before_the_first_use)
{
    gring_buf buf;

    cr_assert_eq(gring_buf_config(0, 10), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_buf_config(10, 0), -1);
    cr_assert_eq(gring_buf_config(10, 32769), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_buf_config(((size_t)1 << 30) + 1, 1), -1);
    cr_assert_eq(gring_buf_config(10, 32768), 0);
    cr_assert_eq(stats().buffers, 0, "nothing is made before it is used");
    open_pairs(1);
    cr_assert_eq(gring_recv_buf(receivers[0].fd, &buf, MSG_DONTWAIT), -1);
    cr_assert_eq(stats().buffers, 32768);
    cr_assert_eq(gring_buf_config(10, 10), -1);
    cr_assert_eq(errno, EBUSY);
}

static void *receive_without_memory(void *unused)
{
    struct rlimit limit = { .rlim_cur = (rlim_t)1 << 40, .rlim_max = RLIM_INFINITY };
    gring_buf buf;

    CHILD_MUST(setrlimit(RLIMIT_AS, &limit) == 0);
    CHILD_MUST(gring_buf_config((size_t)1 << 30, 2048) == 0); /* twice as much */
    CHILD_MUST(gring_recv_buf(0, &buf, MSG_DONTWAIT) == -1 && errno == ENOMEM);
    CHILD_MUST(gring_buf_config(100, 10) == 0);
    CHILD_MUST(gring_recv_buf(9999, &buf, MSG_DONTWAIT) == -1 && errno == EBADF);
    return unused;
}

static void run_without_memory(void)
{
    CHILD_MUST(gring_run(receive_without_memory, NULL, NULL) == 0);
}

Test(buffers, without_memory_is_ENOMEM, .disabled = UNDER_ASAN)
{
    child_must_pass(run_without_memory);
}

static void *release_twice(void *unused)
{
    int ends[2];
    gring_buf buf;

    CHILD_MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    CHILD_MUST(write(ends[1], "x", 1) == 1);
    CHILD_MUST(gring_recv_buf(ends[0], &buf, 0) == 1);
    gring_buf_release(&buf);
    gring_buf_release(&buf);
    return unused;
}

static void run_release_twice(void)
{
    gring_run(release_twice, NULL, NULL);
}

Test(buffers, released_twice_is_caught)
{
    child_must_abort(run_release_twice, "released twice");
}

static gring_buf left_over;

static void *receive_one(void *unused)
{
    int ends[2];

    CHILD_MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    CHILD_MUST(write(ends[1], "x", 1) == 1);
    CHILD_MUST(gring_recv_buf(ends[0], &left_over, 0) == 1);
    return unused;
}

static void *release_left_over(void *unused)
{
    gring_buf mine = left_over;

    receive_one(NULL); /* the same place in a pool of the same address, perhaps */
    gring_buf_release(&mine);
    return unused;
}

static void release_in_a_later_run(void)
{
    gring_run(receive_one, NULL, NULL);
    gring_run(release_left_over, NULL, NULL);
}

static void release_without_a_run(void)
{
    gring_run(receive_one, NULL, NULL);
    gring_buf_release(&left_over);
}

static void *release_on_a_thread(void *unused)
{
    gring_buf_release(&left_over);
    return unused;
}

static void *receive_and_release_on_a_thread(void *unused)
{
    pthread_t thread;

    receive_one(NULL);
    CHILD_MUST(pthread_create(&thread, NULL, release_on_a_thread, NULL) == 0);
    pthread_join(thread, NULL);
    return unused;
}

static void run_release_on_a_thread(void)
{
    gring_run(receive_and_release_on_a_thread, NULL, NULL);
}

Test(buffers, released_elsewhere_is_caught)
{
    child_must_abort(release_in_a_later_run, "after the end of its run");
    child_must_abort(release_without_a_run, "after the end of its run");
    child_must_abort(run_release_on_a_thread, "on a plain thread");
}

static void *leak_three(void *unused)
{
    open_pairs(3);
    for (int index = 0; index < 3; index++) {
        tell(index, "x");
        receive(&receivers[index]);
    }
    release(1);
    return unused;
}

Test(buffers, not_released_are_named_at_the_end)
{
    char line[64];

    logged_start();
    run(leak_three);
    cr_assert_eq(logged_with("not released before the end of the run: 2"), 1);
    snprintf(line, sizeof line, "received on descriptor %d", receivers[0].fd);
    cr_assert_eq(logged_with(line), 1);
    cr_assert_eq(logged.count, 3);
}

Test(buffers, need_a_hub)
{
    gring_buf buf;

    cr_assert_eq(gring_recv_buf(0, &buf, 0), -1);
    cr_assert_eq(errno, EPERM);
    gring_buf_release(&buf); /* it holds nothing */
}

/* ---- under load ------------------------------------------------------------------------------ */

enum { ECHOERS = 40, MESSAGES = 50 };

static void *echo_back(void *arg)
{
    struct receiver *it = arg;
    gring_buf buf;

    while (gring_recv_buf(it->fd, &buf, 0) > 0) {
        gring_yield(); /* others run while it is held */
        cr_assert_eq(gring_send(it->fd, buf.data, buf.len, 0), (ssize_t)buf.len);
        gring_buf_release(&buf);
    }
    return NULL;
}

static void *talk(void *arg)
{
    struct receiver *it = arg;
    uint64_t stream = (uint64_t)(it - receivers);
    unsigned char sent[100], got[100];

    for (int message = 0; message < MESSAGES; message++) {
        size_t size = 1 + (size_t)message * 7 % sizeof sent;

        pattern_fill(sent, size, stream, (uint64_t)message);
        cr_assert_eq(gring_write_full(it->peer, sent, size, NULL), (ssize_t)size);
        cr_assert_eq(gring_read_full(it->peer, got, size, NULL), (ssize_t)size);
        cr_assert_arr_eq(got, sent, size);
    }
    gring_shutdown(it->peer, SHUT_WR);
    return NULL;
}

PoolTest(many_connections_share_three_buffers)
{
    gring_task *tasks[2 * ECHOERS];

    cr_assert_eq(gring_buf_config(64, 3), 0);
    open_pairs(ECHOERS);
    for (int index = 0; index < ECHOERS; index++) {
        tasks[2 * index] = gring_spawn(echo_back, &receivers[index]);
        tasks[2 * index + 1] = gring_spawn(talk, &receivers[index]);
    }
    cr_assert_eq(gring_waitall(tasks, 2 * ECHOERS), 0);
    cr_assert_eq(stats().buffers_lent, 0);
    cr_assert_gt(stats().buffer_waits, 0);
}
