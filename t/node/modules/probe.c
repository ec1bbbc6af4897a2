/*
 * probe.c - a module for tests: does what its messages say, so that a test can look at noexd from inside a handler.
 *
 * Lives here: behavior "probe". Calls (maps with `type`):
 *   echo {value}                         -> value
 *   self                                 -> {ref, node}
 *   call {target, message, timeout?}     -> what the target answers; a failure is this server's own error of the same code and text
 *   cast {target, message}               -> nil            target: a ref, or a name (local, then global)
 *   start {behavior, options...}         -> ref            options: node, name, scope, args, spawnTimeout, initTimeout, anyWorker
 *   stop {target}, register {name, scope, target?}, unregister {name, scope}, whereis {name, scope} -> ref or nil, lookup {name, scope} -> ref
 *   fail {code, text}                    fails with nx_fail;   error {code}: returns that code;   crash: writes to address 0;   spin {ms}: never yields
 *   wait {ms}                            -> nil, after waiting in a call to itself's own sleeper (a deferred reply)
 *   defer {ms, value}                    -> value, by a deferred reply
 *   remember                             -> [what casts and events brought, in order]; forget
 *   subscribe {events}, monitor {target}, timer {ms, value}, async {target, message, timeout, tag}
 * Casts: anything is remembered. Args of init: nil, {fail: text}, {wait: ms}, {spin: ms}.
 */
#include <noex/noex.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REMEMBER_MAX = 20000 };

struct probe {
    char **items; size_t *lens; size_t count;       /* packed values, ours */
    nx_from deferred;
    void *deferred_value; size_t deferred_len;
};

static int
remember(struct probe *p, nx_value v)
{
    if (p->count == REMEMBER_MAX || v.packed == NULL)
        return NX_EFULL;
    char *copy = malloc(v.packed_len);
    if (copy == NULL)
        return NX_ENOMEM;
    memcpy(copy, v.packed, v.packed_len);
    p->items[p->count] = copy;
    p->lens[p->count++] = v.packed_len;
    return 0;
}

static void
forget(struct probe *p)
{
    while (p->count > 0)
        free(p->items[--p->count]);
}

/* What nx_error says becomes this server's own answer, code and all. */
static int
pass_on(nx_self *self, int err)
{
    return err < 0 ? nx_fail(self, err, "%s: %s", nx_errname(err), nx_error(self)->text) : err;
}

static int
find_target(nx_self *self, nx_value msg, nx_ref *out)
{
    const char *name = NULL;
    if (nx_unpack(msg, "{s:r}", "target", out) == 0)
        return 0;
    int err = nx_unpack(msg, "{s:s}", "target", &name);
    if (err == 0 && name[0] == '#')
        return nx_ref_parse(name, out);
    return err == 0 ? nx_lookup(self, 0, name, out) : err;
}

static int
busy_wait(int64_t ms)
{
    for (uint64_t end = nx_now_ms() + (uint64_t)ms; nx_now_ms() < end;)
        __asm__ volatile("" ::: "memory");
    return 0;
}

static int
probe_init(nx_self *self, nx_value args, void **state)
{
    const char *text = NULL;
    int64_t spin = 0, wait = 0;
    if (nx_unpack(args, "n") != 0 && nx_unpack(args, "{s?s,s?I,s?I}", "fail", &text, "spin", &spin, "wait", &wait) != 0)
        return NX_EINVAL;
    if (text != NULL)
        return nx_fail(self, 7, "%s", text);
    busy_wait(spin);
    if (wait > 0) {                                   /* a call that nobody answers: init waits */
        nx_ref other;
        int err = nx_start(self, "probe", NULL, &other);
        if (err == 0)
            err = nx_call(self, other, nx_make(self, "{s:s,s:I,s:n}", "type", "defer", "ms", wait, "value"), NX_FOREVER, NULL);
        if (err != 0)
            return err;
    }
    struct probe *p = calloc(1, sizeof *p);
    if (p == NULL || (p->items = calloc(REMEMBER_MAX, sizeof *p->items)) == NULL || (p->lens = calloc(REMEMBER_MAX, sizeof *p->lens)) == NULL)
        return NX_ENOMEM;
    *state = p;
    return 0;
}

static int
do_start(nx_self *self, nx_value msg, nx_packer *reply)
{
    const char *behavior = NULL;
    nx_start_options o = { 0 };
    int any = 0;
    nx_ref out;
    int err = nx_unpack(msg, "{s:s,s?s,s?s,s?i,s?I,s?I,s?b,s?v}", "behavior", &behavior, "node", &o.node, "name", &o.name, "scope", &o.scope, "spawnTimeout",
                        &o.spawn_timeout_ms, "initTimeout", &o.init_timeout_ms, "anyWorker", &any, "args", &o.args);
    if (err != 0)
        return err;
    o.any_worker = any != 0;
    err = nx_start(self, behavior, &o, &out);
    return err != 0 ? pass_on(self, err) : nx_pack(reply, "r", out);
}

static int
do_names(nx_self *self, const char *type, nx_value msg, nx_packer *reply)
{
    const char *name = NULL;
    int scope = NX_LOCAL;
    nx_ref ref = nx_self_ref(self);
    int err = nx_unpack(msg, "{s:s,s?i,s?r}", "name", &name, "scope", &scope, "target", &ref);
    if (err != 0)
        return err;
    if (strcmp(type, "register") == 0)
        err = nx_register(self, scope, name, ref, 0);
    else if (strcmp(type, "unregister") == 0)
        err = nx_unregister(self, scope, name);
    else if (strcmp(type, "whereis") == 0)
        return nx_whereis(self, scope, name, &ref) ? nx_pack(reply, "r", ref) : nx_pack(reply, "n");
    else if ((err = nx_lookup(self, scope, name, &ref)) == 0)
        return nx_pack(reply, "r", ref);
    return pass_on(self, err);
}

static int
do_call(nx_self *self, struct probe *p, const char *type, nx_value msg, nx_packer *reply)
{
    nx_value value = { 0 }, answer = { 0 };
    nx_ref to;
    int64_t ms = 0, timeout = NX_DEFAULT_TIMEOUT;
    uint64_t tag = 0;
    int code = 0, events = 0, err = 0;
    const char *text = "";
    (void)nx_unpack(msg, "{s?v,s?v,s?I,s?I,s?u,s?i,s?i,s?s}", "value", &value, "message", &value, "ms", &ms, "timeout", &timeout, "tag", &tag, "code", &code, "events",
                    &events, "text", &text);
    if (strcmp(type, "echo") == 0)
        return nx_pack(reply, "v", value);
    if (strcmp(type, "self") == 0)
        return nx_pack(reply, "{s:r,s:s}", "ref", nx_self_ref(self), "node", nx_node());
    if (strcmp(type, "start") == 0)
        return do_start(self, msg, reply);
    if (strcmp(type, "register") == 0 || strcmp(type, "unregister") == 0 || strcmp(type, "whereis") == 0 || strcmp(type, "lookup") == 0)
        return do_names(self, type, msg, reply);
    if (strcmp(type, "call") == 0 || strcmp(type, "cast") == 0 || strcmp(type, "stop") == 0 || strcmp(type, "monitor") == 0 || strcmp(type, "async") == 0) {
        if ((err = find_target(self, msg, &to)) != 0)
            return pass_on(self, err);
        if (strcmp(type, "call") == 0 && (err = nx_call(self, to, value, timeout, &answer)) == 0)
            return nx_pack(reply, "v", answer);
        if (strcmp(type, "cast") == 0)
            err = nx_cast(self, to, value);
        if (strcmp(type, "stop") == 0)
            err = nx_stop(self, to, NX_NORMAL, timeout);
        if (strcmp(type, "async") == 0)
            err = nx_call_async(self, to, value, timeout, tag);
        if (strcmp(type, "monitor") == 0)
            err = nx_monitor(self, to, &tag);
        return pass_on(self, err);
    }
    if (strcmp(type, "fail") == 0)
        return nx_fail(self, code, "%s", text);
    if (strcmp(type, "error") == 0)
        return code;
    if (strcmp(type, "crash") == 0)
        *(volatile int *)(uintptr_t)ms = 1;
    if (strcmp(type, "spin") == 0)
        return busy_wait(ms);
    if (strcmp(type, "exit") == 0) {
        nx_exit(self, NX_ERROR);
        return 0;
    }
    if (strcmp(type, "subscribe") == 0)
        return pass_on(self, nx_subscribe(self, (unsigned)events));
    if (strcmp(type, "timer") == 0)
        return pass_on(self, nx_send_after(self, ms, value, NULL));
    if (strcmp(type, "defer") == 0) {
        p->deferred = nx_caller(self);
        free(p->deferred_value);
        nx_value packed = nx_make(self, "v", value);
        if ((p->deferred_value = malloc(packed.packed_len)) == NULL)
            return NX_ENOMEM;
        memcpy(p->deferred_value, packed.packed, packed.packed_len);
        p->deferred_len = packed.packed_len;
        err = nx_send_after(self, ms, nx_make(self, "s", "deferred"), NULL);
        return err != 0 ? err : NX_NOREPLY;
    }
    if (strcmp(type, "count") == 0)
        return nx_pack(reply, "u", (uint64_t)p->count);
    if (strcmp(type, "forget") == 0) {
        forget(p);
        return 0;
    }
    if (strcmp(type, "remember") == 0) {
        nx_value *all = calloc(p->count + 1, sizeof *all);
        for (size_t i = 0; all != NULL && i < p->count; i++)
            all[i] = (nx_value){ .packed = p->items[i], .packed_len = p->lens[i] };
        err = all != NULL ? nx_pack_array(reply, all, p->count) : NX_ENOMEM;
        free(all);
        return err;
    }
    return nx_fail(self, 1, "probe: unknown type \"%.60s\"", type);
}

static int
probe_call(nx_self *self, void *state, nx_value msg, nx_packer *reply)
{
    const char *type = NULL;
    int err = nx_unpack(msg, "{s:s}", "type", &type);
    return err != 0 ? err : do_call(self, state, type, msg, reply);
}

static int
probe_cast(nx_self *self, void *state, nx_value msg)
{
    return remember(state, nx_make(self, "v", msg));
}

static int
probe_info(nx_self *self, void *state, const nx_info *info)
{
    struct probe *p = state;
    const char *word = NULL;
    switch (info->kind) {
    case NX_INFO_TIMER:
        if (nx_unpack(info->value, "s", &word) == 0 && strcmp(word, "deferred") == 0)
            return nx_reply(self, p->deferred, (nx_value){ .packed = p->deferred_value, .packed_len = p->deferred_len });
        return remember(p, nx_make(self, "{s:s,s:v}", "info", "timer", "value", info->value));
    case NX_INFO_REPLY:
        return remember(p, info->status == 0 ? nx_make(self, "{s:s,s:u,s:v}", "info", "reply", "tag", info->tag, "value", info->value)
                                             : nx_make(self, "{s:s,s:u,s:s}", "info", "reply", "tag", info->tag, "error", nx_errname(info->status)));
    case NX_INFO_NODE_UP:
        return remember(p, nx_make(self, "{s:s,s:s}", "info", "node_up", "node", info->node));
    case NX_INFO_NODE_DOWN:
        return remember(p, nx_make(self, "{s:s,s:s,s:s}", "info", "node_down", "node", info->node, "reason", info->text));
    case NX_INFO_REGISTERED:
        return remember(p, nx_make(self, "{s:s,s:s,s:i}", "info", "registered", "name", info->name, "scope", (int)info->scope));
    case NX_INFO_UNREGISTERED:
        return remember(p, nx_make(self, "{s:s,s:s,s:i}", "info", "unregistered", "name", info->name, "scope", (int)info->scope));
    case NX_INFO_CONFLICT:
        return remember(p, nx_make(self, "{s:s,s:s}", "info", "conflict", "name", info->name));
    case NX_INFO_SYNCED:
        return remember(p, nx_make(self, "{s:s,s:s,s:u}", "info", "synced", "node", info->node, "count", info->count));
    case NX_INFO_NAME_LOST:
        return remember(p, nx_make(self, "{s:s,s:s}", "info", "name_lost", "name", info->name));
    case NX_INFO_DOWN:
        return remember(p, nx_make(self, "{s:s,s:s}", "info", "down", "reason", nx_reason_name(info->reason)));
    default:
        return 0;
    }
}

static void
probe_terminate(nx_self *self, void *state, nx_reason reason)
{
    struct probe *p = state;
    nx_log(self, NX_LOG_INFO, "probe terminated: %s", nx_reason_name(reason));
    forget(p);
    free(p->deferred_value);
    free(p->items);
    free(p->lens);
    free(p);
}

NX_MODULE(NX_BEHAVIOR("probe", .version = 1, .init = probe_init, .handle_call = probe_call, .handle_cast = probe_cast, .handle_info = probe_info,
                      .terminate = probe_terminate));
