/*
 * names.c - giving names to servers, taking them away, looking them up.
 *
 * Lives here: requests to the registrar, which waits in the link worker; lookups in shared memory.
 * Never here: the registry's rules.
 * Runs in: workers.
 *
 * The link worker may die and come back while a request is pending. Both requests can be repeated without harm, so they are, until their time is over.
 */
#include "genserver/genserver_priv.h"

#include <inttypes.h>

#include "base/utf8.h"

enum { RETRY_MS = 20, FIND_TRIES = 16 };

bool
names_is_valid(const char *name, size_t *len)
{
    if (name == NULL)
        return false;
    *len = strlen(name);
    return utf8_is_name(name, *len);
}

static int
check_name(struct runner *r, int scope, bool any_scope, const char *name, size_t *len)
{
    if (scope != NX_LOCAL && scope != NX_GLOBAL && !(any_scope && scope == 0))
        return failure_set(r, NX_EINVAL, NULL, "scope %d is neither NX_LOCAL nor NX_GLOBAL", scope);
    if (!names_is_valid(name, len))
        return failure_set(r, NX_EINVAL, NULL, "not a valid name: 1 to %d bytes of UTF-8, not beginning with '#'", (int)NX_NAME_MAX);
    return 0;
}

/* Ask the registrar of a node (0 = this one) and wait for its word. */
static int
ask(struct runner *r, uint8_t kind, uint32_t node, uint32_t session, nx_ref to, const struct buf *body, const char *name)
{
    struct runtime *rt = r->rt;
    uint64_t deadline_ns = runtime_clock(rt) + NAMES_MS * CLOCK_NS_PER_MS;
    for (;;) {
        struct wait w = { .status = 0 };
        struct envelope e = { .kind = kind, .node = node, .session = session, .slot = SLOT_LINK, .body_len = (uint32_t)buf_len(body) };
        if (node == 0)
            e.generation = board_generation(shm_board(rt->config.shm), SLOT_LINK);
        int err = invoke_allowed(r);
        if (err != 0)
            return err;
        r->failure.code = 0;
        err = invoke_wait(r, &w, WAIT_NAMES, node != 0 ? ROUTE_NODE : ROUTE_PROCESS, &e, buf_data(body), to, NAMES_MS, deadline_ns);
        bool is_link_gone = node == 0 && (w.answer == 0 && (err == NX_ENOSERVER || err == NX_EBUSY));
        if (!is_link_gone && err == NX_ETIMEDOUT)
            break;
        if (!is_link_gone) {
            if (err != 0 && r->failure.code != err)   /* the send itself failed */
                return invoke_explain(r, err, to, node);
            return err;
        }
        if (clock_now_ns() + RETRY_MS * CLOCK_NS_PER_MS >= deadline_ns)
            break;
        err = invoke_sleep(r, RETRY_MS * CLOCK_NS_PER_MS);
        if (err != 0)
            return err;
    }
    (void)failure_set(r, NX_ETIMEDOUT, name, "no answer of the registrar about %s within %d ms", name, (int)NAMES_MS);
    r->failure.timeout_ms = NAMES_MS;
    return NX_ETIMEDOUT;
}

int
names_register(struct runner *r, int scope, const char *name, size_t len, nx_ref ref, int32_t priority)
{
    struct runtime *rt = r->rt;
    struct envelope e;
    int way = invoke_route(r, ref, &e);
    if (way < 0)
        return way;
    if (way == ROUTE_HERE && server_find(rt, e.serial) == NULL)
        return invoke_explain(r, NX_ENOSERVER, ref, 0);
    if (way == ROUTE_NODE && scope == NX_LOCAL)
        return failure_set(r, NX_EINVAL, name, "a local name is for servers of this node");
    struct sys_register q = { .name = { name, len }, .scope = scope, .priority = priority };
    struct buf body;
    route_ref_to_wire(rt->config.route, ref, &q.ref);
    buf_init(&body, 4096);
    int err = sys_register_encode(&q, &body);
    if (err == 0)
        err = ask(r, KIND_REGISTER, e.node, e.session, ref, &body, name);
    else
        (void)failure_set(r, err, name, "%s", nx_strerror(err));
    buf_fini(&body);
    return err;
}

int
nx_register(nx_self *self, int scope, const char *name, nx_ref ref, int32_t priority)
{
    struct runner *r = runner_of(self);
    size_t len = 0;
    if (r == NULL)
        return NX_EINVAL;
    int err = check_name(r, scope, false, name, &len);
    return err != 0 ? err : names_register(r, scope, name, len, ref, priority);
}

int
nx_unregister(nx_self *self, int scope, const char *name)
{
    struct runner *r = runner_of(self);
    size_t len = 0;
    if (r == NULL)
        return NX_EINVAL;
    int err = check_name(r, scope, false, name, &len);
    if (err != 0)
        return err;
    struct sys_unregister q = { .name = { name, len }, .scope = scope };
    struct buf body;
    buf_init(&body, 4096);
    err = sys_unregister_encode(&q, &body);
    if (err == 0)
        err = ask(r, KIND_UNREGISTER, 0, 0, (nx_ref){ 0 }, &body, name);
    else
        (void)failure_set(r, err, name, "%s", nx_strerror(err));
    buf_fini(&body);
    return err;
}

/* A reader that meets a commit three times in a row is told to come again; commits are short, so it does. */
static int
find(struct runtime *rt, int scope, const char *name, size_t len, nx_ref *out)
{
    struct registry_entry entry;
    int err = NX_EBUSY;
    for (int tries = 0; err == NX_EBUSY && tries < FIND_TRIES; tries++)
        err = registry_find(shm_registry(rt->config.shm), shm_board(rt->config.shm), shm_nodes(rt->config.shm), (enum registry_scope)scope, name, len,
                            &entry);
    if (err == 0)
        route_ref_from_entry(rt->config.route, &entry, out);
    return err;
}

int
nx_lookup(nx_self *self, int scope, const char *name, nx_ref *out)
{
    struct runner *r = runner_of(self);
    size_t len = 0;
    if (r == NULL)
        return NX_EINVAL;
    int err = check_name(r, scope, true, name, &len);
    if (err != 0)
        return err;
    nx_ref ref;
    err = find(r->rt, scope != 0 ? scope : NX_LOCAL, name, len, &ref);
    if (err != 0 && scope == 0)
        err = find(r->rt, NX_GLOBAL, name, len, &ref);
    if (err == NX_EBUSY)
        return failure_set(r, err, name, "the registry is full: %s may be registered, but is not known here", name);
    if (err != 0)
        return failure_set(r, err, name, "%s name %s is not registered", scope == NX_LOCAL ? "local" : scope == NX_GLOBAL ? "global" : "the", name);
    if (out != NULL)
        *out = ref;
    return 0;
}

bool
nx_whereis(nx_self *self, int scope, const char *name, nx_ref *out)
{
    struct runner *r = runner_of(self);
    size_t len = 0;
    nx_ref ref;
    if (r == NULL || (scope != 0 && scope != NX_LOCAL && scope != NX_GLOBAL) || !names_is_valid(name, &len))
        return false;
    if (find(r->rt, scope != 0 ? scope : NX_LOCAL, name, len, &ref) != 0 && (scope != 0 || find(r->rt, NX_GLOBAL, name, len, &ref) != 0))
        return false;
    if (out != NULL)
        *out = ref;
    return true;
}
