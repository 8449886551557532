/*
 * Deadlines: a frame and a timer on the wheel. Between start and stop no interruptible wait of
 * the task runs past the instant. Starting reads the clock and arms a timer, a call in between
 * tests one word, stopping reads no clock.
 */
#ifndef GRING_RUNTIME_DEADLINE_H
#define GRING_RUNTIME_DEADLINE_H

#include "runtime/frame.h"
#include "runtime/hub.h"

struct deadline {
    struct frame frame; /* first: a frame is found by it */
    struct hub_timer timer;
};

/* Of the running task. An instant that has passed: it has expired before this returns.
 * CLOCK_FOREVER: it never does. */
void deadline_start(struct gring_task *task, struct deadline *deadline, gring_ns now,
                    gring_ns instant);

/* True: it has expired, and no outer one before it. CHECKs that no deadline was started inside
 * and not stopped. */
bool deadline_stop(struct deadline *deadline);

/* Of one that has not expired. */
void deadline_move(struct deadline *deadline, gring_ns now, gring_ns instant);

/* The earliest instant that bounds the task's calls now. */
gring_ns deadline_earliest(const struct gring_task *task);

#endif
