/*
 * Plain threads that spawn tasks, wait for them, join and kill them, and close what they read from,
 * blocking where the call blocks, while the hub's tasks come and go. Results arrive, each thread
 * comes back, no descriptor stays.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <sys/socket.h>

enum { THREADS_MAX = 6, STEPS_MAX = 12 };

static struct {
    gring_hub *hub;
    unsigned living_threads;
} shared;

static void *rest(void *value)
{
    gring_sleep(sim_duration(10 * GRING_MS));
    return value;
}

static gring_task *spawn(gring_fn fn, void *arg)
{
    gring_task *task = gring_spawn_on(shared.hub, fn, arg);

    if (!task)
        sim_excuse(errno);
    return task;
}

static void join_a_sleeper(void)
{
    void *expected = &shared, *result = NULL;
    gring_task *task = spawn(rest, expected);
    bool killed = sim_chance(300);
    int outcome;

    if (!task)
        return;
    if (killed)
        SIM_MUST(gring_kill(task) == 0);
    outcome = gring_join(task, &result);
    SIM_MUST(killed ? outcome == ECANCELED || outcome == 0 : outcome == 0);
    SIM_MUST(result == expected || (killed && result == NULL));
}

static void wait_then_drop(void)
{
    gring_task *task = spawn(rest, NULL), *again;

    if (!task)
        return;
    again = gring_keep(task);
    if (sim_chance(500))
        gring_drop(task);
    else
        SIM_MUST(gring_join(task, NULL) == 0);
    SIM_MUST(gring_wait(again, NULL) == 0);
    SIM_MUST(gring_task_state(again) == GRING_DONE);
    gring_drop(again);
}

struct reader {
    int fd;
    bool has_begun;
};

static void *read_until_closed(void *arg)
{
    struct reader *reader = arg;
    char byte;

    reader->has_begun = true;
    SIM_MUST(gring_recv(reader->fd, &byte, 1, 0) < 0 && errno == EBADF);
    return NULL;
}

static void close_under_a_reader(void)
{
    struct reader reader = { 0 };
    gring_task *task;
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0) {
        sim_excuse(errno);
        return;
    }
    reader.fd = ends[0];
    task = spawn(read_until_closed, &reader);
    while (task && !reader.has_begun) /* else it might begin on somebody else's number */
        join_a_sleeper();
    SIM_MUST(gring_close(ends[0]) == 0);
    if (task)
        SIM_MUST(gring_join(task, NULL) == 0);
    SIM_MUST(gring_close(ends[1]) == 0);
}

static void run_thread(void *unused)
{
    unsigned steps = (unsigned)sim_size(STEPS_MAX);

    (void)unused;
    while (steps-- > 0)
        switch (sim_below(3)) {
        case 0:
            join_a_sleeper();
            break;
        case 1:
            wait_then_drop();
            break;
        default:
            close_under_a_reader();
        }
    shared.living_threads--;
}

SIM_WORKLOAD(threads, SIM_NO_MEMORY | SIM_NO_DESCRIPTORS)
{
    unsigned count = (unsigned)sim_between(1, THREADS_MAX);

    shared.hub = gring_hub_self();
    shared.living_threads = count;
    while (count-- > 0)
        sim_elsewhere(sim_duration(GRING_MS), run_thread, NULL);
    while (shared.living_threads > 0)
        gring_sleep(GRING_MS);
}
