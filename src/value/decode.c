/*
 * decode.c - packed bytes into msgpack-c's objects.
 *
 * Lives here: the decoder, which trusts what the scan has passed and so checks nothing; the stricter rules of system messages.
 * Never here: msgpack-c's own unpacker. It allocates as it goes, chunk by chunk, and leaves strings without their NUL; this one
 * knows from the scan how much it needs, asks once, and gives C strings. The layout of the objects is msgpack-c's.
 * Runs in: every process that decodes.
 */
#include "value/value_priv.h"

#include <math.h>
#include <msgpack/object.h>

#include "base/base.h"
#include "base/random.h"
#include "base/table.h"
#include "base/utf8.h"
#include "noex/errors.h"

/* A pair is its two objects one after the other, so that children of both containers are filled by the same loop. */
_Static_assert(sizeof(msgpack_object_kv) == 2 * sizeof(msgpack_object), "a pair is two objects");
_Static_assert(offsetof(msgpack_object_kv, val) == sizeof(msgpack_object), "the value follows its key");

struct decoder {
    const uint8_t *at;
    msgpack_object *fresh;                            /* the next object not yet given out */
    char *text;                                       /* the next byte for strings */
};

static inline void
set_uint(msgpack_object *o, uint64_t x)
{
    o->type = MSGPACK_OBJECT_POSITIVE_INTEGER;
    o->via.u64 = x;
}

static inline void
set_int(msgpack_object *o, int64_t x)
{
    o->type = x >= 0 ? MSGPACK_OBJECT_POSITIVE_INTEGER : MSGPACK_OBJECT_NEGATIVE_INTEGER;
    o->via.i64 = x;
}

static inline void
set_str(struct decoder *d, msgpack_object *o, uint32_t len)
{
    o->type = MSGPACK_OBJECT_STR;
    o->via.str.size = len;
    o->via.str.ptr = d->text;
    memcpy(d->text, d->at, len);
    d->text[len] = '\0';
    d->text += len + 1;
    d->at += len;
}

static inline void
set_bin(struct decoder *d, msgpack_object *o, uint32_t len)
{
    o->type = MSGPACK_OBJECT_BIN;
    o->via.bin.size = len;
    o->via.bin.ptr = (const char *)d->at;
    d->at += len;
}

static inline void
set_ext(struct decoder *d, msgpack_object *o, uint32_t len)
{
    o->type = MSGPACK_OBJECT_EXT;
    o->via.ext.type = (int8_t)d->at[0];
    o->via.ext.size = len;
    o->via.ext.ptr = (const char *)d->at + 1;
    d->at += (size_t)len + 1;
}

/* Returns the number of objects that follow as its children. */
static inline uint32_t
set_array(struct decoder *d, msgpack_object *o, uint32_t count)
{
    o->type = MSGPACK_OBJECT_ARRAY;
    o->via.array.size = count;
    o->via.array.ptr = count > 0 ? d->fresh : NULL;
    return count;
}

static inline uint32_t
set_map(struct decoder *d, msgpack_object *o, uint32_t pairs)
{
    o->type = MSGPACK_OBJECT_MAP;
    o->via.map.size = pairs;
    o->via.map.ptr = pairs > 0 ? (msgpack_object_kv *)(void *)d->fresh : NULL;
    return pairs * 2;                                 /* at most the object budget */
}

static inline uint8_t take8(struct decoder *d) { return *d->at++; }
static inline uint16_t take16(struct decoder *d) { d->at += 2; return value_load16(d->at - 2); }
static inline uint32_t take32(struct decoder *d) { d->at += 4; return value_load32(d->at - 4); }
static inline uint64_t take64(struct decoder *d) { d->at += 8; return value_load64(d->at - 8); }

static inline void
set_float(msgpack_object *o, uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    o->type = MSGPACK_OBJECT_FLOAT32;
    o->via.f64 = (double)x;
}

static inline void
set_double(msgpack_object *o, uint64_t bits)
{
    o->type = MSGPACK_OBJECT_FLOAT64;
    memcpy(&o->via.f64, &bits, sizeof bits);
}

/* One head and its body into *o. Returns the number of children that follow. */
static inline uint32_t
decode_one(struct decoder *d, msgpack_object *o)
{
    uint8_t b = *d->at++;
    if (b < 0x80)
        return set_uint(o, b), 0;
    if (b >= 0xe0)
        return set_int(o, (int8_t)b), 0;
    if (b >= 0xa0 && b < 0xc0)
        return set_str(d, o, b & 31), 0;
    if (b < 0x90)
        return set_map(d, o, b & 15);
    if (b < 0xa0)
        return set_array(d, o, b & 15);
    switch (b) {
    case 0xc0: o->type = MSGPACK_OBJECT_NIL; o->via.u64 = 0; return 0;
    case 0xc2: o->type = MSGPACK_OBJECT_BOOLEAN; o->via.u64 = 0; o->via.boolean = false; return 0;
    case 0xc3: o->type = MSGPACK_OBJECT_BOOLEAN; o->via.u64 = 0; o->via.boolean = true; return 0;
    case 0xc4: set_bin(d, o, take8(d)); return 0;
    case 0xc5: set_bin(d, o, take16(d)); return 0;
    case 0xc6: set_bin(d, o, take32(d)); return 0;
    case 0xc7: set_ext(d, o, take8(d)); return 0;
    case 0xc8: set_ext(d, o, take16(d)); return 0;
    case 0xc9: set_ext(d, o, take32(d)); return 0;
    case 0xca: set_float(o, take32(d)); return 0;
    case 0xcb: set_double(o, take64(d)); return 0;
    case 0xcc: set_uint(o, take8(d)); return 0;
    case 0xcd: set_uint(o, take16(d)); return 0;
    case 0xce: set_uint(o, take32(d)); return 0;
    case 0xcf: set_uint(o, take64(d)); return 0;
    case 0xd0: set_int(o, (int8_t)take8(d)); return 0;
    case 0xd1: set_int(o, (int16_t)take16(d)); return 0;
    case 0xd2: set_int(o, (int32_t)take32(d)); return 0;
    case 0xd3: set_int(o, (int64_t)take64(d)); return 0;
    case 0xd4: set_ext(d, o, 1); return 0;
    case 0xd5: set_ext(d, o, 2); return 0;
    case 0xd6: set_ext(d, o, 4); return 0;
    case 0xd7: set_ext(d, o, 8); return 0;
    case 0xd8: set_ext(d, o, 16); return 0;
    case 0xd9: set_str(d, o, take8(d)); return 0;
    case 0xda: set_str(d, o, take16(d)); return 0;
    case 0xdb: set_str(d, o, take32(d)); return 0;
    case 0xdc: return set_array(d, o, take16(d));
    case 0xdd: return set_array(d, o, take32(d));
    case 0xde: return set_map(d, o, take16(d));
    case 0xdf: return set_map(d, o, take32(d));
    default:   nx_assert(!"the scan refuses 0xc1"); return 0;
    }
}

static void
decode_all(struct decoder *d, msgpack_object *root)
{
    struct { msgpack_object *next, *end; } level[VALUE_DEPTH_MAX];
    size_t depth = 0;
    msgpack_object *o = root;
    for (;;) {
        uint32_t children = decode_one(d, o);
        if (children > 0) {
            level[depth].next = d->fresh;
            level[depth].end = d->fresh += children;
            depth++;
        }
        while (depth > 0 && level[depth - 1].next == level[depth - 1].end)
            depth--;
        if (depth == 0)
            return;
        o = level[depth - 1].next++;
    }
}

int
value_decode(struct value_zone *z, const void *bytes, size_t len, const struct value_limits *limits, nx_value *out,
             struct base_error *why)
{
    struct value_needs needs;
    int err = value_measure(bytes, len, limits, &needs, why);
    if (err != 0)
        return err;

    /* No overflow: a scan that passes has found a byte for each object and for each byte of text. */
    msgpack_object *root = value_zone_alloc(z, needs.objects * sizeof(msgpack_object) + needs.text_bytes);
    if (root == NULL)
        return base_error_set(why, NX_ENOMEM, NULL, "no memory to decode %zu objects", needs.objects);
    msgpack_object *past = root + needs.objects;
    struct decoder d = { .at = bytes, .fresh = root + 1, .text = (char *)past };
    decode_all(&d, root);
    nx_assert(d.fresh == past && d.text == (char *)past + needs.text_bytes && d.at == (const uint8_t *)bytes + len);
    *out = (nx_value){ .object = root, .packed = bytes, .packed_len = len };
    return 0;
}

/* ---- strict */

enum { STRICT_FEW = 16 };                             /* up to here every key is compared with every other */

static bool
same_key(const msgpack_object_kv *a, const msgpack_object_kv *b)
{
    return a->key.via.str.size == b->key.via.str.size && memcmp(a->key.via.str.ptr, b->key.via.str.ptr, a->key.via.str.size) == 0;
}

/* Many keys: a set of indexes (+1, 0 = free) by keyed hash, so that a stranger cannot make it quadratic. */
static int
find_duplicate(struct value_zone *z, const msgpack_object_map *map, const msgpack_object_kv **found)
{
    static uint64_t hash_key;
    if (hash_key == 0) {
        int err = random_u64(&hash_key);
        if (err != 0)
            return err;
    }
    size_t slots = 1;
    while (slots < (size_t)map->size * 2)
        slots *= 2;
    uint32_t *set = value_zone_alloc(z, slots * sizeof *set);
    if (set == NULL)
        return NX_ENOMEM;
    memset(set, 0, slots * sizeof *set);
    for (uint32_t i = 0; i < map->size; i++) {
        size_t at = table_hash(hash_key, map->ptr[i].key.via.str.ptr, map->ptr[i].key.via.str.size) & (slots - 1);
        for (; set[at] != 0; at = (at + 1) & (slots - 1))
            if (same_key(&map->ptr[set[at] - 1], &map->ptr[i])) {
                *found = &map->ptr[i];
                return 0;
            }
        set[at] = i + 1;
    }
    return 0;
}

static int
check_keys(struct value_zone *z, const msgpack_object_map *map, struct base_error *why)
{
    const msgpack_object_kv *twice = NULL;
    for (uint32_t i = 0; i < map->size; i++)
        if (map->ptr[i].key.type != MSGPACK_OBJECT_STR)
            return base_error_set(why, NX_EBADMSG, NULL, "a key of a map is not a string");
    if (map->size > STRICT_FEW) {
        int err = find_duplicate(z, map, &twice);
        if (err != 0)
            return base_error_set(why, err, NULL, "cannot check the keys of a map of %u", map->size);
    } else {
        for (uint32_t i = 1; i < map->size && twice == NULL; i++)
            for (uint32_t j = 0; j < i && twice == NULL; j++)
                if (same_key(&map->ptr[i], &map->ptr[j]))
                    twice = &map->ptr[i];
    }
    if (twice != NULL)
        return base_error_set(why, NX_EBADMSG, NULL, "key \"%.100s\" comes twice", twice->key.via.str.ptr);
    return 0;
}

/* Recursion is bounded by the scan: VALUE_DEPTH_MAX. */
static int
check_strict(struct value_zone *z, const msgpack_object *o, struct base_error *why)
{
    int err = 0;
    switch (o->type) {
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        if (!isfinite(o->via.f64))
            return base_error_set(why, NX_EBADMSG, NULL, "a number is infinite or not a number");
        return 0;
    case MSGPACK_OBJECT_STR:
        if (!utf8_is_valid(o->via.str.ptr, o->via.str.size))
            return base_error_set(why, NX_EBADMSG, NULL, "a string is not valid UTF-8");
        return 0;
    case MSGPACK_OBJECT_EXT:
        if (o->via.ext.type != VALUE_EXT_REF || o->via.ext.size > VALUE_EXT_REF_MAX)
            return base_error_set(why, NX_EBADMSG, NULL, "ext type %d of %u bytes is no ref", o->via.ext.type, o->via.ext.size);
        return 0;
    case MSGPACK_OBJECT_ARRAY:
        for (uint32_t i = 0; i < o->via.array.size && err == 0; i++)
            err = check_strict(z, &o->via.array.ptr[i], why);
        return err;
    case MSGPACK_OBJECT_MAP:
        err = check_keys(z, &o->via.map, why);
        for (uint32_t i = 0; i < o->via.map.size && err == 0; i++) {
            err = check_strict(z, &o->via.map.ptr[i].key, why);
            if (err == 0)
                err = check_strict(z, &o->via.map.ptr[i].val, why);
        }
        return err;
    default:
        return 0;
    }
}

int
value_decode_strict(struct value_zone *z, const void *bytes, size_t len, const struct value_limits *limits, nx_value *out,
                    struct base_error *why)
{
    nx_value v;
    int err = value_decode(z, bytes, len, limits, &v, why);
    if (err == 0)
        err = check_strict(z, v.object, why);
    if (err == 0)
        *out = v;
    return err;
}
