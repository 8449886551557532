/* Where the kernel, or somebody in front of it, refuses io_uring or a part of it. */
#include "tests/support/child.h"
#include "tests/support/logged.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <greenring/greenring.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *nothing(void *arg)
{
    return arg;
}

/* ---- a seccomp filter ---- */

static void install_filter(struct sock_filter *code, size_t length)
{
    struct sock_fprog program = { .len = (unsigned short)length, .filter = code };

    CHILD_MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHILD_MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

/* From here on this system call fails with that error, in this process. */
static void deny(int call, int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };

    install_filter(code, sizeof code / sizeof code[0]);
}

/* The mapping of a ring's SQEs fails so; they are what is mapped at this offset of the ring. */
static void deny_mapping_of_the_ring(int error)
{
    const unsigned sqes_offset = 0x10000000; /* IORING_OFF_SQES */
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_mmap, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, sqes_offset, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };

    install_filter(code, sizeof code / sizeof code[0]);
}

static int lowest_free_descriptor(void)
{
    int fd = dup(STDERR_FILENO);

    close(fd);
    return fd;
}

/*
 * Each way to start fails with this error and one line, which names cause and remedy; and nothing
 * is left behind.
 */
static void start_is_refused(int error, const char *cause, const char *remedy)
{
    int lowest = lowest_free_descriptor();

    logged_start();
    errno = 0;
    CHILD_MUST(gring_run(nothing, NULL, NULL) == -1 && errno == error);
    CHILD_MUST(logged.count == 1);
    dprintf(STDERR_FILENO, "%s\n", logged.lines[0]);
    CHILD_MUST(logged.levels[0] == 0);
    CHILD_MUST(logged_with(cause) == 1);
    CHILD_MUST(logged_with(remedy) == 1);
    CHILD_MUST(!strchr(logged.lines[0], '\n'));
    CHILD_MUST(strlen(logged.lines[0]) < 400);

    logged_start();
    errno = 0;
    CHILD_MUST(gring_init(NULL) == -1 && errno == error);
    CHILD_MUST(logged.count == 1);
    errno = 0;
    CHILD_MUST(!gring_spawn(nothing, NULL) && errno == error);
    errno = 0;
    CHILD_MUST(gring_sleep(1) == -1 && errno == error);
    CHILD_MUST(lowest_free_descriptor() == lowest);
}

static void refuse_with_EPERM(void)
{
    deny(__NR_io_uring_setup, EPERM);
    start_is_refused(EPERM, "seccomp", "io_uring_setup, io_uring_enter and io_uring_register");
}

static void refuse_with_EACCES(void)
{
    deny(__NR_io_uring_setup, EACCES);
    start_is_refused(EACCES, "seccomp", "io_uring_setup, io_uring_enter and io_uring_register");
}

static void refuse_with_ENOSYS(void)
{
    deny(__NR_io_uring_setup, ENOSYS);
    start_is_refused(ENOSYS, "seccomp", "6.1");
}

static void refuse_with_ENOMEM(void)
{
    deny(__NR_io_uring_setup, ENOMEM);
    start_is_refused(ENOMEM, "ENOMEM", "memory");
}

static void refuse_with_EINVAL(void)
{
    deny(__NR_io_uring_setup, EINVAL);
    start_is_refused(EINVAL, "EINVAL", "6.1");
}

static void refuse_with_EMFILE(void)
{
    deny(__NR_io_uring_setup, EMFILE);
    start_is_refused(EMFILE, strerror(EMFILE), "RLIMIT_NOFILE");
}

static void refuse_with_something_else(void)
{
    deny(__NR_io_uring_setup, EXDEV);
    start_is_refused(EXDEV, strerror(EXDEV), "seccomp");
}

static void refuse_registration(void)
{
    deny(__NR_io_uring_register, EPERM);
    start_is_refused(EPERM, "seccomp", "io_uring_setup, io_uring_enter and io_uring_register");
}

Test(refused, EPERM_names_the_filter_and_the_calls_to_allow)
{
    child_must_pass(refuse_with_EPERM);
}

Test(refused, EACCES_names_the_filter_and_the_calls_to_allow)
{
    child_must_pass(refuse_with_EACCES);
}

Test(refused, ENOSYS_names_the_filter_and_the_oldest_kernel)
{
    child_must_pass(refuse_with_ENOSYS);
}

Test(refused, ENOMEM_names_memory)
{
    child_must_pass(refuse_with_ENOMEM);
}

Test(refused, EINVAL_names_the_oldest_kernel)
{
    child_must_pass(refuse_with_EINVAL);
}

Test(refused, EMFILE_names_the_limit)
{
    child_must_pass(refuse_with_EMFILE);
}

Test(refused, any_other_error_is_passed_on_and_the_filter_named)
{
    child_must_pass(refuse_with_something_else);
}

Test(refused, a_filter_against_io_uring_register_alone_is_named)
{
    child_must_pass(refuse_registration);
}

/* ---- each call with each error ---- */

static const struct refused {
    const char *name;
    int call, error, seen; /* what gring_run then says */
    const char *cause, *remedy;
} refusals[] = {
#define ALLOW_ALL "io_uring_setup, io_uring_enter and io_uring_register"
    { "io_uring_setup", __NR_io_uring_setup, EPERM, EPERM, "seccomp", ALLOW_ALL },
    { "io_uring_setup", __NR_io_uring_setup, ENOSYS, ENOSYS, "seccomp", ALLOW_ALL },
    { "io_uring_setup", __NR_io_uring_setup, EINVAL, EINVAL, "EINVAL", "6.1" },
    { "io_uring_setup", __NR_io_uring_setup, ENOMEM, ENOMEM, "ENOMEM", "memory" },
    { "io_uring_setup", __NR_io_uring_setup, EMFILE, EMFILE, "open files", "RLIMIT_NOFILE" },
    { "io_uring_enter", __NR_io_uring_enter, EPERM, EPERM, "seccomp", ALLOW_ALL },
    { "io_uring_enter", __NR_io_uring_enter, ENOSYS, ENOSYS, "seccomp", ALLOW_ALL },
    { "io_uring_enter", __NR_io_uring_enter, EINVAL, EINVAL, "EINVAL", "6.1" },
    { "io_uring_enter", __NR_io_uring_enter, ENOMEM, ENOMEM, "ENOMEM", "memory" },
    { "io_uring_enter", __NR_io_uring_enter, EMFILE, EMFILE, "open files", "RLIMIT_NOFILE" },
    { "io_uring_register", __NR_io_uring_register, EPERM, EPERM, "seccomp", ALLOW_ALL },
    { "io_uring_register", __NR_io_uring_register, ENOSYS, ENOSYS, "seccomp", ALLOW_ALL },
    { "io_uring_register", __NR_io_uring_register, EINVAL, EINVAL, "EINVAL", "6.1" },
    { "io_uring_register", __NR_io_uring_register, ENOMEM, ENOMEM, "ENOMEM", "memory" },
    { "io_uring_register", __NR_io_uring_register, EMFILE, EMFILE, "open files", "RLIMIT_NOFILE" },
};
static const struct refused *refusal;

static void refuse_it(void)
{
    deny(refusal->call, refusal->error);
    start_is_refused(refusal->seen, refusal->cause, refusal->remedy);
    CHILD_MUST(!strncmp(logged.lines[0], refusal->name, strlen(refusal->name)));
}

Test(refused, each_call_with_each_error_names_the_call_the_cause_and_the_remedy)
{
    for (size_t index = 0; index < sizeof refusals / sizeof refusals[0]; index++) {
        struct child child;

        refusal = &refusals[index];
        child = child_run(refuse_it);
        cr_assert(child_passed(&child), "%s %s: status %#x, it said: %s", refusal->name,
                  strerrorname_np(refusal->error), (unsigned)child.status, child.errors);
    }
}

static void refuse_the_mapping(void)
{
    deny_mapping_of_the_ring(ENOMEM);
    start_is_refused(ENOMEM, "ENOMEM", "memory");
}

Test(refused, a_ring_that_cannot_be_mapped_names_memory)
{
    child_must_pass(refuse_the_mapping);
}

/* ---- a ring that breaks while it is in use ---- */

static int breaking_error;

static void *break_the_ring(void *unused)
{
    deny(__NR_io_uring_enter, breaking_error);
    gring_sleep(10 * GRING_SEC); /* a short one could be over before the hub has to wait for it */
    return unused;
}

static void run_and_break(void)
{
    gring_run(break_the_ring, NULL, NULL);
}

Test(broken, a_lost_completion_aborts_and_says_so)
{
    breaking_error = EBADR;
    child_must_abort(run_and_break, "the kernel dropped a completion (EBADR)");
}

Test(broken, a_ring_of_another_thread_aborts_and_says_so)
{
    breaking_error = EEXIST;
    child_must_abort(run_and_break, "does not own it (EEXIST)");
}

Test(broken, any_other_error_of_enter_aborts_and_names_it)
{
    breaking_error = EBADFD;
    child_must_abort(run_and_break, strerror(EBADFD));
}

static void out_of_descriptors(void)
{
    struct rlimit limit = { .rlim_cur = (rlim_t)lowest_free_descriptor(), .rlim_max = 1024 };

    logged_start();
    CHILD_MUST(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    errno = 0;
    CHILD_MUST(gring_run(nothing, NULL, NULL) == -1 && errno == EMFILE);
}

Test(refused, without_a_free_descriptor_it_is_EMFILE)
{
    child_must_pass(out_of_descriptors);
}

static void plain_io(void)
{
    char text[3];
    int ends[2];

    deny(__NR_io_uring_setup, EPERM);
    logged_start();
    CHILD_MUST(gring_run(nothing, NULL, NULL) == -1);
    CHILD_MUST(pipe(ends) == 0);
    CHILD_MUST(gring_write(ends[1], "abc", 3) == 3);
    CHILD_MUST(gring_read(ends[0], text, 3) == 3 && !memcmp(text, "abc", 3));
    CHILD_MUST(gring_close(ends[1]) == 0);
}

Test(refused, io_without_a_hub_is_the_plain_system_calls)
{
    child_must_pass(plain_io);
}

/* ---- features denied by GRING_WITHOUT ---- */

static int pipe_ends[2], listener;

static void *write_to_the_pipe(void *unused)
{
    (void)unused;
    CHILD_MUST(gring_sleep(GRING_MS) == 0); /* so that the reader waits */
    CHILD_MUST(gring_write_full(pipe_ends[1], "through a pipe", 14, NULL) == 14);
    return NULL;
}

static void use_a_pipe(void)
{
    gring_task *writer = gring_spawn(write_to_the_pipe, NULL);
    char got[14];

    CHILD_MUST(writer && pipe2(pipe_ends, O_CLOEXEC) == 0);
    CHILD_MUST(gring_read_full(pipe_ends[0], got, 14, NULL) == 14);
    CHILD_MUST(!memcmp(got, "through a pipe", 14));
    CHILD_MUST(gring_join(writer, NULL) == 0);
    CHILD_MUST(gring_close(pipe_ends[0]) == 0 && gring_close(pipe_ends[1]) == 0);
}

static void *echo(void *unused)
{
    int fd = gring_accept(listener, NULL, NULL);
    char got[1024];
    ssize_t count;

    (void)unused;
    CHILD_MUST(fd >= 0);
    while ((count = gring_recv(fd, got, sizeof got, 0)) > 0)
        CHILD_MUST(gring_send(fd, got, (size_t)count, 0) == count);
    CHILD_MUST(count == 0 && gring_close(fd) == 0);
    return NULL;
}

static int connect_to_listener(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address;
    socklen_t length = sizeof address;

    CHILD_MUST(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    CHILD_MUST(gring_connect(fd, (struct sockaddr *)&address, length) == 0);
    return fd;
}

static void use_tcp(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    gring_task *server;
    char got[5];
    int fd;

    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHILD_MUST(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 &&
               listen(listener, 5) == 0);
    server = gring_spawn(echo, NULL);
    fd = connect_to_listener();
    for (int round = 0; round < 10; round++) {
        CHILD_MUST(gring_send(fd, "hello", 5, 0) == 5);
        CHILD_MUST(gring_read_full(fd, got, 5, NULL) == 5 && !memcmp(got, "hello", 5));
    }
    CHILD_MUST(gring_close(fd) == 0);
    CHILD_MUST(gring_join(server, NULL) == 0);
    CHILD_MUST(gring_close(listener) == 0);
}

static void *a_little_of_everything(void *unused)
{
    gring_task *tasks[100];

    (void)unused;
    for (int index = 0; index < 100; index++)
        CHILD_MUST((tasks[index] = gring_spawn(nothing, NULL)));
    CHILD_MUST(gring_waitall(tasks, 100) == 0);
    CHILD_MUST(gring_sleep(GRING_MS) == 0);
    use_a_pipe();
    use_tcp();
    gring_spawn_n(echo, NULL); /* fails, or is ended with the run */
    return NULL;
}

static char without[512];

static void run_without(void)
{
    setenv("GRING_WITHOUT", without, 1);
    logged_start();
    CHILD_MUST(gring_run(a_little_of_everything, NULL, NULL) == 0);
    CHILD_MUST(logged.count == 0);
}

static void works_without(const char *names)
{
    struct child child;

    snprintf(without, sizeof without, "%s", names);
    child = child_run(run_without);
    cr_assert(child_passed(&child), "without %s: status %#x, it said: %s", names,
              (unsigned)child.status, child.errors);
}

/* The library tells the names of all features to whoever writes one wrongly. */
static void name_an_unknown_feature(void)
{
    const char *known;

    setenv("GRING_WITHOUT", "nonsense", 1);
    logged_start();
    CHILD_MUST(gring_run(nothing, NULL, NULL) == 0);
    CHILD_MUST(gring_run(nothing, NULL, NULL) == 0);
    CHILD_MUST(logged.count == 1 && logged_with("nonsense") == 1); /* once */
    known = strstr(logged.lines[0], "known are: ");
    CHILD_MUST(known);
    dprintf(STDERR_FILENO, "%s", known + strlen("known are: "));
}

static void read_feature_names(char *names, size_t size)
{
    struct child child = child_run(name_an_unknown_feature);

    cr_assert(child_passed(&child), "%s", child.errors);
    snprintf(names, size, "%.*s", (int)size - 1, child.errors);
}

Test(without, an_unknown_feature_is_reported_once_with_the_known_ones)
{
    char names[512];

    read_feature_names(names, sizeof names);
    cr_assert(strstr(names, "guard_install"), "%s", names);
    cr_assert(strstr(names, "defer_taskrun"), "%s", names);
}

Test(without, each_feature_everything_still_works)
{
    char names[512], *rest = names;
    unsigned count = 0;

    read_feature_names(names, sizeof names);
    for (char *name; (name = strsep(&rest, ", "));) {
        if (!*name)
            continue;
        works_without(name);
        count++;
    }
    cr_assert_geq(count, 7);
}

Test(without, all_features_everything_still_works)
{
    char names[512];

    read_feature_names(names, sizeof names);
    works_without(names);
}

Test(without, nothing_at_all_is_no_unknown_feature)
{
    works_without("");
    works_without(",");
    works_without(" guard_install, ,iowq_caps,");
}
