/* greenring/chan.h - channels (queues), and waiting for one of many.
 *
 * Elements are copied, elem_size bytes each; 0 is fine, a pure signal: elem may then be NULL.
 * Several senders and receivers; first come, first served. An element goes straight from a
 * sender to a receiver that waits; no one overtakes those who came before.
 *
 * Hub-local unless made with GRING_SHARED: greenring/sync.h says what that means. */
#ifndef GRING_CHAN_H
#define GRING_CHAN_H
#include <greenring/base.h>
#include <greenring/sync.h>
#include <greenring/task.h>
GRING_BEGIN
typedef struct gring_chan gring_chan;
#define GRING_UNBOUNDED SIZE_MAX
#define GRING_CHAN_LIFO 0x2u /* the youngest element first */

/* capacity: elements that may lie in it, allocated here, so that no send fails for want of
 * memory; GRING_UNBOUNDED grows by itself. 0: rendezvous, a send returns when a receiver has the
 * element. flags: GRING_SHARED, GRING_CHAN_LIFO. NULL: EINVAL unknown flags, ENOMEM. [any] */
GRING_API gring_chan *gring_chan_new(size_t elem_size, size_t capacity, unsigned flags);
/* Least first by cmp, as for qsort(3); first in, first out among equals. cmp must not park, nor
 * use the channel. flags: GRING_SHARED. NULL: EINVAL also without cmp. [any] */
GRING_API gring_chan *gring_chan_new_prio(size_t elem_size, size_t capacity,
                                          int (*cmp)(const void *, const void *), unsigned flags);
/* Elements in it are dropped. Nobody may be waiting: a CHECK failure. NULL is fine. [any] */
GRING_API void gring_chan_free(gring_chan *c);

/* *elem is copied, at the latest when it returns 0. status: EPIPE closed, also while it waited;
 * ENOMEM unbounded ones. If it returns -1 the element was not delivered. [wait] */
GRING_API int gring_chan_send(gring_chan *c, const void *elem);
/* next: 1 *elem is filled; 0 closed and empty; -1. [wait] */
GRING_API int gring_chan_recv(gring_chan *c, void *elem);
/* The same without waiting: EAGAIN. Rendezvous: succeeds if somebody waits at the other end.
 * [any, if GRING_SHARED] */
GRING_API int gring_chan_trysend(gring_chan *c, const void *elem);
GRING_API int gring_chan_tryrecv(gring_chan *c, void *elem);

/* No more sends: those that wait fail with EPIPE, receivers drain what is there. Twice is fine.
 * status: EPERM. [any, if GRING_SHARED] */
GRING_API int gring_chan_close(gring_chan *c);
/* Growing lets waiting senders in; shrinking drops nothing. status: ENOMEM, nothing changed;
 * EPERM. [any, if GRING_SHARED] */
GRING_API int gring_chan_resize(gring_chan *c, size_t capacity);
GRING_API size_t gring_chan_len(const gring_chan *c); /* elements in it [any, if GRING_SHARED] */
/* Tasks and threads that wait: receivers count up, senders count down. */
GRING_API int gring_chan_waiting(const gring_chan *c);

/* ---- one of many -----------------------------------------------------------
 * Waits until one case can proceed, performs exactly that one and returns its index. Of several
 * that can, the first in the array is taken. Nothing happens to the others: no element is taken
 * or left, nobody is counted as waiting.
 *
 *     gring_case cases[] = { GRING_CASE_RECV(jobs, &job), GRING_CASE_EVENT(&stop, NULL) };
 *     switch (gring_choose(cases, 2)) { case 0: if (cases[0].rc == 1) ... }
 *
 * rc is what the plain call would have returned, err the errno that goes with -1. A closed
 * channel can proceed (rc 0, or -1 with EPIPE), so can a failed event or task (rc > 0).
 * The same object may be in several cases; the same task may be at both ends of a channel, but
 * is not served by itself.
 *
 * -1, and no case was performed: ECANCELED, ETIMEDOUT, or what was thrown; EINVAL n < 0, an
 * unknown op, no object; EPERM an object of another hub, or, on a plain thread, any that is not
 * a shared channel or event; EDEADLK a task that waits for itself; EBADF a descriptor that is
 * being closed; ENOMEM for more than 8 cases. n == 0 waits to be interrupted. [wait] */
typedef enum {
    GRING_ON_RECV,
    GRING_ON_SEND,
    GRING_ON_EVENT,
    GRING_ON_TASK,
    GRING_ON_FD,
    GRING_ON_NONE /* never proceeds: a case that is switched off */
} gring_on;
typedef struct gring_case {
    gring_on op;
    union {
        gring_chan *chan;
        gring_event *event;
        gring_task *task;
        int fd;
    } u;
    void *ptr;     /* RECV, SEND: the element; EVENT, TASK: void ** for the value, or NULL */
    short events;  /* FD: poll(2) mask */
    short revents; /* FD: the result; POLLNVAL, POLLERR and POLLHUP unasked */
    int rc, err;
} gring_case;
GRING_API int gring_choose(gring_case *cases, int n);
/* The same without waiting, and no cancellation point: EAGAIN none can proceed. With FD cases it
 * costs one poll(2). [any, for shared objects] */
GRING_API int gring_trychoose(gring_case *cases, int n);
#define GRING_CASE_RECV(c, p) { .op = GRING_ON_RECV, .u.chan = (c), .ptr = (p) }
#define GRING_CASE_SEND(c, p) { .op = GRING_ON_SEND, .u.chan = (c), .ptr = (void *)(p) }
#define GRING_CASE_EVENT(e, p) { .op = GRING_ON_EVENT, .u.event = (e), .ptr = (p) }
#define GRING_CASE_TASK(t, p) { .op = GRING_ON_TASK, .u.task = (t), .ptr = (p) }
#define GRING_CASE_FD(f, m) { .op = GRING_ON_FD, .u.fd = (f), .events = (m) }
GRING_END
#endif
