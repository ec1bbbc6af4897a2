/*
 * worker.c - a worker: GenServers and module code, pinned to a CPU.
 *
 * Opens: loop, route (with the mesh), call, module, genserver, supervisor. Gives up: the secrets, write access to all shared memory but its own page, every
 * socket.
 * Runs in: workers.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/table.h"
#include "call/call.h"
#include "genserver/genserver.h"
#include "module/module.h"
#include "process/child.h"
#include "process/exports.h"
#include "process/supervisor_args.h"
#include "route/route.h"
#include "supervisor/supervisor.h"

struct worker {
    struct child *child;
    struct route *route;
    struct calls *calls;
    struct modules *modules;
    struct runtime *runtime;
};

static void
on_deliver(void *arg, uint16_t from_slot, const struct envelope *e, const uint8_t *body)
{
    runtime_deliver(((struct worker *)arg)->runtime, from_slot, e, body);
}

static void
on_process_gone(void *arg, uint16_t slot, uint32_t generation)
{
    runtime_process_gone(((struct worker *)arg)->runtime, slot, generation);
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

static int
worker_start(struct child *c, struct base_error *why)
{
    struct worker *w = c->room;
    for (size_t i = 0; i < c->in->conf->supervisor_count; i++) {
        const struct conf_supervisor *s = &c->in->conf->supervisors[i];
        if (!is_mine(c->in, s))
            continue;
        nx_packer args;
        value_packer_init(&args, 0);
        int err = supervisor_args(s, &args);
        if (err == 0)
            err = runtime_boot(w->runtime, "supervisor", value_packer_value(&args), 0, NULL, NULL, NULL, why);
        else
            (void)base_error_set(why, err, s->name, "supervisor \"%s\": its arguments do not fit", s->name);
        value_packer_fini(&args);
        if (err != 0)
            return err;
    }
    return 0;
}

static void
worker_stop(struct child *c, bool drain, uint64_t deadline_ns)
{
    runtime_stop(((struct worker *)c->room)->runtime, drain, deadline_ns, child_done, c);
}

static void
worker_close(struct child *c)
{
    struct worker *w = c->room;
    runtime_free(&w->runtime);
    modules_free(&w->modules);
    calls_free(&w->calls);
    route_free(&w->route);
    free(w);
}

const struct child_kind_ops child_worker = {
    .name = "worker", .role = SHM_WORKER, .open = worker_open, .start = worker_start, .stop = worker_stop, .close = worker_close,
};
