/*
 * Pools of resources, against arrays: what exists, since when, who has it.
 *
 * Actors get and put; the main task puts for them, resizes, clears, and says what becomes of
 * creating: it works, fails, or hangs until it is finished, interrupted or late. Limits of age are
 * never reached when anything else happens: timeouts end five milliseconds, ages three before
 * the steps of the clock.
 */
#include "tests/model/actors.h"

#include <greenring/pool.h>
#include <limits.h>

enum {
    GET,
    GET_TOO,
    FIRST_THAT_NEVER_WAITS,
    PUT = FIRST_THAT_NEVER_WAITS,
    PUT_BROKEN,
    FIRST_OF_MAIN,
    PUT_FOR_ANOTHER = FIRST_OF_MAIN,
    PUT_STRANGE,
    RESIZE,
    CLEAR,
    FREE_BUSY,
    FINISH,
    CHANGE_MODE,
    CHANGE_CHECK,
    WHATS,
    CLOSE = WHATS
};

enum { WAITING, CREATING /* the queues */ };
enum { RESOURCES = 2048, MAX = 4, AMOUNTS = 64, NOTHING = 0 };

static enum mode { WORKS, FAILS, HANGS } mode;
static bool check_fails;

static gring_respool *pool;
static gring_respool_opts opts;
static gring_ns began_at;

/* Number 0 is nothing. */
static struct resource {
    bool exists; /* really */
    bool twin_exists;
    gring_ns made, idle_since;
} resources[RESOURCES];
static unsigned made, twin_made;

static enum finish { NOT_YET, MAKES_ONE, MAKES_NONE } finish[ACTORS];

/* ---- what the library calls ------------------------------------------------------------------ */

static int number_of(const void *resource)
{
    return (int)((const struct resource *)resource - resources);
}

/* Between the steps of the clock nothing begins to hang: its deadline might fall on one. */
static bool is_at_a_step(gring_ns instant)
{
    return (instant - began_at) % (10 * GRING_MS) == 0;
}

static int hang(void)
{
    unsigned actor = 0;

    while (actors[actor].task != gring_self())
        actor++;
    finish[actor] = NOT_YET;
    while (finish[actor] == NOT_YET)
        if (gring_park(NULL) < 0)
            return -1;
    errno = EIO;
    return finish[actor] == MAKES_ONE ? 0 : -1;
}

static int create(void *ctx, void **resource)
{
    MUST(ctx == &pool);
    errno = EIO;
    if (mode == FAILS || (mode == HANGS && !is_at_a_step(gring_now())))
        return -1;
    if (mode == HANGS && hang() < 0)
        return -1;
    MUST(++made < RESOURCES);
    resources[made].exists = true;
    *resource = &resources[made];
    return 0;
}

static void destroy(void *ctx, void *resource)
{
    MUST(ctx == &pool);
    MUST(resources[number_of(resource)].exists);
    gring_yield();
    resources[number_of(resource)].exists = false;
}

static int check(void *ctx, void *resource)
{
    MUST(ctx == &pool && resources[number_of(resource)].exists);
    return check_fails ? -1 : 0;
}

/* ---- the twin's resources -------------------------------------------------------------------- */

static struct {
    size_t max;
    unsigned taken;                     /* rights: what is out, and what is being made */
    unsigned idle[MAX + 1], idle_count; /* in the order in which they were put */
    unsigned held_by[ACTORS];
    unsigned put_by[ACTORS]; /* the one that its call is about */
} twin_pool;

static gring_ns twin_instant(void)
{
    return twin_passed ? twin_passed : twin_now;
}

static gring_ns end_after(gring_ns start, gring_ns limit)
{
    if (limit < 0)
        return start;
    return limit ? start + limit : GRING_FOREVER;
}

static gring_ns end_of_life(unsigned resource)
{
    return end_after(resources[resource].made, opts.max_age);
}

static gring_ns due(unsigned resource)
{
    gring_ns of_idling = end_after(resources[resource].idle_since, opts.max_idle);

    return of_idling < end_of_life(resource) ? of_idling : end_of_life(resource);
}

static unsigned twin_take_idle(unsigned index)
{
    unsigned resource = twin_pool.idle[index];

    twin_pool.idle_count--;
    for (; index < twin_pool.idle_count; index++)
        twin_pool.idle[index] = twin_pool.idle[index + 1];
    return resource;
}

static void twin_destroy(unsigned resource)
{
    resources[resource].twin_exists = false;
}

/* The ages up to now: those due first go first, as long as there are more than the minimum. */
static void twin_age(void)
{
    while (twin_pool.idle_count && twin_pool.idle_count + twin_pool.taken > opts.min) {
        unsigned first = 0;

        for (unsigned index = 1; index < twin_pool.idle_count; index++)
            if (due(twin_pool.idle[index]) < due(twin_pool.idle[first]))
                first = index;
        if (due(twin_pool.idle[first]) > twin_instant())
            return;
        twin_destroy(twin_take_idle(first));
    }
}

static unsigned twin_make(void)
{
    MUST(++twin_made < RESOURCES);
    resources[twin_made].twin_exists = true;
    resources[twin_made].made = twin_instant();
    return twin_made;
}

/* An idle one that is not too old, or NOTHING. */
static unsigned twin_find_idle(void)
{
    while (twin_pool.idle_count) {
        unsigned resource = twin_take_idle(opts.fifo ? 0 : twin_pool.idle_count - 1);

        if (end_of_life(resource) > twin_instant())
            return resource;
        twin_destroy(resource);
    }
    return NOTHING;
}

/* ---- the twin's rights ----------------------------------------------------------------------- */

static bool a_right_is_free(void)
{
    return twin_pool.max > twin_pool.taken;
}

static void twin_create_hangs(unsigned actor)
{
    gring_ns late = twin_now + opts.create_timeout;

    twin_wait(actor, CREATING, 0);
    if (!opts.create_timeout || (twin_deadline[actor] && twin_deadline[actor] <= late))
        return;
    twin_deadline[actor] = late;
    twin_armed[actor] = ++armed_count;
}

/* With a right. True: that is its result. */
static bool twin_take_or_make(unsigned actor, int *result)
{
    unsigned resource = twin_find_idle();

    if (!resource && mode == HANGS && !twin_passed) {
        twin_create_hangs(actor);
        return false;
    }
    if (!resource && mode == WORKS)
        resource = twin_make();
    twin_pool.held_by[actor] = resource;
    twin_pool.taken -= !resource;
    *result = resource ? (int)resource : -EIO;
    return true;
}

static bool is_expired(unsigned actor)
{
    return twin_deadline[actor] && twin_deadline[actor] == twin_passed;
}

static struct place *first_to_serve(void)
{
    for (unsigned index = 0; index < place_count; index++)
        if (places[index].queue == WAITING && !is_expired(places[index].actor))
            return &places[index];
    return NULL;
}

static void serve(void)
{
    struct place *first;
    int result;

    while (a_right_is_free() && (first = first_to_serve()) != NULL) {
        unsigned actor = first->actor;

        twin_pool.taken++;
        twin_leave(actor);
        if (!twin_take_or_make(actor, &result))
            continue;
        twin_wait(actor, WAITING, 0); /* for a moment: it is among those who had waited */
        twin_return(actor, result);
    }
}

static bool twin_get(unsigned actor, int *result)
{
    if (!a_right_is_free()) {
        twin_wait(actor, WAITING, 0);
        return false;
    }
    twin_pool.taken++;
    return twin_take_or_make(actor, result);
}

static void twin_put(unsigned actor, bool broken)
{
    unsigned resource = twin_pool.held_by[actor];

    twin_pool.put_by[actor] = resource;
    twin_pool.held_by[actor] = NOTHING;
    twin_pool.taken--;
    if (broken || check_fails || twin_pool.taken >= twin_pool.max || opts.max_idle < 0 ||
        end_of_life(resource) <= twin_now) {
        twin_destroy(resource);
    } else {
        resources[resource].idle_since = twin_now;
        twin_pool.idle[twin_pool.idle_count++] = resource;
    }
    serve();
}

static int twin_resize(size_t max)
{
    if (!max || max < opts.min)
        return -EINVAL;
    twin_pool.max = max;
    serve();
    while (twin_pool.idle_count && twin_pool.idle_count + twin_pool.taken > max)
        twin_destroy(twin_take_idle(0));
    return 0;
}

static void twin_clear(void)
{
    while (twin_pool.idle_count)
        twin_destroy(twin_take_idle(0));
}

static void twin_finish(unsigned actor, bool makes_one)
{
    if (makes_one)
        twin_pool.held_by[actor] = twin_make();
    else
        twin_pool.taken--;
    twin_return(actor, makes_one ? (int)twin_made : -EIO);
    serve();
}

/* ---- choosing one ---------------------------------------------------------------------------- */

static bool holds(unsigned actor)
{
    return actor < ACTORS && twin_pool.held_by[actor];
}

/* Who has one, or ACTORS. */
static unsigned some_holder(unsigned which)
{
    for (unsigned turn = 0; turn < ACTORS; turn++)
        if (holds((which + turn) % ACTORS))
            return (which + turn) % ACTORS;
    return ACTORS;
}

static unsigned some_creator(unsigned which)
{
    for (unsigned turn = 0; turn < ACTORS; turn++) {
        const struct place *place = twin_place((which + turn) % ACTORS);

        if (place && place->queue == CREATING)
            return place->actor;
    }
    return ACTORS;
}

static bool is_busy(void)
{
    return twin_pool.taken || place_count;
}

/* ---- the pool -------------------------------------------------------------------------------- */

static int get(void)
{
    void *resource;
    int result = gring_respool_get(pool, &resource);

    return result < 0 ? result : number_of(resource);
}

static int put(unsigned resource, bool broken)
{
    return gring_respool_put(pool, &resources[resource], broken);
}

static int put_for_another(const struct order *order)
{
    unsigned holder = some_holder(order->amount / 2);

    return holder < ACTORS ? put(twin_pool.held_by[holder], order->amount % 2) : 0;
}

static int finish_one(const struct order *order)
{
    unsigned actor = some_creator(order->amount / 2);

    if (actor == ACTORS)
        return 0;
    finish[actor] = order->amount % 2 ? MAKES_ONE : MAKES_NONE;
    MUST(gring_unpark(actors[actor].task, NULL) == 0);
    settle();
    return 0;
}

static int close_pool(void)
{
    int result = gring_respool_free(pool);

    pool = NULL;
    return result;
}

static int call_by_main_itself(const struct order *order)
{
    switch (order->what) {
    case PUT_FOR_ANOTHER:
        return put_for_another(order);
    case PUT_STRANGE:
        return put(NOTHING, order->amount % 2);
    case RESIZE:
        return gring_respool_resize(pool, order->amount % (MAX + 1));
    case CLEAR:
        return gring_respool_clear(pool);
    case FREE_BUSY:
        return is_busy() ? gring_respool_free(pool) : 0;
    case FINISH:
        return finish_one(order);
    case CLOSE:
        return close_pool();
    default:
        return 0;
    }
}

/* Before: who was let in takes what lies there now. After: a failure lets the next one try. */
static int call_amid_settling(const struct order *order)
{
    int result, error;

    settle();
    result = call_by_main_itself(order);
    error = errno;
    if (mode == FAILS)
        settle();
    errno = error;
    return result;
}

static int call(unsigned actor, const struct order *order)
{
    switch (order->what) {
    case GET:
    case GET_TOO:
        return get();
    case PUT:
    case PUT_BROKEN:
        return put(twin_pool.put_by[actor], order->what == PUT_BROKEN);
    default:
        return call_amid_settling(order);
    }
}

static int twin_by_main(const struct order *order)
{
    unsigned actor =
        order->what == FINISH ? some_creator(order->amount / 2) : some_holder(order->amount / 2);

    if (order->what == PUT_FOR_ANOTHER && actor < ACTORS)
        twin_put(actor, order->amount % 2);
    else if (order->what == FINISH && actor < ACTORS)
        twin_finish(actor, order->amount % 2);
    else if (order->what == RESIZE)
        return twin_resize(order->amount % (MAX + 1));
    else if (order->what == CLEAR || order->what == CLOSE)
        twin_clear();
    else if (order->what == CHANGE_MODE)
        mode = order->amount / 2 % 2 ? (enum mode)(1 + order->amount % 2) : WORKS;
    else if (order->what == CHANGE_CHECK)
        check_fails = order->amount % 4 == 0;
    return order->what == PUT_STRANGE              ? -EINVAL
           : order->what == FREE_BUSY && is_busy() ? -EBUSY
                                                   : 0;
}

static bool twin(unsigned actor, const struct order *order, int *result)
{
    *result = 0;
    twin_age();
    if (order->what < FIRST_THAT_NEVER_WAITS)
        return twin_get(actor, result);
    if (order->what < FIRST_OF_MAIN)
        twin_put(actor, order->what == PUT_BROKEN);
    else
        *result = twin_by_main(order);
    return true;
}

/* Who was making one gives the right to the next one when he runs. */
static void interrupt(unsigned actor, int error)
{
    bool was_creating = twin_place(actor)->queue == CREATING;

    twin_age();
    twin_return(actor, -error);
    if (!was_creating)
        return;
    if (error != ETIMEDOUT)
        settle();
    twin_pool.taken--;
    serve();
}

static bool never_waits(unsigned what)
{
    return what >= FIRST_THAT_NEVER_WAITS;
}

static bool allows(unsigned actor, unsigned what)
{
    if (actor == MAIN || what >= FIRST_OF_MAIN)
        return actor == MAIN && what >= FIRST_OF_MAIN;
    return holds(actor) == never_waits(what);
}

static bool ends_by(unsigned actor, struct order *order)
{
    order->what = actor == MAIN ? CLOSE : PUT;
    return actor == MAIN ? pool != NULL : holds(actor);
}

static void agrees(void)
{
    unsigned waiting = 0;

    twin_age();
    MUST(made == twin_made);
    for (unsigned resource = 1; resource <= made; resource++)
        MUST(resources[resource].exists == resources[resource].twin_exists);
    if (!pool)
        return;
    for (unsigned index = 0; index < place_count; index++)
        waiting += places[index].queue == WAITING;
    MUST(gring_respool_waiting(pool) == waiting);
    MUST(gring_respool_avail(pool) ==
         (a_right_is_free() ? (long)(twin_pool.max - twin_pool.taken) : 0));
}

/* ---- a history ------------------------------------------------------------------------------- */

static gring_ns choose_age(struct choices *choices)
{
    unsigned steps = choose(choices, 8);

    if (steps < 2)
        return -(gring_ns)steps;
    return (steps - 1) * 10 * GRING_MS - 3 * GRING_MS;
}

static void choose_opts(struct choices *choices)
{
    opts = (gring_respool_opts)GRING_RESPOOL_INIT;
    opts.max = 1 + choose(choices, MAX);
    opts.min = choose(choices, (unsigned)opts.max + 1);
    opts.max_idle = choose_age(choices);
    opts.max_age = choose_age(choices);
    opts.create_timeout = choose_patience(choices);
    opts.fifo = choose(choices, 2);
    opts.create = create;
    opts.destroy = destroy;
    opts.check = check;
    opts.ctx = &pool;
}

static void prepare(struct choices *choices)
{
    memset(resources, 0, sizeof resources);
    memset(&twin_pool, 0, sizeof twin_pool);
    made = twin_made = 0;
    mode = WORKS;
    check_fails = false;
    began_at = gring_now();
    choose_opts(choices);
    twin_pool.max = opts.max;
    MUST((pool = gring_respool_new(&opts)) != NULL);
}

MODEL(respool)
{
    static const struct model of_respools = {
        WHATS, AMOUNTS, prepare, call, twin, interrupt, never_waits, allows, ends_by, agrees,
    };

    actors_play(choices, &of_respools);
}
