/*
 * link_priv.h - what the files of this room share: the link worker and its connections.
 */
#ifndef NOEXD_LINK_LINK_PRIV_H
#define NOEXD_LINK_LINK_PRIV_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/table.h"
#include "link/link.h"
#include "wire/pieces.h"

struct event;
struct evdns_base;
struct evutil_addrinfo;
struct resolve;

enum {
    LINK_SLOTS = SLOT_WORKERS_MAX + 2,             /* workers, gate, link worker */
    LINK_SOFT = 8 << 20, LINK_HARD = 64 << 20,     /* bytes queued for one peer */
    LINK_STALL_S = 10,                             /* without acknowledged progress: the link closes */
    LINK_FRAME_S = 30,                             /* one frame must be whole by then */
    LINK_BATCH = 256 * 1024,                       /* sealed bytes above which messages wait in their streams for the socket */
    LINK_FLUSH = 1 << 20,                          /* written by one connection before others have their turn */
    LINK_READ = 256 * 1024, LINK_READS_PER_TURN = 4,
    LINK_CLOSE_MS = 1000,                          /* a closing connection has that long to write its last bytes */
    LINK_KEY_S = 24 * 3600,                        /* a new key at least that often, or after LINK_KEY_BYTES */
    LINK_LOGS_PER_S = 10, LINK_PONGS_PER_S = 10
};

#define LINK_KEY_BYTES (UINT64_C(1) << 40)

enum conn_state {
    CONN_RESOLVING, CONN_CONNECTING,               /* dialled */
    CONN_HANDSHAKE,                                /* bytes go to cluster/ */
    CONN_FRAMES,                                   /* proved: frames; messages of processes only while it is the way to its node */
    CONN_CLOSING,                                  /* writes what is queued; with a close frame it reads, and drops, until the peer has closed too */
    CONN_DEAD                                      /* reported and freed at the end of the turn */
};

/* A message that cannot go into the batch yet: too large for one frame, behind one that is, or the socket does not keep up. */
struct waiting { struct list link; struct envelope e; size_t at; uint16_t stream; uint8_t body[]; };

struct conn {
    struct list link;                              /* in link_worker.conns */
    struct link_worker *l;
    uint64_t id;
    enum conn_state state;
    int fd;
    struct event *read_event, *write_event;
    struct resolve *resolve;                       /* dialled: the question to the name servers, NULL = none is open */
    struct evutil_addrinfo *addresses, *address;   /* dialled: the answer, and the one to be tried next */
    int dial_error;                                /* dialled: errno of the last address that did not work */
    bool is_writing, is_dialled;
    bool is_delayed;                               /* closing: not before the timer, written or not */
    bool is_shut;                                  /* closing: all is written, the peer's end is awaited */
    bool has_close_frame;                          /* closing: the close frame is the end of `out`, or has left it */
    uint8_t close_frame;                           /* closing: to be put when the streams are empty; 0 = none */
    char peer[96];                                 /* for the log: node id dialled, or the source address */
    struct buf in, out;
    struct frame_sealer *sealer;
    struct frame_opener *opener;
    struct pieces_joiner *joiner;
    uint32_t node, session;                        /* node 0 = not the way to any node */
    struct list streams[LINK_SLOTS];               /* struct waiting, by sending process */
    size_t waiting_bytes;
    unsigned next_stream;
    enum nodes_reason close_reason;                /* what cluster_closed is told */
    struct loop_timer timer;                       /* connecting: give up; closing: close; else: progress */
    uint64_t acked_bytes, written_bytes, progress_at_ns, frame_since_ns, key_since_ns;
    uint64_t pong_second; uint32_t pongs;
    uint64_t messages_in, messages_out, bytes_in;
    uint64_t told_in, told_out, told_bytes_in, told_bytes_out;      /* as far as they stand in the node table */
};

struct link_worker {
    struct loop *loop;
    struct shm *shm;
    const struct conf *conf;
    struct mesh *mesh;
    struct cluster *cluster;
    struct stats *stats;
    struct evdns_base *dns;
    struct list conns;
    struct table *by_id;                           /* conn by id */
    struct conn **by_node;                         /* the way to each node, by index of the node table */
    uint32_t nodes_max;
    uint64_t next_id;
    int listen_fd, reserve_fd;
    struct event *accept_event;
    struct loop_timer accept_timer, tick_timer, stop_timer;
    struct log_gate accept_gate, drop_gate, close_gate, lost_gate;
    struct loop_hook report_hook, deaths_hook, flush_hook, tick_hook;
    uint32_t events[LINK_SLOTS];                   /* what each process subscribed to */
    uint32_t spawn_next;                           /* where the next spawn for any worker looks first */
    uint32_t dead[LINK_SLOTS]; unsigned dead_count;        /* generations of dead processes that the peers have not heard of yet; 0 = none */
    uint64_t skipped;                              /* messages of kinds from the future */
    struct buf scratch;
    bool is_stopping, is_freeing;
    uint64_t stop_deadline_ns;
    void (*stop_done)(void *arg);
    void *stop_arg;
};

static inline struct cluster_time
link_time(const struct link_worker *l)
{
    return (struct cluster_time){ .now_ns = loop_now_ns(l->loop), .wall_ms = clock_wall_ms() };
}

/* Index of a process in arrays of LINK_SLOTS; LINK_SLOTS = no such slot. */
static inline unsigned
link_slot_index(uint16_t slot)
{
    return slot < SLOT_WORKERS_MAX ? slot : slot == SLOT_GATE ? SLOT_WORKERS_MAX : slot == SLOT_LINK ? SLOT_WORKERS_MAX + 1 : LINK_SLOTS;
}

/* connection.c */
struct conn *connection_new(struct link_worker *l, int fd, bool is_dialled, const char *peer);      /* owns fd (may be -1); NULL: out of memory, fd closed */
void connection_free(struct conn *c);
struct conn *connection_find(struct link_worker *l, uint64_t id);
int  connection_watch(struct conn *c);                                                               /* its fd is connected, or connecting */
void connection_fail(struct conn *c, enum nodes_reason reason);                                      /* dead at the end of the turn */
void connection_protocol_error(struct conn *c, const char *text);                                    /* the same, with a log line, counted */
void connection_start_frames(struct conn *c, const uint8_t *send_key, const uint8_t *recv_key);
void connection_close(struct conn *c, int reason, uint32_t delay_ms);

/* outbox.c */
void connection_put_raw(struct conn *c, const uint8_t *bytes, size_t len);
/* One message into the batch of this turn. from_slot names the stream. NX_EBUSY: over the soft bound (requests and casts only); NX_ENODE: it is closing;
 * NX_ETOOBIG; NX_EBADMSG: not one for a peer; NX_ENOMEM. */
int  connection_put(struct conn *c, uint16_t from_slot, const struct envelope *e, const void *body);
int  connection_put_control(struct conn *c, enum frame_type type, const uint8_t *payload, size_t len);     /* otherwise the connection has failed */
void connection_flush(struct conn *c);
size_t connection_queued(const struct conn *c);
void connection_drop_waiting(struct conn *c);

/* dial.c */
uint64_t dial_start(struct link_worker *l, const struct node_id *to);
void dial_next(struct conn *c);                                                                /* connect to its next address; fails it if there is none */
void dial_forget(struct conn *c);                                                              /* question and answers; it is being freed */

/* accept.c */
int  accept_start(struct link_worker *l, struct base_error *why);
void accept_stop(struct link_worker *l);

/* forward.c */
void forward_from_pipe(void *arg, uint16_t from_slot, const struct envelope *e, const uint8_t *body);
/* One message of a data frame of the connection. 0, or NX_EBADMSG: close it. */
int  forward_from_peer(struct conn *c, const struct envelope *e, const uint8_t *body);
/* An answer of this process to a requester on this node (node 0: by the slot in the call id) or another. */
void forward_answer(struct link_worker *l, uint32_t node, uint32_t session, uint64_t call_id, uint8_t kind, const void *body, size_t len);

/* deaths.c */
void deaths_of_ours(struct link_worker *l, uint16_t slot, uint32_t generation);      /* tell the peers, when its names are gone */
void deaths_tell(struct link_worker *l, uint16_t slot);                              /* ... now: its successor is here */
bool deaths_turn(void *link_worker);                                                 /* the hook of the turn */
void deaths_of_theirs(struct conn *c, const struct envelope *e);                     /* KIND_WORKER_DOWN has come */

/* feed.c */
void feed_to_process(struct link_worker *l, uint16_t slot, const struct envelope *e, const void *body);     /* lost with a word in the log */
int  feed_start(struct link_worker *l, const struct link_config *config, struct base_error *why);

#endif
