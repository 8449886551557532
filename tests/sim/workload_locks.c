/*
 * Critical sections: mutexes, rwlocks, semaphores, conditions and a wait group, local and shared,
 * by tasks that are killed, thrown at and timed out while they wait or hold, and by plain threads.
 * Who holds a mutex is alone and came in the order of asking; no writer has company; there are
 * never more units out than there are; whoever waits at a condition has a reason; all come to an
 * end.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum {
    TASKS_MAX = 12,
    THREADS_MAX = 4,
    STEPS_MAX = 40,
    UNITS_MAX = 6,
    THROWN = EPROTO,
    PATIENCE_S = 1000
};

/* One of each kind, all local or all shared. */
struct room {
    bool is_shared;

    gring_mutex mutex;
    bool mutex_held;
    unsigned tickets, served; /* the mutex's holders, in the order in which they asked */

    gring_rwlock rwlock;
    unsigned readers, writers;

    gring_sem sem;
    unsigned units, units_out;

    gring_mutex store_mutex;
    gring_cond filled;
    unsigned stored, waiting;
    bool is_over; /* nobody needs wait for the store any more */

    gring_wg group;
};

struct actor {
    gring_task *task; /* NULL: a plain thread */
    bool was_killed;
};

static struct {
    struct room rooms[2]; /* local, shared */
    struct actor actors[TASKS_MAX];
    unsigned task_count, living_tasks, living_threads;
    int pipe_ends[2];
} * house;

/* ---- what a call may say --------------------------------------------------------------------- */

static void note(const struct actor *actor, int error)
{
    if (error == ECANCELED)
        SIM_MUST(actor->was_killed);
    else if (error == ETIMEDOUT || error == THROWN)
        SIM_MUST(actor->task);
    else
        sim_excuse(error);
}

/* Inside a section, so that others come meanwhile. Plain threads go through at once. */
static void linger(const struct actor *actor)
{
    char byte = 0;
    int result = 0;

    if (!actor->task)
        return;
    if (sim_chance(300))
        result = gring_yield();
    else if (sim_chance(500))
        result = gring_sleep(sim_duration(GRING_MS));
    else if (gring_within(GRING_MS, gring_write(house->pipe_ends[1], &byte, 1)) < 0 ||
             gring_read(house->pipe_ends[0], &byte, 1) < 0)
        result = -1;
    if (result < 0)
        note(actor, errno);
}

/* ---- the mutex ------------------------------------------------------------------------------- */

static void hold_mutex(const struct actor *actor, struct room *room, unsigned ticket)
{
    SIM_MUST(!room->mutex_held && ticket == room->served);
    room->mutex_held = true;
    linger(actor);
    room->served++;
    room->mutex_held = false;
    SIM_MUST(gring_mutex_unlock(&room->mutex) == 0);
}

static void use_mutex(const struct actor *actor, struct room *room)
{
    if (sim_chance(300)) {
        if (gring_mutex_trylock(&room->mutex) == 0)
            hold_mutex(actor, room, room->tickets++);
        else
            SIM_MUST(errno == EBUSY);
    } else {
        unsigned ticket = room->tickets++;

        SIM_MUST(gring_mutex_lock(&room->mutex) == 0);
        hold_mutex(actor, room, ticket);
    }
}

/* ---- the rwlock ------------------------------------------------------------------------------ */

static void read_room(const struct actor *actor, struct room *room)
{
    SIM_MUST(gring_rwlock_rdlock(&room->rwlock) == 0);
    SIM_MUST(room->writers == 0);
    room->readers++;
    linger(actor);
    SIM_MUST(room->writers == 0);
    room->readers--;
    SIM_MUST(gring_rwlock_unlock(&room->rwlock) == 0);
}

static void write_room(const struct actor *actor, struct room *room)
{
    SIM_MUST(gring_rwlock_wrlock(&room->rwlock) == 0);
    SIM_MUST(room->writers == 0 && room->readers == 0);
    room->writers++;
    linger(actor);
    SIM_MUST(room->readers == 0);
    room->writers--;
    SIM_MUST(gring_rwlock_unlock(&room->rwlock) == 0);
}

/* ---- the semaphore --------------------------------------------------------------------------- */

static void use_units(const struct actor *actor, struct room *room)
{
    unsigned wanted = (unsigned)sim_between(0, room->units);

    if (gring_sem_acquire_n(&room->sem, wanted) < 0) {
        note(actor, errno);
        return;
    }
    room->units_out += wanted;
    SIM_MUST(room->units_out <= room->units);
    linger(actor);
    room->units_out -= wanted;
    SIM_MUST(gring_sem_release_n(&room->sem, wanted) == 0);
}

static void try_unit(const struct actor *actor, struct room *room)
{
    if (gring_sem_tryacquire(&room->sem) < 0) {
        SIM_MUST(errno == EAGAIN);
        return;
    }
    SIM_MUST(++room->units_out <= room->units);
    linger(actor);
    room->units_out--;
    SIM_MUST(gring_sem_release(&room->sem) == 0);
}

/* ---- the condition --------------------------------------------------------------------------- */

static void put(struct room *room)
{
    SIM_MUST(gring_mutex_lock(&room->store_mutex) == 0);
    room->stored++;
    SIM_MUST(gring_cond_signal(&room->filled) == 0);
    SIM_MUST(gring_mutex_unlock(&room->store_mutex) == 0);
}

static bool wait_filled(const struct actor *actor, struct room *room)
{
    int result;

    room->waiting++;
    result = gring_cond_wait(&room->filled, &room->store_mutex);
    room->waiting--;
    if (result < 0)
        note(actor, errno);
    return result == 0;
}

static void get(const struct actor *actor, struct room *room)
{
    SIM_MUST(gring_mutex_lock(&room->store_mutex) == 0);
    while (room->stored == 0 && !room->is_over)
        if (!wait_filled(actor, room))
            break;
    room->stored -= room->stored > 0;
    SIM_MUST(gring_mutex_unlock(&room->store_mutex) == 0);
}

static void open_store(struct room *room)
{
    SIM_MUST(gring_mutex_lock(&room->store_mutex) == 0);
    room->is_over = true;
    SIM_MUST(gring_cond_broadcast(&room->filled) == 0);
    SIM_MUST(gring_mutex_unlock(&room->store_mutex) == 0);
}

/* ---- actors ---------------------------------------------------------------------------------- */

static void step(const struct actor *actor)
{
    struct room *room = &house->rooms[!actor->task || sim_chance(500)];

    switch (sim_below(8)) {
    case 0:
        use_mutex(actor, room);
        break;
    case 1:
        read_room(actor, room);
        break;
    case 2:
        write_room(actor, room);
        break;
    case 3:
        use_units(actor, room);
        break;
    case 4:
        try_unit(actor, room);
        break;
    case 5:
        put(room);
        break;
    case 6:
        get(actor, room);
        break;
    default:
        linger(actor);
    }
}

static void run_steps(const struct actor *actor)
{
    unsigned steps = (unsigned)sim_size(STEPS_MAX);

    while (steps-- > 0) {
        uint64_t kind = actor->task ? sim_below(4) : 0;

        if (actor->task && sim_chance(300))
            gring_uncancel();
        if (kind == 1)
            gring_within_do(sim_duration(10 * GRING_MS)) step(actor);
        else if (kind == 2)
            GRING_SHIELD
        step(actor);
        else step(actor);
    }
}

static void *act(void *actor)
{
    run_steps(actor);
    return NULL;
}

/* However it ended: also one that was killed before it began. */
static void leave(gring_task *task, void *unused)
{
    (void)task;
    (void)unused;
    house->living_tasks--;
    SIM_MUST(gring_wg_done(&house->rooms[0].group) == 0);
    SIM_MUST(gring_wg_done(&house->rooms[1].group) == 0);
}

static void act_elsewhere(void *unused)
{
    static const struct actor thread;

    (void)unused;
    run_steps(&thread);
    house->living_threads--;
    SIM_MUST(gring_wg_done(&house->rooms[1].group) == 0);
}

static void *strike(void *unused)
{
    while (gring_sleep(sim_duration(20 * GRING_MS)) == 0) {
        struct actor *actor = &house->actors[sim_below(house->task_count)];

        if (sim_chance(500)) {
            gring_throw(actor->task, THROWN);
        } else {
            actor->was_killed = true;
            gring_kill(actor->task);
        }
    }
    return unused;
}

/* ---- the house ------------------------------------------------------------------------------- */

static void open_room(struct room *room, unsigned flags)
{
    room->units = (unsigned)sim_between(1, UNITS_MAX);
    SIM_MUST(gring_mutex_init(&room->mutex, flags) == 0);
    SIM_MUST(gring_rwlock_init(&room->rwlock, flags) == 0);
    SIM_MUST(gring_sem_init(&room->sem, room->units, room->units, flags) == 0);
    SIM_MUST(gring_mutex_init(&room->store_mutex, flags) == 0);
    SIM_MUST(gring_cond_init(&room->filled, flags) == 0);
    SIM_MUST(gring_wg_init(&room->group, flags) == 0);
}

static void close_room(struct room *room)
{
    SIM_MUST(room->tickets == room->served);
    SIM_MUST(gring_sem_balance(&room->sem) == (int)room->units);
    SIM_MUST(gring_mutex_destroy(&room->mutex) == 0);
    SIM_MUST(gring_rwlock_destroy(&room->rwlock) == 0);
    SIM_MUST(gring_sem_destroy(&room->sem) == 0);
    SIM_MUST(gring_mutex_destroy(&room->store_mutex) == 0);
    SIM_MUST(gring_cond_destroy(&room->filled) == 0);
    SIM_MUST(gring_wg_destroy(&room->group) == 0);
}

static void begin_task(void)
{
    struct actor *actor = &house->actors[house->task_count];

    actor->task = gring_spawn(act, actor);
    if (!actor->task) {
        sim_excuse(errno);
        return;
    }
    if (gring_link(actor->task, leave, NULL) < 0) {
        sim_excuse(errno);
        gring_kill(actor->task); /* it has not begun: never will */
        gring_join(actor->task, NULL);
        return;
    }
    house->task_count++;
    house->living_tasks++;
    SIM_MUST(gring_wg_add(&house->rooms[0].group, 1) == 0);
    SIM_MUST(gring_wg_add(&house->rooms[1].group, 1) == 0);
}

static void begin_actors(void)
{
    for (uint64_t count = sim_between(1, TASKS_MAX); count > 0; count--)
        begin_task();
    house->living_threads = sim_chance(500) ? (unsigned)sim_between(1, THREADS_MAX) : 0;
    for (unsigned count = house->living_threads; count > 0; count--) {
        SIM_MUST(gring_wg_add(&house->rooms[1].group, 1) == 0);
        sim_elsewhere(sim_duration(GRING_MS), act_elsewhere, NULL);
    }
}

/* All are gone, or wait for a store that is empty. */
static bool is_quiet(void)
{
    const struct room *local = &house->rooms[0], *shared = &house->rooms[1];

    return house->living_tasks + house->living_threads == local->waiting + shared->waiting &&
           (!local->waiting || !local->stored) && (!shared->waiting || !shared->stored);
}

static void await_quiet(void)
{
    gring_ns begin = gring_now();

    while (!is_quiet()) {
        SIM_MUST(gring_now() - begin < PATIENCE_S * GRING_SEC);
        gring_sleep((gring_ns)sim_between(GRING_US, GRING_SEC));
    }
}

static void end_actors(void)
{
    open_store(&house->rooms[0]);
    open_store(&house->rooms[1]);
    SIM_MUST(gring_wg_wait(&house->rooms[0].group) == 0);
    SIM_MUST(house->living_tasks == 0);
    SIM_MUST(gring_wg_wait(&house->rooms[1].group) == 0);
    SIM_MUST(house->living_threads == 0);
    for (unsigned index = 0; index < house->task_count; index++)
        gring_drop(house->actors[index].task);
}

SIM_WORKLOAD(locks, SIM_NO_MEMORY)
{
    gring_task *striker;

    house = sim_alloc(sizeof *house);
    SIM_MUST(pipe2(house->pipe_ends, O_CLOEXEC) == 0);
    open_room(&house->rooms[0], 0);
    open_room(&house->rooms[1], GRING_SHARED);
    begin_actors();
    striker = house->task_count && sim_chance(700) ? gring_spawn(strike, NULL) : NULL;
    gring_sleep(sim_chance(500) ? GRING_SEC : sim_duration(GRING_SEC));
    if (striker) {
        gring_kill(striker);
        gring_join(striker, NULL);
    }
    await_quiet();
    end_actors();
    close_room(&house->rooms[0]);
    close_room(&house->rooms[1]);
    gring_close(house->pipe_ends[0]);
    gring_close(house->pipe_ends[1]);
}
