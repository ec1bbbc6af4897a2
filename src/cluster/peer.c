/*
 * peer.c - another node: which proved link is the way to it, when it is up and when it is down.
 *
 * Lives here: the choice between links, up and down, the node table's entry.
 * Never here: the handshake (conn.c), when to dial (membership.c), silence (heartbeat.c).
 * Runs in: the link worker, the simulator.
 *
 * The choice. Both nodes may dial at once, and neither sees both links at the same time. So one of them decides: the one with the smaller id (the
 * chooser). The other (the follower) uses a proved link only after the chooser's first message on it, its behavior table; so no message goes before
 * the choice, and what the chooser does not choose was never used by anyone: it is closed and nothing is lost. No node-down comes of it.
 *
 *   chooser, link proved that it dialled itself          up, at once; links of the follower that wait are closed (duplicate)
 *   chooser, link proved that the follower dialled       own dial in progress: wait for its end, 500 ms at most (a dial into a black hole
 *                                                        must not keep the pair apart); then, or else: up
 *   follower, link proved                                wait for the chooser's first message on it: up; its own dial is given up
 *   either, up, its own second dial is proved            closed by who dialled it (another address of the same node, or the chooser was faster)
 *   chooser, up, a second link of the follower proved    the follower has lost the first one, or has not yet seen the choice. In the second case it
 *                                                        closes the link itself, or is heard on the first one: then the second is closed.
 *                                                        Nothing of both for 700 ms: down and up on the second
 *   follower, up, the chooser's first message on another the chooser has given up the first one: down and up on that
 *   either, link proved with another incarnation         the old life is over, whoever dialled: down; then as above
 *
 * Nobody waits longer than the follower does for a first message: after that it closes the link and dials again.
 */
#include "cluster/cluster_priv.h"

#include <stdlib.h>
#include <string.h>

enum { CHOICE_MS = 500, RIVAL_MS = 700, WAITING_MAX = 4, SKEW_WARN_MS = 500 };

static void choice_due(struct cluster *c, struct timer *t);

/* ---------------------------------------------------------------- the table of peers */

int
peer_new(struct cluster *c, uint32_t index, struct peer **out)
{
    struct nodes_entry e;

    if (nodes_get(c->config.nodes, index, &e) != 0)
        return NX_EINVAL;
    if (index >= c->peer_cap) {
        uint32_t cap = c->peer_cap == 0 ? 16 : c->peer_cap;
        while (cap <= index)
            cap *= 2;
        struct peer **peers = realloc(c->peers, cap * sizeof(struct peer *));
        if (peers == NULL)
            return NX_ENOMEM;
        memset(peers + c->peer_cap, 0, (cap - c->peer_cap) * sizeof(struct peer *));
        c->peers = peers;
        c->peer_cap = cap;
    }
    struct peer *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NX_ENOMEM;
    if (timer_init(c, &p->choice, choice_due) != 0 || timer_init(c, &p->redial, membership_redial) != 0 ||
        timer_init(c, &p->silence, heartbeat_silence) != 0 || timer_init(c, &p->sync, replication_page) != 0) {
        peer_free(c, p);
        return NX_ENOMEM;
    }
    p->index = index;
    p->id = e.id;
    p->state = e.state;
    p->reason = e.reason;
    p->incarnation = e.incarnation;
    p->session = e.session;
    p->servers = e.servers;
    p->uptime_ms = e.uptime_ms;
    p->last_heartbeat_wall_ms = e.last_heartbeat_ms;
    p->up_since_wall_ms = e.up_since_ms;
    p->backoff_ms = c->config.reconnect_min_ms;
    list_init(&p->waiting);
    list_init(&p->claims);
    c->peers[index] = p;
    if (index >= c->peer_count)
        c->peer_count = index + 1;
    *out = p;
    return 0;
}

void
peer_free(struct cluster *c, struct peer *p)
{
    timer_fini(c, &p->choice);
    timer_fini(c, &p->redial);
    timer_fini(c, &p->silence);
    timer_fini(c, &p->sync);
    free(p);
}

struct peer *
peer_find(const struct cluster *c, const char *id, size_t len)
{
    uint32_t index;
    return nodes_find(c->config.nodes, id, len, &index) == 0 ? cluster_peer(c, index) : NULL;
}

/* The peer of an id, new if it was never heard of. The node table bounds how many there can be. */
struct peer *
peer_learn(struct cluster *c, const struct node_id *id)
{
    struct peer *p;
    uint32_t index;

    if (strcmp(id->text, c->config.self.text) == 0)
        return NULL;
    p = peer_find(c, id->text, strlen(id->text));
    if (p != NULL)
        return p;
    int err = nodes_add(c->config.nodes, id, &index);
    if (err == 0)
        err = peer_new(c, index, &p);
    if (err != 0) {
        if (log_gate_pass(&c->log_gate, 1))
            log_warn("cluster: no room for another node node=%s error=%s", id->text, nx_errname(err));
        return NULL;
    }
    return p;
}

void
peer_publish(struct cluster *c, struct peer *p)
{
    struct nodes_entry e;

    if (nodes_get(c->config.nodes, p->index, &e) != 0)        /* the counters in it belong to the link worker */
        return;
    e.state = p->state;
    e.reason = p->reason;
    e.incarnation = p->incarnation;
    e.session = p->session;
    e.servers = p->servers;
    e.uptime_ms = p->uptime_ms;
    e.last_heartbeat_ms = p->last_heartbeat_wall_ms;
    e.up_since_ms = p->up_since_wall_ms;
    nodes_put(c->config.nodes, p->index, &e);
}

void
peer_send(struct cluster *c, struct peer *p, uint8_t kind, const struct buf *body)
{
    nx_assert(p->up != NULL);
    c->config.out.send(c->config.arg, p->up->number, kind, buf_data(body), buf_len(body));
}

bool
peer_is_ours_to_choose(const struct cluster *c, const struct peer *p)
{
    return strcmp(c->config.self.text, p->id.text) < 0;
}

/* ---------------------------------------------------------------- up and down */

void
peer_unwait(struct cluster *c, struct conn *conn)
{
    (void)c;
    if (!list_is_linked(&conn->waiting))
        return;
    list_remove(&conn->waiting);
    conn->peer->waiting_count--;
}

static void
end_waiting(struct cluster *c, struct peer *p)
{
    list_each_safe(it, next, &p->waiting)
        conn_end(c, list_item(it, struct conn, waiting), FRAME_CLOSE_DUPLICATE, 0);
}

static void
go_up(struct cluster *c, struct peer *p, struct conn *conn)
{
    nx_assert(!p->is_up && conn->peer == p);
    peer_tell_takeover(c, p);
    claims_sweep_peer(c, p);
    peer_unwait(c, conn);
    conn->state = CONN_UP;
    timer_stop(c, &conn->deadline);
    timer_stop(c, &p->choice);
    timer_stop(c, &p->redial);
    p->is_up = true;
    p->up = conn;
    if (p->incarnation != conn->incarnation)
        memset(p->warned, 0, sizeof p->warned);
    p->incarnation = conn->incarnation;
    p->state = NODES_UP;
    p->reason = NODES_REASON_NONE;
    p->up_since_ns = c->now_ns;
    p->up_since_wall_ms = c->wall_ms;
    p->last_heartbeat_wall_ms = c->wall_ms;
    c->up_count++;
    membership_forget_dial(c, p);
    end_waiting(c, p);
    peer_publish(c, p);
    log_info("cluster: node up node=%s incarnation=%016llx session=%u", p->id.text, (unsigned long long)p->incarnation, p->session);
    if (conn->skew_ms > SKEW_WARN_MS || conn->skew_ms < -SKEW_WARN_MS)
        log_warn("cluster: clocks differ node=%s its_clock_is_ahead_ms=%lld: earlier registrations win names, keep clocks in step",
                 p->id.text, (long long)conn->skew_ms);
    c->config.out.up(c->config.arg, conn->number, p->index, p->session, true);
    heartbeat_peer_up(c, p);
    behaviors_send(c, p);                    /* first: it tells a follower that this link is chosen */
    heartbeat_send(c, p, true);
    replication_peer_up(c, p);
}

/* The link, if it is still there, is the caller's business. */
void
peer_down(struct cluster *c, struct peer *p, enum nodes_reason reason)
{
    uint32_t session = p->session;

    nx_assert(p->is_up);
    p->is_up = false;
    p->up = NULL;
    p->session++;
    p->state = NODES_DOWN;
    p->reason = reason;
    p->servers = 0;
    c->up_count--;
    timer_stop(c, &p->silence);
    timer_stop(c, &p->choice);
    peer_publish(c, p);
    log_info("cluster: node down node=%s reason=%s names=%u", p->id.text, nodes_reason_name(reason), p->claim_count);
    c->config.out.down(c->config.arg, p->index, session, reason);
    replication_peer_down(c, p);
    list_each(it, &p->claims)
        claim_condemn(c, list_item(it, struct claim, of_node));
    membership_after_down(c, p);
}

/* A node that was up when our predecessor died: its end is told by us. */
void
peer_tell_takeover(struct cluster *c, struct peer *p)
{
    if (!p->is_down_untold)
        return;
    p->is_down_untold = false;
    c->config.out.down(c->config.arg, p->index, p->session - 1, NODES_CONNECTION_CLOSED);
}

/* Down by our own decision, or because another link takes over. */
static void
replace(struct cluster *c, struct peer *p)
{
    struct conn *old = p->up;
    peer_down(c, p, NODES_CONNECTION_CLOSED);
    conn_end(c, old, FRAME_CLOSE_MOVED, 0);
}

/* ---------------------------------------------------------------- the choice */

void
peer_choose(struct cluster *c, struct peer *p)
{
    struct conn *best = NULL;

    if (p->is_up || c->is_leaving || !peer_is_ours_to_choose(c, p))
        return;
    list_each(it, &p->waiting) {
        struct conn *conn = list_item(it, struct conn, waiting);
        if (best == NULL || (conn->dialed != NULL && best->dialed == NULL))
            best = conn;
    }
    if (best == NULL)
        return;
    uint64_t until_ns = best->proved_ns + CHOICE_MS * CLOCK_NS_PER_MS;
    if (best->dialed == NULL && p->dial != NULL && c->now_ns < until_ns)
        timer_arm(c, &p->choice, until_ns);
    else
        go_up(c, p, best);
}

static void
choice_due(struct cluster *c, struct timer *t)
{
    struct peer *p = base_container_of(t, struct peer, choice);

    if (p->is_up && !list_is_empty(&p->waiting)) {
        struct conn *rival = list_item(p->waiting.next, struct conn, waiting);
        uint64_t until_ns = rival->proved_ns + RIVAL_MS * CLOCK_NS_PER_MS;
        if (c->now_ns < until_ns) {
            timer_arm(c, t, until_ns);
            return;
        }
        replace(c, p);
    }
    peer_choose(c, p);
}

/* A connection has proved whose it is. */
void
peer_proved(struct cluster *c, struct conn *conn)
{
    struct peer *p = peer_learn(c, &conn->claimed);

    if (p == NULL || c->is_leaving) {
        conn_end(c, conn, FRAME_CLOSE_OVERLOAD, 0);
        if (conn->dialed != NULL)
            membership_dial_ended(c, conn, NODES_CONNECTION_REFUSED, "no room for it");
        return;
    }
    conn->peer = p;
    if (conn->source != NULL)
        guests_prove(c, conn->source);
    if (conn->dialed != NULL)
        membership_dial_ended(c, conn, NODES_REASON_NONE, NULL);
    if (p->is_up && p->incarnation != conn->incarnation)
        replace(c, p);
    if (!list_is_empty(&p->waiting) && list_item(p->waiting.next, struct conn, waiting)->incarnation != conn->incarnation)
        end_waiting(c, p);
    if ((p->is_up && conn->dialed != NULL) || p->waiting_count >= WAITING_MAX) {
        conn_end(c, conn, FRAME_CLOSE_DUPLICATE, 0);
        return;
    }
    list_push_back(&p->waiting, &conn->waiting);
    p->waiting_count++;
    if (!peer_is_ours_to_choose(c, p))
        return;
    if (p->is_up)
        timer_arm(c, &p->choice, conn->proved_ns + RIVAL_MS * CLOCK_NS_PER_MS);
    else
        peer_choose(c, p);
}

/* Follower: the chooser's first message has come on this connection. */
void
peer_lead(struct cluster *c, struct conn *conn)
{
    struct peer *p = conn->peer;

    if (p->is_up)
        replace(c, p);
    go_up(c, p, conn);
}

/* ---------------------------------------------------------------- inputs about links in use */

void
peer_heard(struct cluster *c, struct peer *p)
{
    p->alive_ns = c->now_ns;
    if (!list_is_empty(&p->waiting) && peer_is_ours_to_choose(c, p))
        end_waiting(c, p);                   /* it is heard on the first link: the second was a dial that it had under way */
}

void
cluster_alive(struct cluster *c, struct cluster_time t, uint64_t number)
{
    cluster_enter(c, t);
    struct conn *conn = conn_find(c, number);
    if (conn != NULL && conn->state == CONN_UP)
        peer_heard(c, conn->peer);
    cluster_done(c);
}

void
cluster_close_frame(struct cluster *c, struct cluster_time t, uint64_t number, uint8_t reason)
{
    cluster_enter(c, t);
    struct conn *conn = conn_find(c, number);
    if (conn != NULL && conn->state == CONN_UP)
        peer_cut(c, conn->peer, reason == FRAME_CLOSE_SHUTDOWN ? NODES_GRACEFUL_SHUTDOWN : NODES_CONNECTION_CLOSED, 0);
    else if (conn != NULL && conn->state == CONN_PROVED)
        conn_end(c, conn, 0, 0);
    cluster_done(c);
}

/* Down, and the end of its link. */
void
peer_cut(struct cluster *c, struct peer *p, enum nodes_reason reason, int close_reason)
{
    struct conn *old = p->up;
    peer_down(c, p, reason);
    conn_end(c, old, close_reason, 0);
    peer_choose(c, p);
}
