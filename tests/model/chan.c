/*
 * Channels and choose against a twin that keeps everything in arrays: who waits, in the order in
 * which they came, with all their cases, and what lies in each channel.
 *
 * Workers do one call after another as they are told, and everybody is left alone until all have
 * done what they can. Then each worker must be where the twin says, with the result it says.
 */
#include "tests/model/choices.h"

#include <errno.h>
#include <greenring/debug.h>
#include <greenring/greenring.h>
#include <string.h>

enum { CHANS = 3, WORKERS = 5, CASES = 3, ROOM = 64, CAPACITIES = 4, NOBODY = -1, TRIED = -2 };

/* ---- what a worker is told, and what came of it ---------------------------------------------- */

struct order {
    gring_on ops[CASES];
    unsigned chans[CASES];
    int elements[CASES]; /* to send */
    int count;
    bool may_wait;
};

struct outcome {
    int index; /* the case, or -errno */
    int rc, err, element;
};

struct worker {
    gring_task *task;
    struct order order;
    struct outcome outcome, expected;
    bool busy, waits; /* as the twin says */
    bool told, answered;
    unsigned arrival;
};

static struct worker workers[WORKERS];
static gring_chan *chans[CHANS];

/* ---- the twin -------------------------------------------------------------------------------- */

struct twin_chan {
    int elements[ROOM];
    int count;
    int capacity;
    int order; /* 0 oldest first, 1 youngest first, 2 least first */
    bool closed;
};

static struct twin_chan twins[CHANS];
static unsigned arrivals;

static void expect(struct worker *worker, int index, int rc, int err, int element)
{
    worker->expected = (struct outcome){ index, rc, err, element };
    worker->waits = false;
}

/* Who has waited longest with this case; *index: which of its cases. */
static struct worker *longest(gring_on op, unsigned chan, const struct worker *but, int *index)
{
    struct worker *found = NULL;

    for (int at = 0; at < WORKERS; at++) {
        struct worker *worker = &workers[at];

        if (!worker->waits || worker == but || (found && worker->arrival > found->arrival))
            continue;
        for (int one = worker->order.count - 1; one >= 0; one--)
            if (worker->order.ops[one] == op && worker->order.chans[one] == chan) {
                found = worker;
                *index = one;
            }
    }
    return found;
}

static void twin_put(struct twin_chan *twin, int element)
{
    MUST(twin->count < ROOM);
    twin->elements[twin->count++] = element;
}

static int twin_take(struct twin_chan *twin)
{
    int at = twin->order == 1 ? twin->count - 1 : 0, element;

    for (int other = 0; twin->order == 2 && other < twin->count; other++)
        if (twin->elements[other] / 10 < twin->elements[at] / 10)
            at = other;
    element = twin->elements[at];
    memmove(&twin->elements[at], &twin->elements[at + 1],
            (size_t)(--twin->count - at) * sizeof element);
    return element;
}

static void twin_let_in(unsigned chan)
{
    struct worker *sender;
    int index;

    while (twins[chan].count < twins[chan].capacity &&
           (sender = longest(GRING_ON_SEND, chan, NULL, &index)) != NULL) {
        twin_put(&twins[chan], sender->order.elements[index]);
        expect(sender, index, 0, 0, 0);
    }
}

static bool twin_send(struct worker *worker, int index)
{
    unsigned chan = worker->order.chans[index];
    int element = worker->order.elements[index], other;
    struct worker *receiver;

    if (twins[chan].closed) {
        expect(worker, index, -1, EPIPE, 0);
        return true;
    }
    receiver = longest(GRING_ON_RECV, chan, worker, &other);
    if (receiver)
        expect(receiver, other, 1, 0, element);
    else if (twins[chan].count < twins[chan].capacity)
        twin_put(&twins[chan], element);
    else
        return false;
    expect(worker, index, 0, 0, 0);
    return true;
}

static bool twin_receive(struct worker *worker, int index)
{
    unsigned chan = worker->order.chans[index];
    struct worker *sender;
    int other;

    if (twins[chan].count > 0) {
        expect(worker, index, 1, 0, twin_take(&twins[chan]));
        twin_let_in(chan);
        return true;
    }
    sender = longest(GRING_ON_SEND, chan, worker, &other);
    if (sender) {
        expect(worker, index, 1, 0, sender->order.elements[other]);
        expect(sender, other, 0, 0, 0);
    } else if (twins[chan].closed) {
        expect(worker, index, 0, 0, 0);
    } else {
        return false;
    }
    return true;
}

static void twin_begin(struct worker *worker)
{
    for (int index = 0; index < worker->order.count; index++)
        if (worker->order.ops[index] == GRING_ON_SEND ? twin_send(worker, index)
                                                      : twin_receive(worker, index))
            return;
    expect(worker, -EAGAIN, 0, 0, 0);
    worker->waits = worker->order.may_wait;
    worker->arrival = arrivals++;
}

static void twin_close(unsigned chan)
{
    struct worker *worker;
    int index;

    twins[chan].closed = true;
    while ((worker = longest(GRING_ON_RECV, chan, NULL, &index)) != NULL)
        expect(worker, index, 0, 0, 0);
    while ((worker = longest(GRING_ON_SEND, chan, NULL, &index)) != NULL)
        expect(worker, index, -1, EPIPE, 0);
}

static int twin_waiting(unsigned chan)
{
    int count = 0;

    for (int at = 0; at < WORKERS; at++)
        for (int index = 0; workers[at].waits && index < workers[at].order.count; index++)
            if (workers[at].order.chans[index] == chan)
                count += workers[at].order.ops[index] == GRING_ON_RECV ? 1 : -1;
    return count;
}

/* ---- the real thing -------------------------------------------------------------------------- */

static void obey_by_choosing(struct worker *worker)
{
    struct order *order = &worker->order;
    int received[CASES] = { 0 };
    gring_case cases[CASES];
    int index;

    for (int at = 0; at < order->count; at++)
        cases[at] = (gring_case){ .op = order->ops[at],
                                  .u.chan = chans[order->chans[at]],
                                  .ptr = order->ops[at] == GRING_ON_SEND ? &order->elements[at]
                                                                         : &received[at] };
    index =
        order->may_wait ? gring_choose(cases, order->count) : gring_trychoose(cases, order->count);
    if (index < 0)
        worker->outcome = (struct outcome){ -errno, 0, 0, 0 };
    else
        worker->outcome =
            (struct outcome){ index, cases[index].rc, cases[index].err, received[index] };
}

/* A single case goes through the plain calls. */
static void obey_plainly(struct worker *worker)
{
    struct order *order = &worker->order;
    gring_chan *chan = chans[order->chans[0]];
    int received = 0, rc;

    if (order->ops[0] == GRING_ON_SEND)
        rc = order->may_wait ? gring_chan_send(chan, &order->elements[0])
                             : gring_chan_trysend(chan, &order->elements[0]);
    else
        rc = order->may_wait ? gring_chan_recv(chan, &received)
                             : gring_chan_tryrecv(chan, &received);
    if (rc < 0 && errno != EPIPE)
        worker->outcome = (struct outcome){ -errno, 0, 0, 0 };
    else
        worker->outcome = (struct outcome){ 0, rc, rc < 0 ? errno : 0, received };
}

static void *work(void *arg)
{
    struct worker *worker = arg;

    for (;;) {
        while (!worker->told)
            if (gring_park(NULL) < 0 && !worker->told)
                return NULL;
        worker->told = false;
        if (worker->order.count == 1)
            obey_plainly(worker);
        else
            obey_by_choosing(worker);
        worker->answered = true;
    }
}

static void tell(struct worker *worker)
{
    worker->busy = worker->told = true;
    worker->answered = false;
    MUST(gring_unpark(worker->task, NULL) == 0);
}

/* ---- comparing ------------------------------------------------------------------------------- */

static void compare_worker(struct worker *worker)
{
    if (!worker->busy)
        return;
    MUST(worker->answered == !worker->waits);
    if (worker->waits)
        return;
    MUST(worker->outcome.index == worker->expected.index);
    MUST(worker->outcome.rc == worker->expected.rc);
    MUST(worker->outcome.err == worker->expected.err);
    MUST(worker->outcome.element == worker->expected.element);
    worker->busy = false;
}

static void compare(void)
{
    MUST(gring_idle() == 0);
    for (int at = 0; at < WORKERS; at++)
        compare_worker(&workers[at]);
    for (unsigned chan = 0; chan < CHANS; chan++) {
        MUST(gring_chan_len(chans[chan]) == (size_t)twins[chan].count);
        MUST(gring_chan_waiting(chans[chan]) == twin_waiting(chan));
    }
}

/* ---- histories ------------------------------------------------------------------------------- */

static void begin_something(struct choices *choices)
{
    struct worker *worker = &workers[choose(choices, WORKERS)];
    struct order *order = &worker->order;

    if (worker->busy)
        return;
    order->count = 1 + (int)choose(choices, CASES);
    order->may_wait = choose(choices, 4) != 0;
    for (int index = 0; index < order->count; index++) {
        order->ops[index] = choose(choices, 2) ? GRING_ON_SEND : GRING_ON_RECV;
        order->chans[index] = choose(choices, CHANS);
        order->elements[index] = 1 + (int)choose(choices, 100);
    }
    tell(worker);
    twin_begin(worker);
}

static void interrupt_somebody(struct choices *choices)
{
    struct worker *worker = &workers[choose(choices, WORKERS)];

    if (!worker->waits)
        return;
    MUST(gring_throw(worker->task, EOWNERDEAD) == 0);
    expect(worker, -EOWNERDEAD, 0, 0, 0);
}

static void resize(struct choices *choices)
{
    unsigned chan = choose(choices, CHANS);
    int capacity = (int)choose(choices, CAPACITIES);

    MUST(gring_chan_resize(chans[chan], (size_t)capacity) == 0);
    twins[chan].capacity = capacity;
    twin_let_in(chan);
}

static void close_one(struct choices *choices)
{
    unsigned chan = choose(choices, CHANS);

    MUST(gring_chan_close(chans[chan]) == 0);
    twin_close(chan);
}

static int by_tens(const void *left, const void *right)
{
    return *(const int *)left / 10 - *(const int *)right / 10;
}

static void make_channel(struct choices *choices, unsigned chan)
{
    int capacity = (int)choose(choices, CAPACITIES), order = (int)choose(choices, 3);
    unsigned flags = choose(choices, 4) == 0 ? GRING_SHARED : 0;

    twins[chan] = (struct twin_chan){ .capacity = capacity, .order = order };
    chans[chan] = order == 2 ? gring_chan_new_prio(sizeof(int), (size_t)capacity, by_tens, flags)
                             : gring_chan_new(sizeof(int), (size_t)capacity,
                                              flags | (order == 1 ? GRING_CHAN_LIFO : 0));
    MUST(chans[chan]);
}

static void prepare(struct choices *choices)
{
    memset(workers, 0, sizeof workers);
    arrivals = 0;
    for (unsigned chan = 0; chan < CHANS; chan++)
        make_channel(choices, chan);
    for (int at = 0; at < WORKERS; at++)
        MUST((workers[at].task = gring_spawn(work, &workers[at])) != NULL);
    MUST(gring_idle() == 0);
}

static void clean_up(void)
{
    for (int at = 0; at < WORKERS; at++)
        gring_kill(workers[at].task);
    for (int at = 0; at < WORKERS; at++)
        MUST(gring_join(workers[at].task, NULL) == ECANCELED);
    for (unsigned chan = 0; chan < CHANS; chan++) {
        MUST(gring_chan_waiting(chans[chan]) == 0);
        gring_chan_free(chans[chan]);
    }
}

static void *history(void *arg)
{
    struct choices *choices = arg;

    prepare(choices);
    while (choices_left(choices)) {
        unsigned what = choose(choices, 16);

        if (what < 12)
            begin_something(choices);
        else if (what < 14)
            interrupt_somebody(choices);
        else if (what == 14)
            resize(choices);
        else if (choose(choices, 4) == 0)
            close_one(choices);
        compare();
    }
    clean_up();
    return NULL;
}

MODEL(chan)
{
    gring_config config = GRING_CONFIG_INIT;

    config.flags = GRING_RUN_FAKETIME;
    MUST(gring_run_with(&config, history, choices, NULL) == 0);
}
