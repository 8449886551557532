/*
 * Coroutines: several stacks in one task, of which one runs.
 *
 *     task ─► extras ─► cos ─► root       the task's own stack, on which its function runs
 *                               ├─ a      children: whoever ends goes on in its parent
 *                               │  └─ b   ◄─ running; task->coro is its stack
 *                               └─ c
 *
 * The hub has never heard of them: task->coro follows the running one, so a wait parks the whole
 * task and goes on right there.
 *
 * Frames and shields belong to the coroutine that opened them. They count in it and in its
 * descendants, as they would if it had called these; not in others. So each coroutine's list of
 * frames ends in one of its own, `outside`, that leads on to its parent's:
 *
 *     task->frames ─► deadline ─► outside of b ─► outside of a ─► scope ─► NULL
 *                     └──────── b's ─────────┘    └─── a's ───┘   └─ root's ─┘
 *
 * What a coroutine has opened while it is neither running nor an ancestor of the running one is
 * off the task's list, and nothing reaches it there. Entering it puts it back, inside what is now
 * around it; whatever came in between reaches it then.
 */
#ifndef GRING_RUNTIME_CO_H
#define GRING_RUNTIME_CO_H

#include "base/list.h"
#include "runtime/frame.h"

enum co_state { CO_NEW, CO_SUSPENDED, CO_RUNNING, CO_ENDED };

/* The code that reaches the root when another coroutine has called gring_exit. */
enum { CO_EXIT = -1 };

struct gring_co {
    struct cos *cos;
    struct gring_co *parent; /* NULL: the root */
    struct gring_co *inner;  /* towards the one that is being entered; only then */
    struct coro *coro;       /* NULL before the first switch to it and after its end */
    struct stack_pool *pool;
    gring_fn fn;
    void *value; /* what the latest switch to it brought, */
    int code;    /* and the errno thrown with it, or 0 */
    int failure; /* gring_fail */
    uint8_t state;
    uint8_t shield_depth; /* these two are the task's while it runs */
    bool is_generator;    /* lies at the beginning of one */
    struct frame *frames;
    struct frame outside; /* its shield_depth: the parent's */
    struct list children, sibling;
};

struct cos {
    struct gring_task *task;
    struct gring_co *running;
    struct gring_co root;
};

/* Those of the running task, made if need be. NULL: out of memory. */
struct cos *cos_of(struct gring_task *task);

/* The memory is the caller's, from malloc; it is freed by co_free or with the task. Its stack is
 * reserved. -errno: EINVAL an absurd stack size, ENOMEM, EAGAIN. */
int co_init(struct gring_co *co, gring_fn fn, struct gring_co *parent, size_t stack_bytes);

/* -EBUSY: it runs, or encloses the running one and has not ended, or has frames or shields. Its
 * children become its parent's. */
int co_free(struct gring_co *co);

/* -EINVAL: the root, or a cycle. */
int co_set_parent(struct gring_co *co, struct gring_co *parent);

/*
 * Goes on in `to` and returns the code that came back, with *value. If it cannot be there because
 * it has ended, or because an error reaches it before it began, which ends it: in its parent.
 */
int co_switch(struct gring_co *to, void *value, int code, void **received);

/* The coroutine that runs, if it is not the root; else NULL. */
static inline struct gring_co *co_inside(const struct gring_task *task)
{
    struct cos *cos = task->extras ? task->extras->cos : NULL;

    return cos && cos->running != &cos->root ? cos->running : NULL;
}

/* Shields around the running coroutine, which are not its own to leave. */
static inline uint8_t co_shields_outside(const struct gring_task *task)
{
    const struct gring_co *co = co_inside(task);

    return co ? co->outside.shield_depth : 0;
}

/* The running one ends here, and the root receives CO_EXIT. */
_Noreturn void co_exit(struct gring_co *co, void *value);

/* The task exits: closes the frames of all, which are suspended. May park. */
void cos_unwind(struct gring_task *task);
/* CHECKs that there are none: the stacks they lie on go with the task. */
void cos_check_frames(const struct gring_task *task);
/* The task ends: what is suspended is abandoned, and all memory freed. */
void cos_destroy(struct gring_task *task);

#endif
