/*
 * poll(2) for tasks, and the wait for one descriptor.
 *
 * A wait for n descriptors is n operations as n sources of one wait, and the instant as one more.
 * They only say when to look: what is returned is what a real poll(2) without waiting then finds,
 * so that revents are exact, and so that data another task has taken meanwhile is not reported.
 */
#include "api/io/poll.h"

#include "api/io/opened.h"
#include "api/io/readiness.h"
#include "api/result.h"
#include "runtime/time_source.h"

#include <greenring/io.h>
#include <stdlib.h>

enum { FEW = 8 }; /* descriptors whose sources lie on the stack; above it, memory is allocated */

/* One of the call's descriptors, and which file it was when the call began: others run before we
 * look, and between two waits, and may close it; its number may be another file's by then. */
struct watched {
    struct readiness ready;
    struct opened file; /* the caller's number may change while we wait */
};

static void remember(struct watched *watched, const struct pollfd *fds, nfds_t count)
{
    for (nfds_t index = 0; index < count; index++) {
        watched[index].file = opened_now(fds[index].fd);
        watched[index].ready.op.state = OP_IDLE;
    }
}

static bool is_awaited(const struct watched *watched)
{
    return watched->ready.op.state != OP_IDLE;
}

static void watch(struct wait *wait, struct watched *watched, const struct pollfd *fd)
{
    if (watched->file.fd >= 0) /* poll(2) ignores the others */
        readiness_enlist(wait, &watched->ready, watched->file.fd, fd->events);
}

/* gring_close took it away, or is about to. */
static bool is_gone(const struct watched *watched)
{
    if (!opened_still(watched->file))
        return true;
    return is_awaited(watched) && readiness_answer(&watched->ready) == -EBADF;
}

/* Whatever poll(2) says of those that are gone. How many more have revents. */
static int note_gone(struct pollfd *fds, const struct watched *watched, nfds_t count)
{
    int more = 0;

    for (nfds_t index = 0; index < count; index++) {
        if (!is_gone(&watched[index]))
            continue;
        more += fds[index].revents == 0;
        fds[index].revents = POLLNVAL;
    }
    return more;
}

static int look(struct pollfd *fds, const struct watched *watched, nfds_t count)
{
    int result = readiness_now(fds, count);

    return result < 0 ? result : result + note_gone(fds, watched, count);
}

/* What made a wait fail in the kernel, such as -ENOMEM; 0: nothing did. */
static int failure_of(const struct watched *watched, nfds_t count)
{
    for (nfds_t index = 0; index < count; index++)
        if (is_awaited(&watched[index]) && readiness_answer(&watched[index].ready) < 0)
            return readiness_answer(&watched[index].ready);
    return 0;
}

/* -EAGAIN: something was ready, and is not any more. An interruption waits for the next call if
 * there is something to return. */
static int wait_once(struct pollfd *fds, struct watched *watched, nfds_t count, gring_ns until)
{
    struct time_source instant;
    struct wait wait;
    int result = wait_begin(&wait, "poll", count == 1 ? fds[0].fd : -1);

    if (result < 0)
        return result;
    for (nfds_t index = 0; index < count; index++)
        watch(&wait, &watched[index], &fds[index]);
    time_source_enlist(&wait, &instant, until);
    wait_park(&wait);
    result = look(fds, watched, count);
    if (result == 0)
        result = wait_outcome(&wait);
    if (result == 0)
        result = failure_of(watched, count);
    return result == 0 && wait.winner != &instant.source ? -EAGAIN : result;
}

/* Nobody who polls what is always ready keeps the hub to himself. */
static int give_way_and_look(struct pollfd *fds, const struct watched *watched, nfds_t count)
{
    struct wait wait;
    int error = wait_begin(&wait, "poll", -1);

    if (error < 0)
        return error;
    hub_yield(wait.task);
    return look(fds, watched, count);
}

static int poll_watched(struct pollfd *fds, struct watched *watched, nfds_t count, gring_ns until)
{
    int result;

    remember(watched, fds, count);
    result = give_way_and_look(fds, watched, count);
    if (result != 0)
        return result;
    do
        result = wait_once(fds, watched, count, until);
    while (result == -EAGAIN);
    return result;
}

int poll_until(struct pollfd *fds, nfds_t count, gring_ns until)
{
    struct watched few[FEW], *many;
    int result;

    if (!fds && count)
        return -EFAULT; /* as poll(2), which looks at them later than we do */
    if (count <= FEW)
        return poll_watched(fds, few, count, until);
    many = malloc(count * sizeof *many);
    if (!many)
        return -ENOMEM;
    result = poll_watched(fds, many, count, until);
    free(many);
    return result;
}

/* ---- the calls ------------------------------------------------------------------------------- */

int gring_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    gring_ns until = CLOCK_FOREVER;

    if (!hub_self())
        return poll(fds, count, timeout_ms);
    if (timeout_ms == 0)
        return (int)api_result(readiness_now(fds, count));
    if (timeout_ms > 0)
        until = clock_after(hub_read_clock(hub_self()), timeout_ms * CLOCK_MILLISECOND);
    return (int)api_result(poll_until(fds, count, until));
}

static int block_for(int fd, short events)
{
    struct pollfd one = { .fd = fd, .events = events };

    if (fd >= 0 && poll(&one, 1, -1) < 0)
        return -errno;
    return fd < 0 || one.revents & POLLNVAL ? -EBADF : one.revents;
}

static int wait_for(int fd, short events)
{
    struct readiness ready;
    struct wait wait;
    int result = wait_begin(&wait, "wait_fd", fd);

    if (result < 0)
        return result;
    readiness_enlist(&wait, &ready, fd, events);
    wait_park(&wait);
    result = readiness_answer(&ready);
    return result != 0 ? result : wait_outcome(&wait);
}

int gring_wait_fd(int fd, short events)
{
    return (int)api_result(hub_self() ? wait_for(fd, events) : block_for(fd, events));
}
