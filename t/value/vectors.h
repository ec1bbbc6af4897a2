/*
 * vectors.h - recorded msgpack, as the specification writes it, and a few helpers for the tests of this room.
 */
#ifndef NOEXD_T_VALUE_VECTORS_H
#define NOEXD_T_VALUE_VECTORS_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <msgpack/object.h>

#include "value/value.h"

static const struct value_limits vector_limits = VALUE_LIMITS_DEFAULT;

/* `smallest`: the form that a packer chooses for this value, so packing gives these bytes back. */
struct vector { const char *name, *hex; bool smallest; };
static const struct vector vectors[] = {
    { "nil", "c0", true }, { "false", "c2", true }, { "true", "c3", true },
    { "0", "00", true }, { "127", "7f", true }, { "-1", "ff", true }, { "-32", "e0", true },
    { "128", "cc80", true }, { "255", "ccff", true }, { "256", "cd0100", true }, { "65535", "cdffff", true },
    { "65536", "ce00010000", true }, { "2^32-1", "ceffffffff", true }, { "2^32", "cf0000000100000000", true },
    { "int64 max", "cf7fffffffffffffff", true }, { "uint64 max", "cfffffffffffffffff", true },
    { "-33", "d0df", true }, { "-128", "d080", true }, { "-129", "d1ff7f", true }, { "-32768", "d18000", true },
    { "-32769", "d2ffff7fff", true }, { "-2^31", "d280000000", true }, { "-2^31-1", "d3ffffffff7fffffff", true },
    { "int64 min", "d38000000000000000", true },
    { "7 in 8 bits", "cc07", false }, { "7 in 64 bits", "cf0000000000000007", false }, { "7 as int8", "d007", false },
    { "7 as int64", "d30000000000000007", false }, { "-1 as int32", "d2ffffffff", false },
    { "float32 1.5", "ca3fc00000", true }, { "float32 0.1", "ca3dcccccd", true }, { "float32 -0", "ca80000000", true },
    { "float32 inf", "ca7f800000", true }, { "float32 nan", "ca7fc00000", true }, { "float32 subnormal", "ca00000001", true },
    { "float64 0.1", "cb3fb999999999999a", true }, { "float64 -0", "cb8000000000000000", true },
    { "float64 inf", "cb7ff0000000000000", true }, { "float64 -inf", "cbfff0000000000000", true },
    { "float64 nan", "cb7ff8000000000000", true }, { "float64 nan with payload", "cbfff8000000c0ffee", true },
    { "float64 subnormal", "cb0000000000000001", true }, { "float64 max", "cb7fefffffffffffff", true },
    { "empty str", "a0", true }, { "str a", "a161", true }, { "str with NUL", "a3610062", true },
    { "str8 of 3", "d903616263", false }, { "str16 of 1", "da000161", false }, { "str32 of 0", "db00000000", false },
    { "str of 32", "d9206161616161616161616161616161616161616161616161616161616161616161", true },
    { "str that is not UTF-8", "a2fffe", true },
    { "empty bin", "c400", true }, { "bin", "c403000102", true }, { "bin16", "c5000100", false }, { "bin32", "c60000000100", false },
    { "empty array", "90", true }, { "array", "93010203", true }, { "array16", "dc0002c0c0", false }, { "array32", "dd00000000", false },
    { "array of 16", "dc001000000000000000000000000000000000", true },
    { "empty map", "80", true }, { "map", "81a474797065a3676574", true }, { "map16", "de000101c0", false }, { "map32", "df00000000", false },
    { "map of maps", "82a16181a16280a16392c0829001c2c3", true },
    { "map with every kind of key", "87c0010102a1ff03cb3ff000000000000004910505c4010006d4050007", true },
    { "map with a key twice", "82a16101a16102", true },
    { "fixext 1", "d40500", true }, { "fixext 2", "d5050001", true }, { "fixext 4", "d60500010203", true },
    { "fixext 8", "d7050001020304050607", true }, { "fixext 16", "d805000102030405060708090a0b0c0d0e0f", true },
    { "ext8 of 0", "c70005", true }, { "ext8 of 3", "c70305000102", true }, { "ext8 of 1", "c7010500", false },
    { "ext16", "c80003050a0b0c", false }, { "ext32", "c900000000ff", false },
    { "timestamp 32", "d6ff5a4af6a5", true }, { "timestamp 64", "d7ffa1dcd7c85a4af6a5", true },
    { "timestamp 96", "c70cff3b9ac9ffffffffffffffffff", true },
    { "a type of ext nobody knows", "c70380beef00", true },
    { "a call", "82a5636f756e7407ad6c61737455706461746564427993a1619081c0c0", true },
};
enum { VECTORS = sizeof vectors / sizeof vectors[0] };

/* Says which one before the assertion fails. */
#define VECTOR_FAIL(i) do { printf("# %s\n", vectors[i].name); CU_FAIL("this value"); } while (0)

struct bytes { uint8_t data[256]; size_t len; };

static inline struct bytes
unhex(const char *hex)
{
    struct bytes b = { .len = strlen(hex) / 2 };
    for (size_t i = 0; i < b.len; i++) {
        unsigned x = 0;
        (void)sscanf(hex + 2 * i, "%2x", &x);
        b.data[i] = (uint8_t)x;
    }
    return b;
}

/* A copy in a block of exactly its size, so that a sanitizer sees the first byte read beyond. */
static inline uint8_t *
exact(const void *data, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    if (copy == NULL)
        abort();
    if (len > 0)
        memcpy(copy, data, len);
    return copy;
}

static inline bool
same_bytes(const char *a, uint32_t a_len, const char *b, uint32_t b_len)
{
    return a_len == b_len && (a_len == 0 || memcmp(a, b, a_len) == 0);     /* msgpack-c points nowhere when there is nothing */
}

/* Equal bit by bit: NaN equals itself, -0 differs from 0, a float32 from a float64. */
static inline bool
same_object(const msgpack_object *a, const msgpack_object *b)
{
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case MSGPACK_OBJECT_NIL: return true;
    case MSGPACK_OBJECT_BOOLEAN: return a->via.boolean == b->via.boolean;
    case MSGPACK_OBJECT_STR:
        return same_bytes(a->via.str.ptr, a->via.str.size, b->via.str.ptr, b->via.str.size);
    case MSGPACK_OBJECT_BIN:
        return same_bytes(a->via.bin.ptr, a->via.bin.size, b->via.bin.ptr, b->via.bin.size);
    case MSGPACK_OBJECT_EXT:
        return a->via.ext.type == b->via.ext.type && same_bytes(a->via.ext.ptr, a->via.ext.size, b->via.ext.ptr, b->via.ext.size);
    case MSGPACK_OBJECT_ARRAY:
        if (a->via.array.size != b->via.array.size)
            return false;
        for (uint32_t i = 0; i < a->via.array.size; i++)
            if (!same_object(&a->via.array.ptr[i], &b->via.array.ptr[i]))
                return false;
        return true;
    case MSGPACK_OBJECT_MAP:
        if (a->via.map.size != b->via.map.size)
            return false;
        for (uint32_t i = 0; i < a->via.map.size; i++)
            if (!same_object(&a->via.map.ptr[i].key, &b->via.map.ptr[i].key) ||
                !same_object(&a->via.map.ptr[i].val, &b->via.map.ptr[i].val))
                return false;
        return true;
    default:
        return a->via.u64 == b->via.u64;
    }
}

/* What a process hands down at start: here the node's number and the serial are all that a ref has. "#NODE.SERIAL" in text. */
extern const struct value_ref_codec test_codec;

#endif
