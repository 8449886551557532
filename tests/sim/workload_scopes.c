/*
 * Trees of scopes under fire: tasks open scopes in scopes, wait, fail, hold shields and deadlines,
 * while others kill and throw at random. A closed scope has nobody left; no task outlives the
 * scope it was born in; whoever is shielded is not interrupted from outside.
 */
#include "tests/sim/sim.h"

#include <errno.h>

enum { NODES_MAX = 120, FAN_MAX = 5, DEPTH_MAX = 5, THROWN = EPROTO, FAILED = EDOM };

struct node {
    struct node *parent;
    gring_task *task; /* borrowed or kept: see handles */
    unsigned depth, living_children;
    bool is_over;
};

static struct {
    struct node *nodes[NODES_MAX];
    gring_task *handles[NODES_MAX]; /* ours, for strikes */
    unsigned count, living;
} tree;

static void *live(void *arg);

static void note(int result)
{
    if (result < 0 && errno != ECANCELED && errno != THROWN && errno != ETIMEDOUT)
        sim_excuse(errno);
}

static void grow(struct node *parent, gring_scope *scope)
{
    struct node *node = sim_alloc(sizeof *node);
    gring_task *task;

    if (tree.count == NODES_MAX)
        return;
    node->parent = parent;
    node->depth = parent->depth + 1;
    task = gring_scope_spawn(scope, live, node);
    if (!task) {
        note(-1);
        return;
    }
    parent->living_children++;
    tree.living++;
    tree.handles[tree.count] = gring_keep(task);
    tree.nodes[tree.count++] = node;
}

/* A child that was killed before it began never says so itself. */
static void bury(unsigned first)
{
    for (unsigned index = first; index < tree.count; index++) {
        struct node *node = tree.nodes[index];

        if (!node->is_over && gring_task_state(tree.handles[index]) == GRING_DONE) {
            node->is_over = true;
            node->parent->living_children--;
            tree.living--;
        }
    }
}

static void rest(void)
{
    gring_ns duration = sim_duration(GRING_SEC), begin = gring_now();
    int result = gring_sleep(duration);

    SIM_MUST(result < 0 || gring_now() >= begin + duration);
    note(result);
}

/* Nothing from outside reaches in. */
static void rest_shielded(void)
{
    GRING_SHIELD
    SIM_MUST(gring_sleep(sim_duration(10 * GRING_MS)) == 0);
}

static void have_children(struct node *node)
{
    unsigned children = (unsigned)sim_between(1, FAN_MAX), first = tree.count;
    gring_scope scope = { 0 };

    if (gring_scope_open(&scope, sim_chance(500) ? GRING_SCOPE_COLLECT : 0) < 0) {
        note(-1);
        return;
    }
    while (children-- > 0)
        grow(node, &scope);
    if (sim_chance(500))
        rest();
    if (sim_chance(200))
        gring_scope_cancel(&scope, FAILED);
    if (sim_chance(700))
        note(gring_scope_wait(&scope));
    gring_scope_close(&scope);
    bury(first);
    SIM_MUST(gring_scope_live(&scope) == 0);
    SIM_MUST(node->living_children == 0);
}

static void have_children_in_time(struct node *node)
{
    gring_timeout timeout;
    gring_ns patience = sim_duration(GRING_SEC), begin = gring_now();

    gring_timeout_start(&timeout, patience);
    have_children(node);
    if (gring_timeout_stop(&timeout) == 1)
        SIM_MUST(gring_now() >= begin + patience);
}

static void take_a_step(struct node *node)
{
    switch (sim_below(node->depth < DEPTH_MAX ? 5 : 2)) {
    case 0:
        rest();
        break;
    case 1:
        rest_shielded();
        break;
    case 2:
        have_children_in_time(node);
        break;
    default:
        have_children(node);
    }
}

static void *live(void *arg)
{
    struct node *node = arg;
    unsigned steps = (unsigned)sim_below(5);

    SIM_MUST(!node->parent->is_over);
    while (steps-- > 0 && (!gring_cancelled() || sim_chance(300)))
        take_a_step(node);
    SIM_MUST(!node->parent->is_over && node->living_children == 0);
    node->is_over = true;
    node->parent->living_children--;
    tree.living--;
    return sim_chance(100) ? gring_fail(FAILED) : NULL;
}

/* ---- strikes --------------------------------------------------------------------------------- */

static void strike(gring_task *task)
{
    if (sim_chance(500))
        gring_kill(task);
    else
        gring_throw(task, THROWN);
}

static void strike_and_drop(void *task)
{
    strike(task);
    gring_drop(task);
}

static void *strike_at_random(void *unused)
{
    while (gring_sleep(sim_duration(GRING_SEC)) == 0) {
        gring_task *task;

        if (!tree.count)
            continue;
        task = tree.handles[sim_below(tree.count)];
        if (sim_chance(500))
            strike(task);
        else
            sim_elsewhere(sim_duration(GRING_MS), strike_and_drop, gring_keep(task));
    }
    return unused;
}

SIM_WORKLOAD(scopes, SIM_NO_MEMORY)
{
    struct node root = { 0 };
    gring_task *striker;

    tree.count = tree.living = 0;
    striker = sim_chance(700) ? gring_spawn(strike_at_random, NULL) : NULL;
    while (tree.count < NODES_MAX && sim_chance(900)) {
        have_children(&root);
        SIM_MUST(tree.living == 0);
    }
    if (striker) {
        gring_kill(striker);
        gring_join(striker, NULL);
    }
    for (unsigned index = 0; index < tree.count; index++)
        gring_drop(tree.handles[index]);
}
