/*
 * Frames: what encloses a task's calls, innermost first. Two kinds: deadlines (deadline.h) and
 * scopes (api/task/scope.c).
 *
 *     task->frames ─► deadline 1 s ─► scope ─► deadline 10 s ─► NULL
 *
 * The order says whom an interruption reaches: an expired deadline interrupts the task and
 * cancels the scopes inside it; a kill cancels them all. A shield hides every frame that is
 * further out than it: the depth at which each was opened tells. The memory is the caller's,
 * usually the task's stack, so a frame must be gone before its function returns.
 */
#ifndef GRING_RUNTIME_FRAME_H
#define GRING_RUNTIME_FRAME_H

#include "base/clock.h"
#include "runtime/task.h"

struct frame;

struct frame_kind {
    /* an interruption reaches it; NULL: nothing to do. Must not park */
    void (*cancel)(struct frame *frame, int reason);
    /* the task exits: takes it off the list; may park */
    void (*close)(struct frame *frame);
};

struct frame {
    struct frame *outer;
    struct gring_task *task; /* NULL: not on any list */
    const struct frame_kind *kind;
    gring_ns instant;     /* of a deadline; CLOCK_FOREVER else */
    uint8_t shield_depth; /* of the task, when it was opened */
    bool expired;         /* a deadline that has passed */
};

/* Puts it innermost. Whether it is opened too late, inside what has been interrupted already, is
 * the caller's question. */
void frame_push(struct gring_task *task, struct frame *frame, const struct frame_kind *kind,
                gring_ns instant);

/* Where a coroutine's frames end and its parent's begin: not to be opened or closed (co.h). */
extern const struct frame_kind frame_boundary __attribute__((visibility("hidden")));

/* Takes it off, wherever it is among those of the running coroutine. */
void frame_remove(struct frame *frame);

bool frame_on_list(const struct gring_task *task, const struct frame *frame);

/* Counts inside the present shield, if there is one. */
static inline bool frame_counts(const struct gring_task *task, const struct frame *frame)
{
    return frame->shield_depth >= task->shield_depth;
}

/* Has a deadline that counts now passed? */
bool frames_expired(const struct gring_task *task);

/* The interrupt bit again, after a deadline has gone. */
void frames_recount(struct gring_task *task);

/* Something new is pending, or a shield was left: it reaches the scopes it may reach by now. */
void frames_pass_on(struct gring_task *task);

/* Closes all, innermost first. */
void frames_unwind(struct gring_task *task);

#endif
