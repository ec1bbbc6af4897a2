/*
 * node.c - the child process of node.h.
 */
#include "node.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "control/control.h"
#include "pipe/mesh.h"
#include "shm/behaviors.h"
#include "shm/registry_writer.h"
#include "shm/stats.h"
#include "unit.h"
#include "value/value.h"
#include "wire/system.h"

struct world;

struct peer {
    struct world *world;
    uint16_t slot;
    struct mesh *mesh;
    uint64_t serial;
    bool is_asleep, is_subscribed;
    struct envelope late;                  /* a start that is answered when it is taken back */
    struct loop_defer dying;
};

struct world {
    struct loop *loop;
    struct shm *shm;
    struct conf conf;
    struct route *route;
    struct calls *calls;
    struct control *control;
    struct registry_writer *writer;
    struct peer workers[NODE_WORKERS], link;
    uint32_t link_generation;
    struct node_seen *seen;
    struct event *order_event;
    int order_fd, done_fd;
    uint64_t sequence;
    struct loop_defer done;
};

#define MUST(expr) ((expr) ? (void)0 : base_abort(#expr, __FILE__, __LINE__))

/* ---------------------------------------------------------------- what workers say */

static void
say(struct peer *p, const struct envelope *to, uint8_t kind, const void *body, size_t len)
{
    struct envelope e = { .kind = kind, .node = to->node, .session = to->session, .slot = SLOT_GATE, .call_id = to->call_id, .body_len = (uint32_t)len };
    MUST(mesh_put(p->mesh, SLOT_GATE, 0, &e, body) == 0);
}

static void
say_error(struct peer *p, const struct envelope *to, int code, int64_t app_code, const char *subject, const char *text)
{
    struct sys_error in = { .code = code, .app_code = app_code, .subject = { subject, strlen(subject) }, .text = { text, strlen(text) } };
    struct buf b;
    buf_init(&b, 0);
    MUST(sys_error_encode(&in, &b) == 0);
    say(p, to, KIND_ERROR, buf_data(&b), buf_len(&b));
    buf_fini(&b);
}

static bool
is_word(const uint8_t *body, size_t len, const char *word)
{
    return len == strlen(word) + 1 && body[0] == (0xa0 | strlen(word)) && memcmp(body + 1, word, len - 1) == 0;
}

static void
die(void *arg)
{
    struct peer *p = arg;
    if (p->slot < NODE_WORKERS)
        board_set(shm_board(p->world->shm), p->slot, &(struct board_slot){ .state = BOARD_DOWN });
    mesh_free(&p->mesh);
}

static void
on_call(struct peer *p, const struct envelope *e, const uint8_t *body)
{
    static const uint8_t garbage[] = { 0x93, 0x01, 0xc1 };
    atomic_fetch_add(&p->world->seen->calls, 1);
    if (is_word(body, e->body_len, "hang"))
        return;
    if (is_word(body, e->body_len, "die"))
        loop_defer(p->world->loop, &p->dying, die, p);
    else if (is_word(body, e->body_len, "fail"))
        say_error(p, e, NX_EAPP, 42, "", "no such account: \"x\"");
    else if (is_word(body, e->body_len, "garbage"))
        say(p, e, KIND_REPLY, garbage, sizeof garbage);
    else
        say(p, e, KIND_REPLY, body, e->body_len);
}

static void
say_started(struct peer *p, const struct envelope *e)
{
    struct buf b;
    struct sys_spawn_reply out = { .ref = { .incarnation = e->node != 0 ? NODE_PEER_LIFE : NODE_SELF_LIFE, .serial = ++p->serial, .generation = 1,
                                            .slot = e->node != 0 ? 0 : p->slot } };
    (void)snprintf(out.ref.node, sizeof out.ref.node, "%s", e->node != 0 ? NODE_PEER : NODE_SELF);
    buf_init(&b, 0);
    MUST(sys_spawn_reply_encode(&out, &b) == 0);
    say(p, e, KIND_SPAWN_REPLY, buf_data(&b), buf_len(&b));
    buf_fini(&b);
}

static void
on_spawn(struct peer *p, const struct envelope *e, const uint8_t *body)
{
    struct sys_spawn in;
    MUST(sys_spawn_decode(body, e->body_len, &in, NULL) == 0);
    if (is_word(in.args.at, in.args.len, "fail"))
        say_error(p, e, NX_EINIT, 7, "echo", "init failed: no disk");
    else if (is_word(in.args.at, in.args.len, "late"))
        p->late = *e;
    else if (!is_word(in.args.at, in.args.len, "hang"))
        say_started(p, e);
}

/* A start answered just when it was given up. */
static void
on_cancel(struct peer *p, const struct envelope *e)
{
    atomic_fetch_add(&p->world->seen->cancels, 1);
    if (p->late.call_id == e->call_id && p->late.call_id != 0)
        say_started(p, &p->late);
    p->late.call_id = 0;
}

static void
on_list(struct peer *p, const struct envelope *e)
{
    nx_packer out;
    if (p->is_asleep)
        return;
    value_packer_init(&out, NODE_MAX_BODY);
    MUST(nx_pack(&out, "[{s:i,s:s},{s:i,s:s},{s:i,s:s}]", "worker", (int)p->slot, "ref", "#1", "worker", (int)p->slot, "ref", "#2",
                 "worker", (int)p->slot, "ref", "#3") == 0);
    nx_value v = value_packer_value(&out);
    say(p, e, KIND_REPLY, v.packed, v.packed_len);
    value_packer_fini(&out);
}

static void
on_worker_message(void *arg, uint16_t from_slot, const struct envelope *e, const uint8_t *body)
{
    static const uint8_t nil = 0xc0;
    struct peer *p = arg;
    (void)from_slot;
    switch (e->kind) {
    case KIND_CALL: on_call(p, e, body); break;
    case KIND_CAST: atomic_fetch_add(&p->world->seen->casts, 1); break;
    case KIND_SPAWN: on_spawn(p, e, body); break;
    case KIND_SPAWN_ACK: atomic_fetch_add(&p->world->seen->acks, 1); break;
    case KIND_SPAWN_CANCEL: on_cancel(p, e); break;
    case KIND_STOP: say(p, e, KIND_REPLY, &nil, 1); break;
    case KIND_LIST: on_list(p, e); break;
    default: base_abort("a kind that the gate sends", __FILE__, __LINE__);
    }
}

/* ---------------------------------------------------------------- what the link worker says */

static void
tell_gate(struct world *w, uint8_t kind, uint32_t node, uint32_t session, struct buf *body)
{
    struct envelope e = { .kind = kind, .node = node, .session = session, .slot = SLOT_GATE, .body_len = (uint32_t)buf_len(body) };
    MUST(mesh_put(w->link.mesh, SLOT_GATE, 0, &e, buf_data(body)) == 0);
    buf_fini(body);
}

static void
tell_event(struct world *w, const struct sys_registry_event *event)
{
    struct buf b;
    buf_init(&b, 0);
    MUST(sys_registry_event_encode(event, &b) == 0);
    if (w->link.is_subscribed)
        tell_gate(w, KIND_REGISTRY_EVENT, 0, 0, &b);
    else
        buf_fini(&b);
}

static void
ref_here(uint64_t serial, struct wire_ref *out)
{
    *out = (struct wire_ref){ .incarnation = NODE_SELF_LIFE, .serial = serial, .generation = 1 };
    (void)snprintf(out->node, sizeof out->node, "%s", NODE_SELF);
}

static void
put_name(struct world *w, int scope, const char *name, size_t len, uint32_t node, uint16_t slot, uint64_t serial)
{
    struct registry_entry e = { .name_len = (uint16_t)len, .scope = (uint8_t)scope, .node = node, .slot = slot, .generation = 1, .serial = serial, .priority = 3,
                                .incarnation = node != 0 ? NODE_PEER_LIFE : NODE_SELF_LIFE, .registered_at_ms = 1700000000000, .sequence = ++w->sequence };
    memcpy(e.name, name, len);
    MUST(registry_put(w->writer, &e) == 0);
    struct sys_registry_event event = { .kind = SYS_REGISTERED, .scope = scope, .name = { name, len }, .has_ref = true,
                                        .version = registry_version(shm_registry(w->shm)) };
    ref_here(serial, &event.ref);
    tell_event(w, &event);
}

static void
on_register(struct peer *p, const struct envelope *e, const uint8_t *body)
{
    static const uint8_t nil = 0xc0;
    struct sys_register in;
    MUST(sys_register_decode(body, e->body_len, &in, NULL) == 0);
    if (in.name.len == 5 && memcmp(in.name.at, "taken", 5) == 0) {
        say_error(p, e, NX_ECONFLICT, 0, NODE_PEER, "name taken is already registered, by a server of node " NODE_PEER);
        return;
    }
    put_name(p->world, in.scope, in.name.at, in.name.len, e->node, in.ref.slot, in.ref.serial);
    say(p, e, KIND_REPLY, &nil, 1);
}

static void
on_unregister(struct peer *p, const struct envelope *e, const uint8_t *body)
{
    static const uint8_t nil = 0xc0;
    struct sys_unregister in;
    MUST(sys_unregister_decode(body, e->body_len, &in, NULL) == 0);
    if (registry_delete(p->world->writer, (enum registry_scope)in.scope, in.name.at, in.name.len) == 0)
        say(p, e, KIND_REPLY, &nil, 1);
    else
        say_error(p, e, NX_ENONAME, 0, "x", "name is not registered");
}

static void
on_subscribe(struct peer *p, const struct envelope *e, const uint8_t *body)
{
    struct sys_subscribe in;
    MUST(sys_subscribe_decode(body, e->body_len, &in, NULL) == 0);
    p->is_subscribed = (in.events & NX_EVENTS_NAMES) != 0;
    atomic_fetch_add(p->is_subscribed ? &p->world->seen->subscribes : &p->world->seen->unsubscribes, 1);
}

static void
on_link_message(void *arg, uint16_t from_slot, const struct envelope *e, const uint8_t *body)
{
    static const uint8_t nil = 0xc0;
    struct peer *p = arg;
    if (p->is_asleep)
        return;
    switch (e->kind) {
    case KIND_REGISTER: on_register(p, e, body); break;
    case KIND_UNREGISTER: on_unregister(p, e, body); break;
    case KIND_SUBSCRIBE: on_subscribe(p, e, body); break;
    case KIND_LINK_STATUS: say(p, e, KIND_REPLY, &nil, 1); break;
    default: on_worker_message(arg, from_slot, e, body); break;        /* for the peer node: it plays that too */
    }
}

/* ---------------------------------------------------------------- the node */

static void
on_deliver(void *arg, uint16_t from_slot, const struct envelope *e, const uint8_t *body)
{
    struct world *w = arg;
    control_deliver(w->control, from_slot, e, body);
}

static void
on_process_gone(void *arg, uint16_t slot, uint32_t generation)
{
    struct world *w = arg;
    if (w->control != NULL)
        control_process_gone(w->control, slot, generation);
}

static void
on_gate_gone(void *arg, uint16_t slot, uint32_t generation)
{
    (void)arg, (void)slot, (void)generation;
}

static void
attach(struct world *w, struct peer *p, uint16_t slot, uint32_t generation)
{
    struct pipe_limits limits = PIPE_LIMITS_DEFAULT;
    struct mesh_config config = { .loop = w->loop, .limits = limits, .on_message = slot == SLOT_LINK ? on_link_message : on_worker_message,
                                  .on_gone = on_gate_gone, .arg = p };
    int to_gate[2], from_gate[2];
    *p = (struct peer){ .world = w, .slot = slot, .serial = p->serial };
    MUST(mesh_new(&config, &p->mesh) == 0);
    MUST(pipe2(to_gate, O_CLOEXEC) == 0 && pipe2(from_gate, O_CLOEXEC) == 0);
    MUST(mesh_attach(p->mesh, SLOT_GATE, 1, from_gate[0], to_gate[1], NULL) == 0);
    MUST(mesh_attach(route_borrow_mesh(w->route), slot, generation, to_gate[0], from_gate[1], NULL) == 0);
    board_set(shm_board(w->shm), slot, &(struct board_slot){ .generation = generation, .state = BOARD_READY, .pid = 4242, .cpu = -1,
                                                              .started_at_ms = clock_wall_ms() });
}

static void
peer_worker_dies(struct world *w)
{
    struct envelope e = { .kind = KIND_REMOTE_DOWN, .node = 1, .slot = 0, .generation = 1 };
    struct nodes_entry peer;
    MUST(nodes_get(shm_nodes(w->shm), 1, &peer) == 0);
    e.session = peer.session;
    MUST(mesh_put(w->link.mesh, SLOT_GATE, 0, &e, NULL) == 0);
}

static void
set_peer(struct world *w, bool is_up)
{
    struct nodes_entry e;
    struct sys_node_event event = { .is_up = is_up, .node = { NODE_PEER, strlen(NODE_PEER) }, .incarnation = NODE_PEER_LIFE };
    struct buf b;
    uint32_t session;
    MUST(nodes_get(shm_nodes(w->shm), 1, &e) == 0);
    session = e.session;
    e.state = is_up ? NODES_UP : NODES_DOWN;
    e.incarnation = NODE_PEER_LIFE;
    e.servers = 5;
    e.reason = is_up ? NODES_REASON_NONE : NODES_HEARTBEAT_TIMEOUT;
    if (!is_up) {
        e.session++;
        event.reason = (struct sys_text){ "heartbeat_timeout", 17 };
    }
    nodes_put(shm_nodes(w->shm), 1, &e);
    buf_init(&b, 0);
    MUST(sys_node_event_encode(&event, &b) == 0);
    tell_gate(w, KIND_NODE_EVENT, 1, session, &b);
}

static void
fill_shm(struct world *w)
{
    struct shm_config config = { .workers = NODE_WORKERS, .registry_capacity = 256, .nodes_max = 16, .behaviors_max = 8 };
    struct behaviors_entry echo = { .name = "echo", .file = "modules/echo.so", .version = 3, .generation = 1, .is_present = true };
    struct behaviors_entry gone = { .name = "gone", .version = 1, .generation = 1 };
    struct registry_recovery found;
    struct node_id peer;
    uint32_t index;
    MUST(shm_create(&config, &w->shm, NULL) == 0);
    MUST(node_id_parse(NODE_SELF, strlen(NODE_SELF), &w->conf.node, NULL) == 0);
    MUST(node_id_parse(NODE_PEER, strlen(NODE_PEER), &peer, NULL) == 0);
    MUST(nodes_add(shm_nodes(w->shm), &w->conf.node, &index) == 0 && index == 0);
    struct nodes_entry self = { .id = w->conf.node, .state = NODES_UP, .incarnation = NODE_SELF_LIFE };
    nodes_put(shm_nodes(w->shm), 0, &self);
    MUST(nodes_add(shm_nodes(w->shm), &peer, &index) == 0 && index == 1);
    struct nodes_entry other = { .id = peer, .state = NODES_UP, .incarnation = NODE_PEER_LIFE, .session = 1, .servers = 5 };
    nodes_put(shm_nodes(w->shm), 1, &other);
    board_set_node(shm_board(w->shm), NODE_SELF_LIFE, clock_wall_ms());
    board_set(shm_board(w->shm), SLOT_GATE, &(struct board_slot){ .generation = 1, .state = BOARD_READY });
    MUST(behaviors_put(shm_behaviors(w->shm), &echo, &index) == 0);
    stats_set(shm_stats(w->shm, 0), behaviors[index].starts, 4);
    stats_set(shm_stats(w->shm, 1), behaviors[index].starts, 3);
    MUST(behaviors_put(shm_behaviors(w->shm), &gone, &index) == 0);
    MUST(registry_writer_open(shm_registry(w->shm), &w->writer, &found, NULL) == 0);
}

static void
note_done(void *arg)
{
    struct world *w = arg;
    struct stats *st = shm_stats(w->shm, SLOT_GATE);
    atomic_store(&w->seen->gate_pending, (uint32_t)calls_count(w->calls));
    atomic_store(&w->seen->gate_late, (uint32_t)stats_get(st, calls_late));
    atomic_store(&w->seen->gate_bad, (uint32_t)stats_get(st, bad_messages));
    atomic_store(&w->seen->spawns_initiated, stats_get(st, spawns_initiated));
    atomic_store(&w->seen->spawns_ended, stats_get(st, spawns_resolved) + stats_get(st, spawns_rejected) + stats_get(st, spawns_timed_out));
    MUST(write(w->done_fd, "!", 1) == 1);
}

static void
on_stopped(void *arg)
{
    struct world *w = arg;
    note_done(w);
    loop_stop(w->loop);
}

static void
other_events(struct world *w)
{
    struct sys_registry_event e = { .kind = SYS_CONFLICT, .scope = SYS_GLOBAL, .name = { "fought", 6 }, .has_ref = true, .has_other = true };
    ref_here(1, &e.ref);
    ref_here(2, &e.other);
    tell_event(w, &e);
    e = (struct sys_registry_event){ .kind = SYS_SYNCED, .scope = SYS_GLOBAL, .node = { NODE_PEER, strlen(NODE_PEER) }, .count = 12 };
    tell_event(w, &e);
    e = (struct sys_registry_event){ .kind = SYS_NAME_LOST, .scope = SYS_GLOBAL, .name = { "fought", 6 }, .has_ref = true };
    ref_here(1, &e.ref);
    tell_event(w, &e);
    e = (struct sys_registry_event){ .kind = SYS_UNREGISTERED, .scope = SYS_GLOBAL, .name = { "fought", 6 }, .has_ref = true };
    ref_here(1, &e.ref);
    tell_event(w, &e);
}

static void
old_event(struct world *w)
{
    struct sys_registry_event e = { .kind = SYS_REGISTERED, .scope = SYS_GLOBAL, .name = { "old", 3 }, .has_ref = true, .version = 1 };
    ref_here(1, &e.ref);
    tell_event(w, &e);
}

static void
link_returns(struct world *w)
{
    struct buf b;
    attach(w, &w->link, SLOT_LINK, ++w->link_generation);
    buf_init(&b, 0);
    MUST(buf_put(&b, "\xc0", 1) == 0);
    tell_gate(w, KIND_OWNER_READY, 0, 0, &b);
}

static void
on_order(evutil_socket_t fd, short what, void *arg)
{
    struct world *w = arg;
    char order = 0;
    (void)what;
    MUST(read(fd, &order, 1) == 1);
    switch ((enum node_order)order) {
    case ORDER_SYNC: break;
    case ORDER_PEER_DOWN: set_peer(w, false); break;
    case ORDER_PEER_UP: set_peer(w, true); break;
    case ORDER_PEER_WORKER_DIES: peer_worker_dies(w); break;
    case ORDER_REGISTER: put_name(w, NX_GLOBAL, "later", 5, 0, 0, 77); break;
    case ORDER_OLD_EVENT: old_event(w); break;
    case ORDER_OTHER_EVENTS: other_events(w); break;
    case ORDER_LINK_DIES: board_set(shm_board(w->shm), SLOT_LINK, &(struct board_slot){ .state = BOARD_DOWN }); mesh_free(&w->link.mesh); break;
    case ORDER_LINK_RETURNS: link_returns(w); break;
    case ORDER_LINK_SLEEPS: w->link.is_asleep = true; break;
    case ORDER_WORKER_SLEEPS: w->workers[1].is_asleep = true; break;
    case ORDER_NO_WORKERS:
        for (uint16_t i = 0; i < NODE_WORKERS; i++)
            board_set_state(shm_board(w->shm), i, BOARD_STARTING);
        break;
    case ORDER_STOP: control_stop(w->control, clock_now_ns() + 2 * CLOCK_NS_PER_S, on_stopped, w); return;
    }
    loop_defer(w->loop, &w->done, note_done, w);
}

static int
listen_on(const char *path)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    MUST(fd >= 0 && bind(fd, (struct sockaddr *)&to, sizeof to) == 0 && listen(fd, 1024) == 0);
    return fd;
}

static void
run_world(struct world *w, int listen_fd)
{
    struct pipe_limits limits = PIPE_LIMITS_DEFAULT;
    limits.max_body = NODE_MAX_BODY;
    fill_shm(w);
    w->conf.cluster = (char[]){ "testing" };
    w->conf.max_body = NODE_MAX_BODY;
    w->conf.nodes_max = 16;
    MUST(loop_new(&w->loop, NULL) == 0);
    struct calls_config calls = { .loop = w->loop, .slot = SLOT_GATE };
    MUST(calls_new(&calls, &w->calls, NULL) == 0);
    struct route_config route = { .loop = w->loop, .shm = w->shm, .slot = SLOT_GATE, .generation = 1, .limits = limits, .deliver = on_deliver,
                                  .process_gone = on_process_gone, .arg = w };
    MUST(route_new(&route, &w->route, NULL) == 0);
    route_install_ref_codec(w->route);
    struct control_config config = { .loop = w->loop, .shm = w->shm, .conf = &w->conf, .route = w->route, .calls = w->calls, .listen_fd = listen_fd,
                                     .version = "1.2.3" };
    MUST(control_new(&config, &w->control, NULL) == 0);
    for (uint16_t i = 0; i < NODE_WORKERS; i++)
        attach(w, &w->workers[i], i, 1);
    attach(w, &w->link, SLOT_LINK, ++w->link_generation);
    put_name(w, NX_LOCAL, "here", 4, 0, 0, 10);
    put_name(w, NX_GLOBAL, "everywhere", 10, 0, 0, 11);
    put_name(w, NX_GLOBAL, "far", 3, 1, 0, 12);
    put_name(w, NX_LOCAL, "both", 4, 0, 0, 13);
    put_name(w, NX_GLOBAL, "both", 4, 0, 0, 14);
    w->order_event = event_new(loop_borrow_base(w->loop), w->order_fd, EV_READ | EV_PERSIST, on_order, w);
    MUST(w->order_event != NULL && event_add(w->order_event, NULL) == 0);
    MUST(write(w->done_fd, "!", 1) == 1);
    MUST(loop_run(w->loop) == 0);

    event_free(w->order_event);
    control_free(&w->control);
    for (uint16_t i = 0; i < NODE_WORKERS; i++)
        mesh_free(&w->workers[i].mesh);
    mesh_free(&w->link.mesh);
    route_free(&w->route);
    calls_free(&w->calls);
    loop_free(&w->loop);
    registry_writer_close(&w->writer);
    shm_destroy(&w->shm);
}

/* ---------------------------------------------------------------- the test's side */

static void
await(struct node *n)
{
    struct pollfd p = { .fd = n->done_fd, .events = POLLIN };
    char c = 0;
    MUST(poll(&p, 1, 10000) == 1);
    MUST(read(n->done_fd, &c, 1) == 1 && c == '!');        /* 0 = the child has died */
}

void
node_start(struct node *n)
{
    static int number;
    int order[2], done[2];
    *n = (struct node){ 0 };
    n->seen = mmap(NULL, sizeof *n->seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(n->seen != MAP_FAILED && pipe2(order, O_CLOEXEC) == 0 && pipe2(done, O_CLOEXEC) == 0);
    (void)snprintf(n->path, sizeof n->path, "/tmp/noexd-t-control.%d.%d", (int)getpid(), ++number);
    (void)unlink(n->path);
    int listen_fd = listen_on(n->path);
    (void)fflush(stdout);
    n->pid = fork();
    MUST(n->pid >= 0);
    if (n->pid == 0) {
        static struct world w;
        (void)close(order[1]);
        (void)close(done[0]);
        log_set_level(LOG_ERROR);
        w = (struct world){ .seen = n->seen, .order_fd = order[0], .done_fd = done[1] };
        run_world(&w, listen_fd);
        exit(0);                           /* with the leak check of a sanitizer */
    }
    (void)close(listen_fd);
    (void)close(order[0]);
    (void)close(done[1]);
    n->order_fd = order[1];
    n->done_fd = done[0];
    await(n);
}

void
node_order(struct node *n, enum node_order order)
{
    char c = (char)order;
    MUST(write(n->order_fd, &c, 1) == 1);
    await(n);
}

void
node_finish(struct node *n)
{
    int status = -1;
    node_order(n, ORDER_STOP);
    MUST(waitpid(n->pid, &status, 0) == n->pid);
    CU_ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    (void)close(n->order_fd);
    (void)close(n->done_fd);
    (void)munmap(n->seen, sizeof *n->seen);
    (void)unlink(n->path);
}

void
node_ref(uint16_t slot, uint64_t serial, bool on_peer, char out[static NX_REF_TEXT_MAX])
{
    struct wire_ref ref = { .incarnation = on_peer ? NODE_PEER_LIFE : NODE_SELF_LIFE, .serial = serial, .generation = 1, .slot = slot };
    (void)snprintf(ref.node, sizeof ref.node, "%s", on_peer ? NODE_PEER : NODE_SELF);
    MUST(wire_ref_to_text(&ref, out, NX_REF_TEXT_MAX) == 0);
}
