/*
 * The simulator's program.
 *
 *     sim --seed S [--workload NAME] [--trace] [--allocation N]
 *                                                  one run; prints the hash of its trace. The N-th
 *                                                  allocation fails, and nothing else
 *     sim --seeds N | --seconds T [--from S] [--workload NAME]
 *     sim --regressions FILE                       every line: WORKLOAD SEED WHY
 *     sim --allocations SEEDS                      each allocation of each short program fails in
 *                                                  turn, with so many seeds
 *     sim --list                                   the workloads
 *
 * tests/sim/run builds it and runs it with such arguments: tests/sim/run --seeds 100000
 *
 * Seeds run in processes of a few hundred each, so that a crash or a hang names its seed. Some run
 * twice: the traces must be the same. Exit status 0, or 1 after a sentence, the seed and the
 * command that replays it.
 */
#include "tests/sim/kernel.h"
#include "tests/sim/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BATCH_SEEDS = 200, HANG_SECONDS = 60, TWICE_EVERY = 16 };

/* What the batch's process tells its parent. */
static struct shared {
    uint64_t seed, allocation, done_count, event_count;
    uint64_t sometimes[SOMETIMES_COUNT];
} * shared;

static struct {
    uint64_t seed, from, seed_count, allocation, allocation_seeds;
    double seconds;
    const struct sim_workload *workload;
    const char *regressions;
    bool one_seed;
} options;

/* ---- running --------------------------------------------------------------------------------- */

static void run_twice(uint64_t seed, struct run_result first)
{
    struct run_result second = run_seed(seed, options.workload);

    if (second.hash != first.hash)
        sim_fail("not reproducible: traces of two runs have the hashes %016" PRIx64
                 " and %016" PRIx64,
                 first.hash, second.hash);
}

static void run_batch(uint64_t from, uint64_t count)
{
    run_warm_up();
    for (uint64_t seed = from; seed < from + count; seed++) {
        struct run_result result;

        shared->seed = seed;
        alarm(HANG_SECONDS);
        result = run_seed(seed, options.workload);
        if (seed % TWICE_EVERY == 0)
            run_twice(seed, result);
        shared->event_count += result.event_count;
        shared->done_count++;
    }
}

static bool report_end(int status)
{
    if (WIFEXITED(status))
        return WEXITSTATUS(status) == 0; /* it has said what is wrong */
    fprintf(stderr, "sim: seed %" PRIu64 " died of signal %d (%s)\n", shared->seed,
            WTERMSIG(status), strsignal(WTERMSIG(status)));
    fprintf(stderr, "sim: replay with  sim %s%s --seed %" PRIu64,
            options.workload ? "--workload " : "", options.workload ? options.workload->name : "",
            shared->seed);
    if (shared->allocation)
        fprintf(stderr, " --allocation %" PRIu64, shared->allocation);
    fprintf(stderr, " --trace\n");
    return false;
}

static bool fork_and(void (*run)(uint64_t from, uint64_t count), uint64_t from, uint64_t count)
{
    int status;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        run(from, count);
        fflush(NULL);
        _exit(0);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && report_end(status);
}

static bool fork_batch(uint64_t from, uint64_t count)
{
    return fork_and(run_batch, from, count);
}

static double real_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Not a failure: one workload, or few seeds, cannot do everything. */
static void say_what_never_happened(void)
{
    for (int what = 0; what < SOMETIMES_COUNT; what++)
        if (!shared->sometimes[what])
            printf("sim: never happened: %s\n", sometimes_names[what]);
}

static int run_many(void)
{
    double begin = real_seconds(), took;
    bool passed = true;

    printf("sim: seeds from %" PRIu64 "\n", options.from);
    while (passed && (options.seed_count ? shared->done_count < options.seed_count
                                         : real_seconds() - begin < options.seconds)) {
        uint64_t left = options.seed_count - shared->done_count;
        uint64_t count = options.seed_count && left < BATCH_SEEDS ? left : BATCH_SEEDS;

        passed = fork_batch(options.from + shared->done_count, count);
    }
    took = real_seconds() - begin;
    printf("sim: %" PRIu64 " seeds, %" PRIu64 " events, %.1f s, %.0f seeds/s\n", shared->done_count,
           shared->event_count, took, (double)shared->done_count / took);
    say_what_never_happened();
    return passed ? 0 : 1;
}

/* The first allocation fails, the second …, until there are no more. */
static void run_allocations(uint64_t from, uint64_t count)
{
    run_warm_up();
    for (uint64_t seed = from; seed < from + count; seed++) {
        shared->seed = seed;
        for (run_failing_allocation = 1;; run_failing_allocation++) {
            shared->allocation = run_failing_allocation;
            alarm(HANG_SECONDS);
            if (run_seed(seed, options.workload).refused_count == 0)
                break;
            shared->done_count++;
        }
    }
}

static int run_all_allocations(void)
{
    const struct sim_workload *only = options.workload;

    for (struct sim_workload *each = run_all_workloads(); each; each = each->next) {
        if (only ? each != only : !each->is_short)
            continue;
        options.workload = each;
        shared->done_count = 0;
        if (!fork_and(run_allocations, options.from, options.allocation_seeds))
            return 1;
        printf("sim: %s: %" PRIu64 " allocations failed\n", each->name, shared->done_count);
    }
    return 0;
}

static int run_one(uint64_t seed)
{
    struct run_result result;

    run_warm_up();
    run_failing_allocation = options.allocation;
    result = run_seed(seed, options.workload);
    printf("sim: seed %" PRIu64 ", workload %s: trace %016" PRIx64 ", %" PRIu64
           " events, %.6f s simulated\n",
           seed, result.workload, result.hash, result.event_count, (double)result.duration * 1e-9);
    return 0;
}

static int run_regressions(void)
{
    FILE *file = fopen(options.regressions, "r");
    char line[256], name[64];
    uint64_t seed;
    bool passed = true;

    if (!file) {
        perror(options.regressions);
        return 1;
    }
    while (passed && fgets(line, sizeof line, file)) {
        if (line[0] == '#' || sscanf(line, "%63s %" SCNu64, name, &seed) != 2)
            continue;
        options.workload = run_workload(name);
        passed = options.workload && fork_batch(seed, 1);
        if (!passed)
            fprintf(stderr, "sim: regression: %s", line);
    }
    fclose(file);
    return passed ? 0 : 1;
}

/* ---- options --------------------------------------------------------------------------------- */

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: sim --seed S | --seeds N | --seconds T | --regressions FILE |\n"
                    "           --allocations SEEDS | --list\n"
                    "           [--from S] [--workload NAME] [--trace] [--allocation N]\n");
    exit(2);
}

static const struct sim_workload *workload_or_usage(const char *name)
{
    struct sim_workload *workload = run_workload(name);

    if (!workload)
        usage();
    return workload;
}

static void read_option(const char *name, const char *value)
{
    if (!value)
        usage();
    if (strcmp(name, "--seed") == 0) {
        options.seed = strtoull(value, NULL, 0);
        options.one_seed = true;
    } else if (strcmp(name, "--seeds") == 0) {
        options.seed_count = strtoull(value, NULL, 0);
    } else if (strcmp(name, "--from") == 0) {
        options.from = strtoull(value, NULL, 0);
    } else if (strcmp(name, "--allocation") == 0) {
        options.allocation = strtoull(value, NULL, 0);
    } else if (strcmp(name, "--allocations") == 0) {
        options.allocation_seeds = strtoull(value, NULL, 0);
    } else if (strcmp(name, "--seconds") == 0) {
        options.seconds = strtod(value, NULL);
    } else if (strcmp(name, "--workload") == 0) {
        options.workload = workload_or_usage(value);
    } else if (strcmp(name, "--regressions") == 0) {
        options.regressions = value;
    } else {
        usage();
    }
}

static void read_options(int argc, char **argv)
{
    for (int index = 1; index < argc; index++) {
        if (strcmp(argv[index], "--list") == 0) {
            run_list_workloads();
            exit(0);
        }
        if (strcmp(argv[index], "--trace") == 0) {
            run_prints_trace = true;
            continue;
        }
        read_option(argv[index], argv[index + 1]);
        index++;
    }
    if (!options.one_seed && !options.seed_count && options.seconds <= 0 && !options.regressions &&
        !options.allocation_seeds)
        usage();
}

int main(int argc, char **argv)
{
    struct rlimit no_core = { 0, 0 };

    options.from = (uint64_t)time(NULL) * 1000000;
    read_options(argc, argv);
    if (options.one_seed)
        return run_one(options.seed);
    setrlimit(RLIMIT_CORE, &no_core);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 1;
    sometimes_counts = shared->sometimes;
    if (options.allocation_seeds)
        return run_all_allocations();
    return options.regressions ? run_regressions() : run_many();
}
