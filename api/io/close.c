/*
 * Closing, also by dup2 onto a descriptor and of a range: first every operation on the descriptor
 * is asked to end, then awaited, then the descriptor goes.
 *
 * close(2) alone would leave a pending receive pending for ever, and a pending accept would keep
 * the port open. Until the descriptor is really closed its number cannot be used anew, so no
 * operation can begin on somebody else's file.
 */
#include "api/result.h"
#include "base/check.h"
#include "base/sys.h"
#include "runtime/runtime.h"
#include "runtime/wait.h"

#include <fcntl.h>
#include <greenring/io.h>
#include <limits.h>
#include <unistd.h>

/* What becomes of a descriptor: closed, or another name of `from`. */
struct successor {
    int from;
    int flags; /* of dup3(2) */
};

enum { NOTHING = -1 };
static const struct successor nothing = { .from = NOTHING };

static int replace(int fd, struct successor next)
{
    int result = next.from == NOTHING ? close(fd) : dup3(next.from, fd, next.flags);

    return result < 0 ? -errno : result;
}

/* 0, 1: the closer follows, or -EBADF; see inflight.h. */
static int begin(struct gring_hub *hub, int fd, struct closer *closer)
{
    int state = inflight_begin_close(&hub->ops, fd, closer);

    if (state >= 0)
        buffers_close_descriptor(&hub->buffers, fd);
    return state;
}

/* ---- by a task ------------------------------------------------------------------------------- */

struct close_wait {
    struct closer closer;
    struct source source;
};

static void drained(struct closer *closer)
{
    source_done(&CONTAINER_OF(closer, struct close_wait, closer)->source);
}

static void cannot_withdraw(struct source *source)
{
    (void)source;
    CHECK_SAY(false, "a close is not interrupted");
}

static int replace_green(struct gring_hub *hub, int fd, struct successor next)
{
    struct close_wait closing = { .closer.on_drained = drained };
    struct wait wait;
    int state = begin(hub, fd, &closing.closer);

    if (state < 0)
        return state;
    if (state > 0) {
        wait_begin_shielded(&wait, "close", fd);
        wait_hold(&wait, &closing.source, cannot_withdraw);
        wait_park(&wait);
    }
    inflight_end_close(&hub->ops, fd);
    return replace(fd, next);
}

/* ---- by a plain thread ----------------------------------------------------------------------- */

struct remote_close {
    struct closer closer;
    struct gring_hub *hub;
    struct successor next;
    int fd, result;
    atomic_uint done;
};

static void finish_remote(struct remote_close *remote, int result)
{
    atomic_uint *done = &remote->done;

    remote->result = result;
    atomic_store_explicit(done, 1, memory_order_release);
    sys_futex_wake_all(done); /* by address only: the thread's frame may be gone already */
}

static void replace_remote(struct remote_close *remote)
{
    inflight_end_close(&remote->hub->ops, remote->fd);
    finish_remote(remote, replace(remote->fd, remote->next));
}

static void drained_for_thread(struct closer *closer)
{
    replace_remote(CONTAINER_OF(closer, struct remote_close, closer));
}

static void begin_remote(void *arg)
{
    struct remote_close *remote = arg;
    int state = begin(remote->hub, remote->fd, &remote->closer);

    if (state == 0)
        replace_remote(remote);
    else if (state < 0)
        finish_remote(remote, state);
}

static int replace_from_thread(struct gring_hub *hub, int fd, struct successor next)
{
    struct remote_close remote = {
        .closer.on_drained = drained_for_thread, .hub = hub, .fd = fd, .next = next
    };

    if (runtime_call(hub, begin_remote, &remote) < 0)
        return replace(fd, next);
    while (!atomic_load_explicit(&remote.done, memory_order_acquire))
        sys_futex_wait(&remote.done, 0);
    return remote.result;
}

/* ---- the calls ------------------------------------------------------------------------------- */

static int replace_anywhere(int fd, struct successor next)
{
    struct gring_hub *hub = hub_self();

    if (hub)
        return replace_green(hub, fd, next);
    hub = runtime_hub();
    if (hub && fd >= 0 && inflight_ever_used(fd))
        return replace_from_thread(hub, fd, next);
    return replace(fd, next);
}

int gring_close(int fd)
{
    return (int)api_result(replace_anywhere(fd, nothing));
}

/* Nothing is ended for a call that must fail, or that changes nothing. */
int gring_dup2(int from, int to)
{
    if (from == to || fcntl(from, F_GETFD) < 0)
        return dup2(from, to);
    return (int)api_result(replace_anywhere(to, (struct successor){ .from = from }));
}

int gring_dup3(int from, int to, int flags)
{
    if (from == to || flags & ~O_CLOEXEC || fcntl(from, F_GETFD) < 0)
        return dup3(from, to, flags);
    return (int)api_result(
        replace_anywhere(to, (struct successor){ .from = from, .flags = flags }));
}

/* ---- a range --------------------------------------------------------------------------------- */

static void close_used(const struct gring_hub *hub, unsigned first, unsigned last)
{
    int fd = first <= INT_MAX ? inflight_next_used((int)first) : -1;

    for (; fd >= 0 && (unsigned)fd <= last; fd = inflight_next_used(fd + 1))
        if (hub_next_own_descriptor(hub, (unsigned)fd) != fd)
            (void)replace_anywhere(fd, nothing); /* no error is told: as close_range(2) */
}

/* What tasks have not used; what the hub itself lives on stays. */
static int close_unused(const struct gring_hub *hub, unsigned first, unsigned last)
{
    int own;

    while ((own = hub_next_own_descriptor(hub, first)) >= 0 && (unsigned)own <= last) {
        if ((unsigned)own > first)
            close_range(first, (unsigned)own - 1, 0);
        first = (unsigned)own + 1;
    }
    return first <= last ? close_range(first, last, 0) : 0;
}

int gring_close_range(unsigned first, unsigned last, int flags)
{
    struct gring_hub *hub = runtime_hub();
    bool green = hub_self() != NULL;
    int result;

    if (green && flags & CLOSE_RANGE_UNSHARE)
        return (int)api_result(-EINVAL);
    if (flags || first > last || !hub || !(green || runtime_visit(hub)))
        return close_range(first, last, flags); /* it closes nothing, or nothing of the tasks' */
    close_used(hub, first, last);
    result = close_unused(hub, first, last);
    if (!green)
        runtime_leave();
    return result;
}
