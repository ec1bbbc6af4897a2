/*
 * signals.c - which signals each kind of process takes, ignores, or leaves as they are.
 *
 * Lives here: the signalfd of the master and of -t; what children and started programs change back. A fork is made with everything blocked; the child
 * opens up only here.
 * Never here: what a signal means (master.c); the crash handler (crash.c).
 * Runs in: the master, -t, every child once.
 */
#include "process/signals.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/base.h"

int
signals_open(int *fd, struct base_error *why)
{
    static const int taken[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2 };      /* deaths are told by pidfds */
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < BASE_COUNT(taken); i++)
        sigaddset(&set, taken[i]);
    (void)signal(SIGPIPE, SIG_IGN);
    int f = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (f < 0)
        return base_error_sys(why, errno, "signalfd", "for the master");
    sigprocmask(SIG_SETMASK, &set, NULL);
    *fd = f;
    return 0;
}

int
signals_take(int fd)
{
    struct signalfd_siginfo info;
    return fd >= 0 && read(fd, &info, sizeof info) == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

bool
signals_is_end(int number)
{
    return number == SIGTERM || number == SIGINT || number == SIGQUIT;
}

static void
dispose(const int *numbers, size_t count, void (*how)(int))
{
    struct sigaction act = { .sa_handler = how };
    for (size_t i = 0; i < count; i++)
        (void)sigaction(numbers[i], &act, NULL);
}

static void
unblock_all(void)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

void
signals_of_child(void)
{
    /* SIGTTOU: a child is a background group of its terminal, and may still write to it. */
    static const int ignored[] = { SIGINT, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2, SIGTTIN, SIGTTOU }, usual[] = { SIGTERM, SIGCHLD, SIGALRM };
    dispose(ignored, BASE_COUNT(ignored), SIG_IGN);
    dispose(usual, BASE_COUNT(usual), SIG_DFL);
    unblock_all();
}

void
signals_of_program(void)
{
    static const int usual[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE, SIGCHLD, SIGALRM };
    dispose(usual, BASE_COUNT(usual), SIG_DFL);
    unblock_all();
}
