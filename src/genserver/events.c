/*
 * events.c - nodes that come and go, names that are given and taken away.
 *
 * Lives here: this worker's own view of which nodes are up, the subscribers among its servers, snapshots, and the event messages as nx_info.
 * Never here: membership and the registry themselves.
 * Runs in: workers.
 *
 * The view changes with the link worker's words, in their order, and never ahead of them: what a server learns from a snapshot and the events after it fit
 * together. A registry event tells the registry's version after its commit; a snapshot of the names knows the version it was taken at; so a subscriber gets
 * each name once.
 */
#include "genserver/genserver_priv.h"

#include <stdlib.h>

enum { SNAPSHOT_TRIES = 8, BARRIER_MS = 1000 };

/* ---- the view */

int
events_open(struct runtime *rt)
{
    struct nodes *nodes = shm_nodes(rt->config.shm);
    uint32_t count = nodes_count(nodes);
    rt->view = calloc(count > 0 ? count : 1, sizeof *rt->view);
    if (rt->view == NULL)
        return NX_ENOMEM;
    rt->view_count = count;
    for (uint32_t i = 1; i < count; i++) {
        struct nodes_entry entry;
        if (nodes_get(nodes, i, &entry) == 0)
            rt->view[i] = (struct node_view){ .session = entry.session, .is_up = entry.state == NODES_UP };
    }
    return 0;
}

void
events_close(struct runtime *rt)
{
    free(rt->view);
    rt->view = NULL;
    rt->view_count = 0;
}

static struct node_view *
view_at(struct runtime *rt, uint32_t index)
{
    if (index < rt->view_count)
        return &rt->view[index];
    uint32_t count = nodes_count(shm_nodes(rt->config.shm));
    if (index >= count)
        return NULL;                  /* no such node: the link worker adds it before it speaks of it */
    struct node_view *view = realloc(rt->view, count * sizeof *view);
    if (view == NULL)
        return NULL;
    memset(view + rt->view_count, 0, (count - rt->view_count) * sizeof *view);
    rt->view = view;
    rt->view_count = count;
    return &view[index];
}

/* ---- to the subscribers */

/* An event counts less strictly than a user's message: a snapshot of all names must fit. What a server does not take even so is lost, with a word in the log. */
static void
put_event(struct runtime *rt, struct server *s, enum msg_what what, const void *body, size_t len)
{
    size_t bound = rt->config.mailbox_messages + 2 * registry_capacity(shm_registry(rt->config.shm)) + 2 * (size_t)rt->view_count;
    struct msg *m = s->mailbox.count < bound ? msg_new(what, NULL, body, len) : NULL;
    if (m == NULL) {
        stats_add(rt->stats, mailbox_full, 1);
        if (log_gate_pass(&rt->warn_gate, LOGS_PER_SECOND))
            log_warn("genserver: event lost server=%s#%llu", module_code_name(s->code), (unsigned long long)s->serial);
        return;
    }
    server_put_info(rt, s, m);
}

static struct belongings *
subscriber_at(struct list *it)
{
    return list_item(it, struct belongings, subscriber);
}

static void
node_event(struct runtime *rt, struct server *only, const struct sys_node_event *event)
{
    struct buf body;
    buf_init(&body, 4096);
    if (sys_node_event_encode(event, &body) == 0) {
        if (only != NULL)
            put_event(rt, only, MSG_NODE, buf_data(&body), buf_len(&body));
        else
            list_each(it, &rt->subscribers) {
                if ((subscriber_at(it)->events & NX_EVENTS_NODES) != 0)
                    put_event(rt, subscriber_at(it)->server, MSG_NODE, buf_data(&body), buf_len(&body));
            }
    }
    buf_fini(&body);
}

/* Everything here that waits for that node, in that session or an older one. */
static void
fail_node(struct runtime *rt, uint32_t index, uint32_t session)
{
    calls_fail_node(rt->config.calls, index, session);
    struct origin *o = origin_find(rt, index, 0);
    if (o == NULL)
        return;
    monitor_origin_gone(rt, o, session, NX_NOCONNECTION);
    spawn_origin_gone(rt, o, session);
}

/* Everything that waits for any other node: also for one that the node table called up, but of which no event had told yet. */
static void
fail_nodes(struct runtime *rt)
{
    size_t cursor = 0;
    struct origin *o;
    calls_fail_nodes(rt->config.calls);
    while ((o = table_next(rt->origins, &cursor, NULL)) != NULL) {       /* what follows makes messages, no origins */
        if (!origin_is_node(o))
            continue;
        monitor_origin_gone(rt, o, UINT32_MAX, NX_NOCONNECTION);
        spawn_origin_gone(rt, o, UINT32_MAX);
    }
}

void
events_node(struct runtime *rt, const struct envelope *e, const uint8_t *body)
{
    struct sys_node_event event;
    struct base_error why;
    struct node_view *view = view_at(rt, e->node);
    if (e->node == 0 || view == NULL || sys_node_event_decode(body, e->body_len, &event, &why) != 0) {
        stats_add(rt->stats, bad_messages, 1);
        return;
    }
    bool was_up = view->is_up;
    if (event.is_up) {
        bool is_news = !was_up || view->session != e->session;
        *view = (struct node_view){ .session = e->session, .is_up = true };
        if (is_news)
            node_event(rt, NULL, &event);
        return;
    }
    if (!was_up || e->session >= view->session) {
        view->is_up = false;
        fail_node(rt, e->node, e->session);
        if (was_up)
            node_event(rt, NULL, &event);
    }
}

/* Without the link worker no node can be reached. Its successor begins new sessions and says so. */
void
events_link_gone(struct runtime *rt)
{
    const char *reason = nodes_reason_name(NODES_CONNECTION_CLOSED);
    fail_nodes(rt);
    for (uint32_t i = 1; i < rt->view_count; i++) {
        if (!rt->view[i].is_up)
            continue;
        rt->view[i].is_up = false;
        const char *id = nodes_borrow_id(shm_nodes(rt->config.shm), i);
        if (id == NULL)
            continue;
        struct sys_node_event event = { .is_up = false, .node = { id, strlen(id) }, .reason = { reason, strlen(reason) } };
        node_event(rt, NULL, &event);
    }
}

void
events_registry(struct runtime *rt, const struct envelope *e, const uint8_t *body)
{
    struct sys_registry_event event;
    struct base_error why;
    if (sys_registry_event_decode(body, e->body_len, &event, &why) != 0) {
        stats_add(rt->stats, bad_messages, 1);
        return;
    }
    if (e->serial == 0) {
        list_each(it, &rt->subscribers) {
            struct belongings *own = subscriber_at(it);
            if ((own->events & NX_EVENTS_NAMES) != 0 && (event.version == 0 || event.version > own->names_version))
                put_event(rt, own->server, MSG_NAME, body, e->body_len);
        }
        return;
    }
    struct server *s = server_find(rt, e->serial);
    if (event.kind == SYS_REGISTERED) {
        if (s != NULL)
            s->is_named = true;
        else
            gone_tell(rt, e->serial);                 /* it ended while the registrar was at it */
    } else if (event.kind == SYS_NAME_LOST && s != NULL) {
        put_event(rt, s, MSG_NAME, body, e->body_len);
    }
}

/* ---- subscribing */

static unsigned
wanted(struct runtime *rt)
{
    unsigned all = 0;
    list_each(it, &rt->subscribers) {
        all |= subscriber_at(it)->events & (NX_EVENTS_NODES | NX_EVENTS_NAMES);
        if (all == (NX_EVENTS_NODES | NX_EVENTS_NAMES))
            break;                    /* thousands may end one after the other, and each asks */
    }
    return all;
}

static void
tell_link(struct runtime *rt, unsigned events)
{
    struct sys_subscribe q = { .events = events };
    struct buf body;
    buf_init(&body, 256);
    int err = sys_subscribe_encode(&q, &body);
    struct envelope e = { .kind = KIND_SUBSCRIBE, .slot = SLOT_LINK, .body_len = (uint32_t)buf_len(&body),
                          .generation = board_generation(shm_board(rt->config.shm), SLOT_LINK) };
    if (err == 0)
        err = route_send(rt->config.route, &e, buf_data(&body));
    buf_fini(&body);
    rt->subscribed = err == 0 ? events : 0;           /* not sent: KIND_OWNER_READY makes us say it again */
}

static void
update_link(struct runtime *rt)
{
    unsigned events = wanted(rt);
    if (events != rt->subscribed)
        tell_link(rt, events);
}

void
events_owner_ready(struct runtime *rt)
{
    unsigned events = wanted(rt);
    if (events != 0)
        tell_link(rt, events);
    gone_owner_ready(rt);
}

/* From when on does the link worker send us events? It handles our messages in order, so from before it answers a question that we ask after subscribing. */
static void
await_link(struct runner *r)
{
    static const uint8_t nil = 0xc0;
    struct runtime *rt = r->rt;
    struct wait w;
    struct envelope e = { .kind = KIND_LINK_STATUS, .slot = SLOT_LINK, .body_len = sizeof nil,
                          .generation = board_generation(shm_board(rt->config.shm), SLOT_LINK) };
    if (e.generation != 0 && invoke_allowed(r) == 0)
        (void)invoke_wait(r, &w, WAIT_NAMES, ROUTE_PROCESS, &e, &nil, (nx_ref){ 0 }, BARRIER_MS, clock_now_ns() + BARRIER_MS * CLOCK_NS_PER_MS);
    r->failure.code = 0;
}

static void
snapshot_nodes(struct runtime *rt, struct server *s)
{
    for (uint32_t i = 1; i < rt->view_count; i++) {
        const char *id = rt->view[i].is_up ? nodes_borrow_id(shm_nodes(rt->config.shm), i) : NULL;
        if (id == NULL)
            continue;
        struct sys_node_event event = { .is_up = true, .node = { id, strlen(id) } };
        node_event(rt, s, &event);
    }
}

static int
name_event(struct runtime *rt, const struct registry_entry *entry, struct buf *out)
{
    nx_ref ref;
    struct sys_registry_event event = { .kind = SYS_REGISTERED, .scope = SYS_GLOBAL, .name = { entry->name, entry->name_len }, .has_ref = true };
    route_ref_from_entry(rt->config.route, entry, &ref);
    route_ref_to_wire(rt->config.route, ref, &event.ref);
    buf_clear(out);
    return sys_registry_event_encode(&event, out);
}

/* All global names into a list of messages; false = the registry changed meanwhile. */
static bool
collect_names(struct runtime *rt, struct mailbox *out, uint64_t *version)
{
    struct registry *registry = shm_registry(rt->config.shm);
    struct registry_entry entry;
    struct buf body;
    uint64_t cursor = 0;
    *version = registry_version(registry);
    buf_init(&body, 4096);
    while (registry_next(registry, shm_board(rt->config.shm), shm_nodes(rt->config.shm), &cursor, &entry) == 1) {
        struct msg *m = entry.scope == REGISTRY_GLOBAL && name_event(rt, &entry, &body) == 0 ? msg_new(MSG_NAME, NULL, buf_data(&body), buf_len(&body)) : NULL;
        if (m != NULL)
            mailbox_put(out, m);
    }
    buf_fini(&body);
    return registry_version(registry) == *version;
}

static void
snapshot_names(struct runtime *rt, struct server *s)
{
    struct mailbox list = { .first = NULL };
    struct msg *m;
    /* Under constant change the last walk stands: with its first version, so that events may repeat a name but never miss one. */
    for (int tries = 0; !collect_names(rt, &list, &s->own->names_version) && tries < SNAPSHOT_TRIES; tries++)
        while ((m = mailbox_take(&list)) != NULL)
            msg_free(&m);
    while ((m = mailbox_take(&list)) != NULL)
        server_put_info(rt, s, m);
}

int
nx_subscribe(nx_self *self, unsigned events)
{
    struct runner *r = runner_of(self);
    if (r == NULL)
        return NX_EINVAL;
    struct runtime *rt = r->rt;
    struct server *s = r->server;
    if ((events & ~(unsigned)(NX_EVENTS_NODES | NX_EVENTS_NAMES | NX_EVENTS_SNAPSHOT)) != 0)
        return failure_set(r, NX_EINVAL, NULL, "unknown events 0x%x", events);
    struct belongings *own = server_own(s);
    if (own == NULL)
        return failure_set(r, NX_ENOMEM, NULL, "no memory for a subscription");
    own->events = events & (NX_EVENTS_NODES | NX_EVENTS_NAMES);
    /* Names are reported from the snapshot on: until it is taken, every event is older than it. */
    bool with_names = (events & NX_EVENTS_SNAPSHOT) != 0 && (events & NX_EVENTS_NAMES) != 0;
    own->names_version = with_names ? UINT64_MAX : 0;
    list_remove(&own->subscriber);
    if (own->events != 0)
        list_push_back(&rt->subscribers, &own->subscriber);
    bool is_new = (wanted(rt) & ~rt->subscribed & NX_EVENTS_NAMES) != 0;
    update_link(rt);
    if ((events & NX_EVENTS_SNAPSHOT) != 0 && (events & NX_EVENTS_NODES) != 0)
        snapshot_nodes(rt, s);
    if (with_names && is_new)
        await_link(r);
    if (with_names)
        snapshot_names(rt, s);
    return 0;
}

void
events_forget(struct runtime *rt, struct server *s)
{
    if (s->own == NULL || !list_is_linked(&s->own->subscriber))
        return;
    list_remove(&s->own->subscriber);
    update_link(rt);
}

/* ---- as nx_info */

static const char *
text_of(struct runner *r, struct sys_text text)
{
    char *copy = runner_alloc(r, text.len + 1);
    if (copy == NULL)
        return "";
    if (text.len > 0)
        memcpy(copy, text.at, text.len);
    copy[text.len] = '\0';
    return copy;
}

static int
node_info(struct runner *r, const struct msg *m, nx_info *info)
{
    struct sys_node_event event;
    struct base_error why;
    int err = sys_node_event_decode(m->body, m->envelope.body_len, &event, &why);
    if (err != 0)
        return err;
    info->kind = event.is_up ? NX_INFO_NODE_UP : NX_INFO_NODE_DOWN;
    info->node = text_of(r, event.node);
    info->text = text_of(r, event.reason);
    return 0;
}

int
events_info(struct runner *r, const struct msg *m, nx_info *info)
{
    static const enum nx_info_kind kinds[] = { [SYS_REGISTERED] = NX_INFO_REGISTERED, [SYS_UNREGISTERED] = NX_INFO_UNREGISTERED,
                                               [SYS_CONFLICT] = NX_INFO_CONFLICT, [SYS_SYNCED] = NX_INFO_SYNCED, [SYS_NAME_LOST] = NX_INFO_NAME_LOST };
    struct sys_registry_event event;
    struct base_error why;
    if (m->what == MSG_NODE)
        return node_info(r, m, info);
    int err = sys_registry_event_decode(m->body, m->envelope.body_len, &event, &why);
    if (err == 0 && event.has_ref)
        err = route_ref_from_wire(r->rt->config.route, &event.ref, &info->ref, &why);
    if (err == 0 && event.has_other)
        err = route_ref_from_wire(r->rt->config.route, &event.other, &info->other, &why);
    if (err != 0)
        return err;
    if (event.kind < SYS_REGISTERED || event.kind > SYS_NAME_LOST)
        return NX_EBADMSG;
    info->kind = kinds[event.kind];
    info->name = text_of(r, event.name);
    info->node = text_of(r, event.node);
    info->count = event.count;
    info->scope = event.scope == SYS_LOCAL ? NX_LOCAL : NX_GLOBAL;
    return 0;
}
