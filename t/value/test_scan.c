/*
 * test_scan.c - what the scan lets pass, and every bomb it must not.
 */
#include "vectors.h"

#include "base/clock.h"
#include "noex/errors.h"
#include "unit.h"

static int
scan(const void *bytes, size_t len, struct base_error *why)
{
    uint8_t *copy = exact(bytes, len);
    int err = value_scan(copy, len, &vector_limits, why);
    free(copy);
    return err;
}

static int
scan_hex(const char *hex)
{
    struct bytes b = unhex(hex);
    struct base_error why = { 0 };
    int err = scan(b.data, b.len, &why);
    CU_ASSERT_EQUAL(why.code, err);
    CU_ASSERT((err == 0) == (why.text[0] == '\0'));
    return err;
}

UNIT(scan, every_recorded_value_passes_and_none_of_its_beginnings)
{
    for (size_t i = 0; i < VECTORS; i++) {
        struct bytes b = unhex(vectors[i].hex);
        if (scan(b.data, b.len, NULL) != 0)
            VECTOR_FAIL(i);
        for (size_t cut = 0; cut < b.len; cut++)
            CU_ASSERT_EQUAL(scan(b.data, cut, NULL), NX_EBADMSG);
        b.data[b.len] = 0xc0;
        CU_ASSERT_EQUAL(scan(b.data, b.len + 1, NULL), NX_EBADMSG);
    }
}

UNIT(scan, counts_beyond_what_remains_are_refused_at_the_head)
{
    CU_ASSERT_EQUAL(scan_hex("ddffffffff"), NX_EBADMSG);
    CU_ASSERT_EQUAL(scan_hex("dfffffffff"), NX_EBADMSG);
    CU_ASSERT_EQUAL(scan_hex("dd05f5e100"), NX_EBADMSG);
    CU_ASSERT_EQUAL(scan_hex("df05f5e100"), NX_EBADMSG);
    CU_ASSERT_EQUAL(scan_hex("dcffffc0"), NX_EBADMSG);
    CU_ASSERT_EQUAL(scan_hex("deffffc0"), NX_EBADMSG);
    CU_ASSERT_EQUAL(scan_hex("92c0"), NX_EBADMSG);
    CU_ASSERT_EQUAL(scan_hex("dd00000002c0"), NX_EBADMSG);
    CU_ASSERT_EQUAL(scan_hex("82c0c0c0"), NX_EBADMSG);
    /* Each possible by itself, together not: four arrays of 3 in 12 bytes. */
    CU_ASSERT_EQUAL(scan_hex("94939393c0c0c0c0c0c0c0c0"), NX_EBADMSG);
    struct base_error why;
    struct bytes b = unhex("c0ddffffffff");
    CU_ASSERT_EQUAL(scan(b.data + 1, 5, &why), NX_EBADMSG);
    CU_ASSERT_STRING_EQUAL(why.text, "malformed msgpack at byte 0: array of 4294967295, 0 bytes are left for 4294967295 values");
}

UNIT(scan, lengths_beyond_what_remains_are_refused)
{
    static const char *const heads[] = { "d9", "da", "db", "c4", "c5", "c6", "c7", "c8", "c9" };
    static const char *const lengths[] = { "ff", "ffff", "ffffffff" };
    for (size_t i = 0; i < 9; i++) {
        char hex[64];
        snprintf(hex, sizeof hex, "%s%s", heads[i], lengths[i % 3]);
        CU_ASSERT_EQUAL(scan_hex(hex), NX_EBADMSG);
        snprintf(hex, sizeof hex, "%s%s00000000", heads[i], lengths[i % 3]);
        CU_ASSERT_EQUAL(scan_hex(hex), NX_EBADMSG);
    }
    CU_ASSERT_EQUAL(scan_hex("a2aa"), NX_EBADMSG);
    CU_ASSERT_EQUAL(scan_hex("bf61"), NX_EBADMSG);
    CU_ASSERT_EQUAL(scan_hex("c70105"), NX_EBADMSG);  /* the type is there, its one byte is not */
    CU_ASSERT_EQUAL(scan_hex("c700"), NX_EBADMSG);
    CU_ASSERT_EQUAL(scan_hex("d405"), NX_EBADMSG);
}

UNIT(scan, the_byte_c1_an_empty_body_two_objects_and_a_trailing_byte_are_refused)
{
    CU_ASSERT_EQUAL(scan_hex("c1"), NX_EBADMSG);
    CU_ASSERT_EQUAL(scan_hex("91c1"), NX_EBADMSG);
    CU_ASSERT_EQUAL(scan_hex(""), NX_EBADMSG);
    CU_ASSERT_EQUAL(scan_hex("c0c0"), NX_EBADMSG);
    CU_ASSERT_EQUAL(scan_hex("9000"), NX_EBADMSG);
    CU_ASSERT_EQUAL(value_scan(NULL, 0, &vector_limits, NULL), NX_EBADMSG);
}

/* An array in an array in ...; the innermost empty, or holding one nil. */
static size_t
nest(uint8_t *out, size_t depth, bool filled)
{
    memset(out, 0x91, depth);
    out[depth - 1] = filled ? 0x91 : 0x90;
    out[depth] = 0xc0;
    return depth + filled;
}

UNIT(scan, depth_32_passes_and_33_does_not_and_an_empty_container_counts)
{
    static uint8_t bytes[200001];
    for (int filled = 0; filled < 2; filled++) {
        CU_ASSERT_EQUAL(scan(bytes, nest(bytes, 32, filled), NULL), 0);
        CU_ASSERT_EQUAL(scan(bytes, nest(bytes, 33, filled), NULL), NX_EBADMSG);
        CU_ASSERT_EQUAL(scan(bytes, nest(bytes, 200000, filled), NULL), NX_EBADMSG);
    }
    for (size_t i = 0; i < 32; i++)
        memcpy(bytes + 2 * i, "\x81\xc0", 2);
    bytes[64] = 0xc0;
    CU_ASSERT_EQUAL(scan(bytes, 65, NULL), 0);
    bytes[64] = 0x80;
    CU_ASSERT_EQUAL(scan(bytes, 65, NULL), NX_EBADMSG);

    struct value_limits limits = VALUE_LIMITS_DEFAULT;
    limits.max_depth = 2;
    CU_ASSERT_EQUAL(value_scan("\x91\x90", 2, &limits, NULL), 0);
    CU_ASSERT_EQUAL(value_scan("\x91\x91\x90", 3, &limits, NULL), NX_EBADMSG);
    limits.max_depth = 100;                           /* no more than VALUE_DEPTH_MAX, whatever is asked for */
    CU_ASSERT_EQUAL(value_scan(bytes, nest(bytes, 33, true), &limits, NULL), NX_EBADMSG);
    limits.max_depth = 0;
    CU_ASSERT_EQUAL(value_scan("\x90", 1, &limits, NULL), NX_EBADMSG);
    CU_ASSERT_EQUAL(value_scan("\xc0", 1, &limits, NULL), 0);
}

UNIT(scan, many_siblings_at_each_level_are_no_depth)
{
    /* [[[],[]],[[],[]],...]: levels are left as often as entered */
    uint8_t bytes[1 + 15 * 3];
    bytes[0] = 0x9f;
    for (size_t i = 0; i < 15; i++)
        memcpy(bytes + 1 + 3 * i, "\x92\x90\x80", 3);
    struct value_limits limits = VALUE_LIMITS_DEFAULT;
    limits.max_depth = 3;
    CU_ASSERT_EQUAL(value_scan(bytes, sizeof bytes, &limits, NULL), 0);
    limits.max_depth = 2;
    CU_ASSERT_EQUAL(value_scan(bytes, sizeof bytes, &limits, NULL), NX_EBADMSG);
}

UNIT(scan, the_object_budget_counts_every_value)
{
    static uint8_t bytes[5 + 65536];
    memset(bytes, 0xc0, sizeof bytes);
    memcpy(bytes, "\xdd\x00\x00\xff\xff", 5);
    CU_ASSERT_EQUAL(scan(bytes, 5 + 65535, NULL), 0);
    memcpy(bytes, "\xdd\x00\x01\x00\x00", 5);
    CU_ASSERT_EQUAL(scan(bytes, 5 + 65536, NULL), NX_EBADMSG);
    struct value_limits limits = VALUE_LIMITS_DEFAULT;
    limits.max_objects = 5;
    CU_ASSERT_EQUAL(value_scan("\x92\xc0\x82\x01", 4, &limits, NULL), NX_EBADMSG);
    CU_ASSERT_EQUAL(value_scan("\x92\xc0\x81\x01\x02", 5, &limits, NULL), 0);
    limits.max_objects = 0;
    CU_ASSERT_EQUAL(value_scan("\xc0", 1, &limits, NULL), NX_EBADMSG);
}

UNIT(scan, the_budget_of_pairs_is_its_own)
{
    static uint8_t bytes[5 + 2 * 32768];
    memset(bytes, 0xc0, sizeof bytes);
    memcpy(bytes, "\xdf\x00\x00\x7f\xff", 5);
    CU_ASSERT_EQUAL(scan(bytes, 5 + 2 * 32767, NULL), 0);
    struct value_limits limits = VALUE_LIMITS_DEFAULT;
    limits.max_objects = 100000;
    memcpy(bytes, "\xdf\x00\x00\x80\x00", 5);
    CU_ASSERT_EQUAL(value_scan(bytes, 5 + 2 * 32768, &limits, NULL), 0);
    limits.max_pairs = 32767;
    CU_ASSERT_EQUAL(value_scan(bytes, 5 + 2 * 32768, &limits, NULL), NX_EBADMSG);
    limits.max_pairs = 1;
    CU_ASSERT_EQUAL(value_scan("\x92\x81\x01\x02\x81\x01\x02", 7, &limits, NULL), NX_EBADMSG);
}

UNIT(scan, a_body_over_max_body_is_too_big_before_it_is_looked_at)
{
    struct value_limits limits = VALUE_LIMITS_DEFAULT;
    limits.max_body = 3;
    CU_ASSERT_EQUAL(value_scan("\x92\x01\x02", 3, &limits, NULL), 0);
    CU_ASSERT_EQUAL(value_scan("\xc1\x01\x02\x03", 4, &limits, NULL), NX_ETOOBIG);
}

UNIT(scan, a_megabyte_of_nils_is_refused_within_a_millisecond)
{
    static uint8_t bytes[1 << 20];
    memset(bytes, 0xc0, sizeof bytes);
    memcpy(bytes, "\xdd\x00\x0f\xff\xfb", 5);
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 5; i++) {                     /* the best of five: the machine has other work too */
        uint64_t began = clock_now_ns();
        CU_ASSERT_EQUAL(value_scan(bytes, sizeof bytes, &vector_limits, NULL), NX_EBADMSG);
        uint64_t took = clock_now_ns() - began;
        best = took < best ? took : best;
    }
    CU_ASSERT(best < CLOCK_NS_PER_MS);
}
