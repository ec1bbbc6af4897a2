/*
 * registry_write.c - local and global names, for the one process that writes them.
 *
 * Lives here: insert, update, delete, the change to a fresh index, the counters of the header.
 * Never here: what a newcomer finds after a death (registry_recover.c); who may have a name: cluster/registrar.c decides.
 * Runs in: the link worker.
 *
 * Killed at any instruction, what is in shared memory is a legal registry. So each operation is a row of stores of which the
 * one that readers judge by is a single word, and the order of the others is part of the format. What the heap knows besides
 * (free slots, counts by node) can be computed from shared memory alone.
 */
#include "shm/registry_layout.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"

static latch_word *
writer_area(const struct registry_writer *w)
{
    return w->r->areas[latch_load(&w->r->header->root) & 1];
}

void
registry_touch(struct registry_writer *w)
{
    latch_word *version = &w->r->header->version;
    latch_store(version, latch_load(version) + 1);
}

void
registry_count_entry(struct registry_writer *w, const uint64_t words[static BODY_WORDS], int by)
{
    unsigned scope = body_scope(words[BODY_W_SEAL]);
    uint32_t node = (uint32_t)words[BODY_W_PLACE];
    nx_assert(scope <= REGISTRY_GLOBAL && node < SHM_NODES_MAX);
    w->by_node[scope][node] += (uint32_t)by;
    latch_word *count = &w->r->header->counts[scope];
    latch_store(count, latch_load(count) + (uint64_t)(int64_t)by);
}

/* ---- slots */

void
registry_slot_write(struct registry *r, uint32_t slot, uint64_t words[static BODY_WORDS])
{
    struct registry_slot *s = &r->slots[slot];
    uint64_t next = latch_begin(&s->latch) + 1;
    words[BODY_W_SEAL] = body_seal(words, slot, next);
    latch_word *body = s->bodies[next & 1];
    size_t count = BODY_FIXED + body_name_words(body_name_len(words[BODY_W_SEAL]));
    for (size_t i = 0; i < count; i++)
        latch_store(&body[i], words[i]);
    latch_commit(&s->latch, next);
}

void
registry_slot_kill(struct registry *r, uint32_t slot)
{
    uint64_t dead[BODY_WORDS] = { 0 };
    registry_slot_write(r, slot, dead);
}

/* ---- the index */

/* Where a word for `hash` may be stored: a free place or, better, a tombstone before it. -1 = nowhere within the reach of
 * a reader. */
static int64_t
index_place(const struct registry *r, const latch_word *area, uint64_t hash)
{
    for (uint32_t n = 0; n < REGISTRY_PROBES; n++) {
        uint32_t at = registry_probe(r, hash, n);
        if ((uint32_t)latch_load(&area[at]) == 0)
            return at;
    }
    return -1;
}

/*
 * All words anew, without tombstones, in the area that no reader uses; then one store changes over. A reader that is still in
 * the old area finds there all that it could find before, and asks again if it has found nothing. Killed before that store:
 * nothing has happened.
 */
bool
registry_rebuild(struct registry_writer *w)
{
    struct registry *r = w->r;
    uint64_t root = latch_load(&r->header->root);
    const latch_word *from = r->areas[root & 1];
    latch_word *to = r->areas[(root + 1) & 1];
    for (uint32_t i = 0; i < r->index_words; i++)
        latch_store(&to[i], 0);
    for (uint32_t i = 0; i < r->index_words; i++) {
        uint64_t word = latch_load(&from[i]);
        uint32_t slot = registry_word_slot(word);
        if (slot >= r->capacity)
            continue;
        const struct registry_slot *s = &r->slots[slot];
        uint64_t hash = latch_load(&s->bodies[latch_begin(&s->latch) & 1][BODY_W_HASH]);
        int64_t at = index_place(r, to, hash);
        if (at < 0)
            return false;
        latch_store(&to[at], word);
    }
    latch_store(&r->header->root, root + 1);
    w->tombstones = 0;
    return true;
}

static void
index_set(struct registry_writer *w, uint32_t at, uint64_t word)
{
    latch_word *place = &writer_area(w)[at];
    if (registry_word_is_tombstone(latch_load(place)))
        w->tombstones--;
    latch_store(place, word);
}

static void
index_bury(struct registry_writer *w, uint64_t hash, uint32_t slot)
{
    const struct registry *r = w->r;
    latch_word *area = writer_area(w);
    uint64_t word = registry_word(hash, slot);
    for (uint32_t n = 0; n < REGISTRY_PROBES; n++) {
        uint32_t at = registry_probe(r, hash, n);
        if (latch_load(&area[at]) == word) {
            latch_store(&area[at], REGISTRY_TOMBSTONE);
            w->tombstones++;
            break;
        }
    }
    /* A tombstone makes lookups longer, and only a new index can be without: other names' searches lead over it. */
    if (w->tombstones > r->index_words / 4)
        (void)registry_rebuild(w);
}

/* ---- entries */

/* As registry_seek, and never NX_EBUSY: damage that is met is repaired, which may mean that the name is gone. */
static int
writer_seek(struct registry_writer *w, uint64_t hash, unsigned scope, const char *name, size_t len,
            uint32_t *slot, uint64_t words[static BODY_WORDS])
{
    int err = registry_seek(w->r, hash, scope, name, len, slot, words);
    if (err != NX_EBUSY)
        return err;
    struct registry_recovery found;
    registry_sweep(w, &found);
    log_error("shm: registry was damaged, repaired live=%u freed=%u swept=%u bad=%u", found.live, found.freed, found.swept,
              found.bad);
    err = registry_seek(w->r, hash, scope, name, len, slot, words);
    nx_assert(err != NX_EBUSY);
    return err;
}

static int
writer_insert(struct registry_writer *w, uint64_t hash, uint64_t words[static BODY_WORDS])
{
    struct registry *r = w->r;
    if (w->free_count == 0)
        return NX_EFULL;
    int64_t at = index_place(r, writer_area(w), hash);
    if (at < 0 && w->tombstones > 0 && registry_rebuild(w))
        at = index_place(r, writer_area(w), hash);
    if (at < 0)
        return NX_EFULL;            /* no reader would look farther; the key of the hash is secret, so this is chance: under 2^-60 */

    uint32_t slot = w->free[--w->free_count];
    if (slot >= latch_load(&r->header->high_water))
        latch_store(&r->header->high_water, slot + 1);
    /* The body first, the word second, so that one store makes the name exist. Killed in between it does not exist, its
     * caller was not told of it, and the newcomer frees the slot. */
    registry_slot_write(r, slot, words);
    index_set(w, (uint32_t)at, registry_word(hash, slot));
    registry_count_entry(w, words, 1);
    return 0;
}

int
registry_put(struct registry_writer *w, const struct registry_entry *e)
{
    if ((e->scope != REGISTRY_LOCAL && e->scope != REGISTRY_GLOBAL) || e->name_len == 0 || e->name_len > REGISTRY_NAME_MAX
        || e->node >= SHM_NODES_MAX)
        return NX_EINVAL;
    uint64_t hash = registry_hash(w->r, e->scope, e->name, e->name_len);
    uint64_t words[BODY_WORDS], former[BODY_WORDS];
    uint32_t slot;
    body_pack(e, hash, words);
    int err = writer_seek(w, hash, e->scope, e->name, e->name_len, &slot, former);
    if (err == 0) {
        registry_slot_write(w->r, slot, words);
        registry_count_entry(w, former, -1);
        registry_count_entry(w, words, 1);
    } else {
        err = writer_insert(w, hash, words);
    }
    if (err == 0)
        registry_touch(w);
    return err;
}

int
registry_delete(struct registry_writer *w, enum registry_scope scope, const char *name, size_t len)
{
    if ((scope != REGISTRY_LOCAL && scope != REGISTRY_GLOBAL) || len == 0 || len > REGISTRY_NAME_MAX)
        return NX_ENONAME;
    uint64_t hash = registry_hash(w->r, scope, name, len);
    uint64_t words[BODY_WORDS];
    uint32_t slot;
    int err = writer_seek(w, hash, scope, name, len, &slot, words);
    if (err != 0)
        return err;
    /* Dead body first, tombstone second: killed in between, the name is gone for readers and the newcomer finds a word to
     * sweep. The other order would leave a live body that no word leads to, which looks like an insert that was not
     * finished; whoever took it for one would bring a removed name back. */
    registry_slot_kill(w->r, slot);
    index_bury(w, hash, slot);
    w->free[w->free_count++] = slot;
    registry_count_entry(w, words, -1);
    registry_touch(w);
    return 0;
}

int
registry_writer_find(const struct registry_writer *w, enum registry_scope scope, const char *name, size_t len,
                     struct registry_entry *out)
{
    if ((scope != REGISTRY_LOCAL && scope != REGISTRY_GLOBAL) || len == 0 || len > REGISTRY_NAME_MAX)
        return NX_ENONAME;
    uint64_t words[BODY_WORDS];
    uint32_t slot;
    if (registry_seek(w->r, registry_hash(w->r, scope, name, len), scope, name, len, &slot, words) != 0)
        return NX_ENONAME;          /* a damaged body is no answer */
    body_unpack(words, out);
    return 0;
}

int
registry_writer_next(const struct registry_writer *w, uint64_t *cursor, struct registry_entry *out)
{
    uint64_t words[BODY_WORDS];
    while (*cursor < latch_load(&w->r->header->high_water) && *cursor < w->r->capacity) {
        uint32_t slot = (uint32_t)(*cursor)++;
        if (registry_slot_read(w->r, slot, words) == 1) {
            body_unpack(words, out);
            return 1;
        }
    }
    return 0;
}

size_t
registry_writer_count(const struct registry_writer *w, enum registry_scope scope, uint32_t node)
{
    bool is_known = (scope == REGISTRY_LOCAL || scope == REGISTRY_GLOBAL) && node < SHM_NODES_MAX;
    return is_known ? w->by_node[scope][node] : 0;
}

void
registry_writer_set_overflow(struct registry_writer *w, bool has_more)
{
    latch_store(&w->r->header->overflow, has_more);
}

/* ---- sequence and time: stored before they are used, so that no successor gives them out again */

uint64_t
registry_next_sequence(struct registry_writer *w)
{
    uint64_t next = latch_load(&w->r->header->sequence) + 1;
    latch_store(&w->r->header->sequence, next);
    return next;
}

uint64_t
registry_sequence(const struct registry_writer *w)
{
    return latch_load(&w->r->header->sequence);
}

uint64_t
registry_next_timestamp(struct registry_writer *w, uint64_t wall_ms)
{
    uint64_t next = latch_load(&w->r->header->timestamp) + 1;
    if (next < wall_ms)
        next = wall_ms;
    latch_store(&w->r->header->timestamp, next);
    return next;
}
