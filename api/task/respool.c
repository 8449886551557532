/*
 * Pools of resources; see <greenring/pool.h>.
 *
 *     right to have one ─┬─ an idle one   oldest first in the list; taken from either end
 *      (a semaphore)     └─ a new one
 *
 * A semaphore counts the rights that are free. Who holds one takes an idle resource or makes a
 * new one, so making never happens while an idle one lies there for the first in the queue, and a
 * failure to make one just gives the right back.
 *
 * Ages are looked at by a task of the pool's own, started by a timer when the first idle one is
 * due: destroying may park.
 */
#include "api/result.h"
#include "api/task/places.h"
#include "base/check.h"
#include "base/list.h"
#include "runtime/hub.h"
#include "runtime/runtime.h"
#include "runtime/wait.h"

#include <greenring/pool.h>
#include <greenring/sync.h>
#include <greenring/time.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

struct resource {
    struct list link; /* among the idle */
    void *it;
    gring_ns made, idle_since;
};

struct gring_respool {
    gring_respool_opts opts;
    struct places rights;
    struct list idle, out; /* records; the idle ones by the time they were put back */
    size_t idle_count, out_count;
    gring_timer due;
    gring_ns due_at;
    gring_task *reaper; /* under way, or NULL */
};

/* ---- making and unmaking --------------------------------------------------------------------- */

static int read_opts(const gring_respool_opts *given, gring_respool_opts *opts)
{
    if (!given || given->size < sizeof given->size || given->size > sizeof *opts)
        return -EINVAL;
    memset(opts, 0, sizeof *opts);
    memcpy(opts, given, given->size);
    return opts->create && opts->max && opts->max <= INT_MAX && opts->min <= opts->max ? 0
                                                                                       : -EINVAL;
}

gring_respool *gring_respool_new(const gring_respool_opts *given)
{
    gring_respool_opts opts;
    int error = read_opts(given, &opts);
    gring_respool *pool = error < 0 ? NULL : calloc(1, sizeof *pool);

    if (!pool)
        return api_null(error < 0 ? error : -ENOMEM);
    pool->opts = opts;
    list_init(&pool->idle);
    list_init(&pool->out);
    places_init(&pool->rights, opts.max);
    return pool;
}

/* Its record is on no list. */
static void destroy(gring_respool *pool, struct resource *resource)
{
    gring_shield_enter();
    if (pool->opts.destroy)
        pool->opts.destroy(pool->opts.ctx, resource->it);
    gring_shield_leave();
    free(resource);
}

static struct resource *take_idle(gring_respool *pool, struct list *link)
{
    list_unlink(link);
    pool->idle_count--;
    return CONTAINER_OF(link, struct resource, link);
}

static int destroy_all_idle(gring_respool *pool)
{
    while (!list_empty(&pool->idle))
        destroy(pool, take_idle(pool, pool->idle.next));
    return 0;
}

int gring_respool_clear(gring_respool *pool)
{
    return hub_self() ? destroy_all_idle(pool) : (int)api_result(runtime_no_hub());
}

int gring_respool_free(gring_respool *pool)
{
    if (!pool)
        return 0;
    if (!hub_self() && runtime_hub())
        return (int)api_result(-EPERM); /* its timer and its reaper are the run's */
    if (pool->out_count || pool->rights.waiting)
        return (int)api_result(-EBUSY);
    pool->opts.max_idle = pool->opts.max_age = 0; /* nobody starts the timer again */
    gring_timer_stop(&pool->due);
    gring_shield_enter();
    if (pool->reaper)
        gring_join(gring_keep(pool->reaper), NULL); /* it drops its own handle */
    destroy_all_idle(pool);
    gring_shield_leave();
    free(pool);
    return 0;
}

/* ---- rights ---------------------------------------------------------------------------------- */

long gring_respool_avail(const gring_respool *pool)
{
    long count = places_free(&pool->rights);

    return count > 0 ? count : 0;
}

size_t gring_respool_waiting(const gring_respool *pool)
{
    return pool->rights.waiting;
}

int gring_respool_resize(gring_respool *pool, size_t max)
{
    if (!hub_self())
        return (int)api_result(runtime_no_hub());
    if (!max || max > INT_MAX || max < pool->opts.min)
        return (int)api_result(-EINVAL);
    places_resize(&pool->rights, max);
    while (!list_empty(&pool->idle) && pool->idle_count + pool->out_count > max)
        destroy(pool, take_idle(pool, pool->idle.next));
    return 0;
}

/* ---- ages ------------------------------------------------------------------------------------ */

static gring_ns after(gring_ns start, gring_ns limit)
{
    if (limit < 0)
        return start;
    return limit ? clock_after(start, limit) : GRING_FOREVER;
}

static gring_ns end_of_life(const gring_respool *pool, const struct resource *resource)
{
    return after(resource->made, pool->opts.max_age);
}

/* When it is to be destroyed if nobody wants it before. */
static gring_ns end_of_idling(const gring_respool *pool, const struct resource *resource)
{
    gring_ns of_idling = after(resource->idle_since, pool->opts.max_idle);
    gring_ns of_life = end_of_life(pool, resource);

    return of_idling < of_life ? of_idling : of_life;
}

static struct resource *first_due(const gring_respool *pool)
{
    struct resource *found = NULL;

    for (struct list *link = pool->idle.next; link != &pool->idle; link = link->next) {
        struct resource *resource = CONTAINER_OF(link, struct resource, link);

        if (!found || end_of_idling(pool, resource) < end_of_idling(pool, found))
            found = resource;
    }
    return found;
}

static bool above_min(const gring_respool *pool)
{
    return pool->idle_count + pool->out_count > pool->opts.min;
}

static void *reap(void *arg);

/* It has done what it could, or was killed before it began: at the end of the run. */
static void forget_reaper(void *arg)
{
    gring_respool *pool = arg;

    gring_drop(pool->reaper);
    pool->reaper = NULL;
}

/* Without memory for a task the next put tries again. */
static void start_reaper(void *arg)
{
    gring_spawn_opts opts = GRING_SPAWN_INIT;
    gring_respool *pool = arg;

    opts.abort = forget_reaper;
    if (!pool->reaper)
        pool->reaper = gring_spawn_with(&opts, reap, pool);
}

/* The reaper comes when this one is due, if not before. */
static void watch(gring_respool *pool, const struct resource *resource)
{
    gring_ns instant = end_of_idling(pool, resource);

    if (instant == GRING_FOREVER || (gring_timer_pending(&pool->due) && pool->due_at <= instant))
        return;
    gring_timer_stop(&pool->due);
    gring_timer_start(&pool->due, instant - gring_loop_now(), start_reaper, pool);
    pool->due_at = instant;
}

/* A task of the pool's own. */
static void *reap(void *arg)
{
    gring_respool *pool = arg;
    struct resource *due;

    while (above_min(pool) && (due = first_due(pool)) != NULL &&
           end_of_idling(pool, due) <= gring_loop_now())
        destroy(pool, take_idle(pool, &due->link));
    forget_reaper(pool);
    if (above_min(pool) && (due = first_due(pool)) != NULL)
        watch(pool, due);
    return NULL;
}

/* ---- get and put ----------------------------------------------------------------------------- */

static int create(gring_respool *pool, void **it)
{
    const gring_respool_opts *opts = &pool->opts;
    int result = opts->create_timeout
                     ? gring_within(opts->create_timeout, opts->create(opts->ctx, it))
                     : opts->create(opts->ctx, it);

    return result < 0 ? -errno : 0;
}

static int make_new(gring_respool *pool, struct resource **result)
{
    struct resource *resource = calloc(1, sizeof *resource);
    int error = resource ? create(pool, &resource->it) : -ENOMEM;

    if (error < 0) {
        free(resource);
        return error;
    }
    resource->made = gring_loop_now();
    *result = resource;
    return 0;
}

/* With a right. Old ones that the reaper has not come to yet are not given out. */
static int take_or_make(gring_respool *pool, struct resource **result)
{
    while (!list_empty(&pool->idle)) {
        struct resource *resource =
            take_idle(pool, pool->opts.fifo ? pool->idle.next : pool->idle.prev);

        if (end_of_life(pool, resource) > gring_loop_now()) {
            *result = resource;
            return 0;
        }
        destroy(pool, resource);
    }
    return make_new(pool, result);
}

int gring_respool_get(gring_respool *pool, void **it)
{
    struct resource *resource;
    int error = hub_self() ? places_wait(&pool->rights) : runtime_no_hub();

    if (error < 0)
        return (int)api_result(error);
    pool->out_count++; /* also while it is being made */
    error = take_or_make(pool, &resource);
    if (error < 0) {
        pool->out_count--;
        places_return(&pool->rights);
        return (int)api_result(error);
    }
    list_push_back(&pool->out, &resource->link);
    *it = resource->it;
    return 0;
}

static struct resource *find_out(const gring_respool *pool, const void *it)
{
    for (struct list *link = pool->out.next; link != &pool->out; link = link->next) {
        struct resource *resource = CONTAINER_OF(link, struct resource, link);

        if (resource->it == it)
            return resource;
    }
    return NULL;
}

static bool is_usable(gring_respool *pool, const struct resource *resource)
{
    int verdict = 0;

    if (pool->rights.debt || pool->opts.max_idle < 0 ||
        end_of_life(pool, resource) <= gring_loop_now())
        return false;
    gring_shield_enter();
    if (pool->opts.check)
        verdict = pool->opts.check(pool->opts.ctx, resource->it);
    gring_shield_leave();
    return verdict >= 0;
}

static void make_idle(gring_respool *pool, struct resource *resource)
{
    resource->idle_since = gring_loop_now();
    list_push_back(&pool->idle, &resource->link);
    pool->idle_count++;
    if (above_min(pool))
        watch(pool, resource);
}

int gring_respool_put(gring_respool *pool, void *it, bool broken)
{
    struct resource *resource = hub_self() ? find_out(pool, it) : NULL;
    bool usable;

    if (!resource)
        return (int)api_result(hub_self() ? -EINVAL : runtime_no_hub());
    list_unlink(&resource->link);
    usable = !broken && is_usable(pool, resource);
    if (!usable)
        destroy(pool, resource);
    pool->out_count--;
    if (usable)
        make_idle(pool, resource);
    places_return(&pool->rights);
    return 0;
}
