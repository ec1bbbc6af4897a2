/*
 * nodes.c - the node table: every node this one knows, itself at index 0.
 *
 * Lives here: the body of an entry, and the short way that each message to another node takes (nodes_route).
 * Never here: who is up: cluster decides that; addresses and connections.
 * Runs in: every process; the link worker writes, the master before the fork.
 */
#include "shm/nodes.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "shm/catalog.h"
#include "shm/shm_priv.h"

struct nodes { struct catalog catalog; };

/* The first three words are all that nodes_route() reads. */
enum {
    NODES_W_STATE,                         /* state 8, reason 8 */
    NODES_W_INCARNATION,
    NODES_W_SESSION,                       /* session 32, servers 32 */
    NODES_W_UPTIME, NODES_W_HEARTBEAT, NODES_W_UP_SINCE,
    NODES_W_MESSAGES_SENT, NODES_W_MESSAGES_RECEIVED, NODES_W_BYTES_SENT, NODES_W_BYTES_RECEIVED,
    NODES_WORDS = 16,
};
_Static_assert(NODES_W_BYTES_RECEIVED < NODES_WORDS, "a body is two cache lines");

enum { NODES_KEY_BYTES = 512 };
_Static_assert(sizeof(struct node_id) <= NODES_KEY_BYTES && offsetof(struct node_id, text) == 0, "the key is the id, its text first");

const char *
nodes_state_name(enum nodes_state state)
{
    static const char *const names[] = { "unknown", "connecting", "up", "down" };
    return (unsigned)state < BASE_COUNT(names) ? names[state] : names[NODES_UNKNOWN];
}

const char *
nodes_reason_name(enum nodes_reason reason)
{
    static const char *const names[] = { "", "heartbeat_timeout", "connection_closed", "connection_refused", "graceful_shutdown" };
    return (unsigned)reason < BASE_COUNT(names) ? names[reason] : names[NODES_REASON_NONE];
}

size_t
nodes_size(uint32_t capacity)
{
    return catalog_size(capacity, NODES_KEY_BYTES, NODES_WORDS);
}

int
nodes_new(void *at, uint32_t capacity, uint64_t hash_key, struct nodes **out)
{
    struct nodes *n = malloc(sizeof *n);
    if (n == NULL)
        return NX_ENOMEM;
    catalog_open(&n->catalog, at, capacity, NODES_KEY_BYTES, NODES_WORDS, hash_key);
    *out = n;
    return 0;
}

void
nodes_free(struct nodes **n)
{
    free(*n);
    *n = NULL;
}

uint32_t
nodes_count(const struct nodes *n)
{
    return catalog_count(&n->catalog);
}

static void
nodes_pack(const struct nodes_entry *e, uint64_t words[static NODES_WORDS])
{
    memset(words, 0, NODES_WORDS * sizeof words[0]);
    words[NODES_W_STATE] = ((uint64_t)e->state & 0xff) | ((uint64_t)e->reason & 0xff) << 8;
    words[NODES_W_INCARNATION] = e->incarnation;
    words[NODES_W_SESSION] = e->session | (uint64_t)e->servers << 32;
    words[NODES_W_UPTIME] = e->uptime_ms;
    words[NODES_W_HEARTBEAT] = e->last_heartbeat_ms;
    words[NODES_W_UP_SINCE] = e->up_since_ms;
    words[NODES_W_MESSAGES_SENT] = e->messages_sent;
    words[NODES_W_MESSAGES_RECEIVED] = e->messages_received;
    words[NODES_W_BYTES_SENT] = e->bytes_sent;
    words[NODES_W_BYTES_RECEIVED] = e->bytes_received;
}

static void
nodes_unpack(const uint64_t words[static NODES_WORDS], struct nodes_entry *e)
{
    e->state = (enum nodes_state)(words[NODES_W_STATE] & 0xff);
    e->reason = (enum nodes_reason)(words[NODES_W_STATE] >> 8 & 0xff);
    e->incarnation = words[NODES_W_INCARNATION];
    e->session = (uint32_t)words[NODES_W_SESSION];
    e->servers = (uint32_t)(words[NODES_W_SESSION] >> 32);
    e->uptime_ms = words[NODES_W_UPTIME];
    e->last_heartbeat_ms = words[NODES_W_HEARTBEAT];
    e->up_since_ms = words[NODES_W_UP_SINCE];
    e->messages_sent = words[NODES_W_MESSAGES_SENT];
    e->messages_received = words[NODES_W_MESSAGES_RECEIVED];
    e->bytes_sent = words[NODES_W_BYTES_SENT];
    e->bytes_received = words[NODES_W_BYTES_RECEIVED];
}

int
nodes_get(const struct nodes *n, uint32_t index, struct nodes_entry *out)
{
    const struct node_id *id = catalog_borrow_key(&n->catalog, index);
    if (id == NULL)
        return NX_ENODE;
    uint64_t words[NODES_WORDS];
    int err = catalog_read(&n->catalog, index, words);
    if (err != 0)
        return err;
    out->id = *id;
    nodes_unpack(words, out);
    return 0;
}

int
nodes_find(const struct nodes *n, const char *id, size_t len, uint32_t *index)
{
    return catalog_find(&n->catalog, id, len, index) == 0 ? 0 : NX_ENODE;
}

int
nodes_route(const struct nodes *n, uint32_t index, uint64_t incarnation, uint32_t *session)
{
    if (index >= catalog_count(&n->catalog))
        return NX_ENODE;
    const latch_word *bodies;
    const struct latch *latch = catalog_latch(&n->catalog, index, &bodies);
    for (int try = 0; try < LATCH_TRIES; try++) {
        uint64_t seen = latch_begin(latch);
        const latch_word *body = bodies + latch_body(seen, NODES_WORDS);
        uint64_t state = latch_load(&body[NODES_W_STATE]) & 0xff;
        uint64_t life = latch_load(&body[NODES_W_INCARNATION]);
        uint32_t generation = (uint32_t)latch_load(&body[NODES_W_SESSION]);
        if (!latch_is_same(latch, seen))
            continue;
        if (state != NODES_UP)
            return NX_ENODE;
        if (life != incarnation)
            return NX_ENOSERVER;
        *session = index == 0 ? 0 : generation;
        return 0;
    }
    return NX_ENODE;            /* three commits in three reads: the node comes and goes; a sender is better off with "not reachable" */
}

const char *
nodes_borrow_id(const struct nodes *n, uint32_t index)
{
    const struct node_id *id = catalog_borrow_key(&n->catalog, index);
    return id != NULL ? id->text : NULL;
}

int
nodes_add(struct nodes *n, const struct node_id *id, uint32_t *index)
{
    size_t len = strnlen(id->text, sizeof id->text);
    if (len == 0 || len == sizeof id->text)
        return NX_EINVAL;
    if (catalog_find(&n->catalog, id->text, len, index) == 0)
        return 0;
    static const struct nodes_entry fresh = { .state = NODES_UNKNOWN };
    uint64_t words[NODES_WORDS];
    nodes_pack(&fresh, words);
    return catalog_add(&n->catalog, id, sizeof *id, words, index);
}

void
nodes_put(struct nodes *n, uint32_t index, const struct nodes_entry *e)
{
    uint64_t words[NODES_WORDS];
    nodes_pack(e, words);
    catalog_write(&n->catalog, index, words);
}
