/*
 * testing.c - what the tests of src/process share: files, processes, and this program's other lives.
 */
#include "testing.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process/process.h"

static char dir[] = "/tmp/noexd-process-XXXXXX";
static pid_t owner;

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

static void
remove_all(void)
{
    if (getpid() == owner)
        (void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *
testing_path(const char *name)
{
    static char paths[8][256];
    static unsigned at;
    if (owner == 0) {
        owner = getpid();
        if (mkdtemp(dir) == NULL)
            abort();
        (void)atexit(remove_all);
    }
    char *path = paths[at++ % 8];
    (void)snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

const char *
testing_file(const char *name, const char *text, size_t len, mode_t mode)
{
    const char *path = testing_path(name);
    (void)unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text, len) != (ssize_t)len || fchmod(fd, mode) != 0 || close(fd) != 0)
        abort();
    return path;
}

bool
testing_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

pid_t
testing_fork(int (*fn)(void *arg), void *arg)
{
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        _exit(fn(arg));
    return pid;
}

int
testing_wait(pid_t pid)
{
    int status = 0;
    if (waitpid(pid, &status, 0) != pid)
        return -1;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void
testing_tell(int fd)
{
    if (write(fd, "x", 1) != 1)
        _exit(99);
}

bool
testing_hear(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    char c;
    return poll(&p, 1, 10000) == 1 && read(fd, &c, 1) == 1;
}

/* ---------------------------------------------------------------- other lives */

/* Each word is a step. Verdicts go to descriptor 3, as those of the stager do. */
static int
script(int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        const char *step = argv[i];
        if (strncmp(step, "say:", 4) == 0)
            (void)dprintf(3, "%s\n", step + 4);
        else if (strncmp(step, "exit:", 5) == 0)
            _exit(atoi(step + 5));
        else if (strcmp(step, "abort") == 0)
            (void)signal(SIGABRT, SIG_DFL), abort();
        else if (strcmp(step, "sleep") == 0)
            for (;;)
                pause();
        else if (strcmp(step, "flood") == 0)
            while (dprintf(3, "%0512d\n", 0) > 0)
                continue;
        else if (strcmp(step, "leave-child") == 0) {                 /* it keeps the pipe, and is in our group */
            pid_t pid = fork();
            if (pid == 0)
                for (;;)
                    pause();
            (void)dprintf(3, "child %d\n", (int)pid);
        } else if (strcmp(step, "tell-fds") == 0) {
            DIR *d = opendir("/proc/self/fd");
            for (struct dirent *e = readdir(d); e != NULL; e = readdir(d))
                if (e->d_name[0] != '.' && atoi(e->d_name) != dirfd(d))
                    (void)dprintf(3, "fd %s\n", e->d_name);
            (void)closedir(d);
        } else if (strcmp(step, "tell-signals") == 0) {
            sigset_t mask;
            (void)sigprocmask(SIG_SETMASK, NULL, &mask);
            struct sigaction sigpipe;
            (void)sigaction(SIGPIPE, NULL, &sigpipe);
            (void)dprintf(3, "blocked %d ignored %d\n", sigismember(&mask, SIGTERM), sigpipe.sa_handler == SIG_IGN);
        }
    }
    return 0;
}

/* Before main, which is the runner's. */
__attribute__((constructor)) static void
another_life(void)
{
    static char text[1 << 16];
    static char *argv[1024];
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    for (ssize_t n; fd >= 0 && len < sizeof text - 1 && (n = read(fd, text + len, sizeof text - 1 - len)) > 0;)
        len += (size_t)n;
    if (fd >= 0)
        (void)close(fd);
    int argc = 0;
    for (size_t at = 0; at < len && argc < 1023; at += strlen(text + at) + 1)
        argv[argc++] = text + at;
    if (argc < 2)
        return;
    if (strcmp(argv[1], PROCESS_STAGER_WORD) == 0)
        _exit(process_stager_main(argc, argv));
    if (strcmp(argv[1], PROCESS_VALIDATOR_WORD) == 0)
        _exit(process_validator_main(argc, argv));
    if (strcmp(argv[1], TESTING_WORD) == 0)
        _exit(script(argc, argv));
}
