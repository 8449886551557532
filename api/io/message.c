/*
 * Messages: calls with addresses, several buffers, ancillary data, and several messages at once.
 *
 * The message header is the caller's and is the kernel's until the call returns; what a send is
 * given is never written to.
 */
#include "api/io/await.h"
#include "api/io/opened.h"
#include "api/result.h"
#include "runtime/hub.h"

#include <errno.h>
#include <greenring/net.h>
#include <sys/uio.h>

/* ---- receiving ------------------------------------------------------------------------------- */

/* Too many parts are EMSGSIZE to recvmsg(2) and sendmsg(2), and EINVAL to the ring of Linux 6.1. */
static int result_of(int result, const struct msghdr *message)
{
    return result == -EINVAL && message->msg_iovlen > UIO_MAXIOV ? -EMSGSIZE : result;
}

static int receive_message(int fd, struct msghdr *message, int flags, const char *what)
{
    struct op op;

    prep_recvmsg(&op, fd, message, flags);
    return result_of(await(&op, what), message);
}

ssize_t gring_recvmsg(int fd, struct msghdr *message, int flags)
{
    if (!hub_self())
        return recvmsg(fd, message, flags);
    return api_result(receive_message(fd, message, flags, "recvmsg"));
}

ssize_t gring_recvfrom(int fd, void *buf, size_t size, int flags, struct sockaddr *address,
                       socklen_t *length)
{
    struct iovec part = { .iov_base = buf, .iov_len = size };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_name = address };
    int result;

    if (!hub_self())
        return recvfrom(fd, buf, size, flags, address, length);
    if (!address)
        return gring_recv(fd, buf, size, flags);
    message.msg_namelen = *length;
    result = receive_message(fd, &message, flags, "recvfrom");
    if (result >= 0)
        *length = message.msg_namelen;
    return api_result(result);
}

/* Without waiting, and without disturbing errno: none is no error. */
static int receive_others(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    int saved_errno = errno;
    int result = count ? recvmmsg(fd, messages, count, flags | MSG_DONTWAIT, NULL) : 0;

    errno = saved_errno;
    return result > 0 ? result : 0;
}

int gring_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    struct opened socket;
    int result;

    if (!hub_self() || count == 0)
        return recvmmsg(fd, messages, count, flags | MSG_WAITFORONE, NULL);
    flags &= ~MSG_WAITFORONE; /* it is what we do */
    socket = opened_now(fd);
    result = receive_message(fd, &messages[0].msg_hdr, flags, "recvmmsg");
    if (result < 0)
        return (int)api_result(result);
    messages[0].msg_len = (unsigned)result;
    return opened_still(socket) ? 1 + receive_others(fd, messages + 1, count - 1, flags) : 1;
}

/* ---- sending: what is left of a message ------------------------------------------------------ */

static size_t bytes_of(const struct msghdr *message)
{
    size_t total = 0;

    for (size_t index = 0; index < message->msg_iovlen; index++)
        total += message->msg_iov[index].iov_len;
    return total;
}

/*
 * The message without its first `done` bytes, fewer than it has, and without its ancillary data,
 * which went with the first of them. The caller's vector stays as it is: a buffer that was cut
 * goes alone, in *cut.
 */
static struct msghdr rest_of(const struct msghdr *message, size_t done, struct iovec *cut)
{
    struct msghdr rest = { .msg_name = message->msg_name, .msg_namelen = message->msg_namelen };
    size_t index = 0;

    for (; done >= message->msg_iov[index].iov_len; index++)
        done -= message->msg_iov[index].iov_len;
    rest.msg_iov = message->msg_iov + index;
    rest.msg_iovlen = message->msg_iovlen - index;
    if (done > 0) {
        cut->iov_base = (char *)message->msg_iov[index].iov_base + done;
        cut->iov_len = message->msg_iov[index].iov_len - done;
        rest.msg_iov = cut;
        rest.msg_iovlen = 1;
    }
    return rest;
}

/* ---- sending --------------------------------------------------------------------------------- */

static int send_some(int fd, const struct msghdr *message, int flags, const char *what)
{
    struct op op;

    /* Where the kernel goes on by itself it must not send descriptors twice, and not every kernel
     * is careful. */
    if (!(flags & MSG_DONTWAIT) && !message->msg_controllen)
        flags |= MSG_WAITALL;
    prep_sendmsg(&op, fd, message, flags);
    return result_of(await(&op, what), message);
}

/* After a short send: all that was sent in the end. Reports are held. */
static size_t send_rest(struct opened socket, const struct msghdr *message, size_t done, int flags)
{
    size_t total = bytes_of(message);
    struct iovec cut;
    int result = 1;

    for (; done < total && result > 0 && opened_still(socket);
         done += result > 0 ? (size_t)result : 0) {
        struct msghdr rest = rest_of(message, done, &cut);

        result = send_some(socket.fd, &rest, flags, "sendmsg");
    }
    return done;
}

/* Where the sending ended early the caller has the count, and an error or an interruption meets the
 * next call. */
static ssize_t send_message(int fd, const struct msghdr *message, int flags, const char *what)
{
    struct opened socket = opened_now(fd);
    ssize_t result = send_some(fd, message, flags, what);
    struct gring_task *task;

    if (result <= 0 || flags & MSG_DONTWAIT || (size_t)result == bytes_of(message))
        return result;
    task = hub_self()->running;
    task_hold_reports(task);
    result = (ssize_t)send_rest(socket, message, (size_t)result, flags);
    task_release_reports(task, false);
    return result;
}

ssize_t gring_sendmsg(int fd, const struct msghdr *message, int flags)
{
    flags |= MSG_NOSIGNAL;
    if (!hub_self())
        return sendmsg(fd, message, flags);
    return api_result(send_message(fd, message, flags, "sendmsg"));
}

ssize_t gring_sendto(int fd, const void *buf, size_t size, int flags,
                     const struct sockaddr *address, socklen_t length)
{
    struct iovec part = { .iov_base = (void *)(uintptr_t)buf, .iov_len = size };
    struct msghdr message = { .msg_iov = &part,
                              .msg_iovlen = 1,
                              .msg_name = (void *)(uintptr_t)address,
                              .msg_namelen = length };

    flags |= MSG_NOSIGNAL;
    if (!hub_self())
        return sendto(fd, buf, size, flags, address, length);
    if (!address)
        return gring_send(fd, buf, size, flags);
    if (length > sizeof(struct sockaddr_storage))
        return api_result(-EINVAL); /* sendmsg(2) would cut it */
    return api_result(send_message(fd, &message, flags, "sendto"));
}

/* ---- sending several ------------------------------------------------------------------------- */

/* As many as go without waiting: 0 when not even one does, for whatever reason. */
static unsigned send_at_once(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    int saved_errno = errno;
    int result = count ? sendmmsg(fd, messages, count, flags | MSG_DONTWAIT) : 0;

    errno = saved_errno;
    return result > 0 ? (unsigned)result : 0;
}

/* The next one, waiting for room; 1, or 0: not a byte of it. */
static unsigned send_next(int fd, struct mmsghdr *message, int flags)
{
    int result = send_some(fd, &message->msg_hdr, flags, "sendmmsg");

    if (result < 0)
        return 0;
    message->msg_len = (unsigned)result;
    return 1;
}

/* Of one that was cut, the rest. False: there is some left, so nothing may follow. */
static bool complete(struct opened socket, struct mmsghdr *message, int flags)
{
    size_t total = bytes_of(&message->msg_hdr);

    if (message->msg_len < total)
        message->msg_len = (unsigned)send_rest(socket, &message->msg_hdr, message->msg_len, flags);
    return message->msg_len == total;
}

/* The first has been sent. One that has to wait is waited for, and those behind it go at once as
 * far as there is room. How many, with the first. */
static unsigned send_others(struct opened socket, struct mmsghdr *messages, unsigned count,
                            int flags)
{
    struct gring_task *task = hub_self()->running;
    unsigned done = 1, more = 1;

    task_hold_reports(task);
    while (more && complete(socket, &messages[done - 1], flags) && opened_still(socket)) {
        more = send_at_once(socket.fd, messages + done, count - done, flags);
        if (more == 0 && done < count)
            more = send_next(socket.fd, &messages[done], flags);
        done += more;
    }
    task_release_reports(task, false);
    return done;
}

int gring_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    struct opened socket;
    ssize_t result;

    flags |= MSG_NOSIGNAL;
    if (!hub_self() || count == 0 || flags & MSG_DONTWAIT)
        return sendmmsg(fd, messages, count, flags);
    if (count > UIO_MAXIOV)
        count = UIO_MAXIOV; /* as sendmmsg(2) */
    socket = opened_now(fd);
    result = send_some(fd, &messages[0].msg_hdr, flags, "sendmmsg");
    if (result < 0)
        return (int)api_result(result);
    messages[0].msg_len = (unsigned)result;
    return (int)send_others(socket, messages, count, flags);
}
