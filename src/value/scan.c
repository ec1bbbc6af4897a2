/*
 * scan.c - is this exactly one msgpack object within the limits? Asked before anything is decoded.
 *
 * Lives here: the walk over heads that reads no more than it was given, allocates nothing and does not recurse.
 * Never here: meaning; user bodies may hold NaN, duplicate keys and any ext type.
 * Runs in: every process that decodes.
 *
 * Three things make it linear and safe against declared counts: each value still owed needs at least one byte, so more owed than
 * bytes left is refused at the head that says so; so is more owed than the object budget allows; and the only memory is one number
 * for each level of depth.
 */
#include "value/value_priv.h"

#include <stdio.h>

#include "noex/errors.h"

struct scan {
    const uint8_t *begin, *at, *end;
    const struct value_limits *limits;
    struct base_error *why;
};

/* Bytes from `head` on, for people. Only on the way out. */
#define SCAN_REFUSE(s, head, ...) scan_refuse((s)->why, (size_t)((head) - (s)->begin), __VA_ARGS__)

static int __attribute__((cold, noinline, format(printf, 3, 4)))
scan_refuse(struct base_error *why, size_t offset, const char *fmt, ...)
{
    char what[128];
    va_list ap;
    va_start(ap, fmt);
    if (vsnprintf(what, sizeof what, fmt, ap) < 0)
        what[0] = '\0';
    va_end(ap);
    return base_error_set(why, NX_EBADMSG, NULL, "malformed msgpack at byte %zu: %s", offset, what);
}

/* The classes of heads. For a scalar `extra` is what follows; for the others the width of the length or count. */
enum scan_class { SCAN_SCALAR, SCAN_STR, SCAN_BIN, SCAN_EXT, SCAN_FIXEXT, SCAN_ARRAY, SCAN_MAP, SCAN_NEVER };

static const struct { uint8_t class, extra; } heads[32] = {      /* 0xc0..0xdf */
    { SCAN_SCALAR, 0 }, { SCAN_NEVER, 0 }, { SCAN_SCALAR, 0 }, { SCAN_SCALAR, 0 },     /* nil, never used, false, true */
    { SCAN_BIN, 1 }, { SCAN_BIN, 2 }, { SCAN_BIN, 4 },
    { SCAN_EXT, 1 }, { SCAN_EXT, 2 }, { SCAN_EXT, 4 },
    { SCAN_SCALAR, 4 }, { SCAN_SCALAR, 8 },                                            /* float 32, 64 */
    { SCAN_SCALAR, 1 }, { SCAN_SCALAR, 2 }, { SCAN_SCALAR, 4 }, { SCAN_SCALAR, 8 },    /* uint */
    { SCAN_SCALAR, 1 }, { SCAN_SCALAR, 2 }, { SCAN_SCALAR, 4 }, { SCAN_SCALAR, 8 },    /* int */
    { SCAN_FIXEXT, 1 }, { SCAN_FIXEXT, 2 }, { SCAN_FIXEXT, 4 }, { SCAN_FIXEXT, 8 }, { SCAN_FIXEXT, 16 },
    { SCAN_STR, 1 }, { SCAN_STR, 2 }, { SCAN_STR, 4 },
    { SCAN_ARRAY, 2 }, { SCAN_ARRAY, 4 }, { SCAN_MAP, 2 }, { SCAN_MAP, 4 },
};

static inline uint32_t
load_width(const uint8_t *p, size_t width)
{
    return width == 1 ? p[0] : width == 2 ? value_load16(p) : value_load32(p);
}

int
value_measure(const void *bytes, size_t len, const struct value_limits *limits, struct value_needs *needs, struct base_error *why)
{
    if (len > limits->max_body)
        return base_error_set(why, NX_ETOOBIG, NULL, "body of %zu bytes, at most %zu are allowed", len, limits->max_body);
    if (len == 0)
        return base_error_set(why, NX_EBADMSG, NULL, "malformed msgpack: empty body");

    struct scan s = { bytes, bytes, (const uint8_t *)bytes + len, limits, why };
    size_t max_depth = limits->max_depth < VALUE_DEPTH_MAX ? limits->max_depth : VALUE_DEPTH_MAX;
    uint64_t left[VALUE_DEPTH_MAX];                   /* values to come at each level */
    size_t depth = 0, objects = 0, pairs = 0, text_bytes = 0;
    uint64_t owed = 1;                                /* values to come in all */

    while (owed > 0) {
        const uint8_t *head = s.at;
        size_t remain = (size_t)(s.end - head);
        if (remain == 0)
            return SCAN_REFUSE(&s, head, "ends where a value should begin");
        owed--;
        objects++;
        uint8_t b = *head;
        unsigned class = SCAN_SCALAR;
        size_t extra = 0;
        uint64_t count = 0;
        if (b >= 0xc0 && b < 0xe0) {
            class = heads[b - 0xc0].class;
            extra = heads[b - 0xc0].extra;
        } else if (b >= 0xa0 && b < 0xc0)
            class = SCAN_STR, count = b & 31;
        else if (b >= 0x80 && b < 0xa0)
            class = b < 0x90 ? SCAN_MAP : SCAN_ARRAY, count = b & 15;
        if (extra > remain - 1)
            return SCAN_REFUSE(&s, head, "ends inside a head or number (0x%02x)", b);
        s.at = head + 1 + extra;
        remain -= 1 + extra;

        switch (class) {
        case SCAN_SCALAR:
            break;
        case SCAN_STR:
        case SCAN_BIN:
        case SCAN_EXT:
            if (extra > 0)
                count = load_width(head + 1, extra);
            if (class == SCAN_STR)
                text_bytes += count + 1;
            else if (class == SCAN_EXT)
                count += 1;                           /* the type */
            if (count > remain)
                return SCAN_REFUSE(&s, head, "%s of %llu bytes, %zu are left",
                                   class == SCAN_STR ? "string" : class == SCAN_BIN ? "binary" : "ext with its type",
                                   (unsigned long long)count, remain);
            s.at += count;
            break;
        case SCAN_FIXEXT:
            if (remain == 0)
                return SCAN_REFUSE(&s, head, "ends inside an ext");
            s.at++;                                   /* `extra` was the body; the type is one more */
            break;
        case SCAN_ARRAY:
        case SCAN_MAP:
            if (extra > 0)
                count = load_width(head + 1, extra);
            if (depth >= max_depth)
                return SCAN_REFUSE(&s, head, "nested deeper than %zu", max_depth);
            if (class == SCAN_MAP) {
                pairs += count;
                count *= 2;
            }
            owed += count;
            if (owed > remain)
                return SCAN_REFUSE(&s, head, "%s of %llu, %zu bytes are left for %llu values", class == SCAN_MAP ? "map" : "array",
                                   (unsigned long long)(class == SCAN_MAP ? count / 2 : count), remain, (unsigned long long)owed);
            if (objects + owed > limits->max_objects)
                return SCAN_REFUSE(&s, head, "more than %u objects", limits->max_objects);
            if (pairs > limits->max_pairs)
                return SCAN_REFUSE(&s, head, "more than %u pairs", limits->max_pairs);
            if (count > 0) {
                left[depth++] = count;
                continue;                             /* its own place in the level above is settled when it ends */
            }
            break;
        default:
            return SCAN_REFUSE(&s, head, "0x%02x is no msgpack", b);
        }
        while (depth > 0 && --left[depth - 1] == 0)
            depth--;
    }
    if (s.at != s.end)
        return SCAN_REFUSE(&s, s.at, "%zu bytes behind the value", (size_t)(s.end - s.at));
    if (objects > limits->max_objects)                /* a single scalar and a budget of 0 */
        return SCAN_REFUSE(&s, s.begin, "more than %u objects", limits->max_objects);
    *needs = (struct value_needs){ objects, text_bytes };
    return 0;
}

int
value_scan(const void *bytes, size_t len, const struct value_limits *limits, struct base_error *why)
{
    struct value_needs needs;
    return value_measure(bytes, len, limits, &needs, why);
}
