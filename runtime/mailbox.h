/*
 * Mail for a hub, from any thread.
 *
 * A mail is a node in the sender's memory with the function that the hub is to call on its own
 * loop. The sender's memory is the hub's from mailbox_post until the call; the function may free
 * it.
 *
 * No wake-up is lost. The sleeper and the sender each write one thing and then look at the other's:
 *
 *      hub: asleep = true ; fence ; is the queue empty?  → enter and wait
 *   sender: push the mail ; fence ; asleep?              → signal the eventfd
 *
 * With a full fence between write and look on both sides, at least one of them sees the other
 * (the argument of Dekker's algorithm): either the hub finds the mail and does not wait, or the
 * sender finds it asleep and signals. The signal is a count in an eventfd on which the hub, from
 * its first sleep on, has a READ in flight, so it also ends a wait that had not yet begun.
 * Whoever signals clears `asleep`, so a burst of mail costs one signal.
 */
#ifndef GRING_RUNTIME_MAILBOX_H
#define GRING_RUNTIME_MAILBOX_H

#include "base/mpsc.h"
#include "uring/op.h"

#include <stdatomic.h>
#include <stdbool.h>

struct mail {
    struct mpsc_node node;
    void (*deliver)(struct mail *mail);
};

struct mailbox {
    struct mpsc queue;
    atomic_bool asleep;
    bool watched; /* the read is in flight */
    int event_fd;
    uint64_t signal_count; /* what the read fetched */
    struct op read;
};

int mailbox_open(struct mailbox *mailbox);
/* Ends the read; the caller has reaped it when `watched` is false. */
void mailbox_close(struct mailbox *mailbox);

/* From any thread. */
void mailbox_post(struct mailbox *mailbox, struct mail *mail);

/* Calls what has come. What comes meanwhile waits for the next turn, so a turn is bounded by
 * what was there. */
void mailbox_deliver(struct mailbox *mailbox);

/* Announces the sleep; false: mail has come, do not wait. */
bool mailbox_may_sleep(struct mailbox *mailbox, struct ops *ops);
void mailbox_awake(struct mailbox *mailbox);

#endif
