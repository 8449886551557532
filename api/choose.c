/*
 * One of many: several sources of one wait, of which one happens; see <greenring/chan.h>.
 *
 *   look    every object is entered, the shared ones in the order of their addresses; the first
 *           case that can proceed is performed, and that is all
 *   wait    else a waiter is left at each, while they are still entered: nobody can come between
 *           the look and the waiting. The waiters share one claim, so one is served at most
 *   tell    who was served; else a task that ended or a descriptor that became ready, which
 *           consume nothing and may have happened as well
 *
 * Descriptors are looked at by one poll(2) before the objects are entered.
 */
#include "api/io/readiness.h"
#include "api/result.h"
#include "api/sync/chan.h"
#include "api/sync/event.h"
#include "api/task/join.h"
#include "runtime/runtime.h"

#include <greenring/chan.h>
#include <stdlib.h>

enum { CHOICES_ON_STACK = 8 };

/* A case while it is waited for. */
struct choice {
    union {
        struct waiter waiter;
        struct join join;
        struct readiness ready;
    } in;
    struct source *source; /* in there; NULL: it is not waited for */
};

struct choose {
    gring_case *cases;
    int count;
    struct choice *choices;
    struct sync **syncs; /* those of the shared objects, each once, by address */
    int sync_count;
    bool has_local; /* some object is not shared */
    struct pollfd *descriptors;
    struct wait wait;
    struct claim claim;
    struct woken woken;
};

/* What a case of each kind means. */
struct kind {
    /* 0, or why it cannot be waited for */
    int (*check)(const gring_case *c);
    /* its object, entered; NULL: it has none to enter */
    struct sync *(*sync)(const gring_case *c);
    bool (*is_held)(const gring_case *c);
    /* what the plain call would return, or -EAGAIN */
    int (*attempt)(gring_case *c, struct woken *woken);
    void (*enlist)(struct choose *choose, gring_case *c, struct choice *choice);
    /* the same result, after it was served or was the reason to wake */
    int (*collect)(gring_case *c, struct choice *choice);
};

static void enlist_waiter(struct choose *choose, struct choice *choice, struct sync *sync,
                          struct waiters *queue, void *data)
{
    choice->in.waiter.claim = &choose->claim;
    choice->in.waiter.data = data;
    choice->source = &choice->in.waiter.source;
    waiter_enlist(&choice->in.waiter, sync, queue, hub_self() ? &choose->wait : NULL);
}

/* ---- channels -------------------------------------------------------------------------------- */

static int check_chan(const gring_case *c)
{
    return c->u.chan ? 0 : -EINVAL;
}

static struct sync *chan_sync(const gring_case *c)
{
    return &c->u.chan->sync;
}

static bool chan_is_held(const gring_case *c)
{
    return chan_has_senders(c->u.chan);
}

static int attempt_receive(gring_case *c, struct woken *woken)
{
    return chan_try_receive(c->u.chan, c->ptr, woken);
}

static int attempt_send(gring_case *c, struct woken *woken)
{
    return chan_try_send(c->u.chan, c->ptr, woken);
}

static void enlist_receive(struct choose *choose, gring_case *c, struct choice *choice)
{
    enlist_waiter(choose, choice, &c->u.chan->sync, &c->u.chan->sync.waiters, c->ptr);
}

static void enlist_send(struct choose *choose, gring_case *c, struct choice *choice)
{
    enlist_waiter(choose, choice, &c->u.chan->sync, &c->u.chan->senders, c->ptr);
}

static int collect_transfer(gring_case *c, struct choice *choice)
{
    (void)c;
    return choice->in.waiter.result;
}

/* ---- events ---------------------------------------------------------------------------------- */

static void store_value(const gring_case *c, void *value)
{
    if (c->ptr)
        *(void **)c->ptr = value;
}

static int check_event(const gring_case *c)
{
    return c->u.event ? 0 : -EINVAL;
}

static struct sync *event_sync(const gring_case *c)
{
    return &event_of(c->u.event)->sync;
}

static bool event_is_held(const gring_case *c)
{
    (void)c;
    return false;
}

static int attempt_event(gring_case *c, struct woken *woken)
{
    void *value;
    int result = event_look(event_of(c->u.event), &value);

    (void)woken;
    if (result >= 0)
        store_value(c, value);
    return result;
}

static void enlist_event(struct choose *choose, gring_case *c, struct choice *choice)
{
    struct sync *sync = event_sync(c);

    enlist_waiter(choose, choice, sync, &sync->waiters, NULL);
}

static int collect_event(gring_case *c, struct choice *choice)
{
    store_value(c, choice->in.waiter.data);
    return choice->in.waiter.result;
}

/* ---- tasks ----------------------------------------------------------------------------------- */

static struct sync *no_sync(const gring_case *c)
{
    (void)c;
    return NULL;
}

static int check_task(const gring_case *c)
{
    struct gring_hub *hub = hub_self();

    if (!c->u.task)
        return -EINVAL;
    if (!hub || c->u.task->hub != hub)
        return runtime_no_hub();
    return c->u.task == hub->running ? -EDEADLK : 0;
}

static int collect_task(gring_case *c, struct choice *choice)
{
    (void)choice;
    c->u.task->outcome_seen = true;
    return join_collect(c->u.task, c->ptr);
}

static int attempt_task(gring_case *c, struct woken *woken)
{
    (void)woken;
    return task_state(c->u.task) == TASK_DONE ? collect_task(c, NULL) : -EAGAIN;
}

static void enlist_task(struct choose *choose, gring_case *c, struct choice *choice)
{
    choice->source = &choice->in.join.source;
    join_enlist(&choose->wait, &choice->in.join, c->u.task);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static int check_descriptor(const gring_case *c)
{
    (void)c;
    return hub_self() ? 0 : runtime_no_hub();
}

/* What gring_wait_fd would return. */
static int descriptor_result(const gring_case *c)
{
    return c->revents & POLLNVAL ? -EBADF : c->revents;
}

/* By the poll(2) that has been made. */
static int attempt_descriptor(gring_case *c, struct woken *woken)
{
    (void)woken;
    return c->revents ? descriptor_result(c) : -EAGAIN;
}

static void enlist_descriptor(struct choose *choose, gring_case *c, struct choice *choice)
{
    choice->source = &choice->in.ready.waiting.source;
    readiness_enlist(&choose->wait, &choice->in.ready, c->u.fd, c->events);
}

static int collect_descriptor(gring_case *c, struct choice *choice)
{
    int answer = readiness_answer(&choice->in.ready);

    c->revents = (short)(answer > 0 ? answer : answer == -EBADF ? POLLNVAL : 0);
    return answer;
}

/* ---- the kinds ------------------------------------------------------------------------------- */

static const struct kind kinds[] = {
    [GRING_ON_RECV] = { check_chan, chan_sync, chan_is_held, attempt_receive, enlist_receive,
                        collect_transfer },
    [GRING_ON_SEND] = { check_chan, chan_sync, chan_is_held, attempt_send, enlist_send,
                        collect_transfer },
    [GRING_ON_EVENT] = { check_event, event_sync, event_is_held, attempt_event, enlist_event,
                         collect_event },
    [GRING_ON_TASK] = { check_task, no_sync, NULL, attempt_task, enlist_task, collect_task },
    [GRING_ON_FD] = { check_descriptor, no_sync, NULL, attempt_descriptor, enlist_descriptor,
                      collect_descriptor },
};

/* NULL: the case is switched off. */
static const struct kind *kind_of(const gring_case *c)
{
    return c->op == GRING_ON_NONE ? NULL : &kinds[c->op];
}

static int check_all(const struct choose *choose)
{
    for (int index = 0; index < choose->count; index++) {
        const gring_case *c = &choose->cases[index];
        int error = 0;

        if ((unsigned)c->op > GRING_ON_NONE)
            return -EINVAL;
        if (kind_of(c))
            error = kind_of(c)->check(c);
        if (error < 0)
            return error;
    }
    return 0;
}

/* ---- look ------------------------------------------------------------------------------------ */

static int look_at_descriptors(const struct choose *choose)
{
    nfds_t count = 0;
    int result;

    for (int index = 0; index < choose->count; index++) {
        const gring_case *c = &choose->cases[index];

        if (c->op == GRING_ON_FD)
            choose->descriptors[count++] = (struct pollfd){ .fd = c->u.fd, .events = c->events };
    }
    result = count ? readiness_now(choose->descriptors, count) : 0;
    count = 0;
    for (int index = 0; index < choose->count; index++)
        if (choose->cases[index].op == GRING_ON_FD)
            choose->cases[index].revents = choose->descriptors[count++].revents;
    return result < 0 ? result : 0;
}

static void add_sync(struct choose *choose, struct sync *sync)
{
    int place = choose->sync_count;

    while (place > 0 && (uintptr_t)choose->syncs[place - 1] > (uintptr_t)sync)
        place--;
    if (place > 0 && choose->syncs[place - 1] == sync)
        return;
    for (int index = choose->sync_count++; index > place; index--)
        choose->syncs[index] = choose->syncs[index - 1];
    choose->syncs[place] = sync;
}

static void leave_all(struct choose *choose)
{
    for (int index = 0; index < choose->sync_count; index++)
        sync_unlock(choose->syncs[index]);
}

/* Hub-local objects first, because only they can refuse; the shared ones in one order for all. */
static int enter_all(struct choose *choose)
{
    for (int index = 0; index < choose->count; index++) {
        const gring_case *c = &choose->cases[index];
        struct sync *sync = kind_of(c) ? kind_of(c)->sync(c) : NULL;
        int error = 0;

        if (sync && sync_is_shared(sync))
            add_sync(choose, sync);
        else if (sync)
            error = sync_enter(sync, kind_of(c)->is_held(c));
        if (error < 0)
            return error;
        choose->has_local |= sync && !sync_is_shared(sync);
    }
    for (int index = 0; index < choose->sync_count; index++)
        sync_lock(choose->syncs[index]);
    return 0;
}

static int perform_first(struct choose *choose)
{
    for (int index = 0; index < choose->count; index++) {
        gring_case *c = &choose->cases[index];
        int result = kind_of(c) ? kind_of(c)->attempt(c, &choose->woken) : -EAGAIN;

        if (result == -EAGAIN)
            continue;
        c->rc = result < 0 ? -1 : result;
        c->err = result < 0 ? -result : 0;
        return index;
    }
    return -EAGAIN;
}

/* The index of the case that was performed, or -errno. On -EAGAIN the objects are still
 * entered. */
static int look(struct choose *choose)
{
    int result = check_all(choose);

    if (result == 0)
        result = look_at_descriptors(choose);
    if (result == 0)
        result = enter_all(choose);
    if (result < 0)
        return result;
    result = perform_first(choose);
    if (result != -EAGAIN) {
        leave_all(choose);
        sync_wake(&choose->woken);
    }
    return result;
}

/* ---- wait ------------------------------------------------------------------------------------ */

static void enlist_all(struct choose *choose)
{
    claim_init(&choose->claim, choose->sync_count > 0);
    for (int index = 0; index < choose->count; index++) {
        gring_case *c = &choose->cases[index];

        choose->choices[index].source = NULL;
        if (kind_of(c))
            kind_of(c)->enlist(choose, c, &choose->choices[index]);
    }
}

/* The case of the waiter that was served, whatever else has happened; else that of the source
 * that was the first reason; or -1. */
static int find_winner(const struct choose *choose)
{
    struct waiter *served = claim_served(&choose->claim);
    const struct source *winner = served ? &served->source : choose->wait.winner;

    for (int index = 0; index < choose->count; index++)
        if (winner && choose->choices[index].source == winner)
            return index;
    return -1;
}

static int collect(struct choose *choose, int index)
{
    gring_case *c = &choose->cases[index];
    int result = kind_of(c)->collect(c, &choose->choices[index]);

    c->rc = result < 0 ? -1 : result;
    c->err = result < 0 ? -result : 0;
    return index;
}

static void withdraw_nothing(struct source *source)
{
    source_done(source);
}

static int wait_in_task(struct choose *choose)
{
    struct source nothing;
    int index;

    wait_prepare(&choose->wait, "choose", true);
    enlist_all(choose);
    if (!choose->wait.held_count)
        wait_hold(&choose->wait, &nothing, withdraw_nothing);
    leave_all(choose);
    wait_park(&choose->wait);
    index = find_winner(choose);
    return index < 0 ? wait_outcome(&choose->wait) : collect(choose, index);
}

static int wait_in_thread(struct choose *choose)
{
    choose->wait = (struct wait){ 0 };
    if (choose->has_local || !choose->sync_count) {
        leave_all(choose);
        return runtime_no_hub();
    }
    enlist_all(choose);
    leave_all(choose);
    claim_await(&choose->claim);
    for (int index = 0; index < choose->count; index++)
        if (choose->choices[index].source && !choose->choices[index].in.waiter.served)
            waiter_leave(&choose->choices[index].in.waiter);
    return collect(choose, find_winner(choose));
}

/* ---- the calls ------------------------------------------------------------------------------- */

static int look_or_wait(struct choose *choose, bool may_wait)
{
    int result = look(choose);

    if (result != -EAGAIN)
        return result;
    if (may_wait)
        return hub_self() ? wait_in_task(choose) : wait_in_thread(choose);
    leave_all(choose);
    return -EAGAIN;
}

static int choose_from_few(gring_case *cases, int count, bool may_wait)
{
    struct choice choices[CHOICES_ON_STACK];
    struct sync *syncs[CHOICES_ON_STACK];
    struct pollfd descriptors[CHOICES_ON_STACK];
    struct choose choose = { .cases = cases,
                             .count = count,
                             .choices = choices,
                             .syncs = syncs,
                             .descriptors = descriptors };

    woken_init(&choose.woken);
    return look_or_wait(&choose, may_wait);
}

static int choose_from_many(gring_case *cases, int count, bool may_wait)
{
    struct choose choose = { .cases = cases, .count = count };
    size_t number = (size_t)count;
    int result = -ENOMEM;

    choose.choices = malloc(number * sizeof *choose.choices);
    choose.syncs = malloc(number * sizeof(struct sync *));
    choose.descriptors = malloc(number * sizeof *choose.descriptors);
    woken_init(&choose.woken);
    if (choose.choices && choose.syncs && choose.descriptors)
        result = look_or_wait(&choose, may_wait);
    free(choose.choices);
    free(choose.syncs);
    free(choose.descriptors);
    return result;
}

static int choose_from(gring_case *cases, int count, bool may_wait)
{
    if (count < 0 || (count > 0 && !cases))
        return -EINVAL;
    return count <= CHOICES_ON_STACK ? choose_from_few(cases, count, may_wait)
                                     : choose_from_many(cases, count, may_wait);
}

int gring_choose(gring_case *cases, int count)
{
    int error = sync_may_wait();

    return (int)api_result(error < 0 ? error : choose_from(cases, count, true));
}

int gring_trychoose(gring_case *cases, int count)
{
    return (int)api_result(choose_from(cases, count, false));
}
