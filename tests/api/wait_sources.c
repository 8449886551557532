/*
 * Waits with several sources, as far as the public calls have them: gring_waitany. The first
 * reason withdraws all others, and nothing stays behind in anybody's hands.
 */
#include "tests/support/fds.h"
#include "tests/support/green.h"

#include <greenring/debug.h>
#include <string.h>

enum { MANY = 300 };

static int bytes_read;

static void *read_byte(void *arg)
{
    char byte = 0;
    ssize_t count = gring_read((int)(intptr_t)arg, &byte, 1);

    bytes_read += count > 0 ? (int)count : 0;
    return count == 1 ? (void *)(intptr_t)byte : gring_fail(count < 0 ? errno : ENODATA);
}

static gring_task *spawn_reader(int fd)
{
    gring_task *task = gring_spawn(read_byte, (void *)(intptr_t)fd);

    cr_assert_not_null(task);
    return task;
}

struct readers {
    int ends[MANY][2];
    gring_task *tasks[MANY];
};

static void start_readers(struct readers *readers, size_t count)
{
    for (size_t index = 0; index < count; index++) {
        make_pipe(readers->ends[index]);
        readers->tasks[index] = spawn_reader(readers->ends[index][0]);
    }
    gring_idle();
}

static void feed(struct readers *readers, size_t index)
{
    cr_assert_eq(write(readers->ends[index][1], "x", 1), 1);
}

static void end_readers(struct readers *readers, size_t count)
{
    for (size_t index = 0; index < count; index++) {
        if (gring_task_state(readers->tasks[index]) != GRING_DONE)
            feed(readers, index);
        cr_assert_eq(gring_join(readers->tasks[index], NULL), 0);
        close_both(readers->ends[index]);
    }
}

GreenTest(wait_sources, waitany_gives_the_one_that_ends)
{
    static struct readers readers;

    start_readers(&readers, MANY);
    feed(&readers, 213);
    cr_assert_eq(gring_waitany(readers.tasks, MANY), 213);
    for (int index = 0; index < MANY; index++)
        cr_assert_eq(gring_task_state(readers.tasks[index]) == GRING_DONE, index == 213);
    end_readers(&readers, MANY);
}

GreenTest(wait_sources, waitany_gives_the_first_in_the_array_of_those_that_have_ended)
{
    static struct readers readers;

    start_readers(&readers, 5);
    feed(&readers, 3);
    feed(&readers, 1);
    gring_idle();
    errno = 4242;
    cr_assert_eq(gring_waitany(readers.tasks, 5), 1);
    cr_assert_eq(gring_waitany(readers.tasks + 2, 3), 1);
    cr_assert_eq(errno, 4242);
    end_readers(&readers, 5);
}

struct any_call {
    gring_task *const *tasks;
    size_t count;
    int result, error;
    bool returned;
};

static void *wait_for_any(void *arg)
{
    struct any_call *call = arg;

    call->result = gring_waitany(call->tasks, call->count);
    call->error = errno;
    call->returned = true;
    return NULL;
}

GreenTest(wait_sources, waitany_waits_until_one_ends)
{
    static struct readers readers;
    struct any_call call = { .tasks = readers.tasks, .count = 8 };
    gring_task *waiter;

    start_readers(&readers, 8);
    waiter = gring_spawn(wait_for_any, &call);
    gring_idle();
    cr_assert_not(call.returned);
    feed(&readers, 6);
    cr_assert_eq(gring_join(waiter, NULL), 0);
    cr_assert_eq(call.result, 6);
    end_readers(&readers, 8);
}

GreenTest(wait_sources, several_may_wait_for_any_of_the_same)
{
    enum { WAITERS = 50 };
    static struct readers readers;
    static struct any_call calls[WAITERS];
    gring_task *waiters[WAITERS];

    start_readers(&readers, 8);
    for (int index = 0; index < WAITERS; index++) {
        calls[index] = (struct any_call){ .tasks = readers.tasks + index % 3, .count = 6 };
        waiters[index] = gring_spawn(wait_for_any, &calls[index]);
    }
    gring_idle();
    feed(&readers, 4);
    cr_assert_eq(gring_waitall(waiters, WAITERS), 0);
    for (int index = 0; index < WAITERS; index++) {
        cr_assert_eq(calls[index].result, 4 - index % 3);
        gring_drop(waiters[index]);
    }
    end_readers(&readers, 8);
}

GreenTest(wait_sources, the_same_task_may_be_named_twice)
{
    static struct readers readers;
    gring_task *twice[3];

    start_readers(&readers, 2);
    twice[0] = readers.tasks[1];
    twice[1] = twice[2] = readers.tasks[0];
    feed(&readers, 0);
    cr_assert_eq(gring_waitany(twice, 3), 1);
    end_readers(&readers, 2);
}

GreenTest(wait_sources, those_that_end_in_the_same_moment_wake_once)
{
    static struct readers readers;
    struct any_call call = { .tasks = readers.tasks, .count = MANY };
    gring_task *waiter;

    start_readers(&readers, MANY);
    waiter = gring_spawn(wait_for_any, &call);
    gring_idle();
    for (size_t index = 0; index < MANY; index++)
        feed(&readers, index);
    cr_assert_eq(gring_join(waiter, NULL), 0);
    cr_assert(call.result >= 0 && call.result < MANY);
    end_readers(&readers, MANY);
}

/* After a wait for several, those that did not end must have forgotten the waiter: its stack is
 * used anew. */
GreenTest(wait_sources, the_others_are_let_go_of)
{
    static struct readers readers;

    start_readers(&readers, 8);
    for (size_t index = 0; index < 8; index++) {
        struct any_call call = { .tasks = readers.tasks + index, .count = 8 - index };
        gring_task *waiter = gring_spawn(wait_for_any, &call);

        gring_idle();
        feed(&readers, index);
        cr_assert_eq(gring_join(waiter, NULL), 0);
        cr_assert_eq(call.result, 0);
    }
    end_readers(&readers, 8);
}

GreenTest(wait_sources, waitany_of_nothing_is_EINVAL)
{
    cr_assert_eq(gring_waitany(NULL, 0), -1);
    cr_assert_eq(errno, EINVAL);
}

static void *wait_for_itself(void *arg)
{
    gring_task *self = gring_self();
    gring_task *both[2] = { self, arg };

    return (void *)(intptr_t)gring_waitany(both, 2);
}

GreenTest(wait_sources, waitany_with_itself_among_others_gives_another)
{
    static struct readers readers;
    void *value = NULL;
    gring_task *waiter;

    start_readers(&readers, 1);
    waiter = gring_spawn(wait_for_itself, readers.tasks[0]);
    gring_idle();
    feed(&readers, 0);
    cr_assert_eq(gring_join(waiter, &value), 0);
    cr_assert_eq((intptr_t)value, 1);
    end_readers(&readers, 1);
}

/* ---- the end of a run ------------------------------------------------------------------------ */

struct last_run {
    struct readers readers;
    struct any_call calls[4];
    gring_stats at_end;
};

static void *leave_them_waiting(void *arg)
{
    struct last_run *last = arg;

    start_readers(&last->readers, MANY);
    for (int index = 0; index < 4; index++) {
        last->calls[index] = (struct any_call){ .tasks = last->readers.tasks, .count = MANY };
        gring_spawn_n(wait_for_any, &last->calls[index]);
    }
    gring_idle();
    return NULL;
}

Test(wait_sources, the_end_of_the_run_ends_a_wait_for_several)
{
    static struct last_run last;

    cr_assert_eq(gring_run(leave_them_waiting, &last, NULL), 0);
    for (int index = 0; index < 4; index++) {
        cr_assert(last.calls[index].returned, "waiter %d was left behind", index);
        /* Killed itself, or told first that one of the killed readers has ended. */
        if (last.calls[index].result < 0)
            cr_assert_eq(last.calls[index].error, ECANCELED);
        else
            cr_assert_lt(last.calls[index].result, MANY);
    }
    for (int index = 0; index < MANY; index++) {
        cr_assert_eq(unread_bytes(last.readers.ends[index][0]), 0);
        cr_assert_eq(close(last.readers.ends[index][0]), 0);
        cr_assert_eq(close(last.readers.ends[index][1]), 0);
    }
}

static void *end_with_bytes_under_way(void *arg)
{
    struct last_run *last = arg;

    leave_them_waiting(last);
    for (size_t index = 0; index < MANY; index += 2)
        feed(&last->readers, index);
    return NULL;
}

Test(wait_sources, the_end_of_the_run_amid_completions_loses_no_byte)
{
    static struct last_run last;

    bytes_read = 0;
    cr_assert_eq(gring_run(end_with_bytes_under_way, &last, NULL), 0);
    for (int index = 0; index < 4; index++)
        cr_assert(last.calls[index].returned);
    for (int index = 0; index < MANY; index++)
        bytes_read += unread_bytes(last.readers.ends[index][0]);
    cr_assert_eq(bytes_read, MANY / 2);
}
