/* fn over an array, in a pool; see <greenring/pool.h>. */
#include "api/result.h"
#include "api/task/pool.h"
#include "runtime/hub.h"
#include "runtime/runtime.h"
#include "runtime/wait.h"

#include <greenring/sync.h>

struct map {
    void **results;
    int *codes;
    size_t failed_count;
    gring_wg left;
};

static void keep_outcome(struct pool_member *member)
{
    struct map *map = member->arg;
    struct gring_task *task = member->task;

    task->outcome_seen = true;
    if (map->results)
        map->results[member->index] = task->result;
    if (map->codes)
        map->codes[member->index] = task->code;
    map->failed_count += task->code != 0;
    gring_wg_done(&map->left);
}

static int begin_one(struct map *map, gring_pool *pool, gring_fn fn, void *arg, size_t index)
{
    struct pool_member like = { .on_end = keep_outcome, .arg = map, .index = index };
    struct gring_task *task;
    int error;

    gring_wg_add(&map->left, 1);
    error = pool_spawn(pool, fn, arg, &like, &task);
    if (error < 0)
        gring_wg_done(&map->left);
    else
        task_drop(task);
    return error;
}

static void mark_as_not_begun(const struct map *map, size_t from, size_t count)
{
    for (size_t index = from; index < count; index++) {
        if (map->results)
            map->results[index] = NULL;
        if (map->codes)
            map->codes[index] = ECANCELED;
    }
}

static void give_up(struct map *map, gring_pool *pool)
{
    pool_kill(pool, map);
    gring_shield_enter();
    gring_wg_wait(&map->left);
    gring_shield_leave();
}

ssize_t gring_pool_map(gring_pool *pool, gring_fn fn, void *const args[], void *results[],
                       int codes[], size_t count)
{
    struct map map = { .results = results, .codes = codes };
    size_t begun = 0;
    int error = hub_self() ? wait_permitted(wait_task()) : runtime_no_hub();

    while (error == 0 && begun < count) {
        error = begin_one(&map, pool, fn, args[begun], begun);
        begun += error == 0;
    }
    mark_as_not_begun(&map, begun, count);
    if (error == 0 && gring_wg_wait(&map.left) < 0)
        error = -errno;
    if (error == 0)
        return (ssize_t)map.failed_count;
    if (hub_self())
        give_up(&map, pool);
    return api_result(error);
}
