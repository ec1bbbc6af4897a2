/*
 * registry.h - local and global names, for readers: any process, no message, no lock.
 *
 * Two bodies per slot; a commit is one release store of the version; a reader that meets a commit tries again, three times at
 * most. The layout and why: design of latch slots, one writer. The writer's half is registry_writer.h.
 */
#ifndef NOEXD_SHM_REGISTRY_H
#define NOEXD_SHM_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "shm/board.h"
#include "shm/nodes.h"

struct registry;

enum registry_scope { REGISTRY_LOCAL = 1, REGISTRY_GLOBAL = 2 };       /* = NX_LOCAL, NX_GLOBAL */

struct registry_entry {
    char name[256];                    /* NUL-terminated */
    uint16_t name_len;
    uint8_t scope;
    uint16_t slot;                     /* of the server's worker */
    uint32_t node;                     /* index in the node table; 0 = this node */
    uint32_t generation;               /* of the worker */
    uint64_t incarnation;              /* of the node */
    uint64_t serial;
    uint64_t registered_at_ms;
    uint64_t sequence;                 /* of its origin */
    int32_t priority;
};

/* Find a live entry. The worker's generation (own entries) or the node's incarnation and state (foreign ones) decide
 * whether it lives; a dead one is not found. Returns 0, NX_ENONAME, NX_EBUSY (torn three times, or the registry
 * overflowed: ask the owner), NX_EINVAL. */
int registry_find(const struct registry *r, const struct board *b, const struct nodes *n, enum registry_scope scope,
                  const char *name, size_t len, struct registry_entry *out);

/* Walk all live entries; *cursor starts at 0. Returns 1 with *out, or 0 at the end. A walk during changes may miss or
 * repeat what changes meanwhile; registry_version() before and after tells whether it was a snapshot. */
int registry_next(const struct registry *r, const struct board *b, const struct nodes *n, uint64_t *cursor, struct registry_entry *out);

uint64_t registry_version(const struct registry *r);       /* +1 at each commit */
size_t registry_count(const struct registry *r, enum registry_scope scope);      /* committed entries, dead ones included until swept */
size_t registry_capacity(const struct registry *r);

#endif
