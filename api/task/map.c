/* fn over an array, in a pool; see <greenring/pool.h>. */
#include "api/result.h"
#include "api/task/pool.h"
#include "runtime/frame.h"
#include "runtime/hub.h"
#include "runtime/runtime.h"
#include "runtime/wait.h"

#include <greenring/sync.h>

struct map {
    struct frame frame; /* its jobs have ended when its task exits, in one that it runs itself */
    gring_pool *pool;
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

static int begin_one(struct map *map, gring_fn fn, void *arg, size_t index)
{
    struct pool_member like = { .on_end = keep_outcome, .arg = map, .index = index };
    struct gring_task *task;
    int error;

    gring_wg_add(&map->left, 1);
    error = pool_spawn(map->pool, fn, arg, &like, &task);
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

static void give_up(struct map *map)
{
    pool_kill(map->pool, map);
    gring_shield_enter();
    gring_wg_wait(&map->left);
    gring_shield_leave();
}

static void task_exits(struct frame *frame)
{
    frame_remove(frame);
    give_up(CONTAINER_OF(frame, struct map, frame));
}

static const struct frame_kind map_kind = { .close = task_exits };

/* How many were begun, and 0 or -errno. */
static size_t begin_all(struct map *map, gring_fn fn, void *const args[], size_t count, int *error)
{
    size_t begun = 0;

    frame_push(wait_task(), &map->frame, &map_kind, CLOCK_FOREVER);
    while (*error == 0 && begun < count) {
        *error = begin_one(map, fn, args[begun], begun);
        begun += *error == 0;
    }
    frame_remove(&map->frame);
    return begun;
}

ssize_t gring_pool_map(gring_pool *pool, gring_fn fn, void *const args[], void *results[],
                       int codes[], size_t count)
{
    struct map map = { .pool = pool, .results = results, .codes = codes };
    int error = hub_self() ? wait_permitted(wait_task()) : runtime_no_hub();
    size_t begun = error == 0 ? begin_all(&map, fn, args, count, &error) : 0;

    mark_as_not_begun(&map, begun, count);
    if (error == 0 && gring_wg_wait(&map.left) < 0)
        error = -errno;
    if (error == 0)
        return (ssize_t)map.failed_count;
    if (hub_self())
        give_up(&map);
    return api_result(error);
}
