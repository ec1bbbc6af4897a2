/*
 * test_pid_file.c - one master per configuration, by a lock and not by a number.
 */
#include "process/pid_file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "process/process.h"
#include "testing.h"

struct holder { const char *path; int ready[2]; };

/* Takes the lock, says so, and keeps it until it is told by a signal. */
static int
hold(void *arg)
{
    const struct holder *h = arg;
    int fd;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM), sigaddset(&set, SIGQUIT), sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    if (pid_file_open(h->path, &fd, NULL) != 0)
        return 1;
    testing_tell(h->ready[1]);
    int number = 0;
    (void)sigwait(&set, &number);
    return number;
}

static pid_t
start_holder(struct holder *h)
{
    CU_ASSERT_EQUAL_FATAL(pipe(h->ready), 0);
    pid_t pid = testing_fork(hold, h);
    CU_ASSERT_TRUE_FATAL(testing_hear(h->ready[0]));
    (void)close(h->ready[0]), (void)close(h->ready[1]);
    return pid;
}

UNIT(pid_file, the_first_holds_it_and_its_number_is_inside)
{
    const char *path = testing_path("first.pid");
    int fd = -1;
    CU_ASSERT_EQUAL_FATAL(pid_file_open(path, &fd, NULL), 0);
    char text[32] = "", want[32];
    CU_ASSERT(pread(fd, text, sizeof text - 1, 0) > 0);
    snprintf(want, sizeof want, "%d\n", (int)getpid());
    CU_ASSERT_STRING_EQUAL(text, want);
    CU_ASSERT_EQUAL(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    pid_file_remove(path, fd);
    CU_ASSERT_FALSE(testing_exists(path));
}

UNIT(pid_file, a_second_start_is_refused_and_names_the_first)
{
    struct holder h = { .path = testing_path("busy.pid") };
    pid_t pid = start_holder(&h);
    int fd = -1;
    struct base_error why = { 0 };
    char part[32];
    CU_ASSERT_EQUAL(pid_file_open(h.path, &fd, &why), NX_ECONFLICT);
    snprintf(part, sizeof part, "process %d ", (int)pid);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, part));
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, h.path));
    pid_t found = 0;
    CU_ASSERT_EQUAL(pid_file_holder(h.path, &found, NULL), 0);
    CU_ASSERT_EQUAL(found, pid);
    (void)kill(pid, SIGKILL);
    (void)testing_wait(pid);
}

UNIT(pid_file, what_a_killed_master_leaves_is_taken_over)
{
    struct holder h = { .path = testing_path("killed.pid") };
    pid_t pid = start_holder(&h), found;
    (void)kill(pid, SIGKILL);
    (void)testing_wait(pid);
    CU_ASSERT_TRUE(testing_exists(h.path));
    CU_ASSERT_EQUAL(pid_file_holder(h.path, &found, NULL), NX_ENOSERVER);
    int fd = -1;
    CU_ASSERT_EQUAL_FATAL(pid_file_open(h.path, &fd, NULL), 0);
    pid_file_remove(h.path, fd);
}

UNIT(pid_file, a_stale_file_with_the_number_of_a_living_stranger_does_not_matter)
{
    const char *path = testing_file("stranger.pid", "1\n", 2, 0644);
    pid_t found;
    int fd = -1;
    CU_ASSERT_EQUAL(pid_file_holder(path, &found, NULL), NX_ENOSERVER);
    CU_ASSERT_EQUAL_FATAL(pid_file_open(path, &fd, NULL), 0);
    char text[32] = "";
    CU_ASSERT(pread(fd, text, sizeof text - 1, 0) > 2);
    pid_file_remove(path, fd);
}

UNIT(pid_file, a_file_put_in_its_place_by_somebody_else_is_not_removed)
{
    const char *path = testing_path("replaced.pid");
    int fd = -1;
    CU_ASSERT_EQUAL_FATAL(pid_file_open(path, &fd, NULL), 0);
    (void)testing_file("replaced.pid", "x\n", 2, 0644);
    pid_file_remove(path, fd);
    CU_ASSERT_TRUE(testing_exists(path));
}

UNIT(pid_file, a_symbolic_link_is_not_followed)
{
    const char *target = testing_file("target", "precious\n", 9, 0644), *path = testing_path("link.pid");
    CU_ASSERT_EQUAL_FATAL(symlink(target, path), 0);
    int fd = -1;
    CU_ASSERT_EQUAL(pid_file_open(path, &fd, NULL), NX_ESYS);
    struct stat st;
    CU_ASSERT_EQUAL(stat(target, &st), 0);
    CU_ASSERT_EQUAL(st.st_size, 9);
}

UNIT(pid_file, signals_reach_the_holder_of_the_lock)
{
    static const struct { const char *name; int number; } all[] = { { "stop", SIGTERM }, { "quit", SIGQUIT }, { "reopen", SIGUSR1 } };
    for (size_t i = 0; i < 3; i++) {
        struct holder h = { .path = testing_path("signal.pid") };
        pid_t pid = start_holder(&h);
        CU_ASSERT_EQUAL(process_signal(h.path, all[i].name), 0);
        CU_ASSERT_EQUAL(testing_wait(pid), all[i].number);
    }
}

UNIT(pid_file, a_signal_to_nobody_fails_and_an_unknown_one_is_wrong_usage)
{
    const char *path = testing_path("nobody.pid");
    /* Its complaints belong to standard error. */
    int kept = dup(2), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)dup2(null, 2);
    int none = process_signal(path, "stop"), unknown = process_signal(path, "dance");
    (void)dup2(kept, 2);
    (void)close(kept), (void)close(null);
    CU_ASSERT_EQUAL(none, 1);
    CU_ASSERT_EQUAL(unknown, 2);
}
