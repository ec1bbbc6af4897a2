/*
 * test_spawn.c - starting servers on this worker.
 */
#include "world.h"

#include <string.h>

static int
fail_init(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)p, (void)arg, (void)reply;
    return nx_fail(self, 7, "the disk is %s", "full");
}

static int
fail_plain(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)self, (void)p, (void)arg, (void)reply;
    return -1000;
}

static int
never(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)self, (void)p, (void)arg, (void)reply;
    return NX_NOREPLY;
}

struct waiting { nx_ref target; int first, second; };

static int
wait_in_init(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    struct waiting *w = (struct waiting *)(uintptr_t)arg;
    (void)p, (void)reply;
    w->first = nx_call(self, w->target, world_do(self, never, 0), 300, NULL);
    w->second = nx_call(self, w->target, world_do(self, never, 0), 300, NULL);
    return 0;                                         /* it does not care; the start has failed all the same */
}

static int
block_init(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)self, (void)p, (void)reply;
    for (uint64_t until = world_ms() + arg; world_ms() < until; )
        ;
    return 0;
}

static nx_start_options
with(nx_self *self, world_fn *fn, uint64_t arg, nx_reason *ended)
{
    return (nx_start_options){ .args = nx_make(self, "{s:u,s:u,s:u}", "fn", (uint64_t)(uintptr_t)fn, "arg", arg, "ended", (uint64_t)(uintptr_t)ended) };
}

static void
s6(nx_self *self)
{
    nx_ref ref = { .serial = 1 };
    nx_reason ended = NX_KILLED;
    nx_start_options o = with(self, fail_init, 0, &ended);
    CU_ASSERT_EQUAL(nx_start(self, "puppet", &o, &ref), NX_EINIT);
    CU_ASSERT_STRING_EQUAL(nx_error(self)->text, "the disk is full");
    CU_ASSERT_EQUAL(nx_error(self)->app_code, 7);
    CU_ASSERT_EQUAL(ref.serial, 1);                   /* untouched */
    CU_ASSERT_EQUAL(ended, NX_KILLED);                /* no state, no terminate */
    o = with(self, fail_plain, 0, NULL);
    CU_ASSERT_EQUAL(nx_start(self, "puppet", &o, &ref), NX_EINIT);
    CU_ASSERT_EQUAL(nx_error(self)->app_code, -1000);
    CU_ASSERT_EQUAL(nx_start(self, "nothing", NULL, &ref), NX_ENOBEHAVIOR);                 /* B4 */
    CU_ASSERT_PTR_NOT_NULL(strstr(nx_error(self)->text, "alpha@127.0.0.1:4369"));
    CU_ASSERT_STRING_EQUAL(nx_error(self)->subject, "nothing");
    CU_ASSERT_EQUAL(world_stat("serversLive"), 1);
    CU_ASSERT_EQUAL(world_stat("spawnsRejected"), 3);
    CU_ASSERT_EQUAL(world_stat("spawnsInitiated"), 3);
}
UNIT(spawn, S6_a_failed_init_gives_its_text) { world_run(s6); }

static void
s6_timeout(nx_self *self)
{
    struct waiting w = { .target = world_puppet(self, NULL) };
    nx_reason ended = NX_KILLED;
    nx_ref ref;
    nx_start_options o = with(self, wait_in_init, (uint64_t)(uintptr_t)&w, &ended);
    o.init_timeout_ms = 30;
    uint64_t began = world_ms();
    CU_ASSERT_EQUAL(nx_start(self, "puppet", &o, &ref), NX_EINITTIMEOUT);
    CU_ASSERT(world_ms() - began >= 29 && world_ms() - began < 100);
    CU_ASSERT_EQUAL(nx_error(self)->timeout_ms, 30);
    CU_ASSERT_EQUAL(w.first, NX_ECANCELED);
    CU_ASSERT_EQUAL(w.second, NX_ECANCELED);          /* and no second wait */
    CU_ASSERT_EQUAL(ended, NX_ERROR);                 /* its state was given back */
    CU_ASSERT_EQUAL(world_stat("serversLive"), 2);
    o = with(self, block_init, 30, &ended);
    o.init_timeout_ms = 10;
    CU_ASSERT_EQUAL(nx_start(self, "puppet", &o, &ref), NX_EINITTIMEOUT);
    CU_ASSERT_EQUAL(world_stat("serversLive"), 2);
}
UNIT(spawn, S6_an_init_that_waits_too_long_is_canceled_and_leaves_nothing) { world_run(s6_timeout); }

/* Its init takes too long, and its terminate waits for the end of a child that has something to do yet: longer than a turn of the loop. */
static struct waiting keeper_waits;
static nx_ref keeper_child;
static int keeper_stopped;

static int
keeper_init(nx_self *self, nx_value args, void **state)
{
    (void)args;
    *state = &keeper_waits;
    int err = nx_start(self, "puppet", NULL, &keeper_child);
    return err != 0 ? err : wait_in_init(self, NULL, (uint64_t)(uintptr_t)&keeper_waits, NULL);
}

static void
keeper_terminate(nx_self *self, void *state, nx_reason reason)
{
    (void)state, (void)reason;
    (void)nx_cast(self, keeper_child, world_do(self, block_init, 20));
    keeper_stopped = nx_stop(self, keeper_child, NX_SHUTDOWN, 1000);
}

static int keeper_call(nx_self *self, void *state, nx_value msg, nx_packer *reply) { (void)self, (void)state, (void)msg, (void)reply; return 0; }
static int keeper_cast(nx_self *self, void *state, nx_value msg) { (void)self, (void)state, (void)msg; return 0; }
static const nx_behavior keeper = NX_BEHAVIOR("keeper", .version = 1, .init = keeper_init, .handle_call = keeper_call, .handle_cast = keeper_cast,
                                              .terminate = keeper_terminate);

static void
s6_waits_at_its_end(nx_self *self)
{
    struct base_error why;
    nx_ref ref;
    CU_ASSERT_EQUAL(modules_add_builtin(world.modules, &keeper, &why), 0);
    keeper_waits = (struct waiting){ .target = world_puppet(self, NULL) };
    keeper_stopped = 1;
    nx_start_options o = { .init_timeout_ms = 20 };
    CU_ASSERT_EQUAL(nx_start(self, "keeper", &o, &ref), NX_EINITTIMEOUT);
    CU_ASSERT_EQUAL(nx_error(self)->timeout_ms, 20);
    CU_ASSERT_EQUAL(keeper_waits.first, NX_ECANCELED);
    CU_ASSERT_EQUAL(keeper_stopped, 0);
    CU_ASSERT_EQUAL(world_stat("serversLive"), 2);
    /* A limit beyond all measure is none. */
    keeper_waits = (struct waiting){ .target = keeper_waits.target };
    o.init_timeout_ms = INT64_MAX;
    CU_ASSERT_EQUAL(nx_start(self, "keeper", &o, &ref), 0);
    CU_ASSERT_EQUAL(keeper_waits.first, NX_ETIMEDOUT);
    CU_ASSERT_EQUAL(nx_stop(self, ref, NX_NORMAL, 1000), 0);
}
UNIT(spawn, S6_a_failed_start_is_answered_when_its_terminate_has_ended) { world_run(s6_waits_at_its_end); }

static void
s4(nx_self *self)
{
    nx_ref ref;
    char behavior[130];
    memset(behavior, 'x', sizeof behavior);
    behavior[129] = '\0';
    nx_start_options o = { .name = "only-a-name" };
    CU_ASSERT_EQUAL(nx_start(self, "puppet", &o, &ref), NX_EINVAL);
    o = (nx_start_options){ .scope = NX_LOCAL };
    CU_ASSERT_EQUAL(nx_start(self, "puppet", &o, &ref), NX_EINVAL);
    o = (nx_start_options){ .scope = 3, .name = "x" };
    CU_ASSERT_EQUAL(nx_start(self, "puppet", &o, &ref), NX_EINVAL);
    o = (nx_start_options){ .scope = NX_LOCAL, .name = "#x" };
    CU_ASSERT_EQUAL(nx_start(self, "puppet", &o, &ref), NX_EINVAL);
    o = (nx_start_options){ .scope = NX_LOCAL, .name = "" };
    CU_ASSERT_EQUAL(nx_start(self, "puppet", &o, &ref), NX_EINVAL);
    o = (nx_start_options){ .spawn_timeout_ms = -1 };
    CU_ASSERT_EQUAL(nx_start(self, "puppet", &o, &ref), NX_EINVAL);
    o = (nx_start_options){ .init_timeout_ms = -1 };
    CU_ASSERT_EQUAL(nx_start(self, "puppet", &o, &ref), NX_EINVAL);
    o = (nx_start_options){ .node = "no-node" };
    CU_ASSERT_EQUAL(nx_start(self, "puppet", &o, &ref), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_start(self, NULL, NULL, &ref), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_start(self, "", NULL, &ref), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_start(self, behavior, NULL, &ref), NX_EINVAL);
    CU_ASSERT_EQUAL(world_stat("serversStarted"), 1);
    /* S5: a node that is not connected, or not known, at once. */
    uint64_t began = world_ms();
    o = (nx_start_options){ .node = "beta@127.0.0.1:4370" };
    CU_ASSERT_EQUAL(nx_start(self, "puppet", &o, &ref), NX_ENODE);
    CU_ASSERT_PTR_NOT_NULL(strstr(nx_error(self)->text, "beta@127.0.0.1:4370"));
    o = (nx_start_options){ .node = "gamma@127.0.0.1:4371" };
    CU_ASSERT_EQUAL(nx_start(self, "puppet", &o, &ref), NX_ENODE);
    CU_ASSERT(world_ms() - began < 50);
    o = (nx_start_options){ .node = "alpha@127.0.0.1:4369", .any_worker = true };           /* itself, the only worker */
    CU_ASSERT_EQUAL(nx_start(self, "puppet", &o, &ref), 0);
    CU_ASSERT_STRING_EQUAL(nx_ref_node(ref), "alpha@127.0.0.1:4369");
}
UNIT(spawn, S4_S5_wrong_options_are_refused_before_anything_is_sent) { world_run(s4); }

static void
s8(nx_self *self)
{
    struct waiting w = { .target = world_puppet(self, NULL) };
    nx_reason ended = NX_KILLED;
    nx_ref ref;
    nx_start_options o = with(self, wait_in_init, (uint64_t)(uintptr_t)&w, &ended);
    o.spawn_timeout_ms = 20;
    CU_ASSERT_EQUAL(nx_start(self, "puppet", &o, &ref), NX_ETIMEDOUT);
    CU_ASSERT_EQUAL(nx_error(self)->timeout_ms, 20);
    CU_ASSERT_EQUAL(ended, NX_KILLED);                /* it is still at its init */
    CU_ASSERT_EQUAL(world_stat("serversLive"), 3);
    world_pause(self, 700);
    CU_ASSERT_EQUAL(w.second, NX_ETIMEDOUT);
    CU_ASSERT_EQUAL(ended, NX_SHUTDOWN);              /* it has started, without a name, and was stopped */
    CU_ASSERT_EQUAL(world_stat("serversLive"), 2);
    CU_ASSERT_EQUAL(world_stat("spawnsTimedOut"), 1);
}
UNIT(spawn, S8_a_server_that_starts_after_the_spawn_timeout_is_stopped) { world_run(s8); }

static int started_in_init;
static int
start_in_init(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)reply;
    nx_start_options o = with(self, start_in_init, arg - 1, NULL);
    nx_ref ref = { 0 };
    started_in_init++;
    CU_ASSERT_EQUAL(p->number, 0);
    return arg > 0 ? nx_start(self, "puppet", &o, &ref) : 0;
}

static void
nested(nx_self *self)
{
    nx_ref ref, last = { 0 };
    nx_start_options o = with(self, start_in_init, 50, NULL);
    started_in_init = 0;
    CU_ASSERT_EQUAL(nx_start(self, "puppet", &o, &ref), 0);
    CU_ASSERT_EQUAL(started_in_init, 51);
    CU_ASSERT_EQUAL(world_stat("serversLive"), 52);
    for (int i = 0; i < 64; i++) {                    /* serials are unique */
        CU_ASSERT_EQUAL(nx_start(self, "puppet", NULL, &ref), 0);
        CU_ASSERT(ref.serial > last.serial);
        last = ref;
    }
    CU_ASSERT_EQUAL(world_stat("spawnsInitiated"), world_stat("spawnsResolved"));
}
UNIT(spawn, an_init_may_start_others) { world_run(nested); }

static int booted_status;
static nx_ref booted_ref;
static void
on_booted(void *arg, int status, nx_ref ref, const struct base_error *why)
{
    (void)arg, (void)why;
    booted_status = status;
    booted_ref = ref;
    loop_stop(world.loop);
}

UNIT(spawn, a_configured_server_reports_to_done)
{
    struct base_error why;
    world_shm(&(struct world_options){ 0 });
    world_open(&(struct world_options){ 0 }, 0);
    CU_ASSERT_EQUAL(runtime_boot(world.rt, "nothing", (nx_value){ 0 }, 0, NULL, on_booted, NULL, &why), NX_ENOBEHAVIOR);
    CU_ASSERT_EQUAL(runtime_boot(world.rt, "puppet", (nx_value){ 0 }, NX_LOCAL, NULL, on_booted, NULL, &why), NX_EINVAL);
    booted_status = 1;
    CU_ASSERT_EQUAL(runtime_boot(world.rt, "puppet", (nx_value){ 0 }, 0, NULL, on_booted, NULL, &why), 0);
    CU_ASSERT_EQUAL(booted_status, 1);                /* never from inside */
    (void)loop_run(world.loop);
    CU_ASSERT_EQUAL(booted_status, 0);
    CU_ASSERT_EQUAL(booted_ref.serial, 1);
    world_close();
}

enum { IN_FLIGHT = 64 };
static int flight_results[IN_FLIGHT];
static nx_ref flight_target;

static int
start_slowly(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    static struct waiting w;
    nx_ref ref;
    w.target = flight_target;
    nx_start_options o = with(self, arg % 4 == 0 ? fail_init : wait_in_init, (uint64_t)(uintptr_t)&w, NULL);
    (void)p, (void)reply;
    o.init_timeout_ms = arg % 4 == 1 ? 20 : 5000;
    o.spawn_timeout_ms = arg % 4 == 2 ? 30 : 10000;
    flight_results[arg] = nx_start(self, "puppet", &o, &ref);
    return 0;
}

static void
s9(nx_self *self)
{
    static const int expected[4] = { NX_EINIT, NX_EINITTIMEOUT, NX_ETIMEDOUT, 0 };
    flight_target = world_puppet(self, NULL);
    nx_ref refs[IN_FLIGHT];
    for (uint64_t i = 0; i < IN_FLIGHT; i++) {
        flight_results[i] = 1;
        refs[i] = world_puppet(self, NULL);
        CU_ASSERT_EQUAL(nx_cast(self, refs[i], world_do(self, start_slowly, i)), 0);
    }
    world_pause(self, 900);
    for (size_t i = 0; i < IN_FLIGHT; i++)
        CU_ASSERT_EQUAL(flight_results[i], expected[i % 4]);
    uint64_t paused = 1;                              /* the server that a pause starts */
    CU_ASSERT_EQUAL(world_stat("spawnsResolved"), 1 + IN_FLIGHT + IN_FLIGHT / 4 + paused);
    CU_ASSERT_EQUAL(world_stat("spawnsTimedOut"), IN_FLIGHT / 4);
    CU_ASSERT_EQUAL(world_stat("spawnsRejected"), IN_FLIGHT / 2);
    CU_ASSERT_EQUAL(world_stat("spawnsInitiated"), world_stat("spawnsResolved") + world_stat("spawnsTimedOut") + world_stat("spawnsRejected"));
    CU_ASSERT_EQUAL(world_stat("serversLive"), 2 + IN_FLIGHT + IN_FLIGHT / 4);
}
UNIT(spawn, S9_sixty_four_starts_in_flight_all_end) { world_run(s9); }
