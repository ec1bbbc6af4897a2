/*
 * registry_writer.h - the registry for its only writer. Runs in: the link worker (cluster/registrar.c and no one else).
 *
 * Every intermediate state of every operation is a legal state for readers and for a successor: the writer may be killed at any instruction.
 */
#ifndef NOEXD_SHM_REGISTRY_WRITER_H
#define NOEXD_SHM_REGISTRY_WRITER_H

#include "shm/registry.h"

struct registry_writer;

/* Take the writer's role, at start or after the death of a predecessor: checks the header, rebuilds the free list by one scan, frees
 * live but unindexed slots, sweeps dangling index words, drops bodies with a bad checksum (counted, logged by the caller). */
struct registry_recovery { uint32_t live, freed, swept, bad; };
int  registry_writer_open(struct registry *r, struct registry_writer **out, struct registry_recovery *found, struct base_error *why);
void registry_writer_close(struct registry_writer **w);

/* Insert or replace the entry of (scope, name). Entries that do not fit: NX_EFULL. */
int  registry_put(struct registry_writer *w, const struct registry_entry *e);
int  registry_delete(struct registry_writer *w, enum registry_scope scope, const char *name, size_t len);       /* NX_ENONAME */
/* As registry_find, but dead entries are found too: the writer sweeps them. */
int  registry_writer_find(const struct registry_writer *w, enum registry_scope scope, const char *name, size_t len, struct registry_entry *out);
/* All entries, dead ones too; the current one may be deleted or replaced during the walk. */
int  registry_writer_next(const struct registry_writer *w, uint64_t *cursor, struct registry_entry *out);
size_t registry_writer_count(const struct registry_writer *w, enum registry_scope scope, uint32_t node);        /* of one node */

/* The origin sequence and the last timestamp live in the header, so that they survive the writer: advanced before the body is written. */
uint64_t registry_next_sequence(struct registry_writer *w);
uint64_t registry_sequence(const struct registry_writer *w);
uint64_t registry_next_timestamp(struct registry_writer *w, uint64_t wall_ms);      /* max(last + 1, wall) */

/* All invariants of the area, for tests and a debug command. 0, or NX_EBADMSG with the first broken one in the text. */
int registry_check(const struct registry *r, struct base_error *why);

#endif
