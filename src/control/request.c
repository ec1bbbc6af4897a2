/*
 * request.c - one request of a client, from its arrival to its one answer.
 *
 * Lives here: the bounds and statistics of requests, sending a message of this node's own and waiting for it, the texts of
 * failures.
 * Never here: what a method does.
 * Runs in: the gate.
 *
 * A request lives in its session's list until request_reply, request_fail or request_cancel; each of these frees it.
 */
#include "control/control_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/utf8.h"

static void
release(struct request *r)
{
    struct session *s = r->session;
    if (r->worker != SLOT_ANY)
        request_control(r)->starting[r->worker]--;
    list_remove(&r->link);
    free(r);
    session_request_done(s);
}

static void
count_end(struct request *r, int code)
{
    struct stats *st = request_control(r)->stats;
    bool is_late = code == NX_ETIMEDOUT || code == NX_EINITTIMEOUT;
    if (r->count == REQUEST_CALL && code == 0)
        stats_add(st, calls_resolved, 1);
    else if (r->count == REQUEST_CALL && is_late)
        stats_add(st, calls_timed_out, 1);
    else if (r->count == REQUEST_CALL)
        stats_add(st, calls_rejected, 1);
    else if (r->count == REQUEST_SPAWN && code == 0)
        stats_add(st, spawns_resolved, 1);
    else if (r->count == REQUEST_SPAWN && is_late)
        stats_add(st, spawns_timed_out, 1);
    else if (r->count == REQUEST_SPAWN)
        stats_add(st, spawns_rejected, 1);
    stats_set(st, calls_pending, calls_count(request_control(r)->config.calls));
}

/* ---------------------------------------------------------------- ends */

void
request_reply(struct request *r, const void *result, size_t len)
{
    count_end(r, 0);
    if (!r->is_notification)
        session_put_result(r->session, r->id, result, len);
    release(r);
}

void
request_reply_packed(struct request *r, nx_packer *p)
{
    request_reply(r, buf_data(&p->bytes), buf_len(&p->bytes));
    value_packer_fini(p);
}

void
request_reply_true(struct request *r)
{
    static const uint8_t yes = 0xc3;
    request_reply(r, &yes, 1);
}

void
request_reply_ref(struct request *r, nx_ref ref)
{
    char text[NX_REF_TEXT_MAX];
    struct buf b;
    if (nx_ref_text(ref, text, sizeof text) != 0) {
        request_fail_code(r, NX_ENODE, NULL, "the ref names a node that this node has never heard of");
        return;
    }
    buf_init(&b, 0);
    if (rpc_put_text(&b, text) == 0)
        request_reply(r, buf_data(&b), buf_len(&b));
    else
        request_fail_code(r, NX_ENOMEM, NULL, "out of memory");
    buf_fini(&b);
}

void
request_fail(struct request *r, const struct base_error *why)
{
    count_end(r, why->code);
    if (!r->is_notification)
        session_put_error(r->session, r->id, why);
    release(r);
}

void
request_fail_code(struct request *r, int code, const char *subject, const char *fmt, ...)
{
    char text[BASE_ERROR_TEXT];
    struct base_error why = { 0 };
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    base_error_set(&why, code, subject, "%s", text);
    request_fail(r, &why);
}

void
request_cancel(struct request *r)
{
    struct calls *calls = request_control(r)->config.calls;
    request_fan_cancel(r);
    if (r->call_id != 0) {
        const struct call_target *target = call_borrow_target(calls, r->call_id);
        if (target != NULL)
            request_undo_start(r, r->call_id, target);
        (void)call_cancel(calls, r->call_id);
    }
    count_end(r, NX_ECANCELED);
    release(r);
}

/* ---------------------------------------------------------------- sending and waiting */

void
request_error_from(const struct envelope *e, const uint8_t *body, struct base_error *out)
{
    struct sys_error in;
    *out = (struct base_error){ 0 };
    if (sys_error_decode(body, e->body_len, &in, out) != 0) {
        base_error_set(out, NX_EBADMSG, NULL, "message malformed: an error that cannot be read");
        return;
    }
    char subject[BASE_ERROR_SUBJECT];
    (void)snprintf(subject, sizeof subject, "%.*s", (int)(in.subject.len < sizeof subject ? in.subject.len : 0), in.subject.at);
    int code = base_error_is_known(in.code) ? in.code : NX_EBADMSG;
    if (in.text.len > 0)
        base_error_set(out, code, subject, "%.*s", (int)(in.text.len < BASE_ERROR_TEXT ? in.text.len : BASE_ERROR_TEXT),
                       in.text.at);
    else
        base_error_set(out, code, subject, "%s", nx_strerror(code));
    out->app_code = in.app_code;
    out->timeout_ms = in.timeout_ms;
}

/* It ended without an answer. */
static void
fail_unanswered(struct request *r, int status)
{
    struct control *c = request_control(r);
    struct base_error why = { 0 };
    char ref[NX_REF_TEXT_MAX] = "";

    if (r->has_ref)
        (void)nx_ref_text(r->ref, ref, sizeof ref);
    if (status == NX_ETIMEDOUT) {
        base_error_set(&why, NX_ETIMEDOUT, ref, "%s%s%s timed out after %lld ms", r->what, ref[0] != '\0' ? " to " : "", ref,
                       (long long)r->timeout_ms);
        why.timeout_ms = r->timeout_ms;
    } else if (r->has_ref) {
        route_explain(c->config.route, status, r->ref, &why);
    } else if (status == NX_ENODE) {
        const char *node = nodes_borrow_id(control_nodes(c), r->node);
        base_error_set(&why, NX_ENODE, node, "node %s is not reachable", node != NULL ? node : "?");
    } else {
        base_error_set(&why, status, NULL, "%s: the process that should answer has ended", r->what);
    }
    request_fail(r, &why);
}

static void
on_end(void *arg, uint64_t call_id, int status, const struct call_target *target, const struct envelope *e, const uint8_t *body)
{
    struct request *r = arg;
    struct base_error why;

    r->call_id = 0;
    if (status == NX_ETIMEDOUT)
        request_undo_start(r, call_id, target);
    if (status != 0) {
        fail_unanswered(r, status);
    } else if (e->kind == KIND_ERROR) {
        request_error_from(e, body, &why);
        request_fail(r, &why);
    } else {
        r->end(r, e, body);
    }
}

void
request_count(struct request *r, enum request_count count)
{
    r->count = count;
    if (count == REQUEST_CALL)
        stats_add(request_control(r)->stats, calls_initiated, 1);
    else if (count == REQUEST_SPAWN)
        stats_add(request_control(r)->stats, spawns_initiated, 1);
}

void
request_send(struct request *r, struct envelope *e, const void *body, size_t len, int64_t timeout_ms, const char *what,
             request_end_fn *end)
{
    struct control *c = request_control(r);
    struct call_target target = { .node = e->node, .session = e->session, .generation = e->generation, .slot = e->slot,
                                  .serial = e->serial };

    r->end = end;
    r->timeout_ms = timeout_ms;
    r->node = e->node;
    (void)snprintf(r->what, sizeof r->what, "%s", what);
    if (len > c->limits.max_body) {
        request_fail_code(r, NX_ETOOBIG, NULL, "message too big: %zu bytes, the bound is %zu", len, c->limits.max_body);
        return;
    }
    /* The turn's own time is as old as its first event. A deadline counts from now. */
    e->deadline_ns = clock_deadline(clock_now_ns(), timeout_ms);
    e->body_len = (uint32_t)len;
    int err = call_begin(c->config.calls, &target, e->deadline_ns, on_end, r, &r->call_id);
    if (err != 0) {
        r->call_id = 0;
        request_fail_code(r, err, NULL, err == NX_EBUSY ? "too much in progress: calls pending" : "out of memory");
        return;
    }
    e->call_id = r->call_id;
    err = route_send(c->config.route, e, body);
    if (err == 0) {
        stats_set(c->stats, calls_pending, calls_count(c->config.calls));
        return;
    }
    (void)call_cancel(c->config.calls, r->call_id);
    r->call_id = 0;
    if (err == NX_EBUSY)
        request_fail_code(r, err, NULL, "too much in progress: the way to %s is full",
                          e->node != 0 ? "other nodes" : "that process");
    else
        fail_unanswered(r, err);
}

/* ---------------------------------------------------------------- targets */

static int
target_from_ext(struct control *c, struct rpc_slice raw, nx_ref *out, struct base_error *why)
{
    struct rpc_cursor at = { raw.at, raw.at + raw.len };
    struct rpc_slice ext;
    struct wire_ref wire;
    int8_t type;
    if (!rpc_take_ext(&at, &type, &ext))
        return base_error_set(why, NX_EINVAL, NULL, "parameter target: must be a ref or a name");
    int err = wire_ref_decode(ext.at, ext.len, &wire, why);
    return err != 0 ? err : route_ref_from_wire(c->config.route, &wire, out, why);
}

static int
target_from_text(struct control *c, struct rpc_slice text, nx_ref *out, struct base_error *why)
{
    struct wire_ref wire;
    if (text.len == 0 || text.at[0] != '#')
        return control_names_find(c, 0, text, out, why);
    int err = wire_ref_from_text((const char *)text.at, text.len, &wire, why);
    return err != 0 ? err : route_ref_from_wire(c->config.route, &wire, out, why);
}

int
request_target(struct request *r, const struct param_value *target, nx_ref *out)
{
    struct control *c = request_control(r);
    struct base_error why = { 0 };
    int err = target->text.at == NULL ? target_from_ext(c, target->raw, out, &why) : target_from_text(c, target->text, out, &why);
    if (err == 0) {
        r->has_ref = true;
        r->ref = *out;
    } else {
        request_fail(r, &why);
    }
    return err;
}

/* ---------------------------------------------------------------- beginning */

static void
answer_busy(struct session *s, const struct rpc_message *m)
{
    struct base_error why = { 0 };
    if (m->kind == RPC_NOTIFICATION)
        return;
    base_error_set(&why, NX_EBUSY, NULL, "too much in progress: %d requests of this client wait for their answer",
                   CONTROL_IN_FLIGHT_MAX);
    session_put_error(s, m->id, &why);
}

void
request_run(struct session *s, const struct rpc_message *m)
{
    struct base_error why = { 0 };
    struct params p;
    if (s->in_flight >= CONTROL_IN_FLIGHT_MAX) {
        answer_busy(s, m);
        return;
    }
    struct request *r = calloc(1, sizeof *r);
    if (r == NULL) {
        session_break(s);                  /* an error to answer with would find no memory either */
        return;
    }
    *r = (struct request){ .session = s, .id = m->id, .is_notification = m->kind == RPC_NOTIFICATION, .worker = SLOT_ANY };
    list_push_back(&s->requests, &r->link);
    s->in_flight++;

    const struct method *method = method_find(m->method);
    if (method == NULL) {
        bool is_shown = m->method.len <= 64 && utf8_is_name(m->method.at, m->method.len);
        request_fail_code(r, NX_EINVAL, NULL, "method %.*s: there is no such method", is_shown ? (int)m->method.len : 1,
                          is_shown ? (const char *)m->method.at : "?");
    } else if (params_read(m->params, method->required, method->optional, &p, &why) != 0) {
        request_fail(r, &why);
    } else {
        method->run(r, &p);
    }
}
