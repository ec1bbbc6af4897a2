/*
 * registry_check.c - all invariants of the registry, for tests and a debug command.
 *
 * Lives here: the invariants of registry_layout.h, one by one, and the first that is broken in words.
 * Never here: repair.
 * Runs in: any process; only while the writer rests is the answer exact.
 */
#include "shm/registry_layout.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

struct figures { uint64_t live[3], tombstones, high_water; };

static int
check_slots(const struct registry *r, uint8_t *is_live, struct figures *f, struct base_error *why)
{
    uint64_t words[BODY_WORDS];
    for (uint32_t slot = 0; slot < r->capacity; slot++) {
        int state = registry_slot_read(r, slot, words);
        if (state < 0)
            return base_error_set(why, NX_EBADMSG, "registry", "registry: slot %u is %s", slot,
                                  state == NX_EBUSY ? "changing" : "damaged: its checksum is wrong");
        if (state == 0)
            continue;
        uint64_t seal = words[BODY_W_SEAL];
        if (registry_hash(r, body_scope(seal), (const char *)&words[BODY_FIXED], body_name_len(seal)) != words[BODY_W_HASH])
            return base_error_set(why, NX_EBADMSG, "registry", "registry: slot %u has a hash that is not its name's", slot);
        is_live[slot] = 1;
        f->live[body_scope(seal)]++;
        f->high_water = slot + 1;
    }
    return 0;
}

static int
check_index(const struct registry *r, uint8_t *is_live, struct figures *f, struct base_error *why)
{
    const latch_word *area = r->areas[latch_load(&r->header->root) & 1];
    uint64_t words[BODY_WORDS], again[BODY_WORDS];
    for (uint32_t at = 0; at < r->index_words; at++) {
        uint64_t word = latch_load(&area[at]);
        uint32_t slot = registry_word_slot(word), arrived;
        f->tombstones += registry_word_is_tombstone(word);
        if ((uint32_t)word == 0)
            continue;
        if (slot >= r->capacity)
            return base_error_set(why, NX_EBADMSG, "registry", "registry: index word %u leads to slot %u of %u", at, slot, r->capacity);
        if (!is_live[slot])
            return base_error_set(why, NX_EBADMSG, "registry",
                                  "registry: index word %u leads to slot %u, which is dead or has another word", at, slot);
        is_live[slot] = 0;                 /* each live slot has one word; what stays marked has none */
        if (registry_slot_read(r, slot, words) != 1 || word != registry_word(words[BODY_W_HASH], slot)
            || registry_seek_body(r, words, &arrived, again) != 0 || arrived != slot)
            return base_error_set(why, NX_EBADMSG, "registry", "registry: the name of slot %u is not found through index word %u",
                                  slot, at);
    }
    for (uint32_t slot = 0; slot < r->capacity; slot++)
        if (is_live[slot])
            return base_error_set(why, NX_EBADMSG, "registry", "registry: slot %u is live but not in the index", slot);
    return 0;
}

static int
check_figures(const struct registry *r, const struct figures *f, struct base_error *why)
{
    const struct registry_header *h = r->header;
    for (unsigned scope = REGISTRY_LOCAL; scope <= REGISTRY_GLOBAL; scope++)
        if (latch_load(&h->counts[scope]) != f->live[scope])
            return base_error_set(why, NX_EBADMSG, "registry", "registry: scope %u has %ju entries but counts %ju", scope,
                                  (uintmax_t)f->live[scope], (uintmax_t)latch_load(&h->counts[scope]));
    if (f->high_water > latch_load(&h->high_water))
        return base_error_set(why, NX_EBADMSG, "registry", "registry: slot %ju is live above the high-water mark",
                              (uintmax_t)f->high_water - 1);
    if (f->tombstones > r->index_words / 4)
        return base_error_set(why, NX_EBADMSG, "registry", "registry: %ju of %u index words are tombstones", (uintmax_t)f->tombstones,
                              r->index_words);
    return 0;
}

int
registry_check(const struct registry *r, struct base_error *why)
{
    if (!registry_header_is_whole(r))
        return base_error_set(why, NX_EBADMSG, "registry", "registry: the header is damaged");
    uint8_t *is_live = calloc(r->capacity, 1);
    if (is_live == NULL)
        return base_error_set(why, NX_ENOMEM, "registry", "registry: no memory to check %u slots", r->capacity);
    struct figures f = { { 0 }, 0, 0 };
    uint64_t before = registry_version(r);
    int err = check_slots(r, is_live, &f, why);
    if (err == 0)
        err = check_index(r, is_live, &f, why);
    if (err == 0)
        err = check_figures(r, &f, why);
    if (err == NX_EBADMSG && registry_version(r) != before)
        err = base_error_set(why, NX_EBUSY, "registry", "registry: it changed while it was checked; ask again");
    free(is_live);
    return err;
}
