/*
 * Opening files, and the one kind of file whose opening waits.
 *
 * The ring's first attempt carries O_NONBLOCK inside, so a FIFO opens at once or fails with ENXIO where open(2) would wait
 * for the other end; and a worker of the kernel that waits there keeps other files from being opened. So a FIFO that is to
 * be waited for is opened by a thread of ours.
 */
#include "api/io/await.h"
#include "api/result.h"
#include "runtime/hub.h"
#include "runtime/offload.h"
#include "runtime/wait.h"

#include <fcntl.h>
#include <greenring/io.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- waiting for a FIFO's other end -------------------------------------------------------------------------- */

/* Owns all its memory: who waits may leave, and a thread may be in open(2) for as long as it likes. */
struct fifo_open {
    struct offload_job job;
    struct source *waiter;
    int dir; /* a duplicate, or AT_FDCWD */
    int flags, result;
    char path[];
};

struct fifo_source {
    struct source source;
    struct fifo_open *fifo;
};

static void free_fifo(struct fifo_open *fifo)
{
    if (fifo->dir >= 0)
        close(fifo->dir);
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

static void leave_open(struct source *source)
{
    offload_abandon(&CONTAINER_OF(source, struct fifo_source, source)->fifo->job);
    source_done(source);
}

static struct fifo_open *fifo_new(int dir, const char *path, int flags)
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
    strcpy(fifo->path, path);
    return fifo;
}

static int open_fifo(int dir, const char *path, int flags)
{
    struct fifo_open *fifo = fifo_new(dir, path, flags);
    struct fifo_source waiting = { .fifo = fifo };
    struct wait wait;
    int result = fifo ? wait_begin(&wait, "the opening of a FIFO", -1) : -ENOMEM;

    if (result == 0) {
        fifo->waiter = &waiting.source;
        result = offload_start(hub_self(), &fifo->job, OFFLOAD_FILES);
    }
    if (result < 0) {
        if (fifo)
            free_fifo(fifo);
        return result;
    }
    wait_hold(&wait, &waiting.source, leave_open);
    wait_park(&wait);
    if (wait.interruption)
        return wait_outcome(&wait); /* it is the threads' now */
    result = fifo->result;
    free_fifo(fifo);
    return result;
}

static bool is_fifo(int fd)
{
    struct stat status;

    return fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode);
}

/* ---- the calls ----------------------------------------------------------------------------------------------- */

static int open_by_ring(int dir, const char *path, int flags, mode_t mode)
{
    struct op op;

    prep_openat(&op, dir, path, flags | O_LARGEFILE, mode);
    return await(&op, "open");
}

/* Did the ring's attempt come back where open(2) would still wait? ENXIO: a FIFO that nobody reads, or a device. */
static bool should_wait(int result, int flags)
{
    if (flags & (O_NONBLOCK | O_PATH) || (flags & O_ACCMODE) == O_RDWR)
        return false;
    return result == -ENXIO || (result >= 0 && (flags & O_ACCMODE) == O_RDONLY && is_fifo(result));
}

static int open_at(int dir, const char *path, int flags, mode_t mode)
{
    int result;

    if (!hub_self())
        return openat(dir, path, flags, mode);
    result = open_by_ring(dir, path, flags, mode);
    if (should_wait(result, flags)) {
        if (result >= 0)
            close(result);
        result = open_fifo(dir, path, flags);
    }
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
