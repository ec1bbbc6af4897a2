/*
 * test_base.c - what a broken promise does to a process.
 */
#include "base/base.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

UNIT(base, an_assertion_that_fails_says_one_line_and_ends_the_process)
{
    int pipes[2];
    CU_ASSERT_EQUAL_FATAL(pipe(pipes), 0);
    pid_t pid = fork();
    CU_ASSERT_FATAL(pid >= 0);
    if (pid == 0) {
        const struct rlimit no_core = { 0, 0 };
        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)signal(SIGABRT, SIG_DFL);
        (void)dup2(pipes[1], STDERR_FILENO);
        volatile int two = 2;
        nx_assert(two == 2);                          /* says nothing */
        nx_assert(two == 3);
        _exit(0);
    }
    (void)close(pipes[1]);
    char text[512] = "";
    size_t len = 0;
    ssize_t n;
    while (len < sizeof text - 1 && (n = read(pipes[0], text + len, sizeof text - 1 - len)) > 0)
        len += (size_t)n;
    (void)close(pipes[0]);
    int status = 0;
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "assertion failed: two == 3 at "));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "test_base.c:"));
    const char *end = strchr(text, '\n');
    CU_ASSERT(end != NULL && end[1] == '\0');
}

UNIT(base, container_of_finds_the_struct_around_a_member)
{
    struct holder { int before; char member[3]; } h = { 0 };
    CU_ASSERT_PTR_EQUAL(base_container_of(&h.member, struct holder, member), &h);
    CU_ASSERT_EQUAL(BASE_COUNT(h.member), 3);
}
