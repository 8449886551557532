/*
 * One prep per operation: describes the op, touches nothing else.
 *
 * Each sets every field of the op but on_done and owner, which are zero until await sets them.
 * Pointers are the caller's and are the kernel's from submit to done. Offset -1 means "at the
 * file position, and move it", which is also right for streams.
 */
#ifndef GRING_URING_PREP_H
#define GRING_URING_PREP_H

#include "uring/op.h"

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

void prep_read(struct op *op, int fd, void *buf, size_t size, off_t offset);
void prep_write(struct op *op, int fd, const void *buf, size_t size, off_t offset);
/* flags: RWF_*, see preadv2(2). */
void prep_readv(struct op *op, int fd, const struct iovec *iov, int count, off_t offset, int flags);
void prep_writev(struct op *op, int fd, const struct iovec *iov, int count, off_t offset,
                 int flags);
void prep_openat(struct op *op, int dir, const char *path, int flags, mode_t mode);
void prep_fsync(struct op *op, int fd, unsigned flags);
void prep_recv(struct op *op, int fd, void *buf, size_t size, int flags);
void prep_send(struct op *op, int fd, const void *buf, size_t size, int flags);
void prep_accept(struct op *op, int fd, struct sockaddr *address, socklen_t *length, int flags);
/* events, and the result: as poll(2). */
void prep_poll(struct op *op, int fd, unsigned events);
void prep_connect(struct op *op, int fd, const struct sockaddr *address, socklen_t length);
/* Completes in the same turn, with 0. */
void prep_nop(struct op *op);

#endif
