/*
 * cluster.c - the cluster as a whole: made, fed, asked for its next deadline, freed.
 *
 * Lives here: the inputs and where they go, the heap of timers, randomness.
 * Never here: any rule of the cluster.
 * Runs in: the link worker, the simulator.
 *
 * Every input begins with cluster_enter (the time) and ends with cluster_done (what has changed goes to the peers).
 */
#include "cluster/cluster_priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/random.h"

enum { BODY_MAX = 128 * 1024 };

/* ---------------------------------------------------------------- timers */

int
timer_init(struct cluster *c, struct timer *t, void (*fire)(struct cluster *c, struct timer *t))
{
    heap_node_init(&t->node);
    t->fire = fire;
    return heap_push(&c->timers, &t->node, TIMER_NEVER);
}

void
timer_fini(struct cluster *c, struct timer *t)
{
    heap_remove(&c->timers, &t->node);
}

void
timer_arm(struct cluster *c, struct timer *t, uint64_t at_ns)
{
    nx_assert(heap_has(&t->node));
    heap_remove(&c->timers, &t->node);
    int err = heap_push(&c->timers, &t->node, at_ns);
    nx_assert(err == 0);                     /* its place was just left */
}

uint64_t
cluster_next(const struct cluster *c)
{
    const struct heap_node *first = heap_peek(&c->timers);
    return first == NULL || first->key == TIMER_NEVER ? 0 : first->key;
}

uint64_t
cluster_after_ms(const struct cluster *c, uint64_t ms)
{
    return c->now_ns + ms * CLOCK_NS_PER_MS;
}

/* ---------------------------------------------------------------- randomness */

int
cluster_random(struct cluster *c, void *bytes, size_t len)
{
    return c->config.random != NULL ? c->config.random(c->config.arg, bytes, len) : random_bytes(bytes, len);
}

/* For delays and drops: without entropy the middle will do. */
uint32_t
cluster_pick(struct cluster *c, uint32_t below)
{
    uint32_t r;
    if (cluster_random(c, &r, sizeof r) != 0)
        return below / 2;
    return (uint32_t)((uint64_t)r * below >> 32);
}

uint32_t
cluster_jitter(struct cluster *c, uint32_t value, uint32_t percent)
{
    uint32_t width = (uint32_t)((uint64_t)value * percent / 100);
    uint64_t made = (uint64_t)value - width + cluster_pick(c, 2 * width + 1);
    return made < 1 ? 1 : made > UINT32_MAX ? UINT32_MAX : (uint32_t)made;
}

/* ---------------------------------------------------------------- life */

/* A monotonic clock that stands or steps back a little (two callers, two readings) must not move ours. */
void
cluster_enter(struct cluster *c, struct cluster_time t)
{
    if (t.now_ns > c->now_ns)
        c->now_ns = t.now_ns;
    c->wall_ms = t.wall_ms;
    heartbeat_check_late(c);
}

void
cluster_done(struct cluster *c)
{
    replication_flush(c);
}

void
cluster_count_bad(struct cluster *c)
{
    if (c->config.stats != NULL)
        stats_add(c->config.stats, bad_messages, 1);
}

static void
tell_takeover(struct cluster *c, struct timer *t)
{
    (void)t;
    peers_each(p, c)
        peer_tell_takeover(c, p);
}

/* The node table as a predecessor left it. */
static int
load_nodes(struct cluster *c, struct base_error *why)
{
    uint32_t index;

    if (nodes_add(c->config.nodes, &c->config.self, &index) != 0 || index != 0)
        return base_error_set(why, NX_EINVAL, c->config.self.text, "cluster: this node is not the first of its node table");
    uint32_t count = nodes_count(c->config.nodes);
    for (uint32_t i = 1; i < count; i++) {
        struct peer *p;
        if (peer_new(c, i, &p) != 0)
            return base_error_set(why, NX_ENOMEM, NULL, "cluster: out of memory for %u nodes", count);
        if (p->state == NODES_UP) {
            p->state = NODES_DOWN;
            p->reason = NODES_CONNECTION_CLOSED;
            p->session++;
            p->is_down_untold = true;
            peer_publish(c, p);
        }
    }
    return 0;
}

static int
copy_config(struct cluster *c, const struct cluster_config *config)
{
    c->config = *config;
    if (config->seed_count > 0) {
        c->seeds = calloc(config->seed_count, sizeof *c->seeds);
        if (c->seeds == NULL)
            return NX_ENOMEM;
        memcpy(c->seeds, config->seeds, config->seed_count * sizeof *c->seeds);
    }
    c->config.seeds = c->seeds;
    if (c->config.gossip_every == 0)
        c->config.gossip_every = 1;
    if (c->config.reconnect_min_ms == 0)
        c->config.reconnect_min_ms = 1;
    if (c->config.reconnect_max_ms < c->config.reconnect_min_ms)
        c->config.reconnect_max_ms = c->config.reconnect_min_ms;
    hs_cluster_tag(config->cluster, c->tag);
    c->interval_ns = (uint64_t)config->heartbeat_ms * CLOCK_NS_PER_MS;
    return 0;
}

static int
make_parts(struct cluster *c)
{
    c->changes = malloc(CHANGES_MAX * sizeof *c->changes);      /* scratch, written before it is read */
    c->behavior_list = malloc(SYS_BEHAVIORS_MAX * sizeof *c->behavior_list);
    c->behavior_entries = malloc(BEHAVIORS_BATCH * sizeof *c->behavior_entries);
    if (c->changes == NULL || c->behavior_list == NULL || c->behavior_entries == NULL)
        return NX_ENOMEM;
    int err = table_new(&c->conns_by_number);
    if (err == 0)
        err = table_new(&c->losses_by_key);
    if (err == 0)
        err = strtable_new(&c->names);
    if (err == 0)
        err = strtable_new(&c->servers);
    if (err == 0)
        err = strtable_new(&c->unsettled);
    if (err == 0)
        err = guests_init(&c->guests);
    if (err == 0)
        err = timer_init(c, &c->sweeper, claims_sweep);
    if (err == 0)
        err = timer_init(c, &c->takeover, tell_takeover);
    return err;
}

int
cluster_new(const struct cluster_config *config, struct cluster_time t, struct cluster **out, struct base_error *why)
{
    if (config->heartbeat_ms == 0 || config->heartbeat_misses == 0 || config->handshake_ms == 0 || config->incarnation == 0 ||
        config->secret_count > CLUSTER_SECRETS_MAX)
        return base_error_set(why, NX_EINVAL, NULL, "cluster: heartbeat, misses, handshake time and incarnation are needed, and at most %d secrets", CLUSTER_SECRETS_MAX);
    if (config->secret_count == 0 && config->seed_count > 0)      /* a node without a cluster has neither */
        return base_error_set(why, NX_EINVAL, NULL, "cluster: seeds without a secret");
    struct cluster *c = calloc(1, sizeof *c);
    if (c == NULL)
        return base_error_set(why, NX_ENOMEM, NULL, "cluster: out of memory");
    heap_init(&c->timers);
    list_init(&c->conns);
    list_init(&c->guests.sources);
    list_init(&c->own);
    list_init(&c->own_local);
    list_init(&c->own_losses);
    list_init(&c->losses);
    list_init(&c->sweep);
    list_init(&c->overflow);
    buf_init(&c->body, BODY_MAX);
    c->now_ns = t.now_ns;
    c->wall_ms = t.wall_ms;
    uint64_t age_ms = t.now_ns > config->started_ns ? (t.now_ns - config->started_ns) / CLOCK_NS_PER_MS : 0;
    c->born_wall_ms = t.wall_ms > age_ms ? t.wall_ms - age_ms : 0;
    int err = copy_config(c, config);
    if (err == 0)
        err = make_parts(c);
    if (err != 0)
        (void)base_error_set(why, err, NULL, "cluster: out of memory");
    if (err == 0)
        err = load_nodes(c, why);
    if (err == 0)
        err = registrar_start(c, why);
    if (err == 0 && heartbeat_start(c) != 0)
        err = base_error_set(why, NX_ENOMEM, NULL, "cluster: out of memory");
    if (err != 0) {
        cluster_free(&c);
        return err;
    }
    timer_arm(c, &c->takeover, c->now_ns);
    membership_start(c);
    *out = c;
    return 0;
}

static void
free_claims(struct cluster *c)
{
    struct list *own[] = { &c->own, &c->own_local };

    for (size_t i = 0; i < BASE_COUNT(own); i++) {
        while (!list_is_empty(own[i])) {
            struct claim *claim = list_item(own[i]->next, struct claim, of_node);
            struct name *name = claim->name;
            name->holder = NULL;
            claim_unlink(c, claim);
            list_remove(&name->overflow);
            name_tidy(c, name);
        }
    }
    peers_each(p, c) {
        while (!list_is_empty(&p->claims)) {
            struct claim *claim = list_item(p->claims.next, struct claim, of_node);
            struct name *name = claim->name;
            name->holder = NULL;
            claim_unlink(c, claim);
            list_remove(&name->overflow);
            name_tidy(c, name);
        }
    }
}

/* Shared memory stays as it is: a successor takes it over, or the node is at its end. */
void
cluster_free(struct cluster **cp)
{
    struct cluster *c = *cp;

    if (c == NULL)
        return;
    *cp = NULL;
    list_each_safe(it, next, &c->conns)
        conn_free(c, list_item(it, struct conn, all));
    if (c->names != NULL && c->servers != NULL)
        free_claims(c);
    if (c->losses_by_key != NULL && c->unsettled != NULL)
        conflict_fini(c);
    peers_each(p, c)
        peer_free(c, p);
    free(c->peers);
    guests_fini(&c->guests);
    strtable_free(&c->names);
    strtable_free(&c->servers);
    strtable_free(&c->unsettled);
    table_free(&c->losses_by_key);
    table_free(&c->conns_by_number);
    registry_writer_close(&c->writer);
    heap_fini(&c->timers);
    buf_fini(&c->body);
    free(c->changes);
    free(c->behavior_list);
    free(c->behavior_entries);
    free(c->seeds);
    explicit_bzero(c->config.secrets, sizeof c->config.secrets);
    free(c);
}

/* ---------------------------------------------------------------- inputs */

void
cluster_tick(struct cluster *c, struct cluster_time t)
{
    cluster_enter(c, t);
    for (;;) {
        struct heap_node *first = heap_peek(&c->timers);
        if (first == NULL || first->key > c->now_ns)
            break;
        struct timer *due = base_container_of(first, struct timer, node);
        timer_stop(c, due);
        due->fire(c, due);                   /* arms itself for later than now, or not at all: this ends */
    }
    cluster_done(c);
}

int
cluster_accepted(struct cluster *c, struct cluster_time t, uint64_t number, const char *source)
{
    struct source *s;
    struct conn *conn;

    cluster_enter(c, t);
    if (c->is_leaving)
        return NX_EBUSY;
    int err = guests_enter(c, source, &s);
    if (err != 0) {
        if (c->config.stats != NULL)
            stats_add(c->config.stats, link_refused, 1);
        return NX_EBUSY;
    }
    if (conn_new(c, number, &conn) != 0) {
        guests_leave(c, s, false);
        return NX_EBUSY;
    }
    conn->state = CONN_WANT_HELLO;
    conn->source = s;
    return 0;
}

void
cluster_connected(struct cluster *c, struct cluster_time t, uint64_t number)
{
    cluster_enter(c, t);
    struct conn *conn = conn_find(c, number);
    if (conn != NULL)
        conn_step(c, conn, CONN_CONNECTED);
    cluster_done(c);
}

size_t
cluster_bytes(struct cluster *c, struct cluster_time t, uint64_t number, const uint8_t *bytes, size_t len)
{
    cluster_enter(c, t);
    struct conn *conn = conn_find(c, number);
    size_t taken = conn != NULL ? conn_bytes(c, conn, bytes, len) : len;
    cluster_done(c);
    return taken;
}

void
cluster_closed(struct cluster *c, struct cluster_time t, uint64_t number, enum nodes_reason reason)
{
    cluster_enter(c, t);
    struct conn *conn = conn_find(c, number);
    if (conn != NULL) {
        conn->lost_reason = reason;
        conn_step(c, conn, CONN_LOST);
        conn_free(c, conn);
    }
    cluster_done(c);
}

static int
dispatch(struct cluster *c, struct peer *p, const struct envelope *e, const uint8_t *body, struct base_error *why)
{
    switch (e->kind) {
    case KIND_REGISTRY_DELTA: case KIND_REGISTRY_SYNC:
        return replication_take(c, p, e->kind, body, e->body_len, why);
    case KIND_HEARTBEAT:
        return heartbeat_take(c, p, body, e->body_len, why);
    case KIND_BEHAVIORS:
        return behaviors_take(c, p, body, e->body_len, why);
    case KIND_REGISTER: case KIND_UNREGISTER:
        registrar_request(c, p, SLOT_LINK, e, body);
        return 0;
    default:
        return base_error_set(why, NX_EBADMSG, NULL, "kind %u is not for the cluster", e->kind);
    }
}

int
cluster_message(struct cluster *c, struct cluster_time t, uint64_t number, const struct envelope *e, const uint8_t *body)
{
    struct base_error why = { 0 };

    cluster_enter(c, t);
    struct conn *conn = conn_find(c, number);
    if (conn == NULL || conn->state == CONN_ENDING)
        return 0;                            /* it crossed our wish to close */
    if (conn->state == CONN_PROVED && e->kind == KIND_BEHAVIORS && !peer_is_ours_to_choose(c, conn->peer))
        conn_step(c, conn, CONN_LEAD);
    int err;
    if (conn->state == CONN_UP) {
        peer_heard(c, conn->peer);
        err = dispatch(c, conn->peer, e, body, &why);
    } else
        err = base_error_set(&why, NX_EBADMSG, NULL, "a message before the link was chosen");
    if (err == NX_EBADMSG) {
        cluster_count_bad(c);
        log_warn("cluster: peer breaks the protocol node=%s kind=%u reason=%s", conn->peer != NULL ? conn->peer->id.text : "?", e->kind, why.text);
        if (conn->state == CONN_UP)
            peer_cut(c, conn->peer, NODES_CONNECTION_CLOSED, FRAME_CLOSE_PROTOCOL);
        else
            conn_end(c, conn, 0, 0);
    }
    cluster_done(c);
    return err == NX_EBADMSG ? err : 0;
}

void
cluster_request(struct cluster *c, struct cluster_time t, uint16_t from_slot, const struct envelope *e, const uint8_t *body)
{
    cluster_enter(c, t);
    registrar_request(c, NULL, from_slot, e, body);
    cluster_done(c);
}

void
cluster_worker_down(struct cluster *c, struct cluster_time t, uint16_t slot, uint32_t generation)
{
    cluster_enter(c, t);
    registrar_worker_down(c, slot, generation);
    cluster_done(c);
}

bool
cluster_is_sweeping(const struct cluster *c)
{
    return !list_is_empty(&c->sweep);
}

/* The peers hear why; our own tables stay as they are until the links have closed. */
void
cluster_leave(struct cluster *c, struct cluster_time t)
{
    cluster_enter(c, t);
    c->is_leaving = true;
    list_each(it, &c->conns) {
        struct conn *conn = list_item(it, struct conn, all);
        if (conn->state == CONN_UP && !conn->is_close_asked) {
            conn->is_close_asked = true;
            c->config.out.close(c->config.arg, conn->number, FRAME_CLOSE_SHUTDOWN, 0);
        }
    }
    peers_each(p, c) {
        timer_stop(c, &p->redial);
        membership_forget_dial(c, p);
    }
    list_each_safe(it, next, &c->conns) {
        struct conn *conn = list_item(it, struct conn, all);
        if (conn->state != CONN_UP)
            conn_end(c, conn, 0, 0);
    }
    cluster_done(c);
}
