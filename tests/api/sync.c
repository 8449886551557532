/*
 * What greenring/sync.h promises of all objects, tried on each, hub-local and shared: order,
 * interruption, destruction, misuse. What is one object's own is in the file of its name.
 */
#include "tests/support/child.h"
#include "tests/support/faketime.h"
#include "tests/support/logged.h"
#include "tests/support/meet.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

/* ---- one of each ----------------------------------------------------------------------------- */

static struct {
    gring_event event;
    gring_sem semaphore;
    gring_mutex mutex;
    gring_rwlock lock;
    gring_cond condition;
    gring_wg group;
} objects;

static int event_init(unsigned flags)
{
    return gring_event_init(&objects.event, flags);
}

static int event_wait(void *unused)
{
    (void)unused;
    return gring_event_wait(&objects.event, NULL);
}

static int event_let(void)
{
    return gring_event_send(&objects.event, NULL);
}

static int event_destroy(void)
{
    return gring_event_destroy(&objects.event);
}

static int semaphore_init(unsigned flags)
{
    return gring_sem_init(&objects.semaphore, 0, 0, flags);
}

static int semaphore_wait(void *unused)
{
    (void)unused;
    return gring_sem_acquire(&objects.semaphore);
}

static int semaphore_let(void)
{
    return gring_sem_release(&objects.semaphore);
}

static int semaphore_destroy(void)
{
    return gring_sem_destroy(&objects.semaphore);
}

static int mutex_init(unsigned flags)
{
    return gring_mutex_init(&objects.mutex, flags);
}

static int mutex_hold(void)
{
    return gring_mutex_lock(&objects.mutex);
}

static int mutex_wait(void *unused)
{
    (void)unused;
    return gring_mutex_lock(&objects.mutex);
}

static int mutex_unlock(void *unused)
{
    (void)unused;
    return gring_mutex_unlock(&objects.mutex);
}

static int mutex_let(void)
{
    return gring_mutex_unlock(&objects.mutex);
}

static int mutex_destroy(void)
{
    return gring_mutex_destroy(&objects.mutex);
}

static int lock_init(unsigned flags)
{
    return gring_rwlock_init(&objects.lock, flags);
}

static int lock_hold(void)
{
    return gring_rwlock_wrlock(&objects.lock);
}

static int lock_hold_to_read(void)
{
    return gring_rwlock_rdlock(&objects.lock);
}

static int lock_wait_to_read(void *unused)
{
    (void)unused;
    return gring_rwlock_rdlock(&objects.lock);
}

static int lock_wait_to_write(void *unused)
{
    (void)unused;
    return gring_rwlock_wrlock(&objects.lock);
}

static int lock_unlock(void *unused)
{
    (void)unused;
    return gring_rwlock_unlock(&objects.lock);
}

static int lock_let(void)
{
    return gring_rwlock_unlock(&objects.lock);
}

static int lock_destroy(void)
{
    return gring_rwlock_destroy(&objects.lock);
}

static int condition_init(unsigned flags)
{
    return gring_mutex_init(&objects.mutex, flags) || gring_cond_init(&objects.condition, flags)
               ? -1
               : 0;
}

static int condition_wait(void *unused)
{
    int result;

    (void)unused;
    cr_assert_eq(gring_mutex_lock(&objects.mutex), 0);
    result = gring_cond_wait(&objects.condition, &objects.mutex);
    cr_assert_eq(gring_mutex_unlock(&objects.mutex), 0, "held on return, also on -1");
    return result;
}

static int condition_let(void)
{
    return gring_cond_signal(&objects.condition);
}

static int condition_destroy(void)
{
    return gring_cond_destroy(&objects.condition);
}

static int group_init(unsigned flags)
{
    return gring_wg_init(&objects.group, flags);
}

static int group_hold(void)
{
    return gring_wg_add(&objects.group, 1);
}

static int group_wait(void *unused)
{
    (void)unused;
    return gring_wg_wait(&objects.group);
}

static int group_let(void)
{
    return gring_wg_done(&objects.group);
}

static int group_destroy(void)
{
    return gring_wg_destroy(&objects.group);
}

static const struct kind {
    const char *name; /* as the census says it */
    int (*init)(unsigned flags);
    int (*hold)(void); /* makes it one at which to wait; or NULL */
    int (*wait)(void *unused);
    int (*undo)(void *unused); /* by who waited and has it; or NULL */
    int (*let)(void);          /* the first waiter, or all */
    int (*destroy)(void);
    bool is_park; /* nothing interrupts the wait */
    bool is_held; /* hold makes the caller its holder */
} kinds[] = {
    { "an event", event_init, NULL, event_wait, NULL, event_let, event_destroy, false, false },
    { "a semaphore", semaphore_init, NULL, semaphore_wait, NULL, semaphore_let, semaphore_destroy,
      false, false },
    { "a mutex", mutex_init, mutex_hold, mutex_wait, mutex_unlock, mutex_let, mutex_destroy, true,
      true },
    { "a read lock", lock_init, lock_hold, lock_wait_to_read, lock_unlock, lock_let, lock_destroy,
      true, true },
    { "a write lock", lock_init, lock_hold_to_read, lock_wait_to_write, lock_unlock, lock_let,
      lock_destroy, true, true },
    { "a condition", condition_init, NULL, condition_wait, NULL, condition_let, condition_destroy,
      false, false },
    { "a wait group", group_init, group_hold, group_wait, NULL, group_let, group_destroy, false,
      false },
};

enum { KINDS = sizeof kinds / sizeof kinds[0] };

static void hold(const struct kind *kind)
{
    if (kind->hold)
        cr_assert_eq(kind->hold(), 0, "%s", kind->name);
}

static void prepare(const struct kind *kind, unsigned flags)
{
    cr_assert_eq(kind->init(flags), 0, "%s", kind->name);
    hold(kind);
}

static struct meeting waiter_of(const struct kind *kind)
{
    return (struct meeting){ .call = kind->wait, .undo = kind->undo };
}

/* Tries something on every object, of both sorts. */
static void with_each(void (*try)(const struct kind *kind))
{
    for (unsigned flags = 0; flags <= GRING_SHARED; flags += GRING_SHARED)
        for (int index = 0; index < KINDS; index++) {
            prepare(&kinds[index], flags);
            try(&kinds[index]);
            cr_assert_eq(kinds[index].destroy(), 0, "%s: nothing is left", kinds[index].name);
        }
}

static void with_each_interruptible(void (*try)(const struct kind *kind))
{
    for (unsigned flags = 0; flags <= GRING_SHARED; flags += GRING_SHARED)
        for (int index = 0; index < KINDS; index++)
            if (!kinds[index].is_park) {
                prepare(&kinds[index], flags);
                try(&kinds[index]);
            }
}

/* ---- beginning ------------------------------------------------------------------------------- */

Test(sync, unknown_flags_are_refused)
{
    for (int index = 0; index < KINDS; index++) {
        cr_assert_eq(kinds[index].init(GRING_SHARED << 1), -1, "%s", kinds[index].name);
        cr_assert_eq(errno, EINVAL);
    }
}

FakeTimeTest(sync, zero_bytes_are_ready)
{
    for (int index = 0; index < KINDS; index++) {
        struct meeting waiter = waiter_of(&kinds[index]);

        memset(&objects, 0, sizeof objects);
        hold(&kinds[index]);
        meet(&waiter);
        cr_assert_not(is_back(&waiter), "%s", kinds[index].name);
        kinds[index].let();
        cr_assert_eq(part(&waiter), 0, "%s", kinds[index].name);
    }
}

/* ---- order ----------------------------------------------------------------------------------- */

static void in_order(const struct kind *kind)
{
    struct meeting waiters[4];

    for (int index = 0; index < 4; index++) {
        waiters[index] = waiter_of(kind);
        meet(&waiters[index]);
        cr_assert_not(is_back(&waiters[index]), "%s", kind->name);
    }
    meeting_places = 0;
    for (int index = 0; index < 4; index++) {
        if (index == 0 || (!is_back(&waiters[index]) && !kind->is_held))
            cr_assert_eq(kind->let(), 0);
        cr_assert(is_back(&waiters[index]), "%s: waiter %d", kind->name, index);
        cr_assert_eq(waiters[index].place, index + 1, "%s", kind->name);
        cr_assert_eq(part(&waiters[index]), 0);
    }
}

FakeTimeTest(sync, waiters_are_served_first_come_first_served)
{
    with_each(in_order);
}

/* ---- interruption ---------------------------------------------------------------------------- */

static void interrupted_by(const struct kind *kind, int (*interrupt)(gring_task *task), int error)
{
    struct meeting waiters[3];

    for (int index = 0; index < 3; index++) {
        waiters[index] = waiter_of(kind);
        meet(&waiters[index]);
    }
    for (int index = 0; index < 2; index++) {
        cr_assert_eq(interrupt(waiters[index].task), 0);
        cr_assert(is_back(&waiters[index]), "%s", kind->name);
        cr_assert_eq(part(&waiters[index]), error, "%s", kind->name);
    }
    cr_assert_not(is_back(&waiters[2]), "%s: the others wait on", kind->name);
    cr_assert_eq(kind->let(), 0);
    cr_assert_eq(part(&waiters[2]), 0, "%s: nothing was taken along", kind->name);
    cr_assert_eq(kind->destroy(), 0);
}

static int throw_at(gring_task *task)
{
    return gring_throw(task, EDOM);
}

static void killed(const struct kind *kind)
{
    interrupted_by(kind, gring_kill, ECANCELED);
}

static void thrown_at(const struct kind *kind)
{
    interrupted_by(kind, throw_at, EDOM);
}

FakeTimeTest(sync, a_killed_waiter_leaves_and_takes_nothing_with_it)
{
    with_each_interruptible(killed);
}

FakeTimeTest(sync, a_waiter_that_was_thrown_at_gets_that_error)
{
    with_each_interruptible(thrown_at);
}

static const struct kind *timed_kind;

static int wait_a_second(void *unused)
{
    return gring_within(GRING_SEC, timed_kind->wait(unused));
}

static void timed_out(const struct kind *kind)
{
    struct meeting waiter = { .call = wait_a_second };

    timed_kind = kind;
    meet(&waiter);
    cr_assert_eq(gring_test_advance(GRING_SEC - GRING_MS), 0);
    cr_assert_not(is_back(&waiter), "%s", kind->name);
    meet_advance(GRING_MS);
    cr_assert_eq(part(&waiter), ETIMEDOUT, "%s", kind->name);
    cr_assert_eq(kind->destroy(), 0, "%s", kind->name);
}

FakeTimeTest(sync, a_deadline_ends_the_wait_in_time)
{
    with_each_interruptible(timed_out);
}

static void served_then_killed(const struct kind *kind)
{
    struct meeting waiter = waiter_of(kind);

    meet(&waiter);
    cr_assert_eq(kind->let(), 0);
    cr_assert_eq(gring_kill(waiter.task), 0); /* it is ready, and has not run yet */
    cr_assert_eq(part(&waiter), 0, "%s", kind->name);
}

FakeTimeTest(sync, who_was_served_before_the_kill_succeeds)
{
    with_each(served_then_killed);
}

static void pending_at_the_call(const struct kind *kind)
{
    kind->let(); /* even if there is no need to wait */
    gring_throw(gring_self(), EDOM);
    cr_assert_eq(kind->wait(NULL), -1, "%s", kind->name);
    cr_assert_eq(errno, EDOM, "%s", kind->name);
}

FakeTimeTest(sync, a_pending_interruption_fails_a_wait_that_need_not_wait)
{
    with_each_interruptible(pending_at_the_call);
}

static int call_kind_then_yield(void *kind)
{
    int result = ((const struct kind *)kind)->wait(NULL);

    cr_assert_eq(gring_yield(), -1);
    cr_assert_eq(errno, ECANCELED);
    ((const struct kind *)kind)->undo(NULL);
    return result;
}

static void not_interrupted(const struct kind *kind)
{
    struct meeting waiter = { .call = call_kind_then_yield, .object = (void *)(uintptr_t)kind };

    if (!kind->is_park) {
        kind->let();
        return;
    }
    meet(&waiter);
    gring_kill(waiter.task);
    cr_assert_not(is_back(&waiter), "%s", kind->name);
    cr_assert_eq(kind->let(), 0);
    cr_assert_eq(part(&waiter), 0, "%s", kind->name);
}

FakeTimeTest(sync, nothing_interrupts_who_waits_for_a_lock)
{
    with_each(not_interrupted);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void destroyed_too_early(const struct kind *kind)
{
    struct meeting waiter = waiter_of(kind);

    if (kind->is_held) {
        cr_assert_eq(kind->destroy(), -1, "%s: held", kind->name);
        cr_assert_eq(errno, EBUSY);
    }
    meet(&waiter);
    cr_assert_eq(kind->destroy(), -1, "%s", kind->name);
    cr_assert_eq(errno, EBUSY);
    kind->let();
    cr_assert_eq(part(&waiter), 0, "%s: it was not touched", kind->name);
}

FakeTimeTest(sync, destroying_what_is_waited_at_or_held_is_refused)
{
    with_each(destroyed_too_early);
}

static gring_sem copied_semaphore;
static gring_event copied_event;

static void *wait_once(void *kind)
{
    ((const struct kind *)kind)->wait(NULL);
    return NULL;
}

static void *use_a_copy_of_a_semaphore(void *unused)
{
    semaphore_init(0);
    gring_spawn_n(wait_once, (void *)(uintptr_t)&kinds[1]);
    gring_yield();
    copied_semaphore = objects.semaphore;
    gring_sem_release(&copied_semaphore);
    return unused;
}

static void *use_a_copy_of_an_event(void *unused)
{
    event_init(0);
    gring_spawn_n(wait_once, (void *)(uintptr_t)&kinds[0]);
    gring_yield();
    copied_event = objects.event;
    gring_event_send(&copied_event, NULL);
    return unused;
}

static void run_with_a_copied_semaphore(void)
{
    gring_run(use_a_copy_of_a_semaphore, NULL, NULL);
}

static void run_with_a_copied_event(void)
{
    gring_run(use_a_copy_of_an_event, NULL, NULL);
}

Test(sync, a_copy_of_what_somebody_waits_at_is_caught)
{
    child_must_abort(run_with_a_copied_semaphore, "copied or moved while somebody waits at it");
    child_must_abort(run_with_a_copied_event, "copied or moved while somebody waits at it");
}

/* ---- errno ----------------------------------------------------------------------------------- */

static void leaves_errno(const struct kind *kind)
{
    struct meeting waiter = waiter_of(kind);

    meet(&waiter);
    errno = EXDEV;
    cr_assert_eq(kind->let(), 0);
    cr_assert_eq(errno, EXDEV, "%s: let", kind->name);
    meet_settle();
    if (kind->undo) {
        part(&waiter);
        errno = EXDEV;
        cr_assert_eq(kind->wait(NULL), 0);
        cr_assert_eq(errno, EXDEV, "%s: wait", kind->name);
        cr_assert_eq(kind->undo(NULL), 0);
        cr_assert_eq(errno, EXDEV, "%s: undo", kind->name);
    } else {
        part(&waiter);
    }
    errno = EXDEV;
    cr_assert_eq(kind->destroy(), 0);
    cr_assert_eq(errno, EXDEV, "%s: destroy", kind->name);
}

FakeTimeTest(sync, success_leaves_errno_alone)
{
    with_each(leaves_errno);
}

static const struct kind *errno_kind;

static int wait_and_look_at_errno(void *unused)
{
    int result = errno_kind->wait(unused);

    cr_assert_eq(errno, EIO, "%s", errno_kind->name); /* set before the call, in meet.h */
    return result;
}

static void wait_leaves_errno(const struct kind *kind)
{
    struct meeting waiter = { .call = wait_and_look_at_errno, .undo = kind->undo };

    errno_kind = kind;
    meet(&waiter);
    errno = EXDEV;
    kind->let();
    cr_assert_eq(part(&waiter), 0);
}

FakeTimeTest(sync, a_wait_that_succeeds_leaves_errno_alone)
{
    with_each(wait_leaves_errno);
}

/* ---- whose it is ----------------------------------------------------------------------------- */

static void *run_on_a_thread(void *call)
{
    int (*fn)(void) = *(int (**)(void))call;

    return (void *)(intptr_t)(fn() < 0 ? errno : 0);
}

/* What the call says on a plain thread, while the hub stands still: 0 or the errno. */
static int on_a_thread(int (*call)(void))
{
    pthread_t thread;
    void *result;

    cr_assert_eq(pthread_create(&thread, NULL, run_on_a_thread, &call), 0);
    cr_assert_eq(pthread_join(thread, &result), 0);
    return (int)(intptr_t)result;
}

static const struct kind *thread_kind;

static int wait_on_a_thread(void)
{
    return thread_kind->wait(NULL);
}

FakeTimeTest(sync, a_plain_thread_gets_eperm_while_a_task_waits_at_a_hub_local_object)
{
    for (int index = 0; index < KINDS; index++) {
        const struct kind *kind = thread_kind = &kinds[index];
        struct meeting waiter = waiter_of(kind);

        prepare(kind, 0);
        meet(&waiter);
        cr_assert_eq(on_a_thread(kind->let), EPERM, "%s", kind->name);
        cr_assert_eq(on_a_thread(kind->destroy), EPERM, "%s", kind->name);
        if (kind->wait != condition_wait) /* its mutex is not the point */
            cr_assert_eq(on_a_thread(wait_on_a_thread), EPERM, "%s", kind->name);
        cr_assert_not(is_back(&waiter), "%s", kind->name);
        kind->let();
        cr_assert_eq(part(&waiter), 0, "%s: nothing was changed", kind->name);
    }
}

FakeTimeTest(sync, a_plain_thread_gets_eperm_for_a_hub_local_lock_that_is_held)
{
    for (int index = 0; index < KINDS; index++) {
        const struct kind *kind = thread_kind = &kinds[index];

        if (!kind->is_held)
            continue;
        prepare(kind, 0);
        cr_assert_eq(on_a_thread(wait_on_a_thread), EPERM, "%s", kind->name);
        cr_assert_eq(on_a_thread(kind->let), EPERM, "%s", kind->name);
        cr_assert_eq(on_a_thread(kind->destroy), EPERM, "%s", kind->name);
        cr_assert_eq(kind->let(), 0);
        cr_assert_eq(on_a_thread(kind->destroy), 0, "%s: idle, it is anybody's", kind->name);
    }
}

Test(sync, a_plain_thread_cannot_wait_at_a_hub_local_object)
{
    static const int waiting[] = { 0, 1, 6 }; /* who need nobody that holds */

    for (int index = 0; index < 3; index++) {
        prepare(&kinds[waiting[index]], 0);
        cr_assert_eq(kinds[waiting[index]].wait(NULL), -1, "%s", kinds[waiting[index]].name);
        cr_assert_eq(errno, EPERM);
    }
}

static void *wait_and_be_let(void *kind)
{
    struct meeting waiter = waiter_of((const struct kind *)kind);

    hold((const struct kind *)kind);
    meet(&waiter);
    ((const struct kind *)kind)->let();
    cr_assert_eq(part(&waiter), 0, "%s", ((const struct kind *)kind)->name);
    return NULL;
}

/* Uses what needs no waiting, as a plain thread may. */
static void use_plainly(const struct kind *kind)
{
    hold(kind);
    cr_assert_eq(kind->let(), 0, "%s", kind->name);
    if (kind->undo) {
        cr_assert_eq(kind->wait(NULL), 0, "%s", kind->name);
        cr_assert_eq(kind->undo(NULL), 0, "%s", kind->name);
    } else if (kind->wait != condition_wait) {
        cr_assert_eq(kind->wait(NULL), 0, "%s", kind->name);
    }
    if (kind->wait == event_wait)
        cr_assert_eq(gring_event_reset(&objects.event), 0);
}

Test(sync, an_idle_object_is_used_before_a_run_in_it_after_it_and_in_the_next)
{
    for (unsigned flags = 0; flags <= GRING_SHARED; flags += GRING_SHARED)
        for (int index = 0; index < KINDS; index++) {
            const struct kind *kind = &kinds[index];

            cr_assert_eq(kind->init(flags), 0);
            for (int run = 0; run < 2; run++) {
                use_plainly(kind);
                cr_assert_eq(gring_run(wait_and_be_let, (void *)(uintptr_t)kind, NULL), 0);
                if (kind->wait == event_wait)
                    cr_assert_eq(gring_event_reset(&objects.event), 0);
            }
            use_plainly(kind);
            cr_assert_eq(kind->destroy(), 0, "%s", kind->name);
        }
}

/* ---- callbacks on the hub's loop ------------------------------------------------------------- */

static const struct kind *callback_kind;
static int callback_result;

static void let_in_a_callback(void *unused)
{
    (void)unused;
    callback_result = callback_kind->let() < 0 ? errno : 0;
}

static void let_by_a_timer(const struct kind *kind)
{
    struct meeting waiter = waiter_of(kind);
    gring_timer timer = { 0 };

    callback_kind = kind;
    meet(&waiter);
    cr_assert_eq(gring_timer_start(&timer, GRING_SEC, let_in_a_callback, NULL), 0);
    meet_advance(GRING_SEC);
    if (kind->is_held) {
        cr_assert_eq(callback_result, EPERM, "%s: a callback holds nothing", kind->name);
        kind->let();
    } else {
        cr_assert_eq(callback_result, 0, "%s", kind->name);
    }
    cr_assert_eq(part(&waiter), 0, "%s", kind->name);
}

FakeTimeTest(sync, callbacks_may_call_what_never_waits)
{
    with_each(let_by_a_timer);
}

static void *end(void *result)
{
    return result;
}

static void let_in_a_link(gring_task *task, void *unused)
{
    (void)task;
    let_in_a_callback(unused);
}

FakeTimeTest(sync, a_link_may_send_an_event)
{
    struct meeting waiter = { .call = event_wait };
    gring_task *task = gring_spawn(end, NULL);

    callback_kind = &kinds[0];
    cr_assert_eq(event_init(0), 0);
    gring_link(task, let_in_a_link, NULL);
    meet(&waiter);
    cr_assert_eq(part(&waiter), 0);
    gring_drop(task);
}

static void wait_in_a_callback(void *unused)
{
    (void)unused;
    callback_kind->wait(NULL);
}

static void *wait_on_the_loop(void *unused)
{
    gring_timer timer = { 0 };

    (void)unused;
    if (callback_kind->hold)
        callback_kind->hold();
    gring_timer_start(&timer, 0, wait_in_a_callback, NULL);
    gring_sleep(GRING_SEC);
    return NULL;
}

static void run_wait_on_the_loop(void)
{
    gring_run(wait_on_the_loop, NULL, NULL);
}

Test(sync, a_callback_that_waits_is_caught)
{
    for (int index = 0; index < KINDS; index++) {
        callback_kind = &kinds[index];
        cr_assert_eq(kinds[index].init(0), 0);
        child_must_abort(run_wait_on_the_loop, "a waiting call was made in a callback");
    }
}

/* ---- the census ------------------------------------------------------------------------------ */

static const struct kind *census_kind;

static void *wait_for_ever(void *unused)
{
    census_kind->wait(unused);
    return NULL;
}

static void *join_who_waits_for_ever(void *unused)
{
    gring_task *task = gring_spawn(wait_for_ever, NULL);

    (void)unused;
    hold(census_kind);
    CHILD_MUST(gring_wait(task, NULL) == -1 && errno == EDEADLK);
    if (census_kind->is_held)
        census_kind->let();
    else
        gring_kill(task);
    if (census_kind->undo)
        _exit(0); /* nobody undoes it: that is another test */
    gring_join(task, NULL);
    return NULL;
}

static void deadlock(void)
{
    char said[64];

    logged_start();
    CHILD_MUST(gring_run(join_who_waits_for_ever, NULL, NULL) == 0);
    snprintf(said, sizeof said, "waits in %s", census_kind->name);
    CHILD_MUST(logged_with(said) == 1);
}

static void *keep_from_ending(void *unused)
{
    char said[64];
    gring_task *task = gring_spawn(wait_for_ever, NULL);

    hold(census_kind);
    CHILD_MUST(gring_wait(task, NULL) == -1 && errno == EDEADLK);
    snprintf(said, sizeof said, "waits in %s", census_kind->name);
    CHILD_MUST(logged_with(said) == 1);
    _exit(0);
    return unused;
}

static void deadlock_of_a_lock(void)
{
    logged_start();
    gring_run(keep_from_ending, NULL, NULL);
}

Test(sync, a_deadlock_names_what_a_task_waits_in)
{
    for (int index = 0; index < KINDS; index++) {
        census_kind = &kinds[index];
        cr_assert_eq(kinds[index].init(0), 0);
        child_must_pass(census_kind->is_park ? deadlock_of_a_lock : deadlock);
    }
}

static void *lock_what_a_sleeper_holds(void *unused)
{
    gring_mutex_lock(&objects.mutex);
    (void)unused;
    return NULL;
}

static void *hold_for_ever(void *unused)
{
    gring_mutex_lock(&objects.mutex);
    gring_park(NULL);
    return unused;
}

static void *main_waits_for_a_mutex(void *unused)
{
    gring_spawn_n(hold_for_ever, NULL);
    gring_yield();
    return lock_what_a_sleeper_holds(unused);
}

static void main_deadlocks_in_a_lock(void)
{
    gring_run(main_waits_for_a_mutex, NULL, NULL);
}

Test(sync, a_main_task_that_can_never_have_its_lock_is_aborted_with_the_names)
{
    struct child child;

    cr_assert_eq(mutex_init(0), 0);
    child = child_run(main_deadlocks_in_a_lock);
    cr_assert(child_died_of(&child, SIGABRT));
    cr_assert(strstr(child.errors, "the main task waits in a mutex"), "%s", child.errors);
}

/* ---- tasks and threads ----------------------------------------------------------------------- */

static void *thread_waits(void *kind)
{
    int result = ((const struct kind *)kind)->wait(NULL);

    if (((const struct kind *)kind)->undo)
        ((const struct kind *)kind)->undo(NULL);
    return (void *)(intptr_t)(result < 0 ? errno : 0);
}

/* A condition's word is lost if it comes too early: it is said until it was heard. */
static atomic_bool thread_is_back;

static void *thread_waits_and_tells(void *kind)
{
    void *result = thread_waits(kind);

    atomic_store(&thread_is_back, true);
    return result;
}

FakeTimeTest(sync, a_task_lets_a_waiting_thread_through)
{
    for (int index = 0; index < KINDS; index++) {
        const struct kind *kind = &kinds[index];
        pthread_t thread;
        void *result;

        atomic_store(&thread_is_back, false);
        prepare(kind, GRING_SHARED);
        cr_assert_eq(pthread_create(&thread, NULL, thread_waits_and_tells, (void *)(uintptr_t)kind),
                     0);
        cr_assert_eq(kind->let(), 0, "%s", kind->name);
        while (kind->wait == condition_wait && !atomic_load(&thread_is_back)) {
            sched_yield();
            kind->let();
        }
        cr_assert_eq(pthread_join(thread, &result), 0);
        cr_assert_eq((int)(intptr_t)result, 0, "%s", kind->name);
        cr_assert_eq(kind->destroy(), 0);
    }
}

static void *thread_lets(void *kind)
{
    ((const struct kind *)kind)->let();
    return NULL;
}

static void let_by_a_thread(const struct kind *kind, struct meeting *waiter)
{
    pthread_t thread;

    prepare(kind, GRING_SHARED);
    meet(waiter);
    cr_assert_eq(pthread_create(&thread, NULL, thread_lets, (void *)(uintptr_t)kind), 0);
    cr_assert_eq(part(waiter), 0, "%s", kind->name);
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

FakeTimeTest(sync, a_thread_lets_a_waiting_task_through)
{
    for (int index = 0; index < KINDS; index++) {
        struct meeting waiter = waiter_of(&kinds[index]);

        if (!kinds[index].is_held) /* a thread cannot give back what a task holds */
            let_by_a_thread(&kinds[index], &waiter);
    }
}

FakeTimeTest(sync, a_thread_lets_a_task_through_that_has_a_deadline)
{
    for (int index = 0; index < KINDS; index++) {
        struct meeting waiter = { .call = wait_a_second };

        timed_kind = &kinds[index];
        if (!kinds[index].is_held)
            let_by_a_thread(&kinds[index], &waiter);
    }
}

FakeTimeTest(sync, a_thread_cannot_unlock_what_a_task_holds)
{
    for (int index = 0; index < KINDS; index++) {
        const struct kind *kind = &kinds[index];

        if (!kind->is_held || kind->wait == lock_wait_to_write) /* readers are only counted */
            continue;
        prepare(kind, GRING_SHARED);
        cr_assert_eq(on_a_thread(kind->let), EPERM, "%s", kind->name);
        cr_assert_eq(kind->let(), 0);
    }
}
