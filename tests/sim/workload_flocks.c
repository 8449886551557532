/*
 * Locks on a file: tasks with descriptors of their own lock it for themselves or for several, are
 * killed, run out of time and have the descriptor closed while they wait or hold.
 *
 * Whoever has it for himself is alone; who failed has nothing, and leaves nothing locked: in the end
 * anybody gets it at once.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

enum { TASKS_MAX = 6, STEPS_MAX = 15 };

static struct holder {
    int fd; /* -1: closed */
    gring_task *task;
} * holders;

static unsigned owners, sharers;

static void excuse(const struct holder *holder)
{
    if (errno == ECANCELED || errno == ETIMEDOUT || errno == EWOULDBLOCK)
        return;
    if (errno != EBADF || holder->fd >= 0)
        sim_excuse(errno);
}

static void hold_alone(void)
{
    SIM_MUST(++owners == 1 && sharers == 0);
    gring_sleep(sim_duration(100 * GRING_MS));
    owners--;
}

static void hold_with_others(void)
{
    sharers++;
    SIM_MUST(owners == 0);
    gring_sleep(sim_duration(100 * GRING_MS));
    sharers--;
}

static void lock_once(const struct holder *holder)
{
    int kind = sim_chance(500) ? LOCK_EX : LOCK_SH, fd = holder->fd;
    int flags = sim_chance(200) ? LOCK_NB : 0;

    if (gring_flock(fd, kind | flags) < 0) {
        excuse(holder);
        return;
    }
    if (holder->fd < 0)
        return; /* the close gave it back */
    if (kind == LOCK_EX)
        hold_alone();
    else
        hold_with_others();
    if (holder->fd >= 0)
        SIM_MUST(gring_flock(fd, LOCK_UN) == 0);
}

static void *live(void *arg)
{
    const struct holder *holder = arg;
    unsigned steps = (unsigned)sim_size(STEPS_MAX);
    gring_timeout timeout;

    while (steps-- > 0 && !gring_cancelled() && holder->fd >= 0) {
        gring_timeout_start(&timeout, sim_chance(300) ? sim_duration(GRING_SEC) : GRING_FOREVER);
        lock_once(holder);
        gring_timeout_stop(&timeout);
    }
    return NULL;
}

static int open_shared(void)
{
    int fd = gring_open("/shared", O_RDWR | O_CREAT, 0600);

    if (fd < 0)
        sim_excuse(errno);
    return fd;
}

/* Who holds it would not notice: so nobody does when it is closed. What has the number then, which
 * nobody may lock; or -1. */
static int close_under(struct holder *holder)
{
    int fd = holder->fd;

    if (owners || sharers)
        return -1;
    holder->fd = -1;
    gring_close(fd);
    return open_shared();
}

SIM_WORKLOAD(flocks, SIM_NO_MEMORY)
{
    unsigned count = (unsigned)sim_between(2, TASKS_MAX);
    int fd, successor = -1;

    holders = sim_alloc(count * sizeof *holders);
    owners = sharers = 0;
    for (unsigned index = 0; index < count; index++)
        holders[index].fd = open_shared();
    for (unsigned index = 0; index < count; index++)
        if (!(holders[index].task = gring_spawn(live, &holders[index])))
            sim_excuse(errno);
    gring_sleep(sim_duration(GRING_SEC));
    if (sim_chance(500) && holders[0].task)
        gring_kill(holders[0].task);
    if (sim_chance(500))
        successor = close_under(&holders[1]);
    for (unsigned index = 0; index < count; index++)
        if (holders[index].task)
            gring_join(holders[index].task, NULL);
    fd = open_shared();
    SIM_MUST(gring_flock(fd, LOCK_EX | LOCK_NB) == 0);
    gring_close(fd);
    if (successor >= 0)
        gring_close(successor);
    for (unsigned index = 0; index < count; index++)
        if (holders[index].fd >= 0)
            gring_close(holders[index].fd);
}
