/*
 * What every baseline server does before its first connection, and nothing of how it serves.
 *
 * Descriptor limit, listening socket on 127.0.0.1, the "listening PORT" line, and SIGTERM turned
 * into a descriptor so that no server has a window between testing a flag and going to sleep.
 * Functions here end the process with a message when the machine refuses: a half-configured
 * baseline would measure something else than it says.
 */
#ifndef BENCH_BASELINE_COMMON_H
#define BENCH_BASELINE_COMMON_H

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* How long a server out of descriptors waits before it asks for the next connection again. */
#define ACCEPT_PAUSE_NS (50 * 1000 * 1000)

static inline void die(const char *what, int error)
{
    fprintf(stderr, "%s: %s\n", what, strerror(error));
    exit(1);
}

/* Raises the soft descriptor limit to the hard one; returns the limit now in force. */
static inline size_t raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        die("getrlimit", errno);
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        die("setrlimit", errno);
    return limit.rlim_cur < INT_MAX ? (size_t)limit.rlim_cur : INT_MAX;
}

/* Returns a port number from the command line; `lowest` is 0 where "choose one" has a meaning. */
static inline uint16_t parse_port(const char *text, long lowest)
{
    char *end;
    long port;

    port = strtol(text, &end, 10);
    if (end == text || *end || port < lowest || port > UINT16_MAX) {
        fprintf(stderr, "not a port: %s\n", text);
        exit(2);
    }
    return (uint16_t)port;
}

static inline struct sockaddr_in local_address(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
}

static inline void set_option(int fd, int level, int option)
{
    int on = 1;

    if (setsockopt(fd, level, option, &on, sizeof(on)) < 0)
        die("setsockopt", errno);
}

/*
 * Opens the listening socket; `type_flags` are SOCK_ flags such as SOCK_NONBLOCK.
 *
 * TCP_NODELAY is set here, once: on Linux an accepted socket inherits it from its listener, which
 * saves every server a system call per connection and works for direct descriptors too.
 */
static inline int listen_local(uint16_t port, int type_flags)
{
    struct sockaddr_in address = local_address(port);
    int fd;

    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | type_flags, 0);
    if (fd < 0)
        die("socket", errno);
    set_option(fd, SOL_SOCKET, SO_REUSEADDR);
    set_option(fd, IPPROTO_TCP, TCP_NODELAY);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        die("bind", errno);
    if (listen(fd, SOMAXCONN) < 0)
        die("listen", errno);
    return fd;
}

/* Tells whoever started us that connections are welcome, and where. */
static inline void announce(int listen_fd)
{
    struct sockaddr_in address;
    socklen_t size = sizeof(address);

    if (getsockname(listen_fd, (struct sockaddr *)&address, &size) < 0)
        die("getsockname", errno);
    printf("listening %u\n", ntohs(address.sin_port));
    fflush(stdout);
}

/*
 * Blocks SIGTERM and SIGINT for this thread and those it starts; returns a descriptor that gets
 * them.
 */
static inline int open_stop_signal(void)
{
    sigset_t signals;
    int fd;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
        die("sigprocmask", errno);
    fd = signalfd(-1, &signals, SFD_CLOEXEC);
    if (fd < 0)
        die("signalfd", errno);
    return fd;
}

/* Address space that costs memory only where it is touched; all zero. */
static inline void *map_zeroed(size_t size_bytes)
{
    void *memory;

    memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        die("mmap", errno);
    return memory;
}

/* True for an accept() failure that passes once somebody gives something back. */
static inline bool is_out_of_resources(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

#endif
