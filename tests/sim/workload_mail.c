/*
 * Mail from plain threads, while the hub has nothing else to do: unparks, throws, kills and posted
 * callbacks, each of which is the only thing that can wake whoever waits for it. If one is lost the
 * run stands still.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <sys/socket.h>

enum { TASKS_MAX = 6, ROUNDS_MAX = 40, THROWN = EPROTO };

struct round {
    gring_task *task;
    gring_hub *hub;
    unsigned kind, called_count;
};

static gring_ns soon(void)
{
    return sim_chance(300) ? 0 : sim_duration(GRING_MS);
}

static void unpark_posted(void *arg)
{
    struct round *round = arg;

    round->called_count++;
    gring_unpark(round->task, round);
}

/* On the plain thread. Memory that posting lacks is asked for again. */
static void send_mail(void *arg)
{
    struct round *round = arg;

    switch (round->kind) {
    case 0:
        SIM_MUST(gring_unpark(round->task, round) == 0);
        break;
    case 1:
        SIM_MUST(gring_throw(round->task, THROWN) == 0);
        break;
    case 2:
        SIM_MUST(gring_kill(round->task) == 0);
        break;
    default:
        if (gring_post(round->hub, unpark_posted, round) < 0) {
            sim_excuse(errno);
            sim_elsewhere(soon(), send_mail, round);
        }
    }
}

static void check(const struct round *round, int result, int error, void *value)
{
    static const int expected[] = { 0, THROWN, ECANCELED, 0 };

    SIM_MUST((result < 0 ? error : 0) == expected[round->kind]);
    SIM_MUST(result < 0 || value == round);
    SIM_MUST(round->called_count == (round->kind == 3));
    if (round->kind == 2)
        SIM_MUST(gring_uncancel() == 1);
}

static void *wait_for_mail(void *unused)
{
    unsigned rounds = (unsigned)sim_size(ROUNDS_MAX);

    while (rounds-- > 0) {
        struct round *round = sim_alloc(sizeof *round);
        void *value = NULL;
        int result;

        *round = (struct round){ .task = gring_self(),
                                 .kind = (unsigned)sim_below(4),
                                 .hub = gring_hub_self() };
        sim_elsewhere(soon(), send_mail, round);
        result = gring_park(&value);
        check(round, result, errno, value);
    }
    return unused;
}

static void *read_in_vain(void *fd)
{
    char byte;

    SIM_MUST(gring_recv((int)(intptr_t)fd, &byte, 1, 0) < 0 && errno == EBADF);
    return NULL;
}

/* Something in flight that nobody will complete: so the hub sleeps without a limit, and does not
 * look by itself whether there are still other threads. */
SIM_WORKLOAD(mail, SIM_NO_MEMORY)
{
    gring_task *tasks[TASKS_MAX];
    unsigned count = (unsigned)sim_between(1, TASKS_MAX);
    int ends[2];

    SIM_MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    if (gring_spawn_n(read_in_vain, (void *)(intptr_t)ends[0]) < 0)
        sim_excuse(errno);
    for (unsigned index = 0; index < count; index++)
        if (!(tasks[index] = gring_spawn(wait_for_mail, NULL)))
            sim_excuse(errno);
    for (unsigned index = 0; index < count; index++)
        if (tasks[index])
            gring_join(tasks[index], NULL);
    gring_yield(); /* it may not have begun */
    gring_close(ends[0]);
    gring_close(ends[1]);
}
