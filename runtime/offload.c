/* A queue under a lock and the threads that empty it; see offload.h. */
#include "runtime/offload.h"

#include "base/check.h"
#include "runtime/hub.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

enum { THREADS_MAX = 8, THREAD_STACK_BYTES = 512 * 1024 }; /* resolvers and NSS modules want far more than 64 KiB */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct list queue;
    pthread_t threads[THREADS_MAX];
    int thread_count, idle_count;
    bool stopping, initialised;
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER };

static void deliver_done(struct mail *mail)
{
    struct offload_job *job = CONTAINER_OF(mail, struct offload_job, mail);

    job->hub->offload_count--;
    job->on_done(job);
}

/* NULL: the pool is stopping. */
static struct offload_job *wait_for_job(void)
{
    struct list *link;

    pthread_mutex_lock(&pool.lock);
    pool.idle_count++;
    while (!(link = list_pop_front(&pool.queue)) && !pool.stopping)
        pthread_cond_wait(&pool.work, &pool.lock);
    pool.idle_count--;
    pthread_mutex_unlock(&pool.lock);
    return link ? CONTAINER_OF(link, struct offload_job, link) : NULL;
}

static void *thread_main(void *arg)
{
    struct offload_job *job;

    (void)arg;
    pthread_setname_np(pthread_self(), "gring-names");
    while ((job = wait_for_job())) {
        struct mailbox *mailbox = &job->hub->mailbox;

        job->run(job);
        mailbox_post(mailbox, &job->mail); /* the job is the hub's from here */
    }
    return NULL;
}

/* With all signals blocked: they are for the program's own threads. */
static int make_thread(void)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    int error;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&pool.threads[pool.thread_count], &attributes, thread_main, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (error == 0)
        pool.thread_count++;
    return -error;
}

static size_t queue_length(void)
{
    size_t length = 0;

    for (struct list *link = pool.queue.next; link != &pool.queue; link = link->next)
        length++;
    return length;
}

static int ensure_thread(void)
{
    int error = 0;

    if (!pool.initialised) {
        list_init(&pool.queue);
        pool.initialised = true;
    }
    if ((size_t)pool.idle_count <= queue_length() && pool.thread_count < THREADS_MAX)
        error = make_thread();
    return pool.thread_count > 0 ? 0 : error;
}

int offload_start(struct gring_hub *hub, struct offload_job *job)
{
    int error;

    job->hub = hub;
    job->mail.deliver = deliver_done;
    pthread_mutex_lock(&pool.lock);
    error = ensure_thread();
    if (error == 0) {
        list_push_back(&pool.queue, &job->link);
        hub->offload_count++;
        pthread_cond_signal(&pool.work);
    }
    pthread_mutex_unlock(&pool.lock);
    return error == 0 ? 0 : -EAGAIN;
}

bool offload_cancel(struct offload_job *job)
{
    bool queued;

    pthread_mutex_lock(&pool.lock);
    queued = list_linked(&job->link);
    if (queued)
        list_unlink(&job->link);
    pthread_mutex_unlock(&pool.lock);
    if (queued)
        job->hub->offload_count--;
    return queued;
}

int offload_thread_count(void)
{
    int count;

    pthread_mutex_lock(&pool.lock);
    count = pool.thread_count;
    pthread_mutex_unlock(&pool.lock);
    return count;
}

void offload_stop(void)
{
    pthread_mutex_lock(&pool.lock);
    CHECK(!pool.initialised || list_empty(&pool.queue));
    pool.stopping = true;
    pthread_cond_broadcast(&pool.work);
    pthread_mutex_unlock(&pool.lock);
    for (int index = 0; index < pool.thread_count; index++)
        pthread_join(pool.threads[index], NULL);
    pool.thread_count = 0;
    pool.stopping = false;
}
