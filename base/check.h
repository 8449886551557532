/*
 * Checks are for our own mistakes; errors of the world are returned.
 *
 * CHECK stays in release builds: it prints the broken fact with its place and aborts, so that a
 * core shows the moment. DCHECK may cost and is compiled only with GRING_DEBUG.
 */
#ifndef GRING_BASE_CHECK_H
#define GRING_BASE_CHECK_H

#include <stdbool.h>

_Noreturn void check_failed(const char *file, int line, const char *fact, const char *meaning);

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define CHECK(fact)                                                                                \
    do {                                                                                           \
        if (UNLIKELY(!(fact)))                                                                     \
            check_failed(__FILE__, __LINE__, #fact, "");                                           \
    } while (0)

/* The same with a sentence for whoever reads the abort: the cause and, if it is the caller's,
 * the remedy. */
#define CHECK_SAY(fact, sentence)                                                                  \
    do {                                                                                           \
        if (UNLIKELY(!(fact)))                                                                     \
            check_failed(__FILE__, __LINE__, #fact, sentence);                                     \
    } while (0)

#ifdef GRING_DEBUG
#define DCHECK(fact) CHECK(fact)
#else
#define DCHECK(fact) ((void)sizeof(!(fact)))
#endif

#endif
