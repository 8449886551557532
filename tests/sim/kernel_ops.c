/* What each opcode does, as one attempt; the table at the end. See kernel.h. */
#include "tests/sim/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#ifndef IORING_CQE_F_SOCK_NONEMPTY
#define IORING_CQE_F_SOCK_NONEMPTY (1U << 2)
#endif

enum { PIECE_BYTES = 4096 };

size_t some_of(size_t size)
{
    if (size < 2 || !sim_chance(world.mood.short_transfer))
        return size;
    sometimes(TRANSFER_WAS_SHORT);
    return sim_between(1, size);
}

static bool must_not_wait(const struct io_request *request)
{
    return request->sqe.msg_flags & MSG_DONTWAIT;
}

/* ---- streams --------------------------------------------------------------------------------- */

int pending_error(struct object *object)
{
    int error = object->error;

    object->error = 0;
    return error;
}

/* The descriptors that come with what is received: for who asked for a message. */
static void take_passed(struct io_request *request, struct passed *passed, bool peek)
{
    if (!passed)
        return;
    if (message_of(request))
        passed_deliver(request, passed);
    if (peek)
        return;
    list_unlink(&passed->link);
    passed_drop(passed);
}

static bool got_passed(const struct io_request *request)
{
    return request->control_bytes || request->message_flags & MSG_CTRUNC;
}

/* Up to `size` bytes out of the channel into the request's buffer, behind what is there. */
static size_t move_in(struct io_request *request, size_t size, bool peek)
{
    struct channel *channel = request->object->in;
    unsigned char piece[PIECE_BYTES];
    size_t moved = 0;

    size = smaller(size, smaller(channel->arrived, channel_until_passed_end(channel)));
    if (peek)
        size = smaller(size, sizeof piece);
    take_passed(request, channel_passed(channel, size), peek);
    while (moved < size) {
        size_t count = channel_peek(channel, piece, smaller(size - moved, sizeof piece));

        request_copy_in(request, piece, count, request->done + moved);
        moved += count;
        if (peek)
            return moved;
        channel_take(channel, count);
    }
    return moved;
}

static bool has_ended(const struct object *object)
{
    return object->fifo ? fifo_has_ended(object) : object->in->end_arrived;
}

static int receive(struct io_request *request, unsigned flags)
{
    struct object *object = request->object;
    size_t wanted = request_bytes(request) - request->done;

    if (!object->in)
        return object->kind == PIPE_WRITER ? -EBADF : -ENOTCONN;
    if (wanted == 0)
        return (int)request->done;
    if (object->in->arrived > 0 && !object->receive_shut) {
        size_t moved = move_in(request, some_of(wanted), flags & MSG_PEEK);

        if (flags & MSG_WAITALL && moved < wanted && !(flags & MSG_PEEK) && !got_passed(request)) {
            request->done += moved;
            return WOULD_BLOCK;
        }
        if (object->in->arrived > 0)
            request->cqe_flags |= IORING_CQE_F_SOCK_NONEMPTY;
        return (int)(request->done + moved);
    }
    if (request->done && (object->error || has_ended(object) || object->receive_shut))
        return (int)request->done;
    if (object->error)
        return pending_error(object);
    if (has_ended(object) || object->receive_shut || object->broken)
        return 0;
    return WOULD_BLOCK;
}

static size_t room(const struct channel *channel)
{
    return channel->capacity - channel->queued;
}

static size_t move_out(struct io_request *request, size_t size)
{
    struct channel *channel = request->object->out;
    unsigned char piece[PIECE_BYTES];
    size_t moved = 0;

    size = smaller(size, room(channel));
    while (moved < size) {
        size_t count = smaller(size - moved, sizeof piece);

        request_copy_out(request, piece, count, request->done + moved);
        moved += channel_send(channel, piece, count);
    }
    return moved;
}

static int send_out(struct io_request *request, bool all)
{
    struct object *object = request->object;
    size_t wanted = request_bytes(request) - request->done;

    if (!object->out)
        return object->kind == PIPE_READER ? -EBADF : -ENOTCONN;
    if (object->error || object->broken || object->send_shut ||
        (object->kind == PIPE_WRITER && !object->out->receiver)) {
        int error = pending_error(object);

        return request->done ? (int)request->done : error ? error : -EPIPE;
    }
    if (wanted == 0)
        return (int)request->done;
    if (room(object->out) == 0)
        return WOULD_BLOCK;
    request->done += move_out(request, some_of(wanted));
    if (all && request->done < request_bytes(request) && !sim_chance(world.mood.short_transfer / 8))
        return WOULD_BLOCK; /* goes on with the rest */
    return (int)request->done;
}

static int receive_from_socket(struct io_request *request)
{
    unsigned flags = request->sqe.msg_flags;
    int result;

    if (request->object->kind > SOCKET_LISTENER)
        return -ENOTSOCK;
    result = request->object->kind == SOCKET_DATAGRAM ? datagram_receive(request, flags)
                                                      : receive(request, flags);
    if (result == WOULD_BLOCK && must_not_wait(request))
        return request->done ? (int)request->done : -EAGAIN;
    return result;
}

int attempt_recv(struct io_request *request)
{
    int result;

    if (!(request->sqe.flags & IOSQE_BUFFER_SELECT))
        return receive_from_socket(request);
    result = buffer_select(request);
    if (result < 0)
        return result;
    result = receive_from_socket(request);
    buffer_settle(request, result);
    return result;
}

int attempt_send(struct io_request *request)
{
    unsigned flags = request->sqe.msg_flags;
    int result;

    if (request->object->kind > SOCKET_LISTENER)
        return -ENOTSOCK;
    if (request->object->kind == SOCKET_DATAGRAM)
        result = datagram_send(request);
    else
        result = send_out(request, flags & MSG_WAITALL && !(flags & MSG_DONTWAIT));
    return result == WOULD_BLOCK && must_not_wait(request) ? -EAGAIN : result;
}

static int attempt_send_zc(struct io_request *request)
{
    int error = request->done ? 0 : zero_copy_refuses(request);

    return error < 0 ? error : attempt_send(request);
}

/* ---- files ----------------------------------------------------------------------------------- */

static bool uses_position(const struct io_request *request)
{
    return request->sqe.off == UINT64_MAX;
}

bool disk_fails(void)
{
    bool fails = sim_chance(world.mood.bad_disk);

    if (fails)
        sometimes(DISK_FAILED);
    return fails;
}

static int read_file(struct io_request *request)
{
    struct object *object = request->object;
    uint64_t place = uses_position(request) ? object->position : request->sqe.off;
    size_t size = request_bytes(request), count;

    if ((object->flags & O_ACCMODE) == O_WRONLY)
        return -EBADF;
    if (disk_fails())
        return -EIO;
    if (place >= object->file->size || size == 0)
        return 0;
    count = some_of(smaller(size, object->file->size - place));
    request_copy_in(request, object->file->bytes + place, count, 0);
    if (uses_position(request))
        object->position = place + count;
    return (int)count;
}

/* A short write may leave the position where it was. */
static int write_file(struct io_request *request)
{
    struct object *object = request->object;
    bool appends = object->flags & O_APPEND;
    uint64_t place = uses_position(request) ? object->position : request->sqe.off;
    size_t size = request_bytes(request), count;

    if ((object->flags & O_ACCMODE) == O_RDONLY)
        return -EBADF;
    if (disk_fails())
        return sim_chance(500) ? -EIO : -ENOSPC;
    if (size == 0)
        return 0;
    if (appends)
        place = object->file->size;
    count = some_of(size);
    if (place + count > object->file->size)
        file_resize(object->file, place + count);
    request_copy_out(request, object->file->bytes + place, count, 0);
    if (uses_position(request) && (count == size || sim_chance(500)))
        object->position = place + count;
    return (int)count;
}

static int attempt_fsync(struct io_request *request)
{
    if (request->object->kind != REGULAR_FILE)
        return -EINVAL;
    return disk_fails() ? -EIO : 0;
}

/* ---- what READ and WRITE find ---------------------------------------------------------------- */

static int read_counter(struct io_request *request)
{
    struct object *object = request->object;

    if (object->counter == 0)
        return WOULD_BLOCK;
    request_copy_in(request, &object->counter, sizeof object->counter, 0);
    object->counter = 0;
    return sizeof object->counter;
}

static int or_again(const struct io_request *request, int result)
{
    return result == WOULD_BLOCK && request->sqe.rw_flags & RWF_NOWAIT ? -EAGAIN : result;
}

static int attempt_read(struct io_request *request)
{
    switch (request->object->kind) {
    case REGULAR_FILE:
        return read_file(request);
    case EVENT_COUNTER:
        return read_counter(request);
    default:
        return or_again(request, receive(request, 0));
    }
}

static int attempt_write(struct io_request *request)
{
    if (request->object->kind == REGULAR_FILE)
        return write_file(request);
    return or_again(request, send_out(request, false));
}

/* ---- sockets --------------------------------------------------------------------------------- */

static void tell_address(const struct io_request *request, const struct object *peer)
{
    void *address = (void *)(uintptr_t)request->sqe.addr;
    socklen_t *length = (socklen_t *)(uintptr_t)request->sqe.addr2;

    if (!address || !length)
        return;
    memcpy(address, &peer->peer_address, smaller(*length, sizeof(struct sockaddr_in)));
    *length = sizeof(struct sockaddr_in);
}

static int attempt_accept(struct io_request *request)
{
    struct object *listener = request->object;
    struct list *link;
    struct object *socket;

    if (listener->kind != SOCKET_LISTENER)
        return listener->kind > SOCKET_LISTENER ? -ENOTSOCK : -EINVAL;
    if (list_empty(&listener->accept_queue))
        return listener->receive_shut ? -EINVAL : WOULD_BLOCK;
    if (world.descriptors_left == 0 || sim_chance(world.mood.no_descriptor)) {
        sometimes(ACCEPT_FOUND_NO_DESCRIPTOR);
        return sim_chance(500) ? -EMFILE : -ENFILE; /* the connection stays in the queue */
    }
    if (sim_chance(world.mood.refusal))
        return -ECONNABORTED;
    link = list_pop_front(&listener->accept_queue);
    listener->accept_count--;
    socket = CONTAINER_OF(link, struct arrival, link)->socket;
    tell_address(request, socket);
    return descriptor_new(socket);
}

/* ---- connecting ------------------------------------------------------------------------------ */

static void queue_arrival(struct object *listener, struct object *client)
{
    struct arrival *arrival = sim_alloc(sizeof *arrival);

    arrival->socket = object_new(SOCKET_STREAM);
    arrival->socket->address = listener->address;
    arrival->socket->address_length = listener->address_length;
    connect_pair(client, arrival->socket);
    list_push_back(&listener->accept_queue, &arrival->link);
    listener->accept_count++;
    object_changed(listener);
}

static void handshake_done(void *arg, uint64_t unused)
{
    struct object *client = arg;
    struct object *listener = listener_at(&client->peer_address);

    (void)unused;
    if (client->kind == SOCKET_CONNECTING && !listener)
        client->error = -ECONNREFUSED;
    else if (client->kind == SOCKET_CONNECTING && sim_chance(world.mood.refusal))
        client->error = sim_chance(500) ? -ETIMEDOUT : -ECONNREFUSED;
    else if (client->kind == SOCKET_CONNECTING && listener->accept_count > listener->backlog) {
        kernel_at(CLOCK_MILLISECOND + sim_duration(CLOCK_SECOND), handshake_done, client, 0);
        return; /* dropped, sent again */
    } else if (client->kind == SOCKET_CONNECTING) {
        queue_arrival(listener, client);
    }
    object_changed(client);
    object_drop(client);
}

static void begin_handshake(struct object *socket)
{
    socket->kind = SOCKET_CONNECTING;
    object_hold(socket);
    kernel_at(sim_duration(world.mood.latency), handshake_done, socket, 0);
}

static int attempt_connect(struct io_request *request)
{
    struct object *socket = request->object;

    if (socket->kind > SOCKET_LISTENER)
        return -ENOTSOCK;
    if (socket->kind == SOCKET_STREAM)
        return socket->connecting == request ? 0 : -EISCONN;
    if (socket->kind == SOCKET_FRESH) {
        memset(&socket->peer_address, 0, sizeof socket->peer_address);
        memcpy(&socket->peer_address, (const void *)(uintptr_t)request->sqe.addr,
               smaller(request->sqe.off, sizeof socket->peer_address));
        socket->connecting = request;
        begin_handshake(socket);
        return WOULD_BLOCK;
    }
    if (socket->connecting != request)
        return -EALREADY;
    if (socket->error) {
        sometimes(CONNECT_WAS_REFUSED);
        socket->kind = SOCKET_FRESH;
        return pending_error(socket);
    }
    return WOULD_BLOCK;
}

/* ---- the rest -------------------------------------------------------------------------------- */

static int attempt_nothing(struct io_request *request)
{
    (void)request;
    return 0;
}

static const struct operation operations[] = {
    [IORING_OP_NOP] = { "nop", attempt_nothing, 0, false, false, false },
    [IORING_OP_READ] = { "read", attempt_read, POLLIN, true, true, false },
    [IORING_OP_READV] = { "readv", attempt_read, POLLIN, true, true, false },
    [IORING_OP_WRITE] = { "write", attempt_write, POLLOUT, true, true, false },
    [IORING_OP_WRITEV] = { "writev", attempt_write, POLLOUT, true, true, false },
    [IORING_OP_FSYNC] = { "fsync", attempt_fsync, 0, true, false, true },
    [IORING_OP_OPENAT] = { "openat", attempt_open, 0, false, false, true },
    [IORING_OP_STATX] = { "statx", attempt_statx, 0, false, false, true },
    [IORING_OP_RENAMEAT] = { "rename", attempt_rename, 0, false, false, true },
    [IORING_OP_UNLINKAT] = { "unlink", attempt_unlink, 0, false, false, true },
    [IORING_OP_MKDIRAT] = { "mkdir", attempt_mkdir, 0, false, false, true },
    [IORING_OP_LINKAT] = { "link", attempt_link, 0, false, false, true },
    [IORING_OP_FALLOCATE] = { "fallocate", attempt_fallocate, 0, true, false, true },
    [OPCODE_FTRUNCATE] = { "ftruncate", attempt_ftruncate, 0, true, false, true },
    [IORING_OP_RECV] = { "recv", attempt_recv, POLLIN, true, true, false },
    [IORING_OP_SEND] = { "send", attempt_send, POLLOUT, true, true, false },
    [IORING_OP_RECVMSG] = { "recvmsg", attempt_recvmsg, POLLIN, true, true, false },
    [IORING_OP_SENDMSG] = { "sendmsg", attempt_sendmsg, POLLOUT, true, true, false },
    [IORING_OP_SEND_ZC] = { "send_zc", attempt_send_zc, POLLOUT, true, true, false },
    [IORING_OP_SPLICE] = { "splice", attempt_splice, POLLOUT, true, false, true },
    [IORING_OP_ACCEPT] = { "accept", attempt_accept, POLLIN, true, true, false },
    [IORING_OP_CONNECT] = { "connect", attempt_connect, POLLOUT, true, false, false },
    [IORING_OP_POLL_ADD] = { "poll", attempt_poll, 0, true, false, false },
};

const struct operation *operation_of(const struct io_uring_sqe *sqe)
{
    const size_t count = sizeof operations / sizeof operations[0];

    return sqe->opcode < count && operations[sqe->opcode].attempt ? &operations[sqe->opcode] : NULL;
}
