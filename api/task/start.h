/* Implicit start: the hub of the calling thread, made if the process has no runtime yet. */
#ifndef GRING_API_TASK_START_H
#define GRING_API_TASK_START_H

#include "runtime/hub.h"

#include <stdbool.h>

int start_implicitly(void);

/* A plain thread of a running program: there the calls that only pass time are the thread's own. */
bool start_is_elsewhere(void);

/* 0, or -errno: EPERM on a plain thread of a running program, ECHILD after fork, what gring_init
 * says. */
static inline int start_if_needed(void)
{
    return __builtin_expect(hub_self() != NULL, 1) ? 0 : start_implicitly();
}

#endif
