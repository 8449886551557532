/*
 * Keys of task-locals, made and deleted by threads while tasks that have values under them end: a
 * destructor gets no value that was set under another key, whichever place that had. For
 * ThreadSanitizer, and to show the argument in runtime/local.h at work.
 */
#include <errno.h>
#include <greenring/greenring.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { CHURNERS = 2, TASKS = 20000, TAKEN_MIN = 200 };

static atomic_uint offered; /* the key of a task that is about to end; 0: taken */
static atomic_bool over;
static atomic_uint right_count, taken_count;

static void right(void *value)
{
    (void)value;
    atomic_fetch_add(&right_count, 1);
}

static void wrong(void *value)
{
    (void)value;
    fprintf(stderr, "keys: a destructor got a value that was set under another key\n");
    exit(1);
}

/* Deletes the task's key while it ends, and makes others, at the same place as often as not. */
static void *churn(void *unused)
{
    gring_key key, theirs;

    while (!atomic_load(&over)) {
        theirs = atomic_exchange(&offered, 0);
        if (theirs && gring_key_delete(theirs) == 0)
            atomic_fetch_add(&taken_count, 1);
        if (gring_key_create(&key, wrong, 0) == 0)
            gring_key_delete(key);
    }
    return unused;
}

static void *end_with_a_value(void *value)
{
    gring_key key;

    if (gring_key_create(&key, right, 0) < 0 || gring_key_set(key, value) < 0 ||
        gring_key_get(key) != value)
        return gring_fail(EIO);
    atomic_store(&offered, key);
    return (void *)(uintptr_t)key;
}

static void *end_many(void *value)
{
    for (int count = 0; count < TASKS || atomic_load(&taken_count) < TAKEN_MIN; count++) {
        void *key;

        if (gring_join(gring_spawn(end_with_a_value, value), &key) != 0)
            return gring_fail(EIO);
        if (atomic_exchange(&offered, 0)) /* nobody else wanted it */
            gring_key_delete((gring_key)(uintptr_t)key);
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[CHURNERS];
    int outcome;

    for (int index = 0; index < CHURNERS; index++)
        pthread_create(&threads[index], NULL, churn, NULL);
    outcome = gring_run(end_many, &over, NULL);
    atomic_store(&over, true);
    for (int index = 0; index < CHURNERS; index++)
        pthread_join(threads[index], NULL);
    if (outcome != 0 || atomic_load(&right_count) == 0) {
        fprintf(stderr, "keys: outcome %d, %u destructors\n", outcome, atomic_load(&right_count));
        return 1;
    }
    printf("%u destructors, %u keys deleted under them\n", atomic_load(&right_count),
           atomic_load(&taken_count));
    return 0;
}
