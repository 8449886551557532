/*
 * What greenring/task.h promises to a program with one hub and no other thread. Threads, and the
 * end of a run: hub.c.
 */
#include "tests/support/child.h"
#include "tests/support/faketime.h"
#include "tests/support/green.h"
#include "tests/support/logged.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <unistd.h>

static char trace[4096];

static void note(const char *what)
{
    strncat(trace, what, sizeof trace - strlen(trace) - 1);
}

static void *number(intptr_t value)
{
    return (void *)value;
}

static void *text(const char *what)
{
    return (void *)(uintptr_t)what;
}

static void *nothing(void *arg)
{
    return arg;
}

static void *note_it(void *what)
{
    note(what);
    return NULL;
}

static void *park(void *unused)
{
    (void)unused;
    gring_park(NULL);
    return NULL;
}

static void let_others_run(void)
{
    cr_assert_eq(gring_idle(), 0);
}

static uint64_t live_count(void)
{
    gring_stats stats = { .size = sizeof stats };

    cr_assert_eq(gring_stats_get(&stats), 0);
    return stats.tasks;
}

/* ---- spawning ---- */

static void *note_around_a_yield(void *name)
{
    note("1"), note(name), note(" ");
    gring_yield();
    note("2"), note(name), note(" ");
    return NULL;
}

GreenTest(spawn, two_tasks_that_yield_once_interleave)
{
    gring_task *a = gring_spawn(note_around_a_yield, text("A"));
    gring_task *b = gring_spawn(note_around_a_yield, text("B"));

    gring_join(a, NULL);
    gring_join(b, NULL);
    cr_assert_str_eq(trace, "1A 1B 2A 2B ");
}

/* The order of the articles: each spawn is followed by a yield of the spawner. */
GreenTest(spawn, a_spawner_that_yields_lets_the_new_task_run)
{
    cr_assert_eq(gring_spawn_n(note_around_a_yield, text("A")), 0);
    gring_yield();
    cr_assert_str_eq(trace, "1A ");
    cr_assert_eq(gring_spawn_n(note_around_a_yield, text("B")), 0);
    gring_yield();
    cr_assert_str_eq(trace, "1A 2A 1B ");
    gring_yield();
    cr_assert_str_eq(trace, "1A 2A 1B 2B ");
}

GreenTest(spawn, returns_before_the_function_runs)
{
    gring_task *task = gring_spawn(note_it, text("ran"));

    cr_assert_str_eq(trace, "");
    gring_join(task, NULL);
    cr_assert_str_eq(trace, "ran");
}

GreenTest(spawn, passes_the_argument_once)
{
    void *value = NULL;
    gring_task *task = gring_spawn(nothing, number(42));

    cr_assert_eq(gring_join(task, &value), 0);
    cr_assert_eq(value, number(42));
}

GreenTest(spawn, without_a_handle_runs_too)
{
    cr_assert_eq(gring_spawn_n(note_it, text("ran")), 0);
    let_others_run();
    cr_assert_str_eq(trace, "ran");
    cr_assert_eq(live_count(), 1);
}

GreenTest(spawn, runs_tasks_in_the_order_of_spawning)
{
    const char *names[] = { "A", "B", "C", "D", "E" };

    for (int index = 0; index < 5; index++)
        cr_assert_eq(gring_spawn_n(note_it, text(names[index])), 0);
    let_others_run();
    cr_assert_str_eq(trace, "ABCDE");
}

GreenTest(spawn, without_a_function_is_EINVAL)
{
    gring_spawn_opts opts = GRING_SPAWN_INIT;

    errno = 0;
    cr_assert_null(gring_spawn(NULL, NULL));
    cr_assert_eq(errno, EINVAL);
    errno = 0;
    cr_assert_eq(gring_spawn_n(NULL, NULL), -1);
    cr_assert_eq(errno, EINVAL);
    errno = 0;
    cr_assert_null(gring_spawn_after(GRING_MS, NULL, NULL));
    cr_assert_eq(errno, EINVAL);
    errno = 0;
    cr_assert_null(gring_spawn_with(&opts, NULL, NULL));
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(live_count(), 1);
}

static void *run_with_max_tasks_3(void *unused)
{
    gring_task *tasks[3];

    (void)unused;
    for (int index = 0; index < 3; index++)
        cr_assert((tasks[index] = gring_spawn(park, NULL)));
    errno = 0;
    cr_assert_null(gring_spawn(park, NULL));
    cr_assert_eq(errno, EAGAIN);
    errno = 0;
    cr_assert_eq(gring_spawn_n(park, NULL), -1);
    cr_assert_eq(errno, EAGAIN);
    let_others_run();
    cr_assert_eq(gring_unpark(tasks[1], NULL), 0);
    cr_assert_eq(gring_join(tasks[1], NULL), 0);
    cr_assert_eq(gring_spawn_n(park, NULL), 0, "one has ended: there is room again");
    errno = 0;
    cr_assert_eq(gring_spawn_n(park, NULL), -1);
    cr_assert_eq(errno, EAGAIN);
    return NULL;
}

Test(spawn, above_max_tasks_is_EAGAIN_until_one_ends)
{
    gring_config config = GRING_CONFIG_INIT;

    config.max_tasks = 3;
    cr_assert_eq(gring_run_with(&config, run_with_max_tasks_3, NULL, NULL), 0);
}

static size_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long total, resident;

    cr_assert(file && fscanf(file, "%lu %lu", &total, &resident) == 2);
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static void spawn_and_join(unsigned count)
{
    for (unsigned index = 0; index < count; index++)
        cr_assert_eq(gring_join(gring_spawn(nothing, NULL), NULL), 0);
}

GreenTest(spawn, records_and_stacks_of_joined_tasks_are_used_again)
{
    gring_stats before = { .size = sizeof before }, after = { .size = sizeof after };
    size_t resident;

    spawn_and_join(1000);
    gring_stats_get(&before);
    resident = resident_bytes();
    spawn_and_join(100 * 1000); /* 192 bytes each would be 18 MiB */
    gring_stats_get(&after);
    cr_assert_eq(after.stack_bytes, before.stack_bytes);
    cr_assert_eq(after.spawned, before.spawned + 100 * 1000);
    if (!UNDER_ASAN)
        cr_assert_lt(resident_bytes(), resident + (4u << 20));
}

GreenTest(spawn, records_of_detached_tasks_are_used_again)
{
    size_t resident;

    resident = resident_bytes();
    for (unsigned index = 0; index < 100 * 1000; index++) {
        cr_assert_eq(gring_spawn_n(nothing, NULL), 0);
        if (index % 64 == 0)
            let_others_run();
    }
    let_others_run();
    cr_assert_eq(live_count(), 1);
    if (!UNDER_ASAN)
        cr_assert_lt(resident_bytes(), resident + (8u << 20));
}

/* ---- spawning later ---- */

FakeTimeTest(spawn_after, starts_when_the_delay_is_over)
{
    gring_task *task = gring_spawn_after(10 * GRING_MS, note_it, text("ran"));

    cr_assert(task);
    gring_test_advance(10 * GRING_MS - 1);
    cr_assert_str_eq(trace, "");
    cr_assert_eq(gring_task_state(task), GRING_NEW);
    gring_test_advance(GRING_MS);
    cr_assert_str_eq(trace, "ran");
    cr_assert_eq(gring_join(task, NULL), 0);
}

FakeTimeTest(spawn_after, a_delay_of_nothing_or_less_is_an_ordinary_spawn)
{
    cr_assert(gring_spawn_after(0, note_it, text("A")));
    cr_assert(gring_spawn_after(-GRING_SEC, note_it, text("B")));
    cr_assert_eq(gring_spawn_n(note_it, text("C")), 0);
    cr_assert_str_eq(trace, "");
    let_others_run();
    cr_assert_str_eq(trace, "ABC");
}

static void *spawn_for_later(void *unused)
{
    (void)unused;
    return gring_spawn_after(GRING_SEC, note_it, text("ran"));
}

FakeTimeTest(spawn_after, outlives_its_caller)
{
    void *later;

    cr_assert_eq(gring_join(gring_spawn(spawn_for_later, NULL), &later), 0);
    gring_test_advance(2 * GRING_SEC);
    cr_assert_str_eq(trace, "ran");
    cr_assert_eq(gring_join(later, NULL), 0);
}

FakeTimeTest(spawn_after, shorter_delays_start_first)
{
    gring_spawn_after(30 * GRING_MS, note_it, text("30 "));
    gring_spawn_after(10 * GRING_MS, note_it, text("10 "));
    gring_spawn_after(20 * GRING_MS, note_it, text("20 "));
    gring_test_advance(GRING_SEC);
    cr_assert_str_eq(trace, "10 20 30 ");
}

static void *advance_a_second(void *unused)
{
    (void)unused;
    gring_test_advance(GRING_SEC);
    return NULL;
}

FakeTimeTest(spawn_after, can_be_waited_for_before_it_starts)
{
    gring_task *task = gring_spawn_after(10 * GRING_MS, nothing, number(7));
    void *value = NULL;

    gring_spawn_n(advance_a_second, NULL);
    cr_assert_eq(gring_join(task, &value), 0);
    cr_assert_eq(value, number(7));
}

/* ---- spawning with options ---- */

GreenTest(spawn_with, no_options_are_the_defaults)
{
    gring_task *task = gring_spawn_with(NULL, nothing, number(3));
    void *value;

    cr_assert_str_eq(gring_task_name(task), "");
    cr_assert_eq(gring_join(task, &value), 0);
    cr_assert_eq(value, number(3));
}

FakeTimeTest(spawn_with, takes_name_and_delay)
{
    char name[] = "worker";
    gring_spawn_opts opts = { .size = sizeof opts, .name = name, .delay = GRING_SEC };
    gring_task *task = gring_spawn_with(&opts, note_it, text("ran"));

    memset(name, 'x', sizeof name - 1); /* it was copied */
    cr_assert_str_eq(gring_task_name(task), "worker");
    gring_test_advance(GRING_SEC / 2);
    cr_assert_str_eq(trace, "");
    gring_test_advance(GRING_SEC);
    cr_assert_str_eq(trace, "ran");
    gring_drop(task);
}

/* A caller compiled against an older header: what lies behind its struct is not looked at. */
GreenTest(spawn_with, an_older_smaller_struct_means_defaults_for_the_rest)
{
    gring_spawn_opts opts = { .size = offsetof(gring_spawn_opts, stack_size), .name = "old" };
    gring_task *task;

    opts.stack_size = 1; /* would be EINVAL */
    opts.prio = (gring_prio)77;
    opts.delay = GRING_FOREVER;
    task = gring_spawn_with(&opts, nothing, NULL);
    cr_assert(task, "%m");
    cr_assert_str_eq(gring_task_name(task), "old");
    cr_assert_eq(gring_join(task, NULL), 0);
}

GreenTest(spawn_with, a_struct_of_no_or_unknown_size_is_EINVAL)
{
    gring_spawn_opts opts = { .size = 0 };

    errno = 0;
    cr_assert_null(gring_spawn_with(&opts, nothing, NULL));
    cr_assert_eq(errno, EINVAL);
    opts.size = sizeof opts + 8;
    errno = 0;
    cr_assert_null(gring_spawn_with(&opts, nothing, NULL));
    cr_assert_eq(errno, EINVAL);
}

GreenTest(spawn_with, an_unknown_priority_is_EINVAL)
{
    gring_spawn_opts opts = { .size = sizeof opts, .prio = (gring_prio)2 };

    errno = 0;
    cr_assert_null(gring_spawn_with(&opts, nothing, NULL));
    cr_assert_eq(errno, EINVAL);
    opts.prio = (gring_prio)-2;
    errno = 0;
    cr_assert_null(gring_spawn_with(&opts, nothing, NULL));
    cr_assert_eq(errno, EINVAL);
}

GreenTest(spawn_with, absurd_stack_sizes_are_EINVAL)
{
    const size_t sizes[] = { 1,       15u << 10, (16u << 10) - 1, (1u << 30) + 1, (size_t)2 << 30,
                             SIZE_MAX };

    for (size_t index = 0; index < sizeof sizes / sizeof sizes[0]; index++) {
        gring_spawn_opts opts = { .size = sizeof opts, .stack_size = sizes[index] };

        errno = 0;
        cr_assert_null(gring_spawn_with(&opts, nothing, NULL), "%zu", sizes[index]);
        cr_assert_eq(errno, EINVAL, "%zu", sizes[index]);
    }
    cr_assert_eq(live_count(), 1);
}

/* Touches so many bytes below its own frame, from the top down as a stack grows. */
static __attribute__((noinline)) void use_stack(size_t bytes)
{
    volatile char page[4096];

    page[0] = page[sizeof page - 1] = (char)bytes;
    if (bytes > sizeof page)
        use_stack(bytes - sizeof page);
    page[1] = page[0];
}

static void *use_most_of_a_stack(void *size)
{
    size_t bytes = (size_t)size;

    use_stack((bytes - bytes / 8) /
              (UNDER_ASAN ? 4 : 1)); /* a frame is a page and a little; more under ASan */
    return size;
}

static void stack_of_this_size_can_be_used(size_t size)
{
    gring_spawn_opts opts = { .size = sizeof opts, .stack_size = size };
    gring_task *task = gring_spawn_with(&opts, use_most_of_a_stack, number((intptr_t)size));
    void *value = NULL;

    cr_assert(task, "%zu: %m", size);
    cr_assert_eq(gring_join(task, &value), 0);
    cr_assert_eq(value, number((intptr_t)size));
}

GreenTest(spawn_with, smallest_stack_can_be_used)
{
    stack_of_this_size_can_be_used(16u << 10);
}

GreenTest(spawn_with, large_stack_can_be_used_to_its_depth)
{
    stack_of_this_size_can_be_used(64u << 20);
}

GreenTest(spawn_with, every_power_of_two_is_a_stack_size)
{
    for (size_t size = 16u << 10; size <= 1u << 20; size *= 2) {
        stack_of_this_size_can_be_used(size);
        stack_of_this_size_can_be_used(size + 1);
    }
}

GreenTest(spawn_with, largest_stack_is_given)
{
    gring_spawn_opts opts = { .size = sizeof opts, .stack_size = 1u << 30 };
    gring_task *task = gring_spawn_with(&opts, nothing, number(5));
    void *value = NULL;

    cr_assert(task, "%m");
    cr_assert_eq(gring_join(task, &value), 0);
    cr_assert_eq(value, number(5));
}

static void never(void *arg)
{
    (void)arg;
    note("aborted");
}

GreenTest(spawn_with, abort_is_not_called_for_a_task_that_ran)
{
    gring_spawn_opts opts = { .size = sizeof opts, .abort = never };

    cr_assert_eq(gring_join(gring_spawn_with(&opts, nothing, NULL), NULL), 0);
    cr_assert_str_eq(trace, "");
}

/* ---- results ---- */

static void *fail_with(void *code)
{
    return gring_fail((int)(intptr_t)code);
}

static void *fail_with_a_value(void *value)
{
    gring_fail(EIO);
    return value;
}

GreenTest(wait, returns_the_value_each_time_also_after_the_end)
{
    gring_task *task = gring_spawn(nothing, number(42));

    for (int round = 0; round < 3; round++) {
        void *value = NULL;

        cr_assert_eq(gring_wait(task, &value), 0);
        cr_assert_eq(value, number(42));
    }
    cr_assert_eq(gring_join(task, NULL), 0);
}

GreenTest(wait, returns_the_code_of_a_failed_task)
{
    gring_task *task = gring_spawn(fail_with, number(ENOENT));

    cr_assert_eq(gring_wait(task, NULL), ENOENT);
    cr_assert_eq(gring_join(task, NULL), ENOENT);
}

GreenTest(wait, delivers_value_and_code_both)
{
    gring_task *task = gring_spawn(fail_with_a_value, number(42));
    void *value = NULL;

    cr_assert_eq(gring_join(task, &value), EIO);
    cr_assert_eq(value, number(42));
}

GreenTest(wait, of_a_failed_task_stores_null_when_it_returned_that)
{
    void *value = number(1);

    cr_assert_eq(gring_join(gring_spawn(fail_with, number(EIO)), &value), EIO);
    cr_assert_null(value);
}

static void *wait_for_it(void *task)
{
    void *value = NULL;

    return gring_wait(task, &value) == 0 ? value : gring_fail(errno);
}

GreenTest(wait, any_number_of_waiters_get_the_value)
{
    gring_task *task = gring_spawn(park, NULL), *target, *waiters[100];

    target = gring_spawn(wait_for_it, task);
    for (int index = 0; index < 100; index++)
        waiters[index] = gring_spawn(wait_for_it, target);
    let_others_run();
    gring_unpark(task, NULL);
    for (int index = 0; index < 100; index++)
        cr_assert_eq(gring_join(waiters[index], NULL), 0);
    cr_assert_eq(gring_join(target, NULL), 0);
    cr_assert_eq(gring_join(task, NULL), 0);
}

GreenTest(wait, for_oneself_is_EDEADLK)
{
    errno = 0;
    cr_assert_eq(gring_wait(gring_self(), NULL), -1);
    cr_assert_eq(errno, EDEADLK);
}

static void *join_myself(void *unused)
{
    (void)unused;
    errno = 0;
    return gring_join(gring_self(), NULL) == -1 && errno == EDEADLK ? number(1) : NULL;
}

GreenTest(wait, a_join_of_oneself_fails_and_keeps_the_handle)
{
    gring_task *task = gring_spawn(join_myself, NULL);
    void *value = NULL;

    cr_assert_eq(gring_join(task, &value), 0);
    cr_assert_eq(value, number(1));
}

GreenTest(wait, for_no_task_is_EINVAL)
{
    errno = 0;
    cr_assert_eq(gring_wait(NULL, NULL), -1);
    cr_assert_eq(errno, EINVAL);
    errno = 0;
    cr_assert_eq(gring_join(NULL, NULL), -1);
    cr_assert_eq(errno, EINVAL);
}

/* ---- handles ---- */

GreenTest(handle, join_gives_it_back_so_a_drop_after_it_is_caught, .signal = SIGABRT)
{
    gring_task *task = gring_spawn(nothing, NULL);

    gring_join(task, NULL);
    gring_drop(task);
}

GreenTest(handle, wait_does_not_give_it_back)
{
    gring_task *task = gring_spawn(nothing, NULL);

    gring_wait(task, NULL);
    gring_drop(task);
}

GreenTest(handle, dropping_it_twice_is_caught, .signal = SIGABRT)
{
    gring_task *task = gring_spawn(nothing, NULL);

    gring_wait(task, NULL);
    gring_drop(task);
    gring_drop(task);
}

GreenTest(handle, a_task_whose_handle_was_dropped_goes_on)
{
    gring_drop(gring_spawn(note_it, text("ran")));
    let_others_run();
    cr_assert_str_eq(trace, "ran");
}

GreenTest(handle, dropping_none_is_fine)
{
    gring_drop(NULL);
}

GreenTest(handle, keep_gives_one_more)
{
    gring_task *task = gring_spawn(nothing, number(6));
    void *value = NULL;

    cr_assert_eq(gring_keep(task), task);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(gring_wait(task, &value), 0);
    cr_assert_eq(value, number(6));
    gring_drop(task);
}

GreenTest(handle, keep_gives_no_more_than_one, .signal = SIGABRT)
{
    gring_task *task = gring_keep(gring_spawn(nothing, NULL));

    gring_wait(task, NULL);
    gring_drop(task);
    gring_drop(task);
    gring_drop(task);
}

GreenTest(handle, keeping_none_is_EINVAL)
{
    errno = 0;
    cr_assert_null(gring_keep(NULL));
    cr_assert_eq(errno, EINVAL);
}

/* ---- several ---- */

GreenTest(waitall, waits_for_all_whatever_their_codes)
{
    gring_task *tasks[4] = { gring_spawn(note_around_a_yield, text("A")),
                             gring_spawn(fail_with, number(EIO)),
                             gring_spawn(note_around_a_yield, text("B")),
                             gring_spawn(nothing, NULL) };

    cr_assert_eq(gring_waitall(tasks, 4), 0);
    for (int index = 0; index < 4; index++)
        cr_assert_eq(gring_task_state(tasks[index]), GRING_DONE);
    cr_assert_str_eq(trace, "1A 1B 2A 2B ");
    cr_assert_eq(gring_join(tasks[1], NULL), EIO);
}

GreenTest(waitall, of_none_returns_at_once)
{
    cr_assert_eq(gring_waitall(NULL, 0), 0);
}

GreenTest(waitall, with_oneself_among_them_is_EDEADLK)
{
    gring_task *tasks[2] = { gring_spawn(nothing, NULL), gring_self() };

    errno = 0;
    cr_assert_eq(gring_waitall(tasks, 2), -1);
    cr_assert_eq(errno, EDEADLK);
}

FakeTimeTest(waitany, waits_until_one_has_ended)
{
    gring_task *tasks[3] = { gring_spawn(park, NULL), gring_spawn_after(GRING_SEC, nothing, NULL),
                             gring_spawn_after(GRING_MS, nothing, NULL) };

    gring_spawn_n(advance_a_second, NULL);
    cr_assert_eq(gring_waitany(tasks, 3), 2);
    cr_assert_eq(gring_task_state(tasks[1]), GRING_NEW);
    cr_assert_eq(gring_task_state(tasks[0]), GRING_PARKED);
}

GreenTest(waitany, names_the_first_in_the_array_of_those_that_have_ended)
{
    gring_task *tasks[3] = { gring_spawn(park, NULL), gring_spawn(nothing, NULL),
                             gring_spawn(nothing, NULL) };

    gring_waitall(tasks + 1, 2);
    cr_assert_eq(gring_waitany(tasks, 3), 1);
    cr_assert_eq(gring_waitany(tasks, 3), 1, "it may be asked again");
}

GreenTest(waitany, leaves_nothing_behind_in_the_others)
{
    gring_task *tasks[2] = { gring_spawn(park, NULL), NULL };
    void *value;

    for (int round = 0; round < 100; round++) {
        tasks[1] = gring_spawn(nothing, NULL);
        cr_assert_eq(gring_waitany(tasks, 2), 1);
        gring_drop(tasks[1]);
    }
    gring_unpark(tasks[0], NULL);
    cr_assert_eq(gring_join(tasks[0], &value), 0);
}

GreenTest(waitany, takes_many_tasks)
{
    enum { COUNT = 1000 };
    gring_task *tasks[COUNT];

    for (int index = 0; index < COUNT; index++)
        tasks[index] = gring_spawn(park, NULL);
    let_others_run();
    gring_unpark(tasks[COUNT - 1], NULL);
    cr_assert_eq(gring_waitany(tasks, COUNT), COUNT - 1);
    for (int index = 0; index < COUNT - 1; index++)
        gring_unpark(tasks[index], NULL);
    cr_assert_eq(gring_waitall(tasks, COUNT), 0);
}

GreenTest(waitany, the_same_task_twice_is_harmless)
{
    gring_task *task = gring_spawn(nothing, NULL);
    gring_task *tasks[2] = { task, task };

    cr_assert_eq(gring_waitany(tasks, 2), 0);
}

GreenTest(waitany, of_none_is_EINVAL)
{
    errno = 0;
    cr_assert_eq(gring_waitany(NULL, 0), -1);
    cr_assert_eq(errno, EINVAL);
}

/* ---- links ---- */

static gring_task *linked_task;
static void *linked_arg;
static unsigned link_count;

static void remember_link(gring_task *task, void *arg)
{
    linked_task = task;
    linked_arg = arg;
    link_count++;
}

GreenTest(link, gets_the_task_and_its_argument)
{
    gring_task *task = gring_spawn(nothing, NULL);

    cr_assert_eq(gring_link(task, remember_link, number(9)), 0);
    cr_assert_eq(link_count, 0);
    gring_wait(task, NULL);
    cr_assert_eq(link_count, 1);
    cr_assert_eq(linked_task, task);
    cr_assert_eq(linked_arg, number(9));
    gring_drop(task);
}

static intptr_t next_link;

static void must_be_next(gring_task *task, void *arg)
{
    (void)task;
    cr_assert_eq((intptr_t)arg, next_link);
    next_link++;
}

GreenTest(link, a_thousand_run_in_the_order_added)
{
    gring_task *task = gring_spawn(nothing, NULL);

    for (intptr_t index = 0; index < 1000; index++)
        cr_assert_eq(gring_link(task, must_be_next, number(index)), 0);
    gring_join(task, NULL);
    cr_assert_eq(next_link, 1000);
}

GreenTest(link, a_late_one_runs_at_once)
{
    gring_task *task = gring_spawn(nothing, NULL);

    gring_wait(task, NULL);
    cr_assert_eq(gring_link(task, remember_link, number(9)), 0);
    cr_assert_eq(link_count, 1);
    cr_assert_eq(linked_task, task);
    cr_assert_eq(linked_arg, number(9));
}

static unsigned link_depth, link_depth_max;

static void link_again(gring_task *task, void *left)
{
    link_depth++;
    if (link_depth > link_depth_max)
        link_depth_max = link_depth;
    link_count++;
    if (left)
        cr_assert_eq(gring_link(task, link_again, number((intptr_t)left - 1)), 0);
    link_depth--;
}

GreenTest(link, one_that_links_does_not_recurse)
{
    gring_task *task = gring_spawn(nothing, NULL);

    gring_link(task, link_again, number(1000));
    gring_join(task, NULL);
    cr_assert_eq(link_count, 1001);
    cr_assert_eq(link_depth_max, 1);
}

static void *record_an_address(void *place)
{
    char local = 0;

    *(uintptr_t *)place = (uintptr_t)&local;
    return NULL;
}

static void compare_address(gring_task *task, void *place)
{
    char local = 0;
    intptr_t distance = (intptr_t)((uintptr_t)&local - *(uintptr_t *)place);

    (void)task;
    cr_assert_lt(distance < 0 ? -distance : distance, 128 * 1024);
    link_count++;
}

GreenTest(link, runs_on_the_stack_of_the_task)
{
    uintptr_t place = 0;
    gring_task *task = gring_spawn(record_an_address, &place);

    gring_link(task, compare_address, &place);
    gring_join(task, NULL);
    cr_assert_eq(link_count, 1);
}

GreenTest(link, unlinked_ones_are_not_called)
{
    gring_task *task = gring_spawn(nothing, NULL);

    gring_link(task, remember_link, NULL);
    cr_assert_eq(gring_unlink(task, remember_link, NULL), 0);
    gring_join(task, NULL);
    cr_assert_eq(link_count, 0);
}

static void note_link(gring_task *task, void *what)
{
    (void)task;
    note(what);
}

GreenTest(link, unlink_takes_the_oldest_of_that_function_and_argument)
{
    gring_task *task = gring_spawn(nothing, NULL);
    static char a[] = "a", b[] = "b", c[] = "c";

    gring_link(task, note_link, a);
    gring_link(task, note_link, b);
    gring_link(task, note_link, a);
    gring_link(task, note_link, c);
    cr_assert_eq(gring_unlink(task, note_link, a), 0);
    gring_join(task, NULL);
    cr_assert_str_eq(trace, "bac");
}

GreenTest(link, after_the_last_one_was_unlinked_more_can_be_added)
{
    gring_task *task = gring_spawn(nothing, NULL);
    static char a[] = "a", b[] = "b", c[] = "c";

    gring_link(task, note_link, a);
    gring_link(task, note_link, b);
    cr_assert_eq(gring_unlink(task, note_link, b), 0);
    gring_link(task, note_link, c);
    cr_assert_eq(gring_unlink(task, note_link, a), 0);
    gring_link(task, note_link, b);
    gring_join(task, NULL);
    cr_assert_str_eq(trace, "cb");
}

GreenTest(link, unlinking_what_is_not_linked_is_ENOENT)
{
    gring_task *task = gring_spawn(nothing, NULL);

    errno = 0;
    cr_assert_eq(gring_unlink(task, remember_link, NULL), -1);
    cr_assert_eq(errno, ENOENT);
    gring_link(task, remember_link, number(1));
    errno = 0;
    cr_assert_eq(gring_unlink(task, remember_link, number(2)), -1);
    cr_assert_eq(errno, ENOENT);
    errno = 0;
    cr_assert_eq(gring_unlink(task, note_link, number(1)), -1);
    cr_assert_eq(errno, ENOENT);
    gring_join(task, NULL);
    cr_assert_eq(link_count, 1);
}

GreenTest(link, unlinking_after_the_call_is_ENOENT)
{
    gring_task *task = gring_spawn(nothing, NULL);

    gring_link(task, remember_link, NULL);
    gring_wait(task, NULL);
    errno = 0;
    cr_assert_eq(gring_unlink(task, remember_link, NULL), -1);
    cr_assert_eq(errno, ENOENT);
}

GreenTest(link, no_task_or_no_function_is_EINVAL)
{
    gring_task *task = gring_spawn(nothing, NULL);

    errno = 0;
    cr_assert_eq(gring_link(NULL, remember_link, NULL), -1);
    cr_assert_eq(errno, EINVAL);
    errno = 0;
    cr_assert_eq(gring_link(task, NULL, NULL), -1);
    cr_assert_eq(errno, EINVAL);
}

static void find_no_self(gring_task *task, void *unused)
{
    (void)task, (void)unused;
    cr_assert_null(gring_self());
    cr_assert_eq(gring_task_state(task), GRING_DONE);
    cr_assert_eq(gring_wait(task, NULL), 0, "it has ended, so this does not wait");
    link_count++;
}

GreenTest(link, is_a_callback_of_a_task_that_is_done)
{
    gring_task *task = gring_spawn(nothing, NULL);

    gring_link(task, find_no_self, NULL);
    gring_join(task, NULL);
    cr_assert_eq(link_count, 1);
}

static void spawn_in_a_link(gring_task *task, void *what)
{
    (void)task;
    cr_assert_eq(gring_spawn_n(note_it, what), 0);
}

GreenTest(link, may_spawn)
{
    gring_task *task = gring_spawn(nothing, NULL);

    gring_link(task, spawn_in_a_link, text("ran"));
    gring_join(task, NULL);
    let_others_run();
    cr_assert_str_eq(trace, "ran");
}

static void sleep_in_a_link(gring_task *task, void *unused)
{
    (void)task, (void)unused;
    gring_sleep(GRING_MS);
}

GreenTest(link, a_waiting_call_in_it_is_caught, .signal = SIGABRT)
{
    gring_task *task = gring_spawn(nothing, NULL);

    gring_link(task, sleep_in_a_link, NULL);
    gring_join(task, NULL);
}

static void yield_in_a_link(gring_task *task, void *unused)
{
    (void)task, (void)unused;
    gring_yield();
}

GreenTest(link, a_yield_in_it_is_caught, .signal = SIGABRT)
{
    gring_task *task = gring_spawn(nothing, NULL);

    gring_link(task, yield_in_a_link, NULL);
    gring_join(task, NULL);
}

/* ---- ending ---- */

static void note_defer(void *what)
{
    note(what);
}

static void *defer_three(void *unused)
{
    (void)unused;
    cr_assert_eq(gring_defer(note_defer, text("1")), 0);
    cr_assert_eq(gring_defer(note_defer, text("2")), 0);
    cr_assert_eq(gring_defer(note_defer, text("3")), 0);
    note("body ");
    return NULL;
}

GreenTest(defer, runs_last_in_first_out_after_the_function)
{
    gring_join(gring_spawn(defer_three, NULL), NULL);
    cr_assert_str_eq(trace, "body 321");
}

static void sleep_in_a_defer(void *unused)
{
    (void)unused;
    note("before ");
    cr_assert_eq(gring_sleep(GRING_MS), 0);
    note("after ");
}

static void *defer_a_sleep(void *unused)
{
    (void)unused;
    gring_defer(sleep_in_a_defer, NULL);
    return NULL;
}

GreenTest(defer, may_park)
{
    gring_join(gring_spawn(defer_a_sleep, NULL), NULL);
    cr_assert_str_eq(trace, "before after ");
}

static void defer_one_more(void *what)
{
    gring_defer(note_defer, what);
    note("first ");
}

static void *defer_a_defer(void *unused)
{
    (void)unused;
    gring_defer(note_defer, text("last "));
    gring_defer(defer_one_more, text("nested "));
    return NULL;
}

GreenTest(defer, one_that_defers_is_followed_by_what_it_added)
{
    gring_join(gring_spawn(defer_a_defer, NULL), NULL);
    cr_assert_str_eq(trace, "first nested last ");
}

static void *defer_and_yield(void *unused)
{
    (void)unused;
    gring_defer(note_defer, text("defer "));
    gring_yield();
    return NULL;
}

static void *wait_and_note(void *task)
{
    gring_wait(task, NULL);
    note("waiter ");
    return NULL;
}

static gring_state state_in_defer;

static void look_at_my_state(void *unused)
{
    (void)unused;
    state_in_defer = gring_task_state(gring_self());
}

static void *defer_a_look(void *unused)
{
    (void)unused;
    gring_defer(look_at_my_state, NULL);
    return NULL;
}

GreenTest(defer, belongs_to_the_running_task)
{
    gring_join(gring_spawn(defer_a_look, NULL), NULL);
    cr_assert_eq(state_in_defer, GRING_RUNNING);
}

GreenTest(ending, goes_from_defers_to_links_to_waiters)
{
    gring_task *task = gring_spawn(defer_and_yield, NULL);
    gring_task *waiter = gring_spawn(wait_and_note, task);

    gring_link(task, note_link, text("link "));
    gring_waitall((gring_task *[]){ task, waiter }, 2);
    cr_assert_str_eq(trace, "defer link waiter ");
}

static void waiter_must_be_parked(gring_task *task, void *waiter)
{
    (void)task;
    cr_assert_eq(gring_task_state(waiter), GRING_PARKED);
    link_count++;
}

GreenTest(ending, waiters_are_woken_only_after_the_links)
{
    gring_task *task = gring_spawn(defer_and_yield, NULL);
    gring_task *waiter = gring_spawn(wait_and_note, task);

    gring_link(task, waiter_must_be_parked, waiter);
    gring_wait(waiter, NULL);
    cr_assert_eq(link_count, 1);
}

static void *defer_in_main(void *unused)
{
    (void)unused;
    gring_defer(note_defer, text("main's"));
    return NULL;
}

Test(defer, of_the_main_task_runs_before_gring_run_returns)
{
    cr_assert_eq(gring_run(defer_in_main, NULL, NULL), 0);
    cr_assert_str_eq(trace, "main's");
}

Test(defer, outside_a_task_is_EPERM)
{
    errno = 0;
    cr_assert_eq(gring_defer(note_defer, text("")), -1);
    cr_assert_eq(errno, EPERM);
}

GreenTest(defer, without_a_function_is_EINVAL)
{
    errno = 0;
    cr_assert_eq(gring_defer(NULL, NULL), -1);
    cr_assert_eq(errno, EINVAL);
}

static void (*volatile leave)(void *) = gring_exit; /* so that the compiler expects it to return */

static __attribute__((noinline)) void exit_deep_down(unsigned depth, void *value)
{
    volatile char frame[100];

    frame[0] = 1;
    if (depth > 0)
        exit_deep_down(depth - 1, value);
    else
        leave(value);
    frame[1] = frame[0];
    note("came back");
}

static void *exit_from_deep(void *value)
{
    gring_defer(note_defer, text("defer "));
    exit_deep_down(50, value);
    note("came back");
    return NULL;
}

GreenTest(exit, ends_the_task_with_its_value_from_deep_down)
{
    gring_task *task = gring_spawn(exit_from_deep, number(8));
    void *value = NULL;

    gring_link(task, note_link, text("link "));
    cr_assert_eq(gring_join(task, &value), 0);
    cr_assert_eq(value, number(8));
    cr_assert_str_eq(trace, "defer link ");
}

static void *exit_after_a_failure(void *unused)
{
    (void)unused;
    gring_fail(EIO);
    gring_exit(number(4));
}

GreenTest(exit, keeps_the_code_of_a_failure)
{
    void *value = NULL;

    cr_assert_eq(gring_join(gring_spawn(exit_after_a_failure, NULL), &value), EIO);
    cr_assert_eq(value, number(4));
}

GreenTest(exit, stacks_are_used_again)
{
    gring_stats before = { .size = sizeof before }, after = { .size = sizeof after };

    for (int round = 0; round < 1000; round++) {
        void *value = NULL;

        cr_assert_eq(gring_join(gring_spawn(exit_from_deep, number(round)), &value), 0);
        cr_assert_eq(value, number(round));
        trace[0] = 0;
        if (round == 10)
            gring_stats_get(&before);
    }
    gring_stats_get(&after);
    cr_assert_eq(after.stack_bytes, before.stack_bytes);
}

static void *exit_and_spawn_meanwhile(void *rounds)
{
    if (rounds)
        gring_spawn_n(exit_and_spawn_meanwhile, number((intptr_t)rounds - 1));
    else
        note("the last one");
    gring_exit(NULL);
}

GreenTest(exit, the_next_task_may_begin_on_the_very_stack_that_was_left)
{
    gring_spawn_n(exit_and_spawn_meanwhile, number(1000));
    let_others_run();
    cr_assert_str_eq(trace, "the last one");
}

static void *exit_main(void *value)
{
    gring_defer(note_defer, text("defer"));
    exit_deep_down(10, value);
    return NULL;
}

Test(exit, in_the_main_task_returns_from_gring_run)
{
    void *value = NULL;

    cr_assert_eq(gring_run(exit_main, number(11), &value), 0);
    cr_assert_eq(value, number(11));
    cr_assert_str_eq(trace, "defer");
}

Test(exit, in_the_main_task_of_gring_init_is_caught, .signal = SIGABRT)
{
    cr_assert_eq(gring_init(NULL), 0);
    gring_exit(NULL);
}

Test(exit, outside_a_task_is_caught, .signal = SIGABRT)
{
    gring_exit(NULL);
}

/* ---- failures that nobody waits for ---- */

static void *spawn_a_failure(void *unused)
{
    gring_spawn_opts opts = { .size = sizeof opts, .name = "unlucky" };

    (void)unused;
    gring_drop(gring_spawn_with(&opts, fail_with, number(ENOENT)));
    let_others_run();
    cr_assert_eq(logged.count, 1);
    let_others_run();
    return NULL;
}

Test(failure, of_a_detached_task_is_logged_once_with_its_name_and_reason)
{
    logged_start();
    cr_assert_eq(gring_run(spawn_a_failure, NULL, NULL), 0);
    cr_assert_eq(logged.count, 1);
    cr_assert_eq(logged_with("unlucky"), 1);
    cr_assert_eq(logged_with(strerror(ENOENT)), 1);
    cr_assert_null(strchr(logged.lines[0], '\n'));
}

static void *spawn_n_a_failure(void *unused)
{
    (void)unused;
    gring_spawn_n(fail_with, number(EIO));
    let_others_run();
    return NULL;
}

Test(failure, of_a_task_without_a_handle_is_logged_once)
{
    logged_start();
    cr_assert_eq(gring_run(spawn_n_a_failure, NULL, NULL), 0);
    cr_assert_eq(logged.count, 1);
    cr_assert_eq(logged_with(strerror(EIO)), 1);
}

static void *wait_for_a_failure(void *unused)
{
    (void)unused;
    cr_assert_eq(gring_join(gring_spawn(fail_with, number(EIO)), NULL), EIO);
    return NULL;
}

Test(failure, that_somebody_waits_for_is_not_logged)
{
    logged_start();
    cr_assert_eq(gring_run(wait_for_a_failure, NULL, NULL), 0);
    cr_assert_eq(logged.count, 0);
}

static void *look_at_a_failure_later(void *unused)
{
    gring_task *task = gring_spawn(fail_with, number(EIO));

    (void)unused;
    let_others_run();
    cr_assert_eq(logged.count, 0, "the handle is still there");
    cr_assert_eq(gring_join(task, NULL), EIO);
    return NULL;
}

Test(failure, that_somebody_can_still_wait_for_is_not_logged)
{
    logged_start();
    cr_assert_eq(gring_run(look_at_a_failure_later, NULL, NULL), 0);
    cr_assert_eq(logged.count, 0);
}

static void *drop_a_failure_later(void *unused)
{
    gring_task *task = gring_spawn(fail_with, number(EIO));

    (void)unused;
    let_others_run();
    gring_drop(task);
    return NULL;
}

Test(failure, whose_handle_is_dropped_without_a_wait_is_logged_then)
{
    logged_start();
    cr_assert_eq(gring_run(drop_a_failure_later, NULL, NULL), 0);
    cr_assert_eq(logged.count, 1);
    cr_assert_eq(logged_with(strerror(EIO)), 1);
}

static void *drop_while_somebody_waits(void *unused)
{
    gring_task *task = gring_spawn(fail_with, number(EIO));
    gring_task *waiter = gring_spawn(wait_and_note, task);

    (void)unused;
    gring_yield(); /* both have run: the waiter found it done, or waits */
    gring_drop(task);
    gring_join(waiter, NULL);
    return NULL;
}

Test(failure, whose_handle_is_dropped_while_somebody_waits_is_not_logged)
{
    logged_start();
    cr_assert_eq(gring_run(drop_while_somebody_waits, NULL, NULL), 0);
    cr_assert_eq(logged.count, 0);
}

Test(failure, of_the_main_task_is_returned_and_not_logged)
{
    logged_start();
    cr_assert_eq(gring_run(fail_with, number(EIO), NULL), EIO);
    cr_assert_eq(logged.count, 0);
}

static void *succeed_detached(void *unused)
{
    (void)unused;
    gring_spawn_n(nothing, NULL);
    let_others_run();
    return NULL;
}

Test(failure, a_success_is_not_logged)
{
    logged_start();
    cr_assert_eq(gring_run(succeed_detached, NULL, NULL), 0);
    cr_assert_eq(logged.count, 0);
}

/* ---- scheduling ---- */

GreenTest(yield, goes_behind_all_that_is_ready)
{
    for (int round = 0; round < 200; round++) /* more than a turn of the loop has room for */
        gring_spawn_n(note_it, text("."));
    gring_yield();
    cr_assert_eq(strlen(trace), 200);
}

GreenTest(yield, alone_returns)
{
    for (int round = 0; round < 1000; round++)
        cr_assert_eq(gring_yield(), 0);
}

static gring_task *spawn_prio(gring_prio prio, gring_fn fn, void *arg)
{
    gring_spawn_opts opts = { .size = sizeof opts, .prio = prio };
    gring_task *task = gring_spawn_with(&opts, fn, arg);

    cr_assert(task, "%m");
    return task;
}

GreenTest(prio, high_runs_before_normal_before_background)
{
    spawn_prio(GRING_PRIO_BACKGROUND, note_it, text("b"));
    spawn_prio(GRING_PRIO_NORMAL, note_it, text("n"));
    spawn_prio(GRING_PRIO_HIGH, note_it, text("h"));
    spawn_prio(GRING_PRIO_BACKGROUND, note_it, text("B"));
    spawn_prio(GRING_PRIO_NORMAL, note_it, text("N"));
    spawn_prio(GRING_PRIO_HIGH, note_it, text("H"));
    let_others_run();
    cr_assert_str_eq(trace, "hHnNbB");
}

static void *note_change_and_yield(void *unused)
{
    (void)unused;
    note("1");
    cr_assert_eq(gring_set_prio(GRING_PRIO_BACKGROUND), 0);
    gring_yield();
    note("2");
    return NULL;
}

GreenTest(prio, can_be_changed_from_the_next_turn_on)
{
    gring_spawn_n(note_change_and_yield, NULL);
    gring_spawn_n(note_around_a_yield, text("A"));
    let_others_run();
    cr_assert_str_eq(trace, "11A 2A 2");
}

GreenTest(prio, unknown_ones_are_EINVAL)
{
    errno = 0;
    cr_assert_eq(gring_set_prio((gring_prio)2), -1);
    cr_assert_eq(errno, EINVAL);
    errno = 0;
    cr_assert_eq(gring_set_prio((gring_prio)-2), -1);
    cr_assert_eq(errno, EINVAL);
}

Test(prio, outside_a_task_is_EPERM)
{
    errno = 0;
    cr_assert_eq(gring_set_prio(GRING_PRIO_HIGH), -1);
    cr_assert_eq(errno, EPERM);
}

static bool spinning;
static unsigned long spin_count;
enum { SPINS_MAX = 1000 * 1000 };

static void *spin(void *unused)
{
    (void)unused;
    while (spinning && spin_count < SPINS_MAX) {
        gring_yield();
        spin_count++;
    }
    return NULL;
}

static void *stop_spinning(void *unused)
{
    (void)unused;
    spinning = false;
    return NULL;
}

/* `spinners` of a lane keep yielding; one of the starved lane stops them. */
static void nobody_starves(unsigned spinners, gring_prio spinning_prio, gring_prio starved)
{
    gring_task *stopper;

    spinning = true;
    for (unsigned index = 0; index < spinners; index++)
        spawn_prio(spinning_prio, spin, NULL);
    stopper = spawn_prio(starved, stop_spinning, NULL);
    cr_assert_eq(gring_join(stopper, NULL), 0);
    cr_assert_lt(spin_count, SPINS_MAX, "it ran only when the others gave up");
}

GreenTest(prio, background_runs_while_a_high_priority_task_spins)
{
    nobody_starves(1, GRING_PRIO_HIGH, GRING_PRIO_BACKGROUND);
}

GreenTest(prio, background_runs_while_many_high_priority_tasks_spin)
{
    nobody_starves(300, GRING_PRIO_HIGH, GRING_PRIO_BACKGROUND);
}

GreenTest(prio, normal_runs_while_high_priority_tasks_spin)
{
    nobody_starves(10, GRING_PRIO_HIGH, GRING_PRIO_NORMAL);
}

GreenTest(prio, background_runs_while_normal_tasks_spin)
{
    nobody_starves(10, GRING_PRIO_NORMAL, GRING_PRIO_BACKGROUND);
}

GreenTest(prio, background_runs_while_normal_and_high_priority_tasks_spin)
{
    spinning = true;
    spawn_prio(GRING_PRIO_NORMAL, spin, NULL);
    nobody_starves(1, GRING_PRIO_HIGH, GRING_PRIO_BACKGROUND);
}

GreenTest(idle, returns_when_nobody_else_can_run)
{
    for (int index = 0; index < 10; index++)
        gring_spawn_n(note_around_a_yield, text("A"));
    cr_assert_eq(gring_idle(), 0);
    cr_assert_eq(strlen(trace), 10 * 2 * strlen("1A "));
}

FakeTimeTest(idle, does_not_wait_for_who_sleeps_or_is_parked)
{
    gring_spawn_n(park, NULL);
    gring_spawn_after(GRING_SEC, note_it, text("ran"));
    cr_assert_eq(gring_idle(), 0);
    cr_assert_str_eq(trace, "");
}

static void *idle_and_note(void *what)
{
    cr_assert_eq(gring_idle(), 0);
    note(what);
    return NULL;
}

GreenTest(idle, all_who_wait_for_it_go_on_in_order)
{
    gring_spawn_n(idle_and_note, text("A"));
    gring_spawn_n(idle_and_note, text("B"));
    gring_spawn_n(note_it, text("first "));
    let_others_run();
    let_others_run();
    cr_assert_str_eq(trace, "first AB");
}

Test(idle, outside_a_hub_is_EPERM)
{
    errno = 0;
    cr_assert_eq(gring_idle(), -1);
    cr_assert_eq(errno, EPERM);
}

/* Whether a checkpoint gave way is seen by whether the other task ran. */
static void *checkpoint_until_the_other_ran(void *unused)
{
    unsigned count = 0;

    (void)unused;
    gring_spawn_n(note_it, text("ran"));
    while (!trace[0] && count < 5000) {
        cr_assert_eq(gring_checkpoint(), 0);
        count++;
    }
    return number(count);
}

static unsigned checkpoints_needed(gring_ns slice, unsigned flags)
{
    gring_config config = GRING_CONFIG_INIT;
    void *count = NULL;

    config.slice = slice;
    config.flags = flags;
    cr_assert_eq(gring_run_with(&config, checkpoint_until_the_other_ran, NULL, &count), 0);
    return (unsigned)(uintptr_t)count;
}

/* A nanosecond is over whenever the clock is looked at. */
Test(checkpoint, yields_once_the_slice_is_used_up)
{
    unsigned count = checkpoints_needed(1, 0);

    cr_assert_lt(count, 5000);
}

Test(checkpoint, does_not_yield_while_time_stands_still)
{
    cr_assert_eq(checkpoints_needed(1, GRING_RUN_FAKETIME), 5000);
}

Test(checkpoint, does_not_yield_within_a_long_slice)
{
    cr_assert_eq(checkpoints_needed(3600 * GRING_SEC, 0), 5000);
}

Test(checkpoint, outside_a_task_does_nothing)
{
    cr_assert_eq(gring_checkpoint(), 0);
}

/* ---- identity ---- */

static void *who_am_i(void *unused)
{
    (void)unused;
    return gring_self();
}

GreenTest(identity, self_is_the_handle_that_spawn_returned)
{
    gring_task *task = gring_spawn(who_am_i, NULL);
    void *self = NULL;

    cr_assert_eq(gring_wait(task, &self), 0);
    cr_assert_eq(self, task);
    cr_assert(gring_self());
    cr_assert_neq(gring_self(), task);
}

Test(identity, there_is_no_self_outside_a_task)
{
    cr_assert_null(gring_self());
}

GreenTest(identity, ids_are_never_reused)
{
    uint64_t previous = gring_task_id(gring_self());

    for (int round = 0; round < 1000; round++) { /* the records are */
        gring_task *task = gring_spawn(nothing, NULL);

        cr_assert_gt(gring_task_id(task), previous);
        previous = gring_task_id(task);
        gring_join(task, NULL);
    }
}

GreenTest(identity, states_follow_the_life_of_a_task)
{
    gring_task *task = gring_spawn(park, NULL);

    cr_assert_eq(gring_task_state(gring_self()), GRING_RUNNING);
    cr_assert_eq(gring_task_state(task), GRING_NEW);
    let_others_run();
    cr_assert_eq(gring_task_state(task), GRING_PARKED);
    gring_unpark(task, NULL);
    cr_assert_eq(gring_task_state(task), GRING_READY);
    gring_wait(task, NULL);
    cr_assert_eq(gring_task_state(task), GRING_DONE);
}

GreenTest(identity, a_task_has_no_name_until_it_gets_one)
{
    cr_assert_str_eq(gring_task_name(gring_self()), "");
    cr_assert_eq(gring_set_name("main"), 0);
    cr_assert_str_eq(gring_task_name(gring_self()), "main");
    cr_assert_eq(gring_set_name("a"), 0);
    cr_assert_str_eq(gring_task_name(gring_self()), "a");
}

static const char LONG_NAME[] = "0123456789012345678901234567890123456789";

GreenTest(identity, thirty_one_bytes_of_a_name_are_kept)
{
    gring_spawn_opts opts = { .size = sizeof opts, .name = LONG_NAME };
    gring_task *task = gring_spawn_with(&opts, nothing, NULL);

    cr_assert_eq(gring_set_name(LONG_NAME), 0);
    cr_assert_eq(strlen(gring_task_name(gring_self())), 31);
    cr_assert_eq(strlen(gring_task_name(task)), 31);
    cr_assert_eq(memcmp(gring_task_name(task), LONG_NAME, 31), 0);
}

GreenTest(identity, no_name_is_EINVAL)
{
    errno = 0;
    cr_assert_eq(gring_set_name(NULL), -1);
    cr_assert_eq(errno, EINVAL);
}

Test(identity, naming_outside_a_task_is_EPERM)
{
    errno = 0;
    cr_assert_eq(gring_set_name("x"), -1);
    cr_assert_eq(errno, EPERM);
}

/* ---- park ---- */

static void *return_what_park_gives(void *unused)
{
    void *value = NULL;

    (void)unused;
    cr_assert_eq(gring_park(&value), 0);
    return value;
}

GreenTest(park, returns_the_value_of_unpark)
{
    gring_task *task = gring_spawn(return_what_park_gives, NULL);
    void *value = NULL;

    let_others_run();
    cr_assert_eq(gring_unpark(task, number(5)), 0);
    cr_assert_eq(gring_join(task, &value), 0);
    cr_assert_eq(value, number(5));
}

GreenTest(park, an_unpark_that_came_first_is_remembered)
{
    void *value = NULL;

    cr_assert_eq(gring_unpark(gring_self(), number(5)), 0);
    cr_assert_eq(gring_park(&value), 0);
    cr_assert_eq(value, number(5));
}

GreenTest(park, an_unpark_of_an_unstarted_task_is_remembered)
{
    gring_task *task = gring_spawn(return_what_park_gives, NULL);
    void *value = NULL;

    cr_assert_eq(gring_unpark(task, number(6)), 0);
    cr_assert_eq(gring_join(task, &value), 0);
    cr_assert_eq(value, number(6));
}

static void *park_twice(void *unused)
{
    (void)unused;
    gring_park(NULL);
    note("once ");
    gring_park(NULL);
    note("twice ");
    return NULL;
}

GreenTest(park, is_remembered_only_once)
{
    gring_task *task = gring_spawn(park_twice, NULL);

    gring_unpark(task, NULL);
    gring_unpark(task, NULL);
    let_others_run();
    cr_assert_str_eq(trace, "once ");
    cr_assert_eq(gring_task_state(task), GRING_PARKED);
    gring_unpark(task, NULL);
    gring_join(task, NULL);
    cr_assert_str_eq(trace, "once twice ");
}

GreenTest(park, the_last_value_is_the_one_remembered)
{
    void *value = NULL;

    gring_unpark(gring_self(), number(1));
    gring_unpark(gring_self(), number(2));
    cr_assert_eq(gring_park(&value), 0);
    cr_assert_eq(value, number(2));
}

GreenTest(park, two_unparks_of_a_parked_task_wake_it_once)
{
    gring_task *task = gring_spawn(park_twice, NULL);

    let_others_run();
    gring_unpark(task, NULL);
    gring_unpark(task, NULL);
    let_others_run();
    cr_assert_str_eq(trace, "once ");
}

GreenTest(park, unpark_of_an_ended_task_is_ESRCH)
{
    gring_task *task = gring_spawn(nothing, NULL);

    gring_wait(task, NULL);
    errno = 0;
    cr_assert_eq(gring_unpark(task, NULL), -1);
    cr_assert_eq(errno, ESRCH);
}

GreenTest(park, unpark_of_none_is_EINVAL)
{
    errno = 0;
    cr_assert_eq(gring_unpark(NULL, NULL), -1);
    cr_assert_eq(errno, EINVAL);
}

Test(park, outside_a_task_is_EPERM)
{
    errno = 0;
    cr_assert_eq(gring_park(NULL), -1);
    cr_assert_eq(errno, EPERM);
}

static void *hand_on(void *next)
{
    for (int round = 0; round < 1000; round++) {
        gring_park(NULL);
        if (*(gring_task **)next)
            gring_unpark(*(gring_task **)next, NULL);
    }
    return NULL;
}

GreenTest(park, two_tasks_hand_a_token_back_and_forth)
{
    gring_task *a, *b;

    a = gring_spawn(hand_on, &b);
    b = gring_spawn(hand_on, &a);
    gring_unpark(a, NULL);
    cr_assert_eq(gring_join(a, NULL), 0);
    cr_assert_eq(gring_join(b, NULL), 0);
}

/* ---- errno ---- */

static void *scribble_on_errno(void *value)
{
    errno = (int)(intptr_t)value;
    gring_yield();
    cr_assert_eq(errno, (int)(intptr_t)value);
    gring_sleep(GRING_MS);
    cr_assert_eq(errno, (int)(intptr_t)value);
    gring_park(NULL);
    cr_assert_eq(errno, (int)(intptr_t)value);
    return NULL;
}

GreenTest(own_errno, belongs_to_the_task)
{
    gring_task *tasks[20];

    for (int index = 0; index < 20; index++)
        tasks[index] = gring_spawn(scribble_on_errno, number(100 + index));
    errno = 77;
    gring_yield();
    cr_assert_eq(errno, 77);
    gring_sleep(20 * GRING_MS);
    cr_assert_eq(errno, 77);
    for (int index = 0; index < 20; index++)
        cr_assert_eq(gring_unpark(tasks[index], NULL), 0);
    cr_assert_eq(gring_waitall(tasks, 20), 0);
    cr_assert_eq(errno, 77);
}

GreenTest(own_errno, is_left_alone_by_calls_that_succeed)
{
    gring_spawn_opts opts = { .size = sizeof opts, .name = "x", .stack_size = 1u << 20 };

    errno = 77;
    for (int round = 0; round < 500;
         round++) /* so many that stacks are mapped and records allocated */
        cr_assert_eq(gring_spawn_n(park, NULL), 0);
    cr_assert_eq(errno, 77);
    cr_assert(gring_spawn_with(&opts, nothing, NULL));
    cr_assert(gring_spawn_after(GRING_US, nothing, NULL));
    cr_assert_eq(gring_join(gring_spawn(nothing, NULL), NULL), 0);
    cr_assert_eq(gring_join(gring_spawn(fail_with, number(EIO)), NULL), EIO);
    cr_assert_eq(gring_checkpoint(), 0);
    cr_assert_eq(gring_idle(), 0);
    cr_assert_eq(errno, 77);
}

Test(own_errno, is_left_alone_by_a_run_that_succeeds)
{
    errno = 77;
    cr_assert_eq(gring_run(nothing, NULL, NULL), 0);
    cr_assert_eq(errno, 77);
}
