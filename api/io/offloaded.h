/*
 * A system call that the ring has no opcode for, made by a thread of ours while the task waits.
 *
 * Interrupted before a thread began it, it is taken back and nothing was done. Once begun it is
 * awaited, and its result is the result: what it did must not be lost. So its memory may lie on the
 * parked task's stack, and its buffers are the caller's, as with an op. Only for calls that end
 * without anybody's help: on files, not on pipes and sockets.
 */
#ifndef GRING_API_IO_OFFLOADED_H
#define GRING_API_IO_OFFLOADED_H

#include "runtime/offload.h"
#include "runtime/wait.h"
#include "uring/op.h"

struct offloaded {
    int64_t (*call)(
        struct offloaded *call); /* on the thread: the system call's result, -1 and errno */
    int fds[2];                  /* the descriptors that it uses; -1: none */

    /* offloaded_await's */
    struct offload_job job;
    struct source source;
    struct op holds[2]; /* never submitted: so that gring_close awaits us too */
    int64_t result;
};

/* Sets call and fds before. What the call gave, or -errno: EBADF a descriptor is being closed;
 * EAGAIN not even one thread could be made; and the interruption. what: for the census. */
int64_t offloaded_await(struct offloaded *call, const char *what);

#endif
