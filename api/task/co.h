/* What gen.c needs of co.c: the checks that every switch begins with, and the switch itself. */
#ifndef GRING_API_TASK_CO_H
#define GRING_API_TASK_CO_H

#include "runtime/co.h"

/* 0: it is one of the running task's. -EINVAL NULL; -EPERM, -ECHILD. */
int co_is_ours(const struct gring_co *co);

/* The running task's running coroutine. -EPERM, -ECHILD, -ENOMEM. */
int co_running(struct gring_co **co);

/* co_switch; the root, when another coroutine has called gring_exit, exits here. */
int co_go(struct gring_co *to, void *value, int code, void **received);

#endif
