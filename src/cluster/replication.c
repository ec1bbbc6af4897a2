/*
 * replication.c - each node's own names, told to the others: deltas, full syncs in pages, digests.
 *
 * Lives here: the changes of this input and their delta, the pages that a peer is still to get, what a peer says of its names.
 * Never here: who wins a name (conflict.c); requests of processes (registrar.c).
 * Runs in: the link worker, the simulator.
 *
 * A node's changes carry its sequence number, +1 each. A peer that has come up gets all entries in pages, a page a millisecond so that calls pass between
 * them, and from page 0 on the deltas too: a page speaks of the moment when it was made, so pages and deltas in their order add up to the
 * sender's state. Behind the entries come pairs (conflict.c): claims that were lost to another node within the last minute, so that a node
 * which was away hears of the conflict. What no page and no delta of a round has named is gone when the last page is in.
 * A gap in the numbers, or a digest that differs, leads to a request for a new sync; until its page 0 deltas are ignored.
 */
#include "cluster/cluster_priv.h"

#include <string.h>

enum { ENTRY_BYTES = 72, PAGE_GAP_MS = 1, SYNC_GAP_MS = 1000, PAGE_ENTRIES = 2048 };

/* ---------------------------------------------------------------- sending: deltas */

static struct sys_entry
entry_of(const struct claim *claim, const char *text, size_t len)
{
    return (struct sys_entry){ .name = { text, len }, .sequence = claim->sequence, .registered_at_ms = claim->registered_at_ms,
                               .priority = claim->priority, .serial = claim->serial, .generation = claim->generation, .slot = claim->slot };
}

static void
push(struct cluster *c, const struct claim *claim, bool is_removal, uint64_t sequence)
{
    struct change *change = &c->changes[c->change_count++];
    const struct name *name = claim->name;

    memcpy(change->name, name->text, name->len);
    change->entry = entry_of(claim, change->name, name->len);
    change->entry.is_removal = is_removal;
    change->entry.sequence = sequence;
    c->change_bytes += ENTRY_BYTES + name->len;
}

/* There is always room for two more. */
static void
flush_full(struct cluster *c)
{
    if (c->change_count > CHANGES_MAX - 2 || c->change_bytes > PAGE_BYTES - 2 * (ENTRY_BYTES + 255))
        replication_flush(c);
}

/* Call it when the digest already counts the change. */
void
replication_add(struct cluster *c, const struct claim *claim, bool is_removal, uint64_t sequence)
{
    push(c, claim, is_removal, sequence);
    flush_full(c);
}

/* A claim that lost its name to another node: the claim once more and its removal, side by side in one delta, which nothing else ever makes. */
void
replication_add_lost(struct cluster *c, const struct claim *claim, uint64_t removal_sequence)
{
    push(c, claim, false, claim->sequence);
    push(c, claim, true, removal_sequence);
    flush_full(c);
}

static bool
encode_delta(struct cluster *c)
{
    struct sys_delta_head head = { .digest = c->own_digest, .count = c->change_count };

    buf_clear(&c->body);
    int err = sys_entries_begin(&c->body, KIND_REGISTRY_DELTA, &head, false);
    for (uint32_t i = 0; err == 0 && i < c->change_count; i++)
        err = sys_entries_add(&c->body, &c->changes[i].entry);
    if (err == 0)
        err = sys_entries_end(&c->body);
    if (err != 0)                            /* the peers will see the gap and ask */
        log_error("cluster: registry delta not sent error=%s", nx_errname(err));
    return err == 0;
}

void
replication_flush(struct cluster *c)
{
    if (c->change_count == 0)
        return;
    if (c->up_count > 0 && encode_delta(c)) {
        peers_each(p, c)
            if (p->is_up && p->gets_deltas)
                peer_send(c, p, KIND_REGISTRY_DELTA, &c->body);
    }
    c->change_count = 0;
    c->change_bytes = 0;
}

/* ---------------------------------------------------------------- sending: pages */

static void
sync_begin(struct cluster *c, struct peer *p)
{
    replication_flush(c);
    p->is_sync_wanted = false;
    p->is_sync_running = p->gets_deltas = true;
    p->sync_started_ns = c->now_ns;
    p->out_page = 0;
    p->out_at = c->own.next;
    p->out_loss = NULL;
    p->out_until = registry_sequence(c->writer);
    if (c->config.stats != NULL)
        stats_add(c->config.stats, registry_syncs, 1);
}

/* The next entry or pair of the page; false: no more. What came after the beginning has gone out by delta. */
static bool
next_of_page(struct cluster *c, const struct peer *p, struct list **at, struct list **loss, struct sys_entry pair[static 2], uint32_t *count)
{
    if (*loss == NULL && *at != &c->own) {
        const struct claim *claim = list_item(*at, struct claim, of_node);
        if (claim->sequence <= p->out_until) {
            pair[0] = entry_of(claim, claim->name->text, claim->name->len);
            *count = 1;
            *at = (*at)->next;
            return true;
        }
    }
    if (*loss == NULL)
        *loss = c->own_losses.next;
    if (*loss == &c->own_losses)
        return false;
    const struct loss *lost = list_item(*loss, struct loss, own);
    pair[0] = entry_of(&lost->claim, lost->text, lost->len);
    pair[1] = (struct sys_entry){ .name = pair[0].name, .is_removal = true, .sequence = lost->removal_sequence };
    *count = 2;
    *loss = (*loss)->next;
    return true;
}

/* Once to count, since the head comes first, once to write. */
static int
encode_page(struct cluster *c, struct peer *p, bool *is_last)
{
    struct sys_sync_head head = { .sequence = registry_sequence(c->writer), .digest = c->own_digest, .page = p->out_page };
    struct list *at = p->out_at, *loss = p->out_loss;
    struct sys_entry pair[2];
    size_t bytes = 0;
    uint32_t count, units = 0;
    bool has_more = true;

    while (bytes <= PAGE_BYTES - 2 * (ENTRY_BYTES + 255) && head.count + 2 <= PAGE_ENTRIES &&
           (has_more = next_of_page(c, p, &at, &loss, pair, &count))) {
        bytes += count * (ENTRY_BYTES + pair[0].name.len);
        head.count += count;
        units++;
    }
    struct list *peek_at = at, *peek_loss = loss;
    *is_last = head.is_last = !has_more || !next_of_page(c, p, &peek_at, &peek_loss, pair, &count);
    buf_clear(&c->body);
    int err = sys_entries_begin(&c->body, KIND_REGISTRY_SYNC, &head, false);
    for (; err == 0 && units > 0; units--) {
        (void)next_of_page(c, p, &p->out_at, &p->out_loss, pair, &count);
        for (uint32_t i = 0; err == 0 && i < count; i++)
            err = sys_entries_add(&c->body, &pair[i]);
    }
    return err == 0 ? sys_entries_end(&c->body) : err;
}

static void
send_page(struct cluster *c, struct peer *p)
{
    bool is_last;

    replication_flush(c);
    int err = encode_page(c, p, &is_last);
    if (err != 0) {
        log_error("cluster: registry page not sent node=%s error=%s", p->id.text, nx_errname(err));
        p->is_sync_running = false;
        p->is_sync_wanted = true;            /* from the beginning, later */
        return;
    }
    p->out_page++;
    if (is_last)
        p->is_sync_running = false;
    peer_send(c, p, KIND_REGISTRY_SYNC, &c->body);
}

void
replication_page(struct cluster *c, struct timer *t)
{
    struct peer *p = base_container_of(t, struct peer, sync);
    uint64_t again_ns = p->sync_started_ns + SYNC_GAP_MS * CLOCK_NS_PER_MS;      /* who asks all the time gets one a second */

    if (!p->is_up)
        return;
    if (p->is_sync_wanted && again_ns <= c->now_ns)
        sync_begin(c, p);
    if (p->is_sync_running)
        send_page(c, p);
    if (p->is_sync_running)
        timer_arm(c, t, cluster_after_ms(c, PAGE_GAP_MS));
    else if (p->is_sync_wanted)
        timer_arm(c, t, again_ns > c->now_ns ? again_ns : cluster_after_ms(c, SYNC_GAP_MS));
}

/* A cursor must not stay on what is about to go. */
void
replication_before_unlink(struct cluster *c, struct claim *claim)
{
    if (claim->node != 0 || claim->name->scope != REGISTRY_GLOBAL)
        return;
    peers_each(p, c)
        if (p->is_sync_running && p->out_at == &claim->of_node)
            p->out_at = claim->of_node.next;
}

void
replication_loss_gone(struct cluster *c, struct loss *loss)
{
    peers_each(p, c)
        if (p->is_sync_running && p->out_loss == &loss->own)
            p->out_loss = loss->own.next;
}

void
replication_peer_up(struct cluster *c, struct peer *p)
{
    p->replica = REPLICA_AWAITED;
    p->in_sequence = 0;
    p->is_synced_told = p->is_over_limit = false;
    p->asked_ns = c->now_ns;
    sync_begin(c, p);
    replication_page(c, &p->sync);
}

void
replication_peer_down(struct cluster *c, struct peer *p)
{
    p->replica = REPLICA_NONE;
    p->gets_deltas = p->is_sync_running = p->is_sync_wanted = false;
    timer_stop(c, &p->sync);
}

/* ---------------------------------------------------------------- receiving */

/* What we have of this peer's names may be wrong. One request in an interval; a lost answer is asked for again by the heartbeat's check. */
static void
ask(struct cluster *c, struct peer *p, const char *why)
{
    struct sys_sync_head head = { .page = 0 };

    if (p->replica != REPLICA_AWAITED)
        log_info("cluster: names are asked for again node=%s reason=%s", p->id.text, why);
    p->replica = REPLICA_AWAITED;
    if (p->asked_ns + c->interval_ns > c->now_ns && p->asked_ns != p->up_since_ns)
        return;
    p->asked_ns = c->now_ns;
    buf_clear(&c->body);
    int err = sys_entries_begin(&c->body, KIND_REGISTRY_SYNC, &head, true);
    if (err == 0)
        err = sys_entries_end(&c->body);
    if (err == 0)
        peer_send(c, p, KIND_REGISTRY_SYNC, &c->body);
}

void
replication_check(struct cluster *c, struct peer *p, const struct sys_heartbeat *h)
{
    if (p->replica == REPLICA_AWAITED && p->asked_ns + c->interval_ns <= c->now_ns)
        ask(c, p, "no answer");
    else if (p->replica == REPLICA_READY && h->is_full && !p->is_over_limit &&
             (h->sequence != p->in_sequence || h->digest != p->in_digest))
        ask(c, p, "heartbeat differs");
}

static struct claim
claim_of(const struct peer *p, const struct sys_entry *e)
{
    return (struct claim){ .node = p->index, .generation = e->generation, .round = p->in_round, .incarnation = p->incarnation,
                           .serial = e->serial, .registered_at_ms = e->registered_at_ms, .sequence = e->sequence,
                           .priority = e->priority, .slot = e->slot };
}

static void
take_registration(struct cluster *c, struct peer *p, const struct sys_entry *e)
{
    struct claim from = claim_of(p, e), *claim;
    struct name *name;

    if (name_get(c, REGISTRY_GLOBAL, e->name.at, e->name.len, &name) != 0)
        return;                              /* out of memory: the digest will tell */
    name_purge(c, name);
    claim = name_claim_of(name, p->index);
    if (claim != NULL && claim->sequence >= e->sequence) {
        p->round_count += claim->round != p->in_round;
        claim->round = p->in_round;
        return;
    }
    if (claim != NULL)
        claim_drop(c, claim);
    if (p->round_count >= registry_capacity(c->config.registry) / 2) {        /* what the round has not named yet may be gone */
        p->is_over_limit = true;
        cluster_count_bad(c);
        if (log_gate_pass(&c->log_gate, 1))
            log_warn("cluster: a node claims more names than it may node=%s limit=%zu", p->id.text, registry_capacity(c->config.registry) / 2);
        name_tidy(c, name);
        return;
    }
    if (claim_new(c, name, &from, &claim) != 0) {
        name_tidy(c, name);
        return;
    }
    if (name->holder != NULL)
        conflict_settle(c, name, claim);
    else {
        (void)name_hold(c, name, claim);
        event_name(c, SYS_REGISTERED, name, claim, NULL);
    }
    if (name->holder == claim)
        conflict_settle_known(c, name);
}

/* Only what it claimed itself, and not what it has claimed since. */
static void
take_removal(struct cluster *c, struct peer *p, const struct sys_entry *e)
{
    struct name *name = name_find(c, REGISTRY_GLOBAL, e->name.at, e->name.len);
    struct claim *claim = name != NULL ? name_claim_of(name, p->index) : NULL;

    if (claim == NULL || claim->sequence > e->sequence)
        return;
    claim_drop(c, claim);
    name_tidy(c, name);
    if (p->is_over_limit && p->replica == REPLICA_READY && p->claim_count < registry_capacity(c->config.registry) / 2) {
        p->is_over_limit = false;
        ask(c, p, "there is room for its names again");
    }
}

/* The pair: a claim that the peer has lost to another node. In a sync it is about the past: who was not alive then has nothing to tell, and the peer may
 * have claimed the name anew since. */
static void
take_lost(struct cluster *c, struct peer *p, const struct sys_entry *e, const struct sys_entry *removal, bool is_sync)
{
    struct name *name = name_find(c, REGISTRY_GLOBAL, e->name.at, e->name.len);
    struct claim *claim = name != NULL ? name_claim_of(name, p->index) : NULL, lost = claim_of(p, e);
    bool is_known = claim != NULL && claim->sequence <= removal->sequence;
    bool was_aside = is_known && name->holder != claim;      /* told when it was put aside */

    if (!is_known && is_sync && lost.registered_at_ms < c->born_wall_ms)
        return;
    if (is_known)
        take_removal(c, p, removal);
    if (!was_aside)
        conflict_lost(c, e->name.at, e->name.len, &lost);
}

/* Entries in their order; a registration waits for the next entry, which may make it a pair. */
struct intake { struct sys_entry held; bool is_held, is_sync; };

static void
intake_end(struct cluster *c, struct peer *p, struct intake *in)
{
    if (in->is_held)
        take_registration(c, p, &in->held);
    in->is_held = false;
}

static void
intake_entry(struct cluster *c, struct peer *p, struct intake *in, const struct sys_entry *e)
{
    if (in->is_held && e->is_removal && e->name.len == in->held.name.len && memcmp(e->name.at, in->held.name.at, e->name.len) == 0) {
        in->is_held = false;
        take_lost(c, p, &in->held, e, in->is_sync);
        return;
    }
    intake_end(c, p, in);
    if (e->is_removal) {
        if (!in->is_sync)
            take_removal(c, p, e);
        return;
    }
    in->held = *e;
    in->is_held = true;
}

static void
take_delta(struct cluster *c, struct peer *p, struct sys_entries *entries)
{
    uint64_t digest = sys_entries_delta(entries)->digest;
    struct intake in = { .is_sync = false };
    struct sys_entry e;

    if (p->replica != REPLICA_READY && p->replica != REPLICA_PAGES)
        return;
    while (sys_entries_next(entries, &e)) {
        if (e.sequence != p->in_sequence + 1) {
            intake_end(c, p, &in);
            if (e.sequence <= p->in_sequence)
                cluster_count_bad(c);
            ask(c, p, "sequence numbers do not go on");
            return;
        }
        p->in_sequence = e.sequence;
        intake_entry(c, p, &in, &e);
    }
    intake_end(c, p, &in);
    if (p->replica == REPLICA_READY && digest != p->in_digest && !p->is_over_limit)
        ask(c, p, "digest differs");
}

static void
end_round(struct cluster *c, struct peer *p, uint64_t digest)
{
    list_each(it, &p->claims) {
        struct claim *claim = list_item(it, struct claim, of_node);
        if (claim->round != p->in_round)
            claim_condemn(c, claim);
    }
    p->replica = REPLICA_READY;
    if (digest != p->in_digest && !p->is_over_limit) {
        ask(c, p, "digest differs after a sync");
        return;
    }
    if (!p->is_synced_told) {
        p->is_synced_told = true;
        log_info("cluster: names synced node=%s names=%u", p->id.text, p->claim_count);
        event_synced(c, p);
    }
}

static void
take_page(struct cluster *c, struct peer *p, struct sys_entries *entries)
{
    struct sys_sync_head head = *sys_entries_sync(entries);
    struct intake in = { .is_sync = true };
    struct sys_entry e;

    if (head.page == 0) {
        p->replica = REPLICA_PAGES;
        p->in_round++;
        p->round_count = 0;
        p->in_sequence = head.sequence;
        p->in_page = 0;
        p->is_over_limit = false;
    } else if (p->replica != REPLICA_PAGES)
        return;
    if (head.page != p->in_page || head.sequence != p->in_sequence) {
        ask(c, p, "pages do not go on");
        return;
    }
    p->in_page++;
    while (sys_entries_next(entries, &e))
        intake_entry(c, p, &in, &e);
    intake_end(c, p, &in);
    if (head.is_last)
        end_round(c, p, head.digest);
}

int
replication_take(struct cluster *c, struct peer *p, uint8_t kind, const uint8_t *body, size_t len, struct base_error *why)
{
    struct sys_entries *entries;
    int err = sys_entries_open(kind, body, len, &entries, why);

    if (err != 0)
        return err;
    if (kind == KIND_REGISTRY_DELTA)
        take_delta(c, p, entries);
    else if (!sys_entries_is_request(entries))
        take_page(c, p, entries);
    else {
        p->is_sync_wanted = true;
        if (!p->is_sync_running)
            timer_arm(c, &p->sync, c->now_ns + 1);
    }
    sys_entries_close(&entries);
    return 0;
}
