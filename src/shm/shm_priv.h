/*
 * shm_priv.h - what the pieces tell segment.c: how much memory they want, and the handle over it. Does not leave the room.
 *
 * A handle lives in the heap of each process (a child inherits it), so that no process takes the size of a table or the place
 * of a body from memory that another one can write.
 */
#ifndef NOEXD_SHM_SHM_PRIV_H
#define NOEXD_SHM_SHM_PRIV_H

#include <stddef.h>
#include <stdint.h>

struct behaviors;
struct board;
struct nodes;
struct registry;

/* Of the board there is one size, and the memory itself is the handle. */
size_t board_size(void);

/* `at`: zeroed, page-aligned, X_size() bytes. NX_ENOMEM. */
size_t nodes_size(uint32_t capacity);
int    nodes_new(void *at, uint32_t capacity, uint64_t hash_key, struct nodes **out);
void   nodes_free(struct nodes **n);

size_t behaviors_size(uint32_t capacity);
int    behaviors_new(void *at, uint32_t capacity, uint64_t hash_key, struct behaviors **out);
void   behaviors_free(struct behaviors **b);

size_t registry_size(uint32_t capacity);
int    registry_new(void *at, uint32_t capacity, uint64_t hash_key, struct registry **out);
void   registry_free(struct registry **r);

#endif
