/*
 * A model: random operations on a module and on a deliberately simple twin, compared step by step.
 * Whatever is random in it is chosen by the bytes it is given, so that one entry point serves three
 * callers: seeded random bytes (random.c), the corpus in tests/fuzz (replay.c), and a fuzzer
 * (fuzz.c).
 *
 *     MODEL(wheel)                          defines model_wheel(const uint8_t *data, size_t size)
 *     {
 *         prepare();
 *         while (choices_left(choices))
 *             if (choose(choices, 2))
 *                 arm(choices);
 *             else
 *                 advance(choices);
 *     }
 *
 * A model lives through one history and leaves nothing behind: it is called many times in one
 * process. It is one file here and one line in meson.build.
 */
#ifndef TESTS_MODEL_CHOICES_H
#define TESTS_MODEL_CHOICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * The bytes not used yet. When there are none every choice is 0.
 *
 * Two choices in one expression are a mistake unless C orders them: a file of the corpus would mean
 * another history to another compiler.
 */
struct choices {
    const uint8_t *at;
    size_t left;
};

#define MODEL(name)                                                                                \
    void model_##name(const uint8_t *data, size_t size);                                           \
    static void live_through(struct choices *choices);                                             \
    void model_##name(const uint8_t *data, size_t size)                                            \
    {                                                                                              \
        live_through(&(struct choices){ data, size });                                             \
    }                                                                                              \
    static void live_through(struct choices *choices)

/* What must hold of module and twin. An abort is what all three callers notice. */
#define MUST(fact)                                                                                 \
    do {                                                                                           \
        if (__builtin_expect(!(fact), 0)) {                                                        \
            fprintf(stderr, "%s:%d: the model says: %s\n", __FILE__, __LINE__, #fact);             \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static inline bool choices_left(const struct choices *choices)
{
    return choices->left > 0;
}

/* A number of that many bytes. */
static inline uint64_t choose_bytes(struct choices *choices, size_t count)
{
    uint64_t value = 0;

    for (; count && choices->left; count--, choices->left--)
        value = value << 8 | *choices->at++;
    return value;
}

/* Below the limit, 1 to 65,536. As few bytes as will do: a fuzzer learns what each is for. */
static inline unsigned choose(struct choices *choices, unsigned limit)
{
    return (unsigned)(choose_bytes(choices, limit <= 256 ? 1 : 2) % limit);
}

/* Not negative, of up to that many bits; any number of bits is equally likely. */
static inline int64_t choose_duration(struct choices *choices, unsigned bits_max)
{
    unsigned bits = choose(choices, bits_max) + 1;

    return (int64_t)(choose_bytes(choices, (bits + 7) / 8) & (UINT64_MAX >> (64 - bits)));
}

#endif
