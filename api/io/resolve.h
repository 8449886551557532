/* The socket addresses of an endpoint: at once if it is numeric, else by a thread that asks
 * getaddrinfo(3). */
#ifndef GRING_API_IO_RESOLVE_H
#define GRING_API_IO_RESOLVE_H

#include "api/io/endpoint.h"

#include <netdb.h>

/* One address to try. */
struct address {
    int family, socket_type;
    socklen_t length;
    struct sockaddr_storage storage;
};

enum { ADDRESSES_MAX = 16 };

/* Up to ADDRESSES_MAX addresses, in the resolver's order; the number, or -errno. On a hub only
 * the task waits. */
int resolve(const struct endpoint *endpoint, struct address addresses[ADDRESSES_MAX]);

#endif
