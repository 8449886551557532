/*
 * Threads and tasks that all choose among the same shared channels, at both ends: every element
 * that was sent is received once or lies in a channel at the end, whatever deadlines do to the
 * tasks in between.
 */
#include <greenring/greenring.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    THREADS = 3,
    TASKS = 4,
    CHANS = 3,
    CASES = 4,
    DONE_MIN = 200000,
    SECONDS = 4,
    HANG_SECONDS = 100
};

#define MUST(fact)                                                                                 \
    do {                                                                                           \
        if (!(fact)) {                                                                             \
            printf("line %d: %s (errno %d)\n", __LINE__, #fact, errno);                            \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

struct actor {
    uint64_t random;
    uint64_t sent, received, interrupted; /* sums of elements, and a count */
    uint64_t next;
};

static gring_chan *chans[CHANS];
static gring_event over;
static atomic_uint done;
static struct actor actors[THREADS + TASKS];

/* xorshift64 */
static unsigned below(struct actor *actor, unsigned limit)
{
    actor->random ^= actor->random << 13;
    actor->random ^= actor->random >> 7;
    actor->random ^= actor->random << 17;
    return (unsigned)(actor->random >> 33) % limit;
}

/* The last case is the end. */
static int choose_cases(struct actor *actor, gring_case *cases, uint64_t *received)
{
    int count = 1 + (int)below(actor, CASES - 1);

    for (int index = 0; index < count; index++) {
        gring_chan *chan = chans[below(actor, CHANS)];

        if (below(actor, 2))
            cases[index] = (gring_case)GRING_CASE_SEND(chan, &actor->next);
        else
            cases[index] = (gring_case)GRING_CASE_RECV(chan, received);
    }
    cases[count++] = (gring_case)GRING_CASE_EVENT(&over, NULL);
    return count;
}

/* false: it was the end. */
static bool act(struct actor *actor, bool may_time_out)
{
    gring_case cases[CASES];
    uint64_t received;
    int count = choose_cases(actor, cases, &received), index;

    if (may_time_out) /* else all could end up at the same ends of the same channels */
        index = gring_within(below(actor, 200) * GRING_US, gring_choose(cases, count));
    else
        index = gring_choose(cases, count);
    if (index < 0) {
        MUST(may_time_out && errno == ETIMEDOUT);
        actor->interrupted++;
        return true;
    }
    if (cases[index].op == GRING_ON_EVENT)
        return false;
    if (cases[index].op == GRING_ON_SEND)
        actor->sent += actor->next++;
    else
        actor->received += received;
    MUST(cases[index].rc == (cases[index].op == GRING_ON_RECV));
    atomic_fetch_add_explicit(&done, 1, memory_order_relaxed);
    return true;
}

static void *act_in_thread(void *actor)
{
    while (act(actor, false))
        ;
    return NULL;
}

static void *act_in_task(void *actor)
{
    while (act(actor, true))
        ;
    return NULL;
}

static void prepare(void)
{
    static const size_t capacities[CHANS] = { 0, 1, 3 };
    uint64_t seed = (uint64_t)time(NULL) * 1000003 + (uint64_t)getpid();

    printf("seed %llu\n", (unsigned long long)seed);
    for (int index = 0; index < CHANS; index++)
        MUST(chans[index] = gring_chan_new(sizeof(uint64_t), capacities[index], GRING_SHARED));
    MUST(gring_event_init(&over, GRING_SHARED) == 0);
    for (unsigned index = 0; index < THREADS + TASKS; index++)
        actors[index] =
            (struct actor){ .random = seed + index + 1, .next = (uint64_t)(index + 1) << 40 };
}

static uint64_t drain(void)
{
    uint64_t left = 0, element;

    for (int index = 0; index < CHANS; index++) {
        MUST(gring_chan_waiting(chans[index]) == 0);
        while (gring_chan_tryrecv(chans[index], &element) == 1)
            left += element;
        gring_chan_free(chans[index]);
    }
    return left;
}

static void compare_sums(void)
{
    uint64_t sent = 0, received = drain(), interrupted = 0;

    for (int index = 0; index < THREADS + TASKS; index++) {
        sent += actors[index].sent;
        received += actors[index].received;
        interrupted += actors[index].interrupted;
    }
    MUST(sent == received);
    printf("%u done, %llu interrupted\n", atomic_load(&done), (unsigned long long)interrupted);
}

/* Sums that do not agree would not show a wait that never ends: that is what SIGALRM is for. */
static void *run(void *unused)
{
    gring_ns end = gring_now() + SECONDS * GRING_SEC;
    pthread_t threads[THREADS];
    gring_task *tasks[TASKS];

    prepare();
    for (int index = 0; index < THREADS; index++)
        MUST(pthread_create(&threads[index], NULL, act_in_thread, &actors[index]) == 0);
    for (int index = 0; index < TASKS; index++)
        MUST(tasks[index] = gring_spawn(act_in_task, &actors[THREADS + index]));
    while (atomic_load_explicit(&done, memory_order_relaxed) < DONE_MIN && gring_now() < end)
        gring_sleep(GRING_MS);
    MUST(gring_event_send(&over, NULL) == 0);
    for (int index = 0; index < TASKS; index++)
        MUST(gring_join(tasks[index], NULL) == 0);
    for (int index = 0; index < THREADS; index++)
        pthread_join(threads[index], NULL);
    compare_sums();
    return unused;
}

int main(void)
{
    alarm(HANG_SECONDS);
    return gring_run(run, NULL, NULL) != 0;
}
