/*
 * ref.h - a ref as it travels: 22 fixed bytes and the node id, and its printable form.
 *
 * Bytes (ext type 1 in bodies): incarnation 8, serial 8, generation 4, slot 2, node id as text.
 * Text: `#NODEID/INCARNATION/SLOT.GENERATION.SERIAL`, incarnation as 16 hex digits, the rest decimal; one token, no spaces:
 * `#app1@127.0.0.1:4369/00c0ffee00c0ffee/3.1.42`.
 */
#ifndef NOEXD_WIRE_REF_H
#define NOEXD_WIRE_REF_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "wire/node_id.h"

enum { WIRE_REF_FIXED = 22, WIRE_REF_MAX = WIRE_REF_FIXED + NODE_ID_MAX, WIRE_REF_TEXT_MAX = 384 };

struct wire_ref {
    uint64_t incarnation, serial;
    uint32_t generation;
    uint16_t slot;
    char node[NODE_ID_MAX + 1];
};

size_t wire_ref_encode(const struct wire_ref *ref, uint8_t out[static WIRE_REF_MAX]);
int wire_ref_decode(const uint8_t *bytes, size_t len, struct wire_ref *out, struct base_error *why);      /* NX_EBADMSG; node id is checked */
int wire_ref_to_text(const struct wire_ref *ref, char *out, size_t size);                                  /* NX_EINVAL: too small */
int wire_ref_from_text(const char *text, size_t len, struct wire_ref *out, struct base_error *why);       /* NX_EINVAL, part named */

#endif
