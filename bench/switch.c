/* P1: what a yield between two tasks costs, against a bare fcontext jump in the same run. */
#include "baseline/floor.h"
#include "report.h"

#include <greenring/greenring.h>

enum { SWITCHES = 4 * 1000 * 1000 };

static void *yield_often(void *arg)
{
    for (int count = 0; count < SWITCHES / 2; count++)
        gring_yield();
    return arg;
}

static double two_tasks(void)
{
    gring_task *one = gring_spawn(yield_often, NULL), *two = gring_spawn(yield_often, NULL);
    double start = bench_now_ns();

    gring_join(one, NULL);
    gring_join(two, NULL);
    return (bench_now_ns() - start) / SWITCHES;
}

static void *jump_from;

static void bounce(struct transfer transfer)
{
    for (;;)
        transfer = jump_fcontext(transfer.context, NULL);
}

static double bare_jump(void)
{
    static char stack[64 * 1024] __attribute__((aligned(64)));
    void *other = make_fcontext(stack + sizeof stack, sizeof stack, bounce);
    double start = bench_now_ns();

    for (int count = 0; count < SWITCHES / 2; count++)
        other = jump_fcontext(other, jump_from).context;
    return (bench_now_ns() - start) / SWITCHES;
}

static void floor_yielder(struct transfer unused)
{
    (void)unused;
    for (int count = 0; count < SWITCHES / 2; count++)
        floor_yield();
    floor_end(NULL);
}

static double floor_yields(void)
{
    struct floor_task *other = floor_spawn(floor_yielder);
    double start = bench_now_ns();

    for (int count = 0; count < SWITCHES / 2; count++)
        floor_yield();
    floor_collect(other);
    return (bench_now_ns() - start) / SWITCHES;
}

static void *measure(void *arg)
{
    const struct comparison jump = {
        "yield between two tasks", "a bare fcontext jump", two_tasks, bare_jump, 3.2, 0
    };
    const struct comparison floor = {
        "yield between two tasks", "the floor's: fcontext and a FIFO", two_tasks, floor_yields, 0, 0
    };

    floor_open(2);
    bench_compare(&jump);
    bench_compare(&floor);
    return arg;
}

int main(void)
{
    return gring_run(measure, NULL, NULL);
}
