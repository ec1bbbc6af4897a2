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
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "process/process.h"

int
pid_file_open(const char *path, int *fd, struct base_error *why)
{
    int f = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (f < 0)
        return base_error_sys(why, errno, "open pid file", path);
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    if (fcntl(f, F_SETLK, &lock) != 0) {
        int e = errno;
        struct flock holder = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        (void)fcntl(f, F_GETLK, &holder);
        (void)close(f);
        if (e != EAGAIN && e != EACCES)
            return base_error_sys(why, e, "lock pid file", path);
        return base_error_set(why, NX_ECONFLICT, path, "noexd already runs with this configuration: process %d holds %s; stop it with -s stop", (int)holder.l_pid, path);
    }
    char text[32];
    int len = snprintf(text, sizeof text, "%d\n", (int)getpid());
    if (ftruncate(f, 0) != 0 || pwrite(f, text, (size_t)len, 0) != len) {
        int e = errno;
        (void)close(f);
        return base_error_sys(why, e, "write pid file", path);
    }
    *fd = f;
    return 0;
}

void
pid_file_remove(const char *path, int fd)
{
    (void)unlink(path);           /* while the lock is still ours, so that no other master's file is removed */
    (void)close(fd);
}

int
pid_file_holder(const char *path, pid_t *out, struct base_error *why)
{
    int f = open(path, O_RDWR | O_CLOEXEC);
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

int
process_signal(const struct conf *conf, const char *name)
{
    static const struct { const char *name; int signal; } known[] = {
        { "stop", SIGTERM }, { "quit", SIGQUIT }, { "reopen", SIGUSR1 },
    };
    int number = 0;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(name, known[i].name) == 0)
            number = known[i].signal;
    if (number == 0) {
        fprintf(stderr, "noexd: -s %s: use stop, quit or reopen\n", name);
        return 2;
    }
    struct base_error why = { 0 };
    pid_t pid = 0;
    if (pid_file_holder(conf->pid_file, &pid, &why) != 0) {
        fprintf(stderr, "noexd: -s %s: %s\n", name, why.text);
        return 1;
    }
    int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0 || pidfd_send_signal(pidfd, number, NULL, 0) != 0) {
        fprintf(stderr, "noexd: -s %s: process %d: %s\n", name, (int)pid, strerror(errno));
        return 1;
    }
    (void)close(pidfd);
    return 0;
}
