/*
 * utf8.c - is it valid UTF-8, is it a name.
 *
 * Lives here: RFC 3629 as its table of well-formed sequences says it, and the rule for registry names.
 * Never here: conversion.
 * Runs in: every process.
 */
#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

enum { UTF8_NAME_MAX = 255 };

/* Length of the well-formed sequence at p (2-4 bytes, the first is not ASCII), 0 if there is none. */
static size_t
sequence_at(const uint8_t *p, size_t left)
{
    uint8_t low = 0x80, high = 0xbf;                  /* bounds of the second byte; the rest are always 80..bf */
    size_t len;
    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        len = 2;
    else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        len = 3;
        if (p[0] == 0xe0)
            low = 0xa0;                               /* below: overlong */
        else if (p[0] == 0xed)
            high = 0x9f;                              /* above: surrogates */
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        len = 4;
        if (p[0] == 0xf0)
            low = 0x90;                               /* below: overlong */
        else if (p[0] == 0xf4)
            high = 0x8f;                              /* above: beyond U+10FFFF */
    } else
        return 0;
    if (len > left || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

bool
utf8_is_valid(const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    size_t i = 0;
    while (i < len) {
        uint64_t eight;
        if (len - i >= sizeof eight) {                /* most text is ASCII: eight at a time */
            memcpy(&eight, p + i, sizeof eight);
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                i += sizeof eight;
                continue;
            }
        }
        if (p[i] < 0x80) {
            i++;
            continue;
        }
        size_t n = sequence_at(p + i, len - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

bool
utf8_is_name(const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    if (len == 0 || len > UTF8_NAME_MAX || p[0] == '#' || !utf8_is_valid(bytes, len))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (p[i] < 0x20 || p[i] == 0x7f)
            return false;
        if (p[i] == 0xc2 && p[i + 1] < 0xa0)          /* U+0080..U+009F; valid, so there is a second byte */
            return false;
    }
    return true;
}
