/*
 * timers.c - all timers of a process on one heap, behind one kernel timer.
 *
 * Lives here: setting, cancelling and firing timers; arming the timer descriptor.
 * Never here: hooks, events of descriptors.
 * Runs in: workers, the link worker, the gate.
 *
 * A descriptor of our own instead of libevent's timeouts: they are either coarse (the kernel's coarse clock, whole milliseconds) or, with the
 * precise flag, cost a system call in each turn. Ours is set only if an earlier deadline appears. One that goes away leaves it armed: it
 * then wakes us once for nothing, which is far rarer than calls that end before their deadline.
 */
#include "loop/loop.h"
#include "loop/loop_priv.h"

#include <event2/event.h>

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"

static void
on_alarm(evutil_socket_t fd, short what, void *arg)
{
    struct loop *loop = arg;
    uint64_t times;
    (void)what;
    (void)!read(fd, &times, sizeof times);        /* only to make it quiet; the heap says what is due */
    loop->armed_at_ns = 0;
}

int
loop_timers_open(struct loop *loop, struct base_error *why)
{
    heap_init(&loop->timers);
    loop->alarm_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (loop->alarm_fd < 0)
        return base_error_sys(why, errno, "make a timer descriptor", NULL);
    loop->alarm = event_new(loop->base, loop->alarm_fd, EV_READ | EV_PERSIST, on_alarm, loop);
    if (loop->alarm == NULL || event_add(loop->alarm, NULL) != 0) {
        loop_timers_close(loop);
        return base_error_set(why, NX_ENOMEM, NULL, "event loop: out of memory");
    }
    return 0;
}

void
loop_timers_close(struct loop *loop)
{
    if (loop->alarm != NULL)
        event_free(loop->alarm);
    (void)close(loop->alarm_fd);
    while (heap_pop(&loop->timers) != NULL)       /* so that no owner believes that his is still set */
        ;
    heap_fini(&loop->timers);
}

bool
loop_timers_arm(struct loop *loop)
{
    const struct heap_node *first = heap_peek(&loop->timers);
    if (first == NULL || (loop->armed_at_ns != 0 && loop->armed_at_ns <= first->key))
        return true;
    uint64_t now = clock_now_ns();
    if (first->key <= now)
        return false;
    /* Relative, so that a clock held still by a test does not turn into a busy loop. */
    uint64_t left = first->key - now;
    struct itimerspec at = { .it_value = { .tv_sec = (time_t)(left / CLOCK_NS_PER_S), .tv_nsec = (long)(left % CLOCK_NS_PER_S) } };
    if (timerfd_settime(loop->alarm_fd, 0, &at, NULL) != 0)
        return false;                             /* cannot happen with these arguments; a busy loop is better than a lost deadline */
    loop->armed_at_ns = first->key;
    return true;
}

bool
loop_timers_fire(struct loop *loop)
{
    uint64_t now = loop_now_ns(loop);
    /* A callback may set timers that are due at once: at most as many as there were now, then descriptors have their turn. */
    for (size_t left = loop->timers.count; left > 0; left--) {
        struct heap_node *first = heap_peek(&loop->timers);
        if (first == NULL || first->key > now)
            return false;
        (void)heap_pop(&loop->timers);
        struct loop_timer *t = base_container_of(first, struct loop_timer, node);
        t->fn(t->arg);                            /* may free *t */
    }
    const struct heap_node *first = heap_peek(&loop->timers);
    return first != NULL && first->key <= now;
}

void
loop_timer_init(struct loop_timer *t, void (*fn)(void *arg), void *arg)
{
    heap_node_init(&t->node);
    t->fn = fn;
    t->arg = arg;
}

int
loop_timer_set(struct loop *loop, struct loop_timer *t, uint64_t at_ns)
{
    heap_remove(&loop->timers, &t->node);         /* leaves a place free: moving a timer that is set never fails */
    return heap_push(&loop->timers, &t->node, at_ns);
}

void
loop_timer_cancel(struct loop *loop, struct loop_timer *t)
{
    heap_remove(&loop->timers, &t->node);
}
