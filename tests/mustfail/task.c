/* Tasks, their handles, their stacks; and leaving a call that the kernel has not left. */
#include "tests/support/dies.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdint.h>
#include <sys/time.h>
#include <unistd.h>

static void *nothing(void *arg)
{
    return arg;
}

static void *park_shielded(void *unused)
{
    (void)unused;
    GRING_SHIELD
    {
        gring_park(NULL);
    }
    return NULL;
}

/* ---- handles --------------------------------------------------------------------------------- */

#define GIVEN_BACK "a task's handle was used after it was given back"

static gring_task *void_handle(void)
{
    gring_task *task = gring_spawn(nothing, NULL);

    gring_join(task, NULL);
    return task;
}

GreenDies(handle, dropped_twice, SIGABRT, "gring_keep makes another one")
{
    gring_drop(void_handle());
}

GreenDies(handle, of_a_living_task_dropped_twice, SIGABRT, "gring_keep makes another one")
{
    gring_task *task = gring_spawn(nothing, NULL);

    gring_drop(task);
    gring_drop(task);
}

GreenDies(handle, waited_for_after_its_join, SIGABRT, GIVEN_BACK)
{
    gring_wait(void_handle(), NULL);
}

GreenDies(handle, killed_after_its_join, SIGABRT, GIVEN_BACK)
{
    gring_kill(void_handle());
}

GreenDies(handle, thrown_at_after_its_join, SIGABRT, GIVEN_BACK)
{
    gring_throw(void_handle(), EIO);
}

GreenDies(handle, unparked_after_its_join, SIGABRT, GIVEN_BACK)
{
    gring_unpark(void_handle(), NULL);
}

static void ignore(gring_task *task, void *unused)
{
    (void)task;
    (void)unused;
}

GreenDies(handle, linked_after_its_join, SIGABRT, GIVEN_BACK)
{
    gring_link(void_handle(), ignore, NULL);
}

GreenDies(handle, kept_after_its_join, SIGABRT, GIVEN_BACK)
{
    gring_keep(void_handle());
}

GreenDies(handle, asked_for_its_id_after_its_join, SIGABRT, GIVEN_BACK)
{
    CHILD_MUST(gring_task_id(void_handle()) == 0);
}

GreenDies(handle, waited_for_among_others_after_its_join, SIGABRT, GIVEN_BACK)
{
    gring_task *tasks[2] = { void_handle(), NULL };

    gring_waitany(tasks, 1);
}

/* ---- ends ------------------------------------------------------------------------------------ */

Dies(exit, outside_a_task, SIGABRT, "gring_exit was called outside a task")
{
    gring_exit(NULL);
}

Dies(exit, in_the_main_task_of_gring_init, SIGABRT, "which ends with gring_fini")
{
    gring_init(NULL);
    gring_exit(NULL);
}

Dies(end, of_main_while_a_task_waits_for_ever_in_a_shield, SIGABRT,
     "calls that cannot be interrupted")
{
    gring_init(NULL);
    gring_spawn_n(park_shielded, NULL);
    gring_yield();
    gring_fini();
}

GreenDies(shield, left_without_having_been_entered, SIGABRT, "use GRING_SHIELD")
{
    gring_shield_leave();
}

GreenDies(shield, entered_for_ever, SIGABRT, "a gring_shield_leave is missing")
{
    for (int depth = 0; depth < 1000; depth++)
        gring_shield_enter();
}

/* ---- the thread goes, the hub stays ---------------------------------------------------------- */

#define THREAD_ENDS "never by pthread_exit or pthread_cancel"

GreenDies(pthread_exit, in_the_main_task, SIGABRT, THREAD_ENDS)
{
    pthread_exit(NULL);
}

TaskDies(pthread_exit, in_a_task, SIGABRT, THREAD_ENDS)
{
    pthread_exit(NULL);
}

static void exit_the_thread(void *unused)
{
    (void)unused;
    pthread_exit(NULL);
}

GreenDies(pthread_exit, in_a_callback, SIGABRT, THREAD_ENDS)
{
    gring_post(NULL, exit_the_thread, NULL);
    gring_sleep(GRING_SEC);
}

static void *start_and_leave(void *unused)
{
    CHILD_MUST(gring_init(NULL) == 0);
    return unused;
}

Dies(thread, that_ends_without_gring_fini, SIGABRT, "end a run by gring_fini")
{
    pthread_t thread;

    pthread_create(&thread, NULL, start_and_leave, NULL);
    pthread_join(thread, NULL);
}

/* ---- stacks ---------------------------------------------------------------------------------- */

#if !UNDER_ASAN /* which owns SIGSEGV */
static __attribute__((noinline)) size_t grow_stack(size_t depth)
{
    volatile char frame[512];

    frame[0] = (char)depth;
    frame[sizeof frame - 1] = frame[0];
    if (depth == SIZE_MAX)
        return 0;
    return grow_stack(depth + 1) + (size_t)frame[0];
}

static void *overflow(void *unused)
{
    (void)unused;
    return (void *)grow_stack(0);
}

static void overflow_here(void *unused)
{
    (void)unused;
    grow_stack(0);
}

GreenDies(stack, overflown_by_a_task, SIGSEGV, "recursive: it has used up its")
{
    gring_spawn_opts opts = GRING_SPAWN_INIT;

    opts.name = "recursive";
    opts.stack_size = 64 * 1024;
    gring_join(gring_spawn_with(&opts, overflow, NULL), NULL);
}

GreenDies(stack, overflown_by_a_callback, SIGSEGV, "on the hub's own stack, in a callback")
{
    gring_post(NULL, overflow_here, NULL);
    gring_sleep(GRING_SEC);
}

/* ---- jumps out of a waiting call ------------------------------------------------------------- */

static sigjmp_buf before_the_call;

static void jump_back(int signal_number)
{
    (void)signal_number;
    siglongjmp(before_the_call, 1);
}

static int quiet[2];

/* The alarm finds the hub in the kernel, waiting for this read. */
static void leave_a_read_by_a_signal(void)
{
    struct itimerval soon = { .it_value.tv_usec = 20 * 1000 };
    char byte;

    CHILD_MUST(pipe(quiet) == 0);
    signal(SIGALRM, jump_back);
    if (sigsetjmp(before_the_call, 1) == 0) {
        setitimer(ITIMER_REAL, &soon, NULL);
        gring_read(quiet[0], &byte, 1);
        _exit(1);
    }
}

TaskDies(jump, out_of_a_waiting_call_into_another_one, SIGABRT,
         "a signal handler left a waiting call by siglongjmp: it must return")
{
    leave_a_read_by_a_signal();
    gring_sleep(GRING_MS);
    return NULL;
}

TaskDies(jump, out_of_a_waiting_call_and_the_task_s_end, SIGABRT,
         "a task has ended while a waiting call of it was under way")
{
    leave_a_read_by_a_signal();
    return NULL;
}

GreenDies(jump, out_of_a_waiting_call_and_the_end_of_main, SIGABRT,
          "a task has ended while a waiting call of it was under way")
{
    leave_a_read_by_a_signal();
}

static void *jump_to_the_other(void *unused)
{
    (void)unused;
    siglongjmp(before_the_call, 1);
}

TaskDies(jump, into_another_task_s_frames, SIGABRT, "longjmp must stay on the stack")
{
    if (sigsetjmp(before_the_call, 0) == 0)
        gring_join(gring_spawn(jump_to_the_other, NULL), NULL);
    else
        gring_sleep(GRING_MS);
    return NULL;
}
#endif
