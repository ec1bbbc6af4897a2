/*
 * json_write.c - a decoded value as JSON text.
 *
 * Lives here: the writer. Not jansson's: that has no unsigned 64-bit integers, no duplicate keys and no order of keys we could
 * keep, and would build a tree only to walk it.
 * Never here: reading (json_read.c).
 * Runs in: the gate, noexctl.
 */
#include "value/value_priv.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <msgpack/object.h>

#include "base/utf8.h"
#include "noex/errors.h"

struct json_writer {
    struct buf *out;
    bool pretty;
    unsigned depth;
};

static int write_one(struct json_writer *w, const msgpack_object *o);

static int
put_text(struct buf *out, const char *text)
{
    return buf_put(out, text, strlen(text));
}

/* Length of the well-formed character at `text`, 0 if there is none. */
static size_t
character_at(const char *text, size_t left)
{
    for (size_t n = 1; n <= 4 && n <= left; n++)
        if (utf8_is_valid(text, n))
            return n;
    return 0;
}

static int
put_escaped(struct buf *out, unsigned char c)
{
    static const char short_forms[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (const char *f = short_forms; *f != '\0'; f += 2)
        if ((unsigned char)f[0] == c)
            return buf_printf(out, "\\%c", f[1]);
    return buf_printf(out, "\\u%04x", c);
}

/* JSON is UTF-8 by definition; a msgpack string need not be, and then shows U+FFFD in place of each wrong byte. */
static int
write_string(struct buf *out, const char *text, size_t len)
{
    int err = put_text(out, "\"");
    size_t plain = 0;                                 /* text + plain .. text + i is not yet written */
    for (size_t i = 0; i < len && err == 0;) {
        unsigned char c = (unsigned char)text[i];
        size_t n = c < 0x80 ? 1 : character_at(text + i, len - i);
        bool is_c1 = n == 2 && c == 0xc2 && (unsigned char)text[i + 1] < 0xa0;     /* control characters that terminals obey */
        if (n > 0 && c >= 0x20 && c != 0x7f && c != '"' && c != '\\' && !is_c1) {
            i += n;
            continue;
        }
        err = buf_put(out, text + plain, i - plain);
        if (err == 0)
            err = n == 0 ? put_text(out, "\xef\xbf\xbd") : put_escaped(out, is_c1 ? (unsigned char)text[i + 1] : c);
        plain = i += n > 0 ? n : 1;
    }
    if (err == 0)
        err = buf_put(out, text + plain, len - plain);
    return err != 0 ? err : put_text(out, "\"");
}

/* The shortest text that reads back as the same double, and that a reader takes for a float. */
static int
write_float(struct buf *out, double x)
{
    if (isnan(x))
        return put_text(out, "{\"$float\":\"nan\"}");
    if (isinf(x))
        return put_text(out, x > 0 ? "{\"$float\":\"inf\"}" : "{\"$float\":\"-inf\"}");
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text - 2, "%.*g", digits, x);
        if (strtod(text, NULL) == x)                  /* both in the same locale */
            break;
    }
    size_t len = strlen(text), at = strspn(text, "-0123456789");
    if (at == len)
        memcpy(text + len, ".0", 3);
    else if (text[at] != 'e')
        text[at] = '.';                               /* a program that calls setlocale may have got a comma */
    return put_text(out, text);
}

static int
write_base64(struct buf *out, const void *bytes, size_t len)
{
    int err = put_text(out, "\"");
    if (err == 0)
        err = value_base64_put(out, bytes, len);
    return err != 0 ? err : put_text(out, "\"}");
}

static bool
ref_text(const msgpack_object *o, char *text, size_t size)
{
    return o->type == MSGPACK_OBJECT_EXT && o->via.ext.type == VALUE_EXT_REF && value_codec != NULL &&
           value_codec->to_text((const uint8_t *)o->via.ext.ptr, o->via.ext.size, text, size) == 0;
}

static int
write_ext(struct buf *out, const msgpack_object *o)
{
    char text[NX_REF_TEXT_MAX];
    if (ref_text(o, text, sizeof text))
        return write_string(out, text, strlen(text));
    int err = buf_printf(out, "{\"$ext\":%d,\"data\":", o->via.ext.type);
    return err != 0 ? err : write_base64(out, o->via.ext.ptr, o->via.ext.size);
}

static int
new_line(struct json_writer *w)
{
    int err = w->pretty ? put_text(w->out, "\n") : 0;
    for (unsigned i = 0; w->pretty && i < w->depth && err == 0; i++)
        err = put_text(w->out, "  ");
    return err;
}

/* A key that is no string becomes its JSON text, in one line; a ref its text without a second pair of quotes. */
static int
write_key(struct json_writer *w, const msgpack_object *key)
{
    char ref[NX_REF_TEXT_MAX];
    if (key->type == MSGPACK_OBJECT_STR)
        return write_string(w->out, key->via.str.ptr, key->via.str.size);
    if (ref_text(key, ref, sizeof ref))
        return write_string(w->out, ref, strlen(ref));
    struct buf text;
    buf_init(&text, w->out->max);
    struct json_writer inner = { .out = &text, .depth = w->depth };
    int err = write_one(&inner, key);
    if (err == 0)
        err = write_string(w->out, (const char *)buf_data(&text), buf_len(&text));
    buf_fini(&text);
    return err;
}

static int
write_pair(struct json_writer *w, const msgpack_object_kv *kv)
{
    int err = write_key(w, &kv->key);
    if (err == 0)
        err = put_text(w->out, w->pretty ? ": " : ":");
    return err != 0 ? err : write_one(w, &kv->val);
}

static int
write_container(struct json_writer *w, const msgpack_object *o)
{
    bool is_map = o->type == MSGPACK_OBJECT_MAP;
    uint32_t count = is_map ? o->via.map.size : o->via.array.size;
    if (w->depth >= VALUE_DEPTH_MAX)
        return NX_EINVAL;
    if (count == 0)
        return put_text(w->out, is_map ? "{}" : "[]");
    int err = put_text(w->out, is_map ? "{" : "[");
    w->depth++;
    for (uint32_t i = 0; i < count && err == 0; i++) {
        if (i > 0)
            err = put_text(w->out, ",");
        if (err == 0)
            err = new_line(w);
        if (err == 0)
            err = is_map ? write_pair(w, &o->via.map.ptr[i]) : write_one(w, &o->via.array.ptr[i]);
    }
    w->depth--;
    if (err == 0)
        err = new_line(w);
    return err != 0 ? err : put_text(w->out, is_map ? "}" : "]");
}

static int
write_one(struct json_writer *w, const msgpack_object *o)
{
    int err;
    switch (o->type) {
    case MSGPACK_OBJECT_NIL:              return put_text(w->out, "null");
    case MSGPACK_OBJECT_BOOLEAN:          return put_text(w->out, o->via.boolean ? "true" : "false");
    case MSGPACK_OBJECT_POSITIVE_INTEGER: return buf_printf(w->out, "%llu", (unsigned long long)o->via.u64);
    case MSGPACK_OBJECT_NEGATIVE_INTEGER: return buf_printf(w->out, "%lld", (long long)o->via.i64);
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:          return write_float(w->out, o->via.f64);
    case MSGPACK_OBJECT_STR:              return write_string(w->out, o->via.str.ptr, o->via.str.size);
    case MSGPACK_OBJECT_EXT:              return write_ext(w->out, o);
    case MSGPACK_OBJECT_BIN:
        err = put_text(w->out, "{\"$bin\":");
        return err != 0 ? err : write_base64(w->out, o->via.bin.ptr, o->via.bin.size);
    case MSGPACK_OBJECT_ARRAY:
    case MSGPACK_OBJECT_MAP:              return write_container(w, o);
    default:                              return NX_EINVAL;
    }
}

int
value_to_json(nx_value v, unsigned flags, struct buf *out)
{
    if (v.object == NULL)
        return NX_EINVAL;
    struct json_writer w = { .out = out, .pretty = (flags & VALUE_JSON_PRETTY) != 0 };
    size_t before = buf_len(out);
    int err = write_one(&w, v.object);
    if (err != 0)
        out->end = out->at + before;                  /* what was there before, whole; nothing of ours */
    return err;
}
