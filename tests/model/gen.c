/*
 * Generators: a random program in which a task and a few generators ask one another for items,
 * fail, free one another early, and go round it all by the bare switches and throws of
 * coroutines; and a predictor that says who runs next and what each call gives.
 *
 * Nobody frees a generator that somebody else is asking or freeing: that is forbidden.
 */
#include "tests/model/choices.h"

#include <errno.h>
#include <greenring/co.h>
#include <greenring/greenring.h>

enum { GENS = 7, ROOT = 0 /* the task's own coroutine */, NOBODY = GENS, OPEN_MAX = 3, CODES = 5 };

enum state { UNUSED, NEW, SUSPENDED, RUNNING, ENDED };

enum opened { DEADLINE, SHIELD };

static struct twin_gen {
    gring_gen *handle;
    gring_co *co; /* NULL: it has not begun */
    enum state state;
    unsigned parent;
    unsigned users; /* who are in a call about it */
    unsigned frees; /* whom it frees just now, or NOBODY */
    bool is_freed;
    bool has_item; /* handed out, not taken */
    void *item;
    int failure;
    unsigned open_count;
    enum opened open[OPEN_MAX];
    gring_timeout timeouts[OPEN_MAX];
} twins[GENS];

static struct {
    unsigned running;
    void *value; /* what a switch gives the running one, unless it is no promise, */
    bool any_value;
    int outcome; /* and with this */
    bool killed;
    uintptr_t last_value;
} twin;

static struct choices *bytes;

/* ---- the predictor --------------------------------------------------------------------------- */

static bool encloses(unsigned outer, unsigned inner)
{
    while (inner != NOBODY && inner != outer)
        inner = twins[inner].parent;
    return inner != NOBODY;
}

static int predicted_interruption(void)
{
    bool shielded = false, expired = false;

    for (unsigned gen = twin.running; gen != NOBODY; gen = twins[gen].parent)
        for (unsigned index = twins[gen].open_count; index > 0; index--) {
            expired |= twins[gen].open[index - 1] == DEADLINE && !shielded;
            shielded |= twins[gen].open[index - 1] == SHIELD;
        }
    if (twin.killed && !shielded)
        return ECANCELED;
    return expired ? ETIMEDOUT : 0;
}

static bool must_go_on_freeing(unsigned gen)
{
    unsigned freed = twins[gen].frees;

    return freed != NOBODY && twins[freed].state == SUSPENDED;
}

static void predict_arrival(unsigned to, void *value, int outcome)
{
    if (twins[twin.running].state == RUNNING)
        twins[twin.running].state = SUSPENDED;
    while (twins[to].state == ENDED || (outcome && twins[to].state == NEW)) {
        twins[to].state = ENDED;
        to = twins[to].parent;
    }
    twin.any_value = false;
    while (must_go_on_freeing(to)) {
        twins[twins[to].frees].parent = to;
        to = twins[to].frees;
        twin.any_value = true;
        outcome = 0;
    }
    twins[to].state = RUNNING;
    twin.running = to;
    twin.value = value;
    twin.outcome = outcome;
}

/* To a generator, by who asks it or frees it. */
static void predict_resumption(unsigned by, unsigned gen)
{
    twins[gen].parent = by;
    predict_arrival(gen, NULL, 0);
    twin.any_value = true;
}

/* ---- what is true ---------------------------------------------------------------------------- */

static void check_state(const struct twin_gen *gen)
{
    static const gring_co_state states[] = {
        [SUSPENDED] = GRING_CO_SUSPENDED, [RUNNING] = GRING_CO_RUNNING, [ENDED] = GRING_CO_ENDED
    };

    if (gen->state == UNUSED || !gen->co)
        return;
    MUST(gring_co_status(gen->co) == states[gen->state]);
    if (gen != &twins[ROOT])
        MUST(gring_co_parent(gen->co) == twins[gen->parent].co);
}

static void check_all(void)
{
    MUST(gring_co_self() == twins[twin.running].co);
    MUST(gring_cancelled() == predicted_interruption());
    for (unsigned gen = 0; gen < GENS; gen++)
        check_state(&twins[gen]);
}

/* ---- bare switches --------------------------------------------------------------------------- */

static void *new_value(void)
{
    return (void *)++twin.last_value;
}

static bool is_there(unsigned gen)
{
    return twins[gen].state != UNUSED;
}

static unsigned choose_one(void)
{
    unsigned gen = choose(bytes, GENS);

    while (!is_there(gen))
        gen = (gen + 1) % GENS;
    return gen;
}

static void must_arrive(unsigned me, int outcome, const void *value)
{
    MUST(twin.running == me);
    MUST(outcome == twin.outcome);
    MUST(value == twin.value || twin.any_value);
}

static void switch_to(unsigned me, unsigned to)
{
    void *value = new_value(), *out = NULL;
    int outcome;

    if (!twins[to].co)
        return;
    if (twins[to].state == ENDED) {
        MUST(gring_co_switch(twins[to].co, value, &out) == -1 && errno == ESRCH);
        return;
    }
    predict_arrival(to, value, 0);
    outcome = gring_co_switch(twins[to].co, value, &out);
    must_arrive(me, outcome, out);
}

static void throw_to(unsigned me, unsigned to)
{
    int code = 1 + (int)choose(bytes, CODES), outcome;
    void *out = NULL;

    if (!twins[to].co || twins[to].state == ENDED)
        return;
    predict_arrival(to, NULL, code);
    outcome = gring_co_throw(twins[to].co, code, &out);
    must_arrive(me, outcome, out);
}

/* ---- generators ------------------------------------------------------------------------------ */

static void live(gring_gen *handle, void *arg);

static void make(unsigned me)
{
    unsigned gen = 0;

    while (gen < GENS && is_there(gen))
        gen++;
    if (gen == GENS)
        return;
    twins[gen] = (struct twin_gen){ .state = NEW, .parent = me, .frees = NOBODY };
    twins[gen].handle = gring_gen_new(live, &twins[gen]);
    MUST(twins[gen].handle != NULL);
}

static void must_refuse(unsigned gen)
{
    bool busy = twins[gen].state != ENDED;
    int result = gring_gen_next(twins[gen].handle, NULL);

    MUST(busy ? result == -1 && errno == EBUSY : result == 0);
}

static void must_be_next(struct twin_gen *gen, int result, int error, const void *item)
{
    if (twin.outcome) {
        MUST(result == -1 && error == twin.outcome);
    } else if (gen->has_item) {
        gen->has_item = false;
        MUST(result == 1 && item == gen->item);
    } else if (gen->state == ENDED) {
        MUST(result == 0);
    } else {
        MUST(result == -1 && error == EINTR);
    }
}

static void ask(unsigned me, unsigned one)
{
    struct twin_gen *gen = &twins[one];
    void *item = NULL;
    int result;

    if (one == ROOT || gen->is_freed)
        return;
    if (gen->state == ENDED || encloses(one, me)) {
        must_refuse(one);
        return;
    }
    gen->users++;
    gen->has_item = false;
    predict_resumption(me, one);
    result = gring_gen_next(gen->handle, &item);
    MUST(twin.running == me);
    must_be_next(gen, result, errno, item);
    gen->users--;
}

static int predicted_yield(const struct twin_gen *gen)
{
    return gen->is_freed ? ECANCELED : twin.outcome;
}

static void yield(unsigned me)
{
    struct twin_gen *gen = &twins[me];
    void *item = new_value();
    int result;

    if (me == ROOT)
        return;
    if (!gen->is_freed) {
        gen->has_item = true;
        gen->item = item;
        predict_arrival(gen->parent, NULL, 0);
    }
    result = gring_gen_yield(gen->handle, item);
    MUST(twin.running == me);
    MUST(result == (predicted_yield(gen) ? -1 : 0));
    MUST(result == 0 || errno == predicted_yield(gen));
}

static void yield_for_another(unsigned me, unsigned one)
{
    if (one != me && one != ROOT)
        MUST(gring_gen_yield(twins[one].handle, NULL) == -1 && errno == EPERM);
}

static void forget(unsigned gen)
{
    twins[gen].state = UNUSED;
    for (unsigned child = 0; child < GENS; child++)
        if (is_there(child) && twins[child].parent == gen)
            twins[child].parent = twins[gen].parent;
}

static void free_one(unsigned me, unsigned one)
{
    struct twin_gen *gen = &twins[one];

    if (one == ROOT || gen->users || gen->is_freed || (gen->state != ENDED && encloses(one, me)))
        return;
    gen->is_freed = true;
    twins[me].frees = one;
    if (gen->state == SUSPENDED)
        predict_resumption(me, one);
    gring_gen_free(gen->handle);
    twins[me].frees = NOBODY;
    MUST(twin.running == me);
    MUST(gen->state == ENDED || gen->state == NEW);
    forget(one);
}

/* ---- what is around them --------------------------------------------------------------------- */

static void open_one(struct twin_gen *gen)
{
    if (gen->open_count == OPEN_MAX)
        return;
    gen->open[gen->open_count] = choose(bytes, 2) ? SHIELD : DEADLINE;
    if (gen->open[gen->open_count] == SHIELD)
        gring_shield_enter();
    else
        MUST(gring_timeout_start(&gen->timeouts[gen->open_count], 0) == 0);
    gen->open_count++;
}

static void close_one(struct twin_gen *gen)
{
    if (!gen->open_count)
        return;
    gen->open_count--;
    if (gen->open[gen->open_count] == SHIELD)
        gring_shield_leave();
    else
        MUST(gring_timeout_stop(&gen->timeouts[gen->open_count]) >= 0);
}

static void close_all(struct twin_gen *gen)
{
    while (gen->open_count)
        close_one(gen);
}

static void change_kill(void)
{
    if (twin.killed)
        MUST(gring_uncancel() == 1);
    else
        MUST(gring_kill(gring_self()) == 0);
    twin.killed = !twin.killed;
}

/* In a generator of any depth it is the consumer's task that waits. */
static void wait(void)
{
    int error = predicted_interruption(), result = gring_yield();

    MUST(error ? result == -1 && errno == error : result == 0);
}

static void fail(unsigned me)
{
    if (me == ROOT)
        return; /* its code would be the task's */
    twins[me].failure = 1 + (int)choose(bytes, CODES);
    gring_fail(twins[me].failure);
}

/* ---- the random program ---------------------------------------------------------------------- */

enum {
    ASK,
    ASK_TOO,
    ASK_AGAIN,
    YIELD,
    YIELD_TOO,
    YIELD_AGAIN,
    MAKE,
    MAKE_TOO,
    FREE_ONE,
    RETURN,
    FAIL,
    SWITCH,
    THROW,
    YIELD_FOR_ANOTHER,
    OPEN,
    CLOSE,
    KILL,
    WAIT,
    STEPS
};

static void step_with_another(unsigned me, unsigned what, unsigned one)
{
    if (what <= ASK_AGAIN)
        ask(me, one);
    else if (what == FREE_ONE)
        free_one(me, one);
    else if (what == SWITCH)
        switch_to(me, one);
    else if (what == THROW)
        throw_to(me, one);
    else
        yield_for_another(me, one);
}

static void step(unsigned me, unsigned what)
{
    switch (what) {
    case YIELD:
    case YIELD_TOO:
    case YIELD_AGAIN:
        yield(me);
        return;
    case MAKE:
    case MAKE_TOO:
        make(me);
        return;
    case FAIL:
        fail(me);
        return;
    case OPEN:
        open_one(&twins[me]);
        return;
    case CLOSE:
        close_one(&twins[me]);
        return;
    case KILL:
        change_kill();
        return;
    case WAIT:
        wait();
        return;
    case RETURN:
        return;
    default:
        step_with_another(me, what, choose_one());
    }
}

/* Has the generator's function returned? At the end of the program all go on to the root. */
static bool take_a_step(unsigned me)
{
    unsigned what;

    check_all();
    if (!choices_left(bytes)) {
        close_all(&twins[me]);
        if (!twins[me].is_freed)
            switch_to(me, ROOT);
        return twins[me].is_freed;
    }
    what = choose(bytes, STEPS);
    step(me, what);
    return what == RETURN;
}

static void live(gring_gen *handle, void *arg)
{
    struct twin_gen *gen = (struct twin_gen *)arg;
    unsigned me = (unsigned)(gen - twins);

    MUST(twin.running == me && gen->handle == handle);
    gen->co = gring_co_self();
    while (!take_a_step(me))
        ;
    close_all(gen);
    gen->state = ENDED;
    predict_arrival(gen->parent, NULL, gen->failure);
}

static void close_what_others_have_open(void)
{
    for (unsigned gen = 1; gen < GENS; gen++)
        if (twins[gen].state == SUSPENDED && twins[gen].open_count)
            switch_to(ROOT, gen);
}

/* Those that are left are abandoned. */
static void *live_as_root(void *unused)
{
    (void)unused;
    twins[ROOT].co = gring_co_self();
    while (choices_left(bytes)) {
        check_all();
        step(ROOT, choose(bytes, STEPS));
    }
    check_all();
    close_all(&twins[ROOT]);
    close_what_others_have_open();
    if (twin.killed)
        change_kill();
    check_all();
    return NULL;
}

MODEL(gen)
{
    gring_config config = GRING_CONFIG_INIT;

    config.flags = GRING_RUN_FAKETIME;
    bytes = choices;
    for (unsigned gen = 0; gen < GENS; gen++)
        twins[gen] = (struct twin_gen){ .parent = NOBODY, .frees = NOBODY };
    twins[ROOT].state = RUNNING;
    twin.running = ROOT;
    twin.killed = false;
    MUST(gring_run_with(&config, live_as_root, NULL, NULL) == 0);
}
