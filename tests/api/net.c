/*
 * Sockets and endpoints.
 *
 * Names under ".test" are answered by this file: its getaddrinfo stands before libc's, so that a
 * look-up can have several addresses, be slow for as long as a test likes, or fail. All other
 * names go to libc.
 */
#include "tests/support/child.h"
#include "tests/support/fds.h"
#include "tests/support/green.h"

#include <dlfcn.h>
#include <greenring/debug.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/un.h>

/* ---- a resolver ------------------------------------------------------------------------------ */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool released; /* the answer for slow.test may go */
    atomic_int asked, slow_asked;
} resolver = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void release_slow_answers(void)
{
    pthread_mutex_lock(&resolver.lock);
    resolver.released = true;
    pthread_cond_broadcast(&resolver.changed);
    pthread_mutex_unlock(&resolver.lock);
}

static void wait_for_release(void)
{
    pthread_mutex_lock(&resolver.lock);
    while (!resolver.released)
        pthread_cond_wait(&resolver.changed, &resolver.lock);
    pthread_mutex_unlock(&resolver.lock);
}

typedef int (*resolve_fn)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static int ask_libc(const char *host, const char *service, const struct addrinfo *hints,
                    struct addrinfo **list)
{
    resolve_fn libc = (resolve_fn)(uintptr_t)dlsym(RTLD_NEXT, "getaddrinfo");

    return libc(host, service, hints, list);
}

/* The answers for these addresses, in this order, as one list that freeaddrinfo(3) can free. */
static int ask_libc_for_each(const char *const *hosts, const char *service,
                             const struct addrinfo *hints, struct addrinfo **list)
{
    struct addrinfo **end = list;

    for (*list = NULL; *hosts; hosts++) {
        if (ask_libc(*hosts, service, hints, end) != 0)
            return EAI_NONAME;
        while (*end)
            end = &(*end)->ai_next;
    }
    return 0;
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **list)
{
    static const char *const one[] = { "127.0.0.1", NULL };
    static const char *const both[] = { "::1", "127.0.0.1", NULL };
    static const char *const three[] = { "127.0.0.2", "127.0.0.3", "127.0.0.1", NULL };

    atomic_fetch_add(&resolver.asked, 1);
    if (!host || !strstr(host, ".test"))
        return ask_libc(host, service, hints, list);
    if (!strcmp(host, "slow.test")) {
        atomic_fetch_add(&resolver.slow_asked, 1);
        wait_for_release();
        return ask_libc_for_each(one, service, hints, list);
    }
    if (!strcmp(host, "one.test"))
        return ask_libc_for_each(one, service, hints, list);
    if (!strcmp(host, "both.test"))
        return ask_libc_for_each(both, service, hints, list);
    if (!strcmp(host, "three.test"))
        return ask_libc_for_each(three, service, hints, list);
    if (!strcmp(host, "again.test"))
        return EAI_AGAIN;
    if (!strcmp(host, "memory.test"))
        return EAI_MEMORY;
    if (!strcmp(host, "service.test"))
        return EAI_SERVICE;
    if (!strcmp(host, "system.test") || !strcmp(host, "unsaid.test")) {
        errno = host[0] == 's' ? EMFILE : 0;
        return EAI_SYSTEM;
    }
    return EAI_NONAME;
}

/* ---- calls in tasks of their own ------------------------------------------------------------- */

struct call {
    int fd, flags;
    ssize_t result;
    int error;
    char *buf;
    size_t size;
    const char *endpoint;
};

enum { ERRNO_BEFORE = 4242 };

static void *end_call(struct call *call, ssize_t result)
{
    call->error = errno;
    call->result = result;
    return NULL;
}

static void *do_recv(void *arg)
{
    struct call *call = arg;

    errno = ERRNO_BEFORE;
    return end_call(call, gring_recv(call->fd, call->buf, call->size, call->flags));
}

static void *do_send(void *arg)
{
    struct call *call = arg;

    errno = ERRNO_BEFORE;
    return end_call(call, gring_send(call->fd, call->buf, call->size, call->flags));
}

static void *do_accept(void *arg)
{
    struct call *call = arg;

    errno = ERRNO_BEFORE;
    return end_call(call, gring_accept4(call->fd, NULL, NULL, SOCK_CLOEXEC));
}

static void *do_dial(void *arg)
{
    struct call *call = arg;

    errno = ERRNO_BEFORE;
    return end_call(call, gring_net_dial(call->endpoint));
}

static gring_task *spawn_waiting(gring_fn fn, struct call *call)
{
    gring_task *task = gring_spawn(fn, call);

    cr_assert_not_null(task);
    gring_idle();
    cr_assert_eq(gring_task_state(task), GRING_PARKED, "the call did not wait: %zd", call->result);
    return task;
}

/* ---- accept ---------------------------------------------------------------------------------- */

GreenTest(accept, gives_descriptor_flags_and_address)
{
    struct call call = { .fd = make_listener(4) };
    int client = plain_connect(call.fd), fd;
    struct sockaddr_in peer = { 0 }, expected = address_of(client);
    socklen_t length = sizeof peer;

    fd = gring_accept4(call.fd, (struct sockaddr *)&peer, &length, SOCK_CLOEXEC | SOCK_NONBLOCK);
    cr_assert_geq(fd, 0, "%m");
    cr_assert_eq(length, sizeof peer);
    cr_assert_eq(peer.sin_port, expected.sin_port);
    cr_assert_eq(peer.sin_addr.s_addr, expected.sin_addr.s_addr);
    cr_assert_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    cr_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
    close(fd);
    close(client);
    client = plain_connect(call.fd);
    fd = gring_accept(call.fd, NULL, NULL);
    cr_assert_geq(fd, 0, "%m");
    cr_assert_eq(fcntl(fd, F_GETFD), 0);
    cr_assert_not(fcntl(fd, F_GETFL) & O_NONBLOCK);
    close(fd);
    close(client);
    close(call.fd);
}

GreenTest(accept, cuts_the_address_to_the_room_there_is)
{
    int listener = make_listener(4), client = plain_connect(listener), fd;
    unsigned char room[4] = { 0, 0, 0x55, 0x55 };
    socklen_t length = 2;

    fd = gring_accept(listener, (struct sockaddr *)room, &length);
    cr_assert_geq(fd, 0);
    cr_assert_eq(length, sizeof(struct sockaddr_in), "the full length is told");
    cr_assert_eq(room[2], 0x55, "written past the end");
    close(fd);
    close(client);
    close(listener);
}

GreenTest(accept, waits_for_a_client_also_on_a_nonblocking_listener)
{
    struct call call = { .fd = make_listener(4) };
    gring_task *task;
    int client;

    set_nonblocking(call.fd);
    task = spawn_waiting(do_accept, &call);
    client = plain_connect(call.fd);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_geq(call.result, 0);
    cr_assert_eq(call.error, ERRNO_BEFORE);
    close((int)call.result);
    close(client);
    close(call.fd);
}

GreenTest(accept, refuses_what_does_not_listen)
{
    int pair[2], ends[2], udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int listener = make_listener(1);

    make_unix_pair(pair);
    make_pipe(ends);
    cr_assert_eq(gring_accept(pair[0], NULL, NULL), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_accept(ends[0], NULL, NULL), -1);
    cr_assert_eq(errno, ENOTSOCK);
    cr_assert_eq(gring_accept(udp, NULL, NULL), -1);
    cr_assert_eq(errno, EOPNOTSUPP);
    cr_assert_eq(gring_accept(-1, NULL, NULL), -1);
    cr_assert_eq(errno, EBADF);
    cr_assert_eq(gring_accept4(listener, NULL, NULL, 1), -1);
    cr_assert_eq(errno, EINVAL);
    close_both(pair);
    close_both(ends);
    close(udp);
    close(listener);
}

GreenTest(accept, returns_EMFILE_and_works_again_when_a_descriptor_is_free)
{
    struct call call = { .fd = make_listener(4) };
    int client = plain_connect(call.fd), spare = dup(0), fd;
    struct rlimit before, none;

    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){ .rlim_cur = (rlim_t)spare + 1, .rlim_max = before.rlim_max };
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    while (dup(0) >= 0) /* what is free below */
        ;
    cr_assert_eq(gring_accept(call.fd, NULL, NULL), -1);
    cr_assert_eq(errno, EMFILE);
    close(spare);
    fd = gring_accept(call.fd, NULL, NULL);
    cr_assert_eq(fd, spare, "%m");
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    cr_assert_eq(write(client, "x", 1), 1);
    cr_assert_eq(gring_recv(fd, &(char){ 0 }, 1, 0), 1);
}

/* ---- connect --------------------------------------------------------------------------------- */

GreenTest(connect, reaches_a_listener)
{
    int listener = make_listener(4), fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), accepted;
    struct sockaddr_in address = address_of(listener);

    errno = ERRNO_BEFORE;
    cr_assert_eq(gring_connect(fd, (struct sockaddr *)&address, sizeof address), 0, "%m");
    cr_assert_eq(errno, ERRNO_BEFORE);
    cr_assert_eq(gring_connect(fd, (struct sockaddr *)&address, sizeof address), -1);
    cr_assert_eq(errno, EISCONN);
    accepted = gring_accept(listener, NULL, NULL);
    cr_assert_eq(gring_send(fd, "x", 1, 0), 1);
    cr_assert_eq(gring_recv(accepted, &(char){ 0 }, 1, 0), 1);
    close(fd);
    close(accepted);
    close(listener);
}

GreenTest(connect, waits_also_on_a_nonblocking_socket)
{
    int listener = make_listener(4),
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = address_of(listener);

    cr_assert_eq(gring_connect(fd, (struct sockaddr *)&address, sizeof address), 0, "%m");
    close(fd);
    close(listener);
}

static uint16_t free_port(void)
{
    int listener = make_listener(1);
    uint16_t port = port_of(listener);

    close(listener);
    return port;
}

static int connect_error(int family, const void *address, socklen_t length)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), result;

    cr_assert_geq(fd, 0);
    result = gring_connect(fd, address, length);
    close(fd);
    return result < 0 ? errno : 0;
}

GreenTest(connect, tells_why_it_failed)
{
    struct sockaddr_in refused = loopback(free_port()), multicast = loopback(1);
    struct sockaddr_un absent = { .sun_family = AF_UNIX, .sun_path = "/nonexistent/socket" };

    multicast.sin_addr.s_addr = htonl(0xe0000001); /* 224.0.0.1 */
    cr_assert_eq(connect_error(AF_INET, &refused, sizeof refused), ECONNREFUSED);
    cr_assert_eq(connect_error(AF_INET, &multicast, sizeof multicast), ENETUNREACH);
    cr_assert_eq(connect_error(AF_UNIX, &absent, sizeof absent), ENOENT);
    cr_assert_eq(connect_error(AF_INET, &refused, 3), EINVAL);
    cr_assert_eq(connect_error(AF_INET, &absent, sizeof absent), EAFNOSUPPORT);
    cr_assert_eq(gring_connect(-1, (struct sockaddr *)&refused, sizeof refused), -1);
    cr_assert_eq(errno, EBADF);
}

static int abstract_listener(const char *name, int backlog)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "%s-%d", name, (int)getpid());
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0, "%m");
    cr_assert_eq(listen(fd, backlog), 0);
    return fd;
}

struct unix_client {
    struct sockaddr_un address;
    int fd, result;
};

static void *do_unix_connect(void *arg)
{
    struct unix_client *client = arg;

    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    client->result =
        gring_connect(client->fd, (struct sockaddr *)&client->address, sizeof client->address);
    return NULL;
}

/* On unix sockets a full backlog makes connect(2) wait; to the kernel's first, non-blocking try
 * it is EAGAIN. */
GreenTest(connect, waits_for_room_in_the_backlog_of_a_unix_listener)
{
    enum { CLIENTS = 6 };
    static struct unix_client clients[CLIENTS];
    gring_task *tasks[CLIENTS];
    int listener = abstract_listener("greenring-test-full", 0), fds[CLIENTS];
    socklen_t length = sizeof clients[0].address;

    cr_assert_eq(getsockname(listener, (struct sockaddr *)&clients[0].address, &length), 0);
    for (int index = 0; index < CLIENTS; index++) {
        clients[index].address = clients[0].address;
        clients[index].result = 99;
        tasks[index] = gring_spawn(do_unix_connect, &clients[index]);
    }
    gring_idle();
    cr_assert_eq(clients[CLIENTS - 1].result, 99, "the backlog was not full");
    for (int index = 0; index < CLIENTS; index++)
        fds[index] = gring_accept(listener, NULL, NULL);
    for (int index = 0; index < CLIENTS; index++) {
        cr_assert_eq(gring_join(tasks[index], NULL), 0);
        cr_assert_eq(clients[index].result, 0, "client %d", index);
        cr_assert_geq(fds[index], 0);
        close(fds[index]);
        close(clients[index].fd);
    }
    close(listener);
}

/* A listener that answers nobody any more: its backlog of one is taken. */
static int make_silent_listener(in_addr_t host, uint16_t port, int *first)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = loopback(port);

    address.sin_addr.s_addr = htonl(host);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0, "%m");
    cr_assert_eq(listen(fd, 0), 0);
    *first = plain_connect(fd);
    return fd;
}

/* As after EINTR of connect(2): the attempt is the socket's, and goes on. */
GreenTest(connect, interrupted_goes_on_and_says_so_to_later_calls)
{
    int first, listener = make_silent_listener(INADDR_LOOPBACK, 0, &first);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), result;
    struct sockaddr_in address = address_of(listener);

    cr_assert_eq(
        gring_within(GRING_MS, gring_connect(fd, (struct sockaddr *)&address, sizeof address)), -1);
    cr_assert_eq(errno, ETIMEDOUT);
    cr_assert_eq(gring_connect(fd, (struct sockaddr *)&address, sizeof address), -1);
    cr_assert_eq(errno, EALREADY);
    close(gring_accept(listener, NULL, NULL)); /* room for it, when it asks again */
    cr_assert_neq(gring_wait_fd(fd, POLLOUT) & POLLOUT, 0);
    result = gring_connect(fd, (struct sockaddr *)&address, sizeof address);
    cr_assert(result == 0 || errno == EISCONN, "%m");
    cr_assert_eq(gring_connect(fd, (struct sockaddr *)&address, sizeof address), -1);
    cr_assert_eq(errno, EISCONN);
    cr_assert_eq(gring_send(fd, "x", 1, 0), 1);
    close(fd), close(first), close(listener);
}

/* ---- recv ------------------------------------------------------------------------------------ */

GreenTest(recv, peeks_without_taking)
{
    char buf[4];
    int ends[2];

    make_tcp_pair(ends);
    cr_assert_eq(send(ends[1], "abc", 3, 0), 3);
    cr_assert_eq(gring_recv(ends[0], buf, sizeof buf, MSG_PEEK), 3);
    cr_assert_eq(gring_recv(ends[0], buf, sizeof buf, MSG_PEEK), 3);
    cr_assert_eq(gring_recv(ends[0], buf, 2, 0), 2);
    cr_assert_eq(gring_recv(ends[0], buf, sizeof buf, 0), 1);
    cr_assert_eq(buf[0], 'c');
    close_both(ends);
}

GreenTest(recv, peek_waits_for_data)
{
    char buf[4];
    int ends[2];
    struct call call = { .buf = buf, .size = sizeof buf, .flags = MSG_PEEK };
    gring_task *task;

    make_tcp_pair(ends);
    call.fd = ends[0];
    task = spawn_waiting(do_recv, &call);
    cr_assert_eq(send(ends[1], "abc", 3, 0), 3);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 3);
    cr_assert_eq(unread_bytes(ends[0]), 3);
    close_both(ends);
}

GreenTest(recv, waits_for_all_with_MSG_WAITALL)
{
    char buf[6];
    int ends[2];
    struct call call = { .buf = buf, .size = sizeof buf, .flags = MSG_WAITALL };
    gring_task *task;

    make_tcp_pair(ends);
    call.fd = ends[0];
    cr_assert_eq(send(ends[1], "abc", 3, 0), 3);
    task = spawn_waiting(do_recv, &call);
    cr_assert_eq(send(ends[1], "de", 2, 0), 2);
    gring_idle();
    cr_assert_eq(gring_task_state(task), GRING_PARKED);
    cr_assert_eq(send(ends[1], "fg", 2, 0), 2);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 6);
    cr_assert_eq(call.error, ERRNO_BEFORE);
    cr_assert_arr_eq(buf, "abcdef", 6);
    cr_assert_eq(unread_bytes(ends[0]), 1);
    close_both(ends);
}

GreenTest(recv, MSG_WAITALL_gives_less_at_the_end)
{
    char buf[6];
    int ends[2];
    struct call call = { .buf = buf, .size = sizeof buf, .flags = MSG_WAITALL };
    gring_task *task;

    make_tcp_pair(ends);
    call.fd = ends[0];
    task = spawn_waiting(do_recv, &call);
    cr_assert_eq(send(ends[1], "abc", 3, 0), 3);
    close(ends[1]);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 3);
    close(ends[0]);
}

GreenTest(recv, does_not_wait_with_MSG_DONTWAIT)
{
    char buf[4];
    int ends[2];

    make_tcp_pair(ends);
    for (int round = 0; round < 2;
         round++) { /* the second time the socket is known to be drained */
        cr_assert_eq(gring_recv(ends[0], buf, sizeof buf, MSG_DONTWAIT), -1);
        cr_assert_eq(errno, EAGAIN);
        cr_assert_eq(send(ends[1], "abc", 3, 0), 3);
        cr_assert_eq(gring_recv(ends[0], buf, sizeof buf, MSG_DONTWAIT), 3);
        cr_assert_eq(send(ends[1], "abc", 3, 0), 3);
        cr_assert_eq(gring_recv(ends[0], buf, sizeof buf, 0), 3);
    }
    close_both(ends);
}

/* What recv(2) says at once it says at once here too, also on a socket that was just emptied. */
GreenTest(recv, of_urgent_data_that_is_not_there_fails_at_once)
{
    char buf[4];
    int ends[2];
    struct call call = { .buf = buf, .size = 1, .flags = MSG_OOB };
    gring_task *task;

    make_tcp_pair(ends);
    call.fd = ends[0];
    cr_assert_eq(send(ends[1], "abc", 3, 0), 3);
    cr_assert_eq(gring_recv(ends[0], buf, sizeof buf, 0), 3);
    task = gring_spawn(do_recv, &call);
    gring_idle();
    cr_assert_eq(gring_task_state(task), GRING_DONE, "it waits, where recv(2) fails with EINVAL");
    cr_assert_eq(call.result, -1);
    cr_assert_eq(call.error, EINVAL);
    cr_assert_eq(gring_join(task, NULL), 0);
    close_both(ends);
}

GreenTest(recv, of_the_error_queue_does_not_wait)
{
    char byte;
    struct call call = { .buf = &byte, .size = 1, .flags = MSG_ERRQUEUE };
    gring_task *task;

    call.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    task = gring_spawn(do_recv, &call);
    gring_idle();
    cr_assert_eq(gring_task_state(task), GRING_DONE, "it waits, where recv(2) says EAGAIN");
    cr_assert_eq(call.result, -1);
    cr_assert_eq(call.error, EAGAIN);
    cr_assert_eq(gring_join(task, NULL), 0);
    close(call.fd);
}

GreenTest(recv, gets_urgent_data)
{
    char buf[4];
    int ends[2];

    make_tcp_pair(ends);
    cr_assert_eq(send(ends[1], "abc", 3, 0), 3);
    cr_assert_eq(gring_recv(ends[0], buf, sizeof buf, 0), 3);
    cr_assert_eq(gring_send(ends[1], "!", 1, MSG_OOB), 1);
    cr_assert_eq(gring_recv(ends[0], buf, 1, MSG_OOB), 1);
    cr_assert_eq(buf[0], '!');
    close_both(ends);
}

/* After each drained receive the next is told to wait first: it must find what came meanwhile
 * all the same. */
GreenTest(recv, finds_data_and_the_end_on_a_socket_that_was_drained)
{
    char buf[8];
    int ends[2];

    for (int kind = 0; kind < 2; kind++) {
        if (kind)
            make_tcp_pair(ends);
        else
            make_unix_pair(ends);
        for (int round = 0; round < 3; round++) {
            cr_assert_eq(send(ends[1], "abcd", 4, 0), 4);
            cr_assert_eq(gring_recv(ends[0], buf, 2, 0), 2);
            cr_assert_eq(gring_recv(ends[0], buf, sizeof buf, 0), 2);
        }
        close(ends[1]);
        cr_assert_eq(gring_recv(ends[0], buf, sizeof buf, 0), 0);
        cr_assert_eq(gring_recv(ends[0], buf, sizeof buf, 0), 0);
        close(ends[0]);
    }
}

GreenTest(recv, tells_ECONNRESET)
{
    char buf[8];
    int ends[2];
    struct call call = { .buf = buf, .size = sizeof buf };
    gring_task *task;

    make_tcp_pair(ends);
    call.fd = ends[0];
    task = spawn_waiting(do_recv, &call);
    reset_peer(ends[1]);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, -1);
    cr_assert_eq(call.error, ECONNRESET);
    close(ends[0]);
}

GreenTest(recv, keeps_the_borders_of_datagrams)
{
    char buf[8];
    int ends[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends), 0);
    cr_assert_eq(gring_send(ends[1], "abc", 3, 0), 3);
    cr_assert_eq(gring_send(ends[1], "", 0, 0), 0);
    cr_assert_eq(gring_send(ends[1], "defgh", 5, 0), 5);
    cr_assert_eq(gring_recv(ends[0], buf, sizeof buf, 0), 3);
    cr_assert_eq(gring_recv(ends[0], buf, sizeof buf, 0), 0);
    cr_assert_eq(gring_recv(ends[0], buf, 2, MSG_TRUNC), 5);
    cr_assert_eq(gring_recv(ends[0], buf, sizeof buf, MSG_DONTWAIT), -1);
    cr_assert_eq(errno, EAGAIN);
    close_both(ends);
}

GreenTest(recv, refuses_what_is_no_connected_socket)
{
    int ends[2], fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char byte;

    make_pipe(ends);
    cr_assert_eq(gring_recv(ends[0], &byte, 1, 0), -1);
    cr_assert_eq(errno, ENOTSOCK);
    cr_assert_eq(gring_send(ends[1], &byte, 1, 0), -1);
    cr_assert_eq(errno, ENOTSOCK);
    cr_assert_eq(gring_recv(fd, &byte, 1, 0), -1);
    cr_assert_eq(errno, ENOTCONN);
    cr_assert_eq(gring_recv(-1, &byte, 1, 0), -1);
    cr_assert_eq(errno, EBADF);
    cr_assert_eq(gring_shutdown(fd, SHUT_RD), -1);
    cr_assert_eq(errno, ENOTCONN);
    close_both(ends);
    close(fd);
}

/* ---- send ------------------------------------------------------------------------------------ */

struct slow_reader {
    int fd;
    size_t got, wrong_at;
};

static void *read_slowly(void *arg)
{
    struct slow_reader *reader = arg;
    static char buf[33333];
    ssize_t count;

    reader->wrong_at = SIZE_MAX;
    while ((count = gring_recv(reader->fd, buf, sizeof buf, 0)) > 0) {
        size_t good = pattern_matches(buf, (size_t)count, 5, reader->got);

        if (good < (size_t)count && reader->wrong_at == SIZE_MAX)
            reader->wrong_at = reader->got + good;
        reader->got += (size_t)count;
        gring_yield();
    }
    return NULL;
}

static void expect_sent_whole(const int ends[2])
{
    struct call call = { .fd = ends[0], .size = 16 << 20, .buf = malloc(16 << 20) };
    struct slow_reader reader = { .fd = ends[1] };
    gring_task *sending, *reading;

    pattern_fill(call.buf, call.size, 5, 0);
    sending = spawn_waiting(do_send, &call);
    reading = gring_spawn(read_slowly, &reader);
    cr_assert_eq(gring_join(sending, NULL), 0);
    cr_assert_eq(call.result, (ssize_t)call.size);
    cr_assert_eq(call.error, ERRNO_BEFORE);
    close(ends[0]);
    cr_assert_eq(gring_join(reading, NULL), 0);
    cr_assert_eq(reader.got, call.size);
    cr_assert_eq(reader.wrong_at, SIZE_MAX, "wrong from byte %zu on", reader.wrong_at);
    close(ends[1]);
    free(call.buf);
}

GreenTest(send, of_sixteen_MiB_arrives_whole)
{
    int ends[2];

    make_tcp_pair(ends);
    expect_sent_whole(ends);
}

GreenTest(send, on_a_nonblocking_socket_arrives_whole)
{
    int ends[2];

    make_tcp_pair(ends);
    set_nonblocking(ends[0]);
    expect_sent_whole(ends);
}

/* MSG_TRUNC: counts without copying. */
static void *swallow(void *arg)
{
    struct slow_reader *reader = arg;
    ssize_t count;

    while ((count = gring_recv(reader->fd, NULL, 1 << 30, MSG_TRUNC)) > 0)
        reader->got += (size_t)count;
    return NULL;
}

GreenTest(send, of_more_than_one_transfer_can_take_arrives_whole)
{
    const size_t size = 0x7ffff000u + 100000u;
    void *memory = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    struct slow_reader reader = { 0 };
    gring_task *reading;
    int ends[2];

    cr_assert_neq(memory, MAP_FAILED);
    make_tcp_pair(ends);
    reader.fd = ends[1];
    reading = gring_spawn(swallow, &reader);
    cr_assert_eq(gring_send(ends[0], memory, size, 0), (ssize_t)size);
    close(ends[0]);
    cr_assert_eq(gring_join(reading, NULL), 0);
    cr_assert_eq(reader.got, size);
    close(ends[1]);
    munmap(memory, size);
}

GreenTest(send, with_MSG_DONTWAIT_sends_what_fits)
{
    const size_t size = 16 << 20;
    char *buf = calloc(1, size);
    int ends[2];
    ssize_t count;

    make_tcp_pair(ends);
    count = gring_send(ends[0], buf, size, MSG_DONTWAIT);
    cr_assert_gt(count, 0);
    cr_assert_lt(count, (ssize_t)size);
    while (gring_send(ends[0], buf, size, MSG_DONTWAIT) > 0)
        ;
    cr_assert_eq(errno, EAGAIN);
    close_both(ends);
    free(buf);
}

GreenTest(send, tells_EPIPE_without_a_signal_when_the_peer_resets_amid)
{
    const size_t size = 16 << 20;
    struct call call = { .size = size, .buf = calloc(1, size) };
    gring_task *task;
    int ends[2];

    signal(SIGPIPE, SIG_DFL);
    make_tcp_pair(ends);
    call.fd = ends[0];
    task = spawn_waiting(do_send, &call);
    reset_peer(ends[1]);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_gt(call.result, 0, "the progress before the reset was not told");
    cr_assert_lt(call.result, (ssize_t)size);
    cr_assert_eq(gring_send(ends[0], "x", 1, 0), -1);
    cr_assert(errno == EPIPE || errno == ECONNRESET, "%m");
    cr_assert_eq(gring_send(ends[0], "x", 1, 0), -1);
    cr_assert_eq(errno, EPIPE);
    close(ends[0]);
    free(call.buf);
}

Test(recv, on_a_plain_thread_is_the_system_call)
{
    int ends[2];
    char buf[4];

    make_unix_pair(ends);
    cr_assert_eq(gring_recv(ends[0], buf, sizeof buf, MSG_DONTWAIT), -1);
    cr_assert_eq(errno, EAGAIN);
    cr_assert_eq(gring_send(ends[1], "abc", 3, 0), 3);
    cr_assert_eq(gring_recv(ends[0], buf, sizeof buf, 0), 3);
    cr_assert_eq(memcmp(buf, "abc", 3), 0);
    close_both(ends);
}

Test(accept, on_a_plain_thread_is_the_system_call)
{
    int listener = make_listener(1), client, fd;
    struct sockaddr_in address = address_of(listener);

    fcntl(listener, F_SETFL, O_NONBLOCK); /* which counts there */
    cr_assert_eq(gring_accept(listener, NULL, NULL), -1);
    cr_assert_eq(errno, EAGAIN);
    client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(gring_connect(client, (struct sockaddr *)&address, sizeof address), 0);
    fd = gring_accept(listener, NULL, NULL);
    cr_assert_geq(fd, 0, "%m");
    close(fd), close(client), close(listener);
}

Test(send, on_a_plain_thread_raises_no_signal_either)
{
    int ends[2];

    make_unix_pair(ends);
    close(ends[0]);
    cr_assert_eq(gring_send(ends[1], "x", 1, 0), -1);
    cr_assert_eq(errno, EPIPE);
}

/* ---- endpoints ------------------------------------------------------------------------------- */

static bool has_ipv6(void)
{
    struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;

    close(fd);
    return has;
}

/* The text, and behind a colon or a dash at its end the number. */
static const char *with_port(const char *start, int port)
{
    static char text[128];
    char last = start[strlen(start) - 1];

    if (last == ':' || last == '-')
        snprintf(text, sizeof text, "%s%d", start, port);
    else
        snprintf(text, sizeof text, "%s", start);
    return text;
}

static void expect_connected(int client, int server)
{
    char byte = 0;

    cr_assert_eq(gring_send(client, "?", 1, 0), 1);
    cr_assert_eq(gring_recv(server, &byte, 1, 0), 1);
    cr_assert_eq(byte, '?');
    cr_assert_eq(gring_send(server, "!", 1, 0), 1);
    cr_assert_eq(gring_recv(client, &byte, 1, 0), 1);
    cr_assert_eq(byte, '!');
}

/* Listens on the one, dials the other, which gets the port. */
static void expect_to_meet(const char *listen_on, const char *dial)
{
    int listener = gring_net_listen(listen_on, 16, 0), client, server;
    struct sockaddr_storage address;
    socklen_t length = sizeof address;

    cr_assert_geq(listener, 0, "%s: %m", listen_on);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    errno = ERRNO_BEFORE;
    client = gring_net_dial(with_port(dial, ntohs(((struct sockaddr_in *)&address)->sin_port)));
    cr_assert_geq(client, 0, "%s: %m", dial);
    cr_assert_eq(errno, ERRNO_BEFORE, "%s succeeded and changed errno to %m", dial);
    server = gring_accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    cr_assert_geq(server, 0);
    expect_connected(client, server);
    cr_assert_eq(fcntl(client, F_GETFD), FD_CLOEXEC);
    cr_assert_eq(fcntl(listener, F_GETFD), FD_CLOEXEC);
    cr_assert_not(fcntl(client, F_GETFL) & O_NONBLOCK);
    close(client);
    close(server);
    close(listener);
}

GreenTest(endpoint, tcp_addresses_meet)
{
    int before = descriptor_count();

    expect_to_meet("tcp:127.0.0.1:0", "tcp:127.0.0.1:");
    expect_to_meet("tcp4:127.0.0.1:0", "tcp4:127.0.0.1:");
    expect_to_meet("tcp:127.0.0.2:0", "tcp:127.0.0.2:");
    cr_assert_eq(descriptor_count(), before);
}

GreenTest(endpoint, the_empty_host_and_the_star_are_every_address)
{
    expect_to_meet("tcp:*:0", "tcp:127.0.0.1:");
    expect_to_meet("tcp::0", "tcp:127.0.0.2:");
    expect_to_meet("tcp4:*:0", "tcp:127.0.0.3:");
}

GreenTest(endpoint, tcp6_addresses_meet)
{
    if (!has_ipv6())
        cr_skip_test("no IPv6 on this machine");
    expect_to_meet("tcp6:[::1]:0", "tcp6:[::1]:");
    expect_to_meet("tcp:[::1]:0", "tcp:[::1]:");
    expect_to_meet("tcp6:*:0", "tcp6:[::1]:");
}

GreenTest(endpoint, names_meet)
{
    expect_to_meet("tcp:localhost:0", "tcp:localhost:");
    expect_to_meet("tcp4:localhost:0", "tcp4:localhost:");
    expect_to_meet("tcp:one.test:0", "tcp:one.test:");
}

GreenTest(endpoint, numbers_ask_no_resolver)
{
    expect_to_meet("tcp:127.0.0.1:0", "tcp:127.0.0.1:");
    cr_assert_eq(atomic_load(&resolver.asked), 0);
}

GreenTest(endpoint, dial_tries_the_next_address_when_one_refuses)
{
    expect_to_meet("tcp:127.0.0.1:0", "tcp:three.test:");
    expect_to_meet("tcp:127.0.0.3:0", "tcp:three.test:");
}

GreenTest(endpoint, dial_tries_both_families)
{
    expect_to_meet("tcp:127.0.0.1:0",
                   "tcp:both.test:"); /* ::1 comes first, and refuses or is not there */
    if (has_ipv6())
        expect_to_meet("tcp6:[::1]:0", "tcp:both.test:");
}

GreenTest(endpoint, dial_tells_the_last_addresss_error_and_leaves_nothing_behind)
{
    int before = descriptor_count();

    cr_assert_eq(gring_net_dial(with_port("tcp:three.test:", free_port())), -1);
    cr_assert_eq(errno, ECONNREFUSED);
    cr_assert_eq(gring_net_dial(with_port("tcp:127.0.0.1:", free_port())), -1);
    cr_assert_eq(errno, ECONNREFUSED);
    cr_assert_eq(gring_net_dial("unix:/nonexistent/socket"), -1);
    cr_assert_eq(errno, ENOENT);
    cr_assert_eq(descriptor_count(), before);
}

/* 127.0.0.2 is silent, 127.0.0.1 would answer: but the call was interrupted, not the address bad.
 * */
GreenTest(endpoint, dial_interrupted_at_one_address_does_not_go_on_to_the_next)
{
    int listener = make_listener(4), first, silent, before;
    char text[64];
    struct call call = { .endpoint = text };
    gring_task *task;

    silent = make_silent_listener(0x7f000002, port_of(listener), &first);
    snprintf(text, sizeof text, "tcp:three.test:%d", port_of(listener));
    before = descriptor_count();
    task = gring_spawn(do_dial, &call);
    while (descriptor_count() == before) /* the name is being looked up */
        gring_yield();
    gring_idle();
    gring_throw(task, EINTR);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, -1);
    cr_assert_eq(call.error, EINTR);
    cr_assert_eq(gring_within(20 * GRING_MS, gring_net_dial(text)), -1);
    cr_assert_eq(errno, ETIMEDOUT);
    cr_assert_eq(descriptor_count(), before);
    close(listener), close(silent), close(first);
}

GreenTest(endpoint, unix_sockets_meet_at_a_path)
{
    char folder[] = P_tmpdir "/greenring-test-XXXXXX", text[80];
    struct stat status;

    cr_assert_not_null(mkdtemp(folder));
    snprintf(text, sizeof text, "unix:%s/socket", folder);
    expect_to_meet(text, text);
    cr_assert_eq(stat(text + strlen("unix:"), &status), 0);
    cr_assert(S_ISSOCK(status.st_mode));
    cr_assert_eq(gring_net_listen(text, 1, 0), -1, "the path is taken");
    cr_assert_eq(errno, EADDRINUSE);
    unlink(text + strlen("unix:"));
    rmdir(folder);
}

GreenTest(endpoint, unix_sockets_meet_at_an_abstract_name)
{
    const char *text = with_port("unix:@greenring-test-", (int)getpid());
    char copy[128];

    snprintf(copy, sizeof copy, "%s", text);
    expect_to_meet(copy, copy);
}

GreenTest(endpoint, datagrams_reach_a_bound_socket)
{
    int server = gring_net_listen("udp:127.0.0.1:0", 0, 0), client;
    char buf[8];

    cr_assert_geq(server, 0, "%m");
    client = gring_net_dial(with_port("udp:127.0.0.1:", port_of(server)));
    cr_assert_geq(client, 0, "%m");
    cr_assert_eq(gring_send(client, "abc", 3, 0), 3);
    cr_assert_eq(gring_recv(server, buf, sizeof buf, 0), 3);
    close(client);
    close(server);
}

GreenTest(endpoint, of_a_descriptor_is_a_duplicate)
{
    int listener = make_listener(4), copy, client, ends[2];
    char text[32];

    snprintf(text, sizeof text, "fd:%d", listener);
    copy = gring_net_listen(text, 1, 0);
    cr_assert_geq(copy, 0, "%m");
    cr_assert_neq(copy, listener);
    cr_assert_eq(fcntl(copy, F_GETFD), FD_CLOEXEC);
    cr_assert_eq(port_of(copy), port_of(listener));
    close(copy);
    make_unix_pair(ends);
    snprintf(text, sizeof text, "fd:%d", ends[0]);
    client = gring_net_dial(text);
    cr_assert_geq(client, 0, "%m");
    expect_connected(client, ends[1]);
    close(client);
    close_both(ends);
    close(listener);
    cr_assert_eq(gring_net_dial("fd:1000000"), -1);
    cr_assert_eq(errno, EBADF);
}

GreenTest(endpoint, that_is_malformed_is_EINVAL)
{
    static const char *const malformed[] = {
        "",
        "tcp",
        "tcp:",
        "tcp:host",
        "tcp:127.0.0.1:",
        "tcp:127.0.0.1:65536",
        "tcp:::1:80",
        "http:h:80",
        "tcp:[::1:80",
        "tcp:[::1]80",
        "tcp:127.0.0.1:80:1",
        "tcp:127.0.0.1:-1",
        "unix:",
        "unix:socket",
        "unix:@",
        "fd:",
        "fd:x",
        "fd:-1",
        "tcp4:[::1]:80",
        "tcp6:127.0.0.1:80",
        " tcp:127.0.0.1:80",
        "TCP:127.0.0.1:80",
        "tcp:a b:80",
    };
    int before = descriptor_count();

    for (size_t index = 0; index < sizeof malformed / sizeof *malformed; index++) {
        errno = 0;
        cr_expect_eq(gring_net_dial(malformed[index]), -1);
        cr_expect_eq(errno, EINVAL, "dial %s: %m", malformed[index]);
        errno = 0;
        cr_expect_eq(gring_net_listen(malformed[index], 1, 0), -1);
        cr_expect_eq(errno, EINVAL, "listen %s: %m", malformed[index]);
    }
    cr_assert_eq(gring_net_dial(NULL), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_net_listen(NULL, 1, 0), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_net_listen("tcp:127.0.0.1:0", 1, 0x80), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(descriptor_count(), before);
}

GreenTest(endpoint, a_port_in_use_is_EADDRINUSE)
{
    int first = gring_net_listen("tcp:127.0.0.1:0", 1, 0), before;

    cr_assert_geq(first, 0, "%m");
    before = descriptor_count();
    cr_assert_eq(gring_net_listen(with_port("tcp:127.0.0.1:", port_of(first)), 1, 0), -1);
    cr_assert_eq(errno, EADDRINUSE);
    cr_assert_eq(descriptor_count(), before);
    close(first);
}

GreenTest(endpoint, a_port_can_be_listened_on_again_at_once)
{
    int listener = gring_net_listen("tcp:127.0.0.1:0", 1, 0), client, server,
        port = port_of(listener);

    client = plain_connect(listener);
    server = gring_accept(listener, NULL, NULL);
    gring_close(server); /* first: so the server's side is the one in TIME_WAIT */
    gring_close(client);
    gring_close(listener);
    listener = gring_net_listen(with_port("tcp:127.0.0.1:", port), 1, 0);
    cr_assert_geq(listener, 0, "%m");
    close(listener);
}

GreenTest(endpoint, REUSEPORT_lets_several_listen)
{
    int port = free_port(), first, second;

    first = gring_net_listen(with_port("tcp:127.0.0.1:", port), 1, GRING_REUSEPORT);
    cr_assert_geq(first, 0, "%m");
    second = gring_net_listen(with_port("tcp:127.0.0.1:", port), 1, GRING_REUSEPORT);
    cr_assert_geq(second, 0, "%m");
    close(first);
    close(second);
}

GreenTest(endpoint, REUSEPORT_without_a_port_is_EINVAL)
{
    cr_assert_eq(gring_net_listen("tcp:127.0.0.1:0", 1, GRING_REUSEPORT), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_net_listen("tcp:*:0", 1, GRING_REUSEPORT), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_net_listen("tcp:one.test:0", 1, GRING_REUSEPORT), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_net_listen("tcp6:[::1]:0", 1, GRING_REUSEPORT), -1);
    cr_assert_eq(errno, EINVAL);
}

GreenTest(endpoint, without_a_free_descriptor_is_EMFILE)
{
    int listener = gring_net_listen("tcp:127.0.0.1:0", 4, 0), fd;
    const char *endpoint = with_port("tcp:127.0.0.1:", port_of(listener));

    leave_no_descriptor();
    cr_assert_eq(gring_net_dial(endpoint), -1);
    cr_assert_eq(errno, EMFILE);
    cr_assert_eq(gring_net_listen("tcp:127.0.0.1:0", 4, 0), -1);
    cr_assert_eq(errno, EMFILE);
    cr_assert_eq(gring_net_dial("fd:0"), -1);
    cr_assert_eq(errno, EMFILE);
    allow_descriptors(0);
    fd = gring_net_dial(endpoint);
    cr_assert_geq(fd, 0, "%m");
    gring_close(fd);
    gring_close(listener);
}

Test(endpoint, works_on_a_plain_thread)
{
    int listener = gring_net_listen("tcp:localhost:0", 4, 0), client;

    cr_assert_geq(listener, 0, "%m");
    client = gring_net_dial(with_port("tcp:one.test:", port_of(listener)));
    cr_assert_geq(client, 0, "%m");
}

/* ---- names ----------------------------------------------------------------------------------- */

GreenTest(names, that_do_not_exist_tell_why)
{
    cr_assert_eq(gring_net_dial("tcp:none.test:80"), -1);
    cr_assert_eq(errno, ENXIO);
    cr_assert_eq(gring_net_dial("tcp:again.test:80"), -1);
    cr_assert_eq(errno, EAGAIN);
    cr_assert_eq(gring_net_dial("tcp:memory.test:80"), -1);
    cr_assert_eq(errno, ENOMEM);
    cr_assert_eq(gring_net_dial("tcp:service.test:80"), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_net_dial("tcp:system.test:80"), -1);
    cr_assert_eq(errno, EMFILE);
    cr_assert_eq(gring_net_dial("tcp:unsaid.test:80"), -1);
    cr_assert_eq(errno, EIO);
    cr_assert_eq(gring_net_listen("tcp:none.test:80", 1, 0), -1);
    cr_assert_eq(errno, ENXIO);
}

GreenTest(names, are_not_asked_for_by_a_killed_task)
{
    int asked = atomic_load(&resolver.asked);
    int descriptors = descriptor_count();

    gring_kill(gring_self());
    cr_assert_eq(gring_net_dial("tcp:one.test:80"), -1);
    cr_assert_eq(errno, ECANCELED);
    gring_uncancel();
    cr_assert_eq(atomic_load(&resolver.asked), asked);
    cr_assert_eq(descriptor_count(), descriptors);
}

struct heart {
    bool stop;
    int beats;
};

static void *beat(void *arg)
{
    struct heart *heart = arg;

    while (!heart->stop) {
        heart->beats++;
        gring_sleep(GRING_MS / 10);
    }
    return NULL;
}

GreenTest(names, of_the_real_resolver_do_not_stop_a_heartbeat)
{
    struct heart heart = { false, 0 };
    gring_task *task = gring_spawn(beat, &heart);

    cr_assert_eq(gring_net_dial("tcp:host.greenring.invalid:80"), -1);
    cr_assert(errno == ENXIO || errno == EAGAIN, "%m");
    cr_assert_gt(heart.beats, 0);
    heart.stop = true;
    cr_assert_eq(gring_join(task, NULL), 0);
}

/* Lets the other threads of the process run until this many look-ups have begun. */
static void await_slow_lookups(int count)
{
    while (atomic_load(&resolver.slow_asked) < count)
        gring_sleep(GRING_MS / 10);
}

GreenTest(names, that_take_long_do_not_stop_the_hub)
{
    int listener = gring_net_listen("tcp:127.0.0.1:0", 4, 0);
    struct call call = { .endpoint = with_port("tcp:slow.test:", port_of(listener)) };
    gring_task *task = gring_spawn(do_dial, &call);
    struct heart heart = { false, 0 };
    gring_task *heartbeat;

    await_slow_lookups(1);
    heartbeat = gring_spawn(beat, &heart);
    while (heart.beats < 20)
        gring_sleep(GRING_MS);
    cr_assert_eq(gring_task_state(task), GRING_PARKED);
    release_slow_answers();
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_geq(call.result, 0, "%s", strerror(call.error));
    heart.stop = true;
    gring_join(heartbeat, NULL);
    close((int)call.result);
    close(listener);
}

/* More look-ups than the runtime has threads: some are under way, some have not begun. */
enum { LOOKUPS = 40 };
static struct call lookups[LOOKUPS];

static void *release_after_a_while(void *unused)
{
    struct timespec pause = { .tv_nsec = 20 * 1000 * 1000 };

    (void)unused;
    nanosleep(&pause, NULL); /* so that the run is ending already; the test holds without it too */
    release_slow_answers();
    return NULL;
}

static void *leave_lookups(void *thread)
{
    for (int index = 0; index < LOOKUPS; index++) {
        lookups[index].endpoint = "tcp:slow.test:1";
        gring_spawn_n(do_dial, &lookups[index]);
    }
    await_slow_lookups(1);
    cr_assert_eq(pthread_create(thread, NULL, release_after_a_while, NULL), 0);
    return NULL;
}

Test(names, asked_for_at_the_end_of_the_run_leave_nothing_behind)
{
    int before = descriptor_count();
    pthread_t thread;

    cr_assert_eq(gring_run(leave_lookups, &thread, NULL), 0);
    pthread_join(thread, NULL);
    for (int index = 0; index < LOOKUPS; index++) {
        cr_assert_eq(lookups[index].result, -1);
        cr_assert_eq(lookups[index].error, ECANCELED, "look-up %d: %s", index,
                     strerror(lookups[index].error));
    }
    cr_assert_lt(atomic_load(&resolver.slow_asked), LOOKUPS,
                 "no look-up was taken back before it began");
    cr_assert_eq(descriptor_count(), before);
}

static void *ask_in_child(void *unused)
{
    (void)unused;
    CHILD_MUST(gring_net_dial("tcp:none.test:80") == -1 && errno == ENXIO);
    return NULL;
}

static void run_in_child(void)
{
    CHILD_MUST(gring_run(ask_in_child, NULL, NULL) == 0);
}

/* The threads that answer are not inherited; what the parent knows about them must not be
 * believed. */
GreenTest(names, are_answered_in_the_child_of_a_fork)
{
    struct child child;

    cr_assert_eq(gring_net_dial("tcp:none.test:80"), -1);
    cr_assert_eq(errno, ENXIO);
    child = child_run(run_in_child);
    cr_assert(child_passed(&child), "status %#x: %s", (unsigned)child.status, child.errors);
}

GreenTest(names, many_at_once_are_all_answered)
{
    enum { COUNT = 200 };
    static struct call calls[COUNT];
    static gring_task *tasks[COUNT];
    int listener = gring_net_listen("tcp:127.0.0.1:0", COUNT, 0);
    char text[64];

    snprintf(text, sizeof text, "tcp:three.test:%d", port_of(listener));
    for (int index = 0; index < COUNT; index++) {
        calls[index] = (struct call){ .endpoint = text };
        tasks[index] = gring_spawn(do_dial, &calls[index]);
    }
    for (int index = 0; index < COUNT; index++) {
        cr_assert_eq(gring_join(tasks[index], NULL), 0);
        cr_assert_geq(calls[index].result, 0, "%s", strerror(calls[index].error));
        close((int)calls[index].result);
    }
    close(listener);
}

/* ---- many ------------------------------------------------------------------------------------ */

enum { CONNECTIONS = 2000, ROUNDS = 8, MESSAGE = 600 };

struct player {
    struct sockaddr_in address;
    int listener;
    uint64_t number;
    int rounds;
};

static void *echo(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char buf[1024];
    ssize_t count;

    while ((count = gring_recv(fd, buf, sizeof buf, 0)) > 0)
        if (gring_send(fd, buf, (size_t)count, 0) != count)
            break;
    gring_close(fd);
    return NULL;
}

static void *serve_echo(void *arg)
{
    struct player *player = arg;

    for (int index = 0; index < CONNECTIONS; index++) {
        int fd = gring_accept4(player->listener, NULL, NULL, SOCK_CLOEXEC);

        if (fd < 0)
            return gring_fail(errno);
        gring_spawn_n(echo, (void *)(intptr_t)fd);
    }
    return NULL;
}

static void *play(void *arg)
{
    struct player *player = arg;
    unsigned char out[MESSAGE], in[MESSAGE];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 ||
        gring_connect(fd, (struct sockaddr *)&player->address, sizeof player->address) < 0)
        return gring_fail(errno);
    for (int round = 0; round < ROUNDS; round++) {
        size_t size = 1 + (player->number * 31 + (uint64_t)round * 97) % MESSAGE;

        pattern_fill(out, size, player->number, (uint64_t)round * MESSAGE);
        if (gring_send(fd, out, size, 0) != (ssize_t)size ||
            gring_read_full(fd, in, size, NULL) != (ssize_t)size || memcmp(in, out, size) != 0)
            break;
        player->rounds++;
    }
    gring_close(fd);
    return NULL;
}

GreenTest(net, two_thousand_connections_play_ping_pong)
{
    static struct player players[CONNECTIONS];
    static gring_task *tasks[CONNECTIONS];
    int listener = make_listener(4096), before = descriptor_count();
    struct player server = { .listener = listener };
    gring_task *serving;
    gring_stats stats = { .size = sizeof stats };

    if (!allow_descriptors(2 * CONNECTIONS + 100))
        cr_skip_test("RLIMIT_NOFILE is too low");
    serving = gring_spawn(serve_echo, &server);
    for (int index = 0; index < CONNECTIONS; index++) {
        players[index] =
            (struct player){ .address = address_of(listener), .number = (uint64_t)index };
        tasks[index] = gring_spawn(play, &players[index]);
    }
    for (int index = 0; index < CONNECTIONS; index++) {
        cr_assert_eq(gring_join(tasks[index], NULL), 0);
        cr_assert_eq(players[index].rounds, ROUNDS, "connection %d stopped in round %d", index,
                     players[index].rounds);
    }
    cr_assert_eq(gring_join(serving, NULL), 0);
    gring_idle();
    cr_assert_eq(descriptor_count(), before);
    cr_assert_eq(gring_stats_get(&stats), 0);
    cr_assert_eq(stats.in_flight, 0);
    close(listener);
}
