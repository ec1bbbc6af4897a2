/*
 * test_json.c - JSON to and from values, and the place of each error.
 */
#include "vectors.h"

#include "noex/errors.h"
#include "value/value_priv.h"
#include "unit.h"

/* JSON -> bytes -> JSON. NULL if it is refused; then `why` tells. Lives until the next. */
static const char *
through(const char *json, size_t len, unsigned flags, struct base_error *why)
{
    static struct buf text;
    buf_fini(&text);
    buf_init(&text, 0);
    nx_packer p;
    value_packer_init(&p, 1 << 20);
    struct value_zone *z = NULL;
    CU_ASSERT_EQUAL_FATAL(value_zone_new(&z), 0);
    char *copy = (char *)exact(json, len);
    int err = value_from_json(&p, copy, len, why);
    free(copy);
    CU_ASSERT_EQUAL(value_packer_count(&p), err == 0);
    if (err == 0) {
        nx_value packed = value_packer_value(&p), v = { 0 };
        CU_ASSERT_EQUAL_FATAL(value_decode(z, packed.packed, packed.packed_len, &vector_limits, &v, NULL), 0);
        CU_ASSERT_EQUAL(value_to_json(v, flags, &text), 0);
    } else
        CU_ASSERT_EQUAL(buf_len(&p.bytes), 0);
    value_zone_free(&z);
    value_packer_fini(&p);
    return err == 0 ? buf_cstr(&text) : NULL;
}

static void
becomes(const char *json, const char *want)
{
    struct base_error why = { 0 };
    const char *got = through(json, strlen(json), 0, &why);
    if (got == NULL || strcmp(got, want) != 0) {
        printf("# %s became %s, not %s (%s)\n", json, got != NULL ? got : "nothing", want, why.text);
        CU_FAIL("another text");
    }
}

static void
refused(const char *json, const char *place)
{
    struct base_error why = { 0 };
    const char *got = through(json, strlen(json), 0, &why);
    CU_ASSERT_EQUAL(why.code, NX_EINVAL);
    if (got != NULL || strncmp(why.text, place, strlen(place)) != 0) {
        printf("# %s: %s; expected %s\n", json, got != NULL ? "was accepted" : why.text, place);
        CU_FAIL("another place");
    }
}

/* msgpack given as hex, to JSON. Lives until the next. */
static const char *
shown(const char *hex, unsigned flags)
{
    static struct buf text;
    buf_fini(&text);
    buf_init(&text, 0);
    struct bytes b = unhex(hex);
    struct value_zone *z = NULL;
    nx_value v = { 0 };
    CU_ASSERT_EQUAL_FATAL(value_zone_new(&z), 0);
    CU_ASSERT_EQUAL_FATAL(value_decode(z, b.data, b.len, &vector_limits, &v, NULL), 0);
    CU_ASSERT_EQUAL(value_to_json(v, flags, &text), 0);
    value_zone_free(&z);
    return buf_cstr(&text);
}

static void
shows(const char *hex, const char *want)
{
    CU_ASSERT_STRING_EQUAL(shown(hex, 0), want);
}

UNIT(json, what_is_read_is_written_the_same)
{
    static const char *const same[] = {
        "null", "true", "false", "0", "-1", "9223372036854775807", "-9223372036854775808", "9223372036854775808",
        "18446744073709551615", "0.1", "-0.0", "1.5", "1e+300", "4.94065645841247e-324", "1.7976931348623157e+308", "\"\"", "\"text\"",
        "\"z\xc3\xa4hler \xf0\x9f\x90\x99\"", "\"\\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u001f\\u007f\\u009b\"", "[]", "{}", "[1,[2,[]],{}]",
        "{\"type\":\"get\",\"by\":null,\"a\":{\"b\":[1,2.5,\"x\"]}}", "{\"\":1}", "\"#not a ref\"", "\"#\"",
        "{\"$bin\":\"\"}", "{\"$bin\":\"AP8=\"}", "{\"$ext\":-1,\"data\":\"WkrNpQ==\"}", "{\"$ext\":127,\"data\":\"\"}",
        "{\"$float\":\"nan\"}", "{\"$float\":\"inf\"}", "{\"$float\":\"-inf\"}",
        "{\"$bin\":1}", "{\"$bin\":\"AA==\",\"more\":1}", "{\"$ext\":1}", "{\"$ext\":\"1\",\"data\":\"\"}",   /* only similar: maps */
    };
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        becomes(same[i], same[i]);
}

UNIT(json, other_spellings_become_the_usual_one)
{
    becomes(" [ 1 , 2 ]\n", "[1,2]");
    becomes("\"\\u00e4\\ud83d\\udc19\\/\"", "\"\xc3\xa4\xf0\x9f\x90\x99/\"");
    becomes("1.0", "1.0");
    becomes("100e-2", "1.0");
    becomes("100.0", "100.0");
    becomes("5e-324", "4.94065645841247e-324");
    becomes("-0", "0");
    becomes("{\"$uint\":\"18446744073709551615\"}", "18446744073709551615");
    becomes("{\"$uint\":\"7\"}", "7");
}

UNIT(json, integers_between_2_63_and_2_64_are_read_wherever_they_stand)
{
    becomes("[9223372036854775808,{\"id\":18446744073709551615},\"9223372036854775808\",\"a\\\"9223372036854775808\",1]",
            "[9223372036854775808,{\"id\":18446744073709551615},\"9223372036854775808\",\"a\\\"9223372036854775808\",1]");
    becomes("9223372036854775807", "9223372036854775807");
    becomes("9223372036854775808.0", "9.223372036854776e+18");
    refused("18446744073709551616", "1:");
    refused("-9223372036854775809", "1:");
    refused("[99999999999999999999999]", "1:");
    refused("{\"9223372036854775808\":1,9223372036854775808:2}", "1:");
}

UNIT(json, malformed_text_is_refused_with_its_line_and_column)
{
    refused("", "1:1: ");
    refused("  ", "1:3: ");
    refused("{", "1:2: ");
    refused("[1,\n 2,\n x]", "3:3: ");
    refused("{\"a\":1,\n\"b\" 2}", "2:6: ");
    refused("{\"a\":1,}", "1:9: ");
    refused("[1,]", "1:5: ");
    refused("[1] 2", "1:6: ");
    refused("nul", "1:4: ");
    refused("\"abc", "1:5: ");
    refused("\"a\nb\"", "1:");
    refused("\"\\x\"", "1:");
    refused("\"\\ud800\"", "1:");
    refused("\"\xff\"", "1:");
    refused("01", "1:");
    refused("1e999", "1:");
    refused("{'a':1}", "1:3: ");
    refused("[\"\xc3\xa4\xc3\xa4\", x]", "1:9: ");    /* characters, not bytes */
    refused("[9223372036854775808,\n9223372036854775809, x]", "2:23: ");    /* in the text that was given, not in the copy */
    refused("[x, 9223372036854775808]", "1:3: ");
}

UNIT(json, a_text_need_not_end_in_a_nul_and_must_not_hold_one)
{
    struct base_error why = { 0 };
    CU_ASSERT_PTR_NULL(through("[1\0]", 4, 0, &why));
    CU_ASSERT_STRING_EQUAL(why.text, "1:3: NUL byte");
    CU_ASSERT_PTR_NULL(through("1\0", 2, 0, &why));
    CU_ASSERT_PTR_NULL(through("\0", 1, 0, &why));
    CU_ASSERT_PTR_NULL(through("[\"a\0\"]", 6, 0, &why));
    CU_ASSERT_STRING_EQUAL(through("12", 1, 0, &why), "1");
}

UNIT(json, duplicate_keys_are_refused)
{
    refused("{\"a\":1,\"b\":2,\n\"a\":3}", "2:");
    refused("[{\"x\":{\"a\":1,\"a\":1}}]", "1:");
}

UNIT(json, nesting_is_limited_to_32)
{
    char text[200];
    for (int depth = 31; depth < 34; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        text[2 * depth] = '\0';
        if (depth <= 32)
            becomes(text, text);
        else
            refused(text, "JSON: nested too deep");
    }
    static char deep[20001];
    memset(deep, '[', 20000);
    refused(deep, "1:");
}

UNIT(json, the_forms_with_a_dollar_are_checked)
{
    refused("{\"$bin\":\"AP8\"}", "JSON: \"$bin\" is not base64");
    refused("{\"$bin\":\"A\"}", "JSON: ");
    refused("{\"$ext\":128,\"data\":\"\"}", "JSON: \"$ext\" is not between");
    refused("{\"$ext\":5,\"data\":\"?\"}", "JSON: \"data\"");
    refused("{\"$float\":\"NaN\"}", "JSON: \"$float\"");
    refused("{\"$uint\":\"18446744073709551616\"}", "JSON: \"$uint\"");
    refused("{\"$uint\":\"-1\"}", "JSON: \"$uint\"");
    refused("{\"$uint\":\"\"}", "JSON: \"$uint\"");
}

UNIT(json, a_ref_is_its_text_in_both_directions)
{
    shows("c70c0100000001000000000000002a", "{\"$ext\":1,\"data\":\"AAAAAQAAAAAAAAAq\"}");      /* no codec yet */
    value_set_ref_codec(&test_codec);
    shows("c70c0100000001000000000000002a", "\"#1.42\"");
    shows("81c70c0100000001000000000000002a01", "{\"#1.42\":1}");
    shows("d40100", "{\"$ext\":1,\"data\":\"AA==\"}");          /* a ref that is none */
    nx_packer p;
    value_packer_init(&p, 0);
    CU_ASSERT_EQUAL(value_from_json(&p, "\"#1.42\"", 7, NULL), 0);
    struct bytes want = unhex("c70c0100000001000000000000002a");
    CU_ASSERT(buf_len(&p.bytes) == want.len && memcmp(buf_data(&p.bytes), want.data, want.len) == 0);
    value_packer_fini(&p);
    becomes("[\"#1.42\",\"#1.42 \",\"#1.\",\"x#1.42\",\"#1.42\\u0000\"]", "[\"#1.42\",\"#1.42 \",\"#1.\",\"x#1.42\",\"#1.42\\u0000\"]");
    becomes("{\"#1.42\":1}", "{\"#1.42\":1}");
    value_set_ref_codec(NULL);
}

UNIT(json, every_recorded_value_can_be_shown_and_what_is_shown_can_be_read)
{
    for (size_t i = 0; i < VECTORS; i++) {
        char *json = strdup(shown(vectors[i].hex, i % 2 ? VALUE_JSON_PRETTY : 0));
        CU_ASSERT_PTR_NOT_NULL_FATAL(json);
        struct base_error why = { 0 };
        const char *again = through(json, strlen(json), i % 2 ? VALUE_JSON_PRETTY : 0, &why);
        if (strcmp(vectors[i].name, "map with a key twice") == 0)
            CU_ASSERT_PTR_NULL(again)
        else if (again == NULL || strcmp(again, json) != 0) {
            printf("# %s: %s, then %s (%s)\n", vectors[i].name, json, again != NULL ? again : "nothing", why.text);
            CU_FAIL("another text");
        }
        free(json);
    }
}

UNIT(json, what_json_does_not_have_is_shown_readably)
{
    shows("a2fffe", "\"\xef\xbf\xbd\xef\xbf\xbd\"");
    shows("a461ff6280", "\"a\xef\xbf\xbd" "b\xef\xbf\xbd\"");
    shows("a3e28261", "\"\xef\xbf\xbd\xef\xbf\xbd" "a\"");
    shows("8507a1610801c0029105c203c3", "{\"7\":\"a\",\"8\":1,\"null\":2,\"[5]\":false,\"3\":true}");
    shows("82a16101a16102", "{\"a\":1,\"a\":2}");
    shows("81cb7ff800000000000001", "{\"{\\\"$float\\\":\\\"nan\\\"}\":1}");
    shows("81c4020001c0", "{\"{\\\"$bin\\\":\\\"AAE=\\\"}\":null}");
    shows("ca3dcccccd", "0.10000000149011612");
}

UNIT(json, pretty_has_two_spaces_a_level_and_no_newline_at_the_end)
{
    CU_ASSERT_STRING_EQUAL(shown("83a161920102a162819001a16380", VALUE_JSON_PRETTY),
                           "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": {\n    \"[]\": 1\n  },\n  \"c\": {}\n}");
}

UNIT(json, a_text_longer_than_its_buffer_leaves_what_was_there)
{
    struct buf out;
    buf_init(&out, 20);
    CU_ASSERT_EQUAL(buf_put(&out, "kept", 4), 0);
    struct value_zone *z = NULL;
    nx_value v = { 0 };
    CU_ASSERT_EQUAL_FATAL(value_zone_new(&z), 0);
    CU_ASSERT_EQUAL_FATAL(value_decode(z, "\x92\xa8" "12345678\xa8" "12345678", 19, &vector_limits, &v, NULL), 0);
    CU_ASSERT_EQUAL(value_to_json(v, 0, &out), NX_ETOOBIG);
    CU_ASSERT_STRING_EQUAL(buf_cstr(&out), "kept");
    CU_ASSERT_EQUAL(value_to_json(value_at(v, 0), 0, &out), 0);
    CU_ASSERT_STRING_EQUAL(buf_cstr(&out), "kept\"12345678\"");
    CU_ASSERT_EQUAL(value_to_json((nx_value){ 0 }, 0, &out), NX_EINVAL);
    value_zone_free(&z);
    buf_fini(&out);
}

UNIT(json, a_value_over_max_body_is_too_big_and_leaves_the_packer)
{
    nx_packer p;
    value_packer_init(&p, 10);
    struct base_error why;
    CU_ASSERT_EQUAL(nx_pack(&p, "i", 1), 0);
    CU_ASSERT_EQUAL(value_from_json(&p, "[\"123456789\"]", 13, &why), NX_ETOOBIG);
    CU_ASSERT(buf_len(&p.bytes) == 1 && value_packer_count(&p) == 1 && why.code == NX_ETOOBIG);
    CU_ASSERT_EQUAL(value_from_json(&p, "[\"1234567\"]", 11, &why), 0);
    CU_ASSERT_EQUAL(buf_len(&p.bytes), 10);
    value_packer_fini(&p);
}

UNIT(base64, the_vectors_of_rfc_4648_in_both_directions)
{
    static const struct { const char *plain, *text; } v[] = { { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" },
        { "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" }, { "\xfb\xff\xbf", "+/+/" } };
    struct buf b;
    buf_init(&b, 0);
    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
        buf_clear(&b);
        CU_ASSERT_EQUAL(value_base64_put(&b, v[i].plain, strlen(v[i].plain)), 0);
        CU_ASSERT_STRING_EQUAL(buf_cstr(&b), v[i].text);
        buf_clear(&b);
        CU_ASSERT_EQUAL(value_base64_decode(v[i].text, strlen(v[i].text), &b), 0);
        CU_ASSERT_STRING_EQUAL(buf_cstr(&b), v[i].plain);
    }
    static const char *const wrong[] = { "Z", "Zg", "Zg=", "Zh==", "Zm9=", "====", "Z===", "Zg==Zg==", "Zm 9", "Zm9v\n", "Zm9-", "=Zg=", "Zg=a" };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        buf_clear(&b);
        CU_ASSERT_EQUAL(value_base64_decode(wrong[i], strlen(wrong[i]), &b), NX_EINVAL);
        CU_ASSERT_EQUAL(buf_len(&b), 0);
    }
    buf_fini(&b);
}
