/*
 * control.c - the control object: who is let in, what arrives from other processes, the orderly end.
 *
 * Lives here: accepting clients and its bound, the hook of the turn, deliver and process_gone, control_stop.
 * Never here: one client's bytes (session.c), what is asked (methods_*.c).
 * Runs in: the gate.
 */
#include "control/control_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <sys/socket.h>

#include "base/base.h"
#include "base/clock.h"

enum { ACCEPT_PER_TURN = 64, ACCEPT_AGAIN_MS = 100, LOG_PER_SECOND = 5 };

/* ---------------------------------------------------------------- clients come */

static void
on_accept_again(void *arg)
{
    struct control *c = arg;
    if (c->accept_event != NULL && event_add(c->accept_event, NULL) != 0)
        log_error("control: no more clients reason=\"event_add failed\"");
}

/* Without a descriptor to give, the same client would be announced again and again: rest a little. */
static void
rest(struct control *c, int errnum)
{
    if (log_gate_pass(&c->accept_gate, LOG_PER_SECOND))
        log_warn("control: accept failed reason=\"%s\"", strerror(errnum));
    if (loop_timer_set(c->config.loop, &c->accept_again, control_now(c) + ACCEPT_AGAIN_MS * CLOCK_NS_PER_MS) == 0)
        (void)event_del(c->accept_event);
}

static void
admit(struct control *c, int fd)
{
    if (c->session_count >= CONTROL_CLIENTS_MAX) {
        (void)close(fd);
        if (log_gate_pass(&c->accept_gate, LOG_PER_SECOND))
            log_warn("control: client refused reason=\"too many clients\" clients=%zu", c->session_count);
        return;
    }
    if (session_open(c, fd) != 0 && log_gate_pass(&c->accept_gate, LOG_PER_SECOND))
        log_warn("control: client refused reason=\"out of memory\"");
}

static void
on_accept(evutil_socket_t listen_fd, short what, void *arg)
{
    struct control *c = arg;
    (void)what;
    for (int i = 0; i < ACCEPT_PER_TURN; i++) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            admit(c, fd);
            continue;
        }
        int errnum = errno;
        if (errnum == EINTR || errnum == ECONNABORTED)
            continue;
        if (errnum != EAGAIN)
            rest(c, errnum);
        return;
    }
}

static void
stop_accepting(struct control *c)
{
    loop_timer_cancel(c->config.loop, &c->accept_again);
    if (c->accept_event != NULL)
        event_free(c->accept_event);
    c->accept_event = NULL;
    if (c->config.listen_fd >= 0)
        (void)close(c->config.listen_fd);
    c->config.listen_fd = -1;
}

/* ---------------------------------------------------------------- the turn */

static bool
on_turn(void *arg)
{
    struct control *c = arg;
    struct list now;
    list_init(&now);
    list_splice_back(&now, &c->ready);     /* who becomes ready meanwhile has the next turn */
    for (struct list *it; (it = list_pop_front(&now)) != NULL; )
        (void)session_hook(list_item(it, struct session, ready));
    return !list_is_empty(&c->ready);
}

/* ---------------------------------------------------------------- other processes */

void
control_deliver(struct control *c, uint16_t from_slot, const struct envelope *e, const uint8_t *body)
{
    /* A worker cannot speak for another node, nor for the link worker. */
    bool is_link = from_slot == SLOT_LINK;
    if (!is_link && e->node != 0) {
        stats_add(c->stats, bad_messages, 1);
    } else if (envelope_is_answer(e->kind)) {
        if (call_answer(c->config.calls, e, body) == 0)
            return;
        stats_add(c->stats, calls_late, 1);
        if (e->kind == KIND_SPAWN_REPLY)
            request_start_late(c, e, body);
    } else if (is_link && e->kind == KIND_NODE_EVENT) {
        control_events_node(c, e, body);
    } else if (is_link && e->kind == KIND_REMOTE_DOWN) {
        calls_fail_remote(c->config.calls, e->node, e->session, e->slot, e->generation);
    } else if (is_link && e->kind == KIND_REGISTRY_EVENT) {
        control_events_registry(c, e, body);
    } else if (is_link && e->kind == KIND_OWNER_READY) {
        control_events_owner_ready(c);
    } else if (envelope_is_request(e->kind)) {
        struct sys_error error = { .code = NX_ENOSERVER };
        struct buf out;
        buf_init(&out, 0);
        if (sys_error_encode(&error, &out) == 0)
            (void)route_answer(c->config.route, KIND_ERROR, e->node, e->session, e->call_id, e->deadline_ns, buf_data(&out),
                               buf_len(&out));
        buf_fini(&out);
    } else {
        stats_add(c->stats, bad_messages, 1);
    }
}

void
control_process_gone(struct control *c, uint16_t slot, uint32_t generation)
{
    if (slot == SLOT_LINK) {
        control_events_link_gone(c);
        calls_fail_nodes(c->config.calls);      /* without it no node can be reached, and no answer of one can arrive */
    }
    calls_fail_process(c->config.calls, slot, generation);
}

/* ---------------------------------------------------------------- life */

static void
stopped(void *arg)
{
    struct control *c = arg;
    loop_timer_cancel(c->config.loop, &c->stop_timer);
    c->stop_done(c->stop_arg);             /* may free c */
}

/* The last session may be going in its own callback, so `done` waits for the end of the turn. */
void
control_check_stopped(struct control *c)
{
    if (!c->is_stopping || c->is_stopped || c->session_count > 0)
        return;
    c->is_stopped = true;
    loop_defer(c->config.loop, &c->stop_defer, stopped, c);
}

static void
on_stop_deadline(void *arg)
{
    struct control *c = arg;
    list_each_safe(it, next, &c->sessions)
        session_drop(list_item(it, struct session, link));
}

void
control_free(struct control **control)
{
    struct control *c = *control;
    if (c == NULL)
        return;
    *control = NULL;
    c->is_stopped = true;                  /* no `done` any more */
    list_each_safe(it, next, &c->sessions)
        session_drop(list_item(it, struct session, link));
    stop_accepting(c);
    loop_timer_cancel(c->config.loop, &c->stop_timer);
    loop_undefer(&c->stop_defer);
    loop_remove_hook(c->config.loop, &c->hook);
    control_events_close(c);
    free(c);
}

int
control_new(const struct control_config *config, struct control **out, struct base_error *why)
{
    struct control *c = calloc(1, sizeof *c);
    if (c == NULL) {
        if (config->listen_fd >= 0)
            (void)close(config->listen_fd);
        return base_error_set(why, NX_ENOMEM, NULL, "control: out of memory");
    }
    c->config = *config;
    c->stats = shm_stats(config->shm, SLOT_GATE);
    c->limits = (struct value_limits)VALUE_LIMITS_DEFAULT;
    c->limits.max_body = config->conf->max_body;
    c->hook = (struct loop_hook){ .rank = LOOP_RANK_RUN, .fn = on_turn, .arg = c };
    list_init(&c->sessions);
    list_init(&c->ready);
    loop_timer_init(&c->accept_again, on_accept_again, c);
    loop_timer_init(&c->stop_timer, on_stop_deadline, c);
    loop_add_hook(config->loop, &c->hook);
    int err = control_events_open(c, why);
    if (err == 0 && config->listen_fd >= 0) {
        c->accept_event = event_new(loop_borrow_base(config->loop), config->listen_fd, EV_READ | EV_PERSIST, on_accept, c);
        if (c->accept_event == NULL || event_add(c->accept_event, NULL) != 0)
            err = base_error_set(why, NX_ENOMEM, NULL, "control: out of memory for the listening socket");
    }
    if (err != 0) {
        control_free(&c);
        return err;
    }
    *out = c;
    return 0;
}

void
control_stop(struct control *c, uint64_t deadline_ns, void (*done)(void *arg), void *arg)
{
    if (!c->is_stopping) {                 /* told again: only the deadline is another */
        c->is_stopping = true;
        c->stop_done = done;
        c->stop_arg = arg;
        stop_accepting(c);
        list_each_safe(it, next, &c->sessions)
            session_stop(list_item(it, struct session, link));
    }
    if (c->is_stopped)
        return;
    if (loop_timer_set(c->config.loop, &c->stop_timer, deadline_ns) != 0)
        on_stop_deadline(c);               /* without a timer nobody can be waited for */
    control_check_stopped(c);
}
