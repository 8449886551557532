/*
 * chan_pipeline - the prime numbers, by a chain of tasks that grows.
 *
 * Usage: chan_pipeline COUNT
 * The first task sends 2, 3, 4 … into a channel. Each prime gets a task of its own, which passes
 * on what it does not divide: what comes out of the last one is the next prime. Closing the last
 * channel ends the chain backwards: each send fails with EPIPE, and its task closes the one
 * before.
 */
#include <greenring/greenring.h>
#include <stdio.h>
#include <stdlib.h>

struct stage {
    gring_chan *in, *out;
    int prime;
};

static void *count_up(void *out)
{
    for (int number = 2; gring_chan_send(out, &number) == 0; number++)
        ;
    return NULL;
}

static void *filter(void *arg)
{
    struct stage *stage = arg;
    int number;

    while (gring_chan_recv(stage->in, &number) == 1)
        if (number % stage->prime && gring_chan_send(stage->out, &number) < 0)
            break;
    gring_chan_close(stage->in);
    return stage;
}

static void *sieve(void *text)
{
    int count = atoi(text), prime;
    gring_chan *first = gring_chan_new(sizeof(int), 0, 0), *last = first;
    gring_task **tasks = calloc((size_t)count + 1, sizeof *tasks);

    tasks[0] = gring_spawn(count_up, first);
    for (int index = 1; index <= count && gring_chan_recv(last, &prime) == 1; index++) {
        struct stage *stage = malloc(sizeof *stage);

        *stage = (struct stage){ last, gring_chan_new(sizeof(int), 0, 0), prime };
        printf("%d%c", prime, index < count ? ' ' : '\n');
        tasks[index] = gring_spawn(filter, stage);
        last = stage->out;
    }
    gring_chan_close(last);
    for (int index = count; index > 0; index--) {
        void *ended;

        gring_join(tasks[index], &ended);
        gring_chan_free(((struct stage *)ended)->out);
        free(ended);
    }
    gring_join(tasks[0], NULL);
    gring_chan_free(first);
    free(tasks);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 2 || atoi(argv[1]) < 1) {
        fprintf(stderr, "usage: chan_pipeline COUNT\n");
        return 2;
    }
    return gring_run(sieve, argv[1], NULL) != 0;
}
