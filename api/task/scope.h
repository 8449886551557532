/* Scopes, for the calls that start tasks in them. */
#ifndef GRING_API_TASK_SCOPE_H
#define GRING_API_TASK_SCOPE_H

#include "runtime/task.h"

struct gring_scope;

/* May a task be spawned into it, here and now? -errno: EINVAL not open, EPERM on another thread,
 * ECANCELED. */
int scope_admits(const struct gring_scope *scope);

/* Makes a new task, not yet ready, the scope's. borrowed: the caller's handle is from now on the
 * scope's. -ENOMEM. */
int scope_adopt(struct gring_scope *scope, struct gring_task *task, bool daemon, bool borrowed);

/* Takes that back, of a task that nobody saw. */
void scope_disown(struct gring_task *task);

#endif
