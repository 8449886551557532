/* Scopes: what greenring/scope.h promises. */
#include "tests/support/child.h"
#include "tests/support/faketime.h"
#include "tests/support/green.h"
#include "tests/support/logged.h"

#include <pthread.h>

#define MS(count) ((count)*GRING_MS)

static int ran, ended;
static char trace[256];

static void note(const char *what)
{
    strncat(trace, what, sizeof trace - strlen(trace) - 1);
}

static void *run(void *arg)
{
    ran++;
    return arg;
}

static int sleep_errno;

static void *sleep_long(void *unused)
{
    sleep_errno = gring_sleep(1000 * GRING_SEC) < 0 ? errno : 0;
    ended++;
    return unused;
}

static void *sleep_a_little(void *unused)
{
    gring_sleep(MS(10));
    ended++;
    return unused;
}

static void *fail(void *code)
{
    return gring_fail((int)(intptr_t)code);
}

static void *code(int value)
{
    return (void *)(intptr_t)value;
}

static void settle(void)
{
    cr_assert_eq(gring_idle(), 0);
}

static gring_task *with_daemon(gring_scope *scope, gring_fn fn, void *arg)
{
    gring_spawn_opts opts = { .size = sizeof opts, .scope = scope, .flags = GRING_DAEMON };

    return gring_spawn_with(&opts, fn, arg);
}

static uint64_t live_count(void)
{
    gring_stats stats = { .size = sizeof stats };

    cr_assert_eq(gring_stats_get(&stats), 0);
    return stats.tasks;
}

GreenTest(scope, waits_for_all_and_gives_the_values_until_the_close)
{
    gring_scope s;
    void *value = NULL;

    cr_assert_eq(gring_scope_open(&s, 0), 0);
    gring_task *one = gring_scope_spawn(&s, run, &ran), *two = gring_scope_spawn(&s, run, NULL);

    cr_assert_eq(gring_scope_live(&s), 2);
    cr_assert_eq(gring_scope_wait(&s), 0);
    cr_assert_eq(ran, 2);
    cr_assert_eq(gring_wait(one, &value), 0);
    cr_assert_eq(value, &ran);
    cr_assert_eq(gring_task_state(two), GRING_DONE);
    cr_assert_eq(gring_scope_spawn_n(&s, run, NULL), 0, "it stays open");
    cr_assert_eq(gring_scope_wait(&s), 0);
    cr_assert_eq(gring_scope_close(&s), 0);
    cr_assert_eq(gring_scope_close(&s), 0);
    cr_assert_eq(gring_scope_live(&s), 0);
}

FakeTimeTest(scope, closing_cancels_sleepers_and_returns_when_they_are_gone)
{
    gring_scope s;

    gring_scope_open(&s, 0);
    gring_scope_spawn(&s, sleep_long, NULL);
    gring_scope_spawn_n(&s, sleep_long, NULL);
    settle();
    cr_assert_eq(gring_scope_close(&s), 0);
    cr_assert_eq(ended, 2);
    cr_assert_eq(sleep_errno, ECANCELED);
    cr_assert_eq(live_count(), 1);
}

FakeTimeTest(scope, first_failure_cancels_the_siblings_and_is_reported)
{
    gring_scope s;

    gring_scope_open(&s, 0);
    gring_scope_spawn(&s, sleep_long, NULL);
    settle();
    gring_scope_spawn(&s, fail, code(EDOM));
    gring_scope_spawn(&s, fail, code(ERANGE));
    cr_assert_eq(gring_scope_wait(&s), EDOM);
    cr_assert_eq(sleep_errno, ECANCELED);
    cr_assert_null(gring_scope_spawn(&s, run, NULL));
    cr_assert_eq(errno, ECANCELED);
    cr_assert_eq(gring_scope_close(&s), EDOM);
    cr_assert_eq(ran, 0);
}

FakeTimeTest(scope, collect_leaves_the_siblings_alone_and_reports_the_first)
{
    gring_scope s;

    gring_scope_open(&s, GRING_SCOPE_COLLECT);
    gring_scope_spawn(&s, fail, code(EDOM));
    gring_scope_spawn(&s, fail, code(ERANGE));
    gring_task *task = gring_scope_spawn(&s, run, NULL);

    cr_assert_eq(gring_scope_wait(&s), EDOM);
    cr_assert_eq(gring_wait(task, NULL), 0);
    cr_assert_eq(ran, 1);
    cr_assert_eq(gring_scope_close(&s), EDOM);
}

FakeTimeTest(scope, a_child_that_somebody_killed_has_not_failed)
{
    gring_scope s;

    gring_scope_open(&s, 0);
    gring_task *one = gring_scope_spawn(&s, sleep_long, NULL),
               *two = gring_scope_spawn(&s, run, NULL);

    settle();
    gring_kill(one);
    gring_kill(gring_scope_spawn(&s, run, NULL));
    cr_assert_eq(gring_scope_wait(&s), 0);
    cr_assert_eq(gring_wait(one, NULL), ECANCELED);
    cr_assert_eq(gring_wait(two, NULL), 0);
    gring_scope_close(&s);
}

static gring_scope shared;

static void *spawn_into_shared(void *unused)
{
    gring_scope_spawn_n(&shared, run, NULL);
    return unused;
}

FakeTimeTest(scope, children_may_spawn_into_it)
{
    gring_scope_open(&shared, 0);
    gring_scope_spawn(&shared, spawn_into_shared, NULL);
    cr_assert_eq(gring_scope_wait(&shared), 0);
    cr_assert_eq(ran, 1);
    gring_scope_close(&shared);
    cr_assert_null(gring_scope_spawn(&shared, run, NULL));
    cr_assert_eq(errno, EINVAL);
}

FakeTimeTest(scope, cancelled_ones_run_nothing_and_report_what_was_said)
{
    gring_scope s;

    gring_scope_open(&s, 0);
    gring_scope_spawn(&s, run, NULL);
    gring_scope_cancel(&s, EPIPE);
    cr_assert_eq(gring_scope_wait(&s), EPIPE);
    cr_assert_eq(gring_scope_close(&s), EPIPE);
    cr_assert_eq(ran, 0);
}

static void *cancel_from_thread(void *scope)
{
    gring_scope_cancel(scope, EPIPE);
    return NULL;
}

GreenTest(scope, may_be_cancelled_from_a_plain_thread)
{
    pthread_t thread;

    gring_scope_open(&shared, 0);
    gring_scope_spawn(&shared, sleep_long, NULL);
    settle();
    pthread_create(&thread, NULL, cancel_from_thread, &shared);
    cr_assert_eq(gring_scope_wait(&shared), EPIPE);
    pthread_join(thread, NULL);
    cr_assert_eq(gring_scope_close(&shared), EPIPE);
}

/* ---- daemons ---- */

FakeTimeTest(scope, daemons_do_not_keep_it_and_are_killed_at_its_end)
{
    gring_scope s;

    gring_scope_open(&s, 0);
    with_daemon(&s, sleep_long, NULL);
    gring_scope_spawn(&s, run, NULL);
    cr_assert_eq(gring_scope_wait(&s), 0);
    cr_assert_eq(gring_scope_live(&s), 1);
    cr_assert_eq(gring_scope_close(&s), 0);
    cr_assert_eq(sleep_errno, ECANCELED);
}

FakeTimeTest(spawn_with, flags_without_a_scope_or_unknown_are_refused)
{
    gring_scope s;
    gring_spawn_opts opts = { .size = sizeof opts, .flags = GRING_DAEMON };

    cr_assert_null(gring_spawn_with(&opts, run, NULL));
    cr_assert_eq(errno, EINVAL);
    gring_scope_open(&s, 0);
    opts.scope = &s;
    opts.flags = 0x80;
    cr_assert_null(gring_spawn_with(&opts, run, NULL));
    cr_assert_eq(errno, EINVAL);
    gring_scope_close(&s);
}

static int count_tick(void *unused, const gring_tick *tick)
{
    (void)unused;
    ran = (int)tick->n + 1;
    return 0;
}

FakeTimeTest(every, in_a_scope_ends_with_it)
{
    gring_scope s;
    gring_spawn_opts opts = { .size = sizeof opts, .scope = &s, .flags = GRING_DAEMON };

    gring_scope_open(&s, 0);
    cr_assert_not_null(gring_every(MS(10), count_tick, NULL, &opts));
    settle();
    gring_test_advance(MS(35));
    cr_assert_eq(ran, 3);
    cr_assert_eq(gring_scope_close(&s), 0);
    cr_assert_eq(live_count(), 1);
}

FakeTimeTest(scope, a_delayed_child_is_un_spawned)
{
    gring_scope s;
    gring_spawn_opts opts = { .size = sizeof opts, .scope = &s, .delay = GRING_SEC };

    gring_scope_open(&s, 0);
    gring_spawn_with(&opts, run, NULL);
    cr_assert_eq(gring_scope_close(&s), 0);
    gring_test_advance(2 * GRING_SEC);
    cr_assert_eq(ran, 0);
}

/* ---- defers ---- */

static void note_defer(void *what)
{
    cr_assert_eq(gring_scope_live(&shared), 0);
    note(gring_yield() == 0 ? what : "interrupted ");
}

static void *close_while_killed(void *unused)
{
    gring_scope_open(&shared, 0);
    gring_scope_defer(&shared, note_defer, (void *)(uintptr_t) "first ");
    gring_scope_defer(&shared, note_defer, (void *)(uintptr_t) "second ");
    gring_scope_spawn(&shared, sleep_long, NULL);
    gring_scope_wait(&shared);
    gring_scope_close(&shared);
    return unused;
}

FakeTimeTest(scope, defers_run_after_the_last_task_in_reverse_and_shielded)
{
    gring_task *owner = gring_spawn(close_while_killed, NULL);

    settle();
    gring_kill(owner);
    gring_join(owner, NULL);
    cr_assert_str_eq(trace, "second first ");
}

/* ---- kill and deadlines of the owner ---- */

static int inner_outcome, inner_errno;

static void *own_a_scope(void *unused)
{
    gring_scope s;

    gring_scope_open(&s, 0);
    gring_scope_spawn(&s, sleep_long, NULL);
    inner_outcome = gring_scope_wait(&s);
    inner_errno = errno;
    note("waited ");
    gring_scope_close(&s);
    return unused;
}

FakeTimeTest(scope, kill_of_the_owner_reaches_children_and_their_scopes)
{
    gring_scope s;

    gring_scope_open(&s, 0);
    gring_scope_spawn(&s, own_a_scope, NULL);
    settle();
    gring_scope_cancel(&s, 0);
    cr_assert_eq(gring_scope_wait(&s), 0);
    cr_assert_eq(sleep_errno, ECANCELED);
    cr_assert_eq(inner_outcome, -1);
    cr_assert_eq(inner_errno, ECANCELED);
    gring_scope_close(&s);
    cr_assert_eq(live_count(), 1);
}

static void *fail_inside(void *unused)
{
    gring_scope s;

    gring_scope_open(&s, 0);
    gring_scope_spawn(&s, fail, code(EDOM));
    inner_outcome = gring_scope_wait(&s);
    gring_scope_close(&s);
    return unused;
}

FakeTimeTest(scope, a_nested_one_s_failure_stays_in_it)
{
    gring_scope s;

    gring_scope_open(&s, 0);
    gring_scope_spawn(&s, fail_inside, NULL);
    gring_scope_spawn(&s, sleep_a_little, NULL);
    settle();
    gring_test_advance(MS(20));
    cr_assert_eq(gring_scope_wait(&s), 0);
    cr_assert_eq(inner_outcome, EDOM);
    cr_assert_eq(ended, 1);
    gring_scope_close(&s);
}

static void *own_shielded(void *unused)
{
    gring_scope s;

    gring_scope_open(&s, 0);
    gring_scope_spawn(&s, sleep_long, NULL);
    GRING_SHIELD
    {
        gring_sleep(MS(10));
        note(ended ? "early " : "shielded ");
    }
    gring_yield();
    gring_scope_close(&s);
    return unused;
}

FakeTimeTest(scope, kill_of_a_shielded_owner_reaches_the_children_when_it_leaves)
{
    gring_task *owner = gring_spawn(own_shielded, NULL);

    settle();
    gring_kill(owner);
    settle();
    cr_assert_eq(ended, 0);
    gring_test_advance(MS(20));
    cr_assert_eq(gring_join(owner, NULL), ECANCELED);
    cr_assert_str_eq(trace, "shielded ");
    cr_assert_eq(ended, 1);
}

static void *bounded(void *unused)
{
    gring_scope s;

    gring_scope_open(&s, 0);
    gring_scope_spawn(&s, sleep_long, NULL);
    inner_outcome = gring_within(MS(10), gring_scope_wait(&s));
    inner_errno = errno;
    ran = ended;
    gring_scope_close(&s);
    return unused;
}

FakeTimeTest(scope, bounded_wait_times_out_and_the_sleeper_has_ended)
{
    gring_task *owner = gring_spawn(bounded, NULL);

    settle();
    gring_test_advance(MS(20));
    cr_assert_eq(gring_join(owner, NULL), 0);
    cr_assert_eq(inner_outcome, -1);
    cr_assert_eq(inner_errno, ETIMEDOUT);
    cr_assert_eq(ran, 1);
}

static gring_scope outside, within;
static gring_timeout around;

static void *park_between(void *unused)
{
    gring_scope_open(&outside, 0);
    gring_scope_spawn(&outside, sleep_long, NULL);
    gring_timeout_start(&around, MS(10));
    gring_scope_open(&within, 0);
    gring_scope_spawn(&within, sleep_long, NULL);
    gring_park(NULL);
    inner_outcome = gring_timeout_stop(&around);
    inner_errno = gring_scope_close(&within);
    GRING_SHIELD
    {
        gring_park(NULL);
    }
    gring_scope_close(&outside);
    return unused;
}

FakeTimeTest(scope, a_deadline_cancels_those_opened_inside_it_and_no_other)
{
    gring_task *owner = gring_spawn(park_between, NULL);

    settle();
    gring_test_advance(MS(20));
    cr_assert_eq(ended, 1);
    cr_assert_eq(gring_scope_live(&outside), 1);
    cr_assert_eq(inner_outcome, 1);
    cr_assert_eq(inner_errno, ETIMEDOUT);
    gring_unpark(owner, NULL);
    cr_assert_eq(gring_join(owner, NULL), 0);
    cr_assert_eq(ended, 2);
}

static void *open_when_killed(void *unused)
{
    gring_scope s;

    gring_kill(gring_self());
    inner_outcome = gring_scope_open(&s, 0);
    cr_assert_null(gring_scope_spawn(&s, run, NULL));
    inner_errno = errno;
    gring_scope_close(&s);
    return unused;
}

FakeTimeTest(scope, opened_by_a_killed_task_is_cancelled_from_the_start)
{
    gring_join(gring_spawn(open_when_killed, NULL), NULL);
    cr_assert_eq(inner_outcome, 0);
    cr_assert_eq(inner_errno, ECANCELED);
}

/* ---- a deep tree ---- */

static int depth_left = 20000;

static void *descend(void *unused)
{
    gring_scope s;

    gring_scope_open(&s, 0);
    if (--depth_left > 0)
        gring_scope_spawn_n(&s, descend, NULL);
    gring_park(NULL);
    gring_scope_close(&s);
    ended++;
    return unused;
}

GreenTest(scope, cancelling_a_tree_20000_deep_needs_no_deep_stack)
{
    gring_scope s;

    gring_scope_open(&s, 0);
    gring_scope_spawn_n(&s, descend, NULL);
    settle();
    gring_scope_close(&s);
    cr_assert_eq(ended, 20000);
    cr_assert_eq(live_count(), 1);
}

/* ---- the block form, exit, the end of main ---- */

static void use_auto(void)
{
    gring_auto_scope(s);

    gring_scope_spawn(&s, sleep_long, NULL);
    settle();
}

FakeTimeTest(scope, the_auto_form_closes_at_the_end_of_the_block)
{
    use_auto();
    cr_assert_eq(ended, 1);
    cr_assert_eq(live_count(), 1);
}

static void *exit_with_scopes(void *unused)
{
    gring_scope a, b;
    gring_timeout t;

    gring_scope_open(&a, 0);
    gring_timeout_start(&t, GRING_SEC);
    gring_scope_open(&b, 0);
    gring_scope_spawn(&a, sleep_long, NULL);
    gring_scope_spawn(&b, sleep_long, NULL);
    gring_yield();
    gring_exit(unused);
}

FakeTimeTest(scope, gring_exit_closes_it)
{
    gring_join(gring_spawn(exit_with_scopes, NULL), NULL);
    cr_assert_eq(ended, 2);
}

Test(scope, gring_exit_in_main_closes_it)
{
    gring_run(exit_with_scopes, NULL, NULL);
    cr_assert_eq(ended, 2);
}

Test(scope, gring_fini_closes_it)
{
    gring_scope s;

    cr_assert_eq(gring_init(NULL), 0);
    gring_scope_open(&s, 0);
    gring_scope_spawn(&s, sleep_long, NULL);
    gring_yield();
    cr_assert_eq(gring_fini(), 0);
    cr_assert_eq(ended, 1);
}

/* ---- misuse ---- */

static void *close_the_shared(void *unused)
{
    gring_scope_close(&shared);
    return unused;
}

static void closes_from_a_child(void)
{
    gring_init(NULL);
    gring_scope_open(&shared, 0);
    gring_scope_spawn(&shared, close_the_shared, NULL);
    gring_scope_wait(&shared);
}

Test(scope, closed_by_a_child_is_caught_with_a_sentence)
{
    struct child child = child_run(closes_from_a_child);

    cr_assert(child_died_of(&child, SIGABRT));
    cr_assert_not_null(
        strstr(child.errors, "a scope was closed by a task or thread that did not open it"));
}

static void *join_then_return(void *unused)
{
    gring_scope s;

    gring_scope_open(&s, 0);
    gring_join(gring_scope_spawn(&s, run, NULL), NULL);
    gring_scope_close(&s);
    return unused;
}

Test(scope, a_child_s_handle_that_is_dropped_is_caught, .signal = SIGABRT)
{
    gring_run(join_then_return, NULL, NULL);
}

static void *return_with_it_open(void *unused)
{
    gring_scope s;

    gring_scope_open(&s, 0);
    return unused;
}

Test(scope, open_when_its_task_returns_is_caught, .signal = SIGABRT)
{
    gring_run(return_with_it_open, NULL, NULL);
}

static void *wait_for_shared(void *unused)
{
    inner_outcome = gring_scope_wait(&shared);
    inner_errno = errno;
    return unused;
}

FakeTimeTest(scope, waited_for_by_another_task_is_refused)
{
    gring_scope_open(&shared, 0);
    cr_assert_eq(gring_scope_open(&shared, 0), -1);
    cr_assert_eq(errno, EBUSY);
    gring_scope_spawn(&shared, wait_for_shared, NULL);
    cr_assert_eq(gring_scope_wait(&shared), 0);
    cr_assert_eq(inner_outcome, -1);
    cr_assert_eq(inner_errno, EPERM);
    gring_scope_close(&shared);
}

static void *leave_and_shield_again(void *unused)
{
    gring_scope_open(&shared, 0);
    gring_scope_spawn(&shared, sleep_long, NULL);
    GRING_SHIELD
    {
        gring_park(NULL);
    }
    GRING_SHIELD
    {
        gring_park(NULL);
    }
    gring_scope_close(&shared);
    return unused;
}

FakeTimeTest(scope, leaving_the_shield_is_what_lets_the_kill_reach_the_children)
{
    gring_task *owner = gring_spawn(leave_and_shield_again, NULL);

    settle();
    gring_kill(owner);
    settle();
    cr_assert_eq(ended, 0);
    gring_unpark(owner, NULL);
    settle();
    cr_assert_eq(ended, 1);
    cr_assert_eq(gring_task_state(owner), GRING_PARKED);
    gring_unpark(owner, NULL);
    gring_join(owner, NULL);
}

static void *wait_for_the_delayed(void *unused)
{
    gring_spawn_opts opts = { .size = sizeof opts, .scope = &shared, .delay = GRING_SEC };

    gring_scope_open(&shared, 0);
    gring_spawn_with(&opts, run, NULL);
    inner_outcome = gring_scope_wait(&shared);
    inner_errno = errno;
    gring_scope_close(&shared);
    return unused;
}

FakeTimeTest(scope, kill_that_ends_all_children_at_once_is_still_an_interruption_of_the_wait)
{
    gring_task *owner = gring_spawn(wait_for_the_delayed, NULL);

    settle();
    gring_kill(owner);
    cr_assert_eq(gring_join(owner, NULL), ECANCELED);
    cr_assert_eq(inner_outcome, -1);
    cr_assert_eq(inner_errno, ECANCELED);
}

/* ---- that is not open ---- */

static gring_scope closed;

static void expect_nothing_to_work(void)
{
    errno = 0;
    cr_assert_null(gring_scope_spawn(&closed, run, NULL));
    cr_assert_eq(errno, EINVAL);
    errno = 0;
    cr_assert_eq(gring_scope_spawn_n(&closed, run, NULL), -1);
    cr_assert_eq(errno, EINVAL);
    errno = 0;
    cr_assert_eq(gring_scope_defer(&closed, note_defer, NULL), -1);
    cr_assert_eq(errno, EINVAL);
    errno = 0;
    cr_assert_eq(gring_scope_wait(&closed), -1);
    cr_assert_eq(errno, EINVAL);
    gring_scope_cancel(&closed, EIO);
    cr_assert_eq(gring_scope_live(&closed), 0);
    cr_assert_eq(gring_scope_close(&closed), 0);
}

GreenTest(scope, that_is_not_open_refuses_all_but_its_close)
{
    expect_nothing_to_work();
    cr_assert_eq(gring_scope_open(&closed, 0), 0);
    errno = 0;
    cr_assert_eq(gring_scope_defer(&closed, NULL, NULL), -1);
    cr_assert_eq(errno, EINVAL, "it is open, but that is no function");
    cr_assert_eq(gring_scope_close(&closed), 0);
    expect_nothing_to_work();
}

static void open_in_a_callback(void *task)
{
    errno = 0;
    if (gring_scope_open(&closed, 0) == -1 && errno == EPERM)
        expect_nothing_to_work();
    else
        cr_assert_fail("it was opened");
    gring_unpark(task, NULL);
}

GreenTest(scope, cannot_be_opened_in_a_callback)
{
    cr_assert_eq(gring_post(NULL, open_in_a_callback, gring_self()), 0);
    cr_assert_eq(gring_park(NULL), 0);
}

GreenTest(scope, that_is_open_cannot_be_opened_again)
{
    gring_scope s = { { 0 } };

    cr_assert_eq(gring_scope_open(&s, 0), 0);
    errno = 0;
    cr_assert_eq(gring_scope_open(&s, 0), -1);
    cr_assert_eq(errno, EBUSY);
    cr_assert_eq(gring_scope_spawn_n(&s, sleep_long, NULL), 0, "it is as it was");
    cr_assert_eq(gring_scope_live(&s), 1);
    cr_assert_eq(gring_scope_close(&s), 0);
}
