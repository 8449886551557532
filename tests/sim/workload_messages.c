/*
 * Messages on streams: scattered sends and receives, one or several at a time, waiting or not,
 * all or a part, with a look before the taking; interrupted by deadlines and kills, and by closes
 * after which the number is soon another socket's.
 *
 * Each byte arrives once and in order, and as many as the calls have reported as sent; a look
 * shows what comes next and takes nothing; who asks for all gets all, unless there is no more; and
 * no call goes on with another socket than the one it began with.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <greenring/uring.h>
#include <string.h>
#include <sys/socket.h>

enum { LANES_MAX = 6, STEPS_MAX = 40, PIECE_MAX = 2000, PARTS_MAX = 5, BATCH_MAX = 4 };

/* One direction of a pair of sockets. */
struct lane {
    int out_fd, in_fd;
    uint64_t stream, written, read;
    bool is_closed; /* nothing more is written */
    bool is_cut;    /* an end was closed while it was in use */
    bool is_over;   /* the reader has seen the end, or the connection broke */
    gring_task *writer, *reader;
};

/* A message, or several, and where its bytes are. */
struct batch {
    unsigned char bytes[BATCH_MAX][PIECE_MAX];
    struct iovec parts[BATCH_MAX][PARTS_MAX];
    struct mmsghdr messages[BATCH_MAX];
    size_t sizes[BATCH_MAX];
    unsigned count;
};

/* Parts of any size, some of them empty. */
static void scatter(struct batch *batch, unsigned index)
{
    struct iovec *parts = batch->parts[index];
    unsigned count = (unsigned)sim_between(1, PARTS_MAX);
    size_t place = 0, size = batch->sizes[index];

    for (unsigned part = 0; part < count; part++) {
        size_t length = part + 1 < count ? (size_t)sim_below(size - place + 1) : size - place;

        parts[part] = (struct iovec){ .iov_base = batch->bytes[index] + place, .iov_len = length };
        place += length;
    }
    batch->messages[index].msg_hdr = (struct msghdr){ .msg_iov = parts, .msg_iovlen = count };
}

static struct batch *batch_new(unsigned count)
{
    struct batch *batch = sim_alloc(sizeof *batch);

    batch->count = count;
    for (unsigned index = 0; index < count; index++) {
        batch->sizes[index] = sim_size(PIECE_MAX);
        scatter(batch, index);
    }
    return batch;
}

static bool was_interrupted(void)
{
    return errno == ECANCELED || errno == ETIMEDOUT;
}

static bool was_cut(const struct lane *lane)
{
    return lane->is_cut && (errno == EBADF || errno == EPIPE || errno == ECONNRESET);
}

/* ---- writing --------------------------------------------------------------------------------- */

static void fill(const struct lane *lane, struct batch *batch)
{
    uint64_t place = lane->written;

    for (unsigned index = 0; index < batch->count; index++) {
        sim_fill(batch->bytes[index], batch->sizes[index], lane->stream, place);
        place += batch->sizes[index];
    }
}

static ssize_t send_one(const struct lane *lane, const struct batch *batch)
{
    int flags = sim_chance(200) ? MSG_DONTWAIT : 0;

    if (sim_chance(200))
        return gring_sendto(lane->out_fd, batch->bytes[0], batch->sizes[0], flags, NULL, 0);
    if (sim_chance(200))
        return gring_send_zc(lane->out_fd, batch->bytes[0], batch->sizes[0], flags);
    return gring_sendmsg(lane->out_fd, &batch->messages[0].msg_hdr, flags);
}

/* All but the last that went are whole. */
static ssize_t send_several(const struct lane *lane, struct batch *batch)
{
    int count = gring_sendmmsg(lane->out_fd, batch->messages, batch->count, 0);
    ssize_t total = 0;

    SIM_MUST(count <= (int)batch->count && count != 0);
    for (int index = 0; index < count; index++) {
        SIM_MUST(index + 1 == count || batch->messages[index].msg_len == batch->sizes[index]);
        total += batch->messages[index].msg_len;
    }
    return count < 0 ? -1 : total;
}

static void send_step(struct lane *lane)
{
    struct batch *batch = batch_new(sim_chance(400) ? (unsigned)sim_between(1, BATCH_MAX) : 1);
    ssize_t count;

    fill(lane, batch);
    count = batch->count > 1 ? send_several(lane, batch) : send_one(lane, batch);
    if (count >= 0)
        lane->written += (uint64_t)count;
    else if (!was_interrupted() && !was_cut(lane) && errno != EAGAIN)
        sim_excuse(errno);
}

static void *write_lane(void *arg)
{
    struct lane *lane = arg;
    unsigned steps = (unsigned)sim_size(STEPS_MAX);
    gring_timeout timeout;

    while (steps-- > 0 && !gring_cancelled()) {
        gring_timeout_start(&timeout, sim_chance(300) ? sim_duration(GRING_SEC) : GRING_FOREVER);
        send_step(lane);
        gring_timeout_stop(&timeout);
    }
    return NULL;
}

/* ---- reading --------------------------------------------------------------------------------- */

static void take(struct lane *lane, const void *bytes, size_t size, bool keeps)
{
    SIM_MUST(sim_matches(bytes, size, lane->stream, lane->read) == size);
    if (!keeps)
        lane->read += size;
}

static ssize_t receive_one(struct lane *lane, struct batch *batch, bool is_patient)
{
    int flags = sim_chance(200) ? MSG_PEEK : sim_chance(300) ? MSG_WAITALL : 0;
    struct msghdr *message = &batch->messages[0].msg_hdr;
    ssize_t count = sim_chance(200) ? gring_recvfrom(lane->in_fd, batch->bytes[0], batch->sizes[0],
                                                     flags, NULL, NULL)
                                    : gring_recvmsg(lane->in_fd, message, flags);

    if (count > 0)
        take(lane, batch->bytes[0], (size_t)count, flags & MSG_PEEK);
    if (count > 0 && flags & MSG_WAITALL && is_patient && !gring_cancelled() && !sim_is_rough())
        SIM_MUST((size_t)count == batch->sizes[0] || lane->is_closed || lane->is_cut);
    return count;
}

static ssize_t receive_several(struct lane *lane, struct batch *batch)
{
    int count = gring_recvmmsg(lane->in_fd, batch->messages, batch->count, 0);
    ssize_t total = 0;

    SIM_MUST(count <= (int)batch->count && count != 0);
    for (int index = 0; index < count; index++) {
        take(lane, batch->bytes[index], batch->messages[index].msg_len, false);
        total += batch->messages[index].msg_len;
    }
    return count < 0 ? -1 : total;
}

static void receive_step(struct lane *lane, bool is_patient)
{
    struct batch *batch = batch_new(sim_chance(300) ? (unsigned)sim_between(1, BATCH_MAX) : 1);
    ssize_t count =
        batch->count > 1 ? receive_several(lane, batch) : receive_one(lane, batch, is_patient);

    if (count > 0 || (count < 0 && was_interrupted()))
        return;
    if (count < 0 && !was_cut(lane))
        sim_excuse(errno);
    SIM_MUST(count < 0 || lane->is_closed || lane->is_cut || sim_is_rough());
    lane->is_over = count == 0 || errno != ENOMEM;
}

static void *read_lane(void *arg)
{
    struct lane *lane = arg;
    gring_timeout timeout;

    while (!lane->is_over && !gring_cancelled()) {
        bool is_patient = sim_chance(700);

        gring_timeout_start(&timeout, is_patient ? GRING_FOREVER : sim_duration(GRING_SEC));
        receive_step(lane, is_patient);
        gring_timeout_stop(&timeout);
    }
    return NULL;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static gring_task *spawn(void *(*fn)(void *arg), struct lane *lane)
{
    gring_task *task = gring_spawn(fn, lane);

    if (!task)
        sim_excuse(errno);
    return task;
}

static bool open_two(struct lane *lanes, uint64_t stream)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        sim_excuse(errno);
        return false;
    }
    lanes[0] = (struct lane){ .out_fd = ends[0], .in_fd = ends[1], .stream = stream };
    lanes[1] = (struct lane){ .out_fd = ends[1], .in_fd = ends[0], .stream = stream + 1 };
    return true;
}

static void end_task(gring_task *task, bool kills)
{
    if (!task)
        return;
    if (kills)
        gring_kill(task);
    gring_join(task, NULL);
}

/* Who was killed has a successor: the bytes are there for him. */
static void end_lane(struct lane *lane)
{
    end_task(lane->writer, sim_chance(200));
    gring_shutdown(lane->out_fd, SHUT_WR);
    lane->is_closed = true;
    end_task(lane->reader, sim_chance(200));
    while (!lane->is_over)
        receive_step(lane, true);
    SIM_MUST(lane->read == lane->written || lane->is_cut || sim_is_rough());
    SIM_MUST(lane->read <= lane->written);
}

/* A reader that is gone would keep its writer from ending. */
static void strike(struct lane *lanes, unsigned count)
{
    struct lane *lane = &lanes[sim_below(count)];

    gring_sleep(sim_duration(GRING_SEC));
    if (lane->writer)
        gring_kill(lane->writer);
    if (lane->reader && sim_chance(500))
        gring_kill(lane->reader);
}

/* ---- cutting --------------------------------------------------------------------------------- */

enum { BYSTANDER_STREAM = 99, BYSTANDER_BYTES = 20 };

/* A pair of which no lane knows, with some bytes in it. */
static struct bystander {
    int fds[2];
    size_t sizes[2]; /* what was put in for each to read */
} bystander;

static void put_bytes(int to, size_t *size)
{
    unsigned char bytes[BYSTANDER_BYTES];
    ssize_t count;

    sim_fill(bytes, sizeof bytes, BYSTANDER_STREAM, 0);
    count = gring_send(to, bytes, sizeof bytes, MSG_DONTWAIT);
    *size = count > 0 ? (size_t)count : 0;
}

/* The number is given out again at once. */
static void cut(struct lane *lane, struct lane *back)
{
    int fd = lane->out_fd;

    gring_sleep(sim_duration(100 * GRING_MS));
    lane->is_cut = back->is_cut = true;
    lane->out_fd = back->in_fd = -1;
    gring_close(fd);
    bystander = (struct bystander){ .fds = { -1, -1 } };
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, bystander.fds) < 0)
        return;
    put_bytes(bystander.fds[0], &bystander.sizes[1]);
    put_bytes(bystander.fds[1], &bystander.sizes[0]);
}

/* It has its bytes still, and no others. */
static void check_bystander(void)
{
    unsigned char bytes[BYSTANDER_BYTES + 1];
    size_t done = 0;

    if (bystander.fds[0] < 0)
        return;
    for (int side = 0; side < 2; side++)
        gring_shutdown(bystander.fds[side], SHUT_WR);
    for (int side = 0; side < 2; side++) {
        if (gring_read_full(bystander.fds[side], bytes, sizeof bytes, &done) < 0)
            sim_excuse(errno);
        else
            SIM_MUST(done == bystander.sizes[side] || sim_has(SIM_RESETS));
        SIM_MUST(done <= bystander.sizes[side]);
        SIM_MUST(sim_matches(bytes, done, BYSTANDER_STREAM, 0) == done);
    }
    for (int side = 0; side < 2; side++)
        gring_close(bystander.fds[side]);
}

SIM_WORKLOAD(messages, SIM_RESETS | SIM_NO_MEMORY)
{
    struct lane lanes[LANES_MAX];
    unsigned wanted = 2 * (unsigned)sim_between(1, LANES_MAX / 2), count = 0;

    for (; count < wanted && open_two(&lanes[count], count + 1); count += 2)
        ;
    for (unsigned index = 0; index < count; index++) {
        lanes[index].reader = spawn(read_lane, &lanes[index]);
        lanes[index].writer = lanes[index].reader ? spawn(write_lane, &lanes[index]) : NULL;
    }
    bystander.fds[0] = -1;
    if (count && sim_chance(500))
        strike(lanes, count);
    else if (count && sim_chance(500))
        cut(&lanes[0], &lanes[1]);
    for (unsigned index = 0; index < count; index++)
        end_lane(&lanes[index]);
    for (unsigned index = 0; index < count; index++)
        if (lanes[index].out_fd >= 0)
            gring_close(lanes[index].out_fd);
    check_bystander();
}
