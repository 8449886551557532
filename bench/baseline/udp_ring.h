/*
 * Baseline: a UDP echo server on a raw ring with single-shot recvmsg and sendmsg.
 *
 * As many slots as the green server has tasks, each always in exactly one operation: a receive,
 * then the send of what came, then the next receive. One enter a turn.
 */
#ifndef BENCH_BASELINE_UDP_RING_H
#define BENCH_BASELINE_UDP_RING_H

#include "ring.h"

enum { UDP_SLOTS = 32, UDP_BYTES = 64 };

struct udp_slot {
    struct msghdr message;
    struct iovec part;
    struct sockaddr_in peer;
    bool is_sending;
    char buf[UDP_BYTES];
};

static inline void udp_receive(struct server_ring *ring, int fd, struct udp_slot *slot)
{
    struct io_uring_sqe *sqe = ring_sqe(ring);

    slot->part = (struct iovec){ slot->buf, sizeof slot->buf };
    slot->message = (struct msghdr){ .msg_name = &slot->peer,
                                     .msg_namelen = sizeof slot->peer,
                                     .msg_iov = &slot->part,
                                     .msg_iovlen = 1 };
    slot->is_sending = false;
    io_uring_prep_recvmsg(sqe, fd, &slot->message, 0);
    sqe->user_data = (uintptr_t)slot;
}

static inline void udp_send(struct server_ring *ring, int fd, struct udp_slot *slot, int size)
{
    struct io_uring_sqe *sqe = ring_sqe(ring);

    slot->part.iov_len = (size_t)size;
    slot->is_sending = true;
    io_uring_prep_sendmsg(sqe, fd, &slot->message, MSG_NOSIGNAL);
    sqe->user_data = (uintptr_t)slot;
}

/* 1 for a request that has been answered. */
static inline unsigned udp_complete(struct server_ring *ring, int fd,
                                    const struct io_uring_cqe *cqe)
{
    struct udp_slot *slot = (struct udp_slot *)(uintptr_t)cqe->user_data;
    bool was_sending = slot->is_sending;

    if (cqe->res < 0)
        die("UDP", -cqe->res);
    if (was_sending)
        udp_receive(ring, fd, slot);
    else
        udp_send(ring, fd, slot, cqe->res);
    return was_sending;
}

/* Answers so many requests. */
static inline void udp_serve_by_ring(int fd, unsigned count)
{
    static struct udp_slot slots[UDP_SLOTS];
    struct server_ring ring = { 0 };
    struct io_uring_cqe *cqe;
    unsigned done = 0, head, seen;

    ring_open(&ring);
    for (int index = 0; index < UDP_SLOTS; index++)
        udp_receive(&ring, fd, &slots[index]);
    while (done < count) {
        ring_submit_and_wait(&ring);
        seen = 0;
        io_uring_for_each_cqe(&ring.uring, head, cqe)
        {
            done += udp_complete(&ring, fd, cqe);
            seen++;
        }
        io_uring_cq_advance(&ring.uring, seen);
    }
    io_uring_queue_exit(&ring.uring);
}

#endif
