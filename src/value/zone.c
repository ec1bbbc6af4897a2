/*
 * zone.c - memory for decoded objects, given back all at once.
 *
 * Lives here: blocks, from whose last one memory is cut from the front.
 * Never here: what is put into it.
 * Runs in: every process that decodes.
 *
 * Invariant: `last` is the newest block, and at <= end lie in it. A zone that is used for one message after another settles on one
 * block and allocates no more.
 */
#include "value/value.h"

#include <stdlib.h>

#include "noex/errors.h"

enum { ZONE_ALIGN = 16, ZONE_FIRST = 4096 };
static const size_t zone_keep = 64 * 1024;            /* a block up to this size survives a clear */

struct zone_block {
    struct zone_block *before;
    size_t size;                                      /* of bytes */
    _Alignas(ZONE_ALIGN) uint8_t bytes[];
};

struct value_zone { struct zone_block *last; uint8_t *at, *end; };

int
value_zone_new(struct value_zone **out)
{
    struct value_zone *z = calloc(1, sizeof *z);
    if (z == NULL)
        return NX_ENOMEM;
    *out = z;
    return 0;
}

void
value_zone_free(struct value_zone **z)
{
    if (*z == NULL)
        return;
    for (struct zone_block *b = (*z)->last, *before; b != NULL; b = before) {
        before = b->before;
        free(b);
    }
    free(*z);
    *z = NULL;
}

void
value_zone_clear(struct value_zone *z)
{
    struct zone_block *kept = NULL;
    for (struct zone_block *b = z->last, *before; b != NULL; b = before) {
        before = b->before;
        if (kept == NULL && b->size <= zone_keep)     /* the newest is the largest of those worth keeping */
            kept = b;
        else
            free(b);
    }
    if (kept != NULL)
        kept->before = NULL;
    z->last = kept;
    z->at = kept != NULL ? kept->bytes : NULL;
    z->end = kept != NULL ? kept->bytes + kept->size : NULL;
}

static void *
alloc_in_new_block(struct value_zone *z, size_t size)
{
    size_t grown = z->last != NULL ? z->last->size : ZONE_FIRST / 2;
    grown = grown < zone_keep / 2 ? grown * 2 : zone_keep;
    if (grown < size)
        grown = size;
    if (grown > SIZE_MAX - sizeof(struct zone_block))
        return NULL;
    struct zone_block *b = malloc(sizeof *b + grown);
    if (b == NULL)
        return NULL;
    b->before = z->last;
    b->size = grown;
    z->last = b;
    z->at = b->bytes + size;
    z->end = b->bytes + grown;
    return b->bytes;
}

void *
value_zone_alloc(struct value_zone *z, size_t size)
{
    if (size > SIZE_MAX - (ZONE_ALIGN - 1))
        return NULL;
    size = (size + ZONE_ALIGN - 1) & ~(size_t)(ZONE_ALIGN - 1);
    if (size > (size_t)(z->end - z->at))
        return alloc_in_new_block(z, size);
    void *out = z->at;
    z->at += size;
    return out;
}
