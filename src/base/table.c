/*
 * table.c - hash tables from 64-bit keys and from byte strings.
 *
 * Lives here: open addressing with linear probing and backward-shift deletion (no tombstones, so a long life does not slow a
 * table down), SipHash-1-3, the per-process key.
 * Never here: who owns the values.
 * Runs in: every process.
 *
 * Invariant: the number of slots is 0 or a power of two, at most 3/4 of them are taken, and between the home of an entry and its
 * slot there is no empty slot.
 */
#include "base/table.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/random.h"
#include "noex/errors.h"

enum { TABLE_FIRST = 16 };

struct table_slot { uint64_t key; void *value; };      /* value NULL = empty */
struct table { struct table_slot *slots; size_t cap, count; };

struct strtable_key { size_t len; char bytes[]; };
struct strtable_slot { uint64_t hash; struct strtable_key *key; void *value; };   /* value NULL = empty */
struct strtable { struct strtable_slot *slots; size_t cap, count; };

static struct { bool made; uint64_t a, b; } secret;

static int
make_secret(void)
{
    if (secret.made)
        return 0;
    uint64_t both[2];
    int err = random_bytes(both, sizeof both);
    if (err != 0)
        return err;
    secret.a = both[0];
    secret.b = both[1] | 1;                           /* a multiplier: never 0 */
    secret.made = true;
    return 0;
}

/* ---- SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF"; one compression round, three at the end) */

static inline uint64_t rotl(uint64_t x, unsigned n) { return x << n | x >> (64 - n); }

static inline void
sip_round(uint64_t v[static 4])
{
    v[0] += v[1]; v[1] = rotl(v[1], 13); v[1] ^= v[0]; v[0] = rotl(v[0], 32);
    v[2] += v[3]; v[3] = rotl(v[3], 16); v[3] ^= v[2];
    v[0] += v[3]; v[3] = rotl(v[3], 21); v[3] ^= v[0];
    v[2] += v[1]; v[1] = rotl(v[1], 17); v[1] ^= v[2]; v[2] = rotl(v[2], 32);
}

static inline uint64_t
load64le(const uint8_t *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    return x;
}

/* SipHash wants 128 key bits and our callers have 64; the other half is the key spread by an odd constant. */
uint64_t
table_hash(uint64_t key, const void *bytes, size_t len)
{
    uint64_t k0 = key, k1 = key * UINT64_C(0x9e3779b97f4a7c15) ^ key >> 32;
    uint64_t v[4] = { k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                      k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573) };
    const uint8_t *p = bytes;
    size_t left = len;
    for (; left >= 8; left -= 8, p += 8) {
        uint64_t m = load64le(p);
        v[3] ^= m;
        sip_round(v);
        v[0] ^= m;
    }
    uint64_t last = (uint64_t)len << 56;
    for (size_t i = 0; i < left; i++)
        last |= (uint64_t)p[i] << (8 * i);
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* For 64-bit keys: two folded multiplications with the process's secret, a third of the time of SipHash. */
static inline uint64_t
hash_u64(uint64_t key)
{
    __extension__ typedef unsigned __int128 wide;
    wide x = (wide)(key ^ secret.a) * secret.b;
    uint64_t once = (uint64_t)x ^ (uint64_t)(x >> 64);
    x = (wide)(once ^ secret.b) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint64_t)x ^ (uint64_t)(x >> 64);
}

/* ---- from 64-bit keys */

int
table_new(struct table **out)
{
    int err = make_secret();
    if (err != 0)
        return err;
    struct table *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NX_ENOMEM;
    *out = t;
    return 0;
}

void
table_free(struct table **t)
{
    if (*t == NULL)
        return;
    free((*t)->slots);
    free(*t);
    *t = NULL;
}

/* The slot that holds `key`, or the empty one where it belongs. cap > 0. */
static size_t
table_find(const struct table *t, uint64_t key)
{
    size_t i = hash_u64(key) & (t->cap - 1);
    while (t->slots[i].value != NULL && t->slots[i].key != key)
        i = (i + 1) & (t->cap - 1);
    return i;
}

static int
table_grow(struct table *t)
{
    if (t->cap > SIZE_MAX / 2 / sizeof(struct table_slot))
        return NX_ENOMEM;
    struct table bigger = { .cap = t->cap != 0 ? t->cap * 2 : TABLE_FIRST, .count = t->count };
    bigger.slots = calloc(bigger.cap, sizeof(struct table_slot));
    if (bigger.slots == NULL)
        return NX_ENOMEM;
    for (size_t i = 0; i < t->cap; i++)
        if (t->slots[i].value != NULL)
            bigger.slots[table_find(&bigger, t->slots[i].key)] = t->slots[i];
    free(t->slots);
    *t = bigger;
    return 0;
}

int
table_put(struct table *t, uint64_t key, void *value)
{
    nx_assert(value != NULL);
    if (t->cap > 0) {
        struct table_slot *slot = &t->slots[table_find(t, key)];
        if (slot->value != NULL) {
            slot->value = value;
            return 0;
        }
    }
    if (t->count >= t->cap / 4 * 3) {
        int err = table_grow(t);
        if (err != 0)
            return err;
    }
    t->slots[table_find(t, key)] = (struct table_slot){ key, value };
    t->count++;
    return 0;
}

void *
table_get(const struct table *t, uint64_t key)
{
    return t->cap > 0 ? t->slots[table_find(t, key)].value : NULL;
}

void *
table_take(struct table *t, uint64_t key)
{
    if (t->cap == 0)
        return NULL;
    size_t mask = t->cap - 1, hole = table_find(t, key);
    void *value = t->slots[hole].value;
    if (value == NULL)
        return NULL;
    for (size_t i = (hole + 1) & mask; t->slots[i].value != NULL; i = (i + 1) & mask) {
        size_t home = hash_u64(t->slots[i].key) & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {     /* its home is at or before the hole: it may move there */
            t->slots[hole] = t->slots[i];
            hole = i;
        }
    }
    t->slots[hole].value = NULL;
    t->count--;
    return value;
}

size_t
table_count(const struct table *t)
{
    return t->count;
}

void *
table_next(const struct table *t, size_t *cursor, uint64_t *key)
{
    while (*cursor < t->cap) {
        const struct table_slot *slot = &t->slots[(*cursor)++];
        if (slot->value != NULL) {
            if (key != NULL)
                *key = slot->key;
            return slot->value;
        }
    }
    return NULL;
}

/* ---- from byte strings */

int
strtable_new(struct strtable **out)
{
    int err = make_secret();
    if (err != 0)
        return err;
    struct strtable *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NX_ENOMEM;
    *out = t;
    return 0;
}

void
strtable_free(struct strtable **t)
{
    if (*t == NULL)
        return;
    for (size_t i = 0; i < (*t)->cap; i++)
        if ((*t)->slots[i].value != NULL)
            free((*t)->slots[i].key);
    free((*t)->slots);
    free(*t);
    *t = NULL;
}

static size_t
strtable_find(const struct strtable *t, uint64_t hash, const void *key, size_t len)
{
    size_t i = hash & (t->cap - 1);
    for (; t->slots[i].value != NULL; i = (i + 1) & (t->cap - 1)) {
        const struct strtable_slot *slot = &t->slots[i];
        if (slot->hash == hash && slot->key->len == len && (len == 0 || memcmp(slot->key->bytes, key, len) == 0))
            break;
    }
    return i;
}

static int
strtable_grow(struct strtable *t)
{
    if (t->cap > SIZE_MAX / 2 / sizeof(struct strtable_slot))
        return NX_ENOMEM;
    size_t cap = t->cap != 0 ? t->cap * 2 : TABLE_FIRST;
    struct strtable_slot *slots = calloc(cap, sizeof(struct strtable_slot));
    if (slots == NULL)
        return NX_ENOMEM;
    for (size_t i = 0; i < t->cap; i++) {
        if (t->slots[i].value == NULL)
            continue;
        size_t j = t->slots[i].hash & (cap - 1);
        while (slots[j].value != NULL)
            j = (j + 1) & (cap - 1);
        slots[j] = t->slots[i];
    }
    free(t->slots);
    t->slots = slots;
    t->cap = cap;
    return 0;
}

int
strtable_put(struct strtable *t, const void *key, size_t len, void *value)
{
    nx_assert(value != NULL);
    uint64_t hash = table_hash(secret.a, key, len);
    if (t->cap > 0) {
        struct strtable_slot *slot = &t->slots[strtable_find(t, hash, key, len)];
        if (slot->value != NULL) {
            slot->value = value;
            return 0;
        }
    }
    if (t->count >= t->cap / 4 * 3) {
        int err = strtable_grow(t);
        if (err != 0)
            return err;
    }
    if (len > SIZE_MAX - sizeof(struct strtable_key))
        return NX_ENOMEM;
    struct strtable_key *copy = malloc(sizeof *copy + len);
    if (copy == NULL)
        return NX_ENOMEM;
    copy->len = len;
    if (len > 0)
        memcpy(copy->bytes, key, len);
    t->slots[strtable_find(t, hash, key, len)] = (struct strtable_slot){ hash, copy, value };
    t->count++;
    return 0;
}

void *
strtable_get(const struct strtable *t, const void *key, size_t len)
{
    if (t->cap == 0)
        return NULL;
    return t->slots[strtable_find(t, table_hash(secret.a, key, len), key, len)].value;
}

void *
strtable_take(struct strtable *t, const void *key, size_t len)
{
    if (t->cap == 0)
        return NULL;
    size_t mask = t->cap - 1, hole = strtable_find(t, table_hash(secret.a, key, len), key, len);
    void *value = t->slots[hole].value;
    if (value == NULL)
        return NULL;
    free(t->slots[hole].key);
    for (size_t i = (hole + 1) & mask; t->slots[i].value != NULL; i = (i + 1) & mask) {
        size_t home = t->slots[i].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            t->slots[hole] = t->slots[i];
            hole = i;
        }
    }
    t->slots[hole] = (struct strtable_slot){ 0 };
    t->count--;
    return value;
}

size_t
strtable_count(const struct strtable *t)
{
    return t->count;
}

void *
strtable_next(const struct strtable *t, size_t *cursor, const void **key, size_t *len)
{
    while (*cursor < t->cap) {
        const struct strtable_slot *slot = &t->slots[(*cursor)++];
        if (slot->value == NULL)
            continue;
        if (key != NULL)
            *key = slot->key->bytes;
        if (len != NULL)
            *len = slot->key->len;
        return slot->value;
    }
    return NULL;
}
