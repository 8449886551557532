/*
 * Many receivers over a small pool: some hold what they have received for long, some are killed,
 * timed out or closed in the middle. Every byte comes once and in order, what a buffer holds stays
 * as it is until its release, everybody comes to an end, and then every buffer is back. The senders
 * send with and without a copy, and spoil their memory as soon as they have it back.
 */
#include "runtime/hub.h"
#include "tests/sim/sim.h"

#include <errno.h>
#include <greenring/uring.h>
#include <string.h>
#include <sys/socket.h>

enum { CONNECTIONS_MAX = 12, HELD_MAX = 6, BYTES_MAX = 6000, PIECE_MAX = 1500 };

struct held {
    gring_buf buf;
    size_t place;
};

struct connection {
    int ends[2];
    uint64_t stream;
    size_t size, sent, received;
    gring_task *sender, *receiver;
    bool is_disturbed; /* killed or closed: it need not end */
};

/* What interrupts here: a kill, a deadline, a close, a peer that was disturbed, a fault. */
static bool was_interrupted(const struct connection *connection)
{
    if (errno == ETIMEDOUT)
        return true;
    if (connection->is_disturbed &&
        (errno == ECANCELED || errno == EBADF || errno == EPIPE || errno == ECONNRESET))
        return true;
    sim_excuse(errno);
    return false;
}

/* ---- sending --------------------------------------------------------------------------------- */

static ssize_t send_piece(const struct connection *connection, unsigned char *piece, size_t size)
{
    ssize_t count;

    sim_fill(piece, size, connection->stream, connection->sent);
    if (sim_chance(500))
        count = gring_send_zc(connection->ends[0], piece, size, 0);
    else
        count = gring_send(connection->ends[0], piece, size, 0);
    memset(piece, 0x5a, size);
    return count;
}

/* Also instead of the sender, if that is killed before it runs. */
static void hang_up(void *arg)
{
    gring_shutdown(((struct connection *)arg)->ends[0], SHUT_WR);
}

static void *send_all(void *arg)
{
    struct connection *connection = arg;
    unsigned char piece[PIECE_MAX];

    while (connection->sent < connection->size) {
        size_t left = connection->size - connection->sent, size = sim_size(sizeof piece);
        ssize_t count = send_piece(connection, piece, size < left ? size : left);

        if (count < 0) {
            (void)was_interrupted(connection);
            break;
        }
        connection->sent += (size_t)count;
    }
    hang_up(connection);
    return NULL;
}

static gring_task *spawn_sender(struct connection *connection)
{
    gring_spawn_opts opts = GRING_SPAWN_INIT;

    opts.abort = hang_up;
    return gring_spawn_with(&opts, send_all, connection);
}

/* ---- receiving ------------------------------------------------------------------------------- */

static void check(const struct connection *connection, const struct held *held)
{
    SIM_MUST(sim_matches(held->buf.data, held->buf.len, connection->stream, held->place) ==
             held->buf.len);
}

static void let_go(const struct connection *connection, struct held *held, unsigned *count)
{
    struct held *last = &held[*count - 1], *any = &held[sim_below(*count)];

    check(connection, any);
    gring_buf_release(&any->buf);
    *any = *last;
    --*count;
}

/* Who holds some must not wait without end: nobody else may release what he waits for. */
static ssize_t receive(struct connection *connection, gring_buf *buf, bool holds_some)
{
    gring_timeout timeout;
    ssize_t count;

    if (holds_some && sim_chance(400))
        return gring_recv_buf(connection->ends[1], buf, MSG_DONTWAIT);
    gring_timeout_start(&timeout, holds_some || sim_chance(200) ? sim_duration(100 * GRING_MS)
                                                                : GRING_FOREVER);
    count = gring_recv_buf(connection->ends[1], buf, 0);
    gring_timeout_stop(&timeout);
    return count;
}

/* Did the call end for a reason after which the next one makes sense? */
static bool may_go_on(const struct connection *connection, bool holds_some)
{
    if (holds_some && errno == EAGAIN)
        return true;
    return was_interrupted(connection) && errno == ETIMEDOUT;
}

static void *receive_all(void *arg)
{
    struct connection *connection = arg;
    struct held held[HELD_MAX];
    unsigned held_count = 0, greed = (unsigned)sim_between(1, HELD_MAX);
    ssize_t count;

    do {
        struct held *next = &held[held_count];
        bool holds_some = held_count > 0;

        next->place = connection->received;
        count = receive(connection, &next->buf, holds_some);
        if (count > 0) {
            check(connection, next);
            connection->received += (size_t)count;
            held_count++;
        } else if (count < 0 && !may_go_on(connection, holds_some)) {
            break;
        }
        if (held_count && (count < 0 || held_count == greed || sim_chance(300))) {
            if (sim_chance(300))
                gring_sleep(sim_duration(GRING_MS));
            let_go(connection, held, &held_count);
        }
    } while (count != 0);
    while (held_count)
        let_go(connection, held, &held_count);
    return NULL;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static bool connect_two(struct connection *connection)
{
    *connection = (struct connection){ .stream = sim_random(), .size = sim_size(BYTES_MAX) };
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, connection->ends) < 0) {
        sim_excuse(errno);
        return false;
    }
    connection->receiver = gring_spawn(receive_all, connection);
    if (!connection->receiver)
        sim_excuse(errno);
    connection->sender = connection->receiver ? spawn_sender(connection) : NULL;
    if (connection->receiver && !connection->sender) {
        sim_excuse(errno);
        connection->is_disturbed = true;
        hang_up(connection);
    }
    return true;
}

static void disturb(struct connection *connection)
{
    if (connection->is_disturbed || !connection->receiver || !connection->sender)
        return;
    connection->is_disturbed = true;
    if (sim_chance(300) && gring_close(connection->ends[1]) == 0)
        connection->ends[1] = -1;
    else if (sim_chance(700))
        gring_kill(connection->receiver);
    else
        gring_kill(connection->sender);
}

static void finish(struct connection *connection)
{
    if (connection->receiver)
        gring_join(connection->receiver, NULL);
    if (connection->ends[1] >= 0)
        gring_close(connection->ends[1]);
    if (connection->sender)
        gring_join(connection->sender, NULL);
    gring_close(connection->ends[0]);
    SIM_MUST(connection->received <= connection->size);
    SIM_MUST(connection->received == connection->size || connection->is_disturbed ||
             sim_is_rough());
}

SIM_WORKLOAD(buffers, SIM_RESETS | SIM_NO_MEMORY | SIM_NO_DESCRIPTORS)
{
    struct connection connections[CONNECTIONS_MAX];
    unsigned count = 0, wanted = (unsigned)sim_between(1, CONNECTIONS_MAX);
    const struct buffers *buffers = &hub_self()->buffers;

    SIM_MUST(gring_buf_config(sim_size(2000), (unsigned)sim_size(16)) == 0);
    while (count < wanted && connect_two(&connections[count]))
        count++;
    for (unsigned disturbances = (unsigned)sim_below(6); count && disturbances > 0;
         disturbances--) {
        gring_sleep(sim_duration(100 * GRING_MS));
        disturb(&connections[sim_below(count)]);
    }
    for (unsigned index = 0; index < count; index++)
        finish(&connections[index]);
    SIM_MUST(!buffers->memory || (buffers->lent_count == 0 &&
                                  buffers->free_count + buffers->kernel_count == buffers->count));
}
