/*
 * The hub's run queue, from outside: tasks that yield, park, idle, change their lane, start, end
 * and kill one another, and a predictor that says who runs next.
 *
 * The predictor knows the promise of runtime/hub.h only: three lanes, each in order, the higher
 * first; turns of TURN_TASKS; a lane that was passed over for LANE_PATIENCE turns gets one run; who
 * idles goes on when nobody is ready. It finds the next one by looking at everybody.
 */
#include "runtime/hub.h"
#include "tests/model/choices.h"

#include <assert.h>
#include <errno.h>
#include <greenring/greenring.h>
#include <string.h>

enum { TASKS = 12, MAIN = 0, NOBODY = TASKS };

/* Up to 1,024 turns of a task: more than the patience of a lane. */
enum { YIELDS_BITS = 11 };
static_assert(1 << (YIELDS_BITS - 1) > TURN_TASKS * (LANE_PATIENCE + 1), "none loses its patience");

enum where { NOWHERE, READY, RUNNING, PARKED, IDLE };

static struct twin_task {
    gring_task *handle;
    enum where where;
    unsigned place; /* among the ready, or among the idle */
    enum lane lane;
    bool started;
    bool unparked;
    bool killed;
    bool husk; /* cancelled before it ran; its place in the lane is passed over */
} twins[TASKS];

static struct {
    unsigned running, next_place;
    unsigned turn_left;
    bool loop_runs; /* the first turn is main's own: nobody keeps account of it */
    bool served[LANE_COUNT], owed[LANE_COUNT];
    unsigned passed_over[LANE_COUNT];
} twin;

static struct choices *bytes;

/* ---- the predictor --------------------------------------------------------------------------- */

static void become_ready(unsigned task)
{
    twins[task].where = READY;
    twins[task].place = twin.next_place++;
}

/* The first one in this state, of this lane or of any. */
static unsigned first(enum where where, unsigned lane)
{
    unsigned found = NOBODY;

    for (unsigned task = 0; task < TASKS; task++)
        if (twins[task].where == where && (lane == LANE_COUNT || twins[task].lane == lane) &&
            (found == NOBODY || twins[task].place < twins[found].place))
            found = task;
    return found;
}

static void end_turn(void)
{
    for (unsigned lane = LANE_NORMAL; twin.loop_runs && lane < LANE_COUNT; lane++) {
        bool waits = first(READY, lane) != NOBODY && !twin.served[lane];

        twin.passed_over[lane] = waits ? twin.passed_over[lane] + 1 : 0;
        twin.owed[lane] |= twin.passed_over[lane] >= LANE_PATIENCE;
    }
}

static void wake_idlers(void)
{
    unsigned idler;

    while ((idler = first(IDLE, LANE_COUNT)) != NOBODY)
        become_ready(idler);
}

static void begin_turn(void)
{
    if (first(READY, LANE_COUNT) == NOBODY)
        wake_idlers();
    twin.loop_runs = true;
    twin.turn_left = TURN_TASKS;
    memset(twin.served, 0, sizeof twin.served);
}

/* A debt is paid by one look: if nobody is in that lane any more it is settled, too. */
static unsigned first_owed(void)
{
    for (unsigned lane = 0; lane < LANE_COUNT; lane++)
        if (twin.owed[lane]) {
            twin.owed[lane] = false;
            return first(READY, lane);
        }
    return NOBODY;
}

/* NOBODY: the turn is over. */
static unsigned pick(void)
{
    unsigned task = twin.turn_left ? first_owed() : NOBODY;

    for (unsigned lane = 0; twin.turn_left && task == NOBODY && lane < LANE_COUNT; lane++)
        task = first(READY, lane);
    if (task == NOBODY)
        return NOBODY;
    twin.served[twins[task].lane] = true;
    twin.turn_left--;
    twins[task].where = NOWHERE;
    return task;
}

/* Who runs when the running one stops. */
static void predict(void)
{
    unsigned task;

    while ((task = pick()) == NOBODY || twins[task].husk)
        if (task == NOBODY) {
            end_turn();
            begin_turn();
        }
    twins[task].where = RUNNING;
    twin.running = task;
}

/* ---- tasks ----------------------------------------------------------------------------------- */

static void *live(void *arg);

/* Somebody else who will run by himself: else all would wait for one another. */
static bool somebody_comes(void)
{
    for (unsigned task = 0; task < TASKS; task++)
        if ((twins[task].where == READY && !twins[task].husk) || twins[task].where == IDLE)
            return true;
    return false;
}

/* A waiting call of a killed task fails at once, and the task is well advised to end. */
static bool refused(int result)
{
    MUST(result == -1 && errno == ECANCELED);
    return false;
}

/* A waiting call that stopped returns when it is our turn, and not before. */
static bool returned(unsigned self, int result)
{
    MUST(twin.running == self);
    MUST(result == 0 || (twins[self].killed && errno == ECANCELED));
    return result == 0;
}

static bool yield(unsigned self)
{
    if (twins[self].killed)
        return refused(gring_yield());
    become_ready(self);
    predict();
    return returned(self, gring_yield());
}

/* Lower lanes lose their patience only with somebody who is always ready. */
static bool yield_often(unsigned self, unsigned count)
{
    while (count > 0 && yield(self))
        count--;
    return count == 0;
}

static bool park(unsigned self)
{
    bool goes_on = true;

    if (twins[self].killed)
        return refused(gring_park(NULL));
    if (twins[self].unparked) {
        MUST(gring_park(NULL) == 0);
    } else if (somebody_comes()) {
        twins[self].where = PARKED;
        predict();
        goes_on = returned(self, gring_park(NULL));
    }
    twins[self].unparked = false;
    return goes_on;
}

static bool idle(unsigned self)
{
    if (twins[self].killed)
        return refused(gring_idle());
    twins[self].where = IDLE;
    twins[self].place = twin.next_place++;
    predict();
    return returned(self, gring_idle());
}

static void unpark(unsigned task)
{
    if (twins[task].where == NOWHERE || twins[task].husk)
        return;
    MUST(gring_unpark(twins[task].handle, NULL) == 0);
    twins[task].unparked = true;
    if (twins[task].where == PARKED)
        become_ready(task);
}

static void kill_it(unsigned task)
{
    if (twins[task].where == NOWHERE || twins[task].husk || task == MAIN)
        return;
    MUST(gring_kill(twins[task].handle) == 0);
    if (!twins[task].started) {
        gring_drop(twins[task].handle);
        twins[task].husk = true;
        return;
    }
    twins[task].killed = true;
    if (twins[task].where == PARKED || twins[task].where == IDLE)
        become_ready(task);
}

static enum lane lane_of(gring_prio prio)
{
    return (enum lane)(LANE_NORMAL - (int)prio);
}

static void spawn(unsigned task, gring_prio prio)
{
    gring_spawn_opts opts = GRING_SPAWN_INIT;

    if (twins[task].where != NOWHERE || task == MAIN)
        return;
    opts.prio = prio;
    twins[task] = (struct twin_task){ .lane = lane_of(prio) };
    become_ready(task);
    twins[task].handle = gring_spawn_with(&opts, live, &twins[task]);
    MUST(twins[task].handle);
}

static void change_lane(unsigned self, gring_prio prio)
{
    MUST(gring_set_prio(prio) == 0);
    twins[self].lane = lane_of(prio);
}

/* False: the task ends. */
static bool act(unsigned self)
{
    unsigned what = choose(bytes, 16);
    unsigned other = choose(bytes, TASKS);
    gring_prio prio = (gring_prio)((int)(other % LANE_COUNT) - 1);

    if (what < 4)
        return yield(self);
    if (what == 4)
        return yield_often(self, 1u << choose(bytes, YIELDS_BITS));
    if (what < 7)
        return park(self);
    if (what == 7)
        return idle(self);
    if (what == 8)
        return other > 1;
    if (what < 11)
        unpark(other);
    else if (what < 14)
        spawn(other, prio);
    else if (what == 14)
        change_lane(self, prio);
    else
        kill_it(other);
    return true;
}

static void *live(void *arg)
{
    unsigned self = (unsigned)((struct twin_task *)arg - twins);

    MUST(twin.running == self && !twins[self].started);
    twins[self].started = true;
    while (choices_left(bytes) && act(self))
        ;
    if (!somebody_comes())
        unpark(MAIN); /* the last one awake does not leave the others to themselves */
    gring_drop(twins[self].handle);
    twins[self].where = NOWHERE;
    predict();
    return NULL;
}

static bool is_alone(void)
{
    for (unsigned task = 0; task < TASKS; task++)
        if (task != MAIN && twins[task].where != NOWHERE)
            return false;
    return true;
}

/* The others end at their next turn, when no bytes are left. */
static void *live_as_main(void *unused)
{
    (void)unused;
    twins[MAIN] = (struct twin_task){
        .handle = gring_self(), .where = RUNNING, .lane = LANE_NORMAL, .started = true
    };
    while (choices_left(bytes))
        act(MAIN);
    while (!is_alone()) {
        for (unsigned task = 0; task < TASKS; task++)
            unpark(task);
        idle(MAIN);
    }
    return NULL;
}

MODEL(run_queue)
{
    gring_config config = GRING_CONFIG_INIT;

    bytes = choices;
    config.flags = GRING_RUN_FAKETIME;
    memset(twins, 0, sizeof twins);
    memset(&twin, 0, sizeof twin);
    twin.running = MAIN;
    twin.turn_left = TURN_TASKS;
    MUST(gring_run_with(&config, live_as_main, NULL, NULL) == 0);
}
