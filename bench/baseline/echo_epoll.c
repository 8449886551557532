/*
 * Baseline: a TCP echo server on epoll, edge-triggered.
 *
 *     echo_epoll PORT        (0: choose a port; "listening PORT" tells which)
 *
 * A readable connection is read and answered at once; the kernel is asked about writability only
 * after a short write. A read that does not fill the buffer has emptied the socket, so that the
 * usual request costs one read and one write and no EAGAIN. That argument needs care in one place:
 * data and the peer's end may be reported by a single edge, so an event that carries EPOLLRDHUP
 * reads on to the end.
 *
 * Edges are armed for both directions from the start: no epoll_ctl after the first, ever. While
 * unwritten bytes are held, nothing is read, so a peer that does not read holds one buffer at most.
 */
#include "common.h"

#include <sys/epoll.h>
#include <time.h>

#define BUFFER_BYTES (16 * 1024)
#define MAX_EVENTS 256
#define MAX_ROUNDS 16 /* buffers echoed for one connection before the others have their turn */
#define SLOT_BYTES (BUFFER_BYTES + 64)

/*
 * One slot per descriptor, of address space only: a connection with small messages touches one
 * page. The odd size spreads the slots over the cache's sets.
 */
struct connection {
    int fd;
    uint32_t held_bytes; /* read and not yet written; they start at buf + written_bytes */
    uint32_t written_bytes;
    bool is_open;
    bool is_readable; /* bytes or an end may be waiting in the socket: no edge will tell again */
    bool is_ending;   /* the peer has ended its direction: read to the end */
    bool is_queued;   /* on the list of those that had more than their turn */
    struct connection *next;
    char pad[64 - 24];
    char buf[BUFFER_BYTES];
};

static_assert(sizeof(struct connection) == SLOT_BYTES, "the head is one cache line");

static int epoll_fd;
static int listen_fd;
static int stop_fd;
static uint64_t accept_resume_ns;      /* 0: not paused */
static struct connection *connections; /* by descriptor */
static struct connection *busy_list;   /* connections with work left and no edge to come */
static uint64_t wait_count;
static uint64_t request_count;

static void watch(int fd, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.fd = fd };

    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl", errno);
}

static void connection_close(struct connection *connection)
{
    connection->is_open = false;
    close(connection->fd);
}

/* Writes what is held. Returns false when the connection is closed or has to wait for room. */
static bool connection_flush(struct connection *connection)
{
    ssize_t result;

    while (connection->held_bytes) {
        result = send(connection->fd, connection->buf + connection->written_bytes,
                      connection->held_bytes, MSG_NOSIGNAL);
        if (result < 0) {
            if (errno != EAGAIN)
                connection_close(connection);
            return false;
        }
        connection->written_bytes += (uint32_t)result;
        connection->held_bytes -= (uint32_t)result;
    }
    return true;
}

/*
 * Reads one buffer. Returns false when there was nothing left to read, or the connection is closed.
 */
static bool connection_read(struct connection *connection)
{
    ssize_t result;

    result = recv(connection->fd, connection->buf, BUFFER_BYTES, 0);
    if (result < 0 && errno == EAGAIN) {
        connection->is_readable = false;
        return false;
    }
    if (result <= 0) {
        connection_close(connection);
        return false;
    }
    request_count++;
    connection->written_bytes = 0;
    connection->held_bytes = (uint32_t)result;
    connection->is_readable = result == BUFFER_BYTES || connection->is_ending;
    return true;
}

static void connection_queue(struct connection *connection)
{
    if (connection->is_queued)
        return;
    connection->is_queued = true;
    connection->next = busy_list;
    busy_list = connection;
}

/* Echoes until the socket is empty or full, or others must have their turn. */
static void connection_run(struct connection *connection)
{
    for (int round = 0; round < MAX_ROUNDS; round++) {
        if (!connection_flush(connection))
            return;
        if (!connection->is_readable || !connection_read(connection))
            return;
    }
    if (connection_flush(connection) && connection->is_readable)
        connection_queue(connection);
}

/* Leaves is_queued alone: the descriptor's previous connection may still be on the list. */
static void connection_open(int fd)
{
    struct connection *connection = &connections[fd];

    connection->fd = fd;
    connection->held_bytes = 0;
    connection->is_open = true;
    connection->is_readable = false;
    connection->is_ending = false;
    watch(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

static uint64_t clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static void watch_listener(uint32_t events)
{
    struct epoll_event event = { .events = events, .data.fd = listen_fd };

    if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, listen_fd, &event) < 0)
        die("epoll_ctl", errno);
}

/* Out of descriptors: the backlog keeps the others until there is a chance again. */
static void pause_accepting(void)
{
    accept_resume_ns = clock_ns() + ACCEPT_PAUSE_NS;
    watch_listener(0);
}

static void resume_accepting(void)
{
    if (clock_ns() < accept_resume_ns)
        return;
    accept_resume_ns = 0;
    watch_listener(EPOLLIN);
}

static void accept_all(void)
{
    int fd;

    while ((fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        connection_open(fd);
    if (is_out_of_resources(errno))
        pause_accepting();
}

static void handle_connection(struct connection *connection, uint32_t events)
{
    if (!connection->is_open)
        return;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        connection->is_readable = true;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        connection->is_ending = true;
    connection_run(connection);
}

/* Gives those that were cut off another turn; they may queue themselves again. */
static void run_busy_connections(void)
{
    struct connection *list = busy_list;
    struct connection *connection;

    busy_list = NULL;
    while ((connection = list)) {
        list = connection->next;
        connection->is_queued = false;
        if (connection->is_open)
            connection_run(connection);
    }
}

static int wait_timeout_ms(void)
{
    if (busy_list)
        return 0;
    return accept_resume_ns ? ACCEPT_PAUSE_NS / 1000000 : -1;
}

static void serve(void)
{
    struct epoll_event events[MAX_EVENTS];
    int count;

    for (;;) {
        wait_count++;
        count = epoll_wait(epoll_fd, events, MAX_EVENTS, wait_timeout_ms());
        if (count < 0 && errno != EINTR)
            die("epoll_wait", errno);
        if (accept_resume_ns)
            resume_accepting();
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == stop_fd)
                return;
            if (events[i].data.fd == listen_fd)
                accept_all();
            else
                handle_connection(&connections[events[i].data.fd], events[i].events);
        }
        run_busy_connections();
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s PORT\n", argv[0]);
        return 2;
    }
    connections = map_zeroed(raise_descriptor_limit() * sizeof(struct connection));
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        die("epoll_create1", errno);
    stop_fd = open_stop_signal();
    listen_fd = listen_local(parse_port(argv[1], 0), SOCK_NONBLOCK);
    watch(stop_fd, EPOLLIN);
    watch(listen_fd, EPOLLIN);
    announce(listen_fd);
    serve();
    printf("waits=%llu requests=%llu\n", (unsigned long long)wait_count,
           (unsigned long long)request_count);
    return 0;
}
