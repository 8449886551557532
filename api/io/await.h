/*
 * The waist: every verb of io and net is prep, await, result.
 *
 * The op and every buffer it names lie on the parked task's stack or are the caller's, and are
 * the kernel's until this returns. Only the op's own last completion ends the wait: a kill asks
 * the kernel to stop, and if the operation completed all the same its result is returned and the
 * kill waits for the next call.
 */
#ifndef GRING_API_IO_AWAIT_H
#define GRING_API_IO_AWAIT_H

#include "api/io/op_source.h"
#include "uring/prep.h"

/* What the completion says, or -errno: ECANCELED, EBADF by gring_close. what: the verb, for the
 * census. */
int await(struct op *op, const char *what);

/* The same for who must look at the completion while it is reaped: on_done does, and ends with
 * op_source_done. */
int await_with(struct op *op, const char *what, void (*on_done)(struct op *op));

#endif
