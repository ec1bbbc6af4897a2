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
 *   registerMany {prefix, count, scope}  -> nil            this server under prefix-0, prefix-1, ...
 *   findMany {name, count, scope}        -> how many of so many whereis, and as many lookups, found it
 *   fail {code, text}                    fails with nx_fail;   error {code}: returns that code;   crash: writes to address 0;   spin {ms}: never yields
 *   wait {ms}                            -> nil, after waiting in a call to itself's own sleeper (a deferred reply)
 *   defer {ms, value}                    -> value, by a deferred reply
 *   hang {value?}                        no reply until:   release {value, only?} -> how many of them, oldest first, were answered; with `code`: by an error
 *   twice {value}                        -> value; answers once more behind that, and tells it a second time
 *   note {value}                         -> nil            remembered like a cast
 *   flood {target, count}                -> nil            sends {seq: 0}, {seq: 1}, ...: casts, calls that wait and calls that do not, mixed
 *   raw {target, bytes, timeout?}        -> {equal, size}  a call whose body is these bytes; was the answer the same? (to a mirror)
 *   rawcast {target, bytes}              -> nil
 *   big {target, size, timeout?}         -> {equal, size}  the same with a body of that many bytes
 *   make {size}                          -> a binary; the whole reply has that many bytes
 *   caller                               -> {isCall, ref, node}: all that a handler can learn of who asks
 *   stats, nodes, behaviors, names {prefix?, node?, scope?, limit?}    -> as nx_stats and so on
 *   remember                             -> [what casts and events brought, in order]; forget; count
 *   subscribe {events}, monitor {target}, timer {ms, value}, async {target, message, timeout, tag}
 * Casts: anything is remembered, but {fail: text} fails and {exit: true} ends it. Args of init: nil, {fail: text}, {error: code}, {wait: ms}, {spin: ms}.
 * Of a monitored server's end it remembers whether the name "watched" still stood for somebody.
 * And behavior "mirror": answers any call with the body that it came with; has no optional callback.
 */
#include <noex/noex.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REMEMBER_MAX = 20000, HANGING_MAX = 256 };

struct probe {
    char **items; size_t *lens; size_t count;       /* packed values, ours */
    nx_from deferred;
    void *deferred_value; size_t deferred_len;
    nx_from hanging[HANGING_MAX]; size_t hanging_count;
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
    int error = 0;
    if (nx_unpack(args, "n") != 0 && nx_unpack(args, "{s?s,s?I,s?I,s?i}", "fail", &text, "spin", &spin, "wait", &wait, "error", &error) != 0)
        return NX_EINVAL;
    if (error != 0)
        return error;
    if (text != NULL)
        return nx_fail(self, 7, "%s", text);
    busy_wait(spin);
    if (wait > 0) {                                   /* a call that nobody answers: init waits */
        nx_ref other;
        int err = nx_start(self, "probe", NULL, &other);
        if (err == 0)
            err = nx_call(self, other, nx_make(self, "{s:s,s:I,s:s}", "type", "defer", "ms", wait, "value", "waited"), NX_FOREVER, NULL);
        if (err == 0)
            err = nx_stop(self, other, NX_NORMAL, NX_FOREVER);
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
register_many(nx_self *self, nx_value msg)
{
    const char *prefix = NULL;
    int scope = NX_GLOBAL, count = 0;
    int err = nx_unpack(msg, "{s:s,s:i,s?i}", "prefix", &prefix, "count", &count, "scope", &scope);
    for (int i = 0; i < count && err == 0; i++) {
        char name[NX_NAME_MAX + 1];
        snprintf(name, sizeof name, "%.200s-%d", prefix, i);
        err = nx_register(self, scope, name, nx_self_ref(self), 0);
    }
    return pass_on(self, err);
}

static int
find_many(nx_self *self, nx_value msg, nx_packer *reply)
{
    const char *name = NULL;
    int scope = NX_GLOBAL, count = 0;
    uint64_t found = 0;
    nx_ref ref;
    int err = nx_unpack(msg, "{s:s,s:i,s?i}", "name", &name, "count", &count, "scope", &scope);
    if (err != 0)
        return err;
    for (int i = 0; i < count; i++)
        found += (uint64_t)nx_whereis(self, scope, name, &ref) + (uint64_t)(nx_lookup(self, scope, name, &ref) == 0);
    return nx_pack(reply, "u", found);
}

/* A call with this body to a mirror: does it come back byte by byte? */
static int
reflect(nx_self *self, nx_ref to, nx_value body, int64_t timeout, nx_packer *reply)
{
    nx_value answer;
    int err = nx_call(self, to, body, timeout, &answer);
    if (err != 0)
        return pass_on(self, err);
    bool is_equal = answer.packed_len == body.packed_len && memcmp(answer.packed, body.packed, body.packed_len) == 0;
    return nx_pack(reply, "{s:b,s:u}", "equal", (int)is_equal, "size", (uint64_t)answer.packed_len);
}

/* What packs into `size` bytes: a binary with its head, 2, 3 or 5 bytes of it. Ours to free. */
static void *
binary_of(size_t size, size_t *content)
{
    size_t head = size < 258 ? 2 : size < 65539 ? 3 : 5;
    uint8_t *bytes = size > head ? malloc(size) : NULL;
    if (bytes == NULL)
        return NULL;
    *content = size - head;
    bytes[0] = head == 2 ? 0xc4 : head == 3 ? 0xc5 : 0xc6;
    for (size_t i = 1, left = head - 1; i < head; i++)
        bytes[i] = (uint8_t)(*content >> (8 * --left));
    for (size_t i = head; i < size; i++)
        bytes[i] = (uint8_t)(i * 31 + (i >> 8));
    return bytes;
}

static int
do_bytes(nx_self *self, const char *type, nx_value msg, nx_ref to, int64_t timeout, nx_packer *reply)
{
    const void *bytes = NULL;
    size_t len = 0, content;
    uint64_t size = 0;
    int err = nx_unpack(msg, "{s?u}", "size", &size);
    if (err == 0 && strcmp(type, "big") == 0) {
        void *big = binary_of(size, &content);
        if (big == NULL)
            return NX_EINVAL;
        err = reflect(self, to, (nx_value){ .packed = big, .packed_len = size }, timeout, reply);
        free(big);
        return err;
    }
    if (err == 0)
        err = nx_unpack(msg, "{s:y}", "bytes", &bytes, &len);
    if (err != 0)
        return pass_on(self, err);
    nx_value body = { .packed = bytes, .packed_len = len };
    return strcmp(type, "raw") == 0 ? reflect(self, to, body, timeout, reply) : pass_on(self, nx_cast(self, to, body));
}

/* Of each five: two casts, a call that waits, a cast, a call that does not. */
static int
flood(nx_self *self, nx_ref to, int64_t count)
{
    int err = 0;
    for (int64_t i = 0; i < count && err == 0; i++) {
        nx_value seq = nx_make(self, "{s:I}", "seq", i);
        nx_value note = nx_make(self, "{s:s,s:v}", "type", "note", "value", seq);
        if (i % 5 == 2)
            err = nx_call(self, to, note, NX_DEFAULT_TIMEOUT, NULL);
        else if (i % 5 == 4)
            err = nx_call_async(self, to, note, NX_DEFAULT_TIMEOUT, (uint64_t)i);
        else
            err = nx_cast(self, to, seq);
    }
    return pass_on(self, err);
}

static int
do_lists(nx_self *self, const char *type, nx_value msg, nx_packer *reply)
{
    const char *prefix = NULL, *node = NULL;
    uint64_t limit = 0;
    int scope = 0;
    nx_value out = { 0 };
    int err = nx_unpack(msg, "{s?s,s?s,s?i,s?u}", "prefix", &prefix, "node", &node, "scope", &scope, "limit", &limit);
    if (err == 0)
        err = strcmp(type, "names") == 0 ? nx_names(self, scope, prefix, node, limit, &out) :
              strcmp(type, "nodes") == 0 ? nx_nodes(self, &out) : strcmp(type, "behaviors") == 0 ? nx_behaviors(self, &out) : nx_stats(self, &out);
    return err != 0 ? pass_on(self, err) : nx_pack(reply, "v", out);
}

static int
release(nx_self *self, struct probe *p, nx_value msg, int code, const char *text, nx_value value, nx_packer *reply)
{
    uint64_t only = p->hanging_count, count = 0;
    int err = nx_unpack(msg, "{s?u}", "only", &only);
    if (!nx_is_value(value))
        value = nx_make(self, "n");
    for (; count < only && count < p->hanging_count && err == 0; count++)
        err = code != 0 ? nx_reply_error(self, p->hanging[count], code, 0, text) : nx_reply(self, p->hanging[count], value);
    p->hanging_count -= count;
    memmove(p->hanging, p->hanging + count, p->hanging_count * sizeof p->hanging[0]);
    return err != 0 ? pass_on(self, err) : nx_pack(reply, "u", count);
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
    if (strcmp(type, "registerMany") == 0)
        return register_many(self, msg);
    if (strcmp(type, "findMany") == 0)
        return find_many(self, msg, reply);
    if (strcmp(type, "stats") == 0 || strcmp(type, "nodes") == 0 || strcmp(type, "behaviors") == 0 || strcmp(type, "names") == 0)
        return do_lists(self, type, msg, reply);
    if (strcmp(type, "call") == 0 || strcmp(type, "cast") == 0 || strcmp(type, "stop") == 0 || strcmp(type, "monitor") == 0 || strcmp(type, "async") == 0 ||
        strcmp(type, "flood") == 0 || strcmp(type, "raw") == 0 || strcmp(type, "rawcast") == 0 || strcmp(type, "big") == 0) {
        if ((err = find_target(self, msg, &to)) != 0)
            return pass_on(self, err);
        if (strcmp(type, "raw") == 0 || strcmp(type, "rawcast") == 0 || strcmp(type, "big") == 0)
            return do_bytes(self, type, msg, to, timeout, reply);
        if (strcmp(type, "flood") == 0) {
            int64_t count = 0;
            return (err = nx_unpack(msg, "{s:I}", "count", &count)) != 0 ? err : flood(self, to, count);
        }
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
    if (strcmp(type, "hang") == 0) {
        if (p->hanging_count == HANGING_MAX)
            return NX_EFULL;
        p->hanging[p->hanging_count++] = nx_caller(self);
        return NX_NOREPLY;
    }
    if (strcmp(type, "release") == 0)
        return release(self, p, msg, code, text, value, reply);
    if (strcmp(type, "twice") == 0) {
        err = nx_reply(self, nx_caller(self), value);
        return err != 0 ? err : nx_pack(reply, "s", "a second answer");
    }
    if (strcmp(type, "note") == 0)
        return remember(p, nx_make(self, "v", value));
    if (strcmp(type, "caller") == 0)
        return nx_pack(reply, "{s:b,s:r,s:s}", "isCall", (int)(nx_caller(self).call_id != 0), "ref", nx_self_ref(self), "node", nx_node());
    if (strcmp(type, "make") == 0) {
        uint64_t size = 0;
        size_t content;
        void *bytes;
        if (nx_unpack(msg, "{s:u}", "size", &size) != 0 || (bytes = binary_of(size, &content)) == NULL)
            return NX_EINVAL;
        err = nx_pack(reply, "v", (nx_value){ .packed = bytes, .packed_len = size });
        free(bytes);
        return err;
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
    const char *text = NULL;
    int is_exiting = 0;
    if (nx_unpack(msg, "{s:s}", "fail", &text) == 0)
        return nx_fail(self, 9, "%s", text);
    if (nx_unpack(msg, "{s:b}", "exit", &is_exiting) == 0 && is_exiting)
        nx_exit(self, NX_NORMAL);
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
        return remember(p, nx_make(self, "{s:s,s:s,s:b}", "info", "down", "reason", nx_reason_name(info->reason), "watchedIsNamed",
                                   (int)nx_whereis(self, 0, "watched", NULL)));
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

static int
mirror_init(nx_self *self, nx_value args, void **state)
{
    (void)self, (void)args, (void)state;
    return 0;
}

static int
mirror_call(nx_self *self, void *state, nx_value msg, nx_packer *reply)
{
    (void)self, (void)state;
    return nx_pack(reply, "v", (nx_value){ .packed = msg.packed, .packed_len = msg.packed_len });
}

static int
mirror_cast(nx_self *self, void *state, nx_value msg)
{
    (void)self, (void)state, (void)msg;
    return 0;
}

NX_MODULE(NX_BEHAVIOR("probe", .version = 1, .init = probe_init, .handle_call = probe_call, .handle_cast = probe_cast, .handle_info = probe_info,
                      .terminate = probe_terminate),
          NX_BEHAVIOR("mirror", .version = 1, .init = mirror_init, .handle_call = mirror_call, .handle_cast = mirror_cast));
