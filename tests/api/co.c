/* Coroutines: greenring/co.h, its first half. Generators: gen.c. */
#include "tests/support/child.h"
#include "tests/support/faketime.h"
#include "tests/support/green.h"

#include <greenring/co.h>
#include <greenring/local.h>
#include <limits.h>
#include <pthread.h>

static char said[256]; /* by whom and what, in order */

static void say(const char *what)
{
    strncat(said, what, sizeof said - strlen(said) - 1);
}

static int one, two, three; /* things to point to */

static gring_co *new_co(gring_fn fn)
{
    gring_co *co = gring_co_new(fn, NULL, 0);

    cr_assert_not_null(co, "%m");
    return co;
}

/* A switch that must succeed: what came back. */
static void *go(gring_co *to, void *in)
{
    void *out = &out;

    cr_assert_eq(gring_co_switch(to, in, &out), 0);
    return out;
}

static void *back(void *value)
{
    return go(gring_co_parent(gring_co_self()), value);
}

static void *return_it(void *arg)
{
    return arg;
}

static uint64_t count_of(size_t member)
{
    gring_stats stats = { .size = sizeof stats };

    cr_assert_eq(gring_stats_get(&stats), 0);
    return *(uint64_t *)(void *)((char *)&stats + member);
}

static void advance(gring_ns duration)
{
    cr_assert_eq(gring_test_advance(duration), 0);
}

/* ---- switching ---- */

static gring_co *first, *second;

static void *say_12_and_34(void *unused)
{
    say("12 ");
    gring_co_switch(second, NULL, NULL);
    say("34 ");
    return unused;
}

static void *say_56_and_78(void *unused)
{
    say("56 ");
    gring_co_switch(first, NULL, NULL);
    say("78 ");
    return unused;
}

GreenTest(co, the_program_of_the_articles_says_12_56_34_and_no_more)
{
    first = new_co(say_12_and_34);
    second = new_co(say_56_and_78);
    go(first, NULL);
    cr_assert_str_eq(said, "12 56 34 ");
    cr_assert_eq(gring_co_status(first), GRING_CO_ENDED);
    cr_assert_eq(gring_co_status(second), GRING_CO_SUSPENDED);
    cr_assert_eq(gring_co_free(first), 0);
    cr_assert_eq(gring_co_free(second), 0);
    cr_assert_str_eq(said, "12 56 34 ", "its frames are abandoned");
}

static void *expect_one_two(void *arg)
{
    cr_assert_eq(arg, &one);
    cr_assert_eq(back(&two), &three);
    return &one;
}

GreenTest(co, values_go_both_ways)
{
    gring_co *co = new_co(expect_one_two);

    cr_assert_eq(go(co, &one), &two);
    cr_assert_eq(go(co, &three), &one);
    cr_assert_eq(gring_co_status(co), GRING_CO_ENDED);
}

GreenTest(co, a_switch_to_oneself_returns_at_once)
{
    void *out = NULL;

    cr_assert_eq(go(gring_co_self(), &one), &one);
    cr_assert_eq(gring_co_switch(gring_co_self(), &one, NULL), 0);
    cr_assert_eq(gring_co_throw(gring_co_self(), EIO, &out), EIO);
    cr_assert_null(out);
}

static void *change_errno(void *arg)
{
    cr_assert_eq(errno, 0);
    errno = E2BIG;
    back(arg);
    cr_assert_eq(errno, E2BIG);
    errno = EDOM;
    return arg;
}

GreenTest(co, errno_is_each_ones_own)
{
    gring_co *co = new_co(change_errno);

    errno = EXDEV;
    go(co, NULL);
    cr_assert_eq(errno, EXDEV);
    go(co, NULL);
    cr_assert_eq(errno, EXDEV);
}

static void *switch_for_ever(void *count)
{
    while (++*(int *)count > 0)
        back(NULL);
    return NULL;
}

GreenTest(co, ten_thousand_at_once)
{
    enum { COUNT = 10000 };
    static gring_co *cos[COUNT];
    int count = 0;

    for (int index = 0; index < COUNT; index++)
        cos[index] = new_co(switch_for_ever);
    for (int round = 0; round < 3; round++)
        for (int index = 0; index < COUNT; index++)
            go(cos[index], &count);
    cr_assert_eq(count, 3 * COUNT);
    for (int index = 0; index < COUNT; index++)
        cr_assert_eq(gring_co_free(cos[index]), 0);
}

static void *fill_a_stack(void *bytes)
{
    volatile char space[8 * 1024];

    for (size_t index = 0; index < sizeof space; index++)
        space[index] = (char)index;
    return bytes;
}

GreenTest(co, stacks_of_ended_and_freed_ones_are_used_again_by_coroutines_and_tasks)
{
    uint64_t before;
    gring_co *co = new_co(return_it);

    go(co, NULL);
    gring_co_free(co);
    before = count_of(offsetof(gring_stats, stack_bytes));
    for (int round = 0; round < 2000; round++) {
        gring_co *ends = new_co(fill_a_stack), *stays = new_co(switch_for_ever);
        int count = 0;

        go(ends, NULL);
        go(stays, &count);
        cr_assert_eq(gring_co_free(ends), 0);
        cr_assert_eq(gring_co_free(stays), 0);
        cr_assert_eq(gring_co_free(new_co(return_it)), 0);
        cr_assert_eq(gring_join(gring_spawn(fill_a_stack, NULL), NULL), 0);
    }
    cr_assert_eq(count_of(offsetof(gring_stats, stack_bytes)), before);
}

static void *own_kib(void *unused)
{
    volatile char space[700 * 1024];

    for (size_t index = 0; index < sizeof space; index += 4096)
        space[index] = 1;
    return unused;
}

GreenTest(co, has_a_stack_of_the_size_asked_for)
{
    gring_co *co = gring_co_new(own_kib, NULL, 800 * 1024);

    cr_assert_not_null(co);
    go(co, NULL);
    cr_assert(!gring_co_new(own_kib, NULL, 1) && errno == EINVAL);
    cr_assert(!gring_co_new(own_kib, NULL, (size_t)2 << 30) && errno == EINVAL);
    co = gring_co_new(return_it, NULL, 16 * 1024);
    cr_assert_eq(go(co, &one), &one);
}

/* ---- ends and parents ---- */

static void *fail_with_a_value(void *value)
{
    gring_fail(EIO);
    return value;
}

static void *has_a_failing_child(void *unused)
{
    void *out = NULL;

    cr_assert_eq(gring_co_switch(new_co(fail_with_a_value), &one, &out), EIO);
    cr_assert_eq(out, &one);
    return unused;
}

GreenTest(co, a_code_goes_to_the_parent_with_the_value_and_is_not_the_tasks)
{
    cr_assert_eq(gring_join(gring_spawn(has_a_failing_child, NULL), NULL), 0);
}

static void *fail_later(void *arg)
{
    gring_fail(EIO);
    back(arg);
    return NULL;
}

GreenTest(co, a_code_set_before_a_switch_is_kept_to_the_end)
{
    gring_co *co = new_co(fail_later);

    go(co, NULL);
    cr_assert_eq(gring_co_switch(co, NULL, NULL), EIO);
}

GreenTest(co, the_end_goes_to_the_parent_that_was_named)
{
    gring_co *parent = new_co(expect_one_two);
    gring_co *child = gring_co_new(return_it, parent, 0);

    go(parent, &one);
    cr_assert_eq(gring_co_parent(child), parent);
    cr_assert_eq(gring_co_parent(parent), gring_co_self());
    cr_assert_eq(go(child, &three), &one, "the parent gets three and ends with one");
    cr_assert_eq(gring_co_status(parent), GRING_CO_ENDED);
}

GreenTest(co, an_ended_parent_is_passed_by)
{
    gring_co *parent = new_co(return_it);
    gring_co *child = gring_co_new(return_it, parent, 0);

    go(parent, NULL);
    cr_assert_eq(go(child, &one), &one);
}

GreenTest(co, a_parent_that_has_not_begun_gets_the_value_as_its_argument)
{
    gring_co *parent = new_co(return_it);
    gring_co *child = gring_co_new(return_it, parent, 0);

    cr_assert_eq(go(child, &one), &one);
    cr_assert_eq(gring_co_status(parent), GRING_CO_ENDED);
}

static void *never(void *arg)
{
    say("never");
    return arg;
}

GreenTest(co, a_parent_that_has_not_begun_ends_of_a_code)
{
    gring_co *parent = new_co(never);
    gring_co *child = gring_co_new(fail_with_a_value, parent, 0);
    void *out = NULL;

    cr_assert_eq(gring_co_switch(child, &one, &out), EIO);
    cr_assert_eq(out, &one);
    cr_assert_eq(gring_co_status(parent), GRING_CO_ENDED);
    cr_assert_str_eq(said, "");
}

GreenTest(co, the_parent_can_be_changed)
{
    gring_co *parent = new_co(expect_one_two), *child = new_co(return_it);

    go(parent, &one);
    cr_assert_eq(gring_co_set_parent(child, parent), 0);
    cr_assert_eq(gring_co_parent(child), parent);
    cr_assert_eq(go(child, &three), &one);
}

static void *another_tasks(void *co)
{
    void *out = &one;

    cr_assert(gring_co_switch(co, NULL, &out) == -1 && errno == EPERM);
    cr_assert(gring_co_throw(co, EIO, &out) == -1 && errno == EPERM);
    cr_assert(gring_co_free(co) == -1 && errno == EPERM);
    cr_assert(!gring_co_new(return_it, co, 0) && errno == EPERM);
    cr_assert(gring_co_set_parent(co, gring_co_self()) == -1 && errno == EINVAL);
    cr_assert(gring_co_set_parent(new_co(return_it), co) == -1 && errno == EINVAL);
    cr_assert_eq(out, &one);
    return NULL;
}

GreenTest(co, of_another_task_is_out_of_reach)
{
    cr_assert_eq(gring_join(gring_spawn(another_tasks, new_co(never)), NULL), 0);
    cr_assert_eq(gring_join(gring_spawn(another_tasks, gring_co_self()), NULL), 0);
}

GreenTest(co, set_parent_refuses_cycles_and_the_root)
{
    gring_co *outer = new_co(return_it), *inner = gring_co_new(return_it, outer, 0);

    cr_assert(gring_co_set_parent(outer, inner) == -1 && errno == EINVAL);
    cr_assert(gring_co_set_parent(outer, outer) == -1 && errno == EINVAL);
    cr_assert(gring_co_set_parent(gring_co_self(), outer) == -1 && errno == EINVAL);
    cr_assert(gring_co_set_parent(outer, NULL) == -1 && errno == EINVAL);
    cr_assert(gring_co_set_parent(NULL, outer) == -1 && errno == EINVAL);
    cr_assert_eq(gring_co_parent(outer), gring_co_self());
}

static gring_co *inspected;

static void *inspect(void *root)
{
    cr_assert_eq(gring_co_self(), inspected);
    cr_assert_eq(gring_co_status(inspected), GRING_CO_RUNNING);
    cr_assert_eq(gring_co_status(root), GRING_CO_SUSPENDED);
    cr_assert_eq(gring_co_parent(inspected), root);
    back(NULL);
    return NULL;
}

GreenTest(co, self_parent_and_status)
{
    gring_co *root = gring_co_self();

    cr_assert_null(gring_co_parent(root));
    cr_assert_eq(gring_co_status(root), GRING_CO_RUNNING);
    inspected = new_co(inspect);
    cr_assert_eq(gring_co_status(inspected), GRING_CO_NEW);
    go(inspected, root);
    cr_assert_eq(gring_co_status(inspected), GRING_CO_SUSPENDED);
    cr_assert_eq(gring_co_self(), root);
    go(inspected, NULL);
    cr_assert_eq(gring_co_status(inspected), GRING_CO_ENDED);
}

GreenTest(co, refuses_nonsense)
{
    gring_co *ended = new_co(return_it);

    go(ended, NULL);
    cr_assert(gring_co_switch(ended, NULL, NULL) == -1 && errno == ESRCH);
    cr_assert(gring_co_throw(ended, EIO, NULL) == -1 && errno == ESRCH);
    cr_assert(gring_co_switch(NULL, NULL, NULL) == -1 && errno == EINVAL);
    cr_assert(gring_co_throw(NULL, EIO, NULL) == -1 && errno == EINVAL);
    cr_assert(gring_co_throw(gring_co_self(), 0, NULL) == -1 && errno == EINVAL);
    cr_assert(gring_co_throw(gring_co_self(), -EIO, NULL) == -1 && errno == EINVAL);
    cr_assert(!gring_co_new(NULL, NULL, 0) && errno == EINVAL);
    cr_assert_eq(gring_co_free(NULL), 0);
}

/* ---- throw ---- */

static void *expect_a_throw(void *arg)
{
    void *out = arg;

    cr_assert_eq(gring_co_switch(gring_co_parent(gring_co_self()), &two, &out), EPIPE);
    cr_assert_null(out);
    return &three;
}

GreenTest(throw_co, the_switch_that_it_is_in_returns_the_error)
{
    gring_co *co = new_co(expect_a_throw);
    void *out = NULL;

    cr_assert_eq(go(co, &one), &two);
    cr_assert_eq(gring_co_throw(co, EPIPE, &out), 0);
    cr_assert_eq(out, &three);
}

GreenTest(throw_co, an_unstarted_one_ends_at_once_and_we_get_it_if_we_are_its_parent)
{
    gring_co *co = new_co(never);
    void *out = &one;

    cr_assert_eq(gring_co_throw(co, EPIPE, &out), EPIPE);
    cr_assert_null(out);
    cr_assert_eq(gring_co_status(co), GRING_CO_ENDED);
    cr_assert_str_eq(said, "");
}

GreenTest(throw_co, into_an_unstarted_one_goes_to_its_parent)
{
    gring_co *parent = new_co(expect_a_throw);
    gring_co *child = gring_co_new(never, parent, 0), *below = gring_co_new(never, child, 0);
    void *out = NULL;

    go(parent, &one);
    cr_assert_eq(gring_co_throw(below, EPIPE, &out), 0);
    cr_assert_eq(out, &three);
    cr_assert_eq(gring_co_status(child), GRING_CO_ENDED);
    cr_assert_eq(gring_co_status(below), GRING_CO_ENDED);
}

/* ---- without a task ---- */

static void call_everything(int error)
{
    gring_co *co = first;

    CHILD_MUST(gring_co_switch(co, NULL, NULL) == -1 && errno == error);
    CHILD_MUST(gring_co_throw(co, EIO, NULL) == -1 && errno == error);
    CHILD_MUST(!gring_co_new(return_it, NULL, 0) && errno == error);
    CHILD_MUST(!gring_co_self() && errno == error);
    CHILD_MUST(gring_co_set_parent(co, co) == -1 && errno == error);
    CHILD_MUST(gring_co_free(co) == -1 && errno == error);
}

static void call_from_a_callback(void *arg)
{
    call_everything(EPERM);
    say(arg);
}

static void *call_from_a_thread(void *arg)
{
    call_everything(EPERM);
    return arg;
}

static void call_after_fork(void)
{
    call_everything(ECHILD);
}

GreenTest(co, nothing_works_without_a_task)
{
    static char called[] = "called";
    pthread_t thread;

    first = new_co(never);
    gring_post(NULL, call_from_a_callback, called);
    gring_idle();
    cr_assert_str_eq(said, "called");
    pthread_create(&thread, NULL, call_from_a_thread, NULL);
    pthread_join(thread, NULL);
    child_must_pass(call_after_fork);
}

static void *fork_and_return(void *status)
{
    pid_t pid = fork();

    if (pid == 0)
        return gring_fail(7);
    waitpid(pid, status, 0);
    return NULL;
}

GreenTest(co, that_returns_in_the_child_of_a_fork_ends_the_process)
{
    int status = 0;

    go(new_co(fork_and_return), &status);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

/* ---- waiting ---- */

static void *sleep_twice(void *arg)
{
    say("s");
    cr_assert_eq(gring_sleep(10 * GRING_MS), 0);
    say("t");
    back(NULL);
    cr_assert_eq(gring_sleep(10 * GRING_MS), 0);
    say("u");
    return arg;
}

static void *sleep_in_coroutines(void *unused)
{
    gring_co *co = new_co(sleep_twice);

    go(co, NULL);
    say("r");
    gring_sleep(10 * GRING_MS);
    go(co, NULL);
    return unused;
}

FakeTimeTest(co, a_wait_parks_the_task_and_goes_on_right_there)
{
    gring_task *task = gring_spawn(sleep_in_coroutines, NULL);

    advance(5 * GRING_MS);
    cr_assert_str_eq(said, "s");
    cr_assert_eq(gring_task_state(task), GRING_PARKED);
    advance(10 * GRING_MS);
    cr_assert_str_eq(said, "str");
    advance(30 * GRING_MS);
    cr_assert_str_eq(said, "stru");
    cr_assert_eq(gring_join(task, NULL), 0);
}

static void *yield_in_turns(void *name)
{
    for (int times = 0; times < 3; times++) {
        say(name);
        gring_yield();
        back(NULL);
    }
    return NULL;
}

static void *two_coroutines(void *names)
{
    gring_co *cos[2] = { new_co(yield_in_turns), new_co(yield_in_turns) };
    char(*name)[2] = names;

    for (int times = 0; times < 3; times++) {
        go(cos[0], name[0]);
        go(cos[1], name[1]);
    }
    return NULL;
}

GreenTest(co, those_of_several_tasks_do_not_meet)
{
    static char names[2][2][2] = { { "a", "b" }, { "x", "y" } };
    gring_task *tasks[2] = { gring_spawn(two_coroutines, names[0]),
                             gring_spawn(two_coroutines, names[1]) };

    gring_waitall(tasks, 2);
    cr_assert_str_eq(said, "axbyaxbyaxby");
    gring_drop(tasks[0]);
    gring_drop(tasks[1]);
}

static void *sleep_and_fail(void *arg)
{
    cr_assert(gring_sleep(GRING_SEC) == -1 && errno == ECANCELED);
    cr_assert(gring_sleep(GRING_SEC) == -1 && errno == ECANCELED);
    back(arg);
    cr_assert(gring_sleep(GRING_SEC) == -1 && errno == ECANCELED);
    return NULL;
}

static void *is_killed_inside(void *unused)
{
    gring_co *co = new_co(sleep_and_fail);

    go(co, NULL);
    cr_assert(gring_sleep(GRING_SEC) == -1 && errno == ECANCELED);
    go(co, NULL);
    return unused;
}

FakeTimeTest(co, a_kill_is_the_tasks)
{
    gring_task *task = gring_spawn(is_killed_inside, NULL);

    gring_idle();
    gring_kill(task);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    cr_assert_eq(gring_now(), 0);
}

static gring_key key;

static void *set_the_key(void *value)
{
    cr_assert_eq(gring_key_get(key), &one);
    gring_key_set(key, value);
    return NULL;
}

GreenTest(co, key_values_are_the_tasks)
{
    gring_key_create(&key, NULL, 0);
    gring_key_set(key, &one);
    go(new_co(set_the_key), &two);
    cr_assert_eq(gring_key_get(key), &two);
}

/* ---- deadlines ---- */

static int errno_of_a_sleep(gring_ns duration)
{
    return gring_sleep(duration) < 0 ? errno : 0;
}

/* Another task moves the clock while the caller sleeps. */
static void *move_the_clock(void *duration)
{
    gring_test_advance(*(gring_ns *)duration);
    return NULL;
}

static void advance_later(gring_ns duration)
{
    static gring_ns kept;

    kept = duration;
    gring_spawn_n(move_the_clock, &kept);
}

static void *sleep_a_second(void *arg)
{
    cr_assert_eq(errno_of_a_sleep(GRING_SEC), *(int *)arg);
    return NULL;
}

FakeTimeTest(co_deadline, around_a_switch_counts_in_the_child_and_below)
{
    int expected = ETIMEDOUT;
    gring_co *child = new_co(sleep_a_second);

    advance_later(2 * GRING_SEC);
    gring_within(100 * GRING_MS, go(child, &expected));
    cr_assert(gring_now() >= 100 * GRING_MS && gring_now() < 101 * GRING_MS);
    cr_assert_eq(gring_sleep(0), 0, "not afterwards");
}

static void *hold_a_deadline(void *to_be_expired)
{
    gring_timeout timeout;

    cr_assert_eq(gring_timeout_start(&timeout, 10 * GRING_MS), 0);
    back(NULL);
    cr_assert_eq(gring_cancelled(), to_be_expired ? ETIMEDOUT : 0);
    cr_assert_eq(errno_of_a_sleep(0), to_be_expired ? ETIMEDOUT : 0);
    back(NULL);
    cr_assert_eq(gring_timeout_stop(&timeout), to_be_expired ? 1 : 0);
    return NULL;
}

FakeTimeTest(co_deadline, counts_in_the_coroutine_that_started_it_and_not_in_its_parent)
{
    gring_co *co = new_co(hold_a_deadline);

    go(co, &one);
    cr_assert_eq(gring_time_left(), GRING_FOREVER);
    advance(20 * GRING_MS);
    cr_assert_eq(gring_cancelled(), 0);
    cr_assert_eq(errno_of_a_sleep(0), 0);
    go(co, NULL);
    cr_assert_eq(gring_cancelled(), 0, "left again");
    cr_assert_eq(errno_of_a_sleep(0), 0);
    go(co, NULL);
}

static void *sleep_and_go_back(void *expected)
{
    for (;;) {
        cr_assert_eq(errno_of_a_sleep(0), *(int *)expected);
        expected = back(NULL);
    }
}

static void *pass_to_the_sibling(void *sibling)
{
    gring_timeout timeout;
    int nothing = 0;

    gring_timeout_start(&timeout, 0);
    cr_assert_eq(gring_cancelled(), ETIMEDOUT);
    go(sibling, &nothing); /* which goes back to the root, our parent and its own */
    cr_assert_eq(gring_timeout_stop(&timeout), 1);
    return NULL;
}

FakeTimeTest(co_deadline, does_not_count_in_a_sibling_but_in_a_child)
{
    int timed_out = ETIMEDOUT, nothing = 0;
    gring_co *sleeper = new_co(sleep_and_go_back), *holder = new_co(hold_a_deadline);
    gring_co *other = new_co(pass_to_the_sibling);

    go(holder, &one);
    advance(20 * GRING_MS);
    go(other, sleeper);
    go(sleeper, &nothing);
    gring_co_set_parent(sleeper, holder);
    cr_assert_eq(gring_co_switch(sleeper, &timed_out, NULL), 0, "via the holder, its parent");
    go(holder, NULL);
    cr_assert_eq(gring_co_free(sleeper), 0);
    go(other, NULL);
    cr_assert_eq(gring_cancelled(), 0);
}

static void *change_my_parent(void *parent)
{
    cr_assert_eq(gring_cancelled(), 0);
    cr_assert_eq(gring_co_set_parent(gring_co_self(), parent), 0);
    cr_assert_eq(gring_cancelled(), ETIMEDOUT);
    cr_assert_eq(gring_co_set_parent(gring_co_self(), gring_co_parent(parent)), 0);
    cr_assert_eq(gring_cancelled(), 0);
    return NULL;
}

FakeTimeTest(co_deadline, of_the_parent_counts_from_when_it_becomes_the_parent)
{
    gring_co *holder = new_co(hold_a_deadline);

    go(holder, &one);
    advance(20 * GRING_MS);
    go(new_co(change_my_parent), holder);
    go(holder, NULL);
    go(holder, NULL);
}

static void *free_my_ended_parent(void *unused)
{
    gring_co *parent = gring_co_parent(gring_co_self());
    gring_co *root = gring_co_parent(parent);

    go(root, NULL);
    cr_assert_eq(gring_cancelled(), ETIMEDOUT);
    cr_assert_eq(gring_co_status(parent), GRING_CO_ENDED);
    cr_assert_eq(gring_co_free(parent), 0);
    cr_assert_eq(gring_co_parent(gring_co_self()), root);
    cr_assert_eq(gring_cancelled(), ETIMEDOUT, "the root's");
    return unused;
}

GreenTest(co_free, of_an_ended_ancestor_leaves_what_encloses_it)
{
    gring_co *parent = new_co(return_it), *child = gring_co_new(free_my_ended_parent, parent, 0);

    go(child, NULL);
    go(parent, NULL);
    gring_within(0, go(child, NULL));
    cr_assert_eq(gring_cancelled(), 0);
}

static void *nest(void *depth)
{
    if (!depth) {
        cr_assert_eq(gring_cancelled(), ETIMEDOUT);
        inspected = gring_co_self();
        go(first, NULL); /* the root, over the heads of all the others */
        cr_assert_eq(gring_cancelled(), 0);
        return NULL;
    }
    go(new_co(nest), (char *)depth - 1);
    return NULL;
}

FakeTimeTest(co_deadline, reaches_through_a_thousand_coroutines)
{
    gring_timeout timeout;

    first = gring_co_self();
    gring_timeout_start(&timeout, 0);
    second = new_co(nest);
    go(second, (void *)1000);
    cr_assert_eq(gring_timeout_stop(&timeout), 1);
    go(inspected, NULL);
    cr_assert_eq(gring_co_status(second), GRING_CO_ENDED);
}

static void *sleep_under_two(void *unused)
{
    gring_timeout inner;

    gring_timeout_start(&inner, 200 * GRING_MS);
    cr_assert_eq(errno_of_a_sleep(GRING_SEC), ETIMEDOUT);
    cr_assert_eq(gring_timeout_stop(&inner), 0, "it was the outer one");
    return unused;
}

FakeTimeTest(co_deadline, nests_through_the_switch)
{
    gring_timeout outer;

    advance_later(2 * GRING_SEC);
    gring_timeout_start(&outer, 100 * GRING_MS);
    go(new_co(sleep_under_two), NULL);
    cr_assert_eq(gring_timeout_stop(&outer), 1);
}

static void *leave_a_deadline(void *timeout)
{
    gring_timeout_start(timeout, GRING_SEC);
    return NULL;
}

static void *return_from_it(void *unused)
{
    static gring_timeout timeout;

    (void)unused;
    return go(new_co(leave_a_deadline), &timeout);
}

static void *start_and_go_back(void *timeout)
{
    gring_timeout_start(timeout, GRING_SEC);
    back(NULL);
    return NULL;
}

static void *stop_the_childs(void *unused)
{
    static gring_timeout timeout;

    (void)unused;
    go(new_co(start_and_go_back), &timeout);
    gring_timeout_stop(&timeout);
    return NULL;
}

static void *stop_it(void *timeout)
{
    gring_timeout_stop(timeout);
    return NULL;
}

static void *stop_the_parents(void *unused)
{
    gring_timeout timeout;

    (void)unused;
    gring_timeout_start(&timeout, GRING_SEC);
    return go(new_co(stop_it), &timeout);
}

static void *end_with_a_suspended_holder(void *unused)
{
    static gring_timeout timeout;

    (void)unused;
    return go(new_co(start_and_go_back), &timeout);
}

static void *leave_the_parents_shield(void *unused)
{
    gring_shield_leave();
    return unused;
}

static void *shield_a_leaver(void *unused)
{
    GRING_SHIELD
    {
        go(new_co(leave_the_parents_shield), NULL);
    }
    return unused;
}

static void *open_a_scope(void *scope)
{
    gring_scope_open(scope, 0);
    back(NULL);
    return NULL;
}

static void *close_the_childs(void *unused)
{
    static gring_scope scope;

    (void)unused;
    go(new_co(open_a_scope), &scope);
    gring_scope_close(&scope);
    return NULL;
}

static gring_fn broken;

static void run_broken(void)
{
    gring_run(broken, NULL, NULL);
}

static void must_be_caught(gring_fn fn, const char *text)
{
    broken = fn;
    child_must_abort(run_broken, text);
}

Test(co_deadline, left_open_by_a_coroutines_function_is_caught)
{
    must_be_caught(return_from_it, "a coroutine's function returned with a deadline");
}

Test(co_deadline, stopped_by_another_coroutine_is_caught)
{
    must_be_caught(stop_the_childs, "is another coroutine's");
    must_be_caught(stop_the_parents, "not this coroutine's");
}

Test(co_deadline, of_a_suspended_one_at_the_end_of_the_task_is_caught)
{
    must_be_caught(end_with_a_suspended_holder, "one of its suspended coroutines had a deadline");
}

Test(co_shield, left_by_another_coroutine_is_caught)
{
    must_be_caught(shield_a_leaver, "gring_shield_leave was called without");
}

Test(co_scope, closed_by_another_coroutine_is_caught)
{
    must_be_caught(close_the_childs, "not this coroutine's");
}

/* ---- shields ---- */

static void *expect_cancelled(void *expected)
{
    for (;;) {
        cr_assert_eq(gring_cancelled(), *(int *)expected);
        expected = back(NULL);
    }
}

static void *enter_a_shield(void *unused)
{
    (void)unused;
    GRING_SHIELD
    {
        cr_assert_eq(gring_cancelled(), 0);
        back(NULL);
        cr_assert_eq(gring_cancelled(), 0);
    }
    cr_assert_eq(gring_cancelled(), ECANCELED);
    return NULL;
}

GreenTest(co_shield, counts_in_who_entered_it_and_below)
{
    int cancelled = ECANCELED, nothing = 0;
    gring_co *plain = new_co(expect_cancelled), *shielded = new_co(enter_a_shield);

    gring_kill(gring_self());
    go(plain, &cancelled);
    GRING_SHIELD
    {
        go(plain, &nothing);
    }
    go(plain, &cancelled);
    go(shielded, NULL);
    cr_assert_eq(gring_cancelled(), ECANCELED, "it is suspended in its shield, we are not");
    go(plain, &cancelled);
    gring_co_set_parent(plain, shielded);
    go(shielded, NULL);
    cr_assert_eq(gring_uncancel(), 1);
}

static void *deadline_in_a_shield(void *unused)
{
    gring_timeout outside, inside;

    gring_timeout_start(&outside, 0);
    gring_shield_enter();
    cr_assert_eq(gring_cancelled(), 0);
    gring_timeout_start(&inside, 0);
    for (int times = 0; times < 4; times++) {
        cr_assert_eq(gring_cancelled(), ETIMEDOUT);
        back(NULL);
    }
    cr_assert_eq(gring_timeout_stop(&inside), 1);
    cr_assert_eq(gring_cancelled(), 0);
    gring_shield_leave();
    cr_assert_eq(gring_cancelled(), ETIMEDOUT);
    cr_assert_eq(gring_timeout_stop(&outside), 1);
    return unused;
}

GreenTest(co_shield, of_the_parent_moves_the_childs_inwards)
{
    gring_co *co = new_co(deadline_in_a_shield);

    go(co, NULL);
    gring_shield_enter();
    go(co, NULL);
    gring_shield_enter();
    go(co, NULL);
    gring_shield_leave();
    gring_shield_leave();
    go(co, NULL);
    go(co, NULL);
    cr_assert_eq(gring_co_status(co), GRING_CO_ENDED);
}

static void *ends_in_a_shield(void *unused)
{
    gring_shield_enter();
    return unused;
}

GreenTest(co_shield, ends_with_the_coroutine)
{
    gring_kill(gring_self());
    go(new_co(ends_in_a_shield), NULL);
    cr_assert_eq(gring_cancelled(), ECANCELED);
    gring_uncancel();
}

/* ---- scopes ---- */

static void *park_in_a_scope(void *unused)
{
    if (gring_park(NULL) < 0)
        say("killed ");
    return unused;
}

static void *hold_a_scope(void *unused)
{
    gring_timeout timeout;
    gring_scope scope;

    gring_timeout_start(&timeout, 10 * GRING_MS);
    gring_scope_open(&scope, 0);
    gring_scope_spawn(&scope, park_in_a_scope, NULL);
    back(NULL);
    say("entered ");
    gring_scope_close(&scope);
    cr_assert_eq(gring_timeout_stop(&timeout), 1);
    return unused;
}

FakeTimeTest(co_scope, of_a_suspended_one_is_cancelled_when_it_is_entered)
{
    gring_co *co = new_co(hold_a_scope);

    go(co, NULL);
    advance(20 * GRING_MS);
    cr_assert_str_eq(said, "");
    go(co, NULL);
    cr_assert_str_eq(said, "entered killed ");
}

static void *wait_in_a_child(void *expected)
{
    cr_assert_eq(gring_park(NULL) < 0 ? errno : 0, *(int *)expected);
    return NULL;
}

static void *scope_around_a_child(void *unused)
{
    int expected = ECANCELED;
    gring_scope scope;

    gring_scope_open(&scope, 0);
    gring_scope_spawn(&scope, park_in_a_scope, NULL);
    go(new_co(wait_in_a_child), &expected);
    cr_assert_eq(gring_scope_close(&scope), ECANCELED);
    return unused;
}

GreenTest(co_scope, around_a_switch_is_cancelled_by_a_kill_of_the_task)
{
    gring_task *task = gring_spawn(scope_around_a_child, NULL);

    gring_idle();
    gring_kill(task);
    gring_idle();
    cr_assert_str_eq(said, "killed ");
    gring_join(task, NULL);
}

/* ---- freeing ---- */

static void *free_ancestors(void *root)
{
    cr_assert(gring_co_free(gring_co_self()) == -1 && errno == EBUSY);
    cr_assert(gring_co_free(gring_co_parent(gring_co_self())) == -1 && errno == EBUSY);
    cr_assert(gring_co_free(root) == -1 && errno == EBUSY);
    return NULL;
}

static void *have_a_child_try(void *root)
{
    return go(new_co(free_ancestors), root);
}

GreenTest(co_free, of_the_running_one_and_its_ancestors_is_refused)
{
    gring_co *unstarted = new_co(never);

    go(new_co(have_a_child_try), gring_co_self());
    go(gring_co_new(return_it, unstarted, 0), NULL);
    cr_assert(gring_co_free(gring_co_self()) == -1 && errno == EBUSY);
}

static void *suspended_in_a_scope(void *unused)
{
    gring_scope scope;

    gring_scope_open(&scope, 0);
    back(NULL);
    gring_scope_close(&scope);
    return unused;
}

static void *suspended_in_a_shield(void *unused)
{
    GRING_SHIELD
    {
        back(NULL);
    }
    return unused;
}

static void *suspended_in_a_deadline(void *unused)
{
    gring_within(GRING_SEC, back(NULL));
    return unused;
}

GreenTest(co_free, of_one_with_a_deadline_a_shield_or_a_scope_is_refused)
{
    const gring_fn bodies[] = { suspended_in_a_scope, suspended_in_a_shield,
                                suspended_in_a_deadline };

    for (int index = 0; index < 3; index++) {
        gring_co *co = new_co(bodies[index]);

        go(co, NULL);
        cr_assert(gring_co_free(co) == -1 && errno == EBUSY);
        go(co, NULL);
        cr_assert_eq(gring_co_free(co), 0);
    }
}

GreenTest(co_free, gives_the_children_to_the_parent)
{
    gring_co *middle = new_co(never);
    gring_co *children[2] = { gring_co_new(return_it, middle, 0),
                              gring_co_new(return_it, middle, 0) };

    cr_assert_eq(gring_co_free(middle), 0);
    for (int index = 0; index < 2; index++) {
        cr_assert_eq(gring_co_parent(children[index]), gring_co_self());
        cr_assert_eq(go(children[index], &one), &one);
    }
}

/* ---- the end of the task ---- */

static void *go_to(void *co)
{
    return go(co, NULL);
}

static void *leave_some(void *unused)
{
    gring_co *outer = new_co(switch_for_ever), *ended = new_co(return_it);
    int count = 0;

    go(outer, &count);
    go(ended, NULL);
    go(gring_co_new(go_to, ended, 0), gring_co_self());
    gring_co_new(never, outer, 64 * 1024);
    return unused;
}

GreenTest(co_end, what_is_left_is_abandoned_and_freed)
{
    uint64_t before;

    gring_join(gring_spawn(leave_some, NULL), NULL);
    before = count_of(offsetof(gring_stats, stack_bytes));
    for (int round = 0; round < 500; round++)
        gring_join(gring_spawn(leave_some, NULL), NULL);
    cr_assert_eq(count_of(offsetof(gring_stats, stack_bytes)), before);
    cr_assert_str_eq(said, "");
}

static void use_in_a_defer(void *co)
{
    int count = 0;

    go(co, &count);
    cr_assert_eq(go(new_co(return_it), &one), &one);
    cr_assert_eq(gring_co_free(co), 0);
    say("deferred");
}

static void *defer_its_use(void *unused)
{
    gring_defer(use_in_a_defer, new_co(switch_for_ever));
    return unused;
}

GreenTest(co_end, comes_after_the_defers)
{
    gring_join(gring_spawn(defer_its_use, NULL), NULL);
    cr_assert_str_eq(said, "deferred");
}

static void say_it(void *what)
{
    say(what);
}

static void *exit_inside(void *value)
{
    gring_scope scope;
    gring_timeout timeout;

    gring_scope_open(&scope, 0);
    gring_timeout_start(&timeout, GRING_SEC);
    gring_shield_enter();
    gring_scope_spawn(&scope, park_in_a_scope, NULL);
    gring_yield();
    gring_exit(value);
}

static void *exit_in_a_coroutine(void *value)
{
    static char deferred[] = "deferred ";
    gring_scope scope;
    gring_co *holder = new_co(hold_a_scope);

    gring_defer(say_it, deferred);
    go(holder, NULL);
    gring_scope_open(&scope, 0);
    gring_scope_spawn(&scope, park_in_a_scope, NULL);
    go(new_co(exit_inside), value);
    say("never ");
    return NULL;
}

GreenTest(co_end, gring_exit_ends_the_task_and_closes_what_all_have_open)
{
    void *result = NULL;

    cr_assert_eq(gring_join(gring_spawn(exit_in_a_coroutine, &one), &result), 0);
    cr_assert_eq(result, &one);
    cr_assert_str_eq(said, "killed killed killed deferred ");
    cr_assert_eq(gring_sleep(20 * GRING_MS), 0, "no timer of its is left");
    cr_assert_eq(gring_join(gring_spawn(fill_a_stack, &two), &result), 0);
    cr_assert_eq(result, &two);
}

Test(co_end, gring_exit_in_runs_main)
{
    void *result = NULL;

    cr_assert_eq(gring_run(exit_in_a_coroutine, &one, &result), 0);
    cr_assert_eq(result, &one);
    cr_assert_str_eq(said, "killed killed killed deferred ");
}

static void *fini_inside(void *arg)
{
    cr_assert(gring_fini() == -1 && errno == EPERM);
    back(arg);
    return NULL;
}

Test(co_end, in_inits_main)
{
    cr_assert_eq(gring_init(NULL), 0);
    cr_assert_eq(go(new_co(fini_inside), &one), &one);
    cr_assert_eq(gring_fini(), 0);
}

static void free_the_exited(void *co)
{
    cr_assert(gring_co_switch(co, NULL, NULL) == -1 && errno == ESRCH);
    cr_assert_eq(gring_co_status(co), GRING_CO_ENDED);
    cr_assert_eq(gring_co_free(co), 0);
    say("freed");
}

static void *exit_and_be_freed(void *unused)
{
    gring_co *co = new_co(exit_inside);

    gring_defer(free_the_exited, co);
    go(co, NULL);
    say("never");
    return unused;
}

GreenTest(co_end, the_one_that_exited_has_ended)
{
    gring_join(gring_spawn(exit_and_be_freed, NULL), NULL);
    cr_assert_str_eq(said, "killed freed");
}

/* ---- overflow ---- */

static int __attribute__((noinline)) dig(int depth)
{
    volatile char space[1024];

    space[0] = (char)depth;
    if (depth == INT_MAX)
        return 0;
    return dig(depth + 1) + space[0];
}

static void *overflow(void *depth)
{
    if (dig(0))
        say("unreached");
    return depth;
}

static void *overflow_in_a_coroutine(void *unused)
{
    gring_set_name("digger");
    return gring_co_switch(gring_co_new(overflow, NULL, 100 * 1024), NULL, NULL) ? unused : NULL;
}

static void run_an_overflow(void)
{
    gring_run(overflow_in_a_coroutine, NULL, NULL);
}

Test(co, a_stack_overflow_names_the_task_and_says_that_it_is_a_coroutines)
{
    struct child child;

    if (UNDER_ASAN)
        cr_skip_test("ASan has a handler of its own");
    child = child_run(run_an_overflow);
    cr_assert(child_died_of(&child, SIGSEGV));
    cr_assert(strstr(child.errors, "stack overflow in a coroutine of task 1 digger"), "%s",
              child.errors);
    cr_assert(strstr(child.errors, "make it with a larger stack_size"), "%s", child.errors);
}
