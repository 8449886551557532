/*
 * The system calls that a test may want to refuse: memory, guards, descriptors, futexes.
 * Replaceable at link time. What only asks the kernel about itself, or belongs to one verb of
 * the API, is called where it is needed.
 *
 * Unless a line says otherwise a call returns 0 or a result, or -errno.
 */
#ifndef GRING_BASE_SYS_H
#define GRING_BASE_SYS_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Address space without memory: private, zero-filled, not counted against overcommit, no huge
 * pages. NULL: errno. */
void *sys_reserve(size_t bytes, bool is_stack);
void sys_unreserve(void *start, size_t bytes);
/* Gives the pages back; they read as zero afterwards. */
int sys_discard(void *start, size_t bytes);
/* A lightweight guard (Linux 6.13, no mapping of its own). -EINVAL where the kernel has none. */
int sys_guard_install(void *start, size_t bytes);
/* A guard by protection: splits the mapping in up to two more. */
int sys_guard_protect(void *start, size_t bytes);
size_t sys_page_bytes(void);
/* vm.max_map_count, or 65530 when it cannot be read. */
size_t sys_max_map_count(void);

/* The hard RLIMIT_NOFILE, SIZE_MAX when there is none. */
size_t sys_descriptor_limit(void);
int sys_eventfd(void);
void sys_eventfd_signal(int fd);
void sys_close(int fd);
/* Does this kernel know the RWF_… flag for writes to a pipe? Tried on one. errno stays as it is. */
bool sys_pipe_write_takes(int flag);

/* Sleeps while *word == expected; spurious returns are possible. See futex(2). */
void sys_futex_wait(atomic_uint *word, unsigned expected);
void sys_futex_wake_all(atomic_uint *word);
/* Sleeps for a short time; for back-off only. */
void sys_pause_ns(int64_t ns);

/* Threads of this process that none of ours explains: not counting `ours` and the kernel's
 * io_uring workers. */
int sys_foreign_thread_count(int ours);
/* Those workers: what cannot be tried without blocking is given to them. */
int sys_kernel_worker_count(void);

/* The file's text into `text`, ended with 0 and without its last newline. -errno. */
int sys_read_text(const char *path, char *text, size_t size);

#endif
