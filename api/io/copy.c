/* Copying between files inside the kernel, by a thread of ours, in slices: between two of them the
 * task can be interrupted, and says then how far it came. */
#include "api/io/offloaded.h"
#include "api/result.h"
#include "runtime/hub.h"

#include <greenring/io.h>
#include <unistd.h>

enum {
    COPY_MAX = 0x7ffff000, /* as copy_file_range(2): no call moves more */
    SLICE_BYTES = 16 * 1024 * 1024
};

struct copy {
    struct offloaded offloaded; /* fds: from, to */
    off_t *from_offset, *to_offset;
    size_t size;
    unsigned flags;
};

static int64_t copy_on_thread(struct offloaded *call)
{
    struct copy *copy = CONTAINER_OF(call, struct copy, offloaded);

    return copy_file_range(call->fds[0], copy->from_offset, call->fds[1], copy->to_offset,
                           copy->size, copy->flags);
}

/* -errno, or whether there may be more: the slice was copied wholly. */
static int copy_slice(struct copy *copy, size_t left, size_t *moved)
{
    int64_t result;

    copy->size = left < SLICE_BYTES ? left : SLICE_BYTES;
    result = offloaded_await(&copy->offloaded, "copy_file_range");
    if (result < 0)
        return (int)result;
    *moved += (size_t)result;
    return result == SLICE_BYTES;
}

static int copy_all(struct copy *copy, size_t size, size_t *moved)
{
    int result;

    do
        result = copy_slice(copy, size - *moved, moved);
    while (result > 0 && *moved < size);
    return result;
}

static ssize_t copy_green(struct copy *copy, size_t size)
{
    struct gring_task *task = hub_self()->running;
    size_t moved = 0;
    int error;

    if (!task)
        return copy_all(copy, size, &moved); /* in a callback: says what is wrong */
    task_hold_reports(task);
    error = copy_all(copy, size, &moved);
    task_release_reports(task, moved == 0);
    return error < 0 && moved == 0 ? error : (ssize_t)moved;
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
    return api_result(copy_green(&copy, size < COPY_MAX ? size : COPY_MAX));
}
