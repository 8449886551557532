/* Per class a queue under a lock, and the threads that empty it; see offload.h. */
#include "runtime/offload.h"

#include "base/check.h"
#include "runtime/hub.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

enum { THREAD_STACK_BYTES = 512 * 1024 }; /* resolvers and NSS modules want far more than 64 KiB */

struct class
{
    const char *thread_name;
    int thread_limit;
    pthread_mutex_t lock;
    pthread_cond_t work; /* a job, or stopping */
    pthread_cond_t gone; /* a thread has ended */
    struct list queue;
    size_t queue_length;
    int thread_count, idle_count;
    int orphan_count; /* threads busy with an abandoned job */
    bool stopping;
};

#define CLASS(index, name, limit)                                                                  \
    [index] = { .thread_name = name,                                                               \
                .thread_limit = limit,                                                             \
                .lock = PTHREAD_MUTEX_INITIALIZER,                                                 \
                .work = PTHREAD_COND_INITIALIZER,                                                  \
                .gone = PTHREAD_COND_INITIALIZER,                                                  \
                .queue = { &classes[index].queue, &classes[index].queue } }

static struct class classes[OFFLOAD_CLASS_COUNT] = {
    CLASS(OFFLOAD_NAMES, "gring-names", 8),
    /* one waiting FIFO each: more than that would wait for each other */
    CLASS(OFFLOAD_FILES, "gring-files", 64),
    CLASS(OFFLOAD_CALLS, "gring-calls", 16),
};

static void class_forget(struct class *class)
{
    *class =
        (struct class){ .thread_name = class->thread_name, .thread_limit = class->thread_limit };
    pthread_mutex_init(&class->lock, NULL);
    pthread_cond_init(&class->work, NULL);
    pthread_cond_init(&class->gone, NULL);
    list_init(&class->queue);
}

void offload_forget(void)
{
    for (int index = 0; index < OFFLOAD_CLASS_COUNT; index++)
        class_forget(&classes[index]);
}

/* ---- on the threads -------------------------------------------------------------------------- */

/* NULL: the thread is to end. */
static struct offload_job *wait_for_job(struct class *class)
{
    struct list *link;

    class->idle_count++;
    while (!(link = list_pop_front(&class->queue)) && !class->stopping)
        pthread_cond_wait(&class->work, &class->lock);
    class->idle_count--;
    if (!link)
        return NULL;
    class->queue_length--;
    return CONTAINER_OF(link, struct offload_job, link);
}

/* With the lock held, which makes "finished" and "abandoned" exclude each other. */
static void hand_back(struct class *class, struct offload_job *job)
{
    if (job->abandoned) {
        class->orphan_count--;
        job->discard(job);
        return;
    }
    job->finished = true;
    mailbox_post(&job->hub->mailbox, &job->mail); /* the job is the hub's from here */
}

static void *thread_main(void *arg)
{
    struct class *class = arg;
    struct offload_job *job;

    pthread_setname_np(pthread_self(), class->thread_name);
    pthread_mutex_lock(&class->lock);
    while ((job = wait_for_job(class))) {
        pthread_mutex_unlock(&class->lock);
        job->run(job);
        pthread_mutex_lock(&class->lock);
        hand_back(class, job);
    }
    class->thread_count--;
    pthread_cond_broadcast(&class->gone);
    pthread_mutex_unlock(&class->lock);
    return NULL;
}

/* Detached, and with all signals blocked: those are for the program's own threads. */
static int make_thread(struct class *class)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    pthread_t thread;
    int error;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&thread, &attributes, thread_main, class);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (error == 0)
        class->thread_count++;
    return -error;
}

/* ---- on the hub ------------------------------------------------------------------------------ */

static void deliver_done(struct mail *mail)
{
    struct offload_job *job = CONTAINER_OF(mail, struct offload_job, mail);

    job->hub->offload_count--;
    if (job->abandoned)
        job->discard(job);
    else
        job->on_done(job);
}

static bool ensure_thread(struct class *class)
{
    if ((size_t) class->idle_count <= class->queue_length &&
        class->thread_count < class->thread_limit)
        (void)make_thread(class);
    return class->thread_count > 0;
}

int offload_start(struct gring_hub *hub, struct offload_job *job, enum offload_class class_index)
{
    struct class *class = &classes[class_index];
    bool has_thread;

    job->hub = hub;
    job->class_index = class_index;
    job->abandoned = job->finished = false;
    job->mail.deliver = deliver_done;
    pthread_mutex_lock(&class->lock);
    has_thread = ensure_thread(class);
    if (has_thread) {
        list_push_back(&class->queue, &job->link);
        class->queue_length++;
        hub->offload_count++;
        pthread_cond_signal(&class->work);
    }
    pthread_mutex_unlock(&class->lock);
    return has_thread ? 0 : -EAGAIN;
}

bool offload_take_back(struct offload_job *job)
{
    struct class *class = &classes[job->class_index];
    bool was_queued;

    pthread_mutex_lock(&class->lock);
    was_queued = list_linked(&job->link);
    if (was_queued) {
        list_unlink(&job->link);
        class->queue_length--;
        job->hub->offload_count--;
    }
    pthread_mutex_unlock(&class->lock);
    return was_queued;
}

/* Queued: taken back. Running: its thread will discard it. Finished: its mail is under way, and
 * discards it. */
void offload_abandon(struct offload_job *job)
{
    struct class *class = &classes[job->class_index];

    if (offload_take_back(job)) {
        job->discard(job);
        return;
    }
    pthread_mutex_lock(&class->lock);
    if (!job->finished) {
        class->orphan_count++;
        job->hub->offload_count--;
    }
    job->abandoned = true;
    pthread_mutex_unlock(&class->lock);
}

int offload_thread_count(void)
{
    int count = 0;

    for (int index = 0; index < OFFLOAD_CLASS_COUNT; index++) {
        pthread_mutex_lock(&classes[index].lock);
        count += classes[index].thread_count;
        pthread_mutex_unlock(&classes[index].lock);
    }
    return count;
}

static void stop_class(struct class *class)
{
    pthread_mutex_lock(&class->lock);
    CHECK(list_empty(&class->queue));
    class->stopping = true;
    pthread_cond_broadcast(&class->work);
    while (class->thread_count > class->orphan_count)
        pthread_cond_wait(&class->gone, &class->lock);
    class->stopping = false; /* who is still busy serves the next run, or idles */
    pthread_mutex_unlock(&class->lock);
}

void offload_stop(void)
{
    for (int index = 0; index < OFFLOAD_CLASS_COUNT; index++)
        stop_class(&classes[index]);
}
