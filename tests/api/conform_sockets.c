/*
 * Each call of greenring/net.h that has a POSIX original, made as that and as ours, on descriptors
 * of every kind; and calls that have to wait for another thread: tests/support/conform.h.
 */
#include "tests/support/objects.h"

/* clang-format off */

#define NOBODY ((void *)(uintptr_t)8) /* no memory there */
#define HUGE_SIZE ((size_t)SSIZE_MAX)

#define SEVERAL "of several mistakes in one call any may be the one that is reported"
#define MESSAGES_FIRST "an error that waits on the socket comes after the messages that are there"

static const struct difference differences[] = {
    { "accept4_with_an_unknown_flag", NULL, -1, EINVAL, SEVERAL },
    { "connect_to_an_address_too_long", NULL, -1, EINVAL, SEVERAL },
    { "connect_to_an_address_that_is_not_there", NULL, -1, EFAULT, SEVERAL },
    { "connect_to_nobody", "tcp_unconnected", -1, ECONNREFUSED, "a socket that has failed to connect is of no more use" },
    { "recvfrom_telling_nobody_the_address", NULL, -1, EFAULT, SEVERAL },
    { "recvfrom_with_negative_room_for_the_address", NULL, -1, EINVAL, SEVERAL },
    { "recvmsg_into_too_many_parts", NULL, -1, EMSGSIZE, SEVERAL },
    { "recvmsg_of_a_message_that_is_not_there", NULL, -1, EFAULT, SEVERAL },
    { "recvmsg_with_negative_room", NULL, -1, EINVAL, SEVERAL },
    { "recvmmsg_*", "tcp_reset", 1, 0, MESSAGES_FIRST },
    { "recvmmsg_*", "unix_stream_reset", 1, 0, MESSAGES_FIRST },
    { "sendmsg_of_too_many_parts", NULL, -1, EMSGSIZE, SEVERAL },
    { "sendto_an_address_that_is_not_there", NULL, -1, EFAULT, SEVERAL },
    { "sendto_an_address_too_long", NULL, -1, EINVAL, SEVERAL },
    { 0 },
};

static struct sockaddr *from(struct memory *m)
{
    return (struct sockaddr *)&m->address;
}

/* ---- addresses to go to ---------------------------------------------------------------------- */

static struct sockaddr *to(const struct sockaddr_in *address)
{
    return (struct sockaddr *)(uintptr_t)address;
}

static struct sockaddr *listening(void)
{
    static struct sockaddr_in address;

    address = address_of(LISTENER);
    return to(&address);
}

/* Where nobody is: a port that is bound and does not listen. */
static struct sockaddr *refusing(void)
{
    static struct sockaddr_in address;

    put(make_udp(), SPARE);
    address = address_of(SPARE);
    close(SPARE);
    return to(&address);
}

static struct sockaddr *receiving(void)
{
    static struct sockaddr_in address;

    put(make_udp(), SPARE);
    address = address_of(SPARE);
    return to(&address);
}

static struct sockaddr *unspecified(void)
{
    static struct sockaddr address = { .sa_family = AF_UNSPEC };

    return &address;
}

static struct sockaddr *missing(void)
{
    static struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/nowhere/at/all" };

    return (struct sockaddr *)&address;
}

enum { INET = sizeof(struct sockaddr_in), UNIX = sizeof(struct sockaddr_un) };

/* ---- messages -------------------------------------------------------------------------------- */

static struct msghdr *addressed(struct memory *m, struct sockaddr *address, socklen_t length)
{
    m->outgoing.msg_name = address;
    m->outgoing.msg_namelen = length;
    return &m->outgoing;
}

static struct msghdr *without_parts(struct memory *m)
{
    m->outgoing.msg_iovlen = 0;
    m->outgoing.msg_iov = NULL;
    return &m->outgoing;
}

static struct msghdr *of_many_parts(struct memory *m, size_t count)
{
    static struct iovec parts[IOV_MAX + 1];

    for (size_t index = 0; index < count; index++)
        parts[index] = (struct iovec){ m->buf, 1 };
    m->outgoing.msg_iov = parts;
    m->outgoing.msg_iovlen = count;
    return &m->outgoing;
}

static struct msghdr *with_descriptor(struct memory *m, int fd)
{
    static union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;

    control.header = (struct cmsghdr){ CMSG_LEN(sizeof fd), SOL_SOCKET, SCM_RIGHTS };
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    m->outgoing.msg_control = &control;
    m->outgoing.msg_controllen = sizeof control;
    return &m->outgoing;
}

static struct msghdr *with_nonsense(struct memory *m)
{
    m->outgoing.msg_control = m->control; /* not a header */
    m->outgoing.msg_controllen = 24;
    return &m->outgoing;
}

static struct msghdr *with_little_room(struct memory *m, size_t control, socklen_t name)
{
    m->message.msg_controllen = control;
    m->message.msg_namelen = name;
    return &m->message;
}

/* ---- receiving ------------------------------------------------------------------------------- */

Same(recv, of_eight_bytes, descriptors, call->recv(s->fd, m->buf, 8, 0))
Same(recv, of_more_than_there_is, descriptors, call->recv(s->fd, m->buf, 64, 0))
Same(recv, of_nothing, descriptors, call->recv(s->fd, m->buf, 0, MSG_DONTWAIT))
Same(recv, without_taking, descriptors, call->recv(s->fd, m->buf, 8, MSG_PEEK))
Same(recv, without_waiting, descriptors, call->recv(s->fd, m->buf, 8, MSG_DONTWAIT))
Same(recv, of_all, descriptors, call->recv(s->fd, m->buf, 12, MSG_WAITALL))
Same(recv, telling_what_was_cut, descriptors, call->recv(s->fd, m->buf, 4, MSG_TRUNC))
Same(recv, of_urgent_data, descriptors, call->recv(s->fd, m->buf, 8, MSG_OOB))
Same(recv, of_errors, descriptors, call->recv(s->fd, m->buf, 8, MSG_ERRQUEUE))
Same(recvfrom, of_eight_bytes, descriptors, call->recvfrom(s->fd, m->buf, 8, 0, from(m), &m->length))
Same(recvfrom, with_little_room_for_the_address, descriptors, (m->length = 2, call->recvfrom(s->fd, m->buf, 8, 0, from(m), &m->length)))
Same(recvfrom, with_no_room_for_the_address, descriptors, (m->length = 0, call->recvfrom(s->fd, m->buf, 8, 0, from(m), &m->length)))
Same(recvfrom, with_negative_room_for_the_address, descriptors, (m->length = (socklen_t)-1, call->recvfrom(s->fd, m->buf, 8, 0, from(m), &m->length)))
Same(recvfrom, of_nobody_in_particular, descriptors, call->recvfrom(s->fd, m->buf, 8, 0, NULL, NULL))
Same(recvfrom, without_taking, descriptors, call->recvfrom(s->fd, m->buf, 8, MSG_PEEK, from(m), &m->length))
Same(recvmsg, with_everything, descriptors, call->recvmsg(s->fd, &m->message, 0))
Same(recvmsg, with_descriptors_that_close_on_exec, descriptors, call->recvmsg(s->fd, &m->message, MSG_CMSG_CLOEXEC))
Same(recvmsg, with_no_room_for_more, descriptors, call->recvmsg(s->fd, &m->outgoing, 0))
Same(recvmsg, with_little_room, descriptors, call->recvmsg(s->fd, with_little_room(m, 4, 2), 0))
Same(recvmsg, with_negative_room, descriptors, call->recvmsg(s->fd, with_little_room(m, 64, (socklen_t)-1), 0))
Same(recvmsg, telling_what_was_cut, descriptors, call->recvmsg(s->fd, &m->message, MSG_TRUNC))
Same(recvmsg, without_taking, descriptors, call->recvmsg(s->fd, &m->message, MSG_PEEK | MSG_CMSG_CLOEXEC))
Same(recvmsg, into_no_part, descriptors, call->recvmsg(s->fd, without_parts(m), MSG_DONTWAIT))
Same(recvmsg, into_too_many_parts, descriptors, call->recvmsg(s->fd, of_many_parts(m, IOV_MAX + 1), 0))
Same(recvmsg, into_as_many_parts_as_go, descriptors, call->recvmsg(s->fd, of_many_parts(m, IOV_MAX), 0))
Same(recvmsg, of_errors, descriptors, call->recvmsg(s->fd, &m->message, MSG_ERRQUEUE))
Same(recvmmsg, of_three, descriptors, call->recvmmsg(s->fd, m->messages, 3, 0))
Same(recvmmsg, of_one, descriptors, call->recvmmsg(s->fd, m->messages, 1, 0))
Same(recvmmsg, of_none, descriptors, call->recvmmsg(s->fd, m->messages, 0, 0))
Same(recvmmsg, without_waiting, descriptors, call->recvmmsg(s->fd, m->messages, 3, MSG_DONTWAIT))

/* ---- sending --------------------------------------------------------------------------------- */

Same(send, of_eight_bytes, descriptors, call->send(s->fd, m->buf, 8, 0))
Same(send, of_nothing, descriptors, call->send(s->fd, m->buf, 0, 0))
Same(send, without_waiting, descriptors, call->send(s->fd, m->buf, 8, MSG_DONTWAIT))
Same(send, with_more_to_come, descriptors, call->send(s->fd, m->buf, 8, MSG_EOR))
Same(send, of_urgent_data, descriptors, call->send(s->fd, m->buf, 8, MSG_OOB))
Same(sendto, nobody_in_particular, descriptors, call->sendto(s->fd, m->buf, 8, 0, NULL, 0))
Same(sendto, somebody, descriptors, call->sendto(s->fd, m->buf, 8, 0, receiving(), INET))
Same(sendto, nobody, descriptors, call->sendto(s->fd, m->buf, 8, 0, refusing(), INET))
Same(sendto, an_address_cut_short, descriptors, call->sendto(s->fd, m->buf, 8, 0, listening(), 5))
Same(sendto, an_address_too_long, descriptors, call->sendto(s->fd, m->buf, 8, 0, listening(), 5000))
Same(sendto, a_missing_name, descriptors, call->sendto(s->fd, m->buf, 8, 0, missing(), UNIX))
Same(sendto, of_nothing, descriptors, call->sendto(s->fd, m->buf, 0, 0, receiving(), INET))
Same(sendmsg, of_two_parts, descriptors, call->sendmsg(s->fd, &m->outgoing, 0))
Same(sendmsg, of_no_part, descriptors, call->sendmsg(s->fd, without_parts(m), 0))
Same(sendmsg, of_too_many_parts, descriptors, call->sendmsg(s->fd, of_many_parts(m, IOV_MAX + 1), 0))
Same(sendmsg, of_as_many_parts_as_go, descriptors, call->sendmsg(s->fd, of_many_parts(m, IOV_MAX), 0))
Same(sendmsg, to_somebody, descriptors, call->sendmsg(s->fd, addressed(m, receiving(), INET), 0))
Same(sendmsg, to_a_missing_name, descriptors, call->sendmsg(s->fd, addressed(m, missing(), UNIX), 0))
Same(sendmsg, with_a_descriptor, descriptors, call->sendmsg(s->fd, with_descriptor(m, FILE_FD), 0))
Same(sendmsg, with_a_closed_descriptor, descriptors, call->sendmsg(s->fd, with_descriptor(m, -1), 0))
Same(sendmsg, with_nonsense_alongside, descriptors, call->sendmsg(s->fd, with_nonsense(m), 0))
Same(sendmsg, without_waiting, descriptors, call->sendmsg(s->fd, &m->outgoing, MSG_DONTWAIT))
Same(sendmmsg, of_three, descriptors, call->sendmmsg(s->fd, m->outgoings, 3, 0))
Same(sendmmsg, of_one, descriptors, call->sendmmsg(s->fd, m->outgoings, 1, 0))
Same(sendmmsg, of_none, descriptors, call->sendmmsg(s->fd, m->outgoings, 0, 0))
Same(sendmmsg, without_waiting, descriptors, call->sendmmsg(s->fd, m->outgoings, 3, MSG_DONTWAIT))

/* ---- connections ----------------------------------------------------------------------------- */

Same(accept, with_an_address, descriptors, given(call, m, call->accept(s->fd, from(m), &m->length)))
Same(accept, without_an_address, descriptors, given(call, m, call->accept(s->fd, NULL, NULL)))
Same(accept, with_little_room, descriptors, (m->length = 4, given(call, m, call->accept(s->fd, from(m), &m->length))))
Same(accept, with_negative_room, descriptors, (m->length = (socklen_t)-1, given(call, m, call->accept(s->fd, from(m), &m->length))))
Same(accept4, with_flags, descriptors, given(call, m, call->accept4(s->fd, from(m), &m->length, SOCK_CLOEXEC | SOCK_NONBLOCK)))
Same(accept4, with_an_unknown_flag, descriptors, given(call, m, call->accept4(s->fd, from(m), &m->length, 1)))
Same(connect, to_who_listens, descriptors, call->connect(s->fd, listening(), INET))
Same(connect, to_nobody, descriptors, call->connect(s->fd, refusing(), INET))
Same(connect, to_no_family, descriptors, call->connect(s->fd, unspecified(), sizeof(struct sockaddr)))
Same(connect, to_an_address_cut_short, descriptors, call->connect(s->fd, listening(), 5))
Same(connect, to_an_empty_address, descriptors, call->connect(s->fd, listening(), 0))
Same(connect, to_an_address_too_long, descriptors, call->connect(s->fd, listening(), 5000))
Same(connect, to_a_missing_name, descriptors, call->connect(s->fd, missing(), UNIX))
Same(shutdown, for_sending, descriptors, call->shutdown(s->fd, SHUT_WR))
Same(shutdown, for_receiving, descriptors, call->shutdown(s->fd, SHUT_RD))
Same(shutdown, for_both, descriptors, call->shutdown(s->fd, SHUT_RDWR))
Same(shutdown, in_an_unknown_way, descriptors, call->shutdown(s->fd, 9))

/* ---- bad memory ------------------------------------------------------------------------------
 * AddressSanitizer looks at the originals' memory before the kernel does. */

#if !UNDER_ASAN
static struct msghdr *part_of(struct memory *m, void *base, size_t size)
{
    m->iov[0] = (struct iovec){ base, size };
    m->outgoing.msg_iovlen = 1;
    return &m->outgoing;
}

Same(recv, into_no_memory, descriptors, call->recv(s->fd, NOBODY, 8, 0))
Same(recv, of_the_largest_size, descriptors, call->recv(s->fd, NOBODY, HUGE_SIZE, 0))
Same(recvfrom, telling_nobody_the_address, descriptors, call->recvfrom(s->fd, m->buf, 8, 0, NOBODY, &m->length))
Same(recvmsg, into_no_memory, descriptors, call->recvmsg(s->fd, part_of(m, NOBODY, 8), 0))
Same(recvmsg, of_a_message_that_is_not_there, descriptors, call->recvmsg(s->fd, NOBODY, 0))
Same(send, from_no_memory, descriptors, call->send(s->fd, NOBODY, 8, 0))
Same(send, of_the_largest_size, descriptors, call->send(s->fd, NOBODY, HUGE_SIZE, 0))
Same(sendto, an_address_that_is_not_there, descriptors, call->sendto(s->fd, m->buf, 8, 0, NOBODY, INET))
Same(sendmsg, from_no_memory, descriptors, call->sendmsg(s->fd, part_of(m, NOBODY, 8), 0))
Same(accept, telling_nobody_the_address, descriptors, given(call, m, call->accept(s->fd, NOBODY, &m->length)))
Same(accept, with_a_length_that_is_not_there, descriptors, given(call, m, call->accept(s->fd, from(m), NOBODY)))
Same(connect, to_an_address_that_is_not_there, descriptors, call->connect(s->fd, NOBODY, INET))
#endif

/* ---- calls that wait ------------------------------------------------------------------------- */

static void give(const struct scene *s)
{
    greet(s->peer);
}

static void leave(const struct scene *s)
{
    close(s->peer);
}

static void take(const struct scene *s)
{
    static char bytes[1 << 20];

    while (read(s->peer, bytes, sizeof bytes) == (ssize_t)sizeof bytes)
        ;
}

static void reset(const struct scene *s)
{
    reset_peer(s->peer);
}

static void call_in(const struct scene *s)
{
    put(plain_connect(s->fd), s->peer);
}

static void empty(int fd)
{
    char bytes[64];

    cr_assert_gt(read(fd, bytes, sizeof bytes), 0);
}

/* An object of the list above that has nothing to give until its peer acts. */
#define LATER(name, object, action)                                                                \
    static void name(struct scene *s)                                                              \
    {                                                                                              \
        object(s);                                                                                 \
        empty(FD);                                                                                 \
        s->help = action;                                                                          \
    }

LATER(pipe_given_to, pipe_to_read, give)
LATER(pipe_left, pipe_to_read, leave)
LATER(pipe_nonblocking_left, pipe_without_writer, NULL)
LATER(tcp_given_to, tcp, give)
LATER(tcp_left, tcp, leave)
LATER(tcp_reset_later, tcp, reset)
LATER(stream_given_to, unix_stream, give)
LATER(stream_left, unix_stream, leave)
LATER(packets_given_to, unix_packets, give)
LATER(packets_left, unix_packets, leave)

static void udp_given_to(struct scene *s)
{
    udp(s);
    empty(FD);
    empty(FD);
    s->help = give;
}

static void listener_called(struct scene *s)
{
    add_companions();
    put(make_listener(2), FD);
    s->help = call_in;
}

static void pipe_full(struct scene *s)
{
    pipe_to_write(s);
    fill(FD);
    s->help = take;
}

static void pipe_full_and_left(struct scene *s)
{
    pipe_to_write(s);
    fill(FD);
    s->help = leave;
}

static const struct object given_later[] = {
    OBJECT(pipe_given_to), OBJECT(pipe_left), OBJECT(pipe_nonblocking_left), OBJECT(tcp_given_to),
    OBJECT(tcp_left), OBJECT(tcp_reset_later), OBJECT(stream_given_to), OBJECT(stream_left),
    OBJECT(packets_given_to), OBJECT(packets_left), OBJECT(udp_given_to), { 0 },
};
static const struct object called_later[] = { OBJECT(listener_called), { 0 } };
static const struct object room_later[] = { OBJECT(pipe_full), OBJECT(pipe_full_and_left), { 0 } };

Same(waiting, read, given_later, call->read(s->fd, m->buf, 64))
Same(waiting, readv, given_later, call->readv(s->fd, m->iov, 3))
Same(waiting, preadv2, given_later, call->preadv2(s->fd, m->iov, 3, -1, 0))
Same(waiting, recv, given_later, call->recv(s->fd, m->buf, 64, 0))
Same(waiting, recv_without_taking, given_later, call->recv(s->fd, m->buf, 64, MSG_PEEK))
Same(waiting, recv_of_all, given_later, call->recv(s->fd, m->buf, 12, MSG_WAITALL))
Same(waiting, recvfrom, given_later, call->recvfrom(s->fd, m->buf, 64, 0, from(m), &m->length))
Same(waiting, recvmsg, given_later, call->recvmsg(s->fd, &m->message, 0))
Same(waiting, recvmmsg, given_later, call->recvmmsg(s->fd, m->messages, 3, 0))
Same(waiting, poll, given_later, call->poll(m->polled, 1, -1))
Same(waiting, select, given_later, call->select(FD_END, &m->sets[0], NULL, NULL, NULL))
Same(waiting, splice, given_later, call->splice(s->fd, NULL, PIPE_IN, NULL, 64, 0))
Same(waiting, accept, called_later, given(call, m, call->accept(s->fd, from(m), &m->length)))
Same(waiting, poll_for_a_connection, called_later, call->poll(m->polled, 1, -1))
Same(waiting, write, room_later, call->write(s->fd, m->buf, 64))
Same(waiting, poll_for_room, room_later, (m->polled[0].events = POLLOUT, call->poll(m->polled, 1, -1)))
Same(waiting, splice_for_room, room_later, call->splice(FILE_FD, NULL, s->fd, NULL, 8, 0))
