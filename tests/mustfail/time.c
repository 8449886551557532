/* Deadlines nest strictly and stay where they are; timers stay until they fired or were stopped. */
#include "tests/support/dies.h"

static void nothing(void *unused)
{
    (void)unused;
}

/* ---- deadlines ------------------------------------------------------------------------------- */

GreenDies(deadline, stopped_before_the_one_inside_it, SIGABRT, "stop the inner one first")
{
    gring_timeout outer, inner;

    gring_timeout_start(&outer, GRING_SEC);
    gring_timeout_start(&inner, GRING_SEC);
    gring_timeout_stop(&outer);
}

GreenDies(deadline, stopped_in_a_copy, SIGABRT, "was copied or moved while it was started")
{
    gring_timeout here, there;

    gring_timeout_start(&here, GRING_SEC);
    there = here;
    gring_timeout_stop(&there);
}

GreenDies(deadline, that_expired_and_is_stopped_in_a_copy, SIGABRT,
          "was copied or moved while it was started")
{
    gring_timeout here, there;

    gring_timeout_start(&here, 0);
    there = here;
    gring_timeout_stop(&there);
}

static gring_timeout foreign_timeout;

static void *stop_the_foreign_one(void *unused)
{
    (void)unused;
    gring_timeout_stop(&foreign_timeout);
    return NULL;
}

GreenDies(deadline, stopped_by_another_task, SIGABRT,
          "only the task whose calls it bounds may stop")
{
    gring_timeout_start(&foreign_timeout, GRING_SEC);
    gring_join(gring_spawn(stop_the_foreign_one, NULL), NULL);
}

TaskDies(deadline, open_when_its_task_returns, SIGABRT, "gring_auto_timeout")
{
    gring_timeout timeout;

    gring_timeout_start(&timeout, GRING_SEC);
    return NULL;
}

GreenDies(deadline, open_when_main_returns, SIGABRT, "gring_auto_timeout")
{
    gring_timeout timeout;

    gring_timeout_start(&timeout, GRING_SEC);
}

static void start_and_forget(void *timeout)
{
    gring_timeout_start(timeout, GRING_SEC);
}

TaskDies(deadline, open_when_the_last_defer_returns, SIGABRT, "gring_auto_timeout")
{
    static gring_timeout timeout;

    gring_defer(start_and_forget, &timeout);
    return NULL;
}

/* ---- timers ---------------------------------------------------------------------------------- */

GreenDies(timer, stopped_in_a_copy, SIGABRT,
          "a gring_timer was copied or moved while it was pending")
{
    gring_timer here = { { 0 } }, there;

    gring_timer_start(&here, GRING_SEC, nothing, NULL);
    there = here;
    gring_timer_stop(&there);
}

GreenDies(timer, among_others_stopped_in_a_copy, SIGABRT,
          "a gring_timer was copied or moved while it was pending")
{
    gring_timer timers[3] = { { { 0 } } }, there;

    for (int index = 0; index < 3; index++)
        gring_timer_start(&timers[index], GRING_SEC, nothing, NULL);
    there = timers[1];
    gring_timer_stop(&there);
}

TaskDies(timer, pending_on_the_stack_of_a_task_that_returns, SIGABRT,
         "a gring_timer pending on its stack: stop it before")
{
    gring_timer timer = { { 0 } };

    gring_timer_start(&timer, GRING_SEC, nothing, NULL);
    return NULL;
}

TaskDies(timer, pending_on_the_stack_of_a_task_that_exits, SIGABRT,
         "a gring_timer pending on its stack: stop it before")
{
    gring_timer timer = { { 0 } };

    gring_timer_start(&timer, GRING_SEC, nothing, NULL);
    gring_exit(NULL);
}
