/* A scope is closed once, by its owner, where it was opened; its tasks' handles are its own. */
#include "tests/support/dies.h"

static gring_scope scope;

static void *park(void *unused)
{
    (void)unused;
    gring_park(NULL);
    return NULL;
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

static void *nothing(void *arg)
{
    return arg;
}

static void *close_it(void *unused)
{
    (void)unused;
    gring_scope_close(&scope);
    return NULL;
}

GreenDies(scope, closed_by_another_task, SIGABRT, "only the owner may wait for its end")
{
    gring_scope_open(&scope, 0);
    gring_join(gring_spawn(close_it, NULL), NULL);
}

GreenDies(scope, closed_by_its_own_child, SIGABRT, "only the owner may wait for its end")
{
    gring_scope_open(&scope, 0);
    gring_scope_spawn(&scope, close_it, NULL);
    gring_scope_wait(&scope);
}

TaskDies(scope, open_when_its_task_returns, SIGABRT, "gring_auto_scope")
{
    gring_scope_open(&scope, 0);
    return NULL;
}

GreenDies(scope, open_when_main_returns, SIGABRT, "gring_auto_scope")
{
    gring_scope_open(&scope, 0);
}

GreenDies(scope, closed_in_a_copy, SIGABRT, "a gring_scope was copied or moved while it was open")
{
    gring_scope copy;

    gring_scope_open(&scope, 0);
    gring_scope_spawn(&scope, park, NULL);
    copy = scope;
    gring_scope_close(&copy);
}

GreenDies(scope, spawned_into_in_a_copy, SIGABRT,
          "a gring_scope was copied or moved while it was open")
{
    gring_scope copy;

    gring_scope_open(&scope, 0);
    copy = scope;
    gring_scope_spawn(&copy, park, NULL);
}

GreenDies(scope, whose_task_is_joined, SIGABRT, "use gring_wait")
{
    gring_scope_open(&scope, 0);
    gring_join(gring_scope_spawn(&scope, nothing, NULL), NULL);
}

GreenDies(scope, whose_task_s_handle_is_dropped, SIGABRT, "it is the scope's until")
{
    gring_scope_open(&scope, 0);
    gring_drop(gring_scope_spawn(&scope, nothing, NULL));
    gring_scope_close(&scope);
}

GreenDies(scope, whose_task_is_waited_for_after_its_close, SIGABRT, "after it was given back")
{
    gring_task *task;

    gring_scope_open(&scope, 0);
    task = gring_scope_spawn(&scope, nothing, NULL);
    gring_scope_wait(&scope);
    gring_scope_close(&scope);
    gring_wait(task, NULL);
}

GreenDies(scope, closed_on_a_task_that_nobody_can_end, SIGABRT, "all tasks wait for each other")
{
    gring_scope_open(&scope, 0);
    gring_scope_spawn(&scope, park_shielded, NULL);
    gring_yield();
    gring_scope_close(&scope);
}
