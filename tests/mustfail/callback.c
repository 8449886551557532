/* Callbacks run on the hub's loop and must not park. */
#include "tests/support/dies.h"

#define IN_A_CALLBACK "in a callback on the hub's loop; spawn a task"

static void sleep_here(void *unused)
{
    (void)unused;
    gring_sleep(GRING_MS);
}

static void yield_here(void *unused)
{
    (void)unused;
    gring_yield();
}

static void exit_here(void *unused)
{
    (void)unused;
    gring_exit(NULL);
}

static void *park(void *unused)
{
    (void)unused;
    gring_park(NULL);
    return NULL;
}

static void *nothing(void *arg)
{
    return arg;
}

static void run_timer(gring_cb cb)
{
    gring_timer timer = { { 0 } };

    gring_timer_start(&timer, 0, cb, NULL);
    gring_sleep(GRING_SEC);
}

static void run_post(gring_cb cb)
{
    gring_post(NULL, cb, NULL);
    gring_sleep(GRING_SEC);
}

static void run_abort(gring_cb cb)
{
    gring_spawn_opts opts = GRING_SPAWN_INIT;

    opts.abort = cb;
    gring_kill(gring_spawn_with(&opts, nothing, NULL));
}

GreenDies(callback, of_a_timer_that_waits, SIGABRT, IN_A_CALLBACK)
{
    run_timer(sleep_here);
}

GreenDies(callback, of_a_timer_that_yields, SIGABRT, IN_A_CALLBACK)
{
    run_timer(yield_here);
}

GreenDies(callback, of_a_timer_that_exits, SIGABRT, "a callback or a plain thread is none")
{
    run_timer(exit_here);
}

GreenDies(callback, of_a_post_that_waits, SIGABRT, IN_A_CALLBACK)
{
    run_post(sleep_here);
}

GreenDies(callback, of_a_post_that_yields, SIGABRT, IN_A_CALLBACK)
{
    run_post(yield_here);
}

GreenDies(callback, of_an_abort_that_waits, SIGABRT, IN_A_CALLBACK)
{
    run_abort(sleep_here);
}

GreenDies(callback, of_an_abort_that_yields, SIGABRT, IN_A_CALLBACK)
{
    run_abort(yield_here);
}

static void sleep_in_a_link(gring_task *task, void *unused)
{
    (void)task;
    sleep_here(unused);
}

static void yield_in_a_link(gring_task *task, void *unused)
{
    (void)task;
    yield_here(unused);
}

static void run_link(gring_link_fn link)
{
    gring_task *task = gring_spawn(nothing, NULL);

    gring_link(task, link, NULL);
    gring_join(task, NULL);
}

GreenDies(callback, of_a_link_that_waits, SIGABRT, IN_A_CALLBACK)
{
    run_link(sleep_in_a_link);
}

GreenDies(callback, of_a_link_that_yields, SIGABRT, IN_A_CALLBACK)
{
    run_link(yield_in_a_link);
}

static gring_scope foreign_scope;

static void close_the_scope(void *unused)
{
    (void)unused;
    gring_scope_close(&foreign_scope);
}

GreenDies(callback, that_closes_a_scope, SIGABRT, "only the owner may wait for its end")
{
    gring_scope_open(&foreign_scope, 0);
    gring_scope_spawn(&foreign_scope, park, NULL);
    run_post(close_the_scope);
}

/* ---- sync objects and pools ------------------------------------------------------------------ */

static gring_mutex mutex;
static gring_rwlock rwlock;
static gring_sem semaphore;
static gring_pool *pool;

static void lock_here(void *unused)
{
    (void)unused;
    gring_mutex_lock(&mutex);
}

GreenDies(callback, that_locks_a_mutex, SIGABRT, IN_A_CALLBACK)
{
    run_post(lock_here);
}

static void read_here(void *unused)
{
    (void)unused;
    gring_rwlock_rdlock(&rwlock);
}

GreenDies(callback, that_locks_a_rwlock, SIGABRT, IN_A_CALLBACK)
{
    run_post(read_here);
}

static void acquire_here(void *unused)
{
    (void)unused;
    gring_sem_acquire(&semaphore);
}

GreenDies(callback, that_acquires_a_semaphore, SIGABRT, IN_A_CALLBACK)
{
    run_post(acquire_here);
}

static void choose_here(void *unused)
{
    (void)unused;
    gring_choose(NULL, 0);
}

GreenDies(callback, that_chooses, SIGABRT, IN_A_CALLBACK)
{
    run_post(choose_here);
}

static void wait_for_the_pool_here(void *unused)
{
    (void)unused;
    gring_pool_waitall(pool);
}

GreenDies(callback, that_waits_for_a_pool, SIGABRT, IN_A_CALLBACK)
{
    pool = gring_pool_new(1);
    run_post(wait_for_the_pool_here);
}

static void free_the_pool_here(void *unused)
{
    (void)unused;
    gring_pool_free(pool);
}

GreenDies(callback, that_frees_a_pool_in_use, SIGABRT, IN_A_CALLBACK)
{
    pool = gring_pool_new(1);
    gring_pool_spawn_n(pool, park, NULL);
    run_post(free_the_pool_here);
}

static void write_here(void *unused)
{
    (void)unused;
    gring_write(-1, "x", 1);
}

GreenDies(callback, that_writes, SIGABRT, IN_A_CALLBACK)
{
    run_post(write_here);
}

static void send_here(void *unused)
{
    (void)unused;
    gring_send(-1, "x", 1, 0);
}

GreenDies(callback, that_sends, SIGABRT, IN_A_CALLBACK)
{
    run_post(send_here);
}

static int files[2];

static void send_a_file_here(void *unused)
{
    (void)unused;
    gring_sendfile(files[1], files[0], NULL, 1);
}

static void copy_a_file_here(void *unused)
{
    (void)unused;
    gring_copy_file_range(files[0], NULL, files[1], NULL, 1, 0);
}

static void open_two_files(void)
{
    for (int index = 0; index < 2; index++) {
        FILE *file = tmpfile();

        files[index] = file ? fileno(file) : -1;
    }
}

GreenDies(callback, that_sends_a_file, SIGABRT, IN_A_CALLBACK)
{
    open_two_files();
    run_post(send_a_file_here);
}

GreenDies(callback, that_copies_a_file, SIGABRT, IN_A_CALLBACK)
{
    open_two_files();
    run_post(copy_a_file_here);
}
