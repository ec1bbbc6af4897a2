/*
 * test_unpack.c - values into variables, and the sentence that says what was wrong.
 */
#include "vectors.h"

#include <limits.h>

#include "noex/errors.h"
#include "unit.h"

static struct value_zone *zone;
static nx_packer packer;

/* Pack by a format, then decode: what a receiver holds. Lives until the next. */
static nx_value
made(const char *fmt, ...)
{
    if (zone == NULL && value_zone_new(&zone) != 0)
        abort();
    value_zone_clear(zone);
    value_packer_fini(&packer);
    value_packer_init(&packer, 0);
    struct base_error why;
    va_list ap;
    va_start(ap, fmt);
    int err = value_vpack(&packer, &why, fmt, ap);
    va_end(ap);
    CU_ASSERT_EQUAL_FATAL(err, 0);
    nx_value packed = value_packer_value(&packer), v = { 0 };
    CU_ASSERT_EQUAL_FATAL(value_decode(zone, packed.packed, packed.packed_len, &vector_limits, &v, NULL), 0);
    return v;
}

static nx_value
made_hex(const char *hex)
{
    static struct bytes b;
    b = unhex(hex);
    (void)made("n");
    nx_value v = { 0 };
    CU_ASSERT_EQUAL_FATAL(value_decode(zone, b.data, b.len, &vector_limits, &v, NULL), 0);
    return v;
}

static void
done(void)
{
    value_zone_free(&zone);
    value_packer_fini(&packer);
}

#define SAYS(text_) CU_ASSERT_STRING_EQUAL(value_last_error()->text, "nx_unpack: " text_)

UNIT(unpack, every_letter_reads_what_it_packs)
{
    value_set_ref_codec(&test_codec);
    nx_ref ref = { .node = 3, .serial = 9 }, r = { 0 };
    nx_value v = made("{s:b,s:i,s:I,s:u,s:f,s:s,s:s#,s:y,s:r,s:n,s:[i,i]}", "b", 1, "i", -5, "I", INT64_MIN, "u", UINT64_MAX, "f", 0.25,
                      "s", "text", "S", "a\0b", (size_t)3, "y", "\1\2", (size_t)2, "r", ref, "n", "v", 1, 2);
    int b = 0, i = 0;
    int64_t big = 0;
    uint64_t u = 0;
    double f = 0;
    const char *s = NULL, *s2 = NULL;
    const void *y = NULL;
    size_t s2_len = 0, y_len = 0;
    nx_value list = { 0 };
    CU_ASSERT_EQUAL(nx_unpack(v, "{s:b,s:i,s:I,s:u,s:f,s:s,s:s#,s:y,s:r,s:n,s:v}", "b", &b, "i", &i, "I", &big, "u", &u, "f", &f, "s", &s,
                              "S", &s2, &s2_len, "y", &y, &y_len, "r", &r, "n", "v", &list), 0);
    CU_ASSERT(b == 1 && i == -5 && big == INT64_MIN && u == UINT64_MAX && f == 0.25);
    CU_ASSERT_STRING_EQUAL(s, "text");
    CU_ASSERT(s2_len == 3 && memcmp(s2, "a\0b", 4) == 0);
    CU_ASSERT(y_len == 2 && memcmp(y, "\1\2", 2) == 0);
    CU_ASSERT(r.node == 3 && r.serial == 9);
    CU_ASSERT_EQUAL(value_count(list), 2);
    int one = 0, two = 0;
    CU_ASSERT_EQUAL(nx_unpack(list, " [ i , i ] ", &one, &two), 0);
    CU_ASSERT(one == 1 && two == 2);
    value_set_ref_codec(NULL);
    done();
}

UNIT(unpack, the_order_of_keys_does_not_matter_and_others_are_ignored)
{
    nx_value v = made("{s:i,s:s,s:i,s:n}", "a", 1, "type", "get", "b", 2, "more");
    int a = 0, b = 0;
    const char *type = NULL;
    CU_ASSERT_EQUAL(nx_unpack(v, "{s:i,s:i,s:s}", "b", &b, "a", &a, "type", &type), 0);
    CU_ASSERT(a == 1 && b == 2 && strcmp(type, "get") == 0);
    CU_ASSERT_EQUAL(nx_unpack(v, "{}"), 0);
    done();
}

UNIT(unpack, an_optional_key_leaves_its_variables_when_absent_or_nil)
{
    nx_value v = made("{s:s,s:n,s:i}", "type", "get", "by", "last", 5);
    const char *type = NULL, *by = "untouched", *s = "untouched";
    const void *y = NULL;
    size_t n = 77, m = 77;
    int i = 77, last = 0;
    double f = 77;
    nx_ref r = { .serial = 77 };
    CU_ASSERT_EQUAL(nx_unpack(v, "{s:s,s?s,s?i,s?{s:s#,s?[i,{s:f!}]},s?y,s?r,s?n,s:i}", "type", &type, "by", &by, "no", &i, "deep", "x",
                              &s, &n, "y", &i, "z", &f, "bin", &y, &m, "ref", &r, "nil", "last", &last), 0);
    CU_ASSERT_STRING_EQUAL(type, "get");
    CU_ASSERT_STRING_EQUAL(by, "untouched");
    CU_ASSERT(i == 77 && n == 77 && m == 77 && f == 77 && r.serial == 77 && y == NULL && strcmp(s, "untouched") == 0);
    CU_ASSERT_EQUAL(last, 5);                         /* the arguments in between were stepped over one by one */
    CU_ASSERT_EQUAL(nx_unpack(v, "{s ? i}", "last", &i), 0);
    CU_ASSERT_EQUAL(i, 5);
    CU_ASSERT_EQUAL(nx_unpack(v, "{s?i}", "type", &i), NX_EINVAL);
    SAYS("key \"type\": expected an integer, found a string");
    done();
}

UNIT(unpack, the_text_names_the_key_and_what_was_found)
{
    nx_value v = made("{s:i,s:{s:[i,s]},s:f,s:y}", "by", 3, "user", "list", 1, "x", "f", 1.5, "bin", "", (size_t)0);
    const char *s;
    int i;
    nx_ref r;
    CU_ASSERT_EQUAL(nx_unpack(v, "{s:s}", "by", &s), NX_EINVAL);
    SAYS("key \"by\": expected a string, found an integer");
    CU_ASSERT_EQUAL(nx_unpack(v, "{s:{s:[i,i]}}", "user", "list", &i, &i), NX_EINVAL);
    SAYS("key \"user.list[1]\": expected an integer, found a string");
    CU_ASSERT_EQUAL(nx_unpack(v, "{s:{s:[i]}}", "user", "list", &i), NX_EINVAL);
    SAYS("key \"user.list\": expected an array of 1, found one of 2");
    CU_ASSERT_EQUAL(nx_unpack(v, "{s:{s:[i,s,i]}}", "user", "list", &i, &s, &i), NX_EINVAL);
    SAYS("key \"user.list\": array of 2 is too short");
    CU_ASSERT_EQUAL(nx_unpack(v, "{s:i}", "f", &i), NX_EINVAL);
    SAYS("key \"f\": expected an integer, found a float");
    CU_ASSERT_EQUAL(nx_unpack(v, "{s:r}", "bin", &r), NX_EINVAL);
    SAYS("key \"bin\": expected a ref, found a binary");
    CU_ASSERT_EQUAL(nx_unpack(v, "{s:{s:i}}", "user", "age", &i), NX_EINVAL);
    SAYS("key \"user.age\": missing");
    CU_ASSERT_EQUAL(nx_unpack(v, "[i]", &i), NX_EINVAL);
    SAYS("expected an array, found a map");
    CU_ASSERT_EQUAL(nx_unpack(v, "{s:n}", "by"), NX_EINVAL);
    SAYS("key \"by\": expected nil, found an integer");
    v = made("[n,b]", 1);
    CU_ASSERT_EQUAL(nx_unpack(v, "[n,f]", (double *)NULL), NX_EINVAL);
    SAYS("element [1]: expected a number, found a boolean");
    CU_ASSERT_EQUAL(nx_unpack(v, "[b,b]", &i, &i), NX_EINVAL);
    SAYS("element [0]: expected a boolean, found nil");
    done();
}

UNIT(unpack, numbers_that_do_not_fit_are_refused_and_those_that_do_are_exact)
{
    int i = 0;
    int64_t big = 0;
    uint64_t u = 0;
    double f = 0;
    CU_ASSERT_EQUAL(nx_unpack(made("I", (int64_t)INT_MAX), "i", &i), 0);
    CU_ASSERT_EQUAL(i, INT_MAX);
    CU_ASSERT_EQUAL(nx_unpack(made("I", (int64_t)INT_MIN), "i", &i), 0);
    CU_ASSERT_EQUAL(i, INT_MIN);
    CU_ASSERT_EQUAL(nx_unpack(made("I", (int64_t)INT_MAX + 1), "i", &i), NX_EINVAL);
    SAYS("2147483648 does not fit");
    CU_ASSERT_EQUAL(nx_unpack(made("I", (int64_t)INT_MIN - 1), "i", &i), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_unpack(made("u", UINT64_MAX), "I", &big), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_unpack(made("u", (uint64_t)INT64_MAX), "I", &big), 0);
    CU_ASSERT_EQUAL(big, INT64_MAX);
    CU_ASSERT_EQUAL(nx_unpack(made("I", INT64_C(-1)), "u", &u), NX_EINVAL);
    SAYS("-1 does not fit");
    CU_ASSERT_EQUAL(nx_unpack(made("u", UINT64_MAX), "u", &u), 0);
    CU_ASSERT_EQUAL(u, UINT64_MAX);
    CU_ASSERT_EQUAL(nx_unpack(made("i", -3), "f", &f), 0);
    CU_ASSERT_EQUAL(f, -3.0);
    CU_ASSERT_EQUAL(nx_unpack(made("u", UINT64_C(1) << 63), "f", &f), 0);
    CU_ASSERT_EQUAL(f, 9223372036854775808.0);
    CU_ASSERT_EQUAL(nx_unpack(made_hex("ca3fc00000"), "f", &f), 0);
    CU_ASSERT_EQUAL(f, 1.5);
    CU_ASSERT_EQUAL(nx_unpack(made("f", 1.0), "I", &big), NX_EINVAL);
    done();
}

UNIT(unpack, a_string_with_a_nul_is_refused_as_a_c_string_only)
{
    const char *s = NULL;
    size_t len = 0;
    nx_value v = made("s#", "a\0b", (size_t)3);
    CU_ASSERT_EQUAL(nx_unpack(v, "s", &s), NX_EINVAL);
    SAYS("string holds a NUL");
    CU_ASSERT_PTR_NULL(s);
    CU_ASSERT_EQUAL(nx_unpack(v, "s#", &s, &len), 0);
    CU_ASSERT_EQUAL(len, 3);
    CU_ASSERT_EQUAL(nx_unpack(made("s", ""), "s", &s), 0);
    CU_ASSERT_STRING_EQUAL(s, "");
    done();
}

UNIT(unpack, an_exclamation_mark_refuses_other_keys)
{
    nx_value v = made("{s:i,s:i}", "a", 1, "b", 2);
    int a, b;
    CU_ASSERT_EQUAL(nx_unpack(v, "{s:i,s:i!}", "a", &a, "b", &b), 0);
    CU_ASSERT_EQUAL(nx_unpack(v, "{s:i,s:i,s?i !}", "a", &a, "b", &b, "c", &a), 0);
    CU_ASSERT_EQUAL(nx_unpack(v, "{s:i!}", "a", &a), NX_EINVAL);
    SAYS("key \"b\" is not known here");
    CU_ASSERT_EQUAL(nx_unpack(v, "{!}"), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_unpack(made("{}"), "{!}"), 0);
    CU_ASSERT_EQUAL(nx_unpack(made("{s:n}", "a"), "{s?i!}", "a", &a), 0);
    CU_ASSERT_EQUAL(nx_unpack(made_hex("82a16101a16102"), "{s:i!}", "a", &a), NX_EINVAL);    /* twice: one too many */
    CU_ASSERT_EQUAL(nx_unpack(made_hex("82a161010702"), "{s:i!}", "a", &a), NX_EINVAL);      /* a key that is no string */
    done();
}

UNIT(unpack, of_a_key_that_comes_twice_the_first_is_read)
{
    int a = 0;
    CU_ASSERT_EQUAL(nx_unpack(made_hex("82a16101a16102"), "{s:i}", "a", &a), 0);
    CU_ASSERT_EQUAL(a, 1);
    done();
}

UNIT(unpack, a_wrong_format_is_an_error_not_a_crash)
{
    nx_value v = made("{s:i,s:[]}", "a", 1, "list"), list = value_get(v, "list");
    int a;
    static const char *const wrong[] = { "", " ", "{", "{s", "{s:i", "{s:i]", "{i}", "{s:x}", "x", "{s:i!,s:i}", "{s:i}i", "{s:i}}" };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        CU_ASSERT_EQUAL(nx_unpack(v, wrong[i], "a", &a, "a", &a), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_unpack(list, "[", &a), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_unpack(list, "[}", &a), NX_EINVAL);
    static const char *const wrong_when_skipped[] = { "{s?", "{s?x}", "{s?[", "{s?[x]}", "{s?{s}}", "{s?{i:i}}", "{s?{s:i}" };
    for (size_t i = 0; i < sizeof wrong_when_skipped / sizeof wrong_when_skipped[0]; i++)
        CU_ASSERT_EQUAL(nx_unpack(v, wrong_when_skipped[i], "absent", "k", &a), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_unpack(v, "{s?[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[i]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}", "absent", &a), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_unpack(v, NULL), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_unpack(v, "{s:i}", (const char *)NULL, &a), NX_EINVAL);
    CU_ASSERT_EQUAL(nx_unpack(v, "{s:i,s:x}", "a", &a, "list", &a), NX_EINVAL);
    SAYS("wrong letter at character 8 of format \"{s:i,s:x}\"");
    done();
}

UNIT(unpack, no_value_and_a_value_not_decoded_are_refused)
{
    int a;
    CU_ASSERT_EQUAL(nx_unpack((nx_value){ 0 }, "i", &a), NX_EINVAL);
    SAYS("no value");
    CU_ASSERT_EQUAL(nx_unpack((nx_value){ .packed = "\1", .packed_len = 1 }, "i", &a), NX_EINVAL);
    SAYS("the value is packed only: decode it first");
}

UNIT(unpack, a_ref_that_the_codec_refuses_keeps_its_code_and_says_where)
{
    nx_ref r;
    CU_ASSERT_EQUAL(nx_unpack(made_hex("81a26964c7030100aabb"), "{s:r}", "id", &r), NX_EINVAL);    /* no codec */
    value_set_ref_codec(&test_codec);
    CU_ASSERT_EQUAL(nx_unpack(made_hex("81a26964c7030100aabb"), "{s:r}", "id", &r), NX_ENODE);
    SAYS("key \"id\": ref: 3 bytes");
    CU_ASSERT_EQUAL(nx_unpack(made_hex("81a26964c703ff00aabb"), "{s:r}", "id", &r), NX_EINVAL);
    SAYS("key \"id\": expected a ref, found an ext");
    value_set_ref_codec(NULL);
    done();
}

UNIT(unpack, a_caller_may_want_no_text)
{
    va_list none;
    memset(&none, 0, sizeof none);
    CU_ASSERT_EQUAL(value_vunpack(made("[i]", 1), NULL, "[]", none), NX_EINVAL);
    CU_ASSERT_EQUAL(value_vunpack(made("[i]", 1), NULL, "{}", none), NX_EINVAL);
    done();
}

UNIT(walk, values_are_looked_into_without_msgpack_types)
{
    nx_value v = made("{s:[i,s],s:n,s:{}}", "list", 7, "seven", "nil", "map"), list = value_get(v, "list");
    const char *text = NULL;
    size_t len = 0;
    CU_ASSERT(value_is_map(v) && !value_is_array(v) && !value_is_nil(v) && !value_is_string(v, NULL, NULL));
    CU_ASSERT_EQUAL(value_count(v), 3);
    CU_ASSERT(value_is_array(list) && value_count(list) == 2);
    CU_ASSERT(value_is_string(value_at(list, 1), &text, &len) && len == 5 && strcmp(text, "seven") == 0);
    CU_ASSERT(!nx_is_value(value_at(list, 2)));
    CU_ASSERT(!nx_is_value(value_at(value_at(list, 0), 0)));
    CU_ASSERT(value_is_nil(value_get(v, "nil")) && value_is_nil(value_at(v, 1)));
    CU_ASSERT(value_is_string(value_key_at(v, 2), &text, NULL) && strcmp(text, "map") == 0);
    CU_ASSERT(!nx_is_value(value_key_at(v, 3)) && !nx_is_value(value_key_at(list, 0)));
    CU_ASSERT(!nx_is_value(value_get(v, "lis")) && !nx_is_value(value_get(v, "list2")) && !nx_is_value(value_get(list, "x")));
    CU_ASSERT_EQUAL(value_count((nx_value){ 0 }), 0);
    CU_ASSERT(!value_is_nil((nx_value){ 0 }) && !nx_is_value(value_get((nx_value){ 0 }, "x")));
    CU_ASSERT(nx_is_value((nx_value){ .packed = "", .packed_len = 0 }));
    done();
}
