/* greenring/base.h - types and conventions shared by every greenring header.
 *
 * Tags used in the comments
 *   [wait]  may park the calling task: a cancellation point. It fails with ECANCELED when the
 *           task was killed, with what
 *           was thrown at it, or with ETIMEDOUT when a deadline around it has passed
 *           (greenring/task.h, time.h).
 *   [park]  may park it too, but is no cancellation point: cleanup, which C code calls without
 *           looking at the result.
 *           Never fails for kill or deadline.
 *   [any]   callable from any OS thread, hub or not, while the runtime runs.
 *   (none)  never parks; to be called on the hub's thread.
 *
 * Return values, three shapes only
 *   status    0, or -1 with errno.               (IO calls: the POSIX result, or -1)
 *   outcome   0      the other side produced a value,
 *             err>0  the other side failed with that errno code,
 *             -1     my own waiting failed (errno: ECANCELED, ETIMEDOUT, EDEADLK, ...).
 *   next      1 one item, 0 the end, -1 my own waiting failed (errno).
 *   Functions that return a pointer return NULL with errno.
 * A call that succeeds leaves errno alone, whatever ran meanwhile: errno belongs to the task.
 *
 * Time is int64_t nanoseconds: durations, and CLOCK_MONOTONIC instants (gring_now).
 * Blocking calls take no timeout argument: deadlines are ambient (greenring/time.h).
 *
 * Ownership: structs with "_[n]" are storage the caller provides (stack, static, embedded); zero
 * bytes are a valid initial state; they must not be copied or moved while in use.
 */
#ifndef GRING_BASE_H
#define GRING_BASE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
#define GRING_BEGIN extern "C" {
#define GRING_END }
#else
#define GRING_BEGIN
#define GRING_END
#endif
#define GRING_API __attribute__((visibility("default")))
#define GRING_CLEANUP(fn) __attribute__((cleanup(fn)))
/* Names that differ at each use, so that the block macros nest without a warning. */
#define GRING_PASTE_(a, b) a##b
#define GRING_NAME_(prefix, number) GRING_PASTE_(prefix, number)

typedef int64_t gring_ns;
#define GRING_US ((gring_ns)1000)
#define GRING_MS ((gring_ns)1000000)
#define GRING_SEC ((gring_ns)1000000000)
#define GRING_FOREVER INT64_MAX

typedef void *(*gring_fn)(void *arg); /* body of a task */
typedef void (*gring_cb)(void *arg);  /* short callback: must not park */

/* For the init functions of sync objects and channels: the object may be used from all hubs and
 * from plain threads, at the price of a lock. Without it an object belongs to the hub whose tasks
 * wait at it or hold it, costs no atomic operation, and EPERM is what others get meanwhile. */
#define GRING_SHARED 1u

#define GRING_VERSION 0x000100 /* 0.1.0; gring_version() is the loaded library's */

typedef struct gring_task gring_task; /* a green thread */
typedef struct gring_hub gring_hub;   /* an OS thread's loop */
#endif
