/*
 * test_item.c - each head of the format, read back from what msgpack-c packs and from recorded bytes.
 */
#include "wire/item.h"

#include <string.h>

#include <msgpack.h>

#include "unit.h"
#include "vector.h"

static struct item
one(const char *hex, size_t len)
{
    static uint8_t bytes[64];
    struct item it = { .type = ITEM_NIL };
    vector_hex(hex, bytes, len);
    struct item_reader r = { bytes, bytes + len };
    CU_ASSERT_TRUE(item_next(&r, &it));
    CU_ASSERT_PTR_EQUAL(r.at, bytes + len);
    return it;
}

static void
number(const char *hex, size_t len, enum item_type type, uint64_t value)
{
    struct item it = one(hex, len);
    CU_ASSERT_EQUAL(it.type, type);
    CU_ASSERT_EQUAL(it.number, value);
}

UNIT(item, numbers_of_every_form)
{
    number("00", 1, ITEM_UINT, 0);
    number("7f", 1, ITEM_UINT, 127);
    number("cc ff", 2, ITEM_UINT, 255);
    number("cd 0001", 3, ITEM_UINT, 1);
    number("ce ffffffff", 5, ITEM_UINT, UINT32_MAX);
    number("cf ffffffffffffffff", 9, ITEM_UINT, UINT64_MAX);
    number("d0 7f", 2, ITEM_UINT, 127);
    number("d3 7fffffffffffffff", 9, ITEM_UINT, INT64_MAX);
    number("ff", 1, ITEM_NEGATIVE, (uint64_t)-1);
    number("e0", 1, ITEM_NEGATIVE, (uint64_t)-32);
    number("d0 80", 2, ITEM_NEGATIVE, (uint64_t)-128);
    number("d1 8000", 3, ITEM_NEGATIVE, (uint64_t)INT16_MIN);
    number("d2 80000000", 5, ITEM_NEGATIVE, (uint64_t)INT32_MIN);
    number("d3 8000000000000000", 9, ITEM_NEGATIVE, (uint64_t)INT64_MIN);
    number("c2", 1, ITEM_BOOL, 0);
    number("c3", 1, ITEM_BOOL, 1);
    number("c0", 1, ITEM_NIL, 0);
    number("ca 7fc00000", 5, ITEM_FLOAT, 0x7fc00000);
    number("cb 7ff8000000000000", 9, ITEM_FLOAT, 0x7ff8000000000000);
    number("9f", 1, ITEM_ARRAY, 15);
    number("dc 0100", 3, ITEM_ARRAY, 256);
    number("dd 00010000", 5, ITEM_ARRAY, 65536);
    number("8f", 1, ITEM_MAP, 15);
    number("de 0100", 3, ITEM_MAP, 256);
    number("df 00010000", 5, ITEM_MAP, 65536);
}

static void
run(const char *hex, size_t len, enum item_type type, int ext_type, const char *content)
{
    struct item it = one(hex, len);
    CU_ASSERT_EQUAL(it.type, type);
    CU_ASSERT_EQUAL(it.ext_type, ext_type);
    CU_ASSERT_EQUAL(it.len, strlen(content));
    CU_ASSERT_EQUAL(memcmp(it.at, content, it.len), 0);
}

UNIT(item, texts_binary_and_ext_of_every_form)
{
    run("a0", 1, ITEM_STR, 0, "");
    run("a3 616263", 4, ITEM_STR, 0, "abc");
    run("d9 03 616263", 5, ITEM_STR, 0, "abc");
    run("da 0003 616263", 6, ITEM_STR, 0, "abc");
    run("db 00000003 616263", 8, ITEM_STR, 0, "abc");
    run("c4 03 616263", 5, ITEM_BIN, 0, "abc");
    run("c5 0003 616263", 6, ITEM_BIN, 0, "abc");
    run("c6 00000003 616263", 8, ITEM_BIN, 0, "abc");
    run("d4 01 61", 3, ITEM_EXT, 1, "a");
    run("d5 ff 6162", 4, ITEM_EXT, -1, "ab");
    run("d6 01 61626364", 6, ITEM_EXT, 1, "abcd");
    run("d7 01 6162636461626364", 10, ITEM_EXT, 1, "abcdabcd");
    run("d8 01 61626364616263646162636461626364", 18, ITEM_EXT, 1, "abcdabcdabcdabcd");
    run("c7 00 05", 3, ITEM_EXT, 5, "");
    run("c7 03 80 616263", 6, ITEM_EXT, -128, "abc");
    run("c8 0003 7f 616263", 7, ITEM_EXT, 127, "abc");
    run("c9 00000003 01 616263", 9, ITEM_EXT, 1, "abc");
}

UNIT(item, skipping_passes_over_everything_inside)
{
    msgpack_sbuffer sb;
    msgpack_packer pk;
    struct item it;

    msgpack_sbuffer_init(&sb);
    msgpack_packer_init(&pk, &sb, msgpack_sbuffer_write);
    for (int i = 0; i < 3; i++) {
        msgpack_pack_map(&pk, 2);
        msgpack_pack_int(&pk, 1);
        msgpack_pack_array(&pk, 20);
        for (int k = 0; k < 20; k++)
            msgpack_pack_array(&pk, 0);
        msgpack_pack_str_with_body(&pk, "key", 3);
        msgpack_pack_double(&pk, 1.5);
    }
    msgpack_pack_int(&pk, 42);
    struct item_reader r = { (const uint8_t *)sb.data, (const uint8_t *)sb.data + sb.size };
    CU_ASSERT_TRUE(item_skip(&r, 3));
    CU_ASSERT_TRUE(item_next(&r, &it));
    CU_ASSERT_EQUAL(it.number, 42);
    CU_ASSERT_FALSE(item_next(&r, &it));
    CU_ASSERT_FALSE(item_skip(&r, 1));
    CU_ASSERT_TRUE(item_skip(&r, 0));
    msgpack_sbuffer_destroy(&sb);
}

UNIT(item, cut_bytes_end_and_nothing_behind_them_is_read)
{
    static const struct { const char *hex; size_t len; } whole[] = {
        { "cf ffffffffffffffff", 9 }, { "d3 8000000000000000", 9 }, { "a3 616263", 4 }, { "db 00000003 616263", 8 },
        { "c6 00000003 616263", 8 },
        { "c9 00000003 01 616263", 9 }, { "d8 01 61626364616263646162636461626364", 18 }, { "cb 7ff8000000000000", 9 },
        { "dd 00010000", 5 },
    };
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
        uint8_t bytes[32];
        vector_hex(whole[i].hex, bytes, whole[i].len);
        for (size_t len = 0; len < whole[i].len; len++) {
            struct item_reader r = { bytes, bytes + len };
            struct item it;
            CU_ASSERT_FALSE(item_next(&r, &it));
            CU_ASSERT_TRUE(r.at <= bytes + len);
        }
    }
}
