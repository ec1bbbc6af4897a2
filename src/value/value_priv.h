/*
 * value_priv.h - what the files of this room share: putting single msgpack items into a buffer, what a scan learns, base64.
 *
 * Never leaves this folder.
 */
#ifndef NOEXD_VALUE_PRIV_H
#define NOEXD_VALUE_PRIV_H

#include <string.h>

#include "value/value.h"

/* ---- big-endian loads and stores; compilers make one instruction of each */

static inline uint16_t value_load16(const uint8_t *p) { uint16_t x; memcpy(&x, p, 2); return __builtin_bswap16(x); }
static inline uint32_t value_load32(const uint8_t *p) { uint32_t x; memcpy(&x, p, 4); return __builtin_bswap32(x); }
static inline uint64_t value_load64(const uint8_t *p) { uint64_t x; memcpy(&x, p, 8); return __builtin_bswap64(x); }
static inline void value_store16(uint8_t *p, uint16_t x) { x = __builtin_bswap16(x); memcpy(p, &x, 2); }
static inline void value_store32(uint8_t *p, uint32_t x) { x = __builtin_bswap32(x); memcpy(p, &x, 4); }
static inline void value_store64(uint8_t *p, uint64_t x) { x = __builtin_bswap64(x); memcpy(p, &x, 8); }
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "on a big-endian machine the six above are plain copies");

/* ---- one item into a buffer. The smallest form that holds it, as msgpack-c does. NX_ENOMEM, NX_ETOOBIG. */

enum { VALUE_HEAD_ROOM = 16 };    /* no head is longer than 9 bytes */

/* The head of an item is made in `head`, which always has 16 bytes, so that the common case is one 16-byte copy. */
static inline int
value_put_head(struct buf *b, const uint8_t head[static VALUE_HEAD_ROOM], size_t len)
{
    if (b->cap - b->end < VALUE_HEAD_ROOM || b->end - b->at + len > b->max)
        return buf_put(b, head, len);
    memcpy(b->data + b->end, head, VALUE_HEAD_ROOM);
    b->end += len;
    return 0;
}

static inline int
value_put_byte(struct buf *b, uint8_t byte)
{
    if (b->end == b->cap || b->end - b->at >= b->max)
        return buf_put(b, &byte, 1);
    b->data[b->end++] = byte;
    return 0;
}

static inline int value_put_nil(struct buf *b) { return value_put_byte(b, 0xc0); }
static inline int value_put_bool(struct buf *b, bool yes) { return value_put_byte(b, yes ? 0xc3 : 0xc2); }

static inline int
value_put_uint(struct buf *b, uint64_t x)
{
    uint8_t head[VALUE_HEAD_ROOM] = { 0 };
    if (x < 0x80)
        return value_put_byte(b, (uint8_t)x);
    if (x <= UINT8_MAX) {
        head[0] = 0xcc, head[1] = (uint8_t)x;
        return value_put_head(b, head, 2);
    }
    if (x <= UINT16_MAX) {
        head[0] = 0xcd, value_store16(head + 1, (uint16_t)x);
        return value_put_head(b, head, 3);
    }
    if (x <= UINT32_MAX) {
        head[0] = 0xce, value_store32(head + 1, (uint32_t)x);
        return value_put_head(b, head, 5);
    }
    head[0] = 0xcf, value_store64(head + 1, x);
    return value_put_head(b, head, 9);
}

static inline int
value_put_int(struct buf *b, int64_t x)
{
    if (x >= 0)
        return value_put_uint(b, (uint64_t)x);
    uint8_t head[VALUE_HEAD_ROOM] = { 0 };
    if (x >= -32)
        return value_put_byte(b, (uint8_t)x);
    if (x >= INT8_MIN) {
        head[0] = 0xd0, head[1] = (uint8_t)x;
        return value_put_head(b, head, 2);
    }
    if (x >= INT16_MIN) {
        head[0] = 0xd1, value_store16(head + 1, (uint16_t)x);
        return value_put_head(b, head, 3);
    }
    if (x >= INT32_MIN) {
        head[0] = 0xd2, value_store32(head + 1, (uint32_t)x);
        return value_put_head(b, head, 5);
    }
    head[0] = 0xd3, value_store64(head + 1, (uint64_t)x);
    return value_put_head(b, head, 9);
}

static inline int
value_put_double(struct buf *b, double x)
{
    uint8_t head[VALUE_HEAD_ROOM] = { 0xcb };
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    value_store64(head + 1, bits);
    return value_put_head(b, head, 9);
}

int value_put_str(struct buf *b, const void *text, size_t len);          /* NX_ETOOBIG beyond 32 bits, as in all below */
int value_put_bin(struct buf *b, const void *bytes, size_t len);
int value_put_ext(struct buf *b, int8_t type, const void *bytes, size_t len);
int value_put_array(struct buf *b, size_t count);
int value_put_map(struct buf *b, size_t pairs);
int value_put_object(struct buf *b, const struct msgpack_object *o);     /* re-encode; NX_EINVAL if nested too deep */

/* Put one value without counting it (value_pack counts). */
int value_put(struct buf *b, nx_value v);

/* ---- what the scan learns on the way, so that the decoder allocates once and checks nothing again */
struct value_needs { size_t objects, text_bytes; };                      /* text_bytes: with one NUL a string */
int value_measure(const void *bytes, size_t len, const struct value_limits *limits, struct value_needs *needs,
                  struct base_error *why);

extern const struct value_ref_codec *value_codec;                        /* NULL until value_set_ref_codec */

/* ---- base64 (RFC 4648, with padding) */
int value_base64_put(struct buf *out, const void *bytes, size_t len);
int value_base64_decode(const char *text, size_t len, struct buf *out);  /* appends; NX_EINVAL if not exactly what _put makes */

#endif
