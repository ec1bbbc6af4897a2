/*
 * heap.h - an intrusive binary min-heap over 64-bit keys (deadlines). The node knows its place, so removal is O(log n).
 */
#ifndef NOEXD_BASE_HEAP_H
#define NOEXD_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node { uint64_t key; size_t place; };              /* place 0 = in no heap, else index + 1 */
struct heap { struct heap_node **items; size_t count, cap; };

void heap_init(struct heap *h);
void heap_fini(struct heap *h);                                /* the nodes belong to the caller */
void heap_node_init(struct heap_node *n);
int  heap_push(struct heap *h, struct heap_node *n, uint64_t key);   /* NX_ENOMEM; asserts that n is in no heap */
void heap_remove(struct heap *h, struct heap_node *n);         /* fine if n is in no heap */
struct heap_node *heap_peek(const struct heap *h);             /* smallest key, NULL if empty; borrowed */
struct heap_node *heap_pop(struct heap *h);
static inline bool heap_has(const struct heap_node *n) { return n->place != 0; }

#endif
