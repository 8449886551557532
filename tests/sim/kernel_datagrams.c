/*
 * Datagram sockets: pairs as unix(7) has them, which lose nothing and make the sender wait for
 * room, and named ones as udp(7), whose datagrams overtake each other and get lost.
 */
#include "tests/sim/kernel.h"

#include <errno.h>
#include <string.h>

enum { DATAGRAM_MAX = 16384 };

struct datagram {
    struct list link;
    struct object *to;
    struct sockaddr_storage from;
    struct passed *passed;
    size_t size;
    unsigned char bytes[];
};

struct object *datagram_socket_new(void)
{
    struct object *socket = object_new(SOCKET_DATAGRAM);

    list_init(&socket->datagrams);
    socket->datagram_room = (unsigned)sim_between(1, 2 + world.mood.channel_bytes / 1024);
    return socket;
}

void datagram_join(struct object *left, struct object *right)
{
    left->peer = right;
    right->peer = left;
    left->is_pair = right->is_pair = true;
}

void datagram_release(struct object *socket)
{
    struct list *link;

    if (list_linked(&socket->listeners_link))
        list_unlink(&socket->listeners_link);
    while ((link = list_pop_front(&socket->datagrams)))
        passed_drop(CONTAINER_OF(link, struct datagram, link)->passed);
    if (!socket->peer)
        return;
    socket->peer->peer = NULL;
    object_changed(socket->peer);
}

unsigned datagram_events(const struct object *socket)
{
    unsigned events = socket->datagrams_arrived ? POLLIN : 0;
    bool has_room = !socket->is_pair || !socket->peer ||
                    socket->peer->datagrams_sent < socket->peer->datagram_room;

    return has_room ? events | POLLOUT : events;
}

/* ---- sending --------------------------------------------------------------------------------- */

/* Of a pair: it is in the queue already, and seen from now on. */
static void be_seen(void *arg, uint64_t unused)
{
    struct object *socket = arg;

    (void)unused;
    socket->datagrams_arrived++;
    object_changed(socket);
}

static void arrive(void *arg, uint64_t unused)
{
    struct datagram *datagram = arg;
    struct object *to = datagram->to;

    (void)unused;
    if (to->reference_count == 0 || to->datagrams_sent == to->datagram_room) {
        passed_drop(datagram->passed);
        sometimes(DATAGRAM_WAS_LOST);
        return;
    }
    list_push_back(&to->datagrams, &datagram->link);
    to->datagrams_sent++;
    be_seen(to, 0);
}

static struct object *target_of(const struct io_request *request)
{
    const struct msghdr *message = message_of(request);
    struct sockaddr_storage address = { 0 };

    if (!message || !message->msg_name)
        return request->object->peer;
    memcpy(&address, message->msg_name, smaller(message->msg_namelen, sizeof address));
    return datagram_socket_at(&address);
}

static struct datagram *datagram_new(struct io_request *request, struct passed *passed)
{
    size_t size = request_bytes(request);
    struct datagram *datagram = sim_alloc(sizeof *datagram + size);

    datagram->from = request->object->address;
    datagram->passed = passed;
    datagram->size = size;
    request_copy_out(request, datagram->bytes, size, 0);
    return datagram;
}

static void send_to_pair(struct object *to, struct datagram *datagram)
{
    list_push_back(&to->datagrams, &datagram->link);
    to->datagrams_sent++;
    kernel_at(sim_duration(world.mood.latency), be_seen, to, 0);
}

/* 0, or why not: nobody is there (told once, then there is no peer at all), too long, no room. */
static int check(struct object *from, const struct object *to, size_t size)
{
    if (size > DATAGRAM_MAX)
        return -EMSGSIZE;
    if (from->is_pair && !to) {
        int error = from->peer_was_missed ? -ENOTCONN : -ECONNREFUSED;

        from->peer_was_missed = true;
        return error;
    }
    return from->is_pair && to->datagrams_sent >= to->datagram_room ? WOULD_BLOCK : 0;
}

int datagram_send(struct io_request *request)
{
    struct object *from = request->object, *to = target_of(request);
    struct passed *passed = NULL;
    int error = check(from, to, request_bytes(request));
    struct datagram *datagram;

    if (error == 0 && message_of(request))
        error = passed_collect(message_of(request), &passed);
    if (error < 0)
        return error;
    datagram = datagram_new(request, passed);
    datagram->to = to;
    if (from->is_pair)
        send_to_pair(to, datagram);
    else if (to && !sim_chance(world.mood.short_transfer / 8))
        kernel_at(sim_duration(world.mood.latency), arrive, datagram, 0);
    else
        sometimes(DATAGRAM_WAS_LOST);
    return (int)datagram->size;
}

/* ---- receiving ------------------------------------------------------------------------------- */

static void tell_sender(struct io_request *request, const struct datagram *datagram)
{
    struct msghdr *message = message_of(request);
    bool is_named = datagram->from.ss_family != AF_UNSPEC;

    if (!message)
        return;
    if (datagram->passed)
        passed_deliver(request, datagram->passed);
    if (!message->msg_name || !is_named)
        return;
    memcpy(message->msg_name, &datagram->from,
           smaller(message->msg_namelen, sizeof(struct sockaddr_in)));
    request->name_bytes = sizeof(struct sockaddr_in);
}

static void take_away(struct object *socket, struct datagram *datagram)
{
    list_unlink(&datagram->link);
    passed_drop(datagram->passed);
    socket->datagrams_sent--;
    socket->datagrams_arrived--;
    if (socket->peer)
        object_changed(socket->peer);
}

int datagram_receive(struct io_request *request, unsigned flags)
{
    struct object *socket = request->object;
    struct datagram *datagram;
    size_t count, size;

    if (socket->datagrams_arrived == 0)
        return WOULD_BLOCK;
    datagram = CONTAINER_OF(socket->datagrams.next, struct datagram, link);
    size = datagram->size;
    count = smaller(request_bytes(request), size);
    request_copy_in(request, datagram->bytes, count, 0);
    if (count < size)
        request->message_flags |= MSG_TRUNC;
    tell_sender(request, datagram);
    if (!(flags & MSG_PEEK))
        take_away(socket, datagram);
    return (int)(flags & MSG_TRUNC ? size : count);
}
