/* Calls that need a hub, made on a plain thread beside a run: each says EPERM, and changes nothing. The
 * calls of greenring/io.h and net.h are the plain system calls there: io.c, net.c, message.c, poll.c. */
#include "tests/support/green.h"

#include <greenring/uring.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>

static gring_scope scope;
static gring_pool *pool;
static gring_pile *pile;
static gring_respool *resources, *unused_resources;
static void *resource;
static gring_event event;
static gring_sem sem;

static void *nothing(void *arg)
{
    return arg;
}

static void call_nothing(void *unused)
{
    (void)unused;
}

static int create(void *unused, void **made)
{
    *made = &resources;
    return unused ? -1 : 0;
}

/* 0 or -1 and errno. */

static int status_of(const void *pointer)
{
    return pointer ? 0 : -1;
}

static int open_a_scope(void)
{
    gring_scope s = { { 0 } };
    int result = gring_scope_open(&s, 0);

    return gring_scope_close(&s) == 0 ? result
                                      : 0; /* closing what could not be opened is nothing */
}

static int spawn_into_a_scope(void)
{
    return status_of(gring_scope_spawn(&scope, nothing, NULL));
}

static int spawn_n_into_a_scope(void)
{
    return gring_scope_spawn_n(&scope, nothing, NULL);
}

static int defer_to_a_scope(void)
{
    return gring_scope_defer(&scope, call_nothing, NULL);
}

static int wait_for_a_scope(void)
{
    return gring_scope_wait(&scope);
}

static int start_a_deadline(void)
{
    gring_timeout timeout = { { 0 } };
    int result = gring_timeout_start(&timeout, GRING_SEC);

    return gring_timeout_stop(&timeout) == 0 ? result : 0;
}

static int start_a_deadline_at(void)
{
    gring_timeout timeout = { { 0 } };
    int result = gring_timeout_start_at(&timeout, gring_now() + GRING_SEC);

    return gring_timeout_stop(&timeout) == 0 ? result : 0;
}

static int start_a_timer(void)
{
    gring_timer timer = { { 0 } };

    return gring_timer_start(&timer, 0, call_nothing, NULL);
}

static int spawn_into_a_pool(void)
{
    return status_of(gring_pool_spawn(pool, nothing, NULL));
}

static int spawn_n_into_a_pool(void)
{
    return gring_pool_spawn_n(pool, nothing, NULL);
}

static int resize_a_pool(void)
{
    return gring_pool_resize(pool, 7);
}

static int wait_for_a_pool(void)
{
    return gring_pool_waitall(pool);
}

static int kill_a_pool(void)
{
    return gring_pool_killall(pool);
}

static int map_in_a_pool(void)
{
    void *args[1] = { NULL };
    int codes[1] = { 0 };
    ssize_t failed = gring_pool_map(pool, nothing, args, NULL, codes, 1);

    cr_assert_eq(codes[0], ECANCELED);
    return (int)failed;
}

static int spawn_into_a_pile(void)
{
    return gring_pile_spawn(pile, nothing, NULL);
}

static int take_from_a_pile(void)
{
    gring_task *task;

    return gring_pile_next(pile, &task);
}

static int end_a_pile(void)
{
    return gring_pile_done(pile);
}

static int get_a_resource(void)
{
    void *got;

    return gring_respool_get(resources, &got);
}

static int put_a_resource(void)
{
    return gring_respool_put(resources, resource, false);
}

static int resize_resources(void)
{
    return gring_respool_resize(resources, 5);
}

static int clear_resources(void)
{
    return gring_respool_clear(resources);
}

static int free_resources(void)
{
    return gring_respool_free(unused_resources);
}

static int reset_an_event(void)
{
    return gring_event_reset(&event);
}

static int fail_an_event(void)
{
    return gring_event_fail(&event, EIO);
}

static int poll_an_event(void)
{
    return gring_event_poll(&event, NULL);
}

static int look_at_a_balance(void)
{
    return gring_sem_balance(&sem) == INT_MIN ? -1 : 0;
}

static const struct io_uring_sqe nop = { .opcode = IORING_OP_NOP };

static int submit_an_operation(void)
{
    return gring_uring_op(&nop, NULL);
}

static int submit_a_chain(void)
{
    int32_t result;

    return gring_uring_chain(&nop, 1, &result);
}

static int submit_a_batch(void)
{
    int32_t result;

    return gring_uring_batch(&nop, 1, &result);
}

static int send_without_a_copy(void)
{
    return (int)gring_send_zc(-1, "x", 1, 0);
}

static const struct {
    const char *name;
    int (*call)(void);
} calls[] = {
#define CALL(function)                                                                             \
    {                                                                                              \
#function, function                                                                        \
    }
    CALL(open_a_scope),        CALL(spawn_into_a_scope), CALL(spawn_n_into_a_scope),
    CALL(defer_to_a_scope),    CALL(wait_for_a_scope),   CALL(start_a_deadline),
    CALL(start_a_deadline_at), CALL(start_a_timer),      CALL(spawn_into_a_pool),
    CALL(spawn_n_into_a_pool), CALL(resize_a_pool),      CALL(wait_for_a_pool),
    CALL(kill_a_pool),         CALL(map_in_a_pool),      CALL(spawn_into_a_pile),
    CALL(take_from_a_pile),    CALL(end_a_pile),         CALL(get_a_resource),
    CALL(put_a_resource),      CALL(resize_resources),   CALL(clear_resources),
    CALL(free_resources),      CALL(reset_an_event),     CALL(fail_an_event),
    CALL(poll_an_event),       CALL(look_at_a_balance),  CALL(submit_an_operation),
    CALL(submit_a_chain),      CALL(submit_a_batch),     CALL(send_without_a_copy),
    CALL(gring_idle),
#undef CALL
};

static void *make_the_calls(void *unused)
{
    for (size_t index = 0; index < sizeof calls / sizeof calls[0]; index++) {
        errno = 0;
        cr_expect_eq(calls[index].call(), -1, "%s", calls[index].name);
        cr_expect_eq(errno, EPERM, "%s: %s", calls[index].name, strerror(errno));
    }
    return unused;
}

static void *wait_for_the_event(void *unused)
{
    return gring_event_wait(&event, NULL) == 0 ? unused : gring_fail(errno);
}

static void *acquire(void *unused)
{
    return gring_sem_acquire(&sem) == 0 ? unused : gring_fail(errno);
}

static void set_the_scene(void)
{
    gring_respool_opts opts = GRING_RESPOOL_INIT;

    opts.max = 2;
    opts.create = create;
    resources = gring_respool_new(&opts);
    cr_assert_eq(gring_respool_get(resources, &resource), 0);
    unused_resources = gring_respool_new(&opts);
    pool = gring_pool_new(2);
    pile = gring_pile_new(pool);
    cr_assert_eq(gring_scope_open(&scope, 0), 0);
}

static void expect_it_unchanged(void)
{
    cr_assert_eq(gring_scope_live(&scope), 0);
    cr_assert_eq(gring_scope_close(&scope), 0);
    cr_assert_eq(gring_pool_free_slots(pool), 2);
    cr_assert_eq(gring_pile_spawn(pile, nothing, NULL), 0, "the pile was ended: %m");
    gring_pile_free(pile);
    gring_pool_free(pool);
    cr_assert_eq(gring_respool_avail(resources), 1);
    cr_assert_eq(gring_respool_put(resources, resource, false), 0);
    cr_assert_eq(gring_respool_free(resources), 0);
    cr_assert_eq(gring_respool_free(unused_resources), 0);
}

/* The hub stands still meanwhile: none of them needs its answer. */
GreenTest(elsewhere, each_call_that_needs_a_hub_is_EPERM_and_changes_nothing)
{
    gring_task *waiter = gring_spawn(wait_for_the_event, NULL), *taker = gring_spawn(acquire, NULL);
    pthread_t thread;

    set_the_scene();
    cr_assert_eq(gring_idle(), 0);
    cr_assert_eq(pthread_create(&thread, NULL, make_the_calls, NULL), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(gring_event_send(&event, NULL), 0, "the event was changed: %m");
    cr_assert_eq(gring_sem_balance(&sem), -1);
    cr_assert_eq(gring_sem_release(&sem), 0);
    cr_assert_eq(gring_join(waiter, NULL), 0);
    cr_assert_eq(gring_join(taker, NULL), 0);
    expect_it_unchanged();
}
