/*
 * cluster_priv.h - what the files of this room share: the cluster, peers, connections, claims, timers.
 *
 * Does not leave the folder. Everything here is owned by one struct cluster and touched only from its inputs. Orders are those of lists and
 * of the node table, never of addresses or of hash tables, so that a run replays to the byte.
 */
#ifndef NOEXD_CLUSTER_CLUSTER_PRIV_H
#define NOEXD_CLUSTER_CLUSTER_PRIV_H

#include "base/base.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/log.h"
#include "base/table.h"
#include "cluster/cluster.h"
#include "shm/registry_writer.h"
#include "wire/ref.h"
#include "wire/system.h"

struct cluster;
struct peer;
struct conn;
struct claim;

/* ---------------------------------------------------------------- timers (cluster.c) */

/* Always in the heap, at TIMER_NEVER when idle: arming one can therefore not run out of memory. */
struct timer { struct heap_node node; void (*fire)(struct cluster *c, struct timer *t); };

#define TIMER_NEVER UINT64_MAX

int  timer_init(struct cluster *c, struct timer *t, void (*fire)(struct cluster *c, struct timer *t));       /* NX_ENOMEM */
void timer_fini(struct cluster *c, struct timer *t);
void timer_arm(struct cluster *c, struct timer *t, uint64_t at_ns);
static inline void timer_stop(struct cluster *c, struct timer *t) { timer_arm(c, t, TIMER_NEVER); }

/* ---------------------------------------------------------------- strangers (guests.c) */

enum { GUEST_REASONS = 4 };

struct source {
    struct list all;                         /* of guests.sources, least recently used first */
    char text[CLUSTER_SOURCE_MAX];
    bool is_trusted;                         /* loopback */
    uint32_t unproved, proved;               /* connections from there that are open now */
    uint32_t penalty_ms;                     /* of the last bad proof; 0 = none */
    uint64_t penalty_until_ns;
    struct { uint64_t reason, quiet_until_ns; } said[GUEST_REASONS];     /* in the log: the hash of the text, not to be said again until then */
    uint32_t held;                           /* log lines held back */
};
struct guests { struct list sources; struct strtable *by_text; uint32_t count, unproved; };

int  guests_init(struct guests *g);
void guests_fini(struct guests *g);
int  guests_enter(struct cluster *c, const char *source, struct source **out);      /* NX_EBUSY, NX_ENOMEM */
void guests_prove(struct cluster *c, struct source *s);                             /* it is a member now */
void guests_leave(struct cluster *c, struct source *s, bool was_proved);
void guests_punish(struct cluster *c, struct source *s);                            /* a wrong proof */
void guests_log(struct cluster *c, struct source *s, const char *text);

/* ---------------------------------------------------------------- connections (conn.c) */

enum conn_state {
    CONN_DIALING,                            /* we dialled; not connected yet */
    CONN_WANT_CHALLENGE, CONN_WANT_PROOF_A,  /* we dialled; H1 sent, H3 sent */
    CONN_WANT_HELLO, CONN_WANT_PROOF_I,      /* accepted; nothing yet, H2 sent */
    CONN_PROVED,                             /* keys agreed; not chosen yet */
    CONN_UP,                                 /* the way to its peer */
    CONN_ENDING,                             /* we have asked for its end */
    CONN_STATES
};
enum conn_event { CONN_CONNECTED, CONN_MESSAGE, CONN_LEAD, CONN_DEADLINE, CONN_LOST, CONN_EVENTS };

enum { H1_ROOM = 368, H2_ROOM = 344 };

struct conn {
    uint64_t number;
    enum conn_state state;
    struct list all;                         /* of cluster.conns */
    struct list waiting;                     /* of peer.waiting while proved */
    struct peer *dialed;                     /* whom we dialled, NULL = accepted */
    struct peer *peer;                       /* who it proved to be */
    struct source *source;                   /* accepted: from where */
    struct node_id claimed;                  /* who it says it is */
    uint64_t incarnation, proved_ns;
    int64_t skew_ms;
    enum nodes_reason lost_reason;           /* of the event CONN_LOST */
    bool is_close_asked;                     /* once is enough, also when we leave and it is up until it has closed */
    struct timer deadline;
    uint32_t secret;                         /* index of the chosen one */
    uint8_t nonce[HS_NONCE];
    uint16_t h1_len, h2_len;
    uint8_t h1[H1_ROOM], h2[H2_ROOM];
    const uint8_t *message; size_t message_len;      /* of the event CONN_MESSAGE, borrowed */
};

struct conn *conn_find(const struct cluster *c, uint64_t number);
int  conn_new(struct cluster *c, uint64_t number, struct conn **out);
void conn_free(struct cluster *c, struct conn *conn);
void conn_step(struct cluster *c, struct conn *conn, enum conn_event event);
void conn_end(struct cluster *c, struct conn *conn, int close_reason, uint32_t delay_ms);
size_t conn_bytes(struct cluster *c, struct conn *conn, const uint8_t *bytes, size_t len);

/* ---------------------------------------------------------------- peers (peer.c, membership.c, heartbeat.c) */

enum replica_state { REPLICA_NONE, REPLICA_AWAITED, REPLICA_PAGES, REPLICA_READY };

struct peer {
    uint32_t index;                          /* in the node table, and in cluster.peers */
    struct node_id id;
    bool is_self;                            /* an address that leads back to this node */
    struct peer *alias_of;                   /* the node that answered at this address last, if another */

    /* The link (peer.c). Invariant: is_up == (up != NULL); all of `waiting` have one incarnation. */
    bool is_up, is_down_untold;              /* untold: it was up under our predecessor */
    uint64_t incarnation;                    /* of the last session */
    uint32_t session;
    struct conn *up, *dial;
    struct list waiting; uint32_t waiting_count;
    struct timer choice;
    enum nodes_state state; enum nodes_reason reason;
    uint64_t up_since_ns, up_since_wall_ms;

    /* Dialling (membership.c) */
    struct timer redial;
    uint32_t backoff_ms;

    /* Signs of life (heartbeat.c) */
    struct timer silence;
    uint64_t alive_ns, sent_ns;
    uint64_t last_heartbeat_wall_ms, uptime_ms;
    uint32_t servers, beats;
    bool is_full_due;
    uint8_t warned[SYS_BEHAVIORS_MAX / 8];   /* behaviors whose difference was logged, by own index */

    /* Its names here (replication.c) */
    struct list claims; uint32_t claim_count;       /* not condemned ones */
    enum replica_state replica;
    uint64_t in_sequence, in_digest;
    uint32_t in_page, in_round, round_count;         /* round_count: of its claims, those that this round or a delta since has named */
    bool is_synced_told, is_over_limit;
    uint64_t asked_ns;

    /* Our names there */
    bool gets_deltas, is_sync_running, is_sync_wanted;
    struct list *out_at, *out_loss; uint64_t out_until;       /* next in cluster.own; in cluster.own_losses, NULL = not there yet */
    uint32_t out_page;
    uint64_t sync_started_ns;
    struct timer sync;
};

struct peer *peer_learn(struct cluster *c, const struct node_id *id);                /* NULL: no room, or ourselves */
struct peer *peer_find(const struct cluster *c, const char *id, size_t len);
int  peer_new(struct cluster *c, uint32_t index, struct peer **out);
void peer_free(struct cluster *c, struct peer *p);
void peer_proved(struct cluster *c, struct conn *conn);
void peer_lead(struct cluster *c, struct conn *conn);
void peer_choose(struct cluster *c, struct peer *p);
void peer_unwait(struct cluster *c, struct conn *conn);
void peer_down(struct cluster *c, struct peer *p, enum nodes_reason reason);
void peer_cut(struct cluster *c, struct peer *p, enum nodes_reason reason, int close_reason);
void peer_heard(struct cluster *c, struct peer *p);
void peer_tell_takeover(struct cluster *c, struct peer *p);
void peer_publish(struct cluster *c, struct peer *p);                                /* into the node table */
bool peer_is_ours_to_choose(const struct cluster *c, const struct peer *p);
void peer_send(struct cluster *c, struct peer *p, uint8_t kind, const struct buf *body);

void membership_start(struct cluster *c);
void membership_dial_ended(struct cluster *c, struct conn *conn, enum nodes_reason reason, const char *what);
void membership_forget_dial(struct cluster *c, struct peer *p);
void membership_after_down(struct cluster *c, struct peer *p);
void membership_gossip(struct cluster *c, struct peer *from, const struct sys_heartbeat *h);
void membership_redial(struct cluster *c, struct timer *t);

int  heartbeat_start(struct cluster *c);
void heartbeat_check_late(struct cluster *c);
void heartbeat_peer_up(struct cluster *c, struct peer *p);
void heartbeat_send(struct cluster *c, struct peer *p, bool is_full);
int  heartbeat_take(struct cluster *c, struct peer *p, const uint8_t *body, size_t len, struct base_error *why);
void heartbeat_silence(struct cluster *c, struct timer *t);
enum { BEHAVIORS_BATCH = 128 };
void behaviors_send(struct cluster *c, struct peer *p);
int  behaviors_take(struct cluster *c, struct peer *p, const uint8_t *body, size_t len, struct base_error *why);

/* ---------------------------------------------------------------- claims (claims.c, conflict.c) */

/* One name in one scope, and who says it is his. Invariant: the holder, if any, is one of the claims; its entry stands in shared memory
 * unless the name is in cluster.overflow. Any node has at most one claim to a name. */
struct name {
    struct list claims;
    struct claim *holder;
    struct list overflow;
    uint8_t scope, len;
    char text[];
};

struct claim {
    struct list of_name, of_node, of_server; /* of_node: own ones in cluster.own, in order of their sequence */
    struct list sweep;                       /* in cluster.sweep = condemned: dead, to be dropped with its event */
    struct name *name;
    uint32_t node, generation, round;        /* round: of the sync that told of it last */
    uint64_t incarnation, serial, registered_at_ms, sequence, hash;
    int32_t priority;
    uint16_t slot;
};

struct server { struct list claims; };       /* of this node, with at least one name */

/* A claim that has lost its name to another node: told once, remembered for a while. Own ones go into syncs, so that a peer that was
 * away when it was lost hears of the conflict too. */
struct loss {
    struct list all, own;
    uint64_t key, expires_ns, removal_sequence;
    struct claim claim;                      /* name pointer unused */
    bool is_told; struct loss *next_unsettled;       /* not told: of the same name, in cluster.unsettled */
    uint8_t len; char text[];
};

struct name *name_find(const struct cluster *c, enum registry_scope scope, const char *text, size_t len);
int  name_get(struct cluster *c, enum registry_scope scope, const char *text, size_t len, struct name **out);
void name_purge(struct cluster *c, struct name *name);         /* drop its dead claims now, with events; the name itself stays */
void name_tidy(struct cluster *c, struct name *name);          /* free it if nobody claims it */
struct claim *name_claim_of(const struct name *name, uint32_t node);
struct claim *name_best(const struct cluster *c, const struct name *name);
int  name_hold(struct cluster *c, struct name *name, struct claim *holder);          /* commit; NX_EFULL: only a foreign one is kept */
int  claim_new(struct cluster *c, struct name *name, const struct claim *from, struct claim **out);
void claim_unlink(struct cluster *c, struct claim *claim);     /* out of all lists and digests, and freed */
void claim_drop(struct cluster *c, struct claim *claim);       /* its end: commit, events, delta if it is ours */
void claim_condemn(struct cluster *c, struct claim *claim);
bool claim_is_dead(const struct cluster *c, const struct claim *claim);
uint64_t claim_hash(const struct claim *claim, const char *text, size_t len);
void claims_sweep(struct cluster *c, struct timer *t);
void claims_sweep_peer(struct cluster *c, struct peer *p);
struct server *claims_server(const struct cluster *c, uint16_t slot, uint32_t generation, uint64_t serial);

void event_name(struct cluster *c, int kind, const struct name *name, const struct claim *ref, const struct claim *other);
void event_own(struct cluster *c, int kind, const struct name *name, const struct claim *own, const struct claim *ref);
void event_synced(struct cluster *c, const struct peer *p);

int  conflict_order(const struct cluster *c, const struct claim *a, const struct claim *b);
void conflict_settle(struct cluster *c, struct name *name, struct claim *fresh);
bool conflict_tell(struct cluster *c, const struct name *name, const struct claim *winner, const struct claim *loser);
void conflict_lost(struct cluster *c, const char *text, size_t len, const struct claim *lost);
void conflict_settle_known(struct cluster *c, const struct name *name);
void conflict_forget(struct cluster *c, const struct claim *claim);
void conflict_expire(struct cluster *c);
void conflict_fini(struct cluster *c);

/* ---------------------------------------------------------------- registrar.c, replication.c */

int  registrar_start(struct cluster *c, struct base_error *why);
void registrar_request(struct cluster *c, struct peer *from, uint16_t from_slot, const struct envelope *e, const uint8_t *body);
void registrar_worker_down(struct cluster *c, uint16_t slot, uint32_t generation);

enum { CHANGES_MAX = 256, PAGE_BYTES = 58 * 1024 };
struct change { struct sys_entry entry; char name[256]; };

void replication_add(struct cluster *c, const struct claim *claim, bool is_removal, uint64_t sequence);
void replication_add_lost(struct cluster *c, const struct claim *claim, uint64_t removal_sequence);
void replication_flush(struct cluster *c);
void replication_peer_up(struct cluster *c, struct peer *p);
void replication_peer_down(struct cluster *c, struct peer *p);
void replication_before_unlink(struct cluster *c, struct claim *claim);
void replication_loss_gone(struct cluster *c, struct loss *loss);
void replication_page(struct cluster *c, struct timer *t);
void replication_check(struct cluster *c, struct peer *p, const struct sys_heartbeat *h);
int  replication_take(struct cluster *c, struct peer *p, uint8_t kind, const uint8_t *body, size_t len, struct base_error *why);

/* ---------------------------------------------------------------- the whole */

struct cluster {
    struct cluster_config config;
    struct node_id *seeds;
    uint8_t tag[8];
    uint64_t now_ns, wall_ms;                /* of the input in progress */
    uint64_t born_wall_ms;                   /* when this life of the node began */
    uint64_t interval_ns;
    bool is_leaving;

    struct heap timers;
    struct table *conns_by_number;
    struct list conns;
    struct guests guests;
    struct log_gate log_gate;

    struct peer **peers; uint32_t peer_count, peer_cap;      /* by node index; [0] = NULL, ourselves */
    uint32_t up_count, dials, gossip_from;
    struct timer beat; uint64_t beat_ns;     /* when it is due */
    uint64_t grace_until_ns;
    struct timer takeover;                   /* tells of the nodes that were up when the predecessor died */
    uint64_t behaviors_print;
    struct sys_behavior *behavior_list;      /* room for SYS_BEHAVIORS_MAX */
    struct behaviors_entry *behavior_entries;        /* room for BEHAVIORS_BATCH */

    struct registry_writer *writer;
    struct strtable *names, *servers;
    struct list own;                         /* own global claims by sequence */
    struct list own_local;
    uint32_t own_count;
    uint64_t own_digest;
    struct list sweep;                       /* condemned claims */
    struct list overflow;                    /* names whose holder did not fit */
    struct timer sweeper;
    struct table *losses_by_key;
    struct strtable *unsettled;
    struct list losses, own_losses;
    uint32_t loss_count;
    uint32_t full_warned;                    /* percent at which the last warning was given */
    struct change *changes; uint32_t change_count; size_t change_bytes;

    struct buf body;                         /* scratch of one message */
};

void cluster_enter(struct cluster *c, struct cluster_time t);                         /* around every input */
void cluster_done(struct cluster *c);
uint64_t cluster_after_ms(const struct cluster *c, uint64_t ms);
int  cluster_random(struct cluster *c, void *bytes, size_t len);
uint32_t cluster_pick(struct cluster *c, uint32_t below);                            /* 0 .. below - 1 */
uint32_t cluster_jitter(struct cluster *c, uint32_t value, uint32_t percent);
void cluster_count_bad(struct cluster *c);
static inline struct peer *cluster_peer(const struct cluster *c, uint32_t node) { return node < c->peer_count ? c->peers[node] : NULL; }

/* All peers by index; skips ourselves. */
#define peers_each(p, c) \
    for (uint32_t p##_i = 1; p##_i < (c)->peer_count; p##_i++) \
        for (struct peer *p = (c)->peers[p##_i]; p != NULL; p = NULL)

#endif
