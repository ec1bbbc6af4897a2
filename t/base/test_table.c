/*
 * test_table.c - both tables against a plain array that cannot be wrong, and the hash against recorded values.
 */
#include "base/table.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "unit.h"

UNIT(table, a_value_is_found_replaced_and_taken)
{
    struct table *t = NULL;
    CU_ASSERT_EQUAL_FATAL(table_new(&t), 0);
    int one, two;
    CU_ASSERT_PTR_NULL(table_get(t, 5));
    CU_ASSERT_PTR_NULL(table_take(t, 5));
    CU_ASSERT_EQUAL(table_put(t, 5, &one), 0);
    CU_ASSERT_EQUAL(table_put(t, 0, &two), 0);        /* 0 is a key like any other */
    CU_ASSERT_PTR_EQUAL(table_get(t, 5), &one);
    CU_ASSERT_EQUAL(table_put(t, 5, &two), 0);
    CU_ASSERT_EQUAL(table_count(t), 2);
    CU_ASSERT_PTR_EQUAL(table_take(t, 5), &two);
    CU_ASSERT_PTR_NULL(table_take(t, 5));
    CU_ASSERT_PTR_EQUAL(table_get(t, 0), &two);
    CU_ASSERT_EQUAL(table_count(t), 1);
    table_free(&t);
    CU_ASSERT_PTR_NULL(t);
    table_free(&t);
}

UNIT(table, random_puts_and_takes_agree_with_an_array)
{
    enum { KEYS = 700 };
    static char values[KEYS];
    bool in[KEYS] = { false };
    struct table *t = NULL;
    CU_ASSERT_EQUAL_FATAL(table_new(&t), 0);
    unsigned seed = 99;
    size_t count = 0;
    for (int round = 0; round < 100000; round++) {
        seed = seed * 1103515245u + 12345u;
        size_t k = (seed >> 8) % KEYS;
        uint64_t key = (uint64_t)k << 48 | k;         /* call ids look like this: the slot in the top bits */
        CU_ASSERT_EQUAL_FATAL(table_get(t, key) == &values[k], in[k]);
        if (in[k]) {
            CU_ASSERT_PTR_EQUAL_FATAL(table_take(t, key), &values[k]);
            count--;
        } else {
            CU_ASSERT_EQUAL_FATAL(table_put(t, key, &values[k]), 0);
            count++;
        }
        in[k] = !in[k];
        CU_ASSERT_EQUAL_FATAL(table_count(t), count);
    }
    for (size_t k = 0; k < KEYS; k++)
        CU_ASSERT_EQUAL((table_get(t, (uint64_t)k << 48 | k) != NULL), in[k]);
    bool seen[KEYS] = { false };
    size_t cursor = 0, walked = 0;
    uint64_t key;
    for (char *v; (v = table_next(t, &cursor, &key)) != NULL; walked++) {
        size_t k = (size_t)(v - values);
        CU_ASSERT_EQUAL(key, (uint64_t)k << 48 | k);
        CU_ASSERT(in[k] && !seen[k]);
        seen[k] = true;
    }
    CU_ASSERT_EQUAL(walked, count);
    table_free(&t);
}

UNIT(table, strings_are_copied_and_compared_whole)
{
    struct strtable *t = NULL;
    CU_ASSERT_EQUAL_FATAL(strtable_new(&t), 0);
    int a, b, c, d;
    char key[] = "counter";
    CU_ASSERT_EQUAL(strtable_put(t, key, 7, &a), 0);
    memset(key, 'x', 7);
    CU_ASSERT_PTR_EQUAL(strtable_get(t, "counter", 7), &a);
    CU_ASSERT_PTR_NULL(strtable_get(t, "counter", 6));
    CU_ASSERT_PTR_NULL(strtable_get(t, "counter\0", 8));
    CU_ASSERT_EQUAL(strtable_put(t, "counter\0", 8, &b), 0);
    CU_ASSERT_EQUAL(strtable_put(t, "", 0, &c), 0);
    CU_ASSERT_EQUAL(strtable_put(t, "counter", 7, &d), 0);
    CU_ASSERT_EQUAL(strtable_count(t), 3);
    CU_ASSERT_PTR_EQUAL(strtable_get(t, "counter", 7), &d);
    CU_ASSERT_PTR_EQUAL(strtable_get(t, NULL, 0), &c);
    CU_ASSERT_PTR_EQUAL(strtable_take(t, "counter\0", 8), &b);
    CU_ASSERT_PTR_NULL(strtable_take(t, "counter\0", 8));
    CU_ASSERT_PTR_EQUAL(strtable_take(t, "", 0), &c);
    const void *found = NULL;
    size_t len = 0, cursor = 0;
    CU_ASSERT_PTR_EQUAL(strtable_next(t, &cursor, &found, &len), &d);
    CU_ASSERT(len == 7 && memcmp(found, "counter", 7) == 0);
    CU_ASSERT_PTR_NULL(strtable_next(t, &cursor, NULL, NULL));
    strtable_free(&t);
    strtable_free(&t);
}

UNIT(table, random_strings_agree_with_an_array)
{
    enum { KEYS = 600 };
    static char values[KEYS];
    bool in[KEYS] = { false };
    struct strtable *t = NULL;
    CU_ASSERT_EQUAL_FATAL(strtable_new(&t), 0);
    unsigned seed = 5;
    for (int round = 0; round < 60000; round++) {
        seed = seed * 1103515245u + 12345u;
        size_t k = (seed >> 8) % KEYS;
        char key[32];
        size_t len = (size_t)snprintf(key, sizeof key, "server-%zu", k);
        CU_ASSERT_EQUAL_FATAL(strtable_get(t, key, len) == &values[k], in[k]);
        if (in[k])
            CU_ASSERT_PTR_EQUAL_FATAL(strtable_take(t, key, len), &values[k])
        else
            CU_ASSERT_EQUAL_FATAL(strtable_put(t, key, len, &values[k]), 0);
        in[k] = !in[k];
    }
    size_t count = 0, cursor = 0, walked = 0;
    for (size_t k = 0; k < KEYS; k++)
        count += in[k];
    CU_ASSERT_EQUAL(strtable_count(t), count);
    while (strtable_next(t, &cursor, NULL, NULL) != NULL)
        walked++;
    CU_ASSERT_EQUAL(walked, count);
    strtable_free(&t);
}

/* Made with OpenSSL's SIPHASH (c-rounds 1, d-rounds 3, key = the 64 bits and their spread, see table.c). */
UNIT(table, the_hash_is_siphash_1_3)
{
    uint8_t bytes[64];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    const uint64_t key = UINT64_C(0x0706050403020100);
    CU_ASSERT_EQUAL(table_hash(key, NULL, 0), UINT64_C(0xa6c71e055e6ff177));
    CU_ASSERT_EQUAL(table_hash(key, bytes, 7), UINT64_C(0xb6fe2f67348144f8));
    CU_ASSERT_EQUAL(table_hash(key, bytes, 8), UINT64_C(0x82708e80ae121ba6));
    CU_ASSERT_EQUAL(table_hash(UINT64_C(0xdeadbeefcafef00d), "shared-counter", 14), UINT64_C(0x7be47252739bc49b));
    CU_ASSERT_EQUAL(table_hash(0, bytes, 64), UINT64_C(0x75e05fd5bbc870c6));
}

UNIT(table, regular_keys_do_not_pile_up)
{
    /* Keys that differ in the top bits alone, as call ids of 60 000 workers would: a plain modulus makes this quadratic. */
    struct table *t = NULL;
    CU_ASSERT_EQUAL_FATAL(table_new(&t), 0);
    uint64_t began = clock_now_ns();
    for (uint64_t k = 0; k < 60000; k++)
        CU_ASSERT_EQUAL_FATAL(table_put(t, k << 48, t), 0);
    for (uint64_t k = 0; k < 60000; k++)
        CU_ASSERT_PTR_EQUAL_FATAL(table_take(t, k << 48), t);
    uint64_t took_ms = (clock_now_ns() - began) / CLOCK_NS_PER_MS;
    CU_ASSERT(took_ms < 1500);                        /* 10-60 ms when spread, minutes when not */
    CU_ASSERT_EQUAL(table_count(t), 0);
    table_free(&t);
}
