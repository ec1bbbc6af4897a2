/*
 * test_deadlines.c - the earliest first, whatever the order of putting, with more different timeouts than runs.
 */
#include "call/call_priv.h"

#include <stdlib.h>

#include "unit.h"

enum { COUNT = 3000 };

static unsigned seed;

static unsigned
dice(unsigned sides)
{
    seed = seed * 1103515245u + 12345u;
    return (seed >> 10) % sides;
}

/* Timeouts as programs have them (few), and as nobody has them (any); some are taken out on the way. */
static void
run_all(unsigned different, bool taken_out)
{
    struct deadlines all;
    struct deadline *d = calloc(COUNT, sizeof *d);
    char *inside = calloc(COUNT, 1);
    size_t left = COUNT;
    deadlines_init(&all);
    CU_ASSERT_PTR_NULL(deadlines_first(&all));
    for (size_t i = 0; i < COUNT; i++) {
        deadline_init(&d[i]);
        deadlines_remove(&all, &d[i]);            /* in none: fine */
        CU_ASSERT_EQUAL(deadlines_put(&all, &d[i], 1000 + i + (uint64_t)dice(different) * 500), 0);
        inside[i] = 1;
        size_t other = dice((unsigned)i + 1);
        if (taken_out && inside[other] && dice(2)) {
            deadlines_remove(&all, &d[other]);
            inside[other] = 0;
            left--;
        }
    }
    uint64_t last = 0;
    for (struct deadline *first; (first = deadlines_first(&all)) != NULL; left--) {
        size_t i = (size_t)(first - d);
        CU_ASSERT_FATAL(inside[i]);
        CU_ASSERT_FATAL(deadline_ns(first) >= last);
        last = deadline_ns(first);
        inside[i] = 0;
        deadlines_remove(&all, first);
    }
    CU_ASSERT_EQUAL(left, 0);
    deadlines_fini(&all);
    free(inside);
    free(d);
}

UNIT(deadlines, come_out_in_order_for_one_timeout_a_few_and_many)
{
    static const unsigned different[] = { 1, 2, DEADLINE_RUNS, DEADLINE_RUNS + 1, 1000 };
    for (unsigned i = 0; i < sizeof different / sizeof *different; i++)
        for (seed = 1; seed < 4; seed++) {
            run_all(different[i], false);
            run_all(different[i], true);
        }
}

UNIT(deadlines, a_run_that_has_become_empty_takes_an_earlier_one)
{
    struct deadlines all;
    struct deadline late, early[DEADLINE_RUNS + 1];
    deadlines_init(&all);
    deadline_init(&late);
    CU_ASSERT_EQUAL(deadlines_put(&all, &late, 1000000), 0);
    deadlines_remove(&all, &late);
    for (unsigned i = 0; i <= DEADLINE_RUNS; i++) {
        deadline_init(&early[i]);
        CU_ASSERT_EQUAL(deadlines_put(&all, &early[i], 100 - i), 0);
        CU_ASSERT_PTR_EQUAL(deadlines_first(&all), &early[i]);
    }
    CU_ASSERT_EQUAL(all.others.count, 1);         /* every run took one, the heap the last */
    deadlines_fini(&all);
}
