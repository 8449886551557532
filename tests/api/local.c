/* Task-locals: greenring/local.h. */
#include "tests/support/child.h"
#include "tests/support/faketime.h"
#include "tests/support/green.h"

#include <pthread.h>

static char calls[64]; /* what happened, a letter each */

static void note(const char *what)
{
    strncat(calls, what, sizeof calls - strlen(calls) - 1);
}

static gring_key new_key(void (*dtor)(void *), unsigned flags)
{
    gring_key key = 0;

    cr_assert_eq(gring_key_create(&key, dtor, flags), 0, "%m");
    cr_assert_neq(key, 0);
    return key;
}

static int outcome_of(gring_fn fn, void *arg)
{
    return gring_join(gring_spawn(fn, arg), NULL);
}

static int a, b; /* things to point to */

/* ---- keys ---- */

Test(key, there_are_64_without_a_runtime_too)
{
    gring_key keys[64], one_more;

    for (int index = 0; index < 64; index++)
        keys[index] = new_key(NULL, 0);
    cr_assert_eq(gring_key_create(&one_more, NULL, 0), -1);
    cr_assert_eq(errno, EAGAIN);
    cr_assert_eq(gring_key_delete(keys[17]), 0);
    one_more = new_key(NULL, 0);
    cr_assert_neq(one_more, keys[17]);
    for (int index = 0; index < 64; index++)
        for (int other = 0; other < index; other++)
            cr_assert_neq(keys[index], keys[other]);
}

Test(key, create_and_delete_refuse_nonsense)
{
    gring_key key;

    cr_assert(gring_key_create(NULL, NULL, 0) == -1 && errno == EINVAL);
    cr_assert(gring_key_create(&key, NULL, 2) == -1 && errno == EINVAL);
    cr_assert(gring_key_delete(0) == -1 && errno == EINVAL);
    cr_assert(gring_key_delete(12345) == -1 && errno == EINVAL);
    key = new_key(NULL, 0);
    cr_assert_eq(gring_key_delete(key), 0);
    cr_assert(gring_key_delete(key) == -1 && errno == EINVAL);
}

GreenTest(key, get_and_set_in_a_task)
{
    gring_key key = new_key(NULL, 0), last = key;

    cr_assert_null(gring_key_get(key), "not set");
    cr_assert_eq(gring_key_set(key, &a), 0);
    cr_assert_eq(gring_key_get(key), &a);
    cr_assert_eq(gring_key_set(key, &b), 0);
    cr_assert_eq(gring_key_get(key), &b);
    for (int count = 1; count < 64; count++)
        last = new_key(NULL, 0);
    cr_assert_null(gring_key_get(last));
    cr_assert_eq(gring_key_set(last, &a), 0);
    cr_assert_eq(gring_key_get(last), &a);
    cr_assert_eq(gring_key_get(key), &b);
    cr_assert_null(gring_key_get(0));
    cr_assert(gring_key_set(0, &a) == -1 && errno == EINVAL);
}

static gring_key shared_key;

static void *has_its_own(void *mine)
{
    cr_assert_null(gring_key_get(shared_key));
    cr_assert_eq(gring_key_set(shared_key, mine), 0);
    cr_assert_eq(gring_yield(), 0);
    cr_assert_eq(gring_key_get(shared_key), mine);
    return NULL;
}

GreenTest(key, each_task_has_its_own_value)
{
    gring_task *tasks[2];

    shared_key = new_key(NULL, 0);
    cr_assert_eq(gring_key_set(shared_key, calls), 0);
    tasks[0] = gring_spawn(has_its_own, &a);
    tasks[1] = gring_spawn(has_its_own, &b);
    cr_assert_eq(gring_waitall(tasks, 2), 0);
    cr_assert_eq(gring_key_get(shared_key), calls);
    gring_drop(tasks[0]);
    gring_drop(tasks[1]);
}

GreenTest(key, deleted_reads_as_NULL_and_cannot_be_set)
{
    gring_key key = new_key(NULL, 0);

    gring_key_set(key, &a);
    cr_assert_eq(gring_key_delete(key), 0);
    cr_assert_null(gring_key_get(key));
    cr_assert(gring_key_set(key, &a) == -1 && errno == EINVAL);
}

GreenTest(key, at_a_place_used_again_shows_nothing_of_the_former_one)
{
    gring_key former = new_key(NULL, 0), key;

    gring_key_set(former, &a);
    gring_key_delete(former);
    key = new_key(NULL, 0);
    cr_assert_null(gring_key_get(key));
    gring_key_set(key, &b);
    cr_assert_null(gring_key_get(former));
    cr_assert_eq(gring_key_get(key), &b);
}

static void look_from_a_callback(void *unused)
{
    (void)unused;
    if (gring_key_get(shared_key) == NULL && gring_key_set(shared_key, &a) == -1 && errno == EPERM)
        note("callback ");
}

static void *look_from_a_thread(void *unused)
{
    gring_key mine;

    if (gring_key_get(shared_key) == NULL && gring_key_set(shared_key, &a) == -1 &&
        errno == EPERM && gring_key_create(&mine, NULL, 0) == 0 && gring_key_delete(mine) == 0)
        note("thread ");
    return unused;
}

GreenTest(key, without_a_task_reads_as_NULL_and_cannot_be_set)
{
    pthread_t thread;

    shared_key = new_key(NULL, 0);
    gring_key_set(shared_key, &b);
    gring_post(NULL, look_from_a_callback, NULL);
    cr_assert_eq(gring_idle(), 0);
    pthread_create(&thread, NULL, look_from_a_thread, NULL);
    pthread_join(thread, NULL);
    cr_assert_str_eq(calls, "callback thread ");
}

static void look_after_fork(void)
{
    CHILD_MUST(gring_key_get(shared_key) == NULL);
    CHILD_MUST(gring_key_set(shared_key, &a) == -1 && errno == ECHILD);
}

GreenTest(key, cannot_be_set_in_the_child_of_a_fork)
{
    shared_key = new_key(NULL, 0);
    gring_key_set(shared_key, &b);
    child_must_pass(look_after_fork);
}

static void *set_main(void *value)
{
    gring_key_set(shared_key, value);
    return NULL;
}

static void *read_main(void *unused)
{
    (void)unused;
    return gring_key_get(shared_key);
}

Test(key, outlives_a_run_but_no_value_does)
{
    void *value = &a;

    shared_key = new_key(NULL, 0);
    cr_assert_eq(gring_run(set_main, &a, NULL), 0);
    cr_assert_eq(gring_run(read_main, NULL, &value), 0);
    cr_assert_null(value);
}

enum { MAKERS = 4, KEYS_EACH = 20000 };

static void *make_and_delete(void *wrong)
{
    gring_key key;

    for (int count = 0; count < KEYS_EACH; count++)
        if (gring_key_create(&key, NULL, count % 2) < 0 || gring_key_delete(key) < 0)
            return wrong;
    return NULL;
}

static void *set_and_read(void *wrong)
{
    gring_key key;

    for (int count = 0; count < KEYS_EACH / 4; count++) {
        if (gring_key_create(&key, NULL, GRING_KEY_INHERIT) < 0 || gring_key_get(key) ||
            gring_key_set(key, &key) < 0 || gring_key_get(key) != &key)
            return wrong;
        gring_join(gring_spawn(read_main, NULL), NULL);
        if (gring_key_delete(key) < 0)
            return wrong;
    }
    return NULL;
}

Test(key, made_and_deleted_by_several_threads_belongs_to_one)
{
    pthread_t threads[MAKERS];
    void *wrong;

    for (int index = 0; index < MAKERS; index++)
        pthread_create(&threads[index], NULL, make_and_delete, &a);
    cr_assert_eq(gring_run(set_and_read, &a, &wrong), 0);
    cr_assert_null(wrong);
    for (int index = 0; index < MAKERS; index++) {
        pthread_join(threads[index], &wrong);
        cr_assert_null(wrong);
    }
}

/* ---- destructors ---- */

static void note_value(void *what)
{
    note(what);
}

static char text_a[] = "a", text_b[] = "b", text_defer[] = "d", text_s[] = "s";

static void *set_two(void *keys)
{
    gring_key_set(((gring_key *)keys)[0], text_a);
    gring_key_set(((gring_key *)keys)[1], text_b);
    gring_key_set(((gring_key *)keys)[1], NULL);
    gring_key_set(((gring_key *)keys)[2], text_b);
    gring_defer(note_value, text_defer);
    return NULL;
}

static void note_end(gring_task *task, void *what)
{
    cr_assert_eq(gring_task_state(task), GRING_DONE);
    note(what);
}

GreenTest(destructor, runs_after_the_defers_and_before_the_links_for_what_is_not_NULL)
{
    gring_key keys[3] = { new_key(note_value, 0), new_key(note_value, 0), new_key(NULL, 0) };
    gring_task *task = gring_spawn(set_two, keys);
    static char link[] = "l";

    gring_link(task, note_end, link);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_str_eq(calls, "dal");
}

static void see_the_end(void *value)
{
    cr_assert_eq(gring_task_state(gring_self()), GRING_RUNNING);
    cr_assert_null(gring_key_get(shared_key), "the value is gone by now");
    cr_assert_eq(gring_yield(), 0, "not interrupted, though killed");
    note(value);
}

static void *set_shared(void *value)
{
    gring_key_set(shared_key, value);
    gring_park(NULL);
    return NULL;
}

GreenTest(destructor, may_park_and_is_not_interrupted)
{
    gring_task *task;

    shared_key = new_key(see_the_end, 0);
    task = gring_spawn(set_shared, text_a);
    gring_idle();
    gring_kill(task);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    cr_assert_str_eq(calls, "a");
}

static void set_for_ever(void *value)
{
    note(value);
    cr_assert_eq(gring_key_set(shared_key, value), 0);
}

GreenTest(destructor, that_sets_the_value_again_is_called_four_times)
{
    shared_key = new_key(set_for_ever, 0);
    cr_assert_eq(outcome_of(set_main, text_s), 0);
    cr_assert_str_eq(calls, "ssss");
}

static gring_key later_key;

static void set_a_later_key(void *value)
{
    note(value);
    gring_defer(note_value, text_defer);
    gring_key_set(later_key, text_b);
}

GreenTest(destructor, may_set_other_values_and_defer)
{
    gring_key earlier = new_key(note_value, 0);

    shared_key = new_key(set_a_later_key, 0);
    later_key = earlier; /* its turn in the first round is over */
    cr_assert_eq(outcome_of(set_main, text_a), 0);
    cr_assert_str_eq(calls, "adb");
}

static void set_many_more(void *value)
{
    note(value);
    for (int count = 0; count < 40; count++)
        gring_key_set(new_key(NULL, 0), value);
    gring_key_set(later_key, text_b);
}

GreenTest(destructor, may_make_the_task_have_many_more)
{
    shared_key = new_key(set_many_more, 0);
    later_key = new_key(note_value, 0);
    cr_assert_eq(outcome_of(set_main, text_a), 0);
    cr_assert_str_eq(calls, "ab");
}

static void *set_and_exit(void *value)
{
    gring_key_set(shared_key, value);
    gring_exit(NULL);
}

GreenTest(destructor, runs_at_gring_exit_too)
{
    shared_key = new_key(note_value, 0);
    cr_assert_eq(outcome_of(set_and_exit, text_a), 0);
    cr_assert_str_eq(calls, "a");
}

Test(destructor, runs_for_the_main_task_of_run_and_of_init)
{
    shared_key = new_key(note_value, 0);
    cr_assert_eq(gring_run(set_main, text_a, NULL), 0);
    cr_assert_str_eq(calls, "a");
    cr_assert_eq(gring_init(NULL), 0);
    cr_assert_eq(gring_key_set(shared_key, text_b), 0);
    cr_assert_eq(gring_fini(), 0);
    cr_assert_str_eq(calls, "ab");
}

GreenTest(destructor, of_a_deleted_key_does_not_run)
{
    gring_task *task;

    shared_key = new_key(note_value, 0);
    task = gring_spawn(set_shared, text_a);
    gring_idle();
    gring_key_delete(shared_key);
    new_key(note_value, 0); /* at the same place */
    gring_unpark(task, NULL);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_str_eq(calls, "");
}

static void open_a_scope(void *unused)
{
    static gring_scope scope;

    (void)unused;
    gring_scope_open(&scope, 0);
}

static void *leave_a_scope_open(void *value)
{
    shared_key = new_key(open_a_scope, 0);
    return set_main(value);
}

Test(destructor, that_leaves_a_scope_open_is_caught, .signal = SIGABRT)
{
    gring_run(leave_a_scope_open, text_a, NULL);
}

/* ---- inheritance ---- */

static void *read_and_spawn(void *depth)
{
    void *value = gring_key_get(shared_key), *below = value;

    if (depth)
        gring_join(gring_spawn(read_and_spawn, NULL), &below);
    return below == value ? value : NULL;
}

GreenTest(inherit, a_new_task_starts_with_its_spawners_pointer_and_so_do_its_own)
{
    gring_key plain = new_key(NULL, 0);
    void *value = NULL;

    shared_key = new_key(note_value, GRING_KEY_INHERIT);
    gring_key_set(plain, text_b);
    gring_key_set(shared_key, text_a);
    cr_assert_eq(gring_join(gring_spawn(read_and_spawn, &a), &value), 0);
    cr_assert_eq(value, text_a);
    shared_key = plain;
    cr_assert_eq(gring_join(gring_spawn(read_and_spawn, &a), &value), 0);
    cr_assert_null(value);
    cr_assert_str_eq(calls, "", "the destructor is not run for what was inherited");
}

static void *set_over(void *value)
{
    cr_assert_eq(gring_key_get(shared_key), text_a);
    gring_key_set(shared_key, value);
    return NULL;
}

GreenTest(inherit, the_destructor_runs_for_what_the_heir_sets_itself)
{
    shared_key = new_key(note_value, GRING_KEY_INHERIT);
    gring_key_set(shared_key, text_a);
    cr_assert_eq(outcome_of(set_over, text_b), 0);
    cr_assert_str_eq(calls, "b");
    cr_assert_eq(gring_key_get(shared_key), text_a);
}

GreenTest(inherit, the_pointer_is_that_of_the_spawn_in_scopes_and_delayed_tasks_too)
{
    gring_scope scope;
    gring_task *now, *later;
    void *value = NULL;

    shared_key = new_key(NULL, GRING_KEY_INHERIT);
    gring_key_set(shared_key, text_a);
    gring_scope_open(&scope, 0);
    now = gring_scope_spawn(&scope, read_main, NULL);
    later = gring_spawn_after(GRING_MS, read_main, NULL);
    gring_key_set(shared_key, text_b);
    cr_assert_eq(gring_wait(now, &value), 0);
    cr_assert_eq(value, text_a);
    gring_scope_close(&scope);
    cr_assert_eq(gring_join(later, &value), 0);
    cr_assert_eq(value, text_a);
}

GreenTest(inherit, a_task_killed_before_it_ran_leaves_nothing_behind)
{
    gring_task *task;

    shared_key = new_key(note_value, GRING_KEY_INHERIT);
    gring_key_set(shared_key, text_a);
    task = gring_spawn(read_main, NULL);
    gring_kill(task);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    cr_assert_str_eq(calls, "");
}

static void *spawn_from_a_thread(void *hub)
{
    void *value = &a;

    if (gring_join(gring_spawn_on(hub, read_main, NULL), &value) == 0 && !value)
        note("t");
    return NULL;
}

static void spawn_from_a_callback(void *task)
{
    *(gring_task **)task = gring_spawn(read_main, NULL);
}

GreenTest(inherit, nothing_from_a_plain_thread_or_a_callback)
{
    pthread_t thread;
    gring_task *task = NULL;
    void *value = &a;

    shared_key = new_key(NULL, GRING_KEY_INHERIT);
    gring_key_set(shared_key, text_a);
    gring_post(NULL, spawn_from_a_callback, &task);
    gring_idle();
    cr_assert_eq(gring_join(task, &value), 0);
    cr_assert_null(value);
    pthread_create(&thread, NULL, spawn_from_a_thread, gring_hub_self());
    while (!*calls)
        gring_sleep(GRING_MS);
    pthread_join(thread, NULL);
    cr_assert_str_eq(calls, "t");
}

GreenTest(inherit, nothing_of_a_deleted_key)
{
    void *value = &a;

    shared_key = new_key(NULL, GRING_KEY_INHERIT);
    gring_key_set(shared_key, text_a);
    gring_key_delete(shared_key);
    new_key(NULL, GRING_KEY_INHERIT);
    cr_assert_eq(gring_join(gring_spawn(read_main, NULL), &value), 0);
    cr_assert_null(value);
}
