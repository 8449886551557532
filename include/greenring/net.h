/* greenring/net.h - sockets. Same rules as greenring/io.h; all calls but the listening ones are
 * [wait].
 * socket, bind, listen, getsockopt and the like never wait: use libc's. SO_RCVTIMEO and
 * SO_SNDTIMEO have no effect. */
#ifndef GRING_NET_H
#define GRING_NET_H
#include <greenring/base.h>
#include <sys/socket.h>
GRING_BEGIN
/* accept(2). EMFILE and ENFILE are returned: sleep a little, then try again. */
GRING_API int gring_accept(int fd, struct sockaddr *addr, socklen_t *len);
GRING_API int gring_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags);
GRING_API int gring_connect(int fd, const struct sockaddr *addr, socklen_t len); /* connect(2) */
GRING_API ssize_t gring_recv(int fd, void *buf, size_t n, int flags);            /* recv(2) */
/* send(2): all n bytes unless interrupted after progress or MSG_DONTWAIT. Never raises SIGPIPE:
 * EPIPE. */
GRING_API ssize_t gring_send(int fd, const void *buf, size_t n, int flags);
/* shutdown(2): wakes readers with 0, an acceptor with EINVAL. Does not wait. [any] */
GRING_API int gring_shutdown(int fd, int how);

/* Endpoints: "tcp:host:port" "tcp4:" "tcp6:[::1]:80" "udp:host:port" "unix:/path"
 * "unix:@abstract" "fd:N". host may be a
 * name: it is looked up by a thread of the runtime, as getaddrinfo(3) does, without blocking the
 * hub; empty or * listens on every address. Descriptors are the caller's, close-on-exec; of
 * "fd:N" a duplicate.
 * errno: EINVAL a malformed endpoint, ENAMETOOLONG a part of it is too long, ENXIO the name has
 * no address, EAGAIN the resolver is out of order for now, or the last address's. */
/* tries every address, the first 16 of a name [wait] */
GRING_API int gring_net_dial(const char *endpoint);
#define GRING_REUSEPORT 0x1u
/* SO_REUSEADDR always, SO_REUSEPORT on request (EINVAL with port 0: no second listener could
 * find it). A name is looked up like above. backlog: see listen(2); datagram sockets are only
 * bound. [wait] */
GRING_API int gring_net_listen(const char *endpoint, int backlog, unsigned flags);
GRING_END
#endif
