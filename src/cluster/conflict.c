/*
 * conflict.c - two nodes say that a name is theirs: who is right, and who is told.
 *
 * Lives here: the total order of claims, what happens when a claim meets another, the memory of conflicts that were told.
 * Never here: how claims travel (replication.c); a claim that nobody disputes (claims.c).
 * Runs in: the link worker, the simulator.
 *
 * Every node knows the claim of each node that it is connected to, and decides alone by the same order, so all come to the same winner without a
 * word. The loser's own node withdraws its claim, as a removal of its own; until that arrives the others keep the losing claim
 * aside: should the winner go first, the loser that has not heard of it is still the rightful holder.
 * A conflict is told once for each losing claim (node, life, time of registration), also if the two meet again before the withdrawal. A node may
 * learn of the withdrawal before it learns of the winner: therefore a lost claim is not withdrawn by a plain removal but by a pair, the claim
 * once more and its removal, and who does not know the winner yet keeps the loss unsettled until it does.
 */
#include "cluster/cluster_priv.h"

#include <stdlib.h>
#include <string.h>

#include "wire/wire.h"

enum { LOSS_KEPT_MS = 60 * 1000 };           /* longer than any dial's back-off, so that a peer that was away hears of it */

static int
compare_u64(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

int
cluster_claim_compare(const struct cluster_claim *a, const struct cluster_claim *b)
{
    int by = compare_u64(a->registered_at_ms, b->registered_at_ms);

    if (by == 0)
        by = a->priority > b->priority ? -1 : a->priority < b->priority;
    if (by == 0) {
        by = strcmp(a->node, b->node);
        by = by < 0 ? -1 : by > 0;
    }
    if (by == 0)
        by = compare_u64(a->incarnation, b->incarnation);
    if (by == 0)
        by = compare_u64(a->serial, b->serial);
    return by;
}

static const char *
node_text(const struct cluster *c, uint32_t node)
{
    return node == 0 ? c->config.self.text : c->peers[node]->id.text;
}

int
conflict_order(const struct cluster *c, const struct claim *a, const struct claim *b)
{
    struct cluster_claim x = { a->registered_at_ms, a->priority, node_text(c, a->node), a->incarnation, a->serial };
    struct cluster_claim y = { b->registered_at_ms, b->priority, node_text(c, b->node), b->incarnation, b->serial };
    return cluster_claim_compare(&x, &y);
}

/* ---------------------------------------------------------------- what was told */

static uint64_t
loss_key(const struct claim *claim)
{
    uint8_t bytes[20];

    wire_put32(bytes, claim->node);
    wire_put64(bytes + 4, claim->incarnation);
    wire_put64(bytes + 12, claim->registered_at_ms);         /* a node never gives the same twice */
    return table_hash(0, bytes, sizeof bytes);
}

/* Losses whose winner is not known yet, in a chain for each name. */
static void
unsettled_put(struct cluster *c, struct loss *loss)
{
    loss->next_unsettled = strtable_get(c->unsettled, loss->text, loss->len);
    if (strtable_put(c->unsettled, loss->text, loss->len, loss) != 0)
        loss->next_unsettled = NULL;         /* out of memory: it will not be told */
}

static void
unsettled_take(struct cluster *c, struct loss *loss)
{
    struct loss *first = strtable_get(c->unsettled, loss->text, loss->len), *prev = NULL;

    for (struct loss *at = first; at != NULL; prev = at, at = at->next_unsettled) {
        if (at != loss)
            continue;
        if (prev != NULL)
            prev->next_unsettled = loss->next_unsettled;
        else if (loss->next_unsettled != NULL)
            (void)strtable_put(c->unsettled, loss->text, loss->len, loss->next_unsettled);   /* replaces: needs no memory */
        else
            (void)strtable_take(c->unsettled, loss->text, loss->len);
        loss->next_unsettled = NULL;
        return;
    }
}

static void
loss_free(struct cluster *c, struct loss *loss)
{
    unsettled_take(c, loss);
    replication_loss_gone(c, loss);
    list_remove(&loss->all);
    if (list_is_linked(&loss->own))
        list_remove(&loss->own);
    (void)table_take(c->losses_by_key, loss->key);
    c->loss_count--;
    free(loss);
}

void
conflict_forget(struct cluster *c, const struct claim *claim)
{
    struct loss *loss = table_get(c->losses_by_key, loss_key(claim));
    if (loss != NULL)
        loss_free(c, loss);
}

void
conflict_expire(struct cluster *c)
{
    list_each_safe(it, next, &c->losses) {
        struct loss *loss = list_item(it, struct loss, all);
        if (loss->expires_ns > c->now_ns)
            break;
        loss_free(c, loss);
    }
}

void
conflict_fini(struct cluster *c)
{
    list_each_safe(it, next, &c->losses)
        loss_free(c, list_item(it, struct loss, all));
}

/* Remembering is best effort: without memory for it the worst is a second event for one conflict. */
static struct loss *
loss_new(struct cluster *c, const char *text, size_t len, const struct claim *claim)
{
    if (c->loss_count >= registry_capacity(c->config.registry) && !list_is_empty(&c->losses))
        loss_free(c, list_item(c->losses.next, struct loss, all));
    struct loss *loss = calloc(1, sizeof *loss + len);
    if (loss == NULL)
        return NULL;
    loss->key = loss_key(claim);
    loss->claim = *claim;
    loss->expires_ns = cluster_after_ms(c, LOSS_KEPT_MS);
    loss->len = (uint8_t)len;
    memcpy(loss->text, text, len);
    list_init(&loss->own);
    if (table_put(c->losses_by_key, loss->key, loss) != 0) {
        free(loss);
        return NULL;
    }
    list_push_back(&c->losses, &loss->all);
    c->loss_count++;
    return loss;
}

/* False: this loser was told already. */
bool
conflict_tell(struct cluster *c, const struct name *name, const struct claim *winner, const struct claim *loser)
{
    struct loss *loss = table_get(c->losses_by_key, loss_key(loser));

    if (loss != NULL && loss->is_told)
        return false;
    if (loss != NULL)
        unsettled_take(c, loss);
    else
        loss = loss_new(c, name->text, name->len, loser);
    if (loss != NULL)
        loss->is_told = true;
    if (c->config.stats != NULL)
        stats_add(c->config.stats, registry_conflicts, 1);
    log_info("cluster: name conflict name=%.*s winner=%s loser=%s", name->len, name->text, node_text(c, winner->node),
             node_text(c, loser->node));
    event_name(c, SYS_CONFLICT, name, winner, loser);
    return true;
}

/* A peer has withdrawn this claim because another node's is better. */
void
conflict_lost(struct cluster *c, const char *text, size_t len, const struct claim *lost)
{
    struct name *name = name_find(c, REGISTRY_GLOBAL, text, len);
    struct claim *holder = name != NULL ? name->holder : NULL;

    if (table_get(c->losses_by_key, loss_key(lost)) != NULL)
        return;
    if (holder != NULL && !claim_is_dead(c, holder) && conflict_order(c, holder, lost) < 0) {
        (void)conflict_tell(c, name, holder, lost);
        return;
    }
    struct loss *loss = loss_new(c, text, len, lost);
    if (loss != NULL)
        unsettled_put(c, loss);
}

/* The name has a new holder: perhaps the one that others have lost to. */
void
conflict_settle_known(struct cluster *c, const struct name *name)
{
    struct loss *loss = strtable_get(c->unsettled, name->text, name->len), *next;

    for (; loss != NULL && name->holder != NULL; loss = next) {
        next = loss->next_unsettled;
        if (loss->claim.node != name->holder->node && conflict_order(c, name->holder, &loss->claim) < 0) {
            struct claim lost = loss->claim;
            (void)conflict_tell(c, name, name->holder, &lost);
        }
    }
}

/* ---------------------------------------------------------------- two claims meet */

/* Our server loses its name: the winner is committed, the server is told, everyone is told, the peers get the pair. */
static void
lose_own(struct cluster *c, struct name *name, struct claim *winner, struct claim *own)
{
    (void)name_hold(c, name, winner);
    event_own(c, SYS_NAME_LOST, name, own, winner);
    (void)conflict_tell(c, name, winner, own);
    struct claim copy = *own;
    copy.sequence = registry_next_sequence(c->writer);
    uint64_t removal_sequence = registry_next_sequence(c->writer);
    struct loss *loss = table_get(c->losses_by_key, loss_key(own));
    if (loss != NULL) {
        loss->removal_sequence = removal_sequence;
        list_push_back(&c->own_losses, &loss->own);
    }
    claim_unlink(c, own);
    replication_add_lost(c, &copy, removal_sequence);
}

/* `fresh` is a new claim of a peer to a name that has a holder of another node. */
void
conflict_settle(struct cluster *c, struct name *name, struct claim *fresh)
{
    struct claim *holder = name->holder;

    nx_assert(holder != NULL && holder != fresh && fresh->node != 0);
    if (conflict_order(c, holder, fresh) < 0) {
        (void)conflict_tell(c, name, holder, fresh);
        return;
    }
    if (holder->node == 0) {
        lose_own(c, name, fresh, holder);
        return;
    }
    (void)name_hold(c, name, fresh);
    (void)conflict_tell(c, name, fresh, holder);
}
