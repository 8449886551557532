/*
 * Coroutines: a random program of switches, throws, ends, deadlines and shields among a few of
 * them, and a predictor that says who runs next, what it gets there, and what a waiting call would
 * be told.
 *
 * The predictor knows the promise of greenring/co.h only. It finds out what encloses a coroutine
 * by walking outwards: through what that one has opened, innermost first, then through what its
 * parent has.
 */
#include "tests/model/choices.h"

#include <errno.h>
#include <greenring/co.h>
#include <greenring/greenring.h>

enum { COS = 8, ROOT = 0, NOBODY = COS, OPEN_MAX = 4, CODES = 5 };

enum state { FREE, NEW, SUSPENDED, RUNNING, ENDED };

/* What a coroutine may have open: a deadline that has passed, or a shield. */
enum opened { DEADLINE, SHIELD };

static struct twin_co {
    gring_co *handle;
    enum state state;
    unsigned parent; /* NOBODY: of the root */
    int failure;     /* with which it will end */
    unsigned open_count;
    enum opened open[OPEN_MAX];
    gring_timeout timeouts[OPEN_MAX];
} twins[COS];

static struct {
    unsigned running;
    void *value; /* which the running one gets, */
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

    for (unsigned co = twin.running; co != NOBODY; co = twins[co].parent)
        for (unsigned index = twins[co].open_count; index > 0; index--) {
            expired |= twins[co].open[index - 1] == DEADLINE && !shielded;
            shielded |= twins[co].open[index - 1] == SHIELD;
        }
    if (twin.killed && !shielded)
        return ECANCELED;
    return expired ? ETIMEDOUT : 0;
}

static void predict_arrival(unsigned to, void *value, int outcome)
{
    while (twins[to].state == ENDED || (outcome && twins[to].state == NEW)) {
        twins[to].state = ENDED;
        to = twins[to].parent;
    }
    if (twins[twin.running].state == RUNNING)
        twins[twin.running].state = SUSPENDED;
    twins[to].state = RUNNING;
    twin.running = to;
    twin.value = value;
    twin.outcome = outcome;
}

/* ---- what is true ---------------------------------------------------------------------------- */

static void check_state(unsigned co)
{
    static const gring_co_state states[] = { [NEW] = GRING_CO_NEW,
                                             [SUSPENDED] = GRING_CO_SUSPENDED,
                                             [RUNNING] = GRING_CO_RUNNING,
                                             [ENDED] = GRING_CO_ENDED };

    if (twins[co].state == FREE)
        return;
    MUST(gring_co_status(twins[co].handle) == states[twins[co].state]);
    MUST(gring_co_parent(twins[co].handle) == (co == ROOT ? NULL : twins[twins[co].parent].handle));
}

static void check_all(void)
{
    MUST(gring_co_self() == twins[twin.running].handle);
    MUST(gring_cancelled() == predicted_interruption());
    for (unsigned co = 0; co < COS; co++)
        check_state(co);
}

static void arrive(unsigned me, int outcome, const void *value)
{
    MUST(twin.running == me);
    MUST(twin.outcome == outcome);
    MUST(twin.value == value);
}

/* ---- steps of the random program ------------------------------------------------------------- */

static void *new_value(void)
{
    return (void *)++twin.last_value;
}

static unsigned choose_one(void)
{
    unsigned co = choose(bytes, COS);

    while (twins[co].state == FREE)
        co = (co + 1) % COS;
    return co;
}

static void switch_to(unsigned me, unsigned to)
{
    void *value = new_value(), *out = NULL;
    int outcome;

    if (twins[to].state == ENDED) {
        MUST(gring_co_switch(twins[to].handle, value, &out) == -1 && errno == ESRCH);
        return;
    }
    predict_arrival(to, value, 0);
    outcome = gring_co_switch(twins[to].handle, value, &out);
    arrive(me, outcome, out);
}

static void throw_to(unsigned me, unsigned to)
{
    int code = 1 + (int)choose(bytes, CODES), outcome;
    void *out = NULL;

    if (twins[to].state == ENDED) {
        MUST(gring_co_throw(twins[to].handle, code, &out) == -1 && errno == ESRCH);
        return;
    }
    predict_arrival(to, NULL, code);
    outcome = gring_co_throw(twins[to].handle, code, &out);
    arrive(me, outcome, out);
}

static void *live(void *value);

static void make(void)
{
    unsigned co = 0, parent = choose_one();

    while (co < COS && twins[co].state != FREE)
        co++;
    if (co == COS)
        return;
    twins[co] = (struct twin_co){ .state = NEW, .parent = parent };
    twins[co].handle = gring_co_new(live, twins[parent].handle, 64 * 1024);
    MUST(twins[co].handle != NULL);
}

static void change_parent(unsigned co, unsigned parent)
{
    int result = gring_co_set_parent(twins[co].handle, twins[parent].handle);

    if (co == ROOT || encloses(co, parent)) {
        MUST(result == -1 && errno == EINVAL);
        return;
    }
    MUST(result == 0);
    twins[co].parent = parent;
}

static void free_one(unsigned co)
{
    bool busy = twins[co].open_count || (twins[co].state != ENDED && encloses(co, twin.running));
    int result = gring_co_free(twins[co].handle);

    if (busy) {
        MUST(result == -1 && errno == EBUSY);
        return;
    }
    MUST(result == 0);
    twins[co].state = FREE;
    for (unsigned child = 0; child < COS; child++)
        if (twins[child].state != FREE && twins[child].parent == co)
            twins[child].parent = twins[co].parent;
}

static void open_one(struct twin_co *co)
{
    if (co->open_count == OPEN_MAX)
        return;
    co->open[co->open_count] = choose(bytes, 2) ? SHIELD : DEADLINE;
    if (co->open[co->open_count] == SHIELD)
        gring_shield_enter();
    else
        MUST(gring_timeout_start(&co->timeouts[co->open_count], 0) == 0);
    co->open_count++;
}

static void close_one(struct twin_co *co)
{
    if (!co->open_count)
        return;
    co->open_count--;
    if (co->open[co->open_count] == SHIELD)
        gring_shield_leave();
    else
        MUST(gring_timeout_expired(&co->timeouts[co->open_count]) &&
             gring_timeout_stop(&co->timeouts[co->open_count]) >= 0);
}

static void change_kill(void)
{
    if (twin.killed)
        MUST(gring_uncancel() == 1);
    else
        MUST(gring_kill(gring_self()) == 0);
    twin.killed = !twin.killed;
}

static void fail(unsigned me)
{
    if (me == ROOT)
        return; /* its code would be the task's */
    twins[me].failure = 1 + (int)choose(bytes, CODES);
    gring_fail(twins[me].failure);
}

enum { SWITCH, SWITCH_TOO, THROW, RETURN, MAKE, PARENT, FREE_ONE, OPEN, CLOSE, KILL, FAIL, STEPS };

static void step(unsigned me, unsigned what)
{
    unsigned one = what <= FREE_ONE ? choose_one() : me, other;

    if (what == SWITCH || what == SWITCH_TOO) {
        switch_to(me, one);
    } else if (what == THROW) {
        throw_to(me, one);
    } else if (what == MAKE) {
        make();
    } else if (what == PARENT) {
        other = choose_one();
        change_parent(one, other);
    } else if (what == FREE_ONE) {
        free_one(one);
    } else if (what == OPEN) {
        open_one(&twins[me]);
    } else if (what == CLOSE) {
        close_one(&twins[me]);
    } else if (what == KILL) {
        change_kill();
    } else if (what == FAIL) {
        fail(me);
    }
}

static void close_all(unsigned me)
{
    while (twins[me].open_count)
        close_one(&twins[me]);
}

/* A coroutine's function: steps until it returns; at the end of the program to the root. */
static void *live(void *value)
{
    unsigned me = twin.running;
    unsigned what;

    arrive(me, 0, value);
    for (;;) {
        check_all();
        if (!choices_left(bytes)) {
            close_all(me);
            switch_to(me, ROOT);
            continue;
        }
        what = choose(bytes, STEPS);
        if (what == RETURN)
            break;
        step(me, what);
    }
    close_all(me);
    value = new_value();
    twins[me].state = ENDED;
    predict_arrival(twins[me].parent, value, twins[me].failure);
    return value;
}

static void close_what_others_have_open(void)
{
    for (unsigned co = 1; co < COS; co++)
        if (twins[co].state == SUSPENDED && twins[co].open_count)
            switch_to(ROOT, co);
}

static void *live_as_root(void *unused)
{
    (void)unused;
    twins[ROOT].handle = gring_co_self();
    while (choices_left(bytes)) {
        check_all();
        step(ROOT, choose(bytes, STEPS));
    }
    check_all();
    close_all(ROOT);
    close_what_others_have_open();
    if (twin.killed)
        change_kill();
    check_all();
    return NULL;
}

MODEL(co)
{
    gring_config config = GRING_CONFIG_INIT;

    config.flags = GRING_RUN_FAKETIME;
    bytes = choices;
    for (unsigned co = 0; co < COS; co++)
        twins[co] = (struct twin_co){ .state = FREE, .parent = NOBODY };
    twins[ROOT].state = RUNNING;
    twin.running = ROOT;
    twin.killed = false;
    MUST(gring_run_with(&config, live_as_root, NULL, NULL) == 0);
}
