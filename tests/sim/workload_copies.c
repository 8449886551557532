/*
 * Bytes that move between descriptors without passing through us: gring_splice along chains of
 * pipes and sockets, gring_sendfile out of files, gring_copy_file_range and gring_sendfile from file
 * to file; by tasks that are killed and run out of time, and others that take over.
 *
 * Each byte comes out once and in order, as many as were reported as moved; offsets and positions
 * say the same; a call that failed has moved nothing.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PIECE_MAX = 3000, FILE_MAX = 20000 };

static bool was_interrupted(void)
{
    return errno == ECANCELED || errno == ETIMEDOUT;
}

static void excuse(void)
{
    if (!was_interrupted())
        sim_excuse(errno);
}

static void begin_deadline(gring_timeout *timeout)
{
    gring_timeout_start(timeout, sim_chance(300) ? sim_duration(GRING_SEC) : GRING_FOREVER);
}

/* A tunnel for bytes: a pipe or a pair of sockets. */
struct tunnel {
    int in_fd, out_fd; /* to read from, to write to */
    bool is_socket;
};

static bool open_tunnel(struct tunnel *tunnel, bool is_socket)
{
    int ends[2], result;

    result = is_socket ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)
                       : pipe2(ends, O_CLOEXEC);
    if (result < 0)
        sim_excuse(errno);
    *tunnel = (struct tunnel){ .in_fd = ends[0], .out_fd = ends[1], .is_socket = is_socket };
    return result == 0;
}

/* No more is written. */
static void end_tunnel(struct tunnel *tunnel)
{
    if (tunnel->out_fd >= 0)
        gring_close(tunnel->out_fd);
    tunnel->out_fd = -1;
}

static void close_tunnel(struct tunnel *tunnel)
{
    end_tunnel(tunnel);
    gring_close(tunnel->in_fd);
}

static gring_task *spawn(void *(*fn)(void *arg), void *arg)
{
    gring_task *task = gring_spawn(fn, arg);

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

/* What comes out of a tunnel until its end; whoever is killed meanwhile goes on. */
struct drain {
    int fd;
    uint64_t stream, read;
};

static void *read_all(void *arg)
{
    struct drain *drain = arg;
    unsigned char piece[PIECE_MAX];
    ssize_t count = 1;

    while (count != 0) {
        count = gring_read(drain->fd, piece, sim_size(sizeof piece));
        if (count < 0)
            excuse();
        if (count <= 0)
            continue;
        SIM_MUST(sim_matches(piece, (size_t)count, drain->stream, drain->read) == (size_t)count);
        drain->read += (uint64_t)count;
    }
    return NULL;
}

/* ---- splices --------------------------------------------------------------------------------- */

enum { LINKS_MAX = 4, WRITES_MAX = 20 };

/* Those who serve a link compete: for what is there, and for room. */
enum { SERVERS_MAX = 3 };

struct link {
    struct tunnel *from, *to;
    uint64_t moved;
    bool is_over;
    gring_task *servers[SERVERS_MAX];
    unsigned server_count;
};

static struct chain {
    struct tunnel tunnels[LINKS_MAX + 1];
    struct link links[LINKS_MAX];
    unsigned link_count, tunnel_count;
    uint64_t written;
} * chain;

static void *write_pieces(void *unused)
{
    unsigned steps = (unsigned)sim_size(WRITES_MAX);
    unsigned char piece[PIECE_MAX];
    gring_timeout timeout;

    (void)unused;
    while (steps-- > 0 && !gring_cancelled()) {
        size_t size = sim_size(sizeof piece);
        ssize_t count;

        sim_fill(piece, size, 1, chain->written);
        begin_deadline(&timeout);
        count = gring_write(chain->tunnels[0].out_fd, piece, size);
        gring_timeout_stop(&timeout);
        if (count < 0)
            excuse();
        else
            chain->written += (uint64_t)count;
    }
    return NULL;
}

static void splice_once(struct link *link)
{
    unsigned flags = sim_chance(200) ? SPLICE_F_NONBLOCK : 0;
    ssize_t count =
        gring_splice(link->from->in_fd, NULL, link->to->out_fd, NULL, sim_size(6000), flags);

    if (count > 0)
        link->moved += (uint64_t)count;
    if (count == 0) {
        link->is_over = true;
        end_tunnel(link->to);
    }
    if (count >= 0 || link->is_over) /* another one may have closed it */
        return;
    if (errno == EAGAIN && flags)
        gring_sleep(sim_duration(GRING_MS));
    else
        excuse();
}

static void *splice_on(void *arg)
{
    struct link *link = arg;
    gring_timeout timeout;

    while (!link->is_over && !gring_cancelled()) {
        begin_deadline(&timeout);
        splice_once(link);
        gring_timeout_stop(&timeout);
    }
    return NULL;
}

/* One of two neighbours is a pipe. */
static bool open_chain(void)
{
    bool was_socket = true;

    chain = sim_alloc(sizeof *chain);
    chain->link_count = (unsigned)sim_between(1, LINKS_MAX);
    for (; chain->tunnel_count <= chain->link_count; chain->tunnel_count++) {
        was_socket = !was_socket && sim_chance(500);
        if (!open_tunnel(&chain->tunnels[chain->tunnel_count], was_socket))
            return false;
    }
    for (unsigned index = 0; index < chain->link_count; index++) {
        struct link *link = &chain->links[index];

        link->from = &chain->tunnels[index];
        link->to = &chain->tunnels[index + 1];
        link->server_count = sim_chance(500) ? 1 : SERVERS_MAX;
    }
    return true;
}

/* As long as it takes: without one the others would wait for ever. */
static void man(struct link *link)
{
    for (unsigned index = 0; index < link->server_count; index++)
        while (!link->servers[index])
            link->servers[index] = spawn(splice_on, link);
}

static void man_all(void)
{
    for (unsigned index = 0; index < chain->link_count; index++)
        man(&chain->links[index]);
}

static void strike(void)
{
    struct link *link = &chain->links[sim_below(chain->link_count)];
    unsigned index = (unsigned)sim_below(link->server_count);

    gring_sleep(sim_duration(100 * GRING_MS));
    end_task(link->servers[index], true);
    link->servers[index] = NULL;
    man(link);
}

static void end_links(void)
{
    for (unsigned index = 0; index < chain->link_count; index++) {
        struct link *link = &chain->links[index];

        for (unsigned server = 0; server < link->server_count; server++)
            end_task(link->servers[server], false);
        SIM_MUST(link->moved == chain->written);
    }
}

SIM_WORKLOAD(splices, SIM_NO_MEMORY | SIM_NO_DESCRIPTORS)
{
    struct drain drain = { .stream = 1 };
    gring_task *writer, *reader = NULL;

    if (open_chain()) {
        writer = spawn(write_pieces, NULL);
        drain.fd = chain->tunnels[chain->link_count].in_fd;
        man_all();
        for (unsigned strikes = (unsigned)sim_below(8); strikes > 0; strikes--)
            strike();
        while (!reader)
            reader = spawn(read_all, &drain);
        end_task(writer, sim_chance(300));
        end_tunnel(&chain->tunnels[0]);
        end_links();
        end_task(reader, false);
        SIM_MUST(drain.read == chain->written);
    }
    for (unsigned index = 0; index < chain->tunnel_count; index++)
        close_tunnel(&chain->tunnels[index]);
}

/* ---- files ----------------------------------------------------------------------------------- */

/* A file with so many bytes of the stream, at its beginning; fd -1: it could not be made. */
struct source {
    int fd;
    uint64_t stream;
    size_t size;
};

static int open_file(const char *name, uint64_t number)
{
    char path[32];
    int fd;

    snprintf(path, sizeof path, "/%s%d", name, (int)number);
    fd = gring_open(path, O_RDWR | O_CREAT, 0600);
    if (fd < 0)
        excuse();
    return fd;
}

static void make_source(struct source *source, uint64_t stream)
{
    size_t size = sim_size(FILE_MAX);
    unsigned char *bytes = sim_alloc(size);

    *source = (struct source){ .fd = open_file("source", stream), .stream = stream };
    if (source->fd < 0)
        return;
    sim_fill(bytes, size, stream, 0);
    if (gring_write_full(source->fd, bytes, size, &source->size) < 0)
        excuse();
    ftruncate(source->fd, (off_t)source->size);
    lseek(source->fd, 0, SEEK_SET);
}

/* The whole of a file, as it should be. */
static void expect_bytes(int fd, uint64_t stream, uint64_t size)
{
    unsigned char piece[PIECE_MAX];
    uint64_t place = 0;

    while (place < size) {
        size_t wanted = size - place < sizeof piece ? (size_t)(size - place) : sizeof piece;
        ssize_t count = gring_pread(fd, piece, wanted, (off_t)place);

        SIM_MUST(count != 0);
        if (count < 0)
            sim_excuse(errno);
        else
            SIM_MUST(sim_matches(piece, (size_t)count, stream, place) == (size_t)count);
        place += count > 0 ? (uint64_t)count : 0;
    }
}

/* ---- sendfile -------------------------------------------------------------------------------- */

struct shipment {
    struct source source;
    struct tunnel tunnel;
    struct drain drain;
    uint64_t sent;
    bool is_cut; /* the file or the tunnel was closed while it was in use */
    gring_task *sender, *reader;
    struct source other;     /* who gets their numbers: a file, at its beginning */
    struct tunnel elsewhere; /* and an empty pipe */
    int again;               /* the number */
};

/* By an offset of ours, or the file's position, which are at the same place. */
static void ship(struct shipment *shipment, bool is_patient)
{
    size_t left = shipment->source.size - shipment->sent, size = sim_size(FILE_MAX);
    off_t offset = (off_t)shipment->sent, *ours = sim_chance(500) ? &offset : NULL;
    ssize_t count = gring_sendfile(shipment->tunnel.out_fd, shipment->source.fd, ours, size);

    if (count < 0 && !(shipment->is_cut && errno == EBADF))
        excuse();
    if (count > 0)
        shipment->sent += (uint64_t)count;
    if (shipment->is_cut)
        return;
    if (count >= 0 && is_patient && !gring_cancelled() && !sim_is_rough())
        SIM_MUST((size_t)count == (size < left ? size : left));
    if (ours)
        lseek(shipment->source.fd, offset, SEEK_SET);
    SIM_MUST(lseek(shipment->source.fd, 0, SEEK_CUR) == (off_t)shipment->sent);
}

static void *ship_all(void *arg)
{
    struct shipment *shipment = arg;
    unsigned steps = 40;
    gring_timeout timeout;

    while (shipment->sent < shipment->source.size && steps-- > 0 && !gring_cancelled() &&
           !shipment->is_cut) {
        bool is_patient = sim_chance(700);

        gring_timeout_start(&timeout, is_patient ? GRING_FOREVER : sim_duration(GRING_SEC));
        ship(shipment, is_patient);
        gring_timeout_stop(&timeout);
    }
    return NULL;
}

/* The number is given out again at once. */
static void cut(struct shipment *shipment, int *fd, int successor)
{
    int number = *fd;

    shipment->is_cut = true;
    *fd = -1;
    gring_close(number);
    shipment->again = fcntl(successor, F_DUPFD_CLOEXEC, 0);
}

static void cut_somewhere(struct shipment *shipment)
{
    make_source(&shipment->other, 2);
    if (!open_tunnel(&shipment->elsewhere, false))
        shipment->elsewhere.in_fd = -1;
    else if (shipment->other.fd >= 0 && sim_chance(500))
        cut(shipment, &shipment->source.fd, shipment->other.fd);
    else
        cut(shipment, &shipment->tunnel.out_fd, shipment->elsewhere.out_fd);
}

/* Nothing was taken from the one, nothing put into the other. */
static void check_successors(struct shipment *shipment)
{
    int waiting = 0;

    if (shipment->again >= 0)
        gring_close(shipment->again);
    if (shipment->other.fd >= 0) {
        SIM_MUST(lseek(shipment->other.fd, 0, SEEK_CUR) == 0);
        gring_close(shipment->other.fd);
    }
    if (shipment->elsewhere.in_fd < 0)
        return;
    gring_sleep(GRING_SEC); /* for longer than bytes are under way */
    SIM_MUST(ioctl(shipment->elsewhere.in_fd, FIONREAD, &waiting) == 0 && waiting == 0);
    close_tunnel(&shipment->elsewhere);
}

/* Without a reader the sender would wait for ever. */
static void run_shipment(struct shipment *shipment)
{
    shipment->drain =
        (struct drain){ .fd = shipment->tunnel.in_fd, .stream = shipment->source.stream };
    shipment->sender = spawn(ship_all, shipment);
    gring_sleep(sim_duration(100 * GRING_MS));
    shipment->reader = spawn(read_all, &shipment->drain);
    gring_sleep(sim_duration(100 * GRING_MS));
    if (sim_chance(300))
        cut_somewhere(shipment);
    end_task(shipment->sender, !shipment->reader || sim_chance(400));
    end_tunnel(&shipment->tunnel);
    end_task(shipment->reader, false);
    SIM_MUST(!shipment->reader || shipment->drain.read == shipment->sent);
}

SIM_WORKLOAD(sendfile, SIM_NO_MEMORY | SIM_NO_DESCRIPTORS | SIM_BAD_DISK)
{
    struct shipment shipment = { .other.fd = -1, .elsewhere.in_fd = -1, .again = -1 };

    make_source(&shipment.source, 1);
    if (shipment.source.fd < 0)
        return;
    if (open_tunnel(&shipment.tunnel, sim_chance(500))) {
        run_shipment(&shipment);
        close_tunnel(&shipment.tunnel);
        check_successors(&shipment);
    }
    if (shipment.source.fd >= 0)
        gring_close(shipment.source.fd);
}

/* ---- from file to file ----------------------------------------------------------------------- */

enum { COPIERS_MAX = 4, COPIES_MAX = 20 };

struct copier {
    uint64_t id, copied;
};

/* Offsets of ours, or the files' positions. */
static ssize_t copy_range(const struct source *source, int to, uint64_t copied, size_t size)
{
    off_t from_offset = (off_t)copied, to_offset = (off_t)copied;
    ssize_t count = gring_copy_file_range(source->fd, &from_offset, to, &to_offset, size, 0);
    off_t moved = count > 0 ? count : 0;

    SIM_MUST(from_offset == (off_t)copied + moved && to_offset == from_offset);
    return count;
}

static ssize_t copy_at_position(const struct source *source, int to, uint64_t copied, size_t size)
{
    off_t from_offset = (off_t)copied, moved;
    ssize_t count;

    lseek(to, from_offset, SEEK_SET);
    count = gring_sendfile(to, source->fd, &from_offset, size);
    moved = count > 0 ? count : 0;
    SIM_MUST(from_offset == (off_t)copied + moved);
    SIM_MUST(lseek(to, 0, SEEK_CUR) == from_offset);
    return count;
}

static void copy_on(struct copier *copier, const struct source *source, int to)
{
    size_t size = sim_size(FILE_MAX);
    gring_timeout timeout;
    ssize_t count;

    begin_deadline(&timeout);
    count = sim_chance(500) ? copy_range(source, to, copier->copied, size)
                            : copy_at_position(source, to, copier->copied, size);
    gring_timeout_stop(&timeout);
    if (count < 0)
        excuse();
    SIM_MUST(count != 0 || copier->copied == source->size);
    copier->copied += count > 0 ? (uint64_t)count : 0;
}

static void *copy_a_file(void *arg)
{
    struct copier *copier = arg;
    unsigned steps = (unsigned)sim_size(COPIES_MAX);
    struct source source;
    int to = -1;

    make_source(&source, copier->id);
    if (source.fd >= 0)
        to = open_file("copy", copier->id);
    while (to >= 0 && steps-- > 0 && !gring_cancelled())
        copy_on(copier, &source, to);
    GRING_SHIELD
    if (to >= 0) {
        SIM_MUST(lseek(to, 0, SEEK_END) == (off_t)copier->copied);
        expect_bytes(to, copier->id, copier->copied);
    }
    if (to >= 0)
        gring_close(to);
    if (source.fd >= 0)
        gring_close(source.fd);
    return NULL;
}

SIM_WORKLOAD(file_copies, SIM_NO_MEMORY | SIM_NO_DESCRIPTORS | SIM_BAD_DISK)
{
    struct copier copiers[COPIERS_MAX] = { 0 };
    gring_task *tasks[COPIERS_MAX];
    unsigned count = (unsigned)sim_between(1, COPIERS_MAX);

    for (unsigned index = 0; index < count; index++) {
        copiers[index].id = index + 1;
        tasks[index] = spawn(copy_a_file, &copiers[index]);
    }
    gring_sleep(sim_duration(GRING_SEC));
    for (unsigned index = 0; index < count; index++)
        end_task(tasks[index], sim_chance(300));
}
