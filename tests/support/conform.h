/*
 * The same call twice: the POSIX original on a plain thread, and ours in a task.
 *
 *     Same(read, of_eight_bytes, descriptors, call->read(s->fd, m->buf, 8))
 *
 * is a test that makes the call on each of the objects, in a scene that is built anew for each of
 * the two, and compares all that can be seen of it afterwards: result, errno, signals, every byte
 * of the memory that the call was given, and what became of the descriptors and files (after).
 * Descriptors have fixed numbers and the memory has a fixed place, so that they compare as they
 * are.
 *
 * Differences that a header promises are listed, with its words and what ours gives then. Any other
 * fails the test. A call that is promised to wait gets a deadline: ETIMEDOUT.
 */
#ifndef TESTS_SUPPORT_CONFORM_H
#define TESTS_SUPPORT_CONFORM_H

#include "tests/support/child.h"
#include "tests/support/fds.h"

#include <greenring/greenring.h>
#include <limits.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>

/* ---- the two tables of calls ----------------------------------------------------------------- */

#define CONFORM_CALLS(X)                                                                           \
    X(read)                                                                                        \
    X(write) X(readv) X(writev) X(pread) X(pwrite) X(preadv2) X(pwritev2) X(open) X(openat)        \
        X(close) X(dup2) X(dup3) X(close_range) X(fsync) X(fdatasync) X(sync_file_range)           \
            X(ftruncate) X(fallocate) X(fadvise) X(statx) X(stat) X(lstat) X(fstatat) X(rename)    \
                X(renameat2) X(unlinkat) X(linkat) X(symlinkat) X(mkdir) X(mkdirat) X(getdents64)  \
                    X(flock) X(splice) X(sendfile) X(copy_file_range) X(poll) X(select) X(accept)  \
                        X(accept4) X(connect) X(recv) X(recvfrom) X(recvmsg) X(recvmmsg) X(send)   \
                            X(sendto) X(sendmsg) X(sendmmsg) X(shutdown)

struct calls {
#define X(name) __typeof__(gring_##name) *name;
    CONFORM_CALLS(X)
#undef X
};

static const struct calls ours = {
#define X(name) .name = gring_##name,
    CONFORM_CALLS(X)
#undef X
};

static volatile sig_atomic_t signals; /* SIGPIPEs that came */

/* Originals that are spelled in another way, or need a flag to be what the header says. */

static int posix_fadvise_errno(int fd, off_t offset, off_t size, int advice)
{
    int error = posix_fadvise(fd, offset, size, advice);

    errno = error ? error : errno;
    return error ? -1 : 0;
}

static int posix_accept(int fd, struct sockaddr *address, socklen_t *length)
{
    return accept(fd, address, length);
}

static int posix_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    return accept4(fd, address, length, flags);
}

static int posix_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    return connect(fd, address, length);
}

static ssize_t posix_recvfrom(int fd, void *buf, size_t size, int flags, struct sockaddr *address,
                              socklen_t *length)
{
    return recvfrom(fd, buf, size, flags, address, length);
}

static int posix_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    return recvmmsg(fd, messages, count, flags | MSG_WAITFORONE, NULL);
}

static ssize_t posix_send(int fd, const void *buf, size_t size, int flags)
{
    return send(fd, buf, size, flags | MSG_NOSIGNAL);
}

static ssize_t posix_sendto(int fd, const void *buf, size_t size, int flags,
                            const struct sockaddr *address, socklen_t length)
{
    return sendto(fd, buf, size, flags | MSG_NOSIGNAL, address, length);
}

static ssize_t posix_sendmsg(int fd, const struct msghdr *message, int flags)
{
    return sendmsg(fd, message, flags | MSG_NOSIGNAL);
}

static int posix_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    return sendmmsg(fd, messages, count, flags | MSG_NOSIGNAL);
}

static ssize_t posix_splice(int in, off_t *in_offset, int out, off_t *out_offset, size_t size,
                            unsigned flags)
{
    ssize_t result = splice(in, in_offset, out, out_offset, size, flags);

    signals = 0; /* ours raises none */
    return result;
}

static ssize_t posix_sendfile(int out, int in, off_t *offset, size_t size)
{
    ssize_t result = sendfile(out, in, offset, size);

    signals = 0; /* ours raises none */
    return result;
}

static const struct calls originals = {
    .read = read,
    .write = write,
    .readv = readv,
    .writev = writev,
    .pread = pread,
    .pwrite = pwrite,
    .preadv2 = preadv2,
    .pwritev2 = pwritev2,
    .open = open,
    .openat = openat,
    .close = close,
    .dup2 = dup2,
    .dup3 = dup3,
    .close_range = close_range,
    .fsync = fsync,
    .fdatasync = fdatasync,
    .sync_file_range = sync_file_range,
    .ftruncate = ftruncate,
    .fallocate = fallocate,
    .fadvise = posix_fadvise_errno,
    .statx = statx,
    .stat = stat,
    .lstat = lstat,
    .fstatat = fstatat,
    .rename = rename,
    .renameat2 = renameat2,
    .unlinkat = unlinkat,
    .linkat = linkat,
    .symlinkat = symlinkat,
    .mkdir = mkdir,
    .mkdirat = mkdirat,
    .getdents64 = getdents64,
    .flock = flock,
    .splice = posix_splice,
    .sendfile = posix_sendfile,
    .copy_file_range = copy_file_range,
    .poll = poll,
    .select = select,
    .accept = posix_accept,
    .accept4 = posix_accept4,
    .connect = posix_connect,
    .recv = recv,
    .recvfrom = posix_recvfrom,
    .recvmsg = recvmsg,
    .recvmmsg = posix_recvmmsg,
    .send = posix_send,
    .sendto = posix_sendto,
    .sendmsg = posix_sendmsg,
    .sendmmsg = posix_sendmmsg,
    .shutdown = shutdown,
};

/* ---- a scene and what is seen of it ---------------------------------------------------------- */

/* Where a scene's descriptors are. None of ours and none of Criterion's has such a number. */
enum { FD = 100, PEER, FILE_FD, PIPE_OUT, PIPE_IN, FOLDER, LISTENER, SPARE, FD_END };

struct scene {
    int fd, peer;     /* FD and PEER, or what the object makes of them */
    const char *path; /* of the objects that are names */
    pthread_t helper; /* who feeds a call that waits */
    void (*help)(const struct scene *);
};

/* What calls are given. All of it is compared. */
struct memory {
    char buf[64], other[64];
    struct iovec iov[3];
    struct sockaddr_storage address;
    socklen_t length;
    char control[128] __attribute__((aligned(sizeof(size_t)))); /* headers lie in it */
    struct msghdr message, outgoing; /* with room for all; with two buffers and nothing else */
    struct mmsghdr messages[3], outgoings[3];
    off_t offset, other_offset;
    struct stat status;
    struct statx statx;
    struct pollfd polled[3];
    fd_set sets[3];
    struct timeval time;
    struct {
        int status_flags, descriptor_flags;
        mode_t mode;
    } given; /* what is known of a descriptor that was returned */
};

/* Of one descriptor. */
struct after {
    int status_flags, descriptor_flags, revents;
    off_t position, size;
    ssize_t left; /* bytes to be read */
    uint64_t sum; /* of them */
    int end;      /* what reading ends with: 0, or an errno */
};

struct outcome {
    ssize_t result;
    int error, signals;
    struct after after[FD_END - FD];
    struct memory memory;
    char listing[1024]; /* of the folder, if there is one */
};

struct object {
    const char *name;
    void (*make)(struct scene *);
};

enum { ANY = -2 }; /* of a difference: whatever ours gives */

struct difference {
    const char *call, *object; /* the test's name, "read_*" for several; the object's, NULL: any */
    ssize_t result;            /* of ours, where it is not the original's */
    int error;
    const char *words; /* of the header */
};

typedef ssize_t (*conform_call)(const struct calls *, const struct scene *, struct memory *);

/* ---- building blocks of scenes --------------------------------------------------------------- */

/* The descriptor, at this number. */
HELPER int put(int fd, int number)
{
    cr_assert_eq(dup3(fd, number, O_CLOEXEC), number, "dup3 of %d: %m", fd);
    close(fd);
    return number;
}

HELPER void put_pair(const int ends[2])
{
    put(ends[0], FD);
    put(ends[1], PEER);
}

HELPER void await_events(int fd, short events)
{
    struct pollfd one = { .fd = fd, .events = events };

    cr_assert_eq(poll(&one, 1, 10000), 1);
}

enum { CONTENT_BYTES = 20 };
#define CONTENT "abcdefghijklmnopqrst"
#define GREETING "hello, world"

/* ---- looking --------------------------------------------------------------------------------- */

static bool is_tcp(int fd)
{
    struct stat status;
    int type = 0;
    socklen_t length = sizeof type;

    return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode) &&
           getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &type, &length) == 0 && type == IPPROTO_TCP;
}

/* What was sent over loopback is there when the peer has acknowledged it. */
static void settle(int fd)
{
    struct tcp_info info;
    socklen_t length = sizeof info;
    int unsent = 0;

    while (is_tcp(fd) && ioctl(fd, SIOCOUTQ, &unsent) == 0 && unsent > 0 &&
           getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 &&
           (info.tcpi_state == TCP_ESTABLISHED || info.tcpi_state == TCP_FIN_WAIT1))
        usleep(100);
}

/* Devices have no end: a bit is enough. */
static void drain(int fd, struct after *after)
{
    char bytes[4096];
    ssize_t count = 1;

    set_nonblocking(fd);
    while (after->left < 1 << 20 && (count = read(fd, bytes, sizeof bytes)) > 0) {
        for (ssize_t index = 0; index < count; index++)
            after->sum = after->sum * 31 + (unsigned char)bytes[index];
        after->left += count;
    }
    after->end = count < 0 ? errno : 0;
}

static struct after look_at(int fd)
{
    struct after after = { .status_flags = fcntl(fd, F_GETFL), .revents = -1 };
    struct pollfd polled = { .fd = fd, .events = POLLIN | POLLOUT | POLLPRI | POLLRDHUP };
    struct stat status;

    if (after.status_flags < 0)
        return after;
    settle(fd);
    after.descriptor_flags = fcntl(fd, F_GETFD);
    after.position = lseek(fd, 0, SEEK_CUR);
    after.size = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) ? status.st_size : -1;
    poll(&polled, 1, 0);
    after.revents = polled.revents;
    if (!(after.status_flags & O_PATH))
        drain(fd, &after);
    return after;
}

/* Everything that the call has left behind, from outside. */
static void look_around(struct outcome *outcome)
{
    for (int fd = FD; fd < FD_END; fd++)
        settle(fd);
    for (int fd = FD; fd < FD_END; fd++)
        outcome->after[fd - FD] = look_at(fd);
}

/* ---- what differs from one scene to the next by nature --------------------------------------- */

/* A port is told by whose it is. */
static void hide_port(struct sockaddr_storage *address)
{
    struct sockaddr_in *inet = (struct sockaddr_in *)address;

    if (inet->sin_family != AF_INET)
        return;
    for (int fd = FD; fd < FD_END; fd++)
        if (is_open(fd)) {
            struct sockaddr_in own = { 0 };
            socklen_t length = sizeof own;

            if (getsockname(fd, (struct sockaddr *)&own, &length) == 0 &&
                own.sin_family == AF_INET && own.sin_port == inet->sin_port) {
                inet->sin_port = (in_port_t)fd;
                return;
            }
        }
}

static void hide_identity(struct memory *m)
{
    m->status.st_ino = 0;
    m->status.st_blocks = 0;
    memset(&m->status.st_atim, 0, 3 * sizeof m->status.st_atim);
    m->statx.stx_ino = 0;
    m->statx.stx_blocks = 0;
    memset(&m->statx.stx_atime, 0, 4 * sizeof m->statx.stx_atime);
    m->statx.stx_mnt_id = 0;
}

/* Descriptors that came along: closed, and told as 0. */
static void hide_descriptors(struct memory *m)
{
    struct msghdr *message = &m->message;

    if (message->msg_controllen > sizeof m->control || message->msg_control != m->control)
        return;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
         header = CMSG_NXTHDR(message, header))
        if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
            int came;

            memcpy(&came, CMSG_DATA(header), sizeof came);
            cr_assert(came != 0x5a5a5a5a && close(came) == 0);
            memset(CMSG_DATA(header), 0, sizeof came);
        }
}

/* For calls that return a descriptor: 0, and what it is. */
HELPER int given(const struct calls *call, struct memory *m, int fd)
{
    struct stat status;
    int saved_errno = errno;

    if (fd < 0)
        return fd;
    cr_assert_eq(fstat(fd, &status), 0);
    m->given.status_flags = fcntl(fd, F_GETFL);
    m->given.descriptor_flags = fcntl(fd, F_GETFD);
    m->given.mode = status.st_mode;
    call->close(fd);
    errno = saved_errno;
    return 0;
}

/* ---- one cell -------------------------------------------------------------------------------- */

static struct memory shared_memory; /* at one place in both runs */
static const char *volatile cell_call, *volatile cell_object;

static void take_signal(int number)
{
    (void)number;
    signals++;
}

static void say_where(int number)
{
    dprintf(STDERR_FILENO, "%s of %s does not come back\n", cell_call, cell_object);
    _exit(number);
}

static void set_messages(struct memory *m)
{
    m->message = (struct msghdr){ .msg_name = &m->address,
                                  .msg_namelen = sizeof m->address,
                                  .msg_iov = m->iov,
                                  .msg_iovlen = 2,
                                  .msg_control = m->control,
                                  .msg_controllen = sizeof m->control };
    m->outgoing = (struct msghdr){ .msg_iov = m->iov, .msg_iovlen = 2 };
    for (int index = 0; index < 3; index++)
        m->messages[index] = m->outgoings[index] =
            (struct mmsghdr){ .msg_hdr = { .msg_iov = &m->iov[index], .msg_iovlen = 1 },
                              .msg_len = 77 };
}

static void set_memory(const struct scene *s)
{
    struct memory *m = &shared_memory;

    memset(m, 0x5a, sizeof *m);
    memset(&m->given, 0, sizeof m->given);
    pattern_fill(m->buf, sizeof m->buf, 1, 0);
    pattern_fill(m->other, sizeof m->other, 2, 0);
    m->length = sizeof m->address;
    m->iov[0] = (struct iovec){ .iov_base = m->buf, .iov_len = 4 };
    m->iov[1] = (struct iovec){ .iov_base = m->other, .iov_len = 5 };
    m->iov[2] = (struct iovec){ .iov_base = m->buf + 32, .iov_len = 6 };
    m->offset = 3;
    m->other_offset = 7;
    m->time = (struct timeval){ 0, 1000 };
    m->polled[0] = (struct pollfd){ .fd = s->fd, .events = POLLIN, .revents = -1 };
    m->polled[1] = (struct pollfd){ .fd = s->fd, .events = POLLOUT | POLLPRI, .revents = -1 };
    m->polled[2] = (struct pollfd){ .fd = -5, .events = POLLIN, .revents = -1 };
    for (int set = 0; set < 3; set++) {
        FD_ZERO(&m->sets[set]);
        if (s->fd >= 0 && s->fd < FD_SETSIZE)
            FD_SET(s->fd, &m->sets[set]);
    }
    set_messages(m);
}

static void *run_helper(void *arg)
{
    const struct scene *s = (const struct scene *)arg;

    usleep(500); /* not needed: what is early is found, what is late is waited for */
    s->help(s);
    return NULL;
}

/* What the scenes of a test file have besides descriptors: with CONFORM_FOLDER the file says it. */
#ifndef CONFORM_FOLDER
static void enter_scene(void)
{
}

static void leave_scene(struct outcome *outcome)
{
    (void)outcome;
}
#else
static void enter_scene(void);
static void leave_scene(struct outcome *outcome);
#endif

/* What a header says to wait for ever is given this long. */
#define PATIENCE (20 * GRING_MS)

static ssize_t make_call(const struct calls *call, conform_call function, const struct scene *s,
                         const struct difference *promised)
{
    if (call == &ours && promised && promised->error == ETIMEDOUT)
        return gring_within(PATIENCE, function(call, s, &shared_memory));
    return function(call, s, &shared_memory);
}

static void run_cell(const struct calls *call, const struct object *object, conform_call function,
                     const struct difference *promised, struct outcome *outcome)
{
    struct scene s = { .fd = FD, .peer = PEER };

    cell_object = object->name;
    alarm(20);
    enter_scene();
    object->make(&s);
    set_memory(&s);
    signals = 0;
    if (s.help)
        cr_assert_eq(pthread_create(&s.helper, NULL, run_helper, &s), 0);
    errno = 0;
    outcome->result = make_call(call, function, &s, promised);
    outcome->error = errno;
    outcome->signals = signals;
    if (s.help)
        pthread_join(s.helper, NULL);
    hide_port(&shared_memory.address);
    hide_identity(&shared_memory);
    hide_descriptors(&shared_memory);
    outcome->memory = shared_memory;
    look_around(outcome);
    leave_scene(outcome);
    for (int fd = FD; fd < FD_END; fd++)
        if (is_open(fd))
            call->close(fd);
}

/* ---- comparing ------------------------------------------------------------------------------- */

enum { OBJECTS_MAX = 64 };

static struct outcome expected[OBJECTS_MAX], found[OBJECTS_MAX];

/* Of a pattern, a star at the end stands for anything. */
static bool fits(const char *pattern, const char *call)
{
    size_t length = strcspn(pattern, "*");

    return strncmp(pattern, call, length) == 0 && (pattern[length] || !call[length]);
}

static const struct difference *find_difference(const struct difference *list, const char *call,
                                                const char *object)
{
    for (; list->call; list++)
        if (fits(list->call, call) && (!list->object || !strcmp(list->object, object)))
            return list;
    return NULL;
}

struct conform_run {
    const char *name;
    const struct object *objects;
    conform_call call;
    const struct difference *promised;
};

static void run_cells(const struct conform_run *run, const struct calls *calls,
                      struct outcome *outcomes)
{
    cell_call = run->name;
    for (unsigned index = 0; run->objects[index].name; index++) {
        const struct object *object = &run->objects[index];

        cr_assert_lt(index, OBJECTS_MAX);
        run_cell(calls, object, run->call, find_difference(run->promised, run->name, object->name),
                 &outcomes[index]);
    }
}

static void *run_ours(void *arg)
{
    run_cells((const struct conform_run *)arg, &ours, found);
    return NULL;
}

#define CONFORM_PARTS(X)                                                                           \
    X(buf)                                                                                         \
    X(other) X(iov) X(address) X(length) X(control) X(message) X(outgoing) X(messages)             \
        X(outgoings) X(offset) X(other_offset) X(status) X(statx) X(polled) X(sets) X(given)

/* The first part of the memory that differs, or NULL. The time that select leaves is nobody's
 * promise. */
static const char *memory_difference(const struct memory *one, const struct memory *two)
{
#define X(part)                                                                                    \
    if (memcmp(&one->part, &two->part, sizeof one->part) != 0)                                     \
        return #part;
    CONFORM_PARTS(X)
#undef X
    return NULL;
}

static void say_after(const char *whose, const struct after *after, char *text, size_t size)
{
    snprintf(text, size,
             "%s: flags %#o %d, position %lld, size %lld, revents %#x, %zd bytes (%#llx) then %d\n",
             whose, (unsigned)after->status_flags, after->descriptor_flags,
             (long long)after->position, (long long)after->size, (unsigned)after->revents,
             after->left, (unsigned long long)after->sum, after->end);
}

static int after_difference(const struct outcome *one, const struct outcome *two)
{
    for (int fd = FD; fd < FD_END; fd++)
        if (memcmp(&one->after[fd - FD], &two->after[fd - FD], sizeof one->after[0]) != 0)
            return fd;
    return -1;
}

static bool same(const struct outcome *one, const struct outcome *two)
{
    return one->result == two->result && one->error == two->error && one->signals == two->signals &&
           !memory_difference(&one->memory, &two->memory) && after_difference(one, two) < 0 &&
           strcmp(one->listing, two->listing) == 0;
}

/* Both sides, for whoever has to find out why. */
static void say_outcomes(const char *call, const char *object, const struct outcome *one,
                         const struct outcome *two)
{
    const char *part = memory_difference(&one->memory, &two->memory);
    int fd = after_difference(one, two);
    char theirs[256] = "", our[256] = "";

    if (fd >= 0) {
        say_after("theirs", &one->after[fd - FD], theirs, sizeof theirs);
        say_after("ours", &two->after[fd - FD], our, sizeof our);
    }
    cr_expect(
        false,
        "%s of %s: the original %zd errno %d signals %d, ours %zd errno %d signals %d%s%s%s%d\n"
        "%s%s%s%s",
        call, object, one->result, one->error, one->signals, two->result, two->error, two->signals,
        part ? "; memory differs: " : "", part ? part : "",
        fd < 0 ? "; descriptors are the same: " : "; descriptor differs: ", fd, theirs, our,
        strcmp(one->listing, two->listing) ? one->listing : "",
        strcmp(one->listing, two->listing) ? two->listing : "");
}

/* Where a kernel makes no difference there need be none. */
static bool keeps_promise(const struct difference *promised, const struct outcome *found_one)
{
    return promised && (promised->result == ANY || (promised->result == found_one->result &&
                                                    promised->error == found_one->error));
}

static void conform(const char *name, const struct object *objects, conform_call call,
                    const struct difference *promised)
{
    struct conform_run run = { name, objects, call, promised };
    int before = descriptor_count();

    signal(SIGPIPE, take_signal);
    signal(SIGALRM, say_where);
    run_cells(&run, &originals, expected);
    cr_assert_eq(gring_run(run_ours, &run, NULL), 0, "gring_run: %m");
    for (unsigned index = 0; objects[index].name; index++) {
        const char *object = objects[index].name;

        if (!same(&expected[index], &found[index]) &&
            !keeps_promise(find_difference(promised, name, object), &found[index]))
            say_outcomes(name, object, &expected[index], &found[index]);
    }
    cr_expect_eq(descriptor_count(), before, "%s: descriptors were left behind", name);
}

/* The file that uses it has a list `differences`, which ends with an empty one. */
#define Same(suite, name, objects, expression)                                                     \
    static ssize_t suite##_##name(const struct calls *call, const struct scene *s,                 \
                                  struct memory *m)                                                \
    {                                                                                              \
        (void)s;                                                                                   \
        (void)m;                                                                                   \
        return expression;                                                                         \
    }                                                                                              \
    Test(suite, name)                                                                              \
    {                                                                                              \
        conform(#suite "_" #name, objects, suite##_##name, differences);                           \
    }

#endif
