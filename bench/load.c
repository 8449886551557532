/*
 * The load generator: N connections to an echoing server, one outstanding request on each, every
 * byte that comes back compared with what it must be.
 *
 *     load --port P --connections N --size 64 --seconds S [--warmup W] [--window 1] [--pid PID,PID]
 *          [--progress] [--bulk BYTES] [--bulk-connections N] [--label TEXT]
 *
 * A run has phases: connect (each connection is answered once, so that none waits in the backlog),
 * warm-up, measurement, drain (outstanding requests may still be answered), and close (we end our
 * direction and want to see the server end its own, with nothing in between). Prints one line of
 * key=value pairs; exit status 0 only when every byte came back right and every connection ended
 * well.
 *
 * One thread and one ring: multishot receives into a shared buffer ring, direct descriptors, sends
 * without a completion. The client has to be cheaper than what it measures, or the server idles and
 * its batches shrink.
 *
 * A request is stamped with the time of the turn that queued it and of the turn that saw the last
 * byte of its reply, so a latency includes our own batch and is never flattering.
 */
#include "bulk.h"
#include "histogram.h"
#include "pattern.h"
#include "process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <liburing.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define SQ_ENTRIES 256
#define CQ_ENTRIES 4096
#define BUFFER_GROUP 0
#define MIN_BUFFER_BYTES 256u
#define MAX_BUFFER_BYTES (64u * 1024)
#define BUFFER_POOL_BYTES (4u * 1024 * 1024)
#define MAX_BUFFERS 256u
#define RESERVED_DESCRIPTORS 32 /* standard streams, the ring, /proc files, sockets being set up */
#define MAX_UNANSWERED 512      /* connections in set-up at a time: far below any listen backlog */
#define MAX_SIZE_BYTES (64u * 1024 * 1024)
#define MAX_WINDOW 1024
#define MAX_BULK_CONNECTIONS 64
#define TICK_NS (20 * 1000 * 1000)
#define SECOND_NS 1000000000ull
#define CONNECT_LIMIT_NS (20 * SECOND_NS)
#define DRAIN_LIMIT_NS (5 * SECOND_NS)
#define CLOSE_LIMIT_NS (5 * SECOND_NS)
#define BULK_LIMIT_NS (60 * SECOND_NS)

struct options {
    uint16_t port;
    unsigned connection_count;
    unsigned window;
    size_t size_bytes;
    double seconds;
    double warmup_seconds;
    bool is_progress_wanted;
    uint64_t bulk_bytes;
    unsigned bulk_count;
    const char *label;
    struct process_list pids;
};

enum phase { PHASE_CONNECT, PHASE_WARMUP, PHASE_MEASURE, PHASE_DRAIN, PHASE_CLOSE, PHASE_DONE };

/*
 * What a completion is about: the low bits of its user data; the rest is the connection's number.
 */
enum tag { TAG_RECV, TAG_SEND, TAG_CONNECT, TAG_SHUTDOWN, TAG_TICK };

#define TAG_BITS 3

enum connection_state {
    CONNECTION_UNUSED,
    CONNECTION_CONNECTING,
    CONNECTION_OPEN,
    CONNECTION_CLOSING, /* we have ended our direction */
    CONNECTION_ENDED,   /* the server has ended its own, in order */
    CONNECTION_BROKEN,
};

/*
 * A connection's requests are numbered; `produced` have been written to its part of the send
 * memory, which holds `window` of them in a circle, and `answered` have come back whole. With a
 * window of one the circle is one request, and its reply proves that the send is over: that is why
 * a send needs no completion then.
 */
struct connection {
    uint64_t produced;
    uint64_t answered;
    uint64_t queued_bytes;   /* of the whole stream: handed to the ring */
    uint32_t received_bytes; /* of the reply now coming in */
    uint8_t state;
    bool is_sending; /* only used with a window above one */
};

struct load {
    struct options options;
    struct io_uring ring;
    enum phase phase;
    uint64_t now_ns; /* of this turn */
    uint64_t phase_end_ns;
    uint64_t run_key;

    struct connection *connections;
    uint64_t *start_ns; /* window stamps for each connection */
    char *send_memory;
    size_t send_stride_bytes;

    struct io_uring_buf_ring *buffer_ring;
    char *buffers;
    unsigned buffer_bytes;
    unsigned buffer_count;
    unsigned returned_count; /* buffers added to the ring in this turn but not yet shown */

    unsigned started_count;
    unsigned ready_count; /* answered once, or broken */
    unsigned ended_count;
    unsigned broken_count;
    uint64_t outstanding_count;

    uint64_t request_count; /* measured ones */
    uint64_t verified_bytes;
    uint64_t mismatched_bytes;
    uint64_t lost_count;
    struct histogram latency;

    uint64_t measure_start_ns;
    uint64_t measure_end_ns;
    uint64_t cpu_ns; /* of the servers, within the measurement */
    uint64_t own_cpu_ns;
    uint64_t rss_before_bytes;
    uint64_t rss_bytes;

    uint64_t progress_ns;
    uint64_t progress_requests;

    struct bulk bulks[MAX_BULK_CONNECTIONS];
};

static struct load load;

static void die(const char *what, int error)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(error));
    exit(1);
}

static uint64_t clock_read_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static void *map_zeroed(size_t size_bytes)
{
    void *memory;

    memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        die("mmap", errno);
    return memory;
}

/* ---- the ring ---- */

static bool is_passing_enter_error(int error)
{
    return error == -EINTR || error == -EAGAIN || error == -EBUSY;
}

static void ring_check(int result)
{
    if (result < 0 && !is_passing_enter_error(result))
        die("io_uring_enter", -result);
}

static struct io_uring_sqe *ring_sqe(void)
{
    struct io_uring_sqe *sqe;

    while (!(sqe = io_uring_get_sqe(&load.ring)))
        ring_check(io_uring_submit(&load.ring));
    return sqe;
}

/* To be called after io_uring_prep_..., some of which clear the fields set here. */
static void sqe_finish(struct io_uring_sqe *sqe, enum tag tag, unsigned index)
{
    sqe->user_data = (uint64_t)index << TAG_BITS | tag;
    sqe->flags |= IOSQE_FIXED_FILE;
}

static void queue_tick(void)
{
    static struct __kernel_timespec tick = { .tv_nsec = TICK_NS };
    struct io_uring_sqe *sqe = ring_sqe();

    io_uring_prep_timeout(sqe, &tick, 0, 0);
    sqe->user_data = TAG_TICK;
}

static void queue_receive(unsigned index)
{
    struct io_uring_sqe *sqe = ring_sqe();

    io_uring_prep_recv_multishot(sqe, (int)index, NULL, 0, 0);
    sqe->buf_group = BUFFER_GROUP;
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe_finish(sqe, TAG_RECV, index);
}

static void buffer_return(unsigned buffer_index)
{
    io_uring_buf_ring_add(load.buffer_ring, load.buffers + (size_t)buffer_index * load.buffer_bytes,
                          load.buffer_bytes, (unsigned short)buffer_index,
                          io_uring_buf_ring_mask(load.buffer_count), (int)load.returned_count++);
}

static void buffers_show(void)
{
    io_uring_buf_ring_advance(load.buffer_ring, (int)load.returned_count);
    load.returned_count = 0;
}

static unsigned round_up_to_power(size_t value)
{
    unsigned power = 1;

    while (power < value)
        power *= 2;
    return power;
}

static unsigned clamp(unsigned value, unsigned low, unsigned high)
{
    return value < low ? low : value > high ? high : value;
}

static void open_buffer_ring(void)
{
    struct io_uring_buf_reg registration = { .bgid = BUFFER_GROUP };
    int error;

    load.buffer_bytes = clamp(round_up_to_power(load.options.size_bytes * load.options.window),
                              MIN_BUFFER_BYTES, MAX_BUFFER_BYTES);
    load.buffer_count = clamp(BUFFER_POOL_BYTES / load.buffer_bytes, 1, MAX_BUFFERS);
    load.buffers = map_zeroed((size_t)load.buffer_count * load.buffer_bytes);
    load.buffer_ring = map_zeroed(load.buffer_count * sizeof(struct io_uring_buf));
    registration.ring_addr = (uintptr_t)load.buffer_ring;
    registration.ring_entries = load.buffer_count;
    error = io_uring_register_buf_ring(&load.ring, &registration, 0);
    if (error < 0)
        die("io_uring_register_buf_ring", -error);
    for (unsigned i = 0; i < load.buffer_count; i++)
        buffer_return(i);
    buffers_show();
}

static void open_ring(void)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                 IORING_SETUP_CQSIZE,
        .cq_entries = CQ_ENTRIES,
    };
    int error;

    error = io_uring_queue_init_params(SQ_ENTRIES, &load.ring, &params);
    if (error < 0)
        die("io_uring_setup", -error);
    error = io_uring_register_ring_fd(&load.ring);
    if (error < 0)
        die("io_uring_register_ring_fd", -error);
    error = io_uring_register_files_sparse(&load.ring, load.options.connection_count);
    if (error < 0)
        die("io_uring_register_files_sparse", -error);
    open_buffer_ring();
}

/* ---- one connection ---- */

static char *request_memory(unsigned index, uint64_t sequence)
{
    return load.send_memory + index * load.send_stride_bytes +
           sequence % load.options.window * load.options.size_bytes;
}

/* Hands the produced but unsent part of the circle to the ring, up to where the circle closes. */
static void connection_send(struct connection *connection, unsigned index)
{
    uint64_t circle_bytes = (uint64_t)load.options.window * load.options.size_bytes;
    uint64_t offset = connection->queued_bytes % circle_bytes;
    uint64_t size_bytes = connection->produced * load.options.size_bytes - connection->queued_bytes;
    struct io_uring_sqe *sqe;

    if (connection->is_sending || !size_bytes)
        return;
    if (size_bytes > circle_bytes - offset)
        size_bytes = circle_bytes - offset;
    sqe = ring_sqe();
    io_uring_prep_send(sqe, (int)index, load.send_memory + index * load.send_stride_bytes + offset,
                       size_bytes, MSG_NOSIGNAL | MSG_WAITALL);
    sqe_finish(sqe, TAG_SEND, index);
    if (load.options.window == 1)
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    else
        connection->is_sending = true;
    connection->queued_bytes += size_bytes;
}

static void connection_produce(struct connection *connection, unsigned index)
{
    uint64_t sequence = connection->produced++;

    pattern_fill(request_memory(index, sequence), load.options.size_bytes,
                 pattern_key(load.run_key, index, sequence), 0);
    load.start_ns[(size_t)index * load.options.window + sequence % load.options.window] =
        load.now_ns;
    load.outstanding_count++;
}

/* Keeps the window full, while there is a reason to. */
static void connection_continue(struct connection *connection, unsigned index)
{
    if (load.phase != PHASE_WARMUP && load.phase != PHASE_MEASURE)
        return;
    while (connection->produced - connection->answered < load.options.window)
        connection_produce(connection, index);
    connection_send(connection, index);
}

static bool is_alive(const struct connection *connection)
{
    return connection->state == CONNECTION_OPEN || connection->state == CONNECTION_CLOSING;
}

static void connection_break(struct connection *connection, unsigned index, const char *why,
                             int error)
{
    uint64_t outstanding = connection->produced - connection->answered;

    if (connection->state == CONNECTION_BROKEN || connection->state == CONNECTION_ENDED)
        return;
    if (load.broken_count++ < 5)
        fprintf(stderr, "load: connection %u: %s%s%s\n", index, why, error ? ": " : "",
                error ? strerror(error) : "");
    load.lost_count += outstanding;
    load.outstanding_count -= outstanding;
    if (!connection->answered)
        load.ready_count++;
    connection->state = CONNECTION_BROKEN;
}

static void connection_end(struct connection *connection)
{
    connection->state = CONNECTION_ENDED;
    load.ended_count++;
}

static void request_finish(struct connection *connection, unsigned index)
{
    uint64_t slot = connection->answered % load.options.window;

    if (load.phase == PHASE_MEASURE) {
        load.request_count++;
        histogram_add(&load.latency,
                      load.now_ns - load.start_ns[(size_t)index * load.options.window + slot]);
    }
    if (!connection->answered++)
        load.ready_count++;
    load.outstanding_count--;
    connection->received_bytes = 0;
}

/*
 * Compares the next part of the oldest reply; returns how much of `in` that used, 0 if none is due.
 */
static size_t reply_verify(struct connection *connection, unsigned index, const char *in,
                           size_t size_bytes)
{
    const char *expected = request_memory(index, connection->answered) + connection->received_bytes;
    size_t rest = load.options.size_bytes - connection->received_bytes;

    if (connection->answered == connection->produced)
        return 0;
    if (size_bytes > rest)
        size_bytes = rest;
    if (memcmp(in, expected, size_bytes))
        load.mismatched_bytes += pattern_count_differences(in, expected, size_bytes);
    load.verified_bytes += size_bytes;
    connection->received_bytes += (uint32_t)size_bytes;
    if (connection->received_bytes == load.options.size_bytes)
        request_finish(connection, index);
    return size_bytes;
}

static void connection_receive(struct connection *connection, unsigned index, const char *in,
                               size_t size_bytes)
{
    size_t used;

    while (size_bytes) {
        used = reply_verify(connection, index, in, size_bytes);
        if (!used) {
            load.mismatched_bytes += size_bytes;
            connection_break(connection, index, "more bytes than were sent", 0);
            return;
        }
        in += used;
        size_bytes -= used;
    }
    connection_continue(connection, index);
}

/* ---- completions ---- */

static void on_receive(unsigned index, int result, unsigned flags)
{
    struct connection *connection = &load.connections[index];
    unsigned buffer_index = flags >> IORING_CQE_BUFFER_SHIFT;

    if (result > 0 && is_alive(connection))
        connection_receive(connection, index,
                           load.buffers + (size_t)buffer_index * load.buffer_bytes, (size_t)result);
    if (flags & IORING_CQE_F_BUFFER)
        buffer_return(buffer_index);
    if (flags & IORING_CQE_F_MORE || !is_alive(connection))
        return;
    if (result > 0 || result == -ENOBUFS)
        queue_receive(index);
    else if (result == 0 && connection->state == CONNECTION_CLOSING)
        connection_end(connection);
    else
        connection_break(connection, index, result ? "receive" : "closed by the server", -result);
}

static void on_send(unsigned index, int result)
{
    struct connection *connection = &load.connections[index];

    if (result < 0 || load.options.window == 1) {
        connection_break(connection, index, "send", result < 0 ? -result : EPIPE);
        return;
    }
    connection->is_sending = false;
    if (is_alive(connection))
        connection_send(connection, index);
}

static void on_connect(unsigned index, int result)
{
    struct connection *connection = &load.connections[index];

    if (result < 0) {
        connection_break(connection, index, "connect", -result);
        return;
    }
    connection->state = CONNECTION_OPEN;
    queue_receive(index);
    connection_produce(connection, index);
    connection_send(connection, index);
}

static void on_completion(const struct io_uring_cqe *cqe)
{
    unsigned index = (unsigned)(cqe->user_data >> TAG_BITS);

    switch ((enum tag)(cqe->user_data & ((1u << TAG_BITS) - 1))) {
    case TAG_RECV:
        on_receive(index, cqe->res, cqe->flags);
        break;
    case TAG_SEND:
        on_send(index, cqe->res);
        break;
    case TAG_CONNECT:
        on_connect(index, cqe->res);
        break;
    case TAG_SHUTDOWN:
        if (cqe->res < 0)
            connection_break(&load.connections[index], index, "shutdown", -cqe->res);
        break;
    case TAG_TICK:
        queue_tick();
        break;
    }
}

/* One enter, then everything that it has brought. */
static void turn(void)
{
    unsigned mask = *load.ring.cq.kring_mask;
    unsigned head;
    unsigned tail;

    ring_check(io_uring_submit_and_wait(&load.ring, 1));
    load.now_ns = clock_read_ns(CLOCK_MONOTONIC);
    head = *load.ring.cq.khead;
    tail = io_uring_smp_load_acquire(load.ring.cq.ktail);
    while (head != tail)
        on_completion(&load.ring.cq.cqes[head++ & mask]);
    io_uring_smp_store_release(load.ring.cq.khead, head);
    buffers_show();
}

/* ---- phases ---- */

static int open_socket(void)
{
    int on = 1;
    int fd;

    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket", errno);
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
        die("setsockopt", errno);
    return fd;
}

/* Opens the next connection; its socket lives on in the ring's file table only. */
static void connection_start(void)
{
    static struct sockaddr_in address;
    unsigned index = load.started_count++;
    struct io_uring_sqe *sqe;
    int error;
    int fd;

    address.sin_family = AF_INET;
    address.sin_port = htons(load.options.port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fd = open_socket();
    error = io_uring_register_files_update(&load.ring, index, &fd, 1);
    if (error < 0)
        die("io_uring_register_files_update", -error);
    close(fd);
    load.connections[index].state = CONNECTION_CONNECTING;
    sqe = ring_sqe();
    io_uring_prep_connect(sqe, (int)index, (struct sockaddr *)&address, sizeof(address));
    sqe_finish(sqe, TAG_CONNECT, index);
}

/* Starts as many connections as the server has shown to keep up with. */
static void connect_some(void)
{
    while (load.started_count < load.options.connection_count &&
           load.started_count - load.ready_count < MAX_UNANSWERED)
        connection_start();
}

static void connect_all(void)
{
    load.phase = PHASE_CONNECT;
    load.phase_end_ns = load.now_ns + CONNECT_LIMIT_NS;
    while (load.ready_count < load.options.connection_count && load.now_ns < load.phase_end_ns) {
        connect_some();
        turn();
    }
    if (load.ready_count == load.options.connection_count)
        return;
    fprintf(stderr, "load: only %u of %u connections were answered\n", load.ready_count,
            load.options.connection_count);
    for (unsigned i = 0; i < load.options.connection_count; i++) {
        if (!load.connections[i].answered)
            connection_break(&load.connections[i], i, "never answered", 0);
    }
}

static void start_requests(void)
{
    for (unsigned i = 0; i < load.options.connection_count; i++) {
        if (load.connections[i].state == CONNECTION_OPEN)
            connection_continue(&load.connections[i], i);
    }
}

static void print_progress(void)
{
    double seconds;

    if (!load.options.is_progress_wanted || load.now_ns - load.progress_ns < SECOND_NS)
        return;
    seconds = (double)(load.now_ns - load.progress_ns) / 1e9;
    fprintf(stderr,
            "load: %.1f s  %.0f requests/s  p50 %.1f us  p99 %.1f us  mismatches %" PRIu64
            "  lost %" PRIu64 "\n",
            (double)(load.now_ns - load.measure_start_ns) / 1e9,
            (double)(load.request_count - load.progress_requests) / seconds,
            histogram_quantile_ns(&load.latency, 0.5) / 1e3,
            histogram_quantile_ns(&load.latency, 0.99) / 1e3, load.mismatched_bytes,
            load.lost_count);
    load.progress_ns = load.now_ns;
    load.progress_requests = load.request_count;
}

static void run_until(uint64_t end_ns)
{
    while (load.now_ns < end_ns) {
        turn();
        print_progress();
    }
}

static void warm_up(void)
{
    load.phase = PHASE_WARMUP;
    load.measure_start_ns = load.progress_ns = load.now_ns;
    start_requests();
    run_until(load.now_ns + (uint64_t)(load.options.warmup_seconds * 1e9));
}

static void measure(void)
{
    uint64_t cpu_ns = process_list_cpu_ns(&load.options.pids);
    uint64_t own_cpu_ns = clock_read_ns(CLOCK_PROCESS_CPUTIME_ID);

    load.phase = PHASE_MEASURE;
    load.measure_start_ns = load.progress_ns = load.now_ns;
    run_until(load.now_ns + (uint64_t)(load.options.seconds * 1e9));
    load.measure_end_ns = load.now_ns;
    load.cpu_ns = process_list_cpu_ns(&load.options.pids) - cpu_ns;
    load.own_cpu_ns = clock_read_ns(CLOCK_PROCESS_CPUTIME_ID) - own_cpu_ns;
    load.rss_bytes = process_list_rss_bytes(&load.options.pids);
}

static void drain(void)
{
    load.phase = PHASE_DRAIN;
    load.now_ns = clock_read_ns(CLOCK_MONOTONIC);
    load.phase_end_ns = load.now_ns + DRAIN_LIMIT_NS;
    while (load.outstanding_count && load.now_ns < load.phase_end_ns)
        turn();
    load.lost_count += load.outstanding_count;
}

static void close_all(void)
{
    unsigned closing_count = 0;
    struct io_uring_sqe *sqe;

    load.phase = PHASE_CLOSE;
    load.phase_end_ns = load.now_ns + CLOSE_LIMIT_NS;
    for (unsigned i = 0; i < load.options.connection_count; i++) {
        if (load.connections[i].state != CONNECTION_OPEN)
            continue;
        load.connections[i].state = CONNECTION_CLOSING;
        sqe = ring_sqe();
        io_uring_prep_shutdown(sqe, (int)i, SHUT_WR);
        sqe_finish(sqe, TAG_SHUTDOWN, i);
        closing_count++;
    }
    closing_count += load.broken_count;
    while (load.ended_count + load.broken_count < closing_count && load.now_ns < load.phase_end_ns)
        turn();
    load.phase = PHASE_DONE;
}

/* ---- bulk ---- */

static void bulk_start_all(void)
{
    int error;

    for (unsigned i = 0; i < load.options.bulk_count; i++) {
        load.bulks[i].port = load.options.port;
        load.bulks[i].size_bytes = load.options.bulk_bytes;
        load.bulks[i].key = pattern_key(load.run_key, UINT32_MAX, i);
        error = bulk_start(&load.bulks[i]);
        if (error < 0)
            die("pthread_create", -error);
    }
}

/* Waits while turning the ring, within a limit, so that a slow server has time to finish. */
static void bulk_finish_all(void)
{
    uint64_t end_ns = load.now_ns + BULK_LIMIT_NS;

    for (unsigned i = 0; i < load.options.bulk_count; i++) {
        while (!bulk_is_done(&load.bulks[i]) && load.now_ns < end_ns)
            turn();
        bulk_finish(&load.bulks[i]);
    }
}

struct bulk_total {
    uint64_t bytes;
    uint64_t mismatched_bytes;
    double megabytes_per_second;
    bool is_ok;
};

static struct bulk_total bulk_sum(void)
{
    struct bulk_total total = { .is_ok = true };
    uint64_t slowest_ns = 0;

    for (unsigned i = 0; i < load.options.bulk_count; i++) {
        total.bytes += load.bulks[i].received_bytes;
        total.mismatched_bytes += load.bulks[i].mismatched_bytes;
        total.is_ok = total.is_ok && load.bulks[i].is_ok;
        if (load.bulks[i].elapsed_ns > slowest_ns)
            slowest_ns = load.bulks[i].elapsed_ns;
    }
    if (slowest_ns)
        total.megabytes_per_second = (double)total.bytes / 1e6 / ((double)slowest_ns / 1e9);
    return total;
}

/* ---- result ---- */

static double per_request(uint64_t total)
{
    bool is_known = load.options.pids.count && load.request_count;

    return is_known ? (double)total / (double)load.request_count : NAN;
}

static double rss_per_connection(void)
{
    if (!load.options.pids.count)
        return NAN;
    return ((double)load.rss_bytes - (double)load.rss_before_bytes) /
           (double)load.options.connection_count;
}

/* Prints the line; returns whether everything came back right. */
static bool report(void)
{
    struct bulk_total bulk = bulk_sum();
    uint64_t mismatches = load.mismatched_bytes + bulk.mismatched_bytes;
    unsigned unclean_count = load.options.connection_count - load.ended_count - load.broken_count;
    double seconds = (double)(load.measure_end_ns - load.measure_start_ns) / 1e9;
    const struct histogram *latency = &load.latency;

    printf("requests=%" PRIu64 " seconds=%.3f rps=%.0f", load.request_count, seconds,
           (double)load.request_count / seconds);
    printf(" p50_us=%.1f p99_us=%.1f p999_us=%.1f max_us=%.1f",
           histogram_quantile_ns(latency, 0.5) / 1e3, histogram_quantile_ns(latency, 0.99) / 1e3,
           histogram_quantile_ns(latency, 0.999) / 1e3, (double)latency->max_ns / 1e3);
    printf(" cpu_ns_per_request=%.0f rss_bytes_per_connection=%.0f", per_request(load.cpu_ns),
           rss_per_connection());
    printf(" verified_bytes=%" PRIu64 " mismatches=%" PRIu64 " lost=%" PRIu64 " connections=%u",
           load.verified_bytes, mismatches, load.lost_count, load.options.connection_count);
    printf(" bulk_bytes=%" PRIu64 " bulk_MBps=%.1f bulk_ok=%d", bulk.bytes,
           bulk.megabytes_per_second, bulk.is_ok);
    printf(" broken=%u unclean=%u client_ns_per_request=%.0f server_busy=%.2f", load.broken_count,
           unclean_count,
           load.request_count ? (double)load.own_cpu_ns / (double)load.request_count : NAN,
           load.options.pids.count ? (double)load.cpu_ns / 1e9 / seconds : NAN);
    if (load.options.label)
        printf(" label=%s", load.options.label);
    printf("\n");
    return !mismatches && !load.lost_count && !load.broken_count && !unclean_count && bulk.is_ok &&
           load.request_count;
}

/* ---- options and set-up ---- */

static void usage(void)
{
    fprintf(stderr, "usage: load --port P --connections N --size BYTES --seconds S [--warmup S]\n"
                    "            [--window N] [--pid PID,PID] [--progress] [--bulk BYTES]\n"
                    "            [--bulk-connections N] [--label TEXT]\n");
    exit(2);
}

static double parse_number(const char *text, double low, double high)
{
    char *end;
    double value;

    value = strtod(text, &end);
    if (end == text || *end || !(value >= low && value <= high)) {
        fprintf(stderr, "load: not a number from %.0f to %.0f: %s\n", low, high, text);
        exit(2);
    }
    return value;
}

static void parse_option(struct options *options, int option)
{
    switch (option) {
    case 'p':
        options->port = (uint16_t)parse_number(optarg, 1, UINT16_MAX);
        break;
    case 'c':
        options->connection_count = (unsigned)parse_number(optarg, 1, 1e6);
        break;
    case 's':
        options->size_bytes = (size_t)parse_number(optarg, 1, MAX_SIZE_BYTES);
        break;
    case 't':
        options->seconds = parse_number(optarg, 0.001, 3600);
        break;
    case 'w':
        options->warmup_seconds = parse_number(optarg, 0, 3600);
        break;
    case 'W':
        options->window = (unsigned)parse_number(optarg, 1, MAX_WINDOW);
        break;
    case 'P':
        if (!process_list_parse(&options->pids, optarg))
            usage();
        break;
    case 'v':
        options->is_progress_wanted = true;
        break;
    case 'b':
        options->bulk_bytes = (uint64_t)parse_number(optarg, 1, 1e15);
        break;
    case 'B':
        options->bulk_count = (unsigned)parse_number(optarg, 1, MAX_BULK_CONNECTIONS);
        break;
    case 'l':
        options->label = optarg;
        break;
    default:
        usage();
    }
}

static void parse_options(struct options *options, int argc, char **argv)
{
    static const struct option known[] = {
        { "port", required_argument, NULL, 'p' },
        { "connections", required_argument, NULL, 'c' },
        { "size", required_argument, NULL, 's' },
        { "seconds", required_argument, NULL, 't' },
        { "warmup", required_argument, NULL, 'w' },
        { "window", required_argument, NULL, 'W' },
        { "pid", required_argument, NULL, 'P' },
        { "progress", no_argument, NULL, 'v' },
        { "bulk", required_argument, NULL, 'b' },
        { "bulk-connections", required_argument, NULL, 'B' },
        { "label", required_argument, NULL, 'l' },
        { NULL, 0, NULL, 0 },
    };
    int option;

    *options = (struct options){
        .connection_count = 64,
        .window = 1,
        .size_bytes = 64,
        .seconds = 2,
        .warmup_seconds = 0.5,
        .bulk_count = 1,
    };
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1)
        parse_option(options, option);
    if (!options->port || optind != argc)
        usage();
    if (!options->bulk_bytes)
        options->bulk_count = 0;
}

/* Direct descriptors are bounded by the descriptor limit as much as ordinary ones. */
static void apply_descriptor_limit(struct options *options)
{
    struct rlimit limit;
    rlim_t allowed;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        die("getrlimit", errno);
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        die("setrlimit", errno);
    allowed = limit.rlim_cur > RESERVED_DESCRIPTORS ? limit.rlim_cur - RESERVED_DESCRIPTORS : 1;
    if (options->connection_count <= allowed)
        return;
    fprintf(stderr, "load: the descriptor limit of %llu allows %llu connections, not %u\n",
            (unsigned long long)limit.rlim_cur, (unsigned long long)allowed,
            options->connection_count);
    options->connection_count = (unsigned)allowed;
}

static void set_up(void)
{
    struct options *options = &load.options;

    load.run_key = pattern_mix(clock_read_ns(CLOCK_REALTIME) ^ (uint64_t)getpid() << 40);
    load.connections = map_zeroed(options->connection_count * sizeof(struct connection));
    load.start_ns =
        map_zeroed((size_t)options->connection_count * options->window * sizeof(uint64_t));
    load.send_stride_bytes = (options->window * options->size_bytes + 63) / 64 * 64;
    load.send_memory = map_zeroed(options->connection_count * load.send_stride_bytes);
    open_ring();
    load.now_ns = clock_read_ns(CLOCK_MONOTONIC);
    load.rss_before_bytes = process_list_rss_bytes(&options->pids);
    queue_tick();
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    parse_options(&load.options, argc, argv);
    apply_descriptor_limit(&load.options);
    set_up();

    connect_all();
    bulk_start_all();
    warm_up();
    measure();
    drain();
    bulk_finish_all();
    close_all();
    return report() ? 0 : 1;
}
