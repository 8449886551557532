/* Reader-writer locks; what all sync objects have in common is in sync.c. */
#include "tests/support/child.h"
#include "tests/support/faketime.h"
#include "tests/support/green.h"
#include "tests/support/meet.h"

static gring_rwlock lock;

static int read_lock(void *unused)
{
    (void)unused;
    return gring_rwlock_rdlock(&lock);
}

static int write_lock(void *unused)
{
    (void)unused;
    return gring_rwlock_wrlock(&lock);
}

static int unlock(void *unused)
{
    (void)unused;
    return gring_rwlock_unlock(&lock);
}

static const struct meeting reader = { .call = read_lock, .undo = unlock };
static const struct meeting writer = { .call = write_lock, .undo = unlock };

GreenTest(rwlock, readers_read_together_and_a_writer_writes_alone)
{
    struct meeting readers[2] = { reader, reader }, writers[2] = { writer, writer };

    meet(&readers[0]);
    meet(&readers[1]);
    cr_assert(is_back(&readers[1]));
    meet(&writers[0]);
    cr_assert_not(is_back(&writers[0]));
    part(&readers[0]);
    cr_assert_not(is_back(&writers[0]), "one reader is left");
    part(&readers[1]);
    cr_assert(is_back(&writers[0]));
    meet(&writers[1]);
    meet(&readers[0]);
    cr_assert_not(is_back(&writers[1]));
    cr_assert_not(is_back(&readers[0]));
    part(&writers[0]);
    part(&writers[1]);
    part(&readers[0]);
}

GreenTest(rwlock, a_waiting_writer_holds_back_readers_that_come_later)
{
    struct meeting readers[2] = { reader, reader }, waiting = writer;

    meet(&readers[0]);
    meet(&waiting);
    meet(&readers[1]);
    cr_assert_not(is_back(&readers[1]));
    part(&readers[0]);
    cr_assert(is_back(&waiting));
    cr_assert_not(is_back(&readers[1]));
    part(&waiting);
    cr_assert(is_back(&readers[1]));
    part(&readers[1]);
}

GreenTest(rwlock, readers_and_writers_are_served_in_order_and_readers_in_batches)
{
    struct meeting waiting[] = { reader, reader, writer, reader, reader, reader, writer };
    enum { COUNT = sizeof waiting / sizeof waiting[0] };
    static const int batch_of[COUNT] = { 0, 0, 1, 2, 2, 2, 3 };

    cr_assert_eq(gring_rwlock_wrlock(&lock), 0);
    for (int index = 0; index < COUNT; index++)
        meet(&waiting[index]);
    gring_rwlock_unlock(&lock);
    for (int batch = 0; batch < 4; batch++) {
        for (int index = 0; index < COUNT; index++)
            cr_assert_eq(is_back(&waiting[index]), batch_of[index] <= batch, "batch %d, waiter %d",
                         batch, index);
        for (int index = 0; index < COUNT; index++)
            if (batch_of[index] == batch)
                part(&waiting[index]);
    }
    for (int index = 0; index < COUNT; index++)
        cr_assert_eq(waiting[index].place, index + 1);
}

GreenTest(rwlock, what_was_given_on_belongs_to_the_batch_before_it_runs)
{
    struct meeting readers[2] = { reader, reader }, late = writer;

    cr_assert_eq(gring_rwlock_wrlock(&lock), 0);
    meet(&readers[0]);
    meet(&readers[1]);
    gring_rwlock_unlock(&lock);
    meet(&late);
    cr_assert(is_back(&readers[0]) && is_back(&readers[1]));
    cr_assert_not(is_back(&late));
    part(&readers[0]);
    part(&readers[1]);
    part(&late);
}

GreenTest(rwlock, its_writer_cannot_have_it_twice)
{
    cr_assert_eq(gring_rwlock_wrlock(&lock), 0);
    cr_assert_eq(gring_rwlock_wrlock(&lock), -1);
    cr_assert_eq(errno, EDEADLK);
    cr_assert_eq(gring_rwlock_rdlock(&lock), -1);
    cr_assert_eq(errno, EDEADLK);
    cr_assert_eq(gring_rwlock_unlock(&lock), 0);
}

GreenTest(rwlock, a_reader_may_have_it_twice_while_no_writer_waits)
{
    cr_assert_eq(gring_rwlock_rdlock(&lock), 0);
    cr_assert_eq(gring_rwlock_rdlock(&lock), 0);
    cr_assert_eq(gring_rwlock_unlock(&lock), 0);
    cr_assert_eq(gring_rwlock_destroy(&lock), -1);
    cr_assert_eq(errno, EBUSY);
    cr_assert_eq(gring_rwlock_unlock(&lock), 0);
    cr_assert_eq(gring_rwlock_unlock(&lock), -1);
    cr_assert_eq(errno, EPERM);
}

GreenTest(rwlock, is_not_unlocked_by_others)
{
    struct meeting other = { .call = unlock }, holder = reader;

    cr_assert_eq(gring_rwlock_wrlock(&lock), 0);
    meet(&other);
    cr_assert_eq(part(&other), EPERM, "held to write by another");
    gring_rwlock_unlock(&lock);
    meet(&other);
    cr_assert_eq(part(&other), EPERM, "not held");
    meet(&holder);
    meet(&other);
    cr_assert_eq(part(&other), EPERM, "it holds no lock at all");
    part(&holder);
}

/* Ten readers overlap, so that the lock is never free of them; writers get through all the same. */
static int reads, writes;

static void *read_all_the_time(void *unused)
{
    for (; gring_now() < GRING_SEC; reads++) {
        gring_rwlock_rdlock(&lock);
        gring_sleep(5 * GRING_MS);
        gring_rwlock_unlock(&lock);
    }
    return unused;
}

static void *write_sometimes(void *unused)
{
    for (; writes < 20; writes++) {
        gring_sleep(GRING_MS);
        gring_rwlock_wrlock(&lock);
        gring_rwlock_unlock(&lock);
    }
    return unused;
}

FakeTimeTest(rwlock, a_writer_is_not_starved)
{
    gring_task *tasks[11];

    for (int index = 0; index < 10; index++) {
        tasks[index] = gring_spawn(read_all_the_time, NULL);
        meet_advance(GRING_MS);
    }
    tasks[10] = gring_spawn(write_sometimes, NULL);
    meet_advance(GRING_SEC / 2);
    cr_assert_eq(writes, 20);
    cr_assert_gt(reads, 100);
    meet_advance(GRING_SEC);
    cr_assert_eq(gring_waitall(tasks, 11), 0);
}

static void *end_as_a_reader(void *result)
{
    gring_rwlock_rdlock(&lock);
    return result;
}

static void run_end_as_a_reader(void)
{
    gring_run(end_as_a_reader, NULL, NULL);
}

Test(rwlock, a_task_that_ends_as_its_reader_is_caught)
{
    child_must_abort(run_end_as_a_reader, "a task ended with a mutex or rwlock locked");
}
