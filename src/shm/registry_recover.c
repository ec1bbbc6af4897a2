/*
 * registry_recover.c - taking the writer's role: what a dead predecessor, or a fault of the machine, has left.
 *
 * Lives here: the sweep over all slots and the index, and all that the writer's heap knows, computed from shared memory alone.
 * Never here: making a name out of a slot that the index does not lead to. It is an insert that nobody was told of, or damage.
 * Runs in: the link worker.
 *
 * The sweep itself can be killed at any instruction: each of its stores takes away something that is no name for readers.
 */
#include "shm/registry_layout.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

enum { MARK_DEAD, MARK_LIVE, MARK_INDEXED };

/* Bodies that are not what was written are killed, before anything is believed that they say. */
static void
sweep_bodies(struct registry_writer *w, struct registry_recovery *found)
{
    struct registry *r = w->r;
    uint64_t words[BODY_WORDS];
    for (uint32_t slot = 0; slot < r->capacity; slot++) {
        int state = registry_slot_read(r, slot, words);
        bool is_bad = state < 0;
        if (state == 1) {
            uint64_t seal = words[BODY_W_SEAL];
            uint64_t hash = registry_hash(r, body_scope(seal), (const char *)&words[BODY_FIXED], body_name_len(seal));
            is_bad = hash != words[BODY_W_HASH] || (uint32_t)words[BODY_W_PLACE] >= SHM_NODES_MAX;
        }
        if (is_bad) {
            registry_slot_kill(r, slot);
            found->bad++;
        }
        w->marks[slot] = state == 1 && !is_bad ? MARK_LIVE : MARK_DEAD;
    }
}

/* Does a reader who looks for the slot's name arrive at the slot, and by the word at `at`? */
static bool
word_leads(const struct registry *r, const latch_word *area, uint32_t at, uint32_t slot,
           const uint64_t words[static BODY_WORDS])
{
    uint64_t hash = words[BODY_W_HASH], again[BODY_WORDS];
    uint32_t arrived;
    if (registry_seek_body(r, words, &arrived, again) != 0 || arrived != slot)
        return false;
    for (uint32_t n = 0; n < REGISTRY_PROBES; n++) {
        uint32_t place = registry_probe(r, hash, n);
        if (latch_load(&area[place]) == registry_word(hash, slot))
            return place == at;
    }
    return false;
}

static void
sweep_index(struct registry_writer *w, struct registry_recovery *found)
{
    struct registry *r = w->r;
    latch_word *area = r->areas[latch_load(&r->header->root) & 1];
    uint64_t words[BODY_WORDS];
    w->tombstones = 0;
    for (uint32_t at = 0; at < r->index_words; at++) {
        uint64_t word = latch_load(&area[at]);
        if (word == 0)
            continue;
        if (registry_word_is_tombstone(word)) {
            w->tombstones++;
            continue;
        }
        uint32_t slot = registry_word_slot(word);
        if (slot < r->capacity && w->marks[slot] != MARK_DEAD && registry_slot_read(r, slot, words) == 1
            && word_leads(r, area, at, slot, words)) {
            w->marks[slot] = MARK_INDEXED;
            registry_count_entry(w, words, 1);
            found->live++;
            continue;
        }
        latch_store(&area[at], REGISTRY_TOMBSTONE);
        w->tombstones++;
        found->swept++;
    }
}

static void
sweep_slots(struct registry_writer *w, struct registry_recovery *found)
{
    struct registry *r = w->r;
    uint32_t high_water = 0;
    w->free_count = 0;
    for (uint32_t slot = r->capacity; slot-- > 0;) {        /* downwards: low slots are taken first, and memory stays untouched */
        if (w->marks[slot] == MARK_INDEXED) {
            if (high_water == 0)
                high_water = slot + 1;
            continue;
        }
        if (w->marks[slot] == MARK_LIVE) {
            registry_slot_kill(r, slot);
            found->freed++;
        }
        w->free[w->free_count++] = slot;
    }
    latch_store(&r->header->high_water, high_water);
}

void
registry_sweep(struct registry_writer *w, struct registry_recovery *found)
{
    struct registry_header *h = w->r->header;
    memset(found, 0, sizeof *found);
    if (!registry_header_is_whole(w->r)) {
        registry_header_write(w->r);
        found->bad++;
    }
    memset(w->by_node, 0, sizeof w->by_node);
    for (size_t i = 0; i < BASE_COUNT(h->counts); i++)
        latch_store(&h->counts[i], 0);
    sweep_bodies(w, found);
    sweep_index(w, found);
    sweep_slots(w, found);
    nx_assert(found->live + w->free_count == w->r->capacity);
    if (w->tombstones > w->r->index_words / 4)
        (void)registry_rebuild(w);
    registry_touch(w);
}

int
registry_writer_open(struct registry *r, struct registry_writer **out, struct registry_recovery *found, struct base_error *why)
{
    struct registry_writer *w = calloc(1, sizeof *w);
    if (w != NULL) {
        w->r = r;
        w->free = calloc(r->capacity, sizeof w->free[0]);
        w->marks = calloc(r->capacity, 1);
    }
    if (w == NULL || w->free == NULL || w->marks == NULL) {
        registry_writer_close(&w);
        return base_error_set(why, NX_ENOMEM, "registry", "registry: no memory for the free list of %u slots", r->capacity);
    }
    struct registry_recovery unasked;
    registry_sweep(w, found != NULL ? found : &unasked);

    /* A predecessor may have given out a number and died before it was used: the gap makes the other nodes ask for all,
     * which is what is needed then. Its names that did not fit were in its heap, and came from nodes that count as down
     * now. */
    struct registry_header *h = r->header;
    if (latch_load(&h->writers) > 0) {
        latch_store(&h->sequence, latch_load(&h->sequence) + 1);
        latch_store(&h->timestamp, latch_load(&h->timestamp) + 1);
    }
    latch_store(&h->writers, latch_load(&h->writers) + 1);
    latch_store(&h->overflow, 0);
    *out = w;
    return 0;
}

void
registry_writer_close(struct registry_writer **w)
{
    if (*w == NULL)
        return;
    free((*w)->free);
    free((*w)->marks);
    free(*w);
    *w = NULL;
}
