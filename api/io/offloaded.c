/* See offloaded.h. */
#include "api/io/offloaded.h"

#include "runtime/hub.h"

#include <errno.h>
#include <string.h>

enum { FDS_MAX = sizeof((struct offloaded *)NULL)->fds / sizeof(int) };

/* ---- the descriptors ------------------------------------------------------------------------- */

static void let_go(struct offloaded *call, int count)
{
    while (count-- > 0)
        if (call->fds[count] >= 0)
            inflight_remove(&hub_self()->ops.inflight, &call->holds[count]);
}

/* Until let_go the numbers cannot be used anew, so a call that has to queue cannot begin on another
 * file. */
static int hold(struct offloaded *call)
{
    int error = 0;

    memset(call->holds, 0, sizeof call->holds);
    for (int index = 0; index < FDS_MAX; index++) {
        if (call->fds[index] < 0)
            continue;
        call->holds[index].fd = call->fds[index];
        error = inflight_add(&hub_self()->ops.inflight, &call->holds[index]);
        if (error < 0) {
            let_go(call, index);
            break;
        }
    }
    return error;
}

/* ---- the call -------------------------------------------------------------------------------- */

static void run(struct offload_job *job)
{
    struct offloaded *call = CONTAINER_OF(job, struct offloaded, job);

    call->result = call->call(call);
    if (call->result < 0)
        call->result = -errno;
}

static void done(struct offload_job *job)
{
    source_done(&CONTAINER_OF(job, struct offloaded, job)->source);
}

static void take_back(struct source *source)
{
    struct offloaded *call = CONTAINER_OF(source, struct offloaded, source);

    if (!offload_take_back(&call->job))
        return; /* done lets go */
    call->result = -ECANCELED;
    source_done(source);
}

static int start(struct offloaded *call)
{
    int error = hold(call);

    if (error < 0)
        return error;
    call->job.run = run;
    call->job.on_done = done;
    error = offload_start(hub_self(), &call->job, OFFLOAD_CALLS);
    if (error < 0)
        let_go(call, FDS_MAX);
    return error;
}

int64_t offloaded_await(struct offloaded *call, const char *what)
{
    struct wait wait;
    int error = wait_begin(&wait, what, call->fds[0]);

    if (error == 0)
        error = start(call);
    if (error < 0)
        return error;
    wait_hold(&wait, &call->source, take_back);
    wait_park(&wait);
    let_go(call, FDS_MAX);
    if (wait.interruption && call->result == -ECANCELED)
        return wait_outcome(&wait);
    return call->result;
}
