/*
 * Files: writers at the position, appenders and writers at offsets, on a disk that writes short,
 * is slow or fails, interrupted by deadlines and kills. A file holds what was reported as written,
 * where it was written; its position is behind it; no descriptor of an interrupted open is lost;
 * and when the last one is closed the kernel has let go of what was written.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

enum { TASKS_MAX = 8, STEPS_MAX = 40, PIECE_MAX = 3000 };

/* Each task has a file of its own. What an interrupted or failed write left behind what is known
 * is overwritten by the next one. */
struct author {
    char path[32];
    int fd;
    uint64_t stream, size;
    bool appends;
    bool was_read; /* through this descriptor: then it may be held for a moment longer */
};

static bool was_interrupted(void)
{
    return errno == ECANCELED || errno == ETIMEDOUT;
}

static void excuse(void)
{
    if (!was_interrupted())
        sim_excuse(errno);
}

static void open_file(struct author *author)
{
    int flags = O_RDWR | O_CREAT | (author->appends ? O_APPEND : 0);

    author->fd = gring_open(author->path, flags, 0600);
    if (author->fd < 0)
        excuse();
}

static void expect_position(const struct author *author)
{
    SIM_MUST(author->appends || lseek(author->fd, 0, SEEK_CUR) == (off_t)author->size);
}

/* At the position: one transfer, or all of it. */
static void write_on(struct author *author)
{
    unsigned char piece[PIECE_MAX];
    size_t size = sim_size(sizeof piece), done = 0;
    ssize_t count;

    sim_fill(piece, size, author->stream, author->size);
    if (sim_chance(500)) {
        count = gring_write(author->fd, piece, size);
        done = count > 0 ? (size_t)count : 0;
    } else {
        count = gring_write_full(author->fd, piece, size, &done);
    }
    author->size += done;
    if (count < 0)
        excuse();
    expect_position(author);
}

static void write_at(struct author *author)
{
    unsigned char piece[PIECE_MAX];
    size_t size = sim_size(sizeof piece);
    ssize_t count;

    if (author->appends)
        return; /* pwrite(2) appends there, wherever it is told to write */
    sim_fill(piece, size, author->stream, author->size);
    count = gring_pwrite(author->fd, piece, size, (off_t)author->size);
    if (count < 0)
        excuse();
    else
        author->size += (uint64_t)count;
    lseek(author->fd, (off_t)author->size, SEEK_SET);
}

static void read_back(struct author *author)
{
    unsigned char piece[PIECE_MAX];
    uint64_t place = sim_below(author->size + 1);
    ssize_t count = gring_pread(author->fd, piece, sim_size(sizeof piece), (off_t)place);

    author->was_read = true;
    if (count < 0) {
        excuse();
        return;
    }
    if (place + (uint64_t)count > author->size)
        count = (ssize_t)(author->size - place);
    SIM_MUST(sim_matches(piece, (size_t)count, author->stream, place) == (size_t)count);
    SIM_MUST(count > 0 || place == author->size);
}

static bool lock(const struct author *author)
{
    return author->fd >= 0 && gring_flock(author->fd, LOCK_EX | LOCK_NB) == 0;
}

/* The lock goes with the file. */
static void reopen(struct author *author)
{
    bool must_be_free = lock(author) && !author->was_read;

    gring_close(author->fd);
    open_file(author);
    if (must_be_free && author->fd >= 0)
        SIM_MUST(lock(author) || errno != EWOULDBLOCK);
    author->was_read = false;
    if (author->fd >= 0)
        lseek(author->fd, (off_t)author->size, SEEK_SET);
}

static void take_a_step(struct author *author)
{
    gring_timeout timeout;

    gring_timeout_start(&timeout, sim_chance(300) ? sim_duration(10 * GRING_MS) : GRING_FOREVER);
    if (author->fd < 0) {
        open_file(author);
        if (author->fd >= 0)
            lseek(author->fd, (off_t)author->size, SEEK_SET);
    } else {
        switch (sim_below(6)) {
        case 0:
            write_at(author);
            break;
        case 1:
            read_back(author);
            break;
        case 2:
            reopen(author);
            break;
        case 3:
            if (gring_fsync(author->fd) < 0)
                excuse();
            break;
        default:
            write_on(author);
        }
    }
    gring_timeout_stop(&timeout);
}

static void *write_a_file(void *arg)
{
    struct author author = { .stream = (uint64_t)(intptr_t)arg,
                             .fd = -1,
                             .appends = sim_chance(300) };
    unsigned steps = (unsigned)sim_size(STEPS_MAX);

    snprintf(author.path, sizeof author.path, "/file%d", (int)author.stream);
    while (steps-- > 0 && !gring_cancelled())
        take_a_step(&author);
    if (author.fd >= 0)
        gring_close(author.fd);
    return NULL;
}

SIM_WORKLOAD(files, SIM_NO_MEMORY | SIM_NO_DESCRIPTORS | SIM_BAD_DISK)
{
    gring_task *tasks[TASKS_MAX] = { NULL };
    unsigned count = (unsigned)sim_between(1, TASKS_MAX);

    for (unsigned index = 0; index < count; index++)
        if (!(tasks[index] = gring_spawn(write_a_file, (void *)(intptr_t)(index + 1))))
            sim_excuse(errno);
    if (sim_chance(300)) {
        gring_sleep(sim_duration(GRING_SEC));
        if (tasks[0])
            gring_kill(tasks[0]);
    }
    for (unsigned index = 0; index < count; index++)
        if (tasks[index])
            gring_join(tasks[index], NULL);
}
