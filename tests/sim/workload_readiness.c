/*
 * Readiness: tasks that poll, select, choose and wait for pipes, sockets and files in every
 * combination, while others fill, drain, shut down and close them and kill who waits.
 *
 * What gring_poll returns is true at its return, neither more nor less, and so is what gring_select
 * has in its read set; the others name nothing that was not asked for; no timeout is early; and
 * nobody goes on waiting when one of the things that he waits for is there.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PORTS_MAX = 14, WATCHERS_MAX = 6, MOVERS_MAX = 4, STEPS_MAX = 30, PIECE_MAX = 400 };
enum { UNASKED = POLLERR | POLLHUP | POLLNVAL, FD_NUMBERS = 8192 };

/* An end of a pipe or of a pair of sockets, or a file. */
struct port {
    int fd; /* -1: closed */
    bool is_socket;
};

/* What a task waits for, and how often each number was closed before. */
struct watched {
    struct pollfd fds[PORTS_MAX];
    unsigned closes[PORTS_MAX];
    nfds_t count;
    bool is_any_open;
};

static struct {
    struct port ports[PORTS_MAX];
    unsigned port_count;
    unsigned closes[FD_NUMBERS];
    struct watched *waiting[WATCHERS_MAX]; /* NULL: not waiting */
    bool ending; /* nothing is taken any more, and nobody begins to wait */
} * quay;

static bool was_interrupted(void)
{
    return errno == ECANCELED || errno == ETIMEDOUT;
}

static void excuse(void)
{
    if (!was_interrupted())
        sim_excuse(errno);
}

/* ---- what is watched ------------------------------------------------------------------------- */

static struct port *any_port(void)
{
    return &quay->ports[sim_below(quay->port_count)];
}

/* At least one that becomes true in the end. */
static short any_events(void)
{
    static const short choices[] = {
        POLLIN,           POLLOUT,           POLLIN | POLLOUT,    POLLIN | POLLRDHUP,
        POLLIN | POLLPRI, POLLOUT | POLLPRI, POLLIN | POLLRDNORM, POLLOUT | POLLWRNORM
    };

    return choices[sim_below(sizeof choices / sizeof choices[0])];
}

/* Of a pipe's end only one direction ever comes. */
static short useful_events(int fd)
{
    int mode = fd >= 0 ? fcntl(fd, F_GETFL) & O_ACCMODE : O_RDWR;

    return mode == O_RDWR ? any_events() : mode == O_WRONLY ? POLLOUT : POLLIN;
}

static unsigned closes_of(int fd)
{
    return fd < 0 ? 0 : quay->closes[fd];
}

static void choose_ports(struct watched *watched, nfds_t count)
{
    *watched = (struct watched){ .count = count };
    for (nfds_t index = 0; index < count; index++) {
        int fd = sim_chance(100) ? -1 : any_port()->fd;
        struct pollfd *one = &watched->fds[index];

        *one = (struct pollfd){ .fd = fd, .events = useful_events(fd), .revents = POLLNVAL };
        watched->closes[index] = closes_of(fd);
        watched->is_any_open |= fd >= 0;
    }
}

static bool was_closed(const struct watched *watched, nfds_t index)
{
    return watched->closes[index] != closes_of(watched->fds[index].fd);
}

/* ---- poll ------------------------------------------------------------------------------------ */

static void expect_exact(const struct watched *watched, int result)
{
    int ready = 0;

    for (nfds_t index = 0; index < watched->count; index++) {
        const struct pollfd *one = &watched->fds[index];
        short mask = (short)(one->events | UNASKED), now = 0;

        if (one->fd >= 0)
            now = (short)(sim_events(one->fd) & mask);
        SIM_MUST(one->revents == now || (was_closed(watched, index) && one->revents == POLLNVAL));
        ready += one->revents != 0;
    }
    SIM_MUST(ready == result);
}

static void step_poll(struct watched **waiting)
{
    struct watched watched;
    int timeout = sim_chance(500) ? (int)sim_size(2000) - 1 : -1, result;
    gring_ns begin = gring_now();

    choose_ports(&watched, (nfds_t)sim_size(PORTS_MAX));
    if (!watched.is_any_open && timeout < 0)
        timeout = 10;
    *waiting = &watched;
    result = gring_poll(watched.fds, watched.count, timeout);
    *waiting = NULL;
    if (result < 0) {
        excuse();
        return;
    }
    expect_exact(&watched, result);
    SIM_MUST(result > 0 || timeout >= 0);
    SIM_MUST(result > 0 || gring_now() >= begin + timeout * GRING_MS);
}

/* ---- the others ------------------------------------------------------------------------------ */

/* Of the moment it became ready. */
static void expect_asked(int result, short events, bool closed)
{
    if (result < 0 && !(errno == EBADF && closed))
        excuse();
    SIM_MUST(result != 0 && (result < 0 || !(result & ~(events | UNASKED))));
}

static void step_wait_fd(struct watched **waiting)
{
    struct watched watched;
    int result;

    choose_ports(&watched, 1);
    if (!watched.is_any_open)
        return;
    *waiting = &watched;
    result = gring_wait_fd(watched.fds[0].fd, watched.fds[0].events);
    *waiting = NULL;
    expect_asked(result, watched.fds[0].events, was_closed(&watched, 0));
}

static void step_choose(struct watched **waiting)
{
    gring_case cases[PORTS_MAX];
    struct watched watched;
    int index;

    choose_ports(&watched, (nfds_t)sim_size(PORTS_MAX));
    if (!watched.is_any_open)
        return;
    for (nfds_t place = 0; place < watched.count; place++) {
        cases[place] = (gring_case)GRING_CASE_FD(watched.fds[place].fd, watched.fds[place].events);
        if (watched.fds[place].fd < 0)
            cases[place].op = GRING_ON_NONE;
    }
    *waiting = &watched;
    index = gring_choose(cases, (int)watched.count);
    *waiting = NULL;
    if (index < 0) {
        excuse();
        return;
    }
    SIM_MUST(index < (int)watched.count && cases[index].op == GRING_ON_FD);
    errno = cases[index].err;
    expect_asked(cases[index].rc, cases[index].events, was_closed(&watched, (nfds_t)index));
}

static int fill_sets(const struct watched *watched, fd_set *reads, fd_set *writes)
{
    int limit = 0;

    FD_ZERO(reads);
    FD_ZERO(writes);
    for (nfds_t index = 0; index < watched->count; index++) {
        int fd = watched->fds[index].fd;

        if (fd < 0 || fd >= FD_SETSIZE)
            continue;
        FD_SET(fd, watched->fds[index].events & POLLIN ? reads : writes);
        limit = fd >= limit ? fd + 1 : limit;
    }
    return limit;
}

static void expect_sets(const struct watched *watched, const fd_set *reads, const fd_set *writes)
{
    for (nfds_t index = 0; index < watched->count; index++) {
        const struct pollfd *one = &watched->fds[index];
        short now = sim_events(one->fd);

        if (one->fd < 0 || one->fd >= FD_SETSIZE || was_closed(watched, index))
            continue;
        if (one->events & POLLIN)
            SIM_MUST(!FD_ISSET(one->fd, reads) == !(now & (POLLIN | POLLHUP | POLLERR)));
        else
            SIM_MUST(!FD_ISSET(one->fd, writes) || now & (POLLOUT | POLLERR));
    }
}

static void step_select(void)
{
    struct timeval time = { .tv_sec = (time_t)sim_below(2),
                            .tv_usec = 1 + (long)sim_below(999999) };
    gring_ns patience = time.tv_sec * GRING_SEC + time.tv_usec * 1000, begin = gring_now();
    struct watched watched;
    fd_set reads, writes;
    int limit, result;

    choose_ports(&watched, (nfds_t)sim_size(PORTS_MAX));
    limit = fill_sets(&watched, &reads, &writes);
    if (limit == 0)
        return;
    result = gring_select(limit, &reads, &writes, NULL, sim_chance(700) ? &time : NULL);
    if (result < 0) {
        if (errno != EBADF)
            excuse();
        return;
    }
    SIM_MUST(result > 0 || gring_now() >= begin + patience);
    expect_sets(&watched, &reads, &writes);
}

static void *keep_watch(void *arg)
{
    struct watched **waiting = arg;
    unsigned steps = (unsigned)sim_size(STEPS_MAX);
    gring_timeout timeout;

    while (steps-- > 0 && !gring_cancelled() && !quay->ending) {
        gring_timeout_start(&timeout, sim_chance(200) ? sim_duration(GRING_SEC) : GRING_FOREVER);
        switch (sim_below(5)) {
        case 0:
            step_wait_fd(waiting);
            break;
        case 1:
            step_select();
            break;
        case 2:
            step_choose(waiting);
            break;
        default:
            step_poll(waiting);
        }
        gring_timeout_stop(&timeout);
    }
    return NULL;
}

/* ---- what makes it so ------------------------------------------------------------------------ */

static ssize_t move_now(int fd, bool out, size_t size)
{
    static char piece[PIECE_MAX];
    struct iovec part = { .iov_base = piece, .iov_len = size };

    return out ? gring_pwritev2(fd, &part, 1, -1, RWF_NOWAIT)
               : gring_preadv2(fd, &part, 1, -1, RWF_NOWAIT);
}

static void open_two(struct port *ports)
{
    bool is_socket = sim_chance(500);
    int ends[2], result;

    result = is_socket ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)
                       : pipe2(ends, O_CLOEXEC);
    if (result < 0) {
        sim_excuse(errno);
        return;
    }
    ports[0] = (struct port){ .fd = ends[0], .is_socket = is_socket };
    ports[1] = (struct port){ .fd = ends[1], .is_socket = is_socket };
}

static void close_port(struct port *port)
{
    int fd = port->fd;

    if (fd < 0)
        return;
    port->fd = -1;
    quay->closes[fd]++;
    gring_close(fd);
}

/* Another pair takes the place of these, and soon their numbers. */
static void exchange(void)
{
    struct port *ports = &quay->ports[sim_below(quay->port_count) & ~1u];

    close_port(&ports[0]);
    if (sim_chance(500))
        gring_yield();
    close_port(&ports[1]);
    if (ports[0].fd < 0 && ports[1].fd < 0)
        open_two(ports);
}

static void *move(void *unused)
{
    (void)unused;
    while (!quay->ending && !gring_cancelled()) {
        struct port *port = any_port();

        if (port->fd >= 0)
            move_now(port->fd, sim_chance(500), sim_size(PIECE_MAX));
        if (sim_chance(20) && port->is_socket && port->fd >= 0)
            gring_shutdown(port->fd, SHUT_WR);
        if (sim_chance(30))
            exchange();
        if (gring_sleep(sim_duration(100 * GRING_MS)) < 0)
            break;
    }
    return NULL;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static void begin(void)
{
    quay = sim_alloc(sizeof *quay);
    quay->port_count = 2 * (unsigned)sim_between(1, PORTS_MAX / 2);
    for (unsigned index = 0; index < quay->port_count; index++)
        quay->ports[index].fd = -1;
    for (unsigned index = 0; index < quay->port_count; index += 2)
        open_two(&quay->ports[index]);
}

/* For longer than anything takes nothing changes: nobody still waits for what is there. */
static void settle(void)
{
    gring_sleep(GRING_SEC);
    for (unsigned index = 0; index < WATCHERS_MAX; index++) {
        const struct watched *watched = quay->waiting[index];

        for (nfds_t place = 0; watched && place < watched->count; place++) {
            const struct pollfd *one = &watched->fds[place];

            SIM_MUST(one->fd < 0 || !(sim_events(one->fd) & (one->events | UNASKED)));
        }
    }
}

/* Room first, then bytes, one port after the other. */
static void make_all_ready(void)
{
    settle();
    for (unsigned index = 0; index < quay->port_count; index++) {
        if (quay->ports[index].fd < 0)
            continue;
        do
            settle();
        while (move_now(quay->ports[index].fd, false, PIECE_MAX) > 0);
    }
    for (unsigned index = 0; index < quay->port_count; index++)
        if (quay->ports[index].fd >= 0) {
            move_now(quay->ports[index].fd, true, 1);
            settle();
        }
}

/* places: one for each, or NULL. */
static unsigned spawn_some(gring_task **tasks, unsigned count, void *(*fn)(void *arg),
                           struct watched **places)
{
    unsigned made = 0;

    for (; count > 0; count--) {
        tasks[made] = gring_spawn(fn, places ? &places[made] : NULL);
        if (!tasks[made])
            sim_excuse(errno);
        made += tasks[made] != NULL;
    }
    return made;
}

static void join_all(gring_task *const *tasks, unsigned count)
{
    for (unsigned index = 0; index < count; index++)
        gring_join(tasks[index], NULL);
}

SIM_WORKLOAD(readiness, SIM_RESETS | SIM_NO_MEMORY | SIM_NO_DESCRIPTORS)
{
    gring_task *watchers[WATCHERS_MAX], *movers[MOVERS_MAX];
    unsigned watcher_count, mover_count;

    begin();
    watcher_count =
        spawn_some(watchers, (unsigned)sim_between(1, WATCHERS_MAX), keep_watch, quay->waiting);
    mover_count = spawn_some(movers, (unsigned)sim_between(1, MOVERS_MAX), move, NULL);
    gring_sleep(sim_duration(4 * GRING_SEC));
    if (watcher_count && sim_chance(500))
        gring_kill(watchers[sim_below(watcher_count)]);
    gring_sleep(sim_duration(GRING_SEC));
    quay->ending = true;
    join_all(movers, mover_count);
    make_all_ready();
    join_all(watchers, watcher_count);
    for (unsigned index = 0; index < quay->port_count; index++)
        close_port(&quay->ports[index]);
}
