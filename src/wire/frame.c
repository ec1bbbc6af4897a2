/*
 * frame.c - a batch of messages in one signed envelope: seal and open.
 *
 * Lives here: the frame's layout, its sequence numbers, tags and key updates, and the fixed order in which a receiver checks them.
 * Never here: when to seal; what to do with a message; pieces (pieces.c).
 * Runs in: the link worker.
 */
#include "wire/frame.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "base/base.h"
#include "wire/handshake.h"
#include "wire/wire.h"

enum { AT_TYPE = 4, AT_FLAGS = 5, AT_COUNT = 6, AT_SEQUENCE = 8, LENGTH_FIELD = 4,
       MIN_LENGTH = FRAME_HEADER - LENGTH_FIELD + FRAME_TAG, MAX_LENGTH = MIN_LENGTH + FRAME_MAX_PAYLOAD };
_Static_assert((int)MIN_LENGTH == 44 && (int)FRAME_MAX == (int)LENGTH_FIELD + (int)MAX_LENGTH, "lengths of the design");
_Static_assert((int)FRAME_KEY == (int)HS_KEY, "the handshake makes keys of this length");
static const uint64_t sequence_end = UINT64_C(1) << 63;

/* One direction: its key, the context that signs with it, and the number of its next frame. */
struct direction {
    EVP_MAC_CTX *mac;
    uint64_t sequence;
    uint8_t key[FRAME_KEY];
};

struct frame_sealer {
    struct direction dir;
    uint64_t sealed_bytes;
    size_t payload;                   /* of the open batch */
    uint32_t count;                   /* of the open batch; 0 = none is open, and then payload is 0 */
};

struct frame_opener {
    struct direction dir;
};

/* ---------------------------------------------------------------- one direction */

static int
direction_init(struct direction *d, const uint8_t key[static FRAME_KEY])
{
    static char digest[] = "SHA256";
    OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end() };
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);

    *d = (struct direction){ .mac = hmac != NULL ? EVP_MAC_CTX_new(hmac) : NULL };
    EVP_MAC_free(hmac);                                    /* the context holds its own reference */
    if (d->mac == NULL)
        return NX_ENOMEM;
    if (EVP_MAC_init(d->mac, key, FRAME_KEY, params) != 1) {
        EVP_MAC_CTX_free(d->mac);
        d->mac = NULL;
        return NX_ESYS;
    }
    memcpy(d->key, key, FRAME_KEY);
    return 0;
}

static void
direction_fini(struct direction *d)
{
    EVP_MAC_CTX_free(d->mac);                              /* wipes its copy of the key */
    OPENSSL_cleanse(d, sizeof *d);
}

/* Re-initialised with a null key, the context starts from the hash states it has computed from the key once. */
static int
direction_sign(struct direction *d, const uint8_t *bytes, size_t len, uint8_t tag[static FRAME_TAG])
{
    size_t made = 0;

    if (EVP_MAC_init(d->mac, NULL, 0, NULL) != 1 || EVP_MAC_update(d->mac, bytes, len) != 1 ||
        EVP_MAC_final(d->mac, tag, &made, FRAME_TAG) != 1 || made != FRAME_TAG)
        return NX_ESYS;
    return 0;
}

static int
direction_next_key(struct direction *d)
{
    uint8_t next[FRAME_KEY];
    int err = hs_next_key(d->key, next);

    if (err == 0 && EVP_MAC_init(d->mac, next, sizeof next, NULL) != 1)
        err = NX_ESYS;
    if (err == 0)
        memcpy(d->key, next, sizeof next);
    OPENSSL_cleanse(next, sizeof next);
    return err;
}

/* ---------------------------------------------------------------- sending */

int
frame_sealer_new(const uint8_t key[static FRAME_KEY], struct frame_sealer **out)
{
    struct frame_sealer *s = calloc(1, sizeof *s);

    if (s == NULL)
        return NX_ENOMEM;
    int err = direction_init(&s->dir, key);
    if (err != 0) {
        free(s);
        return err;
    }
    *out = s;
    return 0;
}

void
frame_sealer_free(struct frame_sealer **s)
{
    if (*s == NULL)
        return;
    direction_fini(&(*s)->dir);
    free(*s);
    *s = NULL;
}

bool
frame_has_open(const struct frame_sealer *s)
{
    return s->count > 0;
}

size_t
frame_open_bytes(const struct frame_sealer *s)
{
    return s->payload;
}

uint64_t
frame_sealed_bytes(const struct frame_sealer *s)
{
    return s->sealed_bytes;
}

uint64_t
frame_sealer_sequence(const struct frame_sealer *s)
{
    return s->dir.sequence;
}

void
frame_sealer_jump(struct frame_sealer *s, uint64_t sequence)
{
    s->dir.sequence = sequence;
}

int
frame_add(struct frame_sealer *s, struct buf *out, const struct envelope *e, const void *body)
{
    if (e->flags != 0)
        return NX_EBADMSG;
    return frame_add2(s, out, e, NULL, body, e->body_len);
}

int
frame_add2(struct frame_sealer *s, struct buf *out, const struct envelope *e, const uint8_t *prefix, const void *chunk,
           size_t chunk_len)
{
    size_t prefix_len = (e->flags & ENVELOPE_PIECE) != 0 ? WIRE_PIECE_PREFIX : 0;
    size_t head = s->count == 0 ? FRAME_HEADER : 0;
    uint8_t *at;

    /* It may come from a worker, which is not trusted: it must not be able to make the peer close this link. */
    if (!envelope_kind_from_peer(e->kind) || e->flags == ENVELOPE_MORE || (e->flags & ~ENVELOPE_FLAGS) != 0)
        return NX_EBADMSG;
    if (chunk_len > WIRE_PIECE_MAX)
        return NX_ETOOBIG;
    nx_assert(e->body_len == prefix_len + chunk_len);
    size_t len = WIRE_HEADER + prefix_len + chunk_len;
    if (s->count == FRAME_MAX_MESSAGES || s->payload + len > FRAME_MAX_PAYLOAD)
        return NX_EFULL;

    /* With room for the tag, so that sealing what was added never fails for want of memory. */
    int err = buf_reserve(out, head + len + FRAME_TAG, &at);
    if (err != 0)
        return err;
    at += head;
    envelope_encode(e, at);
    at += WIRE_HEADER;
    if (prefix_len > 0)
        memcpy(at, prefix, WIRE_PIECE_PREFIX);
    if (chunk_len > 0)
        memcpy(at + prefix_len, chunk, chunk_len);
    buf_commit(out, head + len);
    s->payload += len;
    s->count++;
    return 0;
}

/* The end of `out` is a header's room and `payload` bytes: make a frame of it. */
static int
sign_tail(struct frame_sealer *s, struct buf *out, enum frame_type type, uint32_t count, size_t payload)
{
    uint8_t *tag;

    if (s->dir.sequence >= sequence_end)
        return NX_EFULL;
    int err = buf_reserve(out, FRAME_TAG, &tag);
    if (err != 0)
        return err;
    nx_assert(buf_len(out) >= FRAME_HEADER + payload);
    uint8_t *frame = tag - payload - FRAME_HEADER;
    wire_put32(frame, (uint32_t)(MIN_LENGTH + payload));
    frame[AT_TYPE] = (uint8_t)type;
    frame[AT_FLAGS] = 0;
    wire_put16(frame + AT_COUNT, (uint16_t)count);
    wire_put64(frame + AT_SEQUENCE, s->dir.sequence);
    err = direction_sign(&s->dir, frame, FRAME_HEADER + payload, tag);
    if (err != 0)
        return err;
    buf_commit(out, FRAME_TAG);
    s->dir.sequence++;
    s->sealed_bytes += FRAME_HEADER + payload + FRAME_TAG;
    return 0;
}

int
frame_seal(struct frame_sealer *s, struct buf *out)
{
    if (s->count == 0)
        return 0;
    int err = sign_tail(s, out, FRAME_DATA, s->count, s->payload);
    if (err != 0)
        return err;
    s->count = 0;
    s->payload = 0;
    return 0;
}

/* Exactly this many bytes of payload for each type without messages; SIZE_MAX = not such a type. */
static size_t
control_payload(uint8_t type)
{
    switch (type) {
    case FRAME_PING: case FRAME_PONG: return 8;
    case FRAME_KEY_UPDATE: return 0;
    case FRAME_CLOSE: return 1;
    default: return SIZE_MAX;
    }
}

int
frame_put_control(struct frame_sealer *s, struct buf *out, enum frame_type type, const uint8_t *payload, size_t len)
{
    uint8_t *at;

    nx_assert(len == control_payload((uint8_t)type));
    int err = frame_seal(s, out);
    if (err == 0)
        err = buf_reserve(out, FRAME_HEADER + len + FRAME_TAG, &at);
    if (err != 0)
        return err;
    if (len > 0)
        memcpy(at + FRAME_HEADER, payload, len);
    buf_commit(out, FRAME_HEADER + len);
    err = sign_tail(s, out, type, 0, len);
    if (err != 0) {
        out->end -= FRAME_HEADER + len;                    /* an unsigned frame must not reach the connection */
        return err;
    }
    if (type != FRAME_KEY_UPDATE)
        return 0;
    err = direction_next_key(&s->dir);
    if (err == 0)
        s->sealed_bytes = 0;
    return err;
}

/* ---------------------------------------------------------------- receiving */

int
frame_opener_new(const uint8_t key[static FRAME_KEY], struct frame_opener **out)
{
    struct frame_opener *o = calloc(1, sizeof *o);

    if (o == NULL)
        return NX_ENOMEM;
    int err = direction_init(&o->dir, key);
    if (err != 0) {
        free(o);
        return err;
    }
    *out = o;
    return 0;
}

void
frame_opener_free(struct frame_opener **o)
{
    if (*o == NULL)
        return;
    direction_fini(&(*o)->dir);
    free(*o);
    *o = NULL;
}

uint64_t
frame_opener_sequence(const struct frame_opener *o)
{
    return o->dir.sequence;
}

void
frame_opener_jump(struct frame_opener *o, uint64_t sequence)
{
    o->dir.sequence = sequence;
}

/* One message, whose header is whole: may a peer send this? NULL, or the complaint. */
static const char *
judge_message(const struct envelope *e, const uint8_t *body)
{
    if (e->kind < KIND_SKIP_BEGIN && !envelope_kind_from_peer(e->kind))
        return "a kind of message that no peer may send";
    if ((e->flags & ~ENVELOPE_FLAGS) != 0)
        return "a reserved flag of a message is set";
    if ((e->flags & ENVELOPE_PIECE) == 0) {
        if ((e->flags & ENVELOPE_MORE) != 0)
            return "more pieces announced by what is no piece";
        return e->body_len > WIRE_PIECE_MAX ? "a body that should have come in pieces" : NULL;
    }
    if (e->body_len < WIRE_PIECE_PREFIX || e->body_len > WIRE_PIECE_MAX + WIRE_PIECE_PREFIX)
        return "a piece of an impossible length";
    return wire_get16(body + 2) != 0 ? "a reserved byte of a piece is not 0" : NULL;
}

/* The count and the lengths tile the payload exactly, and each message is one that a peer may send. */
static const char *
judge_messages(const uint8_t *payload, size_t len, uint32_t count)
{
    size_t at = 0;

    if (count < 1 || count > FRAME_MAX_MESSAGES)
        return "the number of messages is not 1 to 4096";
    for (uint32_t i = 0; i < count; i++) {
        struct envelope e;
        if (len - at < WIRE_HEADER)
            return "fewer messages than announced";
        envelope_decode(payload + at, &e);
        at += WIRE_HEADER;
        if (e.body_len > len - at)
            return "a message reaches over the end of the frame";
        const char *complaint = judge_message(&e, payload + at);
        if (complaint != NULL)
            return complaint;
        at += e.body_len;
    }
    return at == len ? NULL : "bytes behind the last message";
}

static const char *
judge_frame(const uint8_t *frame, size_t payload)
{
    uint8_t type = frame[AT_TYPE];
    uint32_t count = wire_get16(frame + AT_COUNT);

    if (frame[AT_FLAGS] != 0)
        return "a reserved flag is set";
    if (type == FRAME_DATA)
        return judge_messages(frame + FRAME_HEADER, payload, count);
    if (control_payload(type) == SIZE_MAX)
        return "unknown type of frame";
    if (count != 0)
        return "messages counted in a frame that has none";
    return payload == control_payload(type) ? NULL : "a payload of the wrong length";
}

int
frame_open(struct frame_opener *o, const uint8_t *bytes, size_t len, struct frame_view *out, struct base_error *why)
{
    uint8_t tag[FRAME_TAG];

    if (len < LENGTH_FIELD)
        return 0;
    uint32_t length = wire_get32(bytes);
    if (length < MIN_LENGTH || length > MAX_LENGTH)
        return base_error_set(why, NX_EBADMSG, NULL, "frame: length %u is not %d to %d", (unsigned)length, MIN_LENGTH, MAX_LENGTH);
    size_t total = LENGTH_FIELD + (size_t)length, payload = length - MIN_LENGTH;
    if (len < total)
        return 0;

    uint64_t sequence = wire_get64(bytes + AT_SEQUENCE);
    if (sequence != o->dir.sequence || sequence >= sequence_end)
        return base_error_set(why, NX_EBADMSG, NULL, "frame: sequence number %llu, expected %llu", (unsigned long long)sequence,
                              (unsigned long long)o->dir.sequence);
    if (direction_sign(&o->dir, bytes, FRAME_HEADER + payload, tag) != 0)
        return base_error_set(why, NX_ESYS, NULL, "frame: the crypto library could not check the tag");
    bool is_signed = CRYPTO_memcmp(tag, bytes + FRAME_HEADER + payload, FRAME_TAG) == 0;
    OPENSSL_cleanse(tag, sizeof tag);                      /* of a forgery it is what he wanted to know */
    if (!is_signed)
        return base_error_set(why, NX_EBADMSG, NULL, "frame: wrong tag at sequence number %llu", (unsigned long long)sequence);

    /* Signed, so a member sent it; what he may not send still ends the link. */
    const char *complaint = judge_frame(bytes, payload);
    if (complaint != NULL)
        return base_error_set(why, NX_EBADMSG, NULL, "frame: %s, at sequence number %llu", complaint, (unsigned long long)sequence);
    if (bytes[AT_TYPE] == FRAME_KEY_UPDATE && direction_next_key(&o->dir) != 0)
        return base_error_set(why, NX_ESYS, NULL, "frame: the crypto library could not derive the next key");
    o->dir.sequence++;
    *out = (struct frame_view){
        .type = bytes[AT_TYPE], .count = wire_get16(bytes + AT_COUNT), .payload = bytes + FRAME_HEADER, .len = payload,
        .total = total,
    };
    return 1;
}

bool
frame_next(const struct frame_view *v, size_t *at, struct envelope *e, const uint8_t **body)
{
    if (v->type != FRAME_DATA || *at >= v->len)
        return false;
    envelope_decode(v->payload + *at, e);
    *body = v->payload + *at + WIRE_HEADER;
    *at += WIRE_HEADER + (size_t)e->body_len;
    nx_assert(*at <= v->len);                              /* frame_open has seen that the messages tile the payload */
    return true;
}

/* ---------------------------------------------------------------- at start */

int
frame_selftest(struct base_error *why)
{
    /* HMAC-SHA256 with the key 00 01 .. 1f over "noexd frame selftest", by an independent implementation. */
    static const uint8_t expected[FRAME_TAG] = {
        0xfd, 0xbb, 0x69, 0xbb, 0x86, 0x09, 0xc2, 0x29, 0x33, 0x95, 0x90, 0xf6, 0xc5, 0x38, 0xcc, 0x7b,
        0xb2, 0x94, 0x30, 0x01, 0x7e, 0x12, 0x52, 0xe8, 0x1d, 0xf3, 0x09, 0xf0, 0xe6, 0x92, 0x22, 0xfa,
    };
    static const char text[] = "noexd frame selftest";
    struct direction d;
    uint8_t key[FRAME_KEY], tag[FRAME_TAG];

    for (unsigned i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)i;
    int err = direction_init(&d, key);
    /* The same message three times: fresh, re-initialised, and re-initialised after another one. */
    for (int round = 0; err == 0 && round < 3; round++) {
        if (round == 2)
            err = direction_sign(&d, key, sizeof key, tag);
        if (err == 0)
            err = direction_sign(&d, (const uint8_t *)text, sizeof text - 1, tag);
        if (err == 0 && CRYPTO_memcmp(tag, expected, sizeof tag) != 0)
            err = NX_ESYS;
    }
    if (d.mac != NULL)
        direction_fini(&d);
    if (err != 0)
        return base_error_set(why, err, NULL, "frame: HMAC-SHA256 of this OpenSSL does not give the known tag");
    return 0;
}
