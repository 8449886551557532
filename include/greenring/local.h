/* greenring/local.h - task-local storage: a pointer of its own for each task and key.
 *
 * As pthread_key_create(3), for tasks. Keys are the process's and outlive a run; values are a
 * task's, the main one's too, and shared by its coroutines (greenring/co.h). A get costs a few
 * loads, a task that sets nothing pays nothing.
 */
#ifndef GRING_LOCAL_H
#define GRING_LOCAL_H
#include <greenring/base.h>
GRING_BEGIN

typedef unsigned gring_key; /* 0 is never one */

/* A new task starts with its spawner's pointer; the destructor is not run for it there, unless
 * the task sets one itself. So what it points to must outlive whoever inherits it. A task that is
 * spawned by a plain thread or a callback inherits nothing. */
#define GRING_KEY_INHERIT 0x1u

/*
 * dtor (may be NULL) is called with each value that is not NULL at the end of its task, after the
 * task's defers and before it is GRING_DONE. It runs in the task, may park, and is not
 * interrupted; the value is NULL by then, so it may set another: after each round over the keys
 * what was deferred and set meanwhile has its turn, four rounds at most
 * (PTHREAD_DESTRUCTOR_ITERATIONS); what is still set after them is forgotten. Order among keys:
 * none is promised.
 * status: EINVAL no *key, unknown flags; EAGAIN there are 64. Without a runtime too. [any]
 */
GRING_API int gring_key_create(gring_key *key, void (*dtor)(void *value), unsigned flags);
/* Runs no destructors, now or later; reading gives NULL from now on, also if the place is used
 * for another key. status: EINVAL no such key. [any] */
GRING_API int gring_key_delete(gring_key key);

/* NULL: not set; no such key (any more); on a plain thread and in callbacks, which have no task. */
GRING_API void *gring_key_get(gring_key key);
/* The old value is not destroyed. status: EINVAL no such key, ENOMEM, EPERM on a plain thread and
 * in callbacks, ECHILD after fork(2). */
GRING_API int gring_key_set(gring_key key, void *value);
GRING_END
#endif
