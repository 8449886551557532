/* What belongs to a task of the hub, touched by another thread. */
#include "tests/support/dies.h"

#include <pthread.h>

static gring_timeout timeout;
static gring_scope scope;
static gring_task *task;

static void *nothing(void *arg)
{
    return arg;
}

static void on_a_thread(void *(*fn)(void *))
{
    pthread_t thread;

    CHILD_MUST(pthread_create(&thread, NULL, fn, NULL) == 0);
    CHILD_MUST(pthread_join(thread, NULL) == 0);
}

static void *stop_the_timeout(void *unused)
{
    gring_timeout_stop(&timeout);
    return unused;
}

GreenDies(thread, stops_a_task_s_deadline, SIGABRT, "only the task whose calls it bounds may stop")
{
    gring_timeout_start(&timeout, GRING_SEC);
    on_a_thread(stop_the_timeout);
}

static void *close_the_scope(void *unused)
{
    gring_scope_close(&scope);
    return unused;
}

GreenDies(thread, closes_a_task_s_scope, SIGABRT, "only the owner may wait for its end")
{
    gring_scope_open(&scope, 0);
    on_a_thread(close_the_scope);
}

static void *exit_there(void *unused)
{
    (void)unused;
    gring_exit(NULL);
}

GreenDies(thread, calls_gring_exit, SIGABRT, "a callback or a plain thread is none")
{
    on_a_thread(exit_there);
}

static void *kill_the_task(void *unused)
{
    gring_kill(task);
    return unused;
}

GreenDies(thread, kills_by_a_handle_that_was_given_back, SIGABRT, "after it was given back")
{
    task = gring_spawn(nothing, NULL);
    gring_join(task, NULL);
    on_a_thread(kill_the_task);
}

static void *drop_the_task(void *unused)
{
    gring_drop(task);
    return unused;
}

GreenDies(thread, drops_a_handle_twice, SIGABRT, "given back twice")
{
    task = gring_spawn(nothing, NULL);
    gring_join(task, NULL);
    on_a_thread(drop_the_task);
    gring_sleep(GRING_SEC);
}
