/*
 * What we believe about the kernel, asked of the kernel of this machine.
 *
 * Each test is one assumption that the code above rests on, measured once and written down in
 * docs/kernel.md; a kernel that thinks otherwise makes it fail here, by name, and not somewhere
 * else by a hang. What a kernel between 6.1 and now may lack is skipped. The ring is set up as
 * ours is, but used raw.
 */
#include "base/sys.h"
#include "uring/ring.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STILL_PENDING = 1 << 30, NOTHING_ELSE = 77 };

static struct io_uring ring;

static void set_up(void)
{
    struct io_uring_params params = { .flags =
                                          IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                                          IORING_SETUP_SUBMIT_ALL | IORING_SETUP_TASKRUN_FLAG };

    cr_assert_eq(io_uring_queue_init_params(64, &ring, &params), 0);
}

TestSuite(kernel, .init = set_up);

/* ---- asking ---------------------------------------------------------------------------------- */

static struct io_uring_sqe *sqe_for(uint64_t user_data)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

    cr_assert_not_null(sqe);
    memset(sqe, 0, sizeof *sqe);
    io_uring_sqe_set_data64(sqe, user_data); /* each prep below keeps it */
    return sqe;
}

/* Submits, and lets everything that can complete now complete. */
static void submit(void)
{
    io_uring_submit(&ring);
    for (int round = 0; round < 4; round++)
        io_uring_get_events(&ring);
}

/* The result of the request, waiting so long for it; or STILL_PENDING. */
static int result_within(uint64_t user_data, int milliseconds)
{
    struct __kernel_timespec limit = { .tv_sec = milliseconds / 1000,
                                       .tv_nsec = milliseconds % 1000 * 1000000L };
    struct io_uring_cqe *cqe = NULL;
    int result;

    do {
        if (io_uring_peek_cqe(&ring, &cqe) == 0 ||
            (milliseconds && io_uring_wait_cqe_timeout(&ring, &cqe, &limit) == 0)) {
            result = cqe->res;
            if (cqe->user_data == user_data) {
                io_uring_cqe_seen(&ring, cqe);
                return result;
            }
            io_uring_cqe_seen(&ring, cqe);
            continue;
        }
        return STILL_PENDING;
    } while (true);
}

/* What a request that has not to wait for anybody says. Workers may be needed: up to two
 * seconds. */
static int ask(uint64_t user_data)
{
    submit();
    return result_within(user_data, 2000);
}

/* The same for one that is expected not to say anything. */
static bool stays_pending(uint64_t user_data)
{
    submit();
    return result_within(user_data, 0) == STILL_PENDING;
}

static void cancel(uint64_t user_data)
{
    struct io_uring_sqe *sqe = sqe_for(0);

    io_uring_prep_cancel64(sqe, user_data, 0);
    io_uring_sqe_set_data64(sqe, 0);
}

static void prep(struct io_uring_sqe *sqe, int opcode, int fd, const void *buf, unsigned size,
                 uint64_t offset)
{
    uint64_t user_data = sqe->user_data;

    io_uring_prep_rw(opcode, sqe, fd, buf, size, offset);
    io_uring_sqe_set_data64(sqe, user_data);
}

static void make_pipe(int ends[2], int flags)
{
    cr_assert_eq(pipe2(ends, O_CLOEXEC | flags), 0);
}

static void make_pair(int ends[2], int flags)
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0, ends), 0);
}

static int make_listener(int flags)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(fd, 0), 0);
    return fd;
}

static struct sockaddr_in address_of(int fd)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;

    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    return address;
}

static void make_tcp_pair(int ends[2])
{
    int listener = make_listener(0);
    struct sockaddr_in address = address_of(listener);

    ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(ends[0], (struct sockaddr *)&address, sizeof address), 0);
    ends[1] = accept(listener, NULL, NULL);
    close(listener);
}

static void fill(int fd)
{
    static const char zeros[1 << 16];
    int flags = fcntl(fd, F_GETFL);

    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    while (write(fd, zeros, sizeof zeros) > 0 || write(fd, zeros, 1) > 0)
        ;
    fcntl(fd, F_SETFL, flags);
}

static int thread_count(void)
{
    DIR *folder = opendir("/proc/self/task");
    int count = -2;

    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

/* ---- O_NONBLOCK and friends ------------------------------------------------------------------ */

static void expect_recv_pending(int flags)
{
    int ends[2], threads = thread_count();
    char byte;

    make_pair(ends, flags);
    prep(sqe_for(1), IORING_OP_RECV, ends[0], &byte, 1, 0);
    cr_assert(stays_pending(1));
    cr_assert_eq(thread_count(), threads, "it took a worker thread");
    cr_assert_eq(write(ends[1], "x", 1), 1);
    cr_assert_eq(result_within(1, 2000), 1);
}

Test(kernel, recv_on_a_blocking_socket_waits_without_a_worker)
{
    expect_recv_pending(0);
}

Test(kernel, recv_on_a_nonblocking_socket_waits)
{
    expect_recv_pending(SOCK_NONBLOCK);
}

Test(kernel, read_on_a_nonblocking_pipe_waits)
{
    int ends[2];
    char byte;

    make_pipe(ends, O_NONBLOCK);
    prep(sqe_for(1), IORING_OP_READ, ends[0], &byte, 1, (uint64_t)-1);
    cr_assert(stays_pending(1));
}

Test(kernel, recv_with_MSG_DONTWAIT_says_EAGAIN)
{
    struct io_uring_sqe *sqe = sqe_for(1);
    int ends[2];
    char byte;

    make_pair(ends, 0);
    prep(sqe, IORING_OP_RECV, ends[0], &byte, 1, 0);
    sqe->msg_flags = MSG_DONTWAIT;
    cr_assert_eq(ask(1), -EAGAIN);
}

Test(kernel, readv_with_RWF_NOWAIT_says_EAGAIN)
{
    struct io_uring_sqe *sqe = sqe_for(1);
    char byte;
    struct iovec part = { &byte, 1 };
    int ends[2];

    make_pipe(ends, 0);
    prep(sqe, IORING_OP_READV, ends[0], &part, 1, (uint64_t)-1);
    sqe->rw_flags = RWF_NOWAIT;
    cr_assert_eq(ask(1), probe_pipe_nowait() ? -EAGAIN : -EOPNOTSUPP);
}

Test(kernel, readv_with_RWF_HIPRI_is_refused_by_a_ring_that_does_not_poll)
{
    struct io_uring_sqe *sqe = sqe_for(1);
    char byte;
    struct iovec part = { &byte, 1 };
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    prep(sqe, IORING_OP_READV, fd, &part, 1, 0);
    sqe->rw_flags = RWF_HIPRI;
    cr_assert_eq(ask(1), -EINVAL);
    close(fd);
}

Test(kernel, send_on_a_full_nonblocking_socket_waits)
{
    int ends[2];

    make_pair(ends, SOCK_NONBLOCK);
    fill(ends[0]);
    prep(sqe_for(1), IORING_OP_SEND, ends[0], "x", 1, 0);
    cr_assert(stays_pending(1));
}

Test(kernel, accept_on_a_nonblocking_listener_waits)
{
    prep(sqe_for(1), IORING_OP_ACCEPT, make_listener(SOCK_NONBLOCK), NULL, 0, 0);
    cr_assert(stays_pending(1));
}

Test(kernel, connect_on_a_nonblocking_socket_waits)
{
    int listener = make_listener(0), first = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int second = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = address_of(listener);

    cr_assert_eq(connect(first, (struct sockaddr *)&address, sizeof address),
                 0); /* the backlog is full now */
    prep(sqe_for(1), IORING_OP_CONNECT, second, &address, 0, sizeof address);
    cr_assert(stays_pending(1));
}

Test(kernel, recv_knows_no_SO_RCVTIMEO)
{
    struct timeval soon = { .tv_usec = 10000 };
    int ends[2];
    char byte;

    make_pair(ends, 0);
    cr_assert_eq(setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon), 0);
    prep(sqe_for(1), IORING_OP_RECV, ends[0], &byte, 1, 0);
    submit();
    cr_assert_eq(result_within(1, 100), STILL_PENDING);
}

Test(kernel, connect_knows_no_SO_SNDTIMEO)
{
    struct timeval soon = { .tv_usec = 10000 };
    int listener = make_listener(0), first = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int second = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = address_of(listener);

    cr_assert_eq(connect(first, (struct sockaddr *)&address, sizeof address),
                 0); /* the backlog is full now */
    cr_assert_eq(setsockopt(second, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon), 0);
    prep(sqe_for(1), IORING_OP_CONNECT, second, &address, 0, sizeof address);
    submit();
    cr_assert_eq(result_within(1, 100), STILL_PENDING);
}

Test(kernel, open_of_a_fifo_does_not_wait_for_the_other_end)
{
    char folder[] = P_tmpdir "/greenring-test-XXXXXX", path[64];
    struct io_uring_sqe *sqe;
    struct stat status;
    int reader, writer;

    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/fifo", folder);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_eq(stat(path, &status), 0); /* the first attempt only looks at cached names */
    prep(sqe_for(1), IORING_OP_OPENAT, AT_FDCWD, path, 0, 0);
    reader = ask(1);
    if (reader >= 0)
        close(reader);
    sqe = sqe_for(2);
    prep(sqe, IORING_OP_OPENAT, AT_FDCWD, path, 0, 0);
    sqe->open_flags = O_WRONLY;
    writer = ask(2);
    unlink(path);
    rmdir(folder);
    cr_expect_geq(reader, 0, "%d: now it waits: api/io/open.c need not go round this any more",
                  reader);
    cr_expect_eq(writer, -ENXIO, "%d: now it waits", writer);
}

/* ---- short transfers ------------------------------------------------------------------------- */

enum { LARGE = 16 << 20 };

static int large_transfer(int opcode, int fd, int flags)
{
    struct io_uring_sqe *sqe = sqe_for(1);
    void *memory = mmap(NULL, LARGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    prep(sqe, opcode, fd, memory, LARGE, opcode == IORING_OP_WRITE ? (uint64_t)-1 : 0);
    sqe->msg_flags = (uint32_t)flags;
    submit();
    return result_within(1, 50);
}

Test(kernel, large_send_is_short)
{
    int ends[2], result;

    make_tcp_pair(ends);
    result = large_transfer(IORING_OP_SEND, ends[0], MSG_NOSIGNAL);
    cr_assert(result > 0 && result < LARGE, "result %d", result);
}

Test(kernel, large_send_with_MSG_WAITALL_waits)
{
    int ends[2];

    make_tcp_pair(ends);
    cr_assert_eq(large_transfer(IORING_OP_SEND, ends[0], MSG_NOSIGNAL | MSG_WAITALL),
                 STILL_PENDING);
}

Test(kernel, cancelled_send_tells_what_was_sent)
{
    int ends[2], result;

    make_tcp_pair(ends);
    cr_assert_eq(large_transfer(IORING_OP_SEND, ends[0], MSG_NOSIGNAL | MSG_WAITALL),
                 STILL_PENDING);
    cancel(1);
    result = ask(1);
    cr_assert(result > 0 && result < LARGE, "result %d", result);
}

Test(kernel, large_write_to_a_pipe_is_short)
{
    int ends[2], result;

    if (!probe_pipe_nowait())
        cr_skip_test("a worker of this kernel writes, until all is written");
    make_pipe(ends, 0);
    result = large_transfer(IORING_OP_WRITE, ends[1], 0);
    cr_assert(result > 0 && result < LARGE, "result %d", result);
}

Test(kernel, large_write_to_a_socket_is_short)
{
    int ends[2], result;

    make_tcp_pair(ends);
    result = large_transfer(IORING_OP_WRITE, ends[0], 0);
    cr_assert(result > 0 && result < LARGE, "result %d", result);
}

/* ---- the end of a descriptor ----------------------------------------------------------------- */

Test(kernel, close_leaves_a_recv_pending_and_the_peer_without_an_end)
{
    int ends[2];
    char byte;

    make_tcp_pair(ends);
    prep(sqe_for(1), IORING_OP_RECV, ends[0], &byte, 1, 0);
    submit();
    close(ends[0]);
    submit();
    cr_assert_eq(result_within(1, 50), STILL_PENDING);
    cr_assert_eq(recv(ends[1], &byte, 1, MSG_DONTWAIT), -1);
    cr_assert_eq(errno, EAGAIN);
}

Test(kernel, shutdown_ends_a_recv_with_zero)
{
    int ends[2];
    char byte;

    make_tcp_pair(ends);
    prep(sqe_for(1), IORING_OP_RECV, ends[0], &byte, 1, 0);
    submit();
    cr_assert_eq(shutdown(ends[0], SHUT_RDWR), 0);
    cr_assert_eq(ask(1), 0);
}

Test(kernel, shutdown_ends_an_accept_with_EINVAL)
{
    int listener = make_listener(0);

    prep(sqe_for(1), IORING_OP_ACCEPT, listener, NULL, 0, 0);
    submit();
    cr_assert_eq(shutdown(listener, SHUT_RD), 0);
    cr_assert_eq(ask(1), -EINVAL);
}

/* ---- signals --------------------------------------------------------------------------------- */

static volatile sig_atomic_t signal_count;

static void count_signal(int number)
{
    (void)number;
    signal_count++;
}

Test(kernel, send_to_a_closed_peer_is_EPIPE_without_a_signal)
{
    int ends[2];

    signal(SIGPIPE, count_signal);
    make_pair(ends, 0);
    close(ends[1]);
    prep(sqe_for(1), IORING_OP_SEND, ends[0], "x", 1, 0);
    cr_assert_eq(ask(1), -EPIPE);
    cr_assert_eq(signal_count, 0);
}

static void expect_write_to_signal(int fd, int times)
{
    signal(SIGPIPE, count_signal);
    prep(sqe_for(1), IORING_OP_WRITE, fd, "x", 1, (uint64_t)-1);
    cr_assert_eq(ask(1), -EPIPE);
    cr_assert_eq(signal_count, times);
}

Test(kernel, write_to_a_closed_peer_is_EPIPE_with_a_signal)
{
    int ends[2];

    make_pair(ends, 0);
    close(ends[1]);
    expect_write_to_signal(ends[0], 1);
}

/* A worker keeps it to itself; gring_write then raises it. */
Test(kernel, write_to_a_pipe_without_reader_is_EPIPE_with_a_signal_but_from_a_worker)
{
    int ends[2];

    make_pipe(ends, 0);
    close(ends[0]);
    expect_write_to_signal(ends[1], probe_pipe_nowait());
}

Test(kernel, writev_with_RWF_NOSIGNAL_is_EPIPE_without_a_signal)
{
    struct io_uring_sqe *sqe = sqe_for(1);
    struct iovec part = { (char[]){ "x" }, 1 };
    int ends[2];

    if (!probe_rwf_nosignal())
        cr_skip_test("this kernel has no RWF_NOSIGNAL");
    signal(SIGPIPE, count_signal);
    make_pipe(ends, 0);
    close(ends[0]);
    prep(sqe, IORING_OP_WRITEV, ends[1], &part, 1, (uint64_t)-1);
    sqe->rw_flags = 0x100; /* RWF_NOSIGNAL */
    cr_assert_eq(ask(1), -EPIPE);
    cr_assert_eq(signal_count, 0);
}

Test(kernel, enter_is_interrupted_by_a_signal_even_with_SA_RESTART)
{
    struct sigaction action = { .sa_handler = count_signal, .sa_flags = SA_RESTART };
    struct itimerval soon = { .it_value.tv_usec = 20000, .it_interval.tv_usec = 20000 };

    cr_assert_eq(sigaction(SIGALRM, &action, NULL), 0);
    cr_assert_eq(setitimer(ITIMER_REAL, &soon, NULL), 0);
    cr_assert_eq(io_uring_enter((unsigned)ring.ring_fd, 0, 1, IORING_ENTER_GETEVENTS, NULL),
                 -EINTR);
    cr_assert_gt(signal_count, 0);
}

/* ---- splice ---------------------------------------------------------------------------------- */

static void splice_later(int in, int out, size_t size)
{
    struct io_uring_sqe *sqe = sqe_for(1);

    prep(sqe, IORING_OP_SPLICE, out, NULL, (unsigned)size, (uint64_t)-1);
    sqe->splice_fd_in = in;
    sqe->splice_off_in = (uint64_t)-1;
    sqe->splice_flags = SPLICE_F_NONBLOCK;
}

Test(kernel, splice_to_a_pipe_without_reader_is_EPIPE_without_a_signal)
{
    int from[2], to[2];

    signal(SIGPIPE, count_signal);
    make_pipe(from, 0);
    make_pipe(to, 0);
    cr_assert_eq(write(from[1], "x", 1), 1);
    close(to[0]);
    splice_later(from[0], to[1], 1);
    cr_assert_eq(ask(1), -EPIPE);
    cr_assert_eq(signal_count, 0);
}

static bool is_writable(int fd)
{
    struct pollfd end = { .fd = fd, .events = POLLOUT };

    return poll(&end, 1, 0) == 1;
}

/* SPLICE_F_NONBLOCK is not for the socket: what does not wait is what there is room for. */
static void expect_no_wait_until_full(int socket_fd, int send_buffer)
{
    static char bytes[1 << 16];
    socklen_t length = sizeof send_buffer;
    size_t size;
    int ends[2];

    make_pipe(ends, 0);
    if (send_buffer)
        setsockopt(socket_fd, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer);
    getsockopt(socket_fd, SOL_SOCKET, SO_SNDBUF, &send_buffer, &length);
    size = (size_t)send_buffer / 4 < sizeof bytes ? (size_t)send_buffer / 4 : sizeof bytes;
    while (is_writable(socket_fd)) {
        cr_assert_eq(write(ends[1], bytes, size), (ssize_t)size);
        splice_later(ends[0], socket_fd, size);
        cr_assert_eq(ask(1), (int)size, "with a send buffer of %d", send_buffer);
    }
    close(ends[0]);
    close(ends[1]);
}

Test(kernel, splice_of_a_quarter_of_the_send_buffer_to_a_writable_socket_does_not_wait)
{
    const int send_buffers[] = { 8192, 32768, 1 << 18, 0 };
    int ends[2];

    for (size_t index = 0; index < sizeof send_buffers / sizeof send_buffers[0]; index++) {
        make_tcp_pair(ends);
        expect_no_wait_until_full(ends[0], send_buffers[index]);
        make_pair(ends, 0);
        expect_no_wait_until_full(ends[0], send_buffers[index]);
    }
}

/* ---- what can be waited for ------------------------------------------------------------------ */

static int poll_result(int fd, unsigned mask)
{
    struct io_uring_sqe *sqe = sqe_for(1);

    prep(sqe, IORING_OP_POLL_ADD, fd, NULL, 0, 0);
    sqe->poll32_events = mask;
    submit();
    return result_within(1, 0);
}

Test(kernel, poll_answers_at_once_for_files_and_devices)
{
    FILE *file = tmpfile();

    cr_assert_eq(poll_result(fileno(file), POLLIN | POLLOUT), POLLIN | POLLOUT);
    cr_assert_eq(poll_result(open("/dev/null", O_RDWR | O_CLOEXEC), POLLIN | POLLOUT),
                 POLLIN | POLLOUT);
    cr_assert_eq(poll_result(9999, POLLIN), -EBADF);
}

Test(kernel, poll_of_an_epoll_descriptor_waits_without_a_worker)
{
    int threads = thread_count();

    cr_assert_eq(poll_result(epoll_create1(EPOLL_CLOEXEC), POLLIN), STILL_PENDING);
    cr_assert_eq(thread_count(), threads);
}

/* Why api/io/readiness.c takes a detour: poll(2) would say neither. */
Test(kernel, poll_reports_the_end_of_the_peer_s_stream_unasked)
{
    int ends[2];

    make_tcp_pair(ends);
    cr_assert_eq(poll_result(ends[0], POLLPRI), STILL_PENDING);
    cr_assert_eq(shutdown(ends[1], SHUT_WR), 0);
    cr_assert_eq(result_within(1, 2000), POLLRDHUP);
    cr_assert_eq(poll_result(ends[0], POLLPRI), POLLRDHUP);
}

Test(kernel, poll_takes_any_data_for_urgent_if_it_is_asked_for_both)
{
    int ends[2];

    make_tcp_pair(ends);
    cr_assert_eq(poll_result(ends[0], POLLIN | POLLPRI), STILL_PENDING);
    cr_assert_eq(write(ends[1], "x", 1), 1);
    cr_assert_eq(result_within(1, 2000), POLLIN | POLLPRI);
}

Test(kernel, poll_misses_urgent_data_alone)
{
    int ends[2];

    make_tcp_pair(ends);
    cr_assert_eq(poll_result(ends[0], POLLPRI), STILL_PENDING);
    cr_assert_eq(send(ends[1], "!", 1, MSG_OOB), 1);
    cr_assert_eq(result_within(1, 50), STILL_PENDING);
    cr_assert_eq(poll_result(ends[0], POLLPRI), POLLPRI, "it was there");
}

Test(kernel, read_of_timerfd_eventfd_and_inotify_waits_without_a_worker)
{
    int fds[] = { timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), eventfd(0, EFD_CLOEXEC),
                  inotify_init1(IN_CLOEXEC) };
    int threads = thread_count();
    char buf[512];

    for (uint64_t index = 0; index < 3; index++) {
        prep(sqe_for(index + 1), IORING_OP_READ, fds[index], buf, sizeof buf, (uint64_t)-1);
        cr_assert(stays_pending(index + 1), "number %d", (int)index);
    }
    cr_assert_eq(thread_count(), threads);
}

/* Newer than liburing 2.3's header. */
enum { OP_WAITID = 50, OP_EPOLL_WAIT = 59 };

static bool knows_opcode(int opcode)
{
    struct io_uring_probe *probe = io_uring_get_probe_ring(&ring);
    bool known = probe && io_uring_opcode_supported(probe, opcode);

    io_uring_free_probe(probe);
    return known;
}

Test(kernel, epoll_wait_waits_without_a_worker)
{
    struct epoll_event event;
    int threads = thread_count();

    if (!knows_opcode(OP_EPOLL_WAIT))
        cr_skip_test("this kernel has no IORING_OP_EPOLL_WAIT");
    prep(sqe_for(1), OP_EPOLL_WAIT, epoll_create1(EPOLL_CLOEXEC), &event, 1, 0);
    cr_assert(stays_pending(1));
    cr_assert_eq(thread_count(), threads);
}

Test(kernel, waitid_waits_without_a_worker_and_completes_with_the_child)
{
    struct io_uring_sqe *sqe;
    siginfo_t info = { 0 };
    int gate[2], threads = thread_count();
    char byte;
    pid_t child;

    if (!knows_opcode(OP_WAITID))
        cr_skip_test("this kernel has no IORING_OP_WAITID");
    make_pipe(gate, 0);
    child = fork();
    if (child == 0) {
        close(gate[1]);
        _exit(read(gate[0], &byte, 1) == 0 ? 7 : 1);
    }
    close(gate[0]);
    sqe = sqe_for(1);
    prep(sqe, OP_WAITID, child, NULL, P_PID, (uint64_t)(uintptr_t)&info);
    sqe->file_index = WEXITED;
    cr_assert(stays_pending(1));
    cr_assert_eq(thread_count(), threads);
    close(gate[1]);
    cr_assert_eq(result_within(1, 10000), 0);
    cr_assert_eq(info.si_pid, child);
    cr_assert_eq(info.si_status, 7);
}

/* ---- workers --------------------------------------------------------------------------------- */

Test(kernel, splice_that_waits_holds_a_worker_each)
{
    enum { SPLICES = 4 };
    int threads = thread_count(), pair[2], ends[2];

    for (uint64_t index = 0; index < SPLICES; index++) {
        struct io_uring_sqe *sqe = sqe_for(index + 1);

        make_pair(pair, 0);
        make_pipe(ends, 0);
        prep(sqe, IORING_OP_SPLICE, ends[1], NULL, 4096, (uint64_t)-1);
        sqe->splice_fd_in = pair[0];
        sqe->splice_off_in = (uint64_t)-1;
    }
    submit();
    cr_assert_eq(result_within(1, 100), STILL_PENDING);
    for (int round = 0; round < 100 && thread_count() < threads + SPLICES; round++)
        result_within(1, 50);
    cr_assert_eq(thread_count(), threads + SPLICES);
}

static unsigned worker_limit(int kind)
{
    unsigned limits[2] = { 0, 0 };

    cr_assert_eq(io_uring_register_iowq_max_workers(&ring, limits), 0);
    return limits[kind];
}

Test(kernel, worker_limits_are_generous_until_they_are_set_and_zero_leaves_one)
{
    unsigned limits[2] = { 3, 0 }, unbounded = worker_limit(1);

    cr_assert_geq(worker_limit(0), 4);
    cr_assert_gt(unbounded, 100);
    cr_assert_eq(io_uring_register_iowq_max_workers(&ring, limits), 0);
    cr_assert_eq(worker_limit(0), 3);
    cr_assert_eq(worker_limit(1), unbounded);
}

/* Reads of cached pages, opens, stats, unlinks, closes, writes, syncs: whatever of them needs a
 * worker shares one while they come one after the other. */
Test(kernel, file_operations_one_after_the_other_need_at_most_one_worker_each_kind)
{
    char folder[] = P_tmpdir "/greenring-test-XXXXXX", path[64], buf[4096];
    unsigned limits[2] = { 1, 1 };
    struct io_uring_sqe *sqe;
    struct statx status;
    int threads, fd;

    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
    cr_assert_eq(io_uring_register_iowq_max_workers(&ring, limits), 0);
    threads = thread_count();
    sqe = sqe_for(1);
    prep(sqe, IORING_OP_OPENAT, AT_FDCWD, path, 0600, 0);
    sqe->open_flags = O_CREAT | O_RDWR | O_CLOEXEC;
    fd = ask(1);
    cr_assert_geq(fd, 0);
    prep(sqe_for(2), IORING_OP_WRITE, fd, "0123456789", 10, 0);
    cr_assert_eq(ask(2), 10);
    prep(sqe_for(3), IORING_OP_READ, fd, buf, sizeof buf, 0);
    cr_assert_eq(ask(3), 10);
    prep(sqe_for(4), IORING_OP_FSYNC, fd, NULL, 0, 0);
    submit();
    cr_assert_eq(result_within(4, 20000), 0);
    prep(sqe_for(5), IORING_OP_STATX, AT_FDCWD, path, STATX_SIZE, (uint64_t)(uintptr_t)&status);
    cr_assert_eq(ask(5), 0);
    cr_assert_eq(status.stx_size, 10);
    prep(sqe_for(6), IORING_OP_UNLINKAT, AT_FDCWD, path, 0, 0);
    cr_assert_eq(ask(6), 0);
    prep(sqe_for(7), IORING_OP_CLOSE, fd, NULL, 0, 0);
    cr_assert_eq(ask(7), 0);
    cr_assert_leq(thread_count(), threads + 2);
    rmdir(folder);
}

/* So gring_relay and its like set O_NONBLOCK on the socket itself. */
Test(kernel, SPLICE_F_NONBLOCK_does_not_keep_a_splice_to_a_full_socket_from_blocking)
{
    struct sigaction action = { .sa_handler = count_signal };
    struct itimerval soon = { .it_value.tv_usec = 50000, .it_interval.tv_usec = 50000 };
    int pair[2], ends[2];
    ssize_t count;

    make_tcp_pair(pair);
    make_pipe(ends, 0);
    cr_assert_eq(sigaction(SIGALRM, &action, NULL), 0);
    cr_assert_eq(setitimer(ITIMER_REAL, &soon, NULL), 0);
    do { /* a full socket takes one more byte when the peer's kernel has moved some on */
        fill(pair[0]);
        cr_assert_eq(write(ends[1], "x", 1), 1);
        count = splice(ends[0], NULL, pair[0], NULL, 1, SPLICE_F_NONBLOCK);
    } while (count == 1);
    cr_assert_eq(count, -1);
    cr_assert_neq(errno, EAGAIN, "now it does: gring_relay need not set O_NONBLOCK any more");
    cr_assert_gt(signal_count, 0);
}

/* ---- positions ------------------------------------------------------------------------------- */

Test(kernel, read_at_minus_one_uses_and_moves_the_position)
{
    FILE *file = tmpfile();
    int fd = fileno(file);
    char buf[4];

    cr_assert_eq(write(fd, "0123456789", 10), 10);
    lseek(fd, 3, SEEK_SET);
    prep(sqe_for(1), IORING_OP_READ, fd, buf, 4, (uint64_t)-1);
    cr_assert_eq(ask(1), 4);
    cr_assert_arr_eq(buf, "3456", 4);
    cr_assert_eq(lseek(fd, 0, SEEK_CUR), 7);
}

/* write(2) would; gring_write has to move it itself. */
Test(kernel, short_write_to_a_file_leaves_the_position)
{
    struct rlimit limit;
    int fd = fileno(tmpfile()), result;

    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = 6;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    prep(sqe_for(1), IORING_OP_WRITE, fd, "0123456789", 10, (uint64_t)-1);
    result = ask(1);
    cr_assert_eq(result, 6);
    if (lseek(fd, 0, SEEK_CUR) == 6)
        cr_skip_test("this kernel moves it");
    cr_assert_eq(lseek(fd, 0, SEEK_CUR), 0);
}

/* pread(2) says ESPIPE; gring_pread has to say so itself. */
Test(kernel, read_with_an_offset_is_tolerated_on_a_pipe)
{
    int ends[2];
    char byte;

    make_pipe(ends, 0);
    cr_assert_eq(write(ends[1], "x", 1), 1);
    prep(sqe_for(1), IORING_OP_READ, ends[0], &byte, 1, 0);
    cr_assert_eq(ask(1), 1);
}

/* ---- cancels --------------------------------------------------------------------------------- */

Test(kernel, cancel_by_user_data_ends_that_one_alone)
{
    int ends[2];
    char byte;

    make_pipe(ends, 0);
    prep(sqe_for(1), IORING_OP_READ, ends[0], &byte, 1, (uint64_t)-1);
    prep(sqe_for(2), IORING_OP_READ, ends[0], &byte, 1, (uint64_t)-1);
    submit();
    cancel(1);
    cr_assert_eq(ask(1), -ECANCELED);
    cr_assert(stays_pending(2));
}

Test(kernel, cancel_by_descriptor_would_hit_duplicates_too)
{
    struct io_uring_sqe *sqe;
    int ends[2];
    char byte;

    make_pipe(ends, 0);
    prep(sqe_for(1), IORING_OP_READ, dup(ends[0]), &byte, 1, (uint64_t)-1);
    submit();
    sqe = sqe_for(0);
    io_uring_prep_cancel_fd(sqe, ends[0], IORING_ASYNC_CANCEL_ALL);
    io_uring_sqe_set_data64(sqe, 0);
    cr_assert_eq(ask(1), -ECANCELED);
}

Test(kernel, cancel_of_nothing_says_ENOENT)
{
    struct io_uring_sqe *sqe = sqe_for(0);

    io_uring_prep_cancel64(sqe, 12345, 0);
    io_uring_sqe_set_data64(sqe, 7);
    cr_assert_eq(ask(7), -ENOENT);
}

/*
 * A request whose retry is queued is neither in the poll table nor with a worker: the cancel
 * says ENOENT, and the request goes on waiting. So a cancel has to be repeated until its target
 * has completed.
 */
Test(kernel, cancel_can_miss_a_request_between_two_attempts)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int first = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int second = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), missed, result;
    socklen_t length = sizeof(sa_family_t);

    cr_assert_eq(bind(listener, (struct sockaddr *)&address, length), 0);
    cr_assert_eq(listen(listener, 0), 0);
    length = sizeof address;
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    cr_assert_eq(connect(first, (struct sockaddr *)&address, length),
                 0); /* the backlog is full now */
    prep(sqe_for(1), IORING_OP_CONNECT, second, &address, 0, length);
    io_uring_submit(&ring);
    io_uring_prep_cancel64(sqe_for(0), 1, 0);
    ring.sq.sqes[(ring.sq.sqe_tail - 1) & *ring.sq.kring_mask].user_data = 2;
    io_uring_submit(&ring);
    missed = result_within(2, 2000);
    if (missed != -ENOENT)
        cr_skip_test("this kernel's cancel found it");
    for (int round = 0; round < 300; round++)
        io_uring_get_events(&ring);
    cr_assert_eq(result_within(1, 50), STILL_PENDING);
    cancel(1);
    result = ask(1);
    cr_assert(result == -EINTR || result == -ECANCELED, "result %d", result);
}

/* ---- rings ----------------------------------------------------------------------------------- */

Test(kernel, bad_SQE_does_not_stop_the_batch)
{
    int ends[2];
    char byte;

    make_pipe(ends, 0);
    cr_assert_eq(write(ends[1], "x", 1), 1);
    prep(sqe_for(1), 250, ends[0], &byte, 1, 0); /* no such operation */
    prep(sqe_for(2), IORING_OP_READ, ends[0], &byte, 1, (uint64_t)-1);
    submit();
    cr_assert_eq(result_within(2, 2000), 1);
}

Test(kernel, completions_beyond_the_CQ_are_kept_and_flagged)
{
    unsigned count = *ring.cq.kring_entries + 100, sent = 0, got = 0;
    struct io_uring_cqe *cqe;

    while (sent < count) {
        for (unsigned batch = 0; batch < 32 && sent < count; batch++, sent++)
            io_uring_prep_nop(sqe_for(1));
        io_uring_submit(&ring);
    }
    cr_assert(*ring.sq.kflags & IORING_SQ_CQ_OVERFLOW);
    while (got < count && io_uring_wait_cqe(&ring, &cqe) == 0) {
        io_uring_cqe_seen(&ring, cqe);
        got++;
    }
    cr_assert_eq(got, count);
}

Test(kernel, child_of_fork_cannot_enter_the_ring)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        int result = io_uring_enter((unsigned)ring.ring_fd, 0, 0, IORING_ENTER_GETEVENTS, NULL);

        _exit(result == -EEXIST ? 0 : NOTHING_ELSE);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0, "the child was let in, or for another reason not");
}

/* Why the rings are kept out of the child. */
Test(kernel, child_of_fork_would_share_the_SQ)
{
    unsigned before = *ring.sq.ktail;
    int status;
    pid_t child = fork();

    if (child == 0) {
        __atomic_store_n(ring.sq.ktail, before + 1, __ATOMIC_RELEASE);
        _exit(0);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(__atomic_load_n(ring.sq.ktail, __ATOMIC_ACQUIRE), before + 1);
    __atomic_store_n(ring.sq.ktail, before, __ATOMIC_RELEASE);
}

Test(kernel, dontfork_keeps_the_rings_out_of_the_child)
{
    struct rlimit no_core = { 0, 0 };
    int status;
    pid_t child;

    cr_assert_eq(io_uring_ring_dontfork(&ring), 0);
    child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGSEGV, SIG_DFL);
        _exit((int)*(volatile unsigned *)ring.sq.ktail & 0); /* must not get this far */
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "the child can read the ring");
}

static void *enter_from_elsewhere(void *result)
{
    *(int *)result = io_uring_enter((unsigned)ring.ring_fd, 0, 0, IORING_ENTER_GETEVENTS, NULL);
    return NULL;
}

Test(kernel, another_thread_cannot_enter_the_ring)
{
    pthread_t thread;
    int result = 0;

    cr_assert_eq(pthread_create(&thread, NULL, enter_from_elsewhere, &result), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(result, -EEXIST);
}

Test(kernel, has_the_features_that_are_needed)
{
    cr_assert(ring.features & IORING_FEAT_NODROP);
    cr_assert(ring.features & IORING_FEAT_SUBMIT_STABLE);
    cr_assert(ring.features & IORING_FEAT_RW_CUR_POS);
    cr_assert(ring.features & IORING_FEAT_FAST_POLL);
    cr_assert(ring.features & IORING_FEAT_EXT_ARG);
}

Test(kernel, CQ_of_more_than_65536_is_refused)
{
    struct io_uring_params params = { .flags = IORING_SETUP_CQSIZE, .cq_entries = 65537 };
    struct io_uring other;

    cr_assert_eq(io_uring_queue_init_params(4, &other, &params), -EINVAL);
}

/* ---- DEFER_TASKRUN --------------------------------------------------------------------------- */

/* How a foreign loop can be told that the ring's owner has a completion to fetch. */
Test(kernel, registered_eventfd_is_signalled_before_the_owner_enters)
{
    int ends[2], event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    uint64_t count = 0;
    char byte;

    cr_assert_eq(io_uring_register_eventfd(&ring, event), 0);
    make_pair(ends, 0);
    prep(sqe_for(1), IORING_OP_RECV, ends[0], &byte, 1, 0);
    cr_assert(stays_pending(1));
    cr_assert_eq(write(ends[1], "x", 1), 1);
    cr_assert_eq(poll(&(struct pollfd){ .fd = event, .events = POLLIN }, 1, 5000), 1);
    cr_assert_eq(read(event, &count, sizeof count), (ssize_t)sizeof count);
    cr_assert_eq(io_uring_cq_ready(&ring), 0);
    cr_assert_eq(result_within(1, 2000), 1);
}

/* So nobody may assume that one enter fetches all; ring_wants_enter says whether to go on. */
Test(kernel, one_enter_may_hand_out_only_some_completions_and_then_says_so)
{
    enum { WAITING = 48 };
    int ends[WAITING][2];
    char byte;
    unsigned got = 0, enters = 0;

    for (int index = 0; index < WAITING; index++) {
        make_pair(ends[index], 0);
        prep(sqe_for(1), IORING_OP_RECV, ends[index][0], &byte, 1, 0);
    }
    cr_assert(stays_pending(1));
    for (int index = 0; index < WAITING; index++)
        cr_assert_eq(write(ends[index][1], "x", 1), 1);
    while (got < WAITING) {
        cr_assert(__atomic_load_n(ring.sq.kflags, __ATOMIC_RELAXED) & IORING_SQ_TASKRUN,
                  "%u came, and the kernel says that this is all", got);
        io_uring_enter((unsigned)ring.ring_fd, 0, 1, IORING_ENTER_GETEVENTS, NULL);
        got = io_uring_cq_ready(&ring);
        cr_assert_leq(++enters, WAITING);
    }
}

/* ---- memory ---------------------------------------------------------------------------------- */

static int mapping_count(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    int count = 0, byte;

    while ((byte = fgetc(maps)) != EOF)
        count += byte == '\n';
    fclose(maps);
    return count;
}

enum { GUARDS = 1000 };

Test(kernel, thousand_lightweight_guards_cost_one_mapping)
{
    size_t page = sys_page_bytes();
    char *region;
    int before;

    region = sys_reserve((size_t)GUARDS * 16 * page, true);
    if (sys_guard_install(region, page) == -EINVAL)
        cr_skip_test("this kernel has no MADV_GUARD_INSTALL");
    before = mapping_count();
    for (size_t index = 0; index < GUARDS; index++)
        cr_assert_eq(sys_guard_install(region + index * 16 * page, page), 0);
    cr_assert_leq(mapping_count(), before + 4);
}

Test(kernel, thousand_guards_by_protection_cost_two_mappings_each)
{
    size_t page = sys_page_bytes();
    char *region = sys_reserve((size_t)GUARDS * 16 * page, true);
    int before = mapping_count(), cost;

    for (size_t index = 0; index < GUARDS; index++)
        cr_assert_eq(sys_guard_protect(region + index * 16 * page, page), 0);
    cost = mapping_count() - before;
    cr_assert(cost > 2 * GUARDS - 10 && cost <= 2 * GUARDS, "%d", cost);
}

Test(kernel, guard_survives_MADV_FREE, .signal = SIGSEGV)
{
    size_t page = sys_page_bytes();
    char *region = sys_reserve(16 * page, true);

    signal(SIGSEGV, SIG_DFL);
    if (sys_guard_install(region, page) == -EINVAL)
        cr_assert_eq(sys_guard_protect(region, page), 0);
    cr_assert_eq(madvise(region + page, 15 * page, MADV_FREE), 0);
    madvise(region, 16 * page, MADV_FREE); /* over the guard, too */
    region[page] = 1;
    *(volatile char *)region = 1;
}

Test(kernel, guard_survives_the_discarding_of_its_region, .signal = SIGSEGV)
{
    size_t page = sys_page_bytes();
    char *region = sys_reserve(16 * page, true);

    signal(SIGSEGV, SIG_DFL); /* AddressSanitizer has a handler */
    if (sys_guard_install(region, page) == -EINVAL && sys_guard_protect(region, page) == 0)
        cr_log_info("this kernel has no MADV_GUARD_INSTALL: mprotect instead");
    cr_assert_eq(sys_discard(region, 16 * page), 0);
    region[page] = 1;
    *(volatile char *)region = 1;
}
