/* Channels: greenring/chan.h, sentence by sentence. One of many: choose.c. */
#include "tests/support/child.h"
#include "tests/support/faketime.h"
#include "tests/support/green.h"

#include <pthread.h>

static gring_chan *chan;
static int received[16];
static int received_count;

static void settle(void)
{
    cr_assert_eq(gring_idle(), 0);
}

/* A task that has run until it waits. */
static gring_task *start(gring_fn fn, void *arg)
{
    gring_task *task = gring_spawn(fn, arg);

    settle();
    return task;
}

static void *send_number(void *number)
{
    int element = (int)(intptr_t)number;

    return gring_chan_send(chan, &element) < 0 ? gring_fail(errno) : NULL;
}

static gring_task *start_sender(int number)
{
    return start(send_number, (void *)(intptr_t)number);
}

/* Ends with the element as its value; code 77: the channel was closed. */
static void *receive_one(void *unused)
{
    int element = -1, result = gring_chan_recv(chan, &element);

    (void)unused;
    if (result < 0)
        return gring_fail(errno);
    if (result == 1)
        received[received_count++] = element;
    return result == 0 ? gring_fail(77) : (void *)(intptr_t)element;
}

static int receive_now(void)
{
    int element = -1;

    cr_assert_eq(gring_chan_recv(chan, &element), 1);
    return element;
}

static int try_receive(void)
{
    int element = -1;

    return gring_chan_tryrecv(chan, &element) == 1 ? element : -1;
}

static int try_send(int element)
{
    return gring_chan_trysend(chan, &element);
}

static void must_be_full(void)
{
    cr_assert_eq(try_send(99), -1);
    cr_assert_eq(errno, EAGAIN);
}

static bool has_ended(gring_task *task)
{
    return gring_task_state(task) == GRING_DONE;
}

/* ---- rendezvous ---- */

GreenTest(chan, rendezvous_send_returns_only_when_the_element_is_taken)
{
    gring_task *sender;

    chan = gring_chan_new(sizeof(int), 0, 0);
    sender = start_sender(7);
    cr_assert_not(has_ended(sender));
    cr_assert_eq(gring_chan_waiting(chan), -1);
    cr_assert_eq(gring_chan_len(chan), 0);
    cr_assert_eq(receive_now(), 7);
    cr_assert_eq(gring_chan_waiting(chan), 0);
    cr_assert_eq(gring_join(sender, NULL), 0);
    gring_chan_free(chan);
}

GreenTest(chan, a_waiting_receiver_gets_the_element_and_the_sender_goes_on_at_once)
{
    gring_task *receiver;
    void *element;

    chan = gring_chan_new(sizeof(int), 0, 0);
    receiver = start(receive_one, NULL);
    cr_assert_eq(gring_chan_waiting(chan), 1);
    cr_assert_eq(try_send(5), 0);
    cr_assert_not(has_ended(receiver), "it has not run yet");
    cr_assert_eq(gring_join(receiver, &element), 0);
    cr_assert_eq((intptr_t)element, 5);
    gring_chan_free(chan);
}

GreenTest(chan, the_first_to_come_is_the_first_to_be_served_at_both_ends)
{
    gring_task *tasks[4];

    chan = gring_chan_new(sizeof(int), 0, 0);
    for (int index = 0; index < 4; index++)
        tasks[index] = start_sender(index);
    for (int index = 0; index < 4; index++)
        cr_assert_eq(receive_now(), index);
    for (int index = 0; index < 4; index++)
        gring_join(tasks[index], NULL);
    for (int index = 0; index < 4; index++)
        tasks[index] = start(receive_one, NULL);
    for (int index = 0; index < 4; index++)
        cr_assert_eq(try_send(10 + index), 0);
    for (int index = 0; index < 4; index++) {
        void *element;

        cr_assert_eq(gring_join(tasks[index], &element), 0);
        cr_assert_eq((intptr_t)element, 10 + index);
    }
    gring_chan_free(chan);
}

GreenTest(chan, try_succeeds_at_a_rendezvous_only_with_somebody_at_the_other_end)
{
    gring_task *sender;

    chan = gring_chan_new(sizeof(int), 0, 0);
    must_be_full();
    cr_assert_eq(try_receive(), -1);
    cr_assert_eq(errno, EAGAIN);
    sender = start_sender(3);
    must_be_full();
    cr_assert_eq(try_receive(), 3);
    cr_assert_eq(gring_join(sender, NULL), 0);
    gring_chan_free(chan);
}

/* ---- buffered ---- */

GreenTest(chan, with_a_capacity_of_two_the_third_send_waits_for_a_receive)
{
    gring_task *third;

    chan = gring_chan_new(sizeof(int), 2, 0);
    cr_assert_eq(try_send(1), 0);
    cr_assert_eq(try_send(2), 0);
    must_be_full();
    third = start_sender(3);
    cr_assert_not(has_ended(third));
    cr_assert_eq(gring_chan_len(chan), 2);
    cr_assert_eq(receive_now(), 1);
    cr_assert_eq(gring_chan_len(chan), 2, "the third has moved in");
    settle();
    cr_assert(has_ended(third));
    cr_assert_eq(receive_now(), 2);
    cr_assert_eq(receive_now(), 3);
    gring_join(third, NULL);
    gring_chan_free(chan);
}

GreenTest(chan, a_newcomer_does_not_overtake_a_waiting_sender)
{
    gring_task *waiting;

    chan = gring_chan_new(sizeof(int), 1, 0);
    cr_assert_eq(try_send(1), 0);
    waiting = start_sender(2);
    cr_assert_eq(receive_now(), 1);
    must_be_full();
    cr_assert_eq(receive_now(), 2);
    gring_join(waiting, NULL);
    gring_chan_free(chan);
}

GreenTest(chan, elements_wrap_around_in_order)
{
    int sent = 0, taken = 0;

    chan = gring_chan_new(sizeof(int), 5, 0);
    for (int round = 0; round < 100; round++) {
        for (int count = 0; count < 1 + round % 5; count++)
            sent += try_send(sent) == 0;
        while (gring_chan_len(chan) > (size_t)(round % 3))
            cr_assert_eq(receive_now(), taken++);
    }
    while (gring_chan_len(chan))
        cr_assert_eq(receive_now(), taken++);
    cr_assert_eq(taken, sent);
    gring_chan_free(chan);
}

GreenTest(chan, unbounded_never_waits_and_keeps_the_order)
{
    chan = gring_chan_new(sizeof(int), GRING_UNBOUNDED, 0);
    for (int index = 0; index < 1000; index++)
        cr_assert_eq(gring_chan_send(chan, &index), 0);
    cr_assert_eq(gring_chan_len(chan), 1000);
    for (int index = 0; index < 500; index++)
        cr_assert_eq(receive_now(), index);
    for (int index = 1000; index < 2000; index++)
        cr_assert_eq(gring_chan_send(chan, &index), 0);
    for (int index = 500; index < 2000; index++)
        cr_assert_eq(receive_now(), index);
    gring_chan_free(chan);
}

GreenTest(chan, elements_without_bytes_are_signals)
{
    chan = gring_chan_new(0, 3, 0);
    cr_assert_eq(gring_chan_send(chan, NULL), 0);
    cr_assert_eq(gring_chan_send(chan, NULL), 0);
    cr_assert_eq(gring_chan_len(chan), 2);
    cr_assert_eq(gring_chan_recv(chan, NULL), 1);
    cr_assert_eq(gring_chan_recv(chan, NULL), 1);
    cr_assert_eq(gring_chan_tryrecv(chan, NULL), -1);
    gring_chan_free(chan);
}

GreenTest(chan, large_elements_are_copied_whole)
{
    char out[5000], in[5000];

    memset(out, 'a', sizeof out);
    chan = gring_chan_new(sizeof out, 1, 0);
    cr_assert_eq(gring_chan_send(chan, out), 0);
    memset(out, 'b', sizeof out);
    cr_assert_eq(gring_chan_recv(chan, in), 1);
    for (size_t index = 0; index < sizeof in; index++)
        cr_assert_eq(in[index], 'a');
    gring_chan_free(chan);
}

/* ---- other orders ---- */

GreenTest(chan, lifo_gives_the_youngest_first)
{
    chan = gring_chan_new(sizeof(int), 3, GRING_CHAN_LIFO);
    for (int index = 0; index < 3; index++)
        cr_assert_eq(try_send(index), 0);
    must_be_full();
    cr_assert_eq(receive_now(), 2);
    cr_assert_eq(try_send(9), 0);
    cr_assert_eq(receive_now(), 9);
    cr_assert_eq(receive_now(), 1);
    cr_assert_eq(receive_now(), 0);
    gring_chan_free(chan);
}

static int by_tens(const void *left, const void *right)
{
    return *(const int *)left / 10 - *(const int *)right / 10;
}

GreenTest(chan, priority_gives_the_least_first_and_equals_in_the_order_they_came)
{
    static const int sent[] = { 31, 12, 25, 11, 39, 14, 20, 7 };
    static const int expected[] = { 7, 12, 11, 14, 25, 20, 31, 39 };

    chan = gring_chan_new_prio(sizeof(int), GRING_UNBOUNDED, by_tens, 0);
    for (size_t index = 0; index < 8; index++)
        cr_assert_eq(try_send(sent[index]), 0);
    for (size_t index = 0; index < 8; index++)
        cr_assert_eq(receive_now(), expected[index]);
    gring_chan_free(chan);
}

/* ---- close ---- */

GreenTest(chan, after_close_receivers_drain_what_is_there_and_then_get_the_end)
{
    int element = 42;

    chan = gring_chan_new(sizeof(int), 2, 0);
    cr_assert_eq(try_send(1), 0);
    cr_assert_eq(try_send(2), 0);
    cr_assert_eq(gring_chan_close(chan), 0);
    cr_assert_eq(gring_chan_close(chan), 0, "twice is fine");
    cr_assert_eq(gring_chan_send(chan, &element), -1);
    cr_assert_eq(errno, EPIPE);
    cr_assert_eq(try_send(3), -1);
    cr_assert_eq(errno, EPIPE);
    cr_assert_eq(receive_now(), 1);
    cr_assert_eq(receive_now(), 2);
    cr_assert_eq(gring_chan_recv(chan, &element), 0);
    cr_assert_eq(gring_chan_tryrecv(chan, &element), 0);
    cr_assert_eq(element, 42);
    gring_chan_free(chan);
}

GreenTest(chan, close_wakes_all_receivers_with_the_end)
{
    gring_task *tasks[3];

    chan = gring_chan_new(sizeof(int), 2, 0);
    for (int index = 0; index < 3; index++)
        tasks[index] = start(receive_one, NULL);
    cr_assert_eq(gring_chan_waiting(chan), 3);
    cr_assert_eq(gring_chan_close(chan), 0);
    for (int index = 0; index < 3; index++)
        cr_assert_eq(gring_join(tasks[index], NULL), 77);
    gring_chan_free(chan);
}

GreenTest(chan, close_fails_waiting_senders_with_EPIPE_and_their_elements_are_not_delivered)
{
    gring_task *tasks[2];

    chan = gring_chan_new(sizeof(int), 1, 0);
    cr_assert_eq(try_send(1), 0);
    for (int index = 0; index < 2; index++)
        tasks[index] = start_sender(2 + index);
    cr_assert_eq(gring_chan_close(chan), 0);
    for (int index = 0; index < 2; index++)
        cr_assert_eq(gring_join(tasks[index], NULL), EPIPE);
    cr_assert_eq(receive_now(), 1);
    cr_assert_eq(gring_chan_tryrecv(chan, received), 0);
    gring_chan_free(chan);
}

/* ---- resize ---- */

GreenTest(chan, growing_lets_waiting_senders_in)
{
    gring_task *tasks[3];

    chan = gring_chan_new(sizeof(int), 0, 0);
    for (int index = 0; index < 3; index++)
        tasks[index] = start_sender(index);
    cr_assert_eq(gring_chan_resize(chan, 2), 0);
    settle();
    cr_assert(has_ended(tasks[0]) && has_ended(tasks[1]) && !has_ended(tasks[2]));
    cr_assert_eq(gring_chan_len(chan), 2);
    cr_assert_eq(gring_chan_resize(chan, GRING_UNBOUNDED), 0);
    cr_assert_eq(gring_chan_len(chan), 3);
    for (int index = 0; index < 3; index++) {
        cr_assert_eq(receive_now(), index);
        cr_assert_eq(gring_join(tasks[index], NULL), 0);
    }
    gring_chan_free(chan);
}

GreenTest(chan, shrinking_drops_nothing_and_lets_nobody_in_until_there_is_room)
{
    chan = gring_chan_new(sizeof(int), 4, 0);
    for (int index = 0; index < 4; index++)
        cr_assert_eq(try_send(index), 0);
    cr_assert_eq(gring_chan_resize(chan, 1), 0);
    for (int index = 0; index < 3; index++) {
        must_be_full();
        cr_assert_eq(receive_now(), index);
    }
    must_be_full();
    cr_assert_eq(receive_now(), 3);
    cr_assert_eq(try_send(8), 0);
    must_be_full();
    gring_chan_free(chan);
}

GreenTest(chan, shrunk_to_a_rendezvous_it_hands_out_what_is_left_before_the_senders)
{
    gring_task *sender;

    chan = gring_chan_new(sizeof(int), 1, 0);
    cr_assert_eq(try_send(1), 0);
    sender = start_sender(2);
    cr_assert_eq(gring_chan_resize(chan, 0), 0);
    cr_assert_eq(receive_now(), 1);
    cr_assert_not(has_ended(sender));
    cr_assert_eq(receive_now(), 2);
    cr_assert_eq(gring_join(sender, NULL), 0);
    gring_chan_free(chan);
}

GreenTest(chan, a_size_that_cannot_be_had_is_ENOMEM_and_changes_nothing)
{
    errno = 0;
    cr_assert_null(gring_chan_new(16, SIZE_MAX / 8, 0));
    cr_assert_eq(errno, ENOMEM);
    chan = gring_chan_new(16, 1, 0);
    cr_assert_eq(gring_chan_resize(chan, SIZE_MAX / 8), -1);
    cr_assert_eq(errno, ENOMEM);
    gring_chan_free(chan);
}

/* ---- interruptions ---- */

FakeTimeTest(chan, a_sender_that_timed_out_leaves_nothing_behind)
{
    int element = 1;

    chan = gring_chan_new(sizeof(int), 0, 0);
    cr_assert_eq(gring_within(GRING_MS, gring_test_advance(2 * GRING_MS)), -1);
    gring_task *sender = start_sender(5);
    gring_kill(sender);
    cr_assert_eq(gring_chan_waiting(chan), 0);
    cr_assert_eq(gring_join(sender, NULL), ECANCELED);
    cr_assert_eq(try_receive(), -1);
    cr_assert_eq(gring_within(-1, gring_chan_send(chan, &element)), -1);
    cr_assert_eq(errno, ETIMEDOUT);
    cr_assert_eq(gring_chan_waiting(chan), 0);
    gring_chan_free(chan);
}

static void *receive_within_a_second(void *unused)
{
    int element = -1;

    (void)unused;
    if (gring_within(GRING_SEC, gring_chan_recv(chan, &element)) < 0)
        return gring_fail(errno);
    return NULL;
}

FakeTimeTest(chan, a_receiver_that_times_out_takes_nothing_along)
{
    gring_task *task;

    chan = gring_chan_new(sizeof(int), 0, 0);
    task = start(receive_within_a_second, NULL);
    cr_assert_eq(gring_test_advance(2 * GRING_SEC), 0);
    cr_assert_eq(gring_join(task, NULL), ETIMEDOUT);
    cr_assert_eq(gring_chan_waiting(chan), 0);
    must_be_full();
    gring_chan_free(chan);
}

GreenTest(chan, what_arrived_before_the_kill_is_received_and_the_kill_waits)
{
    gring_task *task;
    void *element;

    chan = gring_chan_new(sizeof(int), 0, 0);
    task = start(receive_one, NULL);
    cr_assert_eq(try_send(6), 0);
    gring_kill(task);
    gring_join(task, &element);
    cr_assert_eq((intptr_t)element, 6);
    gring_chan_free(chan);
}

static void *receive_thrice(void *unused)
{
    int element;

    (void)unused;
    for (int count = 0; count < 3; count++) {
        cr_assert_eq(gring_chan_recv(chan, &element), -1);
        cr_assert_eq(errno, ECANCELED);
    }
    return gring_fail(ECANCELED);
}

GreenTest(chan, in_a_cancelled_task_each_further_receive_fails_even_if_there_is_something)
{
    gring_task *task;

    chan = gring_chan_new(sizeof(int), 1, 0);
    task = start(receive_thrice, NULL);
    gring_kill(task);
    cr_assert_eq(try_send(1), 0);
    cr_assert_eq(gring_join(task, NULL), ECANCELED);
    cr_assert_eq(gring_chan_len(chan), 1);
    gring_chan_free(chan);
}

GreenTest(chan, an_errno_thrown_at_a_receiver_arrives_unchanged)
{
    gring_task *task;

    chan = gring_chan_new(sizeof(int), 1, 0);
    task = start(receive_one, NULL);
    cr_assert_eq(gring_throw(task, EOWNERDEAD), 0);
    cr_assert_eq(gring_join(task, NULL), EOWNERDEAD);
    gring_chan_free(chan);
}

GreenTest(chan, success_leaves_errno_alone)
{
    gring_task *sender;

    chan = gring_chan_new(sizeof(int), 0, 0);
    sender = start_sender(1);
    errno = ENOTTY;
    cr_assert_eq(receive_now(), 1);
    cr_assert_eq(gring_chan_close(chan), 0);
    cr_assert_eq(errno, ENOTTY);
    gring_join(sender, NULL);
    gring_chan_free(chan);
}

/* ---- misuse ---- */

Test(chan, bad_arguments_are_refused)
{
    errno = 0;
    cr_assert_null(gring_chan_new(4, 1, 0x80));
    cr_assert_eq(errno, EINVAL);
    errno = 0;
    cr_assert_null(gring_chan_new_prio(4, 1, NULL, 0));
    cr_assert_eq(errno, EINVAL);
    errno = 0;
    cr_assert_null(gring_chan_new_prio(4, 1, by_tens, GRING_CHAN_LIFO));
    cr_assert_eq(errno, EINVAL);
    gring_chan_free(NULL);
}

static void *free_while_somebody_waits(void *unused)
{
    chan = gring_chan_new(sizeof(int), 0, 0);
    start_sender(1);
    gring_chan_free(chan);
    return unused;
}

static void free_in_a_run(void)
{
    gring_run(free_while_somebody_waits, NULL, NULL);
}

Test(chan, freeing_it_while_somebody_waits_is_caught)
{
    child_must_abort(free_in_a_run, "somebody waits at the channel");
}

static void *meddle(void *unused)
{
    int element = 0;

    (void)unused;
    CHILD_MUST(gring_chan_trysend(chan, &element) == -1 && errno == EPERM);
    CHILD_MUST(gring_chan_close(chan) == -1 && errno == EPERM);
    CHILD_MUST(gring_chan_resize(chan, 3) == -1 && errno == EPERM);
    CHILD_MUST(gring_chan_recv(chan, &element) == -1 && errno == EPERM);
    return NULL;
}

static void *let_a_thread_meddle(void *unused)
{
    gring_task *receiver;
    pthread_t thread;

    chan = gring_chan_new(sizeof(int), 0, 0);
    receiver = start(receive_one, NULL);
    CHILD_MUST(pthread_create(&thread, NULL, meddle, NULL) == 0);
    pthread_join(thread, NULL);
    CHILD_MUST(try_send(4) == 0);
    CHILD_MUST(gring_join(receiver, NULL) == 0);
    gring_chan_free(chan);
    return unused;
}

static void run_with_a_meddler(void)
{
    CHILD_MUST(gring_run(let_a_thread_meddle, NULL, NULL) == 0);
}

Test(chan, a_plain_thread_at_a_hub_local_one_is_EPERM_while_somebody_waits)
{
    child_must_pass(run_with_a_meddler);
}

static void *wait_for_nobody(void *unused)
{
    int element;

    (void)unused;
    chan = gring_chan_new(sizeof(int), 0, 0);
    CHILD_MUST(gring_chan_recv(chan, &element) == -1 && errno == EDEADLK);
    gring_chan_free(chan);
    return NULL;
}

static void receive_alone(void)
{
    CHILD_MUST(gring_run(wait_for_nobody, NULL, NULL) == 0);
}

Test(chan, a_receive_that_nobody_can_end_is_a_deadlock_that_says_so)
{
    struct child child = child_run(receive_alone);

    cr_assert(child_passed(&child), "%s", child.errors);
    cr_assert(strstr(child.errors, "the main task waits in a receive from a channel"), "%s",
              child.errors);
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

GreenTest(chan, shared_carries_elements_from_plain_threads_to_tasks_in_order)
{
    pthread_t thread;
    void *failed;

    chan = gring_chan_new(sizeof(int), 3, GRING_SHARED);
    cr_assert_eq(pthread_create(&thread, NULL, send_many, chan), 0);
    for (int index = 0; index < MESSAGES; index++)
        cr_assert_eq(receive_now(), index);
    pthread_join(thread, &failed);
    cr_assert_null(failed);
    gring_chan_free(chan);
}

static void *receive_sum(void *from)
{
    intptr_t sum = 0;
    int element;

    while (gring_chan_recv(from, &element) == 1)
        sum += element;
    return (void *)sum;
}

GreenTest(chan, shared_carries_elements_from_tasks_to_plain_threads_until_the_end)
{
    gring_task *senders[2];
    pthread_t thread;
    void *sum;

    chan = gring_chan_new(sizeof(int), 0, GRING_SHARED);
    cr_assert_eq(pthread_create(&thread, NULL, receive_sum, chan), 0);
    for (int index = 0; index < 2; index++)
        senders[index] = gring_spawn(send_many, chan);
    for (int index = 0; index < 2; index++)
        cr_assert_eq(gring_join(senders[index], NULL), 0);
    cr_assert_eq(gring_chan_close(chan), 0);
    pthread_join(thread, &sum);
    cr_assert_eq((intptr_t)sum, (intptr_t)MESSAGES * (MESSAGES - 1));
    gring_chan_free(chan);
}

static int never_asked(const void *left, const void *right)
{
    (void)left;
    (void)right;
    return 0;
}

GreenTest(chan, elements_that_fit_into_no_memory_are_refused)
{
    cr_assert_null(gring_chan_new(SIZE_MAX, 2, 0));
    cr_assert_eq(errno, ENOMEM);
    cr_assert_null(gring_chan_new_prio(SIZE_MAX - 4, 2, never_asked, 0));
    cr_assert_eq(errno, ENOMEM);
}
