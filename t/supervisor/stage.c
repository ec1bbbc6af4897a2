/*
 * stage.c - a real runtime in this process, a driver that runs a test, children that tell their story.
 */
#include "stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "genserver/genserver.h"
#include "shm/board.h"
#include "shm/nodes.h"
#include "supervisor/supervisor.h"

static struct { struct shm *shm; struct loop *loop; struct route *route; struct calls *calls; struct modules *modules; struct runtime *rt; } stage;
static const char node[] = "alpha@127.0.0.1:4369";
static char story[4096];
static bool failing[128];
static int64_t slowness[128];

static void
must(int err, const char *what, const struct base_error *why)
{
    if (err == 0)
        return;
    fprintf(stderr, "stage: %s: %s %s\n", what, nx_errname(err), why != NULL ? why->text : "");
    exit(99);
}

/* ---------------------------------------------------------------- the story */

static void
tell(char sign, char id, bool is_odd)
{
    size_t len = strlen(story);
    (void)snprintf(story + len, sizeof story - len, "%s%c%c%s", len > 0 ? " " : "", sign, id, is_odd ? "!" : "");
}

const char *
stage_story(void)
{
    return story;
}

void
stage_forget(void)
{
    story[0] = '\0';
}

void
stage_fails(char id, bool fails)
{
    failing[(unsigned char)id & 127] = fails;
}

void
stage_is_slow(char id, int64_t ms)
{
    slowness[(unsigned char)id & 127] = ms;
}

/* ---------------------------------------------------------------- children */

static int
child_init(nx_self *self, nx_value args, void **state)
{
    const char *id = NULL;
    int err = nx_unpack(args, "s", &id);
    if (err != 0)
        return err;
    if (failing[(unsigned char)id[0] & 127])
        return nx_fail(self, 7, "child %s will not", id);
    tell('+', id[0], false);
    *state = (void *)(uintptr_t)(unsigned char)id[0];
    return 0;
}

static int
child_call(nx_self *self, void *state, nx_value msg, nx_packer *reply)
{
    (void)self, (void)state;
    return nx_pack(reply, "v", msg);
}

static int
child_cast(nx_self *self, void *state, nx_value msg)
{
    int reason = NX_NORMAL;
    (void)state;
    int err = nx_unpack(msg, "i", &reason);
    nx_exit(self, (nx_reason)reason);
    return err;
}

static void
child_terminate(nx_self *self, void *state, nx_reason reason)
{
    char id = (char)(uintptr_t)state;
    uint64_t until = clock_now_ns() + (uint64_t)slowness[(unsigned char)id & 127] * CLOCK_NS_PER_MS;
    (void)self;
    tell('-', id, reason != NX_SHUTDOWN);
    while (clock_now_ns() < until)
        (void)usleep(1000);                      /* a terminate may not wait otherwise */
}

static const nx_behavior child = NX_BEHAVIOR("child", .version = 1, .init = child_init, .handle_call = child_call, .handle_cast = child_cast,
                                             .terminate = child_terminate);

/* ---------------------------------------------------------------- the driver */

static bool is_driven;

static int
driver_init(nx_self *self, nx_value args, void **state)
{
    uint64_t fn = 0;
    int err = nx_unpack(args, "u", &fn);
    *state = (void *)(uintptr_t)fn;
    return err != 0 ? err : nx_cast(self, nx_self_ref(self), nx_make(self, "n"));
}

static int
driver_call(nx_self *self, void *state, nx_value msg, nx_packer *reply)
{
    (void)self, (void)state, (void)msg, (void)reply;
    return NX_NOREPLY;                           /* whoever calls it waits for his timeout: stage_pause */
}

static int
driver_cast(nx_self *self, void *state, nx_value msg)
{
    (void)msg;
    if (state == NULL)
        return 0;
    ((void (*)(nx_self *))(uintptr_t)state)(self);
    nx_exit(self, NX_NORMAL);
    is_driven = true;
    loop_stop(stage.loop);
    return 0;
}

static const nx_behavior driver = NX_BEHAVIOR("driver", .version = 1, .init = driver_init, .handle_call = driver_call, .handle_cast = driver_cast);

/* ---------------------------------------------------------------- the runtime */

static void
on_deliver(void *arg, uint16_t from_slot, const struct envelope *e, const uint8_t *body)
{
    (void)arg;
    runtime_deliver(stage.rt, from_slot, e, body);
}

static void
on_gone(void *arg, uint16_t slot, uint32_t generation)
{
    (void)arg;
    runtime_process_gone(stage.rt, slot, generation);
}

static void
make_memory(void)
{
    struct shm_config config = { .workers = 1, .registry_capacity = SHM_REGISTRY_MIN, .nodes_max = 8, .behaviors_max = 8 };
    struct base_error why = { 0 };
    struct node_id id;
    uint32_t index;
    must(shm_create(&config, &stage.shm, &why), "shared memory", &why);
    board_set_node(shm_board(stage.shm), 77, clock_wall_ms());
    must(node_id_parse(node, strlen(node), &id, &why), "node id", &why);
    must(nodes_add(shm_nodes(stage.shm), &id, &index), "this node", NULL);
    struct nodes_entry self = { .id = id, .state = NODES_UP, .incarnation = 77, .session = 1 };
    nodes_put(shm_nodes(stage.shm), index, &self);
    board_set(shm_board(stage.shm), 0, &(struct board_slot){ .generation = 1, .state = BOARD_READY, .pid = getpid() });
}

static void
make_rooms(void)
{
    struct base_error why = { 0 };
    must(loop_new(&stage.loop, &why), "loop", &why);
    struct route_config rc = { .loop = stage.loop, .shm = stage.shm, .generation = 1, .limits = PIPE_LIMITS_DEFAULT, .deliver = on_deliver, .process_gone = on_gone };
    must(route_new(&rc, &stage.route, &why), "route", &why);
    route_install_ref_codec(stage.route);
    must(calls_new(&(struct calls_config){ .loop = stage.loop }, &stage.calls, &why), "calls", &why);
    must(modules_new(&stage.modules), "modules", NULL);
    const nx_behavior *const all[] = { supervisor_behavior(), &child, &driver };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        must(modules_add_builtin(stage.modules, all[i], &why), "builtin", &why);
    struct runtime_config config = { .loop = stage.loop, .shm = stage.shm, .route = stage.route, .calls = stage.calls, .modules = stage.modules, .generation = 1,
                                     .limits = VALUE_LIMITS_DEFAULT, .mailbox_messages = 10000, .mailbox_bytes = 64u << 20, .max_servers = 1u << 16,
                                     .max_parked = 1024, .handler_limit_ms = 10000 };
    must(runtime_new(&config, &stage.rt, &why), "runtime", &why);
}

static void
on_stopped(void *arg)
{
    *(bool *)arg = true;
    loop_stop(stage.loop);
}

static void
discard(void)
{
    runtime_free(&stage.rt);
    calls_free(&stage.calls);
    route_free(&stage.route);
    modules_free(&stage.modules);
    loop_free(&stage.loop);
    shm_destroy(&stage.shm);
}

void
stage_run(void (*test)(nx_self *self))
{
    struct base_error why = { 0 };
    nx_packer args;
    bool is_stopped = false;
    stage_forget();
    memset(failing, 0, sizeof failing);
    memset(slowness, 0, sizeof slowness);
    log_set_level(LOG_ERROR);
    make_memory();
    make_rooms();
    value_packer_init(&args, 64);
    must(nx_pack(&args, "u", (uint64_t)(uintptr_t)test), "pack", NULL);
    is_driven = false;
    must(runtime_boot(stage.rt, "driver", value_packer_value(&args), 0, NULL, NULL, NULL, &why), "boot", &why);
    value_packer_fini(&args);
    while (!is_driven)
        must(loop_run(stage.loop), "loop", NULL);
    runtime_stop(stage.rt, false, 0, on_stopped, &is_stopped);
    while (!is_stopped)
        must(loop_run(stage.loop), "loop", NULL);
    discard();
}

/* ---------------------------------------------------------------- in a test */

nx_value
stage_args(nx_self *self, const char *strategy, int max, int64_t within_ms, const struct stage_child *children, size_t count)
{
    nx_value items[8];
    nx_packer array;
    value_packer_init(&array, 0);
    for (size_t i = 0; i < count && i < 8; i++) {
        const struct stage_child *c = &children[i];
        items[i] = nx_make(self, "{s:s,s:s,s:s,s:s,s:i,s:s,s:I}", "label", c->id, "behavior", "child", "args", c->id, "name", c->name != NULL ? c->name : "", "scope",
                           c->name != NULL ? NX_LOCAL : 0, "restart", c->restart != NULL ? c->restart : "permanent", "shutdownMs",
                           c->shutdown_ms != 0 ? c->shutdown_ms : 1000);
    }
    CU_ASSERT_EQUAL(nx_pack_array(&array, items, count), 0);
    nx_value args = nx_make(self, "{s:s,s:s,s:i,s:I,s:v}", "name", "main", "strategy", strategy, "maxRestarts", max, "withinMs", within_ms, "children",
                            value_packer_value(&array));
    value_packer_fini(&array);
    return args;
}

int
stage_start(nx_self *self, nx_value args, nx_ref *out)
{
    return nx_start(self, "supervisor", &(nx_start_options){ .args = args }, out);
}

nx_ref
stage_child(nx_self *self, nx_ref supervisor, const char *label, uint64_t *restarts)
{
    nx_value list = { 0 };
    int err = nx_call(self, supervisor, nx_make(self, "{s:s}", "type", "children"), 5000, &list);
    CU_ASSERT_EQUAL(err, 0);
    for (size_t i = 0; err == 0 && i < nx_count(list); i++) {
        const char *its_label = NULL;
        nx_ref ref = { 0 };
        uint64_t count = 0;
        nx_value item = nx_at(list, i);
        CU_ASSERT_EQUAL(nx_unpack(item, "{s:s,s:u}", "label", &its_label, "restarts", &count), 0);
        if (its_label == NULL || strcmp(its_label, label) != 0)
            continue;
        if (nx_unpack(item, "{s:r}", "ref", &ref) != 0)
            ref = (nx_ref){ 0 };
        if (restarts != NULL)
            *restarts = count;
        return ref;
    }
    return (nx_ref){ 0 };
}

void
stage_end(nx_self *self, nx_ref ref, nx_reason reason)
{
    CU_ASSERT_EQUAL(nx_cast(self, ref, nx_make(self, "i", (int)reason)), 0);
}

/* A call that nobody answers is a pause of exactly its timeout. */
void
stage_pause(nx_self *self, int64_t ms)
{
    nx_ref sleeper = { 0 };
    CU_ASSERT_EQUAL(nx_start(self, "driver", &(nx_start_options){ .args = nx_make(self, "u", (uint64_t)0) }, &sleeper), 0);
    CU_ASSERT_EQUAL(nx_call(self, sleeper, nx_make(self, "n"), ms, NULL), NX_ETIMEDOUT);
    CU_ASSERT_EQUAL(nx_stop(self, sleeper, NX_NORMAL, 1000), 0);
}

void
stage_until(nx_self *self, const char *wanted)
{
    for (int i = 0; i < 500 && strcmp(story, wanted) != 0; i++)
        stage_pause(self, 10);
    CU_ASSERT_STRING_EQUAL(story, wanted);
    if (strcmp(story, wanted) != 0)
        printf("# wanted '%s', got '%s'\n", wanted, story);
}

bool
stage_is_gone(nx_self *self, nx_ref ref)
{
    for (int i = 0; i < 500; i++) {
        int err = nx_call(self, ref, nx_make(self, "{s:s}", "type", "children"), 1000, NULL);
        if (err == NX_ENOSERVER)
            return true;
        stage_pause(self, 10);
    }
    return false;
}
