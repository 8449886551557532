/*
 * Threads for what cannot be asked of the kernel without blocking: so far one class, name look-ups.
 *
 *    hub: offload_start ──► queue ──► thread: job->run ──► mail ──► hub: job->on_done
 *
 * A job belongs to the pool from offload_start until on_done, which runs on the hub's loop. The threads are made as they
 * are needed, up to the class's limit, block all signals, and end at offload_stop, which waits for jobs that have begun.
 */
#ifndef GRING_RUNTIME_OFFLOAD_H
#define GRING_RUNTIME_OFFLOAD_H

#include "base/list.h"
#include "runtime/mailbox.h"

#include <stdbool.h>

struct gring_hub;

struct offload_job {
    void (*run)(struct offload_job *job);     /* on a thread of the pool */
    void (*on_done)(struct offload_job *job); /* on the hub's loop */
    struct mail mail;
    struct list link; /* while queued */
    struct gring_hub *hub;
};

/* On the hub's thread. -EAGAIN: not even one thread could be made; nothing was begun. */
int offload_start(struct gring_hub *hub, struct offload_job *job);

/* True: it had not begun, and is the caller's again; on_done will not come. */
bool offload_cancel(struct offload_job *job);

/* Threads of ours that exist now, for the census. */
int offload_thread_count(void);

/* Ends the threads; no job may be queued or running. */
void offload_stop(void);

#endif
