/*
 * test_remote.c - another node, seen from the worker: the test is the link worker's end of the pipes and speaks for node beta.
 */
#include "world.h"

#include <string.h>

#include "shm/registry_writer.h"

static struct world_link seen;

static void
run_with(const struct world_options *o, void (*test)(nx_self *self))
{
    world_shm(o);
    world_open(o, 0);
    world_link_open(&seen);
    world_drive(test);
    world_link_close();
    world_close();
}

static void
run(void (*test)(nx_self *self))
{
    run_with(&(struct world_options){ 0 }, test);
}

static void
wait_seen(nx_self *self, size_t count)
{
    for (uint64_t end = world_ms() + 1000; seen.count < count && world_ms() < end; )
        world_pause(self, 1);
    CU_ASSERT_EQUAL(seen.count, count);
}

static void
node_event(bool is_up, uint32_t session)
{
    struct sys_node_event event = { .is_up = is_up, .node = { "beta@127.0.0.1:4370", 19 }, .incarnation = 77 };
    struct envelope e = { .kind = KIND_NODE_EVENT, .node = 1, .session = session, .slot = 0 };
    struct nodes_entry entry;
    struct buf body;
    CU_ASSERT_EQUAL(nodes_get(shm_nodes(world.shm), 1, &entry), 0);
    entry.state = is_up ? NODES_UP : NODES_DOWN;
    entry.session = is_up ? session : session + 1;
    nodes_put(shm_nodes(world.shm), 1, &entry);
    buf_init(&body, 4096);
    CU_ASSERT_EQUAL(sys_node_event_encode(&event, &body), 0);
    e.body_len = (uint32_t)buf_len(&body);
    world_link_send(&e, buf_data(&body));
    buf_fini(&body);
}

static void
from_beta(uint8_t kind, uint64_t serial, uint64_t call_id, const void *body, size_t len)
{
    struct envelope e = { .kind = kind, .node = 1, .session = 1, .slot = 0, .serial = serial, .generation = 1, .call_id = call_id, .body_len = (uint32_t)len };
    world_link_send(&e, body);
}

static const nx_ref there = { .incarnation = 77, .serial = 5, .node = 1, .generation = 3, .slot = 2 };

static int result;
static int
call_there(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    nx_value v;
    (void)reply;
    result = nx_call(self, there, nx_make(self, "{s:s}", "type", "get"), (int64_t)arg, &v);
    p->number = result == 0 ? world_int(v) : 0;
    return 0;
}

static void
calls(nx_self *self)
{
    struct puppet *p;
    nx_ref ref = world_puppet(self, &p);
    node_event(true, 1);
    world_pause(self, 2);
    result = 1;
    CU_ASSERT_EQUAL(nx_cast(self, ref, world_do(self, call_there, 500)), 0);
    wait_seen(self, 1);
    const struct envelope *e = &seen.last[0];
    CU_ASSERT(e->kind == KIND_CALL && e->node == 1 && e->session == 1 && e->slot == 2 && e->serial == 5 && e->generation == 3 && e->deadline_ns != 0);
    CU_ASSERT_EQUAL(e->body_len, 10);
    /* Not the one who was asked: another session, and this node. */
    uint64_t late = world_stat("lateReplies");
    struct envelope wrong = { .kind = KIND_REPLY, .node = 1, .session = 2, .slot = 0, .call_id = e->call_id, .body_len = 1 };
    world_link_send(&wrong, "\x01");
    wrong.node = 0, wrong.session = 0;
    world_link_send(&wrong, "\x01");
    from_beta(KIND_REPLY, 0, e->call_id, "\x07", 1);
    from_beta(KIND_REPLY, 0, e->call_id, "\x08", 1);  /* torture 40: completed already */
    for (uint64_t end = world_ms() + 1000; result == 1 && world_ms() < end; )
        world_pause(self, 1);
    CU_ASSERT_EQUAL(result, 0);
    CU_ASSERT_EQUAL(p->number, 7);
    CU_ASSERT_EQUAL(world_stat("lateReplies"), late + 3);
    /* An empty reply, and a malformed one. */
    static const struct { const char *bytes; size_t len; } bad[] = { { "", 0 }, { "\xc1", 1 }, { "\x81\x01", 2 }, { "\x01\x02", 2 } };
    for (size_t i = 0; i < 4; i++) {
        result = 1;
        CU_ASSERT_EQUAL(nx_cast(self, ref, world_do(self, call_there, 500)), 0);
        wait_seen(self, 2 + i);
        from_beta(KIND_REPLY, 0, seen.last[1 + i].call_id, bad[i].bytes, bad[i].len);
        for (uint64_t end = world_ms() + 1000; result == 1 && world_ms() < end; )
            world_pause(self, 1);
        CU_ASSERT_EQUAL(result, NX_EBADMSG);
    }
    /* Calls from there: an unknown server, an old worker, an empty body, and a good one. */
    from_beta(KIND_CALL, 4711, 100, "\xc0", 1);
    wait_seen(self, 6);
    CU_ASSERT(seen.last[5].kind == KIND_ERROR && seen.last[5].node == 1 && seen.last[5].session == 1 && seen.last[5].call_id == 100);
    struct envelope old = { .kind = KIND_CALL, .node = 1, .session = 1, .slot = 0, .serial = ref.serial, .generation = 9, .call_id = 101, .body_len = 1 };
    world_link_send(&old, "\xc0");
    wait_seen(self, 7);
    CU_ASSERT_EQUAL(seen.last[6].kind, KIND_ERROR);
    from_beta(KIND_CALL, ref.serial, 102, "", 0);
    wait_seen(self, 8);
    struct sys_error error;
    struct base_error why;
    CU_ASSERT_EQUAL(seen.last[7].kind, KIND_ERROR);
    CU_ASSERT_EQUAL(sys_error_decode(seen.body[7], seen.last[7].body_len, &error, &why), 0);
    CU_ASSERT_EQUAL(error.code, NX_EBADMSG);
    from_beta(KIND_CALL, ref.serial, 103, "\xa2hi", 3);
    wait_seen(self, 9);
    CU_ASSERT(seen.last[8].kind == KIND_REPLY && seen.last[8].body_len == 3 && memcmp(seen.body[8], "\xa2hi", 3) == 0);
}
UNIT(remote, C1_C9_C10_calls_to_and_from_another_node) { run(calls); }

static void
spawn_from_beta(uint64_t call_id, uint32_t version, const char *name)
{
    struct sys_spawn q = { .behavior = { "puppet", 6 }, .version = version, .init_timeout_ms = 1000, .scope = name != NULL ? SYS_LOCAL : 0,
                           .name = { name, name != NULL ? strlen(name) : 0 } };
    struct buf body;
    buf_init(&body, 4096);
    CU_ASSERT_EQUAL(sys_spawn_encode(&q, &body), 0);
    from_beta(KIND_SPAWN, 0, call_id, buf_data(&body), buf_len(&body));
    buf_fini(&body);
}

static void
spawns(nx_self *self)
{
    struct sys_spawn_reply reply;
    struct base_error why;
    node_event(true, 1);
    spawn_from_beta(100, 1, NULL);
    wait_seen(self, 1);
    CU_ASSERT_EQUAL(seen.last[0].kind, KIND_SPAWN_REPLY);
    CU_ASSERT_EQUAL(sys_spawn_reply_decode(seen.body[0], seen.last[0].body_len, &reply, &why), 0);
    CU_ASSERT_STRING_EQUAL(reply.ref.node, "alpha@127.0.0.1:4369");                         /* S1 */
    from_beta(KIND_SPAWN_ACK, 0, 100, NULL, 0);
    spawn_from_beta(101, 0, NULL);
    spawn_from_beta(102, 0, NULL);
    wait_seen(self, 3);
    CU_ASSERT_EQUAL(world_stat("serversLive"), 4);
    from_beta(KIND_SPAWN_CANCEL, 0, 101, NULL, 0);
    from_beta(KIND_SPAWN_CANCEL, 0, 100, NULL, 0);    /* acknowledged: no cancel any more */
    world_pause(self, 5);
    CU_ASSERT_EQUAL(world_stat("serversLive"), 3);
    /* One with a name: it stays, acknowledged or not. */
    spawn_from_beta(103, 0, "shop");
    wait_seen(self, 4);
    CU_ASSERT_EQUAL(seen.last[3].kind, KIND_REGISTER);
    struct envelope done = { .kind = KIND_REPLY, .slot = 0, .call_id = seen.last[3].call_id, .body_len = 1 };
    world_link_send(&done, "\xc0");
    wait_seen(self, 5);
    CU_ASSERT_EQUAL(seen.last[4].kind, KIND_SPAWN_REPLY);
    CU_ASSERT_EQUAL(world_stat("serversLive"), 4);
    node_event(false, 1);                             /* the requester has gone: the unacknowledged one without a name ends */
    world_pause(self, 5);
    CU_ASSERT_EQUAL(world_stat("serversLive"), 3);
    from_beta(KIND_SPAWN, 0, 105, "\x81\xa1z\x01", 4);                                      /* torture 35: an unknown key */
    wait_seen(self, 6);
    CU_ASSERT_EQUAL(seen.last[5].kind, KIND_ERROR);
}
UNIT(remote, S8_torture_43_starts_from_another_node) { run(spawns); }

static void
mismatch(nx_self *self)
{
    struct sys_error error;
    struct base_error why;
    node_event(true, 1);
    spawn_from_beta(100, 9, NULL);
    wait_seen(self, 1);
    CU_ASSERT_EQUAL(seen.last[0].kind, KIND_ERROR);
    CU_ASSERT_EQUAL(sys_error_decode(seen.body[0], seen.last[0].body_len, &error, &why), 0);
    CU_ASSERT_EQUAL(error.code, NX_EMISMATCH);
    CU_ASSERT_EQUAL(world_stat("serversLive"), 1);
}
UNIT(remote, S10_another_version_is_refused) { run_with(&(struct world_options){ .refuse_mismatch = true }, mismatch); }

static nx_ref started;
static int
start_there(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    nx_start_options o = { .node = "beta@127.0.0.1:4370", .spawn_timeout_ms = (int64_t)arg };
    (void)p, (void)reply;
    result = nx_start(self, "puppet", &o, &started);
    return 0;
}

static void
start(nx_self *self)
{
    nx_ref ref = world_puppet(self, NULL);
    struct sys_spawn q;
    struct base_error why;
    struct sys_spawn_reply reply = { .ref = { .incarnation = 77, .serial = 9, .generation = 3, .slot = 2, .node = "beta@127.0.0.1:4370" } };
    struct buf body;
    node_event(true, 1);
    world_pause(self, 2);
    result = 1;
    CU_ASSERT_EQUAL(nx_cast(self, ref, world_do(self, start_there, 1000)), 0);
    wait_seen(self, 1);
    CU_ASSERT(seen.last[0].kind == KIND_SPAWN && seen.last[0].node == 1 && seen.last[0].slot == SLOT_ANY);
    CU_ASSERT_EQUAL(sys_spawn_decode(seen.body[0], seen.last[0].body_len, &q, &why), 0);
    CU_ASSERT_EQUAL(q.init_timeout_ms, 5000);         /* S2 */
    buf_init(&body, 4096);
    CU_ASSERT_EQUAL(sys_spawn_reply_encode(&reply, &body), 0);
    from_beta(KIND_SPAWN_REPLY, 0, seen.last[0].call_id, buf_data(&body), buf_len(&body));
    wait_seen(self, 2);
    CU_ASSERT(seen.last[1].kind == KIND_SPAWN_ACK && seen.last[1].node == 1 && seen.last[1].slot == 2 && seen.last[1].generation == 3
              && seen.last[1].call_id == seen.last[0].call_id);
    CU_ASSERT_EQUAL(result, 0);
    CU_ASSERT_STRING_EQUAL(nx_ref_node(started), "beta@127.0.0.1:4370");
    CU_ASSERT(started.serial == 9 && started.slot == 2 && started.generation == 3 && started.incarnation == 77);
    /* A timeout says so at once, and again when the answer comes after all. */
    CU_ASSERT_EQUAL(nx_cast(self, ref, world_do(self, start_there, 20)), 0);
    wait_seen(self, 4);
    CU_ASSERT_EQUAL(result, NX_ETIMEDOUT);
    CU_ASSERT_EQUAL(seen.last[3].kind, KIND_SPAWN_CANCEL);
    from_beta(KIND_SPAWN_REPLY, 0, seen.last[2].call_id, buf_data(&body), buf_len(&body));
    wait_seen(self, 5);
    CU_ASSERT(seen.last[4].kind == KIND_SPAWN_CANCEL && seen.last[4].slot == 2 && seen.last[4].call_id == seen.last[2].call_id);
    /* S5: the node leaves while the start is pending. */
    result = 1;
    CU_ASSERT_EQUAL(nx_cast(self, ref, world_do(self, start_there, 60000)), 0);
    wait_seen(self, 6);
    node_event(false, 1);
    for (uint64_t end = world_ms() + 1000; result == 1 && world_ms() < end; )
        world_pause(self, 1);
    CU_ASSERT_EQUAL(result, NX_ENODE);
    buf_fini(&body);
}
UNIT(remote, S1_S2_S5_S8_a_start_on_another_node) { run(start); }

/* What the link worker says when beta's has said that its process is dead. */
static void
worker_down(uint16_t slot, uint32_t generation, uint32_t session)
{
    struct envelope e = { .kind = KIND_REMOTE_DOWN, .node = 1, .session = session, .slot = slot, .generation = generation };
    world_link_send(&e, NULL);
}

static int
call_there_async(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)p, (void)reply;
    return nx_call_async(self, there, nx_make(self, "n"), NX_FOREVER, arg);
}

static nx_ref watched;
static int
watch_there(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)p, (void)arg, (void)reply;
    return nx_monitor(self, watched, NULL);
}

static void
wait_infos(nx_self *self, const struct puppet *p, size_t count)
{
    for (uint64_t end = world_ms() + 1000; p->info_count < count && world_ms() < end; )
        world_pause(self, 1);
    CU_ASSERT_EQUAL(p->info_count, count);
}

static void
remote_death(nx_self *self)
{
    struct puppet *p, *q;
    nx_ref ref = world_puppet(self, &p), waiter = world_puppet(self, &q);
    node_event(true, 1);
    world_pause(self, 2);
    result = 1;
    CU_ASSERT_EQUAL(nx_cast(self, waiter, world_do(self, call_there, 60000)), 0);
    CU_ASSERT_EQUAL(nx_cast(self, ref, world_do(self, call_there_async, 41)), 0);
    nx_ref targets[] = { there, there, there };
    targets[1].generation = 4, targets[2].slot = 1;
    for (size_t i = 0; i < 3; i++) {
        watched = targets[i];
        CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, watch_there, 0), 1000, NULL), 0);
    }
    wait_seen(self, 5);
    worker_down(2, 2, 1);                             /* an earlier life, another slot, another session */
    worker_down(0, 3, 1);
    worker_down(2, 3, 2);
    world_pause(self, 5);
    CU_ASSERT(result == 1 && p->info_count == 0 && world_stat("monitors") == 3);
    uint64_t began = world_ms();
    worker_down(2, 3, 1);
    wait_infos(self, p, 2);
    CU_ASSERT_EQUAL(result, NX_ENOSERVER);
    CU_ASSERT(world_ms() - began < 500);
    CU_ASSERT(p->infos[0].kind == NX_INFO_REPLY && p->infos[0].tag == 41 && p->infos[0].status == NX_ENOSERVER);
    CU_ASSERT(p->infos[1].kind == NX_INFO_DOWN && p->infos[1].reason == NX_KILLED && nx_ref_equal(p->infos[1].ref, there));
    CU_ASSERT_EQUAL(world_stat("monitors"), 2);
    worker_down(2, 3, 1);                             /* once is enough */
    node_event(false, 1);
    wait_infos(self, p, 4);
    CU_ASSERT(p->infos[2].reason == NX_NOCONNECTION && p->infos[3].reason == NX_NOCONNECTION);
    CU_ASSERT_EQUAL(world_stat("badMessages"), 0);
}
UNIT(remote, C5_a_worker_of_another_node_dies_its_callers_and_monitors_are_told) { run(remote_death); }

static void
watch_from_beta(nx_ref target, uint64_t monitor, uint16_t slot)
{
    struct sys_monitor m = { .monitor = monitor, .watcher = { .incarnation = 77, .serial = 6, .generation = 3, .slot = slot, .node = "beta@127.0.0.1:4370" } };
    struct buf body;
    route_ref_to_wire(world.route, target, &m.target);
    buf_init(&body, 4096);
    CU_ASSERT_EQUAL(sys_monitor_encode(&m, &body), 0);
    from_beta(KIND_MONITOR, target.serial, 0, buf_data(&body), buf_len(&body));
    buf_fini(&body);
}

static void
requester_dies(nx_self *self)
{
    static const uint64_t of_slot_2 = UINT64_C(2) << 48, of_slot_3 = UINT64_C(3) << 48;
    nx_ref ref = world_puppet(self, NULL);
    node_event(true, 1);
    spawn_from_beta(of_slot_2 | 1, 0, NULL);
    spawn_from_beta(of_slot_3 | 2, 0, NULL);
    spawn_from_beta(of_slot_2 | 3, 0, NULL);
    wait_seen(self, 3);
    from_beta(KIND_SPAWN_ACK, 0, of_slot_2 | 3, NULL, 0);
    watch_from_beta(ref, 1, 2);
    watch_from_beta(ref, 2, 3);
    world_pause(self, 2);
    CU_ASSERT_EQUAL(world_stat("serversLive"), 5);    /* the driver, ref, and those */
    worker_down(2, 3, 2);                             /* of another session */
    world_pause(self, 5);
    CU_ASSERT_EQUAL(world_stat("serversLive"), 5);
    worker_down(2, 3, 1);                             /* the first has lost its requester; the third's has its ref */
    world_pause(self, 5);
    CU_ASSERT_EQUAL(world_stat("serversLive"), 4);
    spawn_from_beta(of_slot_2 | 4, 0, NULL);          /* of its successor: stays */
    wait_seen(self, 4);
    world_pause(self, 5);
    CU_ASSERT_EQUAL(world_stat("serversLive"), 5);
    CU_ASSERT_EQUAL(nx_stop(self, ref, NX_NORMAL, 1000), 0);
    wait_seen(self, 5);                               /* one watcher is left to be told */
    struct sys_monitor_event event;
    struct base_error why;
    CU_ASSERT_EQUAL(seen.last[4].kind, KIND_MONITOR_EVENT);
    CU_ASSERT_EQUAL(sys_monitor_event_decode(seen.body[4], seen.last[4].body_len, &event, &why), 0);
    CU_ASSERT_EQUAL(event.monitor, 2);
}
UNIT(remote, C12_S8_a_requesters_worker_on_another_node_dies) { run(requester_dies); }

static void
put_name(const char *name, uint64_t serial)
{
    struct registry_writer *w;
    struct registry_entry e = { .scope = REGISTRY_GLOBAL, .slot = 0, .generation = 1, .incarnation = board_incarnation(shm_board(world.shm)), .serial = serial,
                                .registered_at_ms = 5, .sequence = 1, .priority = 3 };
    struct base_error why;
    strcpy(e.name, name);
    e.name_len = (uint16_t)strlen(name);
    CU_ASSERT_EQUAL(registry_writer_open(shm_registry(world.shm), &w, NULL, &why), 0);
    CU_ASSERT_EQUAL(registry_put(w, &e), 0);
    registry_writer_close(&w);
}

static int
subscribe(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)p, (void)reply;
    return nx_subscribe(self, (unsigned)arg);
}

static void
say_registered(const char *name, nx_ref ref, uint64_t version)
{
    struct sys_registry_event event = { .kind = SYS_REGISTERED, .scope = SYS_GLOBAL, .name = { name, strlen(name) }, .has_ref = true, .version = version };
    struct envelope e = { .kind = KIND_REGISTRY_EVENT, .slot = 0 };
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
    struct puppet *p;
    nx_ref ref = world_puppet(self, &p), found = { 0 };
    nx_value v;
    put_name("shop", ref.serial);
    put_name("office", ref.serial);
    CU_ASSERT_TRUE(nx_whereis(self, NX_GLOBAL, "shop", &found));
    CU_ASSERT_TRUE(nx_ref_equal(found, ref));
    CU_ASSERT_EQUAL(nx_lookup(self, 0, "shop", &found), 0);
    CU_ASSERT_EQUAL(nx_lookup(self, NX_LOCAL, "shop", &found), NX_ENONAME);
    CU_ASSERT_EQUAL(nx_names(self, 0, NULL, NULL, 0, &v), 0);
    CU_ASSERT_EQUAL(value_count(v), 2);
    CU_ASSERT_EQUAL(nx_names(self, NX_GLOBAL, "sh", "alpha@127.0.0.1:4369", 0, &v), 0);
    CU_ASSERT_EQUAL(value_count(v), 1);
    const char *name = "", *scope = "", *node = "";
    int priority = 0;
    CU_ASSERT_EQUAL(nx_unpack(value_at(v, 0), "{s:s,s:s,s:r,s:s,s:i,s:I}", "name", &name, "scope", &scope, "ref", &found, "node", &node, "priority", &priority,
                              "registeredAt", &(int64_t){ 0 }), 0);
    CU_ASSERT_STRING_EQUAL(name, "shop");
    CU_ASSERT_STRING_EQUAL(scope, "global");
    CU_ASSERT_STRING_EQUAL(node, "alpha@127.0.0.1:4369");
    CU_ASSERT(priority == 3 && nx_ref_equal(found, ref));
    CU_ASSERT_EQUAL(nx_names(self, NX_LOCAL, NULL, NULL, 0, &v), 0);
    CU_ASSERT_EQUAL(value_count(v), 0);
    CU_ASSERT_EQUAL(nx_names(self, 0, NULL, "beta@127.0.0.1:4370", 0, &v), 0);
    CU_ASSERT_EQUAL(value_count(v), 0);
    CU_ASSERT_EQUAL(nx_names(self, 0, NULL, NULL, 1, &v), 0);
    CU_ASSERT_EQUAL(value_count(v), 1);

    /* A snapshot is taken only when the link worker sends us events: it answers a question that was asked after subscribing. */
    CU_ASSERT_EQUAL(nx_cast(self, ref, world_do(self, subscribe, NX_EVENTS_NAMES | NX_EVENTS_SNAPSHOT)), 0);
    wait_seen(self, 2);
    CU_ASSERT(seen.last[0].kind == KIND_SUBSCRIBE && seen.last[1].kind == KIND_LINK_STATUS);
    CU_ASSERT_EQUAL(p->info_count, 0);
    put_name("late", ref.serial);                     /* committed before the answer: part of the snapshot, and its event is older */
    uint64_t version = registry_version(shm_registry(world.shm));
    say_registered("late", ref, version);
    struct envelope answer = { .kind = KIND_REPLY, .slot = 0, .call_id = seen.last[1].call_id, .body_len = 1 };
    world_link_send(&answer, "\x90");
    for (uint64_t end = world_ms() + 1000; p->info_count < 3 && world_ms() < end; )
        world_pause(self, 1);
    say_registered("late", ref, version);             /* however late it comes */
    put_name("next", ref.serial);
    say_registered("next", ref, registry_version(shm_registry(world.shm)));
    for (uint64_t end = world_ms() + 1000; p->info_count < 4 && world_ms() < end; )
        world_pause(self, 1);
    CU_ASSERT_EQUAL(p->info_count, 4);
    int late = 0;
    for (size_t i = 0; i < p->info_count; i++) {
        CU_ASSERT(p->infos[i].kind == NX_INFO_REGISTERED && nx_ref_equal(p->infos[i].ref, ref));
        late += strcmp(p->infos[i].name, "late") == 0;
    }
    CU_ASSERT_EQUAL(late, 1);
    CU_ASSERT_STRING_EQUAL(p->infos[3].name, "next");
}
UNIT(remote, R3_R4_names_are_read_from_shared_memory_and_a_snapshot_misses_and_doubles_nothing) { run(names); }
