/*
 * Descriptors passed over sockets: each is the writing end of a pipe whose reading end stays here,
 * so that what became of it can be read. Receivers are killed, run out of time and have their
 * socket closed under them.
 *
 * A descriptor that was reported as sent arrives once, in the order of sending, with the bytes of
 * its message; one that was not does not; and none is left open by anybody, also not by a socket
 * that is closed with descriptors in it: every pipe comes to its end.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PARCELS_MAX = 24, PIECE_MAX = 300 };

struct parcel {
    int reader;
    bool is_sent, is_surplus; /* the second of a message, which gring_recv_fd closes */
};

static struct courier {
    int out_fd, in_fd;
    bool is_datagram, is_over, is_closed_early;
    uint64_t written, read;
    struct parcel parcels[PARCELS_MAX];
    unsigned count, received;
    gring_task *sender, *receiver;
} * courier;

static bool was_interrupted(void)
{
    return errno == ECANCELED || errno == ETIMEDOUT;
}

/* ---- sending --------------------------------------------------------------------------------- */

/* A pipe; its writing end, or -1. */
static int parcel_new(struct parcel *parcel)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0) {
        sim_excuse(errno);
        return -1;
    }
    *parcel = (struct parcel){ .reader = ends[0] };
    courier->count++;
    return ends[1];
}

/* Two in one message, by hand. */
static ssize_t send_two(const int fds[2], const void *buf, size_t size)
{
    struct iovec part = { .iov_base = (void *)(uintptr_t)buf, .iov_len = size };
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = { 0 };
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
    };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    *header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(2 * sizeof(int)),
                                .cmsg_level = SOL_SOCKET,
                                .cmsg_type = SCM_RIGHTS };
    memcpy(CMSG_DATA(header), fds, 2 * sizeof(int));
    return gring_sendmsg(courier->out_fd, &message, 0);
}

static bool says_nobody_is_there(int error)
{
    return error == EPIPE || error == ECONNRESET || error == ECONNREFUSED || error == ENOTCONN;
}

static void note_sent(struct parcel *parcel, ssize_t count)
{
    parcel->is_sent = count > 0;
    if (count > 0)
        courier->written += (uint64_t)count;
    else if (!was_interrupted() && !(courier->is_closed_early && says_nobody_is_there(errno)))
        sim_excuse(errno);
}

static void send_parcel(void)
{
    struct parcel *parcel = &courier->parcels[courier->count];
    unsigned char piece[PIECE_MAX];
    size_t size = sim_size(sizeof piece);
    int fds[2] = { parcel_new(parcel), -1 };

    if (fds[0] < 0)
        return;
    if (courier->count < PARCELS_MAX && sim_chance(200))
        fds[1] = parcel_new(parcel + 1);
    sim_fill(piece, size, 1, courier->written);
    if (fds[1] >= 0) {
        parcel[1].is_surplus = true;
        note_sent(parcel, send_two(fds, piece, size));
        gring_close(fds[1]);
    } else {
        note_sent(parcel, gring_send_fd(courier->out_fd, fds[0], piece, size));
    }
    gring_close(fds[0]);
}

static void *send_parcels(void *unused)
{
    unsigned steps = (unsigned)sim_size(PARCELS_MAX);
    gring_timeout timeout;

    (void)unused;
    while (steps-- > 0 && courier->count < PARCELS_MAX && !gring_cancelled()) {
        gring_timeout_start(&timeout, sim_chance(300) ? sim_duration(GRING_SEC) : GRING_FOREVER);
        send_parcel();
        gring_timeout_stop(&timeout);
    }
    return NULL;
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* Its number goes through it; whoever is killed meanwhile finishes that. */
static void use(int fd)
{
    unsigned char number = (unsigned char)courier->received++;

    GRING_SHIELD
    SIM_MUST(gring_write(fd, &number, 1) == 1);
    gring_close(fd);
}

static void receive_step(void)
{
    unsigned char piece[PIECE_MAX];
    size_t size = courier->is_datagram ? sizeof piece : sim_size(sizeof piece);
    int fd;
    ssize_t count = gring_recv_fd(courier->in_fd, &fd, piece, size);

    SIM_MUST(count > 0 || fd < 0);
    if (count <= 0) {
        if (count < 0 && !was_interrupted() && errno != EBADF)
            sim_excuse(errno);
        courier->is_over = count == 0 || !was_interrupted();
        return;
    }
    SIM_MUST(sim_matches(piece, (size_t)count, 1, courier->read) == (size_t)count);
    courier->read += (uint64_t)count;
    if (fd >= 0)
        use(fd);
}

static void *receive_parcels(void *unused)
{
    gring_timeout timeout;

    (void)unused;
    while (!courier->is_over && !gring_cancelled()) {
        gring_timeout_start(&timeout, sim_chance(400) ? sim_duration(GRING_SEC) : GRING_FOREVER);
        receive_step();
        gring_timeout_stop(&timeout);
    }
    return NULL;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static gring_task *spawn(void *(*fn)(void *arg))
{
    gring_task *task = gring_spawn(fn, NULL);

    if (!task)
        sim_excuse(errno);
    return task;
}

static void end_task(gring_task *task, bool kills)
{
    if (task && kills)
        gring_kill(task);
    if (task)
        gring_join(task, NULL);
}

/* One receiver after the other. Without any the sender would wait for ever. */
static void replace_receivers(void)
{
    unsigned count = (unsigned)sim_below(6);

    while (count-- > 0) {
        gring_sleep(sim_duration(100 * GRING_MS));
        end_task(courier->receiver, true);
        courier->receiver = spawn(receive_parcels);
    }
}

static void close_early(void)
{
    int fd = courier->in_fd;

    courier->is_closed_early = true;
    courier->in_fd = -1; /* the number may soon be another one's */
    gring_close(fd);
    end_task(courier->receiver, false);
    end_task(courier->sender, true);
}

static void finish(void)
{
    end_task(courier->sender, !courier->receiver || sim_chance(300));
    end_task(courier->receiver, true);
    while (!courier->is_over && courier->read < courier->written)
        receive_step();
    gring_close(courier->in_fd);
}

/* All that was ever written into its pipe: the number of its arrival, or nothing. The end comes
 * when nobody has a writing end any more. */
static int arrival_of(const struct parcel *parcel)
{
    unsigned char numbers[2];
    size_t count;

    SIM_MUST(gring_read_full(parcel->reader, numbers, sizeof numbers, &count) >= 0);
    SIM_MUST(count < 2); /* twice? */
    gring_close(parcel->reader);
    return count ? numbers[0] : -1;
}

static void check_parcels(void)
{
    bool may_lose = courier->is_closed_early || sim_has(SIM_NO_DESCRIPTORS) || sim_has(SIM_RESETS);
    int last = -1;

    for (unsigned index = 0; index < courier->count; index++) {
        const struct parcel *parcel = &courier->parcels[index];
        int arrival = arrival_of(parcel);

        SIM_MUST(arrival < 0 || (parcel->is_sent && !parcel->is_surplus && arrival > last));
        SIM_MUST(arrival >= 0 || !parcel->is_sent || may_lose);
        if (arrival >= 0)
            last = arrival;
    }
}

SIM_WORKLOAD(passing, SIM_RESETS | SIM_NO_MEMORY | SIM_NO_DESCRIPTORS)
{
    bool is_datagram = sim_chance(300);
    int ends[2];

    if (socketpair(AF_UNIX, (is_datagram ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0, ends) < 0) {
        sim_excuse(errno);
        return;
    }
    courier = sim_alloc(sizeof *courier);
    courier->is_datagram = is_datagram;
    courier->out_fd = ends[0];
    courier->in_fd = ends[1];
    courier->receiver = spawn(receive_parcels);
    courier->sender = spawn(send_parcels);
    replace_receivers();
    if (sim_chance(200))
        close_early();
    else
        finish();
    gring_close(courier->out_fd);
    check_parcels();
}
