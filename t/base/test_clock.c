/*
 * test_clock.c - both clocks, deadlines at their edges.
 */
#include "base/clock.h"

#include <time.h>

#include "unit.h"

UNIT(clock, the_real_clocks_agree_with_the_kernel)
{
    uint64_t first = clock_now_ns(), second = clock_now_ns();
    CU_ASSERT(first > 0 && second >= first);
    struct timespec ts;
    CU_ASSERT_EQUAL(clock_gettime(CLOCK_REALTIME, &ts), 0);
    uint64_t before = (uint64_t)ts.tv_sec * 1000;
    CU_ASSERT(clock_wall_ms() >= before && clock_wall_ms() < before + 60000);
}

UNIT(clock, a_held_clock_stands_still_until_released)
{
    clock_hold(7, 1700000000000);
    CU_ASSERT_EQUAL(clock_now_ns(), 7);
    CU_ASSERT_EQUAL(clock_now_ns(), 7);
    CU_ASSERT_EQUAL(clock_wall_ms(), 1700000000000);
    clock_hold(8, 0);
    CU_ASSERT_EQUAL(clock_now_ns(), 8);
    clock_release();
    CU_ASSERT(clock_now_ns() != 8);
}

UNIT(clock, a_deadline_never_overflows_and_never_means_none_by_accident)
{
    CU_ASSERT_EQUAL(clock_deadline(1000, 5), 1000 + 5 * CLOCK_NS_PER_MS);
    CU_ASSERT_EQUAL(clock_deadline(1000, -1), 0);
    CU_ASSERT_EQUAL(clock_deadline(1000, INT64_MIN), 0);
    CU_ASSERT_EQUAL(clock_deadline(1000, INT64_MAX), 0);
    CU_ASSERT_EQUAL(clock_deadline(UINT64_MAX, 1), 0);
    CU_ASSERT_EQUAL(clock_deadline(1000, 0), 1000);
    CU_ASSERT_EQUAL(clock_deadline(0, 0), 1);
    int64_t century = INT64_C(100) * 365 * 24 * 3600 * 1000;
    CU_ASSERT_EQUAL(clock_deadline(1, century), 1 + (uint64_t)century * CLOCK_NS_PER_MS);
    CU_ASSERT_EQUAL(clock_deadline(1, century + century / 50), 0);
}

UNIT(clock, time_left_is_rounded_up_and_at_least_one)
{
    const uint64_t now = 1000000000;
    CU_ASSERT_EQUAL(clock_left_ms(0, now), 0);
    CU_ASSERT_EQUAL(clock_left_ms(now + 1, now), 1);
    CU_ASSERT_EQUAL(clock_left_ms(now + CLOCK_NS_PER_MS, now), 1);
    CU_ASSERT_EQUAL(clock_left_ms(now + CLOCK_NS_PER_MS + 1, now), 2);
    CU_ASSERT_EQUAL(clock_left_ms(now, now), 1);
    CU_ASSERT_EQUAL(clock_left_ms(now - 1, now), 1);
    CU_ASSERT_EQUAL(clock_left_ms(UINT64_MAX, 0), UINT32_MAX);
}

UNIT(clock, only_a_deadline_that_exists_can_be_past)
{
    CU_ASSERT(!clock_is_past(0, 5));
    CU_ASSERT(!clock_is_past(6, 5));
    CU_ASSERT(clock_is_past(5, 5));
    CU_ASSERT(clock_is_past(4, 5));
}
