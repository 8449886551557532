/* The wait behind gring_poll and gring_select. */
#ifndef GRING_API_IO_POLL_H
#define GRING_API_IO_POLL_H

#include "base/clock.h"

#include <poll.h>

/* poll(2) for a task, until an instant or CLOCK_FOREVER: how many have revents, 0 at the instant,
 * or -errno. Other tasks run meanwhile, also if some are ready at once. */
int poll_until(struct pollfd *fds, nfds_t count, gring_ns until);

#endif
