/*
 * Endpoints: where to connect or listen, as text. A parser only: no IO, no name lookup, no memory.
 *
 *   tcp:HOST:PORT   udp:HOST:PORT     any address family
 *   tcp4:… udp4:…   tcp6:… udp6:…     IPv4 or IPv6 only
 *   unix:/PATH      unix:@NAME        a socket file; a name in the abstract namespace
 *   fd:N                              a descriptor that is open already
 *
 * HOST is a name, an IPv4 address, an IPv6 address in brackets ("[::1]", "[fe80::1%eth0]"), or
 * empty or "*" for any address. PORT is a decimal number from 0 to 65535 or the name of a
 * service. Everything is exact: no blanks, no signs, lower-case schemes, no path that is
 * relative.
 */
#ifndef GRING_API_IO_ENDPOINT_H
#define GRING_API_IO_ENDPOINT_H

#include <sys/socket.h>
#include <sys/un.h>

enum endpoint_kind { ENDPOINT_INET, ENDPOINT_UNIX, ENDPOINT_FD };

struct endpoint {
    enum endpoint_kind kind;
    int family;                      /* AF_UNSPEC, AF_INET, AF_INET6, AF_UNIX; AF_UNSPEC for FD */
    int socket_type;                 /* SOCK_STREAM or SOCK_DGRAM; 0 for FD */
    char host[256];                  /* INET: without brackets; empty: any address */
    char service[32];                /* INET: a decimal number or a name */
    struct sockaddr_un unix_address; /* UNIX */
    socklen_t unix_length;           /* UNIX: what counts of it */
    int fd;                          /* FD: the caller's; else -1 */
};

/*
 * Takes the text apart. On failure *endpoint means nothing.
 *
 * 0; -EINVAL: of no form above, or a literal address of the other family; -ENAMETOOLONG: a host,
 * service or path that does not fit its field.
 */
int endpoint_parse(struct endpoint *endpoint, const char *text);

/*
 * The address, if the text says it in numbers: then no lookup is needed. Any address is 0.0.0.0,
 * but for tcp6 and udp6 it is "::". A UNIX endpoint has its address always.
 *
 * 0, and *address with *length, which is only written; -ENOENT: this needs a resolver, also for a
 * scope ("%eth0"); -EINVAL: FD, which has no address.
 */
int endpoint_numeric(const struct endpoint *endpoint, struct sockaddr_storage *address,
                     socklen_t *length);

#endif
