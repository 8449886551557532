/* Ambient deadlines: the nesting table, shields, the macros. Time stands still unless a test
 * says otherwise. */
#include "tests/support/child.h"
#include "tests/support/faketime.h"
#include "tests/support/fds.h"
#include "tests/support/green.h"

#include <signal.h>

#define MS(count) ((count)*GRING_MS)

static int results[8]; /* of the task under test, in order */
static int result_count;

static void record(int value)
{
    results[result_count++] = value;
}

static int outcome(int64_t result)
{
    return result < 0 ? errno : 0;
}

/* Runs the task to its end, in steps, so that everything happens at its own time. */
static void run_for(gring_fn fn, gring_ns duration)
{
    gring_task *task = gring_spawn(fn, NULL);

    cr_assert_eq(gring_idle(), 0);
    cr_assert_eq(gring_test_advance(duration), 0);
    cr_assert_eq(gring_task_state(task), GRING_DONE);
    cr_assert_eq(gring_join(task, NULL), 0);
}

#define EXPECT(...)                                                                                \
    do {                                                                                           \
        const int expected[] = { __VA_ARGS__ };                                                    \
                                                                                                   \
        cr_assert_eq(result_count, (int)(sizeof expected / sizeof expected[0]));                   \
        for (int index = 0; index < result_count; index++)                                         \
            cr_assert_eq(results[index], expected[index], "result %d is %d", index,                \
                         results[index]);                                                          \
    } while (0)

/* The time that passes while a task computes: the main task, which is ready meanwhile, moves the
 * clock. */
static void at_ms(int count)
{
    record((int)(gring_now() / GRING_MS) == count);
}

/* ---- the nesting table ---- */

static void *nest(gring_ns outer_ns, gring_ns inner_ns)
{
    gring_timeout outer, inner;

    gring_timeout_start(&outer, outer_ns);
    gring_timeout_start(&inner, inner_ns);
    record(outcome(gring_sleep(MS(300))));
    at_ms(100);
    record(gring_timeout_stop(&inner));
    record(outcome(gring_sleep(MS(300))));
    record(gring_timeout_stop(&outer));
    record(outcome(gring_sleep(MS(1))));
    return NULL;
}

static void *outer_first(void *unused)
{
    (void)unused;
    return nest(MS(100), MS(200));
}

FakeTimeTest(deadline, an_outer_one_that_expires_first_is_not_the_inner_one_s)
{
    run_for(outer_first, MS(500));
    EXPECT(ETIMEDOUT, 1, 0, ETIMEDOUT, 1, 0);
}

static void *inner_first(void *unused)
{
    (void)unused;
    return nest(MS(200), MS(100));
}

FakeTimeTest(deadline, an_inner_one_that_expires_first_lets_the_outer_one_go_on)
{
    run_for(inner_first, MS(500));
    EXPECT(ETIMEDOUT, 1, 1, ETIMEDOUT, 1, 0);
}

static void compute_until(gring_ns instant)
{
    while (gring_now() < instant)
        continue;
}

/* Real time here: computing is what no fake clock can do. */
static void *compute_past_both(gring_ns outer_ns, gring_ns inner_ns)
{
    gring_timeout outer, inner;

    gring_timeout_start(&outer, outer_ns);
    gring_timeout_start(&inner, inner_ns);
    compute_until(gring_now() + MS(6));
    record(outcome(gring_sleep(GRING_SEC)));
    record(gring_timeout_stop(&inner));
    record(outcome(gring_yield()));
    record(gring_timeout_stop(&outer));
    return NULL;
}

GreenTest(deadline, computing_past_both_makes_it_the_outer_one_s_if_that_was_first)
{
    compute_past_both(MS(2), MS(4));
    EXPECT(ETIMEDOUT, 0, ETIMEDOUT, 1);
}

GreenTest(deadline, computing_past_both_makes_it_first_the_inner_one_s_if_that_was_first)
{
    compute_past_both(MS(4), MS(2));
    EXPECT(ETIMEDOUT, 1, ETIMEDOUT, 1);
}

static void *same_instant(void *unused)
{
    gring_timeout outer, inner;

    gring_timeout_start_at(&outer, MS(100));
    gring_timeout_start_at(&inner, MS(100));
    record(outcome(gring_sleep(MS(300))));
    record(gring_timeout_stop(&inner));
    record(gring_timeout_stop(&outer));
    return unused;
}

FakeTimeTest(deadline, of_the_same_instant_the_outer_one_owns_it)
{
    run_for(same_instant, MS(400));
    EXPECT(ETIMEDOUT, 0, 1);
}

static void *swallow_the_outer(void *unused)
{
    gring_timeout outer;

    gring_timeout_start(&outer, MS(100));
    record(outcome(gring_within(MS(200), gring_sleep(MS(300)))));
    record(outcome(gring_within(MS(200), gring_sleep(MS(300)))));
    record(outcome(gring_yield()));
    record(gring_timeout_stop(&outer));
    return unused;
}

FakeTimeTest(deadline, an_outer_one_swallowed_fails_the_next_call_again)
{
    run_for(swallow_the_outer, MS(150));
    EXPECT(ETIMEDOUT, ETIMEDOUT, ETIMEDOUT, 1);
}

static int no_time_fd[2];

static void *begin_nothing(void *unused)
{
    gring_timeout t;
    char byte;

    gring_timeout_start(&t, 0);
    record(gring_timeout_expired(&t));
    record(outcome(gring_yield()));
    record(outcome(gring_read(no_time_fd[0], &byte, 1)));
    record(gring_timeout_stop(&t));
    record((int)gring_read(no_time_fd[0], &byte, 1));
    return unused;
}

FakeTimeTest(deadline, of_no_time_lets_nothing_begin)
{
    make_unix_pair(no_time_fd);
    cr_assert_eq(write(no_time_fd[1], "x", 1), 1);
    run_for(begin_nothing, 0);
    EXPECT(1, ETIMEDOUT, ETIMEDOUT, 1, 1);
}

/* ---- one of them ---- */

static void *stop_in_time(void *unused)
{
    gring_timeout t;

    gring_timeout_start(&t, MS(100));
    record(outcome(gring_sleep(MS(50))));
    record(gring_timeout_stop(&t));
    record(gring_timeout_stop(&t));
    record(outcome(gring_sleep(MS(200))));
    return unused;
}

FakeTimeTest(deadline, stopped_in_time_does_nothing_later)
{
    gring_stats stats = { .size = sizeof stats };

    run_for(stop_in_time, MS(300));
    EXPECT(0, 0, 0, 0);
    gring_stats_get(&stats);
    cr_assert_eq(stats.timers, 0);
}

GreenTest(deadline, is_never_early)
{
    for (int times = 0; times < 200; times++) {
        gring_ns start = gring_now(), wanted = 1000 * (1 + times * 7 % 300);

        cr_assert_eq(outcome(gring_within(wanted, gring_sleep(GRING_SEC))), ETIMEDOUT);
        cr_assert_geq(gring_now() - start, wanted);
    }
}

static void *reset(void *unused)
{
    gring_timeout t;

    gring_timeout_start(&t, MS(100));
    record(outcome(gring_sleep(MS(50))));
    record(gring_timeout_reset(&t, MS(100)));
    record(outcome(gring_sleep(MS(90))));
    record(outcome(gring_sleep(MS(90))));
    record(gring_timeout_reset(&t, MS(100)));
    record(gring_timeout_stop(&t));
    record(gring_timeout_reset(&t, MS(100)));
    return unused;
}

FakeTimeTest(deadline, reset_begins_anew_unless_expired_or_stopped)
{
    run_for(reset, MS(400));
    EXPECT(0, 0, 0, ETIMEDOUT, -1, 1, -1);
}

static void *look_at_the_time_left(void *unused)
{
    gring_timeout outer, inner;

    record(gring_time_left() == GRING_FOREVER);
    gring_timeout_start(&outer, MS(100));
    gring_timeout_start(&inner, MS(200));
    record(gring_time_left() == MS(100));
    gring_shield_enter();
    record(gring_time_left() == GRING_FOREVER);
    gring_shield_leave();
    gring_timeout_stop(&inner);
    gring_timeout_start(&inner, GRING_FOREVER);
    record(gring_time_left() == MS(100));
    gring_timeout_stop(&inner);
    gring_timeout_stop(&outer);
    record(gring_time_left() == GRING_FOREVER);
    return unused;
}

FakeTimeTest(time_left, is_that_of_the_earliest_deadline_that_counts)
{
    run_for(look_at_the_time_left, 0);
    EXPECT(1, 1, 1, 1, 1);
}

FakeTimeTest(deadline, started_twice_is_refused)
{
    gring_timeout t;

    cr_assert_eq(gring_timeout_start(&t, MS(1)), 0);
    cr_assert_eq(gring_timeout_start(&t, MS(1)), -1);
    cr_assert_eq(errno, EBUSY);
    gring_timeout_stop(&t);
}

Test(deadline, without_a_runtime_is_refused_and_stops_as_nothing)
{
    gring_timeout t;

    cr_assert_eq(gring_timeout_start(&t, MS(1)), -1);
    cr_assert_eq(errno, EPERM);
    cr_assert_eq(gring_timeout_stop(&t), 0);
}

static void *stop_the_outer_first(void *unused)
{
    gring_timeout outer, inner;

    gring_timeout_start(&outer, MS(1));
    gring_timeout_start(&inner, MS(1));
    gring_timeout_stop(&outer);
    return unused;
}

Test(deadline, stopped_before_the_one_inside_it_is_caught, .signal = SIGABRT)
{
    gring_run(stop_the_outer_first, NULL, NULL);
}

static void *forget_to_stop(void *unused)
{
    gring_timeout t;

    gring_timeout_start(&t, MS(1));
    return unused;
}

Test(deadline, not_stopped_when_its_task_returns_is_caught, .signal = SIGABRT)
{
    gring_run(forget_to_stop, NULL, NULL);
}

static void *exit_inside(void *unused)
{
    gring_timeout t;

    gring_timeout_start(&t, MS(1));
    gring_shield_enter();
    gring_exit(unused);
}

FakeTimeTest(deadline, is_stopped_by_gring_exit)
{
    run_for(exit_inside, MS(10));
}

/* ---- with shields, kills, throws ---- */

static void *bound_the_cleanup(void *unused)
{
    gring_timeout outer;

    gring_timeout_start(&outer, MS(50));
    GRING_SHIELD
    {
        record(outcome(gring_sleep(MS(100))));                       /* past the outer one */
        record(outcome(gring_within(MS(10), gring_sleep(MS(100))))); /* its own */
        at_ms(110);
    }
    record(outcome(gring_sleep(MS(100))));
    record(gring_timeout_stop(&outer));
    return unused;
}

FakeTimeTest(deadline, inside_a_shield_works_while_the_outer_ones_wait)
{
    run_for(bound_the_cleanup, MS(300));
    EXPECT(0, ETIMEDOUT, 1, ETIMEDOUT, 1);
}

static void *meet_all_three(void *unused)
{
    gring_timeout t;

    gring_timeout_start(&t, 0);
    gring_throw(gring_self(), EDOM);
    gring_kill(gring_self());
    record(outcome(gring_yield()));
    gring_uncancel();
    record(outcome(gring_yield()));
    record(outcome(gring_yield()));
    record(outcome(gring_yield()));
    gring_timeout_stop(&t);
    record(outcome(gring_yield()));
    return unused;
}

FakeTimeTest(deadline, is_beaten_by_a_throw_which_is_beaten_by_a_kill)
{
    run_for(meet_all_three, 0);
    EXPECT(ECANCELED, EDOM, ETIMEDOUT, ETIMEDOUT, 0);
}

/* ---- with IO and joins ---- */

static int pair[2];

GreenTest(deadline, of_a_read_ends_it_and_the_bytes_stay)
{
    char bytes[4];

    make_unix_pair(pair);
    cr_assert_eq(outcome(gring_within(MS(5), gring_read(pair[0], bytes, 4))), ETIMEDOUT);
    cr_assert_eq(write(pair[1], "abcd", 4), 4);
    cr_assert_eq(gring_within(MS(5), gring_read(pair[0], bytes, 4)), 4);
}

enum { MUCH = 4 << 20 };

static char much[MUCH];

GreenTest(deadline, of_an_accept_or_a_receive_ends_in_time)
{
    int listener = make_listener(1);
    char byte;

    cr_assert_eq(outcome(gring_within(MS(5), gring_accept(listener, NULL, NULL))), ETIMEDOUT);
    make_tcp_pair(pair);
    cr_assert_eq(outcome(gring_within(MS(5), gring_recv(pair[0], &byte, 1, 0))), ETIMEDOUT);
    cr_assert_eq(outcome(gring_within(MS(5), gring_recvfrom(pair[0], &byte, 1, 0, NULL, NULL))),
                 ETIMEDOUT);
}

/* One connection fills the backlog, and the next gets no answer. */
GreenTest(deadline, of_a_connect_ends_in_time)
{
    int listener = make_listener(0), first = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int second = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = address_of(listener);

    cr_assert_eq(connect(first, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(outcome(gring_within(
                     MS(5), gring_connect(second, (struct sockaddr *)&address, sizeof address))),
                 ETIMEDOUT);
    gring_close(second);
}

GreenTest(deadline, of_a_send_ends_in_time)
{
    ssize_t sent = 1;

    make_tcp_pair(pair);
    gring_within_do(MS(20))
    {
        while (sent > 0)
            sent = gring_send(pair[0], much, MUCH, 0);
        cr_assert_eq(errno, ETIMEDOUT);
    }
}

GreenTest(deadline, of_a_full_transfer_ends_in_time_and_tells_the_bytes)
{
    size_t done = 0;

    make_tcp_pair(pair);
    cr_assert_eq(outcome(gring_within(MS(20), gring_write_full(pair[0], much, MUCH, &done))),
                 ETIMEDOUT);
    cr_assert_gt(done, 0);
    cr_assert_lt(done, MUCH);
    cr_assert_eq(outcome(gring_within(MS(20), gring_read_full(pair[0], much, MUCH, &done))),
                 ETIMEDOUT);
    cr_assert_eq(done, 0);
}

static void *park(void *unused)
{
    gring_park(NULL);
    return unused;
}

FakeTimeTest(deadline, of_a_join_leaves_the_target_running)
{
    gring_task *task = gring_spawn(park, NULL);

    cr_assert_eq(outcome(gring_within(0, gring_join(task, NULL))), ETIMEDOUT);
    cr_assert_eq(gring_idle(), 0);
    cr_assert_eq(gring_task_state(task), GRING_PARKED);
    gring_unpark(task, NULL);
    cr_assert_eq(gring_join(task, NULL), 0);
}

/* ---- the macros ---- */

static void *return_from_inside(void *unused)
{
    gring_within_do(MS(10))
    {
        record(outcome(gring_sleep(MS(20))));
        return unused;
    }
    return NULL;
}

static void *break_from_inside(void *unused)
{
    gring_within_do(MS(10))
    {
        gring_within_do(MS(5))
        {
            record(outcome(gring_sleep(MS(20))));
            break;
        }
        record(outcome(gring_sleep(MS(20))));
    }
    record(outcome(gring_sleep(MS(20))));
    return unused;
}

FakeTimeTest(within_do, is_left_by_return)
{
    run_for(return_from_inside, MS(20));
    EXPECT(ETIMEDOUT);
}

FakeTimeTest(within_do, is_left_by_break_and_nests)
{
    run_for(break_from_inside, MS(100));
    EXPECT(ETIMEDOUT, ETIMEDOUT, 0);
}

static void *nest_within(void *unused)
{
    record(outcome(gring_within(MS(50), gring_within(MS(10), gring_sleep(MS(100))))));
    at_ms(10);
    {
        gring_auto_timeout(t, MS(10));
        record(outcome(gring_sleep(MS(100))));
        record(gring_timeout_expired(&t));
    }
    record(outcome(gring_sleep(MS(1))));
    return unused;
}

FakeTimeTest(within, nests_and_the_auto_form_ends_with_its_block)
{
    run_for(nest_within, MS(100));
    EXPECT(ETIMEDOUT, 1, ETIMEDOUT, 1, 0);
}

static int touched;

static void touch(void)
{
    touched++;
}

FakeTimeTest(within, takes_void_calls_and_keeps_the_errno_of_the_call)
{
    gring_within(MS(1), touch());
    cr_assert_eq(touched, 1);
    errno = EXDEV;
    cr_assert_eq(gring_within(MS(1), 7), 7);
    cr_assert_eq(errno, EXDEV);
    cr_assert_eq(gring_within(MS(1), gring_read(-1, &touched, 1)), -1);
    cr_assert_eq(errno, EBADF);
}

FakeTimeTest(deadline, a_thousand_stopped_ones_leave_no_timer_behind)
{
    gring_stats stats = { .size = sizeof stats };

    for (int times = 0; times < 1000; times++)
        gring_within(GRING_SEC, 0);
    gring_stats_get(&stats);
    cr_assert_eq(stats.timers, 0);
}

static pid_t stopped_child;

static void stop_and_continue(void *unused)
{
    (void)unused;
    pid_t parent = getpid();

    stopped_child = fork();
    if (stopped_child == 0) {
        kill(parent, SIGSTOP);
        usleep(5000);
        kill(parent, SIGCONT);
        _exit(0);
    }
}

GreenTest(deadline, survives_sigstop_and_sigcont_during_accept)
{
    int listener = make_listener(1);
    gring_timer timer = { { 0 } };

    gring_timer_start(&timer, MS(5), stop_and_continue, NULL);
    cr_assert_eq(outcome(gring_within(MS(60), gring_accept(listener, NULL, NULL))), ETIMEDOUT);
    waitpid(stopped_child, NULL, 0);
}
