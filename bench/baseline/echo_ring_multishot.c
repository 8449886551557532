/*
 * Baseline: a TCP echo server on a raw ring, the best variant we know.
 *
 *     echo_ring_multishot PORT   (0: choose a port; "listening PORT" tells which)
 *
 * Multishot accept into direct descriptors, one multishot receive per connection into a shared ring
 * of provided buffers, and a send straight from the buffer that was received into. A request costs
 * one submission and two completions, and an idle connection holds no buffer.
 *
 *     kernel takes from          we refill, once a turn
 *     +----+----+----+----+  <-- top of the free stack: the buffer that was given back last
 *     |         ring of RING_BUFFERS        |
 *     +----+----+----+----+      the rest of the pool is address space that nobody has touched
 *
 * The ring is kept short and refilled from a stack, so that the same few warm buffers go round; the
 * pool behind it is large, so that connections whose peers do not read do not starve the others
 * before there are thousands of them. A connection that holds MAX_HELD buffers stops receiving
 * until it has sent half of them.
 *
 * Tried and left out: sends with MSG_DONTWAIT | MSG_WAITALL that complete silently on success. One
 * completion and a quarter of the enters less, but no less CPU; and with bulk data beside small
 * requests a receive that was armed stopped bringing anything, for a reason we did not find.
 */
#include "ring.h"

#include <sys/uio.h>

#define BUFFER_BYTES (8u * 1024)
#define BUFFER_STRIDE (BUFFER_BYTES + 64u) /* spreads first lines over the cache's sets */
#define RING_BUFFERS 128u
#define POOL_BUFFERS 32768u
#define BUFFER_GROUP 0
#define NO_BUFFER UINT16_MAX
#define MAX_HELD 16
#define MAX_GATHERED 16 /* buffers in one send */

enum tag { TAG_RECV, TAG_SEND, TAG_CANCEL, TAG_CLOSE, TAG_ACCEPT, TAG_PAUSE, TAG_STOP };

#define TAG_BITS 3

/* Indexed by direct descriptor. Closed only once neither a receive nor a send is in the kernel. */
struct connection {
    uint16_t first;      /* held buffers in the order received, or NO_BUFFER */
    uint16_t last;       /* valid while there is a first */
    uint16_t held_count; /* buffers held */
    bool is_receiving;   /* the multishot receive is armed */
    bool is_cancelling;  /* and has been told to stop */
    bool is_sending;
    bool is_ended; /* the peer has ended its direction: send what is held, then close */
    bool is_failed;
    bool is_starved;     /* on the list of those that wait for a buffer */
    uint32_t sent_bytes; /* of the first buffer */
    uint32_t next_starved;
};

struct buffer {
    uint32_t size_bytes; /* received into it */
    uint16_t next;       /* held by the same connection after it */
};

/* What a gathering send needs until it is submitted: one for each submission entry. */
struct gather {
    struct msghdr message;
    struct iovec pieces[MAX_GATHERED];
};

static struct server_ring ring;
static int listen_fd;
static struct connection *connections;
static struct gather gathers[RING_SQ_ENTRIES];

static struct io_uring_buf_ring *buffer_ring;
static char *buffer_memory;
static struct buffer buffers[POOL_BUFFERS];
static uint16_t free_stack[POOL_BUFFERS];
static unsigned free_count;
static unsigned missing_count; /* buffers that the ring lacks of RING_BUFFERS */
static uint32_t starved_list = UINT32_MAX;

/* ---- buffers ---- */

static char *buffer_at(unsigned buffer_index)
{
    return buffer_memory + (size_t)buffer_index * BUFFER_STRIDE;
}

static void buffer_return(uint16_t buffer_index)
{
    free_stack[free_count++] = buffer_index;
}

/* Once a turn, just before the kernel looks: one store shows all of them. */
static void buffers_refill(void)
{
    unsigned count = 0;
    uint16_t index;

    while (missing_count && free_count) {
        index = free_stack[--free_count];
        io_uring_buf_ring_add(buffer_ring, buffer_at(index), BUFFER_BYTES, index,
                              io_uring_buf_ring_mask(RING_BUFFERS), (int)count++);
        missing_count--;
    }
    io_uring_buf_ring_advance(buffer_ring, (int)count);
}

static void buffers_open(void)
{
    struct io_uring_buf_reg registration = { .bgid = BUFFER_GROUP, .ring_entries = RING_BUFFERS };
    int error;

    buffer_memory = map_zeroed((size_t)POOL_BUFFERS * BUFFER_STRIDE);
    buffer_ring = map_zeroed(RING_BUFFERS * sizeof(struct io_uring_buf));
    registration.ring_addr = (uintptr_t)buffer_ring;
    error = io_uring_register_buf_ring(&ring.uring, &registration, 0);
    if (error < 0)
        die("io_uring_register_buf_ring", -error);
    for (unsigned i = POOL_BUFFERS; i > 0; i--)
        buffer_return((uint16_t)(i - 1));
    missing_count = RING_BUFFERS;
    buffers_refill();
}

/* ---- queueing ---- */

static uint64_t make_tag(uint32_t slot, enum tag tag)
{
    return (uint64_t)slot << TAG_BITS | tag;
}

static void queue_accept(void)
{
    struct io_uring_sqe *sqe = ring_sqe(&ring);

    io_uring_prep_multishot_accept_direct(sqe, listen_fd, NULL, NULL, 0);
    sqe->user_data = make_tag(0, TAG_ACCEPT);
}

static void queue_receive(struct connection *connection, uint32_t slot)
{
    struct io_uring_sqe *sqe = ring_sqe(&ring);

    io_uring_prep_recv_multishot(sqe, (int)slot, NULL, 0, 0);
    sqe->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
    sqe->buf_group = BUFFER_GROUP;
    sqe->user_data = make_tag(slot, TAG_RECV);
    connection->is_receiving = true;
}

/* Completes the receive soon, with whatever it takes in before the kernel has seen this. */
static void queue_cancel(struct connection *connection, uint32_t slot)
{
    struct io_uring_sqe *sqe;

    if (!connection->is_receiving || connection->is_cancelling)
        return;
    sqe = ring_sqe(&ring);
    io_uring_prep_cancel64(sqe, make_tag(slot, TAG_RECV), 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    sqe->user_data = make_tag(slot, TAG_CANCEL);
    connection->is_cancelling = true;
}

/* The slot may be given to a new connection as soon as this has run. */
static void queue_close(uint32_t slot)
{
    struct io_uring_sqe *sqe = ring_sqe(&ring);

    io_uring_prep_close_direct(sqe, slot);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    sqe->user_data = make_tag(slot, TAG_CLOSE);
}

static void prepare_gathering_send(struct io_uring_sqe *sqe, const struct connection *connection,
                                   uint32_t slot)
{
    struct gather *gather = &gathers[sqe - ring.uring.sq.sqes];
    uint32_t skip_bytes = connection->sent_bytes;
    unsigned count = 0;

    for (uint16_t i = connection->first; i != NO_BUFFER && count < MAX_GATHERED;
         i = buffers[i].next) {
        gather->pieces[count].iov_base = buffer_at(i) + skip_bytes;
        gather->pieces[count++].iov_len = buffers[i].size_bytes - skip_bytes;
        skip_bytes = 0;
    }
    gather->message = (struct msghdr){ .msg_iov = gather->pieces, .msg_iovlen = count };
    io_uring_prep_sendmsg(sqe, (int)slot, &gather->message, MSG_NOSIGNAL);
}

static void queue_send(struct connection *connection, uint32_t slot)
{
    struct io_uring_sqe *sqe = ring_sqe(&ring);
    uint16_t first = connection->first;
    uint32_t sent_bytes = connection->sent_bytes;

    if (connection->held_count == 1)
        io_uring_prep_send(sqe, (int)slot, buffer_at(first) + sent_bytes,
                           buffers[first].size_bytes - sent_bytes, MSG_NOSIGNAL);
    else
        prepare_gathering_send(sqe, connection, slot);
    sqe->flags |= IOSQE_FIXED_FILE;
    sqe->user_data = make_tag(slot, TAG_SEND);
    connection->is_sending = true;
}

/* ---- connections ---- */

static void connection_append(struct connection *connection, uint16_t buffer_index,
                              uint32_t size_bytes)
{
    buffers[buffer_index].size_bytes = size_bytes;
    buffers[buffer_index].next = NO_BUFFER;
    if (connection->first == NO_BUFFER)
        connection->first = buffer_index;
    else
        buffers[connection->last].next = buffer_index;
    connection->last = buffer_index;
    connection->held_count++;
}

static void connection_drop_first(struct connection *connection)
{
    uint16_t first = connection->first;

    connection->first = buffers[first].next;
    connection->sent_bytes = 0;
    connection->held_count--;
    buffer_return(first);
}

/* Gives back every buffer that `size_bytes` more sent bytes have finished. */
static void connection_advance(struct connection *connection, uint32_t size_bytes)
{
    uint32_t rest_bytes;

    while (size_bytes) {
        rest_bytes = buffers[connection->first].size_bytes - connection->sent_bytes;
        if (size_bytes < rest_bytes) {
            connection->sent_bytes += size_bytes;
            return;
        }
        size_bytes -= rest_bytes;
        connection_drop_first(connection);
    }
}

static void connection_fail(struct connection *connection)
{
    connection->is_failed = true;
    if (connection
            ->is_sending) /* the kernel may still read the buffers; its completion comes here */
        return;
    while (connection->first != NO_BUFFER)
        connection_drop_first(connection);
}

static void connection_starve(struct connection *connection, uint32_t slot)
{
    connection->is_starved = true;
    connection->next_starved = starved_list;
    starved_list = slot;
}

/* Receives on when there is room, or waits for a buffer. */
static void connection_receive_on(struct connection *connection, uint32_t slot)
{
    if (connection->is_receiving || connection->is_starved || connection->held_count > MAX_HELD / 2)
        return;
    if (free_count)
        queue_receive(connection, slot);
    else
        connection_starve(connection, slot);
}

/* Decides what follows, after any completion that was not the usual one. */
static void connection_continue(struct connection *connection, uint32_t slot)
{
    bool is_over = connection->is_failed || (connection->is_ended && !connection->held_count);

    if (!is_over) {
        if (!connection->is_sending && connection->held_count)
            queue_send(connection, slot);
        if (!connection->is_ended)
            connection_receive_on(connection, slot);
        return;
    }
    if (connection->is_receiving)
        queue_cancel(connection, slot);
    else if (!connection->is_sending && !connection->is_starved)
        queue_close(slot);
}

static void feed_starved(void)
{
    uint32_t slot = starved_list;
    struct connection *connection;
    uint32_t next;

    starved_list = UINT32_MAX;
    for (; slot != UINT32_MAX; slot = next) {
        connection = &connections[slot];
        next = connection->next_starved;
        connection->is_starved = false;
        connection_continue(connection, slot);
    }
}

/* ---- completions ---- */

static void on_data(struct connection *connection, uint32_t slot, const struct io_uring_cqe *cqe)
{
    uint16_t buffer_index = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);

    ring.request_count++;
    connection_append(connection, buffer_index, (uint32_t)cqe->res);
    if (connection->is_failed) {
        connection_fail(connection);
        return;
    }
    if (!connection->is_sending)
        queue_send(connection, slot);
    if (connection->held_count >= MAX_HELD)
        queue_cancel(connection, slot);
}

static void on_receive_over(struct connection *connection, uint32_t slot, int result)
{
    connection->is_receiving = false;
    connection->is_cancelling = false;
    if (result == 0)
        connection->is_ended = true;
    else if (result < 0 && result != -ENOBUFS && result != -ECANCELED)
        connection_fail(connection);
    connection_continue(connection, slot);
}

static void on_receive(uint32_t slot, const struct io_uring_cqe *cqe)
{
    struct connection *connection = &connections[slot];

    missing_count += !!(cqe->flags & IORING_CQE_F_BUFFER);
    if (cqe->res > 0)
        on_data(connection, slot, cqe);
    else if (cqe->flags & IORING_CQE_F_BUFFER)
        buffer_return((uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT));
    if (!(cqe->flags & IORING_CQE_F_MORE))
        on_receive_over(connection, slot, cqe->res);
}

static void on_send(uint32_t slot, int result)
{
    struct connection *connection = &connections[slot];

    connection->is_sending = false;
    if (result >= 0 && !connection->is_failed)
        connection_advance(connection, (uint32_t)result);
    else
        connection_fail(connection);
    if (connection->held_count || !connection->is_receiving || connection->is_failed)
        connection_continue(connection, slot);
}

static void on_accept(const struct io_uring_cqe *cqe)
{
    struct connection *connection;

    if (cqe->res >= 0) {
        connection = &connections[cqe->res];
        *connection = (struct connection){ .first = NO_BUFFER };
        queue_receive(connection, (uint32_t)cqe->res);
    }
    if (cqe->flags & IORING_CQE_F_MORE)
        return;
    if (is_out_of_resources(-cqe->res))
        ring_pause_accepting(&ring, make_tag(0, TAG_PAUSE));
    else
        queue_accept();
}

/* Returns false when the server has been told to stop. */
static bool on_completion(const struct io_uring_cqe *cqe)
{
    uint32_t slot = (uint32_t)(cqe->user_data >> TAG_BITS);

    switch ((enum tag)(cqe->user_data & ((1u << TAG_BITS) - 1))) {
    case TAG_RECV:
        on_receive(slot, cqe);
        break;
    case TAG_SEND:
        on_send(slot, cqe->res);
        break;
    case TAG_CANCEL: /* only when the receive was over before: its own completion says so too */
    case TAG_CLOSE:
        break;
    case TAG_ACCEPT:
        on_accept(cqe);
        break;
    case TAG_PAUSE:
        queue_accept();
        break;
    case TAG_STOP:
        return false;
    }
    return true;
}

static bool turn(void)
{
    unsigned mask = *ring.uring.cq.kring_mask;
    bool is_running = true;
    unsigned head;
    unsigned tail;

    buffers_refill();
    ring_submit_and_wait(&ring);
    head = *ring.uring.cq.khead;
    tail = io_uring_smp_load_acquire(ring.uring.cq.ktail);
    while (head != tail)
        is_running &= on_completion(&ring.uring.cq.cqes[head++ & mask]);
    io_uring_smp_store_release(ring.uring.cq.khead, head);
    if (starved_list != UINT32_MAX && free_count)
        feed_starved();
    return is_running;
}

int main(int argc, char **argv)
{
    size_t slot_count;
    int stop_fd;
    int error;

    if (argc != 2) {
        fprintf(stderr, "usage: %s PORT\n", argv[0]);
        return 2;
    }
    slot_count = raise_descriptor_limit();
    connections = map_zeroed(slot_count * sizeof(struct connection));
    stop_fd = open_stop_signal();
    listen_fd = listen_local(parse_port(argv[1], 0), 0);
    ring_open(&ring);
    error = io_uring_register_files_sparse(&ring.uring, (unsigned)slot_count);
    if (error < 0)
        die("io_uring_register_files_sparse", -error);
    buffers_open();
    ring_watch_stop_signal(&ring, stop_fd, make_tag(0, TAG_STOP));
    queue_accept();
    announce(listen_fd);
    while (turn())
        ;
    ring_print_counts(&ring);
    return 0;
}
