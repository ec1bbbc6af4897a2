/*
 * table.h - a hash table from 64-bit keys to pointers (open addressing, backward-shift delete), and one from byte strings.
 *
 * The string table copies its keys. Hashes are keyed per process, so that a stranger cannot choose colliding names.
 * NULL is not a value.
 */
#ifndef NOEXD_BASE_TABLE_H
#define NOEXD_BASE_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct table;
int   table_new(struct table **out);
void  table_free(struct table **t);                                /* values belong to the caller */
int   table_put(struct table *t, uint64_t key, void *value);       /* replaces; NX_ENOMEM */
void *table_get(const struct table *t, uint64_t key);              /* NULL if absent */
void *table_take(struct table *t, uint64_t key);                   /* removes; the value, NULL if absent */
size_t table_count(const struct table *t);
/* Walk: start with *cursor = 0; returns the next value or NULL. The table must not change during a walk. */
void *table_next(const struct table *t, size_t *cursor, uint64_t *key);

struct strtable;
int   strtable_new(struct strtable **out);
void  strtable_free(struct strtable **t);
int   strtable_put(struct strtable *t, const void *key, size_t len, void *value);
void *strtable_get(const struct strtable *t, const void *key, size_t len);
void *strtable_take(struct strtable *t, const void *key, size_t len);
size_t strtable_count(const struct strtable *t);
void *strtable_next(const struct strtable *t, size_t *cursor, const void **key, size_t *len);

/* The hash that both use and that shared memory uses with a key of its own: 64 bits, keyed. */
uint64_t table_hash(uint64_t key, const void *bytes, size_t len);

#endif
