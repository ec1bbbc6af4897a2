/*
 * registry_read.c - local and global names, for readers.
 *
 * Lives here: lookup, walk, counters; the handle; the body of an entry as words.
 * Never here: any store to shared memory but the first formatting; locks; system calls.
 * Runs in: every process.
 */
#include "shm/registry_layout.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

/* ---- the handle */

uint32_t
registry_index_words(uint32_t capacity)
{
    uint32_t words = 2;
    while (words < 2 * capacity)
        words *= 2;
    return words;
}

size_t
registry_size(uint32_t capacity)
{
    return REGISTRY_HEADER_BYTES + REGISTRY_AREAS * (size_t)registry_index_words(capacity) * sizeof(uint64_t)
        + (size_t)capacity * sizeof(struct registry_slot);
}

static struct registry *
registry_handle(void *at, uint32_t capacity, uint64_t hash_key)
{
    struct registry *r = malloc(sizeof *r);
    if (r == NULL)
        return NULL;
    r->header = at;
    r->capacity = capacity;
    r->index_words = registry_index_words(capacity);
    r->hash_key = hash_key;
    r->areas[0] = (latch_word *)(void *)((uint8_t *)at + REGISTRY_HEADER_BYTES);
    r->areas[1] = r->areas[0] + r->index_words;
    r->slots = (struct registry_slot *)(void *)(r->areas[1] + r->index_words);
    return r;
}

/* Two programs that disagree about a place in this memory must not meet in it. */
static uint64_t
registry_layout(void)
{
    const uint64_t figures[] = {
        REGISTRY_ABI, sizeof(struct registry_slot), sizeof(struct registry_header), BODY_FIXED, BODY_WORDS, REGISTRY_PROBES,
        offsetof(struct registry_header, root), offsetof(struct registry_header, version), offsetof(struct registry_slot, bodies),
    };
    return table_hash(REGISTRY_MAGIC, figures, sizeof figures);
}

bool
registry_header_is_whole(const struct registry *r)
{
    const struct registry_header *h = r->header;
    return latch_load(&h->magic) == REGISTRY_MAGIC && latch_load(&h->layout) == registry_layout()
        && latch_load(&h->capacity) == r->capacity && latch_load(&h->index_words) == r->index_words
        && latch_load(&h->hash_key) == r->hash_key;
}

void
registry_header_write(struct registry *r)
{
    struct registry_header *h = r->header;
    latch_store(&h->layout, registry_layout());
    latch_store(&h->capacity, r->capacity);
    latch_store(&h->index_words, r->index_words);
    latch_store(&h->hash_key, r->hash_key);
    latch_store(&h->magic, REGISTRY_MAGIC);
}

int
registry_new(void *at, uint32_t capacity, uint64_t hash_key, struct registry **out)
{
    struct registry *r = registry_handle(at, capacity, hash_key);
    if (r == NULL)
        return NX_ENOMEM;
    registry_header_write(r);          /* all else is zero, which is an empty registry */
    *out = r;
    return 0;
}

int
registry_attach(void *at, size_t len, struct registry **out, struct base_error *why)
{
    const struct registry_header *h = at;
    if (len < REGISTRY_HEADER_BYTES)
        return base_error_set(why, NX_EBADMSG, "registry", "registry: %zu bytes are too few", len);
    uint64_t capacity = latch_load(&h->capacity);
    if (capacity == 0 || capacity > UINT32_MAX / 4 || registry_size((uint32_t)capacity) > len)
        return base_error_set(why, NX_EBADMSG, "registry", "registry: a capacity of %ju does not fit %zu bytes",
                              (uintmax_t)capacity, len);
    struct registry *r = registry_handle(at, (uint32_t)capacity, latch_load(&h->hash_key));
    if (r == NULL)
        return base_error_set(why, NX_ENOMEM, "registry", "registry: no memory for its handle");
    if (!registry_header_is_whole(r)) {
        registry_free(&r);
        return base_error_set(why, NX_EBADMSG, "registry", "registry: not made by this build of noexd");
    }
    *out = r;
    return 0;
}

void
registry_free(struct registry **r)
{
    free(*r);
    *r = NULL;
}

/* ---- bodies */

void
body_pack(const struct registry_entry *e, uint64_t hash, uint64_t words[static BODY_WORDS])
{
    memset(words, 0, BODY_WORDS * sizeof words[0]);
    words[BODY_W_SEAL] = (uint64_t)e->name_len << 32 | (uint64_t)e->scope << 48;
    words[BODY_W_HASH] = hash;
    words[BODY_W_PLACE] = e->node | (uint64_t)e->slot << 32;
    words[BODY_W_LIFE] = e->generation | (uint64_t)(uint32_t)e->priority << 32;
    words[BODY_W_INCARNATION] = e->incarnation;
    words[BODY_W_SERIAL] = e->serial;
    words[BODY_W_REGISTERED_AT] = e->registered_at_ms;
    words[BODY_W_SEQUENCE] = e->sequence;
    memcpy(&words[BODY_FIXED], e->name, e->name_len);
}

void
body_unpack(const uint64_t words[static BODY_WORDS], struct registry_entry *e)
{
    size_t len = body_name_len(words[BODY_W_SEAL]);
    nx_assert(len <= REGISTRY_NAME_MAX);           /* who read the words has checked it */
    memcpy(e->name, &words[BODY_FIXED], len);
    e->name[len] = '\0';
    e->name_len = (uint16_t)len;
    e->scope = (uint8_t)body_scope(words[BODY_W_SEAL]);
    e->node = (uint32_t)words[BODY_W_PLACE];
    e->slot = (uint16_t)(words[BODY_W_PLACE] >> 32);
    e->generation = (uint32_t)words[BODY_W_LIFE];
    e->priority = (int32_t)(uint32_t)(words[BODY_W_LIFE] >> 32);
    e->incarnation = words[BODY_W_INCARNATION];
    e->serial = words[BODY_W_SERIAL];
    e->registered_at_ms = words[BODY_W_REGISTERED_AT];
    e->sequence = words[BODY_W_SEQUENCE];
}

int
registry_slot_read(const struct registry *r, uint32_t slot, uint64_t words[static BODY_WORDS])
{
    const struct registry_slot *s = &r->slots[slot];
    for (int try = 0; try < LATCH_TRIES; try++) {
        uint64_t version = latch_begin(&s->latch);
        const latch_word *body = s->bodies[version & 1];
        for (size_t i = 0; i < BODY_FIXED; i++)
            words[i] = latch_load(&body[i]);
        size_t len = body_name_len(words[BODY_W_SEAL]);
        unsigned scope = body_scope(words[BODY_W_SEAL]);
        bool fits = scope == 0 ? len == 0 : scope <= REGISTRY_GLOBAL && len > 0 && len <= REGISTRY_NAME_MAX;
        for (size_t i = 0; fits && i < body_name_words(len); i++)
            words[BODY_FIXED + i] = latch_load(&body[BODY_FIXED + i]);
        if (!latch_is_same(&s->latch, version))
            continue;
        if (version == 0 && words[BODY_W_SEAL] == 0)
            return 0;                               /* never used */
        if (!fits || body_seal(words, slot, version) != words[BODY_W_SEAL])
            return NX_EBADMSG;
        return scope != 0;
    }
    return NX_EBUSY;
}

/* ---- lookup */

/* Is (scope, name) the current body of `slot`? 1 with its words, 0 = no, NX_EBUSY = changed under each try, or damaged.
 * Reads no more than it must: a cache line that is not touched is the better part of a lookup's time. */
static int
registry_slot_match(const struct registry *r, uint32_t slot, uint64_t hash, uint64_t head, const uint64_t *name, size_t name_words,
                    uint64_t words[static BODY_WORDS])
{
    const struct registry_slot *s = &r->slots[slot];
    for (int try = 0; try < LATCH_TRIES; try++) {
        uint64_t version = latch_begin(&s->latch);
        const latch_word *body = s->bodies[version & 1];
        for (size_t i = 0; i < BODY_FIXED; i++)
            words[i] = latch_load(&body[i]);
        uint64_t differs = (words[BODY_W_HASH] ^ hash) | (words[BODY_W_SEAL] >> 32 ^ head);
        for (size_t i = 0; differs == 0 && i < name_words; i++) {
            words[BODY_FIXED + i] = latch_load(&body[BODY_FIXED + i]);
            differs |= words[BODY_FIXED + i] ^ name[i];
        }
        if (!latch_is_same(&s->latch, version))
            continue;
        if (differs != 0)
            return 0;
        /* Without the processor's help the checksum would take longer than the lookup; recovery and registry_check() find
         * damage then. */
        if (checksum_is_fast() && body_seal(words, slot, version) != words[BODY_W_SEAL])
            return NX_EBUSY;
        return 1;
    }
    return NX_EBUSY;
}

int
registry_seek(const struct registry *r, uint64_t hash, unsigned scope, const char *name, size_t len,
              uint32_t *slot, uint64_t words[static BODY_WORDS])
{
    uint64_t padded[(REGISTRY_NAME_MAX + 1) / 8];
    size_t name_words = body_name_words(len);
    padded[name_words - 1] = 0;
    memcpy(padded, name, len);
    uint64_t head = len | (uint64_t)scope << 16;

    for (int try = 0; try < LATCH_TRIES; try++) {
        uint64_t root = latch_load(&r->header->root);
        const latch_word *area = r->areas[root & 1];
        int found = 0;
        for (uint32_t n = 0; n < REGISTRY_PROBES && found != 1; n++) {
            const latch_word *place = &area[registry_probe(r, hash, n)];
            uint64_t word = latch_load(place);
            if (word == 0)
                break;
            uint32_t at = registry_word_slot(word);
            if ((uint32_t)(word >> 32) != (uint32_t)hash || at >= r->capacity)
                continue;
            /* All lines that will be needed, whichever body is the current one: five misses at once cost little more than
             * one. */
            const struct registry_slot *s = &r->slots[at];
            __builtin_prefetch(&s->latch);
            __builtin_prefetch(&s->bodies[0][0]);
            __builtin_prefetch(&s->bodies[0][BODY_FIXED]);
            __builtin_prefetch(&s->bodies[1][0]);
            __builtin_prefetch(&s->bodies[1][BODY_FIXED]);
            int match = registry_slot_match(r, at, hash, head, padded, name_words, words);
            /* The word must still stand: the slot can have been freed and taken for the same name again, and that insert
             * is not done before its own word is there. */
            if (match == 1 && latch_load(place) != word)
                match = NX_EBUSY;
            if (match != 0)
                found = match;
            *slot = at;
        }
        /* An answer counts only if this area was the current one to the end: the writer clears the other one. */
        if (latch_load(&r->header->root) != root || found == NX_EBUSY)
            continue;
        return found == 1 ? 0 : NX_ENONAME;
    }
    return NX_EBUSY;
}

int
registry_seek_body(const struct registry *r, const uint64_t words[static BODY_WORDS], uint32_t *slot, uint64_t found[static BODY_WORDS])
{
    uint64_t seal = words[BODY_W_SEAL];
    return registry_seek(r, words[BODY_W_HASH], body_scope(seal), (const char *)&words[BODY_FIXED], body_name_len(seal), slot, found);
}

bool
registry_entry_lives(const uint64_t words[static BODY_WORDS], const struct board *b, const struct nodes *n)
{
    uint32_t node = (uint32_t)words[BODY_W_PLACE], session;
    if (node != 0)
        return nodes_route(n, node, words[BODY_W_INCARNATION], &session) == 0;
    uint32_t generation = (uint32_t)words[BODY_W_LIFE];
    return generation != 0 && board_generation(b, (uint16_t)(words[BODY_W_PLACE] >> 32)) == generation;
}

int
registry_find(const struct registry *r, const struct board *b, const struct nodes *n, enum registry_scope scope,
              const char *name, size_t len, struct registry_entry *out)
{
    if ((scope != REGISTRY_LOCAL && scope != REGISTRY_GLOBAL) || len == 0 || len > REGISTRY_NAME_MAX)
        return NX_EINVAL;
    uint64_t words[BODY_WORDS];
    uint32_t slot;
    int err = registry_seek(r, registry_hash(r, scope, name, len), scope, name, len, &slot, words);
    if (err == NX_ENONAME && latch_load(&r->header->overflow) != 0)
        return NX_EBUSY;                            /* the owner may know it: slower, never wrong */
    if (err != 0)
        return err;
    if (!registry_entry_lives(words, b, n))
        return NX_ENONAME;
    body_unpack(words, out);
    return 0;
}

/* ---- walk and counters */

int
registry_next(const struct registry *r, const struct board *b, const struct nodes *n, uint64_t *cursor, struct registry_entry *out)
{
    uint64_t words[BODY_WORDS], again[BODY_WORDS];
    uint64_t end = latch_load(&r->header->high_water);
    if (end > r->capacity)
        end = r->capacity;
    while (*cursor < end) {
        uint32_t slot = (uint32_t)(*cursor)++, found;
        if (registry_slot_read(r, slot, words) != 1 || !registry_entry_lives(words, b, n))
            continue;
        /* A live body is a name only if the index leads to it: what a killed writer left on its way is not listed either. */
        if (registry_seek_body(r, words, &found, again) != 0 || found != slot)
            continue;
        body_unpack(again, out);
        return 1;
    }
    return 0;
}

uint64_t
registry_version(const struct registry *r)
{
    return latch_load(&r->header->version);
}

size_t
registry_count(const struct registry *r, enum registry_scope scope)
{
    return scope == REGISTRY_LOCAL || scope == REGISTRY_GLOBAL ? (size_t)latch_load(&r->header->counts[scope]) : 0;
}

size_t
registry_capacity(const struct registry *r)
{
    return r->capacity;
}
