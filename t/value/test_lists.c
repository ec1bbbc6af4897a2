/*
 * test_lists.c - lists and maps of unknown length.
 */
#include "unit.h"

#include "value/value.h"

UNIT(lists, an_array_of_values_is_packed_and_walked)
{
    nx_packer one, all;
    value_packer_init(&one, 0);
    value_packer_init(&all, 0);
    CU_ASSERT_EQUAL(nx_pack(&one, "{s:i}", "a", 7), 0);
    nx_value items[3] = { value_packer_value(&one), { .packed = "\xc0", .packed_len = 1 }, { .packed = "\x05", .packed_len = 1 } };
    CU_ASSERT_EQUAL(nx_pack_array(&all, items, 3), 0);
    struct value_zone *zone = NULL;
    struct value_limits limits = VALUE_LIMITS_DEFAULT;
    nx_value v = value_packer_value(&all), decoded = { 0 };
    CU_ASSERT_EQUAL_FATAL(value_zone_new(&zone), 0);
    CU_ASSERT_EQUAL_FATAL(value_decode(zone, v.packed, v.packed_len, &limits, &decoded, NULL), 0);
    int a = 0, five = 0;
    const char *key = NULL;
    CU_ASSERT_EQUAL(nx_count(decoded), 3);
    CU_ASSERT_EQUAL(nx_unpack(nx_at(decoded, 0), "{s:i}", "a", &a), 0);
    CU_ASSERT_EQUAL(a, 7);
    CU_ASSERT_EQUAL(nx_unpack(nx_key_at(nx_at(decoded, 0), 0), "s", &key), 0);
    CU_ASSERT_STRING_EQUAL(key, "a");
    CU_ASSERT_EQUAL(nx_unpack(nx_at(decoded, 1), "n"), 0);
    CU_ASSERT_EQUAL(nx_unpack(nx_at(decoded, 2), "i", &five), 0);
    CU_ASSERT_EQUAL(five, 5);
    CU_ASSERT_FALSE(nx_is_value(nx_at(decoded, 3)));
    CU_ASSERT_EQUAL(nx_count(nx_at(decoded, 2)), 0);
    value_zone_free(&zone);
    value_packer_fini(&one);
    value_packer_fini(&all);
}

UNIT(lists, an_array_with_an_empty_value_is_refused_and_leaves_the_packer_as_it_was)
{
    nx_packer p;
    value_packer_init(&p, 0);
    CU_ASSERT_EQUAL(nx_pack(&p, "i", 1), 0);
    size_t before = value_packer_value(&p).packed_len;
    nx_value items[2] = { { .packed = "\x05", .packed_len = 1 }, { 0 } };
    CU_ASSERT_EQUAL(nx_pack_array(&p, items, 2), NX_EINVAL);
    CU_ASSERT_EQUAL(value_packer_value(&p).packed_len, before);
    CU_ASSERT_EQUAL(nx_pack_array(&p, NULL, 1), NX_EINVAL);
    value_packer_fini(&p);
}
