/*
 * A coro: a stack and the place where it goes on. The only file that knows fcontext is coro.c.
 *
 *   context == NULL   begins at entry() on an empty stack when it is switched to
 *   context != NULL   suspended in coro_switch; the context is the stack pointer below its saved
 *   registers
 *
 * Every switch is ontop_fcontext with a landing function that stores where the switcher stopped:
 * the way back is then a `ret` that the processor predicted, where jump_fcontext leaves by an
 * indirect jump and unbalances the prediction.
 *
 * An entry calls coro_begin() first and never returns.
 */
#ifndef GRING_RUNTIME_CORO_H
#define GRING_RUNTIME_CORO_H

#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define CORO_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CORO_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define CORO_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CORO_TSAN 1
#endif
#endif

#if __has_include(<valgrind/valgrind.h>) && !defined(CORO_ASAN) && !defined(CORO_TSAN)
#define CORO_VALGRIND                                                                              \
    1 /* told at run time, when it is there: a few instructions for each stack made */
#endif

struct stack_pool;

struct coro {
    void *context;
    char *top; /* the stack grows down from here; NULL: the stack is a thread's own */
    void (*entry)(void);
    struct stack_pool *pool; /* where the stack goes back to, or NULL */
#ifdef CORO_ASAN
    const void *asan_bottom;
    size_t asan_bytes;
    void *asan_fake_stack;
#endif
#ifdef CORO_TSAN
    void *tsan_fiber;
#endif
};

/* A coro for the stack [bottom, top). */
void coro_init(struct coro *coro, char *bottom, char *top, void (*entry)(void));
/* A coro for the calling thread's own stack, running now. */
void coro_init_thread(struct coro *coro);
void coro_destroy(struct coro *coro);

/* Suspends `from`, the running one, and goes on in `to`; returns when somebody switches to
 * `from`. */
void coro_switch(struct coro *from, struct coro *to);

/* Goes on in `to` for good: the frames of `from` are abandoned, and it begins afresh when it is
 * next switched to. */
_Noreturn void coro_abandon(struct coro *from, struct coro *to);

void coro_begin(void);

/* Recycled stack memory below the caller's frame: nobody may touch it until coro_unpoison. Free
 * without ASan. */
void coro_poison(struct coro *coro);
void coro_unpoison(struct coro *coro);

#endif
