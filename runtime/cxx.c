/* The weak symbols; see cxx.h. */
#include "runtime/cxx.h"

extern struct cxx_exceptions *__cxa_get_globals(void) __attribute__((weak));
extern void __cxa_end_catch(void)
    __attribute__((weak)); /* of the innermost; frees it if it is over */

static struct cxx_exceptions none;

struct cxx_exceptions *cxx_exceptions_of_thread(void)
{
    return __cxa_get_globals ? __cxa_get_globals() : &none;
}

void cxx_leave(struct cxx_exceptions *exceptions, const struct cxx_exceptions *outer)
{
    while (exceptions->caught != outer->caught)
        __cxa_end_catch();
    exceptions->uncaught_count = outer->uncaught_count;
}
