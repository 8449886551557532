/*
 * Collisions: an operation completes while it is being interrupted, again and again, at random
 * distances.
 *
 *     race [--collisions N] [--kind recv|accept|close|write|pipe|sleep|join|all] [--lanes N]
 *          [--strike kill|throw|foreign-kill|foreign-throw|deadline|any]
 *          GRING_SEED replays, GRING_TEST_PERCENT makes them fewer: tests/support/share.h
 *
 * A lane is a victim, whose every operation is struck once by a kill, a throw (from the hub or
 * from a plain thread) or a deadline, and a peer that makes the operation complete (a task, or a
 * plain thread that writes). Both wait a random moment first. In each round the victim goes on
 * until its operation has succeeded and the strike was reported once.
 *
 * What must hold: every byte arrives once, in its lane, at its place (the pattern names both),
 * and the checksums of both ends agree; every connection is accepted once and carries its
 * round's number, also while the listener is closed (then each ends either accepted or refused);
 * what a failed call was given as buffer stays as it is; no strike is lost or reported twice;
 * nothing is left in /proc/self/fd and among the tasks. Exit status 0, or a sentence and 1.
 */
#include "tests/support/share.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <greenring/debug.h>
#include <greenring/greenring.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum kind { RECV, ACCEPT, CLOSE, WRITE, PIPE, SLEEP, JOIN, KINDS };
static const char *const kind_names[KINDS] = { "recv", "accept", "close", "write",
                                               "pipe", "sleep",  "join" };

enum weapon { KILL, THROW, FOREIGN_KILL, FOREIGN_THROW, DEADLINE, WEAPONS };
static const char *const weapon_names[WEAPONS] = { "kill", "throw", "foreign-kill", "foreign-throw",
                                                   "deadline" };

enum { RECV_MAX = 96, WRITE_MAX = 96 * 1024, CANARY = 0x5a };

struct lane {
    enum kind kind;
    enum weapon weapon;
    uint64_t number, random;
    uint64_t rounds, quota;
    bool tcp, foreign_peer;
    int fd, peer_fd; /* the victim's and the peer's end; the listener */
    gring_task *victim, *striker, *peer;
    bool done;
    atomic_uint foreign_strike, foreign_send; /* orders for the plain thread */
    uint64_t foreign_random;
    /* streams */
    uint64_t sent, received, send_now;
    uint32_t sent_sum, received_sum;
    /* the round */
    bool strike_seen;
    uint64_t operation_won, strike_won, strikes_seen;
};

static uint64_t seed;
static int only_weapon = WEAPONS; /* this: any */
static atomic_bool over;
static struct lane *lanes;
static size_t lane_count;

#define MUST(fact, lane, ...)                                                                      \
    do {                                                                                           \
        if (!(fact)) {                                                                             \
            fprintf(stderr, "race: GRING_SEED=%llu, %s lane %llu, round %llu, weapon %d: ",        \
                    (unsigned long long)seed, kind_names[(lane)->kind],                            \
                    (unsigned long long)(lane)->number, (unsigned long long)(lane)->rounds,        \
                    (int)(lane)->weapon);                                                          \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fprintf(stderr, " (errno %d: %s)\n", errno, #fact);                                    \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * 0x2545f4914f6cdd1du >> 16;
}

static uint64_t below(uint64_t *state, uint64_t limit)
{
    return next_random(state) % limit;
}

static unsigned char pattern(uint64_t stream, uint64_t place)
{
    return (unsigned char)((place + stream * 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u >> 56);
}

static uint32_t checksum(uint32_t sum, const unsigned char *bytes, size_t count)
{
    for (size_t index = 0; index < count; index++)
        sum = (sum ^ bytes[index]) * 16777619u;
    return sum;
}

static void spin(uint64_t turns)
{
    for (volatile uint64_t turn = 0; turn < turns; turn++)
        continue;
}

/* A moment between nothing and a tenth of a millisecond; for helpers, which nobody interrupts. */
static void linger(uint64_t *random)
{
    switch (below(random, 4)) {
    case 0:
        break;
    case 1:
        for (uint64_t times = below(random, 4); times; times--)
            gring_yield();
        break;
    case 2:
        gring_sleep((gring_ns)below(random, 80 * 1000));
        break;
    default:
        spin(below(random, 2000));
    }
}

/* ---- strikes --------------------------------------------------------------------------------- */

static int struck_with(const struct lane *lane)
{
    if (lane->weapon == DEADLINE)
        return ETIMEDOUT;
    return lane->weapon == THROW || lane->weapon == FOREIGN_THROW ? EXDEV : ECANCELED;
}

static void strike_once(struct lane *lane, bool throws)
{
    int result = throws ? gring_throw(lane->victim, EXDEV) : gring_kill(lane->victim);

    MUST(result == 0, lane, "the strike was refused");
}

static void *striker_main(void *arg)
{
    struct lane *lane = arg;

    for (;;) {
        gring_park(NULL);
        if (lane->done)
            return NULL;
        linger(&lane->random);
        strike_once(lane, lane->weapon == THROW);
    }
}

/* The victim's call has failed: with the strike, which is thereby over, or it is a fault. */
static void see_strike(struct lane *lane)
{
    MUST(errno == struck_with(lane), lane, "a call failed with something else");
    if (lane->weapon == DEADLINE)
        return;
    MUST(!lane->strike_seen, lane, "a strike was reported twice");
    lane->strike_seen = true;
    lane->strikes_seen++;
    if (struck_with(lane) == ECANCELED)
        MUST(gring_uncancel() == 1, lane, "a reported kill was not pending");
}

static void begin_round(struct lane *lane)
{
    lane->weapon = only_weapon < WEAPONS ? (enum weapon)only_weapon
                                         : (enum weapon)below(&lane->random, WEAPONS);
    lane->strike_seen = false;
    if (lane->weapon == KILL || lane->weapon == THROW)
        gring_unpark(lane->striker, NULL);
    else if (lane->weapon != DEADLINE)
        atomic_store(&lane->foreign_strike, lane->weapon == FOREIGN_THROW ? 2 : 1);
}

static void end_round(struct lane *lane, bool operation_first)
{
    if (operation_first)
        lane->operation_won++;
    else
        lane->strike_won++;
    while (!lane->strike_seen && lane->weapon != DEADLINE)
        if (gring_sleep(20 * GRING_US) < 0)
            see_strike(lane);
    MUST(gring_cancelled() == 0, lane, "something is still pending");
    lane->rounds++;
}

/* With the deadline as the weapon it encloses the call. */
static void arm(struct lane *lane, gring_timeout *timeout)
{
    gring_timeout_start(timeout, lane->weapon == DEADLINE
                                     ? (gring_ns)below(&lane->random, 100 * 1000)
                                     : GRING_FOREVER);
}

#define STRUCK(lane, call)                                                                         \
    __extension__({                                                                                \
        gring_timeout deadline_;                                                                   \
        arm(lane, &deadline_);                                                                     \
        __typeof__(call) result_ = (call);                                                         \
        int errno_ = errno;                                                                        \
        gring_timeout_stop(&deadline_);                                                            \
        errno = errno_;                                                                            \
        result_;                                                                                   \
    })

/* ---- streams --------------------------------------------------------------------------------- */

static void take_in(struct lane *lane, const unsigned char *bytes, size_t count)
{
    for (size_t index = 0; index < count; index++)
        MUST(bytes[index] == pattern(lane->number, lane->received + index), lane,
             "byte %llu is not the one that was sent there",
             (unsigned long long)(lane->received + index));
    lane->received_sum = checksum(lane->received_sum, bytes, count);
    lane->received += count;
}

/* By the peer, task or thread. */
static void send_some(struct lane *lane, bool green)
{
    unsigned char bytes[RECV_MAX];
    size_t count = lane->send_now;

    for (size_t index = 0; index < count; index++)
        bytes[index] = pattern(lane->number, lane->sent + index);
    lane->sent_sum = checksum(lane->sent_sum, bytes, count);
    lane->sent += count;
    ssize_t result =
        green ? gring_write(lane->peer_fd, bytes, count) : write(lane->peer_fd, bytes, count);

    MUST(result == (ssize_t)count, lane, "the peer could not write");
}

static void *sender_main(void *arg)
{
    struct lane *lane = arg;
    uint64_t random = lane->random ^ 0x1234567;

    for (;;) {
        gring_park(NULL);
        if (lane->done)
            return NULL;
        linger(&random);
        send_some(lane, true);
    }
}

/* The bytes may be here before the thread that sent them has said so. */
static void await_stranger(struct lane *lane)
{
    while (atomic_load(&lane->foreign_send))
        GRING_SHIELD
        {
            gring_yield();
        }
}

static void stream_round(struct lane *lane)
{
    unsigned char bytes[RECV_MAX];
    uint64_t target;
    bool operation_first = true;

    await_stranger(lane);
    lane->send_now = 1 + below(&lane->random, RECV_MAX);
    target = lane->received + lane->send_now;
    if (lane->foreign_peer)
        atomic_store(&lane->foreign_send, 1);
    else
        gring_unpark(lane->peer, NULL);
    while (lane->received < target) {
        memset(bytes, CANARY, sizeof bytes);
        ssize_t count =
            STRUCK(lane, lane->kind == RECV ? gring_recv(lane->fd, bytes, sizeof bytes, 0)
                                            : gring_read(lane->fd, bytes, sizeof bytes));

        MUST(count != 0, lane, "the stream ended");
        if (count > 0) {
            take_in(lane, bytes, (size_t)count);
            continue;
        }
        operation_first = false;
        see_strike(lane);
        spin(below(&lane->random, 500));
        for (size_t index = 0; index < sizeof bytes; index++)
            MUST(bytes[index] == CANARY, lane, "a failed call's buffer was written to");
    }
    MUST(lane->received == target, lane, "more bytes came than were sent");
    end_round(lane, operation_first);
}

static void *drain_main(void *arg)
{
    struct lane *lane = arg;
    uint64_t random = lane->random ^ 0x7654321;
    unsigned char *bytes = malloc(WRITE_MAX);

    for (;;) {
        ssize_t count = gring_read(lane->peer_fd, bytes, 1 + below(&random, WRITE_MAX));

        MUST(count >= 0, lane, "the reader failed");
        if (count == 0)
            break;
        take_in(lane, bytes, (size_t)count);
        linger(&random);
    }
    free(bytes);
    return NULL;
}

static void write_round(struct lane *lane)
{
    size_t size = 1 + below(&lane->random, WRITE_MAX), done = 0;
    unsigned char *own = malloc(size);
    bool operation_first = true;

    for (size_t index = 0; index < size; index++)
        own[index] = pattern(lane->number, lane->sent + index);
    while (done < size) {
        ssize_t count = STRUCK(lane, gring_write(lane->fd, own + done, size - done));

        if (count < 0) {
            operation_first = false;
            see_strike(lane);
        } else {
            lane->sent_sum = checksum(lane->sent_sum, own + done, (size_t)count);
            done += (size_t)count;
            operation_first = operation_first && done == size;
        }
    }
    lane->sent += size;
    free(own);
    end_round(lane, operation_first);
}

/* ---- accept ---------------------------------------------------------------------------------- */

static void make_listener(struct lane *lane)
{
    struct sockaddr_un local = { .sun_family = AF_UNIX };
    struct sockaddr_in remote = { .sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

    lane->fd = socket(lane->tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int error = lane->tcp ? bind(lane->fd, (struct sockaddr *)&remote, sizeof remote)
                          /* autobind */
                          : bind(lane->fd, (struct sockaddr *)&local, sizeof local.sun_family);

    MUST(error == 0 && listen(lane->fd, 4) == 0, lane, "cannot listen");
    lane->peer_fd = -1;
}

static void *connector_main(void *arg)
{
    struct lane *lane = arg;
    uint64_t random = lane->random ^ 0xabcdef;
    struct sockaddr_storage address;
    char byte;

    for (;;) {
        socklen_t length = sizeof address;

        gring_park(NULL);
        if (lane->done)
            return NULL;
        linger(&random);
        getsockname(lane->fd, (struct sockaddr *)&address, &length);
        int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

        MUST(fd >= 0 && gring_connect(fd, (struct sockaddr *)&address, length) == 0, lane,
             "cannot connect");
        MUST(gring_write(fd, &lane->sent, sizeof lane->sent) == sizeof lane->sent, lane,
             "cannot send the number");
        lane->sent++;
        /* until it was accepted and closed */
        MUST(gring_read(fd, &byte, 1) <= 0, lane, "somebody answers");
        gring_close(fd);
    }
}

static void accept_round(struct lane *lane)
{
    const struct linger reset = { .l_onoff = 1 }; /* no TIME_WAIT */
    bool operation_first = true;
    uint64_t number;
    int fd;

    gring_unpark(lane->peer, NULL);
    while ((fd = STRUCK(lane, gring_accept(lane->fd, NULL, NULL))) < 0) {
        operation_first = false;
        see_strike(lane);
    }
    GRING_SHIELD
    {
        MUST(gring_read_full(fd, &number, sizeof number, NULL) == sizeof number, lane,
             "no number came");
    }
    MUST(number == lane->received, lane, "a connection was accepted twice or lost");
    lane->received++;
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    gring_close(fd);
    end_round(lane, operation_first);
}

/* ---- accept against close: each connect ends accepted or refused, never both or neither ------ */

struct closing {
    struct lane *lane;
    struct sockaddr_storage address;
    socklen_t length;
    unsigned served, accepted, refused;
    uint64_t random;
    bool closed;
};

static void *client_main(void *arg)
{
    struct closing *closing = arg;
    struct lane *lane = closing->lane;
    uint64_t random = next_random(&closing->random) | 1;
    char byte = 0;

    linger(&random);
    int fd = socket(closing->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (gring_connect(fd, (struct sockaddr *)&closing->address, closing->length) == 0 &&
        gring_read(fd, &byte, 1) == 1) {
        MUST(byte == 'a', lane, "a stranger answered");
        closing->served++;
    } else {
        MUST(errno == ECONNREFUSED || errno == ECONNRESET, lane, "neither accepted nor refused");
        closing->refused++;
    }
    gring_close(fd);
    return arg;
}

static void *closer_main(void *arg)
{
    struct closing *closing = arg;
    uint64_t random = next_random(&closing->random) | 1;

    linger(&random);
    closing->closed = true; /* from here on the number may come to mean something else */
    MUST(gring_close(closing->lane->fd) == 0, closing->lane, "cannot close the listener");
    return arg;
}

static void close_round(struct lane *lane)
{
    const struct linger reset = { .l_onoff = 1 };
    struct closing closing = { .lane = lane,
                               .length = sizeof closing.address,
                               .random = next_random(&lane->random) | 1 };
    gring_task *tasks[4];
    bool operation_first = true;
    int fd;

    make_listener(lane);
    getsockname(lane->fd, (struct sockaddr *)&closing.address, &closing.length);
    for (int index = 0; index < 4; index++)
        tasks[index] = gring_spawn(index < 3 ? client_main : closer_main, &closing);
    while (!closing.closed) {
        fd = STRUCK(lane, gring_accept(lane->fd, NULL, NULL));
        if (fd < 0 && errno == EBADF)
            break;
        if (fd < 0) {
            operation_first = false;
            see_strike(lane);
            continue;
        }
        closing.accepted++;
        GRING_SHIELD
        {
            MUST(gring_write(fd, "a", 1) == 1, lane, "cannot answer");
            char byte;
            (void)!gring_read(fd, &byte, 1); /* until the client has gone */
        }
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        gring_close(fd);
    }
    GRING_SHIELD
    {
        for (int index = 0; index < 4; index++)
            gring_join(tasks[index], NULL);
    }
    MUST(closing.served + closing.refused == 3, lane, "of 3 connections %u were served, %u refused",
         closing.served, closing.refused);
    /* by the lane; summed up over all in check_sums: a late client may have met */
    lane->received += closing.accepted;
    lane->sent += closing.served; /* another lane's listener, which got the same port */
    lane->fd = -1;
    end_round(lane, operation_first);
}

/* ---- sleep, join ----------------------------------------------------------------------------- */

static void sleep_round(struct lane *lane)
{
    gring_ns start = gring_now(), duration = 1 + (gring_ns)below(&lane->random, 80 * 1000);
    bool slept = STRUCK(lane, gring_sleep(duration)) == 0;

    if (slept)
        MUST(gring_now() - start >= duration, lane, "a sleep was short");
    else
        see_strike(lane);
    end_round(lane, slept);
}

static void *target_main(void *arg)
{
    struct lane *lane = arg;
    uint64_t random = lane->rounds * 0x9e3779b97f4a7c15u + seed + lane->number;

    linger(&random);
    return lane;
}

static void join_round(struct lane *lane)
{
    gring_task *target = gring_spawn(target_main, lane);
    bool operation_first = true;
    void *result;

    while (STRUCK(lane, gring_join(target, &result)) < 0) {
        operation_first = false;
        see_strike(lane);
    }
    MUST(result == lane, lane, "a join gave another task's value");
    end_round(lane, operation_first);
}

/* ---- lanes ----------------------------------------------------------------------------------- */

static void (*const rounds[KINDS])(struct lane *) = {
    stream_round, accept_round, close_round, write_round, stream_round, sleep_round, join_round,
};
static const gring_fn peers[KINDS] = { sender_main, connector_main, NULL, drain_main,
                                       sender_main, NULL,           NULL };

static void make_tcp_pair(struct lane *lane)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    int listener, one = 1;

    make_listener(lane);
    listener = lane->fd;
    getsockname(listener, (struct sockaddr *)&address, &length);
    lane->peer_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(connect(lane->peer_fd, (struct sockaddr *)&address, length) == 0, lane, "cannot connect");
    lane->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    MUST(lane->fd >= 0, lane, "cannot accept");
    setsockopt(lane->peer_fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    close(listener);
}

static void open_ends(struct lane *lane)
{
    int ends[2] = { -1, -1 };

    if (lane->kind == ACCEPT) {
        make_listener(lane);
    } else if (lane->kind == RECV && lane->tcp) {
        make_tcp_pair(lane);
    } else {
        if (lane->kind == RECV)
            MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, lane,
                 "no socketpair");
        else if (lane->kind == PIPE || lane->kind == WRITE)
            MUST(pipe2(ends, O_CLOEXEC) == 0, lane, "no pipe");
        lane->fd = ends[lane->kind == WRITE];
        lane->peer_fd = ends[lane->kind != WRITE];
    }
}

static void *victim_main(void *arg)
{
    struct lane *lane = arg;

    while (lane->rounds < lane->quota) {
        begin_round(lane);
        rounds[lane->kind](lane);
    }
    return lane;
}

static void start_lane(struct lane *lane)
{
    open_ends(lane);
    lane->striker = gring_spawn(striker_main, lane);
    lane->peer = peers[lane->kind] ? gring_spawn(peers[lane->kind], lane) : NULL;
    lane->victim = gring_spawn(victim_main, lane);
}

static void end_lane(struct lane *lane)
{
    void *result;
    int outcome = gring_wait(lane->victim, &result);

    MUST(outcome == 0 && result == lane, lane, "the victim did not end well: %d", outcome);
    lane->done = true;
    await_stranger(lane);
    if (lane->kind == WRITE)
        gring_close(lane->fd);
    gring_unpark(lane->striker, NULL);
    gring_join(lane->striker, NULL);
    if (lane->peer) {
        gring_unpark(lane->peer, NULL);
        gring_join(lane->peer, NULL);
    }
    MUST(lane->received == lane->sent || lane->kind == CLOSE, lane, "%llu sent, %llu received",
         (unsigned long long)lane->sent, (unsigned long long)lane->received);
    MUST(lane->received_sum == lane->sent_sum, lane, "the checksums differ");
    if (lane->kind != WRITE)
        gring_close(lane->fd);
    gring_close(lane->peer_fd);
}

/* ---- the plain thread ------------------------------------------------------------------------ */

static bool serve_lane(struct lane *lane)
{
    unsigned strike = atomic_load(&lane->foreign_strike);
    bool send = atomic_load(&lane->foreign_send);

    if (!strike && !send)
        return false;
    spin(below(&lane->foreign_random, 4000));
    if (strike && (!send || below(&lane->foreign_random, 2))) {
        atomic_store(&lane->foreign_strike, 0);
        strike_once(lane, strike == 2);
    } else {
        send_some(lane, false);
        atomic_store(&lane->foreign_send, 0); /* the lane's counters are the victim's again */
    }
    return true;
}

static void *stranger_main(void *unused)
{
    while (!atomic_load(&over)) {
        bool busy = false;

        for (size_t index = 0; index < lane_count; index++)
            busy |= serve_lane(&lanes[index]);
        if (!busy)
            sched_yield();
    }
    return unused;
}

/* ---- the run --------------------------------------------------------------------------------- */

static int descriptor_count(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;

    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

static uint64_t task_count(void)
{
    gring_stats stats = { .size = sizeof stats };

    gring_stats_get(&stats);
    return stats.tasks;
}

static void report(enum kind kind)
{
    uint64_t sums[4] = { 0 };

    for (size_t index = 0; index < lane_count; index++) {
        sums[0] += lanes[index].rounds;
        sums[1] += lanes[index].operation_won;
        sums[2] += lanes[index].strike_won;
        sums[3] += lanes[index].received;
    }
    printf("%-7s %9llu collisions: %9llu completed first, %9llu interrupted first; %llu %s\n",
           kind_names[kind], (unsigned long long)sums[0], (unsigned long long)sums[1],
           (unsigned long long)sums[2], (unsigned long long)sums[3],
           kind == ACCEPT || kind == CLOSE ? "connections" : "bytes");
    fflush(stdout);
}

static void check_sums(void)
{
    uint64_t sent = 0, received = 0;

    for (size_t index = 0; index < lane_count; index++) {
        sent += lanes[index].sent;
        received += lanes[index].received;
    }
    MUST(sent == received, &lanes[0], "%llu served, %llu accepted", (unsigned long long)sent,
         (unsigned long long)received);
}

static void run_kind(enum kind kind, uint64_t collisions)
{
    int descriptors = descriptor_count();
    uint64_t tasks = task_count();
    pthread_t stranger;

    lanes = calloc(lane_count, sizeof *lanes);
    for (size_t index = 0; index < lane_count; index++) {
        lanes[index] =
            (struct lane){ .kind = kind,
                           .number = index,
                           .random = (seed + 1 + index) * 0x9e3779b97f4a7c15u | 1,
                           .foreign_random = (seed + 77 + index) * 0xbf58476d1ce4e5b9u | 1,
                           .quota = (collisions + lane_count - 1) / lane_count,
                           .tcp = index & 1,
                           .foreign_peer = index & 2 };
        start_lane(&lanes[index]);
    }
    atomic_store(&over, false);
    pthread_create(&stranger, NULL, stranger_main, NULL);
    for (size_t index = 0; index < lane_count; index++)
        end_lane(&lanes[index]);
    atomic_store(&over, true);
    pthread_join(stranger, NULL);
    for (size_t index = 0; index < lane_count; index++)
        gring_drop(lanes[index].victim); /* not before: the thread held it, too */
    report(kind);
    check_sums();
    MUST(descriptor_count() == descriptors, &lanes[0], "descriptors leaked: %d",
         descriptor_count() - descriptors);
    MUST(task_count() == tasks, &lanes[0], "tasks leaked: %llu",
         (unsigned long long)(task_count() - tasks));
    free(lanes);
}

struct order {
    uint64_t collisions;
    int kind; /* KINDS: all */
};

static void *run(void *arg)
{
    const struct order *order = arg;

    gring_yield();
    gring_sleep(GRING_MS); /* the runtime's own descriptors exist from here on */
    for (int kind = 0; kind < KINDS; kind++)
        if (order->kind == KINDS || order->kind == kind)
            run_kind((enum kind)kind, order->collisions);
    return NULL;
}

/* Its index, count for the word that means all, or -1. */
static int named(const char *name, const char *const names[], int count, const char *all)
{
    for (int index = 0; index < count; index++)
        if (!strcmp(name, names[index]))
            return index;
    return strcmp(name, all) ? -1 : count;
}

int main(int argc, char **argv)
{
    struct order order = { .collisions = 20000, .kind = KINDS };
    const char *given = getenv("GRING_SEED");

    lane_count = 32;
    for (int index = 1; index + 1 < argc; index += 2) {
        if (!strcmp(argv[index], "--collisions"))
            order.collisions = strtoull(argv[index + 1], NULL, 0);
        else if (!strcmp(argv[index], "--kind"))
            order.kind = named(argv[index + 1], kind_names, KINDS, "all");
        else if (!strcmp(argv[index], "--strike"))
            only_weapon = named(argv[index + 1], weapon_names, WEAPONS, "any");
        else if (!strcmp(argv[index], "--lanes"))
            lane_count = strtoull(argv[index + 1], NULL, 0);
        else
            order.kind = -1;
    }
    if (order.kind < 0 || only_weapon < 0 || argc % 2 == 0 || !lane_count) {
        fprintf(stderr,
                "usage: race [--collisions N] [--kind recv|accept|close|write|pipe|sleep|join|all] "
                "[--lanes N]\n"
                "            [--strike kill|throw|foreign-kill|foreign-throw|deadline|any]\n");
        return 2;
    }
    order.collisions = share_of(order.collisions);
    seed = given ? strtoull(given, NULL, 0) : ((uint64_t)time(NULL) << 20 ^ (uint64_t)getpid());
    printf("GRING_SEED=%llu\n", (unsigned long long)seed);
    return gring_run(run, &order, NULL);
}
