/*
 * Opening FIFOs, which waits for the other end: readers and writers that meet, are killed and run
 * out of time while they wait, and leave threads behind in open(2).
 *
 * Whoever has been waiting when a writer comes is let in, also if the writer has left again, and so
 * is at least one, if there is no thread that was left behind: the writer met somebody; a
 * byte is read at most once, and only one that was written; no descriptor is left of an opening that
 * was given up.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { READERS_MAX = 4, SESSIONS_MAX = 8, MESSAGES = 256 };

static struct reader {
    bool is_opening;
    gring_ns since;
    gring_task *task;
} * readers;

static struct {
    unsigned char next; /* message of one byte, never the same twice */
    bool written[MESSAGES], read[MESSAGES];
    bool ending;
    unsigned opened_count, reading_count; /* by readers; who read now */
    bool is_haunted; /* an opening was given up: a thread may be in its place */
} * letterbox;

static void excuse(void)
{
    if (errno != ECANCELED && errno != ETIMEDOUT)
        sim_excuse(errno);
}

static void take_messages(int fd)
{
    unsigned char bytes[8];
    ssize_t count;

    while ((count = gring_read(fd, bytes, sizeof bytes)) > 0)
        for (ssize_t index = 0; index < count; index++) {
            SIM_MUST(letterbox->written[bytes[index]] && !letterbox->read[bytes[index]]);
            letterbox->read[bytes[index]] = true;
        }
    if (count < 0)
        excuse();
}

static void read_and_close(int fd)
{
    letterbox->opened_count++;
    letterbox->reading_count++;
    take_messages(fd);
    gring_close(fd);
    letterbox->reading_count--;
}

static void *read_letters(void *arg)
{
    struct reader *reader = arg;
    gring_timeout timeout;
    int fd;

    while (!letterbox->ending && !gring_cancelled()) {
        gring_timeout_start(&timeout,
                            sim_chance(300) ? sim_duration(4 * GRING_SEC) : GRING_FOREVER);
        reader->is_opening = true;
        reader->since = gring_now();
        fd = gring_open("/letterbox", O_RDONLY | (sim_chance(200) ? O_CREAT : 0), 0600);
        reader->is_opening = false;
        letterbox->is_haunted |= fd < 0;
        if (fd < 0)
            excuse();
        else
            read_and_close(fd);
        gring_timeout_stop(&timeout);
        if (fd < 0)
            gring_sleep(GRING_MS); /* where there are no descriptors it fails at once */
    }
    return NULL;
}

/* True: it was let in. EPIPE: the reader was a thread that had been left behind, and has gone. */
static bool write_letters(gring_ns patience)
{
    unsigned count = (unsigned)sim_below(4);
    int fd = gring_within(patience, gring_open("/letterbox", O_WRONLY));

    if (fd < 0) {
        excuse();
        return false;
    }
    while (count-- > 0) {
        letterbox->written[letterbox->next] = true; /* it may be read before we know */
        if (gring_write(fd, &letterbox->next, 1) < 0) {
            letterbox->written[letterbox->next] = false;
            if (errno != EPIPE)
                excuse();
        }
        letterbox->next++;
    }
    gring_close(fd);
    return true;
}

/* They had been waiting for longer than anything takes before the writer came. */
static void expect_nobody_waits_since(gring_ns instant)
{
    gring_sleep(2 * GRING_SEC);
    for (unsigned index = 0; index < READERS_MAX; index++)
        SIM_MUST(!readers[index].is_opening || readers[index].since > instant);
}

static void hold_sessions(void)
{
    unsigned sessions = (unsigned)sim_size(SESSIONS_MAX);

    while (sessions-- > 0) {
        unsigned opened = letterbox->opened_count, reading = letterbox->reading_count;
        gring_ns begin = gring_now();

        if (write_letters(sim_chance(500) ? sim_duration(GRING_SEC) : 4 * GRING_SEC)) {
            expect_nobody_waits_since(begin - 2 * GRING_SEC);
            SIM_MUST(reading || letterbox->is_haunted || letterbox->opened_count > opened);
        }
        if (sim_chance(300))
            gring_sleep(sim_duration(4 * GRING_SEC));
    }
}

static void *write_some(void *unused)
{
    (void)unused;
    write_letters(4 * GRING_SEC);
    return NULL;
}

/* Another writer meanwhile, which is killed while it waits, or is done. */
static void strike(void)
{
    gring_task *writer = gring_spawn(write_some, NULL);

    if (!writer) {
        sim_excuse(errno);
        return;
    }
    gring_sleep(sim_duration(GRING_SEC));
    gring_kill(writer);
    gring_join(writer, NULL);
}

static void spawn_readers(unsigned count)
{
    for (unsigned index = 0; index < count; index++) {
        readers[index].task = gring_spawn(read_letters, &readers[index]);
        if (!readers[index].task)
            sim_excuse(errno);
    }
}

static void end_readers(void)
{
    letterbox->ending = true;
    for (unsigned index = 0; index < READERS_MAX; index++)
        if (readers[index].task) {
            gring_kill(readers[index].task);
            gring_join(readers[index].task, NULL);
        }
}

SIM_WORKLOAD(fifos, SIM_NO_MEMORY | SIM_NO_DESCRIPTORS)
{
    readers = sim_alloc(READERS_MAX * sizeof *readers);
    letterbox = sim_alloc(sizeof *letterbox);
    sim_fifo("/letterbox");
    spawn_readers((unsigned)sim_between(1, READERS_MAX));
    if (sim_chance(300))
        strike();
    hold_sessions();
    end_readers();
}
