/* The clock and sleeping. */
#include "api/result.h"
#include "api/task/start.h"
#include "runtime/time_source.h"

#include <greenring/task.h>
#include <greenring/time.h>
#include <time.h>

gring_ns gring_now(void)
{
    return hub_self() ? hub_read_clock(hub_self()) : clock_now();
}

gring_ns gring_loop_now(void)
{
    return hub_self() ? hub_self()->now : clock_now();
}

static int sleep_until(gring_ns instant)
{
    struct time_source until;
    struct wait wait;
    int error = wait_begin(&wait, "sleep", -1);

    if (error < 0)
        return error;
    time_source_enlist(&wait, &until, instant);
    wait_park(&wait);
    return wait_outcome(&wait);
}

/* On a plain thread of a running program. */
static int block_until(gring_ns instant)
{
    struct timespec until = { .tv_sec = instant / CLOCK_SECOND, .tv_nsec = instant % CLOCK_SECOND };
    int error;

    do
        error = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    while (error == EINTR);
    return -error;
}

int gring_sleep_until(gring_ns instant)
{
    int error = start_if_needed();

    if (error < 0 && start_is_elsewhere())
        return (int)api_result(block_until(instant < 0 ? 0 : instant));
    if (error < 0)
        return (int)api_result(error);
    if (instant <= gring_now())
        return gring_yield();
    return (int)api_result(sleep_until(instant));
}

int gring_sleep(gring_ns duration)
{
    return duration <= 0 ? gring_yield() : gring_sleep_until(clock_after(gring_now(), duration));
}
