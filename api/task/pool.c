/* Task pools: places, and a list of who has one; see pool.h. */
#include "api/task/pool.h"

#include "api/result.h"
#include "api/task/places.h"
#include "base/check.h"
#include "runtime/frame.h"
#include "runtime/hub.h"
#include "runtime/runtime.h"
#include "runtime/wait.h"

#include <greenring/sync.h>
#include <limits.h>
#include <stdlib.h>

struct gring_pool {
    struct list members;
    size_t running;
    struct places places;
    gring_wg members_left; /* to wait for their end */
};

gring_pool *gring_pool_new(size_t size)
{
    gring_pool *pool;

    if (size > INT_MAX)
        return api_null(-EINVAL);
    pool = calloc(1, sizeof *pool);
    if (!pool)
        return api_null(-ENOMEM);
    list_init(&pool->members);
    places_init(&pool->places, size);
    return pool;
}

/* ---- places ---------------------------------------------------------------------------------- */

int gring_pool_resize(gring_pool *pool, size_t size)
{
    if (!hub_self() || size > INT_MAX)
        return (int)api_result(hub_self() ? -EINVAL : runtime_no_hub());
    places_resize(&pool->places, size);
    return 0;
}

/* ---- members --------------------------------------------------------------------------------- */

static void member_ended(struct end_waiter *waiter)
{
    struct pool_member *member = CONTAINER_OF(waiter, struct pool_member, waiter);
    gring_pool *pool = member->pool;

    list_unlink(&member->link);
    pool->running--;
    if (member->on_end)
        member->on_end(member);
    free(member);
    places_return(&pool->places);
    gring_wg_done(&pool->members_left);
}

/* The running task's own place in the pool, or NULL: it waits for its end like everybody. */
static struct pool_member *own_member(const gring_pool *pool)
{
    struct list *waiters = &wait_task()->waiters;

    for (struct list *link = waiters->next; link != waiters; link = link->next) {
        struct end_waiter *waiter = CONTAINER_OF(link, struct end_waiter, link);
        struct pool_member *member = CONTAINER_OF(waiter, struct pool_member, waiter);

        if (waiter->on_end == member_ended && member->pool == pool)
            return member;
    }
    return NULL;
}

static struct pool_member *add_member(gring_pool *pool, struct gring_task *task,
                                      const struct pool_member *like)
{
    struct pool_member *member = malloc(sizeof *member);

    if (!member)
        return NULL;
    *member = *like;
    member->waiter = (struct end_waiter){ .on_end = member_ended, .ignores_outcome = true };
    member->pool = pool;
    member->task = task;
    list_push_back(&pool->members, &member->link);
    task_add_waiter(task, &member->waiter);
    pool->running++;
    gring_wg_add(&pool->members_left, 1);
    return member;
}

/* With a place taken. */
static int start(gring_pool *pool, gring_fn fn, void *arg, const struct pool_member *like,
                 struct gring_task **task)
{
    struct gring_hub *hub = hub_self();
    int error = task_new(hub, hub->default_pool, fn, arg, task);

    if (error < 0)
        return error;
    if (!add_member(pool, *task, like)) {
        task_discard(*task);
        return -ENOMEM;
    }
    task_ready(*task);
    return 0;
}

/* Around a job in its pool's own task: if that exits in there, somebody must still be told. */
struct own_job {
    struct frame frame;
    struct pool_member member;
};

static void end_own_job(struct own_job *job)
{
    frame_remove(&job->frame);
    if (job->member.on_end)
        job->member.on_end(&job->member);
}

/* The call never returns, so the handle is nobody's. */
static void runner_exits(struct frame *frame)
{
    struct own_job *job = CONTAINER_OF(frame, struct own_job, frame);

    end_own_job(job);
    task_drop(job->member.task);
}

static const struct frame_kind own_job_kind = { .close = runner_exits };

/* In a full pool's own task: nobody else would give a place back. */
static int run_here(gring_fn fn, void *arg, const struct pool_member *like,
                    struct gring_task **task)
{
    struct gring_hub *hub = hub_self();
    struct own_job job = { .member = *like };
    int error = task_new(hub, hub->default_pool, fn, arg, task);

    if (error < 0)
        return error;
    job.member.task = *task;
    frame_push(hub->running, &job.frame, &own_job_kind, CLOCK_FOREVER);
    task_run_here(*task);
    end_own_job(&job);
    return 0;
}

int pool_spawn(gring_pool *pool, gring_fn fn, void *arg, const struct pool_member *like,
               struct gring_task **task)
{
    int error;

    if (!fn || !hub_self())
        return fn ? runtime_no_hub() : -EINVAL;
    error = wait_permitted(wait_task());
    if (error < 0)
        return error;
    if (!places_try(&pool->places)) {
        if (own_member(pool))
            return run_here(fn, arg, like, task);
        error = places_wait(&pool->places);
    }
    if (error < 0)
        return error;
    error = start(pool, fn, arg, like, task);
    if (error < 0)
        places_return(&pool->places);
    return error;
}

gring_task *gring_pool_spawn(gring_pool *pool, gring_fn fn, void *arg)
{
    struct gring_task *task;
    int error = pool_spawn(pool, fn, arg, &(struct pool_member){ 0 }, &task);

    return error < 0 ? api_null(error) : task;
}

int gring_pool_spawn_n(gring_pool *pool, gring_fn fn, void *arg)
{
    struct gring_task *task;
    int error = pool_spawn(pool, fn, arg, &(struct pool_member){ 0 }, &task);

    if (error == 0)
        task_drop(task);
    return (int)api_result(error);
}

/* ---- all of them ----------------------------------------------------------------------------- */

size_t pool_size(const gring_pool *pool)
{
    return pool->places.size;
}

size_t gring_pool_running(const gring_pool *pool)
{
    return pool->running;
}

long gring_pool_free_slots(const gring_pool *pool)
{
    return places_free(&pool->places);
}

size_t gring_pool_waiting(const gring_pool *pool)
{
    return pool->places.waiting;
}

int gring_pool_waitall(gring_pool *pool)
{
    if (!hub_self() || own_member(pool))
        return (int)api_result(hub_self() ? -EDEADLK : runtime_no_hub());
    return gring_wg_wait(&pool->members_left);
}

/* A kill ends who has not started at once, and with it its membership: so we look again from the
 * beginning until all that are left have been told. */
void pool_kill(gring_pool *pool, const void *arg)
{
    struct list told, *link;

    list_init(&told);
    while ((link = list_pop_front(&pool->members)) != NULL) {
        struct pool_member *member = CONTAINER_OF(link, struct pool_member, link);

        list_push_back(&told, link);
        if (!arg || member->arg == arg)
            task_kill(member->task);
    }
    list_splice_back(&pool->members, &told);
}

int gring_pool_killall(gring_pool *pool)
{
    if (!hub_self())
        return (int)api_result(runtime_no_hub());
    pool_kill(pool, NULL);
    return 0;
}

void gring_pool_free(gring_pool *pool)
{
    if (!pool)
        return;
    CHECK_SAY(!pool->places.waiting, "gring_pool_free, but somebody waits in gring_pool_spawn");
    if (pool->running) {
        CHECK_SAY(!own_member(pool), "gring_pool_free was called by one of the pool's own tasks");
        pool_kill(pool, NULL);
        gring_shield_enter();
        gring_wg_wait(&pool->members_left);
        gring_shield_leave();
    }
    free(pool);
}
