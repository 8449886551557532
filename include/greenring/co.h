/* greenring/co.h - bare coroutines (the greenlet layer) and generators.
 *
 * A coroutine is a stack of its own within a task. They switch to one another by name, with a
 * value each way; nobody schedules them, and the hub does not know them: when one of them calls a
 * [wait] function the whole task is parked and goes on right there. What a task is (its name, its
 * key values, its kill) they share. Each task begins in its root coroutine, the one its function
 * runs in, whose handle is what gring_co_self() returns there.
 *
 * Deadlines, shields and scopes belong to the coroutine that opened them, and must be ended in it
 * (else a CHECK failure, as when its function returns and leaves a deadline or scope open). They
 * count in it and in all its descendants, as if it had called these: a deadline around a switch
 * to a child bounds what the child waits for. In others they do not count; an expiry or kill that
 * passes meanwhile reaches a coroutine's scopes when it, or a descendant, is next switched to.
 *
 * The end of the task: coroutines that are suspended are abandoned (their frames are not unwound)
 * after its defers and key destructors, and all are freed: handles are void then. One that has a
 * deadline or scope open is a CHECK failure. gring_exit in a coroutine ends the task: scopes and
 * deadlines of all its coroutines are ended.
 *
 * All calls are for the task itself: on a plain thread and in callbacks they fail with EPERM,
 * after fork(2) with ECHILD. A coroutine's function that returns in the child of a fork ends the
 * process, as that of a task does.
 */
#ifndef GRING_CO_H
#define GRING_CO_H
#include <greenring/base.h>
GRING_BEGIN

typedef struct gring_co gring_co;

/* fn gets the value of the first switch to it; what it returns goes to the parent. errno is 0
 * when it begins. parent: NULL is the running one; else one of this task's. stack_size: bytes,
 * with an own guard; 0 is the run's default; 16 KiB to 1 GiB. Give it back with gring_co_free, or
 * leave it to the end of the task.
 * NULL: EINVAL no fn, or an absurd size; EPERM another task's parent; ENOMEM; EAGAIN no room for
 * another stack under vm.max_map_count. */
GRING_API gring_co *gring_co_new(gring_fn fn, gring_co *parent, size_t stack_size);

/* Goes on in `to`, with `in` for it; returns when somebody switches here, with what they gave in
 * *out (may be NULL). A switch to oneself returns at once.
 *
 * When fn returns, its parent is switched to: there a value is the outcome 0, and after
 * gring_fail, which in a coroutine is about this coroutine, its code, with the value. A parent
 * that has ended is passed by for its own parent; one that has not begun gets the value as its
 * argument, and of a code ends at once as below.
 * outcome: 0; err>0 thrown at us with gring_co_throw, or the code that a child ended with;
 * -1: ESRCH `to` has ended, EPERM it is another task's, EINVAL NULL. */
GRING_API int gring_co_switch(gring_co *to, void *in, void **out);

/* The same, but the switch that `to` is in returns err there, with NULL. One that has not begun
 * ends at once, without running, and err goes to its parent: to us, if we are.
 * -1: also EINVAL err <= 0. */
GRING_API int gring_co_throw(gring_co *to, int err, void **out);

/* NULL: EPERM, ECHILD; ENOMEM in the root of a task that has made none so far. */
GRING_API gring_co *gring_co_self(void);
GRING_API gring_co *gring_co_parent(const gring_co *c); /* NULL: c is the root */
/* status: EINVAL a cycle, c is the root, another task's, NULL. What encloses c from now on is what
 * encloses the parent. */
GRING_API int gring_co_set_parent(gring_co *c, gring_co *parent);

typedef enum { GRING_CO_NEW, GRING_CO_SUSPENDED, GRING_CO_RUNNING, GRING_CO_ENDED } gring_co_state;
GRING_API gring_co_state gring_co_status(const gring_co *c);

/* The frames of a suspended one are abandoned, not unwound: what they own is lost. Its children
 * become its parent's. NULL is fine.
 * status: EBUSY it is running, or an ancestor of the running one that has not ended, or has a
 * deadline, a shield or a scope open; EPERM another task's; EINVAL a generator's, which
 * gring_gen_free frees. */
GRING_API int gring_co_free(gring_co *c);

/* ---- generators ---------------------------------------------------------------
 * A function that hands out items one by one and stays where it is in between:
 *
 *   static void count(gring_gen *g, void *arg)
 *   {
 *       for (intptr_t i = 0; i < 3 && gring_gen_yield(g, (void *)i) == 0; i++)
 *           ;
 *   }
 *   g = gring_gen_new(count, NULL);
 *   while (gring_gen_next(g, &item) > 0) ...
 *   gring_gen_free(g);
 *
 * It is a coroutine with a stack of the default size, whose parent is whoever asks for the next
 * item. It may call anything, other generators and [wait] functions included, and yields from
 * any depth. */
typedef struct gring_gen gring_gen;
typedef void (*gring_gen_fn)(gring_gen *g, void *arg);

/* Nothing of fn runs before the first item is asked for. NULL: as gring_co_new. */
GRING_API gring_gen *gring_gen_new(gring_gen_fn fn, void *arg);

/* next: 1 and *item (may be NULL); 0 fn has returned, now or earlier;
 * -1: the code that fn ended with by gring_fail, once, then 0; EBUSY fn itself called this, or a
 * generator or coroutine below it; EPERM another task's; EINVAL NULL; what was thrown at the
 * caller meanwhile with gring_co_throw; EINTR another coroutine switched to the caller meanwhile:
 * its value is lost, g goes on with the next call. */
GRING_API int gring_gen_next(gring_gen *g, void **item);

/* In fn: hands out an item and stops here until the next one is asked for.
 * status: ECANCELED g is being freed, return (no further item is taken); what was thrown at this
 * coroutine with gring_co_throw; EPERM not called in fn. */
GRING_API int gring_gen_yield(gring_gen *g, void *item);

/* Lets a suspended fn run to its end: gring_gen_yield fails there with ECANCELED. One that has not
 * begun never runs. Its code is dropped. NULL is fine. No other coroutine may be suspended in
 * gring_gen_next of it. From inside fn, or by another task, it is a CHECK failure. Those that are
 * left when the task ends are abandoned as coroutines are. [park] */
GRING_API void gring_gen_free(gring_gen *g);
GRING_END
#endif
