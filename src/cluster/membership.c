/*
 * membership.c - whom we know and when we dial: seeds, gossip, back-off.
 *
 * Lives here: the dials, one at a time to each address; their back-off, for ever; addresses that turned out to be another node, or this one.
 * Never here: what is said on a connection (conn.c); which link is used (peer.c).
 * Runs in: the link worker, the simulator.
 */
#include "cluster/cluster_priv.h"

#include <string.h>

enum { DIALS_MAX = 64, DIALS_FULL_MS = 100, JITTER_PERCENT = 20, SELF_FACTOR = 10, STEADY_FACTOR = 10 };

static void
dial_later(struct cluster *c, struct peer *p)
{
    uint32_t max_ms = c->config.reconnect_max_ms;

    if (c->is_leaving || p->is_up)
        return;
    if (p->is_self) {                        /* seldom, but not never: who reflects us once must not hide a node for good */
        timer_arm(c, &p->redial, cluster_after_ms(c, (uint64_t)max_ms * SELF_FACTOR));
        return;
    }
    timer_arm(c, &p->redial, cluster_after_ms(c, cluster_jitter(c, p->backoff_ms, JITTER_PERCENT)));
    p->backoff_ms = p->backoff_ms >= max_ms / 2 ? max_ms : p->backoff_ms * 2;
}

static void
show(struct cluster *c, struct peer *p, enum nodes_state state, enum nodes_reason reason)
{
    if (p->is_up || (p->state == state && p->reason == reason))
        return;
    p->state = state;
    p->reason = reason;
    peer_publish(c, p);
}

/* The nodes that the table knows from before, and the seeds: all at once. */
void
membership_start(struct cluster *c)
{
    for (size_t i = 0; i < c->config.seed_count; i++)
        (void)peer_learn(c, &c->seeds[i]);
    peers_each(p, c)
        timer_arm(c, &p->redial, c->now_ns);
}

void
membership_redial(struct cluster *c, struct timer *t)
{
    struct peer *p = base_container_of(t, struct peer, redial);

    if (c->is_leaving || p->is_up || p->dial != NULL)
        return;
    if (!list_is_empty(&p->waiting)) {       /* nearly there */
        timer_arm(c, t, cluster_after_ms(c, c->config.reconnect_min_ms));
        return;
    }
    if (p->alias_of != NULL && p->alias_of->is_up) {
        timer_arm(c, t, cluster_after_ms(c, c->config.reconnect_max_ms));
        return;
    }
    if (c->dials >= DIALS_MAX) {
        timer_arm(c, t, cluster_after_ms(c, DIALS_FULL_MS));
        return;
    }
    if (p->state == NODES_UNKNOWN && p->alias_of == NULL && !p->is_self)
        show(c, p, NODES_CONNECTING, NODES_REASON_NONE);
    struct conn *conn;
    uint64_t number = c->config.out.dial(c->config.arg, &p->id);
    if (number == 0 || conn_new(c, number, &conn) != 0) {
        if (number != 0)
            c->config.out.close(c->config.arg, number, 0, 0);
        log_warn("cluster: cannot dial node=%s", p->id.text);
        dial_later(c, p);
        return;
    }
    conn->state = CONN_DIALING;
    conn->dialed = p;
    p->dial = conn;
    c->dials++;
}

/* We do not want it any more: the peer is up by another link. */
void
membership_forget_dial(struct cluster *c, struct peer *p)
{
    struct conn *conn = p->dial;

    if (conn == NULL)
        return;
    p->dial = NULL;
    c->dials--;
    conn_end(c, conn, 0, 0);
}

/* It led somewhere else than to the node of that name. */
static void
note_identity(struct cluster *c, struct peer *p, struct peer *is)
{
    p->is_self = false;
    if (p == is) {
        p->alias_of = NULL;
        return;
    }
    if (p->alias_of != is)
        log_info("cluster: another node answers at an address node=%s address=%s", is->id.text, p->id.text);
    p->alias_of = is;
    show(c, p, p->incarnation != 0 ? NODES_DOWN : NODES_UNKNOWN, p->incarnation != 0 ? p->reason : NODES_REASON_NONE);
    p->backoff_ms = c->config.reconnect_min_ms;
    timer_arm(c, &p->redial, cluster_after_ms(c, c->config.reconnect_max_ms));
}

/* A dial is over: proved (reason none), or without success. `what` is said in the log; a plain refusal only when it is news. */
void
membership_dial_ended(struct cluster *c, struct conn *conn, enum nodes_reason reason, const char *what)
{
    struct peer *p = conn->dialed;

    if (p->dial != conn)
        return;
    p->dial = NULL;
    c->dials--;
    if (reason == NODES_REASON_NONE) {
        note_identity(c, p, conn->peer);
        if (p == conn->peer)                 /* should nobody choose that link; a success is no reason to wait longer */
            timer_arm(c, &p->redial, cluster_after_ms(c, p->backoff_ms));
        return;
    }
    if (what != NULL && !p->is_self)
        log_warn("cluster: dial failed node=%s reason=%s", p->id.text, what);
    else if (p->reason != reason && !p->is_self)
        log_info("cluster: dial failed node=%s reason=%s", p->id.text, nodes_reason_name(reason));
    if (p->is_self)
        show(c, p, NODES_UNKNOWN, NODES_REASON_NONE);
    else
        show(c, p, NODES_DOWN, reason);
    dial_later(c, p);
    peer_choose(c, p);
}

/* A link that held for a while starts the back-off anew; one that flaps does not. */
void
membership_after_down(struct cluster *c, struct peer *p)
{
    if (c->now_ns - p->up_since_ns >= (uint64_t)c->config.reconnect_min_ms * STEADY_FACTOR * CLOCK_NS_PER_MS)
        p->backoff_ms = c->config.reconnect_min_ms;
    dial_later(c, p);
}

/* Somebody is connected to these. Unknown ones are dialled; one that we miss is worth an earlier try. */
void
membership_gossip(struct cluster *c, struct peer *from, const struct sys_heartbeat *h)
{
    for (uint32_t i = 0; i < h->node_count; i++) {
        struct node_id id;
        if (node_id_parse(h->nodes[i].at, h->nodes[i].len, &id, NULL) != 0)
            continue;
        struct peer *p = peer_find(c, id.text, strlen(id.text));
        bool is_new = p == NULL;
        if (is_new)
            p = peer_learn(c, &id);
        if (p == NULL || p == from || p->is_up || p->is_self || p->dial != NULL || p->waiting_count > 0)
            continue;
        if (p->alias_of != NULL && p->alias_of->is_up)
            continue;
        uint64_t soon_ns = is_new ? c->now_ns : cluster_after_ms(c, cluster_jitter(c, c->config.reconnect_min_ms, JITTER_PERCENT));
        if (p->redial.node.key > soon_ns)
            timer_arm(c, &p->redial, soon_ns);
    }
}
