/*
 * forward.c - messages between pipes and connections, by the routing header alone.
 *
 * Lives here: who may send what (a worker is not trusted with other slots' call ids, nor a peer with kinds of this node), the way on, the typed answer when there is
 * none.
 * Never here: decoding of a user's body; membership; names.
 * Runs in: the link worker.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "link/link_priv.h"
#include "noex/noex.h"
#include "value/value.h"
#include "wire/ref.h"
#include "wire/system.h"
#include "wire/wire.h"

/* ---------------------------------------------------------------- answers of this process */

void
forward_answer(struct link_worker *l, uint32_t node, uint32_t session, uint64_t call_id, uint8_t kind, const void *body, size_t len)
{
    struct envelope e = { .node = node, .session = session, .body_len = (uint32_t)len, .kind = kind, .slot = envelope_caller_slot(call_id), .call_id = call_id };
    if (node == 0) {
        (void)mesh_put(l->mesh, e.slot, 0, &e, body);      /* a requester that has gone needs no answer */
        return;
    }
    struct conn *c = node < l->nodes_max ? l->by_node[node] : NULL;
    if (c != NULL && c->session == session)
        (void)connection_put(c, SLOT_LINK, &e, body);
}

static void
answer_error(struct link_worker *l, uint32_t node, uint32_t session, uint64_t call_id, int code, const char *subject, const char *fmt_text)
{
    struct sys_error error = { .code = code, .subject = { subject, strlen(subject) }, .text = { fmt_text, strlen(fmt_text) } };
    buf_clear(&l->scratch);
    if (sys_error_encode(&error, &l->scratch) == 0)
        forward_answer(l, node, session, call_id, KIND_ERROR, buf_data(&l->scratch), buf_len(&l->scratch));
}

/* ---------------------------------------------------------------- from a process of this node */

static void
not_sent(struct link_worker *l, const struct envelope *e, int code)
{
    const char *id = nodes_borrow_id(shm_nodes(l->shm), e->node);
    char text[400];
    if (envelope_is_request(e->kind)) {
        snprintf(text, sizeof text, code == NX_EBUSY ? "the link to node %s is over its bound" : code == NX_ETOOBIG ? "the message to node %s is too big"
                                                                                                                   : "node %s is not reachable", id ? id : "?");
        answer_error(l, 0, 0, e->call_id, code, id ? id : "", text);
    } else if (e->kind == KIND_CAST) {
        stats_add(l->stats, casts_dropped, 1);
    }
}

static void
list_links(struct link_worker *l, uint64_t call_id)
{
    nx_packer p;
    struct buf items;
    uint32_t count = 0;
    value_packer_init(&p, 0);
    buf_init(&items, 1u << 20);
    int err = 0;
    list_each(it, &l->conns) {
        const struct conn *c = list_item(it, struct conn, link);
        value_packer_clear(&p);
        const char *id = c->node != 0 ? nodes_borrow_id(shm_nodes(l->shm), c->node) : NULL;
        err = nx_pack(&p, "{s:s,s:s,s:b,s:u,s:u,s:u,s:u,s:u}", "node", id, "peer", c->peer, "dialled", (int)c->is_dialled, "queuedBytes", (uint64_t)connection_queued(c),
                      "messagesIn", c->messages_in, "messagesOut", c->messages_out, "bytesIn", c->bytes_in, "bytesOut", c->written_bytes);
        nx_value v = value_packer_value(&p);
        if (err == 0)
            err = buf_put(&items, v.packed, v.packed_len);
        if (err != 0)
            break;
        count++;
    }
    uint8_t head[5] = { 0xdd };      /* array32 */
    wire_put32(head + 1, count);
    buf_clear(&l->scratch);
    if (err == 0)
        err = buf_put(&l->scratch, head, sizeof head);
    if (err == 0 && buf_len(&items) > 0)
        err = buf_put(&l->scratch, buf_data(&items), buf_len(&items));
    if (err == 0 && buf_len(&l->scratch) > l->conf->max_body)
        err = NX_ETOOBIG;
    if (err != 0)
        answer_error(l, 0, 0, call_id, err, "", "the list of links does not fit");
    else
        forward_answer(l, 0, 0, call_id, KIND_REPLY, buf_data(&l->scratch), buf_len(&l->scratch));
    value_packer_fini(&p);
    buf_fini(&items);
}

static void
for_this_process(struct link_worker *l, uint16_t from_slot, const struct envelope *e, const uint8_t *body)
{
    struct sys_subscribe subscribe;
    unsigned index = link_slot_index(from_slot);
    nx_assert(index < LINK_SLOTS);           /* the mesh attaches no other */
    switch (e->kind) {
    case KIND_REGISTER:
    case KIND_UNREGISTER:
    case KIND_SERVER_GONE:
        cluster_request(l->cluster, link_time(l), from_slot, e, body);
        return;
    case KIND_SUBSCRIBE:
        if (sys_subscribe_decode(body, e->body_len, &subscribe, NULL) == 0)
            l->events[index] = subscribe.events;
        else
            stats_add(l->stats, bad_messages, 1);
        return;
    case KIND_LINK_STATUS:
        list_links(l, e->call_id);
        return;
    default:
        stats_add(l->stats, bad_messages, 1);
    }
}

void
forward_from_pipe(void *arg, uint16_t from_slot, const struct envelope *e, const uint8_t *body)
{
    struct link_worker *l = arg;
    stats_add(l->stats, pipe_messages_in, 1);
    bool is_own_id = envelope_caller_slot(e->call_id) == from_slot || envelope_is_answer(e->kind) || (e->call_id == 0 && !envelope_is_request(e->kind));
    bool may_travel = e->node == 0 || envelope_kind_from_peer(e->kind);
    if (!envelope_kind_from_worker(e->kind) || !is_own_id || !may_travel || e->flags != 0) {
        stats_add(l->stats, bad_messages, 1);
        if (log_gate_pass(&l->drop_gate, 1))
            log_error("link: message refused from_slot=%u kind=%u: not one that a worker may send", from_slot, e->kind);
        return;
    }
    if (e->node == 0) {
        for_this_process(l, from_slot, e, body);
        return;
    }
    struct conn *c = e->node < l->nodes_max ? l->by_node[e->node] : NULL;
    if (c == NULL || (c->session != e->session && e->kind != KIND_SPAWN)) {
        not_sent(l, e, NX_ENODE);
        return;
    }
    struct envelope out = *e;
    uint64_t now = loop_now_ns(l->loop);
    if (clock_is_past(e->deadline_ns, now)) {
        stats_add(l->stats, expired, 1);     /* its caller has given up, or does in this moment */
        return;
    }
    out.remaining_ms = clock_left_ms(e->deadline_ns, now);
    int err = connection_put(c, from_slot, &out, body);
    if (err != 0)
        not_sent(l, e, err);
}

/* ---------------------------------------------------------------- from a peer */

/* A spawn for any worker: the ready one with the fewest servers, looking from a different one each time. */
static uint16_t
choose_worker(struct link_worker *l)
{
    uint32_t workers = shm_workers(l->shm), best = UINT32_MAX;
    uint64_t fewest = UINT64_MAX;
    for (uint32_t i = 0; i < workers; i++) {
        uint32_t slot = (l->spawn_next + i) % workers;
        struct board_slot b;
        if (board_get(shm_board(l->shm), (uint16_t)slot, &b) != 0 || b.state != BOARD_READY || mesh_generation(l->mesh, (uint16_t)slot) == 0)
            continue;
        uint64_t live = stats_get(shm_stats(l->shm, (uint16_t)slot), servers_live);
        if (live < fewest)
            fewest = live, best = slot;
    }
    l->spawn_next++;
    return best == UINT32_MAX ? SLOT_ANY : (uint16_t)best;
}

static uint64_t
deadline_of(const struct link_worker *l, const struct envelope *e)
{
    return e->remaining_ms != 0 ? loop_now_ns(l->loop) + e->remaining_ms * CLOCK_NS_PER_MS : 0;
}

/* A monitor on a server whose worker is dead: what that worker would have said. */
static void
answer_monitor(struct conn *c, const struct envelope *e, const uint8_t *body)
{
    struct link_worker *l = c->l;
    struct sys_monitor q;
    if (body == NULL || sys_monitor_decode(body, e->body_len, &q, NULL) != 0) {
        stats_add(l->stats, bad_messages, 1);
        return;
    }
    struct sys_monitor_event event = { .monitor = q.monitor, .watcher_serial = q.watcher.serial, .target = q.target, .reason = NX_NOSERVER };
    buf_clear(&l->scratch);
    if (sys_monitor_event_encode(&event, &l->scratch) != 0)
        return;
    struct envelope out = { .kind = KIND_MONITOR_EVENT, .slot = q.watcher.slot, .generation = q.watcher.generation, .serial = q.watcher.serial,
                            .body_len = (uint32_t)buf_len(&l->scratch) };
    (void)connection_put(c, SLOT_LINK, &out, buf_data(&l->scratch));
}

/* The ref that the sender used; what it called is one of this life of the node, or the message would not have come here. */
static void
ref_text_of(const struct link_worker *l, const struct envelope *e, const char *self, char text[static WIRE_REF_TEXT_MAX])
{
    struct wire_ref ref = { .incarnation = board_incarnation(shm_board(l->shm)), .serial = e->serial, .generation = e->generation, .slot = e->slot };
    snprintf(ref.node, sizeof ref.node, "%s", self);
    if (wire_ref_to_text(&ref, text, WIRE_REF_TEXT_MAX) != 0)
        text[0] = '\0';
}

/* body: NULL if it was dropped. */
static void
not_delivered(struct conn *c, const struct envelope *e, const uint8_t *body, int code)
{
    struct link_worker *l = c->l;
    if (envelope_is_request(e->kind)) {
        const char *self = nodes_borrow_id(shm_nodes(l->shm), 0);
        char ref[WIRE_REF_TEXT_MAX] = "", text[WIRE_REF_TEXT_MAX + 64];
        if (code == NX_ENOSERVER && e->kind != KIND_SPAWN)
            ref_text_of(l, e, self, ref);
        if (ref[0] != '\0')
            snprintf(text, sizeof text, "server %s is not running", ref);
        else
            snprintf(text, sizeof text, code == NX_EBUSY ? "a worker of node %s is over its bound" : code == NX_ETOOBIG ? "the message is too big for node %s"
                                                                                                     : "no worker of node %s can take it", self);
        answer_error(l, c->node, c->session, e->call_id, e->kind == KIND_SPAWN && code == NX_ENOSERVER ? NX_EBUSY : code, ref[0] != '\0' ? ref : self, text);
    } else if (e->kind == KIND_CAST) {
        stats_add(l->stats, casts_dropped, 1);
    } else if (e->kind == KIND_MONITOR) {
        answer_monitor(c, e, body);
    }
}

/* A start for any worker is given up before its requester knows which one has it: all are told, it is news to one. */
static void
cancel_anywhere(struct link_worker *l, struct envelope *e, const uint8_t *body)
{
    for (uint16_t slot = 0; slot < shm_workers(l->shm); slot++) {
        e->slot = slot;
        e->generation = mesh_generation(l->mesh, slot);
        (void)mesh_put(l->mesh, slot, e->generation, e, body);
    }
}

static void
deliver(struct conn *c, const struct envelope *from_peer, const uint8_t *body)
{
    struct link_worker *l = c->l;
    struct envelope e = *from_peer;
    e.node = c->node;
    e.session = c->session;
    e.deadline_ns = deadline_of(l, &e);
    e.flags = 0;
    if (e.slot == SLOT_ANY && e.kind == KIND_SPAWN_CANCEL) {
        cancel_anywhere(l, &e, body);
        return;
    }
    if (e.slot == SLOT_ANY && e.kind == KIND_SPAWN) {
        e.slot = choose_worker(l);
        e.generation = mesh_generation(l->mesh, e.slot);
    }
    if (envelope_is_answer(e.kind))
        e.slot = envelope_caller_slot(e.call_id);
    bool is_process = e.slot < SLOT_WORKERS_MAX || (e.slot == SLOT_GATE && envelope_is_answer(e.kind));
    if (e.generation == 0 && !envelope_is_answer(e.kind) && is_process)
        is_process = false;                  /* only an answer may come without the life of its worker */
    int err = is_process ? mesh_put(l->mesh, e.slot, e.generation, &e, body) : NX_ENOSERVER;
    if (err != 0)
        not_delivered(c, &e, body, err);
}

static int
take_piece(struct conn *c, const struct envelope *e, const uint8_t *body)
{
    struct envelope whole;
    struct buf joined;
    buf_init(&joined, 0);
    struct base_error why = { 0 };
    int got = pieces_join(c->joiner, e, body, &whole, &joined, &why);
    if (got == 1)
        deliver(c, &whole, buf_data(&joined));
    else if (got == NX_ETOOBIG || got == NX_ENOMEM)
        not_delivered(c, &whole, NULL, got);
    buf_fini(&joined);
    return got == NX_EBADMSG ? NX_EBADMSG : 0;
}

/* For cluster/, which closes the connection itself if it does not like what it hears. */
static int
for_cluster(struct conn *c, const struct envelope *from_peer, const uint8_t *body)
{
    struct link_worker *l = c->l;
    struct envelope e = *from_peer;
    if (e.flags & ENVELOPE_PIECE)
        return NX_EBADMSG;                   /* these always fit into one message */
    e.deadline_ns = deadline_of(l, &e);
    (void)cluster_message(l->cluster, link_time(l), c->id, &e, body);
    return 0;
}

int
forward_from_peer(struct conn *c, const struct envelope *e, const uint8_t *body)
{
    switch (e->kind) {
    case KIND_REGISTRY_DELTA:
    case KIND_REGISTRY_SYNC:
    case KIND_HEARTBEAT:
    case KIND_BEHAVIORS:
    case KIND_REGISTER:
    case KIND_UNREGISTER:
        return for_cluster(c, e, body);
    case KIND_WORKER_DOWN:
        deaths_of_theirs(c, e);
        return 0;
    default:
        break;
    }
    /* Before it is the way to its node, a connection carries what makes it so and nothing else: node 0 would be this node itself. */
    if (!envelope_kind_from_peer(e->kind) || c->node == 0)
        return NX_EBADMSG;
    if (e->flags & ENVELOPE_PIECE)
        return take_piece(c, e, body);
    deliver(c, e, body);
    return 0;
}
