/*
 * cluster.h - the thinking of the cluster, as pure state machines.
 *
 * Lives here: peers (peer.c: handshake, up, down), membership (membership.c: seeds, gossip, dialling and its back-off, one link per pair), heartbeats
 * (heartbeat.c), the registrar (registrar.c: sole writer of the registry), replication (replication.c: deltas, syncs, digests), the conflict rule
 * (conflict.c), bounds for strangers (guests.c).
 * Never here: sockets, the clock, the loop, bodies of users. Bytes, events and the time go in; bytes, events and the next deadline come out, so fifty nodes
 * run in one process under a virtual clock and network.
 * Runs in: the link worker, the simulator.
 *
 * What comes out of one input is to be carried out, in its order, before the next input: of two messages in one frame the first may bring `up`, and the
 * second then needs its session. The first message of the node with the smaller id on a link (its behavior table, sent by the cluster right after `up`)
 * is what tells the other side that this link is the chosen one, so nothing may be sent on a connection before `up`.
 *
 * A connection is a number. Inputs never call back into the caller except through struct cluster_out, and those callbacks must not call cluster_ functions: they
 * queue (link/ does that; so may a simulator).
 */
#ifndef NOEXD_CLUSTER_CLUSTER_H
#define NOEXD_CLUSTER_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "shm/behaviors.h"
#include "shm/board.h"
#include "shm/nodes.h"
#include "shm/registry.h"
#include "shm/stats.h"
#include "wire/envelope.h"
#include "wire/frame.h"
#include "wire/handshake.h"
#include "wire/node_id.h"

struct cluster;

enum { CLUSTER_SECRETS_MAX = 4, CLUSTER_SECRET_MAX = 256, CLUSTER_SOURCE_MAX = 64 };
struct cluster_secret { uint32_t id; uint8_t key[CLUSTER_SECRET_MAX]; size_t len; bool send; };

struct cluster_time { uint64_t now_ns; uint64_t wall_ms; };

/* What comes out. conn numbers: given by cluster_accepted, or returned by dial. */
struct cluster_out {
    /* Open a connection; its number, never 0; ends in cluster_connected or cluster_closed, later. 0 = cannot even try (descriptors): counts as failed. */
    uint64_t (*dial)(void *arg, const struct node_id *to);
    void (*send_bytes)(void *arg, uint64_t conn, const uint8_t *bytes, size_t len);                 /* handshake, in clear */
    /* Proved: from here on the connection carries frames, signed with these keys. Not yet in use for messages until `up`. */
    void (*proved)(void *arg, uint64_t conn, const uint8_t send_key[static FRAME_KEY], const uint8_t recv_key[static FRAME_KEY]);
    /* Close after what is queued and a delay; reason 0 = without a close frame. cluster_closed still comes for it, unless `forget`. */
    void (*close)(void *arg, uint64_t conn, int reason, uint32_t delay_ms);
    /* The connection is the way to node (index of the node table) in this session; messages may flow both ways. */
    void (*up)(void *arg, uint64_t conn, uint32_t node, uint32_t session, bool is_news);            /* is_news: the node was down before: tell all processes */
    /* The node is down: fail whatever waits for this session and older ones; tell all processes. */
    void (*down)(void *arg, uint32_t node, uint32_t session, enum nodes_reason reason);
    void (*send)(void *arg, uint64_t conn, uint8_t kind, const void *body, size_t len);             /* a system message to the peer's link worker */
    /* A registry event (body of KIND_REGISTRY_EVENT) for processes that subscribed; to_slot SLOT_ANY = all of them, else only that worker (name lost; serial
     * says which server). */
    void (*registry_event)(void *arg, uint16_t to_slot, uint64_t serial, const void *body, size_t len);
    /* The end of a request (register, unregister, server gone): kind KIND_REPLY or KIND_ERROR, to the requester. */
    void (*answer)(void *arg, uint32_t node, uint32_t session, uint64_t call_id, uint8_t kind, const void *body, size_t len);
};

struct cluster_config {
    struct node_id self;
    const char *cluster;                   /* name; borrowed */
    uint64_t incarnation, started_ns;
    struct cluster_secret secrets[CLUSTER_SECRETS_MAX]; size_t secret_count;
    const struct node_id *seeds; size_t seed_count;          /* copied */
    uint32_t heartbeat_ms, heartbeat_misses, reconnect_min_ms, reconnect_max_ms, handshake_ms;
    uint32_t max_guests, max_guests_per_source;              /* unproved connections: 64, 16; sources on loopback are trusted */
    uint32_t gossip_every;                                    /* every n-th heartbeat is full: 5 */
    struct nodes *nodes; struct registry *registry; struct behaviors *behaviors; struct board *board;
    struct stats *stats;                                      /* of the link worker */
    uint32_t (*servers)(void *arg);                           /* live servers of this node, for heartbeats */
    int (*random)(void *arg, void *bytes, size_t len);        /* NULL = random_bytes; a simulator gives its own */
    struct cluster_out out;
    void *arg;
};

/* Takes the writer's role of registry and node table: also after the death of a predecessor. Its sessions are ended here (state, session + 1: readers see
 * no remote entry any more); `down` for them comes with the first tick, and the entries are swept with their events by the following ones. The
 * first tick is due at once and dials all known nodes. Nothing comes out of cluster_new itself. */
int  cluster_new(const struct cluster_config *config, struct cluster_time t, struct cluster **out, struct base_error *why);
void cluster_free(struct cluster **c);

/* The next moment when cluster_tick wants to be called; 0 = none. Ask after each input. */
uint64_t cluster_next(const struct cluster *c);
void cluster_tick(struct cluster *c, struct cluster_time t);

/* Connections. source: the peer's address without port, for bounds. accepted: 0, or NX_EBUSY = refuse it (close at once). */
int  cluster_accepted(struct cluster *c, struct cluster_time t, uint64_t conn, const char *source);
void cluster_connected(struct cluster *c, struct cluster_time t, uint64_t conn);
/* Bytes before `proved`. Returns how many were taken; the rest waits for more, or (after proved) is frames. */
size_t cluster_bytes(struct cluster *c, struct cluster_time t, uint64_t conn, const uint8_t *bytes, size_t len);
/* A connection has ended. reason: NODES_CONNECTION_CLOSED, NODES_CONNECTION_REFUSED (a dial that failed), NODES_GRACEFUL_SHUTDOWN (its close frame said so). */
void cluster_closed(struct cluster *c, struct cluster_time t, uint64_t conn, enum nodes_reason reason);
/* A signed close frame has arrived. */
void cluster_close_frame(struct cluster *c, struct cluster_time t, uint64_t conn, uint8_t reason);
/* Any whole valid frame: a sign of life. Cheap; call it for each batch read. */
void cluster_alive(struct cluster *c, struct cluster_time t, uint64_t conn);
/* A frame with messages was sent: it replaces the next light heartbeat. */
void cluster_sent(struct cluster *c, struct cluster_time t, uint64_t conn);
/* A system message from a peer: kinds 7, 8, 9, 21 and 17, 18 (call_id says what to answer). NX_EBADMSG: close the connection (done by the cluster itself). */
int  cluster_message(struct cluster *c, struct cluster_time t, uint64_t conn, const struct envelope *e, const uint8_t *body);

/* From processes of this node: register, unregister, server gone. Answered through out.answer with node 0. */
void cluster_request(struct cluster *c, struct cluster_time t, uint16_t from_slot, const struct envelope *e, const uint8_t *body);
/* A worker has died, or come back: its names are swept (in batches, by tick). */
void cluster_worker_down(struct cluster *c, struct cluster_time t, uint16_t slot, uint32_t generation);
/* Are there names of the dead left to be swept? If not, their removal has gone out to the peers. */
bool cluster_is_sweeping(const struct cluster *c);

/* Leave in order: close frames (shutdown) to all peers. */
void cluster_leave(struct cluster *c, struct cluster_time t);

/* The conflict rule, for anyone who wants to test it: < 0 = a wins, > 0 = b wins, 0 = the same. Earlier timestamp, higher priority, smaller node id,
 * smaller incarnation, smaller serial: a total order. */
struct cluster_claim { uint64_t registered_at_ms; int32_t priority; const char *node; uint64_t incarnation, serial; };
int cluster_claim_compare(const struct cluster_claim *a, const struct cluster_claim *b);

#endif
