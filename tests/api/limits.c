/* How many, how deep, and what happens at the limit: spawning fails, nothing else does. */
#include "tests/support/child.h"
#include "tests/support/logged.h"

#include <fcntl.h>
#include <greenring/co.h>
#include <greenring/greenring.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

static void *park(void *unused)
{
    (void)unused;
    gring_park(NULL);
    return NULL;
}

static void *nothing(void *arg)
{
    return arg;
}

static uint64_t live_count(void)
{
    gring_stats stats = { .size = sizeof stats };

    cr_assert_eq(gring_stats_get(&stats), 0);
    return stats.tasks;
}

/* The number behind a word at the beginning of a line of a file, or `otherwise`. */
static size_t number_in(const char *path, const char *word, size_t otherwise)
{
    FILE *file = fopen(path, "re");
    size_t number = otherwise;
    char line[256];

    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, word, strlen(word)) && sscanf(line + strlen(word), "%zu", &number) == 1)
            break;
    if (file)
        fclose(file);
    return number;
}

static size_t resident_kib(void)
{
    return number_in("/proc/self/status", "VmRSS:", 0);
}

/* ---- a million ---- */

enum { MILLION = 1000 * 1000, UNDER_ASAN_COUNT = 20 * 1000, BYTES_PER_TASK = 5600 };

/*
 * As many as fit into two thirds of what is free: a page, a record and an eighth of a page table
 * each.
 */
static size_t affordable_count(void)
{
    size_t free_kib = number_in("/proc/meminfo", "MemAvailable:", 1 << 20);
    size_t cgroup_kib = number_in("/sys/fs/cgroup/memory.max", "", SIZE_MAX) / 1024;
    size_t count;

    if (cgroup_kib < free_kib)
        free_kib = cgroup_kib;
    count = free_kib / 3 * 2 * 1024 / BYTES_PER_TASK;
    if (UNDER_ASAN && count > UNDER_ASAN_COUNT)
        return UNDER_ASAN_COUNT;
    return count > MILLION ? MILLION : count;
}

static size_t started_count, ended_count;

static void *park_and_count(void *unused)
{
    (void)unused;
    started_count++;
    if (gring_park(NULL) == 0)
        ended_count++;
    return NULL;
}

static gring_task **tasks;
static size_t task_count;

static void *hold_them_all(void *unused)
{
    (void)unused;
    for (size_t index = 0; index < task_count; index++) {
        tasks[index] = gring_spawn(park_and_count, NULL);
        if (!tasks[index] && errno == EAGAIN &&
            index > 10000) /* guards by mapping: a kernel before 6.13 */
            task_count = index;
        else
            cr_assert(tasks[index], "task %zu: %m", index);
    }
    cr_assert_eq(gring_idle(), 0);
    cr_assert_eq(started_count, task_count);
    cr_assert_eq(live_count(), task_count + 1);
    for (size_t index = 0; index < task_count; index += 1 + task_count / 1000)
        cr_assert_eq(gring_task_state(tasks[index]), GRING_PARKED);
    for (size_t index = 0; index < task_count; index++)
        if (gring_unpark(tasks[index], NULL) < 0)
            cr_assert_fail("unpark of task %zu: %m", index);
    for (size_t index = 0; index < task_count; index++)
        if (gring_join(tasks[index], NULL) != 0)
            cr_assert_fail("join of task %zu: %m", index);
    cr_assert_eq(ended_count, task_count);
    cr_assert_eq(live_count(), 1);
    return NULL;
}

Test(limits, a_million_parked_tasks_fit_under_the_default_number_of_mappings, .timeout = 110)
{
    size_t before;

    task_count = affordable_count();
    tasks = calloc(task_count, sizeof(gring_task *));
    cr_assert(tasks);
    logged_start();
    before = resident_kib();
    cr_assert_eq(gring_run(hold_them_all, NULL, NULL), 0);
    fprintf(stderr, "limits: %zu tasks at once\n", task_count);
    if (!UNDER_ASAN)
        cr_assert_lt(resident_kib(), before + task_count * sizeof(gring_task *) / 1024 + 32 * 1024,
                     "their memory was not given back");
    free(tasks);
}

static void *leave_many_parked(void *unused)
{
    (void)unused;
    for (size_t index = 0; index < UNDER_ASAN_COUNT; index++)
        cr_assert_eq(gring_spawn_n(park_and_count, NULL), 0);
    cr_assert_eq(gring_idle(), 0);
    cr_assert_eq(started_count, UNDER_ASAN_COUNT);
    return NULL;
}

Test(limits, many_parked_tasks_are_ended_with_the_run)
{
    cr_assert_eq(gring_run(leave_many_parked, NULL, NULL), 0);
    cr_assert_eq(ended_count, 0);
}

static void *leave_stacks_to_cool(void *unused)
{
    size_t peak_kib;
    gring_task *many[4000];

    (void)unused;
    for (size_t index = 0; index < 4000; index++)
        many[index] = gring_spawn(park, NULL);
    gring_idle();
    peak_kib = resident_kib();
    for (size_t index = 0; index < 4000; index++) {
        gring_unpark(many[index], NULL);
        gring_join(many[index], NULL);
    }
    for (int round = 0; round < 1000;
         round++) /* the hub gives some back each time it has nothing to do */
        gring_sleep(10 * GRING_US);
    cr_assert_lt(resident_kib() + 4000 * 4 / 2, peak_kib);
    return NULL;
}

Test(limits, idle_stacks_are_given_back_to_the_kernel)
{
    if (UNDER_ASAN)
        cr_skip_test("its shadow memory hides the difference");
    cr_assert_eq(gring_run(leave_stacks_to_cool, NULL, NULL), 0);
}

enum { DIVERS = 100, DEPTH_KIB = 200 };

static void *dive_and_park(void *unused)
{
    volatile char deep[DEPTH_KIB * 1024];

    for (size_t byte = 0; byte < sizeof deep; byte += 1024)
        deep[byte] = 1;
    (void)unused;
    gring_park(NULL);
    return NULL;
}

/* Fewer than are kept warm: what they touched near their tops stays, and is used again. */
static void *leave_deep_stacks(void *unused)
{
    gring_task *divers[DIVERS];
    size_t peak_kib;

    (void)unused;
    for (int index = 0; index < DIVERS; index++)
        divers[index] = gring_spawn(dive_and_park, NULL);
    gring_idle();
    peak_kib = resident_kib();
    for (int index = 0; index < DIVERS; index++) {
        gring_unpark(divers[index], NULL);
        gring_join(divers[index], NULL);
    }
    for (int round = 0; round < 100; round++)
        gring_sleep(10 * GRING_US);
    cr_assert_lt(resident_kib() + (size_t)DIVERS * DEPTH_KIB / 2, peak_kib);
    return NULL;
}

Test(limits, what_a_deep_excursion_touched_is_given_back)
{
    if (UNDER_ASAN)
        cr_skip_test("its shadow has a memory of its own");
    cr_assert_eq(gring_run(leave_deep_stacks, NULL, NULL), 0);
}

/* ---- guards that are mappings ---- */

enum { SPARED = 100, DEFAULT_MAP_COUNT = 65530 };

static void *fill_the_map_count(void *unused)
{
    size_t count = 0;

    (void)unused;
    for (;; count++) {
        CHILD_MUST(count < DEFAULT_MAP_COUNT);
        errno = 0;
        tasks[count] = gring_spawn(park_and_count, NULL);
        if (!tasks[count])
            break;
    }
    CHILD_MUST(errno == EAGAIN);
    CHILD_MUST(count > 10000);
    CHILD_MUST(logged.count == 1 && logged_with("vm.max_map_count") == 1);
    errno = 0;
    CHILD_MUST(gring_spawn_n(nothing, NULL) == -1 && errno == EAGAIN);
    CHILD_MUST(logged.count == 1); /* said once */

    CHILD_MUST(gring_idle() == 0 && started_count == count); /* those that are there are unharmed */
    for (size_t index = 0; index < SPARED; index++)
        CHILD_MUST(gring_unpark(tasks[index], NULL) == 0 && gring_join(tasks[index], NULL) == 0);
    CHILD_MUST(ended_count == SPARED);
    for (size_t index = 0; index < SPARED; index++)
        CHILD_MUST(gring_spawn_n(park_and_count, NULL) ==
                   0); /* there is room again, exactly for so many */
    errno = 0;
    CHILD_MUST(gring_spawn_n(nothing, NULL) == -1 && errno == EAGAIN);
    CHILD_MUST(gring_idle() == 0 && started_count == count + SPARED);
    return NULL;
}

static void reach_the_map_count(void)
{
    setenv("GRING_WITHOUT", "guard_install", 1);
    tasks = calloc(DEFAULT_MAP_COUNT, sizeof(gring_task *));
    CHILD_MUST(tasks);
    logged_start();
    CHILD_MUST(gring_run(fill_the_map_count, NULL, NULL) == 0);
}

Test(limits, without_light_guards_a_spawn_fails_with_EAGAIN_before_max_map_count_is_reached)
{
    if (number_in("/proc/sys/vm/max_map_count", "", DEFAULT_MAP_COUNT) > DEFAULT_MAP_COUNT)
        cr_skip_test("vm.max_map_count is not the default");
    child_must_pass(reach_the_map_count);
}

/* ---- address space ---- */

static void leave_this_much_address_space(size_t kib)
{
    size_t used_kib = number_in("/proc/self/status", "VmSize:", 0);
    struct rlimit limit = { .rlim_cur = (used_kib + kib) * 1024,
                            .rlim_max = (used_kib + kib) * 1024 };

    CHILD_MUST(used_kib > 0 && setrlimit(RLIMIT_AS, &limit) == 0);
}

enum { PIECE_BYTES = 64 << 10, PIECES_MAX = 10000 };

/* A directory is read by a thread, which needs a stack. */
static void without_room_for_a_thread(void)
{
    static char *pieces[PIECES_MAX];
    int count = 0, folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char entries[4096];

    while (count < PIECES_MAX) {
        pieces[count] =
            mmap(NULL, PIECE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (pieces[count] == MAP_FAILED)
            break;
        count++;
    }
    errno = 0;
    CHILD_MUST(gring_getdents64(folder, entries, sizeof entries) == -1 && errno == EAGAIN);
    while (count > 0)
        munmap(pieces[--count], PIECE_BYTES);
    CHILD_MUST(gring_close(folder) == 0); /* nothing is in flight on it */
}

static void yield_nothing(gring_gen *gen, void *unused)
{
    (void)gen, (void)unused;
}

static void *fill_the_address_space(void *unused)
{
    size_t count = 0;
    static gring_task *spawned[100000];

    (void)unused;
    for (;; count++) {
        CHILD_MUST(count < 100000);
        errno = 0;
        spawned[count] = gring_spawn(park_and_count, NULL);
        if (!spawned[count])
            break;
    }
    CHILD_MUST(errno == ENOMEM || errno == EAGAIN);
    CHILD_MUST(count > 100);
    CHILD_MUST(logged_with("RLIMIT_AS") >= 1);
    for (int round = 0; round < 10; round++)
        CHILD_MUST(gring_spawn_n(nothing, NULL) == -1);
    CHILD_MUST(!gring_co_new(nothing, NULL, 0) && errno == ENOMEM);
    CHILD_MUST(!gring_gen_new(yield_nothing, NULL) && errno == ENOMEM);
    without_room_for_a_thread();
    CHILD_MUST(logged.count == 1); /* said once */
    CHILD_MUST(gring_idle() == 0 && started_count == count);
    for (size_t index = 0; index < count / 2; index++)
        CHILD_MUST(gring_unpark(spawned[index], NULL) == 0 &&
                   gring_join(spawned[index], NULL) == 0);
    CHILD_MUST(ended_count == count / 2);
    for (size_t index = 0; index < count / 2; index++)
        CHILD_MUST(gring_join(gring_spawn(nothing, NULL), NULL) == 0);
    return NULL;
}

static void run_in_100_MiB(void)
{
    logged_start();
    leave_this_much_address_space(100 << 10);
    CHILD_MUST(gring_run(fill_the_address_space, NULL, NULL) == 0);
}

Test(limits, without_address_space_a_spawn_fails_and_says_so_once)
{
    if (UNDER_ASAN)
        cr_skip_test("its shadow memory needs address space");
    child_must_pass(run_in_100_MiB);
}

static void run_in_this_much(size_t kib)
{
    int outcome;

    logged_start();
    leave_this_much_address_space(kib);
    errno = 0;
    outcome = gring_run(nothing, NULL, NULL);
    CHILD_MUST(outcome == 0 || (outcome == -1 && (errno == ENOMEM || errno == EAGAIN)));
}

static size_t little_kib;

static void run_in_little(void)
{
    run_in_this_much(little_kib);
}

Test(limits, a_run_in_too_little_address_space_fails_with_ENOMEM)
{
    if (UNDER_ASAN)
        cr_skip_test("its shadow memory needs address space");
    for (little_kib = 0; little_kib <= 8192; little_kib = little_kib * 2 + 64)
        child_must_pass(run_in_little);
}

/* ---- stack overflow ---- */

static __attribute__((noinline)) size_t grow_stack(size_t depth)
{
    volatile char frame[512];

    frame[0] = (char)depth;
    frame[sizeof frame - 1] = frame[0];
    if (depth == SIZE_MAX)
        return 0;
    return grow_stack(depth + 1) + (size_t)frame[0];
}

static void *overflow(void *unused)
{
    (void)unused;
    return (void *)grow_stack(0);
}

enum { OVERFLOWING_KIB = 64 };

static void *spawn_one_that_overflows(void *unused)
{
    gring_spawn_opts opts = { .size = sizeof opts,
                              .name = "recursive",
                              .stack_size = OVERFLOWING_KIB << 10 };

    (void)unused;
    gring_join(gring_spawn_with(&opts, overflow, NULL), NULL);
    return NULL;
}

static void overflow_a_stack(void)
{
    gring_run(spawn_one_that_overflows, NULL, NULL);
}

Test(overflow, names_the_task_and_its_stack_size_and_dies_of_SIGSEGV)
{
    struct child child;
    const char *size;
    size_t kib = 0;

    if (UNDER_ASAN)
        cr_skip_test("it owns SIGSEGV");
    child = child_run(overflow_a_stack);
    cr_assert(child_died_of(&child, SIGSEGV), "status %#x: %s", (unsigned)child.status,
              child.errors);
    cr_assert(strstr(child.errors, "stack overflow in task"), "%s", child.errors);
    cr_assert(strstr(child.errors, "recursive"), "%s", child.errors);
    size = strstr(child.errors, "used up its ");
    cr_assert(size && sscanf(size, "used up its %zu KiB", &kib) == 1, "%s", child.errors);
    cr_assert(kib >= OVERFLOWING_KIB && kib <= 4 * OVERFLOWING_KIB, "%zu KiB", kib);
    cr_assert_eq(strchr(child.errors, '\n')[1], 0, "one line: %s", child.errors);
}

static void overflow_here(void *unused)
{
    (void)unused;
    grow_stack(0);
}

static void *post_an_overflow(void *unused)
{
    (void)unused;
    gring_post(NULL, overflow_here, NULL);
    gring_sleep(GRING_SEC);
    return NULL;
}

static void overflow_in_a_callback(void)
{
    gring_run(post_an_overflow, NULL, NULL);
}

Test(overflow, in_a_callback_is_said_to_be_there)
{
    struct child child;

    if (UNDER_ASAN)
        cr_skip_test("it owns SIGSEGV");
    child = child_run(overflow_in_a_callback);
    cr_assert(child_died_of(&child, SIGSEGV), "status %#x: %s", (unsigned)child.status,
              child.errors);
    cr_assert(strstr(child.errors, "callback"), "%s", child.errors);
}

static void overflow_without_a_handler(void)
{
    gring_config config = { .size = sizeof config, .flags = GRING_RUN_NO_SIGSEGV };

    gring_run_with(&config, spawn_one_that_overflows, NULL, NULL);
}

Test(overflow, is_not_named_with_GRING_RUN_NO_SIGSEGV)
{
    struct child child;

    if (UNDER_ASAN)
        cr_skip_test("it owns SIGSEGV");
    child = child_run(overflow_without_a_handler);
    cr_assert(child_died_of(&child, SIGSEGV), "status %#x: %s", (unsigned)child.status,
              child.errors);
    cr_assert_str_eq(child.errors, "");
}

static volatile char *volatile wrong_address = (char *)8;

static void *write_through_null(void *unused)
{
    (void)unused;
    *wrong_address = 1;
    return NULL;
}

static void fault_elsewhere(void)
{
    gring_run(write_through_null, NULL, NULL);
}

Test(overflow, another_fault_is_not_called_an_overflow)
{
    struct child child;

    if (UNDER_ASAN)
        cr_skip_test("it owns SIGSEGV");
    child = child_run(fault_elsewhere);
    cr_assert(child_died_of(&child, SIGSEGV), "status %#x: %s", (unsigned)child.status,
              child.errors);
    cr_assert_str_eq(child.errors, "");
}

static void own_handler(int signal_number)
{
    (void)signal_number;
}

static bool handler_is(void (*handler)(int))
{
    struct sigaction now;

    return sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_handler == handler;
}

static void *look_for_own_handler(void *unused)
{
    (void)unused;
    CHILD_MUST(handler_is(own_handler));
    return NULL;
}

static void *look_for_another_handler(void *unused)
{
    (void)unused;
    CHILD_MUST(!handler_is(SIG_DFL));
    return NULL;
}

static void run_with_own_handler(void)
{
    gring_config config = { .size = sizeof config, .flags = GRING_RUN_NO_SIGSEGV };

    signal(SIGSEGV, SIG_DFL); /* Criterion has one of its own */
    CHILD_MUST(gring_run(look_for_another_handler, NULL, NULL) == 0);
    CHILD_MUST(handler_is(SIG_DFL));
    signal(SIGSEGV, own_handler);
    CHILD_MUST(gring_run(look_for_own_handler, NULL, NULL) == 0);
    CHILD_MUST(handler_is(own_handler));
    CHILD_MUST(gring_run_with(&config, look_for_own_handler, NULL, NULL) == 0);
    CHILD_MUST(handler_is(own_handler));
}

Test(overflow, the_handler_comes_only_where_there_is_none_and_goes_with_the_run)
{
    child_must_pass(run_with_own_handler);
}
