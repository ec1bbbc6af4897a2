/*
 * net_node.c - lives of nodes, and what happens to them: death, stops, cuts.
 *
 * Lives here: the network as a whole, shared memory of a node, start and end of nodes and link workers, faults between nodes.
 * Never here: what travels (net.c), names (net_names.c).
 * Runs in: unit tests, the simulator.
 */
#include "net_priv.h"

#include <stdlib.h>
#include <string.h>

static const char secret_bytes[] = "a secret for tests that is long enough";

static struct net the_net;

/* ---------------------------------------------------------------- shared memory */

/* Making shared memory forks; a life of a node in these tests may take less than that. So it is kept, with a copy of the first state of what a
 * cluster writes. */
enum { PIECES = 16, FEW = 12, FEW_NODES = 16, MANY_NODES = 64 };
struct kept_piece { void *at, *first; size_t len; };
static struct kept { struct shm *shm; struct shm_config config; struct kept_piece pieces[PIECES]; unsigned count; } kept[NET_NODES];

static void
drop_shm(struct kept *k)
{
    shm_destroy(&k->shm);
    for (unsigned i = 0; i < k->count; i++)
        free(k->pieces[i].first);
    k->count = 0;
}

static void
keep_shm(struct kept *k, const struct shm_config *config)
{
    struct base_error why;
    struct shm_piece piece;

    drop_shm(k);
    nx_assert(shm_create(config, &k->shm, &why) == 0);
    k->config = *config;
    for (unsigned i = 0; shm_piece_at(k->shm, i, &piece); i++) {
        if (piece.writer != SHM_LINK && piece.writer != SHM_MASTER)
            continue;
        nx_assert(k->count < PIECES);
        struct kept_piece *p = &k->pieces[k->count++];
        *p = (struct kept_piece){ .at = piece.at, .first = malloc(piece.len), .len = piece.len };
        nx_assert(p->first != NULL);
        memcpy(p->first, p->at, p->len);
    }
}

static struct shm *
take_shm(struct net *net, int node)
{
    struct kept *k = &kept[node];
    struct shm_config config = { .workers = NET_WORKERS, .registry_capacity = net->capacity, .behaviors_max = 4,
                                 .nodes_max = net->count <= FEW ? FEW_NODES : MANY_NODES };

    if (k->shm == NULL || k->config.registry_capacity != config.registry_capacity || k->config.nodes_max != config.nodes_max)
        keep_shm(k, &config);
    else
        for (unsigned i = 0; i < k->count; i++)
            memcpy(k->pieces[i].at, k->pieces[i].first, k->pieces[i].len);
    return k->shm;
}

__attribute__((destructor)) static void
drop_all(void)
{
    for (int node = 0; node < NET_NODES; node++) {
        drop_shm(&kept[node]);
        free(the_net.nodes[node].names);
    }
    for (unsigned i = 0; i < NET_WIRES; i++)
        free(the_net.wires[i]);
    free(the_net.claims);
    heap_fini(&the_net.due);
}

/* ---------------------------------------------------------------- the network */

static void
init_node(struct net *net, unsigned i)
{
    struct net_node *n = &net->nodes[i];
    struct net_name *names = n->names;
    unsigned room = n->name_room;
    struct base_error why;
    char id[64];

    memset(n, 0, sizeof *n);
    n->names = names;
    n->name_room = room;
    n->net = net;
    n->index = (int)i;
    int len = snprintf(id, sizeof id, "app%u@127.0.0.1:%u", i + 1, 4369 + i);
    nx_assert(node_id_parse(id, (size_t)len, &n->id, &why) == 0);
    n->config = (struct cluster_config){
        .self = n->id, .cluster = "test", .secret_count = 1, .heartbeat_ms = 1000, .heartbeat_misses = 3, .reconnect_min_ms = 1000,
        .reconnect_max_ms = 30000, .handshake_ms = 5000, .max_guests = 64, .max_guests_per_source = 16, .gossip_every = 5,
        .servers = net_out_servers, .random = net_out_random, .arg = n, .out = net_out,
    };
    n->config.secrets[0] = (struct cluster_secret){ .id = 7, .len = sizeof secret_bytes - 1, .send = true };
    memcpy(n->config.secrets[0].key, secret_bytes, sizeof secret_bytes - 1);
}

/* What is costly to have is kept from the one before: memory of wires, of names, of claims. */
struct net *
net_new(unsigned count, uint64_t seed)
{
    struct net *net = &the_net;

    nx_assert(count <= NET_NODES);
    memset(net->cut, 0, sizeof net->cut);
    memset(net->is_refusing, 0, sizeof net->is_refusing);
    memset(net->dials, 0, sizeof net->dials);
    memset(net->messages, 0, sizeof net->messages);
    net->count = count;
    net->random = seed;
    net->now_ns = CLOCK_NS_PER_S;
    net->wall_ms = UINT64_C(1700000000000);
    net->latency_us = 200;
    net->jitter_us = 300;
    net->capacity = 256;
    net->alias[0] = '\0';
    net->numbers = net->calls = net->steps = net->digest = 0;
    net->wire_top = net->free_count = net->up_pairs = net->turns = net->faults = net->claim_count = 0;
    net->fault[0] = '\0';
    net->drop = NULL;
    net->tamper = NULL;
    net->pick = NULL;
    net->source = NULL;
    net->raw_len = 0;
    net->raw_closed = 0;
    net->raw_closed_ns = 0;
    net->is_strict = net->is_lossy = net->has_stalls = net->has_clock_jumps = false;
    net->trace = NULL;
    for (unsigned i = 0; i < count; i++)
        init_node(net, i);
    return net;
}

void
net_free(struct net *net)
{
    for (unsigned i = 0; i < net->count; i++) {
        if (net->nodes[i].is_running)
            net_kill(net, (int)i);
        free((void *)(uintptr_t)net->nodes[i].config.seeds);
        net->nodes[i].config.seeds = NULL;
    }
    for (unsigned i = 0; i < net->wire_top; i++) {
        net->wires[i]->end[0].is_open = net->wires[i]->end[1].is_open = false;
        net_tidy(net, net->wires[i]);
    }
}

int
net_index_of(const struct net *net, const char *id, size_t len)
{
    unsigned number = 0;

    for (size_t i = 3; i < len && i < 6 && id[i] >= '0' && id[i] <= '9'; i++)      /* appN */
        number = number * 10 + (unsigned)(id[i] - '0');
    if (number >= 1 && number <= net->count && net->nodes[number - 1].id.text[len] == '\0' &&
        memcmp(net->nodes[number - 1].id.text, id, len) == 0)
        return (int)number - 1;
    if (net->alias[0] != '\0' && strlen(net->alias) == len && memcmp(net->alias, id, len) == 0)
        return net->alias_node;
    return -1;
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

/* ---------------------------------------------------------------- lives */

static void
open_cluster(struct net_node *n)
{
    struct base_error why;
    int err = cluster_new(&n->config, net_time(n), &n->cluster, &why);
    if (err != 0)
        net_fault(n->net, "%s: %s", n->id.name, why.text);
    nx_assert(err == 0);
    n->is_fresh = true;
    n->is_leaving = false;
    n->born_ns = n->frozen_ns = n->thawed_ns = n->net->now_ns;
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
    for (uint16_t slot = 0; slot < NET_WORKERS; slot++)
        net_worker_generation(net, node, slot, 1);
    n->is_running = true;
    n->is_frozen = false;
    n->name_count = 0;
    n->ups_of_life = 0;
    memset(n->session, 0, sizeof n->session);
    memset(n->life, 0, sizeof n->life);
    net_claims_start(n);
    open_cluster(n);
}

/* The ends that a dead process held. A kernel that lives sends FIN for them; a host that died does not. */
static void
drop_ends(struct net *net, int node, bool sends_fin)
{
    for (unsigned i = 0; i < net->wire_top; i++) {
        struct net_wire *w = net->wires[i];
        for (int side = 0; w->is_used && side < 2; side++) {
            struct net_end *end = &w->end[side];
            if (end->node != node)
                continue;
            bool was_open = end->is_open;
            end->is_open = false;
            net_due(net, end);
            if (was_open && sends_fin)
                net_fin(net, &w->end[1 - side]);
            net_tidy(net, w);
        }
    }
}

static void
end_node(struct net *net, int node, bool sends_fin)
{
    struct net_node *n = &net->nodes[node];

    nx_assert(n->is_running);
    net_forget_ups(n);
    n->is_running = n->is_frozen = false;
    cluster_free(&n->cluster);
    drop_ends(net, node, sends_fin);
    net_due_all(net);
    net_claims_start(n);
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
    net_claims_link(&net->nodes[node]);
}

void
net_respawn_link(struct net *net, int node)
{
    net_freeze(net, node, false);            /* a new process */
    open_cluster(&net->nodes[node]);
}

void
net_leave(struct net *net, int node)
{
    net->nodes[node].is_leaving = true;
    cluster_leave(net->nodes[node].cluster, net_time(&net->nodes[node]));
}

void
net_worker_generation(struct net *net, int node, uint16_t slot, uint32_t generation)
{
    struct board_slot s = { .generation = generation, .state = generation != 0 ? BOARD_READY : BOARD_DOWN, .cpu = -1 };
    board_set(shm_board(net->nodes[node].shm), slot, &s);
}

void
net_worker_down(struct net *net, int node, uint16_t slot, uint32_t generation)
{
    struct net_node *n = &net->nodes[node];
    cluster_worker_down(n->cluster, net_time(n), slot, generation);
}

/* ---------------------------------------------------------------- faults between nodes */

void
net_freeze(struct net *net, int node, bool is_frozen)
{
    if (net->nodes[node].is_frozen == is_frozen)
        return;
    net->nodes[node].is_frozen = is_frozen;
    net->has_stalls = true;
    *(is_frozen ? &net->nodes[node].frozen_ns : &net->nodes[node].thawed_ns) = net->now_ns;
    net_due_all(net);
    if (net->is_strict && net_has_link_worker(net, node) && net_random(net) % 2 == 0)
        net_tick(net, &net->nodes[node]);    /* its timers before what lies to be read */
}

void
net_cut_way(struct net *net, int from, int to, bool is_cut)
{
    if (net->cut[from][to] == is_cut)
        return;
    net->cut[from][to] = is_cut;
    net->has_stalls = true;
    net_due_all(net);
}

void
net_cut(struct net *net, int a, int b, bool is_cut)
{
    net_cut_way(net, a, b, is_cut);
    net_cut_way(net, b, a, is_cut);
}

/* A dial that is not connected yet is left alone. */
static bool
is_connection(const struct net_wire *w, int a, int b)
{
    bool is_theirs = w->is_used && ((w->end[0].node == a && w->end[1].node == b) || (w->end[0].node == b && w->end[1].node == a));
    return is_theirs && (w->end[0].first == NULL || w->end[0].first->type > ITEM_REFUSED);
}

void
net_lose(struct net *net, int node, int other)
{
    for (unsigned i = 0; i < net->wire_top; i++) {
        struct net_wire *w = net->wires[i];
        struct net_end *end = &w->end[w->end[0].node == node ? 0 : 1];
        if (!is_connection(w, node, other) || !end->is_open)
            continue;
        end->is_open = false;
        net_drop_items(net, end);
        cluster_closed(net->nodes[node].cluster, net_time(&net->nodes[node]), end->number, NODES_CONNECTION_CLOSED);
        net_tidy(net, w);
    }
}

void
net_reset(struct net *net, int a, int b)
{
    for (unsigned i = 0; i < net->wire_top; i++) {
        struct net_wire *w = net->wires[i];
        if (!is_connection(w, a, b) || !w->end[0].is_open || !w->end[1].is_open)
            continue;
        for (int side = 0; side < 2; side++) {
            net_drop_items(net, &w->end[side]);
            w->end[side].has_fin = false;
            net_fin(net, &w->end[side]);
        }
    }
}
