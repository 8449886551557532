/*
 * File positions: who has one, and setting right what the ring leaves behind.
 *
 * All of them leave errno alone and are called on a hub's thread.
 */
#ifndef GRING_API_IO_POSITION_H
#define GRING_API_IO_POSITION_H

#include "api/io/opened.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* May a call at this offset begin? POSIX has no positions on pipes and sockets; the ring would
 * ignore the offset there. 0, -EINVAL, -ESPIPE. */
int position_check(int fd, off_t offset);

/* Where the next read or write begins; -errno: fd has no position. */
off_t position_of(int fd);

/*
 * A short write at the position (no space, a size limit) may leave it where it was: on Linux 6.18
 * the ring's WRITE does. before: as of position_of; appended: the bytes went to the end, whatever
 * the position was. file: as it was before the write; of another one that has its number the
 * position is left alone.
 */
void position_repair(struct opened file, off_t before, int written, size_t size, bool appended);

#endif
