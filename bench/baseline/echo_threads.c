/*
 * Baseline: a TCP echo server with a thread for each connection.
 *
 *     echo_threads PORT      (0: choose a port; "listening PORT" tells which)
 *
 * Blocking calls, small stacks, detached threads, and nothing shared on the way of a request. Out
 * of descriptors, memory or threads, accepting pauses instead of spinning; a connection that cannot
 * have a thread waits for one rather than being dropped.
 */
#include "common.h"

#include <pthread.h>
#include <time.h>

#define BUFFER_BYTES (16 * 1024)
#define STACK_BYTES (BUFFER_BYTES + 32 * 1024) /* address space; a page or two of it is touched */

static int listen_fd;

static void pause_accepting(void)
{
    struct timespec pause = { .tv_nsec = ACCEPT_PAUSE_NS };

    nanosleep(&pause, NULL);
}

static bool send_all(int fd, const char *buf, size_t size_bytes)
{
    ssize_t result;

    while (size_bytes) {
        result = send(fd, buf, size_bytes, MSG_NOSIGNAL);
        if (result < 0)
            return false;
        buf += result;
        size_bytes -= (size_t)result;
    }
    return true;
}

/*
 * The buffer is on the stack, highest use first: small messages touch its first page only. It is
 * not initialised, for that would touch all of it.
 */
static void *connection_main(void *argument)
{
    int fd = (int)(intptr_t)argument;
    char buf[BUFFER_BYTES];
    ssize_t result;

    while ((result = recv(fd, buf, sizeof(buf), 0)) > 0) {
        if (!send_all(fd, buf, (size_t)result))
            break;
    }
    close(fd);
    return NULL;
}

static void connection_start(int fd, const pthread_attr_t *attributes)
{
    pthread_t thread;
    int error;

    while ((error = pthread_create(&thread, attributes, connection_main, (void *)(intptr_t)fd))) {
        if (error != EAGAIN)
            die("pthread_create", error);
        pause_accepting();
    }
}

static void *accept_main(void *argument)
{
    const pthread_attr_t *attributes = argument;
    int fd;

    for (;;) {
        fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            connection_start(fd, attributes);
        else if (is_out_of_resources(errno))
            pause_accepting();
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct signalfd_siginfo info;
    pthread_attr_t attributes;
    pthread_t acceptor;
    int stop_fd;

    if (argc != 2) {
        fprintf(stderr, "usage: %s PORT\n", argv[0]);
        return 2;
    }
    raise_descriptor_limit();
    stop_fd = open_stop_signal();
    listen_fd = listen_local(parse_port(argv[1], 0), 0);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&acceptor, NULL, accept_main, &attributes))
        die("pthread_create", EAGAIN);
    announce(listen_fd);
    while (read(stop_fd, &info, sizeof(info)) < 0 && errno == EINTR)
        ;
    _exit(0); /* without waiting for the connections' threads */
}
