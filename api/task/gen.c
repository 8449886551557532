/* Generators: a coroutine whose parent is whoever asks for the next item. */
#include "api/result.h"
#include "api/task/co.h"
#include "base/check.h"
#include "runtime/hub.h"

#include <greenring/co.h>
#include <stdlib.h>

struct gring_gen {
    struct gring_co co; /* first: freeing the coroutine frees the generator */
    gring_gen_fn fn;
    void *arg;
    void *item; /* has_item: handed out and not yet taken */
    bool has_item;
    bool ending; /* it is being freed */
};

static void *generate(void *arg)
{
    struct gring_gen *gen = arg;

    gen->fn(gen, gen->arg);
    return NULL;
}

static int make(gring_gen_fn fn, void *arg, struct gring_gen **gen)
{
    struct gring_co *running = NULL;
    int error = fn ? co_running(&running) : -EINVAL;

    if (error < 0)
        return error;
    *gen = calloc(1, sizeof **gen);
    if (!*gen)
        return -ENOMEM;
    error = co_init(&(*gen)->co, generate, running, 0);
    if (error < 0) {
        free(*gen);
        return error;
    }
    (*gen)->co.is_generator = true;
    (*gen)->fn = fn;
    (*gen)->arg = arg;
    return 0;
}

gring_gen *gring_gen_new(gring_gen_fn fn, void *arg)
{
    struct gring_gen *gen = NULL;
    int error = make(fn, arg, &gen);

    return error == 0 ? gen : api_null(error);
}

/* From the running coroutine, which becomes its parent. The code that came back, or -EBUSY: that
 * is inside it. */
static int resume(struct gring_gen *gen)
{
    struct gring_co *running = gen->co.cos->running;

    if (gen->co.parent != running && co_set_parent(&gen->co, running) < 0)
        return -EBUSY;
    gen->has_item = false;
    return co_go(&gen->co, gen, 0, NULL);
}

/* Once: another coroutine may be in the same call, and be switched to by somebody else. */
static int take_item(struct gring_gen *gen, void **item)
{
    gen->has_item = false;
    if (item)
        *item = gen->item;
    return 1;
}

static int next(struct gring_gen *gen, void **item)
{
    int code = co_is_ours(&gen->co);

    if (code < 0 || gen->co.state == CO_ENDED)
        return code;
    code = resume(gen);
    if (code == 0 && gen->has_item)
        return take_item(gen, item);
    if (code == 0 && gen->co.state != CO_ENDED)
        return -EINTR;
    return code > 0 ? -code : code;
}

int gring_gen_next(gring_gen *gen, void **item)
{
    return (int)api_result(gen ? next(gen, item) : -EINVAL);
}

int gring_gen_yield(gring_gen *gen, void *item)
{
    int code = 0;

    if (!gen || co_is_ours(&gen->co) < 0 || gen->co.cos->running != &gen->co)
        return (int)api_result(-EPERM);
    if (!gen->ending) {
        gen->item = item;
        gen->has_item = true;
        code = co_go(gen->co.parent, NULL, 0, NULL);
    }
    return (int)api_result(gen->ending ? -ECANCELED : -code);
}

void gring_gen_free(gring_gen *gen)
{
    if (!gen || !hub_self())
        return; /* or this is the child of a fork, where its stack is nobody's */
    CHECK_SAY(co_is_ours(&gen->co) == 0, "a generator was freed by another task than its own");
    gen->ending = true;
    while (gen->co.state == CO_SUSPENDED)
        CHECK_SAY(resume(gen) != -EBUSY, "a generator was freed from inside itself");
    CHECK_SAY(co_free(&gen->co) == 0, "a generator was freed from inside itself");
}
