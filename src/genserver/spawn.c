/*
 * spawn.c - the start of a server on this worker.
 *
 * Lives here: checking what is asked for, init and its time, the name it is given, the answer; starts that other processes and nodes ask for, and those
 * among them that nobody acknowledges; runtime_boot.
 * Never here: asking another worker or node for a start (start.c).
 * Runs in: workers.
 *
 * init runs through the run queue like a first message, so it may wait. A server without a name is of use only to whoever has its ref: if that requester has
 * gone, given up or not acknowledged in time, it is stopped.
 */
#include "genserver/genserver_priv.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/utf8.h"

/* ---- the record */

static void
start_detach(struct start *st)
{
    if (st->origin == NULL)
        return;
    list_remove(&st->link);
    st->origin->start_count--;
    st->origin = NULL;
}

void
spawn_forget(struct runtime *rt, struct server *s)
{
    struct start *st = s->start;
    if (st == NULL)
        return;
    s->start = NULL;
    start_detach(st);
    loop_timer_cancel(rt->config.loop, &st->timer);
    free(st);
}

/* Whoever could know this server has gone: it ends, unless it has a name to be found by. */
static void
unwanted(struct runtime *rt, struct start *st)
{
    struct server *s = st->server;
    start_detach(st);
    if (st->scope != 0)
        return;
    if (!st->is_answered) {
        st->is_unwanted = true;
        server_cancel(rt, s);
        return;
    }
    spawn_forget(rt, s);
    struct msg *m = msg_new(MSG_STOP, NULL, NULL, 0);
    if (m == NULL) {
        log_error("genserver: out of memory, a server without a requester stays serial=%" PRIu64, s->serial);
        return;
    }
    m->tag = NX_SHUTDOWN;
    server_put_stop(rt, s, m, true);
    server_cancel(rt, s);
}

static void
on_timer(void *arg)
{
    struct start *st = arg;
    struct runtime *rt = runtime_here;
    if (st->is_answered) {
        log_info("genserver: server stopped serial=%" PRIu64 " reason=unacknowledged", st->server->serial);
        unwanted(rt, st);
        return;
    }
    st->is_timed_out = true;
    server_cancel(rt, st->server);
}

/* The usual init does not wait, and pays for no timer. */
void
spawn_waits(struct runtime *rt, struct server *s)
{
    struct start *st = s->start;
    if (st == NULL || s->runner->callback != CALLBACK_INIT || s->has_state || st->init_deadline_ns == 0 || heap_has(&st->timer.node))
        return;
    if (loop_timer_set(rt->config.loop, &st->timer, st->init_deadline_ns) != 0) {
        st->is_timed_out = true;      /* without memory for its timer it must not wait */
        server_cancel(rt, s);
    }
}

/* ---- making it */

static int
check_code(struct runtime *rt, const struct sys_spawn *q, const struct module_code *code, struct base_error *why)
{
    const nx_behavior *b = module_code_behavior(code);
    bool differs = (q->version != 0 && q->version != b->version) || (q->has_hash && memcmp(q->hash, module_code_hash(code), sizeof q->hash) != 0);
    if (!differs)
        return 0;
    if (rt->config.refuse_mismatch)
        return base_error_set(why, NX_EMISMATCH, b->name, "behavior %s differs on node %s: version %" PRIu32 " there, %" PRIu32 " asked for", b->name, nx_node(),
                              b->version, q->version);
    if (log_gate_pass(&rt->warn_gate, LOGS_PER_SECOND))
        log_warn("genserver: behavior differs from the requester's behavior=%s version=%" PRIu32 " requested=%" PRIu32, b->name, b->version, q->version);
    return 0;
}

static int
check_request(const struct sys_spawn *q, struct base_error *why)
{
    if (q->behavior.len == 0 || q->behavior.len > NX_BEHAVIOR_NAME_MAX)
        return base_error_set(why, NX_EINVAL, NULL, "a behavior's name has 1 to %d bytes", (int)NX_BEHAVIOR_NAME_MAX);
    if ((q->scope != 0) != (q->name.len != 0) || q->scope < 0 || q->scope > SYS_GLOBAL)
        return base_error_set(why, NX_EINVAL, NULL, "a name needs a scope, and a scope a name");
    if (q->name.len > 0 && !utf8_is_name(q->name.at, q->name.len))
        return base_error_set(why, NX_EINVAL, NULL, "not a valid name");
    if (q->init_timeout_ms <= 0)
        return base_error_set(why, NX_EINVAL, NULL, "init timeout of %" PRId64 " ms: it must be 1 or more", q->init_timeout_ms);
    return 0;
}

int
spawn_begin(struct runtime *rt, const struct sys_spawn *q, const nx_from *from, struct start **out, struct base_error *why)
{
    struct module_code *code = NULL;
    struct server *s;
    int err = check_request(q, why);
    if (err != 0)
        return err;
    if (rt->is_stopping)
        return base_error_set(why, NX_EBUSY, NULL, "node %s is being stopped", nx_node());
    if (modules_take(rt->config.modules, q->behavior.at, q->behavior.len, &code) != 0) {
        char name[NX_BEHAVIOR_NAME_MAX + 1];
        memcpy(name, q->behavior.at, q->behavior.len);
        name[q->behavior.len] = '\0';
        return base_error_set(why, NX_ENOBEHAVIOR, name, "behavior %s is not registered on node %s", name, nx_node());
    }
    err = check_code(rt, q, code, why);
    struct start *st = err == 0 ? malloc(sizeof *st + q->args.len + q->name.len + 1) : NULL;
    if (err == 0 && st == NULL)
        err = base_error_set(why, NX_ENOMEM, NULL, "no memory for another server");
    if (err == 0)
        err = server_new(rt, &code, &s, why);
    if (err != 0) {
        free(st);
        module_code_unref(&code);
        return err;
    }
    *st = (struct start){ .server = s, .from = *from, .init_timeout_ms = q->init_timeout_ms, .priority = q->priority, .scope = (uint8_t)q->scope,
                          .name_len = (uint8_t)q->name.len, .args_len = (uint32_t)q->args.len,
                          .init_deadline_ns = clock_deadline(rt->in_turn ? rt->now_ns : clock_now_ns(), q->init_timeout_ms) };
    list_init(&st->link);
    loop_timer_init(&st->timer, on_timer, st);
    if (q->args.len > 0)
        memcpy(st->bytes, q->args.at, q->args.len);
    if (q->name.len > 0)
        memcpy(st->bytes + st->args_len, q->name.at, q->name.len);
    st->bytes[st->args_len + st->name_len] = '\0';
    s->start = st;
    scheduler_ready(rt, s);
    *out = st;
    return 0;
}

/* ---- running it */

static int
run_init(struct runner *r, struct server *s, struct start *st, struct base_error *why)
{
    static const uint8_t nil = 0xc0;
    nx_value args;
    void *state = NULL;
    r->zone_used = true;
    int err = value_decode(r->zone, st->args_len > 0 ? st->bytes : &nil, st->args_len > 0 ? st->args_len : sizeof nil, &r->rt->config.limits, &args, why);
    if (err != 0)
        return err;
    int result = s->behavior->init(self_of(s), args, &state);
    if (result == 0) {
        s->state = state;
        s->has_state = true;
    }
    if (st->is_timed_out || clock_is_past(st->init_deadline_ns, runtime_clock(r->rt))) {
        (void)base_error_set(why, NX_EINITTIMEOUT, module_code_name(s->code), "init of %s took longer than %" PRId64 " ms", module_code_name(s->code),
                             st->init_timeout_ms);
        why->timeout_ms = st->init_timeout_ms;
        return NX_EINITTIMEOUT;
    }
    if (result == 0)
        return 0;
    failure_of_result(r, result, why);
    why->code = NX_EINIT;
    return NX_EINIT;
}

/* The answer to whoever asked. 0, or NX_ENOSERVER: nobody is there any more. */
static int
answer_started(struct runtime *rt, struct server *s, struct start *st)
{
    nx_ref ref = server_ref(rt, s);
    if (st->from.call_id == 0) {
        if (st->done != NULL)
            st->done(st->arg, 0, ref, NULL);
        return 0;
    }
    if (st->from.node == 0 && runtime_owns_call(rt, st->from.call_id))
        return answer_value(rt, &st->from, KIND_SPAWN_REPLY, NULL, 0, NULL);      /* a requester of this worker has the ref already */
    struct sys_spawn_reply reply;
    struct buf body;
    buf_init(&body, 1024);
    route_ref_to_wire(rt->config.route, ref, &reply.ref);
    if (sys_spawn_reply_encode(&reply, &body) == 0)
        (void)answer_value(rt, &st->from, KIND_SPAWN_REPLY, buf_data(&body), buf_len(&body), NULL);
    buf_fini(&body);
    return clock_is_past(st->from.deadline_ns, clock_now_ns()) ? NX_ENOSERVER : 0;
}

static void
answer_failed(struct runtime *rt, struct start *st, const struct base_error *why)
{
    if (st->from.call_id != 0) {
        answer_error(rt, &st->from, why);
        return;
    }
    log_error("genserver: configured server not started behavior=%s error=%s text=\"%s\"", module_code_name(st->server->code), nx_errname(why->code),
              why->text);
    if (st->done != NULL)
        st->done(st->arg, why->code, (nx_ref){ 0 }, why);
}

void
spawn_run(struct runner *r, struct server *s)
{
    struct runtime *rt = r->rt;
    struct start *st = s->start;
    struct base_error why = { .code = 0 };
    runner_enter(r, s, CALLBACK_INIT);
    int err = run_init(r, s, st, &why);
    loop_timer_cancel(rt->config.loop, &st->timer);
    if (err == 0 && st->scope != 0 && !st->is_unwanted) {
        err = names_register(r, st->scope, start_name(st), st->name_len, server_ref(rt, s), st->priority);
        if (err != 0)
            why = r->failure;
    }
    runner_leave(r);
    if (err != 0) {
        s->is_exiting = true;
        s->reason = NX_ERROR;
        if (s->has_state)
            callback_terminate(r, s, NX_ERROR);       /* before the answer: who hears of the failure finds nothing left behind. It may wait */
        st->is_answered = true;                       /* not earlier: what is answered may be forgotten */
        answer_failed(rt, st, &why);
        return;
    }
    st->is_answered = true;
    s->life = SERVER_LIVE;
    bool is_lost = answer_started(rt, s, st) != 0 || st->is_unwanted;
    if (is_lost && st->scope == 0) {
        s->is_exiting = true;
        s->reason = NX_SHUTDOWN;
        return;
    }
    bool wants_ack = st->origin != NULL && st->scope == 0;
    if (!wants_ack || loop_timer_set(rt->config.loop, &st->timer, clock_now_ns() + ACK_MS * CLOCK_NS_PER_MS) != 0)
        spawn_forget(rt, s);
}

/* ---- asked for by other processes and nodes */

void
spawn_incoming(struct runtime *rt, uint16_t from_slot, const struct envelope *e, const uint8_t *body)
{
    struct sys_spawn q;
    struct base_error why = { .code = 0 };
    struct start *st;
    nx_from from = answer_from(e);
    struct origin *o = origin_get(rt, e->node, from_slot);
    int err = sys_spawn_decode(body, e->body_len, &q, &why);
    if (err == 0 && o == NULL)
        err = base_error_set(&why, NX_ENOMEM, NULL, "no memory for another server");
    if (err == 0 && o->start_count >= STARTS_PER_ORIGIN)
        err = base_error_set(&why, NX_EBUSY, NULL, "%d starts are in progress already", (int)STARTS_PER_ORIGIN);
    if (err == 0)
        err = spawn_begin(rt, &q, &from, &st, &why);
    if (err != 0) {
        answer_error(rt, &from, &why);
        return;
    }
    st->origin = o;
    list_push_back(&o->starts, &st->link);
    o->start_count++;
}

static struct start *
find_start(struct runtime *rt, uint16_t from_slot, const struct envelope *e)
{
    struct origin *o = origin_find(rt, e->node, from_slot);
    if (o == NULL)
        return NULL;
    list_each(it, &o->starts) {
        struct start *st = list_item(it, struct start, link);
        if (st->from.call_id == e->call_id && st->from.session == e->session)
            return st;
    }
    return NULL;
}

void
spawn_acknowledged(struct runtime *rt, uint16_t from_slot, const struct envelope *e)
{
    struct start *st = find_start(rt, from_slot, e);
    if (st != NULL && st->is_answered)
        spawn_forget(rt, st->server);
}

void
spawn_canceled(struct runtime *rt, uint16_t from_slot, const struct envelope *e)
{
    struct start *st = find_start(rt, from_slot, e);
    if (st != NULL)
        unwanted(rt, st);
}

void
spawn_origin_gone(struct runtime *rt, struct origin *o, uint32_t session)
{
    list_each_safe(it, tmp, &o->starts) {
        struct start *st = list_item(it, struct start, link);
        if (st->from.node == 0 || st->from.session <= session)
            unwanted(rt, st);
    }
}

/* Only its slot is known of a requester on another node, in the call id. That is enough: the word of its death comes before its successor's first. */
void
spawn_remote_gone(struct runtime *rt, struct origin *o, const struct envelope *e)
{
    list_each_safe(it, tmp, &o->starts) {
        struct start *st = list_item(it, struct start, link);
        if (envelope_caller_slot(st->from.call_id) == e->slot && st->from.session == e->session)
            unwanted(rt, st);
    }
}

/* ---- configured servers */

/* A supervisor's init starts its children one by one, each with a limit of its own: this one only keeps it from being for ever. */
enum { BOOT_INIT_MS = 3600 * 1000 };

int
runtime_boot(struct runtime *rt, const char *behavior, nx_value args, int scope, const char *name,
             void (*done)(void *arg, int status, nx_ref ref, const struct base_error *why), void *arg, struct base_error *why)
{
    nx_packer packed;
    struct start *st;
    nx_from nobody = { 0 };
    value_packer_init(&packed, rt->config.limits.max_body);
    int err = nx_is_value(args) ? value_pack(&packed, args) : 0;
    if (err != 0) {
        value_packer_fini(&packed);
        return base_error_set(why, err, NULL, "arguments of %s: %s", behavior, nx_strerror(err));
    }
    nx_value bytes = value_packer_value(&packed);
    struct sys_spawn q = { .behavior = { behavior, strlen(behavior) }, .scope = scope, .init_timeout_ms = BOOT_INIT_MS,
                           .name = { name, name != NULL ? strlen(name) : 0 }, .args = { bytes.packed, bytes.packed_len } };
    err = spawn_begin(rt, &q, &nobody, &st, why);
    value_packer_fini(&packed);
    if (err != 0)
        return err;
    st->done = done;
    st->arg = arg;
    return 0;
}
