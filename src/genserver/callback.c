/*
 * callback.c - one message, one callback.
 *
 * Lives here: decoding the body once, calling the module, the answer to its caller, what a failed handler means.
 * Never here: mailboxes, the order of servers.
 * Runs in: workers, on a runner.
 *
 * Everything here may be suspended in the middle, while the module's handler waits; only what lies on this stack or in the server survives that.
 */
#include "genserver/genserver_priv.h"

#include <inttypes.h>

static int
decode(struct runner *r, const struct msg *m, nx_value *out, struct base_error *why)
{
    r->zone_used = true;
    return value_decode(r->zone, m->body, m->envelope.body_len, &r->rt->config.limits, out, why);
}

/* Log a cast or an event that its handler did not take; the caller of a call is told instead. */
static void
note_error(struct runner *r, struct server *s, const char *what, const struct base_error *why)
{
    struct runtime *rt = r->rt;
    stats_add(rt->stats, handler_errors, 1);
    if (log_gate_pass(&rt->warn_gate, LOGS_PER_SECOND))
        log_warn("genserver: handler failed server=%s#%" PRIu64 " what=%s error=%s text=\"%s\"", module_code_name(s->code), s->serial, what,
                 nx_errname(why->code), why->text);
}

static void
answer_result(struct runner *r, const nx_from *from, int result)
{
    static const uint8_t nil = 0xc0;
    struct runtime *rt = r->rt;
    struct base_error why;
    if (result == NX_NOREPLY)
        return;
    if (result != 0) {
        failure_of_result(r, result, &why);
        stats_add(rt->stats, handler_errors, 1);
        answer_error(rt, from, &why);
        return;
    }
    nx_value reply = value_packer_value(&r->reply);
    if (nx_is_value(reply) && value_packer_count(&r->reply) == 1) {
        (void)answer_value(rt, from, KIND_REPLY, reply.packed, reply.packed_len, &r->reply);
        return;
    }
    failure_absorb(r);
    if (nx_is_value(reply))
        answer_code(rt, from, NX_EBADMSG, NULL, "the handler packed more than one value into its reply");
    else if (r->failure.code == NX_ETOOBIG || r->failure.code == NX_ENOMEM)   /* an nx_pack whose failure the handler did not look at: no silent nil */
        answer_error(rt, from, &r->failure);
    else
        (void)answer_value(rt, from, KIND_REPLY, &nil, sizeof nil, NULL);
}

static void
run_call(struct runner *r, struct server *s, struct msg *m)
{
    struct runtime *rt = r->rt;
    if (clock_is_past(m->envelope.deadline_ns, rt->now_ns)) {
        stats_add(rt->stats, expired, 1);             /* its caller has its timeout already */
        return;
    }
    nx_from from = answer_from(&m->envelope);
    nx_value body;
    struct base_error why;
    runner_enter(r, s, CALLBACK_CALL);
    if (decode(r, m, &body, &why) != 0) {
        answer_error(rt, &from, &why);
    } else {
        r->from = from;
        s->handling = from.call_id;
        value_packer_clear(&r->reply);
        int result = s->behavior->handle_call(self_of(s), s->state, body, &r->reply);
        answer_result(r, &from, result);
        s->handling = 0;
    }
    runner_leave(r);
}

static void
run_cast(struct runner *r, struct server *s, struct msg *m)
{
    nx_value body;
    struct base_error why;
    runner_enter(r, s, CALLBACK_CAST);
    if (decode(r, m, &body, &why) != 0) {
        stats_add(r->rt->stats, bad_messages, 1);
    } else {
        int result = s->behavior->handle_cast(self_of(s), s->state, body);
        if (result < 0) {
            failure_of_result(r, result, &why);
            note_error(r, s, "cast", &why);
        }
    }
    runner_leave(r);
}

/* An event of ours as the struct that the module sees. A body of ours that does not decode is dropped and counted. */
static int
make_info(struct runner *r, const struct msg *m, nx_info *info)
{
    struct base_error why;
    switch (m->what) {
    case MSG_TIMER:
        info->kind = NX_INFO_TIMER;
        info->timer = m->tag;
        info->status = decode(r, m, &info->value, &why);
        if (info->status != 0)        /* no value, but it fires: its server may live by it */
            (void)failure_keep(r, &why);
        return 0;
    case MSG_REPLY:
        info->kind = NX_INFO_REPLY;
        info->tag = m->tag;
        if (m->envelope.kind == KIND_REPLY) {
            info->status = decode(r, m, &info->value, &why);
            if (info->status != 0)
                (void)failure_keep(r, &why);
        } else if (m->envelope.kind == 0) {
            info->status = failure_set(r, NX_ENOMEM, NULL, "no memory for the answer");
        } else {
            failure_decode(m->body, m->envelope.body_len, &r->failure);
            info->status = r->failure.code;
        }
        return 0;
    case MSG_DOWN:
        return monitor_info(r, m, info);
    default:
        return events_info(r, m, info);
    }
}

static void
run_info(struct runner *r, struct server *s, struct msg *m)
{
    if (s->behavior->handle_info == NULL)
        return;
    nx_info info = { .kind = 0 };
    runner_enter(r, s, CALLBACK_INFO);
    if (make_info(r, m, &info) != 0) {
        stats_add(r->rt->stats, bad_messages, 1);
    } else {
        int result = s->behavior->handle_info(self_of(s), s->state, &info);
        if (result < 0) {
            struct base_error why;
            failure_of_result(r, result, &why);
            note_error(r, s, "info", &why);
        }
    }
    runner_leave(r);
}

/* The request is kept: it is answered when the server is gone. */
static void
run_stop(struct server *s, struct msg *m)
{
    struct belongings *own = server_own(s);
    s->is_exiting = true;
    s->reason = (uint8_t)m->tag;
    if (own == NULL) {                /* not a request, then (invoke_send): nobody is told */
        msg_free(&m);
        return;
    }
    m->next = own->stops;
    own->stops = m;
}

void
callback_run(struct runner *r, struct server *s, struct msg *m)
{
    struct runtime *rt = r->rt;
    s->messages++;
    stats_add(rt->stats, messages, 1);
    if (s->stats_index < STATS_BEHAVIORS_MAX)
        stats_add(rt->stats, behaviors[s->stats_index].messages, 1);
    r->message = m;
    switch (m->what) {
    case MSG_CALL: run_call(r, s, m); break;
    case MSG_CAST: run_cast(r, s, m); break;
    case MSG_STOP: run_stop(s, m);    m = NULL; break;
    default:       run_info(r, s, m); break;
    }
    r->message = NULL;
    msg_free(&m);
}

void
callback_terminate(struct runner *r, struct server *s, nx_reason reason)
{
    s->has_state = false;
    if (s->behavior->terminate == NULL)
        return;
    runner_enter(r, s, CALLBACK_TERMINATE);
    s->behavior->terminate(self_of(s), s->state, reason);
    runner_leave(r);
}
