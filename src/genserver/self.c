/*
 * self.c - the small functions of noex.h about the server whose callback is running.
 *
 * Lives here: its ref, its caller, its end, its log lines, values it makes, the time.
 * Never here: anything that waits or sends.
 * Runs in: workers, on a runner.
 */
#include "genserver/genserver_priv.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

nx_ref
nx_self_ref(nx_self *self)
{
    struct runner *r = runner_of(self);
    return r != NULL ? server_ref(r->rt, r->server) : (nx_ref){ 0 };
}

nx_from
nx_caller(nx_self *self)
{
    struct runner *r = runner_of(self);
    return r != NULL ? r->from : (nx_from){ 0 };
}

void
nx_exit(nx_self *self, nx_reason reason)
{
    struct runner *r = runner_of(self);
    if (r == NULL || r->server->is_exiting)
        return;
    r->server->is_exiting = true;
    r->server->reason = (uint8_t)(reason == NX_NORMAL || reason == NX_SHUTDOWN ? reason : NX_ERROR);
}

const char *
nx_reason_name(nx_reason reason)
{
    static const char *const names[] = { [NX_NORMAL] = "normal", [NX_SHUTDOWN] = "shutdown", [NX_ERROR] = "error", [NX_KILLED] = "killed",
                                         [NX_NOCONNECTION] = "noconnection", [NX_NOSERVER] = "noserver" };
    return (unsigned)reason < BASE_COUNT(names) ? names[reason] : "unknown";
}

/* What was packed, in memory of this callback, decoded if one may receive it. Gives the packer's memory back. */
static nx_value
keep_made(struct runner *r, nx_packer *p, int err, struct base_error *why)
{
    nx_value made = { 0 };
    if (err == 0) {
        nx_value bytes = value_packer_value(p);
        void *copy = runner_alloc(r, bytes.packed_len);
        if (copy != NULL) {
            memcpy(copy, bytes.packed, bytes.packed_len);
            if (value_decode(r->zone, copy, bytes.packed_len, &r->rt->config.limits, &made, why) != 0)
                made = (nx_value){ .packed = copy, .packed_len = bytes.packed_len };   /* beyond what one may receive: whoever sends it is told */
        } else {
            err = base_error_set(why, NX_ENOMEM, NULL, "no memory for a value");
        }
    }
    value_packer_fini(p);
    if (err != 0) {
        why->code = err;
        (void)failure_keep(r, why);
    }
    return made;
}

nx_value
nx_make(nx_self *self, const char *fmt, ...)
{
    struct runner *r = runner_of(self);
    if (r == NULL)
        return (nx_value){ 0 };
    nx_packer p;
    struct base_error why = { .code = 0 };
    va_list ap;
    value_packer_init(&p, r->rt->config.limits.max_body);
    va_start(ap, fmt);
    int err = value_vpack(&p, &why, fmt, ap);
    va_end(ap);
    if (err == 0 && value_packer_count(&p) != 1)
        err = base_error_set(&why, NX_EINVAL, NULL, "nx_make: \"%s\" is not one value", fmt);
    return keep_made(r, &p, err, &why);
}

nx_value
nx_make_array(nx_self *self, const nx_value *items, size_t count)
{
    struct runner *r = runner_of(self);
    if (r == NULL)
        return (nx_value){ 0 };
    nx_packer p;
    struct base_error why = { .code = 0 };
    value_packer_init(&p, r->rt->config.limits.max_body);
    int err = nx_pack_array(&p, items, count);
    if (err != 0)
        why = *value_last_error();
    return keep_made(r, &p, err, &why);
}

void
nx_log(nx_self *self, enum nx_log_level level, const char *fmt, ...)
{
    static const enum log_level levels[] = { [NX_LOG_ERROR] = LOG_ERROR, [NX_LOG_WARN] = LOG_WARN, [NX_LOG_INFO] = LOG_INFO, [NX_LOG_DEBUG] = LOG_DEBUG };
    struct runner *r = runner_of(self);
    if (r == NULL || fmt == NULL || (unsigned)level >= BASE_COUNT(levels) || levels[level] > log_get_level() || !log_gate_pass(&r->rt->log_gate, LOGS_PER_SECOND))
        return;
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    log_line(levels[level], "server %s#%" PRIu64 ": %s", module_code_name(r->server->code), r->server->serial, text);
}

uint64_t
nx_now_ms(void)
{
    return clock_now_ns() / CLOCK_NS_PER_MS;
}

uint64_t
nx_wall_ms(void)
{
    return clock_wall_ms();
}
