/* greenring/io.h - files and descriptors. Drop-in: same arguments, results and errno as the
 * POSIX call of that name; only the task waits, not the thread. All are [wait], except
 * gring_close and gring_dup2.
 *
 * Beyond POSIX: ECANCELED, ETIMEDOUT and what was thrown (greenring/task.h, greenring/time.h); EBADF
 * when gring_close took the descriptor away meanwhile. EINTR only by gring_throw. Short counts
 * happen as in POSIX, and when an interruption met a transfer under way.
 * Any descriptor will do. O_NONBLOCK is not needed and makes no difference here: these calls
 * wait all the same. gring_write raises SIGPIPE where write(2) would. Two tasks reading one
 * descriptor both get data; which gets which is not specified. At most 0x7ffff000 bytes move in
 * one transfer, as with read(2).
 * Close a descriptor that tasks have used with gring_close: its number's history is forgotten
 * there. close(2) itself may still block where it does (SO_LINGER, network file systems).
 * Buffers may be on the stack: they are in use until the call returns, not after.
 * On a thread without a hub these are the plain system calls, but gring_close there too ends
 * what tasks have in flight. */
#ifndef GRING_IO_H
#define GRING_IO_H
#include <greenring/base.h>
#include <sys/uio.h>
GRING_BEGIN
GRING_API ssize_t gring_read(int fd, void *buf, size_t n); /* read(2) */
/* write(2): on pipes and sockets until all is written, or an interruption or error after
 * progress. */
GRING_API ssize_t gring_write(int fd, const void *buf, size_t n);
GRING_API ssize_t gring_readv(int fd, const struct iovec *iov, int n); /* readv(2) */
/* writev(2); may write less than all */
GRING_API ssize_t gring_writev(int fd, const struct iovec *iov, int n);
GRING_API ssize_t gring_pread(int fd, void *buf, size_t n, off_t off); /* pread(2) */
GRING_API ssize_t gring_pwrite(int fd, const void *buf, size_t n, off_t off);
/* All n bytes: n; less at end of file; -1 with *done (may be NULL) bytes moved. write_full
 * raises no SIGPIPE on sockets (they are written with MSG_NOSIGNAL), nor elsewhere where the
 * kernel has RWF_NOSIGNAL (Linux 6.18). */
GRING_API ssize_t gring_read_full(int fd, void *buf, size_t n, size_t *done);
GRING_API ssize_t gring_write_full(int fd, const void *buf, size_t n, size_t *done);

/* open(2); O_CREAT and O_TMPFILE take a mode */
GRING_API int gring_open(const char *path, int flags, ...);
GRING_API int gring_openat(int dir, const char *path, int flags, ...);
/* close(2). Operations that tasks have in flight on fd fail with EBADF and are awaited before
 * the descriptor goes. One that completed meanwhile returns its result. [park][any] */
GRING_API int gring_close(int fd);
/* dup2(2). What is in flight on `to` ends as by gring_close. A plain dup2(2) would leave it waiting
 * on the former file. [park][any] */
GRING_API int gring_dup2(int from, int to);
GRING_API int gring_fsync(int fd); /* fsync(2) */
GRING_END
#endif
