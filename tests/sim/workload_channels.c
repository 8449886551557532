/*
 * Channels of every kind, and choose over channels, events, tasks and a pipe, by tasks that are
 * killed, thrown at and timed out, and by plain threads on the shared ones. An element whose send
 * succeeded is received once or is still in its channel at the end; one whose send failed, or that
 * was offered by a case that was not performed, is never received. Nobody is overtaken: elements
 * come in the order in which their senders asked, where the channel has no other.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

enum {
    ROADS_MAX = 5,
    TASKS_MAX = 10,
    THREADS_MAX = 4,
    ACTORS_MAX = TASKS_MAX + THREADS_MAX,
    STEPS_MAX = 50,
    CASES_MAX = 12,
    OFFERS_MAX = STEPS_MAX * CASES_MAX,
    CAPACITY_MAX = 8,
    THROWN = EPROTO,
    FAILED = EDOM
};

enum order { OLDEST_FIRST, YOUNGEST_FIRST, LEAST_FIRST };

struct element {
    uint32_t sender, number;
    uint64_t stamp; /* in the order of asking, over all senders */
    uint64_t sum;
};

struct road {
    gring_chan *chan;
    enum order order;
    bool is_shared, is_closed;
};

struct fate {
    bool sent, refused, received;
};

struct actor {
    gring_task *task; /* NULL: a plain thread */
    unsigned number, offer_count;
    bool was_killed, is_over;
    struct fate fates[OFFERS_MAX];
    uint64_t last_stamps[ROADS_MAX]; /* of what it got last from each */
};

static struct meeting {
    struct road roads[ROADS_MAX];
    unsigned road_count, actor_count, living_threads;
    uint64_t stamp;
    struct actor *actors[ACTORS_MAX];
    gring_event local_event, shared_event;
    int pipe_ends[2];
} * meeting;

/* ---- elements -------------------------------------------------------------------------------- */

static uint64_t sum_of(const struct element *element)
{
    return (element->sender + 1) * 0x9e3779b97f4a7c15u ^ (uint64_t)element->number << 7 ^
           element->stamp << 32;
}

static struct element offer(struct actor *actor)
{
    struct element element = { .sender = actor->number,
                               .number = actor->offer_count++,
                               .stamp = ++meeting->stamp };

    SIM_MUST(actor->offer_count <= OFFERS_MAX);
    element.sum = sum_of(&element);
    return element;
}

static void settle(struct actor *actor, const struct element *element, bool was_sent)
{
    struct fate *fate = &actor->fates[element->number];

    sim_note(was_sent ? "sent" : "refused", element->sender, element->number, 0);
    fate->sent = was_sent;
    fate->refused = !was_sent;
    SIM_MUST(was_sent || !fate->received);
}

static void receive(const struct element *element)
{
    struct fate *fate;

    SIM_MUST(element->sender < meeting->actor_count && element->sum == sum_of(element));
    fate = &meeting->actors[element->sender]->fates[element->number];
    SIM_MUST(!fate->received && !fate->refused);
    fate->received = true;
}

/* By an actor, from a road. */
static void take(struct actor *actor, struct road *road, const struct element *element)
{
    uint64_t *last = &actor->last_stamps[road - meeting->roads];

    sim_note("received", element->sender, element->number, actor->number);
    receive(element);
    SIM_MUST(road->order != OLDEST_FIRST || element->stamp > *last);
    *last = element->stamp;
}

static int compare(const void *left, const void *right)
{
    const struct element *one = left, *other = right;

    return one->number % 7 < other->number % 7 ? -1 : one->number % 7 > other->number % 7;
}

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

static void note_send(const struct actor *actor, const struct road *road, int error)
{
    if (error == EPIPE)
        SIM_MUST(road->is_closed);
    else
        note(actor, error);
}

static void note_end(const struct road *road)
{
    SIM_MUST(road->is_closed);
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* Plain threads may only use shared ones; road 0 is. */
static struct road *any_road(const struct actor *actor)
{
    struct road *road = &meeting->roads[sim_below(meeting->road_count)];

    return actor->task || road->is_shared ? road : &meeting->roads[0];
}

static void send_one(struct actor *actor, struct road *road)
{
    struct element element = offer(actor);
    bool waits = sim_chance(700);
    int result =
        waits ? gring_chan_send(road->chan, &element) : gring_chan_trysend(road->chan, &element);

    settle(actor, &element, result == 0);
    if (result < 0 && (waits || errno != EAGAIN))
        note_send(actor, road, errno);
}

static void receive_one(struct actor *actor, struct road *road)
{
    bool waits = sim_chance(700);
    struct element element;
    int result =
        waits ? gring_chan_recv(road->chan, &element) : gring_chan_tryrecv(road->chan, &element);

    if (result == 1)
        take(actor, road, &element);
    else if (result == 0)
        note_end(road);
    else if (waits || errno != EAGAIN)
        note(actor, errno);
}

static void change_road(struct road *road)
{
    if (sim_chance(50)) {
        road->is_closed = true;
        SIM_MUST(gring_chan_close(road->chan) == 0);
    } else if (gring_chan_resize(road->chan, sim_below(CAPACITY_MAX + 1)) < 0) {
        sim_excuse(errno);
    }
}

static gring_event *any_event(const struct actor *actor)
{
    return actor->task && sim_chance(500) ? &meeting->local_event : &meeting->shared_event;
}

static void change_event(gring_event *event)
{
    int result = 0;

    if (sim_chance(300))
        SIM_MUST(gring_event_reset(event) == 0);
    else if (sim_chance(500))
        result = gring_event_send(event, meeting);
    else
        result = gring_event_fail(event, FAILED);
    SIM_MUST(result == 0 || errno == EALREADY);
}

static void check_event(int outcome, int error, const void *value)
{
    SIM_MUST(outcome == 0 || outcome == FAILED || (outcome < 0 && error == EAGAIN));
    SIM_MUST(outcome != 0 || value == meeting);
}

static void poll_event(gring_event *event)
{
    void *value = NULL;
    int outcome = gring_event_poll(event, &value);

    check_event(outcome, errno, value);
}

static void use_pipe(const struct actor *actor)
{
    char byte = 0;
    bool writes = sim_chance(500);
    ssize_t count =
        gring_within(sim_duration(GRING_MS), writes ? gring_write(meeting->pipe_ends[1], &byte, 1)
                                                    : gring_read(meeting->pipe_ends[0], &byte, 1));

    if (count < 0)
        note(actor, errno);
}

static void rest(const struct actor *actor)
{
    if (gring_sleep(sim_duration(10 * GRING_MS)) < 0)
        note(actor, errno);
}

/* ---- choose ---------------------------------------------------------------------------------- */

struct choice {
    struct actor *actor;
    gring_case cases[CASES_MAX];
    struct road *roads[CASES_MAX];
    struct element elements[CASES_MAX];
    void *values[CASES_MAX];
    int count;
};

static void add_channel(struct choice *choice)
{
    int index = choice->count++;
    struct road *road = any_road(choice->actor);
    struct element *element = &choice->elements[index];

    choice->roads[index] = road;
    if (sim_chance(500)) {
        *element = offer(choice->actor);
        choice->cases[index] = (gring_case)GRING_CASE_SEND(road->chan, element);
    } else {
        choice->cases[index] = (gring_case)GRING_CASE_RECV(road->chan, element);
    }
}

static void add_event(struct choice *choice)
{
    int index = choice->count++;

    choice->cases[index] =
        (gring_case)GRING_CASE_EVENT(any_event(choice->actor), &choice->values[index]);
}

static void add_task(struct choice *choice)
{
    struct actor *other = meeting->actors[sim_below(meeting->actor_count)];

    if (!other->task || other == choice->actor)
        choice->cases[choice->count++] = (gring_case){ .op = GRING_ON_NONE };
    else
        choice->cases[choice->count++] = (gring_case)GRING_CASE_TASK(other->task, NULL);
}

static void add_pipe(struct choice *choice)
{
    bool writes = sim_chance(300);

    choice->cases[choice->count++] =
        (gring_case)GRING_CASE_FD(meeting->pipe_ends[writes], writes ? POLLOUT : POLLIN);
}

static void add_case(struct choice *choice)
{
    switch (sim_below(choice->actor->task ? 8 : 5)) {
    case 4:
        add_event(choice);
        break;
    case 5:
        add_task(choice);
        break;
    case 6:
        add_pipe(choice);
        break;
    default:
        add_channel(choice);
    }
}

static void check_performed(struct choice *choice, int index)
{
    gring_case *performed = &choice->cases[index];

    switch (performed->op) {
    case GRING_ON_RECV:
        SIM_MUST(performed->rc == 0 || performed->rc == 1);
        if (performed->rc)
            take(choice->actor, choice->roads[index], &choice->elements[index]);
        else
            note_end(choice->roads[index]);
        break;
    case GRING_ON_SEND:
        if (performed->rc < 0)
            note_send(choice->actor, choice->roads[index], performed->err);
        break;
    case GRING_ON_EVENT:
        check_event(performed->rc, performed->err, choice->values[index]);
        SIM_MUST(performed->rc >= 0);
        break;
    case GRING_ON_TASK:
        SIM_MUST(gring_task_state(performed->u.task) == GRING_DONE);
        break;
    default:
        SIM_MUST(performed->op == GRING_ON_FD && performed->revents);
    }
}

static void choose(struct actor *actor)
{
    struct choice *choice = sim_alloc(sizeof *choice);
    int count = (int)sim_size(CASES_MAX), chosen, error;
    bool waits = sim_chance(700);

    choice->actor = actor;
    add_channel(choice); /* all are closed in the end, so none waits for ever */
    while (choice->count < count)
        add_case(choice);
    chosen = waits ? gring_choose(choice->cases, count) : gring_trychoose(choice->cases, count);
    error = errno;
    sim_note("chosen", actor->number, chosen, chosen < 0 ? 0 : choice->cases[chosen].op);
    for (int index = 0; index < count; index++)
        if (choice->cases[index].op == GRING_ON_SEND)
            settle(actor, &choice->elements[index],
                   index == chosen && choice->cases[index].rc == 0);
    if (chosen >= 0)
        check_performed(choice, chosen);
    else if (waits || error != EAGAIN)
        note(actor, error);
}

/* ---- actors ---------------------------------------------------------------------------------- */

static void step(struct actor *actor)
{
    switch (sim_below(actor->task ? 12 : 10)) {
    case 0:
        change_road(any_road(actor));
        break;
    case 1:
        change_event(any_event(actor));
        break;
    case 2:
        poll_event(any_event(actor));
        break;
    case 3:
    case 4:
    case 5:
        choose(actor);
        break;
    case 10:
        use_pipe(actor);
        break;
    case 11:
        rest(actor);
        break;
    default:
        (sim_chance(500) ? send_one : receive_one)(actor, any_road(actor));
    }
}

static void step_in_time(struct actor *actor)
{
    gring_within_do(sim_duration(10 * GRING_MS)) step(actor);
}

static void step_shielded(struct actor *actor)
{
    GRING_SHIELD
    step(actor);
}

static void *act(void *arg)
{
    struct actor *actor = arg;
    unsigned steps = (unsigned)sim_size(STEPS_MAX);

    while (steps-- > 0) {
        uint64_t kind = actor->task ? sim_below(4) : 0;

        if (gring_cancelled() == ECANCELED && sim_chance(300) && gring_uncancel() == 0)
            SIM_MUST(!"a pending kill can be swallowed");
        if (kind == 1)
            step_in_time(actor);
        else if (kind == 2)
            step_shielded(actor);
        else
            step(actor);
    }
    actor->is_over = true;
    return NULL;
}

static void act_elsewhere(void *arg)
{
    act(arg);
    meeting->living_threads--;
}

static void *strike(void *unused)
{
    while (gring_sleep(sim_duration(20 * GRING_MS)) == 0) {
        struct actor *actor = meeting->actors[sim_below(meeting->actor_count)];

        if (!actor->task)
            continue;
        if (sim_chance(500)) {
            gring_throw(actor->task, THROWN);
        } else {
            actor->was_killed = true;
            gring_kill(actor->task);
        }
    }
    return unused;
}

/* ---- the meeting ----------------------------------------------------------------------------- */

static size_t any_capacity(void)
{
    return sim_chance(300) ? 0 : sim_chance(200) ? GRING_UNBOUNDED : sim_below(CAPACITY_MAX + 1);
}

static bool open_road(struct road *road, bool is_shared)
{
    unsigned flags = is_shared ? GRING_SHARED : 0;

    road->order = (enum order)sim_below(3);
    road->is_shared = is_shared;
    if (road->order == LEAST_FIRST)
        road->chan = gring_chan_new_prio(sizeof(struct element), any_capacity(), compare, flags);
    else
        road->chan = gring_chan_new(sizeof(struct element), any_capacity(),
                                    flags | (road->order ? GRING_CHAN_LIFO : 0));
    if (!road->chan)
        sim_excuse(errno);
    return road->chan != NULL;
}

static bool open_roads(void)
{
    unsigned wanted = (unsigned)sim_between(1, ROADS_MAX);

    for (; meeting->road_count < wanted; meeting->road_count++)
        if (!open_road(&meeting->roads[meeting->road_count],
                       meeting->road_count == 0 || sim_chance(500)))
            break;
    return meeting->road_count > 0;
}

static struct actor *add_actor(void)
{
    struct actor *actor = sim_alloc(sizeof *actor);

    actor->number = meeting->actor_count;
    meeting->actors[meeting->actor_count++] = actor;
    return actor;
}

static void begin_actors(void)
{
    unsigned tasks = (unsigned)sim_between(1, TASKS_MAX);
    unsigned threads = sim_chance(500) ? (unsigned)sim_between(1, THREADS_MAX) : 0;

    meeting->living_threads = threads;
    while (tasks-- > 0) {
        struct actor *actor = add_actor();

        actor->task = gring_spawn(act, actor);
        if (!actor->task)
            sim_excuse(errno);
    }
    while (threads-- > 0)
        sim_elsewhere(sim_duration(GRING_MS), act_elsewhere, add_actor());
}

static void close_roads(void)
{
    for (unsigned index = 0; index < meeting->road_count; index++) {
        meeting->roads[index].is_closed = true;
        SIM_MUST(gring_chan_close(meeting->roads[index].chan) == 0);
    }
}

static void await_actors(void)
{
    for (unsigned index = 0; index < meeting->actor_count; index++)
        if (meeting->actors[index]->task)
            SIM_MUST(gring_wait(meeting->actors[index]->task, NULL) >= 0);
    while (meeting->living_threads > 0)
        gring_sleep(GRING_MS);
    for (unsigned index = 0; index < meeting->actor_count; index++)
        gring_drop(meeting->actors[index]->task);
}

static bool is_in_order(const struct road *road, const struct element *last,
                        const struct element *next)
{
    bool came_later = last->stamp < next->stamp;
    int difference = compare(last, next);

    if (road->order == LEAST_FIRST)
        return difference < 0 || (difference == 0 && came_later);
    return came_later == (road->order == OLDEST_FIRST);
}

static void empty_road(struct road *road)
{
    size_t left = gring_chan_len(road->chan), count = 0;
    struct element element, last;

    SIM_MUST(gring_chan_waiting(road->chan) == 0);
    for (; gring_chan_tryrecv(road->chan, &element) == 1; count++) {
        receive(&element);
        SIM_MUST(count == 0 || is_in_order(road, &last, &element));
        last = element;
    }
    SIM_MUST(count == left);
    gring_chan_free(road->chan);
}

static void check_fates(const struct actor *actor)
{
    for (unsigned number = 0; number < actor->offer_count; number++)
        SIM_MUST(actor->fates[number].sent == actor->fates[number].received);
}

static void check_all(void)
{
    for (unsigned index = 0; index < meeting->road_count; index++)
        empty_road(&meeting->roads[index]);
    for (unsigned index = 0; index < meeting->actor_count; index++)
        check_fates(meeting->actors[index]);
    SIM_MUST(gring_event_destroy(&meeting->local_event) == 0);
    SIM_MUST(gring_event_destroy(&meeting->shared_event) == 0);
}

SIM_WORKLOAD(channels, SIM_NO_MEMORY)
{
    gring_task *striker;

    meeting = sim_alloc(sizeof *meeting);
    SIM_MUST(pipe2(meeting->pipe_ends, O_CLOEXEC) == 0);
    SIM_MUST(gring_event_init(&meeting->shared_event, GRING_SHARED) == 0);
    if (open_roads()) {
        begin_actors();
        striker = sim_chance(700) ? gring_spawn(strike, NULL) : NULL;
        gring_sleep(sim_chance(500) ? GRING_SEC : sim_duration(GRING_SEC));
        if (striker) {
            gring_kill(striker);
            gring_join(striker, NULL);
        }
        close_roads();
        await_actors();
        check_all();
    }
    gring_close(meeting->pipe_ends[0]);
    gring_close(meeting->pipe_ends[1]);
}
