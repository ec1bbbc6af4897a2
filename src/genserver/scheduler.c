/*
 * scheduler.c - who runs next.
 *
 * Lives here: the run queue of ready servers, the budget of a turn, going back to handlers whose wait has ended.
 * Never here: what a message means (callback.c), stacks (runner.c).
 * Runs in: workers; scheduler_turn on the loop's stack, scheduler_run on each runner's.
 *
 * A server is in the queue when it has messages and no callback on the way, or when the wait of its parked handler has ended.
 */
#include "genserver/genserver_priv.h"

static void
kicked(void *arg)
{
    ((struct runtime *)arg)->is_kicked = false;
}

static void
push(struct runtime *rt, struct server *s)
{
    s->run = RUN_READY;
    list_push_back(&rt->ready, &s->ready);
    /* Made ready after this turn's hook has run (by what was deferred, say): see that the loop does not go to sleep over it. */
    if (!rt->in_turn && !rt->is_kicked) {
        rt->is_kicked = true;
        loop_defer(rt->config.loop, &rt->kick, kicked, rt);
    }
}

void
scheduler_ready(struct runtime *rt, struct server *s)
{
    if (s->run == RUN_IDLE)
        push(rt, s);
}

void
scheduler_wake(struct runtime *rt, struct server *s)
{
    /* A wait can end before its handler is parked (a start that fails at once): then the park does not happen. */
    if (s->run == RUN_PARKED)
        push(rt, s);
}

/* One message of the turn's budget. The time is that of the last callback's end, so it costs nothing to look at. */
static void
spend(struct runtime *rt)
{
    if (rt->turn_left > 0)
        rt->turn_left--;
    if (rt->now_ns >= rt->turn_ends_ns)
        rt->turn_left = 0;
}

/* A server's go: some of its messages. It may end here, or park and go on much later on this same stack. */
static void
run_server(struct runner *r, struct server *s)
{
    struct runtime *rt = r->rt;
    s->run = RUN_RUNNING;
    if (s->life == SERVER_STARTING && !s->has_state) {
        spawn_run(r, s);
        spend(rt);
    }
    for (unsigned n = 0; n < SERVER_BURST && !s->is_exiting && rt->turn_left > 0; n++) {
        struct msg *m = mailbox_take(&s->mailbox);
        if (m == NULL)
            break;
        callback_run(r, s, m);
        spend(rt);
    }
    if (s->is_exiting) {
        server_end(rt, s);
        return;
    }
    s->run = RUN_IDLE;
    if (s->mailbox.first != NULL)
        push(rt, s);
}

void
scheduler_run(void *runner)
{
    struct runner *r = runner;
    struct runtime *rt = r->rt;
    for (;;) {
        if (rt->turn_left == 0 || list_is_empty(&rt->ready)) {
            coroutine_switch(r->co, rt->main);
            continue;
        }
        struct server *s = list_item(list_pop_front(&rt->ready), struct server, ready);
        if (s->runner == NULL) {
            run_server(r, s);
            continue;
        }
        /* A parked handler: go on with it, on its stack. This one has nothing on it, and waits for the next handler that parks. */
        struct runner *parked = s->runner;
        s->run = RUN_RUNNING;
        list_push_front(&rt->idle, &r->link);
        rt->idle_count++;
        rt->current = parked;
        coroutine_switch(r->co, parked->co);
        /* Here again: some handler has parked and took this stack from the pool. */
    }
}

static void
shrink_pool(struct runtime *rt)
{
    while (rt->idle_count > RUNNERS_KEPT) {
        struct runner *r = list_item(rt->idle.prev, struct runner, link);      /* the coldest */
        rt->idle_count--;
        runner_free(&r);
    }
}

bool
scheduler_turn(void *runtime)
{
    struct runtime *rt = runtime;
    if (list_is_empty(&rt->ready))
        return false;
    rt->turn_left = TURN_MESSAGES;
    (void)runtime_clock(rt);
    rt->turn_ends_ns = rt->now_ns + TURN_MS * CLOCK_NS_PER_MS;
    rt->in_turn = true;
    coroutine_switch(rt->main, rt->current->co);
    rt->in_turn = false;
    if (rt->idle_count > RUNNERS_KEPT)
        shrink_pool(rt);
    return !list_is_empty(&rt->ready);
}
