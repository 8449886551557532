/* The weak symbol; see cxx.h. */
#include "runtime/cxx.h"

extern struct cxx_exceptions *__cxa_get_globals(void) __attribute__((weak));

static struct cxx_exceptions none;

struct cxx_exceptions *cxx_exceptions_of_thread(void)
{
    return __cxa_get_globals ? __cxa_get_globals() : &none;
}
