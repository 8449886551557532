/* The SQE of each operation; see prep.h and io_uring_enter(2). */
#include "uring/prep.h"

#include <poll.h>
#include <string.h>

/* A single transfer is cut as read(2) cuts it: the SQE's length has 32 bits. */
enum { TRANSFER_MAX = 0x7ffff000 };

static struct io_uring_sqe *begin(struct op *op, unsigned opcode, int fd, uint16_t retry_events)
{
    memset(op, 0, sizeof *op);
    op->sqe.opcode = (uint8_t)opcode;
    op->sqe.fd = fd;
    op->on_descriptor = true;
    op->retry_events = retry_events;
    return &op->sqe;
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

void prep_openat(struct op *op, int dir, const char *path, int flags, mode_t mode)
{
    struct io_uring_sqe *sqe = begin(op, IORING_OP_OPENAT, dir, 0);

    op->on_descriptor = false; /* the kernel holds its own reference to the directory */
    sqe->addr = (uint64_t)(uintptr_t)path;
    sqe->len = mode;
    sqe->open_flags = (uint32_t)flags;
}

void prep_fsync(struct op *op, int fd, unsigned flags)
{
    begin(op, IORING_OP_FSYNC, fd, 0)->fsync_flags = flags;
}

void prep_recv(struct op *op, int fd, void *buf, size_t size, int flags)
{
    struct io_uring_sqe *sqe = begin(op, IORING_OP_RECV, fd, flags & MSG_DONTWAIT ? 0 : POLLIN);

    set_buffer(sqe, buf, size);
    sqe->msg_flags = (uint32_t)flags;
}

void prep_send(struct op *op, int fd, const void *buf, size_t size, int flags)
{
    struct io_uring_sqe *sqe = begin(op, IORING_OP_SEND, fd, flags & MSG_DONTWAIT ? 0 : POLLOUT);

    set_buffer(sqe, buf, size);
    sqe->msg_flags = (uint32_t)flags;
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
