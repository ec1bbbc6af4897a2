/*
 * methods_servers.c - start, call, cast and stop: what is asked of GenServers, on this node or another.
 *
 * Lives here: those four methods, and which worker a new server goes to.
 * Never here: what a message says: its bytes are passed on as they came.
 * Runs in: the gate.
 */
#include "control/control_priv.h"

#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "shm/behaviors.h"
#include "wire/node_id.h"

enum { SPAWN_MS = 10000, INIT_MS = 5000, STOP_MS = 5000 };

int
control_find_node(struct control *c, struct rpc_slice id, uint32_t *index, struct base_error *why)
{
    struct node_id node;
    if (id.len == 0) {
        *index = 0;
        return 0;
    }
    int err = node_id_parse((const char *)id.at, id.len, &node, why);
    if (err != 0)
        return err;
    if (nodes_find(control_nodes(c), node.text, strlen(node.text), index) != 0)
        return base_error_set(why, NX_ENODE, node.text, "node %s is not reachable: this node has never heard of it", node.text);
    return 0;
}

/* Scan what is only passed on: the worker would refuse it, but there the fault would count as the gate's. */
static int
check_body(struct request *r, struct rpc_slice body)
{
    struct base_error why = { 0 };
    int err = value_scan(body.at, body.len, &request_control(r)->limits, &why);
    if (err != 0)
        request_fail(r, &why);
    return err;
}

/* ---------------------------------------------------------------- start */

struct start {
    struct sys_spawn spawn;
    int64_t timeout_ms;
    uint32_t node;
};

/* The worker with the fewest servers, those counted that are just being started. */
static int
choose_worker(struct control *c, uint16_t *slot, uint32_t *generation)
{
    uint64_t least = UINT64_MAX;
    for (uint16_t i = 0; i < shm_workers(c->config.shm) && i < SLOT_WORKERS_MAX; i++) {
        struct board_slot on_board;
        const struct stats *st = shm_stats(c->config.shm, i);
        if (st == NULL || board_get(control_board(c), i, &on_board) != 0 || on_board.generation == 0 ||
            on_board.state != BOARD_READY)
            continue;
        uint64_t load = stats_get(st, servers_live) + c->starting[i];
        if (load >= least)
            continue;
        least = load;
        *slot = i;
        *generation = on_board.generation;
    }
    return least != UINT64_MAX ? 0 : NX_EBUSY;
}

static int
read_name(const struct params *p, struct sys_spawn *out, struct base_error *why)
{
    const struct param_value *name = &p->of[PARAM_NAME];
    int scope, err = params_scope(p, PARAM_REGISTER, 0, &scope, why);
    if (err != 0)
        return err;
    if (name->is_set && scope == 0)
        return base_error_set(why, NX_EINVAL, "name", "parameter name: needs register = local or global");
    if (!name->is_set && scope != 0)
        return base_error_set(why, NX_EINVAL, "register", "parameter register: needs a name");
    if (name->is_set && (err = control_names_check(name->text, why)) != 0)
        return err;
    out->name = (struct sys_text){ (const char *)name->text.at, name->text.len };
    out->scope = scope;
    return 0;
}

/* What this node knows of the behavior: the other side compares. Here it must be there; elsewhere the other side says. */
static int
read_behavior(struct control *c, const struct params *p, struct start *out, struct base_error *why)
{
    struct rpc_slice name = p->of[PARAM_BEHAVIOR].text;
    struct behaviors *behaviors = shm_behaviors(c->config.shm);
    struct behaviors_entry entry = { 0 };
    uint32_t index;

    if (name.len == 0 || name.len > NX_BEHAVIOR_NAME_MAX)
        return base_error_set(why, NX_EINVAL, "behavior", "parameter behavior: must have 1 to %d bytes", NX_BEHAVIOR_NAME_MAX);
    out->spawn.behavior = (struct sys_text){ (const char *)name.at, name.len };
    int err = behaviors_find(behaviors, (const char *)name.at, name.len, &index);
    if (err == 0)
        err = behaviors_get(behaviors, index, &entry);
    if (err == 0 && entry.is_present) {
        out->spawn.version = entry.version;
        memcpy(out->spawn.hash, entry.hash, sizeof out->spawn.hash);
        out->spawn.has_hash = true;
        return 0;
    }
    if (out->node != 0)
        return 0;
    if (err == NX_EBUSY)
        return base_error_set(why, err, NULL, "too much in progress: the behavior table is being changed");
    char shown[NX_BEHAVIOR_NAME_MAX + 1];
    (void)snprintf(shown, sizeof shown, "%.*s", (int)name.len, (const char *)name.at);
    return base_error_set(why, NX_ENOBEHAVIOR, shown, "behavior %s is not registered on node %s", shown,
                          c->config.conf->node.text);
}

static int
read_start(struct request *r, const struct params *p, struct start *out)
{
    struct control *c = request_control(r);
    struct base_error why = { 0 };
    *out = (struct start){
        .timeout_ms = params_number(p, PARAM_SPAWN_TIMEOUT, SPAWN_MS),
        .spawn = { .init_timeout_ms = params_number(p, PARAM_INIT_TIMEOUT, INIT_MS),
                   .priority = (int32_t)params_number(p, PARAM_PRIORITY, 0) },
    };
    if (p->of[PARAM_ARGS].is_set)
        out->spawn.args = (struct sys_bytes){ p->of[PARAM_ARGS].raw.at, p->of[PARAM_ARGS].raw.len };
    int err = read_name(p, &out->spawn, &why);
    if (err == 0)
        err = control_find_node(c, p->of[PARAM_NODE].text, &out->node, &why);
    if (err == 0)
        err = read_behavior(c, p, out, &why);
    if (err == 0 && out->spawn.args.len > 0)
        err = value_scan(out->spawn.args.at, out->spawn.args.len, &c->limits, &why);
    if (err != 0)
        request_fail(r, &why);
    return err;
}

/* Where the message goes: to a worker of this node, or to another node, which chooses. */
static int
address_start(struct request *r, uint32_t node, struct envelope *e)
{
    struct control *c = request_control(r);
    struct nodes_entry entry;
    *e = (struct envelope){ .kind = KIND_SPAWN, .node = node, .slot = SLOT_ANY };
    if (node != 0) {
        if (nodes_get(control_nodes(c), node, &entry) == 0 &&
            nodes_route(control_nodes(c), node, entry.incarnation, &e->session) == 0)
            return 0;
        const char *id = nodes_borrow_id(control_nodes(c), node);
        request_fail_code(r, NX_ENODE, id, "node %s is not reachable", id != NULL ? id : "?");
        return NX_ENODE;
    }
    int err = choose_worker(c, &e->slot, &e->generation);
    if (err != 0) {
        request_fail_code(r, err, NULL, "too much in progress: no worker of node %s is ready", c->config.conf->node.text);
        return err;
    }
    r->worker = e->slot;
    c->starting[e->slot]++;
    return 0;
}

/* To whoever starts, or has started, the server of call_id. Who cannot be told has ended, or stops the server himself when nobody
 * acknowledges it. */
static void
send_word(struct control *c, uint8_t kind, uint32_t node, uint32_t session, uint16_t slot, uint32_t generation, uint64_t call_id)
{
    struct envelope e = { .kind = kind, .node = node, .session = session, .slot = slot, .generation = generation,
                          .call_id = call_id };
    (void)route_send(c->config.route, &e, NULL);
}

void
request_undo_start(struct request *r, uint64_t call_id, const struct call_target *target)
{
    if (r->count == REQUEST_SPAWN)
        send_word(request_control(r), KIND_SPAWN_CANCEL, target->node, target->session, target->slot, target->generation,
                  call_id);
}

void
request_start_late(struct control *c, const struct envelope *e, const uint8_t *body)
{
    struct sys_spawn_reply reply;
    if (sys_spawn_reply_decode(body, e->body_len, &reply, NULL) == 0)
        send_word(c, KIND_SPAWN_CANCEL, e->node, e->session, reply.ref.slot, reply.ref.generation, e->call_id);
}

static void
on_started(struct request *r, const struct envelope *e, const uint8_t *body)
{
    struct control *c = request_control(r);
    struct base_error why = { 0 };
    struct sys_spawn_reply reply;
    nx_ref ref;

    int err = base_error_set(&why, NX_EBADMSG, NULL, "message malformed: not the answer to a start");
    if (e->kind == KIND_SPAWN_REPLY)
        err = sys_spawn_reply_decode(body, e->body_len, &reply, &why);
    if (err == 0)
        err = route_ref_from_wire(c->config.route, &reply.ref, &ref, &why);
    if (err != 0) {
        request_fail(r, &why);
        return;
    }
    send_word(c, KIND_SPAWN_ACK, e->node, e->session, reply.ref.slot, reply.ref.generation, e->call_id);
    request_reply_ref(r, ref);
}

void
method_start(struct request *r, const struct params *p)
{
    struct control *c = request_control(r);
    struct start start;
    struct envelope e;
    struct buf body;
    char what[sizeof r->what];

    request_count(r, REQUEST_SPAWN);
    if (read_start(r, p, &start) != 0 || address_start(r, start.node, &e) != 0)
        return;
    (void)snprintf(what, sizeof what, "start of %.*s", (int)(start.spawn.behavior.len < 64 ? start.spawn.behavior.len : 64),
                   start.spawn.behavior.at);
    buf_init(&body, c->limits.max_body + CONTROL_ENVELOPE);
    int err = sys_spawn_encode(&start.spawn, &body);
    if (err == 0)
        request_send(r, &e, buf_data(&body), buf_len(&body), start.timeout_ms, what, on_started);
    else
        request_fail_code(r, err, NULL, "%s: the arguments do not fit", nx_strerror(err));
    buf_fini(&body);
}

/* ---------------------------------------------------------------- call, cast, stop */

static int
way_to(struct request *r, nx_ref ref, struct envelope *e)
{
    struct route *route = request_control(r)->config.route;
    *e = (struct envelope){ 0 };
    int way = route_to(route, ref, e);
    return way == ROUTE_HERE ? NX_ENOSERVER : way < 0 ? way : 0;     /* the gate runs no servers */
}

static int
way_or_fail(struct request *r, nx_ref ref, struct envelope *e)
{
    struct base_error why = { 0 };
    int err = way_to(r, ref, e);
    if (err != 0) {
        route_explain(request_control(r)->config.route, err, ref, &why);
        request_fail(r, &why);
    }
    return err;
}

static void
on_reply(struct request *r, const struct envelope *e, const uint8_t *body)
{
    struct base_error why = { 0 };
    /* A module can write what it likes into its worker's memory. Broken bytes would be the end of the client's stream. */
    int err = value_scan(body, e->body_len, &request_control(r)->limits, &why);
    if (err != 0)
        request_fail(r, &why);
    else
        request_reply(r, body, e->body_len);
}

void
method_call(struct request *r, const struct params *p)
{
    struct rpc_slice message = p->of[PARAM_MESSAGE].raw;
    struct envelope e;
    nx_ref ref;
    request_count(r, REQUEST_CALL);
    if (request_target(r, &p->of[PARAM_TARGET], &ref) != 0 || check_body(r, message) != 0 || way_or_fail(r, ref, &e) != 0)
        return;
    e.kind = KIND_CALL;
    request_send(r, &e, message.at, message.len, params_number(p, PARAM_TIMEOUT, NX_DEFAULT_TIMEOUT), "call", on_reply);
}

void
method_cast(struct request *r, const struct params *p)
{
    struct control *c = request_control(r);
    struct rpc_slice message = p->of[PARAM_MESSAGE].raw;
    struct envelope e;
    nx_ref ref;
    if (request_target(r, &p->of[PARAM_TARGET], &ref) != 0 || check_body(r, message) != 0)
        return;
    int err = way_to(r, ref, &e);
    if (err == 0) {
        e.kind = KIND_CAST;
        e.body_len = (uint32_t)message.len;
        err = route_send(c->config.route, &e, message.at);
    }
    if (err == 0) {
        stats_add(c->stats, casts_sent, 1);
    } else if (err == NX_ENODE || err == NX_ENOSERVER || err == NX_EBUSY) {
        stats_add(c->stats, casts_dropped, 1);          /* a cast does not fail for the absence of its target */
    } else {
        request_fail_code(r, err, NULL, "%s", nx_strerror(err));
        return;
    }
    request_reply_true(r);
}

static void
on_stopped(struct request *r, const struct envelope *e, const uint8_t *body)
{
    (void)e, (void)body;
    request_reply_true(r);
}

static int
read_reason(struct request *r, const struct params *p, int32_t *out)
{
    struct rpc_slice text = p->of[PARAM_REASON].text;
    if (!p->of[PARAM_REASON].is_set || (text.len == 6 && memcmp(text.at, "normal", 6) == 0)) {
        *out = NX_NORMAL;
    } else if (text.len == 8 && memcmp(text.at, "shutdown", 8) == 0) {
        *out = NX_SHUTDOWN;
    } else {
        request_fail_code(r, NX_EINVAL, "reason", "parameter reason: must be normal or shutdown");
        return NX_EINVAL;
    }
    return 0;
}

void
method_stop(struct request *r, const struct params *p)
{
    struct sys_stop stop;
    struct envelope e;
    struct buf body;
    nx_ref ref;
    if (read_reason(r, p, &stop.reason) != 0 || request_target(r, &p->of[PARAM_TARGET], &ref) != 0 ||
        way_or_fail(r, ref, &e) != 0)
        return;
    e.kind = KIND_STOP;
    buf_init(&body, 0);
    if (sys_stop_encode(&stop, &body) == 0)
        request_send(r, &e, buf_data(&body), buf_len(&body), params_number(p, PARAM_TIMEOUT, STOP_MS), "stop", on_stopped);
    else
        request_fail_code(r, NX_ENOMEM, NULL, "out of memory");
    buf_fini(&body);
}
