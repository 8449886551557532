/* Sockets: the calls that map to one op, and send, which goes on until all is sent. */
#include "api/io/await.h"
#include "api/io/opened.h"
#include "api/result.h"
#include "base/check.h"
#include "runtime/hub.h"

#include <greenring/net.h>

#ifndef IORING_CQE_F_SOCK_NONEMPTY
#define IORING_CQE_F_SOCK_NONEMPTY (1U << 2)
#endif

/* Receives that fail at once when there is nothing: told to wait first they would wait for ever. */
enum { ANSWERS_AT_ONCE = MSG_DONTWAIT | MSG_OOB | MSG_ERRQUEUE };

int gring_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    struct op op;

    if (!hub_self())
        return accept4(fd, address, length, flags);
    prep_accept(&op, fd, address, length, flags);
    return (int)api_result(await(&op, "accept"));
}

int gring_accept(int fd, struct sockaddr *address, socklen_t *length)
{
    return gring_accept4(fd, address, length, 0);
}

int gring_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    struct op op;

    if (!hub_self())
        return connect(fd, address, length);
    prep_connect(&op, fd, address, length);
    return (int)api_result(await(&op, "connect"));
}

int gring_shutdown(int fd, int how)
{
    return shutdown(fd, how); /* it does not wait, and it wakes those who do */
}

/* ---- recv ------------------------------------------------------------------------------------ */

/*
 * When the last receive emptied the socket, the next one most likely has to wait: the kernel is
 * told to wait first, which spares an attempt that would fail.
 */
static void wait_first_if_drained(struct op *op, const struct descriptor *entry)
{
    if (entry && entry->seems_drained)
        op->sqe.ioprio |= IORING_RECVSEND_POLL_FIRST;
}

ssize_t gring_recv(int fd, void *buf, size_t size, int flags)
{
    struct gring_hub *hub = hub_self();
    struct descriptor *entry;
    struct op op;
    int result;

    if (!hub)
        return recv(fd, buf, size, flags);
    entry = inflight_at(&hub->ops.inflight, fd);
    prep_recv(&op, fd, buf, size, flags);
    if (!(flags & ANSWERS_AT_ONCE))
        wait_first_if_drained(&op, entry);
    result = await(&op, "recv");
    if (LIKELY(result > 0) && entry)
        entry->seems_drained = !(op.cqe_flags & IORING_CQE_F_SOCK_NONEMPTY);
    return api_result(result);
}

/* ---- send ------------------------------------------------------------------------------------ */

static int send_some(int fd, const char *buf, size_t size, int flags)
{
    struct op op;

    prep_send(&op, fd, buf, size, flags);
    return await(&op, "send");
}

/*
 * What is left after a short send. Its end is not told: the caller has the count, and an error or
 * an interruption meets the next call.
 */
static size_t send_rest(struct opened socket, const char *buf, size_t size, int flags)
{
    struct gring_task *task = hub_self()->running;
    size_t done = 0;
    int result = 1;

    task_hold_reports(task);
    while (done < size && result > 0 && opened_still(socket)) {
        result = send_some(socket.fd, buf + done, size - done, flags);
        done += result > 0 ? (size_t)result : 0;
    }
    task_release_reports(task, false);
    return done;
}

/* MSG_WAITALL makes the kernel go on after a short send, but does not promise that it always
 * can. */
ssize_t gring_send(int fd, const void *buf, size_t size, int flags)
{
    const char *bytes = buf;
    struct opened socket;
    size_t done;
    int result;

    flags |= MSG_NOSIGNAL;
    if (!hub_self())
        return send(fd, buf, size, flags);
    if (!(flags & MSG_DONTWAIT))
        flags |= MSG_WAITALL;
    socket = opened_now(fd);
    result = send_some(fd, buf, size, flags);
    if (result <= 0 || flags & MSG_DONTWAIT)
        return api_result(result);
    done = (size_t)result;
    if (UNLIKELY(done < size))
        done += send_rest(socket, bytes + done, size - done, flags);
    return (ssize_t)done;
}
