/* Coroutines: there and back, against two bare fcontext switches with a landing function in the
 * same run; and what a generator's item costs. */
#include "baseline/floor.h"
#include "report.h"

#include <greenring/co.h>
#include <greenring/greenring.h>

enum { ROUND_TRIPS = 1000 * 1000 };

/* ---- the bare switches ----------------------------------------------------------------------- */

static void *bare_main, *bare_other;

static struct transfer store(struct transfer transfer)
{
    *(void **)transfer.data = transfer.context;
    return transfer;
}

static __attribute__((noinline)) void bare_switch(void *to, void **from)
{
    ontop_fcontext(to, from, store);
}

static void bare_body(struct transfer unused)
{
    (void)unused;
    for (;;)
        bare_switch(bare_main, &bare_other);
}

static double bare_round_trips(void)
{
    static char stack[64 * 1024] __attribute__((aligned(64)));
    double start;

    bare_other = make_fcontext(stack + sizeof stack, sizeof stack, bare_body);
    start = bench_now_ns();
    for (int count = 0; count < ROUND_TRIPS; count++)
        bare_switch(bare_other, &bare_main);
    return (bench_now_ns() - start) / ROUND_TRIPS;
}

/* ---- ours ------------------------------------------------------------------------------------ */

static void *go_back_and_forth(void *root)
{
    for (;;)
        gring_co_switch(root, NULL, &root);
    return NULL;
}

static double round_trips(void)
{
    gring_co *co = gring_co_new(go_back_and_forth, NULL, 0), *root = gring_co_self();
    double start = bench_now_ns(), elapsed;

    for (int count = 0; count < ROUND_TRIPS; count++)
        gring_co_switch(co, root, NULL);
    elapsed = bench_now_ns() - start;
    gring_co_free(co);
    return elapsed / ROUND_TRIPS;
}

static void count_for_ever(gring_gen *gen, void *unused)
{
    (void)unused;
    for (uintptr_t count = 0; gring_gen_yield(gen, (void *)count) == 0;)
        count++;
}

static double items(void)
{
    gring_gen *gen = gring_gen_new(count_for_ever, NULL);
    double start = bench_now_ns(), elapsed;
    void *item;

    for (int count = 0; count < ROUND_TRIPS; count++)
        gring_gen_next(gen, &item);
    elapsed = bench_now_ns() - start;
    gring_gen_free(gen);
    return elapsed / ROUND_TRIPS;
}

static void *end_at_once(void *arg)
{
    return arg;
}

static double lives(void)
{
    double start = bench_now_ns();

    for (int count = 0; count < ROUND_TRIPS; count++) {
        gring_co *co = gring_co_new(end_at_once, NULL, 0);

        gring_co_switch(co, NULL, NULL);
        gring_co_free(co);
    }
    return (bench_now_ns() - start) / ROUND_TRIPS;
}

static void *measure(void *arg)
{
    const struct comparison rows[] = {
        { "coroutine, there and back", "two bare fcontext switches", round_trips, bare_round_trips,
          0, 0 },
        { "generator, an item", "two bare fcontext switches", items, bare_round_trips, 0, 0 },
        { "coroutine, its whole life", "two bare fcontext switches", lives, bare_round_trips, 0,
          0 },
    };

    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++)
        bench_compare(&rows[row]);
    return arg;
}

int main(void)
{
    return gring_run(measure, NULL, NULL);
}
