/*
 * echo - sends back what it receives: one task per connection, written as if it blocked.
 *
 * Usage: echo ENDPOINT          for example  echo tcp:127.0.0.1:7000  or  echo unix:/tmp/echo.sock
 * Serves until it is stopped by a signal. Try it with: nc 127.0.0.1 7000
 */
#include <errno.h>
#include <greenring/greenring.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/resource.h>

static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg, on = 1;
    char buf[4096];
    ssize_t size;

    /* fails on unix sockets, which need none */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    while ((size = gring_recv(fd, buf, sizeof buf, 0)) > 0)
        if (gring_send(fd, buf, (size_t)size, 0) < size)
            break;
    gring_close(fd);
    return NULL;
}

/* Out of descriptors or memory is no reason to spin or to stop: some connection will end. */
static int accept_patiently(int listener)
{
    int fd;

    while ((fd = gring_accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0) {
        if (errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS &&
            errno != ECONNABORTED)
            return -1;
        if (gring_sleep(10 * GRING_MS) < 0)
            return -1;
    }
    return fd;
}

static void *listen_and_accept(void *endpoint)
{
    int listener = gring_net_listen(endpoint, 4096, 0), fd;

    if (listener < 0)
        return perror(endpoint), gring_fail(errno);
    while ((fd = accept_patiently(listener)) >= 0)
        if (gring_spawn_n(serve, (void *)(intptr_t)fd) < 0)
            gring_close(fd); /* no room for another task: better refuse one than fail all */
    perror("echo: accept");
    gring_close(listener);
    return gring_fail(errno);
}

int main(int argc, char **argv)
{
    struct rlimit limit;

    if (argc != 2) {
        fprintf(stderr, "usage: echo ENDPOINT\n");
        return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max; /* one descriptor per connection: take what we may */
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    return gring_run(listen_and_accept, argv[1], NULL) != 0;
}
