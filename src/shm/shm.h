/*
 * shm.h - the shared memory of a node: made by the master before the first fork, one writer for each piece, read-only for all
 * others.
 *
 * Lives here: segments and their sealing (segment.c), the registry (registry.h reads, registry_writer.h writes,
 * registry_check() verifies), the behavior table (behaviors.h), the node table (nodes.h), the board of processes (board.h),
 * statistics and crash notes (stats.h).
 * Never here: pipes, network, who asks.
 * Runs in: every process of a node; the writer of each piece is named in its header.
 *
 * Every piece is a memfd of its own, fallocated whole before use (never SIGBUS), sealed with F_SEAL_FUTURE_WRITE | SHRINK |
 * GROW | SEAL once the master's own writable mapping exists. A child inherits that mapping; shm_enter keeps it writable for
 * the piece's writer and replaces it, at the same address, by a read-only mapping of the descriptor for everybody else: then
 * mprotect gives EACCES and a new writable mapping EPERM.
 */
#ifndef NOEXD_SHM_SHM_H
#define NOEXD_SHM_SHM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "wire/envelope.h"

struct shm;
struct registry;
struct behaviors;
struct nodes;
struct board;
struct stats;

enum {
    SHM_WORKERS_MAX = SLOT_WORKERS_MAX, SHM_REGISTRY_MIN = 64, SHM_REGISTRY_MAX = 1 << 20, SHM_NODES_MIN = 2, SHM_NODES_MAX = 4096,
    SHM_BEHAVIORS_MAX = 1024,
};

struct shm_config {
    uint32_t workers;                 /* 1-64 */
    uint32_t registry_capacity;       /* names, 64 to 1 048 576 */
    uint32_t nodes_max;               /* entries of the node table, 2-4096 */
    uint32_t behaviors_max;           /* 1-1024 */
};

enum shm_role { SHM_MASTER, SHM_LINK, SHM_WORKER, SHM_GATE };

/* Master, before the first fork. NX_EINVAL; NX_ENOMEM / NX_ESYS with the piece and its size in the text. The memory is
 * asked for in a child of its own, so that a limit too small ends that child and not the caller; the caller sees one
 * SIGCHLD of it at most. */
int  shm_create(const struct shm_config *config, struct shm **out, struct base_error *why);

/* A child, once, right after the fork: keep write access to what this process writes, give up the rest, close the
 * descriptors. `slot`: the worker's slot, SLOT_LINK or SLOT_GATE; NX_EINVAL if it does not fit the role. What a child
 * keeps writable, its own children do not inherit (MADV_DONTFORK): a module may fork. After a failure the process must
 * end. Without this call (unit tests, the simulator) everything stays writable. */
int  shm_enter(struct shm *shm, enum shm_role role, uint16_t slot, struct base_error *why);

void shm_destroy(struct shm **shm);

struct registry  *shm_registry(struct shm *shm);
struct behaviors *shm_behaviors(struct shm *shm);
struct nodes     *shm_nodes(struct shm *shm);
struct board     *shm_board(struct shm *shm);
struct stats     *shm_stats(struct shm *shm, uint16_t slot);   /* worker slot, SLOT_LINK, SLOT_GATE; NULL if no such slot */
uint32_t shm_workers(const struct shm *shm);

/* For the test that proves the sealing: address and length of each piece, by index; false at the end. */
struct shm_piece {
    const char *name; void *at; size_t len; enum shm_role writer; uint16_t writer_slot;
    int fd;                           /* -1 after shm_enter */
};
bool shm_piece_at(const struct shm *shm, unsigned index, struct shm_piece *out);

#endif
