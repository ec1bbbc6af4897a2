/*
 * test_workers.c - two workers joined by real pipes: the same functions, another process.
 */
#include "world.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static const struct world_options two = { .workers = 2 };
static int child;

static void
run(void (*test)(nx_self *self))
{
    world_shm(&two);
    child = world_fork_worker();
    world_drive(test);
    world_end_worker(child);
}

static int
add(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)self;
    p->number = p->number * 10 + (int64_t)arg;
    return reply != NULL ? nx_pack(reply, "I", p->number) : 0;
}

static int
hold(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)arg, (void)reply;
    p->kept = nx_caller(self);
    return NX_NOREPLY;
}

static int
release(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)arg;
    CU_ASSERT_EQUAL(nx_reply(self, p->kept, nx_make(self, "i", 1)), 0);
    return reply != NULL ? nx_pack(reply, "n") : 0;
}

static int
die(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)self, (void)p, (void)arg, (void)reply;
    return raise(SIGKILL);
}

static int
live(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)self, (void)p, (void)arg;
    return nx_pack(reply, "u", world_stat("serversLive"));
}

static int
fail(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)p, (void)arg, (void)reply;
    return nx_fail(self, 42, "not today");
}

static void
calls(nx_self *self)
{
    nx_ref ref = world_ref(1, 1), stale = ref;
    nx_value v;
    char text[NX_REF_TEXT_MAX];
    CU_ASSERT_EQUAL(nx_cast(self, ref, world_do(self, add, 1)), 0);
    CU_ASSERT_EQUAL(nx_cast(self, ref, world_do(self, add, 2)), 0);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, add, 3), 1000, &v), 0);
    CU_ASSERT_EQUAL(world_int(v), 123);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, fail, 0), 1000, &v), NX_EAPP);
    CU_ASSERT_EQUAL(nx_error(self)->app_code, 42);
    CU_ASSERT_STRING_EQUAL(nx_error(self)->text, "not today");
    uint64_t late = world_stat("lateReplies"), began = world_ms();
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, hold, 0), 40, &v), NX_ETIMEDOUT);
    CU_ASSERT(world_ms() - began >= 39 && world_ms() - began <= 90);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, release, 0), 1000, &v), 0);
    CU_ASSERT_EQUAL(world_stat("lateReplies"), late + 1);
    stale.serial = 4711;
    CU_ASSERT_EQUAL(nx_call(self, stale, nx_make(self, "n"), 1000, &v), NX_ENOSERVER);
    CU_ASSERT_EQUAL(nx_ref_text(stale, text, sizeof text), 0);
    CU_ASSERT_STRING_EQUAL(nx_error(self)->subject, text);
    stale = ref;
    stale.generation = 2;
    CU_ASSERT_EQUAL(nx_call(self, stale, nx_make(self, "n"), 1000, &v), NX_ENOSERVER);
    CU_ASSERT_EQUAL(nx_call(self, ref, (nx_value){ .packed = "\xc1", .packed_len = 1 }, 1000, &v), NX_EBADMSG);
}
UNIT(workers, C1_calls_to_another_worker_are_the_same) { run(calls); }

static void
death(nx_self *self)
{
    struct puppet *p;
    nx_ref ref = world_ref(1, 1), watcher = world_puppet(self, &p);
    uint64_t began = world_ms();
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, add, 1), 1000, NULL), 0);
    CU_ASSERT_EQUAL(nx_cast(self, ref, world_do(self, die, 0)), 0);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, add, 1), 5000, NULL), NX_ENOSERVER);  /* pending when it dies */
    CU_ASSERT(world_ms() - began < 500);
    CU_ASSERT_EQUAL(nx_call(self, watcher, nx_make(self, "n"), 1000, NULL), 0);
    CU_ASSERT_EQUAL(world_stat("callsPending"), 0);
}
UNIT(workers, C5_calls_to_a_worker_that_dies_end_at_once) { run(death); }

static int
watch(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)p, (void)reply;
    return nx_monitor(self, *(nx_ref *)(uintptr_t)arg, NULL);
}

static void
monitors(nx_self *self)
{
    struct puppet *p;
    nx_ref watcher = world_puppet(self, &p), one, other = world_ref(1, 1), none = world_ref(1, 4711);
    nx_start_options o = { .any_worker = true };
    CU_ASSERT_EQUAL(nx_start(self, "puppet", &o, &one), 0);
    CU_ASSERT_EQUAL(one.slot, 1);                     /* fewer servers there */
    CU_ASSERT_EQUAL(nx_call(self, watcher, world_do(self, watch, (uint64_t)(uintptr_t)&one), 1000, NULL), 0);
    CU_ASSERT_EQUAL(nx_call(self, watcher, world_do(self, watch, (uint64_t)(uintptr_t)&other), 1000, NULL), 0);
    CU_ASSERT_EQUAL(nx_call(self, watcher, world_do(self, watch, (uint64_t)(uintptr_t)&none), 1000, NULL), 0);
    CU_ASSERT_EQUAL(nx_stop(self, one, NX_SHUTDOWN, 1000), 0);
    CU_ASSERT_EQUAL(nx_stop(self, one, NX_SHUTDOWN, 1000), NX_ENOSERVER);
    CU_ASSERT_EQUAL(p->info_count, 2);
    CU_ASSERT(p->infos[0].reason == NX_NOSERVER && nx_ref_equal(p->infos[0].ref, none));
    CU_ASSERT(p->infos[1].reason == NX_SHUTDOWN && nx_ref_equal(p->infos[1].ref, one));
    CU_ASSERT_EQUAL(nx_cast(self, other, world_do(self, die, 0)), 0);
    for (uint64_t until = world_ms() + 1000; p->info_count < 3 && world_ms() < until; )
        world_pause(self, 1);
    CU_ASSERT(p->info_count == 3 && p->infos[2].reason == NX_KILLED && nx_ref_equal(p->infos[2].ref, other));
    CU_ASSERT_EQUAL(world_stat("monitors"), 0);
}
UNIT(workers, monitors_tell_of_servers_and_of_their_worker) { run(monitors); }

static int
fail_init(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)p, (void)arg, (void)reply;
    return nx_fail(self, 7, "no");
}

static int
slow_init(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)p, (void)reply;
    return nx_call(self, world_ref(1, 1), world_do(self, hold, 0), (int64_t)arg, NULL) == NX_ETIMEDOUT ? 0 : -1;
}

static uint64_t
live_there(nx_self *self)
{
    nx_value v;
    CU_ASSERT_EQUAL(nx_call(self, world_ref(1, 1), world_do(self, live, 0), 1000, &v), 0);
    return (uint64_t)world_int(v);
}

static void
spawns(nx_self *self)
{
    nx_ref ref;
    nx_start_options o = { .any_worker = true };
    (void)world_puppet(self, NULL);
    (void)world_puppet(self, NULL);
    CU_ASSERT_EQUAL(live_there(self), 1);
    o.args = nx_make(self, "{s:u}", "fn", (uint64_t)(uintptr_t)fail_init);
    CU_ASSERT_EQUAL(nx_start(self, "puppet", &o, &ref), NX_EINIT);
    CU_ASSERT_STRING_EQUAL(nx_error(self)->text, "no");
    CU_ASSERT_EQUAL(nx_start(self, "nothing", &o, &ref), NX_ENOBEHAVIOR);
    o.args = nx_make(self, "{s:u,s:u}", "fn", (uint64_t)(uintptr_t)slow_init, "arg", (uint64_t)1000);
    o.init_timeout_ms = 20;
    CU_ASSERT_EQUAL(nx_start(self, "puppet", &o, &ref), NX_EINITTIMEOUT);
    CU_ASSERT_EQUAL(live_there(self), 1);
    /* The spawn timeout: what waits in init is canceled, and nothing is left behind. */
    o.init_timeout_ms = 5000;
    o.spawn_timeout_ms = 30;
    CU_ASSERT_EQUAL(nx_start(self, "puppet", &o, &ref), NX_ETIMEDOUT);
    world_pause(self, 20);
    CU_ASSERT_EQUAL(live_there(self), 1);
    o = (nx_start_options){ .any_worker = true };
    CU_ASSERT_EQUAL(nx_start(self, "puppet", &o, &ref), 0);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, add, 4), 1000, NULL), 0);
    CU_ASSERT_EQUAL(live_there(self), 2);
}
UNIT(workers, S6_S8_starts_on_another_worker) { run(spawns); }

static void
unacknowledged(nx_self *self)
{
    (void)self;
    struct sys_spawn q = { .behavior = { "puppet", 6 }, .init_timeout_ms = 1000 };
    struct buf body;
    buf_init(&body, 4096);
    CU_ASSERT_EQUAL(sys_spawn_encode(&q, &body), 0);
    struct envelope e = { .kind = KIND_SPAWN, .slot = 1, .generation = 1, .call_id = 0x123, .body_len = (uint32_t)buf_len(&body) };
    for (int i = 0; i < 3; i++, e.call_id++)          /* the answers find nobody who waits, and say so to the other worker */
        CU_ASSERT_EQUAL(route_send(world.route, &e, buf_data(&body)), 0);
    uint64_t late = world_stat("lateReplies");
    while (world_stat("lateReplies") < late + 3)
        world_pause(self, 1);
    CU_ASSERT_EQUAL(live_there(self), 1);
    for (int i = 0; i < 300; i++, e.call_id++)        /* torture 42: at most 256 in progress */
        CU_ASSERT_EQUAL(route_send(world.route, &e, buf_data(&body)), 0);
    buf_fini(&body);
    while (world_stat("lateReplies") < late + 303)
        world_pause(self, 1);
    CU_ASSERT_EQUAL(live_there(self), 1);
}
UNIT(workers, torture_43_a_start_that_nobody_waits_for_leaves_nothing) { run(unacknowledged); }

static nx_ref mine;
static int closing;
static int
call_back(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)p;
    nx_value v;
    int err = nx_call(self, world_ref(0, arg), world_do(self, add, 1), 3000, &v);
    return nx_pack(reply, "i", err);
}

static int
go_round(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    nx_value v;
    (void)p, (void)arg;
    int err = nx_call(self, world_ref(1, 1), world_do(self, call_back, nx_self_ref(self).serial), 3000, &v);
    closing = err == 0 ? (int)world_int(v) : err;
    return nx_pack(reply, "n");
}

static void
cycle(nx_self *self)
{
    struct puppet *p;
    mine = world_puppet(self, &p);
    uint64_t began = world_ms();
    CU_ASSERT_EQUAL(nx_call(self, mine, world_do(self, go_round, 0), 5000, NULL), 0);
    CU_ASSERT_EQUAL(closing, NX_EDEADLOCK);
    CU_ASSERT(world_ms() - began < 200);
    CU_ASSERT_EQUAL(nx_call(self, mine, nx_make(self, "n"), 1000, NULL), 0);
    CU_ASSERT_EQUAL(p->number, 0);                    /* the call that was given up was taken back, and not run for nobody */
}

static int stray_result;
static int
wait_long(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)p, (void)arg, (void)reply;
    stray_result = nx_call(self, world_ref(1, 1), world_do(self, hold, 0), 200, NULL);
    return 0;
}

static int
kept_id(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)self, (void)arg;
    return nx_pack(reply, "u", p->kept.call_id);
}

/* A probe along a link that is no more: the reply is on its way, so there is no cycle, although the rest of the circle is there. */
static void
stray_probe(nx_self *self)
{
    nx_ref ref = world_puppet(self, NULL);
    struct sys_probe p = { .hops = 1 };
    struct buf body;
    stray_result = 1;
    CU_ASSERT_EQUAL(nx_cast(self, ref, world_do(self, wait_long, 0)), 0);
    world_pause(self, 5);
    route_ref_to_wire(world.route, ref, &p.initiator);
    struct envelope e = { .kind = KIND_DEADLOCK_PROBE, .slot = 0, .generation = 1, .serial = ref.serial, .call_id = UINT64_C(1) << 48 | 5 };
    buf_init(&body, 4096);
    nx_value v;
    CU_ASSERT_EQUAL(nx_call(self, world_ref(1, 1), world_do(self, kept_id, 0), 1000, &v), 0);
    CU_ASSERT_EQUAL(nx_unpack(v, "u", &p.call_id), 0);
    CU_ASSERT_EQUAL(sys_probe_encode(&p, &body), 0);
    e.body_len = (uint32_t)buf_len(&body);
    runtime_deliver(world.rt, 1, &e, buf_data(&body));
    uint64_t bad = world_stat("badMessages");
    e.call_id = 5;                                    /* not worker 1's own call */
    runtime_deliver(world.rt, 1, &e, buf_data(&body));
    CU_ASSERT_EQUAL(world_stat("badMessages"), bad + 1);
    buf_fini(&body);
    world_pause(self, 20);
    CU_ASSERT_EQUAL(stray_result, 1);
    world_pause(self, 300);
    CU_ASSERT_EQUAL(stray_result, NX_ETIMEDOUT);
}
UNIT(workers, a_probe_along_a_link_that_is_no_more_ends_nothing) { run(stray_probe); }
UNIT(workers, C11_a_cycle_over_two_workers_is_found_by_a_probe) { run(cycle); }

static void
impostor(nx_self *self)
{
    struct puppet *p;
    nx_ref ref = world_puppet(self, &p);
    uint64_t bad = world_stat("badMessages");
    /* A call id that belongs to somebody else, and kinds that only the link worker may send. */
    struct envelope e = { .kind = KIND_CALL, .slot = 0, .generation = 1, .serial = ref.serial, .call_id = UINT64_C(5) << 48 | 1, .body_len = 1 };
    runtime_deliver(world.rt, 1, &e, (const uint8_t *)"\xc0");
    e.kind = KIND_NODE_EVENT;
    e.call_id = 0;
    runtime_deliver(world.rt, 1, &e, (const uint8_t *)"\xc0");
    e.kind = KIND_LINK;
    runtime_deliver(world.rt, 1, &e, (const uint8_t *)"\xc0");
    e.kind = KIND_MONITOR;
    runtime_deliver(world.rt, 1, &e, (const uint8_t *)"\xc0");
    CU_ASSERT_EQUAL(world_stat("badMessages"), bad + 4);
    uint64_t late = world_stat("lateReplies");
    e.kind = KIND_REPLY;
    e.call_id = 42;
    runtime_deliver(world.rt, 1, &e, (const uint8_t *)"\xc0");
    CU_ASSERT_EQUAL(world_stat("lateReplies"), late + 1);
    /* An empty body. */
    e = (struct envelope){ .kind = KIND_CAST, .slot = 0, .generation = 1, .serial = ref.serial };
    runtime_deliver(world.rt, 1, &e, NULL);
    world_pause(self, 1);
    CU_ASSERT_EQUAL(world_stat("badMessages"), bad + 5);
}
UNIT(workers, what_another_worker_may_not_say_is_counted_and_dropped) { run(impostor); }
