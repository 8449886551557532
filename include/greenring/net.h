/* greenring/net.h - sockets. Same rules as greenring/io.h; all calls but the listening ones are
 * [wait].
 * socket, bind, listen, getsockopt and the like never wait: use libc's. SO_RCVTIMEO and
 * SO_SNDTIMEO have no effect. */
#ifndef GRING_NET_H
#define GRING_NET_H
#include <greenring/base.h>
#include <sys/socket.h>
GRING_BEGIN
struct mmsghdr; /* with _GNU_SOURCE, see recvmmsg(2) */

/* accept(2). EMFILE and ENFILE are returned: sleep a little, then try again. */
GRING_API int gring_accept(int fd, struct sockaddr *addr, socklen_t *len);
GRING_API int gring_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags);
/* connect(2). Interrupted, the attempt goes on, as after a signal in connect(2): until it has ended
 * another call is EALREADY, then 0 or its error once, then EISCONN. gring_wait_fd with POLLOUT
 * tells when; who has no more use for it closes the socket. A socket that has failed to connect is
 * of no more use: connect(2) leaves open what it is then. */
GRING_API int gring_connect(int fd, const struct sockaddr *addr, socklen_t len);

/* recv(2), recvfrom(2), recvmsg(2). MSG_DONTWAIT, MSG_ERRQUEUE and MSG_OOB do not wait. MSG_WAITALL
 * waits for all the bytes of a stream, but with room for ancillary data for some. Descriptors that
 * arrive are the caller's; MSG_CMSG_CLOEXEC makes them close-on-exec. */
GRING_API ssize_t gring_recv(int fd, void *buf, size_t n, int flags);
GRING_API ssize_t gring_recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *a,
                                 socklen_t *l);
GRING_API ssize_t gring_recvmsg(int fd, struct msghdr *m, int flags);
/* recvmmsg(2), always as with MSG_WAITFORONE: waits for the first message, takes the others that
 * are there, up to n. How many, at least 1 (0 if n is 0). Who wants them all calls again. An error
 * that waits on the socket comes after the messages that are there. */
GRING_API int gring_recvmmsg(int fd, struct mmsghdr *v, unsigned n, int flags);

/* send(2), sendto(2), sendmsg(2): all the bytes, unless an interruption or error came after
 * progress (then the count, and the next call fails), or MSG_DONTWAIT. Never raises SIGPIPE:
 * EPIPE. m is not written to; its ancillary data go with the first byte, once. */
GRING_API ssize_t gring_send(int fd, const void *buf, size_t n, int flags);
GRING_API ssize_t gring_sendto(int fd, const void *buf, size_t n, int flags,
                               const struct sockaddr *a, socklen_t l);
GRING_API ssize_t gring_sendmsg(int fd, const struct msghdr *m, int flags);
/* sendmmsg(2): how many were sent, in order. Fewer than n, at least 1, if an interruption or error
 * came after progress; msg_len of the last of them may then be short. */
GRING_API int gring_sendmmsg(int fd, struct mmsghdr *v, unsigned n, int flags);

/* A descriptor over a unix(7) socket, with n bytes alongside; n is at least 1, or EINVAL: on a
 * stream a descriptor travels with a byte. The peer gets a duplicate; yours stays yours. send: n,
 * or fewer as gring_send: then the descriptor has gone. recv: the count, 0 the end; *fd is the
 * descriptor, close-on-exec and the caller's, or -1 if none came or there was no room for it in
 * this process. Of several sent together the first is taken, the others are closed: use
 * gring_recvmsg. */
GRING_API ssize_t gring_send_fd(int sock, int fd, const void *buf, size_t n);
GRING_API ssize_t gring_recv_fd(int sock, int *fd, void *buf, size_t n);

/* shutdown(2): wakes readers with 0, an acceptor with EINVAL. Does not wait. [any] */
GRING_API int gring_shutdown(int fd, int how);

/* Endpoints: "tcp:host:port" "tcp4:" "tcp6:[::1]:80" "udp:host:port" "unix:/path"
 * "unix:@abstract" "fd:N". host may be a
 * name: it is looked up by a thread of the runtime, as getaddrinfo(3) does, without blocking the
 * hub; empty or * listens on every address. Descriptors are the caller's, close-on-exec; of
 * "fd:N" a duplicate.
 * errno: EINVAL a malformed endpoint, ENAMETOOLONG a part of it is too long, ENXIO the name has
 * no address, EAGAIN the resolver is out of order for now, or the last address's. */
/* Tries every address, the first 16 of a name, until one answers or the call is interrupted.
 * [wait] */
GRING_API int gring_net_dial(const char *endpoint);
#define GRING_REUSEPORT 0x1u
/* SO_REUSEADDR always, SO_REUSEPORT on request (EINVAL with port 0: no second listener could
 * find it). A name is looked up like above. backlog: see listen(2); datagram sockets are only
 * bound. [wait] */
GRING_API int gring_net_listen(const char *endpoint, int backlog, unsigned flags);
GRING_END
#endif
