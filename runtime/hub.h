/*
 * The hub: one OS thread's ring, timer wheel and ready lanes, and the loop that turns them.
 *
 *      ┌─► ready ──► timers ──► mail ──► enter ──► reap ─┐
 *      └──────────────────────────────────────────────────┘
 *
 *   ready    runs at most TURN_TASKS tasks; a parking task switches straight to the next, the
 *            loop's own stack is
 *            visited only when none is left or the turn is used up
 *   timers   time moves once a turn; due timers make tasks ready
 *   mail     requests of other threads
 *   enter    one enter submits everything queued and, if nobody is ready, waits until the
 *            nearest timer
 *   reap     completions make tasks ready; no user code runs here
 *
 * Bounded turns are what keeps ready tasks, completions and timers from starving each other. Of
 * the three lanes the higher goes first, but a lane that was passed over for LANE_PATIENCE turns
 * gets one run.
 */
#ifndef GRING_RUNTIME_HUB_H
#define GRING_RUNTIME_HUB_H

#include "base/slab.h"
#include "runtime/mailbox.h"
#include "runtime/stack.h"
#include "runtime/task.h"
#include "runtime/wheel.h"
#include "uring/buffers.h"
#include "uring/op.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

enum { TURN_TASKS = 64, TURN_COMPLETIONS = 512, LANE_PATIENCE = 8 };

struct hub_config {
    unsigned ring_entries;
    size_t stack_bytes; /* 0: default */
    size_t max_tasks;   /* SIZE_MAX: no limit of ours */
    gring_ns slice;
    bool shuffle, fake_time, no_sigsegv;
    uint64_t seed;
};

struct gring_hub {
    struct gring_task *running; /* NULL while the loop itself runs */
    unsigned turn_left;         /* tasks that may still run in this turn */
    unsigned lanes_served;      /* bits */
    unsigned lanes_owed;        /* bits: passed over for too long */
    uint8_t lane_passed_over[LANE_COUNT];
    struct fifo lanes[LANE_COUNT];

    struct cxx_exceptions *cxx; /* the thread's; none while nobody handles one */
    struct coro coro;           /* the loop's own */
    struct ops ops;
    struct buffers buffers; /* made at the first use */
    struct wheel wheel;
    gring_ns now; /* as of this turn */
    struct mailbox mailbox;
    struct slab tasks;
    struct stacks stacks;
    struct stack_pool *default_pool;
    struct list idlers; /* tasks that wait for the hub to have nothing to do */

    struct hub_config config;
    bool ending; /* the other tasks are being killed: max_tasks is 0, nothing new begins */
    struct gring_task *main_task;
    struct end_waiter *last_one_waiter; /* told when only the main task is left */
    size_t live_count;                  /* tasks that have not ended */
    uint64_t next_task_id, spawn_count, switch_count, turn_count;
    size_t offload_count; /* jobs of other threads that will send mail */
    uint64_t random;
    unsigned checkpoint_left, checkpoint_step;
    gring_ns checkpoint_time;
    struct coro thread_coro; /* the thread's own stack, where the main task runs */
    char *signal_stack;
    stack_t old_signal_stack;
    gring_ns next_thread_look, thread_look_pause; /* the census, about threads that are not ours */
    uint64_t run_number;                          /* no other run of this process has it */
};

/* Tasks do not migrate, so the compiler may keep what it reads here across a switch. */
extern _Thread_local struct gring_hub *hub_of_thread
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

static inline struct gring_hub *hub_self(void)
{
    return hub_of_thread;
}

/* The running task; NULL on a plain thread and while the loop itself runs. */
static inline struct gring_task *hub_running_task(void)
{
    struct gring_hub *hub = hub_self();

    return hub ? hub->running : NULL;
}

/* The calling thread becomes the hub, its stack the main task's. -errno. */
int hub_open(struct gring_hub *hub, const struct hub_config *config);
/* On the hub's thread, when the last task, the main one, has ended. */
void hub_close(struct gring_hub *hub);

/* The lowest descriptor from `first` on that the hub itself lives on; -1: none. From any thread. */
int hub_next_own_descriptor(const struct gring_hub *hub, unsigned first);

/* ---- called by wait and task ----------------------------------------------------------------- */

/* Parks the running task until task_ready, which may come only from the loop or from another
 * task. */
void hub_park(struct gring_task *task);

/* Behind everybody that is ready. */
void hub_yield(struct gring_task *task);

/* The running task's coro has nothing more to do: goes on with the next unstarted task, which is
 * then `running`, on this very stack; or gives the stack back and leaves for good, to return
 * when the coro is taken again. */
void hub_next_task(struct gring_hub *hub, struct coro *coro);
_Noreturn void hub_leave_stack(struct gring_hub *hub, struct coro *coro);

void hub_make_ready(struct gring_hub *hub, struct gring_task *task);

/* Moves a standing clock (hub_config.fake_time), never backwards. */
void hub_set_time(struct gring_hub *hub, gring_ns now);
gring_ns hub_read_clock(const struct gring_hub *hub);

/* A timer that the hub fires: on_fire runs on the loop. */
struct hub_timer {
    struct timer timer;
    void (*on_fire)(struct hub_timer *timer);
};

#endif
