/*
 * Closing: first every operation on the descriptor is asked to end, then awaited, then the
 * descriptor goes.
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

#include <greenring/io.h>
#include <unistd.h>

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

static int close_green(struct gring_hub *hub, int fd)
{
    struct close_wait closing = { .closer.on_drained = drained };
    struct wait wait;
    int state = inflight_begin_close(&hub->ops, fd, &closing.closer);

    if (state < 0)
        return state;
    if (state > 0) {
        wait_begin_shielded(&wait, "close", fd);
        wait_hold(&wait, &closing.source, cannot_withdraw);
        wait_park(&wait);
    }
    inflight_end_close(&hub->ops, fd);
    return close(fd) < 0 ? -errno : 0;
}

/* ---- by a plain thread ----------------------------------------------------------------------- */

struct remote_close {
    struct closer closer;
    struct gring_hub *hub;
    int fd, result;
    atomic_uint done;
};

static void finish_remote(struct remote_close *remote)
{
    atomic_uint *done = &remote->done;

    inflight_end_close(&remote->hub->ops, remote->fd);
    remote->result = close(remote->fd) < 0 ? -errno : 0;
    atomic_store_explicit(done, 1, memory_order_release);
    sys_futex_wake_all(done); /* by address only: the thread's frame may be gone already */
}

static void drained_for_thread(struct closer *closer)
{
    finish_remote(CONTAINER_OF(closer, struct remote_close, closer));
}

static void begin_remote(void *arg)
{
    struct remote_close *remote = arg;
    int state = inflight_begin_close(&remote->hub->ops, remote->fd, &remote->closer);

    if (state == 0) {
        finish_remote(remote);
    } else if (state < 0) {
        remote->result = state;
        atomic_store_explicit(&remote->done, 1, memory_order_release);
    }
}

static int close_from_thread(struct gring_hub *hub, int fd)
{
    struct remote_close remote = { .closer.on_drained = drained_for_thread, .hub = hub, .fd = fd };

    if (runtime_call(hub, begin_remote, &remote) < 0)
        return close(fd) < 0 ? -errno : 0;
    while (!atomic_load_explicit(&remote.done, memory_order_acquire))
        sys_futex_wait(&remote.done, 0);
    return remote.result;
}

int gring_close(int fd)
{
    struct gring_hub *hub = hub_self();

    if (hub)
        return (int)api_result(close_green(hub, fd));
    hub = runtime_hub();
    if (hub && fd >= 0 && inflight_ever_used(fd))
        return (int)api_result(close_from_thread(hub, fd));
    return close(fd);
}
