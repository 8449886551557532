/*
 * Piles that share a pool, against lists of jobs: two of them, filled and emptied by actors, and
 * filled by the pool's own jobs.
 *
 * Of several who wait for the next job of a pile the first one gets it. That is no promise, so
 * the model does not do what may turn them round.
 */
#include "tests/model/jobs.h"

enum {
    FILL,
    NEXT,
    NEXT_TOO,
    FIRST_OF_MAIN,
    FILL_NOW = FIRST_OF_MAIN,
    DONE,
    RESIZE,
    KILL_ALL,
    KILL,
    END,
    END_TOO,
    FILL_INSIDE,
    RENEW,
    WHATS,
    CLOSE = WHATS
};

enum { PILES = 2, TAKERS = SPAWNERS + 1 /* the first pile's queue */ };

static struct twin_pile {
    gring_pile *it;
    unsigned count, jobs[JOBS]; /* in the order of the calls */
    bool done;
} piles[PILES];

static bool not_called[ACTORS];

static struct twin_pile *target_pile(const struct order *order)
{
    return &piles[order->amount % PILES];
}

static unsigned target_job(const struct order *order)
{
    unsigned host = some_host(order->amount / PILES);

    return host == JOBS || order->what == KILL ? host : innermost(host);
}

/* ---- the piles ------------------------------------------------------------------------------- */

static void new_pile(struct twin_pile *pile)
{
    *pile = (struct twin_pile){ 0 };
    MUST((pile->it = gring_pile_new(pool)) != NULL);
}

static void prepare(struct choices *choices)
{
    memset(jobs, 0, sizeof jobs);
    twin_size = choose(choices, SIZES);
    MUST((pool = gring_pool_new(twin_size)) != NULL);
    MUST(gring_set_prio(GRING_PRIO_HIGH) == 0);
    for (unsigned pile = 0; pile < PILES; pile++)
        new_pile(&piles[pile]);
}

static int begin(struct job *job)
{
    return gring_pile_spawn(piles[job->how].it, run_job, job);
}

/* As an actor's result: which job, and its code. One that never ran has no value to know it by. */
static int outcome(int code, const struct job *job)
{
    return 1 + code + (job ? 1000 * (1 + (int)(job - jobs)) : 0);
}

static int take(struct twin_pile *pile)
{
    gring_task *task;
    int result = gring_pile_next(pile->it, &task);
    void *value = NULL;
    int code;

    if (result <= 0)
        return result;
    code = gring_join(task, &value);
    return outcome(code, value);
}

static bool may_fill_now(const struct twin_pile *pile)
{
    return !pile->done && twin_free() > 0 && unused_count() > ACTORS;
}

/* Is nobody in a call about it, and nobody about to be? */
static bool may_be_freed(const struct twin_pile *pile)
{
    for (unsigned index = 0; index < place_count; index++)
        if (places[index].queue == TAKERS + (unsigned)(pile - piles))
            return false;
    for (unsigned index = 0; index < pile->count; index++) {
        const struct job *job = &jobs[pile->jobs[index]];

        if (job->state == PROMISED || (job->state == RUNS && is_guest(pile->jobs[index])))
            return false;
    }
    return true;
}

static int renew(struct twin_pile *pile)
{
    if (!may_be_freed(pile))
        return 0;
    settle();
    gring_pile_free(pile->it);
    for (unsigned index = 0; index < pile->count; index++)
        if (jobs[pile->jobs[index]].state == RUNS)
            bury_all_in(pile->jobs[index]);
    MUST((pile->it = gring_pile_new(pool)) != NULL);
    return 0;
}

/* A taker who was woken by a new job when it was struck would still take that if it ended now. */
static void let_the_struck_go_on(void)
{
    for (unsigned number = 0; number < ACTORS; number++)
        if (actors[number].is_struck)
            settle();
}

static int close_all(void)
{
    kill_all();
    for (unsigned pile = 0; pile < PILES; pile++)
        gring_pile_free(piles[pile].it);
    gring_pool_free(pool);
    pool = NULL;
    return 0;
}

static int call_about_job(unsigned job, const struct order *order)
{
    if (job == JOBS)
        return 0;
    if (order->what == KILL)
        return kill_one(job);
    if (order->what != FILL_INSIDE)
        return end_one(job, order->amount >= AMOUNTS / 2 ? EIO : 0);
    return unused_count() > ACTORS ? tell_to_begin(job, order->amount % PILES) : 0;
}

static int call(unsigned actor, const struct order *order)
{
    struct twin_pile *pile = target_pile(order);

    switch (order->what) {
    case FILL:
        return begin_it(&jobs[job_of[actor]]);
    case NEXT:
    case NEXT_TOO:
        return not_called[actor] ? 0 : take(pile);
    case FILL_NOW:
        return may_fill_now(pile) ? begin_it(&jobs[prepare_job(order->amount % PILES)]) : 0;
    case DONE:
        return gring_pile_done(pile->it);
    case RESIZE:
        return gring_pool_resize(pool, order->amount % SIZES);
    case KILL_ALL:
        let_the_struck_go_on();
        return kill_all();
    case RENEW:
        return renew(pile);
    case CLOSE:
        return close_all();
    default:
        return call_about_job(target_job(order), order);
    }
}

/* ---- the twin -------------------------------------------------------------------------------- */

static void twin_remove(struct twin_pile *pile, unsigned job)
{
    unsigned index = 0;

    while (pile->jobs[index] != job)
        index++;
    pile->count--;
    for (; index < pile->count; index++)
        pile->jobs[index] = pile->jobs[index + 1];
    jobs[job].state = UNUSED;
}

/* True: the next one, or the end; false: there is something to wait for. */
static bool twin_take(struct twin_pile *pile, int *result)
{
    unsigned oldest = pile->jobs[0];

    *result = 0;
    if (!pile->count)
        return pile->done;
    if (jobs[oldest].state != KEPT)
        return false;
    *result = outcome(jobs[oldest].begun ? jobs[oldest].code : ECANCELED,
                      jobs[oldest].begun ? &jobs[oldest] : NULL);
    twin_remove(pile, oldest);
    return true;
}

/* A deadline that passes in the same instant is there first. */
static bool is_expired(unsigned actor)
{
    return twin_deadline[actor] && twin_deadline[actor] == twin_passed;
}

static void serve(unsigned number)
{
    unsigned index = 0;
    int result;

    while (index < place_count)
        if (places[index].queue != TAKERS + number || is_expired(places[index].actor))
            index++;
        else if (twin_take(&piles[number], &result))
            twin_return(places[index].actor, result);
        else
            return;
}

static void let_go_on(void)
{
    twin_admit();
    for (unsigned number = 0; number < PILES; number++)
        serve(number);
}

static void twin_kill(unsigned host)
{
    for (unsigned job = 0; job < JOBS; job++)
        if (jobs[job].state == RUNS && jobs[job].host == host)
            jobs[job].state = KEPT;
}

static void twin_kill_all(void)
{
    for (unsigned job = 0; job < JOBS; job++)
        if (jobs[job].state == RUNS)
            jobs[job].state = KEPT;
}

static void twin_renew(struct twin_pile *pile)
{
    if (!may_be_freed(pile))
        return;
    for (unsigned index = 0; index < pile->count; index++)
        if (jobs[pile->jobs[index]].state == RUNS)
            twin_kill(pile->jobs[index]);
    while (pile->count)
        twin_remove(pile, pile->jobs[0]);
    pile->done = false;
}

static void twin_add(struct twin_pile *pile, unsigned job)
{
    pile->jobs[pile->count++] = job;
}

static bool twin_fill(unsigned actor, struct twin_pile *pile, int *result)
{
    job_of[actor] = prepare_job((unsigned)(pile - piles));
    if (pile->done) {
        *result = -EPIPE;
        return true;
    }
    twin_add(pile, job_of[actor]);
    return twin_begin(actor, job_of[actor]);
}

static void twin_fill_now(struct twin_pile *pile)
{
    unsigned job = first_unused();

    if (!may_fill_now(pile))
        return;
    twin_add(pile, job);
    jobs[job].state = RUNS;
}

static int twin_fill_inside(unsigned by, struct twin_pile *pile)
{
    unsigned job = first_unused();

    if (unused_count() <= ACTORS)
        return 0;
    if (pile->done)
        return -EPIPE;
    twin_add(pile, job);
    twin_begin_inside(by, job);
    return 0;
}

static int twin_about_job(unsigned job, const struct order *order)
{
    if (job == JOBS)
        return 0;
    if (order->what == FILL_INSIDE)
        return twin_fill_inside(job, target_pile(order));
    if (order->what == KILL)
        twin_kill(job);
    else
        jobs[job].state = KEPT;
    return 0;
}

/* Who waits since the pile was empty hears of a guest only when it ends; who comes now sees it. */
static bool may_turn_round(const struct twin_pile *pile)
{
    bool has_guest = false;

    for (unsigned index = 0; index < pile->count; index++)
        has_guest |= jobs[pile->jobs[index]].state == RUNS && is_guest(pile->jobs[index]);
    return has_guest && twin_first(TAKERS + (unsigned)(pile - piles));
}

static bool twin_next(unsigned actor, struct twin_pile *pile, int *result)
{
    not_called[actor] = may_turn_round(pile);
    if (not_called[actor] || twin_take(pile, result))
        return true;
    twin_wait(actor, TAKERS + (unsigned)(pile - piles), 0);
    return false;
}

/* What never waits, and is never refused. */
static int twin_main(const struct order *order)
{
    struct twin_pile *pile = target_pile(order);

    switch (order->what) {
    case FILL_NOW:
        twin_fill_now(pile);
        return 0;
    case DONE:
        pile->done = true;
        return 0;
    case RESIZE:
        twin_size = order->amount % SIZES;
        return 0;
    case RENEW:
        twin_renew(pile);
        return 0;
    case KILL_ALL:
    case CLOSE:
        twin_kill_all();
        return 0;
    default:
        return twin_about_job(target_job(order), order);
    }
}

static bool twin(unsigned actor, const struct order *order, int *result)
{
    *result = 0;
    if (order->what == FILL)
        return twin_fill(actor, target_pile(order), result);
    if (order->what < FIRST_OF_MAIN)
        return twin_next(actor, target_pile(order), result);
    *result = twin_main(order);
    let_go_on();
    return true;
}

/* A spawner that was interrupted leaves no gap: as soon as it runs. */
static void interrupt(unsigned actor, int error)
{
    struct place *place = twin_place(actor);
    unsigned job = place->amount;

    if (!twin_spawner_interrupted(actor, error)) {
        twin_return(actor, -error);
        return;
    }
    twin_remove(&piles[jobs[job].how], job);
    if (error != ETIMEDOUT)
        settle();
    let_go_on();
}

static bool never_waits(unsigned what)
{
    return what >= FIRST_OF_MAIN;
}

static bool allows(unsigned actor, unsigned what)
{
    return (actor == MAIN) == never_waits(what) && (what != FILL || unused_count() > 0);
}

static bool ends_by(unsigned actor, struct order *order)
{
    order->what = CLOSE;
    return actor == MAIN && pool;
}

/* In which order those come back who take and those who fill is no promise. */
static void agrees(void)
{
    back.count = twin_back.count = 0;
    for (unsigned job = 0; job < JOBS; job++)
        MUST(jobs[job].state != RUNS || (jobs[job].begun && !jobs[job].over));
    if (!pool)
        return;
    MUST(gring_pool_running(pool) == twin_running());
    MUST(gring_pool_free_slots(pool) == twin_free());
}

MODEL(pile)
{
    static const struct model of_piles = {
        WHATS, AMOUNTS, prepare, call, twin, interrupt, never_waits, allows, ends_by, agrees,
    };

    actors_play(choices, &of_piles);
}
