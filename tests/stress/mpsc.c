/*
 * Four threads push numbered nodes, one takes them: each node arrives once, and each thread's in
 * order.
 *
 * What the queue hands over is the plain `number`: a missing fence is a data race that
 * ThreadSanitizer names.
 */
#include "base/mpsc.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

enum { PRODUCER_COUNT = 4, NODE_COUNT = 50000 };

struct item {
    struct mpsc_node node; /* first: a node is its item */
    int producer;
    int number;
};

static struct mpsc queue;
static struct item items[PRODUCER_COUNT][NODE_COUNT];

static void *produce(void *arg)
{
    struct item *own = arg;
    int producer = (int)((own - &items[0][0]) / NODE_COUNT);

    for (int number = 0; number < NODE_COUNT; number++) {
        own[number].producer = producer;
        own[number].number = number;
        mpsc_push(&queue, &own[number].node);
    }
    return NULL;
}

/* Takes what is there; returns how many nodes that were, and exits when one is out of order. */
static int take_some(int next[PRODUCER_COUNT])
{
    struct mpsc_node *node = mpsc_take_all(&queue);
    int taken_count = 0;

    for (; node; node = node->next, taken_count++) {
        struct item *item = (struct item *)(void *)node;

        if (item->number != next[item->producer]++) {
            printf("producer %d: expected number %d, got %d\n", item->producer,
                   next[item->producer] - 1, item->number);
            exit(1);
        }
    }
    return taken_count;
}

int main(void)
{
    pthread_t producers[PRODUCER_COUNT];
    int next[PRODUCER_COUNT] = { 0 };
    int taken_count = 0;

    mpsc_init(&queue);
    for (int i = 0; i < PRODUCER_COUNT; i++)
        if (pthread_create(&producers[i], NULL, produce, items[i]) != 0) {
            perror("pthread_create");
            return 1;
        }
    /* a lost node ends in the test's time-out */
    while (taken_count < PRODUCER_COUNT * NODE_COUNT) {
        int more_count = take_some(next);

        taken_count += more_count;
        if (more_count == 0)
            sched_yield();
    }
    for (int i = 0; i < PRODUCER_COUNT; i++)
        pthread_join(producers[i], NULL);
    if (!mpsc_empty(&queue)) {
        puts("more nodes arrived than were pushed");
        return 1;
    }
    return 0;
}
