/*
 * registrar.c - who may have a name: requests of this node's processes and of peers, the ends of servers and workers.
 *
 * Lives here: register, unregister, server gone, worker down, what is found after the death of a predecessor.
 * Never here: names of other nodes (replication.c); two nodes that claim one name (conflict.c).
 * Runs in: the link worker, the simulator.
 *
 * Order, always: commit to shared memory, events, delta to the peers, answer. Who has the answer can find the name.
 */
#include "cluster/cluster_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* Where the answer goes. */
struct asker { uint32_t node, session; uint64_t call_id; };

/* ---------------------------------------------------------------- answers */

static void
answer_done(struct cluster *c, const struct asker *to)
{
    static const uint8_t nil = 0xc0;

    replication_flush(c);
    c->config.out.answer(c->config.arg, to->node, to->session, to->call_id, KIND_REPLY, &nil, 1);
}

static void
answer_error(struct cluster *c, const struct asker *to, const struct base_error *why)
{
    struct sys_error e = { .code = why->code, .subject = { why->subject, strlen(why->subject) }, .text = { why->text, strlen(why->text) } };

    replication_flush(c);
    buf_clear(&c->body);
    if (sys_error_encode(&e, &c->body) != 0) {
        log_error("cluster: answer lost: out of memory");
        return;
    }
    c->config.out.answer(c->config.arg, to->node, to->session, to->call_id, KIND_ERROR, buf_data(&c->body), buf_len(&c->body));
}

static void
answer(struct cluster *c, const struct asker *to, int err, const struct base_error *why)
{
    if (err == 0)
        answer_done(c, to);
    else
        answer_error(c, to, why);
}

static const char *
owner_text(const struct cluster *c, const struct claim *claim)
{
    return claim->node == 0 ? c->config.self.text : c->peers[claim->node]->id.text;
}

static const char *
scope_text(int scope)
{
    return scope == SYS_LOCAL ? "local" : "global";
}

/* ---------------------------------------------------------------- register */

static int
check_ref(const struct cluster *c, const struct wire_ref *ref, struct base_error *why)
{
    char text[WIRE_REF_TEXT_MAX] = "";

    (void)wire_ref_to_text(ref, text, sizeof text);
    if (strcmp(ref->node, c->config.self.text) != 0)
        return base_error_set(why, NX_EINVAL, text, "%s is a server of another node, which registers its names itself", text);
    if (ref->incarnation != c->config.incarnation || ref->serial == 0 || ref->slot >= SLOT_WORKERS_MAX || ref->generation == 0 ||
        board_generation(c->config.board, ref->slot) != ref->generation)
        return base_error_set(why, NX_ENOSERVER, text, "server %s is not running on %s", text, c->config.self.text);
    return 0;
}

static bool
is_same_server(const struct claim *claim, const struct wire_ref *ref)
{
    return claim->node == 0 && claim->slot == ref->slot && claim->generation == ref->generation && claim->serial == ref->serial;
}

static int
refuse_full(struct cluster *c, const struct sys_register *r, struct base_error *why)
{
    return base_error_set(why, NX_EFULL, NULL, "the registry of %s is full (%zu names): \"%.*s\" was not registered; raise registry_capacity",
                          c->config.self.text, registry_capacity(c->config.registry), (int)r->name.len, r->name.at);
}

/* The sequence number is taken before the entry is written, as it must be. If the entry then does not fit, the number goes out as a removal of
 * nothing, or the peers would see a gap. */
static int
add_own(struct cluster *c, struct name *name, const struct sys_register *r, struct base_error *why)
{
    bool is_global = r->scope == SYS_GLOBAL;
    struct claim from = { .incarnation = c->config.incarnation, .serial = r->ref.serial, .generation = r->ref.generation,
                          .slot = r->ref.slot, .priority = r->priority }, *claim;

    from.registered_at_ms = registry_next_timestamp(c->writer, c->wall_ms);
    from.sequence = is_global ? registry_next_sequence(c->writer) : 0;
    from.name = name;
    int err = claim_new(c, name, &from, &claim);
    if (err == 0) {
        err = name_hold(c, name, claim);
        if (err != 0)
            claim_unlink(c, claim);
    }
    if (err != 0) {
        if (is_global)
            replication_add(c, &from, true, from.sequence);
        return err == NX_EFULL ? refuse_full(c, r, why) : base_error_set(why, err, NULL, "%s", nx_strerror(err));
    }
    event_own(c, SYS_REGISTERED, name, claim, claim);
    event_name(c, SYS_REGISTERED, name, claim, NULL);
    if (is_global)
        replication_add(c, claim, false, claim->sequence);
    return 0;
}

static int
do_register(struct cluster *c, struct peer *from, const struct sys_register *r, struct base_error *why)
{
    struct name *name;

    if (!utf8_is_name(r->name.at, r->name.len))
        return base_error_set(why, NX_EINVAL, NULL, "a name is 1 to 255 bytes of UTF-8 without control characters, not beginning with '#'");
    if (r->scope != SYS_GLOBAL && (r->scope != SYS_LOCAL || from != NULL))
        return base_error_set(why, NX_EINVAL, NULL, "a local name is registered by its own node only");
    int err = check_ref(c, &r->ref, why);
    if (err == 0)
        err = name_get(c, (enum registry_scope)r->scope, r->name.at, r->name.len, &name);
    if (err != 0)
        return err == NX_ENOMEM ? base_error_set(why, err, NULL, "out of memory") : err;
    name_purge(c, name);
    struct claim *holder = name->holder;
    if (holder == NULL)
        err = add_own(c, name, r, why);
    else if (!is_same_server(holder, &r->ref))
        err = base_error_set(why, NX_ECONFLICT, owner_text(c, holder), "%s name \"%.*s\" is already registered by a server on %s",
                             scope_text(r->scope), (int)r->name.len, r->name.at, owner_text(c, holder));
    name_tidy(c, name);
    return err;
}

/* ---------------------------------------------------------------- unregister */

static int
do_unregister(struct cluster *c, struct peer *from, const struct sys_unregister *u, struct base_error *why)
{
    if (u->name.len < 1 || u->name.len > 255 || (u->scope != SYS_GLOBAL && (u->scope != SYS_LOCAL || from != NULL)))
        return base_error_set(why, NX_EINVAL, NULL, "unregister: wrong name or scope");
    struct name *name = name_find(c, (enum registry_scope)u->scope, u->name.at, u->name.len);
    if (name != NULL)
        name_purge(c, name);
    struct claim *holder = name != NULL ? name->holder : NULL;
    int err = 0;
    if (holder == NULL)
        err = base_error_set(why, NX_ENONAME, NULL, "%s name \"%.*s\" is not registered", scope_text(u->scope), (int)u->name.len, u->name.at);
    else if (holder->node != 0)
        err = base_error_set(why, NX_ECONFLICT, owner_text(c, holder), "%s name \"%.*s\" belongs to a server on %s: only that node unregisters it",
                             scope_text(u->scope), (int)u->name.len, u->name.at, owner_text(c, holder));
    else
        claim_drop(c, holder);
    if (name != NULL)
        name_tidy(c, name);
    if (err == NX_ENONAME && why->subject[0] == '\0')
        (void)snprintf(why->subject, sizeof why->subject, "%.*s", (int)u->name.len, u->name.at);
    return err;
}

/* ---------------------------------------------------------------- ends of servers and workers */

static int
do_server_gone(struct cluster *c, uint16_t from_slot, const struct wire_ref *ref, struct base_error *why)
{
    if (strcmp(ref->node, c->config.self.text) != 0 || ref->incarnation != c->config.incarnation || ref->slot != from_slot)
        return base_error_set(why, NX_EINVAL, NULL, "a worker speaks for its own servers only");
    struct server *server;
    while ((server = claims_server(c, ref->slot, ref->generation, ref->serial)) != NULL) {
        struct claim *claim = list_item(server->claims.next, struct claim, of_server);
        struct name *name = claim->name;
        claim_drop(c, claim);                /* the server goes with its last name */
        name_tidy(c, name);
    }
    return 0;
}

static void
condemn_worker(struct cluster *c, struct list *claims, uint16_t slot, uint32_t generation)
{
    list_each(it, claims) {
        struct claim *claim = list_item(it, struct claim, of_node);
        if (claim->slot == slot && claim->generation == generation)
            claim_condemn(c, claim);
    }
}

void
registrar_worker_down(struct cluster *c, uint16_t slot, uint32_t generation)
{
    condemn_worker(c, &c->own, slot, generation);
    condemn_worker(c, &c->own_local, slot, generation);
}

/* ---------------------------------------------------------------- requests */

void
registrar_request(struct cluster *c, struct peer *from, uint16_t from_slot, const struct envelope *e, const uint8_t *body)
{
    struct asker to = { .node = from != NULL ? from->index : 0, .session = from != NULL ? from->session : 0, .call_id = e->call_id };
    struct base_error why = { 0 };
    struct sys_register r;
    struct sys_unregister u;
    struct sys_spawn_reply gone;
    int err;

    /* Its caller has been told that it failed: doing it now would leave a name that nobody knows of. */
    if (e->kind != KIND_SERVER_GONE && clock_is_past(e->deadline_ns, c->now_ns)) {
        if (c->config.stats != NULL)
            stats_add(c->config.stats, expired, 1);
        return;
    }
    switch (e->kind) {
    case KIND_REGISTER:
        err = sys_register_decode(body, e->body_len, &r, &why);
        if (err == 0)
            err = do_register(c, from, &r, &why);
        break;
    case KIND_UNREGISTER:
        err = sys_unregister_decode(body, e->body_len, &u, &why);
        if (err == 0)
            err = do_unregister(c, from, &u, &why);
        break;
    case KIND_SERVER_GONE:
        err = sys_spawn_reply_decode(body, e->body_len, &gone, &why);
        if (err == 0)
            err = do_server_gone(c, from_slot, &gone.ref, &why);
        break;
    default:
        cluster_count_bad(c);
        return;
    }
    if (err == NX_EBADMSG)
        cluster_count_bad(c);
    answer(c, &to, err, &why);
}

/* ---------------------------------------------------------------- after a predecessor */

static int
compare_sequence(const void *a, const void *b)
{
    const struct claim *x = *(struct claim *const *)a, *y = *(struct claim *const *)b;
    return x->sequence < y->sequence ? -1 : x->sequence > y->sequence;
}

/* Own claims stand in the order of their sequence numbers; the walk found them in another. */
static int
sort_own(struct cluster *c)
{
    uint32_t count = 0;

    if (c->own_count == 0)
        return 0;
    struct claim **all = calloc(c->own_count, sizeof(struct claim *));
    if (all == NULL)
        return NX_ENOMEM;
    while (!list_is_empty(&c->own))
        all[count++] = list_item(list_pop_front(&c->own), struct claim, of_node);
    qsort(all, count, sizeof(struct claim *), compare_sequence);
    for (uint32_t i = 0; i < count; i++)
        list_push_back(&c->own, &all[i]->of_node);
    free(all);
    return 0;
}

static int
take_over(struct cluster *c, const struct registry_entry *e)
{
    struct claim from = { .node = e->node, .generation = e->generation, .incarnation = e->incarnation, .serial = e->serial,
                          .registered_at_ms = e->registered_at_ms, .sequence = e->sequence, .priority = e->priority, .slot = e->slot }, *claim;
    struct name *name;
    int err = name_get(c, (enum registry_scope)e->scope, e->name, e->name_len, &name);

    if (err == 0)
        err = claim_new(c, name, &from, &claim);
    if (err != 0)
        return err;
    name->holder = claim;
    if (claim->node != 0 || claim_is_dead(c, claim))
        claim_condemn(c, claim);
    return 0;
}

int
registrar_start(struct cluster *c, struct base_error *why)
{
    struct registry_recovery found = { 0 };
    struct registry_entry e;
    uint64_t cursor = 0;
    int err = registry_writer_open(c->config.registry, &c->writer, &found, why);

    if (err != 0)
        return err;
    if (found.bad > 0)
        log_error("cluster: registry had bad entries, dropped bad=%u", found.bad);
    if (found.live > 0)
        log_info("cluster: registry taken over names=%u freed=%u swept=%u", found.live, found.freed, found.swept);
    while (registry_writer_next(c->writer, &cursor, &e)) {
        if (e.node != 0 && cluster_peer(c, e.node) == NULL) {
            (void)registry_delete(c->writer, (enum registry_scope)e.scope, e.name, e.name_len);
            continue;
        }
        err = take_over(c, &e);
        if (err != 0)
            return base_error_set(why, err, NULL, "cluster: out of memory for the names of the registry");
    }
    return sort_own(c) == 0 ? 0 : base_error_set(why, NX_ENOMEM, NULL, "cluster: out of memory for the names of the registry");
}
