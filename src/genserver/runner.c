/*
 * runner.c - the stacks that callbacks run on, and what a callback borrows.
 *
 * Lives here: the pool of runners, entering and leaving a callback (progress for the watchdog, values of the callback), parking.
 * Never here: which server runs next (scheduler.c); what is waited for (invoke.c).
 * Runs in: workers.
 *
 * A runner is a coroutine whose life is the scheduler's loop. A handler runs on it directly, so one that never waits costs no switch. When a
 * handler waits, its runner is suspended with the handler's frames on it, and an idle one takes over the loop; the handler is resumed by switching
 * back, and its runner goes on with the loop where the handler was called.
 */
#include "genserver/genserver_priv.h"

#include <stdlib.h>

enum { PACKER_KEPT = 64 << 10 };      /* a larger reply's memory is given back */

int
runner_new(struct runtime *rt, struct runner **out)
{
    struct runner *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NX_ENOMEM;
    r->rt = rt;
    int err = value_zone_new(&r->zone);
    if (err == 0)
        err = coroutine_new(STACK_BYTES, scheduler_run, r, &r->co);
    if (err != 0) {
        value_zone_free(&r->zone);
        free(r);
        return err;
    }
    value_packer_init(&r->reply, rt->config.limits.max_body);
    list_init(&r->link);
    list_push_back(&rt->runners, &r->every);
    *out = r;
    return 0;
}

static void
drop_held(struct runner *r)
{
    while (r->held != NULL) {
        struct held *h = r->held;     /* itself lies in the zone */
        r->held = h->next;
        buf_fini(&h->bytes);
    }
}

void
runner_free(struct runner **runner)
{
    struct runner *r = *runner;
    *runner = NULL;
    if (r == NULL)
        return;
    drop_held(r);
    free(r->message);                 /* of a handler that never returned */
    list_remove(&r->link);
    list_remove(&r->every);
    coroutine_free(&r->co);
    value_zone_free(&r->zone);
    value_packer_fini(&r->reply);
    free(r);
}

int
runner_reserve(struct runtime *rt)
{
    if (!list_is_empty(&rt->idle))
        return 0;
    struct runner *r;
    int err = runner_new(rt, &r);
    if (err != 0)
        return err;
    list_push_front(&rt->idle, &r->link);
    rt->idle_count++;
    return 0;
}

/* The watchdog reads the three figures and then the count again: odd means that a handler runs since then. */
static void
progress_begins(struct runtime *rt, const struct server *s)
{
    stats_set(rt->stats, handler_since_ns, rt->now_ns);
    stats_set(rt->stats, handler_serial, s->serial);
    stats_set(rt->stats, handler_behavior, s->stats_index);
    stats_add(rt->stats, handler_count, 1);
}

void
runner_enter(struct runner *r, struct server *s, enum callback callback)
{
    r->server = s;
    r->callback = callback;
    r->failure.code = 0;
    value_last_error()->code = 0;
    s->runner = r;
    progress_begins(r->rt, s);
}

void
runner_leave(struct runner *r)
{
    stats_add(r->rt->stats, handler_count, 1);
    (void)runtime_clock(r->rt);
    r->server->runner = NULL;
    r->server = NULL;
    r->callback = CALLBACK_NONE;
    r->from = (nx_from){ 0 };
    if (r->held != NULL)
        drop_held(r);
    if (r->zone_used) {
        value_zone_clear(r->zone);
        r->zone_used = false;
    }
    if (r->reply.bytes.cap > PACKER_KEPT) {
        value_packer_fini(&r->reply);
        value_packer_init(&r->reply, r->rt->config.limits.max_body);
    }
}

void *
runner_alloc(struct runner *r, size_t size)
{
    r->zone_used = true;
    return value_zone_alloc(r->zone, size);
}

struct runner *
runner_of(nx_self *self)
{
    struct runtime *rt = runtime_here;
    if (rt == NULL || rt->current == NULL || !rt->in_turn)
        return NULL;
    struct runner *r = rt->current;
    return self != NULL && r->callback != CALLBACK_NONE && r->server == server_of(self) ? r : NULL;
}

void
runner_park(struct runner *r)
{
    struct runtime *rt = r->rt;
    struct server *s = r->server;
    nx_assert(r == rt->current && !list_is_empty(&rt->idle) && s->run == RUN_RUNNING);

    failure_absorb(r);                /* the place where nx_pack leaves its text is shared by all handlers */
    stats_add(rt->stats, handler_count, 1);
    s->run = RUN_PARKED;
    rt->parked++;
    stats_set(rt->stats, parked, rt->parked);

    struct runner *next = list_item(list_pop_front(&rt->idle), struct runner, link);
    rt->idle_count--;
    rt->current = next;
    coroutine_switch(r->co, next->co);

    nx_assert(rt->current == r && s->run == RUN_RUNNING);
    rt->parked--;
    stats_set(rt->stats, parked, rt->parked);
    value_last_error()->code = 0;
    progress_begins(rt, s);
}
