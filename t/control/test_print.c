/*
 * test_print.c - what people see: columns line up, nothing in a value can move the cursor.
 */
#include "control/print.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/listing.h"
#include "unit.h"
#include "value/value.h"

struct page { char *text; size_t len; FILE *out; nx_packer packer; struct value_zone *zone; nx_value value; };

static void
open_page(struct page *p, const char *json)
{
    struct value_limits limits = VALUE_LIMITS_DEFAULT;
    nx_value packed;
    *p = (struct page){ 0 };
    p->out = open_memstream(&p->text, &p->len);
    value_packer_init(&p->packer, 1 << 20);
    CU_ASSERT_EQUAL_FATAL(value_zone_new(&p->zone), 0);
    CU_ASSERT_EQUAL_FATAL(value_from_json(&p->packer, json, strlen(json), NULL), 0);
    packed = value_packer_value(&p->packer);
    CU_ASSERT_EQUAL_FATAL(value_decode(p->zone, packed.packed, packed.packed_len, &limits, &p->value, NULL), 0);
}

static void
close_page(struct page *p, const char *want)
{
    fclose(p->out);
    CU_ASSERT_STRING_EQUAL(p->text, want);
    if (strcmp(p->text, want) != 0)
        printf("# got:\n%s", p->text);
    free(p->text);
    value_packer_fini(&p->packer);
    value_zone_free(&p->zone);
}

UNIT(print, numbers_stand_to_the_right_and_texts_to_the_left)
{
    static const struct print_column columns[] = { { "a", "NAME", 0 }, { "n", "COUNT", 0 }, { "t", "LAST", 0 } };
    struct page p;
    open_page(&p, "[{\"a\":\"x\",\"n\":5,\"t\":\"e\"},{\"a\":\"gr\\u00fcn\",\"n\":123456,\"t\":null},{\"n\":-3,\"t\":\"\"}]");
    CU_ASSERT_EQUAL(print_table(p.out, p.value, columns, 3), 0);
    close_page(&p, "NAME   COUNT  LAST\nx          5  e\ngr\u00fcn  123456  -\n-         -3  -\n");
}

UNIT(print, an_empty_table_is_its_head)
{
    static const struct print_column columns[] = { { "a", "NAME", 0 }, { "n", "COUNT", 0 } };
    struct page p;
    open_page(&p, "[]");
    CU_ASSERT_EQUAL(print_table(p.out, p.value, columns, 2), 0);
    close_page(&p, "NAME  COUNT\n");
}

UNIT(print, control_characters_do_not_reach_the_terminal)
{
    static const struct print_column columns[] = { { "a", "A", 0 } };
    struct page p;
    open_page(&p, "[{\"a\":\"x\\u001b[2J\\u007f\\u009by\"}]");
    CU_ASSERT_EQUAL(print_table(p.out, p.value, columns, 1), 0);
    print_complaint(p.out, "tool", "call", "one\nline");
    print_complaint(p.out, "tool", NULL, "no command");
    close_page(&p, "A\nx\\x1b[2J\\x7f\\u009by\ntool: call: one\\x0aline\ntool: no command\n");
}

UNIT(print, times_durations_bytes_and_hashes_are_for_people)
{
    static const struct print_column fields[] = {
        { "t", "time", PRINT_TIME }, { "z", "never", PRINT_TIME }, { "d1", "d", PRINT_DURATION }, { "d2", "longer", PRINT_DURATION },
        { "d3", "hours", PRINT_DURATION }, { "d4", "days", PRINT_DURATION }, { "b1", "b", PRINT_BYTES }, { "b2", "mib", PRINT_BYTES },
        { "h", "hash", PRINT_SHORT }, { "l", "list", 0 },
    };
    struct page p;
    open_page(&p, "{\"t\":1700000000000,\"z\":0,\"d1\":12345,\"d2\":200000,\"d3\":7500000,\"d4\":353000000,\"b1\":1023,\"b2\":1572864,"
                  "\"h\":\"0123456789abcdef\",\"l\":[\"a\",{\"name\":\"b\"}]}");
    CU_ASSERT_EQUAL(print_record(p.out, p.value, fields, 10), 0);
    close_page(&p, "time:   2023-11-14T22:13:20Z\nnever:  -\nd:      12.3s\nlonger: 3m 20s\nhours:  2h 05m\ndays:   4d 02h\nb:      1023 B\n"
                   "mib:    1.5 MiB\nhash:   0123456789ab\nlist:   a,b\n");
}

UNIT(print, json_is_one_line)
{
    struct page p;
    open_page(&p, "{\"a\":[1,2,{\"b\":null}],\"c\":\"x\\ny\"}");
    CU_ASSERT_EQUAL(print_json(p.out, p.value), 0);
    close_page(&p, "{\"a\":[1,2,{\"b\":null}],\"c\":\"x\\ny\"}\n");
}

UNIT(print, a_full_disk_is_an_error)
{
    FILE *full = fopen("/dev/full", "w");
    struct page p;
    if (full == NULL) {
        unit_skip("no /dev/full");
        return;
    }
    open_page(&p, "[1]");
    CU_ASSERT_EQUAL(print_json(full, p.value), NX_ESYS);
    fclose(full);
    close_page(&p, "");
}

UNIT(listing, json_of_wrapped_listings_is_the_array_alone)
{
    char text[200];
    bool is_failure;
    struct page p;
    open_page(&p, "{\"servers\":[{\"ref\":\"#r\"}],\"missing\":[{\"worker\":3,\"text\":\"busy\"}]}");
    CU_ASSERT_EQUAL(listing_print(p.out, "servers", p.value, true), 0);
    CU_ASSERT_TRUE(listing_is_partial(p.value, text, sizeof text, &is_failure));
    CU_ASSERT_TRUE(is_failure);
    CU_ASSERT_STRING_EQUAL(text, "not complete: worker 3: busy");
    close_page(&p, "[{\"ref\":\"#r\"}]\n");

    open_page(&p, "{\"isSnapshot\":false,\"names\":[]}");
    CU_ASSERT_EQUAL(listing_print(p.out, "names", p.value, true), 0);
    CU_ASSERT_EQUAL(listing_print(p.out, "nothing", p.value, true), NX_EINVAL);
    CU_ASSERT_TRUE(listing_is_partial(p.value, text, sizeof text, &is_failure));
    CU_ASSERT_FALSE(is_failure);
    close_page(&p, "[]\n");

    open_page(&p, "{\"isSnapshot\":true,\"names\":[]}");
    CU_ASSERT_FALSE(listing_is_partial(p.value, text, sizeof text, &is_failure));
    close_page(&p, "");
}
