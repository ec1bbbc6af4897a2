/*
 * connection.c - one TCP connection: bytes in and out, frames sealed and opened, pieces of large bodies between other messages.
 *
 * Lives here: reading, the batch of a turn, writing, back-pressure, the watch for progress, closing.
 * Never here: who the peer is, where a message goes.
 * Runs in: the link worker.
 *
 * Nothing is freed inside a callback: a connection that ends is marked dead, reported to cluster/ and freed at the end of the turn. Bytes leave only at the end of
 * a turn, after the open batch was sealed.
 */
#include <errno.h>
#include <inttypes.h>
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

struct conn *
conn_new(struct link_worker *l, int fd, bool is_dialled, const char *peer)
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

void
conn_free(struct conn *c)
{
    struct link_worker *l = c->l;
    dial_cancel(c);
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
    for (unsigned i = 0; i < LINK_SLOTS; i++)
        for (struct list *it = list_pop_front(&c->streams[i]); it != NULL; it = list_pop_front(&c->streams[i]))
            free(list_item(it, struct waiting, link));
    frame_sealer_free(&c->sealer);
    frame_opener_free(&c->opener);
    pieces_joiner_free(&c->joiner);
    buf_fini(&c->in);
    buf_fini(&c->out);
    free(c);
}

struct conn *
conn_find(struct link_worker *l, uint64_t id)
{
    struct conn *c = table_get(l->by_id, id);
    return c != NULL && c->state != CONN_DEAD ? c : NULL;
}

size_t
conn_queued(const struct conn *c)
{
    return buf_len(&c->out) + c->waiting_bytes;
}

void
conn_fail(struct conn *c, enum nodes_reason reason)
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

/* ---------------------------------------------------------------- reading */

static void
protocol_error(struct conn *c, const char *text)
{
    log_warn("link: closing peer=%s because=\"%s\"", c->peer, text);
    stats_add(c->l->stats, bad_messages, 1);
    conn_fail(c, NODES_CONNECTION_CLOSED);
}

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
    c->frames_in++;
    stats_add(l->stats, link_frames_in, 1);
    if (v->type == FRAME_DATA) {
        struct envelope e;
        const uint8_t *body;
        for (size_t at = 0; c->state == CONN_FRAMES && frame_next(v, &at, &e, &body);) {
            c->messages_in++;
            if (e.kind >= KIND_SKIP_BEGIN)
                l->skipped++;
            else if (forward_from_peer(c, &e, body) != 0)
                protocol_error(c, "a message that a peer may not send");
        }
    } else if (v->type == FRAME_PING) {
        if (may_pong(c) && frame_put_control(c->sealer, &c->out, FRAME_PONG, v->payload, v->len) != 0)
            protocol_error(c, "no room for an answer to a ping");
    } else if (v->type == FRAME_CLOSE) {
        uint8_t reason = v->payload[0];
        c->close_reason = reason == FRAME_CLOSE_SHUTDOWN ? NODES_GRACEFUL_SHUTDOWN : NODES_CONNECTION_CLOSED;
        cluster_close_frame(l->cluster, link_time(l), c->id, reason);
        conn_fail(c, c->close_reason);
    }
}

static void
read_frames(struct conn *c)
{
    bool any = false;
    while (c->state == CONN_FRAMES && buf_len(&c->in) > 0) {
        const uint8_t *at = buf_data(&c->in);
        /* Until this is the way to its node, frames with messages wait: what the peer sent on an older link comes first. */
        c->is_paused = c->node == 0 && buf_len(&c->in) > 4 && at[4] == FRAME_DATA;
        if (c->is_paused)
            break;
        struct frame_view v;
        struct base_error why = { 0 };
        int got = frame_open(c->opener, at, buf_len(&c->in), &v, &why);
        if (got < 0) {
            protocol_error(c, why.text);
            return;
        }
        if (got == 0)
            break;
        any = true;
        take_frame(c, &v);
        buf_take(&c->in, v.total);
    }
    c->frame_since_ns = buf_len(&c->in) == 0 || c->is_paused ? 0 : any || c->frame_since_ns == 0 ? loop_now_ns(c->l->loop) : c->frame_since_ns;
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

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    (void)what;
    for (int i = 0; i < LINK_READS_PER_TURN && (c->state == CONN_HANDSHAKE || (c->state == CONN_FRAMES && !c->is_paused)); i++) {
        uint8_t *room;
        size_t want = c->state == CONN_HANDSHAKE ? HS_MAX : LINK_READ;
        if (buf_reserve(&c->in, want, &room) != 0) {
            protocol_error(c, "out of memory for its bytes");
            return;
        }
        ssize_t n = recv(fd, room, want, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            conn_fail(c, NODES_CONNECTION_CLOSED);
            return;
        }
        buf_commit(&c->in, (size_t)n);
        c->bytes_in += (size_t)n;
        stats_add(c->l->stats, link_bytes_in, n);
        take_bytes(c);
        if ((size_t)n < want)
            return;
    }
    if (c->is_paused && c->read_event != NULL)
        (void)event_del(c->read_event);                     /* level-triggered: it would spin */
}

void
conn_resume(struct conn *c)
{
    if (c->state != CONN_FRAMES)
        return;
    if (c->is_paused) {
        c->is_paused = false;
        (void)event_add(c->read_event, NULL);
    }
    read_frames(c);
}

/* ---------------------------------------------------------------- writing */

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    (void)fd, (void)what;
    if (c->state == CONN_CONNECTING) {
        int err = 0;
        socklen_t len = sizeof err;
        (void)event_del(c->write_event);
        c->is_writing = false;
        if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0 || err != 0) {
            log_debug("link: dial failed peer=%s error=\"%s\"", c->peer, strerror(err));
            conn_fail(c, NODES_CONNECTION_REFUSED);
            return;
        }
        loop_timer_cancel(c->l->loop, &c->timer);
        c->state = CONN_HANDSHAKE;
        (void)event_add(c->read_event, NULL);
        cluster_connected(c->l->cluster, link_time(c->l), c->id);
        return;
    }
    conn_flush(c);
}

int
conn_watch(struct conn *c)
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
conn_start_frames(struct conn *c, const uint8_t *send_key, const uint8_t *recv_key)
{
    if (c->state != CONN_HANDSHAKE)
        return;
    if (frame_sealer_new(send_key, &c->sealer) != 0 || frame_opener_new(recv_key, &c->opener) != 0 ||
        pieces_joiner_new(c->l->conf->max_body, &c->joiner) != 0) {
        log_error("link: out of memory for a link peer=%s", c->peer);
        conn_fail(c, NODES_CONNECTION_CLOSED);
        return;
    }
    c->state = CONN_FRAMES;
    c->progress_at_ns = loop_now_ns(c->l->loop);
    (void)loop_timer_set(c->l->loop, &c->timer, c->progress_at_ns + CLOCK_NS_PER_S);
}

void
conn_put_raw(struct conn *c, const uint8_t *bytes, size_t len)
{
    if (c->state != CONN_HANDSHAKE || buf_put(&c->out, bytes, len) != 0)
        conn_fail(c, NODES_CONNECTION_CLOSED);
}

/* One message or piece into the open batch; seals and goes on when the batch is full. */
static int
batch_add(struct conn *c, const struct envelope *e, const uint8_t *prefix, const void *chunk, size_t len)
{
    int err = frame_add2(c->sealer, &c->out, e, prefix, chunk, len);
    if (err == NX_EFULL && (err = frame_seal(c->sealer, &c->out)) == 0) {
        c->frames_out++;
        err = frame_add2(c->sealer, &c->out, e, prefix, chunk, len);
    }
    if (err == 0 && frame_open_bytes(c->sealer) >= FRAME_SEAL_AT) {
        err = frame_seal(c->sealer, &c->out);
        c->frames_out++;
    }
    return err;
}

/* Pieces, one of each stream in turn, while the socket keeps up. */
static void
pump_streams(struct conn *c)
{
    unsigned idle = 0;
    while (c->waiting_bytes > 0 && idle < LINK_SLOTS && buf_len(&c->out) < LINK_BATCH) {
        struct list *stream = &c->streams[c->next_stream];
        unsigned index = c->next_stream;
        c->next_stream = (c->next_stream + 1) % LINK_SLOTS;
        if (list_is_empty(stream)) {
            idle++;
            continue;
        }
        idle = 0;
        struct waiting *w = list_item(stream->next, struct waiting, link);
        struct envelope piece;
        uint8_t prefix[WIRE_PIECE_PREFIX];
        const uint8_t *chunk;
        size_t len;
        if (pieces_next(&w->e, w->body, &w->at, (uint16_t)index, &piece, prefix, &chunk, &len)) {
            int err = batch_add(c, &piece, prefix, chunk, len);
            if (err != 0) {
                protocol_error(c, nx_strerror(err));
                return;
            }
            if (piece.flags & ENVELOPE_MORE)
                continue;
        }
        list_remove(&w->link);
        c->waiting_bytes -= sizeof *w + w->e.body_len;
        free(w);
    }
}

int
conn_put(struct conn *c, uint16_t from_slot, const struct envelope *e, const void *body)
{
    if (c->state != CONN_FRAMES)
        return NX_ENODE;
    if (e->body_len > c->l->conf->max_body)
        return NX_ETOOBIG;
    size_t queued = conn_queued(c);
    bool is_new_work = envelope_is_request(e->kind) || e->kind == KIND_CAST;
    if (is_new_work && queued > LINK_SOFT)
        return NX_EBUSY;
    if (queued > LINK_HARD - 2 * FRAME_MAX - e->body_len) {
        log_warn("link: closing peer=%s because=\"more than %d MiB wait for it\"", c->peer, LINK_HARD >> 20);
        conn_fail(c, NODES_CONNECTION_CLOSED);
        return NX_EBUSY;
    }
    c->messages_out++;
    unsigned index = link_slot_index(from_slot);
    nx_assert(index < LINK_SLOTS);
    if (e->body_len <= WIRE_PIECE_MAX && list_is_empty(&c->streams[index])) {
        int err = batch_add(c, e, NULL, body, e->body_len);
        if (err == 0 || err == NX_EBADMSG)
            return err;
        conn_fail(c, NODES_CONNECTION_CLOSED);
        return NX_ENOMEM;
    }
    struct waiting *w = malloc(sizeof *w + e->body_len);
    if (w == NULL)
        return NX_ENOMEM;
    w->e = *e;
    w->at = 0;
    memcpy(w->body, body, e->body_len);
    list_init(&w->link);
    list_push_back(&c->streams[index], &w->link);
    c->waiting_bytes += sizeof *w + e->body_len;
    return 0;
}

static void
want_write(struct conn *c, bool wanted)
{
    if (wanted == c->is_writing || c->write_event == NULL)
        return;
    c->is_writing = wanted;
    if (wanted)
        (void)event_add(c->write_event, NULL);
    else
        (void)event_del(c->write_event);
}

void
conn_flush(struct conn *c)
{
    if (c->state != CONN_HANDSHAKE && c->state != CONN_FRAMES && c->state != CONN_CLOSING)
        return;
    for (;;) {
        if (c->sealer != NULL) {
            pump_streams(c);
            bool has_messages = frame_has_open(c->sealer);
            if (c->state == CONN_DEAD || frame_seal(c->sealer, &c->out) != 0) {
                conn_fail(c, NODES_CONNECTION_CLOSED);
                return;
            }
            if (has_messages) {
                c->frames_out++;
                stats_add(c->l->stats, link_frames_out, 1);
                cluster_sent(c->l->cluster, link_time(c->l), c->id);
            }
        }
        if (buf_len(&c->out) == 0)
            break;
        ssize_t n = send(c->fd, buf_data(&c->out), buf_len(&c->out), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            want_write(c, true);
            return;
        }
        if (n < 0) {
            conn_fail(c, NODES_CONNECTION_CLOSED);
            return;
        }
        buf_take(&c->out, (size_t)n);
        c->written_bytes += (size_t)n;
        stats_add(c->l->stats, link_bytes_out, n);
        if (buf_len(&c->out) > 0) {
            want_write(c, true);
            return;
        }
    }
    want_write(c, false);
    if (c->state == CONN_CLOSING && c->waiting_bytes == 0 && !c->is_delayed)
        conn_fail(c, c->close_reason);
}

/* ---------------------------------------------------------------- time and the end */

static void
watch_progress(struct conn *c)
{
    struct link_worker *l = c->l;
    uint64_t now = loop_now_ns(l->loop);
    int unacked = 0;
    if (ioctl(c->fd, SIOCOUTQ, &unacked) != 0)
        unacked = 0;
    uint64_t acked = c->written_bytes - (uint64_t)unacked;
    if (acked != c->acked_bytes || conn_queued(c) == 0) {
        c->acked_bytes = acked;
        c->progress_at_ns = now;
    }
    if (now - c->progress_at_ns > LINK_STALL_S * CLOCK_NS_PER_S) {
        log_warn("link: closing peer=%s because=\"no progress for %d s\" queued=%zu", c->peer, LINK_STALL_S, conn_queued(c));
        conn_fail(c, NODES_CONNECTION_CLOSED);
    } else if (c->frame_since_ns != 0 && now - c->frame_since_ns > LINK_FRAME_S * CLOCK_NS_PER_S) {
        protocol_error(c, "a frame was not whole within 30 s");
    } else {
        (void)loop_timer_set(l->loop, &c->timer, now + CLOCK_NS_PER_S);
    }
}

static void
on_timer(void *arg)
{
    struct conn *c = arg;
    if (c->state == CONN_RESOLVING || c->state == CONN_CONNECTING)
        conn_fail(c, NODES_CONNECTION_REFUSED);
    else if (c->state == CONN_CLOSING)
        conn_fail(c, c->close_reason);
    else if (c->state == CONN_FRAMES)
        watch_progress(c);
}

void
conn_close(struct conn *c, int reason, uint32_t delay_ms)
{
    if (c->state == CONN_DEAD || c->state == CONN_CLOSING)
        return;
    bool has_frames = c->state == CONN_FRAMES;
    if (!has_frames && c->state != CONN_HANDSHAKE) {
        conn_fail(c, NODES_CONNECTION_CLOSED);
        return;
    }
    if (has_frames && reason != 0) {
        uint8_t byte = (uint8_t)reason;
        /* Messages that wait for their turn as pieces go first: what was accepted is sent. */
        while (c->waiting_bytes > 0 && c->state == CONN_FRAMES && buf_len(&c->out) < LINK_BATCH)
            pump_streams(c);
        if (c->state == CONN_DEAD || frame_put_control(c->sealer, &c->out, FRAME_CLOSE, &byte, 1) != 0) {
            conn_fail(c, NODES_CONNECTION_CLOSED);
            return;
        }
    }
    c->state = CONN_CLOSING;
    c->close_reason = reason == FRAME_CLOSE_SHUTDOWN ? NODES_GRACEFUL_SHUTDOWN : NODES_CONNECTION_CLOSED;
    if (c->read_event != NULL)
        (void)event_del(c->read_event);
    loop_timer_cancel(c->l->loop, &c->timer);
    /* A silent refusal waits out its delay; a close frame leaves as soon as it is written, at the latest after LINK_CLOSE_MS. */
    c->is_delayed = delay_ms > 0;
    (void)loop_timer_set(c->l->loop, &c->timer, loop_now_ns(c->l->loop) + (delay_ms > 0 ? delay_ms : LINK_CLOSE_MS) * CLOCK_NS_PER_MS);
}
