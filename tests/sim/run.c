/* The life of a run; chance, trace and verdict. See run.h, sim.h. */
#include "tests/sim/run.h"

#include "base/log.h"
#include "runtime/hub.h"
#include "tests/sim/kernel.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool run_prints_trace;
uint64_t run_failing_allocation;

static struct {
    uint64_t seed, random, hash, event_count;
    const struct sim_workload *workload;
    bool warms_up;
} run;

/* ---- chance ---------------------------------------------------------------------------------- */

/* splitmix64: every seed is a good one, zero too. */
uint64_t sim_random(void)
{
    uint64_t mixed = run.random += 0x9e3779b97f4a7c15u;

    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
    return mixed ^ mixed >> 31;
}

uint64_t sim_below(uint64_t limit)
{
    return sim_random() % limit;
}

uint64_t sim_between(uint64_t low, uint64_t high)
{
    return low + sim_below(high - low + 1);
}

uint64_t sim_size(uint64_t limit)
{
    uint64_t high = limit >> sim_below(8);

    return sim_between(1, high ? high : 1);
}

bool sim_chance(unsigned per_mille)
{
    return per_mille && sim_below(1000) < per_mille;
}

gring_ns sim_duration(gring_ns limit)
{
    unsigned shift = (unsigned)sim_below(24);

    return limit <= 0 ? 0 : (gring_ns)(sim_below((uint64_t)limit + 1) >> shift);
}

/* ---- trace ----------------------------------------------------------------------------------- */

static void mix_in(uint64_t value)
{
    run.hash = (run.hash ^ value) * 0x100000001b3u;
    run.hash ^= run.hash >> 29;
}

void sim_note(const char *what, int64_t a, int64_t b, int64_t c)
{
    run.event_count++;
    mix_in((uint64_t)world.now);
    for (const char *byte = what; *byte; byte++)
        mix_in((unsigned char)*byte);
    mix_in((uint64_t)a);
    mix_in((uint64_t)b);
    mix_in((uint64_t)c);
    if (run_prints_trace)
        printf("%14" PRId64 " ns  %-12s %6" PRId64 " %6" PRId64 " %6" PRId64 "\n", world.now, what,
               a, b, c);
}

/* ---- verdict --------------------------------------------------------------------------------- */

_Noreturn void sim_fail(const char *format, ...)
{
    va_list args;

    fflush(stdout);
    fprintf(stderr, "sim: workload %s, seed %" PRIu64 ", at %" PRId64 " ns: ",
            run.workload ? run.workload->name : "-", run.seed, world.now);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\nsim: replay with  sim --workload %s --seed %" PRIu64,
            run.workload ? run.workload->name : "-", run.seed);
    if (run_failing_allocation)
        fprintf(stderr, " --allocation %" PRIu64, run_failing_allocation);
    fprintf(stderr, " --trace\n");
    fflush(stderr);
    _exit(1);
}

bool sim_has(unsigned faults)
{
    return (world.faults & faults) == faults;
}

bool sim_is_rough(void)
{
    return world.faults != 0;
}

bool sim_explains(int error)
{
    switch (error) {
    case ECONNRESET: /* by the network, or by a peer that gave up */
    case EPIPE:
    case ECONNREFUSED:
    case ETIMEDOUT:
        return sim_is_rough();
    case ENOMEM:
    case EAGAIN:
        return world.faults & (SIM_NO_MEMORY | (error == EAGAIN ? SIM_REFUSALS : 0));
    case EMFILE:
    case ENFILE:
        return sim_has(SIM_NO_DESCRIPTORS);
    case ECONNABORTED:
    case ENXIO:
        return sim_has(SIM_REFUSALS);
    case EIO:
    case ENOSPC:
        return sim_has(SIM_BAD_DISK);
    default:
        return false;
    }
}

void sim_excuse_at(int error, const char *file, int line)
{
    if (!sim_explains(error))
        sim_fail("%s:%d: a call failed with errno %d (%s), which nothing in this run explains",
                 file, line, error, strerror(error));
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static unsigned char byte_at(uint64_t stream, uint64_t place)
{
    return (unsigned char)((((place + stream * 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u)) >> 56);
}

void sim_fill(void *buf, size_t size, uint64_t stream, uint64_t place)
{
    unsigned char *bytes = buf;

    for (size_t index = 0; index < size; index++)
        bytes[index] = byte_at(stream, place + index);
}

size_t sim_matches(const void *buf, size_t size, uint64_t stream, uint64_t place)
{
    const unsigned char *bytes = buf;

    for (size_t index = 0; index < size; index++)
        if (bytes[index] != byte_at(stream, place + index))
            return index;
    return size;
}

/* ---- workloads ------------------------------------------------------------------------------- */

static struct sim_workload *workloads; /* by name: the order of linking has no say */

void sim_register(struct sim_workload *workload)
{
    struct sim_workload **link = &workloads;

    while (*link && strcmp((*link)->name, workload->name) < 0)
        link = &(*link)->next;
    workload->next = *link;
    *link = workload;
}

struct sim_workload *run_workload(const char *name)
{
    struct sim_workload *workload = workloads;

    while (workload && strcmp(workload->name, name) != 0)
        workload = workload->next;
    return workload;
}

struct sim_workload *run_all_workloads(void)
{
    return workloads;
}

void run_list_workloads(void)
{
    for (struct sim_workload *workload = workloads; workload; workload = workload->next)
        puts(workload->name);
}

static const struct sim_workload *any_workload(void)
{
    const struct sim_workload *workload = workloads;
    size_t count = 0;

    for (; workload; workload = workload->next)
        count++;
    workload = workloads;
    for (size_t index = sim_below(count); index > 0; index--)
        workload = workload->next;
    return workload;
}

/* ---- moods ----------------------------------------------------------------------------------- */

/* Often never, else up to `most`. */
static unsigned draw(unsigned most)
{
    return sim_chance(350) ? 0 : (unsigned)sim_below(most + 1);
}

static unsigned draw_fault(unsigned faults, unsigned fault, unsigned most)
{
    return faults & fault ? 1 + (unsigned)sim_below(most) : 0;
}

/* Small ones often: they are where queues are full. */
static unsigned draw_size(unsigned most)
{
    unsigned limit = 1u << sim_below(32 - (unsigned)__builtin_clz(most));

    return (unsigned)sim_between(1, limit);
}

static struct mood draw_mood(unsigned faults)
{
    return (struct mood){
        .short_transfer = draw(800),
        .spurious_eagain = draw(300),
        .spurious_eintr = draw(200),
        .spurious_wake = draw(200),
        .enter_error = draw(150),
        .enter_signal = draw(100),
        .partial_submit = draw(400),
        .late_completion = draw(900),
        .late_release = draw(900),
        .late_attempt = draw(700),
        .worker = draw(800),
        .lost_cancel = draw(700),
        .early_thread = draw(200),
        .clock_leap = draw(20),
        .reset = draw_fault(faults, SIM_RESETS, 300),
        .no_memory = draw_fault(faults, SIM_NO_MEMORY, 60),
        .no_descriptor = draw_fault(faults, SIM_NO_DESCRIPTORS, 100),
        .refusal = draw_fault(faults, SIM_REFUSALS, 300),
        .bad_disk = draw_fault(faults, SIM_BAD_DISK, 100),
        .latency = (gring_ns)1 << sim_below(28),
        .delay = (gring_ns)1 << sim_below(26),
        .sq_room = 1 + draw_size(255), /* two are the fewest that are asked for */
        .cq_room = draw_size(4096),
        .completions_per_enter = draw_size(64),
        .channel_bytes = (size_t)32 << sim_below(10),
        .descriptor_limit = faults & SIM_NO_DESCRIPTORS ? (unsigned)sim_between(2, 60) : FD_LIMIT,
        .denied_features = (unsigned)sim_random(),
    };
}

static unsigned draw_faults(unsigned bears)
{
    unsigned faults = 0;

    for (unsigned fault = 1; fault <= bears; fault <<= 1)
        if (bears & fault && sim_chance(300))
            faults |= fault;
    return faults;
}

/* Where memory is short: often one allocation fails and no other, early in the run. */
static void draw_allocations(uint64_t seed, unsigned faults, struct mood *mood)
{
    uint64_t failing;

    run.random = seed ^ 0xa54ff53a5f1d36f1u; /* apart from all else that is drawn */
    failing = sim_chance(250) ? sim_size(1000) : 0;
    if (run_failing_allocation)
        failing = run_failing_allocation;
    else if (!(faults & SIM_NO_MEMORY))
        failing = 0;
    if (failing)
        mood->no_memory = 0;
    allocations_begin(failing);
}

/* ---- a run ----------------------------------------------------------------------------------- */

static void log_to_trace(int level, const char *text, void *unused)
{
    (void)unused;
    if (run_prints_trace)
        printf("               log %d: %s\n", level, text);
}

static void *main_task(void *unused)
{
    (void)unused;
    run.workload->body();
    return NULL;
}

static gring_config draw_config(void)
{
    gring_config config = GRING_CONFIG_INIT;

    config.ring_entries = 1u << sim_below(9);
    if (config.ring_entries > world.mood.sq_room)
        config.ring_entries = world.mood.sq_room; /* a kernel gives no less than was asked for */
    config.flags = GRING_RUN_NO_SIGSEGV | (sim_chance(500) ? GRING_RUN_SHUFFLE : 0) |
                   (sim_chance(200) ? GRING_RUN_DRAIN : 0);
    config.seed = sim_random();
    return config;
}

static void begin(uint64_t seed, const struct sim_workload *workload)
{
    struct mood mood;
    uint64_t random;
    unsigned faults;

    run.seed = seed;
    run.hash = 0xcbf29ce484222325u;
    run.event_count = 0;
    run.random = seed;
    run.workload = workload ? workload : any_workload();
    run.random = seed ^ 0x6a09e667f3bcc909u; /* the same run, whoever chose the workload */
    faults = draw_faults(run.workload->bears);
    if (run_failing_allocation)
        faults = SIM_NO_MEMORY;
    mood = draw_mood(faults);
    random = run.random;
    draw_allocations(seed, faults, &mood);
    run.random = random;
    arena_reset();
    world_begin(faults, &mood);
}

static void run_body(void)
{
    gring_config config = draw_config();
    size_t blocks_before = memory_live_count();
    unsigned reservations_before = reservations_empty();

    if (gring_run_with(&config, main_task, NULL, NULL) != 0)
        sim_excuse(errno);
    world.is_calm = true;
    world_check_empty();
    threads_check_ended();
    if (memory_live_count() != blocks_before)
        sim_fail("%zd blocks of memory were not freed",
                 (ssize_t)(memory_live_count() - blocks_before));
    if (!run.warms_up && reservations_empty() != reservations_before)
        sim_fail("address space was not given back");
}

struct run_result run_seed(uint64_t seed, const struct sim_workload *workload)
{
    begin(seed, workload);
    run_body();
    sim_note("end", 0, 0, 0);
    return (struct run_result){ .workload = run.workload->name,
                                .hash = run.hash,
                                .event_count = run.event_count,
                                .refused_count = allocations_refused(),
                                .duration = world.now };
}

static void do_nothing(void)
{
}

void run_warm_up(void)
{
    static const struct sim_workload nothing = { .name = "nothing", .body = do_nothing };

    log_set_sink(log_to_trace, NULL);
    run.warms_up = true;
    (void)run_seed(0, &nothing);
    run.warms_up = false;
}
