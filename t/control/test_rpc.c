/*
 * test_rpc.c - the stream of MessagePack-RPC: cut at each byte, bounded before it arrives, told from garbage.
 */
#include "control/rpc.h"

#include <stdlib.h>
#include <string.h>

#include "unit.h"
#include "value/value.h"

/* [0, 7, "call", [{"target": "x", ...every kind of head...}]] */
static const uint8_t every_head[] = {
    0x94, 0x00, 0x07, 0xa4, 'c', 'a', 'l', 'l', 0x91, 0x82,
    0xa6, 't', 'a', 'r', 'g', 'e', 't', 0xa1, 'x',
    0xa7, 'm', 'e', 's', 's', 'a', 'g', 'e', 0xdc, 0x00, 0x1b,
    0xc0, 0xc2, 0xc3, 0xc4, 0x01, 0xff, 0xc5, 0x00, 0x01, 0xfe, 0xc6, 0x00, 0x00, 0x00, 0x01, 0xfd,
    0xc7, 0x01, 0x05, 0x11, 0xc8, 0x00, 0x01, 0x05, 0x12, 0xc9, 0x00, 0x00, 0x00, 0x01, 0x05, 0x13,
    0xca, 1, 2, 3, 4, 0xcb, 1, 2, 3, 4, 5, 6, 7, 8, 0xcc, 200, 0xcd, 1, 2, 0xce, 1, 2, 3, 4, 0xcf, 1, 2, 3, 4, 5, 6, 7, 8,
    0xd0, 0x80, 0xd1, 0x80, 0, 0xd2, 0x80, 0, 0, 0, 0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0,
    0xd4, 1, 9, 0xd5, 1, 9, 9, 0xd6, 0xff, 9, 9, 9, 9, 0xd7, 1, 1, 2, 3, 4, 5, 6, 7, 8,
    0xd8, 1, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8,
    0xd9, 0x01, 'a', 0xda, 0x00, 0x01, 'b', 0xdf, 0x00, 0x00, 0x00, 0x01, 0x01, 0xe0,
};

UNIT(rpc, a_message_is_whole_at_its_last_byte_and_not_before)
{
    const size_t len = sizeof every_head;
    for (size_t step = 1; step <= len; step++) {
        struct rpc_framer f = { 0 };
        size_t out = 0, have = 0;
        int got = 0;
        while (got == 0 && have < len) {
            have = have + step < len ? have + step : len;
            got = rpc_frame(&f, every_head, have, 4096, &out, NULL);
            CU_ASSERT_EQUAL(got, have == len ? 1 : 0);
        }
        CU_ASSERT_EQUAL(out, len);
        CU_ASSERT_EQUAL(f.at, 0);          /* ready for the next */
    }
}

UNIT(rpc, the_framer_agrees_with_the_scan)
{
    struct value_limits limits = VALUE_LIMITS_DEFAULT;
    CU_ASSERT_EQUAL(value_scan(every_head, sizeof every_head, &limits, NULL), 0);
    unsigned seed = 7;
    int whole = 0;
    for (int round = 0; round < 200000; round++) {
        uint8_t bytes[24];
        for (size_t i = 0; i < sizeof bytes; i++) {
            seed = seed * 1103515245u + 12345u;
            bytes[i] = (uint8_t)(seed >> 16);
        }
        bytes[0] |= 0x80;                  /* small numbers are dull */
        struct rpc_framer f = { 0 };
        size_t out = 0;
        int got = rpc_frame(&f, bytes, sizeof bytes, sizeof bytes, &out, NULL);
        if (got == 1) {
            int err = value_scan(bytes, out, &limits, NULL);
            CU_ASSERT_TRUE(err == 0 || (err == NX_EBADMSG && out > 8));        /* depth is the scan's alone */
            whole += err == 0;
        } else {
            CU_ASSERT_NOT_EQUAL(value_scan(bytes, sizeof bytes, &limits, NULL), 0);
        }
    }
    CU_ASSERT_TRUE(whole > 1000);
}

UNIT(rpc, what_cannot_fit_is_refused_before_it_arrives)
{
    static const struct { uint8_t bytes[9]; size_t len; } bombs[] = {
        { { 0xdd, 0xff, 0xff, 0xff, 0xff }, 5 }, { { 0xdf, 0xff, 0xff, 0xff, 0xff }, 5 }, { { 0xdb, 0xff, 0xff, 0xff, 0xff }, 5 },
        { { 0xc6, 0x00, 0x00, 0x03, 0xfc }, 5 }, { { 0xc9, 0xff, 0xff, 0xff, 0xff, 1 }, 6 }, { { 0x92, 0x01, 0xda, 0x03, 0xfc }, 5 },
        { { 0x9f, 0xdc, 0x03, 0xf0 }, 4 },
    };
    for (size_t i = 0; i < sizeof bombs / sizeof bombs[0]; i++) {
        struct rpc_framer f = { 0 };
        struct base_error why = { 0 };
        size_t out;
        CU_ASSERT_EQUAL(rpc_frame(&f, bombs[i].bytes, bombs[i].len, 1024, &out, &why), NX_ETOOBIG);
        CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "1024"));
    }
    struct rpc_framer f = { 0 };
    const uint8_t fits[] = { 0xc6, 0x00, 0x00, 0x03, 0xfb };
    size_t out;
    CU_ASSERT_EQUAL(rpc_frame(&f, fits, sizeof fits, 1024, &out, NULL), 0);
}

UNIT(rpc, byte_c1_is_refused_wherever_it_stands)
{
    static const uint8_t first[] = { 0xc1 }, inside[] = { 0x93, 0x02, 0xa1, 'm', 0xc1 };
    struct rpc_framer f = { 0 }, g = { 0 };
    size_t out;
    CU_ASSERT_EQUAL(rpc_frame(&f, first, sizeof first, 100, &out, NULL), NX_EBADMSG);
    CU_ASSERT_EQUAL(rpc_frame(&g, inside, sizeof inside, 100, &out, NULL), NX_EBADMSG);
}

UNIT(rpc, a_request_is_taken_apart_without_decoding)
{
    struct rpc_message m;
    CU_ASSERT_EQUAL_FATAL(rpc_parse(every_head, sizeof every_head, &m, NULL), 0);
    CU_ASSERT_EQUAL(m.kind, RPC_REQUEST);
    CU_ASSERT_EQUAL(m.id, 7);
    CU_ASSERT_EQUAL(m.method.len, 4);
    CU_ASSERT_EQUAL(memcmp(m.method.at, "call", 4), 0);
    CU_ASSERT_PTR_EQUAL(m.params.at, every_head + 9);
    CU_ASSERT_EQUAL(m.params.len, sizeof every_head - 9);
}

UNIT(rpc, other_shapes_are_refused)
{
    static const struct { uint8_t bytes[12]; size_t len; } wrong[] = {
        { { 0x05 }, 1 }, { { 0x80 }, 1 }, { { 0x90 }, 1 },
        { { 0x94, 0x03, 0x01, 0xa1, 'm', 0x90 }, 6 },                  /* kind 3 */
        { { 0x94, 0xff, 0x01, 0xa1, 'm', 0x90 }, 6 },                  /* kind -1 */
        { { 0x93, 0x00, 0x01, 0xa1, 'm' }, 5 },                        /* a request of three */
        { { 0x94, 0x02, 0xa1, 'm', 0x90, 0xc0 }, 6 },                  /* a notification of four */
        { { 0x94, 0x00, 0xff, 0xa1, 'm', 0x90 }, 6 },                  /* id -1 */
        { { 0x94, 0x00, 0xcf, 0, 0, 0, 1, 0, 0, 0, 0, 0xc0 }, 12 },    /* id 2^32, and nothing behind it */
        { { 0x94, 0x00, 0xa1, '1', 0xa1, 'm', 0x90 }, 7 },             /* id a string */
        { { 0x94, 0x00, 0x01, 0x05, 0x90 }, 5 },                       /* method a number */
        { { 0x94, 0x00, 0x01, 0xa1, 'm', 0x80 }, 6 },                  /* parameters not in an array */
        { { 0x94, 0x00, 0x01, 0xa1, 'm', 0x91, 0x01 }, 7 },            /* not a map */
        { { 0x94, 0x00, 0x01, 0xa1, 'm', 0x92, 0x80, 0x80 }, 8 },      /* two */
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct rpc_message m;
        struct base_error why = { 0 };
        CU_ASSERT_EQUAL(rpc_parse(wrong[i].bytes, wrong[i].len, &m, &why), NX_EBADMSG);
        CU_ASSERT_NOT_EQUAL(why.text[0], '\0');
    }
}

UNIT(rpc, the_id_of_an_unfinished_request_can_be_read)
{
    static const uint8_t begun[] = { 0x94, 0x00, 0xcd, 0x12, 0x34, 0xdb, 0xff, 0xff, 0xff, 0xff };
    uint32_t id = 0;
    CU_ASSERT_TRUE(rpc_peek_id(begun, sizeof begun, &id));
    CU_ASSERT_EQUAL(id, 0x1234);
    for (size_t len = 0; len < 5; len++)
        CU_ASSERT_FALSE(rpc_peek_id(begun, len, &id));
    static const uint8_t notification[] = { 0x93, 0x02, 0xa1, 'm' };
    CU_ASSERT_FALSE(rpc_peek_id(notification, sizeof notification, &id));
}

UNIT(rpc, what_is_put_is_what_is_parsed)
{
    static const uint8_t map[] = { 0x81, 0xa1, 'k', 0x01 }, error[] = { 0x80 };
    struct buf b, params;
    struct rpc_message m;
    buf_init(&b, 0);
    buf_init(&params, 0);
    CU_ASSERT_EQUAL(buf_put(&params, map, sizeof map), 0);
    CU_ASSERT_EQUAL(rpc_put_request(&b, UINT32_MAX, "a_method_with_a_name_of_forty_characters", &params), 0);
    CU_ASSERT_EQUAL_FATAL(rpc_parse(buf_data(&b), buf_len(&b), &m, NULL), 0);
    CU_ASSERT_EQUAL(m.id, UINT32_MAX);
    CU_ASSERT_EQUAL(m.method.len, 40);
    CU_ASSERT_EQUAL(m.params.len, sizeof map);
    CU_ASSERT_EQUAL(memcmp(m.params.at, map, sizeof map), 0);

    buf_clear(&b);
    CU_ASSERT_EQUAL(rpc_put_request(&b, 1, "m", NULL), 0);
    CU_ASSERT_EQUAL_FATAL(rpc_parse(buf_data(&b), buf_len(&b), &m, NULL), 0);
    CU_ASSERT_EQUAL(m.params.len, 0);

    buf_clear(&b);
    CU_ASSERT_EQUAL(rpc_put_result(&b, 5, map, sizeof map), 0);
    CU_ASSERT_EQUAL_FATAL(rpc_parse(buf_data(&b), buf_len(&b), &m, NULL), 0);
    CU_ASSERT_EQUAL(m.kind, RPC_RESPONSE);
    CU_ASSERT_FALSE(m.is_error);
    CU_ASSERT_EQUAL(m.result.len, sizeof map);

    buf_clear(&b);
    CU_ASSERT_EQUAL(rpc_put_error(&b, 6, error, sizeof error), 0);
    CU_ASSERT_EQUAL_FATAL(rpc_parse(buf_data(&b), buf_len(&b), &m, NULL), 0);
    CU_ASSERT_TRUE(m.is_error);
    CU_ASSERT_EQUAL(m.id, 6);

    buf_clear(&b);
    CU_ASSERT_EQUAL(rpc_put_notification(&b, "event", map, sizeof map), 0);
    CU_ASSERT_EQUAL_FATAL(rpc_parse(buf_data(&b), buf_len(&b), &m, NULL), 0);
    CU_ASSERT_EQUAL(m.kind, RPC_NOTIFICATION);
    CU_ASSERT_EQUAL(m.params.len, sizeof map);
    buf_fini(&b);
    buf_fini(&params);
}

UNIT(rpc, a_message_that_does_not_fit_leaves_nothing_of_it_behind)
{
    static const uint8_t map[16] = { 0x81 };
    struct buf b;
    buf_init(&b, 20);
    CU_ASSERT_EQUAL(buf_put(&b, "old", 3), 0);
    CU_ASSERT_EQUAL(rpc_put_result(&b, 5, map, sizeof map), NX_ETOOBIG);
    CU_ASSERT_EQUAL(rpc_put_notification(&b, "event", map, sizeof map), NX_ETOOBIG);
    CU_ASSERT_EQUAL(buf_len(&b), 3);
    buf_fini(&b);
}

UNIT(rpc, numbers_of_every_width_are_read_and_what_does_not_fit_is_not)
{
    static const struct { uint8_t bytes[9]; size_t len; int64_t want; } good[] = {
        { { 0x7f }, 1, 127 }, { { 0xff }, 1, -1 }, { { 0xe0 }, 1, -32 }, { { 0xcc, 0xff }, 2, 255 }, { { 0xcd, 0xff, 0xff }, 3, 65535 },
        { { 0xce, 0xff, 0xff, 0xff, 0xff }, 5, UINT32_MAX }, { { 0xcf, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }, 9, INT64_MAX },
        { { 0xd0, 0x80 }, 2, -128 }, { { 0xd1, 0x80, 0 }, 3, -32768 }, { { 0xd2, 0x80, 0, 0, 0 }, 5, INT32_MIN },
        { { 0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0 }, 9, INT64_MIN },
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct rpc_cursor c = { good[i].bytes, good[i].bytes + good[i].len };
        int64_t n = 0;
        CU_ASSERT_TRUE(rpc_take_int(&c, &n));
        CU_ASSERT_EQUAL(n, good[i].want);
        CU_ASSERT_PTR_EQUAL(c.at, c.end);
        struct rpc_cursor cut = { good[i].bytes, good[i].bytes + good[i].len - 1 };
        CU_ASSERT_FALSE(rpc_take_int(&cut, &n));
        CU_ASSERT_PTR_EQUAL(cut.at, good[i].bytes);
    }
    static const uint8_t big[] = { 0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0 }, text[] = { 0xa1, '1' };
    struct rpc_cursor a = { big, big + sizeof big }, b = { text, text + sizeof text };
    int64_t n;
    CU_ASSERT_FALSE(rpc_take_int(&a, &n));
    CU_ASSERT_FALSE(rpc_take_int(&b, &n));
}
