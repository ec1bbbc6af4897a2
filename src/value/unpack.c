/*
 * unpack.c - nx_unpack: a decoded value into variables by a format string.
 *
 * Lives here: the formats of nx_unpack, and the sentence that says which key was wrong and how.
 * Never here: decoding (decode.c), whose NUL behind each string this file relies on.
 * Runs in: every process that reads a body.
 */
#include "value/value_priv.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

#include <msgpack/object.h>

#include "base/base.h"
#include "noex/errors.h"

/* The way from the whole value to the part being read: a chain through the frames of the recursion, innermost first. */
struct path {
    const struct path *up;
    const char *key;                                  /* NULL: an element of an array */
    size_t index;
};

struct unpacking {
    const char *fmt, *at;
    struct base_error *why;
    va_list ap;
};

/* ---- errors */

static int __attribute__((cold, noinline))
refuse_format(struct unpacking *k, const char *what)
{
    return base_error_set(k->why, NX_EINVAL, NULL, "%s at character %zu of format \"%.100s\"", what, (size_t)(k->at - k->fmt) + 1,
                          k->fmt);
}

/* "user.list[2]" into `out`, cut if long. */
static void
write_path(const struct path *path, struct buf *out)
{
    if (path->up != NULL)
        write_path(path->up, out);
    if (path->key != NULL)
        (void)buf_printf(out, "%s%s", path->up != NULL ? "." : "", path->key);
    else
        (void)buf_printf(out, "[%zu]", path->index);
}

static int __attribute__((cold, noinline, format(printf, 4, 5)))
refuse(struct unpacking *k, const struct path *path, int code, const char *fmt, ...)
{
    if (k->why == NULL)
        return code;
    char what[200];
    va_list ap;
    va_start(ap, fmt);
    if (vsnprintf(what, sizeof what, fmt, ap) < 0)
        what[0] = '\0';
    va_end(ap);

    struct buf text;
    buf_init(&text, 0);
    if (path != NULL)
        write_path(path, &text);
    const char *where = buf_cstr(&text);
    if (path == NULL || where == NULL)
        base_error_set(k->why, code, NULL, "%s", what);
    else
        base_error_set(k->why, code, NULL, "%s %s%.200s%s: %s", where[0] == '[' ? "element" : "key", where[0] == '[' ? "" : "\"",
                       where, where[0] == '[' ? "" : "\"", what);
    buf_fini(&text);
    return code;
}

static const char *
type_name(const msgpack_object *o)
{
    switch (o->type) {
    case MSGPACK_OBJECT_NIL:              return "nil";
    case MSGPACK_OBJECT_BOOLEAN:          return "a boolean";
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
    case MSGPACK_OBJECT_NEGATIVE_INTEGER: return "an integer";
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:          return "a float";
    case MSGPACK_OBJECT_STR:              return "a string";
    case MSGPACK_OBJECT_ARRAY:            return "an array";
    case MSGPACK_OBJECT_MAP:              return "a map";
    case MSGPACK_OBJECT_BIN:              return "a binary";
    case MSGPACK_OBJECT_EXT:              return o->via.ext.type == VALUE_EXT_REF ? "a ref" : "an ext";
    default:                              return "nothing known";
    }
}

static int
expected(struct unpacking *k, const struct path *path, const char *what, const msgpack_object *o)
{
    return refuse(k, path, NX_EINVAL, "expected %s, found %s", what, type_name(o));
}

/* ---- scalars */

static int
take_integer(struct unpacking *k, const struct path *path, const msgpack_object *o, char letter)
{
    bool negative = o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER;
    if (!negative && o->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return expected(k, path, "an integer", o);
    uint64_t most = letter == 'i' ? INT_MAX : letter == 'I' ? INT64_MAX : UINT64_MAX;
    if (negative && (letter == 'u' || (letter == 'i' && o->via.i64 < INT_MIN)))
        return refuse(k, path, NX_EINVAL, "%lld does not fit", (long long)o->via.i64);
    if (!negative && o->via.u64 > most)
        return refuse(k, path, NX_EINVAL, "%llu does not fit", (unsigned long long)o->via.u64);
    if (letter == 'i')
        *va_arg(k->ap, int *) = (int)o->via.i64;
    else if (letter == 'I')
        *va_arg(k->ap, int64_t *) = o->via.i64;
    else
        *va_arg(k->ap, uint64_t *) = o->via.u64;
    return 0;
}

static int
take_float(struct unpacking *k, const struct path *path, const msgpack_object *o)
{
    double x;
    switch (o->type) {
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:          x = o->via.f64; break;
    case MSGPACK_OBJECT_POSITIVE_INTEGER: x = (double)o->via.u64; break;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER: x = (double)o->via.i64; break;
    default: return expected(k, path, "a number", o);
    }
    *va_arg(k->ap, double *) = x;
    return 0;
}

/* `s` or `s#`, behind the letter. */
static int
take_string(struct unpacking *k, const struct path *path, const msgpack_object *o)
{
    bool with_length = *k->at == '#';
    k->at += with_length;
    if (o->type != MSGPACK_OBJECT_STR)
        return expected(k, path, "a string", o);
    const char *text = o->via.str.ptr;
    if (with_length) {
        *va_arg(k->ap, const char **) = text;
        *va_arg(k->ap, size_t *) = o->via.str.size;
        return 0;
    }
    size_t len = strnlen(text, (size_t)o->via.str.size + 1);
    if (len != o->via.str.size)                       /* longer: not made by value_decode, and no C string */
        return refuse(k, path, NX_EINVAL, len < o->via.str.size ? "string holds a NUL" : "string does not end in a NUL");
    *va_arg(k->ap, const char **) = text;
    return 0;
}

static int
take_binary(struct unpacking *k, const struct path *path, const msgpack_object *o)
{
    if (o->type != MSGPACK_OBJECT_BIN)
        return expected(k, path, "a binary", o);
    *va_arg(k->ap, const void **) = o->via.bin.ptr;
    *va_arg(k->ap, size_t *) = o->via.bin.size;
    return 0;
}

static int
take_ref(struct unpacking *k, const struct path *path, const msgpack_object *o)
{
    if (o->type != MSGPACK_OBJECT_EXT || o->via.ext.type != VALUE_EXT_REF)
        return expected(k, path, "a ref", o);
    if (value_codec == NULL)
        return refuse(k, path, NX_EINVAL, "refs are not known in this process");
    nx_ref ref;
    struct base_error inner = { 0 };
    int err = value_codec->decode((const uint8_t *)o->via.ext.ptr, o->via.ext.size, &ref, &inner);
    if (err != 0)
        return refuse(k, path, err, "ref: %s", inner.text);
    *va_arg(k->ap, nx_ref *) = ref;
    return 0;
}

static int
take_bool(struct unpacking *k, const struct path *path, const msgpack_object *o)
{
    if (o->type != MSGPACK_OBJECT_BOOLEAN)
        return expected(k, path, "a boolean", o);
    *va_arg(k->ap, int *) = o->via.boolean;
    return 0;
}

/* ---- structure */

static void
skip_space(struct unpacking *k)
{
    while (*k->at == ' ' || *k->at == ',' || *k->at == ':' || *k->at == '\n' || *k->at == '\t')
        k->at++;
}

/* Behind a key: is it optional? Spaces may stand around the mark. */
static bool
take_mark(struct unpacking *k)
{
    bool optional = false;
    for (;; k->at++) {
        if (*k->at == '?')
            optional = true;
        else if (*k->at != ':' && *k->at != ' ' && *k->at != '\n' && *k->at != '\t')
            return optional;
    }
}

/* Over the format and the variables of a value that is not there. Everything passed to nx_unpack is a pointer. */
static int
skip_one(struct unpacking *k, unsigned depth)
{
    skip_space(k);
    char letter = *k->at;
    if (letter == '\0')
        return refuse_format(k, "a value is missing");
    k->at++;
    switch (letter) {
    case 'n':
        return 0;
    case 's':
        (void)va_arg(k->ap, void *);
        if (*k->at == '#') {
            k->at++;
            (void)va_arg(k->ap, void *);
        }
        return 0;
    case 'y':
        (void)va_arg(k->ap, void *);
        (void)va_arg(k->ap, void *);
        return 0;
    case 'b': case 'i': case 'I': case 'u': case 'f': case 'r': case 'v':
        (void)va_arg(k->ap, void *);
        return 0;
    case '[': case '{':
        if (depth >= VALUE_DEPTH_MAX)
            return refuse_format(k, "brackets nested too deep");
        for (;;) {
            skip_space(k);
            if (*k->at == (letter == '[' ? ']' : '}')) {
                k->at++;
                return 0;
            }
            if (letter == '{' && *k->at == '!') {
                k->at++;
                continue;
            }
            if (letter == '{') {
                if (*k->at != 's')
                    return refuse_format(k, *k->at == '\0' ? "missing '}'" : "a key must be 's'");
                k->at++;
                (void)va_arg(k->ap, const char *);
                (void)take_mark(k);
            }
            int err = skip_one(k, depth + 1);
            if (err != 0)
                return err;
        }
    default:
        k->at--;
        return refuse_format(k, "wrong letter");
    }
}

static int take_one(struct unpacking *k, const struct path *path, const msgpack_object *o, unsigned depth);

static int
take_array(struct unpacking *k, const struct path *path, const msgpack_object *o, unsigned depth)
{
    if (o->type != MSGPACK_OBJECT_ARRAY)
        return expected(k, path, "an array", o);
    struct path here = { .up = path };
    for (;; here.index++) {
        skip_space(k);
        if (*k->at == ']')
            break;
        if (here.index >= o->via.array.size)
            return refuse(k, path, NX_EINVAL, "array of %u is too short", o->via.array.size);
        int err = take_one(k, &here, &o->via.array.ptr[here.index], depth + 1);
        if (err != 0)
            return err;
    }
    k->at++;
    if (here.index != o->via.array.size)
        return refuse(k, path, NX_EINVAL, "expected an array of %zu, found one of %u", here.index, o->via.array.size);
    return 0;
}

/* Index of the first pair with this key; map->size if there is none. */
static uint32_t
find_key(const msgpack_object_map *map, const char *key, size_t len)
{
    uint32_t i = 0;
    for (; i < map->size; i++) {
        const msgpack_object *have = &map->ptr[i].key;
        if (have->type == MSGPACK_OBJECT_STR && have->via.str.size == len && memcmp(have->via.str.ptr, key, len) == 0)
            break;
    }
    return i;
}

/* `!`: every pair must have been asked for. `seen` knows the first 64 pairs, `found` counts all. */
static int
refuse_others(struct unpacking *k, const struct path *path, const msgpack_object_map *map, uint64_t seen, size_t found)
{
    if (found == map->size)
        return 0;
    for (uint32_t i = 0; i < map->size && i < 64; i++) {
        const msgpack_object *key = &map->ptr[i].key;
        if ((seen >> i & 1) == 0 && key->type == MSGPACK_OBJECT_STR)
            return refuse(k, path, NX_EINVAL, "key \"%.*s\" is not known here", (int)(key->via.str.size < 80 ? key->via.str.size : 80),
                          key->via.str.ptr);
    }
    return refuse(k, path, NX_EINVAL, "%zu keys are known here, found %u", found, map->size);
}

static int
take_map(struct unpacking *k, const struct path *path, const msgpack_object *o, unsigned depth)
{
    if (o->type != MSGPACK_OBJECT_MAP)
        return expected(k, path, "a map", o);
    const msgpack_object_map *map = &o->via.map;
    uint64_t seen = 0;
    size_t found = 0;
    bool only_these = false;
    for (;;) {
        skip_space(k);
        char letter = *k->at;
        if (letter == '}')
            break;
        if (letter == '!') {
            only_these = true;
            k->at++;
            continue;
        }
        if (letter != 's' || only_these)
            return refuse_format(k, letter == '\0' ? "missing '}'" : only_these ? "'!' must be last" : "a key must be 's'");
        k->at++;
        struct path here = { .up = path, .key = va_arg(k->ap, const char *) };
        if (here.key == NULL)
            return refuse_format(k, "NULL for a key");
        bool optional = take_mark(k);
        uint32_t i = find_key(map, here.key, strlen(here.key));
        bool there = i < map->size;
        if (!there && !optional)
            return refuse(k, &here, NX_EINVAL, "missing");
        found += there;
        seen |= there && i < 64 ? UINT64_C(1) << i : 0;
        bool skipped = !there || (optional && map->ptr[i].val.type == MSGPACK_OBJECT_NIL);
        int err = skipped ? skip_one(k, depth + 1) : take_one(k, &here, &map->ptr[i].val, depth + 1);
        if (err != 0)
            return err;
    }
    k->at++;
    return only_these ? refuse_others(k, path, map, seen, found) : 0;
}

static int
take_one(struct unpacking *k, const struct path *path, const msgpack_object *o, unsigned depth)
{
    skip_space(k);
    char letter = *k->at;
    if (letter == '\0')
        return refuse_format(k, "a value is missing");
    if (depth >= VALUE_DEPTH_MAX && (letter == '{' || letter == '['))
        return refuse_format(k, "brackets nested too deep");
    k->at++;
    switch (letter) {
    case 'n': return o->type == MSGPACK_OBJECT_NIL ? 0 : expected(k, path, "nil", o);
    case 'b': return take_bool(k, path, o);
    case 'i': case 'I': case 'u': return take_integer(k, path, o, letter);
    case 'f': return take_float(k, path, o);
    case 's': return take_string(k, path, o);
    case 'y': return take_binary(k, path, o);
    case 'r': return take_ref(k, path, o);
    case 'v': *va_arg(k->ap, nx_value *) = (nx_value){ .object = o }; return 0;
    case '{': return take_map(k, path, o, depth);
    case '[': return take_array(k, path, o, depth);
    default:
        k->at--;
        return refuse_format(k, "wrong letter");
    }
}

int
value_vunpack(nx_value v, struct base_error *why, const char *fmt, va_list ap)
{
    if (fmt == NULL)
        return base_error_set(why, NX_EINVAL, NULL, "no format");
    if (v.object == NULL)
        return base_error_set(why, NX_EINVAL, NULL, v.packed == NULL ? "no value" : "the value is packed only: decode it first");
    struct unpacking k = { .fmt = fmt, .at = fmt, .why = why };
    va_copy(k.ap, ap);
    int err = take_one(&k, NULL, v.object, 0);
    if (err == 0) {
        skip_space(&k);
        if (*k.at != '\0')
            err = refuse_format(&k, "more than one value");
    }
    va_end(k.ap);
    return err;
}

int
nx_vunpack(nx_value value, const char *fmt, va_list ap)
{
    struct base_error *why = value_last_error();
    int err = value_vunpack(value, why, fmt, ap);
    if (err != 0)
        base_error_set(why, err, why->subject, "nx_unpack: %s", why->text);
    return err;
}

int
nx_unpack(nx_value value, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int err = nx_vunpack(value, fmt, ap);
    va_end(ap);
    return err;
}
