/*
 * methods_node.c - status, nodes, workers, behaviors, stats: what shared memory tells of this node and its cluster.
 *
 * Lives here: maps for clients out of the node table, the board, the behavior table and the statistics of all processes.
 * Never here: messages: nothing here waits for anyone.
 * Runs in: the gate.
 */
#include "control/control_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "shm/behaviors.h"

/* The processes with statistics: workers, then the link worker and the gate. */
static uint16_t
slot_at(struct control *c, uint32_t index)
{
    uint32_t workers = shm_workers(c->config.shm);
    return index < workers ? (uint16_t)index : index == workers ? SLOT_LINK : SLOT_GATE;
}

static uint32_t
process_count(struct control *c)
{
    return shm_workers(c->config.shm) + 2;
}

#define SUM(c, field) sum(c, offsetof(struct stats, field))
static uint64_t
sum(struct control *c, size_t field)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < process_count(c); i++) {
        const struct stats *st = shm_stats(c->config.shm, slot_at(c, i));
        if (st != NULL)
            total += atomic_load_explicit((const _Atomic uint64_t *)(const void *)((const char *)st + field),
                                          memory_order_relaxed);
    }
    return total;
}

static uint64_t
since_ms(uint64_t wall_ms)
{
    uint64_t now = clock_wall_ms();
    return wall_ms != 0 && now > wall_ms ? now - wall_ms : 0;
}

static void
reply_or_fail(struct request *r, nx_packer *out, int err)
{
    if (err == 0) {
        request_reply_packed(r, out);
        return;
    }
    value_packer_fini(out);
    request_fail_code(r, err, NULL, "%s: the answer", nx_strerror(err));
}

/* ---------------------------------------------------------------- status */

static int
pack_status(struct control *c, nx_packer *out)
{
    const struct conf *conf = c->config.conf;
    struct names_count names;
    struct nodes_entry entry;
    struct board_slot slot;
    uint32_t ready = 0, up = 0, known = nodes_count(control_nodes(c));
    char incarnation[17];

    (void)snprintf(incarnation, sizeof incarnation, "%016" PRIx64, board_incarnation(control_board(c)));
    for (uint16_t i = 0; i < shm_workers(c->config.shm); i++)
        ready += board_get(control_board(c), i, &slot) == 0 && slot.state == BOARD_READY;
    for (uint32_t i = 1; i < known; i++)
        up += nodes_get(control_nodes(c), i, &entry) == 0 && entry.state == NODES_UP;
    control_names_count(c, &names);

    int err = rpc_put_map_head(&out->bytes, 19);
    if (err == 0)
        err = nx_pack(out, "s s s s s i s s s s s s s u s u", "node", conf->node.text, "host", conf->node.host,
                      "port", (int)conf->node.port, "cluster", conf->cluster, "version", c->config.version,
                      "incarnation", incarnation,
                      "startedAt", board_started_at_ms(control_board(c)),
                      "uptimeMs", since_ms(board_started_at_ms(control_board(c))));
    if (err == 0)
        err = nx_pack(out, "s u s u s u s u", "workers", (uint64_t)shm_workers(c->config.shm), "workersReady", (uint64_t)ready,
                      "servers", SUM(c, servers_live), "behaviors", (uint64_t)behaviors_count(shm_behaviors(c->config.shm)));
    if (err == 0)
        err = nx_pack(out, "s u s u s u s u s u s u s u", "nodesKnown", (uint64_t)known, "nodesUp", (uint64_t)up + 1,
                      "names", names.local + names.own + names.remote, "namesLocal", names.local,
                      "namesGlobal", names.own + names.remote, "namesRemote", names.remote, "clients", (uint64_t)c->session_count);
    return err;
}

void
method_status(struct request *r, const struct params *p)
{
    nx_packer out;
    (void)p;
    value_packer_init(&out, CONTROL_RESULT_MAX);
    reply_or_fail(r, &out, pack_status(request_control(r), &out));
}

/* ---------------------------------------------------------------- nodes */

static int
pack_node(struct control *c, uint32_t index, const struct nodes_entry *e, nx_packer *out)
{
    bool is_self = index == 0;
    uint64_t started = board_started_at_ms(control_board(c));
    char incarnation[17];
    (void)snprintf(incarnation, sizeof incarnation, "%016" PRIx64,
                   is_self ? board_incarnation(control_board(c)) : e->incarnation);
    int err = rpc_put_map_head(&out->bytes, 17);
    if (err == 0)
        err = nx_pack(out, "s s s s s s s i s s s s s b", "id", e->id.text, "name", e->id.name, "host", e->id.host,
                      "port", (int)e->id.port, "status", nodes_state_name(is_self ? NODES_UP : e->state),
                      "reason", nodes_reason_name(e->reason), "self", (int)is_self);
    if (err == 0)
        err = nx_pack(out, "s s s u s u s u s u s u", "incarnation", incarnation, "session", (uint64_t)e->session,
                      "servers", is_self ? SUM(c, servers_live) : (uint64_t)e->servers,
                      "uptimeMs", is_self ? since_ms(started) : e->uptime_ms,
                      "lastHeartbeatMs", is_self ? clock_wall_ms() : e->last_heartbeat_ms,
                      "upSinceMs", is_self ? started : e->up_since_ms);
    if (err == 0)
        err = nx_pack(out, "s u s u s u s u", "messagesSent", e->messages_sent, "messagesReceived", e->messages_received,
                      "bytesSent", e->bytes_sent, "bytesReceived", e->bytes_received);
    return err;
}

static int
pack_nodes(struct control *c, bool has_one, uint32_t one, bool is_up_only, nx_packer *out)
{
    struct nodes_entry entry;
    uint32_t count = 0, all = nodes_count(control_nodes(c));
    size_t place;
    int err = rpc_array_begin(&out->bytes, &place);
    for (uint32_t i = 0; i < all && err == 0; i++) {
        if ((has_one && i != one) || nodes_get(control_nodes(c), i, &entry) != 0 ||
            (is_up_only && i != 0 && entry.state != NODES_UP))
            continue;
        err = pack_node(c, i, &entry, out);
        count++;
    }
    if (err == 0)
        rpc_array_end(&out->bytes, place, count);
    return err;
}

void
method_nodes(struct request *r, const struct params *p)
{
    struct control *c = request_control(r);
    struct base_error why = { 0 };
    bool has_one = p->of[PARAM_NODE].is_set;
    uint32_t one = 0;
    nx_packer out;
    if (has_one && control_find_node(c, p->of[PARAM_NODE].text, &one, &why) != 0) {
        request_fail(r, &why);
        return;
    }
    value_packer_init(&out, CONTROL_RESULT_MAX);
    reply_or_fail(r, &out, pack_nodes(c, has_one, one, params_flag(p, PARAM_UP, false), &out));
}

/* ---------------------------------------------------------------- workers */

static const char *
board_state_name(enum board_state state)
{
    switch (state) {
    case BOARD_STARTING: return "starting";
    case BOARD_READY: return "ready";
    case BOARD_STOPPING: return "stopping";
    case BOARD_DOWN: break;
    }
    return "down";
}

static int
pack_process(struct control *c, uint16_t slot, nx_packer *out)
{
    struct board_slot b;
    const struct stats *st = shm_stats(c->config.shm, slot);
    if (st == NULL || board_get(control_board(c), slot, &b) != 0)
        return NX_ESYS;                    /* these slots are always there */
    const char *role = slot == SLOT_LINK ? "link" : slot == SLOT_GATE ? "gate" : "worker";
    int err = rpc_put_map_head(&out->bytes, 15);
    if (err == 0)
        err = nx_pack(out, "s s s i s s s i s i s u s u s u", "role", role, "slot", (int)slot, "state", board_state_name(b.state),
                      "pid", (int)b.pid, "cpu", (int)b.cpu, "generation", (uint64_t)b.generation, "startedAt", b.started_at_ms,
                      "uptimeMs", since_ms(b.started_at_ms));
    if (err == 0)
        err = nx_pack(out, "s u s u s u s u s u s u s u", "restarts", (uint64_t)b.restarts,
                      "servers", stats_get(st, servers_live), "messages", stats_get(st, messages),
                      "callsPending", stats_get(st, calls_pending), "parkedHandlers", stats_get(st, parked),
                      "timers", stats_get(st, timers), "memoryBytes", stats_get(st, memory_bytes));
    return err;
}

void
method_workers(struct request *r, const struct params *p)
{
    struct control *c = request_control(r);
    nx_packer out;
    size_t place;
    (void)p;
    value_packer_init(&out, CONTROL_RESULT_MAX);
    int err = rpc_array_begin(&out.bytes, &place);
    for (uint32_t i = 0; i < process_count(c) && err == 0; i++)
        err = pack_process(c, slot_at(c, i), &out);
    if (err == 0)
        rpc_array_end(&out.bytes, place, process_count(c));
    reply_or_fail(r, &out, err);
}

/* ---------------------------------------------------------------- behaviors */

static int
pack_behavior(struct control *c, uint32_t index, const struct behaviors_entry *e, nx_packer *out)
{
    uint64_t starts = 0, live = 0, crashes = 0, messages = 0;
    char hash[2 * sizeof e->hash + 1];
    for (uint16_t i = 0; i < shm_workers(c->config.shm) && index < STATS_BEHAVIORS_MAX; i++) {
        const struct stats *st = shm_stats(c->config.shm, i);
        if (st == NULL)
            continue;
        starts += stats_get(st, behaviors[index].starts);
        live += stats_get(st, behaviors[index].live);
        crashes += stats_get(st, behaviors[index].crashes);
        messages += stats_get(st, behaviors[index].messages);
    }
    for (size_t i = 0; i < sizeof e->hash; i++)
        (void)snprintf(hash + 2 * i, 3, "%02x", e->hash[i]);
    return nx_pack(out, "{s:s,s:u,s:s,s:s,s:u,s:u,s:u,s:u,s:u}", "name", e->name, "version", (uint64_t)e->version, "hash", hash,
                   "file", e->file, "generation", (uint64_t)e->generation, "starts", starts, "live", live,
                   "crashes", crashes, "messages", messages);
}

void
method_behaviors(struct request *r, const struct params *p)
{
    struct control *c = request_control(r);
    struct behaviors *table = shm_behaviors(c->config.shm);
    struct behaviors_entry entry;
    uint32_t count = 0;
    nx_packer out;
    size_t place;
    (void)p;
    value_packer_init(&out, CONTROL_RESULT_MAX);
    int err = rpc_array_begin(&out.bytes, &place);
    for (uint32_t i = 0; i < behaviors_count(table) && err == 0; i++) {
        if (behaviors_get(table, i, &entry) != 0 || !entry.is_present)
            continue;
        err = pack_behavior(c, i, &entry, &out);
        count++;
    }
    if (err == 0)
        rpc_array_end(&out.bytes, place, count);
    reply_or_fail(r, &out, err);
}

/* ---------------------------------------------------------------- stats */

static const struct counter { const char *name; size_t field; } counters[] = {
#define COUNTER(field, name) { name, offsetof(struct stats, field) },
    STATS_COUNTERS(COUNTER)
#undef COUNTER
};

static int
pack_counters(struct control *c, nx_packer *out)
{
    struct names_count names;
    struct nodes_entry entry;
    uint64_t peers = 0;
    control_names_count(c, &names);
    for (uint32_t i = 1; i < nodes_count(control_nodes(c)); i++)
        peers += nodes_get(control_nodes(c), i, &entry) == 0 && entry.state == NODES_UP;

    int err = rpc_put_map_head(&out->bytes, (uint32_t)BASE_COUNT(counters) + 9);
    for (size_t i = 0; i < BASE_COUNT(counters) && err == 0; i++)
        err = nx_pack(out, "s u", counters[i].name, sum(c, counters[i].field));
    if (err == 0)
        err = nx_pack(out, "s u s u s u s u s u", "registryTotal", names.local + names.own + names.remote,
                      "registryLocal", names.local, "registryGlobal", names.own + names.remote, "registryRemote", names.remote,
                      "registryCapacity", (uint64_t)registry_capacity(control_registry(c)));
    if (err == 0)
        err = nx_pack(out, "s u s u s u s u", "registryVersion", registry_version(control_registry(c)), "nodesUp", peers + 1,
                      "uptimeMs", since_ms(board_started_at_ms(control_board(c))), "clients", (uint64_t)c->session_count);
    return err;
}

void
method_stats(struct request *r, const struct params *p)
{
    nx_packer out;
    (void)p;
    value_packer_init(&out, CONTROL_RESULT_MAX);
    reply_or_fail(r, &out, pack_counters(request_control(r), &out));
}
