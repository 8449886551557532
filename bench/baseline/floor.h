/*
 * The floor: what tasks cost when nothing is done but their job. A bare fcontext, stacks carved
 * from one mapping, one FIFO; no hub, no kernel, no guards, no errors, no cancellation.
 *
 * A task's life is that of a real one: it is spawned, runs, leaves its result and a mark in its
 * record, and the record stays until the result is collected. Only one task may collect: the main
 * one, by looking again whenever everybody else has had a turn.
 *
 * It is what a runtime can be compared with, not one that could be used.
 */
#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

struct transfer {
    void *context;
    void *data;
};

/* Boost.Context's assembly, by the names of its static archive. */
extern void *make_fcontext(void *top, size_t size, void (*fn)(struct transfer));
extern struct transfer jump_fcontext(void *to, void *data);
extern struct transfer ontop_fcontext(void *to, void *data,
                                      struct transfer (*landing)(struct transfer));

enum { FLOOR_STACK_BYTES = 256 * 1024, FLOOR_COLOURS = 32 };

struct floor_task {
    struct floor_task *next;
    void *context;
    char *top;
    void *result; /* when done */
    bool done;
};

struct floor_fifo {
    struct floor_task *head, **tail;
};

static struct floor_fifo floor_ready;
static struct floor_task *floor_idle; /* records and stacks without work, last used first */
static struct floor_task floor_main, *floor_running = &floor_main;

static inline void floor_push(struct floor_task *task)
{
    task->next = NULL;
    *floor_ready.tail = task;
    floor_ready.tail = &task->next;
}

static inline struct floor_task *floor_pop(void)
{
    struct floor_task *task = floor_ready.head;

    floor_ready.head = task->next;
    if (!floor_ready.head)
        floor_ready.tail = &floor_ready.head;
    return task;
}

static struct transfer floor_land(struct transfer transfer)
{
    ((struct floor_task *)transfer.data)->context = transfer.context;
    return transfer;
}

/* Goes on with the next ready one; the caller has put itself where somebody will find it. */
static __attribute__((noinline)) void floor_switch(void)
{
    struct floor_task *from = floor_running, *to = floor_pop();

    floor_running = to;
    if (to != from)
        ontop_fcontext(to->context, from, floor_land);
}

static inline void floor_yield(void)
{
    floor_push(floor_running);
    floor_switch();
}

/* Room for `count` tasks at once. */
static inline void floor_open(size_t count)
{
    struct floor_task *tasks = calloc(count, sizeof *tasks);
    char *stacks = mmap(NULL, count * FLOOR_STACK_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

    if (!tasks || stacks == MAP_FAILED)
        abort();
    madvise(stacks, count * FLOOR_STACK_BYTES, MADV_NOHUGEPAGE);
    floor_ready.tail = &floor_ready.head;
    for (size_t index = count; index-- > 0;) {
        tasks[index].top = stacks + (index + 1) * FLOOR_STACK_BYTES - index % FLOOR_COLOURS * 64;
        tasks[index].next = floor_idle;
        floor_idle = &tasks[index];
    }
}

/* Takes the last used record and stack and queues fn on it. */
static inline struct floor_task *floor_spawn(void (*fn)(struct transfer))
{
    struct floor_task *task = floor_idle;

    floor_idle = task->next;
    task->context = make_fcontext(task->top, FLOOR_STACK_BYTES, fn);
    task->done = false;
    floor_push(task);
    return task;
}

/* The end of a task: its result waits in its record, and somebody else goes on. */
static inline void floor_end(void *result)
{
    floor_running->result = result;
    floor_running->done = true;
    floor_switch();
    abort();
}

/* The result of a task, once it has one; its record and stack are idle then. */
static inline void *floor_collect(struct floor_task *task)
{
    while (!task->done)
        floor_yield();
    task->next = floor_idle;
    floor_idle = task;
    return task->result;
}

#endif
