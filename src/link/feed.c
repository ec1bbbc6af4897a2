/*
 * feed.c - between the doing and the thinking: what cluster/ says is done, what happens is told to it.
 *
 * Lives here: the callbacks of struct cluster_out, its timer, events to the processes of this node, the life of the link worker.
 * Never here: a decision.
 * Runs in: the link worker.
 *
 * The callbacks are called from inside cluster_ functions and must not call them back: they act on connections and pipes only, and a connection that ends by it is
 * reported at the end of the turn.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/dns.h>

#include "base/clock.h"
#include "link/link_priv.h"
#include "noex/noex.h"
#include "wire/system.h"

/* ---------------------------------------------------------------- events to the processes of this node */

void
feed_to_process(struct link_worker *l, uint16_t slot, const struct envelope *e, const void *body)
{
    int err = mesh_put(l->mesh, slot, 0, e, body);
    if (err != 0 && err != NX_ENOSERVER && log_gate_pass(&l->lost_gate, LINK_LOGS_PER_S))
        log_error("link: event lost slot=%u kind=%u error=%s", slot, e->kind, nx_errname(err));
}

/* session: the one that this is about, also when the table has the next one already. */
static void
node_event(struct link_worker *l, uint16_t slot, uint32_t node, uint32_t session, bool is_up, enum nodes_reason why)
{
    struct nodes_entry entry;
    if (nodes_get(shm_nodes(l->shm), node, &entry) != 0)
        return;
    const char *reason = is_up ? "" : nodes_reason_name(why);
    struct sys_node_event event = { .is_up = is_up, .node = { entry.id.text, strlen(entry.id.text) }, .reason = { reason, strlen(reason) },
                                    .incarnation = entry.incarnation };
    buf_clear(&l->scratch);
    if (sys_node_event_encode(&event, &l->scratch) != 0)
        return;
    struct envelope e = { .node = node, .session = session, .kind = KIND_NODE_EVENT, .slot = slot, .body_len = (uint32_t)buf_len(&l->scratch) };
    feed_to_process(l, slot, &e, buf_data(&l->scratch));
}

static void
node_event_to_all(struct link_worker *l, uint32_t node, uint32_t session, bool is_up, enum nodes_reason why)
{
    for (uint16_t slot = 0; slot < shm_workers(l->shm); slot++)
        node_event(l, slot, node, session, is_up, why);
    node_event(l, SLOT_GATE, node, session, is_up, why);
}

/* ---------------------------------------------------------------- struct cluster_out */

static uint64_t
out_dial(void *arg, const struct node_id *to)
{
    return dial_start(arg, to);
}

static void
out_send_bytes(void *arg, uint64_t conn, const uint8_t *bytes, size_t len)
{
    struct conn *c = connection_find(arg, conn);
    if (c != NULL)
        connection_put_raw(c, bytes, len);
}

static void
out_proved(void *arg, uint64_t conn, const uint8_t send_key[static FRAME_KEY], const uint8_t recv_key[static FRAME_KEY])
{
    struct conn *c = connection_find(arg, conn);
    if (c != NULL)
        connection_start_frames(c, send_key, recv_key);
}

static void
out_close(void *arg, uint64_t conn, int reason, uint32_t delay_ms)
{
    struct conn *c = connection_find(arg, conn);
    if (c != NULL)
        connection_close(c, reason, delay_ms);
}

static void
out_up(void *arg, uint64_t conn, uint32_t node, uint32_t session, bool is_news)
{
    struct link_worker *l = arg;
    struct conn *c = connection_find(l, conn);
    nx_assert(node != 0 && node < l->nodes_max);
    struct conn *old = l->by_node[node];
    if (old != NULL && old != c)
        old->node = 0;
    l->by_node[node] = c;
    if (c != NULL) {
        c->node = node;
        c->session = session;
    }
    if (is_news)
        node_event_to_all(l, node, session, true, NODES_REASON_NONE);
}

static void
out_down(void *arg, uint32_t node, uint32_t session, enum nodes_reason reason)
{
    struct link_worker *l = arg;
    struct conn *c = l->by_node[node];
    if (c != NULL) {
        l->by_node[node] = NULL;
        c->node = 0;
        pieces_joiner_clear(c->joiner);
    }
    node_event_to_all(l, node, session, false, reason);
}

static void
out_send(void *arg, uint64_t conn, uint8_t kind, const void *body, size_t len)
{
    struct conn *c = connection_find(arg, conn);
    struct envelope e = { .kind = kind, .slot = SLOT_LINK, .body_len = (uint32_t)len };
    if (c != NULL && connection_put(c, SLOT_LINK, &e, body) == NX_ENOMEM)
        connection_fail(c, NODES_CONNECTION_CLOSED);      /* a hole in the stream of changes would be worse than a new sync */
}

static void
out_registry_event(void *arg, uint16_t to_slot, uint64_t serial, const void *body, size_t len)
{
    struct link_worker *l = arg;
    struct envelope e = { .kind = KIND_REGISTRY_EVENT, .slot = to_slot, .serial = serial, .body_len = (uint32_t)len };
    if (to_slot != SLOT_ANY) {
        feed_to_process(l, to_slot, &e, body);
        return;
    }
    for (unsigned i = 0; i <= SLOT_WORKERS_MAX; i++)
        if (l->events[i] & NX_EVENTS_NAMES)
            feed_to_process(l, e.slot = i == SLOT_WORKERS_MAX ? SLOT_GATE : (uint16_t)i, &e, body);
}

static void
out_answer(void *arg, uint32_t node, uint32_t session, uint64_t call_id, uint8_t kind, const void *body, size_t len)
{
    forward_answer(arg, node, session, call_id, kind, body, len);
}

static uint32_t
count_servers(void *arg)
{
    struct link_worker *l = arg;
    uint64_t n = 0;
    for (uint16_t slot = 0; slot < shm_workers(l->shm); slot++)
        n += stats_get(shm_stats(l->shm, slot), servers_live);
    return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

/* ---------------------------------------------------------------- the end of a turn */

/* Connections that ended in this turn: told to cluster/, then freed. What cluster/ does about it may end others: from the start again. */
static bool
report_dead(void *arg)
{
    struct link_worker *l = arg;
    for (struct list *it = l->conns.next; it != &l->conns;) {
        struct conn *c = list_item(it, struct conn, link);
        it = it->next;
        if (c->state != CONN_DEAD)
            continue;
        uint64_t id = c->id;
        enum nodes_reason reason = c->close_reason;
        connection_free(c);
        cluster_closed(l->cluster, link_time(l), id, reason);
        it = l->conns.next;
    }
    return false;
}

static bool
flush_all(void *arg)
{
    struct link_worker *l = arg;
    bool any_dead = false;
    list_each(it, &l->conns) {
        struct conn *c = list_item(it, struct conn, link);
        connection_flush(c);
        any_dead |= c->state == CONN_DEAD;
    }
    return any_dead;                 /* reported in the next turn, which does not wait */
}

static void
stop_check(struct link_worker *l)
{
    if (!l->is_stopping || l->stop_done == NULL || (!list_is_empty(&l->conns) && loop_now_ns(l->loop) < l->stop_deadline_ns))
        return;
    void (*done)(void *arg) = l->stop_done;
    l->stop_done = NULL;
    done(l->stop_arg);
}

static bool
set_tick(void *arg)
{
    struct link_worker *l = arg;
    uint64_t next = cluster_next(l->cluster);
    if (next != 0)
        (void)loop_timer_set(l->loop, &l->tick_timer, next);
    else
        loop_timer_cancel(l->loop, &l->tick_timer);
    stop_check(l);
    return false;
}

static void
on_tick(void *arg)
{
    struct link_worker *l = arg;
    cluster_tick(l->cluster, link_time(l));
}

/* Only so that there is a turn. */
static void
on_stop_deadline(void *arg)
{
    (void)arg;
}

/* ---------------------------------------------------------------- life */

static void
on_gone(void *arg, uint16_t slot, uint32_t generation)
{
    struct link_worker *l = arg;
    unsigned index = link_slot_index(slot);
    (void)generation;
    nx_assert(index < LINK_SLOTS);             /* the mesh attaches no other */
    l->events[index] = 0;                      /* its names go when the master says that it is dead */
}

int
feed_start(struct link_worker *l, const struct link_config *config, struct base_error *why)
{
    const struct conf *conf = config->conf;
    struct cluster_config c = { .self = conf->node, .cluster = conf->cluster, .incarnation = config->incarnation, .started_ns = config->started_ns,
        .secret_count = config->secret_count, .seeds = conf->seeds, .seed_count = conf->seed_count, .heartbeat_ms = (uint32_t)conf->heartbeat_ms,
        .heartbeat_misses = conf->heartbeat_misses, .reconnect_min_ms = (uint32_t)conf->reconnect_min_ms, .reconnect_max_ms = (uint32_t)conf->reconnect_max_ms,
        .handshake_ms = (uint32_t)conf->handshake_ms, .max_guests = 64, .max_guests_per_source = 16, .gossip_every = 5, .nodes = shm_nodes(l->shm),
        .registry = shm_registry(l->shm), .behaviors = shm_behaviors(l->shm), .board = shm_board(l->shm), .stats = l->stats, .servers = count_servers,
        .out = { .dial = out_dial, .send_bytes = out_send_bytes, .proved = out_proved, .close = out_close, .up = out_up, .down = out_down, .send = out_send,
                 .registry_event = out_registry_event, .answer = out_answer }, .arg = l };
    for (size_t i = 0; i < config->secret_count; i++)
        c.secrets[i] = config->secrets[i];
    int err = cluster_new(&c, (struct cluster_time){ clock_now_ns(), clock_wall_ms() }, &l->cluster, why);
    explicit_bzero(c.secrets, sizeof c.secrets);
    if (err != 0)
        return err;
    l->report_hook = (struct loop_hook){ .rank = LOOP_RANK_RUN, .fn = report_dead, .arg = l };
    l->deaths_hook = (struct loop_hook){ .rank = LOOP_RANK_RUN, .fn = deaths_turn, .arg = l };
    l->flush_hook = (struct loop_hook){ .rank = LOOP_RANK_FLUSH, .fn = flush_all, .arg = l };
    l->tick_hook = (struct loop_hook){ .rank = LOOP_RANK_LAST, .fn = set_tick, .arg = l };
    loop_add_hook(l->loop, &l->report_hook);
    loop_add_hook(l->loop, &l->deaths_hook);
    loop_add_hook(l->loop, &l->flush_hook);
    loop_add_hook(l->loop, &l->tick_hook);
    (void)set_tick(l);               /* the first dials are due before there is a turn */
    return 0;
}

/* Without name servers there are still addresses, and the hosts file: no reason not to start. */
static struct evdns_base *
open_resolver(struct loop *loop)
{
    struct evdns_base *dns = evdns_base_new(loop_borrow_base(loop), EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    if (dns != NULL && evdns_base_resolv_conf_parse(dns, DNS_OPTIONS_ALL, "/etc/resolv.conf") != 0)
        log_info("link: /etc/resolv.conf names no server: nodes are found by address or by the hosts file");
    return dns;
}

int
link_new(const struct link_config *config, struct link_worker **out, struct base_error *why)
{
    struct link_worker *l = calloc(1, sizeof *l);
    if (l == NULL) {
        if (config->listen_fd >= 0)
            (void)close(config->listen_fd);
        return base_error_set(why, NX_ENOMEM, NULL, "out of memory for the link worker");
    }
    *l = (struct link_worker){ .loop = config->loop, .shm = config->shm, .conf = config->conf, .stats = shm_stats(config->shm, SLOT_LINK), .next_id = 1,
                               .listen_fd = config->listen_fd, .reserve_fd = -1, .nodes_max = config->conf->nodes_max };
    list_init(&l->conns);
    loop_timer_init(&l->tick_timer, on_tick, l);
    loop_timer_init(&l->stop_timer, on_stop_deadline, l);
    buf_init(&l->scratch, 2u << 20);
    struct pipe_limits limits = PIPE_LIMITS_DEFAULT;
    limits.max_body = config->conf->max_body;
    struct mesh_config mesh = { .loop = l->loop, .limits = limits, .on_message = forward_from_pipe, .on_gone = on_gone, .arg = l };
    int err = frame_selftest(why);
    if (err == 0 && ((l->by_node = calloc(l->nodes_max, sizeof *l->by_node)) == NULL || table_new(&l->by_id) != 0 || mesh_new(&mesh, &l->mesh) != 0 ||
                     (l->dns = open_resolver(l->loop)) == NULL))
        err = base_error_set(why, NX_ENOMEM, NULL, "out of memory for the link worker");
    if (err == 0)
        err = feed_start(l, config, why);
    if (err == 0)
        err = accept_start(l, why);
    if (err != 0) {
        link_free(&l);
        return err;
    }
    *out = l;
    return 0;
}

void
link_free(struct link_worker **link)
{
    struct link_worker *l = *link;
    if (l == NULL)
        return;
    l->is_freeing = true;
    accept_stop(l);
    while (!list_is_empty(&l->conns))
        connection_free(list_item(l->conns.next, struct conn, link));
    if (l->cluster != NULL) {
        loop_remove_hook(l->loop, &l->report_hook);
        loop_remove_hook(l->loop, &l->deaths_hook);
        loop_remove_hook(l->loop, &l->flush_hook);
        loop_remove_hook(l->loop, &l->tick_hook);
    }
    loop_timer_cancel(l->loop, &l->tick_timer);
    loop_timer_cancel(l->loop, &l->stop_timer);
    cluster_free(&l->cluster);
    if (l->dns != NULL)
        evdns_base_free(l->dns, 1);
    mesh_free(&l->mesh);
    table_free(&l->by_id);
    free(l->by_node);
    buf_fini(&l->scratch);
    free(l);
    *link = NULL;
}

struct mesh *
link_borrow_mesh(struct link_worker *l)
{
    return l->mesh;
}

void
link_process_up(struct link_worker *l, uint16_t slot, uint32_t generation)
{
    (void)generation;
    deaths_tell(l, slot);
    uint32_t count = nodes_count(shm_nodes(l->shm));
    for (uint32_t i = 1; i < count && i < l->nodes_max; i++)
        if (l->by_node[i] != NULL)
            node_event(l, slot, i, l->by_node[i]->session, true, NODES_REASON_NONE);
    struct envelope e = { .kind = KIND_OWNER_READY, .slot = slot };
    feed_to_process(l, slot, &e, NULL);
}

void
link_process_down(struct link_worker *l, uint16_t slot, uint32_t generation)
{
    uint32_t now = mesh_generation(l->mesh, slot);
    if (link_slot_index(slot) < LINK_SLOTS && (now == 0 || now == generation))       /* else its successor may have subscribed already */
        on_gone(l, slot, generation);
    if (slot < SLOT_WORKERS_MAX)
        cluster_worker_down(l->cluster, link_time(l), slot, generation);
    if (slot < SLOT_WORKERS_MAX || slot == SLOT_GATE)
        deaths_of_ours(l, slot, generation);
}

void
link_stop(struct link_worker *l, uint64_t deadline_ns, void (*done)(void *arg), void *arg)
{
    if (l->is_stopping)
        return;
    l->is_stopping = true;
    (void)loop_timer_set(l->loop, &l->stop_timer, deadline_ns);
    l->stop_deadline_ns = deadline_ns;
    l->stop_done = done;
    l->stop_arg = arg;
    if (l->accept_event != NULL)
        accept_stop(l);
    cluster_leave(l->cluster, link_time(l));
}
