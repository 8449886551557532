/* A thread-specific value whose destructor must not run; see thread_end.h. */
#include "runtime/thread_end.h"

#include "base/check.h"
#include "runtime/hub.h"

#include <pthread.h>

static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool has_key;

/* The child of a fork may end as it likes: its hub is gone. */
static void thread_ends(void *unused)
{
    (void)unused;
    CHECK_SAY(!hub_self(),
              "a hub's thread ends while its run goes on: end a task by returning or gring_exit, "
              "never by pthread_exit or pthread_cancel; end a run by gring_fini");
}

static void make_key(void)
{
    has_key = pthread_key_create(&key, thread_ends) == 0;
}

void thread_end_watch(void)
{
    pthread_once(&key_once, make_key);
    if (has_key)
        (void)pthread_setspecific(key, &key); /* ENOMEM: not watched; any value but NULL */
}

void thread_end_unwatch(void)
{
    if (has_key)
        pthread_setspecific(key, NULL);
}
