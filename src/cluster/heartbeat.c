/*
 * heartbeat.c - signs of life: sent at each interval, missed after some.
 *
 * Lives here: the beat, the limit of silence, the grace after our own lateness, behavior tables told and compared.
 * Never here: what happens to a node that is silent (peer.c); digests (replication.c).
 * Runs in: the link worker, the simulator.
 */
#include "cluster/cluster_priv.h"

#include <string.h>

enum { GOSSIP_BYTES = 48 * 1024 };

static uint64_t
uptime_ms(const struct cluster *c)
{
    return c->now_ns > c->config.started_ns ? (c->now_ns - c->config.started_ns) / CLOCK_NS_PER_MS : 0;
}

static uint32_t
own_servers(const struct cluster *c)
{
    return c->config.servers != NULL ? c->config.servers(c->config.arg) : 0;
}

/* Half an interval of slack: data may replace a heartbeat up to a quarter of an interval before its time, and the network delays. */
static uint64_t
silence_limit(const struct cluster *c)
{
    return c->interval_ns * c->config.heartbeat_misses + c->interval_ns / 2;
}

/* ---------------------------------------------------------------- sending */

static void
add_gossip(struct cluster *c, struct peer *to, struct sys_heartbeat *h)
{
    uint32_t count = c->peer_count > 1 ? c->peer_count - 1 : 0, i;
    size_t bytes = 0;

    for (i = 0; i < count && h->node_count < SYS_GOSSIP_MAX && bytes < GOSSIP_BYTES; i++) {
        struct peer *p = c->peers[1 + (c->gossip_from + i) % count];
        if (p == NULL || !p->is_up || p == to)
            continue;
        h->nodes[h->node_count++] = (struct sys_text){ p->id.text, strlen(p->id.text) };
        bytes += strlen(p->id.text) + 3;
    }
    if (i < count)                           /* more than fit: go on behind them next time */
        c->gossip_from = (c->gossip_from + i) % count;
}

void
heartbeat_send(struct cluster *c, struct peer *p, bool is_full)
{
    struct sys_heartbeat h = { .is_full = is_full, .servers = own_servers(c), .uptime_ms = uptime_ms(c) };

    replication_flush(c);                    /* what the digest counts has gone before it */
    h.sequence = registry_sequence(c->writer);
    h.digest = c->own_digest;
    if (is_full)
        add_gossip(c, p, &h);
    buf_clear(&c->body);
    int err = sys_heartbeat_encode(&h, &c->body);
    if (err != 0) {
        log_error("cluster: heartbeat not sent node=%s error=%s", p->id.text, nx_errname(err));
        return;
    }
    peer_send(c, p, KIND_HEARTBEAT, &c->body);
    if (is_full)
        p->is_full_due = false;
}

static void
publish_self(struct cluster *c)
{
    struct nodes_entry e;

    if (nodes_get(c->config.nodes, 0, &e) != 0)
        return;
    e.state = NODES_UP;
    e.incarnation = c->config.incarnation;
    e.servers = own_servers(c);
    e.uptime_ms = uptime_ms(c);
    e.last_heartbeat_ms = c->wall_ms;
    if (e.up_since_ms == 0)
        e.up_since_ms = c->wall_ms - (e.uptime_ms < c->wall_ms ? e.uptime_ms : c->wall_ms);
    nodes_put(c->config.nodes, 0, &e);
}

/* Of the table as it stands; a reload changes it. */
static uint64_t
behaviors_fingerprint(const struct cluster *c)
{
    uint64_t print = 1;
    uint32_t count = behaviors_count(c->config.behaviors);

    for (uint32_t i = 0; i < count && i < SYS_BEHAVIORS_MAX; i++) {
        struct behaviors_entry e;
        if (behaviors_get(c->config.behaviors, i, &e) != 0)
            continue;
        print += table_hash(e.version, e.hash, sizeof e.hash) * (e.is_present ? i + 1 : i + 1000003);
    }
    return print;
}

static void
beat(struct cluster *c, struct timer *t)
{
    uint64_t next_ns = c->beat_ns + c->interval_ns;
    uint64_t print = behaviors_fingerprint(c);
    bool is_changed = print != c->behaviors_print;

    c->beat_ns = next_ns > c->now_ns ? next_ns : c->now_ns + c->interval_ns;
    timer_arm(c, t, c->beat_ns);
    c->behaviors_print = print;
    publish_self(c);
    conflict_expire(c);
    peers_each(p, c) {
        if (!p->is_up)
            continue;
        if (is_changed)
            behaviors_send(c, p);
        p->beats++;
        bool is_full = p->is_full_due || p->beats % c->config.gossip_every == 0;
        if (is_full || c->now_ns - p->sent_ns >= c->interval_ns / 4)
            heartbeat_send(c, p, is_full);
    }
}

int
heartbeat_start(struct cluster *c)
{
    c->behaviors_print = behaviors_fingerprint(c);
    publish_self(c);
    int err = timer_init(c, &c->beat, beat);
    c->beat_ns = c->now_ns + c->interval_ns;
    if (err == 0)
        timer_arm(c, &c->beat, c->beat_ns);
    return err;
}

void
cluster_sent(struct cluster *c, struct cluster_time t, uint64_t number)
{
    struct conn *conn = conn_find(c, number);
    if (conn != NULL && conn->state == CONN_UP)
        conn->peer->sent_ns = t.now_ns;
}

/* ---------------------------------------------------------------- silence */

/* Called at each input. Our own loop was late (stopped, starved): what the peers sent meanwhile has not been read yet, so their silence says
 * nothing. One interval to read it. */
void
heartbeat_check_late(struct cluster *c)
{
    if (c->now_ns > c->beat_ns + c->interval_ns && c->grace_until_ns <= c->now_ns) {
        c->grace_until_ns = c->now_ns + c->interval_ns;
        if (c->up_count > 0)
            log_warn("cluster: this process was late by_ms=%llu, nobody is declared down for one interval",
                     (unsigned long long)((c->now_ns - c->beat_ns) / CLOCK_NS_PER_MS));
    }
}

void
heartbeat_silence(struct cluster *c, struct timer *t)
{
    struct peer *p = base_container_of(t, struct peer, silence);
    uint64_t limit_ns = p->alive_ns + silence_limit(c);

    if (!p->is_up)
        return;
    if (limit_ns < c->grace_until_ns)
        limit_ns = c->grace_until_ns;
    if (c->now_ns < limit_ns)
        timer_arm(c, t, limit_ns);
    else
        peer_cut(c, p, NODES_HEARTBEAT_TIMEOUT, 0);
}

void
heartbeat_peer_up(struct cluster *c, struct peer *p)
{
    p->alive_ns = c->now_ns;
    p->sent_ns = 0;
    p->beats = 0;
    timer_arm(c, &p->silence, c->now_ns + silence_limit(c));
    peers_each(other, c)
        if (other != p)
            other->is_full_due = true;       /* news for them, with the next beat */
}

int
heartbeat_take(struct cluster *c, struct peer *p, const uint8_t *body, size_t len, struct base_error *why)
{
    struct sys_heartbeat h;
    int err = sys_heartbeat_decode(body, len, &h, why);

    if (err != 0)
        return err;
    p->servers = h.servers;
    p->uptime_ms = h.uptime_ms;
    p->last_heartbeat_wall_ms = c->wall_ms;
    peer_publish(c, p);
    replication_check(c, p, &h);
    if (h.is_full)
        membership_gossip(c, p, &h);
    return 0;
}

/* ---------------------------------------------------------------- behavior tables */

/* In messages of a bounded number of entries. There is always a first one: it tells a follower that its link is chosen. */
void
behaviors_send(struct cluster *c, struct peer *p)
{
    uint32_t count = behaviors_count(c->config.behaviors), at = 0;

    do {
        uint32_t filled = 0;
        for (; at < count && filled < BEHAVIORS_BATCH; at++) {
            struct behaviors_entry *e = &c->behavior_entries[filled];        /* the name must live until it is encoded */
            if (behaviors_get(c->config.behaviors, at, e) != 0 || !e->is_present)
                continue;
            struct sys_behavior *b = &c->behavior_list[filled++];
            *b = (struct sys_behavior){ .name = { e->name, strlen(e->name) }, .version = e->version };
            memcpy(b->hash, e->hash, sizeof b->hash);
        }
        buf_clear(&c->body);
        int err = sys_behaviors_encode(c->behavior_list, filled, &c->body);
        if (err != 0) {
            log_error("cluster: behavior table not sent node=%s error=%s", p->id.text, nx_errname(err));
            return;
        }
        peer_send(c, p, KIND_BEHAVIORS, &c->body);
    } while (at < count);
}

static void
compare_behavior(struct cluster *c, struct peer *p, const struct sys_behavior *theirs)
{
    struct behaviors_entry ours;
    uint32_t index;

    if (behaviors_find(c->config.behaviors, theirs->name.at, theirs->name.len, &index) != 0 || index >= SYS_BEHAVIORS_MAX ||
        behaviors_get(c->config.behaviors, index, &ours) != 0 || !ours.is_present)
        return;
    if (ours.version == theirs->version && memcmp(ours.hash, theirs->hash, sizeof ours.hash) == 0)
        return;
    uint8_t bit = (uint8_t)(1u << index % 8);
    if ((p->warned[index / 8] & bit) != 0)
        return;
    p->warned[index / 8] |= bit;
    log_warn("cluster: behavior differs behavior=%s node=%s its_version=%u own_version=%u%s", ours.name, p->id.text, theirs->version,
             ours.version, ours.version == theirs->version ? " content=differs" : "");
}

int
behaviors_take(struct cluster *c, struct peer *p, const uint8_t *body, size_t len, struct base_error *why)
{
    size_t count;
    int err = sys_behaviors_decode(body, len, c->behavior_list, SYS_BEHAVIORS_MAX, &count, why);

    for (size_t i = 0; err == 0 && i < count; i++)
        compare_behavior(c, p, &c->behavior_list[i]);
    return err;
}
