/*
 * Task-locals: a pointer for each task and key.
 *
 *     key       [ generation | index ]     what its user holds; never 0
 *     keys      64 of them, the process's: generation, state and destructor by index
 *     task ─► extras ─► locals [ slot | slot | … ]     by index, made at the first set
 *
 * A slot remembers the key it was set with, so whoever gets an index again does not see what a
 * former key of that index has left in a task. The generation has 26 bits: a key of long ago is
 * mistaken for a present one only after 67 million others at its index.
 *
 * Slots belong to the task's hub, keys to everybody. A key is one atomic word, so that no lock is
 * held when a process forks:
 *
 *     free ──create: compare and exchange──► being made ──store──► live ──delete: same──► free
 *
 * The destructor is written between the first two arrows, with release. Who reads it does so with
 * acquire and then looks at the word again: if the destructor was that of a later key, the word
 * cannot be the former one any more.
 */
#ifndef GRING_RUNTIME_LOCAL_H
#define GRING_RUNTIME_LOCAL_H

#include "runtime/task.h"

enum {
    LOCAL_KEYS_MAX = 64,
    LOCAL_ROUNDS_MAX = 4, /* PTHREAD_DESTRUCTOR_ITERATIONS */
};

typedef void (*local_destructor)(void *value);

/* -EAGAIN: there are LOCAL_KEYS_MAX. From any thread. */
int local_key_create(unsigned *key, local_destructor destructor, bool inherit);
/* -EINVAL: no such key. From any thread. */
int local_key_delete(unsigned key);

void *local_get(const struct gring_task *task, unsigned key);
/* -EINVAL no such key; -ENOMEM. */
int local_set(struct gring_task *task, unsigned key, void *value);

/* How many live keys ask for it: a spawn looks at this, and at nothing else when it is 0. */
extern atomic_uint local_inheritable_count __attribute__((visibility("hidden")));

/* A new task gets what its spawner, or NULL, has under inheritable keys. -ENOMEM. */
int local_inherit(struct gring_task *task, const struct gring_task *spawner);

/* Calls the destructor of each value once; false: there was none to call. */
bool local_destroy_round(struct gring_task *task);
/* Whatever is left is nobody's any more. The task has extras. */
void local_forget(struct gring_task *task);

#endif
