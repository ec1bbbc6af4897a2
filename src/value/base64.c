/*
 * base64.c - binary as text, for JSON.
 *
 * Lives here: RFC 4648's standard alphabet with padding, both ways.
 * Never here: line breaks, other alphabets; what is decoded must be exactly what encoding would make.
 * Runs in: the gate, noexctl.
 */
#include "value/value_priv.h"

#include "noex/errors.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int
value_base64_put(struct buf *out, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    uint8_t *text;
    if (len > SIZE_MAX / 2)
        return NX_ETOOBIG;
    size_t size = (len + 2) / 3 * 4;
    int err = buf_reserve(out, size, &text);
    if (err != 0)
        return err;
    for (size_t i = 0; i < len; i += 3) {
        size_t have = len - i < 3 ? len - i : 3;
        uint32_t three = (uint32_t)p[i] << 16 | (have > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (have > 2 ? p[i + 2] : 0);
        *text++ = (uint8_t)alphabet[three >> 18];
        *text++ = (uint8_t)alphabet[three >> 12 & 63];
        *text++ = have > 1 ? (uint8_t)alphabet[three >> 6 & 63] : '=';
        *text++ = have > 2 ? (uint8_t)alphabet[three & 63] : '=';
    }
    buf_commit(out, size);
    return 0;
}

/* 0-63, or 64 for what is not in the alphabet ('=' included). */
static uint32_t
digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (uint32_t)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (uint32_t)(c - 'a') + 26;
    if (c >= '0' && c <= '9')
        return (uint32_t)(c - '0') + 52;
    return c == '+' ? 62 : c == '/' ? 63 : 64;
}

int
value_base64_decode(const char *text, size_t len, struct buf *out)
{
    uint8_t *bytes;
    if (len % 4 != 0)
        return NX_EINVAL;
    int err = buf_reserve(out, len / 4 * 3, &bytes);
    if (err != 0)
        return err;
    size_t made = 0;
    for (size_t i = 0; i < len; i += 4) {
        size_t pad = i + 4 < len ? 0 : text[i + 3] != '=' ? 0 : text[i + 2] != '=' ? 1 : 2;
        uint32_t a = digit(text[i]), b = digit(text[i + 1]);
        uint32_t c = pad > 1 ? 0 : digit(text[i + 2]), d = pad > 0 ? 0 : digit(text[i + 3]);
        if (a > 63 || b > 63 || c > 63 || d > 63)
            return NX_EINVAL;
        uint32_t three = a << 18 | b << 12 | c << 6 | d;
        if ((pad == 1 && (three & 0xff) != 0) || (pad == 2 && (three & 0xffff) != 0))
            return NX_EINVAL;                         /* bits that no byte owns: two texts would mean the same */
        bytes[made++] = (uint8_t)(three >> 16);
        if (pad < 2)
            bytes[made++] = (uint8_t)(three >> 8);
        if (pad < 1)
            bytes[made++] = (uint8_t)three;
    }
    buf_commit(out, made);
    return 0;
}
