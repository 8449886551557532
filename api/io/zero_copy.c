/* gring_send_zc: sends from the caller's memory itself, and waits until the kernel has let go of
 * it. What cannot be sent so is sent as by gring_send. */
#include "api/io/await.h"
#include "api/io/opened.h"
#include "api/result.h"
#include "runtime/runtime.h"

#include <greenring/net.h>
#include <greenring/uring.h>

static bool kernel_can(void)
{
    return !feature_denied(FEATURE_SEND_ZC) && probe_opcode(IORING_OP_SEND_ZC);
}

/* EOPNOTSUPP: not on this kind of socket; ENOMEM: RLIMIT_MEMLOCK, against which the pages count;
 * EINTR, and EAGAIN unasked: an attempt that ended with a notification, which the op layer does not
 * ask again as it is. */
static bool needs_a_copy(int result, int flags)
{
    return result == -EOPNOTSUPP || result == -ENOMEM || result == -EINTR ||
           (result == -EAGAIN && !(flags & MSG_DONTWAIT));
}

static int send_some(int fd, const char *buf, size_t size, int flags)
{
    struct op op;

    prep_send_zc(&op, fd, buf, size, flags);
    return await(&op, "send_zc");
}

/* The rest, copied; progress is never lost. */
static ssize_t send_rest(int fd, const char *buf, size_t size, int flags, size_t done)
{
    int saved_errno = errno;
    ssize_t result = gring_send(fd, buf + done, size - done, flags & ~MSG_WAITALL);

    if (result < 0 && done == 0)
        return -errno;
    errno = saved_errno;
    return (ssize_t)done + (result > 0 ? result : 0);
}

/* After each part the socket may have been closed, and its number given out again. */
static ssize_t send_all(int fd, const char *buf, size_t size, int flags)
{
    struct opened socket = opened_now(fd);
    size_t done = 0;
    int result;

    do {
        result = send_some(fd, buf + done, size - done, flags);
        if (!opened_still(socket))
            return done || result > 0 ? (ssize_t)done + (result > 0 ? result : 0) : -EBADF;
        if (needs_a_copy(result, flags))
            return send_rest(fd, buf, size, flags, done);
        if (result < 0)
            return done ? (ssize_t)done : result;
        done += (size_t)result;
    } while (result > 0 && done < size && !(flags & MSG_DONTWAIT));
    return (ssize_t)done;
}

ssize_t gring_send_zc(int fd, const void *buf, size_t size, int flags)
{
    struct gring_task *task;
    ssize_t result;

    if (!hub_self())
        return api_result(runtime_no_hub());
    task = hub_self()->running;
    if (!kernel_can() || !task) /* in a callback: that says what is wrong */
        return gring_send(fd, buf, size, flags);
    task_hold_reports(task); /* an interruption after progress waits for the next call */
    result =
        send_all(fd, buf, size, flags | MSG_NOSIGNAL | (flags & MSG_DONTWAIT ? 0 : MSG_WAITALL));
    task_release_reports(task, result < 0);
    return api_result(result);
}
