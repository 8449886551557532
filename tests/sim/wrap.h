/*
 * libc's calls that the linker sends to the simulated kernel: --wrap=NAME, see meson.build, makes
 * NAME __wrap_NAME and the real one __real_NAME.
 */
#ifndef TESTS_SIM_WRAP_H
#define TESTS_SIM_WRAP_H

#include <errno.h>

#define WRAP(type, name, ...)                                                                      \
    type __real_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__)

/* As a system call says it: -1 and errno. */
static inline int answer(int result)
{
    if (result >= 0)
        return result;
    errno = -result;
    return -1;
}

#endif
