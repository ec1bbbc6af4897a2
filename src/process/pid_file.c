/*
 * pid_file.c - the pid file and its lock; `noexd -s` through it.
 *
 * Lives here: fcntl locks (they end with their process, whatever ends it), signals to the holder.
 * Never here: trust in the number that the file holds.
 * Runs in: the master; the command line of -s.
 */
#include "process/pid_file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "process/process.h"

enum { TRIES = 10 };

/* Is the file that we have locked still the one under that name? Its last holder may have removed it between our open and our lock. */
static bool
is_named(int fd, const char *path)
{
    struct stat ours, there;
    return fstat(fd, &ours) == 0 && lstat(path, &there) == 0 && ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

/* 0 and *fd; NX_EBUSY: ask again, it was just removed or released. */
static int
open_locked(const char *path, int *fd, struct base_error *why)
{
    int f = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0644);
    if (f < 0)
        return base_error_sys(why, errno, "open pid file", path);
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int err = 0;
    if (fcntl(f, F_SETLK, &lock) == 0) {
        err = is_named(f, path) ? 0 : NX_EBUSY;
    } else if (errno != EAGAIN && errno != EACCES) {
        err = base_error_sys(why, errno, "lock pid file", path);
    } else {
        struct flock holder = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        if (fcntl(f, F_GETLK, &holder) == 0 && holder.l_type == F_UNLCK)
            err = NX_EBUSY;
        else
            err = base_error_set(why, NX_ECONFLICT, path, "noexd already runs with this configuration: process %d holds %s; stop it with -s stop",
                                 (int)holder.l_pid, path);
    }
    if (err != 0)
        (void)close(f);
    else
        *fd = f;
    return err;
}

int
pid_file_open(const char *path, int *fd, struct base_error *why)
{
    int f = -1, err = NX_EBUSY;
    for (int i = 0; i < TRIES && err == NX_EBUSY; i++)
        err = open_locked(path, &f, why);
    if (err == NX_EBUSY)
        return base_error_set(why, err, path, "pid file %s: others lock and remove it at this moment; try again", path);
    if (err != 0)
        return err;
    char text[32];
    int len = snprintf(text, sizeof text, "%d\n", (int)getpid());
    ssize_t n = ftruncate(f, 0) == 0 ? pwrite(f, text, (size_t)len, 0) : -1;
    if (n != len) {
        int e = n < 0 ? errno : ENOSPC;
        pid_file_remove(path, f);
        return base_error_sys(why, e, "write pid file", path);
    }
    *fd = f;
    return 0;
}

void
pid_file_remove(const char *path, int fd)
{
    if (is_named(fd, path))
        (void)unlink(path);       /* while the lock is still ours, so that no other master's file is removed */
    (void)close(fd);
}

int
pid_file_holder(const char *path, pid_t *out, struct base_error *why)
{
    int f = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (f < 0 && errno == ENOENT)
        return base_error_set(why, NX_ENOSERVER, path, "noexd does not run: there is no pid file %s", path);
    if (f < 0)
        return base_error_sys(why, errno, "open pid file", path);
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int r = fcntl(f, F_GETLK, &lock);
    int e = errno;
    (void)close(f);
    if (r != 0)
        return base_error_sys(why, e, "ask for the lock of", path);
    if (lock.l_type == F_UNLCK)
        return base_error_set(why, NX_ENOSERVER, path, "noexd does not run: nobody holds the lock of %s", path);
    *out = lock.l_pid;
    return 0;
}

/* A handle to the holder, not its number: it still holds the lock when we have the handle, so the number was its own. */
static int
open_holder(const char *path, int *pidfd, struct base_error *why)
{
    pid_t pid, again;
    int err = pid_file_holder(path, &pid, why);
    if (err != 0)
        return err;
    int fd = pidfd_open(pid, 0);
    if (fd < 0)
        return base_error_sys(why, errno, "find the process that holds", path);
    err = pid_file_holder(path, &again, why);
    if (err == 0 && again != pid)
        err = base_error_set(why, NX_EBUSY, path, "noexd was started anew at this moment; try again");
    if (err != 0)
        (void)close(fd);
    else
        *pidfd = fd;
    return err;
}

int
process_signal_by_prefix(const char *prefix, const char *name)
{
    char path[4096];
    int len = snprintf(path, sizeof path, "%s/var/run/noexd/noexd.pid", prefix);
    if (len < 0 || (size_t)len >= sizeof path) {
        fprintf(stderr, "noexd: -s %s: the prefix is too long\n", name);
        return 1;
    }
    return process_signal(path, name);
}

int
process_signal(const char *pid_file, const char *name)
{
    static const struct { const char *name; int signal; } known[] = {
        { "stop", SIGTERM }, { "quit", SIGQUIT }, { "reopen", SIGUSR1 },
    };
    int number = 0;
    for (size_t i = 0; i < BASE_COUNT(known); i++)
        if (strcmp(name, known[i].name) == 0)
            number = known[i].signal;
    if (number == 0) {
        fprintf(stderr, "noexd: -s %s: use stop, quit or reopen\n", name);
        return 2;
    }
    struct base_error why = { 0 };
    int pidfd = -1;
    int err = open_holder(pid_file, &pidfd, &why);
    if (err == 0 && pidfd_send_signal(pidfd, number, NULL, 0) != 0)
        err = base_error_sys(&why, errno, "send the signal to the holder of", pid_file);
    if (pidfd >= 0)
        (void)close(pidfd);
    if (err != 0)
        fprintf(stderr, "noexd: -s %s: %s\n", name, why.text);
    return err == 0 ? 0 : 1;
}
