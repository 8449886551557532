/*
 * Locks on whole files.
 *
 * The ring has no opcode, and a thread that waits in flock(2) could not be called back. So who must
 * wait asks again and again, with pauses on the wheel that grow: no thread is occupied, and a kill
 * or deadline ends the wait at once. The price: a lock is noticed to be free up to PAUSE_MAX late,
 * and there is no queue.
 */
#include "api/io/opened.h"
#include "api/result.h"

#include <greenring/io.h>
#include <greenring/task.h>
#include <greenring/time.h>
#include <sys/file.h>

#define PAUSE_MIN GRING_MS
#define PAUSE_MAX (64 * GRING_MS)

static int try_lock(int fd, int operation)
{
    int saved_errno = errno;
    int error = flock(fd, operation | LOCK_NB) < 0 ? -errno : 0;

    errno = saved_errno;
    return error;
}

static int lock_patiently(int fd, int operation)
{
    const struct descriptor *entry = inflight_at(&hub_self()->ops.inflight, fd);
    struct opened file = opened_now(fd);
    gring_ns pause = PAUSE_MIN;
    int error;

    if (!entry)
        return try_lock(fd, operation); /* no descriptor: it says so */
    if (entry->closing)
        return -EBADF;
    while ((error = try_lock(fd, operation)) == -EWOULDBLOCK) {
        if (gring_sleep(pause) < 0)
            return -errno;
        if (entry->closing || !opened_still(file))
            return -EBADF;
        pause = pause * 2 < PAUSE_MAX ? pause * 2 : PAUSE_MAX;
    }
    return error;
}

int gring_flock(int fd, int operation)
{
    if (!hub_self() || operation & LOCK_UN)
        return flock(fd, operation);
    if (gring_checkpoint() < 0)
        return -1;
    if (operation & LOCK_NB)
        return flock(fd, operation);
    return (int)api_result(lock_patiently(fd, operation));
}
