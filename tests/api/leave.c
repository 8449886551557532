/* Leaving the process from a task or a callback: exit(3) and abort(3). pthread_exit(3) is refused:
 * tests/mustfail/task.c. */
#include "tests/support/child.h"

#include <greenring/greenring.h>
#include <signal.h>

enum { STATUS = 7 };

static int quiet[2];

static void *read_for_ever(void *unused)
{
    char byte;

    gring_read(quiet[0], &byte, 1);
    return unused;
}

/* A run with an operation in the kernel's hands, in which the function is called by a task. */
static void *begin(void *leave)
{
    CHILD_MUST(pipe(quiet) == 0);
    gring_spawn_n(read_for_ever, NULL);
    gring_yield();
    gring_join(gring_spawn(*(gring_fn *)leave, NULL), NULL);
    return NULL;
}

static void run(gring_fn leave)
{
    gring_run(begin, &leave, NULL);
}

static bool left_with(const struct child *child, int status)
{
    return WIFEXITED(child->status) && WEXITSTATUS(child->status) == status;
}

/* ---- exit(3) --------------------------------------------------------------------------------- */

static void say_so(void)
{
    dprintf(STDERR_FILENO, "handler");
}

static void *exit_here(void *unused)
{
    atexit(say_so);
    exit(STATUS);
    return unused;
}

static void exit_in_a_task(void)
{
    run(exit_here);
}

Test(leave, exit_in_a_task_calls_the_handlers_and_gives_the_status)
{
    struct child child = child_run(exit_in_a_task);

    cr_assert(left_with(&child, STATUS), "status %#x: %s", (unsigned)child.status, child.errors);
    cr_assert(strstr(child.errors, "handler"), "%s", child.errors);
}

static void sleep_and_say_so(void)
{
    if (gring_sleep(GRING_MS) == 0)
        say_so();
}

static void *exit_and_wait(void *unused)
{
    atexit(sleep_and_say_so);
    exit(STATUS);
    return unused;
}

static void exit_in_a_task_and_wait(void)
{
    run(exit_and_wait);
}

Test(leave, a_handler_of_exit_in_a_task_may_wait)
{
    struct child child = child_run(exit_in_a_task_and_wait);

    cr_assert(left_with(&child, STATUS), "status %#x: %s", (unsigned)child.status, child.errors);
    cr_assert(strstr(child.errors, "handler"), "%s", child.errors);
}

static void exit_now(void *unused)
{
    exit_here(unused);
}

static void *post_an_exit(void *unused)
{
    gring_post(NULL, exit_now, NULL);
    gring_sleep(3600 * GRING_SEC);
    return unused;
}

static void exit_in_a_callback(void)
{
    run(post_an_exit);
}

Test(leave, exit_in_a_callback_calls_the_handlers_and_gives_the_status)
{
    struct child child = child_run(exit_in_a_callback);

    cr_assert(left_with(&child, STATUS), "status %#x: %s", (unsigned)child.status, child.errors);
    cr_assert(strstr(child.errors, "handler"), "%s", child.errors);
}

static void exit_without_fini(void)
{
    CHILD_MUST(gring_init(NULL) == 0);
    CHILD_MUST(pipe(quiet) == 0);
    gring_spawn_n(read_for_ever, NULL);
    gring_yield();
    exit(STATUS);
}

Test(leave, exit_without_gring_fini_is_quiet)
{
    struct child child = child_run(exit_without_fini);

    cr_assert(left_with(&child, STATUS), "status %#x: %s", (unsigned)child.status, child.errors);
    cr_assert(UNDER_ASAN || !*child.errors, "%s", child.errors); /* it looks for leaks at exit */
}

/* ---- abort(3) -------------------------------------------------------------------------------- */

static void *abort_here(void *unused)
{
    (void)unused;
    abort();
}

static void abort_in_a_task(void)
{
    run(abort_here);
}

Test(leave, abort_in_a_task_dies_of_SIGABRT)
{
    struct child child = child_run(abort_in_a_task);

    cr_assert(child_died_of(&child, SIGABRT), "status %#x", (unsigned)child.status);
    cr_assert_str_eq(child.errors, "");
}
