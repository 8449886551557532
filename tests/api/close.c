/*
 * gring_close: what is in flight on the descriptor ends with EBADF and is awaited, nothing is
 * lost, nobody else is hit.
 *
 * Each test must leave exactly as many descriptors as it found.
 */
#include "tests/support/child.h"
#include "tests/support/fds.h"
#include "tests/support/green.h"

#include <greenring/debug.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/un.h>

#define ClosingTest(name)                                                                          \
    static void close_##name##_steps(void);                                                        \
    static void *close_##name##_main(void *unused)                                                 \
    {                                                                                              \
        (void)unused;                                                                              \
        close_##name##_steps();                                                                    \
        return NULL;                                                                               \
    }                                                                                              \
    Test(close, name)                                                                              \
    {                                                                                              \
        int before = descriptor_count();                                                           \
                                                                                                   \
        cr_assert_eq(gring_run(close_##name##_main, NULL, NULL), 0, "gring_run: %m");              \
        cr_assert_eq(descriptor_count(), before, "descriptors were left behind");                  \
    }                                                                                              \
    static void close_##name##_steps(void)

/* ---- calls in tasks of their own ------------------------------------------------------------- */

struct call {
    int fd, flags;
    ssize_t result;
    int error;
    bool returned;
    size_t size;
    char *big; /* what to send; else buf */
    char buf[128];
};

static void *end_call(struct call *call, ssize_t result)
{
    call->error = errno;
    call->result = result;
    call->returned = true;
    return NULL;
}

static void *do_read(void *arg)
{
    struct call *call = arg;

    return end_call(call, gring_read(call->fd, call->buf, sizeof call->buf));
}

static void *do_readv(void *arg)
{
    struct call *call = arg;
    struct iovec part = { call->buf, sizeof call->buf };

    return end_call(call, gring_readv(call->fd, &part, 1));
}

static void *do_recv(void *arg)
{
    struct call *call = arg;

    return end_call(call, gring_recv(call->fd, call->buf, sizeof call->buf, call->flags));
}

static void *do_accept(void *arg)
{
    struct call *call = arg;

    return end_call(call, gring_accept(call->fd, NULL, NULL));
}

static void *do_connect(void *arg)
{
    struct call *call = arg;

    return end_call(call,
                    gring_connect(call->fd, (struct sockaddr *)call->buf, (socklen_t)call->size));
}

static void *do_write(void *arg)
{
    struct call *call = arg;

    return end_call(call, gring_write(call->fd, call->big ? call->big : call->buf,
                                      call->big ? call->size : sizeof call->buf));
}

static void *do_send(void *arg)
{
    struct call *call = arg;

    return end_call(call, gring_send(call->fd, call->big, call->size, 0));
}

static void *do_close(void *arg)
{
    struct call *call = arg;

    return end_call(call, gring_close(call->fd));
}

static gring_task *spawn_waiting(gring_fn fn, struct call *call)
{
    gring_task *task = gring_spawn(fn, call);

    cr_assert_not_null(task);
    gring_idle();
    cr_assert_eq(gring_task_state(task), GRING_PARKED, "the call did not wait: %zd", call->result);
    return task;
}

static void expect_ebadf(gring_task *task, struct call *call)
{
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call->result, -1, "result %zd", call->result);
    cr_assert_eq(call->error, EBADF, "errno %s", strerrorname_np(call->error));
}

static uint64_t in_flight(void)
{
    gring_stats stats = { .size = sizeof stats };

    cr_assert_eq(gring_stats_get(&stats), 0);
    return stats.in_flight;
}

static void expect_close_to_end(gring_fn fn, struct call *call)
{
    gring_task *task = spawn_waiting(fn, call);

    cr_assert_eq(in_flight(), 1);
    cr_assert_eq(gring_close(call->fd), 0);
    cr_assert_eq(in_flight(), 0, "close returned before the operation had ended");
    cr_assert(!is_open(call->fd));
    expect_ebadf(task, call);
}

/* ---- between two operations of one call ------------------------------------------------------ */

/* The kernel completes what is in flight on the loop, and whoever waited is queued behind us. */
static void yield_until_nothing_is_in_flight(void)
{
    while (in_flight() > 0)
        gring_yield();
}

/*
 * One operation of the call has moved a part, the task has not run since: now the descriptor is
 * closed, and its number is a pipe's. Sockets: into a pipe a worker of an older kernel writes all.
 */
ClosingTest(leaves_the_rest_of_a_write_to_nobody)
{
    static char much[4 << 20];
    struct call call = { .big = much, .size = sizeof much };
    int ends[2], others[2];
    gring_task *task;
    size_t first;

    make_unix_pair(ends);
    call.fd = ends[1];
    task = spawn_waiting(do_write, &call);
    first = drain_socket(ends[0]);
    yield_until_nothing_is_in_flight();
    cr_assert_eq(gring_close(ends[1]), 0);
    make_pipe(others);
    cr_assert_eq(others[0], ends[1], "the lowest number is given out first");
    cr_assert_eq(dup2(others[1], others[0]), ends[1]);
    gring_join(task, NULL);
    cr_assert_gt(call.result, 0);
    cr_assert_lt(call.result, (ssize_t)sizeof much);
    cr_assert_eq(call.result, (ssize_t)(first + drain_socket(ends[0])));
    close_both(others);
    close(ends[0]);
}

/* A short write has its file's position set right, but not the next file's. */
ClosingTest(leaves_the_position_of_the_next_file_alone)
{
    char digits[] = "0123456789";
    struct call call = { .big = digits, .size = 10, .fd = make_file("", 0) };
    struct rlimit before, limit;
    gring_task *task;
    int next;

    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){ .rlim_cur = 6, .rlim_max = before.rlim_max };
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    task = gring_spawn(do_write, &call);
    gring_yield();
    cr_assert_eq(in_flight(), 1);
    yield_until_nothing_is_in_flight();
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    cr_assert_eq(gring_close(call.fd), 0);
    next = make_file("abcdefgh", 8);
    cr_assert_eq(next, call.fd, "the lowest number is given out first");
    cr_assert_eq(lseek(next, 2, SEEK_SET), 2);
    gring_join(task, NULL);
    cr_assert_eq(call.result, 6);
    cr_assert_eq(lseek(next, 0, SEEK_CUR), 2);
    close(next);
}

/* ---- each kind of call ----------------------------------------------------------------------- */

ClosingTest(ends_a_read)
{
    int ends[2];

    make_pipe(ends);
    expect_close_to_end(do_read, &(struct call){ .fd = ends[0] });
    close(ends[1]);
}

ClosingTest(ends_a_readv)
{
    int ends[2];

    make_pipe(ends);
    expect_close_to_end(do_readv, &(struct call){ .fd = ends[0] });
    close(ends[1]);
}

ClosingTest(ends_a_recv)
{
    int ends[2];

    make_unix_pair(ends);
    expect_close_to_end(do_recv, &(struct call){ .fd = ends[0] });
    close(ends[1]);
}

ClosingTest(ends_a_read_on_a_nonblocking_descriptor)
{
    int ends[2];

    make_pipe(ends);
    set_nonblocking(ends[0]);
    expect_close_to_end(do_read, &(struct call){ .fd = ends[0] });
    close(ends[1]);
}

ClosingTest(ends_an_accept)
{
    expect_close_to_end(do_accept, &(struct call){ .fd = make_listener(1) });
}

ClosingTest(ends_a_write_to_a_full_pipe)
{
    int ends[2];

    make_pipe(ends);
    fill(ends[1]);
    expect_close_to_end(do_write, &(struct call){ .fd = ends[1] });
    close(ends[0]);
}

ClosingTest(ends_a_connect_that_nobody_answers)
{
    int listener = make_listener(0), first = plain_connect(listener), fd;
    struct sockaddr_in address = address_of(listener);
    struct call call = { .size = sizeof address };

    /* The backlog of 0 holds one connection; what comes after it is not answered. */
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    call.fd = fd;
    memcpy(call.buf, &address, sizeof address);
    expect_close_to_end(do_connect, &call);
    close(first);
    close(listener);
}

/* What waits in a worker of the kernel is ended by a signal there, and says EINTR. */
static void prepare_unix_connect(struct call *call, int *listener, int *first)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    socklen_t length = sizeof(sa_family_t); /* a name is chosen by the kernel */

    *listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(*listener, (struct sockaddr *)&address, length), 0, "%m");
    cr_assert_eq(listen(*listener, 0), 0);
    length = sizeof address;
    cr_assert_eq(getsockname(*listener, (struct sockaddr *)&address, &length), 0);
    *first = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(*first, (struct sockaddr *)&address, length), 0); /* fills the backlog */
    *call = (struct call){ .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), .size = length };
    memcpy(call->buf, &address, length);
}

ClosingTest(ends_a_connect_between_two_attempts)
{
    struct call call;
    int listener, first;

    prepare_unix_connect(&call, &listener, &first);
    expect_close_to_end(do_connect, &call);
    close(first);
    close(listener);
}

static void *leave_connecting(void *arg)
{
    gring_spawn_n(do_connect, arg);
    gring_idle();
    for (int turn = 0; turn < 20; turn++)
        gring_sleep(GRING_MS); /* it is in the worker by now; the test holds in any case */
    return NULL;
}

Test(close, the_end_of_the_run_ends_a_connect_that_waits_in_a_worker)
{
    struct call call;
    int listener, first;

    prepare_unix_connect(&call, &listener, &first);
    cr_assert_eq(gring_run(leave_connecting, &call, NULL), 0);
    cr_assert_eq(call.result, -1);
    cr_assert_eq(call.error, ECANCELED, "%s", strerror(call.error));
}

static void *leave_trying_to_connect(void *arg)
{
    gring_spawn_n(do_connect, arg);
    gring_idle();
    return NULL;
}

/* The kernel tries again and again before it gives the request to a worker, and a cancel in
 * between finds nothing. */
Test(close, the_end_of_the_run_ends_a_connect_between_two_attempts)
{
    struct call call;
    int listener, first;

    prepare_unix_connect(&call, &listener, &first);
    cr_assert_eq(gring_run(leave_trying_to_connect, &call, NULL), 0);
    cr_assert_eq(call.result, -1);
    cr_assert_eq(call.error, ECANCELED, "%s", strerror(call.error));
}

ClosingTest(of_a_descriptor_in_a_partial_write_tells_what_was_written)
{
    const size_t size = 4 << 20;
    struct call call = { .size = size, .big = calloc(1, size) };
    gring_task *task;
    int ends[2];

    make_pipe(ends);
    call.fd = ends[1];
    task = spawn_waiting(do_write, &call);
    while (unread_bytes(ends[0]) == 0) /* before Linux 6.4 a worker of the kernel writes */
        gring_sleep(GRING_MS);
    cr_assert_eq(gring_close(ends[1]), 0);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, unread_bytes(ends[0]));
    close(ends[0]);
    free(call.big);
}

ClosingTest(of_a_descriptor_in_a_partial_send_tells_what_was_sent)
{
    const size_t size = 4 << 20;
    struct call call = { .size = size, .big = calloc(1, size) };
    gring_task *task;
    int ends[2];
    size_t got = 0;
    ssize_t count;
    char buf[4096];

    make_unix_pair(ends);
    call.fd = ends[0];
    task = spawn_waiting(do_send, &call);
    cr_assert_eq(gring_close(ends[0]), 0);
    cr_assert_eq(gring_join(task, NULL), 0);
    while ((count = read(ends[1], buf, sizeof buf)) > 0)
        got += (size_t)count;
    cr_assert_gt(got, 0);
    cr_assert_eq(call.result, (ssize_t)got);
    close(ends[1]);
    free(call.big);
}

ClosingTest(of_a_descriptor_in_a_partial_recv_gives_what_was_received)
{
    struct call call = { .flags = MSG_WAITALL };
    gring_task *task;
    int ends[2];

    make_tcp_pair(ends);
    cr_assert_eq(send(ends[1], "abc", 3, 0), 3);
    call.fd = ends[0];
    task = spawn_waiting(do_recv, &call);
    cr_assert_eq(unread_bytes(ends[0]), 0, "the kernel has not taken the bytes yet");
    cr_assert_eq(gring_close(ends[0]), 0);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 3, "result %zd", call.result);
    cr_assert_arr_eq(call.buf, "abc", 3);
    close(ends[1]);
}

/* ---- what the world sees --------------------------------------------------------------------- */

ClosingTest(lets_the_peer_see_the_end)
{
    struct call call = { 0 };
    int ends[2];
    char byte;

    make_tcp_pair(ends);
    call.fd = ends[0];
    expect_close_to_end(do_recv, &call);
    cr_assert_eq(recv(ends[1], &byte, 1, MSG_DONTWAIT), 0, "no FIN: %m");
    close(ends[1]);
}

ClosingTest(of_a_listener_frees_the_port_at_once)
{
    struct call call = { .fd = make_listener(1) };
    struct sockaddr_in address = address_of(call.fd);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    expect_close_to_end(do_accept, &call);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), -1,
                 "somebody still listens");
    cr_assert_eq(errno, ECONNREFUSED);
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0, "%m");
    cr_assert_eq(listen(fd, 1), 0, "%m");
    close(fd);
}

/* ---- who is hit, and who is not -------------------------------------------------------------- */

ClosingTest(ends_all_operations_on_the_descriptor)
{
    enum { COUNT = 100 };
    static struct call calls[COUNT];
    static gring_task *tasks[COUNT];
    int ends[2];

    make_unix_pair(ends);
    fill(ends[0]);
    for (int index = 0; index < COUNT; index++) {
        calls[index] = (struct call){ .fd = ends[0] };
        tasks[index] = spawn_waiting(index % 3 ? do_recv : do_write, &calls[index]);
    }
    cr_assert_eq(in_flight(), COUNT);
    cr_assert_eq(gring_close(ends[0]), 0);
    cr_assert_eq(in_flight(), 0);
    for (int index = 0; index < COUNT; index++)
        expect_ebadf(tasks[index], &calls[index]);
    close(ends[1]);
}

ClosingTest(ends_more_operations_than_the_ring_has_entries)
{
    enum { COUNT = 2000 };
    static struct call calls[COUNT];
    static gring_task *tasks[COUNT];
    int ends[2];

    make_pipe(ends);
    for (int index = 0; index < COUNT; index++) {
        calls[index] = (struct call){ .fd = ends[0] };
        tasks[index] = gring_spawn(do_read, &calls[index]);
    }
    gring_idle();
    cr_assert_eq(in_flight(), COUNT);
    cr_assert_eq(gring_close(ends[0]), 0);
    for (int index = 0; index < COUNT; index++)
        expect_ebadf(tasks[index], &calls[index]);
    close(ends[1]);
}

ClosingTest(leaves_operations_on_a_duplicate_alone)
{
    struct call on_it = { 0 }, on_duplicate = { 0 };
    gring_task *task, *other;
    int ends[2];

    make_pipe(ends);
    on_it.fd = ends[0];
    on_duplicate.fd = dup(ends[0]);
    task = spawn_waiting(do_read, &on_it);
    other = spawn_waiting(do_read, &on_duplicate);
    cr_assert_eq(gring_close(ends[0]), 0);
    expect_ebadf(task, &on_it);
    gring_idle();
    cr_assert_eq(gring_task_state(other), GRING_PARKED, "the operation on the duplicate was hit");
    cr_assert_eq(write(ends[1], "abc", 3), 3);
    cr_assert_eq(gring_join(other, NULL), 0);
    cr_assert_eq(on_duplicate.result, 3);
    close(ends[1]);
    close(on_duplicate.fd);
}

ClosingTest(leaves_other_descriptors_alone)
{
    struct call calls[8];
    gring_task *tasks[8];
    int ends[8][2];

    for (int index = 0; index < 8; index++) {
        make_pipe(ends[index]);
        calls[index] = (struct call){ .fd = ends[index][0] };
        tasks[index] = spawn_waiting(do_read, &calls[index]);
    }
    cr_assert_eq(gring_close(ends[3][0]), 0);
    expect_ebadf(tasks[3], &calls[3]);
    for (int index = 0; index < 8; index++) {
        close(index == 3 ? ends[3][1] : -1);
        if (index == 3)
            continue;
        cr_assert_eq(write(ends[index][1], "x", 1), 1);
        cr_assert_eq(gring_join(tasks[index], NULL), 0);
        cr_assert_eq(calls[index].result, 1, "descriptor %d was hit", index);
        close_both(ends[index]);
    }
}

/* ---- during the close ------------------------------------------------------------------------ */

/* The closer is spawned first and parks; whoever comes next runs while the close is under way. */
static void expect_during_close(gring_fn newcomer)
{
    struct call reader = { 0 }, closer = { 0 }, late = { 0 };
    gring_task *reading, *closing, *coming;
    int ends[2];

    make_pipe(ends);
    reader.fd = closer.fd = late.fd = ends[0];
    reading = spawn_waiting(do_read, &reader);
    closing = gring_spawn(do_close, &closer);
    coming = gring_spawn(newcomer, &late);
    cr_assert_eq(gring_wait(coming, NULL), 0);
    cr_assert(!closer.returned, "the close was over too early for this test");
    expect_ebadf(coming, &late);
    cr_assert_eq(gring_join(closing, NULL), 0);
    cr_assert_eq(closer.result, 0);
    expect_ebadf(reading, &reader);
    close(ends[1]);
}

ClosingTest(under_way_refuses_new_operations)
{
    expect_during_close(do_read);
}

ClosingTest(under_way_refuses_a_second_close)
{
    expect_during_close(do_close);
}

ClosingTest(leaves_no_mark_on_the_number)
{
    struct call call = { 0 };
    gring_task *task;
    int ends[2], again[2];

    make_pipe(ends);
    call.fd = ends[0];
    expect_close_to_end(do_read, &call);
    close(ends[1]);
    make_pipe(again);
    cr_assert_eq(again[0], ends[0], "the number was not given out again");
    call = (struct call){ .fd = again[0] };
    task = spawn_waiting(do_read, &call);
    cr_assert_eq(write(again[1], "abc", 3), 3);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 3);
    cr_assert_eq(gring_close(again[0]), 0);
    cr_assert_eq(gring_close(again[0]), -1);
    cr_assert_eq(errno, EBADF);
    close(again[1]);
}

ClosingTest(of_a_number_that_failed_to_close_leaves_no_mark)
{
    int number = dup(0), ends[2];
    char byte;

    close(number);
    cr_assert_eq(gring_close(number), -1);
    cr_assert_eq(errno, EBADF);
    make_pipe(ends);
    cr_assert_eq(ends[0], number);
    cr_assert_eq(write(ends[1], "x", 1), 1);
    cr_assert_eq(gring_read(ends[0], &byte, 1), 1);
    close_both(ends);
}

/* ---- from a plain thread --------------------------------------------------------------------- */

struct thread_close {
    int fd, result, error;
    int done_fd; /* gets a byte at the end, so that a task can wait for it */
};

static void *close_in_thread(void *arg)
{
    struct thread_close *c = arg;

    c->result = gring_close(c->fd);
    c->error = errno;
    return write(c->done_fd, "x", 1) == 1 ? c : NULL;
}

/* Runs gring_close in a thread while the hub goes on. */
static int close_from_thread(int fd)
{
    struct thread_close c = { .fd = fd };
    pthread_t thread;
    int done[2];
    char byte;

    make_pipe(done);
    c.done_fd = done[1];
    cr_assert_eq(pthread_create(&thread, NULL, close_in_thread, &c), 0);
    cr_assert_eq(gring_read(done[0], &byte, 1), 1);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    close_both(done);
    errno = c.error;
    return c.result;
}

ClosingTest(from_a_plain_thread_ends_a_read)
{
    struct call call = { 0 };
    gring_task *task;
    int ends[2];

    make_pipe(ends);
    call.fd = ends[0];
    task = spawn_waiting(do_read, &call);
    cr_assert_eq(close_from_thread(ends[0]), 0);
    cr_assert(!is_open(ends[0]));
    expect_ebadf(task, &call);
    close(ends[1]);
}

ClosingTest(from_a_plain_thread_ends_an_accept_and_frees_the_port)
{
    struct call call = { .fd = make_listener(1) };
    struct sockaddr_in address = address_of(call.fd);
    gring_task *task = spawn_waiting(do_accept, &call);
    int fd;

    cr_assert_eq(close_from_thread(call.fd), 0);
    expect_ebadf(task, &call);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0, "%m");
    close(fd);
}

/* A task and a thread, in whichever order they are heard. */
ClosingTest(from_a_plain_thread_and_by_a_task_at_once_is_done_by_one_of_them)
{
    struct call reader = { 0 }, closer = { 0 };
    struct thread_close late = { 0 };
    gring_task *reading, *closing;
    int ends[2], done[2];
    pthread_t thread;
    char byte;

    make_pipe(ends);
    make_pipe(done);
    reader.fd = closer.fd = late.fd = ends[0];
    late.done_fd = done[1];
    reading = spawn_waiting(do_read, &reader);
    cr_assert_eq(pthread_create(&thread, NULL, close_in_thread, &late), 0);
    closing = gring_spawn(do_close, &closer);
    cr_assert_eq(gring_read(done[0], &byte, 1), 1);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(gring_join(closing, NULL), 0);
    cr_assert_eq((closer.result == 0) + (late.result == 0), 1, "closed by one of them");
    expect_ebadf(reading, &reader);
    close(ends[1]);
    close_both(done);
}

ClosingTest(from_a_plain_thread_of_an_idle_descriptor)
{
    int ends[2], used;
    char byte;

    make_pipe(ends);
    used = fcntl(ends[0], F_DUPFD_CLOEXEC, 300); /* a number that nobody else gets in this test */
    cr_assert_eq(write(ends[1], "x", 1), 1);
    cr_assert_eq(gring_read(used, &byte, 1), 1);
    cr_assert_eq(close_from_thread(used), 0);
    cr_assert(!is_open(used));
    cr_assert_eq(close_from_thread(used), -1);
    cr_assert_eq(errno, EBADF);
    cr_assert_eq(close_from_thread(-1), -1);
    cr_assert_eq(errno, EBADF);
    cr_assert_eq(close_from_thread(ends[0]), 0); /* never used */
    close(ends[1]);
}

/* ---- dup2 ------------------------------------------------------------------------------------ */

ClosingTest(by_dup2_ends_a_read_and_puts_the_other_file_in_its_place)
{
    struct call call = { 0 };
    gring_task *task;
    int old[2], new[2];
    char byte = 0;

    make_pipe(old);
    make_pipe(new);
    call.fd = old[0];
    task = spawn_waiting(do_read, &call);
    cr_assert_eq(gring_dup2(new[0], old[0]), old[0]);
    expect_ebadf(task, &call);
    cr_assert_eq(write(new[1], "n", 1), 1);
    cr_assert_eq(gring_read(old[0], &byte, 1), 1);
    cr_assert_eq(byte, 'n');
    close(old[0]), close(old[1]), close(new[0]), close(new[1]);
}

ClosingTest(by_a_dup2_that_fails_or_changes_nothing_ends_nothing)
{
    struct call call = { 0 };
    gring_task *task;
    int ends[2];

    make_pipe(ends);
    call.fd = ends[0];
    task = spawn_waiting(do_read, &call);
    cr_assert_eq(gring_dup2(-1, ends[0]), -1);
    cr_assert_eq(errno, EBADF);
    cr_assert_eq(gring_dup2(ends[0], ends[0]), ends[0]);
    cr_assert_eq(gring_dup2(ends[1], -1), -1);
    cr_assert_eq(errno, EBADF);
    gring_idle();
    cr_assert(!call.returned);
    cr_assert_eq(write(ends[1], "x", 1), 1);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 1);
    close(ends[0]), close(ends[1]);
}

static void *dup2_in_thread(void *arg)
{
    const int *fds = arg;

    return (void *)(intptr_t)gring_dup2(fds[0], fds[1]);
}

ClosingTest(by_dup2_on_a_plain_thread_ends_a_read)
{
    struct call call = { 0 };
    gring_task *task;
    int old[2], new[2], fds[2];
    pthread_t thread;
    void *result;

    make_pipe(old);
    make_pipe(new);
    call.fd = fds[1] = old[0];
    fds[0] = new[0];
    task = spawn_waiting(do_read, &call);
    cr_assert_eq(pthread_create(&thread, NULL, dup2_in_thread, fds), 0);
    expect_ebadf(task, &call);
    cr_assert_eq(pthread_join(thread, &result), 0);
    cr_assert_eq((intptr_t)result, old[0]);
    close(old[0]), close(old[1]), close(new[0]), close(new[1]);
}

/* ---- dup3 and close_range ---------------------------------------------------------------------
 * */

ClosingTest(by_dup3_ends_a_read_and_sets_the_flag)
{
    struct call call = { 0 };
    gring_task *task;
    int old[2], new[2];

    make_pipe(old);
    make_pipe(new);
    call.fd = old[0];
    task = spawn_waiting(do_read, &call);
    cr_assert_eq(gring_dup3(new[0], old[0], 2), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_dup3(old[0], old[0], 0), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_dup3(-1, old[0], 0), -1);
    cr_assert_eq(errno, EBADF);
    gring_idle();
    cr_assert(!call.returned, "a call that fails ends nothing");
    cr_assert_eq(gring_dup3(new[0], old[0], O_CLOEXEC), old[0]);
    expect_ebadf(task, &call);
    cr_assert_eq(fcntl(old[0], F_GETFD), FD_CLOEXEC);
    cr_assert_eq(gring_dup3(new[0], old[0], 0), old[0]);
    cr_assert_eq(fcntl(old[0], F_GETFD), 0);
    close(old[0]), close(old[1]), close(new[0]), close(new[1]);
}

/* Descriptors from here on are this test's own. */
enum { RANGE = 500, RANGE_COUNT = 6 };

/* Pipes' reading ends at RANGE, RANGE + 2, …; a task reads from each but the last. */
static void make_range(struct call calls[RANGE_COUNT], gring_task *tasks[RANGE_COUNT],
                       int writers[])
{
    for (int index = 0; index < RANGE_COUNT; index++) {
        int ends[2];

        make_pipe(ends);
        calls[index] = (struct call){ .fd = RANGE + 2 * index };
        cr_assert_eq(dup3(ends[0], calls[index].fd, O_CLOEXEC), calls[index].fd);
        close(ends[0]);
        writers[index] = ends[1];
        if (index < RANGE_COUNT - 1)
            tasks[index] = spawn_waiting(do_read, &calls[index]);
    }
}

static void expect_range_to_be_closed(struct call calls[RANGE_COUNT],
                                      gring_task *tasks[RANGE_COUNT], const int writers[])
{
    for (int index = 0; index < RANGE_COUNT; index++) {
        cr_assert(!is_open(calls[index].fd));
        if (index < RANGE_COUNT - 1)
            expect_ebadf(tasks[index], &calls[index]);
        close(writers[index]);
    }
    cr_assert_eq(in_flight(), 0);
}

ClosingTest(of_a_range_ends_what_is_in_flight_in_it_and_nothing_else)
{
    struct call calls[RANGE_COUNT], outside = { 0 };
    gring_task *tasks[RANGE_COUNT], *reader;
    int writers[RANGE_COUNT], ends[2];

    make_pipe(ends);
    outside.fd = ends[0];
    make_range(calls, tasks, writers);
    reader = spawn_waiting(do_read, &outside);
    errno = 4242;
    cr_assert_eq(gring_close_range(RANGE, RANGE + 2 * RANGE_COUNT, 0), 0);
    cr_assert_eq(errno, 4242);
    cr_assert(!outside.returned);
    cr_assert_eq(write(ends[1], "x", 1), 1);
    cr_assert_eq(gring_join(reader, NULL), 0);
    cr_assert_eq(outside.result, 1);
    expect_range_to_be_closed(calls, tasks, writers);
    close_both(ends);
}

ClosingTest(of_a_range_refuses_what_close_range_refuses_and_sets_flags)
{
    int ends[2];
    struct call call = { 0 };
    gring_task *task;

    cr_assert_eq(pipe(ends), 0);
    call.fd = ends[0];
    task = spawn_waiting(do_read, &call);
    cr_assert_eq(gring_close_range(5, 4, 0), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_close_range(3, ~0u, 1u << 20), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_close_range(3, ~0u, CLOSE_RANGE_UNSHARE), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_close_range((unsigned)ends[0], (unsigned)ends[0], CLOSE_RANGE_CLOEXEC), 0);
    cr_assert_eq(fcntl(ends[0], F_GETFD), FD_CLOEXEC);
    cr_assert_eq(fcntl(ends[1], F_GETFD), 0);
    cr_assert(!call.returned);
    cr_assert_eq(write(ends[1], "x", 1), 1);
    cr_assert_eq(gring_join(task, NULL), 0);
    close_both(ends);
}

static void *close_own_range(void *unused)
{
    gring_close_range(RANGE, RANGE + 2 * RANGE_COUNT, 0);
    return unused;
}

ClosingTest(of_a_range_from_a_plain_thread_ends_what_is_in_flight)
{
    struct call calls[RANGE_COUNT];
    gring_task *tasks[RANGE_COUNT];
    int writers[RANGE_COUNT];
    pthread_t thread;

    make_range(calls, tasks, writers);
    cr_assert_eq(pthread_create(&thread, NULL, close_own_range, NULL), 0);
    for (int index = 0; index < RANGE_COUNT - 1; index++)
        gring_wait(tasks[index], NULL);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    expect_range_to_be_closed(calls, tasks, writers);
}

static void *close_everything(void *unused)
{
    int ends[2];
    char byte;

    CHILD_MUST(gring_close_range(3, ~0u, 0) == 0);
    CHILD_MUST(gring_sleep(GRING_MS) == 0);
    CHILD_MUST(pipe(ends) == 0);
    CHILD_MUST(gring_within(GRING_MS, gring_read(ends[0], &byte, 1)) == -1 && errno == ETIMEDOUT);
    CHILD_MUST(gring_write(ends[1], "x", 1) == 1 && gring_read(ends[0], &byte, 1) == 1);
    return unused;
}

static void *unpark_main(void *main_task)
{
    gring_unpark(main_task, NULL);
    return NULL;
}

static void *close_everything_and_be_woken(void *unused)
{
    pthread_t thread;

    close_everything(unused);
    CHILD_MUST(pthread_create(&thread, NULL, unpark_main, gring_self()) == 0);
    CHILD_MUST(gring_park(NULL) == 0);
    CHILD_MUST(pthread_join(thread, NULL) == 0);
    return NULL;
}

static void close_all_in_a_run(void)
{
    CHILD_MUST(gring_run(close_everything_and_be_woken, NULL, NULL) == 0);
    CHILD_MUST(gring_close_range(3, ~0u, 0) == 0);
}

Test(close, of_all_descriptors_leaves_the_runtime_working)
{
    child_must_pass(close_all_in_a_run);
}

/* ---- shutdown -------------------------------------------------------------------------------- */

ClosingTest(is_not_needed_to_wake_a_reader_shutdown_gives_it_zero)
{
    struct call call = { .result = 99 };
    gring_task *task;
    int ends[2];

    make_tcp_pair(ends);
    call.fd = ends[0];
    task = spawn_waiting(do_recv, &call);
    cr_assert_eq(gring_shutdown(ends[0], SHUT_RDWR), 0);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 0);
    close_both(ends);
}

ClosingTest(is_not_needed_to_wake_an_acceptor_shutdown_gives_it_EINVAL)
{
    struct call call = { .fd = make_listener(1) };
    gring_task *task = spawn_waiting(do_accept, &call);

    cr_assert_eq(gring_shutdown(call.fd, SHUT_RD), 0);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, -1);
    cr_assert_eq(call.error, EINVAL);
    close(call.fd);
}

/* ---- what has happened has happened ---------------------------------------------------------- */

/* Gets the completions of what is ready reaped while the caller, who runs before the others, has
 * the next word. */
static void let_completions_come(void)
{
    int ends[2];
    char byte;

    make_unix_pair(ends);
    cr_assert_eq(write(ends[1], "x", 1), 1);
    cr_assert_eq(gring_set_prio(GRING_PRIO_HIGH), 0);
    cr_assert_eq(gring_read(ends[0], &byte, 1), 1);
    close_both(ends);
}

ClosingTest(takes_no_result_away_from_a_read_that_has_completed)
{
    struct call call = { 0 };
    gring_task *task;
    int ends[2];

    make_unix_pair(ends);
    call.fd = ends[0];
    task = spawn_waiting(do_read, &call);
    cr_assert_eq(write(ends[1], "abc", 3), 3);
    let_completions_come();
    cr_assert(!call.returned, "the reader ran too early for this test");
    cr_assert_eq(gring_close(ends[0]), 0);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 3);
    cr_assert_arr_eq(call.buf, "abc", 3);
    close(ends[1]);
}

ClosingTest(takes_no_connection_away_from_an_accept_that_has_completed)
{
    struct call call = { .fd = make_listener(4) };
    gring_task *task = spawn_waiting(do_accept, &call);
    int client = plain_connect(call.fd);

    let_completions_come();
    cr_assert(!call.returned, "the acceptor ran too early for this test");
    cr_assert_eq(gring_close(call.fd), 0);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_geq(call.result, 0);
    cr_assert_eq(write(client, "hi", 2), 2);
    cr_assert_eq(read((int)call.result, call.buf, 2), 2);
    close((int)call.result);
    close(client);
}

static void *end_while_ready(void *arg)
{
    struct call *call = arg;

    gring_spawn_n(do_read, call);
    gring_idle();
    cr_assert_eq(write(call->flags, "abc", 3), 3);
    let_completions_come();
    cr_assert(!call->returned, "the reader ran too early for this test");
    return NULL;
}

Test(close, the_end_of_the_run_takes_no_result_away_either)
{
    struct call call = { 0 };
    int ends[2], before = descriptor_count();

    make_unix_pair(ends);
    call.fd = ends[0];
    call.flags = ends[1];
    cr_assert_eq(gring_run(end_while_ready, &call, NULL), 0);
    cr_assert_eq(call.result, 3, "result %zd, %s", call.result, strerrorname_np(call.error));
    cr_assert_arr_eq(call.buf, "abc", 3);
    cr_assert_eq(close(ends[0]), 0);
    cr_assert_eq(close(ends[1]), 0);
    cr_assert_eq(descriptor_count(), before);
}

static void *leave_in_transfers(void *arg)
{
    struct call *calls = arg;

    gring_spawn_n(do_recv, &calls[0]);
    gring_spawn_n(do_send, &calls[1]);
    gring_idle();
    return NULL;
}

Test(close, the_end_of_the_run_tells_what_was_received_and_sent)
{
    const size_t size = 4 << 20;
    struct call calls[2] = { { .flags = MSG_WAITALL }, { .size = size, .big = calloc(1, size) } };
    int receiving[2], sending[2];
    char buf[4096];
    ssize_t got = 0, count;

    make_tcp_pair(receiving);
    make_unix_pair(sending);
    cr_assert_eq(send(receiving[1], "abc", 3, 0), 3);
    calls[0].fd = receiving[0];
    calls[1].fd = sending[0];
    cr_assert_eq(gring_run(leave_in_transfers, calls, NULL), 0);
    cr_assert_eq(calls[0].result, 3, "result %zd, %s", calls[0].result, strerror(calls[0].error));
    cr_assert_arr_eq(calls[0].buf, "abc", 3);
    close(sending[0]);
    while ((count = read(sending[1], buf, sizeof buf)) > 0)
        got += count;
    cr_assert_gt(got, 0);
    cr_assert_eq(calls[1].result, got);
    free(calls[1].big);
}

enum { TAKERS = 40 };

struct takers {
    int ends[2];
    uint64_t random;
    size_t taken[TAKERS];
    int next;
};

static void *take_bytes(void *arg)
{
    struct takers *takers = arg;
    int me = takers->next++;
    char buf[7];
    ssize_t count;

    while ((count = gring_read(takers->ends[0], buf, sizeof buf)) > 0)
        takers->taken[me] += (size_t)count;
    return NULL;
}

static void *end_amid_reads(void *arg)
{
    struct takers *takers = arg;
    int rounds = (int)(random_next(&takers->random) % 60);

    for (int index = 0; index < TAKERS; index++)
        gring_spawn_n(take_bytes, takers);
    gring_idle();
    for (int round = 0; round < rounds; round++) {
        char buf[64] = "";
        size_t size = 1 + random_next(&takers->random) % sizeof buf;

        cr_assert_eq(write(takers->ends[1], buf, size), (ssize_t)size);
        takers->taken[0] -= size; /* in the end all must be accounted for */
        if (random_next(&takers->random) & 1)
            gring_sleep(1);
    }
    return NULL;
}

Test(close, the_end_of_the_run_loses_no_byte)
{
    struct takers takers = { .random = random_seed() };

    for (int run = 0; run < 50; run++) {
        size_t sum = 0;

        memset(takers.taken, 0, sizeof takers.taken);
        takers.next = 0;
        make_pipe(takers.ends);
        cr_assert_eq(gring_run(end_amid_reads, &takers, NULL), 0);
        for (int index = 0; index < TAKERS; index++)
            sum += takers.taken[index];
        sum += (size_t)unread_bytes(takers.ends[0]);
        cr_assert_eq(sum, 0, "run %d: %zd bytes are missing", run, -(ssize_t)sum);
        close_both(takers.ends);
    }
}

/* ---- numbers that are used again ------------------------------------------------------------- */

enum { SLOTS = 24, TORTURERS = 8, TORTURE_ROUNDS = 1500 };

/* A pipe whose reader expects the stream of its own incarnation, whatever number it has. */
struct incarnation {
    int ends[2];
    uint64_t stream;
    size_t written;
    bool closing;
    unsigned readers;
};

static struct torture {
    struct incarnation *slots[SLOTS];
    uint64_t random, next_stream;
    unsigned reads, ebadfs, wrong;
    int tasks;
} torture;

static void release(struct incarnation *pipe)
{
    if (--pipe->readers == 0)
        free(pipe);
}

/* One reader for each incarnation: it checks every byte, and goes when the pipe does. */
static void *check_incarnation(void *arg)
{
    struct incarnation *pipe = arg;
    int fd = pipe->ends[0];
    size_t place = 0;
    char buf[41];
    ssize_t count;

    while (!pipe->closing) { /* else the number may be somebody else's by now */
        count = gring_read(fd, buf, sizeof buf);
        if (count < 0 && errno == EBADF && pipe->closing) {
            torture.ebadfs++;
            break;
        }
        if (count <= 0 || pattern_matches(buf, (size_t)count, pipe->stream, place) != (size_t)count)
            torture.wrong++;
        place += count > 0 ? (size_t)count : 0;
        torture.reads++;
    }
    release(pipe);
    torture.tasks--;
    return NULL;
}

static struct incarnation *incarnate(void)
{
    struct incarnation *pipe = calloc(1, sizeof *pipe);

    make_pipe(pipe->ends);
    pipe->stream = ++torture.next_stream;
    pipe->readers = 2;
    torture.tasks++;
    cr_assert_eq(gring_spawn_n(check_incarnation, pipe), 0);
    return pipe;
}

static void write_some(struct incarnation *pipe)
{
    char buf[64];
    size_t size = 1 + random_next(&torture.random) % sizeof buf;

    if (unread_bytes(pipe->ends[0]) > 4096)
        return;
    pattern_fill(buf, size, pipe->stream, pipe->written);
    cr_assert_eq(write(pipe->ends[1], buf, size), (ssize_t)size);
    pipe->written += size;
}

/* The reading end first, so that its reader learns EBADF and not the end of the stream. */
static void excarnate(struct incarnation *pipe)
{
    pipe->closing = true;
    cr_assert_eq(gring_close(pipe->ends[0]), 0);
    cr_assert_eq(gring_close(pipe->ends[1]), 0);
    release(pipe);
}

static void *torment(void *arg)
{
    (void)arg;
    for (int round = 0; round < TORTURE_ROUNDS; round++) {
        struct incarnation **slot = &torture.slots[random_next(&torture.random) % SLOTS];
        struct incarnation *pipe = *slot;

        if (!pipe) {
            *slot = incarnate();
        } else if (random_next(&torture.random) % 4 == 0) {
            *slot = NULL; /* nobody else finds it while it is being closed */
            excarnate(pipe);
        } else {
            write_some(pipe);
        }
        if (random_next(&torture.random) % 8 == 0)
            gring_sleep(1);
        else if (random_next(&torture.random) % 2)
            gring_yield();
    }
    return NULL;
}

ClosingTest(and_reuse_of_numbers_never_mixes_streams)
{
    gring_task *tasks[TORTURERS];

    torture = (struct torture){ .random = random_seed() };
    for (int index = 0; index < TORTURERS; index++)
        tasks[index] = gring_spawn(torment, NULL);
    cr_assert_eq(gring_waitall(tasks, TORTURERS), 0);
    for (int index = 0; index < SLOTS; index++)
        if (torture.slots[index])
            excarnate(torture.slots[index]);
    gring_idle();
    cr_assert_eq(torture.tasks, 0, "%d readers are still there", torture.tasks);
    cr_assert_eq(torture.wrong, 0, "%u of %u reads were wrong", torture.wrong, torture.reads);
    cr_assert_gt(torture.ebadfs, 100, "hardly any read was ended by a close");
    cr_assert_gt(torture.reads, 1000);
}

/* ---- the end of a run ------------------------------------------------------------------------ */

static void *leave_them_waiting(void *arg)
{
    struct call *calls = arg;

    gring_spawn_n(do_read, &calls[0]);
    gring_spawn_n(do_accept, &calls[1]);
    gring_spawn_n(do_write, &calls[2]);
    gring_idle();
    return NULL;
}

Test(close, after_the_run_descriptors_are_free_to_go)
{
    static struct call calls[3];
    int ends[2], full[2], before = descriptor_count(), fd;
    struct sockaddr_in address;

    make_tcp_pair(ends);
    make_pipe(full);
    fill(full[1]);
    calls[0].fd = ends[0];
    calls[1].fd = make_listener(1);
    calls[2].fd = full[1];
    address = address_of(calls[1].fd);
    cr_assert_eq(gring_run(leave_them_waiting, calls, NULL), 0);
    for (int index = 0; index < 3; index++) {
        cr_assert(calls[index].returned);
        cr_assert_eq(calls[index].result, -1);
        cr_assert_eq(calls[index].error, ECANCELED);
        cr_assert_eq(close(calls[index].fd), 0);
    }
    cr_assert_eq(recv(ends[1], &(char){ 0 }, 1, MSG_DONTWAIT), 0, "no FIN: %m");
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0, "%m");
    close(fd);
    close(ends[1]);
    close(full[0]);
    cr_assert_eq(descriptor_count(), before);
}

static void *close_own(void *arg)
{
    struct call *call = arg;

    do_read(call);
    return (void *)(intptr_t)(gring_close(call->fd) == 0);
}

static void *leave_one_that_closes(void *arg)
{
    gring_spawn_n(close_own, arg);
    gring_idle();
    return NULL;
}

Test(close, works_in_a_task_that_is_being_ended)
{
    struct call call = { 0 };
    int ends[2];

    make_pipe(ends);
    call.fd = ends[0];
    cr_assert_eq(gring_run(leave_one_that_closes, &call, NULL), 0);
    cr_assert_eq(call.error, ECANCELED);
    cr_assert(!is_open(ends[0]));
    close(ends[1]);
}
