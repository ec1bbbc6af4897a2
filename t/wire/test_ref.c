/*
 * test_ref.c - refs: recorded bytes and text, in both directions, cut at each length.
 */
#include "wire/ref.h"

#include <string.h>

#include "unit.h"

static const struct wire_ref sample = {
    .incarnation = 0x00c0ffee00c0ffee, .serial = 42, .generation = 1, .slot = 3, .node = "app1@127.0.0.1:4369",
};
static const char sample_text[] = "#app1@127.0.0.1:4369/00c0ffee00c0ffee/3.1.42";
static const uint8_t sample_bytes[] =
    "\x00\xc0\xff\xee\x00\xc0\xff\xee" "\x00\x00\x00\x00\x00\x00\x00\x2a" "\x00\x00\x00\x01" "\x00\x03" "app1@127.0.0.1:4369";
enum { SAMPLE_LEN = sizeof sample_bytes - 1 };

static void
is_sample(const struct wire_ref *r)
{
    CU_ASSERT_EQUAL(r->incarnation, sample.incarnation);
    CU_ASSERT_EQUAL(r->serial, sample.serial);
    CU_ASSERT_EQUAL(r->generation, sample.generation);
    CU_ASSERT_EQUAL(r->slot, sample.slot);
    CU_ASSERT_STRING_EQUAL(r->node, sample.node);
}

UNIT(ref, bytes_are_as_recorded_in_both_directions)
{
    uint8_t out[WIRE_REF_MAX];
    struct wire_ref back;
    CU_ASSERT_EQUAL_FATAL(wire_ref_encode(&sample, out), SAMPLE_LEN);
    CU_ASSERT_EQUAL(memcmp(out, sample_bytes, SAMPLE_LEN), 0);
    CU_ASSERT_EQUAL_FATAL(wire_ref_decode(sample_bytes, SAMPLE_LEN, &back, NULL), 0);
    is_sample(&back);
}

UNIT(ref, bytes_cut_inside_the_fixed_part_or_the_port_are_refused)
{
    struct wire_ref back;
    struct base_error why;
    /* "...:4", ":43", ":436" are node ids of other ports; all shorter ones are none. */
    for (size_t len = 0; len < SAMPLE_LEN - 3; len++)
        CU_ASSERT_EQUAL(wire_ref_decode(sample_bytes, len, &back, &why), NX_EBADMSG);
}

UNIT(ref, bytes_with_a_bad_node_id_are_refused)
{
    uint8_t bytes[WIRE_REF_MAX + 1];
    struct wire_ref back;
    struct base_error why;

    memcpy(bytes, sample_bytes, SAMPLE_LEN);
    bytes[WIRE_REF_FIXED] = '1';
    CU_ASSERT_EQUAL(wire_ref_decode(bytes, SAMPLE_LEN, &back, &why), NX_EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "name"));
    memset(bytes, 'a', sizeof bytes);
    CU_ASSERT_EQUAL(wire_ref_decode(bytes, sizeof bytes, &back, &why), NX_EBADMSG);
}

UNIT(ref, bytes_with_another_spelling_of_the_address_are_refused)
{
    static const uint8_t bytes[] = "0123456789012345678901" "app1@[2001:DB8::1]:4369";
    struct wire_ref back;
    struct base_error why;
    CU_ASSERT_EQUAL(wire_ref_decode(bytes, sizeof bytes - 1, &back, &why), NX_EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "canonical"));
}

UNIT(ref, text_is_as_recorded_in_both_directions)
{
    char text[WIRE_REF_TEXT_MAX];
    struct wire_ref back;
    CU_ASSERT_EQUAL(wire_ref_to_text(&sample, text, sizeof text), 0);
    CU_ASSERT_STRING_EQUAL(text, sample_text);
    CU_ASSERT_EQUAL_FATAL(wire_ref_from_text(sample_text, strlen(sample_text), &back, NULL), 0);
    is_sample(&back);
}

UNIT(ref, text_that_does_not_fit_is_refused_and_nothing_is_written)
{
    char text[sizeof sample_text] = "untouched";
    CU_ASSERT_EQUAL(wire_ref_to_text(&sample, text, sizeof sample_text - 1), NX_EINVAL);
    CU_ASSERT_STRING_EQUAL(text, "untouched");
    CU_ASSERT_EQUAL(wire_ref_to_text(&sample, text, sizeof sample_text), 0);
}

UNIT(ref, the_longest_ref_fits_its_sizes)
{
    struct wire_ref big = { UINT64_MAX, UINT64_MAX, UINT32_MAX, UINT16_MAX, "" }, back;
    char text[WIRE_REF_TEXT_MAX];
    uint8_t bytes[WIRE_REF_MAX];

    memset(big.node, 'a', 64);
    memcpy(big.node + 64, "@", 2);
    for (size_t i = 65; i < 65 + 183; i++)
        big.node[i] = i % 50 == 49 ? '.' : 'b';
    memcpy(big.node + 65 + 183, ":65535", 7);
    CU_ASSERT_EQUAL_FATAL(wire_ref_to_text(&big, text, sizeof text), 0);
    CU_ASSERT_EQUAL_FATAL(wire_ref_from_text(text, strlen(text), &back, NULL), 0);
    CU_ASSERT_EQUAL(back.serial, UINT64_MAX);
    CU_ASSERT_STRING_EQUAL(back.node, big.node);
    CU_ASSERT_EQUAL_FATAL(wire_ref_decode(bytes, wire_ref_encode(&big, bytes), &back, NULL), 0);
    CU_ASSERT_EQUAL(back.slot, UINT16_MAX);
    CU_ASSERT_STRING_EQUAL(back.node, big.node);
}

UNIT(ref, text_with_another_spelling_of_the_address_becomes_canonical)
{
    static const char text[] = "#app1@[2001:DB8:0::1]:4369/0000000000000001/0.1.1";
    struct wire_ref back;
    CU_ASSERT_EQUAL_FATAL(wire_ref_from_text(text, strlen(text), &back, NULL), 0);
    CU_ASSERT_STRING_EQUAL(back.node, "app1@[2001:db8::1]:4369");
}

static void
refuses(const char *text, const char *part)
{
    struct wire_ref back;
    struct base_error why;
    CU_ASSERT_EQUAL(wire_ref_from_text(text, strlen(text), &back, &why), NX_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, part));
}

UNIT(ref, wrong_text_is_refused_with_the_part_named)
{
    refuses("", "'#'");
    refuses("app1@127.0.0.1:4369/00c0ffee00c0ffee/3.1.42", "'#'");
    refuses("#app1@127.0.0.1:4369", "'/'");
    refuses("#app1@127.0.0.1:0/00c0ffee00c0ffee/3.1.42", "port 0");
    refuses("#app1@127.0.0.1:4369/00c0ffee00c0ffe/3.1.42", "incarnation");
    refuses("#app1@127.0.0.1:4369/00C0FFEE00C0FFEE/3.1.42", "incarnation");
    refuses("#app1@127.0.0.1:4369/00c0ffee00c0ffee", "incarnation");
    refuses("#app1@127.0.0.1:4369/00c0ffee00c0ffee/65536.1.42", "slot");
    refuses("#app1@127.0.0.1:4369/00c0ffee00c0ffee/.1.42", "slot");
    refuses("#app1@127.0.0.1:4369/00c0ffee00c0ffee/03.1.42", "slot");
    refuses("#app1@127.0.0.1:4369/00c0ffee00c0ffee/3.4294967296.42", "generation");
    refuses("#app1@127.0.0.1:4369/00c0ffee00c0ffee/3.1", "generation");
    refuses("#app1@127.0.0.1:4369/00c0ffee00c0ffee/3.1.", "serial");
    refuses("#app1@127.0.0.1:4369/00c0ffee00c0ffee/3.1.18446744073709551616", "serial");
    refuses("#app1@127.0.0.1:4369/00c0ffee00c0ffee/3.1.42 ", "serial");
    refuses("#app1@127.0.0.1:4369/00c0ffee00c0ffee/3.1.-1", "serial");
    refuses("#app1@127.0.0.1:4369/00c0ffee00c0ffee/3.1.1.1", "serial");
}

UNIT(ref, text_cut_at_each_length_is_refused_or_another_serial)
{
    struct wire_ref back;
    for (size_t len = 0; len < strlen(sample_text) - 1; len++)
        CU_ASSERT_EQUAL(wire_ref_from_text(sample_text, len, &back, NULL), NX_EINVAL);
}
