/* greenring/io.h - files and descriptors. Drop-in: same arguments, results and errno as the
 * POSIX call of that name; only the task waits, not the thread. All are [wait], except
 * gring_close, gring_dup2, gring_dup3 and gring_close_range.
 *
 * Beyond POSIX: ECANCELED, ETIMEDOUT and what was thrown (greenring/task.h, greenring/time.h);
 * EBADF when gring_close took the descriptor away meanwhile. EINTR only by gring_throw. Short
 * counts happen as in POSIX, and when an interruption met a transfer under way.
 *
 * Any descriptor will do. O_NONBLOCK is not needed and makes no difference here: these calls wait
 * all the same. gring_write raises SIGPIPE where write(2) would. Two tasks reading one descriptor
 * both get data; which gets which is not specified. At most 0x7ffff000 bytes move in one transfer,
 * as with read(2); a size above that is cut to it before anything else is looked at.
 *
 * Of several mistakes in one call any may be the one that is reported, and a transfer of no bytes
 * is not told of all that is wrong with the descriptor.
 *
 * A descriptor that can be polled, but never does what it is asked, is waited for: a write to an
 * epoll descriptor (on Linux 6.1 also to a timerfd), a splice into a timerfd or a listening socket.
 * What a call reads itself (a message, an offset, the list of pollfds) must be memory: there a bad
 * pointer is a fault instead of EFAULT.
 *
 * The position of a file (read, write, readv, writev, and offset -1) is for one task at a time: two
 * of them at it may get the same bytes, or write over each other's. Offsets (pread, pwrite) and
 * O_APPEND are safe together. Calls on names look a directory up when the kernel begins: close
 * `dir` when they have returned. On a file, what has begun runs to its end, which an interruption
 * or gring_close awaits.
 *
 * Close a descriptor that tasks have used with gring_close: its number's history is forgotten
 * there. close(2) itself may still block where it does (SO_LINGER, network file systems). What
 * was written, synced or resized through it the kernel has let go of when the call returned, so
 * after the last close others may lock the file or execute it. What was only read, or went through
 * greenring/uring.h, it may hold a moment longer.
 *
 * Buffers may be on the stack: they are in use until the call returns, not after. On a thread
 * without a hub these are the plain system calls, but gring_close there too ends what tasks have in
 * flight. */
#ifndef GRING_IO_H
#define GRING_IO_H
#include <greenring/base.h>
#include <poll.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/uio.h>
GRING_BEGIN
struct statx;
GRING_API ssize_t gring_read(int fd, void *buf, size_t n); /* read(2) */
/* write(2): on pipes and sockets until all is written, or an interruption or error after
 * progress. */
GRING_API ssize_t gring_write(int fd, const void *buf, size_t n);
GRING_API ssize_t gring_readv(int fd, const struct iovec *iov, int n); /* readv(2) */
/* writev(2); may write less than all */
GRING_API ssize_t gring_writev(int fd, const struct iovec *iov, int n);
GRING_API ssize_t gring_pread(int fd, void *buf, size_t n, off_t off); /* pread(2) */
GRING_API ssize_t gring_pwrite(int fd, const void *buf, size_t n, off_t off);
/* preadv2(2), pwritev2(2). Offset -1: at the file position. RWF_NOWAIT is the one flag with which
 * nothing waits: EAGAIN then, at once. */
GRING_API ssize_t gring_preadv2(int fd, const struct iovec *iov, int n, off_t off, int flags);
GRING_API ssize_t gring_pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags);
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
GRING_API int gring_dup3(int from, int to, int flags); /* dup3(2): the same, with O_CLOEXEC */
/* close_range(2). Each descriptor of the range that tasks have used goes as by gring_close, one
 * after the other; what the runtime itself lives on stays. CLOSE_RANGE_CLOEXEC closes nothing,
 * now; with CLOSE_RANGE_UNSHARE it is EINVAL on a hub's thread. [park][any] */
GRING_API int gring_close_range(unsigned first, unsigned last, int flags);

/* ---- a file's bytes on the device, its size and space ---- */

GRING_API int gring_fsync(int fd); /* fsync(2) */
GRING_API int gring_fdatasync(int fd);
GRING_API int gring_sync_file_range(int fd, off_t off, off_t n, unsigned flags);
GRING_API int gring_ftruncate(int fd, off_t size); /* ftruncate(2) */
GRING_API int gring_fallocate(int fd, int mode, off_t off, off_t n);
/* posix_fadvise(2), but the error is in errno as everywhere here */
GRING_API int gring_fadvise(int fd, off_t off, off_t n, int advice);

/* ---- what a file is, and its names ---- */

/* statx(2), stat(2). With AT_EMPTY_PATH and "", not NULL, they ask about `dir` itself, as
 * fstat(2). */
GRING_API int gring_statx(int dir, const char *path, int flags, unsigned mask,
                          struct statx *status);
GRING_API int gring_stat(const char *path, struct stat *status);
GRING_API int gring_lstat(const char *path, struct stat *status);
GRING_API int gring_fstatat(int dir, const char *path, struct stat *status, int flags);
GRING_API int gring_rename(const char *from, const char *to); /* rename(2) */
GRING_API int gring_renameat2(int from_dir, const char *from, int to_dir, const char *to,
                              unsigned flags);
/* unlinkat(2), linkat(2): gring_link and gring_unlink are the tasks' (greenring/task.h) */
GRING_API int gring_unlinkat(int dir, const char *path, int flags);
GRING_API int gring_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags);
GRING_API int gring_symlinkat(const char *target, int dir, const char *path);
GRING_API int gring_mkdir(const char *path, mode_t mode);
GRING_API int gring_mkdirat(int dir, const char *path, mode_t mode);
/* getdents64(2), by a thread: an interruption that comes while it runs waits for its end. EAGAIN: no
 * thread could be made */
GRING_API ssize_t gring_getdents64(int fd, void *buf, size_t n);

/* flock(2). LOCK_UN never fails for a kill or deadline. Who waits asks again after pauses of 1 ms
 * to 64 ms: there is no queue, and a stream of shared locks can keep an exclusive one waiting.
 * EBADF: closed by gring_close meanwhile. On a network file system each try is a system call that
 * asks the server. */
GRING_API int gring_flock(int fd, int op);

/* ---- between descriptors, without a copy of ours ---- */

/* splice(2), of pipes with files and sockets. Waits until there is something, and room for it;
 * moves as much as goes at once. An offset is moved by what was transferred, also on a device that
 * has none. SPLICE_F_NONBLOCK: EAGAIN instead of waiting, also on a blocking
 * socket. Raises no SIGPIPE. */
GRING_API ssize_t gring_splice(int in, off_t *in_off, int out, off_t *out_off, size_t n,
                               unsigned flags);
/* sendfile(2); `in` is a file, or EINVAL. All n bytes, unless the file ends, or an interruption or
 * error comes after progress: then the count, and what was not sent is still in the file. Into
 * anything but a file it goes through a pipe of its own, hence EMFILE and ENFILE, and raises no
 * SIGPIPE. Into a file it is made in steps as the next one. */
GRING_API ssize_t gring_sendfile(int out, int in, off_t *off, size_t n);
/* copy_file_range(2), in steps of 16 MiB: an interruption between two of them ends it, with the
 * count if there was progress. */
GRING_API ssize_t gring_copy_file_range(int in, off_t *in_off, int out, off_t *out_off, size_t n,
                                        unsigned flags);

/* ---- readiness, for code that does its own reading -------------------------------------------
 * The other tasks run meanwhile, also if something is ready at once. Regular files are always
 * ready; an epoll descriptor is when one of its own is. A descriptor that gring_close or gring_dup2
 * takes away during the wait is POLLNVAL, for gring_select and gring_wait_fd EBADF.
 *
 * poll(2): negative descriptors are ignored, duplicates are fine, timeout_ms -1 waits for ever, 0
 * never parks and is not interrupted; n == 0 sleeps. revents are exact at the return. n may be
 * above RLIMIT_NOFILE. ENOMEM: more than a few descriptors need memory for the wait. */
GRING_API int gring_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
/* select(2), with Linux's habit of leaving in *tv the time that was not used. EINVAL also for n
 * above FD_SETSIZE, EBADF also for one with O_PATH. A descriptor that is in none but `w` or `e` and
 * has hung up, for which there is nothing to report, is not watched further in this call. */
GRING_API int gring_select(int n, fd_set *r, fd_set *w, fd_set *e, struct timeval *tv);
/* One descriptor, one answer: those of `events` that are there, and POLLERR and POLLHUP as poll(2)
 * reports them; never 0. Cheaper than gring_poll, but of the moment it became ready: another task
 * may have read since. */
GRING_API int gring_wait_fd(int fd, short events);
GRING_END
#endif
