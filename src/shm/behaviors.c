/*
 * behaviors.c - the behavior table: what this node can run.
 *
 * Lives here: the body of an entry.
 * Never here: module files and code (module/); which of two versions may be used.
 * Runs in: every process; the link worker writes, the master before the fork.
 */
#include "shm/behaviors.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "shm/catalog.h"
#include "shm/shm_priv.h"

struct behaviors { struct catalog catalog; };

/* A body as it lies in shared memory. Bytes that a fault has changed must not become a bool that is neither or a text
 * without end, so what leaves this file is built anew. */
struct behaviors_body {
    uint32_t version, generation, is_present;
    uint8_t hash[32];
    char file[sizeof ((struct behaviors_entry *)0)->file];
    uint8_t unused[20];
};
enum { BEHAVIORS_WORDS = sizeof(struct behaviors_body) / sizeof(uint64_t), BEHAVIORS_KEY_BYTES = 192 };
_Static_assert(sizeof(struct behaviors_body) == 320, "a body is whole cache lines");
_Static_assert(sizeof ((struct behaviors_entry *)0)->name <= BEHAVIORS_KEY_BYTES, "the key is the name");

size_t
behaviors_size(uint32_t capacity)
{
    return catalog_size(capacity, BEHAVIORS_KEY_BYTES, BEHAVIORS_WORDS);
}

int
behaviors_new(void *at, uint32_t capacity, uint64_t hash_key, struct behaviors **out)
{
    struct behaviors *b = malloc(sizeof *b);
    if (b == NULL)
        return NX_ENOMEM;
    catalog_open(&b->catalog, at, capacity, BEHAVIORS_KEY_BYTES, BEHAVIORS_WORDS, hash_key);
    *out = b;
    return 0;
}

void
behaviors_free(struct behaviors **b)
{
    free(*b);
    *b = NULL;
}

uint32_t
behaviors_count(const struct behaviors *b)
{
    return catalog_count(&b->catalog);
}

int
behaviors_get(const struct behaviors *b, uint32_t index, struct behaviors_entry *out)
{
    const char *name = catalog_borrow_key(&b->catalog, index);
    if (name == NULL)
        return NX_EINVAL;
    uint64_t words[BEHAVIORS_WORDS];
    int err = catalog_read(&b->catalog, index, words);
    if (err != 0)
        return err;
    struct behaviors_body body;
    memcpy(&body, words, sizeof body);
    memcpy(out->name, name, sizeof out->name);
    memcpy(out->file, body.file, sizeof out->file);
    memcpy(out->hash, body.hash, sizeof out->hash);
    out->name[sizeof out->name - 1] = out->file[sizeof out->file - 1] = '\0';
    out->version = body.version;
    out->generation = body.generation;
    out->is_present = body.is_present != 0;
    return 0;
}

int
behaviors_find(const struct behaviors *b, const char *name, size_t len, uint32_t *index)
{
    uint32_t found;
    struct behaviors_entry e;
    if (catalog_find(&b->catalog, name, len, &found) != 0)
        return NX_ENOBEHAVIOR;
    if (behaviors_get(b, found, &e) == 0 && !e.is_present)
        return NX_ENOBEHAVIOR;
    *index = found;
    return 0;
}

int
behaviors_put(struct behaviors *b, const struct behaviors_entry *e, uint32_t *index)
{
    size_t name_len = strnlen(e->name, sizeof e->name);
    size_t file_len = strnlen(e->file, sizeof e->file);
    if (name_len == 0 || name_len == sizeof e->name || file_len == sizeof e->file)
        return NX_EINVAL;
    struct behaviors_body body = { .version = e->version, .generation = e->generation, .is_present = e->is_present };
    memcpy(body.file, e->file, file_len);
    memcpy(body.hash, e->hash, sizeof body.hash);
    uint64_t words[BEHAVIORS_WORDS];
    memcpy(words, &body, sizeof words);

    char key[BEHAVIORS_KEY_BYTES] = { 0 };
    memcpy(key, e->name, name_len);
    if (catalog_find(&b->catalog, key, name_len, index) != 0)
        return catalog_add(&b->catalog, key, sizeof key, words, index);
    catalog_write(&b->catalog, *index, words);
    return 0;
}
