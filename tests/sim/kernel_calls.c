/*
 * The system calls of everything above: base/sys.h and base/clock.h, which this file replaces, and
 * libc's calls that name a descriptor. One below FD_FIRST is the real kernel's.
 */
#include "base/check.h"
#include "base/clock.h"
#include "base/sys.h"
#include "tests/sim/kernel.h"
#include "tests/sim/wrap.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEAP_MAX (20 * CLOCK_MILLISECOND)
enum { READ_COST_NS = 200 };

/* ---- time ------------------------------------------------------------------------------------ */

gring_ns sim_now(void)
{
    return world.now;
}

/* Each look costs a little; now and then the thread was not running for a while. */
gring_ns clock_now(void)
{
    world.now += (gring_ns)sim_below(READ_COST_NS);
    if (sim_chance(world.mood.clock_leap)) {
        sometimes(TIME_LEAPT);
        world.now += sim_duration(LEAP_MAX);
    }
    threads_run();
    return world.now;
}

void sys_pause_ns(int64_t ns)
{
    threads_pause(ns);
}

/* ---- memory and limits ----------------------------------------------------------------------- */

enum { RESERVATIONS_MAX = 1024 };

static struct {
    void *start;
    size_t bytes;
} reservations[RESERVATIONS_MAX];
static unsigned reservation_count;

void *sys_reserve(size_t bytes, bool is_stack)
{
    void *start;

    (void)is_stack;
    if (memory_fails())
        return NULL;
    start = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                 -1, 0);
    if (start == MAP_FAILED)
        return NULL;
    CHECK(reservation_count < RESERVATIONS_MAX);
    reservations[reservation_count].start = start;
    reservations[reservation_count++].bytes = bytes;
    return start;
}

void sys_unreserve(void *start, size_t bytes)
{
    unsigned index = 0;

    while (index < reservation_count && reservations[index].start != start)
        index++;
    if (index == reservation_count || reservations[index].bytes != bytes)
        sim_fail("%zu bytes are given back that were not reserved", bytes);
    reservations[index] = reservations[--reservation_count];
    munmap(start, bytes);
}

/* What the library keeps for the life of the process is emptied before each run: runs must not
 * know of each other. */
unsigned reservations_empty(void)
{
    for (unsigned index = 0; index < reservation_count; index++)
        madvise(reservations[index].start, reservations[index].bytes, MADV_DONTNEED);
    return reservation_count;
}

int sys_discard(void *start, size_t bytes)
{
    return madvise(start, bytes, MADV_DONTNEED) < 0 ? -errno : 0;
}

/* Guards cost a system call each and catch nothing here: ours are for the real kernel. */
int sys_guard_install(void *start, size_t bytes)
{
    (void)start;
    (void)bytes;
    return 0;
}

int sys_guard_protect(void *start, size_t bytes)
{
    (void)start;
    (void)bytes;
    return 0;
}

size_t sys_page_bytes(void)
{
    return 4096;
}

size_t sys_max_map_count(void)
{
    return 65530;
}

size_t sys_descriptor_limit(void)
{
    return FD_FIRST + FD_LIMIT;
}

int sys_read_text(const char *path, char *text, size_t size)
{
    (void)path;
    (void)text;
    (void)size;
    return -ENOENT;
}

int sys_foreign_thread_count(int ours)
{
    (void)ours;
    return threads_pending() ? 1 : 0;
}

int sys_kernel_worker_count(void)
{
    return 0;
}

/* The simulated pipes take any flag; which ones the run's kernel knows, the features say. */
bool sys_pipe_write_takes(int flag)
{
    (void)flag;
    return true;
}

/* ---- the mailbox's eventfd ------------------------------------------------------------------- */

int sys_eventfd(void)
{
    return descriptor_new(object_new(EVENT_COUNTER));
}

void sys_eventfd_signal(int fd)
{
    struct object *object = descriptor_object(fd);

    CHECK(object && object->kind == EVENT_COUNTER);
    sometimes(MAIL_WAS_SIGNALLED);
    sim_note("signal", fd, 0, 0);
    object->counter++;
    object_changed(object);
}

void sys_close(int fd)
{
    if (descriptor_close(fd) < 0)
        sim_fail("descriptor %d, which is not open, was closed by the library", fd);
}

void sys_futex_wait(atomic_uint *word, unsigned expected)
{
    if (atomic_load(word) == expected)
        threads_wait_for(word);
}

/* The word may be gone when others have had their turn: only its address counts. */
void sys_futex_wake_all(atomic_uint *word)
{
    threads_run();
    threads_wake(word);
}

/* ---- features -------------------------------------------------------------------------------- */

bool __wrap_feature_denied(enum feature feature);
bool __wrap_probe_rwf_nosignal(void);
bool __wrap_probe_opcode(int opcode);

bool __wrap_feature_denied(enum feature feature)
{
    return world.mood.denied_features & 1u << feature;
}

bool __wrap_probe_rwf_nosignal(void)
{
    return !__wrap_feature_denied(FEATURE_RWF_NOSIGNAL);
}

/* What kernel_ops.c can. */
bool __wrap_probe_opcode(int opcode)
{
    return operation_of(&(struct io_uring_sqe){ .opcode = (uint8_t)opcode }) != NULL;
}

/* ---- descriptors: libc ----------------------------------------------------------------------- */

WRAP(int, close, int fd)
{
    return fd < FD_FIRST ? __real_close(fd) : answer(descriptor_close(fd));
}

WRAP(int, dup2, int from, int to)
{
    struct object *object = descriptor_object(from);

    if (from < FD_FIRST)
        return __real_dup2(from, to);
    if (!object)
        return answer(-EBADF);
    return from == to ? to : answer(descriptor_replace(object, to));
}

static int duplicate(struct object *object)
{
    object_hold(object);
    return descriptor_new(object);
}

static int pipe_bytes(const struct object *object)
{
    const struct channel *channel = object->in ? object->in : object->out;
    bool is_pipe = object->kind == PIPE_READER || object->kind == PIPE_WRITER;

    return is_pipe ? (int)channel->capacity : -EBADF;
}

static int control(struct object *object, int command, int value)
{
    switch (command) {
    case F_GETFD:
    case F_SETFD:
        return 0;
    case F_GETFL:
        return object->flags | (object->nonblocking ? O_NONBLOCK : 0);
    case F_SETFL:
        object->nonblocking = value & O_NONBLOCK;
        return 0;
    case F_GETPIPE_SZ:
        return pipe_bytes(object);
    case F_SETPIPE_SZ:
        return -EPERM; /* beyond the user's share */
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
        return duplicate(object);
    default:
        return -EINVAL;
    }
}

int __real_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);

int __wrap_fcntl64(int fd, int command, ...)
{
    struct object *object = descriptor_object(fd);
    va_list args;
    int value;

    va_start(args, command);
    value = va_arg(args, int);
    va_end(args);
    if (fd < FD_FIRST)
        return __real_fcntl64(fd, command, value);
    return answer(object ? control(object, command, value) : -EBADF);
}

WRAP(off_t, lseek64, int fd, off_t offset, int whence)
{
    struct object *object = descriptor_object(fd);

    if (fd < FD_FIRST)
        return __real_lseek64(fd, offset, whence);
    if (!object || object->kind != REGULAR_FILE)
        return answer(object ? -ESPIPE : -EBADF);
    if (whence == SEEK_CUR)
        offset += (off_t)object->position;
    if (whence == SEEK_END)
        offset += (off_t)object->file->size;
    object->position = (uint64_t)offset;
    return offset;
}

static mode_t mode_of(const struct object *object)
{
    switch (object->kind) {
    case REGULAR_FILE:
        return S_IFREG;
    case PIPE_READER:
    case PIPE_WRITER:
        return S_IFIFO;
    case EVENT_COUNTER:
    case EPOLL:
        return 0;
    default:
        return S_IFSOCK;
    }
}

WRAP(int, fstat64, int fd, struct stat *status)
{
    struct object *object = descriptor_object(fd);

    if (fd < FD_FIRST)
        return __real_fstat64(fd, status);
    if (!object)
        return answer(-EBADF);
    *status = (struct stat){ .st_mode = mode_of(object) };
    if (object->kind == REGULAR_FILE)
        status->st_size = (off_t)object->file->size;
    return 0;
}

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    struct object *object = descriptor_object(fd);
    va_list args;
    int *count;

    va_start(args, request);
    count = va_arg(args, int *);
    va_end(args);
    if (fd < FD_FIRST)
        return __real_ioctl(fd, request, count);
    if (!object || request != FIONREAD || !object->in)
        return answer(object ? -ENOTTY : -EBADF);
    *count = (int)object->in->arrived;
    return 0;
}

/* ---- making them ----------------------------------------------------------------------------- */

/* Two descriptors or none. */
static int two(struct object *first, struct object *second, int fds[2])
{
    fds[0] = descriptor_new(first);
    if (fds[0] < 0) {
        object_drop(second);
        return fds[0];
    }
    fds[1] = descriptor_new(second);
    if (fds[1] < 0)
        descriptor_close(fds[0]);
    return fds[1] < 0 ? fds[1] : 0;
}

WRAP(int, pipe2, int ends[2], int flags)
{
    struct object *reader = object_new(PIPE_READER), *writer = object_new(PIPE_WRITER);

    (void)flags;
    pipe_join(reader, writer);
    return answer(two(reader, writer, ends));
}

static struct object *socket_new(int type, enum object_kind stream)
{
    bool is_datagram = (type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) == SOCK_DGRAM;

    return is_datagram ? datagram_socket_new() : object_new(stream);
}

WRAP(int, socketpair, int family, int type, int protocol, int ends[2])
{
    struct object *left = socket_new(type, SOCKET_STREAM), *right = socket_new(type, SOCKET_STREAM);

    (void)family;
    (void)protocol;
    if (left->kind == SOCKET_DATAGRAM)
        datagram_join(left, right);
    else
        connect_pair(left, right);
    return answer(two(left, right, ends));
}

WRAP(int, socket, int family, int type, int protocol)
{
    (void)family;
    (void)protocol;
    return answer(descriptor_new(socket_new(type, SOCKET_FRESH)));
}

WRAP(int, bind, int fd, const struct sockaddr *address, socklen_t length)
{
    struct object *object = descriptor_object(fd);

    return answer(object ? socket_bind(object, address, length) : -EBADF);
}

WRAP(int, listen, int fd, int backlog)
{
    struct object *object = descriptor_object(fd);

    return answer(object ? socket_listen(object, backlog) : -EBADF);
}

WRAP(int, shutdown, int fd, int how)
{
    struct object *object = descriptor_object(fd);

    if (!object)
        return answer(-EBADF);
    if (object->kind != SOCKET_STREAM && object->kind != SOCKET_LISTENER)
        return answer(object->kind > SOCKET_LISTENER ? -ENOTSOCK : -ENOTCONN);
    sim_note("shutdown", fd, how, 0);
    socket_shutdown(object, how);
    return 0;
}

WRAP(int, setsockopt, int fd, int level, int option, const void *value, socklen_t length)
{
    struct object *object = descriptor_object(fd);

    (void)length;
    if (!object)
        return answer(-EBADF);
    if (level == SOL_SOCKET && option == SO_LINGER) {
        const struct linger *linger = value;

        object->linger_reset = linger->l_onoff && linger->l_linger == 0;
    }
    return 0;
}

WRAP(int, getsockopt, int fd, int level, int option, void *value, socklen_t *length)
{
    struct object *object = descriptor_object(fd);
    int result = 0;

    if (!object || object->kind > SOCKET_LISTENER)
        return answer(object ? -ENOTSOCK : -EBADF);
    if (level == SOL_SOCKET && option == SO_ERROR)
        result = -pending_error(object);
    if (level == SOL_SOCKET && option == SO_SNDBUF && object->out)
        result = (int)object->out->capacity;
    memcpy(value, &result, smaller(*length, sizeof result));
    return 0;
}

static int tell(const struct sockaddr_storage *address, struct sockaddr *to, socklen_t *length)
{
    const socklen_t known = sizeof(struct sockaddr_in);

    memcpy(to, address, *length < known ? *length : known);
    *length = known;
    return 0;
}

WRAP(int, getsockname, int fd, struct sockaddr *address, socklen_t *length)
{
    struct object *object = descriptor_object(fd);

    return object ? tell(&object->address, address, length) : answer(-EBADF);
}

WRAP(int, getpeername, int fd, struct sockaddr *address, socklen_t *length)
{
    struct object *object = descriptor_object(fd);

    return object ? tell(&object->peer_address, address, length) : answer(-EBADF);
}

/* ---- names ----------------------------------------------------------------------------------- */

/* Every name is this machine, with one address or two; some are not known. */
WRAP(int, getaddrinfo, const char *host, const char *service, const struct addrinfo *hints,
     struct addrinfo **list)
{
    struct sockaddr_in *address;
    struct addrinfo *info;

    (void)host;
    if (sim_chance(world.mood.refusal))
        return sim_chance(500) ? EAI_NONAME : EAI_AGAIN;
    if (memory_fails())
        return EAI_MEMORY;
    info = sim_alloc(sizeof *info + sizeof *address);
    address = (struct sockaddr_in *)(info + 1);
    *address = (struct sockaddr_in){ .sin_family = AF_INET,
                                     .sin_port = htons((uint16_t)atoi(service)),
                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    *info = (struct addrinfo){ .ai_family = AF_INET,
                               .ai_socktype = hints->ai_socktype,
                               .ai_addrlen = sizeof *address,
                               .ai_addr = (struct sockaddr *)address };
    *list = info;
    return 0;
}

WRAP(void, freeaddrinfo, struct addrinfo *list)
{
    (void)list;
}
