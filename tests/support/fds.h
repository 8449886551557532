/*
 * Descriptors for tests: how many there are, pipes and sockets that are ready to use, patterns
 * to fill them with.
 *
 * Everything here is made by plain system calls and asserts that they work.
 */
#ifndef TESTS_SUPPORT_FDS_H
#define TESTS_SUPPORT_FDS_H

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define HELPER static __attribute__((unused))

/* ---- counting -------------------------------------------------------------------------------- */

/* Open descriptors of this process, without the one that counts them. */
HELPER int descriptor_count(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;

    cr_assert_not_null(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count - 3; /* ".", ".." and the folder itself */
}

HELPER bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* As many descriptors as this process may have; false: not as many as wanted. */
HELPER bool allow_descriptors(rlim_t wanted)
{
    struct rlimit limit;

    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return limit.rlim_max >= wanted;
}

/* No further one can be had until allow_descriptors: those that are open stay as they are. */
HELPER void leave_no_descriptor(void)
{
    struct rlimit limit;
    int next = dup(0);

    cr_assert_geq(next, 0);
    close(next);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = (rlim_t)next; /* the lowest free number, and with it all above */
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* Bytes that wait to be read. */
HELPER int unread_bytes(int fd)
{
    int count = -1;

    cr_assert_eq(ioctl(fd, FIONREAD, &count), 0);
    return count;
}

/* ---- making ---------------------------------------------------------------------------------- */

HELPER void make_pipe(int ends[2])
{
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0, "pipe2: %m");
}

HELPER void make_unix_pair(int ends[2])
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0, "socketpair: %m");
}

/* An unnamed file that holds these bytes, at position 0. */
HELPER int make_file(const void *bytes, size_t size)
{
    char path[] = P_tmpdir "/greenring-test-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);

    cr_assert_geq(fd, 0, "mkostemp: %m");
    unlink(path);
    cr_assert_eq(pwrite(fd, bytes, size, 0), (ssize_t)size);
    return fd;
}

HELPER struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons(port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

HELPER struct sockaddr_in address_of(int fd)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;

    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0, "getsockname: %m");
    return address;
}

HELPER uint16_t port_of(int fd)
{
    return ntohs(address_of(fd).sin_port);
}

/* Listens on a free port of 127.0.0.1. */
HELPER int make_listener(int backlog)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = loopback(0);

    cr_assert_geq(fd, 0, "socket: %m");
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0, "bind: %m");
    cr_assert_eq(listen(fd, backlog), 0, "listen: %m");
    return fd;
}

HELPER int plain_connect(int listener)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = address_of(listener);

    cr_assert_geq(fd, 0, "socket: %m");
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0, "connect: %m");
    return fd;
}

/* A TCP connection over loopback: both ends. */
HELPER void make_tcp_pair(int ends[2])
{
    int listener = make_listener(1);

    ends[0] = plain_connect(listener);
    ends[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    cr_assert_geq(ends[1], 0, "accept4: %m");
    close(listener);
}

/* Closes so that the peer is reset. */
HELPER void reset_peer(int fd)
{
    struct linger at_once = { .l_onoff = 1, .l_linger = 0 };

    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    close(fd);
}

HELPER void close_both(const int ends[2])
{
    close(ends[0]);
    close(ends[1]);
}

HELPER void set_nonblocking(int fd)
{
    cr_assert_eq(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
}

/* Does this kernel transfer to pipes itself (6.4), or does it give that to a worker thread? */
HELPER bool pipes_need_no_worker(void)
{
    struct iovec byte = { .iov_base = (char[]){ 'x' }, .iov_len = 1 };
    int ends[2];
    bool taken;

    make_pipe(ends);
    taken = pwritev2(ends[1], &byte, 1, -1, RWF_NOWAIT) == 1;
    close_both(ends);
    return taken;
}

/* Fills the send direction until nothing more goes in; how many bytes that were. */
HELPER size_t fill(int fd)
{
    static const char zeros[4096];
    int flags = fcntl(fd, F_GETFL);
    size_t total = 0;
    ssize_t count;

    cr_assert_eq(fcntl(fd, F_SETFL, flags | O_NONBLOCK), 0);
    for (size_t size = sizeof zeros; size > 0; size /= sizeof zeros)
        while ((count = write(fd, zeros, size)) > 0)
            total += (size_t)count;
    cr_assert_eq(errno, EAGAIN);
    cr_assert_eq(fcntl(fd, F_SETFL, flags), 0);
    return total;
}

/* ---- contents -------------------------------------------------------------------------------- */

/* The byte at this place of a stream: no two streams, and no two places near each other, look
 * alike. */
HELPER unsigned char pattern_byte(uint64_t stream, uint64_t place)
{
    uint64_t mixed = (place + stream * 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;

    return (unsigned char)(mixed >> 56);
}

HELPER void pattern_fill(void *buf, size_t size, uint64_t stream, uint64_t place)
{
    unsigned char *bytes = buf;

    for (size_t index = 0; index < size; index++)
        bytes[index] = pattern_byte(stream, place + index);
}

/* The first place where the bytes differ from the pattern, or size. */
HELPER size_t pattern_matches(const void *buf, size_t size, uint64_t stream, uint64_t place)
{
    const unsigned char *bytes = buf;

    for (size_t index = 0; index < size; index++)
        if (bytes[index] != pattern_byte(stream, place + index))
            return index;
    return size;
}

/* A small random generator, so that a printed seed replays the test. */
HELPER uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* From GRING_SEED if that is set; printed, so that a failure can be replayed. */
HELPER uint64_t random_seed(void)
{
    const char *given = getenv("GRING_SEED");
    uint64_t seed =
        given ? strtoull(given, NULL, 0) : ((uint64_t)time(NULL) << 20 ^ (uint64_t)getpid()) | 1;

    fprintf(stderr, "seed: GRING_SEED=%llu\n", (unsigned long long)seed);
    return seed | 1;
}

/* Takes what is in a socket, and tells how much that was. */
static inline size_t drain_socket(int fd)
{
    static char sink[65536];
    size_t total = 0;
    ssize_t count;

    while ((count = recv(fd, sink, sizeof sink, MSG_DONTWAIT)) > 0)
        total += (size_t)count;
    return total;
}

#endif
