/*
 * SENDMSG and RECVMSG, and the system calls for several messages at once, which do not wait.
 *
 * The message's header is the caller's; what the kernel says in it, it says at the last attempt.
 * A kernel that goes on by itself after a part sends a message's descriptors with each part: who
 * does not want that must not ask it to go on.
 */
#include "tests/sim/kernel.h"
#include "tests/sim/wrap.h"

#include <string.h>

struct msghdr *message_of(const struct io_request *request)
{
    unsigned opcode = request->sqe.opcode;

    if (opcode != IORING_OP_SENDMSG && opcode != IORING_OP_RECVMSG)
        return NULL;
    return (struct msghdr *)(uintptr_t)request->sqe.addr;
}

/* ---- one ------------------------------------------------------------------------------------- */

static int send_on_stream(struct io_request *request)
{
    struct channel *out = request->object->out;
    size_t before = out ? out->queued : 0;
    struct passed *passed;
    int error = passed_collect(message_of(request), &passed), result;

    if (error < 0)
        return error;
    result = attempt_send(request);
    if (passed && out)
        channel_attach(out, passed, out->queued - before);
    else
        passed_drop(passed);
    return result;
}

int attempt_sendmsg(struct io_request *request)
{
    if (request->object->kind == SOCKET_DATAGRAM)
        return attempt_send(request);
    return send_on_stream(request);
}

int attempt_recvmsg(struct io_request *request)
{
    struct msghdr *message = message_of(request);
    int result = attempt_recv(request);

    if (result < 0)
        return result;
    message->msg_controllen = request->control_bytes;
    message->msg_flags = request->message_flags;
    message->msg_namelen = request->name_bytes;
    return result;
}

/* ---- several, now ---------------------------------------------------------------------------- */

static int attempt_now(struct object *object, unsigned opcode, struct msghdr *message, int flags)
{
    struct io_request request = { .sqe = { .opcode = (uint8_t)opcode,
                                           .addr = (uint64_t)(uintptr_t)message,
                                           .msg_flags = (uint32_t)flags | MSG_DONTWAIT },
                                  .object = object };

    request_take_vector(&request);
    return operation_of(&request.sqe)->attempt(&request);
}

static bool is_whole(const struct mmsghdr *message)
{
    size_t total = 0;

    for (size_t index = 0; index < message->msg_hdr.msg_iovlen; index++)
        total += message->msg_hdr.msg_iov[index].iov_len;
    return message->msg_len == total;
}

/* Until one does not go: its error counts only if it is the first. A part ends the sending. */
static int several_now(int fd, unsigned opcode, struct mmsghdr *messages, unsigned count, int flags)
{
    struct object *object = descriptor_object(fd);
    unsigned done = 0;
    int result = 0;

    if (!object)
        return -EBADF;
    while (done < count) {
        result = attempt_now(object, opcode, &messages[done].msg_hdr, flags);
        if (result < 0)
            break;
        messages[done++].msg_len = (unsigned)result;
        if (opcode == IORING_OP_SENDMSG && !is_whole(&messages[done - 1]))
            break;
    }
    return done ? (int)done : result;
}

WRAP(int, recvmmsg, int fd, struct mmsghdr *messages, unsigned count, int flags,
     struct timespec *timeout)
{
    (void)timeout;
    return answer(several_now(fd, IORING_OP_RECVMSG, messages, count, flags));
}

WRAP(int, sendmmsg, int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    return answer(several_now(fd, IORING_OP_SENDMSG, messages, count, flags));
}
