/*
 * nodes.h - the node table: every node this one knows, itself at index 0. Writer: the link worker (the master before the
 * fork, for index 0).
 *
 * An index stays with its node id for the life of this node; entries are never removed, so an index kept by another process
 * never names another node. Full = NX_EFULL.
 */
#ifndef NOEXD_SHM_NODES_H
#define NOEXD_SHM_NODES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "wire/node_id.h"

struct nodes;

enum nodes_state { NODES_UNKNOWN, NODES_CONNECTING, NODES_UP, NODES_DOWN };
enum nodes_reason {
    NODES_REASON_NONE, NODES_HEARTBEAT_TIMEOUT, NODES_CONNECTION_CLOSED, NODES_CONNECTION_REFUSED, NODES_GRACEFUL_SHUTDOWN,
};
const char *nodes_state_name(enum nodes_state state);       /* "unknown", "connecting", "up", "down" */
const char *nodes_reason_name(enum nodes_reason reason);    /* "", "heartbeat_timeout", "connection_closed", ... */

struct nodes_entry {
    struct node_id id;
    enum nodes_state state;
    enum nodes_reason reason;              /* of the last down, or why it is not reached */
    uint64_t incarnation;                  /* 0 = never seen */
    uint32_t session;                      /* session generation: +1 at each node-down */
    uint32_t servers;                      /* as told by its last heartbeat */
    uint64_t uptime_ms, last_heartbeat_ms, up_since_ms;      /* wall clock ms for the last two */
    uint64_t messages_sent, messages_received, bytes_sent, bytes_received;
};

/* Readers. */
uint32_t nodes_count(const struct nodes *n);                                    /* indexes 0 .. count-1 are in use */
int  nodes_get(const struct nodes *n, uint32_t index, struct nodes_entry *out); /* NX_ENODE: no such index; NX_EBUSY: ask again */
int  nodes_find(const struct nodes *n, const char *id, size_t len, uint32_t *index);      /* NX_ENODE; canonical text */
/* The hot path: is the node at index up with this incarnation? Gives the session to put into the envelope. 0 or NX_ENODE.
 * A wrong incarnation of a node that is up is NX_ENOSERVER: that life is over. Index 0: session 0. */
int  nodes_route(const struct nodes *n, uint32_t index, uint64_t incarnation, uint32_t *session);
const char *nodes_borrow_id(const struct nodes *n, uint32_t index);             /* text for the life of the process; NULL */

/* The writer. */
int  nodes_add(struct nodes *n, const struct node_id *id, uint32_t *index);     /* finds it if it is there; NX_EFULL */
void nodes_put(struct nodes *n, uint32_t index, const struct nodes_entry *e);   /* all but the id */

#endif
