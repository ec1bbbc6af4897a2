/*
 * test_timers.c - timers under a clock that stands still, and under the real one without a word about how fast it is.
 */
#include "loop/loop.h"

#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "unit.h"

struct shot { struct loop_timer timer; struct loop *loop; uint64_t at_ns, fired_at_ns; int fired, order; uint64_t again_ns; struct shot *cancels; };

static int shots;

static void
shot_fire(void *arg)
{
    struct shot *s = arg;
    s->fired++;
    s->order = ++shots;
    s->fired_at_ns = loop_now_ns(s->loop);
    if (s->cancels != NULL)
        loop_timer_cancel(s->loop, &s->cancels->timer);
    if (s->again_ns != 0)
        CU_ASSERT_EQUAL(loop_timer_set(s->loop, &s->timer, s->again_ns), 0);
}

static void
shot_set(struct loop *loop, struct shot *s, uint64_t at_ns)
{
    *s = (struct shot){ .loop = loop, .at_ns = at_ns };
    loop_timer_init(&s->timer, shot_fire, s);
    CU_ASSERT_EQUAL(loop_timer_set(loop, &s->timer, at_ns), 0);
}

static struct loop *
held_at(uint64_t now_ns)
{
    struct loop *loop = NULL;
    clock_hold(now_ns, 0);
    CU_ASSERT_EQUAL_FATAL(loop_new(&loop, NULL), 0);
    shots = 0;
    return loop;
}

static void
done(struct loop *loop)
{
    loop_free(&loop);
    clock_release();
}

UNIT(timers, fire_at_their_time_to_the_nanosecond_and_once)
{
    struct loop *loop = held_at(1000);
    struct shot s;
    shot_set(loop, &s, 2000);
    CU_ASSERT_EQUAL(loop_turn(loop, false), 0);
    clock_hold(1999, 0);
    CU_ASSERT_EQUAL(loop_turn(loop, false), 0);
    CU_ASSERT_EQUAL(s.fired, 0);
    clock_hold(2000, 0);
    CU_ASSERT_EQUAL(loop_turn(loop, true), 0);    /* due: does not wait */
    CU_ASSERT_EQUAL(s.fired, 1);
    clock_hold(9000, 0);
    CU_ASSERT_EQUAL(loop_turn(loop, false), 0);
    CU_ASSERT_EQUAL(s.fired, 1);
    done(loop);
}

UNIT(timers, fire_in_the_order_of_time_whatever_the_order_of_setting)
{
    struct loop *loop = held_at(1);
    enum { COUNT = 1000 };
    struct shot *all = calloc(COUNT, sizeof *all);
    unsigned seed = 99;
    for (size_t i = 0; i < COUNT; i++)
        shot_set(loop, &all[i], 10 + i * 7919 % COUNT);
    for (size_t i = 0; i < COUNT; i += 3)         /* moved */
        CU_ASSERT_EQUAL(loop_timer_set(loop, &all[i].timer, all[i].at_ns = 10 + (seed = seed * 1103515245u + 12345u) % 5000), 0);
    for (size_t i = 1; i < COUNT; i += 3)         /* cancelled */
        loop_timer_cancel(loop, &all[i].timer);
    clock_hold(10000, 0);
    CU_ASSERT_EQUAL(loop_turn(loop, true), 0);
    for (size_t i = 0; i < COUNT; i++) {
        CU_ASSERT_EQUAL(all[i].fired, i % 3 != 1);
        for (size_t j = 0; j < COUNT && all[i].fired; j += 37)
            if (all[j].fired && all[i].at_ns < all[j].at_ns)
                CU_ASSERT(all[i].order < all[j].order);
    }
    loop_timer_cancel(loop, &all[0].timer);       /* has fired: fine */
    free(all);
    done(loop);
}

UNIT(timers, a_callback_may_cancel_a_timer_that_is_due_in_the_same_turn)
{
    struct loop *loop = held_at(1);
    struct shot first, second;
    shot_set(loop, &first, 10);
    shot_set(loop, &second, 11);
    first.cancels = &second;
    clock_hold(100, 0);
    CU_ASSERT_EQUAL(loop_turn(loop, false), 0);
    CU_ASSERT_EQUAL(first.fired, 1);
    CU_ASSERT_EQUAL(second.fired, 0);
    done(loop);
}

UNIT(timers, one_that_sets_itself_in_the_past_does_not_hold_up_the_turn)
{
    struct loop *loop = held_at(100);
    struct shot greedy, other;
    shot_set(loop, &greedy, 10);
    greedy.again_ns = 5;
    shot_set(loop, &other, 2000);
    CU_ASSERT_EQUAL(loop_turn(loop, true), 0);
    int fired = greedy.fired;
    CU_ASSERT(fired >= 1 && fired <= 2);          /* at most as often as there are timers */
    CU_ASSERT_EQUAL(loop_turn(loop, true), 0);    /* and the next turn goes on without a wait */
    CU_ASSERT(greedy.fired > fired);
    CU_ASSERT_EQUAL(other.fired, 0);
    done(loop);
}

UNIT(timers, the_real_clock_wakes_the_loop_never_early)
{
    struct loop *loop = NULL;
    CU_ASSERT_EQUAL_FATAL(loop_new(&loop, NULL), 0);
    shots = 0;
    struct shot s[5];
    uint64_t now = clock_now_ns();
    for (size_t i = 0; i < BASE_COUNT(s); i++)
        shot_set(loop, &s[i], now + (5 - i) * 300000);
    struct shot never;
    shot_set(loop, &never, now + 3600 * CLOCK_NS_PER_S);
    while (shots < 5)
        CU_ASSERT_EQUAL_FATAL(loop_turn(loop, true), 0);
    for (size_t i = 0; i < BASE_COUNT(s); i++) {
        CU_ASSERT_EQUAL(s[i].order, (int)(5 - i));
        CU_ASSERT(s[i].fired_at_ns >= s[i].at_ns);
    }
    CU_ASSERT_EQUAL(never.fired, 0);
    /* No busy loop: it was not turned much more often than something fired. */
    CU_ASSERT(loop_turns(loop) < 20);
    loop_free(&loop);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
    char byte;
    (void)what, (void)arg;
    CU_ASSERT_EQUAL(read(fd, &byte, 1), 1);
}

UNIT(timers, an_earlier_timer_set_after_the_kernel_was_armed_for_a_later_one_is_in_time)
{
    struct loop *loop = NULL;
    int fds[2];
    CU_ASSERT_EQUAL_FATAL(loop_new(&loop, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    struct event *ev = event_new(loop_borrow_base(loop), fds[0], EV_READ | EV_PERSIST, on_readable, NULL);
    CU_ASSERT_EQUAL_FATAL(event_add(ev, NULL), 0);
    shots = 0;
    struct shot far, near, nearer;
    uint64_t now = clock_now_ns();
    shot_set(loop, &far, now + 3600 * CLOCK_NS_PER_S);
    CU_ASSERT_EQUAL(write(fds[1], "x", 1), 1);
    CU_ASSERT_EQUAL(loop_turn(loop, true), 0);    /* armed for `far`, woken by the byte */
    shot_set(loop, &near, clock_now_ns() + 300000);
    shot_set(loop, &nearer, clock_now_ns() + 200000);
    while (!near.fired)                           /* would hang for an hour */
        CU_ASSERT_EQUAL_FATAL(loop_turn(loop, true), 0);
    CU_ASSERT_EQUAL(nearer.order, 1);
    /* Armed for one that is cancelled: the wake-up for nothing must not lose the one behind it. */
    struct shot gone, kept;
    shot_set(loop, &gone, clock_now_ns() + 300000);
    shot_set(loop, &kept, gone.at_ns + 300000);
    CU_ASSERT_EQUAL(write(fds[1], "x", 1), 1);
    CU_ASSERT_EQUAL(loop_turn(loop, true), 0);
    loop_timer_cancel(loop, &gone.timer);
    while (!kept.fired)
        CU_ASSERT_EQUAL_FATAL(loop_turn(loop, true), 0);
    CU_ASSERT_EQUAL(far.fired, 0);
    event_free(ev);
    (void)close(fds[0]), (void)close(fds[1]);
    loop_free(&loop);
}

static void
free_arg(void *arg)
{
    shots++;
    free(arg);
}

UNIT(timers, a_callback_may_free_its_timer)
{
    struct loop *loop = held_at(100);
    struct loop_timer *t = malloc(sizeof *t);
    loop_timer_init(t, free_arg, t);
    CU_ASSERT_EQUAL(loop_timer_set(loop, t, 1), 0);
    CU_ASSERT_EQUAL(loop_turn(loop, true), 0);
    CU_ASSERT_EQUAL(shots, 1);
    done(loop);
}
