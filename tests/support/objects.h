/*
 * Descriptors of every kind, for tests/support/conform.h: each has something to give and room to
 * take, or has not and says so at once. So nothing that is asked of them waits.
 *
 * FD is what the calls are about, PEER its other end. FILE_FD is a file at position 2, PIPE_OUT and
 * PIPE_IN a pipe that holds a greeting, LISTENER listens: for the calls that need a second one.
 */
#ifndef TESTS_SUPPORT_OBJECTS_H
#define TESTS_SUPPORT_OBJECTS_H

#include "tests/support/conform.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <sys/un.h>

HELPER void add_companions(void)
{
    int ends[2], file = make_file(CONTENT, CONTENT_BYTES);

    cr_assert_eq(lseek(file, 2, SEEK_SET), 2);
    put(file, FILE_FD);
    make_pipe(ends);
    put(ends[0], PIPE_OUT);
    put(ends[1], PIPE_IN);
    cr_assert_eq(write(PIPE_IN, GREETING, strlen(GREETING)), (ssize_t)strlen(GREETING));
    put(make_listener(4), LISTENER);
}

/* ---- no descriptors -------------------------------------------------------------------------- */

HELPER void closed(struct scene *s)
{
    (void)s;
    add_companions();
}

HELPER void minus_one(struct scene *s)
{
    add_companions();
    s->fd = -1;
}

HELPER void most_negative(struct scene *s)
{
    add_companions();
    s->fd = INT_MIN;
}

HELPER void beyond_every_limit(struct scene *s)
{
    add_companions();
    s->fd = INT_MAX;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* FD: an opening with these flags, at position 5; PEER: all of it. */
static void open_file(int flags)
{
    char path[32];
    int fd = make_file(CONTENT, CONTENT_BYTES);

    add_companions();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    put(open(path, flags | O_CLOEXEC), FD);
    put(fd, PEER);
    lseek(FD, 5, SEEK_SET);
}

HELPER void file(struct scene *s)
{
    (void)s;
    open_file(O_RDWR);
}

HELPER void file_at_its_end(struct scene *s)
{
    file(s);
    lseek(FD, 0, SEEK_END);
}

HELPER void file_beyond_its_end(struct scene *s)
{
    file(s);
    lseek(FD, 10000, SEEK_SET);
}

HELPER void file_to_read(struct scene *s)
{
    (void)s;
    open_file(O_RDONLY);
}

HELPER void file_to_write(struct scene *s)
{
    (void)s;
    open_file(O_WRONLY);
}

HELPER void file_to_append(struct scene *s)
{
    (void)s;
    open_file(O_RDWR | O_APPEND);
}

HELPER void file_nonblocking(struct scene *s)
{
    (void)s;
    open_file(O_RDWR | O_NONBLOCK);
}

HELPER void file_by_path_only(struct scene *s)
{
    (void)s;
    open_file(O_PATH);
}

HELPER void file_locked(struct scene *s)
{
    file(s);
    flock(PEER, LOCK_SH);
}

HELPER void sealed_memory(struct scene *s)
{
    int fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    (void)s;
    add_companions();
    cr_assert_eq(write(fd, CONTENT, CONTENT_BYTES), CONTENT_BYTES);
    cr_assert_eq(lseek(fd, 5, SEEK_SET), 5);
    cr_assert_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK), 0);
    put(fd, FD);
}

static void open_named(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);

    cr_assert_geq(fd, 0, "%s: %m", path);
    add_companions();
    put(fd, FD);
}

HELPER void directory(struct scene *s)
{
    (void)s;
    open_named("/usr", O_RDONLY | O_DIRECTORY);
}

HELPER void dev_null(struct scene *s)
{
    (void)s;
    open_named("/dev/null", O_RDWR);
}

HELPER void dev_zero(struct scene *s)
{
    (void)s;
    open_named("/dev/zero", O_RDWR);
}

HELPER void dev_full(struct scene *s)
{
    (void)s;
    open_named("/dev/full", O_RDWR);
}

HELPER void generated_file(struct scene *s)
{
    (void)s;
    open_named("/proc/version", O_RDONLY);
}

/* ---- pipes and the like ---------------------------------------------------------------------- */

static void greet(int fd)
{
    cr_assert_eq(write(fd, GREETING, strlen(GREETING)), (ssize_t)strlen(GREETING));
}

HELPER void pipe_to_read(struct scene *s)
{
    int ends[2];

    (void)s;
    add_companions();
    make_pipe(ends);
    put_pair(ends);
    greet(PEER);
}

HELPER void pipe_nonblocking(struct scene *s)
{
    pipe_to_read(s);
    set_nonblocking(FD);
}

HELPER void pipe_without_writer(struct scene *s)
{
    pipe_to_read(s);
    close(PEER);
}

HELPER void pipe_at_its_end(struct scene *s)
{
    char bytes[32];

    pipe_without_writer(s);
    cr_assert_eq(read(FD, bytes, sizeof bytes), (ssize_t)strlen(GREETING));
}

HELPER void pipe_to_write(struct scene *s)
{
    int ends[2];

    (void)s;
    add_companions();
    make_pipe(ends);
    put(ends[1], FD);
    put(ends[0], PEER);
}

HELPER void pipe_without_reader(struct scene *s)
{
    pipe_to_write(s);
    close(PEER);
}

HELPER void event_counter(struct scene *s)
{
    (void)s;
    add_companions();
    put(eventfd(3, EFD_CLOEXEC), FD);
}

HELPER void event_semaphore(struct scene *s)
{
    (void)s;
    add_companions();
    put(eventfd(3, EFD_CLOEXEC | EFD_SEMAPHORE), FD);
}

HELPER void expired_timer(struct scene *s)
{
    struct itimerspec at_once = { .it_value = { .tv_nsec = 1 } };

    (void)s;
    add_companions();
    put(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), FD);
    cr_assert_eq(timerfd_settime(FD, 0, &at_once, NULL), 0);
    await_events(FD, POLLIN);
}

HELPER void epoll_descriptor(struct scene *s)
{
    struct epoll_event event = { .events = EPOLLIN };

    (void)s;
    add_companions();
    put(epoll_create1(EPOLL_CLOEXEC), FD);
    cr_assert_eq(epoll_ctl(FD, EPOLL_CTL_ADD, PIPE_OUT, &event), 0);
}

/* ---- sockets --------------------------------------------------------------------------------- */

HELPER void tcp(struct scene *s)
{
    int ends[2];

    (void)s;
    add_companions();
    make_tcp_pair(ends);
    put_pair(ends);
    greet(PEER);
    await_events(FD, POLLIN);
}

HELPER void tcp_nonblocking(struct scene *s)
{
    tcp(s);
    set_nonblocking(FD);
}

HELPER void tcp_without_peer(struct scene *s)
{
    tcp(s);
    close(PEER);
    await_events(FD, POLLRDHUP);
}

HELPER void tcp_reset(struct scene *s)
{
    tcp(s);
    reset_peer(PEER);
    await_events(FD, POLLERR);
}

HELPER void tcp_shut_for_sending(struct scene *s)
{
    tcp(s);
    shutdown(FD, SHUT_WR);
    await_events(PEER, POLLIN);
}

HELPER void tcp_shut_for_receiving(struct scene *s)
{
    tcp(s);
    shutdown(FD, SHUT_RD);
}

HELPER void tcp_unconnected(struct scene *s)
{
    (void)s;
    add_companions();
    put(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), FD);
}

HELPER void tcp_listener(struct scene *s)
{
    (void)s;
    add_companions();
    put(make_listener(2), FD);
    put(plain_connect(FD), PEER);
    await_events(FD, POLLIN);
}

static int make_udp(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = loopback(0);

    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void join_udp(int fd, int to)
{
    struct sockaddr_in address = address_of(to);

    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
}

HELPER void udp_unconnected(struct scene *s)
{
    (void)s;
    add_companions();
    put(make_udp(), FD);
    put(make_udp(), PEER);
    join_udp(PEER, FD);
    greet(PEER);
    greet(PEER);
    await_events(FD, POLLIN);
}

HELPER void udp(struct scene *s)
{
    udp_unconnected(s);
    join_udp(FD, PEER);
}

HELPER void udp_refused(struct scene *s)
{
    udp(s);
    close(PEER);
    cr_assert_eq(send(FD, "?", 1, 0), 1);
    await_events(FD, POLLERR);
}

static void unix_pair(int type)
{
    int ends[2];

    add_companions();
    cr_assert_eq(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends), 0);
    put_pair(ends);
    greet(PEER);
}

HELPER void unix_stream(struct scene *s)
{
    (void)s;
    unix_pair(SOCK_STREAM);
}

HELPER void unix_stream_without_peer(struct scene *s)
{
    unix_stream(s);
    close(PEER);
}

/* What the peer had not read makes its end a reset. */
HELPER void unix_stream_reset(struct scene *s)
{
    unix_stream(s);
    greet(FD);
    close(PEER);
}

HELPER void unix_stream_at_its_end(struct scene *s)
{
    char bytes[32];

    unix_stream(s);
    close(PEER);
    cr_assert_eq(read(FD, bytes, sizeof bytes), (ssize_t)strlen(GREETING));
}

HELPER void unix_stream_unconnected(struct scene *s)
{
    (void)s;
    add_companions();
    put(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), FD);
}

HELPER void unix_datagrams(struct scene *s)
{
    (void)s;
    unix_pair(SOCK_DGRAM);
    greet(PEER);
}

HELPER void unix_datagrams_without_peer(struct scene *s)
{
    unix_datagrams(s);
    close(PEER);
}

HELPER void unix_packets(struct scene *s)
{
    (void)s;
    unix_pair(SOCK_SEQPACKET);
}

HELPER void unix_packets_without_peer(struct scene *s)
{
    unix_packets(s);
    close(PEER);
}

HELPER void unix_listener(struct scene *s)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    socklen_t length = sizeof address;

    (void)s;
    add_companions();
    put(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), FD);
    put(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), PEER);
    cr_assert_eq(bind(FD, (struct sockaddr *)&address, sizeof(sa_family_t)), 0); /* any name */
    cr_assert_eq(listen(FD, 2), 0);
    cr_assert_eq(getsockname(FD, (struct sockaddr *)&address, &length), 0);
    cr_assert_eq(connect(PEER, (struct sockaddr *)&address, length), 0);
}

/* Descriptors travel with the greeting. */
HELPER void unix_stream_with_descriptor(struct scene *s)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { .header = { .cmsg_len = CMSG_LEN(sizeof(int)),
                              .cmsg_level = SOL_SOCKET,
                              .cmsg_type = SCM_RIGHTS } };
    struct iovec part = { .iov_base = (char[]){ GREETING }, .iov_len = strlen(GREETING) };
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
    };
    int ends[2], sent = FILE_FD;

    (void)s;
    add_companions();
    make_unix_pair(ends);
    put_pair(ends);
    memcpy(CMSG_DATA(&control.header), &sent, sizeof sent);
    cr_assert_eq(sendmsg(PEER, &message, 0), (ssize_t)part.iov_len);
}

#define OBJECT(name)                                                                               \
    {                                                                                              \
#name, name                                                                                \
    }

static const struct object descriptors[] = {
    OBJECT(closed),
    OBJECT(minus_one),
    OBJECT(most_negative),
    OBJECT(beyond_every_limit),
    OBJECT(file),
    OBJECT(file_at_its_end),
    OBJECT(file_beyond_its_end),
    OBJECT(file_to_read),
    OBJECT(file_to_write),
    OBJECT(file_to_append),
    OBJECT(file_nonblocking),
    OBJECT(file_by_path_only),
    OBJECT(sealed_memory),
    OBJECT(directory),
    OBJECT(dev_null),
    OBJECT(dev_zero),
    OBJECT(dev_full),
    OBJECT(generated_file),
    OBJECT(pipe_to_read),
    OBJECT(pipe_nonblocking),
    OBJECT(pipe_without_writer),
    OBJECT(pipe_at_its_end),
    OBJECT(pipe_to_write),
    OBJECT(pipe_without_reader),
    OBJECT(event_counter),
    OBJECT(event_semaphore),
    OBJECT(expired_timer),
    OBJECT(epoll_descriptor),
    OBJECT(tcp),
    OBJECT(tcp_nonblocking),
    OBJECT(tcp_without_peer),
    OBJECT(tcp_reset),
    OBJECT(tcp_shut_for_sending),
    OBJECT(tcp_shut_for_receiving),
    OBJECT(tcp_unconnected),
    OBJECT(tcp_listener),
    OBJECT(udp_unconnected),
    OBJECT(udp),
    OBJECT(udp_refused),
    OBJECT(unix_stream),
    OBJECT(unix_stream_without_peer),
    OBJECT(unix_stream_reset),
    OBJECT(unix_stream_at_its_end),
    OBJECT(unix_stream_unconnected),
    OBJECT(unix_stream_with_descriptor),
    OBJECT(unix_datagrams),
    OBJECT(unix_datagrams_without_peer),
    OBJECT(unix_packets),
    OBJECT(unix_packets_without_peer),
    OBJECT(unix_listener),
    { 0 },
};

#endif
