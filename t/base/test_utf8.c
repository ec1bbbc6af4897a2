/*
 * test_utf8.c - every edge of RFC 3629, and the rule for names.
 */
#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

#include "unit.h"

/* By the definition, not by the table: decode, then ask for the shortest form. */
static bool
is_valid_slowly(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t n = p[i] < 0x80 ? 1 : (p[i] & 0xe0) == 0xc0 ? 2 : (p[i] & 0xf0) == 0xe0 ? 3 : (p[i] & 0xf8) == 0xf0 ? 4 : 0;
        if (n == 0 || n > len - i)
            return false;
        uint32_t c = n == 1 ? p[i] : p[i] & (0x7fu >> n);
        for (size_t j = 1; j < n; j++) {
            if ((p[i + j] & 0xc0) != 0x80)
                return false;
            c = c << 6 | (p[i + j] & 0x3f);
        }
        static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
        if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
            return false;
        i += n;
    }
    return true;
}

UNIT(utf8, every_one_two_and_three_byte_string_is_judged_right)
{
    uint8_t p[3];
    for (unsigned a = 0; a < 256; a++) {
        p[0] = (uint8_t)a;
        CU_ASSERT_EQUAL_FATAL(utf8_is_valid(p, 1), is_valid_slowly(p, 1));
        for (unsigned b = 0; b < 256; b++) {
            p[1] = (uint8_t)b;
            CU_ASSERT_EQUAL_FATAL(utf8_is_valid(p, 2), is_valid_slowly(p, 2));
            for (unsigned c = 0x70; c < 0xd0; c++) {
                p[2] = (uint8_t)c;
                if (utf8_is_valid(p, 3) != is_valid_slowly(p, 3)) {
                    CU_FAIL_FATAL("three bytes judged wrong");
                }
            }
        }
    }
}

UNIT(utf8, four_byte_sequences_are_judged_right)
{
    static const uint8_t edges[] = { 0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff };
    for (unsigned a = 0xec; a < 256; a++)
        for (unsigned b = 0; b < 256; b++)
            for (size_t c = 0; c < sizeof edges; c++)
                for (size_t d = 0; d < sizeof edges; d++) {
                    const uint8_t p[4] = { (uint8_t)a, (uint8_t)b, edges[c], edges[d] };
                    if (utf8_is_valid(p, 4) != is_valid_slowly(p, 4))
                        CU_FAIL_FATAL("four bytes judged wrong");
                }
}

UNIT(utf8, a_fault_is_found_at_every_offset_of_a_long_text)
{
    uint8_t text[100];
    for (size_t i = 0; i < sizeof text; i++) {
        memset(text, 'a', sizeof text);
        CU_ASSERT(utf8_is_valid(text, sizeof text));
        text[i] = 0xff;
        CU_ASSERT(!utf8_is_valid(text, sizeof text));
        text[i] = 0xc3;                               /* the first half of a character */
        CU_ASSERT(!utf8_is_valid(text, sizeof text));
        CU_ASSERT(utf8_is_valid(text, i));
    }
    CU_ASSERT(utf8_is_valid("", 0));
    CU_ASSERT(utf8_is_valid(NULL, 0));
}

UNIT(utf8, names_are_judged_by_length_control_characters_and_hash)
{
    char name[257];
    memset(name, 'n', sizeof name);
    CU_ASSERT(utf8_is_name(name, 255));
    CU_ASSERT(!utf8_is_name(name, 256));
    CU_ASSERT(!utf8_is_name("", 0));
    CU_ASSERT(utf8_is_name("shared counter", 14));
    CU_ASSERT(utf8_is_name("z\xc3\xa4hler", 7));
    CU_ASSERT(utf8_is_name("a#b", 3));
    CU_ASSERT(!utf8_is_name("#a", 2));
    CU_ASSERT(!utf8_is_name("a\0b", 3));
    CU_ASSERT(!utf8_is_name("a\nb", 3));
    CU_ASSERT(!utf8_is_name("a\x7f", 2));
    CU_ASSERT(!utf8_is_name("a\xc2\x9bm", 4));        /* CSI: a terminal obeys it */
    CU_ASSERT(utf8_is_name("a\xc2\xa0", 3));
    CU_ASSERT(!utf8_is_name("a\xc3", 2));
}
