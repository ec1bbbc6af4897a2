/*
 * test_pack.c - formats into recorded bytes.
 */
#include "vectors.h"

#include <limits.h>
#include <math.h>

#include "noex/errors.h"
#include "unit.h"

static nx_packer packer;
static struct bytes want;

static void
begin(size_t max)
{
    value_packer_fini(&packer);
    value_packer_init(&packer, max);
}

#define PACKS(hex, ...) do { \
    begin(0); \
    want = unhex(hex); \
    CU_ASSERT_EQUAL(nx_pack(&packer, __VA_ARGS__), 0); \
    CU_ASSERT_EQUAL(value_packer_value(&packer).packed_len, want.len); \
    CU_ASSERT(buf_len(&packer.bytes) == want.len && memcmp(buf_data(&packer.bytes), want.data, want.len) == 0); \
    value_packer_fini(&packer); \
} while (0)

#define REFUSES(want_, ...) do { \
    begin(1000); \
    CU_ASSERT_EQUAL(nx_pack(&packer, "i", 1), 0); \
    CU_ASSERT_EQUAL(nx_pack(&packer, __VA_ARGS__), (want_)); \
    CU_ASSERT_EQUAL(value_last_error()->code, (want_)); \
    CU_ASSERT_EQUAL(strncmp(value_last_error()->text, "nx_pack: ", 9), 0); \
    CU_ASSERT(buf_len(&packer.bytes) == 1 && buf_data(&packer.bytes)[0] == 1 && value_packer_count(&packer) == 1); \
    value_packer_fini(&packer); \
} while (0)

UNIT(pack, each_letter_makes_the_smallest_form)
{
    PACKS("c0", "n");
    PACKS("c3", "b", 5);
    PACKS("c2", "b", 0);
    static const struct { int64_t x; const char *hex; } ints[] = {
        { 0, "00" }, { 127, "7f" }, { 128, "cc80" }, { 255, "ccff" }, { 256, "cd0100" }, { 65535, "cdffff" }, { 65536, "ce00010000" },
        { UINT32_MAX, "ceffffffff" }, { INT64_C(1) << 32, "cf0000000100000000" }, { INT64_MAX, "cf7fffffffffffffff" }, { -1, "ff" },
        { -32, "e0" }, { -33, "d0df" }, { -128, "d080" }, { -129, "d1ff7f" }, { -32768, "d18000" }, { -32769, "d2ffff7fff" },
        { INT32_MIN, "d280000000" }, { (int64_t)INT32_MIN - 1, "d3ffffffff7fffffff" }, { INT64_MIN, "d38000000000000000" },
    };
    for (size_t i = 0; i < sizeof ints / sizeof ints[0]; i++) {
        PACKS(ints[i].hex, "I", ints[i].x);
        if (ints[i].x >= INT_MIN && ints[i].x <= INT_MAX)
            PACKS(ints[i].hex, "i", (int)ints[i].x);
        if (ints[i].x >= 0)
            PACKS(ints[i].hex, "u", (uint64_t)ints[i].x);
    }
    PACKS("cfffffffffffffffff", "u", UINT64_MAX);
    PACKS("cb3fb999999999999a", "f", 0.1);
    PACKS("cb8000000000000000", "f", -0.0);
    PACKS("cb7ff8000000000000", "f", (double)NAN);
    PACKS("a3616263", "s", "abc");
    PACKS("a0", "s", "");
    PACKS("c0", "s", (const char *)NULL);
    PACKS("a3610062", "s#", "a\0b", (size_t)3);
    PACKS("c0", "s#", (const char *)NULL, (size_t)0);
    PACKS("c403000102", "y", "\0\1\2", (size_t)3);
    PACKS("c400", "y", NULL, (size_t)0);
}

UNIT(pack, containers_and_what_is_only_for_the_eye)
{
    PACKS("82a5636f756e7407a26279a161", "{s:I,s:s}", "count", (int64_t)7, "by", "a");
    PACKS("82a5636f756e7407a26279a161", " { s : i , s : s } ", "count", 7, "by", "a");
    PACKS("82a5636f756e7407a26279a161", "{siss}", "count", 7, "by", "a");
    PACKS("80", "{}");
    PACKS("90", "[ ]");
    PACKS("9301929000c0", "[i[[]i]n]", 1, 0);
    PACKS("81a1619281a16201c3", "{s:[{s:i},b]}", "a", "b", 1, 1);
    PACKS("81a2610001", "{s#:i}", "a\0", (size_t)2, 1);
}

UNIT(pack, a_container_of_more_than_15_gets_a_wider_head)
{
    begin(0);
    CU_ASSERT_EQUAL(nx_pack(&packer, "{s:[nnnnnnnnnnnnnnnnn],s:i}", "long", "after", 1), 0);
    want = unhex("82a46c6f6e67dc0011c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0a5616674657201");
    CU_ASSERT(buf_len(&packer.bytes) == want.len && memcmp(buf_data(&packer.bytes), want.data, want.len) == 0);

    begin(0);
    CU_ASSERT_EQUAL(nx_pack(&packer, "{s:n,s:n,s:n,s:n,s:n,s:n,s:n,s:n,s:n,s:n,s:n,s:n,s:n,s:n,s:n,s:n}", "a", "b", "c", "d", "e", "f",
                            "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"), 0);
    CU_ASSERT_EQUAL(memcmp(buf_data(&packer.bytes), "\xde\x00\x10\xa1" "a\xc0\xa1" "b", 8), 0);
    CU_ASSERT_EQUAL(value_scan(buf_data(&packer.bytes), buf_len(&packer.bytes), &vector_limits, NULL), 0);

    enum { MANY = 70000 };
    char *fmt = malloc(MANY + 3);
    CU_ASSERT_PTR_NOT_NULL_FATAL(fmt);
    fmt[0] = '[';
    memset(fmt + 1, 'n', MANY);
    memcpy(fmt + 1 + MANY, "]", 2);
    begin(0);
    CU_ASSERT_EQUAL(nx_pack(&packer, fmt), 0);
    CU_ASSERT_EQUAL(buf_len(&packer.bytes), MANY + 5);
    CU_ASSERT_EQUAL(memcmp(buf_data(&packer.bytes), "\xdd\x00\x01\x11\x70\xc0", 6), 0);
    CU_ASSERT_EQUAL(buf_data(&packer.bytes)[MANY + 4], 0xc0);
    free(fmt);
    value_packer_fini(&packer);
}

UNIT(pack, a_value_is_copied_if_packed_and_encoded_if_not)
{
    struct value_zone *z = NULL;
    CU_ASSERT_EQUAL_FATAL(value_zone_new(&z), 0);
    nx_value v = { 0 };
    CU_ASSERT_EQUAL_FATAL(value_decode(z, "\x91\xcc\x07", 3, &vector_limits, &v, NULL), 0);
    PACKS("81a17691cc07", "{s:v}", "v", v);           /* its own bytes, not the smallest */
    PACKS("81a17607", "{s:v}", "v", value_at(v, 0));
    nx_value none = { 0 };
    REFUSES(NX_EINVAL, "v", none);
    REFUSES(NX_EINVAL, "{s:v}", "key", none);
    value_zone_free(&z);
}

UNIT(pack, a_ref_is_ext_1_and_needs_the_codec)
{
    nx_ref ref = { .node = 1, .serial = 42 };
    value_set_ref_codec(NULL);
    REFUSES(NX_EINVAL, "r", ref);
    value_set_ref_codec(&test_codec);
    PACKS("c70c0100000001000000000000002a", "r", ref);
    nx_ref nothing = { 0 };
    REFUSES(NX_EINVAL, "r", nothing);
    value_set_ref_codec(NULL);
}

UNIT(pack, a_wrong_format_leaves_the_packer_as_it_was)
{
    REFUSES(NX_EINVAL, "");
    REFUSES(NX_EINVAL, " ");
    REFUSES(NX_EINVAL, "x");
    REFUSES(NX_EINVAL, "{");
    REFUSES(NX_EINVAL, "[");
    REFUSES(NX_EINVAL, "[i", 1);
    REFUSES(NX_EINVAL, "{s", "a");
    REFUSES(NX_EINVAL, "{s:i", "a", 1);
    REFUSES(NX_EINVAL, "{s}", "a");
    REFUSES(NX_EINVAL, "{i:i}", 1, 1);
    REFUSES(NX_EINVAL, "{s?i}", "a", 1);
    REFUSES(NX_EINVAL, "{s:i]", "a", 1);
    REFUSES(NX_EINVAL, "]");
    REFUSES(NX_EINVAL, "i}", 1);
    REFUSES(NX_EINVAL, "{s:i}", (const char *)NULL, 1);
    REFUSES(NX_EINVAL, "s#", (const char *)NULL, (size_t)1);
    REFUSES(NX_EINVAL, "y", NULL, (size_t)1);
    REFUSES(NX_EINVAL, "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]");   /* 33 */
    CU_ASSERT_EQUAL(nx_pack(NULL, "i", 1), NX_EINVAL);
    begin(0);
    CU_ASSERT_EQUAL(nx_pack(&packer, NULL), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_pack(&packer, "{s:i,s:x}", "a", 1, "b"), NX_EINVAL);
    CU_ASSERT_STRING_EQUAL(value_last_error()->text, "nx_pack: wrong letter at character 8 of format \"{s:i,s:x}\"");
    CU_ASSERT_EQUAL(nx_pack(&packer, "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"), 0);    /* 32 */
    value_packer_fini(&packer);
}

UNIT(pack, exactly_max_body_is_packed_and_one_byte_more_is_too_big)
{
    static char bytes[1024];
    for (size_t max = 1; max < 600; max += 7) {
        size_t head = max <= 257 ? 2 : 3;
        if (max < head)
            continue;
        begin(max);
        CU_ASSERT_EQUAL(nx_pack(&packer, "y", bytes, max - head + 1), NX_ETOOBIG);
        CU_ASSERT_EQUAL(buf_len(&packer.bytes), 0);
        CU_ASSERT_EQUAL(nx_pack(&packer, "y", bytes, max - head), 0);
        CU_ASSERT_EQUAL(buf_len(&packer.bytes), max);
        CU_ASSERT_EQUAL(nx_pack(&packer, "n"), NX_ETOOBIG);
    }
    static const char *const wide[] = { "n", "i", "I", "u", "f", "s", "[n]", "{s:n}" };
    for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++)
        for (size_t max = 1; max < 12; max++) {       /* every item at every distance from the end */
            begin(max);
            int err = i == 1 ? nx_pack(&packer, wide[i], -70000) : i == 4 ? nx_pack(&packer, wide[i], 1.5)
                      : i == 5 ? nx_pack(&packer, wide[i], "abcd") : i == 7 ? nx_pack(&packer, wide[i], "key")
                      : nx_pack(&packer, wide[i], INT64_MAX);
            static const size_t sizes[] = { 1, 5, 9, 9, 9, 5, 2, 6 };
            CU_ASSERT_EQUAL(err, sizes[i] <= max ? 0 : NX_ETOOBIG);
            CU_ASSERT_EQUAL(buf_len(&packer.bytes), sizes[i] <= max ? sizes[i] : 0);
        }
    begin(18);                                        /* the head of 16 elements is widened at the end */
    CU_ASSERT_EQUAL(nx_pack(&packer, "[nnnnnnnnnnnnnnnn]"), NX_ETOOBIG);
    begin(19);
    CU_ASSERT_EQUAL(nx_pack(&packer, "[nnnnnnnnnnnnnnnn]"), 0);
    value_packer_fini(&packer);
}

UNIT(pack, values_one_after_another_are_counted)
{
    begin(0);
    CU_ASSERT(!nx_is_value(value_packer_value(&packer)));
    CU_ASSERT_EQUAL(nx_pack(&packer, "i,s", 1, "a"), 0);
    CU_ASSERT_EQUAL(nx_pack(&packer, "[]"), 0);
    CU_ASSERT_EQUAL(value_packer_count(&packer), 3);
    CU_ASSERT_EQUAL(value_pack(&packer, (nx_value){ 0 }), NX_EINVAL);
    CU_ASSERT_EQUAL(value_packer_count(&packer), 3);
    CU_ASSERT(nx_is_value(value_packer_value(&packer)));
    value_packer_clear(&packer);
    CU_ASSERT_EQUAL(value_packer_count(&packer), 0);
    CU_ASSERT(!nx_is_value(value_packer_value(&packer)));
    value_packer_fini(&packer);
}

UNIT(pack, an_object_nested_too_deep_is_refused_and_leaves_nothing)
{
    msgpack_object chain[40];
    for (size_t i = 0; i < 40; i++) {
        chain[i].type = MSGPACK_OBJECT_ARRAY;
        chain[i].via.array.size = 1;
        chain[i].via.array.ptr = &chain[i + 1 < 40 ? i + 1 : 0];      /* a ring, even */
    }
    begin(0);
    CU_ASSERT_EQUAL(value_pack(&packer, (nx_value){ .object = &chain[0] }), NX_EINVAL);
    CU_ASSERT_EQUAL(buf_len(&packer.bytes), 0);
    chain[31].via.array.size = 0;
    CU_ASSERT_EQUAL(value_pack(&packer, (nx_value){ .object = &chain[0] }), 0);
    CU_ASSERT_EQUAL(value_scan(buf_data(&packer.bytes), buf_len(&packer.bytes), &vector_limits, NULL), 0);
    value_packer_fini(&packer);
}

UNIT(pack, long_strings_and_binaries_get_the_head_of_their_length)
{
    static char text[70001];
    memset(text, 'x', sizeof text - 1);
    static const struct { size_t len; const char *str, *bin, *ext; } cases[] = {
        { 31, "bf", "c41f", "c71f05" }, { 32, "d920", "c420", "c72005" }, { 255, "d9ff", "c4ff", "c7ff05" },
        { 256, "da0100", "c50100", "c8010005" }, { 65535, "daffff", "c5ffff", "c8ffff05" },
        { 65536, "db00010000", "c600010000", "c90001000005" }, { 70000, "db00011170", "c600011170", "c90001117005" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        msgpack_object ext = { .type = MSGPACK_OBJECT_EXT };
        ext.via.ext.type = 5;
        ext.via.ext.size = (uint32_t)cases[i].len;
        ext.via.ext.ptr = text;
        for (int kind = 0; kind < 3; kind++) {
            begin(0);
            CU_ASSERT_EQUAL(kind == 0 ? nx_pack(&packer, "s#", text, cases[i].len) : kind == 1 ? nx_pack(&packer, "y", text, cases[i].len)
                            : value_pack(&packer, (nx_value){ .object = &ext }), 0);
            want = unhex(kind == 0 ? cases[i].str : kind == 1 ? cases[i].bin : cases[i].ext);
            CU_ASSERT_EQUAL(buf_len(&packer.bytes), want.len + cases[i].len);
            CU_ASSERT_EQUAL(memcmp(buf_data(&packer.bytes), want.data, want.len), 0);
            CU_ASSERT_EQUAL(value_scan(buf_data(&packer.bytes), buf_len(&packer.bytes), &vector_limits, NULL), 0);
        }
    }
    value_packer_fini(&packer);
}
