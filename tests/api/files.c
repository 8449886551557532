/*
 * Files: what they are, their names, size and space, locks, and moving bytes between descriptors.
 *
 * An Everywhere test runs its body twice, on a plain thread and in a task, and must find the same.
 * What only a task can do (wait without stopping others, be interrupted) follows as ordinary tests.
 */
#include "tests/support/faketime.h"
#include "tests/support/fds.h"
#include "tests/support/green.h"

#include <ctype.h>
#include <greenring/debug.h>
#include <limits.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/un.h>

#define Everywhere(name, ...)                                                                      \
    static void name##_body(void);                                                                 \
    static void *name##_in_task(void *arg)                                                         \
    {                                                                                              \
        name##_body();                                                                             \
        return arg;                                                                                \
    }                                                                                              \
    Test(files, name, ##__VA_ARGS__)                                                               \
    {                                                                                              \
        int before = descriptor_count();                                                           \
                                                                                                   \
        name##_body();                                                                             \
        cr_assert_eq(gring_run(name##_in_task, NULL, NULL), 0, "gring_run: %m");                   \
        cr_expect_eq(descriptor_count(), before, "descriptors were left behind");                  \
    }                                                                                              \
    static void name##_body(void)

/* The call fails with this errno. */
#define EXPECT_ERROR(call, error)                                                                  \
    do {                                                                                           \
        errno = 0;                                                                                 \
        cr_expect_eq((call), -1, #call " succeeded");                                              \
        cr_expect_eq(errno, error, #call ": %m, not " #error);                                     \
    } while (0)

/* Ours gives what the other one gives, also as errno. */
#define EXPECT_SAME(ours, theirs)                                                                  \
    do {                                                                                           \
        long long ours_result, theirs_result;                                                      \
        int ours_errno;                                                                            \
                                                                                                   \
        errno = 0;                                                                                 \
        ours_result = (ours);                                                                      \
        ours_errno = errno;                                                                        \
        errno = 0;                                                                                 \
        theirs_result = (theirs);                                                                  \
        cr_expect_eq(ours_result, theirs_result, #ours ": %lld, not %lld", ours_result,            \
                     theirs_result);                                                               \
        cr_expect_eq(ours_errno, errno, #ours ": errno %d, not %d", ours_errno, errno);            \
    } while (0)

/* ---- a folder for each test ------------------------------------------------------------------ */

static char folder[64];

static const char *in_folder(const char *name)
{
    static char paths[4][256];
    static unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void enter_folder(void)
{
    strcpy(folder, P_tmpdir "/greenring-files-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static void leave_folder(void)
{
    char command[128];

    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(files, .init = enter_folder, .fini = leave_folder);

static int make_named(const char *name, const char *text)
{
    int fd = open(in_folder(name), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0644);

    cr_assert_geq(fd, 0, "open: %m");
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    lseek(fd, 0, SEEK_SET);
    return fd;
}

static void touch(const char *name)
{
    close(make_named(name, ""));
}

static bool exists(const char *name)
{
    struct stat status;

    return lstat(in_folder(name), &status) == 0;
}

/* An unnamed file of so many bytes of the pattern's stream 1. */
static int make_patterned(size_t size)
{
    unsigned char *bytes = malloc(size);
    int fd;

    pattern_fill(bytes, size, 1, 0);
    fd = make_file(bytes, size);
    free(bytes);
    return fd;
}

static void expect_patterned(int fd, size_t size)
{
    unsigned char *bytes = malloc(size + 1);

    cr_expect_eq(pread(fd, bytes, size + 1, 0), (ssize_t)size);
    cr_expect_eq(pattern_matches(bytes, size, 1, 0), size);
    free(bytes);
}

static off_t position(int fd)
{
    return lseek(fd, 0, SEEK_CUR);
}

static off_t size_of(int fd)
{
    struct stat status;

    cr_assert_eq(fstat(fd, &status), 0);
    return status.st_size;
}

/* A task that has run until it waits. */
static gring_task *start(gring_fn fn, void *arg)
{
    gring_task *task = gring_spawn(fn, arg);

    cr_assert_not_null(task);
    cr_assert_eq(gring_idle(), 0);
    return task;
}

static int outcome, outcome_errno; /* of a call in another task */

/* ---- stat ------------------------------------------------------------------------------------ */

static void expect_same_stat(int dir, const char *path, int flags)
{
    struct stat ours, theirs;

    memset(&ours, 0x55, sizeof ours);
    memset(&theirs, 0xaa, sizeof theirs);
    EXPECT_SAME(gring_fstatat(dir, path, &ours, flags), fstatat(dir, path, &theirs, flags));
    if (errno == 0)
        cr_expect_eq(memcmp(&ours, &theirs, sizeof ours), 0, "'%s', flags %#x", path, flags);
}

static void make_kinds(void)
{
    const struct timespec before_1970[] = { { -2, 500000000 }, { -100000, 1 } };
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = make_named("sparse", "x"), listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_eq(ftruncate(fd, 5000000000), 0);
    close(fd);
    touch("empty");
    close(make_named("old", "some bytes"));
    utimensat(AT_FDCWD, in_folder("old"), before_1970, 0);
    chmod(in_folder("old"), 06751);
    link(in_folder("old"), in_folder("hard"));
    symlink("old", in_folder("soft"));
    symlink("nowhere", in_folder("dangling"));
    symlink("loop", in_folder("loop"));
    mkfifo(in_folder("fifo"), 0600);
    mkdir(in_folder("dir"), 01770);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", in_folder("socket"));
    bind(listener, (struct sockaddr *)&address, sizeof address);
    close(listener);
}

Everywhere(stat_gives_what_libc_gives_for_every_kind_of_file)
{
    static const char *const names[] = { "sparse",   "empty", "old",  "hard", "soft",
                                         "dangling", "loop",  "fifo", "dir",  "socket",
                                         "dir/.",    "old/",  "none", "" };
    static const char *const paths[] = { "/",        "/dev/null", "/dev/zero",   "/dev/tty",
                                         "/dev/vda", "/proc/sys", "/sys/kernel", "/proc/1/exe" };

    leave_folder();
    mkdir(folder, 0700);
    make_kinds();
    for (size_t index = 0; index < sizeof names / sizeof names[0]; index++) {
        expect_same_stat(AT_FDCWD, in_folder(names[index]), 0);
        expect_same_stat(AT_FDCWD, in_folder(names[index]), AT_SYMLINK_NOFOLLOW);
    }
    for (size_t index = 0; index < sizeof paths / sizeof paths[0]; index++) {
        expect_same_stat(AT_FDCWD, paths[index], 0);
        expect_same_stat(AT_FDCWD, paths[index], AT_SYMLINK_NOFOLLOW);
    }
}

Everywhere(stat_and_lstat_differ_at_a_symbolic_link)
{
    struct stat status;

    touch("file");
    symlink("file", in_folder("link"));
    cr_expect_eq(gring_stat(in_folder("link"), &status), 0);
    cr_expect(S_ISREG(status.st_mode));
    cr_expect_eq(gring_lstat(in_folder("link"), &status), 0);
    cr_expect(S_ISLNK(status.st_mode));
    EXPECT_ERROR(gring_stat(in_folder("none"), &status), ENOENT);
    EXPECT_ERROR(gring_lstat(in_folder("file/x"), &status), ENOTDIR);
}

Everywhere(fstatat_of_an_empty_path_is_fstat)
{
    int fds[] = { make_file("abc", 3),
                  eventfd(0, EFD_CLOEXEC),
                  epoll_create1(EPOLL_CLOEXEC),
                  memfd_create("files", MFD_CLOEXEC),
                  socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
                  open(folder, O_PATH | O_CLOEXEC),
                  open("/dev/null", O_RDWR | O_CLOEXEC) };
    int ends[2];

    make_pipe(ends);
    expect_same_stat(ends[0], "", AT_EMPTY_PATH);
    close_both(ends);
    expect_same_stat(ends[0], "", AT_EMPTY_PATH);
    expect_same_stat(AT_FDCWD, "", AT_EMPTY_PATH);
    for (size_t index = 0; index < sizeof fds / sizeof fds[0]; index++) {
        struct stat ours, theirs;

        expect_same_stat(fds[index], "", AT_EMPTY_PATH);
        expect_same_stat(fds[index], "", 0);
        expect_same_stat(fds[index], "x", 0);
        cr_expect_eq(gring_fstatat(fds[index], "", &ours, AT_EMPTY_PATH), 0);
        cr_expect_eq(fstat(fds[index], &theirs), 0);
        cr_expect_eq(memcmp(&ours, &theirs, sizeof ours), 0);
        close(fds[index]);
    }
}

Everywhere(fstatat_refuses_what_libc_refuses)
{
    char *long_name = malloc(PATH_MAX + 2);

    memset(long_name, 'x', PATH_MAX + 1);
    long_name[PATH_MAX + 1] = 0;
    expect_same_stat(-1, "x", 0);
    expect_same_stat(INT_MAX, "x", 0);
    expect_same_stat(-1, "/", 0);
    expect_same_stat(AT_FDCWD, "/", 0x40000000);
    expect_same_stat(AT_FDCWD, "/", AT_SYMLINK_FOLLOW);
    expect_same_stat(AT_FDCWD, long_name, 0);
    expect_same_stat(AT_FDCWD, (const char *)8, 0);
    free(long_name);
}

Everywhere(statx_gives_what_the_system_call_gives)
{
    static const unsigned masks[] = { STATX_BASIC_STATS, STATX_ALL, STATX_SIZE, 0, 1u << 31 };
    static const int flags[] = { 0, AT_STATX_FORCE_SYNC, AT_STATX_DONT_SYNC, AT_STATX_SYNC_TYPE,
                                 AT_SYMLINK_NOFOLLOW };

    touch("file");
    for (size_t mask = 0; mask < sizeof masks / sizeof masks[0]; mask++)
        for (size_t flag = 0; flag < sizeof flags / sizeof flags[0]; flag++) {
            struct statx ours = { 0 }, theirs = { 0 };
            const char *path = in_folder("file");

            EXPECT_SAME(gring_statx(AT_FDCWD, path, flags[flag], masks[mask], &ours),
                        statx(AT_FDCWD, path, flags[flag], masks[mask], &theirs));
            cr_expect_eq(memcmp(&ours, &theirs, sizeof ours), 0, "mask %#x", masks[mask]);
        }
    EXPECT_ERROR(gring_statx(AT_FDCWD, in_folder("file"), 0, STATX_ALL, (struct statx *)8), EFAULT);
}

/* ---- names ----------------------------------------------------------------------------------- */

Everywhere(mkdir_and_unlinkat_make_and_take_away)
{
    int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    mode_t mask = umask(027);
    struct stat status;

    cr_expect_eq(gring_mkdir(in_folder("dir"), 0777), 0);
    cr_expect_eq(stat(in_folder("dir"), &status), 0);
    cr_expect_eq(status.st_mode, S_IFDIR | 0750, "the umask counts");
    umask(mask);
    cr_expect_eq(gring_mkdirat(dir, "dir/sub", 0700), 0);
    EXPECT_ERROR(gring_mkdirat(dir, "dir/sub", 0700), EEXIST);
    EXPECT_ERROR(gring_mkdir(in_folder("no/dir"), 0700), ENOENT);
    EXPECT_ERROR(gring_mkdirat(-1, "x", 0700), EBADF);
    EXPECT_ERROR(gring_unlinkat(dir, "dir", AT_REMOVEDIR), ENOTEMPTY);
    EXPECT_ERROR(gring_unlinkat(dir, "dir", 0), EISDIR);
    EXPECT_ERROR(gring_unlinkat(dir, "dir", 0x40000000), EINVAL);
    cr_expect_eq(gring_unlinkat(dir, "dir/sub", AT_REMOVEDIR), 0);
    cr_expect_eq(gring_unlinkat(AT_FDCWD, in_folder("dir"), AT_REMOVEDIR), 0);
    touch("file");
    EXPECT_ERROR(gring_unlinkat(dir, "file", AT_REMOVEDIR), ENOTDIR);
    cr_expect_eq(gring_unlinkat(dir, "file", 0), 0);
    EXPECT_ERROR(gring_unlinkat(dir, "file", 0), ENOENT);
    close(dir);
}

Everywhere(rename_moves_exchanges_and_does_not_replace_when_told_so)
{
    int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    close(make_named("a", "first"));
    close(make_named("b", "second!"));
    EXPECT_ERROR(gring_renameat2(dir, "a", dir, "b", RENAME_NOREPLACE), EEXIST);
    EXPECT_ERROR(gring_renameat2(dir, "a", dir, "b", 1u << 30), EINVAL);
    EXPECT_ERROR(gring_renameat2(dir, "a", dir, "none", RENAME_EXCHANGE), ENOENT);
    EXPECT_ERROR(gring_renameat2(-1, "a", dir, "b", 0), EBADF);
    EXPECT_ERROR(gring_renameat2(dir, "a", -1, "b", 0), EBADF);
    cr_expect_eq(gring_renameat2(dir, "a", dir, "b", RENAME_EXCHANGE), 0);
    cr_expect_eq(gring_rename(in_folder("a"), in_folder("b")), 0, "%m");
    cr_expect_not(exists("a"));
    EXPECT_ERROR(gring_rename(in_folder("a"), in_folder("b")), ENOENT);
    expect_same_stat(dir, "b", 0);
    unlink(in_folder("b"));
    close(dir);
}

Everywhere(links_of_both_kinds)
{
    int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat status;
    char target[16];

    touch("file");
    cr_expect_eq(gring_linkat(dir, "file", dir, "hard", 0), 0);
    EXPECT_ERROR(gring_linkat(dir, "file", dir, "hard", 0), EEXIST);
    EXPECT_ERROR(gring_linkat(dir, "none", dir, "x", 0), ENOENT);
    EXPECT_ERROR(gring_linkat(dir, "file", dir, "x", 1), EINVAL);
    cr_expect_eq(gring_symlinkat("file", dir, "soft"), 0);
    EXPECT_ERROR(gring_symlinkat("file", dir, "soft"), EEXIST);
    EXPECT_ERROR(gring_symlinkat("", dir, "empty"), ENOENT);
    EXPECT_ERROR(gring_symlinkat("file", -1, "x"), EBADF);
    cr_expect_eq(readlinkat(dir, "soft", target, sizeof target), 4);
    cr_expect_eq(gring_linkat(dir, "soft", dir, "followed", AT_SYMLINK_FOLLOW), 0);
    cr_expect_eq(stat(in_folder("hard"), &status), 0);
    cr_expect_eq(status.st_nlink, 3);
    for (int index = 0; index < 4; index++)
        unlinkat(dir, ((const char *[]){ "file", "hard", "soft", "followed" })[index], 0);
    close(dir);
}

/* ---- opening --------------------------------------------------------------------------------- */

Everywhere(open_with_O_TMPFILE_makes_a_file_that_linkat_names)
{
    char path[32];
    struct stat status;
    int fd = gring_open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0640);

    if (fd < 0 && errno == EOPNOTSUPP)
        cr_skip_test("the file system of " P_tmpdir " has no O_TMPFILE");
    cr_assert_geq(fd, 0, "%m");
    cr_expect_eq(gring_fstatat(fd, "", &status, AT_EMPTY_PATH), 0);
    cr_expect_eq(status.st_nlink, 0);
    cr_expect_eq(status.st_mode & 0777, 0640);
    cr_expect_eq(gring_write(fd, "text", 4), 4);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    cr_expect_eq(gring_linkat(AT_FDCWD, path, AT_FDCWD, in_folder("named"), AT_SYMLINK_FOLLOW), 0,
                 "%m");
    cr_expect(exists("named"));
    unlink(in_folder("named"));
    gring_close(fd);
}

/* The file system of the build folder is more likely than /tmp's to be one on a device. */
static int open_direct(void)
{
    char path[PATH_MAX] = "";
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);

    while (length > 0 && path[length] != '/')
        path[length--] = 0;
    return gring_open(path, O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
}

Everywhere(O_DIRECT_transfers_aligned_blocks_and_refuses_others)
{
    static char out[8192] __attribute__((aligned(4096))), in[8192] __attribute__((aligned(4096)));
    int fd = open_direct();
    struct iovec part = { in, 4096 };

    if (fd < 0)
        cr_skip_test("the file system of the build folder has no O_DIRECT or no O_TMPFILE: %s",
                     strerror(errno));
    pattern_fill(out, sizeof out, 3, 0);
    cr_expect_eq(gring_pwrite(fd, out, sizeof out, 0), sizeof out, "%m");
    cr_expect_eq(gring_pread(fd, in, sizeof in, 0), sizeof in, "%m");
    cr_expect_eq(memcmp(in, out, sizeof in), 0);
    cr_expect_eq(gring_preadv2(fd, &part, 1, 4096, RWF_HIPRI), 4096, "%m");
    cr_expect_eq(memcmp(in, out + 4096, 4096), 0);
    cr_expect(gring_preadv2(fd, &part, 1, 0, RWF_NOWAIT) == 4096 || errno == EAGAIN, "%m");
    EXPECT_SAME(gring_pread(fd, in + 1, 4096, 0), pread(fd, in + 1, 4096, 0));
    EXPECT_SAME(gring_pread(fd, in, 4096, 1), pread(fd, in, 4096, 1));
    EXPECT_SAME(gring_pread(fd, in, 100, 0), pread(fd, in, 100, 0));
    EXPECT_SAME(gring_pwrite(fd, out, 100, 0), pwrite(fd, out, 100, 0));
    cr_expect_eq(gring_pread(fd, in, 4096, sizeof out), 0, "the end of the file");
    gring_close(fd);
}

/* ---- preadv2, pwritev2 ----------------------------------------------------------------------- */

Everywhere(preadv2_reads_at_the_offset_or_at_the_position)
{
    int fd = make_file("green threads", 13), ends[2];
    char left[3], right[4];
    struct iovec parts[] = { { left, 3 }, { right, 4 } };

    make_pipe(ends);
    cr_expect_eq(gring_preadv2(fd, parts, 2, 6, 0), 7);
    cr_expect_eq(memcmp(left, "thr", 3), 0);
    cr_expect_eq(memcmp(right, "eads", 4), 0);
    cr_expect_eq(position(fd), 0, "an offset leaves the position");
    cr_expect_eq(gring_preadv2(fd, parts, 2, -1, 0), 7);
    cr_expect_eq(memcmp(left, "gre", 3), 0);
    cr_expect_eq(position(fd), 7);
    cr_expect_eq(gring_preadv2(fd, parts, 2, 100, 0), 0);
    cr_expect_eq(gring_preadv2(fd, parts, 0, 0, 0), 0);
    EXPECT_ERROR(gring_preadv2(fd, parts, 2, -2, 0), EINVAL);
    EXPECT_ERROR(gring_preadv2(fd, parts, -1, 0, 0), EINVAL);
    EXPECT_ERROR(gring_preadv2(fd, parts, 2, 0, 1 << 30), EOPNOTSUPP);
    EXPECT_ERROR(gring_preadv2(ends[0], parts, 2, 0, 0), ESPIPE);
    cr_expect_eq(write(ends[1], "pipe", 4), 4);
    cr_expect_eq(gring_preadv2(ends[0], parts, 2, -1, 0), 4);
    close_both(ends);
    EXPECT_ERROR(gring_preadv2(ends[0], parts, 2, -1, 0), EBADF);
    close(fd);
}

Everywhere(pwritev2_writes_at_the_offset_at_the_position_or_at_the_end)
{
    int fd = make_file("0123456789", 10);
    struct iovec part = { (char[]){ "abc" }, 3 };
    char all[32];

    cr_expect_eq(gring_pwritev2(fd, &part, 1, 2, 0), 3);
    cr_expect_eq(position(fd), 0);
    cr_expect_eq(gring_pwritev2(fd, &part, 1, -1, RWF_DSYNC), 3);
    cr_expect_eq(position(fd), 3);
    cr_expect_eq(gring_pwritev2(fd, &part, 1, 0, RWF_APPEND), 3);
    cr_expect_eq(position(fd), 3);
    cr_expect_eq(gring_pwritev2(fd, &part, 1, -1, RWF_APPEND), 3);
    cr_expect_eq(position(fd), 16);
    cr_expect_eq(pread(fd, all, sizeof all, 0), 16);
    cr_expect_eq(memcmp(all, "abcbc56789abcabc", 16), 0, "%.16s", all);
    EXPECT_ERROR(gring_pwritev2(fd, &part, 1, -2, 0), EINVAL);
    EXPECT_ERROR(gring_pwritev2(fd, &part, 1, 0, 1 << 30), EOPNOTSUPP);
    close(fd);
}

/* Which can be asked is the kernel's affair: pipes since 6.4, files where their file system can. */
Everywhere(RWF_NOWAIT_does_not_wait)
{
    int file = make_file("cached", 6), ends[2];
    char buf[3];
    struct iovec part = { buf, sizeof buf };

    make_pipe(ends);
    EXPECT_SAME(gring_preadv2(ends[0], &part, 1, -1, RWF_NOWAIT),
                preadv2(ends[0], &part, 1, -1, RWF_NOWAIT));
    cr_expect_eq(write(ends[1], "abcxyz", 6), 6);
    EXPECT_SAME(gring_preadv2(ends[0], &part, 1, -1, RWF_NOWAIT),
                preadv2(ends[0], &part, 1, -1, RWF_NOWAIT));
    fill(ends[1]);
    EXPECT_SAME(gring_pwritev2(ends[1], &part, 1, -1, RWF_NOWAIT),
                pwritev2(ends[1], &part, 1, -1, RWF_NOWAIT));
    EXPECT_SAME(gring_preadv2(file, &part, 1, 0, RWF_NOWAIT),
                preadv2(file, &part, 1, 0, RWF_NOWAIT));
    close_both(ends);
    close(file);
}

static int empty_pipe[2];

static void *read_vector_of_pipe(void *arg)
{
    char buf[8];
    struct iovec part = { buf, sizeof buf };

    outcome = (int)gring_preadv2(empty_pipe[0], &part, 1, -1, 0);
    outcome_errno = errno;
    return arg;
}

static void expect_read_to_end(int error)
{
    cr_expect_eq(outcome, -1);
    cr_expect_eq(outcome_errno, error, "%s", strerror(outcome_errno));
}

FakeTimeTest(files, preadv2_that_waits_is_ended_by_a_kill_a_deadline_and_a_close)
{
    gring_task *task;

    make_pipe(empty_pipe);
    task = start(read_vector_of_pipe, NULL);
    gring_kill(task);
    gring_join(task, NULL);
    expect_read_to_end(ECANCELED);
    gring_within_do(0) read_vector_of_pipe(NULL);
    expect_read_to_end(ETIMEDOUT);
    task = start(read_vector_of_pipe, NULL);
    gring_close(empty_pipe[0]);
    gring_join(task, NULL);
    expect_read_to_end(EBADF);
    close(empty_pipe[1]);
}

/* ---- sync, size and space -------------------------------------------------------------------- */

Everywhere(syncs_succeed_on_files_and_fail_as_the_system_calls)
{
    const off_t beyond_32_bits = (off_t)1 << 33;
    int fd = make_file("bytes", 5), ends[2];

    make_pipe(ends);
    cr_expect_eq(gring_fdatasync(fd), 0);
    cr_expect_eq(gring_fsync(fd), 0);
    EXPECT_SAME(gring_fdatasync(ends[0]), fdatasync(ends[0]));
    EXPECT_ERROR(gring_fdatasync(-1), EBADF);
    cr_expect_eq(gring_sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE), 0);
    cr_expect_eq(gring_sync_file_range(fd, 1, beyond_32_bits, SYNC_FILE_RANGE_WRITE), 0);
    EXPECT_ERROR(gring_sync_file_range(fd, -1, 1, SYNC_FILE_RANGE_WRITE), EINVAL);
    EXPECT_ERROR(gring_sync_file_range(fd, 0, -1, SYNC_FILE_RANGE_WRITE), EINVAL);
    EXPECT_ERROR(gring_sync_file_range(fd, 0, 1, 1u << 20), EINVAL);
    EXPECT_ERROR(gring_sync_file_range(-1, 0, 1, 0), EBADF);
    EXPECT_ERROR(gring_sync_file_range(-1, 0, beyond_32_bits, 0), EBADF);
    EXPECT_SAME(gring_sync_file_range(ends[1], 0, 1, 0), sync_file_range(ends[1], 0, 1, 0));
    close_both(ends);
    close(fd);
}

static void cut_and_grow(void)
{
    int fd = make_named("file", "0123456789"), ends[2];
    int reader = open(in_folder("file"), O_RDONLY | O_CLOEXEC);

    make_pipe(ends);
    cr_expect_eq(gring_ftruncate(fd, 4), 0, "%m");
    cr_expect_eq(size_of(fd), 4);
    cr_expect_eq(gring_ftruncate(fd, 5000000000), 0);
    cr_expect_eq(size_of(fd), 5000000000);
    cr_expect_eq(position(fd), 0);
    EXPECT_ERROR(gring_ftruncate(fd, -1), EINVAL);
    EXPECT_SAME(gring_ftruncate(fd, INT64_MAX), ftruncate(fd, INT64_MAX)); /* tmpfs may take it */
    EXPECT_ERROR(gring_ftruncate(reader, 1), EINVAL);
    EXPECT_ERROR(gring_ftruncate(ends[1], 1), EINVAL);
    EXPECT_ERROR(gring_ftruncate(-1, 1), EBADF);
    close_both(ends);
    close(reader);
    EXPECT_ERROR(gring_ftruncate(reader, 1), EBADF);
    close(fd);
}

Everywhere(ftruncate_cuts_and_grows)
{
    cut_and_grow();
}

static void without_ftruncate(void)
{
    enter_folder();
    setenv("GRING_WITHOUT", "ftruncate", 1);
}

Everywhere(ftruncate_cuts_and_grows_without_its_opcode, .init = without_ftruncate)
{
    cut_and_grow();
}

Everywhere(fallocate_makes_space_and_holes)
{
    int fd = make_file("bytes", 5), ends[2];
    struct stat status;

    make_pipe(ends);
    cr_expect_eq(gring_fallocate(fd, 0, 0, 100000), 0);
    cr_expect_eq(size_of(fd), 100000);
    cr_expect_eq(gring_fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1000000), 0);
    cr_expect_eq(fstat(fd, &status), 0);
    cr_expect_eq(status.st_size, 100000);
    cr_expect_geq(status.st_blocks, 1000000 / 512);
    EXPECT_SAME(gring_fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096),
                fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
    EXPECT_ERROR(gring_fallocate(fd, 0, 0, 0), EINVAL);
    EXPECT_ERROR(gring_fallocate(fd, 0, -1, 10), EINVAL);
    EXPECT_ERROR(gring_fallocate(fd, 0, INT64_MAX, 10), EFBIG);
    EXPECT_ERROR(gring_fallocate(fd, 1 << 30, 0, 10), EOPNOTSUPP);
    EXPECT_ERROR(gring_fallocate(ends[1], 0, 0, 10), ESPIPE);
    EXPECT_ERROR(gring_fallocate(-1, 0, 0, 10), EBADF);
    close_both(ends);
    close(fd);
}

Everywhere(fadvise_says_its_error_in_errno)
{
    int fd = make_file("bytes", 5), ends[2];

    make_pipe(ends);
    for (int advice = POSIX_FADV_NORMAL; advice <= POSIX_FADV_NOREUSE; advice++)
        cr_expect_eq(gring_fadvise(fd, 0, 0, advice), 0);
    cr_expect_eq(gring_fadvise(fd, 0, (off_t)1 << 33, POSIX_FADV_WILLNEED), 0);
    EXPECT_ERROR(gring_fadvise(fd, 0, 0, 1000), EINVAL);
    EXPECT_ERROR(gring_fadvise(fd, 0, -1, POSIX_FADV_NORMAL), EINVAL);
    EXPECT_ERROR(gring_fadvise(ends[0], 0, 0, POSIX_FADV_NORMAL), ESPIPE);
    EXPECT_ERROR(gring_fadvise(-1, 0, 0, POSIX_FADV_NORMAL), EBADF);
    close_both(ends);
    close(fd);
}

/* ---- directories ----------------------------------------------------------------------------- */

Everywhere(getdents64_lists_what_is_there)
{
    int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), found = 0, others = 0;
    int file = make_named("file", "");
    char buf[1024] __attribute__((aligned(8)));
    ssize_t size;

    for (int index = 0; index < 100; index++) {
        char name[16];

        snprintf(name, sizeof name, "entry %d", index);
        touch(name);
    }
    while ((size = gring_getdents64(dir, buf, sizeof buf)) > 0)
        for (ssize_t at = 0; at < size;) {
            struct dirent64 *entry = (struct dirent64 *)(buf + at);

            *(strncmp(entry->d_name, "entry ", 6) ? &others : &found) += 1;
            at += entry->d_reclen;
        }
    cr_expect_eq(size, 0, "%m");
    cr_expect_eq(found, 100);
    cr_expect_eq(others, 3, "., .. and the file");
    lseek(dir, 0, SEEK_SET);
    EXPECT_ERROR(gring_getdents64(dir, buf, 8), EINVAL);
    EXPECT_ERROR(gring_getdents64(file, buf, sizeof buf), ENOTDIR);
    EXPECT_ERROR(gring_getdents64(-1, buf, sizeof buf), EBADF);
    EXPECT_ERROR(gring_getdents64(dir, (void *)8, sizeof buf), EFAULT);
    close(file);
    close(dir);
}

/* ---- locks ----------------------------------------------------------------------------------- */

Everywhere(flock_locks_and_unlocks)
{
    int first = make_named("file", ""), second = open(in_folder("file"), O_RDWR | O_CLOEXEC);

    cr_expect_eq(gring_flock(first, LOCK_SH), 0);
    cr_expect_eq(gring_flock(second, LOCK_SH), 0);
    EXPECT_ERROR(gring_flock(second, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    cr_expect_eq(gring_flock(first, LOCK_UN), 0);
    errno = ERANGE;
    cr_expect_eq(gring_flock(second, LOCK_EX), 0);
    cr_expect_eq(errno, ERANGE, "success leaves errno alone");
    EXPECT_ERROR(gring_flock(first, LOCK_SH | LOCK_NB), EWOULDBLOCK);
    EXPECT_ERROR(gring_flock(first, 0), EINVAL);
    EXPECT_ERROR(gring_flock(-1, LOCK_EX), EBADF);
    EXPECT_ERROR(gring_flock(-1, LOCK_UN), EBADF);
    close(second);
    close(first);
}

static void *lock_exclusively(void *fd)
{
    outcome = gring_flock(*(int *)fd, LOCK_EX);
    outcome_errno = errno;
    return NULL;
}

static void take_lock_twice(int fds[2])
{
    fds[0] = make_named("locked", "");
    fds[1] = open(in_folder("locked"), O_RDWR | O_CLOEXEC);
    cr_assert_eq(flock(fds[0], LOCK_EX), 0);
    outcome = 77;
}

FakeTimeTest(files, flock_waits_until_the_lock_is_free)
{
    gring_task *task;
    int fds[2];

    take_lock_twice(fds);
    task = start(lock_exclusively, &fds[1]);
    gring_test_advance(10 * GRING_SEC);
    cr_assert_eq(outcome, 77, "it still waits");
    flock(fds[0], LOCK_UN);
    gring_test_advance(100 * GRING_MS);
    cr_assert_eq(gring_join(task, NULL), 0);
    cr_expect_eq(outcome, 0);
    cr_expect_eq(flock(fds[0], LOCK_EX | LOCK_NB), -1, "it has the lock");
    close_both(fds);
}

FakeTimeTest(files, flock_that_waits_is_ended_by_a_kill)
{
    gring_task *task;
    int fds[2];

    take_lock_twice(fds);
    task = start(lock_exclusively, &fds[1]);
    gring_kill(task);
    gring_join(task, NULL);
    cr_expect_eq(outcome, -1);
    cr_expect_eq(outcome_errno, ECANCELED);
    close_both(fds);
}

static void *lock_for_a_second(void *fd)
{
    outcome = gring_within(GRING_SEC, gring_flock(*(int *)fd, LOCK_EX));
    outcome_errno = errno;
    return NULL;
}

FakeTimeTest(files, flock_that_waits_is_ended_by_a_deadline)
{
    gring_task *task;
    int fds[2];

    take_lock_twice(fds);
    task = start(lock_for_a_second, &fds[1]);
    gring_test_advance(2 * GRING_SEC);
    gring_join(task, NULL);
    cr_expect_eq(outcome, -1);
    cr_expect_eq(outcome_errno, ETIMEDOUT);
    close_both(fds);
}

FakeTimeTest(files, flock_that_waits_is_ended_by_a_close_even_if_the_number_is_used_anew)
{
    gring_task *task;
    int fds[2];

    take_lock_twice(fds);
    task = start(lock_exclusively, &fds[1]);
    gring_close(fds[1]);
    cr_assert_eq(make_named("other", ""), fds[1], "the lowest free number");
    gring_test_advance(GRING_SEC);
    gring_join(task, NULL);
    cr_expect_eq(outcome, -1);
    cr_expect_eq(outcome_errno, EBADF);
    cr_expect_eq(flock(fds[1], LOCK_EX | LOCK_NB), 0, "nobody locked the other file");
    close_both(fds);
}

/* ---- copies between files -------------------------------------------------------------------- */

Everywhere(copy_file_range_moves_offsets_or_positions)
{
    int in = make_patterned(10000), out = make_file("", 0);
    off_t in_offset = 1000, out_offset = 500;

    cr_expect_eq(gring_copy_file_range(in, NULL, out, NULL, 6000, 0), 6000, "%m");
    cr_expect_eq(position(in), 6000);
    cr_expect_eq(position(out), 6000);
    cr_expect_eq(gring_copy_file_range(in, NULL, out, NULL, 6000, 0), 4000, "up to the end");
    cr_expect_eq(gring_copy_file_range(in, NULL, out, NULL, 6000, 0), 0);
    expect_patterned(out, 10000);
    cr_expect_eq(gring_copy_file_range(in, &in_offset, out, &out_offset, 2000, 0), 2000);
    cr_expect_eq(in_offset, 3000);
    cr_expect_eq(out_offset, 2500);
    cr_expect_eq(position(out), 10000, "an offset leaves the position");
    cr_expect_eq(gring_copy_file_range(in, NULL, out, NULL, 0, 0), 0);
    close(in);
    close(out);
}

Everywhere(copy_file_range_copies_more_than_one_step)
{
    const size_t size = (16 << 20) * 2 + 12345;
    int in = make_patterned(size), out = make_file("", 0);

    cr_expect_eq(gring_copy_file_range(in, NULL, out, NULL, SIZE_MAX / 4, 0), (ssize_t)size, "%m");
    expect_patterned(out, size);
    close(in);
    close(out);
}

Everywhere(copy_file_range_refuses_what_the_system_call_refuses)
{
    int in = make_patterned(100), out = make_named("file", ""), ends[2];
    int reader = open(in_folder("file"), O_RDONLY | O_CLOEXEC);
    int appender = open(in_folder("file"), O_WRONLY | O_APPEND | O_CLOEXEC);
    int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    off_t bad = -1;

    make_pipe(ends);
    EXPECT_ERROR(gring_copy_file_range(in, NULL, out, NULL, 10, 1), EINVAL);
    EXPECT_ERROR(gring_copy_file_range(in, NULL, reader, NULL, 10, 0), EBADF);
    EXPECT_ERROR(gring_copy_file_range(in, NULL, appender, NULL, 10, 0), EBADF);
    EXPECT_ERROR(gring_copy_file_range(in, NULL, -1, NULL, 10, 0), EBADF);
    EXPECT_ERROR(gring_copy_file_range(-1, NULL, out, NULL, 10, 0), EBADF);
    EXPECT_ERROR(gring_copy_file_range(dir, NULL, out, NULL, 10, 0), EISDIR);
    EXPECT_ERROR(gring_copy_file_range(ends[0], NULL, out, NULL, 10, 0), EINVAL);
    EXPECT_SAME(gring_copy_file_range(in, &bad, out, NULL, 10, 0),
                copy_file_range(in, &bad, out, NULL, 10, 0));
    EXPECT_ERROR(gring_copy_file_range(in, NULL, in, NULL, 10, 0), EINVAL);
    close_both(ends);
    close(dir);
    close(appender);
    close(reader);
    close(out);
    close(in);
}

static int copy_fds[2];

static void *copy_everything(void *result)
{
    *(ssize_t *)result = gring_copy_file_range(copy_fds[0], NULL, copy_fds[1], NULL, 1 << 30, 0);
    outcome_errno = errno;
    return NULL;
}

GreenTest(files, copy_file_range_that_is_killed_says_how_far_it_came)
{
    gring_task *task;
    ssize_t copied = 77;

    copy_fds[0] = make_file("", 0);
    copy_fds[1] = make_file("", 0);
    cr_assert_eq(ftruncate(copy_fds[0], 1 << 30), 0);
    task = gring_spawn(copy_everything, &copied);
    gring_yield();
    gring_kill(task);
    gring_join(task, NULL);
    if (copied < 0)
        cr_expect_eq(outcome_errno, ECANCELED);
    cr_expect_lt(copied, 1 << 30, "it went on to the end");
    cr_expect_eq(position(copy_fds[0]), copied < 0 ? 0 : copied);
    cr_expect_eq(size_of(copy_fds[1]), copied < 0 ? 0 : copied);
    close_both(copy_fds);
}

/* ---- splice ---------------------------------------------------------------------------------- */

Everywhere(splice_moves_between_files_and_pipes)
{
    int in = make_patterned(5000), out = make_file("", 0), ends[2];
    off_t in_offset = 0, out_offset = 0;

    make_pipe(ends);
    cr_expect_eq(gring_splice(in, &in_offset, ends[1], NULL, 3000, 0), 3000, "%m");
    cr_expect_eq(in_offset, 3000);
    cr_expect_eq(position(in), 0);
    cr_expect_eq(gring_splice(ends[0], NULL, out, &out_offset, 10000, 0), 3000);
    cr_expect_eq(out_offset, 3000);
    lseek(in, 3000, SEEK_SET);
    lseek(out, 3000, SEEK_SET);
    cr_expect_eq(gring_splice(in, NULL, ends[1], NULL, 10000, 0), 2000);
    cr_expect_eq(position(in), 5000);
    cr_expect_eq(gring_splice(ends[0], NULL, out, NULL, 2000, SPLICE_F_MOVE), 2000);
    expect_patterned(out, 5000);
    cr_expect_eq(gring_splice(in, NULL, ends[1], NULL, 10, 0), 0, "the end of the file");
    close(ends[1]);
    cr_expect_eq(gring_splice(ends[0], NULL, out, NULL, 10, 0), 0, "the end of the pipe");
    close(ends[0]);
    close(in);
    close(out);
}

Everywhere(splice_refuses_what_the_system_call_refuses)
{
    int in = make_patterned(100), out = make_file("", 0), ends[2], pair[2];
    off_t zero = 0, bad = -1;

    make_pipe(ends);
    make_unix_pair(pair);
    EXPECT_ERROR(gring_splice(in, NULL, out, NULL, 10, 0), EINVAL);
    EXPECT_ERROR(gring_splice(in, NULL, ends[1], &zero, 10, 0), ESPIPE);
    EXPECT_ERROR(gring_splice(in, &bad, ends[1], NULL, 10, 0), EINVAL);
    EXPECT_ERROR(gring_splice(in, NULL, ends[1], NULL, 10, 1u << 20), EINVAL);
    EXPECT_ERROR(gring_splice(in, NULL, ends[0], NULL, 10, 0), EBADF);
    EXPECT_ERROR(gring_splice(ends[1], NULL, out, NULL, 10, 0), EBADF);
    EXPECT_ERROR(gring_splice(ends[0], &zero, out, NULL, 10, 0), ESPIPE);
    EXPECT_ERROR(gring_splice(ends[0], NULL, pair[0], NULL, 10, 1u << 20), EINVAL);
    EXPECT_ERROR(gring_splice(pair[0], NULL, pair[1], NULL, 10, 0), EINVAL);
    EXPECT_ERROR(gring_splice(-1, NULL, ends[1], NULL, 10, 0), EBADF);
    EXPECT_ERROR(gring_splice(in, NULL, -1, NULL, 10, 0), EBADF);
    EXPECT_ERROR(gring_splice(ends[0], NULL, out, NULL, 10, SPLICE_F_NONBLOCK), EAGAIN);
    cr_expect_eq(gring_splice(-1, NULL, -1, NULL, 0, 0), 0, "nothing to move");
    close_both(ends);
    close_both(pair);
    close(in);
    close(out);
}

static int splice_fds[2];
static ssize_t spliced;

static void *splice_once(void *arg)
{
    spliced = gring_splice(splice_fds[0], NULL, splice_fds[1], NULL, 1 << 20, 0);
    outcome_errno = errno;
    return arg;
}

static int worker_count(void)
{
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *entry;
    int count = 0;

    while ((entry = readdir(tasks))) {
        char path[300], name[32] = "";
        int fd;

        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && read(fd, name, sizeof name - 1) > 0 && !strncmp(name, "iou-wrk", 7))
            count++;
        close(fd);
    }
    closedir(tasks);
    return count;
}

GreenTest(files, splice_waits_for_a_blocking_socket_without_a_worker)
{
    int pair[2], ends[2], workers = worker_count();
    gring_task *task;

    make_tcp_pair(pair);
    make_pipe(ends);
    splice_fds[0] = pair[0];
    splice_fds[1] = ends[1];
    task = start(splice_once, NULL);
    cr_expect_eq(worker_count(), workers);
    cr_expect_eq(write(pair[1], "bytes", 5), 5);
    gring_join(task, NULL);
    cr_expect_eq(spliced, 5);
    cr_expect_eq(unread_bytes(ends[0]), 5);
    EXPECT_ERROR(gring_splice(pair[0], NULL, ends[1], NULL, 10, SPLICE_F_NONBLOCK), EAGAIN);
    close_both(pair);
    close_both(ends);
}

static void expect_splice_to_end(void (*end)(gring_task *), int error)
{
    gring_task *task = start(splice_once, NULL);

    end(task);
    gring_join(task, NULL);
    cr_expect_eq(spliced, -1);
    cr_expect_eq(outcome_errno, error, "%s", strerror(outcome_errno));
}

static void kill_it(gring_task *task)
{
    gring_kill(task);
}

static void close_source(gring_task *task)
{
    (void)task;
    gring_close(splice_fds[0]);
}

static void close_splice_target(gring_task *task)
{
    (void)task;
    gring_close(splice_fds[1]);
}

GreenTest(files, splice_that_waits_for_bytes_is_ended_by_a_kill_or_close)
{
    int pair[2], ends[2];

    make_tcp_pair(pair);
    make_pipe(ends);
    splice_fds[0] = pair[0];
    splice_fds[1] = ends[1];
    expect_splice_to_end(kill_it, ECANCELED);
    expect_splice_to_end(close_source, EBADF);
    close(pair[1]);
    close_both(ends);
}

GreenTest(files, splice_that_waits_for_room_is_ended_by_a_kill_or_close_and_loses_nothing)
{
    int pair[2], ends[2];

    make_tcp_pair(pair);
    make_pipe(ends);
    fill(pair[0]);
    cr_assert_eq(write(ends[1], "bytes", 5), 5);
    splice_fds[0] = ends[0];
    splice_fds[1] = pair[0];
    expect_splice_to_end(kill_it, ECANCELED);
    expect_splice_to_end(close_splice_target, EBADF);
    cr_expect_eq(unread_bytes(ends[0]), 5, "they are still in the pipe");
    close(pair[1]);
    close_both(ends);
}

GreenTest(files, splice_to_a_pipe_without_reader_is_EPIPE_without_a_signal)
{
    int in = make_patterned(100), ends[2];

    make_pipe(ends);
    close(ends[0]);
    EXPECT_ERROR(gring_splice(in, NULL, ends[1], NULL, 10, 0), EPIPE);
    close(ends[1]);
    close(in);
}

/* ---- sendfile -------------------------------------------------------------------------------- */

Everywhere(sendfile_moves_the_offset_or_the_position)
{
    int in = make_patterned(5000), out = make_file("", 0), ends[2];
    off_t offset = 4000;

    make_pipe(ends);
    cr_expect_eq(gring_sendfile(out, in, NULL, 3000), 3000, "%m");
    cr_expect_eq(position(in), 3000);
    cr_expect_eq(position(out), 3000);
    cr_expect_eq(gring_sendfile(out, in, NULL, 3000), 2000, "up to the end");
    expect_patterned(out, 5000);
    cr_expect_eq(gring_sendfile(ends[1], in, &offset, 500), 500);
    cr_expect_eq(offset, 4500);
    cr_expect_eq(position(in), 5000, "an offset leaves the position");
    cr_expect_eq(unread_bytes(ends[0]), 500);
    cr_expect_eq(gring_sendfile(out, in, NULL, 100), 0);
    cr_expect_eq(gring_sendfile(out, in, NULL, 0), 0);
    close_both(ends);
    close(in);
    close(out);
}

Everywhere(sendfile_refuses_what_the_system_call_refuses)
{
    int in = make_patterned(100), out = make_named("file", ""), ends[2];
    int appender = open(in_folder("file"), O_WRONLY | O_APPEND | O_CLOEXEC);
    int reader = open(in_folder("file"), O_RDONLY | O_CLOEXEC);
    off_t zero = 0, bad = -1;

    make_pipe(ends);
    EXPECT_ERROR(gring_sendfile(appender, in, NULL, 10), EINVAL);
    EXPECT_ERROR(gring_sendfile(reader, in, NULL, 10), EBADF);
    EXPECT_ERROR(gring_sendfile(-1, in, NULL, 10), EBADF);
    EXPECT_ERROR(gring_sendfile(out, -1, NULL, 10), EBADF);
    EXPECT_ERROR(gring_sendfile(out, ends[0], NULL, 10), EINVAL);
    EXPECT_ERROR(gring_sendfile(out, ends[0], &zero, 10), ESPIPE);
    EXPECT_ERROR(gring_sendfile(out, in, &bad, 10), EINVAL);
    close_both(ends);
    close(reader);
    close(appender);
    close(out);
    close(in);
}

struct sending {
    int out, in;
    off_t offset;
    size_t size;
    ssize_t sent;
    int error;
};

static void *send_file(void *arg)
{
    struct sending *sending = arg;

    sending->sent = gring_sendfile(sending->out, sending->in, &sending->offset, sending->size);
    sending->error = errno;
    return NULL;
}

/* Reads until nothing more comes or `limit` bytes are there; how many were the pattern's. */
static size_t receive_pattern(int fd, size_t limit)
{
    static unsigned char bytes[65536];
    size_t total = 0;
    ssize_t count;

    while (total < limit && (count = gring_read(fd, bytes, sizeof bytes)) > 0) {
        cr_assert_eq(pattern_matches(bytes, (size_t)count, 1, total), (size_t)count);
        total += (size_t)count;
    }
    return total;
}

static void expect_whole(int ends[2])
{
    const size_t size = 9 << 20;
    struct sending sending = { .out = ends[1], .in = make_patterned(size), .size = size + 1000 };
    gring_task *task = start(send_file, &sending);

    cr_expect_eq(receive_pattern(ends[0], size), size);
    gring_join(task, NULL);
    cr_expect_eq(sending.sent, (ssize_t)size);
    cr_expect_eq(sending.offset, (off_t)size);
    close(sending.in);
    close_both(ends);
}

GreenTest(files, sendfile_larger_than_the_buffers_arrives_whole)
{
    int tcp[2], pair[2], ends[2];

    make_tcp_pair(tcp);
    make_unix_pair(pair);
    make_pipe(ends);
    expect_whole(tcp);
    expect_whole(pair);
    expect_whole(ends);
}

static void expect_count_of_what_left(int ends[2], void (*end)(gring_task *, struct sending *))
{
    struct sending sending = { .out = ends[1], .in = make_patterned(64 << 20), .size = 64 << 20 };
    gring_task *task = start(send_file, &sending);

    while (unread_bytes(ends[0]) == 0)
        gring_sleep(GRING_MS);
    end(task, &sending);
    gring_join(task, NULL);
    gring_close(ends[1]);
    cr_expect_gt(sending.sent, 0, "%s", strerror(sending.error));
    cr_expect_eq(sending.offset, sending.sent);
    cr_expect_eq((ssize_t)receive_pattern(ends[0], SIZE_MAX), sending.sent);
    close(sending.in);
    close(ends[0]);
}

static void kill_sender(gring_task *task, struct sending *unused)
{
    (void)unused;
    gring_kill(task);
}

static void close_sender(gring_task *task, struct sending *sending)
{
    (void)task;
    gring_close(sending->out);
}

GreenTest(files, sendfile_without_a_descriptor_for_its_pipe_is_EMFILE)
{
    int in = make_patterned(100), pair[2];
    off_t offset = 0;

    make_unix_pair(pair);
    leave_no_descriptor();
    EXPECT_ERROR(gring_sendfile(pair[1], in, &offset, 100), EMFILE);
    allow_descriptors(0);
    cr_expect_eq(offset, 0);
    cr_expect_eq(gring_sendfile(pair[1], in, &offset, 100), 100);
    close_both(pair);
    close(in);
}

GreenTest(files, sendfile_that_is_interrupted_counts_what_has_left)
{
    int tcp[2], ends[2];

    make_tcp_pair(tcp);
    make_pipe(ends);
    expect_count_of_what_left(tcp, kill_sender);
    expect_count_of_what_left(ends, kill_sender);
    make_tcp_pair(tcp);
    expect_count_of_what_left(tcp, close_sender);
}

struct end_of_sending {
    gring_task *task;
    int out;
};

static void *close_after(void *arg)
{
    struct end_of_sending *end = arg;

    gring_join(end->task, NULL);
    gring_close(end->out);
    return NULL;
}

/* It waits for room; the file is closed meanwhile, and its number is that of a file of zeros. */
GreenTest(files, sendfile_does_not_go_on_with_a_file_that_got_the_number)
{
    int ends[2], other = make_file("", 0);
    struct sending sending = { .in = make_patterned(4 << 20), .size = 4 << 20 };
    struct end_of_sending end;
    gring_task *closing;

    cr_assert_eq(ftruncate(other, 4 << 20), 0);
    make_pipe(ends);
    sending.out = end.out = ends[1];
    end.task = start(send_file, &sending);
    while (unread_bytes(ends[0]) == 0)
        gring_sleep(GRING_MS);
    gring_close(sending.in);
    cr_assert_eq(dup(other), sending.in);
    closing = gring_spawn(close_after, &end);
    cr_expect_eq((ssize_t)receive_pattern(ends[0], SIZE_MAX), sending.sent);
    gring_join(closing, NULL);
    cr_expect_gt(sending.sent, 0);
    close(sending.in);
    close(ends[0]);
    close(other);
}

struct splicing {
    int in, out;
    ssize_t result;
    int error;
};

static void *splice_into_closed(void *arg)
{
    struct splicing *splicing = arg;

    splicing->result = gring_splice(splicing->in, NULL, splicing->out, NULL, 100, 0);
    splicing->error = errno;
    return NULL;
}

/* It waits for bytes; the target is closed meanwhile, and its number is another pipe's. */
GreenTest(files, splice_does_not_go_on_with_a_file_that_got_the_number)
{
    int from[2], to[2], others[2];
    struct splicing splicing;
    gring_task *task;

    make_pipe(from);
    make_pipe(to);
    make_pipe(others);
    splicing = (struct splicing){ .in = from[0], .out = to[1] };
    task = start(splice_into_closed, &splicing);
    gring_idle();
    gring_close(to[1]);
    cr_assert_eq(dup(others[1]), to[1]);
    cr_assert_eq(write(from[1], "abc", 3), 3);
    gring_join(task, NULL);
    cr_expect_eq(splicing.result, -1);
    cr_expect_eq(splicing.error, EBADF);
    cr_expect_eq(unread_bytes(others[0]), 0);
    cr_expect_eq(unread_bytes(from[0]), 3);
    close_both(from);
    close_both(to);
    close_both(others);
}

/* ---- interruption ---------------------------------------------------------------------------- */

static int killed_fds[3];

/* None of these may begin anything. */
static void *call_everything_killed(void *arg)
{
    char buf[64];
    struct iovec part = { buf, sizeof buf };
    struct stat status;
    struct statx extended;
    int file = killed_fds[0], dir = killed_fds[1], pipe_end = killed_fds[2];
    const char *path = in_folder("never");

    gring_kill(gring_self());
    EXPECT_ERROR(gring_preadv2(file, &part, 1, 0, 0), ECANCELED);
    EXPECT_ERROR(gring_preadv2(file, &part, 1, 0, RWF_NOWAIT), ECANCELED);
    EXPECT_ERROR(gring_pwritev2(file, &part, 1, 0, 0), ECANCELED);
    EXPECT_ERROR(gring_pwritev2(file, &part, 1, 0, RWF_NOWAIT), ECANCELED);
    EXPECT_ERROR(gring_fdatasync(file), ECANCELED);
    EXPECT_ERROR(gring_sync_file_range(file, 0, 1, 0), ECANCELED);
    EXPECT_ERROR(gring_sync_file_range(file, 0, INT64_MAX, 0), ECANCELED);
    EXPECT_ERROR(gring_ftruncate(file, 0), ECANCELED);
    EXPECT_ERROR(gring_fallocate(file, 0, 0, 1000), ECANCELED);
    EXPECT_ERROR(gring_fadvise(file, 0, 0, POSIX_FADV_NORMAL), ECANCELED);
    EXPECT_ERROR(gring_fadvise(file, 0, INT64_MAX, POSIX_FADV_NORMAL), ECANCELED);
    EXPECT_ERROR(gring_statx(AT_FDCWD, "/", 0, 0, &extended), ECANCELED);
    EXPECT_ERROR(gring_stat("/", &status), ECANCELED);
    EXPECT_ERROR(gring_lstat("/", &status), ECANCELED);
    EXPECT_ERROR(gring_fstatat(AT_FDCWD, "/", &status, 0), ECANCELED);
    EXPECT_ERROR(gring_rename(in_folder("file"), path), ECANCELED);
    EXPECT_ERROR(gring_unlinkat(AT_FDCWD, in_folder("file"), 0), ECANCELED);
    EXPECT_ERROR(gring_mkdir(path, 0700), ECANCELED);
    EXPECT_ERROR(gring_linkat(dir, "file", AT_FDCWD, path, 0), ECANCELED);
    EXPECT_ERROR(gring_symlinkat("file", AT_FDCWD, path), ECANCELED);
    EXPECT_ERROR(gring_getdents64(dir, buf, sizeof buf), ECANCELED);
    EXPECT_ERROR(gring_flock(file, LOCK_EX), ECANCELED);
    EXPECT_ERROR(gring_flock(file, LOCK_EX | LOCK_NB), ECANCELED);
    cr_expect_eq(gring_flock(file, LOCK_UN), 0, "cleanup always works");
    EXPECT_ERROR(gring_splice(file, NULL, pipe_end, NULL, 10, 0), ECANCELED);
    EXPECT_ERROR(gring_sendfile(pipe_end, file, NULL, 10), ECANCELED);
    EXPECT_ERROR(gring_copy_file_range(file, NULL, file, NULL, 10, 0), ECANCELED);
    return arg;
}

GreenTest(files, a_killed_task_begins_nothing)
{
    int ends[2];

    make_pipe(ends);
    killed_fds[0] = make_named("file", "untouched");
    killed_fds[1] = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    killed_fds[2] = ends[1];
    gring_join(gring_spawn(call_everything_killed, NULL), NULL);
    cr_expect(exists("file"));
    cr_expect_not(exists("never"));
    cr_expect_eq(size_of(killed_fds[0]), 9);
    cr_expect_eq(unread_bytes(ends[0]), 0);
    close_both(ends);
}

static void *stat_late(void *arg)
{
    struct stat status;

    outcome = gring_within(0, gring_stat("/", &status));
    outcome_errno = errno;
    return arg;
}

GreenTest(files, a_passed_deadline_begins_nothing)
{
    gring_join(gring_spawn(stat_late, NULL), NULL);
    cr_expect_eq(outcome, -1);
    cr_expect_eq(outcome_errno, ETIMEDOUT);
}

/* Nothing in between: the bytes are there and counted, or nothing was begun. */
enum { COPIES = 200, COPY_BYTES = 5000 };

static struct one_copy {
    int in, out;
    ssize_t result;
} copies[COPIES];

static void *copy_one(void *arg)
{
    struct one_copy *copy = arg;

    copy->result = gring_copy_file_range(copy->in, NULL, copy->out, NULL, COPY_BYTES, 0);
    return NULL;
}

GreenTest(files, kills_at_random_leave_each_copy_done_or_not_begun)
{
    uint64_t random = random_seed();
    gring_task *tasks[COPIES];

    for (int index = 0; index < COPIES; index++) {
        copies[index].in = make_patterned(COPY_BYTES);
        copies[index].out = make_file("", 0);
        tasks[index] = gring_spawn(copy_one, &copies[index]);
    }
    gring_yield();
    for (int kills = 0; kills < COPIES; kills++) {
        gring_kill(tasks[random_next(&random) % COPIES]);
        if (random_next(&random) % 16 == 0)
            gring_yield();
    }
    for (int index = 0; index < COPIES; index++) {
        struct one_copy *copy = &copies[index];
        bool is_done = gring_join(tasks[index], NULL) == 0 || copy->result > 0;

        cr_expect_eq(copy->result, is_done ? COPY_BYTES : -1);
        cr_expect_eq(size_of(copy->out), is_done ? COPY_BYTES : 0);
        close(copy->in);
        close(copy->out);
    }
}

/* ---- many ------------------------------------------------------------------------------------ */

enum { WRITERS = 300, ROUNDS = 8, WORKERS_BOUNDED = 8, WORKERS_UNBOUNDED = 32 };

static int finished_count;

static void *write_sync_and_stat(void *arg)
{
    char bytes[512] = { 0 };
    struct stat status;
    int fd = make_file("", 0);

    for (int round = 0; round < ROUNDS; round++) {
        cr_assert_eq(gring_pwrite(fd, bytes, sizeof bytes, round * 512), 512);
        cr_assert_eq(gring_fdatasync(fd), 0);
        cr_assert_eq(gring_fstatat(fd, "", &status, AT_EMPTY_PATH), 0);
        cr_assert_eq(status.st_size, (round + 1) * 512);
    }
    gring_close(fd);
    finished_count++;
    return arg;
}

GreenTest(files, hundreds_of_tasks_at_files_share_a_bounded_number_of_workers)
{
    int most = 0;

    for (int index = 0; index < WRITERS; index++)
        gring_spawn_n(write_sync_and_stat, NULL);
    while (finished_count < WRITERS) {
        int count = worker_count();

        most = count > most ? count : most;
        gring_sleep(GRING_MS);
    }
    cr_expect_gt(most, 0, "none was seen: this test looks at the wrong threads");
    cr_expect_leq(most, WORKERS_BOUNDED + WORKERS_UNBOUNDED);
}

GreenTest(files, the_workers_of_the_kernel_are_counted)
{
    gring_stats stats = { .size = sizeof stats };
    int fd = make_file("", 0);

    cr_assert_eq(gring_fsync(fd), 0);
    errno = 4242;
    cr_assert_eq(gring_stats_get(&stats), 0);
    cr_assert_eq(errno, 4242);
    cr_assert_gt(stats.kernel_workers, 0);
    cr_assert_eq(stats.kernel_workers, (uint64_t)worker_count());
    close(fd);
}

enum { RECORDS = 200, RECORD_BYTES = 100 };

static void *append_records(void *arg)
{
    const char *writer = arg;
    char record[RECORD_BYTES];
    int fd = open(in_folder("log"), O_WRONLY | O_APPEND | O_CLOEXEC);

    memset(record, *writer, sizeof record);
    for (int index = 0; index < RECORDS; index++)
        cr_assert_eq(gring_write(fd, record, sizeof record), sizeof record);
    close(fd);
    return NULL;
}

GreenTest(files, records_that_two_tasks_append_stay_whole)
{
    int fd = make_named("log", ""), counts[256] = { 0 };
    gring_task *tasks[] = { gring_spawn(append_records, (char[]){ "a" }),
                            gring_spawn(append_records, (char[]){ "b" }) };
    char record[RECORD_BYTES];

    gring_join(tasks[0], NULL);
    gring_join(tasks[1], NULL);
    cr_assert_eq(size_of(fd), 2 * RECORDS * RECORD_BYTES);
    for (int index = 0; index < 2 * RECORDS; index++) {
        cr_assert_eq(read(fd, record, sizeof record), sizeof record);
        for (int place = 1; place < RECORD_BYTES; place++)
            cr_assert_eq(record[place], record[0]);
        counts[(unsigned char)record[0]]++;
    }
    cr_expect_eq(counts['a'], RECORDS);
    cr_expect_eq(counts['b'], RECORDS);
    close(fd);
}

static int shared_fd;

static void *read_blocks(void *arg)
{
    unsigned char block[4096];
    unsigned parity = *(unsigned *)arg;

    for (unsigned index = parity; index < 100; index += 2) {
        cr_assert_eq(gring_pread(shared_fd, block, sizeof block, index * 4096), 4096);
        cr_assert_eq(pattern_matches(block, sizeof block, 1, index * 4096), sizeof block);
    }
    return NULL;
}

GreenTest(files, two_tasks_at_offsets_of_one_descriptor_do_not_meet)
{
    unsigned even = 0, odd = 1;
    gring_task *tasks[2];

    shared_fd = make_patterned(100 * 4096);
    lseek(shared_fd, 33, SEEK_SET);
    tasks[0] = gring_spawn(read_blocks, &even);
    tasks[1] = gring_spawn(read_blocks, &odd);
    gring_join(tasks[0], NULL);
    gring_join(tasks[1], NULL);
    cr_expect_eq(position(shared_fd), 33);
    close(shared_fd);
}
