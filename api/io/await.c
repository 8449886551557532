/* One op as the one source of a wait; see await.h. */
#include "api/io/await.h"

#include "base/check.h"
#include "runtime/hub.h"
#include "runtime/wait.h"

#include <errno.h>

struct op_source {
    struct source source;
    struct op *op;
};

static void op_done(struct op *op)
{
    struct op_source *waiting = op->owner;

    source_done(&waiting->source);
}

static void ask_to_stop(struct source *source)
{
    ops_cancel(&hub_self()->ops, CONTAINER_OF(source, struct op_source, source)->op);
}

static bool was_cancelled(const struct op *op)
{
    return op->result == -ECANCELED || op->result == -EINTR;
}

int await(struct op *op, const char *what)
{
    struct op_source waiting = { .op = op };
    struct wait wait;
    int error = wait_begin(&wait, what, op->on_descriptor ? op->sqe.fd : -1);

    if (UNLIKELY(error < 0))
        return error;
    op->owner = &waiting;
    op->on_done = op_done;
    error = ops_submit(&hub_self()->ops, op);
    if (UNLIKELY(error < 0))
        return error;
    wait_hold(&wait, &waiting.source, ask_to_stop);
    wait_park(&wait);
    CHECK(op->state == OP_DONE); /* only a completion ends an IO wait */
    if (UNLIKELY(wait.interruption) && was_cancelled(op))
        return wait_outcome(&wait);
    return op->result;
}
