/* One of many: gring_choose and gring_trychoose of greenring/chan.h. */
#include "tests/support/child.h"
#include "tests/support/faketime.h"
#include "tests/support/fds.h"
#include "tests/support/green.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

enum { MANY = 20 };

static gring_chan *a, *b;
static gring_event event;

static void settle(void)
{
    cr_assert_eq(gring_idle(), 0);
}

static gring_task *start(gring_fn fn, void *arg)
{
    gring_task *task = gring_spawn(fn, arg);

    settle();
    return task;
}

static void make_channels(size_t capacity)
{
    a = gring_chan_new(sizeof(int), capacity, 0);
    b = gring_chan_new(sizeof(int), capacity, 0);
}

static void free_channels(void)
{
    gring_chan_free(a);
    gring_chan_free(b);
}

static void nobody_waits(void)
{
    cr_assert_eq(gring_chan_waiting(a), 0);
    cr_assert_eq(gring_chan_waiting(b), 0);
}

static int put(gring_chan *to, int element)
{
    return gring_chan_trysend(to, &element);
}

/* Chooses between receiving from a and from b; ends with the element and, as its code, 100 and
 * the index. */
static void *receive_either(void *unused)
{
    int element = -1;
    gring_case cases[] = { GRING_CASE_RECV(a, &element), GRING_CASE_RECV(b, &element) };
    int index = gring_choose(cases, 2);

    (void)unused;
    if (index < 0)
        return gring_fail(errno);
    gring_fail(100 + index);
    return (void *)(intptr_t)(cases[index].rc == 1 ? element : -cases[index].rc);
}

/* ---- which one ---- */

GreenTest(choose, the_first_in_the_array_that_can_proceed_is_performed_and_the_others_are_not)
{
    int first = 0, second = 0;

    make_channels(1);
    gring_case cases[] = { GRING_CASE_RECV(a, &first), GRING_CASE_RECV(b, &second) };
    cr_assert_eq(put(a, 1), 0);
    cr_assert_eq(put(b, 2), 0);
    cr_assert_eq(gring_choose(cases, 2), 0);
    cr_assert_eq(cases[0].rc, 1);
    cr_assert_eq(first, 1);
    cr_assert_eq(second, 0);
    cr_assert_eq(gring_chan_len(b), 1);
    cr_assert_eq(gring_choose(cases, 2), 1);
    cr_assert_eq(second, 2);
    free_channels();
}

GreenTest(choose, what_comes_first_while_it_waits_is_performed_and_the_others_are_withdrawn)
{
    gring_task *task;
    void *element;

    make_channels(0);
    task = start(receive_either, NULL);
    cr_assert_eq(gring_chan_waiting(a), 1);
    cr_assert_eq(gring_chan_waiting(b), 1);
    cr_assert_eq(put(b, 8), 0);
    nobody_waits();
    cr_assert_eq(put(a, 9), -1, "it is served once");
    cr_assert_eq(gring_join(task, &element), 101);
    cr_assert_eq((intptr_t)element, 8);
    free_channels();
}

GreenTest(choose, the_same_channel_twice_is_harmless)
{
    int first = 0, second = 0;
    gring_task *task;

    make_channels(0);
    gring_case cases[] = { GRING_CASE_RECV(a, &first), GRING_CASE_RECV(a, &second) };
    cr_assert_eq(gring_trychoose(cases, 2), -1);
    gring_chan_free(b);
    b = a;
    task = start(receive_either, NULL);
    cr_assert_eq(gring_chan_waiting(a), 2, "one task, at two places");
    cr_assert_eq(put(a, 3), 0);
    cr_assert_eq(gring_chan_waiting(a), 0);
    cr_assert_eq(put(a, 4), -1);
    cr_assert_eq(gring_join(task, NULL), 100);
    gring_chan_free(a);
}

GreenTest(choose, close_serves_a_chooser_once_even_if_it_waits_twice)
{
    gring_task *task;
    void *end;

    make_channels(0);
    gring_chan_free(b);
    b = a;
    task = start(receive_either, NULL);
    cr_assert_eq(gring_chan_close(a), 0);
    cr_assert_eq(gring_join(task, &end), 100);
    cr_assert_eq((intptr_t)end, 0);
    gring_chan_free(a);
}

static void *send_either(void *number)
{
    int element = (int)(intptr_t)number;
    gring_case cases[] = { GRING_CASE_SEND(a, &element), GRING_CASE_SEND(b, &element) };
    int index = gring_choose(cases, 2);

    return index < 0 ? gring_fail(errno) : gring_fail(100 + index);
}

GreenTest(choose, both_ends_may_choose)
{
    gring_task *receiver, *sender;
    void *element;

    make_channels(0);
    receiver = start(receive_either, NULL);
    sender = start(send_either, (void *)21);
    cr_assert_eq(gring_join(receiver, &element), 100);
    cr_assert_eq((intptr_t)element, 21);
    cr_assert_eq(gring_join(sender, NULL), 100);
    sender = start(send_either, (void *)22);
    receiver = start(receive_either, NULL);
    cr_assert_eq(gring_join(receiver, &element), 100);
    cr_assert_eq((intptr_t)element, 22);
    cr_assert_eq(gring_join(sender, NULL), 100);
    nobody_waits();
    free_channels();
}

GreenTest(choose, a_task_at_both_ends_of_a_channel_is_not_served_by_itself)
{
    int out = 1, in = 0;

    make_channels(0);
    gring_case cases[] = { GRING_CASE_SEND(a, &out), GRING_CASE_RECV(a, &in) };
    cr_assert_eq(gring_trychoose(cases, 2), -1);
    cr_assert_eq(errno, EAGAIN);
    cr_assert_eq(gring_within(GRING_MS, gring_choose(cases, 2)), -1);
    cr_assert_eq(errno, ETIMEDOUT);
    nobody_waits();
    free_channels();
}

/* ---- what can proceed ---- */

GreenTest(choose, closed_channels_can_proceed)
{
    int element = 1;

    make_channels(1);
    gring_case send[] = { GRING_CASE_SEND(a, &element) };
    gring_case receive[] = { GRING_CASE_RECV(a, &element) };
    gring_chan_close(a);
    cr_assert_eq(gring_choose(receive, 1), 0);
    cr_assert_eq(receive[0].rc, 0);
    cr_assert_eq(gring_choose(send, 1), 0);
    cr_assert_eq(send[0].rc, -1);
    cr_assert_eq(send[0].err, EPIPE);
    free_channels();
}

static void *send_event(void *value)
{
    gring_event_send(&event, value);
    return NULL;
}

static void *fail_event(void *unused)
{
    (void)unused;
    gring_event_fail(&event, ENXIO);
    return NULL;
}

GreenTest(choose, an_event_gives_its_value_or_its_failure_early_and_late)
{
    void *value = NULL;

    make_channels(0);
    gring_case cases[] = { GRING_CASE_RECV(a, NULL), GRING_CASE_EVENT(&event, &value) };
    gring_spawn_n(send_event, &a);
    cr_assert_eq(gring_choose(cases, 2), 1);
    cr_assert_eq(cases[1].rc, 0);
    cr_assert_eq(value, &a);
    value = NULL;
    cr_assert_eq(gring_trychoose(cases, 2), 1);
    cr_assert_eq(value, &a);
    gring_event_reset(&event);
    gring_spawn_n(fail_event, NULL);
    cr_assert_eq(gring_choose(cases, 2), 1);
    cr_assert_eq(cases[1].rc, ENXIO);
    free_channels();
}

static void *sleep_and_fail(void *value)
{
    gring_sleep(GRING_SEC);
    gring_fail(ENODEV);
    return value;
}

FakeTimeTest(choose, the_end_of_a_task_gives_its_value_and_its_code)
{
    gring_task *task = gring_spawn(sleep_and_fail, &event);
    void *value = NULL;
    gring_case cases[] = { GRING_CASE_EVENT(&event, NULL), GRING_CASE_TASK(task, &value) };

    settle();
    cr_assert_eq(gring_trychoose(cases, 2), -1);
    cr_assert_eq(gring_test_advance(2 * GRING_SEC), 0);
    cr_assert_eq(gring_choose(cases, 2), 1);
    cr_assert_eq(cases[1].rc, ENODEV);
    cr_assert_eq(value, &event);
    gring_drop(task);
}

static void *end_soon(void *unused)
{
    gring_yield();
    return unused;
}

GreenTest(choose, a_task_that_ends_while_it_waits_is_performed)
{
    gring_task *task = gring_spawn(end_soon, &event);

    make_channels(0);
    gring_case cases[] = { GRING_CASE_RECV(a, NULL), GRING_CASE_TASK(task, NULL) };
    cr_assert_eq(gring_choose(cases, 2), 1);
    cr_assert_eq(cases[1].rc, 0);
    nobody_waits();
    gring_drop(task);
    free_channels();
}

static void *write_one(void *fd)
{
    cr_assert_eq(write(*(int *)fd, "x", 1), 1);
    return NULL;
}

GreenTest(choose, a_descriptor_that_becomes_ready_is_performed)
{
    int ends[2];
    char byte;

    cr_assert_eq(pipe(ends), 0);
    make_channels(0);
    gring_case cases[] = { GRING_CASE_RECV(a, NULL), GRING_CASE_FD(ends[0], POLLIN) };

    cr_assert_eq(gring_trychoose(cases, 2), -1);
    cr_assert_eq(errno, EAGAIN);
    gring_spawn_n(write_one, &ends[1]);
    cr_assert_eq(gring_choose(cases, 2), 1);
    cr_assert_eq(cases[1].rc, POLLIN);
    cr_assert_eq(cases[1].revents, POLLIN);
    cr_assert_eq(gring_trychoose(cases, 2), 1);
    cr_assert_eq(read(ends[0], &byte, 1), 1);
    cr_assert_eq(gring_trychoose(cases, 2), -1);
    close(ends[1]);
    cr_assert_eq(gring_choose(cases, 2), 1);
    cr_assert_eq(cases[1].revents, POLLHUP);
    close(ends[0]);
    nobody_waits();
    free_channels();
}

GreenTest(choose, a_descriptor_that_is_none_is_performed_with_EBADF)
{
    gring_case cases[] = { GRING_CASE_FD(9999, POLLIN) };

    cr_assert_eq(gring_choose(cases, 1), 0);
    cr_assert_eq(cases[0].rc, -1);
    cr_assert_eq(cases[0].err, EBADF);
    cr_assert_eq(cases[0].revents, POLLNVAL);
}

GreenTest(choose, a_ready_descriptor_goes_before_a_channel_that_comes_later_in_the_array)
{
    int fd = eventfd(1, EFD_CLOEXEC), element = 0;

    make_channels(1);
    gring_case cases[] = { GRING_CASE_FD(fd, POLLIN), GRING_CASE_RECV(a, &element) };

    cr_assert_eq(put(a, 1), 0);
    cr_assert_eq(gring_choose(cases, 2), 0);
    cr_assert_eq(gring_chan_len(a), 1);
    close(fd);
    free_channels();
}

GreenTest(choose, a_channel_served_while_descriptors_are_waited_for_leaves_nothing_in_flight)
{
    int fd = eventfd(0, EFD_CLOEXEC), element = 0;

    make_channels(0);
    gring_case cases[] = { GRING_CASE_FD(fd, POLLIN), GRING_CASE_RECV(a, &element) };
    gring_task *sender = gring_spawn(send_either, (void *)5);

    cr_assert_eq(gring_choose(cases, 2), 1);
    cr_assert_eq(element, 5);
    cr_assert_eq(gring_join(sender, NULL), 100);
    cr_assert_eq(gring_close(fd), 0);
    nobody_waits();
    free_channels();
}

GreenTest(choose, a_case_that_is_switched_off_never_proceeds)
{
    int element = 0;

    make_channels(1);
    gring_case cases[] = { GRING_CASE_RECV(a, &element),
                           { .op = GRING_ON_NONE },
                           GRING_CASE_RECV(b, &element) };
    cr_assert_eq(put(a, 1), 0);
    cr_assert_eq(put(b, 2), 0);
    cases[0].op = GRING_ON_NONE;
    cr_assert_eq(gring_choose(cases, 3), 2);
    cr_assert_eq(gring_trychoose(cases, 3), -1);
    cr_assert_eq(gring_chan_len(a), 1);
    free_channels();
}

static void *send_to(void *to)
{
    int element = 77;

    gring_chan_send(to, &element);
    return NULL;
}

GreenTest(choose, more_cases_than_fit_on_the_stack_work_the_same)
{
    gring_chan *chans[MANY];
    gring_case cases[MANY];
    int element = 0;

    for (int index = 0; index < MANY; index++) {
        chans[index] = gring_chan_new(sizeof(int), 0, 0);
        cases[index] = (gring_case)GRING_CASE_RECV(chans[index], &element);
    }
    gring_spawn_n(send_to, chans[MANY - 2]);
    cr_assert_eq(gring_choose(cases, MANY), MANY - 2);
    cr_assert_eq(element, 77);
    for (int index = 0; index < MANY; index++)
        gring_chan_free(chans[index]);
}

/* ---- interruptions ---- */

GreenTest(choose, a_killed_chooser_is_withdrawn_everywhere_and_takes_nothing_along)
{
    gring_task *task;

    make_channels(0);
    task = start(receive_either, NULL);
    gring_kill(task);
    nobody_waits();
    cr_assert_eq(put(a, 1), -1);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    free_channels();
}

GreenTest(choose, what_was_served_before_the_kill_is_performed)
{
    gring_task *task;
    void *element;

    make_channels(0);
    task = start(receive_either, NULL);
    cr_assert_eq(put(b, 4), 0);
    gring_kill(task);
    cr_assert_eq(gring_join(task, &element), 101);
    cr_assert_eq((intptr_t)element, 4);
    free_channels();
}

FakeTimeTest(choose, without_cases_it_waits_for_the_deadline)
{
    cr_assert_eq(gring_trychoose(NULL, 0), -1);
    cr_assert_eq(errno, EAGAIN);
    cr_assert_eq(gring_within(-1, gring_choose(NULL, 0)), -1);
    cr_assert_eq(errno, ETIMEDOUT);
}

static void *choose_of_nothing(void *unused)
{
    (void)unused;
    return gring_within(GRING_SEC, gring_choose(NULL, 0)) < 0 ? gring_fail(errno) : NULL;
}

FakeTimeTest(choose, without_cases_a_deadline_ends_the_wait)
{
    gring_task *task = start(choose_of_nothing, NULL);

    cr_assert_neq(gring_task_state(task), GRING_DONE);
    cr_assert_eq(gring_test_advance(2 * GRING_SEC), 0);
    cr_assert_eq(gring_join(task, NULL), ETIMEDOUT);
}

static void *choose_while_killed(void *unused)
{
    int element;
    gring_case cases[] = { GRING_CASE_RECV(a, &element) };

    (void)unused;
    gring_kill(gring_self());
    cr_assert_eq(gring_trychoose(cases, 1), 0, "no cancellation point");
    cr_assert_eq(gring_choose(cases, 1), -1);
    return gring_fail(errno);
}

GreenTest(choose, in_a_killed_task_only_trychoose_still_works)
{
    gring_task *task;

    make_channels(2);
    cr_assert_eq(put(a, 1), 0);
    cr_assert_eq(put(a, 2), 0);
    task = start(choose_while_killed, NULL);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    cr_assert_eq(gring_chan_len(a), 1);
    free_channels();
}

/* ---- misuse ---- */

GreenTest(choose, bad_cases_are_refused_before_anything_happens)
{
    gring_case none = GRING_CASE_RECV(NULL, NULL), unknown = { .op = (gring_on)77 };
    gring_case myself = GRING_CASE_TASK(gring_self(), NULL);

    cr_assert_eq(gring_choose(&none, 1), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_choose(&unknown, 1), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_choose(&none, -1), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_choose(NULL, 1), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(gring_choose(&myself, 1), -1);
    cr_assert_eq(errno, EDEADLK);
}

/* ---- shared ---- */

enum { MESSAGES = 2000 };

static void *send_many(void *to)
{
    for (int index = 0; index < MESSAGES; index++)
        if (gring_chan_send(to, &index) < 0)
            return to;
    return NULL;
}

/* Each channel's elements come in order, all of them once. */
static void *receive_from_both(void *unused)
{
    int from_a, from_b, next_a = 0, next_b = 0;

    while (next_a + next_b < 2 * MESSAGES) {
        gring_case cases[] = { GRING_CASE_RECV(b, &from_b), GRING_CASE_RECV(a, &from_a) };
        int index = gring_choose(cases, 2);

        if (index == 1 ? from_a != next_a++ : index != 0 || from_b != next_b++)
            return &a;
    }
    return unused;
}

static void make_shared(size_t capacity)
{
    a = gring_chan_new(sizeof(int), capacity, GRING_SHARED);
    b = gring_chan_new(sizeof(int), capacity, GRING_SHARED);
}

GreenTest(choose, a_task_chooses_between_channels_that_plain_threads_fill)
{
    pthread_t threads[2];

    make_shared(0);
    cr_assert_eq(pthread_create(&threads[0], NULL, send_many, a), 0);
    cr_assert_eq(pthread_create(&threads[1], NULL, send_many, b), 0);
    cr_assert_null(receive_from_both(NULL));
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    nobody_waits();
    free_channels();
}

GreenTest(choose, a_plain_thread_chooses_between_shared_channels_that_tasks_fill)
{
    gring_task *senders[2];
    pthread_t thread;
    void *failed;

    make_shared(2);
    cr_assert_eq(pthread_create(&thread, NULL, receive_from_both, NULL), 0);
    senders[0] = gring_spawn(send_many, a);
    senders[1] = gring_spawn(send_many, b);
    cr_assert_eq(gring_join(senders[0], NULL), 0);
    cr_assert_eq(gring_join(senders[1], NULL), 0);
    pthread_join(thread, &failed);
    cr_assert_null(failed);
    nobody_waits();
    free_channels();
}

static void *choose_what_is_not_for_threads(void *task)
{
    gring_case cases[] = { GRING_CASE_TASK(task, NULL), GRING_CASE_FD(0, POLLIN),
                           GRING_CASE_RECV(a, NULL) };

    for (int index = 0; index < 3; index++)
        if (gring_choose(&cases[index], 1) != -1 || errno != EPERM)
            return task;
    return gring_choose(NULL, 0) == -1 && errno == EPERM ? NULL : task;
}

GreenTest(choose, a_plain_thread_is_refused_what_is_not_shared)
{
    pthread_t thread;
    void *failed;

    make_channels(0);
    cr_assert_eq(pthread_create(&thread, NULL, choose_what_is_not_for_threads, gring_self()), 0);
    pthread_join(thread, &failed);
    cr_assert_null(failed);
    free_channels();
}
