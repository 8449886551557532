/*
 * A pool of resources whose making, checking and destroying park, do IO, fail, and are interrupted
 * with the task that wanted one. Each resource that was made is destroyed once; none is in two
 * hands; there are never more than there may be; nobody is forgotten who waits for one.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { USERS_MAX = 10, STEPS_MAX = 20, MOST_MAX = 4, THROWN = EPROTO, FAILED = EDOM };

struct resource {
    int ends[2]; /* a pipe: it costs descriptors and needs IO */
    bool is_out, is_dead;
};

struct user {
    gring_task *task;
    bool was_killed;
};

static struct {
    gring_respool *pool;
    size_t most; /* the largest maximum so far */
    unsigned made, destroyed, out;
    struct user users[USERS_MAX];
    unsigned user_count;
} * depot;

/* ---- resources ------------------------------------------------------------------------------- */

/* There and back through its pipe. Not waiting for ever: nobody else has its ends. */
static int try_out(const struct resource *resource)
{
    char sent = 'x', got = 0;

    if (gring_write(resource->ends[1], &sent, 1) != 1 ||
        gring_read(resource->ends[0], &got, 1) != 1)
        return -1;
    SIM_MUST(got == sent);
    return 0;
}

static void scrap(struct resource *resource)
{
    SIM_MUST(gring_close(resource->ends[0]) == 0);
    SIM_MUST(gring_close(resource->ends[1]) == 0);
    resource->is_dead = true;
}

static int make(void *unused, void **made)
{
    struct resource *resource = sim_alloc(sizeof *resource);
    int error;

    (void)unused;
    if (sim_chance(150)) {
        errno = FAILED;
        return -1;
    }
    if (pipe2(resource->ends, O_CLOEXEC) < 0)
        return -1;
    if ((sim_chance(500) && gring_sleep(sim_duration(20 * GRING_MS)) < 0) ||
        try_out(resource) < 0) {
        error = errno;
        scrap(resource);
        errno = error;
        return -1;
    }
    depot->made++;
    SIM_MUST(depot->made - depot->destroyed <= depot->most + depot->user_count);
    *made = resource;
    return 0;
}

static void destroy(void *unused, void *arg)
{
    struct resource *resource = arg;

    (void)unused;
    SIM_MUST(!resource->is_dead && !resource->is_out);
    depot->destroyed++;
    if (sim_chance(500))
        SIM_MUST(gring_sleep(sim_duration(GRING_MS)) == 0);
    scrap(resource);
}

static int check(void *unused, void *arg)
{
    const struct resource *resource = arg;

    (void)unused;
    SIM_MUST(!resource->is_dead && !resource->is_out);
    SIM_MUST(try_out(resource) == 0);
    return sim_chance(100) ? -1 : 0;
}

/* ---- users ----------------------------------------------------------------------------------- */

static void note(const struct user *user, int error)
{
    if (error == ECANCELED)
        SIM_MUST(user->was_killed);
    else if (error != ETIMEDOUT && error != THROWN && error != FAILED)
        sim_excuse(error);
}

static void use_one(const struct user *user)
{
    struct resource *resource;
    void *got;

    if (gring_respool_get(depot->pool, &got) < 0) {
        note(user, errno);
        return;
    }
    resource = got;
    SIM_MUST(!resource->is_dead && !resource->is_out);
    resource->is_out = true;
    SIM_MUST(++depot->out <= depot->most);
    if (gring_sleep(sim_duration(10 * GRING_MS)) < 0)
        note(user, errno);
    depot->out--;
    resource->is_out = false;
    SIM_MUST(gring_respool_put(depot->pool, resource, sim_chance(100)) == 0);
}

static void resize(void)
{
    size_t most = sim_between(1, MOST_MAX);

    if (most > depot->most)
        depot->most = most;
    SIM_MUST(gring_respool_resize(depot->pool, most) == 0);
}

static void step(const struct user *user)
{
    switch (sim_below(12)) {
    case 0:
        resize();
        break;
    case 1:
        SIM_MUST(gring_respool_clear(depot->pool) == 0);
        break;
    case 2:
        if (gring_sleep(sim_duration(GRING_SEC)) < 0)
            note(user, errno);
        break;
    default:
        use_one(user);
    }
}

static void *use(void *arg)
{
    struct user *user = arg;
    unsigned steps = (unsigned)sim_size(STEPS_MAX);

    while (steps-- > 0) {
        if (sim_chance(300))
            gring_uncancel();
        if (sim_chance(400))
            gring_within_do(sim_duration(20 * GRING_MS)) step(user);
        else
            step(user);
    }
    return NULL;
}

static void *strike(void *unused)
{
    while (gring_sleep(sim_duration(20 * GRING_MS)) == 0) {
        struct user *user = &depot->users[sim_below(depot->user_count)];

        if (sim_chance(500)) {
            gring_throw(user->task, THROWN);
        } else {
            user->was_killed = true;
            gring_kill(user->task);
        }
    }
    return unused;
}

/* ---- the depot ------------------------------------------------------------------------------- */

static gring_ns any_limit(void)
{
    return sim_chance(500) ? 0 : sim_chance(200) ? -1 : 1 + sim_duration(100 * GRING_MS);
}

static gring_respool *open_depot(void)
{
    gring_respool_opts opts = GRING_RESPOOL_INIT;

    depot->most = sim_between(1, MOST_MAX);
    opts.max = depot->most;
    opts.min = sim_below(2);
    opts.create = make;
    opts.destroy = destroy;
    opts.check = sim_chance(500) ? check : NULL;
    opts.max_idle = any_limit();
    opts.max_age = any_limit();
    opts.create_timeout = sim_chance(300) ? 1 + sim_duration(20 * GRING_MS) : 0;
    opts.fifo = sim_chance(500);
    return gring_respool_new(&opts);
}

static void begin_users(void)
{
    for (uint64_t count = sim_between(1, USERS_MAX); count > 0; count--) {
        struct user *user = &depot->users[depot->user_count];

        user->task = gring_spawn(use, user);
        if (user->task)
            depot->user_count++;
        else
            sim_excuse(errno);
    }
}

static void run_users(void)
{
    gring_task *striker;

    begin_users();
    striker = depot->user_count && sim_chance(700) ? gring_spawn(strike, NULL) : NULL;
    gring_sleep(sim_chance(500) ? GRING_SEC : sim_duration(GRING_SEC));
    if (striker) {
        gring_kill(striker);
        gring_join(striker, NULL);
    }
    for (unsigned index = 0; index < depot->user_count; index++)
        SIM_MUST(gring_join(depot->users[index].task, NULL) >= 0);
}

SIM_WORKLOAD(resources, SIM_NO_MEMORY | SIM_NO_DESCRIPTORS)
{
    depot = sim_alloc(sizeof *depot);
    depot->pool = open_depot();
    if (!depot->pool) {
        sim_excuse(errno);
        return;
    }
    run_users();
    SIM_MUST(depot->out == 0);
    SIM_MUST(gring_respool_waiting(depot->pool) == 0);
    if (sim_chance(500))
        gring_sleep(sim_duration(GRING_SEC));
    SIM_MUST(gring_respool_free(depot->pool) == 0);
    SIM_MUST(depot->made == depot->destroyed);
}
