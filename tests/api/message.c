/* Messages: addresses, several buffers, ancillary data, several at once, descriptors passed on. */
#include "tests/support/fds.h"
#include "tests/support/green.h"

#include <greenring/debug.h>
#include <linux/errqueue.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>

enum { ERRNO_BEFORE = 4242, MUCH = 4 << 20 };

/* ---- sockets --------------------------------------------------------------------------------- */

static int make_udp(void)
{
    struct sockaddr_in address = loopback(0);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0, "%m");
    return fd;
}

/* Two UDP sockets that are connected to each other. */
static void make_udp_pair(int ends[2])
{
    struct sockaddr_in addresses[2];

    for (int index = 0; index < 2; index++) {
        ends[index] = make_udp();
        addresses[index] = address_of(ends[index]);
    }
    for (int index = 0; index < 2; index++)
        cr_assert_eq(
            connect(ends[index], (struct sockaddr *)&addresses[!index], sizeof addresses[0]), 0);
}

static void make_pair(int type, int ends[2])
{
    cr_assert_eq(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends), 0, "%m");
}

/* ---- calls in tasks of their own ------------------------------------------------------------- */

struct call {
    int fd, flags;
    unsigned count;
    struct msghdr *message;
    struct mmsghdr *messages;
    ssize_t result, next_result;
    int error, next_error, received_fd;
    char bytes[64];
};

/* And what the next waiting call says. */
static void *end_call(struct call *call, ssize_t result)
{
    call->error = errno;
    call->result = result;
    call->next_result = gring_yield();
    call->next_error = errno;
    return NULL;
}

static void *do_recvmsg(void *arg)
{
    struct call *call = arg;

    errno = ERRNO_BEFORE;
    return end_call(call, gring_recvmsg(call->fd, call->message, call->flags));
}

static void *do_sendmsg(void *arg)
{
    struct call *call = arg;

    errno = ERRNO_BEFORE;
    return end_call(call, gring_sendmsg(call->fd, call->message, call->flags));
}

static void *do_recvfrom(void *arg)
{
    struct call *call = arg;
    struct sockaddr_storage address;
    socklen_t length = sizeof address;

    errno = ERRNO_BEFORE;
    return end_call(call, gring_recvfrom(call->fd, call->bytes, sizeof call->bytes, call->flags,
                                         (struct sockaddr *)&address, &length));
}

static void *do_recvmmsg(void *arg)
{
    struct call *call = arg;

    errno = ERRNO_BEFORE;
    return end_call(call, gring_recvmmsg(call->fd, call->messages, call->count, call->flags));
}

static void *do_sendmmsg(void *arg)
{
    struct call *call = arg;

    errno = ERRNO_BEFORE;
    return end_call(call, gring_sendmmsg(call->fd, call->messages, call->count, call->flags));
}

static void *do_recv_fd(void *arg)
{
    struct call *call = arg;

    errno = ERRNO_BEFORE;
    return end_call(call, gring_recv_fd(call->fd, &call->received_fd, call->bytes, 64));
}

static void *do_send_fd(void *arg)
{
    struct call *call = arg;

    errno = ERRNO_BEFORE;
    return end_call(call, gring_send_fd(call->fd, call->fd, "x", 1));
}

static void *do_sendto(void *arg)
{
    struct call *call = arg;
    static struct sockaddr_un address; /* a stream is connected: it is not looked at */
    static char much[MUCH];

    address.sun_family = AF_UNIX;
    errno = ERRNO_BEFORE;
    return end_call(call, gring_sendto(call->fd, much, sizeof much, call->flags,
                                       call->flags ? NULL : (struct sockaddr *)&address,
                                       call->flags ? 0 : sizeof address));
}

static gring_task *spawn_waiting(gring_fn fn, struct call *call)
{
    gring_task *task = gring_spawn(fn, call);

    cr_assert_not_null(task);
    gring_idle();
    cr_assert_eq(gring_task_state(task), GRING_PARKED, "the call did not wait: %zd", call->result);
    return task;
}

static void on_a_plain_thread(gring_fn fn, struct call *call)
{
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, fn, call), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

/* A parked call is ended by a kill, a throw and a close, and nothing was taken or given. */
static void expect_to_be_interruptible(gring_fn fn, struct call *call)
{
    gring_task *task = spawn_waiting(fn, call);

    gring_kill(task);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    cr_assert_eq(call->result, -1);
    cr_assert_eq(call->error, ECANCELED);
    task = spawn_waiting(fn, call);
    gring_throw(task, ETIME);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call->error, ETIME);
    cr_assert_eq(call->next_result, 0, "thrown once");
    gring_within_do(GRING_MS) fn(call);
    cr_assert_eq(call->result, -1);
    cr_assert_eq(call->error, ETIMEDOUT);
    task = spawn_waiting(fn, call);
    cr_assert_eq(gring_close(call->fd), 0);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call->result, -1);
    cr_assert_eq(call->error, EBADF);
}

/* ---- addresses ------------------------------------------------------------------------------- */

GreenTest(recvfrom, tells_who_sent_it)
{
    int receiver = make_udp(), sender = make_udp();
    struct sockaddr_in to = address_of(receiver), from = { 0 }, expected = address_of(sender);
    socklen_t length = sizeof from;
    char buf[8];

    errno = ERRNO_BEFORE;
    cr_assert_eq(gring_sendto(sender, "hello", 5, 0, (struct sockaddr *)&to, sizeof to), 5);
    cr_assert_eq(gring_recvfrom(receiver, buf, sizeof buf, 0, (struct sockaddr *)&from, &length),
                 5);
    cr_assert_eq(errno, ERRNO_BEFORE);
    cr_assert_arr_eq(buf, "hello", 5);
    cr_assert_eq(length, sizeof from);
    cr_assert_eq(from.sin_port, expected.sin_port);
    cr_assert_eq(gring_sendto(sender, "again", 5, 0, (struct sockaddr *)&to, sizeof to), 5);
    cr_assert_eq(gring_recvfrom(receiver, buf, sizeof buf, 0, NULL, NULL), 5);
    close(receiver), close(sender);
}

GreenTest(recvfrom, works_over_IPv6_and_cuts_the_address_to_the_room_there_is)
{
    struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int receiver = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int sender = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    unsigned char room[4] = { 0, 0, 0x55, 0x55 };
    socklen_t length = sizeof to;
    char byte;

    if (receiver < 0 || bind(receiver, (struct sockaddr *)&to, sizeof to) < 0)
        cr_skip_test("no IPv6 here");
    cr_assert_eq(getsockname(receiver, (struct sockaddr *)&to, &length), 0);
    cr_assert_eq(gring_sendto(sender, "6", 1, 0, (struct sockaddr *)&to, sizeof to), 1);
    length = 2;
    cr_assert_eq(gring_recvfrom(receiver, &byte, 1, 0, (struct sockaddr *)room, &length), 1);
    cr_assert_eq(length, sizeof to, "the full length is told");
    cr_assert_eq(room[2], 0x55, "written past the end");
    close(receiver), close(sender);
}

GreenTest(recvfrom, keeps_the_borders_of_unix_datagrams_and_tells_their_full_length)
{
    int pair[2];
    char buf[3];
    struct sockaddr_un from;
    socklen_t length = sizeof from;

    make_pair(SOCK_DGRAM, pair);
    cr_assert_eq(gring_sendto(pair[1], "first", 5, 0, NULL, 0), 5);
    cr_assert_eq(gring_sendto(pair[1], "", 0, 0, NULL, 0), 0);
    cr_assert_eq(
        gring_recvfrom(pair[0], buf, sizeof buf, MSG_TRUNC, (struct sockaddr *)&from, &length), 5);
    cr_assert_arr_eq(buf, "fir", 3);
    cr_assert_eq(length, 0, "the sender has no name");
    length = sizeof from;
    cr_assert_eq(gring_recvfrom(pair[0], buf, sizeof buf, 0, (struct sockaddr *)&from, &length), 0);
    close_both(pair);
}

GreenTest(recvfrom, waits_and_is_interruptible)
{
    struct call call = { .fd = make_udp() };
    struct sockaddr_in to = address_of(call.fd);
    int sender = make_udp();
    gring_task *task = spawn_waiting(do_recvfrom, &call);

    cr_assert_eq(sendto(sender, "x", 1, 0, (struct sockaddr *)&to, sizeof to), 1);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 1);
    cr_assert_eq(call.error, ERRNO_BEFORE);
    call.flags = MSG_DONTWAIT;
    do_recvfrom(&call);
    cr_assert_eq(call.error, EAGAIN);
    call.flags = 0;
    expect_to_be_interruptible(do_recvfrom, &call);
    close(sender);
}

GreenTest(sendto, refuses_what_cannot_be_reached)
{
    struct sockaddr_in nowhere = loopback(9);
    int pair[2], udp = make_udp();
    static char huge[70000];

    make_unix_pair(pair);
    cr_assert_eq(
        gring_sendto(udp, huge, sizeof huge, 0, (struct sockaddr *)&nowhere, sizeof nowhere), -1);
    cr_expect_eq(errno, EMSGSIZE, "%m");
    cr_assert_eq(gring_sendto(udp, "x", 1, 0, NULL, 0), -1);
    cr_assert_eq(errno, EDESTADDRREQ);
    cr_assert_eq(gring_sendto(-1, "x", 1, 0, (struct sockaddr *)&nowhere, sizeof nowhere), -1);
    cr_assert_eq(errno, EBADF);
    cr_assert_eq(gring_recvfrom(0, huge, 1, 0, NULL, NULL), -1);
    cr_assert_eq(errno, ENOTSOCK);
    close_both(pair), close(udp);
}

/* ---- several buffers ------------------------------------------------------------------------- */

GreenTest(recvmsg, scatters_what_sendmsg_gathers)
{
    char first[3], second[4];
    struct iovec out[] = { { (char[]){ "ab" }, 2 }, { NULL, 0 }, { (char[]){ "cdefg" }, 5 } };
    struct iovec in[] = { { first, sizeof first }, { second, sizeof second } };
    struct msghdr sent = { .msg_iov = out, .msg_iovlen = 3 };
    struct msghdr received = { .msg_iov = in, .msg_iovlen = 2, .msg_flags = -1 };
    int ends[2];

    make_udp_pair(ends);
    errno = ERRNO_BEFORE;
    cr_assert_eq(gring_sendmsg(ends[1], &sent, 0), 7);
    cr_assert_eq(gring_recvmsg(ends[0], &received, 0), 7);
    cr_assert_eq(errno, ERRNO_BEFORE);
    cr_assert_arr_eq(first, "abc", 3);
    cr_assert_arr_eq(second, "defg", 4);
    cr_assert_eq(received.msg_flags, 0);
    cr_assert_eq(gring_sendmsg(ends[1], &sent, 0), 7);
    received.msg_iovlen = 1;
    cr_assert_eq(gring_recvmsg(ends[0], &received, 0), 3);
    cr_assert_eq(received.msg_flags, MSG_TRUNC);
    close_both(ends);
}

GreenTest(recvmsg, waits_and_is_interruptible)
{
    char byte;
    struct iovec part = { &byte, 1 };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    struct call call = { .message = &message };
    gring_task *task;
    int pair[2];

    make_pair(SOCK_SEQPACKET, pair);
    call.fd = pair[0];
    task = spawn_waiting(do_recvmsg, &call);
    cr_assert_eq(send(pair[1], "x", 1, 0), 1);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 1);
    expect_to_be_interruptible(do_recvmsg, &call);
    close(pair[1]);
}

GreenTest(recvmsg, that_was_killed_leaves_the_bytes_to_the_next)
{
    struct iovec part = { (char[4]){ 0 }, 4 };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    struct call call = { .message = &message };
    gring_task *task;
    int pair[2];

    make_unix_pair(pair);
    call.fd = pair[0];
    task = spawn_waiting(do_recvmsg, &call);
    gring_kill(task);
    cr_assert_eq(write(pair[1], "abcd", 4), 4);
    gring_join(task, NULL);
    cr_assert_eq(unread_bytes(pair[0]) + (call.result > 0 ? (int)call.result : 0), 4);
    close_both(pair);
}

GreenTest(recvmsg, peeks_and_waits_for_all)
{
    char buf[6];
    struct iovec part = { buf, sizeof buf };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    struct call call = { .message = &message, .flags = MSG_WAITALL };
    gring_task *task;
    int ends[2];

    make_tcp_pair(ends);
    call.fd = ends[0];
    cr_assert_eq(send(ends[1], "abc", 3, 0), 3);
    cr_assert_eq(gring_recvmsg(ends[0], &message, MSG_PEEK), 3);
    cr_assert_eq(unread_bytes(ends[0]), 3);
    task = spawn_waiting(do_recvmsg, &call);
    cr_assert_eq(send(ends[1], "def", 3, 0), 3);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 6);
    cr_assert_arr_eq(buf, "abcdef", 6);
    cr_assert_eq(gring_recvmsg(ends[0], &message, MSG_DONTWAIT), -1);
    cr_assert_eq(errno, EAGAIN);
    close_both(ends);
}

GreenTest(recvmsg, gets_urgent_data_and_does_not_wait_for_it)
{
    char byte = 0;
    struct iovec part = { &byte, 1 };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    int ends[2];

    make_tcp_pair(ends);
    cr_assert_eq(gring_recvmsg(ends[0], &message, MSG_OOB), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_send(ends[1], "!", 1, MSG_OOB), 1);
    cr_assert_eq(gring_wait_fd(ends[0], POLLPRI), POLLPRI);
    cr_assert_eq(gring_recvmsg(ends[0], &message, MSG_OOB), 1);
    cr_assert_eq(byte, '!');
    cr_assert_neq(message.msg_flags & MSG_OOB, 0);
    close_both(ends);
}

GreenTest(recvmsg, of_the_error_queue_does_not_wait_and_tells_who_refused)
{
    int on = 1, closed = make_udp(), fd = make_udp();
    struct sockaddr_in to = address_of(closed);
    char control[512];
    struct iovec part = { (char[8]){ 0 }, 8 };
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
    };
    struct sock_extended_err *told;

    cr_assert_eq(setsockopt(fd, SOL_IP, IP_RECVERR, &on, sizeof on), 0);
    cr_assert_eq(gring_recvmsg(fd, &message, MSG_ERRQUEUE), -1);
    cr_assert_eq(errno, EAGAIN);
    close(closed);
    cr_assert_eq(gring_sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof to), 1);
    cr_assert_eq(gring_wait_fd(fd, 0), POLLERR);
    message.msg_controllen = sizeof control;
    cr_assert_eq(gring_recvmsg(fd, &message, MSG_ERRQUEUE), 1);
    cr_assert_neq(message.msg_flags & MSG_ERRQUEUE, 0);
    cr_assert_not_null(CMSG_FIRSTHDR(&message));
    told = (struct sock_extended_err *)CMSG_DATA(CMSG_FIRSTHDR(&message));
    cr_assert_eq(told->ee_errno, ECONNREFUSED);
    close(fd);
}

GreenTest(recvmsg, refuses_what_is_invalid)
{
    struct msghdr message = { .msg_iov = (struct iovec *)8, .msg_iovlen = 1 };
    int pair[2];

    make_unix_pair(pair);
    cr_assert_eq(gring_recvmsg(pair[0], &message, 0), -1);
    cr_assert_eq(errno, EFAULT);
    message.msg_iovlen = 5000;
    cr_assert_eq(gring_recvmsg(pair[0], &message, 0), -1);
    cr_expect_eq(errno, EMSGSIZE, "%m");
    cr_assert_eq(gring_sendmsg(pair[0], &message, 0), -1);
    cr_expect_eq(errno, EMSGSIZE, "%m");
    close_both(pair);
}

/* ---- sendmsg: all of it ---------------------------------------------------------------------- */

enum { PARTS = 1000, PART = 20011, EMPTY_EVERY = 7 };

struct vector {
    char *bytes;
    struct iovec parts[PARTS], before[PARTS];
    struct msghdr message, message_before;
    size_t total;
};

/* Parts of many sizes, empty ones between them. */
static void make_vector(struct vector *vector)
{
    vector->bytes = malloc((size_t)PARTS * PART);
    pattern_fill(vector->bytes, (size_t)PARTS * PART, 1, 0);
    for (int index = 0; index < PARTS; index++) {
        size_t size = index % EMPTY_EVERY ? (size_t)(index * 7919 % PART) : 0;

        vector->parts[index] = (struct iovec){ vector->bytes + vector->total, size };
        vector->total += size;
    }
    memcpy(vector->before, vector->parts, sizeof vector->before);
    vector->message.msg_iov = vector->parts;
    vector->message.msg_iovlen = PARTS;
    vector->message_before = vector->message;
}

static void expect_vector_untouched(const struct vector *vector)
{
    cr_assert_arr_eq(vector->parts, vector->before, sizeof vector->before);
    cr_assert_arr_eq(&vector->message, &vector->message_before, sizeof vector->message);
}

static void expect_the_vector_from(int fd, const struct vector *vector)
{
    char *got = malloc(vector->total);
    size_t done;

    cr_assert_eq(gring_read_full(fd, got, vector->total, &done), (ssize_t)vector->total);
    cr_assert_eq(pattern_matches(got, vector->total, 1, 0), vector->total);
    cr_assert_eq(unread_bytes(fd), 0);
    free(got);
}

GreenTest(sendmsg, of_a_thousand_buffers_arrives_whole_and_leaves_the_header_alone)
{
    static struct vector vector;
    struct call call = { .message = &vector.message };
    gring_task *task;
    int ends[2];

    make_vector(&vector);
    make_tcp_pair(ends);
    call.fd = ends[1];
    set_nonblocking(ends[1]);
    task = spawn_waiting(do_sendmsg, &call);
    expect_the_vector_from(ends[0], &vector);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, (ssize_t)vector.total);
    cr_assert_eq(call.error, ERRNO_BEFORE);
    expect_vector_untouched(&vector);
    close_both(ends);
    free(vector.bytes);
}

union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(8 * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
};

static void attach(struct msghdr *message, union control *control, const int *fds, size_t count)
{
    memset(control, 0, sizeof *control);
    message->msg_control = control;
    message->msg_controllen = CMSG_SPACE(count * sizeof(int));
    control->header.cmsg_level = SOL_SOCKET;
    control->header.cmsg_type = SCM_RIGHTS;
    control->header.cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(&control->header), fds, count * sizeof(int));
}

/* How many descriptors arrived, in fds. */
static size_t detach(struct msghdr *message, int *fds)
{
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    size_t count;

    if (!header || header->cmsg_type != SCM_RIGHTS)
        return 0;
    count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(fds, CMSG_DATA(header), count * sizeof(int));
    return count;
}

/* Receives until the end; how many descriptors came with it. Closes them. */
static size_t count_descriptors_until(int fd, size_t total)
{
    static char sink[65536];
    size_t bytes = 0, descriptors = 0;

    while (bytes < total) {
        union control control;
        int fds[8];
        struct iovec part = { sink, sizeof sink };
        struct msghdr message = { .msg_iov = &part,
                                  .msg_iovlen = 1,
                                  .msg_control = &control,
                                  .msg_controllen = sizeof control };
        ssize_t count = gring_recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
        size_t came;

        cr_assert_gt(count, 0);
        bytes += (size_t)count;
        came = detach(&message, fds);
        descriptors += came;
        for (size_t index = 0; index < came; index++)
            close(fds[index]);
    }
    return descriptors;
}

GreenTest(sendmsg, sends_its_ancillary_data_once_with_the_first_part)
{
    static struct vector vector;
    struct call call = { .message = &vector.message };
    union control control;
    gring_task *task;
    int pair[2], before;

    make_vector(&vector);
    make_unix_pair(pair);
    before = descriptor_count();
    attach(&vector.message, &control, pair, 2);
    vector.message_before = vector.message;
    call.fd = pair[1];
    task = spawn_waiting(do_sendmsg, &call);
    cr_assert_eq(count_descriptors_until(pair[0], vector.total), 2);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, (ssize_t)vector.total);
    expect_vector_untouched(&vector);
    cr_assert_eq(descriptor_count(), before);
    close_both(pair);
    free(vector.bytes);
}

/* With ancillary data our own loop sends the rest, without it the kernel does. */
static void expect_progress_to_be_told(bool with_descriptor)
{
    static struct vector vector;
    struct call call = { .message = &vector.message };
    union control control;
    gring_task *task;
    int pair[2];

    make_vector(&vector);
    make_unix_pair(pair);
    if (with_descriptor)
        attach(&vector.message, &control, pair, 1);
    call.fd = pair[1];
    task = spawn_waiting(do_sendmsg, &call);
    gring_throw(task, EDOM);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_gt(call.result, 0);
    cr_assert_eq(drain_socket(pair[0]), (size_t)call.result);
    cr_assert_eq(call.next_result, -1, "the throw waits for the next call");
    cr_assert_eq(call.next_error, EDOM);
    task = spawn_waiting(do_sendmsg, &call);
    gring_kill(task);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    cr_assert_eq(drain_socket(pair[0]), (size_t)call.result);
    cr_assert_eq(call.next_error, ECANCELED);
    close_both(pair);
    free(vector.bytes);
}

GreenTest(sendmsg, interrupted_after_progress_tells_the_count_and_fails_the_next_call)
{
    expect_progress_to_be_told(false);
}

GreenTest(sendmsg, with_ancillary_data_interrupted_after_progress_tells_the_count)
{
    expect_progress_to_be_told(true);
}

/* The socket is closed while the call waits, and its number is another one's before it goes on. */
static void expect_no_other_socket(gring_fn fn, struct call *call)
{
    int pair[2], others[2];
    gring_task *task;

    make_unix_pair(pair);
    call->fd = pair[0];
    task = spawn_waiting(fn, call);
    cr_assert_eq(gring_close(pair[0]), 0);
    make_unix_pair(others);
    cr_assert_eq(others[0], pair[0], "the number was not given out again");
    gring_idle();
    cr_assert_eq(drain_socket(others[1]), 0, "the rest went to another socket");
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_gt(call->result, 0);
    close(pair[1]);
    close_both(others);
}

GreenTest(sendmsg, does_not_go_on_with_a_socket_that_got_its_number)
{
    static struct vector vector;
    struct call call = { .message = &vector.message };

    make_vector(&vector);
    expect_no_other_socket(do_sendmsg, &call);
    free(vector.bytes);
}

GreenTest(sendmmsg, does_not_go_on_with_a_socket_that_got_its_number)
{
    static struct vector vector;
    struct mmsghdr messages[2];
    struct call call = { .messages = messages, .count = 2 };

    make_vector(&vector);
    for (int index = 0; index < 2; index++)
        messages[index] = (struct mmsghdr){ .msg_hdr = vector.message };
    expect_no_other_socket(do_sendmmsg, &call);
    free(vector.bytes);
}

GreenTest(sendmsg, of_a_datagram_waits_for_room_and_is_interruptible)
{
    struct iovec part = { (char[]){ "x" }, 1 };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    struct call call = { .message = &message };
    gring_task *task;
    int pair[2];

    make_pair(SOCK_DGRAM, pair);
    call.fd = pair[0];
    while (send(pair[0], "x", 1, MSG_DONTWAIT) == 1)
        ;
    task = spawn_waiting(do_sendmsg, &call);
    drain_socket(pair[1]);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 1);
    while (send(pair[0], "x", 1, MSG_DONTWAIT) == 1)
        ;
    expect_to_be_interruptible(do_sendmsg, &call);
    close(pair[1]);
}

GreenTest(sendto, of_much_on_a_stream_arrives_whole)
{
    struct call call = { .flags = MSG_NOSIGNAL };
    gring_task *task;
    size_t total = 0;
    int pair[2];

    make_unix_pair(pair);
    call.fd = pair[1];
    task = spawn_waiting(do_sendto, &call);
    while (total < MUCH) {
        total += drain_socket(pair[0]);
        gring_yield();
    }
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, MUCH);
    close_both(pair);
}

GreenTest(message, sending_to_a_closed_peer_is_EPIPE_and_raises_no_signal)
{
    struct iovec part = { (char[]){ "x" }, 1 };
    struct mmsghdr messages[2] = { { .msg_hdr = { .msg_iov = &part, .msg_iovlen = 1 } },
                                   { .msg_hdr = { .msg_iov = &part, .msg_iovlen = 1 } } };
    struct call call = { .messages = messages, .count = 2, .message = &messages[0].msg_hdr };
    gring_fn const calls[] = { do_sendmsg, do_sendmmsg, do_sendto, do_send_fd };
    int pair[2];

    signal(SIGPIPE, SIG_DFL);
    make_unix_pair(pair);
    close(pair[1]);
    call.fd = pair[0];
    for (size_t index = 0; index < sizeof calls / sizeof calls[0]; index++) {
        call.flags = calls[index] == do_sendto ? MSG_NOSIGNAL : 0;
        calls[index](&call);
        cr_assert_eq(call.result, -1);
        cr_assert_eq(call.error, EPIPE, "call %zu: %s", index, strerrorname_np(call.error));
        on_a_plain_thread(calls[index], &call);
        cr_assert_eq(call.error, EPIPE, "call %zu: %s", index, strerrorname_np(call.error));
    }
    close(pair[0]);
}

GreenTest(message, timeouts_of_the_socket_have_no_effect)
{
    struct timeval soon = { .tv_usec = 1 };
    struct call call = { .flags = 0 };
    static struct vector vector;
    gring_task *tasks[2];
    int pair[2];

    make_vector(&vector);
    make_unix_pair(pair);
    for (int index = 0; index < 2; index++) {
        cr_assert_eq(setsockopt(pair[index], SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon), 0);
        cr_assert_eq(setsockopt(pair[index], SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon), 0);
    }
    call.fd = pair[0];
    tasks[0] = spawn_waiting(do_recvfrom, &call);
    tasks[1] =
        spawn_waiting(do_sendmsg, &(struct call){ .fd = pair[0], .message = &vector.message });
    gring_sleep(3 * GRING_MS);
    for (int index = 0; index < 2; index++)
        cr_assert_eq(gring_task_state(tasks[index]), GRING_PARKED);
    gring_killall(tasks, 2);
    cr_assert_eq(gring_waitall(tasks, 2), 0);
    cr_assert_eq(call.error, ECANCELED);
    gring_drop(tasks[0]), gring_drop(tasks[1]);
    close_both(pair);
    free(vector.bytes);
}

/* ---- several messages ------------------------------------------------------------------------ */

enum { BATCH = 8, SIZE = 16 };

struct batch {
    char bytes[BATCH][SIZE];
    struct iovec parts[BATCH];
    struct mmsghdr messages[BATCH];
};

static void make_batch(struct batch *batch, size_t size)
{
    memset(batch, 0, sizeof *batch);
    for (int index = 0; index < BATCH; index++) {
        snprintf(batch->bytes[index], SIZE, "message %d", index);
        batch->parts[index] = (struct iovec){ batch->bytes[index], size };
        batch->messages[index].msg_hdr.msg_iov = &batch->parts[index];
        batch->messages[index].msg_hdr.msg_iovlen = 1;
    }
}

GreenTest(recvmmsg, takes_what_is_there_in_order)
{
    struct batch sent, received;
    int ends[2];

    make_udp_pair(ends);
    make_batch(&sent, 10);
    make_batch(&received, SIZE);
    memset(received.bytes, 0, sizeof received.bytes);
    errno = ERRNO_BEFORE;
    cr_assert_eq(gring_sendmmsg(ends[1], sent.messages, 5, 0), 5);
    for (int index = 0; index < 5; index++)
        cr_assert_eq(sent.messages[index].msg_len, 10);
    cr_assert_eq(gring_recvmmsg(ends[0], received.messages, 3, 0), 3);
    cr_assert_eq(gring_recvmmsg(ends[0], received.messages + 3, BATCH - 3, 0), 2);
    cr_assert_eq(errno, ERRNO_BEFORE);
    for (int index = 0; index < 5; index++) {
        cr_assert_eq(received.messages[index].msg_len, 10);
        cr_assert_arr_eq(received.bytes[index], sent.bytes[index], 10);
    }
    cr_assert_eq(gring_recvmmsg(ends[0], received.messages, 0, 0), 0);
    cr_assert_eq(gring_recvmmsg(ends[0], received.messages, BATCH, MSG_DONTWAIT), -1);
    cr_assert_eq(errno, EAGAIN);
    cr_assert_eq(gring_recvmmsg(-1, received.messages, BATCH, 0), -1);
    cr_assert_eq(errno, EBADF);
    close_both(ends);
}

GreenTest(recvmmsg, waits_for_the_first_only_and_is_interruptible)
{
    struct batch batch;
    struct call call = { .messages = batch.messages, .count = BATCH, .flags = MSG_WAITFORONE };
    gring_task *task;
    int ends[2];

    make_udp_pair(ends);
    make_batch(&batch, SIZE);
    call.fd = ends[0];
    for (int times = 0; times < 2; times++, call.flags = 0) {
        task = spawn_waiting(do_recvmmsg, &call);
        cr_assert_eq(send(ends[1], "x", 1, 0), 1);
        cr_assert_eq(gring_join(task, NULL), 0);
        cr_assert_eq(call.result, 1);
        cr_assert_eq(call.error, ERRNO_BEFORE);
        cr_assert_eq(batch.messages[0].msg_len, 1);
    }
    expect_to_be_interruptible(do_recvmmsg, &call);
    close(ends[1]);
}

/* The first message has come, the task has not run since: now its socket is closed, and the number
 * is that of another one which has messages, too. */
GreenTest(recvmmsg, takes_nothing_from_a_socket_that_got_its_number)
{
    struct batch batch;
    struct call call = { .messages = batch.messages, .count = BATCH };
    gring_stats stats = { .size = sizeof stats };
    int pair[2], others[2];
    gring_task *task;

    make_pair(SOCK_DGRAM, pair);
    make_batch(&batch, SIZE);
    call.fd = pair[0];
    task = spawn_waiting(do_recvmmsg, &call);
    cr_assert_eq(send(pair[1], "x", 1, 0), 1);
    while (gring_stats_get(&stats) == 0 && stats.in_flight > 0)
        gring_yield();
    cr_assert_eq(gring_close(pair[0]), 0);
    make_pair(SOCK_DGRAM, others);
    cr_assert_eq(others[0], pair[0], "the number was not given out again");
    cr_assert_eq(send(others[1], "y", 1, 0), 1);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 1);
    cr_assert_eq(recv(others[0], batch.bytes[0], SIZE, MSG_DONTWAIT), 1, "it was taken");
    close(pair[1]);
    close_both(others);
}

GreenTest(recvmmsg, on_a_plain_thread_waits_for_one_too)
{
    struct batch batch;
    struct call call = { .messages = batch.messages, .count = BATCH };
    int ends[2];

    make_udp_pair(ends);
    make_batch(&batch, 10);
    call.fd = ends[1];
    on_a_plain_thread(do_sendmmsg, &call);
    cr_assert_eq(call.result, BATCH);
    make_batch(&batch, SIZE);
    call.fd = ends[0];
    on_a_plain_thread(do_recvmmsg, &call);
    cr_assert_eq(call.result, BATCH);
    call.fd = -1;
    on_a_plain_thread(do_recvmmsg, &call);
    cr_assert_eq(call.error, EBADF);
    close_both(ends);
}

GreenTest(sendmmsg, waits_for_room_until_all_are_sent)
{
    enum { COUNT = 1000 };
    static struct mmsghdr messages[COUNT];
    struct iovec part = { (char[]){ "datagram" }, 8 };
    struct call call = { .messages = messages, .count = COUNT };
    gring_task *task;
    int pair[2], received = 0;

    make_pair(SOCK_DGRAM, pair);
    for (int index = 0; index < COUNT; index++)
        messages[index].msg_hdr = (struct msghdr){ .msg_iov = &part, .msg_iovlen = 1 };
    call.fd = pair[0];
    task = spawn_waiting(do_sendmmsg, &call);
    for (; received < COUNT; received++)
        cr_assert_eq(gring_recv(pair[1], (char[16]){ 0 }, 16, 0), 8);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, COUNT);
    cr_assert_eq(call.error, ERRNO_BEFORE);
    for (int index = 0; index < COUNT; index++)
        cr_assert_eq(messages[index].msg_len, 8);
    close_both(pair);
}

GreenTest(sendmmsg, on_a_stream_sends_each_whole_before_the_next)
{
    static struct vector vectors[2];
    struct mmsghdr messages[4];
    struct call call = { .messages = messages, .count = 4 };
    gring_task *task;
    int ends[2];

    make_vector(&vectors[0]);
    for (int index = 0; index < 4; index++)
        messages[index] = (struct mmsghdr){ .msg_hdr = vectors[0].message };
    make_tcp_pair(ends);
    call.fd = ends[1];
    task = spawn_waiting(do_sendmmsg, &call);
    for (int index = 0; index < 3; index++) {
        char *got = malloc(vectors[0].total);

        cr_assert_eq(gring_read_full(ends[0], got, vectors[0].total, NULL),
                     (ssize_t)vectors[0].total);
        cr_assert_eq(pattern_matches(got, vectors[0].total, 1, 0), vectors[0].total);
        free(got);
    }
    expect_the_vector_from(ends[0], &vectors[0]);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 4);
    for (int index = 0; index < 4; index++)
        cr_assert_eq(messages[index].msg_len, vectors[0].total);
    expect_vector_untouched(&vectors[0]);
    close_both(ends);
    free(vectors[0].bytes);
}

GreenTest(sendmmsg, interrupted_after_progress_tells_what_was_sent_and_fails_the_next_call)
{
    enum { COUNT = 1000 };
    static struct mmsghdr messages[COUNT];
    struct iovec part = { (char[]){ "datagram" }, 8 };
    struct call call = { .messages = messages, .count = COUNT };
    gring_task *task;
    int pair[2], received = 0;

    make_pair(SOCK_DGRAM, pair);
    for (int index = 0; index < COUNT; index++)
        messages[index].msg_hdr = (struct msghdr){ .msg_iov = &part, .msg_iovlen = 1 };
    call.fd = pair[0];
    task = spawn_waiting(do_sendmmsg, &call);
    gring_throw(task, EDOM);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_gt(call.result, 0);
    cr_assert_lt(call.result, COUNT);
    cr_assert_eq(call.next_error, EDOM);
    for (; recv(pair[1], (char[16]){ 0 }, 16, MSG_DONTWAIT) == 8; received++)
        ;
    cr_assert_eq(received, call.result);
    while (send(pair[0], "x", 1, MSG_DONTWAIT) == 1)
        ;
    expect_to_be_interruptible(do_sendmmsg, &call);
    close(pair[1]);
}

GreenTest(sendmmsg, tells_the_error_of_the_first_and_the_count_before_a_later_one)
{
    static char huge[70000];
    struct sockaddr_in nowhere = loopback(9);
    struct iovec good = { (char[]){ "x" }, 1 }, bad = { huge, sizeof huge };
    struct mmsghdr messages[3];
    int fd = make_udp();

    for (int index = 0; index < 3; index++)
        messages[index].msg_hdr = (struct msghdr){ .msg_iov = index == 1 ? &bad : &good,
                                                   .msg_iovlen = 1,
                                                   .msg_name = &nowhere,
                                                   .msg_namelen = sizeof nowhere };
    errno = ERRNO_BEFORE;
    cr_assert_eq(gring_sendmmsg(fd, messages, 3, 0), 1);
    cr_assert_eq(errno, ERRNO_BEFORE);
    cr_assert_eq(gring_sendmmsg(fd, messages + 1, 2, 0), -1);
    cr_expect_eq(errno, EMSGSIZE, "%m");
    cr_assert_eq(gring_sendmmsg(fd, messages, 0, 0), 0);
    close(fd);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static void expect_same_file(int fd, int other)
{
    struct stat left, right;

    cr_assert_eq(fstat(fd, &left), 0);
    cr_assert_eq(fstat(other, &right), 0);
    cr_assert_eq(left.st_ino, right.st_ino);
    cr_assert_eq(left.st_dev, right.st_dev);
}

GreenTest(descriptor, passed_over_each_kind_of_unix_socket_works_at_the_other_end)
{
    static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };

    for (int index = 0; index < 3; index++) {
        int pair[2], ends[2], before, fd;
        char buf[16];

        make_pair(types[index], pair);
        make_pipe(ends);
        before = descriptor_count();
        errno = ERRNO_BEFORE;
        cr_assert_eq(gring_send_fd(pair[0], ends[1], "with bytes", 10), 10);
        cr_assert_eq(gring_recv_fd(pair[1], &fd, buf, sizeof buf), 10);
        cr_assert_eq(errno, ERRNO_BEFORE);
        cr_assert_arr_eq(buf, "with bytes", 10);
        cr_assert_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
        expect_same_file(fd, ends[1]);
        cr_assert_eq(gring_write(fd, "x", 1), 1);
        cr_assert_eq(gring_read(ends[0], buf, 1), 1);
        close(fd);
        cr_assert_eq(descriptor_count(), before);
        close_both(pair), close_both(ends);
    }
}

GreenTest(descriptor, that_did_not_come_is_minus_one)
{
    int pair[2], fd = 99;
    char byte;

    make_unix_pair(pair);
    cr_assert_eq(send(pair[0], "x", 1, 0), 1);
    cr_assert_eq(gring_recv_fd(pair[1], &fd, &byte, 1), 1);
    cr_assert_eq(fd, -1);
    close(pair[0]);
    fd = 99;
    cr_assert_eq(gring_recv_fd(pair[1], &fd, &byte, 1), 0);
    cr_assert_eq(fd, -1);
    close(pair[1]);
}

GreenTest(descriptor, needs_a_byte_and_a_unix_socket)
{
    int ends[2], fd = 99;

    make_tcp_pair(ends);
    cr_assert_eq(gring_send_fd(ends[0], ends[0], "", 0), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_recv_fd(ends[0], &fd, &fd, 0), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(fd, -1);
    cr_assert_eq(gring_send_fd(ends[0], -1, "x", 1), 1, "TCP takes no notice of SCM_RIGHTS");
    close_both(ends);
    make_unix_pair(ends);
    cr_assert_eq(gring_send_fd(ends[0], -1, "x", 1), -1);
    cr_assert_eq(errno, EBADF);
    close_both(ends);
}

GreenTest(descriptor, several_at_once_arrive_in_order)
{
    int pair[2], files[8], got[8], before;
    union control control;
    struct iovec part = { (char[1]){ 'x' }, 1 };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

    make_unix_pair(pair);
    for (int index = 0; index < 8; index++)
        files[index] = make_file(&index, sizeof index);
    before = descriptor_count();
    attach(&message, &control, files, 8);
    cr_assert_eq(gring_sendmsg(pair[0], &message, 0), 1);
    message.msg_controllen = sizeof control;
    cr_assert_eq(gring_recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC), 1);
    cr_assert_eq(detach(&message, got), 8);
    for (int index = 0; index < 8; index++) {
        int number = -1;

        cr_assert_eq(pread(got[index], &number, sizeof number, 0), sizeof number);
        cr_assert_eq(number, index);
        cr_assert_eq(fcntl(got[index], F_GETFD), FD_CLOEXEC);
        close(got[index]);
    }
    attach(&message, &control, files, 8);
    cr_assert_eq(gring_sendmsg(pair[0], &message, 0), 1);
    cr_assert_eq(gring_recv_fd(pair[1], &got[0], &(char){ 0 }, 1), 1);
    expect_same_file(got[0], files[0]);
    close(got[0]);
    cr_assert_eq(descriptor_count(), before, "one is taken, the others are closed");
    close_both(pair);
    for (int index = 0; index < 8; index++)
        close(files[index]);
}

GreenTest(descriptor, arrives_beside_the_sender_s_credentials)
{
    int pair[2], on = 1, fd, before;

    make_unix_pair(pair);
    cr_assert_eq(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
    before = descriptor_count();
    cr_assert_eq(gring_send_fd(pair[0], pair[0], "x", 1), 1);
    cr_assert_eq(gring_recv_fd(pair[1], &fd, &(char){ 0 }, 1), 1);
    cr_assert_geq(fd, 0);
    close(fd);
    cr_assert_eq(descriptor_count(), before);
    close_both(pair);
}

GreenTest(descriptor, is_waited_for_and_the_wait_is_interruptible)
{
    struct call call = { 0 };
    gring_task *task;
    int pair[2];

    make_unix_pair(pair);
    call.fd = pair[0];
    task = spawn_waiting(do_recv_fd, &call);
    cr_assert_eq(gring_send_fd(pair[1], pair[1], "x", 1), 1);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(call.result, 1);
    cr_assert_geq(call.received_fd, 0);
    close(call.received_fd);
    expect_to_be_interruptible(do_recv_fd, &call);
    cr_assert_eq(call.received_fd, -1);
    close(pair[1]);
}

/* It arrives while the receiver is being killed: with one of the two, never with neither. */
GreenTest(descriptor, is_not_lost_when_its_receiver_is_interrupted)
{
    for (int round = 0; round < 50; round++) {
        struct call call = { 0 };
        gring_task *task;
        int pair[2], fd = -1, before;

        make_unix_pair(pair);
        before = descriptor_count();
        call.fd = pair[0];
        task = spawn_waiting(do_recv_fd, &call);
        if (round % 2)
            gring_kill(task);
        cr_assert_eq(gring_send_fd(pair[1], pair[1], "x", 1), 1);
        if (round % 2 == 0)
            gring_kill(task);
        gring_join(task, NULL);
        if (call.result < 0) {
            cr_assert_eq(call.received_fd, -1);
            cr_assert_eq(gring_recv_fd(pair[0], &fd, call.bytes, 1), 1);
        } else {
            fd = call.received_fd;
        }
        cr_assert_geq(fd, 0);
        close(fd);
        cr_assert_eq(descriptor_count(), before);
        close_both(pair);
    }
}

Test(descriptor, passes_between_plain_threads_too)
{
    int pair[2], fd;

    make_unix_pair(pair);
    cr_assert_eq(gring_send_fd(pair[0], pair[0], "x", 1), 1);
    cr_assert_eq(gring_recv_fd(pair[1], &fd, &(char){ 0 }, 1), 1);
    expect_same_file(fd, pair[0]);
    close(fd);
    close_both(pair);
}

Test(message, on_a_plain_thread_the_calls_are_the_system_calls)
{
    char buf[8];
    struct iovec part = { buf, sizeof buf };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    struct sockaddr_in from, to;
    socklen_t length = sizeof from;
    int ends[2];

    make_udp_pair(ends);
    to = address_of(ends[0]);
    cr_assert_eq(gring_sendto(ends[1], "abc", 3, 0, (struct sockaddr *)&to, sizeof to), 3);
    cr_assert_eq(gring_recvfrom(ends[0], buf, 8, 0, (struct sockaddr *)&from, &length), 3);
    cr_assert_eq(from.sin_port, address_of(ends[1]).sin_port);
    part.iov_len = 2;
    cr_assert_eq(gring_sendmsg(ends[1], &message, 0), 2);
    cr_assert_eq(gring_recvmsg(ends[0], &message, 0), 2);
    cr_assert_eq(gring_recvmsg(ends[0], &message, MSG_DONTWAIT), -1);
    cr_assert_eq(errno, EAGAIN);
    close_both(ends);
}
