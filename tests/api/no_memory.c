/*
 * When malloc has nothing: each call that allocates says ENOMEM, leaves nothing half made, and
 * works when there is memory again. malloc and its kin are this program's own, libc's but for the
 * allocation that a test denies.
 */
#include "tests/support/child.h"
#include "tests/support/fds.h"
#include "tests/support/green.h"

#include <greenring/co.h>
#include <greenring/debug.h>
#include <sys/stat.h>

/* A sanitizer has a malloc of its own. */
#if !UNDER_ASAN

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

/* 0: none is denied, 1: the next one, 2: the one after it, … */
static _Thread_local int until_denied;

static bool denied(void)
{
    return until_denied > 0 && --until_denied == 0;
}

void *malloc(size_t size)
{
    return denied() ? (errno = ENOMEM, NULL) : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return denied() ? (errno = ENOMEM, NULL) : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    return denied() ? (errno = ENOMEM, NULL) : __libc_realloc(memory, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return denied() ? (errno = ENOMEM, NULL) : __libc_memalign(alignment, size);
}

/* ---- the calls: 0 or -1 and errno; what a call gave is given back -------------------------- */

static gring_scope scope;
static gring_pool *pool;
static gring_pile *pile;

static void *nothing(void *value)
{
    return value;
}

static void note_nothing(void *unused)
{
    (void)unused;
}

static void link_nothing(gring_task *task, void *unused)
{
    (void)task, (void)unused;
}

static int tick_nothing(void *unused, const gring_tick *tick)
{
    (void)unused, (void)tick;
    return 0;
}

static void yield_nothing(gring_gen *gen, void *unused)
{
    (void)gen, (void)unused;
}

static int join(gring_task *task)
{
    return task ? gring_join(task, NULL) : -1;
}

static int spawn_with_a_name(void)
{
    gring_spawn_opts opts = { .size = sizeof opts, .name = "named" };

    return join(gring_spawn_with(&opts, nothing, NULL));
}

static int spawn_later_in_a_scope(void)
{
    gring_spawn_opts opts = { .size = sizeof opts, .scope = &scope, .delay = 1 };
    gring_task *task = gring_spawn_with(&opts, nothing, NULL);

    return task ? gring_wait(task, NULL) : -1;
}

static int spawn_later(void)
{
    return join(gring_spawn_after(1, nothing, NULL));
}

static int spawn_in_a_scope(void)
{
    return gring_scope_spawn_n(&scope, nothing, NULL);
}

static int defer_to_the_scope(void)
{
    return gring_scope_defer(&scope, note_nothing, NULL);
}

static int defer(void)
{
    return gring_defer(note_nothing, NULL);
}

static int link_a_task(void)
{
    gring_task *task = gring_spawn(nothing, NULL);
    int result = gring_link(task, link_nothing, NULL), error = errno;

    gring_join(task, NULL);
    errno = error;
    return result;
}

static void *name_yourself(void *unused)
{
    (void)unused;
    return (void *)(intptr_t)(gring_set_name("myself") < 0 ? errno : 0);
}

static int name_a_task(void)
{
    void *error = NULL;

    gring_join(gring_spawn(name_yourself, NULL), &error);
    errno = (int)(intptr_t)error;
    return error ? -1 : 0;
}

static int post(void)
{
    return gring_post(NULL, note_nothing, NULL);
}

static int begin_ticks(void)
{
    gring_task *ticker = gring_every(GRING_SEC, tick_nothing, NULL, NULL);

    if (!ticker)
        return -1;
    gring_kill(ticker);
    gring_wait(ticker, NULL);
    gring_drop(ticker);
    return 0;
}

static int make_a_channel(void)
{
    gring_chan *chan = gring_chan_new(8, 4, 0);

    gring_chan_free(chan);
    return chan ? 0 : -1;
}

static int make_a_coroutine(void)
{
    gring_co *co = gring_co_new(nothing, NULL, 0);

    return co ? gring_co_free(co) : -1;
}

static int make_a_generator(void)
{
    gring_gen *gen = gring_gen_new(yield_nothing, NULL);

    if (gen)
        gring_gen_free(gen);
    return gen ? 0 : -1;
}

static int make_a_pool(void)
{
    gring_pool *made = gring_pool_new(3);

    gring_pool_free(made);
    return made ? 0 : -1;
}

static int make_a_pile(void)
{
    gring_pile *made = gring_pile_new(pool);

    gring_pile_free(made);
    return made ? 0 : -1;
}

static int spawn_in_a_pool(void)
{
    return join(gring_pool_spawn(pool, nothing, NULL));
}

static int spawn_in_a_pile(void)
{
    gring_task *task;

    if (gring_pile_spawn(pile, nothing, NULL) < 0 || gring_pile_next(pile, &task) < 0)
        return -1;
    return gring_join(task, NULL);
}

static int create_nothing(void *unused, void **resource)
{
    *resource = unused;
    return 0;
}

static int make_a_pool_of_resources(void)
{
    gring_respool_opts opts = GRING_RESPOOL_INIT;
    gring_respool *made;

    opts.max = 2;
    opts.create = create_nothing;
    made = gring_respool_new(&opts);
    return made ? gring_respool_free(made) : -1;
}

static int set_a_local(void)
{
    static gring_key key;

    if (!key && gring_key_create(&key, NULL, 0) < 0)
        return -1;
    return gring_key_set(key, &key);
}

/* What it inherits has to be noted somewhere. */
static int spawn_an_heir(void)
{
    static gring_key key;

    if (!key &&
        (gring_key_create(&key, NULL, GRING_KEY_INHERIT) < 0 || gring_key_set(key, &key) < 0))
        return -1;
    return join(gring_spawn(nothing, NULL));
}

/* ---- every allocation of a call, one after the other --------------------------------------- */

static const struct {
    const char *name;
    int (*call)(void);
} calls[] = {
#define CALL(function)                                                                             \
    {                                                                                              \
#function, function                                                                        \
    }
    CALL(spawn_with_a_name),
    CALL(spawn_later_in_a_scope),
    CALL(spawn_later),
    CALL(spawn_in_a_scope),
    CALL(defer_to_the_scope),
    CALL(defer),
    CALL(link_a_task),
    CALL(name_a_task),
    CALL(post),
    CALL(begin_ticks),
    CALL(make_a_channel),
    CALL(make_a_coroutine),
    CALL(make_a_generator),
    CALL(make_a_pool),
    CALL(make_a_pile),
    CALL(spawn_in_a_pool),
    CALL(spawn_in_a_pile),
    CALL(make_a_pool_of_resources),
    CALL(set_a_local),
    CALL(spawn_an_heir),
#undef CALL
};

enum { ALLOCATIONS_MAX = 20 };

/* How many allocations the call has made; each was denied once. */
static int deny_each(int (*call)(void), const char *name)
{
    for (int nth = 1; nth < ALLOCATIONS_MAX; nth++) {
        int result, error;

        until_denied = nth;
        errno = 0;
        result = call();
        error = errno;
        if (until_denied > 0) {
            until_denied = 0;
            cr_expect_eq(result, 0, "%s: %s", name, strerror(error));
            return nth - 1;
        }
        cr_expect_eq(result, -1, "%s succeeds without allocation %d", name, nth);
        cr_expect_eq(error, ENOMEM, "%s without allocation %d: %s", name, nth, strerror(error));
    }
    cr_expect_fail("%s never ends to allocate", name);
    return 0;
}

static size_t live_tasks(void)
{
    gring_stats stats = { .size = sizeof stats };

    cr_assert_eq(gring_idle(), 0);
    cr_assert_eq(gring_stats_get(&stats), 0);
    return stats.tasks;
}

GreenTest(no_memory, is_ENOMEM_from_each_call_and_leaves_nothing_half_made)
{
    size_t before;

    cr_assert_eq(gring_scope_open(&scope, 0), 0);
    pool = gring_pool_new(4);
    pile = gring_pile_new(pool);
    before = live_tasks();
    for (size_t index = 0; index < sizeof calls / sizeof calls[0]; index++) {
        int count = deny_each(calls[index].call, calls[index].name);

        cr_expect_gt(count, 0, "%s allocates nothing", calls[index].name);
        cr_expect_eq(live_tasks(), before, "%s leaves a task behind", calls[index].name);
    }
    gring_pile_free(pile);
    gring_pool_free(pool);
    cr_assert_eq(gring_scope_close(&scope), 0);
}

enum { SPAWNS = 2000 };

/* Records and stacks come in chunks: a spawn needs memory when there is none left, and only then. */
GreenTest(no_memory, is_ENOMEM_from_the_spawns_that_need_a_chunk)
{
    static gring_task *tasks[SPAWNS];
    int refused = 0;

    for (int index = 0; index < SPAWNS; index++) {
        until_denied = 1;
        errno = 0;
        tasks[index] = gring_spawn(nothing, NULL);
        until_denied = 0;
        if (tasks[index])
            continue;
        refused++;
        cr_assert_eq(errno, ENOMEM, "%m");
        tasks[index] = gring_spawn(nothing, NULL);
        cr_assert_not_null(tasks[index], "%m");
    }
    cr_assert_gt(refused, 0, "no spawn ever needed memory");
    cr_assert_lt(refused, SPAWNS / 10);
    for (int index = 0; index < SPAWNS; index++)
        cr_assert_eq(gring_join(tasks[index], NULL), 0);
}

/* What waits for a FIFO may outlast the wait, and so owns its memory. */
GreenTest(no_memory, is_ENOMEM_from_the_opening_of_a_fifo_that_would_wait)
{
    char folder[] = P_tmpdir "/greenring-test-XXXXXX", path[64];
    int before = descriptor_count();

    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/fifo", folder);
    cr_assert_eq(mkfifo(path, 0600), 0);
    for (int index = 0; index < 2; index++) {
        until_denied = 1;
        cr_expect_eq(gring_open(path, (index ? O_WRONLY : O_RDONLY) | O_CLOEXEC), -1);
        cr_expect_eq(errno, ENOMEM, "%m");
        until_denied = 0;
    }
    cr_expect_eq(descriptor_count(), before);
    unlink(path);
    rmdir(folder);
}

/* ---- the start ------------------------------------------------------------------------------ */

/* What is not needed may be left out without a word: the naming of stack overflows. */
Test(no_memory, at_the_start_is_ENOMEM_or_starts_with_less)
{
    int refused = 0;

    for (int nth = 1; nth < ALLOCATIONS_MAX; nth++) {
        until_denied = nth;
        if (gring_run(nothing, NULL, NULL) < 0) {
            cr_expect_eq(errno, ENOMEM, "without allocation %d: %m", nth);
            refused++;
        }
    }
    until_denied = 0;
    cr_expect_gt(refused, 0);
    cr_assert_eq(gring_run(nothing, NULL, NULL), 0, "%m");
}

#else

Test(no_memory, cannot_be_denied_to_a_sanitizer)
{
    cr_skip_test("malloc is not libc's");
}

#endif
