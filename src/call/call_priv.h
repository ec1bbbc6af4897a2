/*
 * call_priv.h - the call room from inside: the order of deadlines.
 */
#ifndef NOEXD_CALL_CALL_PRIV_H
#define NOEXD_CALL_CALL_PRIV_H

#include <stdint.h>

#include "base/heap.h"
#include "base/list.h"

/* In a run, on the heap, or in neither. */
struct deadline { struct heap_node node; struct list link; };

enum { DEADLINE_RUNS = 8 };
struct deadline_run { struct list items; uint64_t last_ns; };      /* ascending; last_ns is at or after the last of them */
struct deadlines { struct deadline_run runs[DEADLINE_RUNS]; struct heap others; };

void deadlines_init(struct deadlines *all);
void deadlines_fini(struct deadlines *all);                        /* the items belong to the caller */
void deadline_init(struct deadline *d);
int  deadlines_put(struct deadlines *all, struct deadline *d, uint64_t at_ns);        /* NX_ENOMEM */
void deadlines_remove(struct deadlines *all, struct deadline *d);                     /* fine if it is in none */
struct deadline *deadlines_first(const struct deadlines *all);                        /* the earliest; NULL if there is none */
static inline uint64_t deadline_ns(const struct deadline *d) { return d->node.key; }

#endif
