/*
 * codec.c - a ref codec to hand down, as a process does at start. Bodies are 12 bytes: node (4), serial (8), big-endian.
 */
#include "vectors.h"

#include "noex/errors.h"

static int
encode(nx_ref ref, uint8_t out[static VALUE_EXT_REF_MAX], size_t *len)
{
    if (ref.serial == 0)
        return NX_EINVAL;
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(ref.node >> (24 - 8 * i));
    for (int i = 0; i < 8; i++)
        out[4 + i] = (uint8_t)(ref.serial >> (56 - 8 * i));
    *len = 12;
    return 0;
}

static int
decode(const uint8_t *body, size_t len, nx_ref *out, struct base_error *why)
{
    if (len != 12)
        return base_error_set(why, NX_ENODE, NULL, "%zu bytes", len);
    *out = (nx_ref){ 0 };
    for (int i = 0; i < 4; i++)
        out->node = out->node << 8 | body[i];
    for (int i = 0; i < 8; i++)
        out->serial = out->serial << 8 | body[4 + i];
    return 0;
}

static int
to_text(const uint8_t *body, size_t len, char *out, size_t size)
{
    nx_ref ref;
    if (decode(body, len, &ref, NULL) != 0)
        return NX_EINVAL;
    int n = snprintf(out, size, "#%u.%llu", ref.node, (unsigned long long)ref.serial);
    return n > 0 && (size_t)n < size ? 0 : NX_EINVAL;
}

static int
from_text(const char *text, uint8_t out[static VALUE_EXT_REF_MAX], size_t *len, struct base_error *why)
{
    unsigned node;
    unsigned long long serial;
    char rest;
    if (sscanf(text, "#%u.%llu%c", &node, &serial, &rest) != 2)
        return base_error_set(why, NX_EINVAL, NULL, "no ref");
    return encode((nx_ref){ .node = node, .serial = serial }, out, len);
}

const struct value_ref_codec test_codec = { encode, decode, to_text, from_text };
