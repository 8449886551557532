/*
 * Piles: the tasks of a pool in the order in which they were spawned, and imap, a pile that a
 * task of its own fills.
 *
 *     pile ─► entries   spawned, not yet taken; the first one is waited for
 */
#include "api/result.h"
#include "api/task/pool.h"
#include "base/check.h"
#include "runtime/frame.h"
#include "runtime/hub.h"
#include "runtime/runtime.h"
#include "runtime/wait.h"

#include <greenring/sync.h>
#include <limits.h>
#include <stdlib.h>

struct entry {
    struct list link;
    struct gring_task *task; /* NULL: its spawn still waits for a place */
};

struct gring_pile {
    gring_pool *pool;
    struct list entries;
    gring_cond changed; /* a task more, an entry less, or done */
    size_t user_count;  /* calls under way */
    bool done;

    /* imap: */
    struct gring_task *producer;
    gring_fn fn;
    gring_source_fn source;
    void *ctx;
    gring_sem untaken; /* how many more results may be begun */
    int error;         /* why the producer stopped early */
};

gring_pile *gring_pile_new(gring_pool *pool)
{
    gring_pile *pile = calloc(1, sizeof *pile);

    if (!pile)
        return api_null(-ENOMEM);
    pile->pool = pool;
    list_init(&pile->entries);
    return pile;
}

/* ---- filling --------------------------------------------------------------------------------- */

/* A spawn under way. */
struct filling {
    struct frame frame; /* the task may exit in it, in a job that it runs itself */
    gring_pile *pile;
    struct entry *entry;
};

static void end_filling(struct filling *filling)
{
    frame_remove(&filling->frame);
    filling->pile->user_count--;
    gring_cond_broadcast(&filling->pile->changed);
}

static void leave_no_gap(const struct filling *filling)
{
    list_unlink(&filling->entry->link);
    free(filling->entry);
}

static void task_exits(struct frame *frame)
{
    struct filling *filling = CONTAINER_OF(frame, struct filling, frame);

    leave_no_gap(filling);
    end_filling(filling);
}

static const struct frame_kind filling_kind = { .close = task_exits };

/* The entry comes first: it keeps the place in the order of the calls while this one waits, and
 * nothing can fail once the task exists. */
static int spawn_entry(gring_pile *pile, gring_fn fn, void *arg)
{
    struct filling filling = { .pile = pile, .entry = calloc(1, sizeof *filling.entry) };
    int error;

    if (!filling.entry)
        return -ENOMEM;
    list_push_back(&pile->entries, &filling.entry->link);
    pile->user_count++;
    frame_push(wait_task(), &filling.frame, &filling_kind, CLOCK_FOREVER);
    error = pool_spawn(pile->pool, fn, arg, &(struct pool_member){ 0 }, &filling.entry->task);
    if (error < 0)
        leave_no_gap(&filling);
    end_filling(&filling);
    return error;
}

int gring_pile_spawn(gring_pile *pile, gring_fn fn, void *arg)
{
    if (!hub_self() || pile->done)
        return (int)api_result(hub_self() ? -EPIPE : runtime_no_hub());
    return (int)api_result(spawn_entry(pile, fn, arg));
}

int gring_pile_done(gring_pile *pile)
{
    if (!hub_self())
        return (int)api_result(runtime_no_hub());
    pile->done = true;
    return gring_cond_broadcast(&pile->changed);
}

/* ---- taking ---------------------------------------------------------------------------------- */

static struct entry *oldest(const gring_pile *pile)
{
    return list_empty(&pile->entries) ? NULL : CONTAINER_OF(pile->entries.next, struct entry, link);
}

/* Somebody else may take the entry meanwhile: the handle is kept. */
static int wait_for_task(struct gring_task *task)
{
    int outcome;

    gring_keep(task);
    outcome = gring_wait(task, NULL);
    gring_drop(task);
    return outcome < 0 ? -errno : 0;
}

static int wait_for_change(gring_pile *pile)
{
    return gring_cond_wait(&pile->changed, NULL) < 0 ? -errno : 0;
}

static struct gring_task *take(gring_pile *pile, struct entry *entry)
{
    struct gring_task *task = entry->task;

    list_unlink(&entry->link);
    free(entry);
    if (pile->producer)
        gring_sem_release(&pile->untaken);
    return task;
}

/* 1, 0, or -errno. */
static int next(gring_pile *pile, struct gring_task **task)
{
    int error = wait_permitted(wait_task());

    while (error == 0) {
        struct entry *entry = oldest(pile);

        if (entry && entry->task && task_state(entry->task) == TASK_DONE) {
            *task = take(pile, entry);
            return 1;
        }
        if (!entry && pile->done)
            return pile->error;
        error = entry && entry->task ? wait_for_task(entry->task) : wait_for_change(pile);
    }
    return error;
}

int gring_pile_next(gring_pile *pile, gring_task **task)
{
    int result;

    if (!hub_self())
        return (int)api_result(runtime_no_hub());
    pile->user_count++;
    result = next(pile, task);
    pile->user_count--;
    return (int)api_result(result);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void end_producer(gring_pile *pile)
{
    if (!pile->producer)
        return;
    gring_kill(pile->producer);
    gring_join(pile->producer, NULL);
    pile->producer = NULL;
}

void gring_pile_free(gring_pile *pile)
{
    struct entry *entry;

    if (!pile)
        return;
    gring_shield_enter();
    end_producer(pile);
    CHECK_SAY(!pile->user_count,
              "gring_pile_free, but somebody is in gring_pile_next or gring_pile_spawn");
    for (struct list *link = pile->entries.next; link != &pile->entries; link = link->next)
        gring_kill(CONTAINER_OF(link, struct entry, link)->task);
    while ((entry = oldest(pile)) != NULL)
        gring_join(take(pile, entry), NULL);
    gring_shield_leave();
    free(pile);
}

/* ---- imap ------------------------------------------------------------------------------------ */

/* 1: one more was begun; 0 that was all; -errno. */
static int produce_one(gring_pile *pile)
{
    void *arg;
    int result = gring_sem_acquire(&pile->untaken);

    if (result == 0)
        result = pile->source(pile->ctx, &arg);
    if (result <= 0)
        return result < 0 ? -errno : 0;
    result = spawn_entry(pile, pile->fn, arg);
    return result < 0 ? result : 1;
}

static void *produce(void *arg)
{
    gring_pile *pile = arg;
    int result;

    do
        result = produce_one(pile);
    while (result > 0);
    pile->error = result;
    gring_pile_done(pile);
    return NULL;
}

gring_pile *gring_pool_imap(gring_pool *pool, gring_fn fn, gring_source_fn source, void *ctx)
{
    size_t limit = pool_size(pool);
    gring_pile *pile;

    if (!fn || !source)
        return api_null(-EINVAL);
    pile = gring_pile_new(pool);
    if (!pile)
        return NULL;
    pile->fn = fn;
    pile->source = source;
    pile->ctx = ctx;
    gring_sem_init(&pile->untaken, limit ? (unsigned)limit : 1, 0, 0);
    pile->producer = gring_spawn(produce, pile);
    if (pile->producer)
        return pile;
    free(pile);
    return NULL;
}
