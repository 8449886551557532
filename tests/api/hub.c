/* What greenring/hub.h promises: starting, the end of a run, deadlock, other threads, fork(2). */
#include "tests/support/child.h"
#include "tests/support/faketime.h"
#include "tests/support/green.h"
#include "tests/support/logged.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

static void *number(intptr_t value)
{
    return (void *)value;
}

static void *nothing(void *arg)
{
    return arg;
}

static void *fail_with(void *code)
{
    return gring_fail((int)(intptr_t)code);
}

static void *park(void *unused)
{
    (void)unused;
    gring_park(NULL);
    return NULL;
}

static void *yield_twice(void *arg)
{
    gring_yield();
    gring_yield();
    return arg;
}

static unsigned ran_count;

static void *count_me(void *unused)
{
    (void)unused;
    ran_count++;
    return NULL;
}

/* ---- a run ---- */

Test(run, returns_the_value_of_the_main_task)
{
    void *value = NULL;

    cr_assert_eq(gring_run(nothing, number(42), &value), 0);
    cr_assert_eq(value, number(42));
}

Test(run, returns_the_code_of_the_main_task)
{
    void *value = number(1);

    cr_assert_eq(gring_run(fail_with, number(ENOENT), &value), ENOENT);
    cr_assert_null(value);
}

static void *fail_with_a_value(void *value)
{
    gring_fail(EIO);
    return value;
}

Test(run, delivers_value_and_code_both)
{
    void *value = NULL;

    cr_assert_eq(gring_run(fail_with_a_value, number(42), &value), EIO);
    cr_assert_eq(value, number(42));
}

Test(run, the_result_may_be_of_no_interest)
{
    cr_assert_eq(gring_run(nothing, number(42), NULL), 0);
}

static void *address_of_a_local(void *place)
{
    char local = 0;

    *(uintptr_t *)place = (uintptr_t)&local;
    return NULL;
}

Test(run, main_runs_on_this_thread_and_this_stack)
{
    uintptr_t place = 0;
    char here = 0;

    cr_assert_eq(gring_run(address_of_a_local, &place, NULL), 0);
    cr_assert_lt((uintptr_t)&here - place, 64 * 1024);
}

Test(run, without_a_function_is_EINVAL)
{
    errno = 0;
    cr_assert_eq(gring_run(NULL, NULL, NULL), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_run(nothing, NULL, NULL), 0, "nothing was started");
}

static void *run_again(void *unused)
{
    (void)unused;
    errno = 0;
    return gring_run(nothing, NULL, NULL) == -1 ? number(errno) : NULL;
}

GreenTest(run, inside_a_run_is_EBUSY)
{
    void *error = NULL;

    cr_assert_eq(run_again(NULL), number(EBUSY));
    cr_assert_eq(gring_join(gring_spawn(run_again, NULL), &error), 0);
    cr_assert_eq(error, number(EBUSY));
}

GreenTest(run, on_a_second_thread_is_EBUSY)
{
    pthread_t thread;
    void *error = NULL;

    pthread_create(&thread, NULL, run_again, NULL);
    pthread_join(thread, &error);
    cr_assert_eq(error, number(EBUSY));
}

static void config_is_refused(gring_config config, int error)
{
    errno = 0;
    cr_assert_eq(gring_run_with(&config, count_me, NULL, NULL), -1);
    cr_assert_eq(errno, error);
    cr_assert_eq(ran_count, 0);
}

Test(run, an_absurd_config_is_EINVAL)
{
    const size_t size = sizeof(gring_config);

    config_is_refused((gring_config){ .size = 0 }, EINVAL);
    config_is_refused((gring_config){ .size = size + 8 }, EINVAL);
    config_is_refused((gring_config){ .size = size, .flags = 1u << 31 }, EINVAL);
    config_is_refused((gring_config){ .size = size, .ring_entries = 32769 }, EINVAL);
    config_is_refused((gring_config){ .size = size, .slice = -1 }, EINVAL);
    config_is_refused((gring_config){ .size = size, .stack_size = 15 * 1024 }, EINVAL);
    config_is_refused((gring_config){ .size = size, .stack_size = (size_t)2 << 30 }, EINVAL);
}

Test(run, several_hubs_are_ENOTSUP)
{
    config_is_refused((gring_config){ .size = sizeof(gring_config), .hubs = 2 }, ENOTSUP);
}

Test(run, one_hub_may_be_asked_for)
{
    gring_config config = { .size = sizeof config, .hubs = 1 };

    cr_assert_eq(gring_run_with(&config, nothing, NULL, NULL), 0);
}

/* A caller compiled against an older header: what lies behind its struct is not looked at. */
Test(run, an_older_smaller_config_means_defaults_for_the_rest)
{
    gring_config config = { .size = offsetof(gring_config, stack_size), .hubs = 1 };

    config.stack_size = 1;
    config.flags = ~0u;
    config.slice = -1;
    cr_assert_eq(gring_run_with(&config, nothing, NULL, NULL), 0);
}

static unsigned descriptor_count(void)
{
    DIR *folder = opendir("/proc/self/fd");
    unsigned count = 0;

    cr_assert(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

static void *work_a_little(void *unused)
{
    (void)unused;
    gring_join(gring_spawn(nothing, NULL), NULL);
    gring_sleep(GRING_US);
    gring_spawn_n(park, NULL);
    gring_yield();
    return NULL;
}

Test(run, again_and_again_in_one_process)
{
    unsigned before = descriptor_count();

    for (int round = 0; round < 50; round++)
        cr_assert_eq(gring_run(work_a_little, NULL, NULL), 0, "round %d: %m", round);
    cr_assert_eq(descriptor_count(), before);
}

static void *spawn_a_hundred_sleepers(void *unused)
{
    gring_task *tasks[100];

    (void)unused;
    for (int index = 0; index < 100; index++)
        tasks[index] = gring_spawn(work_a_little, NULL);
    cr_assert_eq(gring_waitall(tasks, 100), 0);
    return NULL;
}

static void note_nothing(void *unused)
{
    (void)unused;
}

static void link_nothing(gring_task *task, void *unused)
{
    (void)task, (void)unused;
}

/*
 * Handles that are not given back are void when the run has ended, so what belongs to them is the
 * library's to free.
 */
static void *leave_everything_behind(void *unused)
{
    gring_spawn_opts opts = { .size = sizeof opts, .name = "left behind" };
    gring_task *done = gring_spawn_with(&opts, nothing, NULL);
    gring_task *parked = gring_spawn_with(&opts, park, NULL);

    (void)unused;
    gring_wait(done, NULL);
    gring_link(parked, link_nothing, NULL);
    gring_spawn_with(&opts, nothing, NULL); /* never starts */
    gring_spawn_after(GRING_SEC, nothing, NULL);
    gring_set_name("main");
    gring_defer(note_nothing, NULL);
    gring_post(NULL, note_nothing, NULL);
    return NULL;
}

/*
 * It counts the freed pieces too that malloc keeps for the thread, up to seven of each size. calloc
 * takes none of them, so a run that callocs and frees leaves one more until there are seven: only
 * after some runs does the number stand still.
 */
static size_t allocated_bytes(void)
{
    return mallinfo2().uordblks;
}

static void run_again_and_again(void)
{
    size_t before, after;

    for (int round = 0; round < 50; round++)
        CHILD_MUST(gring_run(leave_everything_behind, NULL, NULL) == 0);
    before = allocated_bytes();
    for (int round = 0; round < 100; round++)
        CHILD_MUST(gring_run(leave_everything_behind, NULL, NULL) == 0);
    after = allocated_bytes();
    dprintf(STDERR_FILENO, "%zu bytes before, %zu after\n", before, after);
    CHILD_MUST(after <= before);
}

/* In a process of its own: Criterion's second thread allocates when it likes. */
Test(run, leaves_no_memory_behind)
{
    if (UNDER_ASAN)
        cr_skip_test("malloc is not libc's");
    child_must_pass(run_again_and_again);
}

Test(run, a_ring_of_one_entry_is_enough)
{
    gring_config config = { .size = sizeof config, .ring_entries = 1 };

    cr_assert_eq(gring_run_with(&config, spawn_a_hundred_sleepers, NULL, NULL), 0);
}

Test(run, the_library_is_the_version_of_its_header)
{
    cr_assert_eq(gring_version(), GRING_VERSION);
}

GreenTest(run, has_a_hub)
{
    cr_assert(gring_hub_self());
}

Test(run, outside_there_is_no_hub)
{
    cr_assert_null(gring_hub_self());
    cr_assert_eq(gring_run(nothing, NULL, NULL), 0);
    cr_assert_null(gring_hub_self());
    cr_assert_null(gring_self());
}

/* ---- init and fini ---- */

Test(init, makes_main_a_task_until_fini)
{
    void *value = NULL;

    cr_assert_eq(gring_init(NULL), 0);
    cr_assert(gring_self());
    cr_assert_eq(gring_join(gring_spawn(nothing, number(5)), &value), 0);
    cr_assert_eq(value, number(5));
    cr_assert_eq(gring_fini(), 0);
    cr_assert_null(gring_self());
}

Test(init, twice_is_EBUSY)
{
    cr_assert_eq(gring_init(NULL), 0);
    errno = 0;
    cr_assert_eq(gring_init(NULL), -1);
    cr_assert_eq(errno, EBUSY);
    cr_assert_eq(gring_fini(), 0);
    cr_assert_eq(gring_init(NULL), 0);
    cr_assert_eq(gring_fini(), 0);
}

Test(init, refuses_what_run_refuses)
{
    gring_config config = { .size = sizeof config, .hubs = 2 };

    errno = 0;
    cr_assert_eq(gring_init(&config), -1);
    cr_assert_eq(errno, ENOTSUP);
}

static void *try_to_end_it(void *unused)
{
    (void)unused;
    errno = 0;
    return gring_fini() == -1 ? number(errno) : NULL;
}

Test(fini, by_another_task_is_EPERM)
{
    void *error = NULL;

    cr_assert_eq(gring_init(NULL), 0);
    cr_assert_eq(gring_join(gring_spawn(try_to_end_it, NULL), &error), 0);
    cr_assert_eq(error, number(EPERM));
    cr_assert_eq(gring_fini(), 0);
}

Test(fini, by_a_plain_thread_is_EPERM)
{
    pthread_t thread;
    void *error = NULL;

    cr_assert_eq(gring_init(NULL), 0);
    pthread_create(&thread, NULL, try_to_end_it, NULL);
    pthread_join(thread, &error);
    cr_assert_eq(error, number(EPERM));
    cr_assert_eq(gring_fini(), 0);
}

GreenTest(fini, inside_gring_run_is_EPERM)
{
    cr_assert_eq(try_to_end_it(NULL), number(EPERM));
}

Test(fini, without_a_runtime_is_EPERM)
{
    cr_assert_eq(try_to_end_it(NULL), number(EPERM));
}

/* ---- implicit start ---- */

static void has_started_by_itself(void)
{
    cr_assert(gring_hub_self());
    cr_assert(gring_self());
    cr_assert_eq(gring_fini(), 0);
}

Test(implicit_start, by_spawn)
{
    gring_task *task = gring_spawn(count_me, NULL);

    cr_assert(task, "%m");
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(ran_count, 1);
    has_started_by_itself();
}

Test(implicit_start, by_spawn_n)
{
    cr_assert_eq(gring_spawn_n(count_me, NULL), 0);
    has_started_by_itself();
}

Test(implicit_start, by_spawn_after)
{
    cr_assert(gring_spawn_after(GRING_SEC, count_me, NULL), "%m");
    has_started_by_itself();
}

Test(implicit_start, by_spawn_with)
{
    cr_assert(gring_spawn_with(NULL, count_me, NULL), "%m");
    has_started_by_itself();
}

static int tick(void *unused, const gring_tick *now)
{
    (void)unused, (void)now;
    return 0;
}

Test(implicit_start, by_every)
{
    cr_assert(gring_every(GRING_SEC, tick, NULL, NULL), "%m");
    has_started_by_itself();
}

Test(implicit_start, by_sleep)
{
    cr_assert_eq(gring_sleep(GRING_MS), 0);
    has_started_by_itself();
}

Test(implicit_start, by_sleep_until)
{
    cr_assert_eq(gring_sleep_until(0), 0);
    has_started_by_itself();
}

Test(implicit_start, by_yield)
{
    cr_assert_eq(gring_yield(), 0);
    has_started_by_itself();
}

Test(implicit_start, by_scope_open)
{
    gring_scope scope = { { 0 } };

    cr_assert_eq(gring_scope_open(&scope, 0), 0);
    cr_assert_eq(gring_scope_spawn_n(&scope, count_me, NULL), 0);
    cr_assert_eq(gring_scope_wait(&scope), 0);
    cr_assert_eq(gring_scope_close(&scope), 0);
    cr_assert_eq(ran_count, 1);
    has_started_by_itself();
}

Test(implicit_start, not_by_a_spawn_that_is_refused)
{
    cr_assert_null(gring_spawn(NULL, NULL));
    cr_assert_null(gring_hub_self());
}

/* ---- the end of a run ---- */

enum { VICTIMS_MAX = 16 };

/* What a task saw of the end: the errors of its waiting calls, in order. */
struct victim {
    int errors[4];
    bool walked_out;
};

static struct victim victims[VICTIMS_MAX];

static int error_of(int64_t result)
{
    return result < 0 ? errno : 0;
}

static void must_have_seen(const struct victim *victim, int first, int second)
{
    cr_assert(victim->walked_out);
    cr_assert_eq(victim->errors[0], first, "first: %d", victim->errors[0]);
    cr_assert_eq(victim->errors[1], second, "second: %d", victim->errors[1]);
}

static void *sleep_twice(void *arg)
{
    struct victim *victim = arg;

    victim->errors[0] = error_of(gring_sleep(3600 * GRING_SEC));
    victim->errors[1] = error_of(gring_sleep(GRING_US));
    victim->walked_out = true;
    return NULL;
}

static void *park_then_yield(void *arg)
{
    struct victim *victim = arg;

    victim->errors[0] = error_of(gring_park(NULL));
    victim->errors[1] = error_of(gring_yield());
    victim->walked_out = true;
    return NULL;
}

static int never_written[2];

static void *read_twice(void *arg)
{
    struct victim *victim = arg;
    char byte;

    victim->errors[0] = error_of(gring_read(never_written[0], &byte, 1));
    victim->errors[1] = error_of(gring_read(never_written[0], &byte, 1));
    victim->walked_out = true;
    return NULL;
}

static gring_task *never_ending;

static void *wait_twice(void *arg)
{
    struct victim *victim = arg;

    victim->errors[0] = error_of(gring_wait(never_ending, NULL));
    victim->errors[1] = error_of(gring_checkpoint());
    victim->walked_out = true;
    return NULL;
}

static void *waitany_then_idle(void *arg)
{
    struct victim *victim = arg;

    victim->errors[0] = error_of(gring_waitany(&never_ending, 1));
    victim->errors[1] = error_of(gring_idle());
    victim->walked_out = true;
    return NULL;
}

static int listener(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_geq(fd, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(fd, 10), 0);
    return fd;
}

static void *accept_then_sleep_until(void *arg)
{
    struct victim *victim = arg;
    int fd = listener();

    victim->errors[0] = error_of(gring_accept(fd, NULL, NULL));
    victim->errors[1] = error_of(gring_sleep_until(0));
    close(fd);
    victim->walked_out = true;
    return NULL;
}

/* One victim of this kind is parked when main returns. */
static gring_fn victims_fn;

static void *spawn_a_victim(void *unused)
{
    (void)unused;
    never_ending = gring_spawn(park, NULL);
    cr_assert(gring_spawn(victims_fn, &victims[0]));
    gring_yield();
    gring_yield();
    cr_assert_not(victims[0].walked_out);
    return NULL;
}

static void end_finds(gring_fn fn)
{
    cr_assert_eq(pipe2(never_written, O_CLOEXEC), 0);
    victims_fn = fn;
    cr_assert_eq(gring_run(spawn_a_victim, NULL, NULL), 0);
    must_have_seen(&victims[0], ECANCELED, ECANCELED);
}

Test(end, a_sleeper_sees_ECANCELED_and_walks_out)
{
    end_finds(sleep_twice);
}

Test(end, a_parked_task_sees_ECANCELED_and_walks_out)
{
    end_finds(park_then_yield);
}

Test(end, a_reader_sees_ECANCELED_and_walks_out)
{
    end_finds(read_twice);
}

Test(end, a_joiner_sees_ECANCELED_and_walks_out)
{
    end_finds(wait_twice);
}

Test(end, a_joiner_of_any_sees_ECANCELED_and_walks_out)
{
    end_finds(waitany_then_idle);
}

Test(end, an_acceptor_sees_ECANCELED_and_walks_out)
{
    end_finds(accept_then_sleep_until);
}

/* Spawned first, so that it is told only after the other one has woken it. */
static void *wake_the_other(void *other)
{
    gring_park(NULL);
    gring_unpark(*(gring_task **)other, number(3));
    return NULL;
}

static void *park_for_a_value(void *arg)
{
    struct victim *victim = arg;
    void *value = NULL;

    victim->errors[0] = error_of(gring_park(&value));
    victim->errors[1] = error_of(gring_park(NULL));
    victim->walked_out = true;
    return value;
}

static void *unpark_and_return(void *unused)
{
    gring_task *task = gring_spawn(park_for_a_value, &victims[0]);

    (void)unused;
    gring_yield();
    gring_unpark(task, number(3));
    return NULL;
}

Test(end, what_had_been_given_before_it_is_not_lost)
{
    cr_assert_eq(gring_run(unpark_and_return, NULL, NULL), 0);
    must_have_seen(&victims[0], 0, ECANCELED);
}

static void *spawn_a_waker(void *unused)
{
    static gring_task *parked;

    (void)unused;
    parked = gring_spawn(park_for_a_value, &victims[0]);
    gring_spawn(wake_the_other, &parked);
    gring_yield();
    return NULL;
}

Test(end, killed_tasks_may_still_wake_each_other)
{
    cr_assert_eq(gring_run(spawn_a_waker, NULL, NULL), 0);
    must_have_seen(&victims[0], ECANCELED, ECANCELED);
}

/* ---- codes of tasks that the end found ---- */

static int code_seen = -2;
static void *value_seen;

static void see_code(gring_task *task, void *unused)
{
    (void)unused;
    code_seen = gring_wait(task, &value_seen);
}

static void *link_and_return(void *fn)
{
    gring_task *task = gring_spawn(*(gring_fn *)fn, number(6));

    cr_assert_eq(gring_link(task, see_code, NULL), 0);
    gring_yield();
    return NULL;
}

static void *link_and_return_at_once(void *fn)
{
    cr_assert_eq(gring_link(gring_spawn(*(gring_fn *)fn, number(6)), see_code, NULL), 0);
    return NULL;
}

static void *park_and_return_a_value(void *value)
{
    gring_park(NULL);
    return value;
}

Test(end, a_task_that_was_told_ends_with_ECANCELED_and_its_value)
{
    gring_fn fn = park_and_return_a_value;

    cr_assert_eq(gring_run(link_and_return, &fn, NULL), 0);
    cr_assert_eq(code_seen, ECANCELED);
    cr_assert_eq(value_seen, number(6));
}

static void *park_and_fail(void *unused)
{
    (void)unused;
    return gring_park(NULL) < 0 ? gring_fail(EIO) : NULL;
}

Test(end, a_task_with_a_code_of_its_own_keeps_it)
{
    gring_fn fn = park_and_fail;

    cr_assert_eq(gring_run(link_and_return, &fn, NULL), 0);
    cr_assert_eq(code_seen, EIO);
}

Test(end, a_task_that_never_started_ends_with_ECANCELED_and_no_value)
{
    gring_fn fn = nothing;

    value_seen = number(1);
    cr_assert_eq(gring_run(link_and_return_at_once, &fn, NULL), 0);
    cr_assert_eq(code_seen, ECANCELED);
    cr_assert_null(value_seen);
}

static void *unpark_and_link(void *unused)
{
    gring_task *task = gring_spawn(park_and_return_a_value, number(6));

    (void)unused;
    gring_link(task, see_code, NULL);
    gring_yield();
    gring_unpark(task, NULL);
    return NULL;
}

Test(end, a_task_that_finished_before_it_noticed_has_succeeded)
{
    cr_assert_eq(gring_run(unpark_and_link, NULL, NULL), 0);
    cr_assert_eq(code_seen, 0);
    cr_assert_eq(value_seen, number(6));
}

/* ---- tasks that have not started ---- */

static unsigned abort_count;
static void *abort_arg;

static void remember_abort(void *arg)
{
    abort_arg = arg;
    abort_count++;
}

static void *leave_unstarted(void *delay)
{
    gring_spawn_opts opts = { .size = sizeof opts, .name = "unstarted", .abort = remember_abort };

    opts.delay = (intptr_t)delay;
    cr_assert(gring_spawn_with(&opts, count_me, number(9)));
    return NULL;
}

static void must_have_been_aborted(void)
{
    cr_assert_eq(ran_count, 0);
    cr_assert_eq(abort_count, 1);
    cr_assert_eq(abort_arg, number(9));
}

Test(end, an_unstarted_task_never_runs_and_its_abort_is_called)
{
    cr_assert_eq(gring_run(leave_unstarted, NULL, NULL), 0);
    must_have_been_aborted();
}

Test(end, a_task_for_later_never_runs_and_its_abort_is_called)
{
    cr_assert_eq(gring_run(leave_unstarted, number(3600 * GRING_SEC), NULL), 0);
    must_have_been_aborted();
}

static int count_tick(void *unused, const gring_tick *now)
{
    (void)unused, (void)now;
    ran_count++;
    return 0;
}

static void *leave_every_unstarted(void *unused)
{
    gring_spawn_opts opts = { .size = sizeof opts, .abort = remember_abort };

    (void)unused;
    cr_assert(gring_every(GRING_SEC, count_tick, number(9), &opts));
    return NULL;
}

Test(end, an_unstarted_periodic_task_is_aborted_with_the_callers_argument)
{
    cr_assert_eq(gring_run(leave_every_unstarted, NULL, NULL), 0);
    must_have_been_aborted();
}

static void *leave_many_unstarted(void *unused)
{
    (void)unused;
    for (int index = 0; index < 500; index++)
        cr_assert_eq(gring_spawn_n(count_me, NULL), 0);
    return NULL;
}

Test(end, many_unstarted_tasks_never_run)
{
    cr_assert_eq(gring_run(leave_many_unstarted, NULL, NULL), 0);
    cr_assert_eq(ran_count, 0);
}

/* ---- tasks that do not go willingly ---- */

enum { STUBBORN_ROUNDS = 10 * 1000 };

static void *ignore_many_failures(void *arg)
{
    struct victim *victim = arg;

    for (int round = 0; round < STUBBORN_ROUNDS; round++)
        if (gring_sleep(3600 * GRING_SEC) == 0)
            return NULL;
    victim->walked_out = true;
    return NULL;
}

static bool others_may_go;

/* Goes only when another task of its hub has run meanwhile. */
static void *ignore_failures_until_told(void *unused)
{
    (void)unused;
    for (unsigned long round = 0; !others_may_go; round++) {
        gring_sleep(GRING_SEC);
        cr_assert_lt(round, 10 * 1000 * 1000, "nobody else ran");
    }
    return NULL;
}

static void let_others_go(void *unused)
{
    (void)unused;
    gring_yield();
    others_may_go = true;
}

static void *defer_the_signal_to_go(void *unused)
{
    (void)unused;
    gring_defer(let_others_go, NULL);
    gring_park(NULL);
    return NULL;
}

static void *spawn_stubborn_ones(void *unused)
{
    (void)unused;
    for (int index = 0; index < 3; index++)
        gring_spawn_n(ignore_many_failures, &victims[index]);
    gring_yield();
    return NULL;
}

Test(end, tasks_that_ignore_ECANCELED_for_a_while_are_awaited)
{
    cr_assert_eq(gring_run(spawn_stubborn_ones, NULL, NULL), 0);
    for (int index = 0; index < 3; index++)
        cr_assert(victims[index].walked_out);
}

static void *spawn_a_stubborn_one_and_a_slow_one(void *unused)
{
    (void)unused;
    gring_spawn_n(ignore_failures_until_told, NULL);
    gring_spawn_n(defer_the_signal_to_go, NULL);
    gring_yield();
    return NULL;
}

Test(end, a_task_that_ignores_ECANCELED_does_not_keep_the_hub_to_itself)
{
    cr_assert_eq(gring_run(spawn_a_stubborn_one_and_a_slow_one, NULL, NULL), 0);
    cr_assert(others_may_go);
}

static int sleep_in_defer_result = -2;

static void sleep_in_defer(void *unused)
{
    (void)unused;
    sleep_in_defer_result = gring_sleep(GRING_MS);
}

static void *defer_a_sleep(void *unused)
{
    (void)unused;
    gring_defer(sleep_in_defer, NULL);
    gring_park(NULL);
    return NULL;
}

static void *spawn_one_that_defers(void *unused)
{
    (void)unused;
    gring_spawn_n(defer_a_sleep, NULL);
    gring_yield();
    return NULL;
}

Test(end, defers_of_killed_tasks_are_not_interrupted)
{
    cr_assert_eq(gring_run(spawn_one_that_defers, NULL, NULL), 0);
    cr_assert_eq(sleep_in_defer_result, 0);
}

static uint64_t timers_after_the_kill = 77;

static void count_the_timers(void *unused)
{
    gring_stats stats = { .size = sizeof stats };

    (void)unused;
    for (int round = 0; round < 200; round++) /* until the sleepers have gone */
        gring_yield();
    gring_stats_get(&stats);
    timers_after_the_kill = stats.timers;
}

static void *defer_a_count(void *unused)
{
    (void)unused;
    gring_defer(count_the_timers, NULL);
    gring_park(NULL);
    return NULL;
}

static void *spawn_sleepers_and_one_that_counts(void *unused)
{
    (void)unused;
    gring_spawn_n(sleep_twice, &victims[0]);
    gring_spawn_n(defer_a_count, NULL);
    gring_spawn_n(sleep_twice, &victims[1]);
    gring_yield();
    return NULL;
}

Test(end, killed_sleepers_leave_no_timer_on_the_stack_they_left)
{
    cr_assert_eq(gring_run(spawn_sleepers_and_one_that_counts, NULL, NULL), 0);
    must_have_seen(&victims[0], ECANCELED, ECANCELED);
    must_have_seen(&victims[1], ECANCELED, ECANCELED);
    cr_assert_leq(timers_after_the_kill, 1, "one watches over the end of the run");
}

static void *park_then_spawn(void *unused)
{
    (void)unused;
    gring_park(NULL);
    gring_spawn_n(sleep_twice, &victims[0]);
    return NULL;
}

static void *leave_one_that_spawns(void *unused)
{
    (void)unused;
    gring_spawn_n(park_then_spawn, NULL);
    gring_yield();
    return NULL;
}

static void run_with_one_that_spawns_at_the_end(void)
{
    CHILD_MUST(gring_run(leave_one_that_spawns, NULL, NULL) == 0);
}

/* In a child, because the failure is that it never ends. */
Test(end, a_task_spawned_during_it_does_not_prolong_it)
{
    child_must_pass(run_with_one_that_spawns_at_the_end);
}

/* ---- draining ---- */

static void *sleep_a_little(void *unused)
{
    (void)unused;
    if (gring_sleep(GRING_MS) == 0)
        ran_count++;
    gring_spawn_n(count_me, NULL); /* also what begins meanwhile */
    return NULL;
}

static void *leave_sleepers(void *unused)
{
    (void)unused;
    for (int index = 0; index < 10; index++)
        gring_spawn_n(sleep_a_little, NULL);
    return NULL;
}

Test(drain, waits_for_the_others_instead_of_killing_them)
{
    gring_config config = { .size = sizeof config, .flags = GRING_RUN_DRAIN };

    cr_assert_eq(gring_run_with(&config, leave_sleepers, NULL, NULL), 0);
    cr_assert_eq(ran_count, 20);
}

static void *leave_a_parked_one(void *unused)
{
    (void)unused;
    gring_spawn(park_then_yield, &victims[0]);
    gring_yield();
    return NULL;
}

static void drain_tasks_that_never_end(void)
{
    gring_config config = { .size = sizeof config, .flags = GRING_RUN_DRAIN };

    logged_start();
    CHILD_MUST(gring_run_with(&config, leave_a_parked_one, NULL, NULL) == 0);
    CHILD_MUST(victims[0].walked_out && victims[0].errors[0] == ECANCELED);
    CHILD_MUST(logged_with("deadlock") == 1);
}

Test(drain, kills_and_names_tasks_that_would_never_end)
{
    child_must_pass(drain_tasks_that_never_end);
}

/* ---- shuffling ---- */

enum { SHUFFLED = 40 };
static int shuffled_order[SHUFFLED];
static unsigned shuffled_count;

static void *note_my_number(void *mine)
{
    gring_yield();
    shuffled_order[shuffled_count++] = (int)(intptr_t)mine;
    return NULL;
}

static void *spawn_numbered(void *unused)
{
    gring_task *tasks[SHUFFLED];

    (void)unused;
    shuffled_count = 0;
    for (intptr_t index = 0; index < SHUFFLED; index++)
        tasks[index] = gring_spawn(note_my_number, number(index));
    cr_assert_eq(gring_waitall(tasks, SHUFFLED), 0);
    return NULL;
}

static void shuffle(uint64_t seed, int order[SHUFFLED])
{
    gring_config config = { .size = sizeof config, .flags = GRING_RUN_SHUFFLE, .seed = seed };

    cr_assert_eq(gring_run_with(&config, spawn_numbered, NULL, NULL), 0);
    cr_assert_eq(shuffled_count, SHUFFLED);
    memcpy(order, shuffled_order, sizeof shuffled_order);
}

Test(shuffle, the_same_seed_gives_the_same_order)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        int first[SHUFFLED], second[SHUFFLED];

        shuffle(seed, first);
        shuffle(seed, second);
        cr_assert_arr_eq(first, second, sizeof first, "seed %lu", (unsigned long)seed);
    }
}

Test(shuffle, another_seed_gives_another_order)
{
    int first[SHUFFLED], other[SHUFFLED];

    shuffle(1, first);
    for (uint64_t seed = 2; seed < 20; seed++) {
        shuffle(seed, other);
        cr_assert_arr_neq(first, other, sizeof first, "seeds 1 and %lu", (unsigned long)seed);
    }
}

Test(shuffle, neighbouring_seeds_give_different_orders)
{
    int even[SHUFFLED], odd[SHUFFLED];

    shuffle(2, even);
    shuffle(3, odd);
    cr_assert_arr_neq(even, odd, sizeof even);
}

Test(shuffle, everybody_runs_once)
{
    int order[SHUFFLED];
    uint64_t seen = 0;

    shuffle(7, order);
    for (int index = 0; index < SHUFFLED; index++)
        seen |= (uint64_t)1 << order[index];
    cr_assert_eq(seen, ((uint64_t)1 << SHUFFLED) - 1);
}

/*
 * ---- deadlock: in a child, because Criterion's process has a thread that might wake somebody
 * ----
 */

static gring_task *main_task;

static void *wait_for_main(void *unused)
{
    (void)unused;
    gring_set_name("circular");
    gring_wait(main_task, NULL);
    return NULL;
}

static void *wait_in_a_circle(void *unused)
{
    gring_task *task = gring_spawn(wait_for_main, NULL);

    (void)unused;
    main_task = gring_self();
    errno = 0;
    CHILD_MUST(gring_wait(task, NULL) == -1 && errno == EDEADLK);
    CHILD_MUST(logged_with("deadlock") == 1);
    CHILD_MUST(logged_with("circular") == 1);
    CHILD_MUST(gring_task_state(task) == GRING_PARKED);
    CHILD_MUST(gring_yield() == 0); /* it was one wait that failed */
    return NULL;
}

static void deadlock_of_two(void)
{
    logged_start();
    CHILD_MUST(gring_run(wait_in_a_circle, NULL, NULL) == 0);
}

Test(deadlock, fails_the_wait_of_main_with_EDEADLK_and_names_the_tasks)
{
    child_must_pass(deadlock_of_two);
}

enum { MANY_NAMED = 32, MANY_PARKED = 40 };

static void *park_among_many(void *unused)
{
    (void)unused;
    for (int index = 0; index < MANY_PARKED; index++)
        CHILD_MUST(gring_spawn_n(park, NULL) == 0);
    CHILD_MUST(gring_park(NULL) == -1 && errno == EDEADLK);
    CHILD_MUST(logged_with("waits in park") == MANY_NAMED + 1); /* and the main task's line */
    CHILD_MUST(logged_with("and 8 more") == 1);
    return NULL;
}

static void deadlock_of_many(void)
{
    logged_start();
    CHILD_MUST(gring_run(park_among_many, NULL, NULL) == 0);
}

Test(deadlock, of_many_names_the_first_and_counts_the_others)
{
    child_must_pass(deadlock_of_many);
}

static void *park_for_nobody(void *unused)
{
    (void)unused;
    errno = 0;
    CHILD_MUST(gring_park(NULL) == -1 && errno == EDEADLK);
    errno = 0;
    CHILD_MUST(gring_park(NULL) == -1 && errno == EDEADLK);
    return NULL;
}

static void deadlock_of_one(void)
{
    logged_start();
    CHILD_MUST(gring_run(park_for_nobody, NULL, NULL) == 0);
}

Test(deadlock, of_main_alone_is_found_each_time)
{
    child_must_pass(deadlock_of_one);
}

static void *join_for_ever(void *unused)
{
    gring_task *task = gring_spawn(park, NULL);

    (void)unused;
    errno = 0;
    CHILD_MUST(gring_join(task, NULL) == -1 && errno == EDEADLK);
    CHILD_MUST(gring_unpark(task, NULL) == 0);
    CHILD_MUST(gring_join(task, NULL) == 0); /* the handle was kept */
    return NULL;
}

static void deadlocked_join(void)
{
    logged_start();
    CHILD_MUST(gring_run(join_for_ever, NULL, NULL) == 0);
}

Test(deadlock, a_join_keeps_its_handle)
{
    child_must_pass(deadlocked_join);
}

static void *wait_with_a_timer_armed(void *unused)
{
    (void)unused;
    CHILD_MUST(gring_spawn_after(20 * GRING_MS, nothing, NULL));
    CHILD_MUST(gring_join(gring_spawn_after(10 * GRING_MS, nothing, NULL), NULL) == 0);
    return NULL;
}

static void *wait_with_a_read_in_flight(void *unused)
{
    int ends[2];
    char byte;
    pid_t pid;

    (void)unused;
    CHILD_MUST(pipe(ends) == 0);
    pid = fork();
    if (pid == 0) {
        usleep(300 * 1000); /* longer than the hub needs to suspect something */
        _exit(write(ends[1], "x", 1) != 1);
    }
    CHILD_MUST(gring_read(ends[0], &byte, 1) == 1);
    return NULL;
}

static void no_deadlock(void)
{
    logged_start();
    CHILD_MUST(gring_run(wait_with_a_timer_armed, NULL, NULL) == 0);
    CHILD_MUST(gring_run(wait_with_a_read_in_flight, NULL, NULL) == 0);
    CHILD_MUST(logged.count == 0);
}

Test(deadlock, is_not_suspected_while_a_timer_or_a_read_may_end_it)
{
    child_must_pass(no_deadlock);
}

static void *unpark_later(void *task)
{
    usleep(300 * 1000); /* longer than the hub needs to suspect something */
    gring_unpark(task, NULL);
    return NULL;
}

static void *park_for_a_thread(void *unused)
{
    pthread_t thread;

    (void)unused;
    CHILD_MUST(pthread_create(&thread, NULL, unpark_later, gring_self()) == 0);
    CHILD_MUST(gring_park(NULL) == 0);
    pthread_join(thread, NULL);
    return NULL;
}

static void deadlock_with_a_thread(void)
{
    logged_start();
    CHILD_MUST(gring_run(park_for_a_thread, NULL, NULL) == 0);
    CHILD_MUST(logged.count == 0);
}

Test(deadlock, is_not_suspected_while_another_thread_may_end_it)
{
    child_must_pass(deadlock_with_a_thread);
}

static void *leave_a_thread_behind(void *unused)
{
    (void)unused;
    usleep(200 * 1000);
    return NULL;
}

static void *park_while_a_thread_ends(void *unused)
{
    pthread_t thread;

    (void)unused;
    CHILD_MUST(pthread_create(&thread, NULL, leave_a_thread_behind, NULL) == 0);
    pthread_detach(thread);
    errno = 0;
    CHILD_MUST(gring_park(NULL) == -1 && errno == EDEADLK);
    return NULL;
}

static void deadlock_after_a_thread(void)
{
    logged_start();
    CHILD_MUST(gring_run(park_while_a_thread_ends, NULL, NULL) == 0);
}

Test(deadlock, is_found_when_the_last_other_thread_has_gone)
{
    child_must_pass(deadlock_after_a_thread);
}

/* ---- callbacks on the loop ---- */

static char posted[64];

static void note_post(void *what)
{
    cr_assert_null(gring_self());
    cr_assert(gring_hub_self());
    strcat(posted, what);
}

GreenTest(post, runs_callbacks_on_the_loop_in_order)
{
    static char a[] = "a", b[] = "b", c[] = "c";

    cr_assert_eq(gring_post(NULL, note_post, a), 0);
    cr_assert_eq(gring_post(gring_hub_self(), note_post, b), 0);
    cr_assert_eq(gring_post(NULL, note_post, c), 0);
    cr_assert_str_eq(posted, "");
    cr_assert_eq(gring_idle(), 0);
    cr_assert_str_eq(posted, "abc");
}

static void *post_from_here(void *hub)
{
    static char word[] = "thread";

    cr_assert_eq(gring_post(hub, note_post, word), 0);
    return NULL;
}

GreenTest(post, from_a_plain_thread_wakes_the_hub)
{
    pthread_t thread;

    pthread_create(&thread, NULL, post_from_here, gring_hub_self());
    while (!posted[0])
        cr_assert_eq(gring_sleep(GRING_MS), 0);
    pthread_join(thread, NULL);
    cr_assert_str_eq(posted, "thread");
}

static void post_again(void *left)
{
    ran_count++;
    if (left)
        gring_post(NULL, post_again, number((intptr_t)left - 1));
}

GreenTest(post, callbacks_may_post)
{
    gring_post(NULL, post_again, number(100));
    while (ran_count < 101)
        cr_assert_eq(gring_yield(), 0);
}

GreenTest(post, without_a_function_is_EINVAL)
{
    errno = 0;
    cr_assert_eq(gring_post(NULL, NULL, NULL), -1);
    cr_assert_eq(errno, EINVAL);
}

Test(post, without_a_runtime_is_EPERM)
{
    errno = 0;
    cr_assert_eq(gring_post(NULL, note_post, NULL), -1);
    cr_assert_eq(errno, EPERM);
}

static void sleep_here(void *unused)
{
    (void)unused;
    gring_sleep(GRING_MS);
}

GreenTest(post, a_waiting_call_in_it_is_caught, .signal = SIGABRT)
{
    gring_post(NULL, sleep_here, NULL);
    gring_sleep(GRING_SEC);
}

static void park_here(void *unused)
{
    (void)unused;
    gring_park(NULL);
}

GreenTest(post, a_park_in_it_is_caught, .signal = SIGABRT)
{
    gring_post(NULL, park_here, NULL);
    gring_sleep(GRING_SEC);
}

static void *post_and_return(void *unused)
{
    (void)unused;
    cr_assert_eq(gring_post(NULL, remember_abort, number(9)), 0);
    return NULL;
}

Test(post, a_callback_posted_before_the_end_of_the_run_is_called)
{
    cr_assert_eq(gring_run(post_and_return, NULL, NULL), 0);
    cr_assert_eq(abort_count, 1);
}

/* ---- plain threads ---- */

/* Runs fn(arg) on a plain thread while the hub turns; what it returns. */
struct visitor {
    gring_fn fn;
    void *arg;
    gring_task *parked;
};

static void *visit(void *arg)
{
    struct visitor *visitor = arg;
    void *result = visitor->fn(visitor->arg);

    cr_assert_eq(gring_unpark(visitor->parked, result), 0);
    return NULL;
}

static void *on_a_thread(gring_fn fn, void *arg)
{
    struct visitor visitor = { .fn = fn, .arg = arg, .parked = gring_self() };
    pthread_t thread;
    void *result = NULL;

    cr_assert_eq(pthread_create(&thread, NULL, visit, &visitor), 0);
    cr_assert_eq(gring_park(&result), 0);
    pthread_join(thread, NULL);
    return result;
}

static void *spawn_and_join(void *hub)
{
    gring_task *task = gring_spawn_on(hub, yield_twice, number(5));
    void *value = NULL;

    cr_assert(task);
    cr_assert_eq(gring_wait(task, &value), 0);
    cr_assert_eq(value, number(5));
    value = NULL;
    cr_assert_eq(gring_join(task, &value), 0);
    return value;
}

GreenTest(thread, spawns_a_task_and_waits_for_it)
{
    cr_assert_eq(on_a_thread(spawn_and_join, gring_hub_self()), number(5));
}

static void *spawn_and_join_a_failure(void *hub)
{
    return number(gring_join(gring_spawn_on(hub, fail_with, number(EIO)), NULL));
}

GreenTest(thread, gets_the_code_of_a_failure)
{
    cr_assert_eq(on_a_thread(spawn_and_join_a_failure, gring_hub_self()), number(EIO));
}

static void *join_it(void *task)
{
    void *value = NULL;

    cr_assert_eq(gring_join(task, &value), 0);
    return value;
}

GreenTest(thread, waits_for_a_task_that_has_ended)
{
    gring_task *task = gring_spawn(nothing, number(4));

    gring_wait(task, NULL);
    cr_assert_eq(on_a_thread(join_it, task), number(4));
}

static gring_hub *the_hub;

static void *spawn_badly(void *unused)
{
    (void)unused;
    errno = 0;
    cr_assert_null(gring_spawn(nothing, NULL));
    cr_assert_eq(errno, EPERM);
    errno = 0;
    cr_assert_null(gring_spawn_after(GRING_MS, nothing, NULL));
    cr_assert_eq(errno, EPERM);
    errno = 0;
    cr_assert_null(gring_spawn_with(NULL, nothing, NULL));
    cr_assert_eq(errno, EPERM);
    errno = 0;
    cr_assert_eq(gring_spawn_n(nothing, NULL), -1);
    cr_assert_eq(errno, EPERM);
    errno = 0;
    cr_assert_null(gring_spawn_on(the_hub, NULL, NULL));
    cr_assert_eq(errno, EINVAL);
    errno = 0;
    cr_assert_null(gring_spawn_on(NULL, nothing, NULL));
    cr_assert_eq(errno, EINVAL);
    return NULL;
}

GreenTest(thread, an_ordinary_spawn_there_is_EPERM)
{
    the_hub = gring_hub_self();
    on_a_thread(spawn_badly, NULL);
}

GreenTest(thread, spawn_on_the_own_hub_is_an_ordinary_spawn)
{
    gring_task *task = gring_spawn_on(gring_hub_self(), count_me, NULL);

    cr_assert(task);
    cr_assert_eq(ran_count, 0);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(ran_count, 1);
}

static void *fill_up(void *unused)
{
    (void)unused;
    gring_spawn(park, NULL);
    errno = 0;
    cr_assert_null(gring_spawn_on(the_hub, nothing, NULL));
    return number(errno);
}

static void *fill_up_from_a_thread(void *unused)
{
    (void)unused;
    the_hub = gring_hub_self();
    gring_spawn(park, NULL);
    return on_a_thread(fill_up, NULL);
}

Test(thread, a_spawn_that_fails_says_why)
{
    gring_config config = { .size = sizeof config, .max_tasks = 1 };
    void *error = NULL;

    cr_assert_eq(gring_run_with(&config, fill_up_from_a_thread, NULL, &error), 0);
    cr_assert_eq(error, number(EAGAIN));
}

static void *look_around(void *unused)
{
    (void)unused;
    cr_assert_null(gring_hub_self());
    cr_assert_null(gring_self());
    cr_assert_eq(gring_yield(), 0);
    cr_assert_eq(gring_sleep(GRING_US), 0);
    cr_assert_eq(gring_sleep_until(gring_now() + GRING_US), 0);
    cr_assert_eq(gring_checkpoint(), 0);
    return NULL;
}

GreenTest(thread, yields_and_sleeps_as_a_thread)
{
    on_a_thread(look_around, NULL);
}

static void *return_what_park_gives(void *unused)
{
    void *value = NULL;

    (void)unused;
    cr_assert_eq(gring_park(&value), 0);
    return value;
}

static void *unpark_it(void *task)
{
    cr_assert_eq(gring_unpark(task, number(8)), 0);
    return NULL;
}

GreenTest(thread, unparks_a_task_with_a_value)
{
    gring_task *task = gring_spawn(return_what_park_gives, NULL);
    void *value = NULL;

    gring_yield();
    on_a_thread(unpark_it, task);
    cr_assert_eq(gring_join(task, &value), 0);
    cr_assert_eq(value, number(8));
}

static void *unpark_ended(void *task)
{
    errno = 0;
    cr_assert_eq(gring_unpark(task, NULL), -1);
    return number(errno);
}

GreenTest(thread, unpark_of_an_ended_task_is_ESRCH_there_too)
{
    gring_task *task = gring_spawn(nothing, NULL);

    gring_wait(task, NULL);
    cr_assert_eq(on_a_thread(unpark_ended, task), number(ESRCH));
}

static atomic_uint link_count;

static void count_link(gring_task *task, void *arg)
{
    (void)task;
    cr_assert(gring_hub_self());
    atomic_fetch_add(&link_count, (unsigned)(uintptr_t)arg);
}

static void *link_it(void *task)
{
    cr_assert_eq(gring_link(task, count_link, number(1)), 0);
    cr_assert_eq(gring_link(task, count_link, number(10)), 0);
    cr_assert_eq(gring_unlink(task, count_link, number(1)), 0);
    errno = 0;
    cr_assert_eq(gring_unlink(task, count_link, number(1)), -1);
    cr_assert_eq(errno, ENOENT);
    return number(atomic_load(&link_count));
}

GreenTest(thread, links_and_unlinks)
{
    gring_task *task = gring_spawn(park, NULL);

    gring_yield();
    cr_assert_eq(on_a_thread(link_it, task), number(0));
    gring_unpark(task, NULL);
    gring_join(task, NULL);
    cr_assert_eq(link_count, 10);
}

static void *link_late(void *task)
{
    cr_assert_eq(gring_link(task, count_link, number(1)), 0);
    return number(atomic_load(&link_count));
}

GreenTest(thread, a_late_link_has_run_when_gring_link_returns)
{
    gring_task *task = gring_spawn(nothing, NULL);

    gring_wait(task, NULL);
    cr_assert_eq(on_a_thread(link_late, task), number(1));
}

static void *keep_and_drop(void *task)
{
    cr_assert_eq(gring_keep(task), task);
    gring_drop(task);
    return NULL;
}

GreenTest(thread, keeps_and_drops_handles)
{
    gring_task *task = gring_spawn(nothing, number(2));
    void *value = NULL;

    for (int round = 0; round < 10; round++)
        on_a_thread(keep_and_drop, task);
    cr_assert_eq(gring_join(task, &value), 0);
    cr_assert_eq(value, number(2));
}

static void *only_keep(void *task)
{
    return gring_keep(task);
}

GreenTest(thread, a_handle_kept_there_holds_the_record)
{
    gring_task *task = gring_spawn(nothing, number(2));
    void *value = NULL;

    on_a_thread(only_keep, task);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(gring_join(task, &value), 0);
    cr_assert_eq(value, number(2));
}

static void *only_drop(void *task)
{
    gring_drop(task);
    return NULL;
}

GreenTest(thread, a_drop_too_many_is_caught_there_too, .signal = SIGABRT)
{
    gring_task *task = gring_spawn(nothing, NULL);

    gring_wait(task, NULL);
    on_a_thread(only_drop, task);
    gring_yield();
    on_a_thread(only_drop, task);
    gring_sleep(10 * GRING_MS);
}

static void *park_and_fail_with_EIO(void *unused)
{
    (void)unused;
    gring_park(NULL);
    return gring_fail(EIO);
}

static void *keep_and_drop_elsewhere(void *unused)
{
    gring_task *task = gring_spawn(park_and_fail_with_EIO, NULL);

    (void)unused;
    gring_yield();
    on_a_thread(keep_and_drop, task); /* one taken and one given back there */
    gring_unpark(task, NULL);
    gring_drop(task);
    cr_assert_eq(gring_idle(), 0);
    return NULL;
}

Test(thread, a_detached_failure_is_logged_whoever_dropped_the_handles)
{
    logged_start();
    cr_assert_eq(gring_run(keep_and_drop_elsewhere, NULL, NULL), 0);
    cr_assert_eq(logged.count, 1);
}

static atomic_int waiting_tid;

static void *wait_for_it_and_keep_the_code(void *task)
{
    atomic_store(&waiting_tid, gettid());
    return number(gring_wait(task, NULL));
}

static bool is_asleep(int tid)
{
    char path[64], text[256] = "";
    const char *state;
    int fd;

    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_gt(read(fd, text, sizeof text - 1), 0, "%s: %m", path);
    close(fd);
    state = strrchr(text, ')');
    return state && state[1] && state[2] == 'S';
}

static pthread_t waiting_thread;

static void *leave_a_thread_waiting(void *unused)
{
    gring_task *task = gring_spawn(park, NULL);

    (void)unused;
    gring_yield();
    cr_assert_eq(pthread_create(&waiting_thread, NULL, wait_for_it_and_keep_the_code, task), 0);
    while (!atomic_load(&waiting_tid) || !is_asleep(atomic_load(&waiting_tid)))
        gring_sleep(GRING_MS);
    return NULL;
}

Test(thread, waiting_at_the_end_of_the_run_gets_ECANCELED)
{
    void *code = NULL;

    cr_assert_eq(gring_run(leave_a_thread_waiting, NULL, NULL), 0);
    pthread_join(waiting_thread, &code);
    cr_assert_eq(code, number(ECANCELED));
}

/* ---- fork ---- */

/* In the child of a fork: the exit status is the line of the first broken fact, or 0. */
#define FORK_MUST(fact)                                                                            \
    do {                                                                                           \
        if (!(fact)) {                                                                             \
            dprintf(STDERR_FILENO, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #fact, errno);    \
            _exit(3);                                                                              \
        }                                                                                          \
    } while (0)

static int status_of(pid_t pid)
{
    int status;

    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return status;
}

static void fork_passes(void (*in_child)(void *), void *arg)
{
    pid_t pid = fork();
    int status;

    cr_assert_geq(pid, 0);
    if (pid == 0) {
        alarm(10);
        in_child(arg);
        _exit(0);
    }
    status = status_of(pid);
    cr_assert_eq(status, 0, "status %#x", (unsigned)status);
}

static void runtime_calls_fail(void *unused)
{
    (void)unused;
    FORK_MUST(!gring_hub_self());
    FORK_MUST(!gring_self());
    errno = 0;
    FORK_MUST(!gring_spawn(nothing, NULL) && errno == ECHILD);
    errno = 0;
    FORK_MUST(gring_spawn_n(nothing, NULL) == -1 && errno == ECHILD);
    errno = 0;
    FORK_MUST(!gring_spawn_after(1, nothing, NULL) && errno == ECHILD);
    errno = 0;
    FORK_MUST(!gring_spawn_with(NULL, nothing, NULL) && errno == ECHILD);
    errno = 0;
    FORK_MUST(!gring_every(1, tick, NULL, NULL) && errno == ECHILD);
    errno = 0;
    FORK_MUST(gring_sleep(1) == -1 && errno == ECHILD);
    errno = 0;
    FORK_MUST(gring_yield() == -1 && errno == ECHILD);
}

GreenTest(fork, in_the_child_calls_that_need_a_runtime_fail_with_ECHILD)
{
    fork_passes(runtime_calls_fail, NULL);
}

static void inner_calls_fail(void *unused)
{
    gring_timer timer = { { 0 } };

    (void)unused;
    errno = 0;
    FORK_MUST(gring_park(NULL) == -1 && errno == ECHILD);
    errno = 0;
    FORK_MUST(gring_idle() == -1 && errno == ECHILD);
    errno = 0;
    FORK_MUST(gring_post(NULL, note_post, NULL) == -1 && errno == ECHILD);
    errno = 0;
    FORK_MUST(gring_timer_start(&timer, 1, note_post, NULL) == -1 && errno == ECHILD);
}

GreenTest(fork, in_the_child_calls_that_need_a_hub_fail_with_ECHILD)
{
    fork_passes(inner_calls_fail, NULL);
}

static void wait_for_parents_task(void *task)
{
    errno = 0;
    FORK_MUST(gring_wait(task, NULL) == -1 && errno == ECHILD);
}

GreenTest(fork, in_the_child_a_wait_for_the_parents_task_fails_with_ECHILD)
{
    fork_passes(wait_for_parents_task, gring_spawn(park, NULL));
}

static void link_parents_task(void *task)
{
    errno = 0;
    FORK_MUST(gring_link(task, count_link, NULL) == -1 && errno == ECHILD);
}

GreenTest(fork, in_the_child_a_link_to_the_parents_task_fails_with_ECHILD)
{
    fork_passes(link_parents_task, gring_spawn(park, NULL));
}

static void spawn_on_parents_hub(void *hub)
{
    errno = 0;
    FORK_MUST(!gring_spawn_on(hub, nothing, NULL) && errno == ECHILD);
}

GreenTest(fork, in_the_child_a_spawn_on_the_parents_hub_fails_with_ECHILD)
{
    fork_passes(spawn_on_parents_hub, gring_hub_self());
}

static void plain_io(void *unused)
{
    int ends[2];
    char text[4] = "";

    (void)unused;
    FORK_MUST(pipe(ends) == 0);
    FORK_MUST(gring_write(ends[1], "abc", 3) == 3);
    FORK_MUST(gring_read(ends[0], text, 3) == 3 && !memcmp(text, "abc", 3));
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    errno = 0;
    FORK_MUST(gring_read(ends[0], text, 1) == -1 && errno == EAGAIN); /* as read(2) says */
    FORK_MUST(gring_close(ends[0]) == 0);
}

GreenTest(fork, in_the_child_io_is_the_plain_system_calls)
{
    fork_passes(plain_io, NULL);
}

static void run_anew(void *unused)
{
    void *value = NULL;

    (void)unused;
    FORK_MUST(gring_run(yield_twice, number(5), &value) == 0 && value == number(5));
    FORK_MUST(gring_run(work_a_little, NULL, NULL) == 0);
    FORK_MUST(gring_sleep(1) == 0); /* an ordinary process again: it starts by itself */
    FORK_MUST(gring_fini() == 0);
}

GreenTest(fork, the_child_may_start_its_own_runtime)
{
    fork_passes(run_anew, NULL);
}

static void *fork_in_a_task(void *unused)
{
    (void)unused;
    fork_passes(run_anew, NULL);
    return NULL;
}

GreenTest(fork, the_child_may_start_its_own_runtime_on_a_tasks_stack)
{
    cr_assert_eq(gring_join(gring_spawn(fork_in_a_task, NULL), NULL), 0);
}

static void *read_a_byte(void *fd)
{
    char byte = 0;

    cr_assert_eq(gring_read((int)(intptr_t)fd, &byte, 1), 1);
    return number(byte);
}

GreenTest(fork, the_parent_goes_on_unharmed)
{
    gring_task *sleeper = gring_spawn_after(GRING_MS, nothing, number(1)), *reader;
    void *byte = NULL;
    int ends[2];

    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    reader = gring_spawn(read_a_byte, number(ends[0]));
    gring_yield();
    gring_sleep(GRING_US); /* the read is in flight */
    fork_passes(runtime_calls_fail, NULL);
    fork_passes(run_anew, NULL);
    cr_assert_eq(gring_join(sleeper, NULL), 0);
    cr_assert_eq(gring_write(ends[1], "z", 1), 1);
    cr_assert_eq(gring_join(reader, &byte), 0);
    cr_assert_eq(byte, number('z'));
    cr_assert_eq(gring_join(gring_spawn(yield_twice, NULL), NULL), 0);
}

static pid_t forked;
static bool parent_returned;

static void *fork_and_return(void *code)
{
    forked = fork();
    if (forked == 0) {
        alarm(10);
        return code ? gring_fail((int)(intptr_t)code) : NULL;
    }
    parent_returned = true;
    return NULL;
}

GreenTest(fork, a_task_that_returns_in_the_child_ends_the_process)
{
    pid_t parent = getpid();

    gring_join(gring_spawn(fork_and_return, NULL), NULL);
    if (getpid() != parent)
        _exit(5); /* the child came back into main */
    cr_assert(parent_returned);
    cr_assert_eq(status_of(forked), 0);
}

GreenTest(fork, a_task_that_fails_in_the_child_exits_with_1)
{
    gring_join(gring_spawn(fork_and_return, number(EIO)), NULL);
    cr_assert_eq(WEXITSTATUS(status_of(forked)), 1);
}

static void main_forks(void)
{
    pid_t parent = getpid();
    int outcome = gring_run(fork_and_return, number(EIO), NULL);

    if (getpid() != parent) {
        CHILD_MUST(outcome == EIO);
        child_leave();
    }
    CHILD_MUST(outcome == 0);
    int status;

    CHILD_MUST(waitpid(forked, &status, 0) == forked && status == 0);
}

/* There is nothing to end there: main's code comes back. */
Test(fork, gring_run_returns_in_the_child_when_main_does)
{
    child_must_pass(main_forks);
}

Test(fork, of_a_process_without_a_runtime_is_not_noticed)
{
    fork_passes(run_anew, NULL);
}
