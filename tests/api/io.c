/*
 * Files and descriptors: what gring_* gives is what the POSIX call of that name gives.
 *
 * Most tests here are scripts: a function that makes calls and writes down each result. A script
 * is run three times, each time from the same start: with libc's calls on a plain thread (the
 * original), with ours on a plain thread (where they are the plain ones) and with ours in a
 * task. The three records must be the same, errno included, and a call that succeeds must have
 * left errno alone.
 *
 * What has no original, since it would block the thread, follows as ordinary tests.
 */
#include "tests/support/child.h"
#include "tests/support/fds.h"
#include "tests/support/green.h"

#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* ---- scripts --------------------------------------------------------------------------------- */

struct calls {
    ssize_t (*read)(int, void *, size_t);
    ssize_t (*write)(int, const void *, size_t);
    ssize_t (*readv)(int, const struct iovec *, int);
    ssize_t (*writev)(int, const struct iovec *, int);
    ssize_t (*pread)(int, void *, size_t, off_t);
    ssize_t (*pwrite)(int, const void *, size_t, off_t);
    int (*open)(const char *, int, ...);
    int (*openat)(int, const char *, int, ...);
    int (*close)(int);
    int (*fsync)(int);
};

static const struct calls original = { read,   write, readv,  writev, pread,
                                       pwrite, open,  openat, close,  fsync };
static const struct calls ours = { gring_read,  gring_write,  gring_readv, gring_writev,
                                   gring_pread, gring_pwrite, gring_open,  gring_openat,
                                   gring_close, gring_fsync };

struct script {
    const struct calls *call;
    void (*steps)(struct script *s);
    char folder[64]; /* an empty one, for this run alone */
    char text[16384];
    size_t length;
};

enum { ERRNO_BEFORE = 4242 };

static __attribute__((format(printf, 2, 3))) void put(struct script *s, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    s->length += (size_t)vsnprintf(s->text + s->length, sizeof s->text - s->length, format, args);
    va_end(args);
    cr_assert_lt(s->length, sizeof s->text, "the record is full");
}

static void put_result(struct script *s, const char *what, long long result)
{
    int error = errno;

    put(s, "%s -> %lld", what, result);
    if (result < 0)
        put(s, " %s", strerrorname_np(error));
    else if (error != ERRNO_BEFORE)
        put(s, ", and errno became %s", strerrorname_np(error));
    put(s, "\n");
}

/* Makes the call and writes down what came of it. */
#define SAY(expression) (errno = ERRNO_BEFORE, put_result(s, #expression, (long long)(expression)))

/* The same for what gives a descriptor, whose number must not matter. */
#define SAY_OPENED(expression) say_opened(s, #expression, (errno = ERRNO_BEFORE, (expression)))

static int say_opened(struct script *s, const char *what, int fd)
{
    int error = errno;

    put(s, "%s -> %s\n", what, fd >= 0 ? "a descriptor" : strerrorname_np(error));
    if (fd >= 0)
        put(s, "  flags %o, close-on-exec %d\n", (unsigned)fcntl(fd, F_GETFL), fcntl(fd, F_GETFD));
    return fd;
}

static void say_bytes(struct script *s, const void *buf, size_t size)
{
    const unsigned char *bytes = buf;

    put(s, "  bytes");
    for (size_t index = 0; index < size; index++)
        put(s, " %02x", bytes[index]);
    put(s, "\n");
}

static void say_file(struct script *s, int fd)
{
    off_t position = lseek(fd, 0, SEEK_CUR);
    char all[64];
    ssize_t size = pread(fd, all, sizeof all, 0);

    put(s, "  position %lld, file of %zd:", (long long)position, size);
    say_bytes(s, all, size < 0 ? 0 : (size_t)size);
}

static int closed_descriptor(void)
{
    int fd = dup(0);

    close(fd);
    return fd;
}

static const char *in_folder(struct script *s, const char *name)
{
    static char path[512];

    snprintf(path, sizeof path, "%s/%s", s->folder, name);
    return path;
}

static void run_script(struct script *s)
{
    char command[128];
    int before = descriptor_count();

    strcpy(s->folder, P_tmpdir "/greenring-test-XXXXXX");
    cr_assert_not_null(mkdtemp(s->folder));
    s->steps(s);
    cr_assert_eq(descriptor_count(), before, "the script leaves descriptors behind");
    snprintf(command, sizeof command, "rm -rf %s", s->folder);
    cr_assert_eq(system(command), 0);
}

static void *run_script_in_task(void *script)
{
    run_script(script);
    return NULL;
}

static void compare(void (*steps)(struct script *))
{
    static struct script plain, foreign, green;

    plain = (struct script){ .call = &original, .steps = steps };
    foreign = (struct script){ .call = &ours, .steps = steps };
    green = (struct script){ .call = &ours, .steps = steps };
    run_script(&plain);
    run_script(&foreign);
    cr_assert_eq(gring_run(run_script_in_task, &green, NULL), 0, "gring_run: %m");
    cr_assert_gt(plain.length, 0);
    cr_expect_str_eq(foreign.text, plain.text, "on a plain thread:\n%s\nthe original:\n%s",
                     foreign.text, plain.text);
    cr_expect_str_eq(green.text, plain.text, "in a task:\n%s\nthe original:\n%s", green.text,
                     plain.text);
}

#define SameAsPosix(name)                                                                          \
    static void name##_steps(struct script *s);                                                    \
    Test(io, name)                                                                                 \
    {                                                                                              \
        compare(name##_steps);                                                                     \
    }                                                                                              \
    static void name##_steps(struct script *s)

/* SIGPIPEs since the last look. */
static volatile sig_atomic_t pipe_signals;

static void count_pipe_signal(int number)
{
    (void)number;
    pipe_signals++;
}

static void say_pipe_signals(struct script *s)
{
    put(s, "  SIGPIPE %d times\n", (int)pipe_signals);
    pipe_signals = 0;
}

/* ---- read, readv, pread ---------------------------------------------------------------------- */

SameAsPosix(read_gives_what_is_there_and_moves_the_position)
{
    int fd = make_file("green threads", 13);
    char buf[32];

    SAY(s->call->read(fd, buf, 5));
    say_bytes(s, buf, 5);
    SAY(lseek(fd, 0, SEEK_CUR));
    SAY(s->call->read(fd, buf, sizeof buf));
    say_bytes(s, buf, 8);
    say_file(s, fd);
    close(fd);
}

SameAsPosix(read_at_the_end_of_a_file_gives_zero)
{
    int fd = make_file("x", 1);
    char buf[8];

    lseek(fd, 1, SEEK_SET);
    SAY(s->call->read(fd, buf, sizeof buf));
    lseek(fd, 1000, SEEK_SET);
    SAY(s->call->read(fd, buf, sizeof buf));
    SAY(lseek(fd, 0, SEEK_CUR));
    close(fd);
}

SameAsPosix(read_of_nothing_gives_zero_at_once)
{
    int file = make_file("x", 1), closed = closed_descriptor(), pipe_ends[2], pair[2];
    char byte;

    make_pipe(pipe_ends);
    make_unix_pair(pair);
    SAY(s->call->read(file, &byte, 0));
    SAY(s->call->read(pipe_ends[0], &byte, 0));
    SAY(s->call->read(pair[0], &byte, 0));
    SAY(s->call->read(pipe_ends[0], NULL, 0));
    SAY(s->call->read(closed, &byte, 0));
    SAY(s->call->read(pipe_ends[1], &byte, 0));
    close(file);
    close_both(pipe_ends);
    close_both(pair);
}

SameAsPosix(read_refuses_what_is_no_readable_descriptor)
{
    int closed = closed_descriptor(), ends[2], path = open(s->folder, O_PATH | O_CLOEXEC);
    char buf[4];

    make_pipe(ends);
    SAY(s->call->read(-1, buf, sizeof buf));
    SAY(s->call->read(INT_MIN, buf, sizeof buf));
    SAY(s->call->read(INT_MAX, buf, sizeof buf));
    SAY(s->call->read(closed, buf, sizeof buf));
    SAY(s->call->read(ends[1], buf, sizeof buf));
    SAY(s->call->read(path, buf, sizeof buf));
    close(path);
    close_both(ends);
}

SameAsPosix(read_of_a_directory_is_EISDIR)
{
    int fd = open(s->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char buf[4];
    struct iovec part = { buf, sizeof buf };

    SAY(s->call->read(fd, buf, sizeof buf));
    SAY(s->call->pread(fd, buf, sizeof buf, 0));
    SAY(s->call->readv(fd, &part, 1));
    close(fd);
}

SameAsPosix(read_into_no_memory_is_EFAULT_and_moves_nothing)
{
    int file = make_file("green", 5), ends[2];
    char byte;

    make_pipe(ends);
    cr_assert_eq(write(ends[1], "!", 1), 1);
    SAY(s->call->read(file, NULL, 5));
    say_file(s, file);
    SAY(s->call->read(ends[0], NULL, 1));
    SAY(s->call->read(ends[0], &byte, 1));
    close(file);
    close_both(ends);
}

SameAsPosix(read_of_a_pipe_gives_what_is_there_then_the_end)
{
    int ends[2];
    char buf[8];

    make_pipe(ends);
    cr_assert_eq(write(ends[1], "abcde", 5), 5);
    close(ends[1]);
    SAY(s->call->read(ends[0], buf, 3));
    say_bytes(s, buf, 3);
    SAY(s->call->read(ends[0], buf, sizeof buf));
    say_bytes(s, buf, 2);
    SAY(s->call->read(ends[0], buf, sizeof buf));
    SAY(s->call->read(ends[0], buf, sizeof buf));
    close(ends[0]);
}

SameAsPosix(read_of_devices)
{
    int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC),
        null = open("/dev/null", O_RDWR | O_CLOEXEC);
    char buf[8] = "garbage";

    SAY(s->call->read(zero, buf, sizeof buf));
    say_bytes(s, buf, sizeof buf);
    SAY(s->call->pread(zero, buf, sizeof buf, 12345));
    SAY(s->call->read(null, buf, sizeof buf));
    SAY(s->call->write(null, buf, sizeof buf));
    close(zero);
    close(null);
}

SameAsPosix(read_of_an_eventfd_takes_the_count)
{
    int fd = eventfd(3, EFD_CLOEXEC);
    uint64_t count = 0;

    SAY(s->call->read(fd, &count, 4));
    SAY(s->call->read(fd, &count, sizeof count));
    SAY((long long)count);
    close(fd);
}

SameAsPosix(read_and_write_of_sockets)
{
    int ends[2];
    char buf[8];

    make_unix_pair(ends);
    SAY(s->call->write(ends[0], "abcde", 5));
    SAY(s->call->read(ends[1], buf, sizeof buf));
    say_bytes(s, buf, 5);
    cr_assert_eq(shutdown(ends[0], SHUT_WR), 0);
    SAY(s->call->read(ends[1], buf, sizeof buf));
    SAY(s->call->read(ends[1], buf, sizeof buf));
    close_both(ends);
}

SameAsPosix(pread_leaves_the_position_alone)
{
    int fd = make_file("0123456789", 10);
    char buf[16];

    lseek(fd, 2, SEEK_SET);
    SAY(s->call->pread(fd, buf, 3, 5));
    say_bytes(s, buf, 3);
    SAY(s->call->pread(fd, buf, sizeof buf, 8));
    SAY(s->call->pread(fd, buf, sizeof buf, 10));
    SAY(s->call->pread(fd, buf, sizeof buf, 1 << 20));
    SAY(s->call->pread(fd, buf, sizeof buf, 0));
    say_file(s, fd);
    close(fd);
}

SameAsPosix(pread_and_pwrite_refuse_a_negative_offset)
{
    int fd = make_file("0123", 4);
    char buf[4];

    SAY(s->call->pread(fd, buf, 4, -1));
    SAY(s->call->pwrite(fd, "abcd", 4, -1));
    SAY(s->call->pread(fd, buf, 4, LLONG_MIN));
    SAY(s->call->pread(-1, buf, 4, -1));
    say_file(s, fd);
    close(fd);
}

SameAsPosix(pread_and_pwrite_refuse_what_has_no_positions)
{
    int ends[2], pair[2];
    char buf[4];

    make_pipe(ends);
    make_unix_pair(pair);
    cr_assert_eq(write(ends[1], "data", 4), 4);
    cr_assert_eq(write(pair[1], "data", 4), 4);
    SAY(s->call->pread(ends[0], buf, 4, 0));
    SAY(s->call->pwrite(ends[1], "abcd", 4, 0));
    SAY(s->call->pread(pair[0], buf, 4, 0));
    SAY(s->call->pwrite(pair[0], "abcd", 4, 7));
    SAY(unread_bytes(ends[0]));
    SAY(unread_bytes(pair[0]));
    SAY(unread_bytes(pair[1]));
    close_both(ends);
    close_both(pair);
}

SameAsPosix(readv_fills_one_part_after_the_other)
{
    int fd = make_file("0123456789", 10);
    char first[3], second[4], third[8];
    struct iovec parts[] = { { first, 3 }, { NULL, 0 }, { second, 4 }, { third, 8 } };

    SAY(s->call->readv(fd, parts, 4));
    say_bytes(s, first, 3);
    say_bytes(s, second, 4);
    say_bytes(s, third, 3);
    SAY(s->call->readv(fd, parts, 4));
    say_file(s, fd);
    close(fd);
}

SameAsPosix(readv_and_writev_refuse_absurd_vectors)
{
    int fd = make_file("0123", 4);
    static struct iovec many[IOV_MAX + 1];
    char byte;
    struct iovec huge[] = { { &byte, SSIZE_MAX }, { &byte, SSIZE_MAX } };

    SAY(s->call->readv(fd, many, 0));
    SAY(s->call->readv(fd, many, -1));
    SAY(s->call->readv(fd, many, IOV_MAX));
    SAY(s->call->readv(fd, many, IOV_MAX + 1));
    SAY(s->call->writev(fd, many, 0));
    SAY(s->call->writev(fd, many, -1));
    SAY(s->call->writev(fd, many, IOV_MAX + 1));
    huge[0].iov_len = (size_t)-1;
    SAY(s->call->readv(fd, huge, 1));
    SAY(s->call->readv(fd, NULL, 1));
    SAY(s->call->readv(-1, many, 1));
    SAY(s->call->writev(-1, many, 1));
    say_file(s, fd);
    close(fd);
}

/* ---- write, writev, pwrite ------------------------------------------------------------------- */

SameAsPosix(write_goes_to_the_position_and_moves_it)
{
    int fd = make_file("0123456789", 10);

    lseek(fd, 4, SEEK_SET);
    SAY(s->call->write(fd, "ab", 2));
    SAY(lseek(fd, 0, SEEK_CUR));
    SAY(s->call->write(fd, "cdefghij", 8));
    say_file(s, fd);
    close(fd);
}

SameAsPosix(write_appends_where_asked_to)
{
    int fd = make_file("01", 2);

    cr_assert_eq(fcntl(fd, F_SETFL, O_APPEND), 0);
    SAY(s->call->write(fd, "ab", 2));
    SAY(s->call->pwrite(fd, "cd", 2, 0)); /* Linux appends here too */
    say_file(s, fd);
    close(fd);
}

SameAsPosix(write_of_nothing_says_whether_that_could_be_written)
{
    int file = make_file("x", 1), closed = closed_descriptor(), ends[2];

    make_pipe(ends);
    SAY(s->call->write(file, "", 0));
    SAY(s->call->write(ends[1], "", 0));
    SAY(s->call->write(ends[0], "", 0));
    SAY(s->call->write(closed, "", 0));
    fill(ends[1]);
    SAY(s->call->write(ends[1], "", 0));
    SAY(s->call->pwrite(file, "", 0, 3));
    say_file(s, file);
    close(file);
    close_both(ends);
}

SameAsPosix(write_refuses_what_is_no_writable_descriptor)
{
    int closed = closed_descriptor(), folder = open(s->folder, O_RDONLY | O_CLOEXEC), ends[2];
    struct iovec part = { s->folder, 4 };

    make_pipe(ends);
    SAY(s->call->write(-1, "abc", 3));
    SAY(s->call->write(INT_MAX, "abc", 3));
    SAY(s->call->write(closed, "abc", 3));
    SAY(s->call->write(ends[0], "abc", 3));
    SAY(s->call->write(folder, "abc", 3));
    SAY(s->call->pwrite(closed, "abc", 3, 0));
    SAY(s->call->writev(ends[0], &part, 1));
    close(folder);
    close_both(ends);
}

SameAsPosix(write_from_no_memory_is_EFAULT)
{
    int file = make_file("", 0), ends[2];

    make_pipe(ends);
    SAY(s->call->write(file, NULL, 5));
    SAY(s->call->write(ends[1], NULL, 5));
    SAY(unread_bytes(ends[0]));
    close(file);
    close_both(ends);
}

SameAsPosix(write_to_a_full_device_is_ENOSPC)
{
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

    SAY(s->call->write(fd, "abc", 3));
    SAY(s->call->pwrite(fd, "abc", 3, 0));
    close(fd);
}

SameAsPosix(write_to_a_pipe_without_reader_is_EPIPE_with_one_signal)
{
    struct iovec part = { s->folder, 4 };
    int ends[2];

    signal(SIGPIPE, count_pipe_signal);
    make_pipe(ends);
    close(ends[0]);
    SAY(s->call->write(ends[1], "abc", 3));
    say_pipe_signals(s);
    SAY(s->call->writev(ends[1], &part, 1));
    say_pipe_signals(s);
    close(ends[1]);
}

SameAsPosix(write_to_a_closed_socket_is_EPIPE_with_one_signal)
{
    int ends[2];

    signal(SIGPIPE, count_pipe_signal);
    make_unix_pair(ends);
    close(ends[0]);
    SAY(s->call->write(ends[1], "abc", 3));
    say_pipe_signals(s);
    close(ends[1]);
}

SameAsPosix(writev_writes_one_part_after_the_other)
{
    int fd = make_file("", 0), ends[2];
    struct iovec parts[] = { { (char[]){ 'a', 'b' }, 2 }, { NULL, 0 }, { (char[]){ 'c' }, 1 } };
    char buf[4];

    make_pipe(ends);
    SAY(s->call->writev(fd, parts, 3));
    SAY(s->call->writev(fd, parts, 3));
    say_file(s, fd);
    SAY(s->call->writev(ends[1], parts, 3));
    SAY(s->call->read(ends[0], buf, sizeof buf));
    say_bytes(s, buf, 3);
    close(fd);
    close_both(ends);
}

SameAsPosix(pwrite_leaves_the_position_alone)
{
    int fd = make_file("0123", 4);

    lseek(fd, 1, SEEK_SET);
    SAY(s->call->pwrite(fd, "ab", 2, 6));
    SAY(s->call->pwrite(fd, "cd", 2, 0));
    say_file(s, fd);
    close(fd);
}

SameAsPosix(one_write_to_an_eventfd_adds_once)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    uint64_t two[2] = { 1, 1 }, count = 0;

    SAY(s->call->write(fd, two, 4));
    SAY(s->call->write(fd, two, sizeof two)); /* takes the first 8 bytes and says so */
    SAY(read(fd, &count, sizeof count));
    SAY((long long)count);
    close(fd);
}

SameAsPosix(write_up_to_the_file_size_limit_is_short_and_quiet)
{
    struct iovec part = { (char[]){ "abcdefgh" }, 8 };
    struct rlimit before, limit;
    int fd = make_file("", 0);

    signal(SIGXFSZ, count_pipe_signal);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){ .rlim_cur = 6, .rlim_max = before.rlim_max };
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    SAY(s->call->write(fd, "0123456789", 10));
    put(s, "  SIGXFSZ %d times\n", (int)pipe_signals);
    pipe_signals = 0;
    say_file(s, fd);
    lseek(fd, 2, SEEK_SET);
    SAY(s->call->writev(fd, &part, 1));
    say_file(s, fd);
    cr_assert_eq(fcntl(fd, F_SETFL, O_APPEND), 0);
    cr_assert_eq(ftruncate(fd, 1), 0);
    SAY(s->call->write(fd, "0123456789", 10));
    say_file(s, fd);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    close(fd);
}

SameAsPosix(one_transfer_moves_at_most_what_read_and_write_move)
{
    const size_t size = (size_t)3 << 30;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    cr_assert_neq(memory, MAP_FAILED);
    SAY(s->call->write(fd, memory, size));
    SAY(s->call->pwrite(fd, memory, size, 0));
    SAY(s->call->read(fd, memory, size));
    munmap(memory, size);
    close(fd);
}

/* ---- open, openat, close, fsync -------------------------------------------------------------- */

static void say_mode(struct script *s, int fd)
{
    struct stat status;

    cr_assert_eq(fstat(fd, &status), 0);
    put(s, "  mode %o, size %lld\n", status.st_mode, (long long)status.st_size);
}

SameAsPosix(open_creates_with_the_mode_and_the_umask)
{
    mode_t mask = umask(027);
    int fd = SAY_OPENED(s->call->open(in_folder(s, "new"), O_RDWR | O_CREAT | O_EXCL, 0666));

    say_mode(s, fd);
    SAY(s->call->write(fd, "abc", 3));
    close(fd);
    fd = SAY_OPENED(
        s->call->open(in_folder(s, "new"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    say_mode(s, fd);
    close(fd);
    SAY_OPENED(s->call->open(in_folder(s, "new"), O_RDWR | O_CREAT | O_EXCL, 0600));
    fd = SAY_OPENED(s->call->open(in_folder(s, "new"), O_WRONLY | O_APPEND | O_NONBLOCK));
    close(fd);
    umask(mask);
}

SameAsPosix(open_makes_a_file_without_a_name)
{
    int fd = SAY_OPENED(s->call->open(s->folder, O_TMPFILE | O_RDWR, 0640));

    if (fd >= 0) {
        say_mode(s, fd);
        close(fd);
    }
}

SameAsPosix(open_refuses_what_open_refuses)
{
    char long_name[NAME_MAX + 8];
    int fd;

    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    fd = open(in_folder(s, "file"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    cr_assert_eq(symlink("loop", in_folder(s, "loop")), 0);
    SAY_OPENED(s->call->open(in_folder(s, "absent"), O_RDONLY));
    SAY_OPENED(s->call->open(in_folder(s, "absent/below"), O_CREAT | O_RDWR, 0600));
    SAY_OPENED(s->call->open(s->folder, O_WRONLY));
    SAY_OPENED(s->call->open(in_folder(s, "file/below"), O_RDONLY));
    SAY_OPENED(s->call->open(in_folder(s, "file"), O_RDONLY | O_DIRECTORY));
    SAY_OPENED(s->call->open(in_folder(s, "loop"), O_RDONLY));
    SAY_OPENED(s->call->open(in_folder(s, long_name), O_RDONLY));
    SAY_OPENED(s->call->open("", O_RDONLY));
    SAY_OPENED(s->call->open((char *)8, O_RDONLY));        /* no memory there */
    SAY_OPENED(s->call->open(s->folder, O_TMPFILE, 0600)); /* for reading only */
}

SameAsPosix(openat_starts_at_the_folder)
{
    int folder = open(s->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), closed = closed_descriptor();
    int file = SAY_OPENED(s->call->openat(folder, "file", O_CREAT | O_RDWR, 0604));
    int again = SAY_OPENED(s->call->openat(-1, in_folder(s, "file"), O_RDONLY)); /* absolute */

    say_mode(s, file);
    SAY_OPENED(s->call->openat(folder, "absent", O_RDONLY));
    SAY_OPENED(s->call->openat(file, "below", O_RDONLY));
    SAY_OPENED(s->call->openat(closed, "file", O_RDONLY));
    SAY_OPENED(s->call->openat(-1, "file", O_RDONLY));
    close(folder);
    close(file);
    close(again);
}

SameAsPosix(close_works_once)
{
    int fd = make_file("", 0);

    SAY(s->call->close(fd));
    SAY(is_open(fd));
    SAY(s->call->close(fd));
    SAY(s->call->close(-1));
    SAY(s->call->close(INT_MAX));
    SAY(s->call->close(INT_MIN));
}

SameAsPosix(fsync_of_a_file_and_of_what_cannot)
{
    int file = make_file("abc", 3), folder = open(s->folder, O_RDONLY | O_CLOEXEC);
    int closed = closed_descriptor(), ends[2];

    make_pipe(ends);
    SAY(s->call->fsync(file));
    SAY(s->call->fsync(folder));
    SAY(s->call->fsync(ends[1]));
    SAY(s->call->fsync(closed));
    SAY(s->call->fsync(-1));
    close(file);
    close(folder);
    close_both(ends);
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* A call made by a task of its own, and what came of it. */
struct transfer {
    int fd;
    char *buf;
    size_t size;
    ssize_t result;
    int error;
};

static void *read_once(void *arg)
{
    struct transfer *t = arg;

    t->result = gring_read(t->fd, t->buf, t->size);
    t->error = errno;
    return NULL;
}

static void *write_once(void *arg)
{
    struct transfer *t = arg;

    t->result = gring_write(t->fd, t->buf, t->size);
    t->error = errno;
    return NULL;
}

static void *write_full_once(void *arg)
{
    struct transfer *t = arg;

    t->result = gring_write_full(t->fd, t->buf, t->size, NULL);
    t->error = errno;
    return NULL;
}

/* Starts the call and lets it get as far as it can; it must be waiting then. */
static gring_task *spawn_waiting(gring_fn fn, struct transfer *t)
{
    gring_task *task = gring_spawn(fn, t);

    cr_assert_not_null(task);
    gring_idle();
    cr_assert_eq(gring_task_state(task), GRING_PARKED, "the call did not wait: %zd", t->result);
    return task;
}

GreenTest(io, read_of_an_empty_pipe_waits_for_the_writer)
{
    char buf[8];
    int ends[2];
    struct transfer t = { .buf = buf, .size = sizeof buf };
    gring_task *task;

    make_pipe(ends);
    t.fd = ends[0];
    task = spawn_waiting(read_once, &t);
    cr_assert_eq(write(ends[1], "abc", 3), 3);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(t.result, 3);
    cr_assert_arr_eq(buf, "abc", 3);
    close_both(ends);
}

GreenTest(io, read_of_a_nonblocking_pipe_waits_all_the_same)
{
    char buf[8];
    int ends[2];
    struct transfer t = { .buf = buf, .size = sizeof buf };
    gring_task *task;

    make_pipe(ends);
    set_nonblocking(ends[0]);
    t.fd = ends[0];
    task = spawn_waiting(read_once, &t);
    cr_assert_eq(write(ends[1], "abc", 3), 3);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(t.result, 3);
    close_both(ends);
}

GreenTest(io, read_of_a_nonblocking_socket_waits_all_the_same)
{
    char buf[8];
    int ends[2];
    struct transfer t = { .buf = buf, .size = sizeof buf };
    gring_task *task;

    make_unix_pair(ends);
    set_nonblocking(ends[0]);
    t.fd = ends[0];
    task = spawn_waiting(read_once, &t);
    cr_assert_eq(write(ends[1], "abc", 3), 3);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(t.result, 3);
    close_both(ends);
}

GreenTest(io, write_to_a_full_nonblocking_socket_waits_all_the_same)
{
    int ends[2];
    struct transfer t = { .buf = (char[]){ "xyz" }, .size = 3 };
    char buf[4096];
    gring_task *task;
    size_t before;

    make_unix_pair(ends);
    set_nonblocking(ends[0]);
    before = fill(ends[0]);
    t.fd = ends[0];
    task = spawn_waiting(write_once, &t);
    for (size_t got = 0; got < before + 3;) {
        ssize_t count = gring_read(ends[1], buf, sizeof buf);

        cr_assert_gt(count, 0);
        got += (size_t)count;
    }
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(t.result, 3);
    close_both(ends);
}

static void *read_eventfd(void *arg)
{
    struct transfer *t = arg;
    uint64_t count = 0;

    t->result = gring_read(t->fd, &count, sizeof count);
    t->size = count;
    return NULL;
}

GreenTest(io, read_of_an_eventfd_waits_for_a_count)
{
    struct transfer t = { .fd = eventfd(0, EFD_CLOEXEC) };
    gring_task *task = spawn_waiting(read_eventfd, &t);
    uint64_t seven = 7;

    cr_assert_eq(write(t.fd, &seven, sizeof seven), sizeof seven);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(t.result, sizeof seven);
    cr_assert_eq(t.size, 7);
    close(t.fd);
}

static void *open_for_reading(void *path)
{
    return (void *)(intptr_t)gring_open(path, O_RDONLY | O_CLOEXEC);
}

static void *open_for_writing(void *path)
{
    return (void *)(intptr_t)gring_open(path, O_WRONLY | O_CLOEXEC);
}

/* io_uring's own first attempt at an open does not block, which a FIFO takes for O_NONBLOCK. */
static void expect_fifo_open_to_wait(gring_fn first, gring_fn second)
{
    char folder[] = P_tmpdir "/greenring-test-XXXXXX", path[64];
    void *one = NULL, *other = NULL;
    gring_task *task;

    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/fifo", folder);
    cr_assert_eq(mkfifo(path, 0600), 0);
    task = gring_spawn(first, path);
    gring_idle();
    cr_expect_eq(gring_task_state(task), GRING_PARKED, "the open did not wait for the other end");
    other = second(path);
    cr_assert_eq(gring_join(task, &one), 0);
    cr_expect_geq((intptr_t)one, 0);
    cr_expect_geq((intptr_t)other, 0);
    close((int)(intptr_t)one);
    close((int)(intptr_t)other);
    unlink(path);
    rmdir(folder);
}

GreenTest(io, open_of_a_fifo_for_reading_waits_for_the_writer)
{
    expect_fifo_open_to_wait(open_for_reading, open_for_writing);
}

GreenTest(io, open_of_a_fifo_for_writing_waits_for_the_reader)
{
    expect_fifo_open_to_wait(open_for_writing, open_for_reading);
}

/* A program that has been waiting in open(2) for somebody to read. It must not be let in and
 * then left. */
struct fifo_writer {
    char path[64];
    int rounds, failures;
    sem_t turn;
};

static void *write_to_fifo(void *arg)
{
    struct fifo_writer *writer = arg;

    for (int round = 0; round < writer->rounds; round++) {
        int fd;

        sem_wait(&writer->turn);
        fd = open(writer->path, O_WRONLY | O_CLOEXEC);
        writer->failures += write(fd, "x", 1) != 1;
        close(fd);
    }
    return NULL;
}

/* What is written to a leaving reader is lost. A worker of the kernel that carried out a read may
 * hold the file for a moment after gring_close; the turn comes when it, too, has let go. */
static void wait_until_nobody_reads(const char *path)
{
    int fd;

    while ((fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC)) >= 0) {
        close(fd);
        gring_sleep(50 * GRING_US);
    }
    cr_assert_eq(errno, ENXIO);
}

GreenTest(io, open_of_a_fifo_takes_the_writer_that_is_waiting)
{
    char folder[] = P_tmpdir "/greenring-test-XXXXXX", byte;
    struct fifo_writer writer = { .rounds = 3000 };
    pthread_t thread;

    signal(SIGPIPE, SIG_IGN);
    sem_init(&writer.turn, 0, 0);
    cr_assert_not_null(mkdtemp(folder));
    snprintf(writer.path, sizeof writer.path, "%s/fifo", folder);
    cr_assert_eq(mkfifo(writer.path, 0600), 0);
    cr_assert_eq(pthread_create(&thread, NULL, write_to_fifo, &writer), 0);
    for (int got = 0; got < writer.rounds;) {
        ssize_t count;
        int fd;

        wait_until_nobody_reads(writer.path);
        sem_post(&writer.turn);
        fd = gring_open(writer.path, O_RDONLY | O_CLOEXEC);
        cr_assert_geq(fd, 0, "%m");
        while ((count = gring_read(fd, &byte, 1)) > 0)
            got++;
        cr_assert_eq(count, 0);
        gring_close(fd);
    }
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(writer.failures, 0, "%d writers met a closed reader", writer.failures);
    unlink(writer.path);
    rmdir(folder);
}

static void *open_for_creating(void *path)
{
    return (void *)(intptr_t)gring_open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
}

/* Opens that wait must not use up what other files are opened and written by. */
GreenTest(io, opens_of_fifos_that_wait_leave_files_usable)
{
    enum { WAITING = 20 };
    char folder[] = P_tmpdir "/greenring-test-XXXXXX", path[64];
    gring_task *tasks[WAITING];
    int fd, reader;

    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/fifo", folder);
    cr_assert_eq(mkfifo(path, 0600), 0);
    for (int index = 0; index < WAITING; index++)
        tasks[index] = gring_spawn(index % 2 ? open_for_creating : open_for_writing, path);
    gring_idle();
    fd = gring_open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0, "%m");
    cr_assert_eq(gring_write(fd, "abc", 3), 3);
    cr_assert_eq(gring_fsync(fd), 0);
    close(fd);
    reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    for (int index = 0; index < WAITING; index++) {
        void *opened = NULL;

        cr_assert_eq(gring_join(tasks[index], &opened), 0);
        cr_assert_geq((intptr_t)opened, 0);
        close((int)(intptr_t)opened);
    }
    close(reader);
    unlink(path);
    rmdir(folder);
}

/* More than there are threads for: the last ones' jobs are never begun. */
enum { ABANDONED = 70 };

static void expect_count_of_descriptors(int count)
{
    while (descriptor_count() != count) /* threads are on their way out of open(2) */
        gring_sleep(GRING_MS);
}

static int threads_in_openat(void)
{
    DIR *threads = opendir("/proc/self/task");
    struct dirent *entry;
    int count = 0;

    cr_assert_not_null(threads);
    while ((entry = readdir(threads))) {
        char path[300];
        long number = -1;
        FILE *file;

        snprintf(path, sizeof path, "/proc/self/task/%s/syscall", entry->d_name);
        file = fopen(path, "r");
        count += file && fscanf(file, "%ld", &number) == 1 && number == SYS_openat;
        if (file)
            fclose(file);
    }
    closedir(threads);
    return count;
}

/* A thread that is in open(2) cannot be called back; what it gets in the end is closed. */
GreenTest(io, opens_of_a_fifo_that_were_killed_keep_nothing_when_the_other_end_comes)
{
    char folder[] = P_tmpdir "/greenring-test-XXXXXX", path[64];
    gring_task *tasks[ABANDONED];
    int before = descriptor_count(), reader;

    if (access("/proc/self/syscall", R_OK) < 0)
        cr_skip_test("/proc does not tell where threads are");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/fifo", folder);
    cr_assert_eq(mkfifo(path, 0600), 0);
    for (int index = 0; index < ABANDONED; index++)
        tasks[index] = gring_spawn(open_for_writing, path);
    gring_idle();
    while (threads_in_openat() == 0)
        gring_sleep(GRING_MS);
    for (int index = 0; index < ABANDONED; index++)
        gring_kill(tasks[index]);
    for (int index = 0; index < ABANDONED; index++)
        cr_assert_eq(gring_join(tasks[index], NULL), ECANCELED);
    reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    cr_assert_geq(reader, 0);
    /* a writer has come, and there is none any more */
    cr_assert_eq(gring_wait_fd(reader, POLLIN), POLLHUP);
    expect_count_of_descriptors(before + 1);
    close(reader);
    unlink(path);
    rmdir(folder);
}

/* The ring's own attempt has come back, and the task has not run: what is open is given back. */
GreenTest(io, an_open_of_a_fifo_that_is_killed_before_it_waits_keeps_nothing)
{
    char folder[] = P_tmpdir "/greenring-test-XXXXXX", path[64], byte;
    int before = descriptor_count(), pair[2];
    gring_task *task;

    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/fifo", folder);
    cr_assert_eq(mkfifo(path, 0600), 0);
    make_unix_pair(pair);
    task = gring_spawn(open_for_reading, path);
    gring_yield();
    cr_assert_eq(gring_set_prio(GRING_PRIO_HIGH), 0); /* from now on it goes first */
    for (int round = 0; round < 100 && gring_task_state(task) != GRING_READY; round++) {
        cr_assert_eq(write(pair[1], "x", 1), 1);
        cr_assert_eq(gring_read(pair[0], &byte, 1), 1);
    }
    gring_kill(task);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    close_both(pair);
    expect_count_of_descriptors(before);
    unlink(path);
    rmdir(folder);
}

/* The kill comes before the hub has heard that it is open, or after: then it waits. */
GreenTest(io, an_open_of_a_fifo_that_is_killed_as_it_succeeds_loses_no_descriptor)
{
    char folder[] = P_tmpdir "/greenring-test-XXXXXX", path[64];
    int before = descriptor_count();

    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/fifo", folder);
    cr_assert_eq(mkfifo(path, 0600), 0);
    for (int round = 0; round < 100; round++) {
        gring_task *task = gring_spawn(open_for_writing, path);
        void *opened = (void *)-1;
        int reader;

        gring_idle();
        reader = open(path, O_RDONLY | O_CLOEXEC); /* waits for the thread's open(2) */
        cr_assert_geq(reader, 0);
        gring_kill(task);
        gring_join(task, &opened);
        if ((intptr_t)opened >= 0)
            close((int)(intptr_t)opened);
        close(reader);
        expect_count_of_descriptors(before);
    }
    unlink(path);
    rmdir(folder);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static size_t pipe_capacity(int fd)
{
    return (size_t)fcntl(fd, F_GETPIPE_SZ);
}

struct slow_reader {
    int fd;
    size_t got, wrong_at; /* wrong_at: SIZE_MAX, nothing was */
};

/* Takes little at a time and lets everybody else run in between. */
static void *read_slowly(void *arg)
{
    struct slow_reader *reader = arg;
    char buf[1009];
    ssize_t count;

    reader->wrong_at = SIZE_MAX;
    while ((count = gring_read(reader->fd, buf, sizeof buf)) > 0) {
        size_t good = pattern_matches(buf, (size_t)count, 1, reader->got);

        if (good < (size_t)count && reader->wrong_at == SIZE_MAX)
            reader->wrong_at = reader->got + good;
        reader->got += (size_t)count;
        gring_yield();
    }
    return NULL;
}

static void expect_to_arrive_whole(gring_fn write_it, const int ends[2], size_t size)
{
    struct transfer t = { .fd = ends[1], .buf = malloc(size), .size = size };
    struct slow_reader reader = { .fd = ends[0] };
    gring_task *writing, *reading;

    pattern_fill(t.buf, size, 1, 0);
    writing = spawn_waiting(write_it, &t);
    reading = gring_spawn(read_slowly, &reader);
    cr_assert_eq(gring_join(writing, NULL), 0);
    close(ends[1]);
    cr_assert_eq(gring_join(reading, NULL), 0);
    cr_assert_eq(t.result, (ssize_t)size);
    cr_assert_eq(reader.got, size);
    cr_assert_eq(reader.wrong_at, SIZE_MAX, "wrong from byte %zu on", reader.wrong_at);
    close(ends[0]);
    free(t.buf);
}

GreenTest(io, write_larger_than_the_pipe_arrives_whole)
{
    int ends[2];

    make_pipe(ends);
    expect_to_arrive_whole(write_once, ends, 5 * pipe_capacity(ends[1]) + 17);
}

GreenTest(io, write_larger_than_a_nonblocking_pipe_arrives_whole)
{
    int ends[2];

    make_pipe(ends);
    set_nonblocking(ends[1]);
    expect_to_arrive_whole(write_once, ends, 5 * pipe_capacity(ends[1]) + 17);
}

GreenTest(io, write_full_larger_than_the_pipe_arrives_whole)
{
    int ends[2];

    make_pipe(ends);
    expect_to_arrive_whole(write_full_once, ends, 5 * pipe_capacity(ends[1]) + 17);
}

GreenTest(io, write_larger_than_the_socket_buffers_arrives_whole)
{
    int ends[2];

    make_unix_pair(ends);
    expect_to_arrive_whole(write_once, ends, 3 << 20);
}

GreenTest(io, write_full_larger_than_the_socket_buffers_arrives_whole)
{
    int ends[2];

    make_unix_pair(ends);
    expect_to_arrive_whole(write_full_once, ends, 3 << 20);
}

GreenTest(io, read_full_collects_what_comes_in_pieces)
{
    char buf[6];
    int ends[2];
    struct transfer t;
    size_t done = 99;

    make_pipe(ends);
    for (int piece = 0; piece < 3; piece++) {
        t = (struct transfer){ .fd = ends[1],
                               .buf = (char[]){ (char)('a' + piece), '.' },
                               .size = 2 };
        gring_join(gring_spawn(write_once, &t), NULL);
    }
    cr_assert_eq(gring_read_full(ends[0], buf, sizeof buf, &done), 6);
    cr_assert_eq(done, 6);
    cr_assert_arr_eq(buf, "a.b.c.", 6);
    close_both(ends);
}

static void *read_six(void *arg)
{
    struct transfer *t = arg;

    errno = ERRNO_BEFORE;
    t->result = gring_read_full(t->fd, t->buf, 6, &t->size);
    t->error = errno;
    return NULL;
}

GreenTest(io, read_full_waits_until_the_last_byte_is_there)
{
    char buf[8];
    int ends[2];
    struct transfer t = { .buf = buf };
    gring_task *task;

    make_pipe(ends);
    t.fd = ends[0];
    task = gring_spawn(read_six, &t);
    for (int byte = 0; byte < 6; byte++) {
        gring_idle();
        cr_assert_eq(gring_task_state(task), GRING_PARKED);
        cr_assert_eq(write(ends[1], "x", 1), 1);
    }
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_assert_eq(t.result, 6);
    cr_assert_eq(t.error, ERRNO_BEFORE);
    close_both(ends);
}

GreenTest(io, read_full_gives_less_at_the_end)
{
    char buf[6];
    int fd = make_file("abcd", 4);
    size_t done = 99;

    cr_assert_eq(gring_read_full(fd, buf, sizeof buf, &done), 4);
    cr_assert_eq(done, 4);
    cr_assert_eq(gring_read_full(fd, buf, sizeof buf, NULL), 0);
    close(fd);
}

GreenTest(io, full_transfers_say_how_far_they_came_before_the_error)
{
    char memory[4] = "";
    size_t done = 99;
    int fd = make_file("", 0);

    errno = 0;
    cr_assert_eq(gring_read_full(-1, memory, sizeof memory, &done), -1);
    cr_assert_eq(errno, EBADF);
    cr_assert_eq(done, 0);
    done = 99;
    cr_assert_eq(gring_write_full(-1, memory, sizeof memory, &done), -1);
    cr_assert_eq(errno, EBADF);
    cr_assert_eq(done, 0);
    close(fd);
}

static void *read_then_close(void *arg)
{
    struct transfer *t = arg;
    char buf[1000];

    cr_assert_eq(gring_read_full(t->fd, buf, sizeof buf, NULL), 1000);
    gring_close(t->fd);
    return NULL;
}

GreenTest(io, write_full_tells_the_bytes_before_the_reader_left)
{
    const size_t size = 1 << 20;
    char *buf = calloc(1, size);
    int ends[2];
    struct transfer t;
    size_t done = 0;
    gring_task *task;

    signal(SIGPIPE, SIG_IGN);
    make_pipe(ends);
    t = (struct transfer){ .fd = ends[0] };
    task = gring_spawn(read_then_close, &t);
    cr_assert_eq(gring_write_full(ends[1], buf, size, &done), -1);
    cr_assert_eq(errno, EPIPE);
    cr_assert_geq(done, 1000);
    cr_assert_leq(done, 1000 + 2 * pipe_capacity(ends[1]));
    cr_assert_eq(gring_join(task, NULL), 0);
    close(ends[1]);
    free(buf);
}

GreenTest(io, write_tells_the_bytes_before_the_reader_left)
{
    const size_t size = 1 << 20;
    char *buf = calloc(1, size);
    int ends[2];
    struct transfer t;
    ssize_t result;
    gring_task *task;

    signal(SIGPIPE, SIG_IGN);
    make_pipe(ends);
    t = (struct transfer){ .fd = ends[0] };
    task = gring_spawn(read_then_close, &t);
    result = gring_write(ends[1], buf, size);
    cr_assert_geq(result, 1000);
    cr_assert_leq((size_t)result, 1000 + 2 * pipe_capacity(ends[1]));
    cr_assert_eq(gring_join(task, NULL), 0);
    close(ends[1]);
    free(buf);
}

GreenTest(io, write_full_moves_more_than_one_transfer_can)
{
    const size_t size = (size_t)5 << 29; /* above 0x7ffff000 */
    void *memory = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    size_t done = 0;

    cr_assert_neq(memory, MAP_FAILED);
    cr_assert_eq(gring_write_full(fd, memory, size, &done), (ssize_t)size);
    cr_assert_eq(done, size);
    munmap(memory, size);
    close(fd);
}

GreenTest(io, write_full_to_a_file_stops_at_the_limit_and_says_where)
{
    struct rlimit before, limit;
    int fd = make_file("", 0);
    char all[16];
    size_t done = 99;

    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){ .rlim_cur = 6, .rlim_max = before.rlim_max };
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(gring_write_full(fd, "0123456789", 10, &done), -1);
    cr_assert_eq(errno, EFBIG, "%m");
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    cr_assert_eq(done, 6);
    cr_assert_eq(pread(fd, all, sizeof all, 0), 6);
    cr_assert_arr_eq(all, "012345", 6);
    close(fd);
}

Test(io, a_full_write_on_a_plain_thread_says_why_it_failed)
{
    size_t done = 99;
    int ends[2];

    signal(SIGPIPE, SIG_IGN);
    make_pipe(ends);
    close(ends[0]);
    cr_assert_eq(gring_write_full(ends[1], "abc", 3, &done), -1);
    cr_assert_eq(errno, EPIPE);
    cr_assert_eq(done, 0);
    close(ends[1]);
}

GreenTest(io, full_transfers_leave_errno_alone)
{
    char byte = 'x';
    int pipe_ends[2], pair[2];

    make_pipe(pipe_ends);
    make_unix_pair(pair);
    errno = ERRNO_BEFORE;
    cr_assert_eq(gring_write_full(pipe_ends[1], &byte, 1, NULL), 1);
    cr_assert_eq(errno, ERRNO_BEFORE);
    cr_assert_eq(gring_write_full(pair[1], &byte, 1, NULL), 1);
    cr_assert_eq(errno, ERRNO_BEFORE);
    cr_assert_eq(gring_read_full(pipe_ends[0], &byte, 1, NULL), 1);
    cr_assert_eq(errno, ERRNO_BEFORE);
    close_both(pipe_ends);
    close_both(pair);
}

Test(io, full_transfers_on_a_plain_thread_leave_errno_alone)
{
    char byte = 'x';
    int pipe_ends[2], pair[2];

    make_pipe(pipe_ends);
    make_unix_pair(pair);
    errno = ERRNO_BEFORE;
    cr_assert_eq(gring_write_full(pipe_ends[1], &byte, 1, NULL), 1);
    cr_assert_eq(errno, ERRNO_BEFORE);
    cr_assert_eq(gring_write_full(pair[1], &byte, 1, NULL), 1);
    cr_assert_eq(errno, ERRNO_BEFORE);
    cr_assert_eq(gring_read_full(pipe_ends[0], &byte, 1, NULL), 1);
    cr_assert_eq(errno, ERRNO_BEFORE);
}

/* ---- SIGPIPE --------------------------------------------------------------------------------- */

GreenTest(io, write_to_a_pipe_without_reader_kills_as_write_does, .signal = SIGPIPE)
{
    int ends[2];

    make_pipe(ends);
    close(ends[0]);
    gring_write(ends[1], "x", 1);
}

GreenTest(io, write_full_to_a_closed_socket_raises_no_signal)
{
    int ends[2];

    make_unix_pair(ends);
    close(ends[0]);
    cr_assert_eq(gring_write_full(ends[1], "x", 1, NULL), -1);
    cr_assert_eq(errno, EPIPE);
    cr_assert_eq(gring_write_full(ends[1], "x", 1, NULL), -1); /* now it is known to be a socket */
    cr_assert_eq(errno, EPIPE);
    close(ends[1]);
}

GreenTest(io, write_full_finds_out_that_the_number_is_no_socket_any_more)
{
    int pair[2], ends[2];
    char byte;

    make_unix_pair(pair);
    make_pipe(ends);
    cr_assert_eq(gring_write_full(pair[1], "x", 1, NULL), 1);
    cr_assert_eq(dup3(ends[1], pair[1], O_CLOEXEC), pair[1]); /* behind the runtime's back */
    cr_assert_eq(gring_write_full(pair[1], "y", 1, NULL), 1);
    cr_assert_eq(gring_read(ends[0], &byte, 1), 1);
    cr_assert_eq(byte, 'y');
    close_both(pair);
    close_both(ends);
}

#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x00000100
#endif

static bool kernel_has_rwf_nosignal(void)
{
    struct iovec byte = { .iov_base = (char[]){ "x" }, .iov_len = 1 };
    int ends[2];
    bool has;

    make_pipe(ends);
    has = pwritev2(ends[1], &byte, 1, -1, RWF_NOSIGNAL) == 1;
    close_both(ends);
    return has;
}

static void deny_nothing(void)
{
    unsetenv("GRING_WITHOUT");
}

GreenTest(io, write_full_to_a_pipe_without_reader_raises_no_signal_where_the_kernel_can,
          .init = deny_nothing)
{
    const char *denied = getenv("GRING_WITHOUT");
    int ends[2];

    if (!kernel_has_rwf_nosignal() || (denied && strstr(denied, "rwf_nosignal")))
        cr_skip_test("no RWF_NOSIGNAL here");
    make_pipe(ends);
    close(ends[0]);
    cr_assert_eq(gring_write_full(ends[1], "x", 1, NULL), -1);
    cr_assert_eq(errno, EPIPE);
    close(ends[1]);
}

static void deny_rwf_nosignal(void)
{
    setenv("GRING_WITHOUT", "rwf_nosignal", 1);
}

static void *write_full_to_nobody(void *unused)
{
    int ends[2];

    CHILD_MUST(pipe2(ends, O_CLOEXEC) == 0);
    close(ends[0]);
    CHILD_MUST(gring_write_full(ends[1], "x", 1, NULL) == -1 && errno == EPIPE);
    return unused;
}

static void run_write_full_to_nobody(void)
{
    deny_rwf_nosignal();
    CHILD_MUST(gring_run(write_full_to_nobody, NULL, NULL) == 0);
}

/* It cannot be kept back then; but where a worker of the kernel writes, it stays with that. */
Test(io, write_full_to_a_pipe_without_reader_raises_the_signal_without_rwf_nosignal)
{
    struct child child = child_run(run_write_full_to_nobody);

    cr_assert(pipes_need_no_worker() ? child_died_of(&child, SIGPIPE) : child_passed(&child),
              "status %#x: %s", (unsigned)child.status, child.errors);
}

enum { MANY_PIPES = 64, MUCH_FOR_A_PIPE = 256 << 10 };

static void *write_much_to(void *fd)
{
    char *much = calloc(1, MUCH_FOR_A_PIPE);

    cr_assert_eq(gring_write((int)(intptr_t)fd, much, MUCH_FOR_A_PIPE), MUCH_FOR_A_PIPE);
    free(much);
    return NULL;
}

/* Before Linux 6.4 each of these writers occupies a worker of the kernel, and each read needs
 * one. */
GreenTest(io, writers_to_many_full_pipes_do_not_keep_the_readers_from_reading)
{
    static int ends[MANY_PIPES][2];
    char *much = malloc(MUCH_FOR_A_PIPE);
    gring_task *writers[MANY_PIPES];

    for (int index = 0; index < MANY_PIPES; index++) {
        make_pipe(ends[index]);
        writers[index] = gring_spawn(write_much_to, (void *)(intptr_t)ends[index][1]);
    }
    for (int index = 0; index < MANY_PIPES; index++)
        while (unread_bytes(ends[index][0]) == 0)
            gring_sleep(GRING_MS);
    for (int index = 0; index < MANY_PIPES; index++)
        cr_assert_eq(gring_read_full(ends[index][0], much, MUCH_FOR_A_PIPE, NULL), MUCH_FOR_A_PIPE);
    cr_assert_eq(gring_waitall(writers, MANY_PIPES), 0);
    for (int index = 0; index < MANY_PIPES; index++)
        close_both(ends[index]);
    free(much);
}

GreenTest(io, write_full_to_a_closed_socket_raises_no_signal_even_then, .init = deny_rwf_nosignal)
{
    int ends[2];

    make_unix_pair(ends);
    close(ends[0]);
    cr_assert_eq(gring_write_full(ends[1], "x", 1, NULL), -1);
    cr_assert_eq(errno, EPIPE);
    close(ends[1]);
}

GreenTest(io, write_full_arrives_whole_without_rwf_nosignal, .init = deny_rwf_nosignal)
{
    int ends[2];

    make_pipe(ends);
    expect_to_arrive_whole(write_full_once, ends, 5 * pipe_capacity(ends[1]) + 17);
}

/* ---- many, and beside each other ------------------------------------------------------------- */

enum { PAIR_COUNT = 1000, PAIR_BYTES = 3001 };

struct piped {
    int ends[2];
    uint64_t stream;
    size_t wrong_at;
    ssize_t got;
};

static void *send_pattern(void *arg)
{
    struct piped *piped = arg;
    unsigned char buf[PAIR_BYTES]; /* on this task's stack, as the reader's is on its own */

    pattern_fill(buf, sizeof buf, piped->stream, 0);
    for (size_t done = 0; done < sizeof buf;) {
        size_t size = 1 + (done * 7 + piped->stream) % 900;
        ssize_t count = gring_write(piped->ends[1], buf + done,
                                    size < sizeof buf - done ? size : sizeof buf - done);

        if (count <= 0)
            return gring_fail(errno);
        done += (size_t)count;
        gring_yield();
    }
    gring_close(piped->ends[1]);
    return NULL;
}

static void *check_pattern(void *arg)
{
    struct piped *piped = arg;
    unsigned char buf[PAIR_BYTES + 1];

    piped->got = gring_read_full(piped->ends[0], buf, sizeof buf, NULL);
    piped->wrong_at =
        piped->got > 0 ? pattern_matches(buf, (size_t)piped->got, piped->stream, 0) : 0;
    gring_close(piped->ends[0]);
    return NULL;
}

GreenTest(io, a_thousand_pipes_keep_their_streams_apart)
{
    static struct piped piped[PAIR_COUNT];
    static gring_task *tasks[2 * PAIR_COUNT];
    int before = descriptor_count();

    if (!allow_descriptors(2 * PAIR_COUNT + 64))
        cr_skip_test("RLIMIT_NOFILE is too low");
    for (int index = 0; index < PAIR_COUNT; index++) {
        piped[index].stream = (uint64_t)index + 1;
        make_pipe(piped[index].ends);
        tasks[2 * index] = gring_spawn(check_pattern, &piped[index]);
        tasks[2 * index + 1] = gring_spawn(send_pattern, &piped[index]);
    }
    for (int index = 0; index < 2 * PAIR_COUNT; index++)
        cr_assert_eq(gring_join(tasks[index], NULL), 0);
    for (int index = 0; index < PAIR_COUNT; index++) {
        cr_assert_eq(piped[index].got, PAIR_BYTES, "pipe %d gave %zd bytes", index,
                     piped[index].got);
        cr_assert_eq(piped[index].wrong_at, PAIR_BYTES, "pipe %d, byte %zu", index,
                     piped[index].wrong_at);
    }
    cr_assert_eq(descriptor_count(), before);
}

struct heart {
    bool stop;
    int beats;
};

static void *beat(void *arg)
{
    struct heart *heart = arg;

    while (!heart->stop) {
        heart->beats++;
        gring_yield();
    }
    return NULL;
}

GreenTest(io, regular_files_do_not_stop_a_heartbeat)
{
    enum { ROUNDS = 20, BLOCK = 1 << 16 };
    struct heart heart = { false, 0 };
    gring_task *task = gring_spawn(beat, &heart);
    char *block = malloc(BLOCK);
    int fd = make_file("", 0);

    for (int round = 0; round < ROUNDS; round++) {
        int before = heart.beats;

        pattern_fill(block, BLOCK, 3, (uint64_t)round * BLOCK);
        cr_assert_eq(gring_write(fd, block, BLOCK), BLOCK);
        cr_assert_gt(heart.beats, before, "write %d stopped the heart", round);
        before = heart.beats;
        cr_assert_eq(gring_fsync(fd), 0);
        cr_assert_gt(heart.beats, before, "fsync %d stopped the heart", round);
        before = heart.beats;
        cr_assert_eq(gring_pread(fd, block, BLOCK, (off_t)round * BLOCK), BLOCK);
        cr_assert_gt(heart.beats, before, "pread %d stopped the heart", round);
        cr_assert_eq(pattern_matches(block, BLOCK, 3, (uint64_t)round * BLOCK), BLOCK);
    }
    heart.stop = true;
    cr_assert_eq(gring_join(task, NULL), 0);
    close(fd);
    free(block);
}

static void *scramble_errno(void *stop)
{
    while (!*(bool *)stop) {
        errno = ENOTTY;
        gring_yield();
    }
    return NULL;
}

GreenTest(io, a_waiting_call_that_succeeds_leaves_errno_alone)
{
    bool stop = false;
    gring_task *other = gring_spawn(scramble_errno, &stop);
    int ends[2];
    char byte;

    make_pipe(ends);
    for (int round = 0; round < 100; round++) {
        struct transfer t = { .fd = ends[1], .buf = (char[]){ "x" }, .size = 1 };
        gring_task *writer = gring_spawn(write_once, &t);

        errno = ERRNO_BEFORE;
        cr_assert_eq(gring_read(ends[0], &byte, 1), 1);
        cr_assert_eq(errno, ERRNO_BEFORE);
        cr_assert_eq(gring_join(writer, NULL), 0);
    }
    stop = true;
    gring_join(other, NULL);
    close_both(ends);
}

/* ---- the end of a run ------------------------------------------------------------------------ */

struct ending_read {
    int fd;
    ssize_t result, second;
    int error, second_error;
};

static void *read_until_told(void *arg)
{
    struct ending_read *e = arg;
    char buf[8];

    e->result = gring_read(e->fd, buf, sizeof buf);
    e->error = errno;
    e->second = gring_write(e->fd, buf, 1);
    e->second_error = errno;
    return NULL;
}

static void *leave_a_reader(void *arg)
{
    gring_spawn_n(read_until_told, arg);
    gring_idle();
    return NULL;
}

Test(io, the_end_of_the_run_cancels_what_waits_and_what_comes_after)
{
    struct ending_read e = { .result = 99 };
    int ends[2];

    make_unix_pair(ends);
    e.fd = ends[0];
    cr_assert_eq(gring_run(leave_a_reader, &e, NULL), 0);
    cr_assert_eq(e.result, -1);
    cr_assert_eq(e.error, ECANCELED);
    cr_assert_eq(e.second, -1);
    cr_assert_eq(e.second_error, ECANCELED);
    cr_assert_eq(unread_bytes(ends[1]), 0);
    cr_assert_eq(close(ends[0]), 0);
    cr_assert_eq(close(ends[1]), 0);
}

static void *open_what_nobody_writes(void *arg)
{
    void **told = arg;
    int fd = gring_open(told[0], O_RDONLY | O_CLOEXEC);

    told[1] = (void *)(intptr_t)(fd < 0 ? errno : 0);
    return NULL;
}

static void *leave_a_fifo_open(void *arg)
{
    gring_spawn_n(open_what_nobody_writes, arg);
    gring_idle();
    gring_sleep(20 * GRING_MS); /* most likely a thread is in open(2) then; both must be right */
    return NULL;
}

Test(io, the_end_of_the_run_does_not_wait_for_a_fifo)
{
    char folder[] = P_tmpdir "/greenring-test-XXXXXX", path[64];
    void *told[2] = { path, NULL };
    int before = descriptor_count();

    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/fifo", folder);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_eq(gring_run(leave_a_fifo_open, told, NULL), 0);
    cr_assert_eq((intptr_t)told[1], ECANCELED);
    cr_assert_eq(descriptor_count(), before);
    unlink(path);
    rmdir(folder);
}

/* ---- fairness ---- */

struct race {
    bool over;
    int fd;
    unsigned long laps;
};

enum { RUNNERS = 200, LAPS_MAX = 1000000 };

static void *yield_until_over(void *arg)
{
    struct race *race = arg;

    while (!race->over && race->laps++ < LAPS_MAX)
        gring_yield();
    return NULL;
}

static void *read_until_over(void *arg)
{
    struct race *race = arg;
    char buf[64];

    while (!race->over && race->laps++ < LAPS_MAX)
        cr_assert_eq(gring_read(race->fd, buf, sizeof buf), (ssize_t)sizeof buf);
    return NULL;
}

static void *end_by_reading(void *arg)
{
    struct race *race = arg;
    char byte;

    for (int count = 0; count < 20; count++)
        cr_assert_eq(gring_read(race->fd, &byte, 1), 1);
    race->over = true;
    return NULL;
}

static void *end_by_yielding(void *arg)
{
    struct race *race = arg;

    for (int count = 0; count < 20; count++)
        gring_yield();
    race->over = true;
    return NULL;
}

/* Who ends it is of the last lane, and there is always somebody of the one before it. */
static void expect_an_end_before_the_runners_tire(struct race *race, gring_fn run, gring_fn end)
{
    gring_spawn_opts opts = GRING_SPAWN_INIT;

    opts.prio = GRING_PRIO_BACKGROUND;
    for (int index = 0; index < RUNNERS; index++)
        gring_spawn_n(run, race);
    cr_assert_eq(gring_join(gring_spawn_with(&opts, end, race), NULL), 0);
    cr_assert_lt(race->laps, LAPS_MAX, "it came to its end only when the others gave up");
    cr_assert_eq(gring_idle(), 0);
}

GreenTest(io, tasks_that_only_yield_do_not_keep_others_from_their_bytes)
{
    struct race race = { 0 };
    int ends[2];

    make_unix_pair(ends);
    cr_assert_eq(write(ends[1], "01234567890123456789", 20), 20);
    race.fd = ends[0];
    expect_an_end_before_the_runners_tire(&race, yield_until_over, end_by_reading);
    close_both(ends);
}

GreenTest(io, tasks_at_what_is_always_ready_do_not_keep_others_from_running)
{
    struct race race = { .fd = open("/dev/zero", O_RDONLY | O_CLOEXEC) };

    expect_an_end_before_the_runners_tire(&race, read_until_over, end_by_yielding);
    close(race.fd);
}

/* ---- the end of the run ---- */

static void *read_zeros_for_ever(void *arg)
{
    struct ending_read *e = arg;
    char buf[64];

    while ((e->result = gring_read(e->fd, buf, sizeof buf)) > 0)
        ;
    e->error = errno;
    return NULL;
}

static void *leave_a_busy_reader(void *arg)
{
    gring_spawn_n(read_zeros_for_ever, arg);
    for (int turn = 0; turn < 200; turn++)
        gring_yield();
    return NULL;
}

Test(io, an_always_ready_descriptor_does_not_outlive_the_run)
{
    struct ending_read e = { .fd = open("/dev/zero", O_RDONLY | O_CLOEXEC) };

    cr_assert_eq(gring_run(leave_a_busy_reader, &e, NULL), 0);
    cr_assert_eq(e.result, -1);
    cr_assert_eq(e.error, ECANCELED);
    cr_assert_eq(close(e.fd), 0);
}
