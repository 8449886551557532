/*
 * P5: what does a timer cost, and does it cost more when there are many?
 *
 *   arm + disarm  one timer armed and disarmed at once: a deadline around a call that completes
 *   re-arm        a random one of those armed is disarmed and armed anew: each misses the cache
 *   expire        all run out over a minute, and time goes from wheel_next to wheel_next:
 *     in order      deadlines in the order of arming, and of memory: idle timeouts of one length
 *     random        armed in the order of memory, deadlines shuffled: sleeps of any length
 *     shuffled      neither memory nor deadlines follow the order of arming: no prefetcher helps
 *
 * Baselines of the same run: a plain chase through the same 64-byte records in random order,
 * which is what merely looking at each of them costs, and a binary heap with positions in its
 * records, which is what a timer queue is elsewhere. Figures are medians of several runs; in
 * each run the wheel, the chase and the heap take turns. The chase of few records stays in the
 * cache: its ratio says nothing about 1,000 timers.
 */
#include "base/check.h"
#include "runtime/wheel.h"
#include "stats.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { RUNS = 7, RECORD_BYTES = 64, REPEATS = 1000 * 1000 };

static const gring_ns START = 1000 * CLOCK_SECOND;
static const gring_ns SPAN = 60 * CLOCK_SECOND;

struct record {
    _Alignas(RECORD_BYTES) struct timer timer;
    struct record *next; /* of the chase */
    size_t heap_index;
};

static_assert(sizeof(struct record) == RECORD_BYTES, "the chase and the wheel visit equal records");

static struct wheel wheel;
static struct record *records;
static uint32_t *arm_order; /* the i-th timer armed is records[arm_order[i]] ... */
static gring_ns *deadlines; /* ... and gets deadlines[i] */
static size_t record_count;

/* ---- measuring ---- */

static double now_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static uint64_t random_state;

/* xorshift64*: enough to defeat a prefetcher. */
static uint64_t random_next(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545f4914f6cdd1d;
}

static size_t random_below(size_t limit)
{
    return (size_t)((unsigned __int128)random_next() * limit >> 64);
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void *allocate(size_t size_bytes)
{
    void *memory =
        aligned_alloc(RECORD_BYTES, (size_bytes + RECORD_BYTES - 1) / RECORD_BYTES * RECORD_BYTES);

    if (!memory)
        die("aligned_alloc");
    __builtin_memset(memory, 0, size_bytes); /* touched here, not while measuring */
    return memory;
}

/* ---- the plain chase ---- */

/* One cycle through all records (Sattolo's shuffle). */
static void chase_prepare(void)
{
    for (size_t index = 0; index < record_count; index++)
        records[index].next = &records[index];
    for (size_t index = record_count - 1; index > 0; index--) {
        size_t other = random_below(index);
        struct record *next = records[index].next;

        records[index].next = records[other].next;
        records[other].next = next;
    }
}

static double chase_run(void)
{
    struct record *record = records;
    size_t steps = record_count > REPEATS ? record_count : REPEATS;
    double started = now_ns();

    for (size_t step = 0; step < steps; step++)
        record = record->next;
    __asm__ volatile("" : : "r"(record));
    return (now_ns() - started) / (double)steps;
}

/* ---- the binary heap: deadlines beside the pointers, so that comparing visits no record ---- */

struct heap_entry {
    gring_ns deadline;
    struct record *record;
};

static struct heap_entry *heap; /* the root is heap[1] */
static size_t heap_count;

static inline void heap_put(size_t index, struct heap_entry entry)
{
    heap[index] = entry;
    entry.record->heap_index = index;
}

static void heap_rise(size_t index, struct heap_entry entry)
{
    for (; index > 1 && heap[index / 2].deadline > entry.deadline; index /= 2)
        heap_put(index, heap[index / 2]);
    heap_put(index, entry);
}

static void heap_sink(size_t index, struct heap_entry entry)
{
    size_t child;

    while ((child = 2 * index) <= heap_count) {
        if (child < heap_count)
            child += heap[child + 1].deadline < heap[child].deadline;
        if (heap[child].deadline >= entry.deadline)
            break;
        heap_put(index, heap[child]);
        index = child;
    }
    heap_put(index, entry);
}

static void heap_push(struct record *record, gring_ns deadline)
{
    heap_rise(++heap_count, (struct heap_entry){ deadline, record });
}

static void heap_remove(struct record *record)
{
    size_t index = record->heap_index;
    struct heap_entry last = heap[heap_count--];

    if (index > heap_count)
        return;
    if (index > 1 && heap[index / 2].deadline > last.deadline)
        heap_rise(index, last);
    else
        heap_sink(index, last);
}

/* ---- the same work for both ---- */

struct queue {
    void (*clear)(void);
    void (*arm)(struct record *record, gring_ns deadline);
    void (*disarm)(struct record *record);
    size_t (*expire_all)(void); /* returns how many there were, in the order of their deadlines */
};

static void wheel_queue_clear(void)
{
    wheel_init(&wheel, START);
}

static void wheel_queue_arm(struct record *record, gring_ns deadline)
{
    wheel_arm(&wheel, &record->timer, deadline);
}

static void wheel_queue_disarm(struct record *record)
{
    wheel_disarm(&wheel, &record->timer);
}

static size_t wheel_queue_expire_all(void)
{
    size_t expired_count = 0;
    gring_ns next;

    while ((next = wheel_next(&wheel)) != CLOCK_FOREVER) {
        wheel_advance(&wheel, next);
        while (wheel_take_due(&wheel))
            expired_count++;
    }
    return expired_count;
}

static void heap_queue_clear(void)
{
    heap_count = 0;
}

static void heap_queue_arm(struct record *record, gring_ns deadline)
{
    heap_push(record, deadline);
}

static void heap_queue_disarm(struct record *record)
{
    heap_remove(record);
}

static size_t heap_queue_expire_all(void)
{
    size_t expired_count = 0;

    while (heap_count) {
        heap_remove(heap[1].record);
        expired_count++;
    }
    return expired_count;
}

static const struct queue wheel_queue = {
    wheel_queue_clear,
    wheel_queue_arm,
    wheel_queue_disarm,
    wheel_queue_expire_all,
};

static const struct queue heap_queue = {
    heap_queue_clear,
    heap_queue_arm,
    heap_queue_disarm,
    heap_queue_expire_all,
};

static void arm_all(const struct queue *queue)
{
    queue->clear();
    for (size_t index = 0; index < record_count; index++)
        queue->arm(&records[arm_order[index]], deadlines[index]);
}

/* From one millisecond to a minute from the start: what calls are given. */
static gring_ns some_deadline(void)
{
    return START + CLOCK_MILLISECOND + (gring_ns)random_below((size_t)SPAN);
}

/* Inlined into one copy for each queue, so that only the queue's own calls are measured. */
__attribute__((always_inline)) static inline double arm_disarm_run(const struct queue *queue)
{
    static gring_ns some_deadlines[1024];
    struct record record = { 0 };
    double started, ended;

    arm_all(queue);
    for (size_t index = 0; index < 1024; index++)
        some_deadlines[index] = some_deadline();
    started = now_ns();
    for (size_t repeat = 0; repeat < REPEATS; repeat++) {
        queue->arm(&record, some_deadlines[repeat % 1024]);
        queue->disarm(&record);
    }
    ended = now_ns();
    queue->expire_all();
    return (ended - started) / REPEATS;
}

__attribute__((always_inline)) static inline double rearm_run(const struct queue *queue)
{
    double started, ended;

    arm_all(queue);
    started = now_ns();
    for (size_t repeat = 0; repeat < REPEATS; repeat++) {
        struct record *record = &records[random_below(record_count)];

        queue->disarm(record);
        queue->arm(record, some_deadline());
    }
    ended = now_ns();
    queue->expire_all();
    return (ended - started) / REPEATS;
}

__attribute__((always_inline)) static inline double expire_run(const struct queue *queue)
{
    size_t rounds = record_count < 100 * 1000 ? 100 * 1000 / record_count : 1;
    double total = 0;

    for (size_t round = 0; round < rounds; round++) {
        double started;

        arm_all(queue);
        started = now_ns();
        CHECK(queue->expire_all() == record_count);
        total += now_ns() - started;
    }
    return total / (double)(rounds * record_count);
}

/* ---- the report ---- */

static void report(const char *what, double *wheel_ns, double *heap_ns, double *chase_ns)
{
    double figure = stats_describe(wheel_ns, RUNS).median;
    double heap_figure = stats_describe(heap_ns, RUNS).median;
    double chase_figure = stats_describe(chase_ns, RUNS).median;

    printf("%9zu  %-18s %8.1f %10.1f %8.2f %10.1f %8.2f\n", record_count, what, figure,
           chase_figure, figure / chase_figure, heap_figure, figure / heap_figure);
}

static void measure_arm_disarm(void)
{
    double wheel_ns[RUNS], heap_ns[RUNS], chase_ns[RUNS];

    for (size_t run = 0; run < RUNS; run++) {
        wheel_ns[run] = arm_disarm_run(&wheel_queue);
        chase_ns[run] = chase_run();
        heap_ns[run] = arm_disarm_run(&heap_queue);
    }
    report("arm + disarm", wheel_ns, heap_ns, chase_ns);
}

static void measure_rearm(void)
{
    double wheel_ns[RUNS], heap_ns[RUNS], chase_ns[RUNS];

    for (size_t run = 0; run < RUNS; run++) {
        wheel_ns[run] = rearm_run(&wheel_queue);
        chase_ns[run] = chase_run();
        heap_ns[run] = rearm_run(&heap_queue);
    }
    report("re-arm", wheel_ns, heap_ns, chase_ns);
}

static void measure_expire(const char *what)
{
    double wheel_ns[RUNS], heap_ns[RUNS], chase_ns[RUNS];

    for (size_t run = 0; run < RUNS; run++) {
        wheel_ns[run] = expire_run(&wheel_queue);
        chase_ns[run] = chase_run();
        heap_ns[run] = expire_run(&heap_queue);
    }
    report(what, wheel_ns, heap_ns, chase_ns);
}

static void shuffle_deadlines(void)
{
    for (size_t index = record_count - 1; index > 0; index--) {
        size_t other = random_below(index + 1);
        gring_ns deadline = deadlines[index];

        deadlines[index] = deadlines[other];
        deadlines[other] = deadline;
    }
}

static void shuffle_arm_order(void)
{
    for (size_t index = record_count - 1; index > 0; index--) {
        size_t other = random_below(index + 1);
        uint32_t place = arm_order[index];

        arm_order[index] = arm_order[other];
        arm_order[other] = place;
    }
}

static void prepare(size_t count)
{
    record_count = count;
    records = allocate(count * sizeof *records);
    arm_order = allocate(count * sizeof *arm_order);
    deadlines = allocate(count * sizeof *deadlines);
    heap = allocate((count + 2) * sizeof *heap);
    for (size_t index = 0; index < count; index++) {
        arm_order[index] = (uint32_t)index;
        deadlines[index] = START + CLOCK_MILLISECOND + (gring_ns)index * (SPAN / (gring_ns)count);
    }
    chase_prepare();
}

static void measure(size_t count)
{
    prepare(count);
    measure_arm_disarm();
    measure_rearm();
    measure_expire("expire, in order");
    shuffle_deadlines();
    measure_expire("expire, random");
    shuffle_arm_order();
    measure_expire("expire, shuffled");
    free(records);
    free(arm_order);
    free(deadlines);
    free(heap);
}

int main(void)
{
    random_state = 1;
    printf("P5: ns each, median of %d runs; armed meanwhile in the first column\n", RUNS);
    printf("%9s  %-18s %8s %10s %8s %10s %8s\n", "armed", "", "wheel", "chase", "ratio", "heap",
           "ratio");
    measure(1000);
    measure(100 * 1000);
    measure(1000 * 1000);
    return 0;
}
