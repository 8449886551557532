/* greenring/uring.h - the ring itself, for what the POSIX shapes cannot express: any operation of
 * io_uring, chains, several at once; receiving into pooled buffers; sending without a copy.
 *
 * Everything here needs a hub: on another thread it fails with EPERM, in the child of a fork with
 * ECHILD. Deadlines and kills work as for any call: the kernel is asked to stop, and the call
 * returns when it has let go of everything that the SQEs name.
 *
 * SQEs are those of io_uring_enter(2), filled in by hand or by liburing's io_uring_prep_*. They are
 * copied; what they point to must stay until the call has returned. user_data is ours. Refused
 * with EINVAL, before anything is begun, is what would break the runtime:
 *
 *   IOSQE_CQE_SKIP_SUCCESS          the call would wait for a completion that never comes
 *   IOSQE_IO_DRAIN                  would wait for the hub's own read, and hold up everybody
 *   IOSQE_IO_LINK, _HARDLINK        elsewhere than inside a chain: would link to somebody else's
 *   multishot, by flag or opcode    completes again and again: ask again instead
 *   POLL_REMOVE, TIMEOUT_REMOVE,    name operations by user_data: kill the task that waits for
 *   ASYNC_CANCEL                      it, or close the descriptor
 *   LINK_TIMEOUT                    gring_within does it, for whole chains, too
 *   READ_FIXED, WRITE_FIXED,        need tables of the ring, which has none; so does
 *   FILES_UPDATE, FIXED_FD_INSTALL    IOSQE_FIXED_FILE, whose EBADF is the kernel's
 *   MSG_RING                        makes completions of nobody's
 *   buffer group 65,535             is the pool's; the other groups are the caller's
 *   opcodes newer than PIPE         nobody here knows how often they complete
 */
#ifndef GRING_URING_H
#define GRING_URING_H
#include <greenring/base.h>
#include <linux/io_uring.h>
GRING_BEGIN

/* One operation. cqe_flags (may be NULL) gets the flags of its completion. The result is that of
 * the completion: >= 0, or -1 with errno, EAGAIN included; only EINTR is asked again. SEND_ZC and
 * SENDMSG_ZC return after their notification. [wait] */
GRING_API int gring_uring_op(const struct io_uring_sqe *sqe, uint32_t *cqe_flags);

/* A linked chain of n operations: each begins when the one before it has succeeded; after a
 * failure, which a short transfer is too, the others get ECANCELED. Link flags are set where the
 * caller has set none (IOSQE_IO_HARDLINK goes on after a failure); the last must have none.
 * res[i] is as in the i-th completion: a result, or a negative errno; ENOMEM where the kernel
 * lacked memory for the rest of a chain that it had begun.
 *
 * Returns how many completed without error, when all have completed. -1: a kill or a deadline
 * ended it; res is filled all the same and says what was done, ECANCELED what was not. Or, nothing
 * begun and res not filled: EINVAL a refused SQE, n < 0 or more than the ring has entries; ENOMEM;
 * EBADF one of the descriptors is being closed. gring_close of one ends the chain. [wait] */
GRING_API int gring_uring_chain(const struct io_uring_sqe *sqes, int n, int32_t res[]);

/* The same for n operations that know nothing of each other, in no order: submitted together,
 * returned from when all have completed. A failure ends none of the others; a kill or a deadline
 * asks all of them to stop. EBADF of a descriptor that is being closed is that operation's own
 * result. [wait] */
GRING_API int gring_uring_batch(const struct io_uring_sqe *sqes, int n, int32_t res[]);

/* Does gring_uring_op take this opcode, and does the kernel have it? [any] */
GRING_API bool gring_uring_has(int opcode);

/*
 * Receiving without a buffer of one's own: an idle receiver holds none; one of the hub's pool is
 * chosen when there is data, and is the caller's until it is released, on the same hub, by any
 * task.
 *
 *     gring_buf buf;
 *
 *     while ((size = gring_recv_buf(fd, &buf, 0)) > 0) {
 *         gring_send(fd, buf.data, buf.len, 0);
 *         gring_buf_release(&buf);
 *     }
 *
 * When all buffers are lent, receivers wait for one to be released, in the order of their data,
 * under their deadlines. So that nobody can take all, a descriptor from which buffers are lent
 * gets another one only while more are spare than it has; else it waits until that is so, behind
 * those who have less. Who needs many at once must configure many, or copy and release.
 *
 * A pool is made at the first use and freed at the end of the run; buffers that are still lent
 * then are named through the log. Its pages are committed as they are touched, the same few again
 * and again while few are lent.
 */
typedef struct gring_buf {
    void *data;    /* NULL: no buffer */
    size_t len;    /* bytes received */
    uint64_t _[2]; /* ours */
} gring_buf;

/* recv(2) from a socket. > 0: that many bytes are in *buf; 0: the end (or an empty datagram); -1.
 * In the last two cases *buf holds nothing. A datagram is cut at the buffer's size.
 * flags: MSG_DONTWAIT (EAGAIN when there is nothing, or no buffer) and MSG_PEEK; others are
 * EINVAL. ENOMEM: no memory for the pool. [wait] */
GRING_API ssize_t gring_recv_buf(int fd, gring_buf *buf, int flags);

/* Gives it back; the data may be overwritten at once. Nothing happens if it holds nothing. A
 * second release of a buffer, and one of another hub or of a run that has ended, aborts with a
 * sentence: whose memory it is now nobody knows. */
GRING_API void gring_buf_release(gring_buf *buf);

/* The size and count of this hub's buffers; before its pool is made. Default: 16,384 of 4,096
 * bytes. status: EINVAL 0, more than 32,768 (the kernel's maximum) or larger than 1 GiB; EBUSY the
 * pool exists. */
GRING_API int gring_buf_config(size_t size, unsigned count);

/* As gring_send, without copying: the network reads from buf itself, and the call returns when
 * nothing does any more. With a peer that does not read that can be long, and neither a kill nor a
 * deadline hurries it: the kernel cannot take back what is on its way. Closing the descriptor (by
 * another task) ends the connection and thereby the wait, at the latest when TCP gives up.
 *
 * It pays for large sends over a network; small ones, and all over loopback, are faster copied.
 * Where the kernel or the socket cannot do it, or lacks memory for it, this is gring_send.
 * [wait] */
GRING_API ssize_t gring_send_zc(int fd, const void *buf, size_t n, int flags);
GRING_END
#endif
