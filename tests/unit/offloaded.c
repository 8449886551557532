/*
 * System calls made by threads: what has not begun is taken back, what has begun is awaited, and a
 * descriptor is not closed under either.
 *
 * The "system call" here waits at a gate that the test opens.
 */
#include "api/io/offloaded.h"

#include "tests/support/fds.h"
#include "tests/support/green.h"

#include <greenring/io.h>
#include <semaphore.h>
#include <string.h>

enum { MORE_THAN_THREADS = 100, RESULT = 12345 };

static sem_t gate;
static atomic_int begun_count;

static int64_t pass_gate(struct offloaded *call)
{
    (void)call;
    atomic_fetch_add(&begun_count, 1);
    while (sem_wait(&gate) < 0)
        ;
    return RESULT;
}

struct caller {
    int fd;
    int64_t result;
};

static void *call_at(void *arg)
{
    struct caller *caller = arg;
    struct offloaded call = { .call = pass_gate, .fds = { caller->fd, caller->fd } };

    caller->result = offloaded_await(&call, "a test");
    return NULL;
}

static void open_gate(int count)
{
    while (count-- > 0)
        sem_post(&gate);
}

static gring_task *start(struct caller *caller)
{
    gring_task *task = gring_spawn(call_at, caller);

    cr_assert_eq(gring_idle(), 0);
    return task;
}

static gring_task *start_and_begin(struct caller *caller)
{
    int before = atomic_load(&begun_count);
    gring_task *task = start(caller);

    while (atomic_load(&begun_count) == before)
        gring_sleep(GRING_MS);
    return task;
}

/* All threads are in a call, and some calls are waiting for them. */
static struct caller busy[MORE_THAN_THREADS];
static gring_task *busy_tasks[MORE_THAN_THREADS];

static void occupy_threads(void)
{
    for (int index = 0; index < MORE_THAN_THREADS; index++) {
        busy[index].fd = -1;
        busy_tasks[index] = start(&busy[index]);
    }
}

static void release_threads(void)
{
    open_gate(MORE_THAN_THREADS);
    for (int index = 0; index < MORE_THAN_THREADS; index++) {
        gring_join(busy_tasks[index], NULL);
        cr_assert_eq(busy[index].result, RESULT);
    }
}

static void close_gate(void)
{
    sem_init(&gate, 0, 0);
}

TestSuite(offloaded, .init = close_gate);

GreenTest(offloaded, gives_what_the_call_gave)
{
    struct caller caller = { .fd = -1 };
    gring_task *task = start_and_begin(&caller);

    open_gate(1);
    gring_join(task, NULL);
    cr_assert_eq(caller.result, RESULT);
}

static int64_t fail(struct offloaded *call)
{
    (void)call;
    errno = EDOM;
    return -1;
}

GreenTest(offloaded, gives_the_errno_of_the_thread_and_leaves_ours_alone)
{
    struct offloaded call = { .call = fail, .fds = { -1, -1 } };

    errno = ERANGE;
    cr_assert_eq(offloaded_await(&call, "a test"), -EDOM);
    cr_assert_eq(errno, ERANGE);
}

GreenTest(offloaded, that_has_begun_is_awaited_when_killed_and_gives_its_result)
{
    struct caller caller = { .fd = -1 };
    gring_task *task = start_and_begin(&caller);

    gring_kill(task);
    cr_assert_eq(gring_idle(), 0);
    cr_assert_neq(gring_task_state(task), GRING_DONE);
    open_gate(1);
    gring_join(task, NULL);
    cr_assert_eq(caller.result, RESULT);
}

GreenTest(offloaded, that_has_not_begun_is_taken_back_by_a_kill)
{
    struct caller caller = { .fd = -1 };
    gring_task *task;
    int begun;

    occupy_threads();
    task = start(&caller);
    begun = atomic_load(&begun_count);
    gring_kill(task);
    gring_join(task, NULL);
    cr_assert_eq(caller.result, -ECANCELED);
    release_threads();
    cr_assert_eq(atomic_load(&begun_count), MORE_THAN_THREADS, "it was begun all the same");
    cr_assert_lt(begun, MORE_THAN_THREADS, "there were enough threads for all");
}

static void *call_for_a_moment(void *arg)
{
    gring_within_do(GRING_MS) call_at(arg);
    return NULL;
}

GreenTest(offloaded, that_has_not_begun_is_taken_back_by_a_deadline)
{
    struct caller caller = { .fd = -1 };

    occupy_threads();
    gring_join(gring_spawn(call_for_a_moment, &caller), NULL);
    cr_assert_eq(caller.result, -ETIMEDOUT);
    release_threads();
}

static void *close_it(void *fd)
{
    gring_close(*(int *)fd);
    return NULL;
}

static void expect_close_to_wait(gring_task *caller, int *fd)
{
    gring_task *closer = gring_spawn(close_it, fd);
    struct caller late = { .fd = *fd };

    cr_assert_eq(gring_idle(), 0);
    cr_assert(is_open(*fd), "its number could be another file's before the call begins");
    call_at(&late);
    cr_assert_eq(late.result, -EBADF, "nothing begins on a descriptor that is being closed");
    open_gate(MORE_THAN_THREADS + 1);
    gring_join(caller, NULL);
    gring_join(closer, NULL);
    cr_assert_not(is_open(*fd));
}

GreenTest(offloaded, that_has_begun_is_awaited_by_a_close)
{
    struct caller caller = { .fd = make_file("", 0) };

    expect_close_to_wait(start_and_begin(&caller), &caller.fd);
    cr_assert_eq(caller.result, RESULT);
}

GreenTest(offloaded, that_has_not_begun_is_awaited_by_a_close)
{
    struct caller caller = { .fd = make_file("", 0) };

    occupy_threads();
    expect_close_to_wait(start(&caller), &caller.fd);
    cr_assert_eq(caller.result, RESULT);
    release_threads();
}

GreenTest(offloaded, on_no_descriptor_is_EBADF)
{
    struct caller caller = { .fd = INT32_MAX };

    call_at(&caller);
    cr_assert_eq(caller.result, -EBADF);
}
