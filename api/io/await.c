/* One op as the one source of a wait; see await.h. */
#include "api/io/await.h"

#include "base/check.h"

int await_with(struct op *op, const char *what, void (*on_done)(struct op *op))
{
    struct op_source waiting;
    struct wait wait;
    int error = wait_begin(&wait, what, op->on_descriptor ? op->fd : -1);

    if (UNLIKELY(error < 0))
        return error;
    error = op_source_enlist(&wait, &waiting, op);
    if (UNLIKELY(error < 0))
        return error;
    op->on_done = on_done;
    wait_park(&wait);
    CHECK(op->state == OP_DONE); /* only a completion ends an IO wait */
    if (UNLIKELY(wait.interruption) && op_was_cancelled(op))
        return wait_outcome(&wait);
    return op->result;
}

int await(struct op *op, const char *what)
{
    return await_with(op, what, op_source_done);
}
