/*
 * unit.c - the runner of every unit test program: CUnit underneath, TAP on standard output.
 *
 * Tests run in the order of their files and lines. Each failed assertion is a diagnostic line with its place.
 */
#include "unit.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <CUnit/TestRun.h>

enum { TEST_MAX_S = 400 };

static struct unit_test *first, **last = &first;
static const char *skipped;
static int number;
static bool any_failed;

void
unit_add(struct unit_test *test)
{
    *last = test;
    last = &test->next;
}

void
unit_skip(const char *why)
{
    skipped = why;
}

static void
on_start(const CU_pTest test, const CU_pSuite suite)
{
    (void)test, (void)suite;
    skipped = NULL;
    (void)alarm(TEST_MAX_S);             /* a test that hangs ends its program, and is an error, not a wait for ever */
}

static void
on_complete(const CU_pTest test, const CU_pSuite suite, const CU_pFailureRecord failure)
{
    for (CU_pFailureRecord f = failure; f != NULL; f = f->pNext)
        printf("# %s:%u: %s\n", f->strFileName ? f->strFileName : "?", f->uiLineNumber, f->strCondition ? f->strCondition : "?");
    any_failed |= failure != NULL;
    printf("%s %d - %s: %s%s%s\n", failure ? "not ok" : "ok", ++number, suite->pName, test->pName,
           skipped ? " # SKIP " : "", skipped ? skipped : "");
    fflush(stdout);
}

int
main(int argc, char **argv)
{
    if (CU_initialize_registry() != CUE_SUCCESS)
        return 99;
    int planned = 0;
    for (struct unit_test *t = first; t != NULL; t = t->next) {
        char full[512];
        snprintf(full, sizeof full, "%s: %s", t->suite, t->name);
        if (argc > 1 && strstr(full, argv[1]) == NULL)
            continue;
        CU_pSuite suite = CU_get_suite(t->suite);
        if (suite == NULL)
            suite = CU_add_suite(t->suite, NULL, NULL);
        if (suite == NULL || CU_add_test(suite, t->name, t->run) == NULL) {
            fprintf(stderr, "unit: cannot add %s: %s\n", full, CU_get_error_msg());
            return 99;
        }
        planned++;
    }
    if (planned == 0) {
        fprintf(stderr, "unit: no test matches\n");
        return 99;
    }
    printf("1..%d\n", planned);
    fflush(stdout);                      /* a test that forks must not print it again */
    CU_set_test_start_handler(on_start);
    CU_set_test_complete_handler(on_complete);
    CU_run_all_tests();
    CU_cleanup_registry();
    return any_failed ? 1 : 0;
}
