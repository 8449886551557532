/*
 * The bulk transfer of the load generator; see bulk.h.
 *
 * A plain poll loop on one non-blocking socket: with half a megabyte per system call there is
 * nothing to gain from anything cleverer, and the thread shares its core with the ping-pong ring.
 */
#include "bulk.h"

#include "pattern.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK_BYTES (256u * 1024) /* a multiple of the pattern's word */
#define POLL_INTERVAL_MS 100      /* how soon a transfer notices that it has been given up */

struct transfer {
    struct bulk *bulk;
    int fd;
    bool is_ended; /* the server has closed its direction */
    struct checksum sent_sum;
    struct checksum received_sum;
    char out[CHUNK_BYTES];      /* the chunk that holds byte `sent_bytes` */
    char expected[CHUNK_BYTES]; /* the chunk that holds byte `received_bytes` */
    char in[CHUNK_BYTES];
};

static uint64_t clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static int connect_local(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int on = 1;
    int error;
    int fd;

    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        error = -errno;
        close(fd);
        return error;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

/* Refills a chunk when the stream position has just entered it. */
static void chunk_enter(char *chunk, const struct bulk *bulk, uint64_t position)
{
    if (position % CHUNK_BYTES == 0)
        pattern_fill(chunk, CHUNK_BYTES, bulk->key, position / 8);
}

static size_t chunk_rest(const struct bulk *bulk, uint64_t position)
{
    uint64_t in_chunk = CHUNK_BYTES - position % CHUNK_BYTES;
    uint64_t in_stream = bulk->size_bytes - position;

    return (size_t)(in_chunk < in_stream ? in_chunk : in_stream);
}

/* Sends what fits. Returns false when the connection has failed. */
static bool transfer_send(struct transfer *transfer)
{
    struct bulk *bulk = transfer->bulk;
    const char *from;
    ssize_t result;

    chunk_enter(transfer->out, bulk, bulk->sent_bytes);
    from = transfer->out + bulk->sent_bytes % CHUNK_BYTES;
    result =
        send(transfer->fd, from, chunk_rest(bulk, bulk->sent_bytes), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (result < 0)
        return errno == EAGAIN || errno == EINTR;
    checksum_add(&transfer->sent_sum, from, (size_t)result);
    bulk->sent_bytes += (uint64_t)result;
    if (bulk->sent_bytes == bulk->size_bytes)
        shutdown(transfer->fd, SHUT_WR);
    return true;
}

/* Compares a received piece that lies within one chunk. */
static void transfer_verify(struct transfer *transfer, const char *in, size_t size_bytes)
{
    struct bulk *bulk = transfer->bulk;
    const char *expected;

    chunk_enter(transfer->expected, bulk, bulk->received_bytes);
    expected = transfer->expected + bulk->received_bytes % CHUNK_BYTES;
    if (memcmp(in, expected, size_bytes))
        bulk->mismatched_bytes += pattern_count_differences(in, expected, size_bytes);
    bulk->received_bytes += size_bytes;
}

/* Receives what is there. Returns false when the connection has failed or sent too much. */
static bool transfer_receive(struct transfer *transfer)
{
    struct bulk *bulk = transfer->bulk;
    size_t rest;
    ssize_t result;

    rest = chunk_rest(bulk, bulk->received_bytes);
    result = recv(transfer->fd, transfer->in, rest ? rest : 1, MSG_DONTWAIT);
    if (result < 0)
        return errno == EAGAIN || errno == EINTR;
    if (result == 0) {
        transfer->is_ended = true;
        return true;
    }
    if (!rest)
        return false;
    checksum_add(&transfer->received_sum, transfer->in, (size_t)result);
    transfer_verify(transfer, transfer->in, (size_t)result);
    return true;
}

/* One poll and what it allows. Returns false when the transfer is over, well or badly. */
static bool transfer_step(struct transfer *transfer)
{
    struct bulk *bulk = transfer->bulk;
    struct pollfd watch = { .fd = transfer->fd, .events = POLLIN };

    if (bulk->sent_bytes < bulk->size_bytes)
        watch.events |= POLLOUT;
    if (poll(&watch, 1, POLL_INTERVAL_MS) < 0 && errno != EINTR)
        return false;
    if (watch.revents & (POLLIN | POLLHUP | POLLERR) && !transfer_receive(transfer))
        return false;
    if (watch.revents & POLLOUT && !transfer_send(transfer))
        return false;
    return !transfer->is_ended && !atomic_load(&bulk->must_stop);
}

static void transfer_run(struct transfer *transfer)
{
    struct bulk *bulk = transfer->bulk;
    uint64_t start_ns = clock_ns();

    while (transfer_step(transfer))
        ;
    bulk->elapsed_ns = clock_ns() - start_ns;
    bulk->is_ok = transfer->is_ended && bulk->received_bytes == bulk->size_bytes &&
                  !bulk->mismatched_bytes &&
                  checksum_value(&transfer->sent_sum) == checksum_value(&transfer->received_sum);
}

static void *bulk_main(void *argument)
{
    struct bulk *bulk = argument;
    struct transfer *transfer;

    transfer = calloc(1, sizeof(*transfer));
    if (transfer) {
        transfer->bulk = bulk;
        transfer->fd = connect_local(bulk->port);
        if (transfer->fd >= 0) {
            transfer_run(transfer);
            close(transfer->fd);
        }
        free(transfer);
    }
    atomic_store(&bulk->is_done, true);
    return NULL;
}

int bulk_start(struct bulk *bulk)
{
    return -pthread_create(&bulk->thread, NULL, bulk_main, bulk);
}

bool bulk_is_done(struct bulk *bulk)
{
    return atomic_load(&bulk->is_done);
}

void bulk_finish(struct bulk *bulk)
{
    atomic_store(&bulk->must_stop, true);
    pthread_join(bulk->thread, NULL);
}
