/* The census, with a count of threads that the test makes; single behaviours of deadlocks seen from
 * outside are in tests/api/hub.c. */
#include "base/sys.h"
#include "tests/support/child.h"

#include <criterion/criterion.h>
#include <greenring/greenring.h>
#include <pthread.h>

int __wrap_sys_foreign_thread_count(int ours);

static gring_task *main_task;

static void *unpark(void *task)
{
    gring_unpark(task, NULL);
    return NULL;
}

/* The last other thread leaves mail and ends while it is looked for. */
int __wrap_sys_foreign_thread_count(int ours)
{
    static bool done;
    pthread_t thread;

    (void)ours;
    if (!done) {
        done = true;
        CHILD_MUST(pthread_create(&thread, NULL, unpark, main_task) == 0);
        CHILD_MUST(pthread_join(thread, NULL) == 0);
    }
    return 0;
}

static void *park(void *unused)
{
    main_task = gring_self();
    return gring_park(NULL) == 0 ? unused : gring_fail(errno);
}

Test(census, mail_of_a_thread_that_ended_meanwhile_is_no_deadlock)
{
    cr_assert_eq(gring_run(park, NULL, NULL), 0);
}
