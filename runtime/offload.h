/*
 * Threads for what cannot be asked of the kernel without blocking: name look-ups, opening what
 * waits (a FIFO), and calls on files that have no opcode.
 *
 *    hub: offload_start ──► queue ──► thread: job->run ──► mail ──► hub: job->on_done
 *                                         └── abandoned meanwhile ──► thread: job->discard
 *
 * A job belongs to the pool from offload_start until on_done, which runs on the hub's loop; or,
 * if it was abandoned, until discard, on whatever thread is at hand. So whoever waits can leave
 * at any moment: a job owns all its memory. One that is only ever taken back before it begins, and
 * awaited from then on, may lie on the stack of who waits.
 *
 * Each class has threads of its own, so that a full one does not starve another. They are made
 * as they are needed, up to the class's limit, block all signals, and end at offload_stop, which
 * does not wait for abandoned jobs.
 */
#ifndef GRING_RUNTIME_OFFLOAD_H
#define GRING_RUNTIME_OFFLOAD_H

#include "base/list.h"
#include "runtime/mailbox.h"

#include <stdbool.h>

struct gring_hub;

enum offload_class {
    OFFLOAD_NAMES,
    OFFLOAD_FILES, /* openings, which may wait for ever */
    OFFLOAD_CALLS, /* on files that are open: each ends by itself */
    OFFLOAD_CLASS_COUNT
};

struct offload_job {
    void (*run)(struct offload_job *job);     /* on a thread of the pool */
    void (*on_done)(struct offload_job *job); /* on the hub's loop */
    /* instead of on_done, if abandoned; undoes and frees */
    void (*discard)(struct offload_job *job);
    struct mail mail;
    struct list link; /* while queued */
    struct gring_hub *hub;
    enum offload_class class_index;
    bool abandoned, finished; /* under the class's lock */
};

/* On the hub's thread. -EAGAIN: not even one thread could be made; nothing was begun. */
int offload_start(struct gring_hub *hub, struct offload_job *job, enum offload_class class_index);

/* On the hub's thread. True: it had not begun, and is the caller's again; neither on_done nor
 * discard will come. False: it has begun, on_done follows. */
bool offload_take_back(struct offload_job *job);

/* On the hub's thread: nobody waits for it any more; on_done will not come, discard will. */
void offload_abandon(struct offload_job *job);

/* Threads of ours that exist now, for the census. */
int offload_thread_count(void);

/* In the child of a fork: the threads are the parent's, and so is whoever holds a lock. */
void offload_forget(void);

/* Ends the threads but those that are busy with an abandoned job: they stay for a later run. */
void offload_stop(void);

#endif
