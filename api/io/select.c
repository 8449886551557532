/*
 * select(2) for tasks: the sets as a list for poll, and its answers as sets.
 *
 * What is asked for and what an answer means is Linux's own table, so the sets come out as
 * select(2) would fill them.
 */
#include "api/io/poll.h"
#include "api/result.h"
#include "runtime/hub.h"

#include <errno.h>
#include <greenring/io.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { SETS = 3, FEW = 8 };

static const struct {
    short events; /* what is asked for; POLLERR and POLLHUP come unasked, the bands not alone */
    short means;  /* what puts the descriptor in the set */
} kinds[SETS] = {
    { POLLIN | POLLRDNORM, POLLIN | POLLRDNORM | POLLHUP | POLLERR },
    { POLLOUT | POLLWRNORM, POLLOUT | POLLWRNORM | POLLERR },
    { POLLPRI, POLLPRI },
};

/* One select: the caller's sets, any of them NULL, and what is watched for them. */
struct selection {
    fd_set *sets[SETS];
    int limit; /* descriptors below it count */
    nfds_t count;
    struct pollfd *fds;
};

/* ---- sets to list ---------------------------------------------------------------------------- */

static short events_of(const struct selection *selection, int fd)
{
    short events = 0;

    for (int kind = 0; kind < SETS; kind++)
        if (selection->sets[kind] && FD_ISSET(fd, selection->sets[kind]))
            events |= kinds[kind].events;
    return events;
}

static nfds_t count_watched(const struct selection *selection)
{
    nfds_t count = 0;

    for (int fd = 0; fd < selection->limit; fd++)
        count += events_of(selection, fd) != 0;
    return count;
}

static void list_watched(struct selection *selection)
{
    struct pollfd *next = selection->fds;

    for (int fd = 0; fd < selection->limit; fd++)
        if (events_of(selection, fd))
            *next++ = (struct pollfd){ .fd = fd, .events = events_of(selection, fd) };
}

/* ---- answers to sets ------------------------------------------------------------------------- */

static bool belongs(const struct pollfd *answer, int kind)
{
    return answer->events & kinds[kind].events && answer->revents & kinds[kind].means;
}

/* How many memberships the answers mean, or -EBADF. A descriptor that has only hung up, which does
 * not count for the sets it is in, and would not let us wait for the others, is watched no more. */
static int count_members(struct selection *selection)
{
    int total = 0, members;

    for (nfds_t index = 0; index < selection->count; index++) {
        struct pollfd *answer = &selection->fds[index];

        if (answer->revents & POLLNVAL)
            return -EBADF;
        members = belongs(answer, 0) + belongs(answer, 1) + belongs(answer, 2);
        if (answer->revents && !members)
            answer->fd = -1;
        total += members;
    }
    return total;
}

/* As select(2): whole words, up to the one that the limit is in. */
static void clear_sets(const struct selection *selection)
{
    size_t bits = sizeof(long) * CHAR_BIT;
    size_t bytes = ((size_t)selection->limit + bits - 1) / bits * sizeof(long);

    for (int kind = 0; kind < SETS; kind++)
        if (selection->sets[kind])
            memset(selection->sets[kind], 0, bytes);
}

static void fill_sets(const struct selection *selection)
{
    clear_sets(selection);
    for (nfds_t index = 0; index < selection->count; index++)
        for (int kind = 0; kind < SETS; kind++)
            if (belongs(&selection->fds[index], kind))
                FD_SET(selection->fds[index].fd, selection->sets[kind]);
}

static int select_until(struct selection *selection, gring_ns until)
{
    int result, members;

    do {
        result = poll_until(selection->fds, selection->count, until);
        members = result > 0 ? count_members(selection) : result;
    } while (result > 0 && members == 0);
    if (members >= 0)
        fill_sets(selection);
    return members;
}

/* ---- time ------------------------------------------------------------------------------------ */

enum { MICROSECONDS = 1000000 };

static gring_ns duration_of(const struct timeval *time)
{
    time_t most = CLOCK_FOREVER / CLOCK_SECOND / 2;

    if (!time || time->tv_sec >= most || time->tv_usec / MICROSECONDS >= most)
        return CLOCK_FOREVER;
    return (time->tv_sec + time->tv_usec / MICROSECONDS) * CLOCK_SECOND +
           time->tv_usec % MICROSECONDS * 1000;
}

/* What is left, as Linux tells it. */
static void tell_left(struct timeval *time, gring_ns until)
{
    gring_ns now = hub_read_clock(hub_self());
    gring_ns left = until > now ? until - now : 0;

    time->tv_sec = left / CLOCK_SECOND;
    time->tv_usec = left % CLOCK_SECOND / 1000;
}

/* ---- the call -------------------------------------------------------------------------------- */

static int select_green(struct selection *selection, struct timeval *time)
{
    gring_ns until = clock_after(hub_read_clock(hub_self()), duration_of(time));
    struct pollfd few[FEW];
    int result;

    selection->count = count_watched(selection);
    selection->fds = selection->count > FEW ? malloc(selection->count * sizeof few[0]) : few;
    if (!selection->fds)
        return -ENOMEM;
    list_watched(selection);
    result = select_until(selection, until);
    if (selection->fds != few)
        free(selection->fds);
    if (time)
        tell_left(time, until);
    return result;
}

/* Without waiting; a signal's handler may run all the same. */
static int select_now(int limit, fd_set *reads, fd_set *writes, fd_set *exceptions,
                      struct timeval *time)
{
    int saved_errno = errno, result;

    do
        result = select(limit, reads, writes, exceptions, time);
    while (result < 0 && errno == EINTR);
    if (result >= 0)
        errno = saved_errno;
    return result;
}

int gring_select(int limit, fd_set *reads, fd_set *writes, fd_set *exceptions, struct timeval *time)
{
    struct selection selection = { .sets = { reads, writes, exceptions }, .limit = limit };

    if (!hub_self())
        return select(limit, reads, writes, exceptions, time);
    if (time && time->tv_sec == 0 && time->tv_usec == 0)
        return select_now(limit, reads, writes, exceptions, time);
    if (limit < 0 || limit > FD_SETSIZE || (time && (time->tv_sec < 0 || time->tv_usec < 0)))
        return (int)api_result(-EINVAL);
    return (int)api_result(select_green(&selection, time));
}
