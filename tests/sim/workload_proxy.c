/*
 * Chains of proxies: client, some proxies, server. Each side sends its bytes and shuts its half; a
 * proxy passes bytes and half-closes on, each direction in a task of its own. In a calm run
 * everything arrives, and the end of each direction only after its last byte.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

enum { PORT_FIRST = 2000, PROXIES_MAX = 4, CLIENTS_MAX = 6, BYTES_MAX = 8000, PIECE_MAX = 2000 };

/* Every place of a chain: the last one is the server. */
struct station {
    unsigned port, next_port; /* next_port 0: the server */
    int listener;
    gring_task *task;
};

static unsigned station_count;

static int dial_port(unsigned port)
{
    char endpoint[32];

    snprintf(endpoint, sizeof endpoint, "tcp:127.0.0.1:%u", port);
    return gring_net_dial(endpoint);
}

/* What interrupts a connection here: a fault, or the end of a sibling that met one. */
static void excuse(void)
{
    if (errno != ECANCELED && errno != EBADF)
        sim_excuse(errno);
}

/* ---- proxies --------------------------------------------------------------------------------- */

struct direction {
    int from, to;
};

static void *pump(void *arg)
{
    struct direction *direction = arg;
    unsigned char piece[PIECE_MAX];
    ssize_t count;

    while ((count = gring_recv(direction->from, piece, sim_size(sizeof piece), 0)) > 0)
        if (gring_send(direction->to, piece, (size_t)count, 0) < count)
            break; /* an error, or the start of one: the next call has it */
    if (count != 0)
        return gring_fail(ECONNRESET);
    gring_shutdown(direction->to, SHUT_WR);
    return NULL;
}

static void pump_both_ways(int client, int server)
{
    struct direction there = { client, server }, back = { server, client };
    gring_auto_scope(scope);

    if (gring_scope_spawn_n(&scope, pump, &there) < 0 ||
        gring_scope_spawn_n(&scope, pump, &back) < 0)
        excuse();
    else if (gring_scope_wait(&scope) < 0)
        excuse();
}

static void proxy(int client, unsigned next_port)
{
    int server = dial_port(next_port);

    if (server < 0) {
        excuse();
        return;
    }
    pump_both_ways(client, server);
    gring_close(server);
}

/* ---- the two ends ---------------------------------------------------------------------------- */

/* All bytes of the stream, whose first eight bytes tell its number and length. */
struct header {
    uint32_t stream, size;
};

static int send_stream(int fd, uint32_t stream, uint32_t size)
{
    struct header header = { stream, size };
    unsigned char piece[PIECE_MAX];

    if (gring_write_full(fd, &header, sizeof header, NULL) < 0)
        return -1;
    for (uint32_t sent = 0, count; sent < size; sent += count) {
        count = size - sent < sizeof piece ? size - sent : (uint32_t)sizeof piece;
        sim_fill(piece, count, stream, sent);
        if (gring_write_full(fd, piece, count, NULL) < 0)
            return -1;
    }
    return 0;
}

/* 1: whole, to its end; 0: the peer has given up; -1. */
static int receive_stream(int fd, struct header *header)
{
    unsigned char piece[PIECE_MAX];
    uint32_t received = 0;
    ssize_t count = gring_read_full(fd, header, sizeof *header, NULL);

    if (count < (ssize_t)sizeof *header)
        return count < 0 ? -1 : 0;
    while ((count = gring_recv(fd, piece, sim_size(sizeof piece), 0)) > 0) {
        SIM_MUST(sim_matches(piece, (size_t)count, header->stream, received) == (size_t)count);
        received += (uint32_t)count;
        SIM_MUST(received <= header->size);
    }
    if (count < 0)
        return -1;
    return received == header->size;
}

static void answer(int fd)
{
    struct header header;
    int whole = receive_stream(fd, &header);

    SIM_MUST(whole == 1 || sim_is_rough());
    if (whole < 0 || (whole > 0 && send_stream(fd, header.stream + 1, header.size / 2) < 0))
        excuse();
    gring_shutdown(fd, SHUT_WR);
}

static void *ask(void *arg)
{
    const struct station *first = arg;
    uint32_t stream = (uint32_t)sim_random(), size = (uint32_t)sim_size(BYTES_MAX);
    int fd = dial_port(first->port), whole;
    struct header header;

    if (fd < 0) {
        excuse();
        return NULL;
    }
    if (send_stream(fd, stream, size) < 0)
        excuse();
    gring_shutdown(fd, SHUT_WR);
    whole = receive_stream(fd, &header);
    if (whole < 0)
        excuse();
    SIM_MUST(whole == 1 || sim_is_rough());
    SIM_MUST(whole < 1 || (header.stream == stream + 1 && header.size == size / 2));
    gring_close(fd);
    return NULL;
}

/* ---- stations -------------------------------------------------------------------------------- */

struct visit {
    const struct station *station;
    int fd;
};

static void *serve(void *arg)
{
    struct visit *visit = arg;

    if (visit->station->next_port)
        proxy(visit->fd, visit->station->next_port);
    else
        answer(visit->fd);
    gring_close(visit->fd);
    return NULL;
}

/* Killed before it ran. */
static void turn_away(void *arg)
{
    gring_close(((struct visit *)arg)->fd);
}

static void welcome(const struct station *station, int fd)
{
    gring_spawn_opts opts = GRING_SPAWN_INIT;
    struct visit *visit = sim_alloc(sizeof *visit);
    gring_task *task;

    *visit = (struct visit){ station, fd };
    opts.abort = turn_away;
    task = gring_spawn_with(&opts, serve, visit);
    if (!task) {
        sim_excuse(errno);
        gring_close(fd);
    }
    gring_drop(task);
}

static void *stand(void *arg)
{
    struct station *station = arg;

    while (!gring_cancelled()) {
        int fd = gring_accept(station->listener, NULL, NULL);

        if (fd >= 0) {
            welcome(station, fd);
        } else if (errno != ECANCELED) {
            sim_excuse(errno);
            gring_sleep(20 * GRING_MS);
        }
    }
    return NULL;
}

static void open_station(struct station *station, unsigned index)
{
    char endpoint[32];

    station->port = PORT_FIRST + index;
    station->next_port = index + 1 < station_count ? station->port + 1 : 0;
    snprintf(endpoint, sizeof endpoint, "tcp:127.0.0.1:%u", station->port);
    station->listener = gring_net_listen(endpoint, (int)sim_between(1, 8), 0);
    if (station->listener < 0) {
        sim_excuse(errno);
        return;
    }
    station->task = gring_spawn(stand, station);
    if (!station->task)
        sim_excuse(errno);
}

static void close_station(struct station *station)
{
    if (station->task) {
        gring_kill(station->task);
        gring_join(station->task, NULL);
    }
    if (station->listener >= 0)
        gring_close(station->listener);
}

static void *ask_patiently(void *station)
{
    gring_timeout patience;

    gring_timeout_start(&patience, sim_is_rough() ? 5 * GRING_SEC : GRING_FOREVER);
    ask(station);
    gring_timeout_stop(&patience);
    return NULL;
}

SIM_WORKLOAD(proxy, SIM_RESETS | SIM_NO_MEMORY | SIM_NO_DESCRIPTORS | SIM_REFUSALS)
{
    struct station stations[PROXIES_MAX + 1] = { 0 };
    gring_task *clients[CLIENTS_MAX];
    unsigned client_count = (unsigned)sim_between(1, CLIENTS_MAX);

    station_count = (unsigned)sim_between(1, PROXIES_MAX + 1);
    for (unsigned index = 0; index < station_count; index++)
        open_station(&stations[index], index);
    for (unsigned index = 0; index < client_count; index++)
        if (!(clients[index] = gring_spawn(ask_patiently, &stations[0])))
            sim_excuse(errno);
    for (unsigned index = 0; index < client_count; index++)
        if (clients[index])
            gring_join(clients[index], NULL);
    for (unsigned index = 0; index < station_count; index++)
        close_station(&stations[index]);
}
