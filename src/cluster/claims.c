/*
 * claims.c - what each node says about names: the writer's own books behind the registry.
 *
 * Lives here: names and claims in the heap, which claim stands in shared memory (the holder), the sweep of dead claims in batches.
 * Never here: who may claim (registrar.c), how claims travel (replication.c), who wins (conflict.c).
 * Runs in: the link worker, the simulator.
 *
 * Shared memory holds one entry for a (scope, name): the holder's. The books hold all: per name to find the next best, per node to digest,
 * sync and sweep, per server to end its names. A condemned claim is dead (its worker or its node is) and waits for its turn to be dropped;
 * readers do not see it any more, and whoever touches its name drops it first.
 */
#include "cluster/cluster_priv.h"

#include <stdlib.h>
#include <string.h>

#include "wire/wire.h"

enum { SWEEP_BATCH = 256, NAME_KEY_MAX = 1 + 255, SERVER_KEY = 14 };

/* ---------------------------------------------------------------- names */

static size_t
name_key(enum registry_scope scope, const char *text, size_t len, uint8_t out[static NAME_KEY_MAX])
{
    nx_assert(len >= 1 && len < NAME_KEY_MAX);
    out[0] = (uint8_t)scope;
    memcpy(out + 1, text, len);
    return 1 + len;
}

struct name *
name_find(const struct cluster *c, enum registry_scope scope, const char *text, size_t len)
{
    uint8_t key[NAME_KEY_MAX];
    size_t key_len = name_key(scope, text, len, key);
    return strtable_get(c->names, key, key_len);
}

int
name_get(struct cluster *c, enum registry_scope scope, const char *text, size_t len, struct name **out)
{
    uint8_t key[NAME_KEY_MAX];
    size_t key_len = name_key(scope, text, len, key);
    struct name *name = strtable_get(c->names, key, key_len);

    if (name == NULL) {
        name = calloc(1, sizeof *name + len);
        if (name == NULL)
            return NX_ENOMEM;
        list_init(&name->claims);
        list_init(&name->overflow);
        name->scope = (uint8_t)scope;
        name->len = (uint8_t)len;
        memcpy(name->text, text, len);
        if (strtable_put(c->names, key, key_len, name) != 0) {
            free(name);
            return NX_ENOMEM;
        }
    }
    *out = name;
    return 0;
}

void
name_tidy(struct cluster *c, struct name *name)
{
    uint8_t key[NAME_KEY_MAX];

    if (!list_is_empty(&name->claims))
        return;
    nx_assert(name->holder == NULL && !list_is_linked(&name->overflow));
    size_t key_len = name_key(name->scope, name->text, name->len, key);
    (void)strtable_take(c->names, key, key_len);
    free(name);
}

struct claim *
name_claim_of(const struct name *name, uint32_t node)
{
    list_each(it, &name->claims) {
        struct claim *claim = list_item(it, struct claim, of_name);
        if (claim->node == node)
            return claim;
    }
    return NULL;
}

struct claim *
name_best(const struct cluster *c, const struct name *name)
{
    struct claim *best = NULL;

    list_each(it, &name->claims) {
        struct claim *claim = list_item(it, struct claim, of_name);
        if (!claim_is_dead(c, claim) && (best == NULL || conflict_order(c, claim, best) < 0))
            best = claim;
    }
    return best;
}

/* ---------------------------------------------------------------- shared memory */

static struct registry_entry
entry_of(const struct name *name, const struct claim *claim)
{
    struct registry_entry e = {
        .name_len = name->len, .scope = name->scope, .slot = claim->slot, .node = claim->node, .generation = claim->generation,
        .incarnation = claim->incarnation, .serial = claim->serial, .registered_at_ms = claim->registered_at_ms,
        .sequence = claim->sequence, .priority = claim->priority,
    };
    memcpy(e.name, name->text, name->len);
    return e;
}

static void
warn_full(struct cluster *c)
{
    size_t used = registry_count(c->config.registry, REGISTRY_LOCAL) + registry_count(c->config.registry, REGISTRY_GLOBAL);
    size_t capacity = registry_capacity(c->config.registry);
    uint32_t percent = capacity > 0 ? (uint32_t)(used * 100 / capacity) : 100, mark = percent >= 95 ? 95 : percent >= 80 ? 80 : 0;

    if (mark > c->full_warned)
        log_warn("cluster: registry fills used=%zu capacity=%zu", used, capacity);
    if (mark > c->full_warned || percent < 75)       /* told again only after it has been well below */
        c->full_warned = mark;
}

/* Commit `holder` as the entry of the name. A claim of our own that does not fit is refused; a peer's stays in the books, without an entry,
 * until there is room. */
int
name_hold(struct cluster *c, struct name *name, struct claim *holder)
{
    struct registry_entry e = entry_of(name, holder);
    int err = registry_put(c->writer, &e);

    if (err == 0) {
        if (list_is_linked(&name->overflow))
            list_remove(&name->overflow);
        warn_full(c);
    } else {
        if (c->config.stats != NULL)
            stats_add(c->config.stats, registry_full, 1);
        if (holder->node == 0)
            return err;
        (void)registry_delete(c->writer, name->scope, name->text, name->len);
        if (!list_is_linked(&name->overflow))
            list_push_back(&c->overflow, &name->overflow);
    }
    name->holder = holder;
    conflict_forget(c, holder);               /* should it lose later, that is another conflict */
    return 0;
}

static void
name_vacate(struct cluster *c, struct name *name)
{
    name->holder = NULL;
    if (list_is_linked(&name->overflow)) {
        list_remove(&name->overflow);
        return;
    }
    (void)registry_delete(c->writer, name->scope, name->text, name->len);
    while (!list_is_empty(&c->overflow)) {    /* one has gone: one that waited may fit */
        struct name *waits = list_item(c->overflow.next, struct name, overflow);
        struct registry_entry e = entry_of(waits, waits->holder);
        if (registry_put(c->writer, &e) != 0)
            break;
        list_remove(&waits->overflow);
    }
}

/* ---------------------------------------------------------------- servers of this node */

static void
server_key(uint16_t slot, uint32_t generation, uint64_t serial, uint8_t out[static SERVER_KEY])
{
    wire_put16(out, slot);
    wire_put32(out + 2, generation);
    wire_put64(out + 6, serial);
}

struct server *
claims_server(const struct cluster *c, uint16_t slot, uint32_t generation, uint64_t serial)
{
    uint8_t key[SERVER_KEY];
    server_key(slot, generation, serial, key);
    return strtable_get(c->servers, key, sizeof key);
}

static int
server_get(struct cluster *c, const struct claim *claim, struct server **out)
{
    uint8_t key[SERVER_KEY];
    server_key(claim->slot, claim->generation, claim->serial, key);
    struct server *server = strtable_get(c->servers, key, sizeof key);

    if (server == NULL) {
        server = calloc(1, sizeof *server);
        if (server == NULL)
            return NX_ENOMEM;
        list_init(&server->claims);
        if (strtable_put(c->servers, key, sizeof key, server) != 0) {
            free(server);
            return NX_ENOMEM;
        }
    }
    *out = server;
    return 0;
}

static void
server_leave(struct cluster *c, struct claim *claim)
{
    uint8_t key[SERVER_KEY];

    list_remove(&claim->of_server);
    struct server *server = claims_server(c, claim->slot, claim->generation, claim->serial);
    nx_assert(server != NULL);
    if (!list_is_empty(&server->claims))
        return;
    server_key(claim->slot, claim->generation, claim->serial, key);
    (void)strtable_take(c->servers, key, sizeof key);
    free(server);
}

/* ---------------------------------------------------------------- claims */

/* The part of a claim in the digest of its node: the sum of these is the same in every order. Unkeyed, so that all nodes come to the same. */
uint64_t
claim_hash(const struct claim *claim, const char *text, size_t len)
{
    uint8_t bytes[34 + 255];

    nx_assert(len <= 255);
    wire_put64(bytes, claim->sequence);
    wire_put64(bytes + 8, claim->registered_at_ms);
    wire_put32(bytes + 16, (uint32_t)claim->priority);
    wire_put64(bytes + 20, claim->serial);
    wire_put32(bytes + 28, claim->generation);
    wire_put16(bytes + 32, claim->slot);
    memcpy(bytes + 34, text, len);
    return table_hash(0, bytes, 34 + len);
}

static bool
is_counted(const struct claim *claim)
{
    return claim->name->scope == REGISTRY_GLOBAL && (claim->node == 0 || !list_is_linked(&claim->sweep));
}

/* Into or out of the digest and the count of its node. */
static void
count_claim(struct cluster *c, const struct claim *claim, bool is_in)
{
    uint64_t *digest = claim->node == 0 ? &c->own_digest : &c->peers[claim->node]->in_digest;
    uint32_t *count = claim->node == 0 ? &c->own_count : &c->peers[claim->node]->claim_count;

    *digest += is_in ? claim->hash : 0 - claim->hash;
    *count += is_in ? 1 : UINT32_MAX;
    if (claim->node != 0 && claim->round == c->peers[claim->node]->in_round)
        c->peers[claim->node]->round_count += is_in ? 1 : UINT32_MAX;
}

/* A copy of `from`, in all lists; its name's holder is the caller's business. */
int
claim_new(struct cluster *c, struct name *name, const struct claim *from, struct claim **out)
{
    struct server *server = NULL;
    struct claim *claim = malloc(sizeof *claim);

    if (claim == NULL)
        return NX_ENOMEM;
    *claim = *from;
    claim->name = name;
    claim->hash = claim_hash(claim, name->text, name->len);
    list_init(&claim->sweep);
    list_init(&claim->of_server);
    if (claim->node == 0) {
        if (server_get(c, claim, &server) != 0) {
            free(claim);
            return NX_ENOMEM;
        }
        list_push_back(&server->claims, &claim->of_server);
    }
    list_push_back(&name->claims, &claim->of_name);
    struct list *of_node = claim->node != 0 ? &c->peers[claim->node]->claims :
                           name->scope == REGISTRY_GLOBAL ? &c->own : &c->own_local;
    list_push_back(of_node, &claim->of_node);
    if (is_counted(claim))
        count_claim(c, claim, true);
    *out = claim;
    return 0;
}

void
claim_unlink(struct cluster *c, struct claim *claim)
{
    if (is_counted(claim))
        count_claim(c, claim, false);
    replication_before_unlink(c, claim);
    if (claim->node == 0)
        server_leave(c, claim);
    list_remove(&claim->of_name);
    list_remove(&claim->of_node);
    if (list_is_linked(&claim->sweep))
        list_remove(&claim->sweep);
    free(claim);
}

/* Before the sweep comes to it, a claim of a dead worker is known by its generation. */
bool
claim_is_dead(const struct cluster *c, const struct claim *claim)
{
    if (list_is_linked(&claim->sweep))
        return true;
    return claim->node == 0 && board_generation(c->config.board, claim->slot) != claim->generation;
}

/* The end of a claim: commit first, then the events, then the delta. The name goes to the next best claim, which then was never told of a loss. */
void
claim_drop(struct cluster *c, struct claim *claim)
{
    struct name *name = claim->name;
    struct claim gone = *claim;
    bool was_holder = name->holder == claim, is_own_global = claim->node == 0 && name->scope == REGISTRY_GLOBAL;
    uint64_t sequence = is_own_global ? registry_next_sequence(c->writer) : 0;

    if (!was_holder)
        claim_unlink(c, claim);
    else {
        list_remove(&claim->of_name);
        struct claim *next = name_best(c, name);
        nx_assert(next == NULL || next->node != 0);  /* ours is the holder or it is withdrawn */
        if (next != NULL)
            (void)name_hold(c, name, next);   /* of a peer: always kept */
        else
            name_vacate(c, name);
        claim_unlink(c, claim);
        event_name(c, SYS_UNREGISTERED, name, &gone, NULL);
        if (next != NULL)
            event_name(c, SYS_REGISTERED, name, next, NULL);
    }
    if (is_own_global)
        replication_add(c, &gone, true, sequence);
}

void
claim_condemn(struct cluster *c, struct claim *claim)
{
    if (list_is_linked(&claim->sweep))
        return;
    if (claim->node != 0)
        count_claim(c, claim, false);
    list_push_back(&c->sweep, &claim->sweep);
    timer_arm(c, &c->sweeper, c->now_ns + 1);        /* the next tick, as soon as the caller likes */
}

void
name_purge(struct cluster *c, struct name *name)
{
    list_each_safe(it, next, &name->claims) {
        struct claim *claim = list_item(it, struct claim, of_name);
        if (claim_is_dead(c, claim))
            claim_drop(c, claim);
    }
}

static void
sweep_one(struct cluster *c, struct claim *claim)
{
    struct name *name = claim->name;
    claim_drop(c, claim);
    name_tidy(c, name);
}

void
claims_sweep(struct cluster *c, struct timer *t)
{
    for (int i = 0; i < SWEEP_BATCH && !list_is_empty(&c->sweep); i++)
        sweep_one(c, list_item(c->sweep.next, struct claim, sweep));
    if (!list_is_empty(&c->sweep))
        timer_arm(c, t, c->now_ns + 1);
}

/* All at once: before a peer comes up again, or its old entries would be seen as those of its new session. */
void
claims_sweep_peer(struct cluster *c, struct peer *p)
{
    list_each_safe(it, next, &p->claims)
        sweep_one(c, list_item(it, struct claim, of_node));
}
