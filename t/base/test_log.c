/*
 * test_log.c - the form of a line, and that no line ever waits or kills.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "unit.h"

/* All that can be read from fd now. */
static size_t
drain(int fd, char *out, size_t size)
{
    size_t len = 0;
    ssize_t n;
    while (len < size - 1 && (n = read(fd, out + len, size - 1 - len)) > 0)
        len += (size_t)n;
    out[len] = '\0';
    return len;
}

static void
back_to_stderr(void)
{
    CU_ASSERT_EQUAL(log_open("stderr", NULL), 0);
    log_set_level(LOG_INFO);
    log_set_process("noexd");
    clock_release();
}

static void
pipe_for_log(int *reader, int size)
{
    int fds[2];
    CU_ASSERT_EQUAL_FATAL(pipe2(fds, O_CLOEXEC), 0);
    CU_ASSERT_EQUAL(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    if (size > 0)
        CU_ASSERT(fcntl(fds[1], F_SETPIPE_SZ, size) > 0);
    log_take_fd(fds[1]);
    *reader = fds[0];
}

UNIT(log, a_line_has_time_level_process_and_text)
{
    int reader;
    char got[4096], want[256];
    pipe_for_log(&reader, 0);
    clock_hold(1, UINT64_C(1795444978123));
    log_set_process("worker 0");
    log_warn("link: peer down node=%s pending=%d", "app2@127.0.0.1:4370", 3);
    drain(reader, got, sizeof got);
    snprintf(want, sizeof want, "2026-11-23T14:42:58.123Z warn worker 0[%ld] link: peer down node=app2@127.0.0.1:4370 pending=3\n",
             (long)getpid());
    CU_ASSERT_STRING_EQUAL(got, want);

    static const struct { uint64_t ms; const char *text; } dates[] = {
        { 0, "1970-01-01T00:00:00.000Z" }, { 951782399999, "2000-02-28T23:59:59.999Z" }, { 951782400000, "2000-02-29T00:00:00.000Z" },
        { 1709251199000, "2024-02-29T23:59:59.000Z" }, { 4107542400000, "2100-03-01T00:00:00.000Z" },
    };
    for (size_t i = 0; i < sizeof dates / sizeof dates[0]; i++) {
        clock_hold(1, dates[i].ms);
        log_info("x");
        drain(reader, got, sizeof got);
        CU_ASSERT_EQUAL(strncmp(got, dates[i].text, 24), 0);
    }
    back_to_stderr();
    (void)close(reader);
}

UNIT(log, levels_above_the_set_one_are_silent)
{
    int reader;
    char got[4096];
    pipe_for_log(&reader, 0);
    log_set_level(LOG_WARN);
    log_info("not me");
    log_debug("not me");
    log_error("me");
    log_warn("me too");
    drain(reader, got, sizeof got);
    CU_ASSERT_PTR_NULL(strstr(got, "not me"));
    CU_ASSERT_PTR_NOT_NULL(strstr(got, "error noexd"));
    CU_ASSERT_PTR_NOT_NULL(strstr(got, "warn noexd"));
    enum log_level level = LOG_ERROR;
    CU_ASSERT_EQUAL(log_level_parse("debug", &level), 0);
    CU_ASSERT_EQUAL(level, LOG_DEBUG);
    CU_ASSERT_EQUAL(log_level_parse("Debug", &level), NX_EINVAL);
    CU_ASSERT_STRING_EQUAL(log_level_name(LOG_ERROR), "error");
    CU_ASSERT_EQUAL(log_get_level(), LOG_WARN);
    back_to_stderr();
    (void)close(reader);
}

UNIT(log, control_bytes_are_escaped_and_text_is_not)
{
    int reader;
    char got[4096];
    pipe_for_log(&reader, 0);
    log_info("a\nb\x1b[31m\x7f\xc2\x9b z\xc3\xa4hler");
    size_t len = drain(reader, got, sizeof got);
    CU_ASSERT_PTR_NOT_NULL(strstr(got, "] a\\x0ab\\x1b[31m\\x7f"));
    CU_ASSERT_PTR_NOT_NULL(strstr(got, " z\xc3\xa4hler\n"));
    CU_ASSERT_PTR_NULL(strstr(got, "\xc2\x9b"));
    CU_ASSERT_PTR_EQUAL(strchr(got, '\n'), got + len - 1);
    back_to_stderr();
    (void)close(reader);
}

UNIT(log, a_long_line_is_cut_at_2048_bytes_with_its_newline)
{
    int reader;
    static char got[8192], text[5000];
    pipe_for_log(&reader, 0);
    memset(text, 'x', sizeof text - 1);
    log_info("%s", text);
    CU_ASSERT_EQUAL(drain(reader, got, sizeof got), 2048);
    CU_ASSERT_EQUAL(got[2047], '\n');
    memset(text, 1, sizeof text - 1);                 /* four bytes each when escaped: an escape is not cut in two */
    log_info("%s", text);
    size_t len = drain(reader, got, sizeof got);
    CU_ASSERT(len <= 2048 && len > 2040);
    CU_ASSERT_EQUAL(strcmp(got + len - 5, "\\x01\n"), 0);
    back_to_stderr();
    (void)close(reader);
}

UNIT(log, a_full_pipe_loses_lines_counts_them_and_says_so)
{
    int reader;
    static char got[70000];
    pipe_for_log(&reader, 16384);
    uint64_t before = log_lost();
    for (int i = 0; i < 2000; i++)
        log_info("line %d", i);                       /* would hang here if it waited */
    uint64_t lost = log_lost() - before;
    CU_ASSERT(lost > 1000 && lost < 2000);
    drain(reader, got, sizeof got);
    log_info("first again");
    log_info("second again");
    drain(reader, got, sizeof got);
    char want[64];
    snprintf(want, sizeof want, "log: lines lost count=%llu\n", (unsigned long long)lost);
    const char *told = strstr(got, want), *first = strstr(got, "first again"), *second = strstr(got, "second again");
    CU_ASSERT_FATAL(told != NULL && first != NULL && second != NULL);
    CU_ASSERT(told < first && first < second);
    CU_ASSERT_PTR_NULL(strstr(first, "lines lost"));
    CU_ASSERT_EQUAL(log_lost() - before, lost);
    back_to_stderr();
    (void)close(reader);
}

/* In a child with the default SIGPIPE: the log must not need anybody's care to survive. */
UNIT(log, a_reader_that_is_gone_does_not_kill)
{
    for (int kind = 0; kind < 2; kind++) {
        pid_t pid = fork();
        CU_ASSERT_FATAL(pid >= 0);
        if (pid == 0) {
            (void)signal(SIGPIPE, SIG_DFL);
            int fds[2];
            if ((kind == 0 ? pipe(fds) : socketpair(AF_UNIX, SOCK_STREAM, 0, fds)) != 0)
                _exit(2);
            (void)close(fds[0]);
            log_take_fd(fds[1]);
            uint64_t before = log_lost();
            errno = E2BIG;
            log_info("nobody reads this");
            _exit(log_lost() - before == 1 && errno == E2BIG ? 0 : 3);
        }
        int status = -1;
        CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
        CU_ASSERT_EQUAL(status, 0);
    }
}

UNIT(log, a_descriptor_that_is_closed_loses_lines_only)
{
    uint64_t before = log_lost();
    int fd = dup(STDERR_FILENO);
    log_take_fd(fd);
    (void)close(fd);
    log_info("nowhere");
    CU_ASSERT_EQUAL(log_lost() - before, 1);
    int again = open("/dev/null", O_WRONLY | O_CLOEXEC);
    log_take_fd(again);
    log_info("told");                                 /* tells /dev/null of the loss, so that later tests see none */
    back_to_stderr();
}

UNIT(log, a_disk_that_is_full_loses_lines_only)
{
    uint64_t before = log_lost();
    log_take_fd(open("/dev/full", O_WRONLY | O_CLOEXEC));
    log_info("nowhere");
    log_info("nowhere");
    CU_ASSERT_EQUAL(log_lost() - before, 2);
    log_take_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
    log_info("told");
    CU_ASSERT_EQUAL(log_lost() - before, 2);
    back_to_stderr();
}

UNIT(log, a_file_is_appended_to_private_and_opened_anew_after_a_rotation)
{
    char dir[] = "/tmp/noexd-log-XXXXXX", path[64], old[64], got[4096];
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/error.log", dir);
    snprintf(old, sizeof old, "%s/error.log.1", dir);
    struct base_error why;
    mode_t mask = umask(022);
    CU_ASSERT_EQUAL_FATAL(log_open(path, &why), 0);
    struct stat st;
    CU_ASSERT_EQUAL(stat(path, &st), 0);
    CU_ASSERT_EQUAL(st.st_mode & 07777, 0640);
    CU_ASSERT(fcntl(log_fd(), F_GETFD) & FD_CLOEXEC);
    CU_ASSERT(fcntl(log_fd(), F_GETFL) & O_APPEND);
    log_info("one");
    CU_ASSERT_EQUAL(rename(path, old), 0);
    log_info("two");
    CU_ASSERT_EQUAL(log_reopen(&why), 0);
    log_info("three");

    int fd = open(old, O_RDONLY | O_CLOEXEC);
    drain(fd, got, sizeof got);
    (void)close(fd);
    CU_ASSERT(strstr(got, "] one\n") != NULL && strstr(got, "] two\n") != NULL && strstr(got, "three") == NULL);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    drain(fd, got, sizeof got);
    (void)close(fd);
    CU_ASSERT(strstr(got, "] three\n") != NULL && strstr(got, "two") == NULL);

    /* A path that cannot be opened changes nothing. */
    char bad[80];
    snprintf(bad, sizeof bad, "%s/no/such.log", dir);
    CU_ASSERT_EQUAL(log_open(bad, &why), NX_ESYS);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, bad));
    CU_ASSERT_EQUAL(log_open("", &why), NX_EINVAL);
    CU_ASSERT_EQUAL(log_reopen(&why), 0);
    log_info("four");
    fd = open(path, O_RDONLY | O_CLOEXEC);
    drain(fd, got, sizeof got);
    (void)close(fd);
    CU_ASSERT_PTR_NOT_NULL(strstr(got, "] four\n"));
    (void)umask(mask);
    back_to_stderr();
    (void)unlink(path);
    (void)unlink(old);
    (void)rmdir(dir);
}

UNIT(log, a_fifo_without_a_reader_neither_blocks_nor_fails)
{
    char dir[] = "/tmp/noexd-log-XXXXXX", path[64], got[4096];
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/log.fifo", dir);
    CU_ASSERT_EQUAL_FATAL(mkfifo(path, 0600), 0);
    CU_ASSERT_EQUAL(log_open(path, NULL), 0);
    log_info("before anyone reads");
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    CU_ASSERT_FATAL(reader >= 0);
    drain(reader, got, sizeof got);
    CU_ASSERT_PTR_NOT_NULL(strstr(got, "before anyone reads"));
    back_to_stderr();
    (void)close(reader);
    (void)unlink(path);
    (void)rmdir(dir);
}

UNIT(log, a_gate_holds_back_and_tells_how_many)
{
    int reader;
    char got[8192];
    pipe_for_log(&reader, 0);
    struct log_gate gate = { 0 };
    clock_hold(10 * CLOCK_NS_PER_S, 0);
    int passed = 0;
    for (int i = 0; i < 100; i++)
        passed += log_gate_pass(&gate, 3);
    CU_ASSERT_EQUAL(passed, 3);
    CU_ASSERT_EQUAL(drain(reader, got, sizeof got), 0);
    clock_hold(11 * CLOCK_NS_PER_S, 0);
    CU_ASSERT(log_gate_pass(&gate, 3));
    drain(reader, got, sizeof got);
    CU_ASSERT_PTR_NOT_NULL(strstr(got, "log: lines held back count=97\n"));
    CU_ASSERT(log_gate_pass(&gate, 3));
    clock_hold(12 * CLOCK_NS_PER_S, 0);
    CU_ASSERT(log_gate_pass(&gate, 3));
    CU_ASSERT_EQUAL(drain(reader, got, sizeof got), 0);
    back_to_stderr();
    (void)close(reader);
}
