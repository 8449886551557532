/*
 * Tasks of C++: what the language keeps for each thread of exceptions is each task's own, and the
 * headers' macros are C++, too.
 */
#include "tests/support/dies.h"

#include <cerrno>
#include <exception>
#include <greenring/co.h>
#include <stdexcept>
#include <string>
#include <system_error>

#define GreenTestCxx(suite, name)                                                                  \
    static void suite##_##name##_body();                                                           \
    static void *suite##_##name##_main(void *)                                                     \
    {                                                                                              \
        suite##_##name##_body();                                                                   \
        return nullptr;                                                                            \
    }                                                                                              \
    Test(suite, name)                                                                              \
    {                                                                                              \
        cr_assert_eq(gring_run(suite##_##name##_main, nullptr, nullptr), 0);                       \
    }                                                                                              \
    static void suite##_##name##_body()

static int number_of(std::exception_ptr exception)
{
    try {
        if (exception)
            std::rethrow_exception(exception);
    } catch (int number) {
        return number;
    }
    return -1;
}

/* ---- handling one while others run ----------------------------------------------------------- */

static const int TASKS = 5;
static bool kept_its_own[TASKS];

/* Each stays in its catch block for another number of turns, so they leave in another order than
 * they came; and each throws again what it caught. */
static void *handle_one(void *arg)
{
    int self = static_cast<int>(reinterpret_cast<intptr_t>(arg));
    bool is_mine = true;

    try {
        try {
            throw self;
        } catch (int) {
            for (int turn = 0; turn < 2 + self * 3 % TASKS; turn++) {
                gring_yield();
                is_mine = is_mine && number_of(std::current_exception()) == self;
            }
            throw;
        }
    } catch (int number) {
        gring_yield();
        kept_its_own[self] = is_mine && number == self;
    }
    if (std::current_exception())
        kept_its_own[self] = false;
    return nullptr;
}

GreenTestCxx(cxx, an_exception_caught_across_a_yield_is_the_task_s_own)
{
    gring_task *tasks[TASKS];

    for (intptr_t index = 0; index < TASKS; index++)
        tasks[index] = gring_spawn(handle_one, reinterpret_cast<void *>(index));
    for (int index = 0; index < TASKS; index++)
        cr_assert_eq(gring_join(tasks[index], nullptr), 0);
    for (int index = 0; index < TASKS; index++)
        cr_assert(kept_its_own[index], "task %d met another one's exception", index);
}

static void *look_around(void *found_none)
{
    *static_cast<bool *>(found_none) = !std::current_exception() && std::uncaught_exceptions() == 0;
    return nullptr;
}

GreenTestCxx(cxx, a_task_spawned_in_a_catch_block_begins_without_exceptions)
{
    bool found_none = false;

    try {
        throw 1;
    } catch (int) {
        gring_join(gring_spawn(look_around, &found_none), nullptr);
        cr_assert_eq(number_of(std::current_exception()), 1);
    }
    cr_assert(found_none);
}

/* It waits while the exception that destroys it is under way. */
struct waits_in_its_destructor {
    int seen_before, seen_after;
    int *difference;

    explicit waits_in_its_destructor(int *result)
        : seen_before(0), seen_after(0), difference(result)
    {
    }
    ~waits_in_its_destructor()
    {
        seen_before = std::uncaught_exceptions();
        gring_sleep(GRING_MS);
        seen_after = std::uncaught_exceptions();
        *difference = seen_after - seen_before;
    }
};

static void *unwind_slowly(void *difference)
{
    try {
        waits_in_its_destructor guard(static_cast<int *>(difference));
        throw std::runtime_error("slow");
    } catch (const std::runtime_error &) {
    }
    return nullptr;
}

GreenTestCxx(cxx, a_destructor_may_wait_while_an_exception_is_under_way)
{
    int differences[2] = { 1, 1 };
    bool found_none = false;
    gring_task *first = gring_spawn(unwind_slowly, &differences[0]);
    gring_task *second = gring_spawn(unwind_slowly, &differences[1]);

    gring_yield();
    cr_assert_eq(std::uncaught_exceptions(), 0);
    gring_join(gring_spawn(look_around, &found_none), nullptr);
    gring_join(first, nullptr);
    gring_join(second, nullptr);
    cr_assert(found_none);
    cr_assert_eq(differences[0], 0);
    cr_assert_eq(differences[1], 0);
}

static void throw_and_catch(void *seen)
{
    try {
        throw 7;
    } catch (int) {
        *static_cast<int *>(seen) = number_of(std::current_exception());
    }
    if (std::current_exception())
        *static_cast<int *>(seen) = -1;
}

GreenTestCxx(cxx, a_callback_handles_its_own_while_a_task_handles_one)
{
    gring_timer timer = {};
    int seen = 0;

    try {
        throw 1;
    } catch (int) {
        gring_timer_start(&timer, 0, throw_and_catch, &seen);
        gring_sleep(2 * GRING_MS);
        cr_assert_eq(number_of(std::current_exception()), 1);
    }
    cr_assert_eq(seen, 7);
}

static void *exit_while_handling(void *)
{
    static int thrown = 1;

    try {
        throw thrown;
    } catch (int) {
        gring_exit(nullptr);
    }
}

GreenTestCxx(cxx, gring_exit_in_a_catch_block_leaves_nothing_to_the_next_task)
{
    bool found_none = false;
    gring_task *exits = gring_spawn(exit_while_handling, nullptr);
    gring_task *looks = gring_spawn(look_around, &found_none);

    gring_join(exits, nullptr);
    gring_join(looks, nullptr);
    cr_assert(found_none);
    cr_assert(!std::current_exception());
}

static void *exit_from_main(void *)
{
    try {
        throw 2;
    } catch (int) {
        gring_exit(nullptr);
    }
}

Test(cxx, gring_exit_in_main_s_catch_block_leaves_the_caller_its_own)
{
    try {
        throw 1;
    } catch (int) {
        cr_assert_eq(gring_run(exit_from_main, nullptr, nullptr), 0);
        cr_assert_eq(number_of(std::current_exception()), 1);
    }
    cr_assert(!std::current_exception());
}

/* ---- coroutines ------------------------------------------------------------------------------ */

static void *handle_one_and_switch_back(void *number)
{
    gring_co *caller = gring_co_parent(gring_co_self());
    int self = *static_cast<int *>(number);
    bool is_mine = std::uncaught_exceptions() == 0 && !std::current_exception();

    try {
        throw self;
    } catch (int) {
        gring_co_switch(caller, nullptr, nullptr);
        is_mine = is_mine && number_of(std::current_exception()) == self;
    }
    if (!is_mine || std::current_exception())
        gring_fail(EINVAL);
    return nullptr;
}

GreenTestCxx(cxx, an_exception_caught_across_a_switch_is_the_coroutine_s_own)
{
    gring_co *co = gring_co_new(handle_one_and_switch_back, nullptr, 0);
    int number = 1;

    try {
        throw 2;
    } catch (int) {
        cr_assert_eq(gring_co_switch(co, &number, nullptr), 0);
        cr_assert_eq(number_of(std::current_exception()), 2);
        cr_assert_eq(gring_co_switch(co, nullptr, nullptr), 0, "the coroutine met another's");
        cr_assert_eq(number_of(std::current_exception()), 2);
    }
    cr_assert(!std::current_exception());
}

static void *exit_while_handling_in_a_coroutine(void *)
{
    gring_co_switch(gring_co_new(exit_while_handling, nullptr, 0), nullptr, nullptr);
    return nullptr;
}

GreenTestCxx(cxx, gring_exit_in_a_coroutine_s_catch_block_leaves_nothing_to_the_next_task)
{
    bool found_none = false;
    gring_task *exits = gring_spawn(exit_while_handling_in_a_coroutine, nullptr);
    gring_task *looks = gring_spawn(look_around, &found_none);

    gring_join(exits, nullptr);
    gring_join(looks, nullptr);
    cr_assert(found_none);
}

/* ---- from task to task ----------------------------------------------------------------------- */

static void *fail_with_a_string(void *result)
{
    try {
        throw std::runtime_error("from afar");
    } catch (...) {
        *static_cast<std::exception_ptr *>(result) = std::current_exception();
    }
    return nullptr;
}

GreenTestCxx(cxx, an_exception_may_be_handed_to_another_task)
{
    std::exception_ptr received;
    std::string what;

    gring_join(gring_spawn(fail_with_a_string, &received), nullptr);
    try {
        std::rethrow_exception(received);
    } catch (const std::exception &exception) {
        gring_yield();
        what = exception.what();
    }
    cr_assert_str_eq(what.c_str(), "from afar");
}

struct counts_down {
    int *count;

    ~counts_down()
    {
        --*count;
    }
};

static void sleep_or_throw(gring_ns duration)
{
    if (gring_sleep(duration) < 0)
        throw std::system_error(errno, std::generic_category());
}

static void *sleep_long(void *alive)
{
    try {
        counts_down outer = { static_cast<int *>(alive) };
        counts_down inner = { static_cast<int *>(alive) };

        sleep_or_throw(3600 * GRING_SEC);
    } catch (const std::system_error &error) {
        return gring_fail(error.code().value());
    }
    return nullptr;
}

GreenTestCxx(cxx, a_killed_task_that_throws_runs_its_destructors)
{
    int alive = 2;
    gring_task *task = gring_spawn(sleep_long, &alive);

    gring_yield();
    gring_kill(task);
    cr_assert_eq(gring_join(task, nullptr), ECANCELED);
    cr_assert_eq(alive, 0);
}

/* ---- an exception that nobody catches -------------------------------------------------------- */

static void *throw_out(void *)
{
    throw std::runtime_error("nobody waits for me");
}

GreenDies(cxx, an_exception_that_leaves_a_task_s_function, SIGABRT, "nobody waits for me")
{
    gring_join(gring_spawn(throw_out, nullptr), nullptr);
}

static void throw_out_of_a_callback(void *)
{
    throw_out(nullptr);
}

GreenDies(cxx, an_exception_that_leaves_a_callback, SIGABRT, "nobody waits for me")
{
    gring_post(nullptr, throw_out_of_a_callback, nullptr);
    gring_sleep(GRING_SEC);
}

/* ---- the headers ----------------------------------------------------------------------------- */

static void *count_up(void *count)
{
    ++*static_cast<int *>(count);
    return nullptr;
}

GreenTestCxx(cxx, the_macros_are_cxx_too)
{
    gring_spawn_opts opts = GRING_SPAWN_INIT;
    int count = 0;

    cr_assert_eq(opts.size, sizeof opts);
    cr_assert_eq(gring_within(GRING_MS, gring_sleep(GRING_SEC)), -1);
    cr_assert_eq(errno, ETIMEDOUT);
    GRING_SHIELD
    {
        gring_kill(gring_self());
        cr_assert_eq(gring_yield(), 0);
    }
    cr_assert_eq(gring_uncancel(), 1);
    {
        gring_auto_scope(scope);

        gring_scope_spawn(&scope, count_up, &count);
        cr_assert_eq(gring_scope_wait(&scope), 0);
    }
    cr_assert_eq(count, 1);
}

/* A deadline and a scope end as the exception passes. */
GreenTestCxx(cxx, an_exception_closes_the_scopes_and_deadlines_that_it_leaves)
{
    int count = 0;

    try {
        gring_auto_timeout(timeout, GRING_SEC);
        gring_auto_scope(scope);

        gring_scope_spawn(&scope, count_up, &count);
        gring_scope_wait(&scope);
        throw count;
    } catch (int number) {
        cr_assert_eq(number, 1);
    }
    cr_assert_eq(gring_time_left(), GRING_FOREVER);
}
