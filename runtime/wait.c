/* Park and wake; see wait.h. */
#include "runtime/wait.h"

#include "base/check.h"
#include "runtime/hub.h"

#include <errno.h>

/* A task that ignores failing calls must not keep the hub to itself: every so many refusals in a
 * row it yields. */
enum { REFUSALS_PER_YIELD = 64 };

struct gring_task *wait_task(void)
{
    struct gring_task *task = hub_self()->running;

    CHECK_SAY(
        task != NULL,
        "a waiting call was made in a callback on the hub's loop; spawn a task there instead, "
        "or a signal handler left a waiting call by siglongjmp: it must return");
    return task;
}

static void wait_init(struct wait *wait, struct gring_task *task, const char *what, int fd,
                      bool interruptible)
{
    *wait = (struct wait){ .task = task, .what = what, .fd = fd, .interruptible = interruptible };
}

static int refuse(struct gring_task *task)
{
    int error = task_report(task, 0);

    if (++task->refused_waits % REFUSALS_PER_YIELD == 0)
        hub_yield(task);
    return -error;
}

int wait_permitted(struct gring_task *task)
{
    if (LIKELY(!task->interrupts) || !task_interruption(task))
        return 0;
    return refuse(task);
}

void wait_prepare(struct wait *wait, const char *what, bool interruptible)
{
    wait_init(wait, wait_task(), what, -1, interruptible);
}

int wait_begin(struct wait *wait, const char *what, int fd)
{
    struct gring_task *task = wait_task();

    wait_init(wait, task, what, fd, true);
    return wait_permitted(task);
}

void wait_begin_shielded(struct wait *wait, const char *what, int fd)
{
    wait_init(wait, wait_task(), what, fd, false);
}

void wait_hold(struct wait *wait, struct source *source, void (*withdraw)(struct source *source))
{
    *source =
        (struct source){ .wait = wait, .next = wait->sources, .withdraw = withdraw, .held = true };
    wait->sources = source;
    wait->held_count++;
}

int wait_outcome(struct wait *wait)
{
    /* What is worst by now: a kill may have come after the deadline, while the kernel was asked
     * to let go. */
    return wait->interruption ? -task_report(wait->task, wait->interruption) : 0;
}

static void check_stack(const struct coro *coro)
{
    CHECK_SAY(!coro->top || stack_contains(coro, __builtin_frame_address(0)),
              "a task went on in another task's frames: longjmp must stay on the stack where its "
              "setjmp was, and must not leave a waiting call");
}

void wait_park(struct wait *wait)
{
    struct gring_task *task = wait->task;

    CHECK(task_state(task) == TASK_RUNNING);
    check_stack(task->coro);
    CHECK_SAY(wait->held_count > 0,
              "a wait was begun that holds no source: nobody could ever end it");
    task->wait = wait;
    task->refused_waits = 0;
    hub_park(task);
    CHECK(wait->over && wait->held_count == 0);
    task->wait = NULL;
}

static void withdraw_others(struct wait *wait, const struct source *winner)
{
    struct source *next;

    for (struct source *source = wait->sources; source; source = next) {
        next = source->next;
        if (source != winner && source->held)
            source->withdraw(source);
    }
}

static void let_go(struct wait *wait)
{
    if (--wait->held_count == 0 && wait->over)
        task_ready(wait->task);
}

void source_done(struct source *source)
{
    struct wait *wait = source->wait;

    CHECK_SAY(source->held, "a source let go twice: what withdraws it must not report it, too");
    source->held = false;
    if (!wait->over) {
        wait->over = true;
        wait->winner = source;
        if (wait->held_count > 1)
            /* ours is still counted: the task cannot become ready in here */
            withdraw_others(wait, source);
    }
    let_go(wait);
}

void wait_interrupt(struct wait *wait, int error)
{
    if (wait->over || !wait->interruptible)
        return;
    wait->over = true;
    wait->interruption = error;
    wait->held_count++; /* our own hold, so that the task becomes ready once and after the loop */
    withdraw_others(wait, NULL);
    let_go(wait);
}
