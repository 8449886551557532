/*
 * examples/echo with counters: on SIGTERM it prints what a request cost in enters, submissions
 * and switches.
 *
 * Usage: echo_green PORT [pooled]  (0: chosen; the line "listening PORT" tells)
 *
 * pooled: with gring_recv_buf, so that an idle connection has no buffer.
 */
#include <arpa/inet.h>
#include <greenring/debug.h>
#include <greenring/greenring.h>
#include <greenring/uring.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static volatile sig_atomic_t asked_to_stop;
static uint64_t requests;

static void on_sigterm(int unused)
{
    (void)unused;
    asked_to_stop = 1;
}

static int print_when_asked(void *arg, const gring_tick *tick)
{
    gring_stats stats = { .size = sizeof stats };

    (void)arg, (void)tick;
    if (!asked_to_stop)
        return 0;
    gring_stats_get(&stats);
    printf("enters=%llu requests=%llu sqes=%llu switches=%llu turns=%llu\n",
           (unsigned long long)stats.enters, (unsigned long long)requests,
           (unsigned long long)stats.sqes, (unsigned long long)stats.switches,
           (unsigned long long)stats.turns);
    fflush(stdout);
    _Exit(0);
}

static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg, on = 1;
    char buf[4096];
    ssize_t size;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    while ((size = gring_recv(fd, buf, sizeof buf, 0)) > 0) {
        requests++;
        if (gring_send(fd, buf, (size_t)size, 0) < size)
            break;
    }
    gring_close(fd);
    return NULL;
}

static void *serve_pooled(void *arg)
{
    int fd = (int)(intptr_t)arg, on = 1;
    ssize_t size, sent;
    gring_buf buf;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    while ((size = gring_recv_buf(fd, &buf, 0)) > 0) {
        requests++;
        sent = gring_send(fd, buf.data, buf.len, 0);
        gring_buf_release(&buf);
        if (sent < size)
            break;
    }
    gring_close(fd);
    return NULL;
}

static gring_fn serve_one = serve;

static void *accept_all(void *port)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    char endpoint[64];
    int listener, fd;

    snprintf(endpoint, sizeof endpoint, "tcp:127.0.0.1:%s", (char *)port);
    listener = gring_net_listen(endpoint, 4096, 0);
    if (listener < 0)
        return perror(endpoint), gring_fail(1);
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("listening %d\n", ntohs(address.sin_port));
    fflush(stdout);
    gring_every(50 * GRING_MS, print_when_asked, NULL, NULL);
    while ((fd = gring_accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0 ||
           gring_sleep(10 * GRING_MS) == 0)
        if (fd >= 0 && gring_spawn_n(serve_one, (void *)(intptr_t)fd) < 0)
            gring_close(fd);
    return NULL;
}

int main(int argc, char **argv)
{
    struct rlimit limit;

    if (argc < 2)
        return 2;
    if (argc > 2)
        serve_one = serve_pooled;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    signal(SIGTERM, on_sigterm);
    return gring_run(accept_all, argv[1], NULL) != 0;
}
