/*
 * A little of everything that switches stacks, for Valgrind's eyes: spawns, parks, kills, nested
 * frames, sizes of stacks, recycled stacks, a pair of sockets, a pipe, a file, several runs.
 *
 * Valgrind does not see what the kernel writes through a ring, so buffers that are read into are
 * zeroed first. Plain, without Criterion, which forks. Exit status 0, or a sentence and 1; what
 * Valgrind finds (a stack that it was not told of, a jump on what is not initialised, a leak) is
 * its own status.
 */
#include <fcntl.h>
#include <greenring/greenring.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TASKS = 200, ROUNDS = 50, BYTES = 20000 };

#define MUST(fact)                                                                                 \
    do {                                                                                           \
        if (!(fact)) {                                                                             \
            fprintf(stderr, "%s:%d: %s: %m\n", __FILE__, __LINE__, #fact);                         \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* ---- tasks ---- */

/* Frames with contents, so that a stack which Valgrind takes for another's shows. */
static unsigned deep_sum(unsigned depth)
{
    volatile unsigned frame[64];

    for (unsigned index = 0; index < 64; index++)
        frame[index] = depth + index;
    gring_yield();
    return frame[depth % 64] + (depth ? deep_sum(depth - 1) : 0);
}

static void *yield_deeply(void *depth)
{
    return (void *)(uintptr_t)deep_sum((unsigned)(uintptr_t)depth);
}

static void spawn_and_join(void)
{
    gring_task *tasks[TASKS];

    for (uintptr_t index = 0; index < TASKS; index++)
        MUST((tasks[index] = gring_spawn(yield_deeply, (void *)(index % 20))));
    for (uintptr_t index = 0; index < TASKS; index++)
        MUST(gring_join(tasks[index], NULL) == 0);
}

static void *park(void *unused)
{
    gring_park(NULL);
    return unused;
}

static void wake_half_and_kill_half(void)
{
    gring_task *tasks[TASKS];

    for (int index = 0; index < TASKS; index++)
        MUST((tasks[index] = gring_spawn(park, NULL)));
    MUST(gring_idle() == 0);
    for (int index = 0; index < TASKS; index++) {
        MUST((index % 2 ? gring_unpark(tasks[index], NULL) : gring_kill(tasks[index])) == 0);
        gring_join(tasks[index], NULL);
    }
}

/* Through a pointer: the compiler, which knows that it never returns, takes the rest for an endless
 * recursion. */
static void (*volatile leave)(void *) = gring_exit;

static size_t exit_at_depth(size_t depth)
{
    volatile char frame[256];

    frame[0] = (char)depth;
    gring_yield();
    if (depth > 0)
        return exit_at_depth(depth - 1) + (size_t)frame[0];
    leave(NULL);
    return 0;
}

static void *exit_from_the_depth(void *depth)
{
    return (void *)exit_at_depth((size_t)(uintptr_t)depth);
}

/* Abandoned stacks are used again. */
static void abandon_stacks(void)
{
    const size_t sizes[] = { 16 << 10, 64 << 10, 1 << 20 };

    for (int round = 0; round < ROUNDS; round++) {
        gring_spawn_opts opts = { .size = sizeof opts, .stack_size = sizes[round % 3] };

        MUST(gring_join(gring_spawn_with(&opts, exit_from_the_depth, (void *)40), NULL) == 0);
    }
}

static void meet_deadlines(void)
{
    for (int round = 0; round < ROUNDS; round++)
        MUST(gring_within(100 * GRING_US, gring_sleep(GRING_SEC)) == -1);
}

/* ---- transfers ---- */

static int ends[2];

static void *send_pattern(void *unused)
{
    char buf[BYTES];

    for (size_t index = 0; index < sizeof buf; index++)
        buf[index] = (char)(index * 7);
    MUST(gring_write_full(ends[1], buf, sizeof buf, NULL) == BYTES);
    MUST(gring_close(ends[1]) == 0);
    return unused;
}

static void receive_pattern(void)
{
    gring_task *sender = gring_spawn(send_pattern, NULL);
    char buf[BYTES + 1] = { 0 };
    unsigned different = 0;

    MUST(gring_read_full(ends[0], buf, sizeof buf, NULL) == BYTES);
    for (size_t index = 0; index < BYTES; index++)
        different += buf[index] != (char)(index * 7);
    MUST(different == 0);
    MUST(gring_join(sender, NULL) == 0);
    MUST(gring_close(ends[0]) == 0);
}

static void *read_for_ever(void *fd)
{
    char buf[100];

    while (gring_read((int)(intptr_t)fd, buf, sizeof buf) > 0)
        ;
    return NULL;
}

static void kill_readers(void)
{
    gring_task *reader;

    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    for (int round = 0; round < ROUNDS; round++) {
        reader = gring_spawn(read_for_ever, (void *)(intptr_t)ends[0]);
        MUST(gring_idle() == 0);
        MUST(gring_kill(reader) == 0);
        gring_join(reader, NULL);
    }
    reader = gring_spawn(read_for_ever, (void *)(intptr_t)ends[0]);
    MUST(gring_idle() == 0);
    MUST(gring_close(ends[0]) == 0);
    MUST(gring_join(reader, NULL) == 0);
    MUST(gring_close(ends[1]) == 0);
}

static void use_a_file(void)
{
    char path[] = P_tmpdir "/greenring-test-XXXXXX", buf[10] = { 0 };
    int fd = mkostemp(path, O_CLOEXEC);

    MUST(fd >= 0 && unlink(path) == 0);
    MUST(gring_pwrite(fd, "0123456789", 10, 0) == 10);
    MUST(gring_fsync(fd) == 0);
    MUST(gring_pread(fd, buf, 10, 0) == 10 && !memcmp(buf, "0123456789", 10));
    MUST(gring_close(fd) == 0);
}

static void *everything(void *unused)
{
    spawn_and_join();
    wake_half_and_kill_half();
    abandon_stacks();
    meet_deadlines();
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    receive_pattern();
    MUST(pipe2(ends, O_CLOEXEC) == 0);
    receive_pattern();
    kill_readers();
    use_a_file();
    gring_spawn_n(park, NULL); /* ended with the run */
    return unused;
}

int main(void)
{
    for (int run = 0; run < 3; run++)
        MUST(gring_run(everything, NULL, NULL) == 0);
    return 0;
}
