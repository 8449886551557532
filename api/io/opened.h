/*
 * A descriptor as a call of several steps knows it: its number, and which file that was when the
 * call began. Others run between two steps and may close it; then its number may be another file's,
 * which the call must not touch.
 */
#ifndef GRING_API_IO_OPENED_H
#define GRING_API_IO_OPENED_H

#include "runtime/hub.h"

#include <stdbool.h>
#include <stdint.h>

struct opened {
    int fd;
    uint16_t close_count;
};

static inline uint16_t opened_close_count(int fd)
{
    const struct gring_hub *hub = hub_self();

    return hub ? inflight_close_count(&hub->ops.inflight, fd) : 0; /* a plain thread's own affair */
}

static inline struct opened opened_now(int fd)
{
    return (struct opened){ .fd = fd, .close_count = opened_close_count(fd) };
}

static inline bool opened_still(struct opened opened)
{
    return opened_close_count(opened.fd) == opened.close_count;
}

#endif
