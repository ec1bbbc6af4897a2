/*
 * monitor.c - being told of a server's end.
 *
 * Lives here: the watcher's half (struct watch, here as long as the monitor lives), the target's half (struct watcher), the messages between them, and what
 * the end of a process or a node means for both.
 * Never here: when a server ends (server.c).
 * Runs in: workers.
 *
 * A watch fires exactly once: the target's word, the end of its process, the end of its node, whatever comes first; the others then find no watch.
 */
#include "genserver/genserver_priv.h"

#include <stdlib.h>

struct watch {
    struct list of_server, of_origin; /* the watcher's own list; the target's process or node */
    struct server *server;
    uint64_t id;
    nx_ref target;
    uint32_t session;
};
_Static_assert(sizeof(struct watch) >= sizeof(struct msg), "a watch becomes the message that it fires");

struct watcher {
    struct list of_server, of_origin; /* the target's list; the watcher's process or node */
    struct server *server;            /* the target */
    uint64_t monitor, serial;         /* the watcher's own number, and its server */
    uint32_t node, session, generation;
    uint16_t slot;
};

/* ---- the watcher's half */

static void
watch_end(struct runtime *rt, struct watch *w)
{
    (void)table_take(rt->watches, w->id);
    list_remove(&w->of_server);
    list_remove(&w->of_origin);
    w->server->own->watch_count--;
    stats_set(rt->stats, monitors, table_count(rt->watches));
}

static void
watch_free(struct runtime *rt, struct watch *w)
{
    watch_end(rt, w);
    free(w);
}

/* The watch has fired: a message to its server, and it is over. */
static void
fire(struct runtime *rt, struct watch *w, nx_reason reason, struct sys_text text)
{
    struct watch copy = *w;
    struct msg *m = text.len > 0 ? msg_new(MSG_DOWN, NULL, text.at, text.len) : NULL;
    watch_end(rt, w);
    if (m != NULL)
        free(w);
    else
        m = msg_from_memory(w, MSG_DOWN);             /* so that it fires without memory, too */
    m->tag = copy.id;
    m->envelope.slot = copy.target.slot;              /* the target, as monitor_info puts it together again */
    m->envelope.node = copy.target.node;
    m->envelope.serial = copy.target.serial;
    m->envelope.generation = copy.target.generation;
    m->envelope.call_id = copy.target.incarnation;
    m->envelope.session = (uint32_t)reason;
    server_put_info(rt, copy.server, m);
}

int
monitor_info(struct runner *r, const struct msg *m, nx_info *info)
{
    char *text = m->envelope.body_len > 0 ? runner_alloc(r, (size_t)m->envelope.body_len + 1) : NULL;
    if (text != NULL) {
        memcpy(text, m->body, m->envelope.body_len);
        text[m->envelope.body_len] = '\0';
    }
    info->kind = NX_INFO_DOWN;
    info->tag = m->tag;
    info->ref = (nx_ref){ .incarnation = m->envelope.call_id, .serial = m->envelope.serial, .node = m->envelope.node,
                          .generation = m->envelope.generation, .slot = m->envelope.slot };
    info->reason = (nx_reason)m->envelope.session;
    info->text = text != NULL ? text : nx_reason_name(info->reason);
    return 0;
}

static int
encode(struct runtime *rt, const struct watch *w, struct buf *out)
{
    struct sys_monitor q = { .monitor = w->id };
    route_ref_to_wire(rt->config.route, server_ref(rt, w->server), &q.watcher);
    route_ref_to_wire(rt->config.route, w->target, &q.target);
    buf_init(out, 4096);
    return sys_monitor_encode(&q, out);
}

static int
send_to_target(struct runtime *rt, const struct watch *w, uint8_t kind, struct envelope *e)
{
    struct buf body;
    int err = encode(rt, w, &body);
    e->kind = kind;
    e->body_len = (uint32_t)buf_len(&body);
    if (err == 0)
        err = route_send(rt->config.route, e, buf_data(&body));
    buf_fini(&body);
    return err;
}

static int add_watcher(struct runtime *rt, struct server *target, const struct watcher *from);

static int
watch_here(struct runtime *rt, struct watch *w)
{
    struct server *target = server_find_any(rt, w->target.serial);
    if (target == NULL)
        return NX_ENOSERVER;
    struct watcher self = { .monitor = w->id, .serial = w->server->serial, .slot = rt->config.slot, .generation = rt->config.generation };
    return add_watcher(rt, target, &self);
}

int
nx_monitor(nx_self *self, nx_ref ref, uint64_t *monitor)
{
    struct runner *r = runner_of(self);
    if (r == NULL)
        return NX_EINVAL;
    struct runtime *rt = r->rt;
    if (ref.serial == 0)
        return failure_set(r, NX_EINVAL, NULL, "the ref refers to nothing");
    if (r->callback == CALLBACK_TERMINATE)
        return failure_set(r, NX_EINVAL, NULL, "terminate is the last callback: no monitor can fire after it");
    struct envelope e = { .kind = 0 };
    int way = route_to(rt->config.route, ref, &e);
    if (way > 0)
        ref.node = e.node;            /* taken in when its node was still a stranger: what is said of that node goes by the table's number */
    struct belongings *own = server_own(r->server);
    struct origin *o = own != NULL ? origin_get(rt, ref.node, ref.slot) : NULL;
    if (o == NULL)
        return failure_set(r, NX_ENOMEM, NULL, "no memory for another monitor");
    if (own->watch_count >= OWNED_MAX)
        return failure_set(r, NX_EBUSY, NULL, "this server has %d monitors already", (int)OWNED_MAX);
    struct watch *w = calloc(1, sizeof *w);
    if (w == NULL || table_put(rt->watches, ++rt->last_watch, w) != 0) {
        free(w);
        return failure_set(r, NX_ENOMEM, NULL, "no memory for another monitor");
    }
    *w = (struct watch){ .server = r->server, .id = rt->last_watch, .target = ref, .session = e.session };
    list_push_back(&own->watches, &w->of_server);
    list_push_back(&o->watches, &w->of_origin);
    own->watch_count++;
    stats_set(rt->stats, monitors, table_count(rt->watches));
    if (monitor != NULL)
        *monitor = w->id;
    int err = way == ROUTE_HERE ? watch_here(rt, w) : way > 0 ? send_to_target(rt, w, KIND_MONITOR, &e) : way;
    if (err == NX_ENODE || (err == NX_ENOSERVER && way == ROUTE_NODE))
        fire(rt, w, NX_NOCONNECTION, (struct sys_text){ 0 });
    else if (err == NX_ENOSERVER)
        fire(rt, w, NX_NOSERVER, (struct sys_text){ 0 });
    else if (err != 0) {
        watch_free(rt, w);
        return failure_set(r, err, NULL, "cannot monitor: %s", nx_strerror(err));
    }
    return 0;
}

static void
remove_watcher(struct runtime *rt, struct server *target, uint32_t node, uint16_t slot, uint64_t monitor);

/* Stop watching, and tell the target's side; what it may send meanwhile finds no watch. */
static void
unwatch(struct runtime *rt, struct watch *w)
{
    struct envelope e = { .kind = 0 };
    int way = route_to(rt->config.route, w->target, &e);
    if (way == ROUTE_HERE) {
        struct server *target = server_find_any(rt, w->target.serial);
        if (target != NULL)
            remove_watcher(rt, target, 0, rt->config.slot, w->id);
    } else if (way > 0) {
        (void)send_to_target(rt, w, KIND_DEMONITOR, &e);
    }
    watch_free(rt, w);
}

bool
nx_demonitor(nx_self *self, uint64_t monitor)
{
    struct runner *r = runner_of(self);
    struct watch *w = r != NULL ? table_get(r->rt->watches, monitor) : NULL;
    if (w == NULL || w->server != r->server)
        return false;
    unwatch(r->rt, w);
    return true;
}

void
monitor_forget(struct runtime *rt, struct server *s, bool tell)
{
    while (s->own != NULL && !list_is_empty(&s->own->watches)) {
        struct watch *w = list_item(s->own->watches.next, struct watch, of_server);
        if (tell)
            unwatch(rt, w);
        else
            watch_free(rt, w);
    }
}

void
monitor_event(struct runtime *rt, uint16_t from_slot, const struct envelope *e, const uint8_t *body)
{
    struct sys_monitor_event event;
    struct base_error why;
    if (sys_monitor_event_decode(body, e->body_len, &event, &why) != 0) {
        stats_add(rt->stats, bad_messages, 1);
        return;
    }
    struct watch *w = table_get(rt->watches, event.monitor);
    if (w == NULL || w->target.node != e->node || (e->node == 0 && w->target.slot != from_slot) || event.reason < NX_NORMAL
        || event.reason > NX_NOSERVER)
        return;                       /* over already, or not its target's word */
    fire(rt, w, (nx_reason)event.reason, event.text);
}

/* ---- the target's half */

/* Found again without a walk over the target's watchers, of which there may be many. Two keys that collide cost a walk, no more. */
static uint64_t
watcher_key(uint32_t node, uint16_t slot, uint64_t monitor)
{
    uint64_t origin = (uint64_t)node << 16 | (node != 0 ? 0 : slot);
    return table_hash(monitor, &origin, sizeof origin);
}

static void
watcher_free(struct runtime *rt, struct watcher *w)
{
    uint64_t key = watcher_key(w->node, w->slot, w->monitor);
    if (table_get(rt->watchers, key) == w)
        (void)table_take(rt->watchers, key);
    list_remove(&w->of_server);
    list_remove(&w->of_origin);
    w->server->own->watcher_count--;
    free(w);
}


static int
add_watcher(struct runtime *rt, struct server *target, const struct watcher *from)
{
    struct belongings *own = server_own(target);
    struct origin *o = own != NULL ? origin_get(rt, from->node, from->slot) : NULL;
    if (o == NULL)
        return NX_ENOMEM;
    if (own->watcher_count >= OWNED_MAX)
        return NX_EBUSY;
    struct watcher *w = malloc(sizeof *w);
    if (w == NULL || table_put(rt->watchers, watcher_key(from->node, from->slot, from->monitor), w) != 0) {
        free(w);
        return NX_ENOMEM;
    }
    *w = *from;
    w->server = target;
    list_push_back(&own->watchers, &w->of_server);
    list_push_back(&o->watchers, &w->of_origin);
    own->watcher_count++;
    return 0;
}

static void
remove_watcher(struct runtime *rt, struct server *target, uint32_t node, uint16_t slot, uint64_t monitor)
{
    struct watcher *known = table_get(rt->watchers, watcher_key(node, slot, monitor));
    if (known != NULL && known->server == target && known->monitor == monitor && known->node == node) {
        watcher_free(rt, known);
        return;
    }
    if (target->own == NULL || known == NULL)
        return;
    list_each_safe(it, tmp, &target->own->watchers) {
        struct watcher *w = list_item(it, struct watcher, of_server);
        if (w->monitor == monitor && w->node == node && (node != 0 || w->slot == slot)) {
            watcher_free(rt, w);
            return;
        }
    }
}

static void
send_event(struct runtime *rt, const struct watcher *w, uint64_t target_serial, nx_reason reason)
{
    if (w->node == 0 && w->slot == rt->config.slot) {
        struct watch *watch = table_get(rt->watches, w->monitor);
        if (watch != NULL)
            fire(rt, watch, reason, (struct sys_text){ 0 });
        return;
    }
    struct sys_monitor_event event = { .monitor = w->monitor, .watcher_serial = w->serial, .reason = (int32_t)reason };
    route_ref_to_wire(rt->config.route, route_self_ref(rt->config.route, target_serial), &event.target);
    struct buf body;
    buf_init(&body, 4096);
    struct envelope e = { .kind = KIND_MONITOR_EVENT, .node = w->node, .session = w->session, .slot = w->slot, .serial = w->serial,
                          .generation = w->generation };
    int err = sys_monitor_event_encode(&event, &body);
    e.body_len = (uint32_t)buf_len(&body);
    if (err == 0)
        err = route_send(rt->config.route, &e, buf_data(&body));
    buf_fini(&body);
    if (err != 0 && err != NX_ENOSERVER && log_gate_pass(&rt->warn_gate, LOGS_PER_SECOND))
        log_warn("genserver: monitor event lost error=%s", nx_errname(err));
}

void
monitor_fire(struct runtime *rt, struct server *s, nx_reason reason)
{
    while (s->own != NULL && !list_is_empty(&s->own->watchers)) {
        struct watcher *w = list_item(s->own->watchers.next, struct watcher, of_server);
        struct watcher copy = *w;
        watcher_free(rt, w);
        send_event(rt, &copy, s->serial, reason);
    }
}

void
monitor_forget_watchers(struct runtime *rt, struct server *s)
{
    while (s->own != NULL && !list_is_empty(&s->own->watchers))
        watcher_free(rt, list_item(s->own->watchers.next, struct watcher, of_server));
}

static int
decode_request(struct runtime *rt, uint16_t from_slot, const struct envelope *e, const uint8_t *body, struct watcher *out, uint64_t *target)
{
    struct sys_monitor q;
    struct base_error why;
    int err = sys_monitor_decode(body, e->body_len, &q, &why);
    /* A process speaks for its own servers only. */
    if (err == 0 && e->node == 0 && q.watcher.slot != from_slot)
        err = NX_EBADMSG;
    if (err != 0) {
        stats_add(rt->stats, bad_messages, 1);
        return err;
    }
    *out = (struct watcher){ .monitor = q.monitor, .serial = q.watcher.serial, .node = e->node, .session = e->session,
                             .generation = q.watcher.generation, .slot = q.watcher.slot };
    *target = q.target.generation == rt->config.generation ? q.target.serial : 0;
    return 0;
}

void
monitor_incoming(struct runtime *rt, uint16_t from_slot, const struct envelope *e, const uint8_t *body)
{
    struct watcher w;
    uint64_t serial;
    if (decode_request(rt, from_slot, e, body, &w, &serial) != 0)
        return;
    struct server *target = server_find_any(rt, serial);
    if (target == NULL || add_watcher(rt, target, &w) != 0)
        send_event(rt, &w, serial, NX_NOSERVER);
}

void
monitor_removed(struct runtime *rt, uint16_t from_slot, const struct envelope *e, const uint8_t *body)
{
    struct watcher w;
    uint64_t serial;
    if (decode_request(rt, from_slot, e, body, &w, &serial) != 0)
        return;
    struct server *target = server_find_any(rt, serial);
    if (target != NULL)
        remove_watcher(rt, target, w.node, w.slot, w.monitor);
}

void
monitor_origin_gone(struct runtime *rt, struct origin *o, uint32_t life, nx_reason reason)
{
    list_each_safe(it, tmp, &o->watchers) {
        struct watcher *w = list_item(it, struct watcher, of_origin);
        if ((w->node != 0 ? w->session : w->generation) <= life)
            watcher_free(rt, w);
    }
    struct list fired;                /* fire() makes messages only, so the walk below is safe; a private list keeps it obviously so */
    list_init(&fired);
    list_splice_back(&fired, &o->watches);
    while (!list_is_empty(&fired)) {
        struct watch *w = list_item(list_pop_front(&fired), struct watch, of_origin);
        if ((w->target.node != 0 ? w->session : w->target.generation) <= life)
            fire(rt, w, reason, (struct sys_text){ 0 });
        else
            list_push_back(&o->watches, &w->of_origin);
    }
}

void
monitor_remote_gone(struct runtime *rt, struct origin *o, const struct envelope *e)
{
    list_each_safe(it, tmp, &o->watchers) {
        struct watcher *w = list_item(it, struct watcher, of_origin);
        if (w->slot == e->slot && w->generation <= e->generation && w->session == e->session)
            watcher_free(rt, w);
    }
    list_each_safe(it, tmp, &o->watches) {           /* fire() makes a message only */
        struct watch *w = list_item(it, struct watch, of_origin);
        if (w->target.slot == e->slot && w->target.generation <= e->generation && w->session == e->session)
            fire(rt, w, NX_KILLED, (struct sys_text){ 0 });
    }
}
