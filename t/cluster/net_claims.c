/*
 * net_claims.c - a strict net: every claim that was ever made, and what may be told of it.
 *
 * Lives here: the ledger of claims, kept from what each node tells its own servers; events and registries held against it; the rule of who wins a
 * name, written a second time.
 * Never here: what a test without faults of its own could not promise: tests that forge messages use a net that is not strict.
 * Runs in: the simulator.
 */
#include "net_priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/table.h"

enum { TOLD_FOR_S = 60 };                    /* so long a node remembers what it has told at least */

static bool
is_ref(const struct net_claim *claim, uint64_t name, const struct net_ref *ref)
{
    return claim->name == name && claim->ref.serial == ref->serial && claim->ref.node == ref->node && claim->ref.incarnation == ref->incarnation &&
           claim->ref.generation == ref->generation && claim->ref.slot == ref->slot;
}

static uint64_t
hash_of(const struct sys_registry_event *e)
{
    return table_hash((uint64_t)e->scope, e->name.at, e->name.len);
}

/* Earlier, then of higher priority, then of the smaller node id, incarnation, serial. */
static bool
beats(const struct net *net, const struct net_claim *a, const struct net_claim *b)
{
    if (a->registered_at_ms != b->registered_at_ms)
        return a->registered_at_ms < b->registered_at_ms;
    if (a->priority != b->priority)
        return a->priority > b->priority;
    int by = strcmp(net->nodes[a->ref.node].id.text, net->nodes[b->ref.node].id.text);
    if (by != 0)
        return by < 0;
    return a->ref.incarnation != b->ref.incarnation ? a->ref.incarnation < b->ref.incarnation : a->ref.serial < b->ref.serial;
}

/* Its server lives, and its node has not told otherwise. */
static bool
is_live(const struct net *net, const struct net_claim *claim)
{
    const struct net_node *n = &net->nodes[claim->ref.node];
    return claim->is_held && n->is_running && n->config.incarnation == claim->ref.incarnation &&
           board_generation(n->config.board, claim->ref.slot) == claim->ref.generation;
}

static struct net_claim *
find_held(struct net *net, uint64_t name, const struct net_ref *ref)
{
    for (unsigned i = net->claim_count; i-- > 0;)
        if (net->claims[i].is_held && is_ref(&net->claims[i], name, ref))
            return &net->claims[i];
    return NULL;
}

/* Was there ever a claim of `winner` that beats one of `loser`? A server may have had a name more than once. */
static bool
could_win(const struct net *net, uint64_t name, const struct net_ref *winner, const struct net_ref *loser)
{
    for (unsigned i = 0; i < net->claim_count; i++) {
        if (!is_ref(&net->claims[i], name, winner))
            continue;
        for (unsigned k = 0; k < net->claim_count; k++)
            if (is_ref(&net->claims[k], name, loser) && beats(net, &net->claims[i], &net->claims[k]))
                return true;
    }
    return false;
}

/* ---------------------------------------------------------------- lives */

void
net_claims_start(struct net_node *n)
{
    for (unsigned i = 0; i < n->net->claim_count; i++)
        if (n->net->claims[i].ref.node == n->index)
            n->net->claims[i].is_held = false;
    n->last_ms = n->last_sequence = 0;
    n->seen_turns = UINT32_MAX;
    net_claims_link(n);
}

void
net_claims_link(struct net_node *n)
{
    for (unsigned i = 0; i < n->net->claim_count; i++)
        n->net->claims[i].told &= ~(UINT64_C(1) << n->index);
}

/* ---------------------------------------------------------------- what servers are told */

static void
add(struct net_node *n, const struct sys_registry_event *e, const struct net_ref *ref)
{
    struct net *net = n->net;
    struct registry_entry entry;
    char name[256];

    memcpy(name, e->name.at, e->name.len);
    name[e->name.len] = '\0';
    if (ref->node != n->index || ref->incarnation != n->config.incarnation ||
        !net_find(net, n->index, e->scope, name, &entry) || entry.node != 0 || entry.serial != ref->serial) {
        net_fault(net, "%s: %s told to its server before it stands in the registry", n->id.name, name);
        return;
    }
    if (entry.registered_at_ms <= n->last_ms || (e->scope == SYS_GLOBAL && entry.sequence <= n->last_sequence))
        net_fault(net, "%s: %s has a time or number that is not beyond the one before", n->id.name, name);
    n->last_ms = entry.registered_at_ms;
    if (e->scope == SYS_GLOBAL)
        n->last_sequence = entry.sequence;
    if (net->claim_count == net->claim_room) {
        net->claim_room = net->claim_room == 0 ? 64 : 2 * net->claim_room;
        net->claims = realloc(net->claims, net->claim_room * sizeof *net->claims);
        nx_assert(net->claims != NULL);
    }
    net->claims[net->claim_count++] = (struct net_claim){
        .name = hash_of(e), .ref = *ref, .registered_at_ms = entry.registered_at_ms, .sequence = entry.sequence, .priority = entry.priority,
        .scope = e->scope, .is_held = true, .made_ns = net->now_ns,
    };
}

void
net_claims_own(struct net_node *n, const struct sys_registry_event *e, const struct net_ref *ref, const struct net_ref *other)
{
    struct net *net = n->net;

    if (e->kind == SYS_REGISTERED) {
        add(n, e, ref);
        return;
    }
    struct net_claim *claim = find_held(net, hash_of(e), other);
    if (claim == NULL || other->node != n->index)
        net_fault(net, "%s: %.*s lost by a server that did not have it", n->id.name, (int)e->name.len, e->name.at);
    else if (!could_win(net, hash_of(e), ref, other))
        net_fault(net, "%s: %.*s lost to app%d, which had no better right", n->id.name, (int)e->name.len, e->name.at, ref->node + 1);
    if (claim == NULL)
        return;
    claim->is_held = false;
    claim->lost_ns = net->now_ns;
    claim->lost_to = *ref;
}

/* ---------------------------------------------------------------- what everybody is told */

/* It holds the name now: should it lose it again, that is told again. */
static void
forget_told(struct net_node *n, uint64_t name, const struct net_ref *ref)
{
    for (unsigned i = 0; i < n->net->claim_count; i++)
        if (is_ref(&n->net->claims[i], name, ref))
            n->net->claims[i].told &= ~(UINT64_C(1) << n->index);
}

static void
take_registered(struct net_node *n, const struct sys_registry_event *e, const struct net_ref *ref)
{
    struct net *net = n->net;
    uint64_t name = hash_of(e);
    bool was_made = false;

    for (unsigned i = 0; i < net->claim_count; i++)
        was_made |= is_ref(&net->claims[i], name, ref);
    if (!was_made)
        net_fault(net, "%s: %.*s registered by app%d, which never did that", n->id.name, (int)e->name.len, e->name.at, ref->node + 1);
    else if (ref->node == n->index && find_held(net, name, ref) == NULL)
        net_fault(net, "%s: %.*s of an own server that does not have it", n->id.name, (int)e->name.len, e->name.at);
    else if (ref->node != n->index && (!n->up[ref->node] || n->life[ref->node] != ref->incarnation))
        net_fault(net, "%s: %.*s registered by app%d, which is down or lives anew", n->id.name, (int)e->name.len, e->name.at, ref->node + 1);
    forget_told(n, name, ref);
}

/* The claim of this server, if it had that name only once. */
static struct net_claim *
find_only(struct net *net, uint64_t name, const struct net_ref *ref)
{
    struct net_claim *found = NULL;

    for (unsigned i = 0; i < net->claim_count; i++) {
        if (!is_ref(&net->claims[i], name, ref))
            continue;
        if (found != NULL)
            return NULL;
        found = &net->claims[i];
    }
    return found;
}

static void
take_unregistered(struct net_node *n, const struct sys_registry_event *e, const struct net_ref *ref)
{
    if (ref->node != n->index) {
        struct net_claim *theirs = find_only(n->net, hash_of(e), ref);
        if (theirs != NULL && is_live(n->net, theirs) && n->up[ref->node] && n->life[ref->node] == ref->incarnation)
            net_fault(n->net, "%s: %.*s unregistered, but app%d is up and holds it", n->id.name, (int)e->name.len, e->name.at, ref->node + 1);
        return;
    }
    struct net_claim *claim = find_held(n->net, hash_of(e), ref);
    if (claim == NULL)
        net_fault(n->net, "%s: %.*s unregistered for an own server that did not have it", n->id.name, (int)e->name.len, e->name.at);
    else if (!n->is_asked && is_live(n->net, claim))
        net_fault(n->net, "%s: %.*s taken from an own server without a cause", n->id.name, (int)e->name.len, e->name.at);
    if (claim != NULL)
        claim->is_held = false;
}

static void
take_conflict(struct net_node *n, const struct sys_registry_event *e, const struct net_ref *winner, const struct net_ref *loser)
{
    struct net *net = n->net;
    uint64_t name = hash_of(e), bit = UINT64_C(1) << n->index;
    struct net_claim *claim = find_only(net, name, loser);

    if (!could_win(net, name, winner, loser))
        net_fault(net, "%s: %.*s given to app%d, which had no better right than app%d", n->id.name, (int)e->name.len, e->name.at,
                  winner->node + 1, loser->node + 1);
    if (claim != NULL) {                     /* of several nobody could say which one is meant */
        if ((claim->told & bit) != 0 && net->now_ns - claim->told_ns < TOLD_FOR_S * CLOCK_NS_PER_S)
            net_fault(net, "%s: %.*s lost by app%d is told twice", n->id.name, (int)e->name.len, e->name.at, loser->node + 1);
        if (claim->told == 0)
            claim->told_ns = net->now_ns;
        claim->told |= bit;
    }
    forget_told(n, name, winner);
}

void
net_claims_event(struct net_node *n, const struct sys_registry_event *e, const struct net_ref *ref, const struct net_ref *other)
{
    if (e->kind == SYS_REGISTERED)
        take_registered(n, e, ref);
    else if (e->kind == SYS_UNREGISTERED)
        take_unregistered(n, e, ref);
    else
        take_conflict(n, e, ref, other);
}

bool
net_claims_hold(const struct net_node *n, int scope, const char *name, uint64_t serial)
{
    uint64_t hash = table_hash((uint64_t)scope, name, strlen(name));

    for (unsigned i = 0; i < n->net->claim_count; i++) {
        const struct net_claim *claim = &n->net->claims[i];
        if (claim->name == hash && claim->ref.node == n->index && (serial == 0 || claim->ref.serial == serial) && is_live(n->net, claim))
            return true;
    }
    return false;
}

/* How many names this server has. */
int
net_claims_count(const struct net_node *n, uint64_t serial)
{
    int count = 0;
    for (unsigned i = 0; i < n->net->claim_count; i++)
        count += n->net->claims[i].ref.node == n->index && n->net->claims[i].ref.serial == serial && is_live(n->net, &n->net->claims[i]);
    return count;
}

/* ---------------------------------------------------------------- registries */

static struct net_name *
find_book(struct net_node *n, const struct registry_entry *e)
{
    for (unsigned i = 0; i < n->name_count; i++)
        if (n->names[i].len == e->name_len && n->names[i].scope == e->scope && memcmp(n->names[i].text, e->name, e->name_len) == 0)
            return &n->names[i];
    return NULL;
}

static bool
sees_alive(const struct net_node *n, const struct net_ref *ref)
{
    if (ref->node == n->index)
        return ref->incarnation == n->config.incarnation && board_generation(n->config.board, ref->slot) == ref->generation;
    return n->up[ref->node] && n->life[ref->node] == ref->incarnation;
}

static const char *
judge_entry(struct net_node *n, const struct registry_entry *e)
{
    const char *id = nodes_borrow_id(n->config.nodes, e->node);
    struct net_ref ref = { .node = id != NULL ? net_index_of(n->net, id, strlen(id)) : -1, .incarnation = e->incarnation,
                           .serial = e->serial, .generation = e->generation, .slot = e->slot };
    struct net_name *name = find_book(n, e);

    if (ref.node < 0 || (ref.node != n->index && e->scope == REGISTRY_LOCAL))
        return "of nobody";
    if (!sees_alive(n, &ref))
        return "of a node that is down or lives anew, or of a dead worker";
    if (name == NULL || !name->is_held || name->holder.node != ref.node || name->holder.serial != ref.serial ||
        name->holder.incarnation != ref.incarnation || name->holder.generation != ref.generation)
        return "that the events did not tell";
    if (name->seen == n->seen)
        return "twice";
    name->seen = n->seen;
    if (ref.node == n->index && find_held(n->net, table_hash(e->scope, e->name, e->name_len), &ref) == NULL)
        return "of an own server that does not have it";
    return NULL;
}

/* Readers of this node see each name once, with a living owner, and what the events told; nothing that the events told is missing. */
void
net_claims_look(struct net_node *n)
{
    struct registry_entry e;
    uint64_t cursor = 0, version;

    if (!n->is_running || n->cluster == NULL || n->is_fresh)
        return;
    version = registry_version(n->config.registry);
    if (version == n->seen_version && n->turns == n->seen_turns)
        return;
    if (!n->net->is_lossy && !n->net->has_stalls && stats_get(n->config.stats, registry_syncs) != n->ups_of_life)
        net_fault(n->net, "%s: names were asked for again, though no message was lost", n->id.name);
    n->seen_version = version;
    n->seen_turns = n->turns;
    n->seen++;
    while (registry_next(n->config.registry, n->config.board, n->config.nodes, &cursor, &e)) {
        const char *wrong = judge_entry(n, &e);
        if (wrong != NULL)
            net_fault(n->net, "%s: there is an entry %s %s", n->id.name, e.name, wrong);
    }
    for (unsigned i = 0; i < n->name_count; i++) {
        const struct net_name *name = &n->names[i];
        if (name->is_held && name->seen != n->seen && sees_alive(n, &name->holder))
            net_fault(n->net, "%s: %s of app%d is not in the registry", n->id.name, name->text, name->holder.node + 1);
    }
}

static bool
has_claim(struct net *net, int node, const struct net_claim *claim)
{
    struct net_node *n = &net->nodes[node];

    for (unsigned i = 0; i < n->name_count; i++) {
        const struct net_name *name = &n->names[i];
        struct registry_entry e;
        if (table_hash((uint64_t)name->scope, name->text, name->len) != claim->name || !net_find(net, node, name->scope, name->text, &e))
            continue;
        return name->is_held && name->holder.node == claim->ref.node && e.serial == claim->ref.serial &&
               e.incarnation == claim->ref.incarnation && e.sequence == claim->sequence && e.priority == claim->priority &&
               e.registered_at_ms == claim->registered_at_ms;
    }
    return false;
}

/* Who lives since before both claims were made, has seen both nodes, and knows the winner in the end, has told of the loss. Its own clock and the
 * loser's decide whether the loss was before its time: a few seconds apart they agree. */
void
net_claims_told(struct net *net)
{
    for (unsigned i = 0; i < net->claim_count && !net->has_clock_jumps && !net->is_lossy; i++) {
        const struct net_claim *claim = &net->claims[i], *winner = NULL;
        if (claim->lost_ns != 0 && net->now_ns - claim->lost_ns < (TOLD_FOR_S - 5) * CLOCK_NS_PER_S &&
            find_only(net, claim->name, &claim->ref) != NULL)
            winner = find_only(net, claim->name, &claim->lost_to);
        if (winner == NULL || !is_live(net, winner) || net->nodes[claim->ref.node].config.incarnation != claim->ref.incarnation ||
            net->nodes[claim->ref.node].born_ns > claim->lost_ns)
            continue;
        for (unsigned k = 0; k < net->count; k++)
            if (net->nodes[k].born_ns + 3 * CLOCK_NS_PER_S < claim->made_ns && (claim->told >> k & 1) == 0)
                net_fault(net, "%s: was not told that app%d has lost a name to app%d", net->nodes[k].id.name, claim->ref.node + 1,
                          winner->ref.node + 1);
    }
}

/* With has_claim of all: no node has an entry more, since the events of a name hold one holder. */
bool
net_claims_match(struct net *net)
{
    for (unsigned k = 0; k < net->count; k++) {
        struct net_node *n = &net->nodes[k];
        unsigned claims = 0, entries = 0;
        for (unsigned i = 0; n->is_running && i < net->claim_count; i++) {
            const struct net_claim *claim = &net->claims[i];
            if (!is_live(net, claim) || (claim->scope == REGISTRY_LOCAL && claim->ref.node != n->index))
                continue;
            claims++;
            if (!has_claim(net, (int)k, claim)) {
                net_fault(net, "%s: a name of app%d is missing or differs", n->id.name, claim->ref.node + 1);
                return false;
            }
        }
        for (unsigned i = 0; n->is_running && i < n->name_count; i++)
            entries += n->names[i].is_held && sees_alive(n, &n->names[i].holder);
        if (claims != entries && n->is_running) {
            net_fault(net, "%s: %u names, but their owners hold %u", n->id.name, entries, claims);
            return false;
        }
    }
    return true;
}
