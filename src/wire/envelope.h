/*
 * envelope.h - the envelope of every message: in a mailbox, on a pipe, inside a signed frame.
 *
 * On the wire it is the 32-byte routing header (big-endian, wire.md section 2) followed by the body. On a pipe the same is
 * preceded by 16 bytes in native order: node index 4, session generation 4, absolute deadline ns 8. In memory it is this struct.
 */
#ifndef NOEXD_WIRE_ENVELOPE_H
#define NOEXD_WIRE_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum envelope_kind {
    KIND_CALL = 1, KIND_CAST = 2, KIND_REPLY = 3, KIND_ERROR = 4, KIND_SPAWN = 5, KIND_SPAWN_REPLY = 6, KIND_REGISTRY_DELTA = 7,
    KIND_REGISTRY_SYNC = 8, KIND_HEARTBEAT = 9, KIND_MONITOR = 10, KIND_MONITOR_EVENT = 11, KIND_DEMONITOR = 12, KIND_STOP = 13,
    KIND_LINK = 14, KIND_UNLINK = 15, KIND_EXIT = 16, KIND_REGISTER = 17, KIND_UNREGISTER = 18, KIND_SPAWN_ACK = 19,
    KIND_SPAWN_CANCEL = 20, KIND_BEHAVIORS = 21,
    KIND_WIRE_END = 22,                   /* 22-63 never valid */
    KIND_PIPE_BEGIN = 64,                 /* 64-127: inside a node only; from a peer: close */
    KIND_NODE_EVENT = 64,                 /* link worker -> everyone: a node went up or down (session generation in the prefix) */
    KIND_REGISTRY_EVENT = 65,             /* link worker -> subscribers */
    KIND_SUBSCRIBE = 66,                  /* worker, gate -> link worker */
    KIND_DEADLOCK_PROBE = 67,             /* worker -> worker */
    KIND_LIST = 68,                       /* gate -> worker: a call for its servers; answered with KIND_REPLY */
    KIND_SERVER_GONE = 69,                /* worker -> link worker: a server that owned names has ended; answered with KIND_REPLY */
    KIND_OWNER_READY = 70,                /* link worker -> everyone: a new registry owner has taken over: subscribe again */
    KIND_LINK_STATUS = 71,                /* gate -> link worker: a call for per-peer figures; answered with KIND_REPLY */
    KIND_REMOTE_DOWN = 72,                /* link worker -> everyone: KIND_WORKER_DOWN of a peer has come; the same fields, node and session in the prefix */
    KIND_PIPE_END = 73,
    KIND_SKIP_BEGIN = 128,                /* 128 and above: from a peer, counted and skipped by who does not know them */
    KIND_WORKER_DOWN = 128                /* link worker -> peers: the worker (or gate) in `slot`, of life `generation`, is dead. Empty body, serial and call id
                                           * 0. Behind all that it said, and behind the end of its global names. Nobody needs to know it: who does not waits
                                           * for the deadline of a call and for the node's end with a monitor */
};

enum { ENVELOPE_MORE = 1, ENVELOPE_PIECE = 2, ENVELOPE_FLAGS = 3 };

enum { SLOT_LINK = 0xFFFE, SLOT_ANY = 0xFFFD, SLOT_GATE = 0xFFFC, SLOT_WORKERS_MAX = 64 };

enum { WIRE_HEADER = 32, WIRE_PREFIX = 16, WIRE_PIPE_HEADER = WIRE_HEADER + WIRE_PREFIX, WIRE_PIECE_MAX = 65536, WIRE_PIECE_PREFIX = 4 };

struct envelope {
    uint32_t node;                        /* the other node, index in the node table; 0 = this node */
    uint32_t session;                     /* session generation with that node; 0 for this node */
    uint64_t deadline_ns;                 /* monotonic; 0 = none. On the wire only remaining_ms travels */
    uint32_t body_len;
    uint8_t  kind, flags;
    uint16_t slot;                        /* destination */
    uint64_t serial;                      /* destination server */
    uint64_t call_id;
    uint32_t remaining_ms;                /* wire only */
    uint32_t generation;                  /* destination worker generation */
};

/* The slot of the caller is the top 16 bits of a call id. */
static inline uint16_t envelope_caller_slot(uint64_t call_id) { return (uint16_t)(call_id >> 48); }

void envelope_encode(const struct envelope *e, uint8_t out[static WIRE_HEADER]);
void envelope_decode(const uint8_t in[static WIRE_HEADER], struct envelope *out);          /* node, session, deadline_ns = 0 */
void envelope_encode_pipe(const struct envelope *e, uint8_t out[static WIRE_PIPE_HEADER]); /* prefix, then header */
void envelope_decode_pipe(const uint8_t in[static WIRE_PIPE_HEADER], struct envelope *out);

bool envelope_kind_from_peer(uint8_t kind);      /* those known: 1-21, 128 */
bool envelope_kind_from_worker(uint8_t kind);    /* from a worker's or the gate's pipe: 1-6, 10-20, 66-69, 71 */
bool envelope_is_request(uint8_t kind);          /* expects a reply under its call id: call, spawn, stop, register, unregister, list, ... */
bool envelope_is_answer(uint8_t kind);           /* reply, error, spawn reply: ends a pending call */

#endif
