/*
 * log.c - lines to a file or stderr that never make anybody wait.
 *
 * Lives here: the line's form, the one write(2) that carries it, the count of lines lost, the gate for what strangers trigger.
 * Never here: the decision what is worth a line; secrets; bodies. Not for signal handlers.
 * Runs in: every process; the descriptor is inherited or handed over, the path is used by the master alone.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum { LOG_LINE_MAX = 2048, LOG_PROCESS_MAX = 31 };   /* a line fits PIPE_BUF: on a pipe it is written whole or not at all */

static struct {
    int fd;
    bool owned;                                       /* false: descriptor 2, not ours to close */
    bool torn;                                        /* the last write ended in mid-line (disk full) */
    enum log_level level;
    uint64_t lost, lost_told;
    char process[LOG_PROCESS_MAX + 1];
    char path[PATH_MAX];
} the_log = { .fd = STDERR_FILENO, .level = LOG_INFO, .process = "noexd" };

static const char *const level_names[LOG_LEVELS] = { "error", "warn", "info", "debug" };

/* ---- where lines go */

static void
take(int fd, bool owned)
{
    int former = the_log.owned ? the_log.fd : -1;
    the_log.fd = fd;
    the_log.owned = owned;
    the_log.torn = false;
    if (former >= 0 && former != fd)
        (void)close(former);                          /* nothing is buffered: a failure here loses nothing */
}

/* O_NONBLOCK: neither opening nor writing a FIFO may wait. One without a reader is opened for both, so that it exists for us until a
 * reader comes. Regular files ignore the flag. */
static int
open_path(const char *path)
{
    int flags = O_CREAT | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    int fd = open(path, O_WRONLY | flags, 0640);
    if (fd < 0 && errno == ENXIO)
        fd = open(path, O_RDWR | flags, 0640);
    return fd;
}

int
log_open(const char *path, struct base_error *why)
{
    if (path == NULL || path[0] == '\0' || strlen(path) >= sizeof the_log.path)
        return base_error_set(why, NX_EINVAL, path, "log path is empty or longer than %zu bytes", sizeof the_log.path - 1);
    if (strcmp(path, "stderr") == 0)
        take(STDERR_FILENO, false);
    else {
        int fd = open_path(path);
        if (fd < 0)
            return base_error_sys(why, errno, "open log", path);
        take(fd, true);
    }
    memmove(the_log.path, path, strlen(path) + 1);    /* `path` is the_log.path when reopening */
    return 0;
}

int
log_reopen(struct base_error *why)
{
    return the_log.path[0] != '\0' ? log_open(the_log.path, why) : 0;     /* never opened: still descriptor 2 */
}

void
log_take_fd(int fd)
{
    take(fd, true);
}

int
log_fd(void)
{
    return the_log.fd;
}

void
log_set_level(enum log_level level)
{
    the_log.level = level;
}

enum log_level
log_get_level(void)
{
    return the_log.level;
}

void
log_set_process(const char *name)
{
    (void)snprintf(the_log.process, sizeof the_log.process, "%s", name);
}

int
log_level_parse(const char *text, enum log_level *out)
{
    for (int i = 0; i < LOG_LEVELS; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *out = (enum log_level)i;
            return 0;
        }
    }
    return NX_EINVAL;
}

const char *
log_level_name(enum log_level level)
{
    return (unsigned)level < LOG_LEVELS ? level_names[level] : "unknown";
}

uint64_t
log_lost(void)
{
    return the_log.lost;
}

/* ---- one write, without waiting and without a SIGPIPE */

static ssize_t
write_if_ready(int fd, const char *line, size_t len)
{
    struct pollfd can = { .fd = fd, .events = POLLOUT };
    if (poll(&can, 1, 0) != 1 || (can.revents & POLLOUT) == 0 || (can.revents & (POLLERR | POLLNVAL)) != 0) {
        errno = EAGAIN;
        return -1;
    }
    return write(fd, line, len);
}

/* A pipe may be shared with other writers, who can fill it between poll and write; RWF_NOWAIT leaves no such gap, where the kernel
 * knows it for pipes (6.4 and later). */
static ssize_t
write_nowait(int fd, const char *line, size_t len)
{
    struct iovec iov = { .iov_base = (void *)(uintptr_t)line, .iov_len = len };
    ssize_t n = pwritev2(fd, &iov, 1, -1, RWF_NOWAIT);
    if (n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
        n = write_if_ready(fd, line, len);
    return n;
}

static ssize_t
write_pipe(int fd, const char *line, size_t len)
{
    sigset_t sigpipe, before, pending;
    sigemptyset(&sigpipe);
    sigaddset(&sigpipe, SIGPIPE);
    sigemptyset(&pending);
    (void)sigpending(&pending);
    bool was_pending = sigismember(&pending, SIGPIPE) == 1;
    (void)pthread_sigmask(SIG_BLOCK, &sigpipe, &before);
    ssize_t n = write_nowait(fd, line, len);
    int errnum = errno;
    if (n < 0 && errnum == EPIPE && !was_pending) {
        const struct timespec at_once = { 0 };
        (void)sigtimedwait(&sigpipe, NULL, &at_once);
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = errnum;
    return n;
}

static ssize_t
write_line(const char *line, size_t len)
{
    struct stat st;
    if (fstat(the_log.fd, &st) != 0)
        return -1;
    if (S_ISREG(st.st_mode))
        return write(the_log.fd, line, len);
    if (S_ISSOCK(st.st_mode))
        return send(the_log.fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    return S_ISFIFO(st.st_mode) ? write_pipe(the_log.fd, line, len) : write_if_ready(the_log.fd, line, len);
}

static bool
put_line(const char *line, size_t len)
{
    if (the_log.torn && write_line("\n", 1) == 1)     /* or the next line would continue half of another */
        the_log.torn = false;
    ssize_t n;
    do
        n = write_line(line, len);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)len)
        return true;
    if (n > 0)
        the_log.torn = true;
    return false;
}

/* ---- the form of a line */

/* Days since 1970 into a date (Howard Hinnant's civil_from_days). Not gmtime: that takes libc's time-zone lock and may read a file. */
static size_t
put_time(char *out, size_t size)
{
    uint64_t wall = clock_wall_ms();
    unsigned ms = (unsigned)(wall % 1000), second = (unsigned)(wall / 1000 % 86400);
    uint64_t z = wall / 86400000 + 719468, era = z / 146097, doe = z % 146097;
    uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    unsigned day = (unsigned)(doy - (153 * mp + 2) / 5 + 1), month = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
    unsigned long long year = yoe + era * 400 + (month <= 2);
    int n = snprintf(out, size, "%04llu-%02u-%02uT%02u:%02u:%02u.%03uZ", year, month, day, second / 3600, second / 60 % 60,
                     second % 60, ms);
    return n > 0 ? (size_t)n : 0;
}

static bool
is_control(const unsigned char *p)
{
    if (*p < 0x20 || *p == 0x7f)
        return true;
    return p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0;       /* C1 in UTF-8: some terminals obey it */
}

/* `line` has LOG_LINE_MAX bytes; the result ends in a newline. */
static size_t
make_line(char *line, enum log_level level, const char *text)
{
    size_t len = put_time(line, LOG_LINE_MAX);
    int n = snprintf(line + len, LOG_LINE_MAX - len, " %s %s[%ld] ", log_level_name(level), the_log.process, (long)getpid());
    len += n > 0 ? (size_t)n : 0;
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        size_t width = is_control(p) ? 4 : 1;
        if (width > LOG_LINE_MAX - 1 - len)
            break;
        if (width == 1)
            line[len++] = (char)*p;
        else {
            static const char hex[16] = "0123456789abcdef";
            line[len++] = '\\';
            line[len++] = 'x';
            line[len++] = hex[*p >> 4];
            line[len++] = hex[*p & 15];
        }
    }
    line[len++] = '\n';
    return len;
}

static bool
tell_lost(void)
{
    uint64_t count = the_log.lost - the_log.lost_told;
    if (count == 0)
        return true;
    char text[64], line[LOG_LINE_MAX];
    (void)snprintf(text, sizeof text, "log: lines lost count=%llu", (unsigned long long)count);
    if (!put_line(line, make_line(line, LOG_WARN, text)))
        return false;
    the_log.lost_told += count;
    return true;
}

void
log_line(enum log_level level, const char *fmt, ...)
{
    if (level > the_log.level)
        return;
    int saved = errno;
    char text[LOG_LINE_MAX], line[LOG_LINE_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n < 0 || !tell_lost() || !put_line(line, make_line(line, level, text)))
        the_log.lost++;
    errno = saved;                                    /* callers log between a failed call and its report */
}

/* ---- the gate */

bool
log_gate_pass(struct log_gate *gate, uint32_t per_second)
{
    uint64_t second = clock_now_ns() / CLOCK_NS_PER_S;
    if (second != gate->second) {
        uint32_t held = gate->held;
        *gate = (struct log_gate){ .second = second };
        if (held > 0)
            log_warn("log: lines held back count=%u", held);
    }
    if (gate->passed >= per_second) {
        gate->held += gate->held < UINT32_MAX;
        return false;
    }
    gate->passed++;
    return true;
}
