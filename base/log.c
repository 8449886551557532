/* The log's one sink. Set it before other threads run: it is read without a lock. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static log_sink sink_fn;
static void *sink_arg;

void log_set_sink(log_sink sink, void *arg)
{
    sink_fn = sink;
    sink_arg = arg;
}

void log_line(enum log_level level, const char *format, ...)
{
    char text[1024];
    int saved_errno = errno;
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (sink_fn)
        sink_fn((int)level, text, sink_arg);
    else
        fprintf(stderr, "greenring: %s\n", text);
    errno = saved_errno;
}
