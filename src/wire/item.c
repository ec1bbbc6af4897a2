/*
 * item.c - one MessagePack item after another.
 *
 * Lives here: the heads of the format.
 * Never here: limits and well-formedness (value_scan has been there), meaning.
 * Runs in: workers, the link worker, the gate.
 */
#include "wire/item.h"

static uint64_t
load(const uint8_t *p, size_t width)
{
    uint64_t value = 0;

    for (size_t i = 0; i < width; i++)
        value = value << 8 | p[i];
    return value;
}

/* What stands behind the first byte: a number of `width` bytes. */
struct form { enum item_type type; uint8_t width; };
static const struct form forms[32] = {                 /* 0xc0 .. 0xdf */
    [0x00] = { ITEM_NIL, 0 },
    [0x02] = { ITEM_BOOL, 0 }, [0x03] = { ITEM_BOOL, 0 },
    [0x04] = { ITEM_BIN, 1 }, [0x05] = { ITEM_BIN, 2 }, [0x06] = { ITEM_BIN, 4 },
    [0x07] = { ITEM_EXT, 1 }, [0x08] = { ITEM_EXT, 2 }, [0x09] = { ITEM_EXT, 4 },
    [0x0a] = { ITEM_FLOAT, 4 }, [0x0b] = { ITEM_FLOAT, 8 },
    [0x0c] = { ITEM_UINT, 1 }, [0x0d] = { ITEM_UINT, 2 }, [0x0e] = { ITEM_UINT, 4 }, [0x0f] = { ITEM_UINT, 8 },
    [0x10] = { ITEM_UINT, 1 }, [0x11] = { ITEM_UINT, 2 }, [0x12] = { ITEM_UINT, 4 }, [0x13] = { ITEM_UINT, 8 },
    [0x14] = { ITEM_EXT, 0 }, [0x15] = { ITEM_EXT, 0 }, [0x16] = { ITEM_EXT, 0 }, [0x17] = { ITEM_EXT, 0 },
    [0x18] = { ITEM_EXT, 0 },
    [0x19] = { ITEM_STR, 1 }, [0x1a] = { ITEM_STR, 2 }, [0x1b] = { ITEM_STR, 4 },
    [0x1c] = { ITEM_ARRAY, 2 }, [0x1d] = { ITEM_ARRAY, 4 }, [0x1e] = { ITEM_MAP, 2 }, [0x1f] = { ITEM_MAP, 4 },
};

static bool
take_payload(struct item_reader *r, struct item *out, uint64_t len)
{
    if (out->type == ITEM_EXT) {
        if (r->at == r->end)
            return false;
        out->ext_type = (int8_t)*r->at++;
    }
    if (len > (uint64_t)(r->end - r->at))
        return false;
    out->at = r->at;
    out->len = (size_t)len;
    r->at += len;
    return true;
}

bool
item_next(struct item_reader *r, struct item *out)
{
    if (r->at == r->end)
        return false;
    uint8_t first = *r->at++;

    *out = (struct item){ .type = ITEM_UINT, .number = first };
    if (first < 0x80)
        return true;
    if (first >= 0xe0) {
        *out = (struct item){ .type = ITEM_NEGATIVE, .number = (uint64_t)(int64_t)(int8_t)first };
        return true;
    }
    if (first < 0xa0) {
        *out = (struct item){ .type = first < 0x90 ? ITEM_MAP : ITEM_ARRAY, .number = first & 0x0f };
        return true;
    }
    if (first < 0xc0) {
        *out = (struct item){ .type = ITEM_STR };
        return take_payload(r, out, first & 0x1f);
    }

    const struct form *form = &forms[first - 0xc0];
    if ((size_t)(r->end - r->at) < form->width)
        return false;
    uint64_t number = load(r->at, form->width);
    r->at += form->width;
    *out = (struct item){ .type = form->type, .number = first == 0xc3 ? 1 : number };
    bool is_signed = first >= 0xd0 && first <= 0xd3;
    if (is_signed && (number >> (8u * form->width - 1) & 1) != 0) {
        out->type = ITEM_NEGATIVE;
        if (form->width < 8)
            out->number = number | UINT64_MAX << 8 * form->width;
    }
    if (form->type == ITEM_STR || form->type == ITEM_BIN)
        return take_payload(r, out, number);
    if (form->type == ITEM_EXT)
        return take_payload(r, out, form->width > 0 ? number : UINT64_C(1) << (first - 0xd4));   /* fixext 1, 2, 4, 8, 16 */
    return true;
}

bool
item_skip(struct item_reader *r, uint64_t count)
{
    struct item it;

    for (; count > 0; count--) {
        if (!item_next(r, &it))
            return false;
        count += it.type == ITEM_ARRAY ? it.number : it.type == ITEM_MAP ? 2 * it.number : 0;
    }
    return true;
}
