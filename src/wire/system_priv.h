/*
 * system_priv.h - how a system body is described, and the two functions that follow the description.
 *
 * A body is a map with string keys. Each key has one line in a table (system.c): its letter, its type, the member of the struct that
 * it fills, its bounds. Encoder, decoder and checks all read the same line. Never leaves this folder.
 */
#ifndef NOEXD_WIRE_SYSTEM_PRIV_H
#define NOEXD_WIRE_SYSTEM_PRIV_H

#include "wire/system.h"

enum field_type {               /* member of the struct; bounds; on the wire */
    FIELD_BOOL,                 /* bool; none; boolean */
    FIELD_INT,                  /* int32_t, int64_t; value; integer */
    FIELD_UINT,                 /* uint16_t, uint32_t, uint64_t; value; integer */
    FIELD_TIMEOUT,              /* int64_t, ms; value, or -1 for no limit; integer */
    FIELD_TEXT,                 /* sys_text; bytes; string of UTF-8. What does not fit is cut by the encoder: it is for people */
    FIELD_NAME,                 /* sys_text; bytes; string that utf8_is_name accepts */
    FIELD_NODE,                 /* sys_text; none; string, a node id in its canonical form */
    FIELD_BYTES,                /* sys_bytes; bytes; binary */
    FIELD_HASH,                 /* uint8_t[32]; none; binary of 32 bytes */
    FIELD_REF,                  /* wire_ref; none; ext type 1 */
    FIELD_NODES,                /* array of sys_text, its count in `has`; number of elements; array of node ids */
    FIELD_LIST,                 /* struct system_list; number of elements; array, read one by one later. Decoding only */
};

struct field {
    const char *key, *member;
    enum field_type type;
    bool is_optional;           /* absent when its text or bytes are empty, or *has is false */
    uint16_t at, size, has;     /* offsets and size in the struct; has: a bool, or the count of FIELD_NODES; 0 = none */
    int64_t min;
    uint64_t max;
};

struct body {
    const char *noun;
    const struct field *fields;
    size_t count;
    const char *(*check)(const void *in);     /* rules between members: NULL = fine, else the complaint; may be NULL */
};

/* The elements of an array inside a body that has been scanned. */
struct system_list { const uint8_t *at, *end; uint32_t count; };

/* Append one map. NX_EINVAL: a member is out of the bounds that the other side will check; NX_ENOMEM, NX_ETOOBIG. On failure `out`
 * is as it was. */
int body_encode(const struct body *b, const void *in, struct buf *out);
/* The whole of `bytes` is one such map. NX_EBADMSG; *out may have been written to. */
int body_decode(const struct body *b, const void *bytes, size_t len, void *out, struct base_error *why);
/* The next element of a list is such a map: take it. */
int body_decode_next(const struct body *b, struct system_list *list, void *out, struct base_error *why);
/* Pairs of the map that comes next in a list; 0 if it is no map. */
uint32_t body_peek_pairs(const struct system_list *list);

/* ---- the tables of system.c that lists need */
struct system_entries_head { struct sys_delta_head delta; struct sys_sync_head sync; bool is_request; struct system_list list; };
struct system_behaviors { struct system_list list; };
extern const struct body system_delta_body, system_sync_body;          /* system_entries_head */
extern const struct body system_entry_body, system_removal_body;       /* sys_entry */
extern const struct body system_behaviors_body;                        /* system_behaviors */
extern const struct body system_behavior_body;                         /* sys_behavior */

/* Keys that system_lists.c writes by itself, because their values have a fixed width there. */
#define SYSTEM_KEY_LIST     "e"
#define SYSTEM_KEY_DIGEST   "d"
#define SYSTEM_KEY_SEQUENCE "s"
#define SYSTEM_KEY_PAGE     "p"
#define SYSTEM_KEY_LAST     "l"
#define SYSTEM_KEY_REQUEST  "r"

#endif
