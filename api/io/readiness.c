/* A descriptor as a source; see readiness.h. */
#include "api/io/readiness.h"

#include "base/check.h"
#include "uring/prep.h"

#include <limits.h>
#include <sys/resource.h>

/* ---- one descriptor among several sources ---------------------------------------------------- */

void readiness_enlist(struct wait *wait, struct readiness *ready, int fd, short events)
{
    prep_poll(&ready->op, fd, (unsigned short)events);
    if (LIKELY(op_source_enlist(wait, &ready->waiting, &ready->op) == 0))
        return;
    /* One kind of end for all: this, too, is an op that completes. */
    prep_nop(&ready->op);
    CHECK(op_source_enlist(wait, &ready->waiting, &ready->op) == 0);
}

int readiness_answer(const struct readiness *ready)
{
    CHECK(ready->op.state == OP_DONE);
    if (!ready->op.on_descriptor)
        return -EBADF;
    return op_was_cancelled(&ready->op) ? 0 : ready->op.result;
}

/* ---- all of them, now ------------------------------------------------------------------------ */

/* What poll(2) takes in one call. */
static nfds_t piece_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > INT_MAX)
        return INT_MAX;
    return limit.rlim_cur ? (nfds_t)limit.rlim_cur : 1;
}

static int poll_in_pieces(struct pollfd *fds, nfds_t count)
{
    nfds_t limit = piece_limit(), size;
    int total = 0, result;

    for (nfds_t first = 0; first < count; first += size) {
        size = count - first < limit ? count - first : limit;
        result = poll(fds + first, size, 0);
        if (result < 0)
            return -errno;
        total += result;
    }
    return total;
}

int readiness_now(struct pollfd *fds, nfds_t count)
{
    int saved_errno = errno;
    int result = poll(fds, count, 0);

    if (result < 0)
        result = errno == EINVAL ? poll_in_pieces(fds, count) : -errno;
    errno = saved_errno;
    return result;
}
