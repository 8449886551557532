/* One run: a seed, a workload, a mood, and the checks at its end. */
#ifndef TESTS_SIM_RUN_H
#define TESTS_SIM_RUN_H

#include "tests/sim/sim.h"

struct run_result {
    const char *workload;
    uint64_t hash; /* of the trace */
    uint64_t event_count;
    uint64_t refused_count; /* allocations */
    gring_ns duration;      /* simulated */
};

/* By name, or NULL. */
struct sim_workload *run_workload(const char *name);
struct sim_workload *run_all_workloads(void); /* linked by `next` */
void run_list_workloads(void);

/* workload: NULL, the seed chooses. Returns only if nothing is wrong. */
struct run_result run_seed(uint64_t seed, const struct sim_workload *workload);

/* Before the first seed: what a process does only once is done. */
void run_warm_up(void);

extern bool run_prints_trace;

/* 0, or the allocation that fails, as the only fault of the runs. */
extern uint64_t run_failing_allocation;

#endif
