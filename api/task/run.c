/* gring_run, gring_init, gring_fini, and the start that nobody asked for by name. */
#include "api/result.h"
#include "api/task/start.h"
#include "base/check.h"
#include "base/log.h"
#include "runtime/co.h"
#include "runtime/cxx.h"
#include "runtime/frame.h"
#include "runtime/runtime.h"

#include <greenring/hub.h>
#include <greenring/task.h>
#include <setjmp.h>
#include <string.h>

enum { RING_ENTRIES_DEFAULT = 256, RING_ENTRIES_MAX = 32768 };
#define SLICE_DEFAULT (10 * GRING_MS)
#define KNOWN_FLAGS                                                                                \
    (GRING_RUN_DRAIN | GRING_RUN_SHUFFLE | GRING_RUN_FAKETIME | GRING_RUN_NO_SIGSEGV)

/* How gring_exit leaves gring_run's main: C frames are not unwound, by contract. */
static struct {
    sigjmp_buf here;
    void *value;
    struct cxx_exceptions around; /* those that the caller of gring_run handles */
    bool inside;
} main_exit;

/* ---- configuration --------------------------------------------------------------------------- */

/* A caller compiled against an older header gives a smaller struct: what it does not know is
 * zero, the default. */
static int read_config(const gring_config *given, gring_config *config)
{
    memset(config, 0, sizeof *config);
    if (!given)
        return 0;
    if (given->size < sizeof given->size || given->size > sizeof *config)
        return -EINVAL;
    memcpy(config, given, given->size);
    if (config->flags & ~KNOWN_FLAGS || config->ring_entries > RING_ENTRIES_MAX ||
        config->slice < 0)
        return -EINVAL;
    if (config->stack_size &&
        (config->stack_size < STACK_SIZE_MIN || config->stack_size > STACK_SIZE_MAX))
        return -EINVAL;
    return config->hubs > 1 ? -ENOTSUP : 0;
}

static int start(const gring_config *given)
{
    gring_config config;
    struct hub_config hub;
    int saved_errno = errno, error = read_config(given, &config);

    if (error < 0)
        return error;
    hub = (struct hub_config){
        .ring_entries = config.ring_entries ? config.ring_entries : RING_ENTRIES_DEFAULT,
        .stack_bytes = config.stack_size,
        .max_tasks = config.max_tasks ? config.max_tasks : SIZE_MAX,
        .slice = config.slice ? config.slice : SLICE_DEFAULT,
        .shuffle = config.flags & GRING_RUN_SHUFFLE,
        .fake_time = config.flags & GRING_RUN_FAKETIME,
        .no_sigsegv = config.flags & GRING_RUN_NO_SIGSEGV,
        .seed = config.seed,
    };
    error = runtime_start(&hub, config.flags & GRING_RUN_DRAIN ? RUNTIME_DRAIN : RUNTIME_KILL);
    if (error >= 0)
        errno = saved_errno; /* what was tried, and this kernel lacks, is nobody's error */
    return error;
}

int start_implicitly(void)
{
    int error = runtime_may_start();

    return error < 0 ? error : start(NULL);
}

bool start_is_elsewhere(void)
{
    return !hub_self() && runtime_may_start() == -EPERM;
}

/* ---- the calls ------------------------------------------------------------------------------- */

static void *call_main(gring_fn fn, void *arg)
{
    main_exit.inside = true;
    main_exit.around = *hub_self()->cxx;
    if (sigsetjmp(main_exit.here, 0) == 0)
        main_exit.value = fn(arg);
    main_exit.inside = false;
    return main_exit.value;
}

int gring_run_with(const gring_config *config, gring_fn fn, void *arg, void **result)
{
    int error = fn ? start(config) : -EINVAL;
    void *value;
    int code;

    if (error < 0)
        return (int)api_result(error);
    value = call_main(fn, arg);
    /* No hub any more: the child of a fork, which has nothing to end. */
    code = hub_self() ? runtime_stop(value) : task_orphan_code();
    if (result)
        *result = value;
    return code;
}

int gring_run(gring_fn fn, void *arg, void **result)
{
    return gring_run_with(NULL, fn, arg, result);
}

int gring_init(const gring_config *config)
{
    return (int)api_result(start(config));
}

int gring_fini(void)
{
    struct gring_hub *hub = hub_self();

    if (!hub || hub->running != hub->main_task || main_exit.inside || co_inside(hub->running))
        return (int)api_result(-EPERM);
    task_leave_frames(hub->main_task);
    runtime_stop(NULL);
    return 0;
}

void gring_exit(void *value)
{
    struct gring_hub *hub = hub_self();

    CHECK_SAY(
        hub && hub->running,
        "gring_exit was called outside a task: it ends the task that calls it, and a callback or "
        "a plain thread is none");
    if (co_inside(hub->running))
        co_exit(co_inside(hub->running), value); /* comes back here, on the task's own stack */
    if (!hub->running->is_main)
        task_exit(hub->running, value);
    CHECK_SAY(main_exit.inside,
              "gring_exit was called in gring_init's main task, which ends with gring_fini");
    cxx_leave(hub->cxx, &main_exit.around);
    task_leave_frames(hub->running);
    main_exit.value = value;
    siglongjmp(main_exit.here, 1);
}

unsigned gring_version(void)
{
    return GRING_VERSION;
}
