/*
 * registry_layout.h - how the registry lies in shared memory, for the files that read, write, recover and verify it. Private to
 * this room.
 *
 *   header page | index area 0 | index area 1 | slots
 *
 * Index: open addressing in 64-bit words, at most half full of live entries. A word is 32 bits of the name's hash and a slot
 * number + 1; 0 is free, a word with slot part 0 is a tombstone. Of the two areas the lowest bit of `root` tells which one
 * counts; the writer builds the other one when tombstones are many, and changes over with one store.
 * Slot: a control line and two bodies behind a latch. Invariant: a name exists if and only if the current area has a word for
 * a slot whose current body is live and has that name and scope. A live body without a word, or a word for a dead body, is
 * what a killed writer leaves; readers see neither as a name, and the next writer frees both.
 */
#ifndef NOEXD_SHM_REGISTRY_LAYOUT_H
#define NOEXD_SHM_REGISTRY_LAYOUT_H

#include "base/table.h"
#include "shm/checksum.h"
#include "shm/latch.h"
#include "shm/registry_writer.h"
#include "shm/shm.h"
#include "shm/shm_priv.h"

enum {
    REGISTRY_PROBES = 64,                  /* words looked at for one name, at most */
    REGISTRY_AREAS = 2,
    REGISTRY_NAME_MAX = 255,
    REGISTRY_HEADER_BYTES = 4096,
    REGISTRY_ABI = 1,
};
#define REGISTRY_MAGIC UINT64_C(0x31474552584e)            /* "NXREG1" in this machine's order */
#define REGISTRY_TOMBSTONE (UINT64_C(1) << 32)

/* A body: fixed words, then the name, padded with zero bytes to whole words. */
enum {
    BODY_W_SEAL,                           /* CRC32C in the low half; name length 16, scope 8 (0 = dead) in the high half */
    BODY_W_HASH,
    BODY_W_PLACE,                          /* node 32, worker slot 16 */
    BODY_W_LIFE,                           /* worker generation 32, priority 32 */
    BODY_W_INCARNATION,
    BODY_W_SERIAL,
    BODY_W_REGISTERED_AT,
    BODY_W_SEQUENCE,
    BODY_FIXED,
    BODY_WORDS = BODY_FIXED + (REGISTRY_NAME_MAX + 1) / 8,
};
_Static_assert((int)BODY_FIXED == (int)LATCH_LINE_WORDS, "the fixed words are one cache line");

struct registry_slot { struct latch latch; latch_word bodies[2][BODY_WORDS]; };
_Static_assert(sizeof(struct registry_slot) == 704, "11 cache lines a slot");

struct registry_header {
    /* Never changed after the start. */
    latch_word magic, layout, capacity, index_words, hash_key;
    latch_word unused0[3];
    /* Changed seldom, read by each lookup. */
    latch_word root;                       /* + 1 at each change of area */
    latch_word overflow;                   /* 1 = the owner knows names that did not fit */
    latch_word unused1[6];
    /* Changed by each commit. */
    latch_word version;
    latch_word counts[3];                  /* by scope; [0] unused */
    latch_word high_water;                 /* no live slot at or above this one */
    latch_word sequence, timestamp;
    latch_word writers;                    /* how often the writer's role was taken */
};
_Static_assert(offsetof(struct registry_header, root) == 64 && offsetof(struct registry_header, version) == 128, "three cache lines");
_Static_assert(sizeof(struct registry_header) <= REGISTRY_HEADER_BYTES, "the header is a page");

/* The handle, private to each process: geometry and key are never taken from memory that a fault can change. */
struct registry {
    struct registry_header *header;
    latch_word *areas[REGISTRY_AREAS];
    struct registry_slot *slots;
    uint64_t hash_key;
    uint32_t capacity, index_words;
};

/* A handle over memory that registry_new() has formatted, here or in another process. NX_EBADMSG, NX_ENOMEM. */
int  registry_attach(void *at, size_t len, struct registry **out, struct base_error *why);
/* The words of the header that never change, as this handle knows them. False if one was different. */
bool registry_header_is_whole(const struct registry *r);
void registry_header_write(struct registry *r);

uint32_t registry_index_words(uint32_t capacity);

static inline uint64_t
registry_hash(const struct registry *r, unsigned scope, const char *name, size_t len)
{
    return table_hash(r->hash_key + scope, name, len);
}

/* The n-th word to look at for a name. The step is odd, so it visits each word of the area once; it comes from other bits
 * of the hash than the beginning, so names that begin together part at once, and 64 looks are enough. */
static inline uint32_t
registry_probe(const struct registry *r, uint64_t hash, uint32_t n)
{
    return ((uint32_t)(hash >> 32) + n * ((uint32_t)hash | 1)) & (r->index_words - 1);
}

static inline uint64_t
registry_word(uint64_t hash, uint32_t slot)
{
    return hash << 32 | (uint64_t)(slot + 1);
}

static inline bool
registry_word_is_tombstone(uint64_t word)
{
    return word != 0 && (uint32_t)word == 0;
}

/* The slot of a word, or a number at or above the capacity: free, a tombstone, damaged. */
static inline uint32_t
registry_word_slot(uint64_t word)
{
    return (uint32_t)word - 1;
}

static inline unsigned body_scope(uint64_t seal) { return (unsigned)(seal >> 48 & 0xff); }
static inline size_t body_name_len(uint64_t seal) { return (size_t)(seal >> 32 & 0xffff); }
static inline size_t body_name_words(size_t name_len) { return (name_len + 7) / 8; }

/* The seal of a body: over its words, its slot and its version, so that a damaged version (the other body, then) shows as
 * well. */
static inline uint64_t
body_seal(const uint64_t *words, uint32_t slot, uint64_t version)
{
    uint64_t high = words[BODY_W_SEAL] >> 32 << 32;
    uint64_t place[2] = { high | slot, version };
    uint32_t crc = checksum_words(UINT32_MAX, place, 2);
    crc = checksum_words(crc, words + 1, BODY_FIXED - 1 + body_name_words(body_name_len(high)));
    return high | crc;
}

void body_pack(const struct registry_entry *e, uint64_t hash, uint64_t words[static BODY_WORDS]);
void body_unpack(const uint64_t words[static BODY_WORDS], struct registry_entry *e);

/* A slot's current body. 1 = live and whole, 0 = dead or never used, NX_EBADMSG = damaged, NX_EBUSY = changed under each
 * try. */
int registry_slot_read(const struct registry *r, uint32_t slot, uint64_t words[static BODY_WORDS]);

/* The slot of (scope, name) and its words. 0, NX_ENONAME, NX_EBUSY (changed under each try, or damaged). Dead workers'
 * entries too. */
int registry_seek(const struct registry *r, uint64_t hash, unsigned scope, const char *name, size_t len,
                  uint32_t *slot, uint64_t words[static BODY_WORDS]);

/* The same for the name and scope of a live body. */
int registry_seek_body(const struct registry *r, const uint64_t words[static BODY_WORDS], uint32_t *slot,
                       uint64_t found[static BODY_WORDS]);

/* Does its node live, and its worker? */
bool registry_entry_lives(const uint64_t words[static BODY_WORDS], const struct board *b, const struct nodes *n);

/* ---- the writer */

struct registry_writer {
    struct registry *r;
    uint32_t *free;                        /* slots, the next one last */
    uint32_t free_count, tombstones;
    uint8_t *marks;                        /* for the sweep, one a slot */
    uint32_t by_node[3][SHM_NODES_MAX];    /* entries by scope and node */
};

void registry_slot_write(struct registry *r, uint32_t slot, uint64_t words[static BODY_WORDS]);    /* seals it; visible at once */
void registry_slot_kill(struct registry *r, uint32_t slot);
void registry_count_entry(struct registry_writer *w, const uint64_t words[static BODY_WORDS], int by);
void registry_touch(struct registry_writer *w);              /* registry_version() + 1 */
bool registry_rebuild(struct registry_writer *w);            /* the index without tombstones; false: it stays as it is */
void registry_sweep(struct registry_writer *w, struct registry_recovery *found);    /* from shared memory alone, all of *w anew */

#endif
