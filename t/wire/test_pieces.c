/*
 * test_pieces.c - large bodies cut and joined: sizes around the cut, mixed streams, and what a hostile member can do with pieces.
 */
#include "wire/pieces.h"

#include <stdlib.h>
#include <string.h>

#include "unit.h"
#include "vector.h"
#include "wire/frame.h"
#include "wire/wire.h"

enum { MIB = 1 << 20 };
static const struct envelope head = { .kind = KIND_CALL, .slot = 3, .serial = 42, .call_id = 7, .remaining_ms = 900, .generation = 5 };

static uint8_t *
make_body(size_t len, unsigned seed)
{
    uint8_t *body = malloc(len + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(body);
    for (size_t i = 0; i < len; i++)
        body[i] = (uint8_t)(i * 31 + i / 65536 * 7 + seed);
    return body;
}

/* A piece as it stands in a frame. */
struct message { struct envelope e; uint8_t body[WIRE_PIECE_PREFIX + WIRE_PIECE_MAX]; };

static struct message *
make_piece(const struct envelope *e, uint8_t flags, uint16_t stream, const void *chunk, size_t len)
{
    struct message *m = malloc(sizeof *m);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    m->e = *e;
    m->e.flags = ENVELOPE_PIECE | flags;
    m->e.body_len = (uint32_t)(WIRE_PIECE_PREFIX + len);
    wire_put16(m->body, stream);
    wire_put16(m->body + 2, 0);
    if (len > 0)
        memcpy(m->body + WIRE_PIECE_PREFIX, chunk, len);
    return m;
}

static int
join(struct pieces_joiner *j, const struct envelope *e, uint8_t flags, uint16_t stream, const void *chunk, size_t len,
     struct envelope *whole, struct buf *joined)
{
    struct message *m = make_piece(e, flags, stream, chunk, len);
    int err = pieces_join(j, &m->e, m->body, whole, joined, NULL);
    free(m);
    return err;
}

/* Through real frames: cut, added, sealed, opened, joined. */
static void
round_trip(size_t len, unsigned expected_messages)
{
    struct vector v;
    struct frame_sealer *sealer = NULL;
    struct frame_opener *opener = NULL;
    struct pieces_joiner *j = NULL;
    struct buf wire, joined;
    struct envelope e = head, piece, whole;
    uint8_t *body = make_body(len, 1), prefix[WIRE_PIECE_PREFIX];
    const uint8_t *chunk;
    size_t at = 0, chunk_len;
    unsigned messages = 0, delivered = 0;

    vector_make(&v);
    buf_init(&wire, 0);
    CU_ASSERT_EQUAL_FATAL(frame_sealer_new(v.keys.data_ia, &sealer), 0);
    CU_ASSERT_EQUAL_FATAL(frame_opener_new(v.keys.data_ia, &opener), 0);
    CU_ASSERT_EQUAL_FATAL(pieces_joiner_new(MIB, &j), 0);
    e.body_len = (uint32_t)len;
    while (pieces_next(&e, body, &at, 3, &piece, prefix, &chunk, &chunk_len)) {
        int err = frame_add2(sealer, &wire, &piece, prefix, chunk, chunk_len);
        if (err == NX_EFULL) {
            CU_ASSERT_EQUAL_FATAL(frame_seal(sealer, &wire), 0);
            err = frame_add2(sealer, &wire, &piece, prefix, chunk, chunk_len);
        }
        CU_ASSERT_EQUAL_FATAL(err, 0);
        messages++;
    }
    CU_ASSERT_EQUAL_FATAL(frame_seal(sealer, &wire), 0);
    CU_ASSERT_EQUAL(messages, expected_messages);

    struct frame_view view;
    while (buf_len(&wire) > 0) {
        const uint8_t *got;
        size_t in = 0;
        CU_ASSERT_EQUAL_FATAL(frame_open(opener, buf_data(&wire), buf_len(&wire), &view, NULL), 1);
        while (frame_next(&view, &in, &piece, &got)) {
            if ((piece.flags & ENVELOPE_PIECE) == 0) {
                CU_ASSERT_EQUAL(piece.body_len, len);
                CU_ASSERT_EQUAL(memcmp(got, body, len), 0);
                delivered++;
                continue;
            }
            int done = pieces_join(j, &piece, got, &whole, &joined, NULL);
            CU_ASSERT_EQUAL(done, (piece.flags & ENVELOPE_MORE) == 0);
            if (done != 1)
                continue;
            CU_ASSERT_EQUAL(buf_len(&joined), len);
            CU_ASSERT_EQUAL(memcmp(buf_data(&joined), body, len), 0);
            CU_ASSERT_EQUAL(whole.body_len, len);
            CU_ASSERT_EQUAL(whole.flags, 0);
            CU_ASSERT_EQUAL(whole.kind, KIND_CALL);
            CU_ASSERT_EQUAL(whole.serial, 42);
            CU_ASSERT_EQUAL(whole.call_id, 7);
            CU_ASSERT_EQUAL(whole.generation, 5);
            CU_ASSERT_EQUAL(whole.remaining_ms, 900);
            buf_fini(&joined);
            delivered++;
        }
        buf_take(&wire, view.total);
    }
    CU_ASSERT_EQUAL(delivered, 1);
    CU_ASSERT_EQUAL(pieces_joiner_bytes(j), 0);
    pieces_joiner_free(&j);
    frame_sealer_free(&sealer);
    frame_opener_free(&opener);
    buf_fini(&wire);
    free(body);
}

UNIT(pieces, a_body_of_at_most_64_KiB_travels_as_it_is) { round_trip(0, 1); round_trip(1, 1); round_trip(65536, 1); }
UNIT(pieces, a_larger_body_comes_out_as_it_went_in)
{
    round_trip(65537, 2);
    round_trip(131072, 2);
    round_trip(131073, 3);
    round_trip(MIB - 1, 16);
    round_trip(MIB, 16);
}

UNIT(pieces, a_piece_is_marked_and_numbered_as_the_design_says)
{
    struct envelope e = head, piece;
    uint8_t *body = make_body(65537, 0), prefix[WIRE_PIECE_PREFIX];
    const uint8_t *chunk;
    size_t at = 0, len;

    e.body_len = 65537;
    CU_ASSERT_TRUE_FATAL(pieces_next(&e, body, &at, SLOT_GATE, &piece, prefix, &chunk, &len));
    CU_ASSERT_EQUAL(piece.flags, ENVELOPE_PIECE | ENVELOPE_MORE);
    CU_ASSERT_EQUAL(piece.body_len, 65540);
    CU_ASSERT_EQUAL(len, 65536);
    CU_ASSERT_PTR_EQUAL(chunk, body);
    CU_ASSERT_TRUE(vector_is(prefix, 4, "fffc 0000"));
    CU_ASSERT_TRUE_FATAL(pieces_next(&e, body, &at, SLOT_GATE, &piece, prefix, &chunk, &len));
    CU_ASSERT_EQUAL(piece.flags, ENVELOPE_PIECE);
    CU_ASSERT_EQUAL(piece.body_len, 5);
    CU_ASSERT_EQUAL(len, 1);
    CU_ASSERT_PTR_EQUAL(chunk, body + 65536);
    CU_ASSERT_FALSE(pieces_next(&e, body, &at, SLOT_GATE, &piece, prefix, &chunk, &len));
    CU_ASSERT_FALSE(pieces_next(&e, body, &at, SLOT_GATE, &piece, prefix, &chunk, &len));
    free(body);
}

UNIT(pieces, streams_of_different_workers_may_be_mixed)
{
    enum { STREAMS = 66, LEN = 200000 };
    struct pieces_joiner *j = NULL;
    uint8_t *bodies[STREAMS];
    size_t at[STREAMS] = { 0 };
    unsigned done = 0, steps = 0;

    CU_ASSERT_EQUAL_FATAL(pieces_joiner_new(MIB, &j), 0);
    for (unsigned i = 0; i < STREAMS; i++)
        bodies[i] = make_body(LEN, i);
    for (bool any = true; any; steps++) {
        any = false;
        for (unsigned i = 0; i < STREAMS; i++) {
            uint16_t stream = (uint16_t)(i < 64 ? i : i == 64 ? SLOT_GATE : SLOT_LINK);
            struct envelope e = head, piece, whole;
            uint8_t prefix[WIRE_PIECE_PREFIX];
            const uint8_t *chunk;
            size_t len;
            struct buf joined;
            e.body_len = LEN;
            e.call_id = i;
            if (!pieces_next(&e, bodies[i], &at[i], stream, &piece, prefix, &chunk, &len))
                continue;
            any = true;
            int err = join(j, &piece, piece.flags, stream, chunk, len, &whole, &joined);
            CU_ASSERT_EQUAL(err, steps == 3);
            if (err != 1)
                continue;
            CU_ASSERT_EQUAL(whole.call_id, i);
            CU_ASSERT_EQUAL(buf_len(&joined), LEN);
            CU_ASSERT_EQUAL(memcmp(buf_data(&joined), bodies[i], LEN), 0);
            buf_fini(&joined);
            done++;
        }
    }
    CU_ASSERT_EQUAL(done, STREAMS);
    CU_ASSERT_EQUAL(pieces_joiner_bytes(j), 0);
    for (unsigned i = 0; i < STREAMS; i++)
        free(bodies[i]);
    pieces_joiner_free(&j);
}

UNIT(pieces, a_sum_above_the_bound_is_told_once_and_the_rest_dropped)
{
    struct pieces_joiner *j = NULL;
    struct envelope whole, other = head;
    struct buf joined;

    other.call_id = 8;
    CU_ASSERT_EQUAL_FATAL(pieces_joiner_new(10, &j), 0);
    CU_ASSERT_EQUAL(join(j, &head, ENVELOPE_MORE, 3, "12345678", 8, &whole, &joined), 0);
    CU_ASSERT_EQUAL(join(j, &head, ENVELOPE_MORE, 3, "90x", 3, &whole, &joined), NX_ETOOBIG);
    CU_ASSERT_EQUAL(whole.call_id, 7);
    CU_ASSERT_EQUAL(whole.body_len, 0);
    CU_ASSERT_EQUAL(pieces_joiner_bytes(j), 0);
    CU_ASSERT_EQUAL(join(j, &head, ENVELOPE_MORE, 3, "more", 4, &whole, &joined), 0);
    CU_ASSERT_EQUAL(join(j, &head, 0, 3, "end", 3, &whole, &joined), 0);
    /* The stream is free again for the next body. */
    CU_ASSERT_EQUAL_FATAL(join(j, &other, 0, 3, "1234567890", 10, &whole, &joined), 1);
    CU_ASSERT_EQUAL(whole.call_id, 8);
    CU_ASSERT_EQUAL(buf_len(&joined), 10);
    buf_fini(&joined);
    /* Too big in its last piece: nothing is left to drop. */
    CU_ASSERT_EQUAL(join(j, &head, 0, 3, "12345678901", 11, &whole, &joined), NX_ETOOBIG);
    CU_ASSERT_EQUAL_FATAL(join(j, &other, 0, 3, "x", 1, &whole, &joined), 1);
    buf_fini(&joined);
    pieces_joiner_free(&j);
}

UNIT(pieces, another_header_in_mid_body_is_refused)
{
    struct envelope e, whole;
    struct buf joined;

    for (unsigned field = 0; field < 5; field++) {
        for (unsigned dropping = 0; dropping < 2; dropping++) {
            struct pieces_joiner *j = NULL;
            CU_ASSERT_EQUAL_FATAL(pieces_joiner_new(4, &j), 0);
            CU_ASSERT_EQUAL(join(j, &head, ENVELOPE_MORE, 3, "12345", dropping ? 5 : 2, &whole, &joined), dropping ? NX_ETOOBIG : 0);
            e = head;
            e.kind = field == 0 ? KIND_CAST : e.kind;
            e.slot ^= field == 1;
            e.serial ^= field == 2;
            e.call_id ^= field == 3;
            e.generation ^= field == 4;
            CU_ASSERT_EQUAL(join(j, &e, 0, 3, "x", 1, &whole, &joined), NX_EBADMSG);
            pieces_joiner_free(&j);
        }
    }
}

UNIT(pieces, the_remaining_time_of_the_last_piece_counts)
{
    struct pieces_joiner *j = NULL;
    struct envelope e = head, whole;
    struct buf joined;

    CU_ASSERT_EQUAL_FATAL(pieces_joiner_new(100, &j), 0);
    CU_ASSERT_EQUAL(join(j, &e, ENVELOPE_MORE, 3, "ab", 2, &whole, &joined), 0);
    e.remaining_ms = 850;
    CU_ASSERT_EQUAL_FATAL(join(j, &e, 0, 3, "c", 1, &whole, &joined), 1);
    CU_ASSERT_EQUAL(whole.remaining_ms, 850);
    CU_ASSERT_EQUAL(whole.body_len, 3);
    buf_fini(&joined);
    pieces_joiner_free(&j);
}

UNIT(pieces, a_stream_that_is_no_slot_and_an_empty_piece_are_refused)
{
    struct pieces_joiner *j = NULL;
    struct envelope whole;
    struct buf joined;

    CU_ASSERT_EQUAL_FATAL(pieces_joiner_new(100, &j), 0);
    CU_ASSERT_EQUAL(join(j, &head, ENVELOPE_MORE, 64, "ab", 2, &whole, &joined), NX_EBADMSG);
    CU_ASSERT_EQUAL(join(j, &head, ENVELOPE_MORE, SLOT_ANY, "ab", 2, &whole, &joined), NX_EBADMSG);
    CU_ASSERT_EQUAL(join(j, &head, ENVELOPE_MORE, 0xffff, "ab", 2, &whole, &joined), NX_EBADMSG);
    CU_ASSERT_EQUAL(join(j, &head, ENVELOPE_MORE, 63, "", 0, &whole, &joined), NX_EBADMSG);
    CU_ASSERT_EQUAL(join(j, &head, 0, 63, "", 0, &whole, &joined), NX_EBADMSG);
    pieces_joiner_free(&j);
}

UNIT(pieces, clear_drops_what_is_unfinished)
{
    struct pieces_joiner *j = NULL;
    struct envelope whole, other = head;
    struct buf joined;

    CU_ASSERT_EQUAL_FATAL(pieces_joiner_new(100, &j), 0);
    CU_ASSERT_EQUAL(join(j, &head, ENVELOPE_MORE, 3, "ab", 2, &whole, &joined), 0);
    CU_ASSERT_EQUAL(join(j, &head, ENVELOPE_MORE, SLOT_LINK, "abc", 3, &whole, &joined), 0);
    CU_ASSERT_EQUAL(pieces_joiner_bytes(j), 5);
    pieces_joiner_clear(j);
    CU_ASSERT_EQUAL(pieces_joiner_bytes(j), 0);
    other.call_id = 9;
    CU_ASSERT_EQUAL_FATAL(join(j, &other, 0, 3, "x", 1, &whole, &joined), 1);
    CU_ASSERT_EQUAL(buf_len(&joined), 1);
    buf_fini(&joined);
    CU_ASSERT_EQUAL(join(j, &head, ENVELOPE_MORE, 3, "ab", 2, &whole, &joined), 0);
    pieces_joiner_free(&j);                                /* with an unfinished body: the leak checker watches */
    pieces_joiner_free(&j);
    CU_ASSERT_PTR_NULL(j);
}
