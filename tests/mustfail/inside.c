/* Rules between our own modules. */
#include "runtime/hub.h"
#include "runtime/mailbox.h"
#include "runtime/wait.h"
#include "tests/support/dies.h"
#include "uring/prep.h"

static void let_go(struct source *source)
{
    source_done(source);
}

GreenDies(source, that_lets_go_twice, SIGABRT, "a source let go twice")
{
    struct source first, second;
    struct wait wait;

    wait_begin(&wait, "a test", -1);
    wait_hold(&wait, &first, let_go);
    wait_hold(&wait, &second, let_go);
    wait.over = true; /* so that the task is not made ready */
    source_done(&first);
    source_done(&first);
}

GreenDies(wait, without_a_source, SIGABRT, "nobody could ever end it")
{
    struct wait wait;

    wait_begin(&wait, "a test", -1);
    wait_park(&wait);
}

GreenDies(task, made_ready_twice, SIGABRT, "made ready twice")
{
    struct gring_task *task = hub_self()->running;

    task_ready(task);
    task_ready(task);
}

static void done(struct op *op)
{
    (void)op;
}

/* A read of a pipe that nobody writes to. */
static struct op *op_in_flight(struct ops *ops)
{
    static struct op op;
    static char byte;
    int ends[2];

    CHILD_MUST(pipe(ends) == 0);
    prep_read(&op, ends[0], &byte, 1, -1);
    op.on_done = done;
    CHILD_MUST(ops_submit(ops, &op) == 0);
    return &op;
}

GreenDies(op, submitted_twice, SIGABRT, "submitted while it is in flight")
{
    struct ops *ops = &hub_self()->ops;

    ops_submit(ops, op_in_flight(ops));
}

GreenDies(op, that_completes_after_its_memory_was_used_anew, SIGABRT,
          "its memory was left too early")
{
    struct ops *ops = &hub_self()->ops;
    struct op *op = op_in_flight(ops);

    ops_cancel(ops, op);
    memset(op, 0, sizeof *op);
    gring_sleep(GRING_SEC);
}

GreenDies(op, that_the_ring_s_end_leaves_in_flight, SIGABRT, "operations in flight")
{
    struct ops *ops = &hub_self()->ops;

    op_in_flight(ops);
    ops_close(ops);
}

GreenDies(timer, armed_twice, SIGABRT, "a timer was armed while it was pending")
{
    struct wheel *wheel = &hub_self()->wheel;
    struct timer timer = { .deadline = 0 };

    wheel_arm(wheel, &timer, CLOCK_FOREVER);
    wheel_arm(wheel, &timer, CLOCK_FOREVER);
}

GreenDies(stack, taken_without_a_reservation, SIGABRT, "a stack was taken that was not reserved")
{
    stack_take(stacks_pool(&hub_self()->stacks, 1 << 20));
}
