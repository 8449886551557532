/*
 * Readiness: a descriptor as one source of a wait among others, for code that does its reading and
 * writing itself.
 *
 *     struct readiness ready[COUNT];
 *     struct wait wait;
 *
 *     error = wait_begin(&wait, "poll", -1);               a pending kill: begin nothing
 *     for each: readiness_enlist(&wait, &ready[i], fd, events);   and other sources, in any order
 *     wait_park(&wait);                                     the first reason withdraws the others
 *     for each: readiness_answer(&ready[i])                 several may have become ready together
 *     if none: wait_outcome(&wait)                          else the interruption waits
 *
 * From enlist until wait_park has returned the memory is the kernel's: on the parked task's
 * stack, or allocated. It needs no initialisation. The same descriptor may be enlisted several
 * times, in one wait and in many.
 *
 * Nothing is consumed, so nothing is lost when a source is withdrawn: a descriptor that is ready
 * stays ready. An answer is of the moment of its completion; another task may have read since.
 * Who must be exact asks readiness_now once more before it acts.
 */
#ifndef GRING_API_IO_READINESS_H
#define GRING_API_IO_READINESS_H

#include "api/io/op_source.h"

#include <poll.h>

struct readiness {
    struct op_source waiting;
    struct op op;
    short events;
    int epoll; /* the detour that some waits need, or -1 */
    int error; /* why it cannot be watched: -errno */
};

/*
 * Waits for one of the events of poll(2), POLLERR and POLLHUP included. A regular file is ready at
 * once, an epoll descriptor when one of its own is.
 *
 * It does not fail: a descriptor that is none, or is being closed, ends the wait in the same turn,
 * and the answer says so. gring_close ends it like any operation in flight.
 */
void readiness_enlist(struct wait *wait, struct readiness *ready, int fd, short events);

/* After wait_park. The events that are there, > 0; 0: withdrawn before there were any; -EBADF; or
 * what the kernel said, such as -ENOMEM, or -EMFILE for the few that need an epoll descriptor of
 * their own: POLLPRI, and sockets whose peer has shut down. */
int readiness_answer(const struct readiness *ready);

/*
 * The state of all of them at this moment, without waiting: poll(2) with a timeout of zero, which
 * fills every revents; but any count will do, also above RLIMIT_NOFILE, and the global errno is
 * left alone. How many have revents, or -errno.
 */
int readiness_now(struct pollfd *fds, nfds_t count);

#endif
