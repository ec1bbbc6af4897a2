/*
 * ref.c - a ref as bytes and as text.
 *
 * Lives here: both forms and the checks of what comes in. There is exactly one text for a ref, except for the spelling of an IPv6
 * host, which is made canonical.
 * Never here: the numbering of nodes inside a process; whether the server exists.
 * Runs in: workers, the link worker, the gate, noexctl.
 */
#include "wire/ref.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "wire/wire.h"

enum { INCARNATION_DIGITS = 16 };

size_t
wire_ref_encode(const struct wire_ref *ref, uint8_t out[static WIRE_REF_MAX])
{
    size_t len = strlen(ref->node);

    wire_put64(out, ref->incarnation);
    wire_put64(out + 8, ref->serial);
    wire_put32(out + 16, ref->generation);
    wire_put16(out + 20, ref->slot);
    memcpy(out + WIRE_REF_FIXED, ref->node, len);
    return WIRE_REF_FIXED + len;
}

int
wire_ref_decode(const uint8_t *bytes, size_t len, struct wire_ref *out, struct base_error *why)
{
    struct node_id node;
    struct base_error inner;

    if (len <= WIRE_REF_FIXED || len > WIRE_REF_MAX)
        return base_error_set(why, NX_EBADMSG, NULL, "ref: %zu bytes, expected %d to %d", len, WIRE_REF_FIXED + 1, WIRE_REF_MAX);
    const char *text = (const char *)bytes + WIRE_REF_FIXED;
    size_t text_len = len - WIRE_REF_FIXED;
    if (node_id_parse(text, text_len, &node, &inner) != 0)
        return base_error_set(why, NX_EBADMSG, NULL, "ref: %s", inner.text);
    /* Every node sends the canonical spelling; another one would compare unequal to the same node. */
    if (strlen(node.text) != text_len || memcmp(node.text, text, text_len) != 0)
        return base_error_set(why, NX_EBADMSG, NULL, "ref: node id is not in its canonical form %s", node.text);

    out->incarnation = wire_get64(bytes);
    out->serial = wire_get64(bytes + 8);
    out->generation = wire_get32(bytes + 16);
    out->slot = wire_get16(bytes + 20);
    memcpy(out->node, node.text, sizeof out->node);
    return 0;
}

int
wire_ref_to_text(const struct wire_ref *ref, char *out, size_t size)
{
    char text[WIRE_REF_TEXT_MAX];
    int len = snprintf(text, sizeof text, "#%s/%016" PRIx64 "/%" PRIu16 ".%" PRIu32 ".%" PRIu64, ref->node, ref->incarnation,
                       ref->slot, ref->generation, ref->serial);

    if (len < 0 || (size_t)len >= sizeof text || (size_t)len >= size)
        return NX_EINVAL;
    memcpy(out, text, (size_t)len + 1);
    return 0;
}

static bool
take_hex(const char *at, size_t len, uint64_t *out)
{
    uint64_t value = 0;

    if (len != INCARNATION_DIGITS)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = at[i];
        if (c >= '0' && c <= '9')
            value = value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    *out = value;
    return true;
}

static bool
take_decimal(const char *at, size_t len, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;

    if (len == 0 || (len > 1 && at[0] == '0'))
        return false;
    for (size_t i = 0; i < len; i++) {
        uint64_t digit = (uint64_t)(at[i] - '0');
        if (at[i] < '0' || at[i] > '9' || value > (max - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

static int
refuse(struct base_error *why, const char *complaint)
{
    return base_error_set(why, NX_EINVAL, NULL, "ref: %s (expected #NODE/INCARNATION/SLOT.GENERATION.SERIAL)", complaint);
}

int
wire_ref_from_text(const char *text, size_t len, struct wire_ref *out, struct base_error *why)
{
    struct base_error inner;
    struct node_id node;
    uint64_t incarnation, slot, generation, serial;

    if (len == 0 || text[0] != '#')
        return refuse(why, "does not begin with '#'");
    if (len >= WIRE_REF_TEXT_MAX)
        return refuse(why, "is too long");
    const char *end = text + len, *at = text + 1;

    const char *slash = memchr(at, '/', (size_t)(end - at));
    if (slash == NULL)
        return refuse(why, "has no '/' behind the node id");
    if (node_id_parse(at, (size_t)(slash - at), &node, &inner) != 0)
        return base_error_set(why, NX_EINVAL, NULL, "ref: %s", inner.text);

    at = slash + 1;
    slash = memchr(at, '/', (size_t)(end - at));
    if (slash == NULL || !take_hex(at, (size_t)(slash - at), &incarnation))
        return refuse(why, "its incarnation is not 16 digits of lower-case hexadecimal");

    at = slash + 1;
    const char *dot = memchr(at, '.', (size_t)(end - at));
    if (dot == NULL || !take_decimal(at, (size_t)(dot - at), UINT16_MAX, &slot))
        return refuse(why, "its worker slot is not a number up to 65535");

    at = dot + 1;
    dot = memchr(at, '.', (size_t)(end - at));
    if (dot == NULL || !take_decimal(at, (size_t)(dot - at), UINT32_MAX, &generation))
        return refuse(why, "its worker generation is not a 32-bit number");

    if (!take_decimal(dot + 1, (size_t)(end - dot - 1), UINT64_MAX, &serial))
        return refuse(why, "its serial is not a 64-bit number");

    out->incarnation = incarnation;
    out->serial = serial;
    out->generation = (uint32_t)generation;
    out->slot = (uint16_t)slot;
    memcpy(out->node, node.text, sizeof out->node);
    return 0;
}
