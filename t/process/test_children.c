/*
 * test_children.c - the back-off and the watchdog, on real processes and under a clock that stands still.
 */
#include "process/children.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "shm/behaviors.h"
#include "shm/stats.h"
#include "testing.h"

static uint64_t
ms(uint64_t n)
{
    return n * CLOCK_NS_PER_MS;
}

UNIT(children, the_back_off_is_0_100_200_400_up_to_30_s)
{
    static const uint64_t want[] = { 0, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000 };
    struct child_slot c = { .started_ns = ms(1000) };
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++)
        CU_ASSERT_EQUAL(child_back_off_ms(&c, ms(1000)), want[i]);
    c.quick_deaths = UINT32_MAX;
    CU_ASSERT_EQUAL(child_back_off_ms(&c, ms(1000)), 30000);
}

UNIT(children, a_life_of_60_s_starts_the_back_off_anew)
{
    struct child_slot c = { .started_ns = ms(1000) };
    for (int i = 0; i < 8; i++)
        (void)child_back_off_ms(&c, ms(60999));
    CU_ASSERT_EQUAL(child_back_off_ms(&c, ms(60999)), 12800);
    CU_ASSERT_EQUAL(child_back_off_ms(&c, ms(61000)), 0);
    CU_ASSERT_EQUAL(child_back_off_ms(&c, ms(61000)), 0);      /* that life, too, was a long one */
    CU_ASSERT_EQUAL(child_back_off_ms(&c, ms(60999)), 100);
}

UNIT(children, no_more_than_25_forks_in_the_first_60_s_of_a_permanent_crash)
{
    struct child_slot c = { .started_ns = ms(1000) };
    uint64_t now = 1000;
    int forks = 0;
    for (; now < 61000; forks++) {
        c.started_ns = ms(now);
        now += child_back_off_ms(&c, ms(now));
        if (forks > 1000)
            break;
    }
    CU_ASSERT(forks <= 25);
}

/* ---------------------------------------------------------------- the watchdog */

static int
wait_for_ever(void *arg)
{
    (void)arg;
    for (;;)
        pause();
    return 0;
}

static int
deaf(void *arg)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGABRT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    testing_tell(*(int *)arg);
    return wait_for_ever(NULL);
}

struct watch { struct children children; struct child_slot *child; struct stats *stats; int orders_end; uint64_t now; };

/* One worker that is a real process, seen as `state` since a second. */
static void
watch_open(struct watch *w, int (*fn)(void *arg), void *arg, enum child_state state)
{
    memset(w, 0, sizeof *w);
    struct shm_config config = { .workers = 1, .registry_capacity = SHM_REGISTRY_MIN, .nodes_max = SHM_NODES_MIN, .behaviors_max = 1 };
    struct conf conf = { .workers = 1, .affinity = { -1 }, .link_affinity = -1 };
    struct inherit base = { .conf = &conf };
    CU_ASSERT_EQUAL_FATAL(shm_create(&config, &base.shm, NULL), 0);
    children_init(&w->children, &base, NULL, -1, -1);
    w->child = &w->children.items[0];
    w->stats = shm_stats(base.shm, 0);
    w->now = 1000000;
    int pair[2];
    CU_ASSERT_EQUAL_FATAL(channel_pair(pair, NULL), 0);
    orders_open(&w->child->orders, pair[0]);
    w->orders_end = pair[1];
    w->child->pid = testing_fork(fn, arg);
    w->child->pidfd = pidfd_open(w->child->pid, 0);
    CU_ASSERT_FATAL(w->child->pidfd >= 0);
    w->child->state = state;
    w->child->started_ns = w->child->watched_since_ns = ms(w->now);
}

static void
look(struct watch *w, uint64_t after_ms)
{
    w->now += after_ms;
    children_watch(&w->children, ms(w->now), 10000);
}

static bool
is_dead(struct watch *w, int timeout_ms)
{
    struct pollfd p = { .fd = w->child->pidfd, .events = POLLIN };
    return poll(&p, 1, timeout_ms) == 1;
}

/* What ended it: 128 + a signal. */
static int
watch_close(struct watch *w)
{
    (void)kill(w->child->pid, SIGKILL);
    int status = testing_wait(w->child->pid);
    (void)close(w->child->pidfd);
    (void)close(w->orders_end);
    w->child->pid = 0;
    children_fini(&w->children);
    shm_destroy(&w->children.base.shm);
    return status;
}

UNIT(watchdog, a_handler_that_gets_on_is_left_alone_however_long_it_is_busy)
{
    struct watch w;
    watch_open(&w, wait_for_ever, NULL, CHILD_READY);
    for (int i = 0; i < 300; i++) {
        stats_set(w.stats, handler_count, 2 * i + 1);
        look(&w, 100);
        CU_ASSERT_FALSE(w.child->is_warned);
    }
    stats_set(w.stats, handler_count, 1000);             /* even: idle */
    look(&w, 100);
    look(&w, 1000000);
    CU_ASSERT_EQUAL(w.child->aborted_ns, 0);
    CU_ASSERT_FALSE(is_dead(&w, 0));
    (void)watch_close(&w);
}

UNIT(watchdog, M9_a_stuck_handler_is_named_and_ended_at_the_limit)
{
    struct watch w;
    watch_open(&w, wait_for_ever, NULL, CHILD_READY);
    stats_set(w.stats, handler_count, 7);
    look(&w, 100);
    look(&w, 100);
    CU_ASSERT_TRUE(w.child->is_warned);
    look(&w, 9800);
    CU_ASSERT_EQUAL(w.child->aborted_ns, 0);
    look(&w, 200);
    CU_ASSERT_NOT_EQUAL(w.child->aborted_ns, 0);
    CU_ASSERT_TRUE(is_dead(&w, 10000));
    CU_ASSERT_EQUAL(watch_close(&w), 128 + SIGABRT);
}

UNIT(watchdog, a_server_is_named_by_its_behavior_and_serial)
{
    struct watch w;
    char text[CHILD_SERVER_TEXT];
    struct behaviors_entry e = { .name = "counter", .is_present = true };
    uint32_t index;
    watch_open(&w, wait_for_ever, NULL, CHILD_READY);
    CU_ASSERT_EQUAL(behaviors_put(shm_behaviors(w.children.base.shm), &e, &index), 0);
    CU_ASSERT_STRING_EQUAL(children_server_text(&w.children, index, 3, text), "counter#3");
    CU_ASSERT_STRING_EQUAL(children_server_text(&w.children, UINT32_MAX, 3, text), "#3");      /* built in, or the note of a broken module */
    (void)watch_close(&w);
}

UNIT(watchdog, one_that_blocks_SIGABRT_is_killed_5_s_later)
{
    struct watch w;
    int ready[2];
    CU_ASSERT_EQUAL_FATAL(pipe(ready), 0);
    watch_open(&w, deaf, &ready[1], CHILD_READY);
    CU_ASSERT_TRUE_FATAL(testing_hear(ready[0]));
    stats_set(w.stats, handler_count, 7);
    look(&w, 100);
    look(&w, 10000);
    look(&w, 4900);
    CU_ASSERT_FALSE(is_dead(&w, 0));
    look(&w, 200);
    CU_ASSERT_TRUE(is_dead(&w, 10000));
    CU_ASSERT_EQUAL(watch_close(&w), 128 + SIGKILL);
    (void)close(ready[0]), (void)close(ready[1]);
}

UNIT(watchdog, a_start_that_takes_more_than_30_s_is_ended)
{
    struct watch w;
    watch_open(&w, wait_for_ever, NULL, CHILD_STARTING);
    look(&w, 29900);
    CU_ASSERT_FALSE(w.child->is_ending);
    look(&w, 200);
    CU_ASSERT_TRUE(w.child->is_ending);
    CU_ASSERT_TRUE(is_dead(&w, 10000));
    (void)watch_close(&w);
}

UNIT(watchdog, one_that_takes_no_orders_for_longer_than_a_handler_may_run_is_ended)
{
    struct watch w;
    watch_open(&w, wait_for_ever, NULL, CHILD_READY);
    look(&w, 1000000);
    CU_ASSERT_FALSE(w.child->is_ending);                 /* none waits */
    clock_hold(ms(w.now), w.now);
    CU_ASSERT_EQUAL(orders_push(&w.child->orders, &(struct channel_message){ .order = CHANNEL_DOWN }), 0);
    clock_release();
    look(&w, 14900);
    CU_ASSERT_FALSE(w.child->is_ending);
    look(&w, 200);
    CU_ASSERT_TRUE(w.child->is_ending);
    CU_ASSERT_TRUE(is_dead(&w, 10000));
    (void)watch_close(&w);
}
