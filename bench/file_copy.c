/*
 * Copying a file from the page cache into a new one, and sending it: ours against the plain system
 * calls and cp in the same run. Processor time for each KiB, the kernel's workers and our threads
 * included; cp's is its whole life's.
 *
 *     file_copy [FOLDER]     makes two files of 64 MiB in the folder; default: here
 */
#include "baseline/common.h"
#include "report.h"

#include <fcntl.h>
#include <greenring/greenring.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/sendfile.h>
#include <sys/wait.h>

enum { FILE_BYTES = 64 << 20, BLOCK_BYTES = 256 * 1024 };

static char from_path[512], to_path[512], block[BLOCK_BYTES];
static int from, to;
static int pair[2]; /* we send into the first, a thread throws away what comes out of the second */

/* ---- the ways to do it ----------------------------------------------------------------------- */

typedef ssize_t (*move_fn)(size_t size);

/* Until all has moved. */
static double each(move_fn move)
{
    double start;
    size_t left = FILE_BYTES;

    lseek(from, 0, SEEK_SET);
    lseek(to, 0, SEEK_SET);
    start = bench_now_ns();
    if (ftruncate(to, 0) < 0)
        die("ftruncate", errno);
    while (left > 0) {
        ssize_t moved = move(left);

        if (moved <= 0)
            die("copying", moved < 0 ? errno : EIO);
        left -= (size_t)moved;
    }
    return (bench_now_ns() - start) / (FILE_BYTES / 1024);
}

static ssize_t green_read_and_write(size_t unused)
{
    ssize_t size = gring_read(from, block, sizeof block);

    (void)unused;
    return size > 0 ? gring_write_full(to, block, (size_t)size, NULL) : size;
}

static ssize_t plain_read_and_write(size_t unused)
{
    ssize_t size = read(from, block, sizeof block);

    (void)unused;
    return size > 0 ? write(to, block, (size_t)size) : size;
}

static ssize_t green_copy_range(size_t size)
{
    return gring_copy_file_range(from, NULL, to, NULL, size, 0);
}

static ssize_t plain_copy_range(size_t size)
{
    return copy_file_range(from, NULL, to, NULL, size, 0);
}

static ssize_t green_sendfile(size_t size)
{
    return gring_sendfile(to, from, NULL, size);
}

static ssize_t plain_sendfile(size_t size)
{
    return sendfile(to, from, NULL, size);
}

static ssize_t green_send(size_t size)
{
    return gring_sendfile(pair[0], from, NULL, size);
}

static ssize_t plain_send(size_t size)
{
    return sendfile(pair[0], from, NULL, size);
}

static double child_cpu_ns(void)
{
    struct rusage used;

    getrusage(RUSAGE_CHILDREN, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e9 +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e3;
}

static double cp(void)
{
    extern char **environ;
    char *arguments[] = { (char[]){ "cp" }, from_path, to_path, NULL };
    double start = child_cpu_ns();
    int status;
    pid_t pid;

    errno = posix_spawnp(&pid, "cp", NULL, NULL, arguments, environ);
    if (errno)
        die("cp", errno);
    if (waitpid(pid, &status, 0) != pid || status != 0)
        die("cp", EIO);
    return (child_cpu_ns() - start) / (FILE_BYTES / 1024);
}

#define MEASURE(name, move)                                                                        \
    static double name(void)                                                                       \
    {                                                                                              \
        return each(move);                                                                         \
    }

MEASURE(green_blocks, green_read_and_write)
MEASURE(plain_blocks, plain_read_and_write)
MEASURE(green_range, green_copy_range)
MEASURE(plain_range, plain_copy_range)
MEASURE(green_to_file, green_sendfile)
MEASURE(plain_to_file, plain_sendfile)
MEASURE(green_to_socket, green_send)
MEASURE(plain_to_socket, plain_send)

/* ---- the whole ------------------------------------------------------------------------------- */

static void *measure(void *arg)
{
    const struct comparison comparisons[] = {
        { "gring_read, gring_write_full of 256 KiB", "read, write", green_blocks, plain_blocks, 0,
          0 },
        { "the same", "cp", green_blocks, cp, 0, 0 },
        { "gring_copy_file_range", "copy_file_range", green_range, plain_range, 0, 0 },
        { "the same", "cp", green_range, cp, 0, 0 },
        { "gring_sendfile into a file", "sendfile", green_to_file, plain_to_file, 0, 0 },
        { "gring_sendfile into TCP, with the reader", "sendfile", green_to_socket, plain_to_socket,
          0, 0 },
    };

    for (size_t index = 0; index < sizeof comparisons / sizeof comparisons[0]; index++)
        bench_compare(&comparisons[index]);
    return arg;
}

static int make_file(char *path, size_t path_bytes, const char *folder)
{
    int fd;

    snprintf(path, path_bytes, "%s/greenring-bench-XXXXXX", folder);
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        die(path, errno);
    return fd;
}

static void fill_source(void)
{
    memset(block, 'x', sizeof block);
    for (size_t size = 0; size < FILE_BYTES; size += sizeof block)
        if (write(from, block, sizeof block) != sizeof block)
            die("writing the bench's file", errno);
}

static void *throw_away(void *arg)
{
    while (recv(pair[1], NULL, 1 << 20, MSG_TRUNC) > 0)
        ;
    return arg;
}

/* TCP over loopback, whose reader copies nothing: MSG_TRUNC. */
static void connect_pair(void)
{
    struct sockaddr_in address = local_address(0);
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pthread_t thread;

    pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(listener, 1) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) < 0 ||
        connect(pair[0], (struct sockaddr *)&address, sizeof address) < 0)
        die("a connection over loopback", errno);
    pair[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    close(listener);
    errno = pthread_create(&thread, NULL, throw_away, NULL);
    if (errno)
        die("pthread_create", errno);
    pthread_detach(thread);
}

int main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : ".";
    int result;

    from = make_file(from_path, sizeof from_path, folder);
    to = make_file(to_path, sizeof to_path, folder);
    fill_source();
    connect_pair();
    result = gring_run(measure, NULL, NULL);
    unlink(from_path);
    unlink(to_path);
    return result;
}
