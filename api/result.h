/* The wall: inside, results are counts or -errno; outside, -1 and errno. Here is the one place
 * where that changes. */
#ifndef GRING_API_RESULT_H
#define GRING_API_RESULT_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

static inline int64_t api_result(int64_t result)
{
    if (result >= 0)
        return result;
    errno = (int)-result;
    return -1;
}

/* For calls that return a pointer. */
static inline void *api_null(int error)
{
    errno = -error;
    return NULL;
}

#endif
