/*
 * test_coroutine.c - switching stacks, and the guard page below each.
 */
#include "genserver/coroutine.h"

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

/* ThreadSanitizer keeps a megabyte for each stack it is told of. */
#ifdef __SANITIZE_THREAD__
enum { UNIT_FIBERS = 300 };
#else
enum { UNIT_FIBERS = 10000 };
#endif

static struct coroutine *main_co, *co[3];
static int trace[64], traced;

static void
ping(void *arg)
{
    int me = *(int *)arg;
    for (int i = 0; ; i++) {
        volatile char frame[512];                     /* its own frames must survive the others' running */
        memset((char *)(uintptr_t)frame, me, sizeof frame);
        trace[traced++] = me * 10 + i;
        coroutine_switch(co[me], me < 2 ? co[me + 1] : main_co);
        for (size_t k = 0; k < sizeof frame; k++)
            if (frame[k] != me)
                abort();
    }
}

UNIT(coroutine, switches_go_on_where_each_stopped)
{
    static int ids[3] = { 0, 1, 2 };
    traced = 0;
    CU_ASSERT_EQUAL_FATAL(coroutine_adopt(&main_co), 0);
    for (int i = 0; i < 3; i++)
        CU_ASSERT_EQUAL_FATAL(coroutine_new(64 << 10, ping, &ids[i], &co[i]), 0);
    for (int round = 0; round < 3; round++)
        coroutine_switch(main_co, co[0]);
    static const int expected[] = { 0, 10, 20, 1, 11, 21, 2, 12, 22 };
    CU_ASSERT_EQUAL(traced, 9);
    CU_ASSERT_EQUAL(memcmp(trace, expected, sizeof expected), 0);
    for (int i = 0; i < 3; i++)
        coroutine_free(&co[i]);
    CU_ASSERT_PTR_NULL(co[0]);
    coroutine_free(&main_co);
    coroutine_free(&main_co);                         /* NULL is fine */
}

static void
back_and_forth(void *arg)
{
    (void)arg;
    for (;;)
        coroutine_switch(co[0], main_co);
}

UNIT(coroutine, ten_thousand_are_made_used_and_freed)
{
    enum { MANY = UNIT_FIBERS };
    struct coroutine **many = calloc(MANY, sizeof *many);
    CU_ASSERT_EQUAL_FATAL(coroutine_adopt(&main_co), 0);
    for (int i = 0; i < MANY; i++) {
        CU_ASSERT_EQUAL_FATAL(coroutine_new(64 << 10, back_and_forth, NULL, &many[i]), 0);
        co[0] = many[i];
        coroutine_switch(main_co, co[0]);
    }
    for (int i = 0; i < MANY; i++) {
        co[0] = many[i];
        coroutine_switch(main_co, co[0]);
        coroutine_free(&many[i]);
    }
    coroutine_free(&main_co);
    free(many);
}

static int
deeper(volatile char *above)
{
    volatile char frame[1024];
    frame[0] = above[0];
    frame[1023] = 1;
    return frame[0] == 99 ? 0 : deeper(frame) + frame[1023];
}

static void
overflow(void *arg)
{
    volatile char first[1] = { 1 };
    (void)arg;
    _exit(deeper(first) != 0 ? 7 : 8);
}

UNIT(coroutine, torture_51_a_stack_overflow_hits_the_guard_page)
{
    fflush(stdout);
    int pid = fork();
    if (pid == 0) {
        struct rlimit none = { 0, 0 };
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)signal(SIGSEGV, SIG_DFL);               /* the sanitizers' report is not what is tested */
        if (coroutine_adopt(&main_co) != 0 || coroutine_new(64 << 10, overflow, NULL, &co[0]) != 0)
            _exit(9);
        coroutine_switch(main_co, co[0]);
        _exit(10);
    }
    int status = 0;
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}
