/*
 * A crowd: very many tasks wait on few pipes, and are killed, timed out or served in one go, so
 * that far more operations and cancels are wanted at once than the queues hold. Every byte goes to
 * one reader or stays in its pipe.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { READERS_MAX = 1500, PIPES_MAX = 8, ROUNDS_MAX = 6, PIECE_MAX = 256 };

struct well {
    int ends[2];
    size_t written, taken;
};

static struct {
    struct well wells[PIPES_MAX];
    unsigned well_count;
    gring_task *readers[READERS_MAX];
    unsigned reader_count;
} * crowd;

static struct well *any_well(void)
{
    return &crowd->wells[sim_below(crowd->well_count)];
}

static void *drink(void *unused)
{
    struct well *well = any_well();
    gring_timeout timeout;
    ssize_t count;
    char bytes[4];

    gring_timeout_start(&timeout, sim_chance(300) ? sim_duration(GRING_SEC) : GRING_FOREVER);
    count = gring_read(well->ends[0], bytes, sizeof bytes);
    gring_timeout_stop(&timeout);
    if (count > 0)
        well->taken += (size_t)count;
    else
        SIM_MUST(count < 0 && (errno == ECANCELED || errno == ETIMEDOUT));
    return unused;
}

static void gather(unsigned count)
{
    while (count-- > 0 && crowd->reader_count < READERS_MAX) {
        gring_task *task = gring_spawn(drink, NULL);

        if (task)
            crowd->readers[crowd->reader_count++] = task;
        else
            sim_excuse(errno);
    }
}

static void pour(void)
{
    struct well *well = any_well();
    char bytes[PIECE_MAX] = { 0 };
    ssize_t count = gring_within(sim_duration(GRING_SEC),
                                 gring_write(well->ends[1], bytes, sim_size(sizeof bytes)));

    if (count > 0)
        well->written += (size_t)count;
    else
        SIM_MUST(count < 0 && errno == ETIMEDOUT);
}

static void strike(void)
{
    unsigned first = (unsigned)sim_below(crowd->reader_count + 1);
    unsigned count = (unsigned)sim_below(crowd->reader_count - first + 1);

    gring_killall(crowd->readers + first, count);
}

static void disperse(void)
{
    gring_killall(crowd->readers, crowd->reader_count);
    for (unsigned index = 0; index < crowd->reader_count; index++)
        gring_join(crowd->readers[index], NULL);
    crowd->reader_count = 0;
}

static void drain(struct well *well)
{
    char bytes[PIECE_MAX];
    ssize_t count;

    gring_close(well->ends[1]);
    while ((count = gring_read(well->ends[0], bytes, sizeof bytes)) > 0)
        well->taken += (size_t)count;
    SIM_MUST(count == 0 && well->taken == well->written);
    gring_close(well->ends[0]);
}

SIM_WORKLOAD(crowd, SIM_NO_MEMORY)
{
    crowd = sim_alloc(sizeof *crowd);
    crowd->well_count = (unsigned)sim_between(1, PIPES_MAX);
    for (unsigned index = 0; index < crowd->well_count; index++)
        SIM_MUST(pipe2(crowd->wells[index].ends, O_CLOEXEC) == 0);
    for (uint64_t round = sim_between(1, ROUNDS_MAX); round > 0; round--) {
        gather((unsigned)sim_size(READERS_MAX));
        gring_sleep(sim_duration(GRING_MS));
        for (uint64_t pours = sim_below(20); pours > 0; pours--)
            pour();
        strike();
        gring_sleep(sim_duration(GRING_SEC));
        if (sim_chance(500))
            disperse();
    }
    disperse();
    for (unsigned index = 0; index < crowd->well_count; index++)
        drain(&crowd->wells[index]);
}
