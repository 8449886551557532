/*
 * poll(2) for tasks, and the wait for one descriptor.
 *
 * A wait for n descriptors is n operations as n sources of one wait, and the instant as one more.
 * They only say when to look: what is returned is what a real poll(2) without waiting then finds,
 * so that revents are exact, and so that data another task has taken meanwhile is not reported.
 */
#include "api/io/poll.h"

#include "api/io/readiness.h"
#include "api/result.h"
#include "runtime/time_source.h"

#include <greenring/io.h>
#include <stdlib.h>

enum { FEW = 8 }; /* descriptors whose sources lie on the stack; above it, memory is allocated */

static bool is_watched(const struct readiness *ready)
{
    return ready->op.state != OP_IDLE;
}

/* fds are the caller's and may change while we wait: who is watched is remembered here. */
static void watch(struct wait *wait, struct readiness *ready, const struct pollfd *fd)
{
    if (fd->fd >= 0)
        readiness_enlist(wait, ready, fd->fd, fd->events);
    else
        ready->op.state = OP_IDLE; /* poll(2) ignores it */
}

/* Descriptors that gring_close took away: their numbers may be other files' by now, whatever
 * poll(2) says. How many more have revents. */
static int note_gone(struct pollfd *fds, const struct readiness *ready, nfds_t count)
{
    int more = 0;

    for (nfds_t index = 0; index < count; index++) {
        if (!is_watched(&ready[index]) || readiness_answer(&ready[index]) != -EBADF)
            continue;
        more += fds[index].revents == 0;
        fds[index].revents = POLLNVAL;
    }
    return more;
}

/* What made a wait fail in the kernel, such as -ENOMEM; 0: nothing did. */
static int failure_of(const struct readiness *ready, nfds_t count)
{
    for (nfds_t index = 0; index < count; index++)
        if (is_watched(&ready[index]) && readiness_answer(&ready[index]) < 0)
            return readiness_answer(&ready[index]);
    return 0;
}

/* -EAGAIN: something was ready, and is not any more. An interruption waits for the next call if
 * there is something to return. */
static int wait_once(struct pollfd *fds, struct readiness *ready, nfds_t count, gring_ns until)
{
    struct time_source instant;
    struct wait wait;
    int result = wait_begin(&wait, "poll", count == 1 ? fds[0].fd : -1);

    if (result < 0)
        return result;
    for (nfds_t index = 0; index < count; index++)
        watch(&wait, &ready[index], &fds[index]);
    time_source_enlist(&wait, &instant, until);
    wait_park(&wait);
    result = readiness_now(fds, count);
    if (result >= 0)
        result += note_gone(fds, ready, count);
    if (result == 0)
        result = wait_outcome(&wait);
    if (result == 0)
        result = failure_of(ready, count);
    return result == 0 && wait.winner != &instant.source ? -EAGAIN : result;
}

/* Nobody who polls what is always ready keeps the hub to himself. */
static int give_way_and_look(struct pollfd *fds, nfds_t count)
{
    struct wait wait;
    int error = wait_begin(&wait, "poll", -1);

    if (error < 0)
        return error;
    hub_yield(wait.task);
    return readiness_now(fds, count);
}

int poll_until(struct pollfd *fds, nfds_t count, gring_ns until)
{
    struct readiness few[FEW], *ready = few;
    int result = give_way_and_look(fds, count);

    if (result != 0)
        return result;
    if (count > FEW)
        ready = malloc(count * sizeof *ready);
    if (!ready)
        return -ENOMEM;
    do
        result = wait_once(fds, ready, count, until);
    while (result == -EAGAIN);
    if (ready != few)
        free(ready);
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
