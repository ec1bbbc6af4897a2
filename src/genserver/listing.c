/*
 * listing.c - what can be listed: names, nodes, behaviors, figures, and this worker's servers for the gate.
 *
 * Lives here: shared memory and this worker's tables as values.
 * Never here: who is shown what.
 * Runs in: workers.
 *
 * A listing is packed element by element, then gets its array head, then is decoded for nx_unpack; so it needs no count beforehand.
 */
#include "genserver/genserver_priv.h"

#include <stdlib.h>

#include "wire/wire.h"

enum { LISTING_MAX = 64 << 20, ARRAY_HEAD = 5 };

static const struct value_limits listing_limits = { .max_body = LISTING_MAX, .max_depth = 32, .max_objects = UINT32_MAX, .max_pairs = UINT32_MAX };

struct listing { nx_packer packer; uint32_t count; int err; };

static void
listing_begin(struct listing *l, size_t max)
{
    static const uint8_t head[ARRAY_HEAD] = { 0xdd };                /* array 32; the count is filled in at the end */
    value_packer_init(&l->packer, max);
    l->count = 0;
    l->err = buf_put(&l->packer.bytes, head, sizeof head);
}

static void
listing_added(struct listing *l, int err)
{
    if (err == 0)
        l->count++;
    else if (l->err == 0)
        l->err = err;
}

static nx_value
listing_bytes(struct listing *l)
{
    wire_put32(l->packer.bytes.data + l->packer.bytes.at + 1, l->count);
    return (nx_value){ .packed = buf_data(&l->packer.bytes), .packed_len = buf_len(&l->packer.bytes) };
}

/* Into the callback's memory, decoded. Ends the listing. */
static int
listing_end(struct runner *r, struct listing *l, nx_value *out)
{
    struct base_error why = { .code = 0 };
    int err = l->err;
    if (err == 0) {
        nx_value bytes = listing_bytes(l);
        void *copy = runner_alloc(r, bytes.packed_len);
        if (copy == NULL) {
            err = NX_ENOMEM;
        } else {
            memcpy(copy, bytes.packed, bytes.packed_len);
            err = value_decode(r->zone, copy, bytes.packed_len, &listing_limits, out, &why);
        }
    }
    value_packer_fini(&l->packer);
    return err != 0 ? failure_set(r, err, NULL, "listing: %s", nx_strerror(err)) : 0;
}

static const char *
scope_name(int scope)
{
    return scope == REGISTRY_LOCAL ? "local" : "global";
}

/* ---- names */

static bool
is_wanted(const struct registry_entry *e, int scope, const char *prefix, const char *entry_node, const char *node)
{
    return (scope == 0 || e->scope == scope) && (prefix == NULL || strncmp(e->name, prefix, strlen(prefix)) == 0)
           && (node == NULL || (entry_node != NULL && strcmp(entry_node, node) == 0));
}

int
nx_names(nx_self *self, int scope, const char *prefix, const char *node, size_t limit, nx_value *out)
{
    struct runner *r = runner_of(self);
    if (r == NULL)
        return NX_EINVAL;
    struct runtime *rt = r->rt;
    struct shm *shm = rt->config.shm;
    struct registry_entry e;
    struct node_id id;
    struct base_error why;
    struct listing l;
    uint64_t cursor = 0;
    if (out == NULL || (scope != 0 && scope != NX_LOCAL && scope != NX_GLOBAL))
        return failure_set(r, NX_EINVAL, NULL, "nx_names: scope %d", scope);
    if (node != NULL && node_id_parse(node, strlen(node), &id, &why) != 0)
        return failure_keep(r, &why);
    listing_begin(&l, LISTING_MAX);
    while (l.err == 0 && (limit == 0 || l.count < limit)
           && registry_next(shm_registry(shm), shm_board(shm), shm_nodes(shm), &cursor, &e) == 1) {
        nx_ref ref;
        const char *where = nodes_borrow_id(shm_nodes(shm), e.node);
        if (!is_wanted(&e, scope, prefix, where, node != NULL ? id.text : NULL))
            continue;
        route_ref_from_entry(rt->config.route, &e, &ref);
        listing_added(&l, nx_pack(&l.packer, "{s:s#,s:s,s:r,s:s,s:i,s:u}", "name", e.name, (size_t)e.name_len, "scope", scope_name(e.scope), "ref", ref,
                                  "node", where, "priority", (int)e.priority, "registeredAt", e.registered_at_ms));
    }
    return listing_end(r, &l, out);
}

/* ---- nodes */

static uint64_t
sum_servers(struct shm *shm)
{
    uint64_t sum = 0;
    for (uint16_t slot = 0; slot < shm_workers(shm); slot++) {
        struct stats *st = shm_stats(shm, slot);
        if (st != NULL && board_generation(shm_board(shm), slot) != 0)
            sum += stats_get(st, servers_live);
    }
    return sum;
}

int
nx_nodes(nx_self *self, nx_value *out)
{
    struct runner *r = runner_of(self);
    if (r == NULL)
        return NX_EINVAL;
    struct shm *shm = r->rt->config.shm;
    struct listing l;
    if (out == NULL)
        return failure_set(r, NX_EINVAL, NULL, "nx_nodes: nowhere to put it");
    listing_begin(&l, LISTING_MAX);
    for (uint32_t i = 0; i < nodes_count(shm_nodes(shm)) && l.err == 0; i++) {
        struct nodes_entry e;
        int err;
        do
            err = nodes_get(shm_nodes(shm), i, &e);
        while (err == NX_EBUSY);
        if (err != 0)
            continue;
        uint64_t wall = clock_wall_ms(), started = board_started_at_ms(shm_board(shm));
        bool is_self = i == 0;
        listing_added(&l, nx_pack(&l.packer, "{s:s,s:s,s:i,s:s,s:s,s:u,s:u,s:u,s:b}", "id", e.id.text, "host", e.id.host, "port", (int)e.id.port,
                                  "status", is_self ? "up" : nodes_state_name(e.state), "reason", is_self ? "" : nodes_reason_name(e.reason),
                                  "servers", is_self ? sum_servers(shm) : (uint64_t)e.servers,
                                  "uptimeMs", !is_self ? e.uptime_ms : wall > started ? wall - started : 0,
                                  "lastHeartbeatMs", is_self ? wall : e.last_heartbeat_ms, "self", (int)is_self));
    }
    return listing_end(r, &l, out);
}

/* ---- behaviors and figures */

struct figures { uint64_t live, starts, crashes, messages; };

static struct figures
sum_behavior(struct shm *shm, uint32_t index)
{
    struct figures sum = { 0 };
    for (uint16_t slot = 0; slot < shm_workers(shm) && index < STATS_BEHAVIORS_MAX; slot++) {
        struct stats *st = shm_stats(shm, slot);
        if (st == NULL)
            continue;
        sum.live += stats_get(st, behaviors[index].live);
        sum.starts += stats_get(st, behaviors[index].starts);
        sum.crashes += stats_get(st, behaviors[index].crashes);
        sum.messages += stats_get(st, behaviors[index].messages);
    }
    return sum;
}

int
nx_behaviors(nx_self *self, nx_value *out)
{
    static const char digits[] = "0123456789abcdef";
    struct runner *r = runner_of(self);
    if (r == NULL)
        return NX_EINVAL;
    struct shm *shm = r->rt->config.shm;
    struct listing l;
    if (out == NULL)
        return failure_set(r, NX_EINVAL, NULL, "nx_behaviors: nowhere to put it");
    listing_begin(&l, LISTING_MAX);
    for (uint32_t i = 0; i < behaviors_count(shm_behaviors(shm)) && l.err == 0; i++) {
        struct behaviors_entry e;
        char hash[2 * sizeof e.hash + 1] = "";
        int err;
        do
            err = behaviors_get(shm_behaviors(shm), i, &e);
        while (err == NX_EBUSY);
        if (err != 0 || !e.is_present)
            continue;
        for (size_t k = 0; k < sizeof e.hash; k++) {
            hash[2 * k] = digits[e.hash[k] >> 4];
            hash[2 * k + 1] = digits[e.hash[k] & 15];
        }
        struct figures f = sum_behavior(shm, i);
        listing_added(&l, nx_pack(&l.packer, "{s:s,s:u,s:s,s:s,s:u,s:u,s:u,s:u}", "name", e.name, "version", (uint64_t)e.version, "hash", hash, "file", e.file,
                                  "live", f.live, "starts", f.starts, "crashes", f.crashes, "messages", f.messages));
    }
    return listing_end(r, &l, out);
}

int
nx_stats(nx_self *self, nx_value *out)
{
    struct runner *r = runner_of(self);
    if (r == NULL)
        return NX_EINVAL;
    const struct stats *st = r->rt->stats;
    if (out == NULL)
        return failure_set(r, NX_EINVAL, NULL, "nx_stats: nowhere to put it");
#define FORMAT(field, name) "s:u,"
#define ARGUMENT(field, name) , name, (uint64_t)stats_get(st, field)
    *out = nx_make(self, "{" STATS_COUNTERS(FORMAT) "}" STATS_COUNTERS(ARGUMENT));
#undef FORMAT
#undef ARGUMENT
    return nx_is_value(*out) ? 0 : r->failure.code;
}

/* ---- this worker's servers, for the gate: an array of {ref, behavior, names, state, queued, messages}, oldest first, as many as fit into one body */

struct named { struct named *next; uint64_t serial; size_t len; char name[]; };

/* Which of our servers have which names: one walk over the registry, chained by serial. */
static void
collect_names(struct runtime *rt, struct value_zone *zone, struct table *names)
{
    struct shm *shm = rt->config.shm;
    struct registry_entry e;
    uint64_t cursor = 0;
    while (registry_next(shm_registry(shm), shm_board(shm), shm_nodes(shm), &cursor, &e) == 1) {
        if (e.node != 0 || e.slot != rt->config.slot || e.generation != rt->config.generation)
            continue;
        struct named *n = value_zone_alloc(zone, sizeof *n + e.name_len);
        if (n == NULL)
            return;
        n->next = table_get(names, e.serial);
        n->serial = e.serial;
        n->len = e.name_len;
        memcpy(n->name, e.name, e.name_len);
        if (table_put(names, e.serial, n) != 0)
            return;
    }
}

static int
pack_names(nx_packer *out, const struct named *first)
{
    uint8_t head[3] = { 0xdc };                        /* array 16 */
    uint16_t count = 0;
    for (const struct named *n = first; n != NULL && count < UINT16_MAX; n = n->next)
        count++;
    wire_put16(head + 1, count);
    int err = buf_put(&out->bytes, head, sizeof head);
    for (const struct named *n = first; n != NULL && count > 0 && err == 0; n = n->next, count--)
        err = nx_pack(out, "s#", n->name, n->len);
    return err;
}

static int
pack_server(struct runtime *rt, nx_packer *out, nx_packer *scratch, const struct server *s, const struct named *names)
{
    static const char *const lives[] = { [SERVER_STARTING] = "starting", [SERVER_LIVE] = "live", [SERVER_ENDING] = "ending" };
    value_packer_clear(scratch);
    int err = pack_names(scratch, names);
    if (err != 0)
        return err;
    nx_value list = { .packed = buf_data(&scratch->bytes), .packed_len = buf_len(&scratch->bytes) };
    return nx_pack(out, "{s:r,s:s,s:v,s:s,s:u,s:u}", "ref", server_ref(rt, s), "behavior", module_code_name(s->code), "names", list,
                   "state", s->run == RUN_PARKED ? "waiting" : lives[s->life], "queued", (uint64_t)s->mailbox.count, "messages", s->messages);
}

void
listing_answer(struct runtime *rt, const struct envelope *e, const uint8_t *body)
{
    nx_from from = answer_from(e);
    struct value_zone *zone = NULL;
    struct table *names = NULL;
    struct listing l;
    nx_packer scratch;
    (void)body;
    listing_begin(&l, rt->config.limits.max_body);
    value_packer_init(&scratch, rt->config.limits.max_body);
    if (value_zone_new(&zone) == 0 && table_new(&names) == 0)
        collect_names(rt, zone, names);
    list_each(it, &rt->all) {
        const struct server *s = list_item(it, struct server, all);
        listing_added(&l, pack_server(rt, &l.packer, &scratch, s, names != NULL ? table_get(names, s->serial) : NULL));
        if (l.err != 0)
            break;
    }
    if (l.err == 0 || l.err == NX_ETOOBIG) {
        nx_value bytes = listing_bytes(&l);
        (void)answer_value(rt, &from, KIND_REPLY, bytes.packed, bytes.packed_len, NULL);
    } else {
        answer_code(rt, &from, l.err, NULL, nx_strerror(l.err));
    }
    table_free(&names);
    value_zone_free(&zone);
    value_packer_fini(&scratch);
    value_packer_fini(&l.packer);
}
