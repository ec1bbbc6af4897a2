/*
 * begin.c - what each start of the program settles before anything else.
 *
 * Lives here: descriptors 0 to 2 are taken, so that no socket or log becomes one of them; the mask of modes; a SIGCHLD that somebody chose to ignore.
 * Never here: anything that depends on the configuration.
 * Runs in: every start of noexd, the stager and the validator too.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "process/process.h"

int
process_begin(int argc, char **argv)
{
    for (int fd = 0; fd <= 2; fd++)
        /* The lowest free number is taken, and those below are in use: this one. Not close-on-exec, like any standard descriptor. */
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) != fd)
            return NX_ESYS;
    /* What we make has the modes that its code names, whatever the shell's mask; what a module makes is not for others to write. */
    (void)umask(022);
    /* Ignored, it would take the exit statuses of our children away from us. */
    (void)signal(SIGCHLD, SIG_DFL);
    process_title_init(argc, argv);
    return 0;
}
