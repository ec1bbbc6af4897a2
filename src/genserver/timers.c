/*
 * timers.c - messages of a server to itself, later.
 *
 * Lives here: nx_send_after, nx_cancel_timer, the end of a server's timers.
 * Never here: the heap and the kernel's timer (loop/).
 * Runs in: workers.
 *
 * The message is made when the timer is set, so that firing cannot fail.
 */
#include "genserver/genserver_priv.h"

#include <inttypes.h>
#include <stdlib.h>

struct timer {
    struct list link;                 /* in belongings.timers */
    struct loop_timer alarm;
    struct server *server;
    struct msg *message;
    uint64_t id;
};

static void
timer_free(struct runtime *rt, struct timer *t)
{
    (void)table_take(rt->timers, t->id);
    loop_timer_cancel(rt->config.loop, &t->alarm);
    list_remove(&t->link);
    t->server->own->timer_count--;
    stats_set(rt->stats, timers, table_count(rt->timers));
    if (t->message != NULL)
        msg_free(&t->message);
    free(t);
}

static void
on_due(void *arg)
{
    struct timer *t = arg;
    struct runtime *rt = runtime_here;
    struct server *s = t->server;
    struct msg *m = t->message;
    t->message = NULL;
    timer_free(rt, t);
    server_put_info(rt, s, m);
}

int
nx_send_after(nx_self *self, int64_t delay_ms, nx_value value, uint64_t *timer)
{
    static const uint8_t nil = 0xc0;
    struct runner *r = runner_of(self);
    if (r == NULL)
        return NX_EINVAL;
    struct runtime *rt = r->rt;
    const void *bytes = &nil;
    size_t len = sizeof nil;
    if (delay_ms < 0)
        return failure_set(r, NX_EINVAL, NULL, "delay of %" PRId64 " ms: it must be 0 or more", delay_ms);
    if (r->callback == CALLBACK_TERMINATE)
        return failure_set(r, NX_EINVAL, NULL, "terminate is the last callback: no timer can fire after it");
    int err = nx_is_value(value) ? invoke_bytes(r, value, &bytes, &len) : 0;
    if (err != 0)
        return err;
    struct belongings *own = server_own(r->server);
    if (own != NULL && own->timer_count >= OWNED_MAX)
        return failure_set(r, NX_EBUSY, NULL, "this server has %d timers already", (int)OWNED_MAX);
    struct timer *t = own != NULL ? calloc(1, sizeof *t) : NULL;
    struct msg *m = t != NULL ? msg_new(MSG_TIMER, NULL, bytes, len) : NULL;
    if (m == NULL || table_put(rt->timers, ++rt->last_timer, t) != 0) {
        free(t);
        free(m);
        return failure_set(r, NX_ENOMEM, NULL, "no memory for another timer");
    }
    t->server = r->server;
    t->message = m;
    t->id = m->tag = rt->last_timer;
    own->timer_count++;
    list_push_back(&own->timers, &t->link);
    loop_timer_init(&t->alarm, on_due, t);
    uint64_t at = clock_deadline(clock_now_ns(), delay_ms);
    err = at != 0 ? loop_timer_set(rt->config.loop, &t->alarm, at) : 0;       /* more than a hundred years: never */
    stats_set(rt->stats, timers, table_count(rt->timers));
    if (err != 0) {
        timer_free(rt, t);
        return failure_set(r, err, NULL, "no memory for another timer");
    }
    if (timer != NULL)
        *timer = t->id;
    return 0;
}

bool
nx_cancel_timer(nx_self *self, uint64_t timer)
{
    struct runner *r = runner_of(self);
    struct timer *t = r != NULL ? table_get(r->rt->timers, timer) : NULL;
    if (t == NULL || t->server != r->server)
        return false;
    timer_free(r->rt, t);
    return true;
}

void
timers_forget(struct runtime *rt, struct server *s)
{
    while (s->own != NULL && !list_is_empty(&s->own->timers))
        timer_free(rt, list_item(s->own->timers.next, struct timer, link));
}
