/*
 * Opening files, and the one kind of file whose opening waits.
 *
 * The ring's first attempt carries O_NONBLOCK inside, so a FIFO opens at once or fails with
 * ENXIO where open(2) would wait for the other end; and a worker of the kernel that waits there
 * keeps other files from being opened. So a FIFO that is to be waited for is opened by a thread
 * of ours.
 */
#include "api/io/await.h"
#include "api/io/readiness.h"
#include "api/result.h"
#include "runtime/hub.h"
#include "runtime/offload.h"

#include <fcntl.h>
#include <greenring/io.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- waiting for a FIFO's other end ---------------------------------------------------------- */

/* Owns all its memory: who waits may leave, and a thread may be in open(2) for as long as it
 * likes. */
struct fifo_open {
    struct offload_job job;
    struct source *waiter;
    int dir; /* a duplicate, or AT_FDCWD */
    int flags, result;
    /* the ring's attempt, or -1: while it is open a writer that it let in has its reader */
    int held_fd;
    int writer_fd;
    char path[];
};

struct fifo_source {
    struct source source;
    struct fifo_open *fifo;
    bool abandoned;
};

static void free_fifo(struct fifo_open *fifo)
{
    if (fifo->dir >= 0)
        close(fifo->dir);
    if (fifo->held_fd >= 0)
        close(fifo->held_fd);
    if (fifo->writer_fd >= 0)
        close(fifo->writer_fd);
    free(fifo);
}

static void run_open(struct offload_job *job)
{
    struct fifo_open *fifo = CONTAINER_OF(job, struct fifo_open, job);
    int fd = openat(fifo->dir, fifo->path, fifo->flags);

    fifo->result = fd < 0 ? -errno : fd;
}

static void open_done(struct offload_job *job)
{
    source_done(CONTAINER_OF(job, struct fifo_open, job)->waiter);
}

/* Never begun, or nobody wants the descriptor any more. */
static void discard_open(struct offload_job *job)
{
    struct fifo_open *fifo = CONTAINER_OF(job, struct fifo_open, job);

    if (fifo->result >= 0)
        close(fifo->result);
    free_fifo(fifo);
}

/* A writer of our own for a moment: it lets the thread's open(2) return, which else would stay
 * behind as a reader. */
static int open_writer(int reader_fd)
{
    char path[32];

    snprintf(path, sizeof path, "/proc/self/fd/%d", reader_fd);
    return open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
}

/*
 * If the held descriptor has won, the thread is made to come back. If the wait was interrupted
 * it is left where it is, waiting for the other end, which it will close again.
 */
static void leave_open(struct source *source)
{
    struct fifo_source *waiting = CONTAINER_OF(source, struct fifo_source, source);
    struct fifo_open *fifo = waiting->fifo;

    if (source->wait->winner) {
        fifo->writer_fd = open_writer(fifo->held_fd);
        if (fifo->writer_fd >= 0)
            return; /* open_done lets go */
    }
    fifo->held_fd = -1; /* open_fifo's: the result, or closed there */
    waiting->abandoned = true;
    offload_abandon(&fifo->job);
    source_done(source);
}

static struct fifo_open *fifo_new(int dir, const char *path, int flags, int held_fd)
{
    struct fifo_open *fifo = calloc(1, sizeof *fifo + strlen(path) + 1);

    if (!fifo)
        return NULL;
    fifo->job.run = run_open;
    fifo->job.on_done = open_done;
    fifo->job.discard = discard_open;
    fifo->dir = dir >= 0 ? fcntl(dir, F_DUPFD_CLOEXEC, 0) : dir;
    fifo->flags = flags & ~O_CREAT; /* it exists: we have seen it */
    fifo->result = -ECANCELED;
    fifo->held_fd = held_fd;
    fifo->writer_fd = -1;
    strcpy(fifo->path, path);
    return fifo;
}

static void discard_all_but_held(struct fifo_open *fifo)
{
    fifo->held_fd = -1;
    if (fifo->result >= 0)
        close(fifo->result);
    free_fifo(fifo);
}

/*
 * held_fd: taken over, whatever happens. It is the wait's second source: a writer that came, wrote
 * and left before the thread was in open(2) is seen by it and by nobody else.
 */
static int open_fifo(int dir, const char *path, int flags, int held_fd)
{
    struct fifo_open *fifo = fifo_new(dir, path, flags, held_fd);
    struct fifo_source waiting = { .fifo = fifo };
    struct readiness held;
    struct wait wait;
    int result = fifo ? wait_begin(&wait, "the opening of a FIFO", -1) : -ENOMEM;

    if (result == 0) {
        fifo->waiter = &waiting.source;
        result = offload_start(hub_self(), &fifo->job, OFFLOAD_FILES);
    }
    if (result < 0) {
        if (fifo)
            free_fifo(fifo);
        else if (held_fd >= 0)
            close(held_fd);
        return result;
    }
    wait_hold(&wait, &waiting.source, leave_open);
    if (held_fd >= 0)
        readiness_enlist(&wait, &held, held_fd, POLLIN);
    wait_park(&wait);
    if (wait.interruption) {
        if (held_fd >= 0)
            close(held_fd);
        return wait_outcome(&wait); /* the rest is the threads' now */
    }
    if (held_fd >= 0 && wait.winner == &held.waiting.source) {
        if (!waiting.abandoned)
            discard_all_but_held(fifo);
        return held_fd;
    }
    result = fifo->result;
    free_fifo(fifo);
    return result;
}

static bool is_fifo(int fd)
{
    struct stat status;

    return fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode);
}

/* ---- the calls ------------------------------------------------------------------------------- */

static int open_by_ring(int dir, const char *path, int flags, mode_t mode)
{
    struct op op;

    prep_openat(&op, dir, path, flags | O_LARGEFILE, mode);
    return await(&op, "open");
}

/*
 * With O_CREAT and O_TRUNC the kernel opens on a worker, and a FIFO would hold one of the few:
 * so it is asked not to wait, which changes nothing for other files, and the flag is taken off
 * again.
 */
static int open_without_waiting(int dir, const char *path, int flags, mode_t mode)
{
    int result = open_by_ring(dir, path, flags | O_NONBLOCK, mode);

    if (result >= 0)
        fcntl(result, F_SETFL, flags);
    return result;
}

static bool may_wait(int flags)
{
    return !(flags & (O_NONBLOCK | O_PATH)) && (flags & O_ACCMODE) != O_RDWR;
}

/* Did the ring's attempt come back where open(2) would still wait? ENXIO: a FIFO that nobody
 * reads, or a device; EAGAIN: somebody has a lease on the file. */
static bool should_wait(int result, int flags)
{
    if (!may_wait(flags))
        return false;
    return result == -ENXIO || result == -EAGAIN ||
           (result >= 0 && (flags & O_ACCMODE) == O_RDONLY && is_fifo(result));
}

static int open_at(int dir, const char *path, int flags, mode_t mode)
{
    int result;

    if (!hub_self())
        return openat(dir, path, flags, mode);
    if (may_wait(flags) && flags & (O_CREAT | O_TRUNC))
        result = open_without_waiting(dir, path, flags, mode);
    else
        result = open_by_ring(dir, path, flags, mode);
    if (should_wait(result, flags))
        result = open_fifo(dir, path, flags, result);
    return (int)api_result(result);
}

static bool takes_mode(int flags)
{
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE;
}

int gring_openat(int dir, const char *path, int flags, ...)
{
    mode_t mode = 0;

    if (takes_mode(flags)) {
        va_list args;

        va_start(args, flags);
        mode = va_arg(args, mode_t);
        va_end(args);
    }
    return open_at(dir, path, flags, mode);
}

int gring_open(const char *path, int flags, ...)
{
    mode_t mode = 0;

    if (takes_mode(flags)) {
        va_list args;

        va_start(args, flags);
        mode = va_arg(args, mode_t);
        va_end(args);
    }
    return open_at(AT_FDCWD, path, flags, mode);
}
