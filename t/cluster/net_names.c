/*
 * net_names.c - requests as processes of a node make them, and what its readers see.
 *
 * Lives here: register, unregister, the end of a server; links, owners, registries as they can be seen from outside.
 * Never here: checks of events (net_watch.c, net_claims.c).
 * Runs in: unit tests, the simulator.
 */
#include "net_priv.h"

#include <string.h>

/* ---------------------------------------------------------------- links */

static bool
is_proved(const struct net_wire *w)
{
    const struct net_end *x = &w->end[0], *y = &w->end[1];
    return w->is_used && ((x->is_open && x->is_proved) || (y->is_open && y->is_proved));
}

unsigned
net_links(struct net *net, int a, int b)
{
    unsigned count = 0;
    for (unsigned i = 0; i < net->wire_top; i++) {
        int x = net->wires[i]->end[0].node, y = net->wires[i]->end[1].node;
        count += ((x == a && y == b) || (x == b && y == a)) && is_proved(net->wires[i]);
    }
    return count;
}

bool
net_all_up(struct net *net)
{
    static uint8_t links[NET_NODES][NET_NODES];

    memset(links, 0, sizeof links);
    for (unsigned i = 0; i < net->wire_top; i++) {
        int x = net->wires[i]->end[0].node, y = net->wires[i]->end[1].node;
        if (x >= 0 && y >= 0 && is_proved(net->wires[i]))
            links[x > y ? x : y][x > y ? y : x]++;
    }
    for (unsigned i = 0; i < net->count; i++)
        for (unsigned j = 0; j < net->count; j++)
            if (i != j && net->nodes[i].is_running && net->nodes[j].is_running &&
                (!net->nodes[i].up[j] || links[i > j ? i : j][i > j ? j : i] != 1))
                return false;
    return true;
}

struct net_end *
net_end_of(struct net *net, int node)
{
    struct net_end *found = NULL;
    for (unsigned i = 0; i < net->wire_top; i++)
        for (int side = 0; net->wires[i]->is_used && side < 2; side++)
            if (net->wires[i]->end[side].node == node && net->wires[i]->end[side].is_open)
                found = &net->wires[i]->end[side];
    return found;
}

/* ---------------------------------------------------------------- requests */

struct wire_ref
net_ref(struct net *net, int node, uint16_t slot, uint64_t serial)
{
    struct net_node *n = &net->nodes[node];
    struct wire_ref ref = { .incarnation = n->config.incarnation, .serial = serial, .slot = slot,
                            .generation = board_generation(n->config.board, slot) };
    (void)snprintf(ref.node, sizeof ref.node, "%s", n->id.text);
    return ref;
}

static int
request(struct net *net, int node, uint16_t slot, uint8_t kind, struct buf *body)
{
    struct net_node *n = &net->nodes[node];
    struct envelope e = { .kind = kind, .body_len = (uint32_t)buf_len(body), .slot = SLOT_LINK, .call_id = (uint64_t)slot << 48 | ++net->calls };

    n->last_kind = 0;
    n->is_asked = true;
    cluster_request(n->cluster, net_time(n), slot, &e, buf_data(body));
    n->is_asked = false;
    buf_fini(body);
    if (net->is_strict)
        net_claims_look(n);
    if (n->last_kind == 0 || n->last_call != e.call_id) {
        net_fault(net, "%s: no answer", n->id.name);
        return NX_ETIMEDOUT;
    }
    return n->last_kind == KIND_REPLY ? 0 : n->last_error.code;
}

/* Strict: what the answer says is so. */
static int
judge(struct net *net, int node, int scope, const char *name, int err, bool holds, bool should_hold)
{
    struct net_node *n = &net->nodes[node];
    struct registry_entry e;
    bool is_there = net_find(net, node, scope, name, &e);

    if (err == 0 && holds != should_hold)
        net_fault(net, "%s: %s: done, says the answer, but it is not so", n->id.name, name);
    else if (err == NX_ECONFLICT && !is_there)
        net_fault(net, "%s: %s: in conflict with nobody", n->id.name, name);
    else if (err == NX_ENONAME && is_there)
        net_fault(net, "%s: %s: not registered, says the answer, but it is there", n->id.name, name);
    else if (err != 0 && err != NX_ECONFLICT && err != NX_ENONAME)
        net_fault(net, "%s: %s: answer %d", n->id.name, name, err);
    return err;
}

int
net_register_ref(struct net *net, int node, int scope, const char *name, const struct wire_ref *ref, int32_t priority)
{
    struct sys_register r = { .name = { name, strlen(name) }, .scope = scope, .priority = priority, .ref = *ref };
    struct buf body;

    buf_init(&body, 0);
    nx_assert(sys_register_encode(&r, &body) == 0);
    return request(net, node, 0, KIND_REGISTER, &body);
}

int
net_register(struct net *net, int node, int scope, const char *name, uint64_t serial, int32_t priority)
{
    struct wire_ref ref = net_ref(net, node, (uint16_t)(serial % NET_WORKERS), serial);
    int err = net_register_ref(net, node, scope, name, &ref, priority);

    return net->is_strict ? judge(net, node, scope, name, err, net_claims_hold(&net->nodes[node], scope, name, serial), true) : err;
}

int
net_unregister(struct net *net, int node, int scope, const char *name)
{
    struct sys_unregister u = { .name = { name, strlen(name) }, .scope = scope };
    struct buf body;

    buf_init(&body, 0);
    nx_assert(sys_unregister_encode(&u, &body) == 0);
    int err = request(net, node, 0, KIND_UNREGISTER, &body);
    return net->is_strict ? judge(net, node, scope, name, err, net_claims_hold(&net->nodes[node], scope, name, 0), false) : err;
}

int
net_server_gone(struct net *net, int node, uint64_t serial)
{
    uint16_t slot = (uint16_t)(serial % NET_WORKERS);
    struct sys_spawn_reply gone = { .ref = net_ref(net, node, slot, serial) };
    struct buf body;

    buf_init(&body, 0);
    nx_assert(sys_spawn_reply_encode(&gone, &body) == 0);
    int err = request(net, node, slot, KIND_SERVER_GONE, &body);
    if (net->is_strict && (err != 0 || net_claims_count(&net->nodes[node], serial) != 0))
        net_fault(net, "%s: server %llu is gone and keeps names", net->nodes[node].id.name, (unsigned long long)serial);
    return err;
}

bool
net_register_for(struct net *net, int by, int at, const char *name, uint64_t serial, int32_t priority)
{
    struct net_node *n = &net->nodes[by];
    struct net_end *other, *end = n->up[at] && n->cluster != NULL ? net_end_find(net, by, n->link[at], &other) : NULL;
    struct sys_register r = { .name = { name, strlen(name) }, .scope = SYS_GLOBAL, .priority = priority };
    struct buf body;

    if (end == NULL || !end->is_open || end->close_at != 0 || other->has_fin || !net->nodes[at].is_running)
        return false;
    r.ref = net_ref(net, at, (uint16_t)(serial % NET_WORKERS), serial);
    buf_init(&body, 0);
    nx_assert(sys_register_encode(&r, &body) == 0);
    net_push(net, other, ITEM_MESSAGE, KIND_REGISTER, buf_data(&body), buf_len(&body), 0)->call_id = ++net->calls;
    buf_fini(&body);
    return true;
}

/* ---------------------------------------------------------------- what can be seen */

bool
net_find(struct net *net, int node, int scope, const char *name, struct registry_entry *out)
{
    const struct cluster_config *c = &net->nodes[node].config;
    return registry_find(c->registry, c->board, c->nodes, (enum registry_scope)scope, name, strlen(name), out) == 0;
}

int
net_owner(struct net *net, int node, const char *name)
{
    struct registry_entry e;
    if (!net_find(net, node, REGISTRY_GLOBAL, name, &e))
        return -1;
    const char *id = nodes_borrow_id(net->nodes[node].config.nodes, e.node);
    return net_index_of(net, id, strlen(id));
}

struct nodes_entry
net_entry(struct net *net, int node, int other)
{
    struct nodes_entry e = { .state = NODES_UNKNOWN };
    const struct nodes *nodes = net->nodes[node].config.nodes;
    uint32_t index;

    if (nodes_find(nodes, net->nodes[other].id.text, strlen(net->nodes[other].id.text), &index) == 0)
        (void)nodes_get(nodes, index, &e);
    return e;
}

static unsigned
count_global(struct net *net, int node)
{
    const struct cluster_config *c = &net->nodes[node].config;
    struct registry_entry e;
    uint64_t cursor = 0;
    unsigned count = 0;

    while (registry_next(c->registry, c->board, c->nodes, &cursor, &e))
        count += e.scope == REGISTRY_GLOBAL;
    return count;
}

static bool
has_same(struct net *net, int node, int other)
{
    const struct cluster_config *c = &net->nodes[node].config;
    struct registry_entry e, f;
    uint64_t cursor = 0;

    while (registry_next(c->registry, c->board, c->nodes, &cursor, &e)) {
        if (e.scope != REGISTRY_GLOBAL)
            continue;
        if (!net_find(net, other, REGISTRY_GLOBAL, e.name, &f) || e.serial != f.serial || e.incarnation != f.incarnation ||
            e.sequence != f.sequence || e.registered_at_ms != f.registered_at_ms || e.priority != f.priority || e.slot != f.slot ||
            strcmp(nodes_borrow_id(c->nodes, e.node), nodes_borrow_id(net->nodes[other].config.nodes, f.node)) != 0)
            return false;
    }
    return count_global(net, node) == count_global(net, other);
}

bool
net_equal(struct net *net)
{
    struct base_error why;
    int first = -1;

    for (unsigned i = 0; i < net->count; i++) {
        if (!net->nodes[i].is_running)
            continue;
        if (registry_check(net->nodes[i].config.registry, &why) != 0) {
            net_fault(net, "%s: %s", net->nodes[i].id.name, why.text);
            return false;
        }
        if (first >= 0 && !has_same(net, first, (int)i))
            return false;
        first = first < 0 ? (int)i : first;
    }
    return true;
}

bool
net_books_match(struct net *net)
{
    for (unsigned i = 0; i < net->count; i++) {
        struct net_node *n = &net->nodes[i];
        unsigned held = 0;
        for (unsigned k = 0; n->is_running && k < n->name_count; k++) {
            struct net_name *name = &n->names[k];
            struct registry_entry e;
            bool is_there = net_find(net, (int)i, name->scope, name->text, &e);
            if (is_there != name->is_held || (is_there && (e.serial != name->holder.serial || e.incarnation != name->holder.incarnation)))
                return false;
            held += name->is_held && name->scope == REGISTRY_GLOBAL;
        }
        if (n->is_running && held != count_global(net, (int)i))
            return false;
    }
    return true;
}

