/*
 * Plain threads, on the one thread that there is: what they do happens between two steps of the
 * hub, with the hub's thread-local hidden; each has a stack, which it leaves where futex(2) would
 * sleep. The jobs of runtime/offload.h, which this file replaces, are begun and handed back at
 * moments of simulated time.
 */
#include "base/check.h"
#include "runtime/hub.h"
#include "runtime/offload.h"
#include "tests/sim/kernel.h"

#include <errno.h>
#include <ucontext.h>

/* ---- taking turns ---------------------------------------------------------------------------- */

static bool inside;

static void take_turn(struct appointment *turn)
{
    struct gring_hub *hub = hub_of_thread;
    int saved_errno = errno; /* a thread has its own */

    hub_of_thread = NULL;
    inside = true;
    turn->run(turn->arg, turn->ticket);
    inside = false;
    hub_of_thread = hub;
    errno = saved_errno;
}

static bool somebody_goes(void)
{
    if (world.threads.count == 0)
        return false;
    return agenda_next(&world.threads) <= world.now || sim_chance(world.mood.early_thread);
}

void threads_run(void)
{
    while (!inside && somebody_goes()) {
        struct appointment next = agenda_take(&world.threads);

        take_turn(&next);
    }
}

/* The caller sleeps; the others do not. */
void threads_pause(gring_ns duration)
{
    gring_ns end = clock_after(world.now, duration);

    while (agenda_next(&world.threads) <= end) {
        if (agenda_next(&world.threads) > world.now)
            world.now = agenda_next(&world.threads);
        threads_run();
    }
    world.now = end;
}

bool threads_pending(void)
{
    return world.foreign_count > 0;
}

/* ---- calls from elsewhere -------------------------------------------------------------------- */

enum { STACK_BYTES = 64 * 1024 };

/* Has a stack of its own, for it may wait for a word, in the middle of a call. */
struct plain_thread {
    ucontext_t context;
    struct list link; /* among the waiting */
    const atomic_uint *word;
    void (*fn)(void *arg);
    void *arg;
    uint64_t number;
    int saved_errno;
    bool is_visitor; /* not one of the pool's */
    bool ended;
};

static struct plain_thread *current;
static ucontext_t hub_context;
static struct list waiting = { &waiting, &waiting };

static void thread_main(void)
{
    current->fn(current->arg);
    current->ended = true; /* and back to the hub's thread, by uc_link */
}

static void go_on(void *arg, uint64_t unused)
{
    struct plain_thread *thread = arg;

    (void)unused;
    if (thread->ended)
        return; /* forgotten with its job */
    sometimes(THREAD_CAME_BETWEEN);
    sim_note("elsewhere", (int64_t)thread->number, 0, 0);
    current = thread;
    errno = thread->saved_errno;
    swapcontext(&hub_context, &thread->context);
    current = NULL;
    world.foreign_count -= thread->ended && thread->is_visitor;
}

static void go_on_later(struct plain_thread *thread, gring_ns delay)
{
    agenda_add(&world.threads, clock_after(world.now, delay), go_on, thread, 0);
}

static struct plain_thread *thread_new(void (*fn)(void *arg), void *arg)
{
    struct plain_thread *thread = sim_alloc(sizeof *thread);

    thread->fn = fn;
    thread->arg = arg;
    thread->number = ++world.thread_count;
    getcontext(&thread->context);
    thread->context.uc_stack.ss_sp = sim_alloc(STACK_BYTES);
    thread->context.uc_stack.ss_size = STACK_BYTES;
    thread->context.uc_link = &hub_context;
    makecontext(&thread->context, thread_main, 0);
    return thread;
}

void sim_elsewhere(gring_ns delay, void (*fn)(void *arg), void *arg)
{
    struct plain_thread *thread = thread_new(fn, arg);

    thread->is_visitor = true;
    world.foreign_count++;
    go_on_later(thread, delay);
}

static void wake(struct plain_thread *thread)
{
    list_unlink(&thread->link);
    go_on_later(thread, sim_duration(world.mood.delay));
}

/* A spurious return, sometimes. */
static void wake_for_nothing(void *arg, uint64_t unused)
{
    struct plain_thread *thread = arg;

    (void)unused;
    if (list_linked(&thread->link))
        wake(thread);
}

void threads_wait_for(const atomic_uint *word)
{
    struct plain_thread *thread = current;

    if (!thread)
        sim_fail("the hub's own thread waits for a word");
    thread->word = word;
    thread->saved_errno = errno;
    list_push_back(&waiting, &thread->link);
    if (sim_chance(world.mood.spurious_wake))
        agenda_add(&world.threads, clock_after(world.now, sim_duration(world.mood.delay)),
                   wake_for_nothing, thread, 0);
    swapcontext(&thread->context, &hub_context);
}

void threads_wake(const atomic_uint *word)
{
    struct list *link = waiting.next, *next;

    for (; link != &waiting; link = next) {
        struct plain_thread *thread = CONTAINER_OF(link, struct plain_thread, link);

        next = link->next;
        if (thread->word == word)
            wake(thread);
    }
}

const void *__real_sync_self(void);
const void *__wrap_sync_self(void);

/* The holder of a lock is one of these threads, which to the library are all the same one. */
const void *__wrap_sync_self(void)
{
    return current ? current : __real_sync_self();
}

/* Whoever came is gone when the run is over: the end waits for visitors. */
void threads_check_ended(void)
{
    if (!list_empty(&waiting))
        sim_fail("a plain thread waits for ever in a call of the library");
}

/* ---- offload.h ------------------------------------------------------------------------------- */

/* What the pool knows of a job; the job may be gone when the pool is done with it. */
struct pool_job {
    struct offload_job *job;
    struct list link;
    struct plain_thread *thread; /* of one that may wait, else NULL */
    bool is_running, abandoned;
};

static struct list pool_jobs = { &pool_jobs, &pool_jobs };

static struct pool_job *find_job(const struct offload_job *job)
{
    for (struct list *link = pool_jobs.next; link != &pool_jobs; link = link->next)
        if (CONTAINER_OF(link, struct pool_job, link)->job == job)
            return CONTAINER_OF(link, struct pool_job, link);
    return NULL;
}

static void deliver_done(struct mail *mail)
{
    struct offload_job *job = CONTAINER_OF(mail, struct offload_job, mail);

    job->hub->offload_count--;
    if (job->abandoned)
        job->discard(job);
    else
        job->on_done(job);
}

static void hand_back(struct pool_job *entry)
{
    struct offload_job *job = entry->job;

    list_unlink(&entry->link);
    if (entry->abandoned) {
        job->discard(job);
        return;
    }
    job->finished = true;
    mailbox_post(&job->hub->mailbox, &job->mail);
}

static void job_ends(void *arg, uint64_t unused)
{
    struct pool_job *entry = arg;

    (void)unused;
    if (list_linked(&entry->link))
        hand_back(entry);
}

static void run_job(void *arg)
{
    struct pool_job *entry = arg;

    entry->job->run(entry->job);
    agenda_add(&world.threads, clock_after(world.now, sim_duration(world.mood.delay)), job_ends,
               entry, 0);
}

static void job_begins(void *arg, uint64_t unused)
{
    struct pool_job *entry = arg;

    (void)unused;
    if (!list_linked(&entry->link))
        return; /* abandoned while queued */
    entry->is_running = true;
    if (entry->job->class_index != OFFLOAD_FILES) {
        run_job(entry);
        return;
    }
    entry->thread = thread_new(run_job, entry);
    go_on_later(entry->thread, 0);
}

int offload_start(struct gring_hub *hub, struct offload_job *job, enum offload_class class_index)
{
    struct pool_job *entry;

    if (memory_fails())
        return -EAGAIN;
    entry = sim_alloc(sizeof *entry);
    entry->job = job;
    job->hub = hub;
    job->class_index = class_index;
    job->abandoned = job->finished = false;
    job->mail.deliver = deliver_done;
    hub->offload_count++;
    list_push_back(&pool_jobs, &entry->link);
    agenda_add(&world.threads, clock_after(world.now, sim_duration(world.mood.delay)), job_begins,
               entry, 0);
    return 0;
}

bool offload_take_back(struct offload_job *job)
{
    struct pool_job *entry = find_job(job);

    if (!entry || entry->is_running)
        return false;
    list_unlink(&entry->link);
    job->hub->offload_count--;
    return true;
}

void offload_abandon(struct offload_job *job)
{
    struct pool_job *entry;

    if (offload_take_back(job)) {
        job->discard(job);
        return;
    }
    entry = find_job(job);
    job->abandoned = true;
    if (!entry)
        return; /* finished: its mail discards it */
    entry->abandoned = true;
    job->hub->offload_count--;
}

int offload_thread_count(void)
{
    return 0;
}

void offload_forget(void)
{
    list_init(&pool_jobs);
}

/* In a call that it may never come back from. */
static void forget_thread(struct plain_thread *thread)
{
    if (thread->ended)
        return;
    sometimes(THREAD_STAYED_IN_OPEN);
    thread->ended = true;
    if (list_linked(&thread->link))
        list_unlink(&thread->link);
}

/* The threads that are busy with abandoned jobs end, sooner or later; here now. */
void offload_stop(void)
{
    struct list *link;

    while ((link = pool_jobs.next) != &pool_jobs) {
        struct pool_job *entry = CONTAINER_OF(link, struct pool_job, link);

        CHECK(entry->abandoned && entry->is_running);
        if (entry->thread)
            forget_thread(entry->thread);
        hand_back(entry);
    }
}
