/*
 * Baseline: a TCP echo server on a raw ring with single-shot operations.
 *
 *     echo_ring_single PORT  (0: choose a port; "listening PORT" tells which)
 *
 * A connection is always in exactly one operation: a receive, then sends until all of it has gone,
 * then the next receive. This is the shape of an ordinary recv/send loop, written without any
 * runtime.
 *
 * The receive after a send goes straight to polling (POLL_FIRST): the peer has only just been
 * answered, so a first attempt would fail. Tried and not better: the receive linked to the send or
 * queued beside it into a second buffer (fewer enters, but no less CPU, and twice the memory),
 * larger rings.
 */
#include "ring.h"

#define BUFFER_BYTES (16 * 1024)

/*
 * One slot per descriptor, of address space only: a connection with small messages touches one or
 * two pages. The odd size spreads the slots over the cache's sets, and the head is beside the first
 * bytes.
 */
struct connection {
    int fd;
    uint32_t size_bytes; /* received */
    uint32_t sent_bytes; /* of these */
    bool is_sending;
    char pad[64 - 16];
    char buf[BUFFER_BYTES];
};

static_assert(sizeof(struct connection) == BUFFER_BYTES + 64, "the head is one cache line");

/* User data is the connection's address, or one of these. */
enum tag { TAG_ACCEPT, TAG_PAUSE, TAG_STOP };

static struct server_ring ring;
static int listen_fd;
static struct connection *connections; /* by descriptor */

static void queue_accept(void)
{
    struct io_uring_sqe *sqe = ring_sqe(&ring);

    io_uring_prep_multishot_accept(sqe, listen_fd, NULL, NULL, SOCK_CLOEXEC);
    sqe->user_data = TAG_ACCEPT;
}

static void queue_receive(struct connection *connection, unsigned flags)
{
    struct io_uring_sqe *sqe = ring_sqe(&ring);

    io_uring_prep_recv(sqe, connection->fd, connection->buf, BUFFER_BYTES, 0);
    sqe->ioprio = (uint16_t)flags;
    sqe->user_data = (uintptr_t)connection;
    connection->is_sending = false;
}

static void queue_send(struct connection *connection)
{
    struct io_uring_sqe *sqe = ring_sqe(&ring);

    io_uring_prep_send(sqe, connection->fd, connection->buf + connection->sent_bytes,
                       connection->size_bytes - connection->sent_bytes, MSG_NOSIGNAL);
    sqe->user_data = (uintptr_t)connection;
    connection->is_sending = true;
}

static void on_receive(struct connection *connection, int result)
{
    if (result <= 0) {
        close(connection->fd);
        return;
    }
    ring.request_count++;
    connection->size_bytes = (uint32_t)result;
    connection->sent_bytes = 0;
    queue_send(connection);
}

static void on_send(struct connection *connection, int result)
{
    if (result < 0) {
        close(connection->fd);
        return;
    }
    connection->sent_bytes += (uint32_t)result;
    if (connection->sent_bytes < connection->size_bytes)
        queue_send(connection);
    else /* a full buffer means that more has come already */
        queue_receive(connection,
                      connection->size_bytes < BUFFER_BYTES ? IORING_RECVSEND_POLL_FIRST : 0);
}

static void on_accept(const struct io_uring_cqe *cqe)
{
    if (cqe->res >= 0) {
        connections[cqe->res].fd = cqe->res;
        queue_receive(&connections[cqe->res], 0);
    }
    if (cqe->flags & IORING_CQE_F_MORE)
        return;
    if (is_out_of_resources(-cqe->res))
        ring_pause_accepting(&ring, TAG_PAUSE);
    else
        queue_accept();
}

/* Returns false when the server has been told to stop. */
static bool on_completion(const struct io_uring_cqe *cqe)
{
    struct connection *connection = (struct connection *)(uintptr_t)cqe->user_data;

    if (cqe->user_data == TAG_ACCEPT)
        on_accept(cqe);
    else if (cqe->user_data == TAG_PAUSE)
        queue_accept();
    else if (cqe->user_data == TAG_STOP)
        return false;
    else if (connection->is_sending)
        on_send(connection, cqe->res);
    else
        on_receive(connection, cqe->res);
    return true;
}

static bool turn(void)
{
    unsigned mask = *ring.uring.cq.kring_mask;
    bool is_running = true;
    unsigned head;
    unsigned tail;

    ring_submit_and_wait(&ring);
    head = *ring.uring.cq.khead;
    tail = io_uring_smp_load_acquire(ring.uring.cq.ktail);
    while (head != tail)
        is_running &= on_completion(&ring.uring.cq.cqes[head++ & mask]);
    io_uring_smp_store_release(ring.uring.cq.khead, head);
    return is_running;
}

int main(int argc, char **argv)
{
    int stop_fd;

    if (argc != 2) {
        fprintf(stderr, "usage: %s PORT\n", argv[0]);
        return 2;
    }
    connections = map_zeroed(raise_descriptor_limit() * sizeof(struct connection));
    stop_fd = open_stop_signal();
    listen_fd = listen_local(parse_port(argv[1], 0), 0);
    ring_open(&ring);
    ring_watch_stop_signal(&ring, stop_fd, TAG_STOP);
    queue_accept();
    announce(listen_fd);
    while (turn())
        ;
    ring_print_counts(&ring);
    return 0;
}
