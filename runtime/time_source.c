/* An instant as a source; see time_source.h. */
#include "runtime/time_source.h"

static void has_come(struct hub_timer *timer)
{
    source_done(&CONTAINER_OF(timer, struct time_source, timer)->source);
}

static void disarm(struct source *source)
{
    wheel_disarm(&hub_self()->wheel,
                 &CONTAINER_OF(source, struct time_source, source)->timer.timer);
    source_done(source);
}

void time_source_enlist(struct wait *wait, struct time_source *until, gring_ns instant)
{
    until->timer = (struct hub_timer){ .on_fire = has_come };
    wait_hold(wait, &until->source, disarm);
    if (instant != CLOCK_FOREVER)
        wheel_arm(&hub_self()->wheel, &until->timer.timer, instant);
}
