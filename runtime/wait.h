/*
 * Waiting: the only way for a task to stop, the only way to go on.
 *
 * A wait, on the parked task's stack, holds a list of sources: whatever may end it. Each source
 * is in somebody's hands (the kernel's, the wheel's, a queue's) from wait_hold until
 * source_done.
 *
 *     wait_begin ─ wait_hold, enlist (for each source) ─ wait_park ……………………… returns
 *                                                            │                    ▲
 *              the first reason: a source is done, or an interruption             │
 *                └► withdraw every other source ─► each lets go: source_done ─────┘ at the last
 *
 * The first reason to wake withdraws all other sources, and the task is ready only when each of
 * them has let go. A source in a queue lets go at once, within its withdraw; a source in the
 * kernel is asked by a cancel and lets go at its last completion. So no source, no op and no
 * buffer is in anybody's hands when wait_park returns.
 *
 * An interruption (kill, throw, deadline, nobody left to wake us) is the other kind of reason.
 * It wins only if it came first, and even then a source that had something to give has given it:
 * who waits looks at its source before it reports the interruption.
 */
#ifndef GRING_RUNTIME_WAIT_H
#define GRING_RUNTIME_WAIT_H

#include "runtime/task.h"

struct source {
    struct wait *wait;
    struct source *next;
    /* asks for it back; source_done follows, now or later */
    void (*withdraw)(struct source *source);
    bool held;
};

struct wait {
    struct gring_task *task;
    struct source *sources;
    struct source *winner; /* the source that was the first reason; NULL: an interruption */
    const char *what;      /* for the census: "recv" */
    int fd;                /* what it waits on, or -1 */
    unsigned held_count;
    int interruption; /* positive errno, when that was the first reason */
    bool over;        /* the first reason has come */
    bool interruptible;
};

/*
 * Begins a wait of the running task that kills and deadlines end ([wait] in the public headers).
 * -errno: one is pending; nothing must be begun then. what: a word for the census; fd: or -1.
 */
int wait_begin(struct wait *wait, const char *what, int fd);

/* The running task; a callback on the hub's loop that would wait is caught here. */
struct gring_task *wait_task(void);

/* wait_begin without asking what is pending: for who has asked (wait_permitted). */
void wait_prepare(struct wait *wait, const char *what, bool interruptible);

/* The same for cleanup and locks ([park]): nothing interrupts it. */
void wait_begin_shielded(struct wait *wait, const char *what, int fd);

/* Enlists: from now on the source is held, and source_done must come. */
void wait_hold(struct wait *wait, struct source *source, void (*withdraw)(struct source *source));

/* Stops here until it is over and everything has been let go. */
void wait_park(struct wait *wait);

/* 0, or -errno when an interruption was the reason, which is thereby reported. Who has a result
 * to return all the same does not ask: the interruption then waits for the next call. */
int wait_outcome(struct wait *wait);

/* What a waiting call of the running task must fail with now, reported: -errno or 0. wait_begin
 * asks it by itself. */
int wait_permitted(struct gring_task *task);

/* The source lets go: it has happened, or was withdrawn. May make the task ready; its stack
 * frame may be gone soon. */
void source_done(struct source *source);

/* Ends a parked task's wait from outside, if it may be and is not over. */
void wait_interrupt(struct wait *wait, int error);

#endif
