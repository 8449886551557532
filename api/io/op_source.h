/*
 * An op as a source of a wait: its last completion lets go of it. Withdrawn, the kernel is asked
 * to stop it, and it lets go when that completion is in.
 *
 * await is the case of one op and nothing else; readiness.h is a descriptor among several sources.
 */
#ifndef GRING_API_IO_OP_SOURCE_H
#define GRING_API_IO_OP_SOURCE_H

#include "runtime/wait.h"
#include "uring/op.h"

#include <errno.h>

/* On the parked task's stack or in memory that stays until wait_park has returned, as the op. */
struct op_source {
    struct source source;
    struct op *op;
};

/* Hands a prepared op to the kernel. -EBADF: its descriptor is being closed, or can be none:
 * nothing was begun then. */
int op_source_enlist(struct wait *wait, struct op_source *waiting, struct op *op);

/* The on_done that enlisting sets; for who sets his own and ends with it. */
void op_source_done(struct op *op);

/* Its end was asked for, and that is all that happened. */
static inline bool op_was_cancelled(const struct op *op)
{
    return op->result == -ECANCELED || op->result == -EINTR;
}

#endif
