/*
 * test_error.c - codes, names, sentences, and errors as values.
 */
#include "base/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/utf8.h"
#include "unit.h"

UNIT(error, every_code_has_its_name_and_sentence)
{
#define CHECK(name, number, sentence) \
    CU_ASSERT_STRING_EQUAL(nx_errname(number), #name); \
    CU_ASSERT_STRING_EQUAL(nx_strerror(name), sentence); \
    CU_ASSERT(base_error_is_known(number));
    NX_ERRORS(CHECK)
#undef CHECK
    CU_ASSERT_STRING_EQUAL(nx_errname(NX_ENODE), "NX_ENODE");
    CU_ASSERT_EQUAL(NX_EFULL, -20);                   /* the numbers travel: they never change */
}

UNIT(error, zero_is_ok_and_other_numbers_are_unknown)
{
    CU_ASSERT_STRING_EQUAL(nx_errname(0), "NX_OK");
    CU_ASSERT_STRING_EQUAL(nx_strerror(0), "ok");
    CU_ASSERT(!base_error_is_known(0));
    const int64_t strange[] = { 1, -21, -1000, 20, INT32_MIN, INT32_MAX, INT64_MIN, INT64_MAX };
    for (size_t i = 0; i < BASE_COUNT(strange); i++) {
        CU_ASSERT(!base_error_is_known(strange[i]));
        if (strange[i] >= INT32_MIN && strange[i] <= INT32_MAX)
            CU_ASSERT_STRING_EQUAL(nx_strerror((int)strange[i]), "unknown error");
    }
    CU_ASSERT_STRING_EQUAL(nx_errname(-21), "NX_EUNKNOWN");
    CU_ASSERT_STRING_EQUAL(nx_errname(1), "NX_EUNKNOWN");
}

UNIT(error, set_fills_all_and_returns_the_code)
{
    struct base_error why;
    memset(&why, 0x5a, sizeof why);
    CU_ASSERT_EQUAL(base_error_set(&why, NX_ENONAME, "shared-counter", "name %s is not registered", "shared-counter"), NX_ENONAME);
    CU_ASSERT_EQUAL(why.code, NX_ENONAME);
    CU_ASSERT_EQUAL(why.app_code, 0);
    CU_ASSERT_EQUAL(why.timeout_ms, 0);
    CU_ASSERT_STRING_EQUAL(why.subject, "shared-counter");
    CU_ASSERT_STRING_EQUAL(why.text, "name shared-counter is not registered");
    CU_ASSERT_EQUAL(base_error_set(NULL, NX_EBUSY, NULL, "%d", 1), NX_EBUSY);
    base_error_set(&why, NX_EBUSY, NULL, "busy");
    CU_ASSERT_STRING_EQUAL(why.subject, "");
}

UNIT(error, an_error_can_be_wrapped_in_a_longer_sentence_of_itself)
{
    struct base_error why;
    base_error_set(&why, NX_EINVAL, "x", "no such key");
    base_error_set(&why, NX_EINIT, why.subject, "init of counter: %s", why.text);
    CU_ASSERT_STRING_EQUAL(why.text, "init of counter: no such key");
    CU_ASSERT_STRING_EQUAL(why.subject, "x");
}

UNIT(error, long_texts_are_cut_between_characters)
{
    for (size_t shift = 0; shift < 4; shift++) {      /* so that the cut meets each byte of a four-byte character */
        char text[2000] = "";
        memset(text, 'x', shift);
        while (strlen(text) < 1200)
            strcat(text, "\xf0\x9f\x90\x99");
        struct base_error why;
        base_error_set(&why, NX_EAPP, text, "%s", text);
        size_t len = strlen(why.text), subject_len = strlen(why.subject);
        CU_ASSERT(len < BASE_ERROR_TEXT && len >= BASE_ERROR_TEXT - 4);
        CU_ASSERT(subject_len < BASE_ERROR_SUBJECT && subject_len >= BASE_ERROR_SUBJECT - 4);
        CU_ASSERT(utf8_is_valid(why.text, len));
        CU_ASSERT(utf8_is_valid(why.subject, subject_len));
        CU_ASSERT_EQUAL(strncmp(text, why.text, len), 0);
    }
}

UNIT(error, a_system_error_names_the_call_the_thing_and_the_reason)
{
    struct base_error why;
    CU_ASSERT_EQUAL(base_error_sys(&why, ENOENT, "open", "/nowhere"), NX_ESYS);
    CU_ASSERT_STRING_EQUAL(why.text, "open /nowhere: No such file or directory");
    CU_ASSERT_STRING_EQUAL(why.subject, "/nowhere");
    base_error_sys(&why, EMFILE, "pipe2", NULL);
    CU_ASSERT_STRING_EQUAL(why.text, "pipe2: Too many open files");
    CU_ASSERT_EQUAL(base_error_sys(NULL, EMFILE, "pipe2", NULL), NX_ESYS);
}
