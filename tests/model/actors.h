/*
 * For models of objects at which tasks meet: a few actors, each a task that carries out one order
 * after the other, and a twin of the object that says what must come of each.
 *
 * The main task gives orders, calls what never waits by itself, interrupts actors, and lets the
 * standing clock go on. Sometimes it does several of these before anybody runs: so actors are
 * struck when they have been served and do not know it yet. Then everybody runs until nobody can,
 * and is compared with the twin: who waits, what each call returned, in which order those who
 * waited came back.
 *
 * The twin keeps who waits in one array, in the order of arrival. A model is a struct model.
 */
#ifndef TESTS_MODEL_ACTORS_H
#define TESTS_MODEL_ACTORS_H

#include "tests/model/choices.h"

#include <errno.h>
#include <greenring/debug.h>
#include <greenring/greenring.h>
#include <string.h>

enum { ACTORS = 6, MAIN = ACTORS, BACK_MAX = 64 };

struct order {
    unsigned what, amount;
    gring_ns patience; /* 0: any */
};

struct model {
    unsigned what_count, amount_limit;
    /* Both begin anew. */
    void (*prepare)(struct choices *choices);
    /* By that actor. On the module; what it returned: 0, more, or -1 and errno. */
    int (*call)(unsigned actor, const struct order *order);
    /* On the twin: true, and what the call returns (-errno), or false: it waits, by twin_wait. */
    bool (*twin)(unsigned actor, const struct order *order, int *result);
    /* The twin's waiter is interrupted: leaves the queue, if it may be. NULL: none may be. */
    void (*interrupt)(unsigned actor, int error);
    bool (*never_waits)(unsigned what);
    /* May the actor, who is free, be given this? NULL: anything. */
    bool (*allows)(unsigned actor, unsigned what);
    /* At the end, by who is free: the order that lets others go on; false: nothing is left. NULL */
    bool (*ends_by)(unsigned actor, struct order *order);
    /* Whatever else must hold when everybody has run. NULL */
    void (*agrees)(void);
};

static const struct model *model;

/* ---- the actors ------------------------------------------------------------------------------ */

static struct actor {
    gring_task *task;
    struct order order;
    bool has_order, leaves;
    bool is_struck; /* interrupted, and has not run since */
    int result;
} actors[ACTORS + 1];

struct row {
    unsigned count, actors[BACK_MAX];
};

static struct row back; /* who came back without an error, in order */

static void row_add(struct row *row, unsigned actor, int result)
{
    if (result < 0)
        return;
    MUST(row->count < BACK_MAX);
    row->actors[row->count++] = actor;
}

static int carry_out(unsigned number)
{
    const struct order *order = &actors[number].order;
    int result = order->patience ? gring_within(order->patience, model->call(number, order))
                                 : model->call(number, order);

    return result < 0 ? -errno : result;
}

static void *act(void *arg)
{
    struct actor *actor = (struct actor *)arg;

    for (;;) {
        while (!actor->has_order && !actor->leaves)
            gring_park(NULL); /* a throw that came too late ends here */
        if (actor->leaves)
            return NULL;
        actor->result = carry_out((unsigned)(actor - actors));
        actor->has_order = false;
        gring_uncancel();
        row_add(&back, (unsigned)(actor - actors), actor->result);
    }
}

/* ---- the twin's side ------------------------------------------------------------------------- */

static struct place {
    unsigned actor, queue, amount;
} places[ACTORS]; /* who waits, in the order of arrival */
static unsigned place_count;
static int twin_result[ACTORS];
static gring_ns twin_deadline[ACTORS]; /* 0: none */
static unsigned twin_armed[ACTORS];    /* when: equal deadlines pass in this order */
static unsigned armed_count;
static struct row twin_back; /* of those, who had waited */
static gring_ns twin_now;
static gring_ns twin_passed; /* the deadline that interrupts somebody now, or 0 */

static struct place *twin_place(unsigned actor)
{
    for (unsigned index = 0; index < place_count; index++)
        if (places[index].actor == actor)
            return &places[index];
    return NULL;
}

/* The first in that queue. */
static __attribute__((unused)) struct place *twin_first(unsigned queue)
{
    for (unsigned index = 0; index < place_count; index++)
        if (places[index].queue == queue)
            return &places[index];
    return NULL;
}

static __attribute__((unused)) void twin_wait(unsigned actor, unsigned queue, unsigned amount)
{
    places[place_count++] = (struct place){ actor, queue, amount };
}

static void twin_leave(unsigned actor)
{
    struct place *place = twin_place(actor);

    MUST(place);
    memmove(place, place + 1, (size_t)(&places[--place_count] - place) * sizeof *place);
}

/* It goes on, with that result of its call. */
static void twin_return(unsigned actor, int result)
{
    twin_leave(actor);
    twin_result[actor] = result;
    twin_deadline[actor] = 0;
    row_add(&twin_back, actor, result);
}

/* ---- comparing ------------------------------------------------------------------------------- */

static void settle(void)
{
    MUST(gring_idle() == 0);
    for (unsigned number = 0; number < ACTORS; number++)
        actors[number].is_struck = false;
}

/* Who was interrupted, and whom that let in, come back in either order. */
static void compare_order(void)
{
    unsigned next = 0;

    for (unsigned index = 0; index < twin_back.count; index++, next++) {
        while (next < back.count && back.actors[next] != twin_back.actors[index])
            next++;
        MUST(next < back.count);
    }
    back.count = twin_back.count = 0;
}

static void compare(void)
{
    settle();
    for (unsigned number = 0; number < ACTORS; number++) {
        MUST(actors[number].has_order == (twin_place(number) != NULL));
        MUST(actors[number].has_order || actors[number].result == twin_result[number]);
    }
    if (model->agrees)
        model->agrees();
    compare_order();
    MUST(gring_now() == twin_now);
}

/* ---- what the main task does ----------------------------------------------------------------- */

static void give(unsigned number, const struct order *order)
{
    struct actor *actor = &actors[number];

    settle();
    if (order->patience) {
        twin_deadline[number] = twin_now + order->patience;
        twin_armed[number] = ++armed_count;
    }
    if (model->twin(number, order, &twin_result[number]))
        twin_deadline[number] = 0;
    actor->order = *order;
    actor->has_order = true;
    MUST(gring_unpark(actor->task, NULL) == 0);
    settle();
}

/* Half a step of the clock away from where it ever stands: timers are rounded up to a tick. */
static gring_ns choose_patience(struct choices *choices)
{
    unsigned steps = choose(choices, 8);

    return steps ? steps * 10 * GRING_MS - 5 * GRING_MS : 0;
}

static void give_some_order(struct choices *choices, unsigned number)
{
    struct order order = { .what = choose(choices, model->what_count) };

    order.amount = choose(choices, model->amount_limit);
    order.patience = choose_patience(choices);
    if (model->never_waits(order.what))
        order.patience = 0;
    if (!actors[number].has_order && (!model->allows || model->allows(number, order.what)))
        give(number, &order);
}

static void call_by_main(const struct order *order)
{
    int result, expected = 0;

    result = model->call(MAIN, order);
    if (result < 0)
        result = -errno;
    MUST(model->twin(MAIN, order, &expected));
    MUST(result == expected);
}

static void make_some_call(struct choices *choices)
{
    struct order order = { .what = choose(choices, model->what_count) };

    order.amount = choose(choices, model->amount_limit);
    if (model->never_waits(order.what) && (!model->allows || model->allows(MAIN, order.what)))
        call_by_main(&order);
}

static void strike(unsigned number, bool kill)
{
    struct actor *actor = &actors[number];

    if (!actor->has_order || actor->is_struck)
        return;
    actor->is_struck = true;
    if (kill)
        MUST(gring_kill(actor->task) == 0);
    else if (gring_throw(actor->task, EDOM) < 0)
        MUST(errno == EALREADY); /* the one before waits for the end of a wait for a lock */
    if (twin_place(number) && model->interrupt)
        model->interrupt(number, kill ? ECANCELED : EDOM);
}

static int next_to_expire(void)
{
    int found = -1;

    for (int number = 0; number < ACTORS; number++)
        if (twin_deadline[number] && twin_deadline[number] < twin_now &&
            (found < 0 || twin_deadline[number] < twin_deadline[found] ||
             (twin_deadline[number] == twin_deadline[found] &&
              twin_armed[number] < twin_armed[found])))
            found = number;
    return found;
}

static void let_time_pass(gring_ns duration)
{
    int number;

    compare();
    MUST(gring_test_advance(duration) == 0);
    twin_now += duration;
    while ((number = next_to_expire()) >= 0) {
        twin_passed = twin_deadline[number];
        twin_deadline[number] = 0;
        if (model->interrupt)
            model->interrupt((unsigned)number, ETIMEDOUT);
    }
    twin_passed = 0;
}

static void do_something(struct choices *choices)
{
    unsigned what = choose(choices, 12), number = choose(choices, ACTORS);

    if (what < 6)
        give_some_order(choices, number);
    else if (what < 9)
        make_some_call(choices);
    else if (what < 11)
        strike(number, what == 9);
    else
        let_time_pass((1 + choose(choices, 4)) * 10 * GRING_MS);
}

/* ---- a history ------------------------------------------------------------------------------- */

static void begin_all(struct choices *choices)
{
    memset(actors, 0, sizeof actors);
    memset(twin_result, 0, sizeof twin_result);
    memset(twin_deadline, 0, sizeof twin_deadline);
    place_count = back.count = twin_back.count = armed_count = 0;
    twin_now = gring_now();
    model->prepare(choices);
    for (unsigned number = 0; number < ACTORS; number++)
        MUST((actors[number].task = gring_spawn(act, &actors[number])) != NULL);
}

static bool let_one_go_on(void)
{
    struct order order = { 0 };

    for (unsigned number = 0; model->ends_by && number <= MAIN; number++)
        if (!actors[number].has_order && model->ends_by(number, &order)) {
            if (number == MAIN)
                call_by_main(&order);
            else
                give(number, &order);
            compare();
            return true;
        }
    return false;
}

static void end_all(void)
{
    for (unsigned number = 0; number < ACTORS; number++)
        strike(number, true);
    compare();
    while (let_one_go_on())
        ;
    MUST(place_count == 0);
    for (unsigned number = 0; number < ACTORS; number++) {
        actors[number].leaves = true;
        gring_unpark(actors[number].task, NULL);
        MUST(gring_join(actors[number].task, NULL) == 0);
    }
}

static void *play(void *arg)
{
    struct choices *choices = (struct choices *)arg;

    begin_all(choices);
    while (choices_left(choices)) {
        do_something(choices);
        if (choose(choices, 3) || back.count > BACK_MAX / 2)
            compare();
    }
    compare();
    end_all();
    return NULL;
}

static void actors_play(struct choices *choices, const struct model *of)
{
    gring_config config = GRING_CONFIG_INIT;

    config.flags = GRING_RUN_FAKETIME;
    model = of;
    MUST(gring_run_with(&config, play, choices, NULL) == 0);
}

#endif
