/*
 * Tasks that meet at an object: each makes one call and keeps what it returned, and when.
 *
 *     struct meeting first = { .call = acquire, .object = &semaphore };
 *
 *     meet(&first);                       runs until it waits, or is back
 *     cr_assert(!first.place);            it waits
 *     gring_sem_release(&semaphore);
 *     cr_assert_eq(part(&first), 0);      what the call returned: 0, or the errno
 *
 * A lock belongs to who took it: with `undo` the task stays after its call until part, and then
 * gives it back.
 */
#ifndef TESTS_SUPPORT_MEET_H
#define TESTS_SUPPORT_MEET_H

#include <criterion/criterion.h>
#include <errno.h>
#include <greenring/greenring.h>

struct meeting {
    int (*call)(void *object);
    int (*undo)(void *object); /* or NULL */
    void *object;
    gring_task *task;
    int result; /* 0 or the errno; an outcome above 0 as it is */
    int place;  /* of its return among all; 0: it waits */
    bool leaves;
};

static int meeting_places;

static void *meeting_body(void *arg)
{
    struct meeting *meeting = (struct meeting *)arg;
    int result;

    errno = EIO;
    result = meeting->call(meeting->object);
    meeting->result = result < 0 ? errno : result;
    meeting->place = ++meeting_places;
    if (!meeting->undo || result)
        return NULL;
    GRING_SHIELD
    while (!meeting->leaves)
        gring_park(NULL);
    meeting->undo(meeting->object);
    return NULL;
}

/* Everybody runs until nobody can. */
static inline void meet_settle(void)
{
    cr_assert_eq(gring_idle(), 0);
}

static inline void meet(struct meeting *meeting)
{
    meeting->place = 0;
    meeting->leaves = false;
    meeting->task = gring_spawn(meeting_body, meeting);
    cr_assert_not_null(meeting->task);
    meet_settle();
}

static inline bool is_back(const struct meeting *meeting)
{
    meet_settle();
    return meeting->place > 0;
}

static inline int part(struct meeting *meeting)
{
    meeting->leaves = true;
    gring_unpark(meeting->task, NULL);
    gring_join(meeting->task, NULL);
    return meeting->result;
}

/* Timers are rounded up to a tick. */
static inline void meet_advance(gring_ns duration)
{
    cr_assert_eq(gring_test_advance(duration + GRING_MS), 0);
}

#endif
