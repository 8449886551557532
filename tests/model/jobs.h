/*
 * For models of what runs jobs in a pool, on top of actors.h: jobs that do what the main task tells
 * them, and a pool that is two numbers.
 *
 * A job has a place of its own, or is a guest: run by another job in that one's task, because that
 * one began it while the pool was full. Of the jobs in one task only the innermost can be told
 * anything. How a job is begun is the model's: begin().
 *
 * The main task has the high priority: it goes on before those whom the end of a job has let in,
 * and can strike them when they have been served and do not know it yet.
 */
#ifndef TESTS_MODEL_JOBS_H
#define TESTS_MODEL_JOBS_H

#include "tests/model/actors.h"

#include <greenring/pool.h>

enum {
    JOBS = 24,
    SIZES = 5,
    AMOUNTS = 64,
    SPAWNERS = 0 /* the queue of those who wait for a place */
};

enum state { UNUSED, PROMISED, RUNS, KEPT /* it has ended, and its outcome is not taken yet */ };

static struct job {
    enum state state; /* by the twin */
    unsigned host;    /* in whose task it runs: its own number, or another's */
    unsigned by;      /* which job began it, if it is a guest */
    unsigned how;     /* the model's */
    int code;         /* that it ends with */

    bool begun, over, returned; /* really; returned: the call that began it */
    gring_task *task;           /* in which it runs */
    gring_task *handle;         /* that the call gave, or NULL */

    bool leaves; /* what it was told */
    struct job *begins;
    bool waits_for_all;
    int result; /* of the call that it was told to make */
} jobs[JOBS];

static gring_pool *pool;
static unsigned twin_size;
static unsigned job_of[ACTORS + 1]; /* that its call is about */

/* 0, or -1 and errno. */
static int begin(struct job *job);

/* ---- the jobs -------------------------------------------------------------------------------- */

static int begin_it(struct job *job)
{
    int result = begin(job);

    job->returned = result == 0;
    return result;
}

static void do_as_told(struct job *job)
{
    struct job *next = job->begins;

    job->begins = NULL;
    if (next)
        job->result = begin_it(next) < 0 ? -errno : 0;
    if (job->waits_for_all)
        job->result = gring_pool_waitall(pool) < 0 ? -errno : 0;
    job->waits_for_all = false;
}

static void *run_job(void *arg)
{
    struct job *job = (struct job *)arg;

    job->begun = true;
    job->task = gring_keep(gring_self());
    while (!job->leaves && gring_park(NULL) == 0)
        do_as_told(job);
    job->over = true;
    if (job->leaves && job->code)
        gring_fail(job->code);
    return job;
}

/* ---- the twin -------------------------------------------------------------------------------- */

static bool is_guest(unsigned job)
{
    return jobs[job].host != job;
}

static unsigned twin_running(void)
{
    unsigned count = 0;

    for (unsigned job = 0; job < JOBS; job++)
        count += jobs[job].state == RUNS && !is_guest(job);
    return count;
}

static long twin_free(void)
{
    return (long)twin_size - (long)twin_running();
}

static unsigned unused_count(void)
{
    unsigned count = 0;

    for (unsigned job = 0; job < JOBS; job++)
        count += jobs[job].state == UNUSED;
    return count;
}

static unsigned first_unused(void)
{
    unsigned job = 0;

    while (jobs[job].state != UNUSED)
        job++;
    return job;
}

static unsigned prepare_job(unsigned how)
{
    unsigned job = first_unused();

    jobs[job] = (struct job){ .host = job, .how = how };
    return job;
}

/* Whoever comes first, while there is room. */
static void twin_admit(void)
{
    struct place *first;

    while (twin_free() > 0 && (first = twin_first(SPAWNERS)) != NULL) {
        jobs[first->amount].state = RUNS;
        twin_return(first->actor, 0);
    }
}

/* True: it is begun at once. */
static bool twin_begin(unsigned actor, unsigned job)
{
    bool at_once = twin_free() > 0;

    jobs[job].state = at_once ? RUNS : PROMISED;
    if (!at_once)
        twin_wait(actor, SPAWNERS, job);
    return at_once;
}

/* By a job of the pool. */
static void twin_begin_inside(unsigned by, unsigned job)
{
    if (twin_free() <= 0)
        jobs[job].host = jobs[by].host;
    jobs[job].by = by;
    jobs[job].state = RUNS;
}

/* Nobody has struck it before the pool let it in. */
static bool twin_spawner_interrupted(unsigned actor, int error)
{
    struct place *place = twin_place(actor);

    if (place->queue != SPAWNERS)
        return false;
    jobs[place->amount].state = UNUSED;
    twin_return(actor, -error);
    return true;
}

/* ---- choosing one ---------------------------------------------------------------------------- */

/* A place's job; JOBS: there is none. */
static unsigned some_host(unsigned which)
{
    unsigned running = twin_running(), job = 0;

    if (!running)
        return JOBS;
    for (which %= running;; job++)
        if (jobs[job].state == RUNS && !is_guest(job) && which-- == 0)
            return job;
}

static unsigned guest_of(unsigned job)
{
    for (unsigned guest = 0; guest < JOBS; guest++)
        if (jobs[guest].state == RUNS && is_guest(guest) && jobs[guest].by == job)
            return guest;
    return JOBS;
}

/* The one of these in that task that goes on when it is unparked. */
static unsigned innermost(unsigned job)
{
    for (unsigned guest; (guest = guest_of(job)) < JOBS; job = guest)
        ;
    return job;
}

/* ---- what the main task does with them ------------------------------------------------------- */

/* Has an actor been let in and not gone on yet? */
static bool somebody_begins(void)
{
    for (unsigned job = 0; job < JOBS; job++)
        if (jobs[job].state == RUNS && !jobs[job].returned && !jobs[job].begun)
            return true;
    return false;
}

/* To make a call, now; as an actor's call returns. */
static int tell(struct job *job)
{
    if (!job->begun)
        settle();
    job->result = 0;
    MUST(gring_unpark(job->task, NULL) == 0);
    settle();
    errno = -job->result;
    return job->result < 0 ? -1 : 0;
}

static int tell_to_begin(unsigned by, unsigned how)
{
    jobs[by].begins = &jobs[prepare_job(how)];
    return tell(&jobs[by]);
}

static void must_be_outcome(const struct job *job, int code, const void *value)
{
    MUST(code == (job->begun ? job->code : ECANCELED));
    MUST(value == (job->begun ? job : NULL));
}

/* Gives back what there is of it; it has ended. */
static void bury(struct job *job)
{
    void *value = NULL;
    int code;

    MUST(job->over == job->begun);
    if (job->handle) {
        code = gring_join(job->handle, &value);
        must_be_outcome(job, code, value);
    }
    gring_drop(job->task);
    job->handle = job->task = NULL;
}

/* A place's job has been told to end: until it has, but before whom that lets in goes on. */
static void await_end(const struct job *job)
{
    if (job->begun)
        MUST(gring_wait(job->task, NULL) >= 0);
}

static int end_one(unsigned number, int code)
{
    struct job *job = &jobs[number];

    if (!job->begun)
        settle();
    job->code = code;
    job->leaves = true;
    MUST(gring_unpark(job->task, NULL) == 0);
    if (is_guest(number))
        settle();
    else
        await_end(job);
    bury(job);
    return 0;
}

/* A task was killed, and with it all jobs in it. */
static void bury_all_in(unsigned host)
{
    await_end(&jobs[host]);
    for (unsigned job = 0; job < JOBS; job++)
        if (jobs[job].state == RUNS && jobs[job].host == host) {
            jobs[job].code = ECANCELED;
            bury(&jobs[job]);
        }
}

static void bury_all(void)
{
    for (unsigned host = 0; host < JOBS; host++)
        if (jobs[host].state == RUNS && !is_guest(host))
            bury_all_in(host);
}

static int kill_one(unsigned host)
{
    if (!jobs[host].begun && !jobs[host].handle)
        settle();
    MUST(gring_kill(jobs[host].handle ? jobs[host].handle : jobs[host].task) == 0);
    bury_all_in(host);
    return 0;
}

/* Who was let in and has not begun his job yet is not meant. */
static int kill_all(void)
{
    int result;

    if (somebody_begins())
        settle();
    result = gring_pool_killall(pool);
    bury_all();
    return result;
}

#endif
