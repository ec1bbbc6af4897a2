/*
 * runtime.c - the runtime of one worker: its beginning, what arrives, its end.
 *
 * Lives here: runtime_new and runtime_free, the dispatcher of messages that come in by pipes, the end of other processes, the orderly stop.
 * Never here: what each kind of message does.
 * Runs in: workers.
 */
#include "genserver/genserver_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct runtime *runtime_here;

/* ---- beginning and end */

int
runtime_new(const struct runtime_config *config, struct runtime **out, struct base_error *why)
{
    nx_assert(runtime_here == NULL);
    struct runtime *rt = calloc(1, sizeof *rt);
    if (rt == NULL)
        return base_error_set(why, NX_ENOMEM, NULL, "runtime: out of memory");
    rt->config = *config;
    rt->stats = shm_stats(config->shm, config->slot);
    list_init(&rt->all);
    list_init(&rt->ready);
    list_init(&rt->idle);
    list_init(&rt->runners);
    list_init(&rt->subscribers);
    list_init(&rt->unconfirmed);
    int err = rt->stats == NULL ? NX_EINVAL : 0;
    struct table **tables[] = { &rt->servers, &rt->origins, &rt->timers, &rt->watches, &rt->watchers };
    for (size_t i = 0; i < BASE_COUNT(tables) && err == 0; i++)
        err = table_new(tables[i]);
    if (err == 0)
        err = strtable_new(&rt->stats_indexes);
    if (err == 0)
        err = events_open(rt);
    if (err == 0)
        err = coroutine_adopt(&rt->main);
    if (err == 0)
        err = runner_new(rt, &rt->current);
    if (err != 0) {
        runtime_free(&rt);
        return base_error_set(why, err, NULL, "runtime: %s", nx_strerror(err));
    }
    rt->hook = (struct loop_hook){ .rank = LOOP_RANK_RUN, .fn = scheduler_turn, .arg = rt };
    list_init(&rt->hook.link);
    loop_add_hook(config->loop, &rt->hook);
    runtime_here = rt;
    *out = rt;
    return 0;
}

static void
free_origins(struct runtime *rt)
{
    size_t cursor = 0;
    struct origin *o;
    while (rt->origins != NULL && (o = table_next(rt->origins, &cursor, NULL)) != NULL)
        free(o);
}

void
runtime_free(struct runtime **runtime)
{
    struct runtime *rt = *runtime;
    *runtime = NULL;
    if (rt == NULL)
        return;
    nx_assert(!rt->in_turn);
    if (rt->hook.fn != NULL)
        loop_remove_hook(rt->config.loop, &rt->hook);
    if (rt->stop_timer.fn != NULL)
        loop_timer_cancel(rt->config.loop, &rt->stop_timer);
    if (rt->is_kicked)
        list_remove(&rt->kick.link);
    if (rt->stop_check_pending)
        list_remove(&rt->stop_check.link);
    /* What is parked is forgotten with its stack, so its calls must not end any more. */
    for (struct list *it = rt->all.next, *next; it != &rt->all; it = next) {
        struct server *s = list_item(it, struct server, all);
        next = it->next;
        if (s->wait != NULL && s->wait->kind == WAIT_SLEEP)
            loop_timer_cancel(rt->config.loop, &s->wait->alarm);
        else if (s->wait != NULL)
            (void)call_cancel(rt->config.calls, s->wait->call_id);
        server_drop(rt, s);
    }
    while (!list_is_empty(&rt->runners)) {
        struct runner *r = list_item(rt->runners.next, struct runner, every);
        runner_free(&r);
    }
    coroutine_free(&rt->main);
    gone_close(rt);
    free_origins(rt);
    events_close(rt);
    table_free(&rt->servers);
    table_free(&rt->origins);
    table_free(&rt->timers);
    table_free(&rt->watches);
    table_free(&rt->watchers);
    strtable_free(&rt->stats_indexes);
    if (runtime_here == rt)
        runtime_here = NULL;
    free(rt);
}

size_t
runtime_servers(const struct runtime *rt)
{
    return table_count(rt->servers);
}

/* ---- what arrives */

/* A call, cast or stop for one of our servers, as if it had been sent here. */
static void
to_server(struct runtime *rt, const struct envelope *e, const uint8_t *body)
{
    int err = e->generation == rt->config.generation ? invoke_send(rt, ROUTE_HERE, e, body) : NX_ENOSERVER;
    if (err == 0)
        return;
    if (e->kind == KIND_CAST) {
        stats_add(rt->stats, casts_dropped, 1);
        return;
    }
    nx_ref ref = route_self_ref(rt->config.route, e->serial);
    char text[NX_REF_TEXT_MAX], sentence[BASE_ERROR_TEXT];
    nx_from from = answer_from(e);
    ref.generation = e->generation;
    if (nx_ref_text(ref, text, sizeof text) != 0)
        text[0] = '\0';
    if (err == NX_ENOSERVER)
        (void)snprintf(sentence, sizeof sentence, "server %.384s is not running", text);
    else if (err == NX_EMAILBOX)
        (void)snprintf(sentence, sizeof sentence, "the mailbox of %.384s is full", text);
    else
        (void)snprintf(sentence, sizeof sentence, "%s: %.384s", nx_strerror(err), text);
    answer_code(rt, &from, err, text, sentence);
}

/* Does the sender speak for itself? A worker's calls carry its own slot; the link worker checks what comes from other nodes. */
static bool
is_own_call(uint16_t from_slot, const struct envelope *e)
{
    return from_slot == SLOT_LINK || (e->node == 0 && (e->call_id == 0 || envelope_caller_slot(e->call_id) == from_slot));
}

static void
answered(struct runtime *rt, uint16_t from_slot, const struct envelope *e, const uint8_t *body)
{
    const struct call_target *target = call_borrow_target(rt->config.calls, e->call_id);
    /* Another process of this node may answer only what was asked of it. */
    bool is_stray = target != NULL && target->node == 0 && target->slot != from_slot;
    if (!is_stray && call_answer(rt->config.calls, e, body) == 0)
        return;
    stats_add(rt->stats, calls_late, 1);
    if (e->kind == KIND_SPAWN_REPLY && !is_stray)
        start_late(rt, e, body);
}

/* A process of another node has died: e->slot and e->generation name it. */
static void
remote_process_gone(struct runtime *rt, const struct envelope *e)
{
    calls_fail_remote(rt->config.calls, e->node, e->session, e->slot, e->generation);
    struct origin *o = e->node != 0 ? origin_find(rt, e->node, 0) : NULL;
    if (o == NULL)
        return;
    monitor_remote_gone(rt, o, e);
    spawn_remote_gone(rt, o, e);
}

void
runtime_deliver(struct runtime *rt, uint16_t from_slot, const struct envelope *e, const uint8_t *body)
{
    if (envelope_is_answer(e->kind)) {
        answered(rt, from_slot, e, body);
        return;
    }
    if (!is_own_call(from_slot, e)) {
        stats_add(rt->stats, bad_messages, 1);
        return;
    }
    bool is_link = from_slot == SLOT_LINK;
    switch (e->kind) {
    case KIND_CALL: case KIND_CAST: case KIND_STOP: to_server(rt, e, body);                      return;
    case KIND_SPAWN:          spawn_incoming(rt, from_slot, e, body);                            return;
    case KIND_SPAWN_ACK:      spawn_acknowledged(rt, from_slot, e);                              return;
    case KIND_SPAWN_CANCEL:   spawn_canceled(rt, from_slot, e);                                  return;
    case KIND_MONITOR:        monitor_incoming(rt, from_slot, e, body);                          return;
    case KIND_MONITOR_EVENT:  monitor_event(rt, from_slot, e, body);                             return;
    case KIND_DEMONITOR:      monitor_removed(rt, from_slot, e, body);                           return;
    case KIND_DEADLOCK_PROBE: deadlock_probe(rt, from_slot, e, body);                            return;
    case KIND_LIST:           listing_answer(rt, e, body);                                       return;
    case KIND_NODE_EVENT:     if (is_link) { events_node(rt, e, body);     return; }             break;
    case KIND_REMOTE_DOWN:    if (is_link) { remote_process_gone(rt, e);   return; }             break;
    case KIND_REGISTRY_EVENT: if (is_link) { events_registry(rt, e, body); return; }             break;
    case KIND_OWNER_READY:    if (is_link) { events_owner_ready(rt);       return; }             break;
    default: break;
    }
    stats_add(rt->stats, bad_messages, 1);
}

void
runtime_process_gone(struct runtime *rt, uint16_t slot, uint32_t generation)
{
    calls_fail_process(rt->config.calls, slot, generation);
    struct origin *o = origin_find(rt, 0, slot);
    if (o != NULL) {
        monitor_origin_gone(rt, o, generation, NX_KILLED);
        spawn_origin_gone(rt, o, generation);
    }
    if (slot == SLOT_LINK)
        events_link_gone(rt);
}

/* ---- the orderly stop */

static bool
is_supervisor(const struct server *s)
{
    return strcmp(s->behavior->name, "supervisor") == 0;
}

static void
stop_server(struct runtime *rt, struct server *s)
{
    if (s->life == SERVER_ENDING) {
        if (rt->stop_is_late)
            server_give_up(rt, s);
        return;
    }
    if (!s->is_stopping) {
        struct msg *m = msg_new(MSG_STOP, NULL, NULL, 0);
        if (m == NULL)
            return;                   /* tried again when the next server has ended, or at the deadline */
        m->tag = NX_SHUTDOWN;
        s->is_stopping = true;
        server_put_stop(rt, s, m, !rt->stop_drains);
    }
    if (!rt->stop_drains || rt->stop_is_late)
        server_cancel(rt, s);
}

/* Supervisors first, so that they do not restart what is stopped; then the rest. Cheap enough to be asked at each server's end: those that
 * have been told are passed over, and the two walks over all are done once each. */
static void
stop_on(void *runtime)
{
    struct runtime *rt = runtime;
    rt->stop_check_pending = false;
    if (rt->stop_supervisors_first) {
        bool any = false;
        for (struct list *it = rt->all.next, *next; it != &rt->all; it = next) {
            struct server *s = list_item(it, struct server, all);
            next = it->next;
            if (is_supervisor(s)) {
                any = true;
                stop_server(rt, s);
            }
        }
        if (any && !rt->stop_is_late)
            return;
        rt->stop_supervisors_first = false;
        for (struct list *it = rt->all.next, *next; it != &rt->all; it = next) {
            struct server *s = list_item(it, struct server, all);
            next = it->next;
            stop_server(rt, s);
        }
    }
    if (list_is_empty(&rt->all) && rt->stop_done != NULL) {
        void (*done)(void *arg) = rt->stop_done;
        rt->stop_done = NULL;
        loop_timer_cancel(rt->config.loop, &rt->stop_timer);
        done(rt->stop_arg);
    }
}

/* At the end of the turn: a server may not be stopped, nor `done` be called, from inside another one's end. */
void
runtime_server_gone(struct runtime *rt)
{
    if (!rt->is_stopping || rt->stop_check_pending || (!rt->stop_supervisors_first && !list_is_empty(&rt->all)))
        return;
    rt->stop_check_pending = true;
    loop_defer(rt->config.loop, &rt->stop_check, stop_on, rt);
}

static void
on_stop_deadline(void *arg)
{
    struct runtime *rt = arg;
    rt->stop_is_late = true;
    rt->stop_supervisors_first = true;                /* both walks once more, now canceling */
    log_warn("genserver: stop is late, handlers that wait are given up servers=%zu", table_count(rt->servers));
    stop_on(rt);
}

void
runtime_stop(struct runtime *rt, bool drain, uint64_t deadline_ns, void (*done)(void *arg), void *arg)
{
    if (rt->stop_timer.fn != NULL)
        loop_timer_cancel(rt->config.loop, &rt->stop_timer);      /* asked once more, with another deadline */
    rt->is_stopping = true;
    rt->stop_drains = drain;
    rt->stop_supervisors_first = true;
    rt->stop_done = done;
    rt->stop_arg = arg;
    loop_timer_init(&rt->stop_timer, on_stop_deadline, rt);
    if (deadline_ns != 0 && loop_timer_set(rt->config.loop, &rt->stop_timer, deadline_ns) != 0)
        rt->stop_is_late = true;      /* without memory for a timer: do not wait for handlers at all */
    if (!rt->stop_check_pending) {
        rt->stop_check_pending = true;
        loop_defer(rt->config.loop, &rt->stop_check, stop_on, rt);
    }
}
