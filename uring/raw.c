/* The opcodes one by one; see raw.h. */
#include "uring/raw.h"

#include <errno.h>
#include <string.h>

/* Newer than liburing 2.3's header, by number: enumerators cannot be tested for. */
enum {
    OPCODE_SENDMSG_ZC = 48,
    OPCODE_READ_MULTISHOT = 49,
    OPCODE_WAITID = 50,
    OPCODE_FUTEX_WAIT = 51,
    OPCODE_FUTEX_WAKE = 52,
    OPCODE_FUTEX_WAITV = 53,
    OPCODE_BIND = 56,
    OPCODE_LISTEN = 57,
    OPCODE_EPOLL_WAIT = 59,
    OPCODE_PIPE = 62,
    OPCODE_COUNT
};

#define TIMEOUT_MULTISHOT (1u << 6) /* IORING_TIMEOUT_MULTISHOT, Linux 6.4 */
#define COMMAND_MULTISHOT (1u << 1) /* IORING_URING_CMD_MULTISHOT, Linux 6.18 */

/*
 * What sqe.fd is. OTHER: nothing, or a directory that the kernel holds on to by itself, a process,
 * a flag. FILE: what the operation is on, so gring_close ends it. Zero: the opcode is refused:
 * those that complete again and again, that name another operation by its user_data, that change
 * the ring itself, or that make completions of their own.
 */
enum rule { REFUSED, OTHER, FILE_OP };

static const uint8_t rules[OPCODE_COUNT] = {
    [IORING_OP_NOP] = OTHER,
    [IORING_OP_READV] = FILE_OP,
    [IORING_OP_WRITEV] = FILE_OP,
    [IORING_OP_FSYNC] = FILE_OP,
    [IORING_OP_POLL_ADD] = FILE_OP,
    [IORING_OP_SYNC_FILE_RANGE] = FILE_OP,
    [IORING_OP_SENDMSG] = FILE_OP,
    [IORING_OP_RECVMSG] = FILE_OP,
    [IORING_OP_TIMEOUT] = OTHER,
    [IORING_OP_ACCEPT] = FILE_OP,
    [IORING_OP_CONNECT] = FILE_OP,
    [IORING_OP_FALLOCATE] = FILE_OP,
    [IORING_OP_OPENAT] = OTHER,
    [IORING_OP_CLOSE] = OTHER,
    [IORING_OP_STATX] = OTHER,
    [IORING_OP_READ] = FILE_OP,
    [IORING_OP_WRITE] = FILE_OP,
    [IORING_OP_FADVISE] = FILE_OP,
    [IORING_OP_MADVISE] = OTHER,
    [IORING_OP_SEND] = FILE_OP,
    [IORING_OP_RECV] = FILE_OP,
    [IORING_OP_OPENAT2] = OTHER,
    [IORING_OP_EPOLL_CTL] = FILE_OP,
    [IORING_OP_SPLICE] = FILE_OP,
    [IORING_OP_PROVIDE_BUFFERS] = OTHER,
    [IORING_OP_REMOVE_BUFFERS] = OTHER,
    [IORING_OP_TEE] = FILE_OP,
    [IORING_OP_SHUTDOWN] = FILE_OP,
    [IORING_OP_RENAMEAT] = OTHER,
    [IORING_OP_UNLINKAT] = OTHER,
    [IORING_OP_MKDIRAT] = OTHER,
    [IORING_OP_SYMLINKAT] = OTHER,
    [IORING_OP_LINKAT] = OTHER,
    [IORING_OP_FSETXATTR] = FILE_OP,
    [IORING_OP_SETXATTR] = OTHER,
    [IORING_OP_FGETXATTR] = FILE_OP,
    [IORING_OP_GETXATTR] = OTHER,
    [IORING_OP_SOCKET] = OTHER,
    [IORING_OP_URING_CMD] = FILE_OP,
    [IORING_OP_SEND_ZC] = FILE_OP,
    [OPCODE_SENDMSG_ZC] = FILE_OP,
    [OPCODE_WAITID] = OTHER,
    [OPCODE_FUTEX_WAIT] = OTHER,
    [OPCODE_FUTEX_WAKE] = OTHER,
    [OPCODE_FUTEX_WAITV] = OTHER,
    [OPCODE_FTRUNCATE] = FILE_OP,
    [OPCODE_BIND] = FILE_OP,
    [OPCODE_LISTEN] = FILE_OP,
    [OPCODE_EPOLL_WAIT] = FILE_OP,
    [OPCODE_PIPE] = OTHER,
};

static enum rule rule_of(unsigned opcode)
{
    return opcode < OPCODE_COUNT ? (enum rule)rules[opcode] : REFUSED;
}

bool raw_takes(int opcode)
{
    return opcode >= 0 && rule_of((unsigned)opcode) != REFUSED;
}

static bool is_multishot(const struct io_uring_sqe *sqe)
{
    switch (sqe->opcode) {
    case IORING_OP_POLL_ADD:
        return sqe->len & IORING_POLL_ADD_MULTI;
    case IORING_OP_ACCEPT:
        return sqe->ioprio & IORING_ACCEPT_MULTISHOT;
    case IORING_OP_RECV:
    case IORING_OP_RECVMSG:
        return sqe->ioprio & IORING_RECV_MULTISHOT;
    case IORING_OP_TIMEOUT:
        return sqe->timeout_flags & TIMEOUT_MULTISHOT;
    case IORING_OP_URING_CMD:
        return sqe->uring_cmd_flags & COMMAND_MULTISHOT;
    default:
        return false;
    }
}

static bool touches_our_buffers(const struct io_uring_sqe *sqe)
{
    return sqe->buf_group == BUFFER_GROUP &&
           (sqe->flags & IOSQE_BUFFER_SELECT || sqe->opcode == IORING_OP_PROVIDE_BUFFERS ||
            sqe->opcode == IORING_OP_REMOVE_BUFFERS);
}

/* SKIP_SUCCESS: it would never be done. DRAIN: it and all behind it would wait for the hub's own
 * read, which ends with the run. */
static bool is_refused(const struct io_uring_sqe *sqe)
{
    return rule_of(sqe->opcode) == REFUSED ||
           sqe->flags & (IOSQE_CQE_SKIP_SUCCESS | IOSQE_IO_DRAIN) || is_multishot(sqe) ||
           touches_our_buffers(sqe);
}

int prep_raw(struct op *op, const struct io_uring_sqe *sqe, bool is_followed)
{
    const unsigned links = IOSQE_IO_LINK | IOSQE_IO_HARDLINK;

    if (is_refused(sqe) || (sqe->flags & links && !is_followed))
        return -EINVAL;
    memset(op, 0, sizeof *op);
    op->sqe = *sqe;
    op->fd = sqe->fd;
    if (is_followed && !(sqe->flags & links))
        op->sqe.flags |= IOSQE_IO_LINK;
    op->on_descriptor = rule_of(sqe->opcode) == FILE_OP && !(sqe->flags & IOSQE_FIXED_FILE);
    return 0;
}
