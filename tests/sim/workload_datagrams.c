/*
 * Datagrams: pairs of sockets, which lose nothing and have little room, and named sockets, between
 * which much is lost; sent and received in every way there is, under kills and deadlines.
 *
 * A datagram arrives whole, or cut and said to be so; on a pair each that was reported as sent
 * arrives once, in order; between names none arrives twice, and each comes with its sender's
 * address.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PAIRS_MAX = 4, NAMED_MAX = 4, SENDS_MAX = 30, PIECE_MAX = 1200, BATCH_MAX = 4 };
enum { LAST_NUMBER = UINT32_MAX };

/* In front of each datagram. */
struct head {
    uint32_t sender, number, size;
};

struct letter {
    struct head head;
    unsigned char bytes[PIECE_MAX];
};

static bool was_interrupted(void)
{
    return errno == ECANCELED || errno == ETIMEDOUT;
}

static struct letter *letter_new(uint32_t sender, uint32_t number)
{
    struct letter *letter = sim_alloc(sizeof *letter);
    uint32_t size = (uint32_t)(sizeof letter->head + sim_size(PIECE_MAX) - 1);

    letter->head = (struct head){ .sender = sender, .number = number, .size = size };
    sim_fill(letter->bytes, size - sizeof letter->head, sender, number);
    return letter;
}

/* The buffer may have been smaller than the datagram. */
static void expect_letter(const struct letter *letter, size_t count, size_t room)
{
    size_t size = letter->head.size;

    SIM_MUST(count >= sizeof letter->head && count == (size < room ? size : room));
    count -= sizeof letter->head;
    SIM_MUST(sim_matches(letter->bytes, count, letter->head.sender, letter->head.number) == count);
}

static size_t any_room(void)
{
    return sim_chance(700) ? sizeof(struct letter) : sizeof(struct head) + sim_below(PIECE_MAX);
}

/* ---- pairs ----------------------------------------------------------------------------------- */

struct pair {
    int out_fd, in_fd;
    uint32_t id, sent, received;
    bool is_over;
    gring_task *sender, *receiver;
};

static int send_several(struct pair *pair)
{
    struct mmsghdr messages[BATCH_MAX] = { 0 };
    struct iovec parts[BATCH_MAX];
    unsigned count = (unsigned)sim_between(1, BATCH_MAX);
    int done;

    for (unsigned index = 0; index < count; index++) {
        struct letter *letter = letter_new(pair->id, pair->sent + index);

        parts[index] = (struct iovec){ .iov_base = letter, .iov_len = letter->head.size };
        messages[index].msg_hdr.msg_iov = &parts[index];
        messages[index].msg_hdr.msg_iovlen = 1;
    }
    done = gring_sendmmsg(pair->out_fd, messages, count, 0);
    for (int index = 0; index < done; index++)
        SIM_MUST(messages[index].msg_len == parts[index].iov_len);
    return done;
}

static int send_one(const struct pair *pair)
{
    struct letter *letter = letter_new(pair->id, pair->sent);
    int flags = sim_chance(200) ? MSG_DONTWAIT : 0;
    ssize_t count = gring_send(pair->out_fd, letter, letter->head.size, flags);

    SIM_MUST(count < 0 || count == (ssize_t)letter->head.size);
    return count < 0 ? -1 : 1;
}

static void *send_letters(void *arg)
{
    struct pair *pair = arg;
    unsigned steps = (unsigned)sim_size(SENDS_MAX);
    gring_timeout timeout;
    int done;

    while (steps-- > 0 && !gring_cancelled()) {
        gring_timeout_start(&timeout, sim_chance(300) ? sim_duration(GRING_SEC) : GRING_FOREVER);
        done = sim_chance(400) ? send_several(pair) : send_one(pair);
        gring_timeout_stop(&timeout);
        if (done > 0)
            pair->sent += (uint32_t)done;
        else if (!was_interrupted() && errno != EAGAIN)
            sim_excuse(errno);
    }
    return NULL;
}

static void take_letter(struct pair *pair, const struct letter *letter, size_t count, size_t room)
{
    expect_letter(letter, count, room);
    if (letter->head.number == LAST_NUMBER) {
        pair->is_over = true;
        return;
    }
    SIM_MUST(letter->head.sender == pair->id && letter->head.number == pair->received);
    pair->received++;
}

static int receive_several(struct pair *pair)
{
    struct mmsghdr messages[BATCH_MAX] = { 0 };
    struct iovec parts[BATCH_MAX];
    unsigned count = (unsigned)sim_between(1, BATCH_MAX);
    int done;

    for (unsigned index = 0; index < count; index++) {
        parts[index].iov_len = any_room();
        parts[index].iov_base = sim_alloc(sizeof(struct letter));
        messages[index].msg_hdr.msg_iov = &parts[index];
        messages[index].msg_hdr.msg_iovlen = 1;
    }
    done = gring_recvmmsg(pair->in_fd, messages, count, 0);
    for (int index = 0; index < done; index++)
        take_letter(pair, parts[index].iov_base, messages[index].msg_len, parts[index].iov_len);
    return done;
}

static int receive_one(struct pair *pair)
{
    struct letter *letter = sim_alloc(sizeof *letter);
    struct iovec part = { .iov_base = letter, .iov_len = any_room() };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    bool keeps = sim_chance(200);
    ssize_t count = gring_recvmsg(pair->in_fd, &message, keeps ? MSG_PEEK : 0);

    if (count < 0)
        return -1;
    SIM_MUST(!(message.msg_flags & MSG_TRUNC) == (letter->head.size <= part.iov_len));
    if (keeps)
        expect_letter(letter, (size_t)count, part.iov_len);
    else
        take_letter(pair, letter, (size_t)count, part.iov_len);
    return 1;
}

static void receive_step(struct pair *pair)
{
    int done = sim_chance(400) ? receive_several(pair) : receive_one(pair);

    if (done < 0 && !was_interrupted())
        sim_excuse(errno);
}

static void *receive_letters(void *arg)
{
    struct pair *pair = arg;
    gring_timeout timeout;

    while (!pair->is_over && !gring_cancelled()) {
        gring_timeout_start(&timeout, sim_chance(300) ? sim_duration(GRING_SEC) : GRING_FOREVER);
        receive_step(pair);
        gring_timeout_stop(&timeout);
    }
    return NULL;
}

static gring_task *spawn(void *(*fn)(void *arg), void *arg)
{
    gring_task *task = gring_spawn(fn, arg);

    if (!task)
        sim_excuse(errno);
    return task;
}

static bool open_pair(struct pair *pair, uint32_t id)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends) < 0) {
        sim_excuse(errno);
        return false;
    }
    *pair = (struct pair){ .out_fd = ends[0], .in_fd = ends[1], .id = id };
    pair->receiver = spawn(receive_letters, pair);
    pair->sender = spawn(send_letters, pair);
    return true;
}

static void end_task(gring_task *task, bool kills)
{
    if (task && kills)
        gring_kill(task);
    if (task)
        gring_join(task, NULL);
}

/* A killed receiver's letters are there for who comes after it; so the sender ends, too. */
static void *receive_the_rest(void *arg)
{
    struct pair *pair = arg;

    while (!pair->is_over)
        receive_step(pair);
    return NULL;
}

static void end_pair(struct pair *pair)
{
    struct letter *last = letter_new(pair->id, LAST_NUMBER);
    gring_task *successor;

    end_task(pair->receiver, true);
    successor = spawn(receive_the_rest, pair);
    end_task(pair->sender, !successor || sim_chance(300));
    if (successor) {
        while (gring_send(pair->out_fd, last, last->head.size, 0) < 0)
            sim_excuse(errno);
        gring_join(successor, NULL);
        SIM_MUST(pair->received == pair->sent);
    }
    gring_close(pair->out_fd);
    gring_close(pair->in_fd);
}

SIM_WORKLOAD(datagram_pairs, SIM_NO_MEMORY)
{
    struct pair pairs[PAIRS_MAX];
    uint32_t wanted = (uint32_t)sim_between(1, PAIRS_MAX), count = 0;

    while (count < wanted && open_pair(&pairs[count], count + 1))
        count++;
    gring_sleep(sim_duration(GRING_SEC));
    for (uint32_t index = 0; index < count; index++)
        end_pair(&pairs[index]);
}

/* ---- names ----------------------------------------------------------------------------------- */

/* What came from whom: a bit for each number. */
struct named {
    int fd;
    uint32_t id, sent;
    uint64_t seen[NAMED_MAX];
    gring_task *sender, *receiver;
};

static struct named *all_named;

static struct sockaddr_in address_of(uint32_t id)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)(100 + id)),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static void *send_around(void *arg)
{
    struct named *named = arg;
    unsigned steps = (unsigned)sim_size(SENDS_MAX);

    for (; steps-- > 0 && !gring_cancelled(); named->sent++) {
        struct letter *letter = letter_new(named->id, named->sent);
        struct sockaddr_in to = address_of((uint32_t)sim_below(NAMED_MAX));
        ssize_t count = gring_sendto(named->fd, letter, letter->head.size, 0,
                                     (struct sockaddr *)&to, sizeof to);

        SIM_MUST(count < 0 || count == (ssize_t)letter->head.size);
        if (count < 0 && !was_interrupted())
            sim_excuse(errno);
        if (sim_chance(300) && gring_sleep(sim_duration(GRING_MS)) < 0)
            break;
    }
    return NULL;
}

static void note_seen(struct named *named, const struct letter *letter,
                      const struct sockaddr_in *from)
{
    uint32_t sender = letter->head.sender, number = letter->head.number;

    SIM_MUST(sender < NAMED_MAX && number < 64);
    SIM_MUST(from->sin_port == address_of(sender).sin_port);
    SIM_MUST(!(named->seen[sender] >> number & 1)); /* twice? */
    SIM_MUST(number <= all_named[sender].sent);
    named->seen[sender] |= (uint64_t)1 << number;
}

static void *receive_around(void *arg)
{
    struct named *named = arg;
    struct letter *letter = sim_alloc(sizeof *letter);

    while (!gring_cancelled()) {
        struct sockaddr_in from = { 0 };
        socklen_t length = sizeof from;
        size_t room = any_room();
        ssize_t count =
            gring_recvfrom(named->fd, letter, room, 0, (struct sockaddr *)&from, &length);

        if (count < 0 && errno == EBADF)
            break;
        if (count < 0 && !was_interrupted())
            sim_excuse(errno);
        if (count < 0)
            continue;
        expect_letter(letter, (size_t)count, room);
        SIM_MUST(length == sizeof from);
        note_seen(named, letter, &from);
    }
    return NULL;
}

static void open_named(struct named *named, uint32_t id)
{
    struct sockaddr_in address = address_of(id);

    *named = (struct named){ .fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), .id = id };
    if (named->fd < 0) {
        sim_excuse(errno);
        return;
    }
    SIM_MUST(bind(named->fd, (struct sockaddr *)&address, sizeof address) == 0);
    named->receiver = spawn(receive_around, named);
    named->sender = spawn(send_around, named);
}

/* The receiver waits for ever: it is killed, or its socket is closed. */
static void end_named(struct named *named)
{
    if (named->fd < 0)
        return;
    end_task(named->sender, sim_chance(200));
    gring_sleep(sim_duration(10 * GRING_MS));
    if (sim_chance(500)) {
        gring_close(named->fd);
        end_task(named->receiver, false);
    } else {
        end_task(named->receiver, true);
        gring_close(named->fd);
    }
}

SIM_WORKLOAD(datagrams, SIM_NO_MEMORY | SIM_NO_DESCRIPTORS)
{
    all_named = sim_alloc(NAMED_MAX * sizeof *all_named);
    for (uint32_t id = 0; id < NAMED_MAX; id++)
        open_named(&all_named[id], id);
    for (uint32_t id = 0; id < NAMED_MAX; id++)
        end_named(&all_named[id]);
}
