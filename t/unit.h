/*
 * unit.h - CUnit with names that are sentences, and a TAP line for each.
 *
 *   UNIT(mailbox, put_over_the_bound_leaves_the_message_with_the_caller) { CU_ASSERT_EQUAL(...); }
 *
 * A test file registers its tests before main; unit.c runs them all with CUnit and prints TAP. A program takes an optional argument:
 * only tests whose "suite: name" contains it are run.
 */
#ifndef NOEXD_T_UNIT_H
#define NOEXD_T_UNIT_H

#include <CUnit/CUnit.h>

struct unit_test { const char *suite, *name; void (*run)(void); struct unit_test *next; };
void unit_add(struct unit_test *test);
void unit_skip(const char *why);        /* this test cannot run here: reported as `ok - name # SKIP why` */

#define UNIT(suite_, name_) \
    static void unit_run_##suite_##_##name_(void); \
    static struct unit_test unit_test_##suite_##_##name_ = { #suite_, #name_, unit_run_##suite_##_##name_, 0 }; \
    __attribute__((constructor)) static void unit_add_##suite_##_##name_(void) { unit_add(&unit_test_##suite_##_##name_); } \
    static void unit_run_##suite_##_##name_(void)

#endif
