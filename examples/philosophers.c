/*
 * philosophers - five philosophers, five forks, and deadlines instead of a clever order.
 *
 * Usage: philosophers MEALS
 * Each takes the left fork first, which may end with everybody holding one. Forks are semaphores
 * of 1, because taking one must be interruptible: who does not get the right fork in time puts
 * the left one back, and tries again after a pause of its own length.
 */
#include <errno.h>
#include <greenring/greenring.h>
#include <stdio.h>
#include <stdlib.h>

enum { SEATS = 5 };

static gring_sem forks[SEATS];
static int meals_wanted, meals[SEATS], put_backs;

static int eat(int seat)
{
    gring_sem *left = &forks[seat], *right = &forks[(seat + 1) % SEATS];

    if (gring_sem_acquire(left) < 0)
        return -1;
    gring_sleep(GRING_MS); /* long enough for everybody to take one */
    if (gring_within((5 + seat) * GRING_MS, gring_sem_acquire(right)) < 0) {
        gring_sem_release(left);
        put_backs++;
        return gring_sleep((1 + seat) * GRING_MS);
    }
    gring_sleep(GRING_MS);
    meals[seat]++;
    gring_sem_release(right);
    return gring_sem_release(left);
}

static void *philosopher(void *seat)
{
    while (meals[(long)seat] < meals_wanted)
        if (eat((int)(long)seat) < 0)
            return gring_fail(errno);
    return NULL;
}

static void *dine(void *unused)
{
    gring_scope table;
    int code;

    gring_scope_open(&table, 0);
    for (long seat = 0; seat < SEATS; seat++) {
        gring_sem_init(&forks[seat], 1, 1, 0);
        gring_scope_spawn_n(&table, philosopher, (void *)seat);
    }
    code = gring_scope_wait(&table);
    gring_scope_close(&table);
    for (int seat = 0; seat < SEATS; seat++)
        printf("%d ate %d times\n", seat, meals[seat]);
    fprintf(stderr, "a fork was put back %d times\n", put_backs);
    return code ? gring_fail(1) : unused;
}

int main(int argc, char **argv)
{
    if (argc != 2 || (meals_wanted = atoi(argv[1])) < 1) {
        fprintf(stderr, "usage: philosophers MEALS\n");
        return 2;
    }
    return gring_run(dine, NULL, NULL) != 0;
}
