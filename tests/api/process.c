/* A run beside the rest of its process: signals, children that are made past it, what an exec
 * inherits, and who looks at the stacks from outside. Fork is in hub.c, exit in leave.c. */
#include "tests/support/fds.h"
#include "tests/support/green.h"

#include <execinfo.h>
#include <greenring/co.h>
#include <greenring/debug.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int ends[2];

static void *read_a_byte(void *unused)
{
    char byte = 0;

    (void)unused;
    return gring_read(ends[0], &byte, 1) == 1 ? (void *)(intptr_t)byte : gring_fail(errno);
}

/* ---- signals --------------------------------------------------------------------------------- */

enum { SIGNALS = 50 };

static atomic_int handled;
static pthread_t hub_thread;

static void count_signal(int unused)
{
    (void)unused;
    atomic_fetch_add(&handled, 1);
}

/* Each of them once the one before it has been handled, and then a byte. */
static void *disturb(void *unused)
{
    for (int sent = 1; sent <= SIGNALS; sent++) {
        pthread_kill(hub_thread, SIGUSR1);
        while (atomic_load(&handled) < sent)
            sched_yield();
    }
    return write(ends[1], "z", 1) == 1 ? unused : NULL;
}

/* SA_RESTART or not: io_uring_enter(2) says EINTR, which is nobody's error but the loop's. */
static void wait_amid_signals(int flags)
{
    struct sigaction action = { .sa_handler = count_signal, .sa_flags = flags };
    gring_task *reader;
    pthread_t thread;
    void *byte;

    make_unix_pair(ends);
    hub_thread = pthread_self();
    atomic_store(&handled, 0);
    cr_assert_eq(sigaction(SIGUSR1, &action, NULL), 0);
    reader = gring_spawn(read_a_byte, NULL);
    cr_assert_eq(gring_idle(), 0);
    cr_assert_eq(pthread_create(&thread, NULL, disturb, NULL), 0);
    cr_assert_eq(gring_join(reader, &byte), 0);
    cr_assert_eq(byte, (void *)'z');
    cr_assert_eq(atomic_load(&handled), SIGNALS);
    pthread_join(thread, NULL);
}

GreenTest(signal, that_comes_while_the_hub_sleeps_ends_no_wait)
{
    wait_amid_signals(0);
    wait_amid_signals(SA_RESTART);
}

static void *sleep_and_measure(void *unused)
{
    gring_ns start = gring_now();

    (void)unused;
    cr_assert_eq(gring_sleep(20 * GRING_MS), 0);
    return (void *)(intptr_t)(gring_now() - start);
}

GreenTest(signal, that_comes_while_the_hub_sleeps_makes_no_sleep_shorter)
{
    gring_task *sleeper = gring_spawn(sleep_and_measure, NULL);
    void *slept;

    wait_amid_signals(0);
    cr_assert_eq(gring_join(sleeper, &slept), 0);
    cr_assert_geq((gring_ns)(intptr_t)slept, 20 * GRING_MS);
}

/* ---- children that share our memory for a while ------------------------------------------------ */

extern char **environ;

static void run_true(void)
{
    char name[] = "true", *arguments[] = { name, NULL };
    int status;
    pid_t pid;

    cr_assert_eq(posix_spawnp(&pid, name, NULL, NULL, arguments, environ), 0);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0);
}

static void call_vfork(void)
{
    int status;
    pid_t pid = vfork();

    if (pid == 0)
        _exit(0);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0);
}

static void *make_children(void *unused)
{
    run_true();
    call_vfork();
    cr_assert_eq(system("true"), 0);
    return unused;
}

/* With a read in the kernel's hands and one that is only queued when they are made. */
GreenTest(child, by_posix_spawn_vfork_and_system_disturbs_nothing)
{
    gring_task *waiting, *queued;
    void *byte;

    make_unix_pair(ends);
    waiting = gring_spawn(read_a_byte, NULL);
    cr_assert_eq(gring_idle(), 0);
    queued = gring_spawn(read_a_byte, NULL);
    gring_yield();
    make_children(NULL);
    cr_assert_eq(gring_join(gring_spawn(make_children, NULL), NULL), 0);
    cr_assert_eq(gring_write(ends[1], "zz", 2), 2);
    cr_assert_eq(gring_join(waiting, &byte), 0);
    cr_assert_eq(byte, (void *)'z');
    cr_assert_eq(gring_join(queued, &byte), 0);
    cr_assert_eq(byte, (void *)'z');
}

/* ---- what an exec inherits --------------------------------------------------------------------- */

enum { DESCRIPTORS = 256 };

/* The names of what the process has open and would keep across an exec. */
static int inheritable_count(void)
{
    int count = 0;

    for (int fd = 0; fd < DESCRIPTORS; fd++) {
        int flags = fcntl(fd, F_GETFD);

        count += flags >= 0 && !(flags & FD_CLOEXEC);
    }
    return count;
}

static void *send_a_file(void *arg)
{
    int *descriptors = arg;

    gring_sendfile(descriptors[1], descriptors[0], NULL, 1 << 20);
    return NULL;
}

static void *wait_for_urgent_data(void *fd)
{
    gring_wait_fd((int)(intptr_t)fd, POLLPRI);
    return NULL;
}

static void *open_a_fifo(void *path)
{
    int fd = gring_open(path, O_RDONLY | O_CLOEXEC);

    return fd < 0 ? gring_fail(errno) : (void *)(intptr_t)fd;
}

static void *join_nobody(void *unused)
{
    return unused;
}

/* A ring, its mailbox with a thread's mail in it, a pipe of sendfile's, an epoll descriptor, a FIFO
 * that waits: what the library opens for itself, as far as anybody can make it. */
static void *open_all_that_can_be_opened(void *before_the_run)
{
    char folder[] = P_tmpdir "/greenring-test-XXXXXX", path[64];
    int before = *(int *)before_the_run, pair[2], job[2];
    gring_task *sender, *watcher, *opener;

    make_tcp_pair(pair);
    job[0] = make_file("", 0);
    job[1] = pair[0];
    cr_assert_eq(ftruncate(job[0], 64 << 20), 0);
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/fifo", folder);
    cr_assert_eq(mkfifo(path, 0600), 0);
    sender = gring_spawn(send_a_file, job);
    watcher = gring_spawn(wait_for_urgent_data, (void *)(intptr_t)pair[1]);
    opener = gring_spawn(open_a_fifo, path);
    gring_join(gring_spawn(join_nobody, NULL), NULL);
    cr_assert_eq(gring_idle(), 0);
    cr_assert_eq(inheritable_count(), before);
    gring_kill(sender);
    gring_kill(watcher);
    gring_kill(opener);
    gring_join(sender, NULL);
    gring_join(watcher, NULL);
    gring_join(opener, NULL);
    cr_assert_eq(inheritable_count(), before);
    unlink(path);
    rmdir(folder);
    return NULL;
}

Test(exec, inherits_no_descriptor_of_the_runtime)
{
    int before = inheritable_count();

    cr_assert_eq(gring_run(open_all_that_can_be_opened, &before, NULL), 0);
}

/* ---- looking at the stacks ----------------------------------------------------------------------- */

enum { FRAMES_MAX = 100, DEPTH = 10 };

/* A walk that missed the end would go on into whatever lies above, or fault there. */
static __attribute__((noinline)) int frames_from(int depth)
{
    void *frames[FRAMES_MAX];
    int count = depth ? frames_from(depth - 1) : backtrace(frames, FRAMES_MAX);

    __asm__ volatile("" : "+r"(count)); /* no tail call: each level is a frame */
    return count;
}

static void *count_frames(void *unused)
{
    (void)unused;
    return (void *)(intptr_t)frames_from(DEPTH);
}

static bool ends_in_time(void *count)
{
    return (intptr_t)count > DEPTH && (intptr_t)count < FRAMES_MAX / 2;
}

GreenTest(backtrace, of_a_task_ends_where_it_began)
{
    void *count;

    cr_assert_eq(gring_join(gring_spawn(count_frames, NULL), &count), 0);
    cr_assert(ends_in_time(count), "%d frames", (int)(intptr_t)count);
}

GreenTest(backtrace, of_a_coroutine_ends_where_it_began)
{
    gring_co *co = gring_co_new(count_frames, NULL, 0);
    void *count;

    cr_assert_eq(gring_co_switch(co, NULL, &count), 0);
    cr_assert(ends_in_time(count), "%d frames", (int)(intptr_t)count);
    gring_co_free(co);
}

static void *frames_in_callback;

static void count_frames_in_a_callback(void *task)
{
    frames_in_callback = count_frames(NULL);
    gring_unpark(task, NULL);
}

GreenTest(backtrace, of_a_callback_ends_at_the_loop)
{
    cr_assert_eq(gring_post(NULL, count_frames_in_a_callback, gring_self()), 0);
    cr_assert_eq(gring_park(NULL), 0);
    cr_assert(ends_in_time(frames_in_callback), "%d frames", (int)(intptr_t)frames_in_callback);
}
