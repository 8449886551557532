/*
 * Baseline: a TCP proxy on a raw ring, receive and send, two directions for each client.
 *
 *     proxy_ring PORT UPSTREAM_PORT   (PORT 0: choose a port; "listening PORT" tells which)
 *
 *     client fd --recv--> forward.buf  --send--> upstream fd
 *     client fd <--send-- backward.buf <--recv-- upstream fd
 *
 * A direction is always in at most one operation, so backpressure is simply that nothing is
 * received while something is unsent. An end is passed on as an end (half close); the pair closes
 * when both directions have ended. An error closes both sides with a reset, because the stream is
 * incomplete and nobody should take it for complete.
 */
#include "ring.h"

#define BUFFER_BYTES (64 * 1024)

/* What a direction's operation is, so what its next completion means. */
enum state { STATE_CONNECTING, STATE_RECEIVING, STATE_SENDING, STATE_ENDED };

struct direction {
    int from_fd;
    int to_fd;
    uint32_t size_bytes; /* received */
    uint32_t sent_bytes; /* of these */
    uint8_t state;
    uint8_t index; /* 0: forward, 1: backward */
    char pad[64 - 20];
};

/*
 * Address space only: a pair with small messages touches a page or two of each buffer. The sizes
 * are odd multiples of a cache line, so that neither the heads nor the buffers' beginnings of many
 * pairs meet in the same sets of the cache.
 */
struct pair {
    struct direction directions[2];
    struct pair *next_free;
    bool is_failed;
    char pad[64 - 16];
    char buffers[2][BUFFER_BYTES + 64];
};

/* User data is the address of a pair (connect) or of a direction, or one of these. */
enum tag { TAG_ACCEPT, TAG_PAUSE, TAG_STOP, TAG_CANCEL, TAG_COUNT };

#define CONNECT_BIT 1u /* in the address of a pair */

static struct server_ring ring;
static int listen_fd;
static struct sockaddr_in upstream_address;
static struct pair *pairs;
static struct pair *free_pairs;
static size_t unused_index; /* pairs from here on were never used */

/* ---- pairs ---- */

static struct pair *pair_take(void)
{
    struct pair *pair = free_pairs;

    if (pair)
        free_pairs = pair->next_free;
    else
        pair = &pairs[unused_index++]; /* each has two descriptors, so there are always enough */
    return pair;
}

static void pair_return(struct pair *pair)
{
    pair->next_free = free_pairs;
    free_pairs = pair;
}

static struct pair *pair_of(struct direction *direction)
{
    return (struct pair *)(direction - direction->index);
}

static void reset_on_close(int fd)
{
    struct linger linger = { .l_onoff = 1 };

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static void pair_close(struct pair *pair)
{
    int client_fd = pair->directions[0].from_fd;
    int upstream_fd = pair->directions[0].to_fd;

    if (pair->is_failed) {
        reset_on_close(client_fd);
        reset_on_close(upstream_fd);
    }
    close(client_fd);
    close(upstream_fd);
    pair_return(pair);
}

static bool is_in_kernel(const struct direction *direction)
{
    return direction->state == STATE_RECEIVING || direction->state == STATE_SENDING;
}

/* ---- queueing ---- */

static void queue_accept(void)
{
    struct io_uring_sqe *sqe = ring_sqe(&ring);

    io_uring_prep_multishot_accept(sqe, listen_fd, NULL, NULL, SOCK_CLOEXEC);
    sqe->user_data = TAG_ACCEPT;
}

static char *buffer_of(struct direction *direction)
{
    return pair_of(direction)->buffers[direction->index];
}

static void queue_receive(struct direction *direction, unsigned flags)
{
    struct io_uring_sqe *sqe = ring_sqe(&ring);

    io_uring_prep_recv(sqe, direction->from_fd, buffer_of(direction), BUFFER_BYTES, 0);
    sqe->ioprio = (uint16_t)flags;
    sqe->user_data = (uintptr_t)direction;
    direction->state = STATE_RECEIVING;
}

static void queue_send(struct direction *direction)
{
    struct io_uring_sqe *sqe = ring_sqe(&ring);

    io_uring_prep_send(sqe, direction->to_fd, buffer_of(direction) + direction->sent_bytes,
                       direction->size_bytes - direction->sent_bytes, MSG_NOSIGNAL);
    sqe->user_data = (uintptr_t)direction;
    direction->state = STATE_SENDING;
}

/* Not shutdown(2): that would send an orderly end in front of the reset. */
static void queue_cancel(struct direction *direction)
{
    struct io_uring_sqe *sqe = ring_sqe(&ring);

    io_uring_prep_cancel64(sqe, (uintptr_t)direction, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    sqe->user_data = TAG_CANCEL;
}

static void queue_connect(struct pair *pair)
{
    struct io_uring_sqe *sqe = ring_sqe(&ring);

    io_uring_prep_connect(sqe, pair->directions[0].to_fd, (struct sockaddr *)&upstream_address,
                          sizeof(upstream_address));
    sqe->user_data = (uintptr_t)pair | CONNECT_BIT;
}

/* ---- completions ---- */

/* The pair closes when what the other direction has in the kernel has come back. */
static void direction_fail(struct direction *direction)
{
    struct pair *pair = pair_of(direction);
    struct direction *other = &pair->directions[!direction->index];

    direction->state = STATE_ENDED;
    if (!is_in_kernel(other)) {
        pair->is_failed = true;
        pair_close(pair);
    } else if (!pair->is_failed) {
        pair->is_failed = true;
        queue_cancel(other);
    }
}

static void direction_end(struct direction *direction)
{
    struct pair *pair = pair_of(direction);

    direction->state = STATE_ENDED;
    if (pair->directions[!direction->index].state == STATE_ENDED)
        pair_close(pair); /* the end is part of it */
    else
        shutdown(direction->to_fd, SHUT_WR);
}

static void on_receive(struct direction *direction, int result)
{
    if (result < 0 || pair_of(direction)->is_failed) {
        direction_fail(direction);
        return;
    }
    if (result == 0) {
        direction_end(direction);
        return;
    }
    ring.request_count += direction->index == 0;
    direction->size_bytes = (uint32_t)result;
    direction->sent_bytes = 0;
    queue_send(direction);
}

/* After a full buffer more has probably come; after less, a first attempt would fail. */
static void on_send(struct direction *direction, int result)
{
    if (result < 0 || pair_of(direction)->is_failed) {
        direction_fail(direction);
        return;
    }
    direction->sent_bytes += (uint32_t)result;
    if (direction->sent_bytes < direction->size_bytes)
        queue_send(direction);
    else
        queue_receive(direction,
                      direction->size_bytes < BUFFER_BYTES ? IORING_RECVSEND_POLL_FIRST : 0);
}

static void on_direction(struct direction *direction, int result)
{
    if (direction->state == STATE_SENDING)
        on_send(direction, result);
    else
        on_receive(direction, result);
}

static void on_connect(struct pair *pair, int result)
{
    if (result < 0) {
        pair->is_failed = true;
        pair_close(pair);
        return;
    }
    queue_receive(&pair->directions[0], 0);
    queue_receive(&pair->directions[1], IORING_RECVSEND_POLL_FIRST);
}

static void pair_open(struct pair *pair, int client_fd, int upstream_fd)
{
    pair->is_failed = false;
    pair->directions[0] = (struct direction){ .from_fd = client_fd, .to_fd = upstream_fd };
    pair->directions[1] =
        (struct direction){ .from_fd = upstream_fd, .to_fd = client_fd, .index = 1 };
    set_option(upstream_fd, IPPROTO_TCP, TCP_NODELAY);
    queue_connect(pair);
}

/* A client that cannot have an upstream socket is refused; there is nothing to do for it. */
static void on_client(int client_fd)
{
    int upstream_fd;

    upstream_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (upstream_fd >= 0) {
        pair_open(pair_take(), client_fd, upstream_fd);
        return;
    }
    reset_on_close(client_fd);
    close(client_fd);
}

static void on_accept(const struct io_uring_cqe *cqe)
{
    if (cqe->res >= 0)
        on_client(cqe->res);
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
    uint64_t data = cqe->user_data;

    if (data >= TAG_COUNT && data & CONNECT_BIT)
        on_connect((struct pair *)(uintptr_t)(data - CONNECT_BIT), cqe->res);
    else if (data >= TAG_COUNT)
        on_direction((struct direction *)(uintptr_t)data, cqe->res);
    else if (data == TAG_ACCEPT)
        on_accept(cqe);
    else if (data == TAG_PAUSE)
        queue_accept();
    return data != TAG_STOP;
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
    size_t pair_count;
    int stop_fd;

    if (argc != 3) {
        fprintf(stderr, "usage: %s PORT UPSTREAM_PORT\n", argv[0]);
        return 2;
    }
    upstream_address = local_address(parse_port(argv[2], 1));
    pair_count = raise_descriptor_limit() / 2;
    pairs = map_zeroed(pair_count * sizeof(struct pair));
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
