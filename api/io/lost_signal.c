/* SIGPIPE of writes that a worker did; see lost_signal.h. */
#include "api/io/lost_signal.h"

#include "uring/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

void lost_signal_raise(int fd, int error)
{
    struct stat status;

    if (error != -EPIPE || probe_pipe_nowait() || fcntl(fd, F_GETFL) & O_NONBLOCK)
        return;
    if (fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode))
        raise(SIGPIPE);
}
