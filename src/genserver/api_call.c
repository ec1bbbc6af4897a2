/*
 * api_call.c - nx_call and nx_stop.
 *
 * Lives here: the checks of their arguments, the request, the reply as a value.
 * Never here: waiting (invoke.c).
 * Runs in: workers, on a runner.
 */
#include "genserver/genserver_priv.h"

static int
reject_call(struct runner *r, int code)
{
    stats_add(r->rt->stats, calls_initiated, 1);
    stats_add(r->rt->stats, calls_rejected, 1);
    return code;
}

int
nx_call(nx_self *self, nx_ref to, nx_value msg, int64_t timeout_ms, nx_value *reply)
{
    struct runner *r = runner_of(self);
    if (r == NULL)
        return NX_EINVAL;
    struct runtime *rt = r->rt;
    struct envelope e;
    struct wait w;
    uint64_t deadline_ns = 0;
    const void *bytes = NULL;
    size_t len = 0;
    int err = invoke_timeout(r, timeout_ms, &deadline_ns);
    if (err == 0)
        err = invoke_bytes(r, msg, &bytes, &len);
    if (err != 0)
        return err;
    int way = invoke_route(r, to, &e);
    if (way < 0)
        return way == NX_EINVAL ? way : reject_call(r, way);
    if (way == ROUTE_HERE && e.serial == r->server->serial) {
        char text[NX_REF_TEXT_MAX];
        return reject_call(r, failure_set(r, NX_EDEADLOCK, invoke_ref_text(to, text), "%.360s calls itself", text));
    }
    err = invoke_allowed(r);
    if (err != 0)
        return reject_call(r, err);
    e.kind = KIND_CALL;
    e.body_len = (uint32_t)len;
    err = invoke_wait(r, &w, WAIT_CALL, way, &e, bytes, to, timeout_ms, deadline_ns);
    if (err != 0)
        return err;
    struct base_error why;
    nx_value value;
    r->zone_used = true;
    err = value_decode(r->zone, w.body, w.len, &rt->config.limits, &value, &why);
    if (err != 0)
        return failure_keep(r, &why);
    if (reply != NULL)
        *reply = value;
    return 0;
}

int
nx_stop(nx_self *self, nx_ref to, nx_reason reason, int64_t timeout_ms)
{
    struct runner *r = runner_of(self);
    if (r == NULL)
        return NX_EINVAL;
    struct envelope e;
    struct wait w;
    uint64_t deadline_ns = 0;
    int err = invoke_timeout(r, timeout_ms, &deadline_ns);
    if (err != 0)
        return err;
    if (reason != NX_NORMAL && reason != NX_SHUTDOWN)
        return failure_set(r, NX_EINVAL, NULL, "a stop is NX_NORMAL or NX_SHUTDOWN");
    if (r->callback == CALLBACK_TERMINATE && timeout_ms == NX_FOREVER)        /* two that stop each other at their end would never end */
        return failure_set(r, NX_EINVAL, NULL, "terminate waits for the end of others with a limit, not NX_FOREVER");
    int way = invoke_route(r, to, &e);
    if (way < 0)
        return way;
    if (way == ROUTE_HERE && e.serial == r->server->serial) {
        nx_exit(self, reason);
        return 0;
    }
    /* A supervisor's terminate waits for its children, although it is being stopped itself. */
    err = r->callback == CALLBACK_TERMINATE ? invoke_room(r) : invoke_allowed(r);
    if (err != 0)
        return err;
    struct sys_stop stop = { .reason = (int32_t)reason };
    struct buf body;
    buf_init(&body, 256);
    err = sys_stop_encode(&stop, &body);
    if (err != 0) {
        buf_fini(&body);
        return failure_set(r, err, NULL, "%s", nx_strerror(err));
    }
    e.kind = KIND_STOP;
    e.body_len = (uint32_t)buf_len(&body);
    err = invoke_wait(r, &w, WAIT_STOP, way, &e, buf_data(&body), to, timeout_ms, deadline_ns);
    buf_fini(&body);
    return err;
}
