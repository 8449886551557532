/*
 * imap, against counting: jobs are begun in order as far as the pool has room and the consumer has
 * taken, and come out in order, then the end of the source or its error.
 *
 * The main task is the consumer. It also ends and kills jobs, resizes the pool, and sometimes
 * frees the pile in the middle.
 */
#include "tests/model/choices.h"

#include <errno.h>
#include <greenring/debug.h>
#include <greenring/greenring.h>
#include <greenring/pool.h>
#include <string.h>

enum { SIZES = 5, JOBS = 24, CODES = 3 };

static struct job {
    gring_task *task;
    bool begun, over, leaves; /* really */
    int code;
    bool ended; /* by the twin */
} jobs[JOBS];

static struct {
    unsigned asked;     /* how often the source was */
    unsigned in_memory; /* given out by it, and not yet taken from the pile */
} real;

static struct {
    unsigned size, limit, end;
    int error; /* what the source says at its end */
    unsigned begun, taken;
    bool waits_for_place; /* the next one, its argument being there */
} twin;

static gring_pool *pool;
static gring_pile *pile;

/* ---- what the library calls ------------------------------------------------------------------ */

static void *run_job(void *arg)
{
    struct job *job = (struct job *)arg;

    job->begun = true;
    job->task = gring_keep(gring_self());
    while (!job->leaves && gring_park(NULL) == 0)
        ;
    job->over = true;
    if (job->leaves && job->code)
        gring_fail(job->code);
    return job;
}

static int source(void *ctx, void **arg)
{
    MUST(ctx == &real);
    if (real.asked == twin.end) {
        errno = twin.error;
        return twin.error ? -1 : 0;
    }
    real.in_memory++;
    MUST(real.in_memory <= twin.limit);
    *arg = &jobs[real.asked++];
    return 1;
}

/* ---- the twin -------------------------------------------------------------------------------- */

static unsigned twin_running(void)
{
    unsigned count = 0;

    for (unsigned job = 0; job < twin.begun; job++)
        count += !jobs[job].ended;
    return count;
}

static void twin_go_on(void)
{
    while (twin.begun < twin.end && twin.begun - twin.taken < twin.limit &&
           twin_running() < twin.size)
        twin.begun++;
    twin.waits_for_place = twin.begun < twin.end && twin.begun - twin.taken < twin.limit;
}

static void compare(void)
{
    MUST(gring_idle() == 0);
    twin_go_on();
    MUST(real.asked == twin.begun + twin.waits_for_place);
    MUST(gring_pool_running(pool) == twin_running());
    MUST(gring_pool_waiting(pool) == twin.waits_for_place);
    for (unsigned job = 0; job < JOBS; job++) {
        MUST(jobs[job].begun == (job < twin.begun));
        MUST(jobs[job].over == jobs[job].ended);
    }
}

/* ---- steps ----------------------------------------------------------------------------------- */

static struct job *some_job(struct choices *choices)
{
    unsigned running = twin_running(), which, job = 0;

    if (!running)
        return NULL;
    for (which = choose(choices, running);; job++)
        if (!jobs[job].ended && which-- == 0)
            return &jobs[job];
}

static void end_one(struct choices *choices)
{
    struct job *job = some_job(choices);

    if (!job)
        return;
    job->code = (int)choose(choices, CODES);
    job->leaves = job->ended = true;
    MUST(gring_unpark(job->task, NULL) == 0);
}

static void kill_one(struct choices *choices)
{
    struct job *job = some_job(choices);

    if (!job)
        return;
    job->code = ECANCELED;
    job->ended = true;
    MUST(gring_kill(job->task) == 0);
}

static void take_one(const struct job *expected)
{
    gring_task *task;
    void *value;

    real.in_memory--; /* before: the producer may go on while we are in there */
    MUST(gring_pile_next(pile, &task) == 1);
    MUST(gring_join(task, &value) == expected->code);
    MUST(value == expected);
    twin.taken++;
}

static void take_the_end(void)
{
    gring_task *task;
    int result = gring_pile_next(pile, &task);

    MUST(twin.error ? result == -1 && errno == twin.error : result == 0);
}

static void *wait_in_vain(void *unused)
{
    gring_task *task;

    (void)unused;
    MUST(gring_within(5 * GRING_MS, gring_pile_next(pile, &task)) == -1 && errno == ETIMEDOUT);
    return NULL;
}

static void take_in_vain(void)
{
    gring_task *taker = gring_spawn(wait_in_vain, NULL);

    MUST(taker != NULL);
    MUST(gring_idle() == 0);
    MUST(gring_test_advance(10 * GRING_MS) == 0);
    MUST(gring_join(taker, NULL) == 0);
}

static void take(struct choices *choices)
{
    (void)choices;
    compare();
    if (twin.taken < twin.begun && jobs[twin.taken].ended)
        take_one(&jobs[twin.taken]);
    else if (twin.taken == twin.end)
        take_the_end();
    else
        take_in_vain();
}

static void resize(struct choices *choices)
{
    compare();
    twin.size = choose(choices, SIZES);
    MUST(gring_pool_resize(pool, twin.size) == 0);
}

/* ---- a history ------------------------------------------------------------------------------- */

static void begin_all(struct choices *choices)
{
    memset(jobs, 0, sizeof jobs);
    memset(&real, 0, sizeof real);
    memset(&twin, 0, sizeof twin);
    twin.size = choose(choices, SIZES);
    twin.limit = twin.size ? twin.size : 1;
    twin.end = choose(choices, JOBS + 1);
    twin.error = choose(choices, 2) ? EIO : 0;
    MUST((pool = gring_pool_new(twin.size)) != NULL);
    MUST((pile = gring_pool_imap(pool, run_job, source, &real)) != NULL);
}

/* Frees the pile wherever it is: what still runs is killed. */
static void end_all(void)
{
    compare();
    gring_pile_free(pile);
    MUST(gring_pool_running(pool) == 0);
    MUST(gring_pool_waiting(pool) == 0);
    for (unsigned job = 0; job < JOBS; job++) {
        MUST(jobs[job].begun == (job < twin.begun));
        MUST(jobs[job].over == jobs[job].begun);
        gring_drop(jobs[job].task);
    }
    gring_pool_free(pool);
}

static void live_through_one(struct choices *choices)
{
    static void (*const steps[])(struct choices *) = { take,    take,     take,  end_one,
                                                       end_one, kill_one, resize };

    begin_all(choices);
    while (choices_left(choices) && twin.taken < twin.end) {
        steps[choose(choices, sizeof steps / sizeof *steps)](choices);
        if (choose(choices, 2))
            compare();
    }
    if (twin.taken == twin.end)
        take(choices);
    end_all();
}

static void *play(void *arg)
{
    struct choices *choices = (struct choices *)arg;

    while (choices_left(choices))
        live_through_one(choices);
    return NULL;
}

MODEL(imap)
{
    gring_config config = GRING_CONFIG_INIT;

    config.flags = GRING_RUN_FAKETIME;
    MUST(gring_run_with(&config, play, choices, NULL) == 0);
}
