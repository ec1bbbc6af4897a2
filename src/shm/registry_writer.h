/*
 * registry_writer.h - the registry for its only writer. Runs in: the link worker (cluster/registrar.c and no one else).
 *
 * Every intermediate state of every operation is a legal state for readers and for a successor: the writer may be killed at
 * any instruction.
 */
#ifndef NOEXD_SHM_REGISTRY_WRITER_H
#define NOEXD_SHM_REGISTRY_WRITER_H

#include "shm/registry.h"

struct registry_writer;

/* Take the writer's role, at start or after the death of a predecessor: checks the header, rebuilds the free list by one
 * scan, frees live but unindexed slots, sweeps dangling index words, drops bodies with a bad checksum (counted, logged by
 * the caller). After a predecessor sequence and timestamp begin one higher. NX_ENOMEM. `found` may be NULL. */
struct registry_recovery { uint32_t live, freed, swept, bad; };
int  registry_writer_open(struct registry *r, struct registry_writer **out, struct registry_recovery *found, struct base_error *why);
void registry_writer_close(struct registry_writer **w);

/* Insert or replace the entry of (scope, name). NX_EINVAL; NX_EFULL: it does not fit, and all is as before. A damaged
 * entry that put or delete meets (a fault of the machine) makes it repair the whole registry as registry_writer_open does,
 * with an error in the log. */
int  registry_put(struct registry_writer *w, const struct registry_entry *e);
int  registry_delete(struct registry_writer *w, enum registry_scope scope, const char *name, size_t len);       /* NX_ENONAME */
/* As registry_find, but dead entries are found too: the writer sweeps them. NX_ENONAME. */
int  registry_writer_find(const struct registry_writer *w, enum registry_scope scope, const char *name, size_t len,
                          struct registry_entry *out);
/* All entries, dead ones too; the current one may be deleted or replaced during the walk. */
int  registry_writer_next(const struct registry_writer *w, uint64_t *cursor, struct registry_entry *out);
size_t registry_writer_count(const struct registry_writer *w, enum registry_scope scope, uint32_t node);        /* of one node */

/* Tell readers that there are names which did not fit: looking for an unknown name is NX_EBUSY from now on, "ask the owner".
 * registry_writer_open clears it: the names that did not fit died with the predecessor's heap. */
void registry_writer_set_overflow(struct registry_writer *w, bool has_more);

/* The origin sequence and the last timestamp live in the header, so that they survive the writer: advanced before the body
 * is written. */
uint64_t registry_next_sequence(struct registry_writer *w);
uint64_t registry_sequence(const struct registry_writer *w);
uint64_t registry_next_timestamp(struct registry_writer *w, uint64_t wall_ms);      /* max(last + 1, wall) */

/* All invariants of the area, for tests and a debug command; the caller need not be the writer. 0; NX_EBADMSG with the
 * first broken one in the text (what a killed writer leaves is one too, until the next has swept it); NX_EBUSY: changed
 * meanwhile; NX_ENOMEM. */
int registry_check(const struct registry *r, struct base_error *why);

#endif
