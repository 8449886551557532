/* Thin wrappers; see sys.h. */
#include "base/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

void *sys_reserve(size_t bytes, bool is_stack)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (is_stack ? MAP_STACK : 0);
    void *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);

    if (start == MAP_FAILED)
        return NULL;
    /* else one touch could cost 2 MiB; EINVAL without THP is fine */
    madvise(start, bytes, MADV_NOHUGEPAGE);
    return start;
}

void sys_unreserve(void *start, size_t bytes)
{
    munmap(start, bytes);
}

int sys_discard(void *start, size_t bytes)
{
    return madvise(start, bytes, MADV_DONTNEED) < 0 ? -errno : 0;
}

int sys_guard_install(void *start, size_t bytes)
{
    return madvise(start, bytes, MADV_GUARD_INSTALL) < 0 ? -errno : 0;
}

int sys_guard_protect(void *start, size_t bytes)
{
    return mprotect(start, bytes, PROT_NONE) < 0 ? -errno : 0;
}

size_t sys_page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

size_t sys_max_map_count(void)
{
    char text[32];

    if (sys_read_text("/proc/sys/vm/max_map_count", text, sizeof text) < 0)
        return 65530;
    return strtoul(text, NULL, 10);
}

size_t sys_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_max == RLIM_INFINITY)
        return SIZE_MAX;
    return limit.rlim_max;
}

int sys_eventfd(void)
{
    int fd = eventfd(0, EFD_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

void sys_eventfd_signal(int fd)
{
    uint64_t one = 1;

    /* It cannot block: the reader takes the whole count, and 2^64 signals do not happen in
     * between. */
    while (write(fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

void sys_close(int fd)
{
    close(fd);
}

bool sys_pipe_write_takes(int flag)
{
    char zero = 0;
    struct iovec byte = { .iov_base = &zero, .iov_len = 1 };
    int ends[2], saved_errno = errno;
    bool takes = false;

    if (pipe2(ends, O_CLOEXEC) == 0) {
        takes = pwritev2(ends[1], &byte, 1, -1, flag) == 1;
        close(ends[0]);
        close(ends[1]);
    }
    errno = saved_errno;
    return takes;
}

/* That the word had changed, or a signal came, is no error: calls that block in here succeed. */
void sys_futex_wait(atomic_uint *word, unsigned expected)
{
    int saved_errno = errno;

    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
    errno = saved_errno;
}

void sys_futex_wake_all(atomic_uint *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void sys_pause_ns(int64_t ns)
{
    struct timespec pause = { .tv_nsec = ns };

    nanosleep(&pause, NULL);
}

static bool is_kernel_worker(const char *tid)
{
    char path[64], name[32];

    snprintf(path, sizeof path, "/proc/self/task/%.20s/comm", tid);
    return sys_read_text(path, name, sizeof name) == 0 && strncmp(name, "iou-", 4) == 0;
}

static int count_threads(bool kernel_workers)
{
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *entry;
    int count = 0;

    if (!tasks)
        return 0;
    while ((entry = readdir(tasks)))
        if (entry->d_name[0] != '.' && is_kernel_worker(entry->d_name) == kernel_workers)
            count++;
    closedir(tasks);
    return count;
}

int sys_foreign_thread_count(int ours)
{
    int count = count_threads(false);

    return count > ours ? count - ours : 0;
}

int sys_kernel_worker_count(void)
{
    return count_threads(true);
}

int sys_read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length;

    if (fd < 0)
        return -errno;
    length = read(fd, text, size - 1);
    close(fd);
    if (length < 0)
        return -EIO;
    text[length] = 0;
    text[strcspn(text, "\n")] = 0;
    return 0;
}
