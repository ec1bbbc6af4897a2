/*
 * net.c - queues between clusters.
 *
 * Lives here: wires and their two ends, what is on its way, arrivals.
 * Never here: which arrival is next (net_step.c), what a cluster does with it (net_watch.c), who lives (net_node.c).
 * Runs in: unit tests, the simulator.
 *
 * An end of a wire is in the heap while something is to happen there: the first of its queue arrives, or its wish to close comes true.
 */
#include "net_priv.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"

enum { PLACE_BITS = 13 };
_Static_assert(NET_WIRES == 1 << PLACE_BITS, "a connection's number holds its place");

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
    net_trace(net, "WRONG: %s", net->fault);
}

void
net_trace_line(const struct net *net, const char *fmt, ...)
{
    va_list ap;

    fprintf(net->trace, "# %10.6f  ", (double)(net->now_ns - CLOCK_NS_PER_S) / CLOCK_NS_PER_S);
    va_start(ap, fmt);
    (void)vfprintf(net->trace, fmt, ap);
    va_end(ap);
    fputc('\n', net->trace);
}

void
net_digest(struct net *net, const void *bytes, size_t len)
{
    net_digest_number(net, table_hash(0, bytes, len), len);
}

struct cluster_time
net_time(const struct net_node *n)
{
    const struct net *net = n->net;
    uint64_t wall = net->wall_ms + net->now_ns / CLOCK_NS_PER_MS;
    return (struct cluster_time){ .now_ns = net->now_ns, .wall_ms = (uint64_t)((int64_t)wall + n->skew_ms) };
}

bool
net_has_link_worker(const struct net *net, int node)
{
    const struct net_node *n = &net->nodes[node];
    return n->is_running && !n->is_frozen && n->cluster != NULL;
}

/* ---------------------------------------------------------------- wires */

struct net_end *
net_end_find(struct net *net, int node, uint64_t number, struct net_end **other)
{
    struct net_wire *w = net->wires[number >> 1 & (NET_WIRES - 1)];
    int side = (int)(number & 1);

    if (w == NULL || !w->is_used || w->end[side].number != number || w->end[side].node != node)
        return NULL;
    if (other != NULL)
        *other = &w->end[1 - side];
    return &w->end[side];
}

static struct net_wire *
wire_of(const struct net *net, const struct net_end *end)
{
    return net->wires[end->number >> 1 & (NET_WIRES - 1)];
}

static struct net_end *
other_end(const struct net *net, const struct net_end *end)
{
    return &wire_of(net, end)->end[~end->number & 1];
}

static void
init_end(struct net *net, struct net_end *end, int node, unsigned place, unsigned side)
{
    memset(end, 0, offsetof(struct net_end, rx));
    heap_node_init(&end->due);
    end->node = node;
    end->number = ++net->numbers << (PLACE_BITS + 1) | (uint64_t)place << 1 | side;
    end->life = node >= 0 ? net->nodes[node].config.incarnation : 0;
}

struct net_wire *
net_wire_new(struct net *net, int from, int to)
{
    unsigned place = net->free_count > 0 ? net->free_wires[--net->free_count] : net->wire_top++;

    nx_assert(place < NET_WIRES);
    if (net->wires[place] == NULL)
        net->wires[place] = malloc(sizeof *net->wires[place]);
    struct net_wire *w = net->wires[place];
    nx_assert(w != NULL);
    w->place = place;
    w->is_used = true;
    init_end(net, &w->end[0], from, place, 0);
    init_end(net, &w->end[1], to, place, 1);
    w->end[0].is_open = true;
    return w;
}

static bool
is_frozen(const struct net *net, const struct net_end *end)
{
    return end->node >= 0 && net->nodes[end->node].is_frozen;
}

bool
net_is_held_back(const struct net *net, const struct net_end *end)
{
    int from = other_end(net, end)->node;
    return end->node >= 0 && (is_frozen(net, end) || (from >= 0 && net->cut[from][end->node]));
}

bool
net_is_unread(const struct net *net, const struct net_end *end)
{
    int from = other_end(net, end)->node;
    return end->first != NULL && end->first->at <= net->now_ns && (from < 0 || !net->cut[from][end->node]);
}

void
net_due(struct net *net, struct net_end *end)
{
    uint64_t at = UINT64_MAX;

    if (end->first != NULL && !net_is_held_back(net, end))
        at = end->first->at;
    if (end->is_open && end->close_at != 0 && end->close_at < at && !is_frozen(net, end))
        at = end->close_at;
    if (heap_has(&end->due) && end->due.key == at)
        return;
    heap_remove(&net->due, &end->due);
    if (at != UINT64_MAX)
        nx_assert(heap_push(&net->due, &end->due, at) == 0);
}

void
net_due_all(struct net *net)
{
    for (unsigned i = 0; i < net->wire_top; i++)
        for (int side = 0; net->wires[i]->is_used && side < 2; side++)
            net_due(net, &net->wires[i]->end[side]);
}

uint64_t
net_delay(struct net *net)
{
    uint64_t us = net->latency_us + (net->jitter_us > 0 ? net_random(net) % net->jitter_us : 0);
    return us * 1000;
}

struct net_item *
net_push(struct net *net, struct net_end *to, enum item_type type, uint8_t kind, const void *data, size_t len, uint64_t extra_ns)
{
    struct net_item *item = malloc(sizeof *item + len);
    nx_assert(item != NULL);
    *item = (struct net_item){ .type = type, .kind = kind, .len = len, .at = net->now_ns + net_delay(net) + extra_ns };
    if (len > 0)
        memcpy(item->data, data, len);
    if (to->last != NULL && item->at < to->last->at)
        item->at = to->last->at;
    if (to->last != NULL)
        to->last->next = item;
    else
        to->first = item;
    to->last = item;
    net_due(net, to);
    return item;
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

void
net_drop_items(struct net *net, struct net_end *end)
{
    while (end->first != NULL)
        pop(end);
    net_due(net, end);
}

/* The last that comes on this connection. */
void
net_fin(struct net *net, struct net_end *to)
{
    if (!to->has_fin)
        (void)net_push(net, to, ITEM_FIN, 0, NULL, 0, 0);
    to->has_fin = true;
}

void
net_tidy(struct net *net, struct net_wire *w)
{
    if (!w->is_used || w->end[0].is_open || w->end[1].is_open)
        return;
    for (int side = 0; side < 2; side++) {
        net_drop_items(net, &w->end[side]);
        heap_remove(&net->due, &w->end[side].due);
    }
    w->is_used = false;
    net->free_wires[net->free_count++] = w->place;
}

/* ---------------------------------------------------------------- arrivals */

static void
feed_bytes(struct net *net, struct net_end *end, const uint8_t *data, size_t len)
{
    struct net_node *n = &net->nodes[end->node];

    if (len > sizeof end->rx - end->rx_len)
        len = sizeof end->rx - end->rx_len;
    memcpy(end->rx + end->rx_len, data, len);
    end->rx_len += len;
    while (end->rx_len > 0 && !end->is_proved) {
        size_t taken = cluster_bytes(n->cluster, net_time(n), end->number, end->rx, end->rx_len);
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
    cluster_closed(n->cluster, net_time(n), end->number, reason);
    for (unsigned i = 0; net->is_strict && i < net->count; i++)
        if (n->up[i] && n->link[i] == end->number)
            net_fault(net, "%s: the connection to app%u has ended, and it is still up", n->id.name, i + 1);
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

/* A request of a peer has one answer, at once. */
static void
deliver_message(struct net *net, struct net_end *end, const struct net_item *item)
{
    struct net_node *n = &net->nodes[end->node];
    struct envelope e = { .kind = item->kind, .body_len = (uint32_t)item->len, .slot = SLOT_LINK, .call_id = item->call_id };
    bool is_request = item->kind == KIND_REGISTER || item->kind == KIND_UNREGISTER;
    unsigned answers = n->answers;

    cluster_alive(n->cluster, net_time(n), end->number);
    n->is_asked = is_request;
    int from = other_end(net, end)->node;
    bool is_on_link = from >= 0 && n->up[from] && n->link[from] == end->number;
    if (is_on_link)
        n->heard_ns[from] = net->now_ns;
    is_on_link &= is_request;
    (void)cluster_message(n->cluster, net_time(n), end->number, &e, item->data);
    n->is_asked = false;
    if (is_on_link && n->answers != answers + 1)
        net_fault(net, "%s: %u answers to one request of a peer", n->id.name, n->answers - answers);
}

/* Who has proved to be a new life of a node: the old one is over at once. */
static void
check_proved(struct net *net, const struct net_end *end)
{
    struct net_node *n = &net->nodes[end->node];
    const struct net_end *other = other_end(net, end);

    if (other->node >= 0 && n->up[other->node] && n->life[other->node] != other->life && !n->is_leaving &&
        other->life == net->nodes[other->node].config.incarnation)
        net_fault(net, "%s: a new life of app%d has proved itself, and the old one is still up", n->id.name, other->node + 1);
}

static void
deliver_item(struct net *net, struct net_end *end, const struct net_item *item)
{
    struct net_node *n = &net->nodes[end->node];

    switch (item->type) {
    case ITEM_CONNECTED: cluster_connected(n->cluster, net_time(n), end->number); break;
    case ITEM_REFUSED: lose_end(net, end, NODES_CONNECTION_REFUSED); break;
    case ITEM_BYTES:
        feed_bytes(net, end, item->data, item->len);
        if (net->is_strict && end->is_proved)
            check_proved(net, end);
        break;
    case ITEM_MESSAGE: deliver_message(net, end, item); break;
    case ITEM_CLOSE_FRAME:
        end->got_shutdown = item->data[0] == FRAME_CLOSE_SHUTDOWN;
        cluster_close_frame(n->cluster, net_time(n), end->number, item->data[0]);
        break;
    case ITEM_FIN: lose_end(net, end, end->got_shutdown ? NODES_GRACEFUL_SHUTDOWN : NODES_CONNECTION_CLOSED); break;
    default: break;
    }
}

static void
accept_one(struct net *net, struct net_end *end)
{
    struct net_node *n = &net->nodes[end->node];
    const char *source = net->source != NULL ? net->source : "127.0.0.1";

    if (n->is_running && n->cluster != NULL && cluster_accepted(n->cluster, net_time(n), end->number, source) == 0) {
        end->is_open = true;
        end->life = n->config.incarnation;
    } else
        net_fin(net, other_end(net, end));
}

void
net_deliver(struct net *net, struct net_end *end)
{
    struct net_item *item = end->first;
    struct net_node *n = end->node >= 0 ? &net->nodes[end->node] : NULL;

    net_digest_number(net, net->now_ns, end->number << 8 | item->type);
    if (item->len > 0)
        net_digest(net, item->data, item->len);
    if (end->node == NET_RAW)
        deliver_raw(net, end, item);
    else if (item->type == ITEM_ACCEPT)
        accept_one(net, end);
    else if (end->is_open && n->is_running && n->cluster != NULL)
        deliver_item(net, end, item);
    pop(end);
    net_due(net, end);
    net_tidy(net, wire_of(net, end));
}

/* Its own wish to close: the other side reads the end behind what was sent before. */
void
net_close_now(struct net *net, struct net_end *end)
{
    struct net_end *other = other_end(net, end);

    net_digest_number(net, net->now_ns, end->number);
    if (other->is_open || other->first != NULL)
        net_fin(net, other);
    other->has_fin = true;
    lose_end(net, end, end->got_shutdown ? NODES_GRACEFUL_SHUTDOWN : NODES_CONNECTION_CLOSED);
    net_due(net, end);
    net_tidy(net, wire_of(net, end));
}
