/*
 * Each call of greenring/io.h that takes a descriptor, made as the POSIX original and as ours, on
 * descriptors of every kind: tests/support/conform.h.
 */
#include "tests/support/objects.h"

/* clang-format off */

#define NOBODY ((void *)(uintptr_t)8) /* no memory there */
#define HUGE_SIZE ((size_t)SSIZE_MAX)
#define ABOVE_TRANSFER ((size_t)0x7ffff000 + 1)

#define SEVERAL "of several mistakes in one call any may be the one that is reported"
#define NOTHING "a transfer of no bytes is not told of all that is wrong with the descriptor"
#define SIZES "a size above that is cut to it before anything else is looked at"
#define NEVER "a descriptor that can be polled, but never does what it is asked, is waited for"
#define DEVICES "an offset is moved by what was transferred, also on a device that has none"

static const struct difference differences[] = {
    { "pwritev2_at_the_end", "epoll_descriptor", -1, ETIMEDOUT, NEVER },
    { "pwritev2_at_the_position", "epoll_descriptor", -1, ETIMEDOUT, NEVER },
    /* to Linux 6.1 a timerfd is such a descriptor, too, and of a read of nothing it is not told */
    { "pwritev2_at_the_end", "expired_timer", -1, ETIMEDOUT, NEVER },
    { "pwritev2_at_the_position", "expired_timer", -1, ETIMEDOUT, NEVER },
    { "write*", "expired_timer", -1, ETIMEDOUT, NEVER },
    { "read_of_nothing", "expired_timer", 0, 0, NOTHING },
    { "read_of_nothing", "event_counter", 0, 0, NOTHING },
    { "read_of_nothing", "event_semaphore", 0, 0, NOTHING },
    { "pwrite*", "generated_file", -1, EBADF, SEVERAL },
    { "readv_into_a_negative_number", NULL, -1, EINVAL, SEVERAL },
    { "readv_into_too_many_parts", NULL, -1, EINVAL, SEVERAL },
    { "readv_of_a_negative_length", NULL, -1, EINVAL, SEVERAL },
    { "readv_of_a_list_that_is_not_there", NULL, -1, EFAULT, SEVERAL },
    { "writev_of_a_negative_number", NULL, -1, EINVAL, SEVERAL },
    { "writev_of_too_many_parts", NULL, -1, EINVAL, SEVERAL },
    { "writev_of_a_negative_length", NULL, -1, EINVAL, SEVERAL },
    { "write*", "epoll_descriptor", -1, ETIMEDOUT, NEVER },
    { "write_of_nothing", NULL, 0, 0, NOTHING },
    { "pwritev2_at_the_end", "dev_full", -1, ENOSPC, SEVERAL },
    { "pwritev2_at_the_end", NULL, -1, EINVAL, SEVERAL },
    { "preadv2_into_too_many_parts", NULL, -1, EINVAL, SEVERAL },
    { "preadv2_with_an_unknown_flag", NULL, -1, EOPNOTSUPP, SEVERAL },
    { "pwritev2_with_an_unknown_flag", NULL, -1, EOPNOTSUPP, SEVERAL },
    { "pwritev2_at_the_end_whatever_the_offset", "epoll_descriptor", -1, ETIMEDOUT, NEVER },
    { "pwritev2_at_the_end_whatever_the_offset", "dev_full", -1, ENOSPC, SEVERAL },
    { "readv_into_no_part", NULL, -1, EINVAL, NOTHING },
    { "readv_into_an_empty_part", NULL, -1, EINVAL, NOTHING },
    { "read_of_nothing", "directory", 0, 0, NOTHING },
    { "pread_of_nothing", "directory", 0, 0, NOTHING },
    { "pwrite_of_nothing", "dev_full", 0, 0, NOTHING },
    { "read_of_the_largest_size", NULL, ANY, 0, SIZES },
    { "read_of_a_negative_size", NULL, ANY, 0, SIZES },
    { "pread_of_the_largest_size", NULL, ANY, 0, SIZES },
    { "write_of_the_largest_size", NULL, ANY, 0, SIZES },
    { "write_of_a_negative_size", NULL, ANY, 0, SIZES },
    { "pwrite_of_the_largest_size", NULL, ANY, 0, SIZES },
    { "select_*", "file_by_path_only", -1, EBADF, "EBADF also for one with O_PATH" },
    { "sendfile_of_it_into_a_pipe", NULL, -1, EINVAL, "`in` is a file, or EINVAL" },
    { "sendfile_of_it_at_an_offset_into_a_pipe", "dev_zero", 8, 0, DEVICES },
    { "sendfile_of_it_at_an_offset_into_a_pipe", "dev_full", 8, 0, DEVICES },
    { "sendfile_of_it_at_an_offset_into_a_pipe", "pipe_to_write", -1, ESPIPE, SEVERAL },
    { "sendfile_of_it_at_an_offset_into_a_pipe", "pipe_without_reader", -1, ESPIPE, SEVERAL },
    { "sendfile_of_it_at_an_offset_into_a_pipe", NULL, -1, EINVAL, "`in` is a file, or EINVAL" },
    { "sendfile_of_it_into_itself", NULL, -1, EINVAL, SEVERAL },
    { "sendfile_of_a_file_at_a_negative_offset_into_it", NULL, -1, EBADF, SEVERAL },
    { "sendfile_of_a_file_beyond_its_end_into_it", "pipe_without_reader", 0, 0, NOTHING },
    { "sendfile_of_nothing_into_it", "pipe_without_reader", 0, 0, NOTHING },
    { "sendfile_*", "expired_timer", -1, ETIMEDOUT, NEVER },
    { "sendfile_*", "epoll_descriptor", -1, ETIMEDOUT, NEVER },
    { "sendfile_*", "tcp_listener", -1, ETIMEDOUT, NEVER },
    { "sendfile_*", "unix_listener", -1, ETIMEDOUT, NEVER },
    { "splice_of_a_pipe_into_it_without_waiting", NULL, -1, EAGAIN, NEVER },
    { "splice_*", "expired_timer", -1, ETIMEDOUT, NEVER },
    { "splice_*", "epoll_descriptor", -1, ETIMEDOUT, NEVER },
    { "splice_*", "tcp_listener", -1, ETIMEDOUT, NEVER },
    { "splice_*", "unix_listener", -1, ETIMEDOUT, NEVER },
    { "splice_of_a_pipe_into_it_at_an_offset", "dev_null", 4, 0, DEVICES },
    { "splice_of_a_pipe_into_it_at_an_offset", "dev_zero", 4, 0, DEVICES },
    { "splice_of_a_pipe_into_it_at_an_offset", NULL, -1, EBADF, SEVERAL },
    { "splice_of_a_pipe_at_an_offset_into_it", NULL, -1, EBADF, SEVERAL },
    { "splice_of_it_into_a_pipe_at_an_offset", "dev_zero", 4, 0, DEVICES },
    { "splice_of_it_into_a_pipe_at_an_offset", "dev_full", 4, 0, DEVICES },
    { "splice_of_it_into_a_pipe_at_*", NULL, -1, EBADF, SEVERAL },
    { "splice_of_it_into_a_pipe_with_an_unknown_flag", NULL, -1, EBADF, SEVERAL },
    { 0 },
};

/* More parts than the kernel takes, each of one byte. */
static struct iovec *too_many(struct memory *m)
{
    static struct iovec parts[IOV_MAX + 1];

    for (int index = 0; index <= IOV_MAX; index++)
        parts[index] = (struct iovec){ m->buf, 1 };
    return parts;
}

static struct iovec *one_part(void *base, size_t size)
{
    static struct iovec part[2];

    part[0] = (struct iovec){ base, size };
    part[1] = (struct iovec){ base, size };
    return part;
}

static off_t *at(struct memory *m, off_t offset)
{
    m->offset = offset;
    return &m->offset;
}

/* ---- read ------------------------------------------------------------------------------------ */

Same(read, of_eight_bytes, descriptors, call->read(s->fd, m->buf, 8))
Same(read, of_more_than_there_is, descriptors, call->read(s->fd, m->buf, 64))
Same(read, of_nothing, descriptors, call->read(s->fd, m->buf, 0))
Same(read, of_one_byte, descriptors, call->read(s->fd, m->buf, 1))
Same(readv, into_two_parts, descriptors, call->readv(s->fd, m->iov, 2))
Same(readv, into_no_part, descriptors, call->readv(s->fd, m->iov, 0))
Same(readv, into_a_negative_number, descriptors, call->readv(s->fd, m->iov, -1))
Same(readv, into_an_empty_part, descriptors, call->readv(s->fd, one_part(m->buf, 0), 1))
Same(readv, into_too_many_parts, descriptors, call->readv(s->fd, too_many(m), IOV_MAX + 1))
Same(readv, into_as_many_parts_as_go, descriptors, call->readv(s->fd, too_many(m), IOV_MAX))
Same(readv, of_a_negative_length, descriptors, call->readv(s->fd, one_part(m->buf, (size_t)-1), 1))
Same(pread, at_an_offset, descriptors, call->pread(s->fd, m->buf, 8, 3))
Same(pread, at_the_start, descriptors, call->pread(s->fd, m->buf, 8, 0))
Same(pread, across_the_end, descriptors, call->pread(s->fd, m->buf, 8, 15))
Same(pread, beyond_the_end, descriptors, call->pread(s->fd, m->buf, 8, 1000))
Same(pread, at_minus_one, descriptors, call->pread(s->fd, m->buf, 8, -1))
Same(pread, at_a_negative_offset, descriptors, call->pread(s->fd, m->buf, 8, -7))
Same(pread, at_the_last_offset, descriptors, call->pread(s->fd, m->buf, 8, LONG_MAX))
Same(pread, of_nothing, descriptors, call->pread(s->fd, m->buf, 0, 3))
Same(preadv2, at_an_offset, descriptors, call->preadv2(s->fd, m->iov, 2, 3, 0))
Same(preadv2, at_the_position, descriptors, call->preadv2(s->fd, m->iov, 2, -1, 0))
Same(preadv2, at_a_negative_offset, descriptors, call->preadv2(s->fd, m->iov, 2, -7, 0))
Same(preadv2, with_a_hint, descriptors, call->preadv2(s->fd, m->iov, 2, -1, RWF_HIPRI))
Same(preadv2, with_an_unknown_flag, descriptors, call->preadv2(s->fd, m->iov, 2, -1, 1 << 20))
Same(preadv2, into_no_part, descriptors, call->preadv2(s->fd, m->iov, 0, 3, 0))
Same(preadv2, into_too_many_parts, descriptors, call->preadv2(s->fd, too_many(m), IOV_MAX + 1, 3, 0))

/* ---- write ----------------------------------------------------------------------------------- */

Same(write, of_eight_bytes, descriptors, call->write(s->fd, m->buf, 8))
Same(write, of_nothing, descriptors, call->write(s->fd, m->buf, 0))
Same(write, of_three_bytes, descriptors, call->write(s->fd, m->buf, 3))
Same(writev, of_two_parts, descriptors, call->writev(s->fd, m->iov, 2))
Same(writev, of_no_part, descriptors, call->writev(s->fd, m->iov, 0))
Same(writev, of_a_negative_number, descriptors, call->writev(s->fd, m->iov, -1))
Same(writev, of_an_empty_part, descriptors, call->writev(s->fd, one_part(m->buf, 0), 1))
Same(writev, of_too_many_parts, descriptors, call->writev(s->fd, too_many(m), IOV_MAX + 1))
Same(writev, of_as_many_parts_as_go, descriptors, call->writev(s->fd, too_many(m), IOV_MAX))
Same(writev, of_a_negative_length, descriptors, call->writev(s->fd, one_part(m->buf, (size_t)-1), 1))
Same(pwrite, at_an_offset, descriptors, call->pwrite(s->fd, m->buf, 8, 3))
Same(pwrite, beyond_the_end, descriptors, call->pwrite(s->fd, m->buf, 8, 100))
Same(pwrite, at_minus_one, descriptors, call->pwrite(s->fd, m->buf, 8, -1))
Same(pwrite, at_a_negative_offset, descriptors, call->pwrite(s->fd, m->buf, 8, -7))
Same(pwrite, at_the_last_offset, descriptors, call->pwrite(s->fd, m->buf, 8, LONG_MAX))
Same(pwrite, of_nothing, descriptors, call->pwrite(s->fd, m->buf, 0, 3))
Same(pwritev2, at_an_offset, descriptors, call->pwritev2(s->fd, m->iov, 2, 3, 0))
Same(pwritev2, at_the_position, descriptors, call->pwritev2(s->fd, m->iov, 2, -1, 0))
Same(pwritev2, at_a_negative_offset, descriptors, call->pwritev2(s->fd, m->iov, 2, -7, 0))
Same(pwritev2, at_the_end, descriptors, call->pwritev2(s->fd, m->iov, 2, -1, RWF_APPEND))
Same(pwritev2, at_the_end_whatever_the_offset, descriptors, call->pwritev2(s->fd, m->iov, 2, 3, RWF_APPEND))
Same(pwritev2, with_an_unknown_flag, descriptors, call->pwritev2(s->fd, m->iov, 2, -1, 1 << 20))
Same(pwritev2, of_no_part, descriptors, call->pwritev2(s->fd, m->iov, 0, 3, 0))

/* ---- bad memory, and lengths that no memory has ----------------------------------------------
 * AddressSanitizer looks at the originals' memory before the kernel does. */

#if !UNDER_ASAN
Same(read, into_no_memory, descriptors, call->read(s->fd, NOBODY, 8))
Same(read, of_the_largest_size, descriptors, call->read(s->fd, NOBODY, HUGE_SIZE))
Same(read, of_a_negative_size, descriptors, call->read(s->fd, NOBODY, (size_t)-1))
Same(read, of_more_than_one_transfer, descriptors, call->read(s->fd, NOBODY, ABOVE_TRANSFER))
Same(readv, into_no_memory, descriptors, call->readv(s->fd, one_part(NOBODY, 8), 1))
Same(readv, of_a_list_that_is_not_there, descriptors, call->readv(s->fd, NOBODY, 1))
Same(pread, into_no_memory, descriptors, call->pread(s->fd, NOBODY, 8, 3))
Same(pread, of_the_largest_size, descriptors, call->pread(s->fd, NOBODY, HUGE_SIZE, 3))
Same(write, from_no_memory, descriptors, call->write(s->fd, NOBODY, 8))
Same(write, of_the_largest_size, descriptors, call->write(s->fd, NOBODY, HUGE_SIZE))
Same(write, of_a_negative_size, descriptors, call->write(s->fd, NOBODY, (size_t)-1))
Same(writev, from_no_memory, descriptors, call->writev(s->fd, one_part(NOBODY, 8), 1))
Same(pwrite, from_no_memory, descriptors, call->pwrite(s->fd, NOBODY, 8, 3))
Same(pwrite, of_the_largest_size, descriptors, call->pwrite(s->fd, NOBODY, HUGE_SIZE, 3))
Same(getdents64, into_no_memory, descriptors, call->getdents64(s->fd, NOBODY, 64))
#endif

/* ---- the device, size and space -------------------------------------------------------------- */

Same(fsync, of_it, descriptors, call->fsync(s->fd))
Same(fdatasync, of_it, descriptors, call->fdatasync(s->fd))
Same(sync_file_range, of_a_part, descriptors, call->sync_file_range(s->fd, 0, 10, 2))
Same(sync_file_range, of_a_negative_offset, descriptors, call->sync_file_range(s->fd, -5, 10, 2))
Same(sync_file_range, of_a_negative_length, descriptors, call->sync_file_range(s->fd, 0, -10, 2))
Same(sync_file_range, of_more_than_four_GiB, descriptors, call->sync_file_range(s->fd, 0, 5LL << 30, 2))
Same(sync_file_range, with_unknown_flags, descriptors, call->sync_file_range(s->fd, 0, 10, 64))
Same(ftruncate, to_less, descriptors, call->ftruncate(s->fd, 7))
Same(ftruncate, to_more, descriptors, call->ftruncate(s->fd, 100))
Same(ftruncate, to_a_negative_size, descriptors, call->ftruncate(s->fd, -1))
Same(ftruncate, to_the_largest_size, descriptors, call->ftruncate(s->fd, LONG_MAX))
Same(fallocate, of_more, descriptors, call->fallocate(s->fd, 0, 10, 100))
Same(fallocate, of_a_hole, descriptors, call->fallocate(s->fd, 3, 2, 5))
Same(fallocate, of_nothing, descriptors, call->fallocate(s->fd, 0, 10, 0))
Same(fallocate, of_a_negative_offset, descriptors, call->fallocate(s->fd, 0, -10, 5))
Same(fallocate, of_an_unknown_mode, descriptors, call->fallocate(s->fd, 1 << 20, 0, 5))
Same(fadvise, of_a_part, descriptors, call->fadvise(s->fd, 0, 10, POSIX_FADV_SEQUENTIAL))
Same(fadvise, of_more_than_four_GiB, descriptors, call->fadvise(s->fd, 0, 5LL << 30, POSIX_FADV_RANDOM))
Same(fadvise, of_a_negative_length, descriptors, call->fadvise(s->fd, 0, -10, POSIX_FADV_RANDOM))
Same(fadvise, of_an_unknown_advice, descriptors, call->fadvise(s->fd, 0, 10, 99))
Same(getdents64, into_too_little, descriptors, call->getdents64(s->fd, m->buf, 8))
Same(getdents64, into_nothing, descriptors, call->getdents64(s->fd, m->buf, 0))
Same(getdents64, of_two_names, descriptors, call->getdents64(s->fd, m->buf, 64))

/* ---- locks ----------------------------------------------------------------------------------- */

Same(flock, exclusively, descriptors, call->flock(s->fd, LOCK_EX))
Same(flock, shared_without_waiting, descriptors, call->flock(s->fd, LOCK_SH | LOCK_NB))
Same(flock, not_any_more, descriptors, call->flock(s->fd, LOCK_UN))
Same(flock, not_any_more_without_waiting, descriptors, call->flock(s->fd, LOCK_UN | LOCK_NB))
Same(flock, with_no_operation, descriptors, call->flock(s->fd, 0))
Same(flock, with_an_unknown_operation, descriptors, call->flock(s->fd, 128))
Same(flock, in_two_ways, descriptors, call->flock(s->fd, LOCK_SH | LOCK_EX))

static const struct object locked[] = { OBJECT(file_locked), { 0 } };

Same(flock, exclusively_while_locked, locked, call->flock(s->fd, LOCK_EX | LOCK_NB))
Same(flock, shared_while_locked, locked, call->flock(s->fd, LOCK_SH | LOCK_NB))

/* ---- status ---------------------------------------------------------------------------------- */

static const struct object devices[] = {
    OBJECT(closed), OBJECT(minus_one), OBJECT(most_negative), OBJECT(beyond_every_limit),
    OBJECT(file), OBJECT(file_by_path_only), OBJECT(directory), OBJECT(dev_null), OBJECT(dev_zero),
    { 0 },
};

Same(fstatat, of_itself, devices, call->fstatat(s->fd, "", &m->status, AT_EMPTY_PATH))
Same(fstatat, of_nothing, devices, call->fstatat(s->fd, "", &m->status, 0))
Same(fstatat, below_it, devices, call->fstatat(s->fd, "bin", &m->status, 0))
Same(fstatat, of_an_absolute_name, devices, call->fstatat(s->fd, "/usr", &m->status, 0))
Same(statx, of_itself, devices, call->statx(s->fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &m->statx))
Same(statx, of_half_of_it, devices, call->statx(s->fd, "", AT_EMPTY_PATH, STATX_SIZE, &m->statx))
Same(statx, with_an_unknown_flag, devices, call->statx(s->fd, "/usr", 1 << 20, STATX_SIZE, &m->statx))
Same(openat, below_it, devices, given(call, m, call->openat(s->fd, "bin", O_RDONLY)))

/* ---- numbers --------------------------------------------------------------------------------- */

Same(close, of_it, descriptors, call->close(s->fd))
Same(close, twice, descriptors, (call->close(s->fd), errno = 0, call->close(s->fd)))
Same(dup2, onto_another, descriptors, call->dup2(s->fd, SPARE))
Same(dup2, onto_one_in_use, descriptors, call->dup2(s->fd, FILE_FD))
Same(dup2, of_another_onto_it, descriptors, call->dup2(FILE_FD, s->fd))
Same(dup2, onto_itself, descriptors, call->dup2(s->fd, s->fd))
Same(dup2, onto_a_negative_number, descriptors, call->dup2(s->fd, -1))
Same(dup2, onto_one_beyond_every_limit, descriptors, call->dup2(s->fd, INT_MAX))
Same(dup3, onto_another, descriptors, call->dup3(s->fd, SPARE, O_CLOEXEC))
Same(dup3, of_another_onto_it, descriptors, call->dup3(FILE_FD, s->fd, 0))
Same(dup3, onto_itself, descriptors, call->dup3(s->fd, s->fd, 0))
Same(dup3, with_an_unknown_flag, descriptors, call->dup3(s->fd, SPARE, O_APPEND))
Same(close_range, of_it_alone, descriptors, call->close_range((unsigned)s->fd, (unsigned)s->fd, 0))
Same(close_range, the_wrong_way_round, descriptors, call->close_range(PEER, FD, 0))
Same(close_range, to_close_on_exec, descriptors, call->close_range(FD, PEER, CLOSE_RANGE_CLOEXEC))
Same(close_range, with_an_unknown_flag, descriptors, call->close_range(FD, PEER, 1 << 20))
Same(close_range, of_all, descriptors, call->close_range(FD, FD_END - 1, 0))

/* ---- from descriptor to descriptor ----------------------------------------------------------- */

Same(splice, of_it_into_a_pipe, descriptors, call->splice(s->fd, NULL, PIPE_IN, NULL, 4, 0))
Same(splice, of_it_into_a_pipe_at_an_offset, descriptors, call->splice(s->fd, &m->offset, PIPE_IN, NULL, 4, 0))
Same(splice, of_it_into_a_pipe_at_minus_one, descriptors, call->splice(s->fd, at(m, -1), PIPE_IN, NULL, 4, 0))
Same(splice, of_it_into_a_pipe_at_a_negative_offset, descriptors, call->splice(s->fd, at(m, -9), PIPE_IN, NULL, 4, 0))
Same(splice, of_it_into_a_pipe_without_waiting, descriptors, call->splice(s->fd, NULL, PIPE_IN, NULL, 4, SPLICE_F_NONBLOCK))
Same(splice, of_it_into_a_pipe_with_an_unknown_flag, descriptors, call->splice(s->fd, NULL, PIPE_IN, NULL, 4, 1 << 20))
Same(splice, of_it_into_the_wrong_end, descriptors, call->splice(s->fd, NULL, PIPE_OUT, NULL, 4, 0))
Same(splice, of_it_into_a_file, descriptors, call->splice(s->fd, NULL, FILE_FD, NULL, 4, 0))
Same(splice, of_nothing, descriptors, call->splice(s->fd, NULL, PIPE_IN, NULL, 0, 0))
Same(splice, of_a_pipe_into_it, descriptors, call->splice(PIPE_OUT, NULL, s->fd, NULL, 4, 0))
Same(splice, of_a_pipe_into_it_at_an_offset, descriptors, call->splice(PIPE_OUT, NULL, s->fd, &m->offset, 4, 0))
Same(splice, of_a_pipe_into_it_without_waiting, descriptors, call->splice(PIPE_OUT, NULL, s->fd, NULL, 4, SPLICE_F_NONBLOCK))
Same(splice, of_the_wrong_end_into_it, descriptors, call->splice(PIPE_IN, NULL, s->fd, NULL, 4, 0))
Same(splice, of_a_pipe_at_an_offset_into_it, descriptors, call->splice(PIPE_OUT, &m->offset, s->fd, NULL, 4, 0))
Same(splice, of_it_into_itself, descriptors, call->splice(s->fd, NULL, s->fd, NULL, 4, 0))
Same(sendfile, of_a_file_into_it, descriptors, call->sendfile(s->fd, FILE_FD, NULL, 8))
Same(sendfile, of_a_file_at_an_offset_into_it, descriptors, call->sendfile(s->fd, FILE_FD, &m->offset, 8))
Same(sendfile, of_a_file_at_a_negative_offset_into_it, descriptors, call->sendfile(s->fd, FILE_FD, at(m, -1), 8))
Same(sendfile, of_a_file_beyond_its_end_into_it, descriptors, call->sendfile(s->fd, FILE_FD, at(m, 1000), 8))
Same(sendfile, of_nothing_into_it, descriptors, call->sendfile(s->fd, FILE_FD, NULL, 0))
Same(sendfile, of_more_than_there_is_into_it, descriptors, call->sendfile(s->fd, FILE_FD, NULL, 1000))
Same(sendfile, of_it_into_a_pipe, descriptors, call->sendfile(PIPE_IN, s->fd, NULL, 8))
Same(sendfile, of_it_at_an_offset_into_a_pipe, descriptors, call->sendfile(PIPE_IN, s->fd, &m->offset, 8))
Same(sendfile, of_it_into_a_file, descriptors, call->sendfile(FILE_FD, s->fd, NULL, 8))
Same(sendfile, of_it_into_itself, descriptors, call->sendfile(s->fd, s->fd, NULL, 8))
Same(copy_file_range, of_a_file_into_it, descriptors, call->copy_file_range(FILE_FD, NULL, s->fd, NULL, 8, 0))
Same(copy_file_range, of_it_into_a_file, descriptors, call->copy_file_range(s->fd, NULL, FILE_FD, NULL, 8, 0))
Same(copy_file_range, at_offsets, descriptors, call->copy_file_range(s->fd, &m->offset, FILE_FD, &m->other_offset, 8, 0))
Same(copy_file_range, at_a_negative_offset, descriptors, call->copy_file_range(s->fd, at(m, -1), FILE_FD, NULL, 8, 0))
Same(copy_file_range, of_nothing, descriptors, call->copy_file_range(s->fd, NULL, FILE_FD, NULL, 0, 0))
Same(copy_file_range, with_a_flag, descriptors, call->copy_file_range(s->fd, NULL, FILE_FD, NULL, 8, 1))
Same(copy_file_range, of_it_into_itself, descriptors, call->copy_file_range(s->fd, at(m, 0), s->fd, &m->other_offset, 4, 0))

/* ---- readiness ------------------------------------------------------------------------------- */

Same(poll, for_all_events_now, descriptors, call->poll(m->polled, 3, 0))
Same(poll, for_all_events, descriptors, call->poll(m->polled, 3, 1))
Same(poll, for_input, descriptors, call->poll(m->polled, 1, 1))
Same(poll, for_nothing, descriptors, (m->polled[0].events = 0, call->poll(m->polled, 1, 1)))
Same(poll, for_everything, descriptors, (m->polled[0].events = 0x7fff, call->poll(m->polled, 1, 1)))
Same(poll, for_the_end_of_the_peer, descriptors, (m->polled[0].events = POLLRDHUP, call->poll(m->polled, 1, 1)))
Same(poll, of_no_descriptors, descriptors, call->poll(m->polled, 0, 1))

/* A descriptor that a set cannot hold is not in it. */
static int select_them(const struct calls *call, struct memory *m, int n, int which)
{
    return call->select(n, which & 1 ? &m->sets[0] : NULL, which & 2 ? &m->sets[1] : NULL,
                        which & 4 ? &m->sets[2] : NULL, &m->time);
}

static int select_now(const struct calls *call, struct memory *m, int n)
{
    m->time = (struct timeval){ 0, 0 };
    return select_them(call, m, n, 7);
}

Same(select, for_all_now, descriptors, select_now(call, m, FD_END))
Same(select, for_all, descriptors, select_them(call, m, FD_END, 7))
Same(select, for_input, descriptors, select_them(call, m, FD_END, 1))
Same(select, for_output, descriptors, select_them(call, m, FD_END, 2))
Same(select, for_exceptions, descriptors, select_them(call, m, FD_END, 4))
Same(select, for_nothing, descriptors, select_them(call, m, FD_END, 0))
Same(select, below_it, descriptors, select_them(call, m, FD, 7))
Same(select, of_a_negative_number, descriptors, select_them(call, m, -1, 7))
