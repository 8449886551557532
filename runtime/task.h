/*
 * The task: a function with a stack of its own that runs until it waits.
 *
 *                 spawn            its turn              returned
 *            NEW ───────► (ready lane) ───────► RUNNING ───────────► DONE
 *                              ▲                  │
 *                   task_ready │                  │ wait_park
 *                            READY ◄──────────  PARKED
 *
 * A task belongs to one hub from its first instruction to its last, so errno and thread-locals
 * stay valid across a switch. The record (dense, from the hub's slab) lives until the last
 * handle is dropped; the stack is bound at the first run and given back at the end.
 *
 * Who may touch what: everything here belongs to the hub's thread, but the atomics. Other
 * threads ask: they set bits in `requests` and, whoever finds it zero, post the record's one
 * mail. Nothing is allocated for that, and the owning hub does all else.
 */
#ifndef GRING_RUNTIME_TASK_H
#define GRING_RUNTIME_TASK_H

#include "base/check.h"
#include "base/list.h"
#include "runtime/mailbox.h"
#include "runtime/stack.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef void *(*gring_fn)(void *arg); /* as <greenring/base.h> says */
typedef void (*gring_cb)(void *arg);

enum task_state { TASK_FREE, TASK_NEW, TASK_READY, TASK_RUNNING, TASK_PARKED, TASK_DONE };

enum lane { LANE_HIGH, LANE_NORMAL, LANE_BACKGROUND, LANE_COUNT };

/* Why a waiting call must fail. Several can be pending; the lowest bit is the one reported. */
enum interrupt { INTERRUPT_KILL = 1, INTERRUPT_THROW = 2, INTERRUPT_DEADLINE = 4 };

/* Bits of `requests`; what is above them counts handles dropped by other threads. */
enum request {
    REQUEST_UNPARK = 1,
    REQUEST_KILL = 2,
    REQUEST_THROW = 4,
    REQUEST_DROP_UNIT = 1 << 8
};

struct wait;
struct source;
struct gring_task;

/* Told when a task has ended: a parked joiner, a blocked thread. Lies on the waiter's own stack. */
struct end_waiter {
    struct list link;
    void (*on_end)(struct end_waiter *waiter);
    bool ignores_outcome; /* a failure is still reported if nobody else asks */
};

/* gring_link and gring_defer: what is to be called at the end. */
struct ending {
    struct ending *next;
    void (*link_fn)(struct gring_task *task, void *arg); /* a link, or NULL */
    gring_cb defer_fn;
    void *arg;
};

enum { TASK_NAME_BYTES = 32 };

/* What most tasks never need; made at the first use. */
struct task_extras {
    struct ending *links, **links_tail; /* first in, first called */
    struct ending *defers;              /* last in, first called */
    struct task_locals *locals;         /* local.h */
    struct cos *cos;                    /* co.h */
    char name[TASK_NAME_BYTES];
};

struct gring_task {
    /* All that parking and waking touch: one cache line. */
    struct fifo_node ready_link; /* first: the slab keeps its free list here */
    struct gring_hub *hub;
    struct coro *coro; /* NULL before the first run */
    struct wait *wait; /* what it is parked on, on its own stack */
    gring_fn fn;
    void *arg;
    void *result;
    _Atomic uint8_t state; /* written by the hub; read from anywhere */
    uint8_t lane;
    uint8_t shield_depth;
    uint8_t interrupts; /* pending, enum interrupt */
    /* in a row, modulo 256: a task that ignores its kill must not starve the hub */
    uint8_t refused_waits;
    _Atomic uint8_t throw_claimed; /* by whoever throws, from any thread, until it is reported */
    /* somebody waited for it or is linked to it: its failure is no secret */
    bool outcome_seen : 1;
    bool told_killed : 1; /* some waiting call reported the kill */
    bool code_is_own : 1; /* gring_fail */
    bool unparked : 1;    /* gring_unpark came before gring_park */
    bool husk : 1;        /* ended before it ran, and its place in the lane is still there */
    bool is_main : 1;
    bool links_running : 1; /* a link that links is called by the same loop */
    bool in_park : 1;
    bool is_delayed : 1;
    bool has_abort : 1;
    bool is_borrowed : 1;  /* a scope owns the caller's handle */
    bool reports_held : 1; /* see task_hold_reports */
    bool report_due : 1;
    bool has_stack_timers : 1;
    bool has_locked : 1;

    struct list waiters;  /* end_waiters */
    struct frame *frames; /* deadlines and scopes around its calls, innermost first */
    struct task_extras *extras;
    struct stack_pool *pool;
    uint64_t id;
    int32_t code;     /* 0, or what it failed with */
    int32_t handles;  /* held on this hub, and one for being alive */
    atomic_int keeps; /* taken by other threads, on top */
    atomic_uint requests;

    /* Each of these means something only when a bit above says so: most tasks never touch this
     * cache line. */
    struct mail mail;             /* requests */
    _Atomic(void *) unpark_value; /* unparked */
    struct source *park_source;   /* in_park */
    struct task_delay *delay;     /* is_delayed */
    gring_cb abort;               /* has_abort: gets arg if fn never runs */
    /* throw_claimed: the errno; the claimer's until INTERRUPT_THROW is set */
    int32_t thrown;
    uint32_t locks_held; /* has_locked: mutexes and rwlocks; it must not end with one */
    uint32_t stack_timer_count; /* has_stack_timers: gring_timers on its stack that are pending */
};

static_assert(offsetof(struct gring_task, waiters) <= 64,
              "parking and waking touch one cache line");
static_assert(sizeof(struct gring_task) <= 192, "a parked task costs a page and this");

/* ---- on the hub's thread --------------------------------------------------------------------- */

/* A new record with two handles: the caller's and that of being alive. It is in no lane yet.
 * -errno: EAGAIN, ENOMEM. */
int task_new(struct gring_hub *hub, struct stack_pool *pool, gring_fn fn, void *arg,
             struct gring_task **task);

/* Puts a task that waits for nothing (any more) behind the others of its lane. */
void task_ready(struct gring_task *task);

/* The code every task coro runs: one task after the other. */
void task_main(void);

/* Ends the running task where it stands, on a stack that is abandoned. */
_Noreturn void task_exit(struct gring_task *task, void *result);

/* What a waiting call must fail with now: 0 or a positive errno. */
int task_interruption(const struct gring_task *task);

/* Starts a new task after `delay`, on the wheel until then. -ENOMEM: it was not begun. */
int task_start_after(struct gring_task *task, gring_ns delay);

/* Something new is pending: it reaches the wait and the scopes of the task, unless a shield is
 * in between. */
void task_interrupted(struct gring_task *task);

/* The errno that a waiting call now reports to its caller; a throw is thereby used up.
 * otherwise: if nothing is pending. */
int task_report(struct gring_task *task, int otherwise);

/*
 * For a call made of several waits, which returns its progress rather than an interruption of a
 * later one: reports in between use nothing up. At the end it says whether the error goes to the
 * caller; else it waits for the next call.
 */
void task_hold_reports(struct gring_task *task);
void task_release_reports(struct gring_task *task, bool passed_on);

/* A new task that is given up before anybody saw it: as if it had never been. */
void task_discard(struct gring_task *task);

/* Does a new task's work here and now, in the running one, and ends it: what its function returns
 * and fails with is its own outcome. It has never been in a lane. */
void task_run_here(struct gring_task *task);

/* Before a task ends elsewhere than by returning: leaves its shields, closes its scopes and
 * deadlines, also those of its coroutines, of which none runs. May park. */
void task_leave_frames(struct gring_task *task);
/* CHECKs that there are none left: their memory goes now. */
void task_check_frames(const struct gring_task *task);

/* Defers and the destructors of its locals. Of the main task when its function has returned; the
 * rest of its end comes when it is the last one. */
void task_clean_up(struct gring_task *task);
void task_end_main(struct gring_task *task, void *result);

/* Asks for the end of a task; from the hub's thread. */
void task_kill(struct gring_task *task);

/* Its end if it has not started: false, and nothing happens, if it has. From the hub's thread. */
bool task_cancel(struct gring_task *task);

/* The next waiting call fails with this errno. From any thread. -EALREADY: another throw is
 * unreported; -ESRCH. */
int task_throw(struct gring_task *task, int error);

/* One handle less; the record goes with the last. */
void task_drop(struct gring_task *task);
/* The same by whoever was given one: CHECKs that it is theirs. */
void task_give_back(struct gring_task *task);

/* The running task, or its running coroutine, fails with this code; in the child of a fork, where
 * there is none, the process will. */
void task_fail(int code);
int task_orphan_code(void);

/* The extras, made if need be; NULL: out of memory. */
struct task_extras *task_extras(struct gring_task *task);
void task_free_extras(struct gring_task *task);
void task_add_waiter(struct gring_task *task, struct end_waiter *waiter);
void task_unpark(struct gring_task *task, void *value);

/* ---- from any thread ------------------------------------------------------------------------- */

/* Sets the bits and lets the owning hub act on them. */
void task_request(struct gring_task *task, unsigned bits);

static inline enum task_state task_state(const struct gring_task *task)
{
    return (enum task_state)atomic_load_explicit(&task->state, memory_order_acquire);
}

/* Where a handle comes in from outside. Its record may be another task's by now: then nobody can
 * tell. */
static inline void task_check_handle(const struct gring_task *task)
{
    CHECK_SAY(task_state(task) != TASK_FREE,
              "a task's handle was used after it was given back: gring_join and gring_drop end "
              "it, gring_keep before them makes another one");
}

const char *task_name(const struct gring_task *task);

#endif
