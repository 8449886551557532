/* Generators: greenring/co.h, its second half. */
#include "tests/support/child.h"
#include "tests/support/faketime.h"
#include "tests/support/green.h"

#include <greenring/co.h>

static char said[64];

static void say(const char *what)
{
    strncat(said, what, sizeof said - strlen(said) - 1);
}

static gring_gen *new_gen(gring_gen_fn fn, void *arg)
{
    gring_gen *gen = gring_gen_new(fn, arg);

    cr_assert_not_null(gen, "%m");
    return gen;
}

static void count(gring_gen *gen, void *end)
{
    for (intptr_t number = 0; number < (intptr_t)end; number++)
        if (gring_gen_yield(gen, (void *)number) < 0) {
            cr_assert_eq(errno, ECANCELED);
            say("freed ");
            return;
        }
    say("end ");
}

static intptr_t next(gring_gen *gen)
{
    void *item = NULL;

    cr_assert_eq(gring_gen_next(gen, &item), 1, "%m");
    return (intptr_t)item;
}

static void must_have_ended(gring_gen *gen)
{
    static int untouched;
    void *item = &untouched;

    cr_assert_eq(gring_gen_next(gen, &item), 0);
    cr_assert_eq(item, &untouched);
}

GreenTest(gen, hands_out_items_then_0_for_ever)
{
    gring_gen *gen = new_gen(count, (void *)4);

    for (intptr_t number = 0; number < 3; number++)
        cr_assert_eq(next(gen), number, "NULL is an item, too");
    cr_assert_eq(gring_gen_next(gen, NULL), 1);
    must_have_ended(gen);
    must_have_ended(gen);
    gring_gen_free(gen);
    cr_assert_str_eq(said, "end ");
}

GreenTest(gen, nothing_of_it_runs_before_the_first_item_is_asked_for)
{
    gring_gen *gen = new_gen(count, NULL);

    cr_assert_str_eq(said, "");
    must_have_ended(gen);
    cr_assert_str_eq(said, "end ");
    gring_gen_free(gen);
    gring_gen_free(new_gen(count, NULL));
    cr_assert_str_eq(said, "end ", "an unstarted one never runs");
}

GreenTest(gen, freed_when_suspended_runs_to_its_end)
{
    gring_gen *gen = new_gen(count, (void *)4);

    next(gen);
    gring_gen_free(gen);
    cr_assert_str_eq(said, "freed ");
    gring_gen_free(NULL);
}

static void yield_in_spite(gring_gen *gen, void *unused)
{
    (void)unused;
    gring_gen_yield(gen, NULL);
    for (int times = 0; times < 3; times++)
        cr_assert(gring_gen_yield(gen, NULL) == -1 && errno == ECANCELED);
    cr_assert_eq(gring_sleep(GRING_MS), 0, "it may park");
    say("slept");
    gring_fail(EIO);
}

GreenTest(gen, being_freed_no_item_is_taken_and_its_code_is_dropped)
{
    gring_gen *gen = new_gen(yield_in_spite, NULL);

    next(gen);
    gring_gen_free(gen);
    cr_assert_str_eq(said, "slept");
}

static void fail_after_one(gring_gen *gen, void *unused)
{
    (void)unused;
    gring_gen_yield(gen, NULL);
    gring_fail(EIO);
}

GreenTest(gen, its_code_is_reported_once)
{
    gring_gen *gen = new_gen(fail_after_one, NULL);

    next(gen);
    cr_assert(gring_gen_next(gen, NULL) == -1 && errno == EIO);
    must_have_ended(gen);
    gring_gen_free(gen);
}

/* ---- generators of generators ---- */

struct node {
    struct node *left, *right;
    intptr_t key;
};

static int yield_all_of(gring_gen *gen, gring_gen *inner)
{
    void *item;
    int more;

    while ((more = gring_gen_next(inner, &item)) > 0)
        if (gring_gen_yield(gen, item) < 0) {
            more = -1;
            break;
        }
    gring_gen_free(inner);
    return more;
}

static void walk(gring_gen *gen, void *tree)
{
    struct node *node = tree;

    if (!node)
        return;
    if (yield_all_of(gen, new_gen(walk, node->left)) < 0 ||
        gring_gen_yield(gen, (void *)node->key) < 0 ||
        yield_all_of(gen, new_gen(walk, node->right)) < 0)
        say("stopped ");
}

static struct node tree[] = {
    { &tree[1], &tree[2], 4 }, { &tree[3], &tree[4], 2 }, { NULL, &tree[5], 5 },
    { NULL, NULL, 1 },         { NULL, NULL, 3 },         { NULL, NULL, 6 },
};

GreenTest(gen, of_generators)
{
    gring_gen *gen = new_gen(walk, tree);

    for (intptr_t key = 1; key <= 6; key++)
        cr_assert_eq(next(gen), key);
    must_have_ended(gen);
    gring_gen_free(gen);
}

GreenTest(gen, of_generators_freed_in_the_middle_ends_them_all)
{
    gring_gen *gen = new_gen(walk, tree);

    cr_assert_eq(next(gen), 1);
    gring_gen_free(gen);
    cr_assert_str_eq(said, "stopped stopped stopped ");
}

static void yield_deeply(gring_gen *gen, intptr_t depth)
{
    if (depth == 0)
        gring_gen_yield(gen, gen);
    else
        yield_deeply(gen, depth - 1);
}

static void yield_from_below(gring_gen *gen, void *unused)
{
    (void)unused;
    yield_deeply(gen, 20);
}

GreenTest(gen, yields_from_any_depth)
{
    gring_gen *gen = new_gen(yield_from_below, NULL);

    cr_assert_eq(next(gen), (intptr_t)gen);
    gring_gen_free(gen);
}

/* ---- what is refused ---- */

static void ask_itself(gring_gen *gen, void *unused)
{
    (void)unused;
    cr_assert(gring_gen_next(gen, NULL) == -1 && errno == EBUSY);
    gring_gen_yield(gen, NULL);
}

static void ask_the_outer(gring_gen *gen, void *outer)
{
    cr_assert(gring_gen_next(outer, NULL) == -1 && errno == EBUSY);
    cr_assert(gring_gen_yield(outer, NULL) == -1 && errno == EPERM, "it is not its function");
    gring_gen_yield(gen, NULL);
}

static void have_it_asked(gring_gen *gen, void *unused)
{
    gring_gen *inner = new_gen(ask_the_outer, gen);

    (void)unused;
    next(inner);
    gring_gen_free(inner);
    gring_gen_yield(gen, NULL);
}

GreenTest(gen, asked_from_inside_is_EBUSY)
{
    gring_gen *gens[2] = { new_gen(ask_itself, NULL), new_gen(have_it_asked, NULL) };

    for (int index = 0; index < 2; index++) {
        next(gens[index]);
        must_have_ended(gens[index]);
        gring_gen_free(gens[index]);
    }
}

static void *ask_anothers(void *gen)
{
    cr_assert(gring_gen_next(gen, NULL) == -1 && errno == EPERM);
    cr_assert(gring_gen_yield(gen, NULL) == -1 && errno == EPERM);
    return NULL;
}

static gring_gen *kept;

static void use_after_fork(void)
{
    CHILD_MUST(gring_gen_next(kept, NULL) == -1 && errno == ECHILD);
    CHILD_MUST(gring_gen_yield(kept, NULL) == -1 && errno == EPERM);
    CHILD_MUST(!gring_gen_new(count, NULL) && errno == ECHILD);
    gring_gen_free(kept);
}

GreenTest(gen, refuses_others_and_nonsense)
{
    kept = new_gen(count, (void *)4);
    next(kept);
    cr_assert_eq(gring_join(gring_spawn(ask_anothers, kept), NULL), 0);
    cr_assert(gring_gen_yield(kept, NULL) == -1 && errno == EPERM);
    cr_assert(gring_gen_yield(NULL, NULL) == -1 && errno == EPERM);
    cr_assert(gring_gen_next(NULL, NULL) == -1 && errno == EINVAL);
    cr_assert(!gring_gen_new(NULL, NULL) && errno == EINVAL);
    child_must_pass(use_after_fork);
    gring_gen_free(kept);
}

static void free_itself(gring_gen *gen, void *unused)
{
    (void)unused;
    gring_gen_free(gen);
}

static void free_the_outer(gring_gen *gen, void *outer)
{
    (void)gen;
    gring_gen_free(outer);
}

static void have_it_freed(gring_gen *gen, void *unused)
{
    (void)unused;
    gring_gen_next(new_gen(free_the_outer, gen), NULL);
}

static gring_gen_fn wrong;

static void *ask_the_wrong(void *unused)
{
    gring_gen_next(new_gen(wrong, NULL), NULL);
    return unused;
}

static void run_the_wrong(void)
{
    gring_run(ask_the_wrong, NULL, NULL);
}

static void *free_anothers(void *gen)
{
    gring_gen_free(gen);
    return NULL;
}

static void *have_another_task_free(void *unused)
{
    gring_join(gring_spawn(free_anothers, new_gen(count, NULL)), NULL);
    return unused;
}

static void run_another_task_that_frees(void)
{
    gring_run(have_another_task_free, NULL, NULL);
}

Test(gen, freed_from_inside_or_by_another_task_is_caught)
{
    wrong = free_itself;
    child_must_abort(run_the_wrong, "a generator was freed from inside itself");
    wrong = have_it_freed;
    child_must_abort(run_the_wrong, "a generator was freed from inside itself");
    child_must_abort(run_another_task_that_frees, "freed by another task");
}

/* ---- between coroutines ---- */

static void *take_one(void *gen)
{
    return (void *)next(gen);
}

GreenTest(gen, serves_whichever_coroutine_asks)
{
    gring_gen *gen = new_gen(count, (void *)6);

    for (intptr_t number = 0; number < 6; number += 2) {
        gring_co *co = gring_co_new(take_one, NULL, 0);
        void *item = NULL;

        cr_assert_eq(gring_co_switch(co, gen, &item), 0);
        cr_assert_eq(item, (void *)number);
        cr_assert_eq(next(gen), number + 1);
        gring_co_free(co);
    }
    must_have_ended(gen);
    gring_gen_free(gen);
}

static gring_co *generators_co;

static void go_elsewhere(gring_gen *gen, void *root)
{
    generators_co = gring_co_self();
    gring_co_throw(root, EPIPE, NULL);
    gring_co_switch(root, root, NULL);
    cr_assert(gring_gen_yield(gen, (void *)7) == -1 && errno == EDOM);
    gring_gen_yield(gen, (void *)8);
}

GreenTest(gen, that_switches_and_throws_by_name)
{
    gring_gen *gen = new_gen(go_elsewhere, gring_co_self());

    cr_assert(gring_gen_next(gen, NULL) == -1 && errno == EPIPE);
    cr_assert(gring_gen_next(gen, NULL) == -1 && errno == EINTR);
    cr_assert_eq(next(gen), 7);
    cr_assert(gring_co_free(generators_co) == -1 && errno == EINVAL);
    cr_assert_eq(gring_co_throw(generators_co, EDOM, NULL), 0, "yield fails, and the next one");
    must_have_ended(gen);
    gring_gen_free(gen);
}

static void go_elsewhere_first(gring_gen *gen, void *root)
{
    generators_co = gring_co_self();
    gring_co_switch(root, NULL, NULL);
    gring_gen_yield(gen, (void *)7);
    gring_co_switch(root, NULL, NULL);
    gring_gen_yield(gen, (void *)8);
}

/* What came of it, for whoever switches here. */
static void *ask(void *gen)
{
    return gring_gen_next(gen, NULL) < 0 ? (void *)(intptr_t)errno : NULL;
}

GreenTest(gen, an_item_that_one_coroutine_has_taken_is_not_given_to_another)
{
    gring_gen *gen = new_gen(go_elsewhere_first, gring_co_self());
    gring_co *co = gring_co_new(ask, NULL, 0);
    void *error;

    cr_assert_eq(gring_co_switch(co, gen, NULL), 0, "the generator switches to us");
    cr_assert_eq(next(gen), 7);
    cr_assert_eq(gring_co_switch(co, NULL, &error), 0);
    cr_assert_eq(error, (void *)EINTR);
    gring_co_free(co);
    gring_gen_free(gen);
}

GreenTest(gen, a_throw_at_who_asks_is_reported_although_an_item_lies_there)
{
    gring_gen *gen = new_gen(go_elsewhere_first, gring_co_self());
    gring_co *co = gring_co_new(ask, NULL, 0);
    void *error;

    cr_assert_eq(gring_co_switch(co, gen, NULL), 0);
    cr_assert_eq(next(gen), 7);
    cr_assert(gring_gen_next(gen, NULL) == -1 && errno == EINTR);
    cr_assert_eq(gring_co_switch(generators_co, NULL, NULL), 0, "it hands out 8 to us");
    cr_assert_eq(gring_co_throw(co, EDOM, &error), 0);
    cr_assert_eq(error, (void *)EDOM);
    gring_co_free(co);
    gring_gen_free(gen);
}

static gring_co *root;

static void *ask_and_tell(void *gen)
{
    gring_co_switch(root, ask(gen), NULL);
    return NULL;
}

GreenTest(gen, a_refused_call_leaves_the_item_that_lies_there)
{
    gring_gen *gen = new_gen(go_elsewhere_first, root = gring_co_self());
    gring_co *co = gring_co_new(ask, NULL, 0), *inside;
    void *error;

    cr_assert_eq(gring_co_switch(co, gen, NULL), 0);
    cr_assert_eq(next(gen), 7);
    cr_assert(gring_gen_next(gen, NULL) == -1 && errno == EINTR);
    cr_assert_eq(gring_co_switch(generators_co, NULL, NULL), 0, "it hands out 8 to us");
    inside = gring_co_new(ask_and_tell, generators_co, 0);
    cr_assert_eq(gring_co_switch(inside, gen, &error), 0);
    cr_assert_eq(error, (void *)EBUSY);
    cr_assert_eq(gring_co_switch(co, NULL, &error), 0);
    cr_assert_null(error, "it gets 8");
    gring_co_free(inside);
    gring_co_free(co);
    gring_gen_free(gen);
}

/* ---- waits, deadlines, the end ---- */

static void sleep_between(gring_gen *gen, void *arg)
{
    intptr_t number = 0;

    (void)arg;
    while (gring_sleep(10 * GRING_MS) == 0 && gring_gen_yield(gen, (void *)number++) == 0)
        ;
    gring_fail(errno);
}

static void *take_sleepily(void *unused)
{
    gring_gen *gen = new_gen(sleep_between, NULL);

    for (intptr_t number = 0; number < 3; number++)
        cr_assert_eq(next(gen), number);
    cr_assert_eq(gring_within(5 * GRING_MS, gring_gen_next(gen, NULL)), -1);
    cr_assert_eq(errno, ETIMEDOUT, "the caller's deadline bounds the generator's waits");
    gring_gen_free(gen);
    say("done");
    return unused;
}

FakeTimeTest(gen, waits_park_the_task_and_deadlines_of_the_caller_count)
{
    gring_task *task = gring_spawn(take_sleepily, NULL);

    cr_assert_eq(gring_test_advance(25 * GRING_MS), 0);
    cr_assert_str_eq(said, "");
    cr_assert_eq(gring_test_advance(25 * GRING_MS), 0);
    cr_assert_str_eq(said, "done");
    cr_assert_eq(gring_join(task, NULL), 0);
}

static void *leave_it(void *unused)
{
    gring_gen *gen = new_gen(count, (void *)3);

    next(gen);
    new_gen(count, NULL);
    return unused;
}

GreenTest(gen, left_at_the_end_of_the_task_is_abandoned)
{
    cr_assert_eq(gring_join(gring_spawn(leave_it, NULL), NULL), 0);
    cr_assert_str_eq(said, "");
}

static void exit_in_it(gring_gen *gen, void *value)
{
    (void)gen;
    gring_exit(value);
}

static void *ask_one_that_exits(void *value)
{
    gring_gen_next(new_gen(exit_in_it, value), NULL);
    say("never");
    return NULL;
}

GreenTest(gen, that_exits_ends_the_task)
{
    void *result = NULL;

    cr_assert_eq(gring_join(gring_spawn(ask_one_that_exits, said), &result), 0);
    cr_assert_eq(result, said);
    cr_assert_str_eq(said, "");
}
