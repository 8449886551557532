/* P3: messages between tasks, and choosing among channels, against Go's in the same run. */
#include "go.h"
#include "report.h"

#include <greenring/greenring.h>

enum { MILLION = 1000 * 1000, CAPACITY = 128, CHANS_MAX = 64 };

GO_BASELINE(go_round_trip, "channel-round-trip")
GO_BASELINE(go_unbuffered, "channel-unbuffered")
GO_BASELINE(go_buffered, "channel-buffered")
GO_BASELINE(go_select_2, "select-2")
GO_BASELINE(go_select_64, "select-64")

static gring_chan *there, *back;
static gring_chan *chans[CHANS_MAX];

/* ---- one channel ---- */

static void *answer(void *unused)
{
    long value;

    while (gring_chan_recv(there, &value) == 1)
        gring_chan_send(back, &value);
    return unused;
}

static double round_trip(void)
{
    gring_task *task;
    double start;

    there = gring_chan_new(sizeof(long), 0, 0);
    back = gring_chan_new(sizeof(long), 0, 0);
    task = gring_spawn(answer, NULL);
    start = bench_now_ns();
    for (long count = 0, value; count < MILLION; count++) {
        gring_chan_send(there, &count);
        gring_chan_recv(back, &value);
    }
    start = bench_now_ns() - start;
    gring_chan_close(there);
    gring_join(task, NULL);
    gring_chan_free(there);
    gring_chan_free(back);
    return start / MILLION;
}

static void *send_until(void *end)
{
    for (long count = 0; count < (long)end; count++)
        gring_chan_send(there, &count);
    gring_chan_close(there);
    return NULL;
}

static double transfer(size_t capacity, long count)
{
    double start;
    gring_task *task;
    long value;

    there = gring_chan_new(sizeof(long), capacity, 0);
    task = gring_spawn(send_until, (void *)count);
    start = bench_now_ns();
    while (gring_chan_recv(there, &value) == 1)
        ;
    start = bench_now_ns() - start;
    gring_join(task, NULL);
    gring_chan_free(there);
    return start / (double)count;
}

static double unbuffered(void)
{
    return transfer(0, 2 * MILLION);
}

static double buffered(void)
{
    return transfer(CAPACITY, 4 * MILLION);
}

/* ---- one of several ---- */

struct feed {
    int chans;
    long count;
};

/* To one channel after the other, in strides, so that neighbours differ. */
static void *feed_all(void *arg)
{
    const struct feed *feed = arg;

    for (long count = 0; count < feed->count; count++)
        gring_chan_send(chans[count * 7 % feed->chans], &count);
    return NULL;
}

static double choose_of(int count, long messages)
{
    struct feed feed = { count, messages };
    gring_case cases[CHANS_MAX];
    gring_task *task;
    double start;
    long value;

    for (int index = 0; index < count; index++) {
        chans[index] = gring_chan_new(sizeof(long), 0, 0);
        cases[index] = (gring_case)GRING_CASE_RECV(chans[index], &value);
    }
    task = gring_spawn(feed_all, &feed);
    start = bench_now_ns();
    for (long message = 0; message < messages; message++)
        gring_choose(cases, count);
    start = bench_now_ns() - start;
    gring_join(task, NULL);
    for (int index = 0; index < count; index++)
        gring_chan_free(chans[index]);
    return start / (double)messages;
}

static double choose_of_2(void)
{
    return choose_of(2, MILLION);
}

static double choose_of_64(void)
{
    return choose_of(64, MILLION / 10);
}

static void *measure(void *arg)
{
    const struct comparison comparisons[] = {
        { "channel: an unbuffered message", "Go", unbuffered, go_unbuffered, 45, 1 },
        { "channel: round trip over two of them", "Go", round_trip, go_round_trip, 0, 0 },
        { "channel of 128: a message", "Go", buffered, go_buffered, 0, 0 },
        { "choose: receive from one of 2", "Go's select", choose_of_2, go_select_2, 0, 0 },
        { "choose: receive from one of 64", "Go's select", choose_of_64, go_select_64, 0, 0 },
    };

    for (size_t index = 0; index < sizeof comparisons / sizeof comparisons[0]; index++)
        bench_compare(&comparisons[index]);
    return arg;
}

int main(void)
{
    return gring_run(measure, NULL, NULL) != 0;
}
