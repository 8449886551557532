/*
 * proxy - a TCP proxy: two tasks per connection, one for each direction.
 *
 * Usage: proxy LISTEN UPSTREAM       for example  proxy tcp:127.0.0.1:8000 tcp:127.0.0.1:7000
 * Each client gets a connection of its own to the upstream. A half-close travels on: when one
 * side has no more to say, the other may still finish. Serves until it is stopped by a signal.
 */
#include <errno.h>
#include <greenring/greenring.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/resource.h>

struct way {
    int from, to;
};

static void *pump(void *arg)
{
    struct way way = *(struct way *)arg;
    char buf[8192];
    ssize_t size;

    while ((size = gring_recv(way.from, buf, sizeof buf, 0)) > 0)
        if (gring_send(way.to, buf, (size_t)size, 0) < size) {
            gring_shutdown(way.from, SHUT_RD); /* nobody listens any more */
            break;
        }
    gring_shutdown(way.to, SHUT_WR);
    return NULL;
}

static const char *upstream_endpoint;

static void set_nodelay(int fd)
{
    int on = 1;

    /* fails on unix sockets, which need none */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void *serve(void *arg)
{
    int client = (int)(intptr_t)arg, server = gring_net_dial(upstream_endpoint);
    struct way there = { client, server }, back = { server, client };
    gring_task *other = server < 0 ? NULL : gring_spawn(pump, &back);

    if (other) {
        set_nodelay(client), set_nodelay(server);
        pump(&there);
        while (gring_wait(other, NULL) < 0)
            /* we are being ended: so is it */
            gring_shutdown(server, SHUT_RDWR), gring_shutdown(client, SHUT_RDWR);
        gring_drop(other);
    }
    if (server >= 0)
        gring_close(server);
    gring_close(client);
    return NULL;
}

static void *listen_and_accept(void *endpoint)
{
    int listener = gring_net_listen(endpoint, 4096, 0);

    if (listener < 0)
        return perror(endpoint), gring_fail(errno);
    for (;;) {
        int fd = gring_accept4(listener, NULL, NULL, SOCK_CLOEXEC);

        if (fd >= 0 && gring_spawn_n(serve, (void *)(intptr_t)fd) < 0)
            gring_close(fd);
        if (fd < 0 && errno != EMFILE && errno != ENFILE && errno != ENOMEM &&
            errno != ECONNABORTED)
            return perror("proxy: accept"), gring_fail(errno);
        /* out of descriptors: some connection will end */
        if (fd < 0 && gring_sleep(10 * GRING_MS) < 0)
            return gring_fail(errno);
    }
}

int main(int argc, char **argv)
{
    struct rlimit limit;

    if (argc != 3) {
        fprintf(stderr, "usage: proxy LISTEN UPSTREAM\n");
        return 2;
    }
    upstream_endpoint = argv[2];
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max; /* two descriptors per connection: take what we may */
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    return gring_run(listen_and_accept, argv[1], NULL) != 0;
}
