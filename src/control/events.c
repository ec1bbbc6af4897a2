/*
 * events.c - what clients follow: nodes up and down, names registered, unregistered, disputed, synced.
 *
 * Lives here: the subscription with the link worker, the snapshot that each client's stream begins with, messages of the link
 * worker as maps for clients.
 * Never here: decisions about nodes or names.
 * Runs in: the gate.
 *
 * Nothing is missed and nothing told twice. Nodes: every process is told of each change; our own view is the snapshot, and a
 * change is told when it changes the view; with the link worker all nodes go down. Names: subscribe, then ask the link worker anything (the barrier): its answer comes
 * behind the subscription, so a snapshot taken now has all that we were not sent. Each event carries the registry's version;
 * those that the snapshot had already are dropped. After the death of the link worker its successor asks us to subscribe again,
 * and clients get `reset` and a new snapshot.
 */
#include "control/control_priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"

enum { BARRIER_MS = 2000, SNAPSHOT_ATTEMPTS = 3 };

static void
tell(struct control *c, unsigned mask, const nx_packer *event)
{
    list_each_safe(it, next, &c->sessions) {
        struct session *s = list_item(it, struct session, link);
        if ((s->events & mask) != 0)
            session_put_event(s, buf_data(&event->bytes), buf_len(&event->bytes));
    }
}

/* Out of memory while making an event: whoever would have had it must not believe that nothing happened. */
static void
break_followers(struct control *c, unsigned mask)
{
    list_each_safe(it, next, &c->sessions) {
        struct session *s = list_item(it, struct session, link);
        if ((s->events & mask) != 0)
            session_finish(s);
    }
}

/* ---------------------------------------------------------------- nodes */

static int
pack_node_up(struct control *c, uint32_t index, nx_packer *out)
{
    struct nodes_entry e;
    if (nodes_get(control_nodes(c), index, &e) != 0)        /* being written this moment: its name is enough */
        return nx_pack(out, "{s:s,s:s,s:s}", "event", "node_up", "node", nodes_borrow_id(control_nodes(c), index),
                       "status", "up");
    return nx_pack(out, "{s:s,s:s,s:s,s:i,s:s,s:u,s:u,s:u}", "event", "node_up", "node", e.id.text, "host", e.id.host,
                   "port", (int)e.id.port, "status", "up", "servers", (uint64_t)e.servers, "uptimeMs", e.uptime_ms,
                   "lastHeartbeatMs", e.last_heartbeat_ms);
}

static void
tell_node(struct control *c, uint32_t index, bool is_up, const char *reason, size_t reason_len)
{
    nx_packer p;
    value_packer_init(&p, CONTROL_RESULT_MAX);
    int err = is_up ? pack_node_up(c, index, &p)
                    : nx_pack(&p, "{s:s,s:s,s:s#}", "event", "node_down", "node", nodes_borrow_id(control_nodes(c), index),
                              "reason", reason, reason_len);
    if (err == 0)
        tell(c, NX_EVENTS_NODES, &p);
    else
        break_followers(c, NX_EVENTS_NODES);
    value_packer_fini(&p);
}

void
control_events_node(struct control *c, const struct envelope *e, const uint8_t *body)
{
    struct sys_node_event event;
    if (sys_node_event_decode(body, e->body_len, &event, NULL) != 0 || e->node == 0 || e->node >= c->view_max) {
        stats_add(c->stats, bad_messages, 1);
        return;
    }
    if (!event.is_up)
        calls_fail_node(c->config.calls, e->node, e->session);
    struct node_view *view = &c->view[e->node];
    if (!event.is_up && view->is_up) {
        view->is_up = false;
        tell_node(c, e->node, false, event.reason.at, event.reason.len);
    } else if (event.is_up && !(view->is_up && view->incarnation == event.incarnation)) {
        const char *closed = nodes_reason_name(NODES_CONNECTION_CLOSED);
        if (view->is_up)                   /* another life of it, and the end of the former was not told */
            tell_node(c, e->node, false, closed, strlen(closed));
        *view = (struct node_view){ .is_up = true, .incarnation = event.incarnation };
        tell_node(c, e->node, true, NULL, 0);
    }
}

static void
snapshot_nodes(struct session *s)
{
    struct control *c = s->control;
    for (uint32_t i = 1; i < c->view_max; i++) {
        nx_packer p;
        if (!c->view[i].is_up)
            continue;
        value_packer_init(&p, CONTROL_RESULT_MAX);
        if (pack_node_up(c, i, &p) == 0)
            session_put_event(s, buf_data(&p.bytes), buf_len(&p.bytes));
        else
            session_break(s);
        value_packer_fini(&p);
    }
}

/* ---------------------------------------------------------------- names */

static int
pack_entry(struct control *c, const struct registry_entry *e, nx_packer *out)
{
    char text[NX_REF_TEXT_MAX];
    nx_ref ref;
    route_ref_from_entry(c->config.route, e, &ref);
    int err = nx_ref_text(ref, text, sizeof text);
    if (err != 0)
        return err;
    return nx_pack(out, "{s:s,s:s#,s:s,s:s}", "event", "registered", "name", e->name, (size_t)e->name_len, "ref", text,
                   "scope", "global");
}

/* Events of all global names, one behind the other: their bodies in `out`, `ends` has where each ends. */
static int
collect(struct control *c, nx_packer *out, struct buf *ends)
{
    struct registry_entry entry;
    uint64_t cursor = 0;
    value_packer_clear(out);
    buf_clear(ends);
    while (registry_next(control_registry(c), control_board(c), control_nodes(c), &cursor, &entry) == 1) {
        if (entry.scope != REGISTRY_GLOBAL)
            continue;
        int err = pack_entry(c, &entry, out);
        size_t end = buf_len(&out->bytes);
        if (err == 0)
            err = buf_put(ends, &end, sizeof end);
        if (err != 0)
            return err;
    }
    return 0;
}

static void
put_ready(struct session *s, const char *event)
{
    nx_packer p;
    value_packer_init(&p, CONTROL_RESULT_MAX);
    if (nx_pack(&p, "{s:s}", "event", event) == 0)
        session_put_event(s, buf_data(&p.bytes), buf_len(&p.bytes));
    else
        session_break(s);
    value_packer_fini(&p);
}

static void
snapshot_names(struct session *s)
{
    struct control *c = s->control;
    nx_packer events;
    struct buf ends;
    uint64_t version = 0;
    int err = 0;

    value_packer_init(&events, CONTROL_OUT_HARD);
    buf_init(&ends, 0);
    for (int i = 0; i < SNAPSHOT_ATTEMPTS && err == 0; i++) {
        /* The version from before the walk: disturbed to the end, a change may be told twice, but none is missed. */
        version = registry_version(control_registry(c));
        err = collect(c, &events, &ends);
        if (registry_version(control_registry(c)) == version)
            break;
    }
    s->names_version = version;
    s->needs_names = false;
    for (size_t i = 0, at = 0; err == 0 && i < buf_len(&ends) / sizeof at; i++) {
        size_t end;
        memcpy(&end, buf_data(&ends) + i * sizeof end, sizeof end);
        session_put_event(s, buf_data(&events.bytes) + at, end - at);
        at = end;
    }
    if (err != 0)
        session_finish(s);
    else
        put_ready(s, "ready");
    buf_fini(&ends);
    value_packer_fini(&events);
}

static bool
anyone(struct control *c, bool only_waiting)
{
    list_each(it, &c->sessions) {
        const struct session *s = list_item(it, struct session, link);
        if ((s->events & NX_EVENTS_NAMES) != 0 && (s->needs_names || !only_waiting))
            return true;
    }
    return false;
}

static int
subscribe(struct control *c, uint32_t events)
{
    struct envelope e = { .kind = KIND_SUBSCRIBE, .slot = SLOT_LINK };
    struct sys_subscribe in = { .events = events };
    struct buf body;
    buf_init(&body, 0);
    int err = sys_subscribe_encode(&in, &body);
    e.body_len = (uint32_t)buf_len(&body);
    if (err == 0)
        err = route_send(c->config.route, &e, buf_data(&body));
    buf_fini(&body);
    return err;
}

static void sync_names(struct control *c);

static void
on_barrier(void *arg, uint64_t call_id, int status, const struct call_target *target, const struct envelope *e,
           const uint8_t *body)
{
    struct control *c = arg;
    (void)call_id, (void)target, (void)e, (void)body;
    c->events.barrier = 0;
    if (status == NX_ETIMEDOUT) {          /* it is busy: once more, for as long as somebody wants it */
        sync_names(c);
        return;
    }
    if (status != 0) {                     /* it has died: its successor tells when it is ready */
        c->events.is_waiting = true;
        return;
    }
    c->events.is_subscribed = true;
    sync_names(c);
}

static int
begin_barrier(struct control *c)
{
    static const uint8_t nil = 0xc0;
    struct call_target target = { .generation = board_generation(control_board(c), SLOT_LINK), .slot = SLOT_LINK };
    struct envelope e = { .kind = KIND_LINK_STATUS, .slot = SLOT_LINK, .generation = target.generation, .body_len = sizeof nil,
                          .deadline_ns = clock_deadline(clock_now_ns(), BARRIER_MS) };
    int err = call_begin(c->config.calls, &target, e.deadline_ns, on_barrier, c, &c->events.barrier);
    if (err != 0) {
        c->events.barrier = 0;
        return err;
    }
    e.call_id = c->events.barrier;
    err = route_send(c->config.route, &e, &nil);
    if (err != 0) {
        (void)call_cancel(c->config.calls, c->events.barrier);
        c->events.barrier = 0;
    }
    return err;
}

/* Bring every client that waits for its names nearer to them. */
static void
sync_names(struct control *c)
{
    if (!anyone(c, true) || c->events.barrier != 0 || c->events.is_waiting)
        return;
    if (c->events.is_subscribed) {
        list_each_safe(it, next, &c->sessions) {
            struct session *s = list_item(it, struct session, link);
            if (s->needs_names)
                snapshot_names(s);
        }
        return;
    }
    int err = subscribe(c, NX_EVENTS_NAMES);
    if (err == 0)
        err = begin_barrier(c);
    if (err == NX_ENOSERVER) {
        c->events.is_waiting = true;
    } else if (err != 0) {
        log_warn("control: events unavailable reason=\"%s\"", nx_strerror(err));
        break_followers(c, NX_EVENTS_NAMES);
    }
}

void
control_events_owner_ready(struct control *c)
{
    c->events.is_waiting = false;
    c->events.is_subscribed = false;
    if (c->events.barrier != 0)
        (void)call_cancel(c->config.calls, c->events.barrier);
    c->events.barrier = 0;
    list_each(it, &c->sessions) {
        struct session *s = list_item(it, struct session, link);
        if ((s->events & NX_EVENTS_NAMES) == 0 || s->needs_names)
            continue;
        put_ready(s, "reset");
        s->needs_names = true;
    }
    sync_names(c);
}

/* No node can be reached without it. Its successor may begin before there is a way from it to us, so we do not wait to be told. */
void
control_events_link_gone(struct control *c)
{
    const char *closed = nodes_reason_name(NODES_CONNECTION_CLOSED);
    for (uint32_t i = 1; i < c->view_max; i++) {
        if (!c->view[i].is_up)
            continue;
        c->view[i].is_up = false;
        tell_node(c, i, false, closed, strlen(closed));
    }
    c->events.is_subscribed = false;
    if (c->events.barrier != 0)
        (void)call_cancel(c->config.calls, c->events.barrier);
    c->events.barrier = 0;
    c->events.is_waiting = anyone(c, false);
}

/* ---------------------------------------------------------------- registry events */

static int
pack_registry_event(const struct sys_registry_event *e, nx_packer *out)
{
    char ref[WIRE_REF_TEXT_MAX] = "", other[WIRE_REF_TEXT_MAX] = "";
    const char *scope = e->scope == SYS_LOCAL ? "local" : "global";
    if ((e->has_ref && wire_ref_to_text(&e->ref, ref, sizeof ref) != 0) ||
        (e->has_other && wire_ref_to_text(&e->other, other, sizeof other) != 0))
        return NX_EBADMSG;
    switch (e->kind) {
    case SYS_REGISTERED:
    case SYS_UNREGISTERED:
        return nx_pack(out, "{s:s,s:s#,s:s,s:s}", "event", e->kind == SYS_REGISTERED ? "registered" : "unregistered",
                       "name", e->name.at, e->name.len, "ref", e->has_ref ? ref : NULL, "scope", scope);
    case SYS_CONFLICT:
        return nx_pack(out, "{s:s,s:s#,s:s,s:s}", "event", "conflict", "name", e->name.at, e->name.len,
                       "winner", e->has_ref ? ref : NULL, "loser", e->has_other ? other : NULL);
    case SYS_SYNCED:
        return nx_pack(out, "{s:s,s:s#,s:u}", "event", "synced", "node", e->node.at, e->node.len, "count", e->count);
    default:
        return NX_EBADMSG;
    }
}

void
control_events_registry(struct control *c, const struct envelope *e, const uint8_t *body)
{
    struct sys_registry_event event;
    nx_packer p;
    if (sys_registry_event_decode(body, e->body_len, &event, NULL) != 0) {
        stats_add(c->stats, bad_messages, 1);
        return;
    }
    if (event.kind == SYS_NAME_LOST)       /* for the server that lost it */
        return;
    value_packer_init(&p, CONTROL_RESULT_MAX);
    int err = pack_registry_event(&event, &p);
    if (err == NX_EBADMSG)
        stats_add(c->stats, bad_messages, 1);
    else if (err != 0)
        break_followers(c, NX_EVENTS_NAMES);
    list_each(it, &c->sessions) {
        struct session *s = list_item(it, struct session, link);
        bool is_news = event.version == 0 || event.version > s->names_version;
        if (err == 0 && (s->events & NX_EVENTS_NAMES) != 0 && !s->needs_names && is_news)
            session_put_event(s, buf_data(&p.bytes), buf_len(&p.bytes));
    }
    value_packer_fini(&p);
}

/* ---------------------------------------------------------------- clients */

void
control_events_forget(struct session *s)
{
    struct control *c = s->control;
    bool had_names = (s->events & NX_EVENTS_NAMES) != 0;
    s->events = 0;
    s->needs_names = false;
    if (had_names && c->events.is_subscribed && !anyone(c, false)) {
        c->events.is_subscribed = false;
        (void)subscribe(c, 0);             /* if it cannot be told, its events find nobody here */
    }
}

void
method_events(struct request *r, const struct params *p)
{
    struct session *s = r->session;
    unsigned events = (params_flag(p, PARAM_NODES, true) ? NX_EVENTS_NODES : 0) |
                      (params_flag(p, PARAM_NAMES, true) ? NX_EVENTS_NAMES : 0);
    request_reply_true(r);
    if ((events & NX_EVENTS_NAMES) == 0)
        control_events_forget(s);
    s->events = events;
    if ((events & NX_EVENTS_NODES) != 0)
        snapshot_nodes(s);
    if ((events & NX_EVENTS_NAMES) != 0) {
        s->needs_names = true;
        sync_names(s->control);
    } else if (events != 0) {
        put_ready(s, "ready");
    }
}

int
control_events_open(struct control *c, struct base_error *why)
{
    struct nodes_entry entry;
    c->view_max = c->config.conf->nodes_max;
    c->view = calloc(c->view_max, sizeof *c->view);
    if (c->view == NULL)
        return base_error_set(why, NX_ENOMEM, NULL, "control: out of memory for %u nodes", c->view_max);
    /* This life of the gate may begin when nodes are up already; what is told of them again changes nothing. */
    for (uint32_t i = 1; i < nodes_count(control_nodes(c)) && i < c->view_max; i++)
        if (nodes_get(control_nodes(c), i, &entry) == 0 && entry.state == NODES_UP)
            c->view[i] = (struct node_view){ .is_up = true, .incarnation = entry.incarnation };
    return 0;
}

void
control_events_close(struct control *c)
{
    if (c->events.barrier != 0)
        (void)call_cancel(c->config.calls, c->events.barrier);
    c->events.barrier = 0;
    free(c->view);
    c->view = NULL;
}
