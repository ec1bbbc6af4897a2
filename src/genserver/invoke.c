/*
 * invoke.c - requests that a handler waits for: encode once, park, one ending.
 *
 * Lives here: the wait on a parked handler's stack, its end, the texts of what went wrong.
 * Never here: ids and deadlines (call/), the way (route/), what runs meanwhile (scheduler.c); nx_call itself (api_call.c).
 * Runs in: workers, on a runner; ends come from the loop's stack too.
 */
#include "genserver/genserver_priv.h"

#include <inttypes.h>

enum { TAKE_OVER = 4096 };            /* a reply from here on is taken over with its memory instead of being copied */

const char *
invoke_ref_text(nx_ref ref, char text[static NX_REF_TEXT_MAX])
{
    if (nx_ref_text(ref, text, NX_REF_TEXT_MAX) != 0)
        (void)strcpy(text, "#?");
    return text;
}

/* ---- before */

int
invoke_allowed(struct runner *r)
{
    if (r->callback == CALLBACK_TERMINATE)
        return failure_set(r, NX_EINVAL, NULL, "terminate must not wait, but for the end of other servers (nx_stop)");
    if (r->server->is_canceled)
        return failure_set(r, NX_ECANCELED, NULL, "this server is being stopped");
    return invoke_room(r);
}

int
invoke_room(struct runner *r)
{
    struct runtime *rt = r->rt;
    if (rt->stop_is_late)
        return failure_set(r, NX_ECANCELED, NULL, "this worker is being stopped");
    if (rt->parked >= rt->config.max_parked)
        return failure_set(r, NX_EBUSY, NULL, "%" PRIu32 " handlers of this worker wait already", rt->parked);
    if (runner_reserve(rt) != 0)
        return failure_set(r, NX_ENOMEM, NULL, "no memory for another waiting handler");
    return 0;
}

int
invoke_timeout(struct runner *r, int64_t timeout_ms, uint64_t *deadline_ns)
{
    if (timeout_ms <= 0 && timeout_ms != NX_FOREVER)
        return failure_set(r, NX_EINVAL, NULL, "timeout of %" PRId64 " ms: it must be 1 or more, or NX_FOREVER", timeout_ms);
    *deadline_ns = clock_deadline(runtime_clock(r->rt), timeout_ms);
    return 0;
}

int
invoke_bytes(struct runner *r, nx_value value, const void **bytes, size_t *len)
{
    size_t max = r->rt->config.limits.max_body;
    if (value.packed == NULL && value.object != NULL) {
        nx_packer p;
        value_packer_init(&p, max);
        int err = value_pack(&p, value);
        void *copy = NULL;
        if (err == 0) {
            nx_value packed = value_packer_value(&p);
            copy = runner_alloc(r, packed.packed_len);
            if (copy == NULL)
                err = NX_ENOMEM;
            else
                memcpy(copy, packed.packed, packed.packed_len);
            value = (nx_value){ .packed = copy, .packed_len = packed.packed_len };
        }
        value_packer_fini(&p);
        if (err != 0)
            return failure_set(r, err, NULL, err == NX_ETOOBIG ? "the message is larger than %zu bytes" : "the message cannot be packed (limit %zu)", max);
    }
    if (value.packed == NULL || value.packed_len == 0)
        return failure_set(r, NX_EINVAL, NULL, "the message is no value");
    if (value.packed_len > max)
        return failure_set(r, NX_ETOOBIG, NULL, "a message of %zu bytes is larger than %zu", value.packed_len, max);
    *bytes = value.packed;
    *len = value.packed_len;
    return 0;
}

int
invoke_route(struct runner *r, nx_ref to, struct envelope *e)
{
    *e = (struct envelope){ .kind = 0 };
    int way = route_to(r->rt->config.route, to, e);
    if (way > 0)
        return way;
    struct base_error why = { .code = way };
    (void)route_explain(r->rt->config.route, way, to, &why);
    return failure_keep(r, &why);
}

/* ---- sending */

static int
send_here(struct runtime *rt, const struct envelope *e, const void *body)
{
    struct server *s = server_find(rt, e->serial);
    if (s == NULL && e->kind == KIND_STOP)
        s = server_find_any(rt, e->serial);           /* it ends already: tell when it has */
    if (s == NULL)
        return NX_ENOSERVER;
    if (e->kind != KIND_STOP)
        return server_put(rt, s, e, body);
    struct base_error why;
    struct sys_stop stop;
    int err = sys_stop_decode(body, e->body_len, &stop, &why);
    if (err != 0)
        return err;
    struct msg *m = server_own(s) != NULL ? msg_new(MSG_STOP, e, NULL, 0) : NULL;         /* where it is kept until the server is gone */
    if (m == NULL)
        return NX_ENOMEM;
    m->tag = (uint64_t)stop.reason;
    server_put_stop(rt, s, m, false);
    server_cancel(rt, s);
    return 0;
}

int
invoke_send(struct runtime *rt, int way, const struct envelope *e, const void *body)
{
    return way == ROUTE_HERE ? send_here(rt, e, body) : route_send(rt->config.route, e, body);
}

static int
explain_process(struct runner *r, int code, uint32_t node)
{
    const char *id = nodes_borrow_id(shm_nodes(r->rt->config.shm), node);
    if (code == NX_ENODE)
        return failure_set(r, code, id, "node %s is not reachable", id != NULL ? id : "?");
    return failure_set(r, code, id, "the process that was asked has ended");
}

int
invoke_explain(struct runner *r, int code, nx_ref to, uint32_t node)
{
    if (node != 0 && code == NX_ENOSERVER)
        code = NX_ENODE;              /* it is our own link worker that is not there */
    char text[NX_REF_TEXT_MAX];
    struct base_error why = { .code = code };
    switch (code) {
    case NX_EMAILBOX:
        return failure_set(r, code, invoke_ref_text(to, text), "the mailbox of %.360s is full", text);
    case NX_EBUSY:
        return failure_set(r, code, nx_ref_node(to), "too much is waiting to be sent there");
    case NX_ENODE:
    case NX_ENOSERVER:
        if (to.serial == 0)
            return explain_process(r, code, node);
        (void)route_explain(r->rt->config.route, code, to, &why);
        return failure_keep(r, &why);
    default:
        return failure_set(r, code, NULL, "cannot send: %s", nx_strerror(code));
    }
}

/* ---- waiting */

static void
count_end(struct runtime *rt, const struct wait *w, int status, uint8_t answer)
{
    bool is_value = status == 0 && answer != KIND_ERROR;
    if (w->kind == WAIT_CALL) {
        if (is_value)
            stats_add(rt->stats, calls_resolved, 1);
        else if (status == NX_ETIMEDOUT)
            stats_add(rt->stats, calls_timed_out, 1);
        else
            stats_add(rt->stats, calls_rejected, 1);
        stats_add(rt->stats, calls_pending, -1);
    } else if (w->kind == WAIT_START) {
        if (is_value)
            stats_add(rt->stats, spawns_resolved, 1);
        else if (status == NX_ETIMEDOUT)
            stats_add(rt->stats, spawns_timed_out, 1);
        else
            stats_add(rt->stats, spawns_rejected, 1);
    }
}

/* The answer's bytes must outlive the view that they are: into the waiting handler's memory. A large reply of a server of this worker comes with its
 * packer, whose memory changes hands. */
static int
keep_body(struct runtime *rt, struct wait *w, const uint8_t *body, size_t len)
{
    struct runner *r = w->runner;
    if (len == 0)
        return 0;                     /* a start on this worker: there is nothing to keep, and nothing that can fail */
    if (len >= TAKE_OVER && rt->giving != NULL) {
        struct held *h = runner_alloc(r, sizeof *h);
        if (h == NULL)
            return NX_ENOMEM;
        h->bytes = rt->giving->bytes;
        h->next = r->held;
        r->held = h;
        value_packer_init(rt->giving, rt->config.limits.max_body);
        w->body = body;
        w->len = len;
        return 0;
    }
    uint8_t *copy = runner_alloc(r, len);
    if (copy == NULL)
        return NX_ENOMEM;
    memcpy(copy, body, len);
    w->body = copy;
    w->len = len;
    return 0;
}

static void
on_end(void *arg, uint64_t call_id, int status, const struct call_target *target, const struct envelope *e, const uint8_t *body)
{
    struct wait *w = arg;
    struct runtime *rt = w->runner->rt;
    (void)call_id, (void)target;
    if (status == 0) {
        w->answer = e->kind;
        status = keep_body(rt, w, body, e->body_len);
    }
    w->status = status;
    w->is_done = true;
    count_end(rt, w, status, w->answer);
    scheduler_wake(rt, w->server);
}

int
invoke_begin(struct runner *r, struct wait *w, enum wait_kind kind, const struct envelope *e, uint64_t deadline_ns)
{
    struct runtime *rt = r->rt;
    w->server = r->server;
    w->runner = r;
    w->kind = (uint8_t)kind;
    w->answer = 0;
    w->is_done = false;
    w->status = 0;
    w->body = NULL;
    w->len = 0;
    w->target = (struct call_target){ .node = e->node, .session = e->session, .generation = e->generation, .slot = e->slot, .serial = e->serial };
    int err = call_begin(rt->config.calls, &w->target, deadline_ns, on_end, w, &w->call_id);
    if (err != 0)
        return failure_set(r, err, NULL, err == NX_EBUSY ? "too many calls are pending" : "%s", nx_strerror(err));
    if (kind == WAIT_CALL) {
        stats_add(rt->stats, calls_initiated, 1);
        stats_add(rt->stats, calls_pending, 1);
    } else if (kind == WAIT_START) {
        stats_add(rt->stats, spawns_initiated, 1);
    }
    r->server->wait = w;              /* from here on a deadlock is seen, also one that sending finds */
    return 0;
}

void
invoke_park(struct runner *r, struct wait *w)
{
    if (r->server->life == SERVER_STARTING)
        spawn_waits(r->rt, r->server);
    while (!w->is_done)
        runner_park(r);
    r->server->wait = NULL;
}

void
invoke_finish(struct runtime *rt, struct wait *w, int status)
{
    if (w->is_done)
        return;
    if (w->kind != WAIT_SLEEP)
        (void)call_cancel(rt->config.calls, w->call_id);
    w->status = status;
    w->is_done = true;
    count_end(rt, w, status, 0);
    scheduler_wake(rt, w->server);
}

int
invoke_status(struct runner *r, const struct wait *w, nx_ref to, int64_t timeout_ms)
{
    char text[NX_REF_TEXT_MAX];
    struct base_error why;
    if (w->status == 0 && w->answer != KIND_ERROR)
        return 0;
    why.code = w->status;
    switch (w->status) {
    case 0:
        failure_decode(w->body, w->len, &why);
        return failure_keep(r, &why);
    case NX_ETIMEDOUT:
        (void)failure_set(r, NX_ETIMEDOUT, to.serial != 0 ? invoke_ref_text(to, text) : nx_ref_node(to), "%s of %.300s timed out after %" PRId64 " ms",
                          w->kind == WAIT_CALL ? "call" : w->kind == WAIT_START ? "start" : w->kind == WAIT_STOP ? "stop" : "request",
                          to.serial != 0 ? text : nx_ref_node(to) != NULL ? nx_ref_node(to) : nx_node(), timeout_ms);
        r->failure.timeout_ms = timeout_ms;
        return NX_ETIMEDOUT;
    case NX_ECANCELED:
        return failure_set(r, NX_ECANCELED, NULL, "this server is being stopped");
    case NX_EDEADLOCK:                /* its text, with the cycle, is there already */
        return NX_EDEADLOCK;
    case NX_ENODE:
    case NX_ENOSERVER:
        if (to.serial == 0)           /* a start or a name: it was a process or a node that was asked, not a server */
            return explain_process(r, w->status, w->target.node);
        (void)route_explain(r->rt->config.route, w->status, to, &why);
        return failure_keep(r, &why);
    default:
        return failure_set(r, w->status, NULL, "%s", nx_strerror(w->status));
    }
}

int
invoke_wait(struct runner *r, struct wait *w, enum wait_kind kind, int way, struct envelope *e, const void *body, nx_ref to, int64_t timeout_ms,
            uint64_t deadline_ns)
{
    struct runtime *rt = r->rt;
    int err = invoke_begin(r, w, kind, e, deadline_ns);
    if (err != 0)
        return err;
    w->to = to;
    e->call_id = w->call_id;
    e->deadline_ns = deadline_ns;
    err = invoke_send(rt, way, e, body);
    if (err != 0) {
        r->server->wait = NULL;
        if (!w->is_done) {
            (void)call_cancel(rt->config.calls, w->call_id);
            count_end(rt, w, err, 0);
        }
        return kind == WAIT_NAMES ? err : invoke_explain(r, err, to, e->node);
    }
    invoke_park(r, w);
    return invoke_status(r, w, to, timeout_ms);
}

static void
on_alarm(void *arg)
{
    struct wait *w = arg;
    invoke_finish(w->runner->rt, w, 0);
}

int
invoke_sleep(struct runner *r, uint64_t ns)
{
    struct runtime *rt = r->rt;
    struct wait w = { .server = r->server, .runner = r, .kind = WAIT_SLEEP };
    int err = invoke_allowed(r);
    if (err != 0)
        return err;
    loop_timer_init(&w.alarm, on_alarm, &w);
    err = loop_timer_set(rt->config.loop, &w.alarm, runtime_clock(rt) + ns);
    if (err != 0)
        return failure_set(r, err, NULL, "%s", nx_strerror(err));
    r->server->wait = &w;
    invoke_park(r, &w);
    loop_timer_cancel(rt->config.loop, &w.alarm);
    return w.status == 0 ? 0 : failure_set(r, NX_ECANCELED, NULL, "this server is being stopped");
}
