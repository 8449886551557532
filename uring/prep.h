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
void prep_fsync(struct op *op, int fd, unsigned flags);
/* size: 32 bits are all that these two have room for. */
void prep_sync_file_range(struct op *op, int fd, off_t offset, uint32_t size, unsigned flags);
void prep_fadvise(struct op *op, int fd, off_t offset, uint32_t size, int advice);
void prep_fallocate(struct op *op, int fd, int mode, off_t offset, off_t size);
/* size: not negative, the kernel does not look. FEATURE_FTRUNCATE. */
void prep_ftruncate(struct op *op, int fd, off_t size);
/* The op is out_fd's. An offset of -1 means none, as a NULL of splice(2). */
void prep_splice(struct op *op, int in_fd, off_t in_offset, int out_fd, off_t out_offset,
                 uint32_t size, unsigned flags);
/* Receives with MSG_ERRQUEUE or MSG_OOB do not wait, as with recv(2). */
void prep_recv(struct op *op, int fd, void *buf, size_t size, int flags);
void prep_send(struct op *op, int fd, const void *buf, size_t size, int flags);
void prep_recvmsg(struct op *op, int fd, struct msghdr *message, int flags);
void prep_sendmsg(struct op *op, int fd, const struct msghdr *message, int flags);
void prep_send_zc(struct op *op, int fd, const void *buf, size_t size, int flags);
/* Into a buffer of this group, chosen when there is data; all of it. */
void prep_recv_chosen(struct op *op, int fd, uint16_t group, int flags);
void prep_accept(struct op *op, int fd, struct sockaddr *address, socklen_t *length, int flags);
/* events, and the result: as poll(2). */
void prep_poll(struct op *op, int fd, unsigned events);
void prep_connect(struct op *op, int fd, const struct sockaddr *address, socklen_t length);
/* Completes in the same turn, with 0. */
void prep_nop(struct op *op);

/* By name. A directory is looked up by its number when the kernel begins, so these are no
 * descriptor's: closing it meanwhile is the race that it is between threads. */
struct statx;
void prep_openat(struct op *op, int dir, const char *path, int flags, mode_t mode);
void prep_statx(struct op *op, int dir, const char *path, int flags, unsigned mask,
                struct statx *status);
void prep_renameat(struct op *op, int from_dir, const char *from, int to_dir, const char *to,
                   unsigned flags);
void prep_unlinkat(struct op *op, int dir, const char *path, int flags);
void prep_mkdirat(struct op *op, int dir, const char *path, mode_t mode);
void prep_linkat(struct op *op, int from_dir, const char *from, int to_dir, const char *to,
                 int flags);
void prep_symlinkat(struct op *op, const char *target, int dir, const char *path);

#endif
