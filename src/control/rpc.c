/*
 * rpc.c - MessagePack-RPC as bytes: framing a stream, taking messages apart, putting them together.
 *
 * Lives here: the heads of MessagePack objects, the framer, the three kinds of message.
 * Never here: sockets, methods, what a map of parameters means; decoding of users' bodies.
 * Runs in: the gate, noexctl.
 */
#include "control/rpc.h"

#include <string.h>

#include "base/base.h"
#include "wire/wire.h"

enum { TYPE_NIL, TYPE_BOOL, TYPE_UINT, TYPE_INT, TYPE_FLOAT, TYPE_TEXT, TYPE_BIN, TYPE_EXT, TYPE_ARRAY, TYPE_MAP };

/* The head of one object: what it is, what follows it. */
struct head {
    int type;
    size_t len;                            /* bytes of the head itself; of an ext with its type byte */
    uint64_t payload;                      /* bytes behind it that are not objects */
    uint64_t children;                     /* objects behind it */
    uint64_t value;                        /* of a bool or a number, sign-extended */
    int8_t ext;
};

static uint64_t
big_endian(const uint8_t *at, size_t width)
{
    uint64_t value = 0;
    for (size_t i = 0; i < width; i++)
        value = value << 8 | at[i];
    return value;
}

static uint64_t
extend_sign(uint64_t value, size_t width)
{
    uint64_t sign = UINT64_C(1) << (width * 8 - 1);
    return (value ^ sign) - sign;
}

/* A head with a number of `width` bytes behind its first byte: the number counts bytes, objects, or is the value. */
static int
read_wide(const uint8_t *p, size_t len, int type, size_t width, struct head *out)
{
    size_t extra = type == TYPE_EXT ? 1 : 0;
    if (len < 1 + width + extra)
        return 0;
    uint64_t n = big_endian(p + 1, width);
    *out = (struct head){ .type = type, .len = 1 + width + extra };
    switch (type) {
    case TYPE_UINT: out->value = n; break;
    case TYPE_INT: out->value = extend_sign(n, width); break;
    case TYPE_ARRAY: out->children = n; break;
    case TYPE_MAP: out->children = 2 * n; break;
    case TYPE_EXT: out->ext = (int8_t)p[1 + width]; out->payload = n; break;
    case TYPE_FLOAT: break;
    default: out->payload = n; break;
    }
    return 1;
}

static int
read_fixed_ext(const uint8_t *p, size_t len, uint64_t payload, struct head *out)
{
    if (len < 2)
        return 0;
    *out = (struct head){ .type = TYPE_EXT, .len = 2, .payload = payload, .ext = (int8_t)p[1] };
    return 1;
}

/* 1 = *out is set; 0 = the head is cut off; NX_EBADMSG = 0xc1, which MessagePack never uses. */
static int
read_head(const uint8_t *p, size_t len, struct head *out)
{
    if (len == 0)
        return 0;
    uint8_t b = p[0];
    *out = (struct head){ .len = 1 };
    if (b < 0x80) {
        out->type = TYPE_UINT, out->value = b;
        return 1;
    }
    if (b < 0x90) {
        out->type = TYPE_MAP, out->children = 2u * (b & 0x0f);
        return 1;
    }
    if (b < 0xa0) {
        out->type = TYPE_ARRAY, out->children = b & 0x0f;
        return 1;
    }
    if (b < 0xc0) {
        out->type = TYPE_TEXT, out->payload = b & 0x1f;
        return 1;
    }
    if (b >= 0xe0) {
        out->type = TYPE_INT, out->value = extend_sign(b, 1);
        return 1;
    }
    switch (b) {
    case 0xc0: out->type = TYPE_NIL; return 1;
    case 0xc2: case 0xc3: out->type = TYPE_BOOL; out->value = b & 1; return 1;
    case 0xc4: case 0xc5: case 0xc6: return read_wide(p, len, TYPE_BIN, (size_t)1 << (b - 0xc4), out);
    case 0xc7: case 0xc8: case 0xc9: return read_wide(p, len, TYPE_EXT, (size_t)1 << (b - 0xc7), out);
    case 0xca: case 0xcb: return read_wide(p, len, TYPE_FLOAT, (size_t)4 << (b - 0xca), out);
    case 0xcc: case 0xcd: case 0xce: case 0xcf: return read_wide(p, len, TYPE_UINT, (size_t)1 << (b - 0xcc), out);
    case 0xd0: case 0xd1: case 0xd2: case 0xd3: return read_wide(p, len, TYPE_INT, (size_t)1 << (b - 0xd0), out);
    case 0xd4: case 0xd5: case 0xd6: case 0xd7: case 0xd8: return read_fixed_ext(p, len, UINT64_C(1) << (b - 0xd4), out);
    case 0xd9: case 0xda: case 0xdb: return read_wide(p, len, TYPE_TEXT, (size_t)1 << (b - 0xd9), out);
    case 0xdc: case 0xdd: return read_wide(p, len, TYPE_ARRAY, (size_t)2 << (b - 0xdc), out);
    case 0xde: case 0xdf: return read_wide(p, len, TYPE_MAP, (size_t)2 << (b - 0xde), out);
    default: return NX_EBADMSG;
    }
}

int
rpc_frame(struct rpc_framer *f, const uint8_t *bytes, size_t len, size_t max, size_t *out, struct base_error *why)
{
    if (f->at == 0)
        f->left = 1;
    while (f->left > 0) {
        /* f->at may lie beyond what has arrived: it points behind a payload that is still on its way. */
        if (f->at >= len)
            return 0;
        struct head h = { 0 };
        int got = read_head(bytes + f->at, len - f->at, &h);
        if (got == 0)
            return 0;
        if (got < 0)
            return base_error_set(why, NX_EBADMSG, NULL, "message malformed: byte c1 at %zu", f->at);
        f->left = f->left - 1 + h.children;
        /* Each object that is still to come takes one byte or more. */
        uint64_t need = (uint64_t)f->at + h.len + h.payload + f->left;
        if (need > max)
            return base_error_set(why, NX_ETOOBIG, NULL, "message too big: at least %llu bytes, the bound is %zu",
                                  (unsigned long long)need, max);
        f->at += h.len + (size_t)h.payload;
    }
    if (f->at > len)
        return 0;
    *out = f->at;
    *f = (struct rpc_framer){ 0 };
    return 1;
}

/* ---------------------------------------------------------------- reading */

static bool
take_head(struct rpc_cursor *c, int type, struct head *out)
{
    size_t len = (size_t)(c->end - c->at);
    struct head h;
    if (read_head(c->at, len, &h) != 1 || h.type != type || h.payload > len - h.len)
        return false;
    c->at += h.len;
    *out = h;
    return true;
}

static bool
take_count(struct rpc_cursor *c, int type, uint32_t *count, uint32_t per_item)
{
    struct head h;
    if (!take_head(c, type, &h))
        return false;
    *count = (uint32_t)(h.children / per_item);
    return true;
}

bool rpc_take_array(struct rpc_cursor *c, uint32_t *count) { return take_count(c, TYPE_ARRAY, count, 1); }
bool rpc_take_map(struct rpc_cursor *c, uint32_t *count) { return take_count(c, TYPE_MAP, count, 2); }

bool
rpc_take_nil(struct rpc_cursor *c)
{
    struct head h;
    return take_head(c, TYPE_NIL, &h);
}

bool
rpc_take_bool(struct rpc_cursor *c, bool *out)
{
    struct head h;
    if (!take_head(c, TYPE_BOOL, &h))
        return false;
    *out = h.value != 0;
    return true;
}

bool
rpc_take_int(struct rpc_cursor *c, int64_t *out)
{
    struct head h;
    struct rpc_cursor ahead = *c;
    if (take_head(&ahead, TYPE_UINT, &h)) {
        if (h.value > INT64_MAX)
            return false;
    } else if (!take_head(&ahead, TYPE_INT, &h)) {
        return false;
    }
    *out = (int64_t)h.value;
    *c = ahead;
    return true;
}

static void
take_payload(struct rpc_cursor *c, const struct head *h, struct rpc_slice *out)
{
    *out = (struct rpc_slice){ c->at, (size_t)h->payload };
    c->at += h->payload;
}

bool
rpc_take_text(struct rpc_cursor *c, struct rpc_slice *out)
{
    struct head h;
    if (!take_head(c, TYPE_TEXT, &h))
        return false;
    take_payload(c, &h, out);
    return true;
}

bool
rpc_take_ext(struct rpc_cursor *c, int8_t *type, struct rpc_slice *out)
{
    struct head h;
    if (!take_head(c, TYPE_EXT, &h))
        return false;
    *type = h.ext;
    take_payload(c, &h, out);
    return true;
}

bool
rpc_take_any(struct rpc_cursor *c, struct rpc_slice *out)
{
    struct rpc_framer f = { 0 };
    size_t len = (size_t)(c->end - c->at), object;
    if (rpc_frame(&f, c->at, len, len, &object, NULL) != 1)
        return false;
    *out = (struct rpc_slice){ c->at, object };
    c->at += object;
    return true;
}

/* ---------------------------------------------------------------- messages */

static bool
take_id(struct rpc_cursor *c, uint32_t *id)
{
    int64_t n;
    struct rpc_cursor ahead = *c;
    if (!rpc_take_int(&ahead, &n) || n < 0 || n > UINT32_MAX)
        return false;
    *id = (uint32_t)n;
    *c = ahead;
    return true;
}

bool
rpc_peek_id(const uint8_t *bytes, size_t len, uint32_t *id)
{
    struct rpc_cursor c = { bytes, bytes + len };
    uint32_t count;
    int64_t kind;
    return rpc_take_array(&c, &count) && count == 4 && rpc_take_int(&c, &kind) && kind == RPC_REQUEST && take_id(&c, id);
}

static int
refuse(struct base_error *why, const char *complaint)
{
    return base_error_set(why, NX_EBADMSG, NULL, "message malformed: %s", complaint);
}

/* [], or [map]. */
static int
take_params(struct rpc_cursor *c, struct rpc_slice *out, struct base_error *why)
{
    uint32_t count, pairs;
    if (!rpc_take_array(c, &count))
        return refuse(why, "the parameters are not an array");
    *out = (struct rpc_slice){ NULL, 0 };
    if (count == 0)
        return 0;
    struct rpc_cursor ahead = *c;
    if (count != 1 || !rpc_take_map(&ahead, &pairs) || !rpc_take_any(c, out))
        return refuse(why, "the parameters are not an array of one map");
    return 0;
}

static int
take_body(struct rpc_cursor *c, struct rpc_message *m, uint32_t count, struct base_error *why)
{
    if (m->kind == RPC_NOTIFICATION ? count != 3 : count != 4)
        return refuse(why, "its array has the wrong number of elements for its kind");
    if (m->kind != RPC_NOTIFICATION && !take_id(c, &m->id))
        return refuse(why, "the id is not a 32-bit number");
    if (m->kind == RPC_RESPONSE) {
        struct rpc_cursor ahead = *c;
        m->is_error = !rpc_take_nil(&ahead);
        return rpc_take_any(c, &m->error) && rpc_take_any(c, &m->result) ? 0 : refuse(why, "the answer is cut off");
    }
    if (!rpc_take_text(c, &m->method))
        return refuse(why, "the method is not a string");
    return take_params(c, &m->params, why);
}

int
rpc_parse(const uint8_t *bytes, size_t len, struct rpc_message *out, struct base_error *why)
{
    struct rpc_cursor c = { bytes, bytes + len };
    struct rpc_message m = { .kind = RPC_REQUEST };
    uint32_t count;
    int64_t kind;

    if (!rpc_take_array(&c, &count))
        return refuse(why, "not an array");
    if (!rpc_take_int(&c, &kind) || kind < RPC_REQUEST || kind > RPC_NOTIFICATION)
        return refuse(why, "its kind is not 0, 1 or 2");
    m.kind = (enum rpc_kind)kind;
    int err = take_body(&c, &m, count, why);
    if (err == 0 && c.at != c.end)
        err = refuse(why, "bytes behind its end");
    if (err == 0)
        *out = m;
    return err;
}

/* ---------------------------------------------------------------- writing */

int
rpc_put_text(struct buf *out, const char *text)
{
    size_t len = strlen(text);
    uint8_t head[5] = { 0xdb };
    wire_put32(head + 1, (uint32_t)len);
    nx_assert(len <= UINT32_MAX);
    int err;
    if (len < 32) {
        uint8_t small = (uint8_t)(0xa0 | len);
        err = buf_put(out, &small, 1);
    } else {
        err = buf_put(out, head, sizeof head);
    }
    return err != 0 ? err : buf_put(out, text, len);
}

int
rpc_put_map_head(struct buf *out, uint32_t count)
{
    uint8_t head[5] = { 0xdf };
    wire_put32(head + 1, count);
    return buf_put(out, head, sizeof head);
}

/* `[kind, id`: the first three bytes and the id in its widest form. */
static int
put_numbered(struct buf *out, enum rpc_kind kind, uint32_t id)
{
    uint8_t head[7] = { 0x94, (uint8_t)kind, 0xce };
    wire_put32(head + 3, id);
    return buf_put(out, head, sizeof head);
}

/* All or nothing: half a message would be the end of the stream for its reader. */
static int
settle(struct buf *out, size_t before, int err)
{
    if (err != 0)
        out->end = out->at + before;
    return err;
}

int
rpc_put_request(struct buf *out, uint32_t id, const char *method, const struct buf *params)
{
    size_t before = buf_len(out);
    uint8_t count = params != NULL ? 0x91 : 0x90;
    int err = put_numbered(out, RPC_REQUEST, id);
    if (err == 0)
        err = rpc_put_text(out, method);
    if (err == 0)
        err = buf_put(out, &count, 1);
    if (err == 0 && params != NULL)
        err = buf_put(out, buf_data(params), buf_len(params));
    return settle(out, before, err);
}

static const uint8_t nil = 0xc0;

int
rpc_put_result(struct buf *out, uint32_t id, const void *result, size_t len)
{
    size_t before = buf_len(out);
    int err = put_numbered(out, RPC_RESPONSE, id);
    if (err == 0)
        err = buf_put(out, &nil, 1);
    if (err == 0)
        err = buf_put(out, result, len);
    return settle(out, before, err);
}

int
rpc_put_error(struct buf *out, uint32_t id, const void *error, size_t len)
{
    size_t before = buf_len(out);
    int err = put_numbered(out, RPC_RESPONSE, id);
    if (err == 0)
        err = buf_put(out, error, len);
    if (err == 0)
        err = buf_put(out, &nil, 1);
    return settle(out, before, err);
}

int
rpc_put_notification(struct buf *out, const char *method, const void *params, size_t len)
{
    static const uint8_t head[] = { 0x93, RPC_NOTIFICATION };
    static const uint8_t one = 0x91;
    size_t before = buf_len(out);
    int err = buf_put(out, head, sizeof head);
    if (err == 0)
        err = rpc_put_text(out, method);
    if (err == 0)
        err = buf_put(out, &one, 1);
    if (err == 0)
        err = buf_put(out, params, len);
    return settle(out, before, err);
}

int
rpc_array_begin(struct buf *out, size_t *place)
{
    static const uint8_t head[5] = { 0xdd };
    size_t at = buf_len(out);
    int err = buf_put(out, head, sizeof head);
    if (err == 0)
        *place = at;
    return err;
}

void
rpc_array_end(struct buf *out, size_t place, uint32_t count)
{
    wire_put32(out->data + out->at + place + 1, count);
}
