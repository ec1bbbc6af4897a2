/*
 * test_throwaway.c - a process for one job: what ends it, what it inherits, what it cannot keep from us.
 */
#include "process/throwaway.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "process/signals.h"
#include "testing.h"

enum { LONG_MS = 20000 };

struct outcome { int err, status; char text[4096]; struct base_error why; uint64_t ms; };

static struct outcome
run_with(const char *const *steps, int64_t limit_ms, int signal_fd, size_t max)
{
    char *argv[16] = { (char *)(uintptr_t)"throwaway", (char *)(uintptr_t)TESTING_WORD };
    for (size_t i = 0; steps[i] != NULL; i++)
        argv[2 + i] = (char *)(uintptr_t)steps[i];
    struct throwaway t = { .what = "script", .argv = argv, .last_line = "done 42", .limit_ms = limit_ms, .signal_fd = signal_fd };
    struct outcome o = { .status = -1 };
    struct buf out;
    buf_init(&out, max);
    uint64_t before = clock_now_ns();
    o.err = throwaway_run(&t, &out, &o.status, &o.why);
    o.ms = (clock_now_ns() - before) / CLOCK_NS_PER_MS;
    const char *text = buf_cstr(&out);
    snprintf(o.text, sizeof o.text, "%s", text != NULL ? text : "");
    buf_fini(&out);
    return o;
}

#define STEPS(...) (const char *const[]){ __VA_ARGS__, NULL }
#define RUN(...) run_with(STEPS(__VA_ARGS__), LONG_MS, -1, 1 << 20)

UNIT(throwaway, what_it_says_arrives_and_its_status_too)
{
    struct outcome o = RUN("say:one", "say:two", "exit:3");
    CU_ASSERT_EQUAL(o.err, 0);
    CU_ASSERT_STRING_EQUAL(o.text, "one\ntwo\n");
    CU_ASSERT(WIFEXITED(o.status));
    CU_ASSERT_EQUAL(WEXITSTATUS(o.status), 3);
}

UNIT(throwaway, its_last_line_is_the_end_even_if_it_goes_on)
{
    struct outcome o = RUN("say:one", "say:done 42", "sleep");
    CU_ASSERT_EQUAL(o.err, 0);
    CU_ASSERT_STRING_EQUAL(o.text, "one\ndone 42\n");
    CU_ASSERT(o.ms < LONG_MS / 2);
}

UNIT(throwaway, part_of_a_line_is_not_the_last_line)
{
    struct outcome o = RUN("say:not done 42", "say:done 421", "say:done 4", "exit:0");
    CU_ASSERT_EQUAL(o.err, 0);
    CU_ASSERT_STRING_EQUAL(o.text, "not done 42\ndone 421\ndone 4\n");
}

UNIT(throwaway, a_signal_is_seen_in_its_status)
{
    struct outcome o = RUN("say:one", "abort");
    CU_ASSERT_EQUAL(o.err, 0);
    CU_ASSERT(WIFSIGNALED(o.status) || WEXITSTATUS(o.status) != 0);
    CU_ASSERT_STRING_EQUAL(o.text, "one\n");
}

/* The number in "child N". Is it gone? */
static bool
child_is_gone(const char *text)
{
    const char *at = strstr(text, "child ");
    int pid = at != NULL ? atoi(at + 6) : 0;
    CU_ASSERT_FATAL(pid > 1);
    int fd = pidfd_open(pid, 0);
    if (fd < 0)
        return true;                     /* reaped by whoever inherited it */
    struct pollfd p = { .fd = fd, .events = POLLIN };
    bool is_gone = poll(&p, 1, 10000) == 1;
    (void)close(fd);
    return is_gone;
}

UNIT(throwaway, a_process_that_it_leaves_behind_delays_nothing_and_ends_with_it)
{
    struct outcome o = RUN("leave-child", "say:done 42", "exit:0");
    CU_ASSERT_EQUAL(o.err, 0);
    CU_ASSERT(o.ms < LONG_MS / 2);
    CU_ASSERT_TRUE(child_is_gone(o.text));
}

UNIT(throwaway, its_death_is_seen_though_its_child_keeps_the_pipe)
{
    struct outcome o = RUN("leave-child", "exit:5");
    CU_ASSERT_EQUAL(o.err, 0);
    CU_ASSERT(o.ms < LONG_MS / 2);
    CU_ASSERT_EQUAL(WEXITSTATUS(o.status), 5);
    CU_ASSERT_TRUE(child_is_gone(o.text));
}

UNIT(throwaway, one_that_says_nothing_is_ended_at_its_deadline)
{
    struct outcome o = run_with(STEPS("say:one", "leave-child", "sleep"), 100, -1, 1 << 20);
    CU_ASSERT_EQUAL(o.err, NX_ETIMEDOUT);
    CU_ASSERT(o.ms >= 100);
    CU_ASSERT(WIFSIGNALED(o.status));
    CU_ASSERT_TRUE(o.text[0] == '\0' || child_is_gone(o.text));      /* it may not have come so far */
}

UNIT(throwaway, one_that_says_too_much_is_ended)
{
    struct outcome o = run_with(STEPS("flood"), LONG_MS, -1, 64 << 10);
    CU_ASSERT_EQUAL(o.err, NX_ETOOBIG);
    CU_ASSERT(o.ms < LONG_MS / 2);
}

UNIT(throwaway, it_has_no_descriptors_but_its_own_four)
{
    int extra = open("/dev/null", O_RDONLY);             /* not close-on-exec, by intent */
    struct outcome o = RUN("tell-fds", "say:done 42");
    (void)close(extra);
    CU_ASSERT_EQUAL(o.err, 0);
    CU_ASSERT_STRING_EQUAL(o.text, "fd 0\nfd 1\nfd 2\nfd 3\ndone 42\n");
}

struct test_signals { int number; };

/* In a child, because the mask and the dispositions are the process's. */
static int
with_signals(void *arg)
{
    int fd = -1;
    if (signals_open(&fd, NULL) != 0)
        return 90;
    struct outcome o = RUN("tell-signals", "say:done 42");
    if (strcmp(o.text, "blocked 0 ignored 0\ndone 42\n") != 0)
        return 91;
    (void)kill(getpid(), ((struct test_signals *)arg)->number);
    o = run_with(STEPS("sleep"), 500, fd, 1 << 20);
    return o.err == NX_ECANCELED ? 1 : o.err == NX_ETIMEDOUT ? 2 : 92;
}

UNIT(throwaway, a_signal_that_says_end_ends_it_and_another_does_not)
{
    CU_ASSERT_EQUAL(testing_wait(testing_fork(with_signals, &(struct test_signals){ SIGINT })), 1);
    CU_ASSERT_EQUAL(testing_wait(testing_fork(with_signals, &(struct test_signals){ SIGTERM })), 1);
    CU_ASSERT_EQUAL(testing_wait(testing_fork(with_signals, &(struct test_signals){ SIGHUP })), 2);
}

/* Tells its number, then waits for ever on a throwaway that waits for ever. */
static int
starter(void *arg)
{
    (void)arg;
    (void)run_with(STEPS("sleep"), LONG_MS, -1, 1 << 20);
    return 0;
}

/* The one child of that process, once it is the program. */
static pid_t
child_of(pid_t pid)
{
    char path[64], text[256] = "";
    for (int i = 0; i < 1000; i++) {
        snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
        FILE *f = fopen(path, "re");
        int child = 0;
        if (f != NULL) {
            if (fscanf(f, "%d", &child) != 1)
                child = 0;
            (void)fclose(f);
        }
        snprintf(path, sizeof path, "/proc/%d/cmdline", child);
        if (child > 0 && (f = fopen(path, "re")) != NULL) {
            size_t n = fread(text, 1, sizeof text - 1, f);
            (void)fclose(f);
            if (n > 0 && memmem(text, n, TESTING_WORD, sizeof TESTING_WORD) != NULL)
                return child;
        }
        (void)poll(NULL, 0, 10);                         /* /proc has no event for this */
    }
    return 0;
}

UNIT(throwaway, it_dies_with_the_one_that_has_started_it)
{
    pid_t pid = testing_fork(starter, NULL), child = child_of(pid);
    if (child == 0) {
        unit_skip("the kernel does not list children");
        (void)kill(pid, SIGKILL), (void)testing_wait(pid);
        return;
    }
    int fd = pidfd_open(child, 0);
    CU_ASSERT_FATAL(fd >= 0);
    (void)kill(pid, SIGKILL);
    (void)testing_wait(pid);
    struct pollfd p = { .fd = fd, .events = POLLIN };
    CU_ASSERT_EQUAL(poll(&p, 1, 10000), 1);
    (void)close(fd);
}
