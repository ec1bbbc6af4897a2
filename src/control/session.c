/*
 * session.c - one client: its bytes in and out, and their bounds.
 *
 * Lives here: reading, framing, the queue of answers, back-pressure, the ways a client ends.
 * Never here: what a request means.
 * Runs in: the gate.
 *
 * An answer only joins `out`; the hook at the end of the turn writes it, so many answers are one write, and nothing that runs a
 * request can free its session.
 * Invariant: in_flight counts `requests`; is_paused or is_closing: nothing is read and nothing is run.
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

enum {
    READ_CHUNK = 64 << 10,
    TURN_REQUESTS = 64,                    /* of one client, before others have their turn */
    TURN_BYTES = 1 << 20,                  /* written to one client in a turn */
    LINGER_MS = 1000,                      /* for a client that was refused to take its last answer */
    LOG_PER_SECOND = 5
};

static void
want_turn(struct session *s)
{
    if (!list_is_linked(&s->ready))
        list_push_back(&s->control->ready, &s->ready);
}

void
session_break(struct session *s)
{
    s->is_broken = true;
    want_turn(s);
}

static void
set_reading(struct session *s, bool want)
{
    if (s->is_reading == want)
        return;
    int failed = want ? event_add(&s->read_event, NULL) : event_del(&s->read_event);
    if (failed != 0)
        session_break(s);
    s->is_reading = want;
}

static void
set_writing(struct session *s, bool want)
{
    if (s->is_writing == want)
        return;
    int failed = want ? event_add(&s->write_event, NULL) : event_del(&s->write_event);
    if (failed != 0)
        session_break(s);
    s->is_writing = want;
}

/* ---------------------------------------------------------------- requests */

/* The stream cannot be trusted any more: what a request ends with, and where the next one begins, is unknown. */
static void
refuse_stream(struct session *s, const struct base_error *why)
{
    struct control *c = s->control;
    uint32_t id;
    stats_add(c->stats, bad_messages, 1);
    if (log_gate_pass(&c->garbage_gate, LOG_PER_SECOND))
        log_warn("control: client refused reason=\"%s\"", why->text);
    if (rpc_peek_id(buf_data(&s->in), buf_len(&s->in), &id))
        session_put_error(s, id, why);
    buf_clear(&s->in);
    session_finish(s);
}

static int
run_one(struct session *s, const uint8_t *bytes, size_t len, struct base_error *why)
{
    struct rpc_message m;
    int err = rpc_parse(bytes, len, &m, why);
    if (err != 0)
        return err;
    if (m.kind == RPC_RESPONSE)
        return base_error_set(why, NX_EBADMSG, NULL, "message malformed: an answer, but this server asks nothing");
    request_run(s, &m);
    return 0;
}

static bool
can_run(const struct session *s)
{
    return !s->is_paused && !s->is_closing && !s->is_broken;
}

/* What has arrived, request by request. */
static void
run(struct session *s)
{
    struct base_error why = { 0 };
    for (int i = 0; can_run(s) && buf_len(&s->in) > 0; i++) {
        size_t len;
        if (i == TURN_REQUESTS) {
            want_turn(s);
            return;
        }
        int got = rpc_frame(&s->framer, buf_data(&s->in), buf_len(&s->in), s->in.max, &len, &why);
        if (got == 0)
            break;
        if (got == 1)
            got = run_one(s, buf_data(&s->in), len, &why);
        if (got < 0) {
            refuse_stream(s, &why);
            return;
        }
        buf_take(&s->in, len);
    }
    set_reading(s, can_run(s));
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct session *s = arg;
    uint8_t *room;
    size_t want = s->in.max - buf_len(&s->in);
    (void)what;

    if (want == 0) {                       /* whole requests wait for their turn: the hook runs them */
        set_reading(s, false);
        return;
    }
    if (want > READ_CHUNK)
        want = READ_CHUNK;
    if (buf_reserve(&s->in, want, &room) != 0) {
        session_drop(s);
        return;
    }
    ssize_t got = recv(fd, room, want, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        session_drop(s);
        return;
    }
    buf_commit(&s->in, (size_t)got);
    if (!list_is_linked(&s->ready))        /* else it has had its turn's share already */
        run(s);
}

/* ---------------------------------------------------------------- answers */

/* `err` of having put something into `out`. A client that does not take its answers loses its connection, not one answer among
 * many. */
static void
after_put(struct session *s, int err)
{
    want_turn(s);
    if (err != 0) {
        session_break(s);
        log_warn("control: client closed reason=\"%s\" queued=%zu",
                 err == NX_ETOOBIG ? "does not read its answers" : nx_strerror(err),
                 buf_len(&s->out));
    } else if (buf_len(&s->out) > CONTROL_OUT_SOFT) {
        s->is_paused = true;
        set_reading(s, false);
    }
}

void
session_put_result(struct session *s, uint32_t id, const void *result, size_t len)
{
    if (!s->is_broken)
        after_put(s, rpc_put_result(&s->out, id, result, len));
}

void
session_put_event(struct session *s, const void *params, size_t len)
{
    if (!s->is_broken && !s->is_closing)
        after_put(s, rpc_put_notification(&s->out, "event", params, len));
}

/* {code, name, text, subject?, appCode?, timeoutMs?} */
static int
pack_error(nx_packer *p, const struct base_error *why)
{
    uint32_t extra = (why->subject[0] != '\0') + (why->code == NX_EAPP || why->code == NX_EINIT) + (why->timeout_ms > 0);
    int err = rpc_put_map_head(&p->bytes, 3 + extra);
    if (err == 0)
        err = nx_pack(p, "s i s s s s", "code", why->code, "name", nx_errname(why->code), "text", why->text);
    if (err == 0 && why->subject[0] != '\0')
        err = nx_pack(p, "s s", "subject", why->subject);
    if (err == 0 && (why->code == NX_EAPP || why->code == NX_EINIT))
        err = nx_pack(p, "s I", "appCode", why->app_code);
    if (err == 0 && why->timeout_ms > 0)
        err = nx_pack(p, "s I", "timeoutMs", why->timeout_ms);
    return err;
}

void
session_put_error(struct session *s, uint32_t id, const struct base_error *why)
{
    nx_packer p;
    if (s->is_broken)
        return;
    value_packer_init(&p, CONTROL_RESULT_MAX);
    int err = pack_error(&p, why);
    if (err == 0)
        err = rpc_put_error(&s->out, id, buf_data(&p.bytes), buf_len(&p.bytes));
    value_packer_fini(&p);
    after_put(s, err);
}

/* True if all is written that the kernel takes now. */
static bool
flush(struct session *s)
{
    size_t budget = TURN_BYTES;
    while (buf_len(&s->out) > 0 && budget > 0) {
        size_t len = buf_len(&s->out) < budget ? buf_len(&s->out) : budget;
        ssize_t n = send(s->fd, buf_data(&s->out), len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            if (errno != EAGAIN)
                s->is_broken = true;
            break;
        }
        buf_take(&s->out, (size_t)n);
        budget -= (size_t)n;
    }
    set_writing(s, buf_len(&s->out) > 0);
    if (buf_len(&s->out) == 0 && s->out.cap > READ_CHUNK)
        buf_fini(&s->out);                 /* one big answer does not hold its memory for ever */
    return buf_len(&s->out) == 0;
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct session *s = arg;
    (void)fd, (void)what;
    want_turn(s);
}

bool
session_hook(struct session *s)
{
    bool is_empty = !s->is_broken && flush(s);
    if (s->is_broken || (s->is_closing && is_empty && s->in_flight == 0)) {
        session_drop(s);
        return false;
    }
    if (s->is_paused && buf_len(&s->out) < CONTROL_OUT_SOFT / 2)
        s->is_paused = false;
    if (can_run(s))
        run(s);
    return list_is_linked(&s->ready);
}

/* ---------------------------------------------------------------- life */

static void
on_linger(void *arg)
{
    session_drop(arg);
}

void
session_finish(struct session *s)
{
    s->is_closing = true;
    set_reading(s, false);
    list_each_safe(it, next, &s->requests)
        request_cancel(list_item(it, struct request, link));
    if (loop_timer_set(s->control->config.loop, &s->linger, control_now(s->control) + LINGER_MS * CLOCK_NS_PER_MS) != 0)
        s->is_broken = true;
    want_turn(s);
}

void
session_stop(struct session *s)
{
    s->is_closing = true;
    set_reading(s, false);
    want_turn(s);
}

void
session_request_done(struct session *s)
{
    nx_assert(s->in_flight > 0);
    s->in_flight--;
    if (s->is_closing)
        want_turn(s);
}

int
session_open(struct control *c, int fd)
{
    struct session *s = calloc(1, sizeof *s);
    if (s == NULL) {
        (void)close(fd);
        return NX_ENOMEM;
    }
    s->control = c;
    s->fd = fd;
    buf_init(&s->in, c->limits.max_body + CONTROL_ENVELOPE);
    buf_init(&s->out, CONTROL_OUT_HARD);
    list_init(&s->ready);
    list_init(&s->requests);
    loop_timer_init(&s->linger, on_linger, s);
    if (event_assign(&s->read_event, loop_borrow_base(c->config.loop), fd, EV_READ | EV_PERSIST, on_readable, s) != 0 ||
        event_assign(&s->write_event, loop_borrow_base(c->config.loop), fd, EV_WRITE | EV_PERSIST, on_writable, s) != 0 ||
        event_add(&s->read_event, NULL) != 0) {
        (void)close(fd);
        free(s);
        return NX_ENOMEM;
    }
    s->is_reading = true;
    list_push_back(&c->sessions, &s->link);
    c->session_count++;
    return 0;
}

static void
release(void *arg)
{
    struct session *s = arg;
    buf_fini(&s->in);
    buf_fini(&s->out);
    free(s);
}

void
session_drop(struct session *s)
{
    struct control *c = s->control;
    list_each_safe(it, next, &s->requests)
        request_cancel(list_item(it, struct request, link));
    set_reading(s, false);
    set_writing(s, false);
    (void)close(s->fd);                    /* a socket: nothing to be lost that is not lost already */
    loop_timer_cancel(c->config.loop, &s->linger);
    list_remove(&s->link);
    list_remove(&s->ready);
    nx_assert(c->session_count > 0);
    c->session_count--;
    control_events_forget(s);
    /* Its own callback may be running. */
    loop_defer(c->config.loop, &s->defer, release, s);
    control_check_stopped(c);
}
