/*
 * test_decode.c - our decoder against msgpack-c's, on recorded and on random bytes; the strict rules; the memory.
 */
#include "vectors.h"

#include <malloc.h>

#include <msgpack.h>

#include "base/random.h"
#include "noex/errors.h"
#include "unit.h"

/* Does msgpack-c find exactly one object in these bytes? *o then lives until `result` is destroyed. */
static bool
reference(const void *bytes, size_t len, msgpack_unpacked *result)
{
    size_t offset = 0;
    msgpack_unpacked_init(result);
    return msgpack_unpack_next(result, bytes, len, &offset) == MSGPACK_UNPACK_SUCCESS && offset == len;
}

/* Strings end in a NUL and, like all else, lie in the zone; the rest points into the bytes. */
static bool
strings_end_in_nul(const msgpack_object *o)
{
    if (o->type == MSGPACK_OBJECT_STR)
        return o->via.str.ptr[o->via.str.size] == '\0';
    if (o->type == MSGPACK_OBJECT_ARRAY)
        for (uint32_t i = 0; i < o->via.array.size; i++)
            if (!strings_end_in_nul(&o->via.array.ptr[i]))
                return false;
    if (o->type == MSGPACK_OBJECT_MAP)
        for (uint32_t i = 0; i < o->via.map.size; i++)
            if (!strings_end_in_nul(&o->via.map.ptr[i].key) || !strings_end_in_nul(&o->via.map.ptr[i].val))
                return false;
    return true;
}

UNIT(decode, every_recorded_value_decodes_as_msgpack_c_does_and_packs_to_the_same_bytes)
{
    struct value_zone *z = NULL;
    CU_ASSERT_EQUAL_FATAL(value_zone_new(&z), 0);
    nx_packer p;
    value_packer_init(&p, 0);
    for (size_t i = 0; i < VECTORS; i++) {
        struct bytes b = unhex(vectors[i].hex);
        uint8_t *copy = exact(b.data, b.len);
        nx_value v = { 0 };
        msgpack_unpacked expected;
        CU_ASSERT_FATAL(reference(b.data, b.len, &expected));
        CU_ASSERT_EQUAL_FATAL(value_decode(z, copy, b.len, &vector_limits, &v, NULL), 0);
        CU_ASSERT_PTR_EQUAL(v.packed, copy);
        CU_ASSERT_EQUAL(v.packed_len, b.len);
        if (!same_object(v.object, &expected.data) || !strings_end_in_nul(v.object))
            VECTOR_FAIL(i);

        v.packed = NULL;                              /* so that it is re-encoded */
        value_packer_clear(&p);
        CU_ASSERT_EQUAL(value_pack(&p, v), 0);
        nx_value again = value_packer_value(&p);
        bool same = again.packed_len == b.len && memcmp(again.packed, b.data, b.len) == 0;
        if (same != vectors[i].smallest)
            VECTOR_FAIL(i);
        nx_value back = { 0 };
        CU_ASSERT_EQUAL_FATAL(value_decode(z, again.packed, again.packed_len, &vector_limits, &back, NULL), 0);
        CU_ASSERT(same_object(back.object, &expected.data));
        msgpack_unpacked_destroy(&expected);
        free(copy);
    }
    value_packer_fini(&p);
    value_zone_free(&z);
}

UNIT(decode, a_failed_decode_leaves_the_answer_untouched)
{
    struct value_zone *z = NULL;
    CU_ASSERT_EQUAL_FATAL(value_zone_new(&z), 0);
    struct base_error why = { 0 };
    nx_value v = { .packed = "x", .packed_len = 77 };
    CU_ASSERT_EQUAL(value_decode(z, "\x92\xc0", 2, &vector_limits, &v, &why), NX_EBADMSG);
    CU_ASSERT_EQUAL(value_decode(z, "", 0, &vector_limits, &v, NULL), NX_EBADMSG);
    CU_ASSERT_EQUAL(value_decode_strict(z, "\xca\x7f\xc0\x00\x00", 5, &vector_limits, &v, NULL), NX_EBADMSG);
    CU_ASSERT(v.packed_len == 77 && v.object == NULL);
    value_zone_free(&z);
}

static uint64_t fuzz_state;
static uint32_t
fuzz_next(uint32_t below)
{
    fuzz_state ^= fuzz_state << 13;
    fuzz_state ^= fuzz_state >> 7;
    fuzz_state ^= fuzz_state << 17;
    return (uint32_t)(fuzz_state >> 32) % below;
}

/* Random bytes, a recorded value with some bytes changed, or heads that nest. */
static size_t
fuzz_input(uint8_t *out, size_t size)
{
    static const uint8_t likely[] = { 0x80, 0x81, 0x82, 0x90, 0x91, 0x92, 0xa0, 0xa1, 0xc0, 0xc4, 0xc7, 0xca, 0xcc, 0xd0, 0xd4, 0xd9, 0xdc,
                                      0xdd, 0xde, 0xdf, 0x00, 0x01, 0x02 };
    size_t len;
    switch (fuzz_next(4)) {
    case 0:
        len = fuzz_next(24);
        for (size_t i = 0; i < len; i++)
            out[i] = (uint8_t)fuzz_next(256);
        return len;
    case 1: {
        struct bytes b = unhex(vectors[fuzz_next(VECTORS)].hex);
        memcpy(out, b.data, b.len);
        for (uint32_t n = fuzz_next(4); n > 0; n--)
            out[fuzz_next((uint32_t)b.len)] = (uint8_t)fuzz_next(256);
        return b.len;
    }
    case 2: {
        size_t depth = fuzz_next(40);
        for (len = 0; len < depth; len++)
            out[len] = 0x91;
        struct bytes b = unhex(vectors[fuzz_next(VECTORS)].hex);
        memcpy(out + len, b.data, b.len);
        return len + b.len;
    }
    default:
        len = 1 + fuzz_next((uint32_t)size / 8);
        for (size_t i = 0; i < len; i++)
            out[i] = likely[fuzz_next(sizeof likely)];
        return len;
    }
}

UNIT(decode, of_200_000_random_inputs_exactly_those_pass_the_scan_that_msgpack_c_decodes)
{
    const uint64_t seed = UINT64_C(0x6e6f657864);
    printf("# seed 0x%llx\n", (unsigned long long)seed);
    fuzz_state = seed;
    struct value_zone *z = NULL;
    CU_ASSERT_EQUAL_FATAL(value_zone_new(&z), 0);
    size_t passed = 0;
    for (int i = 0; i < 200000; i++) {
        uint8_t bytes[512];
        size_t len = fuzz_input(bytes, 256);
        uint8_t *copy = exact(bytes, len);
        nx_value v = { 0 };
        struct base_error why = { 0 };
        msgpack_unpacked expected;
        value_zone_clear(z);
        int err = value_scan(copy, len, &vector_limits, &why);
        /* Not asked of msgpack-c: what holds nothing (it has no answer) and counts beyond the bytes (it would allocate them). */
        bool ask = len > 0 && strstr(why.text, "bytes are left for") == NULL;
        bool good = ask && reference(bytes, len, &expected);
        bool same = (err == 0) == good && value_decode(z, copy, len, &vector_limits, &v, NULL) == err;
        if (same && good)
            same = same_object(v.object, &expected.data) && strings_end_in_nul(v.object);
        if (ask)
            msgpack_unpacked_destroy(&expected);
        free(copy);
        passed += err == 0;
        if (!same) {
            printf("# input %d:", i);
            for (size_t j = 0; j < len; j++)
                printf(" %02x", bytes[j]);
            printf("\n");
            CU_FAIL_FATAL("the scan and msgpack-c differ");
        }
    }
    printf("# %zu passed\n", passed);
    CU_ASSERT(passed > 20000);                        /* or the inputs are not worth much */
    value_zone_free(&z);
}

UNIT(decode, a_bomb_allocates_nothing)
{
    struct value_zone *z = NULL;
    CU_ASSERT_EQUAL_FATAL(value_zone_new(&z), 0);
    static uint8_t nils[1 << 20];
    memset(nils, 0xc0, sizeof nils);
    memcpy(nils, "\xdd\x00\x0f\xff\xfb", 5);
    nx_value v;
    size_t before = mallinfo2().uordblks;
    CU_ASSERT_EQUAL(value_decode(z, nils, sizeof nils, &vector_limits, &v, NULL), NX_EBADMSG);
    CU_ASSERT_EQUAL(value_decode(z, "\xdd\xff\xff\xff\xff", 5, &vector_limits, &v, NULL), NX_EBADMSG);
    CU_ASSERT_EQUAL(value_decode(z, "\xdf\x7f\xff\xff\xff\xc0", 6, &vector_limits, &v, NULL), NX_EBADMSG);
    CU_ASSERT_EQUAL(value_decode(z, "\xdb\xff\xff\xff\xff", 5, &vector_limits, &v, NULL), NX_EBADMSG);
    CU_ASSERT_EQUAL(mallinfo2().uordblks, before);
    value_zone_free(&z);
}

UNIT(decode, what_fills_the_budget_decodes)
{
    struct value_zone *z = NULL;
    CU_ASSERT_EQUAL_FATAL(value_zone_new(&z), 0);
    enum { TEXTS = 65534, LEN = 5 + 15 * TEXTS };
    uint8_t *bytes = malloc(LEN);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    memcpy(bytes, "\xdd\x00\x00\xff\xfe", 5);
    for (size_t i = 0; i < TEXTS; i++) {
        bytes[5 + 15 * i] = 0xae;
        memset(bytes + 6 + 15 * i, 'a' + (int)(i % 26), 14);
    }
    nx_value v = { 0 };
    CU_ASSERT_EQUAL_FATAL(value_decode(z, bytes, LEN, &vector_limits, &v, NULL), 0);
    CU_ASSERT_EQUAL(value_count(v), TEXTS);
    const char *text;
    size_t len;
    CU_ASSERT(value_is_string(value_at(v, TEXTS - 1), &text, &len));
    CU_ASSERT(len == 14 && text[0] == 'a' + (TEXTS - 1) % 26 && text[14] == '\0');
    free(bytes);
    value_zone_free(&z);
}

/* ---- strict */

static int
strict(const void *bytes, size_t len, struct base_error *why)
{
    struct value_zone *z = NULL;
    nx_value v;
    if (value_zone_new(&z) != 0)
        return NX_ENOMEM;
    uint8_t *copy = exact(bytes, len);
    int err = value_decode_strict(z, copy, len, &vector_limits, &v, why);
    free(copy);
    value_zone_free(&z);
    return err;
}

static int
strict_hex(const char *hex)
{
    struct bytes b = unhex(hex);
    return strict(b.data, b.len, NULL);
}

UNIT(decode, a_strict_map_has_string_keys_each_once)
{
    CU_ASSERT_EQUAL(strict_hex("82a16101a16202"), 0);
    CU_ASSERT_EQUAL(strict_hex("82a16101a16102"), NX_EBADMSG);
    CU_ASSERT_EQUAL(strict_hex("8101c0"), NX_EBADMSG);
    CU_ASSERT_EQUAL(strict_hex("81c40161c0"), NX_EBADMSG);
    CU_ASSERT_EQUAL(strict_hex("9181a16182a16101a16102"), NX_EBADMSG);   /* deep inside */
    CU_ASSERT_EQUAL(strict_hex("82a16101d9016102"), NX_EBADMSG);         /* the same key in another form */
    struct base_error why;
    struct bytes b = unhex("82a2696401a2696402");
    CU_ASSERT_EQUAL(strict(b.data, b.len, &why), NX_EBADMSG);
    CU_ASSERT_STRING_EQUAL(why.text, "key \"id\" comes twice");
}

UNIT(decode, a_duplicate_among_many_keys_is_found_wherever_it_is)
{
    enum { KEYS = 1000 };
    for (size_t twice = 0; twice < KEYS; twice += 333) {
        uint8_t bytes[3 + 6 * KEYS], *at = bytes + 3;
        memcpy(bytes, "\xde\x03\xe8", 3);
        for (size_t i = 0; i < KEYS; i++, at += 6)
            snprintf((char *)at, 6, "\xa4%04zu", i);
        for (size_t i = 0; i < KEYS; i++)
            bytes[3 + 6 * i + 5] = 0xc0;
        CU_ASSERT_EQUAL(strict(bytes, sizeof bytes, NULL), 0);
        memcpy(bytes + 3 + 6 * twice, "\xa4" "0998", 5);
        CU_ASSERT_EQUAL(strict(bytes, sizeof bytes, NULL), NX_EBADMSG);
    }
}

UNIT(decode, strict_refuses_numbers_that_are_none_text_that_is_none_and_ext_that_is_no_ref)
{
    CU_ASSERT_EQUAL(strict_hex("cb7ff8000000000000"), NX_EBADMSG);
    CU_ASSERT_EQUAL(strict_hex("cbfff0000000000000"), NX_EBADMSG);
    CU_ASSERT_EQUAL(strict_hex("81a161ca7f800000"), NX_EBADMSG);
    CU_ASSERT_EQUAL(strict_hex("cb8000000000000000"), 0);
    CU_ASSERT_EQUAL(strict_hex("cb0000000000000001"), 0);
    CU_ASSERT_EQUAL(strict_hex("d38000000000000000"), 0);
    CU_ASSERT_EQUAL(strict_hex("a2fffe"), NX_EBADMSG);
    CU_ASSERT_EQUAL(strict_hex("a3eda080"), NX_EBADMSG);
    CU_ASSERT_EQUAL(strict_hex("81a1ff01"), NX_EBADMSG);                 /* a key is a string too */
    CU_ASSERT_EQUAL(strict_hex("a2c3a4"), 0);
    CU_ASSERT_EQUAL(strict_hex("c402fffe"), 0);                          /* a binary may hold anything */
    CU_ASSERT_EQUAL(strict_hex("d6ff5a4af6a5"), NX_EBADMSG);
    CU_ASSERT_EQUAL(strict_hex("c70002"), NX_EBADMSG);
    CU_ASSERT_EQUAL(strict_hex("91c703010a0b0c"), 0);
    uint8_t long_ref[4 + VALUE_EXT_REF_MAX + 1] = { 0xc8, 0x01, 0x16, 0x01 };
    CU_ASSERT_EQUAL(strict(long_ref, sizeof long_ref, NULL), NX_EBADMSG);
    long_ref[2] = 0x15;
    CU_ASSERT_EQUAL(strict(long_ref, sizeof long_ref - 1, NULL), 0);
}

UNIT(decode, strict_takes_the_same_bombs_as_the_scan)
{
    CU_ASSERT_EQUAL(strict_hex("ddffffffff"), NX_EBADMSG);
    CU_ASSERT_EQUAL(strict_hex(""), NX_EBADMSG);
    CU_ASSERT_EQUAL(strict_hex("c0c0"), NX_EBADMSG);
}

/* ---- the zone */

UNIT(zone, memory_is_aligned_distinct_and_reused)
{
    struct value_zone *z = NULL;
    CU_ASSERT_EQUAL_FATAL(value_zone_new(&z), 0);
    char *first = value_zone_alloc(z, 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(first);
    char *last = first;
    for (size_t i = 1; i < 3000; i++) {
        char *p = value_zone_alloc(z, i);
        CU_ASSERT_PTR_NOT_NULL_FATAL(p);
        CU_ASSERT_EQUAL((uintptr_t)p % 16, 0);
        CU_ASSERT_PTR_NOT_EQUAL(p, last);
        memset(p, (int)i, i);                         /* a sanitizer sees overlap with the end of a block */
        last = p;
    }
    CU_ASSERT_PTR_NULL(value_zone_alloc(z, SIZE_MAX));
    CU_ASSERT_PTR_NULL(value_zone_alloc(z, SIZE_MAX - 15));
    value_zone_clear(z);
    char *kept = value_zone_alloc(z, 100);
    value_zone_clear(z);
    CU_ASSERT_PTR_EQUAL(value_zone_alloc(z, 100), kept);
    value_zone_free(&z);
    CU_ASSERT_PTR_NULL(z);
    value_zone_free(&z);
}

UNIT(zone, a_big_message_does_not_keep_its_memory)
{
    struct value_zone *z = NULL;
    CU_ASSERT_EQUAL_FATAL(value_zone_new(&z), 0);
    CU_ASSERT_PTR_NOT_NULL(value_zone_alloc(z, 100));
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    CU_ASSERT_PTR_NOT_NULL(value_zone_alloc(z, 3 << 20));
    value_zone_clear(z);
    CU_ASSERT(mallinfo2().uordblks + mallinfo2().hblkhd <= before + (64 << 10));
    value_zone_free(&z);
}
