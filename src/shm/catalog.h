/*
 * catalog.h - a table in shared memory that only grows: text keys that never change, each with a latched body. Private to
 * this room.
 *
 * The node table and the behavior table are catalogs. An index, once given to a key, stays with it, so any process may keep
 * it.
 */
#ifndef NOEXD_SHM_CATALOG_H
#define NOEXD_SHM_CATALOG_H

#include "shm/latch.h"

enum { CATALOG_TEXT_MAX = 255 };

struct catalog_header;

/* The handle, private to the process. */
struct catalog {
    struct catalog_header *header;
    latch_word *index;                     /* 32 bits of the hash, then the entry's number + 1; 0 = free */
    uint8_t *entries;
    uint64_t hash_key;
    uint32_t capacity, index_mask;
    uint32_t key_bytes, body_words;        /* of each entry; multiples of 64 bytes and of 8 words, like all that follows */
    size_t stride;
};

size_t catalog_size(uint32_t capacity, uint32_t key_bytes, uint32_t body_words);
void   catalog_open(struct catalog *c, void *at, uint32_t capacity, uint32_t key_bytes, uint32_t body_words, uint64_t hash_key);

uint32_t catalog_count(const struct catalog *c);
int  catalog_find(const struct catalog *c, const char *text, size_t len, uint32_t *index);      /* NX_ENONAME */
/* The key of an entry that is in use; it never changes. NULL without one. Its text is NUL-terminated. */
const void *catalog_borrow_key(const struct catalog *c, uint32_t index);
const struct latch *catalog_latch(const struct catalog *c, uint32_t index, const latch_word **bodies);      /* index < count */
int  catalog_read(const struct catalog *c, uint32_t index, uint64_t *body);                     /* NX_ENONAME, NX_EBUSY */

/* The writer. `key`: key_bytes at most, begins with the NUL-terminated text that is searched; not in the catalog yet. NX_EFULL. */
int  catalog_add(struct catalog *c, const void *key, size_t key_len, const uint64_t *body, uint32_t *index);
void catalog_write(struct catalog *c, uint32_t index, const uint64_t *body);                    /* index < count */

#endif
