/*
 * item.h - read MessagePack one item after another, without memory of its own.
 *
 * For bytes that value_scan has passed: what is read is in range, and `false` means the end. Texts and binary stay where they are.
 */
#ifndef NOEXD_WIRE_ITEM_H
#define NOEXD_WIRE_ITEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum item_type { ITEM_NIL, ITEM_BOOL, ITEM_UINT, ITEM_NEGATIVE, ITEM_FLOAT, ITEM_STR, ITEM_BIN, ITEM_EXT, ITEM_ARRAY, ITEM_MAP };

struct item {
    enum item_type type;
    uint64_t number;            /* a bool, an integer (two's complement), the bits of a float, the count of a container */
    const uint8_t *at;          /* str, bin, ext: `len` bytes */
    size_t len;
    int8_t ext_type;
};

struct item_reader { const uint8_t *at, *end; };

/* The next item; the elements of a container follow as items of their own, a map's as key, value, key, value. */
bool item_next(struct item_reader *r, struct item *out);
bool item_skip(struct item_reader *r, uint64_t count);      /* so many items, with everything inside them */

#endif
