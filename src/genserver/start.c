/*
 * start.c - asking for a start: of this worker, another worker, another node.
 *
 * Lives here: nx_start: its options, the choice of the worker, the request, the word that the ref has arrived or is not wanted any more.
 * Never here: what happens on the worker that runs init (spawn.c).
 * Runs in: workers, on a runner.
 */
#include "genserver/genserver_priv.h"

#include <inttypes.h>

#include "base/utf8.h"

enum { SPAWN_MS = 10000, INIT_MS = 5000, SPAWN_BODY_SPARE = 2048 };

static int
check_options(struct runner *r, const char *behavior, const nx_start_options *o, struct sys_spawn *q)
{
    size_t len = behavior != NULL ? strlen(behavior) : 0;
    if (len == 0 || len > NX_BEHAVIOR_NAME_MAX)
        return failure_set(r, NX_EINVAL, NULL, "a behavior's name has 1 to %d bytes", (int)NX_BEHAVIOR_NAME_MAX);
    if (o->scope != 0 && o->scope != NX_LOCAL && o->scope != NX_GLOBAL)
        return failure_set(r, NX_EINVAL, NULL, "scope %d is neither NX_LOCAL nor NX_GLOBAL", o->scope);
    if ((o->name != NULL) != (o->scope != 0))
        return failure_set(r, NX_EINVAL, o->name, o->name != NULL ? "a name without a scope" : "a scope without a name");
    if (o->spawn_timeout_ms < 0 || o->init_timeout_ms < 0)
        return failure_set(r, NX_EINVAL, NULL, "a timeout must be 1 ms or more, or 0 for the default");
    *q = (struct sys_spawn){ .behavior = { behavior, len }, .scope = o->scope, .priority = o->priority,
                             .init_timeout_ms = o->init_timeout_ms != 0 ? o->init_timeout_ms : INIT_MS };
    if (o->name == NULL)
        return 0;
    q->name = (struct sys_text){ o->name, strlen(o->name) };
    if (!utf8_is_name(q->name.at, q->name.len))
        return failure_set(r, NX_EINVAL, NULL, "not a valid name: 1 to %d bytes of UTF-8, not beginning with '#'", (int)NX_NAME_MAX);
    return 0;
}

/* The worker of this node with the fewest servers; this one if it has no more than any other. */
static uint16_t
choose_worker(struct runtime *rt)
{
    uint16_t best = rt->config.slot;
    uint64_t fewest = table_count(rt->servers);
    for (uint16_t slot = 0; slot < shm_workers(rt->config.shm); slot++) {
        struct board_slot b;
        struct stats *st = shm_stats(rt->config.shm, slot);
        if (slot == rt->config.slot || st == NULL || board_get(shm_board(rt->config.shm), slot, &b) != 0 || b.state != BOARD_READY)
            continue;
        uint64_t live = stats_get(st, servers_live);
        if (live < fewest) {
            fewest = live;
            best = slot;
        }
    }
    return best;
}

/* Where to: fills node, session, slot, generation of *e. ROUTE_HERE, ROUTE_PROCESS, ROUTE_NODE or the failure set. */
static int
choose_way(struct runner *r, const nx_start_options *o, struct envelope *e)
{
    struct runtime *rt = r->rt;
    struct nodes *nodes = shm_nodes(rt->config.shm);
    struct nodes_entry entry;
    struct node_id id;
    struct base_error why;
    uint32_t index = 0;
    if (o->node != NULL) {
        if (node_id_parse(o->node, strlen(o->node), &id, &why) != 0)
            return failure_keep(r, &why);
        int err = nodes_find(nodes, id.text, strlen(id.text), &index);
        if (err == 0 && index != 0) {
            do
                err = nodes_get(nodes, index, &entry);
            while (err == NX_EBUSY);
            if (err == 0)
                err = nodes_route(nodes, index, entry.incarnation, &e->session);
        }
        if (err != 0)
            return failure_set(r, NX_ENODE, id.text, "node %s is not reachable", id.text);
    }
    if (index != 0) {
        e->node = index;
        e->slot = SLOT_ANY;
        return ROUTE_NODE;
    }
    e->slot = o->any_worker ? choose_worker(rt) : rt->config.slot;
    e->generation = board_generation(shm_board(rt->config.shm), e->slot);
    return e->slot == rt->config.slot ? ROUTE_HERE : ROUTE_PROCESS;
}

static int
start_here(struct runner *r, struct envelope *e, struct sys_spawn *q, int64_t timeout_ms, uint64_t deadline_ns, nx_ref *out)
{
    struct runtime *rt = r->rt;
    struct base_error why = { .code = 0 };
    struct start *st;
    struct wait w;
    int err = invoke_begin(r, &w, WAIT_START, e, deadline_ns);
    if (err != 0)
        return err;
    nx_from from = { .call_id = w.call_id, .deadline_ns = deadline_ns };
    err = spawn_begin(rt, q, &from, &st, &why);
    if (err != 0) {
        invoke_finish(rt, &w, err);
        r->server->wait = NULL;
        return failure_keep(r, &why);
    }
    w.to = server_ref(rt, st->server);        /* the answer says no more than that it is so */
    w.target.serial = w.to.serial;    /* so that an init that calls its starter is seen as a cycle */
    invoke_park(r, &w);
    err = invoke_status(r, &w, w.to, timeout_ms);
    if (err == 0)
        *out = w.to;
    return err;
}

/* Acknowledge or give up a start that another process runs. */
static void
send_word(struct runtime *rt, uint8_t kind, const struct envelope *request, uint16_t slot, uint32_t generation, uint64_t call_id)
{
    struct envelope e = { .kind = kind, .node = request->node, .session = request->session, .slot = slot, .generation = generation, .call_id = call_id };
    (void)route_send(rt->config.route, &e, NULL);     /* not sent: the other side notices that nobody acknowledges */
}

static void
fill_version(struct runtime *rt, struct sys_spawn *q)
{
    struct behaviors *table = shm_behaviors(rt->config.shm);
    struct behaviors_entry b;
    uint32_t index;
    int err = behaviors_find(table, q->behavior.at, q->behavior.len, &index);
    if (err != 0)
        return;
    do
        err = behaviors_get(table, index, &b);
    while (err == NX_EBUSY);
    if (err != 0 || !b.is_present)
        return;
    q->version = b.version;
    q->has_hash = true;
    memcpy(q->hash, b.hash, sizeof q->hash);
}

static int
start_there(struct runner *r, int way, struct envelope *e, struct sys_spawn *q, int64_t timeout_ms, uint64_t deadline_ns, nx_ref *out)
{
    struct runtime *rt = r->rt;
    struct base_error why = { .code = 0 };
    struct sys_spawn_reply reply;
    struct buf body;
    struct wait w;
    nx_ref ref = { .node = e->node };
    fill_version(rt, q);
    buf_init(&body, rt->config.limits.max_body);
    int err = sys_spawn_encode(q, &body);
    if (err != 0) {
        buf_fini(&body);
        return failure_set(r, err, NULL, "the request to start does not fit: %s", nx_strerror(err));
    }
    e->kind = KIND_SPAWN;
    e->body_len = (uint32_t)buf_len(&body);
    err = invoke_wait(r, &w, WAIT_START, way, e, buf_data(&body), ref, timeout_ms, deadline_ns);
    buf_fini(&body);
    if (err == 0 && w.answer != KIND_SPAWN_REPLY)
        return failure_set(r, NX_EBADMSG, NULL, "a start was answered by a message of kind %u", w.answer);
    if (err == 0 && (sys_spawn_reply_decode(w.body, w.len, &reply, &why) != 0 || route_ref_from_wire(rt->config.route, &reply.ref, &ref, &why) != 0))
        err = failure_keep(r, &why);
    if (err == NX_ETIMEDOUT || err == NX_ECANCELED || err == NX_ENOMEM || (err != 0 && w.answer == KIND_SPAWN_REPLY))
        send_word(rt, KIND_SPAWN_CANCEL, e, e->slot, e->generation, w.call_id);            /* nobody will know what may run there now */
    if (err != 0)
        return err;
    send_word(rt, KIND_SPAWN_ACK, e, ref.slot, ref.generation, w.call_id);
    *out = ref;
    return 0;
}

/* The answer to a start that has been given up: whoever runs the server is told, in case the first word did not find it. */
void
start_late(struct runtime *rt, const struct envelope *e, const uint8_t *body)
{
    struct sys_spawn_reply reply;
    struct base_error why;
    if (sys_spawn_reply_decode(body, e->body_len, &reply, &why) == 0)
        send_word(rt, KIND_SPAWN_CANCEL, e, reply.ref.slot, reply.ref.generation, e->call_id);
}

int
nx_start(nx_self *self, const char *behavior, const nx_start_options *options, nx_ref *out)
{
    static const nx_start_options defaults = { .node = NULL };
    struct runner *r = runner_of(self);
    if (r == NULL)
        return NX_EINVAL;
    const nx_start_options *o = options != NULL ? options : &defaults;
    struct sys_spawn q;
    struct envelope e = { .kind = 0 };
    nx_ref unused, *ref = out != NULL ? out : &unused;
    int err = check_options(r, behavior, o, &q);
    if (err == 0 && nx_is_value(o->args)) {
        const void *bytes;
        err = invoke_bytes(r, o->args, &bytes, &q.args.len);
        q.args.at = bytes;
    }
    if (err != 0)
        return err;
    int64_t timeout_ms = o->spawn_timeout_ms != 0 ? o->spawn_timeout_ms : SPAWN_MS;
    uint64_t deadline_ns = clock_deadline(runtime_clock(r->rt), timeout_ms);
    int way = choose_way(r, o, &e);
    err = way < 0 ? way : invoke_allowed(r);
    if (err != 0) {
        stats_add(r->rt->stats, spawns_initiated, 1);
        stats_add(r->rt->stats, spawns_rejected, 1);
        return err;
    }
    return way == ROUTE_HERE ? start_here(r, &e, &q, timeout_ms, deadline_ns, ref)
                             : start_there(r, way, &e, &q, timeout_ms, deadline_ns, ref);
}
