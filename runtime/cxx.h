/*
 * Exceptions that are being handled, in programs of C++.
 *
 * The C++ run time keeps for each thread the exceptions that are caught and not yet left, and the
 * number of those in flight. A task that parks inside a catch block, or in a destructor that
 * unwinding calls, must find its own again. So whoever leaves takes them along, and they are none
 * for whoever comes: only a task that handles an exception at that moment pays more than a test.
 *
 * This library needs no C++: the run time is found by a weak symbol, so only if it was loaded
 * before or with us. One that comes later, by dlopen(3), is not found: tasks of such a plug-in must
 * not park while they handle an exception.
 */
#ifndef GRING_RUNTIME_CXX_H
#define GRING_RUNTIME_CXX_H

#include <stdbool.h>

/* __cxa_eh_globals of the Itanium C++ ABI (2.2.2), which gcc and clang share on Linux. */
struct cxx_exceptions {
    void *caught;
    unsigned uncaught_count;
};

/* The calling thread's; without C++ none that ever change. */
struct cxx_exceptions *cxx_exceptions_of_thread(void);

static inline bool cxx_any(const struct cxx_exceptions *exceptions)
{
    return exceptions->caught || exceptions->uncaught_count;
}

/* Takes them along; an assignment puts them back. */
static inline struct cxx_exceptions cxx_take(struct cxx_exceptions *exceptions)
{
    struct cxx_exceptions taken = *exceptions;

    *exceptions = (struct cxx_exceptions){ .caught = 0 };
    return taken;
}

/* Ends the handling of those that were caught after `outer` was noted: their catch blocks are left
 * for good, without being unwound. */
void cxx_leave(struct cxx_exceptions *exceptions, const struct cxx_exceptions *outer);

#endif
