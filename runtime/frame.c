/* The list of a task's frames, and how far an interruption reaches; see frame.h. */
#include "runtime/frame.h"

#include "base/check.h"

#include <errno.h>

const struct frame_kind frame_boundary = { .cancel = NULL };

void frame_push(struct gring_task *task, struct frame *frame, const struct frame_kind *kind,
                gring_ns instant)
{
    *frame = (struct frame){ .outer = task->frames,
                             .task = task,
                             .kind = kind,
                             .instant = instant,
                             .shield_depth = task->shield_depth };
    task->frames = frame;
}

void frame_remove(struct frame *frame)
{
    struct frame **at = &frame->task->frames;

    while (*at != frame) {
        CHECK_SAY(*at && (*at)->kind != &frame_boundary,
                  "a deadline was stopped or a scope closed that is not the running task's, or not "
                  "this coroutine's, or was copied");
        at = &(*at)->outer;
    }
    *at = frame->outer;
    frame->task = NULL;
}

bool frame_on_list(const struct gring_task *task, const struct frame *frame)
{
    const struct frame *at = task->frames;

    while (at && at != frame)
        at = at->outer;
    return at != NULL;
}

bool frames_expired(const struct gring_task *task)
{
    for (const struct frame *frame = task->frames; frame; frame = frame->outer)
        if (frame->expired && frame_counts(task, frame))
            return true;
    return false;
}

void frames_recount(struct gring_task *task)
{
    task->interrupts &= (uint8_t)~INTERRUPT_DEADLINE;
    for (const struct frame *frame = task->frames; frame; frame = frame->outer)
        if (frame->expired)
            task->interrupts |= INTERRUPT_DEADLINE;
}

/* The outermost deadline that has passed and counts. */
static const struct frame *outermost_expired(const struct gring_task *task)
{
    const struct frame *found = NULL;

    for (const struct frame *frame = task->frames; frame; frame = frame->outer)
        if (frame->expired && frame_counts(task, frame))
            found = frame;
    return found;
}

/* Nothing here can take a frame off: cancelling kills other tasks, and callbacks that this may
 * call are not this task. */
static void cancel_inside(struct gring_task *task, const struct frame *end, int reason)
{
    for (struct frame *frame = task->frames; frame != end; frame = frame->outer)
        if (frame->kind->cancel)
            frame->kind->cancel(frame, reason);
}

void frames_pass_on(struct gring_task *task)
{
    const struct frame *expired;

    if (task->interrupts & INTERRUPT_KILL && !task->shield_depth) {
        cancel_inside(task, NULL, ECANCELED);
        return;
    }
    expired = task->interrupts & INTERRUPT_DEADLINE ? outermost_expired(task) : NULL;
    if (expired)
        cancel_inside(task, expired, ETIMEDOUT);
}

void frames_unwind(struct gring_task *task)
{
    while (task->frames)
        task->frames->kind->close(task->frames);
}
