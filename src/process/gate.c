/*
 * gate.c - the gate: clients from outside.
 *
 * Opens: loop, route (with the mesh), call, control. Gives up: the secrets, module code, write access to all shared memory but its own page.
 * Runs in: the gate.
 */
#include <stdlib.h>

#include "call/call.h"
#include "control/control.h"
#include "process/child.h"
#include "route/route.h"

struct gate {
    struct route *route;
    struct calls *calls;
    struct control *control;
};

static void
on_deliver(void *arg, uint16_t from_slot, const struct envelope *e, const uint8_t *body)
{
    struct gate *g = arg;
    if (g->control != NULL)
        control_deliver(g->control, from_slot, e, body);
}

static void
on_process_gone(void *arg, uint16_t slot, uint32_t generation)
{
    struct gate *g = arg;
    if (g->control != NULL)
        control_process_gone(g->control, slot, generation);
}

static int
gate_open(struct child *c, struct base_error *why)
{
    const struct inherit *in = c->in;
    struct gate *g = calloc(1, sizeof *g);
    if (g == NULL)
        return base_error_set(why, NX_ENOMEM, NULL, "out of memory");
    c->room = g;
    struct pipe_limits limits = PIPE_LIMITS_DEFAULT;
    limits.max_body = in->conf->max_body;
    struct route_config route = { .loop = c->loop, .shm = in->shm, .slot = in->slot, .generation = in->generation, .limits = limits,
                                  .deliver = on_deliver, .process_gone = on_process_gone, .arg = g };
    int err = route_new(&route, &g->route, why);
    if (err == 0)
        err = calls_new(&(struct calls_config){ .loop = c->loop, .slot = in->slot }, &g->calls, why);
    if (err != 0)
        return err;
    route_install_ref_codec(g->route);
    c->mesh = route_borrow_mesh(g->route);
    return 0;
}

/* Whoever connects before this waits in the socket's queue: the first answer is that of a node that serves. */
static int
gate_start(struct child *c, struct base_error *why)
{
    struct gate *g = c->room;
    const struct inherit *in = c->in;
    struct control_config control = { .loop = c->loop, .shm = in->shm, .conf = in->conf, .route = g->route, .calls = g->calls, .listen_fd = in->listen_fd,
                                      .version = in->version };
    return control_new(&control, &g->control, why);
}

static void
gate_stop(struct child *c, bool drain, uint64_t deadline_ns)
{
    struct gate *g = c->room;
    (void)drain;
    if (g->control != NULL)
        control_stop(g->control, deadline_ns, child_done, c);
    else
        child_done(c);
}

static void
gate_close(struct child *c)
{
    struct gate *g = c->room;
    control_free(&g->control);
    calls_free(&g->calls);
    route_free(&g->route);
    free(g);
}

const struct child_kind_ops child_gate = {
    .name = "gate", .role = SHM_GATE, .open = gate_open, .start = gate_start, .stop = gate_stop, .close = gate_close,
};
