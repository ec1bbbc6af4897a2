/*
 * server.c - the life of a GenServer on this worker.
 *
 * Lives here: making it, finding it by its serial, putting messages to it, its end: terminate, those who waited for it, its memory.
 * Never here: init and who asked for it (spawn.c); running its callbacks (callback.c); having its names removed (gone.c).
 * Runs in: workers.
 *
 * SERVER_STARTING until its start is answered, SERVER_LIVE, then SERVER_ENDING while the registrar takes its names away: it takes no messages any more,
 * but monitors and stop requests still find it, so that they are answered after the names are gone.
 */
#include "genserver/genserver_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- beginning */

/* The place of its figures. An index of the behavior table stays with its name, so it is looked up once. */
static uint32_t
stats_index(struct runtime *rt, const char *name)
{
    size_t len = strlen(name);
    uintptr_t known = (uintptr_t)strtable_get(rt->stats_indexes, name, len);
    if (known != 0)
        return (uint32_t)(known - 1);
    uint32_t index;
    if (behaviors_find(shm_behaviors(rt->config.shm), name, len, &index) != 0 || index >= STATS_BEHAVIORS_MAX)
        return UINT32_MAX;
    (void)strtable_put(rt->stats_indexes, name, len, (void *)((uintptr_t)index + 1));      /* out of memory: found again next time */
    return index;
}

int
server_new(struct runtime *rt, struct module_code **code, struct server **out, struct base_error *why)
{
    if (table_count(rt->servers) >= rt->config.max_servers)
        return base_error_set(why, NX_EBUSY, NULL, "this worker runs %" PRIu32 " servers already", rt->config.max_servers);
    struct server *s = calloc(1, sizeof *s);
    if (s == NULL)
        return base_error_set(why, NX_ENOMEM, NULL, "no memory for another server");
    s->serial = ++rt->last_serial;
    if (table_put(rt->servers, s->serial, s) != 0) {
        free(s);
        return base_error_set(why, NX_ENOMEM, NULL, "no memory for another server");
    }
    s->code = *code;
    *code = NULL;
    s->behavior = module_code_behavior(s->code);
    s->stats_index = stats_index(rt, module_code_name(s->code));
    s->life = SERVER_STARTING;
    s->run = RUN_IDLE;
    list_init(&s->ready);
    list_push_back(&rt->all, &s->all);
    stats_add(rt->stats, servers_started, 1);
    stats_set(rt->stats, servers_live, table_count(rt->servers));
    if (s->stats_index < STATS_BEHAVIORS_MAX) {
        stats_add(rt->stats, behaviors[s->stats_index].starts, 1);
        stats_add(rt->stats, behaviors[s->stats_index].live, 1);
    }
    *out = s;
    return 0;
}

struct server *
server_find_any(struct runtime *rt, uint64_t serial)
{
    return serial != 0 ? table_get(rt->servers, serial) : NULL;
}

struct server *
server_find(struct runtime *rt, uint64_t serial)
{
    struct server *s = server_find_any(rt, serial);
    return s != NULL && s->life != SERVER_ENDING ? s : NULL;
}

nx_ref
server_ref(struct runtime *rt, const struct server *s)
{
    return route_self_ref(rt->config.route, s->serial);
}

struct belongings *
server_own(struct server *s)
{
    if (s->own != NULL)
        return s->own;
    struct belongings *own = calloc(1, sizeof *own);
    if (own == NULL)
        return NULL;
    list_init(&own->timers);
    list_init(&own->watches);
    list_init(&own->watchers);
    list_init(&own->asyncs);
    list_init(&own->subscriber);
    own->server = s;
    s->own = own;
    return own;
}

/* ---- messages to it */

int
server_put(struct runtime *rt, struct server *s, const struct envelope *e, const void *body)
{
    const nx_behavior *b = s->behavior;
    uint32_t max_messages = b->max_messages != 0 ? b->max_messages : rt->config.mailbox_messages;
    uint64_t max_bytes = b->max_bytes != 0 ? b->max_bytes : rt->config.mailbox_bytes;
    if (!mailbox_has_room(&s->mailbox, e->body_len, max_messages, max_bytes)) {
        stats_add(rt->stats, mailbox_full, 1);
        return NX_EMAILBOX;
    }
    struct msg *m = msg_new(e->kind == KIND_CALL ? MSG_CALL : MSG_CAST, e, body, e->body_len);
    if (m == NULL)
        return NX_ENOMEM;
    mailbox_put(&s->mailbox, m);
    scheduler_ready(rt, s);
    if (e->kind == KIND_CALL && e->node == 0 && s->wait != NULL && !s->wait->is_done)
        deadlock_check(rt, s, e->call_id);
    return 0;
}

void
server_put_info(struct runtime *rt, struct server *s, struct msg *m)
{
    if (s->life == SERVER_ENDING) {
        msg_free(&m);
        return;
    }
    mailbox_put(&s->mailbox, m);
    scheduler_ready(rt, s);
}

void
server_put_stop(struct runtime *rt, struct server *s, struct msg *m, bool first)
{
    if (s->life == SERVER_ENDING) {
        struct belongings *own = server_own(s);
        if (own == NULL) {            /* not a request, then (invoke_send): nobody is told */
            msg_free(&m);
            return;
        }
        m->next = own->stops;
        own->stops = m;
        return;
    }
    if (first)
        mailbox_put_first(&s->mailbox, m);
    else
        mailbox_put(&s->mailbox, m);
    scheduler_ready(rt, s);
}

void
server_cancel(struct runtime *rt, struct server *s)
{
    s->is_canceled = true;
    if (s->wait == NULL || (s->wait->runner->callback == CALLBACK_TERMINATE && !rt->stop_is_late))
        return;                       /* terminate waits for the end of others, each with a limit of its own */
    invoke_finish(rt, s->wait, NX_ECANCELED);
}

/* ---- its end */

static void
free_server(struct runtime *rt, struct server *s)
{
    spawn_forget(rt, s);
    (void)table_take(rt->servers, s->serial);
    list_remove(&s->all);
    list_remove(&s->ready);
    if (s->own != NULL)
        loop_timer_cancel(rt->config.loop, &s->own->gone_timer);
    free(s->own);
    module_code_unref(&s->code);
    free(s);
}

void
server_finish(struct runtime *rt, struct server *s)
{
    static const uint8_t nil = 0xc0;
    while (s->own != NULL && s->own->stops != NULL) {
        struct msg *m = s->own->stops;
        s->own->stops = m->next;
        nx_from from = answer_from(&m->envelope);
        (void)answer_value(rt, &from, KIND_REPLY, &nil, sizeof nil, NULL);
        msg_free(&m);
    }
    monitor_fire(rt, s, (nx_reason)s->reason);
    uint32_t index = s->stats_index;
    bool failed = s->reason == NX_ERROR;
    free_server(rt, s);
    stats_add(rt->stats, servers_stopped, 1);
    stats_set(rt->stats, servers_live, table_count(rt->servers));
    if (index < STATS_BEHAVIORS_MAX) {
        stats_add(rt->stats, behaviors[index].live, -1);
        if (failed)
            stats_add(rt->stats, behaviors[index].crashes, 1);
    }
    runtime_server_gone(rt);
}

static void
flush_mailbox(struct runtime *rt, struct server *s)
{
    char ref[NX_REF_TEXT_MAX], text[BASE_ERROR_TEXT];
    struct msg *m;
    while ((m = mailbox_take(&s->mailbox)) != NULL) {
        nx_from from = answer_from(&m->envelope);
        switch (m->what) {
        case MSG_CALL:
            if (nx_ref_text(server_ref(rt, s), ref, sizeof ref) != 0)
                ref[0] = '\0';
            (void)snprintf(text, sizeof text, "server %.384s is not running", ref);
            answer_code(rt, &from, NX_ENOSERVER, ref, text);
            break;
        case MSG_CAST:
            stats_add(rt->stats, casts_dropped, 1);
            break;
        case MSG_STOP:
            server_put_stop(rt, s, m, false);         /* it is ending: kept until it has */
            continue;
        }
        msg_free(&m);
    }
}

void
server_end(struct runtime *rt, struct server *s)
{
    if (s->has_state)
        callback_terminate(rt->current, s, (nx_reason)s->reason);
    s->life = SERVER_ENDING;
    s->run = RUN_IDLE;
    timers_forget(rt, s);
    invoke_forget_asyncs(rt, s);
    events_forget(rt, s);
    monitor_forget(rt, s, true);
    flush_mailbox(rt, s);
    if (!s->is_named || !gone_begin(rt, s))
        server_finish(rt, s);
}

void
server_drop(struct runtime *rt, struct server *s)
{
    timers_forget(rt, s);
    invoke_forget_asyncs(rt, s);
    events_forget(rt, s);
    monitor_forget(rt, s, false);
    monitor_forget_watchers(rt, s);
    if (s->own != NULL && s->own->gone_call != 0)
        (void)call_cancel(rt->config.calls, s->own->gone_call);
    for (struct msg *m; (m = mailbox_take(&s->mailbox)) != NULL; )
        msg_free(&m);
    while (s->own != NULL && s->own->stops != NULL) {
        struct msg *m = s->own->stops;
        s->own->stops = m->next;
        msg_free(&m);
    }
    free_server(rt, s);
}
