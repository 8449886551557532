/* Deadlines; see deadline.h. */
#include "runtime/deadline.h"

#include "base/check.h"

static void expire(struct deadline *deadline)
{
    struct gring_task *task = deadline->frame.task;

    deadline->frame.expired = true;
    task->interrupts |= INTERRUPT_DEADLINE;
    task_interrupted(task);
}

static void time_is_over(struct hub_timer *timer)
{
    expire(CONTAINER_OF(timer, struct deadline, timer));
}

static void close_frame(struct frame *frame)
{
    deadline_stop((struct deadline *)frame);
}

static const struct frame_kind deadline_kind = { .close = close_frame };

static void arm(struct deadline *deadline, gring_ns now, gring_ns instant)
{
    if (UNLIKELY(instant <= now))
        expire(deadline);
    else if (LIKELY(instant != CLOCK_FOREVER))
        wheel_arm(&deadline->frame.task->hub->wheel, &deadline->timer.timer, instant);
}

void deadline_start(struct gring_task *task, struct deadline *deadline, gring_ns now,
                    gring_ns instant)
{
    deadline->timer = (struct hub_timer){ .on_fire = time_is_over };
    frame_push(task, &deadline->frame, &deadline_kind, instant);
    arm(deadline, now, instant);
}

void deadline_move(struct deadline *deadline, gring_ns now, gring_ns instant)
{
    wheel_disarm(&deadline->frame.task->hub->wheel, &deadline->timer.timer);
    deadline->frame.instant = instant;
    arm(deadline, now, instant);
}

/* A deadline further out that expired no later owns the expiry. Behind a shield none does. */
static bool overtaken(const struct deadline *deadline)
{
    const struct frame *inner = &deadline->frame;

    for (const struct frame *outer = inner->outer; outer; outer = outer->outer)
        if (outer->expired && outer->instant <= inner->instant &&
            outer->shield_depth >= inner->shield_depth)
            return true;
    return false;
}

/* A scope may outlive the deadline in which it was opened; an inner deadline may not: its memory
 * is about to go, too. */
static void check_innermost(const struct deadline *deadline)
{
    const struct gring_task *task = deadline->frame.task;

    for (const struct frame *frame = task->frames; frame != &deadline->frame;
         frame = frame->outer) {
        CHECK_SAY(frame_on_list(task, &deadline->frame),
                  "a gring_timeout was copied or moved while it was started, or is another "
                  "coroutine's: stop it where it was started");
        CHECK_SAY(frame->kind != &deadline_kind,
                  "a deadline was stopped while one that was started inside it was not: they nest "
                  "strictly, so stop the inner one first (gring_auto_timeout does)");
    }
}

bool deadline_stop(struct deadline *deadline)
{
    struct gring_task *task = deadline->frame.task;
    bool owns_it;

    check_innermost(deadline);
    wheel_disarm(&task->hub->wheel, &deadline->timer.timer);
    owns_it = UNLIKELY(deadline->frame.expired) && !overtaken(deadline);
    frame_remove(&deadline->frame);
    if (UNLIKELY(task->interrupts & INTERRUPT_DEADLINE))
        frames_recount(task);
    return owns_it;
}

gring_ns deadline_earliest(const struct gring_task *task)
{
    gring_ns earliest = CLOCK_FOREVER;

    for (const struct frame *frame = task->frames; frame; frame = frame->outer)
        if (frame_counts(task, frame) && frame->instant < earliest)
            earliest = frame->instant;
    return earliest;
}
