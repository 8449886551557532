/*
 * Random programs on the whole of the API: tasks that write and read lanes, sleep, nest deadlines,
 * shields and scopes, spawn, wait, kill, throw, park, dial, accept, close what others use, and meet
 * at sync objects (program_sync.c).
 *
 * What must hold, whatever interrupts whom: a lane's bytes are read in order, once, and as many as
 * calls have reported as written; no sleep and no deadline is early; a scope that was closed is
 * empty; a throw that was accepted is reported once or still pending.
 */
#include "tests/sim/program_sync.h"
#include "tests/sim/sim.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ACTORS_MAX = 24, LANES_MAX = 8, PIECE_MAX = 1500, DEPTH_MAX = 3 };
enum { THROWN = EPROTO, FOREIGN_THROWN = EOVERFLOW };

/* One direction of bytes. Sockets have two lanes: each one's `back` is the other. */
struct lane {
    int out_fd, in_fd; /* -1: closed */
    uint64_t stream, written, read;
    bool is_socket, is_writing, is_reading;
    bool is_broken; /* an end was closed or reset: what was in it is lost */
    struct lane *back;
};

struct actor {
    gring_task *task;
    unsigned accepted_throws, reported_throws;
    unsigned steps_left;
    unsigned pinned; /* by what gring_exit must not leave behind */
    bool is_child;   /* killed once by who waits for it: it must not swallow that */
};

static struct program {
    struct lane lanes[LANES_MAX];
    struct actor *actors[ACTORS_MAX];
    unsigned lane_count, actor_count;
    uint64_t stream_count;
    unsigned linked_count, link_calls; /* on actors */
    unsigned deferred_count, defer_calls;
    int listener;
    bool ending;
} * program;

static void run_block(struct actor *actor, unsigned depth);

/* ---- what a call may say --------------------------------------------------------------------- */

static bool is_interruption(int error)
{
    return error == ECANCELED || error == ETIMEDOUT || error == THROWN || error == FOREIGN_THROWN;
}

static void note_interruption(struct actor *actor)
{
    actor->reported_throws += errno == THROWN;
    sim_note("told", (int64_t)gring_task_id(gring_self()), errno, actor->reported_throws);
    if (!is_interruption(errno))
        sim_excuse(errno);
}

/* For calls on descriptors, which others may have closed. */
static void note_io(struct actor *actor)
{
    if (errno != EBADF && errno != EPIPE && errno != ECONNRESET)
        note_interruption(actor);
}

/* ---- lanes ----------------------------------------------------------------------------------- */

static struct lane *any_lane(void)
{
    return &program->lanes[sim_below(program->lane_count)];
}

static void fill_lane(struct lane *lane, int in_fd, int out_fd, struct lane *back)
{
    *lane = (struct lane){ .in_fd = in_fd,
                           .out_fd = out_fd,
                           .stream = ++program->stream_count,
                           .is_socket = back != NULL,
                           .back = back };
}

static bool is_free(const struct lane *lane)
{
    return lane->in_fd < 0 && lane->out_fd < 0 && !lane->is_writing && !lane->is_reading;
}

static void open_pipe(struct lane *lane)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        sim_excuse(errno);
    else
        fill_lane(lane, ends[0], ends[1], NULL);
}

static void open_pair(struct lane *lane, struct lane *back)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        sim_excuse(errno);
        return;
    }
    fill_lane(lane, ends[0], ends[1], back);
    fill_lane(back, ends[1], ends[0], lane);
}

/* Lanes in pairs, so that each can become a pair of sockets or two pipes. */
static void open_lanes(unsigned index)
{
    struct lane *lane = &program->lanes[index & ~1u], *back = lane + 1;

    if (!is_free(lane) || !is_free(back))
        return;
    if (sim_chance(500)) {
        open_pair(lane, back);
    } else {
        open_pipe(lane);
        open_pipe(back);
    }
}

static void step_open(struct actor *actor, unsigned depth)
{
    (void)actor;
    (void)depth;
    open_lanes((unsigned)sim_below(program->lane_count));
}

static ssize_t write_some(const struct lane *lane, const void *piece, size_t size)
{
    size_t done = 0;

    switch (sim_below(3)) {
    case 0:
        return gring_write(lane->out_fd, piece, size);
    case 1:
        if (lane->is_socket)
            return gring_send(lane->out_fd, piece, size, sim_chance(200) ? MSG_DONTWAIT : 0);
        return gring_write(lane->out_fd, piece, size);
    default:
        if (gring_write_full(lane->out_fd, piece, size, &done) < 0 && done == 0)
            return -1;
        return (ssize_t)done;
    }
}

static void step_write(struct actor *actor, unsigned depth)
{
    struct lane *lane = any_lane();
    unsigned char piece[PIECE_MAX];
    size_t size = sim_size(sizeof piece);
    ssize_t count;

    (void)depth;
    if (lane->out_fd < 0 || lane->is_writing)
        return;
    sim_fill(piece, size, lane->stream, lane->written);
    lane->is_writing = true;
    errno = 0;
    count = write_some(lane, piece, size);
    lane->is_writing = false;
    if (count > 0)
        lane->written += (uint64_t)count;
    if (errno && errno != EAGAIN)
        note_io(actor);
}

static void take_bytes(struct lane *lane, const void *piece, size_t size)
{
    SIM_MUST(sim_matches(piece, size, lane->stream, lane->read) == size);
    lane->read += size;
}

static ssize_t read_some(const struct lane *lane, void *piece, size_t size)
{
    if (lane->is_socket && sim_chance(500))
        return gring_recv(lane->in_fd, piece, size, sim_chance(200) ? MSG_DONTWAIT : 0);
    return gring_read(lane->in_fd, piece, size);
}

static void step_read(struct actor *actor, unsigned depth)
{
    struct lane *lane = any_lane();
    unsigned char piece[PIECE_MAX];
    ssize_t count;

    (void)depth;
    if (lane->in_fd < 0 || lane->is_reading)
        return;
    lane->is_reading = true;
    count = read_some(lane, piece, sim_size(sizeof piece));
    lane->is_reading = false;
    if (count > 0)
        take_bytes(lane, piece, (size_t)count);
    else if (count < 0 && errno != EAGAIN)
        note_io(actor);
}

/* An end, while others may be using it. A socket's descriptor serves two lanes. */
static void close_end(struct lane *lane, bool out)
{
    int *fd = out ? &lane->out_fd : &lane->in_fd;
    int number = *fd;

    if (number < 0)
        return;
    *fd = -1;
    lane->is_broken = true;
    if (lane->back) {
        *(out ? &lane->back->in_fd : &lane->back->out_fd) = -1;
        lane->back->is_broken = true;
    }
    SIM_MUST(gring_close(number) == 0);
}

/* Another name for somebody's descriptor takes the place of this one, which ends what was in flight
 * on it as a close does. */
static void replace_end(struct lane *lane, const struct lane *other)
{
    int number = lane->out_fd, from = other->out_fd;

    if (number < 0 || from < 0 || from == number)
        return;
    lane->out_fd = -1;
    lane->is_broken = true;
    if (lane->back) {
        lane->back->in_fd = -1;
        lane->back->is_broken = true;
    }
    if (gring_dup2(from, number) < 0)
        SIM_MUST(errno == EBADF); /* the other one was closed meanwhile */
    gring_close(number);
}

static void step_close(struct actor *actor, unsigned depth)
{
    (void)actor;
    (void)depth;
    if (sim_chance(300))
        close_end(any_lane(), sim_chance(500));
    else if (sim_chance(100))
        replace_end(any_lane(), any_lane());
}

/* ---- connections ----------------------------------------------------------------------------- */

static void step_dial(struct actor *actor, unsigned depth)
{
    int fd = gring_net_dial(sim_chance(500) ? "tcp:127.0.0.1:7" : "tcp:server:7");

    (void)depth;
    if (fd < 0) {
        note_io(actor);
        return;
    }
    if (sim_chance(500) && gring_send(fd, "x", 1, 0) < 0)
        note_io(actor);
    gring_close(fd);
}

static void step_accept(struct actor *actor, unsigned depth)
{
    int fd;
    char byte;

    (void)depth;
    if (program->listener < 0)
        return;
    fd = gring_accept(program->listener, NULL, NULL);
    if (fd < 0) {
        note_io(actor);
        return;
    }
    if (sim_chance(500) && gring_recv(fd, &byte, 1, 0) < 0)
        note_io(actor);
    gring_close(fd);
}

/* ---- sync objects ---------------------------------------------------------------------------- */

static void note_sync(struct actor *actor, int result)
{
    if (result < 0 && errno != EAGAIN && errno != EBADF)
        note_interruption(actor);
}

static void step_meet(struct actor *actor, unsigned depth)
{
    (void)depth;
    note_sync(actor, sim_chance(500) ? program_send() : program_receive());
}

static void step_event(struct actor *actor, unsigned depth)
{
    (void)depth;
    note_sync(actor, program_event());
}

static void step_choose(struct actor *actor, unsigned depth)
{
    (void)depth;
    note_sync(actor, program_choose(any_lane()->in_fd));
}

static void step_unit(struct actor *actor, unsigned depth)
{
    int result = program_acquire();

    note_sync(actor, result);
    if (result < 0)
        return;
    actor->pinned++;
    run_block(actor, depth + 1);
    actor->pinned--;
    program_release();
}

/* ---- time ------------------------------------------------------------------------------------ */

static void step_sleep(struct actor *actor, unsigned depth)
{
    gring_ns duration = sim_duration(GRING_SEC), begin = gring_now();

    (void)depth;
    if (gring_sleep(duration) == 0)
        SIM_MUST(gring_now() >= begin + duration);
    else
        note_interruption(actor);
}

static void step_yield(struct actor *actor, unsigned depth)
{
    (void)depth;
    if (gring_yield() < 0)
        note_interruption(actor);
}

static void step_deadline(struct actor *actor, unsigned depth)
{
    gring_timeout timeout;
    gring_ns duration = sim_duration(GRING_SEC), begin = gring_now();

    gring_timeout_start(&timeout, duration);
    run_block(actor, depth + 1);
    if (gring_timeout_stop(&timeout) == 1)
        SIM_MUST(gring_now() >= begin + duration);
}

/* Whoever is shielded must not wait for what only a kill can end: a deadline of its own. */
static void step_shield(struct actor *actor, unsigned depth)
{
    gring_timeout timeout;

    gring_shield_enter();
    gring_timeout_start(&timeout, sim_duration(GRING_SEC));
    run_block(actor, depth + 1);
    gring_timeout_stop(&timeout);
    gring_shield_leave();
}

static void fire(void *arg)
{
    ++*(unsigned *)arg;
}

static void step_timer(struct actor *actor, unsigned depth)
{
    gring_timer timer = { 0 };
    unsigned fired = 0;

    if (gring_timer_start(&timer, sim_duration(100 * GRING_MS), fire, &fired) < 0)
        sim_excuse(errno);
    actor->pinned++;
    run_block(actor, depth + 1);
    actor->pinned--;
    SIM_MUST((unsigned)gring_timer_stop(&timer) + fired == 1);
}

/* ---- tasks ----------------------------------------------------------------------------------- */

static struct actor *any_actor(void)
{
    return program->actors[sim_below(program->actor_count)];
}

static void *act(void *arg)
{
    struct actor *actor = arg;
    int pending;

    run_block(actor, 0);
    pending = gring_cancelled();
    sim_note("ends", (int64_t)gring_task_id(gring_self()), pending, 0);
    if (pending != ECANCELED && pending != FOREIGN_THROWN)
        SIM_MUST(actor->reported_throws + (pending == THROWN) == actor->accepted_throws);
    return NULL;
}

static struct actor *actor_new(unsigned steps)
{
    struct actor *actor = sim_alloc(sizeof *actor);

    actor->steps_left = steps;
    return actor;
}

static void spawn_actor(unsigned steps)
{
    struct actor *actor = actor_new(steps);

    if (program->ending || program->actor_count == ACTORS_MAX)
        return;
    actor->task = sim_chance(800) ? gring_spawn(act, actor)
                                  : gring_spawn_after(sim_duration(GRING_SEC), act, actor);
    if (actor->task)
        program->actors[program->actor_count++] = actor;
    else if (errno != ECANCELED)
        sim_excuse(errno);
}

static void step_spawn(struct actor *actor, unsigned depth)
{
    (void)depth;
    spawn_actor(actor->steps_left / 2);
}

static void step_wait(struct actor *actor, unsigned depth)
{
    struct actor *other = any_actor();

    (void)depth;
    if (other != actor && gring_wait(other->task, NULL) < 0 && errno != EDEADLK)
        note_interruption(actor);
}

static void step_wait_any(struct actor *actor, unsigned depth)
{
    gring_task *tasks[4];
    int count = (int)sim_between(1, 4), index;

    (void)depth;
    for (index = 0; index < count; index++)
        tasks[index] = any_actor()->task;
    index = gring_waitany(tasks, (size_t)count);
    SIM_MUST(index < count && (index < 0 || gring_task_state(tasks[index]) == GRING_DONE));
    if (index < 0 && errno != EDEADLK)
        note_interruption(actor);
}

static void step_join(struct actor *actor, unsigned depth)
{
    struct actor *child = actor_new(actor->steps_left / 4);

    (void)depth;
    child->is_child = true;
    child->task = gring_spawn(act, child);
    if (!child->task) {
        if (errno != ECANCELED)
            sim_excuse(errno);
        return;
    }
    if (sim_chance(300))
        gring_cancel(child->task);
    if (gring_join(child->task, NULL) >= 0)
        return;
    note_interruption(actor);
    gring_kill(child->task);
    GRING_SHIELD
    gring_join(child->task, NULL);
}

static int tick(void *left, const gring_tick *tick)
{
    SIM_MUST(gring_now() >= tick->due);
    return (*(unsigned *)left)-- > 0 ? 0 : -1;
}

static void step_every(struct actor *actor, unsigned depth)
{
    unsigned left = (unsigned)sim_below(5);
    gring_task *task = gring_every(1 + sim_duration(GRING_SEC), tick, &left, NULL);

    (void)depth;
    if (!task) {
        if (errno != ECANCELED)
            sim_excuse(errno);
        return;
    }
    if (gring_join(task, NULL) >= 0)
        return;
    note_interruption(actor);
    gring_kill(task);
    GRING_SHIELD
    gring_join(task, NULL);
}

/* ---- endings --------------------------------------------------------------------------------- */

static void count_link(gring_task *task, void *unused)
{
    (void)unused;
    SIM_MUST(gring_task_state(task) == GRING_DONE);
    program->link_calls++;
}

static void step_link(struct actor *actor, unsigned depth)
{
    struct actor *other = any_actor();

    (void)depth;
    if (gring_link(other->task, count_link, actor) < 0) {
        sim_excuse(errno);
        return;
    }
    program->linked_count++;
    if (sim_chance(300) && gring_unlink(other->task, count_link, actor) == 0)
        program->linked_count--;
}

/* It may park, and nothing interrupts it. */
static void clean_up(void *unused)
{
    (void)unused;
    SIM_MUST(gring_sleep(sim_duration(GRING_MS)) == 0);
    program->defer_calls++;
}

static void step_defer(struct actor *actor, unsigned depth)
{
    (void)actor;
    (void)depth;
    if (gring_defer(clean_up, NULL) < 0)
        sim_excuse(errno);
    else
        program->deferred_count++;
}

static void step_exit(struct actor *actor, unsigned depth)
{
    (void)depth;
    if (!actor->pinned && sim_chance(200))
        gring_exit(NULL);
}

static void step_idle(struct actor *actor, unsigned depth)
{
    (void)depth;
    gring_set_prio((gring_prio)((int)sim_below(3) - 1));
    if (gring_idle() < 0 || gring_checkpoint() < 0)
        note_interruption(actor);
}

static void step_scope(struct actor *actor, unsigned depth)
{
    unsigned children = (unsigned)sim_between(1, 3);
    gring_scope scope = { 0 };

    if (gring_scope_open(&scope, sim_chance(500) ? GRING_SCOPE_COLLECT : 0) < 0) {
        sim_excuse(errno);
        return;
    }
    while (children-- > 0) {
        struct actor *child = actor_new(actor->steps_left / 4);

        child->is_child = true;
        if (gring_scope_spawn_n(&scope, act, child) < 0 && errno != ECANCELED)
            sim_excuse(errno);
    }
    run_block(actor, depth + 1);
    if (sim_chance(300))
        gring_scope_cancel(&scope, 0);
    if (sim_chance(500) && gring_scope_wait(&scope) < 0)
        note_interruption(actor);
    gring_scope_close(&scope);
    SIM_MUST(gring_scope_live(&scope) == 0);
}

/* ---- strikes --------------------------------------------------------------------------------- */

static void strike(struct actor *victim)
{
    switch (sim_below(3)) {
    case 0:
        gring_kill(victim->task);
        break;
    case 1:
        victim->accepted_throws += gring_throw(victim->task, THROWN) == 0;
        sim_note("thrown", (int64_t)gring_task_id(victim->task), victim->accepted_throws, 0);
        break;
    default:
        gring_unpark(victim->task, NULL);
    }
}

static void step_strike(struct actor *actor, unsigned depth)
{
    (void)actor;
    (void)depth;
    if (sim_chance(500))
        strike(any_actor());
}

static void strike_from_elsewhere(void *arg)
{
    gring_task *task = arg;

    switch (sim_below(3)) {
    case 0:
        gring_kill(task);
        break;
    case 1:
        gring_throw(task, FOREIGN_THROWN);
        break;
    default:
        gring_unpark(task, NULL);
    }
    gring_drop(task);
}

static void step_elsewhere(struct actor *actor, unsigned depth)
{
    (void)actor;
    (void)depth;
    if (sim_chance(500))
        sim_elsewhere(sim_duration(GRING_SEC), strike_from_elsewhere,
                      gring_keep(any_actor()->task));
}

static void step_park(struct actor *actor, unsigned depth)
{
    (void)depth;
    if (gring_park(NULL) < 0)
        note_interruption(actor);
}

/* ---- the grammar ----------------------------------------------------------------------------- */

static const struct {
    unsigned weight;
    void (*step)(struct actor *actor, unsigned depth);
    bool nests;
} grammar[] = {
    { 30, step_write, false },    { 30, step_read, false },   { 10, step_sleep, false },
    { 5, step_yield, false },     { 8, step_deadline, true }, { 4, step_shield, true },
    { 3, step_timer, true },      { 4, step_spawn, false },   { 3, step_wait, false },
    { 3, step_wait_any, false },  { 2, step_every, false },   { 2, step_link, false },
    { 2, step_defer, false },     { 1, step_exit, false },    { 1, step_idle, false },
    { 4, step_join, true },       { 4, step_scope, true },    { 5, step_strike, false },
    { 3, step_elsewhere, false }, { 2, step_park, false },    { 6, step_dial, false },
    { 6, step_accept, false },    { 2, step_close, false },   { 3, step_open, false },
    { 8, step_meet, false },      { 4, step_event, false },   { 5, step_choose, false },
    { 3, step_unit, true },
};

static size_t any_rule(void)
{
    const size_t count = sizeof grammar / sizeof grammar[0];
    unsigned total = 0, index = 0, choice;

    for (size_t rule = 0; rule < count; rule++)
        total += grammar[rule].weight;
    for (choice = (unsigned)sim_below(total); choice >= grammar[index].weight; index++)
        choice -= grammar[index].weight;
    return index;
}

/* Killed: goes home, or swallows it and goes on. */
static bool goes_home(const struct actor *actor)
{
    if (!gring_cancelled() || sim_chance(200))
        return false;
    return program->ending || actor->is_child || sim_chance(700) || !gring_uncancel();
}

static void run_block(struct actor *actor, unsigned depth)
{
    unsigned steps = (unsigned)sim_between(1, 10);

    while ((depth == 0 || steps-- > 0) && actor->steps_left > 0 && !goes_home(actor)) {
        size_t rule = any_rule();

        actor->steps_left--;
        sim_note("step", (int64_t)gring_task_id(gring_self()), (int64_t)rule, depth);
        if (!grammar[rule].nests || depth < DEPTH_MAX)
            grammar[rule].step(actor, depth);
    }
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static void begin(void)
{
    program = sim_alloc(sizeof *program);
    program->lane_count = 2 * (unsigned)sim_between(1, LANES_MAX / 2);
    for (unsigned index = 0; index < program->lane_count; index++)
        program->lanes[index].in_fd = program->lanes[index].out_fd = -1;
    for (unsigned index = 0; index < program->lane_count; index += 2)
        open_lanes(index);
    if (program_sync_begin() < 0)
        sim_excuse(errno);
    program->listener = gring_net_listen("tcp:127.0.0.1:7", 4, 0);
    if (program->listener < 0)
        sim_excuse(errno);
}

static void end_actors(void)
{
    program->ending = true;
    for (unsigned index = 0; index < program->actor_count; index++)
        gring_kill(program->actors[index]->task);
    for (unsigned index = 0; index < program->actor_count; index++)
        gring_wait(program->actors[index]->task, NULL);
    SIM_MUST(program->link_calls == program->linked_count);
    SIM_MUST(program->defer_calls == program->deferred_count);
    for (unsigned index = 0; index < program->actor_count; index++)
        gring_drop(program->actors[index]->task); /* not before: they strike each other */
}

/* Nobody else is left. What was written and not read is still there, unless an end broke. */
static void drain(struct lane *lane)
{
    unsigned char piece[PIECE_MAX];
    ssize_t count;

    if (lane->is_broken || lane->in_fd < 0)
        return;
    if (lane->is_socket) {
        gring_shutdown(lane->out_fd, SHUT_WR);
    } else {
        gring_close(lane->out_fd);
        lane->out_fd = -1;
    }
    while ((count = gring_read(lane->in_fd, piece, sizeof piece)) > 0)
        take_bytes(lane, piece, (size_t)count);
    if (count < 0)
        sim_excuse(errno);
    SIM_MUST(count < 0 || lane->read == lane->written || sim_has(SIM_RESETS));
}

static void end(void)
{
    program_sync_end();
    for (unsigned index = 0; index < program->lane_count; index++)
        drain(&program->lanes[index]);
    for (unsigned index = 0; index < program->lane_count; index++) {
        close_end(&program->lanes[index], true);
        close_end(&program->lanes[index], false);
    }
    if (program->listener >= 0)
        gring_close(program->listener);
}

SIM_WORKLOAD(program, SIM_RESETS | SIM_NO_MEMORY | SIM_NO_DESCRIPTORS | SIM_REFUSALS)
{
    unsigned count = (unsigned)sim_between(2, ACTORS_MAX / 2);

    begin();
    while (count-- > 0)
        spawn_actor((unsigned)sim_size(400));
    gring_sleep(sim_duration(4 * GRING_SEC));
    end_actors();
    end();
}
