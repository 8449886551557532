/* The SQE of each operation; see prep.h and io_uring_enter(2). */
#include "uring/prep.h"

#include <poll.h>
#include <string.h>

/* A single transfer is cut as read(2) cuts it: the SQE's length has 32 bits. */
enum { TRANSFER_MAX = 0x7ffff000 };

static struct io_uring_sqe *begin(struct op *op, unsigned opcode, int fd, unsigned retry_events)
{
    memset(op, 0, sizeof *op);
    op->sqe.opcode = (uint8_t)opcode;
    op->sqe.fd = op->fd = fd;
    op->on_descriptor = true;
    op->retry_events = retry_events & (POLLIN | POLLOUT);
    return &op->sqe;
}

/* The kernel gives these to a worker. */
static struct io_uring_sqe *begin_fenced(struct op *op, unsigned opcode, int fd)
{
    struct io_uring_sqe *sqe = begin(op, opcode, fd, 0);

    op_fence(op);
    return sqe;
}

static void set_buffer(struct io_uring_sqe *sqe, const void *start, size_t size)
{
    sqe->addr = (uint64_t)(uintptr_t)start;
    sqe->len = size < TRANSFER_MAX ? (uint32_t)size : TRANSFER_MAX;
}

void prep_read(struct op *op, int fd, void *buf, size_t size, off_t offset)
{
    struct io_uring_sqe *sqe = begin(op, IORING_OP_READ, fd, POLLIN);

    set_buffer(sqe, buf, size);
    sqe->off = (uint64_t)offset;
}

void prep_write(struct op *op, int fd, const void *buf, size_t size, off_t offset)
{
    struct io_uring_sqe *sqe = begin(op, IORING_OP_WRITE, fd, POLLOUT);

    set_buffer(sqe, buf, size);
    sqe->off = (uint64_t)offset;
}

static void set_vector(struct op *op, const struct iovec *iov, int count, off_t offset, int flags)
{
    op->sqe.addr = (uint64_t)(uintptr_t)iov;
    op->sqe.len = (uint32_t)count;
    op->sqe.off = (uint64_t)offset;
    op->sqe.rw_flags = flags;
    if (flags & RWF_NOWAIT)
        op->retry_events = 0;
}

void prep_readv(struct op *op, int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    begin(op, IORING_OP_READV, fd, POLLIN);
    set_vector(op, iov, count, offset, flags);
}

void prep_writev(struct op *op, int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    begin(op, IORING_OP_WRITEV, fd, POLLOUT);
    set_vector(op, iov, count, offset, flags);
}

void prep_fsync(struct op *op, int fd, unsigned flags)
{
    begin_fenced(op, IORING_OP_FSYNC, fd)->fsync_flags = flags;
}

void prep_sync_file_range(struct op *op, int fd, off_t offset, uint32_t size, unsigned flags)
{
    struct io_uring_sqe *sqe = begin_fenced(op, IORING_OP_SYNC_FILE_RANGE, fd);

    sqe->off = (uint64_t)offset;
    sqe->len = size;
    sqe->sync_range_flags = flags;
}

void prep_fadvise(struct op *op, int fd, off_t offset, uint32_t size, int advice)
{
    struct io_uring_sqe *sqe = begin_fenced(op, IORING_OP_FADVISE, fd);

    sqe->off = (uint64_t)offset;
    sqe->len = size;
    sqe->fadvise_advice = (uint32_t)advice;
}

void prep_fallocate(struct op *op, int fd, int mode, off_t offset, off_t size)
{
    struct io_uring_sqe *sqe = begin_fenced(op, IORING_OP_FALLOCATE, fd);

    sqe->off = (uint64_t)offset;
    sqe->addr = (uint64_t)size;
    sqe->len = (uint32_t)mode;
}

void prep_ftruncate(struct op *op, int fd, off_t size)
{
    begin_fenced(op, OPCODE_FTRUNCATE, fd)->off = (uint64_t)size;
}

void prep_splice(struct op *op, int in_fd, off_t in_offset, int out_fd, off_t out_offset,
                 uint32_t size, unsigned flags)
{
    struct io_uring_sqe *sqe = begin_fenced(op, IORING_OP_SPLICE, out_fd);

    sqe->splice_fd_in = in_fd;
    sqe->splice_off_in = (uint64_t)in_offset;
    sqe->off = (uint64_t)out_offset;
    sqe->len = size;
    sqe->splice_flags = flags;
}

/* What recv(2) does not wait for, whatever the socket's mode. */
static int receive_flags(int flags)
{
    return flags & (MSG_ERRQUEUE | MSG_OOB) ? flags | MSG_DONTWAIT : flags;
}

static struct io_uring_sqe *begin_receive(struct op *op, unsigned opcode, int fd, int flags)
{
    struct io_uring_sqe *sqe;

    flags = receive_flags(flags);
    sqe = begin(op, opcode, fd, flags & MSG_DONTWAIT ? 0 : POLLIN);
    sqe->msg_flags = (uint32_t)flags;
    return sqe;
}

static struct io_uring_sqe *begin_send(struct op *op, unsigned opcode, int fd, int flags)
{
    struct io_uring_sqe *sqe = begin(op, opcode, fd, flags & MSG_DONTWAIT ? 0 : POLLOUT);

    sqe->msg_flags = (uint32_t)flags;
    return sqe;
}

void prep_recv(struct op *op, int fd, void *buf, size_t size, int flags)
{
    set_buffer(begin_receive(op, IORING_OP_RECV, fd, flags), buf, size);
}

void prep_send(struct op *op, int fd, const void *buf, size_t size, int flags)
{
    set_buffer(begin_send(op, IORING_OP_SEND, fd, flags), buf, size);
}

void prep_recvmsg(struct op *op, int fd, struct msghdr *message, int flags)
{
    begin_receive(op, IORING_OP_RECVMSG, fd, flags)->addr = (uint64_t)(uintptr_t)message;
    op->sqe.len = 1;
}

void prep_sendmsg(struct op *op, int fd, const struct msghdr *message, int flags)
{
    begin_send(op, IORING_OP_SENDMSG, fd, flags)->addr = (uint64_t)(uintptr_t)message;
    op->sqe.len = 1;
}

void prep_send_zc(struct op *op, int fd, const void *buf, size_t size, int flags)
{
    prep_send(op, fd, buf, size, flags);
    op->sqe.opcode = IORING_OP_SEND_ZC;
}

void prep_recv_chosen(struct op *op, int fd, uint16_t group, int flags)
{
    prep_recv(op, fd, NULL, 0, flags);
    op->sqe.flags = IOSQE_BUFFER_SELECT;
    op->sqe.buf_group = group;
}

void prep_accept(struct op *op, int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    struct io_uring_sqe *sqe = begin(op, IORING_OP_ACCEPT, fd, POLLIN);

    sqe->addr = (uint64_t)(uintptr_t)address;
    sqe->addr2 = (uint64_t)(uintptr_t)length;
    sqe->accept_flags = (uint32_t)flags;
}

void prep_connect(struct op *op, int fd, const struct sockaddr *address, socklen_t length)
{
    /* its EAGAIN means: no local port is free */
    struct io_uring_sqe *sqe = begin(op, IORING_OP_CONNECT, fd, 0);

    sqe->addr = (uint64_t)(uintptr_t)address;
    sqe->off = length;
}

void prep_poll(struct op *op, int fd, unsigned events)
{
    begin(op, IORING_OP_POLL_ADD, fd, 0)->poll32_events = events;
}

void prep_nop(struct op *op)
{
    begin(op, IORING_OP_NOP, -1, 0);
    op->on_descriptor = false;
}

/* ---- by name --------------------------------------------------------------------------------- */

static struct io_uring_sqe *begin_path(struct op *op, unsigned opcode, int dir, const char *path)
{
    struct io_uring_sqe *sqe = begin(op, opcode, dir, 0);

    op->on_descriptor = false;
    sqe->addr = (uint64_t)(uintptr_t)path;
    return sqe;
}

static struct io_uring_sqe *begin_two_paths(struct op *op, unsigned opcode, int from_dir,
                                            const char *from, int to_dir, const char *to)
{
    struct io_uring_sqe *sqe = begin_path(op, opcode, from_dir, from);

    sqe->len = (uint32_t)to_dir;
    sqe->addr2 = (uint64_t)(uintptr_t)to;
    return sqe;
}

void prep_openat(struct op *op, int dir, const char *path, int flags, mode_t mode)
{
    struct io_uring_sqe *sqe = begin_path(op, IORING_OP_OPENAT, dir, path);

    sqe->len = mode;
    sqe->open_flags = (uint32_t)flags;
}

void prep_statx(struct op *op, int dir, const char *path, int flags, unsigned mask,
                struct statx *status)
{
    struct io_uring_sqe *sqe = begin_path(op, IORING_OP_STATX, dir, path);

    sqe->len = mask;
    sqe->off = (uint64_t)(uintptr_t)status;
    sqe->statx_flags = (uint32_t)flags;
}

void prep_renameat(struct op *op, int from_dir, const char *from, int to_dir, const char *to,
                   unsigned flags)
{
    begin_two_paths(op, IORING_OP_RENAMEAT, from_dir, from, to_dir, to)->rename_flags = flags;
}

void prep_unlinkat(struct op *op, int dir, const char *path, int flags)
{
    begin_path(op, IORING_OP_UNLINKAT, dir, path)->unlink_flags = (uint32_t)flags;
}

void prep_mkdirat(struct op *op, int dir, const char *path, mode_t mode)
{
    begin_path(op, IORING_OP_MKDIRAT, dir, path)->len = mode;
}

void prep_linkat(struct op *op, int from_dir, const char *from, int to_dir, const char *to,
                 int flags)
{
    begin_two_paths(op, IORING_OP_LINKAT, from_dir, from, to_dir, to)->hardlink_flags =
        (uint32_t)flags;
}

void prep_symlinkat(struct op *op, const char *target, int dir, const char *path)
{
    begin_path(op, IORING_OP_SYMLINKAT, dir, target)->addr2 = (uint64_t)(uintptr_t)path;
}
