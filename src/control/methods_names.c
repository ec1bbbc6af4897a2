/*
 * methods_names.c - names: looked up in shared memory, given and taken by the link worker.
 *
 * Lives here: register, unregister, whereis, lookup, isRegistered, names.
 * Never here: the rules of who may have a name: they are the registrar's.
 * Runs in: the gate.
 */
#include "control/control_priv.h"

#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/utf8.h"

static const char *
scope_name(int scope)
{
    return scope == NX_LOCAL ? "local" : "global";
}

int
control_names_check(struct rpc_slice name, struct base_error *why)
{
    if (utf8_is_name(name.at, name.len))
        return 0;
    return base_error_set(why, NX_EINVAL, NULL, name.len > NX_NAME_MAX ? "the name is longer than 255 bytes"
                          : "the name is empty, begins with '#', or holds bytes that are not printable UTF-8");
}

static int
find_in(struct control *c, int scope, struct rpc_slice name, struct registry_entry *out)
{
    return registry_find(control_registry(c), control_board(c), control_nodes(c), (enum registry_scope)scope,
                         (const char *)name.at, name.len, out);
}

int
control_names_find(struct control *c, int scope, struct rpc_slice name, nx_ref *out, struct base_error *why)
{
    struct registry_entry entry;
    char shown[NX_NAME_MAX + 1];
    int err = control_names_check(name, why);
    if (err != 0)
        return err;
    err = find_in(c, scope != 0 ? scope : NX_LOCAL, name, &entry);
    if (err == NX_ENONAME && scope == 0)
        err = find_in(c, NX_GLOBAL, name, &entry);
    if (err == 0) {
        route_ref_from_entry(c->config.route, &entry, out);
        return 0;
    }
    (void)snprintf(shown, sizeof shown, "%.*s", (int)name.len, (const char *)name.at);
    if (err == NX_ENONAME)
        return base_error_set(why, err, shown, "name %s is not registered%s%s", shown, scope != 0 ? ", scope " : "",
                              scope != 0 ? scope_name(scope) : "");
    return base_error_set(why, err, shown, "name %s: %s", shown, nx_strerror(err));
}

/* ---------------------------------------------------------------- reading */

static int
find_or_fail(struct request *r, const struct params *p, bool is_missing_fine, nx_ref *out)
{
    struct base_error why = { 0 };
    int scope, err = params_scope(p, PARAM_SCOPE, 0, &scope, &why);
    if (err == 0)
        err = control_names_find(request_control(r), scope, p->of[PARAM_NAME].text, out, &why);
    if (err != 0 && !(is_missing_fine && err == NX_ENONAME))
        request_fail(r, &why);
    return err;
}

void
method_lookup(struct request *r, const struct params *p)
{
    nx_ref ref;
    if (find_or_fail(r, p, false, &ref) == 0)
        request_reply_ref(r, ref);
}

void
method_whereis(struct request *r, const struct params *p)
{
    static const uint8_t nil = 0xc0;
    nx_ref ref;
    int err = find_or_fail(r, p, true, &ref);
    if (err == 0)
        request_reply_ref(r, ref);
    else if (err == NX_ENONAME)
        request_reply(r, &nil, 1);
}

void
method_is_registered(struct request *r, const struct params *p)
{
    static const uint8_t yes = 0xc3, no = 0xc2;
    nx_ref ref;
    int err = find_or_fail(r, p, true, &ref);
    if (err == 0 || err == NX_ENONAME)
        request_reply(r, err == 0 ? &yes : &no, 1);
}

int
control_names_pack(struct control *c, const struct registry_entry *e, nx_packer *out)
{
    char text[NX_REF_TEXT_MAX];
    const char *node = nodes_borrow_id(control_nodes(c), e->node);
    nx_ref ref;
    route_ref_from_entry(c->config.route, e, &ref);
    int err = nx_ref_text(ref, text, sizeof text);
    if (err != 0)
        return err;
    return nx_pack(out, "{s:s#,s:s,s:s,s:s,s:i,s:u}", "name", e->name, (size_t)e->name_len, "scope", scope_name(e->scope),
                   "ref", text, "node", node, "priority", (int)e->priority, "registeredAt", e->registered_at_ms);
}

struct filter { int scope; bool has_node; uint32_t node; struct rpc_slice prefix; uint64_t limit; };

static bool
passes(const struct filter *f, const struct registry_entry *e)
{
    return (f->scope == 0 || e->scope == f->scope) && (!f->has_node || e->node == f->node) &&
        f->prefix.len <= e->name_len && (f->prefix.len == 0 || memcmp(e->name, f->prefix.at, f->prefix.len) == 0);
}

static int
walk(struct control *c, const struct filter *f, nx_packer *out, uint32_t *count)
{
    struct registry_entry entry;
    uint64_t cursor = 0;
    *count = 0;
    while ((f->limit == 0 || *count < f->limit) &&
           registry_next(control_registry(c), control_board(c), control_nodes(c), &cursor, &entry) == 1) {
        if (!passes(f, &entry))
            continue;
        int err = control_names_pack(c, &entry, out);
        if (err != 0)
            return err;
        ++*count;
    }
    return 0;
}

/* {isSnapshot, names: [...]}. Under steady change three walks may all be disturbed: then the answer says so. */
static int
pack_names(struct control *c, const struct filter *f, nx_packer *out)
{
    int err = 0;
    for (int attempt = 0; attempt < 3; attempt++) {
        uint64_t version = registry_version(control_registry(c));
        uint32_t count;
        size_t place, flag;
        value_packer_clear(out);
        err = rpc_put_map_head(&out->bytes, 2);
        if (err == 0)
            err = nx_pack(out, "s b s", "isSnapshot", 0, "names");
        flag = buf_len(&out->bytes) - 1 - 1 - strlen("names");     /* the one byte of the boolean, before a short string */
        if (err == 0)
            err = rpc_array_begin(&out->bytes, &place);
        if (err == 0)
            err = walk(c, f, out, &count);
        if (err != 0)
            return err;
        rpc_array_end(&out->bytes, place, count);
        if (registry_version(control_registry(c)) == version) {
            out->bytes.data[out->bytes.at + flag] = 0xc3;
            break;
        }
    }
    return err;
}

void
method_names(struct request *r, const struct params *p)
{
    struct control *c = request_control(r);
    struct base_error why = { 0 };
    struct filter f = { .prefix = p->of[PARAM_PREFIX].text, .limit = (uint64_t)params_number(p, PARAM_LIMIT, 0),
                        .has_node = p->of[PARAM_NODE].is_set };
    int err = params_scope(p, PARAM_SCOPE, 0, &f.scope, &why);
    if (err == 0 && f.has_node)
        err = control_find_node(c, p->of[PARAM_NODE].text, &f.node, &why);
    if (err != 0) {
        request_fail(r, &why);
        return;
    }
    nx_packer out;
    value_packer_init(&out, CONTROL_RESULT_MAX);
    err = pack_names(c, &f, &out);
    if (err == 0) {
        request_reply_packed(r, &out);
        return;
    }
    value_packer_fini(&out);
    request_fail_code(r, err, NULL, "%s: the list of names; ask for fewer with prefix, node or limit", nx_strerror(err));
}

void
control_names_count(struct control *c, struct names_count *out)
{
    struct registry_entry entry;
    uint64_t cursor = 0;
    *out = (struct names_count){ 0 };
    while (registry_next(control_registry(c), control_board(c), control_nodes(c), &cursor, &entry) == 1) {
        if (entry.scope == REGISTRY_LOCAL)
            out->local++;
        else if (entry.node == 0)
            out->own++;
        else
            out->remote++;
    }
}

/* ---------------------------------------------------------------- changing */

static void
on_changed(struct request *r, const struct envelope *e, const uint8_t *body)
{
    (void)e, (void)body;
    request_reply_true(r);
}

static void
ask_link(struct request *r, struct envelope *e, struct buf *body, int err, const char *what)
{
    e->slot = SLOT_LINK;
    e->serial = 0;
    e->generation = e->node == 0 ? board_generation(control_board(request_control(r)), SLOT_LINK) : 0;
    if (err == 0)
        request_send(r, e, buf_data(body), buf_len(body), CONTROL_LINK_MS, what, on_changed);
    else
        request_fail_code(r, err, NULL, "%s", nx_strerror(err));
}

/* A global name is given by the node of its server; a local one exists on this node only. */
static int
address_register(struct request *r, int scope, nx_ref ref, struct envelope *e)
{
    struct control *c = request_control(r);
    struct base_error why = { 0 };
    int way = route_to(c->config.route, ref, e);
    if (way > 0 && way != ROUTE_HERE && (e->node == 0 || scope == NX_GLOBAL))
        return 0;
    if (way > 0 && e->node != 0)
        base_error_set(&why, NX_EINVAL, "target", "a local name can only be given to a server of this node");
    else
        route_explain(c->config.route, way < 0 ? way : NX_ENOSERVER, ref, &why);
    request_fail(r, &why);
    return why.code;
}

void
method_register(struct request *r, const struct params *p)
{
    struct control *c = request_control(r);
    struct rpc_slice name = p->of[PARAM_NAME].text;
    struct sys_register in = { .priority = (int32_t)params_number(p, PARAM_PRIORITY, 0) };
    struct envelope e = { 0 };
    struct base_error why = { 0 };
    struct buf body;
    nx_ref ref;
    int scope, err = params_scope(p, PARAM_SCOPE, NX_LOCAL, &scope, &why);
    if (err == 0)
        err = control_names_check(name, &why);
    if (err != 0) {
        request_fail(r, &why);
        return;
    }
    if (request_target(r, &p->of[PARAM_TARGET], &ref) != 0 || address_register(r, scope, ref, &e) != 0)
        return;
    in.name = (struct sys_text){ (const char *)name.at, name.len };
    in.scope = scope;
    route_ref_to_wire(c->config.route, ref, &in.ref);
    e.kind = KIND_REGISTER;
    r->has_ref = e.node != 0;              /* else it is the link worker that may be missing, not the server */
    buf_init(&body, 0);
    ask_link(r, &e, &body, sys_register_encode(&in, &body), "registration");
    buf_fini(&body);
}

void
method_unregister(struct request *r, const struct params *p)
{
    struct rpc_slice name = p->of[PARAM_NAME].text;
    struct sys_unregister in = { .name = { (const char *)name.at, name.len } };
    struct envelope e = { .kind = KIND_UNREGISTER };
    struct base_error why = { 0 };
    struct buf body;
    int scope, err = params_scope(p, PARAM_SCOPE, NX_LOCAL, &scope, &why);
    if (err == 0)
        err = control_names_check(name, &why);
    if (err != 0) {
        request_fail(r, &why);
        return;
    }
    in.scope = scope;
    buf_init(&body, 0);
    ask_link(r, &e, &body, sys_unregister_encode(&in, &body), "removal of a name");
    buf_fini(&body);
}
