/*
 * test_system_lists.c - registry changes, registry pages and behavior tables, element by element.
 */
#include "wire/system.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"
#include "vector.h"

static const struct sys_entry live = {
    .name = { "shared-counter", 14 }, .sequence = 11, .registered_at_ms = 1700000000000, .priority = -3,
    .serial = 42, .generation = 2, .slot = 63,
};
static const struct sys_entry removal = { .name = { "old", 3 }, .is_removal = true, .sequence = 12 };

UNIT(system_lists, a_delta_is_read_in_the_order_it_was_written)
{
    struct sys_delta_head head = { .digest = 0x0102030405060708 };
    struct sys_entries *e = NULL;
    struct sys_entry got;
    struct buf b;

    buf_init(&b, 0);
    CU_ASSERT_EQUAL(sys_entries_begin(&b, KIND_REGISTRY_DELTA, &head, false), 0);
    CU_ASSERT_TRUE(vector_is(buf_data(&b), buf_len(&b), "82 a164 cf0102030405060708 a165 dd00000000"));
    CU_ASSERT_EQUAL(sys_entries_add(&b, &live), 0);
    CU_ASSERT_EQUAL(sys_entries_add(&b, &removal), 0);
    CU_ASSERT_EQUAL(sys_entries_end(&b), 0);
    CU_ASSERT_EQUAL_FATAL(sys_entries_open(KIND_REGISTRY_DELTA, buf_data(&b), buf_len(&b), &e, NULL), 0);
    CU_ASSERT_EQUAL(sys_entries_delta(e)->digest, head.digest);
    CU_ASSERT_EQUAL(sys_entries_delta(e)->count, 2);
    CU_ASSERT_FALSE(sys_entries_is_request(e));
    CU_ASSERT_TRUE_FATAL(sys_entries_next(e, &got));
    CU_ASSERT_FALSE(got.is_removal);
    CU_ASSERT_TRUE(got.name.len == 14 && memcmp(got.name.at, "shared-counter", 14) == 0);
    CU_ASSERT_TRUE(got.sequence == 11 && got.registered_at_ms == 1700000000000 && got.priority == -3);
    CU_ASSERT_TRUE(got.serial == 42 && got.generation == 2 && got.slot == 63);
    CU_ASSERT_TRUE_FATAL(sys_entries_next(e, &got));
    CU_ASSERT_TRUE(got.is_removal && got.sequence == 12 && got.name.len == 3 && got.serial == 0);
    CU_ASSERT_FALSE(sys_entries_next(e, &got));
    CU_ASSERT_FALSE(sys_entries_next(e, &got));
    sys_entries_close(&e);
    sys_entries_close(&e);
    CU_ASSERT_PTR_NULL(e);
    buf_fini(&b);
}

UNIT(system_lists, a_sync_page_and_a_request_for_one_come_back)
{
    struct sys_sync_head head = { .sequence = UINT64_MAX, .digest = 5, .page = UINT32_MAX, .is_last = true }, ask = { .digest = 6 };
    struct sys_entries *e = NULL;
    struct sys_entry got;
    struct buf b;

    buf_init(&b, 0);
    CU_ASSERT_EQUAL(sys_entries_begin(&b, KIND_REGISTRY_SYNC, &head, false), 0);
    CU_ASSERT_EQUAL(sys_entries_add(&b, &live), 0);
    CU_ASSERT_EQUAL(sys_entries_end(&b), 0);
    CU_ASSERT_EQUAL_FATAL(sys_entries_open(KIND_REGISTRY_SYNC, buf_data(&b), buf_len(&b), &e, NULL), 0);
    CU_ASSERT_EQUAL(sys_entries_sync(e)->sequence, UINT64_MAX);
    CU_ASSERT_EQUAL(sys_entries_sync(e)->digest, 5);
    CU_ASSERT_EQUAL(sys_entries_sync(e)->page, UINT32_MAX);
    CU_ASSERT_TRUE(sys_entries_sync(e)->is_last);
    CU_ASSERT_EQUAL(sys_entries_sync(e)->count, 1);
    CU_ASSERT_FALSE(sys_entries_is_request(e));
    CU_ASSERT_TRUE(sys_entries_next(e, &got));
    CU_ASSERT_FALSE(sys_entries_next(e, &got));
    sys_entries_close(&e);

    buf_clear(&b);
    CU_ASSERT_EQUAL(sys_entries_begin(&b, KIND_REGISTRY_SYNC, &head, true), NX_EINVAL);
    CU_ASSERT_EQUAL(sys_entries_begin(&b, KIND_REGISTRY_SYNC, &ask, true), 0);
    CU_ASSERT_EQUAL(sys_entries_end(&b), 0);
    CU_ASSERT_EQUAL_FATAL(sys_entries_open(KIND_REGISTRY_SYNC, buf_data(&b), buf_len(&b), &e, NULL), 0);
    CU_ASSERT_TRUE(sys_entries_is_request(e));
    CU_ASSERT_EQUAL(sys_entries_sync(e)->count, 0);
    CU_ASSERT_FALSE(sys_entries_next(e, &got));
    sys_entries_close(&e);
    buf_fini(&b);
}

UNIT(system_lists, a_request_with_entries_is_refused)
{
    struct sys_sync_head ask = { .digest = 6 };
    struct sys_entries *e = NULL;
    struct base_error why;
    struct buf b;
    buf_init(&b, 0);
    CU_ASSERT_EQUAL(sys_entries_begin(&b, KIND_REGISTRY_SYNC, &ask, true), 0);
    CU_ASSERT_EQUAL(sys_entries_add(&b, &live), 0);
    CU_ASSERT_EQUAL(sys_entries_open(KIND_REGISTRY_SYNC, buf_data(&b), buf_len(&b), &e, &why), NX_EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "'r'"));
    buf_fini(&b);
}

UNIT(system_lists, one_kind_is_not_the_other)
{
    struct sys_delta_head head = { .digest = 1 };
    struct sys_entries *e = NULL;
    struct buf b;
    buf_init(&b, 0);
    CU_ASSERT_EQUAL(sys_entries_begin(&b, KIND_REGISTRY_DELTA, &head, false), 0);
    CU_ASSERT_EQUAL(sys_entries_open(KIND_REGISTRY_SYNC, buf_data(&b), buf_len(&b), &e, NULL), NX_EBADMSG);
    buf_fini(&b);
}

UNIT(system_lists, the_largest_page_is_built_and_read)
{
    struct sys_sync_head head = { .sequence = 1 };
    struct sys_entries *e = NULL;
    struct sys_entry in = live, got;
    struct buf b;
    char name[32];
    uint32_t count = 0;

    buf_init(&b, 0);
    CU_ASSERT_EQUAL(sys_entries_begin(&b, KIND_REGISTRY_SYNC, &head, false), 0);
    for (uint32_t i = 0; i < SYS_ENTRIES_MAX; i++) {
        in.name = (struct sys_text){ name, (size_t)snprintf(name, sizeof name, "server-%u", i) };
        in.sequence = i + 1;
        CU_ASSERT_EQUAL_FATAL(sys_entries_add(&b, &in), 0);
    }
    size_t before = buf_len(&b);
    CU_ASSERT_EQUAL(sys_entries_add(&b, &in), NX_EFULL);
    CU_ASSERT_EQUAL(buf_len(&b), before);
    struct base_error why;
    CU_ASSERT_EQUAL_FATAL(sys_entries_open(KIND_REGISTRY_SYNC, buf_data(&b), buf_len(&b), &e, &why), 0);
    while (sys_entries_next(e, &got))
        CU_ASSERT_EQUAL(got.sequence, ++count);
    CU_ASSERT_EQUAL(count, SYS_ENTRIES_MAX);
    sys_entries_close(&e);

    /* One more than the bound, put there by hand: 0xdd 00001000 becomes 00001001 and an entry follows. */
    uint8_t *list = b.data + b.at + 38;
    CU_ASSERT_EQUAL_FATAL(list[0], 0xdd);
    list[4]++;
    CU_ASSERT_EQUAL(buf_put(&b, "\x82\xa1n\xa1x\xa1s\x01", 8), 0);
    CU_ASSERT_EQUAL(sys_entries_open(KIND_REGISTRY_SYNC, buf_data(&b), buf_len(&b), &e, &why), NX_EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "number of elements"));
    buf_fini(&b);
}

UNIT(system_lists, a_full_buffer_leaves_the_body_whole)
{
    struct sys_delta_head head = { .digest = 1 };
    struct sys_entries *e = NULL;
    struct buf b;
    int err;

    buf_init(&b, 1000);
    CU_ASSERT_EQUAL(sys_entries_begin(&b, KIND_REGISTRY_DELTA, &head, false), 0);
    uint32_t count = 0;
    while ((err = sys_entries_add(&b, &live)) == 0)
        count++;
    CU_ASSERT_EQUAL(err, NX_ETOOBIG);
    CU_ASSERT_TRUE(count > 10);
    CU_ASSERT_EQUAL(sys_entries_end(&b), 0);
    CU_ASSERT_EQUAL_FATAL(sys_entries_open(KIND_REGISTRY_DELTA, buf_data(&b), buf_len(&b), &e, NULL), 0);
    CU_ASSERT_EQUAL(sys_entries_delta(e)->count, count);
    sys_entries_close(&e);
    buf_fini(&b);
}

/* A delta of one entry that is put there by hand. */
static void
entry(const char *bytes, size_t len, int expected, const char *part)
{
    static const uint8_t head[] = "\x82\xa1" "d\x01\xa1" "e\x91";
    struct sys_entries *e = NULL;
    struct base_error why = { .code = 0 };
    struct buf b;

    buf_init(&b, 0);
    CU_ASSERT_EQUAL(buf_put(&b, head, sizeof head - 1), 0);
    CU_ASSERT_EQUAL(buf_put(&b, bytes, len), 0);
    CU_ASSERT_EQUAL(sys_entries_open(KIND_REGISTRY_DELTA, buf_data(&b), buf_len(&b), &e, &why), expected);
    CU_ASSERT_TRUE(expected == 0 || strstr(why.text, part) != NULL);
    if (expected != 0 && strstr(why.text, part) == NULL)
        printf("# expected '%s', got: %s\n", part, why.text);
    sys_entries_close(&e);
    buf_fini(&b);
}
#define ENTRY(bytes_, expected_, part_) entry(bytes_, sizeof bytes_ - 1, expected_, part_)

UNIT(system_lists, entries_are_read_as_strictly_as_bodies)
{
    ENTRY("\x82\xa1n\xa1x\xa1s\x01", 0, "");
    ENTRY("\x82\xa1s\x01\xa1n\xa1x", 0, "");
    ENTRY("\x82\xa1n\xa1x\xa1s\x00", NX_EBADMSG, "'s'");                               /* sequences begin at 1 */
    ENTRY("\x82\xa1n\xa0\xa1s\x01", NX_EBADMSG, "'n'");
    ENTRY("\x82\xa1n\xa2#x\xa1s\x01", NX_EBADMSG, "'n'");
    ENTRY("\x82\xa1n\xa1x\xa1n\xa1x", NX_EBADMSG, "twice");
    ENTRY("\x82\xa1n\xa1x\xa1z\x01", NX_EBADMSG, "'z'");
    ENTRY("\x82\xa1n\xa1x\xa1t\x01", NX_EBADMSG, "'t'");                               /* no key of a removal */
    ENTRY("\x81\xa1n\xa1x", NX_EBADMSG, "missing");
    ENTRY("\x01", NX_EBADMSG, "not a map");
    ENTRY("\xc0", NX_EBADMSG, "not a map");
    ENTRY("\x92\xa1x\x01", NX_EBADMSG, "not a map");
    ENTRY("\x87\xa1n\xa1x\xa1s\x01\xa1t\x01\xa1p\xff\xa1i\x01\xa1g\x01\xa1w\x3f", 0, "");
    ENTRY("\x87\xa1n\xa1x\xa1s\x01\xa1t\x01\xa1p\xff\xa1i\x01\xa1g\x01\xa1w\x40", NX_EBADMSG, "'w'");
    ENTRY("\x87\xa1n\xa1x\xa1s\x01\xa1t\x01\xa1p\xff\xa1i\x00\xa1g\x01\xa1w\x3f", NX_EBADMSG, "'i'");
    ENTRY("\x87\xa1n\xa1x\xa1s\x01\xa1t\x01\xa1p\xff\xa1i\x01\xa1g\x00\xa1w\x3f", NX_EBADMSG, "'g'");
    ENTRY("\x87\xa1n\xa1x\xa1s\x01\xa1t\xff\xa1p\xff\xa1i\x01\xa1g\x01\xa1w\x3f", NX_EBADMSG, "'t'");
    ENTRY("\x87\xa1n\xa1x\xa1s\x01\xa1t\xca\x7f\xc0\x00\x00\xa1p\x01\xa1i\x01\xa1g\x01\xa1w\x3f", NX_EBADMSG, "'t'");   /* NaN */
    ENTRY("\x86\xa1n\xa1x\xa1s\x01\xa1t\x01\xa1p\xff\xa1i\x01\xa1g\x01", NX_EBADMSG, "'w'");
    ENTRY("\x87\xa1n\xa1x\xa1s\x01\xa1t\x01\xa1p\xff\xa1i\x01\xa1g\x01\xa1g\x01", NX_EBADMSG, "twice");
}

UNIT(system_lists, a_bad_entry_at_the_end_refuses_the_body)
{
    struct sys_delta_head head = { .digest = 1 };
    struct sys_entries *e = NULL;
    struct sys_entry bad = live;
    struct buf b;
    buf_init(&b, 0);
    CU_ASSERT_EQUAL(sys_entries_begin(&b, KIND_REGISTRY_DELTA, &head, false), 0);
    CU_ASSERT_EQUAL(sys_entries_add(&b, &live), 0);
    bad.slot = 64;
    CU_ASSERT_EQUAL(sys_entries_add(&b, &bad), NX_EINVAL);
    bad.slot = 5;                                           /* the last byte of the body is the slot */
    CU_ASSERT_EQUAL(sys_entries_add(&b, &bad), 0);
    b.data[b.end - 1] = 64;
    CU_ASSERT_EQUAL(sys_entries_open(KIND_REGISTRY_DELTA, buf_data(&b), buf_len(&b), &e, NULL), NX_EBADMSG);
    CU_ASSERT_PTR_NULL(e);
    buf_fini(&b);
}

UNIT(system_lists, a_behavior_table_comes_back)
{
    static struct sys_behavior in[SYS_BEHAVIORS_MAX + 1], out[SYS_BEHAVIORS_MAX];
    static char names[SYS_BEHAVIORS_MAX + 1][16];
    struct base_error why;
    struct buf b;
    size_t count = 7;

    buf_init(&b, 0);
    for (unsigned i = 0; i <= SYS_BEHAVIORS_MAX; i++) {
        in[i].name = (struct sys_text){ names[i], (size_t)snprintf(names[i], sizeof names[i], "b%u", i) };
        in[i].version = i + 1;
        memset(in[i].hash, (int)i, 32);
    }
    CU_ASSERT_EQUAL(sys_behaviors_encode(in, SYS_BEHAVIORS_MAX + 1, &b), NX_EINVAL);
    CU_ASSERT_EQUAL(buf_len(&b), 0);
    CU_ASSERT_EQUAL(sys_behaviors_encode(in, SYS_BEHAVIORS_MAX, &b), 0);
    CU_ASSERT_EQUAL_FATAL(sys_behaviors_decode(buf_data(&b), buf_len(&b), out, SYS_BEHAVIORS_MAX, &count, &why), 0);
    CU_ASSERT_EQUAL(count, SYS_BEHAVIORS_MAX);
    for (unsigned i = 0; i < SYS_BEHAVIORS_MAX; i++) {
        CU_ASSERT_TRUE(out[i].version == i + 1 && out[i].name.len == in[i].name.len && memcmp(out[i].hash, in[i].hash, 32) == 0);
        CU_ASSERT_EQUAL(memcmp(out[i].name.at, in[i].name.at, in[i].name.len), 0);
    }
    CU_ASSERT_EQUAL(sys_behaviors_decode(buf_data(&b), buf_len(&b), out, 100, &count, &why), NX_EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "room for 100"));

    buf_clear(&b);
    CU_ASSERT_EQUAL(sys_behaviors_encode(NULL, 0, &b), 0);
    CU_ASSERT_EQUAL_FATAL(sys_behaviors_decode(buf_data(&b), buf_len(&b), out, SYS_BEHAVIORS_MAX, &count, &why), 0);
    CU_ASSERT_EQUAL(count, 0);

    buf_clear(&b);
    in[1].version = 0;
    CU_ASSERT_EQUAL(sys_behaviors_encode(in, 3, &b), NX_EINVAL);
    CU_ASSERT_EQUAL(buf_len(&b), 0);
    buf_fini(&b);
}
