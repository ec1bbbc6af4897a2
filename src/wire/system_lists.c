/*
 * system_lists.c - bodies that are built and read element by element: registry changes, registry pages, behavior tables.
 *
 * Lives here: the growing array inside a body, and the walk over it.
 * Never here: the keys and bounds of an element (system.c).
 * Runs in: the link worker.
 *
 * While a body of entries grows, the number of its array stands at a fixed place, since all that comes before has a fixed width; so
 * the body is whole after each entry, and no state is kept beside it.
 */
#include "wire/system.h"

#include <stdlib.h>
#include <string.h>

#include <msgpack.h>

#include "base/base.h"
#include "wire/system_priv.h"
#include "wire/wire.h"

enum {
    KEY_LEN = 2, U64_LEN = 9, U32_LEN = 5, BOOL_LEN = 1, ARRAY32_LEN = 5,
    MAP_DELTA = 0x82, MAP_SYNC = 0x86, ARRAY32 = 0xdd,       /* first bytes: map of 2, map of 6; array with a 32-bit count */
    DELTA_LIST_AT = 1 + (KEY_LEN + U64_LEN) + KEY_LEN,
    SYNC_LIST_AT = 1 + 2 * (KEY_LEN + U64_LEN) + (KEY_LEN + U32_LEN) + 2 * (KEY_LEN + BOOL_LEN) + KEY_LEN,
};

/* ---------------------------------------------------------------- fixed widths */

static uint8_t *
put_key(uint8_t *at, const char *key)
{
    at[0] = 0xa1;                                                     /* string of 1 byte */
    at[1] = (uint8_t)key[0];
    return at + KEY_LEN;
}

static uint8_t *
put_u64(uint8_t *at, const char *key, uint64_t value)
{
    at = put_key(at, key);
    at[0] = 0xcf;
    wire_put64(at + 1, value);
    return at + U64_LEN;
}

static uint8_t *
put_u32(uint8_t *at, const char *key, uint32_t value)
{
    at = put_key(at, key);
    at[0] = 0xce;
    wire_put32(at + 1, value);
    return at + U32_LEN;
}

static uint8_t *
put_bool(uint8_t *at, const char *key, bool value)
{
    at = put_key(at, key);
    at[0] = value ? 0xc3 : 0xc2;
    return at + BOOL_LEN;
}

/* ---------------------------------------------------------------- building entries */

int
sys_entries_begin(struct buf *out, uint8_t kind, const void *head, bool is_request)
{
    const struct sys_sync_head *sync = head;
    const struct sys_delta_head *delta = head;
    uint8_t bytes[SYNC_LIST_AT + ARRAY32_LEN], *at = bytes;

    nx_assert(buf_len(out) == 0 && (kind == KIND_REGISTRY_DELTA || kind == KIND_REGISTRY_SYNC));
    *at++ = kind == KIND_REGISTRY_DELTA ? MAP_DELTA : MAP_SYNC;
    if (kind == KIND_REGISTRY_DELTA) {
        nx_assert(!is_request);
        at = put_u64(at, SYSTEM_KEY_DIGEST, delta->digest);
    } else {
        if (is_request && (sync->sequence != 0 || sync->page != 0))
            return NX_EINVAL;
        at = put_u64(at, SYSTEM_KEY_SEQUENCE, sync->sequence);
        at = put_u64(at, SYSTEM_KEY_DIGEST, sync->digest);
        at = put_u32(at, SYSTEM_KEY_PAGE, sync->page);
        at = put_bool(at, SYSTEM_KEY_LAST, sync->is_last);
        at = put_bool(at, SYSTEM_KEY_REQUEST, is_request);
    }
    at = put_key(at, SYSTEM_KEY_LIST);
    nx_assert(at - bytes == (kind == KIND_REGISTRY_DELTA ? DELTA_LIST_AT : SYNC_LIST_AT));
    *at++ = ARRAY32;
    wire_put32(at, 0);
    return buf_put(out, bytes, (size_t)(at - bytes) + 4);
}

/* Where the number of entries stands in a body that begin has made. */
static uint8_t *
entries_count(struct buf *out)
{
    nx_assert(buf_len(out) > DELTA_LIST_AT + ARRAY32_LEN - 1);
    uint8_t *body = out->data + out->at, *list = body + (body[0] == MAP_DELTA ? DELTA_LIST_AT : SYNC_LIST_AT);
    nx_assert((body[0] == MAP_DELTA || body[0] == MAP_SYNC) && list[0] == ARRAY32);
    return list + 1;
}

int
sys_entries_add(struct buf *out, const struct sys_entry *e)
{
    uint32_t count = wire_get32(entries_count(out));

    if (count == SYS_ENTRIES_MAX)
        return NX_EFULL;
    int err = body_encode(e->is_removal ? &system_removal_body : &system_entry_body, e, out);
    if (err == 0)
        wire_put32(entries_count(out), count + 1);                     /* looked for anew: the buffer may have moved */
    return err;
}

int
sys_entries_end(struct buf *out)
{
    (void)entries_count(out);                                          /* asserts that this is such a body */
    return 0;
}

/* ---------------------------------------------------------------- reading entries */

struct sys_entries {
    struct system_entries_head head;
    struct system_list rest;
};

static int
next_entry(struct system_list *list, struct sys_entry *out, struct base_error *why)
{
    struct sys_entry e = { .is_removal = body_peek_pairs(list) == system_removal_body.count };

    int err = body_decode_next(e.is_removal ? &system_removal_body : &system_entry_body, list, &e, why);
    if (err == 0)
        *out = e;
    return err;
}

int
sys_entries_open(uint8_t kind, const void *body, size_t len, struct sys_entries **out, struct base_error *why)
{
    struct sys_entries made;
    struct sys_entry e;

    nx_assert(kind == KIND_REGISTRY_DELTA || kind == KIND_REGISTRY_SYNC);
    memset(&made, 0, sizeof made);
    int err = body_decode(kind == KIND_REGISTRY_DELTA ? &system_delta_body : &system_sync_body, body, len, &made.head, why);
    /* All of it is read before any of it is used: a bad entry at the end refuses the body. */
    made.rest = made.head.list;
    while (err == 0 && made.rest.count > 0)
        err = next_entry(&made.rest, &e, why);
    if (err != 0)
        return err;
    made.rest = made.head.list;
    made.head.delta.count = made.head.sync.count = made.rest.count;

    struct sys_entries *entries = malloc(sizeof *entries);
    if (entries == NULL)
        return base_error_set(why, NX_ENOMEM, NULL, "registry: no memory to read a body");
    *entries = made;
    *out = entries;
    return 0;
}

void
sys_entries_close(struct sys_entries **e)
{
    free(*e);
    *e = NULL;
}

const struct sys_delta_head *
sys_entries_delta(const struct sys_entries *e)
{
    return &e->head.delta;
}

const struct sys_sync_head *
sys_entries_sync(const struct sys_entries *e)
{
    return &e->head.sync;
}

bool
sys_entries_is_request(const struct sys_entries *e)
{
    return e->head.is_request;
}

bool
sys_entries_next(struct sys_entries *e, struct sys_entry *out)
{
    return e->rest.count > 0 && next_entry(&e->rest, out, NULL) == 0;
}

/* ---------------------------------------------------------------- behaviors */

static int
write_out(void *out, const char *bytes, size_t len)
{
    return buf_put(out, bytes, len);
}

int
sys_behaviors_encode(const struct sys_behavior *list, size_t count, struct buf *out)
{
    size_t before = buf_len(out);
    msgpack_packer pk;

    if (count > SYS_BEHAVIORS_MAX)
        return NX_EINVAL;
    msgpack_packer_init(&pk, out, write_out);
    int err = msgpack_pack_map(&pk, 1);
    if (err == 0)
        err = msgpack_pack_str(&pk, strlen(SYSTEM_KEY_LIST));
    if (err == 0)
        err = msgpack_pack_str_body(&pk, SYSTEM_KEY_LIST, strlen(SYSTEM_KEY_LIST));
    if (err == 0)
        err = msgpack_pack_array(&pk, count);
    for (size_t i = 0; err == 0 && i < count; i++)
        err = body_encode(&system_behavior_body, &list[i], out);
    if (err != 0)
        out->end = out->at + before;
    return err;
}

int
sys_behaviors_decode(const void *body, size_t len, struct sys_behavior *list, size_t max, size_t *count, struct base_error *why)
{
    struct system_behaviors b = { .list = { NULL, NULL, 0 } };

    int err = body_decode(&system_behaviors_body, body, len, &b, why);
    if (err != 0)
        return err;
    size_t n = b.list.count;
    if (n > max)
        return base_error_set(why, NX_EBADMSG, NULL, "behaviors: %zu of them, there is room for %zu", n, max);
    for (size_t i = 0; err == 0 && i < n; i++)
        err = body_decode_next(&system_behavior_body, &b.list, &list[i], why);
    if (err == 0)
        *count = n;
    return err;
}
