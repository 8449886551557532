/*
 * A mesh of echo: clients send patterned bytes to servers and read them back, each byte at its
 * place, while the network breaks what it likes. What a client gets is what it sent, or a part of
 * it from the start and then an error.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

enum { CLIENTS_MAX = 12, SERVERS_MAX = 3, BYTES_MAX = 20000, PIECE_MAX = 3000 };

struct server {
    int listener;
    gring_task *task;
};

struct client {
    unsigned port;
    uint64_t stream, bytes, received;
    int fd;
    bool broken;
};

static void *serve_one(void *arg)
{
    int fd = (int)(intptr_t)arg;
    unsigned char piece[PIECE_MAX];
    ssize_t count;

    while ((count = gring_recv(fd, piece, sim_between(1, sizeof piece), 0)) > 0)
        if (gring_write_full(fd, piece, (size_t)count, NULL) < 0)
            break;
    if (count < 0 && errno != ECANCELED)
        sim_excuse(errno);
    gring_close(fd);
    return NULL;
}

/* Killed before it ran. */
static void turn_away(void *arg)
{
    gring_close((int)(intptr_t)arg);
}

static void welcome(int fd)
{
    gring_spawn_opts opts = GRING_SPAWN_INIT;
    gring_task *task;

    opts.abort = turn_away;
    task = gring_spawn_with(&opts, serve_one, (void *)(intptr_t)fd);
    if (!task) {
        sim_excuse(errno);
        gring_close(fd);
    }
    gring_drop(task);
}

static void *serve(void *arg)
{
    struct server *server = arg;

    for (;;) {
        int fd = gring_accept(server->listener, NULL, NULL);

        if (fd < 0 && errno == ECANCELED)
            return NULL;
        if (fd < 0) {
            sim_excuse(errno);
            gring_sleep(20 * GRING_MS);
        } else {
            welcome(fd);
        }
    }
}

static void *send_all(void *arg)
{
    struct client *client = arg;
    unsigned char piece[PIECE_MAX];
    uint64_t sent = 0;

    while (sent < client->bytes) {
        uint64_t left = client->bytes - sent;
        size_t size = sim_between(1, left < sizeof piece ? left : sizeof piece);

        sim_fill(piece, size, client->stream, sent);
        if (gring_write_full(client->fd, piece, size, NULL) < 0) {
            if (errno != ECANCELED)
                sim_excuse(errno);
            client->broken = true;
            return NULL;
        }
        sent += size;
        if (sim_chance(50))
            gring_sleep(sim_duration(GRING_MS));
    }
    gring_shutdown(client->fd, SHUT_WR);
    return NULL;
}

static void receive_all(struct client *client)
{
    unsigned char piece[PIECE_MAX];
    ssize_t count;

    while ((count = gring_recv(client->fd, piece, sim_between(1, sizeof piece), 0)) > 0) {
        SIM_MUST(sim_matches(piece, (size_t)count, client->stream, client->received) ==
                 (size_t)count);
        client->received += (uint64_t)count;
        SIM_MUST(client->received <= client->bytes);
    }
    if (count < 0)
        sim_excuse(errno);
    client->broken |= count < 0;
}

static void end_sender(gring_task *sender, const struct client *client)
{
    if (client->broken)
        gring_kill(sender);
    GRING_SHIELD
    gring_join(sender, NULL);
}

static void converse(struct client *client)
{
    char endpoint[32];
    gring_task *sender;

    snprintf(endpoint, sizeof endpoint, "tcp:%s:%u", sim_chance(500) ? "127.0.0.1" : "server",
             client->port);
    client->fd = gring_net_dial(endpoint);
    if (client->fd < 0) {
        sim_excuse(errno);
        return;
    }
    sender = gring_spawn(send_all, client);
    if (!sender) {
        sim_excuse(errno);
        client->broken = true;
        gring_shutdown(client->fd, SHUT_WR);
    }
    receive_all(client);
    if (sender)
        end_sender(sender, client);
    SIM_MUST(client->received == client->bytes || client->broken || sim_is_rough());
    gring_close(client->fd);
}

/* Where descriptors are scarce the clients may have taken those that the servers need. */
static void *talk(void *arg)
{
    gring_timeout patience;
    bool scarce = sim_has(SIM_NO_DESCRIPTORS);

    if (scarce)
        gring_timeout_start(&patience, 5 * GRING_SEC);
    converse(arg);
    if (scarce)
        gring_timeout_stop(&patience);
    return NULL;
}

static void open_servers(struct server *servers, unsigned count)
{
    for (unsigned index = 0; index < count; index++) {
        char endpoint[32];

        snprintf(endpoint, sizeof endpoint, "tcp:127.0.0.1:%u", 1000 + index);
        servers[index].listener = gring_net_listen(endpoint, (int)sim_between(1, 8), 0);
        if (servers[index].listener < 0) {
            sim_excuse(errno);
            continue;
        }
        servers[index].task = gring_spawn(serve, &servers[index]);
        if (!servers[index].task)
            sim_excuse(errno);
    }
}

static void close_servers(struct server *servers, unsigned count)
{
    for (unsigned index = 0; index < count; index++) {
        if (servers[index].task) {
            gring_kill(servers[index].task);
            gring_join(servers[index].task, NULL);
        }
        if (servers[index].listener >= 0)
            gring_close(servers[index].listener);
    }
}

static void run_clients(unsigned count, unsigned server_count)
{
    gring_task *tasks[CLIENTS_MAX];

    for (unsigned index = 0; index < count; index++) {
        struct client *client = sim_alloc(sizeof *client);

        client->port = 1000 + (unsigned)sim_below(server_count);
        client->stream = index;
        client->bytes = sim_size(BYTES_MAX);
        tasks[index] = gring_spawn(talk, client);
        if (!tasks[index])
            sim_excuse(errno);
    }
    for (unsigned index = 0; index < count; index++)
        if (tasks[index])
            gring_join(tasks[index], NULL);
}

SIM_WORKLOAD(echo, SIM_RESETS | SIM_NO_MEMORY | SIM_NO_DESCRIPTORS | SIM_REFUSALS)
{
    struct server servers[SERVERS_MAX] = { 0 };
    unsigned server_count = (unsigned)sim_between(1, SERVERS_MAX);

    open_servers(servers, server_count);
    run_clients((unsigned)sim_between(1, CLIENTS_MAX), server_count);
    close_servers(servers, server_count);
}
