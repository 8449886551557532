/*
 * Moving bytes between descriptors: SPLICE, and the system calls that jobs make, sendfile(2) into a
 * file and copy_file_range(2).
 *
 * A splice knows its source from when a worker attempts it. It is asked not to wait, and all the
 * same it does for room on a socket, as on a blocking one.
 */
#include "tests/sim/kernel.h"
#include "tests/sim/wrap.h"

#include <fcntl.h>
#include <string.h>
#include <sys/sendfile.h>

enum { PIECE_BYTES = 4096 };

/* One end of a transfer; place: in a file. */
struct end {
    struct object *object;
    uint64_t offset; /* UINT64_MAX: the position */
};

static uint64_t place_of(const struct end *end)
{
    return end->offset == UINT64_MAX ? end->object->position : end->offset;
}

static void advance(const struct end *end, size_t count)
{
    if (end->object->kind == REGULAR_FILE && end->offset == UINT64_MAX)
        end->object->position += count;
}

/* ---- what could move now --------------------------------------------------------------------- */

/* Bytes, 0 at the end, or -errno; WOULD_BLOCK: none yet. */
static int64_t bytes_in(const struct end *in)
{
    struct object *object = in->object;

    if ((object->flags & O_ACCMODE) == O_WRONLY)
        return -EBADF;
    if (object->kind == REGULAR_FILE && disk_fails())
        return -EIO;
    if (object->kind == REGULAR_FILE)
        return object->file->size > place_of(in) ? (int64_t)(object->file->size - place_of(in)) : 0;
    if (!object->in)
        return -EINVAL;
    if (object->in->arrived && !object->receive_shut)
        return (int64_t)object->in->arrived;
    if (object->error)
        return pending_error(object);
    return object->in->end_arrived || object->receive_shut ? 0 : WOULD_BLOCK;
}

static int64_t room_in(const struct end *out)
{
    struct object *object = out->object;

    if ((object->flags & O_ACCMODE) == O_RDONLY)
        return -EBADF;
    if (object->kind == REGULAR_FILE)
        return disk_fails() ? (sim_chance(500) ? -EIO : -ENOSPC) : INT32_MAX;
    if (!object->out)
        return -EINVAL;
    if (object->error)
        return pending_error(object);
    if (object->broken || object->send_shut || !object->out->receiver)
        return -EPIPE;
    return object->out->capacity > object->out->queued
               ? (int64_t)(object->out->capacity - object->out->queued)
               : WOULD_BLOCK;
}

/* ---- moving ---------------------------------------------------------------------------------- */

static void take_piece(const struct end *in, unsigned char *piece, size_t size)
{
    if (in->object->kind == REGULAR_FILE) {
        memcpy(piece, in->object->file->bytes + place_of(in), size);
        return;
    }
    channel_peek(in->object->in, piece, size);
    channel_take(in->object->in, size);
}

static void put_piece(const struct end *out, const unsigned char *piece, size_t size)
{
    struct stored_file *file = out->object->file;
    uint64_t place = place_of(out);

    if (out->object->kind != REGULAR_FILE) {
        channel_send(out->object->out, piece, size);
        return;
    }
    if (place + size > file->size)
        file_resize(file, place + size);
    memcpy(file->bytes + place, piece, size);
}

static void move(struct end in, struct end out, size_t size)
{
    unsigned char piece[PIECE_BYTES];

    while (size > 0) {
        size_t count = smaller(size, sizeof piece);

        take_piece(&in, piece, count);
        put_piece(&out, piece, count);
        advance(&in, count);
        advance(&out, count);
        in.offset += in.offset == UINT64_MAX ? 0 : count;
        out.offset += out.offset == UINT64_MAX ? 0 : count;
        size -= count;
    }
}

/* Up to size bytes; how many, or why none: -EAGAIN where nothing is there, WOULD_BLOCK where
 * there is no room. */
static int64_t transfer(struct end in, struct end out, size_t size)
{
    int64_t there = bytes_in(&in), room;

    if (there <= 0)
        return there == WOULD_BLOCK ? -EAGAIN : there;
    room = room_in(&out);
    if (room < 0)
        return room;
    size = some_of(smaller(size, smaller((size_t)there, (size_t)room)));
    move(in, out, size);
    return (int64_t)size;
}

/* ---- splice ---------------------------------------------------------------------------------- */

static bool is_pipe(const struct object *object)
{
    return object->kind == PIPE_READER || object->kind == PIPE_WRITER;
}

static int find_mistake(const struct end *in, const struct end *out)
{
    if (!is_pipe(in->object) && !is_pipe(out->object))
        return -EINVAL;
    if ((is_pipe(in->object) && in->offset != UINT64_MAX) ||
        (is_pipe(out->object) && out->offset != UINT64_MAX))
        return -ESPIPE;
    return 0;
}

int attempt_splice(struct io_request *request)
{
    const struct io_uring_sqe *sqe = &request->sqe;
    struct end in = { descriptor_object(sqe->splice_fd_in), sqe->splice_off_in };
    struct end out = { request->object, sqe->off };
    int64_t result;

    if (!(sqe->splice_flags & SPLICE_F_NONBLOCK))
        sim_fail("a splice was asked to wait, which keeps one of the kernel's few workers");
    if (!in.object)
        return -EBADF;
    result = find_mistake(&in, &out);
    if (result == 0)
        result = transfer(in, out, sqe->len);
    return result == WOULD_BLOCK && is_pipe(out.object) ? -EAGAIN : (int)result;
}

/* ---- files, on threads ----------------------------------------------------------------------- */

static ssize_t copy_now(int in_fd, off_t *in_offset, int out_fd, off_t *out_offset, size_t size)
{
    struct end in = { descriptor_object(in_fd), in_offset ? (uint64_t)*in_offset : UINT64_MAX };
    struct end out = { descriptor_object(out_fd), out_offset ? (uint64_t)*out_offset : UINT64_MAX };
    int64_t result;

    if (!in.object || !out.object)
        return answer(-EBADF);
    if (in.object->kind != REGULAR_FILE || out.object->kind != REGULAR_FILE)
        return answer(-EINVAL);
    result = size ? transfer(in, out, size) : 0;
    if (result > 0 && in_offset)
        *in_offset += result;
    if (result > 0 && out_offset)
        *out_offset += result;
    return answer((int)result);
}

WRAP(ssize_t, sendfile64, int out, int in, off_t *offset, size_t size)
{
    return copy_now(in, offset, out, NULL, size);
}

WRAP(ssize_t, copy_file_range, int in, off_t *in_offset, int out, off_t *out_offset, size_t size,
     unsigned flags)
{
    (void)flags;
    return copy_now(in, in_offset, out, out_offset, size);
}
