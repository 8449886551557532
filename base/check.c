/* What happens when a fact of ours does not hold: one line on stderr, then abort. */
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void check_failed(const char *file, int line, const char *fact, const char *meaning)
{
    const char *colon = *meaning ? ": " : "";

    fprintf(stderr, "greenring: %s:%d: this must hold and does not: %s%s%s\n", file, line, fact,
            colon, meaning);
    fflush(stderr);
    abort();
}
