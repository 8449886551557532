/*
 * Closing, and dup2 onto a descriptor, which closes it too: first every operation on the descriptor
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
#include <unistd.h>

enum { NOTHING = -1 };

/* What becomes of fd: closed, or another name of `from`. */
static int replace(int fd, int from)
{
    int result = from == NOTHING ? close(fd) : dup2(from, fd);

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

static int replace_green(struct gring_hub *hub, int fd, int from)
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
    return replace(fd, from);
}

/* ---- by a plain thread ----------------------------------------------------------------------- */

struct remote_close {
    struct closer closer;
    struct gring_hub *hub;
    int fd, from, result;
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
    finish_remote(remote, replace(remote->fd, remote->from));
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

static int replace_from_thread(struct gring_hub *hub, int fd, int from)
{
    struct remote_close remote = {
        .closer.on_drained = drained_for_thread, .hub = hub, .fd = fd, .from = from
    };

    if (runtime_call(hub, begin_remote, &remote) < 0)
        return replace(fd, from);
    while (!atomic_load_explicit(&remote.done, memory_order_acquire))
        sys_futex_wait(&remote.done, 0);
    return remote.result;
}

/* ---- the calls ------------------------------------------------------------------------------- */

static int replace_anywhere(int fd, int from)
{
    struct gring_hub *hub = hub_self();

    if (hub)
        return replace_green(hub, fd, from);
    hub = runtime_hub();
    if (hub && fd >= 0 && inflight_ever_used(fd))
        return replace_from_thread(hub, fd, from);
    return replace(fd, from);
}

int gring_close(int fd)
{
    return (int)api_result(replace_anywhere(fd, NOTHING));
}

/* Nothing is ended for a dup2 that must fail, or that changes nothing. */
int gring_dup2(int from, int to)
{
    if (from == to || fcntl(from, F_GETFD) < 0)
        return dup2(from, to);
    return (int)api_result(replace_anywhere(to, from));
}
