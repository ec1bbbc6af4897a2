/*
 * route.c - the way to a server: here, another process, another node.
 *
 * Lives here: choosing the way by board and node table, sending by it, taking in what comes from the pipes, answers.
 * Never here: decoding a body, calls pending, refs as bytes or text (ref.c).
 * Runs in: workers and the gate.
 */
#include "route/route.h"
#include "route/route_priv.h"

#include <stdlib.h>

/* ---- what arrives */

/* Only the link worker speaks for other nodes; others send the kinds that a worker may send, for themselves. */
static bool
may_send(uint16_t from_slot, const struct envelope *e)
{
    return from_slot == SLOT_LINK || (e->node == 0 && envelope_kind_from_worker(e->kind));
}

static void
on_message(void *arg, uint16_t from_slot, const struct envelope *e, const uint8_t *body)
{
    struct route *r = arg;
    if (r->stats != NULL)
        stats_add(r->stats, pipe_messages_in, 1);
    if (may_send(from_slot, e))
        r->config.deliver(r->config.arg, from_slot, e, body);
    else if (r->stats != NULL)
        stats_add(r->stats, bad_messages, 1);
}

static void
on_gone(void *arg, uint16_t slot, uint32_t generation)
{
    struct route *r = arg;
    r->config.process_gone(r->config.arg, slot, generation);
}

int
route_new(const struct route_config *config, struct route **out, struct base_error *why)
{
    struct route *r = calloc(1, sizeof *r);
    if (r == NULL)
        return base_error_set(why, NX_ENOMEM, NULL, "route: out of memory");
    r->config = *config;
    r->board = shm_board(config->shm);
    r->nodes = shm_nodes(config->shm);
    r->stats = shm_stats(config->shm, config->slot);
    r->incarnation = board_incarnation(r->board);
    struct mesh_config mesh = { .loop = config->loop, .limits = config->limits, .on_message = on_message, .on_gone = on_gone, .arg = r };
    int err = strtable_new(&r->stranger_numbers);
    if (err == 0)
        err = mesh_new(&mesh, &r->mesh);
    if (err != 0) {
        route_free(&r);
        return base_error_set(why, err, NULL, "route: %s", nx_strerror(err));
    }
    *out = r;
    return 0;
}

void
route_free(struct route **r_ptr)
{
    struct route *r = *r_ptr;
    if (r == NULL)
        return;
    *r_ptr = NULL;
    route_uninstall_ref_codec(r);
    mesh_free(&r->mesh);
    strtable_free(&r->stranger_numbers);
    for (uint32_t i = 0; i < r->stranger_count; i++)
        free(r->strangers[i]);
    free(r);
}

struct mesh *
route_borrow_mesh(struct route *r)
{
    return r->mesh;
}

/* ---- the way */

static int
way_on_this_node(const struct route *r, nx_ref to, struct envelope *e)
{
    if (to.incarnation != r->incarnation)
        return NX_ENOSERVER;
    e->node = 0;
    e->session = 0;
    if (to.slot == r->config.slot)
        return to.generation == r->config.generation ? ROUTE_HERE : NX_ENOSERVER;
    /* 0 on the board: that worker is down; 0 in the ref: it never was. */
    return to.generation != 0 && board_generation(r->board, to.slot) == to.generation ? ROUTE_PROCESS : NX_ENOSERVER;
}

int
route_to(struct route *r, nx_ref to, struct envelope *e)
{
    uint32_t node = to.node, session;
    int way;

    if (to.serial == 0)
        return to.incarnation == 0 ? NX_EINVAL : NX_ENOSERVER;
    if (node >= ROUTE_STRANGERS_BASE)
        node = ref_node_index(r, node);
    if (node == 0) {
        way = way_on_this_node(r, to, e);
        if (way < 0)
            return way;
    } else {
        int err = nodes_route(r->nodes, node, to.incarnation, &session);
        if (err != 0)
            return err;
        e->node = node;
        e->session = session;
        way = ROUTE_NODE;
    }
    e->slot = to.slot;
    e->serial = to.serial;
    e->generation = to.generation;
    return way;
}

int
route_explain(const struct route *r, int code, nx_ref to, struct base_error *why)
{
    char text[NX_REF_TEXT_MAX];
    const char *node = route_ref_node(r, to), *id = node != NULL ? node : "?";

    if (route_ref_text(r, to, text, sizeof text) != 0)
        text[0] = '\0';
    switch (code) {
    case NX_EINVAL:
        return base_error_set(why, code, NULL, "the ref is empty: it refers to no server");
    case NX_ENODE:
        return base_error_set(why, code, id, "node %s is not reachable", id);
    case NX_ENOSERVER:
        return base_error_set(why, code, text, "server %s is not running on %s", text, id);
    case NX_EBUSY:
        return base_error_set(why, code, text, "too much is waiting to be sent to %s", id);
    case NX_ETOOBIG:
        return base_error_set(why, code, text, "the message to %s is larger than max_body, %zu bytes", text, r->config.limits.max_body);
    default:
        return base_error_set(why, code, text, "cannot send to %s: %s", text, nx_strerror(code));
    }
}

/* ---- sending */

int
route_send(struct route *r, const struct envelope *e, const void *body)
{
    int err = e->node != 0 ? mesh_put(r->mesh, SLOT_LINK, 0, e, body) : mesh_put(r->mesh, e->slot, e->generation, e, body);
    if (r->stats != NULL) {
        if (err == 0) {
            stats_add(r->stats, pipe_messages_out, 1);
            stats_add(r->stats, pipe_bytes_out, WIRE_PIPE_HEADER + (uint64_t)e->body_len);
        } else if (err == NX_EBUSY) {
            stats_add(r->stats, pipe_refused, 1);
        }
    }
    /* Without the link worker no node can be reached; it is not the server there that is missing. */
    return err == NX_ENOSERVER && e->node != 0 ? NX_ENODE : err;
}

int
route_answer(struct route *r, uint8_t kind, uint32_t node, uint32_t session, uint64_t call_id, uint64_t deadline_ns, const void *body, size_t len)
{
    if (call_id == 0 || !envelope_is_answer(kind))
        return NX_EINVAL;
    if (len > r->config.limits.max_body || len > UINT32_MAX)
        return NX_ETOOBIG;
    struct envelope e = { .node = node, .session = session, .deadline_ns = deadline_ns, .body_len = (uint32_t)len, .kind = kind,
                          .slot = envelope_caller_slot(call_id), .call_id = call_id };
    if (node != 0 || e.slot != r->config.slot)
        return route_send(r, &e, body);
    r->config.deliver(r->config.arg, e.slot, &e, body);
    return 0;
}
