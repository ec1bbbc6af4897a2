/*
 * net_step.c - a virtual clock: what happens next, one event at a time, and the test's own connections.
 *
 * Lives here: the choice of the next event, by time or by the test's hand.
 * Never here: queues (net.c).
 * Runs in: unit tests, the simulator.
 *
 * The next deadlines of the clusters are asked for each time, since tests also feed them directly.
 */
#include "net_priv.h"

/* ---------------------------------------------------------------- by hand */

/* An accept means nothing to a cluster before the first bytes: it travels with them, which makes the orders fewer. */
static bool
is_bare_accept(const struct net_end *end)
{
    return end->first->type == ITEM_ACCEPT && end->first->next == NULL;
}

static struct net_end *
next_close(struct net *net)
{
    struct net_end *best = NULL;

    for (unsigned i = 0; i < net->wire_top; i++) {
        for (int side = 0; net->wires[i]->is_used && side < 2; side++) {
            struct net_end *end = &net->wires[i]->end[side];
            if (end->is_open && end->close_at != 0 && (best == NULL || end->close_at < best->close_at))
                best = end;
        }
    }
    return best;
}

/* All queues that could deliver, and one of them by the test's choice; messages that stand together travel as one frame. */
static bool
step_by_hand(struct net *net)
{
    struct net_end *options[64], *end = next_close(net);
    unsigned count = 0;

    if (end != NULL && end->close_at <= net->now_ns + CLOCK_NS_PER_MS) {         /* its FIN then takes part */
        net_close_now(net, end);
        return true;
    }
    for (unsigned i = 0; i < net->wire_top && count < 64; i++) {
        struct net_wire *w = net->wires[i];
        for (int side = 0; w->is_used && side < 2; side++)
            if (w->end[side].first != NULL && !is_bare_accept(&w->end[side]))
                options[count++] = &w->end[side];
    }
    if (count == 0)
        return false;
    end = options[count == 1 ? 0 : net->pick(net, count)];
    net->now_ns += 1000;
    while (end->first->type == ITEM_MESSAGE && end->first->next != NULL && end->first->next->type == ITEM_MESSAGE)
        net_deliver(net, end);
    if (end->first->type == ITEM_ACCEPT)
        net_deliver(net, end);
    net_deliver(net, end);
    return true;
}

/* ---------------------------------------------------------------- by time */

void
net_tick(struct net *net, struct net_node *n)
{
    net_digest_number(net, net->now_ns, (uint64_t)n->index);
    cluster_tick(n->cluster, net_time(n));
    n->is_fresh = false;
    uint64_t next = cluster_next(n->cluster);
    if (next != 0 && next <= net->now_ns)
        net_fault(net, "%s: a tick left a deadline that has passed", n->id.name);
    if (net->is_strict)
        net_watch_silence(n);
}

/* The node whose deadline comes first. */
static struct net_node *
next_tick(struct net *net, uint64_t *at)
{
    struct net_node *best = NULL;

    for (unsigned i = 0; i < net->count; i++) {
        struct net_node *n = &net->nodes[i];
        uint64_t due = net_has_link_worker(net, (int)i) ? cluster_next(n->cluster) : 0;
        if (due != 0 && (best == NULL || due < *at)) {
            best = n;
            *at = due;
        }
    }
    return best;
}

bool
net_step(struct net *net, uint64_t until_ns)
{
    uint64_t tick_at = 0;

    if (net->pick != NULL && step_by_hand(net))
        return true;
    struct heap_node *first = heap_peek(&net->due);
    struct net_node *n = next_tick(net, &tick_at);
    if (first != NULL && n != NULL && tick_at < first->key && tick_at < net->now_ns)
        tick_at = net->now_ns;               /* deliveries of the same moment come first */
    bool is_tick = n != NULL && (first == NULL || tick_at < first->key);
    uint64_t at = is_tick ? tick_at : first != NULL ? first->key : UINT64_MAX;
    if (at > until_ns)
        return false;
    if (at > net->now_ns)
        net->now_ns = at;
    net->steps++;
    struct net_end *end = first != NULL ? base_container_of(first, struct net_end, due) : NULL;
    int node = is_tick ? n->index : end->node;
    if (is_tick)
        net_tick(net, n);
    else if (end->first != NULL && end->first->at == at && !net_is_held_back(net, end))
        net_deliver(net, end);
    else
        net_close_now(net, end);
    if (net->is_strict && node >= 0)
        net_claims_look(&net->nodes[node]);
    return true;
}

void
net_run_ns(struct net *net, uint64_t ns)
{
    uint64_t until_ns = net->now_ns + ns;
    while (net_step(net, until_ns))
        ;
    net->now_ns = until_ns;
}

void
net_run(struct net *net, uint64_t ms)
{
    net_run_ns(net, ms * CLOCK_NS_PER_MS);
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

/* ---------------------------------------------------------------- raw connections */

uint64_t
net_raw_open(struct net *net, int node, const char *source)
{
    struct net_wire *w = net_wire_new(net, NET_RAW, node);
    struct net_node *n = &net->nodes[node];

    if (cluster_accepted(n->cluster, net_time(n), w->end[1].number, source) != 0) {
        w->end[0].is_open = false;
        net_tidy(net, w);
        return 0;
    }
    w->end[1].is_open = true;
    return w->end[0].number;
}

void
net_raw_send(struct net *net, uint64_t number, const void *bytes, size_t len)
{
    struct net_end *other, *end = net_end_find(net, NET_RAW, number, &other);
    if (end != NULL)
        (void)net_push(net, other, ITEM_BYTES, 0, bytes, len, 0);
}

void
net_raw_close(struct net *net, uint64_t number)
{
    struct net_end *other, *end = net_end_find(net, NET_RAW, number, &other);
    if (end == NULL)
        return;
    end->is_open = false;
    net_fin(net, other);
}
