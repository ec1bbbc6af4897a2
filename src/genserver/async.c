/*
 * async.c - calls that nobody waits for, and casts.
 *
 * Lives here: nx_call_async, whose end is a message to the caller's own mailbox; nx_cast.
 * Never here: calls that park (invoke.c).
 * Runs in: workers.
 */
#include "genserver/genserver_priv.h"

#include <stdlib.h>

struct async {
    struct list link;                 /* in belongings.asyncs */
    struct server *server;
    uint64_t call_id, tag;
    int64_t timeout_ms;
    nx_ref to;
};
_Static_assert(sizeof(struct async) >= sizeof(struct msg), "the last word about a call needs no memory of its own");

static void
async_end(struct runtime *rt, struct async *a)
{
    list_remove(&a->link);
    a->server->own->async_count--;
    stats_add(rt->stats, calls_pending, -1);
}

static void
async_free(struct runtime *rt, struct async *a)
{
    async_end(rt, a);
    free(a);
}

static void
explain(struct runtime *rt, const struct async *a, int status, struct base_error *why)
{
    if (status != NX_ETIMEDOUT) {
        why->code = status;
        (void)route_explain(rt->config.route, status, a->to, why);
        return;
    }
    char text[NX_REF_TEXT_MAX];
    if (nx_ref_text(a->to, text, sizeof text) != 0)
        text[0] = '\0';
    (void)base_error_set(why, status, text, "call of %.300s timed out after %lld ms", text, (long long)a->timeout_ms);
    why->timeout_ms = a->timeout_ms;
}

static void
on_end(void *arg, uint64_t call_id, int status, const struct call_target *target, const struct envelope *e, const uint8_t *body)
{
    struct async *a = arg;
    struct runtime *rt = runtime_here;
    struct server *s = a->server;
    struct msg *m;
    (void)call_id, (void)target;
    if (status == 0) {
        m = msg_new(MSG_REPLY, e, body, e->body_len);
    } else {
        struct base_error why = { .code = status };
        struct failure_body bytes;
        struct envelope error = { .kind = KIND_ERROR };
        explain(rt, a, status, &why);
        (void)failure_encode(&why, &bytes);           /* an empty body still says that it failed */
        m = msg_new(MSG_REPLY, &error, buf_data(&bytes.buf), buf_len(&bytes.buf));
    }
    if (status == 0 && e->kind == KIND_REPLY)
        stats_add(rt->stats, calls_resolved, 1);
    else if (status == NX_ETIMEDOUT)
        stats_add(rt->stats, calls_timed_out, 1);
    else
        stats_add(rt->stats, calls_rejected, 1);
    uint64_t tag = a->tag;
    async_end(rt, a);
    if (m != NULL)
        free(a);
    else
        m = msg_from_memory(a, MSG_REPLY);            /* without memory for the answer, that much can be said */
    m->tag = tag;
    server_put_info(rt, s, m);
}

static int
begin(struct runner *r, struct envelope *e, nx_ref to, int64_t timeout_ms, uint64_t deadline_ns, uint64_t tag, struct async **out)
{
    struct runtime *rt = r->rt;
    struct belongings *own = server_own(r->server);
    if (own != NULL && own->async_count >= OWNED_MAX)
        return failure_set(r, NX_EBUSY, NULL, "this server has %d calls in flight already", (int)OWNED_MAX);
    struct async *a = own != NULL ? calloc(1, sizeof *a) : NULL;
    if (a == NULL)
        return failure_set(r, NX_ENOMEM, NULL, "no memory for another call");
    *a = (struct async){ .server = r->server, .tag = tag, .timeout_ms = timeout_ms, .to = to };
    struct call_target target = { .node = e->node, .session = e->session, .generation = e->generation, .slot = e->slot, .serial = e->serial };
    int err = call_begin(rt->config.calls, &target, deadline_ns, on_end, a, &a->call_id);
    if (err != 0) {
        free(a);
        return failure_set(r, err, NULL, "too many calls are pending");
    }
    e->call_id = a->call_id;
    e->deadline_ns = deadline_ns;
    own->async_count++;
    list_push_back(&own->asyncs, &a->link);
    stats_add(rt->stats, calls_initiated, 1);
    stats_add(rt->stats, calls_pending, 1);
    *out = a;
    return 0;
}

int
nx_call_async(nx_self *self, nx_ref to, nx_value msg, int64_t timeout_ms, uint64_t tag)
{
    struct runner *r = runner_of(self);
    if (r == NULL)
        return NX_EINVAL;
    struct runtime *rt = r->rt;
    struct envelope e;
    struct async *a = NULL;
    uint64_t deadline_ns = 0;
    const void *bytes = NULL;
    size_t len = 0;
    if (r->callback == CALLBACK_TERMINATE)
        return failure_set(r, NX_EINVAL, NULL, "terminate is the last callback: no reply can arrive after it");
    int err = invoke_timeout(r, timeout_ms, &deadline_ns);
    if (err == 0)
        err = invoke_bytes(r, msg, &bytes, &len);
    if (err != 0)
        return err;
    int way = invoke_route(r, to, &e);
    if (way < 0)
        return way;
    e.kind = KIND_CALL;
    e.body_len = (uint32_t)len;
    err = begin(r, &e, to, timeout_ms, deadline_ns, tag, &a);
    if (err != 0)
        return err;
    err = invoke_send(rt, way, &e, bytes);
    if (err == 0)
        return 0;
    (void)call_cancel(rt->config.calls, a->call_id);
    stats_add(rt->stats, calls_rejected, 1);
    async_free(rt, a);
    return invoke_explain(r, err, to, e.node);
}

int
nx_cast(nx_self *self, nx_ref to, nx_value msg)
{
    struct runner *r = runner_of(self);
    if (r == NULL)
        return NX_EINVAL;
    struct runtime *rt = r->rt;
    const void *bytes = NULL;
    size_t len = 0;
    int err = invoke_bytes(r, msg, &bytes, &len);
    if (err != 0)
        return err;
    if (to.serial == 0)
        return failure_set(r, NX_EINVAL, NULL, "the ref refers to nothing");
    struct envelope e = { .kind = 0 };
    stats_add(rt->stats, casts_sent, 1);
    int way = route_to(rt->config.route, to, &e);
    if (way > 0) {
        e.kind = KIND_CAST;
        e.body_len = (uint32_t)len;
        err = invoke_send(rt, way, &e, bytes);
    }
    if (err == NX_ENOMEM)
        return failure_set(r, NX_ENOMEM, NULL, "no memory for the message");
    if (way < 0 || err != 0)
        stats_add(rt->stats, casts_dropped, 1);       /* a target that is not there, or full, is no error of a cast */
    return 0;
}

void
invoke_forget_asyncs(struct runtime *rt, struct server *s)
{
    while (s->own != NULL && !list_is_empty(&s->own->asyncs)) {
        struct async *a = list_item(s->own->asyncs.next, struct async, link);
        (void)call_cancel(rt->config.calls, a->call_id);
        stats_add(rt->stats, calls_rejected, 1);
        async_free(rt, a);
    }
}
