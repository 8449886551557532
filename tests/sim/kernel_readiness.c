/*
 * What a descriptor is ready for, in the three ways of asking: POLL_ADD, which is not exact, poll(2)
 * without waiting, and epoll, of which there is what readiness.c uses: one descriptor in each.
 */
#include "tests/sim/kernel.h"
#include "tests/sim/wrap.h"

#include <sys/epoll.h>

enum { ALWAYS = POLLERR | POLLHUP };

static unsigned poll_events(const struct object *object)
{
    unsigned events = object_events(object);

    if (events & POLLIN)
        events |= POLLRDNORM;
    if (events & POLLOUT)
        events |= POLLWRNORM;
    return events;
}

/* As the ring asks: for POLLRDHUP, too, whether the caller wants to know of it or not. */
unsigned poll_asked(const struct io_request *request)
{
    return request->sqe.poll32_events | ALWAYS | POLLRDHUP;
}

int attempt_poll(struct io_request *request)
{
    unsigned now = poll_events(request->object) & poll_asked(request);

    if (!now && request->object->kind == REGULAR_FILE)
        return -EINVAL; /* it has no queue to wait in */
    return now ? (int)now : WOULD_BLOCK;
}

/* ---- poll(2) --------------------------------------------------------------------------------- */

static short events_now(int fd, short asked)
{
    const struct object *object = descriptor_object(fd);

    if (fd < 0)
        return 0;
    return (short)(object ? poll_events(object) & ((unsigned short)asked | ALWAYS) : POLLNVAL);
}

short sim_events(int fd)
{
    return events_now(fd, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM | POLLRDHUP);
}

/* A signal's handler may run also in a poll(2) that does not wait, if it finds nothing. */
WRAP(int, poll, struct pollfd *fds, nfds_t count, int timeout)
{
    int ready = 0;

    if (timeout != 0)
        sim_fail("poll(2) with a timeout of %d ms would block the hub", timeout);
    for (nfds_t index = 0; index < count; index++) {
        fds[index].revents = events_now(fds[index].fd, fds[index].events);
        ready += fds[index].revents != 0;
    }
    return answer(!ready && sim_chance(world.mood.spurious_eintr) ? -EINTR : ready);
}

/* ---- epoll ----------------------------------------------------------------------------------- */

unsigned epoll_events(const struct object *epoll)
{
    unsigned asked = epoll->watched_events | ALWAYS;

    return epoll->watched && poll_events(epoll->watched) & asked ? POLLIN : 0;
}

static void unwatch(struct object *epoll)
{
    if (epoll->watched)
        list_unlink(&epoll->watch_link);
    epoll->watched = NULL;
}

/* The one that watches, or the ones that are watched. */
void epoll_release(struct object *object)
{
    if (object->kind == EPOLL)
        unwatch(object);
    while (!list_empty(&object->watchers))
        unwatch(CONTAINER_OF(object->watchers.next, struct object, watch_link));
}

void epoll_changed(const struct object *watched)
{
    struct list *link = watched->watchers.next;

    for (; link != &watched->watchers; link = link->next)
        object_changed(CONTAINER_OF(link, struct object, watch_link));
}

static int watch(struct object *epoll, struct object *object, unsigned events)
{
    if (!epoll || !object)
        return -EBADF;
    if (object->kind == REGULAR_FILE)
        return -EPERM;
    if (memory_fails())
        return -ENOMEM;
    sometimes(EPOLL_WAS_NEEDED);
    epoll->watched = object;
    epoll->watched_events = events;
    list_push_back(&object->watchers, &epoll->watch_link);
    return 0;
}

WRAP(int, epoll_create1, int flags)
{
    (void)flags;
    return answer(descriptor_new(object_new(EPOLL)));
}

WRAP(int, epoll_ctl, int fd, int operation, int other, struct epoll_event *event)
{
    if (operation != EPOLL_CTL_ADD)
        sim_fail("epoll_ctl(2) with operation %d is not simulated", operation);
    return answer(watch(descriptor_object(fd), descriptor_object(other), event->events));
}

WRAP(int, epoll_wait, int fd, struct epoll_event *events, int count, int timeout)
{
    const struct object *epoll = descriptor_object(fd);

    if (timeout != 0 || count < 1)
        sim_fail("epoll_wait(2) that waits is not simulated");
    if (!epoll)
        return answer(-EBADF);
    if (!epoll_events(epoll))
        return 0;
    events[0].events = poll_events(epoll->watched) & (epoll->watched_events | ALWAYS);
    return 1;
}
