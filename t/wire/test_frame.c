/*
 * test_frame.c - frames: the recorded example in both directions, and everything a stranger or a hostile member can do to one.
 */
#include "wire/frame.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "unit.h"
#include "vector.h"
#include "wire/wire.h"

static const char example[] =
    "00000082 10 00 0002 0000000000000000"
    "0000000a 01 00 0003 000000000000002a 0000000000000001 00001388 00000001 81a474797065a3676574"
    "0000000c 02 00 0003 000000000000002a 0000000000000000 00000000 00000001 81a474797065a57265736574"
    "37de11b0b1881123b6cdc534fd51bf30c45f34c54bfe95414aa653a77538d2f1";
static const char get_body[] = "\x81\xa4type\xa3get", reset_body[] = "\x81\xa4type\xa5reset";
static const struct envelope get = {
    .body_len = 10, .kind = KIND_CALL, .slot = 3, .serial = 42, .call_id = 1, .remaining_ms = 5000, .generation = 1,
};
static const struct envelope reset = { .body_len = 12, .kind = KIND_CAST, .slot = 3, .serial = 42, .generation = 1 };
enum { EXAMPLE_LEN = 134 };

/* One direction of a link: what is sealed on one end and opened on the other. */
struct link {
    struct vector v;
    struct frame_sealer *sealer;
    struct frame_opener *opener;
    struct buf wire;
};

static void
link_up(struct link *l)
{
    memset(l, 0, sizeof *l);
    vector_make(&l->v);
    buf_init(&l->wire, 0);
    CU_ASSERT_EQUAL_FATAL(frame_sealer_new(l->v.keys.data_ia, &l->sealer), 0);
    CU_ASSERT_EQUAL_FATAL(frame_opener_new(l->v.keys.data_ia, &l->opener), 0);
}

static void
link_down(struct link *l)
{
    frame_sealer_free(&l->sealer);
    frame_opener_free(&l->opener);
    buf_fini(&l->wire);
    CU_ASSERT_PTR_NULL(l->sealer);
    CU_ASSERT_PTR_NULL(l->opener);
}

static int
open_bytes(struct link *l, const uint8_t *bytes, size_t len, struct base_error *why)
{
    struct frame_view view;
    return frame_open(l->opener, bytes, len, &view, why);
}

/* Sends one whole frame with a cast; it is the end of l->wire. Returns its length. */
static size_t
send_cast(struct link *l, const char *body)
{
    size_t before = buf_len(&l->wire);
    struct envelope e = reset;
    e.body_len = (uint32_t)strlen(body);
    CU_ASSERT_EQUAL_FATAL(frame_add(l->sealer, &l->wire, &e, body), 0);
    CU_ASSERT_EQUAL_FATAL(frame_seal(l->sealer, &l->wire), 0);
    return buf_len(&l->wire) - before;
}

/* Opens the first frame of the wire, expects this one cast in it, drops it. */
static void
receive_cast(struct link *l, const char *body)
{
    struct frame_view view;
    struct envelope e;
    const uint8_t *got;
    size_t at = 0;

    CU_ASSERT_EQUAL_FATAL(frame_open(l->opener, buf_data(&l->wire), buf_len(&l->wire), &view, NULL), 1);
    CU_ASSERT_EQUAL(view.count, 1);
    CU_ASSERT_TRUE_FATAL(frame_next(&view, &at, &e, &got));
    CU_ASSERT_EQUAL(e.body_len, strlen(body));
    CU_ASSERT_EQUAL(memcmp(got, body, e.body_len), 0);
    CU_ASSERT_FALSE(frame_next(&view, &at, &e, &got));
    buf_take(&l->wire, view.total);
}

/* ---------------------------------------------------------------- the recorded example */

UNIT(frame, the_example_is_sealed_byte_for_byte)
{
    struct link l;
    link_up(&l);
    CU_ASSERT_FALSE(frame_has_open(l.sealer));
    CU_ASSERT_EQUAL(frame_seal(l.sealer, &l.wire), 0);
    CU_ASSERT_EQUAL(buf_len(&l.wire), 0);
    CU_ASSERT_EQUAL(frame_add(l.sealer, &l.wire, &get, get_body), 0);
    CU_ASSERT_EQUAL(frame_add(l.sealer, &l.wire, &reset, reset_body), 0);
    CU_ASSERT_TRUE(frame_has_open(l.sealer));
    CU_ASSERT_EQUAL(frame_open_bytes(l.sealer), 86);
    CU_ASSERT_EQUAL(frame_seal(l.sealer, &l.wire), 0);
    CU_ASSERT_EQUAL_FATAL(buf_len(&l.wire), EXAMPLE_LEN);
    CU_ASSERT_TRUE(vector_is(buf_data(&l.wire), EXAMPLE_LEN, example));
    CU_ASSERT_FALSE(frame_has_open(l.sealer));
    CU_ASSERT_EQUAL(frame_open_bytes(l.sealer), 0);
    CU_ASSERT_EQUAL(frame_sealed_bytes(l.sealer), EXAMPLE_LEN);
    CU_ASSERT_EQUAL(frame_sealer_sequence(l.sealer), 1);
    link_down(&l);
}

UNIT(frame, the_example_is_opened_message_by_message)
{
    struct link l;
    struct frame_view view;
    struct envelope e;
    const uint8_t *body;
    uint8_t bytes[EXAMPLE_LEN];
    size_t at = 0;

    link_up(&l);
    vector_hex(example, bytes, sizeof bytes);
    CU_ASSERT_EQUAL_FATAL(frame_open(l.opener, bytes, sizeof bytes, &view, NULL), 1);
    CU_ASSERT_EQUAL(view.type, FRAME_DATA);
    CU_ASSERT_EQUAL(view.count, 2);
    CU_ASSERT_EQUAL(view.len, 86);
    CU_ASSERT_EQUAL(view.total, EXAMPLE_LEN);
    CU_ASSERT_TRUE_FATAL(frame_next(&view, &at, &e, &body));
    CU_ASSERT_EQUAL(e.kind, KIND_CALL);
    CU_ASSERT_EQUAL(e.slot, 3);
    CU_ASSERT_EQUAL(e.serial, 42);
    CU_ASSERT_EQUAL(e.call_id, 1);
    CU_ASSERT_EQUAL(e.remaining_ms, 5000);
    CU_ASSERT_EQUAL(e.generation, 1);
    CU_ASSERT_EQUAL(memcmp(body, get_body, 10), 0);
    CU_ASSERT_TRUE_FATAL(frame_next(&view, &at, &e, &body));
    CU_ASSERT_EQUAL(e.kind, KIND_CAST);
    CU_ASSERT_EQUAL(e.body_len, 12);
    CU_ASSERT_EQUAL(memcmp(body, reset_body, 12), 0);
    CU_ASSERT_FALSE(frame_next(&view, &at, &e, &body));
    link_down(&l);
}

UNIT(frame, the_selftest_passes)
{
    struct base_error why;
    CU_ASSERT_EQUAL(frame_selftest(&why), 0);
}

UNIT(frame, a_frame_cut_at_any_length_waits_for_more)
{
    struct link l;
    uint8_t bytes[EXAMPLE_LEN];
    link_up(&l);
    vector_hex(example, bytes, sizeof bytes);
    for (size_t len = 0; len < sizeof bytes; len++)
        CU_ASSERT_EQUAL(open_bytes(&l, bytes, len, NULL), 0);
    CU_ASSERT_EQUAL(open_bytes(&l, bytes, sizeof bytes, NULL), 1);
    link_down(&l);
}

UNIT(frame, each_single_bit_flipped_is_refused)
{
    struct link l;
    struct base_error why;
    uint8_t bytes[EXAMPLE_LEN + 70000] = { 0 };
    unsigned refused = 0, waiting = 0;

    link_up(&l);
    vector_hex(example, bytes, EXAMPLE_LEN);
    for (unsigned bit = 0; bit < EXAMPLE_LEN * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        /* A longer length waits for its bytes first; given any bytes, it is refused too. */
        int err = open_bytes(&l, bytes, EXAMPLE_LEN, &why);
        waiting += err == 0;
        if (err == 0)
            err = open_bytes(&l, bytes, sizeof bytes, &why);
        if (err == 0) {
            uint8_t *more = calloc(1, FRAME_MAX);
            CU_ASSERT_PTR_NOT_NULL_FATAL(more);
            memcpy(more, bytes, EXAMPLE_LEN);
            err = open_bytes(&l, more, FRAME_MAX, &why);
            free(more);
        }
        refused += err == NX_EBADMSG;
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    CU_ASSERT_EQUAL(refused, 1072);
    /* Of the 32 bits of the length 0x82 those that make it longer and stay in range: 0x1, 0x4 to 0x40, 0x100 to 0x10000. */
    CU_ASSERT_EQUAL(waiting, 15);
    CU_ASSERT_EQUAL(open_bytes(&l, bytes, EXAMPLE_LEN, NULL), 1);
    link_down(&l);
}

/* ---------------------------------------------------------------- the stream */

UNIT(frame, a_frame_replayed_is_refused)
{
    struct link l;
    struct base_error why;
    struct frame_view view;
    link_up(&l);
    send_cast(&l, "one");
    CU_ASSERT_EQUAL(frame_open(l.opener, buf_data(&l.wire), buf_len(&l.wire), &view, NULL), 1);
    CU_ASSERT_EQUAL(frame_open(l.opener, buf_data(&l.wire), buf_len(&l.wire), &view, &why), NX_EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "sequence number 0, expected 1"));
    link_down(&l);
}

UNIT(frame, frames_swapped_or_dropped_are_refused)
{
    struct link l;
    struct base_error why;
    link_up(&l);
    size_t first = send_cast(&l, "one");
    send_cast(&l, "two");
    CU_ASSERT_EQUAL(open_bytes(&l, buf_data(&l.wire) + first, buf_len(&l.wire) - first, &why), NX_EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "sequence number 1, expected 0"));
    receive_cast(&l, "one");
    receive_cast(&l, "two");
    link_down(&l);
}

UNIT(frame, a_frame_of_the_other_direction_or_of_another_session_is_refused)
{
    struct link l;
    struct base_error why;
    struct frame_opener *other = NULL;
    struct frame_view view;
    struct hs_keys k;

    link_up(&l);
    send_cast(&l, "one");
    CU_ASSERT_EQUAL_FATAL(frame_opener_new(l.v.keys.data_ai, &other), 0);
    CU_ASSERT_EQUAL(frame_open(other, buf_data(&l.wire), buf_len(&l.wire), &view, &why), NX_EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "wrong tag"));
    frame_opener_free(&other);

    l.v.h2[24] ^= 1;                                       /* another nonce, all else equal */
    CU_ASSERT_EQUAL(hs_derive(l.v.h1, l.v.h1_len, l.v.h2, l.v.h2_len, NULL, l.v.secret, sizeof l.v.secret, &k, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(frame_opener_new(k.data_ia, &other), 0);
    CU_ASSERT_EQUAL(frame_open(other, buf_data(&l.wire), buf_len(&l.wire), &view, &why), NX_EBADMSG);
    frame_opener_free(&other);
    link_down(&l);
}

UNIT(frame, the_sequence_ends_at_2_to_the_63)
{
    struct link l;
    uint8_t zero[8] = { 0 };

    link_up(&l);
    frame_sealer_jump(l.sealer, (UINT64_C(1) << 63) - 1);
    frame_opener_jump(l.opener, (UINT64_C(1) << 63) - 1);
    send_cast(&l, "the last");
    CU_ASSERT_EQUAL(frame_sealer_sequence(l.sealer), UINT64_C(1) << 63);
    receive_cast(&l, "the last");
    CU_ASSERT_EQUAL(frame_opener_sequence(l.opener), UINT64_C(1) << 63);
    CU_ASSERT_EQUAL(frame_put_control(l.sealer, &l.wire, FRAME_PING, zero, 8), NX_EFULL);
    CU_ASSERT_EQUAL(buf_len(&l.wire), 0);
    CU_ASSERT_EQUAL(frame_add(l.sealer, &l.wire, &get, get_body), 0);
    CU_ASSERT_EQUAL(frame_seal(l.sealer, &l.wire), NX_EFULL);
    CU_ASSERT_EQUAL(frame_sealer_sequence(l.sealer), UINT64_C(1) << 63);
    link_down(&l);
}

/* ---------------------------------------------------------------- frames signed by hand, as a hostile member would */

struct forged { uint8_t bytes[FRAME_MAX + 64]; size_t len; };

static void
forge(const struct link *l, struct forged *f, uint8_t type, uint8_t flags, uint32_t count, const uint8_t *payload, size_t len)
{
    size_t made = 0;
    wire_put32(f->bytes, (uint32_t)(44 + len));
    f->bytes[4] = type;
    f->bytes[5] = flags;
    wire_put16(f->bytes + 6, (uint16_t)count);
    wire_put64(f->bytes + 8, frame_opener_sequence(l->opener));
    if (len > 0)
        memmove(f->bytes + 16, payload, len);
    f->len = 16 + len + 32;
    CU_ASSERT_PTR_NOT_NULL_FATAL(EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, l->v.keys.data_ia, 32, f->bytes, 16 + len,
                                           f->bytes + 16 + len, 32, &made));
}

static void
refuses(struct link *l, uint8_t type, uint8_t flags, uint32_t count, const uint8_t *payload, size_t len, const char *part)
{
    struct forged *f = malloc(sizeof *f);
    struct base_error why = { .code = 0 };
    uint64_t before = frame_opener_sequence(l->opener);

    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    forge(l, f, type, flags, count, payload, len);
    CU_ASSERT_EQUAL(open_bytes(l, f->bytes, f->len, &why), NX_EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, part));
    CU_ASSERT_EQUAL(frame_opener_sequence(l->opener), before);
    free(f);
}

static void
accepts(struct link *l, uint8_t type, uint32_t count, const uint8_t *payload, size_t len)
{
    struct forged *f = malloc(sizeof *f);
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    forge(l, f, type, 0, count, payload, len);
    CU_ASSERT_EQUAL(open_bytes(l, f->bytes, f->len, NULL), 1);
    free(f);
}

static size_t
put_message(uint8_t *at, uint8_t kind, uint8_t flags, uint32_t body_len, size_t real_len)
{
    struct envelope e = { .body_len = body_len, .kind = kind, .flags = flags, .slot = 3, .serial = 42 };
    envelope_encode(&e, at);
    memset(at + WIRE_HEADER, 0, real_len);
    return WIRE_HEADER + real_len;
}

UNIT(frame, lengths_out_of_range_are_refused_before_the_rest_arrives)
{
    static const uint32_t bad[] = { 0, 1, 43, 44 + 131072 + 1, 1u << 31, UINT32_MAX };
    struct link l;
    struct base_error why;
    uint8_t bytes[4];

    link_up(&l);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        wire_put32(bytes, bad[i]);
        CU_ASSERT_EQUAL(open_bytes(&l, bytes, 4, &why), NX_EBADMSG);
        CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "length"));
    }
    wire_put32(bytes, 44);
    CU_ASSERT_EQUAL(open_bytes(&l, bytes, 4, NULL), 0);
    wire_put32(bytes, 44 + 131072);
    CU_ASSERT_EQUAL(open_bytes(&l, bytes, 4, NULL), 0);
    link_down(&l);
}

UNIT(frame, a_count_other_than_the_messages_is_refused)
{
    struct link l;
    uint8_t payload[200];
    link_up(&l);
    size_t len = put_message(payload, KIND_CALL, 0, 5, 5);
    len += put_message(payload + len, KIND_CALL, 0, 7, 7);
    refuses(&l, FRAME_DATA, 0, 0, payload, len, "1 to 4096");
    refuses(&l, FRAME_DATA, 0, 4097, payload, len, "1 to 4096");
    refuses(&l, FRAME_DATA, 0, 65535, payload, len, "1 to 4096");
    refuses(&l, FRAME_DATA, 0, 1, payload, len, "behind the last");
    refuses(&l, FRAME_DATA, 0, 3, payload, len, "fewer messages");
    refuses(&l, FRAME_DATA, 0, 0, NULL, 0, "1 to 4096");
    refuses(&l, FRAME_DATA, 0, 1, NULL, 0, "fewer messages");
    refuses(&l, FRAME_DATA, 0, 1, payload, 31, "fewer messages");
    accepts(&l, FRAME_DATA, 2, payload, len);
    link_down(&l);
}

UNIT(frame, inner_lengths_that_leave_the_frame_are_refused)
{
    static const uint32_t bad[] = { UINT32_MAX, UINT32_MAX - 31, 1u << 31, 11, 42, 10 + 32, 131072 };
    struct link l;
    uint8_t payload[200];
    link_up(&l);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        size_t len = put_message(payload, KIND_CALL, 0, bad[i], 10);
        refuses(&l, FRAME_DATA, 0, 1, payload, len, "over the end");
        len = put_message(payload, KIND_CALL, 0, 0, 0);
        len += put_message(payload + len, KIND_CALL, 0, bad[i], 10);
        refuses(&l, FRAME_DATA, 0, 2, payload, len, "over the end");
    }
    size_t len = put_message(payload, KIND_CALL, 0, 9, 10);
    refuses(&l, FRAME_DATA, 0, 1, payload, len, "behind the last");
    link_down(&l);
}

UNIT(frame, kinds_that_no_peer_may_send_are_refused_and_high_ones_are_left_in)
{
    struct link l;
    uint8_t payload[64];
    link_up(&l);
    for (unsigned kind = 0; kind < 256; kind++) {
        size_t len = put_message(payload, (uint8_t)kind, 0, 3, 3);
        if ((kind >= 1 && kind <= 21) || kind >= 128)
            accepts(&l, FRAME_DATA, 1, payload, len);
        else
            refuses(&l, FRAME_DATA, 0, 1, payload, len, "no peer may send");
    }
    link_down(&l);
}

UNIT(frame, reserved_flags_are_refused)
{
    struct link l;
    uint8_t payload[64];
    link_up(&l);
    for (unsigned bit = 0; bit < 8; bit++) {
        size_t len = put_message(payload, KIND_CALL, 0, 3, 3);
        refuses(&l, FRAME_DATA, (uint8_t)(1u << bit), 1, payload, len, "reserved");
        if (bit >= 2) {
            len = put_message(payload, KIND_CALL, (uint8_t)(1u << bit), 3, 3);
            refuses(&l, FRAME_DATA, 0, 1, payload, len, "reserved flag of a message");
        }
    }
    link_down(&l);
}

UNIT(frame, pieces_have_their_own_bounds)
{
    struct link l;
    uint8_t *payload = calloc(1, FRAME_MAX_PAYLOAD + 64);
    CU_ASSERT_PTR_NOT_NULL_FATAL(payload);
    link_up(&l);

    size_t len = put_message(payload, KIND_CALL, 0, 65536, 65536);
    accepts(&l, FRAME_DATA, 1, payload, len);
    len = put_message(payload, KIND_CALL, 0, 65537, 65537);
    refuses(&l, FRAME_DATA, 0, 1, payload, len, "in pieces");
    len = put_message(payload, KIND_CALL, ENVELOPE_PIECE, 65540, 65540);
    accepts(&l, FRAME_DATA, 1, payload, len);
    len = put_message(payload, KIND_CALL, ENVELOPE_PIECE | ENVELOPE_MORE, 65541, 65541);
    refuses(&l, FRAME_DATA, 0, 1, payload, len, "impossible length");
    len = put_message(payload, KIND_CALL, ENVELOPE_PIECE, 3, 3);
    refuses(&l, FRAME_DATA, 0, 1, payload, len, "impossible length");
    len = put_message(payload, KIND_CALL, ENVELOPE_MORE, 30, 30);
    refuses(&l, FRAME_DATA, 0, 1, payload, len, "what is no piece");
    for (unsigned bit = 0; bit < 16; bit++) {
        len = put_message(payload, KIND_CALL, ENVELOPE_PIECE, 30, 30);
        payload[WIRE_HEADER + 2 + bit / 8] = (uint8_t)(1u << bit % 8);
        refuses(&l, FRAME_DATA, 0, 1, payload, len, "reserved byte of a piece");
    }
    link_down(&l);
    free(payload);
}

UNIT(frame, types_have_their_payloads_and_others_are_refused)
{
    static const struct { uint8_t type; size_t len; } good[] = { { FRAME_PING, 8 }, { FRAME_PONG, 8 }, { FRAME_CLOSE, 1 } };
    struct link l;
    uint8_t payload[64] = { 0 };

    link_up(&l);
    for (size_t i = 0; i < 3; i++) {
        accepts(&l, good[i].type, 0, payload, good[i].len);
        refuses(&l, good[i].type, 0, 1, payload, good[i].len, "messages counted");
        refuses(&l, good[i].type, 0, 0, payload, good[i].len + 1, "wrong length");
        refuses(&l, good[i].type, 0, 0, payload, good[i].len - 1, "wrong length");
        refuses(&l, good[i].type, 1, 0, payload, good[i].len, "reserved");
    }
    refuses(&l, FRAME_KEY_UPDATE, 0, 0, payload, 1, "wrong length");
    refuses(&l, FRAME_KEY_UPDATE, 0, 1, NULL, 0, "messages counted");
    for (unsigned type = 0; type < 256; type++)
        if (type < 0x10 || type > 0x14)
            refuses(&l, (uint8_t)type, 0, 0, NULL, 0, "unknown type");
    link_down(&l);
}

UNIT(frame, the_tag_is_checked_before_anything_inside)
{
    struct link l;
    struct forged *f = malloc(sizeof *f);
    struct base_error why;
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    link_up(&l);
    forge(&l, f, 0x77, 0xff, 9999, NULL, 0);
    f->bytes[f->len - 1] ^= 1;
    CU_ASSERT_EQUAL(open_bytes(&l, f->bytes, f->len, &why), NX_EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "wrong tag"));
    f->bytes[15] ^= 1;
    CU_ASSERT_EQUAL(open_bytes(&l, f->bytes, f->len, &why), NX_EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "sequence number"));
    link_down(&l);
    free(f);
}

/* ---------------------------------------------------------------- sending */

UNIT(frame, a_batch_is_full_at_4096_messages)
{
    struct link l;
    struct envelope e = reset;
    struct frame_view view;
    link_up(&l);
    e.body_len = 0;
    for (unsigned i = 0; i < 4096; i++)
        CU_ASSERT_EQUAL_FATAL(frame_add(l.sealer, &l.wire, &e, NULL), 0);
    size_t before = buf_len(&l.wire);
    CU_ASSERT_EQUAL(frame_add(l.sealer, &l.wire, &e, NULL), NX_EFULL);
    CU_ASSERT_EQUAL(buf_len(&l.wire), before);
    CU_ASSERT_EQUAL(frame_seal(l.sealer, &l.wire), 0);
    CU_ASSERT_EQUAL(buf_len(&l.wire), FRAME_MAX);
    CU_ASSERT_EQUAL(frame_open(l.opener, buf_data(&l.wire), buf_len(&l.wire), &view, NULL), 1);
    CU_ASSERT_EQUAL(view.count, 4096);
    CU_ASSERT_EQUAL(frame_add(l.sealer, &l.wire, &e, NULL), 0);
    link_down(&l);
}

UNIT(frame, a_batch_never_passes_128_KiB)
{
    struct link l;
    struct envelope e = reset;
    struct frame_view view;
    uint8_t *body = calloc(1, WIRE_PIECE_MAX + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(body);
    link_up(&l);
    e.body_len = WIRE_PIECE_MAX + 1;
    CU_ASSERT_EQUAL(frame_add(l.sealer, &l.wire, &e, body), NX_ETOOBIG);
    CU_ASSERT_FALSE(frame_has_open(l.sealer));
    e.body_len = WIRE_PIECE_MAX;
    CU_ASSERT_EQUAL(frame_add(l.sealer, &l.wire, &e, body), 0);
    CU_ASSERT_EQUAL(frame_add(l.sealer, &l.wire, &e, body), NX_EFULL);
    e.body_len = FRAME_MAX_PAYLOAD - 2 * WIRE_HEADER - WIRE_PIECE_MAX + 1;
    CU_ASSERT_EQUAL(frame_add(l.sealer, &l.wire, &e, body), NX_EFULL);
    e.body_len--;
    CU_ASSERT_EQUAL(frame_add(l.sealer, &l.wire, &e, body), 0);
    CU_ASSERT_EQUAL(frame_open_bytes(l.sealer), FRAME_MAX_PAYLOAD);
    CU_ASSERT_EQUAL(frame_seal(l.sealer, &l.wire), 0);
    CU_ASSERT_EQUAL(buf_len(&l.wire), FRAME_MAX);
    CU_ASSERT_EQUAL(frame_open(l.opener, buf_data(&l.wire), buf_len(&l.wire), &view, NULL), 1);
    link_down(&l);
    free(body);
}

UNIT(frame, what_the_peer_would_refuse_is_not_added)
{
    struct link l;
    struct envelope e = reset;
    link_up(&l);
    for (unsigned kind = 0; kind < 256; kind++) {
        e.kind = (uint8_t)kind;
        CU_ASSERT_EQUAL(frame_add(l.sealer, &l.wire, &e, reset_body), (kind >= 1 && kind <= 21) || kind == 128 ? 0 : NX_EBADMSG);
    }
    e.kind = KIND_CALL;
    for (unsigned flags = 1; flags < 256; flags++) {
        e.flags = (uint8_t)flags;
        CU_ASSERT_EQUAL(frame_add(l.sealer, &l.wire, &e, reset_body), NX_EBADMSG);
        e.body_len = (flags & ENVELOPE_PIECE) != 0 ? 16 : 12;
        CU_ASSERT_EQUAL(frame_add2(l.sealer, &l.wire, &e, (const uint8_t *)"\0\3\0", reset_body, 12),
                        flags == 2 || flags == 3 ? 0 : NX_EBADMSG);
        e.body_len = 12;
    }
    CU_ASSERT_EQUAL(frame_seal(l.sealer, &l.wire), 0);
    struct frame_view view;
    CU_ASSERT_EQUAL(frame_open(l.opener, buf_data(&l.wire), buf_len(&l.wire), &view, NULL), 1);
    CU_ASSERT_EQUAL(view.count, 24);
    link_down(&l);
}

UNIT(frame, a_full_buffer_leaves_the_batch_as_it_was)
{
    struct link l;
    struct frame_view view;
    link_up(&l);
    l.wire.max = FRAME_HEADER + 2 * (WIRE_HEADER + 12) + FRAME_TAG;
    CU_ASSERT_EQUAL(frame_add(l.sealer, &l.wire, &reset, reset_body), 0);
    CU_ASSERT_EQUAL(frame_add(l.sealer, &l.wire, &reset, reset_body), 0);
    CU_ASSERT_EQUAL(frame_add(l.sealer, &l.wire, &reset, reset_body), NX_ETOOBIG);
    CU_ASSERT_EQUAL(frame_seal(l.sealer, &l.wire), 0);
    CU_ASSERT_EQUAL(frame_open(l.opener, buf_data(&l.wire), buf_len(&l.wire), &view, NULL), 1);
    CU_ASSERT_EQUAL(view.count, 2);
    link_down(&l);
}

UNIT(frame, control_frames_seal_the_open_batch_first)
{
    struct link l;
    struct frame_view view;
    uint8_t token[8] = "12345678", reason = FRAME_CLOSE_MOVED;

    link_up(&l);
    CU_ASSERT_EQUAL(frame_add(l.sealer, &l.wire, &get, get_body), 0);
    CU_ASSERT_EQUAL(frame_put_control(l.sealer, &l.wire, FRAME_PING, token, 8), 0);
    CU_ASSERT_EQUAL(frame_put_control(l.sealer, &l.wire, FRAME_CLOSE, &reason, 1), 0);
    CU_ASSERT_EQUAL_FATAL(frame_open(l.opener, buf_data(&l.wire), buf_len(&l.wire), &view, NULL), 1);
    CU_ASSERT_EQUAL(view.type, FRAME_DATA);
    buf_take(&l.wire, view.total);
    CU_ASSERT_EQUAL_FATAL(frame_open(l.opener, buf_data(&l.wire), buf_len(&l.wire), &view, NULL), 1);
    CU_ASSERT_EQUAL(view.type, FRAME_PING);
    CU_ASSERT_EQUAL(view.len, 8);
    CU_ASSERT_EQUAL(memcmp(view.payload, token, 8), 0);
    buf_take(&l.wire, view.total);
    CU_ASSERT_EQUAL_FATAL(frame_open(l.opener, buf_data(&l.wire), buf_len(&l.wire), &view, NULL), 1);
    CU_ASSERT_EQUAL(view.type, FRAME_CLOSE);
    CU_ASSERT_EQUAL(view.payload[0], FRAME_CLOSE_MOVED);
    CU_ASSERT_EQUAL(view.total, buf_len(&l.wire));
    struct envelope e;
    const uint8_t *body;
    size_t at = 0;
    CU_ASSERT_FALSE(frame_next(&view, &at, &e, &body));
    link_down(&l);
}

/* ---------------------------------------------------------------- key update */

UNIT(frame, a_key_update_changes_the_key_and_keeps_the_sequence)
{
    struct link l;
    struct frame_view view;

    link_up(&l);
    send_cast(&l, "old key");
    receive_cast(&l, "old key");
    for (unsigned round = 1; round <= 3; round++) {
        CU_ASSERT_EQUAL(frame_put_control(l.sealer, &l.wire, FRAME_KEY_UPDATE, NULL, 0), 0);
        CU_ASSERT_EQUAL(frame_sealed_bytes(l.sealer), 0);
        if (round != 2)                                    /* round 2 and 3: twice in a row */
            send_cast(&l, "new key");
        CU_ASSERT_EQUAL_FATAL(frame_open(l.opener, buf_data(&l.wire), buf_len(&l.wire), &view, NULL), 1);
        CU_ASSERT_EQUAL(view.type, FRAME_KEY_UPDATE);
        buf_take(&l.wire, view.total);
        if (round != 2)
            receive_cast(&l, "new key");
    }
    CU_ASSERT_EQUAL(frame_sealer_sequence(l.sealer), 6);
    CU_ASSERT_EQUAL(frame_opener_sequence(l.opener), 6);
    link_down(&l);
}

UNIT(frame, the_key_after_an_update_is_that_of_the_vector)
{
    struct link l;
    struct frame_opener *next = NULL;
    struct frame_view view;
    uint8_t key[32];

    link_up(&l);
    CU_ASSERT_EQUAL(frame_put_control(l.sealer, &l.wire, FRAME_KEY_UPDATE, NULL, 0), 0);
    buf_clear(&l.wire);
    send_cast(&l, "new key");
    vector_hex("4651869506529e3baa7a6cc0c105476c675aa8cf47bc7fa28657d4a035525738", key, 32);
    CU_ASSERT_EQUAL_FATAL(frame_opener_new(key, &next), 0);
    frame_opener_jump(next, 1);
    CU_ASSERT_EQUAL(frame_open(next, buf_data(&l.wire), buf_len(&l.wire), &view, NULL), 1);
    frame_opener_free(&next);
    link_down(&l);
}

/* Both ends could forget to move on in the same way; this opener cannot. */
UNIT(frame, the_second_update_goes_on_from_the_first)
{
    struct link l;
    struct frame_opener *next = NULL;
    struct frame_view view;
    uint8_t first[32], second[32];

    link_up(&l);
    CU_ASSERT_EQUAL(hs_next_key(l.v.keys.data_ia, first), 0);
    CU_ASSERT_EQUAL(hs_next_key(first, second), 0);
    CU_ASSERT_EQUAL(frame_put_control(l.sealer, &l.wire, FRAME_KEY_UPDATE, NULL, 0), 0);
    CU_ASSERT_EQUAL(frame_put_control(l.sealer, &l.wire, FRAME_KEY_UPDATE, NULL, 0), 0);
    buf_clear(&l.wire);
    send_cast(&l, "third key");
    CU_ASSERT_EQUAL_FATAL(frame_opener_new(second, &next), 0);
    frame_opener_jump(next, 2);
    CU_ASSERT_EQUAL(frame_open(next, buf_data(&l.wire), buf_len(&l.wire), &view, NULL), 1);
    frame_opener_free(&next);
    link_down(&l);
}

UNIT(frame, a_frame_under_the_old_or_a_future_key_is_refused)
{
    struct link l;
    struct base_error why;
    struct frame_view view;

    link_up(&l);
    /* The sender has updated, the receiver has not seen it: a future key. */
    CU_ASSERT_EQUAL(frame_put_control(l.sealer, &l.wire, FRAME_KEY_UPDATE, NULL, 0), 0);
    size_t update = buf_len(&l.wire);
    send_cast(&l, "one");
    frame_opener_jump(l.opener, 1);
    CU_ASSERT_EQUAL(open_bytes(&l, buf_data(&l.wire) + update, buf_len(&l.wire) - update, &why), NX_EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "wrong tag"));
    /* The receiver has updated; a frame signed with the old key comes. */
    frame_opener_jump(l.opener, 0);
    CU_ASSERT_EQUAL(frame_open(l.opener, buf_data(&l.wire), buf_len(&l.wire), &view, NULL), 1);
    uint8_t zero[8] = { 0 };
    refuses(&l, FRAME_PING, 0, 0, zero, 8, "wrong tag");
    link_down(&l);
}

UNIT(frame, a_refused_frame_changes_neither_key_nor_sequence)
{
    struct link l;
    link_up(&l);
    CU_ASSERT_EQUAL(frame_put_control(l.sealer, &l.wire, FRAME_KEY_UPDATE, NULL, 0), 0);
    l.wire.data[l.wire.end - 1] ^= 1;
    CU_ASSERT_EQUAL(open_bytes(&l, buf_data(&l.wire), buf_len(&l.wire), NULL), NX_EBADMSG);
    l.wire.data[l.wire.end - 1] ^= 1;
    CU_ASSERT_EQUAL(open_bytes(&l, buf_data(&l.wire), buf_len(&l.wire), NULL), 1);
    link_down(&l);
}

UNIT(frame, free_of_nothing_is_fine)
{
    struct frame_sealer *s = NULL;
    struct frame_opener *o = NULL;
    frame_sealer_free(&s);
    frame_opener_free(&o);
}
