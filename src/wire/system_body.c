/*
 * system_body.c - encode and decode a map as its table of keys says.
 *
 * Lives here: the strict reading of a body that came from another process or node, and its mirror image.
 * Never here: which keys there are (system.c).
 * Runs in: workers, the link worker, the gate.
 *
 * The reader walks the packed bytes behind value_scan and allocates nothing, so texts in a decoded struct point into the body.
 */
#include "wire/system_priv.h"

#include <string.h>

#include <msgpack.h>

#include "base/base.h"
#include "base/utf8.h"
#include "value/value.h"
#include "wire/item.h"

enum { FIELDS_MAX = 32, TEXT_MAX = 512, HASH_LEN = 32 };

/* ---------------------------------------------------------------- members of a struct */

static void *
member(const struct field *f, void *base)
{
    return (char *)base + f->at;
}

static const void *
member_of(const struct field *f, const void *base)
{
    return (const char *)base + f->at;
}

/* Integers of every width as 64 bits; signed ones in two's complement. */
static uint64_t
get_number(const struct field *f, const void *base)
{
    const void *p = member_of(f, base);
    bool is_signed = f->type != FIELD_UINT;

    switch (f->size) {
    case 2: return *(const uint16_t *)p;
    case 4: return is_signed ? (uint64_t)*(const int32_t *)p : *(const uint32_t *)p;
    default: return *(const uint64_t *)p;
    }
}

/* The number is in the bounds, and these in the member's range. */
static void
set_number(const struct field *f, void *base, uint64_t number)
{
    void *p = member(f, base);

    switch (f->size) {
    case 2: *(uint16_t *)p = (uint16_t)number; break;
    case 4: *(uint32_t *)p = (uint32_t)number; break;
    default: *(uint64_t *)p = number; break;
    }
}

static uint32_t *
node_count(const struct field *f, void *base)
{
    return (uint32_t *)(void *)((char *)base + f->has);
}

static bool
is_present(const struct field *f, const void *base)
{
    if (!f->is_optional)
        return true;
    switch (f->type) {
    case FIELD_TEXT: case FIELD_NAME: case FIELD_NODE: return ((const struct sys_text *)member_of(f, base))->len > 0;
    case FIELD_BYTES: return ((const struct sys_bytes *)member_of(f, base))->len > 0;
    case FIELD_NODES: return *(const uint32_t *)(const void *)((const char *)base + f->has) > 0;
    default: return *((const bool *)base + f->has);
    }
}

/* ---------------------------------------------------------------- checks, for both directions: NULL, or the complaint */

static const char *
check_number(const struct field *f, uint64_t number)
{
    int64_t value = (int64_t)number;

    if (f->type == FIELD_TIMEOUT && value == -1)
        return NULL;
    if (f->type == FIELD_UINT ? number >= (uint64_t)f->min && number <= f->max
                              : value >= f->min && (value < 0 || number <= f->max))
        return NULL;
    return "is out of range";
}

static const char *
check_node(const struct sys_text *text)
{
    struct node_id id;

    if (node_id_parse(text->at, text->len, &id, NULL) != 0)
        return "is not a node id";
    if (strlen(id.text) != text->len || memcmp(id.text, text->at, text->len) != 0)
        return "is a node id that is not in its canonical form";
    return NULL;
}

static const char *
check_text(const struct field *f, const struct sys_text *text)
{
    if (f->type == FIELD_NODE)
        return check_node(text);
    if (text->len < (uint64_t)f->min || text->len > f->max)
        return "has a length out of range";
    if (f->type == FIELD_NAME)
        return utf8_is_name(text->at, text->len) ? NULL : "is not a name";
    return utf8_is_valid(text->at, text->len) ? NULL : "is not UTF-8";
}

/* ---------------------------------------------------------------- encoding */

static int
write_out(void *out, const char *bytes, size_t len)
{
    return buf_put(out, bytes, len);
}

/* A text for people: whatever it holds, the reader gets UTF-8 of a length that he accepts. */
static size_t
make_text(const struct field *f, const struct sys_text *text, char out[static TEXT_MAX])
{
    size_t at = 0;

    nx_assert(f->max < TEXT_MAX);
    for (size_t i = 0; i < text->len;) {
        size_t n = 1;
        while (n <= 4 && !(n <= text->len - i && utf8_is_valid(text->at + i, n)))
            n++;
        size_t add = n <= 4 ? n : 1;
        if (at + add > f->max)
            break;
        if (n <= 4)
            memcpy(out + at, text->at + i, n);
        else
            out[at] = '?';
        at += add;
        i += add;
    }
    return at;
}

static int
put_text(msgpack_packer *pk, const struct field *f, const struct sys_text *text)
{
    char made[TEXT_MAX];
    struct sys_text t = *text;

    if (f->type == FIELD_TEXT && check_text(f, &t) != NULL)
        t = (struct sys_text){ made, make_text(f, text, made) };
    if (check_text(f, &t) != NULL)
        return NX_EINVAL;
    int err = msgpack_pack_str(pk, t.len);
    return err != 0 ? err : msgpack_pack_str_body(pk, t.at, t.len);
}

static int
put_bin(msgpack_packer *pk, const void *bytes, size_t len)
{
    int err = msgpack_pack_bin(pk, len);
    return err != 0 ? err : msgpack_pack_bin_body(pk, bytes, len);
}

static int
put_ref(msgpack_packer *pk, const struct wire_ref *ref)
{
    struct sys_text node = { ref->node, strnlen(ref->node, sizeof ref->node) };
    uint8_t bytes[WIRE_REF_MAX];

    if (check_node(&node) != NULL)
        return NX_EINVAL;
    size_t len = wire_ref_encode(ref, bytes);
    int err = msgpack_pack_ext(pk, len, VALUE_EXT_REF);
    return err != 0 ? err : msgpack_pack_ext_body(pk, bytes, len);
}

static int
put_nodes(msgpack_packer *pk, const struct field *f, const void *in)
{
    const struct sys_text *nodes = member_of(f, in);
    uint32_t count = *(const uint32_t *)(const void *)((const char *)in + f->has);

    if (count > f->max)
        return NX_EINVAL;
    int err = msgpack_pack_array(pk, count);
    for (uint32_t i = 0; err == 0 && i < count; i++) {
        if (check_node(&nodes[i]) != NULL)
            return NX_EINVAL;
        err = msgpack_pack_str(pk, nodes[i].len);
        if (err == 0)
            err = msgpack_pack_str_body(pk, nodes[i].at, nodes[i].len);
    }
    return err;
}

static int
put_field(msgpack_packer *pk, const struct field *f, const void *in)
{
    const void *p = member_of(f, in);
    uint64_t number;

    switch (f->type) {
    case FIELD_BOOL:
        return *(const bool *)p ? msgpack_pack_true(pk) : msgpack_pack_false(pk);
    case FIELD_INT: case FIELD_UINT: case FIELD_TIMEOUT:
        number = get_number(f, in);
        if (check_number(f, number) != NULL)
            return NX_EINVAL;
        return f->type == FIELD_UINT ? msgpack_pack_uint64(pk, number) : msgpack_pack_int64(pk, (int64_t)number);
    case FIELD_TEXT: case FIELD_NAME: case FIELD_NODE:
        return put_text(pk, f, p);
    case FIELD_BYTES: {
        const struct sys_bytes *bytes = p;
        return bytes->len < (uint64_t)f->min || bytes->len > f->max ? NX_EINVAL : put_bin(pk, bytes->at, bytes->len);
    }
    case FIELD_HASH:
        return put_bin(pk, p, HASH_LEN);
    case FIELD_REF:
        return put_ref(pk, p);
    case FIELD_NODES:
        return put_nodes(pk, f, in);
    case FIELD_LIST:
        break;
    }
    return NX_EINVAL;
}

int
body_encode(const struct body *b, const void *in, struct buf *out)
{
    size_t before = buf_len(out), pairs = 0;
    msgpack_packer pk;

    if (b->check != NULL && b->check(in) != NULL)
        return NX_EINVAL;
    for (size_t i = 0; i < b->count; i++)
        pairs += is_present(&b->fields[i], in);
    msgpack_packer_init(&pk, out, write_out);
    int err = msgpack_pack_map(&pk, pairs);
    for (size_t i = 0; err == 0 && i < b->count; i++) {
        const struct field *f = &b->fields[i];
        size_t key_len = strlen(f->key);
        if (!is_present(f, in))
            continue;
        err = msgpack_pack_str(&pk, key_len);
        if (err == 0)
            err = msgpack_pack_str_body(&pk, f->key, key_len);
        if (err == 0)
            err = put_field(&pk, f, in);
    }
    if (err != 0)
        out->end = out->at + before;
    return err;
}

/* ---------------------------------------------------------------- decoding */

static const char *
take_number(const struct field *f, const struct item *it, void *out)
{
    if (it->type != ITEM_UINT && it->type != ITEM_NEGATIVE)
        return "is not an integer";
    /* A positive number beyond INT64_MAX must not pass for a negative one, nor the reverse. */
    if (f->type == FIELD_UINT ? it->type == ITEM_NEGATIVE : it->type == ITEM_UINT && it->number > INT64_MAX)
        return "is out of range";
    const char *complaint = check_number(f, it->number);
    if (complaint == NULL)
        set_number(f, out, it->number);
    return complaint;
}

static const char *
take_nodes(const struct field *f, const struct item *it, struct item_reader *r, void *out)
{
    struct sys_text *nodes = member(f, out);

    if (it->type != ITEM_ARRAY)
        return "is not an array";
    if (it->number < (uint64_t)f->min || it->number > f->max)
        return "has a number of elements out of range";
    for (uint64_t i = 0; i < it->number; i++) {
        struct item element;
        if (!item_next(r, &element) || element.type != ITEM_STR)
            return "has an element that is not a string";
        nodes[i] = (struct sys_text){ (const char *)element.at, element.len };
        const char *complaint = check_node(&nodes[i]);
        if (complaint != NULL)
            return complaint;
    }
    *node_count(f, out) = (uint32_t)it->number;
    return NULL;
}

static const char *
take_list(const struct field *f, const struct item *it, struct item_reader *r, struct system_list *list)
{
    if (it->type != ITEM_ARRAY)
        return "is not an array";
    if (it->number > f->max)
        return "has a number of elements out of range";
    *list = (struct system_list){ .at = r->at, .end = r->end, .count = (uint32_t)it->number };
    return item_skip(r, it->number) ? NULL : "is cut";
}

static const char *
take_field(const struct field *f, struct item_reader *r, void *out)
{
    void *p = member(f, out);
    struct item it;

    if (!item_next(r, &it))
        return "is cut";
    switch (f->type) {
    case FIELD_BOOL:
        if (it.type != ITEM_BOOL)
            return "is not a boolean";
        *(bool *)p = it.number != 0;
        return NULL;
    case FIELD_INT: case FIELD_UINT: case FIELD_TIMEOUT:
        return take_number(f, &it, out);
    case FIELD_TEXT: case FIELD_NAME: case FIELD_NODE:
        if (it.type != ITEM_STR)
            return "is not a string";
        *(struct sys_text *)p = (struct sys_text){ (const char *)it.at, it.len };
        return check_text(f, p);
    case FIELD_BYTES:
        if (it.type != ITEM_BIN)
            return "is not binary";
        *(struct sys_bytes *)p = (struct sys_bytes){ it.at, it.len };
        return it.len < (uint64_t)f->min || it.len > f->max ? "has a length out of range" : NULL;
    case FIELD_HASH:
        if (it.type != ITEM_BIN || it.len != HASH_LEN)
            return "is not binary of 32 bytes";
        memcpy(p, it.at, HASH_LEN);
        return NULL;
    case FIELD_REF:
        if (it.type != ITEM_EXT || it.ext_type != VALUE_EXT_REF || wire_ref_decode(it.at, it.len, p, NULL) != 0)
            return "is not a ref";
        return NULL;
    case FIELD_NODES:
        return take_nodes(f, &it, r, out);
    case FIELD_LIST:
        return take_list(f, &it, r, p);
    }
    return "has no type";
}

static const struct field *
find_field(const struct body *b, const struct item *key)
{
    for (size_t i = 0; i < b->count; i++)
        if (strlen(b->fields[i].key) == key->len && memcmp(b->fields[i].key, key->at, key->len) == 0)
            return &b->fields[i];
    return NULL;
}

static int
refuse_key(const struct body *b, const struct item *key, struct base_error *why)
{
    if (key->type != ITEM_STR)
        return base_error_set(why, NX_EBADMSG, NULL, "%s: a key is not a string", b->noun);
    if (!utf8_is_name(key->at, key->len) || key->len > 32)
        return base_error_set(why, NX_EBADMSG, NULL, "%s: unknown key of %zu bytes", b->noun, key->len);
    return base_error_set(why, NX_EBADMSG, NULL, "%s: unknown key '%.*s'", b->noun, (int)key->len, (const char *)key->at);
}

static int
refuse_field(const struct body *b, const struct field *f, const char *complaint, struct base_error *why)
{
    return base_error_set(why, NX_EBADMSG, NULL, "%s: key '%s' (%s) %s", b->noun, f->key, f->member, complaint);
}

static int
take_map(const struct body *b, struct item_reader *r, void *out, struct base_error *why)
{
    struct item map, key;
    uint32_t seen = 0;

    nx_assert(b->count < FIELDS_MAX);
    if (!item_next(r, &map) || map.type != ITEM_MAP)
        return base_error_set(why, NX_EBADMSG, NULL, "%s: not a map", b->noun);
    for (uint64_t i = 0; i < map.number; i++) {
        const struct field *f = item_next(r, &key) && key.type == ITEM_STR ? find_field(b, &key) : NULL;
        if (f == NULL)
            return refuse_key(b, &key, why);
        uint32_t bit = UINT32_C(1) << (f - b->fields);
        if ((seen & bit) != 0)
            return refuse_field(b, f, "stands twice", why);
        seen |= bit;
        const char *complaint = take_field(f, r, out);
        if (complaint != NULL)
            return refuse_field(b, f, complaint, why);
        if (f->is_optional && f->has != 0 && f->type != FIELD_NODES)
            *((bool *)out + f->has) = true;
    }
    for (size_t i = 0; i < b->count; i++)
        if (!b->fields[i].is_optional && (seen & UINT32_C(1) << i) == 0)
            return refuse_field(b, &b->fields[i], "is missing", why);
    const char *complaint = b->check != NULL ? b->check(out) : NULL;
    if (complaint != NULL)
        return base_error_set(why, NX_EBADMSG, NULL, "%s: %s", b->noun, complaint);
    return 0;
}

int
body_decode(const struct body *b, const void *bytes, size_t len, void *out, struct base_error *why)
{
    /* How many bytes a body may have was decided where it was joined; here the numbers of objects and levels count. */
    struct value_limits limits = VALUE_LIMITS_DEFAULT;
    struct base_error inner;
    struct item_reader r = { bytes, (const uint8_t *)bytes + len };

    limits.max_body = SIZE_MAX;
    if (value_scan(bytes, len, &limits, &inner) != 0)
        return base_error_set(why, NX_EBADMSG, NULL, "%s: %s", b->noun, inner.text);
    return take_map(b, &r, out, why);
}

int
body_decode_next(const struct body *b, struct system_list *list, void *out, struct base_error *why)
{
    struct item_reader r = { list->at, list->end };

    int err = take_map(b, &r, out, why);
    if (err != 0)
        return err;
    list->at = r.at;
    list->count--;
    return 0;
}

uint32_t
body_peek_pairs(const struct system_list *list)
{
    struct item_reader r = { list->at, list->end };
    struct item it;

    return item_next(&r, &it) && it.type == ITEM_MAP ? (uint32_t)it.number : 0;
}
