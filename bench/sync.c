/* P3: tasks that meet at locks and events, against Go's goroutines in the same run. */
#include "go.h"
#include "report.h"

#include <greenring/greenring.h>

enum { MILLION = 1000 * 1000, CROWD = 10 * 1000, BROADCASTS = 20 };

GO_BASELINE(go_mutex, "mutex-uncontended")
GO_BASELINE(go_mutex_hand_off, "mutex-hand-off")
GO_BASELINE(go_semaphore_hand_off, "semaphore-hand-off")
GO_BASELINE(go_wake, "event-wake")
GO_BASELINE(go_broadcast, "event-broadcast")

static gring_mutex mutex;
static gring_sem semaphore;
static gring_event event, answer;

/* ---- locks ---- */

static double lock_and_unlock(void)
{
    double start = bench_now_ns();

    for (int count = 0; count < 10 * MILLION; count++) {
        gring_mutex_lock(&mutex);
        gring_mutex_unlock(&mutex);
    }
    return (bench_now_ns() - start) / (10 * MILLION);
}

/* Two tasks, each of which lets the other one run while it holds what both want. */
static double two_of(gring_fn fn)
{
    gring_task *one = gring_spawn(fn, NULL), *two = gring_spawn(fn, NULL);
    double start = bench_now_ns();

    gring_join(one, NULL);
    gring_join(two, NULL);
    return (bench_now_ns() - start) / MILLION;
}

static void *contend_for_the_mutex(void *arg)
{
    for (int count = 0; count < MILLION / 2; count++) {
        gring_mutex_lock(&mutex);
        gring_yield();
        gring_mutex_unlock(&mutex);
    }
    return arg;
}

static double mutex_hand_off(void)
{
    return two_of(contend_for_the_mutex);
}

static void *contend_for_the_unit(void *arg)
{
    for (int count = 0; count < MILLION / 2; count++) {
        gring_sem_acquire(&semaphore);
        gring_yield();
        gring_sem_release(&semaphore);
    }
    return arg;
}

static double semaphore_hand_off(void)
{
    gring_sem_init(&semaphore, 1, 0, 0);
    return two_of(contend_for_the_unit);
}

/* ---- events ---- */

static void await(gring_event *which)
{
    gring_event_wait(which, NULL);
    gring_event_reset(which);
}

static void *send_back_often(void *arg)
{
    for (int count = 0; count < MILLION / 2; count++) {
        await(&event);
        gring_event_send(&answer, NULL);
    }
    return arg;
}

/* There and back, two wakes: each is a send, a switch and a reset. */
static double wake(void)
{
    gring_task *other = gring_spawn(send_back_often, NULL);
    double start = bench_now_ns();

    for (int count = 0; count < MILLION / 2; count++) {
        gring_event_send(&event, NULL);
        await(&answer);
    }
    start = bench_now_ns() - start;
    gring_join(other, NULL);
    return start / MILLION;
}

static void *await_once(void *group)
{
    gring_event_wait(&event, NULL);
    gring_wg_done(group);
    return NULL;
}

/* From the send until all have run. */
static double broadcast(void)
{
    double total = 0, start;
    gring_wg group = { 0 };

    for (int round = 0; round < BROADCASTS; round++) {
        gring_wg_add(&group, CROWD);
        for (int waiter = 0; waiter < CROWD; waiter++)
            gring_spawn_n(await_once, &group);
        gring_idle(); /* until they wait */
        start = bench_now_ns();
        gring_event_send(&event, NULL);
        gring_wg_wait(&group);
        total += bench_now_ns() - start;
        gring_event_reset(&event);
    }
    return total / BROADCASTS / CROWD;
}

static void *measure(void *arg)
{
    const struct comparison comparisons[] = {
        { "mutex locked and unlocked", "Go", lock_and_unlock, go_mutex, 8, 1 },
        { "mutex handed to the other task", "Go, with Gosched inside", mutex_hand_off,
          go_mutex_hand_off, 0, 0 },
        { "semaphore handed to the other task", "Go, a channel of 1", semaphore_hand_off,
          go_semaphore_hand_off, 0, 0 },
        { "event sent to who waits", "Go, the close of a channel", wake, go_wake, 40, 1 },
        { "event sent to 10,000; each", "Go, the close of a channel", broadcast, go_broadcast, 0,
          0 },
    };

    for (size_t index = 0; index < sizeof comparisons / sizeof comparisons[0]; index++)
        bench_compare(&comparisons[index]);
    return arg;
}

int main(void)
{
    return gring_run(measure, NULL, NULL);
}
