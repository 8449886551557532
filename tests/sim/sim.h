/*
 * The simulator: all production code above four link-time seams, on a kernel that is deterministic
 * and nasty. This page is the manual for who writes a workload; kernel.h is for who adds an
 * operation to the kernel.
 *
 *     workload            a program on <greenring/...>; a file workload_NAME.c of its own
 *     ─────────────────── production code, unchanged ───────────────────
 *     uring/ring.h        kernel_ring.c, kernel_request.c, kernel_ops.c: interpret the SQEs
 *     base/sys.h, clock.h kernel_calls.c: memory, guards, descriptors, time
 *     runtime/offload.h   kernel_threads.c: jobs run in simulated time
 *     libc                kernel_calls.c, kernel_memory.c: the calls that name a descriptor, and
 *                         malloc's family, caught by the linker (--wrap); those of one subject
 *                         with it: kernel_messages.c, kernel_readiness.c, kernel_copies.c,
 *                         kernel_names.c
 *
 * A run is a function of its seed: one thread, no real time, no address and no real descriptor has
 * a say. Each run draws a mood from the seed (how often calls come back short, late, interrupted,
 * out of order …) and a set of faults among those that the workload bears. Time moves when
 * nobody can run, a little at each call, and sometimes in a leap.
 *
 *     SIM_WORKLOAD(pipe_chain, SIM_NO_MEMORY)
 *     {
 *         int ends[2];
 *         if (pipe2(ends, O_CLOEXEC) < 0) { sim_excuse(errno); return; }
 *         …
 *         SIM_MUST(bytes_read == bytes_written);
 *     }
 *
 * The body is the main task of a runtime of its own. When it has returned, the run is over and the
 * simulator checks by itself that nothing is left: descriptors, requests in the kernel, memory
 * of the malloc family (the workload's own too). Calls that name descriptors (pipe2, socket,
 * socketpair, close, ioctl FIONREAD, …) are the simulated kernel's; numbers start at 1000.
 * What a workload allocates for itself comes from sim_alloc, which never fails and is taken back at
 * the end; malloc may fail, that is what it is for.
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <greenring/greenring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- the workload and its faults ------------------------------------------------------------- */

/* What a workload bears. A run has each of those with some probability; all else (short
 * transfers, delays, order, EAGAIN, EINTR, overflow, cancels that lose) is always to be borne. */
enum sim_fault {
    SIM_RESETS = 1u << 0,         /* connections are reset at any byte: ECONNRESET, EPIPE */
    SIM_NO_MEMORY = 1u << 1,      /* some allocations fail: ENOMEM; EAGAIN from thread starts */
    SIM_NO_DESCRIPTORS = 1u << 2, /* EMFILE, ENFILE */
    SIM_REFUSALS = 1u << 3,       /* ECONNREFUSED, ETIMEDOUT, ECONNABORTED; names not known */
    SIM_BAD_DISK = 1u << 4,       /* EIO, ENOSPC on files */
};

struct sim_workload {
    const char *name;
    unsigned bears; /* enum sim_fault, or-ed */
    bool is_short;  /* each allocation of it is made to fail, one after the other */
    void (*body)(void);
    struct sim_workload *next;
};

void sim_register(struct sim_workload *workload);

#define SIM_WORKLOAD(workload_name, workload_bears)                                                \
    SIM_WORKLOAD_(workload_name, workload_bears, false)
/* A few dozen allocations at most. */
#define SIM_SHORT_PROGRAM(workload_name) SIM_WORKLOAD_(workload_name, SIM_NO_MEMORY, true)

#define SIM_WORKLOAD_(workload_name, workload_bears, workload_is_short)                            \
    static void workload_name##_body(void);                                                        \
    static struct sim_workload workload_name##_workload = { .name = #workload_name,                \
                                                            .bears = (workload_bears),             \
                                                            .is_short = (workload_is_short),       \
                                                            .body = workload_name##_body };        \
    __attribute__((constructor)) static void workload_name##_register(void)                        \
    {                                                                                              \
        sim_register(&workload_name##_workload);                                                   \
    }                                                                                              \
    static void workload_name##_body(void)

/* Is the fault among this run's? */
bool sim_has(unsigned faults);

/* Does this run have any fault? Then a peer may have given up at any moment. */
bool sim_is_rough(void);

/* May a call fail with this errno in this run, for a reason of the kernel's? */
bool sim_explains(int error);
/* Fails the run if it may not. What the workload itself caused (kill, close, deadline) it
 * knows. */
#define sim_excuse(error) sim_excuse_at(error, __FILE__, __LINE__)
void sim_excuse_at(int error, const char *file, int line);

/* ---- verdicts -------------------------------------------------------------------------------- */

/* Ends the process: the sentence, the seed and the command that replays it. */
_Noreturn void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define SIM_MUST(fact)                                                                             \
    do {                                                                                           \
        if (!(fact))                                                                               \
            sim_fail("%s:%d: this must hold and does not: %s", __FILE__, __LINE__, #fact);         \
    } while (0)

/* A word and three numbers into the trace: part of its hash, printed with --trace. No addresses,
 * which differ from process to process. */
void sim_note(const char *what, int64_t a, int64_t b, int64_t c);

/* ---- chance, all from the seed --------------------------------------------------------------- */

uint64_t sim_random(void);
uint64_t sim_below(uint64_t limit); /* 0 … limit - 1; limit > 0 */
uint64_t sim_between(uint64_t low, uint64_t high);
uint64_t sim_size(uint64_t limit); /* 1 … limit, small ones much more often */
bool sim_chance(unsigned per_mille);
/* 0 … limit, short ones much more often than long ones. */
gring_ns sim_duration(gring_ns limit);

/* ---- resources ------------------------------------------------------------------------------- */

void *sim_alloc(size_t bytes); /* zeroed; until the end of the run */

/* The bytes of stream `stream` from place `place`; and how many agree with it. */
void sim_fill(void *buf, size_t size, uint64_t stream, uint64_t place);
size_t sim_matches(const void *buf, size_t size, uint64_t stream, uint64_t place);

/* What was asked for in this run so far, by whomever: malloc's family, stacks, threads. */
uint64_t sim_allocation_count(void);

gring_ns sim_now(void); /* does not make time move, as gring_now does */

/*
 * fn(arg) on a plain thread, after about `delay`: between two instructions of the library where it
 * looks away (a push, a reap, a look at the clock), or while the hub sleeps. It may block in calls
 * of the library (gring_wait, gring_close, gring_spawn_on …). Threads that have not begun when
 * the run ends never do.
 */
void sim_elsewhere(gring_ns delay, void (*fn)(void *arg), void *arg);

/* Resets the connection of this socket now, as its network would. */
void sim_reset(int fd);

/* Makes a FIFO. */
void sim_fifo(const char *path);

/* What poll(2) finds now, of POLLIN, POLLOUT, their NORM twins, POLLRDHUP, and unasked ones. */
short sim_events(int fd);

/* Descriptors of the simulated kernel that are open now. */
unsigned sim_descriptor_count(void);

#endif
