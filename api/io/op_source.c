/* An op as a source; see op_source.h. */
#include "api/io/op_source.h"

#include "base/check.h"
#include "runtime/hub.h"

void op_source_done(struct op *op)
{
    struct op_source *waiting = op->owner;

    source_done(&waiting->source);
}

static void ask_to_stop(struct source *source)
{
    ops_cancel(&hub_self()->ops, CONTAINER_OF(source, struct op_source, source)->op);
}

int op_source_enlist(struct wait *wait, struct op_source *waiting, struct op *op)
{
    int error;

    op->owner = waiting;
    op->on_done = op_source_done;
    error = ops_submit(&hub_self()->ops, op);
    if (UNLIKELY(error < 0))
        return error;
    waiting->op = op;
    wait_hold(wait, &waiting->source, ask_to_stop);
    return 0;
}
