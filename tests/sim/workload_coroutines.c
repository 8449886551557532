/*
 * Tasks that are many frames at once: generators over generators and coroutines that sleep and
 * read, with deadlines around them, in tasks that are killed and thrown at and whose keys have
 * destructors that park. A generator's items come in order, none twice and none missing; each
 * value of a key is destroyed once, in its own task; no byte that was read is lost.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <fcntl.h>
#include <greenring/co.h>
#include <unistd.h>

enum { OWNERS_MAX = 6, STEPS_MAX = 15, ITEMS_MAX = 20, KEYS_MAX = 3, THROWN = EPROTO };
enum { CO_THROWN = ERANGE, FAILED = EDOM };

struct value {
    struct owner *owner;
    bool is_destroyed;
};

struct owner {
    gring_task *task;
    bool was_killed;
    int ends[2]; /* a pipe of its own */
    unsigned char written, read;
    struct value *values[KEYS_MAX]; /* what is set now */
    unsigned set_count, destroyed_count;
    bool had_more; /* a destructor has set another one */
};

static struct {
    struct owner owners[OWNERS_MAX];
    unsigned owner_count;
    gring_key keys[KEYS_MAX];
} * troupe;

/* ---- what a call may say --------------------------------------------------------------------- */

static bool went(const struct owner *owner, int64_t result)
{
    if (result < 0 && errno == ECANCELED)
        SIM_MUST(owner->was_killed);
    else if (result < 0 && errno != ETIMEDOUT && errno != THROWN)
        sim_excuse(errno);
    return result >= 0;
}

/* A byte into the pipe and one out: those of one owner come back in their order. */
static bool use_pipe(struct owner *owner)
{
    unsigned char byte = owner->written;

    if (!went(owner, gring_within(GRING_MS, gring_write(owner->ends[1], &byte, 1))))
        return false;
    owner->written++;
    if (!went(owner, gring_read(owner->ends[0], &byte, 1)))
        return false;
    SIM_MUST(byte == owner->read);
    owner->read++;
    return true;
}

static bool linger(struct owner *owner)
{
    switch (sim_below(3)) {
    case 0:
        return went(owner, gring_sleep(sim_duration(GRING_MS)));
    case 1:
        return use_pipe(owner);
    default:
        return went(owner, gring_yield());
    }
}

/* ---- generators ------------------------------------------------------------------------------ */

struct supply {
    struct owner *owner;
    gring_gen *gen, *from; /* from: NULL, or whose items it hands on */
    intptr_t given, wanted;
    bool fails, is_over, was_freed;
};

static bool hand_out(struct supply *supply)
{
    supply->given++;
    if (gring_gen_yield(supply->gen, (void *)supply->given) == 0)
        return true;
    SIM_MUST(errno == ECANCELED && supply->was_freed);
    return false;
}

/* Is there another one? Whatever interrupts meanwhile, the count goes on. */
static bool has_next(struct supply *supply)
{
    void *item;
    int result;

    if (supply->given == supply->wanted)
        return false;
    if (!supply->from) {
        linger(supply->owner);
        return true;
    }
    result = gring_gen_next(supply->from, &item);
    SIM_MUST(result == 0 || result == 1 || errno == FAILED);
    SIM_MUST(result != 1 || (intptr_t)item == supply->given + 1);
    return result == 1;
}

static void supply_items(gring_gen *gen, void *arg)
{
    struct supply *supply = arg;

    SIM_MUST(gen == supply->gen);
    while (has_next(supply) && hand_out(supply))
        ;
    supply->is_over = true;
    if (supply->fails)
        (void)gring_fail(FAILED);
}

static struct supply *new_supply(struct owner *owner, struct supply *from)
{
    struct supply *supply = sim_alloc(sizeof *supply);

    *supply = (struct supply){ .owner = owner,
                               .wanted = (intptr_t)sim_below(ITEMS_MAX),
                               .from = from ? from->gen : NULL,
                               .fails = sim_chance(200) };
    supply->gen = gring_gen_new(supply_items, supply);
    return went(owner, supply->gen ? 0 : -1) ? supply : NULL;
}

static void consume(struct supply *supply)
{
    intptr_t taken = 0;
    void *item;
    int result;

    while ((result = gring_gen_next(supply->gen, &item)) == 1) {
        SIM_MUST((intptr_t)item == ++taken);
        if (sim_chance(100) || !linger(supply->owner))
            return;
    }
    SIM_MUST(supply->is_over && taken == supply->given);
    SIM_MUST(supply->fails ? result < 0 && errno == FAILED : result == 0);
    SIM_MUST(gring_gen_next(supply->gen, &item) == 0);
}

static void free_supply(struct supply *supply)
{
    if (!supply)
        return;
    supply->was_freed = true;
    gring_gen_free(supply->gen);
    SIM_MUST(supply->is_over || supply->given == 0);
}

static void use_generators(struct owner *owner)
{
    struct supply *inner = new_supply(owner, NULL);
    struct supply *outer = inner && sim_chance(500) ? new_supply(owner, inner) : NULL;

    if (inner)
        consume(outer ? outer : inner);
    free_supply(outer);
    free_supply(inner);
}

/* ---- coroutines ------------------------------------------------------------------------------ */

struct act {
    struct owner *owner;
    gring_co *caller;
    intptr_t turns;
};

/* Adds one to what it gets, until it is thrown at. */
static void *add_one(void *in)
{
    struct act *act = in;
    void *out = NULL;
    int code;

    do {
        linger(act->owner);
        out = (void *)((intptr_t)out + 1);
        code = gring_co_switch(act->caller, out, &out);
    } while (code == 0);
    SIM_MUST(code == CO_THROWN);
    linger(act->owner);
    return gring_fail(FAILED);
}

static void end_act(struct act *act, gring_co *co)
{
    void *out;

    if (sim_chance(300)) {
        SIM_MUST(gring_co_free(co) == 0); /* suspended, or it never began */
        return;
    }
    SIM_MUST(gring_co_throw(co, CO_THROWN, &out) == (act->turns ? FAILED : CO_THROWN));
    SIM_MUST(gring_co_status(co) == GRING_CO_ENDED);
    SIM_MUST(gring_co_free(co) == 0);
}

static void use_coroutine(struct owner *owner)
{
    struct act act = { .owner = owner, .caller = gring_co_self() };
    gring_co *co = act.caller ? gring_co_new(add_one, NULL, 0) : NULL;
    void *in = &act, *out;

    if (!went(owner, co ? 0 : -1))
        return;
    for (intptr_t turns = (intptr_t)sim_below(5); act.turns < turns; act.turns++) {
        SIM_MUST(gring_co_switch(co, in, &out) == 0);
        SIM_MUST((intptr_t)out == (act.turns ? (intptr_t)in : 0) + 1);
        in = (void *)(intptr_t)sim_below(1000);
    }
    end_act(&act, co);
}

/* ---- locals ---------------------------------------------------------------------------------- */

static struct value *new_value(struct owner *owner)
{
    struct value *value = sim_alloc(sizeof *value);

    value->owner = owner;
    return value;
}

/* Parks, and is not interrupted; sometimes there is more to destroy. */
static void destroy(void *arg)
{
    struct value *value = arg;
    struct owner *owner = value->owner;

    SIM_MUST(!value->is_destroyed && gring_self() == owner->task);
    value->is_destroyed = true;
    owner->destroyed_count++;
    SIM_MUST(gring_sleep(sim_duration(GRING_MS)) == 0);
    if (!owner->had_more && sim_chance(100)) {
        owner->had_more = true;
        owner->set_count += went(owner, gring_key_set(troupe->keys[0], new_value(owner)));
    }
}

static void use_locals(struct owner *owner)
{
    unsigned index = (unsigned)sim_below(KEYS_MAX);
    struct value *value = new_value(owner);

    SIM_MUST(gring_key_get(troupe->keys[index]) == owner->values[index]);
    if (!went(owner, gring_key_set(troupe->keys[index], value)))
        return;
    owner->set_count += !owner->values[index]; /* what it replaces is not destroyed */
    owner->values[index] = value;
}

/* ---- owners ---------------------------------------------------------------------------------- */

static void step(struct owner *owner)
{
    switch (sim_below(5)) {
    case 0:
        use_locals(owner);
        break;
    case 1:
    case 2:
        use_coroutine(owner);
        break;
    default:
        use_generators(owner);
    }
}

static void *own(void *arg)
{
    struct owner *owner = arg;
    unsigned steps = (unsigned)sim_size(STEPS_MAX);

    while (steps-- > 0) {
        if (sim_chance(300))
            gring_uncancel();
        if (sim_chance(300))
            gring_within_do(sim_duration(10 * GRING_MS)) step(owner);
        else
            step(owner);
    }
    if (sim_chance(100))
        gring_exit(NULL);
    return NULL;
}

static void *strike(void *unused)
{
    while (gring_sleep(sim_duration(10 * GRING_MS)) == 0) {
        struct owner *owner = &troupe->owners[sim_below(troupe->owner_count)];

        if (sim_chance(500)) {
            gring_throw(owner->task, THROWN);
        } else {
            owner->was_killed = true;
            gring_kill(owner->task);
        }
    }
    return unused;
}

static void begin_owners(void)
{
    for (uint64_t count = sim_between(1, OWNERS_MAX); count > 0; count--) {
        struct owner *owner = &troupe->owners[troupe->owner_count];

        SIM_MUST(pipe2(owner->ends, O_CLOEXEC) == 0);
        owner->task = gring_spawn(own, owner);
        if (owner->task) {
            troupe->owner_count++;
            continue;
        }
        sim_excuse(errno);
        SIM_MUST(gring_close(owner->ends[0]) == 0 && gring_close(owner->ends[1]) == 0);
    }
}

static void await_owners(void)
{
    for (unsigned index = 0; index < troupe->owner_count; index++) {
        struct owner *owner = &troupe->owners[index];

        SIM_MUST(gring_join(owner->task, NULL) >= 0);
        SIM_MUST(owner->destroyed_count == owner->set_count);
        SIM_MUST(gring_close(owner->ends[0]) == 0 && gring_close(owner->ends[1]) == 0);
    }
}

SIM_WORKLOAD(coroutines, SIM_NO_MEMORY)
{
    gring_task *striker;

    troupe = sim_alloc(sizeof *troupe);
    for (unsigned index = 0; index < KEYS_MAX; index++)
        SIM_MUST(gring_key_create(&troupe->keys[index], destroy, 0) == 0);
    begin_owners();
    striker = troupe->owner_count && sim_chance(700) ? gring_spawn(strike, NULL) : NULL;
    gring_sleep(sim_chance(500) ? GRING_SEC : sim_duration(GRING_SEC));
    if (striker) {
        gring_kill(striker);
        gring_join(striker, NULL);
    }
    await_owners();
    for (unsigned index = 0; index < KEYS_MAX; index++)
        SIM_MUST(gring_key_delete(troupe->keys[index]) == 0);
}
