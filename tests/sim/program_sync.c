/*
 * The sync objects of workload_program.c: a channel, a semaphore and an event that all its tasks
 * share, and waits for one of many of them.
 *
 * An element that was reported as sent is received once or lies in the channel at the end; of one
 * that was not, nothing is seen. No more units are held than there are. An event's value is one
 * that was sent.
 */
#include "tests/sim/program_sync.h"

#include "tests/sim/sim.h"

#include <errno.h>
#include <poll.h>

enum { ELEMENTS_MAX = 4096, VALUES = 8, CASES = 4 };

static struct {
    gring_chan *channel; /* NULL: no memory */
    gring_event event;
    gring_sem units;
    unsigned unit_count, held_count;
    unsigned element_count;
    bool sent[ELEMENTS_MAX], refused[ELEMENTS_MAX], received[ELEMENTS_MAX];
    char values[VALUES];
} * shared;

int program_sync_begin(void)
{
    shared = sim_alloc(sizeof *shared);
    shared->unit_count = (unsigned)sim_between(1, 3);
    SIM_MUST(gring_event_init(&shared->event, 0) == 0);
    SIM_MUST(gring_sem_init(&shared->units, shared->unit_count, shared->unit_count, 0) == 0);
    shared->channel = gring_chan_new(sizeof(unsigned), (size_t)sim_below(4), 0);
    return shared->channel ? 0 : -1;
}

/* ---- the channel ----------------------------------------------------------------------------- */

static void take_element(unsigned element)
{
    SIM_MUST(element < shared->element_count && !shared->received[element]);
    shared->received[element] = true;
}

static int note_sent(unsigned element, int result)
{
    if (result == 0)
        shared->sent[element] = true;
    else
        shared->refused[element] = true;
    return result;
}

static bool may_send(void)
{
    return shared->channel && shared->element_count < ELEMENTS_MAX;
}

int program_send(void)
{
    unsigned element;
    int result;

    if (!may_send())
        return 0;
    element = shared->element_count++;
    result = sim_chance(300) ? gring_chan_trysend(shared->channel, &element)
                             : gring_chan_send(shared->channel, &element);
    return note_sent(element, result);
}

int program_receive(void)
{
    unsigned element;
    int result;

    if (!shared->channel)
        return 0;
    result = sim_chance(300) ? gring_chan_tryrecv(shared->channel, &element)
                             : gring_chan_recv(shared->channel, &element);
    if (result == 1)
        take_element(element);
    return result < 0 ? -1 : 0;
}

/* ---- the event and the semaphore ------------------------------------------------------------- */

static void expect_value(const void *value)
{
    SIM_MUST((const char *)value >= shared->values &&
             (const char *)value < shared->values + VALUES);
}

static int wait_for_event(void)
{
    void *value = NULL;
    int result = gring_event_wait(&shared->event, &value);

    if (result == 0)
        expect_value(value);
    return result;
}

int program_event(void)
{
    if (sim_chance(400))
        return wait_for_event();
    if (gring_event_ready(&shared->event))
        return gring_event_reset(&shared->event);
    return gring_event_send(&shared->event, &shared->values[sim_below(VALUES)]);
}

int program_acquire(void)
{
    if (gring_sem_acquire(&shared->units) < 0)
        return -1;
    SIM_MUST(++shared->held_count <= shared->unit_count);
    return 1;
}

void program_release(void)
{
    shared->held_count--;
    SIM_MUST(gring_sem_release(&shared->units) == 0);
}

/* ---- one of many ----------------------------------------------------------------------------- */

static int note_choice(const gring_case *cases, int index, unsigned offered, unsigned received,
                       const void *value)
{
    errno = index >= 0 ? cases[index].err : errno;
    if (offered < ELEMENTS_MAX)
        note_sent(offered, index == 1 ? cases[1].rc : -1);
    if (index == 0 && cases[0].rc == 1)
        take_element(received);
    if (index == 2 && cases[2].rc == 0)
        expect_value(value);
    return index < 0 || cases[index].rc < 0 ? -1 : 0;
}

int program_choose(int fd)
{
    unsigned received, offered = ELEMENTS_MAX;
    void *value = NULL;
    gring_case cases[CASES] = { GRING_CASE_RECV(shared->channel, &received),
                                GRING_CASE_SEND(shared->channel, &offered),
                                GRING_CASE_EVENT(&shared->event, &value),
                                GRING_CASE_FD(fd, POLLIN) };
    int index;

    for (int place = 0; place < CASES; place++)
        if (sim_chance(400))
            cases[place].op = GRING_ON_NONE;
    if (!shared->channel)
        cases[0].op = GRING_ON_NONE;
    if (!may_send())
        cases[1].op = GRING_ON_NONE;
    if (fd < 0)
        cases[3].op = GRING_ON_NONE;
    if (cases[1].op != GRING_ON_NONE)
        offered = shared->element_count++;
    index = sim_chance(300) ? gring_trychoose(cases, CASES) : gring_choose(cases, CASES);
    return note_choice(cases, index, offered, received, value);
}

/* ---- the end --------------------------------------------------------------------------------- */

void program_sync_end(void)
{
    unsigned element;

    while (shared->channel && gring_chan_tryrecv(shared->channel, &element) == 1)
        take_element(element);
    for (element = 0; element < shared->element_count; element++)
        SIM_MUST(shared->received[element] == shared->sent[element] &&
                 shared->sent[element] != shared->refused[element]);
    SIM_MUST(shared->held_count == 0);
    SIM_MUST(gring_sem_balance(&shared->units) == (int)shared->unit_count);
    gring_chan_free(shared->channel);
    SIM_MUST(gring_sem_destroy(&shared->units) == 0);
    SIM_MUST(gring_event_destroy(&shared->event) == 0);
}
