/*
 * Pools of tasks, against two numbers: how many may run, and how many do.
 *
 * Actors begin jobs from outside and wait until none is left; the main task ends and kills jobs,
 * lets them begin others from inside, and resizes the pool.
 */
#include "tests/model/jobs.h"

enum {
    SPAWN,
    SPAWN_N,
    WAIT_ALL,
    FIRST_OF_MAIN,
    SPAWN_NOW = FIRST_OF_MAIN,
    RESIZE,
    KILL_ALL,
    KILL,
    END,
    END_TOO,
    BEGIN_INSIDE,
    WAIT_INSIDE,
    WHATS,
    CLOSE = WHATS
};

enum { WAITERS = SPAWNERS + 1 /* the queue of those who wait for all */ };

static void prepare(struct choices *choices)
{
    memset(jobs, 0, sizeof jobs);
    twin_size = choose(choices, SIZES);
    MUST((pool = gring_pool_new(twin_size)) != NULL);
    MUST(gring_set_prio(GRING_PRIO_HIGH) == 0);
}

static int begin(struct job *job)
{
    if (job->how == SPAWN_N)
        return gring_pool_spawn_n(pool, run_job, job);
    job->handle = gring_pool_spawn(pool, run_job, job);
    return job->handle ? 0 : -1;
}

/* Of the orders about a job, which. JOBS: there is none. */
static unsigned target(const struct order *order)
{
    unsigned host = some_host(order->amount / 2);

    return host < JOBS && (order->what == END || order->what == END_TOO ||
                           order->what == BEGIN_INSIDE || order->what == WAIT_INSIDE)
               ? innermost(host)
               : host;
}

static unsigned chosen_how(const struct order *order)
{
    return order->amount % 2 ? SPAWN : SPAWN_N;
}

/* ---- the pool -------------------------------------------------------------------------------- */

static int spawn_now(const struct order *order)
{
    return twin_free() > 0 ? begin_it(&jobs[prepare_job(chosen_how(order))]) : 0;
}

static int tell_to_wait(struct job *job)
{
    job->waits_for_all = true;
    return tell(job);
}

static int close_pool(void)
{
    gring_pool_free(pool);
    pool = NULL;
    bury_all();
    return 0;
}

/* Nobody asks for the code of a job without a handle, and so a failure would be logged. */
static int chosen_code(unsigned job, const struct order *order)
{
    return jobs[job].how == SPAWN && order->amount >= AMOUNTS / 2 ? EIO : 0;
}

static int call_about_job(unsigned job, const struct order *order)
{
    if (job == JOBS)
        return 0;
    switch (order->what) {
    case KILL:
        return kill_one(job);
    case BEGIN_INSIDE:
        return unused_count() > ACTORS ? tell_to_begin(job, chosen_how(order)) : 0;
    case WAIT_INSIDE:
        return tell_to_wait(&jobs[job]);
    default:
        return end_one(job, chosen_code(job, order));
    }
}

static int call(unsigned actor, const struct order *order)
{
    switch (order->what) {
    case SPAWN:
    case SPAWN_N:
        return begin_it(&jobs[job_of[actor]]);
    case WAIT_ALL:
        return gring_pool_waitall(pool);
    case SPAWN_NOW:
        return spawn_now(order);
    case RESIZE:
        return gring_pool_resize(pool, order->amount % SIZES);
    case KILL_ALL:
        return kill_all();
    case CLOSE:
        return close_pool();
    default:
        return call_about_job(target(order), order);
    }
}

/* ---- the twin -------------------------------------------------------------------------------- */

/* Those let in go on before those who waited for all. */
static void let_go_on(bool all_had_ended)
{
    struct place *first;

    twin_admit();
    while (all_had_ended && (first = twin_first(WAITERS)) != NULL)
        twin_return(first->actor, 0);
}

static void twin_end(unsigned job)
{
    jobs[job].state = UNUSED;
    let_go_on(twin_running() == 0);
}

static void twin_kill(unsigned host)
{
    for (unsigned job = 0; job < JOBS; job++)
        if (job != host && jobs[job].host == host)
            jobs[job].state = UNUSED;
    twin_end(host);
}

static void twin_kill_all(void)
{
    bool some = twin_running() > 0;

    for (unsigned job = 0; job < JOBS; job++)
        if (jobs[job].state == RUNS)
            jobs[job].state = UNUSED;
    let_go_on(some);
}

static bool twin_wait_for_all(unsigned actor)
{
    if (twin_running())
        twin_wait(actor, WAITERS, 0);
    return !twin_place(actor);
}

static void twin_resize(const struct order *order)
{
    twin_size = order->amount % SIZES;
    twin_admit();
}

static void twin_about_job(unsigned job, const struct order *order, int *result)
{
    if (job == JOBS)
        return;
    if (order->what == KILL)
        twin_kill(job);
    else if (order->what == WAIT_INSIDE)
        *result = -EDEADLK;
    else if (order->what != BEGIN_INSIDE)
        twin_end(job);
    else if (unused_count() > ACTORS)
        twin_begin_inside(job, first_unused());
}

static bool twin(unsigned actor, const struct order *order, int *result)
{
    *result = 0;
    switch (order->what) {
    case SPAWN:
    case SPAWN_N:
        job_of[actor] = prepare_job(order->what);
        return twin_begin(actor, job_of[actor]);
    case WAIT_ALL:
        return twin_wait_for_all(actor);
    case SPAWN_NOW:
        if (twin_free() > 0)
            jobs[first_unused()].state = RUNS;
        return true;
    case RESIZE:
        twin_resize(order);
        return true;
    case KILL_ALL:
    case CLOSE:
        twin_kill_all();
        return true;
    default:
        twin_about_job(target(order), order, result);
        return true;
    }
}

static void interrupt(unsigned actor, int error)
{
    if (!twin_spawner_interrupted(actor, error))
        twin_return(actor, -error);
}

static bool never_waits(unsigned what)
{
    return what >= FIRST_OF_MAIN;
}

static bool allows(unsigned actor, unsigned what)
{
    return (actor == MAIN) == never_waits(what);
}

static bool ends_by(unsigned actor, struct order *order)
{
    order->what = CLOSE;
    return actor == MAIN && pool;
}

static void agrees(void)
{
    unsigned waiting = 0;

    for (unsigned index = 0; index < place_count; index++)
        waiting += places[index].queue == SPAWNERS;
    for (unsigned job = 0; job < JOBS; job++)
        MUST(jobs[job].state != RUNS || (jobs[job].begun && !jobs[job].over));
    if (!pool)
        return;
    MUST(gring_pool_running(pool) == twin_running());
    MUST(gring_pool_free_slots(pool) == twin_free());
    MUST(gring_pool_waiting(pool) == waiting);
}

MODEL(pool)
{
    static const struct model of_pools = {
        WHATS, AMOUNTS, prepare, call, twin, interrupt, never_waits, allows, ends_by, agrees,
    };

    actors_play(choices, &of_pools);
}
