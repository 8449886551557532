/* A descriptor as a source; see readiness.h. */
#include "api/io/readiness.h"

#include "base/check.h"
#include "base/sys.h"
#include "runtime/hub.h"
#include "uring/prep.h"

#include <limits.h>
#include <sys/epoll.h>
#include <sys/resource.h>

/* ---- the detour ------------------------------------------------------------------------------ */

/*
 * The ring's POLL_ADD is not exact. It reports POLLRDHUP to everybody, for ever: who waits for
 * room on a socket whose peer has said all it has to say would be told again and again of nothing
 * he asked for. It misses POLLPRI alone, and reports it, and the bands, with any data. epoll is
 * exact. In these cases the op watches an epoll descriptor that has ours in it; it counts as an
 * op of ours all the same, so that gring_close ends it.
 */
enum { NEEDS_EPOLL = POLLPRI | POLLRDBAND | POLLWRBAND };
enum { NO_EPOLL = -1 };

static void close_epoll(struct readiness *ready)
{
    if (ready->epoll != NO_EPOLL)
        sys_close(ready->epoll);
    ready->epoll = NO_EPOLL;
}

/* -EPERM: a file that epoll does not take. Its events never change, so the epoll descriptor stays,
 * with nothing in it that could ever come. */
static int open_epoll(struct readiness *ready, int fd)
{
    struct epoll_event event = { .events = (unsigned short)ready->events };
    int saved_errno = errno, error = 0;

    ready->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (ready->epoll < 0 || epoll_ctl(ready->epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
        error = -errno;
        if (error != -EPERM)
            close_epoll(ready);
    }
    errno = saved_errno;
    return error;
}

/* For what the ring would not be exact about. A file that epoll does not take is the ring's: what
 * it can be ready for it always is. */
static int take_detour(struct readiness *ready, int fd)
{
    int error = ready->events & NEEDS_EPOLL ? open_epoll(ready, fd) : 0;

    if (error == -EPERM)
        close_epoll(ready);
    return error == -EPERM ? 0 : error;
}

/* What it was asked for that is there, by now. */
static int look_through_epoll(const struct readiness *ready)
{
    struct epoll_event event;

    return epoll_wait(ready->epoll, &event, 1, 0) == 1 ? (int)event.events : 0;
}

/* ---- one descriptor among several sources ---------------------------------------------------- */

static void describe(struct readiness *ready, int fd)
{
    if (ready->epoll == NO_EPOLL)
        prep_poll(&ready->op, fd, (unsigned short)ready->events);
    else
        prep_poll(&ready->op, ready->epoll, POLLIN);
    ready->op.fd = fd;
}

static void came(struct op *op);

/* Exactly, from now on; the task is not woken for it. -errno: it cannot be. */
static int watch_on(struct readiness *ready)
{
    int fd = ready->op.fd, error = 0;

    if (ready->epoll == NO_EPOLL)
        error = open_epoll(ready, fd);
    if (error < 0 && error != -EPERM)
        return error;
    describe(ready, fd);
    ready->op.owner = &ready->waiting;
    ready->op.on_done = came;
    /* were the descriptor being closed, this op had been asked to end */
    CHECK(ops_submit(&hub_self()->ops, &ready->op) == 0);
    return 0;
}

static int events_there(const struct readiness *ready)
{
    int asked = (unsigned short)ready->events | POLLERR | POLLHUP | POLLNVAL;

    return ready->epoll == NO_EPOLL ? ready->op.result & asked : look_through_epoll(ready);
}

/* The ring's word for a file that is not ready and has no way to become so. */
static bool never_comes(const struct readiness *ready)
{
    return ready->op.result == -EINVAL && ready->epoll == NO_EPOLL;
}

/* Done, or nothing of what was asked for and watched on. */
static void came(struct op *op)
{
    struct readiness *ready = CONTAINER_OF(op, struct readiness, op);

    if ((op->result > 0 || never_comes(ready)) && ready->error == 0) {
        op->result = never_comes(ready) ? 0 : events_there(ready);
        if (op->result == 0 && op->closed)
            op->result = -EBADF; /* asked to end in the moment in which it came */
        else if (op->result == 0 && !op->cancel_asked) {
            ready->error = watch_on(ready);
            if (ready->error == 0)
                return;
        }
    }
    close_epoll(ready);
    op_source_done(op);
}

void readiness_enlist(struct wait *wait, struct readiness *ready, int fd, short events)
{
    ready->events = events;
    ready->epoll = NO_EPOLL;
    ready->error = take_detour(ready, fd);
    describe(ready, fd);
    if (ready->error == 0)
        ready->error = op_source_enlist(wait, &ready->waiting, &ready->op);
    if (UNLIKELY(ready->error < 0)) {
        /* One kind of end for all: this, too, is an op that completes. */
        prep_nop(&ready->op);
        CHECK(op_source_enlist(wait, &ready->waiting, &ready->op) == 0);
    }
    ready->op.on_done = came;
}

int readiness_answer(const struct readiness *ready)
{
    CHECK(ready->op.state == OP_DONE);
    if (ready->error < 0)
        return ready->error;
    return op_was_cancelled(&ready->op) ? 0 : ready->op.result;
}

/* ---- all of them, now ------------------------------------------------------------------------ */

/* What poll(2) takes in one call. */
static nfds_t piece_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > INT_MAX)
        return INT_MAX;
    return limit.rlim_cur ? (nfds_t)limit.rlim_cur : 1;
}

/* A signal's handler may run also in a call that does not wait, if it finds nothing. */
static int poll_now(struct pollfd *fds, nfds_t count)
{
    int result;

    do
        result = poll(fds, count, 0);
    while (result < 0 && errno == EINTR);
    return result;
}

static int poll_in_pieces(struct pollfd *fds, nfds_t count)
{
    nfds_t limit = piece_limit(), size;
    int total = 0, result;

    for (nfds_t first = 0; first < count; first += size) {
        size = count - first < limit ? count - first : limit;
        result = poll_now(fds + first, size);
        if (result < 0)
            return -errno;
        total += result;
    }
    return total;
}

int readiness_now(struct pollfd *fds, nfds_t count)
{
    int saved_errno = errno;
    int result = poll_now(fds, count);

    if (result < 0)
        result = errno == EINVAL ? poll_in_pieces(fds, count) : -errno;
    errno = saved_errno;
    return result;
}
