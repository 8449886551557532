/* The end of a task as one source of a wait among others; for the calls that join, and choose. */
#ifndef GRING_API_TASK_JOIN_H
#define GRING_API_TASK_JOIN_H

#include "runtime/wait.h"

struct join {
    struct end_waiter waiter;
    struct source source;
};

/* A task of this hub that has not ended. */
void join_enlist(struct wait *wait, struct join *join, struct gring_task *task);

/* Of a task that has ended: its code, and its value, if result is not NULL. */
int join_collect(const struct gring_task *task, void **result);

#endif
