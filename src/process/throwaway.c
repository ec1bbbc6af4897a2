/*
 * throwaway.c - start, listen, end.
 *
 * Lives here: fork and exec of /proc/self/exe with nothing inherited; one deadline for all it writes; its end by force.
 * Never here: what its lines mean.
 * Runs in: the master before its first fork, -t. Single-threaded: between fork and exec the child may do what it likes.
 */
#include "process/throwaway.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "process/privileges.h"
#include "process/signals.h"

enum { CHUNK = 4096, ANSWER_FD = 3 };

struct running { pid_t pid; int pidfd, fd; };

/* It answers on descriptor 3; standard input is empty, standard output goes where errors go, all else is closed. */
static bool
arrange_descriptors(int answer)
{
    int null = open("/dev/null", O_RDWR);
    if (null < 0 || dup2(null, 0) < 0 || dup2(2, 1) < 0)
        return false;
    if (answer == ANSWER_FD ? fcntl(answer, F_SETFD, 0) != 0 : dup2(answer, ANSWER_FD) < 0)
        return false;
    return close_range(ANSWER_FD + 1, ~0U, 0) == 0;
}

_Noreturn static void
become(const struct throwaway *t, int answer, pid_t parent)
{
    if (!arrange_descriptors(answer))
        _exit(127);
    (void)setsid();                      /* what it forks is in its group, and ends with it */
    struct base_error why = { 0 };
    if (privileges_drop(t->user, &why) != 0) {
        (void)dprintf(2, "noexd: %s: %s\n", t->what, why.text);
        _exit(127);
    }
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(127);
    signals_of_program();
    execv("/proc/self/exe", t->argv);
    _exit(127);
}

static int
start(const struct throwaway *t, struct running *out, struct base_error *why)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0)
        return base_error_sys(why, errno, "pipe2", t->what);
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        become(t, fds[1], parent);
    int e = errno;
    (void)close(fds[1]);
    if (pid < 0) {
        (void)close(fds[0]);
        return base_error_sys(why, e, "fork", t->what);
    }
    int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0 || fcntl(fds[0], F_SETFL, O_NONBLOCK) != 0) {
        e = errno;
        (void)kill(pid, SIGKILL);        /* not reaped yet: the number is still this process */
        (void)waitpid(pid, NULL, 0);
        (void)close(fds[0]);
        if (pidfd >= 0)
            (void)close(pidfd);
        return base_error_sys(why, e, "pidfd_open", t->what);
    }
    *out = (struct running){ .pid = pid, .pidfd = pidfd, .fd = fds[0] };
    return 0;
}

/* Is the line there? Looked for in what is new and as much before it as a line needs. */
static bool
has_line(const struct buf *b, size_t from, const char *line)
{
    size_t len = strlen(line), back = len + 1;
    const char *text = (const char *)buf_data(b), *end = text + buf_len(b);
    const char *at = text + (from > back ? from - back : 0);
    while (at != NULL && (size_t)(end - at) > len) {
        if ((at == text || at[-1] == '\n') && memcmp(at, line, len) == 0 && at[len] == '\n')
            return true;
        at = memchr(at, '\n', (size_t)(end - at));
        at = at != NULL ? at + 1 : NULL;
    }
    return false;
}

/* What there is. 1 = its last line has come, 2 = it has closed the pipe, 0 = nothing more now. */
static int
take(const struct throwaway *t, const struct running *r, struct buf *out, struct base_error *why)
{
    for (;;) {
        uint8_t *room;
        int err = buf_reserve(out, CHUNK, &room);
        if (err != 0)
            return base_error_set(why, err, t->what, "the %s wrote too much", t->what);
        ssize_t n = read(r->fd, room, CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? 0 : base_error_sys(why, errno, "read from the", t->what);
        if (n == 0)
            return 2;
        size_t before = buf_len(out);
        buf_commit(out, (size_t)n);
        if (has_line(out, before, t->last_line))
            return 1;
    }
}

static bool
is_told_to_end(int signal_fd)
{
    for (int number; (number = signals_take(signal_fd)) != 0;)
        if (signals_is_end(number))
            return true;
    return false;
}

/* Until its last line, its death, the deadline, or a signal. A process that it left behind may keep the pipe open for ever: nobody waits for that. */
static int
listen_to(const struct throwaway *t, const struct running *r, struct buf *out, struct base_error *why)
{
    uint64_t deadline = clock_deadline(clock_now_ns(), t->limit_ms);
    bool is_open = true;
    for (;;) {
        uint64_t now = clock_now_ns();
        if (clock_is_past(deadline, now))
            return base_error_set(why, NX_ETIMEDOUT, t->what, "the %s gave no verdict within %" PRId64 " ms", t->what, t->limit_ms);
        struct pollfd p[] = { { .fd = is_open ? r->fd : -1, .events = POLLIN }, { .fd = r->pidfd, .events = POLLIN }, { .fd = t->signal_fd, .events = POLLIN } };
        int n = poll(p, 3, (int)clock_left_ms(deadline, now));
        if (n < 0 && errno != EINTR)
            return base_error_sys(why, errno, "poll for the", t->what);
        if (n <= 0)
            continue;
        int got = is_open ? take(t, r, out, why) : 0;
        if (got < 0 || got == 1)
            return got < 0 ? got : 0;
        is_open = is_open && got != 2;
        if (p[1].revents != 0)
            return 0;                    /* dead when we asked, and all that it wrote was read after that */
        if (p[2].revents != 0 && is_told_to_end(t->signal_fd))
            return base_error_set(why, NX_ECANCELED, t->what, "told to stop while the %s was at work", t->what);
    }
}

int
throwaway_run(const struct throwaway *t, struct buf *out, int *wait_status, struct base_error *why)
{
    struct running r = { .pidfd = -1, .fd = -1 };
    int err = start(t, &r, why);
    if (err != 0)
        return err;
    err = listen_to(t, &r, out, why);
    /* Its whole group, while its number is still taken; itself, in case it did not come as far as a group of its own. */
    (void)kill(-r.pid, SIGKILL);
    (void)kill(r.pid, SIGKILL);
    (void)close(r.fd);
    (void)close(r.pidfd);
    while (waitpid(r.pid, wait_status, 0) < 0 && errno == EINTR)
        continue;
    return err;
}
