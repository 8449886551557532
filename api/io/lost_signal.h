/*
 * write(2) to a pipe without a reader raises SIGPIPE. Where a worker thread of the kernel did the
 * write (probe_pipe_nowait), the signal stayed with it, and we raise it.
 */
#ifndef GRING_API_IO_LOST_SIGNAL_H
#define GRING_API_IO_LOST_SIGNAL_H

/* After each write that may raise it. error: its result. */
void lost_signal_raise(int fd, int error);

#endif
