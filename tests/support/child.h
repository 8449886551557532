/*
 * A test's body in a child process of its own: for what ends a process, for what needs one without
 * other threads (Criterion's test process has a second one), and for limits and filters that cannot
 * be taken back.
 *
 *     static void overflows(void) { ... CHILD_MUST(fact); ... }
 *
 *     struct child child = child_run(overflows);
 *     cr_assert(child_died_of(&child, SIGSEGV), "%s", child.errors);
 *
 * Criterion's assertions do not work in there: CHILD_MUST says the broken fact on stderr and exits
 * with 1.
 */
#ifndef TESTS_SUPPORT_CHILD_H
#define TESTS_SUPPORT_CHILD_H

#include <criterion/criterion.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#else
#define UNDER_ASAN 0
#endif

enum { CHILD_SECONDS = 30, CHILD_ERROR_BYTES = 16 * 1024 };

struct child {
    int status;                     /* as waitpid(2) says */
    char errors[CHILD_ERROR_BYTES]; /* what it wrote to stderr, cut at this size */
};

#define CHILD_MUST(fact)                                                                           \
    do {                                                                                           \
        if (!(fact)) {                                                                             \
            dprintf(STDERR_FILENO, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #fact, errno);    \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* Counters of coverage are written by exit's handlers alone. */
__attribute__((noreturn)) static inline void child_leave(void)
{
#ifdef GRING_COVERAGE
    exit(0);
#else
    _exit(0);
#endif
}

static inline void child_collect(struct child *child, int fd)
{
    size_t length = 0;
    char rest[256];
    ssize_t count;

    for (;;) {
        bool full = length == sizeof child->errors - 1;

        count = full ? read(fd, rest, sizeof rest)
                     : read(fd, child->errors + length, sizeof child->errors - 1 - length);
        if (count == 0 || (count < 0 && errno != EINTR))
            break;
        if (!full && count > 0)
            length += (size_t)count;
    }
    child->errors[length] = 0;
}

/*
 * Runs it in a fork of the caller and waits for the end; status 0 if it returns. One that hangs
 * dies of SIGALRM.
 */
static inline struct child child_run(void (*body)(void))
{
    struct rlimit no_core = { 0, 0 };
    struct child child;
    int ends[2];
    pid_t pid;

    cr_assert_eq(pipe(ends), 0);
    pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        setrlimit(RLIMIT_CORE, &no_core);
        alarm(CHILD_SECONDS);
        body();
        child_leave();
    }
    close(ends[1]);
    child_collect(&child, ends[0]);
    close(ends[0]);
    cr_assert_eq(waitpid(pid, &child.status, 0), pid);
    return child;
}

static inline bool child_passed(const struct child *child)
{
    return WIFEXITED(child->status) && WEXITSTATUS(child->status) == 0;
}

static inline bool child_died_of(const struct child *child, int signal_number)
{
    return WIFSIGNALED(child->status) && WTERMSIG(child->status) == signal_number;
}

static inline void child_must_pass(void (*body)(void))
{
    struct child child = child_run(body);

    cr_assert(child_passed(&child), "status %#x, it said: %s", (unsigned)child.status,
              child.errors);
}

/* It must abort with this text on stderr. */
static inline void child_must_abort(void (*body)(void), const char *text)
{
    struct child child = child_run(body);

    cr_assert(child_died_of(&child, SIGABRT), "status %#x, it said: %s", (unsigned)child.status,
              child.errors);
    cr_assert(strstr(child.errors, text), "expected '%s', it said: %s", text, child.errors);
}

#endif
