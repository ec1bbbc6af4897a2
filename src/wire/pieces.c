/*
 * pieces.c - cut a large body into messages of at most 64 KiB, and join them again.
 *
 * Lives here: the rule of the cut, and one unfinished body for each stream of a peer.
 * Never here: the order of sending; whom to tell about a body that was dropped.
 * Runs in: the link worker.
 */
#include "wire/pieces.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "wire/wire.h"

/* ---------------------------------------------------------------- cutting */

bool
pieces_next(const struct envelope *whole, const uint8_t *body, size_t *at, uint16_t stream, struct envelope *piece,
            uint8_t prefix[static WIRE_PIECE_PREFIX], const uint8_t **chunk, size_t *chunk_len)
{
    static const size_t done = SIZE_MAX;                  /* not body_len: an empty body is one message too */

    if (*at == done)
        return false;
    nx_assert(*at <= whole->body_len);
    *piece = *whole;
    piece->flags = 0;
    if (whole->body_len <= WIRE_PIECE_MAX) {
        *chunk = body;
        *chunk_len = whole->body_len;
        *at = done;
        return true;
    }

    size_t left = whole->body_len - *at;
    bool is_last = left <= WIRE_PIECE_MAX;
    *chunk = body + *at;
    *chunk_len = is_last ? left : WIRE_PIECE_MAX;
    *at = is_last ? done : *at + WIRE_PIECE_MAX;
    piece->flags = (uint8_t)(ENVELOPE_PIECE | (is_last ? 0 : ENVELOPE_MORE));
    piece->body_len = (uint32_t)(WIRE_PIECE_PREFIX + *chunk_len);
    wire_put16(prefix, stream);
    wire_put16(prefix + 2, 0);
    return true;
}

/* ---------------------------------------------------------------- joining */

enum { STREAM_GATE = SLOT_WORKERS_MAX, STREAM_LINK, STREAMS };

/* Idle: nothing is held. Joining: `bytes` is what has come of the body that `head` announced. Dropping: the body was too big, the
 * rest of it is still to come and must not be taken for the beginning of another. */
enum stream_state { STREAM_IDLE, STREAM_JOINING, STREAM_DROPPING };

struct stream {
    enum stream_state state;
    struct envelope head;
    struct buf bytes;
};

/* The streams of a peer are the slots of its node, so their number has a bound without a counter. */
struct pieces_joiner {
    size_t max_body;
    struct stream streams[STREAMS];
};

int
pieces_joiner_new(size_t max_body, struct pieces_joiner **out)
{
    nx_assert(max_body > 0);
    struct pieces_joiner *j = calloc(1, sizeof *j);
    if (j == NULL)
        return NX_ENOMEM;
    j->max_body = max_body;
    *out = j;
    return 0;
}

static void
stream_end(struct stream *s)
{
    buf_fini(&s->bytes);
    s->state = STREAM_IDLE;
}

void
pieces_joiner_clear(struct pieces_joiner *j)
{
    for (size_t i = 0; i < STREAMS; i++)
        stream_end(&j->streams[i]);
}

void
pieces_joiner_free(struct pieces_joiner **j)
{
    if (*j == NULL)
        return;
    pieces_joiner_clear(*j);
    free(*j);
    *j = NULL;
}

size_t
pieces_joiner_bytes(const struct pieces_joiner *j)
{
    size_t sum = 0;

    for (size_t i = 0; i < STREAMS; i++)
        sum += buf_len(&j->streams[i].bytes);
    return sum;
}

static struct stream *
find_stream(struct pieces_joiner *j, uint16_t number)
{
    if (number < SLOT_WORKERS_MAX)
        return &j->streams[number];
    if (number == SLOT_GATE)
        return &j->streams[STREAM_GATE];
    return number == SLOT_LINK ? &j->streams[STREAM_LINK] : NULL;
}

/* The remaining time may differ: it is computed anew for each frame. */
static bool
is_same_message(const struct envelope *a, const struct envelope *b)
{
    return a->kind == b->kind && a->slot == b->slot && a->serial == b->serial && a->call_id == b->call_id &&
           a->generation == b->generation;
}

/* The body that `piece` belongs to will not be delivered. */
static int
drop(struct stream *s, const struct envelope *piece, struct envelope *whole, int code)
{
    *whole = s->head;
    whole->body_len = 0;
    whole->remaining_ms = piece->remaining_ms;
    stream_end(s);
    if ((piece->flags & ENVELOPE_MORE) != 0)
        s->state = STREAM_DROPPING;
    return code;
}

int
pieces_join(struct pieces_joiner *j, const struct envelope *piece, const uint8_t *body, struct envelope *whole, struct buf *joined,
            struct base_error *why)
{
    nx_assert((piece->flags & ENVELOPE_PIECE) != 0 && piece->body_len >= WIRE_PIECE_PREFIX);
    const uint8_t *chunk = body + WIRE_PIECE_PREFIX;
    size_t len = piece->body_len - WIRE_PIECE_PREFIX;
    uint16_t number = wire_get16(body);
    struct stream *s = find_stream(j, number);

    if (s == NULL)
        return base_error_set(why, NX_EBADMSG, NULL, "pieces: stream %u is no worker's slot", number);
    if (len == 0)
        return base_error_set(why, NX_EBADMSG, NULL, "pieces: an empty piece in stream %u", number);
    if (s->state == STREAM_IDLE) {
        s->head = *piece;
        s->head.flags = 0;
        buf_init(&s->bytes, j->max_body);
        s->state = STREAM_JOINING;
    } else if (!is_same_message(&s->head, piece)) {
        return base_error_set(why, NX_EBADMSG, NULL, "pieces: another message began inside one in stream %u", number);
    }
    if (s->state == STREAM_DROPPING) {
        if ((piece->flags & ENVELOPE_MORE) == 0)
            s->state = STREAM_IDLE;
        return 0;
    }

    /* Memory grows with what has arrived; nothing a peer declares is allocated. */
    if (len > j->max_body - buf_len(&s->bytes)) {
        base_error_set(why, NX_ETOOBIG, NULL, "pieces: a body above %zu bytes in stream %u", j->max_body, number);
        return drop(s, piece, whole, NX_ETOOBIG);
    }
    int err = buf_put(&s->bytes, chunk, len);
    if (err != 0) {
        base_error_set(why, err, NULL, "pieces: no memory for a body in stream %u", number);
        return drop(s, piece, whole, err);
    }
    if ((piece->flags & ENVELOPE_MORE) != 0)
        return 0;
    *whole = s->head;
    whole->body_len = (uint32_t)buf_len(&s->bytes);
    whole->remaining_ms = piece->remaining_ms;            /* the latest is the truest */
    *joined = s->bytes;                                    /* moves */
    s->bytes = (struct buf){ .data = NULL };
    s->state = STREAM_IDLE;
    return 1;
}
