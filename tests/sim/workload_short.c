/*
 * Short programs, one for each kind of thing that allocates: what cannot be had is refused with an
 * errno, what there is goes on, and all of it is given back. Run as any other workload, and with
 * each of their allocations failing in turn (sim --allocations). The last one allocates nothing.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <fcntl.h>
#include <greenring/co.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { COUNT = 6 };

/* 0, a count, an outcome that is not -1; or the world's fault. */
static bool went(int64_t result)
{
    if (result < 0)
        sim_excuse(errno);
    return result >= 0;
}

static bool got(const void *thing)
{
    return went(thing ? 0 : -1);
}

static void *rest(void *value)
{
    if (gring_sleep(sim_duration(GRING_MS)) < 0)
        SIM_MUST(errno == ECANCELED); /* by what could not begin the others */
    return value;
}

static void count(void *counter)
{
    ++*(unsigned *)counter;
}

static void count_link(gring_task *task, void *counter)
{
    (void)task;
    count(counter);
}

/* ---- tasks ----------------------------------------------------------------------------------- */

SIM_SHORT_PROGRAM(short_join)
{
    gring_task *tasks[COUNT];
    void *result;

    for (unsigned index = 0; index < COUNT; index++)
        (void)got(tasks[index] = gring_spawn(rest, &tasks[index]));
    (void)went(gring_spawn_n(rest, NULL));
    for (unsigned index = 0; index < COUNT; index++)
        if (tasks[index]) {
            SIM_MUST(gring_join(tasks[index], &result) == 0);
            SIM_MUST(result == &tasks[index]);
        }
}

static int tick(void *unused, const gring_tick *tick)
{
    (void)unused;
    return tick->n < 2 ? 0 : -1;
}

static void end(gring_task *task)
{
    if (got(task))
        SIM_MUST(gring_join(task, NULL) == 0);
}

SIM_SHORT_PROGRAM(short_later)
{
    gring_spawn_opts opts = GRING_SPAWN_INIT;

    opts.name = "late";
    opts.delay = GRING_MS;
    opts.stack_size = 32 * 1024;
    end(gring_spawn_after(GRING_MS, rest, NULL));
    end(gring_spawn_with(&opts, rest, NULL));
    end(gring_every(GRING_MS, tick, NULL, NULL));
}

static void *bind_ends(void *counters)
{
    unsigned *expected = counters, *called = expected + 1;

    *expected += went(gring_defer(count, called));
    *expected += went(gring_link(gring_self(), count_link, called));
    (void)went(gring_set_name("a name of some length, kept"));
    return NULL;
}

SIM_SHORT_PROGRAM(short_ends)
{
    unsigned counters[2] = { 0 };

    end(gring_spawn(bind_ends, counters));
    SIM_MUST(counters[0] == counters[1]);
}

static void *have_scope(void *counters)
{
    unsigned *expected = counters, *called = expected + 1;
    gring_scope scope = { 0 };

    if (!went(gring_scope_open(&scope, 0)))
        return NULL;
    *expected += went(gring_scope_defer(&scope, count, called));
    for (unsigned index = 0; index < COUNT; index++)
        (void)got(gring_scope_spawn(&scope, rest, NULL));
    (void)went(gring_scope_spawn_n(&scope, rest, NULL));
    SIM_MUST(gring_scope_wait(&scope) == 0);
    SIM_MUST(gring_scope_close(&scope) == 0);
    SIM_MUST(*expected == *called);
    return NULL;
}

SIM_SHORT_PROGRAM(short_scope)
{
    unsigned counters[2] = { 0 };

    (void)have_scope(counters);
}

static void *have_locals(void *value)
{
    gring_key *keys = value;

    for (unsigned index = 0; index < COUNT; index++)
        (void)went(gring_key_set(keys[index], rest));
    return NULL;
}

static void rest_at_end(void *value)
{
    SIM_MUST(value == rest);
    SIM_MUST(gring_sleep(GRING_MS) == 0);
}

SIM_SHORT_PROGRAM(short_locals)
{
    gring_key keys[COUNT];

    for (unsigned index = 0; index < COUNT; index++)
        SIM_MUST(gring_key_create(&keys[index], rest_at_end, 0) == 0);
    end(gring_spawn(have_locals, keys));
    for (unsigned index = 0; index < COUNT; index++)
        SIM_MUST(gring_key_delete(keys[index]) == 0);
}

static struct {
    gring_hub *hub;
    unsigned posted, called;
    bool is_over;
} * visit;

static void visit_hub(void *unused)
{
    (void)unused;
    visit->posted += went(gring_post(visit->hub, count, &visit->called));
    end(gring_spawn_on(visit->hub, rest, NULL));
    visit->is_over = true;
}

SIM_SHORT_PROGRAM(short_visit)
{
    visit = sim_alloc(sizeof *visit);
    visit->hub = gring_hub_self();
    sim_elsewhere(GRING_US, visit_hub, NULL);
    while (!visit->is_over)
        SIM_MUST(gring_sleep(GRING_MS) == 0);
    SIM_MUST(visit->posted == visit->called);
}

/* ---- coroutines ------------------------------------------------------------------------------ */

static void *answer(void *value)
{
    void *next;

    SIM_MUST(gring_co_switch(gring_co_parent(gring_co_self()), value, &next) == 0);
    return next;
}

SIM_SHORT_PROGRAM(short_coroutines)
{
    gring_co *co = gring_co_new(answer, NULL, 0);
    int values[2];
    void *out;

    if (!got(co))
        return;
    for (unsigned index = 0; index < 2; index++) {
        SIM_MUST(gring_co_switch(co, &values[index], &out) == 0);
        SIM_MUST(out == &values[index]);
    }
    SIM_MUST(gring_co_status(co) == GRING_CO_ENDED);
    SIM_MUST(gring_co_free(co) == 0);
}

static void hand_out(gring_gen *gen, void *unused)
{
    (void)unused;
    for (intptr_t item = 1; gring_gen_yield(gen, (void *)item) == 0; item++)
        went(gring_sleep(GRING_US));
}

SIM_SHORT_PROGRAM(short_generators)
{
    gring_gen *gens[2] = { gring_gen_new(hand_out, NULL), NULL };
    void *item;

    (void)got(gens[0]);
    (void)got(gens[1] = gring_gen_new(hand_out, NULL));
    for (intptr_t turn = 1; turn < COUNT; turn++)
        for (unsigned index = 0; index < 2; index++)
            if (gens[index])
                SIM_MUST(gring_gen_next(gens[index], &item) == 1 && item == (void *)turn);
    gring_gen_free(gens[0]);
    gring_gen_free(gens[1]);
}

/* ---- channels -------------------------------------------------------------------------------- */

static int compare(const void *left, const void *right)
{
    return *(const int *)left - *(const int *)right;
}

static void use_channel(gring_chan *chan)
{
    int sent = 0, received = 0, element;

    if (!got(chan))
        return;
    for (element = 0; element < 100; element++) {
        if (gring_chan_trysend(chan, &element) == 0)
            sent++;
        else if (errno != EAGAIN)
            sim_excuse(errno);
        if (element == 20)
            (void)went(gring_chan_resize(chan, 50));
    }
    while (gring_chan_tryrecv(chan, &element) == 1)
        received++;
    SIM_MUST(sent == received);
    gring_chan_free(chan);
}

SIM_SHORT_PROGRAM(short_channels)
{
    use_channel(gring_chan_new(sizeof(int), 4, 0));
    use_channel(gring_chan_new(sizeof(int), GRING_UNBOUNDED, GRING_SHARED));
    use_channel(gring_chan_new_prio(sizeof(int), 10, compare, 0));
}

static void *send_later(void *event)
{
    went(gring_sleep(GRING_MS));
    SIM_MUST(gring_event_send(event, NULL) == 0);
    return NULL;
}

/* More cases than lie on the stack. */
SIM_SHORT_PROGRAM(short_choose)
{
    enum { CASES = 20 };
    gring_event event = { 0 };
    gring_case cases[CASES];
    gring_task *sender = gring_spawn(send_later, &event);
    int chosen;

    if (!got(sender))
        return;
    for (unsigned index = 0; index < CASES; index++)
        cases[index] = (gring_case)GRING_CASE_EVENT(&event, NULL);
    chosen = gring_choose(cases, CASES);
    SIM_MUST(!went(chosen) || (chosen == 0 && cases[0].rc == 0));
    chosen = gring_waitany(&sender, 1);
    SIM_MUST(!went(chosen) || chosen == 0);
    end(sender);
}

/* ---- pools ----------------------------------------------------------------------------------- */

SIM_SHORT_PROGRAM(short_pool)
{
    gring_pool *pool = gring_pool_new(2);
    void *args[COUNT] = { 0 };

    if (!got(pool))
        return;
    end(gring_pool_spawn(pool, rest, NULL));
    for (unsigned index = 0; index < COUNT; index++)
        (void)went(gring_pool_spawn_n(pool, rest, NULL));
    SIM_MUST(gring_pool_waitall(pool) == 0);
    (void)went(gring_pool_map(pool, rest, args, NULL, NULL, COUNT));
    SIM_MUST(gring_pool_running(pool) == 0);
    gring_pool_free(pool);
}

static void take_all(gring_pile *pile)
{
    gring_task *task;
    int result;

    while ((result = gring_pile_next(pile, &task)) > 0)
        SIM_MUST(gring_join(task, NULL) == 0);
    (void)went(result);
}

SIM_SHORT_PROGRAM(short_pile)
{
    gring_pool *pool = gring_pool_new(3);
    gring_pile *pile;

    if (!got(pool))
        return;
    pile = gring_pile_new(pool);
    if (got(pile)) {
        for (unsigned index = 0; index < COUNT; index++)
            (void)went(gring_pile_spawn(pile, rest, NULL));
        SIM_MUST(gring_pile_done(pile) == 0);
        take_all(pile);
    }
    gring_pile_free(pile);
    gring_pool_free(pool);
}

static int count_down(void *counter, void **arg)
{
    *arg = NULL;
    return --*(int *)counter >= 0;
}

SIM_SHORT_PROGRAM(short_imap)
{
    gring_pool *pool = gring_pool_new(3);
    int counter = COUNT;
    gring_pile *pile;

    if (!got(pool))
        return;
    pile = gring_pool_imap(pool, rest, count_down, &counter);
    if (got(pile))
        take_all(pile);
    gring_pile_free(pile);
    gring_pool_free(pool);
}

static int create(void *ctx, void **resource)
{
    (void)ctx;
    *resource = malloc(1);
    return *resource ? 0 : -1;
}

static void destroy(void *ctx, void *resource)
{
    (void)ctx;
    free(resource);
}

SIM_SHORT_PROGRAM(short_resources)
{
    gring_respool_opts opts = GRING_RESPOOL_INIT;
    gring_respool *pool;
    void *one, *other;

    opts.max = 2;
    opts.create = create;
    opts.destroy = destroy;
    opts.max_idle = GRING_SEC;
    pool = gring_respool_new(&opts);
    if (!got(pool))
        return;
    if (went(gring_respool_get(pool, &one))) {
        if (went(gring_respool_get(pool, &other)))
            SIM_MUST(gring_respool_put(pool, other, true) == 0);
        SIM_MUST(gring_respool_put(pool, one, false) == 0);
    }
    SIM_MUST(gring_respool_free(pool) == 0);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

SIM_SHORT_PROGRAM(short_open)
{
    int fd = gring_open("a file with a path of some length", O_RDWR | O_CREAT, 0600);
    struct pollfd polled[12];
    int ends[2];

    if (went(fd)) {
        (void)went(gring_write(fd, "x", 1));
        SIM_MUST(gring_close(fd) == 0);
    }
    if (!went(pipe2(ends, O_CLOEXEC)))
        return;
    for (unsigned index = 0; index < 12; index++)
        polled[index] = (struct pollfd){ .fd = ends[0], .events = POLLIN };
    (void)went(gring_poll(polled, 12, 1));
    SIM_MUST(gring_close(ends[0]) == 0);
    SIM_MUST(gring_close(ends[1]) == 0);
}

SIM_SHORT_PROGRAM(short_dial)
{
    int listener = gring_net_listen("tcp:127.0.0.1:1000", 4, 0), fd;

    if (!went(listener))
        return;
    fd = gring_net_dial("tcp:server:1000");
    if (went(fd))
        SIM_MUST(gring_close(fd) == 0);
    SIM_MUST(gring_close(listener) == 0);
}

/* ---- nothing --------------------------------------------------------------------------------- */

static struct {
    int ends[2];
    gring_chan *chan;
    gring_task *task;
    gring_mutex mutex;
    gring_rwlock rwlock;
    gring_sem sem;
    gring_event event;
} * frugal;

static void use_descriptors(void)
{
    char byte = 0;

    SIM_MUST(gring_write(frugal->ends[1], &byte, 1) == 1);
    SIM_MUST(gring_read(frugal->ends[0], &byte, 1) == 1);
    SIM_MUST(gring_send(frugal->ends[0], &byte, 1, 0) == 1);
    SIM_MUST(gring_recv(frugal->ends[1], &byte, 1, 0) == 1);
    SIM_MUST(gring_within(GRING_US, gring_recv(frugal->ends[1], &byte, 1, 0)) < 0);
}

static void use_locks(void)
{
    SIM_MUST(gring_mutex_lock(&frugal->mutex) == 0);
    SIM_MUST(gring_sleep(GRING_US) == 0);
    SIM_MUST(gring_mutex_unlock(&frugal->mutex) == 0);
    SIM_MUST(gring_rwlock_wrlock(&frugal->rwlock) == 0);
    SIM_MUST(gring_yield() == 0);
    SIM_MUST(gring_rwlock_unlock(&frugal->rwlock) == 0);
    SIM_MUST(gring_sem_release(&frugal->sem) == 0);
    SIM_MUST(gring_sem_acquire(&frugal->sem) == 0);
}

static void choose_element(int *element)
{
    gring_case cases[] = { GRING_CASE_RECV(frugal->chan, element),
                           GRING_CASE_EVENT(&frugal->event, NULL) };

    SIM_MUST(gring_choose(cases, 2) == 0 && cases[0].rc == 1);
}

static void *be_the_other(void *unused)
{
    int element;

    for (int index = 0; index < COUNT; index++) {
        SIM_MUST(gring_chan_recv(frugal->chan, &element) == 1 && element == index);
        choose_element(&element);
        SIM_MUST(element == -index);
        use_locks();
    }
    SIM_MUST(gring_event_wait(&frugal->event, NULL) == 0);
    return unused;
}

static void be_frugal(void)
{
    uint64_t before = sim_allocation_count();

    for (int index = 0; index < COUNT; index++) {
        int negative = -index;

        SIM_MUST(gring_sleep(GRING_MS) == 0);
        SIM_MUST(gring_yield() == 0);
        SIM_MUST(gring_chan_send(frugal->chan, &index) == 0);
        SIM_MUST(gring_chan_send(frugal->chan, &negative) == 0);
        use_locks();
        use_descriptors();
    }
    SIM_MUST(gring_event_send(&frugal->event, NULL) == 0);
    SIM_MUST(gring_wait(frugal->task, NULL) == 0);
    SIM_MUST(sim_allocation_count() == before);
}

SIM_SHORT_PROGRAM(short_frugal)
{
    frugal = sim_alloc(sizeof *frugal);
    if (!went(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, frugal->ends)))
        return;
    frugal->chan = gring_chan_new(sizeof(int), sim_below(3), 0);
    if (got(frugal->chan)) {
        frugal->task = gring_spawn(be_the_other, NULL);
        if (got(frugal->task)) {
            be_frugal();
            gring_drop(frugal->task);
        }
    }
    gring_chan_free(frugal->chan);
    SIM_MUST(gring_close(frugal->ends[0]) == 0);
    SIM_MUST(gring_close(frugal->ends[1]) == 0);
}
