/* See copy.h. */
#include "api/io/copy.h"

#include "api/result.h"
#include "runtime/hub.h"

#include <greenring/io.h>
#include <unistd.h>

enum {
    COPY_MAX = 0x7ffff000, /* as copy_file_range(2): no call moves more */
    SLICE_BYTES = 16 * 1024 * 1024
};

/* -errno, or whether there may be more: the slice was copied wholly. */
static int copy_slice(struct copy *copy, size_t left, size_t *moved, const char *what)
{
    int64_t result;

    copy->size = left < SLICE_BYTES ? left : SLICE_BYTES;
    result = offloaded_await(&copy->offloaded, what);
    if (result < 0)
        return (int)result;
    *moved += (size_t)result;
    return result == SLICE_BYTES;
}

static int copy_all(struct copy *copy, size_t size, size_t *moved, const char *what)
{
    int result;

    do
        result = copy_slice(copy, size - *moved, moved, what);
    while (result > 0 && *moved < size);
    return result;
}

ssize_t copy_in_slices(struct copy *copy, size_t size, const char *what)
{
    struct gring_task *task = hub_self()->running;
    size_t moved = 0;
    int error;

    if (!task)
        return copy_all(copy, size, &moved, what); /* in a callback: says what is wrong */
    task_hold_reports(task);
    error = copy_all(copy, size, &moved, what);
    task_release_reports(task, moved == 0);
    return error < 0 && moved == 0 ? error : (ssize_t)moved;
}

static int64_t copy_on_thread(struct offloaded *call)
{
    struct copy *copy = CONTAINER_OF(call, struct copy, offloaded);

    return copy_file_range(call->fds[0], copy->from_offset, call->fds[1], copy->to_offset,
                           copy->size, copy->flags);
}

ssize_t gring_copy_file_range(int from, off_t *from_offset, int to, off_t *to_offset, size_t size,
                              unsigned flags)
{
    struct copy copy = { .offloaded = { .call = copy_on_thread, .fds = { from, to } },
                         .from_offset = from_offset,
                         .to_offset = to_offset,
                         .flags = flags };

    if (!hub_self())
        return copy_file_range(from, from_offset, to, to_offset, size, flags);
    return api_result(copy_in_slices(&copy, size < COPY_MAX ? size : COPY_MAX, "copy_file_range"));
}
