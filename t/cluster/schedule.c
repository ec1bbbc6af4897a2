/*
 * schedule.c - carries out the actions of a schedule on a strict net, makes peace, and judges.
 *
 * Lives here: what each action does, the end of all faults, the promised times.
 * Never here: which actions (t/sim); the checks of each event and each step (net_watch.c, net_claims.c).
 * Runs in: unit tests, the simulator.
 */
#include "net_priv.h"
#include "schedule.h"

#include <string.h>

#include "base/base.h"
#include "base/clock.h"

enum { HEARTBEAT_MS = 1000, MISSES = 3, HANDSHAKE_MS = 5000, RECONNECT_MIN_MS = 500, RECONNECT_MAX_MS = 4000, GOSSIP_EVERY = 2, CAPACITY = 64,
       LEAVE_MS = 300, QUIET_MS = 700 };

const char *
schedule_what_name(enum schedule_what what)
{
    static const char *const names[SCHEDULE_WHATS] = {
#define SCHEDULE_NAME(what) [SCHEDULE_##what] = #what,
        SCHEDULE_ACTIONS(SCHEDULE_NAME)
#undef SCHEDULE_NAME
    };
    return names[what];
}

/* ---------------------------------------------------------------- the promised times */

uint64_t
schedule_links_ms(const struct schedule *s)
{
    uint64_t gossip = 1;

    for (unsigned n = 1; n < s->nodes; n *= 2)
        gossip++;
    return HEARTBEAT_MS * (MISSES + 2) + HANDSHAKE_MS + RECONNECT_MAX_MS * 6 / 5 + HEARTBEAT_MS * gossip + 1000;
}

static bool
has_drops(const struct schedule *s)
{
    for (unsigned i = 0; i < s->count; i++)
        if (s->actions[i].what == SCHEDULE_DROP)
            return true;
    return false;
}

uint64_t
schedule_names_ms(const struct schedule *s)
{
    return HEARTBEAT_MS * (has_drops(s) ? GOSSIP_EVERY + 3 : 2) + 1000;
}

/* ---------------------------------------------------------------- actions */

static uint32_t drop_every;

static int
drop_some(struct net *net, int from, int to, uint8_t kind)
{
    (void)from, (void)to;
    return (kind == KIND_REGISTRY_DELTA || kind == KIND_REGISTRY_SYNC) && net_random(net) % drop_every == 0;
}

static const char *
name_of(const struct schedule_action *a)
{
    static const char *const names[SCHEDULE_NAMES] = { "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m",
                                                       "n", "o", "p", "q", "r", "s", "t", "u", "v", "w", "x", "y", "z" };
    return names[a->name % SCHEDULE_NAMES];
}

static void
split(struct net *net, uint32_t sides)
{
    for (unsigned i = 0; i < net->count; i++)
        for (unsigned j = 0; j < i; j++)
            net->cut[i][j] = net->cut[j][i] = (sides >> i % 32 & 1) != (sides >> j % 32 & 1);
    net->has_stalls |= sides != 0;
    net_due_all(net);
}

static void
worker_dies(struct net *net, int node, const struct schedule_action *a)
{
    uint16_t slot = a->server % NET_WORKERS;
    uint64_t incarnation = net->nodes[node].config.incarnation;
    uint32_t generation = board_generation(net->nodes[node].config.board, slot);

    net_worker_generation(net, node, slot, generation + 1);
    net_run(net, (uint64_t)(a->value > 0 ? a->value : 0));
    if (net_has_link_worker(net, node) && net->nodes[node].config.incarnation == incarnation)
        net_worker_down(net, node, slot, generation);
}

static void
leave(struct net *net, int node)
{
    net_leave(net, node);
    net_run(net, LEAVE_MS);
    net_kill(net, node);
}

/* Requests, at a node that can take them. */
static void
do_request(struct net *net, int i, int j, const struct schedule_action *a)
{
    switch (a->what) {
    case SCHEDULE_REGISTER: (void)net_register(net, i, SYS_GLOBAL, name_of(a), a->server, a->value); break;
    case SCHEDULE_REGISTER_LOCAL: (void)net_register(net, i, SYS_LOCAL, name_of(a), a->server, a->value); break;
    case SCHEDULE_REGISTER_FOR:
        if (i != j)
            (void)net_register_for(net, i, j, name_of(a), a->server, a->value);
        break;
    case SCHEDULE_UNREGISTER: (void)net_unregister(net, i, SYS_GLOBAL, name_of(a)); break;
    case SCHEDULE_UNREGISTER_LOCAL: (void)net_unregister(net, i, SYS_LOCAL, name_of(a)); break;
    case SCHEDULE_SERVER_GONE: (void)net_server_gone(net, i, a->server); break;
    case SCHEDULE_WORKER_DIES: worker_dies(net, i, a); break;
    case SCHEDULE_LEAVE: leave(net, i); break;
    case SCHEDULE_FREEZE: net_freeze(net, i, true); break;
    case SCHEDULE_LINK_DIES: net_kill_link(net, i); break;
    case SCHEDULE_LOSE:
        if (i != j)
            net_lose(net, i, j);
        break;
    default: break;
    }
}

static void
do_fault(struct net *net, int i, int j, const struct schedule_action *a)
{
    struct net_node *n = &net->nodes[i];

    switch (a->what) {
    case SCHEDULE_START: if (!n->is_running) net_start(net, i); break;
    case SCHEDULE_KILL: if (n->is_running) net_kill(net, i); break;
    case SCHEDULE_VANISH: if (n->is_running) net_vanish(net, i); break;
    case SCHEDULE_LINK_RETURNS: if (n->is_running && n->cluster == NULL) net_respawn_link(net, i); break;
    case SCHEDULE_THAW: if (n->is_running) net_freeze(net, i, false); break;
    case SCHEDULE_CUT: if (i != j) net_cut(net, i, j, true); break;
    case SCHEDULE_CUT_WAY: if (i != j) net_cut_way(net, i, j, true); break;
    case SCHEDULE_MEND: if (i != j) net_cut(net, i, j, false); break;
    case SCHEDULE_SPLIT: split(net, (uint32_t)a->value); break;
    case SCHEDULE_MEND_ALL: split(net, 0); break;
    case SCHEDULE_RESET: if (i != j) net_reset(net, i, j); break;
    case SCHEDULE_CLOCK:
        n->skew_ms += a->value;
        net->has_clock_jumps = true;
        break;
    case SCHEDULE_DROP:
        drop_every = (uint32_t)a->value;
        net->drop = a->value > 0 ? drop_some : NULL;
        net->is_lossy |= a->value > 0;
        break;
    default:
        if (net_has_link_worker(net, i))
            do_request(net, i, j, a);
    }
}

static void
do_action(struct net *net, const struct schedule_action *a)
{
    int i = (int)(a->node % net->count), j = (int)(a->other % net->count);

    net_run_ns(net, (uint64_t)a->after_us * 1000);
    if (net->faults > 0)
        return;
    net_trace(net, "-- %s node=%d other=%d name=%s server=%u value=%d", schedule_what_name(a->what), i, j, name_of(a), a->server, a->value);
    net_digest_number(net, a->what, net->now_ns);
    do_fault(net, i, j, a);
    for (unsigned k = 0; k < net->count; k++)
        if (net_has_link_worker(net, (int)k))
            net_watch_silence(&net->nodes[k]);
}

/* ---------------------------------------------------------------- peace */

static void
make_peace(struct net *net)
{
    net_trace(net, "-- peace");
    split(net, 0);
    net->drop = NULL;
    for (unsigned i = 0; i < net->count; i++) {
        struct net_node *n = &net->nodes[i];
        if (!n->is_running)
            net_start(net, (int)i);
        else if (n->cluster == NULL)
            net_respawn_link(net, (int)i);
        net_freeze(net, (int)i, false);
    }
}

static bool
is_mesh(struct net *net)
{
    return net->faults > 0 || net->up_pairs == net->count * (net->count - 1);
}

/* Each life that is seen is the life that is lived. */
static bool
knows_lives(struct net *net)
{
    for (unsigned i = 0; i < net->count; i++)
        for (unsigned j = 0; j < net->count; j++)
            if (i != j && net->nodes[i].life[j] != net->nodes[j].config.incarnation)
                return false;
    return true;
}

static uint64_t
syncs(struct net *net)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < net->count; i++)
        sum += stats_get(net->nodes[i].config.stats, registry_syncs);
    return sum;
}

/* A mesh that a late effect of the faults tears again has time to mend, in all as long as promised. */
static const char *
settle(struct net *net, const struct schedule *s, struct schedule_result *out)
{
    uint64_t peace_ns = net->now_ns, links_ms = schedule_links_ms(s), names_ms = schedule_names_ms(s);
    unsigned turns;

    do {
        uint64_t gone_ms = (net->now_ns - peace_ns) / CLOCK_NS_PER_MS;
        if (gone_ms >= links_ms || !net_run_until(net, links_ms - gone_ms, is_mesh))
            return "not all nodes see each other in the promised time";
        out->links_ms = (net->now_ns - peace_ns) / CLOCK_NS_PER_MS;
        turns = net->turns;
        net_run(net, names_ms);
    } while (net->faults == 0 && net->turns != turns);
    return NULL;
}

static const char *
judge(struct net *net, const struct schedule *s, struct schedule_result *out)
{
    const char *wrong = settle(net, s, out);

    if (wrong != NULL || net->faults > 0)
        return wrong;
    if (!net_all_up(net))
        return "there is a pair without exactly one link";
    if (!knows_lives(net))
        return "a node is seen in a life that is over";
    if (!net_claims_match(net))
        return NULL;                         /* it has told */
    net_claims_told(net);
    if (!net_equal(net))
        return "registries differ after the promised time";
    if (!net_books_match(net))
        return "events and registries differ";
    uint64_t before = syncs(net);
    unsigned turns = net->turns;
    net_run(net, s->seed % 8 == 0 ? GOSSIP_EVERY * HEARTBEAT_MS + QUIET_MS : 0);
    if (syncs(net) != before)
        return "names are asked for again in peace";
    if (net->turns != turns)
        return "nodes go down in peace";
    return NULL;
}

/* ---------------------------------------------------------------- the whole */

/* All know an earlier one, as the seed picks them; the first knows nobody. */
static struct net *
open_net(const struct schedule *s, FILE *trace)
{
    struct net *net = net_new(s->nodes, s->seed);

    net->latency_us = s->latency_us;
    net->jitter_us = s->jitter_us;
    net->capacity = CAPACITY;
    net->is_strict = true;
    net->trace = trace;
    for (unsigned i = 0; i < net->count; i++) {
        struct cluster_config *c = &net->nodes[i].config;
        c->heartbeat_ms = HEARTBEAT_MS;
        c->heartbeat_misses = MISSES;
        c->handshake_ms = HANDSHAKE_MS;
        c->reconnect_min_ms = RECONNECT_MIN_MS;
        c->reconnect_max_ms = RECONNECT_MAX_MS;
        c->gossip_every = GOSSIP_EVERY;
        c->max_guests = c->max_guests_per_source = 4 * NET_NODES;
        net->nodes[i].skew_ms = (int64_t)(net_random(net) % (2 * (uint64_t)s->skew_ms + 1)) - (int64_t)s->skew_ms;
        if (i > 0)
            net_seed(net, (int)i, (int)(net_random(net) % i));
    }
    for (unsigned i = 0; i < net->count; i++)
        net_start(net, (int)i);
    return net;
}

void
schedule_run(const struct schedule *s, FILE *trace, struct schedule_result *out)
{
    struct net *net = open_net(s, trace);
    const char *wrong = NULL;

    memset(out, 0, sizeof *out);
    for (unsigned i = 0; i < s->count && net->faults == 0; i++)
        do_action(net, &s->actions[i]);
    if (net->faults == 0) {
        make_peace(net);
        wrong = judge(net, s, out);
    }
    if (net->faults > 0)
        wrong = net->fault;
    out->is_wrong = wrong != NULL;
    if (wrong != NULL)
        (void)snprintf(out->wrong, sizeof out->wrong, "%s", wrong);
    net_digest_number(net, net->random, net->numbers);
    out->digest = net->digest;
    out->steps = net->steps;
    out->virtual_ms = (net->now_ns - CLOCK_NS_PER_S) / CLOCK_NS_PER_MS;
    net_free(net);
}
