/*
 * net.c - queues between clusters, a virtual clock, and checks of every event.
 *
 * Lives here: the carrying out of struct cluster_out by queues, faults (cuts, kills, freezes), requests as processes would make them.
 * Never here: any copy of a rule of the cluster, but for what an observer may rely on.
 * Runs in: unit tests.
 */
#include "net.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "unit.h"

enum item_type { ITEM_ACCEPT, ITEM_CONNECTED, ITEM_REFUSED, ITEM_BYTES, ITEM_MESSAGE, ITEM_CLOSE_FRAME, ITEM_FIN };
struct net_item { struct net_item *next; enum item_type type; uint64_t at; uint8_t kind; size_t len; uint8_t data[]; };

static const char secret_bytes[] = "a secret for tests that is long enough";

/* ---------------------------------------------------------------- small things */

uint64_t
net_random(struct net *net)
{
    uint64_t z = net->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

void
net_fault(struct net *net, const char *fmt, ...)
{
    va_list ap;

    if (net->faults++ > 0)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(net->fault, sizeof net->fault, fmt, ap);
    va_end(ap);
}

static struct cluster_time
time_of(const struct net_node *n)
{
    const struct net *net = n->net;
    uint64_t wall = net->wall_ms + net->now_ns / CLOCK_NS_PER_MS;
    return (struct cluster_time){ .now_ns = net->now_ns, .wall_ms = (uint64_t)((int64_t)wall + n->skew_ms) };
}

static int
index_of(const struct net *net, const char *id, size_t len)
{
    for (unsigned i = 0; i < net->count; i++)
        if (strlen(net->nodes[i].id.text) == len && memcmp(net->nodes[i].id.text, id, len) == 0)
            return (int)i;
    if (net->alias[0] != '\0' && strlen(net->alias) == len && memcmp(net->alias, id, len) == 0)
        return net->alias_node;
    return -1;
}

static void
note(struct net_node *n, char what)
{
    if (n->order_len < sizeof n->order - 1) {
        n->order[n->order_len++] = what;
        n->order[n->order_len] = '\0';
    }
}

/* ---------------------------------------------------------------- wires */

static struct net_end *
find_end(struct net *net, int node, uint64_t number, struct net_end **other)
{
    for (unsigned i = 0; i < net->wire_top; i++) {
        for (int side = 0; net->wires[i].is_used && side < 2; side++) {
            struct net_end *end = &net->wires[i].end[side];
            if (end->number == number && end->node == node) {
                if (other != NULL)
                    *other = &net->wires[i].end[1 - side];
                return end;
            }
        }
    }
    return NULL;
}

static uint64_t
delay(struct net *net)
{
    uint64_t us = net->latency_us + (net->jitter_us > 0 ? net_random(net) % net->jitter_us : 0);
    return us * 1000;
}

static void
push(struct net *net, struct net_end *to, enum item_type type, uint8_t kind, const void *data, size_t len, uint64_t extra_ns)
{
    struct net_item *item = malloc(sizeof *item + len);
    nx_assert(item != NULL);
    *item = (struct net_item){ .type = type, .kind = kind, .len = len, .at = net->now_ns + delay(net) + extra_ns };
    if (len > 0)
        memcpy(item->data, data, len);
    if (to->last != NULL && item->at < to->last->at)
        item->at = to->last->at;
    if (to->last != NULL)
        to->last->next = item;
    else
        to->first = item;
    to->last = item;
}

static void
pop(struct net_end *end)
{
    struct net_item *item = end->first;
    end->first = item->next;
    if (end->first == NULL)
        end->last = NULL;
    free(item);
}

static void
tidy(struct net *net, struct net_wire *w)
{
    if (w->end[0].is_open || w->end[1].is_open)
        return;
    for (int side = 0; side < 2; side++)
        while (w->end[side].first != NULL)
            pop(&w->end[side]);
    w->is_used = false;
    while (net->wire_top > 0 && !net->wires[net->wire_top - 1].is_used)
        net->wire_top--;
}

static struct net_wire *
new_wire(struct net *net, int from, int to)
{
    for (unsigned i = 0; i < NET_WIRES; i++) {
        struct net_wire *w = &net->wires[i];
        if (w->is_used)
            continue;
        if (i >= net->wire_top)
            net->wire_top = i + 1;
        w->is_used = true;
        w->end[0] = (struct net_end){ .node = from, .number = ++net->numbers, .is_open = true };
        w->end[1] = (struct net_end){ .node = to, .number = ++net->numbers };
        return w;
    }
    nx_assert(!"wires");
    return NULL;
}

/* ---------------------------------------------------------------- what comes out of a cluster */

static uint64_t
out_dial(void *arg, const struct node_id *to)
{
    struct net_node *n = arg;
    struct net *net = n->net;
    int target = index_of(net, to->text, strlen(to->text));

    net->dials[n->index]++;
    struct net_wire *w = new_wire(net, n->index, target);
    if (target < 0 || !net->nodes[target].is_running || net->is_refusing[target]) {
        if (target < 0 || !net->cut[n->index][target])
            push(net, &w->end[0], ITEM_REFUSED, 0, NULL, 0, 0);
    } else if (!net->cut[n->index][target] && !net->cut[target][n->index]) {
        push(net, &w->end[1], ITEM_ACCEPT, 0, NULL, 0, 0);
        push(net, &w->end[0], ITEM_CONNECTED, 0, NULL, 0, delay(net));
    }                                        /* else: no answer, ever */
    return w->end[0].number;
}

static void
out_send_bytes(void *arg, uint64_t conn, const uint8_t *bytes, size_t len)
{
    struct net_node *n = arg;
    struct net_end *other;

    if (find_end(n->net, n->index, conn, &other) == NULL)
        net_fault(n->net, "%s: bytes to an unknown connection", n->id.name);
    else if (len > HS_MAX)
        net_fault(n->net, "%s: %zu bytes in clear", n->id.name, len);
    else {
        uint8_t copy[HS_MAX];
        memcpy(copy, bytes, len);
        if (n->net->tamper != NULL)
            n->net->tamper(n->net, copy, len);
        push(n->net, other, ITEM_BYTES, 0, copy, len, 0);
    }
}

static void
out_proved(void *arg, uint64_t conn, const uint8_t send_key[static FRAME_KEY], const uint8_t recv_key[static FRAME_KEY])
{
    struct net_node *n = arg;
    struct net_end *end = find_end(n->net, n->index, conn, NULL);

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
    struct net_end *other, *end = find_end(net, n->index, conn, &other);
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
    if (reason != 0)
        push(net, other, ITEM_CLOSE_FRAME, 0, &byte, 1, 0);
    end->close_at = net->now_ns + 1 + delay_ms * CLOCK_NS_PER_MS;
}

static void
out_up(void *arg, uint64_t conn, uint32_t node, uint32_t session, bool is_news)
{
    struct net_node *n = arg;
    struct net *net = n->net;
    struct net_end *other, *end = find_end(net, n->index, conn, &other);
    const char *id = nodes_borrow_id(n->config.nodes, node);
    int peer = id != NULL ? index_of(net, id, strlen(id)) : -1;

    note(n, 'U');
    if (end == NULL || !end->is_proved || end->close_at != 0 || peer < 0 || !is_news) {
        net_fault(net, "%s: up on a connection that is not fit for it", n->id.name);
        return;
    }
    if (n->up[peer])
        net_fault(net, "%s: up twice without a down, peer %d", n->id.name, peer);
    n->up[peer] = true;
    n->session[peer] = session;
    n->ups[peer]++;
}

static void
out_down(void *arg, uint32_t node, uint32_t session, enum nodes_reason reason)
{
    struct net_node *n = arg;
    struct net *net = n->net;
    const char *id = nodes_borrow_id(n->config.nodes, node);
    int peer = id != NULL ? index_of(net, id, strlen(id)) : -1;

    note(n, 'D');
    if (peer < 0 || !n->up[peer] || n->session[peer] != session || reason == NODES_REASON_NONE) {
        net_fault(net, "%s: down of peer %d that was not up in session %u", n->id.name, peer, session);
        return;
    }
    n->up[peer] = false;
    n->downs[peer]++;
    n->reason[peer] = reason;
}

static void
out_send(void *arg, uint64_t conn, uint8_t kind, const void *body, size_t len)
{
    struct net_node *n = arg;
    struct net *net = n->net;
    struct net_end *other, *end = find_end(net, n->index, conn, &other);

    if (kind == KIND_REGISTRY_DELTA)
        note(n, 'd');
    net->messages[n->index]++;
    if (end == NULL || !end->is_proved || len == 0 || len > WIRE_PIECE_MAX) {
        net_fault(net, "%s: message of kind %u and %zu bytes cannot be sent", n->id.name, kind, len);
        return;
    }
    if (net->drop != NULL && net->drop(net, n->index, other->node, kind))
        return;
    push(net, other, ITEM_MESSAGE, kind, body, len, 0);
}

static void
to_net_ref(const struct wire_ref *in, struct net_ref *out)
{
    memset(out, 0, sizeof *out);
    (void)snprintf(out->node, sizeof out->node, "%s", in->node);
    out->incarnation = in->incarnation;
    out->serial = in->serial;
    out->generation = in->generation;
    out->slot = in->slot;
}

static bool
ref_equal(const struct net_ref *a, const struct net_ref *b)
{
    return strcmp(a->node, b->node) == 0 && a->incarnation == b->incarnation && a->serial == b->serial &&
           a->generation == b->generation && a->slot == b->slot;
}

static struct net_name *
book(struct net_node *n, int scope, const char *text, size_t len)
{
    for (unsigned i = 0; i < n->name_count; i++)
        if (n->names[i].scope == scope && strlen(n->names[i].text) == len && memcmp(n->names[i].text, text, len) == 0)
            return &n->names[i];
    if (n->name_count == NET_NAMES)
        return NULL;
    struct net_name *name = &n->names[n->name_count++];
    *name = (struct net_name){ .scope = scope };
    memcpy(name->text, text, len);
    return name;
}

/* What an observer of the events may rely on. */
static void
check_event(struct net_node *n, const struct sys_registry_event *e)
{
    struct net *net = n->net;
    struct net_ref ref, other;

    if (e->kind == SYS_SYNCED)
        return;
    struct net_name *name = book(n, e->scope, e->name.at, e->name.len);
    if (name == NULL)
        return;
    to_net_ref(&e->ref, &ref);
    to_net_ref(&e->other, &other);
    switch (e->kind) {
    case SYS_REGISTERED:
        if (name->is_held)
            net_fault(net, "%s: %s registered by %s while %s has it", n->id.name, name->text, ref.node, name->holder.node);
        name->is_held = true;
        name->holder = ref;
        break;
    case SYS_UNREGISTERED:
        if (!name->is_held || !ref_equal(&name->holder, &ref))
            net_fault(net, "%s: %s unregistered for %s that did not have it", n->id.name, name->text, ref.node);
        name->is_held = false;
        break;
    case SYS_CONFLICT:
        if (!name->is_held || (!ref_equal(&name->holder, &ref) && !ref_equal(&name->holder, &other)))
            net_fault(net, "%s: %s in conflict, but neither had it", n->id.name, name->text);
        name->is_held = true;
        name->holder = ref;
        break;
    default:
        net_fault(net, "%s: event of kind %d for everybody", n->id.name, e->kind);
    }
}

static void
out_event(void *arg, uint16_t to_slot, uint64_t serial, const void *body, size_t len)
{
    struct net_node *n = arg;
    struct sys_registry_event e;
    struct base_error why;

    if (sys_registry_event_decode(body, len, &e, &why) != 0) {
        net_fault(n->net, "%s: bad event: %s", n->id.name, why.text);
        return;
    }
    n->events++;
    if (to_slot != SLOT_ANY) {
        note(n, 't');
        if (e.kind == SYS_NAME_LOST) {
            n->lost++;
            n->last_lost_serial = serial;
        } else if (e.kind == SYS_REGISTERED)
            n->got++;
        else
            net_fault(n->net, "%s: targeted event of kind %d", n->id.name, e.kind);
        return;
    }
    note(n, 'e');
    n->registered += e.kind == SYS_REGISTERED;
    n->unregistered += e.kind == SYS_UNREGISTERED;
    n->conflicts += e.kind == SYS_CONFLICT;
    n->synced += e.kind == SYS_SYNCED;
    if (e.kind == SYS_SYNCED)
        n->last_synced_count = e.count;
    check_event(n, &e);
}

static void
out_answer(void *arg, uint32_t node, uint32_t session, uint64_t call_id, uint8_t kind, const void *body, size_t len)
{
    struct net_node *n = arg;
    struct sys_error e;

    (void)session;
    note(n, 'a');
    n->answers++;
    n->last_call = call_id;
    n->last_kind = kind;
    memset(&n->last_error, 0, sizeof n->last_error);
    if (kind == KIND_REPLY) {
        if (len != 1 || *(const uint8_t *)body != 0xc0)
            net_fault(n->net, "%s: reply is not nil", n->id.name);
    } else if (sys_error_decode(body, len, &e, NULL) != 0)
        net_fault(n->net, "%s: bad error answer", n->id.name);
    else
        (void)base_error_set(&n->last_error, e.code, NULL, "%.*s", (int)e.text.len, e.text.at);
    if (kind == KIND_ERROR && e.subject.len > 0)
        (void)snprintf(n->last_error.subject, sizeof n->last_error.subject, "%.*s", (int)e.subject.len, e.subject.at);
    (void)node;
}

static uint32_t
out_servers(void *arg)
{
    return ((struct net_node *)arg)->servers;
}

static int
out_random(void *arg, void *bytes, size_t len)
{
    struct net_node *n = arg;
    uint8_t *at = bytes;

    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)(net_random(n->net) >> 32);
    return 0;
}

/* ---------------------------------------------------------------- life */

static struct net the_net;

/* Making shared memory forks; a life of a node in these tests may take less than that. So it is kept, with a copy of its first state. */
enum { PIECES = 80 };
static struct kept { struct shm *shm; uint32_t capacity; void *first[PIECES]; } kept[NET_NODES];

static struct shm *
take_shm(struct net *net, int node)
{
    struct kept *k = &kept[node];
    struct shm_config config = { .workers = 4, .registry_capacity = net->capacity, .nodes_max = 16, .behaviors_max = 4 };
    struct base_error why;
    struct shm_piece piece;

    bool is_kept = k->shm != NULL && k->capacity == net->capacity;
    if (!is_kept) {
        shm_destroy(&k->shm);
        nx_assert(shm_create(&config, &k->shm, &why) == 0);
        k->capacity = net->capacity;
    }
    for (unsigned i = 0; shm_piece_at(k->shm, i, &piece) != 0; i++) {
        nx_assert(i < PIECES);
        if (!is_kept) {
            free(k->first[i]);
            k->first[i] = malloc(piece.len);
            nx_assert(k->first[i] != NULL);
            memcpy(k->first[i], piece.at, piece.len);
        } else
            memcpy(piece.at, k->first[i], piece.len);
    }
    return k->shm;
}

__attribute__((destructor)) static void
drop_kept(void)
{
    for (int node = 0; node < NET_NODES; node++) {
        shm_destroy(&kept[node].shm);
        for (int i = 0; i < PIECES; i++)
            free(kept[node].first[i]);
    }
}

struct net *
net_new(unsigned count, uint64_t seed)
{
    struct net *net = &the_net;
    struct base_error why;

    nx_assert(count <= NET_NODES);
    memset(net, 0, sizeof *net);
    net->count = count;
    net->random = seed;
    net->now_ns = CLOCK_NS_PER_S;
    net->wall_ms = UINT64_C(1700000000000);
    net->latency_us = 200;
    net->jitter_us = 300;
    net->capacity = 256;
    for (unsigned i = 0; i < count; i++) {
        struct net_node *n = &net->nodes[i];
        char id[64];
        int len = snprintf(id, sizeof id, "app%u@127.0.0.1:%u", i + 1, 4369 + i);
        n->net = net;
        n->index = (int)i;
        nx_assert(node_id_parse(id, (size_t)len, &n->id, &why) == 0);
        n->config = (struct cluster_config){
            .self = n->id, .cluster = "test", .secret_count = 1, .heartbeat_ms = 1000, .heartbeat_misses = 3, .reconnect_min_ms = 1000,
            .reconnect_max_ms = 30000, .handshake_ms = 5000, .max_guests = 64, .max_guests_per_source = 16, .gossip_every = 5,
            .servers = out_servers, .random = out_random, .arg = n,
            .out = { .dial = out_dial, .send_bytes = out_send_bytes, .proved = out_proved, .close = out_close, .up = out_up,
                     .down = out_down, .send = out_send, .registry_event = out_event, .answer = out_answer },
        };
        n->config.secrets[0] = (struct cluster_secret){ .id = 7, .len = sizeof secret_bytes - 1, .send = true };
        memcpy(n->config.secrets[0].key, secret_bytes, sizeof secret_bytes - 1);
    }
    return net;
}

/* The ends that a dead process held. A kernel that lives sends FIN for them; a host that died does not. */
static void
drop_ends(struct net *net, int node, bool sends_fin)
{
    for (unsigned i = 0; i < net->wire_top; i++) {
        struct net_wire *w = &net->wires[i];
        for (int side = 0; w->is_used && side < 2; side++) {
            struct net_end *end = &w->end[side], *other = &w->end[1 - side];
            if (end->node != node)
                continue;
            bool was_open = end->is_open;
            end->is_open = false;
            if (was_open && sends_fin && !other->has_fin) {
                push(net, other, ITEM_FIN, 0, NULL, 0, 0);
                other->has_fin = true;
            }
            tidy(net, w);
        }
    }
}

void
net_free(struct net *net)
{
    for (unsigned i = 0; i < net->count; i++) {
        if (net->nodes[i].is_running)
            net_kill(net, (int)i);
        free((void *)(uintptr_t)net->nodes[i].config.seeds);
    }
    for (unsigned i = 0; i < net->wire_top; i++) {
        net->wires[i].end[0].is_open = net->wires[i].end[1].is_open = false;
        if (net->wires[i].is_used)
            tidy(net, &net->wires[i]);
    }
}

void
net_seed(struct net *net, int node, int seed)
{
    struct cluster_config *config = &net->nodes[node].config;
    struct node_id *seeds = realloc((void *)(uintptr_t)config->seeds, (config->seed_count + 1) * sizeof *seeds);
    nx_assert(seeds != NULL);
    seeds[config->seed_count++] = net->nodes[seed].id;
    config->seeds = seeds;
}

static void
open_cluster(struct net_node *n)
{
    struct base_error why;
    int err = cluster_new(&n->config, time_of(n), &n->cluster, &why);
    if (err != 0)
        net_fault(n->net, "%s: %s", n->id.name, why.text);
    nx_assert(err == 0);
}

void
net_start(struct net *net, int node)
{
    struct net_node *n = &net->nodes[node];

    nx_assert(!n->is_running);
    n->shm = take_shm(net, node);
    n->config.incarnation = net_random(net) | 1;
    n->config.started_ns = net->now_ns;
    n->config.nodes = shm_nodes(n->shm);
    n->config.registry = shm_registry(n->shm);
    n->config.behaviors = shm_behaviors(n->shm);
    n->config.board = shm_board(n->shm);
    n->config.stats = shm_stats(n->shm, SLOT_LINK);
    for (uint16_t slot = 0; slot < 4; slot++)
        net_worker_generation(net, node, slot, 1);
    n->is_running = true;
    n->is_frozen = false;
    memset(n->up, 0, sizeof n->up);
    n->name_count = 0;
    open_cluster(n);
}

static void
end_node(struct net *net, int node, bool sends_fin)
{
    struct net_node *n = &net->nodes[node];

    nx_assert(n->is_running);
    n->is_running = false;
    cluster_free(&n->cluster);
    drop_ends(net, node, sends_fin);
    n->shm = NULL;
}

void
net_kill(struct net *net, int node)
{
    end_node(net, node, true);
}

void
net_vanish(struct net *net, int node)
{
    end_node(net, node, false);
}

void
net_kill_link(struct net *net, int node)
{
    cluster_free(&net->nodes[node].cluster);
    drop_ends(net, node, true);
}

void
net_respawn_link(struct net *net, int node)
{
    net->nodes[node].is_frozen = false;      /* a new process */
    open_cluster(&net->nodes[node]);
}

void
net_leave(struct net *net, int node)
{
    cluster_leave(net->nodes[node].cluster, time_of(&net->nodes[node]));
}

void
net_cut(struct net *net, int a, int b, bool is_cut)
{
    net->cut[a][b] = net->cut[b][a] = is_cut;
}

void
net_worker_generation(struct net *net, int node, uint16_t slot, uint32_t generation)
{
    struct board_slot s = { .generation = generation, .state = generation != 0 ? BOARD_READY : BOARD_DOWN, .cpu = -1 };
    board_set(shm_board(net->nodes[node].shm), slot, &s);
}

/* ---------------------------------------------------------------- steps */

static void
feed_bytes(struct net *net, struct net_end *end, const uint8_t *data, size_t len)
{
    struct net_node *n = &net->nodes[end->node];

    if (len > sizeof end->rx - end->rx_len)
        len = sizeof end->rx - end->rx_len;
    memcpy(end->rx + end->rx_len, data, len);
    end->rx_len += len;
    while (end->rx_len > 0 && !end->is_proved) {
        size_t taken = cluster_bytes(n->cluster, time_of(n), end->number, end->rx, end->rx_len);
        if (taken > end->rx_len)
            net_fault(net, "%s: took more bytes than there were", n->id.name);
        if (taken == 0 || taken > end->rx_len)
            break;
        memmove(end->rx, end->rx + taken, end->rx_len - taken);
        end->rx_len -= taken;
    }
}

static void
lose_end(struct net *net, struct net_end *end, enum nodes_reason reason)
{
    struct net_node *n = &net->nodes[end->node];
    end->is_open = false;
    cluster_closed(n->cluster, time_of(n), end->number, reason);
}

static void
deliver_raw(struct net *net, struct net_end *end, const struct net_item *item)
{
    if (item->type == ITEM_BYTES && net->raw_len + item->len <= sizeof net->raw) {
        memcpy(net->raw + net->raw_len, item->data, item->len);
        net->raw_len += item->len;
    } else if (item->type == ITEM_FIN) {
        end->is_open = false;
        net->raw_closed++;
        net->raw_closed_ns = net->now_ns;
    }
}

static void
deliver(struct net *net, struct net_wire *w, struct net_end *end)
{
    struct net_item *item = end->first;
    struct net_node *n = end->node >= 0 ? &net->nodes[end->node] : NULL;
    struct net_end *other = end == &w->end[0] ? &w->end[1] : &w->end[0];
    struct envelope e = { .kind = item->kind, .body_len = (uint32_t)item->len, .slot = SLOT_LINK };

    if (end->node == NET_RAW)
        deliver_raw(net, end, item);
    else if (item->type == ITEM_ACCEPT) {
        if (n->is_running && n->cluster != NULL && cluster_accepted(n->cluster, time_of(n), end->number, net->source != NULL ? net->source : "127.0.0.1") == 0)
            end->is_open = true;
        else
            push(net, other, ITEM_FIN, 0, NULL, 0, 0);
    } else if (end->is_open && n->is_running && n->cluster != NULL) {
        switch (item->type) {
        case ITEM_CONNECTED: cluster_connected(n->cluster, time_of(n), end->number); break;
        case ITEM_REFUSED: lose_end(net, end, NODES_CONNECTION_REFUSED); break;
        case ITEM_BYTES: feed_bytes(net, end, item->data, item->len); break;
        case ITEM_MESSAGE:
            cluster_alive(n->cluster, time_of(n), end->number);
            (void)cluster_message(n->cluster, time_of(n), end->number, &e, item->data);
            break;
        case ITEM_CLOSE_FRAME:
            end->got_shutdown = item->data[0] == FRAME_CLOSE_SHUTDOWN;
            cluster_close_frame(n->cluster, time_of(n), end->number, item->data[0]);
            break;
        case ITEM_FIN: lose_end(net, end, end->got_shutdown ? NODES_GRACEFUL_SHUTDOWN : NODES_CONNECTION_CLOSED); break;
        default: break;
        }
    }
    pop(end);
    tidy(net, w);
}

static bool
is_cut_end(const struct net *net, const struct net_wire *w, int side)
{
    int to = w->end[side].node, from = w->end[1 - side].node;
    return to >= 0 && (net->nodes[to].is_frozen || (from >= 0 && net->cut[from][to]));
}

/* Its own wish to close: the other side reads the end behind what was sent before. */
static void
close_now(struct net *net, struct net_wire *w, int side)
{
    struct net_end *end = &w->end[side], *other = &w->end[1 - side];

    if (!other->has_fin && (other->is_open || other->first != NULL))
        push(net, other, ITEM_FIN, 0, NULL, 0, 0);
    other->has_fin = true;
    lose_end(net, end, end->got_shutdown ? NODES_GRACEFUL_SHUTDOWN : NODES_CONNECTION_CLOSED);
    tidy(net, w);
}

enum { WHAT_DELIVER, WHAT_CLOSE, WHAT_TICK };
struct choice { uint64_t at; int what; struct net_wire *w; int side, node; };

static bool
better(const struct choice *best, uint64_t at)
{
    return best->at == 0 || at < best->at;
}

static struct choice
choose(struct net *net, bool with_deliveries)
{
    struct choice best = { 0 };

    for (unsigned i = 0; i < net->wire_top; i++) {
        struct net_wire *w = &net->wires[i];
        for (int side = 0; w->is_used && side < 2; side++) {
            struct net_end *end = &w->end[side];
            if (with_deliveries && end->first != NULL && !is_cut_end(net, w, side)) {
                uint64_t at = end->first->at > net->now_ns ? end->first->at : net->now_ns;
                if (better(&best, at))
                    best = (struct choice){ at, WHAT_DELIVER, w, side, end->node };
            }
            if (end->is_open && end->close_at != 0 && better(&best, end->close_at))
                best = (struct choice){ end->close_at, WHAT_CLOSE, w, side, end->node };
        }
    }
    for (unsigned i = 0; with_deliveries && i < net->count; i++) {
        struct net_node *n = &net->nodes[i];
        uint64_t at = n->is_running && !n->is_frozen && n->cluster != NULL ? cluster_next(n->cluster) : 0;
        if (at != 0 && at < net->now_ns)
            at = net->now_ns;
        if (at != 0 && better(&best, at))
            best = (struct choice){ at, WHAT_TICK, NULL, 0, (int)i };
    }
    return best;
}

/* An accept means nothing to a cluster before the first bytes: it travels with them, which makes the orders fewer. */
static bool
is_bare_accept(const struct net_end *end)
{
    return end->first->type == ITEM_ACCEPT && end->first->next == NULL;
}

/* All queues that could deliver, and one of them by the test's choice; messages that stand together travel as one frame. */
static bool
step_by_hand(struct net *net)
{
    struct choice options[64], close = choose(net, false);
    unsigned count = 0;

    if (close.what == WHAT_CLOSE && close.at <= net->now_ns + CLOCK_NS_PER_MS) {         /* its FIN then takes part */
        close_now(net, close.w, close.side);
        return true;
    }
    for (unsigned i = 0; i < net->wire_top && count < 64; i++) {
        struct net_wire *w = &net->wires[i];
        for (int side = 0; w->is_used && side < 2; side++)
            if (w->end[side].first != NULL && !is_bare_accept(&w->end[side]))
                options[count++] = (struct choice){ 0, WHAT_DELIVER, w, side, 0 };
    }
    if (count == 0)
        return false;
    struct choice *c = &options[count == 1 ? 0 : net->pick(net, count)];
    struct net_end *end = &c->w->end[c->side];
    net->now_ns += 1000;
    while (end->first != NULL && end->first->type == ITEM_MESSAGE && end->first->next != NULL && end->first->next->type == ITEM_MESSAGE)
        deliver(net, c->w, end);
    if (end->first->type == ITEM_ACCEPT)
        deliver(net, c->w, end);
    deliver(net, c->w, end);
    return true;
}

bool
net_step(struct net *net, uint64_t until_ns)
{
    if (net->pick != NULL && step_by_hand(net))
        return true;
    struct choice c = choose(net, true);
    if (c.at == 0 || c.at > until_ns)
        return false;
    if (c.at > net->now_ns)
        net->now_ns = c.at;
    if (c.what == WHAT_DELIVER)
        deliver(net, c.w, &c.w->end[c.side]);
    else if (c.what == WHAT_CLOSE)
        close_now(net, c.w, c.side);
    else {
        struct net_node *n = &net->nodes[c.node];
        cluster_tick(n->cluster, time_of(n));
        uint64_t next = cluster_next(n->cluster);
        if (next != 0 && next <= net->now_ns)
            net_fault(net, "%s: a tick left a deadline that has passed", n->id.name);
    }
    return true;
}

void
net_run(struct net *net, uint64_t ms)
{
    uint64_t until_ns = net->now_ns + ms * CLOCK_NS_PER_MS;
    while (net_step(net, until_ns))
        ;
    net->now_ns = until_ns;
}

bool
net_run_until(struct net *net, uint64_t ms, bool (*is_done)(struct net *net))
{
    uint64_t until_ns = net->now_ns + ms * CLOCK_NS_PER_MS;
    while (!is_done(net))
        if (!net_step(net, until_ns))
            return false;
    return true;
}

unsigned
net_links(struct net *net, int a, int b)
{
    unsigned count = 0;
    for (unsigned i = 0; i < net->wire_top; i++) {
        const struct net_end *x = &net->wires[i].end[0], *y = &net->wires[i].end[1];
        bool is_theirs = (x->node == a && y->node == b) || (x->node == b && y->node == a);
        count += net->wires[i].is_used && is_theirs && ((x->is_open && x->is_proved) || (y->is_open && y->is_proved));
    }
    return count;
}

bool
net_all_up(struct net *net)
{
    for (unsigned i = 0; i < net->count; i++)
        for (unsigned j = 0; j < net->count; j++)
            if (i != j && net->nodes[i].is_running && net->nodes[j].is_running &&
                (!net->nodes[i].up[j] || net_links(net, (int)i, (int)j) != 1))
                return false;
    return true;
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
    static uint64_t calls;
    struct envelope e = { .kind = kind, .body_len = (uint32_t)buf_len(body), .slot = SLOT_LINK, .call_id = (uint64_t)slot << 48 | ++calls };

    n->last_kind = 0;
    cluster_request(n->cluster, time_of(n), slot, &e, buf_data(body));
    buf_fini(body);
    if (n->last_kind == 0 || n->last_call != e.call_id) {
        net_fault(net, "%s: no answer", n->id.name);
        return NX_ETIMEDOUT;
    }
    return n->last_kind == KIND_REPLY ? 0 : n->last_error.code;
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
    struct wire_ref ref = net_ref(net, node, (uint16_t)(serial % 4), serial);
    return net_register_ref(net, node, scope, name, &ref, priority);
}

int
net_unregister(struct net *net, int node, int scope, const char *name)
{
    struct sys_unregister u = { .name = { name, strlen(name) }, .scope = scope };
    struct buf body;

    buf_init(&body, 0);
    nx_assert(sys_unregister_encode(&u, &body) == 0);
    return request(net, node, 0, KIND_UNREGISTER, &body);
}

int
net_server_gone(struct net *net, int node, uint64_t serial)
{
    uint16_t slot = (uint16_t)(serial % 4);
    struct sys_spawn_reply gone = { .ref = net_ref(net, node, slot, serial) };
    struct buf body;

    buf_init(&body, 0);
    nx_assert(sys_spawn_reply_encode(&gone, &body) == 0);
    return request(net, node, slot, KIND_SERVER_GONE, &body);
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
    return index_of(net, id, strlen(id));
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

/* ---------------------------------------------------------------- raw connections */

uint64_t
net_raw_open(struct net *net, int node, const char *source)
{
    struct net_wire *w = new_wire(net, NET_RAW, node);
    struct net_node *n = &net->nodes[node];

    if (cluster_accepted(n->cluster, time_of(n), w->end[1].number, source) != 0) {
        w->end[0].is_open = false;
        tidy(net, w);
        return 0;
    }
    w->end[1].is_open = true;
    return w->end[0].number;
}

void
net_raw_send(struct net *net, uint64_t number, const void *bytes, size_t len)
{
    struct net_end *other, *end = find_end(net, NET_RAW, number, &other);
    if (end != NULL)
        push(net, other, ITEM_BYTES, 0, bytes, len, 0);
}

void
net_raw_close(struct net *net, uint64_t number)
{
    struct net_end *other, *end = find_end(net, NET_RAW, number, &other);
    if (end == NULL)
        return;
    end->is_open = false;
    if (!other->has_fin)
        push(net, other, ITEM_FIN, 0, NULL, 0, 0);
    other->has_fin = true;
}
