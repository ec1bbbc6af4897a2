/*
 * test_origin.c - what hangs on another node, and the moments at which that node or the link worker goes away.
 */
#include "world.h"

#include <string.h>

static struct world_link seen;

static void
run(void (*test)(nx_self *self))
{
    world_shm(&(struct world_options){ 0 });
    world_open(&(struct world_options){ 0 }, 0);
    world_link_open(&seen);
    world_drive(test);
    world_close();
}

/* The table says so; the event about it is another matter. */
static void
node_is_up(uint32_t index, uint32_t session)
{
    struct nodes_entry entry;
    CU_ASSERT_EQUAL(nodes_get(shm_nodes(world.shm), index, &entry), 0);
    entry.state = NODES_UP;
    entry.incarnation = 77;
    entry.session = session;
    nodes_put(shm_nodes(world.shm), index, &entry);
}

static void
node_event(uint32_t index, const char *id, bool is_up, uint32_t session)
{
    struct sys_node_event event = { .is_up = is_up, .node = { id, strlen(id) }, .incarnation = 77 };
    struct envelope e = { .kind = KIND_NODE_EVENT, .node = index, .session = session };
    struct buf body;
    buf_init(&body, 4096);
    CU_ASSERT_EQUAL(sys_node_event_encode(&event, &body), 0);
    e.body_len = (uint32_t)buf_len(&body);
    world_link_send(&e, buf_data(&body));
    buf_fini(&body);
}

static const nx_ref there = { .incarnation = 77, .serial = 5, .node = 1, .generation = 3, .slot = 2 };
static int result;

static int
call_there(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)p, (void)reply, (void)arg;
    result = nx_call(self, there, nx_make(self, "n"), NX_FOREVER, NULL);
    return 0;
}

static int
watch(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)p, (void)reply;
    result = nx_monitor(self, *(const nx_ref *)(uintptr_t)arg, NULL);
    return 0;
}

/* The link worker dies between its entry in the node table and the event that would have told us. */
static void
unannounced(nx_self *self)
{
    struct puppet *p;
    nx_ref caller = world_puppet(self, NULL), watcher = world_puppet(self, &p);
    node_is_up(1, 1);
    result = 1;
    CU_ASSERT_EQUAL(nx_call(self, watcher, world_do(self, watch, (uint64_t)(uintptr_t)&there), 1000, NULL), 0);
    CU_ASSERT_EQUAL(result, 0);
    result = 1;
    CU_ASSERT_EQUAL(nx_cast(self, caller, world_do(self, call_there, 0)), 0);
    for (uint64_t end = world_ms() + 1000; seen.count < 2 && world_ms() < end; )
        world_pause(self, 1);
    CU_ASSERT_EQUAL(seen.count, 2);
    world_link_close();
    for (uint64_t end = world_ms() + 500; (result == 1 || p->info_count == 0) && world_ms() < end; )
        world_pause(self, 1);
    CU_ASSERT_EQUAL(result, NX_ENODE);
    CU_ASSERT(p->info_count == 1 && p->infos[0].kind == NX_INFO_DOWN && p->infos[0].reason == NX_NOCONNECTION);
}
UNIT(origin, C4_the_link_worker_dies_before_it_has_said_that_a_node_is_up) { run(unannounced); }

/* The registrar's word about a name, for the server itself. */
static void
name_is_given(nx_ref ref)
{
    struct sys_registry_event event = { .kind = SYS_REGISTERED, .scope = SYS_GLOBAL, .name = { "shop", 4 }, .has_ref = true, .version = 1 };
    struct envelope e = { .kind = KIND_REGISTRY_EVENT, .serial = ref.serial };
    struct buf body;
    route_ref_to_wire(world.route, ref, &event.ref);
    buf_init(&body, 4096);
    CU_ASSERT_EQUAL(sys_registry_event_encode(&event, &body), 0);
    e.body_len = (uint32_t)buf_len(&body);
    world_link_send(&e, buf_data(&body));
    buf_fini(&body);
}

/* The link worker dies before it has confirmed that the names of an ended server are gone: its successor is told. */
static void
told_again(nx_self *self)
{
    nx_ref ref = world_puppet(self, NULL);
    CU_ASSERT_EQUAL(nx_stop(self, ref, NX_NORMAL, 1000), 0);
    for (int life = 0; life < 3; life++) {
        if (life == 0)
            name_is_given(ref);                       /* it had been asked for before the server ended */
        else
            world_link_send(&(struct envelope){ .kind = KIND_OWNER_READY }, NULL);
        for (uint64_t end = world_ms() + 1000; seen.count < 1 && world_ms() < end; )
            world_pause(self, 1);
        CU_ASSERT(seen.count == 1 && seen.last[0].kind == KIND_SERVER_GONE && seen.last[0].serial == ref.serial);
        if (life == 2) {
            struct envelope answer = { .kind = KIND_REPLY, .call_id = seen.last[0].call_id, .body_len = 1 };
            world_link_send(&answer, "\xc0");
        }
        world_pause(self, 2);
        world_link_close();
        world_pause(self, 2);
        world_link_open(&seen);
    }
    world_link_send(&(struct envelope){ .kind = KIND_OWNER_READY }, NULL);                  /* confirmed: nothing more to say */
    world_pause(self, 5);
    CU_ASSERT_EQUAL(seen.count, 0);
    world_link_close();
}
UNIT(origin, R2_names_of_an_ended_server_are_given_back_to_the_next_registrar) { run(told_again); }

/* A ref that came while its node was unknown here, to a server of a node that is known by now. */
static void
strangers(nx_self *self)
{
    static const char text[] = "gamma@127.0.0.1:4371";
    struct puppet *p;
    struct wire_ref wire = { .incarnation = 77, .serial = 9, .generation = 1, .slot = 0 };
    struct node_id id;
    struct base_error why;
    nx_ref ref;
    uint32_t index;
    nx_ref watcher = world_puppet(self, &p);
    memcpy(wire.node, text, sizeof text);
    CU_ASSERT_EQUAL(route_ref_from_wire(world.route, &wire, &ref, &why), 0);
    CU_ASSERT_EQUAL(node_id_parse(text, strlen(text), &id, &why), 0);
    CU_ASSERT_EQUAL(nodes_add(shm_nodes(world.shm), &id, &index), 0);
    CU_ASSERT_NOT_EQUAL(ref.node, index);
    node_is_up(index, 4);
    node_event(index, text, true, 4);
    result = 1;
    CU_ASSERT_EQUAL(nx_call(self, watcher, world_do(self, watch, (uint64_t)(uintptr_t)&ref), 1000, NULL), 0);
    CU_ASSERT_EQUAL(result, 0);
    for (uint64_t end = world_ms() + 1000; seen.count < 1 && world_ms() < end; )
        world_pause(self, 1);
    CU_ASSERT(seen.count == 1 && seen.last[0].kind == KIND_MONITOR && seen.last[0].node == index && seen.last[0].session == 4);
    CU_ASSERT_EQUAL(p->info_count, 0);
    node_event(index, text, false, 4);
    for (uint64_t end = world_ms() + 500; p->info_count == 0 && world_ms() < end; )
        world_pause(self, 1);
    CU_ASSERT(p->info_count == 1 && p->infos[0].reason == NX_NOCONNECTION && nx_ref_equal(p->infos[0].ref, ref));
    CU_ASSERT_EQUAL(world_stat("monitors"), 0);
    world_link_close();
}
UNIT(origin, a_monitor_of_a_server_whose_node_was_a_stranger_fires) { run(strangers); }
