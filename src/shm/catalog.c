/*
 * catalog.c - a table in shared memory that only grows.
 *
 * Lives here: keys, their index, the order of stores that publishes an entry.
 * Never here: what a key or a body means; removal: there is none.
 * Runs in: every process; one process writes.
 *
 * Layout: header, index (a power of two, at most half full), entries of: control line, key, two bodies.
 */
#include "shm/catalog.h"

#include <string.h>

#include "base/base.h"
#include "base/table.h"

struct catalog_header { _Atomic uint32_t count; uint32_t unused[15]; };
_Static_assert(sizeof(struct catalog_header) == 64, "the index begins a cache line");

static uint32_t
catalog_index_words(uint32_t capacity)
{
    uint32_t words = 8;
    while (words < 2 * capacity)
        words *= 2;
    return words;
}

static size_t
catalog_stride(uint32_t key_bytes, uint32_t body_words)
{
    return sizeof(struct latch) + key_bytes + 2 * (size_t)body_words * sizeof(uint64_t);
}

size_t
catalog_size(uint32_t capacity, uint32_t key_bytes, uint32_t body_words)
{
    return sizeof(struct catalog_header) + catalog_index_words(capacity) * sizeof(uint64_t)
        + capacity * catalog_stride(key_bytes, body_words);
}

void
catalog_open(struct catalog *c, void *at, uint32_t capacity, uint32_t key_bytes, uint32_t body_words, uint64_t hash_key)
{
    nx_assert(capacity > 0 && capacity <= UINT32_MAX / 4);
    nx_assert(key_bytes % 64 == 0 && key_bytes > CATALOG_TEXT_MAX / 2 && body_words % LATCH_LINE_WORDS == 0 && body_words > 0);
    uint32_t words = catalog_index_words(capacity);
    c->header = at;
    c->index = (latch_word *)(void *)((uint8_t *)at + sizeof(struct catalog_header));
    c->entries = (uint8_t *)(c->index + words);
    c->hash_key = hash_key;
    c->capacity = capacity;
    c->index_mask = words - 1;
    c->key_bytes = key_bytes;
    c->body_words = body_words;
    c->stride = catalog_stride(key_bytes, body_words);
}

uint32_t
catalog_count(const struct catalog *c)
{
    uint32_t count = atomic_load_explicit(&c->header->count, memory_order_acquire);
    return count <= c->capacity ? count : c->capacity;
}

static uint8_t *
catalog_entry(const struct catalog *c, uint32_t index)
{
    return c->entries + index * c->stride;
}

static char *
catalog_key(const struct catalog *c, uint32_t index)
{
    return (char *)catalog_entry(c, index) + sizeof(struct latch);
}

static latch_word *
catalog_bodies(const struct catalog *c, uint32_t index)
{
    return (latch_word *)(void *)(catalog_entry(c, index) + sizeof(struct latch) + c->key_bytes);
}

static bool
catalog_key_is(const struct catalog *c, uint32_t index, const char *text, size_t len)
{
    const char *key = catalog_key(c, index);
    return memcmp(key, text, len) == 0 && key[len] == '\0';
}

int
catalog_find(const struct catalog *c, const char *text, size_t len, uint32_t *index)
{
    if (len == 0 || len >= c->key_bytes || memchr(text, '\0', len) != NULL)
        return NX_ENONAME;
    uint64_t hash = table_hash(c->hash_key, text, len);
    uint32_t count = catalog_count(c);
    for (uint32_t at = (uint32_t)hash, steps = 0; steps <= c->index_mask; at++, steps++) {
        uint64_t word = latch_load(&c->index[at & c->index_mask]);
        if (word == 0)
            return NX_ENONAME;
        uint32_t entry = (uint32_t)word - 1;
        if (word >> 32 == hash >> 32 && entry < count && catalog_key_is(c, entry, text, len)) {
            *index = entry;
            return 0;
        }
    }
    return NX_ENONAME;
}

const void *
catalog_borrow_key(const struct catalog *c, uint32_t index)
{
    return index < catalog_count(c) ? catalog_key(c, index) : NULL;
}

const struct latch *
catalog_latch(const struct catalog *c, uint32_t index, const latch_word **bodies)
{
    *bodies = catalog_bodies(c, index);
    return (const struct latch *)(const void *)catalog_entry(c, index);
}

int
catalog_read(const struct catalog *c, uint32_t index, uint64_t *body)
{
    if (index >= catalog_count(c))
        return NX_ENONAME;
    const latch_word *bodies;
    const struct latch *latch = catalog_latch(c, index, &bodies);
    return latch_read(latch, bodies, c->body_words, body);
}

int
catalog_add(struct catalog *c, const void *key, size_t key_len, const uint64_t *body, uint32_t *index)
{
    const char *text = key;
    size_t len = strnlen(text, key_len);
    nx_assert(len > 0 && len < key_len && key_len <= c->key_bytes);
    uint32_t entry = catalog_count(c);
    if (entry == c->capacity)
        return NX_EFULL;

    /* A word for an entry at or beyond the count was left by a writer that was killed below: nobody's, so its place is
     * taken. One that stays elsewhere does no harm: it leads to a key that is not the one looked for. */
    uint64_t hash = table_hash(c->hash_key, text, len);
    uint32_t at = (uint32_t)hash & c->index_mask;
    for (uint32_t steps = 0;; at = (at + 1) & c->index_mask, steps++) {
        if (steps > c->index_mask)
            return NX_EFULL;
        uint64_t word = latch_load(&c->index[at]);
        if (word == 0 || (uint32_t)word > entry)
            break;
    }

    /* Key and body, then the index word, then the count: readers do not look at an entry that is not counted, so all that
     * happens before the last store can be left undone; and a counted entry is always found, so no key is ever added
     * twice. */
    memset(catalog_key(c, entry), 0, c->key_bytes);
    memcpy(catalog_key(c, entry), key, key_len);
    latch_write((struct latch *)(void *)catalog_entry(c, entry), catalog_bodies(c, entry), c->body_words, body);
    latch_store(&c->index[at], (hash >> 32) << 32 | (entry + 1));
    atomic_store_explicit(&c->header->count, entry + 1, memory_order_release);
    *index = entry;
    return 0;
}

void
catalog_write(struct catalog *c, uint32_t index, const uint64_t *body)
{
    nx_assert(index < catalog_count(c));
    latch_write((struct latch *)(void *)catalog_entry(c, index), catalog_bodies(c, index), c->body_words, body);
}
