/*
 * world.c - a real runtime in this process, for tests.
 *
 * Lives here: making the world, puppets, the driver, a second worker in a fork, the test as link worker.
 */
#include "world.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

struct world world;
static const char node_alpha[] = "alpha@127.0.0.1:4369", node_beta[] = "beta@127.0.0.1:4370";

static void
must(int err, const char *what, const struct base_error *why)
{
    if (err == 0)
        return;
    fprintf(stderr, "world: %s: %s %s\n", what, nx_errname(err), why != NULL ? why->text : "");
    exit(99);
}

/* ---- puppets */

static int
puppet_init(nx_self *self, nx_value args, void **state)
{
    uint64_t mine = 0, ended = 0, fn = 0, arg = 0;
    struct puppet *p = calloc(1, sizeof *p);
    (void)nx_unpack(args, "{s?u,s?u,s?u,s?u}", "mine", &mine, "ended", &ended, "fn", &fn, "arg", &arg);
    p->mine = (struct puppet **)(uintptr_t)mine;
    p->ended = (nx_reason *)(uintptr_t)ended;
    if (p->mine != NULL)
        *p->mine = p;
    int err = fn != 0 ? ((world_fn *)(uintptr_t)fn)(self, p, arg, NULL) : 0;
    if (err != 0) {
        if (p->mine != NULL)
            *p->mine = NULL;
        free(p);
        return err;
    }
    *state = p;
    return 0;
}

static int
run(nx_self *self, struct puppet *p, nx_value msg, nx_packer *reply)
{
    uint64_t fn = 0, arg = 0;
    int err = nx_unpack(msg, "[uu]", &fn, &arg);
    if (err != 0)
        return reply != NULL ? nx_pack(reply, "v", msg) : 0;       /* anything else comes back as it is */
    return ((world_fn *)(uintptr_t)fn)(self, p, arg, reply);
}

static int
puppet_call(nx_self *self, void *state, nx_value msg, nx_packer *reply)
{
    return run(self, state, msg, reply);
}

static int
puppet_cast(nx_self *self, void *state, nx_value msg)
{
    return run(self, state, msg, NULL);
}

static void
copy(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text != NULL ? text : "");
}

static int
puppet_info(nx_self *self, void *state, const nx_info *info)
{
    struct puppet *p = state;
    if (p->info_count == WORLD_INFOS)
        return 0;
    struct world_info *i = &p->infos[p->info_count++];
    *i = (struct world_info){ .kind = info->kind, .timer = info->timer, .tag = info->tag, .count = info->count, .status = info->status,
                              .ref = info->ref, .other = info->other, .reason = info->reason, .scope = info->scope, .error = nx_error(self)->code };
    i->value = nx_is_value(info->value) ? world_int(info->value) : 0;
    copy(i->text, sizeof i->text, info->kind == NX_INFO_REPLY ? nx_error(self)->text : info->text);
    copy(i->name, sizeof i->name, info->name);
    copy(i->node, sizeof i->node, info->node);
    return 0;
}

static void
puppet_terminate(nx_self *self, void *state, nx_reason reason)
{
    struct puppet *p = state;
    (void)self;
    if (p->mine != NULL)
        *p->mine = NULL;
    if (p->ended != NULL)
        *p->ended = reason;
    free(p);
}

static const nx_behavior puppet = NX_BEHAVIOR("puppet", .version = 1, .init = puppet_init, .handle_call = puppet_call, .handle_cast = puppet_cast,
                                              .handle_info = puppet_info, .terminate = puppet_terminate);
static const nx_behavior small = NX_BEHAVIOR("small", .version = 3, .max_messages = 4, .max_bytes = 4096, .init = puppet_init,
                                             .handle_call = puppet_call, .handle_cast = puppet_cast, .terminate = puppet_terminate);

/* ---- the driver */

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
    (void)self, (void)state;
    return nx_pack(reply, "v", msg);
}

static int
driver_cast(nx_self *self, void *state, nx_value msg)
{
    (void)msg;
    ((void (*)(nx_self *))(uintptr_t)state)(self);
    nx_exit(self, NX_NORMAL);
    is_driven = true;
    loop_stop(world.loop);
    return 0;
}

static const nx_behavior driver = NX_BEHAVIOR("driver", .version = 1, .init = driver_init, .handle_call = driver_call, .handle_cast = driver_cast);

void
world_drive(void (*test)(nx_self *self))
{
    struct base_error why;
    nx_packer args;
    value_packer_init(&args, 64);
    must(nx_pack(&args, "u", (uint64_t)(uintptr_t)test), "pack", NULL);
    must(runtime_boot(world.rt, "driver", value_packer_value(&args), 0, NULL, NULL, NULL, &why), "boot", &why);
    value_packer_fini(&args);
    is_driven = false;
    while (!is_driven)
        must(loop_run(world.loop), "loop", NULL);
}

/* ---- making the world */

static void
on_deliver(void *arg, uint16_t from_slot, const struct envelope *e, const uint8_t *body)
{
    (void)arg;
    runtime_deliver(world.rt, from_slot, e, body);
}

static void
on_gone(void *arg, uint16_t slot, uint32_t generation)
{
    (void)arg;
    runtime_process_gone(world.rt, slot, generation);
}

static uint32_t
add_node(const char *text, enum nodes_state state, uint64_t incarnation)
{
    struct node_id id;
    struct nodes_entry e = { .state = state, .incarnation = incarnation, .session = 1 };
    struct base_error why;
    uint32_t index;
    must(node_id_parse(text, strlen(text), &id, &why), "node id", &why);
    must(nodes_add(shm_nodes(world.shm), &id, &index), "add a node", NULL);
    e.id = id;
    nodes_put(shm_nodes(world.shm), index, &e);
    return index;
}

void
world_shm(const struct world_options *o)
{
    struct shm_config config = { .workers = o->workers != 0 ? o->workers : 1, .registry_capacity = 64, .nodes_max = 8, .behaviors_max = 8 };
    struct base_error why;
    log_set_level(getenv("WORLD_LOG") != NULL ? LOG_DEBUG : LOG_ERROR);
    must(shm_create(&config, &world.shm, &why), "shared memory", &why);
    board_set_node(shm_board(world.shm), 0x1122334455667788u, clock_wall_ms());
    (void)add_node(node_alpha, NODES_UP, 0x1122334455667788u);
    (void)add_node(node_beta, NODES_DOWN, 77);
    for (uint16_t i = 0; i < config.workers; i++) {
        struct board_slot b = { .generation = 1, .state = BOARD_READY, .pid = getpid() };
        board_set(shm_board(world.shm), i, &b);
    }
}

void
world_open(const struct world_options *o, uint16_t slot)
{
    struct base_error why;
    world.slot = slot;
    world.generation = 1;
    must(loop_new(&world.loop, &why), "loop", &why);
    struct route_config rc = { .loop = world.loop, .shm = world.shm, .slot = slot, .generation = 1, .limits = PIPE_LIMITS_DEFAULT, .deliver = on_deliver,
                               .process_gone = on_gone };
    must(route_new(&rc, &world.route, &why), "route", &why);
    route_install_ref_codec(world.route);
    struct calls_config cc = { .loop = world.loop, .slot = slot };
    must(calls_new(&cc, &world.calls, &why), "calls", &why);
    must(modules_new(&world.modules), "modules", NULL);
    const nx_behavior *const all[] = { &puppet, &small, &driver };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        must(modules_add_builtin(world.modules, all[i], &why), "builtin", &why);
    struct runtime_config config = { .loop = world.loop, .shm = world.shm, .route = world.route, .calls = world.calls, .modules = world.modules, .slot = slot,
                                     .generation = 1, .limits = VALUE_LIMITS_DEFAULT,
                                     .mailbox_messages = o->mailbox_messages != 0 ? o->mailbox_messages : 10000, .mailbox_bytes = 64u << 20,
                                     .max_servers = o->max_servers != 0 ? o->max_servers : 1u << 20,
                                     .max_parked = o->max_parked != 0 ? o->max_parked : 16384, .handler_limit_ms = 10000,
                                     .refuse_mismatch = o->refuse_mismatch };
    must(runtime_new(&config, &world.rt, &why), "runtime", &why);
}

static void
on_stopped(void *arg)
{
    *(bool *)arg = true;
    loop_stop(world.loop);
}

void
world_close(void)
{
    bool is_stopped = false;
    runtime_stop(world.rt, false, 0, on_stopped, &is_stopped);
    while (!is_stopped)
        must(loop_run(world.loop), "loop", NULL);
    world_discard();
}

void
world_discard(void)
{
    runtime_free(&world.rt);
    calls_free(&world.calls);
    route_free(&world.route);
    modules_free(&world.modules);
    loop_free(&world.loop);
    shm_destroy(&world.shm);
}

void
world_run_with(const struct world_options *o, void (*test)(nx_self *self))
{
    world_shm(o);
    world_open(o, 0);
    world_drive(test);
    world_close();
}

void
world_run(void (*test)(nx_self *self))
{
    world_run_with(&(struct world_options){ 0 }, test);
}

/* ---- in a test */

nx_value
world_do(nx_self *self, world_fn *fn, uint64_t arg)
{
    return nx_make(self, "[uu]", (uint64_t)(uintptr_t)fn, arg);
}

nx_ref
world_puppet(nx_self *self, struct puppet **mine)
{
    nx_ref ref = { 0 };
    nx_start_options o = { .args = nx_make(self, "{s:u}", "mine", (uint64_t)(uintptr_t)mine) };
    CU_ASSERT_EQUAL(nx_start(self, "puppet", &o, &ref), 0);
    return ref;
}

int64_t
world_int(nx_value v)
{
    int64_t i;
    return nx_is_value(v) && nx_unpack(v, "I", &i) == 0 ? i : -999999;
}

static int
wake_later(nx_self *self, struct puppet *p, uint64_t arg, nx_packer *reply)
{
    (void)p, (void)arg, (void)reply, (void)self;
    return NX_NOREPLY;
}

/* A call that nobody answers is a pause of exactly its timeout. */
void
world_pause(nx_self *self, int64_t ms)
{
    nx_ref sleeper = world_puppet(self, NULL);
    CU_ASSERT_EQUAL(nx_call(self, sleeper, world_do(self, wake_later, 0), ms, NULL), NX_ETIMEDOUT);
    CU_ASSERT_EQUAL(nx_stop(self, sleeper, NX_NORMAL, 1000), 0);
}

uint64_t
world_stat(const char *name)
{
    struct stats *st = shm_stats(world.shm, world.slot);
#define FIND(field, text) if (strcmp(name, text) == 0) return stats_get(st, field);
    STATS_COUNTERS(FIND)
#undef FIND
    CU_FAIL("no such counter");
    return 0;
}

nx_ref
world_ref(uint16_t slot, uint64_t serial)
{
    nx_ref ref = route_self_ref(world.route, serial);
    ref.slot = slot;
    ref.generation = 1;
    return ref;
}

uint64_t
world_ms(void)
{
    return clock_now_ns() / CLOCK_NS_PER_MS;
}

/* ---- a second worker */

static int pipes[2][2];                   /* [0]: 0 -> 1, [1]: 1 -> 0 */

static void
make_pipes(void)
{
    for (int i = 0; i < 2; i++)
        if (pipe2(pipes[i], O_CLOEXEC | O_NONBLOCK) != 0)
            must(NX_ESYS, "pipe", NULL);
}

static void
attach(uint16_t other, int read_fd, int write_fd)
{
    struct base_error why;
    must(mesh_attach(route_borrow_mesh(world.route), other, 1, read_fd, write_fd, &why), "attach", &why);
}

int
world_fork_worker(void)
{
    static const struct world_options two = { .workers = 2 };
    make_pipes();
    fflush(stdout);
    int pid = fork();
    if (pid != 0) {
        (void)close(pipes[0][0]);
        (void)close(pipes[1][1]);
        world_open(&two, 0);
        attach(1, pipes[1][0], pipes[0][1]);
        return pid;
    }
    (void)close(pipes[0][1]);
    (void)close(pipes[1][0]);
    world_open(&two, 1);
    attach(0, pipes[0][0], pipes[1][1]);
    struct base_error why;
    must(runtime_boot(world.rt, "puppet", (nx_value){ 0 }, 0, NULL, NULL, NULL, &why), "boot", &why);
    must(loop_run(world.loop), "loop", NULL);
    _exit(0);
}

void
world_end_worker(int pid)
{
    int status;
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, 0);
    world_close();
}

/* ---- the test as link worker */

static struct world_link *link_seen;
static struct pipe_reader *link_reader;
static struct pipe_writer *link_writer;

static void
on_link_message(void *arg, const struct envelope *e, const uint8_t *body)
{
    (void)arg;
    size_t i = link_seen->count < 16 ? link_seen->count : 15;
    link_seen->last[i] = *e;
    if (e->body_len <= sizeof link_seen->body[i])
        memcpy(link_seen->body[i], body, e->body_len);
    link_seen->count++;
}

static void
on_link_end(void *arg, int status, size_t torn)
{
    (void)arg, (void)status, (void)torn;
}

void
world_link_open(struct world_link *l)
{
    static const struct pipe_limits limits = PIPE_LIMITS_DEFAULT;
    struct board_slot b = { .generation = 1, .state = BOARD_READY, .pid = getpid() };
    link_seen = l;
    l->count = 0;
    make_pipes();
    board_set(shm_board(world.shm), SLOT_LINK, &b);
    attach(SLOT_LINK, pipes[1][0], pipes[0][1]);
    must(pipe_reader_new(world.loop, pipes[0][0], 1u << 20, on_link_message, on_link_end, NULL, &link_reader), "reader", NULL);
    must(pipe_writer_new(world.loop, pipes[1][1], &limits, NULL, NULL, &link_writer), "writer", NULL);
}

void
world_link_close(void)
{
    board_set_state(shm_board(world.shm), SLOT_LINK, BOARD_DOWN);
    pipe_reader_free(&link_reader);
    pipe_writer_free(&link_writer);
}

void
world_link_send(const struct envelope *e, const void *body)
{
    must(pipe_writer_put(link_writer, e, body), "send", NULL);
    pipe_writer_flush(link_writer);
}
