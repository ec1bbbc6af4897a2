/*
 * test_loop.c - the order of things inside a turn, hooks that change the hooks, deferred frees.
 */
#include "loop/loop.h"

#include <dirent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "unit.h"

static char trace[256];
static char timer_text[] = "timer ", deferred_text[] = "deferred ", child_text[] = "child", one_text[] = "1", two_text[] = "2";

static void
note(const char *what)
{
    strncat(trace, what, sizeof trace - strlen(trace) - 1);
}

static struct loop *
fresh(void)
{
    struct loop *loop = NULL;
    struct base_error why;
    CU_ASSERT_EQUAL_FATAL(loop_new(&loop, &why), 0);
    trace[0] = 0;
    return loop;
}

struct probe { struct loop_hook hook; const char *name; struct loop *loop; struct probe *adds, *removes; int more; };

static bool
probe_run(void *arg)
{
    struct probe *p = arg;
    note(p->name);
    if (p->adds != NULL) {
        loop_add_hook(p->loop, &p->adds->hook);
        p->adds = NULL;
    }
    if (p->removes != NULL) {
        loop_remove_hook(p->loop, &p->removes->hook);
        p->removes = NULL;
    }
    return p->more > 0 && p->more-- > 0;
}

#define PROBE(loop_, name_, rank_) { .hook = { .rank = (rank_), .fn = probe_run }, .name = (name_), .loop = (loop_) }

static void
probe_add(struct probe *p)
{
    p->hook.arg = p;
    loop_add_hook(p->loop, &p->hook);
}

UNIT(loop, hooks_run_by_rank_and_within_a_rank_in_the_order_of_adding)
{
    struct loop *loop = fresh();
    struct probe flush = PROBE(loop, "f", LOOP_RANK_FLUSH), run1 = PROBE(loop, "1", LOOP_RANK_RUN), run2 = PROBE(loop, "2", LOOP_RANK_RUN),
                 expire = PROBE(loop, "e", LOOP_RANK_EXPIRE), last = PROBE(loop, "l", LOOP_RANK_LAST);
    probe_add(&flush), probe_add(&run1), probe_add(&last), probe_add(&run2), probe_add(&expire);
    CU_ASSERT_EQUAL(loop_turn(loop, false), 0);
    CU_ASSERT_STRING_EQUAL(trace, "e12fl");
    CU_ASSERT_EQUAL(loop_turns(loop), 1);
    loop_free(&loop);
    CU_ASSERT_PTR_NULL(loop);
    loop_free(&loop);
}

UNIT(loop, a_hook_may_remove_itself_its_neighbours_and_add_others)
{
    struct loop *loop = fresh();
    struct probe a = PROBE(loop, "a", 10), b = PROBE(loop, "b", 20), c = PROBE(loop, "c", 30), d = PROBE(loop, "d", 25), z = PROBE(loop, "z", 5);
    d.hook.arg = &d;
    z.hook.arg = &z;
    probe_add(&a), probe_add(&b), probe_add(&c);
    b.adds = &d;                                  /* behind b: runs in this turn */
    b.removes = &b;
    a.adds = &z;                                  /* before a: from the next turn on */
    CU_ASSERT_EQUAL(loop_turn(loop, false), 0);
    CU_ASSERT_STRING_EQUAL(trace, "abdc");
    note(" ");
    a.removes = &d;                               /* the next one of a */
    c.removes = &a;                               /* one that has run */
    CU_ASSERT_EQUAL(loop_turn(loop, false), 0);
    CU_ASSERT_STRING_EQUAL(trace, "abdc zac");
    note(" ");
    CU_ASSERT_EQUAL(loop_turn(loop, false), 0);
    CU_ASSERT_STRING_EQUAL(trace, "abdc zac zc");
    loop_remove_hook(loop, &a.hook);              /* not there any more */
    struct loop_hook never = { .rank = 1 };
    loop_remove_hook(loop, &never);
    loop_free(&loop);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
    char byte;
    (void)what, (void)arg;
    CU_ASSERT_EQUAL(read(fd, &byte, 1), 1);
    note("event ");
}

static void
on_timer(void *arg)
{
    note(arg);
}

static bool
stop_hook(void *arg)
{
    note("stop ");
    loop_stop(arg);
    return false;
}

UNIT(loop, a_turn_is_events_then_timers_then_hooks_then_deferred)
{
    struct loop *loop = fresh();
    int fds[2];
    CU_ASSERT_EQUAL_FATAL(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    struct event *ev = event_new(loop_borrow_base(loop), fds[0], EV_READ | EV_PERSIST, on_readable, NULL);
    CU_ASSERT_EQUAL_FATAL(event_add(ev, NULL), 0);
    struct loop_timer timer;
    loop_timer_init(&timer, on_timer, timer_text);
    CU_ASSERT_EQUAL(loop_timer_set(loop, &timer, 1), 0);
    struct loop_hook stop = { .rank = LOOP_RANK_LAST, .fn = stop_hook, .arg = loop };
    loop_add_hook(loop, &stop);
    struct loop_defer defer = { .fn = NULL };
    loop_defer(loop, &defer, on_timer, deferred_text);
    CU_ASSERT_EQUAL(write(fds[1], "x", 1), 1);
    CU_ASSERT_EQUAL(loop_run(loop), 0);
    CU_ASSERT_STRING_EQUAL(trace, "event timer stop deferred ");
    event_free(ev);
    loop_free(&loop);
    (void)close(fds[0]), (void)close(fds[1]);
}

UNIT(loop, a_turn_with_more_to_do_does_not_wait)
{
    struct loop *loop = fresh();
    struct probe busy = PROBE(loop, "b", LOOP_RANK_RUN);
    busy.more = 3;
    probe_add(&busy);
    /* Nothing else can wake this loop: a turn that waited would hang the test. */
    CU_ASSERT_EQUAL(loop_turn(loop, false), 0);
    for (int i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(loop_turn(loop, true), 0);
    CU_ASSERT_STRING_EQUAL(trace, "bbbb");
    CU_ASSERT_EQUAL(busy.more, 0);
    loop_free(&loop);
}

static bool
again_hook(void *arg)
{
    static int calls;
    struct probe *p = arg;
    note(p->name);
    if (calls++ % 2 == 0)
        loop_again(p->loop);
    return false;
}

UNIT(loop, again_keeps_the_next_turn_from_waiting_and_only_that)
{
    struct loop *loop = fresh();
    struct probe late = PROBE(loop, "l", LOOP_RANK_LAST);
    late.hook.fn = again_hook;
    loop_again(loop);                             /* between turns */
    CU_ASSERT_EQUAL(loop_turn(loop, true), 0);
    probe_add(&late);
    CU_ASSERT_EQUAL(loop_turn(loop, false), 0);   /* behind every other hook */
    CU_ASSERT_EQUAL(loop_turn(loop, true), 0);
    CU_ASSERT_STRING_EQUAL(trace, "ll");
    /* Then the loop waits again: only the timer, a long while later for it, ends this turn. */
    struct loop_timer t;
    uint64_t at = clock_now_ns() + 2 * CLOCK_NS_PER_MS;
    loop_timer_init(&t, on_timer, timer_text);
    CU_ASSERT_EQUAL(loop_timer_set(loop, &t, at), 0);
    loop_remove_hook(loop, &late.hook);
    CU_ASSERT_EQUAL(loop_turn(loop, true), 0);
    CU_ASSERT(clock_now_ns() >= at);
    loop_free(&loop);
}

struct again { struct loop *loop; struct loop_defer defer; int left; };

static void
again_run(void *arg)
{
    struct again *a = arg;
    note("d");
    if (--a->left > 0)
        loop_defer(a->loop, &a->defer, again_run, a);
    else
        free(a);
}

UNIT(loop, what_a_deferred_call_defers_runs_in_the_next_turn_and_may_free_itself)
{
    struct loop *loop = fresh();
    struct again *a = calloc(1, sizeof *a);
    *a = (struct again){ .loop = loop, .left = 3 };
    loop_defer(loop, &a->defer, again_run, a);
    CU_ASSERT_EQUAL(loop_turn(loop, true), 0);    /* deferred outside a turn: this one does not wait */
    CU_ASSERT_STRING_EQUAL(trace, "d");
    CU_ASSERT_EQUAL(loop_turn(loop, true), 0);
    CU_ASSERT_STRING_EQUAL(trace, "dd");
    loop_free(&loop);                             /* runs the rest: nothing leaks */
    CU_ASSERT_STRING_EQUAL(trace, "ddd");
}

UNIT(loop, undefer_takes_a_deferred_call_back)
{
    struct loop *loop = fresh();
    struct loop_defer one = { .fn = NULL }, two = { .fn = NULL };
    loop_undefer(&one);
    loop_defer(loop, &one, on_timer, one_text);
    loop_defer(loop, &two, on_timer, two_text);
    loop_undefer(&one);
    CU_ASSERT_EQUAL(loop_turn(loop, true), 0);
    CU_ASSERT_STRING_EQUAL(trace, "2");
    loop_undefer(&two);
    loop_free(&loop);
}

UNIT(loop, stop_before_run_makes_one_turn_that_does_not_wait)
{
    struct loop *loop = fresh();
    loop_stop(loop);
    CU_ASSERT_EQUAL(loop_run(loop), 0);
    CU_ASSERT_EQUAL(loop_turns(loop), 1);
    loop_free(&loop);
}

static struct loop *now_loop;
static uint64_t now_first, now_second;

static bool
now_hook(void *arg)
{
    uint64_t *out = arg;
    *out = loop_now_ns(now_loop);
    clock_hold(clock_now_ns() + 1000, 0);
    return false;
}

UNIT(loop, the_time_stands_still_during_a_turn)
{
    clock_hold(5000, 0);
    struct loop *loop = now_loop = fresh();
    struct loop_hook one = { .rank = 1, .fn = now_hook, .arg = &now_first }, two = { .rank = 2, .fn = now_hook, .arg = &now_second };
    loop_add_hook(loop, &one);
    loop_add_hook(loop, &two);
    CU_ASSERT_EQUAL(loop_turn(loop, false), 0);
    CU_ASSERT_EQUAL(now_first, 5000);
    CU_ASSERT_EQUAL(now_second, 5000);
    CU_ASSERT_EQUAL(loop_turn(loop, false), 0);
    CU_ASSERT_EQUAL(now_first, 7000);
    clock_release();
    loop_free(&loop);
}

static int
count_fds(bool *all_cloexec)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL; ) {
        if (e->d_name[0] == '.' || atoi(e->d_name) == dirfd(dir))
            continue;
        count++;
        if (atoi(e->d_name) > 2 && (fcntl(atoi(e->d_name), F_GETFD) & FD_CLOEXEC) == 0)
            *all_cloexec = false;
    }
    (void)closedir(dir);
    return count;
}

UNIT(loop, descriptors_are_close_on_exec_and_go_away_with_the_loop)
{
    bool before_cloexec = true, cloexec = true;
    int before = count_fds(&before_cloexec);
    struct loop *loop = fresh();
    CU_ASSERT(count_fds(&cloexec) > before);
    if (before_cloexec)                           /* unless our parent left us others */
        CU_ASSERT(cloexec);
    loop_free(&loop);
    CU_ASSERT_EQUAL(count_fds(&cloexec), before);
}

UNIT(loop, each_process_makes_its_own_after_the_fork)
{
    struct loop *loop = fresh();
    pid_t child = fork();
    if (child == 0) {
        struct loop *own = NULL;
        struct loop_timer t;
        if (loop_new(&own, NULL) != 0)
            _exit(1);
        trace[0] = 0;
        loop_timer_init(&t, on_timer, child_text);
        if (loop_timer_set(own, &t, clock_now_ns() + CLOCK_NS_PER_MS) != 0)
            _exit(2);
        while (trace[0] == 0)
            if (loop_turn(own, true) != 0)
                _exit(3);
        loop_free(&own);
        _exit(strcmp(trace, "child") == 0 ? 0 : 4);
    }
    int status = -1;
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CU_ASSERT_EQUAL(loop_turn(loop, false), 0);
    loop_free(&loop);
}
