/* What descriptors stand for: connections, pipes, listeners, files in memory; see kernel.h. */
#include "tests/sim/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

struct world world;

void kernel_at(gring_ns delay, agenda_fn run, void *arg, uint64_t ticket)
{
    agenda_add(&world.kernel, clock_after(world.now, delay), run, arg, ticket);
}

void world_begin(unsigned faults, const struct mood *mood)
{
    world = (struct world){ .now = CLOCK_SECOND,
                            .mood = *mood,
                            .faults = faults,
                            .descriptors_left = mood->descriptor_limit,
                            .next_port = 32768 };
    list_init(&world.requests);
    list_init(&world.listeners);
    list_init(&world.datagram_sockets);
    list_init(&world.names);
}

void world_check_empty(void)
{
    if (world.descriptor_count)
        for (int index = 0; index < FD_LIMIT; index++)
            if (world.descriptors[index])
                sim_fail("descriptor %d is still open (kind %d), and %u in all", FD_FIRST + index,
                         (int)world.descriptors[index]->kind, world.descriptor_count);
    if (request_count())
        sim_fail("%u requests are still in the kernel", request_count());
}

/* ---- channels -------------------------------------------------------------------------------- */

struct channel *channel_new(struct object *sender, struct object *receiver)
{
    struct channel *channel = sim_alloc(sizeof *channel);

    channel->capacity = sim_between(1, world.mood.channel_bytes);
    channel->bytes = sim_alloc(channel->capacity);
    channel->sender = sender;
    channel->receiver = receiver;
    list_init(&channel->passed);
    return channel;
}

static void note_end(struct channel *channel)
{
    if (!channel->ended || channel->arrived < channel->queued || channel->end_arrived)
        return;
    channel->end_arrived = true;
    if (channel->receiver)
        object_changed(channel->receiver);
}

static void bytes_arrive(void *arg, uint64_t size)
{
    struct channel *channel = arg;

    if (!channel->receiver && channel->sender) /* nobody is there any more: a reset comes back */
        connection_reset(channel->sender);
    if (channel->receiver && channel->receiver->broken)
        return; /* lost with the connection */
    channel->arrived += size;
    if (channel->receiver)
        object_changed(channel->receiver);
    note_end(channel);
}

static void end_arrives(void *arg, uint64_t unused)
{
    (void)unused;
    note_end(arg);
}

/* Takes what fits. The bytes are seen by the other side after some time, in order. */
size_t channel_send(struct channel *channel, const void *bytes, size_t size)
{
    const unsigned char *next = bytes;
    size_t room = channel->capacity - channel->queued;
    size_t count = size < room ? size : room;

    for (size_t index = 0; index < count; index++)
        channel->bytes[(channel->head + channel->queued + index) % channel->capacity] = next[index];
    channel->queued += count;
    if (count)
        kernel_at(sim_duration(world.mood.latency), bytes_arrive, channel, count);
    return count;
}

size_t channel_peek(const struct channel *channel, void *bytes, size_t size)
{
    unsigned char *next = bytes;
    size_t count = size < channel->arrived ? size : channel->arrived;

    for (size_t index = 0; index < count; index++)
        next[index] = channel->bytes[(channel->head + index) % channel->capacity];
    return count;
}

void channel_take(struct channel *channel, size_t size)
{
    channel->head = (channel->head + size) % channel->capacity;
    channel->queued -= size;
    channel->arrived -= size;
    channel->taken += size;
    if (channel->sender)
        object_changed(channel->sender);
    note_end(channel);
}

void channel_end(struct channel *channel)
{
    if (channel->ended)
        return;
    channel->ended = true;
    kernel_at(sim_duration(world.mood.latency), end_arrives, channel, 0);
}

/* ---- objects --------------------------------------------------------------------------------- */

struct object *object_new(enum object_kind kind)
{
    struct object *object = sim_alloc(sizeof *object);

    object->kind = kind;
    object->number = ++world.object_count;
    object->reference_count = 1;
    object->flags = kind == PIPE_READER ? O_RDONLY : O_RDWR;
    list_init(&object->waiters);
    list_init(&object->watchers);
    list_init(&object->accept_queue);
    return object;
}

void object_hold(struct object *object)
{
    object->reference_count++;
}

static void release_stream(struct object *object)
{
    if (object->in) {
        object->in->receiver = NULL;
        channel_drop_passed(object->in);
        if (object->in->sender)
            object_changed(object->in->sender);
    }
    if (object->out) {
        bool unread = object->in && object->in->arrived > 0 && object->kind == SOCKET_STREAM;

        if ((unread || object->linger_reset) && object->out->receiver)
            connection_reset(object->out->receiver);
        channel_end(object->out);
        object->out->sender = NULL;
    }
}

static void release_listener(struct object *object)
{
    struct list *link;

    list_unlink(&object->listeners_link);
    while ((link = list_pop_front(&object->accept_queue))) {
        struct object *socket = CONTAINER_OF(link, struct arrival, link)->socket;

        socket->linger_reset = true;
        object_drop(socket);
    }
}

void object_drop(struct object *object)
{
    if (--object->reference_count > 0)
        return;
    sim_note("release", object->number, object->kind, 0);
    epoll_release(object);
    if (object->kind == SOCKET_LISTENER)
        release_listener(object);
    else if (object->kind == SOCKET_DATAGRAM)
        datagram_release(object);
    else if (!object->fifo || object->kind == PIPE_WRITER)
        release_stream(object);
    if (object->fifo)
        fifo_release(object);
    if (object->lock)
        lock_release(object);
}

void object_changed(struct object *object)
{
    struct list *link = object->waiters.next, *next;

    for (; link != &object->waiters; link = next) {
        next = link->next; /* looking may take it out */
        request_look(CONTAINER_OF(link, struct io_request, wait_link));
    }
    epoll_changed(object);
    fifo_changed(object);
}

static unsigned end_events(const struct object *object)
{
    if (object->fifo)
        return fifo_hung_up(object) ? POLLHUP : 0;
    if (!object->in->end_arrived)
        return 0;
    return POLLIN | (object->kind == PIPE_READER ? POLLHUP : POLLRDHUP);
}

static unsigned stream_events(const struct object *object)
{
    unsigned events = object->in ? end_events(object) : 0;

    if (object->in && (object->in->arrived || object->receive_shut))
        events |= POLLIN;
    if (object->out && (object->out->queued < object->out->capacity || object->send_shut))
        events |= POLLOUT;
    if (object->kind == PIPE_WRITER && !object->out->receiver)
        events |= POLLERR | POLLOUT;
    if (object->error || object->broken)
        events |= POLLIN | POLLOUT | POLLERR | POLLHUP;
    return events;
}

unsigned object_events(const struct object *object)
{
    switch (object->kind) {
    case REGULAR_FILE:
        return POLLIN | POLLOUT;
    case EVENT_COUNTER:
        return (object->counter ? POLLIN : 0) | POLLOUT;
    case SOCKET_LISTENER:
        return !list_empty(&object->accept_queue) || object->receive_shut ? POLLIN : 0;
    case EPOLL:
        return epoll_events(object);
    case SOCKET_FRESH:
        return POLLOUT | POLLHUP;
    case SOCKET_DATAGRAM:
        return datagram_events(object);
    case SOCKET_CONNECTING:
        return object->error ? POLLOUT | POLLERR : 0;
    default:
        return stream_events(object);
    }
}

/* ---- descriptors ----------------------------------------------------------------------------- */

struct object *descriptor_object(int fd)
{
    return fd >= FD_FIRST && fd < FD_FIRST + FD_LIMIT ? world.descriptors[fd - FD_FIRST] : NULL;
}

unsigned sim_descriptor_count(void)
{
    return world.descriptor_count;
}

static int take_number(struct object *object, int index)
{
    world.descriptors[index] = object;
    world.descriptor_count++;
    world.descriptors_left--;
    sim_note("open", FD_FIRST + index, object->number, object->kind);
    return FD_FIRST + index;
}

/* The lowest free number, as POSIX wants it: so numbers are soon used again. */
int descriptor_new(struct object *object)
{
    if (world.descriptors_left &&
        !(world.mood.no_descriptor && !world.is_calm && sim_chance(world.mood.no_descriptor)))
        for (int index = 0; index < FD_LIMIT; index++)
            if (!world.descriptors[index])
                return take_number(object, index);
    object_drop(object);
    return -EMFILE;
}

int descriptor_close(int fd)
{
    struct object *object = descriptor_object(fd);

    if (!object)
        return -EBADF;
    sim_note("close", fd, object->number, 0);
    world.descriptors[fd - FD_FIRST] = NULL;
    world.descriptor_count--;
    world.descriptors_left++;
    object_drop(object);
    return 0;
}

int descriptor_replace(struct object *object, int fd)
{
    if (fd < FD_FIRST || fd >= FD_FIRST + FD_LIMIT)
        return -EBADF;
    object_hold(object);
    if (descriptor_object(fd))
        descriptor_close(fd);
    return take_number(object, fd - FD_FIRST);
}

/* ---- connections ----------------------------------------------------------------------------- */

static void reset_now(void *arg, uint64_t unused)
{
    struct object *socket = arg;

    (void)unused;
    connection_reset(socket);
    object_drop(socket);
}

/* The network's own reset, at any byte. */
static void plan_reset(struct object *socket)
{
    if (!sim_chance(world.mood.reset))
        return;
    object_hold(socket);
    kernel_at(sim_duration(CLOCK_SECOND), reset_now, socket, 0);
}

void connect_pair(struct object *client, struct object *server)
{
    client->kind = server->kind = SOCKET_STREAM;
    client->out = server->in = channel_new(client, server);
    server->out = client->in = channel_new(server, client);
    server->peer_address = client->address;
    plan_reset(client);
}

void pipe_join(struct object *reader, struct object *writer)
{
    reader->in = writer->out = channel_new(writer, reader);
    writer->flags = O_WRONLY;
}

static void break_end(struct object *object)
{
    if (object->broken)
        return;
    object->broken = true;
    object->error = -ECONNRESET;
    object_changed(object);
}

static void peer_learns(void *arg, uint64_t unused)
{
    struct object *socket = arg;

    (void)unused;
    break_end(socket);
    object_drop(socket);
}

/* This end knows at once, the other one after some time. What has arrived can still be read. */
void connection_reset(struct object *socket)
{
    struct object *peer = socket->out ? socket->out->receiver : NULL;

    if (socket->kind != SOCKET_STREAM || socket->broken)
        return;
    sometimes(CONNECTION_WAS_RESET);
    sim_note("reset", socket->number, 0, 0);
    break_end(socket);
    if (peer) {
        object_hold(peer);
        kernel_at(sim_duration(world.mood.latency), peer_learns, peer, 0);
    }
}

void sim_reset(int fd)
{
    struct object *object = descriptor_object(fd);

    if (object)
        connection_reset(object);
}

void socket_shutdown(struct object *socket, int how)
{
    if (how != SHUT_RD && !socket->send_shut) {
        socket->send_shut = true;
        if (socket->out)
            channel_end(socket->out);
    }
    if (how != SHUT_WR)
        socket->receive_shut = true;
    object_changed(socket);
}

/* ---- listeners ------------------------------------------------------------------------------- */

static bool same_address(const struct sockaddr_storage *left, const struct sockaddr_storage *right)
{
    if (left->ss_family != right->ss_family)
        return false;
    if (left->ss_family == AF_INET)
        return ((const struct sockaddr_in *)left)->sin_port ==
               ((const struct sockaddr_in *)right)->sin_port;
    return memcmp(left, right, sizeof(struct sockaddr_un)) == 0;
}

static struct object *socket_at(struct list *sockets, const struct sockaddr_storage *address)
{
    for (struct list *link = sockets->next; link != sockets; link = link->next) {
        struct object *socket = CONTAINER_OF(link, struct object, listeners_link);

        if (same_address(&socket->address, address))
            return socket;
    }
    return NULL;
}

struct object *listener_at(const struct sockaddr_storage *address)
{
    return socket_at(&world.listeners, address);
}

struct object *datagram_socket_at(const struct sockaddr_storage *address)
{
    return socket_at(&world.datagram_sockets, address);
}

int socket_bind(struct object *socket, const struct sockaddr *address, socklen_t length)
{
    struct sockaddr_storage wanted = { 0 };
    struct sockaddr_in *inet = (struct sockaddr_in *)&wanted;

    if (length > sizeof wanted)
        return -EINVAL;
    memcpy(&wanted, address, length);
    if (wanted.ss_family == AF_INET && inet->sin_port == 0)
        inet->sin_port = htons(world.next_port++);
    if (socket->kind == SOCKET_DATAGRAM ? datagram_socket_at(&wanted) : listener_at(&wanted))
        return -EADDRINUSE;
    if (socket->kind == SOCKET_DATAGRAM)
        list_push_back(&world.datagram_sockets, &socket->listeners_link);
    socket->address = wanted;
    socket->address_length = length;
    return 0;
}

int socket_listen(struct object *socket, int backlog)
{
    if (socket->kind != SOCKET_FRESH)
        return -EINVAL;
    if (listener_at(&socket->address))
        return -EADDRINUSE;
    socket->kind = SOCKET_LISTENER;
    socket->backlog = backlog > 0 ? (unsigned)backlog : 1;
    list_push_back(&world.listeners, &socket->listeners_link);
    return 0;
}
