/*
 * net_watch.c - what comes out of a cluster: carried out by queues, and checked as it comes.
 *
 * Lives here: the callbacks of struct cluster_out, what an observer of nodes and names may rely on.
 * Never here: any copy of a rule of the cluster, but for what an observer may rely on.
 * Runs in: unit tests, the simulator.
 */
#include "net_priv.h"

#include <stdlib.h>
#include <string.h>

static void
note(struct net_node *n, char what)
{
    if (n->order_len < sizeof n->order - 1) {
        n->order[n->order_len++] = what;
        n->order[n->order_len] = '\0';
    }
}

/* ---------------------------------------------------------------- connections */

static uint64_t
out_dial(void *arg, const struct node_id *to)
{
    struct net_node *n = arg;
    struct net *net = n->net;
    int target = net_index_of(net, to->text, strlen(to->text));

    net->dials[n->index]++;
    struct net_wire *w = net_wire_new(net, n->index, target);
    if (target < 0 || !net->nodes[target].is_running || net->is_refusing[target]) {
        if (target < 0 || !net->cut[n->index][target])
            (void)net_push(net, &w->end[0], ITEM_REFUSED, 0, NULL, 0, 0);
    } else if (!net->cut[n->index][target] && !net->cut[target][n->index]) {
        (void)net_push(net, &w->end[1], ITEM_ACCEPT, 0, NULL, 0, 0);
        (void)net_push(net, &w->end[0], ITEM_CONNECTED, 0, NULL, 0, net_delay(net));
    }                                        /* else: no answer, ever */
    return w->end[0].number;
}

static void
out_send_bytes(void *arg, uint64_t conn, const uint8_t *bytes, size_t len)
{
    struct net_node *n = arg;
    struct net_end *other;

    if (net_end_find(n->net, n->index, conn, &other) == NULL)
        net_fault(n->net, "%s: bytes to an unknown connection", n->id.name);
    else if (len > HS_MAX)
        net_fault(n->net, "%s: %zu bytes in clear", n->id.name, len);
    else {
        struct net_item *item = net_push(n->net, other, ITEM_BYTES, 0, bytes, len, 0);
        if (n->net->tamper != NULL)
            n->net->tamper(n->net, item->data, len);
    }
}

static void
out_proved(void *arg, uint64_t conn, const uint8_t send_key[static FRAME_KEY], const uint8_t recv_key[static FRAME_KEY])
{
    struct net_node *n = arg;
    struct net_end *end = net_end_find(n->net, n->index, conn, NULL);

    if (end == NULL || end->is_proved || memcmp(send_key, recv_key, FRAME_KEY) == 0)
        net_fault(n->net, "%s: proved twice, unknown, or with one key", n->id.name);
    else
        end->is_proved = true;
    n->proved_count++;
}

static void
out_close(void *arg, uint64_t conn, int reason, uint32_t delay_ms)
{
    struct net_node *n = arg;
    struct net *net = n->net;
    struct net_end *other, *end = net_end_find(net, n->index, conn, &other);
    uint8_t byte = (uint8_t)reason;

    if (end == NULL) {
        net_fault(net, "%s: close of an unknown connection", n->id.name);
        return;
    }
    if (end->close_at != 0) {
        net_fault(net, "%s: closed twice", n->id.name);
        return;
    }
    if (reason != 0 && !end->is_proved)
        net_fault(net, "%s: close frame without keys", n->id.name);
    if (reason != 0 && !other->has_fin)
        (void)net_push(net, other, ITEM_CLOSE_FRAME, 0, &byte, 1, 0);
    end->close_at = net->now_ns + 1 + delay_ms * CLOCK_NS_PER_MS;
    net_due(net, end);
}

static void
out_send(void *arg, uint64_t conn, uint8_t kind, const void *body, size_t len)
{
    struct net_node *n = arg;
    struct net *net = n->net;
    struct net_end *other, *end = net_end_find(net, n->index, conn, &other);

    if (kind == KIND_REGISTRY_DELTA)
        note(n, 'd');
    net->messages[n->index]++;
    if (end == NULL || !end->is_proved || len == 0 || len > WIRE_PIECE_MAX) {
        net_fault(net, "%s: message of kind %u and %zu bytes cannot be sent", n->id.name, kind, len);
        return;
    }
    if (net->drop != NULL && net->drop(net, n->index, other->node, kind))
        return;
    if (!other->has_fin)
        (void)net_push(net, other, ITEM_MESSAGE, kind, body, len, 0);
}

/* ---------------------------------------------------------------- nodes */

static void
out_up(void *arg, uint64_t conn, uint32_t node, uint32_t session, bool is_news)
{
    struct net_node *n = arg;
    struct net *net = n->net;
    struct net_end *other, *end = net_end_find(net, n->index, conn, &other);
    struct nodes_entry e = { .state = NODES_UNKNOWN };
    int peer = nodes_get(n->config.nodes, node, &e) == 0 ? net_index_of(net, e.id.text, strlen(e.id.text)) : -1;

    note(n, 'U');
    net_trace(net, "%s: up %s session %u", n->id.name, e.id.name, session);
    net_digest_number(net, conn, session);
    if (end == NULL || !end->is_proved || end->close_at != 0 || peer < 0 || !is_news) {
        net_fault(net, "%s: up on a connection that is not fit for it", n->id.name);
        return;
    }
    if (net->is_strict && n->life[peer] != 0 && session <= n->session[peer])
        net_fault(net, "%s: up of %s in session %u, as before", n->id.name, e.id.name, session);
    if (n->up[peer])
        net_fault(net, "%s: up twice without a down, peer %d", n->id.name, peer);
    if (net->is_strict && (other->node != peer || e.state != NODES_UP || e.incarnation != other->life))
        net_fault(net, "%s: up of %s, which is not the life that the connection leads to", n->id.name, e.id.name);
    net->up_pairs += !n->up[peer];
    net->turns++;
    n->turns++;
    n->up[peer] = true;
    n->session[peer] = session;
    n->life[peer] = e.incarnation;
    n->link[peer] = conn;
    n->heard_ns[peer] = net->now_ns;
    n->ups_of_life++;
    n->ups[peer]++;
}

/* A process that was stopped for so long that it must know it grants an interval before it calls anyone silent whose words lie unread. */
static void
check_grace(struct net_node *n, int peer)
{
    const struct net_end *end = net_end_find(n->net, n->index, n->link[peer], NULL);
    uint64_t interval_ns = n->config.heartbeat_ms * CLOCK_NS_PER_MS;

    if (end != NULL && net_is_unread(n->net, end) && n->thawed_ns - n->frozen_ns > 2 * interval_ns &&
        n->net->now_ns < n->thawed_ns + interval_ns)
        net_fault(n->net, "%s: app%d is called silent, but what it said was not read yet", n->id.name, peer + 1);
}

static void
out_down(void *arg, uint32_t node, uint32_t session, enum nodes_reason reason)
{
    struct net_node *n = arg;
    struct net *net = n->net;
    const char *id = nodes_borrow_id(n->config.nodes, node);
    int peer = id != NULL ? net_index_of(net, id, strlen(id)) : -1;

    note(n, 'D');
    net_trace(net, "%s: down %s session %u %s", n->id.name, id != NULL ? id : "?", session, nodes_reason_name(reason));
    net_digest_number(net, (uint64_t)peer, session);
    if (peer < 0 || !n->up[peer] || n->session[peer] != session || reason == NODES_REASON_NONE) {
        net_fault(net, "%s: down of peer %d that was not up in session %u", n->id.name, peer, session);
        return;
    }
    if (net->is_strict && reason == NODES_HEARTBEAT_TIMEOUT)
        check_grace(n, peer);
    net->up_pairs--;
    net->turns++;
    n->turns++;
    n->up[peer] = false;
    n->downs[peer]++;
    n->reason[peer] = reason;
}

/* One interval more than the limit of silence; another one after it was stopped itself. */
void
net_watch_silence(struct net_node *n)
{
    const struct net *net = n->net;
    uint64_t interval_ns = n->config.heartbeat_ms * CLOCK_NS_PER_MS;
    uint64_t limit_ns = (n->config.heartbeat_misses + 1) * interval_ns + 100 * CLOCK_NS_PER_MS;

    if (net->now_ns < n->thawed_ns + interval_ns)
        return;
    for (unsigned i = 0; i < net->count; i++) {
        uint64_t since_ns = n->heard_ns[i] > n->thawed_ns + interval_ns ? n->heard_ns[i] : n->thawed_ns + interval_ns;
        if (n->up[i] && net->now_ns > since_ns + limit_ns)
            net_fault(n->net, "%s: app%u is silent for too long and still up", n->id.name, i + 1);
    }
}

/* Its processes are gone: nobody is left who could be told. */
void
net_forget_ups(struct net_node *n)
{
    for (unsigned i = 0; i < n->net->count; i++)
        n->net->up_pairs -= n->up[i];
    memset(n->up, 0, sizeof n->up);
}

/* ---------------------------------------------------------------- names */

static void
to_net_ref(const struct net *net, const struct wire_ref *in, struct net_ref *out)
{
    *out = (struct net_ref){ .node = net_index_of(net, in->node, strlen(in->node)), .incarnation = in->incarnation, .serial = in->serial,
                             .generation = in->generation, .slot = in->slot };
}

static bool
ref_equal(const struct net_ref *a, const struct net_ref *b)
{
    return a->node == b->node && a->incarnation == b->incarnation && a->serial == b->serial && a->generation == b->generation &&
           a->slot == b->slot;
}

static struct net_name *
book(struct net_node *n, int scope, const char *text, size_t len)
{
    for (unsigned i = 0; i < n->name_count; i++)
        if (n->names[i].len == len && n->names[i].scope == scope && memcmp(n->names[i].text, text, len) == 0)
            return &n->names[i];
    if (n->name_count == n->name_room) {
        n->name_room = n->name_room == 0 ? 16 : 2 * n->name_room;
        n->names = realloc(n->names, n->name_room * sizeof *n->names);
        nx_assert(n->names != NULL);
    }
    struct net_name *name = &n->names[n->name_count++];
    name->len = (uint8_t)len;
    name->scope = scope;
    name->is_held = false;
    name->seen = 0;
    memcpy(name->text, text, len);
    name->text[len] = '\0';
    return name;
}

/* What an observer of the events may rely on. */
static void
check_event(struct net_node *n, const struct sys_registry_event *e, const struct net_ref *ref, const struct net_ref *other)
{
    struct net *net = n->net;
    struct net_name *name = book(n, e->scope, e->name.at, e->name.len);

    switch (e->kind) {
    case SYS_REGISTERED:
        if (name->is_held)
            net_fault(net, "%s: %s registered by app%d while app%d has it", n->id.name, name->text, ref->node + 1, name->holder.node + 1);
        name->is_held = true;
        name->holder = *ref;
        break;
    case SYS_UNREGISTERED:
        if (!name->is_held || !ref_equal(&name->holder, ref))
            net_fault(net, "%s: %s unregistered for app%d that did not have it", n->id.name, name->text, ref->node + 1);
        name->is_held = false;
        break;
    case SYS_CONFLICT:
        if (!name->is_held || (!ref_equal(&name->holder, ref) && !ref_equal(&name->holder, other)))
            net_fault(net, "%s: %s in conflict, but neither had it", n->id.name, name->text);
        name->is_held = true;
        name->holder = *ref;
        break;
    default:
        net_fault(net, "%s: event of kind %d for everybody", n->id.name, e->kind);
    }
}

static void
trace_event(const struct net_node *n, const struct sys_registry_event *e, const struct net_ref *ref, const struct net_ref *other)
{
    static const char *const kinds[] = { "?", "registered", "unregistered", "conflict", "synced", "lost" };

    if (e->kind == SYS_SYNCED)
        net_trace_line(n->net, "%s: synced %.*s %llu", n->id.name, (int)e->node.len, e->node.at, (unsigned long long)e->count);
    else
        net_trace_line(n->net, "%s: %s %.*s app%d %llu%s", n->id.name, e->kind > 0 && e->kind <= SYS_NAME_LOST ? kinds[e->kind] : "?",
                       (int)e->name.len, e->name.at, ref->node + 1, (unsigned long long)ref->serial, e->has_other ? " against" : "");
    if (e->has_other)
        net_trace_line(n->net, "          app%d %llu", other->node + 1, (unsigned long long)other->serial);
}

static void
take_targeted(struct net_node *n, const struct sys_registry_event *e, uint64_t serial)
{
    note(n, 't');
    if (e->kind == SYS_NAME_LOST) {
        n->lost++;
        n->last_lost_serial = serial;
    } else if (e->kind == SYS_REGISTERED)
        n->got++;
    else
        net_fault(n->net, "%s: targeted event of kind %d", n->id.name, e->kind);
}

static void
out_event(void *arg, uint16_t to_slot, uint64_t serial, const void *body, size_t len)
{
    struct net_node *n = arg;
    struct net_ref ref = { .node = -1 }, other = { .node = -1 };
    struct sys_registry_event e;
    struct base_error why;

    if (sys_registry_event_decode(body, len, &e, &why) != 0) {
        net_fault(n->net, "%s: bad event: %s", n->id.name, why.text);
        return;
    }
    net_digest(n->net, body, len);
    n->events++;
    if (e.has_ref)
        to_net_ref(n->net, &e.ref, &ref);
    if (e.has_other)
        to_net_ref(n->net, &e.other, &other);
    if (n->net->trace != NULL && to_slot == SLOT_ANY)
        trace_event(n, &e, &ref, &other);
    if (to_slot != SLOT_ANY) {
        take_targeted(n, &e, serial);
        if (n->net->is_strict)
            net_claims_own(n, &e, &ref, &other);
        return;
    }
    note(n, 'e');
    n->registered += e.kind == SYS_REGISTERED;
    n->unregistered += e.kind == SYS_UNREGISTERED;
    n->conflicts += e.kind == SYS_CONFLICT;
    n->synced += e.kind == SYS_SYNCED;
    if (e.kind == SYS_SYNCED) {
        n->last_synced_count = e.count;
        return;
    }
    check_event(n, &e, &ref, &other);
    if (n->net->is_strict)
        net_claims_event(n, &e, &ref, &other);
}

/* ---------------------------------------------------------------- answers, and what it asks for */

static void
out_answer(void *arg, uint32_t node, uint32_t session, uint64_t call_id, uint8_t kind, const void *body, size_t len)
{
    struct net_node *n = arg;
    struct sys_error e;

    (void)node, (void)session;
    note(n, 'a');
    net_digest(n->net, body, len);
    n->answers++;
    n->last_call = call_id;
    n->last_kind = kind;
    n->last_error.code = 0;
    n->last_error.text[0] = n->last_error.subject[0] = '\0';
    if (kind == KIND_REPLY) {
        if (len != 1 || *(const uint8_t *)body != 0xc0)
            net_fault(n->net, "%s: reply is not nil", n->id.name);
    } else if (sys_error_decode(body, len, &e, NULL) != 0)
        net_fault(n->net, "%s: bad error answer", n->id.name);
    else
        (void)base_error_set(&n->last_error, e.code, NULL, "%.*s", (int)e.text.len, e.text.at);
    if (kind == KIND_ERROR && e.subject.len > 0)
        (void)snprintf(n->last_error.subject, sizeof n->last_error.subject, "%.*s", (int)e.subject.len, e.subject.at);
}

uint32_t
net_out_servers(void *arg)
{
    return ((struct net_node *)arg)->servers;
}

int
net_out_random(void *arg, void *bytes, size_t len)
{
    struct net_node *n = arg;
    uint8_t *at = bytes;

    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)(net_random(n->net) >> 32);
    return 0;
}

const struct cluster_out net_out = {
    .dial = out_dial, .send_bytes = out_send_bytes, .proved = out_proved, .close = out_close, .up = out_up,
    .down = out_down, .send = out_send, .registry_event = out_event, .answer = out_answer,
};
