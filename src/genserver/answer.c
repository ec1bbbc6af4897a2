/*
 * answer.c - answers: to a caller on this worker, another worker, another node.
 *
 * Lives here: the short way to a caller of this very worker, errors as messages, nx_reply and nx_reply_error.
 * Never here: what is answered.
 * Runs in: workers.
 */
#include "genserver/genserver_priv.h"

int
answer_value(struct runtime *rt, const nx_from *to, uint8_t kind, const void *body, size_t len, nx_packer *packer)
{
    if (to->call_id == 0)
        return 0;                     /* nobody asked */
    int err;
    if (to->node == 0 && runtime_owns_call(rt, to->call_id)) {
        struct envelope e = { .kind = kind, .slot = rt->config.slot, .call_id = to->call_id, .body_len = (uint32_t)len };
        rt->giving = packer;
        err = call_answer(rt->config.calls, &e, body);
        rt->giving = NULL;
        if (err != 0)
            stats_add(rt->stats, calls_late, 1);
        return err;
    }
    err = route_answer(rt->config.route, kind, to->node, to->session, to->call_id, to->deadline_ns, body, len);
    if (err != 0 && log_gate_pass(&rt->warn_gate, LOGS_PER_SECOND))
        log_debug("genserver: answer lost call=%llu error=%s", (unsigned long long)to->call_id, nx_errname(err));
    return 0;                         /* whoever waits there has its deadline */
}

void
answer_error(struct runtime *rt, const nx_from *to, const struct base_error *why)
{
    struct failure_body body;
    if (failure_encode(why, &body) == 0)
        (void)answer_value(rt, to, KIND_ERROR, buf_data(&body.buf), buf_len(&body.buf), NULL);
}

void
answer_code(struct runtime *rt, const nx_from *to, int code, const char *subject, const char *text)
{
    struct base_error why = { .code = 0 };
    (void)base_error_set(&why, code, subject, "%s", text);
    answer_error(rt, to, &why);
}

int
nx_reply(nx_self *self, nx_from to, nx_value value)
{
    struct runner *r = runner_of(self);
    if (r == NULL)
        return NX_EINVAL;
    const void *bytes = NULL;
    size_t len = 0;
    int err = invoke_bytes(r, value, &bytes, &len);
    if (err == 0)
        (void)answer_value(r->rt, &to, KIND_REPLY, bytes, len, NULL);
    return err;
}

int
nx_reply_error(nx_self *self, nx_from to, int code, int64_t app_code, const char *text)
{
    struct runner *r = runner_of(self);
    if (r == NULL)
        return NX_EINVAL;
    if (code >= 0 || !base_error_is_known(code))
        return failure_set(r, NX_EINVAL, NULL, "nx_reply_error: %d is not one of the NX_E codes", code);
    struct base_error why = { .code = 0 };
    (void)base_error_set(&why, code, NULL, "%s", text != NULL ? text : nx_strerror(code));
    why.app_code = app_code;
    answer_error(r->rt, &to, &why);
    return 0;
}
