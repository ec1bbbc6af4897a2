/*
 * connection.c - one TCP connection: its life, bytes in, the watch for progress, closing.
 *
 * Lives here: reading and taking frames apart, time limits, the close frame and the wait for the peer's end.
 * Never here: who the peer is, where a message goes; what waits to be written (outbox.c).
 * Runs in: the link worker.
 *
 * Nothing is freed inside a callback: a connection that ends is marked dead, reported to cluster/ and freed at the end of the turn. So a frame may end its
 * own connection while its messages are being delivered: the loop over them looks at the state.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/clock.h"
#include "link/link_priv.h"

static void on_timer(void *arg);

/* ---------------------------------------------------------------- life */

struct conn *
connection_new(struct link_worker *l, int fd, bool is_dialled, const char *peer)
{
    struct conn *c = calloc(1, sizeof *c);
    if (c == NULL || table_put(l->by_id, l->next_id, c) != 0) {
        free(c);
        if (fd >= 0)
            (void)close(fd);
        return NULL;
    }
    c->l = l;
    c->id = l->next_id++;
    c->fd = fd;
    c->is_dialled = is_dialled;
    c->state = is_dialled ? CONN_RESOLVING : CONN_HANDSHAKE;
    c->close_reason = NODES_CONNECTION_CLOSED;
    snprintf(c->peer, sizeof c->peer, "%s", peer);
    buf_init(&c->in, FRAME_MAX + LINK_READ);
    buf_init(&c->out, LINK_HARD + FRAME_MAX);
    for (unsigned i = 0; i < LINK_SLOTS; i++)
        list_init(&c->streams[i]);
    loop_timer_init(&c->timer, on_timer, c);
    list_push_back(&l->conns, &c->link);
    return c;
}

/* Its figures since last time, into the node table. */
static void
tell_figures(struct conn *c)
{
    struct nodes *nodes = shm_nodes(c->l->shm);
    struct nodes_entry e;
    if (c->node == 0 || nodes_get(nodes, c->node, &e) != 0)
        return;
    e.messages_sent += c->messages_out - c->told_out;
    e.messages_received += c->messages_in - c->told_in;
    e.bytes_sent += c->written_bytes - c->told_bytes_out;
    e.bytes_received += c->bytes_in - c->told_bytes_in;
    nodes_put(nodes, c->node, &e);
    c->told_out = c->messages_out;
    c->told_in = c->messages_in;
    c->told_bytes_out = c->written_bytes;
    c->told_bytes_in = c->bytes_in;
}

void
connection_free(struct conn *c)
{
    struct link_worker *l = c->l;
    tell_figures(c);
    dial_forget(c);
    if (c->node != 0 && l->by_node[c->node] == c)
        l->by_node[c->node] = NULL;
    (void)table_take(l->by_id, c->id);
    list_remove(&c->link);
    loop_timer_cancel(l->loop, &c->timer);
    if (c->read_event != NULL)
        event_free(c->read_event);
    if (c->write_event != NULL)
        event_free(c->write_event);
    if (c->fd >= 0)
        (void)close(c->fd);
    connection_drop_waiting(c);
    frame_sealer_free(&c->sealer);
    frame_opener_free(&c->opener);
    pieces_joiner_free(&c->joiner);
    buf_fini(&c->in);
    buf_fini(&c->out);
    free(c);
}

struct conn *
connection_find(struct link_worker *l, uint64_t id)
{
    struct conn *c = table_get(l->by_id, id);
    return c != NULL && c->state != CONN_DEAD ? c : NULL;
}

void
connection_fail(struct conn *c, enum nodes_reason reason)
{
    if (c->state == CONN_DEAD)
        return;
    if (c->state != CONN_CLOSING)
        c->close_reason = reason;
    c->state = CONN_DEAD;
    if (c->read_event != NULL)
        (void)event_del(c->read_event);
    if (c->write_event != NULL)
        (void)event_del(c->write_event);
    loop_timer_cancel(c->l->loop, &c->timer);
}

void
connection_protocol_error(struct conn *c, const char *text)
{
    if (log_gate_pass(&c->l->close_gate, LINK_LOGS_PER_S))
        log_warn("link: closing peer=%s because=\"%s\"", c->peer, text);
    stats_add(c->l->stats, bad_messages, 1);
    connection_fail(c, NODES_CONNECTION_CLOSED);
}

/* A connection without its timer could stay for ever. */
static void
set_timer(struct conn *c, uint64_t ms)
{
    if (loop_timer_set(c->l->loop, &c->timer, loop_now_ns(c->l->loop) + ms * CLOCK_NS_PER_MS) != 0)
        connection_fail(c, NODES_CONNECTION_CLOSED);
}

/* ---------------------------------------------------------------- reading */

static bool
may_pong(struct conn *c)
{
    uint64_t second = loop_now_ns(c->l->loop) / CLOCK_NS_PER_S;
    if (c->pong_second != second) {
        c->pong_second = second;
        c->pongs = 0;
    }
    return c->pongs++ < LINK_PONGS_PER_S;
}

static void
take_frame(struct conn *c, const struct frame_view *v)
{
    struct link_worker *l = c->l;
    stats_add(l->stats, link_frames_in, 1);
    if (v->type == FRAME_DATA) {
        struct envelope e;
        const uint8_t *body;
        for (size_t at = 0; c->state == CONN_FRAMES && frame_next(v, &at, &e, &body);) {
            c->messages_in++;
            if (e.kind >= KIND_SKIP_BEGIN && !envelope_kind_from_peer(e.kind))
                l->skipped++;
            else if (forward_from_peer(c, &e, body) != 0)
                connection_protocol_error(c, "a message that a peer may not send, or not yet");
        }
    } else if (v->type == FRAME_PING) {
        if (may_pong(c))
            (void)connection_put_control(c, FRAME_PONG, v->payload, v->len);
    } else if (v->type == FRAME_CLOSE) {
        uint8_t reason = v->payload[0];
        cluster_close_frame(l->cluster, link_time(l), c->id, reason);
        connection_fail(c, reason == FRAME_CLOSE_SHUTDOWN ? NODES_GRACEFUL_SHUTDOWN : NODES_CONNECTION_CLOSED);
    }
}

static void
read_frames(struct conn *c)
{
    bool any = false;
    while (c->state == CONN_FRAMES && buf_len(&c->in) > 0) {
        struct frame_view v;
        struct base_error why = { 0 };
        int got = frame_open(c->opener, buf_data(&c->in), buf_len(&c->in), &v, &why);
        if (got < 0) {
            connection_protocol_error(c, why.text);
            return;
        }
        if (got == 0)
            break;
        any = true;
        take_frame(c, &v);
        buf_take(&c->in, v.total);
    }
    c->frame_since_ns = buf_len(&c->in) == 0 ? 0 : any || c->frame_since_ns == 0 ? loop_now_ns(c->l->loop) : c->frame_since_ns;
    if (any && c->state == CONN_FRAMES)
        cluster_alive(c->l->cluster, link_time(c->l), c->id);
}

static void
take_bytes(struct conn *c)
{
    if (c->state == CONN_HANDSHAKE) {
        size_t taken = cluster_bytes(c->l->cluster, link_time(c->l), c->id, buf_data(&c->in), buf_len(&c->in));
        nx_assert(taken <= buf_len(&c->in));
        buf_take(&c->in, taken);
    }
    if (c->state == CONN_FRAMES)
        read_frames(c);
}

/* Closing, with a close frame: bytes left unread would make the kernel answer the peer with a reset, which may overtake the close frame. */
static void
drop_bytes(struct conn *c)
{
    uint8_t bytes[16 * 1024];
    for (int i = 0; i < LINK_READS_PER_TURN; i++) {
        ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            connection_fail(c, c->close_reason);
            return;
        }
    }
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    (void)what;
    if (c->state == CONN_CLOSING)
        drop_bytes(c);
    for (int i = 0; i < LINK_READS_PER_TURN && (c->state == CONN_HANDSHAKE || c->state == CONN_FRAMES); i++) {
        uint8_t *room;
        size_t want = c->state == CONN_HANDSHAKE ? HS_MAX : LINK_READ;
        if (buf_reserve(&c->in, want, &room) != 0) {
            connection_protocol_error(c, "out of memory for its bytes");
            return;
        }
        ssize_t n = recv(fd, room, want, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            connection_fail(c, NODES_CONNECTION_CLOSED);
            return;
        }
        buf_commit(&c->in, (size_t)n);
        c->bytes_in += (size_t)n;
        stats_add(c->l->stats, link_bytes_in, n);
        take_bytes(c);
        if ((size_t)n < want)
            return;
    }
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    (void)fd, (void)what;
    if (c->state != CONN_CONNECTING) {
        connection_flush(c);
        return;
    }
    int err = 0;
    socklen_t len = sizeof err;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0 || err != 0) {
        c->dial_error = err;
        dial_next(c);
        return;
    }
    (void)event_del(c->write_event);
    c->is_writing = false;
    loop_timer_cancel(c->l->loop, &c->timer);        /* from here on the handshake's own limit, in cluster/ */
    c->state = CONN_HANDSHAKE;
    if (event_add(c->read_event, NULL) != 0) {
        connection_fail(c, NODES_CONNECTION_REFUSED);
        return;
    }
    cluster_connected(c->l->cluster, link_time(c->l), c->id);
}

int
connection_watch(struct conn *c)
{
    struct event_base *base = loop_borrow_base(c->l->loop);
    c->read_event = event_new(base, c->fd, EV_READ | EV_PERSIST, on_readable, c);
    c->write_event = event_new(base, c->fd, EV_WRITE | EV_PERSIST, on_writable, c);
    if (c->read_event == NULL || c->write_event == NULL)
        return NX_ENOMEM;
    if (c->state == CONN_CONNECTING) {
        c->is_writing = true;
        return event_add(c->write_event, NULL) == 0 ? 0 : NX_ENOMEM;
    }
    return event_add(c->read_event, NULL) == 0 ? 0 : NX_ENOMEM;
}

void
connection_start_frames(struct conn *c, const uint8_t *send_key, const uint8_t *recv_key)
{
    if (c->state != CONN_HANDSHAKE)
        return;
    if (frame_sealer_new(send_key, &c->sealer) != 0 || frame_opener_new(recv_key, &c->opener) != 0 ||
        pieces_joiner_new(c->l->conf->max_body, &c->joiner) != 0) {
        log_error("link: out of memory for a link peer=%s", c->peer);
        connection_fail(c, NODES_CONNECTION_CLOSED);
        return;
    }
    c->state = CONN_FRAMES;
    c->progress_at_ns = c->key_since_ns = loop_now_ns(c->l->loop);
    set_timer(c, 1000);
}

/* ---------------------------------------------------------------- time and the end */

static void
renew_key(struct conn *c, uint64_t now)
{
    if (now - c->key_since_ns < LINK_KEY_S * CLOCK_NS_PER_S && frame_sealed_bytes(c->sealer) < LINK_KEY_BYTES)
        return;
    c->key_since_ns = now;
    (void)connection_put_control(c, FRAME_KEY_UPDATE, NULL, 0);
}

/* Each second. Progress is what the peer's kernel has acknowledged; without anything of ours waiting there is none to be made. */
static void
watch(struct conn *c)
{
    uint64_t now = loop_now_ns(c->l->loop);
    int unacked = 0;
    if (ioctl(c->fd, SIOCOUTQ, &unacked) != 0)
        unacked = 0;
    uint64_t acked = c->written_bytes - (uint64_t)unacked;
    if (acked != c->acked_bytes || connection_queued(c) == 0) {
        c->acked_bytes = acked;
        c->progress_at_ns = now;
    }
    tell_figures(c);
    if (now - c->progress_at_ns > LINK_STALL_S * CLOCK_NS_PER_S) {
        log_warn("link: closing peer=%s because=\"no progress for %d s\" queued=%zu", c->peer, LINK_STALL_S, connection_queued(c));
        connection_fail(c, NODES_CONNECTION_CLOSED);
        return;
    }
    if (c->frame_since_ns != 0 && now - c->frame_since_ns > LINK_FRAME_S * CLOCK_NS_PER_S) {
        connection_protocol_error(c, "a frame was not whole within 30 s");
        return;
    }
    renew_key(c, now);
    if (c->state == CONN_FRAMES)
        set_timer(c, 1000);
}

/* At an orderly stop what was accepted is still sent while the peer takes it, up to the limit of the stop. */
static void
closing_late(struct conn *c)
{
    struct link_worker *l = c->l;
    bool has_progress = c->written_bytes != c->acked_bytes;
    c->acked_bytes = c->written_bytes;
    if (c->close_reason == NODES_GRACEFUL_SHUTDOWN && !c->is_shut && has_progress && loop_now_ns(l->loop) < l->stop_deadline_ns)
        set_timer(c, LINK_CLOSE_MS);
    else
        connection_fail(c, c->close_reason);
}

static void
on_timer(void *arg)
{
    struct conn *c = arg;
    if (c->state == CONN_RESOLVING || c->state == CONN_CONNECTING) {
        log_info("link: dial failed peer=%s error=\"no %s in time\"", c->peer, c->state == CONN_RESOLVING ? "address" : "connection");
        connection_fail(c, NODES_CONNECTION_REFUSED);
    } else if (c->state == CONN_CLOSING)
        closing_late(c);
    else if (c->state == CONN_FRAMES)
        watch(c);
}

/* A silent refusal waits out its delay. A close frame goes behind what was accepted if the node stops (else that is dropped: the link is given up), and
 * then the peer's end is awaited, all of it for LINK_CLOSE_MS. */
void
connection_close(struct conn *c, int reason, uint32_t delay_ms)
{
    if (c->state == CONN_DEAD || c->state == CONN_CLOSING)
        return;
    if (c->state != CONN_FRAMES && c->state != CONN_HANDSHAKE) {
        connection_fail(c, NODES_CONNECTION_CLOSED);
        return;
    }
    tell_figures(c);
    c->close_frame = c->state == CONN_FRAMES ? (uint8_t)reason : 0;
    c->state = CONN_CLOSING;
    c->close_reason = reason == FRAME_CLOSE_SHUTDOWN ? NODES_GRACEFUL_SHUTDOWN : NODES_CONNECTION_CLOSED;
    c->acked_bytes = c->written_bytes;
    c->is_delayed = delay_ms > 0;
    if (reason != FRAME_CLOSE_SHUTDOWN)
        connection_drop_waiting(c);
    if (c->close_frame == 0 && c->read_event != NULL)
        (void)event_del(c->read_event);
    set_timer(c, delay_ms > 0 ? delay_ms : LINK_CLOSE_MS);
}
