/*
 * loop.c - the turn: wait, events, due timers, hooks, deferred calls.
 *
 * Lives here: the order of things inside a turn, the hooks at its end, what is put off to its very end, the clock of a turn.
 * Never here: what the events mean; the heap of timers (timers.c).
 * Runs in: workers, the link worker, the gate.
 */
#include "loop/loop.h"
#include "loop/loop_priv.h"

#include <event2/event.h>

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"

int
loop_new(struct loop **out, struct base_error *why)
{
    struct loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL)
        return base_error_set(why, NX_ENOMEM, NULL, "event loop: out of memory");
    list_init(&loop->hooks);
    list_init(&loop->deferred);
    loop->now_is_stale = true;

    /* No changelist: it removes a descriptor from epoll only at the next wait, after we have closed it. If a stray copy of the descriptor
     * lives in another process, the closed one would go on reporting events for ever. No lock: one thread. */
    struct event_config *config = event_config_new();
    if (config != NULL) {
        (void)event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV);
        loop->base = event_base_new_with_config(config);
        event_config_free(config);
    }
    if (loop->base == NULL) {
        int err = errno;
        free(loop);
        return err == 0 ? base_error_set(why, NX_ENOMEM, NULL, "event loop: out of memory")
                        : base_error_sys(why, err, "make an event loop", NULL);
    }

    int err = loop_timers_open(loop, why);
    if (err != 0) {
        event_base_free(loop->base);
        free(loop);
        return err;
    }
    *out = loop;
    return 0;
}

static void
run_deferred(struct loop *loop)
{
    struct list batch;                            /* what is deferred meanwhile waits for the next turn: no endless turn */
    list_init(&batch);
    list_splice_back(&batch, &loop->deferred);
    for (struct list *link; (link = list_pop_front(&batch)) != NULL; ) {
        struct loop_defer *d = list_item(link, struct loop_defer, link);
        d->fn(d->arg);                            /* may free *d */
    }
}

void
loop_free(struct loop **loop_ptr)
{
    struct loop *loop = *loop_ptr;
    if (loop == NULL)
        return;
    *loop_ptr = NULL;
    while (!list_is_empty(&loop->deferred))       /* objects that were about to be freed */
        run_deferred(loop);
    while (!list_is_empty(&loop->hooks))
        (void)list_pop_front(&loop->hooks);
    loop_timers_close(loop);
    event_base_free(loop->base);
    free(loop);
}

struct event_base *
loop_borrow_base(struct loop *loop)
{
    return loop->base;
}

/* libevent 2.1 gives no moment between the wait and the first callback, so the time of a turn is read when it is first asked for: in the
 * first callback of the turn, or when the callbacks are through. */
uint64_t
loop_now_ns(const struct loop *loop)
{
    if (loop->now_is_stale) {
        struct loop *writable = (struct loop *)(uintptr_t)loop;      /* a cache behind a const face */
        writable->now_ns = clock_now_ns();
        writable->now_is_stale = false;
    }
    return loop->now_ns;
}

uint64_t
loop_turns(const struct loop *loop)
{
    return loop->turns;
}

static bool
run_hooks(struct loop *loop)
{
    bool more = false;
    loop->at = &loop->hooks;
    while (loop->at->next != &loop->hooks) {      /* loop_remove_hook steps back from a hook that goes away */
        loop->at = loop->at->next;
        struct loop_hook *hook = list_item(loop->at, struct loop_hook, link);
        more |= hook->fn(hook->arg);
    }
    loop->at = NULL;
    return more;
}

int
loop_turn(struct loop *loop, bool may_wait)
{
    bool wait = may_wait && !loop->more && !loop->stop && list_is_empty(&loop->deferred);
    if (wait)
        wait = loop_timers_arm(loop);

    loop->turns++;
    loop->now_is_stale = true;
    if (event_base_loop(loop->base, wait ? EVLOOP_ONCE : EVLOOP_ONCE | EVLOOP_NONBLOCK) < 0)
        return NX_ESYS;

    bool timers_left = loop_timers_fire(loop);
    loop->more = false;                           /* the hooks are about to see whatever loop_again was called for until now */
    if (run_hooks(loop) || timers_left)
        loop->more = true;
    run_deferred(loop);
    return 0;
}

int
loop_run(struct loop *loop)
{
    int err;
    do
        err = loop_turn(loop, true);
    while (err == 0 && !loop->stop);
    loop->stop = false;
    return err;
}

void
loop_stop(struct loop *loop)
{
    loop->stop = true;
}

void
loop_again(struct loop *loop)
{
    loop->more = true;
}

void
loop_add_hook(struct loop *loop, struct loop_hook *hook)
{
    struct list *before = loop->hooks.next;       /* behind all of the same rank: the order of adding */
    while (before != &loop->hooks && list_item(before, struct loop_hook, link)->rank <= hook->rank)
        before = before->next;
    list_insert_before(before, &hook->link);
}

void
loop_remove_hook(struct loop *loop, struct loop_hook *hook)
{
    if (hook->link.next == NULL || !list_is_linked(&hook->link))
        return;
    if (loop->at == &hook->link)
        loop->at = hook->link.prev;
    list_remove(&hook->link);
}

void
loop_defer(struct loop *loop, struct loop_defer *d, void (*fn)(void *arg), void *arg)
{
    d->fn = fn;
    d->arg = arg;
    list_push_back(&loop->deferred, &d->link);
}

void
loop_undefer(struct loop_defer *d)
{
    if (d->link.next != NULL && list_is_linked(&d->link))
        list_remove(&d->link);
}
