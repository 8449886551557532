/*
 * Who waits for what, and whether anybody can ever wake them.
 */
#ifndef GRING_RUNTIME_CENSUS_H
#define GRING_RUNTIME_CENSUS_H

#include "runtime/hub.h"

/*
 * Nothing is ready and no timer is armed: how long may the hub sleep? Forever while a
 * completion, a job or another thread of the process can wake it. Otherwise all tasks wait for
 * each other: they are named, the main task's wait fails with EDEADLK, and the answer is 0. A
 * main task in a wait that has no error path: abort, after the names.
 */
gring_ns census_time_to_sleep(struct gring_hub *hub);

/* Logs one line per task that has not ended, the main task excepted, up to a bound. */
void census_name_tasks(struct gring_hub *hub);

#endif
