/*
 * net.h - a small network of clusters under a virtual clock, for the tests of this room and for the simulator.
 *
 * The clusters are the real ones, each on real shared memory; only the bytes between them travel through queues of this program: in order, with a
 * latency, held back while two nodes are cut off from each other. Behind `proved` a (kind, body) of out.send travels as it is. Every event is checked as
 * it comes (a node is up and down in turn, a name is registered before it is unregistered, ...); broken rules are counted in `faults`.
 *
 *   net.c         queues between nodes                         net_step.c    the clock, the next event
 *   net_node.c    lives of nodes, their shared memory, cuts    net_names.c   requests of processes, what their readers see
 *   net_watch.c   what comes out of a cluster, and its checks
 *   net_claims.c  a strict net: every claim ever made, and what may be told of it
 */
#ifndef NOEXD_T_CLUSTER_NET_H
#define NOEXD_T_CLUSTER_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/heap.h"
#include "cluster/cluster.h"
#include "shm/registry_writer.h"
#include "shm/shm.h"
#include "wire/system.h"

enum { NET_NODES = 50, NET_WIRES = 8192, NET_WORKERS = 4, NET_RAW = -1 };

struct net_ref { int node; uint32_t generation; uint64_t incarnation, serial; uint16_t slot; };
struct net_name { char text[256]; uint8_t len; int scope; bool is_held; uint32_t seen; struct net_ref holder; };

struct net_node {
    struct net *net;
    int index;
    bool is_running, is_frozen;              /* frozen: its process is stopped; net_freeze */
    struct node_id id;
    struct shm *shm;
    struct cluster *cluster;                 /* NULL: no link worker */
    struct cluster_config config;
    int64_t skew_ms;
    uint32_t servers;
    /* What it told. */
    bool up[NET_NODES]; uint32_t session[NET_NODES]; unsigned ups[NET_NODES], downs[NET_NODES];
    uint64_t life[NET_NODES], link[NET_NODES];       /* of each that is up: its incarnation, the connection */
    uint64_t heard_ns[NET_NODES];            /* when its last message came, or it came up */
    enum nodes_reason reason[NET_NODES];
    struct net_name *names; unsigned name_count, name_room;
    unsigned registered, unregistered, conflicts, synced, lost, got, answers, events, proved_count;
    uint64_t last_lost_serial, last_synced_count;
    uint64_t last_call; uint8_t last_kind; struct base_error last_error;     /* of the last answer */
    char order[64]; unsigned order_len;      /* e event, t targeted event, d delta, a answer, D down, U up */
    /* A strict net. */
    bool is_asked, is_fresh, is_leaving;     /* inside a request; its link worker is new: what was up before is told by its first tick */
    uint64_t ups_of_life, born_ns;           /* born: node or link worker */
    uint64_t frozen_ns, thawed_ns;           /* the last time */
    uint64_t last_ms, last_sequence;         /* of the claims of this life */
    uint64_t seen_version; unsigned turns, seen_turns; uint32_t seen;     /* turns: its ups and downs so far */
};

struct net_item;
struct net_end {
    struct heap_node due;                    /* in net.due while something is to happen here */
    int node;                                /* NET_RAW: the test itself */
    uint64_t number, life;                   /* life: incarnation of its node when it was opened */
    bool is_open, is_proved, got_shutdown, has_fin;
    uint64_t close_at;                       /* its own wish to close comes true then; 0 = none */
    struct net_item *first, *last;           /* on the way to it */
    size_t rx_len; uint8_t rx[1024];
};
struct net_wire { unsigned place; bool is_used; struct net_end end[2]; };

/* A claim that a node has once made. */
struct net_claim {
    uint64_t name;                           /* hash of scope and text */
    struct net_ref ref;
    uint64_t registered_at_ms, sequence;
    int32_t priority;
    int scope;
    bool is_held;                            /* its own node says so now */
    uint64_t told, told_ns;                  /* a bit for each node that has told its loss; when the first did */
    uint64_t made_ns, lost_ns;
    struct net_ref lost_to;                  /* lost_ns != 0: told to its server */
};

struct net {
    unsigned count;
    struct net_node nodes[NET_NODES];
    struct net_wire *wires[NET_WIRES]; unsigned wire_top;    /* all below are there, used or not */
    unsigned free_wires[NET_WIRES], free_count;
    struct heap due;
    bool cut[NET_NODES][NET_NODES];          /* [from][to]; set it with net_cut or net_cut_way */
    bool is_refusing[NET_NODES];             /* dials to it are refused by its port */
    char alias[128]; int alias_node;         /* another address of a node */
    uint64_t now_ns, wall_ms, random, numbers, calls, dials[NET_NODES], messages[NET_NODES];
    uint64_t steps;
    uint32_t latency_us, jitter_us, capacity;                                /* capacity: of a registry, in names */
    unsigned up_pairs, turns;                /* (a, b) such that a sees b; ups and downs so far */
    unsigned faults;
    char fault[256];
    int (*drop)(struct net *net, int from, int to, uint8_t kind);            /* 1 = lose this message (a fault of ours, for gaps) */
    void (*tamper)(struct net *net, uint8_t *bytes, size_t len);             /* handshake messages on their way */
    const char *source;                      /* what accept is told; NULL = 127.0.0.1 */
    /* Raw ends: what came for the test. */
    uint8_t raw[4096]; size_t raw_len; int raw_closed; uint64_t raw_closed_ns;
    /* Schedules by hand: who goes next among the queues that are not empty; NULL = by time. */
    unsigned (*pick)(struct net *net, unsigned options);
    /* Strict: each event is held against the claims that were made, each registry against the events after each step. */
    bool is_strict, is_lossy, has_stalls, has_clock_jumps;   /* lossy: messages of the registry were dropped; stalls: cuts, stopped processes */
    struct net_claim *claims; unsigned claim_count, claim_room;
    uint64_t digest;                         /* of all that happened, to the byte */
    FILE *trace;                             /* tells what happens; NULL = nobody listens */
};

struct net *net_new(unsigned count, uint64_t seed);      /* one at a time; nodes are named app1 .. appN, not started */
void net_free(struct net *net);
uint64_t net_random(struct net *net);

void net_seed(struct net *net, int node, int seed);      /* before start: it knows that one */
void net_start(struct net *net, int node);               /* a new life */
void net_kill(struct net *net, int node);                /* SIGKILL of the whole node */
void net_vanish(struct net *net, int node);              /* its host dies: no FIN is ever sent */
void net_kill_link(struct net *net, int node);           /* SIGKILL of its link worker; net_respawn_link brings it back */
void net_respawn_link(struct net *net, int node);
void net_leave(struct net *net, int node);
void net_freeze(struct net *net, int node, bool is_frozen);
void net_cut(struct net *net, int a, int b, bool is_cut);                    /* both ways */
void net_cut_way(struct net *net, int from, int to, bool is_cut);
void net_reset(struct net *net, int a, int b);           /* their connections are reset: what was under way is lost */
void net_lose(struct net *net, int node, int other);        /* its connections to `other` break for it alone: no FIN, no RST */
bool net_has_link_worker(const struct net *net, int node);                   /* it runs, is not frozen, and has one */

bool net_step(struct net *net, uint64_t until_ns);       /* one event; false: nothing before `until` */
void net_run(struct net *net, uint64_t ms);
void net_run_ns(struct net *net, uint64_t ns);
bool net_run_until(struct net *net, uint64_t ms, bool (*is_done)(struct net *net));
bool net_all_up(struct net *net);                        /* all running nodes see each other, by one link each */
unsigned net_links(struct net *net, int a, int b);       /* open proved connections between them */
void net_fault(struct net *net, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct net_end *net_end_of(struct net *net, int node);   /* an end of this node that is open; NULL = none */

/* Requests of processes of a node. The answer is in last_*; returns the code of the answer, 0 = done. */
struct wire_ref net_ref(struct net *net, int node, uint16_t slot, uint64_t serial);
int net_register(struct net *net, int node, int scope, const char *name, uint64_t serial, int32_t priority);
int net_register_ref(struct net *net, int node, int scope, const char *name, const struct wire_ref *ref, int32_t priority);
int net_unregister(struct net *net, int node, int scope, const char *name);
int net_server_gone(struct net *net, int node, uint64_t serial);
void net_worker_generation(struct net *net, int node, uint16_t slot, uint32_t generation);
void net_worker_down(struct net *net, int node, uint16_t slot, uint32_t generation);      /* its link worker is told */
/* Node `by` asks node `at` to register a server of its own there. False: they have no link. */
bool net_register_for(struct net *net, int by, int at, const char *name, uint64_t serial, int32_t priority);
bool net_find(struct net *net, int node, int scope, const char *name, struct registry_entry *out);
/* The node (index) that owns a name as this node sees it; -1 = nobody. */
int net_owner(struct net *net, int node, const char *name);
bool net_equal(struct net *net);                         /* all running nodes have the same global names; registries pass their check */
bool net_books_match(struct net *net);                   /* what the events told is what the registry holds, on each running node */
bool net_claims_match(struct net *net);                  /* strict: all registries hold what their owners hold, and nothing else */
void net_claims_told(struct net *net);                   /* strict, after peace: each name lost was told on every node that could know */

struct nodes_entry net_entry(struct net *net, int node, int other);

/* A connection of the test itself to a node. */
uint64_t net_raw_open(struct net *net, int node, const char *source);        /* 0 = refused */
void net_raw_send(struct net *net, uint64_t number, const void *bytes, size_t len);
void net_raw_close(struct net *net, uint64_t number);

#endif
