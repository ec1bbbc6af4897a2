/*
 * outbox.c - what a connection has to send: the batch of this turn, streams of messages that wait, the socket.
 *
 * Lives here: batches and their sealing, pieces of large bodies between other messages, both bounds, writing.
 * Never here: which connection a message takes (forward.c); when one closes (connection.c).
 * Runs in: the link worker.
 *
 * Bytes leave only after the open batch was sealed, since it is the end of `out`. A message goes straight into the batch, unless it is large, or another of
 * its process waits, or the socket does not keep up: then it waits in the stream of its process. Streams have their turns one message or piece
 * at a time, so no process keeps another waiting for long, and what this process itself says (heartbeats, names) passes them all.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <event2/event.h>

#include "base/clock.h"
#include "link/link_priv.h"

size_t
connection_queued(const struct conn *c)
{
    return buf_len(&c->out) + c->waiting_bytes;
}

void
connection_drop_waiting(struct conn *c)
{
    for (unsigned i = 0; i < LINK_SLOTS; i++)
        for (struct list *it = list_pop_front(&c->streams[i]); it != NULL; it = list_pop_front(&c->streams[i]))
            free(list_item(it, struct waiting, link));
    c->waiting_bytes = 0;
}

/* ---------------------------------------------------------------- the batch */

static int
seal(struct conn *c)
{
    if (!frame_has_open(c->sealer))
        return 0;
    int err = frame_seal(c->sealer, &c->out);
    if (err == 0)
        stats_add(c->l->stats, link_frames_out, 1);
    return err;
}

/* One message or piece into the open batch; seals and goes on when the batch is full. */
static int
batch_add(struct conn *c, const struct envelope *e, const uint8_t *prefix, const void *chunk, size_t len)
{
    int err = frame_add2(c->sealer, &c->out, e, prefix, chunk, len);
    if (err == NX_EFULL && (err = seal(c)) == 0)
        err = frame_add2(c->sealer, &c->out, e, prefix, chunk, len);
    if (err == 0 && frame_open_bytes(c->sealer) >= FRAME_SEAL_AT)
        err = seal(c);
    return err;
}

void
connection_put_raw(struct conn *c, const uint8_t *bytes, size_t len)
{
    if (c->state != CONN_HANDSHAKE || buf_put(&c->out, bytes, len) != 0)
        connection_fail(c, NODES_CONNECTION_CLOSED);
}

int
connection_put_control(struct conn *c, enum frame_type type, const uint8_t *payload, size_t len)
{
    int err = frame_put_control(c->sealer, &c->out, type, payload, len);
    if (err != 0)
        connection_protocol_error(c, "no room for a frame without messages");
    return err;
}

/* ---------------------------------------------------------------- streams */

/* One message or piece of the stream. A message whose time is over before its first piece has left is not sent: its caller has given up. */
static int
pump_one(struct conn *c, unsigned index, uint64_t now)
{
    struct waiting *w = list_item(c->streams[index].next, struct waiting, link);
    struct envelope piece;
    uint8_t prefix[WIRE_PIECE_PREFIX];
    const uint8_t *chunk;
    size_t len;
    bool is_over = w->at == 0 && clock_is_past(w->e.deadline_ns, now);
    if (is_over)
        stats_add(c->l->stats, expired, 1);
    if (!is_over && pieces_next(&w->e, w->body, &w->at, w->stream, &piece, prefix, &chunk, &len)) {
        piece.remaining_ms = clock_left_ms(w->e.deadline_ns, now);
        int err = batch_add(c, &piece, prefix, chunk, len);
        if (err != 0 || (piece.flags & ENVELOPE_MORE) != 0)
            return err;
    }
    list_remove(&w->link);
    c->waiting_bytes -= sizeof *w + w->e.body_len;
    free(w);
    return 0;
}

static void
pump_streams(struct conn *c)
{
    uint64_t now = loop_now_ns(c->l->loop);
    while (c->waiting_bytes > 0 && buf_len(&c->out) < LINK_BATCH) {
        while (list_is_empty(&c->streams[c->next_stream]))
            c->next_stream = (c->next_stream + 1) % LINK_SLOTS;
        unsigned index = c->next_stream;
        c->next_stream = (index + 1) % LINK_SLOTS;
        int err = pump_one(c, index, now);
        if (err != 0) {
            connection_protocol_error(c, nx_strerror(err));
            return;
        }
    }
}

static int
put_waiting(struct conn *c, unsigned index, uint16_t from_slot, const struct envelope *e, const void *body)
{
    struct waiting *w = malloc(sizeof *w + e->body_len);
    if (w == NULL)
        return NX_ENOMEM;
    w->e = *e;
    w->at = 0;
    w->stream = from_slot;
    if (e->body_len > 0)
        memcpy(w->body, body, e->body_len);
    list_init(&w->link);
    list_push_back(&c->streams[index], &w->link);
    c->waiting_bytes += sizeof *w + e->body_len;
    c->messages_out++;
    return 0;
}

int
connection_put(struct conn *c, uint16_t from_slot, const struct envelope *e, const void *body)
{
    bool is_own = from_slot == SLOT_LINK;
    if (c->state != CONN_FRAMES)
        return NX_ENODE;
    if (!envelope_kind_from_peer(e->kind) || e->flags != 0)
        return NX_EBADMSG;                   /* before it waits: later it could only end the link */
    if (e->body_len > (is_own ? WIRE_PIECE_MAX : c->l->conf->max_body))
        return NX_ETOOBIG;
    size_t queued = connection_queued(c);
    bool is_new_work = envelope_is_request(e->kind) || e->kind == KIND_CAST;
    if (is_new_work && queued > LINK_SOFT)
        return NX_EBUSY;
    if (queued > LINK_HARD - 2 * FRAME_MAX - e->body_len) {
        log_warn("link: closing peer=%s because=\"more than %d MiB wait for it\"", c->peer, LINK_HARD >> 20);
        connection_fail(c, NODES_CONNECTION_CLOSED);
        return NX_EBUSY;
    }
    unsigned index = link_slot_index(from_slot);
    nx_assert(index < LINK_SLOTS);
    bool is_slow = c->is_writing && buf_len(&c->out) >= LINK_BATCH && !is_own;
    if (e->body_len > WIRE_PIECE_MAX || is_slow || !list_is_empty(&c->streams[index]))
        return put_waiting(c, index, from_slot, e, body);
    if (batch_add(c, e, NULL, body, e->body_len) != 0) {
        connection_fail(c, NODES_CONNECTION_CLOSED);       /* out of memory, or of sequence numbers: a new link has both */
        return NX_ENODE;
    }
    c->messages_out++;
    return 0;
}

/* ---------------------------------------------------------------- writing */

static void
want_write(struct conn *c, bool wanted)
{
    if (wanted == c->is_writing)
        return;
    if (wanted && event_add(c->write_event, NULL) != 0) {
        connection_fail(c, NODES_CONNECTION_CLOSED);
        return;
    }
    if (!wanted)
        (void)event_del(c->write_event);
    c->is_writing = wanted;
}

/* Streams, the close frame behind them, the tag: then `out` may leave. */
static bool
prepare(struct conn *c)
{
    if (c->sealer == NULL)
        return true;
    bool has_messages = c->waiting_bytes > 0 || frame_has_open(c->sealer);
    pump_streams(c);
    if (c->state == CONN_DEAD)
        return false;
    if (c->close_frame != 0 && c->waiting_bytes == 0) {
        if (connection_put_control(c, FRAME_CLOSE, &c->close_frame, 1) != 0)
            return false;
        c->close_frame = 0;
        c->has_close_frame = true;
    }
    if (seal(c) != 0) {
        connection_fail(c, NODES_CONNECTION_CLOSED);
        return false;
    }
    if (has_messages)
        cluster_sent(c->l->cluster, link_time(c->l), c->id);
    return true;
}

/* Nothing is left to be written. */
static void
written(struct conn *c)
{
    want_write(c, false);
    if (c->state != CONN_CLOSING || c->is_delayed || c->is_shut)
        return;
    c->is_shut = true;
    if (!c->has_close_frame || shutdown(c->fd, SHUT_WR) != 0)
        connection_fail(c, c->close_reason);
}

void
connection_flush(struct conn *c)
{
    if (c->state != CONN_HANDSHAKE && c->state != CONN_FRAMES && c->state != CONN_CLOSING)
        return;
    for (size_t sum = 0; prepare(c);) {
        if (buf_len(&c->out) == 0) {
            written(c);
            return;
        }
        ssize_t n = sum < LINK_FLUSH ? send(c->fd, buf_data(&c->out), buf_len(&c->out), MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN) {
            connection_fail(c, NODES_CONNECTION_CLOSED);
            return;
        }
        if (n > 0) {
            sum += (size_t)n;
            buf_take(&c->out, (size_t)n);
            c->written_bytes += (size_t)n;
            stats_add(c->l->stats, link_bytes_out, n);
        }
        if (buf_len(&c->out) > 0) {          /* the socket is full, or others have their turn first */
            want_write(c, true);
            return;
        }
    }
}
