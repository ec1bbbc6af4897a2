/*
 * test_server.c - parked handlers, stopping, terminating.
 */
#include "world.h"

/* ThreadSanitizer keeps a megabyte for each stack it is told of. */
#ifdef __SANITIZE_THREAD__
enum { UNIT_FIBERS = 300 };
#else
enum { UNIT_FIBERS = 10000 };
#endif

#include <stdlib.h>
#include <string.h>

static int
never(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)self, (void)arg, (void)reply;
    p->number++;
    return NX_NOREPLY;
}

static int
count(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)self;
    p->number += (int64_t)arg;
    return reply != NULL ? nx_pack(reply, "I", p->number) : 0;
}

struct plan { nx_ref target; int64_t timeout; int result; uint64_t took; };

static int
call_target(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    struct plan *plan = (struct plan *)(uintptr_t)arg;
    uint64_t began = world_ms();
    p->number = 1;
    plan->result = nx_call(self, plan->target, world_do(self, never, 0), plan->timeout, NULL);
    plan->took = world_ms() - began;
    p->number = 2;
    return reply != NULL ? nx_pack(reply, "i", plan->result) : 0;
}

static void
stop_parked(nx_self *self)
{
    struct puppet *a, *b;
    nx_reason ended = NX_KILLED;
    nx_ref target = world_puppet(self, &b), ref = { 0 };
    nx_start_options o = { .args = nx_make(self, "{s:u,s:u}", "mine", (uint64_t)(uintptr_t)&a, "ended", (uint64_t)(uintptr_t)&ended) };
    CU_ASSERT_EQUAL(nx_start(self, "puppet", &o, &ref), 0);
    struct plan plan = { .target = target, .timeout = 60000, .result = 1 }, queued = plan;
    CU_ASSERT_EQUAL(nx_cast(self, ref, world_do(self, call_target, (uint64_t)(uintptr_t)&plan)), 0);
    CU_ASSERT_EQUAL(nx_cast(self, ref, world_do(self, call_target, (uint64_t)(uintptr_t)&queued)), 0);
    CU_ASSERT_EQUAL(nx_call(self, target, world_do(self, count, 0), 1000, NULL), 0);
    CU_ASSERT_EQUAL(world_stat("parkedHandlers"), 1);
    CU_ASSERT_EQUAL(a->number, 1);
    uint64_t began = world_ms();
    CU_ASSERT_EQUAL(nx_stop(self, ref, NX_SHUTDOWN, 1000), 0);
    CU_ASSERT(world_ms() - began < 50);
    CU_ASSERT_EQUAL(plan.result, NX_ECANCELED);
    CU_ASSERT_EQUAL(queued.result, NX_ECANCELED);     /* handled before the stop, but it may not wait any more */
    CU_ASSERT_PTR_NULL(a);
    CU_ASSERT_EQUAL(ended, NX_SHUTDOWN);
    CU_ASSERT_EQUAL(world_stat("parkedHandlers"), 0);
    CU_ASSERT_EQUAL(world_stat("callsPending"), 0);
}
UNIT(server, stopping_one_that_waits_ends_its_wait_at_once) { world_run(stop_parked); }

static void
stop_order(nx_self *self)
{
    struct puppet *p;
    nx_reason ended = NX_KILLED;
    nx_ref ref = { 0 };
    int64_t seen = 0;
    nx_start_options o = { .args = nx_make(self, "{s:u,s:u}", "mine", (uint64_t)(uintptr_t)&p, "ended", (uint64_t)(uintptr_t)&ended) };
    CU_ASSERT_EQUAL(nx_start(self, "puppet", &o, &ref), 0);
    for (int i = 0; i < 200; i++)                     /* more than one burst */
        CU_ASSERT_EQUAL(nx_cast(self, ref, world_do(self, count, 1)), 0);
    nx_value v;
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, count, 0), 1000, &v), 0);
    seen = world_int(v);
    CU_ASSERT_EQUAL(seen, 200);
    struct plan before = { .target = ref };
    (void)before;
    CU_ASSERT_EQUAL(nx_cast(self, ref, world_do(self, count, 5)), 0);
    CU_ASSERT_EQUAL(nx_stop(self, ref, NX_NORMAL, 1000), 0);
    CU_ASSERT_EQUAL(ended, NX_NORMAL);
    CU_ASSERT_EQUAL(world_stat("castsDropped"), 0);   /* what was queued before the stop was handled */
    CU_ASSERT_EQUAL(world_stat("serversLive"), 1);
}
UNIT(server, stop_comes_after_what_is_queued) { world_run(stop_order); }

static int
exit_with_reply(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)p;
    nx_exit(self, (nx_reason)arg);
    nx_exit(self, NX_NORMAL);                         /* the first one counts */
    return reply != NULL ? nx_pack(reply, "i", 5) : 0;
}

static void
exits(nx_self *self)
{
    nx_reason ended = NX_KILLED;
    nx_ref ref = { 0 };
    nx_value v;
    nx_start_options o = { .args = nx_make(self, "{s:u}", "ended", (uint64_t)(uintptr_t)&ended) };
    CU_ASSERT_EQUAL(nx_start(self, "puppet", &o, &ref), 0);
    CU_ASSERT_EQUAL(nx_call_async(self, ref, world_do(self, exit_with_reply, NX_ERROR), 1000, 0), 0);
    CU_ASSERT_EQUAL(nx_call(self, ref, nx_make(self, "n"), 1000, &v), NX_ENOSERVER);        /* it was queued behind the end */
    CU_ASSERT_EQUAL(ended, NX_ERROR);
    CU_ASSERT_EQUAL(nx_start(self, "puppet", &o, &ref), 0);
    CU_ASSERT_EQUAL(nx_call(self, ref, world_do(self, exit_with_reply, NX_NORMAL), 1000, &v), 0);
    CU_ASSERT_EQUAL(world_int(v), 5);
    CU_ASSERT_EQUAL(nx_stop(self, ref, NX_KILLED, 1000), NX_EINVAL);
}
UNIT(server, a_pending_reply_still_goes_out_at_exit) { world_run(exits); }

static int waits_in_terminate_init(nx_self *self, nx_value args, void **state) { (void)self; return nx_unpack(args, "u", (uint64_t *)(void *)state); }
static int nothing_call(nx_self *self, void *state, nx_value msg, nx_packer *reply) { (void)self, (void)state, (void)msg, (void)reply; return 0; }
static int nothing_cast(nx_self *self, void *state, nx_value msg) { (void)self, (void)state, (void)msg; return 0; }
static nx_ref bystander;
static int terminate_result[4];
static void
waits_in_terminate(nx_self *self, void *state, nx_reason reason)
{
    (void)state, (void)reason;
    terminate_result[0] = nx_call(self, bystander, nx_make(self, "n"), 100, NULL);
    terminate_result[1] = nx_start(self, "puppet", NULL, NULL);
    terminate_result[2] = nx_send_after(self, 0, (nx_value){ 0 }, NULL);
    terminate_result[3] = nx_cast(self, bystander, nx_make(self, "n"));
}
static const nx_behavior last_words = NX_BEHAVIOR("last-words", .version = 1, .init = waits_in_terminate_init, .handle_call = nothing_call,
                                                  .handle_cast = nothing_cast, .terminate = waits_in_terminate);

static void
in_terminate(nx_self *self)
{
    struct base_error why;
    nx_ref ref = { 0 };
    nx_start_options o = { .args = nx_make(self, "i", 1) };
    bystander = world_puppet(self, NULL);
    CU_ASSERT_EQUAL(modules_add_builtin(world.modules, &last_words, &why), 0);
    CU_ASSERT_EQUAL(nx_start(self, "last-words", &o, &ref), 0);
    CU_ASSERT_EQUAL(nx_stop(self, ref, NX_NORMAL, 1000), 0);
    CU_ASSERT_EQUAL(terminate_result[0], NX_EINVAL);
    CU_ASSERT_EQUAL(terminate_result[1], NX_EINVAL);
    CU_ASSERT_EQUAL(terminate_result[2], NX_EINVAL);
    CU_ASSERT_EQUAL(terminate_result[3], 0);
}
UNIT(server, terminate_may_cast_but_not_wait) { world_run(in_terminate); }

enum { MANY = UNIT_FIBERS };

static void
ten_thousand(nx_self *self)
{
    struct puppet *t;
    nx_ref target = world_puppet(self, &t), *refs = calloc(MANY, sizeof *refs);
    struct plan *plans = calloc(MANY, sizeof *plans);
    for (int i = 0; i < MANY; i++) {
        CU_ASSERT_EQUAL(nx_start(self, "puppet", NULL, &refs[i]), 0);
        plans[i] = (struct plan){ .target = target, .timeout = i % 2 == 0 ? 60000 : NX_FOREVER, .result = 1 };
        CU_ASSERT_EQUAL(nx_cast(self, refs[i], world_do(self, call_target, (uint64_t)(uintptr_t)&plans[i])), 0);
        if (i % 1000 == 999)
            world_pause(self, 1);
    }
    world_pause(self, 1);
    CU_ASSERT_EQUAL(world_stat("parkedHandlers"), MANY);
    CU_ASSERT_EQUAL(t->number, MANY);
    CU_ASSERT_EQUAL(nx_call(self, target, world_do(self, count, 0), 1000, NULL), 0);        /* the worker goes on */
    int wrong = 0;
    for (int i = 0; i < MANY; i++) {
        wrong += nx_stop(self, refs[i], NX_NORMAL, 1000) != 0;
        wrong += plans[i].result != NX_ECANCELED;
    }
    CU_ASSERT_EQUAL(world_stat("parkedHandlers"), 0);
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL(world_stat("serversLive"), 2);
    free(refs);
    free(plans);
}
UNIT(server, ten_thousand_handlers_wait_at_once) { world_run(ten_thousand); }

static void
parked_bound(nx_self *self)
{
    nx_ref target = world_puppet(self, NULL);
    struct plan plans[8];
    for (int i = 0; i < 8; i++) {
        plans[i] = (struct plan){ .target = target, .timeout = 100, .result = 1 };
        CU_ASSERT_EQUAL(nx_cast(self, world_puppet(self, NULL), world_do(self, call_target, (uint64_t)(uintptr_t)&plans[i])), 0);
    }
    int err, busy = 0, timed_out = 0;
    while ((err = nx_call(self, target, world_do(self, never, 0), 200, NULL)) == NX_EBUSY)
        ;
    for (int i = 0; i < 8; i++) {
        busy += plans[i].result == NX_EBUSY;
        timed_out += plans[i].result == NX_ETIMEDOUT;
    }
    CU_ASSERT_EQUAL(err, NX_ETIMEDOUT);
    CU_ASSERT_EQUAL(busy, 5);                         /* four at most, and this driver is one of them */
    CU_ASSERT_EQUAL(timed_out, 3);
}
UNIT(server, more_waiting_handlers_than_allowed_are_busy) { world_run_with(&(struct world_options){ .max_parked = 4 }, parked_bound); }

static void
server_bound(nx_self *self)
{
    nx_ref ref;
    CU_ASSERT_EQUAL(nx_start(self, "puppet", NULL, &ref), 0);
    CU_ASSERT_EQUAL(nx_start(self, "puppet", NULL, &ref), 0);
    CU_ASSERT_EQUAL(nx_start(self, "puppet", NULL, &ref), NX_EBUSY);
    CU_ASSERT_EQUAL(nx_stop(self, ref, NX_NORMAL, 1000), 0);
    CU_ASSERT_EQUAL(nx_start(self, "puppet", NULL, &ref), 0);
}
UNIT(server, more_servers_than_allowed_are_busy) { world_run_with(&(struct world_options){ .max_servers = 3 }, server_bound); }

static bool is_stopped;
static void
on_stopped(void *arg)
{
    *(int *)arg += 1;
    is_stopped = true;
    loop_stop(world.loop);
}

static struct plan parked_plan;
static struct puppet *left[2];
static void
leave_some(nx_self *self)
{
    nx_ref target = world_puppet(self, &left[0]), waiting = world_puppet(self, &left[1]);
    parked_plan = (struct plan){ .target = target, .timeout = 60000, .result = 1 };
    CU_ASSERT_EQUAL(nx_cast(self, waiting, world_do(self, call_target, (uint64_t)(uintptr_t)&parked_plan)), 0);
    world_pause(self, 1);
}

static void
stop_world(bool drain, uint64_t ms)
{
    int done = 0;
    world_shm(&(struct world_options){ 0 });
    world_open(&(struct world_options){ 0 }, 0);
    world_drive(leave_some);
    CU_ASSERT_EQUAL(runtime_servers(world.rt), 2);
    is_stopped = false;
    runtime_stop(world.rt, drain, (world_ms() + ms) * 1000000, on_stopped, &done);
    CU_ASSERT_EQUAL(done, 0);                         /* never from inside */
    struct base_error why;
    CU_ASSERT_EQUAL(runtime_boot(world.rt, "puppet", (nx_value){ 0 }, 0, NULL, NULL, NULL, &why), NX_EBUSY);
    uint64_t began = world_ms();
    while (!is_stopped)
        (void)loop_run(world.loop);
    CU_ASSERT_EQUAL(done, 1);
    CU_ASSERT_EQUAL(runtime_servers(world.rt), 0);
    CU_ASSERT_EQUAL(parked_plan.result, NX_ECANCELED);
    CU_ASSERT(drain ? world_ms() - began >= ms - 1 : world_ms() - began < 50);
    world_discard();
}
UNIT(server, an_orderly_stop_waits_for_handlers_until_its_deadline) { stop_world(true, 60); }

UNIT(server, a_second_stop_replaces_the_first)
{
    int done = 0;
    world_shm(&(struct world_options){ 0 });
    world_open(&(struct world_options){ 0 }, 0);
    world_drive(leave_some);
    is_stopped = false;
    runtime_stop(world.rt, true, (world_ms() + 60000) * 1000000, on_stopped, &done);
    for (int i = 0; i < 3; i++)
        (void)loop_turn(world.loop, false);
    CU_ASSERT_EQUAL(parked_plan.result, 1);
    /* Now without waiting for handlers; its deadline lies behind the first one's, so that a timer which were set twice would stay behind. */
    runtime_stop(world.rt, false, (world_ms() + 70000) * 1000000, on_stopped, &done);
    uint64_t began = world_ms();
    while (!is_stopped)
        (void)loop_run(world.loop);
    CU_ASSERT(world_ms() - began < 1000);
    CU_ASSERT_EQUAL(done, 1);
    CU_ASSERT_EQUAL(parked_plan.result, NX_ECANCELED);
    world_discard();
}
UNIT(server, a_stop_at_once_does_not) { stop_world(false, 5000); }

UNIT(server, a_stop_without_servers_ends_too)
{
    int done = 0;
    world_shm(&(struct world_options){ 0 });
    world_open(&(struct world_options){ 0 }, 0);
    is_stopped = false;
    runtime_stop(world.rt, true, 0, on_stopped, &done);
    while (!is_stopped)
        (void)loop_run(world.loop);
    CU_ASSERT_EQUAL(done, 1);
    world_discard();
}

UNIT(server, a_runtime_is_freed_with_handlers_still_waiting)
{
    world_shm(&(struct world_options){ 0 });
    world_open(&(struct world_options){ 0 }, 0);
    world_drive(leave_some);
    CU_ASSERT_EQUAL(runtime_servers(world.rt), 2);
    world_discard();
    CU_ASSERT(left[0] != NULL && left[1] != NULL);    /* terminate did not run: the states are still the module's */
    free(left[0]);
    free(left[1]);
}

static int order_count;
static const char *order[4];
static void note_end(nx_self *self, void *state, nx_reason reason) { (void)self; CU_ASSERT_EQUAL(reason, NX_SHUTDOWN); order[order_count++] = state; }
static int supervisor_init(nx_self *self, nx_value args, void **state) { (void)self, (void)args; *state = (void *)(uintptr_t)"supervisor"; return 0; }
static int child_init(nx_self *self, nx_value args, void **state) { (void)self, (void)args; *state = (void *)(uintptr_t)"child"; return 0; }
static const nx_behavior supervisor = NX_BEHAVIOR("supervisor", .version = 1, .init = supervisor_init, .handle_call = nothing_call,
                                                  .handle_cast = nothing_cast, .terminate = note_end);
static const nx_behavior a_child = NX_BEHAVIOR("child", .version = 1, .init = child_init, .handle_call = nothing_call, .handle_cast = nothing_cast,
                                               .terminate = note_end);

static void
start_family(nx_self *self)
{
    CU_ASSERT_EQUAL(nx_start(self, "child", NULL, NULL), 0);
    CU_ASSERT_EQUAL(nx_start(self, "supervisor", NULL, NULL), 0);
    CU_ASSERT_EQUAL(nx_start(self, "child", NULL, NULL), 0);
}

UNIT(server, supervisors_are_stopped_first)
{
    struct base_error why;
    world_shm(&(struct world_options){ 0 });
    world_open(&(struct world_options){ 0 }, 0);
    CU_ASSERT_EQUAL(modules_add_builtin(world.modules, &supervisor, &why), 0);
    CU_ASSERT_EQUAL(modules_add_builtin(world.modules, &a_child, &why), 0);
    world_drive(start_family);
    world_close();
    CU_ASSERT_EQUAL(order_count, 3);
    CU_ASSERT_STRING_EQUAL(order[0], "supervisor");
}
