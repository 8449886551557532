/* Locks that end with nobody to unlock them, and objects that leave while somebody waits. */
#include "tests/support/dies.h"

#include <greenring/co.h>
#include <string.h>

#define STILL_LOCKED "with a mutex or rwlock locked"
#define MOVED "copied or moved while somebody waits"

static gring_mutex mutex;
static gring_rwlock rwlock;
static gring_cond condition;
static gring_event event;
static gring_chan *chan;

static void settle(void)
{
    gring_idle();
}

/* ---- ending with a lock ---------------------------------------------------------------------- */

static void *return_with_a_mutex(void *unused)
{
    gring_mutex_lock(&mutex);
    return unused;
}

GreenDies(lock, of_a_task_that_returns, SIGABRT, STILL_LOCKED)
{
    gring_join(gring_spawn(return_with_a_mutex, NULL), NULL);
}

static void *exit_with_a_mutex(void *unused)
{
    gring_mutex_lock(&mutex);
    gring_exit(unused);
}

GreenDies(lock, of_a_task_that_exits, SIGABRT, STILL_LOCKED)
{
    gring_join(gring_spawn(exit_with_a_mutex, NULL), NULL);
}

static void *return_reading(void *unused)
{
    gring_rwlock_rdlock(&rwlock);
    return unused;
}

GreenDies(lock, to_read_of_a_task_that_returns, SIGABRT, STILL_LOCKED)
{
    gring_join(gring_spawn(return_reading, NULL), NULL);
}

static void *return_writing(void *unused)
{
    gring_rwlock_wrlock(&rwlock);
    return unused;
}

GreenDies(lock, to_write_of_a_task_that_returns, SIGABRT, STILL_LOCKED)
{
    gring_join(gring_spawn(return_writing, NULL), NULL);
}

GreenDies(lock, of_the_main_task, SIGABRT, STILL_LOCKED)
{
    gring_mutex_lock(&mutex);
}

static void *lock_in_a_coroutine(void *unused)
{
    gring_mutex_lock(&mutex);
    return unused;
}

static void *run_the_coroutine(void *unused)
{
    gring_co_switch(gring_co_new(lock_in_a_coroutine, NULL, 0), NULL, NULL);
    return unused;
}

GreenDies(lock, of_a_coroutine_of_a_task_that_returns, SIGABRT, STILL_LOCKED)
{
    gring_join(gring_spawn(run_the_coroutine, NULL), NULL);
}

/* ---- moving ---------------------------------------------------------------------------------- */

static void *wait_for_the_mutex(void *unused)
{
    gring_mutex_lock(&mutex);
    return unused;
}

GreenDies(moved, mutex, SIGABRT, MOVED)
{
    gring_mutex copy;

    gring_mutex_lock(&mutex);
    gring_spawn_n(wait_for_the_mutex, NULL);
    settle();
    memcpy(&copy, &mutex, sizeof copy);
    gring_mutex_unlock(&copy);
}

static void *wait_for_the_condition(void *unused)
{
    gring_cond_wait(&condition, NULL);
    return unused;
}

GreenDies(moved, condition, SIGABRT, MOVED)
{
    gring_cond copy;

    gring_spawn_n(wait_for_the_condition, NULL);
    settle();
    memcpy(&copy, &condition, sizeof copy);
    gring_cond_signal(&copy);
}

static void *wait_for_the_event(void *unused)
{
    gring_event_wait(&event, NULL);
    return unused;
}

GreenDies(moved, event, SIGABRT, MOVED)
{
    gring_event copy;

    gring_spawn_n(wait_for_the_event, NULL);
    settle();
    memcpy(&copy, &event, sizeof copy);
    gring_event_send(&copy, NULL);
}

/* ---- freeing --------------------------------------------------------------------------------- */

static void *receive(void *unused)
{
    gring_chan_recv(chan, NULL);
    return unused;
}

GreenDies(freed, channel_with_a_receiver, SIGABRT, "but somebody waits at the channel")
{
    chan = gring_chan_new(0, 0, 0);
    gring_spawn_n(receive, NULL);
    settle();
    gring_chan_free(chan);
}
