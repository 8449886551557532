/*
 * The one runtime of the process: started once, stopped once, then perhaps started again.
 *
 * After fork(2) the child has none: its thread-locals say so, the rings were not inherited
 * (MADV_DONTFORK), and until it starts one of its own every call that needs a hub fails with
 * ECHILD.
 */
#ifndef GRING_RUNTIME_RUNTIME_H
#define GRING_RUNTIME_RUNTIME_H

#include "runtime/hub.h"

enum runtime_end {
    RUNTIME_KILL, /* the other tasks are killed and awaited */
    RUNTIME_DRAIN /* they are awaited */
};

/* The calling thread becomes hub 0. -EBUSY: there is one. Else as hub_open. */
int runtime_start(const struct hub_config *config, enum runtime_end end);

/* By the main task: ends the others as runtime_start said, then everything. result: the main
 * task's. Its code: >= 0. */
int runtime_stop(void *result);

/* The hub, from any thread; NULL while there is none. */
struct gring_hub *runtime_hub(void);

/* 0, or why the calling thread, which has no hub, cannot start one by itself: -EPERM there is a
 * runtime on another thread, -ECHILD this is the child of a fork. */
int runtime_may_start(void);

/* Has this process lost its hub by a fork, and started no other one? */
bool runtime_is_lost(void);

/* Why the calling thread has no hub, for calls that need one: -ECHILD or -EPERM. */
int runtime_no_hub(void);

/* Between the two the hub does not go away, and its mail is delivered. False: it is not running
 * (any more). */
bool runtime_visit(struct gring_hub *hub);
void runtime_leave(void);

/* fn(arg) on the hub's loop, from a plain thread, which blocks until it has run. -ECHILD: the
 * hub is the parent's, and this is the child of a fork; -EPERM: it does not run any more. */
int runtime_call(struct gring_hub *hub, gring_cb fn, void *arg);

#endif
