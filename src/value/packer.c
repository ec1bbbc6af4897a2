/*
 * packer.c - values into bytes, without a format string.
 *
 * Lives here: nx_packer, the longer msgpack items, re-encoding of decoded objects, the ref codec handed down at start.
 * Never here: format strings (pack.c).
 * Runs in: every process that sends a body.
 */
#include "value/value_priv.h"

#include <msgpack/object.h>

#include "noex/errors.h"

const struct value_ref_codec *value_codec;

void
value_set_ref_codec(const struct value_ref_codec *codec)
{
    value_codec = codec;
}

void
value_packer_init(nx_packer *p, size_t max_body)
{
    buf_init(&p->bytes, max_body);
    p->count = 0;
}

void
value_packer_fini(nx_packer *p)
{
    buf_fini(&p->bytes);
    p->count = 0;
}

void
value_packer_clear(nx_packer *p)
{
    buf_clear(&p->bytes);
    p->count = 0;
}

nx_value
value_packer_value(const nx_packer *p)
{
    if (buf_len(&p->bytes) == 0)
        return (nx_value){ 0 };
    return (nx_value){ .packed = buf_data(&p->bytes), .packed_len = buf_len(&p->bytes) };
}

size_t
value_packer_count(const nx_packer *p)
{
    return p->count;
}

int
value_pack(nx_packer *p, nx_value v)
{
    size_t before = p->bytes.end;
    int err = value_put(&p->bytes, v);
    if (err == 0)
        p->count++;
    else
        p->bytes.end = before;
    return err;
}

/* ---- items */

/* Room for a head of at most five bytes and its body, exactly: a body of max bytes must fit, one more must not. */
static int
put_body(struct buf *b, const uint8_t *head, size_t head_len, const void *bytes, size_t len)
{
    uint8_t *out;
    if (len > UINT32_MAX)
        return NX_ETOOBIG;
    int err = buf_reserve(b, head_len + len, &out);
    if (err != 0)
        return err;
    memcpy(out, head, head_len);
    if (len > 0)
        memcpy(out + head_len, bytes, len);
    b->end += head_len + len;
    return 0;
}

/* A head with its length in 8, 16 or 32 bits; without a form for 8 bits, code8 is 0. */
static size_t
make_head(uint8_t head[static 8], uint8_t code8, uint8_t code16, uint8_t code32, size_t len)
{
    if (code8 != 0 && len <= UINT8_MAX) {
        head[0] = code8;
        head[1] = (uint8_t)len;
        return 2;
    }
    if (len <= UINT16_MAX) {
        head[0] = code16;
        value_store16(head + 1, (uint16_t)len);
        return 3;
    }
    head[0] = code32;
    value_store32(head + 1, (uint32_t)len);           /* more than 32 bits is refused before it is put */
    return 5;
}

int
value_put_str(struct buf *b, const void *text, size_t len)
{
    uint8_t head[8];
    size_t head_len = 1;
    if (len < 32)
        head[0] = (uint8_t)(0xa0 | len);
    else
        head_len = make_head(head, 0xd9, 0xda, 0xdb, len);
    return put_body(b, head, head_len, text, len);
}

int
value_put_bin(struct buf *b, const void *bytes, size_t len)
{
    uint8_t head[8];
    return put_body(b, head, make_head(head, 0xc4, 0xc5, 0xc6, len), bytes, len);
}

int
value_put_ext(struct buf *b, int8_t type, const void *bytes, size_t len)
{
    uint8_t head[8];
    size_t head_len = 1;
    switch (len) {
    case 1:  head[0] = 0xd4; break;
    case 2:  head[0] = 0xd5; break;
    case 4:  head[0] = 0xd6; break;
    case 8:  head[0] = 0xd7; break;
    case 16: head[0] = 0xd8; break;
    default: head_len = make_head(head, 0xc7, 0xc8, 0xc9, len);
    }
    head[head_len++] = (uint8_t)type;
    return put_body(b, head, head_len, bytes, len);
}

int
value_put_array(struct buf *b, size_t count)
{
    uint8_t head[8];
    if (count < 16)
        return value_put_byte(b, (uint8_t)(0x90 | count));
    if (count > UINT32_MAX)
        return NX_ETOOBIG;
    return buf_put(b, head, make_head(head, 0, 0xdc, 0xdd, count));
}

int
value_put_map(struct buf *b, size_t pairs)
{
    uint8_t head[8];
    if (pairs < 16)
        return value_put_byte(b, (uint8_t)(0x80 | pairs));
    if (pairs > UINT32_MAX)
        return NX_ETOOBIG;
    return buf_put(b, head, make_head(head, 0, 0xde, 0xdf, pairs));
}

static int
put_float(struct buf *b, double x)
{
    uint8_t head[VALUE_HEAD_ROOM] = { 0xca };
    float narrow = (float)x;                          /* it came from 32 bits, so nothing is lost */
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    value_store32(head + 1, bits);
    return value_put_head(b, head, 5);
}

static int
put_object(struct buf *b, const msgpack_object *o, unsigned depth)
{
    int err;
    switch (o->type) {
    case MSGPACK_OBJECT_NIL:              return value_put_nil(b);
    case MSGPACK_OBJECT_BOOLEAN:          return value_put_bool(b, o->via.boolean);
    case MSGPACK_OBJECT_POSITIVE_INTEGER: return value_put_uint(b, o->via.u64);
    case MSGPACK_OBJECT_NEGATIVE_INTEGER: return value_put_int(b, o->via.i64);
    case MSGPACK_OBJECT_FLOAT32:          return put_float(b, o->via.f64);
    case MSGPACK_OBJECT_FLOAT64:          return value_put_double(b, o->via.f64);
    case MSGPACK_OBJECT_STR:              return value_put_str(b, o->via.str.ptr, o->via.str.size);
    case MSGPACK_OBJECT_BIN:              return value_put_bin(b, o->via.bin.ptr, o->via.bin.size);
    case MSGPACK_OBJECT_EXT:              return value_put_ext(b, o->via.ext.type, o->via.ext.ptr, o->via.ext.size);
    case MSGPACK_OBJECT_ARRAY:
        if (depth >= VALUE_DEPTH_MAX)
            return NX_EINVAL;
        err = value_put_array(b, o->via.array.size);
        for (uint32_t i = 0; i < o->via.array.size && err == 0; i++)
            err = put_object(b, &o->via.array.ptr[i], depth + 1);
        return err;
    case MSGPACK_OBJECT_MAP:
        if (depth >= VALUE_DEPTH_MAX)
            return NX_EINVAL;
        err = value_put_map(b, o->via.map.size);
        for (uint32_t i = 0; i < o->via.map.size && err == 0; i++) {
            err = put_object(b, &o->via.map.ptr[i].key, depth + 1);
            if (err == 0)
                err = put_object(b, &o->via.map.ptr[i].val, depth + 1);
        }
        return err;
    default:
        return NX_EINVAL;                             /* an object that a module made itself, wrongly */
    }
}

int
value_put_object(struct buf *b, const struct msgpack_object *o)
{
    return put_object(b, o, 0);
}

int
value_put(struct buf *b, nx_value v)
{
    if (v.packed != NULL)
        return v.packed_len > 0 ? buf_put(b, v.packed, v.packed_len) : NX_EINVAL;
    return v.object != NULL ? put_object(b, v.object, 0) : NX_EINVAL;
}
