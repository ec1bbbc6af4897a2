/*
 * test_random.c - that bytes come, all of them, and that jitter keeps its bounds.
 */
#include "base/random.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"

UNIT(random, all_the_bytes_asked_for_are_filled_and_no_more)
{
    enum { LEN = 70000 };                             /* more than the kernel gives at once without a loop under signals */
    uint8_t *bytes = calloc(1, LEN + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    CU_ASSERT_EQUAL(random_bytes(bytes, LEN), 0);
    unsigned seen[256] = { 0 };
    for (size_t i = 0; i < LEN; i++)
        seen[bytes[i]]++;
    for (size_t i = 0; i < 256; i++)                  /* 273 expected; 150 and 400 are more than 7 deviations away */
        CU_ASSERT(seen[i] > 150 && seen[i] < 400);
    CU_ASSERT_EQUAL(bytes[LEN], 0);
    free(bytes);
    CU_ASSERT_EQUAL(random_bytes(NULL, 0), 0);
}

UNIT(random, numbers_are_never_zero_and_differ)
{
    uint64_t a = 0, b = 0;
    CU_ASSERT_EQUAL(random_u64(&a), 0);
    CU_ASSERT_EQUAL(random_u64(&b), 0);
    CU_ASSERT(a != 0 && b != 0 && a != b);
}

UNIT(random, jitter_stays_within_its_percentage_and_varies)
{
    uint32_t low = UINT32_MAX, high = 0;
    for (int i = 0; i < 2000; i++) {
        uint32_t v = random_jitter(1000, 20);
        low = v < low ? v : low;
        high = v > high ? v : high;
    }
    CU_ASSERT(low >= 800 && low < 820);
    CU_ASSERT(high <= 1200 && high > 1180);
    CU_ASSERT_EQUAL(random_jitter(1000, 0), 1000);
    CU_ASSERT_EQUAL(random_jitter(0, 50), 0);
    bool capped = false;
    for (int i = 0; i < 200; i++)                     /* 250 counts as 100: half of the draws lie beyond 32 bits */
        capped |= random_jitter(UINT32_MAX, 250) == UINT32_MAX;
    CU_ASSERT(capped);
}
