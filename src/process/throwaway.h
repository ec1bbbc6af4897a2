/*
 * throwaway.h - this program started again for one job, with one pipe to answer on, and ended whatever it does.
 */
#ifndef NOEXD_PROCESS_THROWAWAY_H
#define NOEXD_PROCESS_THROWAWAY_H

#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

struct throwaway {
    const char *what;                    /* "stager": for complaints */
    char **argv;
    const char *user;                    /* whom it runs as, if we are root; NULL = as we do */
    const char *last_line;               /* without its newline: nothing is waited for once it is there */
    int64_t limit_ms;
    int signal_fd;                       /* a signal that says "end" ends the job too; -1 = none */
};

/*
 * Run it and collect what it wrote, at most the bound of `out`. Returns 0 when it has written its last line or has ended (*wait_status tells how; it proves
 * nothing), NX_ETIMEDOUT, NX_ECANCELED (a signal), NX_ETOOBIG, NX_ESYS. In every case the process and its group are gone when this returns.
 */
int throwaway_run(const struct throwaway *t, struct buf *out, int *wait_status, struct base_error *why);

#endif
