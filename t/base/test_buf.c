/*
 * test_buf.c - a buffer at its edges.
 */
#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

#include "noex/errors.h"
#include "unit.h"

#if defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNDER_SANITIZER 1
#endif
#endif
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define UNDER_SANITIZER 1
#endif

UNIT(buf, what_is_put_comes_out_in_order)
{
    struct buf b;
    buf_init(&b, 0);
    CU_ASSERT_EQUAL(buf_len(&b), 0);
    CU_ASSERT_EQUAL(buf_put(&b, "abc", 3), 0);
    CU_ASSERT_EQUAL(buf_put(&b, NULL, 0), 0);
    CU_ASSERT_EQUAL(buf_put(&b, "def", 3), 0);
    CU_ASSERT_EQUAL(buf_len(&b), 6);
    CU_ASSERT_EQUAL(memcmp(buf_data(&b), "abcdef", 6), 0);
    buf_take(&b, 2);
    CU_ASSERT_EQUAL(buf_len(&b), 4);
    CU_ASSERT_EQUAL(memcmp(buf_data(&b), "cdef", 4), 0);
    buf_take(&b, 4);
    CU_ASSERT_EQUAL(buf_len(&b), 0);
    CU_ASSERT_EQUAL(b.at, 0);
    buf_fini(&b);
    CU_ASSERT_PTR_NULL(b.data);
    buf_fini(&b);
}

UNIT(buf, content_up_to_max_is_taken_and_one_more_is_refused)
{
    struct buf b;
    buf_init(&b, 1000);
    char bytes[1001];
    memset(bytes, 'x', sizeof bytes);
    CU_ASSERT_EQUAL(buf_put(&b, bytes, 1001), NX_ETOOBIG);
    CU_ASSERT_EQUAL(buf_put(&b, bytes, 999), 0);
    CU_ASSERT_EQUAL(buf_put(&b, bytes, 2), NX_ETOOBIG);
    CU_ASSERT_EQUAL(buf_put(&b, bytes, 1), 0);
    CU_ASSERT_EQUAL(buf_put(&b, bytes, 1), NX_ETOOBIG);
    CU_ASSERT_EQUAL(buf_len(&b), 1000);
    CU_ASSERT(b.cap <= 1000);
    uint8_t *out = NULL;
    CU_ASSERT_EQUAL(buf_reserve(&b, SIZE_MAX, &out), NX_ETOOBIG);
    CU_ASSERT_PTR_NULL(out);
    const char *text = buf_cstr(&b);                  /* the NUL is not content */
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    CU_ASSERT_EQUAL(strlen(text), 1000);
    CU_ASSERT_EQUAL(buf_put(&b, bytes, 1), NX_ETOOBIG);
    buf_take(&b, 10);                                 /* room at the front counts */
    CU_ASSERT_EQUAL(buf_put(&b, bytes, 10), 0);
    CU_ASSERT_EQUAL(buf_put(&b, bytes, 1), NX_ETOOBIG);
    buf_fini(&b);
}

UNIT(buf, an_unlimited_buffer_still_refuses_a_length_that_overflows)
{
    struct buf b;
    buf_init(&b, SIZE_MAX);
    uint8_t *out;
    CU_ASSERT_EQUAL(buf_put(&b, "x", 1), 0);
    CU_ASSERT_EQUAL(buf_reserve(&b, SIZE_MAX, &out), NX_ETOOBIG);
    CU_ASSERT_EQUAL(buf_len(&b), 1);
    buf_fini(&b);
}

UNIT(buf, out_of_memory_is_an_error_and_leaves_the_content)
{
#ifdef UNDER_SANITIZER
    unit_skip("the sanitizer ends the process when memory runs out");
#else
    struct buf b;
    buf_init(&b, SIZE_MAX);
    uint8_t *out = NULL;
    CU_ASSERT_EQUAL(buf_put(&b, "x", 1), 0);
    CU_ASSERT_EQUAL(buf_reserve(&b, SIZE_MAX / 2, &out), NX_ENOMEM);
    CU_ASSERT_PTR_NULL(out);
    CU_ASSERT(buf_len(&b) == 1 && buf_data(&b)[0] == 'x');
    buf_fini(&b);
#endif
}

UNIT(buf, reserved_bytes_are_content_only_when_committed)
{
    struct buf b;
    buf_init(&b, 0);
    uint8_t *out = NULL;
    CU_ASSERT_EQUAL_FATAL(buf_reserve(&b, 100, &out), 0);
    memset(out, 'q', 100);
    CU_ASSERT_EQUAL(buf_len(&b), 0);
    buf_commit(&b, 40);
    CU_ASSERT_EQUAL(buf_len(&b), 40);
    CU_ASSERT_EQUAL(buf_reserve(&b, 0, &out), 0);
    CU_ASSERT_PTR_EQUAL(out, buf_data(&b) + 40);
    buf_fini(&b);
}

UNIT(buf, a_queue_that_never_empties_keeps_its_memory_and_its_bytes)
{
    struct buf b;
    buf_init(&b, 1 << 16);
    uint8_t next_in = 0, next_out = 0;
    unsigned seed = 12345;
    size_t highest = 0;
    for (int i = 0; i < 20000; i++) {
        uint8_t chunk[200];
        size_t n = (seed = seed * 1103515245u + 12345u) >> 16 & 127;
        for (size_t j = 0; j < n; j++)
            chunk[j] = next_in++;
        CU_ASSERT_EQUAL_FATAL(buf_put(&b, chunk, n), 0);
        size_t keep = 300;
        while (buf_len(&b) > keep) {
            size_t take = buf_len(&b) - keep < 50 ? buf_len(&b) - keep : 50;
            for (size_t j = 0; j < take; j++)
                CU_ASSERT_EQUAL_FATAL(buf_data(&b)[j], next_out++);
            buf_take(&b, take);
        }
        highest = b.cap > highest ? b.cap : highest;
    }
    CU_ASSERT(highest <= 2048);
    buf_fini(&b);
}

UNIT(buf, printf_grows_and_keeps_to_max)
{
    struct buf b;
    buf_init(&b, 600);
    CU_ASSERT_EQUAL(buf_printf(&b, "%s=%d", "count", 7), 0);
    CU_ASSERT_EQUAL(buf_printf(&b, "%0500d", 1), 0);
    CU_ASSERT_EQUAL(buf_len(&b), 507);
    CU_ASSERT_EQUAL(memcmp(buf_data(&b), "count=7000", 10), 0);
    CU_ASSERT_EQUAL(buf_printf(&b, "%094d", 1), NX_ETOOBIG);
    CU_ASSERT_EQUAL(buf_printf(&b, "%093d", 1), 0);
    CU_ASSERT_EQUAL(buf_len(&b), 600);
    CU_ASSERT_EQUAL(buf_printf(&b, "%s", ""), 0);
    CU_ASSERT_EQUAL(buf_printf(&b, "x"), NX_ETOOBIG);
    buf_fini(&b);
}

UNIT(buf, clear_keeps_the_memory)
{
    struct buf b;
    buf_init(&b, 0);
    CU_ASSERT_EQUAL(buf_put(&b, "hello", 5), 0);
    uint8_t *data = b.data;
    buf_clear(&b);
    CU_ASSERT_EQUAL(buf_len(&b), 0);
    CU_ASSERT_EQUAL(buf_put(&b, "again", 5), 0);
    CU_ASSERT_PTR_EQUAL(b.data, data);
    CU_ASSERT_STRING_EQUAL(buf_cstr(&b), "again");
    buf_fini(&b);
    buf_init(&b, 0);
    CU_ASSERT_STRING_EQUAL(buf_cstr(&b), "");
    buf_fini(&b);
}
