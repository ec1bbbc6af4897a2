/*
 * origin.c - what hangs on another process or node, so that its end is dealt with by walking only that.
 *
 * Lives here: one list head each for monitors on it, monitors from it, and starts it has asked for, by (node, slot).
 * Never here: what the end of each means.
 * Runs in: workers.
 *
 * Origins are never freed while the worker lives: there are at most as many as nodes and processes.
 */
#include "genserver/genserver_priv.h"

#include <stdlib.h>

static uint64_t
key_of(uint32_t node, uint16_t slot)
{
    return (uint64_t)node << 16 | (node != 0 ? 0 : slot);
}

bool
origin_is_node(const struct origin *o)
{
    return o->key >> 16 != 0;
}

struct origin *
origin_find(struct runtime *rt, uint32_t node, uint16_t slot)
{
    return table_get(rt->origins, key_of(node, slot));
}

struct origin *
origin_get(struct runtime *rt, uint32_t node, uint16_t slot)
{
    struct origin *o = origin_find(rt, node, slot);
    if (o != NULL)
        return o;
    o = calloc(1, sizeof *o);
    if (o == NULL)
        return NULL;
    o->key = key_of(node, slot);
    list_init(&o->watches);
    list_init(&o->watchers);
    list_init(&o->starts);
    if (table_put(rt->origins, o->key, o) != 0) {
        free(o);
        return NULL;
    }
    return o;
}
