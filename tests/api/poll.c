/*
 * gring_poll, gring_select, gring_wait_fd: what poll(2) and select(2) would say, and only the task
 * waits.
 */
#include "tests/support/child.h"
#include "tests/support/faketime.h"
#include "tests/support/fds.h"
#include "tests/support/green.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <sys/timerfd.h>

enum { ERRNO_BEFORE = 4242 };

/* ---- calls in tasks of their own ------------------------------------------------------------- */

struct poll_call {
    struct pollfd *fds;
    nfds_t count;
    int timeout_ms, result, error;
    bool returned;
};

static void *do_poll(void *arg)
{
    struct poll_call *call = arg;

    errno = ERRNO_BEFORE;
    call->result = gring_poll(call->fds, call->count, call->timeout_ms);
    call->error = errno;
    call->returned = true;
    return NULL;
}

struct wait_call {
    int fd, result, error;
    short events;
};

static void *do_wait_fd(void *arg)
{
    struct wait_call *call = arg;

    errno = ERRNO_BEFORE;
    call->result = gring_wait_fd(call->fd, call->events);
    call->error = errno;
    return NULL;
}

struct select_call {
    int limit, result, error;
    fd_set *reads, *writes, *exceptions;
    struct timeval *time;
};

static void *do_select(void *arg)
{
    struct select_call *call = arg;

    errno = ERRNO_BEFORE;
    call->result =
        gring_select(call->limit, call->reads, call->writes, call->exceptions, call->time);
    call->error = errno;
    return NULL;
}

static gring_task *spawn_waiting(gring_fn fn, void *call)
{
    gring_task *task = gring_spawn(fn, call);

    cr_assert_not_null(task);
    gring_idle();
    cr_assert_eq(gring_task_state(task), GRING_PARKED, "the call did not wait");
    return task;
}

static uint64_t in_flight(void)
{
    gring_stats stats = { .size = sizeof stats };

    cr_assert_eq(gring_stats_get(&stats), 0);
    return stats.in_flight;
}

static uint64_t timers(void)
{
    gring_stats stats = { .size = sizeof stats };

    cr_assert_eq(gring_stats_get(&stats), 0);
    return stats.timers;
}

static void put(int fd)
{
    cr_assert_eq(write(fd, "x", 1), 1);
}

/* On a thread that has no hub. */
static void on_a_plain_thread(gring_fn fn, void *arg)
{
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, fn, arg), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

/* ---- poll: what it says ---------------------------------------------------------------------- */

GreenTest(poll, reports_all_that_is_ready_and_nothing_else)
{
    int pair[2], ends[2], empty[2];
    struct pollfd fds[4];

    make_unix_pair(pair);
    make_pipe(ends);
    make_pipe(empty);
    put(pair[1]);
    put(ends[1]);
    fds[0] = (struct pollfd){ .fd = pair[0], .events = POLLIN | POLLOUT, .revents = 99 };
    fds[1] = (struct pollfd){ .fd = empty[0], .events = POLLIN, .revents = 99 };
    fds[2] = (struct pollfd){ .fd = ends[0], .events = POLLIN | POLLRDNORM, .revents = 99 };
    fds[3] = (struct pollfd){ .fd = pair[0], .events = POLLPRI, .revents = 99 };
    errno = ERRNO_BEFORE;
    cr_assert_eq(gring_poll(fds, 4, -1), 2);
    cr_assert_eq(errno, ERRNO_BEFORE);
    cr_assert_eq(fds[0].revents, POLLIN | POLLOUT);
    cr_assert_eq(fds[1].revents, 0);
    cr_assert_eq(fds[2].revents, POLLIN | POLLRDNORM);
    cr_assert_eq(fds[3].revents, 0);
    close_both(pair), close_both(ends), close_both(empty);
}

GreenTest(poll, waits_until_one_is_ready_and_leaves_nothing_in_flight)
{
    enum { COUNT = 40 }; /* more than lie on the stack */
    struct pollfd fds[COUNT];
    struct poll_call call = { .fds = fds, .count = COUNT, .timeout_ms = -1 };
    int ends[COUNT][2];
    gring_task *task;

    for (int index = 0; index < COUNT; index++) {
        make_pipe(ends[index]);
        fds[index] = (struct pollfd){ .fd = ends[index][0], .events = POLLIN };
    }
    for (int few = 1; few <= COUNT; few += COUNT - 1) {
        call.count = (nfds_t)few;
        task = spawn_waiting(do_poll, &call);
        put(ends[few - 1][1]);
        cr_assert_eq(gring_join(task, NULL), 0);
        cr_assert_eq(call.result, 1);
        cr_assert_eq(call.error, ERRNO_BEFORE);
        for (int index = 0; index < few; index++)
            cr_assert_eq(fds[index].revents, index == few - 1 ? POLLIN : 0);
        cr_assert_eq(in_flight(), 0);
        cr_assert_eq(gring_read(ends[few - 1][0], &(char){ 0 }, 1), 1);
    }
    for (int index = 0; index < COUNT; index++)
        close_both(ends[index]);
}

GreenTest(poll, reports_hang_up_and_error_unasked)
{
    int ends[2], others[2];
    struct pollfd fds[2];
    struct poll_call call = { .fds = fds, .count = 2, .timeout_ms = -1 };
    gring_task *task;

    make_pipe(ends);
    make_pipe(others);
    fill(others[1]);
    fds[0] = (struct pollfd){ .fd = ends[0], .events = 0 };
    fds[1] = (struct pollfd){ .fd = others[1], .events = 0 };
    task = spawn_waiting(do_poll, &call);
    close(ends[1]);
    close(others[0]);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 2);
    cr_assert_eq(fds[0].revents, POLLHUP);
    cr_assert_eq(fds[1].revents, POLLERR);
    close(ends[0]);
    close(others[1]);
}

GreenTest(poll, ignores_negative_descriptors_and_marks_bad_ones)
{
    struct pollfd fds[3] = { { .fd = -1, .events = POLLIN, .revents = 99 },
                             { .fd = 777, .events = POLLIN },
                             { .fd = INT_MAX, .events = POLLIN } };

    cr_assert_eq(gring_poll(fds, 3, -1), 2);
    cr_assert_eq(fds[0].revents, 0);
    cr_assert_eq(fds[1].revents, POLLNVAL);
    cr_assert_eq(fds[2].revents, POLLNVAL);
    cr_assert_eq(gring_poll(NULL, 1, -1), -1);
    cr_assert_eq(errno, EFAULT);
}

GreenTest(poll, watches_a_descriptor_as_often_as_it_is_named)
{
    int pair[2];
    struct pollfd fds[3];
    struct poll_call call = { .fds = fds, .count = 3, .timeout_ms = -1 };
    gring_task *task;

    make_unix_pair(pair);
    fill(pair[0]);
    fds[0] = (struct pollfd){ .fd = pair[0], .events = POLLIN };
    fds[1] = (struct pollfd){ .fd = pair[0], .events = POLLOUT };
    fds[2] = (struct pollfd){ .fd = pair[0], .events = POLLIN };
    task = spawn_waiting(do_poll, &call);
    put(pair[1]);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 2);
    cr_assert_eq(fds[0].revents, POLLIN);
    cr_assert_eq(fds[1].revents, 0);
    cr_assert_eq(fds[2].revents, POLLIN);
    close_both(pair);
}

GreenTest(poll, finds_regular_files_ready_at_once)
{
    struct pollfd one = { .fd = make_file("x", 1), .events = POLLIN | POLLOUT };

    cr_assert_eq(gring_poll(&one, 1, -1), 1);
    cr_assert_eq(one.revents, POLLIN | POLLOUT);
    cr_assert_eq(gring_wait_fd(one.fd, POLLIN), POLLIN);
    close(one.fd);
}

GreenTest(poll, takes_more_descriptors_than_the_process_may_have)
{
    enum { COUNT = 300 };
    struct rlimit before, little = { .rlim_cur = 64 };
    struct pollfd fds[COUNT];
    struct poll_call call = { .fds = fds, .count = COUNT, .timeout_ms = -1 };
    gring_task *task;
    int ends[2], others[2];

    make_pipe(ends);
    make_pipe(others);
    for (int index = 0; index < COUNT; index++)
        fds[index] = (struct pollfd){ .fd = index == 250 ? others[0] : ends[0], .events = POLLIN };
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    little.rlim_max = before.rlim_max;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &little), 0);
    cr_assert_eq(gring_poll(fds, COUNT, 0), 0);
    task = spawn_waiting(do_poll, &call);
    put(others[1]);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    cr_assert_eq(call.result, 1);
    cr_assert_eq(fds[250].revents, POLLIN);
    close_both(ends), close_both(others);
}

/* Descriptors in random states: the twin is poll(2) itself. */
GreenTest(poll, agrees_with_the_system_call)
{
    enum { COUNT = 24, ROUNDS = 300 };
    static const short asked[] = { 0, POLLIN, POLLOUT, POLLIN | POLLOUT, POLLPRI, POLLRDHUP };
    struct pollfd fds[COUNT], twins[COUNT];
    uint64_t seed = random_seed();
    int pool[12];

    for (int index = 0; index < 12; index += 2) {
        if (index < 6)
            make_unix_pair(&pool[index]);
        else
            make_pipe(&pool[index]);
    }
    put(pool[1]), fill(pool[2]), close(pool[4]), put(pool[7]), fill(pool[9]), close(pool[10]);
    for (int round = 0; round < ROUNDS; round++) {
        for (int index = 0; index < COUNT; index++)
            fds[index] = (struct pollfd){ .fd = (int)(random_next(&seed) % 14) < 12
                                                    ? pool[random_next(&seed) % 12]
                                                    : -1,
                                          .events = asked[random_next(&seed) % 6] };
        memcpy(twins, fds, sizeof fds);
        cr_assert_eq(gring_poll(fds, COUNT, 1), poll(twins, COUNT, 0));
        cr_assert_arr_eq(fds, twins, sizeof fds);
    }
}

/* The ring tells of it unasked, and would do so for ever. */
GreenTest(poll, does_not_take_the_end_of_the_peer_s_stream_for_room)
{
    int ends[2];
    struct pollfd one;
    struct poll_call call = { .fds = &one, .count = 1, .timeout_ms = -1 };
    struct wait_call wait = { .events = POLLOUT };
    gring_task *tasks[2], *closed;

    make_tcp_pair(ends);
    fill(ends[0]);
    cr_assert_eq(shutdown(ends[1], SHUT_WR), 0);
    one = (struct pollfd){ .fd = ends[0], .events = POLLOUT };
    wait.fd = ends[0];
    tasks[0] = spawn_waiting(do_poll, &call);
    tasks[1] = spawn_waiting(do_wait_fd, &wait);
    while (recv(ends[1], (char[65536]){ 0 }, 65536, MSG_DONTWAIT) > 0)
        ;
    cr_assert_eq(gring_waitall(tasks, 2), 0);
    gring_drop(tasks[0]), gring_drop(tasks[1]);
    cr_assert_eq(call.result, 1);
    cr_assert_eq(one.revents, POLLOUT);
    cr_assert_eq(wait.result, POLLOUT);
    fill(ends[0]);
    closed = spawn_waiting(do_poll, &call);
    cr_assert_eq(gring_close(ends[0]), 0);
    cr_assert_eq(gring_join(closed, NULL), 0);
    cr_assert_eq(one.revents, POLLNVAL);
    close(ends[1]);
}

GreenTest(poll, tells_urgent_data_from_other_data)
{
    int ends[2], before;
    struct wait_call wait = { .events = POLLPRI };
    gring_task *task;

    make_tcp_pair(ends);
    before = descriptor_count();
    wait.fd = ends[0];
    task = spawn_waiting(do_wait_fd, &wait);
    put(ends[1]);
    gring_idle();
    cr_assert_eq(gring_task_state(task), GRING_PARKED);
    cr_assert_eq(send(ends[1], "!", 1, MSG_OOB), 1);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(wait.result, POLLPRI);
    cr_assert_eq(gring_within(0, gring_wait_fd(ends[0], POLLPRI)), -1);
    cr_assert_eq(descriptor_count(), before, "an epoll descriptor was left behind");
    close_both(ends);
}

/* ---- poll: time ------------------------------------------------------------------------------ */

FakeTimeTest(poll, ends_with_0_when_the_time_is_over_and_not_before)
{
    int ends[2];
    struct pollfd one;
    struct poll_call call = { .fds = &one, .count = 1, .timeout_ms = 50 };
    gring_task *task;

    make_pipe(ends);
    one = (struct pollfd){ .fd = ends[0], .events = POLLIN, .revents = 99 };
    task = spawn_waiting(do_poll, &call);
    gring_test_advance(50 * GRING_MS - 1);
    cr_assert_not(call.returned);
    gring_test_advance(GRING_MS);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 0);
    cr_assert_eq(call.error, ERRNO_BEFORE);
    cr_assert_eq(one.revents, 0);
    cr_assert_eq(in_flight(), 0);
    close_both(ends);
}

FakeTimeTest(poll, that_is_answered_leaves_no_timer_behind)
{
    int ends[2];
    struct pollfd one;
    struct poll_call call = { .fds = &one, .count = 1, .timeout_ms = 50 };
    gring_task *task;

    make_pipe(ends);
    one = (struct pollfd){ .fd = ends[0], .events = POLLIN };
    task = spawn_waiting(do_poll, &call);
    cr_assert_eq(timers(), 1);
    put(ends[1]);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 1);
    cr_assert_eq(timers(), 0);
    close_both(ends);
}

FakeTimeTest(poll, of_nothing_sleeps)
{
    struct poll_call call = { .timeout_ms = 7 };
    gring_task *task = spawn_waiting(do_poll, &call);

    gring_test_advance(7 * GRING_MS - 1);
    cr_assert_not(call.returned);
    gring_test_advance(GRING_MS);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 0);
}

GreenTest(poll, of_nothing_for_ever_waits_to_be_interrupted)
{
    struct pollfd ignored[2] = { { .fd = -1 }, { .fd = -2 } };
    struct poll_call call = { .fds = ignored, .count = 2, .timeout_ms = -1 };
    gring_task *task = spawn_waiting(do_poll, &call);

    gring_kill(task);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    cr_assert_eq(call.error, ECANCELED);
}

static int ran;

static void *run(void *unused)
{
    ran++;
    return unused;
}

GreenTest(poll, with_no_time_never_parks_nor_is_interrupted)
{
    int ends[2];
    struct pollfd one;
    gring_timeout timeout = { 0 };

    make_pipe(ends);
    one = (struct pollfd){ .fd = ends[0], .events = POLLIN };
    gring_spawn_n(run, NULL);
    gring_timeout_start(&timeout, 0);
    cr_assert_eq(gring_poll(&one, 1, 0), 0);
    put(ends[1]);
    cr_assert_eq(gring_poll(&one, 1, 0), 1);
    cr_assert_eq(ran, 0, "another task ran");
    cr_assert_eq(gring_poll(&one, 1, -1), -1, "it is ready, but the time is over");
    cr_assert_eq(errno, ETIMEDOUT);
    cr_assert_eq(gring_timeout_stop(&timeout), 1);
    close_both(ends);
}

static bool stop_polling;

static void *say_stop(void *unused)
{
    gring_yield();
    stop_polling = true;
    return unused;
}

GreenTest(poll, of_what_is_always_ready_lets_others_run)
{
    struct pollfd one = { .fd = make_file("x", 1), .events = POLLIN };

    gring_spawn_n(say_stop, NULL);
    while (!stop_polling)
        cr_assert_eq(gring_poll(&one, 1, -1), 1);
    close(one.fd);
}

/* ---- poll: interruptions --------------------------------------------------------------------- */

GreenTest(poll, is_ended_by_a_kill_a_throw_and_a_deadline)
{
    int ends[2];
    struct pollfd fds[2];
    struct poll_call call = { .fds = fds, .count = 2, .timeout_ms = 1000000 };
    gring_task *task;

    make_pipe(ends);
    fds[0] = (struct pollfd){ .fd = ends[0], .events = POLLIN };
    fds[1] = (struct pollfd){ .fd = ends[0], .events = POLLPRI };
    task = spawn_waiting(do_poll, &call);
    gring_kill(task);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    cr_assert_eq(call.result, -1);
    cr_assert_eq(call.error, ECANCELED);
    task = spawn_waiting(do_poll, &call);
    gring_throw(task, EINTR);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.error, EINTR);
    cr_assert_eq(gring_within(GRING_MS, gring_poll(fds, 2, 1000000)), -1);
    cr_assert_eq(errno, ETIMEDOUT);
    cr_assert_eq(in_flight(), 0);
    close_both(ends);
}

/* What the ring reports inexactly is watched through a descriptor of our own. */
GreenTest(poll, that_needs_a_descriptor_of_its_own_and_gets_none_is_EMFILE)
{
    struct pollfd fds[2];
    int ends[2], others[2];

    make_tcp_pair(ends);
    make_tcp_pair(others);
    fds[0] = (struct pollfd){ .fd = others[0], .events = POLLIN };
    fds[1] = (struct pollfd){ .fd = ends[0], .events = POLLPRI };
    leave_no_descriptor();
    errno = 0;
    cr_assert_eq(gring_poll(fds, 2, -1), -1);
    cr_assert_eq(errno, EMFILE);
    errno = 0;
    cr_assert_eq(gring_wait_fd(ends[0], POLLPRI), -1);
    cr_assert_eq(errno, EMFILE);
    cr_assert_eq(in_flight(), 0);
    allow_descriptors(0);
    close_both(ends), close_both(others);
}

FakeTimeTest(poll, whose_own_time_is_over_first_is_no_expired_deadline)
{
    int ends[2];
    struct pollfd one;

    make_pipe(ends);
    one = (struct pollfd){ .fd = ends[0], .events = POLLIN };
    gring_within_do(GRING_SEC)
    {
        struct poll_call call = { .fds = &one, .count = 1, .timeout_ms = 20 };
        gring_task *task = spawn_waiting(do_poll, &call);

        gring_test_advance(30 * GRING_MS);
        cr_assert_eq(gring_join(task, NULL), 0);
        cr_assert_eq(call.result, 0);
    }
    close_both(ends);
}

GreenTest(poll, reports_what_is_ready_although_it_was_killed_and_fails_the_next_call)
{
    int ends[2];
    struct pollfd one;
    struct poll_call call = { .fds = &one, .count = 1, .timeout_ms = -1 };
    gring_task *task;

    make_pipe(ends);
    one = (struct pollfd){ .fd = ends[0], .events = POLLIN };
    task = spawn_waiting(do_poll, &call);
    put(ends[1]);
    gring_kill(task);
    cr_assert_eq(gring_join(task, NULL), 0, "no call told the kill");
    cr_assert_eq(call.result, 1);
    close_both(ends);
}

GreenTest(poll, goes_on_waiting_when_somebody_else_was_faster)
{
    int ends[2];
    struct pollfd one;
    struct poll_call call = { .fds = &one, .count = 1, .timeout_ms = -1 };
    gring_task *task;

    make_unix_pair(ends); /* a pipe's read may wait for a worker of the kernel's */
    one = (struct pollfd){ .fd = ends[0], .events = POLLIN };
    task = spawn_waiting(do_poll, &call);
    for (int times = 0; times < 3; times++) {
        put(ends[1]);
        cr_assert_eq(gring_read(ends[0], &(char){ 0 }, 1), 1);
        gring_idle();
        cr_assert_not(call.returned);
    }
    put(ends[1]);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 1);
    close_both(ends);
}

/* ---- poll and close -------------------------------------------------------------------------- */

GreenTest(poll, of_a_descriptor_that_is_closed_meanwhile_is_POLLNVAL)
{
    int ends[2], others[2];
    struct pollfd fds[2];
    struct poll_call call = { .fds = fds, .count = 2, .timeout_ms = -1 };
    gring_task *task;

    make_pipe(ends);
    make_pipe(others);
    fds[0] = (struct pollfd){ .fd = ends[0], .events = POLLIN };
    fds[1] = (struct pollfd){ .fd = others[0], .events = POLLIN };
    task = spawn_waiting(do_poll, &call);
    cr_assert_eq(gring_close(others[0]), 0);
    cr_assert_eq(dup(ends[0]), others[0], "the number is another file's now");
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 1);
    cr_assert_eq(fds[0].revents, 0);
    cr_assert_eq(fds[1].revents, POLLNVAL);
    close(others[0]), close(others[1]), close_both(ends);
}

GreenTest(poll, does_not_look_at_the_file_that_has_the_number_by_now)
{
    int ends[2], others[2];
    struct pollfd one;
    struct poll_call call = { .fds = &one, .count = 1, .timeout_ms = -1 };
    gring_task *task;

    make_pipe(ends);
    one = (struct pollfd){ .fd = ends[0], .events = POLLIN };
    task = gring_spawn(do_poll, &call);
    cr_assert_not_null(task);
    gring_yield(); /* it has begun, and lets us go first */
    cr_assert_eq(gring_close(ends[0]), 0);
    make_pipe(others);
    cr_assert_eq(others[0], ends[0]);
    put(others[1]);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 1);
    cr_assert_eq(one.revents, POLLNVAL);
    gring_close(ends[1]);
    close_both(others);
}

GreenTest(poll, of_many_descriptors_that_are_all_closed_ends_once)
{
    enum { COUNT = 20 };
    struct pollfd fds[COUNT];
    struct poll_call call = { .fds = fds, .count = COUNT, .timeout_ms = -1 };
    int ends[COUNT][2];
    gring_task *task;

    for (int index = 0; index < COUNT; index++) {
        make_pipe(ends[index]);
        fds[index] = (struct pollfd){ .fd = ends[index][0], .events = POLLIN };
    }
    task = spawn_waiting(do_poll, &call);
    for (int index = 0; index < COUNT; index++)
        cr_assert_eq(gring_close(ends[index][0]), 0);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_geq(call.result, 1);
    cr_assert_eq(in_flight(), 0);
    for (int index = 0; index < COUNT; index++)
        close(ends[index][1]);
}

/* ---- poll of other kinds of descriptors ------------------------------------------------------ */

static void must_wait_then_be_readable(int fd, void (*make_ready)(int fd, int arg), int arg)
{
    struct pollfd one = { .fd = fd, .events = POLLIN };
    struct poll_call call = { .fds = &one, .count = 1, .timeout_ms = -1 };
    struct wait_call wait = { .fd = fd, .events = POLLIN };
    gring_task *tasks[2];

    cr_assert_geq(fd, 0, "%m");
    tasks[0] = spawn_waiting(do_poll, &call);
    tasks[1] = spawn_waiting(do_wait_fd, &wait);
    make_ready(fd, arg);
    cr_assert_eq(gring_waitall(tasks, 2), 0);
    gring_drop(tasks[0]), gring_drop(tasks[1]);
    cr_assert_eq(call.result, 1);
    cr_assert_eq(one.revents, POLLIN);
    cr_assert_eq(wait.result, POLLIN);
    cr_assert_eq(wait.error, ERRNO_BEFORE);
}

static void write_to_arg(int fd, int arg)
{
    (void)fd;
    put(arg);
}

GreenTest(poll, waits_on_an_epoll_descriptor)
{
    struct epoll_event event = { .events = EPOLLIN };
    int epoll = epoll_create1(EPOLL_CLOEXEC), ends[2];

    make_pipe(ends);
    cr_assert_eq(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event), 0);
    must_wait_then_be_readable(epoll, write_to_arg, ends[1]);
    cr_assert_eq(epoll_wait(epoll, &event, 1, 0), 1);
    close_both(ends);
    close(epoll);
}

static void signal_eventfd(int fd, int arg)
{
    cr_assert_eq(eventfd_write(fd, (eventfd_t)arg), 0);
}

GreenTest(poll, waits_on_an_eventfd)
{
    int fd = eventfd(0, EFD_CLOEXEC);

    must_wait_then_be_readable(fd, signal_eventfd, 1);
    close(fd);
}

static void set_timer(int fd, int arg)
{
    cr_assert_eq(timerfd_settime(fd, 0, &(struct itimerspec){ .it_value.tv_nsec = arg }, NULL), 0);
}

GreenTest(poll, waits_on_a_timerfd)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

    must_wait_then_be_readable(fd, set_timer, 1);
    close(fd);
}

static void touch(int fd, int arg)
{
    (void)fd;
    cr_assert_eq(pwrite(arg, "y", 1, 0), 1);
}

GreenTest(poll, waits_on_an_inotify_descriptor)
{
    char path[] = P_tmpdir "/greenring-test-XXXXXX";
    int fd = inotify_init1(IN_CLOEXEC), file = mkostemp(path, O_CLOEXEC);

    cr_assert_geq(inotify_add_watch(fd, path, IN_MODIFY), 0);
    must_wait_then_be_readable(fd, touch, file);
    unlink(path);
    close(fd), close(file);
}

static void raise_signal(int fd, int arg)
{
    (void)fd;
    raise(arg);
}

GreenTest(poll, waits_on_a_signalfd)
{
    sigset_t set;
    int fd;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    cr_assert_eq(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    fd = signalfd(-1, &set, SFD_CLOEXEC);
    must_wait_then_be_readable(fd, raise_signal, SIGUSR1);
    close(fd);
}

/* ---- poll elsewhere -------------------------------------------------------------------------- */

Test(poll, on_a_plain_thread_is_the_system_call)
{
    int ends[2];
    struct pollfd fds[2];
    struct poll_call call = { .fds = fds, .count = 2, .timeout_ms = 1 };

    make_pipe(ends);
    fds[0] = (struct pollfd){ .fd = ends[0], .events = POLLIN };
    fds[1] = (struct pollfd){ .fd = -1 };
    on_a_plain_thread(do_poll, &call);
    cr_assert_eq(call.result, 0);
    put(ends[1]);
    call.timeout_ms = -1;
    on_a_plain_thread(do_poll, &call);
    cr_assert_eq(call.result, 1);
    cr_assert_eq(fds[0].revents, POLLIN);
    close_both(ends);
}

static void *poll_in_vain(void *error)
{
    cr_assert_eq(gring_poll(NULL, 0, -1), -1);
    *(int *)error = errno;
    return NULL;
}

static void deadlock(void)
{
    int error = 0;

    CHILD_MUST(gring_run(poll_in_vain, &error, NULL) == 0);
    CHILD_MUST(error == EDEADLK);
}

Test(poll, of_nothing_by_the_only_task_is_a_deadlock)
{
    child_must_pass(deadlock);
}

/* ---- wait_fd --------------------------------------------------------------------------------- */

GreenTest(wait_fd, gives_the_events_that_are_there)
{
    int pair[2];

    make_unix_pair(pair);
    errno = ERRNO_BEFORE;
    cr_assert_eq(gring_wait_fd(pair[0], POLLIN | POLLOUT), POLLOUT);
    put(pair[1]);
    cr_assert_eq(gring_wait_fd(pair[0], POLLIN | POLLOUT), POLLIN | POLLOUT);
    cr_assert_eq(gring_wait_fd(pair[0], POLLIN), POLLIN);
    close(pair[1]);
    cr_assert_eq(gring_wait_fd(pair[0], 0), POLLHUP);
    cr_assert_eq(errno, ERRNO_BEFORE);
    close(pair[0]);
}

GreenTest(wait_fd, refuses_what_is_no_descriptor)
{
    cr_assert_eq(gring_wait_fd(-1, POLLIN), -1);
    cr_assert_eq(errno, EBADF);
    cr_assert_eq(gring_wait_fd(777, POLLIN), -1);
    cr_assert_eq(errno, EBADF);
}

GreenTest(wait_fd, is_ended_by_a_kill_a_deadline_and_a_close)
{
    int ends[2];
    struct wait_call call = { .events = POLLIN };
    gring_task *task;

    make_pipe(ends);
    call.fd = ends[0];
    task = spawn_waiting(do_wait_fd, &call);
    gring_kill(task);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    cr_assert_eq(call.error, ECANCELED);
    cr_assert_eq(gring_within(GRING_MS, gring_wait_fd(ends[0], POLLIN)), -1);
    cr_assert_eq(errno, ETIMEDOUT);
    task = spawn_waiting(do_wait_fd, &call);
    cr_assert_eq(gring_close(ends[0]), 0);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, -1);
    cr_assert_eq(call.error, EBADF);
    close(ends[1]);
}

static atomic_bool came_back;

static void *wait_to_be_disturbed(void *fd)
{
    intptr_t error = gring_wait_fd((int)(intptr_t)fd, POLLIN) < 0 ? errno : 0;

    atomic_store(&came_back, true);
    return (void *)error;
}

static void do_nothing(int unused)
{
    (void)unused;
}

/* As of any system call, and unlike in a task. */
Test(wait_fd, on_a_plain_thread_is_interrupted_by_a_signal)
{
    struct sigaction action = { .sa_handler = do_nothing };
    pthread_t thread;
    void *error;
    int ends[2];

    make_pipe(ends);
    cr_assert_eq(sigaction(SIGUSR1, &action, NULL), 0);
    cr_assert_eq(pthread_create(&thread, NULL, wait_to_be_disturbed, (void *)(intptr_t)ends[0]), 0);
    while (!atomic_load(&came_back)) {
        pthread_kill(thread, SIGUSR1);
        sched_yield();
    }
    cr_assert_eq(pthread_join(thread, &error), 0);
    cr_assert_eq((intptr_t)error, EINTR);
    close_both(ends);
}

Test(wait_fd, on_a_plain_thread_blocks_it)
{
    int pair[2];
    struct wait_call call = { .events = POLLIN | POLLOUT };

    make_unix_pair(pair);
    call.fd = pair[0];
    on_a_plain_thread(do_wait_fd, &call);
    cr_assert_eq(call.result, POLLOUT);
    call.fd = -1;
    on_a_plain_thread(do_wait_fd, &call);
    cr_assert_eq(call.error, EBADF);
    call.fd = 777;
    on_a_plain_thread(do_wait_fd, &call);
    cr_assert_eq(call.error, EBADF);
    close_both(pair);
}

/* ---- select ---------------------------------------------------------------------------------- */

static fd_set set_of(int first, int second)
{
    fd_set set;

    FD_ZERO(&set);
    FD_SET(first, &set);
    if (second >= 0)
        FD_SET(second, &set);
    return set;
}

static bool same_set(const fd_set *left, const fd_set *right)
{
    return memcmp(left, right, sizeof *left) == 0;
}

GreenTest(select, fills_the_sets_exactly_and_counts_memberships)
{
    int pair[2], ends[2];
    fd_set reads, writes, exceptions, only, none;

    make_unix_pair(pair);
    make_pipe(ends);
    put(pair[1]);
    reads = set_of(pair[0], ends[0]);
    writes = set_of(pair[0], -1);
    exceptions = set_of(pair[0], ends[0]);
    errno = ERRNO_BEFORE;
    cr_assert_eq(gring_select(FD_SETSIZE, &reads, &writes, &exceptions, NULL), 2);
    cr_assert_eq(errno, ERRNO_BEFORE);
    only = set_of(pair[0], -1);
    FD_ZERO(&none);
    cr_assert(same_set(&reads, &only));
    cr_assert(same_set(&writes, &only));
    cr_assert(same_set(&exceptions, &none));
    close_both(pair), close_both(ends);
}

GreenTest(select, waits_for_any_of_the_sets)
{
    int ends[2], others[2], limit;
    fd_set reads, writes, expected;
    struct select_call call = { .reads = &reads, .writes = &writes };
    gring_task *task;

    make_pipe(ends);
    make_pipe(others);
    fill(others[1]);
    reads = set_of(ends[0], others[0]);
    FD_CLR(others[0], &reads);
    writes = expected = set_of(others[1], -1);
    limit = others[1] + 1;
    call.limit = limit;
    task = spawn_waiting(do_select, &call);
    cr_assert_geq(read(others[0], (char[65536]){ 0 }, 65536), 4096);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 1);
    cr_assert(same_set(&writes, &expected));
    cr_assert_not(FD_ISSET(ends[0], &reads));
    cr_assert_eq(in_flight(), 0);
    close_both(ends), close_both(others);
}

GreenTest(select, sees_urgent_data_as_exceptional)
{
    int ends[2];
    fd_set exceptions;
    struct select_call call = { .exceptions = &exceptions };
    gring_task *task;

    make_tcp_pair(ends);
    exceptions = set_of(ends[0], -1);
    call.limit = ends[0] + 1;
    task = spawn_waiting(do_select, &call);
    cr_assert_eq(send(ends[1], "!", 1, MSG_OOB), 1);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 1);
    cr_assert(FD_ISSET(ends[0], &exceptions));
    close_both(ends);
}

/* poll(2) reports a hang-up unasked; select(2) knows no such exceptional condition. */
FakeTimeTest(select, does_not_take_a_hang_up_for_an_exceptional_condition)
{
    int ends[2];
    fd_set exceptions;
    struct timeval time = { .tv_usec = 20000 };
    struct select_call call = { .exceptions = &exceptions, .time = &time };
    gring_task *task;

    make_pipe(ends);
    close(ends[1]);
    exceptions = set_of(ends[0], -1);
    call.limit = ends[0] + 1;
    task = spawn_waiting(do_select, &call);
    gring_test_advance(30 * GRING_MS);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 0);
    cr_assert_not(FD_ISSET(ends[0], &exceptions));
    close(ends[0]);
}

FakeTimeTest(select, clears_the_sets_and_the_time_when_that_is_over)
{
    int ends[2];
    fd_set reads;
    struct timeval time = { .tv_sec = 1, .tv_usec = 500000 };
    struct select_call call = { .reads = &reads, .time = &time };
    gring_task *task;

    make_pipe(ends);
    reads = set_of(ends[0], -1);
    call.limit = ends[0] + 1;
    task = spawn_waiting(do_select, &call);
    gring_test_advance(1500 * GRING_MS - 1);
    cr_assert_eq(gring_task_state(task), GRING_PARKED);
    gring_test_advance(GRING_MS);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 0);
    cr_assert_not(FD_ISSET(ends[0], &reads));
    cr_assert_eq(time.tv_sec, 0);
    cr_assert_eq(time.tv_usec, 0);
    close_both(ends);
}

FakeTimeTest(select, leaves_the_time_that_was_not_used)
{
    int ends[2];
    fd_set reads;
    struct timeval time = { .tv_sec = 3 };
    struct select_call call = { .reads = &reads, .time = &time };
    gring_task *task;

    make_pipe(ends);
    reads = set_of(ends[0], -1);
    call.limit = ends[0] + 1;
    task = spawn_waiting(do_select, &call);
    gring_test_advance(GRING_SEC);
    put(ends[1]);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 1);
    cr_assert_eq(time.tv_sec, 2);
    cr_assert_eq(time.tv_usec, 0);
    close_both(ends);
}

FakeTimeTest(select, of_nothing_sleeps)
{
    struct timeval time = { .tv_usec = 5000 };
    struct select_call call = { .time = &time };
    gring_task *task = spawn_waiting(do_select, &call);

    gring_test_advance(6 * GRING_MS);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 0);
}

GreenTest(select, with_no_time_does_not_park)
{
    struct timeval none = { 0 };
    int ends[2];
    fd_set reads;

    make_pipe(ends);
    reads = set_of(ends[0], -1);
    gring_spawn_n(run, NULL);
    cr_assert_eq(gring_select(ends[0] + 1, &reads, NULL, NULL, &none), 0);
    cr_assert_eq(ran, 0);
    close_both(ends);
}

/* ---- signals --------------------------------------------------------------------------------- */

enum { LOOKS = 100000, STORM_US = 50 };

/* One after the other, until the process ends. */
static void begin_storm(void)
{
    struct sigaction action = { .sa_handler = do_nothing, .sa_flags = SA_RESTART };
    struct itimerval often = { .it_value.tv_usec = STORM_US, .it_interval.tv_usec = STORM_US };

    cr_assert_eq(sigaction(SIGALRM, &action, NULL), 0);
    cr_assert_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
}

GreenTest(poll, with_no_time_is_not_interrupted_by_a_signal_s_handler)
{
    int ends[2], failed = 0;

    make_pipe(ends);
    begin_storm();
    for (int look = 0; look < LOOKS; look++) {
        struct pollfd one = { .fd = ends[0], .events = POLLIN };

        failed += gring_poll(&one, 1, 0) != 0;
    }
    cr_assert_eq(failed, 0, "%d of %d", failed, LOOKS);
    close_both(ends);
}

GreenTest(select, with_no_time_is_not_interrupted_by_a_signal_s_handler)
{
    int ends[2], failed = 0;

    make_pipe(ends);
    begin_storm();
    for (int look = 0; look < LOOKS; look++) {
        struct timeval none = { 0 };
        fd_set reads = set_of(ends[0], -1);

        failed += gring_select(ends[0] + 1, &reads, NULL, NULL, &none) != 0;
    }
    cr_assert_eq(failed, 0, "%d of %d", failed, LOOKS);
    close_both(ends);
}

/* ---- select: what is refused ----------------------------------------------------------------- */

GreenTest(select, refuses_what_is_invalid_and_leaves_the_sets)
{
    struct timeval negative = { .tv_sec = -1 }, microseconds = { .tv_usec = -1 };
    fd_set reads = set_of(777, 0), before = reads;

    cr_assert_eq(gring_select(778, &reads, NULL, NULL, NULL), -1);
    cr_assert_eq(errno, EBADF);
    cr_assert(same_set(&reads, &before));
    cr_assert_eq(gring_select(-1, &reads, NULL, NULL, NULL), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_select(FD_SETSIZE + 1, &reads, NULL, NULL, NULL), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_select(1, NULL, NULL, NULL, &negative), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_select(1, NULL, NULL, NULL, &microseconds), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert(same_set(&reads, &before));
}

GreenTest(select, takes_the_highest_descriptor_of_a_set_and_many)
{
    enum { FIRST = 400 };
    int ends[2];
    fd_set reads, expected;
    struct select_call call = { .limit = FD_SETSIZE, .reads = &reads };
    gring_task *task;

    make_pipe(ends);
    FD_ZERO(&reads);
    for (int fd = FIRST; fd < FD_SETSIZE - 1; fd++) {
        cr_assert_eq(dup2(ends[0], fd), fd);
        FD_SET(fd, &reads);
    }
    cr_assert_eq(dup2(ends[1], FD_SETSIZE - 1), FD_SETSIZE - 1);
    expected = reads;
    task = spawn_waiting(do_select, &call);
    put(FD_SETSIZE - 1);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, FD_SETSIZE - 1 - FIRST);
    cr_assert(same_set(&reads, &expected));
}

GreenTest(select, is_ended_by_a_kill_a_deadline_and_a_close_and_leaves_the_sets)
{
    int ends[2];
    fd_set reads, before;
    struct select_call call = { .reads = &reads };
    gring_task *task;

    make_pipe(ends);
    reads = before = set_of(ends[0], -1);
    call.limit = ends[0] + 1;
    task = spawn_waiting(do_select, &call);
    gring_kill(task);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    cr_assert_eq(call.error, ECANCELED);
    cr_assert(same_set(&reads, &before));
    cr_assert_eq(gring_within(GRING_MS, gring_select(call.limit, &reads, NULL, NULL, NULL)), -1);
    cr_assert_eq(errno, ETIMEDOUT);
    task = spawn_waiting(do_select, &call);
    cr_assert_eq(gring_close(ends[0]), 0);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.error, EBADF);
    cr_assert(same_set(&reads, &before));
    close(ends[1]);
}

Test(select, on_a_plain_thread_is_the_system_call)
{
    int ends[2];
    fd_set reads;
    struct timeval time = { .tv_usec = 1000 };
    struct select_call call = { .reads = &reads, .time = &time };

    make_pipe(ends);
    reads = set_of(ends[0], -1);
    call.limit = ends[0] + 1;
    on_a_plain_thread(do_select, &call);
    cr_assert_eq(call.result, 0);
    reads = set_of(ends[0], -1);
    put(ends[1]);
    call.time = NULL;
    on_a_plain_thread(do_select, &call);
    cr_assert_eq(call.result, 1);
    close_both(ends);
}
