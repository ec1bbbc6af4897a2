/*
 * node.h - a node for the tests of this room: a child process with a real control object, shared memory, routes, calls and pipes;
 * behind the pipes two workers and a link worker that answer as the tests want.
 *
 * What a worker does with a call: echoes its body, but for these strings: "hang" (never), "fail" (NX_EAPP 42), "garbage" (broken
 * bytes), "die" (its pipes close). A start: args "hang" and "fail" likewise, "late" is answered when it is taken back, else a
 * ref. The link worker registers in the real registry; the name "taken" belongs to another.
 */
#ifndef NOEXD_T_CONTROL_NODE_H
#define NOEXD_T_CONTROL_NODE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "noex/noex.h"

#define NODE_SELF "app1@127.0.0.1:4369"
#define NODE_PEER "app2@127.0.0.1:4370"
#define NODE_SELF_LIFE UINT64_C(0x1111111111111111)
#define NODE_PEER_LIFE UINT64_C(0x2222222222222222)
enum { NODE_MAX_BODY = 65536, NODE_WORKERS = 2, NODE_LISTED = 3 };

/* What happened in the child, seen from the test. */
struct node_seen {
    _Atomic uint32_t calls, casts, acks, cancels, subscribes, unsubscribes, gate_pending, gate_late, gate_bad, clients;
    _Atomic uint64_t spawns_initiated, spawns_ended;
};

struct node {
    int pid;
    int order_fd, done_fd;
    char path[108];
    struct node_seen *seen;
};

/* Orders: each is done when node_order returns. */
enum node_order {
    ORDER_SYNC = 's',                  /* nothing, but all that was begun before has run a turn */
    ORDER_PEER_DOWN = 'd', ORDER_PEER_UP = 'u',
    ORDER_PEER_WORKER_DIES = 'k',      /* worker 0 of the peer: name "far" is on it */
    ORDER_REGISTER = 'r',              /* the link worker registers global name "later" and tells subscribers */
    ORDER_OLD_EVENT = 'o',             /* it tells subscribers of a change that an earlier version had */
    ORDER_OTHER_EVENTS = 'e',          /* conflict, synced, name lost, unregistered */
    ORDER_LINK_DIES = 'l', ORDER_LINK_RETURNS = 'L',
    ORDER_LINK_SLEEPS = 'z',           /* it answers nothing any more */
    ORDER_WORKER_SLEEPS = 'w',         /* worker 1 lists nothing */
    ORDER_NO_WORKERS = 'n',
    ORDER_STOP = 'q'                   /* control_stop with 2 s; then the child ends */
};

void node_start(struct node *n);
void node_order(struct node *n, enum node_order order);
/* Stops it and asserts that it ended well (no leak, no sanitizer report). */
void node_finish(struct node *n);
void node_ref(uint16_t slot, uint64_t serial, bool on_peer, char out[static NX_REF_TEXT_MAX]);

#endif
