/*
 * base.c - the end of a process whose own promise was broken.
 *
 * Lives here: base_abort, what nx_assert calls.
 * Never here: anything that handles input; what comes from outside is checked and refused, not asserted.
 * Runs in: every process.
 */
#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Past the log on purpose: the log may be what is broken, and stderr still has a reader when a test or a service manager runs us. */
_Noreturn void
base_abort(const char *cond, const char *file, int line)
{
    char text[512];
    int n = snprintf(text, sizeof text, "noexd[%ld]: assertion failed: %.300s at %.120s:%d\n", (long)getpid(), cond, file, line);
    if (n > 0) {
        ssize_t written = write(STDERR_FILENO, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
        (void)written;                                /* nobody is left to be told */
    }
    abort();
}
