/* Kill, throw, cancel, shields: docs/cancel.md says why, greenring/task.h what. */
#include "tests/support/child.h"
#include "tests/support/faketime.h"
#include "tests/support/fds.h"
#include "tests/support/green.h"
#include "tests/support/logged.h"

#include <pthread.h>
#include <stdatomic.h>

static int outcomes[8]; /* of calls, in order: 0 or errno */
static int outcome_count;

static void record(int64_t result)
{
    outcomes[outcome_count++] = result < 0 ? errno : 0;
}

static int ran;

static void *run(void *arg)
{
    ran++;
    return arg;
}

static void *sleep_once(void *unused)
{
    (void)unused;
    record(gring_sleep(GRING_SEC));
    return NULL;
}

static void *park(void *unused)
{
    (void)unused;
    record(gring_park(NULL));
    return NULL;
}

static void settle(void)
{
    cr_assert_eq(gring_idle(), 0);
}

/* A task that has run until it waits. */
static gring_task *start(gring_fn fn, void *arg)
{
    gring_task *task = gring_spawn(fn, arg);

    settle();
    return task;
}

/* Timers are rounded up to a tick, so a chain of sleeps takes a little longer than its sum. */
static void advance(int seconds)
{
    cr_assert_eq(gring_test_advance(seconds * GRING_SEC + GRING_MS), 0);
}

static uint64_t live_count(void)
{
    gring_stats stats = { .size = sizeof stats };

    cr_assert_eq(gring_stats_get(&stats), 0);
    return stats.tasks;
}

/* ---- kill ---- */

GreenTest(kill, before_the_first_run_the_function_is_never_called_and_wait_reports_it)
{
    gring_task *task = gring_spawn(run, &ran);
    void *result = &ran;

    cr_assert_eq(gring_kill(task), 0);
    cr_assert_eq(gring_kill(task), 0, "a second one is harmless");
    cr_assert_eq(gring_task_state(task), GRING_DONE);
    cr_assert_eq(gring_join(task, &result), ECANCELED);
    cr_assert_null(result);
    settle();
    cr_assert_eq(ran, 0);
}

static void *aborted_with;

static void note_abort(void *arg)
{
    aborted_with = arg;
}

GreenTest(kill, before_the_first_run_abort_gets_the_argument)
{
    gring_spawn_opts opts = { .size = sizeof opts, .abort = note_abort };
    gring_task *task = gring_spawn_with(&opts, run, &ran);

    gring_kill(task);
    cr_assert_eq(aborted_with, &ran);
    gring_drop(task);
}

static void wait_in_abort(void *arg)
{
    gring_yield();
    (void)arg;
}

static void *kill_with_a_waiting_abort(void *arg)
{
    gring_spawn_opts opts = { .size = sizeof opts, .abort = wait_in_abort };

    gring_kill(gring_spawn_with(&opts, run, NULL));
    return arg;
}

Test(kill, an_abort_that_waits_is_caught, .signal = SIGABRT)
{
    gring_run(kill_with_a_waiting_abort, NULL, NULL);
}

FakeTimeTest(kill, of_a_sleeper_ends_the_sleep_at_once)
{
    gring_task *task = start(sleep_once, NULL);

    gring_kill(task);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    cr_assert_eq(outcomes[0], ECANCELED);
    cr_assert_eq(gring_now(), 0);
}

static void *ignore_three_failures(void *unused)
{
    for (int times = 0; times < 3; times++)
        record(gring_sleep(GRING_MS));
    return unused;
}

FakeTimeTest(kill, is_sticky)
{
    gring_task *task = start(ignore_three_failures, NULL);

    gring_kill(task);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    for (int times = 0; times < 3; times++)
        cr_assert_eq(outcomes[times], ECANCELED);
    cr_assert_eq(gring_now(), 0);
}

static void *swallow_and_sleep_again(void *result)
{
    record(gring_sleep(GRING_SEC));
    record(gring_uncancel() == 1 ? 0 : -1);
    record(gring_uncancel() == 0 ? 0 : -1);
    record(gring_sleep(GRING_SEC));
    return result;
}

FakeTimeTest(kill, swallowed_lets_the_task_sleep_again_and_finish)
{
    gring_task *task = start(swallow_and_sleep_again, &ran);
    void *result = NULL;

    gring_kill(task);
    settle();
    advance(1);
    cr_assert_eq(gring_join(task, &result), 0);
    cr_assert_eq(result, &ran);
    cr_assert_eq(outcomes[0], ECANCELED);
    cr_assert_eq(outcomes[1], 0);
    cr_assert_eq(outcomes[2], 0);
    cr_assert_eq(outcomes[3], 0);
}

FakeTimeTest(kill, several_before_one_is_noticed_are_one)
{
    gring_task *task = start(swallow_and_sleep_again, &ran);

    for (int times = 0; times < 5; times++)
        gring_kill(task);
    settle();
    advance(1);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(outcomes[3], 0);
}

static void *kill_myself(void *unused)
{
    cr_assert_eq(gring_kill(gring_self()), 0);
    record(0);
    record(gring_yield());
    return unused;
}

GreenTest(kill, of_oneself_takes_effect_at_the_next_wait)
{
    gring_task *task = start(kill_myself, NULL);

    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    cr_assert_eq(outcome_count, 2);
    cr_assert_eq(outcomes[1], ECANCELED);
}

GreenTest(kill, of_an_ended_task_is_fine)
{
    gring_task *task = start(run, NULL);

    cr_assert_eq(gring_kill(task), 0);
    cr_assert_eq(gring_join(task, NULL), 0);
}

GreenTest(kill, of_nobody_is_invalid)
{
    cr_assert_eq(gring_kill(NULL), -1);
    cr_assert_eq(errno, EINVAL);
}

static void *wait_only_once(void *result)
{
    gring_yield();
    return result;
}

GreenTest(kill, that_no_waiting_call_told_leaves_the_code_alone)
{
    gring_task *task = gring_spawn(wait_only_once, &ran);

    gring_yield(); /* it has begun and is ready: a yield that succeeded */
    gring_kill(task);
    cr_assert_eq(gring_join(task, NULL), 0);
}

static void *fail_differently(void *unused)
{
    gring_sleep(GRING_SEC);
    (void)unused;
    return gring_fail(EPIPE);
}

GreenTest(kill, leaves_a_code_of_the_task_s_own)
{
    gring_task *task = start(fail_differently, NULL);

    gring_kill(task);
    cr_assert_eq(gring_join(task, NULL), EPIPE);
}

GreenTest(killall, ends_every_one_of_them)
{
    gring_task *tasks[3] = { start(park, NULL), gring_spawn(run, NULL), start(park, NULL) };

    cr_assert_eq(gring_killall(tasks, 3), 0);
    for (int index = 0; index < 3; index++)
        cr_assert_eq(gring_join(tasks[index], NULL), index == 1 ? 0 : ECANCELED);
}

GreenTest(killall, of_somebody_who_is_nobody_kills_the_others_and_says_so)
{
    gring_task *tasks[3] = { start(park, NULL), NULL, start(park, NULL) };

    errno = 0;
    cr_assert_eq(gring_killall(tasks, 3), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_join(tasks[0], NULL), ECANCELED);
    cr_assert_eq(gring_join(tasks[2], NULL), ECANCELED);
}

static void *join_it(void *task)
{
    record(gring_join(task, NULL));
    return NULL;
}

GreenTest(kill, of_a_joiner_leaves_the_joined_alone)
{
    gring_task *target = start(park, NULL);
    gring_task *joiner = start(join_it, target);

    gring_kill(joiner);
    cr_assert_eq(gring_join(joiner, NULL), ECANCELED);
    cr_assert_eq(outcomes[0], ECANCELED);
    cr_assert_eq(gring_task_state(target), GRING_PARKED);
    gring_unpark(target, NULL);
    cr_assert_eq(gring_join(target, NULL), 0);
}

GreenTest(kill, after_the_awaited_value_arrived_does_not_take_it_away)
{
    gring_task *task = start(park, NULL);

    gring_unpark(task, NULL);
    gring_kill(task); /* it is ready, and has not run yet */
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(outcomes[0], 0);
}

/* ---- kill and IO ---- */

static int ends[2];
static char bytes[16];

/*
 * Until the completion that the task waits for has been reaped, but the task has not run: reads of
 * what is there already let the hub reap, and this task goes first. One of them is enough where
 * completions come while we enter; without defer_taskrun the other may come a turn later.
 */
static void let_it_complete(gring_task *task)
{
    int own[2];
    char byte;

    make_unix_pair(own);
    cr_assert_eq(gring_set_prio(GRING_PRIO_HIGH), 0);
    for (int round = 0; round < 100 && gring_task_state(task) == GRING_PARKED; round++) {
        cr_assert_eq(write(own[1], "x", 1), 1);
        cr_assert_eq(gring_read(own[0], &byte, 1), 1);
    }
    cr_assert_eq(gring_task_state(task), GRING_READY);
    close_both(own);
}

static void *read_twice(void *unused)
{
    record(gring_read(ends[0], bytes, sizeof bytes));
    record(gring_read(ends[0], bytes, sizeof bytes));
    return unused;
}

GreenTest(kill, of_a_reader_ends_the_read_and_the_bytes_stay)
{
    make_unix_pair(ends);
    gring_task *task = start(read_twice, NULL);

    gring_kill(task);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    cr_assert_eq(outcomes[0], ECANCELED);
    cr_assert_eq(outcomes[1], ECANCELED);
    cr_assert_eq(write(ends[1], "abc", 3), 3);
    cr_assert_eq(gring_read(ends[0], bytes, sizeof bytes), 3);
}

GreenTest(kill, of_a_read_that_completed_returns_the_bytes_and_fails_the_next_call)
{
    make_unix_pair(ends);
    gring_task *task = start(read_twice, NULL);

    cr_assert_eq(write(ends[1], "abc", 3), 3);
    let_it_complete(task);
    gring_kill(task);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    cr_assert_eq(outcomes[0], 0);
    cr_assert_eq(outcomes[1], ECANCELED);
    cr_assert_eq(memcmp(bytes, "abc", 3), 0);
}

static int accepted = -1;

static void *accept_one(void *listener)
{
    accepted = gring_accept(*(int *)listener, NULL, NULL);
    record(accepted);
    return NULL;
}

GreenTest(kill, of_an_acceptor_whose_accept_completed_keeps_the_connection)
{
    int listener = make_listener(4);
    gring_task *task = start(accept_one, &listener);
    int client = plain_connect(listener);

    let_it_complete(task);
    gring_kill(task);
    gring_join(task, NULL);
    cr_assert_geq(accepted, 0);
    cr_assert_eq(gring_write(client, "x", 1), 1);
    cr_assert_eq(gring_read(accepted, bytes, 1), 1);
}

GreenTest(kill, of_an_acceptor_leaves_later_connections_to_the_next)
{
    int listener = make_listener(4);
    gring_task *task = start(accept_one, &listener);

    gring_kill(task);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    cr_assert_eq(accepted, -1);
    int client = plain_connect(listener);

    cr_assert_geq(gring_accept(listener, NULL, NULL), 0);
    close(client);
}

static void *read_zeros(void *unused)
{
    int fd = open("/dev/zero", O_RDONLY);

    while (gring_read(fd, bytes, sizeof bytes) >= 0)
        outcome_count = 1;
    record(-1);
    close(fd);
    return unused;
}

GreenTest(kill, ends_a_loop_that_reads_what_is_always_ready)
{
    gring_task *task = gring_spawn(read_zeros, NULL);

    gring_sleep(5 * GRING_MS);
    gring_kill(task);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    cr_assert_eq(outcomes[1], ECANCELED);
}

static size_t written;

static void *write_much(void *unused)
{
    static char much[4 << 20];
    ssize_t count = gring_write(ends[1], much, sizeof much);

    record(count);
    written = count > 0 ? (size_t)count : 0;
    record(gring_yield());
    record(gring_yield());
    return unused;
}

static void make_pipe_with_a_blocked_writer(gring_task **task)
{
    make_pipe(ends);
    *task = start(write_much, NULL);
    while (unread_bytes(ends[0]) == 0) /* before Linux 6.4 a worker of the kernel writes */
        gring_sleep(GRING_MS);
}

static size_t drain(void)
{
    static char sink[65536];
    size_t total = 0;
    ssize_t count;

    set_nonblocking(ends[0]);
    while ((count = read(ends[0], sink, sizeof sink)) > 0)
        total += (size_t)count;
    return total;
}

GreenTest(kill, of_a_writer_after_progress_returns_the_count_and_fails_the_next_call)
{
    gring_task *task;

    make_pipe_with_a_blocked_writer(&task);
    gring_kill(task);
    gring_join(task, NULL);
    cr_assert_eq(outcomes[0], 0);
    cr_assert_gt(written, 0);
    cr_assert_eq(drain(), written);
    cr_assert_eq(outcomes[1], ECANCELED);
}

GreenTest(throw, at_a_writer_after_progress_waits_for_the_next_call)
{
    gring_task *task;

    make_pipe_with_a_blocked_writer(&task);
    gring_throw(task, EDOM);
    gring_join(task, NULL);
    cr_assert_eq(outcomes[0], 0);
    cr_assert_eq(drain(), written);
    cr_assert_eq(outcomes[1], EDOM, "reported by the first call without a result");
    cr_assert_eq(outcomes[2], 0, "and by no other");
}

static void *send_much(void *unused)
{
    static char much[16 << 20];
    ssize_t count = gring_send(ends[1], much, sizeof much, 0);

    record(count);
    written = count > 0 ? (size_t)count : 0;
    record(gring_yield());
    record(gring_yield());
    return unused;
}

GreenTest(throw, at_a_sender_after_progress_waits_for_the_next_call)
{
    gring_task *task;

    make_tcp_pair(ends);
    task = start(send_much, NULL);
    gring_throw(task, EDOM);
    gring_join(task, NULL);
    cr_assert_eq(outcomes[0], 0);
    cr_assert_gt(written, 0);
    cr_assert_eq(outcomes[1], EDOM, "reported by the first call without a result");
    cr_assert_eq(outcomes[2], 0, "and by no other");
    close_both(ends);
}

/* ---- cancel ---- */

FakeTimeTest(cancel, of_a_task_that_waits_for_its_start_un_spawns_it)
{
    gring_task *task = gring_spawn_after(GRING_SEC, run, NULL);

    cr_assert_eq(gring_cancel(task), 0);
    cr_assert_eq(gring_cancel(task), -1);
    cr_assert_eq(errno, EALREADY);
    advance(2);
    cr_assert_eq(ran, 0);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
}

GreenTest(cancel, of_a_started_task_changes_nothing)
{
    gring_task *task = start(park, NULL);

    cr_assert_eq(gring_cancel(task), -1);
    cr_assert_eq(errno, EALREADY);
    gring_unpark(task, NULL);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(outcomes[0], 0);
}

/* ---- throw ---- */

FakeTimeTest(throw, fails_one_wait_and_no_more)
{
    gring_task *task = start(ignore_three_failures, NULL);

    cr_assert_eq(gring_throw(task, EDOM), 0);
    advance(1);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(outcomes[0], EDOM);
    cr_assert_eq(outcomes[1], 0);
    cr_assert_eq(outcomes[2], 0);
}

GreenTest(throw, at_an_unstarted_task_is_its_first_wait_s_error)
{
    gring_task *task = gring_spawn(ignore_three_failures, NULL);

    cr_assert_eq(gring_throw(task, EDOM), 0);
    cr_assert_eq(gring_throw(task, ERANGE), -1);
    cr_assert_eq(errno, EALREADY);
    gring_join(task, NULL);
    cr_assert_eq(outcomes[0], EDOM);
    cr_assert_eq(outcomes[1], 0);
}

GreenTest(throw, at_an_ended_task_and_with_no_error_is_refused)
{
    gring_task *task = start(run, NULL);

    cr_assert_eq(gring_throw(task, EDOM), -1);
    cr_assert_eq(errno, ESRCH);
    cr_assert_eq(gring_throw(task, 0), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_throw(task, -EDOM), -1);
    cr_assert_eq(errno, EINVAL);
    gring_drop(task);
}

static void *wait_uncancel_wait(void *unused)
{
    record(gring_yield());
    gring_uncancel();
    record(gring_yield());
    record(gring_yield());
    return unused;
}

GreenTest(throw, is_beaten_by_a_kill_and_stays_pending)
{
    gring_task *task = gring_spawn(wait_uncancel_wait, NULL);

    gring_throw(task, EDOM);
    gring_yield();
    (void)task;
    cr_assert_eq(outcomes[0], EDOM);
}

static void *kill_and_throw_at_myself(void *unused)
{
    gring_throw(gring_self(), EDOM);
    gring_kill(gring_self());
    return wait_uncancel_wait(unused);
}

GreenTest(throw, is_reported_after_the_kill_that_was_swallowed)
{
    gring_join(gring_spawn(kill_and_throw_at_myself, NULL), NULL);
    cr_assert_eq(outcomes[0], ECANCELED);
    cr_assert_eq(outcomes[1], EDOM);
    cr_assert_eq(outcomes[2], 0);
}

GreenTest(throw, two_cancel_two_accepts)
{
    int listener = make_listener(4);
    gring_task *first = start(accept_one, &listener), *second = start(accept_one, &listener);

    gring_throw(first, EDOM);
    gring_throw(second, ERANGE);
    gring_join(first, NULL);
    gring_join(second, NULL);
    cr_assert_eq(outcomes[0] + outcomes[1], EDOM + ERANGE);
}

/* ---- asking ---- */

static void *ask(void *unused)
{
    record(gring_cancelled() == 0 ? 0 : -1);
    gring_throw(gring_self(), EDOM);
    record(gring_cancelled() == EDOM ? 0 : -1);
    gring_kill(gring_self());
    record(gring_cancelled() == ECANCELED ? 0 : -1);
    gring_shield_enter();
    record(gring_cancelled() == 0 ? 0 : -1);
    gring_shield_leave();
    return unused;
}

GreenTest(cancelled, says_what_the_next_wait_would_report_and_uses_nothing_up)
{
    errno = EIO;
    gring_join(gring_spawn(ask, NULL), NULL);
    for (int index = 0; index < 4; index++)
        cr_assert_eq(outcomes[index], 0, "question %d", index);
}

/* ---- shields ---- */

static void *sleep_shielded(void *unused)
{
    GRING_SHIELD
    {
        record(gring_sleep(GRING_SEC));
        GRING_SHIELD
        {
            record(gring_sleep(GRING_SEC));
        }
        record(gring_sleep(GRING_SEC));
    }
    record(gring_sleep(GRING_SEC));
    return unused;
}

FakeTimeTest(shield, keeps_the_kill_of_a_parked_task_waiting_until_it_is_left)
{
    gring_task *task = start(sleep_shielded, NULL);

    gring_kill(task);
    gring_throw(task, EDOM);
    settle();
    cr_assert_eq(outcome_count, 0);
    advance(3);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    cr_assert_eq(outcome_count, 4);
    for (int index = 0; index < 3; index++)
        cr_assert_eq(outcomes[index], 0);
    cr_assert_eq(outcomes[3], ECANCELED);
    cr_assert_geq(gring_now(), 3 * GRING_SEC);
}

static int leave_by(int way)
{
    GRING_SHIELD
    {
        if (way == 0)
            return 0;
        if (way == 1)
            break;
        if (way == 2)
            continue;
        if (way == 3)
            goto out;
    }
out:
    return way;
}

static void *leave_in_every_way(void *unused)
{
    gring_kill(gring_self());
    for (int way = 0; way < 5; way++) {
        leave_by(way);
        record(gring_cancelled() == ECANCELED ? 0 : -1);
    }
    return unused;
}

GreenTest(shield, is_left_by_return_break_continue_and_goto)
{
    gring_join(gring_spawn(leave_in_every_way, NULL), NULL);
    for (int way = 0; way < 5; way++)
        cr_assert_eq(outcomes[way], 0, "way %d", way);
}

static void *leave_too_often(void *unused)
{
    gring_shield_leave();
    return unused;
}

Test(shield, left_without_having_been_entered_is_caught, .signal = SIGABRT)
{
    gring_run(leave_too_often, NULL, NULL);
}

static void *close_when_killed(void *unused)
{
    gring_kill(gring_self());
    record(gring_yield());
    errno = 0;
    record(gring_close(ends[0]));
    return unused;
}

GreenTest(kill, does_not_keep_gring_close_from_working)
{
    make_unix_pair(ends);
    gring_join(gring_spawn(close_when_killed, NULL), NULL);
    cr_assert_eq(outcomes[0], ECANCELED);
    cr_assert_eq(outcomes[1], 0);
    cr_assert_not(is_open(ends[0]));
}

/* ---- defers ---- */

static void sleep_in_defer(void *arg)
{
    record(gring_sleep(GRING_SEC));
    record(*(int *)arg);
}

static void *defer_two(void *unused)
{
    static int codes[2] = { 0, -1 };

    errno = EIO;
    gring_defer(sleep_in_defer, &codes[0]);
    gring_defer(sleep_in_defer, &codes[1]);
    gring_sleep(GRING_SEC);
    errno = EIO;
    return unused;
}

FakeTimeTest(kill, runs_the_defers_last_in_first_out_and_shielded)
{
    gring_task *task = start(defer_two, NULL);

    gring_kill(task);
    settle();
    gring_kill(task);
    advance(2);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    cr_assert_eq(outcome_count, 4);
    cr_assert_eq(outcomes[0], 0);
    cr_assert_neq(outcomes[1], 0);
    cr_assert_eq(outcomes[2], 0);
    cr_assert_eq(outcomes[3], 0);
}

/* ---- from plain threads ---- */

struct strike {
    gring_task *task;
    int error; /* 0: kill */
    int result;
};

static void *strike(void *arg)
{
    struct strike *strike = arg;

    strike->result =
        strike->error ? gring_throw(strike->task, strike->error) : gring_kill(strike->task);
    return NULL;
}

static int strike_from_a_thread(gring_task *task, int error)
{
    struct strike order = { .task = task, .error = error };
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, strike, &order), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    return order.result;
}

GreenTest(kill, from_a_plain_thread_ends_a_parked_task)
{
    gring_task *task = start(park, NULL);

    cr_assert_eq(strike_from_a_thread(task, 0), 0);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    cr_assert_eq(outcomes[0], ECANCELED);
}

/* The tasks end, and their last handles go, before the hub looks into its mailbox; the second would
 * have the record of the first, with the first one's mail still under way. */
GreenTest(kill, from_a_plain_thread_keeps_the_record_until_the_hub_has_heard_of_it)
{
    for (int times = 0; times < 2; times++) {
        gring_task *task = gring_spawn(run, &ran);

        cr_assert_eq(strike_from_a_thread(task, 0), 0);
        cr_assert_eq(gring_join(task, NULL), 0, "it was quicker");
    }
    settle();
    cr_assert_eq(live_count(), 1);
}

GreenTest(throw, from_a_plain_thread_carries_its_code_and_the_second_is_refused)
{
    gring_task *task = start(park, NULL);

    cr_assert_eq(strike_from_a_thread(task, ERANGE), 0);
    cr_assert_eq(strike_from_a_thread(task, EDOM), -1);
    cr_assert_eq(gring_throw(task, EDOM), -1);
    cr_assert_eq(errno, EALREADY);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(outcomes[0], ERANGE);
}

static atomic_bool stop_throwing;
static atomic_uint thrown_count;

static void *throw_many(void *task)
{
    while (!atomic_load(&stop_throwing))
        if (gring_throw(task, EDOM) == 0)
            atomic_fetch_add(&thrown_count, 1);
        else
            usleep(1);
    return NULL;
}

static void *count_throws(void *unused)
{
    for (ran = 0; ran < 2000; ran++)
        if (gring_park(NULL) != -1 || errno != EDOM)
            break;
    atomic_store(&stop_throwing, true);
    return unused;
}

GreenTest(throw, from_a_thread_is_reported_exactly_once)
{
    gring_task *task = start(count_throws, NULL);
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, throw_many, task), 0);
    gring_wait(task, NULL);
    cr_assert_eq(ran, 2000);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_leq(atomic_load(&thrown_count), 2001, "one more may have come too late");
    cr_assert_geq(atomic_load(&thrown_count), 2000);
    gring_drop(task);
}

static void *cancel_it(void *task)
{
    return gring_cancel(task) == 0 ? task : NULL;
}

GreenTest(cancel, from_a_plain_thread_says_whether_it_came_in_time)
{
    gring_task *later = gring_spawn_after(3600 * GRING_SEC, run, NULL);
    gring_task *started = start(park, NULL);
    pthread_t threads[2];
    void *results[2];

    pthread_create(&threads[0], NULL, cancel_it, later);
    pthread_create(&threads[1], NULL, cancel_it, started);
    gring_join(later, NULL);
    gring_sleep(20 * GRING_MS);
    gring_kill(started);
    gring_join(started, NULL);
    for (int index = 0; index < 2; index++)
        pthread_join(threads[index], &results[index]);
    cr_assert_not_null(results[0]);
    cr_assert_null(results[1]);
}

/* ---- the end of a run ---- */

static int child_pipe[2];

static void *stubborn(void *unused)
{
    gring_set_name("mule");
    GRING_SHIELD
    {
        gring_read(child_pipe[0], bytes, 1);
    }
    return unused;
}

static atomic_bool mule_woken;

/* Ready whenever somebody looks, at little expense. */
static void *restless(void *unused)
{
    gring_set_name("flea");
    GRING_SHIELD
    {
        while (!atomic_load(&mule_woken)) {
            usleep(10000);
            gring_yield();
        }
    }
    return unused;
}

static void *wake_the_mule(void *unused)
{
    sleep(6);
    (void)!write(child_pipe[1], "x", 1);
    atomic_store(&mule_woken, true);
    return unused;
}

static void *leave_a_mule(void *unused)
{
    static pthread_t thread;

    (void)!pipe(child_pipe);
    gring_spawn_n(stubborn, NULL);
    gring_spawn_n(restless, NULL);
    pthread_create(&thread, NULL, wake_the_mule, NULL);
    return gring_yield() == 0 ? unused : NULL;
}

Test(run, names_a_task_that_does_not_end_within_the_limit_and_awaits_it)
{
    logged_start();
    cr_assert_eq(gring_run(leave_a_mule, NULL, NULL), 0);
    cr_assert_eq(logged_with("have not"), 1);
    cr_assert_eq(logged_with("mule waits in read"), 1);
    cr_assert_eq(logged_with("flea is ready to run"), 1);
}

static void *kill_main_at_the_end(void *main_task)
{
    gring_park(NULL);
    gring_kill(main_task);
    gring_throw(main_task, EDOM);
    return NULL;
}

static void *leave_a_killer(void *unused)
{
    gring_spawn_n(kill_main_at_the_end, gring_self());
    gring_yield();
    return unused;
}

Test(run, is_not_hurried_by_a_kill_of_the_main_task_that_awaits_the_others)
{
    logged_start();
    cr_assert_eq(gring_run(leave_a_killer, NULL, NULL), 0);
    cr_assert_eq(logged.count, 0);
}

GreenTest(kill, leaves_no_record_behind)
{
    uint64_t before = live_count();

    for (int times = 0; times < 1000; times++) {
        gring_task *task = times % 2 ? gring_spawn(park, NULL) : start(park, NULL);

        outcome_count = 0;
        gring_kill(task);
        gring_join(task, NULL);
    }
    cr_assert_eq(live_count(), before);
}
