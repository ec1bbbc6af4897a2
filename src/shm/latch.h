/*
 * latch.h - the one way in which a record in shared memory changes: two bodies, a version, one store.
 *
 * Lives here: reading and writing 64-bit words behind a version. Readers use body `version & 1`; the only writer fills the
 * other one and stores version + 1. Killed at any instruction, the writer leaves the old body or the new one, never a
 * mixture, and no lock.
 * Never here: what a body means. Private to this room.
 * Runs in: every process.
 *
 * Ordering: a reader must never accept a body that a later write has begun to overwrite. Body words are stored with release
 * and loaded with acquire, so whoever sees one word of write n + 2 also sees the version n + 1 that came before it, and tries
 * again. Relaxed words with a full fence behind each commit would give the same; this form costs nothing on x86-64 (plain
 * moves, no fence), and ThreadSanitizer, which does not know fences, can follow it.
 */
#ifndef NOEXD_SHM_LATCH_H
#define NOEXD_SHM_LATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef _Atomic uint64_t latch_word;

/* A reader that meets a commit tries again, this often in all: a dead or a mad writer cannot hold it. */
enum { LATCH_TRIES = 3, LATCH_LINE_WORDS = 8 };

/* The control line of a record: a cache line of its own, so that bodies begin on one. */
struct latch { latch_word version; latch_word unused[LATCH_LINE_WORDS - 1]; };
_Static_assert(sizeof(struct latch) == 64, "a control line is a cache line");

static inline uint64_t
latch_begin(const struct latch *l)
{
    return atomic_load_explicit(&l->version, memory_order_acquire);
}

/* May what was read since latch_begin() be believed? */
static inline bool
latch_is_same(const struct latch *l, uint64_t seen)
{
    return atomic_load_explicit(&l->version, memory_order_relaxed) == seen;      /* behind the acquire loads of the words */
}

static inline uint64_t
latch_load(const latch_word *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

static inline void
latch_store(latch_word *word, uint64_t value)
{
    atomic_store_explicit(word, value, memory_order_release);
}

static inline void
latch_commit(struct latch *l, uint64_t version)
{
    atomic_store_explicit(&l->version, version, memory_order_release);
}

/* The body that readers of `version` use; the two bodies lie one behind the other. */
static inline size_t
latch_body(uint64_t version, size_t body_words)
{
    return (version & 1) != 0 ? body_words : 0;
}

/* The current body, whole. 0, or NX_EBUSY when a commit fell into each of the tries. */
static inline int
latch_read(const struct latch *l, const latch_word *bodies, size_t body_words, uint64_t *out)
{
    for (int try = 0; try < LATCH_TRIES; try++) {
        uint64_t seen = latch_begin(l);
        const latch_word *body = bodies + latch_body(seen, body_words);
        for (size_t i = 0; i < body_words; i++)
            out[i] = latch_load(&body[i]);
        if (latch_is_same(l, seen))
            return 0;
    }
    return NX_EBUSY;
}

/* The only writer: a new body, visible at once and whole. */
static inline void
latch_write(struct latch *l, latch_word *bodies, size_t body_words, const uint64_t *in)
{
    uint64_t next = atomic_load_explicit(&l->version, memory_order_relaxed) + 1;
    latch_word *body = bodies + latch_body(next, body_words);
    for (size_t i = 0; i < body_words; i++)
        latch_store(&body[i], in[i]);
    latch_commit(l, next);
}

#endif
