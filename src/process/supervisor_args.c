/*
 * supervisor_args.c - packs a configured supervisor for its init.
 *
 * Lives here: the one place that knows both the configuration and the supervisor's arguments.
 * Runs in: workers.
 */
#include "process/supervisor_args.h"

#include "base/base.h"

static int
pack_children(const struct conf_supervisor *s, nx_packer *one, struct buf *all)
{
    static const char *const restarts[] = { [CONF_PERMANENT] = "permanent", [CONF_TRANSIENT] = "transient", [CONF_TEMPORARY] = "temporary" };
    /* array32: the count is known, the elements follow */
    uint8_t head[5] = { 0xdd, (uint8_t)(s->server_count >> 24), (uint8_t)(s->server_count >> 16), (uint8_t)(s->server_count >> 8), (uint8_t)s->server_count };
    int err = buf_put(all, head, sizeof head);
    for (size_t i = 0; i < s->server_count && err == 0; i++) {
        const struct conf_server *c = &s->servers[i];
        value_packer_clear(one);
        err = nx_pack(one, "{s:s,s:s,s:v,s:i,s:s,s:i,s:s,s:I}", "label", c->label, "behavior", c->behavior,
                      "args", (nx_value){ .packed = c->args, .packed_len = c->args_len }, "scope", c->scope, "name", c->name, "priority", (int)c->priority,
                      "restart", restarts[c->restart], "shutdownMs", c->shutdown_ms);
        nx_value v = value_packer_value(one);
        if (err == 0)
            err = buf_put(all, v.packed, v.packed_len);
    }
    return err;
}

int
supervisor_args(const struct conf_supervisor *s, nx_packer *out)
{
    static const char *const strategies[] = { [CONF_ONE_FOR_ONE] = "one_for_one", [CONF_ONE_FOR_ALL] = "one_for_all", [CONF_REST_FOR_ONE] = "rest_for_one" };
    nx_packer one;
    struct buf all;
    value_packer_init(&one, 0);
    buf_init(&all, 0);
    int err = pack_children(s, &one, &all);
    if (err == 0)
        err = nx_pack(out, "{s:s,s:s,s:u,s:I,s:v}", "name", s->name, "strategy", strategies[s->strategy], "maxRestarts", (uint64_t)s->max_restarts,
                      "withinMs", s->within_ms, "children", (nx_value){ .packed = buf_data(&all), .packed_len = buf_len(&all) });
    value_packer_fini(&one);
    buf_fini(&all);
    return err;
}
