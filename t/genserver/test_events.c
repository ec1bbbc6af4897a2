/*
 * test_events.c - what the link worker says and is told: nodes, names, subscriptions. The test is the link worker's end of the pipes.
 */
#include "world.h"

#include <string.h>

static struct world_link link_worker;

static void
run(void (*test)(nx_self *self))
{
    world_shm(&(struct world_options){ 0 });
    world_open(&(struct world_options){ 0 }, 0);
    world_link_open(&link_worker);
    world_drive(test);
    world_link_close();
    world_close();
}

static int
subscribe(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)p, (void)reply;
    return nx_subscribe(self, (unsigned)arg);
}

static void
say_node(bool is_up, uint32_t session, const char *reason)
{
    struct sys_node_event event = { .is_up = is_up, .node = { "beta@127.0.0.1:4370", 19 }, .reason = { reason, strlen(reason) }, .incarnation = 77 };
    struct envelope e = { .kind = KIND_NODE_EVENT, .node = 1, .session = session, .slot = 0 };
    struct nodes_entry entry;
    struct buf body;
    CU_ASSERT_EQUAL(nodes_get(shm_nodes(world.shm), 1, &entry), 0);
    entry.state = is_up ? NODES_UP : NODES_DOWN;      /* as the link worker does: the table first, then the word */
    entry.session = is_up ? session : session + 1;
    nodes_put(shm_nodes(world.shm), 1, &entry);
    buf_init(&body, 4096);
    CU_ASSERT_EQUAL(sys_node_event_encode(&event, &body), 0);
    e.body_len = (uint32_t)buf_len(&body);
    world_link_send(&e, buf_data(&body));
    buf_fini(&body);
}

static void
until(nx_self *self, const size_t *count, size_t wanted)
{
    for (uint64_t end = world_ms() + 1000; *count < wanted && world_ms() < end; )
        world_pause(self, 1);
    CU_ASSERT_EQUAL(*count, wanted);
}

static int
wait_for_reply(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    nx_ref there = { .incarnation = 77, .serial = 5, .node = 1, .generation = 3, .slot = 2 };
    (void)arg;
    p->number = nx_call(self, there, nx_make(self, "n"), 60000, NULL);
    return reply != NULL ? nx_pack(reply, "n") : 0;
}

static int
watch_there(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    nx_ref there = { .incarnation = 77, .serial = 6, .node = 1, .generation = 3, .slot = 2 };
    (void)p, (void)arg, (void)reply;
    return nx_monitor(self, there, NULL);
}

static void
nodes(nx_self *self)
{
    struct puppet *p, *late, *caller;
    nx_ref ref = world_puppet(self, &p), other = world_puppet(self, &late), calling = world_puppet(self, &caller);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, subscribe, NX_EVENTS_NODES | NX_EVENTS_SNAPSHOT), 1000, NULL), 0);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, subscribe, 64), 1000, NULL), NX_EINVAL);
    say_node(true, 1, "");
    say_node(true, 1, "");                            /* the same again is no news */
    until(self, &p->info_count, 1);
    CU_ASSERT_EQUAL(p->infos[0].kind, NX_INFO_NODE_UP);
    CU_ASSERT_STRING_EQUAL(p->infos[0].node, "beta@127.0.0.1:4370");
    /* The snapshot of a later subscriber comes before what follows. */
    CU_ASSERT_EQUAL(nx_call(self, other, world_do(self, subscribe, NX_EVENTS_NODES | NX_EVENTS_SNAPSHOT), 1000, NULL), 0);
    until(self, &late->info_count, 1);
    CU_ASSERT_EQUAL(late->infos[0].kind, NX_INFO_NODE_UP);
    /* S5, C4: what waits for the node ends when it goes down. */
    CU_ASSERT_EQUAL(nx_cast(self, calling, world_do(self, wait_for_reply, 0)), 0);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, watch_there, 0), 1000, NULL), 0);
    world_pause(self, 2);
    CU_ASSERT_EQUAL(caller->number, 0);
    say_node(false, 1, "heartbeat_timeout");
    until(self, &late->info_count, 2);
    CU_ASSERT_EQUAL(late->infos[1].kind, NX_INFO_NODE_DOWN);
    CU_ASSERT_STRING_EQUAL(late->infos[1].text, "heartbeat_timeout");
    world_pause(self, 1);
    CU_ASSERT_EQUAL(caller->number, NX_ENODE);
    CU_ASSERT_EQUAL(p->info_count, 3);
    CU_ASSERT(p->infos[1].kind == NX_INFO_DOWN && p->infos[1].reason == NX_NOCONNECTION && p->infos[1].ref.serial == 6);
    CU_ASSERT_EQUAL(p->infos[2].kind, NX_INFO_NODE_DOWN);
    CU_ASSERT_EQUAL(nx_call(self, other, world_do(self, subscribe, 0), 1000, NULL), 0);
    say_node(true, 2, "");
    until(self, &p->info_count, 4);
    CU_ASSERT_EQUAL(late->info_count, 2);
    say_node(false, 1, "connection_closed");          /* an old session's end is not this one's */
    say_node(true, 2, "");
    world_pause(self, 5);
    CU_ASSERT_EQUAL(p->info_count, 4);
    CU_ASSERT_EQUAL(nx_cast(self, calling, world_do(self, wait_for_reply, 0)), 0);
    world_pause(self, 2);
    caller->number = 0;
    /* The link worker dies: every node is out of reach. */
    mesh_detach(route_borrow_mesh(world.route), SLOT_LINK, 1);
    until(self, &p->info_count, 5);
    CU_ASSERT_EQUAL(p->infos[4].kind, NX_INFO_NODE_DOWN);
    CU_ASSERT_STRING_EQUAL(p->infos[4].text, "connection_closed");
    world_pause(self, 1);
    CU_ASSERT_EQUAL(caller->number, NX_ENODE);
}
UNIT(events, C4_M5_nodes_come_and_go) { run(nodes); }

static void
say_name(int kind, uint64_t serial, uint64_t version, const char *name, nx_ref ref)
{
    struct sys_registry_event event = { .kind = kind, .scope = SYS_GLOBAL, .name = { name, strlen(name) }, .has_ref = true, .version = version };
    struct envelope e = { .kind = KIND_REGISTRY_EVENT, .slot = 0, .serial = serial };
    struct buf body;
    route_ref_to_wire(world.route, ref, &event.ref);
    buf_init(&body, 4096);
    CU_ASSERT_EQUAL(sys_registry_event_encode(&event, &body), 0);
    e.body_len = (uint32_t)buf_len(&body);
    world_link_send(&e, buf_data(&body));
    buf_fini(&body);
}

static void
names(nx_self *self)
{
    struct puppet *p, *q;
    nx_ref ref = world_puppet(self, &p), other = world_puppet(self, &q);
    struct sys_subscribe seen;
    struct base_error why;
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, subscribe, NX_EVENTS_NAMES), 1000, NULL), 0);
    until(self, &link_worker.count, 1);
    CU_ASSERT_EQUAL(link_worker.last[0].kind, KIND_SUBSCRIBE);
    CU_ASSERT_EQUAL(sys_subscribe_decode(link_worker.body[0], link_worker.last[0].body_len, &seen, &why), 0);
    CU_ASSERT_EQUAL(seen.events, NX_EVENTS_NAMES);
    CU_ASSERT_EQUAL(nx_call(self, other, world_do(self, subscribe, NX_EVENTS_NAMES), 1000, NULL), 0);       /* the union is the same: nothing is sent */
    say_name(SYS_REGISTERED, 0, 1, "shop", other);
    until(self, &p->info_count, 1);
    CU_ASSERT(p->infos[0].kind == NX_INFO_REGISTERED && nx_ref_equal(p->infos[0].ref, other) && p->infos[0].scope == NX_GLOBAL);
    CU_ASSERT_STRING_EQUAL(p->infos[0].name, "shop");
    say_name(SYS_NAME_LOST, other.serial, 0, "shop", ref);
    until(self, &q->info_count, 2);
    CU_ASSERT(q->infos[1].kind == NX_INFO_NAME_LOST && nx_ref_equal(q->infos[1].ref, ref));                 /* only the loser is told */
    CU_ASSERT_EQUAL(p->info_count, 1);
    CU_ASSERT_EQUAL(link_worker.count, 1);
    world_link_send(&(struct envelope){ .kind = KIND_OWNER_READY, .slot = 0 }, NULL);
    until(self, &link_worker.count, 2);
    CU_ASSERT_EQUAL(link_worker.last[1].kind, KIND_SUBSCRIBE);
    CU_ASSERT_EQUAL(nx_stop(self, ref, NX_NORMAL, 1000), 0);
    CU_ASSERT_EQUAL(nx_stop(self, other, NX_NORMAL, 1000), 0);
    until(self, &link_worker.count, 3);               /* nobody is left: subscribed to nothing */
    CU_ASSERT_EQUAL(sys_subscribe_decode(link_worker.body[2], link_worker.last[2].body_len, &seen, &why), 0);
    CU_ASSERT_EQUAL(seen.events, 0);
}
UNIT(events, names_are_reported_to_subscribers) { run(names); }

static void
answer(uint8_t kind, const struct envelope *request, const void *body, size_t len)
{
    struct envelope e = { .kind = kind, .slot = 0, .call_id = request->call_id, .body_len = (uint32_t)len };
    world_link_send(&e, body);
}

static int registered;
static int
register_me(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)p, (void)arg;
    registered = nx_register(self, NX_GLOBAL, "shop", nx_self_ref(self), 5);
    return reply != NULL ? nx_pack(reply, "n") : 0;
}

static int
watch(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)p, (void)reply;
    return nx_monitor(self, *(nx_ref *)(uintptr_t)arg, NULL);
}

static void
r2(nx_self *self)
{
    struct puppet *p, *watcher;
    nx_ref ref = world_puppet(self, &p), watching = world_puppet(self, &watcher);
    struct sys_register q;
    struct base_error why;
    registered = 1;
    CU_ASSERT_EQUAL(nx_cast(self, ref, world_do(self, register_me, 0)), 0);
    until(self, &link_worker.count, 1);
    CU_ASSERT_EQUAL(link_worker.last[0].kind, KIND_REGISTER);
    CU_ASSERT_EQUAL(sys_register_decode(link_worker.body[0], link_worker.last[0].body_len, &q, &why), 0);
    CU_ASSERT(q.scope == SYS_GLOBAL && q.priority == 5 && q.name.len == 4 && memcmp(q.name.at, "shop", 4) == 0 && q.ref.serial == ref.serial);
    CU_ASSERT_EQUAL(registered, 1);
    say_name(SYS_REGISTERED, ref.serial, 1, "shop", ref);
    answer(KIND_REPLY, &link_worker.last[0], "\xc0", 1);
    for (uint64_t end = world_ms() + 1000; registered == 1 && world_ms() < end; )
        world_pause(self, 1);
    CU_ASSERT_EQUAL(registered, 0);
    /* It ends: first its names, then its monitors and whoever stopped it. */
    CU_ASSERT_EQUAL(nx_call(self, watching, world_do(self, watch, (uint64_t)(uintptr_t)&ref), 1000, NULL), 0);
    CU_ASSERT_EQUAL(nx_stop(self, ref, NX_NORMAL, 50), NX_ETIMEDOUT);
    CU_ASSERT_EQUAL(link_worker.count, 2);
    CU_ASSERT_EQUAL(link_worker.last[1].kind, KIND_SERVER_GONE);
    CU_ASSERT_PTR_NULL(p);                            /* terminate ran */
    CU_ASSERT_EQUAL(watcher->info_count, 0);
    CU_ASSERT_EQUAL(nx_call(self, ref, nx_make(self, "n"), 1000, NULL), NX_ENOSERVER);
    answer(KIND_REPLY, &link_worker.last[1], "\xc0", 1);
    until(self, &watcher->info_count, 1);
    CU_ASSERT(watcher->infos[0].kind == NX_INFO_DOWN && watcher->infos[0].reason == NX_NORMAL);
    /* A name given to a server that has ended meanwhile is given back. */
    say_name(SYS_REGISTERED, ref.serial, 2, "shop", ref);
    until(self, &link_worker.count, 3);
    CU_ASSERT_EQUAL(link_worker.last[2].kind, KIND_SERVER_GONE);
    CU_ASSERT_EQUAL(link_worker.last[2].serial, ref.serial);
}
UNIT(events, R2_names_are_removed_before_monitors_fire) { run(r2); }

static int started;
static nx_reason ended;
static int
start_named(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    nx_ref ref;
    nx_start_options o = { .scope = NX_LOCAL, .name = "shop", .args = nx_make(self, "{s:u}", "ended", (uint64_t)(uintptr_t)&ended) };
    (void)p, (void)arg, (void)reply;
    started = nx_start(self, "puppet", &o, &ref);
    if (started != 0)
        p->number = nx_error(self)->code;
    return 0;
}

static void
s7(nx_self *self)
{
    struct sys_error conflict = { .code = NX_ECONFLICT, .subject = { "alpha", 5 }, .text = { "taken", 5 } };
    struct puppet *p;
    struct buf body;
    nx_ref ref = world_puppet(self, &p);
    ended = NX_KILLED;
    started = 1;
    CU_ASSERT_EQUAL(nx_cast(self, ref, world_do(self, start_named, 0)), 0);
    until(self, &link_worker.count, 1);
    CU_ASSERT_EQUAL(link_worker.last[0].kind, KIND_REGISTER);
    CU_ASSERT_EQUAL(started, 1);
    buf_init(&body, 4096);
    CU_ASSERT_EQUAL(sys_error_encode(&conflict, &body), 0);
    answer(KIND_ERROR, &link_worker.last[0], buf_data(&body), buf_len(&body));
    buf_fini(&body);
    for (uint64_t end = world_ms() + 1000; started == 1 && world_ms() < end; )
        world_pause(self, 1);
    CU_ASSERT_EQUAL(started, NX_ECONFLICT);
    CU_ASSERT_EQUAL(p->number, NX_ECONFLICT);
    CU_ASSERT_EQUAL(ended, NX_ERROR);                 /* terminate ran */
    CU_ASSERT_EQUAL(world_stat("serversLive"), 2);
}
UNIT(events, S7_a_taken_name_stops_the_new_server) { run(s7); }

static void
r3(nx_self *self)
{
    nx_ref ref;
    nx_value v;
    CU_ASSERT_FALSE(nx_whereis(self, NX_GLOBAL, "nobody", &ref));
    CU_ASSERT_EQUAL(nx_lookup(self, 0, "nobody", &ref), NX_ENONAME);
    CU_ASSERT_STRING_EQUAL(nx_error(self)->subject, "nobody");
    CU_ASSERT_EQUAL(nx_lookup(self, 7, "nobody", &ref), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_lookup(self, NX_LOCAL, "#x", &ref), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_register(self, 0, "x", nx_self_ref(self), 0), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_register(self, NX_LOCAL, "", nx_self_ref(self), 0), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_register(self, NX_LOCAL, "x", (nx_ref){ 0 }, 0), NX_EINVAL);
    ref = nx_self_ref(self);
    ref.serial = 999;
    CU_ASSERT_EQUAL(nx_register(self, NX_LOCAL, "x", ref, 0), NX_ENOSERVER);
    CU_ASSERT_EQUAL(nx_unregister(self, NX_LOCAL, NULL), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_names(self, 0, NULL, NULL, 0, &v), 0);
    CU_ASSERT_EQUAL(value_count(v), 0);
    CU_ASSERT_EQUAL(nx_nodes(self, &v), 0);
    CU_ASSERT_EQUAL(value_count(v), 2);
    const char *id = "", *status = "";
    CU_ASSERT_EQUAL(nx_unpack(value_at(v, 1), "{s:s,s:s}", "id", &id, "status", &status), 0);
    CU_ASSERT_STRING_EQUAL(id, "beta@127.0.0.1:4370");
    CU_ASSERT_STRING_EQUAL(status, "down");
    CU_ASSERT_EQUAL(nx_behaviors(self, &v), 0);
    CU_ASSERT_EQUAL(nx_stats(self, &v), 0);
    int64_t servers = 0;
    CU_ASSERT_EQUAL(nx_unpack(v, "{s:I}", "serversLive", &servers), 0);
    CU_ASSERT_EQUAL(servers, 1);
}
UNIT(events, R3_R4_lookups_and_listings) { run(r3); }

static void
list(nx_self *self)
{
    nx_ref a = world_puppet(self, NULL), b = world_puppet(self, NULL), ref;
    const char *behavior = "", *state = "";
    struct base_error why;
    struct value_zone *zone;
    struct value_limits limits = VALUE_LIMITS_DEFAULT;
    nx_value v;
    struct envelope e = { .kind = KIND_LIST, .slot = 0, .call_id = (uint64_t)SLOT_GATE << 48 | 1, .body_len = 1 };
    (void)a;
    e.call_id = (uint64_t)SLOT_LINK << 48 | 1;        /* the only process there is, here */
    world_link_send(&e, "\xc0");
    until(self, &link_worker.count, 1);
    CU_ASSERT_EQUAL(link_worker.last[0].kind, KIND_REPLY);
    CU_ASSERT_EQUAL(link_worker.last[0].call_id, e.call_id);
    CU_ASSERT_EQUAL(value_zone_new(&zone), 0);
    CU_ASSERT_EQUAL(value_decode(zone, link_worker.body[0], link_worker.last[0].body_len, &limits, &v, &why), 0);
    CU_ASSERT(value_count(v) >= 3);
    CU_ASSERT_EQUAL(nx_unpack(value_at(v, 2), "{s:r,s:s,s:s,s:v,s:i,s:i}", "ref", &ref, "behavior", &behavior, "state", &state, "names", &v, "queued", &(int){ 0 },
                              "messages", &(int){ 0 }), 0);
    CU_ASSERT(nx_ref_equal(ref, b));
    CU_ASSERT_STRING_EQUAL(behavior, "puppet");
    CU_ASSERT_STRING_EQUAL(state, "live");
    value_zone_free(&zone);
}
UNIT(events, the_gate_lists_the_servers_of_a_worker) { run(list); }

static void
no_link(nx_self *self)
{
    uint64_t began = world_ms();
    CU_ASSERT_EQUAL(nx_register(self, NX_LOCAL, "x", nx_self_ref(self), 0), NX_ETIMEDOUT);
    CU_ASSERT_EQUAL(nx_error(self)->timeout_ms, 5000);
    CU_ASSERT(world_ms() - began >= 4900 && world_ms() - began < 5200);
}
UNIT(events, without_a_link_worker_a_registration_times_out) { world_run(no_link); }
