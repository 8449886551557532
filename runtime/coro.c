/* Switching stacks with Boost.Context's assembly, and telling the sanitizers; see coro.h. */
#include "runtime/coro.h"

#include "base/check.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#ifdef CORO_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef CORO_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#ifdef CORO_VALGRIND
#include <valgrind/valgrind.h>
#endif

/* The configured names; plain C names in Boost 1.74, which does not install a C header for them. */
#ifndef GRING_FCONTEXT_MAKE
#define GRING_FCONTEXT_MAKE "make_fcontext"
#endif
#ifndef GRING_FCONTEXT_ONTOP
#define GRING_FCONTEXT_ONTOP "ontop_fcontext"
#endif

struct transfer {
    void *context; /* where the switcher stopped */
    void *data;
};

extern void *fcontext_make(void *top, size_t size, void (*fn)(void)) __asm__(GRING_FCONTEXT_MAKE);
extern struct transfer fcontext_ontop(
    void *to, void *data,
    struct transfer (*landing)(struct transfer)) __asm__(GRING_FCONTEXT_ONTOP);

/* ---- sanitizers ------------------------------------------------------------------------------ */

#ifdef CORO_ASAN
static _Thread_local struct coro *asan_leaving; /* whose bounds the landing side learns */

static void sanitizer_leave(struct coro *from, struct coro *to, bool for_good)
{
    asan_leaving = for_good ? NULL : from;
    __sanitizer_start_switch_fiber(for_good ? NULL : &from->asan_fake_stack, to->asan_bottom,
                                   to->asan_bytes);
}

static void sanitizer_land(void *fake_stack)
{
    const void *bottom;
    size_t bytes;

    __sanitizer_finish_switch_fiber(fake_stack, &bottom, &bytes);
    if (asan_leaving && !asan_leaving->top) { /* a thread's own stack: its bounds are learnt here */
        asan_leaving->asan_bottom = bottom;
        asan_leaving->asan_bytes = bytes;
    }
}

void coro_poison(struct coro *coro)
{
    char *here = __builtin_frame_address(0);

    ASAN_POISON_MEMORY_REGION(coro->asan_bottom, (size_t)(here - 4096 - (char *)coro->asan_bottom));
}

void coro_unpoison(struct coro *coro)
{
    ASAN_UNPOISON_MEMORY_REGION(coro->asan_bottom, coro->asan_bytes);
}
#else
void coro_poison(struct coro *coro)
{
    (void)coro;
}

void coro_unpoison(struct coro *coro)
{
    (void)coro;
}
#endif

/* ---- switching ------------------------------------------------------------------------------- */

static struct transfer land(struct transfer transfer)
{
    *(void **)transfer.data = transfer.context;
    return transfer;
}

/* What begins next on this thread; on its way into land_and_begin. It never returns. */
static _Thread_local
    __attribute__((tls_model("initial-exec"))) struct transfer (*beginning)(struct transfer);

/*
 * Returning from here would begin the entry on x86-64 only: on aarch64 Boost's ontop_fcontext
 * returns a fresh context's landing to the place that ends the process. So it goes on in the entry
 * by itself, as its last act: a frame of its own would lie on every parked stack.
 */
static struct transfer land_and_begin(struct transfer transfer)
{
    *(void **)transfer.data = transfer.context;
    return beginning(transfer);
}

static void *make(struct coro *coro)
{
    coro_unpoison(coro);
    beginning = (struct transfer(*)(struct transfer))(void *)coro->entry;
    return fcontext_make(coro->top, 0, coro->entry);
}

static inline void go(struct coro *to, void *suspended)
{
    bool fresh = UNLIKELY(to->context == NULL);

    fcontext_ontop(fresh ? make(to) : to->context, suspended, fresh ? land_and_begin : land);
}

/*
 * Kept out of line, with the jump as its last act: all suspended coros then return to the same
 * place, the one that the processor predicts.
 */
#if !defined(CORO_ASAN) && !defined(CORO_TSAN)
__attribute__((noinline)) void coro_switch(struct coro *from, struct coro *to)
{
    go(to, &from->context);
}

void coro_begin(void)
{
}
#else
void coro_switch(struct coro *from, struct coro *to)
{
#ifdef CORO_TSAN
    __tsan_switch_to_fiber(to->tsan_fiber, 0);
#endif
#ifdef CORO_ASAN
    sanitizer_leave(from, to, false);
#endif
    go(to, &from->context);
#ifdef CORO_ASAN
    sanitizer_land(from->asan_fake_stack);
#endif
}

void coro_begin(void)
{
#ifdef CORO_ASAN
    sanitizer_land(NULL);
#endif
}
#endif

_Noreturn void coro_abandon(struct coro *from, struct coro *to)
{
    void *nobody;

    (void)from;
    from->context = NULL;
#ifdef CORO_TSAN
    __tsan_switch_to_fiber(to->tsan_fiber, 0);
#endif
#ifdef CORO_ASAN
    sanitizer_leave(from, to, true);
#endif
    go(to, &nobody);
    CHECK_SAY(false, "an abandoned stack was resumed");
    abort();
}

/* ---- making ---------------------------------------------------------------------------------- */

void coro_init(struct coro *coro, char *bottom, char *top, void (*entry)(void))
{
    *coro = (struct coro){ .top = top, .entry = entry };
    (void)bottom;
#ifdef CORO_ASAN
    coro->asan_bottom = bottom;
    coro->asan_bytes = (size_t)(top - bottom);
#endif
#ifdef CORO_TSAN
    coro->tsan_fiber = __tsan_create_fiber(0);
#endif
#ifdef CORO_VALGRIND
    /* Never taken back: it looks at the latest first, and the number to do it by would make a coro
     * straddle cache lines. */
    (void)VALGRIND_STACK_REGISTER(bottom, top - 1);
#endif
}

void coro_init_thread(struct coro *coro)
{
    *coro = (struct coro){ .top = NULL };
#ifdef CORO_TSAN
    coro->tsan_fiber = __tsan_get_current_fiber();
#endif
}

void coro_destroy(struct coro *coro)
{
    (void)coro;
#ifdef CORO_TSAN
    if (coro->top)
        __tsan_destroy_fiber(coro->tsan_fiber);
#endif
}
