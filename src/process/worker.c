/*
 * worker.c - a worker: GenServers and module code, pinned to a CPU.
 *
 * Opens: loop, route (with the mesh), call, module, genserver, supervisor. Gives up: the secrets, write access to all shared memory but its own page, every
 * socket.
 * Runs in: workers.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/table.h"
#include "call/call.h"
#include "genserver/genserver.h"
#include "module/module.h"
#include "process/child.h"
#include "process/exports.h"
#include "process/supervisor_args.h"
#include "route/route.h"
#include "shm/board.h"
#include "shm/shm.h"
#include "supervisor/supervisor.h"

/* A configured supervisor of this worker. Its first start may fail for reasons that pass (a name held elsewhere, a link worker that starts again): then it is tried
 * again. One that ran and gave up stays down. */
struct boot { struct worker *worker; const struct conf_supervisor *conf; struct loop_timer again; uint32_t failures; };

enum { BOOT_FIRST_MS = 1000, BOOT_MAX_MS = 30000 };

struct worker {
    struct child *child;
    struct boot *boots;
    size_t boot_count;
    bool is_stopping;
    struct route *route;
    struct calls *calls;
    struct modules *modules;
    struct runtime *runtime;
    uint32_t dying[SLOT_WORKERS_MAX];    /* generations whose pipe has ended, but whose names still stand */
};

static void
on_deliver(void *arg, uint16_t from_slot, const struct envelope *e, const uint8_t *body)
{
    runtime_deliver(((struct worker *)arg)->runtime, from_slot, e, body);
}

static void
on_process_gone(void *arg, uint16_t slot, uint32_t generation)
{
    struct worker *w = arg;
    if (slot < SLOT_WORKERS_MAX && board_generation(shm_board(w->child->in->shm), slot) == generation)
        w->dying[slot] = generation;     /* its monitors fire when its names are invisible: at the master's word, a moment from now */
    else
        runtime_process_gone(w->runtime, slot, generation);
}

static void
worker_down(struct child *c, uint16_t slot, uint32_t generation)
{
    struct worker *w = c->room;
    if (slot >= SLOT_WORKERS_MAX || w->dying[slot] == 0 || w->dying[slot] > generation)
        return;
    uint32_t gone = w->dying[slot];
    w->dying[slot] = 0;
    runtime_process_gone(w->runtime, slot, gone);
}

static int
load_modules(struct worker *w, struct base_error *why)
{
    const struct staging *s = w->child->in->staging;
    int err = modules_new(&w->modules);
    if (err != 0)
        return base_error_set(why, err, NULL, "no module table");
    if ((err = modules_add_builtin(w->modules, supervisor_behavior(), why)) != 0)
        return err;
    for (size_t i = 0; i < s->count && err == 0; i++)
        err = modules_load(w->modules, s->modules[i].staged.path, s->modules[i].staged.hash, 1, why);
    return err;
}

static int
worker_open(struct child *c, struct base_error *why)
{
    const struct inherit *in = c->in;
    const struct conf *conf = in->conf;
    process_exports_keep();
    struct worker *w = calloc(1, sizeof *w);
    if (w == NULL)
        return base_error_set(why, NX_ENOMEM, NULL, "out of memory");
    w->child = c;
    c->room = w;
    struct pipe_limits limits = PIPE_LIMITS_DEFAULT;
    limits.max_body = conf->max_body;
    struct route_config route = { .loop = c->loop, .shm = in->shm, .slot = in->slot, .generation = in->generation, .limits = limits,
                                  .deliver = on_deliver, .process_gone = on_process_gone, .arg = w };
    int err = route_new(&route, &w->route, why);
    if (err == 0)
        err = calls_new(&(struct calls_config){ .loop = c->loop, .slot = in->slot }, &w->calls, why);
    if (err == 0)
        err = load_modules(w, why);
    if (err != 0)
        return err;
    route_install_ref_codec(w->route);
    c->mesh = route_borrow_mesh(w->route);
    struct value_limits values = VALUE_LIMITS_DEFAULT;
    values.max_body = conf->max_body;
    struct runtime_config runtime = { .loop = c->loop, .shm = in->shm, .route = w->route, .calls = w->calls, .modules = w->modules, .slot = in->slot,
                                      .generation = in->generation, .limits = values, .mailbox_messages = conf->mailbox_messages,
                                      .mailbox_bytes = conf->mailbox_bytes, .max_servers = conf->max_servers, .max_parked = 16384,
                                      .handler_limit_ms = conf->handler_limit_ms, .refuse_mismatch = conf->refuse_mismatch };
    return runtime_new(&runtime, &w->runtime, why);
}

/* A configured supervisor lives on worker hash(name) mod workers: the same in each life of the node. The key is fixed for that. */
static bool
is_mine(const struct inherit *in, const struct conf_supervisor *s)
{
    return table_hash(0, s->name, strlen(s->name)) % in->conf->workers == in->slot;
}

static void boot_done(void *arg, int status, nx_ref ref, const struct base_error *why);

static int
boot_start(struct boot *b, struct base_error *why)
{
    nx_packer args;
    value_packer_init(&args, 0);
    int err = supervisor_args(b->conf, &args);
    if (err != 0)
        (void)base_error_set(why, err, b->conf->name, "supervisor \"%s\": its arguments do not fit", b->conf->name);
    else
        err = runtime_boot(b->worker->runtime, "supervisor", value_packer_value(&args), 0, NULL, boot_done, b, why);
    value_packer_fini(&args);
    return err;
}

static void
boot_done(void *arg, int status, nx_ref ref, const struct base_error *why)
{
    struct boot *b = arg;
    (void)ref;
    if (status == 0 || b->worker->is_stopping)
        return;
    uint64_t ms = BOOT_FIRST_MS;
    for (uint32_t i = 0; i < b->failures && ms < BOOT_MAX_MS; i++)
        ms *= 2;
    ms = ms < BOOT_MAX_MS ? ms : BOOT_MAX_MS;
    b->failures++;
    log_error("worker: supervisor not started name=\"%s\" again_in_ms=%" PRIu64 ": %s", b->conf->name, ms, why != NULL ? why->text : nx_strerror(status));
    struct loop *loop = b->worker->child->loop;
    if (loop_timer_set(loop, &b->again, clock_deadline(loop_now_ns(loop), (int64_t)ms)) != 0)
        log_error("worker: supervisor stays down name=\"%s\": out of memory for its timer", b->conf->name);
}

static void
boot_again(void *arg)
{
    struct boot *b = arg;
    struct base_error why = { 0 };
    int err = b->worker->is_stopping ? 0 : boot_start(b, &why);
    if (err != 0)
        boot_done(b, err, (nx_ref){ 0 }, &why);
}

static int
worker_start(struct child *c, struct base_error *why)
{
    struct worker *w = c->room;
    const struct conf *conf = c->in->conf;
    if (conf->supervisor_count > 0 && (w->boots = calloc(conf->supervisor_count, sizeof *w->boots)) == NULL)
        return base_error_set(why, NX_ENOMEM, NULL, "out of memory");
    int err = 0;
    for (size_t i = 0; i < conf->supervisor_count && err == 0; i++) {
        if (!is_mine(c->in, &conf->supervisors[i]))
            continue;
        struct boot *b = &w->boots[w->boot_count++];
        *b = (struct boot){ .worker = w, .conf = &conf->supervisors[i] };
        loop_timer_init(&b->again, boot_again, b);
        err = boot_start(b, why);
    }
    return err;
}

static void
worker_stop(struct child *c, bool drain, uint64_t deadline_ns)
{
    struct worker *w = c->room;
    w->is_stopping = true;
    runtime_stop(w->runtime, drain, deadline_ns, child_done, c);
}

static void
worker_close(struct child *c)
{
    struct worker *w = c->room;
    w->is_stopping = true;
    runtime_free(&w->runtime);
    for (size_t i = 0; i < w->boot_count; i++)
        loop_timer_cancel(c->loop, &w->boots[i].again);
    free(w->boots);
    modules_free(&w->modules);
    calls_free(&w->calls);
    route_free(&w->route);
    free(w);
}

const struct child_kind_ops child_worker = {
    .name = "worker", .role = SHM_WORKER, .open = worker_open, .start = worker_start, .down = worker_down, .stop = worker_stop,
    .close = worker_close,
};
