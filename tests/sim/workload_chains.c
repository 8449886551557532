/*
 * Chains of sends, each a piece of one stream: what arrives is the stream, so nothing of a chain
 * may be sent once a link of it has broken, be it by a short send, a kill, a deadline, or a kernel
 * that took only a part of the chain. The results say exactly what was sent.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <greenring/uring.h>
#include <string.h>
#include <sys/socket.h>

enum { PAIRS_MAX = 6, LINKS_MAX = 8, BYTES_MAX = 5000, PIECE_MAX = 600 };

struct pair {
    int ends[2];
    uint64_t stream;
    size_t size, sent, received;
    gring_task *sender, *receiver;
    bool is_killed;
};

struct chain {
    struct io_uring_sqe sqes[LINKS_MAX];
    unsigned char bytes[LINKS_MAX][PIECE_MAX];
    int32_t results[LINKS_MAX];
    int count;
};

static void add_send(struct chain *chain, const struct pair *pair, size_t place, size_t size)
{
    unsigned char *bytes = chain->bytes[chain->count];

    sim_fill(bytes, size, pair->stream, place);
    chain->results[chain->count] = -ECANCELED; /* if nothing is begun */
    chain->sqes[chain->count++] =
        (struct io_uring_sqe){ .opcode = sim_chance(300) ? IORING_OP_SEND_ZC : IORING_OP_SEND,
                               .fd = pair->ends[0],
                               .addr = (uint64_t)(uintptr_t)bytes,
                               .len = (uint32_t)size,
                               .msg_flags = MSG_WAITALL | MSG_NOSIGNAL };
}

static void prepare(struct chain *chain, const struct pair *pair)
{
    int wanted = (int)sim_between(1, LINKS_MAX);
    size_t place = pair->sent;

    chain->count = 0;
    while (chain->count < wanted && place < pair->size) {
        size_t left = pair->size - place, size = sim_size(PIECE_MAX);

        size = size < left ? size : left;
        add_send(chain, pair, place, size);
        place += size;
    }
}

/* Whole ones, at most one that is not, and nothing behind that. */
static size_t check_results(const struct chain *chain)
{
    size_t sent = 0;
    bool broken = false;

    for (int index = 0; index < chain->count; index++) {
        int32_t result = chain->results[index];

        SIM_MUST(!broken || result == -ECANCELED || result == -ENOMEM);
        SIM_MUST(result <= (int32_t)chain->sqes[index].len);
        broken |= result < (int32_t)chain->sqes[index].len;
        sent += result > 0 ? (size_t)result : 0;
    }
    return sent;
}

static int run(struct chain *chain)
{
    gring_timeout timeout;
    int count;

    gring_timeout_start(&timeout, sim_chance(300) ? sim_duration(10 * GRING_MS) : GRING_FOREVER);
    count = gring_uring_chain(chain->sqes, chain->count, chain->results);
    gring_timeout_stop(&timeout);
    return count;
}

/* What a broken chain may say: each is no fault of the chain's. */
static bool goes_on(const struct chain *chain)
{
    for (int index = 0; index < chain->count; index++)
        if (chain->results[index] == -EPIPE || chain->results[index] == -ECONNRESET)
            return false;
    return true;
}

/* Also instead of the sender, if that is killed before it runs. */
static void hang_up(void *arg)
{
    gring_shutdown(((struct pair *)arg)->ends[0], SHUT_WR);
}

static void *send_all(void *arg)
{
    struct pair *pair = arg;
    struct chain chain;

    while (pair->sent < pair->size) {
        int count;

        prepare(&chain, pair);
        count = run(&chain);
        if (count < 0 && errno == EINVAL) { /* longer than the ring */
            SIM_MUST(chain.count > 1);
            chain.count = 1;
            chain.results[0] = -ECANCELED;
            count = run(&chain);
        }
        pair->sent += check_results(&chain);
        if (count < 0 && errno != ETIMEDOUT) {
            if (!(pair->is_killed && errno == ECANCELED))
                sim_excuse(errno);
            break;
        }
        if (!goes_on(&chain))
            break;
    }
    hang_up(pair);
    return NULL;
}

static gring_task *spawn_sender(struct pair *pair)
{
    gring_spawn_opts opts = GRING_SPAWN_INIT;

    opts.abort = hang_up;
    return gring_spawn_with(&opts, send_all, pair);
}

static void *receive_all(void *arg)
{
    struct pair *pair = arg;
    unsigned char piece[PIECE_MAX];
    ssize_t count;

    while ((count = gring_recv(pair->ends[1], piece, sim_size(sizeof piece), 0)) > 0) {
        SIM_MUST(sim_matches(piece, (size_t)count, pair->stream, pair->received) == (size_t)count);
        pair->received += (size_t)count;
    }
    if (count < 0)
        sim_excuse(errno);
    return NULL;
}

static bool begin(struct pair *pair)
{
    *pair = (struct pair){ .stream = sim_random(), .size = sim_size(BYTES_MAX) };
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair->ends) < 0) {
        sim_excuse(errno);
        return false;
    }
    pair->sender = spawn_sender(pair);
    if (!pair->sender) {
        sim_excuse(errno);
        hang_up(pair);
    }
    pair->receiver = gring_spawn(receive_all, pair);
    if (!pair->receiver) {
        sim_excuse(errno);
        gring_shutdown(pair->ends[1], SHUT_RDWR);
        if (pair->sender)
            gring_kill(pair->sender);
        pair->is_killed = true;
    }
    return true;
}

static void finish(struct pair *pair)
{
    if (pair->sender)
        gring_join(pair->sender, NULL);
    if (pair->receiver)
        gring_join(pair->receiver, NULL);
    gring_close(pair->ends[0]);
    gring_close(pair->ends[1]);
    SIM_MUST(pair->received == pair->sent || sim_is_rough());
    SIM_MUST(pair->sent == pair->size || pair->is_killed || sim_is_rough());
}

SIM_WORKLOAD(chains, SIM_RESETS | SIM_NO_MEMORY | SIM_NO_DESCRIPTORS)
{
    struct pair pairs[PAIRS_MAX];
    unsigned count = 0, wanted = (unsigned)sim_between(1, PAIRS_MAX);

    while (count < wanted && begin(&pairs[count]))
        count++;
    for (unsigned kills = (unsigned)sim_below(3); count && kills > 0; kills--) {
        struct pair *pair = &pairs[sim_below(count)];

        gring_sleep(sim_duration(100 * GRING_MS));
        if (!pair->sender)
            continue;
        pair->is_killed = true;
        gring_kill(pair->sender);
    }
    for (unsigned index = 0; index < count; index++)
        finish(&pairs[index]);
}
